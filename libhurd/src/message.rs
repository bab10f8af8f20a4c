//! What a message carries besides plain data: rights and memory out of line, found by walking its descriptors. For releasing what a
//! request brought when no handler has taken it.

use drover_abi::message::{HEADER_SIZE, Header, TypeWord, msgt};
use mig_runtime::{PortName, Value};
use zerocopy::FromBytes;

/// Something in a message that its receiver has to release.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carried {
    /// A right, with `msgt_name`.
    Right(PortName, u32),
    /// Memory out of line: address and bytes.
    Memory(u64, u64),
    /// Rights out of line: address, count, `msgt_name`. Followed by their [`Carried::Memory`].
    Rights(u64, u32, u32),
}

/// Walks a received message; stops at the first thing that is not a whole item.
#[derive(Clone, Debug)]
pub struct Walk<'m> {
    body: &'m [u8],
    /// Rights left of the inline array being walked.
    inline: (usize, u32),
    /// Memory of the item just reported.
    memory: Option<Carried>,
}

/// What `message` carries. Nothing if it is not complex.
#[must_use]
pub fn carried(message: &[u8]) -> Walk<'_> {
    let body = match Header::read_from_prefix(message) {
        Ok((header, _)) if header.bits & drover_abi::message::BITS_COMPLEX != 0 => {
            message.get(HEADER_SIZE..(header.size as usize).min(message.len())).unwrap_or(&[])
        }
        _ => &[],
    };
    Walk { body, inline: (0, 0), memory: None }
}

impl<'m> Walk<'m> {
    /// `len` bytes and their padding.
    fn bytes(&mut self, len: usize) -> Option<&'m [u8]> {
        let bytes = self.body.get(..len)?;
        self.body = self.body.get(len.checked_add(7)? & !7..).unwrap_or(&[]);
        Some(bytes)
    }

    fn word(&mut self) -> Option<u64> {
        self.bytes(8).map(u64::load)
    }
}

impl Iterator for Walk<'_> {
    type Item = Carried;

    fn next(&mut self) -> Option<Carried> {
        if let Some(memory) = self.memory.take() {
            return Some(memory);
        }
        loop {
            let (left, kind) = self.inline;
            if left > 0 {
                self.inline.0 = left - 1;
                let name = PortName(u32::load(self.bytes(8)?));
                if name.is_valid() {
                    return Some(Carried::Right(name, kind));
                }
                continue;
            }
            let descriptor = TypeWord(self.word()?);
            let (name, number) = (descriptor.name(), descriptor.number());
            let is_port = msgt::is_port(name);
            let bytes = u64::from(descriptor.size_bits()) * u64::from(number) / 8;
            if descriptor.is_inline() {
                if is_port {
                    self.inline = (number as usize, name);
                } else {
                    self.bytes(usize::try_from(bytes).ok()?)?;
                }
                continue;
            }
            let address = self.word()?;
            if address == 0 || number == 0 {
                continue;
            }
            if is_port {
                // Out of line a right is a 32-bit name.
                self.memory = Some(Carried::Memory(address, u64::from(number) * 4));
                return Some(Carried::Rights(address, number, name));
            }
            return Some(Carried::Memory(address, bytes));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use drover_abi::message::BITS_COMPLEX;
    use std::vec::Vec;
    use zerocopy::IntoBytes;

    fn message(words: &[u64]) -> Vec<u8> {
        let header =
            Header { bits: BITS_COMPLEX, size: (HEADER_SIZE + words.len() * 8) as u32, ..Header::default() };
        let mut bytes = header.as_bytes().to_vec();
        words.iter().for_each(|word| bytes.extend(word.to_le_bytes()));
        bytes
    }

    #[test]
    fn finds_all_kinds() {
        let out_of_line =
            |name: u32, size: u32, n: u32| TypeWord::inline(name, size, n).0 & !TypeWord::INLINE;
        let bytes = message(&[
            TypeWord::inline(msgt::INTEGER_32, 32, 3).0,
            1,
            2,
            TypeWord::inline(msgt::PORT_SEND, 64, 3).0,
            7,
            0,
            9,
            out_of_line(msgt::CHAR, 8, 5000),
            0x1000,
            out_of_line(msgt::PORT_SEND, 32, 2),
            0x2000,
            out_of_line(msgt::CHAR, 8, 0),
            0,
        ]);
        let found: Vec<_> = carried(&bytes).collect();
        assert_eq!(
            found,
            [
                Carried::Right(PortName(7), msgt::PORT_SEND),
                Carried::Right(PortName(9), msgt::PORT_SEND),
                Carried::Memory(0x1000, 5000),
                Carried::Rights(0x2000, 2, msgt::PORT_SEND),
                Carried::Memory(0x2000, 8),
            ]
        );
    }

    #[test]
    fn truncated_messages_end() {
        let whole = message(&[TypeWord::inline(msgt::PORT_SEND, 64, u32::MAX).0, 7, 8]);
        for len in 0..whole.len() {
            assert!(carried(&whole[..len]).count() <= 2);
        }
        assert_eq!(carried(&whole).count(), 2);
        let mut simple = whole;
        simple[3] = 0;
        assert_eq!(carried(&simple).count(), 0);
    }
}
