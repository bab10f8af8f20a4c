//! Frames and address spaces for the self test: as little as it takes.

use drover_machine::boot_info::BootInfo;
use drover_machine::frames::FrameRange;
use drover_machine::hardware::Hardware;
use x86_64::structures::paging::PageTableFlags as Flags;

/// Readable by users.
pub(crate) const READ: Flags = Flags::PRESENT.union(Flags::USER_ACCESSIBLE).union(Flags::NO_EXECUTE);
/// Readable and writable.
pub(crate) const WRITE: Flags = READ.union(Flags::WRITABLE);
/// Readable and executable.
pub(crate) const EXECUTE: Flags = Flags::PRESENT.union(Flags::USER_ACCESSIBLE);

/// Gives out free frames, and never takes them back.
pub(crate) struct Frames {
    ranges: &'static [FrameRange],
    range: usize,
    used: u32,
}

impl Frames {
    /// All free frames of the machine.
    pub(crate) fn new(info: &'static BootInfo) -> Self {
        Self { ranges: &info.free, range: 0, used: 0 }
    }

    /// A frame with anything in it.
    pub(crate) fn take(&mut self) -> u32 {
        while self.used == self.ranges[self.range].count {
            (self.range, self.used) = (self.range + 1, 0);
        }
        self.used += 1;
        self.ranges[self.range].start + self.used - 1
    }

    /// A frame of zeros.
    pub(crate) fn take_zeroed(&mut self, hardware: &mut Hardware) -> u32 {
        let frame = self.take();
        hardware.zero(frame);
        frame
    }
}

/// A user address space.
pub(crate) struct Space {
    root: u32,
}

impl Space {
    /// One without user pages.
    pub(crate) fn new(hardware: &mut Hardware, frames: &mut Frames) -> Self {
        let root = frames.take_zeroed(hardware);
        let half = *hardware.kernel_half();
        for (entry, bytes) in half.iter().zip(hardware.frame_mut(root).0[2048..].chunks_exact_mut(8)) {
            bytes.copy_from_slice(&entry.to_le_bytes());
        }
        Self { root }
    }

    /// Physical address of the root.
    pub(crate) fn root(&self) -> u64 {
        u64::from(self.root) << 12
    }

    /// Maps a frame.
    pub(crate) fn map(
        &mut self,
        hardware: &mut Hardware,
        frames: &mut Frames,
        address: u64,
        frame: u32,
        flags: Flags,
    ) {
        let mut table = self.root;
        for level in (1..=3).rev() {
            let at = ((address >> (12 + 9 * level)) & 511) as usize * 8;
            let entry = word(hardware, table, at);
            table = if entry == 0 {
                let new = frames.take_zeroed(hardware);
                set_word(hardware, table, at, (u64::from(new) << 12) | 7);
                new
            } else {
                (entry >> 12) as u32
            };
        }
        let at = ((address >> 12) & 511) as usize * 8;
        set_word(hardware, table, at, (u64::from(frame) << 12) | flags.bits());
    }
}

/// The word at byte `at` of a frame.
pub(crate) fn word(hardware: &Hardware, frame: u32, at: usize) -> u64 {
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&hardware.frame(frame).0[at..at + 8]);
    u64::from_le_bytes(bytes)
}

/// Sets the word at byte `at` of a frame.
pub(crate) fn set_word(hardware: &mut Hardware, frame: u32, at: usize, value: u64) {
    hardware.frame_mut(frame).0[at..at + 8].copy_from_slice(&value.to_le_bytes());
}
