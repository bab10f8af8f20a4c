//! The interfaces of `libhurd/defs` against what GNU MIG makes of the originals: no row may differ.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use mig_rs::{Options, Side, compile, id_rows, layout_rows};

fn defs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../libhurd/defs")
}

fn golden(name: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name))
        .expect("golden data")
}

/// Names of all files with a subsystem.
fn interfaces() -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(defs())
        .expect("libhurd/defs")
        .filter_map(|e| e.ok()?.path().file_stem().map(|s| s.to_string_lossy().into_owned()))
        .filter(|n| !n.ends_with("_types"))
        .collect();
    names.sort();
    names
}

fn compiled(name: &str) -> mig_rs::model::Subsystem {
    let options = Options { include: vec![defs()], ..Options::default() };
    match compile(defs().join(format!("{name}.defs")), &options) {
        Ok(compiled) => compiled.subsystem,
        Err(failure) => panic!("{failure}"),
    }
}

/// Interfaces that only Drover has, so GNU MIG's rows do not.
const OURS: [&str; 6] = ["account", "drover_auth", "drover_host", "drover_port", "drover_vm", "payer"];

/// Our names of files that have others in GNU's trees, or the same name in both.
const RENAMED: [(&str, &str, &str); 8] = [
    ("gnumach", "aarch64_mach_aarch64", "mach_aarch64"),
    ("gnumach", "default_pager", "mach_default_pager"),
    ("gnumach", "ipc_notify", "notify"),
    ("gnumach", "kern_exc", "exc"),
    ("hurd", "proc_=proc_excrepl", "proc_excrepl"),
    ("hurd", "proc_proc_exc", "proc_exc"),
    ("hurd", "proc_ourmsg", "ourmsg"),
    ("hurd", "term_ourmsg", "ourmsg"),
];

/// Our name of a file of GNU's.
fn our_name<'a>(tree: &str, file: &'a str) -> &'a str {
    RENAMED.iter().find(|r| r.0 == tree && r.1 == file).map_or(file, |r| r.2)
}

/// Every row of every interface on both sides is one of GNU MIG's, and every row of GNU MIG's is ours.
#[test]
fn layouts_are_those_of_gnu_mig() {
    // (side, tree, file) -> (routine, part) -> the row from `routine` on.
    type Rows<'a> = BTreeMap<(&'a str, &'a str), &'a str>;
    let table = golden("layouts.tsv");
    let mut files: BTreeMap<(&str, &str, &str), Rows<'_>> = BTreeMap::new();
    for line in table.lines().skip(1) {
        let fields: Vec<&str> = line.split('\t').collect();
        let from_routine = line.splitn(5, '\t').nth(4).expect("a row has a routine");
        let old = files
            .entry((fields[0], fields[1], fields[2]))
            .or_default()
            .insert((fields[4], fields[8]), from_routine);
        assert!(old.is_none(), "two rows of {line}");
    }
    let (mut compared, mut different, mut covered) = (0, Vec::new(), BTreeSet::new());
    for ((word, tree, file), expected) in &files {
        let name = our_name(tree, file);
        let side = if *word == "user" { Side::User } else { Side::Server };
        let rows = layout_rows(&compiled(name), side);
        let mut ours: Rows<'_> = BTreeMap::new();
        for row in &rows {
            let fields: Vec<&str> = row.split('\t').collect();
            ours.insert((fields[0], fields[4]), row);
        }
        let keys: BTreeSet<_> = expected.keys().chain(ours.keys()).collect();
        for key in keys {
            compared += 1;
            let (our, gnu) = (ours.get(key).unwrap_or(&"none"), expected.get(key).unwrap_or(&"none"));
            if our != gnu {
                different.push(format!("{word} {tree}/{file} {key:?}\n  ours {our}\n  gnu  {gnu}"));
            }
        }
        covered.insert(name.to_string());
    }
    assert!(different.is_empty(), "{} of {compared} rows differ:\n{}", different.len(), different.join("\n"));
    assert_eq!(compared, table.lines().count() - 1, "every row of the table");
    // No interface of ours escapes.
    covered.extend(OURS.map(String::from));
    assert_eq!(covered, interfaces().into_iter().collect());
}

/// Ids, kinds, names, directions and types of all routines are as GNU MIG's, in the same order.
#[test]
fn routines_are_those_of_gnu_mig() {
    let table = golden("msgids.txt");
    let (mut seen, mut files) = (0, 0);
    let mut lines = table.lines().peekable();
    while let Some(line) = lines.next() {
        let Some(header) = line.strip_prefix("## subsystem ") else { continue };
        let path = header.split(['(', ')']).nth(1).unwrap_or_default();
        let (tree, file) = path.trim_end_matches(".defs").split_once('/').expect("tree and file");
        let mut expected = Vec::new();
        while let Some(line) = lines.next_if(|l| !l.is_empty()) {
            expected.push(line);
        }
        if expected.is_empty() {
            continue; // `experimental` has had no routines since 2020.
        }
        assert_eq!(id_rows(&compiled(our_name(tree, file))), expected, "{tree}/{file}");
        seen += expected.len();
        files += 1;
    }
    assert!(seen > 650 && files > 55, "only {seen} routines in {files} files");
}

/// A comment says what a routine does, then what it answers when it does not.
#[test]
fn every_routine_says_what_it_does_and_which_errors_it_has() {
    let (mut routines, mut wrong) = (0, Vec::new());
    for name in interfaces() {
        for routine in compiled(&name).routines {
            routines += 1;
            let doc = routine.doc.unwrap_or_default();
            let (meaning, errors) = doc.split_once("Errors:").unwrap_or((&doc, ""));
            let errors = errors.trim();
            // A routine without an answer has nobody to tell. `ourmsg` is `msg`, comments and all, with the answers thrown away.
            let one_way = routine.reply.is_none() && name != "ourmsg";
            let right = one_way == errors.starts_with("none, nobody waits");
            if meaning.trim().is_empty() || !errors.ends_with('.') || !right {
                wrong.push(format!("{name} {}: {doc}", routine.name));
            }
        }
    }
    assert!(wrong.is_empty(), "of {routines}:\n{}", wrong.join("\n"));
}

#[test]
fn ids_of_drovers_own_interfaces_are_free_in_gnu_mach() {
    let table = golden("msgids.txt");
    let taken: Vec<i32> = table.lines().filter_map(|l| l.split('\t').next()?.parse().ok()).collect();
    for name in OURS {
        for routine in compiled(name).routines {
            assert!(!taken.contains(&routine.id) && !taken.contains(&(routine.id + 100)), "{}", routine.name);
        }
    }
}

#[test]
fn checked_in_stubs_are_current() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    if let Err(message) = mig_rs::codegen_workspace(&root, true) {
        panic!("{message}");
    }
}
