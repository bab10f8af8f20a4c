//! ELF64 for x86_64: from the file's leading bytes to a plan of what goes where.
//!
//! Accepted are `ET_EXEC` and *static-pie* `ET_DYN`. The latter is moved by a bias and otherwise left alone: its relocations
//! are all `R_X86_64_RELATIVE`, which the program's own start code applies, so a loader has nothing to do but to choose
//! the place. A file with `PT_INTERP` wants a dynamic linker and is refused by name.
//!
//! Everything a [`Plan`] says has been checked: no sum overflows, every segment lies in user space above page 0, no two
//! segments overlap, file and memory positions agree modulo the page size, and the entry point is executable. Sizes are
//! the file's claims: what they cost shows when the memory is asked for. A segment that is both writable and
//! executable is loaded as it asks.

use crate::limits::{ELF_HEADER_BYTES, MAX_PROGRAM_HEADERS};
use drover_abi::PAGE_SIZE;
use drover_abi::returns::hurd_errno;
use drover_abi::vm::{VM_PROT_EXECUTE, VM_PROT_READ, VM_PROT_WRITE};
use elf::abi::{
    ELFMAGIC, EM_X86_64, ET_DYN, ET_EXEC, EV_CURRENT, PF_R, PF_W, PF_X, PT_GNU_STACK, PT_INTERP, PT_LOAD,
};
use elf::endian::LittleEndian;
use elf::file::{Class, FileHeader, parse_ident};
use elf::parse::ParseError;
use elf::segment::{ProgramHeader, SegmentTable};

/// First address above those that programs may be loaded at: call windows and home slots begin here.
pub const USER_END: u64 = 0x2000_0000_0000;
/// First address that programs may be loaded at: page 0 stays unmapped.
pub const USER_START: u64 = PAGE_SIZE as u64;

const PAGE: u64 = PAGE_SIZE as u64;
/// Bytes of the ELF64 file header.
const FILE_HEADER: usize = 64;
/// Bytes of an ELF64 program header.
const PROGRAM_HEADER: u16 = 56;
/// The Hurd's `ENOEXEC`.
const ENOEXEC: i32 = 8;

/// Why a file cannot be loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ElfError {
    /// It does not begin with the ELF magic.
    NotElf,
    /// It ends before its headers do, or before a segment does.
    Truncated,
    /// Not 64 bits.
    BadClass,
    /// Not little-endian.
    BadEndianness,
    /// An unknown version of ELF.
    BadVersion,
    /// Not for x86_64.
    BadMachine,
    /// Neither an executable nor a shared object.
    BadType,
    /// Program headers are not of the size that ELF64 prescribes.
    BadHeaderSize,
    /// More than [`MAX_PROGRAM_HEADERS`].
    TooManyHeaders,
    /// The program headers do not lie within the first [`ELF_HEADER_BYTES`].
    HeadersTooFar,
    /// It names a program interpreter: dynamic linking is not supported.
    DynamicLinking,
    /// It has nothing to load.
    NoSegments,
    /// A segment has more bytes in the file than in memory.
    FileLargerThanMemory,
    /// A segment's place in the file or in memory overflows.
    Overflow,
    /// An alignment is not a power of two, or file and memory positions differ modulo the page size.
    BadAlignment,
    /// A segment lies outside of user space, or on page 0.
    OutOfRange,
    /// Two segments claim the same memory.
    Overlap,
    /// The entry point is not in an executable segment.
    BadEntry,
}

impl ElfError {
    /// The code for the wire: always `ENOEXEC`.
    #[must_use]
    pub const fn code(self) -> i32 {
        hurd_errno(ENOEXEC)
    }
}

impl From<ParseError> for ElfError {
    fn from(error: ParseError) -> Self {
        match error {
            ParseError::BadMagic(_) => Self::NotElf,
            ParseError::UnsupportedElfClass(_) => Self::BadClass,
            ParseError::UnsupportedElfEndianness(_) => Self::BadEndianness,
            ParseError::UnsupportedVersion(_) => Self::BadVersion,
            ParseError::BadEntsize(_) => Self::BadHeaderSize,
            ParseError::IntegerOverflow => Self::Overflow,
            _ => Self::Truncated,
        }
    }
}

/// A part of the file and its place in memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Segment {
    /// Where its bytes begin in the file.
    pub file_offset: u64,
    /// Where it begins in memory, the bias included. Not always at a page's start.
    pub vaddr: u64,
    /// Bytes that come from the file.
    pub file_size: u64,
    /// Bytes in memory; those above `file_size` are zero. Not 0.
    pub mem_size: u64,
    /// `vm_prot_t`.
    pub prot: i32,
}

impl Segment {
    /// First offset in the file behind the segment's bytes.
    #[must_use]
    pub const fn file_end(&self) -> u64 {
        self.file_offset.saturating_add(self.file_size)
    }

    /// First address behind the segment.
    #[must_use]
    pub const fn end(&self) -> u64 {
        self.vaddr.saturating_add(self.mem_size)
    }

    const fn first_page(&self) -> u64 {
        self.vaddr & !(PAGE - 1)
    }

    /// First page behind the segment. Cannot overflow, as segments end below [`USER_END`].
    const fn end_page(&self) -> u64 {
        self.end().saturating_add(PAGE - 1) & !(PAGE - 1)
    }
}

/// Whole pages to be mapped, all with one protection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mapping {
    /// First address; a multiple of the page size.
    pub start: u64,
    /// Bytes; a multiple of the page size, not 0.
    pub size: u64,
    /// `vm_prot_t`: where segments share a page, what any of them asks for.
    pub prot: i32,
}

/// The stack that the program asks for with `PT_GNU_STACK`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StackRequest {
    /// `vm_prot_t`. Without a request: read and write.
    pub prot: i32,
    /// Bytes; 0: no wish.
    pub size: u64,
}

/// What to load where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// In order of address.
    segments: [Segment; MAX_PROGRAM_HEADERS],
    count: usize,
    /// Address of the first instruction.
    pub entry: u64,
    /// What was added to every address of the file: 0 for `ET_EXEC`.
    pub bias: u64,
    /// Where the program headers are in memory (`AT_PHDR`), if a segment holds them.
    pub phdr: Option<u64>,
    /// Number of program headers (`AT_PHNUM`).
    pub phnum: u16,
    /// The stack asked for.
    pub stack: StackRequest,
}

/// How many leading bytes of the file [`Plan::parse`] needs, told from as many as there are so far. The answer is at most
/// [`ELF_HEADER_BYTES`] and final once it is not more than `head.len()`.
///
/// # Errors
/// Any fault that these bytes show already.
pub fn header_bytes(head: &[u8]) -> Result<usize, ElfError> {
    let magic = head.len().min(ELFMAGIC.len());
    if head.get(..magic) != ELFMAGIC.get(..magic) {
        return Err(ElfError::NotElf);
    }
    if head.len() < FILE_HEADER {
        return Ok(FILE_HEADER);
    }
    Ok(FILE_HEADER.max(table(&file_header(head)?)?.1))
}

/// Parses and checks the file header; `head` has at least [`FILE_HEADER`] bytes, or the file is too short.
fn file_header(head: &[u8]) -> Result<FileHeader<LittleEndian>, ElfError> {
    let (ident, tail) = head.split_at_checked(elf::abi::EI_NIDENT).ok_or(ElfError::Truncated)?;
    let ident = parse_ident::<LittleEndian>(ident)?;
    if ident.1 != Class::ELF64 {
        return Err(ElfError::BadClass);
    }
    let header = FileHeader::parse_tail(ident, tail)?;
    if header.version != u32::from(EV_CURRENT) {
        return Err(ElfError::BadVersion);
    }
    if header.e_machine != EM_X86_64 {
        return Err(ElfError::BadMachine);
    }
    if header.e_type != ET_EXEC && header.e_type != ET_DYN {
        return Err(ElfError::BadType);
    }
    Ok(header)
}

/// Offsets of the program headers and of their end.
fn table(header: &FileHeader<LittleEndian>) -> Result<(usize, usize), ElfError> {
    if header.e_phnum == 0 {
        return Err(ElfError::NoSegments);
    }
    if usize::from(header.e_phnum) > MAX_PROGRAM_HEADERS {
        return Err(ElfError::TooManyHeaders);
    }
    if header.e_phentsize != PROGRAM_HEADER {
        return Err(ElfError::BadHeaderSize);
    }
    let start = usize::try_from(header.e_phoff).map_err(|_| ElfError::HeadersTooFar)?;
    let end = start
        .checked_add(usize::from(header.e_phnum) * usize::from(PROGRAM_HEADER))
        .filter(|&end| end <= ELF_HEADER_BYTES)
        .ok_or(ElfError::HeadersTooFar)?;
    Ok((start, end))
}

impl Plan {
    /// Makes the plan from the file's leading bytes: at least [`header_bytes`] of them.
    ///
    /// A static-pie is moved so that its lowest page comes to lie at `pie_base`, or just above where its alignment asks
    /// for that; an `ET_EXEC` goes where it says.
    ///
    /// # Errors
    /// See [`ElfError`].
    pub fn parse(head: &[u8], pie_base: u64) -> Result<Self, ElfError> {
        header_bytes(head)?;
        let header = file_header(head)?;
        let (table_start, table_end) = table(&header)?;
        let table = head.get(table_start..table_end).ok_or(ElfError::Truncated)?;
        let table = SegmentTable::new(LittleEndian, Class::ELF64, table);

        let mut plan = Self {
            segments: [Segment::default(); MAX_PROGRAM_HEADERS],
            count: 0,
            entry: 0,
            bias: 0,
            phdr: None,
            phnum: header.e_phnum,
            stack: StackRequest { prot: VM_PROT_READ | VM_PROT_WRITE, size: 0 },
        };
        let mut align = PAGE;
        for index in 0..table.len() {
            let entry = table.get(index)?;
            match entry.p_type {
                PT_INTERP => return Err(ElfError::DynamicLinking),
                PT_GNU_STACK => plan.stack = StackRequest { prot: prot(entry.p_flags), size: entry.p_memsz },
                PT_LOAD if entry.p_memsz != 0 || entry.p_filesz != 0 => {
                    align = align.max(check(&entry)?);
                    plan.push(&entry);
                }
                _ => {}
            }
        }
        if plan.count == 0 {
            return Err(ElfError::NoSegments);
        }
        plan.sort();
        if header.e_type == ET_DYN {
            plan.shift(pie_base, align)?;
        }
        plan.check_places()?;
        plan.entry = header.e_entry.wrapping_add(plan.bias);
        let executable =
            |s: &Segment| s.prot & VM_PROT_EXECUTE != 0 && s.vaddr <= plan.entry && plan.entry < s.end();
        if !plan.segments().iter().any(executable) {
            return Err(ElfError::BadEntry);
        }
        plan.phdr = plan.address_of(table_start as u64, table_end as u64);
        Ok(plan)
    }

    /// The segments in order of address.
    #[must_use]
    pub fn segments(&self) -> &[Segment] {
        self.segments.get(..self.count).unwrap_or_default()
    }

    /// First offset in the file behind all that is loaded.
    #[must_use]
    pub fn file_end(&self) -> u64 {
        self.segments().iter().map(Segment::file_end).max().unwrap_or(0)
    }

    /// First page behind the image: where a break may begin.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.segments().iter().map(Segment::end_page).max().unwrap_or(0)
    }

    /// The pages of the image, in order of address; no two mappings overlap, and neighbours differ in protection or do
    /// not touch.
    #[must_use]
    pub fn mappings(&self) -> Mappings<'_> {
        Mappings { segments: self.segments(), at: 0 }
    }

    fn push(&mut self, entry: &ProgramHeader) {
        if let Some(slot) = self.segments.get_mut(self.count) {
            *slot = Segment {
                file_offset: entry.p_offset,
                vaddr: entry.p_vaddr,
                file_size: entry.p_filesz,
                mem_size: entry.p_memsz,
                prot: prot(entry.p_flags),
            };
            self.count += 1;
        }
    }

    fn sort(&mut self) {
        if let Some(segments) = self.segments.get_mut(..self.count) {
            segments.sort_unstable_by_key(|s| (s.vaddr, s.mem_size));
        }
    }

    /// Moves all segments so that the first page comes to lie at `base` or, for the sake of `align`, above.
    fn shift(&mut self, base: u64, align: u64) -> Result<(), ElfError> {
        let low = self.segments().first().map_or(0, Segment::first_page);
        let bias = base.saturating_sub(low).checked_next_multiple_of(align).ok_or(ElfError::OutOfRange)?;
        for segment in self.segments.iter_mut().take(self.count) {
            segment.vaddr = segment.vaddr.checked_add(bias).ok_or(ElfError::Overflow)?;
        }
        self.bias = bias;
        Ok(())
    }

    fn check_places(&self) -> Result<(), ElfError> {
        let mut free_from = 0;
        for segment in self.segments() {
            let end = segment.vaddr.checked_add(segment.mem_size).ok_or(ElfError::Overflow)?;
            if segment.vaddr < USER_START || end > USER_END {
                return Err(ElfError::OutOfRange);
            }
            if segment.vaddr < free_from {
                return Err(ElfError::Overlap);
            }
            free_from = end;
        }
        Ok(())
    }

    /// Where the file's bytes from `start` to `end` are in memory, if one segment holds them all.
    fn address_of(&self, start: u64, end: u64) -> Option<u64> {
        let holder = self.segments().iter().find(|s| s.file_offset <= start && end <= s.file_end())?;
        Some(holder.vaddr + (start - holder.file_offset))
    }
}

/// Checks what can be checked of one `PT_LOAD` by itself; returns its alignment.
fn check(entry: &ProgramHeader) -> Result<u64, ElfError> {
    if entry.p_filesz > entry.p_memsz {
        return Err(ElfError::FileLargerThanMemory);
    }
    entry.p_offset.checked_add(entry.p_filesz).ok_or(ElfError::Overflow)?;
    entry.p_vaddr.checked_add(entry.p_memsz).ok_or(ElfError::Overflow)?;
    let align = entry.p_align.max(1);
    if !align.is_power_of_two() {
        return Err(ElfError::BadAlignment);
    }
    if entry.p_filesz != 0 && entry.p_offset % PAGE != entry.p_vaddr % PAGE {
        return Err(ElfError::BadAlignment);
    }
    Ok(align)
}

/// `p_flags` as `vm_prot_t`.
const fn prot(flags: u32) -> i32 {
    let mut prot = 0;
    if flags & PF_R != 0 {
        prot |= VM_PROT_READ;
    }
    if flags & PF_W != 0 {
        prot |= VM_PROT_WRITE;
    }
    if flags & PF_X != 0 {
        prot |= VM_PROT_EXECUTE;
    }
    prot
}

/// See [`Plan::mappings`].
#[derive(Clone, Debug)]
pub struct Mappings<'a> {
    segments: &'a [Segment],
    /// First address that is not dealt with yet.
    at: u64,
}

impl Mappings<'_> {
    /// The protection of the page at `page`, and the first page behind it where that may change. `None`: no page there.
    fn run(&self, page: u64) -> Option<(i32, u64)> {
        let mut found = None;
        let mut end = u64::MAX;
        for segment in self.segments {
            if segment.first_page() > page {
                end = end.min(segment.first_page());
            } else if segment.end_page() > page {
                end = end.min(segment.end_page());
                found = Some(found.unwrap_or(0) | segment.prot);
            }
        }
        found.map(|prot| (prot, end))
    }
}

impl Iterator for Mappings<'_> {
    type Item = Mapping;

    fn next(&mut self) -> Option<Mapping> {
        let pending = self.segments.iter().filter(|s| s.end_page() > self.at);
        let start = pending.map(|s| s.first_page().max(self.at)).min()?;
        let (prot, mut end) = self.run(start)?;
        while let Some((next, next_end)) = self.run(end)
            && next == prot
        {
            end = next_end;
        }
        self.at = end;
        Some(Mapping { start, size: end - start, prot })
    }
}
