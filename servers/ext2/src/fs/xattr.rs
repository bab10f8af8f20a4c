//! The block of extended attributes, as far as a translator record needs it: finding one attribute on the device, and
//! editing a block in memory.
//!
//! The block is a header, entries in order of (name index, name length, name), four zero bytes, free space, and the values,
//! packed against the end. Entries and values are padded to four bytes. Editing keeps that form and refuses a block that
//! does not have it. Values in blocks of their own and attributes inside inodes are not handled.

use zerocopy::{FromBytes, IntoBytes};

use super::device::Device;
use super::error::{Corrupt, Error};
use super::layout::{XATTR_MAGIC, XattrEntry, XattrHeader};
use super::superblock::FileSystem;

/// The attribute "gnu.translator": index 10 stands for the prefix "gnu.".
pub(super) const NAME_INDEX: u8 = 10;
/// The rest of its name.
pub(super) const NAME: &[u8; 10] = b"translator";

const HEADER: usize = size_of::<XattrHeader>();
const ENTRY: usize = size_of::<XattrEntry>();
/// The zero word after the last entry.
const TERMINATOR: usize = 4;

/// Sizes are padded to this.
fn pad(len: usize) -> usize {
    len.next_multiple_of(4)
}

/// What an edit can meet.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum EditError {
    /// The block is damaged.
    Corrupt,
    /// The value does not fit beside the others.
    NoSpace,
}

/// The place of the record's value in the block of attributes `block`: offset in the block and size. Costs one read of the
/// device for every dozen attributes.
pub(super) fn find<D: Device + ?Sized>(
    fs: &FileSystem,
    dev: &D,
    block: u32,
) -> Result<Option<(usize, usize)>, Error<D::Error>> {
    const WINDOW: usize = 256;
    const LONGEST: usize = ENTRY + NAME.len();
    let base = fs.block_offset(block)?;
    let mut window = [0; WINDOW];
    let mut window_start = 0;
    dev.read(base, &mut window).map_err(Error::Device)?;
    let (header, _) = XattrHeader::read_from_prefix(&window).map_err(|_| Corrupt::ExtendedAttributes)?;
    if header.magic.get() != XATTR_MAGIC || header.blocks.get() != 1 {
        return Err(Corrupt::ExtendedAttributes.into());
    }
    let mut at = HEADER;
    while at + TERMINATOR <= fs.block_size() {
        if at + LONGEST > window_start + WINDOW && window_start + WINDOW < fs.block_size() {
            window_start = at.min(fs.block_size() - WINDOW);
            dev.read(base + window_start as u64, &mut window).map_err(Error::Device)?;
        }
        let rest = window.get(at - window_start..).unwrap_or_default();
        if rest.first_chunk() == Some(&[0; TERMINATOR]) {
            return Ok(None);
        }
        let (entry, name) = XattrEntry::read_from_prefix(rest).map_err(|_| Corrupt::ExtendedAttributes)?;
        if entry.name_index == NAME_INDEX
            && usize::from(entry.name_len) == NAME.len()
            && name.starts_with(NAME)
        {
            return Ok(Some(value_place(&entry, fs.block_size()).ok_or(Corrupt::ExtendedAttributes)?));
        }
        at += ENTRY + pad(usize::from(entry.name_len));
    }
    Err(Corrupt::ExtendedAttributes.into())
}

/// Offset and size of an entry's value, if they are inside the block.
fn value_place(entry: &XattrEntry, block_size: usize) -> Option<(usize, usize)> {
    let offset = usize::from(entry.value_offs.get());
    let size = usize::try_from(entry.value_size.get()).ok()?;
    let fits = entry.value_block.get() == 0 && offset.checked_add(size)? <= block_size;
    fits.then_some((offset, size))
}

/// What a checked block holds.
struct Shape {
    /// Where the entries end: the place of the terminator.
    entries_end: usize,
    /// Where the values begin; the block's size if there are none.
    values_start: usize,
    /// The place of the translator's entry.
    translator: Option<usize>,
    /// Where the translator's entry belongs: before the first entry that sorts after it.
    insert_at: usize,
}

/// A block of extended attributes in memory.
pub(super) struct XattrBlock<'a> {
    bytes: &'a mut [u8],
}

impl<'a> XattrBlock<'a> {
    /// The block in `bytes`, which is exactly one block of the file system. Every edit checks it first.
    pub(super) fn new(bytes: &'a mut [u8]) -> XattrBlock<'a> {
        XattrBlock { bytes }
    }

    /// Makes it an empty block with one reference.
    pub(super) fn format(&mut self) -> Result<(), EditError> {
        self.bytes.fill(0);
        let header = XattrHeader {
            magic: XATTR_MAGIC.into(),
            refcount: 1.into(),
            blocks: 1.into(),
            hash: 0.into(),
            reserved: [0; 16],
        };
        header.write_to_prefix(self.bytes).map_err(|_| EditError::Corrupt)
    }

    /// How many inodes use the block; never 0.
    pub(super) fn refcount(&self) -> Result<u32, EditError> {
        match self.header()?.refcount.get() {
            0 => Err(EditError::Corrupt),
            count => Ok(count),
        }
    }

    /// Changes the number of inodes that use it.
    pub(super) fn set_refcount(&mut self, count: u32) -> Result<(), EditError> {
        let mut header = self.header()?;
        header.refcount = count.into();
        header.write_to_prefix(self.bytes).map_err(|_| EditError::Corrupt)
    }

    /// Whether it holds no attribute at all.
    pub(super) fn is_empty(&self) -> Result<bool, EditError> {
        Ok(self.shape()?.entries_end == HEADER)
    }

    /// Whether it holds a translator record.
    pub(super) fn has_translator(&self) -> Result<bool, EditError> {
        Ok(self.shape()?.translator.is_some())
    }

    /// Removes the translator record, if there is one.
    pub(super) fn remove(&mut self) -> Result<(), EditError> {
        let shape = self.shape()?;
        let Some(at) = shape.translator else { return Ok(()) };
        let entry = self.entry(at)?;
        let (offset, size) = value_place(&entry, self.bytes.len()).ok_or(EditError::Corrupt)?;
        let hole = pad(size);
        if hole > 0 {
            // Values below the hole move up over it.
            self.bytes.copy_within(shape.values_start..offset, shape.values_start + hole);
            let freed = self.bytes.get_mut(shape.values_start..shape.values_start + hole);
            freed.ok_or(EditError::Corrupt)?.fill(0);
            let mut other = HEADER;
            while other < shape.entries_end {
                let mut moved = self.entry(other)?;
                if moved.value_size.get() != 0 && usize::from(moved.value_offs.get()) < offset {
                    moved.value_offs += hole as u16;
                    self.put_entry(other, &moved)?;
                }
                other += ENTRY + pad(usize::from(moved.name_len));
            }
        }
        let len = ENTRY + pad(NAME.len());
        self.bytes.copy_within(at + len..shape.entries_end, at);
        self.bytes.get_mut(shape.entries_end - len..shape.entries_end).ok_or(EditError::Corrupt)?.fill(0);
        self.rehash()
    }

    /// Adds the translator record `value` (not empty); there must be none. A refused value changes nothing.
    pub(super) fn insert(&mut self, value: &[u8]) -> Result<(), EditError> {
        let shape = self.shape()?;
        let len = ENTRY + pad(NAME.len());
        let free = shape.values_start - shape.entries_end - TERMINATOR;
        if shape.translator.is_some() {
            return Err(EditError::Corrupt);
        }
        if value.len() > free || len + pad(value.len()) > free {
            return Err(EditError::NoSpace);
        }
        let offset = shape.values_start - pad(value.len());
        let place = self.bytes.get_mut(offset..shape.values_start).ok_or(EditError::Corrupt)?;
        place.fill(0);
        place.get_mut(..value.len()).ok_or(EditError::Corrupt)?.copy_from_slice(value);
        let hash = entry_hash(NAME, place);

        self.bytes.copy_within(shape.insert_at..shape.entries_end, shape.insert_at + len);
        let name =
            self.bytes.get_mut(shape.insert_at + ENTRY..shape.insert_at + len).ok_or(EditError::Corrupt)?;
        name.fill(0);
        name.get_mut(..NAME.len()).ok_or(EditError::Corrupt)?.copy_from_slice(NAME);
        let entry = XattrEntry {
            name_len: NAME.len() as u8,
            name_index: NAME_INDEX,
            value_offs: (offset as u16).into(),
            value_block: 0.into(),
            value_size: (value.len() as u32).into(),
            hash: hash.into(),
        };
        self.put_entry(shape.insert_at, &entry)?;
        self.rehash()
    }

    /// Checks the whole block. Afterwards all offsets in it can be trusted: entries, terminator and values are inside and
    /// disjoint.
    fn shape(&self) -> Result<Shape, EditError> {
        let header = self.header()?;
        if header.magic.get() != XATTR_MAGIC || header.blocks.get() != 1 {
            return Err(EditError::Corrupt);
        }
        let mut shape = Shape {
            entries_end: HEADER,
            values_start: self.bytes.len(),
            translator: None,
            insert_at: HEADER,
        };
        let mut values = 0;
        while self.word(shape.entries_end).ok_or(EditError::Corrupt)? != [0; 4] {
            let at = shape.entries_end;
            let entry = self.entry(at)?;
            let len = ENTRY + pad(usize::from(entry.name_len));
            let name = self.bytes.get(at + ENTRY..at + ENTRY + usize::from(entry.name_len));
            let key = (entry.name_index, entry.name_len, name.ok_or(EditError::Corrupt)?);
            match key.cmp(&(NAME_INDEX, NAME.len() as u8, NAME)) {
                core::cmp::Ordering::Less => shape.insert_at = at + len,
                core::cmp::Ordering::Equal if shape.translator.is_none() => shape.translator = Some(at),
                core::cmp::Ordering::Equal => return Err(EditError::Corrupt),
                core::cmp::Ordering::Greater => (),
            }
            let (offset, size) = value_place(&entry, self.bytes.len()).ok_or(EditError::Corrupt)?;
            if size != 0 {
                if !offset.is_multiple_of(4) {
                    return Err(EditError::Corrupt);
                }
                shape.values_start = shape.values_start.min(offset);
                values += pad(size);
            }
            shape.entries_end = at + len;
        }
        // Values may leave gaps, but not overlap entries or each other.
        let used = shape.entries_end + TERMINATOR;
        if used > shape.values_start
            || values > self.bytes.len() - shape.values_start
            || self.values_overlap(&shape)?
        {
            return Err(EditError::Corrupt);
        }
        Ok(shape)
    }

    /// Whether two values share bytes. Quadratic in the number of attributes, of which a block holds at most 250.
    fn values_overlap(&self, shape: &Shape) -> Result<bool, EditError> {
        let mut first = HEADER;
        while first < shape.entries_end {
            let entry = self.entry(first)?;
            let next = first + ENTRY + pad(usize::from(entry.name_len));
            let (start, size) = value_place(&entry, self.bytes.len()).ok_or(EditError::Corrupt)?;
            let mut second = next;
            while second < shape.entries_end {
                let other = self.entry(second)?;
                let (other_start, other_size) =
                    value_place(&other, self.bytes.len()).ok_or(EditError::Corrupt)?;
                if size != 0
                    && other_size != 0
                    && start < other_start + pad(other_size)
                    && other_start < start + pad(size)
                {
                    return Ok(true);
                }
                second += ENTRY + pad(usize::from(other.name_len));
            }
            first = next;
        }
        Ok(false)
    }

    /// Computes the header's hash, by which Linux finds equal blocks to share; 0 says "do not share".
    fn rehash(&mut self) -> Result<(), EditError> {
        let mut hash = 0u32;
        let mut at = HEADER;
        while self.word(at).ok_or(EditError::Corrupt)? != [0; 4] {
            let entry = self.entry(at)?;
            if entry.hash.get() == 0 {
                hash = 0;
                break;
            }
            hash = hash.rotate_left(16) ^ entry.hash.get();
            at += ENTRY + pad(usize::from(entry.name_len));
        }
        let mut header = self.header()?;
        header.hash = hash.into();
        header.write_to_prefix(self.bytes).map_err(|_| EditError::Corrupt)
    }

    fn header(&self) -> Result<XattrHeader, EditError> {
        XattrHeader::read_from_prefix(self.bytes).map(|(header, _)| header).map_err(|_| EditError::Corrupt)
    }

    fn entry(&self, at: usize) -> Result<XattrEntry, EditError> {
        let rest = self.bytes.get(at..).ok_or(EditError::Corrupt)?;
        XattrEntry::read_from_prefix(rest).map(|(entry, _)| entry).map_err(|_| EditError::Corrupt)
    }

    fn put_entry(&mut self, at: usize, entry: &XattrEntry) -> Result<(), EditError> {
        let rest = self.bytes.get_mut(at..).ok_or(EditError::Corrupt)?;
        entry.write_to_prefix(rest).map_err(|_| EditError::Corrupt)
    }

    fn word(&self, at: usize) -> Option<[u8; 4]> {
        self.bytes.get(at..)?.first_chunk().copied()
    }
}

/// The hash of an entry: over the bytes of the name, then over the little-endian words of the padded value.
fn entry_hash(name: &[u8], padded_value: &[u8]) -> u32 {
    let hash = name.iter().fold(0u32, |hash, &byte| hash.rotate_left(5) ^ u32::from(byte));
    let (words, _) = padded_value.as_chunks();
    words.iter().fold(hash, |hash, word| hash.rotate_left(16) ^ u32::from_le_bytes(*word))
}
