//! Tasks: this one, and others that it makes.

use core::sync::atomic::{AtomicU32, Ordering};

use drover_abi::port::TASK_BOOTSTRAP_PORT;
use hurd_stubs::{mach, process};
use mig_runtime::{PortName, offer};

use crate::port::SendRight;
use crate::rpc::{ALL, Mach};
use crate::{env, payer, syscall};

/// This task's kernel port; the name stays valid for the life of the task.
#[must_use]
pub fn this() -> PortName {
    static THIS: AtomicU32 = AtomicU32::new(0);
    let known = THIS.load(Ordering::Relaxed);
    if known != 0 {
        return PortName(known);
    }
    let name = payer::own(syscall::mach_task_self);
    THIS.store(name.0, Ordering::Relaxed);
    name
}

/// Ends a task. Its account gets everything back.
///
/// # Errors
/// The kernel's.
pub fn terminate(task: PortName) -> Result<(), i32> {
    Ok(mach::task_terminate(&Mach, task, ALL)?)
}

/// The task's bootstrap port.
#[must_use]
pub fn bootstrap_port() -> Option<PortName> {
    let reply = mach::task_get_special_port(&Mach, this(), TASK_BOOTSTRAP_PORT, ALL).ok()?;
    Some(reply.special_port).filter(|port| port.is_valid())
}

/// Tells proc, if there is one, with what status the program ends (as `wait` reports it: code << 8).
pub(crate) fn mark_exit(status: i32) {
    let proc = env::current().port(drover_abi::startup::INIT_PORT_PROC);
    if proc.is_valid() {
        // Proc learns of the task's end in any case.
        let _ = process::proc_mark_exit(
            &Mach,
            proc,
            (status & 0xff) << 8,
            0,
            offer!(process::offer::PROC_MARK_EXIT),
        );
    }
}

/// A new task without memory or ports, paid by this one's account; not killed on drop, only its port is given back.
///
/// # Errors
/// The kernel's.
pub fn create() -> Result<SendRight, i32> {
    Ok(SendRight::from_name(mach::task_create(&Mach, this(), false, ALL)?.child_task))
}

/// A new task without memory or ports, paid by `account`.
///
/// # Errors
/// The kernel's; `KERN_INVALID_RIGHT` if the account may not be charged.
pub fn create_for(account: PortName) -> Result<SendRight, i32> {
    Ok(SendRight::from_name(
        hurd_stubs::account::account_task_create(&Mach, account, this(), false, ALL)?.child_task,
    ))
}
