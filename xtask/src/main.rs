//! `cargo xtask`: the one entry to building, running and testing Drover. All logic is in the library, so that tests use it as well.
#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    xtask::cli::run()
}
