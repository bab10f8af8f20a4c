//! The in-guest tests of one group.
#![cfg_attr(target_os = "none", no_std, no_main)]

use guest::machine::{FAILED, Machine};
use libhurd::Env;

fn program(env: &'static Env) -> i32 {
    Machine::of(env).shut_down(FAILED)
}

libhurd::entry!(program);
