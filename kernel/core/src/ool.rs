//! Out-of-line data: memory on its way in a message.
//!
//! While a message holds the data they are an ordinary memory object (flag [`HELD`]), its pages charged to the sender's payer; on receipt the charge
//! moves to the receiver's payer, page by page, without a copy. Data begin at offset 0 of the object wherever they began in the sender; what follows
//! them in the last page is zeros. Pages that the sender never touched stay absent.
//! Taking and placing check and reserve first and are bounded by [`COPY_MAX`] bytes for each descriptor, so they are never restarted.

use drover_abi::returns::{
    KERN_INVALID_ADDRESS, KERN_INVALID_ARGUMENT, KERN_MEMORY_ERROR, KERN_PROTECTION_FAILURE,
    KERN_RESOURCE_SHORTAGE,
};
use drover_abi::vm::{VM_INHERIT_COPY, VM_PROT_ALL, VM_PROT_EXECUTE, VM_PROT_READ, VM_PROT_WRITE};
use drover_abi::window::WINDOW_SIZE;

use crate::account::Payer;
use crate::activation::Activation;
use crate::frame::FrameKind;
use crate::kernel::{Kernel, Stop};
use crate::machine::{Frame, Machine};
use crate::map::{LOST, Mapping, NEEDS_COPY};
use crate::memory::{HELD, Memory, PRIVATE};
use crate::object::Ref;
use crate::pagetable::{PAGE, in_windows};
use crate::task::Task;
use crate::user::COPY_MAX;
use crate::window::is_valid;

/// Pages that freeing the sender's range may visit beyond those of the data themselves.
const RELEASE: u32 = 4096;

/// A page of the sender.
#[derive(Clone, Copy)]
enum Source {
    /// Never touched.
    Zeros,
    /// To be copied.
    Copy(Frame),
    /// May be moved out of an object: nobody else sees it.
    Object(Ref<Memory>, u32),
    /// May be moved out of a call window.
    Window,
}

impl<M: Machine> Kernel<M> {
    /// What the sender sees at a page, without touching it.
    fn source(&self, task: Ref<Task>, page: u64) -> Result<Source, Stop> {
        let Some(entry) = self.map_lookup(task, page) else {
            let act = self.window_owner(task, page).ok_or(Stop::Error(KERN_INVALID_ADDRESS))?;
            if !is_valid(self.get(act), page) {
                return Err(Stop::Error(KERN_INVALID_ADDRESS));
            }
            let mapped = self.page_lookup(self.get(task).root_table, page);
            return Ok(if mapped.is_some() { Source::Window } else { Source::Zeros });
        };
        let e = self.get(entry);
        if i32::from(e.prot) & VM_PROT_READ == 0 {
            return Err(Stop::Error(KERN_PROTECTION_FAILURE));
        }
        if e.head.flags & LOST != 0 || e.object.is_none() {
            return Err(Stop::Error(KERN_MEMORY_ERROR));
        }
        let offset = e.object_offset(page);
        let own = self.get(e.object).head.flags & PRIVATE != 0 && e.head.flags & NEEDS_COPY == 0;
        let index = (offset / PAGE) as u32;
        if own && self.memory_page(e.object, index).is_some() {
            return Ok(Source::Object(e.object, index));
        }
        Ok(self.memory_visible(e.object, offset)?.map_or(Source::Zeros, Source::Copy))
    }

    /// The frame that a source shows.
    fn source_frame(&self, task: Ref<Task>, page: u64, source: Source) -> Option<Frame> {
        match source {
            Source::Zeros => None,
            Source::Copy(frame) => Some(frame),
            Source::Object(object, index) => self.memory_page(object, index),
            Source::Window => self.page_lookup(self.get(task).root_table, page).map(|(frame, _)| frame),
        }
    }

    /// Whether the page may simply change hands: it is charged to the account that is to pay for the message.
    fn may_move(&self, task: Ref<Task>, page: u64, source: Source, payer: Payer) -> bool {
        let account = match source {
            Source::Object(object, _) => self.payer_of(object),
            Source::Window => match self.window_owner(task, page) {
                Some(act) => self.window_payer(act).account,
                None => return false,
            },
            Source::Zeros | Source::Copy(_) => return false,
        };
        account == payer.account
    }

    /// Takes data out of a task's memory into a fresh object held by a message and charged to `payer`. `dealloc`: the
    /// pages that the data touch are unmapped from the sender, and moved instead of copied where that is possible.
    ///
    /// # Errors
    /// `KERN_INVALID_ARGUMENT`: no bytes, or more than [`COPY_MAX`]; `KERN_INVALID_ADDRESS`, `KERN_PROTECTION_FAILURE`, `KERN_MEMORY_ERROR`: the sender's
    /// memory; `KERN_RESOURCE_SHORTAGE`: the payer's. Nothing changed. Never `Again`.
    pub fn ool_take(
        &mut self,
        src_task: Ref<Task>,
        address: u64,
        len: u64,
        payer: Payer,
        dealloc: bool,
    ) -> Result<Ref<Memory>, Stop> {
        if len == 0 || len > COPY_MAX {
            return Err(Stop::Error(KERN_INVALID_ARGUMENT));
        }
        let (start, end) = crate::map::page_range(address, len)?;
        let moving = dealloc && address == start;
        if dealloc {
            self.map_clip_hole(src_task, start, end)?;
        }
        // Decode: every page of the sender is readable; count what must be paid.
        let size = len.next_multiple_of(PAGE);
        let (mut copies, mut pages) = (0, 0u64);
        for page in (start..end).step_by(PAGE as usize) {
            let source = self.source(src_task, page)?;
            if matches!(source, Source::Zeros) {
                continue;
            }
            pages += 1;
            if !(moving && self.may_move(src_task, page, source, payer)) {
                copies += 1;
            }
        }
        // A page of data that do not begin at a page boundary is made of two of the sender's.
        let frames = if address == start { copies } else { (2 * copies).min(size / PAGE) };
        let nodes = match size / PAGE {
            _ if pages == 0 => 0,
            1 => 0,
            2..=512 => 1,
            n => n.div_ceil(512) + 1,
        };
        let object = self.memory_create(payer, size)?;
        if let Err(stop) = self.can_charge(payer, frames + nodes, 0) {
            self.memory_drop(object);
            return Err(stop);
        }
        let memory = self.get_mut(object);
        memory.head.flags |= HELD;
        memory.data_size = len;
        // Commit.
        let filled = (0..size / PAGE)
            .try_for_each(|index| self.ool_fill(object, index as u32, src_task, address, len, payer, moving));
        if let Err(stop) = filled {
            // Not reached: everything was reserved. Copied pages go back; what moved is lost with the message.
            self.memory_free(object);
            return Err(stop);
        }
        if dealloc {
            let mut budget = RELEASE;
            // What cannot be freed in this step stays out of sight of lookups until the task deallocates it or ends.
            let released = if in_windows(start) {
                self.window_release(src_task, start, end, &mut budget)
            } else {
                self.map_remove(src_task, start, end, &mut budget)
            };
            debug_assert!(!matches!(released, Err(Stop::Error(_))));
        }
        Ok(object)
    }

    /// Fills one page of an object with the sender's data.
    #[expect(clippy::too_many_arguments, reason = "one step of ool_take")]
    fn ool_fill(
        &mut self,
        object: Ref<Memory>,
        index: u32,
        task: Ref<Task>,
        address: u64,
        len: u64,
        payer: Payer,
        moving: bool,
    ) -> Result<(), Stop> {
        let done = u64::from(index) * PAGE;
        let here = (len - done).min(PAGE);
        let from = address + done;
        let page = from & !(PAGE - 1);
        let first = self.source(task, page)?;
        if moving && self.may_move(task, page, first, payer) {
            let frame = match first {
                Source::Object(object, index) => {
                    self.page_remove(task, page);
                    self.memory_take(object, index)
                }
                _ => {
                    let frame = self.page_remove(task, page);
                    if let Some(act) = self.window_owner(task, page) {
                        self.get_mut(act).window_frames -= 1;
                    }
                    frame
                }
            };
            let Some(frame) = frame else { return Ok(()) };
            self.info_mut(frame).kind = FrameKind::Page as u8;
            self.machine.page_mut(frame).0[here as usize..].fill(0);
            return self.memory_insert(object, index, frame, payer).inspect_err(|_| self.free_frame(frame));
        }
        let head = (PAGE - from % PAGE).min(here);
        let second = if head < here { self.source(task, page + PAGE)? } else { Source::Zeros };
        let sources = [
            (self.source_frame(task, page, first), from % PAGE, 0, head),
            (self.source_frame(task, page + PAGE, second), 0, head, here - head),
        ];
        if sources.iter().all(|s| s.0.is_none() || s.3 == 0) {
            return Ok(());
        }
        let whole = here == PAGE && head == PAGE;
        let frame = if whole {
            self.new_frame_dirty(payer, FrameKind::Page)?
        } else {
            self.new_frame(payer, FrameKind::Page)?
        };
        for (source, at, to, n) in sources {
            if let Some(source) = source
                && n > 0
            {
                self.machine.copy(source, at as usize, frame, to as usize, n as usize);
            }
        }
        self.memory_insert(object, index, frame, payer).inspect_err(|_| self.free_frame(frame))
    }

    /// An object held by a message with data of the kernel's own.
    ///
    /// # Errors
    /// `KERN_INVALID_ARGUMENT`: no bytes, or more than [`COPY_MAX`]; `KERN_RESOURCE_SHORTAGE`.
    pub fn ool_of_bytes(&mut self, payer: Payer, bytes: &[u8]) -> Result<Ref<Memory>, Stop> {
        let len = bytes.len() as u64;
        if len == 0 || len > COPY_MAX {
            return Err(Stop::Error(KERN_INVALID_ARGUMENT));
        }
        let object = self.memory_create(payer, len.next_multiple_of(PAGE))?;
        let memory = self.get_mut(object);
        memory.head.flags |= HELD;
        memory.data_size = len;
        for (index, chunk) in bytes.chunks(PAGE as usize).enumerate() {
            let filled = self.new_frame(payer, FrameKind::Page).and_then(|frame| {
                self.machine.page_mut(frame).0[..chunk.len()].copy_from_slice(chunk);
                self.memory_insert(object, index as u32, frame, payer).inspect_err(|_| self.free_frame(frame))
            });
            if let Err(stop) = filled {
                self.memory_free(object);
                return Err(stop);
            }
        }
        Ok(object)
    }

    /// Reads from the pages of an object itself (not of those behind it).
    ///
    /// # Errors
    /// `KERN_INVALID_ARGUMENT`: beyond their end.
    pub fn memory_read(&self, object: Ref<Memory>, offset: u64, bytes: &mut [u8]) -> Result<(), Stop> {
        let memory = self.get(object);
        if offset.checked_add(bytes.len() as u64).is_none_or(|end| end > memory.size) {
            return Err(Stop::Error(KERN_INVALID_ARGUMENT));
        }
        let mut done = 0;
        while done < bytes.len() {
            let at = offset + done as u64;
            let n = ((PAGE - at % PAGE) as usize).min(bytes.len() - done);
            let to = &mut bytes[done..done + n];
            match self.memory_page(object, (at / PAGE) as u32) {
                Some(frame) => {
                    let from = (at % PAGE) as usize;
                    to.copy_from_slice(&self.machine.page(frame).0[from..from + n]);
                }
                None => to.fill(0),
            }
            done += n;
        }
        Ok(())
    }

    /// Copies data that a message holds to a task's memory (`vm_write`).
    ///
    /// # Errors
    /// As [`Kernel::fault`]; bytes before the failing page have been written then.
    pub fn vm_write(&mut self, task: Ref<Task>, address: u64, object: Ref<Memory>) -> Result<(), Stop> {
        let len = self.get(object).data_size;
        crate::map::page_range(address, len)?;
        let mut done = 0;
        while done < len {
            let (to, from) = (address + done, done % PAGE);
            let n = (PAGE - to % PAGE).min(PAGE - from).min(len - done);
            let target = self.user_frame(task, to, crate::fault::Access::Write)?;
            let at = (to % PAGE) as usize;
            match self.memory_page(object, (done / PAGE) as u32) {
                Some(frame) => self.copy_frames(frame, from as usize, target, at, n as usize),
                None => self.machine.page_mut(target).0[at..at + n as usize].fill(0),
            }
            done += n;
        }
        Ok(())
    }

    /// Puts the data into the receiver's memory, at a page boundary, and the charge onto `payer`: into the window of `window`, or wherever there is
    /// room. The object is gone afterwards. Returns the address.
    ///
    /// # Errors
    /// `KERN_RESOURCE_SHORTAGE`, `KERN_TERMINATED`, `KERN_NO_SPACE`. Nothing changed: the message still holds the object. Never `Again`.
    pub fn ool_place(
        &mut self,
        object: Ref<Memory>,
        dst_task: Ref<Task>,
        payer: Payer,
        window: Option<Ref<Activation>>,
    ) -> Result<u64, Stop> {
        match window {
            Some(act) => self.ool_place_window(object, dst_task, payer, act),
            None => self.ool_place_entry(object, dst_task, payer),
        }
    }

    fn ool_place_entry(&mut self, object: Ref<Memory>, task: Ref<Task>, payer: Payer) -> Result<u64, Stop> {
        let Memory { size, pages, nodes, .. } = *self.get(object);
        let start = self.map_find(task, size, PAGE, 0)?;
        let stays = self.payer_of(object) == payer.account;
        let moved = u64::from(pages) + u64::from(nodes);
        if stays && payer.call.is_some() && self.get(payer.call).left.frames < moved {
            return Err(Stop::Error(KERN_RESOURCE_SHORTAGE));
        }
        let target = if stays { object } else { self.memory_create(payer, size)? };
        let mapping = Mapping {
            object: target,
            offset: 0,
            prot: VM_PROT_ALL & !VM_PROT_EXECUTE,
            max_prot: VM_PROT_ALL,
            inheritance: VM_INHERIT_COPY,
            flags: 0,
        };
        let entry = self.entry_new(task, payer, start, start + size, mapping);
        let entry = match entry {
            Ok(entry) => entry,
            Err(stop) => {
                if !stays {
                    self.memory_drop(target);
                }
                return Err(stop);
            }
        };
        if stays {
            self.get_mut(object).head.flags &= !HELD;
            if payer.call.is_some() {
                let left = &mut self.get_mut(payer.call).left.frames;
                *left = left.saturating_sub(moved);
            }
        } else {
            if let Err(stop) = self.can_charge(payer, moved, 0) {
                // Nothing is in the fresh object, so its removal is one step.
                let mut budget = u32::MAX;
                let removed = self.entry_remove(entry, &mut budget);
                debug_assert!(removed.is_ok());
                return Err(stop);
            }
            let mut next = 0;
            while let Some((index, frame)) = self.memory_next(object, next) {
                self.memory_take(object, index);
                self.move_frame(frame, payer)?;
                self.memory_insert(target, index, frame, payer)?;
                next = index + 1;
            }
            self.memory_free(object);
        }
        self.get_mut(task).place_hint = start + size;
        Ok(start)
    }

    fn ool_place_window(
        &mut self,
        object: Ref<Memory>,
        task: Ref<Task>,
        payer: Payer,
        act: Ref<Activation>,
    ) -> Result<u64, Stop> {
        let Memory { size, pages, .. } = *self.get(object);
        let a = *self.get(act);
        let root = self.get(task).root_table;
        // What the page tables may take: one for each 2 MiB, one directory for each GiB touched.
        let (from, to) = (a.window_next, a.window_next.saturating_add(size).min(a.window + WINDOW_SIZE));
        let mut tables = 0;
        if pages > 0 {
            let mut at = from;
            while at < to {
                tables += u64::from(self.tables_missing(root, at));
                at = (at | 0x1f_ffff) + 1;
            }
        }
        let pages = u64::from(pages);
        let same = self.payer_of(object) == payer.account;
        if same {
            self.can_charge(payer, tables, 0)?;
            if payer.call.is_some() && self.get(payer.call).left.frames < pages + tables {
                return Err(Stop::Error(KERN_RESOURCE_SHORTAGE));
            }
        } else {
            self.can_charge(payer, pages + tables, 0)?;
        }
        let start = self.window_alloc(act, size)?;
        let mut next = 0;
        while let Some((index, frame)) = self.memory_next(object, next) {
            self.memory_take(object, index);
            if same {
                if payer.call.is_some() {
                    self.get_mut(payer.call).left.frames -= 1;
                }
            } else {
                self.move_frame(frame, payer)?;
            }
            let info = self.info_mut(frame);
            (info.kind, info.bitmap) = (FrameKind::Window as u8, 0);
            let prot = VM_PROT_READ | VM_PROT_WRITE;
            let made = self.page_enter_counted(task, start + u64::from(index) * PAGE, frame, prot, payer)?;
            self.get_mut(act).window_frames += 1 + made;
            next = index + 1;
        }
        self.memory_free(object);
        Ok(start)
    }

    /// Frees data that a message held and that nobody received.
    pub fn ool_free(&mut self, object: Ref<Memory>) {
        self.memory_free(object);
    }

    /// Frames that placing the data will charge to the receiver, for its accept window.
    #[must_use]
    pub fn ool_frames(&self, object: Ref<Memory>) -> u64 {
        u64::from(self.get(object).pages)
    }
}
