//! What a new program finds: the startup block, and the layout of its first stack.
//!
//! A program is a static ELF image linked at [`PROGRAM_BASE`]. Its first thread enters at the ELF entry point with `rsp` in a home
//! slot (8 GiB-aligned, the same layout as a call window: local block page at the base, stack below
//! [`STACK_TOP`](crate::window::STACK_TOP)) and `rdi` = address of a [`StartupBlock`] in its own memory, or 0 for the first task of the
//! machine, which has no arguments. Whoever starts the program (kernel, startup, exec) prepares all of that; the task's account pays.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Where programs are linked.
pub const PROGRAM_BASE: u64 = 0x40_0000;
/// "drover1\0", little-endian.
pub const STARTUP_MAGIC: u64 = u64::from_le_bytes(*b"drover1\0");
/// Where exec puts the block and the arrays that it points to, by convention.
pub const STARTUP_BASE: u64 = 0x1f00_0000_0000;

/// Addresses and sizes of a program's inheritance. All arrays are in the program's memory.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
pub struct StartupBlock {
    /// [`STARTUP_MAGIC`].
    pub magic: u64,
    /// The flags with which it was executed (`EXEC_SECURE` and so on).
    pub flags: u64,
    /// Arguments: NUL-terminated words one after the other.
    pub argv: u64,
    /// Bytes.
    pub argv_len: u64,
    /// Environment: `NAME=value` words, likewise.
    pub envp: u64,
    /// Bytes.
    pub envp_len: u64,
    /// File descriptors: 32-bit port names, 0 = closed.
    pub dtable: u64,
    /// Elements.
    pub dtable_count: u64,
    /// Initial ports: 32-bit port names, indexed by [`INIT_PORT_CWDIR`] ...
    pub ports: u64,
    /// Elements.
    pub ports_count: u64,
    /// Initial integers, 32 bits each: umask and so on.
    pub ints: u64,
    /// Elements.
    pub ints_count: u64,
    /// 0.
    pub reserved: [u64; 4],
}

const _: () = assert!(size_of::<StartupBlock>() == 128);

/// Initial port: current directory.
pub const INIT_PORT_CWDIR: usize = 0;
/// Initial port: root directory.
pub const INIT_PORT_CRDIR: usize = 1;
/// Initial port: authority.
pub const INIT_PORT_AUTH: usize = 2;
/// Initial port: the process.
pub const INIT_PORT_PROC: usize = 3;
/// Initial port: the id of the controlling terminal.
pub const INIT_PORT_CTTYID: usize = 4;
/// Initial port: bootstrap.
pub const INIT_PORT_BOOTSTRAP: usize = 5;
/// Number of initial ports.
pub const INIT_PORT_MAX: usize = 6;

/// Initial integer: file creation mask.
pub const INIT_UMASK: usize = 0;
/// Number of initial integers (the others are of signals).
pub const INIT_INT_MAX: usize = 5;

/// Port name of the privileged host port in the first task of the machine.
pub const FIRST_TASK_HOST_PRIV: u32 = 1;
