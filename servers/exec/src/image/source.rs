//! Loading a file that can be read at any offset: an uncompressed program, or one that was unpacked as a whole.
//!
//! Only the headers and the segments are read; a gigabyte of padding behind them costs nothing.

use crate::elf::{ElfError, Plan, header_bytes};
use crate::limits::ELF_HEADER_BYTES;
use crate::stream::Sink;

/// Bytes that can be read in any order.
pub trait Source {
    /// Why a read failed.
    type Error;

    /// Reads at most `into.len()` bytes at `offset`; returns how many. 0: the file ends at or before `offset`.
    ///
    /// # Errors
    /// Any; the load ends.
    fn read_at(&mut self, offset: u64, into: &mut [u8]) -> Result<usize, Self::Error>;
}

impl Source for &[u8] {
    type Error = core::convert::Infallible;

    fn read_at(&mut self, offset: u64, into: &mut [u8]) -> Result<usize, Self::Error> {
        let rest = usize::try_from(offset).ok().and_then(|offset| self.get(offset..)).unwrap_or_default();
        let count = rest.len().min(into.len());
        if let (Some(into), Some(from)) = (into.get_mut(..count), rest.get(..count)) {
            into.copy_from_slice(from);
        }
        Ok(count)
    }
}

/// Why a load from a [`Source`] ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SourceError<R, S> {
    /// The file is at fault.
    Elf(ElfError),
    /// The source's error, as it gave it.
    Source(R),
    /// The sink's error, as it gave it.
    Sink(S),
}

impl<R, S> From<ElfError> for SourceError<R, S> {
    fn from(error: ElfError) -> Self {
        Self::Elf(error)
    }
}

/// Loads the program in `source` into `sink`, segment by segment in order of address, through `buffer`, which must hold at
/// least [`ELF_HEADER_BYTES`]. A static-pie goes to `pie_base`.
///
/// # Errors
/// See [`SourceError`]. A buffer that is too small ends in [`ElfError::HeadersTooFar`].
pub fn load<R: Source, S: Sink>(
    source: &mut R,
    pie_base: u64,
    buffer: &mut [u8],
    sink: &mut S,
) -> Result<Plan, SourceError<R::Error, S::Error>> {
    let plan = read_plan(source, pie_base, buffer)?;
    sink.begin(&plan).map_err(SourceError::Sink)?;
    for segment in plan.segments() {
        let mut done = 0;
        while done < segment.file_size {
            let left = usize::try_from(segment.file_size - done).unwrap_or(usize::MAX);
            let room = buffer.len().min(left);
            let room = buffer.get_mut(..room).unwrap_or_default();
            let count = source.read_at(segment.file_offset + done, room).map_err(SourceError::Source)?;
            let bytes = room.get(..count).unwrap_or_default();
            if bytes.is_empty() {
                return Err(ElfError::Truncated.into());
            }
            sink.place(segment.vaddr + done, bytes).map_err(SourceError::Sink)?;
            done += count as u64;
        }
    }
    Ok(plan)
}

/// Reads the headers of `source` and makes the plan.
///
/// # Errors
/// As for [`load`].
pub fn read_plan<R: Source, E>(
    source: &mut R,
    pie_base: u64,
    buffer: &mut [u8],
) -> Result<Plan, SourceError<R::Error, E>> {
    let mut have = 0;
    loop {
        let need = header_bytes(buffer.get(..have).unwrap_or_default())?;
        if need <= have {
            break;
        }
        let room = buffer.get_mut(have..need).ok_or(ElfError::HeadersTooFar)?;
        let count = source.read_at(have as u64, room).map_err(SourceError::Source)?.min(room.len());
        if count == 0 {
            return Err(ElfError::Truncated.into());
        }
        have += count;
    }
    Ok(Plan::parse(buffer.get(..have).unwrap_or_default(), pie_base)?)
}

const _: () = assert!(ELF_HEADER_BYTES <= crate::limits::BUFFER_BYTES);

/// Loads the program in `image`, which is all in memory, without copying it: [`Sink::place`] gets slices of it.
///
/// # Errors
/// As for [`load`].
pub fn load_slice<S: Sink>(
    image: &[u8],
    pie_base: u64,
    sink: &mut S,
) -> Result<Plan, SourceError<core::convert::Infallible, S::Error>> {
    let need = header_bytes(image.get(..ELF_HEADER_BYTES).unwrap_or(image))?;
    let head = image.get(..need).ok_or(ElfError::Truncated)?;
    let plan = Plan::parse(head, pie_base)?;
    if plan.file_end() > image.len() as u64 {
        return Err(ElfError::Truncated.into());
    }
    sink.begin(&plan).map_err(SourceError::Sink)?;
    for segment in plan.segments() {
        // Both ends are at most the length of the image.
        let bytes = image.get(segment.file_offset as usize..segment.file_end() as usize).unwrap_or_default();
        if !bytes.is_empty() {
            sink.place(segment.vaddr, bytes).map_err(SourceError::Sink)?;
        }
    }
    Ok(plan)
}
