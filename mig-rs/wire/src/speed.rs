//! How fast mig-rs is beside GNU MIG, and how much its stubs execute beside GNU MIG's.
//!
//! Times are of whole processes, the best of several interleaved runs in one go, so only their ratio means something.
//! Instructions are counted by callgrind in two small programs of the same shape (`wire-count` and `c/count.c`), inside
//! the stubs only: the message system in between and the handlers behind are the same and are left out.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use mig_rs::{Options, compile};

use crate::glue;
use crate::gnu::{Flags, Gnu, Side};
use crate::interfaces::Source;
use crate::object::{cc, include, interfaces, run, shim};

/// What it takes to generate stubs for all definitions of GNU Mach that compile and for all of this workspace.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Times {
    /// Files that both compile.
    pub files: usize,
    /// `mig-rs gen`.
    pub ours: Duration,
    /// The preprocessor and GNU MIG.
    pub theirs: Duration,
}

impl Times {
    /// Below 1: mig-rs is faster.
    #[must_use]
    pub fn ratio(&self) -> f64 {
        self.ours.as_secs_f64() / self.theirs.as_secs_f64()
    }
}

/// Files that are found, and find what they include, in the same folders.
struct Set {
    flags: Flags,
    files: Vec<PathBuf>,
}

fn sets(gnu: &Gnu, work: &Path) -> Result<[Set; 2]> {
    let mach = Flags { include: vec![gnu.include()], ..Flags::default() };
    let mut files = Vec::new();
    for file in gnu.defs()? {
        let path = gnu.include().join(file);
        if gnu.compile(&path, &mach, Side::User, work).is_ok() {
            files.push(path);
        }
    }
    let own = Flags { include: include(), ..Flags::default() };
    let mut interfaces: Vec<PathBuf> = interfaces()?.into_iter().map(|source| source.file).collect();
    // However many ways a file is compiled on the wire.
    interfaces.dedup();
    Ok([Set { flags: mach, files }, Set { flags: own, files: interfaces }])
}

/// Times both compilers over the same files, both sides of each: mig-rs in one go for each set, GNU MIG with its preprocessor file by
/// file, as it must be run. `mig_rs`: the command, a release build.
///
/// # Errors
/// When one of them fails.
pub fn times(gnu: &Gnu, mig_rs: &Path, work: &Path, rounds: u32) -> Result<Times> {
    std::fs::create_dir_all(work)?;
    let sets = sets(gnu, work)?;
    let (mut ours, mut theirs) = (Duration::MAX, Duration::MAX);
    for _ in 0..rounds {
        let start = Instant::now();
        for set in &sets {
            let mut command = Command::new(mig_rs);
            command.arg("gen").arg("-o").arg(work);
            for folder in &set.flags.include {
                command.arg("-I").arg(folder);
            }
            run(command.args(&set.files))?;
        }
        ours = ours.min(start.elapsed());
        let start = Instant::now();
        for set in &sets {
            for file in &set.files {
                preprocess_and_compile(gnu, &set.flags, file, work)?;
            }
        }
        theirs = theirs.min(start.elapsed());
    }
    Ok(Times { files: sets.iter().map(|set| set.files.len()).sum(), ours, theirs })
}

fn preprocess_and_compile(gnu: &Gnu, flags: &Flags, file: &Path, work: &Path) -> Result<()> {
    let mut cpp =
        Gnu::preprocessor(flags).arg(file).stdout(Stdio::piped()).spawn().context("cannot run gcc")?;
    let input = cpp.stdout.take().context("no pipe")?;
    let mut command = Command::new(gnu.compiler());
    command.args(["-n", "-subrprefix", "__"]);
    for (flag, name) in [
        ("-user", "t.u.c"),
        ("-header", "t.u.h"),
        ("-server", "t.s.c"),
        ("-sheader", "t.s.h"),
        ("-list", "t.l"),
    ] {
        command.arg(flag).arg(work.join(name));
    }
    run(command.stdin(input))?;
    if !cpp.wait()?.success() {
        bail!("the preprocessor failed on {}", file.display());
    }
    Ok(())
}

/// Instructions that one call's stub executes.
#[derive(Clone, Debug, PartialEq)]
pub struct Count {
    /// The routine.
    pub routine: &'static str,
    /// `client`, `server`, or `both` for what a call takes altogether.
    pub side: &'static str,
    /// mig-rs's, in release mode.
    pub ours: f64,
    /// GNU MIG's, with -O2.
    pub theirs: f64,
}

/// What is counted: the programs' word for it and the name for people.
const COUNTED: [(&str, &str); 2] = [("null", "null routine"), ("lookup", "dir_lookup")];

/// Counts instructions with callgrind. `ours`: the program `wire-count`, a release build.
///
/// # Errors
/// When something cannot be built or run.
pub fn counts(gnu: &Gnu, ours: &Path, work: &Path) -> Result<Vec<Count>> {
    let theirs = c_program(gnu, work)?;
    let mut counts = Vec::new();
    for (word, routine) in COUNTED {
        let mut both = Count { routine, side: "both", ours: 0.0, theirs: 0.0 };
        for side in ["client", "server"] {
            let of = |program: &Path| count(program, &format!("{word}_{side}"), work);
            let count = Count { routine, side, ours: of(ours)?, theirs: of(&theirs)? };
            both.ours += count.ours;
            both.theirs += count.theirs;
            counts.push(count);
        }
        counts.push(both);
    }
    Ok(counts)
}

/// Compiles `c/count.c` with GNU MIG's stubs of the two interfaces.
fn c_program(gnu: &Gnu, work: &Path) -> Result<PathBuf> {
    let known = glue::typedefs(&run(cc(gnu).args(["-E", "-x", "c"]).arg(shim().join("base.h")))?);
    let mut objects = Vec::new();
    let mut driver = cc(gnu);
    for Source { name, file, .. } in interfaces()?.into_iter().filter(|s| s.name == "null" || s.name == "fs")
    {
        let folder = work.join(&name);
        let flags = |letter: &str| Flags {
            include: include(),
            prefix: Some(format!("{letter}_{name}_")),
            ..Flags::default()
        };
        let user = gnu.compile(&file, &flags("u"), Side::User, &folder)?;
        let server = gnu.compile(&file, &flags("s"), Side::Server, &folder)?;
        let options = Options { include: include(), ..Options::default() };
        let subsystem = compile(&file, &options).map_err(|f| anyhow::anyhow!("{f}"))?.subsystem;
        let types = folder.join("types.h");
        let made = glue::c(&name, &subsystem, &user, &server, &known, None)?;
        std::fs::write(&types, format!("#pragma once\n{}", made.types))?;
        std::fs::write(folder.join("user.h"), &user.header)?;
        for (part, code) in [("user", &user.code), ("server", &server.code)] {
            let (source, object) = (folder.join(format!("{part}.c")), folder.join(format!("{part}.o")));
            std::fs::write(&source, code)?;
            run(cc(gnu)
                .args(["-O2", "-DMIG_EOPNOTSUPP=45", "-c", "-include"])
                .arg(&types)
                .arg("-I")
                .arg(&folder)
                .arg(&source)
                .arg("-o")
                .arg(&object))?;
            objects.push(object);
        }
        driver.arg("-include").arg(&types);
    }
    let program = work.join("count");
    driver.args(["-O2", "-D_GNU_SOURCE", "-I"]).arg(work).arg("-I").arg(shim()).arg(shim().join("count.c"));
    run(driver.args(objects).arg("-o").arg(&program))?;
    Ok(program)
}

/// Instructions per call: what 1000 calls take more than none.
fn count(program: &Path, what: &str, work: &Path) -> Result<f64> {
    const ROUNDS: u64 = 1000;
    let total = |rounds: u64| -> Result<u64> {
        let mut command = Command::new("valgrind");
        command.args(["--tool=callgrind", "--collect-atstart=no"]);
        for function in ["count_", "capture_", "handle_"] {
            // Rust's names have the crate before them and a hash behind.
            command.arg(format!("--toggle-collect=*{function}*"));
        }
        command.arg(format!("--callgrind-out-file={}", work.join("callgrind.out").display()));
        let output = command
            .arg(program)
            .args([what, &rounds.to_string()])
            .output()
            .context("cannot run valgrind (Debian's package valgrind)")?;
        let text = String::from_utf8_lossy(&output.stderr);
        if !output.status.success() {
            bail!("{} {what} under valgrind ended with {}\n{text}", program.display(), output.status);
        }
        let collected = text.lines().find_map(|l| l.split("Collected :").nth(1));
        collected
            .and_then(|n| n.trim().parse().ok())
            .with_context(|| format!("callgrind printed no count:\n{text}"))
    };
    let (none, many) = (total(0)?, total(ROUNDS)?);
    Ok(many.saturating_sub(none) as f64 / ROUNDS as f64)
}
