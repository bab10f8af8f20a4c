//! The bomb: a program padded with zeros and compressed by the real tool, streamed through a pipe and kept in the cache.

use crate::{progress, size, tools};
use anyhow::{Context, Result, bail};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{Read, Write};
use std::path::Path;
use std::process::Stdio;

/// A compression format that exec inflates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, clap::ValueEnum)]
pub enum Format {
    /// `bzip2 -9`: a gibibyte of zeros is 785 bytes.
    #[value(name = "bzip2")]
    Bzip2,
    /// `gzip -9`: about a megabyte.
    #[value(name = "gzip")]
    Gzip,
}

impl Format {
    /// The tool's and the format's name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Bzip2 => "bzip2",
            Self::Gzip => "gzip",
        }
    }

    /// Ending of file names.
    #[must_use]
    pub fn suffix(self) -> &'static str {
        match self {
            Self::Bzip2 => "bz2",
            Self::Gzip => "gz",
        }
    }
}

/// A compressed payload.
#[derive(Debug, Clone)]
pub(super) struct Payload {
    pub(super) format: Format,
    pub(super) compressed: Vec<u8>,
}

/// `program` followed by `zeros` zero bytes in each format, side by side; from the cache what was made before.
pub(super) fn make_all(cache: &Path, formats: &[Format], program: &[u8], zeros: u64) -> Result<Vec<Payload>> {
    let mut hasher = DefaultHasher::new();
    (program, zeros).hash(&mut hasher);
    let hash = hasher.finish();
    let path = |format: Format| cache.join(format!("payload-{hash:016x}.{}", format.suffix()));
    let missing: Vec<Format> = formats.iter().copied().filter(|f| !path(*f).exists()).collect();
    if !missing.is_empty() {
        let tools: Vec<String> = missing.iter().map(|f| format!("{} -9", f.name())).collect();
        let what = format!(
            "compressing a program padded with {} of zeros ({})",
            size::human(zeros),
            tools.join(", ")
        );
        progress::step(&what, || {
            std::thread::scope(|scope| {
                let running: Vec<_> =
                    missing.iter().map(|f| (*f, scope.spawn(|| compress(*f, program, zeros)))).collect();
                for (format, thread) in running {
                    let compressed = thread.join().ok().context("a compressing thread panicked")??;
                    crate::compile::write_if_changed(&path(format), &compressed)?;
                }
                Ok(())
            })
        })?;
    }
    formats
        .iter()
        .map(|&format| {
            let path = path(format);
            let compressed =
                std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
            Ok(Payload { format, compressed })
        })
        .collect()
}

/// Pipes `program` and `zeros` zero bytes through the compressor.
pub(super) fn compress(format: Format, program: &[u8], zeros: u64) -> Result<Vec<u8>> {
    let mut command = tools::command(format.name())?;
    command.args(["-9", "-c"]);
    if format == Format::Gzip {
        command.arg("-n"); // no name, no time: the same bytes every time
    }
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start {}", format.name()))?;
    let (mut stdin, mut stdout) = match (child.stdin.take(), child.stdout.take()) {
        (Some(i), Some(o)) => (i, o),
        _ => bail!("{} has no pipes", format.name()),
    };
    let mut compressed = Vec::new();
    std::thread::scope(|scope| -> Result<()> {
        let writer = scope.spawn(move || -> std::io::Result<()> {
            stdin.write_all(program)?;
            let block = vec![0u8; 1 << 20];
            let mut left = zeros;
            while left > 0 {
                let n = left.min(block.len() as u64) as usize;
                stdin.write_all(&block[..n])?;
                left -= n as u64;
            }
            Ok(())
        });
        stdout.read_to_end(&mut compressed).context("cannot read the compressor's output")?;
        match writer.join() {
            Ok(written) => written.context("cannot write to the compressor"),
            Err(_) => bail!("the thread that feeds the compressor panicked"),
        }
    })?;
    let status = child.wait().context("cannot wait for the compressor")?;
    if !status.success() {
        bail!("{} ended with {status}", format.name());
    }
    Ok(compressed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_inflates_to_the_program_and_the_zeros() {
        for format in [Format::Bzip2, Format::Gzip] {
            if tools::find(format.name()).is_none() {
                eprintln!("{} is not installed: skipped", format.name());
                continue;
            }
            let compressed = compress(format, b"PROGRAM", 3_000_000).unwrap();
            assert!(compressed.len() < 10_000, "{} bytes", compressed.len());
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join(format!("p.{}", format.suffix()));
            std::fs::write(&path, compressed).unwrap();
            let mut command = tools::command(format.name()).unwrap();
            let plain = command.args(["-dc"]).arg(&path).output().unwrap().stdout;
            assert_eq!(plain.len(), 7 + 3_000_000);
            assert!(plain.starts_with(b"PROGRAM") && plain[7..].iter().all(|&b| b == 0));
        }
    }
}
