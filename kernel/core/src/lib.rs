//! The kernel's logic: accounts, ports, messages, address spaces, migrating calls, scheduling.
//!
//! A deterministic state machine over [`machine::Machine`]; no pointers, no `alloc`, no `unsafe`. Every object lives in a frame of
//! its payer (see [`object`] and [`frame`]). The loop around it: [`kernel::Kernel::next`] says whom to run, [`kernel::Kernel::event`] takes what came.
#![cfg_attr(not(any(test, feature = "host")), no_std)]
#![forbid(unsafe_code)]

pub mod account;
pub mod activation;
pub mod frame;
pub mod kernel;
pub mod machine;
pub mod object;
pub mod sched;
pub mod task;
pub mod thread;
pub mod tree;

// calls, exits, scheduling
pub mod boot;
pub mod call;
pub mod check;
pub mod check_deep;
pub mod destroy;
pub mod exit;
pub mod fpu;
pub mod lifecycle;
pub mod state;
pub mod trap;
pub mod wait;

// kernel RPC
pub mod mach_msg;
pub mod rpc;
pub mod rpc_account;
pub mod rpc_gnumach;
pub mod rpc_host;
pub mod rpc_ipc;
pub mod rpc_mach;

// ipc
pub mod mach_port;
pub mod message;
pub mod notify;
pub mod port;
pub mod portset;
pub mod queue;
pub mod receive;
pub mod right;
pub mod rpc_port;
pub mod space;
pub mod transfer;

// vm
pub mod fault;
pub mod load;
pub mod map;
pub mod memory;
pub mod ool;
pub mod pagetable;
pub mod user;
pub mod vm;
#[cfg(test)]
mod vm_tests;
pub mod window;

#[cfg(test)]
mod bounds_tests;
#[cfg(test)]
mod call_tests;
#[cfg(test)]
mod ceiling_tests;
#[cfg(test)]
mod destroy_tests;
#[cfg(test)]
mod history_tests;
#[cfg(any(test, feature = "host"))]
pub mod host;
#[cfg(test)]
mod sim;

#[cfg(test)]
mod ipc_testing;
#[cfg(test)]
mod message_tests;
#[cfg(test)]
mod rights_tests;
