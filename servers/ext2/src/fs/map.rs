//! From block numbers within a file to block numbers on the device.
//!
//! The tree below an inode is walked at most three levels deep, so pointers that form a loop cannot trap the walk; they
//! only yield wrong blocks, each checked to be inside the file system. Progress is kept in a [`BlockCursor`], so that
//! sequential reads touch each indirect block a few times instead of once per block.

use zerocopy::little_endian::U32;

use super::device::{Device, read_record};
use super::error::{Corrupt, Error};
use super::inode::Inode;
use super::layout::N_DIRECT;
use super::superblock::FileSystem;

/// Pointers read from an indirect block at a time. Divides the number in a block of any size.
const WINDOW: usize = 64;

/// Remembers the part of a file's block tree that was used last. Keep one per open file, or make one per operation: it is
/// 300 bytes and starts empty. It refers to the inode last used with it, and forgets when given another.
#[derive(Clone, Copy, Debug)]
pub struct BlockCursor {
    /// The inode this speaks of; 0 for none.
    inode: u32,
    generation: u32,
    /// The indirect block whose pointers are data blocks; 0 for none.
    leaf: u32,
    /// The file block its first pointer stands for.
    leaf_start: u64,
    /// The file block the window's first pointer stands for.
    window_start: u64,
    window_valid: bool,
    window: [U32; WINDOW],
}

impl BlockCursor {
    /// An empty cursor.
    pub const fn new() -> BlockCursor {
        BlockCursor {
            inode: 0,
            generation: 0,
            leaf: 0,
            leaf_start: 0,
            window_start: 0,
            window_valid: false,
            window: [U32::ZERO; WINDOW],
        }
    }

    fn attach(&mut self, inode: &Inode) {
        if self.inode != inode.number || self.generation != inode.generation {
            self.inode = inode.number;
            self.generation = inode.generation;
            self.leaf = 0;
            self.window_valid = false;
        }
    }
}

impl Default for BlockCursor {
    fn default() -> Self {
        BlockCursor::new()
    }
}

/// Adjacent file blocks that are adjacent on the device, or a hole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Run {
    /// The first block on the device; `None` is a hole.
    pub(super) start: Option<u32>,
    /// How many; at least 1.
    pub(super) blocks: u64,
}

/// Where the walk down the tree ended.
enum Place {
    /// At an indirect block whose pointers are data blocks, and the file block of its first pointer.
    Leaf(u32, u64),
    /// At a missing subtree that goes on for so many blocks.
    Hole(u64),
}

impl FileSystem {
    /// The run that begins at file block `logical`, at most `wanted` (> 0) blocks long. It may be shorter than the whole run
    /// only where `wanted` ends it.
    pub(super) fn run<D: Device + ?Sized>(
        &self,
        dev: &D,
        inode: &Inode,
        cursor: &mut BlockCursor,
        logical: u64,
        wanted: u64,
    ) -> Result<Run, Error<D::Error>> {
        cursor.attach(inode);
        let mut run = self.piece(dev, inode, cursor, logical, wanted)?;
        while run.blocks < wanted {
            let next = self.piece(dev, inode, cursor, logical + run.blocks, wanted - run.blocks)?;
            let adjacent = match (run.start, next.start) {
                (None, None) => true,
                (Some(start), Some(next)) => u64::from(start) + run.blocks == u64::from(next),
                _ => false,
            };
            if !adjacent {
                break;
            }
            run.blocks += next.blocks;
        }
        Ok(run)
    }

    /// Like [`FileSystem::run`], but ends where the pointers at hand do.
    fn piece<D: Device + ?Sized>(
        &self,
        dev: &D,
        inode: &Inode,
        cursor: &mut BlockCursor,
        logical: u64,
        wanted: u64,
    ) -> Result<Run, Error<D::Error>> {
        if let Some(direct) = inode.block.get(..N_DIRECT).and_then(|direct| direct.get(logical as usize..))
            && logical < N_DIRECT as u64
        {
            return Ok(self.leading_run(direct.iter().copied(), wanted)?);
        }
        let in_window = |cursor: &BlockCursor| {
            cursor.window_valid
                && logical >= cursor.window_start
                && logical - cursor.window_start < WINDOW as u64
        };
        if !in_window(cursor) {
            let pointers = self.pointers_per_block();
            if cursor.leaf == 0 || logical < cursor.leaf_start || logical - cursor.leaf_start >= pointers {
                match self.walk(dev, inode, logical)? {
                    Place::Hole(blocks) => return Ok(Run { start: None, blocks: blocks.min(wanted) }),
                    Place::Leaf(leaf, start) => (cursor.leaf, cursor.leaf_start) = (leaf, start),
                }
            }
            let index = (logical - cursor.leaf_start) & !(WINDOW as u64 - 1);
            let offset = self.block_offset(cursor.leaf)? + index * 4;
            cursor.window_valid = false;
            cursor.window = read_record(dev, offset)?;
            cursor.window_start = cursor.leaf_start + index;
            cursor.window_valid = true;
        }
        let pointers = cursor.window.iter().skip((logical - cursor.window_start) as usize);
        Ok(self.leading_run(pointers.map(|pointer| pointer.get()), wanted)?)
    }

    /// Walks from the inode to the lowest indirect block above `logical`, which must be beyond the direct blocks.
    fn walk<D: Device + ?Sized>(
        &self,
        dev: &D,
        inode: &Inode,
        logical: u64,
    ) -> Result<Place, Error<D::Error>> {
        let pointers = self.pointers_per_block();
        // `rest` counts file blocks from the start of the subtree at `node`, which covers `span` of them.
        let mut rest = logical.checked_sub(N_DIRECT as u64).ok_or(Corrupt::FileSize)?;
        let mut span = pointers;
        let mut roots = inode.block.iter().skip(N_DIRECT);
        let mut node = loop {
            let root = *roots.next().ok_or(Corrupt::FileSize)?;
            if rest < span {
                break root;
            }
            rest -= span;
            span *= pointers;
        };
        loop {
            if node == 0 {
                return Ok(Place::Hole(span - rest));
            }
            let offset = self.block_offset(node)?;
            if span == pointers {
                return Ok(Place::Leaf(node, logical - rest));
            }
            span /= pointers;
            let pointer: U32 = read_record(dev, offset + rest / span * 4)?;
            node = pointer.get();
            rest %= span;
        }
    }

    /// The run at the head of `pointers`, which is not empty.
    fn leading_run(&self, mut pointers: impl Iterator<Item = u32>, wanted: u64) -> Result<Run, Corrupt> {
        let first = pointers.next().unwrap_or(0);
        let mut blocks = 1;
        for pointer in pointers {
            let expected = if first == 0 { 0 } else { u64::from(first) + blocks };
            if blocks >= wanted || u64::from(pointer) != expected {
                break;
            }
            blocks += 1;
        }
        if first == 0 {
            return Ok(Run { start: None, blocks });
        }
        self.block_offset(first)?;
        if u64::from(first) + blocks > u64::from(self.blocks_count) {
            return Err(Corrupt::BlockNumber(self.blocks_count));
        }
        Ok(Run { start: Some(first), blocks })
    }

    fn pointers_per_block(&self) -> u64 {
        1 << (self.block_shift - 2)
    }
}
