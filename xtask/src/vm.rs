//! A running machine: its serial line as a stream of lines, a deadline, a log, and the exit code.
//!
//! A machine is always ended: by the guest, by the deadline, or when its handle is dropped.

use crate::qemu::Machine;
use anyhow::{Context, Result};
use std::collections::VecDeque;
use std::fs::File;
use std::io::{BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::{Duration, Instant};

/// How many of the last lines are kept for error messages.
const TAIL: usize = 20;

/// A serial line longer than this is cut in pieces, so that a guest gone wild cannot fill the host's memory.
const MAX_LINE: usize = 1 << 20;

/// Lines that may wait to be read; then the serial line waits.
const QUEUE: usize = 4096;

/// A serial log ends here, so that a guest gone wild cannot fill the host's disk.
const MAX_LOG: usize = 256 << 20;

/// What a machine does next.
#[derive(Debug, PartialEq, Eq)]
pub enum Event {
    /// It printed a line (without its end).
    Line(String),
    /// Nothing for a while; time to show progress.
    Quiet,
    /// It ended by itself.
    Exited(Option<i32>),
    /// It was ended because its deadline passed.
    Deadline,
}

/// A running machine.
#[derive(Debug)]
pub struct Vm {
    child: Child,
    lines: Receiver<String>,
    log: BufWriter<File>,
    log_path: PathBuf,
    logged: usize,
    tail: VecDeque<String>,
    started: Instant,
    deadline: Instant,
    quiet_every: Duration,
}

impl Vm {
    /// Starts a machine; its serial log goes to `log_path`.
    ///
    /// # Errors
    /// When QEMU cannot start or the log cannot be made.
    pub fn start(machine: &Machine, log_path: &Path, limit: Duration) -> Result<Self> {
        if let Some(dir) = log_path.parent() {
            crate::workspace::make_dir(dir)?;
        }
        let log = File::create(log_path).with_context(|| format!("cannot write {}", log_path.display()))?;
        let mut child = machine
            .batch()?
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .context("cannot start QEMU")?;
        let stdout = child.stdout.take().context("QEMU has no standard output")?;
        let (sender, lines) = sync_channel(QUEUE);
        std::thread::spawn(move || pump(stdout, &sender));
        let started = Instant::now();
        Ok(Self {
            child,
            lines,
            log: BufWriter::new(log),
            log_path: log_path.to_path_buf(),
            logged: 0,
            tail: VecDeque::new(),
            started,
            deadline: started + limit,
            quiet_every: Duration::from_millis(250),
        })
    }

    /// Waits for the next event; returns [`Event::Quiet`] at least four times a second.
    ///
    /// # Errors
    /// When the log cannot be written or QEMU cannot be waited for.
    pub fn event(&mut self) -> Result<Event> {
        let now = Instant::now();
        if now >= self.deadline {
            self.end();
            return Ok(Event::Deadline);
        }
        match self.lines.recv_timeout(self.quiet_every.min(self.deadline - now)) {
            Ok(line) => {
                self.write_log(&line)?;
                if self.tail.len() == TAIL {
                    self.tail.pop_front();
                }
                self.tail.push_back(line.clone());
                Ok(Event::Line(line))
            }
            Err(RecvTimeoutError::Timeout) => Ok(Event::Quiet),
            Err(RecvTimeoutError::Disconnected) => {
                self.log.flush().context("cannot write the serial log")?;
                Ok(Event::Exited(self.child.wait().context("cannot wait for QEMU")?.code()))
            }
        }
    }

    fn write_log(&mut self, line: &str) -> Result<()> {
        if self.logged >= MAX_LOG {
            return Ok(());
        }
        self.logged += line.len() + 1;
        writeln!(self.log, "{line}").context("cannot write the serial log")?;
        if self.logged >= MAX_LOG {
            writeln!(self.log, "(the log ends here: it is too long)")
                .context("cannot write the serial log")?;
        }
        Ok(())
    }

    /// Wall time since the start.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// Where the serial log is.
    #[must_use]
    pub fn log_path(&self) -> &Path {
        &self.log_path
    }

    /// The last lines of the serial log, for an error message.
    #[must_use]
    pub fn tail(&self) -> String {
        self.tail.iter().map(|l| format!("    | {l}\n")).collect()
    }

    fn end(&mut self) {
        let _ = self.log.flush();
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Vm {
    fn drop(&mut self) {
        self.end();
    }
}

/// Cuts a byte stream into lines; bytes that are no UTF-8 are shown as replacement characters, terminal sequences are dropped.
fn pump(mut from: impl Read, to: &SyncSender<String>) {
    let mut buffer = [0u8; 4096];
    let mut line = Vec::new();
    loop {
        let n = match from.read(&mut buffer) {
            Ok(0) | Err(_) => break,
            Ok(n) => n,
        };
        for &byte in &buffer[..n] {
            if byte == b'\n' || line.len() >= MAX_LINE {
                if to.send(text(&line)).is_err() {
                    return;
                }
                line.clear();
            }
            if byte != b'\n' {
                line.push(byte);
            }
        }
    }
    if !line.is_empty() {
        let _ = to.send(text(&line));
    }
}

/// A serial line as text: no carriage returns, no ANSI sequences (GRUB's menu draws with them).
fn text(bytes: &[u8]) -> String {
    let decoded = String::from_utf8_lossy(bytes);
    let mut out = String::with_capacity(decoded.len());
    let mut chars = decoded.chars();
    while let Some(c) = chars.next() {
        match c {
            '\r' => {}
            '\u{1b}' => {
                if chars.next() == Some('[') {
                    for c in chars.by_ref() {
                        if c.is_ascii_alphabetic() {
                            break;
                        }
                    }
                }
            }
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_become_lines_without_terminal_sequences() {
        let (sender, receiver) = sync_channel(QUEUE);
        pump(&b"\x1b[2J\x1b[01;37mGRUB\r\ntest a ... ok\r\n\xff last"[..], &sender);
        drop(sender);
        assert_eq!(receiver.iter().collect::<Vec<_>>(), ["GRUB", "test a ... ok", "\u{fffd} last"]);
    }
}
