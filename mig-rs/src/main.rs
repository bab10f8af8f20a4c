//! The command: `mig-rs gen|check|layout|ids|explain ...`.

mod command {
    pub(crate) mod arguments;
    pub(crate) mod help;
}

use std::io::{ErrorKind, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use command::arguments::{Arguments, parse};
use command::help::{USAGE, about};
use mig_rs::{compile, compile_text, emit, explain, id_rows, json_ids, json_layout, layout_rows};

/// Prints, and does not mind that nobody reads on.
fn say(text: &str) -> Result<(), String> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(format!("cannot write the standard output: {error}"))
        }
        _ => Ok(()),
    }
}

fn lines(rows: &[String]) -> String {
    rows.iter().flat_map(|row| [row.as_str(), "\n"]).collect()
}

fn run() -> Result<(), String> {
    let arguments = parse(std::env::args().skip(1))?;
    let mut files = arguments.words.iter();
    if arguments.command == "help" {
        let topic = files.next().map(String::as_str);
        return say(topic.map_or(Some(USAGE), about).ok_or(USAGE)?);
    }
    if arguments.help {
        return say(about(&arguments.command).unwrap_or(USAGE));
    }
    let routine = match arguments.command.as_str() {
        "explain" => Some(files.next().ok_or("explain needs the name of a routine")?),
        "gen" | "check" | "layout" | "ids" => None,
        "workspace" => {
            let done = mig_rs::codegen_workspace(&PathBuf::from("."), arguments.check)?;
            eprintln!("{} files, {} changed", done.files.len(), done.changed.len());
            return Ok(());
        }
        other => return Err(format!("unknown command {other}\n\n{USAGE}")),
    };
    if arguments.json && matches!(arguments.command.as_str(), "gen" | "check") {
        return Err("--json is for layout, ids and explain".into());
    }
    if files.len() == 0 {
        return Err(format!("{} needs a file; `mig-rs help {0}` says more", arguments.command));
    }
    if arguments.command == "gen" && arguments.out.is_some() {
        one_output_each(files.as_slice())?;
    }
    let (mut failures, mut objects) = (Vec::new(), Vec::new());
    for said in all(&arguments, files.as_slice(), routine) {
        say(&said.out)?;
        eprint!("{}", said.warnings);
        objects.extend(said.objects);
        failures.extend(said.failure);
    }
    if arguments.json {
        say(&format!("[{}]\n", objects.join(",\n")))?;
    }
    if failures.is_empty() { Ok(()) } else { Err(failures.join("\n\n")) }
}

/// Files of one name would be written to one place.
fn one_output_each(files: &[String]) -> Result<(), String> {
    let stem = |file: &String| Path::new(file).file_stem().map(std::ffi::OsStr::to_os_string);
    for (i, file) in files.iter().enumerate() {
        if let Some(before) = files.iter().take(i).find(|before| stem(before) == stem(file)) {
            return Err(format!(
                "{before} and {file} would both become {}.rs; write them to two folders",
                stem(file).unwrap_or_default().display()
            ));
        }
    }
    Ok(())
}

/// What there is to say of one file.
#[derive(Default)]
struct Said {
    out: String,
    warnings: String,
    objects: Vec<String>,
    failure: Option<String>,
}

/// Room for the parser's recursion, as in the main thread.
const STACK: usize = 8 << 20;

/// All files, in their order; several at once, as many as there are processors.
fn all(arguments: &Arguments, files: &[String], routine: Option<&String>) -> Vec<Said> {
    let whole = |file: &String| {
        let mut said = Said::default();
        said.failure = one(arguments, file, routine, &mut said).err();
        said
    };
    let workers = std::thread::available_parallelism().map_or(1, usize::from).min(files.len());
    let (next, done) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let work = || {
        while let Some((i, file)) =
            Some(next.fetch_add(1, Ordering::Relaxed)).and_then(|i| Some((i, files.get(i)?)))
        {
            let said = whole(file);
            done.lock().unwrap_or_else(PoisonError::into_inner).push((i, said));
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..workers {
            // Without another thread this one does it all.
            let _ = std::thread::Builder::new().stack_size(STACK).spawn_scoped(scope, work);
        }
        work();
    });
    let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    done.sort_by_key(|(i, _)| *i);
    done.into_iter().map(|(_, said)| said).collect()
}

/// Most bytes of the standard input that are read; more than an interface may have tokens.
const MAX_INPUT: u64 = 16 << 20;

fn one(arguments: &Arguments, file: &str, routine: Option<&String>, said: &mut Said) -> Result<(), String> {
    let compiled = if file == "-" {
        let mut bytes = Vec::new();
        std::io::stdin()
            .take(MAX_INPUT)
            .read_to_end(&mut bytes)
            .map_err(|e| format!("cannot read the standard input: {e}"))?;
        compile_text("<standard input>", &String::from_utf8_lossy(&bytes), &arguments.options)
    } else {
        compile(file, &arguments.options)
    };
    let compiled = compiled.map_err(|failure| failure.to_string())?;
    for warning in &compiled.warnings {
        said.warnings += &format!("{}\n\n", warning.render(&compiled.sources));
    }
    let subsystem = &compiled.subsystem;
    match arguments.command.as_str() {
        "check" => {
            emit(subsystem, file, &arguments.emit).map_err(|error| error.render(&compiled.sources))?;
        }
        "gen" => {
            let name = match file {
                "-" => subsystem.name.clone(),
                file => Path::new(file).file_name().map_or(file.into(), |n| n.to_string_lossy().into_owned()),
            };
            let text =
                emit(subsystem, &name, &arguments.emit).map_err(|error| error.render(&compiled.sources))?;
            match &arguments.out {
                Some(directory) => {
                    let path = directory.join(Path::new(&name).with_extension("rs"));
                    std::fs::write(&path, text)
                        .map_err(|e| format!("cannot write {}: {e}", path.display()))?;
                }
                None => said.out += &text,
            }
        }
        "layout" if arguments.json => said.objects.extend(json_layout(subsystem, arguments.side)),
        "layout" => said.out += &lines(&layout_rows(subsystem, arguments.side)),
        "ids" if arguments.json => said.objects.extend(json_ids(subsystem)),
        "ids" => said.out += &lines(&id_rows(subsystem)),
        "explain" => match subsystem.routines.iter().find(|r| Some(&r.name) == routine) {
            Some(found) if arguments.json => {
                let mut only = subsystem.clone();
                only.routines.retain(|r| r.name == found.name);
                said.objects.extend(json_layout(&only, arguments.side));
            }
            Some(found) => said.out += &explain(found),
            None => {
                let name = routine.map_or("", |n| n.as_str());
                return Err(format!("no routine {name} in {file}; `mig-rs ids` lists them"));
            }
        },
        _ => {}
    }
    Ok(())
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
