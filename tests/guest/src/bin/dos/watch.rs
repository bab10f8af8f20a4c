//! Memory and CPU time of the accounts that the report shows, kept until a phase ends. The driver pays for all of it.

use alloc::vec::Vec;

use guest::machine::{Machine, name_of};
use guest::record;
use libhurd::abi::account::{CPU, FRAMES};
use libhurd::clock::now;

/// The accounts shown.
pub(crate) const ACCOUNTS: [&str; 5] = ["exec", "ext2", "proc", "victims", "attacker"];
/// Index of `exec` in it.
const EXEC: usize = 0;
/// First distance between moments, ns.
const STEP: u64 = 100_000_000;
/// After so many moments the distance doubles.
const DOUBLE_AFTER: usize = 500;

/// One account at one moment: frames, ns of CPU; `None` while there is no such account.
type Cell = Option<(u64, u64)>;

/// See the module.
pub(crate) struct Watch {
    machine: Machine,
    moments: Vec<(u64, [Cell; ACCOUNTS.len()])>,
    seen: usize,
    next: u64,
    step: u64,
    /// Largest number of frames of the exec server's own since the last [`Watch::restart_peak`].
    pub(crate) exec_peak: u64,
    /// The kernel's own record of that peak when the count began: a higher one since is exact, whenever it was.
    recorded: u64,
}

impl Watch {
    pub(crate) fn new(machine: Machine) -> Self {
        Self {
            machine,
            moments: Vec::with_capacity(DOUBLE_AFTER),
            seen: 0,
            next: 0,
            step: STEP,
            exec_peak: 0,
            recorded: u64::MAX,
        }
    }

    /// Takes a moment if it is time.
    pub(crate) fn look(&mut self) -> Result<(), i32> {
        if now() < self.next { Ok(()) } else { self.take() }
    }

    /// Takes a moment.
    pub(crate) fn take(&mut self) -> Result<(), i32> {
        let at = now();
        let mut cells = [None; ACCOUNTS.len()];
        let mut peak = 0;
        for info in self.machine.accounts()? {
            if let Some(index) = ACCOUNTS.iter().position(|name| name.as_bytes() == name_of(&info)) {
                cells[index] = Some((info.resources[FRAMES].charged, info.resources[CPU].charged));
                if index == EXEC {
                    peak = info.frames_peak;
                }
            }
        }
        if let Some((frames, _)) = cells[EXEC] {
            self.exec_peak = self.exec_peak.max(frames);
        }
        if self.recorded == u64::MAX {
            self.recorded = peak;
        }
        if peak > self.recorded {
            self.exec_peak = self.exec_peak.max(peak);
        }
        self.moments.push((at, cells));
        self.seen += 1;
        if self.seen.is_multiple_of(DOUBLE_AFTER) {
            self.step *= 2;
        }
        self.next = at + self.step;
        Ok(())
    }

    /// From here on the peak is counted anew; what exec has now.
    pub(crate) fn restart_peak(&mut self) -> Result<u64, i32> {
        self.exec_peak = 0;
        self.recorded = u64::MAX;
        self.take()?;
        Ok(self.exec_peak)
    }

    /// Prints the moments and forgets them.
    pub(crate) fn print(&mut self) {
        for (at, cells) in self.moments.drain(..) {
            let row = Row(&cells);
            record!("\"t\":\"m\",\"at\":{at},\"a\":[{row}]");
        }
    }
}

/// The accounts of one moment as JSON.
struct Row<'a>(&'a [Cell]);

impl core::fmt::Display for Row<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let mut comma = "";
        for (name, cell) in ACCOUNTS.iter().zip(self.0) {
            if let Some((frames, cpu)) = cell {
                write!(f, "{comma}[\"{name}\",{frames},{cpu}]")?;
                comma = ",";
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn absent_accounts_are_left_out() {
        let cells = [Some((310, 2_000_000)), None, Some((1, 2)), None, None];
        assert_eq!(std::format!("{}", Row(&cells)), "[\"exec\",310,2000000],[\"proc\",1,2]");
    }

    #[test]
    fn a_row_fits_into_one_write() {
        let cells = [Some((999_999, 999_999_999_999)); 5];
        let line = std::format!("##SC {{\"t\":\"m\",\"at\":999999999999,\"a\":[{}]}}\n", Row(&cells));
        assert!(line.len() <= 255, "{}", line.len());
    }
}
