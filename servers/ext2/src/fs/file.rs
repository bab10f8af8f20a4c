//! The contents of files and symbolic links.

use super::device::Device;
use super::error::{Corrupt, Error};
use super::inode::Inode;
use super::layout::N_BLOCKS;
use super::map::BlockCursor;
use super::superblock::FileSystem;

/// A symbolic link shorter than this may be stored in its inode.
pub(super) const FAST_SYMLINK_MAX: u64 = N_BLOCKS as u64 * 4;

impl FileSystem {
    /// Reads from a regular file or directory at byte `offset` and returns the number of bytes read: fewer than asked only
    /// at the end of the file, 0 beyond it. Holes read as zeros. Costs one read of the device per run of adjacent blocks, plus
    /// what `cursor` does not remember of the block tree.
    ///
    /// # Errors
    /// [`Error::NotFile`], [`Error::Corrupt`], [`Error::Device`]. The contents of `buf` are then undefined.
    pub fn read<D: Device + ?Sized>(
        &self,
        dev: &D,
        inode: &Inode,
        cursor: &mut BlockCursor,
        offset: u64,
        buf: &mut [u8],
    ) -> Result<usize, Error<D::Error>> {
        if !inode.is_file() && !inode.is_dir() {
            return Err(Error::NotFile);
        }
        self.read_data(dev, inode, cursor, offset, buf)
    }

    /// [`FileSystem::read`] without regard to the file's type.
    pub(super) fn read_data<D: Device + ?Sized>(
        &self,
        dev: &D,
        inode: &Inode,
        cursor: &mut BlockCursor,
        offset: u64,
        buf: &mut [u8],
    ) -> Result<usize, Error<D::Error>> {
        let available = usize::try_from(inode.size.saturating_sub(offset)).unwrap_or(usize::MAX);
        let mut rest = match buf.get_mut(..available) {
            Some(head) => head,
            None => buf,
        };
        let total = rest.len();
        let mut position = offset;
        while !rest.is_empty() {
            let within = position & (self.block_size() as u64 - 1);
            let wanted = (within + rest.len() as u64).div_ceil(self.block_size() as u64);
            let run = self.run(dev, inode, cursor, position >> self.block_shift, wanted)?;
            let bytes = ((run.blocks << self.block_shift) - within).min(rest.len() as u64);
            let (head, tail) = rest.split_at_mut(bytes as usize);
            match run.start {
                Some(block) => {
                    dev.read((u64::from(block) << self.block_shift) + within, head).map_err(Error::Device)?
                }
                None => head.fill(0),
            }
            position += bytes;
            rest = tail;
        }
        Ok(total)
    }

    /// Reads a symbolic link's target into the front of `buf` and returns its length. The target is not checked for being
    /// a sensible name.
    ///
    /// # Errors
    /// [`Error::NotSymlink`], [`Error::BufferTooSmall`] (a block always suffices), [`Error::Corrupt`], [`Error::Device`].
    pub fn read_link<D: Device + ?Sized>(
        &self,
        dev: &D,
        inode: &Inode,
        buf: &mut [u8],
    ) -> Result<usize, Error<D::Error>> {
        if !inode.is_symlink() {
            return Err(Error::NotSymlink);
        }
        if inode.size == 0 || inode.size > self.block_size() as u64 {
            return Err(Corrupt::FileSize.into());
        }
        let needed = inode.size as usize;
        let target = buf.get_mut(..needed).ok_or(Error::BufferTooSmall { needed })?;
        if inode.size < FAST_SYMLINK_MAX && self.data_sectors(inode) == 0 {
            let bytes = inode.block.iter().flat_map(|word| word.to_le_bytes());
            for (to, from) in target.iter_mut().zip(bytes) {
                *to = from;
            }
            return Ok(needed);
        }
        self.read_data(dev, inode, &mut BlockCursor::new(), 0, target)
    }

    /// The sectors an inode counts for its data: without extended attributes and legacy translator record.
    fn data_sectors(&self, inode: &Inode) -> u32 {
        let others = u32::from(inode.file_acl != 0) + u32::from(inode.translator != 0);
        inode.sectors.saturating_sub(others * self.sectors_per_block())
    }
}
