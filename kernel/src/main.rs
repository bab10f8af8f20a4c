//! The kernel: joins the machine to the logic.
#![cfg_attr(target_os = "none", no_std)]
#![cfg_attr(target_os = "none", no_main)]

#[cfg(all(target_os = "none", not(feature = "machine-selftest")))]
mod run;
#[cfg(all(target_os = "none", feature = "machine-selftest"))]
mod selftest;
#[cfg(target_os = "none")]
mod start;

#[cfg(all(target_os = "none", feature = "machine-selftest"))]
drover_machine::entry!(selftest::main);
#[cfg(all(target_os = "none", not(feature = "machine-selftest")))]
drover_machine::entry!(run::main);

#[cfg(not(target_os = "none"))]
fn main() {
    eprintln!("the kernel runs on the bare machine: build it for x86_64-unknown-none");
}
