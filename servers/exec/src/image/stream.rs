//! Loading a file whose bytes arrive in order, in chunks of any size, and only once.
//!
//! The loader collects the leading bytes until the headers are complete (at most [`ELF_HEADER_BYTES`]), makes the plan,
//! and from then on hands every byte that belongs to a segment to the sink as it passes; the rest falls through. It never
//! holds more than the headers, whatever the size of the file.
//!
//! Places are handed out in file order, whatever the order of the program headers; a byte that two segments share is
//! placed twice. A sink that refuses ends the load at once, with the sink's own error.

use crate::elf::{ElfError, Plan, Segment, header_bytes};
use crate::limits::{ELF_HEADER_BYTES, MAX_PROGRAM_HEADERS};

/// Where an image is loaded to.
pub trait Sink {
    /// Why it refuses: a charge that failed, say.
    type Error;

    /// The plan is made: called once, before the first [`Sink::place`]. The sink may map the image's pages now.
    ///
    /// # Errors
    /// Any; the load ends.
    fn begin(&mut self, plan: &Plan) -> Result<(), Self::Error>;

    /// `bytes` belong at `vaddr`. They lie within one segment of the plan and are not empty.
    ///
    /// # Errors
    /// Any; the load ends.
    fn place(&mut self, vaddr: u64, bytes: &[u8]) -> Result<(), Self::Error>;
}

/// Why a load ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoadError<E> {
    /// The file is at fault.
    Elf(ElfError),
    /// The sink's error, as it gave it.
    Sink(E),
    /// The loader was used after it had failed.
    AfterError,
}

impl<E> From<ElfError> for LoadError<E> {
    fn from(error: ElfError) -> Self {
        Self::Elf(error)
    }
}

#[derive(Debug)]
enum State {
    /// Collecting headers; so many bytes so far.
    Headers(usize),
    /// Placing.
    Body,
    Failed,
}

/// A loader for one file.
#[derive(Debug)]
pub struct Loader {
    state: State,
    pie_base: u64,
    header: [u8; ELF_HEADER_BYTES],
    placer: Option<Placer>,
}

impl Loader {
    /// A loader that puts a static-pie at `pie_base`.
    #[must_use]
    pub const fn new(pie_base: u64) -> Self {
        Self { state: State::Headers(0), pie_base, header: [0; ELF_HEADER_BYTES], placer: None }
    }

    /// Takes all of `chunk`, the next bytes of the file.
    ///
    /// # Errors
    /// See [`LoadError`]. After an error the loader is of no further use.
    pub fn feed<S: Sink>(&mut self, chunk: &[u8], sink: &mut S) -> Result<(), LoadError<S::Error>> {
        let state = core::mem::replace(&mut self.state, State::Failed);
        self.state = match (state, &mut self.placer) {
            (State::Headers(have), _) => self.headers(have, chunk, sink)?,
            (State::Body, Some(placer)) => {
                placer.pass(chunk, sink).map_err(LoadError::Sink)?;
                State::Body
            }
            _ => return Err(LoadError::AfterError),
        };
        Ok(())
    }

    /// The plan, once it is made.
    #[must_use]
    pub fn plan(&self) -> Option<&Plan> {
        self.placer.as_ref().map(|placer| &placer.plan)
    }

    /// Every byte of every segment has been placed: what follows in the file does not matter to the image. (It does
    /// matter to a decoder's check sum, which covers the whole file.)
    #[must_use]
    pub fn complete(&self) -> bool {
        matches!(self.state, State::Body) && self.placer.as_ref().is_some_and(Placer::complete)
    }

    /// Says that the file ends here. Returns the plan.
    ///
    /// # Errors
    /// [`ElfError::Truncated`] when headers or segments are not complete.
    pub fn finish(self) -> Result<Plan, ElfError> {
        match (self.state, self.placer) {
            (State::Body, Some(placer)) if placer.complete() => Ok(placer.plan),
            _ => Err(ElfError::Truncated),
        }
    }

    fn headers<S: Sink>(
        &mut self,
        mut have: usize,
        mut chunk: &[u8],
        sink: &mut S,
    ) -> Result<State, LoadError<S::Error>> {
        // Twice at most: the file header says how long the program headers are.
        loop {
            let need = header_bytes(self.header.get(..have).unwrap_or_default())?;
            if need <= have {
                break;
            }
            let (taken, rest) = chunk.split_at(chunk.len().min(need - have));
            if let Some(room) = self.header.get_mut(have..have + taken.len()) {
                room.copy_from_slice(taken);
            }
            have += taken.len();
            chunk = rest;
            if have < need {
                // Only to report a wrong file as early as possible.
                header_bytes(self.header.get(..have).unwrap_or_default())?;
                return Ok(State::Headers(have));
            }
        }
        let header = self.header.get(..have).unwrap_or_default();
        let plan = Plan::parse(header, self.pie_base)?;
        sink.begin(&plan).map_err(LoadError::Sink)?;
        let placer = self.placer.insert(Placer::new(plan));
        placer.pass(header, sink).map_err(LoadError::Sink)?;
        placer.pass(chunk, sink).map_err(LoadError::Sink)?;
        Ok(State::Body)
    }
}

/// Distributes a file's bytes to the segments they belong to.
#[derive(Debug)]
struct Placer {
    plan: Plan,
    /// The segments by file offset; the first `done` are complete.
    by_offset: [Segment; MAX_PROGRAM_HEADERS],
    count: usize,
    done: usize,
    /// Offset of the next byte.
    position: u64,
    /// First offset that no segment needs.
    file_end: u64,
}

impl Placer {
    fn new(plan: Plan) -> Self {
        let mut by_offset = [Segment::default(); MAX_PROGRAM_HEADERS];
        let mut count = 0;
        for (slot, segment) in by_offset.iter_mut().zip(plan.segments().iter().filter(|s| s.file_size > 0)) {
            *slot = *segment;
            count += 1;
        }
        if let Some(used) = by_offset.get_mut(..count) {
            used.sort_unstable_by_key(|s| (s.file_offset, s.vaddr));
        }
        let file_end = plan.file_end();
        Self { plan, by_offset, count, done: 0, position: 0, file_end }
    }

    fn complete(&self) -> bool {
        self.position >= self.file_end
    }

    fn pass<S: Sink>(&mut self, chunk: &[u8], sink: &mut S) -> Result<(), S::Error> {
        let start = self.position;
        let end = start.saturating_add(chunk.len() as u64);
        self.position = end;
        if start >= self.file_end {
            return Ok(());
        }
        let live = self.by_offset.get(self.done..self.count).unwrap_or_default();
        for segment in live.iter().take_while(|s| s.file_offset < end) {
            let from = segment.file_offset.max(start);
            let to = segment.file_end().min(end);
            if from < to {
                // Both ends lie within the chunk, so the differences fit its length.
                let bytes = chunk.get((from - start) as usize..(to - start) as usize).unwrap_or_default();
                sink.place(segment.vaddr + (from - segment.file_offset), bytes)?;
            }
        }
        self.done += live.iter().take_while(|s| s.file_end() <= end).count();
        Ok(())
    }
}
