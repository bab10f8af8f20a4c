//! `cargo xtask check`: every lint, one lane after the other; a lane that fails does not hide those after it.

mod arrows;
mod code;
mod tidy;

use crate::doctor::BARE_TARGET;
use crate::programs::{self, KERNEL};
use crate::workspace::Workspace;
use crate::{codegen, progress};
use anyhow::{Context, Result, bail};
use std::process::Command;

/// A group of checks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Lane {
    /// Formatting.
    Fmt,
    /// Rules of the source tree: module docs, lints, words, `unsafe`, layers.
    Tidy,
    /// The generated stubs are up to date.
    Codegen,
    /// Clippy on the host, all targets.
    Clippy,
    /// Clippy on the bare target: kernel and programs.
    Bare,
    /// Rustdoc.
    Doc,
}

const LANES: [Lane; 6] = [Lane::Fmt, Lane::Tidy, Lane::Codegen, Lane::Clippy, Lane::Bare, Lane::Doc];

/// Runs the lanes (all when `only` is empty).
///
/// # Errors
/// When any lane fails; their messages were shown.
pub fn run(ws: &Workspace, only: &[Lane]) -> Result<()> {
    let mut failed = Vec::new();
    for lane in LANES.into_iter().filter(|l| only.is_empty() || only.contains(l)) {
        let name = format!("{lane:?}").to_lowercase();
        if let Err(error) = progress::step(&format!("check {name}"), || run_lane(ws, lane)) {
            eprintln!("{error:#}");
            failed.push(name);
        }
    }
    if !failed.is_empty() {
        bail!("failed: {} (one lane again: cargo xtask check {})", failed.join(", "), failed[0]);
    }
    Ok(())
}

fn run_lane(ws: &Workspace, lane: Lane) -> Result<()> {
    match lane {
        Lane::Fmt => show(cargo(ws, &["fmt", "--all", "--", "--check"])),
        Lane::Tidy => {
            let mut findings = tidy::tidy(&ws.root)?;
            findings.errors.extend(arrows::check(&programs::metadata(ws, &["--no-deps"])?)?);
            findings.warnings.iter().for_each(|w| eprintln!("    warning: {w}"));
            match findings.errors.len() {
                0 => Ok(()),
                n => bail!("    {}\n{n} findings", findings.errors.join("\n    ")),
            }
        }
        Lane::Codegen => codegen::run(ws, true),
        Lane::Clippy => show(cargo(ws, &["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"])),
        Lane::Bare => {
            let mut command = cargo(ws, &["clippy", "--release", "--target", BARE_TARGET, "-p", KERNEL]);
            for program in programs::list(ws)? {
                command.args(["-p", &program.package]);
            }
            command.args(["--", "-D", "warnings"]);
            show(command)
        }
        Lane::Doc => {
            let mut command = cargo(ws, &["doc", "--workspace", "--no-deps", "--document-private-items"]);
            command.env("RUSTDOCFLAGS", "-D warnings -A rustdoc::private_intra_doc_links");
            show(command)
        }
    }
}

fn cargo(ws: &Workspace, args: &[&str]) -> Command {
    let mut command = programs::cargo(ws);
    command.args(args);
    command
}

/// Runs a command with its output shown.
fn show(mut command: Command) -> Result<()> {
    let status = command.status().context("cannot run cargo")?;
    if !status.success() {
        bail!("cargo ended with {status}");
    }
    Ok(())
}
