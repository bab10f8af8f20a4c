//! The user's FPU and SSE registers, in `fxsave` format. The kernel itself never computes with them.
//!
//! The FPU is off by default (`CR0.TS`): its first use raises `FPU_UNAVAILABLE`, and the kernel loads the thread's
//! registers then. `xsave` and with it AVX stay off.

use core::arch::asm;
use x86_64::registers::control::{Cr0, Cr0Flags, Cr4, Cr4Flags};

/// Registers as after `fninit`, all exceptions masked.
pub const INITIAL: [u8; 512] = {
    let mut area = [0; 512];
    (area[0], area[1]) = (0x7f, 0x03);
    (area[24], area[25]) = (0x80, 0x1f);
    area
};

/// Offset of the SSE control word.
const MXCSR: usize = 24;
/// Its bits that every 64-bit CPU knows; loading another one would fault.
const MXCSR_BITS: u32 = 0xffbf;

#[repr(C, align(16))]
struct Area([u8; 512]);

/// Allows `fxsave` and SSE, and turns the FPU off.
pub(crate) fn init() {
    // SAFETY: all x86_64 CPUs have FXSR and SSE; with them on, user SSE code runs and its exceptions are reported.
    unsafe { Cr4::update(|cr4| cr4.insert(Cr4Flags::OSFXSR | Cr4Flags::OSXMMEXCPT_ENABLE)) };
    // SAFETY: native error reporting, no emulation, off until asked for; the kernel is soft-float.
    unsafe {
        Cr0::update(|cr0| {
            cr0.remove(Cr0Flags::EMULATE_COPROCESSOR);
            cr0.insert(Cr0Flags::MONITOR_COPROCESSOR | Cr0Flags::NUMERIC_ERROR | Cr0Flags::TASK_SWITCHED);
        });
    }
}

/// Lets the running thread use the FPU.
pub(crate) fn enable() {
    // SAFETY: clears `CR0.TS`, which concerns FPU instructions alone.
    unsafe { asm!("clts", options(nomem, nostack, preserves_flags)) };
}

/// Makes the next FPU instruction trap.
pub(crate) fn disable() {
    // SAFETY: sets `CR0.TS`, which concerns FPU instructions alone.
    unsafe { Cr0::update(|cr0| cr0.insert(Cr0Flags::TASK_SWITCHED)) };
}

/// Saves the registers, and turns the FPU off.
pub(crate) fn save(area: &mut [u8; 512]) {
    enable();
    let mut aligned = Area([0; 512]);
    // SAFETY: the destination is 512 bytes, 16-aligned, and the FPU is on.
    unsafe { asm!("fxsave64 [{}]", in(reg) &raw mut aligned, options(nostack, preserves_flags)) };
    *area = aligned.0;
    disable();
}

/// Turns the FPU on with these registers; reserved bits of the SSE control word are ignored.
pub(crate) fn load(area: &[u8; 512]) {
    enable();
    let mut aligned = Area(*area);
    let word = &mut aligned.0[MXCSR..MXCSR + 4];
    for (byte, allowed) in word.iter_mut().zip(MXCSR_BITS.to_le_bytes()) {
        *byte &= allowed;
    }
    // SAFETY: the source is 512 bytes, 16-aligned, without reserved bits, and the FPU is on.
    unsafe {
        asm!("fxrstor64 [{}]", in(reg) &raw const aligned, options(nostack, readonly, preserves_flags))
    };
}
