//! The kernel's own page tables, built once at boot from a fixed pool of table frames.
//!
//! Layout of the upper half:
//!
//! | from | what |
//! |---|---|
//! | `DIRECT_MAP` | physical memory above the kernel image, read and write, never execute |
//! | `KERNEL_BASE` + 1 MiB | the kernel image: constants, code, data, each with its own rights; guard pages unmapped |
//! | `DEVICE_BASE` | the local APIC, uncached |
//!
//! The kernel image is not in the direct map, so its code and constants have no writable alias. All entries are global.
//! The direct map is one run from the end of the image to the end of RAM: holes that the firmware keeps for itself
//! are covered as well, but no frame number in them is ever handed out.
//!
//! Pure: the pool is a slice, wherever it lies; `translate` walks it as the CPU would.

use x86_64::PhysAddr;
use x86_64::structures::paging::{PageTable, PageTableFlags as Flags};

/// Where physical address 0 would be (the map begins above the kernel image).
pub const DIRECT_MAP: u64 = 0xffff_8000_0000_0000;
/// Virtual minus physical address of the kernel image.
pub const KERNEL_BASE: u64 = 0xffff_ffff_8000_0000;
/// Device registers: one 4 KiB page each from here.
pub const DEVICE_BASE: u64 = KERNEL_BASE + 0x3fe0_0000;

/// Constants.
pub const CONSTANTS: Flags = Flags::PRESENT.union(Flags::GLOBAL).union(Flags::NO_EXECUTE);
/// Code.
pub const CODE: Flags = Flags::PRESENT.union(Flags::GLOBAL);
/// Data.
pub const DATA: Flags = CONSTANTS.union(Flags::WRITABLE);
/// Device registers.
pub const DEVICE: Flags = DATA.union(Flags::NO_CACHE).union(Flags::WRITE_THROUGH);

/// Sizes of page that a leaf of each level maps.
const SIZE: [u64; 4] = [1 << 12, 1 << 21, 1 << 30, 1 << 39];

/// The pool of table frames is used up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutOfTables;

/// Page tables in a pool; the first frame of the pool is the root.
pub struct Tables<'a> {
    pool: &'a mut [PageTable],
    /// Physical address of the pool.
    base: u64,
    used: usize,
    /// Pages of 1 GiB exist.
    gigabyte_pages: bool,
}

impl<'a> Tables<'a> {
    /// An empty address space in `pool` (zeroed tables, of which the first becomes the root), which lies at physical
    /// address `base`.
    pub fn new(pool: &'a mut [PageTable], base: u64, gigabyte_pages: bool) -> Result<Self, OutOfTables> {
        if pool.is_empty() {
            return Err(OutOfTables);
        }
        Ok(Self { pool, base, used: 1, gigabyte_pages })
    }

    /// Maps `bytes` at `address` to physical memory from `physical`, with the largest pages that fit. All three are
    /// multiples of 4096. What was mapped there is replaced.
    pub fn map(
        &mut self,
        mut address: u64,
        mut physical: u64,
        bytes: u64,
        flags: Flags,
    ) -> Result<(), OutOfTables> {
        let mut left = bytes;
        while left >= SIZE[0] {
            let largest = if self.gigabyte_pages { 2 } else { 1 };
            let fits =
                |level: &usize| (address | physical).is_multiple_of(SIZE[*level]) && left >= SIZE[*level];
            let level = (1..=largest).rev().find(fits).unwrap_or(0);
            let huge = if level > 0 { Flags::HUGE_PAGE } else { Flags::empty() };
            let (table, entry) = self.reach(address, level)?;
            self.pool[table][entry].set_addr(PhysAddr::new_truncate(physical), flags | huge);
            address = address.wrapping_add(SIZE[level]);
            physical += SIZE[level];
            left -= SIZE[level];
        }
        Ok(())
    }

    /// Makes the page at `address` (one that was mapped as a 4 KiB page) absent.
    pub fn unmap(&mut self, address: u64) -> Result<(), OutOfTables> {
        let (table, entry) = self.reach(address, 0)?;
        self.pool[table][entry].set_unused();
        Ok(())
    }

    /// The entry for `address` in the table of `level`, making the tables above it.
    fn reach(&mut self, address: u64, level: usize) -> Result<(usize, usize), OutOfTables> {
        let mut table = 0;
        for above in (level + 1..=3).rev() {
            let entry = index(address, above);
            if self.pool[table][entry].is_unused() {
                let new = self.used;
                if new >= self.pool.len() {
                    return Err(OutOfTables);
                }
                self.used += 1;
                let at = PhysAddr::new_truncate(self.base + new as u64 * SIZE[0]);
                self.pool[table][entry].set_addr(at, Flags::PRESENT | Flags::WRITABLE);
            }
            table = self.child(table, entry).ok_or(OutOfTables)?;
        }
        Ok((table, index(address, level)))
    }

    /// The pool's table behind an entry, if the entry is one for a table.
    fn child(&self, table: usize, entry: usize) -> Option<usize> {
        let entry = &self.pool[table][entry];
        let is_table = entry.flags().contains(Flags::PRESENT) && !entry.flags().contains(Flags::HUGE_PAGE);
        let number = entry.addr().as_u64().checked_sub(self.base)? / SIZE[0];
        (is_table && number < self.used as u64).then_some(number as usize)
    }

    /// Physical address and rights behind `address`, or `None`.
    pub fn translate(&self, address: u64) -> Option<(u64, Flags)> {
        let mut table = 0;
        for level in (0..=3).rev() {
            let entry = &self.pool[table][index(address, level)];
            if level > 0 && !entry.flags().contains(Flags::HUGE_PAGE) {
                table = self.child(table, index(address, level))?;
            } else {
                let present = entry.flags().contains(Flags::PRESENT);
                return present.then(|| (entry.addr().as_u64() + address % SIZE[level], entry.flags()));
            }
        }
        None
    }

    /// The entries of the root's upper half, which every address space shares.
    pub fn kernel_half(&self) -> [u64; 256] {
        core::array::from_fn(|i| {
            let entry = &self.pool[0][256 + i];
            entry.addr().as_u64() | entry.flags().bits()
        })
    }

    /// Tables in use.
    pub fn used(&self) -> usize {
        self.used
    }
}

/// The index of `address` in a table of `level` (0: page table, 3: root).
fn index(address: u64, level: usize) -> usize {
    ((address >> (12 + 9 * level)) & 511) as usize
}

/// The pieces of the kernel image, as physical addresses; each is a multiple of 4096.
#[derive(Clone, Copy, Debug)]
pub struct Image {
    /// Begin of the constants, and of the image.
    pub constants: u64,
    /// Begin of the code, end of the constants.
    pub code: u64,
    /// Begin of the data, end of the code.
    pub data: u64,
    /// End of the image.
    pub end: u64,
}

/// Builds the whole upper half: the image with `guards` (virtual addresses of pages) left out, the direct map up to
/// `ram_end`, and the device page at physical address `device`.
pub fn build_kernel_half(
    tables: &mut Tables<'_>,
    image: Image,
    guards: &[u64],
    ram_end: u64,
    device: u64,
) -> Result<(), OutOfTables> {
    // Small pages for the image: its pieces and guards must not share a large one.
    for (start, end, flags) in [
        (image.constants, image.code, CONSTANTS),
        (image.code, image.data, CODE),
        (image.data, image.end, DATA),
    ] {
        for page in (start..end).step_by(SIZE[0] as usize) {
            tables.map(KERNEL_BASE + page, page, SIZE[0], flags)?;
        }
    }
    for &guard in guards {
        tables.unmap(guard)?;
    }
    tables.map(DEVICE_BASE, device, SIZE[0], DEVICE)?;
    tables.map(DIRECT_MAP + image.end, image.end, ram_end.saturating_sub(image.end), DATA)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BASE: u64 = 0x20_0000;
    const IMAGE: Image = Image { constants: 0x10_0000, code: 0x11_0000, data: 0x14_0000, end: 0x19_3000 };

    fn pool(tables: usize) -> Vec<PageTable> {
        (0..tables).map(|_| PageTable::new()).collect()
    }

    fn check(ram_end: u64, gigabyte_pages: bool) -> usize {
        let mut pool = pool(32);
        let mut tables = Tables::new(&mut pool, BASE, gigabyte_pages).unwrap();
        let guard = KERNEL_BASE + 0x16_0000;
        build_kernel_half(&mut tables, IMAGE, &[guard], ram_end, 0xfee0_0000).unwrap();
        // The image, page by page.
        for page in (0u64..0x30_0000).step_by(4096) {
            let expected = match page {
                0x16_0000 => None,
                0x10_0000..0x11_0000 => Some((page, CONSTANTS)),
                0x11_0000..0x14_0000 => Some((page, CODE)),
                0x14_0000..0x19_3000 => Some((page, DATA)),
                _ => None,
            };
            assert_eq!(tables.translate(KERNEL_BASE + page), expected, "{page:#x}");
            let direct = (page >= IMAGE.end && page < ram_end).then_some(page);
            assert_eq!(tables.translate(DIRECT_MAP + page).map(|(at, _)| at), direct, "{page:#x}");
        }
        // The direct map, by samples, and no further.
        for at in (IMAGE.end..ram_end).step_by(0x37_5000) {
            let (physical, flags) = tables.translate(DIRECT_MAP + at + 5).unwrap();
            assert_eq!(physical, at + 5);
            assert_eq!(flags - Flags::HUGE_PAGE, DATA);
        }
        assert!(tables.translate(DIRECT_MAP + ram_end - 1).is_some());
        assert_eq!(tables.translate(DIRECT_MAP + ram_end), None);
        assert_eq!(tables.translate(DEVICE_BASE).unwrap(), (0xfee0_0000, DEVICE));
        // Nothing in the lower half; what is shared is what the root has.
        assert_eq!(tables.translate(0x10_0000), None);
        let half = tables.kernel_half();
        assert_eq!(half.iter().filter(|&&e| e != 0).count(), 2);
        assert_ne!(half[0], 0);
        assert_ne!(half[255], 0);
        tables.used()
    }

    #[test]
    fn sizes_of_machine() {
        for ram in [0x1000_0000, 0x7ffe_0000, 0x1_4000_0000, 0x4_0000_0000 - 0x3000] {
            let small = check(ram, false);
            let large = check(ram, true);
            assert!(large <= small);
        }
        assert!(check(20 << 30, false) <= 30, "20 GiB fit the boot pool of 32 without pages of 1 GiB");
        assert!(check(0x40_0000_0000, true) <= 12, "256 GiB take hardly more with them");
    }

    #[test]
    fn a_small_pool_is_an_error() {
        let mut pool = pool(3);
        let mut tables = Tables::new(&mut pool, BASE, false).unwrap();
        assert_eq!(tables.map(DIRECT_MAP, 0, 4096, DATA), Err(OutOfTables));
        assert!(Tables::new(&mut [], BASE, false).is_err());
    }
}
