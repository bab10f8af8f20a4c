//! mig-rs's stubs and GNU MIG's in one process: the bytes on the wire are the same, and so is the verdict on messages
//! that are not as they should be.
//!
//! * [`rounds`]: random arguments through both clients to both servers;
//! * [`damage`]: messages cut at every length and changed in every field, to both servers;
//! * `plain`, `random`: values as C holds them; `exchange`: what lies between client and server; `ffi`: the C side.
//!
//! The Rust side is compiled with this program; the C side is made when it runs, out of the same `.defs`. Without GNU MIG
//! these tests are reported as ignored, and why.

mod damage;
mod exchange;
mod ffi;
mod plain;
mod random;
mod rounds;

use std::path::Path;
use std::rc::Rc;

use libtest_mimic::{Arguments, Failed, Trial};
use mig_rs::model::{Routine, Subsystem};
use mig_rs::{Options, compile};
use mig_runtime::Outcome;
use mig_wire::{gnu, object};
use plain::{Call, Recorder};

/// The Rust side of an interface.
pub(crate) struct Interface {
    name: &'static str,
    file: &'static str,
    dispatch: fn(&mut Recorder, &[u8], &mut [u8]) -> Outcome,
    routines: &'static [(&'static str, Call)],
}

include!(concat!(env!("OUT_DIR"), "/table.rs"));

/// Both sides of an interface.
#[derive(Clone, Copy)]
pub(crate) struct Subject {
    interface: &'static Interface,
    stubs: ffi::Stubs,
}

/// Fewest routines with which the comparison means something.
const ROUTINES: usize = 60;

fn model(interface: &Interface) -> Result<Subsystem, Failed> {
    let options = Options { include: object::include(), ..Options::default() };
    Ok(compile(interface.file, &options).map_err(|failure| failure.to_string())?.subsystem)
}

fn with_routine(
    interface: &'static Interface,
    name: &str,
    test: impl FnOnce(&Routine) -> Result<(), Failed>,
) -> Result<(), Failed> {
    let model = Rc::new(model(interface)?);
    let routine = model.routines.iter().find(|r| r.name == name).ok_or("the routine is gone")?;
    test(routine)
}

fn trials() -> Result<Vec<Trial>, String> {
    let tmp = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let gnu = match gnu::ensure(&gnu::folder(&tmp.join(".."))) {
        Ok(gnu) => gnu,
        Err(error) => {
            eprintln!("IGNORED: {error:#}");
            let ignored = |(name, _): &(&str, Call), interface: &Interface| {
                Trial::test(format!("{}::{name}", interface.name), || Ok(()))
                    .with_kind("needs GNU MIG, see above")
                    .with_ignored_flag(true)
            };
            return Ok(INTERFACES
                .iter()
                .flat_map(|i| i.routines.iter().map(move |r| ignored(r, i)))
                .collect());
        }
    };
    let library = object::shared(&gnu, &tmp.join("wire")).map_err(|e| format!("{e:#}"))?;
    let loaded = ffi::load(&library)?;
    let mut trials = Vec::new();
    for interface in INTERFACES {
        let stubs = loaded.iter().find(|(name, _)| name == interface.name);
        let subject = Subject { interface, stubs: stubs.ok_or(format!("no C of {}", interface.name))?.1 };
        for (name, _) in interface.routines {
            trials.push(Trial::test(format!("bytes::{}::{name}", interface.name), move || {
                with_routine(interface, name, |routine| rounds::check(&subject, routine))
            }));
            trials.push(Trial::test(format!("verdicts::{}::{name}", interface.name), move || {
                with_routine(interface, name, |routine| damage::check(&subject, routine))
            }));
        }
    }
    let count = trials.len() / 2;
    trials.push(Trial::test("enough_routines", move || {
        if count < ROUTINES { Err(format!("only {count} routines").into()) } else { Ok(()) }
    }));
    Ok(trials)
}

fn main() {
    let arguments = Arguments::from_args();
    match trials() {
        Ok(trials) => libtest_mimic::run(&arguments, trials).exit(),
        Err(error) => {
            eprintln!("the C side cannot be made: {error}");
            std::process::exit(1);
        }
    }
}
