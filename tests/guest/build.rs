//! Makes Rust of the tests' own interface, and links the programs where user space expects them, for the bare target only: on the host the package is an
//! ordinary program.

use std::env;

fn main() {
    mig_rs::Builder::new().include("../../libhurd/defs").file("defs/trial.defs").build();
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=../../libhurd/program.ld");
    if env::var("CARGO_CFG_TARGET_OS").as_deref() == Ok("none") {
        let folder = env::var("CARGO_MANIFEST_DIR").expect("cargo names the package's folder");
        println!("cargo::rustc-link-arg-bins=-T{folder}/../../libhurd/program.ld");
    }
}
