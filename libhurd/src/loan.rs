//! Memory that a client lends for one call: read through the kernel, so that every look may fail.
//!
//! What is lent comes in the message, or out of line as pages that the kernel has copied when the call was made: a client that changes or unmaps its own memory
//! afterwards changes nothing. In a call the pages lie in the call's window and are charged to the call, under its ceilings; they are gone with the reply, whoever still
//! has their address, and with an exit (the client's end is one). At a queue they are the server's from the receive on, until it [gives them back](give_back).
//!
//! [`Caller`] never touches the memory itself: an address where nothing is (any more) is an error, not the end of the call. It asks the kernel, which is a
//! call: not from inside a critical section.

use hurd_stubs::mach;
use mig_runtime::{Loan, Memory, Value};

use crate::local::Local;
use crate::rpc::{ALL, Mach};
use crate::{ool, task};

/// Most bytes that the kernel copies at once.
const STEP: usize = 4 << 20;
/// Bytes of a [piece](pieces) of memory out of line.
const PIECE: usize = 4096;

/// The memory of the message being served.
#[derive(Clone, Copy, Debug, Default)]
pub struct Caller;

impl Memory for Caller {
    fn read(&self, address: u64, out: &mut [u8]) -> Result<(), i32> {
        let mut from = address;
        for piece in out.chunks_mut(STEP) {
            let size = piece.len() as u64;
            // The kernel writes to memory that is borrowed for it here.
            let to = piece.as_mut_ptr().expose_provenance() as u64;
            mach::vm_copy(&Mach, task::this(), from, size, to, ALL)?;
            from = from.wrapping_add(size);
        }
        Ok(())
    }
}

/// Calls `body` with the bytes of a loan, piece by piece: all at once if they came in the message. How many there were.
///
/// # Errors
/// Those of reading, and the first of `body`.
pub fn pieces(loan: &Loan<'_, u8>, mut body: impl FnMut(&[u8]) -> Result<(), i32>) -> Result<usize, i32> {
    if let Some(bytes) = loan.inline() {
        if !bytes.is_empty() {
            body(bytes.as_bytes())?;
        }
        return Ok(bytes.len());
    }
    let mut piece = [0u8; PIECE];
    let mut done = 0;
    loop {
        let n = loan.read_bytes(&Caller, done, &mut piece)?;
        if n == 0 {
            return Ok(done);
        }
        body(piece.get(..n).unwrap_or_default())?;
        done += n;
    }
}

/// The method has used what it was lent. Nothing to do in a call, whose end does it; at a queue the memory is freed. For a request that is answered with
/// success; otherwise the server releases everything.
pub fn give_back<T: Value>(loan: &Loan<'_, T>) {
    if let (Some(memory), false) = (loan.memory(), Local::current().in_call()) {
        ool::discard(memory.address, memory.bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mig_runtime::{Array, Data, Ool};

    #[test]
    fn nothing_lent_is_no_piece() {
        for loan in [Loan::new(Data::Inline(Array::EMPTY)), Loan::of_memory(Ool::EMPTY)] {
            assert_eq!(pieces(&loan, |_| panic!("there are no bytes")), Ok(0));
        }
    }

    #[test]
    fn a_look_that_fails_is_an_error() {
        // There is no kernel to copy anything.
        let ool = Ool { address: 0x1000, count: 10, element: 1, disposition: 8, dealloc: false };
        let loan = Loan::<u8>::of_memory(ool);
        let code = pieces(&loan, |_| panic!("there are no bytes")).unwrap_err();
        assert_ne!(code, 0);
    }
}
