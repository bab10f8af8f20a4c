//! What the boot loader told us, copied out of its memory (which is then free).
//!
//! Every capacity is fixed; what does not fit is refused at boot, not cut short in silence.

use crate::frames::{FrameRange, FreeMemory, MAX_RANGES, TooManyRanges};
use crate::symbols;
use drover_abi::PAGE_SIZE;
use heapless::{String, Vec};
use multiboot2::{BootInformation, MemoryAreaType};

/// Most modules.
pub const MAX_MODULES: usize = 32;
/// Longest command line of the kernel, in bytes.
pub const MAX_COMMAND_LINE: usize = 1024;
/// Longest string of a module, in bytes.
pub const MAX_MODULE_STRING: usize = 512;

/// A file that the boot loader has put into memory.
#[derive(Clone, Debug)]
pub struct Module {
    /// Its string: by custom its path, then arguments.
    pub string: String<MAX_MODULE_STRING>,
    /// Its frames; no other module's bytes are in them, and the last one's rest is zero.
    pub frames: FrameRange,
    /// Its size in bytes.
    pub bytes: u64,
}

/// What the kernel is given at boot.
#[derive(Clone, Debug)]
pub struct BootInfo {
    /// The kernel's command line (without the kernel's own path).
    pub command_line: String<MAX_COMMAND_LINE>,
    /// Free memory, ascending.
    pub free: Vec<FrameRange, MAX_RANGES>,
    /// The modules, in the boot loader's order; the symbol file is not among them.
    pub modules: Vec<Module, MAX_MODULES>,
    /// All frames of RAM that the firmware left to us.
    pub ram_frames: u64,
    /// The boot reserve: frames of the kernel image (with its stacks and page tables), of the symbol file, of RAM below
    /// the image (left alone, as legacy firmware lives there) and of RAM beyond what could be mapped.
    pub reserve_frames: u64,
    /// Every frame ever handed out (free or in a module) is at least this ...
    pub first_frame: u32,
    /// ... and less than this.
    pub end_frame: u32,
    /// The symbol file: physical address and size in bytes.
    pub symbols: Option<(u64, u64)>,
}

/// Why the boot loader's information cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BootError {
    /// No memory map.
    NoMemoryMap,
    /// The memory map has too many pieces.
    MemoryMapTooLong,
    /// More than `MAX_MODULES` modules.
    TooManyModules,
    /// A string is longer than its capacity or is not UTF-8.
    BadString,
    /// A module overlaps the kernel or lies outside of what is mapped, or does not start on a page.
    BadModule,
}

impl From<TooManyRanges> for BootError {
    fn from(_: TooManyRanges) -> Self {
        Self::MemoryMapTooLong
    }
}

impl BootInfo {
    /// Reads the boot loader's information. The kernel image ends at physical address `kernel_end`; RAM from `map_limit`
    /// on cannot be mapped.
    pub fn read(boot: &BootInformation<'_>, kernel_end: u64, map_limit: u64) -> Result<Self, BootError> {
        let areas = boot.memory_map_tag().ok_or(BootError::NoMemoryMap)?.memory_areas();
        let mut free = FreeMemory::new();
        for area in areas.iter().filter(|area| area.typ() == MemoryAreaType::Available) {
            free.add(area.start_address(), area.start_address().saturating_add(area.size()))?;
        }
        // Where the map contradicts itself, memory is what no entry claims.
        for area in areas.iter().filter(|area| area.typ() != MemoryAreaType::Available) {
            free.remove(area.start_address(), area.start_address().saturating_add(area.size()))?;
        }
        let count = |free: &FreeMemory| free.frames().iter().map(|range| u64::from(range.count)).sum::<u64>();
        let ram_frames = count(&free);
        free.remove(0, kernel_end)?;
        free.remove(map_limit, u64::MAX)?;
        let end = free.top();
        let mut reserve_frames = ram_frames - count(&free);

        let mut modules = Vec::new();
        let mut symbols = None;
        for tag in boot.module_tags() {
            let (start, bytes) = (u64::from(tag.start_address()), u64::from(tag.module_size()));
            let (frame, page) = (start / PAGE_SIZE as u64, PAGE_SIZE as u64);
            let count = bytes.div_ceil(page);
            let inside = start >= kernel_end && (frame + count) * page <= end;
            if !start.is_multiple_of(page) || !inside {
                return Err(BootError::BadModule);
            }
            free.remove(start, start + bytes)?;
            let string = tag.cmdline().map_err(|_| BootError::BadString)?.trim();
            if string.split(' ').next() == Some(symbols::MODULE) {
                symbols = Some((start, bytes));
                reserve_frames += count;
                continue;
            }
            let frames = FrameRange { start: frame as u32, count: count as u32 };
            let string = String::try_from(string).map_err(|_| BootError::BadString)?;
            modules.push(Module { string, frames, bytes }).map_err(|_| BootError::TooManyModules)?;
        }

        let line = match boot.command_line_tag() {
            Some(tag) => tag.cmdline().map_err(|_| BootError::BadString)?,
            None => "",
        };
        Ok(Self {
            command_line: String::try_from(line.trim()).map_err(|_| BootError::BadString)?,
            free: free.frames(),
            modules,
            ram_frames,
            reserve_frames,
            first_frame: (kernel_end / PAGE_SIZE as u64) as u32,
            end_frame: u32::try_from(end / PAGE_SIZE as u64).unwrap_or(u32::MAX),
            symbols,
        })
    }

    /// The value of `name=value` on the command line.
    pub fn argument(&self, name: &str) -> Option<&str> {
        self.command_line
            .split_ascii_whitespace()
            .filter_map(|word| word.split_once('='))
            .rev()
            .find_map(|(key, value)| (key == name).then_some(value))
    }
}
