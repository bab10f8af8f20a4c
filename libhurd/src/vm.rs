//! Memory of this task: pages that are allocated, mapped, freed. The current payer pays.

use drover_abi::vm::{VM_INHERIT_COPY, VM_PROT_ALL};
use hurd_stubs::mach;
use mig_runtime::PortName;

use crate::rpc::{ALL, Mach};
use crate::task;

/// Demand-zero memory wherever there is room; in a call, at the caller's expense, in the window.
///
/// # Errors
/// The kernel's: `KERN_NO_SPACE`, `KERN_RESOURCE_SHORTAGE`.
pub fn allocate(size: u64) -> Result<u64, i32> {
    Ok(mach::vm_allocate(&Mach, task::this(), 0, size, true, ALL)?.address)
}

/// Demand-zero memory at `address`.
///
/// # Errors
/// The kernel's.
pub fn allocate_at(address: u64, size: u64) -> Result<(), i32> {
    mach::vm_allocate(&Mach, task::this(), address, size, false, ALL)?;
    Ok(())
}

/// Unmaps memory. Whoever still uses it faults.
///
/// # Errors
/// The kernel's.
pub fn deallocate(address: u64, size: u64) -> Result<(), i32> {
    Ok(mach::vm_deallocate(&Mach, task::this(), address, size, ALL)?)
}

/// How to map a memory object.
#[derive(Clone, Copy, Debug)]
pub struct Mapping {
    /// Bytes.
    pub size: u64,
    /// Offset in the object.
    pub offset: u64,
    /// Private, copied on write.
    pub copy: bool,
    /// `VM_PROT_` bits.
    pub protection: i32,
}

/// Maps a memory object wherever there is room.
///
/// # Errors
/// The kernel's.
pub fn map(object: PortName, mapping: Mapping) -> Result<u64, i32> {
    let reply = mach::vm_map(
        &Mach,
        task::this(),
        0,
        mapping.size,
        0,
        true,
        object,
        mapping.offset,
        mapping.copy,
        mapping.protection,
        VM_PROT_ALL,
        VM_INHERIT_COPY,
        ALL,
    )?;
    Ok(reply.address)
}
