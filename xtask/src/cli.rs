//! The command line of `cargo xtask`.

use crate::check::Lane;
use crate::compile;
use crate::image::{self, Spec};
use crate::iso::{self, Boot};
use crate::qemu::Machine;
use crate::workspace::Workspace;
use crate::{bench, check, codegen, doctor, dos, fuzz, new_server, size, testing};
use anyhow::{Context, Result, bail};
use clap::{Args, Parser, Subcommand};
use std::path::PathBuf;
use std::process::ExitCode;

/// Build, run and test Drover, a microkernel in which whoever asks for work pays for it.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", max_term_width = 110)]
#[command(
    after_help = "Start with `cargo xtask dos` (the experiment) or `cargo xtask run` (a shell). Both install what they need \
    from Debian's packages when they may (root, or sudo without a password) and say what to type when they may not."
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Say which host programs are missing and the exact line that installs them.
    Doctor {
        /// Install what is missing (needs root, or sudo without a password).
        #[arg(long)]
        fix: bool,
    },
    /// Build the kernel and all programs for the bare target; stripped copies go to target/drover/programs.
    Build,
    /// Make the root image: an ext2 file system of a Hurd, with the attack's payload bound to a node.
    Image(ImageArgs),
    /// Make a boot ISO: GRUB, the kernel, the programs and the root image.
    Iso {
        #[command(flatten)]
        boot: BootArgs,
        #[command(flatten)]
        image: ImageArgs,
        /// Where to write it [default: target/drover/drover.iso].
        #[arg(short, long)]
        output: Option<PathBuf>,
    },
    /// Boot to the shell on this terminal. Control-A x ends the machine.
    Run {
        #[command(flatten)]
        boot: BootArgs,
        #[command(flatten)]
        image: ImageArgs,
        /// Count instructions: guest time is exact and repeats, but runs apart from the wall clock.
        #[arg(long)]
        icount: bool,
        /// Memory of the machine in MiB.
        #[arg(long, default_value_t = 1024)]
        mem: u32,
    },
    /// Run the experiment: the exec-server attack of 2013, in two worlds, with figures and a picture.
    ///
    /// Builds everything, boots one machine per run (two side by side), and fails unless the classic world stalls and the accounted
    /// one holds. The report is target/dos/report.html and report.json; docs/experiment.md explains the figures.
    Dos(dos::Options),
    /// Run all tests: host tests, then tests inside the guest, in one summary.
    Test {
        /// Only tests whose name contains this.
        filter: Option<String>,
        /// Further arguments for the test programs.
        #[arg(last = true)]
        rest: Vec<String>,
    },
    /// Count guest instructions per operation and frames per object; measure mig-rs and its stubs beside GNU MIG.
    Bench {
        /// Only these sections.
        sections: Vec<bench::Section>,
        /// Print JSON instead of a table.
        #[arg(long)]
        json: bool,
    },
    /// Run the lints: fmt, tidy, codegen, clippy (host), bare (clippy on the bare target), doc.
    Check {
        /// Only these lanes.
        lanes: Vec<Lane>,
    },
    /// Write the package of a new server, servers/NAME: it builds, is on the image, and answers.
    NewServer {
        /// Its name: small letters, digits and `-`.
        name: String,
        /// The interface that it serves.
        #[arg(long)]
        defs: PathBuf,
    },
    /// Run mig-rs and the code that it generates under libFuzzer; fails on a finding.
    Fuzz(fuzz::Options),
    /// Generate the stubs in libhurd/stubs from the definitions in libhurd/defs.
    Codegen {
        /// Only compare, and fail when a file would change.
        #[arg(long)]
        check: bool,
    },
}

/// How to boot.
#[derive(Debug, Args)]
struct BootArgs {
    /// The world: classic (servers pay), charging, ceilings, or accounted (callers pay; all laws hold).
    #[arg(long, value_parser = ["classic", "charging", "ceilings", "accounted"])]
    world: Option<String>,
    /// What the first task does: shell, dos (the experiment), test, bench.
    #[arg(long, value_parser = ["shell", "dos", "test", "bench"])]
    mode: Option<String>,
    /// Further words of the boot line, such as `stall=a trigger=victim`.
    #[arg(long, num_args = 1..)]
    args: Vec<String>,
}

impl BootArgs {
    /// The boot line, if any part of it was given.
    fn line(&self) -> Option<String> {
        if self.world.is_none() && self.mode.is_none() && self.args.is_empty() {
            return None;
        }
        let mode = self.mode.as_deref().unwrap_or("shell");
        let world = self.world.as_deref().unwrap_or("accounted");
        let mut line = format!("mode={mode} world={world}");
        for arg in &self.args {
            line.push(' ');
            line.push_str(arg);
        }
        Some(line)
    }
}

/// The root image.
#[derive(Debug, Args)]
struct ImageArgs {
    /// How many zero bytes the payload's program is padded with (bytes, or 64MiB, 1GiB).
    #[arg(long, default_value = "1GiB", value_parser = size::parse)]
    size: u64,
    /// Block size of the file system in bytes.
    #[arg(long, default_value = "4096", value_parser = ["1024", "2048", "4096"])]
    block_size: String,
}

impl ImageArgs {
    fn spec(&self) -> Result<Spec> {
        let mut spec = Spec::full(self.size);
        spec.block_size = self.block_size.parse().context("the block size")?;
        Ok(spec)
    }
}

/// Parses the command line, does what it says, and prints any error with its causes.
#[must_use]
pub fn run() -> ExitCode {
    match dispatch(Cli::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn dispatch(command: Command) -> Result<()> {
    let ws = Workspace::locate()?;
    match command {
        Command::Doctor { fix } => doctor::report(fix),
        Command::Build => {
            let built = compile::build(&ws)?;
            println!("{}", built.kernel.display());
            built.programs.iter().for_each(|(_, path)| println!("{}", path.display()));
            Ok(())
        }
        Command::Image(args) => {
            doctor::ensure()?;
            let built = compile::build(&ws)?;
            let image = image::make(&ws, &built, &args.spec()?)?;
            println!(
                "{}\npayload: {} inflated, {} on the image",
                image.path.display(),
                size::human(image.plain_bytes),
                size::human(image.compressed_bytes)
            );
            Ok(())
        }
        Command::Iso { boot, image, output } => {
            let output = output.unwrap_or_else(|| ws.out().join("drover.iso"));
            make_iso(&ws, &Boot { line: boot.line(), timeout: 5 }, &image, &output)?;
            println!("{}", output.display());
            Ok(())
        }
        Command::Run { boot, image, icount, mem } => {
            let iso = ws.out().join("run.iso");
            let line = boot.line().unwrap_or_else(|| "mode=shell world=accounted".into());
            make_iso(&ws, &Boot { line: Some(line), timeout: 0 }, &image, &iso)?;
            eprintln!("==> booting; control-A x ends the machine");
            let status =
                Machine::new(&iso, mem, icount).interactive()?.status().context("cannot run QEMU")?;
            match status.code() {
                Some(0 | crate::qemu::SUCCESS) => Ok(()),
                _ => bail!("the machine ended with {status}"),
            }
        }
        Command::Dos(options) => dos::run(&ws, &options),
        Command::Bench { sections, json } => bench::run(&ws, json, &sections),
        Command::Check { lanes } => check::run(&ws, &lanes),
        Command::Codegen { check } => codegen::run(&ws, check),
        Command::NewServer { name, defs } => new_server::run(&ws, &name, &defs),
        Command::Fuzz(options) => fuzz::run(&ws, &options),
        Command::Test { filter, rest } => testing::run(&ws, filter.as_deref(), &rest),
    }
}

fn make_iso(ws: &Workspace, boot: &Boot, image: &ImageArgs, output: &std::path::Path) -> Result<()> {
    doctor::ensure()?;
    let built = compile::build(ws)?;
    let image = image::make(ws, &built, &image.spec()?)?;
    iso::make(ws, &built, &iso::modules(&built, Some(&image.path)), boot, output)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_boot_line_is_made_only_when_asked_for() {
        let line = |args: &[&str]| match Cli::parse_from([&["xtask", "iso"], args].concat()).command {
            Command::Iso { boot, .. } => boot.line(),
            _ => None,
        };
        assert_eq!(line(&[]), None);
        assert_eq!(line(&["--world", "classic"]).as_deref(), Some("mode=shell world=classic"));
        assert_eq!(
            line(&["--mode", "dos", "--args", "stall=c", "trigger=victim"]).as_deref(),
            Some("mode=dos world=accounted stall=c trigger=victim")
        );
    }
}
