//! Random definitions, with the C types that a user of GNU MIG would have written for them.
//!
//! Every production of the language is here, mostly where it is allowed. Some texts are damaged by a word afterwards, so
//! that both compilers have something to refuse. All names contain the case's number: C of many cases fits in one file.

use std::fmt::Write as _;

use crate::numbers::{Numbers, damage};

/// One interface.
pub(crate) struct Case {
    /// What makes it again.
    pub(crate) seed: u64,
    /// The definitions.
    pub(crate) text: String,
    /// C types, and functions of translations.
    pub(crate) types: String,
    /// Arrays of varying length have other names: GNU MIG's C takes their number of elements for a number of arrays.
    pub(crate) aliases: bool,
}

/// The case of a seed.
pub(crate) fn case(seed: u64) -> Case {
    let mut numbers = Numbers(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x5851_f42d_4c95_7f2d);
    for _ in 0..4 {
        numbers.next();
    }
    let kernel = numbers.one_in(8);
    let mut maker = Maker {
        numbers,
        seed,
        kernel,
        text: String::new(),
        types: String::new(),
        known: Vec::new(),
        count: 0,
        aliases: false,
    };
    maker.file();
    let damaged = maker.numbers.one_in(4);
    let text = if damaged { damage(&maker.text, &mut maker.numbers) } else { maker.text };
    Case { seed, text, types: maker.types, aliases: maker.aliases }
}

/// What a type is good for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Class {
    /// One value: a number, a name.
    Number,
    Right,
    Text,
    /// In the message, of fixed size.
    Fixed,
    /// `array[*:N]`, `c_string[*:N]`
    Bounded,
    /// `array[]`
    Loose,
    /// `^`
    Far,
}

/// A type as it is written, and its C: `@` stands for the name of a `typedef`.
struct Spec {
    text: String,
    class: Class,
    c: String,
    /// Passed as a pointer to what is constant, of which there must be a type, too.
    constant: Option<String>,
}

struct Maker {
    numbers: Numbers,
    seed: u64,
    kernel: bool,
    text: String,
    types: String,
    known: Vec<(String, Class)>,
    count: u32,
    aliases: bool,
}

/// `(in the definitions, in C)`
const NUMBERS: [(&str, &str); 25] = [
    ("int", "int @"),
    ("char", "char @"),
    ("short", "short @"),
    ("int64", "int64_t @"),
    ("uintptr_t", "uintptr_t @"),
    ("intptr_t", "intptr_t @"),
    ("MACH_MSG_TYPE_BOOLEAN", "int @"),
    ("MACH_MSG_TYPE_INTEGER_8", "uint8_t @"),
    ("MACH_MSG_TYPE_INTEGER_16", "uint16_t @"),
    ("MACH_MSG_TYPE_INTEGER_32", "uint32_t @"),
    ("MACH_MSG_TYPE_INTEGER_64", "uint64_t @"),
    ("MACH_MSG_TYPE_CHAR", "char @"),
    ("MACH_MSG_TYPE_BYTE", "uint8_t @"),
    ("MACH_MSG_TYPE_PORT_NAME", "mach_port_name_t @"),
    ("(MACH_MSG_TYPE_REAL, 32)", "float @"),
    ("(MACH_MSG_TYPE_REAL, 64)", "double @"),
    ("(MACH_MSG_TYPE_INTEGER_32, 8*4)", "int32_t @"),
    ("(MACH_MSG_TYPE_INTEGER_64, 64, islong)", "int64_t @"),
    ("(MACH_MSG_TYPE_BYTE, 8, IsNotLong)", "uint8_t @"),
    ("(MACH_MSG_TYPE_INTEGER_32, 32, dealloc)", "int32_t @"),
    ("(2, 32)", "int32_t @"),
    ("(MACH_MSG_TYPE_UNSTRUCTURED, 16)", "uint16_t @"),
    ("(MACH_MSG_TYPE_UNSTRUCTURED, 8*24)", "struct { uint64_t w[3]; } @"),
    ("(MACH_MSG_TYPE_BYTE, 8 * (2 + 3))", "struct { char w[5]; } @"),
    ("(MACH_MSG_TYPE_INTEGER_32, 64)", "uint64_t @"),
];

/// What neither compiler should take, or only one of them.
const WRONG: [&str; 8] = [
    "MACH_MSG_TYPE_BIT",
    "(MACH_MSG_TYPE_MOVE_SEND, 32)",
    "MACH_MSG_TYPE_STRING",
    "(MACH_MSG_TYPE_INTEGER_32, 0)",
    "(MACH_MSG_TYPE_INTEGER_32, 65536)",
    "MACH_MSG_TYPE_polymorphic",
    "17",
    "(256, 64)",
];

const RIGHTS: [&str; 18] = [
    "MACH_MSG_TYPE_COPY_SEND",
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
    "MACH_MSG_TYPE_PORT_RECEIVE",
    "MACH_MSG_TYPE_PORT_SEND_ONCE",
    "MACH_MSG_TYPE_POLYMORPHIC|MACH_MSG_TYPE_PORT_RECEIVE",
    "(MACH_MSG_TYPE_COPY_SEND, 64)",
    "MACH_MSG_TYPE_COPY_SEND | MACH_MSG_TYPE_PORT_SEND_ONCE",
];

impl Maker {
    fn name(&mut self, stem: &str) -> String {
        if !self.numbers.one_in(600) {
            self.count += 1;
        }
        format!("{stem}{}_{}", self.count, self.seed)
    }

    /// An expression between `least` and `most`, and its value.
    fn number(&mut self, least: u32, most: u32) -> (String, u32) {
        let value = least + self.numbers.below((most - least + 1) as usize) as u32;
        let text = match self.numbers.below(12) {
            0 if value > 1 => format!("{} + {}", value - 1, 1),
            1 => format!("{} - 3", value + 3),
            2 => format!("{}*2 / 2", value),
            3 if value.is_multiple_of(2) => format!("2 * ({} + {})", value / 2 - value / 4, value / 4),
            4 => format!("({value})"),
            5 => format!("{}-1-1", value + 2),
            6 => format!("1 + {} * 1", value - 1),
            _ => value.to_string(),
        };
        (text, value)
    }

    /// A multiple of 8, nearly always: GNU MIG's C loses its place behind what has another size.
    fn eights(&mut self, most: u32) -> (String, u32) {
        if self.numbers.one_in(30) {
            return self.number(1, 8 * most);
        }
        let (text, value) = self.number(1, most);
        (format!("8 * ({text})"), 8 * value)
    }

    fn file(&mut self) {
        let mode = match self.kernel {
            true => self.numbers.pick(&[
                "KernelServer ",
                "KernelUser ",
                "kernelserver ",
                "KernelUser KernelServer ",
            ]),
            false => "",
        };
        let (seed, base) = (self.seed, self.numbers.below(100_000));
        let _ = writeln!(self.text, "Subsystem {mode}s_{seed} {base};");
        let port = format!("port_{seed}");
        let right = self.right();
        let _ = writeln!(self.text, "type {port} = MACH_MSG_TYPE_COPY_SEND;");
        let _ = writeln!(self.types, "typedef {right} {port};");
        self.known.push((port, Class::Right));
        for _ in 0..2 + self.numbers.below(10) {
            match self.numbers.below(20) {
                0 => self.word(),
                1..=9 => self.define(),
                _ => self.routine(),
            }
        }
        self.routine();
    }

    fn right(&self) -> &'static str {
        if self.kernel { "ipc_port_t" } else { "mach_port_t" }
    }

    fn word(&mut self) {
        let name = self.name("w");
        let text = self.numbers.pick(&[
            "skip;",
            "skip 3;",
            "SKIP 0;",
            "serverprefix @;",
            "userprefix @;",
            "serverdemux @;",
            "waittime 10;",
            "WaitTime 5;",
            "nowaittime;",
            "msgoption MACH_SEND_TIMEOUT;",
            "rcsid \"$x$\";",
            ";",
            "import <stddef.h>;",
            "uimport <stddef.h>;",
            "simport <stddef.h>;",
        ]);
        let _ = writeln!(self.text, "{}", text.replace('@', &name));
    }

    fn define(&mut self) {
        let name = self.name("t");
        let spec = self.spec(2);
        let declared = self.types.len();
        let translations = self.translations(&name, &spec);
        let _ = writeln!(self.text, "type {name} = {}{translations};", spec.text);
        if self.types.len() == declared {
            self.declare(&name, &spec);
        }
        self.known.push((name, spec.class));
    }

    fn declare(&mut self, name: &str, spec: &Spec) {
        let _ = writeln!(self.types, "typedef {};", spec.c.replace('@', name));
        let constant = match (&spec.constant, spec.class) {
            (Some(constant), _) => constant.as_str(),
            (None, _) => return,
        };
        let _ = writeln!(self.types, "typedef {};", constant.replace('@', &format!("const_{name}")));
    }

    fn translations(&mut self, name: &str, spec: &Spec) -> String {
        let mut text = String::new();
        let value =
            matches!(spec.class, Class::Number | Class::Right | Class::Fixed) && !spec.c.ends_with(']');
        if !value || !self.numbers.one_in(6) {
            return text;
        }
        let of = |other: &str| format!("typedef {};\n", spec.c.replace('@', other));
        let mut own = String::new();
        match self.numbers.below(8) {
            0 => {
                let _ = write!(text, " ctype: {name}_c");
                own.push_str(&of(&format!("{name}_c")));
            }
            1 => {
                let _ = write!(text, " CUserType: {name}_cu cservertype: {name}_cs");
                own.push_str(&of(&format!("{name}_cu")));
                own.push_str(&of(&format!("{name}_cs")));
            }
            n => {
                let wire = if spec.class == Class::Right { self.right().to_owned() } else { name.to_owned() };
                let server = format!("{name}_s");
                let _ = writeln!(own, "typedef struct {{ long x; }} {server};");
                if n != 3 {
                    let _ = write!(text, "\n\tInTran: {server} {name}_in({wire})");
                    let _ = writeln!(own, "{server} {name}_in();");
                }
                if n != 2 {
                    let _ = write!(text, " outtran: {wire} {name}_out ({server})");
                    let _ = writeln!(own, "{wire} {name}_out();");
                }
                if n == 5 || n == 6 {
                    let _ = write!(text, " destructor: {name}_gone({server})");
                    let _ = writeln!(own, "void {name}_gone();");
                }
                if n == 2 {
                    let _ = write!(text, " intranpayload: {server} {name}_payload");
                    let _ = writeln!(own, "{server} {name}_payload();");
                }
            }
        }
        // Functions speak of the type itself, which is declared behind this.
        let position = self.types.len();
        self.declare(name, spec);
        let declared = self.types.split_off(position);
        let (mine, functions): (Vec<&str>, Vec<&str>) =
            own.lines().partition(|line| line.starts_with("typedef"));
        for line in mine.into_iter().chain(declared.lines()).chain(functions) {
            let _ = writeln!(self.types, "{line}");
        }
        text
    }

    /// A type that elements and fields can have: its text, its C with `@`, its class.
    ///
    /// In C, rights among fixed data take no room or do not compile, so they are rare.
    fn element(&mut self, rights: bool) -> (String, String, Class) {
        let rights = rights || self.kernel || self.numbers.one_in(40);
        let fits = |class: Class| match class {
            Class::Number | Class::Fixed | Class::Text => true,
            Class::Right => rights,
            _ => false,
        };
        let good: Vec<(String, Class)> = self.known.iter().filter(|(_, c)| fits(*c)).cloned().collect();
        match self.numbers.below(40) {
            0 => {
                let spec = self.spec(1);
                (spec.text, spec.c, spec.class)
            }
            1..=20 if !good.is_empty() => {
                let (name, class) = good[self.numbers.below(good.len())].clone();
                let c = format!("{name} @");
                (name, c, class)
            }
            _ => {
                let (text, c) = self.numbers.pick(&NUMBERS[..6]);
                (text.into(), c.into(), Class::Number)
            }
        }
    }

    fn spec(&mut self, depth: usize) -> Spec {
        let plain =
            |text: &str, class, c: &str| Spec { text: text.into(), class, c: c.into(), constant: None };
        if depth == 0 {
            let (text, c) = self.numbers.pick(&NUMBERS);
            return plain(text, Class::Number, c);
        }
        // In a message a right takes 8 bytes.
        let inline = |c: &str, class: Class, kernel: bool| match class {
            Class::Right if !kernel => "mach_port_name_inlined_t @".to_owned(),
            _ => c.to_owned(),
        };
        match self.numbers.below(22) {
            0..=4 => {
                if self.numbers.one_in(60) {
                    let (text, right) = (self.numbers.pick(&WRONG), self.right());
                    return plain(text, Class::Right, &format!("{right} @"));
                }
                let (text, c) = self.numbers.pick(&NUMBERS);
                plain(text, Class::Number, c)
            }
            5 | 6 => {
                let text = self.numbers.pick(&RIGHTS);
                plain(text, Class::Right, &format!("{} @", self.right()))
            }
            7 | 8 => {
                let (name, class) = self.known[self.numbers.below(self.known.len())].clone();
                let open = matches!(class, Class::Bounded | Class::Loose);
                if open && !self.numbers.one_in(10) {
                    return self.spec(0);
                }
                self.aliases |= open;
                let constant = matches!(class, Class::Text | Class::Loose | Class::Bounded)
                    .then(|| format!("const_{name} @"));
                Spec { c: format!("{name} @"), text: name, class, constant }
            }
            9 => {
                let (n, value) = self.number(1, 80);
                Spec {
                    text: format!("c_string[{n}]"),
                    class: Class::Text,
                    c: format!("char @[{value}]"),
                    constant: Some("const char *@".into()),
                }
            }
            10 => {
                let (n, value) = self.eights(10);
                Spec {
                    text: format!("c_string[*: {n}]"),
                    class: Class::Bounded,
                    c: format!("char @[{value}]"),
                    constant: Some("const char *@".into()),
                }
            }
            11 => {
                let (n, bytes) = self.number(1, 40);
                Spec {
                    text: format!("(MACH_MSG_TYPE_{}, 8*({n}))", self.numbers.pick(&["STRING", "STRING_C"])),
                    class: Class::Text,
                    c: format!("char @[{bytes}]"),
                    constant: Some("const char *@".into()),
                }
            }
            12 | 13 => {
                let (text, c, class) = self.element(false);
                let (n, value) = self.number(1, 40);
                let c = inline(&c, class, self.kernel);
                plain(&format!("array[{n}] of {text}"), Class::Fixed, &c.replace('@', &format!("@[{value}]")))
            }
            14 | 15 => {
                let (text, c, _) = self.element(true);
                let (n, value) = self.eights(5);
                Spec {
                    text: format!("array[*:{n}] of {text}"),
                    class: Class::Bounded,
                    c: c.replace('@', &format!("@[{value}]")),
                    constant: Some(format!("const {}", c.replace('@', "*@"))),
                }
            }
            16 | 17 => {
                let (text, c, _) = self.element(true);
                let bound = self.numbers.pick(&["[]", "[]", "[*]"]);
                Spec {
                    text: format!("array{bound} of {text}"),
                    class: Class::Loose,
                    c: c.replace('@', "*@"),
                    constant: Some(format!("const {}", c.replace('@', "*@"))),
                }
            }
            18 | 19 => {
                let text = match self.numbers.below(6) {
                    0..=2 => format!("array[] of {}", self.element(true).0),
                    3 => format!("array[{}] of {}", self.number(1, 40).0, self.element(true).0),
                    4 => self.spec(depth - 1).text,
                    _ => self.element(true).0,
                };
                plain(&format!("^{text}"), Class::Far, "void *@")
            }
            20 => {
                let (text, c, class) = self.element(false);
                let (n, value) = self.number(1, 20);
                let c = inline(&c, class, self.kernel);
                let c = format!("struct {{ {}; }} @", c.replace('@', &format!("w[{value}]")));
                plain(&format!("struct[{n}] of {text}"), Class::Fixed, &c)
            }
            _ => {
                let (mut text, mut c) = (String::from("struct { "), String::from("struct { "));
                for i in 0..1 + self.numbers.below(5) {
                    let (of, own, class) = self.element(false);
                    let _ = write!(text, "{of} f{i}; ");
                    let own = inline(&own, class, self.kernel);
                    let _ = write!(c, "{}; ", own.replace('@', &format!("f{i}")));
                }
                plain(&(text + "}"), Class::Fixed, &(c + "} @"))
            }
        }
    }

    fn routine(&mut self) {
        let word = self.numbers.pick(&["routine", "routine", "Routine", "simpleroutine", "SimpleRoutine"]);
        let one_way = word.eq_ignore_ascii_case("simpleroutine");
        let (name, seed) = (self.name("r"), self.seed);
        let port = match self.numbers.below(300) {
            0 => "in p : port_@",
            1 => "p : int",
            2..=52 => self.numbers.pick(&["requestport p : port_@", "RequestPort p : port_@"]),
            _ => "p : port_@",
        };
        let mut arguments = vec![port.replace('@', &seed.to_string())];
        for _ in 0..self.numbers.below(8) {
            let argument = self.argument(one_way);
            arguments.push(argument);
        }
        if self.numbers.one_in(400) {
            arguments.remove(0);
        }
        let _ = writeln!(self.text, "{word} {name} (\n\t{});", arguments.join(";\n\t"));
    }

    fn argument(&mut self, one_way: bool) -> String {
        let (name, seed) = (self.name("a"), self.seed);
        let right = self.right();
        if self.numbers.one_in(600) {
            return self.numbers.pick(&["msgoption @ : int64", "ureplyport @ : int"]).replace('@', &name);
        }
        if self.numbers.one_in(14) {
            let text = self.numbers.pick(&[
                "msgseqno @ : int",
                "waittime @ : int",
                "msgoption @ : int",
                "requestport @ : port_$",
                "replyport @ : @_t = MACH_MSG_TYPE_MAKE_SEND_ONCE",
                "sreplyport @ : port_$",
                "SReplyPort @ : @_t = MACH_MSG_TYPE_MAKE_SEND | polymorphic",
                "ureplyport @ : @_t = MACH_MSG_TYPE_MAKE_SEND_ONCE | polymorphic",
                "replyport @ : @_t = polymorphic",
                "sreplyport @ : @_t = polymorphic",
            ]);
            if text.contains("@_t") {
                let _ = writeln!(self.types, "typedef {right} {name}_t;");
            }
            return text.replace('@', &name).replace('$', &seed.to_string());
        }
        let direction = if one_way && !self.numbers.one_in(300) {
            self.numbers.pick(&["", "in "])
        } else {
            self.numbers.pick(&["", "in ", "out ", "out ", "inout ", "OUT "])
        };
        let (text, class) = if self.numbers.one_in(3) {
            let spec = self.spec(2);
            let own = self.name("t");
            self.declare(&own, &spec);
            (format!("{own} = {}", spec.text), spec.class)
        } else {
            self.known[self.numbers.below(self.known.len())].clone()
        };
        let whole = matches!(class, Class::Bounded | Class::Loose) && direction == "inout ";
        let direction = if whole && !self.numbers.one_in(10) { "in " } else { direction };
        let out = direction.contains("ut ") || direction.contains("UT ");
        let flags = match class {
            Class::Loose | Class::Bounded if out => self.numbers.pick(&[
                "",
                "",
                ", CountInOut",
                ", dealloc",
                ", dealloc[]",
                ", islong",
                ", notdealloc",
            ]),
            Class::Loose | Class::Far => self.numbers.pick(&[
                "",
                "",
                ", dealloc",
                ", Dealloc[]",
                ", ServerCopy",
                ", IsLong",
                ", isnotlong",
                ", notdealloc, servercopy",
                ", dealloc, servercopy",
            ]),
            _ if self.numbers.one_in(20) => self.numbers.pick(&[
                ", islong",
                ", isnotlong",
                ", dealloc",
                ", retcode",
                ", countinout",
                ", dealloc[]",
                ", servercopy",
            ]),
            _ => "",
        };
        format!("{direction}{name} : {text}{flags}")
    }
}
