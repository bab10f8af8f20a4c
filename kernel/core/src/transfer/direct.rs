//! Bodies that go straight from one task to another: what they carry is taken, placed and renamed in one step.

use drover_abi::port::MACH_PORT_DEAD;
use drover_abi::returns::KERN_RESOURCE_SHORTAGE;

use super::{Body, HEADER, Memories, Target, vm_failure};
use crate::account::Payer;
use crate::kernel::{Kernel, Stop};
use crate::machine::Machine;
use crate::object::Ref;
use crate::task::Task;

impl<M: Machine> Kernel<M> {
    /// Takes and places the out-of-line memory of a checked body (`memories.count` items) that lies in the receiver's memory already. The failure bits; with `strict` a failure to place is an error.
    pub(super) fn memories_move(
        &mut self,
        from: Ref<Task>,
        to: Ref<Task>,
        body: Body,
        size: u32,
        target: &Target,
        memories: &mut Memories,
    ) -> Result<i32, Stop> {
        if memories.count == 0 {
            return Ok(0);
        }
        let source_payer = Payer::account(self.get(target.act).payer);
        self.memories_take(from, body, size, source_payer, &mut memories.objects)?;
        let mut failed = 0;
        let (mut at, mut k) = (HEADER, 0);
        while let Some(item) = self.checked_item(body, at, size) {
            at = item.next;
            if !item.has_memory() {
                continue;
            }
            let object = memories.objects[k];
            let placed = if item.is_port() {
                self.accept(target, 1)
                    .and_then(|()| self.array_place(item.word.number(), to, target.payer, target.window))
            } else {
                self.accept(target, self.ool_frames(object))
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
        Ok(failed)
    }

    /// Uses up the accept window of a call for memory in its reply.
    pub(super) fn accept(&mut self, target: &Target, frames: u64) -> Result<(), Stop> {
        if target.strict {
            return Ok(());
        }
        let left = &mut self.get_mut(target.act).left.accept;
        if *left < frames {
            return Err(Stop::Error(KERN_RESOURCE_SHORTAGE));
        }
        if *left != u64::MAX {
            *left -= frames;
        }
        Ok(())
    }

    /// Moves the rights of a checked body, which lies in the receiver's memory, and rewrites it. The failure bits.
    pub(super) fn body_move(
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
}
