//! Which world the machine was booted into: the same binaries run in all of them.
//!
//! | world | calls migrate, callers pay | ceilings, deadlines | owned, timed waits | lock rule |
//! |---|---|---|---|---|
//! | `classic` | - | - | - | - |
//! | `charging` | yes | - | - | - |
//! | `ceilings` | yes | yes | - | - |
//! | `accounted` | yes | yes | yes | yes |
//!
//! It comes in the environment (`world=NAME`); without it, it is `accounted`.

use core::sync::atomic::{AtomicU32, Ordering};

const MIGRATE: u32 = 1;
const CEILINGS: u32 = 2;
const WAITS: u32 = 4;
const LOCKS: u32 = 8;
const ALL: u32 = MIGRATE | CEILINGS | WAITS | LOCKS;

/// What holds in a world.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct World(u32);

impl World {
    /// The Hurd as it is: servers own queues and threads and pay for everything.
    pub const CLASSIC: Self = Self(0);
    /// Callers pay; nothing else.
    pub const CHARGING: Self = Self(MIGRATE);
    /// Callers pay, up to what they offered.
    pub const CEILED: Self = Self(MIGRATE | CEILINGS);
    /// All laws.
    pub const ACCOUNTED: Self = Self(ALL);

    /// The world with that name.
    #[must_use]
    pub fn named(name: &[u8]) -> Option<Self> {
        Some(match name {
            b"classic" => Self::CLASSIC,
            b"charging" => Self::CHARGING,
            b"ceilings" => Self::CEILED,
            b"accounted" => Self::ACCOUNTED,
            _ => return None,
        })
    }

    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::CLASSIC => "classic",
            Self::CHARGING => "charging",
            Self::CEILED => "ceilings",
            _ => "accounted",
        }
    }

    /// Calls to servers migrate: RPC ports instead of queues and worker threads.
    #[must_use]
    pub const fn migrates(self) -> bool {
        self.0 & MIGRATE != 0
    }
    /// Offers are limits and have deadlines.
    #[must_use]
    pub const fn has_ceilings(self) -> bool {
        self.0 & CEILINGS != 0
    }
    /// Waits have an owner and a deadline.
    #[must_use]
    pub const fn owns_waits(self) -> bool {
        self.0 & WAITS != 0
    }
    /// No call while holding a lock.
    #[must_use]
    pub const fn has_lock_rule(self) -> bool {
        self.0 & LOCKS != 0
    }
}

static CURRENT: AtomicU32 = AtomicU32::new(ALL);

/// The world we are in.
#[must_use]
pub fn current() -> World {
    World(CURRENT.load(Ordering::Relaxed))
}

/// Says which world it is: at program start, and by the first task after it has read the boot line.
pub fn set(world: World) {
    CURRENT.store(world.0, Ordering::Relaxed);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip() {
        for world in [World::CLASSIC, World::CHARGING, World::CEILED, World::ACCOUNTED] {
            assert_eq!(World::named(world.name().as_bytes()), Some(world));
        }
        assert_eq!(World::named(b"other"), None);
    }

    #[test]
    fn laws_are_added_one_by_one() {
        assert!(!World::CLASSIC.migrates());
        assert!(World::CHARGING.migrates() && !World::CHARGING.has_ceilings());
        assert!(World::CEILED.has_ceilings() && !World::CEILED.owns_waits());
        assert!(World::ACCOUNTED.owns_waits() && World::ACCOUNTED.has_lock_rule());
    }
}
