//! The registers of a thread in user mode.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// All that the kernel saves of a thread when it leaves user mode, except the FPU: 20 words, 160 bytes.
///
/// The order is the machine layer's (its assembly code addresses the fields by offset) and that of the words in a
/// thread's saved state; it is not a Mach thread state flavour.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
pub struct UserRegs {
    /// Trap number on the way in, result on the way out.
    pub rax: u64,
    /// General register.
    pub rbx: u64,
    /// General register; destroyed by `syscall` (holds the user's rip).
    pub rcx: u64,
    /// Third trap argument.
    pub rdx: u64,
    /// Second trap argument.
    pub rsi: u64,
    /// First trap argument.
    pub rdi: u64,
    /// Frame pointer.
    pub rbp: u64,
    /// Stack pointer.
    pub rsp: u64,
    /// Fifth trap argument.
    pub r8: u64,
    /// Sixth trap argument.
    pub r9: u64,
    /// Fourth trap argument.
    pub r10: u64,
    /// General register; destroyed by `syscall` (holds the user's flags).
    pub r11: u64,
    /// General register.
    pub r12: u64,
    /// General register.
    pub r13: u64,
    /// General register.
    pub r14: u64,
    /// General register.
    pub r15: u64,
    /// Next instruction.
    pub rip: u64,
    /// Flags; the machine layer forces the system flags to safe values when the thread runs.
    pub rflags: u64,
    /// Base of the fs segment.
    pub fs_base: u64,
    /// Base of the gs segment.
    pub gs_base: u64,
}

const _: () = assert!(size_of::<UserRegs>() == 160);
