//! Whatever is read, it ends soon: what grows without end, or is deeper or larger than any interface, is said to be so.

use std::time::{Duration, Instant};

use mig_rs::{Options, compile, compile_text};

const HEAD: &str = "subsystem s 100;\ntype p = MACH_MSG_TYPE_COPY_SEND;\n";
/// Far more than any of these takes, far less than what has no end.
const PATIENCE: Duration = Duration::from_secs(20);

/// `n` pieces, each made from its number.
fn many(n: usize, piece: impl Fn(usize) -> String) -> String {
    (0..n).map(piece).collect()
}

/// A text and what must be said of it; nothing: it is accepted.
fn cases() -> Vec<(&'static str, String, &'static str)> {
    let head = |text: String| format!("{HEAD}{text}\nroutine r (a : p);\n");
    let nested = |open: &str, n: usize, middle: &str, close: &str| {
        format!("{}{middle}{}", open.repeat(n), close.repeat(n))
    };
    vec![
        (
            "macros that double",
            head(format!("#define a0 x x\n{}a39", many(40, |i| format!("#define a{} a{i} a{i}\n", i + 1)))),
            "tokens after expansion",
        ),
        (
            "a chain of macros",
            head(format!(
                "#define a0 skip\n{}a20000;",
                many(20_000, |i| format!("#define a{} a{i}\n", i + 1))
            )),
            "stand for each other more than",
        ),
        (
            "arguments in arguments",
            head(format!("#define f(x) x\n{};", nested("f(", 20_000, "skip", ")"))),
            "brackets in its arguments",
        ),
        (
            "arguments that double",
            head(format!("#define f(x) x x\n{}", nested("f(", 60, "skip;", ")"))),
            "tokens after expansion",
        ),
        (
            "arguments that vanish",
            head(format!("#define f(x)\n#define g(x) f(x x) f(x x)\n{}", nested("g(", 60, "skip;", ")"))),
            "tokens after expansion",
        ),
        (
            "long words",
            head(format!("#define s(x) #x\n#define t(x) s(x x x x)\nrcsid {};", nested("t(", 30, "q", ")"))),
            "a word of more than",
        ),
        ("much text", head("skip;".repeat(200_000)), "tokens after expansion"),
        ("#if in #if", head("#if 1\n".repeat(1000)), "#if nested deeper"),
        (
            "brackets in #if",
            head(format!("#if {}\n#endif", nested("(", 20_000, "1", ")"))),
            "nested too deeply",
        ),
        (
            "brackets in a number",
            head(format!("type t = array[{}] of int;", nested("(", 20_000, "1", ")"))),
            "nested deeper than",
        ),
        (
            "arrays in an array",
            head(format!("type t = {} int;", "array[2] of ".repeat(1000))),
            "nested deeper than",
        ),
        (
            "arrays of arrays",
            head(format!("type t0 = int;{}", many(2000, |i| format!("type t{} = array[1] of t{i};", i + 1)))),
            "arrays of arrays",
        ),
        (
            "arrays that double",
            head(format!("type t0 = int;{}", many(30, |i| format!("type t{} = array[2] of t{i};", i + 1)))),
            "bytes of a message",
        ),
        (
            "structs in structs",
            head(format!(
                "type t0 = struct {{ int a; }};{}",
                many(2000, |i| format!("type t{} = struct {{ t{i} a; }};", i + 1))
            )),
            "structs in structs",
        ),
        ("a huge array", head("type t = array[4294967295] of int64;".into()), "bytes of a message"),
        (
            "a huge number",
            head("type t = array[4294967295*4294967295*4294967295] of int;".into()),
            "overflows",
        ),
        (
            "many fields",
            head(format!("type t = struct {{ {} }};", many(70_000, |i| format!("int f{i};")))),
            "more than 4096 fields",
        ),
        (
            "many arguments",
            head(format!("routine q (a : p{});", many(50_000, |i| format!("; b{i} : int")))),
            "more than 1000 arguments",
        ),
        (
            "many routines",
            head(many(20_000, |i| format!("routine q{i} (a : p);\n"))),
            "more than 2000 routines",
        ),
        (
            "many unknown types",
            head(format!(
                "{}{}",
                many(30_000, |i| format!("type t{i} = int;")),
                many(5_000, |i| format!("type u{i} = tt{i};"))
            )),
            "more findings are not shown",
        ),
        ("a great skip", head("skip 4294967295;".into()), "does not fit in 32 bits"),
        ("a long line", head(format!("{}routine q (a : p; b : zzz);", " ".repeat(1 << 20))), "no type zzz"),
        ("a long name", head(format!("type {} = zzz;", "x".repeat(1 << 20))), "no type zzz"),
        ("many line markers", head(many(100_000, |i| format!("# {i} \"f{i}.h\" 1\n"))), ""),
        ("many macros", head(many(100_000, |i| format!("#define m{i} {i}\n"))), ""),
        ("many comments", head("/* x */".repeat(200_000)), ""),
    ]
}

#[test]
fn everything_ends_soon_and_with_a_reason() {
    for (name, text, reason) in cases() {
        let start = Instant::now();
        match compile_text("bomb.defs", &text, &Options::default()) {
            Ok(_) => assert_eq!(reason, "", "{name}: accepted"),
            Err(failure) => {
                let said = failure.to_string();
                assert!(
                    !reason.is_empty() && said.contains(reason),
                    "{name}: {}",
                    said.get(..2000).unwrap_or(&said)
                );
                assert!(said.len() < 100_000, "{name}: {} bytes of findings", said.len());
            }
        }
        assert!(start.elapsed() < PATIENCE, "{name} took {:?}", start.elapsed());
    }
}

/// Every file includes the next one twice: 2^40 of them.
#[test]
fn a_tree_of_includes_is_cut() {
    let directory = tempfile::tempdir().expect("directory");
    let write = |name: String, text: &str| {
        std::fs::write(directory.path().join(name), text).expect("write");
    };
    for i in 0..40 {
        write(format!("t{i}.defs"), &format!("#include \"t{0}.defs\"\n#include \"t{0}.defs\"\n", i + 1));
    }
    write("t40.defs".into(), "");
    let start = Instant::now();
    let said =
        compile(directory.path().join("t0.defs"), &Options::default()).expect_err("a tree").to_string();
    assert!(said.contains("more than 2000 files") && said.contains("guard the files"), "{said}");
    // Nothing is said of what was not read.
    assert_eq!(said.matches("error: ").count(), 1, "{said}");
    // The same with a few large files.
    write("large.defs".into(), &format!("/*{}*/", "x".repeat(1 << 20)));
    write("many.defs".into(), &"#include \"large.defs\"\n".repeat(100));
    let said =
        compile(directory.path().join("many.defs"), &Options::default()).expect_err("text").to_string();
    assert!(said.contains("more than 16 MiB in all"), "{said}");
    assert!(start.elapsed() < PATIENCE);
}
