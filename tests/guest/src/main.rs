//! The in-guest tests of one group (`group=NAME` of the boot line), one verdict each: see `tests/guest/tests.txt`.
//!
//! With an argument it is something else: `serve` is the server that tests call ([`suite::server`]), `client`, `lend` and `misuse` are programs that tests
//! let die. This program's account pays for everything; it ends the machine.
#![cfg_attr(target_os = "none", no_std, no_main)]

extern crate alloc;

mod suite;

use guest::machine::{FAILED, Machine, SUCCEEDED};
use guest::record::done;
use libhurd::print::kernel_print;
use libhurd::{Env, argz};

fn program(env: &'static Env) -> i32 {
    match env.args().nth(1) {
        Some(b"serve") => return suite::server::run(env),
        Some(b"client") => return suite::exits::client(env),
        Some(b"lend") => return suite::memory::lender(env),
        Some(b"misuse") => return suite::misuse::run(env),
        _ => {}
    }
    let machine = Machine::of(env);
    let group = argz::variable(env.envp(), b"group").unwrap_or_default();
    let Some((name, tests)) = suite::GROUPS.iter().find(|(name, _)| name.as_bytes() == group) else {
        kernel_print(format_args!("guest-tests: there is no group `{}`\n", group.escape_ascii()));
        machine.shut_down(FAILED)
    };
    let bench = suite::Bench { machine };
    for (test, run) in *tests {
        match run(&bench) {
            Ok(()) => kernel_print(format_args!("test {name}::{test} ... ok\n")),
            Err(why) => kernel_print(format_args!("test {name}::{test} ... FAILED: {why}\n")),
        }
    }
    done();
    machine.shut_down(SUCCEEDED)
}

libhurd::entry!(program);
