//! `fixtures/CASE/in.defs` gives `fixtures/CASE/expected.rs`; that it compiles and works is in `generated.rs`.
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

/// What `options` beside a fixture says: `translate`, `kernel_port PATH`, `prefix NAME`, `import FILE PATH`, `type NAME PATH`.
fn options(case: &Path) -> EmitOptions {
    let mut options = EmitOptions::default();
    for line in std::fs::read_to_string(case.join("options")).unwrap_or_default().lines() {
        match *line.split(' ').collect::<Vec<_>>() {
            ["translate"] => options.translate = true,
            ["kernel_port", path] => options.kernel_port = Some(path.into()),
            ["prefix", name] => options.prefix = name.into(),
            ["import", file, path] => _ = options.imports.insert(file.into(), path.into()),
            ["type", name, path] => _ = options.rust_types.insert(name.into(), path.into()),
            _ => panic!("{line}"),
        }
    }
    options
}

#[test]
fn generated_code_is_as_expected() {
    let mut cases = 0;
    for entry in std::fs::read_dir(directory("fixtures")).expect("fixtures") {
        let case = entry.expect("entry").path();
        let compiled = compile(case.join("in.defs"), &Options::default()).unwrap_or_else(|f| panic!("{f}"));
        assert!(compiled.warnings.is_empty());
        let text = emit(&compiled.subsystem, "in.defs", &options(&case)).expect("Rust");
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
            Err(failure) => {
                // Whatever is wrong, there is a way to mend it.
                let helpless = failure.diagnostics.iter().filter(|d| d.help.is_none());
                let helpless: Vec<&str> = helpless.map(|d| d.message.as_str()).collect();
                assert!(helpless.iter().all(|said| said.ends_with("not shown")), "{helpless:?}");
                format!("{failure}\n")
            }
        };
        let text = text.replace(&format!("{}/", directory("ui").display()), "");
        expect(&path.with_extension("stderr"), &text);
        cases += 1;
    }
    assert!(cases >= 12);
}

/// Names that differ in C and are one in Rust are said, not left to the compiler of the output.
#[test]
fn names_that_become_one_are_refused() {
    const HEAD: &str = "subsystem one 10; type port_t = MACH_MSG_TYPE_COPY_SEND; type text_t = c_string[8];";
    for (definitions, name) in [
        (
            "type a_b = struct { int x; }; type a_b_t = struct { int y; }; routine f (p : port_t; i : a_b; j : a_b_t);",
            "AB",
        ),
        ("routine a_b (p : port_t; out i : int); routine aB (p : port_t; out i : int);", "ABReply"),
        ("type a_reply_t = struct { int x; }; routine a (p : port_t; i : a_reply_t; out o : int);", "AReply"),
        ("routine F (p : port_t); routine f (p : port_t);", "F"),
        ("routine f (p : port_t; match : int; match_ : int);", "match_"),
    ] {
        let text = format!("{HEAD}\n{definitions}");
        let compiled =
            mig_rs::compile_text("one.defs", &text, &Options::default()).unwrap_or_else(|f| panic!("{f}"));
        let refused = emit(&compiled.subsystem, "one.defs", &EmitOptions::default()).unwrap_err();
        let refused = refused.render(&compiled.sources);
        assert!(refused.contains(&format!("`{name}`")), "{definitions}: {refused}");
    }
}
