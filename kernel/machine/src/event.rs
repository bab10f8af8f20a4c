//! Why a thread left user mode, and the numbers of vectors.

/// What ended a stay in user mode (or, for `Interrupt`, in the idle state).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// The `syscall` instruction; the trap number is in `rax`, `rip` is that of the next instruction.
    Syscall,
    /// A device interrupt, already acknowledged.
    Interrupt(u8),
    /// A fault or trap of the program's own making; `rip` is where the CPU says it is.
    Exception {
        /// The CPU's vector (`PAGE_FAULT`, ...).
        vector: u8,
        /// The CPU's error code; 0 for vectors that have none.
        error: u64,
        /// For a page fault the address that was touched, else 0.
        address: u64,
    },
}

/// `div` by zero or overflow.
pub const DIVIDE: u8 = 0;
/// Single step or a debug register.
pub const DEBUG: u8 = 1;
/// Non-maskable interrupt: always the end.
pub const NMI: u8 = 2;
/// `int3`.
pub const BREAKPOINT: u8 = 3;
/// Undefined instruction.
pub const INVALID_OPCODE: u8 = 6;
/// First use of the FPU while it is disabled.
pub const FPU_UNAVAILABLE: u8 = 7;
/// A fault on the way to a fault's handler: always the end.
pub const DOUBLE_FAULT: u8 = 8;
/// General protection.
pub const GENERAL_PROTECTION: u8 = 13;
/// Page fault.
pub const PAGE_FAULT: u8 = 14;
/// Broken hardware: always the end.
pub const MACHINE_CHECK: u8 = 18;

/// First vector of the two legacy interrupt controllers (16 vectors).
pub const LEGACY_BASE: u8 = 0x20;
/// A byte has come in at the console (legacy line 4).
pub const CONSOLE_VECTOR: u8 = LEGACY_BASE + 4;
/// The timer has reached its deadline (or its range: re-arm).
pub const TIMER_VECTOR: u8 = 0x40;
/// The local APIC had nothing to say after all.
pub const SPURIOUS_VECTOR: u8 = 0xff;

/// Page-fault error bit: the page was present (a protection was violated).
pub const FAULT_PRESENT: u64 = 1;
/// Page-fault error bit: a write.
pub const FAULT_WRITE: u64 = 2;
/// Page-fault error bit: from user mode.
pub const FAULT_USER: u64 = 4;
/// Page-fault error bit: an instruction fetch.
pub const FAULT_EXECUTE: u64 = 16;

/// The field's name for a vector below 32.
pub const fn exception_name(vector: u8) -> &'static str {
    match vector {
        DIVIDE => "divide error",
        DEBUG => "debug trap",
        NMI => "non-maskable interrupt",
        BREAKPOINT => "breakpoint",
        4 => "overflow",
        5 => "bound range",
        INVALID_OPCODE => "invalid opcode",
        FPU_UNAVAILABLE => "fpu not available",
        DOUBLE_FAULT => "double fault",
        10 => "invalid task state",
        11 => "segment not present",
        12 => "stack fault",
        GENERAL_PROTECTION => "general protection",
        PAGE_FAULT => "page fault",
        16 => "fpu error",
        17 => "alignment check",
        MACHINE_CHECK => "machine check",
        19 => "simd error",
        21 => "control protection",
        _ => "exception",
    }
}
