//! Whole address spaces: copies for new tasks, and their end.

use drover_abi::vm::{VM_INHERIT_NONE, VM_INHERIT_SHARE, VM_MAX_ADDRESS, VM_PROT_WRITE};

use crate::account::Payer;
use crate::kernel::{Kernel, Stop};
use crate::machine::Machine;
use crate::map::{Entry, GONE, LOST, Mapping, NEEDS_COPY};
use crate::memory::{BATCH, FROZEN, Memory, PRIVATE, SHARED};
use crate::object::Ref;
use crate::pagetable::{PAGE, in_windows};
use crate::task::Task;

impl<M: Machine> Kernel<M> {
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
}
