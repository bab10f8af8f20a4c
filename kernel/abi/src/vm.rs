//! Virtual-memory constants.

/// `vm_prot_t`: read.
pub const VM_PROT_READ: i32 = 1;
/// Write.
pub const VM_PROT_WRITE: i32 = 2;
/// Execute.
pub const VM_PROT_EXECUTE: i32 = 4;
/// All of the three.
pub const VM_PROT_ALL: i32 = 7;
/// `vm_inherit_t`: share with the child.
pub const VM_INHERIT_SHARE: i32 = 0;
/// Copy (on write) into the child.
pub const VM_INHERIT_COPY: i32 = 1;
/// Absent in the child.
pub const VM_INHERIT_NONE: i32 = 2;
/// First address above user space.
pub const VM_MAX_ADDRESS: u64 = 0x8000_0000_0000;
