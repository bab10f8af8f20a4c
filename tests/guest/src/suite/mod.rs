//! The tests, by group, and what they have in common.

pub(crate) mod accounts;
pub(crate) mod exits;
pub(crate) mod files;
pub(crate) mod ipc;
pub(crate) mod locks;
pub(crate) mod memory;
pub(crate) mod misuse;
pub(crate) mod offers;
pub(crate) mod programs;
pub(crate) mod raw;
pub(crate) mod server;
pub(crate) mod timing;
mod trial;

use alloc::format;
use alloc::string::String;
use core::time::Duration;

use guest::machine::{Machine, name_of};
use guest::peer::Peer;
use libhurd::abi::account::{FRAMES, OBJECTS};
use libhurd::mig::{Donation, PortName};
use libhurd::stubs::fsys::fsys_syncfs;
use libhurd::{ALL, Mach, clock, env};

/// A verdict; the error is the reason.
pub(crate) type Verdict = Result<(), String>;
/// A test.
pub(crate) type Test = fn(&Bench) -> Verdict;

/// All groups.
pub(crate) const GROUPS: &[(&str, &[(&str, Test)])] = &[
    ("ipc", ipc::TESTS),
    ("accounts", accounts::TESTS),
    ("exits", exits::TESTS),
    ("locks", locks::TESTS),
    ("files", files::TESTS),
    ("misuse", misuse::TESTS),
    ("offers", offers::TESTS),
    ("offers-classic", offers::WITHOUT),
    ("offers-charging", offers::WITHOUT),
    ("memory", memory::TESTS),
    ("memory-classic", memory::AT_A_QUEUE),
    ("timing", timing::TESTS),
    ("timing-classic", timing::TESTS),
    ("timing-charging", timing::TESTS),
    ("programs", programs::TESTS),
];

/// This program's file.
pub(crate) const SELF: &[u8] = b"/bin/guest-tests";

/// How often a body is run at most until it leaves everything as it was.
const RUNS: usize = 6;

/// What tests work with.
pub(crate) struct Bench {
    pub(crate) machine: Machine,
}

impl Bench {
    /// The frames that are free when everything has come to rest.
    pub(crate) fn free(&self) -> Result<u64, String> {
        let mut last = 0;
        for _ in 0..100 {
            must("a pause", clock::sleep(Duration::from_millis(5)))?;
            let free = must("host_frames", self.machine.frames())?.free;
            if free == last {
                break;
            }
            last = free;
        }
        Ok(last)
    }

    /// Runs `body` again and again and holds that it takes no frame for good, and that all sums are right.
    ///
    /// Tables and heaps of servers, and of this program, grow to their size in the first runs; what leaks takes something in every run.
    pub(crate) fn exact(&self, mut body: impl FnMut() -> Verdict) -> Verdict {
        body()?;
        let mut seen = [0; RUNS];
        let mut before = self.free()?;
        let mut accounts = must("the accounts", self.machine.accounts())?;
        for after in &mut seen {
            accounts = must("the accounts", self.machine.accounts())?;
            body()?;
            *after = self.free()?;
            if *after >= before {
                let checked = must("host_check_conservation", self.machine.check())?;
                if checked.violations > 0 {
                    let text = checked.first_violation;
                    return Err(format!("conservation: {}", text.as_bytes().escape_ascii()));
                }
                return Ok(());
            }
            before = *after;
        }
        let mut text = format!("free frames after each run: {seen:?}; in the last one");
        for now in must("the accounts", self.machine.accounts())? {
            let Some(old) = accounts.iter().find(|old| old.id == now.id) else { continue };
            for (what, resource) in [("frames", FRAMES), ("objects", OBJECTS)] {
                let (new, old) = (now.resources[resource].charged, old.resources[resource].charged);
                if new != old {
                    text.push_str(&format!(" {} {what} {old}->{new}", name_of(&now).escape_ascii()));
                }
            }
        }
        Err(text)
    }

    /// A server to call.
    pub(crate) fn server(&self) -> Result<Peer, String> {
        must("starting the server", Peer::start(&[SELF, b"serve"], env::current().envp(), PortName::NULL))
    }
}

/// Asks the server for something: see [`server`].
pub(crate) fn ask(peer: &Peer, what: server::What, argument: i32, offer: &Donation) -> Result<(), i32> {
    Ok(fsys_syncfs(&Mach, peer.control.name(), what as i32, argument, offer)?)
}

/// The server answers as if nothing had been.
pub(crate) fn answers(peer: &Peer) -> Verdict {
    must("the next call", ask(peer, server::What::Nothing, 0, ALL))
}

/// `result`, or what failed and how.
pub(crate) fn must<T>(what: &str, result: Result<T, i32>) -> Result<T, String> {
    result.map_err(|code| format!("{what}: {} ({code:#x})", libhurd::errno::describe(code)))
}

/// Holds that something failed with `code`.
pub(crate) fn fails<T>(what: &str, result: Result<T, i32>, code: i32) -> Verdict {
    match result {
        Ok(_) => Err(format!("{what} succeeded, expected {code:#x}")),
        Err(got) => same(what, got, code),
    }
}

/// Holds that two values are equal.
pub(crate) fn same<T: PartialEq + core::fmt::Debug>(what: &str, got: T, expected: T) -> Verdict {
    if got == expected { Ok(()) } else { Err(format!("{what}: got {got:?}, expected {expected:?}")) }
}

/// Holds that something is so.
pub(crate) fn holds(what: &str, condition: bool) -> Verdict {
    if condition { Ok(()) } else { Err(String::from(what)) }
}
