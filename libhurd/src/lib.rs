//! What a program and a server author sees of Drover.
//!
//! * **Running**: [`entry!`] names a program's main function; [`Env`] is what it was started with; [`println!`] and `log` say things.
//! * **Calling**: the stubs in `hurd_stubs` over [`rpc::Mach`], each with an offer ([`Offer`]); [`file`](mod@file) for names, files and programs.
//! * **Serving**: [`server::Server`] and its objects; [`translator`] for a whole translator in a few lines.
//! * **Paying**: in a call everything is the caller's by default; [`own`] and [`session::Session::pays`] choose otherwise.
//! * **Waiting**: [`lock::Mutex`], [`wait::Event`], [`clock::Deadline`]; what must be undone on a forced exit: [`cleanup`].
//!
//! `unsafe` is confined to the modules that deal with registers, the local block, memory and locks: `syscall`, `local`, `start`, `env`, `heap`,
//! `lock`, `cleanup`, `ool`, `thread`, `server`. Under a host build there is no kernel: traps fail, so that everything can be checked and the
//! pure parts tested.
#![cfg_attr(target_os = "none", no_std)]
#![cfg_attr(
    not(target_os = "none"),
    allow(dead_code, reason = "allocator, entry points and panic handler are the bare target's")
)]

extern crate alloc;

pub mod argz;
pub mod bootstrap;
mod bump;
pub mod cleanup;
pub mod clock;
pub mod donate;
pub mod env;
pub mod errno;
pub mod file;
mod heap;
pub mod incoming;
pub mod launch;
pub mod loan;
mod local;
pub mod lock;
pub mod lookup;
pub mod message;
pub mod once;
pub mod ool;
pub mod payer;
pub mod port;
pub mod print;
pub mod program;
pub mod rpc;
pub mod server;
pub mod session;
pub mod start;
pub mod syscall;
pub mod table;
pub mod task;
pub mod thread;
mod timing;
pub mod translator;
pub mod vm;
pub mod wait;
pub mod world;

pub use clock::Deadline;
pub use donate::Offer;
pub use env::Env;
pub use local::{Local, critical};
pub use payer::own;
pub use rpc::{ALL, Mach};

pub use drover_abi as abi;
pub use hurd_stubs as stubs;
pub use mig_runtime as mig;
