//! Call windows: the memory of one activation in the server's address space.
//!
//! Everything below the page-directory-pointer table of a window is charged to the call's payer, under its ceilings, and is torn down whole when the call
//! ends; the pointer table is shared by 64 windows and paid by the server task's account. The first page directory of an open window always
//! exists and its `FrameInfo.partial_next` names the activation, so the owner of a window address is found without a search.
//! Memory of a window is readable and writable, never executable. `window_frames` counts its frames (pages and tables).
//! Deliberately absent: any way for user space to place something in a window itself.

use drover_abi::account::FRAMES;
use drover_abi::returns::{
    KERN_INVALID_ADDRESS, KERN_NO_SPACE, KERN_PROTECTION_FAILURE, KERN_RESOURCE_SHORTAGE,
};
use drover_abi::vm::{VM_PROT_READ, VM_PROT_WRITE};
use drover_abi::window::{ARENA, ARENA_END, STACK_GUARD, STACK_TOP, WINDOW_SIZE, WINDOWS_BASE};

use crate::account::Payer;
use crate::activation::Activation;
use crate::fault::Access;
use crate::frame::FrameKind;
use crate::kernel::{Kernel, Stop};
use crate::machine::{Frame, Machine};
use crate::memory::BATCH;
use crate::object::Ref;
use crate::pagetable::{PAGE, in_windows, index, leaf, table_word, target};
use crate::task::Task;

/// Page directories of a window.
const DIRECTORIES: usize = (WINDOW_SIZE >> 30) as usize;
/// Pages up to which a teardown flushes one by one.
const FLUSH_EACH: u32 = 8;

const fn base_of(address: u64) -> u64 {
    address & !(WINDOW_SIZE - 1)
}

/// Whether a page of the activation's window may be touched: below the top of the stack but for the guard, the arena, what the kernel placed.
pub(crate) const fn is_valid(act: &Activation, page: u64) -> bool {
    let offset = page - act.window;
    if offset < STACK_TOP { offset != STACK_GUARD } else { offset >= ARENA && page < act.window_next }
}

impl<M: Machine> Kernel<M> {
    /// Who pays for what lies in the window of an activation.
    pub(crate) fn window_payer(&self, act: Ref<Activation>) -> Payer {
        Payer { account: self.get(act).payer, call: act }
    }

    /// The activation whose window an address lies in.
    pub(crate) fn window_owner(&self, task: Ref<Task>, address: u64) -> Option<Ref<Activation>> {
        if !in_windows(address) {
            return None;
        }
        let base = base_of(address);
        let pointers = target(self.words(self.get(task).root_table)[index(base, 3)])?;
        let directory = target(self.words(pointers)[index(base, 2)])?;
        let act = Ref::from_raw(self.info(directory).partial_next);
        if act.is_some() { Some(act) } else { None }
    }

    /// Gives an activation the lowest free window of its task: sets `window`, `window_next`, `window_frames`.
    ///
    /// # Errors
    /// `KERN_RESOURCE_SHORTAGE`: the payer (one page directory), the server task's account (a pointer table, one for 64 windows), or no window
    /// is free. Nothing changed.
    pub fn window_open(&mut self, act: Ref<Activation>, payer: Payer) -> Result<(), Stop> {
        let task = self.get(act).task;
        let words = &self.get(task).windows;
        let word = words.iter().position(|&w| w != u64::MAX).ok_or(Stop::Error(KERN_RESOURCE_SHORTAGE))?;
        let bit = words[word].trailing_ones();
        let base = WINDOWS_BASE + (word as u64 * 64 + u64::from(bit)) * WINDOW_SIZE;
        let root = self.get(task).root_table;
        let owner = Payer::account(self.get(task).account);
        let (pointers, made) = self.tables_ensure(root, base, 2, owner)?;
        let directory = match self.new_table(payer) {
            Ok(directory) => directory,
            Err(stop) => {
                if made != 0 {
                    self.pointers_drop(task, base, false);
                }
                return Err(stop);
            }
        };
        self.set_word(pointers, index(base, 2), table_word(directory));
        self.info_mut(directory).partial_next = act.raw();
        self.get_mut(task).windows[word] |= 1 << bit;
        let a = self.get_mut(act);
        (a.window, a.window_next, a.window_frames) = (base, base + ARENA_END, 1);
        Ok(())
    }

    /// Gives a window just opened what every call touches: the first page (local block and request) and the top page of the stack, which share a
    /// page table. Returns the first page.
    ///
    /// # Errors
    /// `KERN_RESOURCE_SHORTAGE`: the payer (three frames). Nothing changed.
    pub(crate) fn window_start(&mut self, act: Ref<Activation>, payer: Payer) -> Result<Frame, Stop> {
        let Activation { task, window: base, .. } = *self.get(act);
        let root = self.get(task).root_table;
        let (directory, _) = self.tables_ensure(root, base, 1, payer)?;
        self.charge(payer, FRAMES, 3)?;
        let table = self.take_table();
        self.own_frame(table, payer.account, FrameKind::PageTable);
        self.set_word(directory, 0, table_word(table));
        let pages = [base, base + STACK_TOP - PAGE].map(|page| {
            let frame = self.take_free();
            self.machine.zero(frame);
            self.own_frame(frame, payer.account, FrameKind::Window);
            self.set_word(table, index(page, 0), leaf(frame, VM_PROT_READ | VM_PROT_WRITE));
            frame
        });
        self.keep_translation(root, base, pages[0], true);
        self.get_mut(act).window_frames += 3;
        Ok(pages[0])
    }

    /// Frees the pointer table of a window if it is empty; the first one is kept for the next calls if `keep`.
    fn pointers_drop(&mut self, task: Ref<Task>, base: u64, keep: bool) {
        let root = self.get(task).root_table;
        if keep && base < WINDOWS_BASE + 64 * WINDOW_SIZE {
            return;
        }
        if let Some(pointers) = target(self.words(root)[index(base, 3)])
            && self.info(pointers).flags == 0
        {
            self.free_table(pointers);
            self.set_word(root, index(base, 3), 0);
        }
    }

    /// Tears a window down: entries, pages, tables. Afterwards `window` is 0 and `window_frames` is 0.
    ///
    /// # Errors
    /// `Again`: more is left.
    pub fn window_close(&mut self, act: Ref<Activation>) -> Result<(), Stop> {
        let Activation { task, window: base, .. } = *self.get(act);
        if base == 0 {
            return Ok(());
        }
        let mut budget = BATCH;
        let root = self.get(task).root_table;
        self.window_unmap_entries(act, base, base + WINDOW_SIZE, &mut budget)?;
        if let Some(pointers) = target(self.words(root)[index(base, 3)]) {
            let first = index(base, 2);
            // The first directory names the owner: it goes last.
            for at in (first..first + DIRECTORIES).rev() {
                if let Some(directory) = target(self.words(pointers)[at]) {
                    let address = base + ((at - first) as u64) * (1 << 30);
                    self.window_directory_free(act, directory, address, &mut budget)?;
                    self.set_word(pointers, at, 0);
                    self.free_table(directory);
                    self.window_frame_freed(act);
                }
            }
        }
        self.pointers_drop(task, base, true);
        if self.is_loaded(task) {
            if BATCH - budget <= FLUSH_EACH {
                self.machine.flush(base);
            } else {
                self.machine.flush_all();
            }
        }
        let number = (base - WINDOWS_BASE) / WINDOW_SIZE;
        self.get_mut(task).windows[(number / 64) as usize] &= !(1 << (number % 64));
        let a = self.get_mut(act);
        debug_assert_eq!(a.window_frames, 0);
        (a.window, a.window_next) = (0, 0);
        Ok(())
    }

    /// Frees what a page directory of a window holds.
    fn window_directory_free(
        &mut self,
        act: Ref<Activation>,
        directory: Frame,
        address: u64,
        budget: &mut u32,
    ) -> Result<(), Stop> {
        let task = self.get(act).task;
        let root = self.get(task).root_table;
        let few = *budget > BATCH - FLUSH_EACH;
        let mut at = 0;
        while self.info(directory).flags != 0
            && let Some(next) = self.next_word(directory, at)
        {
            at = next;
            let Some(table) = target(self.words(directory)[at]) else { break };
            let mut i = 0;
            while self.info(table).flags != 0
                && let Some(next) = self.next_word(table, i)
            {
                i = next;
                if *budget == 0 {
                    self.flush_space(task);
                    return Err(Stop::Again);
                }
                *budget -= 1;
                let Some(frame) = target(self.words(table)[i]) else { break };
                self.set_word(table, i, 0);
                self.forget_translation(root, address + ((at as u64) << 21) + ((i as u64) << 12));
                if self.info(frame).kind == FrameKind::Window as u8 {
                    self.window_frame_free(act, frame);
                }
                if few {
                    self.flush_page(task, address + ((at as u64) << 21) + ((i as u64) << 12));
                }
            }
            self.set_word(directory, at, 0);
            self.free_table(table);
            self.window_frame_freed(act);
        }
        Ok(())
    }

    fn flush_space(&mut self, task: Ref<Task>) {
        if self.is_loaded(task) {
            self.machine.flush_all();
        }
    }

    /// Frees a frame of a window and gives it back to the call's ceiling.
    fn window_frame_free(&mut self, act: Ref<Activation>, frame: Frame) {
        self.free_frame(frame);
        self.window_frame_freed(act);
    }

    fn window_frame_freed(&mut self, act: Ref<Activation>) {
        let a = self.get_mut(act);
        a.window_frames -= 1;
        a.left.frames = a.left.frames.saturating_add(1);
    }

    /// Removes the entries in a part of a window; what they held goes back to the call's ceiling.
    fn window_unmap_entries(
        &mut self,
        act: Ref<Activation>,
        start: u64,
        end: u64,
        budget: &mut u32,
    ) -> Result<(), Stop> {
        let task = self.get(act).task;
        let entry = self.map_from(task, start);
        if entry.is_none() || self.get(entry).start() >= end {
            return Ok(());
        }
        let account = self.window_payer(act).account;
        let charged = |kernel: &Self| kernel.get(account).resources[drover_abi::account::FRAMES].charged;
        let before = charged(self);
        let result = self.map_remove(task, start, end, budget);
        let freed = before - charged(self);
        let left = &mut self.get_mut(act).left.frames;
        *left = left.saturating_add(freed);
        result
    }

    /// Frees the pages of a part of a window (`vm_deallocate` there); tables stay until the window is closed.
    ///
    /// # Errors
    /// `KERN_INVALID_ADDRESS`: not a window in use, or more than one; `KERN_RESOURCE_SHORTAGE`: an entry had to be cut; `Again`: more is left.
    pub(crate) fn window_release(
        &mut self,
        task: Ref<Task>,
        start: u64,
        end: u64,
        budget: &mut u32,
    ) -> Result<(), Stop> {
        let act = self.window_owner(task, start).ok_or(Stop::Error(KERN_INVALID_ADDRESS))?;
        if base_of(start) != base_of(end - 1) {
            return Err(Stop::Error(KERN_INVALID_ADDRESS));
        }
        self.map_clip_hole(task, start, end)?;
        self.window_unmap_entries(act, start, end, budget)?;
        let root = self.get(task).root_table;
        let mut at = start;
        while let Some(address) = self.page_next(root, at, end) {
            if *budget == 0 {
                return Err(Stop::Again);
            }
            *budget -= 1;
            if let Some(frame) = self.page_remove(task, address)
                && self.info(frame).kind == FrameKind::Window as u8
            {
                self.window_frame_free(act, frame);
            }
            at = address + PAGE;
        }
        Ok(())
    }

    /// Demand zero in a window.
    pub(crate) fn fault_window(&mut self, task: Ref<Task>, page: u64, access: Access) -> Result<Frame, Stop> {
        let act = self.window_owner(task, page).ok_or(Stop::Error(KERN_INVALID_ADDRESS))?;
        let a = *self.get(act);
        if !is_valid(&a, page) {
            return Err(Stop::Error(KERN_INVALID_ADDRESS));
        }
        if access == Access::Execute {
            return Err(Stop::Error(KERN_PROTECTION_FAILURE));
        }
        if let Some((frame, _)) = self.page_lookup(self.get(task).root_table, page) {
            // Stale translation.
            self.flush_page(task, page);
            return Ok(frame);
        }
        let payer = self.window_payer(act);
        let frame = self.new_frame(payer, FrameKind::Window)?;
        self.get_mut(act).window_frames += 1;
        match self.page_enter_counted(task, page, frame, VM_PROT_READ | VM_PROT_WRITE, payer) {
            Ok(made) => {
                self.get_mut(act).window_frames += made;
                Ok(frame)
            }
            Err(stop) => {
                self.window_frame_free(act, frame);
                Err(stop)
            }
        }
    }

    /// Room for `bytes` of kernel-placed memory in a window; demand zero, so nothing is charged yet.
    ///
    /// # Errors
    /// `KERN_INVALID_ADDRESS`: the activation has no window; `KERN_NO_SPACE`.
    pub fn window_alloc(&mut self, act: Ref<Activation>, bytes: u64) -> Result<u64, Stop> {
        self.window_alloc_aligned(act, bytes, PAGE)
    }

    /// The same, at a multiple of `align` (a power of two, a page or more).
    pub(crate) fn window_alloc_aligned(
        &mut self,
        act: Ref<Activation>,
        bytes: u64,
        align: u64,
    ) -> Result<u64, Stop> {
        let a = self.get(act);
        if a.window == 0 {
            return Err(Stop::Error(KERN_INVALID_ADDRESS));
        }
        let end = a.window + WINDOW_SIZE;
        let space = Stop::Error(KERN_NO_SPACE);
        let size = bytes.checked_next_multiple_of(PAGE).ok_or(space)?;
        let start = a.window_next.checked_next_multiple_of(align).ok_or(space)?;
        if start > end || end - start < size {
            return Err(space);
        }
        self.get_mut(act).window_next = start + size;
        Ok(start)
    }
}
