//! What `build.rs` gets is what is checked in elsewhere; and `codegen_workspace` writes, compares and tidies up.

use std::path::Path;

use mig_rs::{Builder, codegen_workspace};

const DEFS: &str = "subsystem small 900;\n#include \"small_types.defs\"\nroutine small_get (server : mach_port_t; out pair : pair_t);\n";
const TYPES: &str =
    "type mach_port_t = MACH_MSG_TYPE_COPY_SEND;\ntype pair_t = struct { int a; int64 b; };\n";

fn write(path: &Path, text: &str) {
    std::fs::create_dir_all(path.parent().expect("parent")).expect("directory");
    std::fs::write(path, text).expect("write");
}

#[test]
fn build_scripts_get_the_same_code() {
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/kinds");
    let out = tempfile::tempdir().expect("directory");
    let files = Builder::new().file(fixture.join("in.defs")).out_dir(out.path()).try_build().expect("build");
    assert_eq!(files, [out.path().join("in.rs")]);
    let expected = std::fs::read_to_string(fixture.join("expected.rs")).expect("expected");
    let found = std::fs::read_to_string(&files[0]).expect("output");
    // `include!` cannot take inner attributes and inner documentation.
    let inner = |line: &&str| !line.starts_with("#![") && !line.starts_with("//!");
    assert!(expected.lines().filter(inner).eq(found.lines()));
}

#[test]
fn build_scripts_get_diagnostics() {
    let out = tempfile::tempdir().expect("directory");
    let file = out.path().join("bad.defs");
    write(&file, "subsystem bad 1;\nroutine one (server : nothing_t);\n");
    let message = Builder::new().file(&file).out_dir(out.path()).try_build().expect_err("bad");
    assert!(message.contains("no type nothing_t") && message.contains("bad.defs:2"), "{message}");
}

#[test]
fn workspace_stubs_are_written_compared_and_tidied() {
    let root = tempfile::tempdir().expect("directory");
    let at = |name: &str| root.path().join(name);
    write(&at("libhurd/defs/small.defs"), DEFS);
    write(&at("libhurd/defs/small_types.defs"), TYPES);
    write(&at("libhurd/stubs/src/gone.rs"), "");
    assert!(codegen_workspace(root.path(), true).is_err());
    let done = codegen_workspace(root.path(), false).expect("codegen");
    assert_eq!((done.files.len(), done.changed.len()), (4, 5));
    assert!(!at("libhurd/stubs/src/gone.rs").exists());
    assert!(codegen_workspace(root.path(), true).expect("current").changed.is_empty());
    let stubs = std::fs::read_to_string(at("libhurd/stubs/src/small.rs")).expect("small.rs");
    assert!(stubs.contains("crate::types::Pair") && !stubs.contains("pub struct Pair"));
    // A struct that means two things cannot be shared.
    write(
        &at("libhurd/defs/other.defs"),
        "subsystem other 950;\ntype mach_port_t = MACH_MSG_TYPE_COPY_SEND;\ntype pair_t = struct { int a; };\n\
         routine other_get (server : mach_port_t; out pair : pair_t);\n",
    );
    let message = codegen_workspace(root.path(), false).expect_err("conflict");
    assert!(message.contains("pair_t"), "{message}");
}
