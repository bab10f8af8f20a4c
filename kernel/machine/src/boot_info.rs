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

#[cfg(test)]
mod tests {
    use super::*;
    use multiboot2::{
        BootInformationHeader, Builder, CommandLineTag, MaybeDynSized, MemoryArea, MemoryMapTag, ModuleTag,
    };

    const KERNEL_END: u64 = 0x20_0000;
    const NO_LIMIT: u64 = 1 << 40;

    /// 640 KiB, 255 MiB with a firmware hole, 1 GiB above 4 GiB.
    fn areas() -> std::vec::Vec<MemoryArea> {
        let available = MemoryAreaType::Available;
        let reserved = MemoryAreaType::Reserved;
        std::vec![
            MemoryArea::new(0, 0x9_fc00, available),
            MemoryArea::new(0x10_0000, 0xff0_0000, available),
            MemoryArea::new(0xf00_0000, 0x1234, reserved),
            MemoryArea::new(0xfee0_0000, 0x1000, reserved),
            MemoryArea::new(0x1_0000_0000, 0x4000_0000, available),
        ]
    }

    fn read(
        areas: &[MemoryArea],
        modules: &[(u32, u32, &str)],
        line: &str,
        limit: u64,
    ) -> Result<BootInfo, BootError> {
        let mut builder = Builder::new().cmdline(CommandLineTag::new(line));
        if !areas.is_empty() {
            builder = builder.mmap(MemoryMapTag::new(areas));
        }
        for (start, end, string) in modules {
            builder = builder.add_module(ModuleTag::new(*start, *end, string));
        }
        let bytes = builder.build();
        let at = bytes.as_bytes().as_ptr().cast::<BootInformationHeader>();
        // SAFETY: the builder made complete and aligned boot information, which lives until the end of this function.
        let loaded = unsafe { BootInformation::load(at) }.unwrap();
        BootInfo::read(&loaded, KERNEL_END, limit)
    }

    fn total(info: &BootInfo) -> u64 {
        let free: u64 = info.free.iter().map(|r| u64::from(r.count)).sum();
        let modules: u64 = info.modules.iter().map(|m| u64::from(m.frames.count)).sum();
        free + modules + info.reserve_frames
    }

    #[test]
    fn everything_is_accounted_for() {
        let modules = [
            (0x30_0000, 0x30_1001, "startup startup ${host-port}"),
            (0x30_2000, 0x30_3000, "kernel.sym"),
            (0x40_0000, 0x40_0001, "small"),
            (0x31_0000, 0x31_0005, "kernel.symbols are something else"),
        ];
        let info = read(&areas(), &modules, " world=classic mode=shell world=accounted ", NO_LIMIT).unwrap();
        assert_eq!(info.ram_frames, 0x9f + 0xff00 - 2 + 0x4_0000);
        assert_eq!(total(&info), info.ram_frames);
        // Below the image 0x9f frames and 1 MiB of image and the symbol file.
        assert_eq!(info.reserve_frames, 0x9f + 0x100 + 1);
        let free: std::vec::Vec<_> = info.free.iter().map(|r| (r.start, r.end())).collect();
        assert_eq!(
            free,
            [
                (0x200, 0x300),
                (0x303, 0x310),
                (0x311, 0x400),
                (0x401, 0xf000),
                (0xf002, 0x1_0000),
                (0x10_0000, 0x14_0000)
            ]
        );
        assert_eq!((info.first_frame, info.end_frame), (0x200, 0x14_0000));
        let strings: std::vec::Vec<_> = info.modules.iter().map(|m| (m.string.as_str(), m.bytes)).collect();
        let expected = [
            ("startup startup ${host-port}", 0x1001),
            ("small", 1),
            ("kernel.symbols are something else", 5),
        ];
        assert_eq!(strings, expected);
        assert_eq!(info.modules[0].frames, FrameRange { start: 0x300, count: 2 });
        assert_eq!(info.symbols, Some((0x30_2000, 0x1000)));
        // The last word of a name counts.
        assert_eq!(info.argument("world"), Some("accounted"));
        assert_eq!(info.argument("mode"), Some("shell"));
        assert_eq!(info.argument("wor"), None);
    }

    #[test]
    fn memory_beyond_the_map_is_reserve() {
        let info = read(&areas(), &[], "", 0x1_2000_0000).unwrap();
        assert_eq!(info.end_frame, 0x12_0000);
        assert_eq!(info.reserve_frames, 0x9f + 0x100 + 0x2_0000);
        assert_eq!(total(&info), info.ram_frames);
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let error = |modules: &[(u32, u32, &str)], line: &str| read(&areas(), modules, line, NO_LIMIT).err();
        assert_eq!(read(&[], &[], "", NO_LIMIT).err(), Some(BootError::NoMemoryMap));
        assert_eq!(error(&[(0x30_0800, 0x30_1000, "askew")], ""), Some(BootError::BadModule));
        assert_eq!(error(&[(0x10_0000, 0x10_1000, "in the kernel")], ""), Some(BootError::BadModule));
        assert_eq!(error(&[(0x8000_0000, 0x8000_1000, "high")], ""), None);
        let beyond = read(&areas()[..3], &[(0x8000_0000, 0x8000_1000, "beyond")], "", NO_LIMIT);
        assert_eq!(beyond.err(), Some(BootError::BadModule));
        let many = [(0x30_0000, 0x30_1000, "m"); MAX_MODULES + 1];
        assert_eq!(error(&many, ""), Some(BootError::TooManyModules));
        assert_eq!(error(&many[1..], ""), None);
        let long = "x".repeat(MAX_COMMAND_LINE + 1);
        assert_eq!(error(&[], &long), Some(BootError::BadString));
        assert_eq!(
            error(&[(0x30_0000, 0x30_1000, &long[..MAX_MODULE_STRING + 1])], ""),
            Some(BootError::BadString)
        );
        let scattered: std::vec::Vec<_> = (0..100u64)
            .map(|i| MemoryArea::new(0x30_0000 + i * 0x2000, 0x1000, MemoryAreaType::Available))
            .collect();
        assert_eq!(read(&scattered, &[], "", NO_LIMIT).err(), Some(BootError::MemoryMapTooLong));
    }
}
