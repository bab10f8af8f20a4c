//! `cargo xtask codegen`: the stubs of `libhurd/stubs`, made by mig-rs from `libhurd/defs` and checked in.

use crate::workspace::Workspace;
use anyhow::{Result, anyhow};

/// Generates the stubs; with `check` only compares.
///
/// # Errors
/// What is wrong with the definitions; with `check`, also which files differ.
pub fn run(ws: &Workspace, check: bool) -> Result<()> {
    let codegen = mig_rs::codegen_workspace(&ws.root, check).map_err(|text| anyhow!("{text}"))?;
    let changed = codegen.changed.len();
    eprintln!("    {} files, {changed} changed", codegen.files.len());
    Ok(())
}
