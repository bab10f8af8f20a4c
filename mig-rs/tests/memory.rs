//! Emitting keeps nothing. Alone in its process, whose memory is measured.
#![cfg(target_os = "linux")]

/// Bytes of this process that are in memory.
fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("statm");
    statm.split(' ').nth(1).and_then(|pages| pages.parse().ok()).map_or(0, |pages: usize| pages * 4096)
}

/// A build script, or a tool that runs for long, may emit as often as it likes.
#[test]
fn emitting_keeps_nothing() {
    let defs = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../libhurd/defs");
    let options = mig_rs::Options { include: vec![defs.clone()], ..mig_rs::Options::default() };
    let compiled = mig_rs::compile(defs.join("io.defs"), &options).unwrap_or_else(|f| panic!("{f}"));
    let emit =
        || mig_rs::emit(&compiled.subsystem, "io.defs", &mig_rs::EmitOptions::default()).expect("Rust").len();
    let size = (0..5).map(|_| emit()).max().unwrap_or(0);
    let before = resident();
    let rounds = 30;
    (0..rounds).for_each(|_| assert_eq!(emit(), size));
    let grown = resident().saturating_sub(before);
    assert!(grown < rounds * size / 4, "{grown} bytes more after {rounds} outputs of {size} bytes");
}
