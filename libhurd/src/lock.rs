//! Locks.
//!
//! [`Mutex`]: while it is held the activation is in a critical section. The kernel refuses calls from there, an exit waits for the
//! unlock on the call's escrow, and those who wait for the lock lend their turns to the holder, whose thread id is in the lock's word.
//! [`ClassicMutex`]: a lock as of 2013, for the worlds without the lock rule: untimed, no critical section, calls are made while it is
//! held, nobody knows who holds it.

use core::cell::UnsafeCell;
use core::ops::{Deref, DerefMut};
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use drover_abi::returns::{DROVER_CHANGED, DROVER_OWNER_DIED};
use drover_abi::trap::WAIT_LEND;

use crate::cleanup::{OnExit, on_exit};
use crate::clock::Deadline;
use crate::local::Local;
use crate::syscall;
use crate::wait::WaitError;

/// Word of a free lock.
const FREE: u32 = 0;
/// Bit of the word: somebody waits. The others hold the low half of the owner's thread id, which no other living thread shares.
const WAITERS: u32 = 1 << 31;

/// The lock alone: its word, and the whole id of its owner, stored right after the word was taken.
pub(crate) struct Raw(AtomicU32, AtomicU64);

impl Raw {
    pub(crate) const fn new() -> Self {
        Self(AtomicU32::new(FREE), AtomicU64::new(0))
    }

    /// Takes the lock and enters a critical section.
    pub(crate) fn lock(&self) -> Result<(), WaitError> {
        self.lock_by(Deadline::NEVER)
    }

    pub(crate) fn lock_by(&self, deadline: Deadline) -> Result<(), WaitError> {
        let local = Local::current();
        let tid = local.tid();
        let me = low_half(tid);
        let mut mine = me;
        loop {
            // First the section, then the lock: an exit must not come between the two.
            local.critical_enter();
            let seen = match self.0.compare_exchange(FREE, mine, Ordering::Acquire, Ordering::Relaxed) {
                Ok(_) => {
                    self.1.store(tid, Ordering::Relaxed);
                    return Ok(());
                }
                Err(seen) => seen,
            };
            local.critical_leave();
            if seen & !WAITERS == me {
                return Err(WaitError::Deadlock);
            }
            let waited = seen | WAITERS;
            if seen != waited
                && self.0.compare_exchange(seen, waited, Ordering::Relaxed, Ordering::Relaxed).is_err()
            {
                continue;
            }
            // From now on there may be other waiters too, and whoever gets the lock must remember them.
            mine = me | WAITERS;
            let owner = self.1.load(Ordering::Relaxed);
            if low_half(owner) != seen & !WAITERS {
                // The holder has not come to say who it is; it will when it runs.
                syscall::yield_now();
                continue;
            }
            match syscall::drover_wait(&self.0, waited, owner, WAIT_LEND, deadline.ns()) {
                Ok(()) | Err(DROVER_CHANGED) => {}
                // It ended, but it had given the lock up before.
                Err(DROVER_OWNER_DIED) if self.0.load(Ordering::Relaxed) != waited => {}
                Err(code) => return Err(WaitError::from_code(code)),
            }
        }
    }

    /// Releases the lock and leaves the critical section, where a waiting exit takes effect.
    pub(crate) fn unlock(&self) {
        if self.0.swap(FREE, Ordering::Release) & WAITERS != 0 {
            // All of them: whoever does not get it has to wait for the new holder, not for this one.
            syscall::drover_wake(&self.0, u32::MAX);
        }
        Local::current().critical_leave();
    }
}

/// The part of a thread id that a lock's word holds; not 0.
const fn low_half(tid: u64) -> u32 {
    match tid as u32 & !WAITERS {
        0 => 1,
        half => half,
    }
}

/// Data that one activation at a time may use, for short sections without calls.
pub struct Mutex<T> {
    raw: Raw,
    data: UnsafeCell<T>,
}

// SAFETY: the data are used under the lock only, by one thread at a time.
unsafe impl<T: Send> Sync for Mutex<T> {}

impl<T> Mutex<T> {
    /// A free lock.
    pub const fn new(data: T) -> Self {
        Self { raw: Raw::new(), data: UnsafeCell::new(data) }
    }

    /// Takes the lock. Bounded by the holder's critical section, and by the call's deadline.
    ///
    /// # Errors
    /// [`WaitError`]; `Deadlock` also if the caller has it already.
    pub fn lock(&self) -> Result<MutexGuard<'_, T>, WaitError> {
        self.lock_by(Deadline::NEVER)
    }

    /// Takes the lock, waiting at most until `deadline`.
    ///
    /// # Errors
    /// As [`Mutex::lock`].
    pub fn lock_by(&self, deadline: Deadline) -> Result<MutexGuard<'_, T>, WaitError> {
        self.raw.lock_by(deadline)?;
        Ok(MutexGuard { lock: self, not_send: core::marker::PhantomData })
    }

    /// The data, of which there is no other user.
    pub fn get_mut(&mut self) -> &mut T {
        self.data.get_mut()
    }
}

/// The lock is held.
pub struct MutexGuard<'a, T> {
    lock: &'a Mutex<T>,
    not_send: core::marker::PhantomData<*mut ()>,
}

impl<T> Deref for MutexGuard<'_, T> {
    type Target = T;
    fn deref(&self) -> &T {
        // SAFETY: the lock is held.
        unsafe { &*self.lock.data.get() }
    }
}

impl<T> DerefMut for MutexGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: the lock is held, and this is the only guard.
        unsafe { &mut *self.lock.data.get() }
    }
}

impl<T> Drop for MutexGuard<'_, T> {
    fn drop(&mut self) {
        self.lock.raw.unlock();
    }
}

/// A lock as of 2013. An exit of the holder's call releases it, so that a dead client strands nothing; that is the only concession.
pub struct ClassicMutex<T: 'static> {
    /// [`FREE`], or the number of the holder's slot, with [`WAITERS`].
    word: AtomicU32,
    data: UnsafeCell<T>,
}

// SAFETY: as for `Mutex`.
unsafe impl<T: Send> Sync for ClassicMutex<T> {}

impl<T: Send + 'static> ClassicMutex<T> {
    /// A free lock.
    pub const fn new(data: T) -> Self {
        Self { word: AtomicU32::new(FREE), data: UnsafeCell::new(data) }
    }

    /// Takes the lock, waiting without a limit of its own. The lock is a static, as exec's decompressor locks were.
    ///
    /// # Errors
    /// [`WaitError::Aborted`], and what the kernel makes of a waiting call whose deadline passes.
    pub fn lock(&'static self) -> Result<ClassicGuard<T>, WaitError> {
        let me = slot_number();
        // The cleanup is registered first: an exit right after the exchange must find it.
        let release = on_exit(move || self.release(me));
        let mut mine = me;
        loop {
            let seen = match self.word.compare_exchange(FREE, mine, Ordering::Acquire, Ordering::Relaxed) {
                Ok(_) => return Ok(ClassicGuard { lock: self, _release: release }),
                Err(seen) => seen,
            };
            let waited = seen | WAITERS;
            if seen != waited
                && self.word.compare_exchange(seen, waited, Ordering::Relaxed, Ordering::Relaxed).is_err()
            {
                continue;
            }
            mine = me | WAITERS;
            match syscall::drover_wait(&self.word, waited, 0, 0, u64::MAX) {
                Ok(()) | Err(DROVER_CHANGED) => {}
                Err(code) => return Err(WaitError::from_code(code)),
            }
        }
    }

    /// Releases the lock if the activation in slot `me` holds it.
    fn release(&self, me: u32) {
        let seen = self.word.load(Ordering::Relaxed);
        if seen & !WAITERS == me && self.word.swap(FREE, Ordering::Release) & WAITERS != 0 {
            syscall::drover_wake(&self.word, 1);
        }
    }
}

/// Number of the 8 GiB slot that the running activation lives in: one activation of the task at a time has it.
fn slot_number() -> u32 {
    (core::ptr::from_ref(&Local::current()) as u64 / drover_abi::window::WINDOW_SIZE) as u32 | 1 << 30
}

/// A [`ClassicMutex`] is held.
pub struct ClassicGuard<T: Send + 'static> {
    lock: &'static ClassicMutex<T>,
    /// Releases the lock when dropped, or on an exit.
    _release: OnExit,
}

impl<T: Send> Deref for ClassicGuard<T> {
    type Target = T;
    fn deref(&self) -> &T {
        // SAFETY: the lock is held.
        unsafe { &*self.lock.data.get() }
    }
}

impl<T: Send> DerefMut for ClassicGuard<T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: the lock is held, and this is the only guard.
        unsafe { &mut *self.lock.data.get() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    static CLASSIC: ClassicMutex<u32> = ClassicMutex::new(1);

    #[test]
    fn a_classic_lock_is_released_by_its_guard() {
        {
            let mut guard = CLASSIC.lock().unwrap();
            *guard += 1;
            assert_ne!(CLASSIC.word.load(Ordering::Relaxed), FREE);
        }
        assert_eq!(CLASSIC.word.load(Ordering::Relaxed), FREE);
        assert_eq!(*CLASSIC.lock().unwrap(), 2);
    }

    #[test]
    fn a_lock_is_a_critical_section() {
        let mutex = Mutex::new(0);
        let before = Local::current().critical();
        {
            let mut guard = mutex.lock().unwrap();
            *guard = 7;
            assert_eq!(Local::current().critical(), before + 1);
            assert!(matches!(mutex.lock(), Err(WaitError::Deadlock)), "the holder itself");
            assert_eq!(Local::current().critical(), before + 1);
        }
        assert_eq!(Local::current().critical(), before);
        assert_eq!(*mutex.lock().unwrap(), 7);
    }
}
