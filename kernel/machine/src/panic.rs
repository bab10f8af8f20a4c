//! What a dying kernel says: the message, the registers if a trap is the reason, and a backtrace with names.

use crate::console::{self, Output};
use crate::paging::{DIRECT_MAP, KERNEL_BASE};
use crate::symbols::Symbols;
use crate::{boot, power};
use core::arch::asm;
use core::fmt::Write;
use core::panic::PanicInfo;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Deepest backtrace printed.
const MAX_DEPTH: usize = 32;

static DYING: AtomicBool = AtomicBool::new(false);
static SYMBOLS_AT: AtomicU64 = AtomicU64::new(0);
static SYMBOLS_BYTES: AtomicU64 = AtomicU64::new(0);

/// Says where the symbol file lies: physical address and size in bytes.
pub(crate) fn set_symbols(at: u64, bytes: u64) {
    SYMBOLS_AT.store(at, Ordering::Relaxed);
    SYMBOLS_BYTES.store(bytes, Ordering::Relaxed);
}

fn symbols() -> Option<Symbols<'static>> {
    let at = SYMBOLS_AT.load(Ordering::Relaxed);
    let bytes = SYMBOLS_BYTES.load(Ordering::Relaxed);
    if at == 0 {
        return None;
    }
    // SAFETY: the module lies in RAM that the direct map covers and that is handed to nobody; nothing else runs now.
    let file = unsafe { core::slice::from_raw_parts((DIRECT_MAP + at) as *const u8, bytes as usize) };
    Symbols::parse(file)
}

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    begin();
    match info.location() {
        Some(at) => print(format_args!("kernel panic at {}:{}: {}\n", at.file(), at.line(), info.message())),
        None => print(format_args!("kernel panic: {}\n", info.message())),
    }
    let frame: u64;
    // SAFETY: copies a register.
    unsafe { asm!("mov {}, rbp", out(reg) frame, options(nomem, nostack, preserves_flags)) };
    end(frame)
}

/// Starts the last words. A panic while printing one ends at once.
pub(crate) fn begin() {
    x86_64::instructions::interrupts::disable();
    if DYING.swap(true, Ordering::Relaxed) {
        power::exit_qemu(power::PANICKED);
    }
    console::break_lock();
    print(format_args!("\n"));
}

/// Prints, whatever happens.
pub(crate) fn print(text: core::fmt::Arguments<'_>) {
    // The console reports no errors.
    let _ = Output.write_fmt(text);
}

/// Prints one line of a backtrace.
pub(crate) fn print_place(address: u64) {
    match symbols().and_then(|symbols| symbols.find(address)) {
        Some((name, offset)) => print(format_args!("  {address:#018x} {name}+{offset:#x}\n")),
        None => print(format_args!("  {address:#018x}\n")),
    }
}

/// The word on top of the stack at `stack`, if that is a stack of the kernel.
pub(crate) fn top_of_stack(stack: u64) -> Option<u64> {
    let image = boot::image();
    let inside = stack >= KERNEL_BASE + image.data && stack <= KERNEL_BASE + image.end - 8;
    if !inside || !stack.is_multiple_of(8) {
        return None;
    }
    // SAFETY: within the kernel's data, aligned; a guard page there would only fault into the end of this panic.
    Some(unsafe { (stack as *const u64).read_volatile() })
}

/// Whether the kernel's code is at this address.
pub(crate) fn is_code(address: u64) -> bool {
    let image = boot::image();
    (KERNEL_BASE + image.code..KERNEL_BASE + image.data).contains(&address)
}

/// Prints the return addresses from the frame pointer `frame` on, and ends the machine.
pub(crate) fn end(mut frame: u64) -> ! {
    print(format_args!("backtrace:\n"));
    for _ in 0..MAX_DEPTH {
        let (Some(next), Some(return_address)) = (top_of_stack(frame), top_of_stack(frame.wrapping_add(8)))
        else {
            break;
        };
        if return_address == 0 {
            break;
        }
        // The call is before the address that it returns to.
        print_place(return_address - 1);
        if next <= frame {
            break;
        }
        frame = next;
    }
    power::exit_qemu(power::PANICKED)
}
