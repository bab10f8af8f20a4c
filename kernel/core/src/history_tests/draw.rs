//! Numbers that a history draws.

/// Numbers drawn from one seed.
pub(super) struct Draw(pub(super) u64);

impl Draw {
    pub(super) fn word(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
    pub(super) fn below(&mut self, n: u64) -> u64 {
        self.word() % n
    }
    pub(super) fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }
    pub(super) fn of<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len() as u64) as usize]
    }
    /// A number that somebody hostile would try.
    pub(super) fn number(&mut self) -> u64 {
        let small = self.below(600);
        let any = self.word();
        self.of(&[0, 1, small, 4096, 1 << 20, 1 << 31, 1 << 47, u64::MAX, u64::MAX - 1, u64::MAX >> 1, any])
    }
    pub(super) fn small(&mut self) -> u64 {
        if self.one_in(6) { self.number() } else { self.below(60) }
    }
}
