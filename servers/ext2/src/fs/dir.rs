//! Directories: a file of records, none of which crosses a block. All directories are read linearly; the index blocks of
//! an indexed directory look like blocks with one free record.
//!
//! A scan stops at the first damaged record of a block: nothing after it in that block can be trusted. Its cost is bounded:
//! a directory that claims to be larger than the device is refused, every record is at least twelve bytes, and a hole is
//! damage.

use zerocopy::FromBytes;

use super::device::Device;
use super::error::{Corrupt, Error};
use super::inode::Inode;
use super::layout::DirRecord;
use super::map::BlockCursor;
use super::superblock::FileSystem;

/// The longest file name in bytes.
pub const NAME_MAX: usize = 255;

const HEAD: usize = size_of::<DirRecord>();
/// The shortest record: a name of one to four bytes.
const MIN_RECORD: usize = 12;

/// The type of a file as its directory record tells it; a hint that the inode may contradict.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileType {
    /// The image does not say, or says something unknown.
    Unknown,
    /// Regular file.
    Regular,
    /// Directory.
    Directory,
    /// Character device.
    CharDevice,
    /// Block device.
    BlockDevice,
    /// Named pipe.
    Fifo,
    /// Socket.
    Socket,
    /// Symbolic link.
    Symlink,
}

/// A directory entry in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    /// The inode number; between 1 and the number of inodes.
    pub inode: u32,
    /// The name: 1 to [`NAME_MAX`] bytes, no NUL, no slash.
    pub name: &'a [u8],
    /// The type the record tells.
    pub file_type: FileType,
}

/// A record that fits its block.
struct Record {
    inode: u32,
    len: usize,
    name_len: usize,
    file_type: u8,
}

impl FileSystem {
    /// Decodes and checks the record at `at` of a whole block.
    #[inline]
    fn record(&self, block: &[u8], at: usize) -> Result<Record, Corrupt> {
        let rest = block.get(at..).ok_or(Corrupt::DirectoryRecord)?;
        let (raw, _) = DirRecord::read_from_prefix(rest).map_err(|_| Corrupt::DirectoryRecord)?;
        let len = usize::from(raw.rec_len.get());
        let inode = raw.inode.get();
        let (name_len, file_type) = match self.has_file_type() {
            true => (usize::from(raw.name_len), raw.file_type),
            false => (usize::from(u16::from_le_bytes([raw.name_len, raw.file_type])), 0),
        };
        if len < MIN_RECORD
            || !len.is_multiple_of(4)
            || len > rest.len()
            || inode > self.inodes_count
            || (inode != 0 && (name_len == 0 || name_len > NAME_MAX || HEAD + name_len > len))
        {
            return Err(Corrupt::DirectoryRecord);
        }
        Ok(Record { inode, len, name_len, file_type })
    }

    /// The size of a directory, if it is one and its size is possible.
    fn dir_size<E>(&self, dir: &Inode) -> Result<u64, Error<E>> {
        if !dir.is_dir() {
            return Err(Error::NotDirectory);
        }
        let device = u64::from(self.blocks_count) << self.block_shift;
        if dir.size == 0 || dir.size > device || dir.size & (self.block_size() as u64 - 1) != 0 {
            return Err(Corrupt::FileSize.into());
        }
        Ok(dir.size)
    }

    /// The inode number of `name` in `dir`; `None` if there is no such entry ("." and ".." are entries like others).
    ///
    /// `scratch` holds at least one block; as many whole blocks as it holds are read at a time.
    ///
    /// # Errors
    /// [`Error::NotDirectory`], [`Error::NameTooLong`], [`Error::BufferTooSmall`], [`Error::Corrupt`] if damage is met before
    /// the name, [`Error::Device`].
    pub fn lookup<D: Device + ?Sized>(
        &self,
        dev: &D,
        dir: &Inode,
        name: &[u8],
        scratch: &mut [u8],
    ) -> Result<Option<u32>, Error<D::Error>> {
        if name.len() > NAME_MAX {
            return Err(Error::NameTooLong);
        }
        let size = self.dir_size(dir)?;
        let chunk = whole_blocks(self, scratch)?;
        let mut cursor = BlockCursor::new();
        let mut position = 0;
        while position < size {
            let read = self.load(dev, dir, &mut cursor, position, chunk)?;
            for block in chunk.get(..read).unwrap_or_default().chunks_exact(self.block_size()) {
                if let Some(inode) = self.find_in_block(block, name)? {
                    return Ok(Some(inode));
                }
            }
            position += read as u64;
        }
        Ok(None)
    }

    fn find_in_block(&self, block: &[u8], name: &[u8]) -> Result<Option<u32>, Corrupt> {
        let mut at = 0;
        while at < block.len() {
            let record = self.record(block, at)?;
            if record.name_len == name.len()
                && record.inode != 0
                && block.get(at + HEAD..at + HEAD + name.len()) == Some(name)
            {
                return Ok(Some(record.inode));
            }
            at += record.len;
        }
        Ok(None)
    }

    /// Reads whole blocks of a directory from `position` on, at least one. Damage in the block tree beyond the first block
    /// is left for later.
    fn load<D: Device + ?Sized>(
        &self,
        dev: &D,
        dir: &Inode,
        cursor: &mut BlockCursor,
        position: u64,
        chunk: &mut [u8],
    ) -> Result<usize, Error<D::Error>> {
        let read = match self.read_data(dev, dir, cursor, position, chunk) {
            Err(Error::Corrupt(_)) if chunk.len() > self.block_size() => {
                let first = chunk.get_mut(..self.block_size()).unwrap_or_default();
                self.read_data(dev, dir, cursor, position, first)?
            }
            other => other?,
        };
        if read == 0 { Err(Corrupt::FileSize.into()) } else { Ok(read) }
    }

    /// Reads a directory from the byte position `position` on: 0, or what [`DirReader::position`] returned. Any other
    /// number is safe: reading begins at the next record.
    ///
    /// `scratch` holds at least one block; as many whole blocks as it holds are read at a time.
    ///
    /// # Errors
    /// [`Error::NotDirectory`], [`Error::BufferTooSmall`], [`Error::Corrupt`] for an impossible size.
    pub fn read_dir<'a, D: Device + ?Sized>(
        &'a self,
        dev: &'a D,
        dir: &'a Inode,
        position: u64,
        scratch: &'a mut [u8],
    ) -> Result<DirReader<'a, D>, Error<D::Error>> {
        let size = self.dir_size(dir)?;
        let chunk = whole_blocks(self, scratch)?;
        let cursor = BlockCursor::new();
        Ok(DirReader { fs: self, dev, dir, size, chunk, start: 0, filled: 0, position, cursor })
    }
}

/// The front of `scratch` that is whole blocks.
fn whole_blocks<'a, E>(fs: &FileSystem, scratch: &'a mut [u8]) -> Result<&'a mut [u8], Error<E>> {
    let needed = fs.block_size();
    let usable = scratch.len() & !(needed - 1);
    match scratch.get_mut(..usable) {
        Some(chunk) if usable > 0 => Ok(chunk),
        _ => Err(Error::BufferTooSmall { needed }),
    }
}

/// A reader of a directory; see [`FileSystem::read_dir`].
pub struct DirReader<'a, D: ?Sized> {
    fs: &'a FileSystem,
    dev: &'a D,
    dir: &'a Inode,
    size: u64,
    chunk: &'a mut [u8],
    /// The position of the first byte of `chunk`, a multiple of the block size.
    start: u64,
    /// Bytes of `chunk` in use: whole blocks.
    filled: usize,
    position: u64,
    cursor: BlockCursor,
}

impl<D: Device + ?Sized> DirReader<'_, D> {
    /// Where the next record begins; a later [`FileSystem::read_dir`] can go on from here.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// The next entry in use; `None` at the end.
    ///
    /// # Errors
    /// [`Error::Corrupt`]: the damaged record, or the rest of its block, is already skipped and the caller may go on.
    /// [`Error::Device`]: nothing is skipped; the same call may be tried again.
    pub fn next_entry(&mut self) -> Result<Option<Entry<'_>>, Error<D::Error>> {
        let block_size = self.fs.block_size();
        let (record, name_start) = loop {
            if self.position >= self.size {
                return Ok(None);
            }
            if self.position < self.start || self.position - self.start >= self.filled as u64 {
                self.fill()?;
                continue;
            }
            let at = (self.position - self.start) as usize;
            let (block_start, within) = (at & !(block_size - 1), at & (block_size - 1));
            let block = self.chunk.get(block_start..block_start + block_size).unwrap_or_default();
            let record = match self.fs.record(block, within) {
                Ok(record) => record,
                Err(damage) => {
                    self.skip_block();
                    return Err(damage.into());
                }
            };
            self.position += record.len as u64;
            if record.inode != 0 {
                break (record, at + HEAD);
            }
        };
        let name = self.chunk.get(name_start..name_start + record.name_len).unwrap_or_default();
        if name.iter().any(|&byte| byte == 0 || byte == b'/') {
            return Err(Corrupt::DirectoryRecord.into());
        }
        Ok(Some(Entry { inode: record.inode, name, file_type: file_type(record.file_type) }))
    }

    /// Loads the block of `position`, and moves on to a record's beginning if `position` is not one.
    fn fill(&mut self) -> Result<(), Error<D::Error>> {
        let base = self.position & !(self.fs.block_size() as u64 - 1);
        self.filled = 0;
        match self.fs.load(self.dev, self.dir, &mut self.cursor, base, self.chunk) {
            Ok(read) => (self.start, self.filled) = (base, read),
            Err(Error::Corrupt(damage)) => {
                self.skip_block();
                return Err(damage.into());
            }
            Err(other) => return Err(other),
        }
        let block = self.chunk.get(..self.fs.block_size()).unwrap_or_default();
        let mut at = 0;
        while base + (at as u64) < self.position {
            match self.fs.record(block, at) {
                Ok(record) => at += record.len,
                Err(damage) => {
                    self.skip_block();
                    return Err(damage.into());
                }
            }
        }
        self.position = base + at as u64;
        Ok(())
    }

    /// Moves to the beginning of the next block.
    fn skip_block(&mut self) {
        let mask = self.fs.block_size() as u64 - 1;
        self.position = (self.position | mask) + 1;
    }
}

fn file_type(byte: u8) -> FileType {
    match byte {
        1 => FileType::Regular,
        2 => FileType::Directory,
        3 => FileType::CharDevice,
        4 => FileType::BlockDevice,
        5 => FileType::Fifo,
        6 => FileType::Socket,
        7 => FileType::Symlink,
        _ => FileType::Unknown,
    }
}
