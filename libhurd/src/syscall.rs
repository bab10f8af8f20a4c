//! The traps: `syscall` with the number in `rax`; arguments in rdi, rsi, rdx, r10, r8, r9, the seventh on the stack behind a
//! return address. Only rax, rcx and r11 change.
//!
//! Under a host build there is no kernel below: every trap answers `KERN_FAILURE`, so that all the rest can be compiled, linted
//! and unit-tested there.

use drover_abi::donation::{CallInfo, Donation};
use drover_abi::trap;
use mig_runtime::PortName;
use zerocopy::{FromZeros, IntoBytes};

/// A trap with up to six arguments.
///
/// # Safety
/// The kernel reads and writes the memory that the arguments name, as `drover_abi::trap` says for `number`: it must be valid for
/// that, and writable memory must not be borrowed elsewhere.
#[cfg(target_os = "none")]
#[inline]
unsafe fn trap6(number: i32, args: [u64; 6]) -> u64 {
    let result;
    let [a, b, c, d, e, f] = args;
    // SAFETY: the instruction changes rax, rcx and r11 and whatever memory the caller vouches for.
    unsafe {
        core::arch::asm!(
            "syscall",
            inlateout("rax") i64::from(number) => result,
            in("rdi") a, in("rsi") b, in("rdx") c, in("r10") d, in("r8") e, in("r9") f,
            lateout("rcx") _, lateout("r11") _,
            options(nostack),
        );
    }
    result
}

/// A trap with seven arguments.
///
/// # Safety
/// As for [`trap6`].
#[cfg(target_os = "none")]
#[inline]
unsafe fn trap7(number: i32, args: [u64; 6], seventh: u64) -> u64 {
    let result;
    let [a, b, c, d, e, f] = args;
    // SAFETY: two words are pushed and dropped again; the rest is as in `trap6`.
    unsafe {
        core::arch::asm!(
            "push {seventh}",
            "push 0",
            "syscall",
            "add rsp, 16",
            seventh = in(reg) seventh,
            inlateout("rax") i64::from(number) => result,
            in("rdi") a, in("rsi") b, in("rdx") c, in("r10") d, in("r8") e, in("r9") f,
            lateout("rcx") _, lateout("r11") _,
        );
    }
    result
}

/// No kernel: see the module's documentation.
///
/// # Safety
/// None needed.
#[cfg(not(target_os = "none"))]
unsafe fn trap6(_number: i32, _args: [u64; 6]) -> u64 {
    drover_abi::returns::KERN_FAILURE as u64
}

/// No kernel: see the module's documentation.
///
/// # Safety
/// None needed.
#[cfg(not(target_os = "none"))]
unsafe fn trap7(_number: i32, _args: [u64; 6], _seventh: u64) -> u64 {
    drover_abi::returns::KERN_FAILURE as u64
}

/// The return code in the low half of a result.
const fn code(result: u64) -> Result<(), i32> {
    match result as u32 as i32 {
        0 => Ok(()),
        code => Err(code),
    }
}

/// Arguments of [`mach_msg`] and [`drover_call`].
#[derive(Clone, Copy, Debug, Default)]
pub struct MsgArgs {
    /// `MACH_SEND_MSG` and so on.
    pub option: u32,
    /// Bytes to send.
    pub send_size: usize,
    /// Port or set to receive from.
    pub rcv_name: PortName,
    /// Milliseconds, with the time-out options.
    pub timeout: u32,
}

fn msg_args(msg: &mut [u8], args: MsgArgs) -> Result<[u64; 6], i32> {
    if args.send_size > msg.len() {
        return Err(drover_abi::returns::KERN_INVALID_ARGUMENT);
    }
    Ok([
        msg.as_mut_ptr() as u64,
        u64::from(args.option),
        args.send_size as u64,
        msg.len() as u64,
        u64::from(args.rcv_name.0),
        u64::from(args.timeout),
    ])
}

/// `mach_msg`: sends and receives in `msg`.
///
/// # Errors
/// The `mach_msg_return_t`.
pub fn mach_msg(msg: &mut [u8], args: MsgArgs) -> Result<(), i32> {
    let words = msg_args(msg, args)?;
    // SAFETY: the kernel reads and writes `msg` alone, which is borrowed for that. Out-of-line addresses in it are a matter
    // of who wrote them; moving memory out of line is an operation of `ool`.
    code(unsafe { trap7(trap::MACH_MSG, words, 0) })
}

/// `drover_call`: `mach_msg` with an explicit donation; `None` = everything that remains.
///
/// # Errors
/// The `mach_msg_return_t`, or the `kern_return_t` of a refusal.
pub fn drover_call(msg: &mut [u8], args: MsgArgs, donation: Option<&Donation>) -> Result<(), i32> {
    let words = msg_args(msg, args)?;
    let donation = donation.map_or(0, |d| core::ptr::from_ref(d) as u64);
    // SAFETY: as in `mach_msg`; the donation is read.
    code(unsafe { trap7(trap::DROVER_CALL, words, donation) })
}

/// A trap without arguments that answers with a port name.
fn name_trap(number: i32) -> PortName {
    // SAFETY: the trap touches no memory.
    let result = unsafe { trap6(number, [0; 6]) };
    PortName(result as u32)
}

/// A new receive right, paid by the current payer; null when there is no room.
#[must_use]
pub fn mach_reply_port() -> PortName {
    name_trap(trap::MACH_REPLY_PORT)
}

/// A send right to the task; one more user reference each call. See [`crate::task::this`].
#[must_use]
pub fn mach_task_self() -> PortName {
    name_trap(trap::MACH_TASK_SELF)
}

/// A send right to the thread; one more user reference each call.
#[must_use]
pub fn mach_thread_self() -> PortName {
    name_trap(trap::MACH_THREAD_SELF)
}

/// A send right to the unprivileged host port; one more user reference each call.
#[must_use]
pub fn mach_host_self() -> PortName {
    name_trap(trap::MACH_HOST_SELF)
}

/// A send right to the account that pays for the task.
#[must_use]
pub fn account_self() -> PortName {
    name_trap(trap::DROVER_ACCOUNT_SELF)
}

/// Writes to the kernel's console: `text` up to its first NUL, in pieces of 255 bytes, each of which is written as a whole.
pub fn mach_print(text: &[u8]) {
    let mut piece = [0u8; 256];
    for chunk in text.chunks(piece.len() - 1) {
        piece[..chunk.len()].copy_from_slice(chunk);
        piece[chunk.len()] = 0;
        // SAFETY: the kernel reads `piece` up to its NUL.
        unsafe { trap6(trap::MACH_PRINT, [piece.as_ptr() as u64, 0, 0, 0, 0, 0]) };
    }
}

/// Ends the topmost activation with the reply in `reply` (empty: no reply).
///
/// # Errors
/// Returns only if the kernel refuses the reply.
pub fn drover_return(reply: &mut [u8]) -> i32 {
    let args = [reply.as_mut_ptr() as u64, reply.len() as u64, 0, 0, 0, 0];
    // SAFETY: the kernel reads the reply; on success nothing of the activation runs on.
    unsafe { trap6(trap::DROVER_RETURN, args) as u32 as i32 }
}

/// Sleeps while `*word == expected`, at most until `deadline` (ns since boot, `u64::MAX` = none).
///
/// # Errors
/// `DROVER_CHANGED`, `KERN_TIMEDOUT`, `DROVER_DEADLOCK`, `DROVER_OWNER_DIED`, `KERN_ABORTED`.
pub fn drover_wait(
    word: &core::sync::atomic::AtomicU32,
    expected: u32,
    owner: u64,
    flags: u64,
    deadline: u64,
) -> Result<(), i32> {
    let args = [word.as_ptr() as u64, u64::from(expected), owner, flags, deadline, 0];
    // SAFETY: the kernel reads one atomic word.
    code(unsafe { trap6(trap::DROVER_WAIT, args) })
}

/// Sleeps until `deadline` (ns since boot).
///
/// # Errors
/// `KERN_ABORTED` when interrupted; `KERN_TIMEDOUT` is what it waits for and counts as success.
pub fn sleep_until(deadline: u64) -> Result<(), i32> {
    // SAFETY: address 0 means no word; no memory is touched.
    match code(unsafe { trap6(trap::DROVER_WAIT, [0, 0, 0, 0, deadline, 0]) }) {
        Err(drover_abi::returns::KERN_TIMEDOUT) | Ok(()) => Ok(()),
        other => other,
    }
}

/// Wakes at most `count` of those who wait on `word`; returns how many.
pub fn drover_wake(word: &core::sync::atomic::AtomicU32, count: u32) -> u32 {
    // SAFETY: the address is a key; the word is at most read.
    unsafe { trap6(trap::DROVER_WAKE, [word.as_ptr() as u64, u64::from(count), 0, 0, 0, 0]) as u32 }
}

/// The critical depth has come to 0 while an exit is pending. Returns if none was.
pub(crate) fn drover_critical_end() {
    // SAFETY: no memory is touched; if an exit was pending the activation goes on at its unwind entry.
    unsafe { trap6(trap::DROVER_CRITICAL_END, [0; 6]) };
}

/// Sets the payer of the current activation. See [`crate::payer`], which restores it.
///
/// # Errors
/// `KERN_INVALID_NAME`, `KERN_INVALID_RIGHT`, `KERN_INVALID_ARGUMENT`.
pub(crate) fn drover_payer(mode: u64, account: PortName) -> Result<(), i32> {
    // SAFETY: no memory is touched.
    code(unsafe { trap6(trap::DROVER_PAYER, [mode, u64::from(account.0), 0, 0, 0, 0]) })
}

/// Nanoseconds since boot.
#[must_use]
pub fn drover_clock() -> u64 {
    // SAFETY: no memory is touched.
    unsafe { trap6(trap::DROVER_CLOCK, [0; 6]) }
}

/// What the current activation may still spend, and who pays.
#[must_use]
pub fn call_info() -> Option<CallInfo> {
    let mut info = CallInfo::new_zeroed();
    let address = info.as_mut_bytes().as_mut_ptr() as u64;
    // SAFETY: the kernel writes one `CallInfo`, for which any bytes are valid.
    code(unsafe { trap6(trap::DROVER_CALL_INFO, [address, 0, 0, 0, 0, 0]) }).ok()?;
    Some(info)
}

/// Makes the page at `address` present, at the expense of its memory's payer, by letting the kernel write a [`CallInfo`] to it.
/// Where an ordinary touch would end the activation, this fails.
///
/// # Safety
/// `address` must be mapped, 8-byte aligned memory of which nobody uses the first `size_of::<CallInfo>()` bytes.
///
/// # Errors
/// The code of the failed copy: `KERN_INVALID_ADDRESS`, `KERN_RESOURCE_SHORTAGE`.
pub(crate) unsafe fn populate_page(address: u64) -> Result<(), i32> {
    // SAFETY: the caller vouches for the memory.
    code(unsafe { trap6(trap::DROVER_CALL_INFO, [address, 0, 0, 0, 0, 0]) })
}

/// Charges I/O of `units` times 512 bytes to the current payer.
///
/// # Errors
/// `KERN_RESOURCE_SHORTAGE` when the ceiling or the account's limit is reached.
pub fn charge_io(units: u64) -> Result<(), i32> {
    // SAFETY: no memory is touched.
    code(unsafe { trap6(trap::DROVER_CHARGE_IO, [units, 0, 0, 0, 0, 0]) })
}

/// Lets others run.
pub fn yield_now() {
    // SAFETY: no memory is touched.
    unsafe { trap6(trap::SWTCH, [0; 6]) };
}
