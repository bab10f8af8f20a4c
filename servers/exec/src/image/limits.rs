//! Every bound of this crate in one place, so that a server can compare them with a donation before it starts.
//!
//! What is *not* bounded here is the decoded size: a file says nothing trustworthy about it. The sink's memory is charged
//! to whoever asked, and the first refused charge ends the work.

use crate::decode::Codec;

/// Most program headers of an ELF file, of any type.
pub const MAX_PROGRAM_HEADERS: usize = 64;

/// The ELF header and all program headers must lie within this many leading bytes of the (decoded) file.
pub const ELF_HEADER_BYTES: usize = 8192;

/// A `#!` line, newline included, must lie within this many leading bytes of the file.
pub const HASHBANG_BYTES: usize = 1024;

/// Least size of a decoder's buffer in bytes: the reach of a deflate match. The size must be a power of two.
pub const MIN_BUFFER_BYTES: usize = 32 * 1024;

/// The buffer size that a server should use, in bytes: larger buffers save no measurable work.
pub const BUFFER_BYTES: usize = 64 * 1024;

/// The alignment that every block of [`crate::memory::Memory`] must have, in bytes.
pub const BLOCK_ALIGN: usize = 16;

/// Bytes of decoder state that bzip2 needs beside the block store: its tables and the stream record, rounded up.
const BZIP2_STATE_BYTES: usize = 72 * 1024;

/// Bytes of block store per bzip2 level: 100,000 symbols of 4 bytes.
const BZIP2_BYTES_PER_LEVEL: usize = 400_000;

/// Upper bound in bytes of what a decoder takes from its [`crate::memory::Memory`] at any one time; the caller's buffer
/// is not included. Level 0 or above 9 counts as 9.
///
/// A bzip2 file may consist of several streams, each with a level of its own: only the first is known from the leading
/// bytes. [`DECODER_MEMORY_MAX`] holds for any file; a decoder that is refused memory for a later stream ends with
/// [`crate::decode::DecodeError::NoMemory`].
#[must_use]
pub const fn decoder_memory(codec: Codec) -> usize {
    match codec {
        Codec::Plain | Codec::Gzip => 0,
        Codec::Bzip2 { level } => {
            let level = if level >= 1 && level <= 9 { level as usize } else { 9 };
            BZIP2_STATE_BYTES + level * BZIP2_BYTES_PER_LEVEL
        }
    }
}

/// Upper bound in bytes of [`decoder_memory`] for any file.
pub const DECODER_MEMORY_MAX: usize = decoder_memory(Codec::Bzip2 { level: 9 });
