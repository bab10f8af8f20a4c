//! A kernel in miniature: carries a message from client to server and its reply back, translating dispositions as the
//! kernel does, and keeps what it carried.

use std::cell::RefCell;

use drover_abi::message::{HEADER_SIZE, Header, TypeWord, local_disposition, msgt, remote_disposition};
use mig_runtime::{Donation, Outcome, Transport};
use zerocopy::{FromBytes, IntoBytes};

/// The disposition that a receiver sees.
pub(crate) fn received(name: u32) -> u32 {
    match name {
        msgt::COPY_SEND | msgt::MAKE_SEND => msgt::PORT_SEND,
        msgt::MAKE_SEND_ONCE => msgt::PORT_SEND_ONCE,
        other => other,
    }
}

/// Offsets of all descriptors in a message.
pub(crate) fn descriptors(message: &[u8]) -> Vec<usize> {
    let (mut at, mut list) = (HEADER_SIZE, Vec::new());
    while at + 8 <= message.len() {
        let word = TypeWord(u64::from_le_bytes(message[at..at + 8].try_into().unwrap()));
        list.push(at);
        let length =
            if word.is_inline() { word.size_bits() as usize * word.number() as usize / 8 } else { 8 };
        at += 8 + length.next_multiple_of(8);
    }
    assert_eq!(at, message.len(), "a message ends with its last item");
    list
}

/// What the kernel does to a body on its way.
pub(crate) fn translate(message: &mut [u8]) {
    for at in descriptors(message) {
        let word = u64::from_le_bytes(message[at..at + 8].try_into().unwrap());
        let name = TypeWord(word).name();
        let mut new = (word & !0xff) | u64::from(received(name));
        if !TypeWord(word).is_inline() {
            new |= TypeWord::DEALLOCATE;
        }
        if msgt::is_port(name) {
            assert_eq!(TypeWord(word).size_bits(), if TypeWord(word).is_inline() { 64 } else { 32 });
        }
        message[at..at + 8].copy_from_slice(&new.to_le_bytes());
    }
}

/// The transport of the tests: calls `serve(request, reply)`.
pub(crate) struct Loop<F> {
    pub(crate) serve: RefCell<F>,
    /// The request as its sender wrote it.
    pub(crate) sent: RefCell<Vec<u8>>,
    /// The request as the server got it.
    pub(crate) got: RefCell<Vec<u8>>,
    /// Read the request as the kernel does.
    pub(crate) raw: bool,
}

impl<F: FnMut(&[u8], &mut [u8]) -> Outcome> Loop<F> {
    pub(crate) fn new(serve: F) -> Self {
        Self { serve: RefCell::new(serve), sent: RefCell::default(), got: RefCell::default(), raw: false }
    }

    fn carry(&self, msg: &mut [u8], size: usize) -> (Vec<u8>, Outcome) {
        let (mut header, _) = Header::read_from_prefix(msg).unwrap();
        assert_eq!(header.size as usize, size);
        assert_eq!(size % 8, 0);
        if header.local == 0 {
            header.local = 0x77;
            header.bits |= msgt::MAKE_SEND_ONCE << 8;
        }
        header.write_to_prefix(msg).unwrap();
        *self.sent.borrow_mut() = msg[..size].to_vec();
        let mut request = msg[..size].to_vec();
        if !self.raw {
            translate(&mut request);
            let flags = header.bits & !0xffff;
            let swapped = Header {
                bits: flags
                    | received(local_disposition(header.bits))
                    | (received(remote_disposition(header.bits)) << 8),
                remote: header.local,
                local: header.remote,
                seqno: 5,
                ..header
            };
            swapped.write_to_prefix(&mut request).unwrap();
        }
        *self.got.borrow_mut() = request.clone();
        let mut reply = vec![0xaa; 64 * 1024];
        let outcome = (self.serve.borrow_mut())(&request, &mut reply);
        if let Outcome::Reply(size) = outcome {
            reply.truncate(size);
            let (header, _) = Header::read_from_prefix(&reply).unwrap();
            assert_eq!(header.size as usize, size);
            if !self.raw {
                assert_eq!((header.remote, remote_disposition(header.bits)), (0x77, msgt::PORT_SEND_ONCE));
                translate(&mut reply);
            } else {
                assert_eq!((header.local, local_disposition(header.bits)), (0x77, msgt::PORT_SEND_ONCE));
                let before = reply.clone();
                translate(&mut reply);
                assert_eq!(before, reply, "a raw reply is as received already");
            }
        }
        (reply, outcome)
    }
}

impl<F: FnMut(&[u8], &mut [u8]) -> Outcome> Transport for Loop<F> {
    fn call(&self, msg: &mut [u8], send_size: usize, _: &Donation) -> Result<usize, i32> {
        assert_eq!(msg.as_ptr() as usize % 8, 0);
        match self.carry(msg, send_size) {
            (reply, Outcome::Reply(size)) => {
                let Some(place) = msg.get_mut(..size) else { return Err(0x1000_4004) };
                place.copy_from_slice(&reply);
                Ok(size)
            }
            _ => Err(0x1000_4003),
        }
    }
    fn send(&self, msg: &mut [u8], size: usize, _: &Donation) -> Result<(), i32> {
        self.carry(msg, size);
        Ok(())
    }
}
