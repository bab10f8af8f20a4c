//! mig-rs beside GNU MIG: the host's side of comparing them.
//!
//! * [`interfaces`] lists what is compared, and how it is compiled;
//! * [`gnu`] fetches Debian trixie's GNU MIG and the `.defs` of GNU Mach, unpacks them privately and runs them;
//! * [`rows`] reads layouts out of the C that GNU MIG writes, in the columns of `mig-rs layout`;
//! * [`glue`] writes C that calls and serves any routine of an interface from plain arrays of values;
//! * [`object`] compiles GNU MIG's stubs and that glue into one shared object, and a generated crate with mig-rs's;
//! * [`speed`] measures both compilers, and counts the instructions of what they generate.
//!
//! The tests of this crate use them; so does `cargo xtask bench`. What generated Rust needs of the glue is made by
//! `build.rs`, out of the same model.
//!
//! Deliberately absent: a copy of anything of GNU MIG's. Without the packages (no network, no Debian) there is nothing
//! to compare with, and the tests fail and say how to get them.
#![forbid(unsafe_code)]

pub mod glue;
pub mod gnu;
pub mod interfaces;
pub mod object;
pub mod rows;
pub mod speed;
