//! The message buffer of a client stub.

use zerocopy::IntoBytes;

/// `WORDS` 8-byte words on the stack, aligned to 8, zeroed.
pub struct Buffer<const WORDS: usize>([u64; WORDS]);

impl<const WORDS: usize> Buffer<WORDS> {
    /// All zeros.
    #[must_use]
    #[inline]
    pub const fn new() -> Self {
        Self([0; WORDS])
    }

    /// The bytes.
    #[inline]
    pub fn bytes(&mut self) -> &mut [u8] {
        self.0.as_mut_bytes()
    }
}

impl<const WORDS: usize> Default for Buffer<WORDS> {
    fn default() -> Self {
        Self::new()
    }
}
