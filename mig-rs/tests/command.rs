//! The command as a person uses it.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn run(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_mig-rs")).args(arguments).output().expect("mig-rs runs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn path(name: &str) -> String {
    let path: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(name);
    path.display().to_string()
}

#[test]
fn layout_and_ids_print_rows() {
    let file = path("fixtures/null/in.defs");
    let out = run(&["layout", "--side", "server", &file]);
    assert!(out.status.success());
    assert_eq!(
        text(&out.stdout),
        "null_ping\tRoutine\t500\t600\treq\tfixed\t32\t32\t\n\
         null_ping\tRoutine\t500\t600\trep\tfixed\t48\t48\tRetCode@32/40/4/2:32:1:in\n\
         null_poke\tSimpleRoutine\t502\t0\treq\tfixed\t32\t32\t\n"
    );
    let out = run(&["ids", &file]);
    assert_eq!(
        text(&out.stdout),
        "500\t600\troutine\tnull_ping\tserver:mach_port_t\n502\t-\tsimpleroutine\tnull_poke\tserver:mach_port_t\n"
    );
}

#[test]
fn explain_draws_one_routine() {
    let file = path("fixtures/kinds/in.defs");
    let out = text(&run(&["explain", "kinds_strings", &file]).stdout);
    assert!(
        out.contains("request, id 601") && out.contains("reply, id 701") && out.contains("short_label"),
        "{out}"
    );
    let out = run(&["explain", "kinds_nothing", &file]);
    assert!(!out.status.success() && text(&out.stderr).contains("mig-rs ids"));
}

#[test]
fn preprocessor_options() {
    let directory = tempfile::tempdir().expect("directory");
    let at = |name: &str| directory.path().join(name).display().to_string();
    std::fs::create_dir(directory.path().join("include")).expect("directory");
    std::fs::write(at("include/types.defs"), "type mach_port_t = MACH_MSG_TYPE_COPY_SEND;\n").expect("write");
    std::fs::write(at("macros.h"), "#define WORD(x) x : int\nignored here\n").expect("write");
    std::fs::write(
        at("a.defs"),
        "subsystem a BASE;\n#include <types.defs>\n#ifdef __LP64__\nskip;\n#endif\nroutine one (server : mach_port_t; WORD(value));\n",
    )
    .expect("write");
    let include = format!("-I{}", at("include"));
    let all = ["ids", &include, "-D", "BASE=10", "-imacros", &at("macros.h"), &at("a.defs")];
    assert_eq!(text(&run(&all).stdout), "11\t111\troutine\tone\tserver:mach_port_t; value:int\n");
    let without: Vec<&str> = all.iter().copied().chain(["-U__LP64__"]).collect();
    assert!(text(&run(&without).stdout).starts_with("10\t"));
    let failed = run(&["check", &at("a.defs")]);
    assert!(!failed.status.success() && text(&failed.stderr).contains("cannot find types.defs"));
}

#[test]
fn mistakes_of_the_user_are_explained() {
    for arguments in [
        &[][..],
        &["frobnicate"],
        &["gen"],
        &["gen", "-Q"],
        &["layout", "--side", "left"],
        &["gen", "/no/such.defs"],
    ] {
        let out = run(arguments);
        assert!(!out.status.success() && !out.stderr.is_empty(), "{arguments:?}");
    }
}
