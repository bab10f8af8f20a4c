//! Names that differ in C and are one in Rust.

use std::collections::BTreeSet;

use super::EmitOptions;
use super::rust::{camel, ident, shout, struct_name};
use crate::model::{Routine, Subsystem};
use crate::source::{Diagnostic, Span};

/// Whether every name is there once.
///
/// # Errors
/// One that is not, with the places that it comes from.
pub(super) fn judge(
    file: &syn::File,
    subsystem: &Subsystem,
    options: &EmitOptions,
) -> Result<(), Box<Diagnostic>> {
    let Some(name) = twice(file) else { return Ok(()) };
    let message = format!("`{name}` would be there twice in Rust");
    let mut error = match &places(&name, subsystem, options)[..] {
        [first, .., last] => Diagnostic::error(*last, message).related(*first, "the other one"),
        [only] => Diagnostic::error(*only, message),
        [] => {
            let types = subsystem.structs.iter().filter(|def| struct_name(&def.name) == name);
            let types: Vec<&str> = types.map(|def| def.name.as_str()).collect();
            let of = if types.is_empty() { String::new() } else { format!(": {}", types.join(" and ")) };
            Diagnostic::general(message + &of)
        }
    };
    error = error
        .note("types lose their `_t` and their underscores, and a name that Rust or generated code has for itself gets a `_`")
        .help("let the preprocessor rename one of them, as with `-D NAME=OTHER_NAME`");
    Err(Box::new(error))
}

/// Routines, or arguments of one of them, that have that name in Rust.
fn places(name: &str, subsystem: &Subsystem, options: &EmitOptions) -> Vec<Span> {
    let has = |routine: &&Routine| {
        let (upper, prefix) = (camel(&routine.name), &options.prefix);
        [
            ident(&format!("{prefix}{}", routine.user_name)),
            ident(&format!("{prefix}{}", routine.server_name)),
            format!("{upper}Reply"),
            format!("{upper}Out"),
            shout(&routine.name),
        ]
        .iter()
        .any(|made| made == name)
    };
    let routines: Vec<Span> = subsystem.routines.iter().filter(has).map(|r| r.span).collect();
    if !routines.is_empty() {
        return routines;
    }
    let arguments = |routine: &Routine| -> Vec<Span> {
        routine.arguments.iter().filter(|a| ident(&a.name) == name).map(|a| a.span).collect()
    };
    subsystem.routines.iter().map(arguments).find(|spans| spans.len() > 1).unwrap_or_default()
}

/// An item, field, method or parameter that is there twice, because names that differ in C are one in Rust.
fn twice(file: &syn::File) -> Option<String> {
    fn again<'a>(names: impl IntoIterator<Item = &'a syn::Ident>) -> Option<String> {
        let mut seen = BTreeSet::new();
        names.into_iter().map(ToString::to_string).find(|name| !seen.insert(name.clone()))
    }
    fn parameters(signature: &syn::Signature) -> Option<String> {
        again(signature.inputs.iter().filter_map(|input| match input {
            syn::FnArg::Typed(syn::PatType { pat, .. }) => match &**pat {
                syn::Pat::Ident(name) => Some(&name.ident),
                _ => None,
            },
            syn::FnArg::Receiver(_) => None,
        }))
    }
    let (mut types, mut values) = (Vec::new(), Vec::new());
    for item in &file.items {
        let inner = match item {
            syn::Item::Struct(item) => {
                types.push(&item.ident);
                again(item.fields.iter().filter_map(|field| field.ident.as_ref()))
            }
            syn::Item::Trait(item) => {
                types.push(&item.ident);
                let methods = || {
                    item.items.iter().filter_map(|item| match item {
                        syn::TraitItem::Fn(method) => Some(&method.sig),
                        _ => None,
                    })
                };
                again(methods().map(|sig| &sig.ident)).or_else(|| methods().find_map(parameters))
            }
            syn::Item::Fn(item) => {
                values.push(&item.sig.ident);
                parameters(&item.sig)
            }
            syn::Item::Const(item) => {
                values.push(&item.ident);
                None
            }
            syn::Item::Mod(item) => {
                types.push(&item.ident);
                again(item.content.iter().flat_map(|(_, items)| items).filter_map(|item| match item {
                    syn::Item::Const(item) => Some(&item.ident),
                    _ => None,
                }))
            }
            _ => None,
        };
        if inner.is_some() {
            return inner;
        }
    }
    again(types).or_else(|| again(values))
}
