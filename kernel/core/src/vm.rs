//! The operations on a task's address space, with the arguments of `mach.defs`.
//!
//! Each checks and reserves, then commits; long ones do a batch and return `Again`, with their progress in the map (entries removed, cursors), so that the same
//! call goes on where it stopped. New entries and objects are charged to `payer`; in payer mode CALL what the kernel places goes into the call's window.
//! Copies between ranges (`vm_copy`, and copies of shared objects) are made in one go and at most [`COPY_MAX`] bytes long.
//! Deliberately absent: wiring, caching attributes, external pagers.

mod object;
mod range;
mod space;

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
use crate::map::{Mapping, NEEDS_COPY, page_range};
use crate::memory::{BATCH, FROZEN, Memory, PRIVATE, SHARED};
use crate::object::Ref;
use crate::pagetable::{PAGE, in_windows};
use crate::port::Port;
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
}
