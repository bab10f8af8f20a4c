//! mig-rs beside GNU MIG on all definitions of GNU Mach: ids, layouts of both sides, what is refused, and that the Rust
//! compiles for the host and the bare target without a warning.
//!
//! The packages are fetched on the first run. Without them there is one test, which fails and says how to get them.

use std::path::{Path, PathBuf};

use libtest_mimic::{Arguments, Conclusion, Failed, Trial};
use mig_rs::{Options, Side, compile, layout_rows};
use mig_wire::gnu::{self, Flags, Gnu};
use mig_wire::{object, rows};

/// Fewest files and rows with which the comparison means something.
const FILES: usize = 17;
const ROWS: usize = 680;

fn options(gnu: &Gnu) -> Options {
    Options { include: vec![gnu.include()], ..Options::default() }
}

/// The folder of what GNU MIG and the C compiler write for one file.
fn work(file: &Path) -> PathBuf {
    let name = file.with_extension("").to_string_lossy().replace('/', "_");
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("gnumach").join(name)
}

/// What became of one file.
enum Verdict {
    /// Both compiled it; so many rows were equal.
    Equal(usize),
    /// Both refused it.
    Refused,
}

fn compare(gnu: &Gnu, file: &Path) -> Result<Verdict, Failed> {
    let path = gnu.include().join(file);
    let flags = Flags { include: vec![gnu.include()], ..Flags::default() };
    let side = |side| gnu.compile(&path, &flags, side, &work(file));
    let ours = compile(&path, &options(gnu));
    let (user, server) = match (side(gnu::Side::User), side(gnu::Side::Server)) {
        (Ok(user), Ok(server)) => (user, server),
        (Err(gnu_says), Err(_)) => {
            let Err(failure) = ours else {
                return Err(format!("mig-rs accepts what GNU MIG refuses: {gnu_says:#}").into());
            };
            let text = failure.to_string();
            let clear = text.contains(".defs:") && text.contains("error: ");
            return if clear {
                Ok(Verdict::Refused)
            } else {
                Err(format!("an unclear diagnosis: {text}").into())
            };
        }
        (user, server) => {
            let text = [user.err(), server.err()].map(|e| e.map_or("-".into(), |e| format!("{e:#}")));
            return Err(format!("GNU MIG compiles one side only: {}", text.join(" / ")).into());
        }
    };
    let subsystem =
        ours.map_err(|failure| format!("GNU MIG compiles it, mig-rs does not:\n{failure}"))?.subsystem;
    let ids: Vec<String> = subsystem
        .routines
        .iter()
        .map(|r| {
            let reply = if r.reply.is_some() { r.id + 100 } else { 0 };
            let index = r.id - subsystem.base;
            format!("{} {} {} {index} {} {reply}", subsystem.name, subsystem.base, r.name, r.id)
        })
        .collect();
    let theirs: Vec<&str> = user.list.lines().collect();
    if ids != theirs {
        return Err(format!("ids differ:\n  ours {ids:#?}\n  gnu  {theirs:#?}").into());
    }
    let theirs = rows::rows(gnu, &user, &server, &work(file)).map_err(|e| format!("{e:#}"))?;
    let (mut equal, mut different) = (0, Vec::new());
    for (side, theirs) in [Side::User, Side::Server].into_iter().zip(theirs) {
        let ours = layout_rows(&subsystem, side);
        if ours.len() != theirs.len() {
            return Err(format!("{side:?}: {} rows, GNU MIG has {}", ours.len(), theirs.len()).into());
        }
        for (ours, theirs) in ours.iter().zip(&theirs) {
            if ours == theirs {
                equal += 1;
            } else {
                different.push(format!("{side:?}\n  ours {ours}\n  gnu  {theirs}"));
            }
        }
    }
    match different.len() {
        0 => Ok(Verdict::Equal(equal)),
        n => Err(format!("{n} of {} rows differ:\n{}", n + equal, different.join("\n")).into()),
    }
}

/// Of all files together: enough are there, and enough rows.
fn all(gnu: &Gnu, files: &[PathBuf]) -> Result<(), Failed> {
    let (mut compiled, mut refused, mut rows) = (0, 0, 0);
    for file in files {
        match compare(gnu, file)? {
            Verdict::Equal(n) => (compiled, rows) = (compiled + 1, rows + n),
            Verdict::Refused => refused += 1,
        }
    }
    eprintln!("{compiled} files compiled by both, {refused} refused by both, {rows} rows, 0 differ");
    if compiled < FILES || rows < ROWS {
        return Err(format!("only {compiled} files and {rows} rows").into());
    }
    Ok(())
}

/// The Rust of all files, checked as a crate.
fn rust(gnu: &Gnu, files: &[PathBuf], target: Option<&str>) -> Result<(), Failed> {
    let mut sources = Vec::new();
    for file in files {
        if let Ok(compiled) = compile(gnu.include().join(file), &options(gnu)) {
            sources.push((file.to_string_lossy().into_owned(), compiled.subsystem));
        }
    }
    if sources.len() < FILES {
        return Err(format!("only {} files compile", sources.len()).into());
    }
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("generated");
    object::check_rust(&sources, &folder, target).map_err(|e| format!("{e:#}").into())
}

fn trials() -> Vec<Trial> {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("..");
    let gnu = match gnu::ensure(&gnu::folder(&target)) {
        Ok(gnu) => gnu,
        Err(error) => {
            let text = format!("{error:#}");
            return vec![Trial::test("gnu_mig", move || Err(text.into()))];
        }
    };
    let files = gnu.defs().expect("the package's folders can be read");
    let mut trials = Vec::new();
    for file in files.clone() {
        let gnu = gnu.clone();
        let name = format!("layout::{}", file.display());
        trials.push(Trial::test(name, move || compare(&gnu, &file).map(drop)));
    }
    let (a, b) = (gnu.clone(), files.clone());
    trials.push(Trial::test("every_file", move || all(&a, &b)));
    let (a, b) = (gnu.clone(), files.clone());
    trials.push(Trial::test("rust_for_the_host", move || rust(&a, &b, None)));
    let bare = object::BARE_TARGET;
    let trial = Trial::test("rust_for_the_bare_target", move || rust(&gnu, &files, Some(bare)));
    trials.push(match object::has_target(bare) {
        true => trial,
        false => {
            eprintln!("IGNORED: no {bare}; type `rustup target add {bare}`");
            trial.with_kind("needs the bare target").with_ignored_flag(true)
        }
    });
    trials
}

fn main() {
    // Trials share folders: one after the other.
    let mut arguments = Arguments::from_args();
    arguments.test_threads = Some(1);
    let conclusion: Conclusion = libtest_mimic::run(&arguments, trials());
    conclusion.exit();
}
