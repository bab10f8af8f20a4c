//! Every production of the language is in an interface that is compared on the wire: read from the statements as parsed,
//! not from a list that somebody keeps.
//!
//! Each production has a name here, given by a `match` without a wildcard, so that a new one in the parser's tree does not
//! compile until it has one. What is in the fixtures is collected from them, for each production the first place.

use std::collections::BTreeMap;

use libtest_mimic::Failed;
use mig_rs::ast::{Argument, Base, Bound, Ceiling, Direction, Flag, Resource, Sides, Statement, TypeSpec};
use mig_rs::model::{Placement, Role, Shape};
use mig_rs::statements;
use mig_wire::object;

/// All productions.
const PRODUCTIONS: &[&str] = &[
    "subsystem",
    "subsystem KernelServer",
    "subsystem KernelUser",
    "skip",
    "skip N",
    "routine",
    "simpleroutine",
    "type",
    "import",
    "uimport",
    "simport",
    "serverprefix",
    "userprefix",
    "serverdemux",
    "waittime",
    "nowaittime",
    "msgoption",
    "rcsid",
    "donation_default",
    "donation",
    "donation at least",
    "donation at most",
    "donation cpu",
    "donation frames",
    "donation io",
    "donation depth",
    "donation deadline",
    "donation accept",
    "donation retain",
    "argument without direction",
    "argument in",
    "argument out",
    "argument inout",
    "argument requestport",
    "argument replyport",
    "argument sreplyport",
    "argument ureplyport",
    "argument waittime",
    "argument msgoption",
    "argument msgseqno",
    "argument with its type spelled out",
    "flag islong",
    "flag isnotlong",
    "flag dealloc",
    "flag dealloc[]",
    "flag notdealloc",
    "flag servercopy",
    "flag countinout",
    "flag retcode",
    "flag copy",
    "flag loan",
    "flag gift",
    "type islong",
    "type isnotlong",
    "NAME",
    "NAME|NAME",
    "(NAME, size)",
    "(NAME|NAME, size)",
    "a number for a name",
    "polymorphic",
    "alias",
    "array[] of",
    "array[*:N] of",
    "array[N] of",
    "^",
    "struct[N] of",
    "struct { }",
    "c_string[N]",
    "c_string[*:N]",
    "ctype",
    "cusertype",
    "cservertype",
    "intran",
    "intranpayload",
    "outtran",
    "destructor",
    "built-in char",
    "built-in short",
    "built-in int",
    "built-in int64",
    "built-in uintptr_t",
    "built-in intptr_t",
];

/// What the parser does not keep, because it means the same as something else, and the text that has it.
const SPELLINGS: &[(&str, &str)] = &[
    ("array[*] of", "array[*] of"),
    ("a + b", "(2+2)"),
    ("a - b", "(10-6)"),
    ("a * b", "[5*3]"),
    ("a / b", "*4/2"),
    ("an empty statement", "\n;\n"),
    ("a keyword in capitals", "ROUTINE "),
    ("a macro like an object", "#define WORD "),
    ("a macro like a function", "#define KEEP("),
    ("#undef", "#undef "),
    ("#ifdef", "#ifdef "),
    ("#if", "#if "),
    ("#elif", "#elif "),
    ("#else", "#else"),
    ("#include", "#include "),
    ("routine defined away", "#define routine simpleroutine"),
];

/// What the model makes of types, as it travels: each in a request and in a reply.
const TRAVELS: &[&str] = &[
    "a value",
    "a value out of line",
    "a string",
    "a string of varying length",
    "an array in the message",
    "an array in the message or not",
    "an array out of line",
    "a right",
    "a right of the sender's choice",
    "rights in the message",
    "rights in the message or not",
    "rights out of line",
];

/// What was found, and the first place of each.
#[derive(Default)]
struct Found(BTreeMap<String, String>);

impl Found {
    fn add(&mut self, production: &str, place: &str) {
        self.0.entry(production.to_owned()).or_insert_with(|| place.to_owned());
    }

    fn statement(&mut self, statement: &Statement, file: &str) {
        let production = match statement {
            Statement::Subsystem { kernel_user, kernel_server, .. } => match (kernel_user, kernel_server) {
                (true, _) => "subsystem KernelUser",
                (_, true) => "subsystem KernelServer",
                _ => "subsystem",
            },
            Statement::Skip(1) => "skip",
            Statement::Skip(_) => "skip N",
            Statement::Routine(routine) => {
                let place = format!("{file}::{}", routine.name.text);
                routine.arguments.iter().for_each(|a| self.argument(a, &place));
                routine.donation.iter().for_each(|d| self.donation(d, "donation", &place));
                if routine.simple { "simpleroutine" } else { "routine" }
            }
            Statement::Type { spec, name, .. } => {
                self.spec(spec, &format!("{file}::{}", name.text));
                "type"
            }
            Statement::Import { sides: Sides::Both, .. } => "import",
            Statement::Import { sides: Sides::User, .. } => "uimport",
            Statement::Import { sides: Sides::Server, .. } => "simport",
            Statement::ServerPrefix(_) => "serverprefix",
            Statement::UserPrefix(_) => "userprefix",
            Statement::ServerDemux(_) => "serverdemux",
            Statement::WaitTime(Some(_)) => "waittime",
            Statement::WaitTime(None) => "nowaittime",
            Statement::MsgOption(_) => "msgoption",
            Statement::RcsId(_) => "rcsid",
            Statement::DonationDefault(donation) => {
                self.donation(donation, "donation_default", file);
                "donation_default"
            }
        };
        self.add(production, file);
    }

    fn donation(&mut self, ceilings: &[Ceiling], production: &str, place: &str) {
        self.add(production, place);
        for ceiling in ceilings {
            let resource = match ceiling.resource {
                Resource::Cpu => "donation cpu",
                Resource::Frames => "donation frames",
                Resource::Io => "donation io",
                Resource::Depth => "donation depth",
                Resource::Deadline => "donation deadline",
                Resource::Accept => "donation accept",
                Resource::Retain => "donation retain",
            };
            self.add(resource, place);
            if ceiling.least.is_some() {
                self.add("donation at least", place);
            }
            if ceiling.most.is_some() {
                self.add("donation at most", place);
            }
        }
    }

    fn argument(&mut self, argument: &Argument, place: &str) {
        let direction = match argument.direction {
            Direction::None => "argument without direction",
            Direction::In => "argument in",
            Direction::Out => "argument out",
            Direction::InOut => "argument inout",
            Direction::RequestPort => "argument requestport",
            Direction::ReplyPort => "argument replyport",
            Direction::SReplyPort => "argument sreplyport",
            Direction::UReplyPort => "argument ureplyport",
            Direction::WaitTime => "argument waittime",
            Direction::MsgOption => "argument msgoption",
            Direction::MsgSeqno => "argument msgseqno",
        };
        self.add(direction, place);
        for (flag, _) in &argument.flags {
            let flag = match flag {
                Flag::IsLong => "flag islong",
                Flag::IsNotLong => "flag isnotlong",
                Flag::Dealloc => "flag dealloc",
                Flag::DeallocDynamic => "flag dealloc[]",
                Flag::NotDealloc => "flag notdealloc",
                Flag::ServerCopy => "flag servercopy",
                Flag::CountInOut => "flag countinout",
                Flag::RetCode => "flag retcode",
                Flag::Copy => "flag copy",
                Flag::Loan => "flag loan",
                Flag::Gift => "flag gift",
            };
            self.add(flag, place);
        }
        match &argument.spec {
            Some(spec) => {
                self.add("argument with its type spelled out", place);
                self.spec(spec, place);
            }
            None => self.named(&argument.type_name.text, place),
        }
    }

    fn named(&mut self, name: &str, place: &str) {
        if ["char", "short", "int", "int64", "uintptr_t", "intptr_t"].contains(&name) {
            self.add(&format!("built-in {name}"), place);
        }
    }

    fn spec(&mut self, spec: &TypeSpec, place: &str) {
        self.base(&spec.base, place);
        for (word, written) in
            [("ctype", &spec.ctype), ("cusertype", &spec.cusertype), ("cservertype", &spec.cservertype)]
        {
            if written.is_some() {
                self.add(word, place);
            }
        }
        spec.translations.iter().for_each(|(word, _)| self.add(word, place));
    }

    fn symbol(&mut self, text: &str, place: &str) {
        if text.eq_ignore_ascii_case("polymorphic") {
            self.add("polymorphic", place);
        }
        if text.starts_with(|c: char| c.is_ascii_digit()) {
            self.add("a number for a name", place);
        }
    }

    fn base(&mut self, base: &Base, place: &str) {
        let (production, inner) = match base {
            Base::Symbols(send, receive) => {
                [Some(send), receive.as_ref()]
                    .into_iter()
                    .flatten()
                    .for_each(|s| self.symbol(&s.text, place));
                (if receive.is_some() { "NAME|NAME" } else { "NAME" }, None)
            }
            Base::Sized { send, receive, flags, .. } => {
                self.symbol(&send.text, place);
                for (flag, _) in flags {
                    match flag {
                        Flag::IsLong => self.add("type islong", place),
                        Flag::IsNotLong => self.add("type isnotlong", place),
                        _ => {}
                    }
                }
                (if receive.is_some() { "(NAME|NAME, size)" } else { "(NAME, size)" }, None)
            }
            Base::Named(name) => {
                self.named(&name.text, place);
                ("alias", None)
            }
            Base::Array(Bound::Indefinite, inner, _) => ("array[] of", Some(inner)),
            Base::Array(Bound::AtMost(_), inner, _) => ("array[*:N] of", Some(inner)),
            Base::Array(Bound::Exactly(_), inner, _) => ("array[N] of", Some(inner)),
            Base::OutOfLine(inner, _) => ("^", Some(inner)),
            Base::StructArray(_, inner, _) => ("struct[N] of", Some(inner)),
            Base::Struct(fields, _) => {
                fields.iter().for_each(|(base, _)| self.base(base, place));
                ("struct { }", None)
            }
            Base::CString { variable: false, .. } => ("c_string[N]", None),
            Base::CString { variable: true, .. } => ("c_string[*:N]", None),
        };
        self.add(production, place);
        if let Some(inner) = inner {
            self.base(inner, place);
        }
    }
}

/// How an argument travels.
fn travels(argument: &mig_rs::model::Argument) -> &'static str {
    let wire = &argument.wire;
    let (rights, chosen) = (wire.carries_rights(), wire.send == 0xff);
    match (&wire.shape, wire.placement) {
        (Shape::Str { variable: false, .. }, _) => "a string",
        (Shape::Str { variable: true, .. }, _) => "a string of varying length",
        (Shape::Fixed(_), Placement::OutOfLine) => "a value out of line",
        (Shape::Fixed(_), _) if rights && chosen => "a right of the sender's choice",
        (Shape::Fixed(_), _) if rights => "a right",
        (Shape::Fixed(_), _) => "a value",
        (Shape::Variable(..), Placement::Inline) if rights => "rights in the message",
        (Shape::Variable(..), Placement::Chosen) if rights => "rights in the message or not",
        (Shape::Variable(..), Placement::OutOfLine) if rights => "rights out of line",
        (Shape::Variable(..), Placement::Inline) => "an array in the message",
        (Shape::Variable(..), Placement::Chosen) => "an array in the message or not",
        (Shape::Variable(..), Placement::OutOfLine) => "an array out of line",
    }
}

/// Every production is in a fixture.
pub(crate) fn check() -> Result<(), Failed> {
    let mut found = Found::default();
    for source in object::interfaces()? {
        let options = source.options(object::include());
        let list = statements(&source.file, &options).map_err(|failure| failure.to_string())?;
        list.iter().for_each(|s| found.statement(s, &source.name));
        let text = std::fs::read_to_string(&source.file)?;
        for (production, spelled) in SPELLINGS.iter().filter(|(_, spelled)| text.contains(spelled)) {
            found.add(production, &format!("{}: {spelled:?}", source.name));
        }
        let mode = std::fs::read_to_string(source.file.with_file_name("mode.defs")).unwrap_or_default();
        for (production, spelled) in SPELLINGS.iter().filter(|(_, spelled)| mode.contains(spelled)) {
            found.add(production, &format!("mode.defs: {spelled:?}"));
        }
        let model = super::model(&source)?;
        for routine in &model.routines {
            for argument in &routine.arguments {
                let place = format!("{}::{}", source.name, routine.name);
                for (is, way) in
                    [(argument.role.in_request(), "request"), (argument.role.in_reply(), "reply")]
                {
                    if is {
                        found.add(&format!("{} in a {way}", travels(argument)), &place);
                    }
                }
                if argument.role == Role::Unused {
                    return Err(format!("{place}: {} is not used", argument.name).into());
                }
            }
        }
    }
    let both = TRAVELS.iter().flat_map(|t| [format!("{t} in a request"), format!("{t} in a reply")]);
    let all: Vec<String> = PRODUCTIONS
        .iter()
        .chain(SPELLINGS.iter().map(|(production, _)| production))
        .map(ToString::to_string)
        .chain(both)
        .collect();
    let missing: Vec<&String> = all.iter().filter(|p| !found.0.contains_key(*p)).collect();
    let unknown: Vec<&String> = found.0.keys().filter(|p| !all.contains(p)).collect();
    if missing.is_empty() && unknown.is_empty() {
        return Ok(());
    }
    Err(format!("in no interface: {missing:#?}\nnot in the list: {unknown:#?}\nfound: {:#?}", found.0).into())
}
