//! Rust names and types.

use std::fmt::Write as _;

use super::{RUNTIME, Types};
use crate::model::{Elem, Prim};

/// Words that a Rust identifier cannot be.
const KEYWORDS: [&str; 52] = [
    "as", "async", "await", "break", "const", "continue", "crate", "dyn", "else", "enum", "extern", "false",
    "fn", "for", "if", "impl", "in", "let", "loop", "match", "mod", "move", "mut", "pub", "ref", "return",
    "self", "Self", "static", "struct", "super", "trait", "true", "type", "unsafe", "use", "where", "while",
    "abstract", "become", "box", "do", "final", "macro", "override", "priv", "try", "typeof", "unsized",
    "virtual", "yield", "gen",
];

/// Names that generated functions use themselves. All others of theirs end in `_`, as those of these that an interface has do then.
const TAKEN: [&str; 35] = [
    "transport",
    "donation",
    "request",
    "retain",
    "offer",
    "id",
    "dispatch",
    "dispatch_raw",
    "dispatch_as",
    "dispatch_request",
    "BASE",
    "MAX_REPLY",
    "MAX_REQUEST",
    "RCSID",
    "RAW",
    "CLEAN",
    "Ok",
    "Err",
    "Some",
    "None",
    "result_",
    "offered_",
    "kept_",
    "server_",
    "this_",
    "buffer_",
    "decoder_",
    "encoder_",
    "out_",
    "places_",
    "size_",
    "message_",
    "table_",
    "demultiplex_",
    "not_mine_",
];

/// Types that generated code mentions, besides those of the runtime; `S` and `T` are its parameters.
const TAKEN_TYPES: [&str; 6] = ["Result", "Option", "Self", "Sized", "S", "T"];

/// A name of an argument, field or function.
pub(super) fn ident(name: &str) -> String {
    let name = plain(name);
    let reserved = [&KEYWORDS[..], &TAKEN, &RUNTIME].iter().any(|names| names.contains(&name.as_str()));
    if name == "_" || reserved { format!("{name}_") } else { name }
}

/// A name without what Rust's names do not have.
pub(super) fn plain(name: &str) -> String {
    name.replace('$', "_")
}

/// `SHOUTING_CASE`.
pub(super) fn shout(name: &str) -> String {
    let name = plain(name).to_ascii_uppercase();
    if name == "_" { "__".into() } else { name }
}

/// `CamelCase`.
pub(crate) fn camel(name: &str) -> String {
    let mut out = String::new();
    for part in name.split(['_', '$']).filter(|p| !p.is_empty()) {
        let mut chars = part.chars();
        out.extend(chars.next().map(|c| c.to_ascii_uppercase()));
        out.push_str(chars.as_str());
    }
    // `_1`, or nothing but underscores.
    if !out.starts_with(|c: char| c.is_ascii_alphabetic()) {
        out.insert(0, 'N');
    }
    out
}

/// `io_statbuf_t` is `IoStatbuf`.
pub(super) fn struct_name(name: &str) -> String {
    let name = camel(name.strip_suffix("_t").unwrap_or(name));
    let reserved = [&TAKEN_TYPES[..], &RUNTIME].iter().any(|names| names.contains(&name.as_str()));
    if reserved { format!("{name}_") } else { name }
}

/// The Rust type of an element.
pub(super) fn elem_type(elem: &Elem, types: Types<'_>) -> String {
    match elem {
        Elem::Prim(Prim::Bool) => "bool".into(),
        Elem::Prim(Prim::Int { bits, signed }) => {
            format!("{}{bits}", if *signed == Some(true) { 'i' } else { 'u' })
        }
        Elem::Prim(Prim::Float(bits)) => format!("f{bits}"),
        Elem::Prim(Prim::PortName) => "PortName".into(),
        Elem::Prim(Prim::Right) => types.name(),
        Elem::Struct(def) => match types.path {
            Some(path) => format!("{path}::{}", struct_name(&def.name)),
            None => struct_name(&def.name),
        },
        Elem::Array(elem, n) => format!("[{}; {n}]", elem_type(elem, types)),
    }
}

/// Documentation attributes.
pub(super) fn doc(out: &mut String, text: &str) {
    for line in text.lines() {
        let line = if line.is_empty() { String::new() } else { format!(" {line}") };
        let _ = writeln!(out, "#[doc = {line:?}]");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_only_c_has_become_names_of_rust() {
        for name in ["_", "__", "_1x", "a$b", "self", "Self", "self_t", "type", "crate", "$"] {
            for made in [ident(name), shout(name), camel(name) + "Reply", struct_name(name)] {
                assert!(syn::parse_str::<syn::Ident>(&made).is_ok(), "{name}: {made}");
            }
        }
        assert_eq!(
            (ident("_"), camel("_1x"), struct_name("self_t")),
            ("__".into(), "N1x".into(), "Self_".into())
        );
        assert_eq!(struct_name("io_statbuf_t"), "IoStatbuf");
        // Types that generated code mentions.
        assert_eq!((struct_name("result_t"), struct_name("port")), ("Result_".into(), "Port_".into()));
        assert_eq!((ident("None"), ident("PortName")), ("None_".into(), "PortName_".into()));
    }
}
