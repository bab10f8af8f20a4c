//! Accounts as user space sees them.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Number of resources that an account counts.
pub const RESOURCES: usize = 5;
/// Memory, in frames of 4096 bytes. A stock: what is held now.
pub const FRAMES: usize = 0;
/// Kernel objects (tasks, threads, activations, ports, messages, map entries, accounts...). A stock.
pub const OBJECTS: usize = 1;
/// Calls in flight. A stock.
pub const CALLS: usize = 2;
/// CPU time in ns. A flow: charged only grows; the limit is a budget (`u64::MAX`: none).
pub const CPU: usize = 3;
/// I/O in units of 512 bytes. A flow.
pub const IO: usize = 4;

/// No limit.
pub const UNLIMITED: u64 = u64::MAX;

/// One resource of one account. Invariant: charged + given + escrow <= limit.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
pub struct Resource {
    /// What the account may use or give away.
    pub limit: u64,
    /// What it uses itself.
    pub charged: u64,
    /// What it has moved to its children.
    pub given: u64,
    /// What is set aside for the unwinding of calls in flight.
    pub escrow: u64,
}

/// State of an account.
pub const ACCOUNT_OPEN: u32 = 0;
/// Being destroyed: nothing new may be charged.
pub const ACCOUNT_CLOSING: u32 = 1;

/// Flag: a session; retained by a server on behalf of the parent.
pub const ACCOUNT_SESSION: u32 = 1;

/// A row of the snapshot of all accounts.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
pub struct AccountInfo {
    /// Id, never reused; root is 1.
    pub id: u64,
    /// Id of the parent, 0 for root.
    pub parent: u64,
    /// [`ACCOUNT_OPEN`] or [`ACCOUNT_CLOSING`].
    pub state: u32,
    /// [`ACCOUNT_SESSION`].
    pub flags: u32,
    /// The resources, indexed by [`FRAMES`] ... [`IO`].
    pub resources: [Resource; RESOURCES],
    /// Largest value that `charged` of frames has had.
    pub frames_peak: u64,
    /// CPU share in 1/10000 of the machine, after what was given to children.
    pub share: u32,
    /// CPU cap: ns per period; 0 = none.
    pub cap_ns: u32,
    /// Period of the cap in ns.
    pub period_ns: u64,
    /// CPU that servers burnt beyond their unwind reserve while serving this account's calls.
    pub overrun_ns: u64,
    /// A name for people, NUL-padded.
    pub name: [u8; 32],
}
