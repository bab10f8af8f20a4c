//! For `build.rs`.

use std::path::{Path, PathBuf};

use crate::compile;
use crate::emit::{EmitOptions, emit};
use crate::pp::Options;

/// Compiles `.defs` files in a `build.rs`:
///
/// ```no_run
/// mig_rs::Builder::new().include("defs").file("defs/counter.defs").build();
/// ```
///
/// and in the crate: `mod counter { include!(concat!(env!("OUT_DIR"), "/counter.rs")); }`.
#[derive(Clone, Debug, Default)]
pub struct Builder {
    options: Options,
    files: Vec<PathBuf>,
    emit: EmitOptions,
    out: Option<PathBuf>,
}

impl Builder {
    /// Nothing to do yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }
    /// Adds a directory for `#include`.
    #[must_use]
    pub fn include(mut self, directory: impl Into<PathBuf>) -> Self {
        self.options.include.push(directory.into());
        self
    }
    /// Defines a macro.
    #[must_use]
    pub fn define(mut self, name: &str, value: Option<&str>) -> Self {
        self.options.define.push((name.into(), value.map(Into::into)));
        self
    }
    /// Takes back what is defined so far: a macro of [`Builder::define`], or one that is always there.
    #[must_use]
    pub fn undefine(mut self, name: &str) -> Self {
        self.options.add_undefine(name);
        self
    }
    /// Reads a file first, of which only the macros remain: the mutations of an interface, say.
    #[must_use]
    pub fn imacros(mut self, file: impl Into<PathBuf>) -> Self {
        self.options.imacros.push(file.into());
        self
    }
    /// Adds a file to compile.
    #[must_use]
    pub fn file(mut self, path: impl Into<PathBuf>) -> Self {
        self.files.push(path.into());
        self
    }
    /// Puts `prefix` before the names of all client functions and server methods, as `-prefix` of GNU MIG.
    #[must_use]
    pub fn prefix(mut self, prefix: &str) -> Self {
        self.emit.prefix = prefix.into();
        self
    }
    /// What is used where the interface imports the C header `file`: `.import("ports.h", "crate::ports::*")`.
    #[must_use]
    pub fn import(mut self, file: &str, path: &str) -> Self {
        self.emit.imports.insert(file.into(), path.into());
        self
    }
    /// What Rust has for a type of C, or of the interface: `.rust_type("vm_prot_t", "crate::Protection")`. It must convert to and
    /// from what is on the wire with `From`.
    #[must_use]
    pub fn rust_type(mut self, c_type: &str, path: &str) -> Self {
        self.emit.rust_types.insert(c_type.into(), path.into());
        self
    }
    /// Makes conversions of `intran`, `intranpayload`, `outtran` and `destructor`: the server's trait gets a type and a function for each.
    #[must_use]
    pub fn translate(mut self) -> Self {
        self.emit.translate = true;
        self
    }
    /// One side is a kernel: `KERNEL_SERVER` is defined, on which interfaces declare themselves `KernelServer`.
    #[must_use]
    pub fn kernel_server(self) -> Self {
        self.define("KERNEL_SERVER", None)
    }
    /// One side is a kernel: `KERNEL_USER` is defined, on which interfaces declare themselves `KernelUser`.
    #[must_use]
    pub fn kernel_user(self) -> Self {
        self.define("KERNEL_USER", None)
    }
    /// What rights are in an interface of which one side is a kernel: a type with `mig_runtime::Name`, instead of
    /// `mig_runtime::KernelPort`.
    #[must_use]
    pub fn kernel_port(mut self, path: &str) -> Self {
        self.emit.kernel_port = Some(path.into());
        self
    }
    /// Writes there instead of `OUT_DIR`.
    #[must_use]
    pub fn out_dir(mut self, directory: impl Into<PathBuf>) -> Self {
        self.out = Some(directory.into());
        self
    }

    /// Compiles all files, each to `STEM.rs`.
    ///
    /// # Errors
    /// What is wrong, as text for people.
    pub fn try_build(&self) -> Result<Vec<PathBuf>, String> {
        let out = match (&self.out, std::env::var_os("OUT_DIR")) {
            (Some(directory), _) => directory.clone(),
            (None, Some(directory)) => PathBuf::from(directory),
            (None, None) => return Err("OUT_DIR is not set; call this from build.rs or use out_dir".into()),
        };
        let mut written = Vec::new();
        for file in &self.files {
            let compiled = compile(file, &self.options).map_err(|failure| failure.to_string())?;
            for source in &compiled.sources.files {
                if source.path.is_file() {
                    println!("cargo::rerun-if-changed={}", source.path.display());
                }
            }
            for warning in &compiled.warnings {
                for line in warning.render(&compiled.sources).lines() {
                    println!("cargo::warning={line}");
                }
            }
            let name = file.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
            // `include!` takes no inner attributes, so they are left to the including module.
            let text = emit(&compiled.subsystem, &name, &self.emit)
                .map_err(|error| error.render(&compiled.sources))?;
            let text: String = text
                .lines()
                .filter(|l| !l.starts_with("#![") && !l.starts_with("//!"))
                .flat_map(|l| [l, "\n"])
                .collect();
            let path = out.join(Path::new(&name).with_extension("rs"));
            if written.contains(&path) {
                return Err(format!("two of the files would become {}", path.display()));
            }
            std::fs::write(&path, text).map_err(|e| format!("cannot write {}: {e}", path.display()))?;
            written.push(path);
        }
        Ok(written)
    }

    /// As [`Builder::try_build`]; ends the process with the diagnostics if something is wrong.
    pub fn build(&self) {
        if let Err(text) = self.try_build() {
            eprintln!("{text}");
            std::process::exit(1);
        }
    }
}
