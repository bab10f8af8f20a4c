//! What is asked of ranges that are mapped: rights, inheritance, copies, what is where.

use drover_abi::returns::{KERN_INVALID_ADDRESS, KERN_NO_SPACE, KERN_PROTECTION_FAILURE};
use drover_abi::vm::{VM_INHERIT_COPY, VM_INHERIT_NONE, VM_INHERIT_SHARE, VM_PROT_WRITE};

use super::{ARGUMENT, Region, is_prot};
use crate::kernel::{Kernel, Stop};
use crate::machine::Machine;
use crate::map::{Entry, GONE, NEEDS_COPY, page_range};
use crate::memory::{BATCH, SHARED};
use crate::object::Ref;
use crate::pagetable::in_windows;
use crate::task::Task;
use crate::user::COPY_MAX;

impl<M: Machine> Kernel<M> {
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
}
