//! Text out: `print!`, `println!`, the `log` backend and the panic handler.
//!
//! `print!` goes to descriptor 1 if there is one, else to the kernel's console. The log and panics always go to the kernel's console. Nothing
//! here allocates.

use core::fmt::{self, Write};

use crate::{env, file, syscall};

/// Prints to descriptor 1, or to the kernel's console.
#[macro_export]
macro_rules! print {
    ($($arg:tt)*) => { $crate::print::print(format_args!($($arg)*)) };
}

/// Prints a line to descriptor 1, or to the kernel's console.
#[macro_export]
macro_rules! println {
    () => { $crate::print!("\n") };
    ($($arg:tt)*) => { $crate::print::print(format_args!("{}\n", format_args!($($arg)*))) };
}

/// Prints a line to descriptor 2, or to the kernel's console.
#[macro_export]
macro_rules! eprintln {
    ($($arg:tt)*) => { $crate::print::print_to(2, format_args!("{}\n", format_args!($($arg)*))) };
}

/// Collects pieces so that a line is one write.
struct Out<F: FnMut(&[u8])> {
    buffer: [u8; 512],
    used: usize,
    flush: F,
}

impl<F: FnMut(&[u8])> Out<F> {
    const fn new(flush: F) -> Self {
        Self { buffer: [0; 512], used: 0, flush }
    }
    fn flush(&mut self) {
        (self.flush)(&self.buffer[..self.used]);
        self.used = 0;
    }
}

impl<F: FnMut(&[u8])> Write for Out<F> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for &byte in text.as_bytes() {
            if self.used == self.buffer.len() {
                self.flush();
            }
            self.buffer[self.used] = byte;
            self.used += 1;
        }
        Ok(())
    }
}

impl<F: FnMut(&[u8])> Drop for Out<F> {
    fn drop(&mut self) {
        if self.used > 0 {
            self.flush();
        }
    }
}

/// Prints to descriptor 1, or to the kernel's console. What cannot be written is dropped.
pub fn print(args: fmt::Arguments<'_>) {
    print_to(1, args);
}

/// Prints to a descriptor, or to the kernel's console if it is closed.
pub fn print_to(descriptor: usize, args: fmt::Arguments<'_>) {
    let fd = env::current().fd(descriptor);
    let mut out = Out::new(|bytes| {
        if !(fd.is_valid() && file::write_all(fd, bytes).is_ok()) {
            syscall::mach_print(bytes);
        }
    });
    // The sink does not fail.
    let _ = out.write_fmt(args);
}

/// Prints to the kernel's console.
pub fn kernel_print(args: fmt::Arguments<'_>) {
    let mut out = Out::new(syscall::mach_print);
    // The sink does not fail.
    let _ = out.write_fmt(args);
}

/// The log backend.
struct Log;

impl log::Log for Log {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }
    fn log(&self, record: &log::Record<'_>) {
        kernel_print(format_args!("{}: {}: {}\n", env::current().name(), record.level(), record.args()));
    }
    fn flush(&self) {}
}

static LOG: Log = Log;

/// Installs the log backend; `log=LEVEL` in the environment sets its level (default `warn`).
pub fn init() {
    let level = env::current()
        .var(b"log")
        .and_then(|level| core::str::from_utf8(level).ok()?.parse().ok())
        .unwrap_or(log::LevelFilter::Warn);
    if log::set_logger(&LOG).is_ok() {
        log::set_max_level(level);
    }
}

/// In a call, outside a critical section: the call fails and the server lives. Otherwise the task ends.
#[cfg(target_os = "none")]
#[panic_handler]
fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
    use crate::local::{Local, PANICKING};
    let local = Local::current();
    if !local.state(PANICKING) {
        local.set_state(PANICKING);
        kernel_print(format_args!("{}: thread {}: {info}\n", env::current().name(), local.tid()));
        if local.in_call() && local.critical() == 0 {
            crate::server::fail_call(local);
        }
    }
    loop {
        let _ = crate::task::terminate(crate::task::this());
        let _ = crate::clock::sleep(core::time::Duration::from_secs(1));
    }
}
