//! The items of a body: reading, checking, marking, taking what they carry.

use drover_abi::message::{TypeWord, msgt};
use drover_abi::returns::{
    MACH_SEND_INVALID_DATA, MACH_SEND_INVALID_MEMORY, MACH_SEND_INVALID_RIGHT, MACH_SEND_INVALID_TYPE,
    MACH_SEND_MSG_TOO_SMALL, MACH_SEND_NO_BUFFER,
};

use super::{Body, HEADER, Item, OOL_BYTES_MAX, Totals, copy_failure, take_failure};
use crate::account::Payer;
use crate::activation::Activation;
use crate::kernel::{Kernel, Stop};
use crate::machine::Machine;
use crate::memory::Memory;
use crate::message::{OOL_MAX, RIGHTS_MAX};
use crate::object::Ref;
use crate::task::Task;
use crate::user::COPY_MAX;

impl<M: Machine> Kernel<M> {
    pub(super) fn body_word(&mut self, body: Body, offset: u32) -> Result<u64, Stop> {
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

    /// Writes a word of a body that has been written to before.
    pub(super) fn set_body_word(&mut self, body: Body, offset: u32, word: u64) {
        match body {
            Body::Message(message) => self.message_write(message, offset, &word.to_le_bytes()),
            Body::User(task, address) => {
                // As in `array_write`.
                let _ = self.write_u64(task, address + u64::from(offset), word);
            }
        }
    }

    /// The item at an offset (< `size`), checked.
    pub(super) fn item(&mut self, body: Body, at: u32, size: u32) -> Result<Item, Stop> {
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
    pub(super) fn item_name(
        &mut self,
        from: Ref<Task>,
        body: Body,
        item: &Item,
        i: u32,
    ) -> Result<u32, Stop> {
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
    pub(super) fn body_unmark(&mut self, from: Ref<Task>, body: Body, last: u32, size: u32) {
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
    pub(super) fn checked_item(&mut self, body: Body, at: u32, size: u32) -> Option<Item> {
        if at >= size { None } else { self.item(body, at, size).ok() }
    }

    /// Takes the out-of-line data of a checked body (not the arrays of rights); those that stay with the sender first, so that a failure loses nothing.
    pub(super) fn memories_take(
        &mut self,
        from: Ref<Task>,
        body: Body,
        size: u32,
        payer: Payer,
        objects: &mut [Ref<Memory>; OOL_MAX as usize],
    ) -> Result<(), Stop> {
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
                        self.memories_free(objects);
                        return Err(take_failure(stop));
                    }
                }
            }
        }
        Ok(())
    }

    pub(super) fn memories_free(&mut self, objects: &[Ref<Memory>]) {
        for &object in objects.iter().filter(|o| o.is_some()) {
            self.ool_free(object);
        }
    }

    /// Memory for an array of `number` names, in the receiver.
    pub(super) fn array_place(
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

    /// Frees the sender's array of names, if it said so.
    pub(super) fn array_done(&mut self, from: Ref<Task>, body: Body, item: &Item) {
        if item.word.is_dealloc()
            && let Ok(address) = self.body_word(body, item.data)
        {
            // At most two pages; a range that cannot be freed stays the sender's.
            let _ = self.vm_deallocate(from, address, item.bytes);
        }
    }

    /// An out-of-line item that could not be delivered: no elements, no address.
    pub(super) fn item_null(&mut self, body: Body, item: &Item) {
        self.set_body_word(body, item.at, item.received().0 & 0xffff_ffff);
        self.set_body_word(body, item.data, 0);
    }

    pub(super) fn array_write(&mut self, to: Ref<Task>, address: u64, i: u32, name: u32) {
        // It was placed; a task that sends to itself may have freed it again with another item, and gets nothing then.
        let _ = self.write_u32(to, address + 4 * u64::from(i), name);
    }
}
