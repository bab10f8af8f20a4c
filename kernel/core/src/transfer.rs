//! Message bodies: checking them, and moving the rights and the out-of-line memory that they carry.
//!
//! The order is always: copy the bytes, *check* every item of the copy and mark the rights (nothing changes), *take* the out-of-line data, *place* or keep them,
//! then move the rights, which cannot fail. A refused message therefore changes nothing; only when a message with several deallocating items fails at a
//! later one (shortage of frames) is the memory of the earlier ones gone, as on Mach.
//!
//! Who pays: out-of-line data while a message is queued - the sender's payer; placed - the receiver's payer, in a call the call's. Names that a call puts into the
//! server's name space belong to the server task, as on Mach.
//!
//! Bounds: [`crate::message::MESSAGE_MAX`] bytes, [`crate::message::RIGHTS_MAX`] rights, [`OOL_MAX`] out-of-line items, [`OOL_BYTES_MAX`] bytes in them, so no step is restarted.

mod body;
mod direct;
mod queued;
mod reply;
mod request;

use drover_abi::message::{
    BITS_COMPLEX, HEADER_SIZE, Header, TypeWord, local_disposition, msgt, remote_disposition,
};
use drover_abi::port::MACH_PORT_NULL;
use drover_abi::returns::{
    KERN_NO_SPACE, KERN_RESOURCE_SHORTAGE, MACH_MSG_IPC_KERNEL, MACH_MSG_IPC_SPACE, MACH_MSG_VM_KERNEL,
    MACH_MSG_VM_SPACE, MACH_SEND_INVALID_DATA, MACH_SEND_INVALID_DEST, MACH_SEND_INVALID_HEADER,
    MACH_SEND_INVALID_MEMORY, MACH_SEND_INVALID_REPLY, MACH_SEND_MSG_TOO_SMALL, MACH_SEND_NO_BUFFER,
};
use zerocopy::{FromBytes, IntoBytes};

use crate::account::Payer;
use crate::activation::Activation;
use crate::kernel::{Kernel, Stop};
use crate::machine::Machine;
use crate::memory::Memory;
use crate::message::{Message, OOL_MAX};
use crate::object::Ref;
use crate::port::Port;
use crate::right::{DEAD, Right, SEND_ONCE, received_disposition};
use crate::task::Task;

/// Most bytes of out-of-line data in one message.
pub const OOL_BYTES_MAX: u64 = 16 << 20;
/// Bits of `msgh_bits` that mean nothing and are passed on.
pub(crate) const BITS_OTHER: u32 = 0x07ff_0000;
/// Bytes copied at a time between the kernel and a message.
const CHUNK: usize = 512;
/// Bytes of a header.
const HEADER: u32 = HEADER_SIZE as u32;

/// Where the bytes of a body are.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Body {
    /// In a message.
    Message(Ref<Message>),
    /// In a task's memory; the address is that of the header.
    User(Ref<Task>, u64),
}

/// Where a message to be sent comes from.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Source<'a> {
    /// The sender's memory; the address is that of the header.
    User(u64),
    /// The kernel's memory, header included.
    Bytes(&'a [u8]),
}

/// One item of a body.
#[derive(Clone, Copy, Debug)]
struct Item {
    /// The descriptor.
    word: TypeWord,
    /// Offset of the descriptor.
    at: u32,
    /// Offset of the data (or of the address).
    data: u32,
    /// Offset of the next item.
    next: u32,
    /// Bytes of data.
    bytes: u64,
}

impl Item {
    const fn is_port(&self) -> bool {
        msgt::is_port(self.word.name())
    }
    /// Carries data outside the message, some.
    const fn has_memory(&self) -> bool {
        !self.word.is_inline() && self.bytes > 0
    }
    /// The descriptor as received.
    const fn received(&self) -> TypeWord {
        let mut word = self.word.0 & !TypeWord::DEALLOCATE;
        if !self.word.is_inline() {
            word |= TypeWord::DEALLOCATE;
        }
        if self.is_port() {
            word = word & !0xff | received_disposition(self.word.name()) as u64;
        }
        TypeWord(word)
    }
}

/// What a body carries.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Totals {
    /// Rights.
    pub(crate) rights: u32,
    /// Out-of-line items that are not empty.
    pub(crate) memories: u32,
    /// Anything at all.
    pub(crate) complex: bool,
}

impl Totals {
    /// The complex bit of the received header.
    const fn bit(&self) -> u32 {
        if self.complex { BITS_COMPLEX } else { 0 }
    }
}

/// The out-of-line memory of a body in the kernel's hands: objects taken, then addresses.
struct Memories {
    count: u32,
    objects: [Ref<Memory>; OOL_MAX as usize],
    places: [u64; OOL_MAX as usize],
}

impl Memories {
    const NONE: Self =
        Self { count: 0, objects: [Ref::NONE; OOL_MAX as usize], places: [0; OOL_MAX as usize] };
}

/// What failed for one right or memory, for `MACH_RCV_BODY_ERROR`.
pub(crate) fn ipc_failure(stop: Stop) -> i32 {
    if stop == Stop::Error(KERN_NO_SPACE) { MACH_MSG_IPC_SPACE } else { MACH_MSG_IPC_KERNEL }
}

fn vm_failure(stop: Stop) -> i32 {
    if stop == Stop::Error(KERN_NO_SPACE) { MACH_MSG_VM_SPACE } else { MACH_MSG_VM_KERNEL }
}

/// The send error for out-of-line data that could not be taken.
fn take_failure(stop: Stop) -> Stop {
    match stop {
        Stop::Error(KERN_RESOURCE_SHORTAGE) => Stop::Error(MACH_SEND_NO_BUFFER),
        Stop::Error(_) => Stop::Error(MACH_SEND_INVALID_MEMORY),
        other => other,
    }
}

/// A failed copy: `code`, unless there is just no memory left for it.
fn copy_failure(stop: Stop, code: i32) -> Stop {
    match stop {
        Stop::Error(KERN_RESOURCE_SHORTAGE) | Stop::Again => stop,
        _ => Stop::Error(code),
    }
}

/// Checks the size of a message to be sent.
///
/// # Errors
/// `MACH_SEND_MSG_TOO_SMALL`: under 32 or no multiple of 8; `MACH_SEND_NO_BUFFER`: over `max`.
pub(crate) fn check_size(size: u32, max: u32) -> Result<(), Stop> {
    if size < HEADER || !size.is_multiple_of(8) {
        return Err(Stop::Error(MACH_SEND_MSG_TOO_SMALL));
    }
    if size > max { Err(Stop::Error(MACH_SEND_NO_BUFFER)) } else { Ok(()) }
}

impl<M: Machine> Kernel<M> {
    /// Reads the header of a message to be sent.
    ///
    /// # Errors
    /// `MACH_SEND_INVALID_DATA`.
    pub(crate) fn header_in(&mut self, task: Ref<Task>, address: u64) -> Result<Header, Stop> {
        let mut header = Header::default();
        self.copyin(task, address, header.as_mut_bytes())
            .map_err(|e| copy_failure(e, MACH_SEND_INVALID_DATA))?;
        Ok(header)
    }

    /// Checks the header's rights and marks them.
    ///
    /// # Errors
    /// `MACH_SEND_INVALID_HEADER`, `MACH_SEND_INVALID_DEST`, `MACH_SEND_INVALID_REPLY`; nothing is marked then.
    pub(crate) fn header_mark(&mut self, task: Ref<Task>, header: &Header) -> Result<(), Stop> {
        let (remote, local) = (remote_disposition(header.bits), local_disposition(header.bits));
        let (dest, reply) = (header.remote as u32, header.local as u32);
        let sendable = |d: u32| msgt::is_port(d) && d != msgt::MOVE_RECEIVE;
        if !sendable(remote) || !(sendable(local) || local == 0 && reply == MACH_PORT_NULL) {
            return Err(Stop::Error(MACH_SEND_INVALID_HEADER));
        }
        let alive = self.name_check(task, dest).is_some_and(|s| self.slot(s).kind & DEAD == 0);
        if !alive {
            return Err(Stop::Error(MACH_SEND_INVALID_DEST));
        }
        // A copy of a right must not come after its move.
        if reply_first(header) {
            self.right_mark(task, reply, local).map_err(|()| Stop::Error(MACH_SEND_INVALID_REPLY))?;
        }
        if self.right_mark(task, dest, remote).is_err() {
            self.right_unmark(task, reply);
            return Err(Stop::Error(MACH_SEND_INVALID_DEST));
        }
        if local != 0 && !reply_first(header) && self.right_mark(task, reply, local).is_err() {
            self.right_unmark(task, dest);
            return Err(Stop::Error(MACH_SEND_INVALID_REPLY));
        }
        Ok(())
    }

    /// Undoes [`Self::header_mark`].
    pub(crate) fn header_unmark(&mut self, task: Ref<Task>, header: &Header) {
        self.right_unmark(task, header.remote as u32);
        self.right_unmark(task, header.local as u32);
    }

    /// Takes the header's rights, checked by [`Self::header_mark`]: destination and reply.
    pub(crate) fn header_take(&mut self, task: Ref<Task>, header: &Header) -> (Right, Right) {
        let (remote, local) = (remote_disposition(header.bits), local_disposition(header.bits));
        let (dest, reply) = (header.remote as u32, header.local as u32);
        if reply_first(header) {
            let reply = self.right_take(task, reply, local);
            return (self.right_take(task, dest, remote), reply);
        }
        let dest = self.right_take(task, dest, remote);
        (dest, if local == 0 { Right::NULL } else { self.right_take(task, reply, local) })
    }

    /// Uses up a destination right: the message has arrived.
    pub(crate) fn dest_consume(&mut self, right: Right) {
        if right.kind == SEND_ONCE && right.port.is_some() {
            self.count_off(right.port, SEND_ONCE);
        } else {
            self.right_drop(right);
        }
    }

    /// What a receiver sees as the local port: disposition and field.
    pub(crate) fn local_field(&self, port: Ref<Port>, disposition: u32) -> (u32, u64) {
        let p = self.get(port);
        if p.has_payload != 0 {
            (msgt::PROTECTED_PAYLOAD, p.payload)
        } else {
            (disposition, u64::from(p.receive_name))
        }
    }

    /// The sequence number of the next message received from a port.
    pub(crate) fn next_seqno(&mut self, port: Ref<Port>) -> u32 {
        let p = self.get_mut(port);
        let seqno = p.seqno;
        p.seqno = seqno.wrapping_add(1);
        seqno
    }

    // ---- to and from queued messages ----

    /// Gives a right to a task; on failure the right is destroyed and the name is null.
    pub(crate) fn right_deliver(&mut self, to: Ref<Task>, right: Right, failed: &mut i32) -> u32 {
        match self.right_give(to, right) {
            Ok(name) => name,
            Err(stop) => {
                *failed |= ipc_failure(stop);
                self.right_drop(right);
                MACH_PORT_NULL
            }
        }
    }

    // ---- directly between two tasks ----

    /// Tells a receiver how large the message is that did not fit (if its buffer can be written to).
    pub(crate) fn write_size(&mut self, task: Ref<Task>, address: u64, size: u32) {
        let _ = self.write_u32(task, address.saturating_add(4), size);
    }

    /// The window that memory received by an activation goes to: its own, if the call pays for it.
    pub(crate) fn window_for(&self, act: Ref<Activation>) -> Option<Ref<Activation>> {
        let a = self.get(act);
        (a.window != 0 && u64::from(a.payer_mode) == drover_abi::trap::PAYER_CALL).then_some(act)
    }
}

/// Where out-of-line memory goes.
struct Target {
    /// The call.
    act: Ref<Activation>,
    payer: Payer,
    window: Option<Ref<Activation>>,
    /// A failure to place it is the sender's error (a request); else the item is null (a reply).
    strict: bool,
}

/// Bytes of a body to be walked: none of one that is not complex.
const fn size_if(complex: bool, size: u32) -> u32 {
    if complex { size } else { HEADER }
}

/// Whether the reply right must be handled before the destination: a copy before the move of the same right.
fn reply_first(header: &Header) -> bool {
    remote_disposition(header.bits) == msgt::MOVE_SEND
        && local_disposition(header.bits) == msgt::COPY_SEND
        && header.remote as u32 == header.local as u32
}

/// The header at the start of a raw message.
pub(crate) fn header_of(bytes: &[u8]) -> Option<Header> {
    Header::read_from_prefix(bytes).ok().map(|(header, _)| header)
}
