//! A whole file through a decoder: into a loader, or, as in 2013, into a growing buffer.
//!
//! The classic server collects the plain file in its own memory before it looks at it ([`decode_all`]); the accounted one
//! loads while it decodes ([`load_stream`]). The decoder is the same.

use crate::decode::{DecodeError, Decoder, FeedError};
use crate::elf::{ElfError, Plan};
use crate::memory::Memory;
use crate::stream::{LoadError, Loader, Sink};

/// A file read from its beginning to its end.
pub trait Input {
    /// Why a read failed.
    type Error;

    /// The next bytes; none: the file ends here.
    ///
    /// # Errors
    /// Any; the work ends.
    fn next(&mut self) -> Result<&[u8], Self::Error>;
}

/// A buffer that grows.
pub trait Grow {
    /// Why it cannot grow.
    type Error;

    /// Appends `bytes`, which are not empty.
    ///
    /// # Errors
    /// Any; the work ends.
    fn append(&mut self, bytes: &[u8]) -> Result<(), Self::Error>;
}

/// Why the work on a whole file ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WholeError<I, S> {
    /// The input's error, as it gave it.
    Input(I),
    /// The compressed data is at fault, or there was no memory for the decoder.
    Decode(DecodeError),
    /// What was decoded is not a program that can be loaded.
    Elf(ElfError),
    /// The sink's or buffer's error, as it gave it.
    Sink(S),
}

impl<I, S> From<FeedError<S>> for WholeError<I, S> {
    fn from(error: FeedError<S>) -> Self {
        match error {
            FeedError::Decode(error) => Self::Decode(error),
            FeedError::Sink(error) => Self::Sink(error),
        }
    }
}

impl<I, S> From<FeedError<LoadError<S>>> for WholeError<I, S> {
    fn from(error: FeedError<LoadError<S>>) -> Self {
        match error {
            FeedError::Decode(error) => Self::Decode(error),
            FeedError::Sink(LoadError::Elf(error)) => Self::Elf(error),
            FeedError::Sink(LoadError::Sink(error)) => Self::Sink(error),
            FeedError::Sink(LoadError::AfterError) => Self::Decode(DecodeError::AfterError),
        }
    }
}

/// Decodes all of `input` into `buffer`. Returns the plain file's length in bytes.
///
/// # Errors
/// See [`WholeError`].
pub fn decode_all<'m, I: Input, M: Memory<'m>, G: Grow>(
    input: &mut I,
    mut decoder: Decoder<'m, M>,
    buffer: &mut G,
) -> Result<u64, WholeError<I::Error, G::Error>> {
    loop {
        let bytes = input.next().map_err(WholeError::Input)?;
        if bytes.is_empty() {
            return decoder.finish().map_err(WholeError::Decode);
        }
        decoder.feed(bytes, &mut |plain| buffer.append(plain))?;
    }
}

/// Decodes all of `input` and loads the program in it into `sink` as it comes. The file is read and checked to its end,
/// even when all segments are in place before. Nothing should run from `sink` unless this succeeds.
///
/// # Errors
/// See [`WholeError`].
pub fn load_stream<'m, I: Input, M: Memory<'m>, S: Sink>(
    input: &mut I,
    mut decoder: Decoder<'m, M>,
    mut loader: Loader,
    sink: &mut S,
) -> Result<Plan, WholeError<I::Error, S::Error>> {
    loop {
        let bytes = input.next().map_err(WholeError::Input)?;
        if bytes.is_empty() {
            decoder.finish().map_err(WholeError::Decode)?;
            return loader.finish().map_err(WholeError::Elf);
        }
        decoder.feed(bytes, &mut |plain| loader.feed(plain, sink))?;
    }
}
