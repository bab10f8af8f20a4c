//! bzip2, over the library's C-shaped streaming interface. The only file of this crate with `unsafe` in it.
//!
//! The library works on a `bz_stream` record that must not move while a stream is open, and asks for memory through two
//! callbacks. The record lives in a block of the caller's [`Memory`]; the callbacks lend further blocks of it and keep a
//! list of what is out, since the library does not say sizes when it frees. Per stream it asks for its state (about
//! 64 KiB) and for the block store (400,000 bytes times the level); both come back when the stream ends.
//!
//! Output goes to the caller's buffer and is handed on when that is full or the input is used up.
#![allow(unsafe_code, reason = "the library's interface is C's: raw pointers and callbacks")]

use crate::decode::{DecodeError, FeedError, Output, Stage};
use crate::limits::BLOCK_ALIGN;
use crate::memory::{Block, Memory};
use core::ffi::{c_int, c_uint, c_void};
use core::marker::PhantomData;
use core::mem::MaybeUninit;
use core::ptr::{NonNull, null_mut};
use libbz2_rs_sys::{
    BZ_DATA_ERROR_MAGIC, BZ_MEM_ERROR, BZ_OK, BZ_STREAM_END, BZ2_bzDecompress, BZ2_bzDecompressEnd,
    BZ2_bzDecompressInit, bz_stream,
};

/// Blocks that may be out at a time: the state and the block store, and room to see that there is no third.
const BLOCKS: usize = 4;
/// Bytes of a stream's magic with the level.
const STREAM_MAGIC: c_uint = 4;
/// Most bytes handed to the library at once: its counters have 32 bits.
const MOST: usize = 1 << 30;

const _: () = assert!(align_of::<bz_stream>() <= BLOCK_ALIGN);

/// A block that the library or we hold through raw pointers.
type Lent = NonNull<[MaybeUninit<u8>]>;

/// What the callbacks work on.
struct Lender<'m, M> {
    memory: M,
    out: [Option<Lent>; BLOCKS],
    blocks: PhantomData<Block<'m>>,
}

impl<'m, M: Memory<'m>> Lender<'m, M> {
    fn lend(&mut self, bytes: usize) -> Option<NonNull<u8>> {
        let slot = self.out.iter_mut().find(|slot| slot.is_none())?;
        let block = self.memory.take(bytes)?;
        if block.len() < bytes || block.as_ptr().align_offset(BLOCK_ALIGN) != 0 {
            self.memory.give_back(block);
            return None;
        }
        let lent = NonNull::from(block);
        *slot = Some(lent);
        Some(lent.cast())
    }

    fn reclaim(&mut self, start: *mut u8) {
        let slot = self.out.iter_mut().find(|slot| slot.is_some_and(|lent| lent.cast().as_ptr() == start));
        if let Some(mut lent) = slot.and_then(Option::take) {
            // SAFETY: `lent` was made from a `Block<'m>` in `lend`, which gave up that borrow, so it is valid for 'm and
            // aligned; its slot is empty now, so no second reference can be made from it; whoever calls `reclaim`
            // names memory that it will not use again.
            let block: Block<'m> = unsafe { lent.as_mut() };
            self.memory.give_back(block);
        }
    }

    fn reclaim_all(&mut self) {
        for slot in 0..BLOCKS {
            if let Some(lent) = self.out[slot] {
                self.reclaim(lent.cast().as_ptr());
            }
        }
    }
}

/// The library's `bzalloc`.
///
/// # Safety
/// `opaque` points to a `Lender<'m, M>` that nothing else refers to during the call.
unsafe extern "C" fn lend<'m, M: Memory<'m>>(opaque: *mut c_void, count: c_int, size: c_int) -> *mut c_void {
    let bytes =
        usize::try_from(count).ok().zip(usize::try_from(size).ok()).and_then(|(n, m)| n.checked_mul(m));
    let Some(bytes) = bytes else { return null_mut() };
    // SAFETY: the caller's promise.
    let lender = unsafe { &mut *opaque.cast::<Lender<'m, M>>() };
    lender.lend(bytes).map_or(null_mut(), |block| block.as_ptr().cast())
}

/// The library's `bzfree`.
///
/// # Safety
/// `opaque` as for [`lend`]; the library does not use the memory at `block` again.
unsafe extern "C" fn reclaim<'m, M: Memory<'m>>(opaque: *mut c_void, block: *mut c_void) {
    // SAFETY: the caller's promise.
    let lender = unsafe { &mut *opaque.cast::<Lender<'m, M>>() };
    lender.reclaim(block.cast());
}

/// An open stream's record, in a block of its own.
struct Record(NonNull<bz_stream>);

/// A bzip2 decoder without its buffer.
pub struct Bzip2<'m, M: Memory<'m>> {
    /// `Some` from the first byte of a stream to its end.
    record: Option<Record>,
    stage: Stage,
    /// Some stream was complete.
    any: bool,
    lender: Lender<'m, M>,
}

impl<'m, M: Memory<'m>> core::fmt::Debug for Bzip2<'m, M> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Bzip2").field("stage", &self.stage).field("any", &self.any).finish_non_exhaustive()
    }
}

impl<'m, M: Memory<'m>> Bzip2<'m, M> {
    pub(crate) fn new(memory: M) -> Self {
        let lender = Lender { memory, out: [None; BLOCKS], blocks: PhantomData };
        Self { record: None, stage: Stage::Inside, any: false, lender }
    }

    pub(crate) fn complete(&self) -> bool {
        self.stage != Stage::Inside || self.may_be_garbage()
    }

    /// After a complete stream, bytes that may or may not become another's magic are as good as garbage.
    fn may_be_garbage(&self) -> bool {
        self.any && self.record.as_ref().is_some_and(|record| record.taken() < STREAM_MAGIC)
    }

    pub(crate) fn feed<E>(
        &mut self,
        mut input: &[u8],
        buffer: &mut [u8],
        output: &mut Output<'_, E>,
    ) -> Result<Stage, FeedError<E>> {
        while self.stage != Stage::Behind {
            if self.record.is_none() {
                match input.first() {
                    None => break,
                    Some(b'B') => {}
                    Some(_) if self.any => {
                        self.stage = Stage::Behind;
                        break;
                    }
                    Some(_) => return Err(DecodeError::BadMagic.into()),
                }
                self.open()?;
                self.stage = Stage::Inside;
            }
            let step = self.step(input, buffer);
            input = input.get(step.consumed..).unwrap_or_default();
            let bytes = buffer.get(..step.produced).unwrap_or_default();
            if !bytes.is_empty() {
                output(bytes).map_err(FeedError::Sink)?;
            }
            match step.code {
                BZ_OK if step.produced == buffer.len() => {}
                BZ_OK if input.is_empty() => break,
                BZ_OK if step.consumed > 0 || step.produced > 0 => {}
                BZ_STREAM_END => {
                    self.close();
                    self.any = true;
                    self.stage = Stage::Between;
                }
                BZ_DATA_ERROR_MAGIC if self.any => {
                    self.close();
                    self.stage = Stage::Behind;
                }
                BZ_DATA_ERROR_MAGIC => return Err(DecodeError::BadMagic.into()),
                BZ_MEM_ERROR => return Err(DecodeError::NoMemory.into()),
                _ => return Err(DecodeError::Corrupt.into()),
            }
        }
        Ok(if self.may_be_garbage() { Stage::Between } else { self.stage })
    }

    /// Opens a stream.
    fn open(&mut self) -> Result<(), DecodeError> {
        let block = self.lender.lend(size_of::<bz_stream>()).ok_or(DecodeError::NoMemory)?;
        let record = Record(block.cast());
        let mut fresh = bz_stream::zeroed();
        fresh.bzalloc = Some(lend::<M>);
        fresh.bzfree = Some(reclaim::<M>);
        fresh.opaque = (&raw mut self.lender).cast();
        // SAFETY: `lend` gave a block of at least this size with the alignment asserted above, which nothing else uses.
        unsafe { record.0.write(fresh) };
        // SAFETY: the record is initialised and only reached through this pointer; `bzalloc` and `bzfree` lend blocks
        // that are long enough, aligned and exclusive; `opaque` points to `self.lender`, which nobody touches meanwhile.
        let code = unsafe { BZ2_bzDecompressInit(record.0.as_ptr(), 0, 0) };
        if code == BZ_OK {
            self.record = Some(record);
            Ok(())
        } else {
            self.lender.reclaim_all();
            Err(DecodeError::NoMemory)
        }
    }

    /// Runs the library until it has used up the input, filled the buffer, or the stream ends.
    fn step(&mut self, input: &[u8], buffer: &mut [u8]) -> Step {
        let Some(record) = &self.record else {
            return Step { code: BZ_OK, consumed: 0, produced: 0 };
        };
        let given = input.len().min(MOST);
        let room = buffer.len().min(MOST);
        // SAFETY: `open` initialised the record; its block is ours until `close`, and the library is not running.
        let stream = unsafe { &mut *record.0.as_ptr() };
        stream.next_in = input.as_ptr().cast();
        stream.avail_in = given as c_uint;
        stream.next_out = buffer.as_mut_ptr().cast();
        stream.avail_out = room as c_uint;
        stream.opaque = (&raw mut self.lender).cast();
        // SAFETY: `open` initialised the stream at this very address; the input is readable and the output writable for
        // the stated numbers of bytes, for the whole call; the allocator is as in `open`, with `self.lender`'s present
        // address, as `self` may have been moved since.
        let code = unsafe { BZ2_bzDecompress(stream) };
        Step {
            code,
            consumed: given.saturating_sub(stream.avail_in as usize),
            produced: room.saturating_sub(stream.avail_out as usize),
        }
    }

    /// Ends the open stream, if there is one, and gives all blocks back.
    fn close(&mut self) {
        if let Some(record) = self.record.take() {
            // SAFETY: `open` initialised the record; its block is still ours, and the library is not running.
            let stream = unsafe { &mut *record.0.as_ptr() };
            stream.opaque = (&raw mut self.lender).cast();
            // SAFETY: the stream was initialised at this address and is ended only here, as the record was taken out;
            // the allocator is as in `step`. The code says nothing: a valid stream always ends.
            let _ = unsafe { BZ2_bzDecompressEnd(stream) };
            self.lender.reclaim_all();
        }
    }
}

impl<'m, M: Memory<'m>> Drop for Bzip2<'m, M> {
    fn drop(&mut self) {
        self.close();
    }
}

/// What one run of the library did.
struct Step {
    code: c_int,
    consumed: usize,
    produced: usize,
}

impl Record {
    /// Bytes of the file that this stream took so far, at most `c_uint::MAX`.
    fn taken(&self) -> c_uint {
        // SAFETY: a record exists from `open` to `close`, where its block is initialised and ours; the library, the only
        // one that writes it, is not running.
        let stream = unsafe { &*self.0.as_ptr() };
        if stream.total_in_hi32 == 0 { stream.total_in_lo32 } else { c_uint::MAX }
    }
}
