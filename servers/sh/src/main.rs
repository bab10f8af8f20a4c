//! A small shell: a prompt, quotes, commands for files, translators, processes and accounts, and programs that it waits for.
//!
//! Deliberately absent: pipes, redirection, jobs, variables, patterns, scripts; [`mod@line`] refuses them by name.
//!
//! Who pays: the account that the shell runs in, for everything. `offer` in front of a command says how much its calls may spend.
#![cfg_attr(target_os = "none", no_std, no_main)]

extern crate alloc;

mod files;
mod line;
mod machine;
mod table;

use alloc::vec::Vec;
use core::time::Duration;

use libhurd::abi::startup::{INIT_PORT_CRDIR, INIT_PORT_CWDIR};
use libhurd::errno::{EINVAL, ENOENT, ENOTDIR, describe};
use libhurd::file::{Context, File, O_EXEC, O_READ, S_IFDIR, S_IFMT};
use libhurd::lookup::split_last;
use libhurd::mig::Donation;
use libhurd::port::SendRight;
use libhurd::program::Program;
use libhurd::stubs::io;
use libhurd::{ALL, Env, Mach, Offer, ool, print, println, world};

use files::Here;

const HELP: &str = "\
ls [-l] [PATH...]                 what is in a directory; starts no translator
cat PATH...                       what is in a file
find [PATH]                       every node below, seen through its translator
stat PATH...                      about a node, seen through its translator
showtrans PATH...                 the translator of a node
settrans [-apgo] NODE [PROGRAM ARGUMENT...]
                                  set (-p, usual), start (-a), end (-g), abandon (-o) it
ps                                processes
acct [-w|-c]                      accounts (again and again; check the sums)
cd [PATH], exit [STATUS], help
offer [-t MS] [-c MS] [-f FRAMES] COMMAND...
                                  its calls may take that time, CPU time, memory
anything else                     a program, by path or in /bin";

/// Most bytes of a line.
const MAX_LINE: usize = 4096;

/// The shell.
struct Shell {
    env: &'static Env,
    /// The current directory, once it has been changed.
    cwd: SendRight,
    status: i32,
}

/// What follows a command.
enum After {
    Next,
    Exit,
}

/// A number from a word.
fn number(word: &[u8]) -> Result<u64, i32> {
    core::str::from_utf8(word).ok().and_then(|text| text.parse().ok()).ok_or(EINVAL)
}

/// The ceilings in front of a command, and the command. Pure but for the clock.
fn offer_of(mut words: &[Vec<u8>]) -> Result<(Offer, &[Vec<u8>]), i32> {
    let mut offer = Offer::all();
    while let [flag, value, rest @ ..] = words
        && flag.first() == Some(&b'-')
    {
        let value = number(value)?;
        offer = match flag.as_slice() {
            b"-t" => offer.within(Duration::from_millis(value)),
            b"-c" => offer.cpu(Duration::from_millis(value)),
            b"-f" => offer.frames(value),
            _ => return Err(EINVAL),
        };
        words = rest;
    }
    match words.first() {
        Some(command) if command.first() != Some(&b'-') => Ok((offer, words)),
        _ => Err(EINVAL),
    }
}

impl Shell {
    fn context(&self) -> Context {
        let mut context = Context::current();
        if self.cwd.is_valid() {
            context.cwd = self.cwd.name();
        }
        context
    }

    /// Reads a line; `None` at the end of input. What is beyond [`MAX_LINE`] is cut off.
    fn read_line(&self) -> Option<Vec<u8>> {
        let mut line = Vec::new();
        loop {
            // As long as people take to type, and whatever that costs the terminal.
            let reply = io::io_read(&Mach, self.env.fd(0), -1, 1024, ALL).ok()?;
            let part = ool::take_bytes(reply.data);
            if part.is_empty() {
                return None;
            }
            let room = MAX_LINE.saturating_sub(line.len());
            line.extend_from_slice(&part[..part.len().min(room)]);
            if part.ends_with(b"\n") {
                return Some(line);
            }
        }
    }

    /// Runs one command.
    fn run(&mut self, words: &[Vec<u8>], offer: &Donation) -> Result<After, i32> {
        let [name, args @ ..] = words else { return Ok(After::Next) };
        let here = Here { context: self.context(), offer };
        match name.as_slice() {
            b"help" => println!("{HELP}"),
            b"exit" => {
                self.status = match args {
                    [] => self.status,
                    [status] => number(status)? as i32,
                    _ => return Err(EINVAL),
                };
                return Ok(After::Exit);
            }
            b"cd" => self.change_directory(args, offer)?,
            b"ls" => files::ls(args, here)?,
            b"cat" => files::cat(args, here)?,
            b"find" => files::find(args, here)?,
            b"stat" => files::stat(args, here)?,
            b"showtrans" => files::showtrans(args, here)?,
            b"settrans" => files::settrans(args, here)?,
            b"ps" => machine::ps(args, offer)?,
            b"acct" => machine::acct(args)?,
            b"offer" => {
                let (offer, words) = offer_of(args)?;
                return self.run(words, &offer);
            }
            _ => self.program(words, offer)?,
        }
        self.status = 0;
        Ok(After::Next)
    }

    fn change_directory(&mut self, args: &[Vec<u8>], offer: &Donation) -> Result<(), i32> {
        let path = match args {
            [] => b"/".as_slice(),
            [path] => path,
            _ => return Err(EINVAL),
        };
        let dir = File::open_in(self.context(), path, O_READ | O_EXEC, offer)?;
        if dir.stat(offer)?.st_mode & S_IFMT != S_IFDIR {
            return Err(ENOTDIR);
        }
        self.cwd = dir.into_right();
        Ok(())
    }

    /// Runs a program and waits for its end.
    fn program(&mut self, words: &[Vec<u8>], offer: &Donation) -> Result<(), i32> {
        let name = words.first().ok_or(ENOENT)?;
        let mut path = Vec::new();
        if !name.contains(&b'/') {
            path.extend_from_slice(b"/bin/");
        }
        path.extend_from_slice(name);
        let file = File::open_in(self.context(), &path, O_EXEC | O_READ, offer)?;
        let mut program = Program::new(&path).argv(words.iter().map(Vec::as_slice));
        if self.cwd.is_valid() {
            program = program.port(INIT_PORT_CWDIR, self.cwd.name());
        }
        let child = program.start_file(&file, offer)?;
        let status = child.wait(offer)?;
        if status != 0 {
            println!("{}: {}", split_last(name).1.escape_ascii(), machine::status_text(status));
        }
        self.status = status;
        Ok(())
    }
}

fn program(env: &'static Env) -> i32 {
    let mut shell = Shell { env, cwd: SendRight::NULL, status: 0 };
    println!("Drover, world {}. `help` says what there is.", world::current().name());
    if !env.port(INIT_PORT_CRDIR).is_valid() {
        println!("sh: no root directory: files cannot be found");
    }
    loop {
        print!("{} ", if shell.status == 0 { "$" } else { "!" });
        let Some(line) = shell.read_line() else { return shell.status };
        let words = match line::words(&line) {
            Ok(words) => words,
            Err(why) => {
                println!("sh: {why}");
                continue;
            }
        };
        match shell.run(&words, ALL) {
            Ok(After::Next) => {}
            Ok(After::Exit) => return shell.status,
            Err(code) => {
                let name = words.first().map_or(&b"sh"[..], Vec::as_slice);
                println!("{}: {} ({code:#x})", name.escape_ascii(), describe(code));
                shell.status = 1;
            }
        }
    }
}

libhurd::entry!(program);

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<Vec<u8>> {
        line::words(line.as_bytes()).unwrap()
    }

    #[test]
    fn offers_come_first() {
        let line = words("-c 5 -f 100 cat -l x");
        let (offer, command) = offer_of(&line).unwrap();
        assert_eq!((offer.cpu_ns, offer.frames, offer.deadline_ns), (5_000_000, 100, u64::MAX));
        assert_eq!(command, words("cat -l x"));
        for bad in ["", "-c", "-c 5", "-x 5 ls", "-c ten ls"] {
            assert!(offer_of(&words(bad)).is_err(), "{bad}");
        }
    }
}
