//! The figures and the conditions as text for a terminal.

use super::judge::{Condition, times};
use super::run::Run;
use super::stats::{self, ratio};
use std::fmt::Write as _;

/// A duration for people.
#[must_use]
pub(super) fn duration(ns: Option<u64>) -> String {
    let Some(ns) = ns else { return "-".into() };
    let value = ns as f64;
    match ns {
        0..1_000 => format!("{ns} ns"),
        1_000..1_000_000 => format!("{:.1} us", value / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1} ms", value / 1e6),
        _ => format!("{:.2} s", value / 1e9),
    }
}

/// One table over all runs.
#[must_use]
pub(super) fn figures(runs: &[Run]) -> String {
    let mut out = String::new();
    for run in runs {
        let _ = writeln!(out, "\n{}", run.job.label());
        let _ = writeln!(
            out,
            "  {:<10} {:>10} {:>10} {:>10} {:>10} {:>10} {:>12} {:>8} {:>5} {:>6}",
            "victim",
            "idle p99",
            "fair p50",
            "fair p99",
            "attack p50",
            "attack p99",
            "attack max",
            "p99/fair",
            "open",
            "errors"
        );
        for v in stats::victims(run) {
            let _ = writeln!(
                out,
                "  {:<10} {:>10} {:>10} {:>10} {:>10} {:>10} {:>12} {:>8} {:>5} {:>6}",
                v.name,
                duration(v.idle.p99),
                duration(v.fair.p50),
                duration(v.fair.p99),
                duration(v.attack.p50),
                duration(v.attack.p99),
                duration(v.attack.max),
                times(ratio(v.attack.p99, v.fair.p99)),
                v.attack.open,
                v.attack.errors
            );
        }
        if let Some(a) = &run.attacker {
            let _ = writeln!(
                out,
                "  attacker: result {}, {} of CPU, at most {} frames, {} attempts",
                a.result,
                duration(Some(a.cpu_ns)),
                a.frames_peak,
                a.attempts.max(1)
            );
        }
        if let Some((before, peak)) = run.exec {
            let _ = writeln!(out, "  exec's own frames: {before} before, {peak} at most");
        }
    }
    out
}

/// The conditions, those that fail last so that they are seen.
#[must_use]
pub(super) fn conditions(conditions: &[Condition]) -> String {
    let mut out = String::new();
    for ok in [true, false] {
        for c in conditions.iter().filter(|c| c.ok == ok) {
            let mark = if ok { "ok  " } else { "FAIL" };
            let seen = if c.seen.is_empty() { String::new() } else { format!(" [{}]", c.seen) };
            let _ = writeln!(out, "{mark} {}: {}{seen}", c.run, c.what);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_readable() {
        let shown: Vec<_> =
            [Some(12), Some(1_500), Some(40_000_000), Some(61_000_000_000), None].map(duration).to_vec();
        assert_eq!(shown, ["12 ns", "1.5 us", "40.0 ms", "61.00 s", "-"]);
    }

    #[test]
    fn the_table_shows_the_stall() {
        let table = figures(&[super::super::run::sample_run("classic")]);
        let find = table.lines().find(|l| l.trim_start().starts_with("find")).unwrap();
        assert!(find.contains("60.00 s"), "{find}");
    }
}
