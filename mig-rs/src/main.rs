//! The command: `mig-rs gen|check|layout|ids|explain ...`.

use std::path::PathBuf;
use std::process::ExitCode;

use mig_rs::{EmitOptions, Options, Side, compile, emit, explain, id_rows, layout_rows};

const USAGE: &str = "\
usage: mig-rs COMMAND [OPTION]... FILE...

commands
  gen FILE...             Rust stubs, to standard output or with -o DIR to DIR/STEM.rs
  check FILE...           diagnostics only
  layout FILE...          layout of every message, tab-separated
  ids FILE...             message ids, tab-separated
  explain ROUTINE FILE    draws the messages of one routine
  workspace [--check]     regenerates this workspace's stubs (in the current directory)

options
  -I DIR  -D NAME[=VALUE]  -U NAME  -imacros FILE   as for a C preprocessor
  --side user|server      for layout (default user)
  -o DIR                  for gen
";

struct Arguments {
    command: String,
    words: Vec<String>,
    options: Options,
    side: Side,
    out: Option<PathBuf>,
    check: bool,
}

fn parse() -> Result<Arguments, String> {
    let mut list = std::env::args().skip(1);
    let command = list.next().ok_or(USAGE)?;
    let mut arguments = Arguments {
        command,
        words: Vec::new(),
        options: Options::default(),
        side: Side::User,
        out: None,
        check: false,
    };
    while let Some(word) = list.next() {
        let mut value = |glued: &str| match glued {
            "" => list.next().ok_or(format!("{word} needs a value")),
            glued => Ok(glued.to_string()),
        };
        let options = &mut arguments.options;
        match word.as_str() {
            "--side" => {
                arguments.side = match value("")?.as_str() {
                    "user" => Side::User,
                    "server" => Side::Server,
                    other => return Err(format!("--side is user or server, not {other}")),
                }
            }
            "--check" => arguments.check = true,
            // Both are macros that the .defs test.
            "--kernel-server" => options.define.push(("KERNEL_SERVER".into(), None)),
            "--kernel-user" => options.define.push(("KERNEL_USER".into(), None)),
            "-imacros" | "--imacros" => options.imacros.push(value("")?.into()),
            "-o" => arguments.out = Some(value("")?.into()),
            _ if word.starts_with("-I") => options.include.push(value(&word[2..])?.into()),
            _ if word.starts_with("-D") => {
                let text = value(&word[2..])?;
                options.define.push(match text.split_once('=') {
                    Some((name, value)) => (name.into(), Some(value.into())),
                    None => (text, None),
                });
            }
            _ if word.starts_with("-U") => options.undefine.push(value(&word[2..])?),
            _ if word.starts_with('-') && word.len() > 1 => {
                return Err(format!("unknown option {word}\n\n{USAGE}"));
            }
            _ => arguments.words.push(word),
        }
    }
    Ok(arguments)
}

fn run() -> Result<(), String> {
    let arguments = parse()?;
    let mut files = arguments.words.iter();
    let routine = match arguments.command.as_str() {
        "explain" => Some(files.next().ok_or("explain needs the name of a routine")?),
        "gen" | "check" | "layout" | "ids" => None,
        "workspace" => {
            let done = mig_rs::codegen_workspace(&PathBuf::from("."), arguments.check)?;
            eprintln!("{} files, {} changed", done.files.len(), done.changed.len());
            return Ok(());
        }
        _ => return Err(USAGE.into()),
    };
    if files.len() == 0 {
        return Err(format!("{} needs a file", arguments.command));
    }
    let mut failures = Vec::new();
    for file in files {
        let compiled = match compile(file, &arguments.options) {
            Ok(compiled) => compiled,
            Err(failure) => {
                failures.push(failure.to_string());
                continue;
            }
        };
        for warning in &compiled.warnings {
            eprintln!("{}\n", warning.render(&compiled.sources));
        }
        let subsystem = &compiled.subsystem;
        match arguments.command.as_str() {
            "gen" => {
                let name = PathBuf::from(file)
                    .file_name()
                    .map(|n| n.to_string_lossy().into_owned())
                    .unwrap_or_default();
                let text = emit(subsystem, &name, &EmitOptions::default())?;
                match &arguments.out {
                    Some(directory) => {
                        let path = directory.join(PathBuf::from(name).with_extension("rs"));
                        std::fs::write(&path, text)
                            .map_err(|e| format!("cannot write {}: {e}", path.display()))?;
                    }
                    None => print!("{text}"),
                }
            }
            "layout" => layout_rows(subsystem, arguments.side).iter().for_each(|row| println!("{row}")),
            "ids" => id_rows(subsystem).iter().for_each(|row| println!("{row}")),
            "explain" => {
                let found = subsystem.routines.iter().find(|r| Some(&r.name) == routine);
                match (found, routine) {
                    (Some(found), _) => print!("{}", explain(found)),
                    (None, name) => {
                        let name = name.map_or("", |n| n.as_str());
                        failures.push(format!("no routine {name} in {file}; `mig-rs ids` lists them"));
                    }
                }
            }
            _ => {}
        }
    }
    if failures.is_empty() { Ok(()) } else { Err(failures.join("\n\n")) }
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("{message}");
            ExitCode::FAILURE
        }
    }
}
