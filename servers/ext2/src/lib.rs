//! The ext2 file system as a library: everything that concerns the bytes on the disk and nothing that concerns the Hurd's
//! interfaces. The server (`main.rs`) puts nodes, ports and translators on top.
//!
//! The code is pure: no allocation, no global state, no `unsafe`, no knowledge of where the bytes come from. It runs
//! in the server and, unchanged, in the host's tests.
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]
#![cfg_attr(
    not(test),
    deny(
        clippy::indexing_slicing,
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::unreachable
    )
)]

pub mod fs;

pub use fs::*;
