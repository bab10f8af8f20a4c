//! The machine as its drivers see it, through the privileged host port: accounts, frames, the checker, the end.
//!
//! Everything is charged to the caller.

use alloc::vec::Vec;

use libhurd::abi::account::{AccountInfo, UNLIMITED};
use libhurd::mig::{OutData, PortName};
use libhurd::port::SendRight;
use libhurd::stubs::account::{account_create, account_destroy, account_info, account_set_name};
use libhurd::stubs::drover_host::{
    HostCheckConservationReply, HostFramesReply, host_account_snapshot, host_check_conservation, host_frames,
    host_shutdown,
};
use libhurd::{ALL, Env, Mach, clock, ool};

/// Exit code of the machine after success.
pub const SUCCEEDED: i32 = 16;
/// Exit code of the machine after failure.
pub const FAILED: i32 = 17;
/// The descriptor under which a driver finds the privileged host port.
const HOST_DESCRIPTOR: usize = 3;

/// The privileged host port.
#[derive(Clone, Copy, Debug)]
pub struct Machine(PortName);

/// Limits of a new account.
#[derive(Clone, Copy, Debug)]
pub struct Grant {
    /// For people, and for [`make_account`].
    pub name: &'static str,
    /// Frames of 4096 bytes.
    pub frames: u64,
    /// Kernel objects.
    pub objects: u64,
    /// Calls in flight.
    pub calls: u64,
    /// CPU share in 1/10000 of the machine.
    pub share: i32,
}

impl Machine {
    /// As the first task handed it over.
    #[must_use]
    pub fn of(env: &Env) -> Self {
        Self(env.fd(HOST_DESCRIPTOR))
    }

    /// The port.
    #[must_use]
    pub const fn port(self) -> PortName {
        self.0
    }

    /// Frames of the machine.
    ///
    /// # Errors
    /// The kernel's.
    pub fn frames(self) -> Result<HostFramesReply, i32> {
        Ok(host_frames(&Mach, self.0, ALL)?)
    }

    /// All accounts, parents before children.
    ///
    /// # Errors
    /// The kernel's.
    pub fn accounts(self) -> Result<Vec<AccountInfo>, i32> {
        let reply = host_account_snapshot(&Mach, self.0, ALL)?;
        let rows = ool::take_values::<[u64; 31], 1>(OutData::Ool(reply.accounts));
        Ok(rows.into_iter().map(|words| zerocopy::transmute!(words)).collect())
    }

    /// Runs the checker once.
    ///
    /// # Errors
    /// The kernel's.
    pub fn check(self) -> Result<HostCheckConservationReply, i32> {
        Ok(host_check_conservation(&Mach, self.0, ALL)?)
    }

    /// Ends the machine.
    pub fn shut_down(self, code: i32) -> ! {
        loop {
            let _ = host_shutdown(&Mach, self.0, code, ALL);
            let _ = clock::sleep(core::time::Duration::from_secs(1));
        }
    }
}

/// The name of an account.
#[must_use]
pub fn name_of(info: &AccountInfo) -> &[u8] {
    let end = info.name.iter().position(|&byte| byte == 0).unwrap_or(info.name.len());
    &info.name[..end]
}

/// Everything about one account.
///
/// # Errors
/// The kernel's.
pub fn info(account: PortName) -> Result<AccountInfo, i32> {
    Ok(zerocopy::transmute!(account_info(&Mach, account, ALL)?.info))
}

/// A child of `parent`, without budgets of CPU time and I/O. Charged to the parent.
///
/// # Errors
/// The kernel's.
pub fn make_account(parent: PortName, grant: &Grant) -> Result<SendRight, i32> {
    let Grant { name, frames, objects, calls, share } = *grant;
    let reply = account_create(&Mach, parent, frames, objects, calls, UNLIMITED, UNLIMITED, share, ALL)?;
    let account = SendRight::from_name(reply.child);
    account_set_name(&Mach, account.name(), name.as_bytes(), ALL)?;
    Ok(account)
}

/// Destroys an account and everything in it, at the caller's expense.
///
/// # Errors
/// The kernel's.
pub fn destroy_account(account: &SendRight) -> Result<(), i32> {
    Ok(account_destroy(&Mach, account.name(), ALL)?)
}
