//! Compiling: C of GNU MIG with its glue into a shared object, Rust of mig-rs into a crate's metadata.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use mig_rs::model::Subsystem;
use mig_rs::{EmitOptions, compile, emit};

use crate::glue;
use crate::gnu::{Flags, Gnu, Side};
use crate::interfaces::{self, Source};

/// The folder of C that goes with GNU MIG's: headers that Debian's packages lack, and `wire.c`.
#[must_use]
pub fn shim() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("c")
}

/// The interfaces that are compared on the wire: this crate's fixtures and the workspace's own.
///
/// # Errors
/// When a folder cannot be read.
pub fn interfaces() -> std::io::Result<Vec<Source>> {
    interfaces::interfaces(Path::new(env!("CARGO_MANIFEST_DIR")))
}

/// Where the interfaces' `#include`s are found; the last folder is for GNU MIG, mig-rs has it built in.
#[must_use]
pub fn include() -> Vec<PathBuf> {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut folders = interfaces::include(manifest);
    folders.push(manifest.join("../include"));
    folders
}

/// Runs a command; its output is part of the error.
pub(crate) fn run(command: &mut Command) -> Result<String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.output().with_context(|| format!("cannot run {name}"))?;
    if !output.status.success() {
        bail!(
            "{command:?} ended with {}\n{}{}",
            output.status,
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// A C compiler that finds GNU Mach's headers.
pub(crate) fn cc(gnu: &Gnu) -> Command {
    let mut command = Command::new("gcc");
    command.arg("-w").arg("-I").arg(shim()).arg("-I").arg(gnu.include());
    command
}

/// Makes `work/wire.so`: GNU MIG's stubs of every interface, both sides, and the glue that calls and serves them.
///
/// # Errors
/// When GNU MIG, mig-rs or the C compiler refuses one of them.
pub fn shared(gnu: &Gnu, work: &Path) -> Result<PathBuf> {
    std::fs::create_dir_all(work).with_context(|| format!("cannot create {}", work.display()))?;
    let known = glue::typedefs(&run(cc(gnu).args(["-E", "-x", "c"]).arg(shim().join("base.h")))?);
    let mut objects = Vec::new();
    let mut names = Vec::new();
    for source in interfaces().context("cannot read the interfaces")? {
        let Source { name, file, manner } = &source;
        let folder = work.join(name);
        let flags = |letter: &str| Flags {
            include: include(),
            define: manner.define.map(|name| format!("{name}=1")).into_iter().collect(),
            imacros: source.imacros().into_iter().collect(),
            prefix: Some(manner.prefix.map_or_else(|| format!("{letter}_{name}_"), str::to_owned)),
            subrprefix: manner.subrprefix.map(str::to_owned),
        };
        let user = gnu.compile(file, &flags("u"), Side::User, &folder)?;
        let server = gnu.compile(file, &flags("s"), Side::Server, &folder)?;
        let subsystem =
            compile(file, &source.options(include())).map_err(|f| anyhow::anyhow!("{f}"))?.subsystem;
        let made = glue::c(name, &subsystem, &user, &server, &known, by_hand(file).as_deref())?;
        std::fs::write(folder.join("types.h"), made.types)?;
        std::fs::write(folder.join("glue.c"), made.code)?;
        std::fs::write(folder.join("user.c"), &user.code)?;
        std::fs::write(folder.join("server.c"), glue::mended(&server.code, &subsystem))?;
        // Whichever side is the kernel's: in its messages ports take 8 bytes, and so they do for the stubs of both sides.
        let kernel = subsystem.kernel_server || subsystem.kernel_user;
        for part in ["user", "server", "glue"] {
            let object = folder.join(format!("{part}.o"));
            // Padding that the stubs leave unwritten is zero, as in Rust.
            run(cc(gnu)
                .args(["-O1", "-fPIC", "-ftrivial-auto-var-init=zero", "-DUseExternRCSId=0"])
                .args(kernel.then_some("-DKERNEL"))
                .args(["-c", "-include"])
                .arg(folder.join("types.h"))
                .arg("-I")
                .arg(&folder)
                .arg(folder.join(format!("{part}.c")))
                .arg("-o")
                .arg(&object))
            .with_context(|| format!("C of {name}"))?;
            objects.push(object);
        }
        names.push(source.name);
    }
    std::fs::write(work.join("table.c"), glue::table(&names))?;
    let library = work.join("wire.so");
    let mut command = cc(gnu);
    command.args(["-O1", "-fPIC", "-shared", "-o"]).arg(&library);
    command.args(objects).arg(shim().join("wire.c")).arg(work.join("table.c"));
    run(&mut command)?;
    Ok(library)
}

/// Compiles a server's stubs, with declarations that no header has, in the folder `out`; `kernel`: as a kernel's.
///
/// # Errors
/// What the compiler says.
pub fn compile_c(gnu: &Gnu, code: &str, types: &str, kernel: bool, out: &Path) -> Result<()> {
    let (source, header) = (out.join("server.c"), out.join("types.h"));
    std::fs::write(&source, code)?;
    std::fs::write(&header, format!("#include \"base.h\"\n{types}\n"))?;
    let mut command = cc(gnu);
    command.args(kernel.then_some("-DKERNEL")).args(["-fsyntax-only", "-include"]).arg(header).arg(source);
    run(&mut command).map(drop)
}

/// Types and functions of translations, written by hand beside the fixture.
fn by_hand(file: &Path) -> Option<String> {
    std::fs::read_to_string(file.with_extension("h")).ok()
}

/// The bare-metal target of the workspace.
pub const BARE_TARGET: &str = "x86_64-unknown-none";

/// Whether the toolchain has a target's libraries.
#[must_use]
pub fn has_target(target: &str) -> bool {
    let output = Command::new("rustc").args(["--print", "target-libdir", "--target", target]).output();
    output.is_ok_and(|o| o.status.success() && Path::new(String::from_utf8_lossy(&o.stdout).trim()).is_dir())
}

/// Generates Rust of interfaces (with the names of their files) into a crate in `folder`, whose lints are the
/// workspace's, and checks it: clippy with warnings denied, or rustc if there is no clippy.
///
/// # Errors
/// What the compiler says.
pub fn check_rust(interfaces: &[(String, Subsystem)], folder: &Path, target: Option<&str>) -> Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize()?;
    let source = folder.join("src");
    std::fs::create_dir_all(&source).with_context(|| format!("cannot create {}", source.display()))?;
    let mut library = String::from("//! Generated interfaces.\n#![no_std]\n#![forbid(unsafe_code)]\n");
    for (file, subsystem) in interfaces {
        let module = Path::new(file).with_extension("").to_string_lossy().replace(['/', '.'], "_");
        let text = emit(subsystem, file, &EmitOptions::default()).map_err(anyhow::Error::msg)?;
        std::fs::write(source.join(format!("{module}.rs")), text)?;
        library.push_str(&format!("pub mod {module};\n"));
    }
    std::fs::write(source.join("lib.rs"), library)?;
    let workspace = std::fs::read_to_string(root.join("Cargo.toml"))?;
    let manifest = format!(
        "[package]\nname = \"generated\"\nversion = \"0.0.0\"\nedition = \"2024\"\n\n[workspace]\n\n[dependencies]\n\
         mig-runtime = {{ path = {:?} }}\n{}",
        root.join("mig-rs/runtime"),
        lints(&workspace)
    );
    std::fs::write(folder.join("Cargo.toml"), manifest)?;
    std::fs::copy(root.join("Cargo.lock"), folder.join("Cargo.lock"))?;
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let clippy =
        Command::new(&cargo).args(["clippy", "--version"]).output().is_ok_and(|o| o.status.success());
    let mut command = Command::new(cargo);
    command.arg(if clippy { "clippy" } else { "check" }).args(["--offline", "--quiet"]);
    command.current_dir(folder).env("CARGO_TARGET_DIR", folder.join("target"));
    if let Some(target) = target {
        command.args(["--target", target]);
    }
    match clippy {
        true => command.args(["--", "-D", "warnings"]),
        false => command.env("RUSTFLAGS", "-D warnings"),
    };
    run(&mut command).map(drop)
}

/// The workspace's tables of lints, as a package has them.
fn lints(workspace: &str) -> String {
    let (mut text, mut inside) = (String::new(), false);
    for line in workspace.lines() {
        if line.starts_with('[') {
            inside = line.starts_with("[workspace.lints");
        }
        if inside {
            text.push_str(&line.replace("[workspace.lints", "[lints"));
            text.push('\n');
        }
    }
    text
}
