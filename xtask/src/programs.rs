//! Which programs there are, and where each goes: the kernel, the modules that GRUB loads beside it, the files on the root image.
//!
//! The list of programs is cargo's own (`cargo metadata`), so a new server needs no entry here unless it must be there at boot.

use crate::workspace::Workspace;
use anyhow::{Context, Result};
use serde::Deserialize;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The kernel's package and program name.
pub const KERNEL: &str = "drover-kernel";

/// Programs that must run before there is a file system, in the order of their GRUB modules; `startup` is the first task.
pub const BOOT_MODULES: &[&str] = &["startup", "storage", "ext2", "exec", "proc", "auth", "console"];

/// Programs of the guest's test package that the first task starts from a module, so that they run even without a file system.
const DRIVERS: &[&str] = &["guest-tests", "dos", "bench"];

/// Programs whose place on the image is not `/bin`.
const HURD: &[&str] = &["hello", "storage", "ext2", "exec", "proc", "auth", "console", "startup"];

/// One program for the bare target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Program {
    /// Cargo's package.
    pub package: String,
    /// The program (cargo's binary target).
    pub name: String,
    /// From the guest's test package.
    pub test: bool,
    /// A node of the root image with this program as its passive translator: `node` in `[package.metadata.drover]`, for the program of the package's name.
    pub node: Option<String>,
}

impl Program {
    /// Whether GRUB loads it beside the kernel.
    #[must_use]
    pub fn is_module(&self) -> bool {
        let name = self.name.as_str();
        BOOT_MODULES.contains(&name) || self.test && DRIVERS.contains(&name)
    }

    /// Its path on the root image.
    #[must_use]
    pub fn image_path(&self) -> String {
        let dir = if HURD.contains(&self.name.as_str()) { "hurd" } else { "bin" };
        format!("/{dir}/{}", self.name)
    }
}

/// What cargo says of the workspace, as far as it matters here.
#[derive(Deserialize)]
pub(crate) struct Metadata {
    pub(crate) packages: Vec<Package>,
}

#[derive(Deserialize)]
pub(crate) struct Package {
    pub(crate) name: String,
    pub(crate) manifest_path: PathBuf,
    pub(crate) targets: Vec<Target>,
    metadata: Option<serde_json::Value>,
}

impl Package {
    /// Its programs for the bare target.
    pub(crate) fn programs(&self, test: bool) -> Vec<Program> {
        let mut programs = Vec::new();
        for target in self.targets.iter().filter(|t| t.kind.iter().any(|k| k == "bin")) {
            if is_bare(&target.src_path) {
                let node = self.metadata.as_ref().and_then(|m| m.pointer("/drover/node")?.as_str());
                let node = node.filter(|_| target.name == self.name).map(str::to_owned);
                programs.push(Program { package: self.name.clone(), name: target.name.clone(), test, node });
            } else {
                eprintln!("    {} is no program for the bare target (no `no_main`): left out", target.name);
            }
        }
        programs
    }
}

#[derive(Deserialize)]
pub(crate) struct Target {
    pub(crate) name: String,
    kind: Vec<String>,
    src_path: PathBuf,
}

/// Runs `cargo metadata` on the workspace, without dependencies.
///
/// # Errors
/// When cargo fails.
pub fn metadata(ws: &Workspace, extra: &[&str]) -> Result<String> {
    let mut command = cargo(ws);
    command.args(["metadata", "--format-version", "1", "--offline"]).args(extra);
    crate::tools::run(command).or_else(|_| {
        // A fresh clone has an empty registry cache: let cargo fetch.
        let mut command = cargo(ws);
        command.args(["metadata", "--format-version", "1"]).args(extra);
        crate::tools::run(command)
    })
}

/// The cargo that runs us, or the one in `PATH`, in the workspace root.
#[must_use]
pub fn cargo(ws: &Workspace) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(&ws.root);
    command
}

/// All user programs of the workspace: those in `servers/` and in `tests/guest`, boot modules first and in their order.
///
/// # Errors
/// When `cargo metadata` fails or says something unreadable.
pub fn list(ws: &Workspace) -> Result<Vec<Program>> {
    let text = metadata(ws, &["--no-deps"])?;
    let metadata: Metadata =
        serde_json::from_str(&text).context("cargo metadata is not what it used to be")?;
    let mut programs = Vec::new();
    for package in metadata.packages {
        let dir = package.manifest_path.parent().unwrap_or(Path::new("/"));
        let test = dir == ws.root.join("tests/guest");
        if !test && dir.parent() != Some(&ws.root.join("servers")) {
            continue;
        }
        programs.extend(package.programs(test));
    }
    let rank = |p: &Program| BOOT_MODULES.iter().position(|m| *m == p.name).unwrap_or(BOOT_MODULES.len());
    programs.sort_by(|a, b| rank(a).cmp(&rank(b)).then_with(|| a.name.cmp(&b.name)));
    Ok(programs)
}

/// The programs of a package that is a workspace of its own.
///
/// # Errors
/// As for [`list`].
pub(crate) fn of(ws: &Workspace, folder: &Path) -> Result<Vec<Program>> {
    let text = metadata(ws, &["--no-deps", "--manifest-path", &folder.join("Cargo.toml").to_string_lossy()])?;
    let metadata: Metadata =
        serde_json::from_str(&text).context("cargo metadata is not what it used to be")?;
    Ok(metadata.packages.iter().flat_map(|package| package.programs(false)).collect())
}

/// A program for the bare target says `no_main` at its top; one that does not is for the host only.
fn is_bare(source: &Path) -> bool {
    std::fs::read_to_string(source).is_ok_and(|text| text.contains("no_main"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn program(name: &str, test: bool) -> Program {
        Program { package: name.into(), name: name.into(), test, node: None }
    }

    #[test]
    fn places() {
        assert!(program("startup", false).is_module());
        assert!(!program("sh", false).is_module());
        assert!(program("dos", true).is_module(), "drivers run without a file system");
        assert!(!program("victim", true).is_module() && !program("dos", false).is_module());
        assert_eq!(program("hello", false).image_path(), "/hurd/hello");
        assert_eq!(program("sh", false).image_path(), "/bin/sh");
    }
}
