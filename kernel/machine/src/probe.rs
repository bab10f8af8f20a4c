//! Touching an address in kernel mode and living to tell: for the self test of the protections, only.

use crate::fault::KernelFrame;
use core::arch::naked_asm;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};

static ARMED: AtomicBool = AtomicBool::new(false);
static ADDRESS: AtomicU64 = AtomicU64::new(0);

/// What to do to the address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Reads one byte.
    Read,
    /// Reads one byte and writes it back.
    Write,
    /// Jumps there; what is there should return at once.
    Execute,
}

/// A page fault and the address it reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault(pub u64);

#[unsafe(naked)]
extern "C" fn read(_address: u64) -> u64 {
    naked_asm!("mov al, [rdi]", "xor eax, eax", "ret")
}

#[unsafe(naked)]
extern "C" fn write(_address: u64) -> u64 {
    naked_asm!("mov al, [rdi]", "mov [rdi], al", "xor eax, eax", "ret")
}

#[unsafe(naked)]
extern "C" fn execute(_address: u64) -> u64 {
    naked_asm!("xor eax, eax", "jmp rdi")
}

/// Where a probe that faulted goes on: in each of the above the return address is on top of the stack.
#[unsafe(naked)]
extern "C" fn failed() -> u64 {
    naked_asm!("mov eax, 1", "ret")
}

/// Tries an access.
///
/// # Safety
///
/// If the access is possible, it does no harm.
pub unsafe fn probe(address: u64, access: Access) -> Result<(), Fault> {
    ARMED.store(true, Ordering::Relaxed);
    let faulted = match access {
        Access::Read => read(address),
        Access::Write => write(address),
        Access::Execute => execute(address),
    };
    ARMED.store(false, Ordering::Relaxed);
    if faulted == 0 { Ok(()) } else { Err(Fault(ADDRESS.load(Ordering::Relaxed))) }
}

/// Called at every page fault in the kernel: whether it was a probe's. If so the frame now leads to `failed`.
pub(crate) fn caught(frame: &mut KernelFrame, address: u64) -> bool {
    let armed = ARMED.swap(false, Ordering::Relaxed);
    if armed {
        ADDRESS.store(address, Ordering::Relaxed);
        frame.rip = failed as *const () as u64;
    }
    armed
}
