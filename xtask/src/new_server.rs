//! `cargo xtask new-server NAME --defs FILE`: a package with a server of an interface, one that builds, is on the image and answers.
//!
//! | file | what |
//! |---|---|
//! | `FILE` | a copy of the interface, and of what it includes from its own folder (none if it is one of `libhurd/defs`) |
//! | `build.rs`, `src/lib.rs` | the interface in Rust, made by mig-rs whenever the package is built |
//! | `src/main.rs` | the server: every method answers `EOPNOTSUPP` until it is written |
//! | `src/bin/NAME-call.rs` | a client that calls every routine once and prints the answers |
//!
//! In `servers/` that is all: cargo finds the package, the image has its programs in `/bin` and a node `/servers/NAME`, whose first visitor starts the server.
//! A package elsewhere ([`Place::Alone`]) is a workspace of its own.
//!
//! What methods and calls look like is read off the generated Rust itself.

use crate::workspace::{Workspace, make_dir};
use anyhow::{Context, Result, anyhow, bail, ensure};
use mig_rs::model::{Role, Routine, Subsystem};
use mig_rs::{EmitOptions, Options};
use std::collections::HashSet;
use std::fmt::Write as _;
use std::path::{Component, Path, PathBuf};
use syn::{FnArg, Item, ItemFn, Pat, TraitItem};

/// Where the package goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// `servers/NAME`: a member of this workspace.
    Workspace,
    /// This folder, anywhere on the host: a workspace of its own.
    Alone(PathBuf),
}

/// Words of Rust since the edition of the packages, which a parser of all editions takes for names.
const LATER_WORDS: &[&str] = &["async", "await", "dyn", "gen", "try"];
/// Libraries that the package itself uses by these names, and what cargo does not take for a program.
const OTHERS: &[&str] = &[
    "alloc",
    "build",
    "core",
    "deps",
    "examples",
    "incremental",
    "libhurd",
    "log",
    "main",
    "mig_rs",
    "mig_runtime",
    "proc_macro",
    "std",
    "test",
];

/// Texts of the package's files, with placeholders.
const MANIFEST: &str = include_str!("../templates/new-server/Cargo.toml.in");
const BUILD: &str = include_str!("../templates/new-server/build.rs.in");
const LIB: &str = include_str!("../templates/new-server/lib.rs.in");
const MAIN: &str = include_str!("../templates/new-server/main.rs.in");
const CALL: &str = include_str!("../templates/new-server/call.rs.in");

/// Writes the package and says what to do next.
///
/// # Errors
/// As for [`write()`].
pub fn run(ws: &Workspace, name: &str, defs: &Path) -> Result<()> {
    let folder = write(ws, name, defs, &Place::Workspace)?;
    let shown = folder.strip_prefix(&ws.root).unwrap_or(&folder).display().to_string();
    println!(
        "{shown} is there. Next:\n  cargo xtask run          boots with it; at the prompt, `{name}-call` calls every routine\n  \
         {shown}/src/main.rs      is where the methods are to be written"
    );
    Ok(())
}

/// Writes the package; its folder.
///
/// # Errors
/// When the name is taken or no name for a package, the interface has mistakes (the text shows them), or a file cannot be written. Nothing is
/// left behind then.
pub fn write(ws: &Workspace, name: &str, defs: &Path, place: &Place) -> Result<PathBuf> {
    check_name(ws, name, place)?;
    let library_name = name.replace('-', "_");
    let library = ws.root.join("libhurd/defs");
    let own = defs.parent().map(Path::to_path_buf).unwrap_or_default();
    let options = Options { include: vec![own.clone(), library.clone()], ..Options::default() };
    let compiled = mig_rs::compile(defs, &options).map_err(|failure| anyhow!("{failure}"))?;
    let file_name =
        defs.file_name().context("the interface has no file name")?.to_string_lossy().into_owned();
    check_interface(&compiled.subsystem, &file_name)?;
    let generated = mig_rs::emit(&compiled.subsystem, &file_name, &EmitOptions::default())
        .map_err(|error| anyhow!("{}", error.render(&compiled.sources)))?;
    let interface = Interface::read(&generated, &compiled.subsystem, &library_name)?;

    let folder = match place {
        Place::Workspace => ws.root.join("servers").join(name),
        Place::Alone(folder) => folder.clone(),
    };
    ensure!(!folder.exists(), "{} is there already", folder.display());
    let root = relative(&folder, &ws.root);
    // Interfaces of the library stay where they are; others go with the package.
    let canonical = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_path_buf());
    let (library, own) =
        (canonical(&library), canonical(if own.as_os_str().is_empty() { Path::new(".") } else { &own }));
    let mut copied = Vec::new();
    for source in compiled.sources.files.iter().map(|file| &file.path).filter(|path| path.is_file()) {
        let path = canonical(source);
        if path.starts_with(&library) {
            continue;
        }
        let inside = path.strip_prefix(&own).map_err(|_| {
            anyhow!("{file_name} includes {}, which is neither in its own folder nor in libhurd/defs: copy it there", path.display())
        })?;
        let bytes = std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        copied.push((inside.to_path_buf(), bytes));
    }
    let from_library = canonical(defs).starts_with(&library);
    let library_path = format!("{root}/libhurd/defs");
    let values = [
        ("NAME", name.to_owned()),
        ("CRATE", library_name),
        ("INTERFACE", format!("the interface {}", compiled.subsystem.name)),
        ("STEM", Path::new(&file_name).file_stem().unwrap_or_default().to_string_lossy().into_owned()),
        ("DEFS", if from_library { format!("{library_path}/{file_name}") } else { file_name }),
        (
            "INCLUDES",
            format!("{}.include(\"{library_path}\")", if from_library { "" } else { ".include(\".\")" }),
        ),
        ("TRAIT", interface.server.clone()),
        ("METHODS", interface.methods.clone()),
        ("CALLS", interface.calls.clone()),
        ("ROOT", root.clone()),
    ];
    let mut files = vec![
        (PathBuf::from("Cargo.toml"), fill(&fill(MANIFEST, &manifest(ws, place, &root)?), &values)),
        ("build.rs".into(), fill(BUILD, &values)),
        ("src/lib.rs".into(), fill(LIB, &values)),
        ("src/main.rs".into(), fill(MAIN, &values)),
        (format!("src/bin/{name}-call.rs").into(), fill(CALL, &values)),
    ];
    if *place != Place::Workspace {
        // The versions that the workspace has been tested with.
        files.push((
            "Cargo.lock".into(),
            std::fs::read_to_string(ws.root.join("Cargo.lock")).context("cannot read Cargo.lock")?,
        ));
    }
    let written = (|| {
        for (path, bytes) in
            copied.into_iter().chain(files.into_iter().map(|(path, text)| (path, text.into_bytes())))
        {
            let path = folder.join(path);
            make_dir(path.parent().unwrap_or(&folder))?;
            std::fs::write(&path, bytes).with_context(|| format!("cannot write {}", path.display()))?;
        }
        format(ws, &folder, name);
        Ok(folder.clone())
    })();
    if written.is_err() {
        let _ = std::fs::remove_dir_all(&folder);
    }
    written
}

/// A name for cargo, for a path of the guest and for Rust, that nobody has.
fn check_name(ws: &Workspace, name: &str, place: &Place) -> Result<()> {
    let mut chars = name.chars();
    let starts = chars.next().is_some_and(|c| c.is_ascii_lowercase());
    ensure!(
        starts
            && chars.all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
            && !name.ends_with('-'),
        "`{name}` is no name for a server: use small letters, digits and `-`, beginning with a letter"
    );
    let library = name.replace('-', "_");
    ensure!(
        syn::parse_str::<syn::Ident>(&library).is_ok() && !LATER_WORDS.contains(&name),
        "`{name}` is a word of Rust: choose another name"
    );
    ensure!(
        !OTHERS.contains(&library.as_str()),
        "`{name}` is the name of a library that every server uses, or of a folder of cargo's: choose another name"
    );
    if *place == Place::Workspace {
        let text = crate::programs::metadata(ws, &["--no-deps"])?;
        let taken: crate::programs::Metadata =
            serde_json::from_str(&text).context("cargo metadata is not what it used to be")?;
        let client = format!("{name}-call");
        let ours = |other: &str| other == name || other == library || other == client;
        if let Some(package) =
            taken.packages.iter().find(|p| p.name == name || p.targets.iter().any(|t| ours(&t.name)))
        {
            bail!("`{name}` is taken by {}: choose another name", package.manifest_path.display());
        }
    }
    Ok(())
}

/// An interface that a program can serve, and whose Rust needs nothing but itself.
fn check_interface(subsystem: &Subsystem, file_name: &str) -> Result<()> {
    let plain_name = |c: char| c.is_ascii_alphanumeric() || "._-+".contains(c);
    ensure!(
        file_name.chars().all(plain_name),
        "`{file_name}` is no name for an interface in a package: use letters, digits, `.`, `_`, `-`"
    );
    ensure!(
        !subsystem.kernel_server && !subsystem.kernel_user,
        "{file_name} is an interface of a kernel (KernelServer, KernelUser): no program can serve it"
    );
    ensure!(!subsystem.routines.is_empty(), "{file_name} has no routine: there would be nothing to serve");
    for routine in &subsystem.routines {
        for expression in routine.wait_time.iter().chain(&routine.msg_option) {
            let words = expression.text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
            let imported = words
                .filter(|word| !word.is_empty())
                .find(|word| !word.starts_with("MACH_") && word.parse::<u32>().is_err());
            if let Some(word) = imported {
                bail!(
                    "routine {} waits by `{word}`, which an import would have to bring: write a number in its place",
                    routine.name
                );
            }
        }
    }
    Ok(())
}

/// What differs in the manifest between a member and a package of its own.
fn manifest(ws: &Workspace, place: &Place, root: &str) -> Result<[(&'static str, String); 5]> {
    if *place == Place::Workspace {
        let inherited = "version.workspace = true\nedition.workspace = true\nrust-version.workspace = true\nlicense.workspace = true\npublish.workspace = true\n";
        return Ok([
            ("PACKAGE", inherited.into()),
            ("LINTS", "\n[lints]\nworkspace = true\n".into()),
            (
                "DEPENDENCIES",
                "libhurd.workspace = true\nlog.workspace = true\nmig-runtime.workspace = true\n".into(),
            ),
            ("BUILD_DEPENDENCIES", "mig-rs.workspace = true\n".into()),
            ("STANDALONE", String::new()),
        ]);
    }
    let workspace = std::fs::read_to_string(ws.root.join("Cargo.toml")).context("cannot read Cargo.toml")?;
    let log =
        workspace.lines().find(|line| line.starts_with("log = ")).context("the workspace has no `log`")?;
    Ok([
        ("PACKAGE", "version = \"0.1.0\"\nedition = \"2024\"\npublish = false\n".into()),
        ("LINTS", String::new()),
        (
            "DEPENDENCIES",
            format!(
                "libhurd = {{ path = \"{root}/libhurd\" }}\n{log}\nmig-runtime = {{ path = \"{root}/mig-rs/runtime\" }}\n"
            ),
        ),
        ("BUILD_DEPENDENCIES", format!("mig-rs = {{ path = \"{root}/mig-rs\" }}\n")),
        // The profile is the workspace's, so that what both use is built once.
        (
            "STANDALONE",
            "\n[workspace]\n\n[profile.release]\nopt-level = 3\ndebug = \"line-tables-only\"\n".into(),
        ),
    ])
}

/// Puts values for placeholders.
fn fill(template: &str, values: &[(&str, String)]) -> String {
    let mut text = template.to_owned();
    for (key, value) in values {
        text = text.replace(&format!("{{{{{key}}}}}"), value);
    }
    text
}

/// The way from one folder to another, both in absolute form.
fn relative(from: &Path, to: &Path) -> String {
    let absolute = |path: &Path| std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf());
    let (from, to) = (absolute(from), absolute(to));
    let (from, to): (Vec<Component<'_>>, Vec<Component<'_>>) =
        (from.components().collect(), to.components().collect());
    let common = from.iter().zip(&to).take_while(|(a, b)| a == b).count();
    let up = from.len() - common;
    let mut parts = vec!["..".to_owned(); up];
    parts.extend(to[common..].iter().map(|part| part.as_os_str().to_string_lossy().into_owned()));
    if parts.is_empty() { ".".into() } else { parts.join("/") }
}

/// Formats what was written. Without rustfmt it stays as it is, which compiles as well.
fn format(ws: &Workspace, folder: &Path, name: &str) {
    let mut command = std::process::Command::new("rustfmt");
    command.arg("--edition=2024").arg("--config-path").arg(&ws.root);
    command
        .args(["build.rs", "src/main.rs"].map(|file| folder.join(file)))
        .arg(folder.join(format!("src/bin/{name}-call.rs")));
    let _ = crate::tools::run(command);
}

/// What the generated Rust says of an interface.
struct Interface {
    /// The server trait.
    server: String,
    /// Its methods, to be written.
    methods: String,
    /// A call of each client function.
    calls: String,
}

impl Interface {
    fn read(generated: &str, subsystem: &Subsystem, library: &str) -> Result<Self> {
        let file = syn::parse_file(generated).context("mig-rs has not made Rust")?;
        let server = file.items.iter().find_map(|item| match item {
            Item::Trait(server) => Some(server),
            _ => None,
        });
        let server = server.context("mig-rs has made no server trait")?;
        let (offers, time_outs) = (offers(&file.items), time_outs(subsystem));
        let (mut methods, mut calls) = (String::new(), String::new());
        for item in &server.items {
            let TraitItem::Fn(method) = item else { continue };
            let name = method.sig.ident.to_string();
            // Prefixes may have given the two sides of a routine different names.
            let routine =
                subsystem.routines.iter().find(|routine| plain(&routine.server_name) == plain(&name));
            let routine = routine.with_context(|| format!("no routine has the method {name}"))?;
            let client = file.items.iter().find_map(|item| match item {
                Item::Fn(client) if plain(&client.sig.ident.to_string()) == plain(&routine.user_name) => {
                    Some(client)
                }
                _ => None,
            });
            let client =
                client.with_context(|| format!("mig-rs has made no client function of {}", routine.name))?;
            write_method(&mut methods, generated, &name, &method.sig)?;
            write_call(&mut calls, library, &routine.name, client, &offers, &time_outs)?;
        }
        Ok(Self { server: server.ident.to_string(), methods, calls })
    }
}

/// The arguments that are time-outs of their calls: routine and argument.
fn time_outs(subsystem: &Subsystem) -> HashSet<(String, String)> {
    let of = |routine: &Routine| {
        let name = plain(&routine.name);
        let waits = routine.arguments.iter().filter(|argument| argument.role == Role::WaitTime);
        waits.map(|argument| (name.clone(), plain(&argument.name))).collect::<Vec<_>>()
    };
    subsystem.routines.iter().flat_map(of).collect()
}

/// A name without the underscore that Rust's own words get.
fn plain(name: &str) -> String {
    name.trim_end_matches('_').to_owned()
}

/// The routines of which the interface says what they may be offered.
fn offers(items: &[Item]) -> HashSet<String> {
    let module = items.iter().find_map(|item| match item {
        Item::Mod(module) if module.ident == "offer" => module.content.as_ref(),
        _ => None,
    });
    let constants =
        module.map(|(_, items)| items.as_slice()).unwrap_or_default().iter().filter_map(|item| match item {
            Item::Const(constant) => Some(constant.ident.to_string()),
            _ => None,
        });
    constants.collect()
}

/// Names and types of parameters, receivers left out.
fn parameters(signature: &syn::Signature) -> Result<Vec<(String, String)>> {
    let typed = signature.inputs.iter().filter_map(|input| match input {
        FnArg::Typed(argument) => Some(argument),
        FnArg::Receiver(_) => None,
    });
    typed
        .map(|argument| match &*argument.pat {
            Pat::Ident(name) => Ok((name.ident.to_string(), spelled(&argument.ty))),
            _ => bail!("a parameter without a name in generated code"),
        })
        .collect()
}

/// A type as text; rustfmt does the rest.
fn spelled(tokens: &impl quote::ToTokens) -> String {
    tokens
        .to_token_stream()
        .to_string()
        .replace(" < ", "<")
        .replace(" >", ">")
        .replace("& ", "&")
        .replace(" ,", ",")
}

/// What a method has to return, from the struct that the generated file has for it.
fn answer(generated: &str, returned: &str) -> String {
    let Some(name) = returned.strip_prefix("Result<").and_then(|rest| rest.split([',', '>']).next()) else {
        return "Ok(())".into();
    };
    let body =
        generated.split_once(&format!("pub struct {name} {{")).and_then(|(_, rest)| rest.split_once('}'));
    let fields = body.map(|(body, _)| {
        body.lines()
            .filter_map(|line| line.trim().strip_prefix("pub ")?.split(':').next())
            .collect::<Vec<_>>()
    });
    match fields {
        Some(fields) => format!("Ok({name} {{ {} }})", fields.join(", ")),
        None => "Ok(())".into(),
    }
}

fn write_method(out: &mut String, generated: &str, name: &str, signature: &syn::Signature) -> Result<()> {
    let returned = match &signature.output {
        syn::ReturnType::Type(_, returned) => spelled(returned),
        syn::ReturnType::Default => bail!("{name} returns nothing"),
    };
    let mut list = String::from("&mut self");
    for (index, (parameter, of)) in parameters(signature)?.into_iter().enumerate() {
        // The request is looked at; what else there is waits for somebody to use it.
        let underscore = if index == 0 || parameter.starts_with('_') { "" } else { "_" };
        let _ = write!(list, ", {underscore}{parameter}: {of}");
    }
    let request = parameters(signature)?.first().map_or_else(String::new, |(name, _)| name.clone());
    let _ = writeln!(
        out,
        "    fn {name}({list}) -> {returned} {{\n        object({request})?;\n        // To be written. Success is: {}\n        Err(EOPNOTSUPP)\n    }}\n",
        answer(generated, &returned)
    );
    Ok(())
}

/// A call of one routine; `library` is the crate of the generated code.
fn write_call(
    out: &mut String,
    library: &str,
    name: &str,
    client: &ItemFn,
    offers: &HashSet<String>,
    time_outs: &HashSet<(String, String)>,
) -> Result<()> {
    let mut list = String::from("&Mach");
    let mut port_seen = false;
    for (parameter, of) in parameters(&client.sig)?.into_iter().skip(1) {
        let value = match of.as_str() {
            "PortName" if !port_seen => "server.port()".to_owned(),
            "Port" if !port_seen => "Port::copy_send(server.port())".to_owned(),
            _ if parameter == "donation" => {
                let constant = name.trim_end_matches('_').to_uppercase();
                if offers.contains(&constant) {
                    format!("&{library}::offer::{constant}.default_at(now())")
                } else {
                    "&offer".into()
                }
            }
            // In ms: long enough for an answer.
            _ if time_outs.contains(&(plain(name), plain(&parameter))) => "1000".to_owned(),
            "PortName" => "PortName::NULL".to_owned(),
            "Port" => "Port::copy_send(PortName::NULL)".to_owned(),
            "Ports<'_>" => "Ports::EMPTY".to_owned(),
            "Ool" => "Ool::EMPTY".to_owned(),
            "bool" => "false".to_owned(),
            "f32" | "f64" => "0.0".to_owned(),
            of if of.starts_with("&OutData") => "&OutData::Inline(Bounded::new())".to_owned(),
            of if of.starts_with("&[") && !of.contains(';') => "&[]".to_owned(),
            of if of.starts_with('&') => "&Value::ZERO".to_owned(),
            of if of.starts_with(['i', 'u']) && of[1..].chars().all(|c| c.is_ascii_digit()) => "0".to_owned(),
            _ => "Value::ZERO".to_owned(),
        };
        port_seen |= matches!(of.as_str(), "PortName" | "Port");
        let _ = write!(list, ", {value}");
    }
    let function = &client.sig.ident;
    let _ = writeln!(out, "        answered(\"{name}\", {library}::{function}({list})),");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ways_between_folders() {
        assert_eq!(relative(Path::new("/w/servers/x"), Path::new("/w")), "../..");
        assert_eq!(relative(Path::new("/w/x"), Path::new("/w/y/z")), "../y/z");
        assert_eq!(relative(Path::new("/w"), Path::new("/w")), ".");
    }

    #[test]
    fn methods_and_calls_are_read_off_the_generated_code() {
        let text = "subsystem s 100;\ntype p = MACH_MSG_TYPE_COPY_SEND;\nroutine add(c : p; n : int; data : d = array[*:4] of char; out total : int);\nsimpleroutine poke(c : p; r : p);\n";
        let compiled = mig_rs::compile_text("s.defs", text, &Options::default()).unwrap();
        let interface = mig_rs::emit(&compiled.subsystem, "s.defs", &EmitOptions::default()).unwrap();
        let interface = Interface::read(&interface, &compiled.subsystem, "x").unwrap();
        assert_eq!(interface.server, "SServer");
        assert!(interface.methods.contains("fn add(&mut self, request: &Request<'_>, _n: i32, _data: Array<'_, u8>) -> Result<AddReply, i32> {"), "{}", interface.methods);
        assert!(interface.methods.contains("Success is: Ok(AddReply { total })"), "{}", interface.methods);
        assert!(
            interface.calls.contains("answered(\"add\", x::add(&Mach, server.port(), 0, &[], &offer)),"),
            "{}",
            interface.calls
        );
        assert!(
            interface.calls.contains("x::poke(&Mach, server.port(), PortName::NULL, &offer)"),
            "{}",
            interface.calls
        );
    }

    #[test]
    fn names_are_checked() {
        let ws = Workspace { root: "/nowhere".into(), target: "/nowhere/target".into() };
        let alone = Place::Alone("/nowhere/x".into());
        for (bad, why) in [
            ("", "small letters"),
            ("Counter", "small letters"),
            ("1st", "small letters"),
            ("a b", "small letters"),
            ("a-", "small letters"),
            ("../x", "small letters"),
            ("match", "word of Rust"),
            ("async", "word of Rust"),
            ("gen", "word of Rust"),
            ("self", "word of Rust"),
            ("core", "library"),
            ("mig-runtime", "library"),
            ("test", "library"),
        ] {
            let text = check_name(&ws, bad, &alone).unwrap_err().to_string();
            assert!(text.contains(why) && text.contains(&format!("`{bad}`")), "{text}");
        }
        for fine in ["my-counter2", "union", "a"] {
            assert!(check_name(&ws, fine, &alone).is_ok(), "{fine}");
        }
    }

    #[test]
    fn interfaces_that_nobody_could_serve() {
        let of = |text: &str| mig_rs::compile_text("s.defs", text, &Options::default()).unwrap().subsystem;
        let port = "type p = MACH_MSG_TYPE_COPY_SEND;\n";
        let fine = of(&format!("subsystem s 100;\n{port}waittime 1000;\nroutine a (p : p);\n"));
        assert!(check_interface(&fine, "s-1.defs").is_ok());
        for (subsystem, name, why) in [
            (&fine, "s \".defs", "no name"),
            (&of("subsystem s 100;\nskip 3;\n"), "s.defs", "no routine"),
            (
                &of(&format!("subsystem KernelServer s 100;\n{port}routine a (p : p);\n")),
                "s.defs",
                "of a kernel",
            ),
            (
                &of(&format!("subsystem s 100;\n{port}waittime 2 * PATIENCE;\nroutine a (p : p);\n")),
                "s.defs",
                "`PATIENCE`",
            ),
        ] {
            let text = check_interface(subsystem, name).unwrap_err().to_string();
            assert!(text.contains(why), "{text}");
        }
    }

    #[test]
    fn templates_have_no_placeholder_that_nobody_fills() {
        let known = [
            "NAME",
            "CRATE",
            "INTERFACE",
            "STEM",
            "DEFS",
            "INCLUDES",
            "TRAIT",
            "METHODS",
            "CALLS",
            "ROOT",
            "PACKAGE",
            "LINTS",
            "DEPENDENCIES",
            "BUILD_DEPENDENCIES",
            "STANDALONE",
        ];
        for template in [MANIFEST, BUILD, LIB, MAIN, CALL] {
            for rest in template.split("{{").skip(1) {
                let key = rest.split("}}").next().unwrap_or_default();
                assert!(known.contains(&key) || key.starts_with('\n') || key.contains(' '), "{key}");
            }
        }
    }
}
