//! Who pays for what the running activation asks of the kernel.
//!
//! In a call the caller pays, under its ceilings, and everything is freed with the call's window. What must outlive the call is paid by
//! the server itself ([`own`]) or by a session of the client's ([`charged_to`]). Both hold for CPU time, memory and kernel objects,
//! and end with the closure. Outside a call the task pays anyway.

use drover_abi::trap::{PAYER_ACCOUNT, PAYER_CALL, PAYER_OWN};
use mig_runtime::PortName;

use crate::local::Local;
use crate::syscall;

/// The payer before, restored on drop.
struct Restore(u64);

impl Drop for Restore {
    fn drop(&mut self) {
        let local = Local::current();
        local.set_payer_word(self.0);
        // The mode was in force before; the kernel can only have lost an account that died, and then the caller pays.
        if syscall::drover_payer(self.0 & 0xff, PortName((self.0 >> 32) as u32)).is_err() {
            local.set_payer_word(PAYER_CALL);
        }
    }
}

fn switch(mode: u64, account: PortName) -> Result<Option<Restore>, i32> {
    let local = Local::current();
    if !local.in_call() {
        return Ok(None);
    }
    let before = local.payer_word();
    let wanted = mode | u64::from(account.0) << 32;
    if before == wanted {
        return Ok(None);
    }
    syscall::drover_payer(mode, account)?;
    local.set_payer_word(wanted);
    Ok(Some(Restore(before)))
}

/// Runs `body` at the server's own expense, allocations included: for data that outlives the call.
///
/// A forced exit inside drops the closure's half-built values without running their destructors. Build what must not be lost this
/// way in a [`critical`](crate::critical) section, or register it with [`on_exit`](crate::cleanup::on_exit).
pub fn own<R>(body: impl FnOnce() -> R) -> R {
    // The own account may always be charged.
    let _restore = switch(PAYER_OWN, PortName::NULL).unwrap_or(None);
    body()
}

/// Runs `body` at the expense of `account`, which the task must hold a right to charge (a session). Heap allocations are the
/// server's own; memory and objects asked of the kernel are the account's.
///
/// # Errors
/// `KERN_INVALID_RIGHT` or `KERN_INVALID_NAME` if the account may not be charged or has died.
pub fn charged_to<R>(account: PortName, body: impl FnOnce() -> R) -> Result<R, i32> {
    let _restore = switch(PAYER_ACCOUNT, account)?;
    Ok(body())
}

/// Whether heap memory is to come from the call's arena.
pub(crate) fn allocates_in_call(local: Local) -> bool {
    local.in_call() && local.payer_word() & 0xff == PAYER_CALL
}
