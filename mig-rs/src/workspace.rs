//! The workspace's own stubs: `libhurd/defs/*.defs` to `libhurd/stubs/src/*.rs`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use crate::compile;
use crate::emit::{EmitOptions, camel, emit, emit_types};
use crate::model::StructDef;
use crate::pp::Options;

/// What [`codegen_workspace`] did.
#[derive(Clone, Debug, Default)]
pub struct Codegen {
    /// All files of the output.
    pub files: Vec<PathBuf>,
    /// Those whose contents changed, or would.
    pub changed: Vec<PathBuf>,
}

/// Generates the crate `hurd-stubs` in `root`; with `check` only compares.
///
/// Every `.defs` in `libhurd/defs` whose name does not end in `_types` is a subsystem.
///
/// # Errors
/// What is wrong with the definitions or the files, as text for people. With `check`, also that files differ.
pub fn codegen_workspace(root: &Path, check: bool) -> Result<Codegen, String> {
    let defs = root.join("libhurd/defs");
    let out = root.join("libhurd/stubs/src");
    let options = Options { include: vec![defs.clone()], ..Options::default() };
    let mut names = Vec::new();
    let listing = std::fs::read_dir(&defs).map_err(|e| format!("cannot read {}: {e}", defs.display()))?;
    for entry in listing {
        let path = entry.map_err(|e| e.to_string())?.path();
        let stem = path.file_stem().map(|s| s.to_string_lossy().into_owned()).unwrap_or_default();
        if path.extension().is_some_and(|e| e == "defs") && !stem.ends_with("_types") {
            names.push(stem);
        }
    }
    names.sort();
    let mut structs: BTreeMap<String, Rc<StructDef>> = BTreeMap::new();
    let mut texts = BTreeMap::new();
    let mut subsystems = Vec::new();
    let emit_options = EmitOptions { types_path: Some("crate::types".into()), ..EmitOptions::default() };
    let mut problems = String::new();
    for name in &names {
        let file = format!("{name}.defs");
        let compiled = match compile(defs.join(&file), &options) {
            Ok(compiled) => compiled,
            Err(failure) => {
                problems.push_str(&format!("{failure}\n\n"));
                continue;
            }
        };
        for def in &compiled.subsystem.structs {
            match structs.get(&def.name) {
                Some(known) if known != def => {
                    return Err(format!(
                        "{file}: {} is another struct elsewhere; move it to a _types.defs",
                        def.name
                    ));
                }
                _ => {
                    structs.insert(def.name.clone(), def.clone());
                }
            }
        }
        subsystems.push((name.as_str(), compiled.subsystem.name.clone()));
        texts.insert(
            format!("{name}.rs"),
            emit(&compiled.subsystem, &file, &emit_options)
                .map_err(|error| error.render(&compiled.sources))?,
        );
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    let structs: Vec<Rc<StructDef>> = structs.into_values().collect();
    texts.insert("types.rs".into(), emit_types(&structs, "*_types.defs").map_err(|error| error.message)?);
    texts.insert("lib.rs".into(), library(&names));
    texts.insert("../tests/common/interfaces.rs".into(), list(&subsystems));

    let mut result = Codegen::default();
    for (name, text) in &texts {
        let path = match name.strip_prefix("../") {
            Some(name) => root.join("libhurd/stubs").join(name),
            None => out.join(name),
        };
        let old = std::fs::read_to_string(&path).unwrap_or_default();
        if old != *text {
            result.changed.push(path.clone());
            if !check {
                if let Some(directory) = path.parent() {
                    std::fs::create_dir_all(directory)
                        .map_err(|e| format!("cannot make {}: {e}", directory.display()))?;
                }
                std::fs::write(&path, text).map_err(|e| format!("cannot write {}: {e}", path.display()))?;
            }
        }
        result.files.push(path);
    }
    // A module whose definition has gone must not stay behind.
    let listing = std::fs::read_dir(&out).map_err(|e| format!("cannot read {}: {e}", out.display()))?;
    for entry in listing {
        let path = entry.map_err(|e| e.to_string())?.path();
        if path.extension().is_some_and(|e| e == "rs") && !result.files.contains(&path) {
            result.changed.push(path.clone());
            if !check {
                std::fs::remove_file(&path).map_err(|e| format!("cannot remove {}: {e}", path.display()))?;
            }
        }
    }
    if check && !result.changed.is_empty() {
        let list: Vec<String> = result.changed.iter().map(|p| p.display().to_string()).collect();
        return Err(format!(
            "generated stubs are out of date; run `cargo xtask codegen`:\n{}",
            list.join("\n")
        ));
    }
    Ok(result)
}

fn library(names: &[String]) -> String {
    let mut text = String::from(
        "// Generated by mig-rs. Do not edit.\n\n\
         //! Client functions and server traits of every interface in `libhurd/defs`, one module each.\n\
         //!\n\
         //! Generated by `cargo xtask codegen` and checked in. No allocation, no `unsafe`.\n\
         #![cfg_attr(not(test), no_std)]\n#![forbid(unsafe_code)]\n\n",
    );
    for name in names.iter().map(String::as_str).chain(["types"]) {
        text.push_str(&format!("#[rustfmt::skip]\npub mod {name};\n"));
    }
    text
}

/// For tests: a macro that calls another with the modules and server traits of all interfaces.
fn list(subsystems: &[(&str, String)]) -> String {
    format!(
        "// Generated by mig-rs. Do not edit.\n\n//! All interfaces, for tests.\n\n/// Calls `$call!` with the modules and server traits of all interfaces.\n\
         macro_rules! with_interfaces {{\n    ($call:ident) => {{\n        $call! {{ {} }}\n    }};\n}}\n",
        subsystems
            .iter()
            .map(|(module, name)| format!("{module} {}Server", camel(name)))
            .collect::<Vec<_>>()
            .join(", ")
    )
}
