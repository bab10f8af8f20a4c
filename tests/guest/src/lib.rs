//! What the programs that run inside Drover to test it have in common.
//!
//! | program | what |
//! |---|---|
//! | `guest-tests` | the in-guest tests of one group |
//! | `bench` | figures: instructions per call, frames per object |
//! | `dos` | the experiment's driver: accounts, phases, records |
//! | `victim`, `attacker` | what it runs |
//! | `find`, `true` | what the victims run; also for people |
#![cfg_attr(target_os = "none", no_std)]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod board;
pub mod machine;
pub mod peer;
pub mod record;
pub mod walk;

/// The interface of `tests/guest/defs/trial.defs`.
pub mod trial {
    #![allow(clippy::all, non_snake_case, unreachable_pub, reason = "generated")]
    include!(concat!(env!("OUT_DIR"), "/trial.rs"));
}
