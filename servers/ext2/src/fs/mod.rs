//! ext2, revisions 0 and 1, as `mke2fs -t ext2 -o hurd` makes it.
//!
//! * [`Device`] is all the library asks of the world: bytes at an offset.
//! * [`FileSystem::mount`] checks a superblock and yields a [`FileSystem`]: plain data, cheap to copy, shared freely.
//! * [`FileSystem::inode`], [`FileSystem::read`], [`FileSystem::read_link`], [`FileSystem::lookup`] and
//!   [`FileSystem::read_dir`] are the read path.
//! * [`FileSystem::translator`] and [`FileSystem::set_translator`] read and write passive translator records.
//!
//! Invariants:
//! * **Any bytes are a possible image.** Every number read from the device is checked before it is used; a damaged image
//!   gives an [`Error`], never a panic. Every loop has a bound that does not come from the image alone: tree walks are at
//!   most three levels deep, reads are bounded by the caller's buffer, scans of a directory by the size of the device.
//! * **No allocation.** Where more than a few hundred bytes of scratch are needed the caller passes a buffer.
//! * **Readers need no lock.** All state is on the device. Whoever changes metadata must be the only one to do so
//!   ([`FileSystem::set_translator`] says more).
//!
//! Deliberately absent: journals, extents, 64-bit and checksummed images (refused by their feature bits), creating and
//! writing files, hashed directory lookup (indexed directories are read linearly, as their format allows), extended
//! attributes inside large inodes, block caching (the device's business) and following symbolic links (the caller's).

mod alloc;
mod device;
mod dir;
mod error;
mod file;
mod inode;
mod layout;
mod map;
mod superblock;
mod translator;
mod xattr;

pub use device::Device;
pub use dir::{DirReader, Entry, FileType, NAME_MAX};
pub use error::{Corrupt, Error, Refusal};
pub use inode::{
    Inode, ROOT_INODE, S_IFBLK, S_IFCHR, S_IFDIR, S_IFIFO, S_IFLNK, S_IFMT, S_IFREG, S_IFSOCK, S_IPTRANS,
    S_ITRANS,
};
pub use map::BlockCursor;
pub use superblock::{CreatorOs, FileSystem, MAX_GROUPS, Statfs};
