//! What the user sees while something takes time: one line per step on standard error, with its duration when it took long.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

/// Runs a step, says so before, and says how long it took when that was over two seconds.
///
/// # Errors
/// Whatever the step returns.
pub fn step<T>(what: &str, f: impl FnOnce() -> anyhow::Result<T>) -> anyhow::Result<T> {
    eprintln!("==> {what}");
    let start = Instant::now();
    let result = f()?;
    let took = start.elapsed();
    if took > Duration::from_secs(2) {
        eprintln!("    done in {:.1} s", took.as_secs_f64());
    }
    Ok(result)
}

/// A line that is rewritten in place on a terminal, and printed now and then when standard error is a file.
#[derive(Debug)]
pub struct Ticker {
    terminal: bool,
    last: Option<Instant>,
    shown: usize,
}

impl Default for Ticker {
    fn default() -> Self {
        Self { terminal: std::io::stderr().is_terminal(), last: None, shown: 0 }
    }
}

impl Ticker {
    /// Shows `line` if the last one was long enough ago (0.2 s on a terminal, 10 s in a log).
    pub fn show(&mut self, line: &str) {
        let pause = if self.terminal { Duration::from_millis(200) } else { Duration::from_secs(10) };
        if self.last.is_some_and(|t| t.elapsed() < pause) {
            return;
        }
        self.last = Some(Instant::now());
        if self.terminal {
            let length = line.chars().count();
            eprint!("\r{line}{}", " ".repeat(self.shown.saturating_sub(length)));
            let _ = std::io::stderr().flush();
            self.shown = length;
        } else {
            eprintln!("{line}");
        }
    }

    /// Ends the line, so that what follows starts at the left margin.
    pub fn end(&mut self) {
        if self.terminal && self.shown > 0 {
            eprintln!();
        }
        self.shown = 0;
        self.last = None;
    }
}
