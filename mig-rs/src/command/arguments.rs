//! The command line.

use std::path::PathBuf;

use mig_rs::{EmitOptions, Options, Side};

use super::help::USAGE;

/// What was asked for.
pub(crate) struct Arguments {
    pub(crate) command: String,
    pub(crate) words: Vec<String>,
    pub(crate) options: Options,
    pub(crate) emit: EmitOptions,
    pub(crate) side: Side,
    pub(crate) out: Option<PathBuf>,
    pub(crate) check: bool,
    pub(crate) json: bool,
    pub(crate) help: bool,
}

/// Reads the command line.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn parse(list: impl Iterator<Item = String>) -> Result<Arguments, String> {
    let mut list = list;
    let command = list.next().ok_or(USAGE)?;
    let mut arguments = Arguments {
        help: matches!(command.as_str(), "-h" | "-help" | "--help"),
        command,
        words: Vec::new(),
        options: Options::default(),
        emit: EmitOptions::default(),
        side: Side::User,
        out: None,
        check: false,
        json: false,
    };
    while let Some(word) = list.next() {
        let mut value = |glued: &str| match glued {
            "" => list.next().ok_or(format!("{word} needs a value")),
            glued => Ok(glued.to_string()),
        };
        let pair = |text: String, option: &str| match text.split_once('=') {
            Some((name, path)) if !name.is_empty() && !path.is_empty() => {
                Ok((name.to_string(), path.to_string()))
            }
            _ => Err(format!("{option} wants NAME=PATH, not {text}")),
        };
        let (options, emit) = (&mut arguments.options, &mut arguments.emit);
        match word.as_str() {
            "--side" => {
                arguments.side = match value("")?.as_str() {
                    "user" => Side::User,
                    "server" => Side::Server,
                    other => return Err(format!("--side is user or server, not {other}")),
                }
            }
            "--check" => arguments.check = true,
            "--json" => arguments.json = true,
            "-h" | "-help" | "--help" => arguments.help = true,
            // Both are macros, on which interfaces declare themselves KernelServer or KernelUser.
            "--kernel-server" => options.define.push(("KERNEL_SERVER".into(), None)),
            "--kernel-user" => options.define.push(("KERNEL_USER".into(), None)),
            "-imacros" | "--imacros" => options.imacros.push(value("")?.into()),
            "-prefix" | "--prefix" => emit.prefix = value("")?,
            // Names functions of C's support library, which Rust's stubs do not call.
            "-subrprefix" | "--subrprefix" => drop(value("")?),
            "--translate" => emit.translate = true,
            "--kernel-port" => emit.kernel_port = Some(value("")?),
            "--types" => emit.types_path = Some(value("")?),
            "--import" => emit.imports.extend([pair(value("")?, "--import")?]),
            "--type" => emit.rust_types.extend([pair(value("")?, "--type")?]),
            "-o" => arguments.out = Some(value("")?.into()),
            _ if word.starts_with("-I") => options.include.push(value(&word[2..])?.into()),
            _ if word.starts_with("-D") => {
                let text = value(&word[2..])?;
                options.define.push(match text.split_once('=') {
                    Some((name, value)) => (name.into(), Some(value.into())),
                    None => (text, None),
                });
            }
            _ if word.starts_with("-U") => options.add_undefine(&value(&word[2..])?),
            _ if word.starts_with('-') && word.len() > 1 => {
                return Err(format!("unknown option {word}\n\n{USAGE}"));
            }
            _ => arguments.words.push(word),
        }
    }
    Ok(arguments)
}
