//! What can go wrong, and whose fault it is: the device's, the image's or the caller's.

use core::fmt;

/// Failure of an operation. `E` is the device's error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error<E> {
    /// The device could not transfer the bytes.
    Device(E),
    /// The image is not one this library mounts.
    Refused(Refusal),
    /// The image contradicts itself.
    Corrupt(Corrupt),
    /// No inode of this number can be asked for (0, beyond the last, or reserved).
    InvalidInode(u32),
    /// The inode exists but no file uses it.
    InodeNotInUse(u32),
    /// The operation needs a directory.
    NotDirectory,
    /// The operation needs a symbolic link.
    NotSymlink,
    /// The operation needs a regular file or a directory.
    NotFile,
    /// The caller's buffer is too small; `needed` bytes would do.
    BufferTooSmall {
        /// Bytes needed.
        needed: usize,
    },
    /// A file name longer than [`NAME_MAX`](super::NAME_MAX), or a translator record longer than a block holds.
    NameTooLong,
    /// No free block, or no room in the block of extended attributes.
    NoSpace,
    /// The image has features that allow reading only.
    ReadOnly,
    /// There is no place for a translator record: no extended attributes, and not the Hurd's inode layout or a file without
    /// blocks.
    NotSupported,
}

/// Why an image is not mounted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The magic number is not ext2's.
    Magic(u16),
    /// A revision other than 0 and 1.
    Revision(u32),
    /// A block size other than 1, 2 or 4 KiB; the value is the field `s_log_block_size`.
    BlockSize(u32),
    /// Incompatible features other than FILETYPE; the value holds the unknown bits.
    Features(u32),
    /// The inode size is not a power of two from 128 to the block size.
    InodeSize(u16),
    /// Block count, first data block or blocks per group are impossible.
    BlockCount,
    /// Inode count or inodes per group are impossible.
    InodeCount,
    /// More block groups than [`MAX_GROUPS`](super::MAX_GROUPS).
    Groups(u32),
    /// This group's descriptor points outside the file system.
    GroupDescriptor(u32),
}

/// Which part of the image is damaged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Corrupt {
    /// A block number outside the file system.
    BlockNumber(u32),
    /// The descriptor of this group points outside the file system.
    GroupDescriptor(u32),
    /// A file larger than its block tree can be, or a directory or symbolic link of impossible size.
    FileSize,
    /// A directory record that does not fit its block, or has an impossible name or inode number.
    DirectoryRecord,
    /// A block of extended attributes with a wrong magic number, or entries or values out of place.
    ExtendedAttributes,
    /// A legacy translator record longer than its block.
    TranslatorRecord,
    /// A bitmap disagrees with what an inode says about this block.
    BlockBitmap(u32),
    /// Free-block counts disagree with the bitmaps.
    FreeCount,
    /// An inode's count of sectors is below what it is known to hold.
    SectorCount,
}

impl<E> From<Corrupt> for Error<E> {
    fn from(what: Corrupt) -> Self {
        Error::Corrupt(what)
    }
}

impl<E> From<Refusal> for Error<E> {
    fn from(why: Refusal) -> Self {
        Error::Refused(why)
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::Magic(found) => write!(f, "not ext2: magic number {found:#06x} instead of 0xef53"),
            Refusal::Revision(found) => write!(f, "unknown revision {found}"),
            Refusal::BlockSize(log) => write!(f, "unsupported block size (s_log_block_size {log})"),
            Refusal::Features(bits) => write!(f, "unsupported incompatible features {bits:#x}"),
            Refusal::InodeSize(found) => write!(f, "impossible inode size {found}"),
            Refusal::BlockCount => f.write_str("impossible number of blocks or blocks per group"),
            Refusal::InodeCount => f.write_str("impossible number of inodes or inodes per group"),
            Refusal::Groups(found) => write!(f, "too many block groups: {found}"),
            Refusal::GroupDescriptor(group) => {
                write!(f, "descriptor of group {group} points outside the file system")
            }
        }
    }
}

impl fmt::Display for Corrupt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Corrupt::BlockNumber(block) => write!(f, "block number {block} is out of range"),
            Corrupt::GroupDescriptor(group) => {
                write!(f, "descriptor of group {group} points outside the file system")
            }
            Corrupt::FileSize => f.write_str("impossible file size"),
            Corrupt::DirectoryRecord => f.write_str("malformed directory record"),
            Corrupt::ExtendedAttributes => f.write_str("malformed block of extended attributes"),
            Corrupt::TranslatorRecord => f.write_str("malformed translator record"),
            Corrupt::BlockBitmap(block) => write!(f, "block bitmap disagrees about block {block}"),
            Corrupt::FreeCount => f.write_str("free block counts disagree with the bitmaps"),
            Corrupt::SectorCount => f.write_str("inode holds more blocks than it counts"),
        }
    }
}

impl<E: fmt::Display> fmt::Display for Error<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Device(error) => write!(f, "device error: {error}"),
            Error::Refused(why) => write!(f, "cannot mount: {why}"),
            Error::Corrupt(what) => write!(f, "file system is damaged: {what}"),
            Error::InvalidInode(number) => write!(f, "no inode {number}"),
            Error::InodeNotInUse(number) => write!(f, "inode {number} is not in use"),
            Error::NotDirectory => f.write_str("not a directory"),
            Error::NotSymlink => f.write_str("not a symbolic link"),
            Error::NotFile => f.write_str("not a regular file or directory"),
            Error::BufferTooSmall { needed } => write!(f, "buffer too small: {needed} bytes needed"),
            Error::NameTooLong => f.write_str("name or record too long"),
            Error::NoSpace => f.write_str("no space left"),
            Error::ReadOnly => f.write_str("file system can only be read"),
            Error::NotSupported => f.write_str("no place for a translator record"),
        }
    }
}

impl<E: fmt::Debug + fmt::Display> core::error::Error for Error<E> {}
