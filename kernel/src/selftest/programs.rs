//! User programs of the self test: position-independent code, copied to a page and run there.

use core::arch::global_asm;

macro_rules! programs {
    ($($(#[$doc:meta])* $name:ident: $($line:literal),+;)*) => {
        global_asm!(
            ".section .rodata.programs, \"a\"",
            $(
                concat!(".global program_", stringify!($name), ", program_", stringify!($name), "_end"),
                concat!("program_", stringify!($name), ":"),
                $($line,)+
                concat!("program_", stringify!($name), "_end:"),
            )*
        );
        $(
            $(#[$doc])*
            pub(crate) fn $name() -> &'static [u8] {
                // SAFETY: symbols of the block above; only their addresses are used.
                unsafe extern "C" {
                    #[link_name = concat!("program_", stringify!($name))]
                    static START: u8;
                    #[link_name = concat!("program_", stringify!($name), "_end")]
                    static END: u8;
                }
                let (start, end) = (&raw const START, &raw const END);
                // SAFETY: both are in one section, in this order, in read-only memory.
                unsafe { core::slice::from_raw_parts(start, end as usize - start as usize) }
            }
        )*
    };
}

programs! {
    /// Calls trap -25 with every register set, checks that only rax, rcx and r11 have changed, and calls trap 1 (right)
    /// or 2 (wrong).
    syscall:
        "mov rsp, 0x700010",
        "mov rbx, 0x1111111111111111",
        "mov rdx, 0x2222222222222222",
        "mov rsi, 0x3333333333333333",
        "mov rdi, 0x4444444444444444",
        "mov rbp, 0x5555555555555555",
        "mov r8, 0x6666666666666666",
        "mov r9, 0x7777777777777777",
        "mov r10, 0x8888888888888888",
        "mov r12, 0x9999999999999999",
        "mov r13, 0xaaaaaaaaaaaaaaaa",
        "mov r14, 0xbbbbbbbbbbbbbbbb",
        "mov r15, 0xcccccccccccccccc",
        "mov rax, -25",
        "syscall",
        "4: cmp rax, 0x77",
        "jne 2f",
        "lea rax, [rip + 4b]",
        "sub rax, rcx",
        "jne 2f",
        "xor rbx, 0x11111111",
        "mov rax, 0x1111111100000000",
        "cmp rbx, rax",
        "jne 2f",
        "add rdx, rdi",
        "cmp rdx, rsi",
        "je 2f",
        "add rdx, r8",
        "add rdx, r9",
        "add rdx, r10",
        "add rdx, rsi",
        "add rdx, rbp",
        "add rdx, r12",
        "add rdx, r13",
        "add rdx, r14",
        "add rdx, r15",
        "add rdx, rsp",
        "mov rax, 1",
        "syscall",
        "2: mov rax, 2",
        "syscall";
    /// Sets the direction, alignment-check and nested-task flags, and calls.
    hostile_flags:
        "mov rsp, 0x701000",
        "pushfq",
        "or qword ptr [rsp], 0x44400",
        "popfq",
        "syscall",
        "ud2";
    /// Undefined instruction.
    invalid: "ud2";
    /// Privileged instruction.
    privileged: "hlt";
    /// Port access.
    port: "in al, 0x60";
    /// Breakpoint.
    breakpoint: "int3";
    /// A gate that is not for users.
    closed_gate: "int 0x40";
    /// Division by zero.
    divide: "xor ecx, ecx", "div ecx";
    /// Reads [rdi].
    read: "mov rax, [rdi]", "mov rax, 3", "syscall";
    /// Writes [rdi].
    write: "mov [rdi], rax", "mov rax, 3", "syscall";
    /// Jumps to rdi.
    jump: "jmp rdi";
    /// Just returns.
    nothing: "ret";
    /// Counts in rcx, and keeps twice that in r11.
    count: "2: inc rcx", "lea r11, [rcx + rcx]", "jmp 2b";
    /// Loads the null selector into fs and gs (their bases may be lost by that), and calls.
    null_selectors: "xor eax, eax", "mov fs, eax", "mov gs, eax", "syscall";
    /// Loads the words at fs:0 and gs:0.
    segment_words: "mov rax, fs:[0]", "mov rbx, gs:[0]", "syscall", "ud2";
    /// Adds one to xmm0's low word, and calls with it in rbx.
    sse:
        "mov eax, 1",
        "movq xmm1, rax",
        "paddq xmm0, xmm1",
        "movq rbx, xmm0",
        "syscall",
        "jmp program_sse";
    /// Calls, for ever.
    call_again: "2: syscall", "jmp 2b";
    /// Asks where the descriptor table is.
    descriptor_table: "sgdt [rsp - 16]", "syscall";
    /// Switches single step on, and calls.
    step_into_call:
        "pushfq",
        "or qword ptr [rsp], 0x100",
        "popfq",
        "syscall",
        "nop",
        "ud2";
    /// Does nothing, three times.
    steps: "nop", "nop", "nop", "ud2";
}
