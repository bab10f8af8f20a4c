//! Which kind of file is this? Decided by the first bytes alone.

use crate::decode::Codec;

/// Bytes that [`detect`] wants to see. A shorter file is judged by what it has.
pub const MAGIC_BYTES: usize = 4;

/// A kind of file that exec can do something with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// An ELF image, as it is.
    Elf,
    /// A script: `#!` and the name of its interpreter.
    Hashbang,
    /// Compressed; what is inside shows when it is decoded.
    Packed(Codec),
}

/// The format of a file that begins with `head`, or `None` when exec has no use for it.
#[must_use]
pub fn detect(head: &[u8]) -> Option<Format> {
    match *head {
        [0x7f, b'E', b'L', b'F', ..] => Some(Format::Elf),
        [b'#', b'!', ..] => Some(Format::Hashbang),
        [0x1f, 0x8b, ..] => Some(Format::Packed(Codec::Gzip)),
        [b'B', b'Z', b'h', level @ b'1'..=b'9', ..] => {
            Some(Format::Packed(Codec::Bzip2 { level: level - b'0' }))
        }
        _ => None,
    }
}
