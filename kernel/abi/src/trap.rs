//! Trap numbers: `rax` at the `syscall` instruction, negative.
//!
//! Arguments: rdi, rsi, rdx, r10, r8, r9, then the user stack at `8(%rsp)`. Only rax, rcx and r11 change.
//! GNU Mach's table ends at 129; Drover's own traps start at 160.

/// `mach_msg(msg, option, send_size, rcv_size, rcv_name, timeout_ms, notify)`.
pub const MACH_MSG: i32 = -25;
/// `mach_reply_port() -> name`: a new receive right.
pub const MACH_REPLY_PORT: i32 = -26;
/// `mach_thread_self() -> name`: a send right, one more user reference each call.
pub const MACH_THREAD_SELF: i32 = -27;
/// `mach_task_self() -> name`.
pub const MACH_TASK_SELF: i32 = -28;
/// `mach_host_self() -> name`: the unprivileged host port.
pub const MACH_HOST_SELF: i32 = -29;
/// `mach_print(cstring)`: to the console; the string is copied in, at most 256 bytes.
pub const MACH_PRINT: i32 = -30;
/// `swtch_pri(pri)`.
pub const SWTCH_PRI: i32 = -59;
/// `swtch()`.
pub const SWTCH: i32 = -60;
/// `thread_switch(thread, option, option_time)`.
pub const THREAD_SWITCH: i32 = -61;

/// `drover_call(msg, option, send_size, rcv_size, rcv_name, timeout_ms, donation)`: `mach_msg` SEND|RCV with an explicit
/// [`Donation`](crate::donation::Donation) (pointer; 0 = everything that remains to the caller).
pub const DROVER_CALL: i32 = -160;
/// `drover_return(reply, size)`: ends the topmost activation in a server. Returns only on a bad reply.
pub const DROVER_RETURN: i32 = -161;
/// `drover_wait(addr, expected, owner_tid, flags, deadline_ns)`: owned wait on a 32-bit word. `addr` 0: just sleep.
pub const DROVER_WAIT: i32 = -162;
/// `drover_wake(addr, count) -> number woken`.
pub const DROVER_WAKE: i32 = -163;
/// `drover_critical_end()`: the critical depth has come to 0 while an exit is pending. Does not return then.
pub const DROVER_CRITICAL_END: i32 = -164;
/// `drover_payer(mode, account_name) -> kern_return`: sets the payer of the current activation.
pub const DROVER_PAYER: i32 = -165;
/// `drover_clock() -> ns since boot`.
pub const DROVER_CLOCK: i32 = -166;
/// `drover_call_info(buf)`: writes a [`CallInfo`](crate::donation::CallInfo).
pub const DROVER_CALL_INFO: i32 = -167;
/// `drover_thread_exit()`: ends the calling thread (home activation only).
pub const DROVER_THREAD_EXIT: i32 = -168;
/// `drover_charge_io(units) -> kern_return`: charges I/O done on behalf of the current payer.
pub const DROVER_CHARGE_IO: i32 = -169;
/// `drover_account_self() -> name`: at home a send right to the account that pays for the thread; in a call one to the account that pays for the
/// call, good for sessions and for looking only.
pub const DROVER_ACCOUNT_SELF: i32 = -170;

/// Payer mode: the caller's account, under the donation's ceilings; freed with the window.
pub const PAYER_CALL: u64 = 0;
/// Payer mode: the account of the task the activation is in.
pub const PAYER_OWN: u64 = 1;
/// Payer mode: the account named by the second argument (a right to charge it is needed).
pub const PAYER_ACCOUNT: u64 = 2;

/// `drover_wait` flag: the waiter lends its turns to the owner.
pub const WAIT_LEND: u64 = 1;
