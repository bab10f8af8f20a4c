//! The records on the disk, little-endian and unaligned, and the numbers that go with them. Field names are ext2's without
//! their prefixes. No field is trusted here; the modules that use one check it.

use zerocopy::little_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Byte offset of the superblock, whatever the block size.
pub(super) const SUPERBLOCK_OFFSET: u64 = 1024;
/// `s_magic`.
pub(super) const MAGIC: u16 = 0xef53;

/// `s_feature_compat`: inodes may have a block of extended attributes.
pub(super) const COMPAT_EXT_ATTR: u32 = 0x8;
/// `s_feature_compat`: blocks after the table of groups are reserved for its growth.
pub(super) const COMPAT_RESIZE_INODE: u32 = 0x10;
/// `s_feature_incompat`: directory records carry a file type; the only incompatible feature known here.
pub(super) const INCOMPAT_FILETYPE: u32 = 0x2;
/// `s_feature_ro_compat`: not every group has a copy of the superblock.
pub(super) const RO_COMPAT_SPARSE_SUPER: u32 = 0x1;
/// `s_feature_ro_compat`: a regular file may be 2 GiB or larger.
pub(super) const RO_COMPAT_LARGE_FILE: u32 = 0x2;
/// `s_feature_ro_compat`: never used by anyone, but known.
pub(super) const RO_COMPAT_BTREE_DIR: u32 = 0x4;

/// `s_creator_os`.
pub(super) const OS_LINUX: u32 = 0;
/// `s_creator_os`.
pub(super) const OS_HURD: u32 = 1;
/// `s_creator_os`.
pub(super) const OS_FREEBSD: u32 = 3;

/// The superblock as far as it is used.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct Superblock {
    pub(super) inodes_count: U32,
    pub(super) blocks_count: U32,
    pub(super) r_blocks_count: U32,
    pub(super) free_blocks_count: U32,
    pub(super) free_inodes_count: U32,
    pub(super) first_data_block: U32,
    pub(super) log_block_size: U32,
    pub(super) log_frag_size: U32,
    pub(super) blocks_per_group: U32,
    pub(super) frags_per_group: U32,
    pub(super) inodes_per_group: U32,
    pub(super) mtime: U32,
    pub(super) wtime: U32,
    pub(super) mnt_count: U16,
    pub(super) max_mnt_count: U16,
    pub(super) magic: U16,
    pub(super) state: U16,
    pub(super) errors: U16,
    pub(super) minor_rev_level: U16,
    pub(super) lastcheck: U32,
    pub(super) checkinterval: U32,
    pub(super) creator_os: U32,
    pub(super) rev_level: U32,
    pub(super) def_resuid: U16,
    pub(super) def_resgid: U16,
    pub(super) first_ino: U32,
    pub(super) inode_size: U16,
    pub(super) block_group_nr: U16,
    pub(super) feature_compat: U32,
    pub(super) feature_incompat: U32,
    pub(super) feature_ro_compat: U32,
    pub(super) uuid: [u8; 16],
    pub(super) volume_name: [u8; 16],
    pub(super) last_mounted: [u8; 64],
    pub(super) algorithm_usage_bitmap: U32,
    pub(super) prealloc_blocks: u8,
    pub(super) prealloc_dir_blocks: u8,
    pub(super) reserved_gdt_blocks: U16,
}

/// Byte offset of `s_free_blocks_count` on the device.
pub(super) const FREE_BLOCKS_OFFSET: u64 =
    SUPERBLOCK_OFFSET + core::mem::offset_of!(Superblock, free_blocks_count) as u64;

/// One entry of the table of groups.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct GroupDescriptor {
    pub(super) block_bitmap: U32,
    pub(super) inode_bitmap: U32,
    pub(super) inode_table: U32,
    pub(super) free_blocks_count: U16,
    pub(super) free_inodes_count: U16,
    pub(super) used_dirs_count: U16,
    pub(super) pad: U16,
    pub(super) reserved: [u8; 12],
}

/// Size of a group descriptor in bytes.
pub(super) const GROUP_DESCRIPTOR_SIZE: u64 = size_of::<GroupDescriptor>() as u64;

/// Block pointers in an inode: twelve direct ones, then single, double and triple indirect.
pub(super) const N_BLOCKS: usize = 15;
/// Direct block pointers in an inode.
pub(super) const N_DIRECT: usize = 12;

/// The first 128 bytes of an inode, with the Hurd's names where the operating systems differ.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct RawInode {
    pub(super) mode: U16,
    pub(super) uid: U16,
    pub(super) size: U32,
    pub(super) atime: U32,
    pub(super) ctime: U32,
    pub(super) mtime: U32,
    pub(super) dtime: U32,
    pub(super) gid: U16,
    pub(super) links_count: U16,
    pub(super) blocks: U32,
    pub(super) flags: U32,
    pub(super) translator: U32,
    pub(super) block: [U32; N_BLOCKS],
    pub(super) generation: U32,
    pub(super) file_acl: U32,
    pub(super) size_high: U32,
    pub(super) faddr: U32,
    pub(super) frag: u8,
    pub(super) fsize: u8,
    pub(super) mode_high: U16,
    pub(super) uid_high: U16,
    pub(super) gid_high: U16,
    pub(super) author: U32,
}

/// The fixed part of a directory record; the name follows. Without the FILETYPE feature `file_type` is the high half of a
/// 16-bit name length.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct DirRecord {
    pub(super) inode: U32,
    pub(super) rec_len: U16,
    pub(super) name_len: u8,
    pub(super) file_type: u8,
}

/// First word of a block of extended attributes.
pub(super) const XATTR_MAGIC: u32 = 0xea02_0000;

/// Head of a block of extended attributes.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct XattrHeader {
    pub(super) magic: U32,
    pub(super) refcount: U32,
    pub(super) blocks: U32,
    pub(super) hash: U32,
    pub(super) reserved: [u8; 16],
}

/// One extended attribute; the name follows, padded to four bytes.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct XattrEntry {
    pub(super) name_len: u8,
    pub(super) name_index: u8,
    pub(super) value_offs: U16,
    pub(super) value_block: U32,
    pub(super) value_size: U32,
    pub(super) hash: U32,
}

const _: () = {
    assert!(size_of::<Superblock>() == 208);
    assert!(core::mem::offset_of!(Superblock, magic) == 56);
    assert!(core::mem::offset_of!(Superblock, creator_os) == 72);
    assert!(core::mem::offset_of!(Superblock, feature_compat) == 92);
    assert!(size_of::<GroupDescriptor>() == 32);
    assert!(size_of::<RawInode>() == 128);
    assert!(core::mem::offset_of!(RawInode, translator) == 36);
    assert!(core::mem::offset_of!(RawInode, block) == 40);
    assert!(core::mem::offset_of!(RawInode, file_acl) == 104);
    assert!(core::mem::offset_of!(RawInode, mode_high) == 118);
    assert!(core::mem::offset_of!(RawInode, author) == 124);
    assert!(size_of::<DirRecord>() == 8);
    assert!(size_of::<XattrHeader>() == 32);
    assert!(size_of::<XattrEntry>() == 16);
};
