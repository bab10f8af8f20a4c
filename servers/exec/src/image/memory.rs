//! Where a decoder's memory comes from: always from the caller, block by block.
//!
//! Blocks are exclusive borrows, so an implementation needs no promise beyond what the types say, and a block that is
//! given back can be lent again.

use crate::limits::BLOCK_ALIGN;
use core::mem::MaybeUninit;

/// A block of memory on loan.
pub type Block<'m> = &'m mut [MaybeUninit<u8>];

/// A lender of memory for decoders. The accounted server charges the call's arena here, the classic one its own heap.
pub trait Memory<'m> {
    /// Lends a block of at least `bytes` bytes, aligned to [`BLOCK_ALIGN`], or refuses. A block that is too short or
    /// misaligned counts as a refusal and is given back.
    fn take(&mut self, bytes: usize) -> Option<Block<'m>>;

    /// Takes back a block that [`Memory::take`] lent.
    fn give_back(&mut self, block: Block<'m>);
}

impl<'m, M: Memory<'m> + ?Sized> Memory<'m> for &mut M {
    fn take(&mut self, bytes: usize) -> Option<Block<'m>> {
        (**self).take(bytes)
    }

    fn give_back(&mut self, block: Block<'m>) {
        (**self).give_back(block);
    }
}

/// Lends nothing: for decoders that need nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoMemory;

impl<'m> Memory<'m> for NoMemory {
    fn take(&mut self, _bytes: usize) -> Option<Block<'m>> {
        None
    }

    fn give_back(&mut self, _block: Block<'m>) {}
}

/// Requests above this many bytes are given all that is left of a [`Region`].
const LARGE: usize = 128 * 1024;
/// Blocks that a [`Region`] can hold for lending again.
const SPARE: usize = 4;

/// Lends pieces of one stretch of memory: of the call arena, say, where a page costs nothing until it is touched.
///
/// A request above 128 KiB gets everything that is left; so the one large block of a decoder serves every stream of a
/// file, whatever its level. A region of [`crate::limits::decoder_memory`] bytes, plus [`Region::SLACK`], is enough for
/// one decoder.
#[derive(Debug)]
pub struct Region<'m> {
    rest: Block<'m>,
    spare: [Option<Block<'m>>; SPARE],
}

impl<'m> Region<'m> {
    /// Bytes that alignment may waste.
    pub const SLACK: usize = 4 * BLOCK_ALIGN;

    /// A region that lends from `memory`.
    #[must_use]
    pub fn new(memory: Block<'m>) -> Self {
        Self { rest: memory, spare: [const { None }; SPARE] }
    }
}

impl<'m> Memory<'m> for Region<'m> {
    fn take(&mut self, bytes: usize) -> Option<Block<'m>> {
        let fits = self
            .spare
            .iter_mut()
            .filter(|slot| slot.as_ref().is_some_and(|block| block.len() >= bytes))
            .min_by_key(|slot| slot.as_ref().map(|block| block.len()));
        if let Some(slot) = fits {
            return slot.take();
        }
        let skip = self.rest.as_ptr().align_offset(BLOCK_ALIGN);
        let room = self.rest.len().checked_sub(skip).filter(|&room| room >= bytes)?;
        let rest = core::mem::take(&mut self.rest);
        let (_, rest) = rest.split_at_mut_checked(skip)?;
        let (block, rest) = rest.split_at_mut_checked(if bytes > LARGE { room } else { bytes })?;
        self.rest = rest;
        Some(block)
    }

    fn give_back(&mut self, block: Block<'m>) {
        // Without a free slot the block is lost to this region; no decoder borrows more than three at a time.
        if let Some(slot) = self.spare.iter_mut().find(|slot| slot.is_none()) {
            *slot = Some(block);
        }
    }
}
