//! Reading messages: every descriptor is checked as GNU MIG's receivers check it.
//!
//! A fixed item's descriptor must equal the interface's word in all 64 bits. Of a variable or out-of-line item the name,
//! the element size, the longform bit and (unless the sender may choose) the inline bit are compared; the number is what
//! the sender wrote, within the bounds of the interface and of the message. A message must end exactly where its last
//! item does, and must be marked complex if an item carries a right or memory out of line.

use drover_abi::message::{BITS_COMPLEX, HEADER_SIZE, Header, TypeWord, msgt};
use drover_abi::port::NOTIFY_SEND_ONCE;
use drover_abi::returns::{MIG_BAD_ARGUMENTS, MIG_REPLY_MISMATCH};
use zerocopy::FromBytes;

use crate::array::until_nul;
use crate::port::received;
use crate::{
    Array, Bounded, Data, ERROR_REPLY_SIZE, FixedStr, Ool, OutData, Port, PortName, RpcError, Value, round8,
};

/// The message is not what the interface says. A server answers `MIG_BAD_ARGUMENTS`, a client reports `MIG_TYPE_ERROR`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bad;

impl From<Bad> for i32 {
    #[cold]
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
    fn admits(self, size: usize, complex: bool) -> bool {
        (if self.fixed { size == self.min } else { size >= self.min })
            && self.complex.is_none_or(|c| c == complex)
    }
}

/// A word with a number; bits that say how a variable item travels.
const NUMBER: u64 = 0xffff_ffff << 32;
const NAME: u64 = 0xff;

/// Reads the items of one message in order.
pub struct Decoder<'m> {
    body: &'m [u8],
    at: usize,
    complex: bool,
    raw: bool,
}

impl<'m> Decoder<'m> {
    /// The body of a request. `raw`: dispositions are as the sender wrote them.
    pub(crate) fn request(message: &'m [u8], header: &Header, raw: bool, shape: Shape) -> Result<Self, Bad> {
        let size = header.size as usize;
        let complex = header.bits & BITS_COMPLEX != 0;
        if !shape.admits(size, complex) {
            return Err(Bad);
        }
        let body = message.get(..size).ok_or(Bad)?;
        Ok(Self { body, at: HEADER_SIZE, complex, raw })
    }

    /// The body of the reply in `message[..size]` to request `id`, after its return code.
    ///
    /// # Errors
    /// [`RpcError::ServerDied`] for the send-once notification; MIG's codes for a reply that is not one; the routine's code.
    #[inline]
    pub fn reply(message: &'m [u8], size: usize, id: i32, shape: Shape) -> Result<Self, RpcError> {
        let message = message.get(..size).ok_or(Bad)?;
        let (header, _) = Header::read_from_prefix(message).map_err(|_| Bad)?;
        if header.id != id.wrapping_add(100) {
            return Err(if header.id == NOTIFY_SEND_ONCE {
                RpcError::ServerDied
            } else {
                RpcError::Mig(MIG_REPLY_MISMATCH)
            });
        }
        let size = header.size as usize;
        let body = message.get(..size).ok_or(Bad)?;
        let complex = header.bits & BITS_COMPLEX != 0;
        let mut decoder = Self { body, at: HEADER_SIZE, complex, raw: false };
        let code: i32 = decoder.value(0x0000_0001_2000_2002)?;
        if code != 0 && size == ERROR_REPLY_SIZE && !complex {
            return Err(RpcError::from_return(code));
        }
        if !shape.admits(size, complex) {
            return Err(Bad.into());
        }
        if code != 0 {
            return Err(RpcError::from_return(code));
        }
        Ok(decoder)
    }

    #[inline]
    fn word(&mut self) -> Result<TypeWord, Bad> {
        Ok(TypeWord(u64::load(self.take(8)?)))
    }

    /// `size` bytes and their padding.
    #[inline]
    fn take(&mut self, size: usize) -> Result<&'m [u8], Bad> {
        let bytes = self.body.get(self.at..).ok_or(Bad)?.get(..size).ok_or(Bad)?;
        self.at = self.at.saturating_add(round8(size));
        Ok(bytes)
    }

    /// The disposition to compare with the interface's: as received.
    #[inline]
    fn name(&self, word: TypeWord) -> u32 {
        if self.raw { received(word.name()) } else { word.name() }
    }

    /// Is `word` the expected one in the bits of `mask`, and is its name right (0xff expected: any)?
    #[inline]
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
    #[inline]
    pub fn value<T: Value>(&mut self, expected: u64) -> Result<T, Bad> {
        if self.word()?.0 != expected {
            return Err(Bad);
        }
        Ok(T::load(self.take(T::SIZE)?))
    }

    /// One right; `expected` has the received disposition, or 0xff for any.
    ///
    /// # Errors
    /// [`Bad`] if it is not that.
    #[inline]
    pub fn port(&mut self, expected: u64) -> Result<Port, Bad> {
        let word = self.word()?;
        self.expect(word, expected, u64::MAX)?;
        Ok(Port { name: PortName::load(self.take(8)?), disposition: word.name() })
    }

    /// A C string in a field of `size` bytes.
    ///
    /// # Errors
    /// [`Bad`] if it is not that.
    #[inline]
    pub fn string(&mut self, expected: u64, size: usize) -> Result<&'m [u8], Bad> {
        if self.word()?.0 != expected {
            return Err(Bad);
        }
        Ok(until_nul(self.take(size)?))
    }

    /// A C string held by value.
    ///
    /// # Errors
    /// [`Bad`] if it is not that.
    pub fn string_value<const N: usize>(&mut self, expected: u64) -> Result<FixedStr<N>, Bad> {
        Ok(FixedStr::truncated(self.string(expected, N)?))
    }

    /// A C string of variable length, at most `max` bytes with its NUL.
    ///
    /// # Errors
    /// [`Bad`] if it is not that.
    pub fn variable_string(&mut self, expected: u64, max: usize) -> Result<&'m [u8], Bad> {
        Ok(until_nul(self.array::<u8>(expected, max)?.as_bytes()))
    }

    /// A C string of variable length, held by value.
    ///
    /// # Errors
    /// [`Bad`] if it is not that.
    pub fn variable_string_value<const N: usize>(&mut self, expected: u64) -> Result<FixedStr<N>, Bad> {
        Ok(FixedStr::truncated(self.variable_string(expected, N)?))
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
        let expected = if msgt::is_port(word.name()) { ool_size(expected) } else { expected };
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
        // In its sender's own words the bit says what is to become of the sender's memory.
        self.expect(word, expected, if self.raw { !TypeWord::DEALLOCATE } else { u64::MAX })?;
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

    /// A variable array in a reply, held by value.
    ///
    /// # Errors
    /// [`Bad`] if it is not that.
    pub fn bounded<T: Value, const N: usize>(&mut self, expected: u64) -> Result<Bounded<T, N>, Bad> {
        Ok(bounded(&self.array(expected, N)?))
    }

    /// An array in a reply that the server put in the message or out of line.
    ///
    /// # Errors
    /// [`Bad`] if it is not that.
    pub fn out_data<T: Value, const N: usize>(&mut self, expected: u64) -> Result<OutData<T, N>, Bad> {
        Ok(match self.data(expected, N)? {
            Data::Inline(array) => OutData::Inline(bounded(&array)),
            Data::Ool(ool) => OutData::Ool(ool),
        })
    }

    /// The message must end here.
    ///
    /// # Errors
    /// [`Bad`] if it does not.
    #[inline]
    pub fn end(&self) -> Result<(), Bad> {
        if self.at == self.body.len() { Ok(()) } else { Err(Bad) }
    }
}

/// Bits 24 to 28, which nobody compares in variable items.
const UNUSED: u64 = 0x1f00_0000;

/// The size field of a port descriptor when the rights are out of line.
#[inline]
pub(crate) const fn ool_size(word: u64) -> u64 {
    (word & !0xff_ff00) | (32 << 8)
}

/// How many units of the descriptor make one element, and the bytes from one element to the next.
#[inline]
pub(crate) fn unit_and_stride<T: Value>(word: TypeWord) -> (usize, usize) {
    let unit_bytes = (word.size_bits() / 8).max(1) as usize;
    ((T::SIZE / unit_bytes).max(1), T::SIZE.max(unit_bytes))
}

fn bounded<T: Value, const N: usize>(array: &Array<'_, T>) -> Bounded<T, N> {
    let mut out = Bounded::new().with_disposition(array.disposition());
    let n = array.copy_to(out.storage());
    out.set_len(n);
    out
}
