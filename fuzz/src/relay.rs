//! A server of every interface that passes each call on through the generated client, into a wire that keeps what was sent and answers with given bytes.
//!
//! One call thus goes through all four halves: the server decodes a request, the client encodes it again, the client decodes a reply, the server encodes it again.

use std::cell::RefCell;

use mig_runtime::{
    Array, Bounded, CallOptions, Data, Donation, Loan, Mode, Ool, OutData, Outcome, PortName, RpcError,
    Transport, Value,
};

/// What generated code needs.
mod prelude {
    pub(super) use super::{ALL, TARGET};
    pub(super) use mig_runtime::*;
}

/// What calls are offered; the wire does not look at it.
const ALL: &Donation = &Donation::ALL;
/// The destination of what is passed on.
const TARGET: PortName = PortName(0x51);
/// What a method answers when it could not pass its call on: data that are elsewhere, and no slice can stand for.
pub const SKIPPED: i32 = 0x7654_3210;
/// Most bytes that a slice stands for.
const MAX_HELD: usize = 1 << 18;

/// Serves one message of an interface.
pub type Dispatch = fn(&mut Relay, Mode, &[u8], &mut [u8]) -> Outcome;

/// The wire behind the client functions.
#[derive(Debug, Default)]
pub struct Wire {
    /// What the client sent.
    pub sent: RefCell<Vec<u8>>,
    /// What it gets.
    pub reply: Vec<u8>,
}

impl Transport for Wire {
    fn call(&self, msg: &mut [u8], send_size: usize, _: &Donation) -> Result<usize, i32> {
        *self.sent.borrow_mut() = msg[..send_size].to_vec();
        let size = self.reply.len().min(msg.len());
        msg[..size].copy_from_slice(&self.reply[..size]);
        Ok(size)
    }

    fn send(&self, msg: &mut [u8], size: usize, _: &Donation) -> Result<(), i32> {
        *self.sent.borrow_mut() = msg[..size].to_vec();
        Ok(())
    }

    // Nobody waits here, and options are not part of a message.
    fn call_with(&self, m: &mut [u8], size: usize, _: CallOptions, offer: &Donation) -> Result<usize, i32> {
        self.call(m, size, offer)
    }

    fn send_with(&self, m: &mut [u8], size: usize, _: CallOptions, offer: &Donation) -> Result<(), i32> {
        self.send(m, size, offer)
    }
}

/// The server of everything.
#[derive(Debug, Default)]
pub struct Relay {
    /// The wire.
    pub wire: Wire,
    /// A method was called.
    pub called: bool,
    /// How the call that was passed on ended, if it was.
    pub ended: Option<Result<(), RpcError>>,
}

impl Relay {
    /// A relay whose calls are answered with `reply`.
    #[must_use]
    pub fn answering(reply: Vec<u8>) -> Self {
        Self { wire: Wire { reply, ..Wire::default() }, ..Self::default() }
    }

    /// A copy of what the server was given, for the client to borrow.
    fn hold<H: Hold>(&self, given: H) -> Result<H::Held, i32> {
        given.hold().ok_or(SKIPPED)
    }

    /// Memory out of line as a slice.
    fn elsewhere<T: Value>(&self, ool: Ool) -> Result<Vec<T>, i32> {
        elsewhere(ool).ok_or(SKIPPED)
    }

    /// The same data in the form in which a client gives memory away.
    fn hold_or_pass<T: Value, const N: usize>(&self, given: Data<'_, T>) -> Result<OutData<T, N>, i32> {
        match given {
            Data::Inline(array) => {
                let values = Bounded::from_slice(&array.iter().collect::<Vec<T>>()).ok_or(SKIPPED)?;
                Ok(OutData::Inline(values.with_disposition(array.disposition())))
            }
            Data::Ool(ool) => Ok(OutData::Ool(ool)),
        }
    }

    fn result<T>(&mut self, result: Result<T, RpcError>) -> Result<T, i32> {
        self.ended = Some(result.as_ref().map(|_| ()).map_err(|error| *error));
        result.map_err(i32::from)
    }
}

/// What a server method gets, as something of which a client function takes a slice or a reference.
trait Hold {
    type Held;
    fn hold(self) -> Option<Self::Held>;
}

impl<T: Value> Hold for Array<'_, T> {
    type Held = Vec<T>;
    fn hold(self) -> Option<Vec<T>> {
        Some(self.iter().collect())
    }
}

impl<T: Value> Hold for Data<'_, T> {
    type Held = Vec<T>;
    fn hold(self) -> Option<Vec<T>> {
        match self {
            Self::Inline(array) => array.hold(),
            Self::Ool(ool) => elsewhere(ool),
        }
    }
}

impl<T: Value> Hold for Loan<'_, T> {
    type Held = Vec<T>;
    fn hold(self) -> Option<Vec<T>> {
        match self.memory() {
            Some(ool) => elsewhere(ool),
            None => self.inline()?.hold(),
        }
    }
}

/// Data that are out of line: so many zeros.
fn elsewhere<T: Value>(ool: Ool) -> Option<Vec<T>> {
    (ool.bytes() <= MAX_HELD as u64).then(|| vec![T::ZERO; ool.count as usize])
}

impl<T: Value, const N: usize> Hold for [T; N] {
    type Held = Self;
    fn hold(self) -> Option<Self> {
        Some(self)
    }
}

include!(concat!(env!("OUT_DIR"), "/relay.rs"));
