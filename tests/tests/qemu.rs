//! In-guest tests as libtest verdicts: one machine per group of `tests/guest/tests.txt`, booted when its first test is asked for.
#![forbid(unsafe_code)]

use anyhow::Result;
use libtest_mimic::{Arguments, Failed, Trial};
use std::process::ExitCode;
use std::sync::{Arc, OnceLock};
use xtask::compile::Built;
use xtask::guest_tests::{self, Group, Outcome};
use xtask::image::Image;
use xtask::workspace::Workspace;

/// What the trials share: the build is made once, each group's machine runs once.
struct Shared {
    ws: Workspace,
    prepared: OnceLock<Result<(Built, Image), String>>,
}

struct Machine {
    group: Group,
    outcome: OnceLock<Result<Outcome, String>>,
}

impl Machine {
    fn outcome(&self, shared: &Shared) -> Result<&Outcome, Failed> {
        let result = self.outcome.get_or_init(|| {
            let prepared = shared
                .prepared
                .get_or_init(|| guest_tests::prepare(&shared.ws).map_err(|e| format!("{e:#}")));
            let (built, image) = prepared.as_ref().map_err(Clone::clone)?;
            guest_tests::run_group(&shared.ws, built, &image.path, &self.group).map_err(|e| format!("{e:#}"))
        });
        result.as_ref().map_err(Failed::from)
    }
}

/// The trials, the groups interleaved, so that the threads of the runner boot different machines.
fn trials(shared: &Arc<Shared>, groups: Vec<Group>) -> Vec<Trial> {
    let mut trials = Vec::new();
    for group in groups {
        let machine = Arc::new(Machine { group, outcome: OnceLock::new() });
        for (rank, test) in machine.group.tests.clone().into_iter().enumerate() {
            let (machine, shared) = (Arc::clone(&machine), Arc::clone(shared));
            let name = format!("{}::{test}", machine.group.name);
            trials.push((rank, Trial::test(name, move || Ok(machine.outcome(&shared)?.verdict(&test)?))));
        }
        let shared = Arc::clone(shared);
        let name = format!("{}::end", machine.group.name);
        let end = move || Ok(machine.outcome(&shared)?.end_verdict(&machine.group.tests)?);
        trials.push((usize::MAX, Trial::test(name, end)));
    }
    trials.sort_by_key(|(rank, _)| *rank);
    trials.into_iter().map(|(_, trial)| trial.with_kind("guest")).collect()
}

fn main() -> Result<ExitCode> {
    let arguments = Arguments::from_args();
    let ws = Workspace::locate()?;
    let groups = guest_tests::read_table(&ws)?;
    let shared = Arc::new(Shared { ws, prepared: OnceLock::new() });
    Ok(libtest_mimic::run(&arguments, trials(&shared, groups)).exit_code())
}
