//! Building the kernel and the servers for the bare target, and their stripped copies in `target/drover`.

use crate::doctor::BARE_TARGET;
use crate::programs::{self, KERNEL, Program};
use crate::workspace::{Workspace, make_dir};
use crate::{progress, strip};
use anyhow::{Context, Result, bail};
use std::path::{Path, PathBuf};

/// What a build made: stripped programs ready for an ISO.
#[derive(Debug, Clone)]
pub struct Built {
    /// The stripped kernel.
    pub kernel: PathBuf,
    /// The kernel's symbols, for the backtrace of a panic.
    pub symbols: PathBuf,
    /// Every program with its stripped file, boot modules first.
    pub programs: Vec<(Program, PathBuf)>,
}

impl Built {
    /// The stripped file of a program.
    #[must_use]
    pub fn program(&self, name: &str) -> Option<&PathBuf> {
        self.programs.iter().find(|(p, _)| p.name == name).map(|(_, path)| path)
    }
}

/// Builds everything for the bare target in one cargo call and strips copies.
///
/// # Errors
/// When cargo fails (its messages were shown), or an output cannot be read or written.
pub fn build(ws: &Workspace) -> Result<Built> {
    let programs = programs::list(ws)?;
    progress::step(
        &format!("building the kernel and {} programs for {BARE_TARGET}", programs.len()),
        || {
            let mut command = programs::cargo(ws);
            command.args(["build", "--release", "--target", BARE_TARGET, "-p", KERNEL]);
            let mut packages: Vec<&str> = programs.iter().map(|p| p.package.as_str()).collect();
            packages.sort_unstable();
            packages.dedup();
            for package in packages {
                command.args(["-p", package]);
            }
            command.arg("--target-dir").arg(&ws.target);
            let status = command.status().context("cannot run cargo")?;
            if !status.success() {
                bail!("the build failed; cargo's messages are above");
            }
            Ok(())
        },
    )?;
    let from = ws.target.join(BARE_TARGET).join("release");
    let dir = ws.out().join("programs");
    let (kernel, symbols) = strip_kernel(&from, &dir)?;
    let programs = programs
        .into_iter()
        .map(|p| strip_one(&from, &dir, &p.name).map(|path| (p, path)))
        .collect::<Result<Vec<_>>>()?;
    Ok(Built { kernel, symbols, programs })
}

/// Builds a package that is a workspace of its own, and adds its programs. It shares the target folder, and with it all that both use.
///
/// # Errors
/// As for [`build`].
pub fn build_alone(ws: &Workspace, folder: &Path, built: &mut Built) -> Result<()> {
    progress::step(&format!("building {}", folder.display()), || {
        // From the root, whose configuration and toolchain hold.
        let mut command = programs::cargo(ws);
        command.args(["build", "--release", "--target", BARE_TARGET]).arg("--target-dir").arg(&ws.target);
        command.arg("--manifest-path").arg(folder.join("Cargo.toml"));
        let status = command.status().context("cannot run cargo")?;
        if !status.success() {
            bail!("the build failed; cargo's messages are above");
        }
        Ok(())
    })?;
    let from = ws.target.join(BARE_TARGET).join("release");
    for program in programs::of(ws, folder)? {
        let path = strip_one(&from, &ws.out().join("programs"), &program.name)?;
        built.programs.push((program, path));
    }
    Ok(())
}

/// Builds a kernel with other features, in folders of its own: the stripped kernel and its symbols.
///
/// # Errors
/// As for [`build`].
pub fn build_kernel(ws: &Workspace, features: &str) -> Result<(PathBuf, PathBuf)> {
    let dir = ws.out().join(format!("kernel-{features}"));
    progress::step(&format!("building the kernel with {features}"), || {
        let mut command = programs::cargo(ws);
        command.args(["build", "--release", "--target", BARE_TARGET, "-p", KERNEL, "--features", features]);
        command.arg("--target-dir").arg(dir.join("target"));
        let status = command.status().context("cannot run cargo")?;
        if !status.success() {
            bail!("the build failed; cargo's messages are above");
        }
        Ok(())
    })?;
    strip_kernel(&dir.join("target").join(BARE_TARGET).join("release"), &dir)
}

fn strip_kernel(from: &Path, dir: &Path) -> Result<(PathBuf, PathBuf)> {
    let kernel = strip_one(from, dir, KERNEL)?;
    let symbols = dir.join(drover_machine::symbols::MODULE);
    let table = drover_machine::symbols::make_symbol_file(&std::fs::read(from.join(KERNEL))?)
        .context("the kernel's symbols cannot be read")?;
    write_if_changed(&symbols, &table)?;
    Ok((kernel, symbols))
}

fn strip_one(from: &Path, dir: &Path, name: &str) -> Result<PathBuf> {
    make_dir(dir)?;
    let from = from.join(name);
    let elf = std::fs::read(&from).with_context(|| format!("cannot read {}", from.display()))?;
    let stripped = strip::strip(&elf).with_context(|| format!("cannot strip {}", from.display()))?;
    let to = dir.join(name);
    write_if_changed(&to, &stripped)?;
    Ok(to)
}

/// Writes a file only when its bytes differ, through a rename so that a reader never sees half of it.
///
/// # Errors
/// When the file cannot be written.
pub fn write_if_changed(path: &Path, bytes: &[u8]) -> Result<()> {
    if std::fs::read(path).is_ok_and(|old| old == bytes) {
        return Ok(());
    }
    let temporary = path.with_extension(format!("tmp{}", std::process::id()));
    std::fs::write(&temporary, bytes)
        .and_then(|()| std::fs::rename(&temporary, path))
        .with_context(|| format!("cannot write {}", path.display()))
}
