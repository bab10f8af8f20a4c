//! What differs between the worlds, all in one place. The rest of the server asks this and nothing else.
//!
//! | | classic | charging | ceilings | accounted |
//! |---|---|---|---|---|
//! | open files paid by | ext2 | the client's session | the client's session | the client's session |
//! | a translator is started by | the first visitor's worker | a thread that the owner pays for | the same | the same |
//! | its start may take | for ever | for ever | its offer | its offer |
//! | other visitors wait | for ever, for nobody | for ever, for nobody | for ever, for nobody | for that thread, until their deadline |
//!
//! The two lower rows are libhurd's: an [`Event`](libhurd::wait::Event) and a [`Donation`] are what the world makes of them. With
//! `--node-lock` the first visitor does the work itself, under the node's lock, in every world.

use core::time::Duration;

use libhurd::mig::Donation;
use libhurd::world::World;
use libhurd::{Deadline, Offer};

use super::options::StartOffer;

/// The rules of this server in this world.
#[derive(Clone, Copy, Debug)]
pub(super) struct Policy {
    world: World,
    node_lock: bool,
    start: StartOffer,
}

/// How a node is locked while its translator starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NodeLock {
    /// Not at all: the right way.
    None,
    /// With a lock that knows no rule.
    Classic,
    /// With a lock under the lock rule: the kernel refuses calls meanwhile.
    Ruled,
}

impl Policy {
    /// For `world`.
    pub(super) const fn new(world: World, node_lock: bool, start: StartOffer) -> Self {
        Self { world, node_lock, start }
    }

    /// Open files are charged to sessions of the clients.
    pub(super) const fn uses_sessions(self) -> bool {
        self.world.migrates()
    }

    /// The visitor who finds a node without its translator starts it on its own thread.
    pub(super) const fn visitor_starts(self) -> bool {
        self.node_lock || !self.world.migrates()
    }

    /// The owner of a node pays for the task of its translator.
    pub(super) const fn owner_pays(self) -> bool {
        self.world.migrates()
    }

    /// What is locked during a start, and for `io_stat` and lookups of the node.
    pub(super) const fn node_lock(self) -> NodeLock {
        match (self.node_lock, self.world.has_lock_rule()) {
            (false, _) => NodeLock::None,
            (true, false) => NodeLock::Classic,
            (true, true) => NodeLock::Ruled,
        }
    }

    /// What one start may spend, from `now` on (ns since boot).
    pub(super) fn start_offer(self, now: u64) -> Offer {
        let StartOffer { cpu_ms, frames, io, elapsed_ms } = self.start;
        Offer::all()
            .cpu(Duration::from_millis(cpu_ms))
            .frames(frames)
            .io(io)
            .by(Deadline::at(now.saturating_add(elapsed_ms.saturating_mul(1_000_000))))
    }

    /// How long the start waits for the new program to report, in milliseconds; `None`: for ever.
    pub(super) fn report_timeout_ms(self, offer: &Donation, now: u64) -> Option<u32> {
        if !self.world.has_ceilings() || offer.deadline_ns == u64::MAX {
            return None;
        }
        let left = offer.deadline_ns.saturating_sub(now).div_ceil(1_000_000);
        Some(u32::try_from(left).unwrap_or(u32::MAX))
    }
}

/// What of the running call's means a server offers to whom it calls in turn: nearly all, so that something is left for answering when the other used
/// its share up. `remaining` is what is left to the call, `now` in ns since boot.
pub(super) fn passed_on(remaining: &Donation, now: u64) -> Donation {
    /// Kept for answering.
    const CPU_NS: u64 = 500_000;
    const FRAMES: u64 = 8;
    const TIME_NS: u64 = 2_000_000;
    /// Not more than that part is kept of little.
    const PART: u64 = 8;
    let keep = |all: u64, kept: u64| if all == u64::MAX { all } else { all - kept.min(all / PART) };
    let time = remaining.deadline_ns.saturating_sub(now);
    Donation {
        cpu_ns: keep(remaining.cpu_ns, CPU_NS),
        frames: keep(remaining.frames, FRAMES),
        deadline_ns: match remaining.deadline_ns {
            u64::MAX => u64::MAX,
            at => at - TIME_NS.min(time / PART),
        },
        reserved: 0,
        ..*remaining
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const START: StartOffer = StartOffer { cpu_ms: 1000, frames: 4096, io: 8, elapsed_ms: 3000 };

    #[test]
    fn the_table_above() {
        let policy = |world, lock| Policy::new(world, lock, START);
        for world in [World::CLASSIC, World::CHARGING, World::CEILED, World::ACCOUNTED] {
            let classic = world == World::CLASSIC;
            assert_eq!(policy(world, false).uses_sessions(), !classic);
            assert_eq!(policy(world, false).visitor_starts(), classic);
            assert!(policy(world, true).visitor_starts());
            assert_eq!(policy(world, false).node_lock(), NodeLock::None);
            let ruled = world == World::ACCOUNTED;
            assert_eq!(
                policy(world, true).node_lock(),
                if ruled { NodeLock::Ruled } else { NodeLock::Classic }
            );
        }
    }

    #[test]
    fn the_start_offer() {
        let policy = Policy::new(World::ACCOUNTED, false, START);
        let offer = policy.start_offer(5_000_000);
        assert_eq!((offer.cpu_ns, offer.frames, offer.deadline_ns), (1_000_000_000, 4096, 3_005_000_000));
        assert_eq!(policy.report_timeout_ms(&offer, 2_005_000_001), Some(1000));
        assert_eq!(policy.report_timeout_ms(&offer, u64::MAX), Some(0));
        assert_eq!(Policy::new(World::CHARGING, false, START).report_timeout_ms(&offer, 0), None);
        assert_eq!(policy.report_timeout_ms(&Donation::ALL, 0), None);
        assert_eq!(policy.start_offer(u64::MAX).deadline_ns, u64::MAX);
    }

    proptest! {
        /// Offers only shrink on the way down, never to nothing, and "everything" stays everything.
        #[test]
        fn passing_on_attenuates(cpu in 1u64.., frames in 1u64.., deadline: u64, now: u64) {
            let remaining = Donation { cpu_ns: cpu, frames, deadline_ns: deadline, ..Donation::ALL };
            let offer = passed_on(&remaining, now);
            prop_assert!(offer.cpu_ns <= cpu && offer.cpu_ns > 0);
            prop_assert!(offer.frames <= frames && offer.frames > 0);
            prop_assert!(offer.deadline_ns <= deadline);
            prop_assert!(deadline <= now || offer.deadline_ns > now);
            prop_assert_eq!(offer.depth, u64::MAX);
        }
    }
}
