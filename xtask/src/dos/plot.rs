//! The drawings of the report: how much worse each victim fared, latency over time, memory by account.

use super::judge::{self, times};
use super::run::{PhaseName, Run, Sample};
use super::stats::{self, ratio};
use super::svg::{Scale, Svg, ticks};
use super::table::duration;

/// Dots per panel; more are thinned out, the longest always kept.
const MAX_DOTS: usize = 1200;

const SECOND: f64 = 1e9;

/// The span over which a set of panels can be compared.
#[derive(Debug, Clone, Copy)]
pub(super) struct Range {
    /// Guest seconds shown.
    pub(super) seconds: f64,
    /// Least and greatest latency in ns.
    pub(super) latency: (f64, f64),
}

impl Range {
    /// A range that holds all samples of a victim in all runs.
    pub(super) fn of(runs: &[&Run], victim: &str) -> Self {
        let seconds = runs.iter().map(|r| (r.span().1 - r.span().0) as f64 / SECOND).fold(1.0, f64::max);
        let durations = runs
            .iter()
            .flat_map(|r| r.samples.iter().filter(|s| s.victim == victim))
            .map(|s| s.duration as f64);
        let (low, high) = durations.fold((f64::MAX, 1.0f64), |(l, h), d| (l.min(d.max(1.0)), h.max(d)));
        let low = 10f64.powf((low.min(high).max(1.0) * 0.7).log10().floor().max(0.0));
        // At least three decades, so that a few per cent look like a few per cent.
        let high = 10f64.powf(high.log10().ceil()).max(low * 1000.0);
        Self { seconds, latency: (low, high) }
    }
}

struct Frame {
    svg: Svg,
    x: Scale,
    left: f64,
    right: f64,
    top: f64,
    bottom: f64,
}

const WIDTH: f64 = 560.0;

/// The axes of a panel over time, with its phases shaded.
fn frame(run: &Run, seconds: f64, height: f64, label: &str) -> Frame {
    let (left, right, top, bottom) = (62.0, WIDTH - 12.0, 22.0, height - 26.0);
    let mut svg = Svg::new(WIDTH, height, label);
    let x = Scale::linear((0.0, seconds), (left, right));
    let origin = run.span().0;
    let place = |ns: u64| x.at(ns.saturating_sub(origin) as f64 / SECOND);
    for phase in &run.phases {
        let (from, to) = (place(phase.start), place(phase.end));
        let name = phase.name.name();
        svg.rect(&format!("phase {name}"), (from, top), (to - from, bottom - top));
        // A narrow phase keeps its shade but not its name.
        if to - from > 7.0 * name.len() as f64 {
            svg.text("phase-name", "middle", (f64::midpoint(from, to), top - 6.0), name);
        }
    }
    for t in ticks(seconds, 6) {
        svg.line("grid", (x.at(t), top), (x.at(t), bottom));
        svg.text("tick", "middle", (x.at(t), bottom + 15.0), &format!("{t:.0} s"));
    }
    Frame { svg, x, left, right, top, bottom }
}

/// Latency over time of one victim in one run: a dot where each sample begins, and a bar as long as it took.
pub(super) fn latency(run: &Run, victim: &str, range: Range) -> String {
    let label = format!("latency of {victim} in {}", run.job.label());
    let mut f = frame(run, range.seconds, 190.0, &label);
    let y = Scale::log(range.latency, (f.bottom, f.top));
    let mut decade = range.latency.0;
    while decade <= range.latency.1 * 1.01 {
        f.svg.line("grid", (f.left, y.at(decade)), (f.right, y.at(decade)));
        f.svg.text("tick", "end", (f.left - 6.0, y.at(decade) + 4.0), &axis_duration(decade));
        decade *= 10.0;
    }
    let summary = stats::summary(run, victim, PhaseName::Fair);
    if let Some(p99) = summary.p99 {
        let at = y.at(p99 as f64);
        f.svg.line("fair-line", (f.left, at), (f.right, at));
    }
    let origin = run.span().0;
    let seconds = |ns: u64| ns.saturating_sub(origin) as f64 / SECOND;
    for sample in thin(run.samples.iter().filter(|s| s.victim == victim).collect()) {
        let class = run.phases[sample.phase].name.name();
        let at = y.at(sample.duration as f64);
        let (from, to) =
            (f.x.at(seconds(sample.at)), f.x.at(seconds(sample.at.saturating_add(sample.duration))));
        if to - from > 3.0 {
            f.svg.line(&format!("wait {class}"), (from, at), (to, at));
        }
        if sample.open {
            f.svg.path(&format!("open {class}"), &[(to, at - 5.0), (to + 7.0, at), (to, at + 5.0)], true);
        }
        f.svg.dot(&format!("dot {class}"), (from, at), 1.9);
    }
    if let Some((text, sample)) = stall_label(run, victim) {
        let middle = f64::midpoint(
            f.x.at(seconds(sample.at)),
            f.x.at(seconds(sample.at.saturating_add(sample.duration))),
        );
        let middle = middle.clamp(f.left + 110.0, f.right - 110.0);
        let above = y.at(sample.duration as f64) - 9.0;
        let place = if above < f.top + 8.0 { above + 25.0 } else { above };
        f.svg.text("stall", "middle", (middle, place), &text);
    }
    f.svg.finish()
}

/// What to write beside the longest sample of the attack, if it is a stall.
fn stall_label<'a>(run: &'a Run, victim: &'a str) -> Option<(String, &'a Sample)> {
    let worst = run.samples_of(victim, PhaseName::Attack).max_by_key(|s| s.duration)?;
    let fair = stats::summary(run, victim, PhaseName::Fair).p99;
    let factor = ratio(Some(worst.duration), fair).filter(|r| *r >= judge::STALL)?;
    let end = if worst.open { ", never returned" } else { "" };
    Some((format!("stalled {}: {}{end}", duration(Some(worst.duration)), times(Some(factor))), worst))
}

/// A round latency for an axis.
fn axis_duration(ns: f64) -> String {
    match ns {
        n if n < 1e3 => format!("{n:.0} ns"),
        n if n < 1e6 => format!("{:.0} us", n / 1e3),
        n if n < 1e9 => format!("{:.0} ms", n / 1e6),
        n => format!("{:.0} s", n / 1e9),
    }
}

/// At most [`MAX_DOTS`] samples: the longest tenth of that, and every n-th of the others.
fn thin(mut samples: Vec<&Sample>) -> Vec<&Sample> {
    if samples.len() <= MAX_DOTS {
        return samples;
    }
    samples.sort_by_key(|s| std::cmp::Reverse(s.duration));
    let rest = samples.split_off(MAX_DOTS / 10);
    let step = rest.len().div_ceil(MAX_DOTS - samples.len());
    samples.extend(rest.into_iter().step_by(step));
    samples
}

/// The accounts of a set of runs by their greatest charge, the greatest first: the same colours everywhere.
pub(super) fn accounts(runs: &[&Run]) -> Vec<String> {
    let mut peaks: Vec<(String, u64)> = Vec::new();
    for (name, frames, _) in runs.iter().flat_map(|r| &r.memory).flat_map(|m| &m.accounts) {
        match peaks.iter_mut().find(|(n, _)| n == name) {
            Some((_, peak)) => *peak = (*peak).max(*frames),
            None => peaks.push((name.clone(), *frames)),
        }
    }
    peaks.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    peaks.into_iter().map(|(name, _)| name).collect()
}

/// Accounts with a colour of their own; the others share one.
pub(super) const COLOURS: usize = 6;

/// Memory charged to each account over time, one line each.
pub(super) fn memory(run: &Run, accounts: &[String], seconds: f64, max_frames: f64) -> String {
    let label = format!("memory by account in {}", run.job.label());
    let mut f = frame(run, seconds, 230.0, &label);
    let max_mib = (max_frames / 256.0).max(1.0);
    let y = Scale::linear((0.0, max_mib * 1.08), (f.bottom, f.top));
    for t in ticks(max_mib * 1.08, 4) {
        f.svg.line("grid", (f.left, y.at(t)), (f.right, y.at(t)));
        f.svg.text("tick", "end", (f.left - 6.0, y.at(t) + 4.0), &format!("{t:.0} MiB"));
    }
    let origin = run.span().0;
    for (rank, account) in accounts.iter().enumerate().rev() {
        let points: Vec<(f64, f64)> = run
            .memory
            .iter()
            .filter_map(|m| {
                let (_, frames, _) = m.accounts.iter().find(|(n, _, _)| n == account)?;
                Some((f.x.at(m.at.saturating_sub(origin) as f64 / SECOND), y.at(*frames as f64 / 256.0)))
            })
            .collect();
        let points = thin_line(points);
        let class = format!("a{}", rank.min(COLOURS));
        if let (Some(first), Some(last)) = (points.first(), points.last()) {
            let mut area = points.clone();
            area.push((last.0, f.bottom));
            area.push((first.0, f.bottom));
            f.svg.path(&format!("area {class}"), &area, true);
        }
        f.svg.path(&format!("curve {class}"), &points, false);
        let peak = points.iter().copied().min_by(|a, b| a.1.total_cmp(&b.1));
        if let Some((px, py)) = peak.filter(|p| f.bottom - p.1 > 24.0) {
            let most =
                run.memory.iter().flat_map(|m| &m.accounts).filter(|a| a.0 == *account).map(|a| a.1).max();
            let text = format!("{account}: {:.0} MiB", most.unwrap_or(0) as f64 / 256.0);
            let place = (px.clamp(f.left + 60.0, f.right - 60.0), (py - 5.0).max(f.top + 10.0));
            f.svg.text(&format!("curve-name {class}"), "middle", place, &text);
        }
    }
    f.svg.finish()
}

/// At most one point per pixel or so.
fn thin_line(points: Vec<(f64, f64)>) -> Vec<(f64, f64)> {
    let step = points.len().div_ceil(MAX_DOTS).max(1);
    let last = points.last().copied();
    points.into_iter().step_by(step).chain(last).collect()
}

/// One bar: the run, the ratio, and whether a sample never returned.
type Bar<'a> = (&'a Run, f64, bool);

/// How many times worse than its fair p99 each victim's worst sample of the attack was, one bar per world and victim, on a log scale.
pub(super) fn overview(runs: &[&Run]) -> String {
    let victims: Vec<String> = runs.first().map(|r| r.victims()).unwrap_or_default();
    let rows: Vec<(String, Vec<Bar<'_>>)> = victims
        .into_iter()
        .map(|victim| {
            let bars = runs
                .iter()
                .filter_map(|run| {
                    let attack = stats::summary(run, &victim, PhaseName::Attack);
                    let fair = stats::summary(run, &victim, PhaseName::Fair);
                    Some((*run, ratio(attack.p99, fair.p99)?, attack.open > 0))
                })
                .collect();
            (victim, bars)
        })
        .collect();
    let top_value = rows.iter().flat_map(|(_, bars)| bars).map(|(_, r, _)| *r).fold(100.0, f64::max);
    let high = 10f64.powf(top_value.log10().ceil());
    let (left, right, top) = (92.0, 1060.0, 30.0);
    let bar = 20.0;
    let row_height = |n: usize| bar * n as f64 + 16.0;
    let bottom = top + rows.iter().map(|(_, b)| row_height(b.len())).sum::<f64>();
    let mut svg = Svg::new(
        1140.0,
        bottom + 30.0,
        "how many times its fair p99 each victim's p99 was during the attack",
    );
    let x = Scale::log((0.8, high), (left, right));
    let mut decade = 1.0;
    while decade <= high {
        svg.line("grid", (x.at(decade), top), (x.at(decade), bottom));
        svg.text("tick", "middle", (x.at(decade), bottom + 16.0), &format!("{decade:.0}x"));
        decade *= 10.0;
    }
    for (limit, name) in [(judge::HOLD, "hold: 1.10x"), (judge::STALL, "stall: 20x")] {
        svg.line("limit", (x.at(limit), top - 8.0), (x.at(limit), bottom));
        svg.text("limit-name", "middle", (x.at(limit), top - 13.0), name);
    }
    let mut y = top + 6.0;
    for (victim, bars) in &rows {
        let height = row_height(bars.len());
        svg.text("row", "end", (left - 10.0, y + height / 2.0 - 2.0), victim);
        for (i, (run, value, open)) in bars.iter().enumerate() {
            let at = y + bar * i as f64;
            let world = run.job.world.as_str();
            svg.rect(&format!("bar {world}"), (x.at(0.8), at), (x.at(*value) - x.at(0.8), bar - 4.0));
            let more = if *open { " and never returned" } else { "" };
            let text = format!("{world} {}{more}", times(Some(*value)));
            // Beside the bar, or inside its end when there is no room.
            if x.at(*value) > right - 190.0 {
                svg.text("bar-text inside", "end", (x.at(*value) - 6.0, at + 12.0), &text);
            } else {
                svg.text("bar-text", "start", (x.at(*value) + 6.0, at + 12.0), &text);
            }
        }
        y += height;
    }
    svg.finish()
}

#[cfg(test)]
mod tests {
    use super::super::run::sample_run;
    use super::*;

    #[test]
    fn a_stall_is_drawn_and_named() {
        let run = sample_run("classic");
        let svg = latency(&run, "find", Range::of(&[&run], "find"));
        assert!(svg.contains("stalled 60.00 s") && svg.contains("never returned"));
        assert!(svg.contains("class=\"open attack\"") && svg.contains("class=\"wait attack\""));
        let held = sample_run("accounted");
        let svg = latency(&held, "find", Range::of(&[&held], "find"));
        assert!(!svg.contains("stalled") && !svg.contains("class=\"open"));
        assert_eq!(svg.matches("class=\"dot attack\"").count(), 100);
    }

    #[test]
    fn thinning_keeps_the_longest() {
        let run = sample_run("accounted");
        let mut samples: Vec<Sample> =
            (0..5000).map(|i| Sample { at: i, duration: 5, ..run.samples[0].clone() }).collect();
        samples[3777].duration = 1_000_000;
        let kept = thin(samples.iter().collect());
        assert!(kept.len() <= MAX_DOTS && kept.iter().any(|s| s.duration == 1_000_000));
    }

    #[test]
    fn accounts_are_ordered_by_their_peak() {
        let run = sample_run("classic");
        assert_eq!(accounts(&[&run])[0], "exec");
        let svg = memory(&run, &accounts(&[&run]), 90.0, 270_000.0);
        assert!(svg.contains("exec: 1"), "the peak is labelled");
    }
}
