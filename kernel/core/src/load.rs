//! The loader of the first task: a static ELF64 program from a boot module. Everything later is loaded by the exec server.
//!
//! The whole file is checked before anything is mapped; a malformed one is an error. Segments are copied, page by page, into objects
//! charged to the payer; none may be writable and executable. What is bounded here is the size of a segment, because boot does not restart.
//! Deliberately absent: relocation, interpreters, sharing of the module's pages.

use drover_abi::returns::{KERN_INVALID_ARGUMENT, KERN_INVALID_VALUE};
use drover_abi::vm::{VM_INHERIT_COPY, VM_PROT_ALL, VM_PROT_EXECUTE, VM_PROT_READ, VM_PROT_WRITE};

use crate::account::Payer;
use crate::frame::FrameKind;
use crate::kernel::{Kernel, Stop};
use crate::machine::Machine;
use crate::map::{Mapping, page_range};
use crate::memory::Memory;
use crate::object::Ref;
use crate::pagetable::PAGE;
use crate::task::Task;

/// Most program headers.
const HEADERS: u16 = 16;
/// Largest segment, bytes in memory.
const SEGMENT_MAX: u64 = 256 << 20;
/// Bytes of a file header.
const FILE_HEADER: usize = 64;
/// Bytes of a program header.
const PROGRAM_HEADER: usize = 56;

const MALFORMED: Stop = Stop::Error(KERN_INVALID_VALUE);

/// A segment to be loaded.
#[derive(Clone, Copy, Debug)]
struct Segment {
    /// Offset in the file.
    offset: u64,
    /// Bytes in the file.
    file_size: u64,
    /// Address.
    address: u64,
    /// Bytes in memory.
    size: u64,
    /// Rights.
    prot: i32,
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from(u16_at(bytes, at)) | u32::from(u16_at(bytes, at + 2)) << 16
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from(u32_at(bytes, at)) | u64::from(u32_at(bytes, at + 4)) << 32
}

/// The program header in `bytes`, if it is to be loaded.
fn segment(bytes: &[u8; PROGRAM_HEADER], file: u64) -> Result<Option<Segment>, Stop> {
    const LOAD: u32 = 1;
    if u32_at(bytes, 0) != LOAD {
        return Ok(None);
    }
    let flags = u32_at(bytes, 4);
    let mut prot = 0;
    for (bit, right) in [(1, VM_PROT_EXECUTE), (2, VM_PROT_WRITE), (4, VM_PROT_READ)] {
        if flags & bit != 0 {
            prot |= right;
        }
    }
    let s = Segment {
        offset: u64_at(bytes, 8),
        address: u64_at(bytes, 16),
        file_size: u64_at(bytes, 32),
        size: u64_at(bytes, 40),
        prot,
    };
    let in_file = s.offset.checked_add(s.file_size).is_some_and(|end| end <= file);
    let both = VM_PROT_WRITE | VM_PROT_EXECUTE;
    if !in_file || s.file_size > s.size || s.size > SEGMENT_MAX || prot & both == both {
        return Err(MALFORMED);
    }
    Ok(if s.size == 0 { None } else { Some(s) })
}

impl<M: Machine> Kernel<M> {
    /// Loads a boot module into a task. Returns the entry point.
    ///
    /// # Errors
    /// `KERN_INVALID_ARGUMENT`: no such module; `KERN_INVALID_VALUE`: not a static x86_64 ELF file, or a malformed one; `KERN_INVALID_ADDRESS`,
    /// `KERN_NO_SPACE`: segments that lie where nothing may be mapped, or on one another; `KERN_RESOURCE_SHORTAGE`. The caller ends the task.
    pub fn load_module(&mut self, task: Ref<Task>, payer: Payer, module: usize) -> Result<u64, Stop> {
        if module >= self.module_count {
            return Err(Stop::Error(KERN_INVALID_ARGUMENT));
        }
        let (object, file) = (self.modules[module].object, self.modules[module].size);
        let mut header = [0; FILE_HEADER];
        if file < FILE_HEADER as u64 {
            return Err(MALFORMED);
        }
        self.memory_read(object, 0, &mut header)?;
        // 64 bits, little endian, version 1; an executable for x86_64.
        let ours = header[..7] == *b"\x7fELF\x02\x01\x01"
            && u16_at(&header, 16) == 2
            && u16_at(&header, 18) == 62
            && usize::from(u16_at(&header, 54)) == PROGRAM_HEADER;
        let count = u16_at(&header, 56);
        if !ours || count == 0 || count > HEADERS {
            return Err(MALFORMED);
        }
        let (entry, headers) = (u64_at(&header, 24), u64_at(&header, 32));
        let mut segments = [None; HEADERS as usize];
        let mut starts_inside = false;
        for (i, slot) in segments.iter_mut().enumerate().take(usize::from(count)) {
            let at = headers.checked_add((i * PROGRAM_HEADER) as u64).ok_or(MALFORMED)?;
            if at.checked_add(PROGRAM_HEADER as u64).is_none_or(|end| end > file) {
                return Err(MALFORMED);
            }
            let mut bytes = [0; PROGRAM_HEADER];
            self.memory_read(object, at, &mut bytes)?;
            *slot = segment(&bytes, file)?;
            if let Some(s) = slot {
                let inside = entry >= s.address && entry - s.address < s.size;
                starts_inside |= inside && s.prot & VM_PROT_EXECUTE != 0;
            }
        }
        if !starts_inside {
            return Err(MALFORMED);
        }
        for s in segments.iter().flatten() {
            self.load_segment(task, payer, object, s)?;
        }
        Ok(entry)
    }

    fn load_segment(
        &mut self,
        task: Ref<Task>,
        payer: Payer,
        file: Ref<Memory>,
        s: &Segment,
    ) -> Result<(), Stop> {
        let (start, end) = page_range(s.address, s.size)?;
        self.map_check(task, start, end)?;
        let object = self.memory_create(payer, end - start)?;
        let mapping = Mapping {
            object,
            offset: 0,
            prot: s.prot,
            max_prot: VM_PROT_ALL,
            inheritance: VM_INHERIT_COPY,
            flags: 0,
        };
        self.entry_new(task, payer, start, end, mapping).inspect_err(|_| self.memory_drop(object))?;
        let mut done = 0;
        while done < s.file_size {
            let at = s.address + done;
            let n = (PAGE - at % PAGE).min(s.file_size - done);
            let frame = self.new_frame(payer, FrameKind::Page)?;
            let index = ((at - start) / PAGE) as u32;
            self.memory_insert(object, index, frame, payer).inspect_err(|_| self.free_frame(frame))?;
            // At most two of the file's pages make one of the segment's.
            let mut copied = 0;
            while copied < n {
                let from = s.offset + done + copied;
                let piece = (PAGE - from % PAGE).min(n - copied);
                if let Some(source) = self.memory_page(file, (from / PAGE) as u32) {
                    let to = ((at % PAGE) + copied) as usize;
                    self.machine.copy(source, (from % PAGE) as usize, frame, to, piece as usize);
                }
                copied += piece;
            }
            done += n;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::account::Limits;
    use crate::fault::Access;
    use crate::host::HostMachine;
    use crate::kernel::Boot;
    use drover_abi::account::{FRAMES, UNLIMITED};
    use drover_abi::returns::KERN_PROTECTION_FAILURE;

    const FRAME: u32 = 200;

    /// A program: code at 0x400100 (whose file offset is not congruent), data with a zero tail behind it.
    fn program() -> Vec<u8> {
        let mut file = vec![0u8; 10_000];
        file[..7].copy_from_slice(b"\x7fELF\x02\x01\x01");
        file[16] = 2;
        file[18] = 62;
        file[24..32].copy_from_slice(&0x40_0180u64.to_le_bytes());
        file[32..40].copy_from_slice(&64u64.to_le_bytes());
        file[54] = 56;
        file[56] = 3;
        let mut header = |i: usize, kind: u32, flags: u32, words: [u64; 4]| {
            let h = &mut file[64 + i * 56..][..56];
            h[..4].copy_from_slice(&kind.to_le_bytes());
            h[4..8].copy_from_slice(&flags.to_le_bytes());
            h[8..16].copy_from_slice(&words[0].to_le_bytes());
            h[16..24].copy_from_slice(&words[1].to_le_bytes());
            h[32..40].copy_from_slice(&words[2].to_le_bytes());
            h[40..48].copy_from_slice(&words[3].to_le_bytes());
        };
        header(0, 1, 5, [500, 0x40_0100, 8000, 8000]);
        header(1, 1, 6, [8500, 0x50_0000, 1500, 9000]);
        header(2, 7, 4, [1, 2, u64::MAX, u64::MAX]);
        for (i, b) in file.iter_mut().enumerate().skip(500) {
            *b = (i % 253) as u8;
        }
        file
    }

    fn load(file: &[u8]) -> (Kernel<HostMachine>, Ref<Task>, Result<u64, Stop>) {
        let pages = file.len().div_ceil(4096).max(1);
        let mut machine = HostMachine::new(FRAME as usize + pages);
        for (i, chunk) in file.chunks(4096).enumerate() {
            machine.page_mut(FRAME + i as u32).0[..chunk.len()].copy_from_slice(chunk);
        }
        let modules = [(&b"startup"[..], FRAME, file.len() as u64)];
        let boot = Boot { ranges: &[(0, FRAME)], modules: &modules, command_line: b"", kernel_frames: 0 };
        let mut k = Kernel::new(machine, &boot);
        let limits = Limits { resources: [100, 100, 10, UNLIMITED, UNLIMITED], share: 0 };
        let account = k.account_create(k.root, &limits).unwrap();
        let payer = Payer::account(account);
        let task = k.new_object::<Task>(payer).unwrap();
        let root = k.space_create(payer).unwrap();
        (k.get_mut(task).account, k.get_mut(task).root_table) = (account, root);
        let result = k.load_module(task, payer, 0);
        (k, task, result)
    }

    #[test]
    fn a_program_is_loaded_as_its_headers_say() {
        let file = program();
        let (mut k, task, entry) = load(&file);
        assert_eq!(entry, Ok(0x40_0180));
        let mut text = vec![0; 8000];
        k.copyin(task, 0x40_0100, &mut text).unwrap();
        assert_eq!(text[..], file[500..8500]);
        let mut data = vec![1; 9000];
        k.copyin(task, 0x50_0000, &mut data).unwrap();
        assert_eq!(data[..1500], file[8500..]);
        assert!(data[1500..].iter().all(|&b| b == 0));
        k.fault(task, entry.unwrap(), Access::Execute).unwrap();
        let refused = Err(Stop::Error(KERN_PROTECTION_FAILURE));
        assert_eq!(k.fault(task, 0x40_0100, Access::Write), refused);
        assert_eq!(k.fault(task, 0x50_0000, Access::Execute), refused);
        k.write_u32(task, 0x50_0000, 1).unwrap();
        let account = k.get(task).account;
        k.space_destroy(task).unwrap();
        k.free_object(task);
        assert_eq!(k.get(account).resources[FRAMES].charged, 0);
    }

    #[test]
    fn no_damage_is_more_than_an_error() {
        let good = program();
        for len in [0, 1, 63, 64, 100, 119, 120, 9999] {
            assert!(load(&good[..len]).2.is_err(), "cut to {len}");
        }
        // Every byte of the headers, with several values.
        let mut refused = 0;
        for at in 0..64 + 3 * 56 {
            for value in [0, 1, 0x7f, 0x80, 0xff] {
                let mut file = good.clone();
                file[at] = value;
                let (mut k, task, result) = load(&file);
                refused += u32::from(result.is_err());
                k.space_destroy(task).unwrap();
            }
        }
        assert!(refused > 100);
        assert_eq!(load(&good).2.map(|_| ()), Ok(()));
    }
}
