//! From what the boot loader told the machine to a kernel that owns it all.

use drover_core::kernel::{Boot, Kernel, MODULES, RANGES};
use drover_machine::boot_info::{BootInfo, MAX_MODULES};
use drover_machine::hardware::Hardware;
use heapless::Vec;

const _: () = assert!(MAX_MODULES <= MODULES);

/// Builds the kernel's logic on the machine: everything free becomes the root account's, every module a memory object.
///
/// A module's name is its whole boot string: the first word names it, the rest are its arguments.
pub(crate) fn kernel(info: &'static BootInfo, hardware: Hardware) -> Kernel<Hardware> {
    let mut ranges: Vec<(u32, u32), { drover_machine::frames::MAX_RANGES }> =
        info.free.iter().map(|range| (range.start, range.count)).collect();
    // Should memory be in more pieces than the logic takes, the smallest are left unused, and said to be.
    let mut lost = 0;
    while ranges.len() > RANGES {
        if let Some(smallest) = (0..ranges.len()).min_by_key(|&i| ranges[i].1) {
            lost += u64::from(ranges.remove(smallest).1);
        }
    }
    let modules: Vec<(&[u8], u32, u64), MAX_MODULES> = info
        .modules
        .iter()
        .map(|module| (module.string.as_bytes(), module.frames.start, module.bytes))
        .collect();
    let reserve = info.reserve_frames + lost;
    let kernel = Kernel::new(
        hardware,
        &Boot {
            ranges: &ranges,
            modules: &modules,
            command_line: info.command_line.as_bytes(),
            kernel_frames: u32::try_from(reserve).unwrap_or(u32::MAX),
        },
    );
    log::info!(
        "boot reserve {} frames (constant), {} frames are the root account's",
        kernel.kernel_frames + kernel.table_frames,
        kernel.total_frames
    );
    kernel
}
