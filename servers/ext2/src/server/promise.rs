//! A promised start, and waiting for it.
//!
//! The visitor who has a starter made promises the start until the starter runs and takes the promise over. Whoever waits tells the kernel who
//! has promised, so that a promise whose giver dies is known to be broken, and a wait that would never end is refused. Waiters do *not* lend their turns:
//! the work is the owner's of the node, and a visitor pays for waiting alone. In the worlds without owned waits it is 2013's condition: nobody's, and without a
//! time limit.

use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use libhurd::abi::returns::{DROVER_CHANGED, DROVER_OWNER_DIED, KERN_TIMEDOUT};
use libhurd::errno::EDIED;
use libhurd::{clock, syscall, thread, world};

/// No start is under way.
const DONE: u32 = 0;
/// Promised by the visitor who has a starter made.
const MADE: u32 = 1;
/// Promised by the thread that does it.
const RUNNING: u32 = 2;
/// How long a starter may take to run at all: its account may have little of the CPU.
const TAKE_OVER_NS: u64 = 5_000_000_000;

/// See the module.
pub(super) struct Promise {
    word: AtomicU32,
    owner: AtomicU64,
}

/// What a wait was worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Waited {
    /// Something has changed: look.
    Look,
    /// Nobody will keep the promise.
    Broken,
}

impl Promise {
    /// None yet.
    pub(super) const fn new() -> Self {
        Self { word: AtomicU32::new(DONE), owner: AtomicU64::new(0) }
    }

    fn state(&self, state: u32, owner: u64) {
        self.owner.store(owner, Ordering::Release);
        self.word.store(state, Ordering::Release);
    }

    /// The calling thread promises to have a starter made.
    pub(super) fn make(&self) {
        self.state(MADE, thread::id());
    }

    /// The calling thread does the work: waiters wait for it from now on.
    pub(super) fn take_over(&self) {
        self.state(RUNNING, thread::id());
        syscall::drover_wake(&self.word, u32::MAX);
    }

    /// The start is over, for better or worse.
    pub(super) fn settle(&self) {
        self.state(DONE, 0);
        syscall::drover_wake(&self.word, u32::MAX);
    }

    /// Waits until something changes, at most until `deadline` (ns since boot). `maker`: it was the caller who had the starter made.
    ///
    /// # Errors
    /// `KERN_TIMEDOUT`; `DROVER_DEADLOCK` when the promise depends on the caller; what else ended the wait.
    pub(super) fn wait(&self, deadline: u64, maker: bool) -> Result<Waited, i32> {
        let seen = self.word.load(Ordering::Acquire);
        if seen == DONE {
            return Ok(Waited::Look);
        }
        let alone = seen == MADE && maker;
        let (owner, until) = match world::current().owns_waits() {
            false => (0, u64::MAX),
            // Nobody to wait for yet but oneself.
            true if alone => (0, deadline.min(clock::now().saturating_add(TAKE_OVER_NS))),
            true => (self.owner.load(Ordering::Acquire), deadline),
        };
        match syscall::drover_wait(&self.word, seen, owner, 0, until) {
            Ok(()) | Err(DROVER_CHANGED) => Ok(Waited::Look),
            Err(DROVER_OWNER_DIED) => Ok(Waited::Broken),
            Err(KERN_TIMEDOUT) if until < deadline => Ok(Waited::Broken),
            Err(code) => Err(code),
        }
    }
}

/// The code of a start whose promise was broken.
pub(super) const BROKEN: i32 = EDIED;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_over_is_not_waited_for() {
        let promise = Promise::new();
        assert_eq!(promise.wait(u64::MAX, false), Ok(Waited::Look));
        promise.make();
        assert!(promise.wait(u64::MAX, false).is_err(), "there is no kernel to wait in");
        promise.take_over();
        assert_eq!(promise.owner.load(Ordering::Relaxed), thread::id());
        promise.settle();
        assert_eq!(promise.wait(u64::MAX, true), Ok(Waited::Look));
    }
}
