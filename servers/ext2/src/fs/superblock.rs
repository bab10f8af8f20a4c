//! Mounting: the superblock and the table of groups are checked once, and what later operations need of them is kept
//! by value. Free counts are not kept; they live on the device.

use zerocopy::{FromZeros, IntoBytes};

use super::device::{Device, read_record};
use super::error::{Corrupt, Error, Refusal};
use super::layout::{
    COMPAT_EXT_ATTR, COMPAT_RESIZE_INODE, GROUP_DESCRIPTOR_SIZE, GroupDescriptor, INCOMPAT_FILETYPE, MAGIC,
    OS_FREEBSD, OS_HURD, OS_LINUX, RO_COMPAT_BTREE_DIR, RO_COMPAT_LARGE_FILE, RO_COMPAT_SPARSE_SUPER,
    SUPERBLOCK_OFFSET, Superblock,
};

/// Most block groups a mounted image may have (2 TiB of 4 KiB blocks in groups of the usual size). It bounds the time of
/// [`FileSystem::mount`] and of a search for a free block.
pub const MAX_GROUPS: u32 = 16384;

/// Groups whose inode table's place is kept in the [`FileSystem`]; inodes of later groups cost a read of the descriptor.
const CACHED_GROUPS: usize = 64;

const BASE_INODE_SIZE: u16 = 128;
const BASE_FIRST_INODE: u32 = 11;

/// The operating system an image was made for; it decides how some bytes of an inode are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CreatorOs {
    /// Linux.
    Linux,
    /// The Hurd: inodes hold a translator, an author and the high half of the mode.
    Hurd,
    /// FreeBSD.
    FreeBsd,
    /// Any other number.
    Other(u32),
}

/// A mounted file system: the checked facts of its superblock. Plain data; all state that changes is on the device.
///
/// Every operation takes the device anew, and must be given the one that was mounted.
#[derive(Clone, Copy, Debug)]
pub struct FileSystem {
    pub(super) block_shift: u32,
    pub(super) blocks_count: u32,
    pub(super) first_data_block: u32,
    pub(super) blocks_per_group: u32,
    pub(super) groups: u32,
    pub(super) inodes_count: u32,
    pub(super) inodes_per_group: u32,
    pub(super) inode_size: u16,
    pub(super) first_inode: u32,
    pub(super) creator: CreatorOs,
    pub(super) rev: u32,
    compat: u32,
    incompat: u32,
    ro_compat: u32,
    reserved_gdt_blocks: u32,
    uuid: [u8; 16],
    inode_tables: [u32; CACHED_GROUPS],
}

/// What `statfs` asks for. Counts are of blocks of `block_size` bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Statfs {
    /// Bytes in a block.
    pub block_size: u32,
    /// All blocks, those of the file system's own tables included.
    pub blocks: u32,
    /// Free blocks.
    pub free_blocks: u32,
    /// Free blocks beyond those reserved for the superuser.
    pub available_blocks: u32,
    /// All inodes.
    pub files: u32,
    /// Free inodes.
    pub free_files: u32,
    /// The volume's UUID.
    pub uuid: [u8; 16],
}

impl FileSystem {
    /// Checks the superblock and every group descriptor. Reads at most [`MAX_GROUPS`] * 32 bytes and a little more.
    ///
    /// Images with unknown read-only features are mounted, but [`FileSystem::is_writable`] is false.
    ///
    /// # Errors
    /// [`Error::Refused`] with the reason; [`Error::Device`], also when the device is shorter than the file system.
    pub fn mount<D: Device + ?Sized>(dev: &D) -> Result<FileSystem, Error<D::Error>> {
        let sb: Superblock = read_record(dev, SUPERBLOCK_OFFSET)?;
        let mut fs = FileSystem::from_superblock(&sb)?;
        // The end of the device decides whether the block count is true.
        let mut last = [0; 1];
        let end = u64::from(fs.blocks_count) << fs.block_shift;
        dev.read(end.saturating_sub(1), &mut last).map_err(Error::Device)?;
        fs.check_groups(dev)?;
        Ok(fs)
    }

    fn from_superblock(sb: &Superblock) -> Result<FileSystem, Refusal> {
        if sb.magic.get() != MAGIC {
            return Err(Refusal::Magic(sb.magic.get()));
        }
        let rev = sb.rev_level.get();
        if rev > 1 {
            return Err(Refusal::Revision(rev));
        }
        let dynamic = rev == 1;
        let log = sb.log_block_size.get();
        if log > 2 {
            return Err(Refusal::BlockSize(log));
        }
        let block_shift = 10 + log;
        let block_size = 1u32 << block_shift;
        let (compat, incompat, ro_compat) = match dynamic {
            true => (sb.feature_compat.get(), sb.feature_incompat.get(), sb.feature_ro_compat.get()),
            false => (0, 0, 0),
        };
        if incompat & !INCOMPAT_FILETYPE != 0 {
            return Err(Refusal::Features(incompat & !INCOMPAT_FILETYPE));
        }
        let (inode_size, first_inode) = match dynamic {
            true => (sb.inode_size.get(), sb.first_ino.get()),
            false => (BASE_INODE_SIZE, BASE_FIRST_INODE),
        };
        if !inode_size.is_power_of_two() || inode_size < BASE_INODE_SIZE || u32::from(inode_size) > block_size
        {
            return Err(Refusal::InodeSize(inode_size));
        }

        let bits = block_size * 8;
        let blocks_count = sb.blocks_count.get();
        let first_data_block = sb.first_data_block.get();
        let blocks_per_group = sb.blocks_per_group.get();
        if first_data_block != u32::from(log == 0)
            || blocks_count <= first_data_block + 1
            || blocks_per_group < 8
            || blocks_per_group > bits
        {
            return Err(Refusal::BlockCount);
        }
        let groups = (blocks_count - first_data_block).div_ceil(blocks_per_group);
        if groups > MAX_GROUPS {
            return Err(Refusal::Groups(groups));
        }
        let inodes_count = sb.inodes_count.get();
        let inodes_per_group = sb.inodes_per_group.get();
        if inodes_per_group == 0
            || inodes_per_group > bits
            || u64::from(groups) * u64::from(inodes_per_group) != u64::from(inodes_count)
            || first_inode < BASE_FIRST_INODE
            || first_inode > inodes_count
        {
            return Err(Refusal::InodeCount);
        }
        let fs = FileSystem {
            block_shift,
            blocks_count,
            first_data_block,
            blocks_per_group,
            groups,
            inodes_count,
            inodes_per_group,
            inode_size,
            first_inode,
            creator: match sb.creator_os.get() {
                OS_LINUX => CreatorOs::Linux,
                OS_HURD => CreatorOs::Hurd,
                OS_FREEBSD => CreatorOs::FreeBsd,
                other => CreatorOs::Other(other),
            },
            rev,
            compat,
            incompat,
            ro_compat,
            reserved_gdt_blocks: match compat & COMPAT_RESIZE_INODE {
                0 => 0,
                _ => u32::from(sb.reserved_gdt_blocks.get()),
            },
            uuid: sb.uuid,
            inode_tables: [0; CACHED_GROUPS],
        };
        if first_data_block + 1 + fs.descriptor_blocks() >= blocks_count {
            return Err(Refusal::BlockCount);
        }
        Ok(fs)
    }

    /// Reads the whole table of groups, a piece at a time, and keeps the places of the first inode tables.
    fn check_groups<D: Device + ?Sized>(&mut self, dev: &D) -> Result<(), Error<D::Error>> {
        let mut piece = [GroupDescriptor::new_zeroed(); 16];
        let mut first = 0;
        while first < self.groups {
            let count = piece.len().min((self.groups - first) as usize);
            let descriptors = piece.get_mut(..count).unwrap_or_default();
            dev.read(self.descriptor_offset(first), descriptors.as_mut_bytes()).map_err(Error::Device)?;
            for (descriptor, group) in descriptors.iter().zip(first..) {
                if !self.descriptor_in_range(descriptor) {
                    return Err(Refusal::GroupDescriptor(group).into());
                }
                if let Some(slot) = self.inode_tables.get_mut(group as usize) {
                    *slot = descriptor.inode_table.get();
                }
            }
            first += count as u32;
        }
        Ok(())
    }

    /// Bytes in a block: 1024, 2048 or 4096.
    pub fn block_size(&self) -> usize {
        1 << self.block_shift
    }

    /// The system the image was made for.
    pub fn creator(&self) -> CreatorOs {
        self.creator
    }

    /// False if the image has features that allow reading only.
    pub fn is_writable(&self) -> bool {
        self.ro_compat & !(RO_COMPAT_SPARSE_SUPER | RO_COMPAT_LARGE_FILE | RO_COMPAT_BTREE_DIR) == 0
    }

    /// The number of inodes; inode numbers go from 1 to it.
    pub fn inodes_count(&self) -> u32 {
        self.inodes_count
    }

    /// The numbers `statfs` reports, from the superblock on the device.
    ///
    /// # Errors
    /// [`Error::Device`].
    pub fn statfs<D: Device + ?Sized>(&self, dev: &D) -> Result<Statfs, Error<D::Error>> {
        let sb: Superblock = read_record(dev, SUPERBLOCK_OFFSET)?;
        let free_blocks = sb.free_blocks_count.get();
        Ok(Statfs {
            block_size: 1 << self.block_shift,
            blocks: self.blocks_count,
            free_blocks,
            available_blocks: free_blocks.saturating_sub(sb.r_blocks_count.get()),
            files: self.inodes_count,
            free_files: sb.free_inodes_count.get(),
            uuid: self.uuid,
        })
    }

    pub(super) fn has_ext_attr(&self) -> bool {
        self.compat & COMPAT_EXT_ATTR != 0
    }

    pub(super) fn has_file_type(&self) -> bool {
        self.incompat & INCOMPAT_FILETYPE != 0
    }

    /// 512-byte sectors in a block, the unit of an inode's count.
    pub(super) fn sectors_per_block(&self) -> u32 {
        1 << (self.block_shift - 9)
    }

    /// The byte offset of a block that holds data of some file; neither block 0 nor the superblock can.
    pub(super) fn block_offset(&self, block: u32) -> Result<u64, Corrupt> {
        if block <= self.first_data_block || block >= self.blocks_count {
            return Err(Corrupt::BlockNumber(block));
        }
        Ok(u64::from(block) << self.block_shift)
    }

    /// The descriptor of a group below `groups`, checked again: the device may have changed since the mount.
    pub(super) fn descriptor<D: Device + ?Sized>(
        &self,
        dev: &D,
        group: u32,
    ) -> Result<GroupDescriptor, Error<D::Error>> {
        let descriptor = read_record(dev, self.descriptor_offset(group))?;
        if !self.descriptor_in_range(&descriptor) {
            return Err(Corrupt::GroupDescriptor(group).into());
        }
        Ok(descriptor)
    }

    /// The first block of a group's inode table.
    pub(super) fn inode_table<D: Device + ?Sized>(
        &self,
        dev: &D,
        group: u32,
    ) -> Result<u32, Error<D::Error>> {
        match self.inode_tables.get(group as usize) {
            Some(&block) => Ok(block),
            None => Ok(self.descriptor(dev, group)?.inode_table.get()),
        }
    }

    pub(super) fn descriptor_offset(&self, group: u32) -> u64 {
        (u64::from(self.first_data_block + 1) << self.block_shift) + u64::from(group) * GROUP_DESCRIPTOR_SIZE
    }

    /// The group of a block that [`FileSystem::block_offset`] accepts, and the block's bit in the group's bitmap.
    pub(super) fn group_of(&self, block: u32) -> (u32, u32) {
        let relative = block.saturating_sub(self.first_data_block);
        (relative / self.blocks_per_group, relative % self.blocks_per_group)
    }

    /// The first block of a group.
    pub(super) fn group_start(&self, group: u32) -> u32 {
        self.first_data_block + group * self.blocks_per_group
    }

    /// Blocks in a group; the last may be short.
    pub(super) fn group_len(&self, group: u32) -> u32 {
        self.blocks_per_group.min(self.blocks_count.saturating_sub(self.group_start(group)))
    }

    /// Whether the block belongs to its group's own tables rather than to files.
    pub(super) fn is_group_table(&self, descriptor: &GroupDescriptor, block: u32) -> bool {
        let (group, bit) = self.group_of(block);
        let tables = descriptor.inode_table.get();
        let head = if self.group_has_super(group) {
            1 + self.descriptor_blocks() + self.reserved_gdt_blocks
        } else {
            0
        };
        block == descriptor.block_bitmap.get()
            || block == descriptor.inode_bitmap.get()
            || (block >= tables && block - tables < self.inode_table_blocks())
            || bit < head
    }

    fn group_has_super(&self, group: u32) -> bool {
        fn is_power(mut n: u32, base: u32) -> bool {
            while n > 1 && n.is_multiple_of(base) {
                n /= base;
            }
            n == 1
        }
        self.ro_compat & RO_COMPAT_SPARSE_SUPER == 0
            || group <= 1
            || [3, 5, 7].iter().any(|&base| is_power(group, base))
    }

    fn descriptor_blocks(&self) -> u32 {
        (u64::from(self.groups) * GROUP_DESCRIPTOR_SIZE).div_ceil(1 << self.block_shift) as u32
    }

    fn inode_table_blocks(&self) -> u32 {
        (u64::from(self.inodes_per_group) * u64::from(self.inode_size)).div_ceil(1 << self.block_shift) as u32
    }

    fn descriptor_in_range(&self, descriptor: &GroupDescriptor) -> bool {
        let groups_end = self.first_data_block + self.descriptor_blocks();
        let data = |block: u32| block > groups_end && block < self.blocks_count;
        let table = descriptor.inode_table.get();
        data(descriptor.block_bitmap.get())
            && data(descriptor.inode_bitmap.get())
            && data(table)
            && u64::from(table) + u64::from(self.inode_table_blocks()) <= u64::from(self.blocks_count)
    }
}
