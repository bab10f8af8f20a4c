//! C strings: one in a message, one held by value, and the search for the NUL.
//!
//! A [`Text`] is a string where it lies in a message, read or written in place. A [`FixedStr`] holds as many bytes as the interface's field has, of which most strings use a few. The others are never
//! written or read, which is what the `unsafe` of this crate is for: a string costs what its text does.

use core::fmt;
use core::hint::cold_path;
use core::mem::MaybeUninit;

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::Overflow;

/// A C string where it lies in a message, in a field of `N` bytes: at most `N - 1` bytes and a NUL.
///
/// A server's method reads a client's string in it, and writes a string of the reply into it: nothing is copied on the way.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(transparent)]
pub struct Text<const N: usize>([u8; N]);

impl<const N: usize> Text<N> {
    /// The empty string, for a server that calls its own methods.
    pub const EMPTY: Self = Self([0; N]);

    /// The bytes before the first NUL; the field's last byte counts as one. They are searched for it at every call.
    #[must_use]
    #[inline]
    pub fn as_bytes(&self) -> &[u8] {
        until_nul(&self.0)
    }

    /// There is nothing before the NUL.
    #[must_use]
    #[inline]
    pub fn is_empty(&self) -> bool {
        N < 2 || self.0.first() == Some(&0)
    }

    /// Makes `text` the string. Of a longer one before it nothing remains.
    ///
    /// # Errors
    /// [`Overflow`] if `text` is longer than `N - 1` bytes or holds a NUL; then the string is as it was.
    pub fn set(&mut self, text: &[u8]) -> Result<(), Overflow> {
        if text.len() >= N || has_nul(text) {
            return Err(Overflow);
        }
        let before = self.as_bytes().len();
        if let Some((place, rest)) = self.0.split_at_mut_checked(text.len()) {
            place.copy_from_slice(text);
            let old = before.saturating_sub(text.len()).max(1);
            rest.iter_mut().take(old).for_each(|byte| *byte = 0);
        }
        Ok(())
    }
}

impl<const N: usize> fmt::Debug for Text<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.as_bytes().escape_ascii())
    }
}

/// A C string in a field of `N` bytes: at most `N - 1` bytes and a NUL.
#[derive(Clone, Copy)]
pub struct FixedStr<const N: usize> {
    /// So many bytes of the field are the text, and are initialized. Below `N`, or 0.
    len: usize,
    field: [MaybeUninit<u8>; N],
}

impl<const N: usize> FixedStr<N> {
    /// The empty string.
    pub const EMPTY: Self = Self { len: 0, field: [MaybeUninit::uninit(); N] };

    /// A copy of `text`; `None` if it is longer than `N - 1` bytes or holds a NUL.
    #[must_use]
    #[inline]
    pub fn new(text: &[u8]) -> Option<Self> {
        if text.len() >= N || has_nul(text) {
            return None;
        }
        Some(Self::truncated(text))
    }

    /// As much of `text` as fits, up to its first NUL.
    #[must_use]
    #[inline(always)]
    pub fn truncated(text: &[u8]) -> Self {
        let mut out = MaybeUninit::uninit();
        Self::write_to(&mut out, text);
        // SAFETY: `write_to` has written all of it but the bytes of `field` that may be uninitialized.
        unsafe { out.assume_init() }
    }

    /// The text in a whole field, of which the last byte counts as its NUL.
    #[must_use]
    #[inline(always)]
    pub fn of_field(field: &[u8; N]) -> Self {
        Self::truncated(field)
    }

    /// Not inlined, so that the compiler sees that the string may be made where it is to be, such as in a reply: a value that is
    /// put together step by step is copied as a whole, `N` bytes, when it is returned.
    #[inline(never)]
    fn write_to(out: &mut MaybeUninit<Self>, text: &[u8]) {
        let out = out.write(Self { len: 0, field: [MaybeUninit::uninit(); N] });
        let text = text.get(..N.saturating_sub(1)).unwrap_or(text);
        let (words, rest) = text.as_chunks::<8>();
        for (word, place) in words.iter().zip(out.field.as_chunks_mut::<8>().0) {
            // What is behind a NUL in its word is copied too, and means nothing.
            *place = word.map(MaybeUninit::new);
            let zeros = zeros(*word);
            if zeros != 0 {
                out.len += zeros.trailing_zeros() as usize / 8;
                return;
            }
            out.len += 8;
        }
        let Some(places) = out.field.get_mut(out.len..) else { return };
        for (byte, place) in rest.iter().zip(places) {
            if *byte == 0 {
                return;
            }
            place.write(*byte);
            out.len += 1;
        }
    }

    /// The text before the NUL.
    #[must_use]
    #[inline]
    pub fn as_bytes(&self) -> &[u8] {
        let Some(text) = self.field.get(..self.len).filter(|text| text.len() < N) else {
            cold_path();
            return &[];
        };
        // SAFETY: `len` is 0 at first; `write_to` alone changes it, and only by as many bytes as it has just written behind
        // those it had written before. Both fields are private, and a copy of the whole has the same bytes initialized.
        unsafe { text.assume_init_ref() }
    }
}

impl<const N: usize> Default for FixedStr<N> {
    fn default() -> Self {
        Self::EMPTY
    }
}

impl<const N: usize> fmt::Debug for FixedStr<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.as_bytes().escape_ascii())
    }
}

impl<const N: usize> PartialEq for FixedStr<N> {
    fn eq(&self, other: &Self) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

/// The bytes before the first NUL; the last byte counts as one.
#[inline]
pub(crate) fn until_nul(field: &[u8]) -> &[u8] {
    let text = field.split_last().map_or(field, |(_, front)| front);
    text.get(..find_nul(text)).unwrap_or(text)
}

/// The lowest bit set belongs to the first byte that is 0; no bit is set if there is none.
#[inline(always)]
fn zeros(word: [u8; 8]) -> u64 {
    let word = u64::from_le_bytes(word);
    word.wrapping_sub(0x0101_0101_0101_0101) & !word & 0x8080_8080_8080_8080
}

/// Where the first NUL is; the length if there is none. Eight bytes at a time.
#[inline]
fn find_nul(text: &[u8]) -> usize {
    let (words, rest) = text.as_chunks::<8>();
    for (i, word) in words.iter().enumerate() {
        let zeros = zeros(*word);
        if zeros != 0 {
            return i * 8 + zeros.trailing_zeros() as usize / 8;
        }
    }
    let before = text.len() - rest.len();
    before + rest.iter().position(|&b| b == 0).unwrap_or(rest.len())
}

/// There is a NUL.
#[inline]
pub(crate) fn has_nul(text: &[u8]) -> bool {
    let Some(last) = text.last_chunk::<8>() else { return text.contains(&0) };
    // The last eight bytes may be looked at twice.
    text.as_chunks::<8>().0.iter().any(|word| zeros(*word) != 0) || zeros(*last) != 0
}

/// Copies `text` to `out`, which is as long; false if it has a NUL: then what is in `out` means nothing.
#[inline(always)]
pub(crate) fn copy_without_nul(text: &[u8], out: &mut [u8]) -> bool {
    let Some(last) = text.last_chunk::<8>() else {
        out.copy_from_slice(text);
        return !text.contains(&0);
    };
    for (word, place) in text.as_chunks::<8>().0.iter().zip(out.as_chunks_mut::<8>().0) {
        if zeros(*word) != 0 {
            return false;
        }
        *place = *word;
    }
    // The last eight bytes may be copied twice.
    if let Some(place) = out.last_chunk_mut::<8>() {
        *place = *last;
    }
    zeros(*last) == 0
}
