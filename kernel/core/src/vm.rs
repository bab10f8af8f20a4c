//! The operations on a task's address space, with the arguments of `mach.defs`.
//!
//! Each checks and reserves, then commits; long ones do a batch and return `Again`, with their progress in the map (entries removed, cursors), so that the same
//! call goes on where it stopped. New entries and objects are charged to `payer`; in payer mode CALL what the kernel places goes into the call's window.
//! Copies between ranges (`vm_copy`, and copies of shared objects) are made in one go and at most [`COPY_MAX`] bytes long.
//! Deliberately absent: wiring, caching attributes, external pagers.

use drover_abi::returns::{
    KERN_INVALID_ADDRESS, KERN_INVALID_ARGUMENT, KERN_NO_SPACE, KERN_PROTECTION_FAILURE,
};
use drover_abi::trap::PAYER_CALL;
use drover_abi::vm::{
    VM_INHERIT_COPY, VM_INHERIT_NONE, VM_INHERIT_SHARE, VM_MAX_ADDRESS, VM_PROT_ALL, VM_PROT_WRITE,
};

use crate::account::Payer;
use crate::activation::Activation;
use crate::frame::FrameKind;
use crate::kernel::{Kernel, Stop};
use crate::machine::Machine;
use crate::map::{Entry, GONE, LOST, Mapping, NEEDS_COPY, page_range};
use crate::memory::{BATCH, FROZEN, Memory, PRIVATE, SHARED};
use crate::object::{Kind, Ref};
use crate::pagetable::{PAGE, in_windows};
use crate::port::{PORT_ALIVE, Port};
use crate::task::Task;
use crate::user::COPY_MAX;

/// What `vm_region` says of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Region {
    /// First address.
    pub address: u64,
    /// Bytes.
    pub size: u64,
    /// Rights.
    pub prot: i32,
    /// Rights that it may be given.
    pub max_prot: i32,
    /// A `VM_INHERIT_` value.
    pub inheritance: i32,
    /// Others may write to it.
    pub shared: bool,
    /// The object's port, if it has one.
    pub port: Ref<Port>,
    /// Offset in the object.
    pub offset: u64,
}

/// Arguments of `vm_map`.
#[derive(Clone, Copy, Debug)]
pub struct Map {
    /// Where, or above where (`anywhere`; 0: no wish).
    pub address: u64,
    /// Bytes.
    pub size: u64,
    /// Bits that must be 0 in the address: a power of two minus 1.
    pub mask: u64,
    /// The kernel chooses the place.
    pub anywhere: bool,
    /// What to map; none: new zeros.
    pub object: Ref<Memory>,
    /// Offset in it, a multiple of the page size.
    pub offset: u64,
    /// A copy, not the object itself.
    pub copy: bool,
    /// Rights.
    pub prot: i32,
    /// Rights that it may be given.
    pub max_prot: i32,
    /// A `VM_INHERIT_` value.
    pub inheritance: i32,
}

const fn is_prot(prot: i32) -> bool {
    prot & !VM_PROT_ALL == 0
}

const ARGUMENT: Stop = Stop::Error(KERN_INVALID_ARGUMENT);

impl<M: Machine> Kernel<M> {
    /// The activation in whose window the kernel places what the current thread asks for in `task` (payer mode CALL).
    pub(crate) fn call_window(&self, task: Ref<Task>) -> Option<Ref<Activation>> {
        if self.current.is_none() {
            return None;
        }
        let top = self.get(self.current).top;
        if top.is_none() {
            return None;
        }
        let act = self.get(top);
        let mode = u64::from(act.payer_mode);
        if act.task == task && act.window != 0 && mode == PAYER_CALL { Some(top) } else { None }
    }

    /// Allocates zeros. Returns the address.
    ///
    /// # Errors
    /// `KERN_NO_SPACE`, `KERN_INVALID_ADDRESS`, `KERN_INVALID_ARGUMENT`, `KERN_RESOURCE_SHORTAGE`. In payer mode CALL only `anywhere` is possible.
    pub fn vm_allocate(
        &mut self,
        task: Ref<Task>,
        payer: Payer,
        address: u64,
        size: u64,
        anywhere: bool,
    ) -> Result<u64, Stop> {
        if size == 0 {
            return Ok(0);
        }
        // Mach takes an address of `anywhere` for garbage.
        let address = if anywhere { 0 } else { address };
        self.vm_map(
            task,
            payer,
            &Map {
                address,
                size,
                mask: 0,
                anywhere,
                object: Ref::NONE,
                offset: 0,
                copy: false,
                prot: VM_PROT_ALL & !drover_abi::vm::VM_PROT_EXECUTE,
                max_prot: VM_PROT_ALL,
                inheritance: VM_INHERIT_COPY,
            },
        )
    }

    /// Maps a memory object, or zeros. Returns the address.
    ///
    /// # Errors
    /// As [`Kernel::vm_allocate`]; `KERN_PROTECTION_FAILURE`: writing to an object that cannot be written to.
    pub fn vm_map(&mut self, task: Ref<Task>, payer: Payer, map: &Map) -> Result<u64, Stop> {
        let align = map.mask.checked_add(1).filter(|a| a.is_power_of_two()).ok_or(ARGUMENT)?.max(PAGE);
        let inheritance = matches!(map.inheritance, VM_INHERIT_SHARE | VM_INHERIT_COPY | VM_INHERIT_NONE);
        let rights = is_prot(map.prot) && is_prot(map.max_prot) && map.prot & !map.max_prot == 0;
        if map.size == 0 || !inheritance || !rights || !map.offset.is_multiple_of(PAGE) {
            return Err(ARGUMENT);
        }
        let size = map.size.checked_next_multiple_of(PAGE).filter(|&s| s <= VM_MAX_ADDRESS);
        let size = size.ok_or(Stop::Error(KERN_NO_SPACE))?;
        let window = self.call_window(task);
        if let Some(act) = window
            && map.anywhere
            && map.object.is_none()
        {
            return self.window_alloc_aligned(act, size, align);
        }
        let start = if !map.anywhere {
            if window.is_some() {
                return Err(Stop::Error(KERN_INVALID_ADDRESS));
            }
            let (start, end) = page_range(map.address, map.size)?;
            if start & map.mask != 0 {
                return Err(Stop::Error(KERN_NO_SPACE));
            }
            self.map_check(task, start, end)?;
            // A range that is not aligned may span one page more.
            return self.map_at(task, payer, start, end, map).map(|()| start);
        } else if let Some(act) = window {
            // Taken back below if the rest fails.
            self.window_alloc_aligned(act, size, align)?
        } else {
            self.map_find(task, size, align, map.address)?
        };
        let result = self.map_at(task, payer, start, start + size, map);
        match (result, window) {
            (Ok(()), None) if map.address == 0 => self.get_mut(task).place_hint = start + size,
            (Err(_), Some(act)) => self.get_mut(act).window_next = start,
            _ => {}
        }
        result.map(|()| start)
    }

    /// Maps at a free place.
    fn map_at(&mut self, task: Ref<Task>, payer: Payer, start: u64, end: u64, map: &Map) -> Result<(), Stop> {
        let mut mapping = Mapping {
            object: map.object,
            offset: map.offset,
            prot: map.prot,
            max_prot: map.max_prot,
            inheritance: map.inheritance,
            flags: 0,
        };
        let size = end - start;
        if map.object.is_none() {
            mapping.object = self.memory_create(payer, size)?;
            mapping.offset = 0;
        } else {
            let memory = self.get(map.object);
            if map.offset.checked_add(size).is_none_or(|end| end > memory.size) {
                return Err(ARGUMENT);
            }
            if map.copy {
                (mapping.object, mapping.offset, mapping.flags) =
                    self.object_copy(map.object, map.offset, size, payer)?;
            } else {
                if memory.head.flags & FROZEN != 0 {
                    if map.prot & VM_PROT_WRITE != 0 {
                        return Err(Stop::Error(KERN_PROTECTION_FAILURE));
                    }
                    mapping.max_prot &= !VM_PROT_WRITE;
                }
                self.get_mut(map.object).refs += 1;
            }
        }
        match self.entry_new(task, payer, start, end, mapping) {
            Ok(_) => {
                if map.object.is_some() && !map.copy && self.get(map.object).head.flags & FROZEN == 0 {
                    let flags = &mut self.get_mut(map.object).head.flags;
                    *flags = *flags & !PRIVATE | SHARED;
                }
                Ok(())
            }
            Err(stop) => {
                self.object_uncopy(mapping.object);
                Err(stop)
            }
        }
    }

    /// Gives up a reference just taken by [`Kernel::object_copy`] or [`Kernel::memory_create`].
    fn object_uncopy(&mut self, object: Ref<Memory>) {
        if self.get(object).refs == 1 {
            self.memory_free(object);
        } else {
            self.memory_drop(object);
        }
    }

    /// A copy of a part of an object that no entry stands for: by reference if nobody can write to it, else made now.
    /// Returns the object to map (with a reference), the offset, and the entry's flags.
    fn object_copy(
        &mut self,
        object: Ref<Memory>,
        offset: u64,
        size: u64,
        payer: Payer,
    ) -> Result<(Ref<Memory>, u64, u8), Stop> {
        if self.get(object).head.flags & FROZEN != 0 && self.may_share_for_copy(object) {
            self.get_mut(object).refs += 1;
            return Ok((object, offset, NEEDS_COPY));
        }
        if size > COPY_MAX {
            return Err(ARGUMENT);
        }
        let copy = self.memory_create(payer, size)?;
        for page in 0..size / PAGE {
            if let Err(stop) = self.copy_page(object, offset + page * PAGE, copy, page as u32) {
                self.memory_free(copy);
                return Err(stop);
            }
        }
        Ok((copy, 0, 0))
    }

    /// Copies the page visible at an offset of one object (if any) into another, which has none at that index.
    pub(crate) fn copy_page(
        &mut self,
        from: Ref<Memory>,
        offset: u64,
        to: Ref<Memory>,
        index: u32,
    ) -> Result<(), Stop> {
        let Some(source) = self.memory_visible(from, offset)? else {
            return Ok(());
        };
        let payer = self.memory_payer(to);
        let frame = self.new_frame_dirty(payer, FrameKind::Page)?;
        self.machine.copy(source, 0, frame, 0, PAGE as usize);
        self.memory_insert(to, index, frame, payer).inspect_err(|_| self.free_frame(frame))
    }

    /// Unmaps a range; what nobody else can reach is freed. Nothing being mapped there is no error.
    ///
    /// # Errors
    /// `KERN_INVALID_ARGUMENT`; `KERN_INVALID_ADDRESS`: reaches into the call windows, other than one window in use;
    /// `KERN_RESOURCE_SHORTAGE`: an entry had to be cut in two (its payer); `Again`.
    pub fn vm_deallocate(&mut self, task: Ref<Task>, address: u64, size: u64) -> Result<(), Stop> {
        if size == 0 {
            return Ok(());
        }
        let (start, end) = page_range(address, size)?;
        let mut budget = BATCH;
        if in_windows(start) || in_windows(end - 1) {
            return self.window_release(task, start, end, &mut budget);
        }
        self.map_clip_hole(task, start, end)?;
        self.map_remove(task, start, end, &mut budget)
    }

    /// Visits the entries of a range in order: the next one that ends after `at` and starts before `end`.
    fn entry_in(&self, task: Ref<Task>, at: u64, end: u64) -> Option<Ref<Entry>> {
        let entry = self.map_from(task, at);
        if entry.is_none() || self.get(entry).start() >= end { None } else { Some(entry) }
    }

    /// Whether a range is mapped without a hole.
    fn is_covered(&self, task: Ref<Task>, start: u64, end: u64) -> bool {
        let mut at = start;
        while at < end {
            match self.map_lookup(task, at) {
                Some(entry) => at = self.get(entry).end,
                None => return false,
            }
        }
        true
    }

    /// Sets the rights of a range (`set_maximum`: those that it may be given; the rights shrink with them).
    ///
    /// # Errors
    /// `KERN_INVALID_ARGUMENT`; `KERN_PROTECTION_FAILURE`: more than the maximum; `KERN_INVALID_ADDRESS`: the call windows;
    /// `KERN_RESOURCE_SHORTAGE`: an entry had to be cut; `Again`.
    pub fn vm_protect(
        &mut self,
        task: Ref<Task>,
        address: u64,
        size: u64,
        set_maximum: bool,
        prot: i32,
    ) -> Result<(), Stop> {
        let (start, end) = page_range(address, size)?;
        if !is_prot(prot) {
            return Err(ARGUMENT);
        }
        if size == 0 {
            return Ok(());
        }
        if in_windows(start) || in_windows(end - 1) {
            return Err(Stop::Error(KERN_INVALID_ADDRESS));
        }
        let mut at = start;
        while let Some(entry) = self.entry_in(task, at, end) {
            let e = self.get(entry);
            if prot & !i32::from(e.max_prot) != 0 {
                return Err(Stop::Error(KERN_PROTECTION_FAILURE));
            }
            at = e.end;
        }
        self.map_clip(task, start)?;
        self.map_clip(task, end)?;
        let mut budget = BATCH;
        at = start;
        while let Some(entry) = self.entry_in(task, at, end) {
            let e = self.get_mut(entry);
            at = e.end;
            let new = if set_maximum {
                e.max_prot = prot as u8;
                i32::from(e.prot) & prot
            } else {
                prot
            };
            let old = i32::from(e.prot);
            if old != new {
                e.prot = new as u8;
                if old & !new != 0 || e.cursor != 0 {
                    e.cursor = e.links.key;
                }
                budget = budget.checked_sub(1).ok_or(Stop::Again)?;
            }
            let mut allowed = new;
            if self.get(entry).head.flags & NEEDS_COPY != 0 {
                allowed &= !VM_PROT_WRITE;
            }
            self.entry_restrict(entry, allowed, &mut budget)?;
        }
        Ok(())
    }

    /// Sets what a child task gets of a range.
    ///
    /// # Errors
    /// `KERN_INVALID_ARGUMENT`; `KERN_INVALID_ADDRESS`: the call windows; `KERN_RESOURCE_SHORTAGE`: an entry had to be cut; `Again`.
    pub fn vm_inherit(
        &mut self,
        task: Ref<Task>,
        address: u64,
        size: u64,
        inheritance: i32,
    ) -> Result<(), Stop> {
        let (start, end) = page_range(address, size)?;
        if !matches!(inheritance, VM_INHERIT_SHARE | VM_INHERIT_COPY | VM_INHERIT_NONE) {
            return Err(ARGUMENT);
        }
        if size == 0 {
            return Ok(());
        }
        if in_windows(start) || in_windows(end - 1) {
            return Err(Stop::Error(KERN_INVALID_ADDRESS));
        }
        self.map_clip(task, start)?;
        self.map_clip(task, end)?;
        let mut budget = BATCH;
        let mut at = start;
        while let Some(entry) = self.entry_in(task, at, end) {
            let e = self.get_mut(entry);
            at = e.end;
            if i32::from(e.inheritance) != inheritance {
                e.inheritance = inheritance as u8;
                budget = budget.checked_sub(1).ok_or(Stop::Again)?;
            }
        }
        Ok(())
    }

    /// Copies a range over another, which must be mapped. Both may overlap only if the target is not after the source.
    ///
    /// # Errors
    /// `KERN_INVALID_ARGUMENT`: longer than [`COPY_MAX`]; `KERN_INVALID_ADDRESS`: not all mapped; else as [`Kernel::fault`].
    pub fn vm_copy(&mut self, task: Ref<Task>, src: u64, size: u64, dst: u64) -> Result<(), Stop> {
        let (src_start, src_end) = page_range(src, size)?;
        let (dst_start, dst_end) = page_range(dst, size)?;
        if size > COPY_MAX {
            return Err(ARGUMENT);
        }
        // Ranges in a window are found out page by page.
        let hole = |start, end| !in_windows(start) && !self.is_covered(task, start, end);
        if hole(src_start, src_end) || hole(dst_start, dst_end) {
            return Err(Stop::Error(KERN_INVALID_ADDRESS));
        }
        self.copy_user(task, src, task, dst, size)
    }

    /// The first region at or above an address.
    ///
    /// # Errors
    /// `KERN_NO_SPACE`: there is none.
    pub fn vm_region(&self, task: Ref<Task>, address: u64) -> Result<Region, Stop> {
        let mut entry = self.map_from(task, address);
        while entry.is_some() && self.get(entry).head.flags & GONE != 0 {
            entry = self.map_from(task, self.get(entry).end);
        }
        if entry.is_none() {
            return Err(Stop::Error(KERN_NO_SPACE));
        }
        let e = self.get(entry);
        let memory = if e.object.is_some() { Some(self.get(e.object)) } else { None };
        Ok(Region {
            address: e.start(),
            size: e.end - e.start(),
            prot: i32::from(e.prot),
            max_prot: i32::from(e.max_prot),
            inheritance: i32::from(e.inheritance),
            shared: memory.is_some_and(|m| m.head.flags & SHARED != 0),
            port: memory.map_or(Ref::NONE, |m| m.port),
            offset: e.offset,
        })
    }

    /// Makes `child` (whose map is empty at first) inherit the parent's memory, entry by entry, as each entry's inheritance says. The call windows
    /// are not inherited. Everything new is charged to `payer`.
    ///
    /// # Errors
    /// `Again`: more is left (`child.fork_at` says where); `KERN_RESOURCE_SHORTAGE` and others: the caller destroys the child.
    pub fn space_fork(&mut self, parent: Ref<Task>, child: Ref<Task>, payer: Payer) -> Result<(), Stop> {
        let mut budget = BATCH;
        loop {
            let entry = self.map_from(parent, self.get(child).fork_at);
            if entry.is_none() {
                return Ok(());
            }
            budget = budget.checked_sub(1).ok_or(Stop::Again)?;
            let e = *self.get(entry);
            let skip = i32::from(e.inheritance) == VM_INHERIT_NONE
                || e.head.flags & (GONE | LOST) != 0
                || in_windows(e.start());
            if !skip {
                self.fork_entry(entry, child, payer, &mut budget)?;
            }
            self.get_mut(child).fork_at = e.end;
        }
    }

    fn fork_entry(
        &mut self,
        entry: Ref<Entry>,
        child: Ref<Task>,
        payer: Payer,
        budget: &mut u32,
    ) -> Result<(), Stop> {
        let e = *self.get(entry);
        let mut mapping = Mapping {
            object: e.object,
            offset: e.offset,
            prot: i32::from(e.prot),
            max_prot: i32::from(e.max_prot),
            inheritance: i32::from(e.inheritance),
            flags: e.head.flags & NEEDS_COPY,
        };
        let frozen = self.get(e.object).head.flags & FROZEN != 0;
        let share = i32::from(e.inheritance) == VM_INHERIT_SHARE;
        if share && e.head.flags & NEEDS_COPY != 0 && i32::from(e.max_prot) & VM_PROT_WRITE != 0 {
            // What is shared must be the parent's own.
            self.entry_unmap(entry, budget)?;
            self.entry_shadow(entry)?;
            (mapping.object, mapping.offset) = (self.get(entry).object, self.get(entry).offset);
            mapping.flags = 0;
        } else if !share && !frozen {
            self.memory_collapse(e.object, budget)?;
            if self.may_share_for_copy(e.object) {
                self.entry_mark_copy(entry, budget)?;
                mapping.flags = NEEDS_COPY;
            } else {
                return self.fork_copy(entry, child, payer, mapping, budget);
            }
        }
        self.entry_new(child, payer, e.start(), e.end, mapping)?;
        let memory = self.get_mut(mapping.object);
        memory.refs += 1;
        memory.head.flags &= !PRIVATE;
        if mapping.flags & NEEDS_COPY == 0 && memory.head.flags & FROZEN == 0 {
            memory.head.flags |= SHARED;
        }
        Ok(())
    }

    /// Copies an entry page by page into an entry of the child. The child's entry is there from the beginning; its cursor says how far it is.
    fn fork_copy(
        &mut self,
        entry: Ref<Entry>,
        child: Ref<Task>,
        payer: Payer,
        mut mapping: Mapping,
        budget: &mut u32,
    ) -> Result<(), Stop> {
        let e = *self.get(entry);
        let copy = match self.map_lookup(child, e.start()) {
            Some(copy) => copy,
            None => {
                let object = self.memory_create(payer, e.end - e.start())?;
                (mapping.object, mapping.offset, mapping.flags) = (object, 0, 0);
                let made = self.entry_new(child, payer, e.start(), e.end, mapping);
                let copy = made.inspect_err(|_| self.memory_drop(object))?;
                self.get_mut(copy).cursor = e.start();
                copy
            }
        };
        let c = *self.get(copy);
        // Either may have been cut since: what was not done yet lies above both.
        let mut at = c.cursor.max(e.start());
        while at < e.end {
            let Some(offset) =
                self.memory_visible_next(e.object, e.object_offset(at), e.object_offset(e.end))
            else {
                break;
            };
            at = e.start() + (offset - e.offset);
            if *budget == 0 {
                self.get_mut(copy).cursor = at;
                return Err(Stop::Again);
            }
            *budget -= 1;
            let index = c.object_offset(at) / PAGE;
            if self.memory_page(c.object, index as u32).is_none() {
                self.copy_page(e.object, offset, c.object, index as u32)?;
            }
            at += PAGE;
        }
        self.get_mut(copy).cursor = 0;
        Ok(())
    }

    /// The first offset in a range at which some object of a chain has a page, or lost what it had.
    fn memory_visible_next(&self, object: Ref<Memory>, offset: u64, end: u64) -> Option<u64> {
        let (mut at, mut shift) = (object, 0);
        let mut best = None;
        loop {
            let memory = self.get(at);
            if let Some((index, _)) = self.memory_next(at, ((offset + shift) / PAGE) as u32) {
                let found = u64::from(index) * PAGE - shift;
                if found < end && best.is_none_or(|b| found < b) {
                    best = Some(found);
                }
            }
            if memory.shadow.is_none() {
                return best;
            }
            shift += memory.shadow_offset;
            at = memory.shadow;
        }
    }

    /// Empties an address space and frees its tables. The task runs no more and has no windows open. Afterwards `root_table` is 0.
    ///
    /// # Errors
    /// `Again`: more is left.
    pub fn space_destroy(&mut self, task: Ref<Task>) -> Result<(), Stop> {
        let root = self.get(task).root_table;
        if root == 0 {
            return Ok(());
        }
        let mut budget = BATCH;
        self.map_remove(task, 0, VM_MAX_ADDRESS, &mut budget)?;
        // What remains is the pointer table kept for windows.
        let mut at = 0;
        while let Some(next) = self.next_word(root, at) {
            if next >= crate::pagetable::ENTRIES / 2 {
                break;
            }
            at = next;
            if let Some(table) = crate::pagetable::target(self.words(root)[at]) {
                debug_assert_eq!(self.info(table).flags, 0, "something is still mapped");
                self.free_frame(table);
            }
            self.set_word(root, at, 0);
        }
        self.get_mut(task).root_table = 0;
        self.free_frame(root);
        Ok(())
    }

    /// A new anonymous object charged to `payer`, with its port, which has the object's one reference.
    ///
    /// # Errors
    /// `KERN_INVALID_ARGUMENT`: size 0 or too large; `KERN_RESOURCE_SHORTAGE`.
    pub fn vm_object_create(&mut self, payer: Payer, size: u64) -> Result<Ref<Memory>, Stop> {
        let size = size.checked_next_multiple_of(PAGE).ok_or(ARGUMENT)?;
        let object = self.memory_create(payer, size)?;
        let named = self.kernel_port(payer, Kind::Memory, object.raw());
        let port = named.inspect_err(|_| self.memory_drop(object))?;
        let memory = self.get_mut(object);
        memory.port = port;
        memory.head.flags = memory.head.flags & !PRIVATE | SHARED;
        Ok(object)
    }

    /// The port of a memory object; makes one, charged to the object's account, if there is none.
    ///
    /// # Errors
    /// `KERN_RESOURCE_SHORTAGE`; `Again`: its last port is still being taken apart.
    pub fn memory_port(&mut self, object: Ref<Memory>) -> Result<Ref<Port>, Stop> {
        let old = self.get(object).port;
        if old.is_some() {
            return if self.get(old).head.state == PORT_ALIVE { Ok(old) } else { Err(Stop::Again) };
        }
        let payer = self.memory_payer(object);
        let port = self.kernel_port(payer, Kind::Memory, object.raw())?;
        let memory = self.get_mut(object);
        memory.port = port;
        memory.refs += 1;
        memory.head.flags &= !PRIVATE;
        if memory.head.flags & FROZEN == 0 {
            memory.head.flags |= SHARED;
        }
        Ok(port)
    }

    /// Ends an entry whose account is being destroyed: the range is not mapped any more.
    ///
    /// # Errors
    /// `Again`: more is left.
    pub(crate) fn entry_destroy(&mut self, entry: Ref<Entry>) -> Result<(), Stop> {
        let mut budget = BATCH;
        self.entry_remove(entry, &mut budget)
    }
}
