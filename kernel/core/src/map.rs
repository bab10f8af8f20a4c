//! Address spaces: map entries, ordered by address.
//!
//! An entry maps a range of one memory object into one task. Invariants: entries of a task do not overlap; each is on its object's list and counts
//! one reference; page-table entries never allow more than the entry does, except beyond its `cursor` while an operation that takes rights away is
//! in progress (it is restarted until the cursor is 0).
//! Entries are charged to whoever asked for the mapping; pieces cut off later to the same account.
//! Deliberately absent: sub-maps, wiring, coalescing of neighbours.

use drover_abi::returns::{KERN_INVALID_ADDRESS, KERN_INVALID_ARGUMENT, KERN_NO_SPACE};
use drover_abi::vm::{VM_MAX_ADDRESS, VM_PROT_ALL, VM_PROT_WRITE};
use drover_abi::window::WINDOWS_END;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::account::Payer;
use crate::kernel::{Kernel, Stop};
use crate::machine::Machine;
use crate::memory::{DEPTH_MAX, FROZEN, Memory, PRIVATE, SHARED};
use crate::object::{Head, Kind, Object, Ref};
use crate::pagetable::{PAGE, in_windows};
use crate::task::Task;
use crate::tree::{Links, Node};

/// `head.flags`: a write makes a shadow of the object first.
pub const NEEDS_COPY: u8 = 1;
/// `head.flags`: its object died.
pub const LOST: u8 = 2;
/// `head.flags`: being removed; not there for lookups.
pub const GONE: u8 = 4;

/// First address that a mapping may have.
const MIN_ADDRESS: u64 = PAGE;
/// First address for mappings that the kernel places.
const PLACE_MIN: u64 = 0x1_0000;
/// End of the range in which the kernel places mappings.
const PLACE_END: u64 = 0x2000_0000_0000;
/// End of what may be mapped: the last page stays free, so that no `syscall` instruction returns to a non-canonical address.
const MAP_END: u64 = VM_MAX_ADDRESS - PAGE;
/// Entries that a search for space looks at, at most.
const SEARCH: u32 = 16384;

/// A range of an address space.
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable)]
pub struct Entry {
    /// Kind and flags.
    pub head: Head,
    /// The address space that it is in.
    pub task: Ref<Task>,
    /// Place in the map; the key is the start address.
    pub links: Links,
    /// First address after it.
    pub end: u64,
    /// Offset in the object of its start.
    pub offset: u64,
    /// An operation in progress still has to take rights from the mapped pages at and above this address; 0 = none.
    pub cursor: u64,
    /// What it maps; none if that died.
    pub object: Ref<Memory>,
    /// List of the object's entries.
    pub object_next: Ref<Entry>,
    /// List of the object's entries.
    pub object_prev: Ref<Entry>,
    /// Rights.
    pub prot: u8,
    /// Rights that it may be given.
    pub max_prot: u8,
    /// A `VM_INHERIT_` value.
    pub inheritance: u8,
    pad0: u8,
    pad: [u8; 56],
}

impl Object for Entry {
    const KIND: Kind = Kind::Entry;
}

impl Entry {
    /// First address.
    #[must_use]
    pub const fn start(&self) -> u64 {
        self.links.key
    }

    /// Page index in the object of an address in the entry.
    pub(crate) const fn object_offset(&self, address: u64) -> u64 {
        address - self.links.key + self.offset
    }
}

/// Tag of the tree of map entries.
pub struct Map;
impl Node<Map> for Entry {
    fn links(&self) -> &Links {
        &self.links
    }
    fn links_mut(&mut self) -> &mut Links {
        &mut self.links
    }
}

/// What a new entry maps, and how.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mapping {
    /// The object; the entry takes over one reference.
    pub(crate) object: Ref<Memory>,
    /// Offset in it.
    pub(crate) offset: u64,
    /// Rights.
    pub(crate) prot: i32,
    /// Rights that it may be given.
    pub(crate) max_prot: i32,
    /// A `VM_INHERIT_` value.
    pub(crate) inheritance: i32,
    /// [`NEEDS_COPY`] or 0.
    pub(crate) flags: u8,
}

/// Rounds an address range to pages.
///
/// # Errors
/// `KERN_INVALID_ARGUMENT`: it wraps around or leaves user space.
pub(crate) fn page_range(address: u64, size: u64) -> Result<(u64, u64), Stop> {
    let start = address & !(PAGE - 1);
    let end = address
        .checked_add(size)
        .and_then(|end| end.checked_add(PAGE - 1))
        .ok_or(Stop::Error(KERN_INVALID_ARGUMENT))?
        & !(PAGE - 1);
    if end > VM_MAX_ADDRESS {
        return Err(Stop::Error(KERN_INVALID_ARGUMENT));
    }
    Ok((start, end))
}

impl<M: Machine> Kernel<M> {
    /// The entry that maps an address.
    pub(crate) fn map_lookup(&self, task: Ref<Task>, address: u64) -> Option<Ref<Entry>> {
        let entry = self.tree_floor::<Map, Entry>(self.get(task).map, address);
        if entry.is_none() {
            return None;
        }
        let e = self.get(entry);
        if address < e.end && e.head.flags & GONE == 0 { Some(entry) } else { None }
    }

    /// The first entry that ends after an address, whether it is being removed or not.
    pub(crate) fn map_from(&self, task: Ref<Task>, address: u64) -> Ref<Entry> {
        let map = self.get(task).map;
        let floor = self.tree_floor::<Map, Entry>(map, address);
        if floor.is_some() && self.get(floor).end > address {
            return floor;
        }
        self.tree_ceiling::<Map, Entry>(map, address)
    }

    /// Whether nothing is mapped in a range.
    fn map_is_free(&self, task: Ref<Task>, start: u64, end: u64) -> bool {
        let entry = self.map_from(task, start);
        entry.is_none() || self.get(entry).start() >= end
    }

    /// Checks an explicit range for a new mapping.
    ///
    /// # Errors
    /// `KERN_INVALID_ADDRESS`: outside of what user space may map (the call windows are the kernel's); `KERN_NO_SPACE`: something is there.
    pub(crate) fn map_check(&self, task: Ref<Task>, start: u64, end: u64) -> Result<(), Stop> {
        let windows = in_windows(start) || in_windows(end - 1) || start < WINDOWS_END && end > WINDOWS_END;
        if start < MIN_ADDRESS || end > MAP_END || start >= end || windows {
            return Err(Stop::Error(KERN_INVALID_ADDRESS));
        }
        if !self.map_is_free(task, start, end) {
            return Err(Stop::Error(KERN_NO_SPACE));
        }
        Ok(())
    }

    /// Room for `size` bytes (not 0) at a multiple of `align` (a power of two), at or above `hint` if there is any.
    ///
    /// # Errors
    /// `KERN_NO_SPACE`.
    pub(crate) fn map_find(&self, task: Ref<Task>, size: u64, align: u64, hint: u64) -> Result<u64, Stop> {
        let hint = hint.max(self.get(task).place_hint).max(PLACE_MIN);
        let mut left = SEARCH;
        for from in [hint, PLACE_MIN] {
            let mut at = from;
            while left > 0 {
                left -= 1;
                let start = at.checked_next_multiple_of(align).ok_or(Stop::Error(KERN_NO_SPACE))?;
                let end = start.checked_add(size).ok_or(Stop::Error(KERN_NO_SPACE))?;
                if end > PLACE_END {
                    break;
                }
                let entry = self.map_from(task, start);
                if entry.is_none() || self.get(entry).start() >= end {
                    return Ok(start);
                }
                at = self.get(entry).end;
            }
        }
        Err(Stop::Error(KERN_NO_SPACE))
    }

    /// Adds an entry for a free range. Takes over one reference of the object.
    ///
    /// # Errors
    /// `KERN_RESOURCE_SHORTAGE` at `payer` (nothing changed).
    pub(crate) fn entry_new(
        &mut self,
        task: Ref<Task>,
        payer: Payer,
        start: u64,
        end: u64,
        mapping: Mapping,
    ) -> Result<Ref<Entry>, Stop> {
        let entry = self.new_object::<Entry>(payer)?;
        let new = self.get_mut(entry);
        new.links.key = start;
        new.end = end;
        new.task = task;
        new.offset = mapping.offset;
        new.prot = (mapping.prot & VM_PROT_ALL) as u8;
        new.max_prot = (mapping.max_prot & VM_PROT_ALL) as u8;
        new.inheritance = mapping.inheritance as u8;
        new.head.flags = mapping.flags;
        self.entry_link_object(entry, mapping.object);
        let map = self.tree_insert::<Map, Entry>(self.get(task).map, entry);
        let t = self.get_mut(task);
        t.map = map;
        t.entries += 1;
        t.virtual_size += end - start;
        Ok(entry)
    }

    /// Puts an entry on the list of the object that it maps.
    pub(crate) fn entry_link_object(&mut self, entry: Ref<Entry>, object: Ref<Memory>) {
        self.get_mut(entry).object = object;
        if object.is_none() {
            return;
        }
        let next = core::mem::replace(&mut self.get_mut(object).entries, entry);
        if next.is_some() {
            self.get_mut(next).object_prev = entry;
        }
        let e = self.get_mut(entry);
        (e.object_next, e.object_prev) = (next, Ref::NONE);
    }

    /// Takes an entry off its object's list. The reference is the caller's now.
    pub(crate) fn entry_unlink_object(&mut self, entry: Ref<Entry>) {
        let Entry { object, object_next: next, object_prev: prev, .. } = *self.get(entry);
        if object.is_none() {
            return;
        }
        if prev.is_none() {
            self.get_mut(object).entries = next;
        } else {
            self.get_mut(prev).object_next = next;
        }
        if next.is_some() {
            self.get_mut(next).object_prev = prev;
        }
        let e = self.get_mut(entry);
        (e.object, e.object_next, e.object_prev) = (Ref::NONE, Ref::NONE, Ref::NONE);
    }

    /// Cuts an entry in two at `address` if it lies inside one.
    ///
    /// # Errors
    /// `KERN_RESOURCE_SHORTAGE` at the account that pays for the entry (nothing changed).
    pub(crate) fn map_clip(&mut self, task: Ref<Task>, address: u64) -> Result<(), Stop> {
        let entry = self.tree_floor::<Map, Entry>(self.get(task).map, address);
        if entry.is_none() {
            return Ok(());
        }
        let old = *self.get(entry);
        if old.start() == address || old.end <= address {
            return Ok(());
        }
        let payer = self.payer_for(self.payer_of(entry));
        let right = self.new_object::<Entry>(payer)?;
        let new = self.get_mut(right);
        *new = Entry { head: new.head, ..old };
        new.head.flags = old.head.flags;
        new.links = Links::default();
        new.links.key = address;
        new.offset = old.object_offset(address);
        if old.cursor != 0 {
            new.cursor = old.cursor.max(address);
        }
        self.entry_link_object(right, old.object);
        if old.object.is_some() {
            self.get_mut(old.object).refs += 1;
        }
        let left = self.get_mut(entry);
        left.end = address;
        if left.cursor >= address {
            left.cursor = 0;
        }
        let map = self.tree_insert::<Map, Entry>(self.get(task).map, right);
        let t = self.get_mut(task);
        t.map = map;
        t.entries += 1;
        Ok(())
    }

    /// Unmaps the pages of an entry.
    ///
    /// # Errors
    /// `Again`: more is left.
    pub(crate) fn entry_unmap(&mut self, entry: Ref<Entry>, budget: &mut u32) -> Result<(), Stop> {
        let e = *self.get(entry);
        self.unmap_range(e.task, e.start(), e.end, budget)
    }

    /// Removes an entry, and what of its object nobody can reach any more.
    ///
    /// # Errors
    /// `Again`: more is left; the entry is not there for lookups any more.
    pub(crate) fn entry_remove(&mut self, entry: Ref<Entry>, budget: &mut u32) -> Result<(), Stop> {
        self.get_mut(entry).head.flags |= GONE;
        self.entry_unmap(entry, budget)?;
        let e = *self.get(entry);
        if e.object.is_some() {
            let memory = self.get(e.object);
            if memory.refs == 1 {
                self.memory_drain(e.object, budget)?;
            } else if memory.head.flags & PRIVATE != 0 {
                let first = e.offset / PAGE;
                self.memory_free_range(e.object, first, first + (e.end - e.start()) / PAGE, budget)?;
            }
            self.entry_unlink_object(entry);
            self.memory_drop(e.object);
        }
        let map = self.tree_remove::<Map, Entry>(self.get(e.task).map, entry);
        let t = self.get_mut(e.task);
        t.map = map;
        t.entries -= 1;
        t.virtual_size -= e.end - e.start();
        t.place_hint = t.place_hint.min(e.start());
        self.free_object(entry);
        Ok(())
    }

    /// Prepares the removal of a range: an entry that reaches beyond it on both sides is cut in two.
    ///
    /// # Errors
    /// `KERN_RESOURCE_SHORTAGE` at the account that pays for the entry (nothing changed).
    pub(crate) fn map_clip_hole(&mut self, task: Ref<Task>, start: u64, end: u64) -> Result<(), Stop> {
        let entry = self.map_from(task, start);
        if entry.is_some() && self.get(entry).start() < start && self.get(entry).end > end {
            return self.map_clip(task, end);
        }
        Ok(())
    }

    /// Takes the beginning or the end off an entry: the part that lies in a range. Charges nothing.
    ///
    /// # Errors
    /// `Again`: more is left.
    fn entry_trim(&mut self, entry: Ref<Entry>, start: u64, end: u64, budget: &mut u32) -> Result<(), Stop> {
        let e = *self.get(entry);
        let (from, to) = (start.max(e.start()), end.min(e.end));
        self.unmap_range(e.task, from, to, budget)?;
        if e.object.is_some() && self.get(e.object).head.flags & PRIVATE != 0 {
            let (first, last) = (e.object_offset(from) / PAGE, e.object_offset(to) / PAGE);
            self.memory_free_range(e.object, first, last, budget)?;
        }
        if from == e.start() {
            let map = self.tree_remove::<Map, Entry>(self.get(e.task).map, entry);
            let left = self.get_mut(entry);
            left.links.key = to;
            left.offset = e.object_offset(to);
            if e.cursor != 0 {
                left.cursor = e.cursor.max(to);
            }
            self.get_mut(e.task).map = self.tree_insert::<Map, Entry>(map, entry);
        } else {
            let left = self.get_mut(entry);
            left.end = from;
            if left.cursor >= from {
                left.cursor = 0;
            }
        }
        let t = self.get_mut(e.task);
        t.virtual_size -= to - from;
        t.place_hint = t.place_hint.min(from);
        Ok(())
    }

    /// Removes what is mapped in a range ([`Self::map_clip_hole`] came before). Charges nothing.
    ///
    /// # Errors
    /// `Again`: more is left.
    pub(crate) fn map_remove(
        &mut self,
        task: Ref<Task>,
        start: u64,
        end: u64,
        budget: &mut u32,
    ) -> Result<(), Stop> {
        loop {
            let entry = self.map_from(task, start);
            if entry.is_none() || self.get(entry).start() >= end {
                return Ok(());
            }
            if *budget == 0 {
                return Err(Stop::Again);
            }
            *budget -= 1;
            let e = self.get(entry);
            if e.head.flags & GONE != 0 || e.start() >= start && e.end <= end {
                self.entry_remove(entry, budget)?;
            } else {
                self.entry_trim(entry, start, end, budget)?;
            }
        }
    }

    /// Whether a copy of what an entry maps may be made by looking at the object (copy on write) rather than at once.
    pub(crate) fn may_share_for_copy(&self, object: Ref<Memory>) -> bool {
        let memory = self.get(object);
        memory.depth < DEPTH_MAX && (memory.head.flags & FROZEN != 0 || memory.head.flags & SHARED == 0)
    }

    /// Makes every later write through this entry go to a shadow.
    ///
    /// # Errors
    /// `Again`: more mapped pages are to be write-protected.
    pub(crate) fn entry_mark_copy(&mut self, entry: Ref<Entry>, budget: &mut u32) -> Result<(), Stop> {
        let e = self.get_mut(entry);
        if e.head.flags & NEEDS_COPY == 0 {
            e.head.flags |= NEEDS_COPY;
            e.cursor = e.links.key;
        }
        self.entry_restrict(entry, VM_PROT_ALL & !VM_PROT_WRITE, budget)
    }

    /// Takes rights from the mapped pages of an entry, from its cursor on.
    ///
    /// # Errors
    /// `Again`: more is left, the cursor says where.
    pub(crate) fn entry_restrict(
        &mut self,
        entry: Ref<Entry>,
        prot: i32,
        budget: &mut u32,
    ) -> Result<(), Stop> {
        let e = *self.get(entry);
        if e.cursor == 0 {
            return Ok(());
        }
        let next = self.restrict_range(e.task, e.cursor, e.end, prot, budget);
        if next < e.end {
            self.get_mut(entry).cursor = next;
            return Err(Stop::Again);
        }
        self.get_mut(entry).cursor = 0;
        Ok(())
    }
}
