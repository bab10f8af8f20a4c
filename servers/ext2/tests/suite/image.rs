//! An image in memory as a device that counts what is asked of it, and helpers that walk a mounted image.

use std::cell::{Cell, RefCell};
use std::ops::Range;

use ext2::{Corrupt, Device, Error, FileSystem, Inode, ROOT_INODE};

/// The device's one error: a transfer beyond its end, or one it was told to refuse.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Refused;

pub(crate) type Failure = Error<Refused>;

pub(crate) struct Image {
    bytes: RefCell<Vec<u8>>,
    pub(crate) reads: Cell<u64>,
    writes: Cell<u64>,
    /// The writes that fail, counted from 0.
    failing: Range<u64>,
}

impl Image {
    pub(crate) fn new(bytes: Vec<u8>) -> Image {
        Image { bytes: RefCell::new(bytes), reads: Cell::new(0), writes: Cell::new(0), failing: 0..0 }
    }

    /// Lets these writes fail, counted from the making of the image.
    pub(crate) fn failing(self, failing: Range<u64>) -> Image {
        Image { failing, ..self }
    }

    pub(crate) fn to_vec(&self) -> Vec<u8> {
        self.bytes.borrow().clone()
    }

    /// Overwrites bytes behind the library's back.
    pub(crate) fn patch(&self, offset: usize, with: &[u8]) {
        self.bytes.borrow_mut()[offset..offset + with.len()].copy_from_slice(with);
    }

    pub(crate) fn word(&self, offset: usize) -> u32 {
        u32::from_le_bytes(self.bytes.borrow()[offset..offset + 4].try_into().unwrap())
    }

    /// How many reads of the device `action` takes.
    pub(crate) fn reads_of<T>(&self, action: impl FnOnce() -> T) -> (T, u64) {
        let before = self.reads.get();
        let result = action();
        (result, self.reads.get() - before)
    }
}

impl Device for Image {
    type Error = Refused;

    fn read(&self, offset: u64, buf: &mut [u8]) -> Result<(), Refused> {
        self.reads.set(self.reads.get() + 1);
        let bytes = self.bytes.borrow();
        let start = usize::try_from(offset).map_err(|_| Refused)?;
        let from = start.checked_add(buf.len()).and_then(|end| bytes.get(start..end)).ok_or(Refused)?;
        buf.copy_from_slice(from);
        Ok(())
    }

    fn write(&self, offset: u64, buf: &[u8]) -> Result<(), Refused> {
        let number = self.writes.replace(self.writes.get() + 1);
        if self.failing.contains(&number) {
            return Err(Refused);
        }
        let mut bytes = self.bytes.borrow_mut();
        let start = usize::try_from(offset).map_err(|_| Refused)?;
        let to = start.checked_add(buf.len()).and_then(|end| bytes.get_mut(start..end)).ok_or(Refused)?;
        to.copy_from_slice(buf);
        Ok(())
    }
}

/// The inode at a path below the root, without following symbolic links.
pub(crate) fn resolve(fs: &FileSystem, image: &Image, path: &str) -> Result<Option<Inode>, Failure> {
    let mut scratch = vec![0; 4096];
    let mut inode = fs.inode(image, ROOT_INODE)?;
    for name in path.split('/').filter(|name| !name.is_empty()) {
        match fs.lookup(image, &inode, name.as_bytes(), &mut scratch)? {
            Some(number) => inode = fs.inode(image, number)?,
            None => return Ok(None),
        }
    }
    Ok(Some(inode))
}

/// The inode at a path that must exist.
pub(crate) fn inode_at(fs: &FileSystem, image: &Image, path: &str) -> Inode {
    resolve(fs, image, path).expect(path).unwrap_or_else(|| panic!("{path} not found"))
}

/// A whole file, read in pieces of `step` bytes.
pub(crate) fn contents(fs: &FileSystem, image: &Image, inode: &Inode, step: usize) -> Vec<u8> {
    let mut cursor = ext2::BlockCursor::new();
    let mut all = Vec::new();
    let mut piece = vec![0xa5; step];
    loop {
        match fs.read(image, inode, &mut cursor, all.len() as u64, &mut piece).expect("read") {
            0 => return all,
            count => all.extend_from_slice(&piece[..count]),
        }
    }
}

/// All entries of a directory but "." and "..": name and inode number, sorted.
pub(crate) fn entries(fs: &FileSystem, image: &Image, dir: &Inode) -> Result<Vec<(Vec<u8>, u32)>, Failure> {
    let mut scratch = vec![0; 8192];
    let mut reader = fs.read_dir(image, dir, 0, &mut scratch)?;
    let mut found = Vec::new();
    while let Some(entry) = reader.next_entry()? {
        if entry.name != b"." && entry.name != b".." {
            found.push((entry.name.to_vec(), entry.inode));
        }
    }
    found.sort();
    Ok(found)
}

/// A node's translator record.
pub(crate) fn translator(fs: &FileSystem, image: &Image, inode: &Inode) -> Result<Option<Vec<u8>>, Failure> {
    let mut record = vec![0; fs.block_size()];
    Ok(fs.translator(image, inode, &mut record)?.map(|len| record[..len].to_vec()))
}

/// Whether the error blames the image.
pub(crate) fn is_corrupt<T>(result: Result<T, Failure>, what: Corrupt) -> bool {
    matches!(result, Err(Error::Corrupt(found)) if found == what)
}
