//! Making the accounts that [`budget`](crate::budget) says. The account objects are charged to their parents.

use libhurd::abi::account::UNLIMITED;
use libhurd::mig::PortName;
use libhurd::port::SendRight;
use libhurd::stubs::account::{account_create, account_set_name};
use libhurd::{ALL, Mach};

use crate::budget::Grant;

/// An account of this machine, and its name.
pub(crate) struct Account {
    pub(crate) name: &'static str,
    pub(crate) right: SendRight,
}

/// Makes a child of `parent`, without a budget of CPU time or I/O.
///
/// # Errors
/// The kernel's: `KERN_RESOURCE_SHORTAGE` when the parent has not that much.
pub(crate) fn make(parent: PortName, grant: &Grant) -> Result<Account, i32> {
    let Grant { name, frames, objects, calls, share } = *grant;
    let share = i32::try_from(share).unwrap_or(i32::MAX);
    let reply = account_create(&Mach, parent, frames, objects, calls, UNLIMITED, UNLIMITED, share, ALL)?;
    let right = SendRight::from_name(reply.child);
    account_set_name(&Mach, right.name(), name.as_bytes(), ALL)?;
    Ok(Account { name, right })
}
