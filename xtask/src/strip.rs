//! Stripping an ELF executable: keep what its program headers load, drop sections, symbols and debug data.
//!
//! A boot loads nothing but segments, so cutting the file after the last of them is all that is needed. The original with
//! its symbols stays in cargo's target folder. Only 64-bit little-endian ELF is accepted, and every offset is checked.

use anyhow::{Context, Result, ensure};

const EHDR: usize = 64;

fn number<const N: usize>(data: &[u8], at: usize) -> Result<[u8; N]> {
    data.get(at..at + N)
        .and_then(|b| b.try_into().ok())
        .with_context(|| format!("the ELF file ends before byte {}", at + N))
}

/// Returns the stripped copy of an ELF executable.
///
/// # Errors
/// When `elf` is not a 64-bit little-endian ELF file, or a header points outside it.
pub fn strip(elf: &[u8]) -> Result<Vec<u8>> {
    ensure!(elf.starts_with(b"\x7fELF\x02\x01"), "not a 64-bit little-endian ELF file");
    let phoff = usize::try_from(u64::from_le_bytes(number(elf, 32)?))?;
    let phentsize = usize::from(u16::from_le_bytes(number(elf, 54)?));
    let phnum = usize::from(u16::from_le_bytes(number(elf, 56)?));
    ensure!(phentsize >= 56 && phnum > 0, "the ELF file has no program headers");
    let mut end = phentsize
        .checked_mul(phnum)
        .and_then(|n| n.checked_add(phoff))
        .context("the ELF program headers lie outside the file")?
        .max(EHDR);
    for i in 0..phnum {
        let header = phoff + i * phentsize;
        let offset = u64::from_le_bytes(number(elf, header + 8)?);
        let size = u64::from_le_bytes(number(elf, header + 32)?);
        let segment_end = offset.checked_add(size).context("an ELF segment lies outside the file")?;
        end = end.max(usize::try_from(segment_end)?);
    }
    let mut out = elf.get(..end).context("an ELF segment lies outside the file")?.to_vec();
    out[40..48].fill(0); // e_shoff
    out[60..64].fill(0); // e_shnum, e_shstrndx
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One segment of 16 bytes at 128, then 100 bytes of "sections".
    fn sample() -> Vec<u8> {
        let mut elf = vec![0u8; 244];
        elf[..6].copy_from_slice(b"\x7fELF\x02\x01");
        elf[32..40].copy_from_slice(&64u64.to_le_bytes());
        elf[40..48].copy_from_slice(&144u64.to_le_bytes());
        elf[54..56].copy_from_slice(&56u16.to_le_bytes());
        elf[56..58].copy_from_slice(&1u16.to_le_bytes());
        elf[60..62].copy_from_slice(&3u16.to_le_bytes());
        elf[72..80].copy_from_slice(&128u64.to_le_bytes());
        elf[96..104].copy_from_slice(&16u64.to_le_bytes());
        elf[128..144].fill(0xcc);
        elf[144..].fill(0xdd);
        elf
    }

    #[test]
    fn everything_after_the_last_segment_is_cut_and_the_section_table_forgotten() {
        let out = strip(&sample()).unwrap();
        assert_eq!(out.len(), 144);
        assert_eq!(out[128..], [0xcc; 16]);
        assert_eq!((&out[40..48], &out[60..64]), (&[0u8; 8][..], &[0u8; 4][..]));
        assert_eq!(strip(&out).unwrap(), out, "stripping twice changes nothing");
    }

    #[test]
    fn bad_files_are_refused() {
        assert!(strip(b"#!/bin/sh").is_err());
        assert!(strip(&sample()[..60]).is_err(), "truncated header");
        let mut wild = sample();
        wild[96..104].copy_from_slice(&u64::MAX.to_le_bytes());
        assert!(strip(&wild).is_err(), "segment beyond the file");
    }
}
