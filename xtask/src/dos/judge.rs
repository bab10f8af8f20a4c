//! What counts as passed: the conditions of `docs/experiment.md`, each with what was seen.

use super::matrix::{Stall, World};
use super::run::{PhaseName, Run};
use super::stats::{self, Victim, ratio};
use drover_abi::returns::{DROVER_LOCK_HELD, KERN_RESOURCE_SHORTAGE, KERN_TIMEDOUT};

/// A classic stall is at least this many times the fair p99.
pub const STALL: f64 = 20.0;
/// With charging alone a stall is at least this many times the fair p99.
pub const CHARGED_STALL: f64 = 10.0;
/// In the accounted world, attack p99 is at most this many times fair p99.
pub const HOLD: f64 = 1.10;
/// Fair p99 is at most this many times idle p99.
pub const FAIR: f64 = 1.35;

/// One condition and whether it holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Condition {
    /// The run it is about.
    pub run: String,
    /// What must hold.
    pub what: String,
    /// Whether it does.
    pub ok: bool,
    /// What was seen.
    pub seen: String,
}

/// What the judge must know besides the run.
#[derive(Debug, Clone, Copy)]
pub struct Terms {
    /// The payload inflated, in frames.
    pub payload_frames: u64,
    /// Samples wanted per victim and phase.
    pub samples: usize,
    /// The kernel checked itself all the time: what it took to do so is in the latencies, which say nothing then.
    pub checked: bool,
}

/// A ratio for people.
#[must_use]
pub fn times(ratio: Option<f64>) -> String {
    ratio.map_or("no figure".into(), |r| if r < 10.0 { format!("{r:.3}x") } else { format!("{r:.0}x") })
}

struct Bench<'a> {
    run: &'a Run,
    victims: Vec<Victim>,
    terms: Terms,
    conditions: Vec<Condition>,
}

/// All conditions on a run.
#[must_use]
pub fn judge(run: &Run, terms: Terms) -> Vec<Condition> {
    let mut bench = Bench { run, victims: stats::victims(run), terms, conditions: Vec::new() };
    let problems = run.problems.join("; ");
    bench.hold("the guest reported everything, to the end", problems.is_empty(), problems);
    match (run.job.world, run.job.stall) {
        (World::Classic, Stall::A | Stall::B) => bench.classic_find(),
        (World::Classic, Stall::C) => bench.classic_exec(),
        (World::Accounted, Stall::A | Stall::C) => bench.accounted(),
        (World::Accounted, Stall::B) => bench.refused(),
        (World::Charging, Stall::A | Stall::B) => bench.charging(|name| name == "find"),
        (World::Charging, Stall::C) => bench.charging(|name| name.starts_with("exec-")),
        (World::Ceilings, Stall::A | Stall::B) => bench.bounded(|name| name == "find"),
        (World::Ceilings, Stall::C) => bench.bounded(|name| name.starts_with("exec-")),
    }
    bench.conditions
}

impl Bench<'_> {
    fn hold(&mut self, what: impl Into<String>, ok: bool, seen: impl Into<String>) {
        let run = self.run.job.label();
        self.conditions.push(Condition { run, what: what.into(), ok, seen: seen.into() });
    }

    fn victim(&self, wanted: impl Fn(&str) -> bool) -> Option<Victim> {
        self.victims.iter().find(|v| wanted(&v.name)).cloned()
    }

    /// Stalls a and b: no walk gets through.
    fn classic_find(&mut self) {
        let inflated = self.run.inflated_at(self.terms.payload_frames);
        let finished = self
            .run
            .samples_of("find", PhaseName::Attack)
            .filter(|s| !s.open && s.at.saturating_add(s.duration) < inflated)
            .count();
        let seen = format!("{finished} finished");
        self.hold("no find begun in the attack finishes while the bomb inflates", finished == 0, seen);
        self.stalls(STALL, |name| name == "find");
        self.exec_grows();
    }

    /// Stall c: compressed programs queue behind the bomb.
    fn classic_exec(&mut self) {
        self.stalls(STALL, |name| name.starts_with("exec-"));
        self.exec_grows();
    }

    fn stalls(&mut self, times_fair: f64, wanted: impl Fn(&str) -> bool) {
        let Some(victim) = self.victim(wanted) else {
            self.hold("the stalled victim has samples", false, "none");
            return;
        };
        let worst = ratio(victim.attack.max, victim.fair.p99);
        let what = format!("the worst {} is at least {times_fair:.0} times its fair p99", victim.name);
        self.hold(what, worst.is_some_and(|r| r >= times_fair), times(worst));
    }

    fn exec_grows(&mut self) {
        let (before, peak) = self.run.exec.unwrap_or_default();
        let grown = peak.saturating_sub(before);
        let want = self.terms.payload_frames;
        self.hold(
            "exec's own frames grow by the payload",
            grown >= want,
            format!("{grown} of {want} frames"),
        );
    }

    /// Stalls a and c: nobody notices, the attacker pays.
    fn accounted(&mut self) {
        if self.victims.is_empty() {
            self.hold("the victims have samples", false, "none");
        }
        for victim in self.victims.clone() {
            let Victim { name, idle, fair, attack } = &victim;
            if !self.terms.checked {
                let attacked = ratio(attack.p99, fair.p99);
                let what = format!("{name}: attack p99 at most {HOLD:.2} times fair p99");
                self.hold(what, attacked.is_some_and(|r| r <= HOLD), times(attacked));
                let shared = ratio(fair.p99, idle.p99);
                let what = format!("{name}: fair p99 at most {FAIR:.2} times idle p99");
                self.hold(what, shared.is_some_and(|r| r <= FAIR), times(shared));
            }
            let fewest = idle.count.min(fair.count).min(attack.count);
            let what = format!("{name}: at least {} samples in each phase, none open", self.terms.samples);
            let open = idle.open + fair.open + attack.open;
            let seen = format!("{fewest} in the smallest, {open} open");
            self.hold(what, fewest >= self.terms.samples && open == 0, seen);
        }
        self.attacker_gets(&[KERN_RESOURCE_SHORTAGE, KERN_TIMEDOUT], "the attacker runs into its own offer");
        if let Some(attacker) = self.run.attacker.clone()
            && let Some(offer) = attacker.offer_frames
        {
            let seen = format!("{} of {offer} frames", attacker.frames_peak);
            self.hold("the attacker stays within its offer", attacker.frames_peak <= offer, seen);
        }
        self.does_not_grow();
        self.whole();
    }

    /// Stall b with all laws: the call under a lock is refused.
    fn refused(&mut self) {
        self.attacker_gets(&[DROVER_LOCK_HELD], "the call made under the node lock is refused");
        let open: usize = self.victims.iter().map(|v| v.attack.open).sum();
        self.hold("no victim is left waiting", open == 0, format!("{open} open"));
        self.whole();
    }

    /// Charging alone: the server loses nothing, but whoever queues behind the bomb waits as long as ever.
    fn charging(&mut self, stalled: impl Fn(&str) -> bool) {
        self.stalls(CHARGED_STALL, stalled);
        self.does_not_grow();
    }

    /// Ceilings as well: the wait ends with the offer.
    fn bounded(&mut self, stalled: impl Fn(&str) -> bool) {
        self.attacker_gets(&[KERN_RESOURCE_SHORTAGE, KERN_TIMEDOUT], "the attacker runs into its own offer");
        let offer = self.run.attacker.as_ref().and_then(|a| a.offer_ns);
        let victim = self.victim(stalled);
        let fair = victim.as_ref().and_then(|v| v.fair.max);
        let worst = victim.as_ref().and_then(|v| v.attack.max);
        let bound = offer.zip(fair).map(|(offer, fair)| (offer as f64 + fair as f64) * HOLD);
        let ok = bound.zip(worst).is_some_and(|(bound, worst)| worst as f64 <= bound);
        let seen = format!("worst {worst:?} ns, offer {offer:?} ns, worst fair {fair:?} ns");
        let name = victim.map_or_else(String::new, |v| v.name);
        self.hold(
            format!("the worst {name} is bounded by the attacker's offer"),
            ok || self.terms.checked,
            seen,
        );
        self.does_not_grow();
    }

    fn does_not_grow(&mut self) {
        let (before, peak) = self.run.exec.unwrap_or((0, u64::MAX));
        let seen = format!("{before} before, {peak} at most");
        self.hold("exec's own frames do not grow", peak <= before, seen);
    }

    fn attacker_gets(&mut self, accepted: &[i32], what: &str) {
        let Some(attacker) = self.run.attacker.clone() else {
            self.hold(what, false, "no attacker record");
            return;
        };
        let mut codes = vec![attacker.result];
        codes.extend(attacker.results.iter().map(|(code, _)| *code));
        codes.sort_unstable();
        codes.dedup();
        let ok = codes.iter().all(|c| accepted.iter().any(|a| i64::from(*a) == *c));
        self.hold(format!("{what} ({accepted:?})"), ok, format!("{codes:?}"));
    }

    /// Every frame comes back, and nothing was counted twice or lost.
    fn whole(&mut self) {
        let free = self.run.free;
        let seen =
            free.map_or("no record".into(), |(before, after)| format!("{before} before, {after} after"));
        let back = free.is_some_and(|(before, after)| before == after);
        self.hold("free frames are as before the attacker's account", back, seen);
        let checks = self.run.conservation;
        let seen =
            checks.map_or("no record".into(), |(checks, bad)| format!("{checks} checks, {bad} violations"));
        self.hold("conservation", checks.is_some_and(|(checks, bad)| checks > 0 && bad == 0), seen);
    }
}

#[cfg(test)]
mod tests {
    use super::super::run::sample_run;
    use super::*;
    use crate::records::Attacker;

    const TERMS: Terms = Terms { payload_frames: 262_144, samples: 100, checked: false };

    fn failing(run: &Run) -> Vec<String> {
        judge(run, TERMS).into_iter().filter(|c| !c.ok).map(|c| c.what).collect()
    }

    #[test]
    fn a_classic_stall_and_an_accounted_hold_pass() {
        assert_eq!(failing(&sample_run("classic")), Vec::<String>::new());
        assert_eq!(failing(&sample_run("accounted")), Vec::<String>::new());
    }

    #[test]
    fn a_classic_world_that_does_not_stall_fails() {
        let mut run = sample_run("accounted");
        run.job.world = World::Classic;
        let failed = failing(&run).join("\n");
        for expected in ["no find begun", "at least 20 times", "grow by the payload"] {
            assert!(failed.contains(expected), "{expected}: {failed}");
        }
    }

    #[test]
    fn an_accounted_world_that_stalls_or_loses_anything_fails() {
        let mut run = sample_run("classic");
        run.job.world = World::Accounted;
        run.conservation = Some((9, 1));
        let failed = failing(&run).join("\n");
        for expected in [
            "find: attack p99",
            "none open",
            "into its own offer",
            "do not grow",
            "free frames",
            "conservation",
        ] {
            assert!(failed.contains(expected), "{expected}: {failed}");
        }
        assert!(!failed.contains("read: attack p99"), "the reader was not disturbed: {failed}");
    }

    #[test]
    fn one_attempt_that_succeeded_is_noticed() {
        let mut run = sample_run("accounted");
        run.attacker = Some(Attacker { result: 6, results: vec![(6, 30), (0, 1)], ..Attacker::default() });
        assert!(failing(&run).join("\n").contains("into its own offer"));
        run.attacker =
            Some(Attacker { result: 6, frames_peak: 11, offer_frames: Some(10), ..Attacker::default() });
        assert!(failing(&run).join("\n").contains("within its offer"));
    }

    #[test]
    fn stall_b_is_refused_with_all_laws_and_bounded_with_ceilings() {
        let mut run = sample_run("accounted");
        run.job.stall = Stall::B;
        assert!(failing(&run).join("\n").contains("refused"), "code 6 is not the lock rule's");
        run.attacker = Some(Attacker { result: 100, ..Attacker::default() });
        assert_eq!(failing(&run), Vec::<String>::new());
        run.job.world = World::Ceilings;
        assert!(failing(&run).join("\n").contains("bounded"), "no offer, no bound");
        run.attacker = Some(Attacker { result: 6, offer_ns: Some(2_000_000_000), ..Attacker::default() });
        assert_eq!(failing(&run), Vec::<String>::new());
    }
    #[test]
    fn charging_stalls_still_but_spares_the_server() {
        let mut run = sample_run("accounted");
        run.job.world = World::Charging;
        assert!(failing(&run).join("\n").contains("at least 10 times"), "nothing stalled");
        let mut run = sample_run("classic");
        run.job.world = World::Charging;
        assert_eq!(failing(&run), ["exec's own frames do not grow"]);
    }
}
