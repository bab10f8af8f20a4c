//! The model as Rust source: ids, client functions, server trait, demultiplexer.
//!
//! The mapping of types is in `docs/mapping.md`. Names of arguments are kept; locals of generated functions end in `_`,
//! so they cannot meet them.

mod clash;
mod client;
mod donation;
mod items;
mod rust;
mod server;
mod translation;
mod words;

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::model::{Argument, Complex, Item, Message, Placement, Role, Routine, Shape, StructDef, Subsystem};
use crate::source::Diagnostic;
pub(crate) use donation::{payer_words, words as offer_words};
use items::reply_type;
pub(crate) use rust::camel;
use rust::{doc, elem_type, ident, shout, struct_name};

/// What the caller of the generator may choose.
#[derive(Clone, Debug, Default)]
pub struct EmitOptions {
    /// Path of a module that has the structs, such as `crate::types`; without it they are part of the output.
    pub types_path: Option<String>,
    /// Put before the names of all client functions and server methods (`-prefix`).
    pub prefix: String,
    /// Files of `import`s, without quotes, and what is used instead: `ports.h` to `crate::ports::*`.
    pub imports: BTreeMap<String, String>,
    /// Types of C (`ctype`, `cusertype`, `cservertype`, or the name in the `.defs`) and what Rust has for them: `vm_prot_t` to
    /// `crate::Protection`. It must convert to and from what is on the wire with `From`.
    pub rust_types: BTreeMap<String, String>,
    /// Make conversions of translations: the server's trait gets a type and a function for each.
    pub translate: bool,
    /// What rights are in an interface of which one side is a kernel: a type with `mig_runtime::Name`; without it
    /// `mig_runtime::KernelPort`. In other interfaces it means nothing.
    pub kernel_port: Option<String>,
}

impl EmitOptions {
    /// What becomes of types, in an interface for which `kernel_port` has been settled.
    fn types(&self) -> Types<'_> {
        Types { path: self.types_path.as_deref(), right: self.kernel_port.as_deref(), kernel_serves: false }
    }
}

/// What types become.
#[derive(Clone, Copy, Default)]
struct Types<'o> {
    /// The module that has the structs.
    path: Option<&'o str>,
    /// The type of rights, where that is not `PortName`.
    right: Option<&'o str>,
    /// The server is a kernel, which writes rights as they are received.
    kernel_serves: bool,
}

impl Types<'_> {
    /// A right with its disposition.
    fn port(self) -> String {
        self.right.map_or_else(|| "Port".into(), |right| format!("Port<{right}>"))
    }
    /// A right whose disposition is known.
    fn name(self) -> String {
        self.right.unwrap_or("PortName").into()
    }
    /// Several with one disposition.
    fn ports(self) -> String {
        self.right.map_or_else(|| "Ports<'_>".into(), |right| format!("Ports<'_, {right}>"))
    }
}

/// Names of the runtime that generated code may mention; those it does mention are imported.
const RUNTIME: [&str; 27] = [
    "Array",
    "Bad",
    "Bounded",
    "Buffer",
    "CallOptions",
    "Data",
    "Decoder",
    "Donation",
    "Encoder",
    "FixedStr",
    "KernelPort",
    "Loan",
    "Mode",
    "Ool",
    "OutData",
    "Outcome",
    "Overflow",
    "Port",
    "PortName",
    "Ports",
    "Request",
    "Retain",
    "RpcError",
    "Shape",
    "Text",
    "Transport",
    "Value",
];

/// The formatted source of one subsystem's module. `source` is named in its first line.
///
/// # Errors
/// What the interface says and Rust cannot have; [`Diagnostic::render`] shows it in the `.defs`.
pub fn emit(subsystem: &Subsystem, source: &str, options: &EmitOptions) -> Result<String, Box<Diagnostic>> {
    let mut body = String::new();
    let kernel = subsystem.kernel_server || subsystem.kernel_user;
    let right = kernel.then(|| options.kernel_port.clone().unwrap_or_else(|| "KernelPort".into()));
    let options = &EmitOptions { kernel_port: right, ..options.clone() };
    words::words(&mut body, subsystem, options);
    ids(&mut body, subsystem);
    donation::offers(&mut body, subsystem);
    if options.types_path.is_none() {
        for def in &subsystem.structs {
            structure(&mut body, def, Types::default());
        }
    }
    for routine in &subsystem.routines {
        reply_struct(&mut body, routine, options)?;
    }
    for routine in &subsystem.routines {
        client::client(&mut body, routine, options)?;
    }
    server::server(&mut body, subsystem, options)?;
    let title =
        format!("Interface `{}`: message ids from {}, replies 100 higher.", subsystem.name, subsystem.base);
    let about = words::about(subsystem, options);
    let file = finish(&body, source, &title, Some(about.trim()).filter(|a| !a.is_empty()))?;
    clash::judge(&file, subsystem, options)?;
    Ok(written(&file, source))
}

/// The formatted source of a module that has structs only.
///
/// # Errors
/// As for [`emit`].
pub fn emit_types(structs: &[std::rc::Rc<StructDef>], source: &str) -> Result<String, Box<Diagnostic>> {
    let mut body = String::new();
    for def in structs {
        structure(&mut body, def, Types::default());
    }
    Ok(written(&finish(&body, source, "Structs that interfaces share.", None)?, source))
}

fn written(file: &syn::File, source: &str) -> String {
    format!("// Generated by mig-rs from {source}. Do not edit.\n\n{}", prettyplease::unparse(file))
}

fn finish(body: &str, source: &str, title: &str, about: Option<&str>) -> Result<syn::File, Box<Diagnostic>> {
    let is_code = |line: &&str| !line.starts_with("#[doc") && !line.starts_with("///");
    let code = body.lines().filter(is_code).collect::<Vec<_>>().join("\n");
    let mentioned = |name: &str| {
        code.match_indices(name).any(|(at, _)| {
            let word = |c: char| c.is_alphanumeric() || c == '_' || c == ':';
            !code[..at].chars().next_back().is_some_and(word)
                && !code[at + name.len()..].chars().next().is_some_and(|c| c.is_alphanumeric() || c == '_')
        })
    };
    let used: Vec<&str> = RUNTIME.iter().copied().filter(|n| mentioned(n)).collect();
    let mut text = String::new();
    for line in title.lines().chain(about.into_iter().flat_map(|a| std::iter::once("").chain(a.lines()))) {
        let _ = writeln!(text, "#![doc = {:?}]", format!(" {line}"));
    }
    text.push_str("#![allow(clippy::all, non_snake_case, unreachable_pub, reason = \"generated\")]\n");
    if !used.is_empty() {
        let _ = writeln!(text, "use mig_runtime::{{{}}};", used.join(", "));
    }
    text.push_str(body);
    syn::parse_file(&text)
        .map_err(|e| Box::new(Diagnostic::general(format!("the names in {source} do not make Rust: {e}"))))
}

fn ids(out: &mut String, subsystem: &Subsystem) {
    let _ = writeln!(out, "/// Id of the first routine.\npub const BASE: i32 = {};", subsystem.base);
    let _ = writeln!(out, "/// Message ids of requests.\npub mod id {{");
    for routine in &subsystem.routines {
        let _ = writeln!(
            out,
            "#[doc = {:?}]\npub const {}: i32 = {};",
            format!(" `{}`", routine.name),
            shout(&routine.name),
            routine.id
        );
    }
    out.push_str("}\n");
}

fn structure(out: &mut String, def: &StructDef, types: Types<'_>) {
    let name = struct_name(&def.name);
    doc(out, def.doc.as_deref().unwrap_or(""));
    doc(out, &format!("\n`{}`: {} bytes.", def.name, def.size));
    let _ = writeln!(out, "#[derive(Clone, Copy, Debug, PartialEq)]\npub struct {name} {{");
    for field in &def.fields {
        let ty = elem_type(&field.elem, types);
        let _ = writeln!(out, "/// At byte {}.\npub {}: {ty},", field.offset, ident(&field.name));
    }
    let _ = writeln!(out, "}}\nimpl Value for {name} {{\nconst SIZE: usize = {};", def.size);
    out.push_str("const ZERO: Self = Self {");
    for field in &def.fields {
        let _ = write!(out, "{}: <{} as Value>::ZERO,", ident(&field.name), elem_type(&field.elem, types));
    }
    out.push_str("};\nfn load(bytes: &[u8]) -> Self { Self {");
    for field in &def.fields {
        let ty = elem_type(&field.elem, types);
        let _ = write!(
            out,
            "{}: <{ty}>::load(bytes.get({}..).unwrap_or(&[])),",
            ident(&field.name),
            field.offset
        );
    }
    // Padding is written too, or the old contents of the buffer would leave with it.
    out.push_str("} }\nfn store(self, bytes: &mut [u8]) {\nif let Some(all) = bytes.get_mut(..Self::SIZE) { all.fill(0); }\n");
    for field in &def.fields {
        let _ = writeln!(
            out,
            "if let Some(place) = bytes.get_mut({}..) {{ self.{}.store(place); }}",
            field.offset,
            ident(&field.name)
        );
    }
    out.push_str("} }\n");
}

fn outs(routine: &Routine) -> impl Iterator<Item = &Argument> {
    routine.arguments.iter().filter(|a| a.role.in_reply())
}

/// The strings of a reply that a server's method writes where they are to be: argument, bytes of the field and where it begins.
/// A string behind something of varying length has no such place before that is known, and is returned; so is one that
/// also comes in.
fn in_place(routine: &Routine) -> Vec<(&Argument, u32, u64)> {
    let items = routine.reply.iter().flat_map(|reply| &reply.items);
    items
        .take_while(|item| item.wire.min_data_length() == item.wire.data_length())
        .filter_map(|item| match (&routine.arguments[item.argument?], &item.wire.shape) {
            (argument, Shape::Str { size, variable: false })
                if argument.role == Role::Out && item.wire.placement == Placement::Inline =>
            {
                Some((argument, *size, item.type_offset + 8))
            }
            _ => None,
        })
        .collect()
}

/// What a server's method returns of the arguments that come out: all but those that it writes in place.
fn returned(routine: &Routine) -> Vec<&Argument> {
    let places = in_place(routine);
    outs(routine).filter(|a| !places.iter().any(|(place, ..)| std::ptr::eq(*place, *a))).collect()
}

fn reply_name(routine: &Routine) -> String {
    if outs(routine).next().is_some() { format!("{}Reply", camel(&routine.name)) } else { "()".into() }
}

fn reply_struct(out: &mut String, routine: &Routine, options: &EmitOptions) -> Result<(), Box<Diagnostic>> {
    if outs(routine).next().is_none() {
        return Ok(());
    }
    let _ = writeln!(out, "#[doc = {:?}]", format!(" What `{}` returns.", routine.name));
    let _ = writeln!(out, "#[derive(Clone, Debug, PartialEq)]\npub struct {} {{", reply_name(routine));
    for argument in outs(routine) {
        let _ = writeln!(out, "#[doc = {:?}]", format!(" `{}`", argument.type_name));
        let user = words::user_type(argument, options);
        if user != words::server_type(argument, options) && argument.translation.is_none() {
            let message = format!(
                "{} comes out of {} as {} and as {}",
                argument.name, routine.name, argument.user_type, argument.server_type
            );
            let error = Diagnostic::error(argument.span, message)
                .note("what comes out has one Rust type on both sides")
                .help("say what Rust has for both, or for neither");
            return Err(Box::new(error));
        }
        let own = reply_type(&argument.wire, options.types());
        let _ = writeln!(out, "pub {}: {},", ident(&argument.name), user.map_or(own, str::to_string));
    }
    out.push_str("}\n");
    Ok(())
}

fn shape(message: &Message) -> String {
    let complex = match message.complex {
        Complex::Never => "Some(false)",
        Complex::Always => "Some(true)",
        Complex::Maybe => "None",
    };
    format!("Shape {{ min: {}, fixed: {}, complex: {complex} }}", message.min, !message.is_variable())
}

fn sizes(message: &Message) -> String {
    if message.is_variable() {
        format!("{} to {} bytes", message.min, message.max)
    } else {
        format!("{} bytes", message.max)
    }
}

/// Which way the arguments go: the names and types of the interface.
fn ways(routine: &Routine) -> String {
    let way = |title: &str, matches: fn(Role) -> bool| {
        let list: Vec<String> = routine
            .arguments
            .iter()
            .filter(|a| matches(a.role))
            .map(|a| format!("`{}` ({})", a.name, a.type_name))
            .collect();
        if list.is_empty() { String::new() } else { format!("{title}: {}. ", list.join(", ")) }
    };
    let text = [
        way("In", |role| role == Role::In),
        way("In and out", |role| role == Role::InOut),
        way("Out", |role| role == Role::Out),
    ]
    .concat();
    wrapped(text.trim_end())
}

/// Lines of at most so many columns.
const COLUMNS: usize = 110;

fn wrapped(text: &str) -> String {
    let mut out = String::new();
    let mut column = 0;
    for word in text.split(' ') {
        if column > 0 && column + word.len() >= COLUMNS {
            out.push('\n');
            column = 0;
        } else if column > 0 {
            out.push(' ');
        }
        out.push_str(word);
        column += word.len() + 1;
    }
    out
}

fn routine_doc(out: &mut String, routine: &Routine) {
    let reply = match &routine.reply {
        Some(reply) => format!("reply {} ({})", routine.id.wrapping_add(100), sizes(reply)),
        None => "no reply".into(),
    };
    let message = format!("Message {} ({}), {reply}.", routine.id, sizes(&routine.request));
    // By convention the comment ends with a paragraph that begins with `Errors:`.
    let text = routine.doc.as_deref().unwrap_or("");
    let (about, errors) = match text.find("Errors:") {
        Some(at) => (text[..at].trim_end(), text[at + "Errors:".len()..].trim_start()),
        None => (text, ""),
    };
    let errors = if errors.is_empty() { "The interface names none." } else { errors };
    let errors = format!("# Errors\n{errors}");
    let (payer, ways) = (donation::payer(routine), ways(routine));
    let parts: Vec<&str> =
        [about, &message, &ways, &payer, errors.as_str()].into_iter().filter(|p| !p.is_empty()).collect();
    doc(out, &parts.join("\n\n"));
}

fn items_of(message: &Message) -> impl Iterator<Item = (&Item, usize)> {
    message.items.iter().filter_map(|i| i.argument.map(|a| (i, a)))
}
