//! Message bodies: checking them, and moving the rights and the out-of-line memory that they carry.
//!
//! The order is always: copy the bytes, *check* every item of the copy and mark the rights (nothing changes), *take* the out-of-line data, *place* or keep them,
//! then move the rights, which cannot fail. A refused message therefore changes nothing; only when a message with several deallocating items fails at a
//! later one (shortage of frames) is the memory of the earlier ones gone, as on Mach.
//!
//! Who pays: out-of-line data while a message is queued - the sender's payer; placed - the receiver's payer, in a call the call's. Names that a call puts into the
//! server's name space belong to the server task, as on Mach.
//!
//! Bounds: [`MESSAGE_MAX`] bytes, [`RIGHTS_MAX`] rights, [`OOL_MAX`] out-of-line items, [`OOL_BYTES_MAX`] bytes in them, so no step is restarted.

use drover_abi::message::{
    BITS_COMPLEX, HEADER_SIZE, Header, TypeWord, bits, local_disposition, msgt, option, remote_disposition,
};
use drover_abi::port::{MACH_PORT_DEAD, MACH_PORT_NULL};
use drover_abi::returns::{
    KERN_NO_SPACE, KERN_RESOURCE_SHORTAGE, MACH_MSG_IPC_KERNEL, MACH_MSG_IPC_SPACE, MACH_MSG_VM_KERNEL,
    MACH_MSG_VM_SPACE, MACH_RCV_BODY_ERROR, MACH_RCV_INVALID_DATA, MACH_RCV_PORT_DIED, MACH_RCV_TOO_LARGE,
    MACH_SEND_INVALID_DATA, MACH_SEND_INVALID_DEST, MACH_SEND_INVALID_HEADER, MACH_SEND_INVALID_MEMORY,
    MACH_SEND_INVALID_REPLY, MACH_SEND_INVALID_RIGHT, MACH_SEND_INVALID_TYPE, MACH_SEND_MSG_TOO_SMALL,
    MACH_SEND_NO_BUFFER,
};
use drover_abi::window::{REQUEST, REQUEST_MAX};
use zerocopy::{FromBytes, IntoBytes};

use crate::account::Payer;
use crate::activation::Activation;
use crate::kernel::{Kernel, Stop};
use crate::machine::Machine;
use crate::memory::Memory;
use crate::message::{MESSAGE_MAX, MachMsg, Message, OOL_MAX, RIGHTS_MAX};
use crate::object::Ref;
use crate::port::{MESSAGE, Port};
use crate::right::{DEAD, PLACE_MESSAGE, RECEIVE, Right, SEND_ONCE, received_disposition};
use crate::task::Task;
use crate::user::COPY_MAX;

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
    objects: [Ref<Memory>; OOL_MAX as usize],
    places: [u64; OOL_MAX as usize],
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

    fn body_word(&mut self, body: Body, offset: u32) -> Result<u64, Stop> {
        match body {
            Body::Message(message) => {
                let mut bytes = [0; 8];
                self.message_read(message, offset, &mut bytes);
                Ok(u64::from_le_bytes(bytes))
            }
            Body::User(task, address) => self
                .read_u64(task, address + u64::from(offset))
                .map_err(|e| copy_failure(e, MACH_SEND_INVALID_DATA)),
        }
    }

    /// Writes a word of a body that has been written to before (so it cannot fail).
    fn set_body_word(&mut self, body: Body, offset: u32, word: u64) {
        match body {
            Body::Message(message) => self.message_write(message, offset, &word.to_le_bytes()),
            Body::User(task, address) => {
                let written = self.write_u64(task, address + u64::from(offset), word);
                debug_assert!(written.is_ok());
            }
        }
    }

    /// The item at an offset (< `size`), checked.
    fn item(&mut self, body: Body, at: u32, size: u32) -> Result<Item, Stop> {
        let word = TypeWord(self.body_word(body, at)?);
        let data = at + 8;
        let wrong = Err(Stop::Error(MACH_SEND_INVALID_TYPE));
        if word.unused() != 0 || word.is_inline() && word.is_dealloc() {
            return wrong;
        }
        if msgt::is_port(word.name()) && word.size_bits() != if word.is_inline() { 64 } else { 32 } {
            return wrong;
        }
        let bytes = (u64::from(word.number()) * u64::from(word.size_bits())).div_ceil(8);
        let room = u64::from(size - data);
        let inside = if word.is_inline() { bytes } else { 8 };
        if inside > room {
            return Err(Stop::Error(MACH_SEND_MSG_TOO_SMALL));
        }
        let next = data + (inside as u32).next_multiple_of(8);
        Ok(Item { word, at, data, next, bytes })
    }

    /// Name number `i` of a port item of `from`'s.
    fn item_name(&mut self, from: Ref<Task>, body: Body, item: &Item, i: u32) -> Result<u32, Stop> {
        if item.word.is_inline() {
            return Ok(self.body_word(body, item.data + 8 * i)? as u32);
        }
        let array = self.body_word(body, item.data)?;
        let address = array.checked_add(4 * u64::from(i)).ok_or(Stop::Error(MACH_SEND_INVALID_MEMORY))?;
        self.read_u32(from, address).map_err(|e| copy_failure(e, MACH_SEND_INVALID_MEMORY))
    }

    /// Checks the body of a message that `from` sends and marks its rights.
    ///
    /// # Errors
    /// `MACH_SEND_INVALID_TYPE`, `MACH_SEND_MSG_TOO_SMALL`, `MACH_SEND_INVALID_RIGHT`, `MACH_SEND_INVALID_MEMORY`, `MACH_SEND_NO_BUFFER`; nothing is marked then.
    pub(crate) fn body_check(&mut self, from: Ref<Task>, body: Body, size: u32) -> Result<Totals, Stop> {
        let mut totals = Totals::default();
        let mut bytes = 0;
        let mut at = HEADER;
        while at < size {
            let checked = self.item(body, at, size).and_then(|item| {
                self.item_check(from, body, &item, &mut totals, &mut bytes)?;
                Ok(item.next)
            });
            at = match checked {
                Ok(next) => next,
                Err(stop) => {
                    self.body_unmark(from, body, at, size);
                    return Err(stop);
                }
            };
        }
        Ok(totals)
    }

    fn item_check(
        &mut self,
        from: Ref<Task>,
        body: Body,
        item: &Item,
        totals: &mut Totals,
        bytes: &mut u64,
    ) -> Result<(), Stop> {
        let full = Err(Stop::Error(MACH_SEND_NO_BUFFER));
        totals.complex |= item.is_port() || !item.word.is_inline();
        if item.has_memory() {
            totals.memories += 1;
            *bytes = bytes.saturating_add(item.bytes);
            if totals.memories > OOL_MAX || item.bytes > COPY_MAX || *bytes > OOL_BYTES_MAX {
                return full;
            }
        }
        if !item.is_port() {
            return Ok(());
        }
        let number = item.word.number();
        if number > RIGHTS_MAX - totals.rights {
            return full;
        }
        totals.rights += number;
        for i in 0..number {
            let name = self.item_name(from, body, item, i)?;
            self.right_mark(from, name, item.word.name())
                .map_err(|()| Stop::Error(MACH_SEND_INVALID_RIGHT))?;
        }
        Ok(())
    }

    /// Undoes the marks of [`Self::body_check`] on the items up to and including the one at `last`.
    fn body_unmark(&mut self, from: Ref<Task>, body: Body, last: u32, size: u32) {
        let mut at = HEADER;
        while at <= last && at < size {
            let Ok(item) = self.item(body, at, size) else { return };
            if item.is_port() {
                for i in 0..item.word.number().min(RIGHTS_MAX) {
                    let Ok(name) = self.item_name(from, body, &item, i) else { break };
                    self.right_unmark(from, name);
                }
            }
            at = item.next;
        }
    }

    /// Walks a checked body: the item at `at`, if there is one.
    fn checked_item(&mut self, body: Body, at: u32, size: u32) -> Option<Item> {
        if at >= size { None } else { self.item(body, at, size).ok() }
    }

    /// Takes the out-of-line data of a checked body (not the arrays of rights); those that stay with the sender first, so that a failure loses nothing.
    fn memories_take(
        &mut self,
        from: Ref<Task>,
        body: Body,
        size: u32,
        payer: Payer,
    ) -> Result<[Ref<Memory>; OOL_MAX as usize], Stop> {
        let mut objects = [Ref::NONE; OOL_MAX as usize];
        for dealloc in [false, true] {
            let (mut at, mut k) = (HEADER, 0);
            while let Some(item) = self.checked_item(body, at, size) {
                at = item.next;
                if !item.has_memory() {
                    continue;
                }
                k += 1;
                if item.is_port() || item.word.is_dealloc() != dealloc {
                    continue;
                }
                let taken = self
                    .body_word(body, item.data)
                    .and_then(|address| self.ool_take(from, address, item.bytes, payer, dealloc));
                match taken {
                    Ok(object) => objects[k - 1] = object,
                    Err(stop) => {
                        self.memories_free(&objects);
                        return Err(take_failure(stop));
                    }
                }
            }
        }
        Ok(objects)
    }

    fn memories_free(&mut self, objects: &[Ref<Memory>]) {
        for &object in objects.iter().filter(|o| o.is_some()) {
            self.ool_free(object);
        }
    }

    /// Memory for an array of `number` names, in the receiver.
    fn array_place(
        &mut self,
        number: u32,
        to: Ref<Task>,
        payer: Payer,
        window: Option<Ref<Activation>>,
    ) -> Result<u64, Stop> {
        let zeros = [0; RIGHTS_MAX as usize * 4];
        let object = self.ool_of_bytes(Payer::account(payer.account), &zeros[..number as usize * 4])?;
        self.ool_place(object, to, payer, window).inspect_err(|_| self.ool_free(object))
    }

    // ---- to and from queued messages ----

    /// Builds the message that `task` sends. With a `header` its rights (marked by the caller) go into the message, too; without one the message has none yet.
    ///
    /// # Errors
    /// Those of [`Self::body_check`], `MACH_SEND_INVALID_DATA`, `MACH_SEND_NO_BUFFER`. Nothing changed; the header's marks are still there.
    pub(crate) fn message_build(
        &mut self,
        task: Ref<Task>,
        header: Option<&Header>,
        complex: bool,
        source: Source<'_>,
        size: u32,
        payer: Payer,
    ) -> Result<Ref<Message>, Stop> {
        let message = self.message_new(size, payer).map_err(|_| Stop::Error(MACH_SEND_NO_BUFFER))?;
        let reserved = self.body_copy(task, message, source).and_then(|()| {
            if complex { self.body_reserve(task, message, payer) } else { Ok(Reserved::NONE) }
        });
        let reserved = match reserved {
            Ok(reserved) => reserved,
            Err(stop) => {
                self.message_free(message);
                return Err(stop);
            }
        };
        // Commit: the header's rights first, as they were marked.
        if let Some(header) = header {
            let (dest, reply) = self.header_take(task, header);
            self.slot_put(Self::message_remote(message), dest, PLACE_MESSAGE, message.raw());
            self.slot_put(Self::message_local(message), reply, PLACE_MESSAGE, message.raw());
            let (remote, local) = (remote_disposition(header.bits), local_disposition(header.bits));
            let local = if local == 0 { 0 } else { received_disposition(local) };
            let m = self.get_mut(message);
            m.bits = bits(received_disposition(remote), local) | header.bits & BITS_OTHER;
            m.id = header.id;
        }
        if complex {
            self.body_keep(task, message, &reserved.objects);
        }
        let m = self.get_mut(message);
        m.ool = reserved.totals.memories;
        if reserved.totals.complex {
            m.bits |= BITS_COMPLEX;
        }
        Ok(message)
    }

    fn body_reserve(
        &mut self,
        task: Ref<Task>,
        message: Ref<Message>,
        payer: Payer,
    ) -> Result<Reserved, Stop> {
        let (body, size) = (Body::Message(message), self.get(message).size);
        let totals = self.body_check(task, body, size)?;
        let taken = self
            .message_rights(message, totals.rights, payer)
            .map_err(|_| Stop::Error(MACH_SEND_NO_BUFFER))
            .and_then(|()| self.memories_take(task, body, size, payer));
        match taken {
            Ok(objects) => Ok(Reserved { totals, objects }),
            Err(stop) => {
                self.body_unmark(task, body, size, size);
                Err(stop)
            }
        }
    }

    /// Copies the bytes of a body into a message.
    fn body_copy(&mut self, task: Ref<Task>, message: Ref<Message>, source: Source<'_>) -> Result<(), Stop> {
        let size = self.get(message).size as usize;
        let mut buffer = [0; CHUNK];
        let mut at = HEADER_SIZE;
        while at < size {
            let n = (size - at).min(CHUNK);
            match source {
                Source::Bytes(bytes) => buffer[..n].copy_from_slice(&bytes[at..at + n]),
                Source::User(address) => self
                    .copyin(task, address.saturating_add(at as u64), &mut buffer[..n])
                    .map_err(|e| copy_failure(e, MACH_SEND_INVALID_DATA))?,
            }
            self.message_write(message, at as u32, &buffer[..n]);
            at += n;
        }
        Ok(())
    }

    /// Moves rights and memory of a checked body into the message.
    fn body_keep(&mut self, task: Ref<Task>, message: Ref<Message>, objects: &[Ref<Memory>]) {
        let (body, size) = (Body::Message(message), self.get(message).size);
        let (mut at, mut right, mut k) = (HEADER, 0, 0);
        while let Some(item) = self.checked_item(body, at, size) {
            at = item.next;
            let memory = item.has_memory();
            if item.is_port() {
                for i in 0..item.word.number() {
                    let name = self.item_name(task, body, &item, i).unwrap_or(MACH_PORT_DEAD);
                    let taken = self.right_take(task, name, item.word.name());
                    let slot = self.message_right(message, right);
                    self.slot_put(slot, taken, PLACE_MESSAGE, message.raw());
                    right += 1;
                }
                if memory {
                    self.array_done(task, body, &item);
                    self.set_body_word(body, item.data, 0);
                }
            } else if memory {
                self.set_body_word(body, item.data, u64::from(objects[k].raw()));
            }
            k += usize::from(memory);
            self.set_body_word(body, item.at, item.received().0);
        }
    }

    /// Frees the sender's array of names, if it said so.
    fn array_done(&mut self, from: Ref<Task>, body: Body, item: &Item) {
        if item.word.is_dealloc()
            && let Ok(address) = self.body_word(body, item.data)
        {
            // At most two pages; a range that cannot be freed stays the sender's.
            let _ = self.vm_deallocate(from, address, item.bytes);
        }
    }

    /// Moves what a message holds to its receiver, and rewrites the body for it: the failure bits, 0 if all went well. The failed items are null.
    pub(crate) fn body_give(
        &mut self,
        message: Ref<Message>,
        to: Ref<Task>,
        payer: Payer,
        window: Option<Ref<Activation>>,
    ) -> i32 {
        let m = *self.get(message);
        if m.bits & BITS_COMPLEX == 0 {
            return 0;
        }
        let body = Body::Message(message);
        let (mut at, mut right, mut failed) = (HEADER, 0, 0);
        while let Some(item) = self.checked_item(body, at, m.size) {
            at = item.next;
            if item.is_port() {
                let array = if item.has_memory() {
                    match self.array_place(item.word.number(), to, payer, window) {
                        Ok(address) => Some(address),
                        Err(stop) => {
                            failed |= vm_failure(stop);
                            self.item_null(body, &item);
                            None
                        }
                    }
                } else {
                    None
                };
                for i in 0..item.word.number() {
                    let slot = self.message_right(message, right);
                    let taken = self.slot_take(slot);
                    right += 1;
                    if item.word.is_inline() {
                        let name = self.right_deliver(to, taken, &mut failed);
                        self.set_body_word(body, item.data + 8 * i, u64::from(name));
                    } else if let Some(address) = array {
                        let name = self.right_deliver(to, taken, &mut failed);
                        self.array_write(to, address, i, name);
                    } else {
                        self.right_drop(taken);
                    }
                }
                if let Some(address) = array {
                    self.set_body_word(body, item.data, address);
                }
            } else if item.has_memory() {
                let object = Ref::from_raw(self.body_word(body, item.data).unwrap_or(0) as u32);
                match self.ool_place(object, to, payer, window) {
                    Ok(address) => self.set_body_word(body, item.data, address),
                    Err(stop) => {
                        self.ool_free(object);
                        failed |= vm_failure(stop);
                        self.item_null(body, &item);
                    }
                }
            } else if !item.word.is_inline() {
                self.set_body_word(body, item.data, 0);
            }
        }
        let m = self.get_mut(message);
        (m.ool, m.rights) = (0, 0);
        failed
    }

    /// An out-of-line item that could not be delivered: no elements, no address.
    fn item_null(&mut self, body: Body, item: &Item) {
        self.set_body_word(body, item.at, item.received().0 & 0xffff_ffff);
        self.set_body_word(body, item.data, 0);
    }

    fn array_write(&mut self, to: Ref<Task>, address: u64, i: u32, name: u32) {
        let written = self.write_u32(to, address + 4 * u64::from(i), name);
        debug_assert!(written.is_ok(), "the array was placed");
    }

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

    /// Destroys what the body of a message holds.
    pub(crate) fn body_destroy(&mut self, message: Ref<Message>) {
        let m = *self.get(message);
        for i in 0..m.rights {
            let slot = self.message_right(message, i);
            self.drop_right(slot);
        }
        if m.ool == 0 {
            return;
        }
        let body = Body::Message(message);
        let mut at = HEADER;
        while let Some(item) = self.checked_item(body, at, m.size) {
            at = item.next;
            if item.has_memory() && !item.is_port() {
                let object = Ref::from_raw(self.body_word(body, item.data).unwrap_or(0) as u32);
                self.memories_free(&[object]);
            }
        }
        self.get_mut(message).ool = 0;
    }

    /// Whether a message carries a receive right that must not go into the queue of `target`.
    pub(crate) fn message_is_circular(&self, message: Ref<Message>, target: Ref<Port>) -> bool {
        (0..self.get(message).rights).any(|i| {
            let slot = self.slot(self.message_right(message, i));
            slot.kind == RECEIVE && slot.port.is_some() && self.receive_cycle(slot.port, target)
        })
    }

    // ---- directly between two tasks ----

    /// Takes and places the out-of-line memory of a checked body that lies in the receiver's memory already. The failure bits; with `strict` a failure to place is an error.
    fn memories_move(
        &mut self,
        from: Ref<Task>,
        to: Ref<Task>,
        body: Body,
        size: u32,
        act: Ref<Activation>,
        target: &Target,
    ) -> Result<(Memories, i32), Stop> {
        let source_payer = Payer::account(self.get(act).payer);
        let objects = self.memories_take(from, body, size, source_payer)?;
        let mut memories = Memories { objects, places: [0; OOL_MAX as usize] };
        let mut failed = 0;
        let (mut at, mut k) = (HEADER, 0);
        while let Some(item) = self.checked_item(body, at, size) {
            at = item.next;
            if !item.has_memory() {
                continue;
            }
            let object = memories.objects[k];
            let placed = if item.is_port() {
                self.accept(act, target, 1)
                    .and_then(|()| self.array_place(item.word.number(), to, target.payer, target.window))
            } else {
                self.accept(act, target, self.ool_frames(object))
                    .and_then(|()| self.ool_place(object, to, target.payer, target.window))
            };
            match placed {
                Ok(address) => {
                    memories.places[k] = address;
                    memories.objects[k] = Ref::NONE;
                }
                Err(stop) if target.strict => {
                    self.memories_free(&memories.objects);
                    return Err(stop);
                }
                Err(stop) => failed |= vm_failure(stop),
            }
            k += 1;
        }
        self.memories_free(&memories.objects);
        Ok((memories, failed))
    }

    /// Uses up the accept window of a call for memory in its reply.
    fn accept(&mut self, act: Ref<Activation>, target: &Target, frames: u64) -> Result<(), Stop> {
        if target.strict {
            return Ok(());
        }
        let left = &mut self.get_mut(act).left.accept;
        if *left < frames {
            return Err(Stop::Error(KERN_RESOURCE_SHORTAGE));
        }
        if *left != u64::MAX {
            *left -= frames;
        }
        Ok(())
    }

    /// Moves the rights of a checked body, which lies in the receiver's memory, and rewrites it. The failure bits.
    fn body_move(
        &mut self,
        from: Ref<Task>,
        to: Ref<Task>,
        body: Body,
        size: u32,
        memories: &Memories,
    ) -> i32 {
        let (mut at, mut k, mut failed) = (HEADER, 0, 0);
        while let Some(item) = self.checked_item(body, at, size) {
            at = item.next;
            let memory = item.has_memory();
            let place = if memory { memories.places[k] } else { 0 };
            k += usize::from(memory);
            if item.is_port() {
                for i in 0..item.word.number() {
                    let name = self.item_name(from, body, &item, i).unwrap_or(MACH_PORT_DEAD);
                    let taken = self.right_take(from, name, item.word.name());
                    if item.word.is_inline() {
                        let name = self.right_deliver(to, taken, &mut failed);
                        self.set_body_word(body, item.data + 8 * i, u64::from(name));
                    } else if place != 0 {
                        let name = self.right_deliver(to, taken, &mut failed);
                        self.array_write(to, place, i, name);
                    } else {
                        self.right_drop(taken);
                    }
                }
                if memory {
                    self.array_done(from, body, &item);
                }
            }
            if memory && place == 0 {
                self.item_null(body, &item);
                continue;
            }
            if !item.word.is_inline() {
                self.set_body_word(body, item.data, place);
            }
            self.set_body_word(body, item.at, item.received().0);
        }
        failed
    }

    /// Copies a request from the client's memory to the window of a new activation, with everything that it carries, and uses up the destination right.
    /// Sets `reply_name`, `reply_disposition`, `reply_option`, `request_id` and `one_way` of the activation: the reply goes back by return if the client made a send-once
    /// right for it from the very port that it is going to receive from; else the server gets a real reply right (if any) and the call is one-way.
    /// Returns the size of the request.
    ///
    /// # Errors
    /// The send codes of `mach_msg`; `KERN_RESOURCE_SHORTAGE` for what the call pays; `MACH_SEND_NO_BUFFER` also when the server has no room for the names. Nothing
    /// changed, except for what lies in the window.
    pub(crate) fn transfer_request(
        &mut self,
        from: Ref<Task>,
        address: u64,
        size: u32,
        to: Ref<Activation>,
        port: Ref<Port>,
        args: &MachMsg,
    ) -> Result<u32, Stop> {
        check_size(size, REQUEST_MAX as u32)?;
        let header = self.header_in(from, address)?;
        self.header_mark(from, &header)?;
        let (totals, memories) = match self.request_reserve(from, address, size, to, &header) {
            Ok(reserved) => reserved,
            Err(stop) => {
                self.header_unmark(from, &header);
                return Err(stop);
            }
        };
        // Commit: the header's rights first, as they were marked. All names are reserved.
        let a = *self.get(to);
        let by_return = self.replies_by_return(from, &header, args);
        let (local, name) = (local_disposition(header.bits), header.local as u32);
        let (dest, reply) = if by_return {
            self.right_unmark(from, name);
            (self.right_take(from, header.remote as u32, remote_disposition(header.bits)), Right::NULL)
        } else {
            self.header_take(from, &header)
        };
        let complex = header.bits & BITS_COMPLEX != 0;
        let body = Body::User(a.task, a.window + REQUEST);
        self.body_move(from, a.task, body, size_if(complex, size), &memories);
        let reply_name = self.right_give_reserved(a.task, reply);
        let reply_bits = if by_return || local == 0 { 0 } else { received_disposition(local) };
        let (local_bits, local_name) =
            self.local_field(port, received_disposition(remote_disposition(header.bits)));
        let received = Header {
            bits: bits(reply_bits, local_bits) | header.bits & BITS_OTHER | totals.bit(),
            size,
            remote: u64::from(reply_name),
            local: local_name,
            seqno: self.next_seqno(port),
            id: header.id,
        };
        let written = self.copyout(a.task, a.window + REQUEST, received.as_bytes());
        debug_assert!(written.is_ok());
        self.dest_consume(dest);
        let a = self.get_mut(to);
        (a.reply_name, a.reply_disposition, a.request_id) = (name, local, header.id);
        a.reply_option = args.option;
        a.one_way = u8::from(!by_return);
        Ok(size)
    }

    /// Whether the reply to a request goes back by return.
    fn replies_by_return(&mut self, from: Ref<Task>, header: &Header, args: &MachMsg) -> bool {
        let name = header.local as u32;
        local_disposition(header.bits) == msgt::MAKE_SEND_ONCE
            && args.option & option::RCV_MSG != 0
            && name == args.rcv_name
            && self.port_of_receive(from, name).is_ok_and(|port| {
                let p = self.get(port);
                p.head.flags == MESSAGE && p.set.is_none()
            })
    }

    /// Copies the body of a request and reserves all that its rights and memory need.
    fn request_reserve(
        &mut self,
        from: Ref<Task>,
        address: u64,
        size: u32,
        act: Ref<Activation>,
        header: &Header,
    ) -> Result<(Totals, Memories), Stop> {
        let a = *self.get(act);
        let target_address = a.window + REQUEST;
        // The header's page is written to here, so that the header cannot fail later.
        self.copyout(a.task, target_address, header.as_bytes())?;
        self.copy_user(
            from,
            address + HEADER_SIZE as u64,
            a.task,
            target_address + HEADER_SIZE as u64,
            u64::from(size - HEADER),
        )
        .map_err(|e| copy_failure(e, MACH_SEND_INVALID_DATA))?;
        let body = Body::User(a.task, target_address);
        let complex = header.bits & BITS_COMPLEX != 0;
        let totals = if complex { self.body_check(from, body, size)? } else { Totals::default() };
        let target = Target { payer: Payer { account: a.payer, call: act }, window: Some(act), strict: true };
        let moved = self
            .names_reserve(a.task, totals.rights + 1)
            .map_err(|e| if e == Stop::Again { e } else { Stop::Error(MACH_SEND_NO_BUFFER) })
            .and_then(|()| self.memories_move(from, a.task, body, size_if(complex, size), act, &target));
        match moved {
            Ok((memories, _)) => Ok((totals, memories)),
            Err(stop) => {
                self.body_unmark(from, body, size, size_if(complex, size));
                Err(stop)
            }
        }
    }

    /// Copies the reply of the activation `act` from its task's memory to the client's receive buffer, with everything that it carries. The `mach_msg` result for the
    /// client: 0, `MACH_RCV_TOO_LARGE`, `MACH_RCV_INVALID_DATA`, `MACH_RCV_PORT_DIED` or `MACH_RCV_BODY_ERROR` with bits. Out-of-line memory beyond the call's accept
    /// window is not delivered.
    ///
    /// # Errors
    /// The reply is no good (a send code of `mach_msg`): nothing changed but bytes in the client's buffer, and the server may try another.
    pub(crate) fn transfer_reply(
        &mut self,
        act: Ref<Activation>,
        address: u64,
        size: u32,
        to: Ref<Task>,
        rcv_address: u64,
        rcv_size: u32,
    ) -> Result<i32, Stop> {
        check_size(size, MESSAGE_MAX)?;
        let a = *self.get(act);
        let header = self.header_in(a.task, address)?;
        if header.remote as u32 != MACH_PORT_NULL {
            return Err(Stop::Error(MACH_SEND_INVALID_DEST));
        }
        let reply_port = self.port_of_receive(to, a.reply_name);
        let client = self.get(act).lower;
        let payer = Payer { account: self.payer_account(client), call: self.ceilings(client) };
        let Ok(reply_port) = reply_port else {
            let message = self.reply_message(act, address, size, &header)?;
            self.message_destroy(message);
            return Ok(MACH_RCV_PORT_DIED);
        };
        if size > rcv_size {
            return self.reply_too_large(
                act,
                address,
                size,
                &header,
                reply_port,
                (to, rcv_address, rcv_size),
            );
        }
        let copied = self.copy_user(
            a.task,
            address + HEADER_SIZE as u64,
            to,
            rcv_address.saturating_add(HEADER_SIZE as u64),
            u64::from(size - HEADER),
        );
        let probed = copied.and_then(|()| self.copyout(to, rcv_address, header.as_bytes()));
        if probed == Err(Stop::Again) {
            return Err(Stop::Again);
        }
        if probed.is_err() {
            // Whose memory was it? A message made of the reply says so; it is destroyed if the client's was bad.
            let message = self.reply_message(act, address, size, &header)?;
            self.message_destroy(message);
            return Ok(MACH_RCV_INVALID_DATA);
        }
        let body = Body::User(to, rcv_address);
        let complex = header.bits & BITS_COMPLEX != 0;
        let totals = if complex { self.body_check(a.task, body, size)? } else { Totals::default() };
        let size_walked = size_if(complex, size);
        let window = self.window_for(client);
        let target = Target { payer, window, strict: false };
        let moved = self.memories_move(a.task, to, body, size_walked, act, &target);
        let (memories, mut failed) = match moved {
            Ok(moved) => moved,
            Err(stop) => {
                self.body_unmark(a.task, body, size, size_walked);
                return Err(stop);
            }
        };
        // Commit. Rights that find no name are destroyed and null.
        failed |= self.body_move(a.task, to, body, size_walked, &memories);
        let received = self.reply_header(reply_port, &a, &header, size, totals.bit());
        let written = self.copyout(to, rcv_address, received.as_bytes());
        debug_assert!(written.is_ok());
        Ok(if failed == 0 { 0 } else { MACH_RCV_BODY_ERROR | failed })
    }

    fn reply_header(
        &mut self,
        reply_port: Ref<Port>,
        a: &Activation,
        header: &Header,
        size: u32,
        complex: u32,
    ) -> Header {
        let disposition = received_disposition(a.reply_disposition);
        let (local_bits, local) = self.local_field(reply_port, disposition);
        let seqno = self.next_seqno(reply_port);
        Header {
            bits: bits(0, local_bits) | header.bits & BITS_OTHER | complex,
            size,
            remote: 0,
            local,
            seqno,
            id: header.id,
        }
    }

    /// A reply as a message in hand, without header rights.
    fn reply_message(
        &mut self,
        act: Ref<Activation>,
        address: u64,
        size: u32,
        header: &Header,
    ) -> Result<Ref<Message>, Stop> {
        let a = *self.get(act);
        let complex = header.bits & BITS_COMPLEX != 0;
        let payer = Payer::account(a.payer);
        let message = self.message_build(a.task, None, complex, Source::User(address), size, payer)?;
        let m = self.get_mut(message);
        m.id = header.id;
        m.bits |= bits(msgt::PORT_SEND_ONCE, 0) | header.bits & BITS_OTHER;
        Ok(message)
    }

    /// A reply that does not fit: queued at the reply port if the client asked for that, else destroyed but for its header.
    fn reply_too_large(
        &mut self,
        act: Ref<Activation>,
        address: u64,
        size: u32,
        header: &Header,
        port: Ref<Port>,
        (to, rcv_address, rcv_size): (Ref<Task>, u64, u32),
    ) -> Result<i32, Stop> {
        let message = self.reply_message(act, address, size, header)?;
        if self.get(act).reply_option & option::RCV_LARGE != 0 {
            let right = self.send_once_new(port);
            self.slot_put(Self::message_remote(message), right, PLACE_MESSAGE, message.raw());
            if self.message_is_circular(message, port) {
                self.message_destroy(message);
            } else {
                self.queue_add(port, message);
            }
            self.write_size(to, rcv_address, size);
            return Ok(MACH_RCV_TOO_LARGE);
        }
        let a = *self.get(act);
        let received = self.reply_header(port, &a, header, size, 0);
        self.message_destroy(message);
        if rcv_size >= HEADER && self.copyout(to, rcv_address, received.as_bytes()).is_err() {
            return Ok(MACH_RCV_INVALID_DATA);
        }
        Ok(MACH_RCV_TOO_LARGE)
    }

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

/// What is ready to be moved into a message.
struct Reserved {
    totals: Totals,
    objects: [Ref<Memory>; OOL_MAX as usize],
}

impl Reserved {
    const NONE: Self = Self {
        totals: Totals { rights: 0, memories: 0, complex: false },
        objects: [Ref::NONE; OOL_MAX as usize],
    };
}

/// Where out-of-line memory goes.
struct Target {
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
