//! GNU MIG takes every interface of `libhurd/defs` as it stands, for both sides, and numbers its routines as mig-rs does.
//!
//! The packages are fetched on the first run. Without them the test fails, and says how to get them.

use std::path::{Path, PathBuf};

use mig_rs::{Options, compile};
use mig_wire::gnu::{self, Flags, Gnu, Side};

/// Routines of the Hurd and GNU Mach alone.
const ROUTINES: usize = 700;

fn folder(below: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(below)
}

/// Every file of definitions but those of types.
fn files() -> Vec<PathBuf> {
    let listing = std::fs::read_dir(folder("libhurd/defs")).expect("libhurd/defs");
    let mut files: Vec<PathBuf> = listing
        .map(|entry| entry.expect("an entry").path())
        .filter(|p| p.extension().is_some_and(|e| e == "defs"))
        .filter(|p| !p.to_string_lossy().ends_with("_types.defs"))
        .collect();
    files.sort();
    files
}

/// What is wrong with one file, or how many routines it has.
fn compare(gnu: &Gnu, file: &Path) -> Result<usize, String> {
    let name = file.file_stem().unwrap_or_default();
    let out = Path::new(env!("CARGO_TARGET_TMPDIR")).join("ours").join(name);
    let include = vec![folder("libhurd/defs"), folder("mig-rs/include")];
    let flags = Flags { include: include.clone(), ..Flags::default() };
    let user = gnu.compile(file, &flags, Side::User, &out).map_err(|e| format!("user: {e:#}"))?;
    gnu.compile(file, &flags, Side::Server, &out).map_err(|e| format!("server: {e:#}"))?;
    let ours =
        compile(file, &Options { include, ..Options::default() }).map_err(|e| e.to_string())?.subsystem;
    let ids: Vec<String> = ours
        .routines
        .iter()
        .map(|r| {
            let reply = if r.reply.is_some() { r.id + 100 } else { 0 };
            format!("{} {} {} {} {} {reply}", ours.name, ours.base, r.name, r.id - ours.base, r.id)
        })
        .collect();
    let theirs: Vec<&str> = user.list.lines().collect();
    if ids == theirs {
        Ok(ids.len())
    } else {
        Err(format!("ids differ:\n  ours {ids:#?}\n  gnu  {theirs:#?}"))
    }
}

#[test]
fn gnu_mig_takes_every_interface() {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("..");
    let gnu = gnu::ensure(&gnu::folder(&target)).unwrap_or_else(|error| panic!("{error:#}"));
    let (mut routines, mut wrong) = (0, Vec::new());
    for file in files() {
        match compare(&gnu, &file) {
            Ok(count) => routines += count,
            Err(what) => wrong.push(format!("{}: {what}", file.display())),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(routines > ROUTINES, "only {routines} routines");
}
