//! In-guest tests: the table that lists them, the run of one group in one machine, and the verdict of each test.
//!
//! The table is `tests/guest/tests.txt`:
//!
//! ```text
//! # a comment
//! group exits  world=accounted mem=512 deadline=60
//!     exit::ceiling_outside
//!     exit::ceiling_inside
//! ```
//!
//! A group is one boot with the boot line `mode=test group=NAME world=...`. The options are `world`, `mem` (MiB), `deadline` (seconds),
//! `icount` (true: exact guest time) and `kernel` (features of a kernel of its own); other `key=value` words go to the boot line. Each listed test has its own verdict; one more,
//! `GROUP::end`, holds that the guest said `##DONE`, ended with exit code 33, and printed no test that the table does not list.

use crate::compile::Built;
use crate::iso::{self, Boot};
use crate::qemu::{Machine, SUCCESS};
use crate::serial::{self, Line};
use crate::vm::{Event, Vm};
use crate::workspace::Workspace;
use anyhow::{Context, Result, ensure};
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

/// A group of tests that share one boot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// Its name, given to the guest as `group=NAME`.
    pub name: String,
    /// The world it runs in.
    pub world: String,
    /// Memory in MiB.
    pub mem_mib: u32,
    /// Seconds until the machine is ended.
    pub deadline: u64,
    /// Count instructions, so that guest time is exact.
    pub icount: bool,
    /// Features of the kernel, when the group needs one of its own.
    pub kernel: Option<String>,
    /// Further words of the boot line.
    pub args: Vec<String>,
    /// The tests.
    pub tests: Vec<String>,
}

/// Where the table is, relative to the workspace root.
pub const TABLE: &str = "tests/guest/tests.txt";

/// Reads the table of a workspace.
///
/// # Errors
/// When it is missing or malformed.
pub fn read_table(ws: &Workspace) -> Result<Vec<Group>> {
    let path = ws.root.join(TABLE);
    parse_table(&std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?)
        .with_context(|| format!("in {}", path.display()))
}

/// Parses the table's text.
///
/// # Errors
/// On an unknown option, a test before any group, or a name that is given twice; the text names the line.
pub fn parse_table(text: &str) -> Result<Vec<Group>> {
    let mut groups: Vec<Group> = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let line = line.split('#').next().unwrap_or_default().trim();
        let at = || format!("line {}: `{line}`", number + 1);
        if line.is_empty() {
            continue;
        }
        if let Some(rest) = line.strip_prefix("group ") {
            let group = parse_group(rest).with_context(at)?;
            ensure!(groups.iter().all(|g| g.name != group.name), "{}: the group is there already", at());
            groups.push(group);
        } else {
            let group = groups.last_mut().with_context(|| format!("{}: a test before any group", at()))?;
            ensure!(!line.contains(char::is_whitespace), "{}: a test's name holds no space", at());
            ensure!(!group.tests.iter().any(|t| t == line), "{}: the test is there already", at());
            group.tests.push(line.to_owned());
        }
    }
    Ok(groups)
}

fn parse_group(rest: &str) -> Result<Group> {
    let mut words = rest.split_whitespace();
    let mut group = Group {
        name: words.next().context("a group needs a name")?.to_owned(),
        world: "accounted".into(),
        mem_mib: 512,
        deadline: 120,
        icount: false,
        kernel: None,
        args: Vec::new(),
        tests: Vec::new(),
    };
    for word in words {
        let (key, value) = word.split_once('=').with_context(|| format!("`{word}` is not key=value"))?;
        match key {
            "world" => group.world = value.into(),
            "mem" => group.mem_mib = value.parse().with_context(|| format!("`{word}`: MiB expected"))?,
            "deadline" => {
                group.deadline = value.parse().with_context(|| format!("`{word}`: seconds expected"))?
            }
            "icount" => {
                group.icount = value.parse().with_context(|| format!("`{word}`: true or false expected"))?
            }
            "kernel" => group.kernel = Some(value.into()),
            _ => group.args.push(word.into()),
        }
    }
    Ok(group)
}

/// What a machine said about its tests, and how it ended.
#[derive(Debug, Default, Clone)]
pub struct Outcome {
    verdicts: BTreeMap<String, Result<(), String>>,
    repeated: Vec<String>,
    done: bool,
    end: String,
    exit_ok: bool,
    tail: String,
}

impl Outcome {
    /// Takes in one serial line.
    pub fn line(&mut self, line: &str) {
        match serial::parse(line) {
            Line::Test(name, result) => {
                if self.verdicts.insert(name.clone(), result).is_some() {
                    self.repeated.push(name);
                }
            }
            Line::Done => self.done = true,
            Line::Record(_) | Line::Damaged(_) | Line::Text => {}
        }
    }

    /// Takes in the end of the machine, and the last lines it printed.
    pub fn ended(&mut self, event: &Event, tail: String) {
        self.tail = tail;
        match event {
            Event::Exited(Some(SUCCESS)) => {
                (self.exit_ok, self.end) = (true, "the guest ended with success".into())
            }
            Event::Exited(Some(0)) => self.end = "the machine reset or shut down (a triple fault?)".into(),
            Event::Exited(Some(code)) => self.end = format!("the guest ended with exit code {code}"),
            Event::Exited(None) => self.end = "QEMU was killed".into(),
            Event::Deadline => self.end = "the guest was stopped at its deadline".into(),
            Event::Line(_) | Event::Quiet => {}
        }
    }

    /// The verdict of one test.
    ///
    /// # Errors
    /// The guest's reason, or how the guest stopped before the test, with the last serial lines.
    pub fn verdict(&self, test: &str) -> Result<(), String> {
        match self.verdicts.get(test) {
            Some(result) => result.clone(),
            None => Err(format!("guest stopped before it: {}; the last lines:\n{}", self.end, self.tail)),
        }
    }

    /// The verdict on the machine as a whole.
    ///
    /// # Errors
    /// When it did not end with `##DONE` and exit code 33, or printed tests that are not in `listed`.
    pub fn end_verdict(&self, listed: &[String]) -> Result<(), String> {
        if !(self.done && self.exit_ok) {
            let done = if self.done { "" } else { "no ##DONE; " };
            return Err(format!("{done}{}; the last lines:\n{}", self.end, self.tail));
        }
        let unlisted: Vec<_> =
            self.verdicts.keys().filter(|v| !listed.contains(v)).map(String::as_str).collect();
        if !unlisted.is_empty() {
            return Err(format!("tests that {TABLE} does not list: {}", unlisted.join(", ")));
        }
        if !self.repeated.is_empty() {
            return Err(format!("tests with more than one verdict: {}", self.repeated.join(", ")));
        }
        Ok(())
    }
}

/// Boots a group's machine and collects what its tests say.
///
/// # Errors
/// When the machine cannot be made or started; failing tests are no error here.
pub fn run_group(ws: &Workspace, built: &Built, image: &Path, group: &Group) -> Result<Outcome> {
    let mut line = format!("mode=test group={} world={}", group.name, group.world);
    for arg in &group.args {
        line.push(' ');
        line.push_str(arg);
    }
    let iso = ws.out().join(format!("test-{}.iso", group.name));
    let mut built = built.clone();
    if let Some(features) = &group.kernel {
        (built.kernel, built.symbols) = crate::compile::build_kernel(ws, features)?;
    }
    iso::make(ws, &built, &iso::modules(&built, Some(image)), &Boot { line: Some(line), timeout: 0 }, &iso)?;
    let machine = Machine::new(&iso, group.mem_mib, group.icount);
    let log = ws.logs().join(format!("test-{}.log", group.name));
    let mut vm = Vm::start(&machine, &log, Duration::from_secs(group.deadline))?;
    let mut outcome = Outcome::default();
    loop {
        match vm.event()? {
            Event::Line(line) => outcome.line(&line),
            Event::Quiet => {}
            end => {
                let tail = format!("{}    (all of it: {})", vm.tail(), log.display());
                outcome.ended(&end, tail);
                break;
            }
        }
    }
    Ok(outcome)
}

/// Builds what every group needs: the programs and the full image with a small bomb.
///
/// # Errors
/// When a build step fails.
pub fn prepare(ws: &Workspace) -> Result<(Built, crate::image::Image)> {
    let built = crate::compile::build(ws)?;
    let image = crate::image::make(ws, &built, &crate::image::Spec::full(TEST_ZEROS))?;
    Ok((built, image))
}

/// The bombs of the test image inflate to the program and 64 MiB: enough to exceed every offer the tests make, quick to compress.
pub const TEST_ZEROS: u64 = 64 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_read_with_its_options() {
        let groups = parse_table(
            "# tests\ngroup exits mem=256 kernel=f world=classic size=5 # why\n  a::b\n  c\n\ngroup x\n",
        )
        .unwrap();
        assert_eq!(groups.len(), 2);
        assert_eq!((groups[0].mem_mib, groups[0].world.as_str()), (256, "classic"));
        assert_eq!(groups[0].args, ["size=5"]);
        assert_eq!((groups[0].kernel.as_deref(), &groups[1].kernel), (Some("f"), &None));
        assert_eq!(groups[0].tests, ["a::b", "c"]);
        for bad in ["a\n", "group g\n a b\n", "group g\n a\n a\n", "group g mem=x\n", "group g\ngroup g\n"] {
            assert!(parse_table(bad).is_err(), "{bad:?} was accepted");
        }
    }

    fn outcome(lines: &[&str], end: Event) -> Outcome {
        let mut outcome = Outcome::default();
        lines.iter().for_each(|l| outcome.line(l));
        outcome.ended(&end, "    | last\n".into());
        outcome
    }

    #[test]
    fn success_needs_the_line_and_the_exit_code() {
        let listed = ["a".to_owned()];
        let good = outcome(&["test a ... ok", "##DONE"], Event::Exited(Some(33)));
        assert_eq!((good.verdict("a"), good.end_verdict(&listed)), (Ok(()), Ok(())));
        for bad in [
            outcome(&["test a ... ok", "##DONE"], Event::Exited(Some(0))),
            outcome(&["test a ... ok"], Event::Exited(Some(33))),
            outcome(&["test a ... ok", "##DONE"], Event::Deadline),
            outcome(&["test a ... ok", "test b ... ok", "##DONE"], Event::Exited(Some(33))),
            outcome(&["test a ... FAILED: x", "test a ... ok", "##DONE"], Event::Exited(Some(33))),
        ] {
            assert!(bad.end_verdict(&listed).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_test_that_was_not_reached_fails_with_the_last_lines() {
        let stopped = outcome(&["test a ... ok"], Event::Deadline);
        let reason = stopped.verdict("b").unwrap_err();
        assert!(
            reason.starts_with("guest stopped before it")
                && reason.contains("deadline")
                && reason.contains("| last")
        );
        assert_eq!(outcome(&["test a ... FAILED: no"], Event::Deadline).verdict("a"), Err("no".into()));
    }
}
