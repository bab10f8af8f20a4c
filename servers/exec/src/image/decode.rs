//! One interface over all decoders: compressed bytes go in as they come, plain bytes come out as they are made.
//!
//! A decoder is a plain value: any number of them may run at the same time. It keeps the caller's buffer and borrows
//! further blocks from the caller's [`Memory`]; dropping it gives every block back.
//!
//! After a complete member (gzip) or stream (bzip2) another may follow, and its output is appended. Anything else that
//! follows is ignored, as `gzip` and `bzip2` themselves do.

use crate::bzip2::Bzip2;
use crate::gzip::Gzip;
use crate::limits::MIN_BUFFER_BYTES;
use crate::memory::Memory;
use drover_abi::returns::{KERN_INVALID_ARGUMENT, KERN_RESOURCE_SHORTAGE, hurd_errno};

/// The Hurd's `EIO`: the data is damaged.
const EIO: i32 = 5;
/// The Hurd's `ENOEXEC`: the file is not what it should be.
const ENOEXEC: i32 = 8;

/// How a file is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Codec {
    /// Not at all: bytes pass through.
    Plain,
    /// gzip (RFC 1952).
    Gzip,
    /// bzip2.
    Bzip2 {
        /// Block size of the first stream in units of 100,000 bytes: 1 to 9.
        level: u8,
    },
}

/// Why decoding failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DecodeError {
    /// The caller's buffer is smaller than [`MIN_BUFFER_BYTES`] or not a power of two.
    BadBuffer,
    /// The file does not begin like one of its format.
    BadMagic,
    /// A gzip header asks for a method or uses flags that do not exist.
    Unsupported,
    /// The gzip header's own check sum is wrong.
    HeaderChecksum,
    /// The compressed data breaks the format's rules; for bzip2 also: a check sum is wrong.
    Corrupt,
    /// The output does not have the check sum that the file states.
    Checksum,
    /// The output does not have the length (modulo 2^32) that the file states.
    Length,
    /// The file ends before the compressed data does.
    Truncated,
    /// The lender refused memory.
    NoMemory,
    /// The decoder was used after it had failed.
    AfterError,
}

impl DecodeError {
    /// The code for the wire: `ENOEXEC` for what was never a good file, `EIO` for damage, `KERN_RESOURCE_SHORTAGE`
    /// for refused memory.
    #[must_use]
    pub const fn code(self) -> i32 {
        match self {
            Self::BadMagic | Self::Unsupported => hurd_errno(ENOEXEC),
            Self::HeaderChecksum | Self::Corrupt | Self::Checksum | Self::Length | Self::Truncated => {
                hurd_errno(EIO)
            }
            Self::NoMemory => KERN_RESOURCE_SHORTAGE,
            Self::BadBuffer | Self::AfterError => KERN_INVALID_ARGUMENT,
        }
    }
}

/// Why [`Decoder::feed`] stopped: the data, or whoever takes the output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FeedError<E> {
    /// The data is at fault, or there was no memory.
    Decode(DecodeError),
    /// The taker's error, as it gave it.
    Sink(E),
}

impl<E> From<DecodeError> for FeedError<E> {
    fn from(error: DecodeError) -> Self {
        Self::Decode(error)
    }
}

/// Where a decoder stands after [`Decoder::feed`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Bytes of output so far.
    pub produced: u64,
    /// The file could end here: everything begun is complete and its check sums were right.
    pub at_end: bool,
}

/// Takes plain bytes. Slices are never empty and only valid during the call.
pub type Output<'a, E> = dyn FnMut(&[u8]) -> Result<(), E> + 'a;

/// Where a codec stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Inside of a member, or before the first.
    Inside,
    /// Between members.
    Between,
    /// Behind the last member: what comes is ignored.
    Behind,
}

/// A decoder for one file.
#[derive(Debug)]
pub struct Decoder<'m, M: Memory<'m>> {
    codec: Active<'m, M>,
    buffer: &'m mut [u8],
    produced: u64,
    failed: bool,
}

#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "without allocation there is no box; the caller chooses where a decoder lives"
)]
enum Active<'m, M: Memory<'m>> {
    Plain,
    Gzip(Gzip),
    Bzip2(Bzip2<'m, M>),
}

impl<'m, M: Memory<'m>> Decoder<'m, M> {
    /// A decoder that works in `buffer` (a power of two of at least [`MIN_BUFFER_BYTES`]; its contents are lost) and
    /// borrows from `memory` at most what [`crate::limits::decoder_memory`] says. Borrows nothing yet.
    ///
    /// # Errors
    /// [`DecodeError::BadBuffer`].
    pub fn new(codec: Codec, buffer: &'m mut [u8], memory: M) -> Result<Self, DecodeError> {
        if buffer.len() < MIN_BUFFER_BYTES || !buffer.len().is_power_of_two() {
            return Err(DecodeError::BadBuffer);
        }
        let codec = match codec {
            Codec::Plain => Active::Plain,
            Codec::Gzip => {
                // A damaged match may reach behind the first byte: it must find nothing of an earlier user there.
                buffer.fill(0);
                Active::Gzip(Gzip::new())
            }
            Codec::Bzip2 { .. } => Active::Bzip2(Bzip2::new(memory)),
        };
        Ok(Self { codec, buffer, produced: 0, failed: false })
    }

    /// Takes all of `input`, the next bytes of the file, and hands everything they decode to on to `output`.
    ///
    /// # Errors
    /// [`FeedError::Sink`] with the error of `output`, at once; otherwise [`FeedError::Decode`]. After an error the
    /// decoder is of no further use.
    pub fn feed<E>(&mut self, input: &[u8], output: &mut Output<'_, E>) -> Result<Progress, FeedError<E>> {
        if self.failed {
            return Err(DecodeError::AfterError.into());
        }
        self.failed = true;
        let produced = &mut self.produced;
        let mut counted = |bytes: &[u8]| {
            *produced = produced.saturating_add(bytes.len() as u64);
            output(bytes)
        };
        let stage = match &mut self.codec {
            Active::Plain => {
                if !input.is_empty() {
                    counted(input).map_err(FeedError::Sink)?;
                }
                Stage::Between
            }
            Active::Gzip(gzip) => gzip.feed(input, self.buffer, &mut counted)?,
            Active::Bzip2(bzip2) => bzip2.feed(input, self.buffer, &mut counted)?,
        };
        self.failed = false;
        Ok(Progress { produced: self.produced, at_end: stage != Stage::Inside })
    }

    /// Says that the file ends here. Returns the length of the output in bytes.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`] when something is missing, [`DecodeError::AfterError`] after an error.
    pub fn finish(self) -> Result<u64, DecodeError> {
        if self.failed {
            return Err(DecodeError::AfterError);
        }
        let complete = match &self.codec {
            Active::Plain => true,
            Active::Gzip(gzip) => gzip.complete(),
            Active::Bzip2(bzip2) => bzip2.complete(),
        };
        if complete { Ok(self.produced) } else { Err(DecodeError::Truncated) }
    }
}
