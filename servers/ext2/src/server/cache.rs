//! The block cache's bookkeeping: which pieces of the device are in memory.
//!
//! Pieces are [`UNIT`] bytes, whatever the size of the file system's blocks. The cache is *bounded*: all of its memory is allocated when it is made,
//! and a piece takes the place of the one in its set that has not been used for longest. Its memory is the server's own; it holds nothing that cannot be read
//! again, and nobody waits for it.
//!
//! A piece that was read while somebody wrote to the device may be old. So whoever reads notes the [`Cache::generation`] before, and
//! [`Cache::insert`] refuses what was read in an earlier one.

use alloc::vec::Vec;

/// Bytes of a piece.
pub(super) const UNIT: usize = 4096;
/// Places in which a given piece may be.
const WAYS: usize = 8;

/// No piece.
const NONE: u64 = u64::MAX;

/// A cache.
#[derive(Debug)]
pub(super) struct Cache {
    /// Number of the piece in each place; sets are [`WAYS`] places.
    pieces: Vec<u64>,
    /// When each place was last used.
    used: Vec<u64>,
    data: Vec<u8>,
    now: u64,
    generation: u64,
}

impl Cache {
    /// A cache of at least `pieces` pieces, 8 at the least.
    pub(super) fn new(pieces: usize) -> Self {
        let places = (pieces.max(1).div_ceil(WAYS) * WAYS).next_power_of_two();
        Self {
            pieces: alloc::vec![NONE; places],
            used: alloc::vec![0; places],
            data: alloc::vec![0; places * UNIT],
            now: 0,
            generation: 0,
        }
    }

    fn set(&self, piece: u64) -> core::ops::Range<usize> {
        let sets = (self.pieces.len() / WAYS).max(1) as u64;
        let first = (piece % sets) as usize * WAYS;
        first..(first + WAYS).min(self.pieces.len())
    }

    fn find(&self, piece: u64) -> Option<usize> {
        self.set(piece).find(|&place| self.pieces.get(place) == Some(&piece))
    }

    fn bytes(&mut self, place: usize) -> Option<&mut [u8]> {
        self.data.get_mut(place * UNIT..(place + 1) * UNIT)
    }

    fn touch(&mut self, place: usize) {
        self.now += 1;
        if let Some(used) = self.used.get_mut(place) {
            *used = self.now;
        }
    }

    /// Copies bytes of a piece from `offset` within it on; false if it is not here.
    pub(super) fn copy(&mut self, piece: u64, offset: usize, out: &mut [u8]) -> bool {
        let Some(place) = self.find(piece) else { return false };
        let Some(bytes) = self.bytes(place).and_then(|bytes| bytes.get(offset..)?.get(..out.len())) else {
            return false;
        };
        out.copy_from_slice(bytes);
        self.touch(place);
        true
    }

    /// Changes with every write.
    pub(super) fn generation(&self) -> u64 {
        self.generation
    }

    /// Keeps a piece (at most [`UNIT`] bytes; the rest is zeros) that was read in that generation.
    pub(super) fn insert(&mut self, piece: u64, bytes: &[u8], generation: u64) {
        if generation != self.generation || self.find(piece).is_some() {
            return;
        }
        let oldest = self.set(piece).min_by_key(|&place| self.used.get(place).copied().unwrap_or(0));
        let Some(place) = oldest else { return };
        let n = bytes.len().min(UNIT);
        if let Some(room) = self.bytes(place) {
            let (head, tail) = room.split_at_mut(n);
            head.copy_from_slice(bytes.get(..n).unwrap_or_default());
            tail.fill(0);
        }
        if let Some(slot) = self.pieces.get_mut(place) {
            *slot = piece;
        }
        self.touch(place);
    }

    /// The device is about to change, or has changed: what is being read now is not to be kept, and this piece is forgotten.
    pub(super) fn forget(&mut self, piece: u64) {
        self.generation += 1;
        if let Some(place) = self.find(piece)
            && let (Some(slot), Some(used)) = (self.pieces.get_mut(place), self.used.get_mut(place))
        {
            *slot = NONE;
            *used = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_old_read_is_not_kept() {
        let mut cache = Cache::new(8);
        let before = cache.generation();
        cache.forget(3);
        cache.insert(3, &[1; UNIT], before);
        assert!(cache.find(3).is_none());
        cache.insert(3, &[2; 10], cache.generation());
        let mut out = [9; 12];
        assert!(cache.copy(3, 0, &mut out));
        assert_eq!(out, [2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 0, 0]);
        assert!(!cache.copy(3, UNIT - 4, &mut [0; 5]), "beyond the piece");
        cache.forget(3);
        assert!(cache.find(3).is_none());
    }

    #[test]
    fn the_least_recently_used_piece_goes() {
        let mut cache = Cache::new(8);
        for piece in 0..8 {
            cache.insert(piece, &[piece as u8], 0);
        }
        assert!(cache.copy(0, 0, &mut [0]));
        cache.insert(8, &[8], 0);
        assert!(cache.find(0).is_some() && cache.find(1).is_none() && cache.find(8).is_some());
    }

    proptest! {
        /// Whatever is found is what was written last.
        #[test]
        fn never_stale(steps in prop::collection::vec((0u64..40, 0u8..3, any::<u8>()), 1..300)) {
            let mut cache = Cache::new(16);
            let mut device = [0u8; 40];
            let mut pending = Vec::new();
            for (piece, what, byte) in steps {
                match what {
                    // A read begins; it may be inserted much later.
                    0 => pending.push((piece, device[piece as usize], cache.generation())),
                    1 => {
                        cache.forget(piece);
                        device[piece as usize] = byte;
                        cache.forget(piece);
                    }
                    _ => if let Some((piece, byte, generation)) = pending.pop() {
                        cache.insert(piece, &[byte], generation);
                    },
                }
                let mut out = [0];
                if cache.copy(piece, 0, &mut out) {
                    prop_assert_eq!(out[0], device[piece as usize]);
                }
            }
        }
    }
}
