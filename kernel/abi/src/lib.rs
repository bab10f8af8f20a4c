//! Numbers and records shared by the kernel and user space.
//!
//! Everything here is plain data: no behaviour beyond small accessors, no `unsafe`, no allocation, no dependency upward.
//! The Mach part is the x86_64 ABI of current GNU Mach, exactly; Drover's additions use numbers that GNU Mach does not
//! (see `docs/abi.md`).
#![no_std]
#![forbid(unsafe_code)]

pub mod account;
pub mod donation;
pub mod message;
pub mod port;
pub mod regs;
pub mod returns;
pub mod startup;
pub mod trap;
pub mod vm;
pub mod window;

/// Bytes in a frame and in a page.
pub const PAGE_SIZE: usize = 4096;
