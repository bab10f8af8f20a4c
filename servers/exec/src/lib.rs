//! What the exec server knows about files: how to recognise them, unpack them and lay them out in memory.
//!
//! This is the server's pure half: no ports, no memory of its own, no allocation. The other half (`main.rs`) reads files,
//! makes tasks and answers `exec.defs`. Both worlds of the experiment use the same code: the accounted server *streams* a
//! decoder into [`stream::Loader`], so it never holds more than a buffer and the decoder's state; the classic server
//! collects the whole file first ([`whole`]), as the Hurd did in 2013.
//!
//! Invariants:
//! * No input makes this crate panic or loop without consuming input, producing output or ending in an error.
//! * Every value here is re-entrant: there are no statics but constant tables, and so no decompressor lock.
//! * All memory is the caller's: the buffer and the decoder's blocks are handed in, so that whoever asked pays
//!   ([`memory::Memory`]); [`limits`] says beforehand how much that can be.
//! * Bytes go to the sink once, in file order; the first error of a sink stops everything and is handed through as it is.
//!
//! Deliberately absent: dynamic linking (`PT_INTERP` is refused by name), relocation (a static-pie program relocates
//! itself), xz and zstd, and any limit of our own on how far a file may inflate: that is what a donation is for.
#![no_std]
#![deny(unsafe_code)]

mod image;

pub use image::{bzip2, crc32, decode, elf, format, gzip, hashbang, limits, memory, source, stream, whole};
