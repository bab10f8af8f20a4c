//! Writing messages.
//!
//! Every byte from the header to the end is written, padding included, so nothing of the buffer's old contents leaves; unless
//! whoever lends the buffer says that it is clean.

use core::hint::cold_path;

use drover_abi::message::{BITS_COMPLEX, HEADER_SIZE, Header, TypeWord, msgt};
use drover_abi::returns::{KERN_FAILURE, MIG_ARRAY_TOO_LARGE, MIG_NO_REPLY};
use zerocopy::{FromBytes, IntoBytes};

use crate::decode::{ool_size, unit_and_stride};
use crate::port::received;
use crate::text::copy_without_nul;
use crate::{
    Bounded, ERROR_REPLY_SIZE, FixedStr, Flat, Name, Ool, OutData, Outcome, Port, Ports, Text, Value, round8,
};

/// An argument does not fit in the message: `MIG_ARRAY_TOO_LARGE`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Overflow;

impl From<Overflow> for i32 {
    #[inline(always)]
    fn from(_: Overflow) -> Self {
        MIG_ARRAY_TOO_LARGE
    }
}

/// Writes the items of one message in order.
pub struct Encoder<'m> {
    message: &'m mut [u8],
    at: usize,
    complex: bool,
    as_received: bool,
    /// The size is in the header.
    sized: bool,
    /// The buffer holds nothing that must not leave.
    clean: bool,
}

/// Strings' places in a message, from front to back.
pub struct Places<'m> {
    /// What is behind those that have been given out.
    bytes: &'m mut [u8],
    at: usize,
    clean: bool,
}

impl<'m> Places<'m> {
    /// The field of `N` bytes that begins at byte `at` of the message. It holds the empty string, and nothing behind it that may not leave.
    ///
    /// # Errors
    /// [`Overflow`] if the buffer ends, or `at` is before the end of one that was given out.
    #[inline(always)]
    pub fn text<const N: usize>(&mut self, at: usize) -> Result<&'m mut Text<N>, Overflow> {
        let skip = at.checked_sub(self.at).ok_or(Overflow)?;
        let (_, bytes) = core::mem::take(&mut self.bytes).split_at_mut_checked(skip).ok_or(Overflow)?;
        let (field, rest) = bytes.split_first_chunk_mut::<N>().ok_or(Overflow)?;
        (self.bytes, self.at) = (rest, at + N);
        if let Some(first) = field.first_mut() {
            *first = 0;
        }
        if !self.clean {
            cold_path();
            field.fill(0);
        }
        Text::mut_from_bytes(field).map_err(|_| Overflow)
    }
}

impl<'m> Encoder<'m> {
    /// A message in `message`, from its front.
    #[inline(always)]
    pub fn new(message: &'m mut [u8]) -> Self {
        Self { message, at: HEADER_SIZE, complex: false, as_received: false, sized: false, clean: false }
    }

    /// As [`Encoder::new`], into a buffer that holds nothing that its receiver may not see: then padding and the rest of
    /// strings' fields are left as they are.
    #[inline(always)]
    pub fn clean(message: &'m mut [u8]) -> Self {
        Self { clean: true, ..Self::new(message) }
    }

    /// As [`Encoder::new`]; rights and memory are marked as their receiver must see them, because no kernel comes between.
    #[inline(always)]
    pub(crate) fn received(message: &'m mut [u8]) -> Self {
        Self { as_received: true, ..Self::new(message) }
    }

    #[inline(always)]
    fn take(&mut self, size: usize) -> Result<&mut [u8], Overflow> {
        let padded = round8(size);
        let place = self.message.get_mut(self.at..).ok_or(Overflow)?.get_mut(..padded).ok_or(Overflow)?;
        self.at += padded;
        let (data, padding) = place.split_at_mut_checked(size).ok_or(Overflow)?;
        if !self.clean {
            padding.fill(0);
        }
        Ok(data)
    }

    #[inline(always)]
    fn word(&mut self, word: u64) -> Result<(), Overflow> {
        word.store(self.take(8)?);
        Ok(())
    }

    /// Puts the name into a word, and notes what makes the message complex.
    #[inline(always)]
    fn named(&mut self, word: u64, name: u32) -> u64 {
        let name = if self.as_received { received(name) } else { name } & 0xff;
        self.complex |= msgt::is_port(name);
        (word & !0xff) | u64::from(name)
    }

    /// A fixed item of plain data.
    ///
    /// # Errors
    /// [`Overflow`] if the buffer ends.
    #[inline(always)]
    pub fn value<T: Value>(&mut self, word: u64, value: T) -> Result<(), Overflow> {
        self.word(word)?;
        if T::SIZE < 8 {
            // With its padding it is one word.
            let mut whole = [0; 8];
            value.store(&mut whole);
            u64::from_le_bytes(whole).store(self.take(8)?);
        } else {
            value.store(self.take(T::SIZE)?);
        }
        Ok(())
    }

    /// The places of strings in the message, to be filled in before the items are written.
    #[inline(always)]
    pub fn places(&mut self) -> Places<'_> {
        Places { bytes: self.message, at: 0, clean: self.clean }
    }

    /// A C string in a field of `size` bytes, which has been [filled in](Encoder::places).
    ///
    /// # Errors
    /// [`Overflow`] if the buffer ends.
    #[inline(always)]
    pub fn text(&mut self, word: u64, size: usize) -> Result<(), Overflow> {
        self.word(word)?;
        self.take(size)?;
        Ok(())
    }

    /// One right, with the disposition of the interface, which is in `word`.
    ///
    /// # Errors
    /// [`Overflow`] if the buffer ends.
    #[inline(always)]
    pub fn port<N: Name>(&mut self, word: u64, name: N) -> Result<(), Overflow> {
        self.poly(word, Port { name, disposition: (word & 0xff) as u32 })
    }

    /// One right, with the caller's disposition.
    ///
    /// # Errors
    /// [`Overflow`] if the buffer ends.
    #[inline(always)]
    pub fn poly<N: Name>(&mut self, word: u64, port: Port<N>) -> Result<(), Overflow> {
        let word = self.named(word, port.disposition);
        self.word(word)?;
        port.name.word().store(self.take(8)?);
        Ok(())
    }

    /// A C string in a field of `size` bytes, the rest zeros.
    ///
    /// # Errors
    /// [`Overflow`] if `text` with its NUL is longer, or holds a NUL.
    #[inline(always)]
    pub fn string(&mut self, word: u64, size: usize, text: &[u8]) -> Result<(), Overflow> {
        if text.len() >= size {
            return Err(Overflow);
        }
        self.field(word, size, text.len(), |front| copy_without_nul(text, front))
    }

    /// A field of `size` bytes that begins with `length` bytes of text, which `copy` writes if there is no NUL among them, and a NUL
    /// behind them.
    #[inline(always)]
    fn field(
        &mut self,
        word: u64,
        size: usize,
        length: usize,
        copy: impl FnOnce(&mut [u8]) -> bool,
    ) -> Result<(), Overflow> {
        self.word(word)?;
        let clean = self.clean;
        let (front, rest) = self.take(size)?.split_at_mut_checked(length).ok_or(Overflow)?;
        if !copy(front) {
            return Err(Overflow);
        }
        if !clean {
            rest.fill(0);
        } else if let Some(end) = rest.first_mut() {
            *end = 0;
        }
        Ok(())
    }

    /// A C string held by value.
    ///
    /// # Errors
    /// [`Overflow`] if the buffer ends.
    #[inline(always)]
    pub fn string_value<const N: usize>(&mut self, word: u64, text: &FixedStr<N>) -> Result<(), Overflow> {
        let text = text.as_bytes();
        self.field(word, N, text.len(), |front| {
            front.copy_from_slice(text);
            true
        })
    }

    /// A C string of variable length, at most `max` bytes with its NUL.
    ///
    /// # Errors
    /// [`Overflow`] if it is longer, or holds a NUL.
    pub fn variable_string(&mut self, word: u64, max: usize, text: &[u8]) -> Result<(), Overflow> {
        let size = text.len().saturating_add(1);
        if size > max {
            return Err(Overflow);
        }
        self.string(word | ((size as u64) << 32), size, text)
    }

    /// A C string of variable length, held by value.
    ///
    /// # Errors
    /// [`Overflow`] if the buffer ends.
    pub fn variable_string_value<const N: usize>(
        &mut self,
        word: u64,
        text: &FixedStr<N>,
    ) -> Result<(), Overflow> {
        self.variable_string(word, N, text.as_bytes())
    }

    /// A variable array in the message, at most `max` elements. `word` has number 0 and its name.
    ///
    /// # Errors
    /// [`Overflow`] if there are more.
    pub fn array<T: Value>(&mut self, word: u64, max: usize, values: &[T]) -> Result<(), Overflow> {
        if values.len() > max {
            return Err(Overflow);
        }
        let word = self.named(word, (word & 0xff) as u32);
        let (unit, stride) = unit_and_stride::<T>(TypeWord(word));
        let number = u32::try_from(values.len().checked_mul(unit).ok_or(Overflow)?).map_err(|_| Overflow)?;
        self.word(word | (u64::from(number) << 32))?;
        let place = self.take(values.len().checked_mul(stride).ok_or(Overflow)?)?;
        if stride != T::SIZE {
            place.fill(0);
        }
        for (value, slot) in values.iter().zip(place.chunks_exact_mut(stride)) {
            value.store(slot);
        }
        Ok(())
    }

    /// A variable array of rights with the caller's disposition.
    ///
    /// # Errors
    /// [`Overflow`] if there are more than `max`.
    pub fn ports<N: Name>(&mut self, word: u64, max: usize, ports: Ports<'_, N>) -> Result<(), Overflow> {
        self.array((word & !0xff) | u64::from(ports.disposition & 0xff), max, ports.names)
    }

    /// An array that goes in the message if it has at most `max` elements, out of line otherwise: then the receiver's
    /// pages are copies of the memory that `values` borrows.
    ///
    /// # Errors
    /// [`Overflow`] if the buffer ends.
    pub fn data<T: Flat>(&mut self, word: u64, max: usize, values: &[T]) -> Result<(), Overflow> {
        if values.len() <= max {
            return self.array((word | TypeWord::INLINE) & !TypeWord::DEALLOCATE, max, values);
        }
        self.slice_out_of_line(word & !TypeWord::DEALLOCATE, values)
    }

    /// As [`Encoder::data`], for rights with the caller's disposition.
    ///
    /// # Errors
    /// [`Overflow`] if the buffer ends.
    pub fn data_ports<N: Name>(
        &mut self,
        word: u64,
        max: usize,
        ports: Ports<'_, N>,
    ) -> Result<(), Overflow> {
        self.data((word & !0xff) | u64::from(ports.disposition & 0xff), max, ports.names)
    }

    /// A slice that always goes out of line, copied.
    ///
    /// # Errors
    /// [`Overflow`] if the buffer ends.
    pub fn slice_out_of_line<T: Flat>(&mut self, word: u64, values: &[T]) -> Result<(), Overflow> {
        let count = u32::try_from(values.len()).map_err(|_| Overflow)?;
        let address = if count == 0 { 0 } else { values.as_ptr() as usize as u64 };
        self.ool::<T>(word & !TypeWord::DEALLOCATE, Ool::copy(address, count))
    }

    /// As [`Encoder::slice_out_of_line`], for rights with the caller's disposition.
    ///
    /// # Errors
    /// [`Overflow`] if the buffer ends.
    pub fn ports_out_of_line<N: Name>(&mut self, word: u64, ports: Ports<'_, N>) -> Result<(), Overflow> {
        self.slice_out_of_line((word & !0xff) | u64::from(ports.disposition & 0xff), ports.names)
    }

    /// Memory out of line. The pages move if the interface (in `word`) or `item` says so. Where the interface leaves the
    /// disposition open (0xff), `item` has it.
    ///
    /// # Errors
    /// [`Overflow`] if the buffer ends or the number of units does not fit in 32 bits.
    pub fn ool<T: Value>(&mut self, word: u64, item: Ool) -> Result<(), Overflow> {
        let name =
            if word as u32 & 0xff == msgt::POLYMORPHIC { item.disposition } else { (word & 0xff) as u32 };
        let mut word = self.named(word, name) & !TypeWord::INLINE & 0xffff_ffff;
        if msgt::is_port(name) {
            word = ool_size::<T>(word);
        }
        if item.dealloc || self.as_received {
            word |= TypeWord::DEALLOCATE;
        }
        self.complex = true;
        let (unit, _) = unit_and_stride::<T>(TypeWord(word));
        let number = item.count.checked_mul(u32::try_from(unit).map_err(|_| Overflow)?).ok_or(Overflow)?;
        self.word(word | (u64::from(number) << 32))?;
        item.address.store(self.take(8)?);
        Ok(())
    }

    /// An array that is in the message or out of line, as `item` says.
    ///
    /// # Errors
    /// [`Overflow`] if the buffer ends.
    pub fn out_data<T: Value, const N: usize>(
        &mut self,
        word: u64,
        item: &OutData<T, N>,
    ) -> Result<(), Overflow> {
        match item {
            OutData::Inline(values) => {
                self.bounded((word | TypeWord::INLINE) & !TypeWord::DEALLOCATE, values)
            }
            OutData::Ool(ool) => self.ool::<T>(word, *ool),
        }
    }

    /// A variable array in the message, held by value.
    ///
    /// # Errors
    /// [`Overflow`] if the buffer ends.
    pub fn bounded<T: Value, const N: usize>(
        &mut self,
        word: u64,
        values: &Bounded<T, N>,
    ) -> Result<(), Overflow> {
        let word = if word as u32 & 0xff == msgt::POLYMORPHIC {
            let name =
                if msgt::is_port(values.disposition()) { values.disposition() } else { msgt::COPY_SEND };
            (word & !0xff) | u64::from(name)
        } else {
            word
        };
        self.array(word, N, values)
    }

    /// Writes the header, all but the complex bit and, unless the size is fixed, the size, which [`Encoder::end`] adds.
    #[inline(always)]
    pub(crate) fn open<N: Name>(
        &mut self,
        id: i32,
        size: usize,
        remote: Port<N>,
        local: Port<N>,
    ) -> Result<(), Overflow> {
        self.sized = size != 0;
        let header = Header {
            bits: drover_abi::message::bits(remote.disposition, local.disposition),
            size: size as u32,
            remote: remote.name.word(),
            local: local.name.word(),
            seqno: 0,
            id,
        };
        header.write_to_prefix(self.message).map_err(|_| Overflow)
    }

    /// Ends a reply that was begun with [`Request::reply`](crate::Request::reply); its size.
    ///
    /// # Errors
    /// [`Overflow`] if it is larger than a message can be.
    #[inline(always)]
    pub fn end(&mut self) -> Result<usize, Overflow> {
        if !self.sized {
            let size = u32::try_from(self.at).map_err(|_| Overflow)?;
            size.store(self.message.get_mut(4..8).ok_or(Overflow)?);
        }
        if self.complex {
            *self.message.get_mut(3).ok_or(Overflow)? |= 0x80;
        }
        Ok(self.at)
    }

    /// Turns a reply that was begun into an error reply; none for `MIG_NO_REPLY`.
    #[inline(always)]
    pub fn fail(self, code: i32) -> Outcome {
        match failed(self.message, code) {
            0 => Outcome::NoReply,
            size => Outcome::Reply(size),
        }
    }

    /// Ends the message: writes its header. `remote` and `local` carry the dispositions of the header's ports.
    ///
    /// # Errors
    /// [`Overflow`] if there is no room for a header.
    #[inline(always)]
    pub fn finish<N: Name>(self, id: i32, remote: Port<N>, local: Port<N>) -> Result<usize, Overflow> {
        let complex = if self.complex { BITS_COMPLEX } else { 0 };
        let header = Header {
            bits: drover_abi::message::bits(remote.disposition, local.disposition) | complex,
            size: u32::try_from(self.at).map_err(|_| Overflow)?,
            remote: remote.name.word(),
            local: local.name.word(),
            seqno: 0,
            id,
        };
        header.write_to_prefix(self.message).map_err(|_| Overflow)?;
        Ok(self.at)
    }
}

/// What [`Encoder::fail`] does, and the size of the error reply, 0 if there is none: the header and the return code's descriptor are there, and nothing has been marked complex.
#[cold]
#[inline(never)]
fn failed(message: &mut [u8], code: i32) -> usize {
    // An error is not a success, whatever it says.
    let code = if code == 0 { KERN_FAILURE } else { code };
    if code == MIG_NO_REPLY || message.len() < ERROR_REPLY_SIZE {
        return 0;
    }
    if let Some(place) = message.get_mut(4..8) {
        (ERROR_REPLY_SIZE as u32).store(place);
    }
    if let Some(place) = message.get_mut(ERROR_REPLY_SIZE - 8..ERROR_REPLY_SIZE - 4) {
        code.store(place);
    }
    ERROR_REPLY_SIZE
}
