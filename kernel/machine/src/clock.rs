//! Arithmetic of clocks: how many nanoseconds are so many ticks, and back.
//!
//! Pure; the counters themselves are read in `timer`. No rate is ever zero and no conversion overflows: results that
//! do not fit saturate.

/// Frequency of the legacy interval timer, in Hz.
pub const PIT_HZ: u64 = 1_193_182;

/// A counter's rate, with the factors for both directions worked out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    hz: u64,
    /// ns per tick, in units of 2^-32.
    ns_per_tick: u64,
    /// Ticks per ns, in units of 2^-32.
    ticks_per_ns: u64,
}

impl Rate {
    /// A counter of `hz` ticks per second, from 1 kHz to 1 THz; what lies outside is taken for the nearer end.
    pub const fn from_hz(hz: u64) -> Self {
        let hz = if hz < 1_000 {
            1_000
        } else if hz > 1_000_000_000_000 {
            1_000_000_000_000
        } else {
            hz
        };
        let ns_per_tick = ((1_000_000_000u128 << 32) / hz as u128) as u64;
        let ticks_per_ns = (((hz as u128) << 32) / 1_000_000_000) as u64;
        Self { hz, ns_per_tick, ticks_per_ns }
    }

    /// Ticks per second.
    pub const fn hz(self) -> u64 {
        self.hz
    }

    /// Nanoseconds in `ticks`, rounded down.
    #[inline]
    pub const fn ns(self, ticks: u64) -> u64 {
        let ns = (ticks as u128 * self.ns_per_tick as u128) >> 32;
        if ns > u64::MAX as u128 { u64::MAX } else { ns as u64 }
    }

    /// Ticks that cover `ns`, never fewer than the time asked for (but for the factor's own rounding, 2^-32 of it).
    #[inline]
    pub const fn ticks(self, ns: u64) -> u64 {
        let ticks = ((ns as u128 * self.ticks_per_ns as u128) >> 32) + 1;
        if ticks > u64::MAX as u128 { u64::MAX } else { ticks as u64 }
    }
}

/// The rate of a counter that went `ticks` forward while the interval timer counted `pit_ticks`, in Hz.
///
/// A measurement over some 10 ms cannot tell apart rates that differ by less than about 50 parts in a million, and
/// real counters (and emulated ones) run at whole MHz: within that error the whole MHz is the better answer.
pub const fn measured_hz(ticks: u64, pit_ticks: u64) -> u64 {
    if pit_ticks == 0 {
        return 0;
    }
    let hz = (ticks as u128 * PIT_HZ as u128) / pit_ticks as u128;
    let hz = if hz > u64::MAX as u128 { u64::MAX } else { hz as u64 };
    let whole = (hz.saturating_add(500_000) / 1_000_000) * 1_000_000;
    if hz.abs_diff(whole) as u128 * 20_000 <= hz as u128 { whole } else { hz }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_tick_per_ns_is_exact() {
        let rate = Rate::from_hz(1_000_000_000);
        for ticks in [0, 1, 12_345, u64::from(u32::MAX), u64::MAX] {
            assert_eq!(rate.ns(ticks), ticks);
        }
    }

    #[test]
    fn a_deadline_is_never_early() {
        for hz in [1_000_000, 62_500_000, 250_000_000, 1_000_000_000, 3_400_000_000] {
            let rate = Rate::from_hz(hz);
            for ns in [1, 999, 200_000, 1_000_000, 4_000_000_000] {
                let back = rate.ticks(ns) as u128 * 1_000_000_000 / u128::from(hz);
                assert!(back >= u128::from(ns), "{hz} Hz: {ns} ns became {back}");
            }
        }
    }

    #[test]
    fn long_times_do_not_overflow() {
        let slow = Rate::from_hz(1_000_000);
        assert_eq!(slow.ns(u64::MAX), u64::MAX);
        let year = 365 * 86_400u64;
        let fast = Rate::from_hz(3_000_000_000);
        let ns = fast.ns(year * 100 * 3_000_000_000);
        assert!(ns.abs_diff(year * 100 * 1_000_000_000) < 2_000_000_000, "off by {ns}");
        assert_eq!(Rate::from_hz(1_000_000_000_000).ticks(u64::MAX), u64::MAX);
    }

    #[test]
    fn nonsense_rates_are_bounded() {
        assert_eq!(Rate::from_hz(0).hz(), 1_000);
        assert_eq!(Rate::from_hz(u64::MAX).hz(), 1_000_000_000_000);
    }

    #[test]
    fn measurement() {
        // 11932 interval ticks are 10.0001 ms.
        assert_eq!(measured_hz(10_000_148, 11_932), 1_000_000_000);
        assert_eq!(measured_hz(10_000_300, 11_932), 1_000_000_000);
        // 0.04 % away from a whole MHz is a rate of its own.
        assert_eq!(measured_hz(10_004_000, 11_932), 10_004_000 * PIT_HZ / 11_932);
        assert_eq!(measured_hz(5, 0), 0);
        assert!(measured_hz(u64::MAX, 1) > u64::MAX - 1_000_000);
    }
}
