//! `cargo xtask dos`: runs the experiment, computes, judges, and writes the report. See `docs/experiment.md`.

mod html;
mod json;
pub mod judge;
pub mod matrix;
mod plot;
pub mod run;
pub mod stats;
mod svg;
mod table;

use crate::compile::{self, Built};
use crate::image::{self, Format, Image, Spec};
use crate::iso::{self, Boot};
use crate::progress::Ticker;
use crate::qemu::{Machine, SUCCESS};
use crate::vm::{Event, Vm};
use crate::workspace::{Workspace, make_dir};
use crate::{doctor, size};
use anyhow::{Context, Result, bail};
use judge::Terms;
use matrix::{Job, Stall, Trigger, World};
use run::Run;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// What to run.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// How many zero bytes the payload's program is padded with (bytes, or 64MiB, 1GiB).
    #[arg(long, default_value = "1GiB", value_parser = size::parse)]
    size: u64,
    /// The worlds to compare.
    #[arg(long, value_enum, value_delimiter = ',', default_values = ["classic", "accounted"])]
    worlds: Vec<World>,
    /// The stalls to show: a (the STARTING wait), b (a node lock held across the exec), c (exec's decompressor lock).
    #[arg(long, value_enum, value_delimiter = ',', default_values = ["a"])]
    stalls: Vec<Stall>,
    /// Who steps on the bomb first.
    #[arg(long, value_enum, value_delimiter = ',', default_values = ["attacker", "victim"])]
    triggers: Vec<Trigger>,
    /// How the payload is compressed.
    #[arg(long, value_enum, value_delimiter = ',', default_values = ["bzip2"])]
    formats: Vec<Format>,
    /// The whole matrix: every world, stall, trigger and format (hours).
    #[arg(long, conflicts_with_all = ["worlds", "stalls", "triggers", "formats"])]
    all: bool,
    /// Samples per victim and phase.
    #[arg(long, default_value_t = 100)]
    samples: u32,
    /// Also run the conservation checker every 1,000 kernel operations (slower; the latencies are not comparable).
    #[arg(long)]
    checked: bool,
    /// Print report.json instead of the table.
    #[arg(long)]
    json: bool,
    /// Memory of each machine in MiB.
    #[arg(long, default_value_t = 3072)]
    mem: u32,
    /// Seconds of wall time after which a machine is stopped.
    #[arg(long, default_value_t = 1200)]
    timeout: u64,
    /// Do not boot: judge the serial logs of an earlier run again (a folder of dos-*.log, such as target/drover/logs).
    #[arg(long, value_name = "FOLDER")]
    replay: Option<PathBuf>,
    /// Machines side by side; each takes a core and its memory.
    #[arg(long, default_value_t = 2)]
    parallel: usize,
}

impl Options {
    fn formats(&self) -> Vec<Format> {
        if self.all { vec![Format::Bzip2, Format::Gzip] } else { self.formats.clone() }
    }

    /// Options as if `words` had been typed behind `cargo xtask dos`.
    ///
    /// # Errors
    /// As the command line's.
    pub fn parse(words: &[&str]) -> Result<Self> {
        #[derive(clap::Parser)]
        #[command(no_binary_name = true)]
        struct Line {
            #[command(flatten)]
            options: Options,
        }
        Ok(<Line as clap::Parser>::try_parse_from(words)?.options)
    }

    fn jobs(&self) -> Vec<Job> {
        let formats = self.formats();
        if self.all {
            return matrix::jobs(World::ALL, Stall::ALL, Trigger::ALL, &formats);
        }
        matrix::jobs(&self.worlds, &self.stalls, &self.triggers, &formats)
    }
}

/// What a run of the experiment gave.
#[derive(Debug)]
pub struct Results {
    /// The runs, in the order of the jobs.
    pub runs: Vec<Run>,
    /// What was asked of them, and whether it holds.
    pub conditions: Vec<judge::Condition>,
    /// Format of the payload of the first run.
    format: Format,
    /// Its image.
    image: Image,
}

/// Builds, boots and judges.
///
/// # Errors
/// When the set-up, the build or a machine fails.
pub fn perform(ws: &Workspace, options: &Options) -> Result<Results> {
    doctor::ensure()?;
    let built = compile::build(ws)?;
    let mut images = Vec::new();
    for format in options.formats() {
        images.push((format, image::make(ws, &built, &Spec::experiment(options.size, format))?));
    }
    let (format, image) = images.first().context("no format to run")?;
    eprintln!(
        "==> payload: {} inflated, {} as {}",
        size::human(image.plain_bytes),
        size::human(image.compressed_bytes),
        format.name()
    );
    let runs: Vec<Run> = match &options.replay {
        Some(folder) => options.jobs().into_iter().map(|job| replay(folder, job)).collect::<Result<_>>()?,
        None => run_all(ws, &built, &images, options)?,
    };
    let terms = Terms {
        payload_frames: image.plain_bytes / 4096,
        samples: options.samples as usize,
        checked: options.checked,
    };
    let conditions = runs.iter().flat_map(|r| judge::judge(r, terms)).collect();
    Ok(Results { runs, conditions, format: *format, image: image.clone() })
}

/// Runs the experiment.
///
/// # Errors
/// When the set-up, the build or a machine fails, or when a condition of `docs/experiment.md` does not hold.
pub fn run(ws: &Workspace, options: &Options) -> Result<()> {
    let started = Instant::now();
    let Results { runs, conditions, format, image } = perform(ws, options)?;
    let report = serde_json::to_string_pretty(&json::report(&runs, format, &image))?;
    let dir = ws.dos();
    make_dir(&dir)?;
    let html_path = dir.join("report.html");
    let page = html::page(&html::Page { runs: &runs, conditions: &conditions, image: &image, format });
    std::fs::write(&html_path, page).with_context(|| format!("cannot write {}", html_path.display()))?;
    let json_path = dir.join("report.json");
    std::fs::write(&json_path, &report).with_context(|| format!("cannot write {}", json_path.display()))?;

    if options.json {
        println!("{report}");
        eprint!("{}", table::conditions(&conditions));
    } else {
        print!("{}\n{}", table::figures(&runs), table::conditions(&conditions));
    }
    eprintln!(
        "\n==> {} and {} ({:.0} s)",
        html_path.display(),
        json_path.display(),
        started.elapsed().as_secs_f64()
    );
    let failed = conditions.iter().filter(|c| !c.ok).count();
    if failed > 0 {
        bail!(
            "{failed} of {} conditions do not hold; serial logs are in {}",
            conditions.len(),
            ws.logs().display()
        );
    }
    eprintln!("==> all {} conditions hold", conditions.len());
    Ok(())
}

/// Runs every job, a few machines side by side; the runs come back in the order of the jobs.
fn run_all(ws: &Workspace, built: &Built, images: &[(Format, Image)], options: &Options) -> Result<Vec<Run>> {
    let jobs = options.jobs();
    let next = AtomicUsize::new(0);
    let finished = AtomicUsize::new(0);
    let status: Mutex<Vec<String>> = Mutex::new(vec![String::new(); jobs.len()]);
    let results: Mutex<Vec<Option<Result<Run>>>> = Mutex::new(jobs.iter().map(|_| None).collect());
    let say = |index: usize, text: String| {
        if let Ok(mut status) = status.lock() {
            status[index] = text;
        }
    };
    let workers = options.parallel.clamp(1, jobs.len().max(1));
    eprintln!("==> {} runs, {workers} side by side", jobs.len());
    let started = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                loop {
                    let index = next.fetch_add(1, Ordering::SeqCst);
                    let Some(job) = jobs.get(index) else { break };
                    let result = run_one(ws, built, images, options, *job, &|text| say(index, text));
                    say(index, String::new());
                    if let Ok(mut results) = results.lock() {
                        results[index] = Some(result);
                    }
                    finished.fetch_add(1, Ordering::SeqCst);
                }
            });
        }
        let mut ticker = Ticker::default();
        while finished.load(Ordering::SeqCst) < jobs.len() {
            std::thread::sleep(Duration::from_millis(200));
            let lines: Vec<String> = match status.lock() {
                Ok(status) => status.iter().filter(|s| !s.is_empty()).cloned().collect(),
                Err(_) => break,
            };
            let done = finished.load(Ordering::SeqCst);
            ticker.show(&format!(
                "    {:>4.0} s  {done}/{}  {}",
                started.elapsed().as_secs_f64(),
                jobs.len(),
                lines.join("  |  ")
            ));
        }
        ticker.end();
    });
    let results = results.into_inner().ok().context("a worker panicked")?;
    results.into_iter().map(|r| r.context("a run is missing")?).collect()
}

/// One machine from boot to end.
fn run_one(
    ws: &Workspace,
    built: &Built,
    images: &[(Format, Image)],
    options: &Options,
    job: Job,
    say: &dyn Fn(String),
) -> Result<Run> {
    let label = job.label();
    let image =
        images.iter().find(|(f, _)| *f == job.format).map(|(_, i)| i).context("no image for the format")?;
    let iso = ws.out().join(format!("dos-{label}.iso"));
    let boot = Boot { line: Some(job.boot_line(options.samples, options.checked)), timeout: 0 };
    iso::make_quietly(ws, built, &iso::modules(built, Some(&image.path)), &boot, &iso)?;
    let machine = Machine::new(&iso, options.mem, true);
    let log = ws.logs().join(format!("dos-{label}.log"));
    let mut vm = Vm::start(&machine, &log, Duration::from_secs(options.timeout))?;
    let mut run = Run::new(job);
    let mut done = false;
    loop {
        match vm.event()? {
            Event::Line(line) => {
                done |= crate::serial::parse(&line) == crate::serial::Line::Done;
                run.line(&line);
            }
            Event::Quiet => say(run.progress()),
            Event::Exited(Some(SUCCESS)) if done => {
                run.finish(true, "");
                break;
            }
            end => {
                let how = match end {
                    Event::Deadline => format!("stopped after {} s of wall time", options.timeout),
                    Event::Exited(code) => format!("the guest ended with exit code {code:?}, ##DONE {done}"),
                    Event::Line(_) | Event::Quiet => String::new(),
                };
                run.finish(false, &format!("{how} (log: {})", log.display()));
                break;
            }
        }
    }
    let _ = std::fs::remove_file(&iso);
    Ok(run)
}

/// A run read from the serial log of an earlier one.
fn replay(folder: &Path, job: Job) -> Result<Run> {
    let path = folder.join(format!("dos-{}.log", job.label()));
    let text = std::fs::read_to_string(&path).with_context(|| {
        format!("cannot read {} (choose the runs with --worlds, --stalls, ...)", path.display())
    })?;
    let mut run = Run::new(job);
    let mut done = false;
    for line in text.lines() {
        done |= crate::serial::parse(line) == crate::serial::Line::Done;
        run.line(line);
    }
    run.finish(done, "the log has no ##DONE");
    Ok(run)
}
