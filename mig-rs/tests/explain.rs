//! Drawings of every routine in `libhurd/defs` say what the layouts say, and fit on a page.

use std::path::Path;

use mig_rs::model::Subsystem;
use mig_rs::{Options, Side, compile, explain, layout_rows};

/// Widest line of a drawing.
const COLUMNS: usize = 100;

fn interfaces() -> Vec<Subsystem> {
    let defs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../libhurd/defs");
    let options = Options { include: vec![defs.clone()], ..Options::default() };
    let mut paths: Vec<_> =
        std::fs::read_dir(&defs).expect("libhurd/defs").map(|e| e.expect("entry").path()).collect();
    paths.retain(|p| {
        p.extension().is_some_and(|e| e == "defs") && !p.to_string_lossy().ends_with("_types.defs")
    });
    paths.iter().map(|p| compile(p, &options).unwrap_or_else(|f| panic!("{f}")).subsystem).collect()
}

/// Header, and descriptor and data of every item: from a row of the table.
fn in_row(row: &str) -> Vec<u64> {
    let items = row.split('\t').nth(8).unwrap_or_default().split_whitespace();
    let places = items.flat_map(|item| {
        let (_, rest) = item.split_once('@').expect("name@place");
        rest.split('/').take(2).map(|n| n.parse().expect("an offset")).collect::<Vec<u64>>()
    });
    std::iter::once(0).chain(places).collect()
}

/// The numbers before the bars of a drawing.
fn in_drawing(text: &str) -> Vec<u64> {
    let number = |line: &str| line.split_once(" | ")?.0.trim_matches([' ', '~']).parse().ok();
    text.lines().filter_map(number).collect()
}

#[test]
fn offsets_are_those_of_the_table() {
    let mut routines = 0;
    for subsystem in interfaces() {
        let rows = layout_rows(&subsystem, Side::User);
        for routine in &subsystem.routines {
            let drawing = explain(routine);
            let own = rows.iter().filter(|row| row.split('\t').next() == Some(&routine.name));
            let expected: Vec<u64> = own.flat_map(|row| in_row(row)).collect();
            assert_eq!(in_drawing(&drawing), expected, "{}:\n{drawing}", routine.name);
            let wide = drawing.lines().find(|line| line.chars().count() > COLUMNS);
            assert_eq!(wide, None, "{}", routine.name);
            for argument in &routine.arguments {
                assert!(drawing.contains(&argument.name), "{}: {}", routine.name, argument.name);
            }
            routines += 1;
        }
    }
    assert!(routines > 700, "{routines}");
}
