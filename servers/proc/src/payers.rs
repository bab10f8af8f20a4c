//! Which account pays for a user. Pure; `R` is a right to an account.

/// Most users with an account.
const MAX_USERS: usize = 64;

/// The registry.
#[derive(Debug)]
pub(crate) struct Payers<R>([Option<(u32, R)>; MAX_USERS]);

impl<R> Payers<R> {
    /// Empty.
    pub(crate) const fn new() -> Self {
        Self([const { None }; MAX_USERS])
    }

    /// Whether somebody who runs for `owner` may spend for `uid`, or say who pays for it.
    pub(crate) const fn may(owner: u32, uid: u32) -> bool {
        owner == 0 || owner == uid
    }

    /// The account of `uid`.
    pub(crate) fn get(&self, uid: u32) -> Option<&R> {
        self.0.iter().flatten().find(|entry| entry.0 == uid).map(|entry| &entry.1)
    }

    /// Registers an account; the earlier one comes back, or the new one if there is no room.
    pub(crate) fn set(&mut self, uid: u32, account: R) -> Result<Option<R>, R> {
        if let Some(entry) = self.0.iter_mut().flatten().find(|entry| entry.0 == uid) {
            return Ok(Some(core::mem::replace(&mut entry.1, account)));
        }
        match self.0.iter_mut().find(|entry| entry.is_none()) {
            Some(free) => {
                *free = Some((uid, account));
                Ok(None)
            }
            None => Err(account),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn registered_replaced_bounded() {
        let mut payers = Payers::new();
        assert_eq!(payers.set(1000, 'a'), Ok(None));
        assert_eq!(payers.set(1000, 'b'), Ok(Some('a')));
        assert_eq!((payers.get(1000), payers.get(1001)), (Some(&'b'), None));
        for uid in 1..MAX_USERS as u32 {
            assert_eq!(payers.set(uid, 'c'), Ok(None));
        }
        assert_eq!(payers.set(5000, 'd'), Err('d'));
        assert_eq!(payers.set(1000, 'e'), Ok(Some('b')), "there is always room for a change");
    }

    #[test]
    fn who_may() {
        assert!(Payers::<()>::may(0, 1000) && Payers::<()>::may(1000, 1000));
        assert!(!Payers::<()>::may(1001, 1000) && !Payers::<()>::may(1000, 0));
    }
}
