//! The host side of Drover: everything that `cargo xtask` does, as a library that the test crate uses too.
//!
//! * [`doctor`] knows the host programs and how to install them;
//! * [`programs`] and [`compile`] build the kernel and the servers and strip them;
//! * [`image`] makes the root file system, [`iso`] the GRUB ISO, [`qemu`] the command line, [`vm`] the running machine;
//! * [`serial`] and [`records`] read what the guest says, [`guest_tests`] turns it into test verdicts;
//! * [`new_server`] writes a server's package, [`fuzz`] runs mig-rs under libFuzzer;
//! * [`dos`] and [`mod@bench`] run the experiment and the figures, [`mig`] those beside GNU MIG; [`check`] is the lint lane.
//!
//! Deliberately absent: any knowledge of how the guest does its work. The guest is reached by its boot line, and heard
//! by its serial line and exit code only.
#![forbid(unsafe_code)]

pub mod bench;
pub mod check;
pub mod cli;
pub mod codegen;
pub mod compile;
pub mod doctor;
pub mod dos;
pub mod fuzz;
pub mod guest_tests;
pub mod image;
pub mod iso;
pub mod mig;
pub mod new_server;
pub mod programs;
pub mod progress;
pub mod qemu;
pub mod records;
pub mod serial;
pub mod size;
pub mod strip;
pub mod testing;
pub mod tools;
pub mod vm;
pub mod workspace;
