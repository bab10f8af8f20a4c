//! Owned waits: a word in memory, somebody who promised to change it, and a deadline.
//!
//! The kernel knows the owner of each wait: a cycle is refused when it would close, an owner that dies wakes its waiters, and a
//! waiter lends its turns to the owner. In worlds without this rule (`classic`, `charging`, `ceilings`) the same [`Event`] is what it
//! was in 2013: a condition that nobody owns, waited for without a time limit.

use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use drover_abi::returns::{
    DROVER_CHANGED, DROVER_DEADLOCK, DROVER_OWNER_DIED, KERN_ABORTED, KERN_INTERRUPTED, KERN_TIMEDOUT,
};
use drover_abi::trap::WAIT_LEND;

use crate::clock::Deadline;
use crate::local::Local;
use crate::{syscall, world};

/// Why a wait ended without what was waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WaitError {
    /// The deadline passed (the given one, or the call's).
    TimedOut,
    /// Everybody in the chain, the owner included, waits for somebody in the chain.
    Deadlock,
    /// The owner died, or gave up, without doing what it promised.
    OwnerDied,
    /// The waiting thread was aborted.
    Aborted,
    /// The kernel refused otherwise.
    Failed(i32),
}

impl WaitError {
    pub(crate) const fn from_code(code: i32) -> Self {
        match code {
            KERN_TIMEDOUT => Self::TimedOut,
            DROVER_DEADLOCK => Self::Deadlock,
            DROVER_OWNER_DIED => Self::OwnerDied,
            KERN_ABORTED | KERN_INTERRUPTED => Self::Aborted,
            other => Self::Failed(other),
        }
    }
}

/// So that a server may pass it on with `?`.
impl From<WaitError> for i32 {
    fn from(error: WaitError) -> Self {
        match error {
            WaitError::TimedOut => KERN_TIMEDOUT,
            WaitError::Deadlock => DROVER_DEADLOCK,
            WaitError::OwnerDied => DROVER_OWNER_DIED,
            WaitError::Aborted => KERN_ABORTED,
            WaitError::Failed(code) => code,
        }
    }
}

/// The word of an event that has not happened.
const PENDING: u32 = 0;
/// The word of an event whose owner gave up.
const BROKEN: u32 = u32::MAX;

/// Something that one thread has promised to do and any number wait for.
#[derive(Debug)]
pub struct Event {
    word: AtomicU32,
    owner: AtomicU64,
}

impl Default for Event {
    fn default() -> Self {
        Self::new()
    }
}

impl Event {
    /// An event that nobody has promised yet.
    #[must_use]
    pub const fn new() -> Self {
        Self { word: AtomicU32::new(PENDING), owner: AtomicU64::new(0) }
    }

    /// The calling thread promises to bring the event about, again if it has happened before.
    pub fn promise(&self) {
        self.owner.store(Local::current().tid(), Ordering::Release);
        self.word.store(PENDING, Ordering::Release);
    }

    /// It is to happen again, and nobody in particular has promised it: waiters rely on their deadlines.
    pub fn reset(&self) {
        self.owner.store(0, Ordering::Release);
        self.word.store(PENDING, Ordering::Release);
    }

    /// It happened. `value` is for the waiters: neither 0 nor `u32::MAX`, which count as 1.
    pub fn keep(&self, value: u32) {
        let value = if value == PENDING || value == BROKEN { 1 } else { value };
        self.settle(value);
    }

    /// It will not happen: waiters get [`WaitError::OwnerDied`].
    pub fn give_up(&self) {
        self.settle(BROKEN);
    }

    fn settle(&self, value: u32) {
        self.word.store(value, Ordering::Release);
        syscall::drover_wake(&self.word, u32::MAX);
    }

    /// The value, if it has happened.
    #[must_use]
    pub fn value(&self) -> Option<Result<u32, WaitError>> {
        match self.word.load(Ordering::Acquire) {
            PENDING => None,
            BROKEN => Some(Err(WaitError::OwnerDied)),
            value => Some(Ok(value)),
        }
    }

    /// Waits for it, at most until `deadline`; the call's own deadline holds as well.
    ///
    /// # Errors
    /// [`WaitError`].
    pub fn wait(&self, deadline: Deadline) -> Result<u32, WaitError> {
        self.wait_as(deadline, world::current().owns_waits())
    }

    /// As [`Event::wait`], but timed in every world: for waits that had a time limit in 2013 too.
    ///
    /// # Errors
    /// [`WaitError`].
    pub fn wait_until(&self, deadline: Deadline) -> Result<u32, WaitError> {
        self.wait_as(deadline, true)
    }

    fn wait_as(&self, deadline: Deadline, owned: bool) -> Result<u32, WaitError> {
        loop {
            if let Some(result) = self.value() {
                return result;
            }
            let (owner, flags, until) = if owned {
                (self.owner.load(Ordering::Acquire), WAIT_LEND, deadline.ns())
            } else {
                (0, 0, u64::MAX)
            };
            match syscall::drover_wait(&self.word, PENDING, owner, flags, until) {
                Ok(()) | Err(DROVER_CHANGED) => {}
                Err(code) => return Err(WaitError::from_code(code)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kept_and_broken() {
        let event = Event::new();
        assert_eq!(event.value(), None);
        event.keep(0);
        assert_eq!(event.wait(Deadline::NEVER), Ok(1));
        event.promise();
        assert_eq!(event.value(), None);
        event.give_up();
        assert_eq!(event.wait(Deadline::NEVER), Err(WaitError::OwnerDied));
    }

    #[test]
    fn without_a_kernel_a_wait_fails_and_does_not_hang() {
        assert!(matches!(Event::new().wait(Deadline::NEVER), Err(WaitError::Failed(_))));
    }

    #[test]
    fn codes_round_trip() {
        for error in [WaitError::TimedOut, WaitError::Deadlock, WaitError::OwnerDied, WaitError::Aborted] {
            assert_eq!(WaitError::from_code(error.into()), error);
        }
    }
}
