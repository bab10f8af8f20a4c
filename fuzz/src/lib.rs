//! Fuzz targets for mig-rs: the compiler under any text, the generated code under any message.
//!
//! | target | input | holds |
//! |---|---|---|
//! | [`preprocess`] | text | no crash; what is accepted means the same inside a conditional |
//! | [`parse`] | text | no crash; what is accepted is laid out and shown |
//! | [`layout`] | bytes that choose among the productions of the language ([`grammar`]) | every layout adds up |
//! | [`emit`] | the same | what is accepted becomes Rust that parses, with both sides of every routine |
//! | [`decode`] | bytes that make a message and damage it ([`wire`]) | no panic; servers and clients answer what the layout says they must |
//! | [`identity`] | bytes that make a request and its reply | layout, decode, encode is the identity, for every routine of `libhurd/defs` |
//!
//! A target is a function of bytes that panics when something is wrong. `cargo xtask fuzz` runs them under libFuzzer, with coverage; the test `smoke` runs
//! each for some seconds without. Deliberately absent: findings kept as files. A finding becomes a test beside the code that is mended.
#![forbid(unsafe_code)]

pub mod grammar;
pub mod relay;
pub mod text;
pub mod wire;

pub use text::{emitter as emit, layout, parse, preprocess};
pub use wire::{decode, identity};
