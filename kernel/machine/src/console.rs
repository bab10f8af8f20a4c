//! The serial console (COM1): output for the log and for panics, input by interrupt.
//!
//! Output fills the device's FIFO and waits for it to drain; input goes through a ring of 256 bytes, filled when the
//! interrupt comes (the line is edge-triggered: a FIFO left half full would never interrupt again). When the ring is
//! full, what is typed is lost.

use core::fmt::{self, Write};
use heapless::Deque;
use log::{Level, LevelFilter, Log, Metadata, Record};
use spin::Mutex;
use uart_16550::backend::PioBackend;
use uart_16550::spec::registers::{FifoTriggerLevel, IER};
use uart_16550::{BaudRate, Config, Uart16550};

const COM1: u16 = 0x3f8;

const CONFIG: Config = Config {
    interrupts: IER::DATA_READY,
    // Every byte counts: a typed character must not wait for thirteen others.
    fifo_trigger_level: Some(FifoTriggerLevel::One),
    baud_rate: BaudRate::Baud115200,
    ..Config::DEFAULT
};

struct Console {
    port: Uart16550<PioBackend>,
    present: bool,
    input: Deque<u8, 256>,
}

const fn com1() -> Uart16550<PioBackend> {
    // SAFETY: the first serial port of a PC; only this module touches it.
    match unsafe { Uart16550::new_port(COM1) } {
        Ok(port) => port,
        Err(_) => panic!("not a port"),
    }
}

static CONSOLE: Mutex<Console> = Mutex::new(Console { port: com1(), present: false, input: Deque::new() });

/// Sets the port up and makes it the log's destination. Without a port everything written is dropped.
pub(crate) fn init() {
    let mut console = CONSOLE.lock();
    console.present = console.port.init(CONFIG).is_ok();
    drop(console);
    // A second call would fail, and there is none.
    let _ = log::set_logger(&Logger);
    log::set_max_level(LevelFilter::Info);
}

/// Looks at a full FIFO this often before the rest of the output is given up: far longer than sixteen bytes take.
const PATIENCE: u32 = 10_000_000;

/// Writes bytes as they are. What a device that has stopped does not take is lost.
pub(crate) fn write(mut bytes: &[u8]) {
    let mut console = CONSOLE.lock();
    if !console.present {
        return;
    }
    let mut looks = 0;
    while !bytes.is_empty() && looks < PATIENCE {
        let sent = console.port.send_bytes(bytes);
        bytes = &bytes[sent..];
        looks = if sent > 0 { 0 } else { looks + 1 };
    }
}

/// Sets how much is logged: `error`, `warn`, `info` (the default) or `debug`; anything else changes nothing.
pub(crate) fn set_log_level(level: &str) {
    if let Ok(level) = level.parse() {
        log::set_max_level(level);
    }
}

/// Moves what has come in from the device to the ring.
pub(crate) fn interrupt() {
    let mut guard = CONSOLE.lock();
    let Console { port, present, input } = &mut *guard;
    // Bounded, in case a broken device is never empty.
    for _ in 0..64 {
        match port.try_receive_byte() {
            Ok(byte) if *present => drop(input.push_back(byte)),
            _ => break,
        }
    }
}

/// The oldest byte typed and not yet read.
pub(crate) fn read() -> Option<u8> {
    CONSOLE.lock().input.pop_front()
}

/// Makes the console usable for the last words of a kernel that may have died while writing.
pub(crate) fn break_lock() {
    // SAFETY: one CPU and interrupts off: whoever holds the lock will never run again.
    unsafe { CONSOLE.force_unlock() };
}

/// `core::fmt` on the console.
pub(crate) struct Output;

impl Write for Output {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let mut lines = text.split('\n');
        if let Some(first) = lines.next() {
            write(first.as_bytes());
        }
        for line in lines {
            write(b"\r\n");
            write(line.as_bytes());
        }
        Ok(())
    }
}

struct Logger;

impl Log for Logger {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= log::max_level()
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let mark = match record.level() {
            Level::Error => "error: ",
            Level::Warn => "warning: ",
            Level::Info => "",
            Level::Debug | Level::Trace => "debug: ",
        };
        let us = crate::timer::now() / 1_000;
        // The console swallows what it cannot write.
        let _ = writeln!(Output, "[{:5}.{:06}] {mark}{}", us / 1_000_000, us % 1_000_000, record.args());
    }

    fn flush(&self) {}
}
