//! The lines that drivers print for the host: see `docs/experiment.md`.
//!
//! They go to the kernel's console. A line of up to 255 bytes is written whole, whatever else prints.

use core::fmt;

use libhurd::print::kernel_print;

/// Prints a record: `body` is the inside of its JSON object.
pub fn record(body: fmt::Arguments<'_>) {
    kernel_print(format_args!("##SC {{{body}}}\n"));
}

/// Prints that everything asked for has been done.
pub fn done() {
    kernel_print(format_args!("##DONE\n"));
}

/// Prints a record.
#[macro_export]
macro_rules! record {
    ($($arg:tt)*) => { $crate::record::record(format_args!($($arg)*)) };
}
