//! Offers: what a call may spend. Every stub takes one; the caller's account pays for what is used, never more than was offered.

use core::ops::Deref;
use core::time::Duration;

use drover_abi::PAGE_SIZE;
use mig_runtime::{Donation, Offered};

use crate::clock::{Deadline, nanos};
use crate::local::Local;
use crate::{syscall, world};

/// A donation under construction. Goes wherever a `&Donation` is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offer(Donation);

impl Offer {
    /// Everything that remains to the caller.
    #[must_use]
    pub const fn all() -> Self {
        Self(Donation::ALL)
    }

    /// At most that much CPU time.
    #[must_use]
    pub fn cpu(self, time: Duration) -> Self {
        Self(self.0.cpu(nanos(time)))
    }

    /// At most that many frames at any one moment.
    #[must_use]
    pub const fn frames(self, frames: u64) -> Self {
        Self(self.0.frames(frames))
    }

    /// At most the frames that hold `bytes`.
    #[must_use]
    pub const fn bytes(self, bytes: u64) -> Self {
        self.frames(bytes.div_ceil(PAGE_SIZE as u64))
    }

    /// At most that many units of 512 bytes of I/O.
    #[must_use]
    pub const fn io(mut self, units: u64) -> Self {
        self.0.io = units;
        self
    }

    /// Ends by then.
    #[must_use]
    pub const fn by(self, deadline: Deadline) -> Self {
        Self(self.0.deadline(deadline.ns()))
    }

    /// Ends `time` from now at the latest.
    #[must_use]
    pub fn within(self, time: Duration) -> Self {
        self.by(Deadline::within(time))
    }

    /// At most that many further calls deep.
    #[must_use]
    pub const fn depth(self, depth: u64) -> Self {
        Self(self.0.depth(depth))
    }

    /// Accepts at most that many frames as gifts in the reply.
    #[must_use]
    pub const fn accept(mut self, frames: u64) -> Self {
        self.0.accept = frames;
        self
    }

    /// Servers may retain at most that many frames in sessions.
    #[must_use]
    pub const fn retain(mut self, frames: u64) -> Self {
        self.0.retain = frames;
        self
    }
}

impl Deref for Offer {
    type Target = Donation;
    fn deref(&self) -> &Donation {
        &self.0
    }
}

/// What remains of the offer of the call that runs here, by which interfaces judge it. `None` outside a call, and in worlds without ceilings.
#[must_use]
pub fn offered() -> Option<Offered> {
    if !Local::current().in_call() || !world::current().has_ceilings() {
        return None;
    }
    syscall::call_info().map(|info| Offered { remaining: info.remaining, now_ns: info.now_ns })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_ceiling_is_its_own() {
        let offer = Offer::all().cpu(Duration::from_millis(2)).bytes(4097).io(8).depth(3).accept(1).retain(0);
        assert_eq!(
            *offer,
            Donation {
                cpu_ns: 2_000_000,
                frames: 2,
                io: 8,
                deadline_ns: u64::MAX,
                depth: 3,
                accept: 1,
                retain: 0,
                reserved: 0
            }
        );
    }
}
