//! Prints how mig-rs and its stubs compare with GNU MIG: `wire-speed MIG_RS WIRE_COUNT FOLDER`, both programs release
//! builds, and a folder for what is fetched and made. `cargo xtask bench` does the same in its table.
#![forbid(unsafe_code)]

use std::path::Path;

use anyhow::{Result, bail};
use mig_wire::{gnu, speed};

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [mig_rs, count, folder] = &arguments[..] else { bail!("usage: wire-speed MIG_RS WIRE_COUNT FOLDER") };
    let folder = Path::new(folder);
    let gnu = gnu::ensure(&gnu::folder(folder))?;
    let times = speed::times(&gnu, Path::new(mig_rs), &folder.join("speed"), 5)?;
    println!(
        "{} files: {:?}, GNU MIG {:?}, ratio {:.3}",
        times.files,
        times.ours,
        times.theirs,
        times.ratio()
    );
    for count in speed::counts(&gnu, Path::new(count), &folder.join("count"))? {
        println!("{:14}{:8} {:8.1}, GNU MIG {:8.1}", count.routine, count.side, count.ours, count.theirs);
    }
    Ok(())
}
