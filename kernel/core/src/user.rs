//! Access to user memory: through page tables and the direct map, never through a user address.
//!
//! A page that is missing or protected is resolved as if the task had touched it (charged likewise), or the access fails with the fault's error.
//! Bytes before the failing page have been copied then; callers treat the target as garbage.
//! The last few translations are kept ([`Translation`]); one is forgotten when the page's entry changes or goes.
//! Deliberately absent: pointers, and copies of unbounded length.

use drover_abi::returns::{KERN_INVALID_ADDRESS, KERN_INVALID_ARGUMENT};
use drover_abi::vm::{VM_MAX_ADDRESS, VM_PROT_WRITE};

use crate::check::Report;
use crate::fault::Access;
use crate::kernel::{Kernel, Stop};
use crate::machine::{Frame, Machine};
use crate::object::Ref;
use crate::pagetable::PAGE;
use crate::task::Task;

/// Longest copy in one go, bytes.
pub const COPY_MAX: u64 = 4 << 20;

/// Translations that are kept.
pub(crate) const TRANSLATIONS: usize = 32;

/// Where a page of a space was found: what a walk of the tables would find again.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Translation {
    /// The page's address; 1 more than that, so that 0 is none.
    tag: u64,
    root: Frame,
    frame: Frame,
    /// The user may write.
    writable: bool,
}

/// Where the translation of a page is kept: the same pages of many spaces and windows must not meet.
const fn place(page: u64, root: Frame) -> usize {
    let bits = TRANSLATIONS.trailing_zeros();
    (((page >> 12) ^ (root as u64) << 40).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (64 - bits)) as usize
}

/// A piece of user memory within one page: (address, length).
fn piece(address: u64, left: u64) -> u64 {
    (PAGE - address % PAGE).min(left)
}

/// Checks that a range lies in user space.
fn check(address: u64, len: u64) -> Result<(), Stop> {
    match address.checked_add(len) {
        Some(end) if end <= VM_MAX_ADDRESS => Ok(()),
        _ => Err(Stop::Error(KERN_INVALID_ADDRESS)),
    }
}

impl<M: Machine> Kernel<M> {
    /// The frame behind a user address, made present for an access.
    ///
    /// # Errors
    /// As [`Kernel::fault`].
    #[inline]
    pub(crate) fn user_frame(
        &mut self,
        task: Ref<Task>,
        address: u64,
        access: Access,
    ) -> Result<Frame, Stop> {
        let root = self.get(task).root_table;
        let page = address & !(PAGE - 1);
        let known = &self.translations[place(page, root)];
        if known.tag == page + 1 && known.root == root && (known.writable || access == Access::Read) {
            return Ok(known.frame);
        }
        self.user_frame_walk(task, page, access)
    }

    #[inline(never)]
    fn user_frame_walk(&mut self, task: Ref<Task>, page: u64, access: Access) -> Result<Frame, Stop> {
        let root = self.get(task).root_table;
        match self.page_lookup(root, page) {
            Some((frame, prot)) if prot & access.prot() != 0 => {
                self.keep_translation(root, page, frame, prot & VM_PROT_WRITE != 0);
                Ok(frame)
            }
            _ => self.fault_frame(task, page, access),
        }
    }

    /// Keeps what the entry of a page says.
    pub(crate) fn keep_translation(&mut self, root: Frame, page: u64, frame: Frame, writable: bool) {
        self.translations[place(page, root)] = Translation { tag: page + 1, root, frame, writable };
    }

    /// The entry of a page was changed or removed.
    #[inline]
    pub(crate) fn forget_translation(&mut self, root: Frame, page: u64) {
        let known = &mut self.translations[place(page, root)];
        if known.tag == page + 1 && known.root == root {
            *known = Translation::default();
        }
    }

    /// Checks that walks of the tables find what is kept.
    pub(crate) fn check_translations(&self, report: &mut Report<'_>) {
        for known in self.translations.iter().filter(|known| known.tag != 0) {
            let found = self.page_lookup(known.root, known.tag - 1);
            if !found.is_some_and(|(frame, prot)| {
                frame == known.frame && (!known.writable || prot & VM_PROT_WRITE != 0)
            }) {
                report(format_args!("translation of {:#x} is kept as {:#x}", known.tag - 1, known.frame));
            }
        }
    }

    /// Copies from user memory.
    ///
    /// # Errors
    /// As [`Kernel::fault`].
    #[inline]
    pub fn copyin(&mut self, task: Ref<Task>, address: u64, bytes: &mut [u8]) -> Result<(), Stop> {
        check(address, bytes.len() as u64)?;
        let (at, len) = ((address % PAGE) as usize, bytes.len());
        if len != 0 && len <= PAGE as usize - at {
            let frame = self.user_frame(task, address, Access::Read)?;
            bytes.copy_from_slice(&self.machine.page(frame).0[at..at + len]);
            return Ok(());
        }
        self.copyin_pages(task, address, bytes)
    }

    fn copyin_pages(&mut self, task: Ref<Task>, address: u64, bytes: &mut [u8]) -> Result<(), Stop> {
        let mut done = 0;
        while done < bytes.len() {
            let from = address + done as u64;
            let n = piece(from, (bytes.len() - done) as u64) as usize;
            let frame = self.user_frame(task, from, Access::Read)?;
            let at = (from % PAGE) as usize;
            bytes[done..done + n].copy_from_slice(&self.machine.page(frame).0[at..at + n]);
            done += n;
        }
        Ok(())
    }

    /// Copies to user memory.
    ///
    /// # Errors
    /// As [`Kernel::fault`].
    #[inline]
    pub fn copyout(&mut self, task: Ref<Task>, address: u64, bytes: &[u8]) -> Result<(), Stop> {
        check(address, bytes.len() as u64)?;
        let (at, len) = ((address % PAGE) as usize, bytes.len());
        if len != 0 && len <= PAGE as usize - at {
            let frame = self.user_frame(task, address, Access::Write)?;
            self.machine.page_mut(frame).0[at..at + len].copy_from_slice(bytes);
            return Ok(());
        }
        self.copyout_pages(task, address, bytes)
    }

    fn copyout_pages(&mut self, task: Ref<Task>, address: u64, bytes: &[u8]) -> Result<(), Stop> {
        let mut done = 0;
        while done < bytes.len() {
            let to = address + done as u64;
            let n = piece(to, (bytes.len() - done) as u64) as usize;
            let frame = self.user_frame(task, to, Access::Write)?;
            let at = (to % PAGE) as usize;
            self.machine.page_mut(frame).0[at..at + n].copy_from_slice(&bytes[done..done + n]);
            done += n;
        }
        Ok(())
    }

    /// Copies between frames, which may be the same one.
    pub(crate) fn copy_frames(
        &mut self,
        src: Frame,
        src_offset: usize,
        dst: Frame,
        dst_offset: usize,
        len: usize,
    ) {
        if src == dst {
            self.machine.page_mut(src).0.copy_within(src_offset..src_offset + len, dst_offset);
        } else {
            self.machine.copy(src, src_offset, dst, dst_offset, len);
        }
    }

    /// Copies `len` bytes from one task's memory to another's, once, frame to frame. Overlapping ranges of one space are copied forwards.
    ///
    /// # Errors
    /// `KERN_INVALID_ARGUMENT`: longer than [`COPY_MAX`]; else as [`Kernel::fault`], for either side.
    pub fn copy_user(
        &mut self,
        src_task: Ref<Task>,
        src: u64,
        dst_task: Ref<Task>,
        dst: u64,
        len: u64,
    ) -> Result<(), Stop> {
        check(src, len)?;
        check(dst, len)?;
        if len > COPY_MAX {
            return Err(Stop::Error(KERN_INVALID_ARGUMENT));
        }
        let mut done = 0;
        while done < len {
            let (from, to) = (src + done, dst + done);
            let n = piece(from, piece(to, len - done));
            // The target first: making it writable may replace the page that the source shows.
            let target = self.user_frame(dst_task, to, Access::Write)?;
            let source = self.user_frame(src_task, from, Access::Read)?;
            self.copy_frames(source, (from % PAGE) as usize, target, (to % PAGE) as usize, n as usize);
            done += n;
        }
        Ok(())
    }

    /// Physical address of the aligned 32-bit word at a user address, for waits.
    ///
    /// # Errors
    /// `KERN_INVALID_ARGUMENT`: not aligned; else as [`Kernel::fault`].
    pub fn user_word(&mut self, task: Ref<Task>, address: u64) -> Result<u64, Stop> {
        if !address.is_multiple_of(4) {
            return Err(Stop::Error(KERN_INVALID_ARGUMENT));
        }
        // For writing: the word is where a waker's store goes, not in a page that a copy on write leaves behind.
        let frame = match self.user_frame(task, address, Access::Write) {
            Err(Stop::Error(drover_abi::returns::KERN_PROTECTION_FAILURE)) => {
                self.user_frame(task, address, Access::Read)?
            }
            other => other?,
        };
        Ok(u64::from(frame) * PAGE + address % PAGE)
    }

    /// Reads a 32-bit word.
    ///
    /// # Errors
    /// As [`Kernel::fault`].
    pub fn read_u32(&mut self, task: Ref<Task>, address: u64) -> Result<u32, Stop> {
        let mut bytes = [0; 4];
        self.copyin(task, address, &mut bytes)?;
        Ok(u32::from_le_bytes(bytes))
    }

    /// Reads a 64-bit word.
    ///
    /// # Errors
    /// As [`Kernel::fault`].
    pub fn read_u64(&mut self, task: Ref<Task>, address: u64) -> Result<u64, Stop> {
        let mut bytes = [0; 8];
        self.copyin(task, address, &mut bytes)?;
        Ok(u64::from_le_bytes(bytes))
    }

    /// Writes a 32-bit word.
    ///
    /// # Errors
    /// As [`Kernel::fault`].
    pub fn write_u32(&mut self, task: Ref<Task>, address: u64, value: u32) -> Result<(), Stop> {
        self.copyout(task, address, &value.to_le_bytes())
    }

    /// Writes a 64-bit word.
    ///
    /// # Errors
    /// As [`Kernel::fault`].
    pub fn write_u64(&mut self, task: Ref<Task>, address: u64, value: u64) -> Result<(), Stop> {
        self.copyout(task, address, &value.to_le_bytes())
    }
}
