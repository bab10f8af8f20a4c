//! Bodies of queued messages: what a message takes from its sender, holds, and gives to its receiver.

use drover_abi::message::{BITS_COMPLEX, HEADER_SIZE, Header, bits, local_disposition, remote_disposition};
use drover_abi::port::MACH_PORT_DEAD;
use drover_abi::returns::{MACH_SEND_INVALID_DATA, MACH_SEND_NO_BUFFER};

use super::{BITS_OTHER, Body, CHUNK, HEADER, Source, Totals, copy_failure, vm_failure};
use crate::account::Payer;
use crate::activation::Activation;
use crate::kernel::{Kernel, Stop};
use crate::machine::Machine;
use crate::memory::Memory;
use crate::message::{Message, OOL_MAX};
use crate::object::Ref;
use crate::port::Port;
use crate::right::{PLACE_MESSAGE, RECEIVE, received_disposition};
use crate::task::Task;

impl<M: Machine> Kernel<M> {
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
        let mut objects = [Ref::NONE; OOL_MAX as usize];
        let taken = self
            .message_rights(message, totals.rights, payer)
            .map_err(|_| Stop::Error(MACH_SEND_NO_BUFFER))
            .and_then(|()| self.memories_take(task, body, size, payer, &mut objects));
        match taken {
            Ok(()) => Ok(Reserved { totals, objects }),
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
