//! The startup block with its arrays, as bytes for the new program's memory (`drover_abi::startup`). Pure.

use alloc::vec::Vec;

use libhurd::abi::startup::{STARTUP_MAGIC, StartupBlock};
use libhurd::errno::{E2BIG, ENOMEM};
use zerocopy::IntoBytes;

/// Most bytes of arguments and environment together.
pub(super) const MAX_ARGUMENTS: usize = 1 << 20;

/// What a new program inherits. Port names are the new task's.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Inheritance<'a> {
    /// `EXEC_` flags.
    pub(super) flags: u32,
    /// Arguments.
    pub(super) argv: &'a [u8],
    /// Environment.
    pub(super) envp: &'a [u8],
    /// Descriptors.
    pub(super) dtable: &'a [u32],
    /// Initial ports.
    pub(super) ports: &'a [u32],
    /// Initial integers.
    pub(super) ints: &'a [i32],
}

/// The bytes that belong at `base`.
///
/// # Errors
/// `E2BIG` beyond [`MAX_ARGUMENTS`], `ENOMEM`.
pub(super) fn build(base: u64, i: &Inheritance<'_>) -> Result<Vec<u8>, i32> {
    if i.argv.len().saturating_add(i.envp.len()) > MAX_ARGUMENTS {
        return Err(E2BIG);
    }
    let head = size_of::<StartupBlock>();
    let mut arrays = Vec::new();
    let mut put = |bytes: &[u8]| -> Result<u64, i32> {
        if bytes.is_empty() {
            return Ok(0);
        }
        arrays.try_reserve(bytes.len() + 8).map_err(|_| ENOMEM)?;
        let at = base + (head + arrays.len()) as u64;
        arrays.extend_from_slice(bytes);
        arrays.resize(arrays.len().next_multiple_of(8), 0);
        Ok(at)
    };
    let block = StartupBlock {
        magic: STARTUP_MAGIC,
        flags: u64::from(i.flags),
        argv: put(i.argv)?,
        argv_len: i.argv.len() as u64,
        envp: put(i.envp)?,
        envp_len: i.envp.len() as u64,
        dtable: put(i.dtable.as_bytes())?,
        dtable_count: i.dtable.len() as u64,
        ports: put(i.ports.as_bytes())?,
        ports_count: i.ports.len() as u64,
        ints: put(i.ints.as_bytes())?,
        ints_count: i.ints.len() as u64,
        reserved: [0; 4],
    };
    let mut bytes = block.as_bytes().to_vec();
    bytes.append(&mut arrays);
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use zerocopy::FromBytes;

    const BASE: u64 = 0x1f00_0000_0000;

    fn words(bytes: &[u8], at: u64, count: u64) -> Vec<u32> {
        if count == 0 {
            return Vec::new();
        }
        let start = (at - BASE) as usize;
        bytes[start..start + count as usize * 4]
            .chunks(4)
            .map(|w| u32::from_le_bytes(w.try_into().unwrap()))
            .collect()
    }

    proptest! {
        #[test]
        fn everything_is_found_where_the_block_says(
            argv: Vec<u8>, envp: Vec<u8>, dtable: Vec<u32>, ports: Vec<u32>, ints: Vec<i32>, flags: u32
        ) {
            let i = Inheritance { flags, argv: &argv, envp: &envp, dtable: &dtable, ports: &ports, ints: &ints };
            let bytes = build(BASE, &i).unwrap();
            let (block, _) = StartupBlock::read_from_prefix(&bytes).unwrap();
            prop_assert_eq!(block.magic, STARTUP_MAGIC);
            prop_assert_eq!(block.flags, u64::from(flags));
            for (at, len, wanted) in [(block.argv, block.argv_len, &argv), (block.envp, block.envp_len, &envp)] {
                prop_assert_eq!(len as usize, wanted.len());
                if len > 0 {
                    let start = (at - BASE) as usize;
                    prop_assert_eq!(&bytes[start..start + len as usize], &wanted[..]);
                } else {
                    prop_assert_eq!(at, 0);
                }
            }
            for at in [block.dtable, block.ports, block.ints] {
                prop_assert_eq!(at % 4, 0);
            }
            prop_assert_eq!(words(&bytes, block.dtable, block.dtable_count), dtable);
            prop_assert_eq!(words(&bytes, block.ports, block.ports_count), ports);
            let found: Vec<i32> = words(&bytes, block.ints, block.ints_count).into_iter().map(|w| w as i32).collect();
            prop_assert_eq!(found, ints);
        }
    }

    #[test]
    fn too_much_is_refused() {
        let argv = std::vec![b'x'; MAX_ARGUMENTS];
        assert!(build(BASE, &Inheritance { argv: &argv, ..Inheritance::default() }).is_ok());
        let both = Inheritance { argv: &argv, envp: b"y", ..Inheritance::default() };
        assert_eq!(build(BASE, &both), Err(E2BIG));
    }
}
