//! Arrays and strings: views of received ones, and values that hold a few items themselves.

use core::fmt;
use core::marker::PhantomData;

use crate::{PortName, Value};

/// Out-of-line data: an address in the space of whoever holds the message, and a count. Plain data, nothing is owned:
/// turning it into memory, and freeing that, is the business of the user-space library.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ool {
    /// Address; 0 when there are no elements.
    pub address: u64,
    /// Elements.
    pub count: u32,
    /// Bytes of one element (4 for port rights).
    pub element: u32,
    /// `msgt_name` of the elements.
    pub disposition: u32,
    /// Sent: the memory moves instead of being copied. Received: always true, the receiver owns fresh pages.
    pub dealloc: bool,
}

impl Ool {
    /// No data.
    pub const EMPTY: Self = Self { address: 0, count: 0, element: 0, disposition: 0, dealloc: false };

    /// `count` elements at `address`, copied; size and kind of the elements come from the interface.
    #[must_use]
    pub const fn copy(address: u64, count: u32) -> Self {
        Self { address, count, ..Self::EMPTY }
    }

    /// `count` elements at `address`, whose pages go with the message.
    #[must_use]
    pub const fn moved(address: u64, count: u32) -> Self {
        Self { address, count, dealloc: true, ..Self::EMPTY }
    }

    /// Bytes of all elements.
    #[must_use]
    pub const fn bytes(&self) -> u64 {
        self.count as u64 * self.element as u64
    }

    /// The same memory with another disposition of its port rights.
    #[must_use]
    pub const fn with_disposition(mut self, disposition: u32) -> Self {
        self.disposition = disposition;
        self
    }
}

/// Elements in a received message, decoded when asked for. Borrowed from the message.
#[derive(Clone, Copy)]
pub struct Array<'m, T> {
    bytes: &'m [u8],
    stride: usize,
    disposition: u32,
    kind: PhantomData<T>,
}

impl<'m, T: Value> Array<'m, T> {
    pub(crate) const fn new(bytes: &'m [u8], stride: usize, disposition: u32) -> Self {
        Self { bytes, stride, disposition, kind: PhantomData }
    }

    /// No elements.
    pub const EMPTY: Self = Self::new(&[], 1, 0);

    /// Elements.
    #[must_use]
    pub const fn len(&self) -> usize {
        match self.bytes.len().checked_div(self.stride) {
            Some(n) => n,
            None => 0,
        }
    }

    /// No elements.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// `msgt_name` of the elements: for rights, what was done with them.
    #[must_use]
    pub const fn disposition(&self) -> u32 {
        self.disposition
    }

    /// The element at `index`.
    #[must_use]
    pub fn get(&self, index: usize) -> Option<T> {
        let start = index.checked_mul(self.stride)?;
        self.bytes.get(start..)?.get(..self.stride).map(T::load)
    }

    /// All elements in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = T> + Clone + use<'m, T> {
        self.bytes.chunks_exact(self.stride.max(1)).map(T::load)
    }

    /// Copies as many elements as fit into `out`; returns how many.
    pub fn copy_to(&self, out: &mut [T]) -> usize {
        let mut n = 0;
        for (slot, value) in out.iter_mut().zip(self.iter()) {
            *slot = value;
            n += 1;
        }
        n
    }
}

impl<'m> Array<'m, u8> {
    /// The bytes themselves, without copying.
    #[must_use]
    pub const fn as_bytes(&self) -> &'m [u8] {
        self.bytes
    }
}

impl<T: Value> fmt::Debug for Array<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl<T: Value> PartialEq for Array<'_, T> {
    fn eq(&self, other: &Self) -> bool {
        self.len() == other.len() && self.iter().zip(other.iter()).all(|(a, b)| a == b)
    }
}

/// A received array whose sender chose between the message and memory out of line.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Data<'m, T: Value> {
    /// In the message.
    Inline(Array<'m, T>),
    /// Elsewhere in the holder's space.
    Ool(Ool),
}

impl<'m, T: Value> Data<'m, T> {
    /// Elements.
    #[must_use]
    pub const fn len(&self) -> usize {
        match self {
            Self::Inline(array) => array.len(),
            Self::Ool(ool) => ool.count as usize,
        }
    }
    /// No elements.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// `msgt_name` of the elements.
    #[must_use]
    pub const fn disposition(&self) -> u32 {
        match self {
            Self::Inline(array) => array.disposition(),
            Self::Ool(ool) => ool.disposition,
        }
    }
    /// The elements, if they are in the message or there are none.
    #[must_use]
    pub fn inline(&self) -> Option<Array<'m, T>> {
        match self {
            Self::Inline(array) => Some(*array),
            Self::Ool(ool) if ool.count == 0 => Some(Array::EMPTY),
            Self::Ool(_) => None,
        }
    }
}

/// Port rights that a client sends as an array: names and what is done with all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ports<'a, N = PortName> {
    /// The names.
    pub names: &'a [N],
    /// `msgt_name` of every one of them.
    pub disposition: u32,
}

impl<'a, N> Ports<'a, N> {
    /// No rights.
    pub const EMPTY: Self = Self { names: &[], disposition: drover_abi::message::msgt::COPY_SEND };

    /// The sender keeps its send rights.
    #[must_use]
    pub const fn copy_send(names: &'a [N]) -> Self {
        Self { names, disposition: drover_abi::message::msgt::COPY_SEND }
    }
    /// The sender gives its send rights away.
    #[must_use]
    pub const fn move_send(names: &'a [N]) -> Self {
        Self { names, disposition: drover_abi::message::msgt::MOVE_SEND }
    }
}

/// Up to `N` values, held here.
#[derive(Clone, Copy)]
pub struct Bounded<T, const N: usize> {
    items: [T; N],
    len: usize,
    disposition: u32,
}

impl<T: Value, const N: usize> Bounded<T, N> {
    /// No values.
    #[must_use]
    pub const fn new() -> Self {
        Self { items: [T::ZERO; N], len: 0, disposition: 0 }
    }

    /// A copy of `values`; `None` if there are more than `N`.
    #[must_use]
    pub fn from_slice(values: &[T]) -> Option<Self> {
        let mut out = Self::new();
        out.items.get_mut(..values.len())?.copy_from_slice(values);
        out.len = values.len();
        Some(out)
    }

    /// What arrived in a reply, at most `N` values of it.
    #[must_use]
    pub fn of(array: &Array<'_, T>) -> Self {
        let mut out = Self::new().with_disposition(array.disposition());
        let n = array.copy_to(out.storage());
        out.set_len(n);
        out
    }

    /// Appends one value; false if there is no room.
    pub fn push(&mut self, value: T) -> bool {
        match self.items.get_mut(self.len) {
            Some(slot) => {
                *slot = value;
                self.len += 1;
                true
            }
            None => false,
        }
    }

    /// The values.
    #[must_use]
    pub fn as_slice(&self) -> &[T] {
        self.items.get(..self.len).unwrap_or(&[])
    }

    /// All `N` places; set the number in use with [`Bounded::set_len`]. For filling in place.
    pub fn storage(&mut self) -> &mut [T; N] {
        &mut self.items
    }

    /// Says how many places are in use (at most `N`).
    pub fn set_len(&mut self, len: usize) {
        self.len = len.min(N);
    }

    /// `msgt_name` of the elements, for rights.
    #[must_use]
    pub const fn disposition(&self) -> u32 {
        self.disposition
    }

    /// The same values with another disposition.
    #[must_use]
    pub const fn with_disposition(mut self, disposition: u32) -> Self {
        self.disposition = disposition;
        self
    }
}

impl<T: Value, const N: usize> Default for Bounded<T, N> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: Value, const N: usize> core::ops::Deref for Bounded<T, N> {
    type Target = [T];
    fn deref(&self) -> &[T] {
        self.as_slice()
    }
}

impl<T: Value, const N: usize> fmt::Debug for Bounded<T, N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.as_slice()).finish()
    }
}

impl<T: Value, const N: usize> PartialEq for Bounded<T, N> {
    fn eq(&self, other: &Self) -> bool {
        self.as_slice() == other.as_slice()
    }
}

/// An array in a reply: up to `N` values here, or memory out of line.
#[allow(clippy::large_enum_variant, reason = "no allocation: the values are held here or nowhere")]
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum OutData<T: Value, const N: usize> {
    /// In the reply.
    Inline(Bounded<T, N>),
    /// Elsewhere: in the server's space when sending, in the client's when received.
    Ool(Ool),
}

impl<T: Value, const N: usize> OutData<T, N> {
    /// No elements.
    #[must_use]
    pub const fn empty() -> Self {
        Self::Inline(Bounded::new())
    }
    /// What arrived in a reply.
    #[must_use]
    pub fn of(data: &Data<'_, T>) -> Self {
        match data {
            Data::Inline(array) => Self::Inline(Bounded::of(array)),
            Data::Ool(ool) => Self::Ool(*ool),
        }
    }
    /// A copy of `values`; `None` if they must go out of line.
    #[must_use]
    pub fn from_slice(values: &[T]) -> Option<Self> {
        Bounded::from_slice(values).map(Self::Inline)
    }
    /// Elements.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::Inline(values) => values.len(),
            Self::Ool(ool) => ool.count as usize,
        }
    }
    /// No elements.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// The elements, if they came in the reply or there are none.
    #[must_use]
    pub fn inline(&self) -> Option<&[T]> {
        match self {
            Self::Inline(values) => Some(values.as_slice()),
            Self::Ool(ool) if ool.count == 0 => Some(&[]),
            Self::Ool(_) => None,
        }
    }
    /// The memory out of line, if that is where they are.
    #[must_use]
    pub const fn ool(&self) -> Option<Ool> {
        match self {
            Self::Inline(_) => None,
            Self::Ool(ool) => Some(*ool),
        }
    }
}

impl<T: Value, const N: usize> Default for OutData<T, N> {
    fn default() -> Self {
        Self::empty()
    }
}

impl<T: Value, const N: usize> From<Bounded<T, N>> for OutData<T, N> {
    fn from(values: Bounded<T, N>) -> Self {
        Self::Inline(values)
    }
}
