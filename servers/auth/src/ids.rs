//! Sets of user and group ids, and who may make which.

use libhurd::errno::E2BIG;

extern crate alloc;
use alloc::vec::Vec;

/// Most ids in one of the four sets.
pub(crate) const MAX_IDS: usize = 64;

/// What an authority stands for: effective and available user and group ids.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ids {
    /// Effective users.
    pub(crate) euids: Vec<u32>,
    /// Available users.
    pub(crate) auids: Vec<u32>,
    /// Effective groups.
    pub(crate) egids: Vec<u32>,
    /// Available groups.
    pub(crate) agids: Vec<u32>,
}

impl Ids {
    /// The superuser's.
    pub(crate) fn root() -> Self {
        let zero = || Vec::from([0]);
        Self { euids: zero(), auids: zero(), egids: zero(), agids: zero() }
    }

    /// Whether every set is of a size that is kept.
    ///
    /// # Errors
    /// `E2BIG` if one has more than [`MAX_IDS`].
    pub(crate) fn check_sizes(&self) -> Result<(), i32> {
        let sets = [&self.euids, &self.auids, &self.egids, &self.agids];
        if sets.iter().all(|set| set.len() <= MAX_IDS) { Ok(()) } else { Err(E2BIG) }
    }

    fn has_user(&self, id: u32) -> bool {
        self.euids.contains(&id) || self.auids.contains(&id)
    }

    fn has_group(&self, id: u32) -> bool {
        self.egids.contains(&id) || self.agids.contains(&id)
    }
}

/// Whether the holder of all of `handles` may make an authority with `wanted`: one of them is the superuser, or each id is in one of them,
/// effective or available.
pub(crate) fn may_make(handles: &[&Ids], wanted: &Ids) -> bool {
    if handles.iter().any(|ids| ids.has_user(0)) {
        return true;
    }
    let users = wanted.euids.iter().chain(&wanted.auids);
    let groups = wanted.egids.iter().chain(&wanted.agids);
    users.into_iter().all(|&id| handles.iter().any(|ids| ids.has_user(id)))
        && groups.into_iter().all(|&id| handles.iter().any(|ids| ids.has_group(id)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(euids: &[u32], auids: &[u32], egids: &[u32], agids: &[u32]) -> Ids {
        Ids { euids: euids.into(), auids: auids.into(), egids: egids.into(), agids: agids.into() }
    }

    #[test]
    fn subsets_only() {
        let me = ids(&[1000], &[1001], &[100], &[]);
        let other = ids(&[2000], &[], &[], &[200]);
        assert!(may_make(&[&me], &ids(&[1001], &[1000], &[], &[100])), "available ids may become effective");
        assert!(!may_make(&[&me], &ids(&[2000], &[], &[], &[])));
        assert!(may_make(&[&me, &other], &ids(&[1000, 2000], &[], &[200], &[])));
        assert!(!may_make(&[&me], &ids(&[], &[], &[0], &[])));
        assert!(!may_make(&[&me], &ids(&[100], &[], &[], &[])), "a group id is no user id");
        assert!(may_make(&[], &Ids::default()), "nobody may always be made");
        assert!(!may_make(&[], &ids(&[1], &[], &[], &[])));
    }

    #[test]
    fn the_superuser_may_all() {
        let wanted = ids(&[1, 2], &[3], &[4], &[5]);
        assert!(may_make(&[&Ids::root()], &wanted));
        assert!(may_make(&[&ids(&[5], &[0], &[], &[])], &wanted), "available counts");
        assert!(!may_make(&[&ids(&[5], &[], &[0], &[0])], &wanted), "group 0 does not");
    }

    #[test]
    fn sizes() {
        assert!(Ids::root().check_sizes().is_ok());
        let many: Vec<u32> = (0..=MAX_IDS as u32).collect();
        assert_eq!(ids(&[], &many, &[], &[]).check_sizes(), Err(E2BIG));
    }
}
