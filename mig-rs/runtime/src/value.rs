//! Plain values that travel in messages, little-endian.

use crate::{KernelPort, PortName};

/// A value with a fixed size on the wire.
///
/// `load` and `store` get at least [`Value::SIZE`] bytes from this crate; given fewer they read zeros and write nothing,
/// they never panic.
pub trait Value: Copy + PartialEq + core::fmt::Debug {
    /// Bytes on the wire.
    const SIZE: usize;
    /// For rights: bits of one out of line. What is no right has no use for it.
    const RIGHT_BITS: u32 = 32;
    /// The value whose bytes are all 0.
    const ZERO: Self;
    /// Reads from the front of `bytes`.
    fn load(bytes: &[u8]) -> Self;
    /// Writes to the front of `bytes`.
    fn store(self, bytes: &mut [u8]);
}

/// A value whose memory in Rust is its image on the wire, so that a slice of them can go out of line as it is.
pub trait Flat: Value {}

macro_rules! integer {
    ($($t:ty)*) => {$(
        impl Value for $t {
            const SIZE: usize = size_of::<$t>();
            const ZERO: Self = 0 as $t;
            #[inline]
            fn load(bytes: &[u8]) -> Self {
                match bytes.first_chunk() {
                    Some(chunk) => Self::from_le_bytes(*chunk),
                    None => Self::ZERO,
                }
            }
            #[inline]
            fn store(self, bytes: &mut [u8]) {
                if let Some(chunk) = bytes.first_chunk_mut() {
                    *chunk = self.to_le_bytes();
                }
            }
        }
        impl Flat for $t {}
    )*};
}

integer!(u8 i8 u16 i16 u32 i32 u64 i64 f32 f64);

/// `boolean_t`: 32 bits; anything but 0 is true.
impl Value for bool {
    const SIZE: usize = 4;
    const ZERO: Self = false;
    #[inline]
    fn load(bytes: &[u8]) -> Self {
        u32::load(bytes) != 0
    }
    #[inline]
    fn store(self, bytes: &mut [u8]) {
        u32::from(self).store(bytes);
    }
}

impl Value for PortName {
    const SIZE: usize = 4;
    const ZERO: Self = Self::NULL;
    #[inline]
    fn load(bytes: &[u8]) -> Self {
        Self(u32::load(bytes))
    }
    #[inline]
    fn store(self, bytes: &mut [u8]) {
        self.0.store(bytes);
    }
}

impl Flat for PortName {}

impl Value for KernelPort {
    const SIZE: usize = 8;
    const RIGHT_BITS: u32 = 64;
    const ZERO: Self = Self(0);
    #[inline]
    fn load(bytes: &[u8]) -> Self {
        Self(u64::load(bytes))
    }
    #[inline]
    fn store(self, bytes: &mut [u8]) {
        self.0.store(bytes);
    }
}

impl Flat for KernelPort {}

impl<T: Flat, const N: usize> Flat for [T; N] {}

impl<T: Value, const N: usize> Value for [T; N] {
    const SIZE: usize = T::SIZE * N;
    const RIGHT_BITS: u32 = T::RIGHT_BITS;
    const ZERO: Self = [T::ZERO; N];
    #[inline]
    fn load(bytes: &[u8]) -> Self {
        let mut out = Self::ZERO;
        for (slot, chunk) in out.iter_mut().zip(bytes.chunks_exact(T::SIZE)) {
            *slot = T::load(chunk);
        }
        out
    }
    #[inline]
    fn store(self, bytes: &mut [u8]) {
        for (value, chunk) in self.into_iter().zip(bytes.chunks_exact_mut(T::SIZE)) {
            value.store(chunk);
        }
    }
}
