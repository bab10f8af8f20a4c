//! Passive translator records: the argument vector, NUL-terminated words one after the other ("argz"), of the program that
//! is to be started on a node.
//!
//! A record is stored in one of two forms: the *legacy* block named by `h_i_translator` (a 16-bit length, then the argz; only
//! on images made for the Hurd), or the extended attribute "gnu.translator". Both are read, the legacy form first. A
//! record is written as an attribute if the image has attributes, and then replaces a legacy one; else as a legacy block. That
//! is possible for regular files, directories and symbolic links with a block: e2fsck takes the legacy block of any other inode
//! for a free one.
//!
//! Order of writing: a new block is taken, then filled, then named by the inode; only then is anything given up. An exit
//! between two writes can leave a block that nobody uses and counts of free blocks that are off by one, never an inode that
//! names a free block.

use zerocopy::IntoBytes;
use zerocopy::little_endian::U16;

use super::device::{Device, read_record, write_record};
use super::error::{Corrupt, Error};
use super::file::FAST_SYMLINK_MAX;
use super::inode::{Inode, S_IFDIR, S_IFLNK, S_IFMT, S_IFREG};
use super::layout::RawInode;
use super::superblock::{CreatorOs, FileSystem};
use super::xattr::{self, EditError, XattrBlock};

impl<E> From<EditError> for Error<E> {
    fn from(error: EditError) -> Self {
        match error {
            EditError::Corrupt => Error::Corrupt(Corrupt::ExtendedAttributes),
            EditError::NoSpace => Error::NoSpace,
        }
    }
}

/// Size of the length before a legacy record.
const LEGACY_HEAD: usize = size_of::<U16>();

/// Where a record is on the device.
struct Place {
    offset: u64,
    len: usize,
}

/// What is to happen to the block that holds the new state; its contents are in the scratch buffer.
enum Store {
    /// There is nothing to write.
    Nothing,
    /// It replaces this block.
    InPlace(u32),
    /// It needs a block of its own.
    New,
}

/// A change, fully decided and checked.
struct Plan {
    store: Store,
    /// A shared block of attributes that loses one reference: its number, and the count that remains.
    unshare: Option<(u32, u32)>,
    /// Blocks to give back once the inode does not name them any more.
    free: [Option<u32>; 2],
    /// Which field of the inode names the stored block.
    form: Form,
}

/// The two forms of a record.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Legacy,
    Attribute,
}

impl FileSystem {
    /// Reads a node's passive translator record into the front of `buf`; returns its length, or `None` if there is none.
    ///
    /// # Errors
    /// [`Error::BufferTooSmall`] (a block always suffices), [`Error::Corrupt`], [`Error::Device`].
    pub fn translator<D: Device + ?Sized>(
        &self,
        dev: &D,
        inode: &Inode,
        buf: &mut [u8],
    ) -> Result<Option<usize>, Error<D::Error>> {
        let Some(place) = self.find_translator(dev, inode)? else { return Ok(None) };
        let record = buf.get_mut(..place.len).ok_or(Error::BufferTooSmall { needed: place.len })?;
        dev.read(place.offset, record).map_err(Error::Device)?;
        Ok(Some(place.len))
    }

    /// Whether a sound, non-empty record exists.
    pub(super) fn translator_exists<D: Device + ?Sized>(
        &self,
        dev: &D,
        inode: &Inode,
    ) -> Result<bool, Error<D::Error>> {
        match self.find_translator(dev, inode) {
            Ok(place) => Ok(place.is_some()),
            Err(Error::Corrupt(_)) => Ok(false),
            Err(other) => Err(other),
        }
    }

    fn find_translator<D: Device + ?Sized>(
        &self,
        dev: &D,
        inode: &Inode,
    ) -> Result<Option<Place>, Error<D::Error>> {
        let place = if inode.translator != 0 {
            let base = self.block_offset(inode.translator)?;
            let len: U16 = read_record(dev, base)?;
            let len = usize::from(len.get());
            if len + LEGACY_HEAD > self.block_size() {
                return Err(Corrupt::TranslatorRecord.into());
            }
            Some(Place { offset: base + LEGACY_HEAD as u64, len })
        } else if inode.file_acl != 0 {
            let base = self.block_offset(inode.file_acl)?;
            xattr::find(self, dev, inode.file_acl)?
                .map(|(offset, len)| Place { offset: base + offset as u64, len })
        } else {
            None
        };
        Ok(place.filter(|place| place.len != 0))
    }

    /// Sets a node's passive translator record to `argz`, or removes it (in both forms) if `argz` is empty, and sets the
    /// change time to `now`, seconds since 1970. Returns the inode as it is afterwards. `scratch` holds at least one block. A
    /// new record may cost a block of the device, which counts for the file.
    ///
    /// Bitmaps and counts are read, changed and written back: **no two threads may be in here at once**, nor in anything else
    /// that changes the image; readers may. A reader that meets the change halfway sees the old record or the new one, or
    /// an error, or (if a block is given back and taken again meanwhile) another record.
    ///
    /// # Errors
    /// Nothing is changed by [`Error::ReadOnly`], [`Error::NotSupported`], [`Error::NameTooLong`] (the record is longer than a
    /// block holds), [`Error::NoSpace`], [`Error::BufferTooSmall`], [`Error::Corrupt`] and the errors of
    /// [`FileSystem::inode`]. After [`Error::Device`] the old record is in place or the new one, and a block may be
    /// lost until the next check of the file system.
    pub fn set_translator<D: Device + ?Sized>(
        &self,
        dev: &D,
        number: u32,
        argz: &[u8],
        now: u32,
        scratch: &mut [u8],
    ) -> Result<Inode, Error<D::Error>> {
        if !self.is_writable() {
            return Err(Error::ReadOnly);
        }
        let needed = self.block_size();
        let block = scratch.get_mut(..needed).ok_or(Error::BufferTooSmall { needed })?;
        let (offset, mut raw) = self.raw_inode(dev, number)?;
        let plan = self.plan(dev, &raw, argz, block)?;
        let new = match plan.store {
            Store::New => Some(self.find_free_block(dev, (number - 1) / self.inodes_per_group)?),
            _ => None,
        };
        self.update_inode(&mut raw, &plan, new, argz, now)?;

        if let Some(new) = new {
            self.take_block(dev, new)?;
        }
        let stored = match (&plan.store, new) {
            (Store::InPlace(block), _) => Some(*block),
            (_, new) => new,
        };
        let written = match stored {
            Some(number) => dev.write(u64::from(number) << self.block_shift, block).map_err(Error::Device),
            None => Ok(()),
        }
        .and_then(|()| write_record(dev, offset, &raw));
        if let (Err(_), Some(new)) = (&written, new) {
            // The first error is the one to report.
            let _ = self.give_block(dev, new);
        }
        written?;
        if let Some((shared, count)) = plan.unshare {
            self.read_block(dev, shared, block)?;
            XattrBlock::new(block).set_refcount(count)?;
            dev.write(u64::from(shared) << self.block_shift, block).map_err(Error::Device)?;
        }
        for block in plan.free.into_iter().flatten() {
            self.give_block(dev, block)?;
        }
        self.decode_inode(dev, number, &raw)
    }

    /// Decides what is to be done and prepares the block to be stored in `block`. Changes nothing on the device.
    fn plan<D: Device + ?Sized>(
        &self,
        dev: &D,
        raw: &RawInode,
        argz: &[u8],
        block: &mut [u8],
    ) -> Result<Plan, Error<D::Error>> {
        let hurd = self.creator == CreatorOs::Hurd;
        let legacy = if hurd { raw.translator.get() } else { 0 };
        let file_acl = raw.file_acl.get();
        for owned in [legacy, file_acl] {
            if owned != 0 {
                self.check_owned(dev, owned)?;
            }
        }
        if legacy != 0 && legacy == file_acl {
            return Err(Corrupt::BlockNumber(legacy).into());
        }
        let mut plan = Plan { store: Store::Nothing, unshare: None, free: [None; 2], form: Form::Attribute };
        if !argz.is_empty() && !self.has_ext_attr() {
            if !hurd || !self.may_have_blocks(raw) {
                return Err(Error::NotSupported);
            }
            let head = u16::try_from(argz.len()).map_err(|_| Error::NameTooLong)?;
            block.fill(0);
            let place = block.get_mut(LEGACY_HEAD..LEGACY_HEAD + argz.len()).ok_or(Error::NameTooLong)?;
            place.copy_from_slice(argz);
            U16::new(head).write_to_prefix(block).map_err(|_| Error::NameTooLong)?;
            plan.form = Form::Legacy;
            plan.store = if legacy == 0 { Store::New } else { Store::InPlace(legacy) };
            return Ok(plan);
        }
        if argz.len() > self.block_size() {
            return Err(Error::NameTooLong);
        }
        plan.free[0] = (legacy != 0).then_some(legacy);
        let mut attributes = if file_acl == 0 {
            if argz.is_empty() {
                return Ok(plan);
            }
            let mut attributes = XattrBlock::new(block);
            attributes.format()?;
            plan.store = Store::New;
            attributes
        } else {
            self.read_block(dev, file_acl, block)?;
            let mut attributes = XattrBlock::new(block);
            if argz.is_empty() && !attributes.has_translator()? {
                return Ok(plan);
            }
            match attributes.refcount()? {
                1 => plan.store = Store::InPlace(file_acl),
                count => {
                    plan.store = Store::New;
                    plan.unshare = Some((file_acl, count - 1));
                    attributes.set_refcount(1)?;
                }
            }
            attributes.remove()?;
            attributes
        };
        if !argz.is_empty() {
            attributes.insert(argz)?;
        } else if attributes.is_empty()? {
            // The last attribute is gone: the inode gives up its block instead of keeping an empty one.
            plan.store = Store::Nothing;
            if plan.unshare.is_none() {
                plan.free[1] = Some(file_acl);
            }
        }
        Ok(plan)
    }

    /// Makes the inode say what the plan will have done.
    fn update_inode<E>(
        &self,
        raw: &mut RawInode,
        plan: &Plan,
        new: Option<u32>,
        argz: &[u8],
        now: u32,
    ) -> Result<(), Error<E>> {
        let held = |raw: &RawInode| {
            let translator = self.creator == CreatorOs::Hurd && raw.translator.get() != 0;
            u32::from(raw.file_acl.get() != 0) + u32::from(translator)
        };
        let before = held(raw);
        if plan.free[0].is_some() {
            raw.translator = 0.into();
        }
        let gives_up = argz.is_empty() && matches!(plan.store, Store::Nothing);
        if gives_up && (plan.free[1].is_some() || plan.unshare.is_some()) {
            raw.file_acl = 0.into();
        }
        if let Some(new) = new {
            match plan.form {
                Form::Legacy => raw.translator = new.into(),
                Form::Attribute => raw.file_acl = new.into(),
            }
        }
        let unit = self.sectors_per_block();
        let sectors = raw.blocks.get().checked_sub(before * unit).ok_or(Corrupt::SectorCount)?;
        raw.blocks = sectors.checked_add(held(raw) * unit).ok_or(Corrupt::SectorCount)?.into();
        raw.ctime = now.into();
        Ok(())
    }

    /// Whether e2fsck looks for blocks of this inode, and so would find a legacy record.
    fn may_have_blocks(&self, raw: &RawInode) -> bool {
        match u32::from(raw.mode.get()) & S_IFMT {
            S_IFREG | S_IFDIR => true,
            S_IFLNK => u64::from(raw.size.get()) >= FAST_SYMLINK_MAX,
            _ => false,
        }
    }

    fn read_block<D: Device + ?Sized>(
        &self,
        dev: &D,
        number: u32,
        block: &mut [u8],
    ) -> Result<(), Error<D::Error>> {
        let offset = self.block_offset(number)?;
        dev.read(offset, block).map_err(Error::Device)
    }
}
