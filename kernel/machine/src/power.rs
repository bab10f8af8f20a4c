//! The end of the machine.

use qemu_exit::QEMUExit;
use x86_64::instructions::{hlt, interrupts, port::Port};

/// Exit code for success: QEMU's status becomes 2 * 16 + 1 = 33.
pub const SUCCESS: u32 = 16;
/// Exit code of a panic: status 1.
pub const PANICKED: u32 = 0;

const EXIT_PORT: u16 = 0xf4;

/// Writes `code` to QEMU's exit device: its status becomes 2 * code + 1. On a machine without the device nothing
/// happens but that the CPU halts for good.
pub fn exit_qemu(code: u32) -> ! {
    interrupts::disable();
    // SAFETY: the port is the exit device's by our convention, and unused on PCs.
    let device = unsafe { qemu_exit::X86::new(EXIT_PORT, SUCCESS * 2 + 1) };
    device.exit(code)
}

/// Ends the machine: QEMU's exit device with `code`, else power off (as QEMU's chipset does it), else halt.
pub fn shutdown(code: u32) -> ! {
    interrupts::disable();
    // SAFETY: the exit device's port; ignored where there is none.
    unsafe { Port::<u32>::new(EXIT_PORT).write(code) };
    // SAFETY: the power-management control port of QEMU's chipsets: sleep state 5.
    unsafe { Port::<u16>::new(0x604).write(0x2000) };
    halt()
}

/// Resets the machine: chipset reset, keyboard controller, or halt if neither works.
pub fn reboot() -> ! {
    interrupts::disable();
    // SAFETY: the reset control port: full reset.
    unsafe { Port::<u8>::new(0xcf9).write(0x06) };
    // SAFETY: the keyboard controller pulses the CPU's reset line.
    unsafe { Port::<u8>::new(0x64).write(0xfe) };
    halt()
}

/// Stops for good.
pub fn halt() -> ! {
    loop {
        interrupts::disable();
        hlt();
    }
}
