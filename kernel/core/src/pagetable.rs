//! Page tables of x86_64: four levels of frames, edited as plain data.
//!
//! A table's `FrameInfo.flags` counts its live user entries, so that an empty table is given back at once, and `FrameInfo.bitmap` says
//! which groups of eight entries may hold one, so that walks skip empty ground. Both may only be changed here.
//! Tables outside the call windows are paid by the task's account; inside a window by the call (see [`crate::window`]), which also frees them:
//! removing a page from a window leaves its tables.
//! Deliberately absent: large pages, the kernel half (copied from the machine), any knowledge of map entries.

use drover_abi::vm::{VM_MAX_ADDRESS, VM_PROT_EXECUTE, VM_PROT_READ, VM_PROT_WRITE};
use drover_abi::window::{WINDOWS_BASE, WINDOWS_END};
use zerocopy::{FromBytes, IntoBytes};

use crate::account::Payer;
use crate::frame::FrameKind;
use crate::kernel::{Kernel, Stop};
use crate::machine::{Frame, Machine};
use crate::object::Ref;
use crate::task::Task;

/// Bytes of a page.
pub(crate) const PAGE: u64 = 4096;

const PRESENT: u64 = 1;
const WRITE: u64 = 2;
const USER: u64 = 4;
const NO_EXECUTE: u64 = 1 << 63;
const FRAME_BITS: u64 = 0x000f_ffff_ffff_f000;

/// Entries of a table, or of a radix node.
pub(crate) const ENTRIES: usize = 512;

/// Level of the root table.
const ROOT_LEVEL: u32 = 3;

const fn shift(level: u32) -> u32 {
    12 + 9 * level
}

/// Index into the table of a level.
pub(crate) const fn index(address: u64, level: u32) -> usize {
    ((address >> shift(level)) & 511) as usize
}

/// The frame that an entry points to, if it is present.
pub(crate) const fn target(word: u64) -> Option<Frame> {
    if word & PRESENT == 0 { None } else { Some(((word & FRAME_BITS) >> 12) as Frame) }
}

pub(crate) const fn leaf(frame: Frame, prot: i32) -> u64 {
    let mut word = ((frame as u64) << 12) | PRESENT | USER;
    if prot & VM_PROT_WRITE != 0 {
        word |= WRITE;
    }
    if prot & VM_PROT_EXECUTE == 0 {
        word |= NO_EXECUTE;
    }
    word
}

pub(crate) const fn table_word(frame: Frame) -> u64 {
    ((frame as u64) << 12) | PRESENT | USER | WRITE
}

const fn prot_of(word: u64) -> i32 {
    let mut prot = VM_PROT_READ;
    if word & WRITE != 0 {
        prot |= VM_PROT_WRITE;
    }
    if word & NO_EXECUTE == 0 {
        prot |= VM_PROT_EXECUTE;
    }
    prot
}

/// Whether an address lies among the call windows.
pub(crate) const fn in_windows(address: u64) -> bool {
    address >= WINDOWS_BASE && address < WINDOWS_END
}

impl<M: Machine> Kernel<M> {
    /// A frame as 512 words (page table, radix node).
    pub(crate) fn words(&self, frame: Frame) -> &[u64; ENTRIES] {
        FromBytes::ref_from_bytes(self.machine.page(frame).0.as_bytes()).expect("a page is 512 aligned words")
    }

    fn words_mut(&mut self, frame: Frame) -> &mut [u64; ENTRIES] {
        FromBytes::mut_from_bytes(self.machine.page_mut(frame).0.as_mut_bytes())
            .expect("a page is 512 aligned words")
    }

    /// Sets an entry of a table or node and keeps its count and groups; true if it holds nothing any more.
    pub(crate) fn set_word(&mut self, frame: Frame, at: usize, word: u64) -> bool {
        let old = core::mem::replace(&mut self.words_mut(frame)[at], word);
        let info = self.info_mut(frame);
        if word != 0 {
            info.bitmap |= 1 << (at / 8);
        }
        match (old == 0, word == 0) {
            (true, false) => info.flags += 1,
            (false, true) => info.flags -= 1,
            _ => {}
        }
        info.flags == 0
    }

    /// First index >= `at` of a table or node whose entry is not 0.
    pub(crate) fn next_word(&self, frame: Frame, mut at: usize) -> Option<usize> {
        let groups = self.info(frame).bitmap;
        let words = self.words(frame);
        while at < ENTRIES {
            let rest = groups >> (at / 8);
            if rest & 1 == 0 {
                if rest == 0 {
                    return None;
                }
                at = (at / 8 + rest.trailing_zeros() as usize) * 8;
                continue;
            }
            if words[at] != 0 {
                return Some(at);
            }
            at += 1;
        }
        None
    }

    /// A root table with the kernel half, charged to `payer`.
    ///
    /// # Errors
    /// `KERN_RESOURCE_SHORTAGE`.
    pub fn space_create(&mut self, payer: Payer) -> Result<Frame, Stop> {
        let root = self.new_frame(payer, FrameKind::PageTable)?;
        for i in ENTRIES / 2..ENTRIES {
            let word = self.machine.kernel_half(i);
            self.words_mut(root)[i] = word;
        }
        Ok(root)
    }

    /// Whether the machine may hold translations of this task's space.
    pub(crate) fn is_loaded(&self, task: Ref<Task>) -> bool {
        if self.current.is_none() {
            return true;
        }
        let top = self.get(self.current).top;
        top.is_none() || self.get(top).task == task
    }

    pub(crate) fn flush_page(&mut self, task: Ref<Task>, address: u64) {
        if self.is_loaded(task) {
            self.machine.flush(address);
        }
    }

    /// Makes the tables down to `level` (1: page directory, 0: page table) exist. Returns that table and how many were made.
    ///
    /// # Errors
    /// `KERN_RESOURCE_SHORTAGE` at `payer` (nothing changed).
    pub(crate) fn tables_ensure(
        &mut self,
        root: Frame,
        address: u64,
        level: u32,
        payer: Payer,
    ) -> Result<(Frame, u32), Stop> {
        let mut table = root;
        let mut at = ROOT_LEVEL;
        while at > level {
            match target(self.words(table)[index(address, at)]) {
                Some(next) => table = next,
                None => break,
            }
            at -= 1;
        }
        let missing = (at - level) as usize;
        let mut made = [0; 3];
        for i in 0..missing {
            match self.new_table(payer) {
                Ok(frame) => made[i] = frame,
                Err(stop) => {
                    made[..i].iter().for_each(|&frame| self.free_table(frame));
                    return Err(stop);
                }
            }
        }
        for &next in &made[..missing] {
            self.set_word(table, index(address, at), table_word(next));
            table = next;
            at -= 1;
        }
        Ok((table, missing as u32))
    }

    /// How many tables are missing for a page at `address`.
    pub(crate) fn tables_missing(&self, root: Frame, address: u64) -> u32 {
        let mut table = root;
        for level in (1..=ROOT_LEVEL).rev() {
            match target(self.words(table)[index(address, level)]) {
                Some(next) => table = next,
                None => return level,
            }
        }
        0
    }

    /// Maps a page; replaces what was mapped there. Returns how many tables were made.
    ///
    /// # Errors
    /// `KERN_RESOURCE_SHORTAGE` at `table_payer` (nothing changed).
    pub(crate) fn page_enter_counted(
        &mut self,
        task: Ref<Task>,
        address: u64,
        frame: Frame,
        prot: i32,
        table_payer: Payer,
    ) -> Result<u32, Stop> {
        debug_assert!(address < VM_MAX_ADDRESS && address.is_multiple_of(PAGE));
        let root = self.get(task).root_table;
        let (table, made) = self.tables_ensure(root, address, 0, table_payer)?;
        let at = index(address, 0);
        let old = self.words(table)[at];
        self.set_word(table, at, leaf(frame, prot));
        if old != 0 {
            self.forget_translation(root, address);
            self.flush_page(task, address);
        }
        Ok(made)
    }

    /// Maps a page; replaces what was mapped there.
    ///
    /// # Errors
    /// `KERN_RESOURCE_SHORTAGE` at `table_payer` (nothing changed).
    pub fn page_enter(
        &mut self,
        task: Ref<Task>,
        address: u64,
        frame: Frame,
        prot: i32,
        table_payer: Payer,
    ) -> Result<(), Stop> {
        self.page_enter_counted(task, address, frame, prot, table_payer).map(|_| ())
    }

    /// The page mapped at `address` and how it may be used.
    pub fn page_lookup(&self, root: Frame, address: u64) -> Option<(Frame, i32)> {
        if address >= VM_MAX_ADDRESS {
            return None;
        }
        let mut table = root;
        for level in (1..=ROOT_LEVEL).rev() {
            table = target(self.words(table)[index(address, level)])?;
        }
        let word = self.words(table)[index(address, 0)];
        target(word).map(|frame| (frame, prot_of(word)))
    }

    /// Unmaps a page and returns it. Tables that become empty are freed, except in the windows.
    pub fn page_remove(&mut self, task: Ref<Task>, address: u64) -> Option<Frame> {
        if address >= VM_MAX_ADDRESS {
            return None;
        }
        let mut path = [self.get(task).root_table; 4];
        for level in (1..=ROOT_LEVEL).rev() {
            path[level as usize - 1] = target(self.words(path[level as usize])[index(address, level)])?;
        }
        let frame = target(self.words(path[0])[index(address, 0)])?;
        let mut empty = self.set_word(path[0], index(address, 0), 0);
        self.forget_translation(path[ROOT_LEVEL as usize], address & !(PAGE - 1));
        for level in 1..=ROOT_LEVEL {
            if !empty || in_windows(address) {
                break;
            }
            self.free_table(path[level as usize - 1]);
            empty = self.set_word(path[level as usize], index(address, level), 0);
        }
        self.flush_page(task, address);
        Some(frame)
    }

    /// The first mapped page in a range.
    pub(crate) fn page_next(&self, root: Frame, mut address: u64, end: u64) -> Option<u64> {
        'walk: while address < end {
            let mut table = root;
            for level in (0..=ROOT_LEVEL).rev() {
                let at = index(address, level);
                let span = 1u64 << shift(level);
                // The root's upper half is the kernel's: no group of it is marked.
                match self.next_word(table, at) {
                    None => {
                        address = (address | (span * ENTRIES as u64 - 1)) + 1;
                        continue 'walk;
                    }
                    Some(next) if next != at => {
                        address = (address & !(span - 1)) + (next - at) as u64 * span;
                        continue 'walk;
                    }
                    Some(_) => {}
                }
                match target(self.words(table)[at]) {
                    Some(next) => table = next,
                    None => {
                        address = (address & !(span - 1)) + span;
                        continue 'walk;
                    }
                }
            }
            return Some(address);
        }
        None
    }

    /// Unmaps every page of a range, `budget` of them at most.
    ///
    /// # Errors
    /// `Again`: more is left.
    pub(crate) fn unmap_range(
        &mut self,
        task: Ref<Task>,
        start: u64,
        end: u64,
        budget: &mut u32,
    ) -> Result<(), Stop> {
        let root = self.get(task).root_table;
        let mut at = start;
        while let Some(address) = self.page_next(root, at, end) {
            if *budget == 0 {
                return Err(Stop::Again);
            }
            *budget -= 1;
            self.page_remove(task, address);
            at = address + PAGE;
        }
        Ok(())
    }

    /// Takes rights away from the mapped pages of a range: those that `prot` does not have. Returns where to go on, `end` when done.
    pub(crate) fn restrict_range(
        &mut self,
        task: Ref<Task>,
        start: u64,
        end: u64,
        prot: i32,
        budget: &mut u32,
    ) -> u64 {
        let root = self.get(task).root_table;
        let mut at = start;
        while let Some(address) = self.page_next(root, at, end) {
            if *budget == 0 {
                return address;
            }
            *budget -= 1;
            if prot & VM_PROT_READ == 0 {
                self.page_remove(task, address);
            } else if let Some((frame, old)) = self.page_lookup(root, address)
                && old & !prot != 0
            {
                let table = self.tables_path(root, address);
                self.set_word(table, index(address, 0), leaf(frame, old & prot));
                self.forget_translation(root, address & !(PAGE - 1));
                self.flush_page(task, address);
            }
            at = address + PAGE;
        }
        end
    }

    /// The page table of an address known to be mapped.
    fn tables_path(&self, root: Frame, address: u64) -> Frame {
        (1..=ROOT_LEVEL)
            .rev()
            .fold(root, |table, level| target(self.words(table)[index(address, level)]).unwrap_or(table))
    }
}
