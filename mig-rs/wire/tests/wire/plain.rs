//! Values as plain bytes, as C holds them, and what generated Rust makes of them and they of it.

use std::cell::RefCell;
use std::rc::Rc;

use drover_abi::message::msgt;
use mig_runtime::{
    Array, Bounded, CallOptions, Data, Donation, Loan, Memory, Name, Ool, OutData, Port, Ports, Retain,
    Transport, Value, option,
};
use zerocopy::{FromBytes, Immutable, IntoBytes};

use super::exchange::{self, Sent};
use super::ffi;
use super::objects::Object;

/// An argument: elements as they lie in C, aligned to 8.
#[derive(Clone, Debug, Default)]
pub(crate) struct Plain {
    words: Vec<u64>,
    size: usize,
    /// Elements.
    pub(crate) count: u32,
    /// `msgt_name`, where the sender chooses.
    pub(crate) disposition: u32,
    /// Where the sender chooses.
    pub(crate) dealloc: bool,
    /// Where the sender chooses.
    pub(crate) out_of_line: bool,
    /// Of a result: room for so many elements, as the client says.
    pub(crate) room: u32,
}

impl Plain {
    pub(crate) fn new(bytes: &[u8], count: u32) -> Self {
        // One word more, so that even nothing has an address.
        let mut words = vec![0u64; bytes.len() / 8 + 1];
        words.as_mut_bytes()[..bytes.len()].copy_from_slice(bytes);
        Self { words, size: bytes.len(), count, ..Self::default() }
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.words.as_bytes()[..self.size]
    }

    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.words.as_mut_bytes()[..self.size]
    }

    /// Where the elements are; null if there are none.
    pub(crate) fn address(&self) -> u64 {
        if self.count == 0 { 0 } else { self.words.as_ptr() as u64 }
    }
}

pub(crate) fn name<N: Name>(plain: &Plain) -> N {
    fixed(plain)
}

pub(crate) fn port<N: Name>(plain: &Plain) -> Port<N> {
    Port::new(fixed(plain), plain.disposition)
}

pub(crate) fn ool(plain: &Plain) -> Ool {
    let ool = Ool::copy(plain.address(), plain.count).with_disposition(plain.disposition);
    Ool { dealloc: plain.dealloc, ..ool }
}

pub(crate) fn ports<N: Name + FromBytes + Immutable>(plain: &Plain) -> Ports<'_, N> {
    Ports { names: flat(plain), disposition: plain.disposition }
}

pub(crate) fn text(plain: &Plain) -> &[u8] {
    plain.bytes().split(|&b| b == 0).next().unwrap_or(&[])
}

pub(crate) fn fixed<T: Value>(plain: &Plain) -> T {
    T::load(plain.bytes())
}

pub(crate) fn list<T: Value>(plain: &Plain) -> Vec<T> {
    plain.bytes().chunks_exact(T::SIZE).take(plain.count as usize).map(T::load).collect()
}

/// The elements where they are: memory out of line goes by its address.
pub(crate) fn flat<T: FromBytes + Immutable>(plain: &Plain) -> &[T] {
    match <[T]>::ref_from_bytes_with_elems(plain.bytes(), plain.count as usize) {
        Ok(list) => list,
        Err(error) => panic!("{error}"),
    }
}

pub(crate) fn bounded<T: Value, const N: usize>(plain: &Plain) -> Bounded<T, N> {
    Bounded::from_slice(&list(plain)).expect("it fits").with_disposition(plain.disposition)
}

pub(crate) fn chosen<T: Value, const N: usize>(plain: &Plain) -> OutData<T, N> {
    match plain.out_of_line {
        true => OutData::Ool(ool(plain)),
        false => OutData::Inline(bounded(plain)),
    }
}

/// What a server or a client was given as one argument.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Seen {
    /// Its index.
    pub(crate) argument: usize,
    /// The elements; `None`: the message says that they are where nothing is.
    pub(crate) bytes: Option<Vec<u8>>,
    /// Elements.
    pub(crate) count: u32,
    /// `msgt_name`, if it was told.
    pub(crate) disposition: Option<u32>,
}

impl Seen {
    pub(crate) fn fixed<T: Value>(argument: usize, value: &T) -> Self {
        let mut bytes = vec![0; T::SIZE];
        value.store(&mut bytes);
        Self { argument, bytes: Some(bytes), count: 1, disposition: None }
    }

    pub(crate) fn port<N: Name>(argument: usize, port: Port<N>) -> Self {
        Self { disposition: Some(port.disposition), ..Self::fixed(argument, &port.name) }
    }

    pub(crate) fn text(argument: usize, text: &[u8]) -> Self {
        Self { argument, bytes: Some(text.to_vec()), count: 1, disposition: None }
    }

    pub(crate) fn ool(argument: usize, ool: Ool, size: usize) -> Self {
        let bytes = match ool.count {
            0 => Some(Vec::new()),
            count => ffi::read(ool.address, count as usize * size),
        };
        Self { argument, bytes, count: ool.count, disposition: Some(ool.disposition) }
    }

    /// One element, or as many as the interface fixes; the message does not say how many.
    pub(crate) fn ool_fixed(argument: usize, ool: Ool, size: usize) -> Self {
        Self { argument, bytes: ffi::read(ool.address, size), count: 1, disposition: None }
    }

    pub(crate) fn list<T: Value>(argument: usize, list: &[T], disposition: u32) -> Self {
        let mut bytes = vec![0; T::SIZE * list.len()];
        for (value, slot) in list.iter().zip(bytes.chunks_exact_mut(T::SIZE)) {
            value.store(slot);
        }
        Self { argument, bytes: Some(bytes), count: list.len() as u32, disposition: Some(disposition) }
    }

    pub(crate) fn array<T: Value>(argument: usize, array: Array<'_, T>) -> Self {
        Self::list(argument, &array.iter().collect::<Vec<T>>(), array.disposition())
    }

    pub(crate) fn data<T: Value>(argument: usize, data: Data<'_, T>, size: usize) -> Self {
        match data {
            Data::Inline(array) => Self::array(argument, array),
            Data::Ool(ool) => Self::ool(argument, ool, size),
        }
    }

    pub(crate) fn chosen<T: Value, const N: usize>(
        argument: usize,
        data: &OutData<T, N>,
        size: usize,
    ) -> Self {
        match data {
            OutData::Inline(list) => Self::list(argument, list, list.disposition()),
            OutData::Ool(ool) => Self::ool(argument, *ool, size),
        }
    }

    /// What a translation has made.
    pub(crate) fn object(argument: usize, object: &Object) -> Self {
        let (bytes, disposition) = (Some(object.bytes.clone()), object.disposition);
        Self { argument, bytes, count: 1, disposition }
    }

    /// Memory that is looked at.
    pub(crate) fn loan<T: Value>(argument: usize, loan: Loan<'_, T>) -> Self {
        // More than this is in no test's memory.
        let count = loan.len();
        let mut list = vec![T::ZERO; count.min(1 << 16)];
        let bytes = match loan.read(&Registered, 0, &mut list) {
            Ok(read) if read == count => Self::list(argument, &list, 0).bytes,
            _ => None,
        };
        Self { argument, bytes, count: count as u32, disposition: None }
    }

    /// The room for a result.
    pub(crate) fn room(argument: usize, room: u32) -> Self {
        Self { argument, bytes: Some(Vec::new()), count: room, disposition: None }
    }

    /// The interface tells the disposition.
    pub(crate) fn told(self) -> Self {
        // C has no other way to say that it was not told.
        Self { disposition: self.disposition.filter(|&d| d != 0), ..self }
    }

    /// The interface does not tell the disposition, it is always the same.
    pub(crate) fn untold(self) -> Self {
        Self { disposition: None, ..self }
    }
}

/// Memory that the test has registered.
struct Registered;

impl Memory for Registered {
    fn read(&self, address: u64, out: &mut [u8]) -> Result<(), i32> {
        out.copy_from_slice(&ffi::read(address, out.len()).ok_or(1)?);
        Ok(())
    }
}

/// The server of every interface: keeps what it sees, answers what it was told to.
#[derive(Default)]
pub(crate) struct Recorder {
    pub(crate) seen: Vec<Seen>,
    pub(crate) answers: Rc<Vec<Plain>>,
    pub(crate) code: i32,
    /// A method was called.
    pub(crate) reached: bool,
    /// It is a kernel, which looks at its callers' own words.
    pub(crate) raw: bool,
    /// Frames that it may retain.
    pub(crate) retains: Option<u64>,
}

impl Recorder {
    pub(crate) fn saw(&mut self, seen: Seen) {
        let received = |name| if self.raw { exchange::received(name) } else { name };
        self.seen.push(Seen { disposition: seen.disposition.map(received), ..seen });
    }

    pub(crate) fn retain(&mut self, retain: Retain) {
        self.retains = Some(retain.frames());
    }

    pub(crate) fn code(&mut self) -> Result<(), i32> {
        self.reached = true;
        if self.code == 0 { Ok(()) } else { Err(self.code) }
    }

    pub(crate) fn answers(&self) -> Rc<Vec<Plain>> {
        Rc::clone(&self.answers)
    }
}

/// The way to the server of the moment, and what is offered for the call.
pub(crate) struct Wire {
    pub(crate) offer: Donation,
}

impl Wire {
    /// All that remains is offered.
    pub(crate) const ALL: Self = Self { offer: Donation::ALL };
}

impl Transport for Wire {
    fn call(&self, message: &mut [u8], size: usize, donation: &Donation) -> Result<usize, i32> {
        self.call_with(message, size, CallOptions::default(), donation)
    }
    fn send(&self, message: &mut [u8], size: usize, donation: &Donation) -> Result<(), i32> {
        self.send_with(message, size, CallOptions::default(), donation)
    }
    fn call_with(
        &self,
        message: &mut [u8],
        size: usize,
        how: CallOptions,
        _: &Donation,
    ) -> Result<usize, i32> {
        // The transport supplies the reply port where the interface does not; here all ports are null, as in wire.c.
        if message[1] == 0 && message[16..24] == [0; 8] {
            message[1] = msgt::MAKE_SEND_ONCE as u8;
        }
        let waits = if how.wait_ms.is_some() { option::RCV_TIMEOUT } else { 0 };
        let sent = Sent {
            option: option::SEND_MSG | option::RCV_MSG | waits | how.option,
            send_size: size as u32,
            receive_size: message.len() as u32,
            receive_name: u32::load(&message[16..20]),
            timeout: how.wait_ms.unwrap_or(0),
            ..Sent::default()
        };
        exchange::exchange(message, sent)
    }
    fn send_with(&self, message: &mut [u8], size: usize, how: CallOptions, _: &Donation) -> Result<(), i32> {
        let option = option::SEND_MSG | how.option;
        exchange::exchange(message, Sent { option, send_size: size as u32, ..Sent::default() }).map(drop)
    }
}

/// Calls a routine through its client function.
pub(crate) type Call = fn(&Wire, &[Plain]) -> Result<Vec<Seen>, i32>;

thread_local! {
    /// The C server's part of a [`Recorder`].
    pub(crate) static RECORDER: RefCell<Recorder> = RefCell::default();
}
