//! QEMU's command line. Always TCG: KVM may be absent, and a nested one cannot run a ring-0 kernel reliably.
//!
//! With `icount` the machine is deterministic: guest time is the number of guest instructions (1 ns each), so a run repeats
//! to the instruction whatever the host is doing.

use crate::tools;
use anyhow::Result;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The exit code by which a guest says success: 16 written to the isa-debug-exit port.
pub const SUCCESS: i32 = 33;

/// A machine to run.
#[derive(Debug, Clone)]
pub struct Machine {
    /// The boot ISO.
    pub iso: PathBuf,
    /// Memory in MiB.
    pub mem_mib: u32,
    /// Count instructions instead of time.
    pub icount: bool,
}

impl Machine {
    /// A machine that boots `iso`.
    #[must_use]
    pub fn new(iso: &Path, mem_mib: u32, icount: bool) -> Self {
        Self { iso: iso.to_path_buf(), mem_mib, icount }
    }

    fn args(&self) -> Vec<String> {
        let mut args: Vec<String> =
            ["-machine", "pc", "-cpu", "max", "-accel", "tcg,thread=single", "-smp", "1"]
                .map(String::from)
                .to_vec();
        args.extend(["-m".into(), self.mem_mib.to_string()]);
        if self.icount {
            args.extend(
                ["-icount", "shift=0,sleep=off", "-rtc", "base=2026-01-01T00:00:00,clock=vm"]
                    .map(String::from),
            );
        }
        args.extend(
            ["-display", "none", "-nic", "none", "-parallel", "none", "-no-reboot"].map(String::from),
        );
        args.extend(["-device", "isa-debug-exit,iobase=0xf4,iosize=0x04"].map(String::from));
        args.extend(["-boot".into(), "d".into(), "-cdrom".into(), self.iso.display().to_string()]);
        args
    }

    /// A command whose standard output is the guest's serial line.
    ///
    /// # Errors
    /// When QEMU is not installed.
    pub fn batch(&self) -> Result<Command> {
        let mut command = tools::command("qemu-system-x86_64")?;
        command.args(self.args()).args(["-monitor", "none", "-serial", "stdio"]);
        Ok(command)
    }

    /// A command for a person at the terminal: control-C goes to the guest, control-A x ends QEMU.
    ///
    /// # Errors
    /// When QEMU is not installed.
    pub fn interactive(&self) -> Result<Command> {
        let mut command = tools::command("qemu-system-x86_64")?;
        command.args(self.args()).args(["-serial", "mon:stdio"]);
        Ok(command)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn measured_runs_count_instructions() {
        let args = Machine::new(Path::new("/x.iso"), 3072, true).args().join(" ");
        assert!(args.contains("-accel tcg,thread=single"));
        assert!(args.contains("-icount shift=0,sleep=off -rtc base=2026-01-01T00:00:00,clock=vm"));
        assert!(args.contains("-m 3072") && args.contains("-no-reboot"));
        assert!(!Machine::new(Path::new("/x.iso"), 512, false).args().join(" ").contains("icount"));
    }
}
