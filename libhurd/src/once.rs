//! A value that a program sets once and then only reads: what a server knows of itself.

use alloc::boxed::Box;
use core::sync::atomic::{AtomicPtr, Ordering};

/// Set at most once; the value lives as long as the program.
pub struct Once<T: 'static>(AtomicPtr<T>);

impl<T: Send + Sync> Default for Once<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: Send + Sync> Once<T> {
    /// Not set.
    #[must_use]
    pub const fn new() -> Self {
        Self(AtomicPtr::new(core::ptr::null_mut()))
    }

    /// Sets it, at the task's own expense.
    ///
    /// # Errors
    /// The value, if there is one already.
    pub fn set(&self, value: T) -> Result<&'static T, T> {
        let new = crate::own(|| Box::into_raw(Box::new(value)));
        match self.0.compare_exchange(core::ptr::null_mut(), new, Ordering::AcqRel, Ordering::Acquire) {
            // SAFETY: leaked just now; nobody takes it back.
            Ok(_) => Ok(unsafe { &*new }),
            // SAFETY: leaked just now, and nobody else has seen it.
            Err(_) => Err(*unsafe { Box::from_raw(new) }),
        }
    }

    /// The value.
    #[must_use]
    pub fn get(&self) -> Option<&'static T> {
        // SAFETY: null, or the value that `set` leaked.
        unsafe { self.0.load(Ordering::Acquire).as_ref() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn set_once() {
        static ONCE: Once<u32> = Once::new();
        assert_eq!(ONCE.get(), None);
        assert_eq!(ONCE.set(5), Ok(&5));
        assert_eq!(ONCE.set(6), Err(6));
        assert_eq!(ONCE.get(), Some(&5));
    }
}
