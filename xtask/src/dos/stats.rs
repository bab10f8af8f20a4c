//! The figures of one run: per victim and phase, nearest-rank percentiles in which an unfinished sample counts with its age.

use super::run::{PhaseName, Run};

/// The figures of one victim in one phase.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Summary {
    /// Samples, open ones included.
    pub count: usize,
    /// Samples that did not finish.
    pub open: usize,
    /// Samples that ended in an error.
    pub errors: usize,
    /// Median in ns.
    pub p50: Option<u64>,
    /// 99th percentile in ns.
    pub p99: Option<u64>,
    /// The longest in ns.
    pub max: Option<u64>,
}

/// The figures of one victim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Victim {
    /// Its name.
    pub name: String,
    /// Without the attacker.
    pub idle: Summary,
    /// While the attacker burns its own share.
    pub fair: Summary,
    /// During the attack.
    pub attack: Summary,
}

/// Nearest-rank percentile of sorted values: the smallest value that at least `percent` % of them do not exceed.
#[must_use]
pub fn percentile(sorted: &[u64], percent: u32) -> Option<u64> {
    let rank = (sorted.len() as u64 * u64::from(percent)).div_ceil(100).max(1);
    sorted.get(usize::try_from(rank).ok()?.checked_sub(1)?).copied()
}

/// The figures of one victim in all phases of one name.
#[must_use]
pub fn summary(run: &Run, victim: &str, phase: PhaseName) -> Summary {
    let samples: Vec<_> = run.samples_of(victim, phase).collect();
    let mut durations: Vec<u64> = samples.iter().map(|s| s.duration).collect();
    durations.sort_unstable();
    Summary {
        count: samples.len(),
        open: samples.iter().filter(|s| s.open).count(),
        errors: samples.iter().filter(|s| s.error != 0).count(),
        p50: percentile(&durations, 50),
        p99: percentile(&durations, 99),
        max: durations.last().copied(),
    }
}

/// The figures of every victim of a run, in the order in which they first appear.
#[must_use]
pub fn victims(run: &Run) -> Vec<Victim> {
    run.victims()
        .into_iter()
        .map(|name| Victim {
            idle: summary(run, &name, PhaseName::Idle),
            fair: summary(run, &name, PhaseName::Fair),
            attack: summary(run, &name, PhaseName::Attack),
            name,
        })
        .collect()
}

/// `a / b`, when both are there and `b` is not zero.
#[must_use]
pub fn ratio(a: Option<u64>, b: Option<u64>) -> Option<f64> {
    match (a, b) {
        (Some(a), Some(b)) if b > 0 => Some(a as f64 / b as f64),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_nearest_rank() {
        let hundred: Vec<u64> = (1..=100).collect();
        assert_eq!(percentile(&hundred, 50), Some(50));
        assert_eq!(percentile(&hundred, 99), Some(99));
        assert_eq!(percentile(&hundred, 100), Some(100));
        assert_eq!(percentile(&[7], 99), Some(7));
        assert_eq!(percentile(&[1, 2], 50), Some(1));
        assert_eq!(percentile(&[1, 2], 99), Some(2));
        assert_eq!(percentile(&[], 50), None);
    }

    #[test]
    fn an_open_sample_counts_with_its_age() {
        let run = super::super::run::sample_run("classic");
        let find = summary(&run, "find", PhaseName::Attack);
        assert_eq!((find.count, find.open), (1, 1));
        assert_eq!(find.max, Some(60_000_000_000));
        assert_eq!(summary(&run, "find", PhaseName::Fair).count, 100);
    }

    #[test]
    fn a_ratio_needs_both_figures() {
        assert_eq!(ratio(Some(30), Some(20)), Some(1.5));
        assert_eq!(ratio(Some(30), Some(0)), None);
        assert_eq!(ratio(None, Some(1)), None);
    }
}
