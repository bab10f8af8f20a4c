//! The command line: `ext2 [OPTION...] DEVICE`.
//!
//! | option | meaning |
//! |---|---|
//! | `--readonly` | refuse to write translator records |
//! | `--node-lock` | hold a node's lock while its translator starts: the fault that the report of 2013 supposed (stall b) |
//! | `--cache=N` | keep N pieces of 4 KiB in memory (default 2048) |
//! | `--start-cpu-ms=N`, `--start-frames=N`, `--start-io=N`, `--start-ms=N` | what one start of a translator may spend: CPU time, frames, I/O in units of 512 bytes, elapsed time (default: what `exec.defs` says of a start) |
//! | `--device-master-port=N`, `--proc-port=N`, `--auth-port=N`, `--exec-port=N` | names of send rights in this task: as the Hurd's boot script passes them |
//!
//! Of the environment, `stall=b` says `--node-lock`, and `world=` is libhurd's. The initial ports AUTH and PROC count where no option names one, and `fsys_init` brings later ones. The bootstrap port gets
//! `fsys_startup` with the control port, as from every translator.

use libhurd::argz;
use libhurd::mig::Donation;
use libhurd::stubs::exec::offer;

/// What one start of a translator may spend, at the expense of the node's owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct StartOffer {
    /// CPU time in milliseconds.
    pub(super) cpu_ms: u64,
    /// Frames at any one moment, the new task's own not included: those are bounded by its account.
    pub(super) frames: u64,
    /// I/O in units of 512 bytes.
    pub(super) io: u64,
    /// Elapsed time in milliseconds.
    pub(super) elapsed_ms: u64,
}

impl StartOffer {
    /// What the interface says of starting a program: that is what a start is, but for a lookup and a report.
    pub(super) const DEFAULT: Self = {
        let Donation { cpu_ns, frames, io, deadline_ns, .. } = offer::EXEC_EXEC_PATHS.default;
        Self { cpu_ms: cpu_ns / 1_000_000, frames, io, elapsed_ms: deadline_ns / 1_000_000 }
    };
}

/// All options.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Options<'a> {
    /// Name of the device.
    pub(super) device: &'a [u8],
    /// Write nothing.
    pub(super) read_only: bool,
    /// Stall (b).
    pub(super) node_lock: bool,
    /// Pieces in the block cache.
    pub(super) cache: usize,
    /// The translator-start offer.
    pub(super) start: StartOffer,
    /// Device master port, 0 = none.
    pub(super) device_master: u32,
    /// Our process, which also answers who pays for a user; 0 = the initial port.
    pub(super) proc: u32,
    /// Auth, 0 = the initial port.
    pub(super) auth: u32,
    /// Exec server, 0 = the translator on `/servers/exec`.
    pub(super) exec: u32,
}

/// Why a command line is refused: the word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Unknown<'a>(pub(super) &'a [u8]);

/// Most pieces of cache that may be asked for (256 MiB).
const MAX_CACHE: u64 = 65536;

fn number(digits: &[u8]) -> Option<u64> {
    core::str::from_utf8(digits).ok()?.parse().ok()
}

impl<'a> Options<'a> {
    /// Parses arguments (the program's name first) and environment.
    ///
    /// # Errors
    /// The first word that makes no sense; the empty word if the device is missing.
    pub(super) fn parse(argv: &'a [u8], envp: &[u8]) -> Result<Self, Unknown<'a>> {
        let mut options = Self {
            device: b"",
            read_only: false,
            node_lock: argz::variable(envp, b"stall") == Some(b"b"),
            cache: 2048,
            start: StartOffer::DEFAULT,
            device_master: 0,
            proc: 0,
            auth: 0,
            exec: 0,
        };
        for word in argz::words(argv).skip(1) {
            options.take(word).ok_or(Unknown(word))?;
        }
        if options.device.is_empty() { Err(Unknown(b"")) } else { Ok(options) }
    }

    fn take(&mut self, word: &'a [u8]) -> Option<()> {
        let Some(option) = word.strip_prefix(b"--") else {
            let first = self.device.is_empty() && !word.is_empty();
            self.device = word;
            return first.then_some(());
        };
        let end = option.iter().position(|&byte| byte == b'=').unwrap_or(option.len());
        let (name, value) = option.split_at(end);
        let value = value.strip_prefix(b"=");
        let number = value.and_then(number);
        let port = number.and_then(|name| u32::try_from(name).ok());
        match (name, value) {
            (b"readonly", None) => self.read_only = true,
            (b"node-lock", None) => self.node_lock = true,
            (b"cache", _) => self.cache = number.filter(|&n| n <= MAX_CACHE)? as usize,
            (b"start-cpu-ms", _) => self.start.cpu_ms = number?,
            (b"start-frames", _) => self.start.frames = number?,
            (b"start-io", _) => self.start.io = number?,
            (b"start-ms", _) => self.start.elapsed_ms = number?,
            (b"device-master-port", _) => self.device_master = port?,
            (b"proc-port", _) => self.proc = port?,
            (b"auth-port", _) => self.auth = port?,
            (b"exec-port", _) => self.exec = port?,
            _ => return None,
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_whole_line() {
        let argv = b"ext2\0--node-lock\0--cache=16\0--start-cpu-ms=5\0--proc-port=77\0ram0\0";
        let options = Options::parse(argv, b"world=classic\0").unwrap();
        assert_eq!((options.device, options.node_lock, options.cache), (&b"ram0"[..], true, 16));
        assert_eq!((options.start.cpu_ms, options.start.elapsed_ms, options.proc), (5, 3000, 77));
        assert!(!options.read_only);
        assert!(Options::parse(b"ext2\0d\0", b"stall=b\0").unwrap().node_lock);
    }

    #[test]
    fn nonsense_is_named() {
        for (argv, word) in [
            (&b"ext2\0"[..], &b""[..]),
            (b"ext2\0a\0b\0", b"b"),
            (b"ext2\0--cache=x\0a\0", b"--cache=x"),
            (b"ext2\0--cache=99999999\0a\0", b"--cache=99999999"),
            (b"ext2\0--proc-port=4294967296\0a\0", b"--proc-port=4294967296"),
            (b"ext2\0--readonly=1\0a\0", b"--readonly=1"),
            (b"ext2\0--fast\0a\0", b"--fast"),
        ] {
            assert_eq!(Options::parse(argv, b""), Err(Unknown(word)), "{}", argv.escape_ascii());
        }
    }
}
