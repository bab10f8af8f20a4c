//! The exec server.
#![cfg_attr(target_os = "none", no_std, no_main)]

extern crate alloc;

mod server;

libhurd::entry!(server::run);
