//! mig-rs reads a file itself as it reads what `gcc -E` makes of it: the same ids, arguments and layouts, or both refuse it.
//!
//! The other way, a message about text that went through `gcc -E` names the same place as one about the file itself.

use std::path::Path;
use std::process::{Command, Stdio};

use mig_rs::{Options, Side, compile, compile_text, id_rows, layout_rows};

const HEAD: &str = "subsystem s 100;\ntype p = MACH_MSG_TYPE_COPY_SEND;\ntype e0 = int;\n";
const TAIL: &str = "\nroutine r (a : p);\n";

/// Expressions of `#if` that gcc has a value for, and some that it has none for.
const CONDITIONS: &[&str] = &[
    "-1 > 0u",
    "-1 > 0",
    "0 && 1/0",
    "1 || 1/0",
    "1 ? 2 : 1/0",
    "0x7fffffffffffffff + 1 < 0",
    "0xffffffffffffffff == -1",
    "1 << 63 < 0",
    "-8 >> 1 == -4",
    "-8u >> 1 == -4",
    "010 == 8",
    "!defined X",
    "defined(X) || defined Y",
    "(2+3)*4 == 20",
    "1 ? 0 : 1 ? 1 : 0",
    "UNKNOWN",
    "defined __x86_64__",
    "5 % 3 == 2",
    "-5 / 2 == -2",
    "-5 % 3 == -2",
    "~0 == -1",
    "1 == 1 != 0",
    "3 & 1 | 4 ^ 4",
    "1 < 2 < 3",
    "- - 1",
    "!-1",
    "\"a\"",
    "1.0",
    "0x",
    "1 +",
    "(1",
    "1)",
    "",
    "1 2",
    "defined",
    "defined(",
    "defined(X",
    "defined 3",
    "1/0",
    "1%0",
    "2147483648 > 0",
    "1ull",
    "1uu",
    "+1",
    "true",
    "__LINE__ == 4",
    "defined __FILE__",
    "0b101 == 5",
    "1 ? 2",
    "X(1)",
    "(-9223372036854775807-1)/-1 < 0",
    "1 << 64",
    "1 << -1",
    "1 >> 100",
];

/// Texts between [`HEAD`] and [`TAIL`].
const TEXTS: &[&str] = &[
    "#define F(a,b) skip a b\nF(,3);\nF(2,);",
    "#define F() skip 4\nF();F( );",
    "#define F(x) skip x\nF();",
    "#define C(a,b) a##b\nC(sk,ip) C(,3);skip C(4,);C(s,kip);",
    "#define C(a,b,c) a##b##c\nC(s,k,ip) C(1,,2);",
    "#define C(a) skip a##4\nC();C(2);",
    "#define S(x) rcsid #x\nS(a  b  +c \"q\\n\");",
    "#define V(...) __VA_ARGS__\nV(skip 1;skip 2);",
    "#define V(a,r...) a r\nV(skip, 3);V(skip);",
    "#define V(a,...) routine r2(a ,##__VA_ARGS__)\n#define W(a,...) __VA_ARGS__\nW(1,skip);",
    "#define f(x) x\n#define g f\ng(skip) 2;f(f(f(skip)));",
    "#define skip skip\nskip;\n#define a b\n#define b a\nrcsid \"x\";",
    "#define F(x) skip x\n#define G F\nG (3);F\n(2);",
    "#define X /* multi\nline */ skip 3\nX;",
    "#define X skip \\\n 3\nX;",
    "// foo \\\nskip 100;\nskip 3;",
    "/* x \\\n */ skip 3;",
    "rcsid \"/* no */ // x\";skip 2;",
    "#define X 3\r\n#if X == 3\r\nskip X;\r\n#endif\r",
    "#\n # \nskip 2;",
    "#pragma foo bar\n#ident \"x\"\nskip;",
    "#define F \"inc.h\"\n#include F\n#define G <inc.h>\n#include G",
    "#define P(x) <x.h>\n#include P(inc)",
    "#include <next.h>",
    "#include \"once.h\"\n#include \"once.h\"",
    "#include <sub//inc.h>",
    "#if 1\nskip;\n#elif )(*&\nskip 9;\n#endif",
    "#if 0\n#elif 1\nskip 4;\n#elif 1\nskip 9;\n#else\nskip 7;\n#endif",
    "#if 0\n#bogus\n#if )(\n#endif\n'\"\n#else\nskip 2;\n#endif",
    "#ifdef NO\n#if 1\nskip 9;\n#else\nskip 8;\n#endif\n#else\nskip 2;\n#endif",
    "#define X 3\n#undef X\n#ifdef X\nskip 9;\n#endif\nskip 2;",
    "#define X 3\n#define X 4\nskip X;",
    "#define F(a,b) skip a;skip b\nF(1,\n2);",
    "#define F(a) routine q a\nF((a:p; b:e0, islong));",
    "#define H defined(__x86_64__)\n#if H\nskip 5;\n#endif",
    "#define A B\n#define B 3\nskip A;\n#undef B\n#define B 4\nskip A;",
    "rcsid __FILE__;skip __LINE__;",
    "#line 100 \"foo.defs\"\nskip __LINE__;\nrcsid __FILE__;",
    "#define MAX(a,b) ((a)>(b)?(a):(b))\n#if MAX(3,4)==4\nskip 3;\n#endif",
    "#ifdef X junk\n#else junk\nskip;\n#endif junk",
    "#define N(a) skip 1##a\nN(2);",
    "#warning hm",
    // What the Hurd does.
    "#define routine simpleroutine\n#define out\nroutine q (a : p; out x : int);",
    "#define IMPORTS import \"x.h\"; waittime 1000;\nIMPORTS\nIMPORTS",
    "#define SCP ,servercopy\ntype d = array[] of char;\nroutine q (a : p; x : d SCP);",
    "#define FILE_INTRAN intran: s_t begin (p) intranpayload: s_t payload\ntype f_t = p\n#ifdef FILE_INTRAN\nFILE_INTRAN\n#endif\n;\nroutine q (f : f_t);",
    "#define memory_object_init q\nroutine memory_object_init (a : p);",
    // Mistakes.
    "#if 1\nskip;",
    "#if 1\nskip;\n#else",
    "#endif",
    "#error no good",
    "#bogus",
    "#if 1\n#else\n#else\n#endif",
    "#if 0\n#else\n#elif 1\n#endif",
    "/* open",
    "#define F(a,b) a b\nF(skip);",
    "#define F(a) a\nF(skip,1);",
    "#define F(a) a\nF(skip",
    "#define F(1) x\nskip;",
    "#define F(a,a) x\nskip;",
    "#define F(a,) x\nskip;",
    "#define F(a x\nskip;",
    "#include \"open.h\"\nskip 3;\n#endif",
    "#include <not_there.h>",
    "#include",
    "#define",
    "#undef 3",
];

/// Folder, name, text.
const FILES: &[(&str, &str, &str)] = &[
    (".", "inc.h", "skip 6;\n"),
    (".", "open.h", "#if 1\nskip 1;\n"),
    (".", "once.h", "#pragma once\nskip 4;\n"),
    ("a", "next.h", "skip 2;\n#include_next <next.h>\n"),
    ("b", "next.h", "skip 5;\n"),
    ("b", "inc.h", "skip 7;\n"),
    ("b/sub", "inc.h", "skip 8;\n"),
];

/// All tables of an interface, or what is wrong.
fn tables(compiled: Result<mig_rs::Compiled, Box<mig_rs::source::Failure>>) -> Result<String, String> {
    let subsystem = compiled.map_err(|failure| failure.to_string())?.subsystem;
    let mut rows = id_rows(&subsystem);
    rows.extend(layout_rows(&subsystem, Side::User));
    rows.extend(layout_rows(&subsystem, Side::Server));
    rows.push(format!("{:?} {:?}", subsystem.rcsid, subsystem.imports));
    rows.extend(subsystem.routines.iter().map(|r| format!("{:?}", r.wait_time.as_ref().map(|w| &w.text))));
    Ok(rows.join("\n"))
}

fn gcc(folder: &Path, file: &str) -> Result<String, String> {
    let output = Command::new("gcc")
        .args(["-E", "-x", "c", "-undef", "-nostdinc", "-D__x86_64__", "-I", "a", "-I", "b", file])
        .current_dir(folder)
        .stdin(Stdio::null())
        .output()
        .expect("gcc runs");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
}

fn folder(name: &str) -> std::path::PathBuf {
    let root = Path::new(env!("CARGO_TARGET_TMPDIR")).join("preprocessor").join(name);
    std::fs::create_dir_all(&root).expect("folder");
    for (folder, name, text) in FILES {
        std::fs::create_dir_all(root.join(folder)).expect("folder");
        std::fs::write(root.join(folder).join(name), text).expect("write");
    }
    root
}

#[test]
fn files_read_directly_are_as_after_gcc() {
    let root = folder("direct");
    let options = Options { include: vec![root.join("a"), root.join("b")], ..Options::default() };
    let conditions = CONDITIONS.iter().map(|c| format!("#if {c}\nskip 1;\n#else\nskip 2;\n#endif"));
    let texts: Vec<String> = conditions.chain(TEXTS.iter().map(|t| (*t).to_owned())).collect();
    let (mut equal, mut refused, mut wrong) = (0, 0, Vec::new());
    for text in texts {
        std::fs::write(root.join("x.defs"), format!("{HEAD}{text}{TAIL}")).expect("write");
        let ours = tables(compile(root.join("x.defs"), &options));
        // Paths are as they were given, so those of one reading are made like those of the other.
        let ours = ours.map(|rows| rows.replace(&format!("{}/", root.display()), ""));
        let theirs =
            gcc(&root, "x.defs").and_then(|text| tables(compile_text("-", &text, &Options::default())));
        match (ours, theirs) {
            (Ok(ours), Ok(theirs)) if ours == theirs => equal += 1,
            (Err(_), Err(_)) => refused += 1,
            (ours, theirs) => wrong.push(format!("{text}\n  ours {ours:?}\n  gcc  {theirs:?}")),
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), equal + refused, wrong.join("\n"));
    assert!(equal > 70 && refused > 30, "{equal} equal, {refused} refused");
}

#[test]
fn line_markers_lead_to_the_file() {
    let root = folder("markers");
    let text = "#include \"types.h\"\n\n\n\nroutine one (server : p; a : nothing_t);\n#include \"more.h\"\nroutine four (server : p; a : nothing_t);\n";
    let files = [
        ("x.defs", text),
        (
            "types.h",
            "subsystem s 100;\n\n\n\n\n\n\n\n\n\ntype p = MACH_MSG_TYPE_COPY_SEND;\ntype wrong_t = gone_t;\n",
        ),
        ("more.h", "/* Two\n   lines. */\n#include <deep.h>\nroutine three (server : p; a : nothing_t);\n"),
        ("a/deep.h", "routine two (server : p;\n a : nothing_t);\n"),
    ];
    for (name, text) in files {
        std::fs::write(root.join(name), text).expect("write");
    }
    let options = Options { include: vec![root.join("a")], ..Options::default() };
    let direct = compile(root.join("x.defs"), &options).expect_err("unknown types").to_string();
    let direct = direct.replace(&format!("{}/", root.display()), "");
    let preprocessed = gcc(&root, "x.defs").expect("gcc reads it");
    let marked =
        compile_text("-", &preprocessed, &Options::default()).expect_err("unknown types").to_string();
    assert_eq!(direct, marked);
    for place in
        ["x.defs:5:", "x.defs:7:", "types.h:12:", "more.h:4:", "a/deep.h:2:", "included from more.h:3"]
    {
        assert!(direct.contains(place), "{place}:\n{direct}");
    }
}
