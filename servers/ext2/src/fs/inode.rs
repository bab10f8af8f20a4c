//! Inodes: from 128 bytes on the device to numbers a `stat` can use, and back for the few fields that are written.

use super::device::{Device, read_record};
use super::error::Error;
use super::layout::{N_BLOCKS, RawInode};
use super::superblock::{CreatorOs, FileSystem};

/// The root directory.
pub const ROOT_INODE: u32 = 2;

/// Mask of the file type in a mode.
pub const S_IFMT: u32 = 0o170000;
/// Named pipe.
pub const S_IFIFO: u32 = 0o010000;
/// Character device.
pub const S_IFCHR: u32 = 0o020000;
/// Directory.
pub const S_IFDIR: u32 = 0o040000;
/// Block device.
pub const S_IFBLK: u32 = 0o060000;
/// Regular file.
pub const S_IFREG: u32 = 0o100000;
/// Symbolic link.
pub const S_IFLNK: u32 = 0o120000;
/// Socket.
pub const S_IFSOCK: u32 = 0o140000;
/// The node has a passive translator. Never stored: it says that a record exists.
pub const S_IPTRANS: u32 = 0o010000000;
/// All bits about translators, passive and active.
pub const S_ITRANS: u32 = 0o070000000;

/// `h_i_author` of a file whose author is its owner.
const AUTHOR_IS_OWNER: u32 = 0xffff_ffff;

/// An inode as read. Times are in seconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Inode {
    /// Its number.
    pub number: u32,
    /// Type and permissions; on the Hurd's images 32 bits of them. [`S_IPTRANS`] is set if there is a translator record.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Author; the owner where the image has none.
    pub author: u32,
    /// Size in bytes. Not checked against what the block tree can hold.
    pub size: u64,
    /// Last access.
    pub atime: u32,
    /// Last change of the inode.
    pub ctime: u32,
    /// Last change of the data.
    pub mtime: u32,
    /// Hard links.
    pub links: u16,
    /// 512-byte sectors in use: data, indirect blocks, extended attributes and legacy translator record.
    pub sectors: u32,
    /// `i_flags`.
    pub flags: u32,
    /// Distinguishes uses of the same inode number.
    pub generation: u32,
    pub(super) block: [u32; N_BLOCKS],
    pub(super) file_acl: u32,
    pub(super) translator: u32,
}

impl Inode {
    /// The type bits of the mode, e.g. [`S_IFREG`].
    pub fn file_type(&self) -> u32 {
        self.mode & S_IFMT
    }

    /// Whether this is a directory.
    pub fn is_dir(&self) -> bool {
        self.file_type() == S_IFDIR
    }

    /// Whether this is a regular file.
    pub fn is_file(&self) -> bool {
        self.file_type() == S_IFREG
    }

    /// Whether this is a symbolic link.
    pub fn is_symlink(&self) -> bool {
        self.file_type() == S_IFLNK
    }

    /// Whether there is a passive translator record in either form.
    pub fn has_translator(&self) -> bool {
        self.mode & S_IPTRANS != 0
    }

    /// The device number of a character or block device: the old 16-bit form if that is set, else the 32-bit one. 0 for
    /// all other files.
    pub fn device_number(&self) -> u32 {
        match (self.file_type(), self.block) {
            (S_IFCHR | S_IFBLK, [0, new, ..]) => new,
            (S_IFCHR | S_IFBLK, [old, ..]) => old,
            _ => 0,
        }
    }
}

impl FileSystem {
    /// Reads an inode. Costs one small read of the device, and one or two more if the file has extended attributes.
    ///
    /// A damaged record of a translator does not make the inode unreadable; it counts as none.
    ///
    /// # Errors
    /// [`Error::InvalidInode`], [`Error::InodeNotInUse`], [`Error::Corrupt`], [`Error::Device`].
    pub fn inode<D: Device + ?Sized>(&self, dev: &D, number: u32) -> Result<Inode, Error<D::Error>> {
        let (_, raw) = self.raw_inode(dev, number)?;
        self.decode_inode(dev, number, &raw)
    }

    /// The 128 bytes of an inode that is in use, and their offset.
    pub(super) fn raw_inode<D: Device + ?Sized>(
        &self,
        dev: &D,
        number: u32,
    ) -> Result<(u64, RawInode), Error<D::Error>> {
        if (number < self.first_inode && number != ROOT_INODE) || number > self.inodes_count {
            return Err(Error::InvalidInode(number));
        }
        let index = number - 1;
        let table = self.inode_table(dev, index / self.inodes_per_group)?;
        let offset = (u64::from(table) << self.block_shift)
            + u64::from(index % self.inodes_per_group) * u64::from(self.inode_size);
        let raw: RawInode = read_record(dev, offset)?;
        if raw.links_count.get() == 0 || raw.mode.get() == 0 {
            return Err(Error::InodeNotInUse(number));
        }
        Ok((offset, raw))
    }

    pub(super) fn decode_inode<D: Device + ?Sized>(
        &self,
        dev: &D,
        number: u32,
        raw: &RawInode,
    ) -> Result<Inode, Error<D::Error>> {
        let hurd = self.creator == CreatorOs::Hurd;
        let wide_ids = !matches!(self.creator, CreatorOs::Other(_));
        let join = |low: u16, high: u16| u32::from(low) | if wide_ids { u32::from(high) << 16 } else { 0 };
        let uid = join(raw.uid.get(), raw.uid_high.get());
        let mode = u32::from(raw.mode.get()) | if hurd { u32::from(raw.mode_high.get()) << 16 } else { 0 };
        let is_file = mode & S_IFMT == S_IFREG;
        let high = if is_file && self.rev > 0 { u64::from(raw.size_high.get()) << 32 } else { 0 };
        let mut inode = Inode {
            number,
            mode: mode & !S_ITRANS,
            uid,
            gid: join(raw.gid.get(), raw.gid_high.get()),
            author: match raw.author.get() {
                author if hurd && author != AUTHOR_IS_OWNER => author,
                _ => uid,
            },
            size: u64::from(raw.size.get()) | high,
            atime: raw.atime.get(),
            ctime: raw.ctime.get(),
            mtime: raw.mtime.get(),
            links: raw.links_count.get(),
            sectors: raw.blocks.get(),
            flags: raw.flags.get(),
            generation: raw.generation.get(),
            block: raw.block.map(|block| block.get()),
            file_acl: raw.file_acl.get(),
            translator: if hurd { raw.translator.get() } else { 0 },
        };
        if self.translator_exists(dev, &inode)? {
            inode.mode |= S_IPTRANS;
        }
        Ok(inode)
    }
}
