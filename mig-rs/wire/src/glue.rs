//! C that calls and serves the routines of an interface from plain arrays of values, made from GNU MIG's prototypes and
//! mig-rs's model of the same file.
//!
//! The prototypes say how C passes an argument (by value, as an array, through a pointer, with which extra parameters);
//! the model says what it is. Types that no header has are declared with the size and alignment that the model gives;
//! GNU MIG's stubs assert the sizes.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use anyhow::{Context, Result, bail};
use mig_rs::model::{Argument, Elem, Placement, Prim, Role, Shape, Subsystem};

use crate::gnu::Written;

/// The texts of one interface.
pub struct Glue {
    /// A header with the types that the stubs mention.
    pub types: String,
    /// The glue.
    pub code: String,
}

/// A parameter in a prototype.
#[derive(Clone, Debug)]
struct Parameter {
    /// Without `const` and `*`.
    kind: String,
    is_const: bool,
    pointer: bool,
    name: String,
}

#[derive(Clone, Debug)]
struct Prototype {
    name: String,
    parameters: Vec<Parameter>,
}

/// What an extra parameter tells of its argument.
#[derive(Clone, Copy, PartialEq)]
enum Part {
    Data,
    Count,
    Disposition,
    Dealloc,
    Copied,
}

/// The names that preprocessed C defines by `typedef`.
#[must_use]
pub fn typedefs(text: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    let code: String = text.lines().filter(|l| !l.starts_with('#')).flat_map(|l| [l, "\n"]).collect();
    for (at, mark) in code.match_indices("typedef") {
        let mut depth = 0;
        let mut end = at + mark.len();
        for (i, c) in code[end..].char_indices() {
            match c {
                '{' => depth += 1,
                '}' => depth -= 1,
                ';' if depth == 0 => {
                    end += i;
                    break;
                }
                _ => {}
            }
        }
        let declared = code[at..end].split('[').next().unwrap_or("").trim_end();
        let word = declared.rsplit(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or("");
        names.insert(word.to_owned());
    }
    names
}

fn prototypes(header: &str) -> Result<Vec<Prototype>> {
    let mut list = Vec::new();
    for (at, mark) in header.match_indices("\nkern_return_t ") {
        let rest = &header[at + mark.len()..];
        let (name, rest) = rest.split_once('(').context("a prototype without parameters")?;
        let (text, _) = rest.split_once(")").context("a prototype without an end")?;
        let mut parameters = Vec::new();
        for parameter in text.split(',').map(str::trim) {
            let split =
                parameter.rfind([' ', '*']).with_context(|| format!("a parameter is {parameter:?}"))?;
            let (kind, name) = parameter.split_at(split + 1);
            let kind = kind.trim();
            parameters.push(Parameter {
                is_const: kind.starts_with("const "),
                pointer: kind.ends_with('*'),
                kind: kind.trim_start_matches("const ").trim_end_matches('*').trim().to_owned(),
                name: name.to_owned(),
            });
        }
        list.push(Prototype { name: name.trim().to_owned(), parameters });
    }
    Ok(list)
}

/// The argument that a parameter belongs to.
fn belongs<'a>(parameter: &str, arguments: &'a [Argument]) -> Option<(usize, &'a Argument, Part)> {
    let found = |name: &str, part| {
        let index = arguments.iter().position(|a| a.name == name)?;
        Some((index, &arguments[index], part))
    };
    found(parameter, Part::Data)
        .or_else(|| found(parameter.strip_suffix("Cnt")?, Part::Count))
        .or_else(|| found(parameter.strip_suffix("Poly")?, Part::Disposition))
        .or_else(|| found(parameter.strip_suffix("Dealloc")?, Part::Dealloc))
        .or_else(|| found(parameter.strip_suffix("SCopy")?, Part::Copied))
}

/// An argument that C holds as an array, which decays, or as a pointer.
fn is_array(argument: &Argument, parameter: &Parameter) -> bool {
    match &argument.wire.shape {
        Shape::Str { .. } | Shape::Variable(..) => true,
        Shape::Fixed(_) if argument.wire.placement == Placement::OutOfLine => true,
        // `struct[N]` goes by value or through a pointer, `array[N]` never.
        Shape::Fixed(Elem::Array(..)) => {
            !parameter.pointer && (parameter.is_const || argument.role.in_reply())
        }
        Shape::Fixed(_) => false,
    }
}

/// Bytes of one element in C.
fn element(argument: &Argument) -> u64 {
    match &argument.wire.shape {
        Shape::Fixed(elem) | Shape::Variable(elem, _) => elem.size(),
        Shape::Str { .. } => 1,
    }
}

/// A C type without a name of its own: size and alignment are all that matters, and what kind of register it goes in.
fn plain(elem: &Elem) -> String {
    match elem {
        Elem::Prim(Prim::Bool) => "int".into(),
        Elem::Prim(Prim::Float(32)) => "float".into(),
        Elem::Prim(Prim::Float(_)) => "double".into(),
        Elem::Prim(Prim::Int { bits, signed: Some(true) }) => format!("int{bits}_t"),
        Elem::Prim(Prim::Int { bits, .. }) => format!("uint{bits}_t"),
        Elem::Prim(_) => "mach_port_name_t".into(),
        Elem::Struct(_) | Elem::Array(..) => {
            let align = elem.align().max(1);
            format!("struct {{ uint{}_t w[{}]; }}", align * 8, elem.size() / u64::from(align))
        }
    }
}

struct Types<'a> {
    known: &'a BTreeSet<String>,
    own: BTreeSet<String>,
    text: String,
}

impl Types<'_> {
    fn is_known(&self, name: &str) -> bool {
        const BASIC: [&str; 10] =
            ["void", "char", "short", "int", "long", "unsigned", "signed", "float", "double", "int64"];
        let basic = name != "int64" && name.split(' ').all(|w| BASIC.contains(&w));
        basic || self.known.contains(name) || self.own.contains(name)
    }

    fn define(&mut self, name: &str, declaration: impl FnOnce(&str) -> String) {
        if !self.is_known(name) {
            let _ = writeln!(self.text, "typedef {};", declaration(name));
            self.own.insert(name.to_owned());
        }
    }

    /// The type of an argument, and that of its elements, which the structs in `code` mention.
    fn of(&mut self, argument: &Argument, parameter: &Parameter, code: &str) {
        let name = parameter.kind.as_str();
        // Of strings and arrays there is a type with `const` in it, too.
        let name = if self.is_known(name) { name } else { name.strip_prefix("const_").unwrap_or(name) };
        let constant = format!("const_{name}");
        match (&argument.wire.shape, argument.wire.placement) {
            (Shape::Variable(..) | Shape::Fixed(_), Placement::OutOfLine) => {
                self.define(name, |n| format!("void *{n}"));
            }
            (Shape::Str { size, .. }, _) => {
                self.define(name, |n| format!("char {n}[{size}]"));
                self.define(&constant, |n| format!("const char *{n}"));
            }
            (Shape::Variable(elem, most), placement) => {
                let element = element_type(&argument.name, code).unwrap_or_else(|| plain(elem));
                self.define(&element, |n| format!("{} {n}", plain(elem)));
                if placement == Placement::Inline {
                    let most = most.unwrap_or(0);
                    self.define(name, |n| format!("{element} {n}[{most}]"));
                } else {
                    self.define(name, |n| format!("{element} *{n}"));
                    self.define(&constant, |n| format!("const {element} *{n}"));
                }
            }
            (Shape::Fixed(elem @ Elem::Array(..)), _) if is_array(argument, parameter) => {
                let bits = elem.align().max(1) * 8;
                let n = elem.size() * 8 / u64::from(bits);
                self.define(name, |name| format!("uint{bits}_t {name}[{n}]"));
            }
            (Shape::Fixed(elem), _) => self.define(name, |n| format!("{} {n}", plain(elem))),
        }
    }
}

/// The part of the stubs that is of one routine.
fn stub<'a>(code: &'a str, routine: &str) -> &'a str {
    let start = code.find(&format!("outine {routine} */")).unwrap_or(0);
    let rest = &code[start..];
    let end = ["\n/* Routine ", "\n/* SimpleRoutine "].iter().filter_map(|mark| rest.find(mark)).min();
    &rest[..end.unwrap_or(rest.len())]
}

/// The type `T` of `T *NAMEP;` in a message struct.
fn element_type(argument: &str, code: &str) -> Option<String> {
    let at = code.find(&format!("*{argument}P;"))?;
    let line = code[..at].rsplit('\n').next()?.trim();
    Some(line.trim_start_matches("const ").trim().to_owned())
}

/// Writes the glue of one interface. `known`: types that the headers define; `by_hand`: types and functions of
/// translations.
///
/// # Errors
/// When the prototypes do not fit the model.
pub fn c(
    interface: &str,
    subsystem: &Subsystem,
    user: &Written,
    server: &Written,
    known: &BTreeSet<String>,
    by_hand: Option<&str>,
) -> Result<Glue> {
    let mut known = known.clone();
    known.extend(typedefs(by_hand.unwrap_or("")));
    let mut types = Types { known: &known, own: BTreeSet::new(), text: String::new() };
    let (users, servers) = (prototypes(&user.header)?, prototypes(&server.header)?);
    if users.len() != subsystem.routines.len() || servers.len() != users.len() {
        bail!(
            "{interface}: GNU MIG has {} and {} routines, mig-rs {}",
            users.len(),
            servers.len(),
            subsystem.routines.len()
        );
    }
    let mut code = String::from("#include <string.h>\n#include \"wire.h\"\n");
    let mut table = String::new();
    for ((routine, user_side), server_side) in subsystem.routines.iter().zip(&users).zip(&servers) {
        for (prototype, text) in [(user_side, &user.code), (server_side, &server.code)] {
            let text = stub(text, &routine.name);
            for parameter in &prototype.parameters {
                match belongs(&parameter.name, &routine.arguments) {
                    Some((_, argument, Part::Data)) => types.of(argument, parameter, text),
                    Some(_) => {}
                    None => bail!("{}: whose parameter is {}?", prototype.name, parameter.name),
                }
            }
        }
        call(&mut code, &routine.arguments, user_side);
        serve(&mut code, &routine.arguments, server_side);
        let _ = writeln!(table, "  {{ \"{}\", call_{} }},", routine.name, user_side.name);
    }
    let (_, demux) = server.code.rsplit_once("mig_external boolean_t ").context("no demultiplexer")?;
    let demux = demux.split('\n').next().unwrap_or("").trim();
    let _ = writeln!(
        code,
        "extern boolean_t {demux} (mach_msg_header_t *, mach_msg_header_t *);\n\
         static int serve (void *request, void *reply) {{ return {demux} (request, reply); }}\n\
         static const struct wire_routine routines[] = {{\n{table}}};\n\
         const struct wire_interface wire_{interface} = {{ \"{interface}\", serve, {}, routines }};",
        users.len()
    );
    let types = format!(
        "#include \"{}\"\n{}\n{}",
        crate::object::shim().join("base.h").display(),
        by_hand.unwrap_or(""),
        types.text
    );
    Ok(Glue { types, code })
}

/// The server's stubs, with what GNU MIG gets wrong put right: the C for arrays of rights that lie in the message in a
/// varying number does not compile, because it takes the first one's name for the array of names.
#[must_use]
pub fn mended(code: &str, subsystem: &Subsystem) -> String {
    let mut code = code.to_owned();
    let arguments = subsystem.routines.iter().flat_map(|r| &r.arguments);
    let wrong = |a: &&Argument| {
        let variable = matches!(a.wire.shape, Shape::Variable(..)) && a.wire.placement == Placement::Inline;
        variable && a.wire.carries_rights() && a.role.in_request()
    };
    for name in arguments.filter(wrong).map(|a| &a.name) {
        for n in 0..32 {
            let put_right = format!("wire_names (In{n}P->{name}, In{n}P->{name}Type.msgt_number),");
            code = code.replace(&format!("In{n}P->{name}.name,"), &put_right);
        }
    }
    code
}

/// The table of all interfaces.
#[must_use]
pub fn table(names: &[String]) -> String {
    let mut text = String::from("#include \"wire.h\"\n");
    for name in names {
        let _ = writeln!(text, "extern const struct wire_interface wire_{name};");
    }
    let all: Vec<String> = names.iter().map(|n| format!("&wire_{n}")).collect();
    let _ = writeln!(
        text,
        "const struct wire_interface *const wire_interfaces[] = {{ {} }};\nconst uint32_t wire_interface_count = {};",
        all.join(", "),
        all.len()
    );
    text
}

fn declaration(prototype: &Prototype) -> String {
    let list: Vec<String> = prototype
        .parameters
        .iter()
        .map(|p| {
            let (constant, star) = (if p.is_const { "const " } else { "" }, if p.pointer { "*" } else { "" });
            format!("{constant}{} {star}{}", p.kind, p.name)
        })
        .collect();
    format!("kern_return_t {} ({})", prototype.name, list.join(", "))
}

/// The function that calls a client's stub.
fn call(out: &mut String, arguments: &[Argument], prototype: &Prototype) {
    let (mut before, mut list, mut after) = (String::new(), Vec::new(), String::new());
    for parameter in &prototype.parameters {
        let Some((i, argument, part)) = belongs(&parameter.name, arguments) else { continue };
        let kind = &parameter.kind;
        list.push(match (part, parameter.pointer) {
            (Part::Count, false) => format!("in[{i}].count"),
            (Part::Count, true) => format!("&out[{i}].count"),
            (Part::Disposition, false) => format!("in[{i}].disposition"),
            (Part::Disposition, true) => format!("(void *) &out[{i}].disposition"),
            (Part::Dealloc, _) => format!("in[{i}].dealloc"),
            (Part::Copied, _) => "0".into(),
            (Part::Data, true) if is_array(argument, parameter) => {
                let _ = writeln!(before, "  {kind} p{i} = out[{i}].data;");
                let _ = writeln!(
                    after,
                    "  out[{i}].out_of_line = (void *) p{i} != out[{i}].data;\n  out[{i}].data = (void *) p{i};"
                );
                format!("&p{i}")
            }
            (Part::Data, true) => format!("({kind} *) out[{i}].data"),
            (Part::Data, false) if argument.role.in_reply() => format!("out[{i}].data"),
            (Part::Data, false) if is_array(argument, parameter) => format!("in[{i}].data"),
            (Part::Data, false) => format!("*({kind} *) in[{i}].data"),
        });
    }
    let name = &prototype.name;
    let _ = writeln!(
        out,
        "extern {};\nstatic int\ncall_{name} (const struct wire_value *in, struct wire_value *out)\n{{\n{before}  \
         int code = {name} ({});\n{after}  return code;\n}}",
        declaration(prototype),
        list.join(", ")
    );
}

/// The function that a server's stub calls.
fn serve(out: &mut String, arguments: &[Argument], prototype: &Prototype) {
    let parameter = |index: usize, part: Part| {
        let is_it = |p: &&Parameter| {
            belongs(&p.name, arguments).is_some_and(|(i, _, found)| i == index && found == part)
        };
        prototype.parameters.iter().find(is_it)
    };
    let (mut seen, mut given) = (String::new(), String::new());
    for (i, argument) in arguments.iter().enumerate() {
        let Some(data) = parameter(i, Part::Data) else { continue };
        let (name, size) = (&data.name, element(argument));
        let count = parameter(i, Part::Count);
        let disposition = parameter(i, Part::Disposition);
        let passed = argument.role.in_request() || matches!(argument.role, Role::ReplyPort { .. });
        if passed {
            let pointer =
                if data.pointer && !is_array(argument, data) || is_array(argument, data) && !data.pointer {
                    format!("(const void *) {name}")
                } else if data.pointer {
                    format!("(const void *) *{name}")
                } else {
                    format!("&{name}")
                };
            let told = match disposition {
                Some(p) if p.pointer => format!("*{}", p.name),
                Some(p) => p.name.clone(),
                None => "0".into(),
            };
            let (length, number) = match (&argument.wire.shape, count) {
                (Shape::Str { size, .. }, _) => (format!("strnlen ({name}, {size})"), "1".to_owned()),
                (_, Some(count)) => {
                    let star = if count.pointer { "*" } else { "" };
                    (format!("{size}ull * {star}{}", count.name), format!("{star}{}", count.name))
                }
                _ => (size.to_string(), "1".to_owned()),
            };
            // What lies in the message or on the stack is surely there; other memory is where the message says.
            let sure =
                u32::from(argument.wire.placement == Placement::Inline && !argument.wire.is_variable());
            let _ = writeln!(seen, "  wire_host.seen ({i}, {pointer}, {length}, {number}, {told}, {sure});");
        }
        if argument.count_in_out
            && let Some(count) = count
        {
            let _ = writeln!(seen, "  wire_host.seen ({i}, 0, 0, *{}, 0, 1);", count.name);
        }
        if !argument.role.in_reply() {
            continue;
        }
        let answer = format!("answer_[{i}]");
        match (&argument.wire.shape, argument.wire.placement) {
            (_, Placement::OutOfLine) => {
                let _ = writeln!(given, "  *{name} = ({}) {answer}.data;", data.kind);
            }
            (Shape::Variable(..), Placement::Chosen) => {
                let room = count.map_or("0".into(), |c| format!("*{}", c.name));
                let _ = writeln!(
                    given,
                    "  if (!{answer}.out_of_line && {answer}.count <= {room})\n    \
                     memcpy ((void *) *{name}, {answer}.data, {size}ull * {answer}.count);\n  else\n    *{name} = {answer}.data;"
                );
            }
            (Shape::Variable(..), _) => {
                let _ = writeln!(given, "  memcpy ({name}, {answer}.data, {size}ull * {answer}.count);");
            }
            (Shape::Str { size, .. }, _) => {
                let _ = writeln!(given, "  memcpy ({name}, {answer}.data, {size});");
            }
            (Shape::Fixed(_), _) => {
                let _ = writeln!(given, "  memcpy ((void *) {name}, {answer}.data, {size});");
            }
        }
        if let Some(count) = count {
            let _ = writeln!(given, "  *{} = {answer}.count;", count.name);
        }
        if let Some(disposition) = disposition.filter(|p| p.pointer) {
            let _ = writeln!(given, "  *{} = {answer}.disposition;", disposition.name);
        }
        if let Some(dealloc) = parameter(i, Part::Dealloc) {
            let _ = writeln!(given, "  *{} = {answer}.dealloc;", dealloc.name);
        }
    }
    let _ = writeln!(
        out,
        "{}\n{{\n{seen}  int code_ = wire_host.code ();\n  if (code_ != 0)\n    return code_;\n  \
         const struct wire_value *answer_ = wire_host.answer ();\n{given}  return 0;\n}}",
        declaration(prototype)
    );
}
