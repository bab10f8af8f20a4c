//! Taking and giving back blocks: the bitmap, the group's count and the superblock's count change together.
//!
//! A change first reads and checks all it will write, then writes; if a write fails, those before it are undone as far as the
//! device lets them. Blocks reserved for the superuser are not held back: whom to refuse is the caller's decision, and
//! [`FileSystem::statfs`] tells the number.

use zerocopy::little_endian::U32;

use super::device::{Device, read_record, write_record};
use super::error::{Corrupt, Error};
use super::layout::{FREE_BLOCKS_OFFSET, GroupDescriptor};
use super::superblock::FileSystem;

/// The two directions of a change.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Change {
    Take,
    Give,
}

impl FileSystem {
    /// A free block, searched from group `goal` on. Nothing is changed. Costs a read per group without free blocks, and
    /// one bitmap.
    pub(super) fn find_free_block<D: Device + ?Sized>(
        &self,
        dev: &D,
        goal: u32,
    ) -> Result<u32, Error<D::Error>> {
        for step in 0..self.groups {
            let group = (goal % self.groups + step) % self.groups;
            let descriptor = self.descriptor(dev, group)?;
            if descriptor.free_blocks_count.get() == 0 {
                continue;
            }
            // An interrupted change can leave a count that promises more than the bitmap has.
            let Some(bit) = self.first_free_bit(dev, group, &descriptor)? else { continue };
            let block = self.group_start(group) + bit;
            if self.is_group_table(&descriptor, block) {
                return Err(Corrupt::BlockBitmap(block).into());
            }
            return Ok(block);
        }
        Err(Error::NoSpace)
    }

    fn first_free_bit<D: Device + ?Sized>(
        &self,
        dev: &D,
        group: u32,
        descriptor: &GroupDescriptor,
    ) -> Result<Option<u32>, Error<D::Error>> {
        let mut window = [0; 128];
        let bits = self.group_len(group);
        let mut offset = self.block_offset(descriptor.block_bitmap.get())?;
        let mut first = 0;
        while first < bits {
            dev.read(offset, &mut window).map_err(Error::Device)?;
            if let Some((byte, value)) = (0..).zip(window).find(|&(_, value)| value != 0xff) {
                let bit = first + byte * 8 + value.trailing_ones();
                return Ok((bit < bits).then_some(bit));
            }
            first += window.len() as u32 * 8;
            offset += window.len() as u64;
        }
        Ok(None)
    }

    /// Checks that `block` may be written on behalf of a file: in range, not one of the file system's tables, and marked as
    /// in use.
    pub(super) fn check_owned<D: Device + ?Sized>(&self, dev: &D, block: u32) -> Result<(), Error<D::Error>> {
        self.block_offset(block)?;
        let (group, bit) = self.group_of(block);
        let descriptor = self.descriptor(dev, group)?;
        let (_, byte) = self.bitmap_byte(dev, &descriptor, bit)?;
        if byte & (1 << (bit % 8)) == 0 || self.is_group_table(&descriptor, block) {
            return Err(Corrupt::BlockBitmap(block).into());
        }
        Ok(())
    }

    /// Marks a free block as used.
    pub(super) fn take_block<D: Device + ?Sized>(&self, dev: &D, block: u32) -> Result<(), Error<D::Error>> {
        self.change_block(dev, block, Change::Take)
    }

    /// Marks a used block as free.
    pub(super) fn give_block<D: Device + ?Sized>(&self, dev: &D, block: u32) -> Result<(), Error<D::Error>> {
        self.change_block(dev, block, Change::Give)
    }

    fn change_block<D: Device + ?Sized>(
        &self,
        dev: &D,
        block: u32,
        change: Change,
    ) -> Result<(), Error<D::Error>> {
        self.block_offset(block)?;
        let (group, bit) = self.group_of(block);
        let descriptor = self.descriptor(dev, group)?;
        let (bitmap_offset, old_byte) = self.bitmap_byte(dev, &descriptor, bit)?;
        let new_byte = old_byte ^ (1 << (bit % 8));
        let was_free = new_byte > old_byte;
        if was_free != (change == Change::Take) || self.is_group_table(&descriptor, block) {
            return Err(Corrupt::BlockBitmap(block).into());
        }
        let in_group = descriptor.free_blocks_count.get();
        let total: U32 = read_record(dev, FREE_BLOCKS_OFFSET)?;
        let counts = match change {
            Change::Take => in_group.checked_sub(1).zip(total.get().checked_sub(1)),
            Change::Give => in_group.checked_add(1).zip(total.get().checked_add(1)),
        };
        let (in_group, new_total) = counts.ok_or(Corrupt::FreeCount)?;
        let changed = GroupDescriptor { free_blocks_count: in_group.into(), ..descriptor };

        write_record(dev, bitmap_offset, &new_byte)?;
        let written = write_record(dev, self.descriptor_offset(group), &changed)
            .and_then(|()| write_record(dev, FREE_BLOCKS_OFFSET, &U32::new(new_total)));
        if written.is_err() {
            // The first error is the one to report; if the device fails here too, e2fsck puts the counts right.
            let _ = write_record(dev, self.descriptor_offset(group), &descriptor);
            let _ = write_record(dev, bitmap_offset, &old_byte);
        }
        written
    }

    /// The byte of the group's block bitmap that holds `bit`, and its offset on the device.
    fn bitmap_byte<D: Device + ?Sized>(
        &self,
        dev: &D,
        descriptor: &GroupDescriptor,
        bit: u32,
    ) -> Result<(u64, u8), Error<D::Error>> {
        let offset = self.block_offset(descriptor.block_bitmap.get())? + u64::from(bit / 8);
        Ok((offset, read_record(dev, offset)?))
    }
}
