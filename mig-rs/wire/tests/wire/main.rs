//! mig-rs's stubs and GNU MIG's in one process: the bytes on the wire are the same, and so is the verdict on messages
//! that are not as they should be.
//!
//! * [`rounds`]: random arguments through both clients to both servers;
//! * [`damage`]: requests cut at every length and changed in every field, to both servers;
//! * [`replies`]: the same with replies, to both clients;
//! * [`constructs`]: every production of the language is in one of the interfaces;
//! * [`impossible`]: what cannot be compared, and that it still cannot;
//! * [`offers`]: what calls may spend is judged before a server's method runs, and is not on the wire;
//! * `plain`, `random`: values as C holds them; `objects`: what servers make of them; `exchange`: what lies between client
//!   and server; `ffi`: the C side.
//!
//! The Rust side is compiled with this program; the C side is made when it runs, out of the same `.defs`. Without GNU MIG
//! there is nothing to compare with: the program fails, and says how to get it.

mod constructs;
mod damage;
mod exchange;
mod ffi;
mod impossible;
mod objects;
mod offers;
mod plain;
mod random;
mod replies;
mod rounds;

use std::cell::RefCell;
use std::collections::HashMap;
use std::path::Path;
use std::rc::Rc;

use libtest_mimic::{Arguments, Failed, Trial};
use mig_rs::compile;
use mig_rs::model::{Routine, Subsystem};
use mig_runtime::{Outcome, Request};
use mig_wire::interfaces::Source;
use mig_wire::{gnu, object};
use plain::{Call, Recorder};

/// The Rust side of an interface.
pub(crate) struct Interface {
    name: &'static str,
    dispatch: fn(&mut Recorder, &[u8], &mut [u8]) -> Outcome,
    dispatch_offered: fn(&mut Recorder, &Request<'_>, &mut [u8]) -> Outcome,
    routines: &'static [(&'static str, Call)],
}

include!(concat!(env!("OUT_DIR"), "/table.rs"));

/// Both sides of an interface.
pub(crate) struct Subject {
    interface: &'static Interface,
    stubs: ffi::Stubs,
    model: Rc<Subsystem>,
}

/// Fewest routines with which the comparison means something.
const ROUTINES: usize = 800;

/// An interface as mig-rs sees it; each thread compiles it once.
fn model(source: &Source) -> Result<Rc<Subsystem>, Failed> {
    thread_local! {
        static MODELS: RefCell<HashMap<String, Rc<Subsystem>>> = RefCell::default();
    }
    if let Some(model) = MODELS.with_borrow(|m| m.get(&source.name).cloned()) {
        return Ok(model);
    }
    let options = source.options(object::include());
    let model = Rc::new(compile(&source.file, &options).map_err(|failure| failure.to_string())?.subsystem);
    MODELS.with_borrow_mut(|m| m.insert(source.name.clone(), Rc::clone(&model)));
    Ok(model)
}

/// What is done with one routine.
type Check = fn(&Subject, &Routine) -> Result<(), Failed>;

const CHECKS: [(&str, Check); 3] =
    [("bytes", rounds::check), ("verdicts", damage::check), ("replies", replies::check)];

fn trials() -> Result<Vec<Trial>, String> {
    let tmp = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let gnu = gnu::ensure(&gnu::folder(&tmp.join(".."))).map_err(|e| format!("{e:#}"))?;
    let library = object::shared(&gnu, &tmp.join("wire")).map_err(|e| format!("{e:#}"))?;
    let loaded = ffi::load(&library)?;
    let sources = object::interfaces().map_err(|e| e.to_string())?;
    let (mut trials, mut count) = (Vec::new(), 0);
    for interface in INTERFACES {
        let (_, stubs) = loaded
            .iter()
            .find(|(name, _)| name == interface.name)
            .ok_or(format!("no C of {}", interface.name))?;
        let source = sources
            .iter()
            .find(|s| s.name == interface.name)
            .ok_or(format!("no source of {}", interface.name))?;
        for (routine, _) in interface.routines {
            count += 1;
            for (what, check) in CHECKS {
                let (source, stubs) = (source.clone(), *stubs);
                trials.push(Trial::test(format!("{what}::{}::{routine}", interface.name), move || {
                    let subject = Subject { interface, stubs, model: model(&source)? };
                    let found = subject.model.routines.iter().find(|r| r.name == *routine);
                    check(&subject, found.ok_or("the routine is gone")?)
                }));
            }
        }
    }
    trials.push(Trial::test("enough_routines", move || {
        if count < ROUTINES { Err(format!("only {count} routines").into()) } else { Ok(()) }
    }));
    trials.push(Trial::test("every_construct", constructs::check));
    trials.push(Trial::test("what_is_impossible", move || impossible::check(&gnu)));
    trials.push(Trial::test("every_offer", offers::check));
    Ok(trials)
}

fn main() {
    let arguments = Arguments::from_args();
    match trials() {
        Ok(trials) => libtest_mimic::run(&arguments, trials).exit(),
        Err(error) => {
            eprintln!("mig-rs cannot be compared with GNU MIG: {error}");
            std::process::exit(1);
        }
    }
}
