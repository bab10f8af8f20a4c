//! `cargo xtask test`: everything that is tested, as one `cargo test`.
//!
//! The in-guest tests are ordinary verdicts of the crate `drover-tests`, so one summary covers all.

use crate::workspace::Workspace;
use crate::{doctor, mig, programs};
use anyhow::{Context, Result, bail};

/// Sets up the host, then runs the workspace's tests; `filter` as for `cargo test`.
///
/// # Errors
/// When the set-up fails or a test fails.
pub fn run(ws: &Workspace, filter: Option<&str>, rest: &[String]) -> Result<()> {
    doctor::ensure()?;
    mig::packages_if_possible(ws);
    eprintln!("==> cargo test: host tests of every crate, then the in-guest tests (crate drover-tests)");
    let mut command = programs::cargo(ws);
    command.args(["test", "--workspace", "--no-fail-fast"]).arg("--target-dir").arg(&ws.target);
    command.args(filter);
    if !rest.is_empty() {
        command.arg("--").args(rest);
    }
    let status = command.status().context("cannot run cargo")?;
    if !status.success() {
        bail!("tests failed; serial logs of the machines are in {}", ws.logs().display());
    }
    Ok(())
}
