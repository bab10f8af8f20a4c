//! What lies between client and server: the message is kept, changed as a kernel changes it, and served.

use std::cell::{Cell, RefCell};

use drover_abi::message::{BITS_COMPLEX, msgt};
use drover_abi::returns::MIG_NO_REPLY;
use mig_runtime::Outcome;
use zerocopy::IntoBytes;

use super::Interface;
use super::ffi::Stubs;
use super::plain::{RECORDER, Recorder};

/// Words behind a message, so that C that reads on finds zeros.
const SLACK: usize = 512;
/// Words of a reply buffer; more than any interface needs.
const REPLY: usize = 8192;

/// `MACH_RCV_TIMED_OUT`: what a client sees of a call that is not answered.
pub(crate) const NO_ANSWER: i32 = 0x1000_4003;
/// `MACH_RCV_TOO_LARGE`.
pub(crate) const TOO_LARGE: i32 = 0x1000_4004;

/// `msgh_seqno` of every request that is received.
const SEQNO: u32 = 0x5eed_0001;

/// Whose stubs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Whose {
    Gnu,
    Ours,
}

/// The server of the moment.
#[derive(Clone, Copy)]
pub(crate) struct Server {
    pub(crate) whose: Whose,
    pub(crate) interface: &'static Interface,
    pub(crate) stubs: Stubs,
    /// The routine has no reply.
    pub(crate) one_way: bool,
    /// It is a kernel: it reads what its caller wrote, ports of the header in their places.
    pub(crate) kernel: bool,
    /// Its clients are a kernel's: what are addresses of ports to them, are names to it.
    pub(crate) narrow: bool,
}

/// The other end of a client's wire.
#[derive(Clone)]
enum Far {
    Server(Server),
    /// Nobody: the client gets this, whatever it asks.
    Reply(Vec<u8>),
}

/// The parameters of `mach_msg` behind the message: `struct wire_sent`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sent {
    /// `enum wire_way`; Rust has one only.
    pub(crate) way: u32,
    pub(crate) option: u32,
    pub(crate) send_size: u32,
    pub(crate) receive_size: u32,
    pub(crate) receive_name: u32,
    pub(crate) timeout: u32,
    pub(crate) notify: u32,
}

/// `WIRE_INTERRUPTIBLE`.
pub(crate) const INTERRUPTIBLE: u32 = 1;
/// `WIRE_FROM_KERNEL`.
pub(crate) const FROM_KERNEL: u32 = 2;

/// What went over the wire.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Trace {
    pub(crate) sent: Sent,
    pub(crate) request: Vec<u8>,
    pub(crate) reply: Option<Vec<u8>>,
}

/// How a server took a request.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Verdict {
    /// The id belongs to nobody here.
    NotMine,
    /// The handler was called, and this is the reply, if there is one.
    Served(Option<Vec<u8>>),
    /// Refused before the handler, with this reply.
    Refused(Vec<u8>),
}

thread_local! {
    static FAR: RefCell<Option<Far>> = const { RefCell::new(None) };
    static TRACE: RefCell<Trace> = RefCell::default();
    /// What the receiver has put behind the port that requests come to.
    static PAYLOAD: Cell<Option<u64>> = const { Cell::new(None) };
}

/// Connects the clients that follow to a server; its port may have a payload.
pub(crate) fn connect(server: Server, payload: Option<u64>) {
    FAR.set(Some(Far::Server(server)));
    PAYLOAD.set(payload);
    TRACE.take();
}

/// The clients that follow receive this.
pub(crate) fn answer(reply: &[u8]) {
    FAR.set(Some(Far::Reply(reply.to_vec())));
}

pub(crate) fn trace() -> Trace {
    TRACE.take()
}

/// Carries the request in `message[..sent.send_size]` to the server, and its reply back.
pub(crate) fn exchange(message: &mut [u8], sent: Sent) -> Result<usize, i32> {
    let request = message[..sent.send_size as usize].to_vec();
    let received = match FAR.with_borrow(Clone::clone).expect("connected") {
        Far::Reply(reply) => {
            TRACE.set(Trace { sent, request, reply: None });
            reply
        }
        Far::Server(server) => {
            let reply = match serve(&server, &delivered(&server, &request)) {
                Verdict::Served(reply) => reply,
                Verdict::Refused(reply) => Some(reply),
                Verdict::NotMine => None,
            };
            TRACE.set(Trace { sent, request, reply: reply.clone() });
            if server.one_way {
                return Ok(0);
            }
            let reply = reply.ok_or(NO_ANSWER)?;
            // A kernel answers with what its caller is to see.
            if server.kernel { reply } else { receive(&reply) }
        }
    };
    let room = message.get_mut(..sent.receive_size as usize).ok_or(TOO_LARGE)?;
    room.get_mut(..received.len()).ok_or(TOO_LARGE)?.copy_from_slice(&received);
    Ok(received.len())
}

/// A request as its server gets it.
pub(crate) fn delivered(server: &Server, request: &[u8]) -> Vec<u8> {
    if server.kernel {
        return request.to_vec();
    }
    let mut message = receive(request);
    if server.narrow {
        message[12..16].fill(0);
        message[20..24].fill(0);
    }
    message[24..28].copy_from_slice(&SEQNO.to_le_bytes());
    if let Some(payload) = PAYLOAD.get() {
        message[1] = msgt::PROTECTED_PAYLOAD as u8;
        message[16..24].copy_from_slice(&payload.to_le_bytes());
    }
    message
}

/// Hands a request to a server, as it was [`delivered`].
pub(crate) fn serve(server: &Server, request: &[u8]) -> Verdict {
    let mut reply = vec![0u64; REPLY];
    match server.whose {
        Whose::Gnu => {
            let copied;
            let request = match server.kernel {
                true => {
                    copied = copied_in(request);
                    &copied
                }
                false => request,
            };
            let mut words = vec![0u64; request.len().div_ceil(8) + SLACK];
            words.as_mut_bytes()[..request.len()].copy_from_slice(request);
            let known = server.stubs.serve(&mut words, &mut reply);
            let bytes = reply.as_bytes();
            let size = u32::from_le_bytes(bytes[4..8].try_into().expect("4 bytes")) as usize;
            let code = i32::from_le_bytes(bytes[40..44].try_into().expect("4 bytes"));
            let bytes = bytes[..size.min(bytes.len())].to_vec();
            let bytes = if server.kernel { receive(&bytes) } else { bytes };
            match (known, RECORDER.with_borrow(|r| r.reached)) {
                (false, _) => Verdict::NotMine,
                (true, false) => Verdict::Refused(bytes),
                // Nobody waits for what a one-way routine says.
                (true, true) if server.one_way || code == MIG_NO_REPLY => Verdict::Served(None),
                (true, true) => Verdict::Served(Some(bytes)),
            }
        }
        Whose::Ours => {
            let outcome = RECORDER.with_borrow_mut(|recorder: &mut Recorder| {
                recorder.raw = server.kernel;
                (server.interface.dispatch)(recorder, request, reply.as_mut_bytes())
            });
            let reached = RECORDER.with_borrow(|r| r.reached);
            match outcome {
                Outcome::NotMine => Verdict::NotMine,
                Outcome::NoReply => Verdict::Served(None),
                Outcome::Reply(size) if reached => Verdict::Served(Some(reply.as_bytes()[..size].to_vec())),
                Outcome::Reply(size) => Verdict::Refused(reply.as_bytes()[..size].to_vec()),
            }
        }
    }
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("4 bytes"))
}

/// Where the descriptors are, and the bytes of data behind each.
pub(crate) fn items(message: &[u8]) -> Vec<(usize, usize)> {
    let mut list = Vec::new();
    let mut at = 32;
    while at + 8 <= message.len() {
        let word = u64::from_le_bytes(message[at..at + 8].try_into().expect("8 bytes"));
        let (bits, number) = (word >> 8 & 0xffff, word >> 32);
        let length = if word >> 29 & 1 == 1 { (bits * number / 8) as usize } else { 8 };
        list.push((at, length));
        at += 8 + length.next_multiple_of(8);
    }
    list
}

/// What the receiver sees of a right.
pub(crate) fn received(name: u32) -> u32 {
    match name {
        msgt::COPY_SEND | msgt::MAKE_SEND => msgt::PORT_SEND,
        msgt::MAKE_SEND_ONCE => msgt::PORT_SEND_ONCE,
        other => other,
    }
}

/// The message as its receiver gets it: ports of the header changed over, rights as received, memory the receiver's own.
pub(crate) fn receive(message: &[u8]) -> Vec<u8> {
    let mut bytes = message.to_vec();
    let bits = u32_at(message, 0);
    let (remote, local) = (bits & 0xff, bits >> 8 & 0xff);
    let bits = bits & BITS_COMPLEX | received(local) | received(remote) << 8;
    bytes[..4].copy_from_slice(&bits.to_le_bytes());
    bytes[8..16].copy_from_slice(&message[16..24]);
    bytes[16..24].copy_from_slice(&message[8..16]);
    for (at, _) in items(message) {
        let word = u32_at(message, at);
        let mut changed = word & !0xff | received(word & 0xff);
        if word >> 29 & 1 == 0 {
            changed |= 1 << 31;
        }
        bytes[at..at + 4].copy_from_slice(&changed.to_le_bytes());
    }
    bytes
}

/// The message as a kernel's server gets it in C: rights are what their receiver has, ports are where they were.
fn copied_in(message: &[u8]) -> Vec<u8> {
    let mut bytes = message.to_vec();
    for disposition in &mut bytes[..2] {
        *disposition = received(u32::from(*disposition)) as u8;
    }
    for (at, _) in items(message) {
        bytes[at] = received(u32::from(bytes[at])) as u8;
    }
    bytes
}
