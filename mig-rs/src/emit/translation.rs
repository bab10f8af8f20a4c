//! Translations as Rust: the server's trait has a type for every type that the server makes of one on the wire, and a function for
//! every `intran`, `intranpayload` and `outtran`. The destructor is the type's `Drop`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use super::items::{reply_type, server_type};
use super::rust::{camel, ident, struct_name};
use super::{EmitOptions, outs, returned, words};
use crate::model::{Argument, Role, Routine, Subsystem, Translation};
use crate::source::{Diagnostic, Span};

/// The translation of a value that comes in, if there is one and it is wanted.
pub(super) fn incoming<'a>(argument: &'a Argument, options: &EmitOptions) -> Option<&'a Translation> {
    let t = argument.translation.as_deref().filter(|_| options.translate)?;
    match argument.role {
        Role::RequestPort => (t.intran.is_some() || t.intran_payload.is_some()).then_some(t),
        Role::In | Role::InOut | Role::ReplyPort { server: true, .. } => t.intran.is_some().then_some(t),
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

/// What a method returns: what the client gets, unless values are translated on the way or strings are written in place.
pub(super) fn result_type(routine: &Routine, options: &EmitOptions) -> String {
    let name = format!("{}Out", camel(&routine.name));
    if translated(routine, options) {
        return format!("{name}<Self>");
    }
    let returned = returned(routine).len();
    match (returned, outs(routine).count()) {
        (0, _) => "()".into(),
        (some, all) if some == all => super::reply_name(routine),
        _ => name,
    }
}

fn translated(routine: &Routine, options: &EmitOptions) -> bool {
    outs(routine).any(|a| outgoing(a, options).is_some())
}

/// Structs for what methods return, where that is not what clients get.
pub(super) fn results(out: &mut String, subsystem: &Subsystem, server: &str, options: &EmitOptions) {
    for routine in &subsystem.routines {
        let translated = translated(routine, options);
        let returned = returned(routine);
        if !translated && (returned.is_empty() || returned.len() == outs(routine).count()) {
            continue;
        }
        let name = format!("{}Out", camel(&routine.name));
        let (words, of) = if translated {
            (", before it is translated", format!("<S: {server} + ?Sized>"))
        } else {
            ("; it writes the rest in place", String::new())
        };
        let derive = if translated { "" } else { "\n#[derive(Clone, Debug, PartialEq)]" };
        let _ = writeln!(
            out,
            "#[doc = {:?}]{derive}\npub struct {name}{of} {{",
            format!(" What a server's `{}` returns{words}.", routine.server_name)
        );
        for argument in returned {
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

/// Names of translations that make different types in one interface, as only C can have them: in Rust each has its type behind its name.
pub(super) fn overloaded(subsystem: &Subsystem, options: &EmitOptions) -> BTreeSet<String> {
    let mut types: BTreeMap<&str, String> = BTreeMap::new();
    let mut overloaded = BTreeSet::new();
    for argument in subsystem.routines.iter().flat_map(|r| &r.arguments) {
        let (incoming, outgoing) = (incoming(argument, options), outgoing(argument, options));
        let names = [
            (incoming, incoming.and_then(|t| t.intran.as_deref())),
            (incoming, incoming.and_then(|t| t.intran_payload.as_deref())),
            (outgoing, outgoing.and_then(|t| t.outtran.as_deref())),
        ];
        for (translation, name) in names {
            let (Some(translation), Some(name)) = (translation, name) else { continue };
            let own = own_type(translation);
            if types.insert(name, own.clone()).is_some_and(|before| before != own) {
                overloaded.insert(name.to_string());
            }
        }
    }
    overloaded
}

/// The name of a translation's function.
pub(super) fn function(name: &str, translation: &Translation, overloaded: &BTreeSet<String>) -> String {
    if !overloaded.contains(name) {
        return ident(name);
    }
    let own = &translation.server_type;
    ident(&format!("{name}_{}", own.strip_suffix("_t").unwrap_or(own)))
}

/// The types and functions that the trait has for translations.
///
/// # Errors
/// Two functions of one name that are not the same.
pub(super) fn items(
    out: &mut String,
    subsystem: &Subsystem,
    options: &EmitOptions,
) -> Result<(), Box<Diagnostic>> {
    let mut types: BTreeMap<String, String> = BTreeMap::new();
    let mut functions: BTreeMap<String, String> = BTreeMap::new();
    let overloaded = overloaded(subsystem, options);
    let mut add = |name: &str, of: &Translation, at: Span, text: String| match functions
        .insert(function(name, of, &overloaded), text.clone())
    {
        Some(before) if before != text => {
            let message = format!("the translation {name} has two meanings in this interface");
            let error = Diagnostic::error(at, message)
                .note(format!(
                    "it is both {} and {}",
                    before.trim_end_matches(';'),
                    text.trim_end_matches(';')
                ))
                .help("in Rust a function has one signature; give one of them another name");
            Err(Box::new(error))
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
                add(
                    name,
                    translation,
                    argument.span,
                    format!("(&mut self, value: {wire}) -> Result<Self::{own}, i32>;"),
                )?;
            }
            if let Some(name) =
                translation.intran_payload.as_ref().filter(|_| argument.role == Role::RequestPort)
            {
                add(
                    name,
                    translation,
                    argument.span,
                    format!("(&mut self, payload: u64) -> Result<Self::{own}, i32>;"),
                )?;
            }
        }
        if let Some(name) = outgoing.and_then(|t| t.outtran.as_ref()) {
            let wire = reply_type(&argument.wire, paths);
            add(
                name,
                translation,
                argument.span,
                format!("(&mut self, value: Self::{own}) -> Result<{wire}, i32>;"),
            )?;
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
pub(super) fn translate_in(
    argument: &Argument,
    translation: &Translation,
    overloaded: &BTreeSet<String>,
    options: &EmitOptions,
) -> String {
    let name = ident(&argument.name);
    if argument.role != Role::RequestPort {
        let intran = translation.intran.as_deref().unwrap_or_default();
        let value = match argument.role {
            Role::ReplyPort { .. } => super::server::reply_port(options).into(),
            _ => name.clone(),
        };
        return format!("let {name} = server_.{}({value})?;", function(intran, translation, overloaded));
    }
    let port = match &translation.intran {
        Some(intran) => {
            let port = if options.types().right.is_some() { "request_right" } else { "request_port" };
            format!("server_.{}(this_.{port}())?", function(intran, translation, overloaded))
        }
        // A port without payload is none of this server's.
        None => "return Err(Bad.into())".into(),
    };
    match &translation.intran_payload {
        Some(intran) => format!(
            "let {name} = match this_.payload() {{ Some(payload) => server_.{}(payload)?, None => {port} }};",
            function(intran, translation, overloaded)
        ),
        None => format!("let {name} = {port};"),
    }
}
