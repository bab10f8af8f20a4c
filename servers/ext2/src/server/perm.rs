//! Who may do what: the Hurd's rules on users, groups and mode bits.
//!
//! A user of the file system is a list of effective uids and one of gids, either of which may be empty. Uid 0 among them may do everything,
//! except execute a regular file that nobody may execute. Who has no ids at all gets the bits for unknown users if the file has them,
//! else those for others.

use alloc::vec::Vec;

use ext2::{Inode, S_IFDIR, S_IFMT};
use libhurd::errno::EACCES;
use libhurd::file::{O_EXEC, O_READ, O_WRITE};

/// Most uids, and most gids, that one open file remembers; further ones are dropped, which takes rights away and never gives any.
pub(super) const MAX_IDS: usize = 16;

/// Mode bit: the bits from [`UNKNOWN_SHIFT`] on hold for users without any id.
const S_IUSEUNK: u32 = 0o400_000;
/// Where the bits for unknown users are.
const UNKNOWN_SHIFT: u32 = 12;

/// What of a node decides about permissions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Attributes {
    mode: u32,
    uid: u32,
    gid: u32,
}

impl From<&Inode> for Attributes {
    fn from(inode: &Inode) -> Self {
        Self { mode: inode.mode, uid: inode.uid, gid: inode.gid }
    }
}

/// The effective ids of a user.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Ids {
    /// Effective uids.
    pub(super) uids: Vec<u32>,
    /// Effective gids.
    pub(super) gids: Vec<u32>,
}

impl Ids {
    /// The first [`MAX_IDS`] of each list.
    pub(super) fn new(uids: &[u32], gids: &[u32]) -> Self {
        let first = |ids: &[u32]| ids.iter().copied().take(MAX_IDS).collect();
        Self { uids: first(uids), gids: first(gids) }
    }

    /// Uid 0 is among them.
    pub(super) fn is_root(&self) -> bool {
        self.uids.contains(&0)
    }

    /// May do what only the owner may.
    pub(super) fn is_owner(&self, node: impl Into<Attributes>) -> bool {
        self.is_root() || self.uids.contains(&node.into().uid)
    }

    /// What remains of these rights for somebody who asks to be `wanted`: root may be anybody, others only what they are.
    pub(super) fn restrict(&self, wanted: &Self) -> Self {
        if self.is_root() {
            return wanted.clone();
        }
        let both =
            |held: &[u32], wanted: &[u32]| wanted.iter().copied().filter(|id| held.contains(id)).collect();
        Self { uids: both(&self.uids, &wanted.uids), gids: both(&self.gids, &wanted.gids) }
    }

    /// `O_READ`, `O_WRITE` and `O_EXEC` as far as they are allowed.
    pub(super) fn allowed(&self, node: impl Into<Attributes>) -> i32 {
        let Attributes { mode, uid, gid } = node.into();
        if self.is_root() {
            let executable = mode & S_IFMT == S_IFDIR || mode & 0o111 != 0;
            return O_READ | O_WRITE | if executable { O_EXEC } else { 0 };
        }
        let shift = if self.uids.contains(&uid) {
            6
        } else if self.gids.contains(&gid) {
            3
        } else if self.uids.is_empty() && self.gids.is_empty() && mode & S_IUSEUNK != 0 {
            UNKNOWN_SHIFT
        } else {
            0
        };
        let bits = mode >> shift;
        let bit = |bit: u32, flag: i32| if bits & bit != 0 { flag } else { 0 };
        bit(4, O_READ) | bit(2, O_WRITE) | bit(1, O_EXEC)
    }

    /// Checks that all of `wanted` (of `O_READ`, `O_WRITE`, `O_EXEC`) is allowed.
    ///
    /// # Errors
    /// `EACCES`.
    pub(super) fn check(&self, node: impl Into<Attributes>, wanted: i32) -> Result<(), i32> {
        let wanted = wanted & (O_READ | O_WRITE | O_EXEC);
        if wanted & !self.allowed(node) == 0 { Ok(()) } else { Err(EACCES) }
    }
}

#[cfg(test)]
#[path = "perm_tests.rs"]
mod tests;
