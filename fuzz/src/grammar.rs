//! Definitions made from bytes: every production of the language, mostly where it is allowed, so that much of what comes out is accepted and laid out.
//!
//! Names are mostly new; now and then one is used again, or is one that Rust or the generated code uses itself.

use arbitrary::{Result, Unstructured};

/// Most statements of one text.
const MAX_STATEMENTS: usize = 24;
/// Most arguments of one routine.
const MAX_ARGUMENTS: usize = 10;
/// Deepest nesting of types.
const MAX_DEPTH: usize = 4;

/// The text that `data` stands for; what is missing at the end of `data` counts as zeros.
#[must_use]
pub fn definitions(data: &[u8]) -> String {
    let mut maker = Maker { bytes: Unstructured::new(data), out: String::new(), types: Vec::new(), names: 0 };
    // Making needs no more than the bytes that there are; an error would be the end of them.
    let _ = maker.file();
    maker.out
}

/// What a type is good for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Class {
    Number,
    Right,
    Text,
    Struct,
    Open,
    Sequence,
}

struct Maker<'a> {
    bytes: Unstructured<'a>,
    out: String,
    types: Vec<(String, Class)>,
    names: u32,
}

/// Names that must not come through as they are.
const AWKWARD: [&str; 29] = [
    "type",
    "fn",
    "self",
    "Self",
    "match",
    "async",
    "r#try",
    "donation",
    "transport",
    "buffer_",
    "encoder_",
    "message_",
    "request",
    "server_",
    "this_",
    "out_",
    "id",
    "dispatch",
    "BASE",
    "Request",
    "Result",
    "x__y",
    "_",
    "crate",
    "a$b",
    "_1x",
    "__",
    "gen",
    "offer",
];

const NUMBERS: [&str; 19] = [
    "int",
    "char",
    "short",
    "int64",
    "uintptr_t",
    "intptr_t",
    "MACH_MSG_TYPE_BOOLEAN",
    "MACH_MSG_TYPE_INTEGER_8",
    "MACH_MSG_TYPE_INTEGER_16",
    "MACH_MSG_TYPE_INTEGER_32",
    "MACH_MSG_TYPE_INTEGER_64",
    "MACH_MSG_TYPE_CHAR",
    "MACH_MSG_TYPE_BYTE",
    "MACH_MSG_TYPE_PORT_NAME",
    "(MACH_MSG_TYPE_REAL, 32)",
    "(MACH_MSG_TYPE_REAL, 64)",
    "(MACH_MSG_TYPE_UNSTRUCTURED, 8)",
    "(MACH_MSG_TYPE_INTEGER_32, 8*4)",
    "(MACH_MSG_TYPE_STRING_C, 8*32)",
];

const RIGHTS: [&str; 13] = [
    "MACH_MSG_TYPE_COPY_SEND",
    "MACH_MSG_TYPE_MOVE_SEND",
    "MACH_MSG_TYPE_MAKE_SEND",
    "MACH_MSG_TYPE_MAKE_SEND_ONCE",
    "MACH_MSG_TYPE_MOVE_SEND_ONCE",
    "MACH_MSG_TYPE_MOVE_RECEIVE",
    "MACH_MSG_TYPE_COPY_SEND | MACH_MSG_TYPE_PORT_SEND",
    "MACH_MSG_TYPE_MAKE_SEND_ONCE | MACH_MSG_TYPE_PORT_SEND_ONCE",
    "polymorphic",
    "polymorphic | MACH_MSG_TYPE_PORT_SEND",
    "MACH_MSG_TYPE_MAKE_SEND_ONCE | polymorphic",
    "MACH_MSG_TYPE_PORT_SEND",
    "POLYMORPHIC|MACH_MSG_TYPE_PORT_RECEIVE",
];

impl Maker<'_> {
    /// One in `n`.
    fn rarely(&mut self, n: u32) -> Result<bool> {
        Ok(self.bytes.int_in_range(0..=n - 1)? == n - 1)
    }

    fn pick<T: Copy>(&mut self, list: &[T]) -> Result<T> {
        self.bytes.choose(list).copied()
    }

    fn name(&mut self, stem: &str) -> Result<String> {
        if self.rarely(24)? {
            return Ok(self.pick(&AWKWARD)?.to_owned());
        }
        if !self.rarely(40)? {
            self.names += 1;
        }
        let number = self.names;
        Ok(match self.bytes.int_in_range(0..=11)? {
            11 => format!("{}{number}", stem.to_uppercase()),
            10 => format!("_{stem}_{number}_"),
            9 => format!("{stem}{number}_t"),
            _ => format!("{stem}{number}"),
        })
    }

    fn number(&mut self, most: u32) -> Result<String> {
        Ok(match self.bytes.int_in_range(0..=63)? {
            0 => "0".into(),
            1 => u32::MAX.to_string(),
            2 => format!("{}", self.bytes.arbitrary::<u64>()?),
            3 => format!("{} + {}", self.bytes.int_in_range(0..=most)?, self.bytes.int_in_range(0..=9)?),
            4 => format!("({} * {})", self.bytes.int_in_range(0..=40)?, self.bytes.int_in_range(0..=9)?),
            5 => format!("{} / {}", self.bytes.int_in_range(0..=most)?, self.bytes.int_in_range(0..=3)?),
            6 => format!("{} - {}", self.bytes.int_in_range(0..=most)?, self.bytes.int_in_range(0..=3)?),
            _ => self.bytes.int_in_range(1..=most)?.to_string(),
        })
    }

    fn file(&mut self) -> Result<()> {
        if self.rarely(4)? {
            self.out.push_str("#define N 4\n#define ARRAY(T, n) array[*:n] of T\n#define BOTH(a, b) a##b\n");
        }
        self.subsystem()?;
        for _ in 0..self.bytes.int_in_range(1..=MAX_STATEMENTS)? {
            if self.bytes.is_empty() {
                break;
            }
            self.statement()?;
        }
        // However it went, there is something to lay out.
        self.out.push_str("\nroutine the_last_one(p : mach_port_t);\n");
        Ok(())
    }

    fn subsystem(&mut self) -> Result<()> {
        let mode =
            self.pick(&["", "", "", "", "KernelServer ", "KernelUser ", "kernelserver KERNELUSER "])?;
        let name = self.name("s")?;
        let base = if self.rarely(12)? {
            self.number(99_999)?
        } else {
            self.bytes.int_in_range(1..=99_999u32)?.to_string()
        };
        self.out.push_str(&format!(
            "Subsystem {mode}{name} {base};\ntype mach_port_t = MACH_MSG_TYPE_COPY_SEND;\n"
        ));
        self.types.push(("mach_port_t".into(), Class::Right));
        Ok(())
    }

    fn statement(&mut self) -> Result<()> {
        match self.bytes.int_in_range(0..=31)? {
            0 if self.bytes.arbitrary()? => {
                let text = self.donation("donation_default")?;
                self.out.push_str(&text);
            }
            0 => self.out.push_str("skip;\n"),
            1 => {
                let n = self.number(9)?;
                self.out.push_str(&format!("skip {n};\n"));
            }
            2 => {
                let word = self.pick(&["serverprefix", "userprefix", "ServerPrefix", "serverdemux"])?;
                let name = self.name("p")?;
                self.out.push_str(&format!("{word} {name};\n"));
            }
            3 => {
                let text = self.pick(&[
                    "import <a/b.h>;\n",
                    "uimport \"c.h\";\n",
                    "simport <d.h>;\n",
                    "waittime 10;\n",
                    "nowaittime;\n",
                    "msgoption MACH_SEND_TIMEOUT;\n",
                    "rcsid \"$x$\";\n",
                    ";\n",
                    "#include \"std_types.defs\"\n",
                    "#include \"mach_types.defs\"\n",
                    "#include \"hurd_types.defs\"\n",
                    "/* A comment. */\n",
                    "#undef N\n",
                    "#if defined(N) && N > 3\n#endif\n",
                    "# 7 \"else.defs\"\n",
                ])?;
                self.out.push_str(text);
            }
            4..=13 => {
                let name = self.name("t")?;
                let (text, class) = self.spec(MAX_DEPTH)?;
                let translations = self.translations()?;
                self.out.push_str(&format!("type {name} = {text}{translations};\n"));
                self.types.push((name, class));
            }
            _ => self.routine()?,
        }
        Ok(())
    }

    fn translations(&mut self) -> Result<String> {
        let mut text = String::new();
        if !self.rarely(6)? {
            return Ok(text);
        }
        for _ in 0..self.bytes.int_in_range(1..=3)? {
            text.push_str(self.pick(&[
                " ctype: c_t",
                " cusertype: cu_t",
                " cservertype: cs_t",
                " intran: s_t in_f (u_t)",
                " outtran: u_t out_f (s_t)",
                " destructor: gone (s_t)",
                " intranpayload: s_t payload_f",
                "\n\tInTran: i t(u)",
            ])?);
        }
        Ok(text)
    }

    /// The name of a type that a field or an element can have.
    fn element(&mut self) -> Result<String> {
        if self.rarely(12)? {
            return Ok(self.spec(1)?.0);
        }
        let plain: Vec<&String> = self
            .types
            .iter()
            .filter(|(_, c)| matches!(c, Class::Number | Class::Struct))
            .map(|(n, _)| n)
            .collect();
        if !plain.is_empty() && self.bytes.arbitrary()? {
            return Ok((*self.bytes.choose(&plain)?).clone());
        }
        Ok(self.pick(&["int", "char", "short", "int64", "uintptr_t"])?.into())
    }

    /// A type, and what it is good for.
    fn spec(&mut self, depth: usize) -> Result<(String, Class)> {
        if depth == 0 {
            return Ok((self.pick(&NUMBERS)?.into(), Class::Number));
        }
        Ok(match self.bytes.int_in_range(0..=15)? {
            0..=3 => (self.pick(&NUMBERS)?.into(), Class::Number),
            4 | 5 => (self.pick(&RIGHTS)?.into(), Class::Right),
            6 | 7 if !self.types.is_empty() => {
                let index = self.bytes.choose_index(self.types.len())?;
                self.types[index].clone()
            }
            8 => {
                let n = self.number(80)?;
                let star = self.pick(&["", "", "*: "])?;
                (format!("c_string[{star}{n}]"), Class::Text)
            }
            9 => {
                let of = self.element()?;
                let n = self.number(300)?;
                (format!("array[{n}] of {of}"), Class::Sequence)
            }
            10 => {
                let of = self.element()?;
                let n = self.number(300)?;
                (format!("array[*:{n}] of {of}"), Class::Sequence)
            }
            11 => {
                let of = self.element()?;
                let bound = self.pick(&["", "", "*"])?;
                (format!("array[{bound}] of {of}"), Class::Open)
            }
            12 => {
                let of = if self.bytes.arbitrary()? {
                    self.spec(depth - 1)?.0
                } else {
                    format!("array[] of {}", self.element()?)
                };
                (format!("^ {of}"), Class::Open)
            }
            13 => {
                let of = self.element()?;
                let n = self.number(40)?;
                (format!("struct[{n}] of {of}"), Class::Sequence)
            }
            _ => {
                let mut text = String::from("struct { ");
                for _ in 0..self.bytes.int_in_range(1..=5)? {
                    let of = self.element()?;
                    let name = self.name("f")?;
                    text.push_str(&format!("{of} {name}; "));
                }
                text.push('}');
                (text, Class::Struct)
            }
        })
    }

    fn routine(&mut self) -> Result<()> {
        let word =
            self.pick(&["routine", "routine", "routine", "Routine", "simpleroutine", "SIMPLEROUTINE"])?;
        let one_way = word.eq_ignore_ascii_case("simpleroutine");
        let name = self.name("r")?;
        if self.rarely(5)? {
            let text = self.donation("donation")?;
            self.out.push_str(&text);
        }
        if self.rarely(8)? {
            self.out.push_str("/* Does it.\n   Errors: EIO it does not. */\n");
        }
        let port = self.pick(&[
            "p : mach_port_t",
            "requestport p : mach_port_t",
            "p : once_t = MACH_MSG_TYPE_MAKE_SEND_ONCE",
            "p : poly_t = polymorphic",
            "port : mach_port_t",
        ])?;
        self.out.push_str(&format!("{word} {name} ({port}"));
        for _ in 0..self.bytes.int_in_range(0..=MAX_ARGUMENTS)? {
            self.argument(one_way)?;
        }
        self.out.push_str(");\n");
        Ok(())
    }

    /// What a routine, or all that follow, may spend.
    fn donation(&mut self, word: &str) -> Result<String> {
        let mut parts = Vec::new();
        let least = u32::from(!self.rarely(20)?);
        for _ in 0..self.bytes.int_in_range(least..=4)? {
            let resource = self.pick(&["cpu", "frames", "io", "depth", "deadline", "accept", "retain"])?;
            let mut text = String::from(resource);
            let chosen = self.bytes.int_in_range(1..=7u8)?;
            for (bit, bound) in ["", " at least", " at most"].into_iter().enumerate() {
                if chosen >> bit & 1 == 1 {
                    let amount =
                        if bound.is_empty() && self.rarely(8)? { "all".into() } else { self.number(5000)? };
                    let unit = match resource {
                        "cpu" | "deadline" => self.pick(&[" ns", " us", " ms", " s"])?,
                        "frames" | "io" | "accept" | "retain" => {
                            self.pick(&["", "", " KiB", " MiB", " GiB"])?
                        }
                        _ => "",
                    };
                    text.push_str(&format!("{bound} {amount}{unit}"));
                }
            }
            parts.push(text);
        }
        Ok(format!("{word} ({})\n", parts.join(", ")))
    }

    fn argument(&mut self, one_way: bool) -> Result<()> {
        let name = self.name("a")?;
        let special = self.bytes.int_in_range(0..=23)?;
        if special == 0 {
            let text = self.pick(&[
                "msgseqno {} : int",
                "waittime {} : int",
                "msgoption {} : int",
                "replyport {} : {}_t = MACH_MSG_TYPE_MAKE_SEND_ONCE",
                "sreplyport {} : mach_port_t",
                "ureplyport {} : {}_t = MACH_MSG_TYPE_MAKE_SEND_ONCE | polymorphic",
                "replyport {} : {}_t = polymorphic",
                "sreplyport {} : {}_t = polymorphic",
            ])?;
            self.out.push_str(";\n\t");
            self.out.push_str(&text.replace("{}", &name));
            return Ok(());
        }
        let direction = if one_way && !self.rarely(60)? {
            self.pick(&["", "in "])?
        } else {
            self.pick(&["", "in ", "out ", "out ", "inout ", "OUT "])?
        };
        let (spec, class) = if !self.types.is_empty() && !self.rarely(3)? {
            let index = self.bytes.choose_index(self.types.len())?;
            self.types[index].clone()
        } else {
            self.spec(MAX_DEPTH)?
        };
        // A type that is written in place needs a name when it is not a name itself.
        let inline = spec.contains([' ', '[', '(', '^', '|'])
            || spec.starts_with("MACH_MSG")
            || spec.chars().all(|c| c.is_ascii_digit());
        let spec = if inline {
            let name = self.name("t")?;
            format!("{name} = {spec}")
        } else {
            spec
        };
        let flags = match class {
            Class::Open if direction.contains("out") => {
                self.pick(&["", "", ", CountInOut", ", dealloc", ", dealloc[]", ", islong", ", notdealloc"])?
            }
            Class::Open => self.pick(&[
                "",
                "",
                "",
                ", dealloc",
                ", dealloc[]",
                ", ServerCopy",
                ", IsLong",
                ", isnotlong",
                ", notdealloc, servercopy",
            ])?,
            _ if self.rarely(60)? => self.pick(&[
                ", islong",
                ", isnotlong",
                ", dealloc",
                ", retcode",
                ", countinout",
                ", dealloc[]",
                ", servercopy",
            ])?,
            _ => "",
        };
        let often = if class == Class::Open { 12 } else { 100 };
        let transfer = if self.rarely(often)? { self.pick(&[", copy", ", loan", ", gift"])? } else { "" };
        self.out.push_str(&format!(";\n\t{direction}{name} : {spec}{flags}{transfer}"));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn much_is_accepted_and_not_all() {
        let mut accepted = 0;
        for seed in 0..400u64 {
            let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
            let data: Vec<u8> = (0..600)
                .map(|_| {
                    state =
                        state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                    (state >> 56) as u8
                })
                .collect();
            let text = definitions(&data);
            accepted += usize::from(mig_rs::compile_text("t.defs", &text, crate::text::options()).is_ok());
        }
        assert!((20..390).contains(&accepted), "{accepted} of 400");
    }
}
