//! The machine: x86_64 from the boot loader's jump to a kernel that can run user code and get it back.
//!
//! What is here: the multiboot2 header and the way to 64-bit mode (`boot`), the kernel's own page tables ([`paging`]),
//! segments and traps ([`segments`], `trap`), the clock and its timer ([`clock`], `timer`), the serial console, the
//! end of the machine (`power`) and what a panic prints ([`symbols`]). The kernel sees it all through
//! `hardware::Hardware` and [`boot_info::BootInfo`].
//!
//! Invariants:
//! * One CPU, one kernel stack, interrupts off in the kernel except inside `hardware::Hardware::idle`.
//! * The kernel's mappings are complete before the first user address space exists and never change afterwards: every
//!   root copies the same 256 upper entries.
//! * Nothing is writable and executable, under any of its addresses: the direct map starts above the kernel image.
//! * No user address is ever dereferenced.
//!
//! Deliberately absent: policy, allocation, knowledge of any kernel object, ACPI, more than one CPU, and the FPU as the
//! kernel's own tool (the kernel is built soft-float; it only saves and loads user state).
//!
//! Modules that only a bare machine can run exist for `target_os = "none"`; the rest is arithmetic and formats, and is
//! tested on the host.
#![cfg_attr(target_os = "none", no_std)]

pub mod boot_info;
pub mod clock;
pub mod event;
pub mod frames;
pub mod paging;
pub mod segments;
pub mod symbols;

#[cfg(target_os = "none")]
pub mod boot;
#[cfg(target_os = "none")]
mod console;
#[cfg(all(target_os = "none", feature = "core"))]
mod core_machine;
#[cfg(target_os = "none")]
mod cpu;
#[cfg(target_os = "none")]
mod fault;
#[cfg(target_os = "none")]
mod fpu;
#[cfg(target_os = "none")]
pub mod hardware;
#[cfg(target_os = "none")]
mod panic;
#[cfg(target_os = "none")]
pub mod power;
#[cfg(all(target_os = "none", feature = "selftest"))]
pub mod probe;
#[cfg(target_os = "none")]
mod timer;
#[cfg(target_os = "none")]
mod trap;
