//! The ext2 file system server.
#![cfg_attr(target_os = "none", no_std, no_main)]

extern crate alloc;

#[deny(unsafe_code)]
mod server;

libhurd::entry!(server::run);
