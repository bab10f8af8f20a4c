//! Reading messages: every descriptor is checked as GNU MIG's receivers check it.
//!
//! A fixed item's descriptor must equal the interface's word in all 64 bits. Of a variable or out-of-line item the name,
//! the element size, the longform bit and (unless the sender may choose) the inline bit are compared; the number is what
//! the sender wrote, within the bounds of the interface and of the message. A message must end exactly where its last
//! item does, and must be marked complex if an item carries a right or memory out of line.

use drover_abi::message::{BITS_COMPLEX, HEADER_SIZE, Header, TypeWord, msgt};
use drover_abi::port::NOTIFY_SEND_ONCE;
use drover_abi::returns::{MIG_ARRAY_TOO_LARGE, MIG_BAD_ARGUMENTS, MIG_REPLY_MISMATCH};
use zerocopy::FromBytes;

use crate::port::received;
use crate::text::until_nul;
use crate::{Array, Data, ERROR_REPLY_SIZE, Name, Ool, Port, RpcError, Text, Value, round8};

/// The message is not what the interface says. A server answers `MIG_BAD_ARGUMENTS`, a client reports `MIG_TYPE_ERROR`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bad;

impl From<Bad> for i32 {
    #[inline(always)]
    fn from(_: Bad) -> Self {
        MIG_BAD_ARGUMENTS
    }
}

/// What an interface says of a whole message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Bytes with every variable part empty.
    pub min: usize,
    /// No variable parts: `min` is the size.
    pub fixed: bool,
    /// The complex bit, where the interface fixes it.
    pub complex: Option<bool>,
}

impl Shape {
    #[inline(always)]
    fn admits(self, size: usize, complex: bool) -> bool {
        (if self.fixed { size == self.min } else { size >= self.min })
            && self.complex.is_none_or(|c| c == complex)
    }
}

/// The descriptor of a return code.
pub(crate) const RETURN_CODE: u64 = 0x0000_0001_2000_2002;

/// A word with a number; bits that say how a variable item travels.
const NUMBER: u64 = 0xffff_ffff << 32;
const NAME: u64 = 0xff;

/// Reads the items of one message in order.
pub struct Decoder<'m> {
    items: &'m [u8],
    at: usize,
    complex: bool,
    raw: bool,
}

impl<'m> Decoder<'m> {
    /// The body of a request. `raw`: dispositions are as the sender wrote them.
    #[inline(always)]
    pub(crate) fn request(
        header: &[u8; HEADER_SIZE],
        items: &'m [u8],
        raw: bool,
        shape: Shape,
    ) -> Result<Self, Bad> {
        let (bits, size) = (u32::load(header), header.get(4..).map_or(0, u32::load) as usize);
        let complex = bits & BITS_COMPLEX != 0;
        if !shape.admits(size, complex) {
            return Err(Bad);
        }
        // Of a message of fixed size everything that follows is at a constant place.
        let size = if shape.fixed { shape.min } else { size };
        let items = items.get(..size.checked_sub(HEADER_SIZE).ok_or(Bad)?).ok_or(Bad)?;
        Ok(Self { items, at: 0, complex: shape.complex.unwrap_or(complex), raw })
    }

    /// The body of the reply in `message[..size]` to request `id`, after its return code.
    ///
    /// # Errors
    /// [`RpcError::ServerDied`] for the send-once notification; MIG's codes for a reply that is not one; the routine's code.
    #[inline(always)]
    pub fn reply(message: &'m [u8], size: usize, id: i32, shape: Shape) -> Result<Self, RpcError> {
        let (body, complex) = Self::body_of_reply(message, size, id, shape)?;
        let items = body.get(HEADER_SIZE..).unwrap_or(&[]);
        Ok(Self { items, at: ERROR_REPLY_SIZE - HEADER_SIZE, complex, raw: false })
    }

    /// As [`Decoder::reply`], of a reply that has nothing but its return code.
    ///
    /// # Errors
    /// As for [`Decoder::reply`].
    #[inline(always)]
    pub fn bare_reply(message: &[u8], size: usize, id: i32) -> Result<(), RpcError> {
        let shape = Shape { min: ERROR_REPLY_SIZE, fixed: true, complex: Some(false) };
        Decoder::body_of_reply(message, size, id, shape).map(drop)
    }

    /// The message and whether it is complex, if it is a reply that says success. One test after the other, each with its own way
    /// out: put together they take more instructions.
    #[inline(always)]
    fn body_of_reply(
        message: &'m [u8],
        size: usize,
        id: i32,
        shape: Shape,
    ) -> Result<(&'m [u8], bool), RpcError> {
        let failure = || Err(Self::failure(message, size, id, shape.min, (shape.fixed, shape.complex)));
        let Some(front) = message.get(..shape.min.max(ERROR_REPLY_SIZE)) else { return failure() };
        let word = |at: usize| front.get(at..).map_or(0, u32::load);
        if word(28) != id.wrapping_add(100) as u32 {
            return failure();
        }
        let (length, complex) = (word(4) as usize, word(0) & BITS_COMPLEX != 0);
        if length > size {
            return failure();
        }
        if !shape.admits(length, complex) {
            return failure();
        }
        if front.get(HEADER_SIZE..).map(u64::load) != Some(RETURN_CODE) {
            return failure();
        }
        if word(HEADER_SIZE + 8) != 0 {
            return failure();
        }
        let body = if shape.fixed { Some(front) } else { message.get(..length) };
        match body {
            Some(body) => Ok((body, shape.complex.unwrap_or(complex))),
            None => failure(),
        }
    }

    /// What is wrong with a reply.
    #[cold]
    #[inline(never)]
    fn failure(
        message: &[u8],
        size: usize,
        id: i32,
        min: usize,
        (fixed, complex): (bool, Option<bool>),
    ) -> RpcError {
        let shape = Shape { min, fixed, complex };
        let Some(message) = message.get(..size) else { return Bad.into() };
        let Ok((header, _)) = Header::read_from_prefix(message) else { return Bad.into() };
        if header.id != id.wrapping_add(100) {
            return if header.id == NOTIFY_SEND_ONCE {
                RpcError::ServerDied
            } else {
                RpcError::Mig(MIG_REPLY_MISMATCH)
            };
        }
        let size = header.size as usize;
        let Some(items) = message.get(HEADER_SIZE..size) else { return Bad.into() };
        let complex = header.bits & BITS_COMPLEX != 0;
        let mut decoder = Decoder { items, at: 0, complex, raw: false };
        let Ok(code) = decoder.value::<i32>(RETURN_CODE) else { return Bad.into() };
        let bare = size == ERROR_REPLY_SIZE && !complex;
        if code != 0 && (bare || shape.admits(size, complex)) {
            return RpcError::from_return(code);
        }
        Bad.into()
    }

    #[inline(always)]
    fn word(&mut self) -> Result<TypeWord, Bad> {
        Ok(TypeWord(u64::load(self.take(8)?)))
    }

    /// `size` bytes and their padding.
    #[inline(always)]
    fn take(&mut self, size: usize) -> Result<&'m [u8], Bad> {
        let bytes = self.items.get(self.at..).ok_or(Bad)?.get(..size).ok_or(Bad)?;
        self.at += round8(size);
        Ok(bytes)
    }

    /// The disposition to compare with the interface's: as received.
    #[inline(always)]
    fn name(&self, word: TypeWord) -> u32 {
        if self.raw { received(word.name()) } else { word.name() }
    }

    /// Is `word` the expected one in the bits of `mask`, and is its name right (0xff expected: any)?
    #[inline(always)]
    fn expect(&self, word: TypeWord, expected: u64, mask: u64) -> Result<(), Bad> {
        let want = (expected & NAME) as u32;
        let name_fits = want == msgt::POLYMORPHIC || self.name(word) == want;
        let rest_fits = (word.0 ^ expected) & mask & !NAME == 0;
        let complexity_fits = self.complex || (word.is_inline() && !msgt::is_port(word.name()));
        if name_fits && rest_fits && complexity_fits { Ok(()) } else { Err(Bad) }
    }

    /// A fixed item of plain data.
    ///
    /// # Errors
    /// [`Bad`] if it is not that.
    #[inline(always)]
    pub fn value<T: Value>(&mut self, expected: u64) -> Result<T, Bad> {
        if (self.word()?.0 ^ expected) & compared(expected) != 0 {
            return Err(Bad);
        }
        Ok(T::load(self.take(T::SIZE)?))
    }

    /// One right; `expected` has the received disposition, or 0xff for any.
    ///
    /// # Errors
    /// [`Bad`] if it is not that.
    #[inline(always)]
    pub fn port<N: Name>(&mut self, expected: u64) -> Result<Port<N>, Bad> {
        let word = self.word()?;
        if !self.raw && msgt::is_port((expected & NAME) as u32) {
            // The name is known, and is a right's: the message must be complex, and one comparison does.
            if (word.0 ^ expected) & compared(expected) != 0 || !self.complex {
                return Err(Bad);
            }
        } else {
            // A kernel's server compares rights field by field.
            let mask = if self.raw { !(TypeWord::DEALLOCATE | UNUSED) } else { compared(expected) };
            self.expect(word, expected, mask)?;
        }
        Ok(Port { name: N::of_word(u64::load(self.take(8)?)), disposition: word.name() })
    }

    /// A C string in a field of `N` bytes.
    ///
    /// # Errors
    /// [`Bad`] if it is not that.
    #[inline(always)]
    pub fn text<const N: usize>(&mut self, expected: u64) -> Result<&'m Text<N>, Bad> {
        Text::ref_from_bytes(self.string_field::<N>(expected)?).map_err(|_| Bad)
    }

    /// The whole field of a C string.
    ///
    /// # Errors
    /// [`Bad`] if it is not that.
    #[inline(always)]
    pub fn string_field<const N: usize>(&mut self, expected: u64) -> Result<&'m [u8; N], Bad> {
        if (self.word()?.0 ^ expected) & compared(expected) != 0 {
            return Err(Bad);
        }
        self.take(N)?.try_into().map_err(|_| Bad)
    }

    /// A C string of variable length, at most `max` bytes with its NUL.
    ///
    /// # Errors
    /// [`Bad`] if it is not that.
    pub fn variable_string(&mut self, expected: u64, max: usize) -> Result<&'m [u8], Bad> {
        Ok(until_nul(self.array::<u8>(expected, max)?.as_bytes()))
    }

    /// A variable array in the message, at most `max` elements.
    ///
    /// # Errors
    /// [`Bad`] if it is not that.
    pub fn array<T: Value>(&mut self, expected: u64, max: usize) -> Result<Array<'m, T>, Bad> {
        let word = self.word()?;
        self.expect(word, expected, !(NUMBER | TypeWord::DEALLOCATE | UNUSED))?;
        self.elements(word, max)
    }

    /// As [`Decoder::array`], for a client that has room for `room` elements: of more it learns that they were too many, if the
    /// message is otherwise as long as they say. `rest`: what follows at least, `last`: and at most.
    ///
    /// # Errors
    /// `MIG_ARRAY_TOO_LARGE`, or `MIG_TYPE_ERROR` if it is not that.
    pub fn results<T: Value>(
        &mut self,
        expected: u64,
        room: usize,
        rest: usize,
        last: bool,
    ) -> Result<Array<'m, T>, RpcError> {
        let word = self.word()?;
        self.expect(word, expected, !(NUMBER | TypeWord::DEALLOCATE | UNUSED))?;
        let (unit, stride) = unit_and_stride::<T>(word);
        let count = word.number() as usize / unit;
        if count > room {
            return Err(self.too_many(count, stride, rest, last));
        }
        Ok(self.elements(word, room)?)
    }

    /// What is wrong with more elements than there is room for.
    #[cold]
    #[inline(never)]
    fn too_many(&self, count: usize, stride: usize, rest: usize, last: bool) -> RpcError {
        let needed = count.checked_mul(stride).and_then(|n| n.checked_next_multiple_of(8)?.checked_add(rest));
        let left = self.items.len().saturating_sub(self.at);
        match needed {
            Some(needed) if needed == left || (needed < left && !last) => RpcError::Mig(MIG_ARRAY_TOO_LARGE),
            _ => Bad.into(),
        }
    }

    fn elements<T: Value>(&mut self, word: TypeWord, max: usize) -> Result<Array<'m, T>, Bad> {
        let (unit, stride) = unit_and_stride::<T>(word);
        let number = word.number() as usize;
        if !number.is_multiple_of(unit) || number / unit > max {
            return Err(Bad);
        }
        let bytes = self.take((number / unit).checked_mul(stride).ok_or(Bad)?)?;
        Ok(Array::new(bytes, stride, word.name()))
    }

    /// An array that its sender put in the message (at most `max` elements) or out of line.
    ///
    /// # Errors
    /// [`Bad`] if it is not that.
    pub fn data<T: Value>(&mut self, expected: u64, max: usize) -> Result<Data<'m, T>, Bad> {
        let word = self.word()?;
        if word.is_inline() {
            self.expect(word, expected, !(NUMBER | TypeWord::DEALLOCATE | TypeWord::INLINE | UNUSED))?;
            return self.elements(word, max).map(Data::Inline);
        }
        // A free name is that of rights.
        let want = (expected & NAME) as u32;
        let rights = want == msgt::POLYMORPHIC || msgt::is_port(want);
        let expected = if rights { ool_size::<T>(expected) } else { expected };
        self.expect(word, expected, !(NUMBER | TypeWord::DEALLOCATE | TypeWord::INLINE | UNUSED))?;
        self.ool_item::<T>(word).map(Data::Ool)
    }

    /// An array that is always out of line.
    ///
    /// # Errors
    /// [`Bad`] if it is not that.
    pub fn ool<T: Value>(&mut self, expected: u64) -> Result<Ool, Bad> {
        let word = self.word()?;
        self.expect(word, expected, !(NUMBER | TypeWord::DEALLOCATE | UNUSED))?;
        self.ool_item::<T>(word)
    }

    /// An out-of-line item of a fixed type, of which the whole word is compared. The interface, not the message, says how many
    /// elements there are.
    ///
    /// # Errors
    /// [`Bad`] if it is not that.
    pub fn ool_fixed<T: Value>(&mut self, expected: u64) -> Result<Ool, Bad> {
        let word = self.word()?;
        // In its sender's own words the bit says what is to become of the sender's memory; a kernel's server compares field by field.
        let mask = if self.raw { !(TypeWord::DEALLOCATE | UNUSED) } else { u64::MAX };
        self.expect(word, expected, mask)?;
        self.ool_item::<T>(word)
    }

    fn ool_item<T: Value>(&mut self, word: TypeWord) -> Result<Ool, Bad> {
        let (unit, stride) = unit_and_stride::<T>(word);
        let number = word.number() as usize;
        if !number.is_multiple_of(unit) {
            return Err(Bad);
        }
        Ok(Ool {
            address: u64::load(self.take(8)?),
            count: (number / unit) as u32,
            element: stride as u32,
            disposition: word.name(),
            dealloc: word.is_dealloc(),
        })
    }

    /// The message must end here.
    ///
    /// # Errors
    /// [`Bad`] if it does not.
    #[inline(always)]
    pub fn end(&self) -> Result<(), Bad> {
        if self.at == self.items.len() { Ok(()) } else { Err(Bad) }
    }
}

/// What of the descriptor of a fixed item must be as expected: all of it, but where MIG compares field by field, because
/// the name is free or the form is long, neither the unused bits nor that for memory.
#[inline(always)]
const fn compared(expected: u64) -> u64 {
    if expected & TypeWord::LONGFORM != 0 || expected & NAME == msgt::POLYMORPHIC as u64 {
        !(TypeWord::DEALLOCATE | UNUSED)
    } else {
        u64::MAX
    }
}

/// Bits 24 to 28, which nobody compares in variable items.
const UNUSED: u64 = 0x1f00_0000;

/// The size field of a port descriptor when the rights are out of line.
#[inline(always)]
pub(crate) const fn ool_size<T: Value>(word: u64) -> u64 {
    (word & !0xff_ff00) | ((T::RIGHT_BITS as u64) << 8)
}

/// How many units of the descriptor make one element, and the bytes from one element to the next.
#[inline(always)]
pub(crate) fn unit_and_stride<T: Value>(word: TypeWord) -> (usize, usize) {
    let unit_bytes = (word.size_bits() / 8).max(1) as usize;
    ((T::SIZE / unit_bytes).max(1), T::SIZE.max(unit_bytes))
}
