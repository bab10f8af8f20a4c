//! Stubs of every interface that is compared, and Rust that calls and serves each routine from plain values.
//!
//! The model says which argument a parameter belongs to; the signature in the generated code says what type it has there,
//! and with that how a plain value becomes it.

use std::fmt::Write as _;
use std::path::PathBuf;

use interfaces::{Manner, Source};
use mig_rs::model::{Argument, Placement, Role, Routine, Shape, Subsystem, Translation};
use mig_rs::{EmitOptions, compile, emit};
use quote::ToTokens as _;
use syn::{FnArg, Item, ItemFn, ItemStruct, Pat, Signature, TraitItem};

#[path = "src/interfaces.rs"]
#[allow(unreachable_pub, reason = "the library's, too")]
mod interfaces;

fn main() {
    let manifest = PathBuf::from(std::env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets it"));
    let out = PathBuf::from(std::env::var_os("OUT_DIR").expect("cargo sets it"));
    let include = interfaces::include(&manifest);
    for folder in &include {
        println!("cargo::rerun-if-changed={}", folder.display());
    }
    let mut table = String::new();
    let mut entries = String::new();
    for source in interfaces::interfaces(&manifest).expect("the folders of interfaces can be read") {
        let Source { name, file, manner } = &source;
        let options = source.options(include.clone());
        let compiled = compile(file, &options).unwrap_or_else(|failure| panic!("{failure}"));
        let subsystem = &compiled.subsystem;
        let pairs = |list: &[(&str, &str)]| list.iter().map(|&(a, b)| (a.into(), b.into())).collect();
        let emitted = EmitOptions {
            prefix: manner.prefix.unwrap_or_default().into(),
            imports: pairs(manner.imports),
            rust_types: pairs(manner.types),
            translate: manner.translate,
            ..EmitOptions::default()
        };
        let stubs = emit(subsystem, name, &emitted).unwrap_or_else(|e| panic!("{e}"));
        let path = out.join(format!("{name}.rs"));
        std::fs::write(&path, &stubs).expect("OUT_DIR can be written");
        let glue_path = out.join(format!("glue_{name}.rs"));
        std::fs::write(&glue_path, Glue { subsystem, manner }.write(name, &stubs))
            .expect("OUT_DIR can be written");
        let (path, glue_path) = (path.display(), glue_path.display());
        let _ = writeln!(
            table,
            "#[allow(dead_code, missing_docs, reason = \"generated\")]\n#[path = {:?}]\nmod stubs_{name};\n#[path = {:?}]\nmod glue_{name};",
            path.to_string(),
            glue_path.to_string()
        );
        let _ = writeln!(
            entries,
            "Interface {{ name: {name:?}, dispatch: glue_{name}::dispatch, dispatch_offered: glue_{name}::dispatch_offered, routines: glue_{name}::ROUTINES }},"
        );
    }
    let _ =
        writeln!(table, "/// Every interface.\npub(crate) const INTERFACES: &[Interface] = &[\n{entries}];");
    std::fs::write(out.join("table.rs"), table).expect("OUT_DIR can be written");
    // For the program that is counted: `include!` takes no inner attributes.
    for name in ["null", "fs"] {
        let text = std::fs::read_to_string(out.join(format!("{name}.rs"))).expect("it was written");
        let bare: String = text
            .lines()
            .filter(|l| !l.starts_with("#![") && !l.starts_with("//!"))
            .flat_map(|l| [l, "\n"])
            .collect();
        std::fs::write(out.join(format!("bare_{name}.rs")), bare).expect("OUT_DIR can be written");
    }
}

/// A type's text without blanks.
fn text(tokens: &impl quote::ToTokens) -> String {
    tokens.to_token_stream().to_string().replace(' ', "")
}

/// Parameters after the first `skip`, as (name, type).
fn parameters(signature: &Signature, skip: usize) -> Vec<(String, String)> {
    let name = |argument: &FnArg| match argument {
        FnArg::Typed(typed) => match &*typed.pat {
            Pat::Ident(ident) => Some((ident.ident.to_string(), text(&typed.ty))),
            _ => None,
        },
        FnArg::Receiver(_) => None,
    };
    signature.inputs.iter().skip(skip).filter_map(name).collect()
}

/// The argument that a parameter belongs to, and whether it is the room for it.
fn belongs<'a>(parameter: &str, arguments: &'a [Argument]) -> Option<(usize, &'a Argument, bool)> {
    let bare = parameter.trim_end_matches('_');
    let find = |name: &str| {
        arguments
            .iter()
            .position(|a| a.name == name || a.name.trim_end_matches('_') == name.trim_end_matches('_'))
    };
    if let Some(index) = find(bare) {
        return Some((index, &arguments[index], false));
    }
    let index = find(bare.strip_suffix("_count")?)?;
    Some((index, &arguments[index], true))
}

/// One interface.
struct Glue<'a> {
    subsystem: &'a Subsystem,
    manner: &'a Manner,
}

/// A struct's fields, as (name, type).
fn fields(structure: Option<&&ItemStruct>) -> Vec<(String, String)> {
    let all = structure.into_iter().flat_map(|s| &s.fields);
    all.filter_map(|f| Some((f.ident.as_ref()?.to_string(), text(&f.ty)))).collect()
}

impl Glue<'_> {
    fn write(&self, interface: &str, stubs: &str) -> String {
        let file = syn::parse_file(stubs).expect("generated code is Rust");
        let functions: Vec<&ItemFn> =
            file.items.iter().filter_map(|i| if let Item::Fn(f) = i { Some(f) } else { None }).collect();
        let server = file
            .items
            .iter()
            .find_map(|i| match i {
                Item::Trait(t) if t.ident.to_string().ends_with("Server") => Some(t),
                _ => None,
            })
            .expect("a server trait");
        let structs: Vec<&ItemStruct> =
            file.items.iter().filter_map(|i| if let Item::Struct(s) = i { Some(s) } else { None }).collect();
        let (mut clients, mut methods, mut table) = (String::new(), String::new(), String::new());
        let prefix = self.manner.prefix.unwrap_or_default();
        let same = |ident: &syn::Ident, name: &str| {
            let (ident, name) = (ident.to_string(), format!("{prefix}{name}"));
            ident == name || ident.trim_end_matches('_') == name
        };
        let mut found = Vec::new();
        for routine in &self.subsystem.routines {
            let client =
                functions.iter().find(|f| same(&f.sig.ident, &routine.user_name)).expect("a client function");
            let method = server
                .items
                .iter()
                .find_map(|i| match i {
                    TraitItem::Fn(f) if same(&f.sig.ident, &routine.server_name) => Some(f),
                    _ => None,
                })
                .expect("a server method");
            found.push(method.sig.ident.to_string());
            self.client(&mut clients, routine, &client.sig, &structs);
            let _ = writeln!(table, "(\"{}\", {}),", routine.name, ident(&routine.name));
            self.method(&mut methods, routine, &method.sig, &structs);
        }
        for item in &server.items {
            match item {
                TraitItem::Type(t) => {
                    let _ = writeln!(methods, "type {} = Object;", t.ident);
                }
                TraitItem::Fn(f) if !found.contains(&f.sig.ident.to_string()) => {
                    self.translation(&mut methods, &f.sig);
                }
                _ => {}
            }
        }
        // A kernel's server reads its callers' own words.
        let raw = self.subsystem.kernel_server;
        let dispatch = match &self.subsystem.server_demux {
            Some(demux) => format!("{prefix}{demux}"),
            None if raw => "dispatch_raw".into(),
            None => "dispatch".into(),
        };
        format!(
            "//! Glue of `{interface}`.\n#![allow(unused_imports, unused_variables, dead_code, clippy::all, reason = \"generated\")]\nuse super::objects::*;\n\
             use super::plain::{{self, *}};\nuse super::stubs_{interface} as stubs;\n\
             use super::stubs_{interface}::*;\nuse mig_runtime::*;\n\
             pub(crate) const ROUTINES: &[(&str, Call)] = &[{table}];\n\
             pub(crate) fn dispatch(server: &mut Recorder, request: &[u8], reply: &mut [u8]) -> Outcome {{ stubs::{dispatch}(server, request, reply) }}\n\
             pub(crate) fn dispatch_offered(server: &mut Recorder, request: &Request<'_>, reply: &mut [u8]) -> Outcome {{ stubs::dispatch_request(server, request, reply) }}\n\
             /// Bytes of a right out of line.\nconst RIGHT: usize = {};\n\
             {clients}\nimpl stubs::{} for Recorder {{\n{methods}}}\n",
            if self.is_kernel() { 8 } else { 4 },
            server.ident
        )
    }

    /// The function that calls a client function with plain values.
    fn client(&self, out: &mut String, routine: &Routine, signature: &Signature, structs: &[&ItemStruct]) {
        let call: Vec<String> = parameters(signature, 1)
            .iter()
            .map(|(name, kind)| match belongs(name, &routine.arguments) {
                Some((i, _, true)) => format!("a[{i}].room"),
                Some((i, argument, false)) => to_rust(i, argument, kind),
                None if kind == "&Donation" => "&t.offer".into(),
                None => panic!("{}: whose parameter is {name}: {kind}?", routine.name),
            })
            .collect();
        let result = text(&signature.output);
        let fields = fields(structs.iter().find(|s| result.contains(&format!("<{},", s.ident))));
        let mut got = String::new();
        for (field, kind) in &fields {
            let (i, argument, _) = belongs(field, &routine.arguments).expect("a result is an argument");
            let _ = writeln!(got, "got.push({});", to_plain(i, argument, kind, &format!("r.{field}")));
        }
        let (bind, mutable) = if fields.is_empty() { ("()", "") } else { ("r", "mut ") };
        let _ = writeln!(
            out,
            "fn {}(t: &Wire, a: &[Plain]) -> Result<Vec<Seen>, i32> {{\nlet {bind} = stubs::{}(t, {}).map_err(RpcError::code)?;\nlet {mutable}got = Vec::new();\n{got}Ok(got)\n}}",
            ident(&routine.name),
            signature.ident,
            call.join(", ")
        );
    }

    /// The method that records what it is passed and answers with plain values.
    fn method(&self, out: &mut String, routine: &Routine, signature: &Signature, structs: &[&ItemStruct]) {
        let parameters = parameters(signature, 2);
        let list: String = parameters
            .iter()
            .map(|(parameter, _)| format!(", {parameter}: {}", method_type(signature, parameter)))
            .collect();
        let (mut seen, mut places) = (String::new(), String::new());
        for (i, argument) in routine.arguments.iter().enumerate() {
            let of = |room: bool| {
                parameters.iter().find(|(name, _)| {
                    belongs(name, &routine.arguments).is_some_and(|(at, _, is)| at == i && is == room)
                })
            };
            match (of(false), argument.role) {
                // A string that comes out is written where it lies in the reply.
                (Some((parameter, kind)), _) if kind.starts_with("&mutText<") => {
                    let _ = writeln!(places, "{parameter}.set(plain::text(&a[{i}]))?;");
                }
                (Some((parameter, kind)), role) => {
                    let _ = writeln!(seen, "self.saw({});", to_plain(i, argument, kind, parameter));
                    // What comes in and goes out is the server's; no destructor runs for it.
                    if kind.starts_with("Self::") && role == Role::InOut {
                        let _ = writeln!(seen, "{parameter}.keep();");
                    }
                }
                (None, Role::RequestPort) => {
                    let port = if self.is_kernel() {
                        "request_.request_right::<KernelPort>()"
                    } else {
                        "request_.request_port()"
                    };
                    let _ = writeln!(seen, "self.saw({});", to_plain(i, argument, "Port", port));
                }
                (None, Role::MsgSeqno) => {
                    let _ = writeln!(seen, "self.saw(Seen::fixed({i}, &request_.header().seqno));");
                }
                _ => {}
            }
            if let Some((parameter, _)) = of(true) {
                let _ = writeln!(seen, "self.saw(Seen::room({i}, {parameter}));");
            }
        }
        if parameters.iter().any(|(name, kind)| name == "retain" && kind == "Retain") {
            seen.push_str("self.retain(retain);\n");
        }
        let result = text(&signature.output);
        let reply = structs.iter().find(|s| {
            result.contains(&format!("<{},", s.ident)) || result.contains(&format!("<{}<Self>,", s.ident))
        });
        let mut give = String::new();
        for (field, kind) in &fields(reply) {
            let (i, argument, _) = belongs(field, &routine.arguments).expect("a result is an argument");
            let _ = write!(give, "{field}: {}, ", to_rust(i, argument, kind));
        }
        let answer = match reply {
            Some(reply) => format!("Ok(stubs::{} {{ {give} }})", reply.ident),
            None => "Ok(())".into(),
        };
        let _ = writeln!(
            out,
            "fn {}(&mut self, request_: &Request<'_>{list}) -> {} {{\n{seen}self.code()?;\nlet a = self.answers();\n{places}{answer}\n}}",
            signature.ident,
            signature.output.to_token_stream().to_string().replace("->", ""),
        );
    }

    /// A function that translates.
    fn translation(&self, out: &mut String, signature: &Signature) {
        let name = signature.ident.to_string();
        let [(parameter, kind)] = &parameters(signature, 1)[..] else { panic!("{name} has one parameter") };
        let all = || self.subsystem.routines.iter().flat_map(|r| &r.arguments);
        let by =
            |has: &dyn Fn(&Translation) -> bool| all().find(|a| a.translation.as_deref().is_some_and(has));
        let is = |f: &Option<String>| f.as_deref() == Some(&name);
        let takes = by(&|t: &Translation| is(&t.intran) || is(&t.intran_payload));
        let body = match takes {
            Some(argument) => {
                let destructor = argument.translation.as_ref().and_then(|t| t.destructor.as_deref());
                let plain = match kind.as_str() {
                    "u64" => format!("Seen::fixed(0, &{parameter})"),
                    _ => to_plain(0, argument, kind, parameter),
                };
                format!("Object::take({name:?}, {destructor:?}, {plain})")
            }
            None => {
                let argument = by(&|t: &Translation| is(&t.outtran)).expect("a translation of the model");
                let kind = text(&signature.output);
                let kind = kind.trim_start_matches("->Result<").split(',').next().unwrap_or("");
                format!("let a = [{parameter}.give({name:?})?];\nOk({})", to_rust(0, argument, kind))
            }
        };
        let _ = writeln!(
            out,
            "fn {name}(&mut self, {parameter}: {}) -> {} {{\n{body}\n}}",
            method_type(signature, parameter),
            signature.output.to_token_stream().to_string().replace("->", ""),
        );
    }

    /// One side is a kernel.
    fn is_kernel(&self) -> bool {
        self.subsystem.kernel_server || self.subsystem.kernel_user
    }
}

/// The function of the glue for a routine.
fn ident(name: &str) -> String {
    format!("call_{}", name.replace('$', "_"))
}

/// The type of a method's parameter, as it is written.
fn method_type(signature: &Signature, parameter: &str) -> String {
    signature
        .inputs
        .iter()
        .find_map(|argument| match argument {
            FnArg::Typed(typed) if text(&typed.pat) == parameter => {
                Some(typed.ty.to_token_stream().to_string())
            }
            _ => None,
        })
        .expect("it was found before")
}

/// The expression that makes a plain value `a[i]` what Rust wants.
fn to_rust(i: usize, argument: &Argument, kind: &str) -> String {
    let wire = &argument.wire;
    let is_string = matches!(wire.shape, Shape::Str { .. });
    let is_inline = wire.placement == Placement::Inline;
    let outtran = || argument.translation.as_ref().and_then(|t| t.outtran.as_deref()).unwrap_or_default();
    match kind {
        "PortName" | "KernelPort" => format!("plain::name(&a[{i}])"),
        "Port" | "Port<KernelPort>" => format!("plain::port(&a[{i}])"),
        "Ool" => format!("plain::ool(&a[{i}])"),
        "Ports<'_>" | "Ports<'_,KernelPort>" => format!("plain::ports(&a[{i}])"),
        _ if kind.starts_with("S::") => format!("Object::answer({:?}, &a[{i}])", outtran()),
        "&[u8]" if is_string => format!("plain::text(&a[{i}])"),
        _ if kind.starts_with("FixedStr<") => format!("FixedStr::truncated(plain::text(&a[{i}]))"),
        _ if kind.starts_with("Bounded<") => format!("plain::bounded(&a[{i}])"),
        _ if kind.starts_with("OutData<") => format!("plain::chosen(&a[{i}])"),
        _ if kind.starts_with("&OutData<") => format!("&plain::chosen(&a[{i}])"),
        _ if kind.starts_with("&[") && matches!(wire.shape, Shape::Fixed(_)) => {
            format!("&plain::fixed(&a[{i}])")
        }
        _ if kind.starts_with("&[") && is_inline => format!("&plain::list(&a[{i}])"),
        _ if kind.starts_with("&[") => format!("plain::flat(&a[{i}])"),
        _ => format!("plain::fixed(&a[{i}])"),
    }
}

/// The expression that makes a Rust value plain.
fn to_plain(i: usize, argument: &Argument, kind: &str, value: &str) -> String {
    // The bytes of an element out of line are what the message says of it, which for a kernel's rights is more.
    let size = match &argument.wire.shape {
        Shape::Fixed(elem) | Shape::Variable(elem, _) => elem.size(),
        Shape::Str { .. } => 1,
    };
    let scale = if argument.wire.carries_rights() { format!("{size} * RIGHT / 4") } else { size.to_string() };
    let size = scale;
    // What a server is not told, in C.
    let told = argument.wire.receive == 0xff;
    let told = if told { "" } else { "un" };
    match kind {
        "PortName" | "KernelPort" => format!("Seen::fixed({i}, &{value})"),
        _ if kind.starts_with("Self::") => format!("Seen::object({i}, &{value}).{told}told()"),
        _ if kind.starts_with("Loan<") => format!("Seen::loan({i}, {value})"),
        "Port" | "Port<KernelPort>" => format!("Seen::port({i}, {value}).{told}told()"),
        "Ool" if matches!(argument.wire.shape, Shape::Fixed(_)) => {
            format!("Seen::ool_fixed({i}, {value}, {size})")
        }
        "Ool" => format!("Seen::ool({i}, {value}, {size}).{told}told()"),
        "&[u8]" => format!("Seen::text({i}, {value})"),
        _ if kind.starts_with("&Text<") || kind.starts_with("FixedStr<") => {
            format!("Seen::text({i}, {value}.as_bytes())")
        }
        _ if kind.starts_with("Bounded<") => {
            format!("Seen::list({i}, &{value}, {value}.disposition()).{told}told()")
        }
        _ if kind.starts_with("OutData<") => format!("Seen::chosen({i}, &{value}, {size}).{told}told()"),
        _ if kind.starts_with("Array<") => format!("Seen::array({i}, {value}).{told}told()"),
        _ if kind.starts_with("Data<") => format!("Seen::data({i}, {value}, {size}).{told}told()"),
        _ => format!("Seen::fixed({i}, &{value})"),
    }
}
