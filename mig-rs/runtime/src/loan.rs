//! Memory that is lent for one call, and memory that is given away.

use crate::{Array, Data, Ool, Value};

/// Reads memory of the holder of a message. Implemented by the user-space library, and over slices in tests.
pub trait Memory {
    /// Copies from `address` on; fails if the memory is not there, or not there any more.
    ///
    /// # Errors
    /// `KERN_INVALID_ADDRESS` or `KERN_MEMORY_ERROR`.
    fn read(&self, address: u64, out: &mut [u8]) -> Result<(), i32>;
}

/// An argument that the client lends: it can be looked at until the reply, and every look may fail. Who lends goes on paying.
///
/// The lifetime is the request's, so a loan cannot be kept.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Loan<'m, T: Value>(Data<'m, T>);

impl<'m, T: Value> Loan<'m, T> {
    /// For generated code.
    #[must_use]
    pub const fn new(data: Data<'m, T>) -> Self {
        Self(data)
    }

    /// Memory out of line. For generated code.
    #[must_use]
    pub const fn of_memory(ool: Ool) -> Self {
        Self(Data::Ool(ool))
    }

    /// Elements.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.0.len()
    }

    /// No elements.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The elements, if they are in the message or there are none: those cannot go away.
    #[must_use]
    pub fn inline(&self) -> Option<Array<'m, T>> {
        self.0.inline()
    }

    /// Where the elements are, if they came out of line: for whoever frees the memory. They are read with [`Loan::read`], which may fail.
    #[must_use]
    pub const fn memory(&self) -> Option<Ool> {
        match &self.0 {
            Data::Inline(_) => None,
            Data::Ool(ool) => Some(*ool),
        }
    }

    /// Copies elements from `first` on; how many there were, at most `out.len()`.
    ///
    /// # Errors
    /// Those of `memory`. What `out` holds then is unspecified.
    pub fn read(&self, memory: &(impl Memory + ?Sized), first: usize, out: &mut [T]) -> Result<usize, i32> {
        let count = self.len().saturating_sub(first).min(out.len());
        let ool = match &self.0 {
            Data::Inline(array) => {
                for (slot, value) in out.iter_mut().zip(array.iter().skip(first)) {
                    *slot = value;
                }
                return Ok(count);
            }
            Data::Ool(ool) => ool,
        };
        let stride = ool.element as usize;
        let mut chunk = [0u8; 256];
        if stride == 0 || stride > chunk.len() {
            return if count == 0 { Ok(0) } else { Err(drover_abi::returns::KERN_INVALID_ARGUMENT) };
        }
        let mut done = 0;
        while done < count {
            let now = (chunk.len() / stride).min(count - done);
            let bytes = chunk.get_mut(..now * stride).unwrap_or_default();
            let place = (first + done) as u64 * stride as u64;
            memory.read(ool.address.wrapping_add(place), bytes)?;
            for (slot, piece) in out.iter_mut().skip(done).zip(bytes.chunks_exact(stride)) {
                *slot = T::load(piece);
            }
            done += now;
        }
        Ok(count)
    }
}

impl Loan<'_, u8> {
    /// As [`Loan::read`], of bytes: in one piece.
    ///
    /// # Errors
    /// As for [`Loan::read`].
    pub fn read_bytes(
        &self,
        memory: &(impl Memory + ?Sized),
        first: usize,
        out: &mut [u8],
    ) -> Result<usize, i32> {
        let Data::Ool(ool) = &self.0 else { return self.read(memory, first, out) };
        let count = self.len().saturating_sub(first).min(out.len());
        let out = out.get_mut(..count).unwrap_or_default();
        if !out.is_empty() {
            memory.read(ool.address.wrapping_add(first as u64), out)?;
        }
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Memory at 0x1000 that ends.
    struct Bytes(Vec<u8>);

    impl Memory for Bytes {
        fn read(&self, address: u64, out: &mut [u8]) -> Result<(), i32> {
            let at = address.checked_sub(0x1000).ok_or(1)? as usize;
            out.copy_from_slice(self.0.get(at..).and_then(|b| b.get(..out.len())).ok_or(1)?);
            Ok(())
        }
    }

    #[test]
    fn loans_are_read_in_pieces_and_may_end() {
        let memory = Bytes((0..=255).cycle().take(2000).collect());
        let ool = Ool { address: 0x1000, count: 500, element: 4, disposition: 2, dealloc: true };
        let loan = Loan::<u32>::of_memory(ool);
        let mut out = [0u32; 600];
        assert_eq!(loan.read(&memory, 1, &mut out), Ok(499));
        assert_eq!((out[0], out[498], out[499]), (0x0706_0504, 0xcfce_cdcc, 0));
        assert_eq!(loan.read(&memory, 600, &mut out), Ok(0));
        assert_eq!(loan.read(&Bytes(vec![0; 100]), 0, &mut out), Err(1));
        assert_eq!(loan.memory(), Some(ool));
    }

    #[test]
    fn bytes_are_read_at_once() {
        let memory = Bytes((0..=255).cycle().take(2000).collect());
        let ool = Ool { address: 0x1000, count: 1000, element: 1, disposition: 2, dealloc: false };
        let loan = Loan::<u8>::of_memory(ool);
        let mut out = [0u8; 400];
        assert_eq!(loan.read_bytes(&memory, 700, &mut out), Ok(300));
        assert_eq!((out[0], out[299], out[300]), (188, 231, 0));
        assert_eq!(loan.read_bytes(&memory, 1001, &mut out), Ok(0));
        assert_eq!(loan.read_bytes(&Bytes(vec![0; 700]), 700, &mut out), Err(1));
    }
}
