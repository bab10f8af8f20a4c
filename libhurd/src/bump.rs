//! A run of memory handed out from its front: the bookkeeping of a call's first allocations.
//!
//! Most calls allocate a few small blocks and give them back in reverse order. For them one address is all the state there is: nothing is stored
//! beside the blocks, so only the pages that the blocks lie in are touched. A block that is given back out of order is lost until the call ends; that
//! is bounded by the length of the run.

/// Addresses not handed out yet. An empty run (`next == end`) has no room for anything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Bump {
    /// First free address.
    pub(crate) next: u64,
    /// End of the run.
    pub(crate) end: u64,
}

impl Bump {
    /// The address of a block of `size` bytes, a multiple of the power of two `align`; `None` and no change if there is no room.
    pub(crate) fn take(&mut self, size: u64, align: u64) -> Option<u64> {
        let start = self.next.checked_next_multiple_of(align)?;
        let end = start.checked_add(size).filter(|&end| end <= self.end)?;
        self.next = end;
        Some(start)
    }

    /// Makes the block of `old` bytes at `start` one of `new` bytes where it is, if it can: the last block if there is room, any block if it shrinks.
    pub(crate) fn resize(&mut self, start: u64, old: u64, new: u64) -> bool {
        if start + old != self.next {
            return new <= old;
        }
        match start.checked_add(new) {
            Some(end) if end <= self.end => {
                self.next = end;
                true
            }
            _ => false,
        }
    }

    /// Takes a block back: its memory can be handed out again if it is the last one.
    pub(crate) fn give(&mut self, start: u64, size: u64) {
        if start + size == self.next {
            self.next = start;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::vec::Vec;

    #[test]
    fn last_in_first_out_costs_nothing() {
        let mut run = Bump { next: 0x1008, end: 0x2000 };
        let first = run.take(10, 16).unwrap();
        let second = run.take(100, 8).unwrap();
        assert_eq!((first, second), (0x1010, 0x1020));
        assert!(run.resize(second, 100, 200), "the last one grows");
        assert!(!run.resize(first, 10, 11), "another does not");
        assert!(run.resize(first, 10, 9), "but shrinks");
        run.give(first, 9);
        assert_eq!(run.next, second + 200, "lost, as it is not the last");
        run.give(second, 200);
        assert_eq!(run.next, second);
    }

    #[test]
    fn no_room() {
        let mut run = Bump { next: 100, end: 200 };
        let before = run;
        assert_eq!(run.take(101, 1), None);
        assert_eq!(run.take(u64::MAX, 1), None);
        assert_eq!(run.take(1, 1 << 63), None);
        assert_eq!(run, before);
        let all = run.take(100, 4).unwrap();
        assert!(!run.resize(all, 100, 101) && !run.resize(all, 100, u64::MAX));
        assert_eq!(Bump::default().take(1, 1), None);
    }

    proptest! {
        /// Blocks never overlap and never leave the run.
        #[test]
        fn blocks_are_apart(steps in prop::collection::vec((0u8..3, 1u64..200, 0u32..7, any::<prop::sample::Index>()), 1..80)) {
            let mut run = Bump { next: 0x1234, end: 0x2000 };
            let mut live: Vec<(u64, u64)> = Vec::new();
            for (what, size, align, which) in steps {
                match what {
                    0 => if let Some(start) = run.take(size, 1 << align) {
                        prop_assert_eq!(start % (1 << align), 0);
                        live.push((start, size));
                    },
                    1 if !live.is_empty() => {
                        let (start, size) = live.swap_remove(which.index(live.len()));
                        run.give(start, size);
                    }
                    _ if !live.is_empty() => {
                        let at = which.index(live.len());
                        if run.resize(live[at].0, live[at].1, size) {
                            live[at].1 = size;
                        }
                    }
                    _ => {}
                }
                let mut sorted = live.clone();
                sorted.sort_unstable();
                for pair in sorted.windows(2) {
                    prop_assert!(pair[0].0 + pair[0].1 <= pair[1].0);
                }
                for (start, size) in sorted {
                    prop_assert!(start >= 0x1234 && start + size <= run.next && run.next <= run.end);
                }
            }
        }
    }
}
