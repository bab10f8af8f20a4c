//! What differs between the worlds, all in one place.
//!
//! | | classic | charging, ceilings | accounted |
//! |---|---|---|---|
//! | a compressed program is | unpacked as a whole in exec's memory, then loaded | loaded while it is unpacked | the same |
//! | one at a time per format | yes, as in 2013 | yes, as in 2013 | no |
//!
//! So that stalls (a) and (b) of the experiment can be seen by themselves, the lock is left out when the environment says `stall=a` or `stall=b`.

use libhurd::argz;
use libhurd::mig::Donation;
use libhurd::world::World;

/// The rules of this server in this world.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Policy {
    /// Unpack the whole file before looking at it.
    pub(super) whole: bool,
    /// Hold the format's lock while unpacking.
    pub(super) locks: bool,
}

impl Policy {
    /// For `world`, with that environment.
    pub(super) fn new(world: World, envp: &[u8]) -> Self {
        let other_stall = matches!(argz::variable(envp, b"stall"), Some(b"a" | b"b"));
        Self { whole: !world.migrates(), locks: !world.has_lock_rule() && !other_stall }
    }
}

/// What of the running call's means a call of our own is offered: nearly all, so that something is left for answering. `now` in ns since boot.
pub(super) fn passed_on(remaining: &Donation, now: u64) -> Donation {
    /// Kept for answering.
    const CPU_NS: u64 = 1_000_000;
    const FRAMES: u64 = 16;
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

    #[test]
    fn the_table_above() {
        let rules = |world, env: &[u8]| {
            let policy = Policy::new(world, env);
            (policy.whole, policy.locks)
        };
        assert_eq!(rules(World::CLASSIC, b""), (true, true));
        assert_eq!(rules(World::CHARGING, b"stall=c\0"), (false, true));
        assert_eq!(rules(World::CEILED, b"world=ceilings\0"), (false, true));
        assert_eq!(rules(World::ACCOUNTED, b"stall=c\0"), (false, false));
        assert_eq!(rules(World::CLASSIC, b"stall=a\0"), (true, false));
        assert_eq!(rules(World::CEILED, b"stall=b\0"), (false, false));
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
