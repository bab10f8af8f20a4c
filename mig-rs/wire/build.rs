//! Stubs of every interface that is compared, and Rust that calls and serves each routine from plain values.
//!
//! The model says which argument a parameter belongs to; the signature in the generated code says what type it has there,
//! and with that how a plain value becomes it.

use std::fmt::Write as _;
use std::path::PathBuf;

use mig_rs::model::{Argument, Placement, Routine, Shape};
use mig_rs::{EmitOptions, Options, compile, emit};
use quote::ToTokens as _;
use syn::{FnArg, Item, ItemFn, ItemTrait, Pat, Signature, TraitItem};

#[path = "src/interfaces.rs"]
mod interfaces;

fn main() {
    let manifest = PathBuf::from(std::env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets it"));
    let out = PathBuf::from(std::env::var_os("OUT_DIR").expect("cargo sets it"));
    let include = interfaces::include(&manifest);
    for folder in &include {
        println!("cargo::rerun-if-changed={}", folder.display());
    }
    let options = Options { include, ..Options::default() };
    let mut table = String::new();
    let mut names = Vec::new();
    for (name, file) in interfaces::interfaces(&manifest).expect("the folders of interfaces can be read") {
        let compiled = compile(&file, &options).unwrap_or_else(|failure| panic!("{failure}"));
        let stubs =
            emit(&compiled.subsystem, &name, &EmitOptions::default()).unwrap_or_else(|e| panic!("{e}"));
        let path = out.join(format!("{name}.rs"));
        std::fs::write(&path, &stubs).expect("OUT_DIR can be written");
        let glue = glue(&name, &compiled.subsystem.routines, &stubs);
        let glue_path = out.join(format!("glue_{name}.rs"));
        std::fs::write(&glue_path, glue).expect("OUT_DIR can be written");
        let (path, glue_path) = (path.display(), glue_path.display());
        let _ = writeln!(
            table,
            "#[allow(dead_code, missing_docs, reason = \"generated\")]\n#[path = {:?}]\nmod stubs_{name};\n#[path = {:?}]\nmod glue_{name};",
            path.to_string(),
            glue_path.to_string()
        );
        names.push((name, file));
    }
    let _ = writeln!(table, "/// Every interface.\npub(crate) const INTERFACES: &[Interface] = &[");
    for (name, file) in &names {
        let file = file.display().to_string();
        let _ = writeln!(
            table,
            "Interface {{ name: {name:?}, file: {file:?}, dispatch: glue_{name}::dispatch, routines: glue_{name}::ROUTINES }},"
        );
    }
    table.push_str("];\n");
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

fn glue(interface: &str, routines: &[Routine], stubs: &str) -> String {
    let file = syn::parse_file(stubs).expect("generated code is Rust");
    let functions: Vec<&ItemFn> =
        file.items.iter().filter_map(|i| if let Item::Fn(f) = i { Some(f) } else { None }).collect();
    let servers: Vec<&ItemTrait> =
        file.items.iter().filter_map(|i| if let Item::Trait(t) = i { Some(t) } else { None }).collect();
    let server = servers.iter().find(|t| t.ident.to_string().ends_with("Server")).expect("a server trait");
    let structs: Vec<&syn::ItemStruct> =
        file.items.iter().filter_map(|i| if let Item::Struct(s) = i { Some(s) } else { None }).collect();
    let (mut clients, mut methods, mut table) = (String::new(), String::new(), String::new());
    let same = |ident: &syn::Ident, name: &str| {
        let ident = ident.to_string();
        ident == name || ident.trim_end_matches('_') == name
    };
    for routine in routines {
        let client = functions.iter().find(|f| same(&f.sig.ident, &routine.name)).expect("a client function");
        let method = server
            .items
            .iter()
            .find_map(|i| match i {
                TraitItem::Fn(f) if same(&f.sig.ident, &routine.name) => Some(f),
                _ => None,
            })
            .expect("a server method");
        // What the client gets and what the method returns.
        let result = |signature: &Signature| {
            let result = text(&signature.output);
            structs.iter().copied().find(|s| result.contains(&format!("<{},", s.ident)))
        };
        let fields = |result: Option<&syn::ItemStruct>| -> Vec<(String, String)> {
            let fields = result.into_iter().flat_map(|s| &s.fields);
            fields.filter_map(|f| Some((f.ident.as_ref()?.to_string(), text(&f.ty)))).collect()
        };
        let returned = result(&method.sig);
        let call: Vec<String> = parameters(&client.sig, 1)
            .iter()
            .map(|(name, kind)| match belongs(name, &routine.arguments) {
                Some((i, _, true)) => format!("a[{i}].room"),
                Some((i, argument, false)) => to_rust(i, argument, kind),
                None if kind == "&Donation" => "&Donation::ALL".into(),
                None => panic!("{}: whose parameter is {name}: {kind}?", routine.name),
            })
            .collect();
        let name = &routine.name;
        let mut got = String::new();
        let got_fields = fields(result(&client.sig));
        for (field, kind) in &got_fields {
            let (i, argument, _) = belongs(field, &routine.arguments).expect("a result is an argument");
            let _ = writeln!(got, "got.push({});", to_plain(i, argument, kind, &format!("r.{field}")));
        }
        let (bind, mutable) = if got_fields.is_empty() { ("()", "") } else { ("r", "mut ") };
        let _ = writeln!(
            clients,
            "fn {}(t: &Wire, a: &[Plain]) -> Result<Vec<Seen>, i32> {{\nlet {bind} = stubs::{}(t, {}).map_err(RpcError::code)?;\nlet {mutable}got = Vec::new();\n{got}Ok(got)\n}}",
            ident(name),
            client.sig.ident,
            call.join(", ")
        );
        let _ = writeln!(table, "(\"{name}\", {}),", ident(name));
        let (mut seen, mut give) = (String::new(), String::new());
        let (mut list, mut places) = (String::new(), String::new());
        for (parameter, kind) in parameters(&method.sig, 2) {
            let _ = write!(list, ", {parameter}: {}", method_type(&method.sig, &parameter));
            match belongs(&parameter, &routine.arguments) {
                Some((i, ..)) if kind.starts_with("&mutText<") => {
                    let _ = writeln!(places, "{parameter}.set(plain::text(&a[{i}]))?;");
                }
                Some((i, argument, false)) => {
                    let _ = writeln!(seen, "self.saw({});", to_plain(i, argument, &kind, &parameter));
                }
                Some((i, _, true)) => {
                    let _ = writeln!(seen, "self.saw(Seen::room({i}, {parameter}));");
                }
                None => {
                    let _ = writeln!(seen, "let _ = {parameter};");
                }
            }
        }
        for (field, kind) in &fields(returned) {
            let (i, argument, _) = belongs(field, &routine.arguments).expect("a result is an argument");
            let _ = write!(give, "{field}: {}, ", to_rust(i, argument, kind));
        }
        let answer = match returned {
            Some(returned) => format!("{places}Ok(stubs::{} {{ {give} }})", returned.ident),
            None => format!("{places}Ok(())"),
        };
        let answers = if give.is_empty() && places.is_empty() { "" } else { "let a = self.answers();\n" };
        let _ = writeln!(
            methods,
            "fn {}(&mut self, _: &Request<'_>{list}) -> {} {{\n{seen}self.code()?;\n{answers}{answer}\n}}",
            method.sig.ident,
            method.sig.output.to_token_stream().to_string().replace("->", ""),
        );
    }
    format!(
        "//! Glue of `{interface}`.\n#![allow(unused_imports, clippy::all, reason = \"generated\")]\nuse super::plain::{{self, *}};\nuse super::stubs_{interface} as stubs;\n\
         use super::stubs_{interface}::*;\nuse mig_runtime::*;\n\
         pub(crate) const ROUTINES: &[(&str, Call)] = &[{table}];\n\
         pub(crate) fn dispatch(server: &mut Recorder, request: &[u8], reply: &mut [u8]) -> Outcome {{ stubs::dispatch(server, request, reply) }}\n\
         {clients}\nimpl stubs::{} for Recorder {{\n{methods}}}\n",
        server.ident
    )
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
    match kind {
        "PortName" => format!("plain::name(&a[{i}])"),
        "Port" => format!("plain::port(&a[{i}])"),
        "Ool" => format!("plain::ool(&a[{i}])"),
        "Ports<'_>" => format!("plain::ports(&a[{i}])"),
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
    let size = match &argument.wire.shape {
        Shape::Fixed(elem) | Shape::Variable(elem, _) => elem.size(),
        Shape::Str { .. } => 1,
    };
    // What a server is not told, in C.
    let told = argument.wire.receive == 0xff;
    let told = if told { "" } else { "un" };
    match kind {
        "PortName" => format!("Seen::fixed({i}, &{value})"),
        "Port" => format!("Seen::port({i}, {value}).{told}told()"),
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
        _ if kind.starts_with("Loan<") => format!("Seen::loan({i}, {value}, {size}).{told}told()"),
        _ if kind.starts_with("Data<") => format!("Seen::data({i}, {value}, {size}).{told}told()"),
        _ => format!("Seen::fixed({i}, &{value})"),
    }
}
