//! An ordinary small program: does a little work and ends. The victims of the experiment run it.
//!
//! The work takes some milliseconds, so that a run is long against the scheduler's turns and its duration says how much of the CPU its payer got.
#![cfg_attr(target_os = "none", no_std, no_main)]
#![forbid(unsafe_code)]

use libhurd::Env;

/// Turns of the loop below, about a nanosecond of guest time each.
const WORK: u64 = 2_000_000;

fn program(_: &'static Env) -> i32 {
    let mut state = 1u64;
    for _ in 0..WORK / 4 {
        state ^= state << 13;
        state ^= state >> 7;
    }
    core::hint::black_box(state);
    0
}

libhurd::entry!(program);
