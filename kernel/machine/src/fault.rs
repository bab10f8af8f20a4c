//! Traps in the kernel itself that nobody expects: the end, told readably.

use crate::event::{DOUBLE_FAULT, exception_name};
use crate::panic;
use x86_64::registers::control::{Cr2, Cr3};

/// All registers at a trap in the kernel, as the entry code of `trap` and the CPU have pushed them.
#[repr(C)]
pub(crate) struct KernelFrame {
    r15: u64,
    r14: u64,
    r13: u64,
    r12: u64,
    r11: u64,
    r10: u64,
    r9: u64,
    r8: u64,
    rbp: u64,
    rdi: u64,
    rsi: u64,
    rdx: u64,
    rcx: u64,
    rbx: u64,
    rax: u64,
    vector: u64,
    error: u64,
    pub(crate) rip: u64,
    cs: u64,
    rflags: u64,
    rsp: u64,
    ss: u64,
}

/// A trap that the kernel does not expect: says all it knows, and ends the machine.
pub(crate) extern "C" fn kernel_fault(frame: &mut KernelFrame) {
    let vector = frame.vector as u8;
    #[cfg(feature = "selftest")]
    if vector == crate::event::PAGE_FAULT && crate::probe::caught(frame, Cr2::read_raw()) {
        return;
    }
    let f = frame;
    panic::begin();
    let place = if f.cs & 3 == 0 { "the kernel" } else { "user mode" };
    let guard = if vector == DOUBLE_FAULT { " (kernel stack overflow?)" } else { "" };
    panic::print(format_args!(
        "kernel panic: {} in {place}{guard}, error {:#x}, address {:#x}\n",
        exception_name(vector),
        f.error,
        Cr2::read_raw()
    ));
    let cr3 = Cr3::read_raw().0.start_address().as_u64();
    for line in [
        [("rax", f.rax), ("rbx", f.rbx), ("rcx", f.rcx), ("rdx", f.rdx)],
        [("rsi", f.rsi), ("rdi", f.rdi), ("rbp", f.rbp), ("rsp", f.rsp)],
        [(" r8", f.r8), (" r9", f.r9), ("r10", f.r10), ("r11", f.r11)],
        [("r12", f.r12), ("r13", f.r13), ("r14", f.r14), ("r15", f.r15)],
        [("rip", f.rip), ("flg", f.rflags), ("cr3", cr3), (" ss", f.ss)],
    ] {
        for (name, value) in line {
            panic::print(format_args!(" {name} {value:016x}"));
        }
        panic::print(format_args!("\n"));
    }
    panic::print(format_args!("at:\n"));
    panic::print_place(f.rip);
    if !panic::is_code(f.rip) {
        // A jump to nowhere: who called is on top of the stack.
        if let Some(caller) = panic::top_of_stack(f.rsp).filter(|&caller| panic::is_code(caller)) {
            panic::print_place(caller - 1);
        }
    }
    panic::end(f.rbp)
}
