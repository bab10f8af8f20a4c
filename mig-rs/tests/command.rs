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
fn help_and_json_and_standard_input() {
    for command in ["gen", "check", "layout", "ids", "explain", "workspace"] {
        let out = run(&["help", command]);
        assert!(out.status.success() && text(&out.stdout).starts_with(&format!("mig-rs {command}")));
        assert_eq!(text(&run(&[command, "--help"]).stdout), text(&out.stdout));
    }
    assert!(text(&run(&["--help"]).stdout).contains("usage: mig-rs COMMAND"));
    let file = path("fixtures/kinds/in.defs");
    let json = text(&run(&["layout", "--json", &file]).stdout);
    assert!(json.starts_with("[{\"routine\": \"kinds_scalars\"") && json.ends_with("}]\n"), "{json}");
    assert!(json.contains("{\"name\": \"flag\", \"type_offset\": 32, \"data_offset\": 40, \"length\": 4"));
    assert!(
        text(&run(&["ids", "--json", &path("fixtures/null/in.defs")]).stdout).contains("\"reply_id\": null")
    );
    // What another preprocessor leaves: line markers, and nothing to expand.
    let mut child = Command::new(env!("CARGO_BIN_EXE_mig-rs"))
        .args(["ids", "-"])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .expect("mig-rs runs");
    let input = "# 1 \"a.defs\"\n# 1 \"<built-in>\" 1\nsubsystem a 10;\n# 7 \"a.defs\" 2\ntype p = MACH_MSG_TYPE_COPY_SEND;\nroutine r (s : p);\n";
    std::io::Write::write_all(&mut child.stdin.take().expect("input"), input.as_bytes()).expect("write");
    let out = child.wait_with_output().expect("output");
    assert_eq!(text(&out.stdout), "10\t110\troutine\tr\ts:p\n");
}

#[test]
fn kernel_sides_have_pointers_for_rights() {
    let directory = tempfile::tempdir().expect("directory");
    let file = directory.path().join("k.defs").display().to_string();
    std::fs::write(
        &file,
        "subsystem\n#if KERNEL_USER\nKernelUser\n#endif\n#if KERNEL_SERVER\nKernelServer\n#endif\nk 10;\n\
         type p = MACH_MSG_TYPE_COPY_SEND;\ntype ps = ^array[] of p;\nroutine r (s : p; a : ps; out b : p);\n",
    )
    .expect("write");
    let rows = |arguments: &[&str]| {
        let all: Vec<&str> =
            ["layout", "--side", "server"].iter().chain(arguments).copied().chain([file.as_str()]).collect();
        text(&run(&all).stdout)
    };
    let plain = rows(&[]);
    assert!(
        plain.contains("a@32/40/8/19:32:0:OOL:long") && plain.contains("b@48/56/8/19:64:1:in"),
        "{plain}"
    );
    let server = rows(&["--kernel-server"]);
    assert!(
        server.contains("a@32/40/8/19:64:0:OOL:long") && server.contains("b@48/56/8/17:64:1:in"),
        "{server}"
    );
    let user = rows(&["--kernel-user"]);
    assert!(user.contains("a@32/40/8/19:64:0:OOL:long") && user.contains("b@48/56/8/19:64:1:in"), "{user}");
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

/// What the Hurd's build passes for its directories, and what GNU Mach's `.srv` and `.cli` files do.
#[test]
fn flags_as_the_hurd_has_them() {
    let directory = tempfile::tempdir().expect("directory");
    let at = |name: &str| directory.path().join(name).display().to_string();
    let write = |name: &str, text: &str| std::fs::write(at(name), text).expect("write");
    write(
        "fs.defs",
        "subsystem\n#ifdef KERNEL_SERVER\nKernelServer\n#endif\nfs 100;\n\
         type p = MACH_MSG_TYPE_COPY_SEND;\ntype once = MACH_MSG_TYPE_MAKE_SEND_ONCE;\ntype data = array[] of char;\n\
         #ifdef FILE_IMPORTS\nFILE_IMPORTS\n#endif\n#ifdef MSG_IMPORTS\nMSG_IMPORTS\n#endif\n\
         #ifdef USERPREFIX\nuserprefix USERPREFIX;\n#endif\n#ifdef SERVERPREFIX\nserverprefix SERVERPREFIX;\n#endif\n\
         type file_t = p\n#ifdef FILE_INTRAN\nintran: FILE_INTRAN\n#endif\n;\n#ifndef SCP\n#define SCP\n#endif\n\
         routine file_get (\n#ifdef SEQNOS\nmsgseqno seqno : int;\n#endif\nfile : file_t;\n\
         #ifdef REPLY_PORTS\nsreplyport reply : once;\n#endif\nbytes : data SCP; out size : int);\n",
    );
    write(
        "mutations.h",
        "#define FILE_INTRAN peropen_t begin_using (p)\n#define FILE_IMPORTS import \"priv.h\";\n#define SCP ,servercopy\nleft out;\n",
    );
    write(
        "ourmsg.defs",
        "#define routine simpleroutine\n#define out in\n#define USERPREFIX nowait_\n#include \"fs.defs\"\n",
    );
    write(
        "fs.srv",
        "#define KERNEL_SERVER 1\n#define SEQNOS 1\n#define file_get kernel_file_get\n#include \"fs.defs\"\n",
    );
    let ids = |arguments: &[&str]| {
        let out = run(arguments);
        assert!(out.status.success(), "{arguments:?}: {}", text(&out.stderr));
        text(&out.stdout)
    };
    let plain = "100\t200\troutine\tfile_get\tfile:file_t; bytes:data; out size:int\n";
    assert_eq!(ids(&["ids", &at("fs.defs")]), plain);
    assert_eq!(
        ids(&["ids", "-imacros", &at("mutations.h"), "-DREPLY_PORTS", "-DSEQNOS", &at("fs.defs")]),
        "100\t200\troutine\tfile_get\tmsgseqno seqno:int; file:file_t; sreplyport reply:once; bytes:data, servercopy; out size:int\n"
    );
    assert_eq!(
        ids(&["ids", &at("ourmsg.defs")]),
        "100\t-\tsimpleroutine\tfile_get\tfile:file_t; bytes:data; in size:int\n"
    );
    assert!(ids(&["gen", &at("ourmsg.defs")]).contains("pub fn nowait_file_get<"));
    let code = ids(&[
        "gen",
        "-DMSG_IMPORTS=waittime 1000;",
        "-DUSERPREFIX=ps_",
        "-DSERVERPREFIX=S_",
        "-subrprefix",
        "__",
        "-prefix",
        "diskfs_",
        &at("fs.defs"),
    ]);
    assert!(
        code.contains("pub fn diskfs_ps_file_get<")
            && code.contains("fn diskfs_S_file_get(")
            && code.contains("1000"),
        "{code}"
    );
    let code = ids(&[
        "gen",
        "--translate",
        "--import",
        "priv.h=crate::private::*",
        "-imacros",
        &at("mutations.h"),
        &at("fs.defs"),
    ]);
    assert!(code.contains("fn begin_using(") && code.contains("use crate::private::*;"), "{code}");
    let kernel = ids(&["layout", "--side", "server", &at("fs.srv")]);
    assert!(kernel.starts_with("kernel_file_get\tRoutine\t100\t200\treq"), "{kernel}");
    assert_eq!(
        kernel,
        ids(&[
            "layout",
            "--side",
            "server",
            "-D",
            "SEQNOS=1",
            "-D",
            "file_get=kernel_file_get",
            "--kernel-server",
            &at("fs.defs")
        ])
    );
    // The order of -D and -U counts, and -D can have parameters.
    assert_eq!(ids(&["ids", "-DSEQNOS", "-USEQNOS", &at("fs.defs")]), plain);
    assert_ne!(ids(&["ids", "-USEQNOS", "-DSEQNOS", &at("fs.defs")]), plain);
    assert_eq!(ids(&["ids", "-D", "SCP=F(1)", "-D", "F(x)=", &at("fs.defs")]).len(), plain.len());
    // In a build script.
    let out = at("out");
    std::fs::create_dir(&out).expect("directory");
    let builder = mig_rs::Builder::new()
        .imacros(at("mutations.h"))
        .define("USERPREFIX", Some("ps_"))
        .define("SEQNOS", None);
    let files = builder.undefine("SEQNOS").file(at("fs.defs")).out_dir(&out).try_build().expect("build");
    let built = std::fs::read_to_string(&files[0]).expect("output");
    let command = ids(&["gen", "-imacros", &at("mutations.h"), "-DUSERPREFIX=ps_", &at("fs.defs")]);
    let code = |text: &str| {
        text.lines().filter(|l| !l.starts_with("#![") && !l.starts_with("//!")).collect::<Vec<_>>().join("\n")
    };
    assert_eq!(code(&built), code(&command));
}

#[test]
fn explain_has_objects_too_and_others_have_not() {
    let file = path("fixtures/null/in.defs");
    let out = text(&run(&["explain", "--json", "null_ping", &file]).stdout);
    assert!(out.starts_with("[{\"routine\": \"null_ping\"") && out.matches("\"part\"").count() == 2, "{out}");
    let out = run(&["gen", "--json", &file]);
    assert!(!out.status.success() && text(&out.stderr).contains("--json is for"));
}

/// What cannot be written, or would be written over, is not a success; and `check` finds what `gen` would.
#[test]
fn outputs_that_cannot_be() {
    let folder = std::env::temp_dir().join(format!("mig-rs-outputs-{}", std::process::id()));
    let (a, b) = (folder.join("a"), folder.join("b"));
    let head = "subsystem x 10;\ntype p = MACH_MSG_TYPE_COPY_SEND;\n";
    for place in [&a, &b] {
        std::fs::create_dir_all(place).expect("a folder");
        std::fs::write(place.join("x.defs"), format!("{head}routine r (s : p);\n")).expect("a file");
    }
    let clash = folder.join("clash.defs");
    std::fs::write(&clash, format!("{head}routine one (s : p);\nroutine ONE (s : p);\n")).expect("a file");
    let path = |path: &std::path::Path| path.display().to_string();
    let (out, first, second) = (path(&folder), path(&a.join("x.defs")), path(&b.join("x.defs")));
    let twice = run(&["gen", "-o", &out, &first, &second]);
    assert!(
        !twice.status.success() && text(&twice.stderr).contains("two folders"),
        "{}",
        text(&twice.stderr)
    );
    assert!(!folder.join("x.rs").exists());
    assert!(run(&["gen", "-o", &out, &first]).status.success());
    let checked = run(&["check", &path(&clash)]);
    assert!(!checked.status.success() && text(&checked.stderr).contains("twice in Rust"));
    if let Ok(full) = std::fs::OpenOptions::new().write(true).open("/dev/full") {
        let mut command = Command::new(env!("CARGO_BIN_EXE_mig-rs"));
        let status = command.args(["gen", &first]).stdout(full).stderr(std::process::Stdio::null()).status();
        assert!(!status.expect("mig-rs runs").success());
    }
    std::fs::remove_dir_all(&folder).expect("the folder can be removed");
}
