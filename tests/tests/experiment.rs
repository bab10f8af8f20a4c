//! The experiment in small, with the conservation checker run every 1,000 kernel operations: what must hold in the accounted world holds, and the
//! attack works in the classic one. Latencies are not judged here: `cargo xtask dos` does that, with the whole payload.
#![forbid(unsafe_code)]

use anyhow::{Result, ensure};
use libtest_mimic::{Arguments, Failed, Trial};
use std::process::ExitCode;
use xtask::dos::{self, Options};
use xtask::workspace::Workspace;

/// Words of a command line that all runs share.
const SMALL: &[&str] = &["--size", "256MiB", "--samples", "2", "--mem", "1024", "--parallel", "1"];

fn holds(world: &str, stalls: &str, more: &[&str]) -> Result<(), Failed> {
    let words = [SMALL, &["--worlds", world, "--stalls", stalls, "--triggers", "attacker"], more].concat();
    let results = dos::perform(&Workspace::locate()?, &Options::parse(&words)?)?;
    let failed: Vec<String> = results
        .conditions
        .iter()
        .filter(|c| !c.ok)
        .map(|c| format!("{}: {} [{}]", c.run, c.what, c.seen))
        .collect();
    if failed.is_empty() { Ok(()) } else { Err(failed.join("\n").into()) }
}

/// The exec server of the classic world grows by what the bomb holds, and gets nothing from the attacker.
fn classic_pays() -> Result<()> {
    let words = [SMALL, &["--worlds", "classic", "--stalls", "a", "--triggers", "attacker"]].concat();
    let results = dos::perform(&Workspace::locate()?, &Options::parse(&words)?)?;
    let run = &results.runs[0];
    ensure!(run.problems.is_empty(), "{}", run.problems.join("; "));
    let (before, peak) = run.exec.unwrap_or_default();
    ensure!(peak >= before + (256 << 20) / 4096, "exec had {before} frames, {peak} at most");
    Ok(())
}

fn main() -> ExitCode {
    let trial =
        |name: &str, test: fn() -> Result<(), Failed>| Trial::test(name, test).with_kind("experiment");
    let trials = vec![
        trial("classic_pays", || Ok(classic_pays()?)),
        trial("accounted_holds_checked", || holds("accounted", "a,c", &["--checked"])),
        trial("accounted_refuses_a_call_under_a_lock", || holds("accounted", "b", &[])),
        trial("ceilings_bound_what_a_lock_holder_waits", || holds("ceilings", "b", &[])),
    ];
    // One after another: each boots a machine under exact time, and the build is shared.
    let arguments = Arguments { test_threads: Some(1), ..Arguments::from_args() };
    libtest_mimic::run(&arguments, trials).exit_code()
}
