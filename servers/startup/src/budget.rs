//! How the machine is divided: frames and CPU shares of every account. Pure.
//!
//! Limits *move* from parent to child, so the sums below are what the root account really gives away. In the worlds where callers pay, the servers' own
//! accounts are small: they hold tables and caches of a fixed size. In the classic world the exec server pays for whatever it unpacks, so it is
//! given most of the machine, as root's servers have it on the Hurd.

use libhurd::world::World;

/// One account to be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Grant {
    /// For people.
    pub(crate) name: &'static str,
    /// Frames of 4096 bytes.
    pub(crate) frames: u64,
    /// Kernel objects.
    pub(crate) objects: u64,
    /// Calls in flight.
    pub(crate) calls: u64,
    /// CPU share in 1/10000 of the machine.
    pub(crate) share: u32,
}

/// Frames that stay the root account's, for this task and the accounts themselves.
const ROOT_KEEPS: u64 = 4096;
/// Kernel objects per frame granted.
const OBJECTS_PER_FRAME: u64 = 16;
/// CPU share that stays the root account's.
const ROOT_SHARE: u32 = 200;

/// Servers in the order in which they are started: name, frames wanted, share. Together they have most of the machine's shares, so that in the classic
/// world, where they work at their own expense, they keep up with their clients. Where clients pay they hardly run by themselves, and what counts is
/// how the users' shares stand to each other.
const SERVERS: [(&str, u64, u32); 6] = [
    ("storage", 1024, 500),
    ("console", 1024, 200),
    ("exec", 4096, 1500),
    ("ext2", 16_384, 4300),
    ("auth", 2048, 250),
    ("proc", 2048, 250),
];
/// Share of all servers together.
const SERVERS_SHARE: u32 = 7000;

/// The whole division.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Budget {
    /// The account above the servers.
    pub(crate) system: Grant,
    /// The servers, children of `system`.
    pub(crate) servers: [Grant; SERVERS.len()],
    /// The account above everybody else.
    pub(crate) users: Grant,
}

/// What of the users' account goes to whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct User {
    /// The account.
    pub(crate) grant: Grant,
    /// Users whose translators it pays for.
    pub(crate) uid: u32,
}

const fn grant(name: &'static str, frames: u64, share: u32) -> Grant {
    Grant { name, frames, objects: frames * OBJECTS_PER_FRAME, calls: 256, share }
}

impl Budget {
    /// Divides `free` frames.
    pub(crate) fn of(free: u64, world: World) -> Self {
        let left = free.saturating_sub(ROOT_KEEPS.min(free / 4));
        let mut servers = SERVERS.map(|(name, frames, share)| grant(name, frames.min(left / 32), share));
        if !world.migrates() {
            for server in servers.iter_mut().filter(|server| server.name == "exec") {
                *server = grant("exec", left / 4 * 3, server.share);
            }
        }
        // An account is a quarter of a frame, charged to its parent.
        let sum: u64 = servers.iter().map(|server| server.frames).sum::<u64>() + 4;
        let mut system = grant("system", sum, SERVERS_SHARE);
        system.calls = 256 * servers.len() as u64;
        system.objects += 64;
        let mut users = grant("users", left - sum, 10_000 - ROOT_SHARE - SERVERS_SHARE);
        users.calls = 1024;
        Self { system, servers, users }
    }

    /// The users of a machine with a shell: its own, root's; the victims'; the attacker's. Of the CPU that servers leave, victims and attacker have
    /// their shares in the proportion of 80 to 20.
    pub(crate) fn shell_users(&self) -> [User; 3] {
        let Grant { frames, .. } = self.users;
        let user = |name, part, share, uid| User { grant: grant(name, frames / 8 * part, share), uid };
        [user("root-user", 3, 700, 0), user("victims", 3, 1600, 1000), user("attacker", 1, 400, 1001)]
    }

    /// The one user of a machine with a driver: all of it.
    pub(crate) fn driver(&self) -> User {
        let Grant { frames, share, .. } = self.users;
        let grant = Grant { calls: 1000, ..grant("driver", frames - frames / 64, share - 100) };
        User { grant, uid: 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_given_twice() {
        for world in [World::CLASSIC, World::CHARGING, World::ACCOUNTED] {
            for free in [8_192, 100_000, 130_000, 700_000, 1_000_000] {
                let budget = Budget::of(free, world);
                let sum: u64 = budget.servers.iter().map(|server| server.frames).sum();
                assert!(sum < budget.system.frames);
                assert!(budget.system.frames + budget.users.frames < free);
                let shares: u32 = budget.servers.iter().map(|server| server.share).sum();
                assert_eq!(shares, budget.system.share);
                assert!(budget.system.share + budget.users.share < 10_000);
                let objects: u64 = budget.servers.iter().map(|server| server.objects).sum();
                assert!(objects < budget.system.objects);
                let users = budget.shell_users();
                assert!(users.iter().map(|user| user.grant.frames).sum::<u64>() < budget.users.frames);
                assert!(users.iter().map(|user| user.grant.share).sum::<u32>() <= budget.users.share);
                assert!(users.iter().map(|user| user.grant.objects).sum::<u64>() < budget.users.objects);
                assert_eq!(users[1].grant.share, 4 * users[2].grant.share);
                assert!(budget.driver().grant.frames < budget.users.frames);
            }
        }
    }

    #[test]
    fn in_the_classic_world_exec_can_hold_the_payload() {
        let payload = (1 << 30) / 4096;
        let exec = |world| Budget::of(730_000, world).servers[2];
        assert_eq!(exec(World::CLASSIC).name, "exec");
        assert!(exec(World::CLASSIC).frames > payload + payload / 4);
        assert!(exec(World::ACCOUNTED).frames < payload / 16);
    }
}
