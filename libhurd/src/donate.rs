//! Offers: what a call may spend. Every stub takes one; the caller's account pays for what is used, never more than was offered.

use core::ops::Deref;
use core::time::Duration;

use drover_abi::PAGE_SIZE;
use mig_runtime::{Donation, Offered};

use crate::clock::{Deadline, nanos};
use crate::local::Local;
use crate::{server, syscall, world};

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

/// What the call that runs here was offered, by which interfaces judge it: what remains, and the unwind reserve, which is part of the offer but not of what
/// remains. `None` outside a call, and in worlds without ceilings.
#[must_use]
pub fn offered() -> Option<Offered> {
    if !Local::current().in_call() || !world::current().has_ceilings() {
        return None;
    }
    let info = syscall::call_info()?;
    let (cpu_ns, frames) = server::reserve();
    Some(Offered { remaining: with_reserve(&info.remaining, cpu_ns, frames), now_ns: info.now_ns })
}

fn with_reserve(remaining: &Donation, cpu_ns: u64, frames: u64) -> Donation {
    /// More than any machine has: the offer was all that remains, and the way has taken something of it.
    const ALL_FRAMES: u64 = 1 << 52;
    let frames = match remaining.frames {
        ALL_FRAMES.. => u64::MAX,
        left => left.saturating_add(frames),
    };
    Donation { cpu_ns: remaining.cpu_ns.saturating_add(cpu_ns), frames, ..*remaining }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reserve_is_part_of_the_offer() {
        let remaining = Donation::ALL.cpu(5_000_000).frames(3);
        assert_eq!(with_reserve(&remaining, 200_000, 8), Donation::ALL.cpu(5_200_000).frames(11));
        // "All that remains" stays that, and so above every upper bound.
        let all = Donation::ALL.frames(u64::MAX - 12);
        assert_eq!(with_reserve(&all, 200_000, 8), Donation::ALL);
    }

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
