//! Programs that the boot line names (`run1=/bin/x,argument run2=...`), run one after the other: for packages that this one does not know.

use alloc::format;
use alloc::vec::Vec;
use core::time::Duration;

use libhurd::program::Program;
use libhurd::{Offer, argz, env};

use super::{Bench, Test, Verdict, holds, must, same};

pub(crate) const TESTS: &[(&str, Test)] = &[("end_well", end_well)];

/// How long each may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// Every program ends with status 0.
fn end_well(_: &Bench) -> Verdict {
    let mut count = 0;
    while let Some(line) = argz::variable(env::current().envp(), format!("run{}", count + 1).as_bytes()) {
        count += 1;
        let words: Vec<&[u8]> = line.split(|&byte| byte == b',').collect();
        let shown = line.escape_ascii();
        let offer = Offer::all().within(PATIENCE);
        let program = Program::new(words.first().copied().unwrap_or_default()).argv(words.iter().copied());
        let child = must(&format!("{shown}: start"), program.start(&offer))?;
        let status = must(&format!("{shown}: wait"), child.wait(&offer))?;
        same(&format!("{shown}: status"), status, 0)?;
    }
    holds("the boot line names no program", count > 0)
}
