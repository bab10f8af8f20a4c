//! Segments, the task state and interrupt gates, as the CPU reads them: encodings only.
//!
//! The order of the segments is dictated by `syscall` and `sysret`: kernel code, kernel data; then user data, user code.

/// Selector of the kernel's code.
pub const KERNEL_CODE: u16 = 0x08;
/// Selector of the kernel's data and stack.
pub const KERNEL_DATA: u16 = 0x10;
/// Selector of user data and stack.
pub const USER_DATA: u16 = 0x18 | 3;
/// Selector of user code.
pub const USER_CODE: u16 = 0x20 | 3;
/// Selector of the task state.
pub const TASK_STATE: u16 = 0x28;

/// What the `STAR` register holds: `syscall` loads the kernel's pair, `sysret` the user's (relative to base 0x10 | 3).
pub const STAR: u64 = ((KERNEL_DATA as u64 | 3) << 48) | ((KERNEL_CODE as u64) << 32);

const ACCESSED: u64 = 1 << 40;
const WRITABLE: u64 = 1 << 41;
const EXECUTABLE: u64 = 1 << 43;
const CODE_OR_DATA: u64 = 1 << 44;
const USER: u64 = 3 << 45;
const PRESENT: u64 = 1 << 47;
const LONG: u64 = 1 << 53;
const SMALL_CODE_32: u64 = 1 << 54;
const PAGES: u64 = 1 << 55;
/// A limit of 4 GiB; the CPU ignores it in 64-bit mode.
const WHOLE: u64 = 0x000f_0000_0000_ffff | PAGES;

/// Number of words of the table: null, four segments, two words of task state.
pub const TABLE_WORDS: usize = 7;

/// The global descriptor table, for a task state at `task_state`.
pub const fn descriptor_table(task_state: u64) -> [u64; TABLE_WORDS] {
    let data = WHOLE | ACCESSED | WRITABLE | CODE_OR_DATA | PRESENT;
    let code = data | EXECUTABLE | LONG;
    let (low, high) = task_state_descriptor(task_state);
    [0, code, data | SMALL_CODE_32, data | USER | SMALL_CODE_32, code | USER, low, high]
}

/// The two words of an available 64-bit task state at `address`.
const fn task_state_descriptor(address: u64) -> (u64, u64) {
    let limit = size_of::<TaskState>() as u64 - 1;
    let available = 9 << 40;
    let low = limit | ((address & 0xff_ffff) << 16) | available | PRESENT | (((address >> 24) & 0xff) << 56);
    (low, address >> 32)
}

/// The task state: all that is left of it is stacks.
#[repr(C, packed(4))]
#[derive(Clone, Copy)]
pub struct TaskState {
    reserved: u32,
    /// The stack on which the CPU enters the kernel from user mode.
    pub kernel_stack: u64,
    unused_stacks: [u64; 2],
    reserved_2: u64,
    /// Stacks of their own for traps that cannot trust the current one; numbered from 1.
    pub trap_stacks: [u64; 7],
    reserved_3: u64,
    reserved_4: u16,
    /// Offset of the port permission bits; at the end: no user port access.
    ports: u16,
}

impl TaskState {
    /// No stacks yet, no ports.
    pub const fn new() -> Self {
        Self {
            reserved: 0,
            kernel_stack: 0,
            unused_stacks: [0; 2],
            reserved_2: 0,
            trap_stacks: [0; 7],
            reserved_3: 0,
            reserved_4: 0,
            ports: size_of::<Self>() as u16,
        }
    }
}

impl Default for TaskState {
    fn default() -> Self {
        Self::new()
    }
}

const _: () = assert!(size_of::<TaskState>() == 104);

/// An interrupt gate (interrupts go off) to `handler`, on trap stack `stack` (0: the normal one); `user` programs may
/// raise it with an instruction.
pub const fn gate(handler: u64, stack: u8, user: bool) -> [u64; 2] {
    let level = if user { 3 << 45 } else { 0 };
    let low = (handler & 0xffff)
        | ((KERNEL_CODE as u64) << 16)
        | ((stack as u64 & 7) << 32)
        | (0xe << 40)
        | level
        | PRESENT
        | (((handler >> 16) & 0xffff) << 48);
    [low, handler >> 32]
}

#[cfg(test)]
mod tests {
    use super::*;
    use x86_64::structures::gdt::DescriptorFlags as F;

    #[test]
    fn descriptors_are_what_the_manual_says() {
        let table = descriptor_table(0);
        assert_eq!(table[0], 0);
        assert_eq!(table[usize::from(KERNEL_CODE / 8)], F::KERNEL_CODE64.bits());
        assert_eq!(table[usize::from(KERNEL_DATA / 8)], F::KERNEL_DATA.bits());
        assert_eq!(table[usize::from(USER_DATA / 8)], F::USER_DATA.bits());
        assert_eq!(table[usize::from(USER_CODE / 8)], F::USER_CODE64.bits());
    }

    #[test]
    fn task_state_address_is_scattered_right() {
        let (low, high) = task_state_descriptor(0x1234_5678_9abc_def0);
        assert_eq!(low & 0xffff, 103);
        assert_eq!((low >> 16) & 0xff_ffff, 0xbc_def0);
        assert_eq!(low >> 56, 0x9a);
        assert_eq!((low >> 40) & 0xff, 0x89);
        assert_eq!(high, 0x1234_5678);
    }

    #[test]
    fn star_gives_the_four_selectors() {
        let kernel = (STAR >> 32) as u16;
        let user = (STAR >> 48) as u16;
        assert_eq!((kernel, kernel + 8), (KERNEL_CODE, KERNEL_DATA));
        assert_eq!((user + 8, user + 16), (USER_DATA, USER_CODE));
    }

    #[test]
    fn gates() {
        let [low, high] = gate(0xffff_ffff_8012_3456, 2, true);
        assert_eq!(high, 0xffff_ffff);
        assert_eq!(low & 0xffff, 0x3456);
        assert_eq!(low >> 48, 0x8012);
        assert_eq!((low >> 16) as u16, KERNEL_CODE);
        assert_eq!((low >> 32) & 0xff, 2);
        assert_eq!((low >> 40) & 0xff, 0xee);
        assert_eq!((gate(0, 0, false)[0] >> 40) & 0xff, 0x8e);
    }
}
