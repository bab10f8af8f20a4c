//! The donation: what a call may spend.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Ceilings of one call. [`u64::MAX`] in a field means "all that remains to the caller".
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
pub struct Donation {
    /// CPU time in nanoseconds.
    pub cpu_ns: u64,
    /// Frames charged at any one moment on behalf of the call.
    pub frames: u64,
    /// I/O in units of 512 bytes.
    pub io: u64,
    /// Absolute deadline in nanoseconds since boot; `u64::MAX` = none (the caller's own still holds).
    pub deadline_ns: u64,
    /// How many further calls deep the callee may go.
    pub depth: u64,
    /// Frames of gifts that the caller accepts in the reply (out-of-line memory).
    pub accept: u64,
    /// Frames that servers may retain in sessions after the reply.
    pub retain: u64,
    /// Must be 0.
    pub reserved: u64,
}

impl Donation {
    /// Everything that remains to the caller.
    pub const ALL: Self = Self {
        cpu_ns: u64::MAX,
        frames: u64::MAX,
        io: u64::MAX,
        deadline_ns: u64::MAX,
        depth: u64::MAX,
        accept: u64::MAX,
        retain: u64::MAX,
        reserved: 0,
    };

    /// The same offer with another CPU ceiling (ns).
    #[must_use]
    pub const fn cpu(mut self, ns: u64) -> Self {
        self.cpu_ns = ns;
        self
    }

    /// The same offer with another ceiling on frames.
    #[must_use]
    pub const fn frames(mut self, frames: u64) -> Self {
        self.frames = frames;
        self
    }

    /// The same offer with an absolute deadline (ns since boot).
    #[must_use]
    pub const fn deadline(mut self, ns: u64) -> Self {
        self.deadline_ns = ns;
        self
    }

    /// The same offer with another ceiling on call depth.
    #[must_use]
    pub const fn depth(mut self, depth: u64) -> Self {
        self.depth = depth;
        self
    }
}

/// What an activation may know about itself (`drover_call_info`).
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
pub struct CallInfo {
    /// What remains of each ceiling.
    pub remaining: Donation,
    /// Id of the account that pays for the thread (never reused).
    pub payer: u64,
    /// Thread id (never reused).
    pub tid: u64,
    /// Activations below this one.
    pub depth: u64,
    /// Now, ns since boot.
    pub now_ns: u64,
}
