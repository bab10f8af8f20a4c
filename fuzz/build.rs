//! Makes the relay: for every routine of `hurd-stubs` a server method that passes what it was asked on through the client function, and its result back.
//!
//! The generated code itself is read, so that types are as they are, and a routine is never left out silently.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use quote::ToTokens as _;
use syn::{FnArg, Item, ItemFn, Pat, TraitItem};

/// Modules of `hurd-stubs` that are no interfaces.
const NOT_INTERFACES: [&str; 2] = ["lib", "types"];

fn main() {
    let stubs = Path::new(&std::env::var("CARGO_MANIFEST_DIR").expect("cargo names the package's folder"))
        .join("../libhurd/stubs/src");
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed={}", stubs.display());
    let mut names: Vec<String> = std::fs::read_dir(&stubs)
        .expect("the stubs are there")
        .filter_map(|entry| Some(entry.ok()?.path().file_stem()?.to_string_lossy().into_owned()))
        .filter(|name| !NOT_INTERFACES.contains(&name.as_str()))
        .collect();
    names.sort();
    let mut text = String::new();
    for name in &names {
        interface(&mut text, name, &stubs.join(format!("{name}.rs")));
    }
    let _ = writeln!(
        text,
        "/// Every interface with its demultiplexer.\npub const INTERFACES: &[(&str, Dispatch)] = &["
    );
    for name in &names {
        let _ = writeln!(
            text,
            "({name:?}, |relay, mode, request, reply| hurd_stubs::{name}::dispatch_as(relay, mode, request, reply)),"
        );
    }
    text.push_str("];\n");
    let out =
        PathBuf::from(std::env::var("OUT_DIR").expect("cargo names a folder for output")).join("relay.rs");
    std::fs::write(out, text).expect("the output can be written");
}

/// Parameters by name: the names are the interface's, so they are the same on both sides.
fn parameters(inputs: &syn::punctuated::Punctuated<FnArg, syn::Token![,]>) -> Vec<(String, String)> {
    let typed = inputs.iter().filter_map(|input| match input {
        FnArg::Typed(argument) => Some(argument),
        FnArg::Receiver(_) => None,
    });
    typed
        .map(|argument| match &*argument.pat {
            Pat::Ident(name) => (name.ident.to_string(), spelled(&argument.ty)),
            other => panic!("a parameter without a name: {}", other.to_token_stream()),
        })
        .collect()
}

/// A type as text without spaces.
fn spelled(tokens: &impl quote::ToTokens) -> String {
    tokens.to_token_stream().to_string().replace(' ', "")
}

fn interface(out: &mut String, name: &str, path: &Path) {
    let source = std::fs::read_to_string(path).expect("a stub can be read");
    let file = syn::parse_file(&source).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let clients: HashMap<String, &ItemFn> = file
        .items
        .iter()
        .filter_map(|item| match item {
            Item::Fn(function) => Some((function.sig.ident.to_string(), function)),
            _ => None,
        })
        .collect();
    // Structs and their fields.
    let returns: HashMap<String, Vec<String>> = file
        .items
        .iter()
        .filter_map(|item| match item {
            Item::Struct(item) => {
                let fields = item.fields.iter().filter_map(|field| Some(field.ident.as_ref()?.to_string()));
                Some((item.ident.to_string(), fields.collect()))
            }
            _ => None,
        })
        .collect();
    let _ = writeln!(out, "mod {name} {{\nuse super::prelude::*;\nuse hurd_stubs::{name}::*;");
    for item in &file.items {
        let Item::Trait(server) = item else { continue };
        let _ = writeln!(out, "impl {} for super::Relay {{", server.ident);
        for method in &server.items {
            let TraitItem::Fn(method) = method else { panic!("{name}: not a method") };
            let routine = method.sig.ident.to_string();
            let client =
                clients.get(&routine).unwrap_or_else(|| panic!("{name}: no client function {routine}"));
            relay(out, &routine, &method.sig, client, &returns);
        }
        out.push_str("}\n");
    }
    out.push_str("}\n");
}

fn relay(
    out: &mut String,
    routine: &str,
    method: &syn::Signature,
    client: &ItemFn,
    returns: &HashMap<String, Vec<String>>,
) {
    let signature = method.to_token_stream().to_string().replace("crate :: types", "hurd_stubs :: types");
    let server: HashMap<String, String> = parameters(&method.inputs).into_iter().collect();
    let request =
        parameters(&method.inputs).first().map_or_else(|| "request".into(), |(name, _)| name.clone());
    let _ = writeln!(out, "#[allow(unused_variables)]\n{signature} {{\nself.called = true;");
    let mut arguments = String::from("&self.wire");
    let mut port_seen = false;
    for (name, wanted) in parameters(&client.sig.inputs).into_iter().skip(1) {
        let have = server.get(&name).map(String::as_str);
        let expression = match (wanted.as_str(), have) {
            ("&Donation", None) => "ALL".into(),
            ("PortName", None) if !port_seen => "TARGET".into(),
            ("Port", None) if !port_seen => "Port::copy_send(TARGET)".into(),
            ("PortName", None) => format!("{request}.reply_port().name"),
            ("Port", None) => format!("{request}.reply_port()"),
            // Time-outs and options do not travel.
            ("u32" | "i32" | "u64", None) => "0".into(),
            ("PortName", Some("Port")) => format!("{name}.name"),
            ("Ports<'_>", Some(_)) => {
                let _ = writeln!(
                    out,
                    "let {name}_disposition = {name}.disposition();\nlet {name} = self.hold({name})?;"
                );
                format!("Ports {{ names: &{name}, disposition: {name}_disposition }}")
            }
            (wanted, Some(have)) if wanted == have => name.clone(),
            ("&[u8]", Some(have)) if have.starts_with("&Text<") => format!("{name}.as_bytes()"),
            (wanted, Some(_)) if wanted.starts_with("&OutData<") => {
                let _ = writeln!(out, "let {name} = self.hold_or_pass({name})?;");
                format!("&{name}")
            }
            (wanted, Some("Ool")) if wanted.starts_with("&[") => {
                let element = wanted.trim_start_matches("&[").trim_end_matches(']');
                let _ = writeln!(out, "let {name} = self.elsewhere::<{element}>({name})?;");
                format!("&{name}")
            }
            (wanted, Some(_)) if wanted.starts_with('&') => {
                let _ = writeln!(out, "let {name} = self.hold({name})?;");
                format!("&{name}")
            }
            (wanted, have) => panic!("{routine}: {name} is {wanted} in the client, {have:?} in the server"),
        };
        port_seen |= matches!(wanted.as_str(), "PortName" | "Port");
        let _ = write!(arguments, ", {expression}");
    }
    // Strings of the reply that the method writes in place; what it returns besides, if that is not what the client gets.
    let places: Vec<&String> =
        server.iter().filter(|(_, ty)| ty.starts_with("&mutText<")).map(|(name, _)| name).collect();
    let _ = writeln!(out, "let result = {routine}({arguments});");
    if places.is_empty() {
        out.push_str("self.result(result)\n}\n");
        return;
    }
    out.push_str("let reply = self.result(result)?;\n");
    for name in places {
        let _ = writeln!(out, "{name}.set(reply.{name}.as_bytes())?;");
    }
    let returned = spelled(&method.output);
    match returns.iter().find(|(name, _)| returned.contains(&format!("<{name},"))) {
        Some((name, fields)) => {
            let fields: String = fields.iter().map(|field| format!("{field}: reply.{field}, ")).collect();
            let _ = writeln!(out, "Ok({name} {{ {fields} }})\n}}");
        }
        None => out.push_str("Ok(())\n}\n"),
    }
}
