//! Random definitions before mig-rs and GNU MIG: both accept them or both refuse them, and what both accept has the same ids
//! and the same layouts on both sides.
//!
//! Where GNU MIG writes C that no compiler accepts there is nothing to compare. Where mig-rs is stricter on purpose,
//! [`STRICTER`] says so, and `docs/mapping.md` says why; everything else is a failure.
//!
//! `MIG_RANDOM_DEFS=FIRST..END cargo test -p mig-wire --test random_defs` runs other seeds than those of every run.

mod grammar;
mod numbers;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use grammar::Case;
use libtest_mimic::{Arguments, Conclusion, Failed, Trial};
use mig_rs::model::{Item, Placement, Routine};
use mig_rs::{Options, Side, compile_text, layout_rows};
use mig_wire::gnu::{self, Gnu, Written};
use mig_wire::{glue, object, rows};

/// The seeds of every run.
const SEEDS: std::ops::Range<u64> = 0..500;
/// Cases whose C is compiled in one go.
const BATCH: usize = 50;

/// What mig-rs refuses although GNU MIG's C compiles, by its first diagnostic.
const STRICTER: &[&str] = &[
    "a right inside a struct would not be translated",
    "a struct { } inside another type",
    "a port right in a message has 64 bits",
    "int is no port",
    "is no number that MIG knows",
];
/// What GNU MIG says of one case.
enum Gnus {
    Wrote(Box<[Written; 2]>),
    Refused(String),
}

fn gnu_mig(gnu: &Gnu, case: &Case, work: &Path) -> Result<Gnus> {
    let name = |what: &str| work.join(format!("{}.{what}", case.seed));
    std::fs::write(name("defs"), &case.text)?;
    std::fs::write(name("types.h"), &case.types)?;
    let run = Command::new(gnu.compiler())
        .args(["-n", "-subrprefix", "__"])
        .arg("-user")
        .arg(name("u.c"))
        .arg("-header")
        .arg(name("u.h"))
        .arg("-server")
        .arg(name("s.c"))
        .arg("-sheader")
        .arg(name("s.h"))
        .arg("-list")
        .arg(name("l"))
        .stdin(std::fs::File::open(name("defs"))?)
        .stdout(Stdio::null())
        .output()
        .context("cannot run GNU MIG")?;
    if !run.status.success() {
        let text = String::from_utf8_lossy(&run.stderr);
        return Ok(Gnus::Refused(format!("{} ({})", text.trim(), run.status)));
    }
    let read =
        |what: &str| String::from_utf8_lossy(&std::fs::read(name(what)).unwrap_or_default()).into_owned();
    let written = |letter: &str| Written {
        code: read(&format!("{letter}.c")),
        header: read(&format!("{letter}.h")),
        list: read("l"),
        prefix: String::new(),
    };
    Ok(Gnus::Wrote(Box::new([written("u"), written("s")])))
}

/// The headers that all cases need, in `work`.
fn shims(work: &Path) -> Result<()> {
    std::fs::create_dir_all(work.join("ipc"))?;
    let port = "#include <stdint.h>\ntypedef uintptr_t ipc_port_t;\n";
    std::fs::write(work.join("ipc/ipc_port.h"), port)?;
    std::fs::create_dir_all(work.join("kern"))?;
    for header in ["ipc_mig.h", "ipc_tt.h"] {
        std::fs::write(work.join("kern").join(header), "")?;
    }
    let base = "#include \"base.h\"\n#include \"ipc/ipc_port.h\"\ntypedef int64_t int64;\n";
    std::fs::write(work.join("prelude.h"), base)?;
    Ok(())
}

/// Seeds of cases whose C does not compile, with what the compiler says first.
fn uncompiled(gnu: &Gnu, seeds: &[u64], work: &Path) -> Result<BTreeMap<u64, String>> {
    let mut bad = BTreeMap::new();
    for letter in ["u", "s"] {
        let mut text = String::from("#include \"prelude.h\"\n");
        for seed in seeds {
            let _ = writeln!(text, "#include \"{seed}.types.h\"\n#include \"{seed}.{letter}.c\"");
        }
        let all = work.join(format!("all.{letter}.c"));
        std::fs::write(&all, text)?;
        let output = Command::new("gcc")
            .args(["-w", "-fsyntax-only", "-fno-diagnostics-show-caret", "-I"])
            .arg(object::shim())
            .arg("-I")
            .arg(gnu.include())
            .arg("-I")
            .arg(work)
            .arg(&all)
            .output()
            .context("cannot run gcc")?;
        for line in String::from_utf8_lossy(&output.stderr).lines().filter(|l| l.contains(" error: ")) {
            let file = line.split(':').next().unwrap_or("").rsplit('/').next().unwrap_or("");
            // A line without a place follows one that has it.
            if let Some(seed) = file.split('.').next().and_then(|s| s.parse().ok()) {
                bad.entry(seed).or_insert_with(|| line.to_owned());
            }
        }
        if bad.is_empty() && !output.status.success() {
            bail!("{}", String::from_utf8_lossy(&output.stderr));
        }
    }
    Ok(bad)
}

/// GNU MIG's rows of these cases, both sides.
fn measured(gnu: &Gnu, cases: &[(u64, &[Written; 2])], work: &Path) -> Result<[Vec<String>; 2]> {
    let mut types = String::from("#include \"prelude.h\"\n");
    for (seed, _) in cases {
        let _ = writeln!(types, "#include \"{seed}.types.h\"");
    }
    let header = work.join("types.h");
    std::fs::write(&header, types)?;
    let joined = |side: usize| Written {
        code: cases.iter().map(|(_, w)| w[side].code.as_str()).collect(),
        header: format!("#include \"{}\"\n", header.display()),
        list: cases.iter().map(|(_, w)| w[side].list.as_str()).collect(),
        prefix: String::new(),
    };
    rows::rows(gnu, &joined(0), &joined(1), work)
}

/// What the runs of many cases came to.
#[derive(Default)]
struct Tally {
    rows: usize,
    equal: usize,
    refused: usize,
    uncompiled: BTreeMap<bool, usize>,
    stricter: BTreeMap<&'static str, usize>,
    findings: Vec<String>,
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or("")
}

/// GNU MIG's own stubs do not agree with the sizes that they put into headers: behind an array of varying length in the message
/// whose most bytes are no multiple of 8, and with an array of a fixed number of rights, for which they have the room of one. Of an element that never fits in the message its C says that there are 0 bytes.
fn loses_its_place(routine: &Routine) -> bool {
    let wrong = |item: &Item| {
        let wire = &item.wire;
        let varies = wire.is_variable() && wire.placement != Placement::OutOfLine;
        let rights = !wire.is_variable() && wire.number > 1 && wire.carries_rights();
        let empty = wire.placement == Placement::Chosen && wire.number == 0;
        empty || varies && !wire.data_length().is_multiple_of(8) || rights
    };
    routine.request.items.iter().chain(routine.reply.iter().flat_map(|r| &r.items)).any(wrong)
}

fn batch(gnu: &Gnu, cases: &[Case], work: &Path, tally: &mut Tally) -> Result<()> {
    let mut wrote = Vec::new();
    let mut ours = BTreeMap::new();
    for case in cases {
        let compiled = compile_text("case.defs", &case.text, &Options::default());
        match gnu_mig(gnu, case, work)? {
            Gnus::Wrote(mut written) => {
                if let Ok(compiled) = &compiled {
                    // Of arrays of rights its servers name a member that is not there.
                    written[1].code = glue::mended(&written[1].code, &compiled.subsystem);
                    std::fs::write(work.join(format!("{}.s.c", case.seed)), &written[1].code)?;
                }
                wrote.push((case.seed, *written));
                ours.insert(case.seed, compiled);
            }
            Gnus::Refused(text) => match compiled {
                Err(_) => tally.refused += 1,
                Ok(_) => tally.findings.push(format!("{}: mig-rs accepts, GNU MIG says {text}", case.seed)),
            },
        }
    }
    let seeds: Vec<u64> = wrote.iter().map(|(seed, _)| *seed).collect();
    let bad = uncompiled(gnu, &seeds, work)?;
    let mut both = Vec::new();
    for (seed, written) in &wrote {
        match (&ours[seed], bad.get(seed)) {
            (compiled, Some(_)) => {
                *tally.uncompiled.entry(compiled.is_ok()).or_default() += 1;
            }
            (Ok(compiled), None) => both.push((*seed, written, compiled)),
            (Err(failure), None) => {
                let text = failure.to_string();
                match STRICTER.iter().find(|s| text.contains(**s)) {
                    Some(known) => *tally.stricter.entry(known).or_default() += 1,
                    None => tally.findings.push(format!("{seed}: GNU MIG accepts, mig-rs says {text}")),
                }
            }
        }
    }
    let list: Vec<(u64, &[Written; 2])> = both.iter().map(|(seed, written, _)| (*seed, *written)).collect();
    let all = measured(gnu, &list, work);
    if let Err(error) = &all {
        tally.findings.push(format!("a batch cannot be measured: {error:#}"));
    }
    let mut all = all.ok().map(|rows| rows.map(Vec::into_iter));
    let aliases: Vec<u64> = cases.iter().filter(|c| c.aliases).map(|c| c.seed).collect();
    for (seed, written, compiled) in &both {
        let subsystem = &compiled.subsystem;
        let ids: String = subsystem
            .routines
            .iter()
            .map(|r| {
                let reply = if r.reply.is_some() { r.id.wrapping_add(100) } else { 0 };
                let index = r.id.wrapping_sub(subsystem.base);
                format!("{} {} {} {index} {} {reply}\n", subsystem.name, subsystem.base, r.name, r.id)
            })
            .collect();
        if ids != written[0].list {
            tally.findings.push(format!("{seed}: ids differ:\n{ids}\n{}", written[0].list));
            return Ok(());
        }
        let single;
        let theirs: [Vec<String>; 2] = match &mut all {
            Some(rows) => {
                let counts = [Side::User, Side::Server].map(|side| layout_rows(subsystem, side).len());
                [rows[0].by_ref().take(counts[0]).collect(), rows[1].by_ref().take(counts[1]).collect()]
            }
            None => {
                single = measured(gnu, &[(*seed, *written)], work);
                match single {
                    Ok(rows) => rows,
                    Err(error) => {
                        tally.findings.push(format!("{seed}: {}", first_line(&format!("{error:#}"))));
                        continue;
                    }
                }
            }
        };
        let mut equal = true;
        let lost: Vec<&str> =
            subsystem.routines.iter().filter(|r| loses_its_place(r)).map(|r| r.name.as_str()).collect();
        for (side, theirs) in [Side::User, Side::Server].into_iter().zip(theirs) {
            for (ours, theirs) in layout_rows(subsystem, side).iter().zip(&theirs) {
                if ours.split('\t').next().is_some_and(|name| lost.contains(&name)) || aliases.contains(seed)
                {
                    continue;
                }
                tally.rows += 1;
                if ours != theirs {
                    equal = false;
                    tally.findings.push(format!("{seed}: {side:?}\n  ours {ours}\n  gnu  {theirs}"));
                }
            }
        }
        tally.equal += usize::from(equal);
    }
    Ok(())
}

fn run(gnu: &Gnu, seeds: std::ops::Range<u64>) -> Result<(), Failed> {
    let work = Path::new(env!("CARGO_TARGET_TMPDIR")).join("random_defs");
    let mut tally = Tally::default();
    shims(&work).map_err(|e| format!("{e:#}"))?;
    let all: Vec<u64> = seeds.collect();
    for part in all.chunks(BATCH) {
        let cases: Vec<Case> = part.iter().map(|&seed| grammar::case(seed)).collect();
        batch(gnu, &cases, &work, &mut tally).map_err(|e| format!("{e:#}"))?;
    }
    eprintln!(
        "{} cases: {} equal in {} rows, {} refused by both; C does not compile: {:?} (mig-rs accepts: number); stricter {:?}",
        all.len(),
        tally.equal,
        tally.rows,
        tally.refused,
        tally.uncompiled,
        tally.stricter
    );
    if tally.equal * 3 < all.len() {
        return Err(format!("only {} of {} cases could be compared", tally.equal, all.len()).into());
    }
    if !tally.findings.is_empty() {
        return Err(format!("{} findings:\n{}", tally.findings.len(), tally.findings.join("\n")).into());
    }
    Ok(())
}

fn seeds() -> std::ops::Range<u64> {
    let asked = std::env::var("MIG_RANDOM_DEFS").ok();
    let range = asked.as_deref().and_then(|text| text.split_once(".."));
    range.and_then(|(a, b)| Some(a.parse().ok()?..b.parse().ok()?)).unwrap_or(SEEDS)
}

fn main() {
    let arguments = Arguments::from_args();
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("..");
    let trial = match gnu::ensure(&gnu::folder(&target)) {
        Ok(gnu) => Trial::test("random_definitions", move || run(&gnu, seeds())),
        Err(error) => {
            let text = format!("{error:#}");
            Trial::test("random_definitions", move || Err(text.into()))
        }
    };
    let conclusion: Conclusion = libtest_mimic::run(&arguments, vec![trial]);
    conclusion.exit();
}
