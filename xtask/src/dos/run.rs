//! One run of the experiment: what the guest reported, put in order.

use super::matrix::Job;
use crate::records::{Attacker, Record};
use crate::serial::{self, Line};

/// A phase's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PhaseName {
    /// Without the attacker.
    Idle,
    /// The attacker burns its own share of the CPU.
    Fair,
    /// The attack.
    Attack,
}

impl PhaseName {
    /// The name on the wire and on paper.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Fair => "fair",
            Self::Attack => "attack",
        }
    }

    fn parse(name: &str) -> Option<Self> {
        [Self::Idle, Self::Fair, Self::Attack].into_iter().find(|p| p.name() == name)
    }
}

/// A phase.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Phase {
    /// Which.
    pub name: PhaseName,
    /// Start in guest ns.
    pub start: u64,
    /// End in guest ns: the next phase's start, or the end of the run.
    pub end: u64,
}

/// One sample of a victim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sample {
    /// Whose.
    pub victim: String,
    /// The number of the phase it began in.
    pub phase: usize,
    /// Start in guest ns.
    pub at: u64,
    /// Duration, or age when `open`, in ns.
    pub duration: u64,
    /// What the victim got; 0 is success.
    pub error: i64,
    /// It did not finish.
    pub open: bool,
}

/// What was charged to each account at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Memory {
    /// Guest ns.
    pub at: u64,
    /// Account, frames, CPU ns since boot.
    pub accounts: Vec<(String, u64, u64)>,
}

/// Everything that one run reported.
#[derive(Debug, Clone, Default)]
pub struct Run {
    /// What was asked for.
    pub job: Job,
    /// The phases, in order.
    pub phases: Vec<Phase>,
    /// The samples, in the order of their reports.
    pub samples: Vec<Sample>,
    /// The memory samples.
    pub memory: Vec<Memory>,
    /// The attacker's record.
    pub attacker: Option<Attacker>,
    /// The exec server's own frames: before, and their peak.
    pub exec: Option<(u64, u64)>,
    /// Free frames: before and after.
    pub free: Option<(u64, u64)>,
    /// The conservation checker: checks and violations.
    pub conservation: Option<(u64, u64)>,
    /// What went wrong with the run itself; empty when it is complete and sound.
    pub problems: Vec<String>,
    /// Samples seen in the current phase, for the progress display.
    pub ticks: u64,
    last_ns: u64,
    ended: bool,
}

impl Run {
    /// A run of which nothing is known yet.
    #[must_use]
    pub fn new(job: Job) -> Self {
        Self { job, ..Self::default() }
    }

    /// Takes in one serial line.
    pub fn line(&mut self, line: &str) {
        match serial::parse(line) {
            Line::Record(value) => match serde_json::from_value(value) {
                Ok(record) => self.record(record),
                Err(e) => self.problems.push(format!("a record was not understood ({e}): {line}")),
            },
            Line::Damaged(line) => self.problems.push(format!("a damaged record: {line}")),
            Line::Test(..) | Line::Done | Line::Text => {}
        }
    }

    /// Takes in one record.
    pub fn record(&mut self, record: Record) {
        match record {
            Record::Meta { world, stall, trigger, format, .. } => {
                self.check_meta(&world, &stall, &trigger, &format)
            }
            Record::Phase { name, start_ns } => match PhaseName::parse(&name) {
                Some(name) => {
                    if let Some(last) = self.phases.last_mut() {
                        last.end = start_ns;
                    }
                    self.phases.push(Phase { name, start: start_ns, end: start_ns });
                    self.ticks = 0;
                    self.seen(start_ns);
                }
                None => self.problems.push(format!("the guest began a phase `{name}`")),
            },
            Record::Tick { at, n } => {
                self.ticks = n;
                self.seen(at);
            }
            Record::Sample { v, p, at, d, e } => {
                self.ticks += u64::from(p + 1 == self.phases.len());
                self.sample(Sample { victim: v, phase: p, at, duration: d, error: e, open: false });
            }
            Record::Open { v, p, at, d } => {
                self.sample(Sample { victim: v, phase: p, at, duration: d, error: 0, open: true });
            }
            Record::Memory { at, a } => {
                self.seen(at);
                self.memory.push(Memory { at, accounts: a });
            }
            Record::Attacker(attacker) => self.attacker = Some(attacker),
            Record::Exec { own_before, own_peak } => self.exec = Some((own_before, own_peak)),
            Record::Free { before, after } => self.free = Some((before, after)),
            Record::Conservation { checks, violations } => self.conservation = Some((checks, violations)),
            Record::Bench { name, .. } => {
                self.problems.push(format!("a bench record `{name}` in the experiment"))
            }
            Record::End { at } => {
                self.seen(at);
                self.ended = true;
            }
        }
    }

    fn check_meta(&mut self, world: &str, stall: &str, trigger: &str, format: &str) {
        let job = &self.job;
        let want = [job.world.as_str(), job.stall.as_str(), job.trigger.as_str(), job.format.name()];
        if [world, stall, trigger, format] != want {
            self.problems.push(format!(
                "the guest runs {world} {stall} {trigger} {format}, asked for was {}",
                want.join(" ")
            ));
        }
    }

    fn sample(&mut self, sample: Sample) {
        if sample.phase >= self.phases.len() {
            self.problems.push(format!(
                "a sample of `{}` in phase {}, which never began",
                sample.victim, sample.phase
            ));
            return;
        }
        self.seen(sample.at.saturating_add(sample.duration));
        self.samples.push(sample);
    }

    fn seen(&mut self, at: u64) {
        self.last_ns = self.last_ns.max(at);
    }

    /// The machine has ended; `success` when it said so by line and exit code, `how` otherwise.
    pub fn finish(&mut self, success: bool, how: &str) {
        let end = self.last_ns;
        if let Some(last) = self.phases.last_mut() {
            last.end = last.end.max(end);
        }
        if !success {
            self.problems.push(how.to_owned());
        }
        if !self.ended {
            self.problems.push("the guest did not report to the end".into());
        }
        for (missing, name) in [
            (self.attacker.is_none(), "attacker"),
            (self.exec.is_none(), "exec"),
            (self.free.is_none(), "free"),
            (self.conservation.is_none(), "conservation"),
            (self.memory.is_empty(), "m"),
        ] {
            if missing {
                self.problems.push(format!("no `{name}` record"));
            }
        }
        for name in [PhaseName::Idle, PhaseName::Fair, PhaseName::Attack] {
            if !self.phases.iter().any(|p| p.name == name) {
                self.problems.push(format!("no phase `{}`", name.name()));
            }
        }
    }

    /// The victims' names, in the order of their first samples.
    #[must_use]
    pub fn victims(&self) -> Vec<String> {
        let mut names: Vec<String> = Vec::new();
        for sample in &self.samples {
            if !names.contains(&sample.victim) {
                names.push(sample.victim.clone());
            }
        }
        names
    }

    /// The samples of a victim in all phases of that name.
    pub fn samples_of<'a>(&'a self, victim: &'a str, name: PhaseName) -> impl Iterator<Item = &'a Sample> {
        self.samples.iter().filter(move |s| s.victim == victim && self.phases[s.phase].name == name)
    }

    /// The first phase of that name.
    #[must_use]
    pub fn phase(&self, name: PhaseName) -> Option<Phase> {
        self.phases.iter().copied().find(|p| p.name == name)
    }

    /// Guest time of the first and the last thing reported, in ns.
    #[must_use]
    pub fn span(&self) -> (u64, u64) {
        let start = self.phases.first().map_or(0, |p| p.start);
        (start, self.last_ns.max(start + 1))
    }

    /// When the bomb had inflated: exec's own frames had grown by `frames`; the end of the run if they never did.
    #[must_use]
    pub fn inflated_at(&self, frames: u64) -> u64 {
        let Some((before, _)) = self.exec else { return self.last_ns };
        // The sampler may miss the last few frames: 1 % is within its step.
        let full = before + frames / 100 * 99;
        let grown = |m: &&Memory| m.accounts.iter().any(|(name, n, _)| name == "exec" && *n >= full);
        self.memory.iter().find(grown).map_or(self.last_ns, |m| m.at)
    }

    /// One line on where the run is.
    #[must_use]
    pub fn progress(&self) -> String {
        match self.phases.last() {
            None => format!("{}: booting", self.job.label()),
            Some(_) if self.ended => format!("{}: done", self.job.label()),
            Some(phase) => format!(
                "{}: {} {} samples, guest {:.0} s",
                self.job.label(),
                phase.name.name(),
                self.ticks,
                self.last_ns as f64 / 1e9
            ),
        }
    }
}

/// A made-up run with the shape of the real ones, for tests and for looking at the report: in `classic` every `find` and the memory of
/// exec show the stall, in any other world nothing does.
#[cfg(test)]
pub(super) fn sample_run(world: &str) -> Run {
    use super::matrix::{Stall, Trigger, World};
    use crate::image::Format;
    let stalls = world == "classic";
    let world = World::ALL.iter().copied().find(|w| w.as_str() == world).unwrap();
    let job = Job { world, stall: Stall::A, trigger: Trigger::Attacker, format: Format::Bzip2 };
    let mut run = Run::new(job);
    let second = 1_000_000_000u64;
    let mut noise = 1u64;
    let mut jitter = |base: u64| {
        noise = noise.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        base + base * (noise >> 60) / 100
    };
    for (p, (name, start, stretch)) in
        [("idle", 1, 100), ("fair", 11, 125), ("attack", 22, 126)].into_iter().enumerate()
    {
        run.record(Record::Phase { name: name.into(), start_ns: start * second });
        let attack = name == "attack";
        for (v, base) in
            [("find", 40_000_000u64), ("read", 600_000), ("exec", 5_000_000), ("exec-bz2", 9_000_000)]
        {
            for i in 0..100u64 {
                let at = start * second + i * 90_000_000 + (v.len() as u64) * 1_000_000;
                if attack && stalls && v == "find" {
                    run.record(Record::Open { v: v.into(), p, at: 22 * second, d: 60 * second });
                    break;
                }
                run.record(Record::Sample { v: v.into(), p, at, d: jitter(base * stretch / 100), e: 0 });
            }
        }
    }
    let end = if stalls { 82 } else { 33 };
    for i in 0..end * 4 {
        let at = i * second / 4;
        let grown = if stalls && at > 22 * second { (at - 22 * second) * 262_144 / (55 * second) } else { 0 };
        let attacker = if at > 22 * second && !stalls { 12_000 + (i % 5) * 1000 } else { 20 };
        let row = |n: &str, f: u64| (n.to_owned(), f, at / 4);
        run.record(Record::Memory {
            at,
            a: vec![
                row("exec", 310 + grown),
                row("ext2", 900),
                row("victims", 2200 + i % 40),
                row("attacker", attacker),
            ],
        });
    }
    let result = if stalls { 0 } else { 6 };
    let peak = if stalls { 40 } else { 16_000 };
    run.record(Record::Attacker(Attacker {
        result,
        cpu_ns: 2 * second,
        frames_peak: peak,
        ..Attacker::default()
    }));
    run.record(Record::Exec { own_before: 310, own_peak: if stalls { 310 + 262_144 } else { 310 } });
    run.record(Record::Free { before: 770_011, after: if stalls { 400_000 } else { 770_011 } });
    run.record(Record::Conservation { checks: 9, violations: 0 });
    run.record(Record::End { at: end * second });
    run.finish(true, "");
    run
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_complete_run_has_no_problems_and_its_phases_meet() {
        let run = sample_run("accounted");
        assert_eq!(run.problems, Vec::<String>::new());
        assert!(run.phases.windows(2).all(|w| w[0].end == w[1].start));
        assert_eq!(run.phases.last().map(|p| p.end), Some(run.span().1));
        assert_eq!(run.victims(), ["find", "read", "exec", "exec-bz2"]);
    }

    #[test]
    fn a_run_cut_short_or_damaged_says_so() {
        let mut run = Run::new(Job::default());
        run.line("##SC {\"t\":\"phase\",\"name\":\"idle\",\"start_ns\":5}");
        run.line("##SC {\"t\":\"s\",\"v\":\"find\",\"p\":3,\"at\":1,\"d\":1}");
        run.line("##SC {\"t\":\"s\",\"v\":\"find\",");
        run.finish(false, "deadline");
        let all = run.problems.join("\n");
        for expected in [
            "never began",
            "damaged",
            "deadline",
            "did not report to the end",
            "no `exec` record",
            "no phase `attack`",
        ] {
            assert!(all.contains(expected), "{expected}: {all}");
        }
    }

    #[test]
    fn a_guest_that_runs_something_else_is_noticed() {
        let mut run = Run::new(Job::default());
        run.line(r#"##SC {"t":"meta","world":"classic","stall":"c","trigger":"attacker","format":"bzip2"}"#);
        assert!(run.problems[0].contains("asked for"), "{:?}", run.problems);
    }

    #[test]
    fn the_bomb_has_inflated_when_exec_holds_the_payload() {
        let run = sample_run("classic");
        let at = run.inflated_at(262_144);
        assert!((76_000_000_000..=78_000_000_000).contains(&at), "{at}");
        let held = sample_run("accounted");
        assert_eq!(held.inflated_at(262_144), held.span().1);
    }
}
