//! Which frames of the machine are free after boot: the memory map minus what is taken.
//!
//! Pure. Works on byte addresses in, whole frames out; everything is rounded so that no frame handed out contains a
//! byte that is not RAM or that is taken.

use drover_abi::PAGE_SIZE;
use heapless::Vec;

/// Most pieces that free memory may fall into.
pub const MAX_RANGES: usize = 64;

/// A run of frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameRange {
    /// Number of the first frame.
    pub start: u32,
    /// Number of frames.
    pub count: u32,
}

impl FrameRange {
    /// The first frame after the run.
    pub const fn end(self) -> u32 {
        self.start + self.count
    }
}

/// The memory map has more pieces than fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooManyRanges;

/// Free memory, as a set of disjoint byte ranges in ascending order.
#[derive(Default)]
pub struct FreeMemory {
    ranges: Vec<(u64, u64), MAX_RANGES>,
}

const FRAME: u64 = PAGE_SIZE as u64;

impl FreeMemory {
    /// No memory at all.
    pub const fn new() -> Self {
        Self { ranges: Vec::new() }
    }

    /// Adds the whole frames of `start..end`; overlaps with what is there merge.
    pub fn add(&mut self, start: u64, end: u64) -> Result<(), TooManyRanges> {
        let (Some(mut start), mut end) = (start.checked_next_multiple_of(FRAME), end / FRAME * FRAME) else {
            return Ok(());
        };
        if start >= end {
            return Ok(());
        }
        self.ranges.retain(|&(s, e)| {
            let apart = e < start || end < s;
            if !apart {
                start = start.min(s);
                end = end.max(e);
            }
            apart
        });
        let place = self.ranges.iter().position(|&(s, _)| s > start).unwrap_or(self.ranges.len());
        self.ranges.insert(place, (start, end)).map_err(|_| TooManyRanges)
    }

    /// Takes away every frame that `start..end` touches.
    pub fn remove(&mut self, start: u64, end: u64) -> Result<(), TooManyRanges> {
        if start >= end {
            return Ok(());
        }
        let start = start / FRAME * FRAME;
        let end = end.checked_next_multiple_of(FRAME).unwrap_or(u64::MAX);
        let before = core::mem::take(&mut self.ranges);
        for (s, e) in before {
            for (s, e) in [(s, e.min(start)), (s.max(end), e)] {
                if s < e {
                    self.ranges.push((s, e)).map_err(|_| TooManyRanges)?;
                }
            }
        }
        Ok(())
    }

    /// The free frames, ascending, disjoint. Frames whose number does not fit 32 bits are left out.
    pub fn frames(&self) -> Vec<FrameRange, MAX_RANGES> {
        let top = u64::from(u32::MAX) * FRAME;
        let as_frame = |address: u64| (address.min(top) / FRAME) as u32;
        let mut frames = Vec::new();
        for &(start, end) in &self.ranges {
            let (start, end) = (as_frame(start), as_frame(end));
            // The capacities are equal, so the push cannot fail.
            let _ = frames.push(FrameRange { start, count: end - start });
        }
        frames
    }

    /// The end of the highest range; 0 when there is none.
    pub fn top(&self) -> u64 {
        self.ranges.last().map_or(0, |&(_, end)| end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frames(memory: &FreeMemory) -> std::vec::Vec<(u32, u32)> {
        memory.frames().iter().map(|r| (r.start, r.end())).collect()
    }

    #[test]
    fn partial_frames_are_not_memory() {
        let mut memory = FreeMemory::new();
        memory.add(0x800, 0x9fc00).unwrap();
        memory.add(0x100_000, 0x100_fff).unwrap();
        assert_eq!(frames(&memory), [(1, 0x9f)]);
        memory.remove(0x1_0001, 0x1_0002).unwrap();
        assert_eq!(frames(&memory), [(1, 0x10), (0x11, 0x9f)]);
    }

    #[test]
    fn too_many_pieces_is_an_error() {
        let mut memory = FreeMemory::new();
        memory.add(0, 0x100_0000).unwrap();
        let result = (0..100).try_for_each(|i| memory.remove(i * 0x4000 + 0x1000, i * 0x4000 + 0x2000));
        assert_eq!(result, Err(TooManyRanges));
    }

    /// Every sequence of a few adds and removes, against a set of frames.
    #[test]
    fn agrees_with_a_set() {
        let mut seed = 0x2545_f491_4f6c_dd1du64;
        let mut next = |below: u64| {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            seed % below
        };
        for _ in 0..2000 {
            let mut memory = FreeMemory::new();
            let mut set = [false; 64];
            for _ in 0..next(12) {
                let a = next(64 * FRAME);
                let b = next(64 * FRAME);
                let (start, end) = (a.min(b), a.max(b));
                if next(2) == 0 {
                    memory.add(start, end).unwrap();
                    (start.div_ceil(FRAME)..end / FRAME).for_each(|f| set[f as usize] = true);
                } else {
                    memory.remove(start, end).unwrap();
                    if start < end {
                        (start / FRAME..end.div_ceil(FRAME)).for_each(|f| set[f as usize] = false);
                    }
                }
                let mut found = [false; 64];
                let mut last = None;
                for range in memory.frames() {
                    assert!(range.count > 0 && last.is_none_or(|l| l < range.start), "sorted, apart");
                    (range.start..range.end()).for_each(|f| found[f as usize] = true);
                    last = Some(range.end() - 1);
                }
                assert_eq!(found, set);
            }
        }
    }

    #[test]
    fn adjacent_ranges_join() {
        let mut memory = FreeMemory::new();
        memory.add(0x1000, 0x3000).unwrap();
        memory.add(0x5000, 0x6000).unwrap();
        memory.add(0x3000, 0x5000).unwrap();
        assert_eq!(frames(&memory), [(1, 6)]);
        assert_eq!(memory.top(), 0x6000);
    }
}
