//! Tests of permissions.

use std::vec::Vec;

use super::*;
use ext2::S_IFREG;
use proptest::prelude::*;

const NONE: i32 = 0;

fn node(mode: u32) -> Attributes {
    Attributes { mode, uid: 1000, gid: 100 }
}

fn ids(uids: &[u32], gids: &[u32]) -> Ids {
    Ids::new(uids, gids)
}

#[test]
fn classes_do_not_add_up() {
    let file = node(S_IFREG | 0o124);
    assert_eq!(ids(&[1000], &[100]).allowed(file), O_EXEC, "the owner's bits alone");
    assert_eq!(ids(&[1001], &[5, 100]).allowed(file), O_WRITE, "the group's");
    assert_eq!(ids(&[1001], &[5]).allowed(file), O_READ, "others");
    assert_eq!(ids(&[], &[]).allowed(file), O_READ, "unknown users are others");
    assert_eq!(ids(&[1001], &[]).check(file, O_READ), Ok(()));
    assert_eq!(ids(&[1001], &[]).check(file, O_READ | O_EXEC), Err(EACCES));
    assert_eq!(ids(&[1001], &[]).check(file, 0x80), Ok(()), "other open flags do not matter");
}

#[test]
fn unknown_users() {
    let file = node(S_IFREG | S_IUSEUNK | 0o777 | 0o4 << UNKNOWN_SHIFT);
    assert_eq!(ids(&[], &[]).allowed(file), O_READ);
    assert_eq!(ids(&[7], &[]).allowed(file), O_READ | O_WRITE | O_EXEC, "known ones are others");
    assert_eq!(ids(&[], &[]).allowed(node(S_IFREG | S_IUSEUNK | 0o777)), NONE);
}

#[test]
fn root() {
    let root = ids(&[5, 0], &[]);
    assert_eq!(root.allowed(node(S_IFREG)), O_READ | O_WRITE);
    assert_eq!(root.allowed(node(S_IFREG | 0o001)), O_READ | O_WRITE | O_EXEC);
    assert_eq!(root.allowed(node(S_IFDIR)), O_READ | O_WRITE | O_EXEC);
    assert!(
        root.is_owner(node(0)) && ids(&[1000], &[]).is_owner(node(0)) && !ids(&[], &[1000]).is_owner(node(0))
    );
}

#[test]
fn too_many_ids_are_fewer_rights() {
    let many: Vec<u32> = (1000..1100).rev().collect();
    let ids = ids(&many, &[]);
    assert_eq!(ids.uids.len(), MAX_IDS);
    assert!(!ids.is_owner(node(0)));
}

proptest! {
    /// Restricting never gives anything, except from root.
    #[test]
    fn restricting(held in prop::collection::vec(0u32..6, 0..4), wanted in prop::collection::vec(0u32..6, 0..4)) {
        let (held, wanted) = (ids(&held, &held), ids(&wanted, &wanted));
        let left = held.restrict(&wanted);
        if held.is_root() {
            prop_assert_eq!(left, wanted);
        } else {
            prop_assert!(left.uids.iter().all(|id| held.uids.contains(id) && wanted.uids.contains(id)));
            prop_assert!(held.uids.iter().filter(|id| wanted.uids.contains(id)).all(|id| left.uids.contains(id)));
            prop_assert!(left.gids.iter().all(|id| held.gids.contains(id) && wanted.gids.contains(id)));
        }
    }
}
