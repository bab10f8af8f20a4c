//! C that calls and serves the routines of an interface from plain arrays of values, made from GNU MIG's prototypes and
//! mig-rs's model of the same file.
//!
//! The prototypes say how C passes an argument (by value, as an array, through a pointer, with which extra parameters);
//! the model says what it is. Types that no header has are declared with the size and alignment that the model gives;
//! GNU MIG's stubs assert the sizes.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use anyhow::{Context, Result, bail};
use mig_rs::model::{Argument, Elem, Placement, Prim, Role, Routine, Shape, Subsystem};

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

/// Bytes of an element in C. A kernel's rights are as large as addresses.
fn size_of(elem: &Elem, kernel: bool) -> u64 {
    if kernel && elem.is_right() { elem.size() * 2 } else { elem.size() }
}

/// Bytes of one element of an argument in C.
fn element(argument: &Argument, kernel: bool) -> u64 {
    match &argument.wire.shape {
        Shape::Fixed(elem) | Shape::Variable(elem, _) => size_of(elem, kernel),
        Shape::Str { .. } => 1,
    }
}

/// What a server makes of an argument that comes in: the value is no longer as on the wire.
fn is_made(argument: &Argument) -> bool {
    argument.translation.as_deref().is_some_and(|t| match argument.role {
        Role::RequestPort => t.intran.is_some() || t.intran_payload.is_some(),
        Role::In | Role::InOut | Role::ReplyPort { server: true, .. } => t.intran.is_some(),
        _ => false,
    })
}

/// The function that makes what goes out of the server's value.
fn outtran(argument: &Argument) -> Option<&str> {
    argument.translation.as_deref().filter(|_| argument.role.in_reply())?.outtran.as_deref()
}

/// A C type without a name of its own: size and alignment are all that matters, and what kind of register it goes in.
fn plain(elem: &Elem, kernel: bool) -> String {
    match elem {
        Elem::Prim(Prim::Right) if kernel => "mach_port_t".into(),
        Elem::Prim(Prim::Bool) => "int".into(),
        Elem::Prim(Prim::Float(32)) => "float".into(),
        Elem::Prim(Prim::Float(_)) => "double".into(),
        Elem::Prim(Prim::Int { bits, signed: Some(true) }) => format!("int{bits}_t"),
        Elem::Prim(Prim::Int { bits, .. }) => format!("uint{bits}_t"),
        Elem::Prim(_) => "mach_port_name_t".into(),
        Elem::Struct(_) | Elem::Array(..) => {
            let align = if kernel && elem.is_right() { 8 } else { elem.align().max(1) };
            format!("struct {{ uint{}_t w[{}]; }}", align * 8, size_of(elem, kernel) / u64::from(align))
        }
    }
}

struct Types<'a> {
    kernel: bool,
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
        let (name, kernel) = (parameter.kind.as_str(), self.kernel);
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
                let element = element_type(&argument.name, code).unwrap_or_else(|| plain(elem, kernel));
                self.define(&element, |n| format!("{} {n}", plain(elem, kernel)));
                if placement == Placement::Inline {
                    let most = most.unwrap_or(0);
                    self.define(name, |n| format!("{element} {n}[{most}]"));
                } else {
                    self.define(name, |n| format!("{element} *{n}"));
                    self.define(&constant, |n| format!("const {element} *{n}"));
                }
            }
            (Shape::Fixed(elem @ Elem::Array(..)), _) if is_array(argument, parameter) => {
                let bits = if self.kernel && elem.is_right() { 64 } else { elem.align().max(1) * 8 };
                let n = size_of(elem, self.kernel) * 8 / u64::from(bits);
                self.define(name, |name| format!("uint{bits}_t {name}[{n}]"));
            }
            (Shape::Fixed(elem), _) => self.define(name, |n| format!("{} {n}", plain(elem, kernel))),
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
    let kernel = subsystem.kernel_server || subsystem.kernel_user;
    if kernel {
        known.insert("ipc_port_t".into());
    }
    let mut types = Types { kernel, known: &known, own: BTreeSet::new(), text: String::new() };
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
        names(routine, (user, user_side), (server, server_side))?;
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
        serve(&mut code, &routine.arguments, server_side, kernel);
        let _ = writeln!(table, "  {{ \"{}\", call_{} }},", routine.name, user_side.name);
    }
    let own = subsystem.server_demux.clone().unwrap_or_else(|| format!("{}_server", subsystem.name));
    let demux = format!("{}{own}", server.prefix);
    if !server.code.contains(&format!("mig_routine_t {demux}_routines[] = {{")) {
        bail!("{interface}: GNU MIG's demultiplexer is not {demux}");
    }
    let _ = writeln!(
        code,
        "{}static const struct wire_routine routines[] = {{\n{table}}};\n\
         const struct wire_interface wire_{interface} = {{ \"{interface}\", serve, {}, routines }};",
        if subsystem.kernel_server { kernel_demux(subsystem, &demux) } else { user_demux(&demux) },
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
            let put_right = format!("wire_side_by_side (In{n}P->{name}, In{n}P->{name}Type.msgt_number),");
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

fn user_demux(demux: &str) -> String {
    format!(
        "extern boolean_t {demux} (mach_msg_header_t *, mach_msg_header_t *);\n\
         static int serve (void *request, void *reply) {{ return {demux} (request, reply); }}\n"
    )
}

/// Of a kernel's server GNU MIG writes a table only: a kernel looks up all its interfaces in one place. There it begins the
/// reply, too, to the port that is the header's local one.
fn kernel_demux(subsystem: &Subsystem, demux: &str) -> String {
    format!(
        "extern mig_routine_t {demux}_routines[];\n\
         static int\nserve (void *request, void *reply)\n{{\n  \
         const mach_msg_header_t *in = request;\n  \
         mig_reply_header_t *out = reply;\n  \
         uint32_t number = in->msgh_id - {base};\n  \
         out->Head.msgh_bits = MACH_MSGH_BITS (MACH_MSGH_BITS_LOCAL (in->msgh_bits), 0);\n  \
         out->Head.msgh_size = sizeof *out;\n  \
         out->Head.msgh_remote_port = in->msgh_local_port;\n  \
         out->Head.msgh_local_port = MACH_PORT_NULL;\n  \
         out->Head.msgh_seqno = 0;\n  \
         out->Head.msgh_id = in->msgh_id + 100;\n  \
         out->RetCodeType = (mach_msg_type_t) {{ .msgt_name = MACH_MSG_TYPE_INTEGER_32, .msgt_size = 32, .msgt_number = 1, .msgt_inline = TRUE }};\n  \
         out->RetCode = MIG_BAD_ID;\n  \
         if (number >= {count} || {demux}_routines[number] == 0)\n    return FALSE;\n  \
         {demux}_routines[number] (request, &out->Head);\n  return TRUE;\n}}\n",
        base = subsystem.base,
        count = subsystem.count
    )
}

/// GNU MIG's functions are named as mig-rs's, but for `-prefix`.
fn names(
    routine: &Routine,
    (user, user_side): (&Written, &Prototype),
    (server, server_side): (&Written, &Prototype),
) -> Result<()> {
    for (written, prototype, own) in
        [(user, user_side, &routine.user_name), (server, server_side, &routine.server_name)]
    {
        if prototype.name != format!("{}{own}", written.prefix) {
            bail!("GNU MIG's function is {}, mig-rs's {own}", prototype.name);
        }
    }
    Ok(())
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
fn serve(out: &mut String, arguments: &[Argument], prototype: &Prototype, kernel: bool) {
    let parameter = |index: usize, part: Part| {
        let is_it = |p: &&Parameter| {
            belongs(&p.name, arguments).is_some_and(|(i, _, found)| i == index && found == part)
        };
        prototype.parameters.iter().find(is_it)
    };
    let (mut refused, mut seen, mut given) = (String::new(), String::new(), String::new());
    for (i, argument) in arguments.iter().enumerate() {
        let Some(data) = parameter(i, Part::Data) else { continue };
        let (name, size) = (&data.name, element(argument, kernel));
        let count = parameter(i, Part::Count);
        let disposition = parameter(i, Part::Disposition);
        let passed = argument.role.in_request()
            || matches!(argument.role, Role::ReplyPort { .. } | Role::RequestPort | Role::MsgSeqno);
        let told = match disposition {
            Some(p) if p.pointer => format!("*{}", p.name),
            Some(p) => p.name.clone(),
            None => "0".into(),
        };
        if is_made(argument) && argument.translation.as_deref().is_some_and(|t| t.intran.is_none()) {
            // GNU MIG assigns a bare port to it, so that it is a number.
            let _ = writeln!(refused, "  if ({name} == 0)\n    return wire_host.refused ();");
            let _ = writeln!(seen, "  wire_host.seen ({i}, &{name}, sizeof {name}, 1, {told}, 1);");
        } else if is_made(argument) {
            let pointer = data.pointer || is_array(argument, data);
            let object = if pointer { format!("(*{name})") } else { name.clone() };
            let _ = writeln!(refused, "  if ({object}.is_null)\n    return wire_host.refused ();");
            let _ = writeln!(seen, "  wire_host.seen ({i}, {object}.bytes, {object}.size, 1, {told}, 1);");
        } else if passed {
            let pointer =
                if data.pointer && !is_array(argument, data) || is_array(argument, data) && !data.pointer {
                    format!("(const void *) {name}")
                } else if data.pointer {
                    format!("(const void *) *{name}")
                } else {
                    format!("&{name}")
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
        if let Some(function) = outtran(argument) {
            let _ = writeln!(given, "  *{name} = wire_answer (\"{function}\", {answer}.data, {size});");
        }
        match (&argument.wire.shape, argument.wire.placement) {
            _ if outtran(argument).is_some() => {}
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
        "{}\n{{\n{refused}{seen}  int code_ = wire_host.code ();\n  if (code_ != 0)\n    return code_;\n  \
         const struct wire_value *answer_ = wire_host.answer ();\n{given}  return 0;\n}}",
        declaration(prototype)
    );
}
