//! Which host programs a run needs, whether they are there, and the one line that installs what is missing.
//!
//! Packages are Debian's. Nothing is installed unless asked for (`doctor --fix`) or needed by a command that does its own
//! set-up (`dos`, `run`, `test`, `iso`), and then only as root or with `sudo` that needs no password.

use crate::tools;
use crate::workspace::Workspace;
use anyhow::{Context, Result, bail};
use std::path::Path;
use std::process::Command;

/// What shows that a need is met.
#[derive(Debug, Clone, Copy)]
enum Evidence {
    /// A program of that name.
    Program(&'static str),
    /// A file at that path.
    File(&'static str),
}

/// One thing a run needs from the host.
#[derive(Debug, Clone, Copy)]
pub struct Need {
    /// What it is, for people.
    pub name: &'static str,
    /// What Drover does with it.
    pub purpose: &'static str,
    /// The Debian package that has it.
    pub package: &'static str,
    evidence: Evidence,
}

impl Need {
    /// Whether the host has it.
    #[must_use]
    pub fn met(&self) -> bool {
        match self.evidence {
            Evidence::Program(name) => tools::find(name).is_some(),
            Evidence::File(path) => Path::new(path).exists(),
        }
    }
}

const fn program(name: &'static str, package: &'static str, purpose: &'static str) -> Need {
    Need { name, purpose, package, evidence: Evidence::Program(name) }
}

/// Everything a run needs besides the Rust toolchain.
pub const NEEDS: &[Need] = &[
    program("qemu-system-x86_64", "qemu-system-x86", "the machine"),
    program("grub-mkrescue", "grub-common", "makes the boot ISO"),
    Need {
        name: "GRUB i386-pc modules",
        purpose: "boot the ISO on a PC BIOS",
        package: "grub-pc-bin",
        evidence: Evidence::File("/usr/lib/grub/i386-pc/moddep.lst"),
    },
    program("xorriso", "xorriso", "writes the ISO for grub-mkrescue"),
    program("mformat", "mtools", "used by grub-mkrescue"),
    program("mke2fs", "e2fsprogs", "makes the root file system"),
    program("debugfs", "e2fsprogs", "fills it and binds translators"),
    program("e2fsck", "e2fsprogs", "checks it"),
    program("bzip2", "bzip2", "compresses the payload"),
    program("gzip", "gzip", "compresses the payload"),
];

/// What comparing mig-rs with GNU MIG needs besides; without it those tests fail.
pub const TEST_NEEDS: &[Need] = &[
    program("gcc", "gcc", "compiles GNU MIG's stubs (tests beside GNU MIG, bench)"),
    program("dpkg", "dpkg", "unpacks GNU MIG of Debian trixie (the same)"),
    program("valgrind", "valgrind", "counts the instructions of stubs (bench)"),
];

/// The bare-metal target of the kernel and the servers.
pub const BARE_TARGET: &str = "x86_64-unknown-none";

/// The packages behind the unmet needs, each once, in the table's order.
#[must_use]
pub fn packages(missing: &[&Need]) -> Vec<&'static str> {
    let mut packages = Vec::new();
    for need in missing {
        if !packages.contains(&need.package) {
            packages.push(need.package);
        }
    }
    packages
}

/// The line a user types to install `packages`; `sudo` in front when they are not root.
#[must_use]
pub fn apt_line(packages: &[&str], root: bool) -> String {
    let sudo = if root { "" } else { "sudo " };
    format!("{sudo}apt-get update && {sudo}apt-get install -y --no-install-recommends {}", packages.join(" "))
}

fn is_root() -> bool {
    Command::new("id").arg("-u").output().is_ok_and(|o| o.stdout.trim_ascii() == b"0")
}

fn sudo_without_password() -> bool {
    Command::new("sudo").args(["-n", "true"]).output().is_ok_and(|o| o.status.success())
}

fn bare_target_installed() -> bool {
    Command::new("rustc")
        .args(["--print", "target-libdir", "--target", BARE_TARGET])
        .output()
        .is_ok_and(|o| o.status.success() && Path::new(String::from_utf8_lossy(&o.stdout).trim()).is_dir())
}

fn missing() -> Vec<&'static Need> {
    NEEDS.iter().filter(|n| !n.met()).collect()
}

fn install(packages: &[&str]) -> Result<()> {
    let root = is_root();
    let line = apt_line(packages, root);
    if tools::find("apt-get").is_none() {
        bail!(
            "this host has no apt-get; install the equivalents of these Debian packages: {}",
            packages.join(" ")
        );
    }
    if !root && !sudo_without_password() {
        bail!("host programs are missing and sudo asks for a password; install them with:\n\n    {line}\n");
    }
    eprintln!("==> {line}");
    let status = Command::new("sh")
        .args(["-c", &line])
        .env("DEBIAN_FRONTEND", "noninteractive")
        .status()
        .context("cannot run sh")?;
    if !status.success() {
        bail!("the installation ended with {status}; run it by hand:\n\n    {}\n", apt_line(packages, root));
    }
    Ok(())
}

fn install_bare_target() -> Result<()> {
    let line = format!("rustup target add {BARE_TARGET}");
    eprintln!("==> {line}");
    match Command::new("rustup").args(["target", "add", BARE_TARGET]).status() {
        Ok(status) if status.success() => Ok(()),
        _ => bail!("the Rust target {BARE_TARGET} is missing and could not be added; run:\n\n    {line}\n"),
    }
}

/// Makes sure that every need is met, installing what is missing if that is possible without a question.
///
/// # Errors
/// When something is missing and cannot be installed; the text holds the exact line to run.
pub fn ensure() -> Result<()> {
    let absent = missing();
    if !absent.is_empty() {
        install(&packages(&absent))?;
        let still = missing();
        if !still.is_empty() {
            let names: Vec<_> = still.iter().map(|n| n.name).collect();
            bail!("still missing after the installation: {}", names.join(", "));
        }
    }
    if !bare_target_installed() {
        install_bare_target()?;
    }
    Ok(())
}

/// Makes sure of what comparing with GNU MIG needs.
///
/// # Errors
/// As for [`ensure`].
pub fn ensure_for_tests() -> Result<()> {
    let absent: Vec<&Need> = TEST_NEEDS.iter().filter(|n| !n.met()).collect();
    if absent.is_empty() { Ok(()) } else { install(&packages(&absent)) }
}

/// Prints what is there and what is missing; with `fix`, installs it.
///
/// # Errors
/// When something is missing (and, with `fix`, could not be installed).
pub fn report(fix: bool) -> Result<()> {
    for need in NEEDS.iter().chain(TEST_NEEDS) {
        let mark = if need.met() { "ok     " } else { "MISSING" };
        println!("{mark} {:<22} {} (package {})", need.name, need.purpose, need.package);
    }
    let target = bare_target_installed();
    println!(
        "{} {:<22} compiles the kernel and the servers (rustup)",
        if target { "ok     " } else { "MISSING" },
        BARE_TARGET
    );
    let mut absent = missing();
    absent.extend(TEST_NEEDS.iter().filter(|n| !n.met()));
    let gnu = mig_wire::gnu::folder(&Workspace::locate()?.target);
    let gnu_mig = mig_wire::gnu::find(&gnu).is_some();
    let mark = if gnu_mig { "ok     " } else { "MISSING" };
    println!(
        "{mark} {:<22} what mig-rs is compared with (fetched into {})",
        "GNU MIG of trixie",
        gnu.display()
    );
    if absent.is_empty() && target && gnu_mig {
        println!("\nEverything is there.");
        return Ok(());
    }
    if fix {
        ensure()?;
        ensure_for_tests()?;
        mig_wire::gnu::ensure(&gnu)?;
        println!("\nEverything is there now.");
        return Ok(());
    }
    println!("\nTo install what is missing (or run `cargo xtask doctor --fix`):\n");
    if !absent.is_empty() {
        println!("    {}", apt_line(&packages(&absent), is_root()));
    }
    if !target {
        println!("    rustup target add {BARE_TARGET}");
    }
    if !gnu_mig {
        println!("    cargo xtask doctor --fix");
    }
    println!();
    bail!("the host is not ready")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_apt_line_names_each_package_once_and_asks_for_sudo_only_when_needed() {
        let e2fs: Vec<&Need> =
            NEEDS.iter().filter(|n| n.package == "e2fsprogs" || n.package == "bzip2").collect();
        assert!(e2fs.len() > 2);
        assert_eq!(packages(&e2fs), ["e2fsprogs", "bzip2"]);
        assert_eq!(
            apt_line(&["e2fsprogs", "bzip2"], false),
            "sudo apt-get update && sudo apt-get install -y --no-install-recommends e2fsprogs bzip2"
        );
        assert_eq!(
            apt_line(&["mtools"], true),
            "apt-get update && apt-get install -y --no-install-recommends mtools"
        );
    }

    #[test]
    fn an_absent_program_is_a_need_not_met() {
        assert!(!program("no-such-program-of-drover", "none", "nothing").met());
        assert!(program("sh", "dash", "the shell").met());
    }
}
