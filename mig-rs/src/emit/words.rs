//! What interfaces say of C and of the message call, in Rust: imports, types, time-outs, options, version strings.

use std::fmt::Write as _;

use super::EmitOptions;
use super::rust::elem_type;
use crate::ast::{Expression, Sides};
use crate::model::{Argument, Elem, Prim, Role, Routine, Shape, Subsystem};
use crate::source::Diagnostic;

/// Imports that have become `use`s, and the version string.
pub(super) fn words(out: &mut String, subsystem: &Subsystem, options: &EmitOptions) {
    let mut used: Vec<&str> = Vec::new();
    for (_, file) in &subsystem.imports {
        if let Some(path) = options.imports.get(bare(file)).filter(|p| !used.contains(&p.as_str())) {
            let _ = writeln!(
                out,
                "#[allow(unused_imports, reason = \"what an import brings may be unused\")]\nuse {path};"
            );
            used.push(path);
        }
    }
    if let Some(rcsid) = &subsystem.rcsid {
        let _ =
            writeln!(out, "/// The version of the interface's source.\npub const RCSID: &str = {rcsid:?};");
    }
}

/// The interface's own comment, and what has no counterpart in Rust.
pub(super) fn about(subsystem: &Subsystem, options: &EmitOptions) -> String {
    let mut text = subsystem.doc.clone().unwrap_or_default();
    if subsystem.kernel_server || subsystem.kernel_user {
        let side = if subsystem.kernel_server { "server" } else { "client" };
        let _ = write!(text, "\n\nThe {side} is a kernel (`Kernel{}`).", super::camel(side));
    }
    let unmapped: Vec<String> = subsystem
        .imports
        .iter()
        .filter(|(_, file)| !options.imports.contains_key(bare(file)))
        .map(|(sides, file)| {
            let word = match sides {
                Sides::Both => "import",
                Sides::User => "uimport",
                Sides::Server => "simport",
            };
            format!("`{word} {file}`")
        })
        .collect();
    if !unmapped.is_empty() {
        let _ = write!(text, "\n\nWithout counterpart in Rust: {}.", unmapped.join(", "));
    }
    text
}

fn bare(file: &str) -> &str {
    file.trim_matches(['"', '<', '>'])
}

/// The Rust type that stands for a C type, where a value can be converted.
fn mapped<'o>(argument: &Argument, c_type: &str, options: &'o EmitOptions) -> Option<&'o str> {
    let convertible = match &argument.wire.shape {
        Shape::Fixed(Elem::Prim(prim)) => *prim != Prim::Right,
        Shape::Fixed(Elem::Struct(_)) => true,
        _ => false,
    };
    let inline = argument.wire.placement == crate::model::Placement::Inline;
    options.rust_types.get(c_type).filter(|_| convertible && inline).map(String::as_str)
}

/// What the client has instead of the type on the wire.
pub(super) fn user_type<'o>(argument: &Argument, options: &'o EmitOptions) -> Option<&'o str> {
    mapped(argument, &argument.user_type, options)
}

/// What the server has instead of the type on the wire. A translation is more than a type.
pub(super) fn server_type<'o>(argument: &Argument, options: &'o EmitOptions) -> Option<&'o str> {
    if argument.translation.is_some() && options.translate {
        return None;
    }
    mapped(argument, &argument.server_type, options)
}

/// The type on the wire, for conversions.
pub(super) fn wire_type(argument: &Argument, options: &EmitOptions) -> String {
    match &argument.wire.shape {
        Shape::Fixed(elem) => elem_type(elem, options.types()),
        _ => String::new(),
    }
}

/// The `CallOptions` of a routine, if it has any.
///
/// # Errors
/// An expression that is none in Rust.
pub(super) fn call_options(routine: &Routine) -> Result<Option<String>, Box<Diagnostic>> {
    let named =
        |role: Role| routine.arguments.iter().find(|a| a.role == role).map(|a| super::rust::ident(&a.name));
    // Nobody waits for a one-way message.
    let replies = routine.reply.is_some();
    let wait = match (named(Role::WaitTime), &routine.wait_time) {
        _ if !replies => None,
        (Some(argument), _) => Some(format!("{argument} as u32")),
        (None, Some(expression)) => Some(rust(expression)?),
        (None, None) => None,
    };
    let option = match (named(Role::MsgOption), &routine.msg_option) {
        (Some(argument), _) => Some(format!("{argument} as u32")),
        (None, Some(expression)) if expression.text != "MACH_MSG_OPTION_NONE" => Some(rust(expression)?),
        _ => None,
    };
    if wait.is_none() && option.is_none() {
        return Ok(None);
    }
    let wait = wait.map_or("None".into(), |w| format!("Some({w})"));
    Ok(Some(format!("CallOptions {{ wait_ms: {wait}, option: {} }}", option.unwrap_or("0".into()))))
}

/// An expression of C in Rust: numbers, operators, `MACH_SEND_*` and `MACH_RCV_*`, and names that an import brings.
fn rust(expression: &Expression) -> Result<String, Box<Diagnostic>> {
    let text = &expression.text;
    let mut out = String::new();
    let mut word = String::new();
    for c in text.chars().chain([' ']) {
        if c.is_ascii_alphanumeric() || c == '_' {
            word.push(c);
            continue;
        }
        match word.strip_prefix("MACH_") {
            Some(name) if name.starts_with("SEND_") || name.starts_with("RCV_") => {
                let _ = write!(out, "mig_runtime::option::{name}");
            }
            _ if word == "MACH_MSG_TIMEOUT_NONE" || word == "MACH_MSG_OPTION_NONE" => out.push('0'),
            _ => out.push_str(&word),
        }
        word.clear();
        out.push(c);
    }
    let out = out.trim();
    if out.parse::<u32>().is_ok() {
        return Ok(out.into());
    }
    let out = format!("({out}) as u32");
    match syn::parse_str::<syn::Expr>(&out) {
        Ok(_) => Ok(out),
        Err(_) => Err(Box::new(Diagnostic::error(expression.span, "this expression is none in Rust").note(
            "numbers, operators, `MACH_SEND_*`, `MACH_RCV_*` and names that an import brings become Rust",
        ))),
    }
}
