//! Memory objects: pages found by index through a radix tree of frames.
//!
//! All pages and tree nodes are charged to the account that pays for the object itself. A *shadow* (copy on write) holds the pages that differ
//! from those of the object behind it; the depth of a chain is at most [`DEPTH_MAX`], because a copy of a deeper object is made at once.
//! Every entry that maps an object is on the object's list, every shadow of it on another, so that pages can be taken away everywhere.
//!
//! Who may see whose pages: an object is PRIVATE (its entries map disjoint ranges, nothing else refers to it), or SHARED (somebody
//! may write to it whom a copier does not know: it has a port, or was inherited by sharing), or neither (copies on write look at it: nobody writes to it).
//! A FROZEN object (a boot module) is never written to.
//! Deliberately absent: external pagers, page-out, wiring.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use drover_abi::returns::{KERN_INVALID_ARGUMENT, KERN_RESOURCE_SHORTAGE};

use crate::account::Payer;
use crate::frame::FrameKind;
use crate::kernel::{Kernel, Stop};
use crate::machine::{Frame, Machine};
use crate::map::{Entry, LOST};
use crate::object::{Head, Kind, Object, Ref};
use crate::pagetable::{ENTRIES, PAGE};
use crate::port::Port;

/// Pages that one execution of an operation moves, frees or protects at most.
pub const BATCH: u32 = 256;
/// Longest chain of shadows.
pub const DEPTH_MAX: u32 = 8;
/// Largest object, in pages (page indices are 32 bits wide).
pub const PAGES_MAX: u64 = 1 << 32;

/// `head.flags`: entries map disjoint ranges, there is no port, no shadow.
pub const PRIVATE: u8 = 1;
/// `head.flags`: written to through more than one mapping.
pub const SHARED: u8 = 2;
/// `head.flags`: never written to.
pub const FROZEN: u8 = 4;
/// `head.flags`: the object behind it died; pages that it lacks are lost.
pub const BACKING_LOST: u8 = 8;
/// `head.flags`: a message holds it; it is freed with the message.
pub const HELD: u8 = 16;

/// A memory object.
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable)]
pub struct Memory {
    /// Kind and flags; `state`: levels of the tree.
    pub head: Head,
    /// Its port, or none.
    pub port: Ref<Port>,
    /// Bytes, a multiple of the page size.
    pub size: u64,
    /// Where this object begins in the one behind it, bytes.
    pub shadow_offset: u64,
    /// The object behind it.
    pub shadow: Ref<Memory>,
    /// Root of the tree (with no levels: the page).
    pub tree: u32,
    /// Entries, shadows, a port, a message: each counts one.
    pub refs: u32,
    /// Pages present.
    pub pages: u32,
    /// Entries that map it.
    pub entries: Ref<Entry>,
    /// Shadows of it.
    pub shadows: Ref<Memory>,
    /// List of the shadows of the object behind.
    pub sibling_next: Ref<Memory>,
    /// List of the shadows of the object behind.
    pub sibling_prev: Ref<Memory>,
    /// Objects behind it.
    pub depth: u32,
    /// Frames of the tree.
    pub nodes: u32,
    /// A message's data: bytes.
    pub data_size: u64,
    pad: [u8; 56],
}

impl Object for Memory {
    const KIND: Kind = Kind::Memory;
}

/// Levels that so many pages need.
const fn levels_for(pages: u64) -> u16 {
    let mut levels = 0;
    while (1u64 << (9 * levels)) < pages {
        levels += 1;
    }
    levels
}

const fn digit(index: u32, level: u16) -> usize {
    ((index as u64 >> (9 * level)) & 511) as usize
}

impl<M: Machine> Kernel<M> {
    /// An empty object of `size` bytes (a multiple of the page size, not 0) with one reference, the caller's.
    ///
    /// # Errors
    /// `KERN_INVALID_ARGUMENT`: too large; `KERN_RESOURCE_SHORTAGE`.
    pub fn memory_create(&mut self, payer: Payer, size: u64) -> Result<Ref<Memory>, Stop> {
        if size == 0 || !size.is_multiple_of(PAGE) || size / PAGE > PAGES_MAX {
            return Err(Stop::Error(KERN_INVALID_ARGUMENT));
        }
        let object = self.new_object::<Memory>(payer)?;
        let memory = self.get_mut(object);
        memory.head.state = levels_for(size / PAGE);
        memory.head.flags = PRIVATE;
        memory.size = size;
        memory.refs = 1;
        Ok(object)
    }

    /// A memory object made of frames that lie one after the other (a boot module). They are charged to `payer` already.
    ///
    /// # Panics
    /// When the root account cannot pay for the tree: boot cannot go on.
    pub(crate) fn memory_of_frames(&mut self, payer: Payer, start: Frame, count: u32) -> Ref<Memory> {
        let size = u64::from(count.max(1)) * PAGE;
        let object = self.memory_create(payer, size).expect("boot: no memory for a module's object");
        for i in 0..count {
            self.own_frame(start + i, payer.account, FrameKind::Page);
            self.memory_insert(object, i, start + i, payer).expect("boot: no memory for a module's tree");
        }
        self.get_mut(object).head.flags = FROZEN;
        object
    }

    /// Who pays for an object's pages.
    pub(crate) fn memory_payer(&self, object: Ref<Memory>) -> Payer {
        self.payer_for(self.payer_of(object))
    }

    /// The page of an object (not of those behind it).
    pub(crate) fn memory_page(&self, object: Ref<Memory>, index: u32) -> Option<Frame> {
        let memory = self.get(object);
        let mut at = memory.tree;
        for level in (0..memory.head.state).rev() {
            if at == 0 {
                return None;
            }
            at = self.words(at)[digit(index, level)] as Frame;
        }
        if at == 0 { None } else { Some(at) }
    }

    /// Puts a page (charged to the object's account) at an index where there is none.
    ///
    /// # Errors
    /// `KERN_RESOURCE_SHORTAGE` for tree nodes (nothing changed).
    pub(crate) fn memory_insert(
        &mut self,
        object: Ref<Memory>,
        index: u32,
        frame: Frame,
        payer: Payer,
    ) -> Result<(), Stop> {
        let Memory { head, tree, .. } = *self.get(object);
        let (mut at, mut level) = (tree, head.state);
        // Down to where nodes are missing.
        let mut parent = 0;
        while level > 0 && at != 0 {
            parent = at;
            level -= 1;
            at = self.words(at)[digit(index, level)] as Frame;
        }
        debug_assert!(at == 0, "a page is there already");
        let mut made = [0; 4];
        let missing = level as usize;
        for i in 0..missing {
            match self.new_frame(payer, FrameKind::Radix) {
                Ok(node) => {
                    made[i] = node;
                    self.info_mut(node).partial_next = object.raw();
                }
                Err(stop) => {
                    made[..i].iter().for_each(|&node| self.free_frame(node));
                    return Err(stop);
                }
            }
        }
        for &next in made[..missing].iter().chain(core::iter::once(&frame)) {
            if parent == 0 {
                self.get_mut(object).tree = next;
            } else {
                self.set_word(parent, digit(index, level), u64::from(next));
            }
            parent = next;
            level = level.wrapping_sub(1);
        }
        let info = self.info_mut(frame);
        info.bitmap = u64::from(object.raw()) | (u64::from(index) << 32);
        let memory = self.get_mut(object);
        memory.pages += 1;
        memory.nodes += missing as u32;
        Ok(())
    }

    /// How many tree nodes are missing for a page at `index`.
    pub(crate) fn memory_nodes_missing(&self, object: Ref<Memory>, index: u32) -> u32 {
        let Memory { head, tree, .. } = *self.get(object);
        let (mut at, mut level) = (tree, head.state);
        while level > 0 && at != 0 {
            level -= 1;
            at = self.words(at)[digit(index, level)] as Frame;
        }
        u32::from(level)
    }

    /// Takes a page out (it stays charged). Nodes that become empty are freed.
    pub(crate) fn memory_take(&mut self, object: Ref<Memory>, index: u32) -> Option<Frame> {
        let Memory { head, tree, .. } = *self.get(object);
        let levels = head.state as usize;
        let mut path = [0; 5];
        path[levels] = tree;
        for level in (0..levels).rev() {
            if path[level + 1] == 0 {
                return None;
            }
            path[level] = self.words(path[level + 1])[digit(index, level as u16)] as Frame;
        }
        let frame = path[0];
        if frame == 0 {
            return None;
        }
        let mut level = 0;
        let mut freed = 0;
        while level < levels {
            if !self.set_word(path[level + 1], digit(index, level as u16), 0) {
                break;
            }
            self.free_frame(path[level + 1]);
            freed += 1;
            level += 1;
        }
        let memory = self.get_mut(object);
        if level == levels {
            memory.tree = 0;
        }
        memory.pages -= 1;
        memory.nodes -= freed;
        Some(frame)
    }

    /// The first page present at or after an index.
    pub(crate) fn memory_next(&self, object: Ref<Memory>, index: u32) -> Option<(u32, Frame)> {
        let Memory { head, tree, .. } = *self.get(object);
        let levels = head.state;
        if tree == 0 {
            return None;
        }
        if levels == 0 {
            return if index == 0 { Some((0, tree)) } else { None };
        }
        let mut at = u64::from(index);
        let end = 1u64 << (9 * levels);
        'walk: while at < end && at < PAGES_MAX {
            let mut node = tree;
            for level in (0..levels).rev() {
                let span = 1u64 << (9 * level);
                let here = digit(at as u32, level);
                match self.next_word(node, here) {
                    None => {
                        at = (at | (span * ENTRIES as u64 - 1)) + 1;
                        continue 'walk;
                    }
                    Some(next) if next != here => {
                        at = (at & !(span - 1)) + (next - here) as u64 * span;
                        continue 'walk;
                    }
                    Some(_) => node = self.words(node)[here] as Frame,
                }
            }
            return Some((at as u32, node));
        }
        None
    }

    /// Frees the pages in [first, end), at most `budget`. Nobody maps them.
    ///
    /// # Errors
    /// `Again`: more is left.
    pub(crate) fn memory_free_range(
        &mut self,
        object: Ref<Memory>,
        first: u64,
        end: u64,
        budget: &mut u32,
    ) -> Result<(), Stop> {
        let mut at = first;
        while at < end && at < PAGES_MAX {
            let Some((index, _)) = self.memory_next(object, at as u32) else {
                break;
            };
            if u64::from(index) >= end {
                break;
            }
            if *budget == 0 {
                return Err(Stop::Again);
            }
            *budget -= 1;
            if let Some(frame) = self.memory_take(object, index) {
                self.free_frame(frame);
            }
            at = u64::from(index) + 1;
        }
        Ok(())
    }

    /// Makes `front` a shadow of `back`, which gets one more reference.
    pub(crate) fn memory_shadow(&mut self, front: Ref<Memory>, back: Ref<Memory>, offset: u64) {
        let behind = self.get_mut(back);
        behind.refs += 1;
        behind.head.flags &= !PRIVATE;
        let next = core::mem::replace(&mut behind.shadows, front);
        let depth = behind.depth + 1;
        if next.is_some() {
            self.get_mut(next).sibling_prev = front;
        }
        let memory = self.get_mut(front);
        (memory.shadow, memory.shadow_offset, memory.depth) = (back, offset, depth);
        (memory.sibling_next, memory.sibling_prev) = (next, Ref::NONE);
    }

    /// Takes a shadow off the list of the object behind it and drops that reference. The object behind has another, or has been drained.
    pub(crate) fn memory_unshadow(&mut self, front: Ref<Memory>) {
        let Memory { shadow: back, sibling_next: next, sibling_prev: prev, .. } = *self.get(front);
        if back.is_none() {
            return;
        }
        if prev.is_none() {
            self.get_mut(back).shadows = next;
        } else {
            self.get_mut(prev).sibling_next = next;
        }
        if next.is_some() {
            self.get_mut(next).sibling_prev = prev;
        }
        let memory = self.get_mut(front);
        (memory.shadow, memory.depth) = (Ref::NONE, 0);
        (memory.sibling_next, memory.sibling_prev) = (Ref::NONE, Ref::NONE);
        self.memory_drop(back);
    }

    /// Prepares the last reference of an object to be dropped: frees its pages and those behind it that nobody else needs.
    /// Nobody maps them.
    ///
    /// # Errors
    /// `Again`: more is left.
    pub(crate) fn memory_drain(&mut self, object: Ref<Memory>, budget: &mut u32) -> Result<(), Stop> {
        self.memory_free_range(object, 0, PAGES_MAX, budget)?;
        // The chain is at most DEPTH_MAX long; drained from the front, since each drained object keeps the next alive.
        let mut back = self.get(object).shadow;
        let mut last = object;
        while back.is_some() && self.get(back).refs == 1 {
            self.memory_free_range(back, 0, PAGES_MAX, budget)?;
            last = back;
            back = self.get(back).shadow;
        }
        // From the far end, so that no drop cascades.
        while last != object {
            self.memory_unshadow(last);
            let front = self.get(last).shadows;
            last = front;
        }
        self.memory_unshadow(object);
        Ok(())
    }

    /// Shortens a chain of shadows: an object behind that nobody else refers to, and that the same account pays for, gives its pages to the
    /// one in front. Stops quietly when a tree node cannot be paid for.
    ///
    /// # Errors
    /// `Again`: more is left.
    pub(crate) fn memory_collapse(&mut self, front: Ref<Memory>, budget: &mut u32) -> Result<(), Stop> {
        loop {
            let Memory { shadow: back, shadow_offset: offset, size, .. } = *self.get(front);
            if back.is_none() {
                return Ok(());
            }
            let behind = *self.get(back);
            if behind.refs != 1
                || behind.head.flags & FROZEN != 0
                || self.payer_of(back) != self.payer_of(front)
            {
                return Ok(());
            }
            while let Some((index, frame)) = self.memory_next(back, 0) {
                if *budget == 0 {
                    return Err(Stop::Again);
                }
                *budget -= 1;
                let at = (u64::from(index) * PAGE).checked_sub(offset).filter(|&at| at < size);
                let wanted =
                    at.map(|at| (at / PAGE) as u32).filter(|&i| self.memory_page(front, i).is_none());
                let payer = self.memory_payer(front);
                if let Some(i) = wanted
                    && self.can_charge(payer, u64::from(self.memory_nodes_missing(front, i)), 0).is_err()
                {
                    return Ok(());
                }
                self.memory_take(back, index);
                match wanted {
                    Some(i) => self.memory_insert(front, i, frame, payer)?,
                    None => self.free_frame(frame),
                }
            }
            let behind = *self.get(back);
            self.memory_unshadow_to(front, back, &behind);
        }
    }

    /// Lets `front` look past the empty object behind it, which is freed.
    fn memory_unshadow_to(&mut self, front: Ref<Memory>, back: Ref<Memory>, behind: &Memory) {
        let offset = self.get(front).shadow_offset;
        let lost = behind.head.flags & BACKING_LOST;
        let further = behind.shadow;
        if further.is_some() {
            // The front takes the place of the one that goes: linked first, so that the last object always has a reference.
            self.get_mut(further).refs += 1;
            self.memory_unshadow(back);
            self.memory_unshadow(front);
            self.memory_shadow(front, further, offset + behind.shadow_offset);
            self.get_mut(further).refs -= 1;
        } else {
            self.memory_unshadow(front);
        }
        self.get_mut(front).head.flags |= lost;
    }

    /// Drops a reference; an object without any (it has been drained) is freed.
    pub(crate) fn memory_drop(&mut self, object: Ref<Memory>) {
        let memory = self.get_mut(object);
        memory.refs -= 1;
        if memory.refs == 0 {
            debug_assert!(memory.pages == 0 && memory.shadow.is_none() && memory.entries.is_none());
            self.free_object(object);
        }
    }

    /// Frees an object that nobody maps and that one reference names, whatever it takes (messages: their size is bounded).
    pub(crate) fn memory_free(&mut self, object: Ref<Memory>) {
        let mut budget = u32::MAX;
        // With that budget it cannot stop half-way.
        if self.memory_drain(object, &mut budget).is_ok() {
            self.memory_drop(object);
        }
    }

    /// Ends an object: its account is being destroyed. Mappings elsewhere lose their pages; touching them gives `KERN_MEMORY_ERROR`.
    /// Its port, if it still has one, dies. An object that a message holds is left to the message.
    ///
    /// # Errors
    /// `Again`: more is left.
    pub(crate) fn memory_destroy(&mut self, object: Ref<Memory>) -> Result<(), Stop> {
        if self.get(object).head.flags & HELD != 0 {
            return Ok(());
        }
        let port = core::mem::take(&mut self.get_mut(object).port);
        if port.is_some() {
            let p = self.get_mut(port);
            (p.object_kind, p.object) = (0, 0);
            self.port_die(port);
        }
        let mut budget = BATCH;
        loop {
            let entry = self.get(object).entries;
            if entry.is_none() {
                break;
            }
            if budget == 0 {
                return Err(Stop::Again);
            }
            budget -= 1;
            self.entry_unmap(entry, &mut budget)?;
            self.entry_unlink_object(entry);
            self.get_mut(entry).head.flags |= LOST;
            self.get_mut(object).refs -= 1;
        }
        loop {
            let front = self.get(object).shadows;
            if front.is_none() {
                break;
            }
            if budget == 0 {
                return Err(Stop::Again);
            }
            budget -= 1;
            self.unmap_fronts(front, &mut budget)?;
            self.get_mut(front).head.flags |= BACKING_LOST;
            // Keep it alive past its last reference: it is freed below.
            self.get_mut(object).refs += 1;
            self.memory_unshadow(front);
        }
        // What is left of references are those counted above for shadows, and a port's.
        self.get_mut(object).refs = 1;
        self.memory_drain(object, &mut budget)?;
        self.memory_drop(object);
        Ok(())
    }

    /// Unmaps whatever shows pages of the objects behind `front`: its entries and those of its own shadows.
    fn unmap_fronts(&mut self, front: Ref<Memory>, budget: &mut u32) -> Result<(), Stop> {
        let mut entry = self.get(front).entries;
        while entry.is_some() {
            self.entry_unmap(entry, budget)?;
            entry = self.get(entry).object_next;
        }
        let mut further = self.get(front).shadows;
        while further.is_some() {
            self.unmap_fronts(further, budget)?;
            further = self.get(further).sibling_next;
        }
        Ok(())
    }

    /// The port of an object is gone (no senders, or its account destroyed): drops the port's reference.
    ///
    /// # Errors
    /// `Again`: more is left (the port's reference is still there).
    pub(crate) fn memory_port_gone(&mut self, object: Ref<Memory>) -> Result<(), Stop> {
        if self.get(object).refs == 1 {
            let mut budget = BATCH;
            self.memory_drain(object, &mut budget)?;
        }
        self.get_mut(object).port = Ref::NONE;
        self.memory_drop(object);
        Ok(())
    }

    /// Whether `n` more frames and `objects` more objects could be charged.
    ///
    /// # Errors
    /// `KERN_RESOURCE_SHORTAGE`. Nothing is changed either way.
    pub(crate) fn can_charge(&self, payer: Payer, frames: u64, objects: u64) -> Result<(), Stop> {
        let free = |resource: usize| crate::account::unused(&self.get(payer.account).resources[resource]);
        let mut short = free(drover_abi::account::FRAMES) < frames || self.get(payer.account).head.state != 0;
        if payer.call.is_some() {
            let act = self.get(payer.call);
            short |= act.left.frames < frames;
            if short && act.may_use_escrow() && act.escrow_frames >= frames {
                short = false;
            }
        }
        if short || free(drover_abi::account::OBJECTS) < objects {
            return Err(Stop::Error(KERN_RESOURCE_SHORTAGE));
        }
        Ok(())
    }
}
