//! mig-rs: Mach interface definitions (`.defs`) to Rust.
//!
//! [`compile`] reads a file through the preprocessor, checks it and returns the [`model`]: routines with ids
//! and messages laid out byte for byte as GNU MIG lays them out on x86_64. [`emit()`] turns the model into Rust;
//! [`layout_rows`], [`id_rows`] and [`explain()`] show it. [`Builder`] is for `build.rs`, [`codegen_workspace`] for this
//! workspace's own checked-in stubs.
//!
//! Deliberately absent: C. What an interface says of C types, files and functions becomes Rust by the mapping in `docs/mapping.md`,
//! as far as [`EmitOptions`] say what Rust has for it.
#![forbid(unsafe_code)]

pub mod ast;
mod builder;
mod emit;
mod explain;
mod json;
mod layout;
mod lex;
pub mod model;
mod near;
mod parse;
mod pp;
mod sema;
pub mod source;
mod workspace;

use std::path::PathBuf;

pub use builder::Builder;
pub use emit::{EmitOptions, emit, emit_types};
pub use explain::explain;
pub use json::{json_ids, json_layout};
pub use layout::{Side, id_rows, layout_rows, word};
pub use pp::Options;
pub use workspace::{Codegen, codegen_workspace};

use crate::pp::{Input, Preprocessed, preprocess};
use crate::source::{Diagnostic, Failure, Severity, Sources};

/// What came of a compilation.
#[derive(Clone, Debug)]
pub struct Compiled {
    /// The interface.
    pub subsystem: model::Subsystem,
    /// Warnings.
    pub warnings: Vec<Diagnostic>,
    /// The files, for rendering warnings.
    pub sources: Sources,
}

/// Compiles one `.defs` file.
///
/// # Errors
/// Everything that is wrong with it, as far as one run can tell.
pub fn compile(file: impl Into<PathBuf>, options: &Options) -> Result<Compiled, Box<Failure>> {
    check(preprocess(options, Input::File(file.into())))
}

/// Compiles text; `name` stands for its path in diagnostics.
///
/// # Errors
/// As for [`compile`].
pub fn compile_text(name: &str, text: &str, options: &Options) -> Result<Compiled, Box<Failure>> {
    check(preprocess(options, Input::Text { name, text }))
}

/// The statements of one `.defs` file as written, and of what it includes; nothing is looked up.
///
/// # Errors
/// What is wrong with its form.
pub fn statements(file: impl Into<PathBuf>, options: &Options) -> Result<Vec<ast::Statement>, Box<Failure>> {
    let Preprocessed { tokens, sources, mut diagnostics, stopped, .. } =
        preprocess(options, Input::File(file.into()));
    let mut parsed = parse::parse(&tokens);
    diagnostics.append(&mut parsed.diagnostics);
    condense(&mut diagnostics, &sources);
    if !stopped && diagnostics.iter().all(|d| d.severity == Severity::Warning) {
        return Ok(parsed.statements);
    }
    Err(Box::new(Failure { sources, diagnostics }))
}

fn check(read: Preprocessed) -> Result<Compiled, Box<Failure>> {
    let Preprocessed { tokens, sources, mut diagnostics, .. } = read;
    let mut subsystem = None;
    // Of a text that was not read to its end nothing can be said.
    if !read.stopped {
        let mut parsed = parse::parse(&tokens);
        diagnostics.append(&mut parsed.diagnostics);
        let more;
        (subsystem, more) = sema::check(parsed, read.incomplete);
        diagnostics.extend(more);
    }
    condense(&mut diagnostics, &sources);
    match subsystem {
        Some(subsystem) if diagnostics.iter().all(|d| d.severity == Severity::Warning) => {
            Ok(Compiled { subsystem, warnings: diagnostics, sources })
        }
        _ => Err(Box::new(Failure { sources, diagnostics })),
    }
}

/// Most findings that are shown.
const MAX_SHOWN: usize = 50;

/// A file that is included twice has its mistakes twice: each is shown once, and not more than a person reads.
fn condense(diagnostics: &mut Vec<Diagnostic>, sources: &Sources) {
    let mut seen = std::collections::HashSet::new();
    diagnostics.retain(|d| {
        let place = d.span.map(|span| (sources.location(span), span.hi - span.lo.min(span.hi)));
        seen.insert((place, d.message.clone()))
    });
    // What is wrong with the text of a macro is wrong where it is used; where it comes from is shown beside it.
    for d in diagnostics.iter_mut() {
        if let Some(defined_at) = d.span.and_then(|span| sources.macro_at(span))
            && d.related.iter().all(|(_, label)| !label.contains("macro"))
            && !pp::is_built_in(sources, defined_at.file)
        {
            d.related.push((defined_at, "the macro is defined here".into()));
        }
    }
    diagnostics.sort_by_key(|d| d.severity == Severity::Warning);
    let hidden = diagnostics.len().saturating_sub(MAX_SHOWN);
    if hidden > 0 {
        diagnostics.truncate(MAX_SHOWN);
        diagnostics.push(Diagnostic::general(format!("{hidden} more findings are not shown")));
    }
}

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}
