//! Faults: making a page of user memory present.
//!
//! Who pays: a page of a memory object, the object's account; a shadow made by a write, the entry's account; page tables, the task's account; whatever lies
//! in a call window, the call. A fault that fails changes nothing.
//! Deliberately absent: read-ahead, clustering, waiting for anybody.

use drover_abi::returns::{KERN_INVALID_ADDRESS, KERN_MEMORY_ERROR, KERN_PROTECTION_FAILURE};
use drover_abi::vm::{VM_MAX_ADDRESS, VM_PROT_EXECUTE, VM_PROT_READ, VM_PROT_WRITE};

use crate::account::Payer;
use crate::frame::FrameKind;
use crate::kernel::{Kernel, Stop};
use crate::machine::{Frame, Machine};
use crate::map::{Entry, LOST, NEEDS_COPY};
use crate::memory::{BACKING_LOST, BATCH, FROZEN, Memory, PRIVATE};
use crate::object::Ref;
use crate::pagetable::{PAGE, in_windows};
use crate::task::Task;

/// What an instruction (or the kernel on its behalf) wants of a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Load.
    Read,
    /// Store.
    Write,
    /// Fetch.
    Execute,
}

impl Access {
    /// The right that it needs.
    #[must_use]
    pub const fn prot(self) -> i32 {
        match self {
            Self::Read => VM_PROT_READ,
            Self::Write => VM_PROT_WRITE,
            Self::Execute => VM_PROT_EXECUTE,
        }
    }
}

/// Where a page of an entry was found.
enum Found {
    /// In the entry's object.
    Own(Frame),
    /// In an object behind it.
    Behind(Frame),
    /// Nowhere: zeros.
    Nowhere,
}

impl<M: Machine> Kernel<M> {
    /// Makes a page present for an access.
    ///
    /// # Errors
    /// `KERN_INVALID_ADDRESS`: nothing is mapped there; `KERN_PROTECTION_FAILURE`; `KERN_RESOURCE_SHORTAGE`: the payer's limit or the call's ceiling;
    /// `KERN_TERMINATED`: the payer is being destroyed; `KERN_MEMORY_ERROR`: the memory's payer is gone.
    /// Nothing changed. `Again`: more than a batch of other mappings of the page are to be taken away first.
    pub fn fault(&mut self, task: Ref<Task>, address: u64, access: Access) -> Result<(), Stop> {
        self.fault_frame(task, address, access).map(|_| ())
    }

    /// The same; returns the frame.
    pub(crate) fn fault_frame(
        &mut self,
        task: Ref<Task>,
        address: u64,
        access: Access,
    ) -> Result<Frame, Stop> {
        if address >= VM_MAX_ADDRESS {
            return Err(Stop::Error(KERN_INVALID_ADDRESS));
        }
        let page = address & !(PAGE - 1);
        match self.map_lookup(task, page) {
            Some(entry) => self.fault_entry(task, entry, page, access),
            None if in_windows(page) => self.fault_window(task, page, access),
            None => Err(Stop::Error(KERN_INVALID_ADDRESS)),
        }
    }

    fn fault_entry(
        &mut self,
        task: Ref<Task>,
        entry: Ref<Entry>,
        page: u64,
        access: Access,
    ) -> Result<Frame, Stop> {
        let e = *self.get(entry);
        if i32::from(e.prot) & access.prot() == 0 {
            return Err(Stop::Error(KERN_PROTECTION_FAILURE));
        }
        if e.head.flags & LOST != 0 || e.object.is_none() {
            return Err(Stop::Error(KERN_MEMORY_ERROR));
        }
        let copying = e.head.flags & NEEDS_COPY != 0;
        let writing = access == Access::Write;
        let found = self.find_page(e.object, e.object_offset(page))?;
        // A page of zeros would be charged to whoever pays for the object: not for one who only looks at it.
        let foreign =
            copying && matches!(found, Found::Nowhere) && self.payer_of(e.object) != self.payer_of(entry);
        if copying && (writing || foreign) {
            if self.get(e.object).refs == 1 && self.get(e.object).head.flags & FROZEN == 0 {
                // Nobody else looks at it any more.
                let flags = &mut self.get_mut(e.object).head.flags;
                *flags |= PRIVATE;
                let e = self.get_mut(entry);
                e.head.flags &= !NEEDS_COPY;
                return self.fault_page(task, entry, page, writing);
            }
            self.entry_shadow(entry)?;
            let result = self.fault_page(task, entry, page, writing);
            if result.is_err() {
                self.entry_unshadow(entry, &e);
            }
            return result;
        }
        self.fault_page(task, entry, page, writing)
    }

    /// Looks for a page along the chain of shadows.
    fn find_page(&self, object: Ref<Memory>, offset: u64) -> Result<Found, Stop> {
        let (mut at, mut offset) = (object, offset);
        loop {
            let memory = self.get(at);
            if offset < memory.size
                && let Some(frame) = self.memory_page(at, (offset / PAGE) as u32)
            {
                return Ok(if at == object { Found::Own(frame) } else { Found::Behind(frame) });
            }
            if memory.head.flags & BACKING_LOST != 0 {
                return Err(Stop::Error(KERN_MEMORY_ERROR));
            }
            if memory.shadow.is_none() {
                return Ok(Found::Nowhere);
            }
            offset += memory.shadow_offset;
            at = memory.shadow;
        }
    }

    /// The page at an offset of an object, wherever in the chain it is.
    ///
    /// # Errors
    /// `KERN_MEMORY_ERROR`: it was in an object that died.
    pub(crate) fn memory_visible(&self, object: Ref<Memory>, offset: u64) -> Result<Option<Frame>, Stop> {
        Ok(match self.find_page(object, offset)? {
            Found::Own(frame) | Found::Behind(frame) => Some(frame),
            Found::Nowhere => None,
        })
    }

    /// Resolves a page of an entry whose object may be written to if `writing`.
    fn fault_page(
        &mut self,
        task: Ref<Task>,
        entry: Ref<Entry>,
        page: u64,
        writing: bool,
    ) -> Result<Frame, Stop> {
        let e = *self.get(entry);
        let offset = e.object_offset(page);
        let index = (offset / PAGE) as u32;
        let mut prot = i32::from(e.prot);
        let flags = self.get(e.object).head.flags;
        if e.head.flags & NEEDS_COPY != 0 || flags & FROZEN != 0 {
            prot &= !VM_PROT_WRITE;
        }
        let payer = self.memory_payer(e.object);
        let (frame, fresh) = match self.find_page(e.object, offset)? {
            Found::Own(frame) => (frame, false),
            Found::Behind(frame) if !writing => {
                prot &= !VM_PROT_WRITE;
                (frame, false)
            }
            Found::Behind(frame) => {
                if flags & PRIVATE == 0 {
                    self.unmap_elsewhere(entry, offset)?;
                }
                let copy = self.new_frame_dirty(payer, FrameKind::Page)?;
                self.machine.copy(frame, 0, copy, 0, PAGE as usize);
                (copy, true)
            }
            Found::Nowhere => (self.new_frame(payer, FrameKind::Page)?, true),
        };
        if fresh && let Err(stop) = self.memory_insert(e.object, index, frame, payer) {
            self.free_frame(frame);
            return Err(stop);
        }
        if let Err(stop) = self.enter_page(task, page, frame, prot) {
            if fresh && let Some(frame) = self.memory_take(e.object, index) {
                self.free_frame(frame);
            }
            return Err(stop);
        }
        Ok(frame)
    }

    /// Unmaps a page that is about to be replaced from the other entries of the object.
    fn unmap_elsewhere(&mut self, entry: Ref<Entry>, offset: u64) -> Result<(), Stop> {
        let object = self.get(entry).object;
        let mut budget = BATCH;
        let mut at = self.get(object).entries;
        while at.is_some() {
            let e = *self.get(at);
            if at != entry && offset >= e.offset && offset - e.offset < e.end - e.start() {
                let page = e.start() + (offset - e.offset);
                self.unmap_range(e.task, page, page + PAGE, &mut budget)?;
            }
            at = e.object_next;
        }
        Ok(())
    }

    /// Maps a page of an object; tables are paid by the task's account or, in a window, by the call.
    fn enter_page(&mut self, task: Ref<Task>, page: u64, frame: Frame, prot: i32) -> Result<(), Stop> {
        if !in_windows(page) {
            let payer = self.payer_for(self.get(task).account);
            return self.page_enter(task, page, frame, prot, payer);
        }
        let act = self.window_owner(task, page).ok_or(Stop::Error(KERN_INVALID_ADDRESS))?;
        let payer = self.window_payer(act);
        let made = self.page_enter_counted(task, page, frame, prot, payer)?;
        self.get_mut(act).window_frames += made;
        Ok(())
    }

    /// Puts a shadow between an entry and its object.
    pub(crate) fn entry_shadow(&mut self, entry: Ref<Entry>) -> Result<(), Stop> {
        let e = *self.get(entry);
        let payer: Payer = self.payer_for(self.payer_of(entry));
        let shadow = self.memory_create(payer, e.end - e.start())?;
        // The entry's reference to the object becomes the shadow's.
        self.entry_unlink_object(entry);
        self.memory_shadow(shadow, e.object, e.offset);
        self.get_mut(e.object).refs -= 1;
        self.entry_link_object(entry, shadow);
        let now = self.get_mut(entry);
        now.offset = 0;
        now.head.flags &= !NEEDS_COPY;
        Ok(())
    }

    /// Takes back a fresh, empty shadow; `old` is the entry as it was.
    fn entry_unshadow(&mut self, entry: Ref<Entry>, old: &Entry) {
        let shadow = self.get(entry).object;
        self.entry_unlink_object(entry);
        self.get_mut(old.object).refs += 1;
        self.memory_unshadow(shadow);
        self.memory_drop(shadow);
        self.entry_link_object(entry, old.object);
        let now = self.get_mut(entry);
        now.offset = old.offset;
        now.head.flags |= NEEDS_COPY;
    }
}
