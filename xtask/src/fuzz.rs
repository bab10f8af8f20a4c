//! `cargo xtask fuzz`: the targets of the crate `mig-fuzz` under libFuzzer.
//!
//! Stable Rust is enough: the sanitizer coverage pass is an ordinary pass of LLVM, which `fuzz/rustc.sh` turns on for this workspace's crates. libFuzzer is C++, so
//! a C++ compiler must be there. Corpora and findings are kept in `target/fuzz`, so that a later run goes on where an earlier one has ended.

use crate::workspace::{Workspace, make_dir};
use crate::{programs, progress, tools};
use anyhow::{Context, Result, bail, ensure};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

/// A target, and the longest input in bytes that is tried.
const TARGETS: &[(&str, u32)] = &[
    ("preprocess", 16_000),
    ("parse", 16_000),
    ("layout", 4000),
    ("emit", 4000),
    ("decode", 4000),
    ("identity", 4000),
];

/// What to run.
#[derive(Debug, Clone, clap::Args)]
pub struct Options {
    /// The targets: preprocess, parse, layout, emit, decode, identity [default: all].
    #[arg(value_parser = ["preprocess", "parse", "layout", "emit", "decode", "identity"])]
    targets: Vec<String>,
    /// Minutes for each target; fractions are allowed.
    #[arg(long, default_value_t = 1.0)]
    minutes: f64,
    /// Runs one input again instead, to see what is wrong with it (with one target).
    #[arg(long)]
    input: Option<PathBuf>,
}

/// Builds the targets and runs them one after the other.
///
/// # Errors
/// When a target has a finding, now or from an earlier run; the text says where the input is.
pub fn run(ws: &Workspace, options: &Options) -> Result<()> {
    if ["c++", "g++", "clang++"].iter().all(|name| tools::find(name).is_none()) {
        bail!("libFuzzer needs a C++ compiler: apt-get install g++");
    }
    let out = ws.target.join("fuzz");
    let build = out.join("build");
    progress::step("building the fuzz targets", || {
        let mut command = programs::cargo(ws);
        command.args(["build", "-p", "mig-fuzz", "--features", "libfuzzer", "--profile", "fuzz"]);
        command.arg("--target-dir").arg(&build);
        command.env("RUSTC_WORKSPACE_WRAPPER", ws.root.join("fuzz/rustc.sh"));
        ensure!(
            command.status().context("cannot run cargo")?.success(),
            "the build failed; cargo's messages are above"
        );
        Ok(())
    })?;
    let program = |target: &str| build.join("fuzz").join(format!("fuzz-{target}"));
    if let Some(input) = &options.input {
        let [target] = options.targets.as_slice() else { bail!("--input wants one target") };
        let status = Command::new(program(target)).arg(input).status().context("cannot run the target")?;
        ensure!(status.success(), "the target does not take {}", input.display());
        return Ok(());
    }
    let mut findings = Vec::new();
    for (target, longest) in TARGETS {
        if options.targets.is_empty() || options.targets.iter().any(|wanted| wanted == target) {
            findings.extend(run_one(ws, &out, &program(target), target, *longest, options.minutes)?);
        }
    }
    match findings.as_slice() {
        [] => Ok(()),
        [first, ..] => bail!(
            "{} findings, the first is {}; to see it: cargo xtask fuzz TARGET --input FILE",
            findings.len(),
            first.display()
        ),
    }
}

/// Runs one target; its findings.
fn run_one(
    ws: &Workspace,
    out: &Path,
    program: &Path,
    target: &str,
    longest: u32,
    minutes: f64,
) -> Result<Vec<PathBuf>> {
    let (corpus, found) = (out.join("corpus").join(target), out.join("findings").join(target));
    make_dir(&corpus)?;
    make_dir(&found)?;
    if matches!(target, "preprocess" | "parse") {
        seed(ws, &corpus)?;
    }
    let log = out.join(format!("{target}.log"));
    let file = std::fs::File::create(&log).with_context(|| format!("cannot write {}", log.display()))?;
    let seconds = (minutes * 60.0).max(1.0) as u64;
    eprintln!("==> {target}, {seconds} s");
    let start = Instant::now();
    let status = Command::new(program)
        .arg(format!("-max_total_time={seconds}"))
        .arg(format!("-max_len={longest}"))
        // An input that takes longer, or more memory, is a finding too.
        .args(["-timeout=10", "-rss_limit_mb=1024", "-len_control=20", "-print_final_stats=1"])
        .arg(format!("-dict={}", ws.root.join("fuzz/dictionary.txt").display()))
        .arg(format!("-artifact_prefix={}/", found.display()))
        .arg(&corpus)
        .stdin(Stdio::null())
        .stdout(file.try_clone()?)
        .stderr(file)
        .status()
        .with_context(|| format!("cannot run {}", program.display()))?;
    let text = String::from_utf8_lossy(&std::fs::read(&log)?).into_owned();
    let last = |key: &str| {
        text.rsplit_once(key).and_then(|(_, rest)| rest.split_whitespace().next()).unwrap_or("?").to_owned()
    };
    println!(
        "{target:<10} {:>10} executions in {:>6.0} s, {:>6} edges, {:>4} MiB at most{}",
        last("stat::number_of_executed_units:"),
        start.elapsed().as_secs_f64(),
        last(" cov: "),
        last("stat::peak_rss_mb:"),
        if status.success() {
            String::new()
        } else {
            format!("; stopped by a finding, see {}", log.display())
        }
    );
    let mut findings = Vec::new();
    for entry in std::fs::read_dir(&found)? {
        findings.push(entry?.path());
    }
    // libFuzzer says so in its status even where it writes no file.
    ensure!(status.success() || !findings.is_empty(), "{target} ended with {status}: see {}", log.display());
    Ok(findings)
}

/// Every definition of the tree is a beginning.
fn seed(ws: &Workspace, corpus: &Path) -> Result<()> {
    let mut folders = vec![ws.root.join("libhurd/defs"), ws.root.join("mig-rs/tests")];
    while let Some(folder) = folders.pop() {
        for entry in
            std::fs::read_dir(&folder).with_context(|| format!("cannot read {}", folder.display()))?
        {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "defs") {
                let name = path.strip_prefix(&ws.root).unwrap_or(&path).to_string_lossy().replace('/', "-");
                std::fs::copy(&path, corpus.join(name))
                    .with_context(|| format!("cannot copy {}", path.display()))?;
            }
        }
    }
    Ok(())
}
