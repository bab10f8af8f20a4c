//! Translations as Rust: the server's trait has a type for every type that the server makes of one on the wire, and a function for
//! every `intran`, `intranpayload` and `outtran`. The destructor is the type's `Drop`.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::items::{reply_type, server_type};
use super::rust::{camel, ident, struct_name};
use super::{EmitOptions, outs, words};
use crate::model::{Argument, Role, Routine, Subsystem, Translation};

/// The translation of a value that comes in, if there is one and it is wanted.
pub(super) fn incoming<'a>(argument: &'a Argument, options: &EmitOptions) -> Option<&'a Translation> {
    let t = argument.translation.as_deref().filter(|_| options.translate)?;
    match argument.role {
        Role::RequestPort => (t.intran.is_some() || t.intran_payload.is_some()).then_some(t),
        Role::In | Role::InOut => t.intran.is_some().then_some(t),
        _ => None,
    }
}

/// The translation of a value that goes out, if there is one and it is wanted.
pub(super) fn outgoing<'a>(argument: &'a Argument, options: &EmitOptions) -> Option<&'a Translation> {
    let t = argument.translation.as_deref().filter(|_| options.translate)?;
    (matches!(argument.role, Role::Out | Role::InOut) && t.outtran.is_some()).then_some(t)
}

/// The associated type.
pub(super) fn own_type(translation: &Translation) -> String {
    struct_name(&translation.server_type)
}

/// What a method returns: the client's reply, or the server's own with values before they are translated.
pub(super) fn result_type(routine: &Routine, options: &EmitOptions) -> String {
    if outs(routine).any(|a| outgoing(a, options).is_some()) {
        format!("{}Out<Self>", camel(&routine.name))
    } else {
        super::reply_name(routine)
    }
}

/// Structs for what methods return before it is translated.
pub(super) fn results(out: &mut String, subsystem: &Subsystem, server: &str, options: &EmitOptions) {
    for routine in &subsystem.routines {
        if !outs(routine).any(|a| outgoing(a, options).is_some()) {
            continue;
        }
        let name = format!("{}Out", camel(&routine.name));
        let _ = writeln!(
            out,
            "#[doc = {:?}]\npub struct {name}<S: {server} + ?Sized> {{",
            format!(" What a server's `{}` returns, before it is translated.", routine.server_name)
        );
        for argument in outs(routine) {
            let ty = match outgoing(argument, options) {
                Some(translation) => format!("S::{}", own_type(translation)),
                None => words::server_type(argument, options)
                    .map_or_else(|| reply_type(&argument.wire, options.types()), str::to_string),
            };
            let _ = writeln!(out, "#[doc = {:?}]", format!(" `{}`", argument.type_name));
            let _ = writeln!(out, "pub {}: {ty},", ident(&argument.name));
        }
        out.push_str("}\n");
    }
}

/// The types and functions that the trait has for translations.
///
/// # Errors
/// Two functions of one name that are not the same.
pub(super) fn items(out: &mut String, subsystem: &Subsystem, options: &EmitOptions) -> Result<(), String> {
    let mut types: BTreeMap<String, String> = BTreeMap::new();
    let mut functions: BTreeMap<String, String> = BTreeMap::new();
    let mut add = |name: &str, text: String| match functions.insert(ident(name), text.clone()) {
        Some(before) if before != text => {
            Err(format!("the translation {name} has two meanings in this interface: {before} and {text}"))
        }
        _ => Ok(()),
    };
    let paths = options.types();
    for argument in subsystem.routines.iter().flat_map(|r| &r.arguments) {
        let (incoming, outgoing) = (incoming(argument, options), outgoing(argument, options));
        let Some(translation) = incoming.or(outgoing) else { continue };
        let own = own_type(translation);
        let destructor = match &translation.destructor {
            Some(name) => format!(" Its `Drop` is the destructor, `{name}`."),
            None => String::new(),
        };
        let doc = format!(
            " `{}`: what the server makes of types on the wire.{destructor}",
            translation.server_type
        );
        types.entry(own.clone()).or_insert(doc);
        if incoming.is_some() {
            if let Some(name) = &translation.intran {
                let wire = server_type(&argument.wire, paths);
                add(name, format!("(&mut self, value: {wire}) -> Result<Self::{own}, i32>;"))?;
            }
            if let Some(name) =
                translation.intran_payload.as_ref().filter(|_| argument.role == Role::RequestPort)
            {
                add(name, format!("(&mut self, payload: u64) -> Result<Self::{own}, i32>;"))?;
            }
        }
        if let Some(name) = outgoing.and_then(|t| t.outtran.as_ref()) {
            let wire = reply_type(&argument.wire, paths);
            add(name, format!("(&mut self, value: Self::{own}) -> Result<{wire}, i32>;"))?;
        }
    }
    for (name, doc) in &types {
        let _ = writeln!(out, "#[doc = {doc:?}]\ntype {name};");
    }
    for (name, signature) in &functions {
        let _ = writeln!(
            out,
            "/// A translation. An error is the answer to the request.\n///\n/// # Errors\n/// The server's.\nfn {name}{signature}"
        );
    }
    Ok(())
}

/// The statement that translates an incoming value; the destination's comes from the header.
pub(super) fn translate_in(argument: &Argument, translation: &Translation, options: &EmitOptions) -> String {
    let name = ident(&argument.name);
    if argument.role != Role::RequestPort {
        let function = translation.intran.as_deref().unwrap_or_default();
        return format!("let {name} = server_.{}({name})?;", ident(function));
    }
    let port = match &translation.intran {
        Some(function) => {
            let port = if options.types().right.is_some() { "request_right" } else { "request_port" };
            format!("server_.{}(this_.{port}())?", ident(function))
        }
        // A port without payload is none of this server's.
        None => "return Err(Bad.into())".into(),
    };
    match &translation.intran_payload {
        Some(function) => format!(
            "let {name} = match this_.payload() {{ Some(payload) => server_.{}(payload)?, None => {port} }};",
            ident(function)
        ),
        None => format!("let {name} = {port};"),
    }
}
