//! Time: nanoseconds since boot, and deadlines in it.

use core::time::Duration;

use crate::syscall;

/// Nanoseconds since boot.
#[must_use]
pub fn now() -> u64 {
    syscall::drover_clock()
}

/// Sleeps for `time`, or until interrupted. The thread's payer pays for nothing but the wait.
///
/// # Errors
/// `KERN_ABORTED` when interrupted.
pub fn sleep(time: Duration) -> Result<(), i32> {
    syscall::sleep_until(Deadline::within(time).ns())
}

/// A point in time, or none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Deadline(u64);

impl Deadline {
    /// No deadline of its own; that of the call still holds.
    pub const NEVER: Self = Self(u64::MAX);

    /// At `ns` since boot.
    #[must_use]
    pub const fn at(ns: u64) -> Self {
        Self(ns)
    }

    /// `time` from now.
    #[must_use]
    pub fn within(time: Duration) -> Self {
        Self(now().saturating_add(nanos(time)))
    }

    /// Nanoseconds since boot; `u64::MAX` for none.
    #[must_use]
    pub const fn ns(self) -> u64 {
        self.0
    }
}

/// A duration in whole nanoseconds, at most `u64::MAX - 1`.
pub(crate) fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX).min(u64::MAX - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_saturate() {
        assert_eq!(nanos(Duration::from_micros(3)), 3000);
        assert_eq!(nanos(Duration::MAX), u64::MAX - 1);
    }
}
