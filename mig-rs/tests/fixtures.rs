//! `fixtures/CASE/in.defs` gives `fixtures/CASE/expected.rs`, and that compiles and works: see the end.
//!
//! `MIG_RS_BLESS=1 cargo test -p mig-rs` rewrites the expected files.

use std::path::{Path, PathBuf};

use mig_rs::{EmitOptions, Options, compile, emit};

fn directory(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(name)
}

/// Compares with a file, or writes it.
fn expect(path: &Path, found: &str) {
    if std::env::var_os("MIG_RS_BLESS").is_some() {
        std::fs::write(path, found).expect("write");
        return;
    }
    let expected = std::fs::read_to_string(path).unwrap_or_default();
    assert!(expected == found, "{} differs; found:\n{found}", path.display());
}

#[test]
fn generated_code_is_as_expected() {
    let mut cases = 0;
    for entry in std::fs::read_dir(directory("fixtures")).expect("fixtures") {
        let case = entry.expect("entry").path();
        let compiled = compile(case.join("in.defs"), &Options::default()).unwrap_or_else(|f| panic!("{f}"));
        assert!(compiled.warnings.is_empty());
        let text = emit(&compiled.subsystem, "in.defs", &EmitOptions::default()).expect("Rust");
        expect(&case.join("expected.rs"), &text);
        cases += 1;
    }
    assert!(cases >= 3);
}

#[test]
fn diagnostics_are_as_expected() {
    let mut cases = 0;
    for entry in std::fs::read_dir(directory("ui")).expect("ui") {
        let path = entry.expect("entry").path();
        if path.extension().is_none_or(|e| e != "defs") {
            continue;
        }
        let options = Options { include: vec![directory("ui/include")], ..Options::default() };
        let text = match compile(&path, &options) {
            Ok(compiled) => {
                assert!(!compiled.warnings.is_empty(), "{} compiles without a word", path.display());
                compiled.warnings.iter().map(|w| w.render(&compiled.sources) + "\n").collect()
            }
            Err(failure) => format!("{failure}\n"),
        };
        let text = text.replace(&format!("{}/", directory("ui").display()), "");
        expect(&path.with_extension("stderr"), &text);
        cases += 1;
    }
    assert!(cases >= 12);
}

#[allow(dead_code, reason = "not every stub is tried")]
#[rustfmt::skip]
#[path = "fixtures/kinds/expected.rs"]
mod kinds;
#[allow(dead_code, reason = "not every stub is tried")]
#[rustfmt::skip]
#[path = "fixtures/macros/expected.rs"]
mod macros;
#[allow(dead_code, reason = "not every stub is tried")]
#[rustfmt::skip]
#[path = "fixtures/null/expected.rs"]
mod null;

/// Generated code can be used: a server by hand, its request by hand.
#[test]
fn generated_code_serves() {
    use mig_runtime::{Outcome, Request};
    struct Server;
    impl null::NullServer for Server {
        fn null_ping(&mut self, _: &Request<'_>) -> Result<(), i32> {
            Ok(())
        }
    }
    let mut request = [0u8; 32];
    request[4] = 32;
    request[28..].copy_from_slice(&null::id::NULL_PING.to_le_bytes());
    let mut reply = [0u8; 64];
    assert_eq!(null::dispatch(&mut Server, &request, &mut reply), Outcome::Reply(48));
    assert_eq!((&reply[28..32], reply[40]), (&600i32.to_le_bytes()[..], 0));
    request[28..].copy_from_slice(&502i32.to_le_bytes());
    assert_eq!(null::dispatch(&mut Server, &request, &mut reply), Outcome::NoReply);
    request[28..].copy_from_slice(&501i32.to_le_bytes());
    assert_eq!(null::dispatch(&mut Server, &request, &mut reply), Outcome::NotMine);
    assert_eq!((kinds::BASE, macros::id::MACROS_TWO), (600, 104));
}
