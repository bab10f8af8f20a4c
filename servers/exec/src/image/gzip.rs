//! gzip: our own header and trailer around a streaming inflater that allocates nothing.
//!
//! The caller's buffer is the inflater's window and the output at once, so a byte is written once and handed on from
//! where it lies. A match that reaches behind the first byte yields what the window holds there (zeros, or the end of the
//! member before); the check sum then decides.

use crate::crc32::Crc32;
use crate::decode::{DecodeError, FeedError, Output, Stage};
use miniz_oxide::inflate::TINFLStatus;
use miniz_oxide::inflate::core::{DecompressorOxide, decompress, inflate_flags::TINFL_FLAG_HAS_MORE_INPUT};

const MAGIC: [u8; 2] = [0x1f, 0x8b];
const METHOD_DEFLATE: u8 = 8;
const FHCRC: u8 = 1 << 1;
const FEXTRA: u8 = 1 << 2;
const FNAME: u8 = 1 << 3;
const FCOMMENT: u8 = 1 << 4;
const RESERVED: u8 = 0b1110_0000;

/// Place in a member. Numbers count the bytes of the part that have been seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// The ten fixed bytes.
    Fixed(u8),
    /// The two bytes with the length of the extra field.
    ExtraLength(u8),
    /// The extra field: bytes that are still to come.
    Extra(u16),
    Name,
    Comment,
    /// The two bytes of the header's check sum.
    HeaderCrc(u8),
    Body,
    /// Check sum and length, four bytes each.
    Trailer(u8),
    /// After a complete member.
    Between,
    /// After the first byte of what may be another member.
    SecondMagic,
    Behind,
}

/// A gzip decoder without its buffer.
pub struct Gzip {
    inflater: DecompressorOxide,
    state: State,
    flags: u8,
    /// Little-endian number that is being read.
    field: u64,
    header_crc: Crc32,
    body_crc: Crc32,
    body_length: u32,
    /// Where in the buffer the next byte goes.
    position: usize,
}

impl core::fmt::Debug for Gzip {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Gzip").field("state", &self.state).finish_non_exhaustive()
    }
}

impl Gzip {
    pub(crate) fn new() -> Self {
        Self {
            inflater: DecompressorOxide::new(),
            state: State::Fixed(0),
            flags: 0,
            field: 0,
            header_crc: Crc32::new(),
            body_crc: Crc32::new(),
            body_length: 0,
            position: 0,
        }
    }

    pub(crate) fn complete(&self) -> bool {
        matches!(self.state, State::Between | State::SecondMagic | State::Behind)
    }

    pub(crate) fn feed<E>(
        &mut self,
        mut input: &[u8],
        buffer: &mut [u8],
        output: &mut Output<'_, E>,
    ) -> Result<Stage, FeedError<E>> {
        loop {
            match self.state {
                State::Behind => return Ok(Stage::Behind),
                State::Body => input = self.body(input, buffer, output)?,
                _ => {
                    if let Some((&byte, rest)) = input.split_first() {
                        self.byte(byte)?;
                        input = rest;
                    }
                }
            }
            if input.is_empty() {
                return Ok(match self.state {
                    State::Between | State::SecondMagic => Stage::Between,
                    State::Behind => Stage::Behind,
                    _ => Stage::Inside,
                });
            }
        }
    }

    /// Inflates until the input or the deflate stream ends; returns the input that is left.
    fn body<'i, E>(
        &mut self,
        mut input: &'i [u8],
        buffer: &mut [u8],
        output: &mut Output<'_, E>,
    ) -> Result<&'i [u8], FeedError<E>> {
        loop {
            let at = self.position;
            let (status, consumed, produced) =
                decompress(&mut self.inflater, input, buffer, at, TINFL_FLAG_HAS_MORE_INPUT);
            input = input.get(consumed..).unwrap_or_default();
            if let Some(bytes) = buffer.get(at..at.saturating_add(produced))
                && !bytes.is_empty()
            {
                self.body_crc.update(bytes);
                self.body_length = self.body_length.wrapping_add(bytes.len() as u32);
                self.position = at.saturating_add(produced);
                if self.position >= buffer.len() {
                    self.position = 0;
                }
                output(bytes).map_err(FeedError::Sink)?;
            }
            match status {
                TINFLStatus::Done => {
                    self.state = State::Trailer(0);
                    self.field = 0;
                    return Ok(input);
                }
                TINFLStatus::NeedsMoreInput if input.is_empty() => return Ok(input),
                TINFLStatus::HasMoreOutput if produced > 0 => {}
                _ => return Err(DecodeError::Corrupt.into()),
            }
        }
    }

    /// Takes one byte of anything but the body.
    fn byte(&mut self, byte: u8) -> Result<(), DecodeError> {
        let in_header = !matches!(
            self.state,
            State::HeaderCrc(_) | State::Trailer(_) | State::Between | State::SecondMagic
        );
        if in_header {
            self.header_crc.update(&[byte]);
        }
        match self.state {
            State::Fixed(seen) => {
                match seen {
                    0 | 1 if byte != MAGIC[usize::from(seen)] => return Err(DecodeError::BadMagic),
                    2 if byte != METHOD_DEFLATE => return Err(DecodeError::Unsupported),
                    3 if byte & RESERVED != 0 => return Err(DecodeError::Unsupported),
                    3 => self.flags = byte,
                    _ => {}
                }
                self.state = State::Fixed(seen + 1);
                if seen == 9 {
                    self.after_fixed();
                }
            }
            State::ExtraLength(seen) => {
                self.number(byte, seen);
                self.state = State::ExtraLength(seen + 1);
                if seen == 1 {
                    self.state = State::Extra(self.field as u16);
                    if self.field == 0 {
                        self.after_extra();
                    }
                }
            }
            State::Extra(left) => {
                self.state = State::Extra(left.saturating_sub(1));
                if left <= 1 {
                    self.after_extra();
                }
            }
            State::Name if byte == 0 => self.after_name(),
            State::Comment if byte == 0 => self.after_comment(),
            State::Name | State::Comment => {}
            State::HeaderCrc(seen) => {
                self.number(byte, seen);
                self.state = State::HeaderCrc(seen + 1);
                if seen == 1 {
                    if self.field != u64::from(self.header_crc.value() & 0xffff) {
                        return Err(DecodeError::HeaderChecksum);
                    }
                    self.start_body();
                }
            }
            State::Trailer(seen) => {
                self.number(byte, seen);
                self.state = State::Trailer(seen + 1);
                if seen == 7 {
                    self.check_trailer()?;
                    self.state = State::Between;
                }
            }
            State::Between => {
                self.state = if byte == MAGIC[0] { State::SecondMagic } else { State::Behind };
            }
            State::SecondMagic if byte == MAGIC[1] => {
                self.header_crc = Crc32::new();
                self.header_crc.update(&MAGIC);
                self.state = State::Fixed(2);
            }
            State::SecondMagic => self.state = State::Behind,
            State::Body | State::Behind => {}
        }
        Ok(())
    }

    /// Takes the next byte of a little-endian number.
    fn number(&mut self, byte: u8, seen: u8) {
        let value = u64::from(byte) << (8 * u32::from(seen & 7));
        self.field = if seen == 0 { value } else { self.field | value };
    }

    fn after_fixed(&mut self) {
        if self.flags & FEXTRA != 0 {
            self.state = State::ExtraLength(0);
        } else {
            self.after_extra();
        }
    }

    fn after_extra(&mut self) {
        if self.flags & FNAME != 0 {
            self.state = State::Name;
        } else {
            self.after_name();
        }
    }

    fn after_name(&mut self) {
        if self.flags & FCOMMENT != 0 {
            self.state = State::Comment;
        } else {
            self.after_comment();
        }
    }

    fn after_comment(&mut self) {
        if self.flags & FHCRC != 0 {
            self.state = State::HeaderCrc(0);
        } else {
            self.start_body();
        }
    }

    fn start_body(&mut self) {
        self.inflater.init();
        self.body_crc = Crc32::new();
        self.body_length = 0;
        self.state = State::Body;
    }

    fn check_trailer(&self) -> Result<(), DecodeError> {
        if self.field as u32 != self.body_crc.value() {
            return Err(DecodeError::Checksum);
        }
        if (self.field >> 32) as u32 != self.body_length {
            return Err(DecodeError::Length);
        }
        Ok(())
    }
}
