//! mig-rs beside GNU MIG: what `cargo xtask bench` says of it, and the packages that this and the tests of `mig-wire` need.
//!
//! The figures: how long mig-rs takes over all definitions of GNU Mach and of this workspace, as a part of what GNU MIG and its preprocessor
//! take in the same run; and the instructions that the stubs of two routines execute, beside those of GNU MIG's C:
//! for each side, and for both together. None of them may be above GNU MIG's.

use crate::bench::Figure;
use crate::programs;
use crate::workspace::Workspace;
use anyhow::{Context, Result, bail};
use mig_wire::gnu::{self, Gnu};
use mig_wire::speed;

/// Rounds of timing; the best of each counts.
const ROUNDS: u32 = 7;

/// Fetches Debian trixie's GNU MIG and GNU Mach's definitions into the target folder, if they are not there.
///
/// # Errors
/// When they cannot be had; the text holds the line to type.
pub fn packages(ws: &Workspace) -> Result<Gnu> {
    gnu::ensure(&gnu::folder(&ws.target))
}

/// As [`packages`], but what is missing is only said: without them the tests that compare with GNU MIG fail.
pub fn packages_if_possible(ws: &Workspace) {
    if let Err(error) = packages(ws) {
        eprintln!("note: the tests beside GNU MIG will fail: {error:#}");
    }
}

/// Measures.
///
/// # Errors
/// When something cannot be fetched, built or run.
pub fn figures(ws: &Workspace) -> Result<Vec<Figure>> {
    let gnu = packages(ws)?;
    let mut build = programs::cargo(ws);
    build.args(["build", "--release", "-p", "mig-rs", "-p", "mig-wire", "--bins"]);
    let status = build.arg("--target-dir").arg(&ws.target).status().context("cannot run cargo")?;
    if !status.success() {
        bail!("cargo build ended with {status}");
    }
    let release = ws.target.join("release");
    let work = ws.out().join("mig-bench");
    let times = speed::times(&gnu, &release.join("mig-rs"), &work.join("times"), ROUNDS)?;
    let milliseconds = |time: std::time::Duration| Some(time.as_secs_f64() * 1e3);
    let mut figures = vec![Figure {
        name: format!("mig-rs: gen over {} files, ms", times.files),
        milliseconds: milliseconds(times.ours),
        gnu: milliseconds(times.theirs),
        ratio: Some(times.ratio()),
        ..Figure::default()
    }];
    for count in speed::counts(&gnu, &release.join("wire-count"), &work.join("counts"))? {
        figures.push(Figure {
            name: format!("mig-rs: {}, {}", count.routine, count.side),
            instructions: Some(count.ours),
            gnu: Some(count.theirs),
            ratio: Some(count.ours / count.theirs),
            ..Figure::default()
        });
    }
    Ok(figures)
}

/// Those above GNU MIG's.
///
/// # Errors
/// When there are any.
pub fn judge(figures: &[Figure]) -> Result<()> {
    let above: Vec<&str> =
        figures.iter().filter(|f| f.ratio.is_some_and(|r| r > 1.0)).map(|f| f.name.as_str()).collect();
    if !above.is_empty() {
        bail!("above GNU MIG's: {}", above.join("; "));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_above_gnu_migs_is_pointed_out() {
        let of = |name: &str, ratio| Figure { name: name.into(), ratio, ..Figure::default() };
        assert!(judge(&[of("a", Some(1.0)), of("b", None)]).is_ok());
        let error = judge(&[of("a", Some(0.5)), of("b", Some(1.01))]).unwrap_err().to_string();
        assert_eq!(error, "above GNU MIG's: b");
    }
}
