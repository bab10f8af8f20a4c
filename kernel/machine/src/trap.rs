//! Entering user mode and coming back.
//!
//! The kernel is a loop around [`run_user`]: it loads a thread's registers, and returns when the thread traps. All the
//! thread's registers are then in its `UserRegs`; the kernel's own callee-saved ones wait on the one kernel stack, at
//! the place where the task state makes the CPU (and our `syscall` entry) continue:
//!
//! ```text
//! rsp0 -> address of the UserRegs, r15, r14, r13, r12, rbx, rbp, return address of enter_user
//! ```
//!
//! The kernel uses no `gs`: with one CPU its few words are statics; a second CPU would put them, and the task state,
//! behind `swapgs` here and nowhere else.
//!
//! Way back to the user: if `rcx` and `r11` hold what `sysret` would put there anyway (as after `syscall`) it is used,
//! else `iretq`; both restore every register exactly.
//!
//! Traps in the kernel itself: an interrupt can only come in [`idle`]; anything else is the end, told readably. NMI,
//! double fault and machine check have stacks of their own, so that they can be told even then.

use crate::event::{BREAKPOINT, DOUBLE_FAULT, Event, GENERAL_PROTECTION, MACHINE_CHECK, NMI, PAGE_FAULT};
use crate::fault::kernel_fault;
use crate::segments::{
    self, KERNEL_CODE, STAR, TABLE_WORDS, TASK_STATE, TaskState, USER_CODE, USER_DATA, descriptor_table, gate,
};
use crate::{console, timer};
use core::arch::{asm, global_asm};
use core::cell::UnsafeCell;
use core::mem::offset_of;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use drover_abi::regs::UserRegs;
use x86_64::PhysAddr;
use x86_64::registers::control::{Cr2, Cr3, Cr3Flags};
use x86_64::registers::model_specific::{Efer, EferFlags, Msr};
use x86_64::structures::paging::PhysFrame;

/// What `enter_user` returns for `syscall`; vectors are below 256.
const SYSCALL: u64 = 256;

/// Flags that a user may set: carry, parity, adjust, zero, sign, trap, direction, overflow, alignment check, id.
const USER_FLAGS: u64 = 0x0024_0dd5;
/// Flags that are always set in user mode: interrupts, and the bit that is always one.
const FIXED_FLAGS: u64 = 0x202;
/// Flags that `syscall` clears: all that can be.
const CLEARED_FLAGS: u64 = 0x003f_7fd5;
/// The single-step flag: `sysret` would step once too early.
const TRAP_FLAG: u64 = 0x100;

/// Trap-stack numbers.
const NMI_STACK: u8 = 1;
const FAULT_STACK: u8 = 2;
const CHECK_STACK: u8 = 3;

const STAR_MSR: u32 = 0xc000_0081;
const LSTAR_MSR: u32 = 0xc000_0082;
const FMASK_MSR: u32 = 0xc000_0084;
const FS_BASE_MSR: u32 = 0xc000_0100;
const GS_BASE_MSR: u32 = 0xc000_0101;

/// Memory that the CPU or the assembly reads and writes on its own; Rust only takes its address, but for `init`.
#[repr(transparent)]
struct Shared<T>(UnsafeCell<T>);

// SAFETY: one CPU; Rust accesses the content in `init` only, before any trap can happen.
unsafe impl<T> Sync for Shared<T> {}

static TASK: Shared<TaskState> = Shared(UnsafeCell::new(TaskState::new()));
static SEGMENTS: Shared<[u64; TABLE_WORDS]> = Shared(UnsafeCell::new([0; TABLE_WORDS]));
static GATES: Shared<[[u64; 2]; 256]> = Shared(UnsafeCell::new([[0; 2]; 256]));

/// The user's stack pointer, between `syscall` and the store to its `UserRegs`.
static USER_STACK: AtomicU64 = AtomicU64::new(0);
/// The vector that ended `idle`.
static IDLE_VECTOR: AtomicU32 = AtomicU32::new(0);

/// The root in CR3 and the segment bases in the CPU; at boot none that any thread has.
static ROOT: AtomicU64 = AtomicU64::new(u64::MAX);
static FS_BASE: AtomicU64 = AtomicU64::new(u64::MAX);
static GS_BASE: AtomicU64 = AtomicU64::new(u64::MAX);

/// What the assembly returns in rax and rdx.
#[repr(C)]
struct Trap {
    vector: u64,
    error: u64,
}

// SAFETY: defined in the assembly below.
unsafe extern "C" {
    /// Runs user code until it traps. `fast`: return to it with `sysret`.
    fn enter_user(regs: *mut UserRegs, fast: bool) -> Trap;
    static syscall_entry: u8;
    static trap_stubs: u8;
    static nmi_stack: u8;
    static fault_stack: u8;
    static check_stack: u8;
}

/// Bytes per stub in `trap_stubs`.
const STUB: u64 = 16;

global_asm!(
    ".section .text.traps, \"ax\"",
    // One stub per vector: an error code if the CPU gives none, then the vector.
    ".balign 16",
    ".global trap_stubs",
    "trap_stubs:",
    ".set vector, 0",
    ".rept 256",
    ".balign {stub}",
    ".if !(vector == 8 || (vector >= 10 && vector <= 14) || vector == 17 || vector == 21 || vector == 29 || vector == 30)",
    "push 0",
    ".endif",
    "push vector",
    ".if vector == {nmi} || vector == {double_fault} || vector == {machine_check}",
    "jmp kernel_trap",
    ".else",
    "jmp any_trap",
    ".endif",
    ".set vector, vector + 1",
    ".endr",
    // Stack: vector, error, rip, cs, rflags, rsp, ss; from user mode then what enter_user left.
    ".balign 16",
    "any_trap:",
    "test byte ptr [rsp + 24], 3",
    "jz kernel_trap",
    "push rdi",
    "mov rdi, [rsp + 64]",
    "mov [rdi + {rax}], rax",
    "mov [rdi + {rbx}], rbx",
    "mov [rdi + {rcx}], rcx",
    "mov [rdi + {rdx}], rdx",
    "mov [rdi + {rsi}], rsi",
    "mov [rdi + {rbp}], rbp",
    "mov [rdi + {r8}], r8",
    "mov [rdi + {r9}], r9",
    "mov [rdi + {r10}], r10",
    "mov [rdi + {r11}], r11",
    "mov [rdi + {r12}], r12",
    "mov [rdi + {r13}], r13",
    "mov [rdi + {r14}], r14",
    "mov [rdi + {r15}], r15",
    "pop qword ptr [rdi + {rdi}]",
    "pop rax",
    "pop rdx",
    "pop qword ptr [rdi + {rip}]",
    "pop rcx",
    "pop qword ptr [rdi + {rflags}]",
    "pop qword ptr [rdi + {rsp}]",
    "pop rcx",
    // The user's direction and alignment flags are not the kernel's.
    "push 2",
    "popfq",
    "jmp leave_user",
    // From syscall: rcx is the user's rip, r11 its flags, the rest is the user's.
    ".balign 16",
    ".global syscall_entry",
    "syscall_entry:",
    "mov [rip + {user_stack}], rsp",
    "mov rsp, [rip + {task} + {kernel_stack}]",
    "push rdi",
    "mov rdi, [rsp + 8]",
    "mov [rdi + {rip}], rcx",
    "mov [rdi + {rflags}], r11",
    "mov [rdi + {rcx}], rcx",
    "mov [rdi + {r11}], r11",
    "pop qword ptr [rdi + {rdi}]",
    "mov [rdi + {rax}], rax",
    "mov [rdi + {rbx}], rbx",
    "mov [rdi + {rdx}], rdx",
    "mov [rdi + {rsi}], rsi",
    "mov [rdi + {rbp}], rbp",
    "mov rcx, [rip + {user_stack}]",
    "mov [rdi + {rsp}], rcx",
    "mov [rdi + {r8}], r8",
    "mov [rdi + {r9}], r9",
    "mov [rdi + {r10}], r10",
    "mov [rdi + {r12}], r12",
    "mov [rdi + {r13}], r13",
    "mov [rdi + {r14}], r14",
    "mov [rdi + {r15}], r15",
    "mov eax, {syscall}",
    "xor edx, edx",
    // Back into the Rust code that called enter_user.
    "leave_user:",
    "add rsp, 8",
    "pop r15",
    "pop r14",
    "pop r13",
    "pop r12",
    "pop rbx",
    "pop rbp",
    "ret",
    ".balign 16",
    ".global enter_user",
    "enter_user:",
    "push rbp",
    "push rbx",
    "push r12",
    "push r13",
    "push r14",
    "push r15",
    "push rdi",
    "mov [rip + {task} + {kernel_stack}], rsp",
    "mov rbx, [rdi + {rbx}]",
    "mov rdx, [rdi + {rdx}]",
    "mov rbp, [rdi + {rbp}]",
    "mov r8, [rdi + {r8}]",
    "mov r9, [rdi + {r9}]",
    "mov r10, [rdi + {r10}]",
    "mov r12, [rdi + {r12}]",
    "mov r13, [rdi + {r13}]",
    "mov r14, [rdi + {r14}]",
    "mov r15, [rdi + {r15}]",
    "mov rcx, [rdi + {rcx}]",
    "mov r11, [rdi + {r11}]",
    "mov rax, [rdi + {rax}]",
    "test sil, sil",
    "mov rsi, [rdi + {rsi}]",
    "jz 2f",
    "mov rsp, [rdi + {rsp}]",
    "mov rdi, [rdi + {rdi}]",
    "sysretq",
    "2: push {user_data}",
    "push qword ptr [rdi + {rsp}]",
    "push qword ptr [rdi + {rflags}]",
    "push {user_code}",
    "push qword ptr [rdi + {rip}]",
    "mov rdi, [rdi + {rdi}]",
    "iretq",
    // In the kernel. An interrupt ends idle (and stays off after it); the rest goes to kernel_fault with all registers.
    ".balign 16",
    "kernel_trap:",
    "cmp qword ptr [rsp], 32",
    "jb 3f",
    "push rax",
    "mov eax, [rsp + 8]",
    "mov [rip + {idle_vector}], eax",
    "pop rax",
    "add rsp, 16",
    "and qword ptr [rsp + 16], ~0x200",
    "iretq",
    "3: push rax",
    "push rbx",
    "push rcx",
    "push rdx",
    "push rsi",
    "push rdi",
    "push rbp",
    "push r8",
    "push r9",
    "push r10",
    "push r11",
    "push r12",
    "push r13",
    "push r14",
    "push r15",
    "cld",
    "mov rdi, rsp",
    "mov rbx, rsp",
    "and rsp, -16",
    "call {kernel_fault}",
    // It returns only to a probe of the self test, having changed the frame.
    "mov rsp, rbx",
    "pop r15",
    "pop r14",
    "pop r13",
    "pop r12",
    "pop r11",
    "pop r10",
    "pop r9",
    "pop r8",
    "pop rbp",
    "pop rdi",
    "pop rsi",
    "pop rdx",
    "pop rcx",
    "pop rbx",
    "pop rax",
    "add rsp, 16",
    "iretq",
    stub = const STUB,
    nmi = const NMI,
    double_fault = const DOUBLE_FAULT,
    machine_check = const MACHINE_CHECK,
    syscall = const SYSCALL,
    user_data = const USER_DATA,
    user_code = const USER_CODE,
    task = sym TASK,
    kernel_stack = const offset_of!(TaskState, kernel_stack),
    user_stack = sym USER_STACK,
    idle_vector = sym IDLE_VECTOR,
    kernel_fault = sym kernel_fault,
    rax = const offset_of!(UserRegs, rax),
    rbx = const offset_of!(UserRegs, rbx),
    rcx = const offset_of!(UserRegs, rcx),
    rdx = const offset_of!(UserRegs, rdx),
    rsi = const offset_of!(UserRegs, rsi),
    rdi = const offset_of!(UserRegs, rdi),
    rbp = const offset_of!(UserRegs, rbp),
    rsp = const offset_of!(UserRegs, rsp),
    r8 = const offset_of!(UserRegs, r8),
    r9 = const offset_of!(UserRegs, r9),
    r10 = const offset_of!(UserRegs, r10),
    r11 = const offset_of!(UserRegs, r11),
    r12 = const offset_of!(UserRegs, r12),
    r13 = const offset_of!(UserRegs, r13),
    r14 = const offset_of!(UserRegs, r14),
    r15 = const offset_of!(UserRegs, r15),
    rip = const offset_of!(UserRegs, rip),
    rflags = const offset_of!(UserRegs, rflags),
);

/// Loads segments, gates and the `syscall` registers.
pub(crate) fn init() {
    let mut task = TaskState::new();
    for (number, stack) in [
        (NMI_STACK, &raw const nmi_stack),
        (FAULT_STACK, &raw const fault_stack),
        (CHECK_STACK, &raw const check_stack),
    ] {
        task.trap_stacks[usize::from(number) - 1] = stack as u64;
    }
    let mut gates = [[0; 2]; 256];
    for (vector, slot) in (0u8..=255).zip(gates.iter_mut()) {
        let stack = match vector {
            NMI => NMI_STACK,
            DOUBLE_FAULT => FAULT_STACK,
            MACHINE_CHECK => CHECK_STACK,
            _ => 0,
        };
        let stub = (&raw const trap_stubs) as u64 + u64::from(vector) * STUB;
        *slot = gate(stub, stack, vector == BREAKPOINT);
    }
    // SAFETY: nothing else reads or writes the task state before it is loaded below.
    unsafe { TASK.0.get().write(task) };
    // SAFETY: as above, for the segments.
    unsafe { SEGMENTS.0.get().write(descriptor_table(TASK.0.get() as u64)) };
    // SAFETY: as above, for the gates.
    unsafe { GATES.0.get().write(gates) };

    load_tables();

    // SAFETY: `syscall` exists in 64-bit mode; its registers are set right below, before any user code runs.
    unsafe { Efer::update(|efer| efer.insert(EferFlags::SYSTEM_CALL_EXTENSIONS)) };
    for (msr, value) in
        [(STAR_MSR, STAR), (LSTAR_MSR, (&raw const syscall_entry) as u64), (FMASK_MSR, CLEARED_FLAGS)]
    {
        // SAFETY: selectors of the loaded table, the address of the entry code, flags that may be cleared.
        unsafe { Msr::new(msr).write(value) };
    }
}

/// What `lgdt` and `lidt` read.
#[repr(C, packed(2))]
struct TablePointer {
    limit: u16,
    base: u64,
}

fn load_tables() {
    let segments = TablePointer { limit: (TABLE_WORDS * 8 - 1) as u16, base: SEGMENTS.0.get() as u64 };
    let gates = TablePointer { limit: 256 * 16 - 1, base: GATES.0.get() as u64 };
    // SAFETY: both tables are complete and static. The far return reloads the code segment with the same rights it
    // has; the data segments are not used in 64-bit mode; the task state is available, as it is loaded once.
    unsafe {
        asm!(
            "lgdt [{segments}]",
            "lidt [{gates}]",
            "push {code}",
            "lea {scratch}, [rip + 2f]",
            "push {scratch}",
            "retfq",
            "2: mov {scratch:e}, {data}",
            "mov ss, {scratch:x}",
            "mov {scratch:e}, {task}",
            "ltr {scratch:x}",
            segments = in(reg) &raw const segments,
            gates = in(reg) &raw const gates,
            scratch = out(reg) _,
            code = const KERNEL_CODE,
            data = const segments::KERNEL_DATA,
            task = const TASK_STATE,
        );
    }
}

/// Makes the tables at physical address `root` current.
///
/// # Safety
///
/// `root` is a page-table root whose upper half is the kernel's.
#[inline]
pub(crate) unsafe fn load_root(root: u64) {
    ROOT.store(root, Ordering::Relaxed);
    // SAFETY: the kernel's mappings stay the same, by the caller's promise.
    unsafe { Cr3::write(PhysFrame::containing_address(PhysAddr::new_truncate(root)), Cr3Flags::empty()) };
}

/// Loads the address space and the segment bases if the CPU may have others.
///
/// A program can change its bases by loading a selector, unseen; that harms nobody but itself, as another address space
/// does not trust what is remembered here.
///
/// # Safety
///
/// As for `load_root`.
#[inline]
unsafe fn load_space(regs: &UserRegs, root: u64) {
    let other_space = ROOT.load(Ordering::Relaxed) != root;
    if other_space {
        // SAFETY: the caller's promise.
        unsafe { load_root(root) };
    }
    for (loaded, base, msr) in [(&FS_BASE, regs.fs_base, FS_BASE_MSR), (&GS_BASE, regs.gs_base, GS_BASE_MSR)]
    {
        if other_space || loaded.load(Ordering::Relaxed) != base {
            loaded.store(base, Ordering::Relaxed);
            // SAFETY: `run_user` has checked that the base is canonical; the kernel uses neither segment.
            unsafe { Msr::new(msr).write(base) };
        }
    }
}

/// Runs user code until it traps; see `Hardware::run_user`.
///
/// # Safety
///
/// As for `load_root`, and the lower half gives users only frames that are theirs.
#[inline]
pub(crate) unsafe fn run_user(regs: &mut UserRegs, root: u64) -> Event {
    if (regs.rip | regs.fs_base | regs.gs_base) >> 47 != 0 {
        return Event::Exception { vector: GENERAL_PROTECTION, error: 0, address: 0 };
    }
    regs.rflags = (regs.rflags & USER_FLAGS) | FIXED_FLAGS;
    let fast = regs.rcx == regs.rip && regs.r11 == regs.rflags && regs.rflags & TRAP_FLAG == 0;
    // SAFETY: the caller's promise.
    unsafe { load_space(regs, root) };
    // SAFETY: the registers hold user addresses and harmless flags, the address space maps the kernel; the assembly
    // returns here with the callee-saved registers restored, having written to `regs` only.
    let trap = unsafe { enter_user(regs, fast) };
    match trap.vector {
        SYSCALL => Event::Syscall,
        32.. => Event::Interrupt(interrupted(trap.vector as u8)),
        vector => {
            let vector = vector as u8;
            let address = if vector == PAGE_FAULT { Cr2::read_raw() } else { 0 };
            Event::Exception { vector, error: trap.error, address }
        }
    }
}

/// Sleeps until an interrupt comes, and returns its vector.
pub(crate) fn idle() -> u8 {
    IDLE_VECTOR.store(0, Ordering::Relaxed);
    while IDLE_VECTOR.load(Ordering::Relaxed) == 0 {
        // SAFETY: the instruction after `sti` still runs without interrupts, so none is lost before `hlt`; the entry
        // code turns them off again. It preserves all registers.
        unsafe { asm!("sti", "hlt", "cli", options(nostack)) };
    }
    interrupted(IDLE_VECTOR.load(Ordering::Relaxed) as u8)
}

/// Acknowledges an interrupt, and takes what the device has to say.
#[inline]
fn interrupted(vector: u8) -> u8 {
    if vector == crate::event::CONSOLE_VECTOR {
        console::interrupt();
    }
    timer::acknowledge(vector);
    vector
}
