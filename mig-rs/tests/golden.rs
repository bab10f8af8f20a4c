//! The interfaces of `libhurd/defs` against what GNU MIG makes of the originals: no row may differ.

use std::collections::BTreeMap;
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

#[test]
fn layouts_are_those_of_gnu_mig() {
    // (side, file, routine, part) -> the row from `routine` on.
    let table = golden("layouts.tsv");
    let mut rows: BTreeMap<(&str, &str, &str, &str), &str> = BTreeMap::new();
    for line in table.lines().skip(1) {
        let fields: Vec<&str> = line.split('\t').collect();
        let from_routine = line.splitn(5, '\t').nth(4).expect("a row has a routine");
        rows.insert((fields[0], fields[2], fields[4], fields[8]), from_routine);
    }
    let (mut compared, mut different) = (0, Vec::new());
    for name in interfaces() {
        let subsystem = compiled(&name);
        for (side, word) in [(Side::User, "user"), (Side::Server, "server")] {
            for row in layout_rows(&subsystem, side) {
                let fields: Vec<&str> = row.split('\t').collect();
                let Some(expected) = rows.get(&(word, name.as_str(), fields[0], fields[4])) else { continue };
                compared += 1;
                if row != *expected {
                    different.push(format!("{word} {name}\n  ours {row}\n  gnu  {expected}"));
                }
            }
        }
    }
    assert!(different.is_empty(), "{} of {compared} rows differ:\n{}", different.len(), different.join("\n"));
    assert!(compared > 1200, "only {compared} rows were compared");
}

#[test]
fn every_routine_of_a_known_interface_is_there() {
    let table = golden("msgids.txt");
    let mut ours = BTreeMap::new();
    for name in interfaces() {
        for row in id_rows(&compiled(&name)) {
            let routine = row.split('\t').nth(3).unwrap_or_default().to_string();
            ours.insert((name.clone(), routine), row);
        }
    }
    let names = interfaces();
    let (mut file, mut seen) = (String::new(), 0);
    for line in table.lines() {
        if let Some(header) = line.strip_prefix("## subsystem ") {
            let path = header.split(['(', ')']).nth(1).unwrap_or_default();
            let stem = path.rsplit('/').next().unwrap_or_default().trim_end_matches(".defs");
            file = stem.to_string();
            continue;
        }
        if !names.contains(&file) || line.is_empty() {
            continue;
        }
        let routine = line.split('\t').nth(3).unwrap_or_default();
        let found = ours.get(&(file.clone(), routine.to_string())).map(String::as_str);
        assert_eq!(found, Some(line), "{file} {routine}");
        seen += 1;
    }
    assert!(seen > 300, "only {seen} routines were found");
}

#[test]
fn ids_of_drovers_own_interfaces_are_free_in_gnu_mach() {
    let table = golden("msgids.txt");
    let taken: Vec<i32> = table.lines().filter_map(|l| l.split('\t').next()?.parse().ok()).collect();
    for name in ["account", "drover_host", "drover_port", "payer"] {
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
