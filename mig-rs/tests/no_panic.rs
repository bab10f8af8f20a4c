//! Damaged input of every sort ends in diagnostics, never in a panic or a hang.

use std::path::Path;

use mig_rs::{EmitOptions, Options, compile_text, emit, id_rows, layout_rows};

/// A small generator of numbers, so that every run sees the same input.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) as usize) % n.max(1)
    }
}

fn run(text: &str, options: &Options) {
    match compile_text("damaged.defs", text, options) {
        Ok(compiled) => {
            let _ = id_rows(&compiled.subsystem);
            let _ = layout_rows(&compiled.subsystem, mig_rs::Side::User);
            // The output may fail to be Rust (two names that differ only in case), but must not panic.
            let _ = emit(&compiled.subsystem, "damaged.defs", &EmitOptions::default());
        }
        Err(failure) => assert!(!failure.to_string().is_empty()),
    }
}

#[test]
fn damaged_definitions() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let options = Options { include: vec![root.join("../libhurd/defs")], ..Options::default() };
    let pieces = [
        ";",
        "(",
        ")",
        "{",
        "}",
        "[",
        "]",
        "^",
        "|",
        ",",
        ":",
        "=",
        "*",
        "#",
        "\n#define x x x\n",
        "\n#if 1\n",
        "\n#endif\n",
        "array",
        "struct",
        "of",
        "type",
        "routine",
        "99999999999999999999",
        "polymorphic",
        "\"",
        "/*",
        "*/",
        "é",
        "\0",
        "x ",
    ];
    let mut numbers = Numbers(7);
    for name in ["auth.defs", "notify.defs"] {
        let whole = std::fs::read_to_string(root.join("../libhurd/defs").join(name)).expect("defs");
        run(&whole, &options);
        for _ in 0..150 {
            let mut text = whole.clone();
            for _ in 0..=numbers.below(4) {
                let mut at = numbers.below(text.len());
                while !text.is_char_boundary(at) {
                    at -= 1;
                }
                match numbers.below(3) {
                    0 => text.truncate(at),
                    1 => text.insert_str(at, pieces[numbers.below(pieces.len())]),
                    _ => {
                        let mut end = (at + numbers.below(40)).min(text.len());
                        while !text.is_char_boundary(end) {
                            end -= 1;
                        }
                        text.replace_range(at..end.max(at), "");
                    }
                }
            }
            run(&text, &options);
        }
    }
}

#[test]
fn soup_of_words() {
    let words = [
        "subsystem",
        "s",
        "1",
        ";",
        "type",
        "t",
        "=",
        "int",
        "array",
        "[",
        "]",
        "of",
        "*",
        ":",
        "^",
        "struct",
        "{",
        "}",
        "c_string",
        "(",
        ")",
        ",",
        "routine",
        "out",
        "inout",
        "MACH_MSG_TYPE_COPY_SEND",
        "polymorphic",
        "|",
        "dealloc",
        "countinout",
        "4096",
        "/",
        "\n#include \"x\"\n",
        "\n#define f(a,b) a##b f(a\n",
        "f(",
        "\n#if f(\n",
        "\n#else\n",
        "\n#endif\n",
    ];
    let mut numbers = Numbers(11);
    for _ in 0..3000 {
        let mut text = String::from("subsystem s 1; type p = MACH_MSG_TYPE_COPY_SEND; ");
        for _ in 0..numbers.below(60) {
            text.push_str(words[numbers.below(words.len())]);
            text.push(' ');
        }
        run(&text, &Options::default());
    }
}

#[test]
fn macros_that_grow_without_end_are_stopped() {
    let mut text = String::from("#define a0 x x\n");
    for i in 1..64 {
        text.push_str(&format!("#define a{i} a{} a{}\n", i - 1, i - 1));
    }
    text.push_str("a63\n");
    let failure = compile_text("bomb.defs", &text, &Options::default()).expect_err("a bomb");
    assert!(failure.to_string().contains("tokens"), "{failure}");
}
