//! Frames and the frame table.
//!
//! One 32-byte [`FrameInfo`] per physical frame, in the constant boot reserve. A frame is free, or on the list of exactly one account.
//! Invariants: sum over accounts of charged frames + free frames = all frames handed over at boot;
//! an account's list is as long as its charge.

use drover_abi::account::FRAMES;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::account::{Account, Payer};
use crate::check::Report;
use crate::kernel::{Kernel, Stop};
use crate::machine::{Frame, Machine};
use crate::object::Ref;

/// End of a list of frames.
pub const NONE: u32 = 0;

/// What a frame is used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum FrameKind {
    /// Free, or never handed over.
    Free = 0,
    /// Kernel objects.
    Slab = 1,
    /// Page table of any level.
    PageTable = 2,
    /// A page of a memory object.
    Page = 3,
    /// Directory or table of a port name space.
    PortTable = 4,
    /// Radix node of a memory object.
    Radix = 5,
    /// Body of a queued message.
    MessageData = 6,
    /// A page of a call window (stack, buffers, arena).
    Window = 7,
}

/// What the kernel knows of a frame.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, KnownLayout, Immutable)]
pub struct FrameInfo {
    /// Who pays; none: free.
    pub owner: Ref<Account>,
    /// Next frame of the owner (or of the free list).
    pub next: u32,
    /// Previous frame of the owner.
    pub prev: u32,
    /// A [`FrameKind`].
    pub kind: u8,
    /// Slab: size class.
    pub class: u8,
    /// For the user of the frame.
    pub flags: u16,
    /// Slab: live slots. Page: raw [`Ref`] of the memory object (low half) and page index (high half). Others: theirs.
    pub bitmap: u64,
    /// Slab: list of slabs with room.
    pub partial_next: u32,
    /// Slab: list of slabs with room.
    pub partial_prev: u32,
}

const _: () = assert!(size_of::<FrameInfo>() == 32);
const INFOS: u32 = 128;

impl<M: Machine> Kernel<M> {
    /// What is known of a frame.
    #[inline]
    pub fn info(&self, frame: Frame) -> &FrameInfo {
        let at = (frame % INFOS) as usize * 32;
        let page = &self.machine.page(self.table + frame / INFOS).0;
        FrameInfo::ref_from_bytes(&page[at..at + 32]).expect("32-byte records are aligned")
    }

    /// The same, to change.
    #[inline]
    pub fn info_mut(&mut self, frame: Frame) -> &mut FrameInfo {
        let at = (frame % INFOS) as usize * 32;
        let page = &mut self.machine.page_mut(self.table + frame / INFOS).0;
        FrameInfo::mut_from_bytes(&mut page[at..at + 32]).expect("32-byte records are aligned")
    }

    /// A frame of zeros, charged to `payer`.
    ///
    /// # Errors
    /// `KERN_RESOURCE_SHORTAGE`: the account's limit or the call's ceiling (nothing changed).
    pub fn new_frame(&mut self, payer: Payer, kind: FrameKind) -> Result<Frame, Stop> {
        let frame = self.new_frame_dirty(payer, kind)?;
        self.machine.zero(frame);
        Ok(frame)
    }

    /// A frame with unknown contents (the caller overwrites all of it), charged to `payer`.
    ///
    /// # Errors
    /// `KERN_RESOURCE_SHORTAGE`.
    pub fn new_frame_dirty(&mut self, payer: Payer, kind: FrameKind) -> Result<Frame, Stop> {
        self.charge(payer, FRAMES, 1)?;
        let frame = self.take_free();
        self.own_frame(frame, payer.account, kind);
        Ok(frame)
    }

    /// An empty page table below the root, charged to `payer`.
    ///
    /// # Errors
    /// `KERN_RESOURCE_SHORTAGE` (nothing changed).
    pub(crate) fn new_table(&mut self, payer: Payer) -> Result<Frame, Stop> {
        self.charge(payer, FRAMES, 1)?;
        let table = self.take_table();
        self.own_frame(table, payer.account, FrameKind::PageTable);
        Ok(table)
    }

    /// A free frame of zeros, already charged for: one that was a page table last, if there is one.
    pub(crate) fn take_table(&mut self) -> Frame {
        let frame = self.free_tables;
        if frame == NONE {
            let frame = self.take_free();
            self.machine.zero(frame);
            return frame;
        }
        self.free_frames -= 1;
        self.free_tables = self.info(frame).next;
        frame
    }

    /// A free frame, already charged for; the charge guarantees that there is one: sum of limits = frames handed over.
    pub(crate) fn take_free(&mut self) -> Frame {
        self.free_frames -= 1;
        if self.free_list != NONE {
            let frame = self.free_list;
            self.free_list = self.info(frame).next;
            return frame;
        }
        let (start, count) = self.fresh.get(self.fresh_at).copied().unwrap_or_default();
        if count == 0 {
            let frame = self.free_tables;
            self.free_tables = self.info(frame).next;
            return frame;
        }
        if count == 1 {
            self.fresh_at += 1;
        } else {
            self.fresh[self.fresh_at] = (start + 1, count - 1);
        }
        start
    }

    /// Links a frame (already charged) into an account's list: slabs in one, the others in another.
    pub(crate) fn own_frame(&mut self, frame: Frame, account: Ref<Account>, kind: FrameKind) {
        let a = self.get_mut(account);
        let list = if kind == FrameKind::Slab { &mut a.slabs_head } else { &mut a.frames_head };
        let head = core::mem::replace(list, frame);
        *self.info_mut(frame) =
            FrameInfo { owner: account, next: head, kind: kind as u8, ..FrameInfo::default() };
        if head != NONE {
            self.info_mut(head).prev = frame;
        }
    }

    pub(crate) fn disown_frame(&mut self, frame: Frame) {
        let info = *self.info(frame);
        if info.prev == NONE {
            let a = self.get_mut(info.owner);
            if info.kind == FrameKind::Slab as u8 {
                a.slabs_head = info.next;
            } else {
                a.frames_head = info.next;
            }
        } else {
            self.info_mut(info.prev).next = info.next;
        }
        if info.next != NONE {
            self.info_mut(info.next).prev = info.prev;
        }
    }

    /// Length of an account's lists of frames, walked (for checks).
    pub fn count_frames(&self, account: Ref<Account>) -> u64 {
        let mut count = 0;
        for mut frame in [self.get(account).slabs_head, self.get(account).frames_head] {
            while frame != NONE {
                count += 1;
                frame = self.info(frame).next;
            }
        }
        count
    }

    /// Gives a frame back.
    pub fn free_frame(&mut self, frame: Frame) {
        let next = core::mem::replace(&mut self.free_list, frame);
        self.release_frame(frame, next);
    }

    /// Gives a page table back that has been emptied, entry by entry: it need not be cleared to be one again.
    pub(crate) fn free_table(&mut self, table: Frame) {
        debug_assert_eq!(self.info(table).flags, 0, "a table in use");
        let next = core::mem::replace(&mut self.free_tables, table);
        self.release_frame(table, next);
    }

    fn release_frame(&mut self, frame: Frame, next: Frame) {
        let owner = self.info(frame).owner;
        debug_assert!(owner.is_some(), "frame {frame:#x} freed twice");
        self.disown_frame(frame);
        self.uncharge(owner, FRAMES, 1);
        *self.info_mut(frame) = FrameInfo { next, ..FrameInfo::default() };
        self.free_frames += 1;
    }

    /// Checks that the free page tables are empty (for checks on the host: it reads all of them).
    pub(crate) fn check_free_tables(&self, report: &mut Report<'_>) {
        let mut frame = self.free_tables;
        while frame != NONE {
            if self.words(frame).iter().any(|&word| word != 0) {
                report(format_args!("free page table {frame:#x} is not empty"));
            }
            frame = self.info(frame).next;
        }
    }

    /// Moves a frame and its charge to another account (a gift). Keeps kind, flags, bitmap.
    ///
    /// # Errors
    /// `KERN_RESOURCE_SHORTAGE` at the receiver (nothing changed).
    pub fn move_frame(&mut self, frame: Frame, to: Payer) -> Result<(), Stop> {
        let info = *self.info(frame);
        if info.owner == to.account && to.call.is_none() {
            return Ok(());
        }
        self.charge(to, FRAMES, 1)?;
        self.disown_frame(frame);
        self.uncharge(info.owner, FRAMES, 1);
        self.own_frame(frame, to.account, FrameKind::Page);
        let new = self.info_mut(frame);
        (new.kind, new.class, new.flags, new.bitmap) = (info.kind, info.class, info.flags, info.bitmap);
        (new.partial_next, new.partial_prev) = (info.partial_next, info.partial_prev);
        Ok(())
    }
}
