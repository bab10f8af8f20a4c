//! Right slots: every reference to a port is one.
//!
//! A slot lives in a name table of a task, in a message, in a task or thread (special ports) or in an activation (the port called). All slots
//! of a port are on one list, the receive right's first, so that a port's death can make every one of them dead in bounded steps.
//!
//! A [`Right`] is a right *in hand*: taken out of one slot and not yet put into another, within one kernel operation. It stays counted
//! in its port, so whoever has one in hand must put it somewhere or drop it.
//!
//! Sending is two-phase: [`Kernel::right_mark`] checks a right and marks what the message is going to take of it (so that a later item of the same
//! message sees what is left), and changes nothing that anyone can see; [`Kernel::right_take`] then cannot fail, [`Kernel::right_unmark`] undoes the marks.

use drover_abi::message::msgt;
use drover_abi::port::{MACH_PORT_DEAD, MACH_PORT_NULL};
use drover_abi::returns::MACH_RCV_PORT_DIED;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::kernel::Kernel;
use crate::machine::Machine;
use crate::object::{Object, Ref};
use crate::port::Port;
use crate::task::Task;

/// Name of a slot inside the kernel: physical address / 32; 0 = none.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
pub struct SlotRef(pub u32);

impl SlotRef {
    /// No slot.
    pub const NONE: Self = Self(0);
    /// A slot in a frame.
    #[must_use]
    pub const fn in_frame(frame: u32, offset: usize) -> Self {
        Self((frame << 7) | (offset >> 5) as u32)
    }
    /// A slot in an object.
    #[must_use]
    pub const fn in_object<T: Object>(object: Ref<T>, offset: usize) -> Self {
        Self((object.raw() << 1) + (offset >> 5) as u32)
    }
    /// Names a slot.
    #[must_use]
    pub const fn is_some(self) -> bool {
        self.0 != 0
    }
}

/// `kind` bit: send right.
pub const SEND: u8 = 1;
/// `kind` bit: receive right.
pub const RECEIVE: u8 = 2;
/// `kind` bit: send-once right.
pub const SEND_ONCE: u8 = 4;
/// `kind` bit: port set.
pub const PORT_SET: u8 = 8;
/// `kind` bit: dead name.
pub const DEAD: u8 = 16;
/// `kind` bit: counts as no right; the port's death just clears it (the port of a call in flight).
pub const WEAK: u8 = 32;
/// `kind` bit, within one send: the message takes the receive right.
pub(crate) const TAKES_RECEIVE: u8 = 0x80;

/// `place`: a name of a task.
pub const PLACE_NAME: u8 = 1;
/// `place`: a message.
pub const PLACE_MESSAGE: u8 = 2;
/// `place`: a special port of a task or thread.
pub const PLACE_SPECIAL: u8 = 3;
/// `place`: an activation.
pub const PLACE_CALL: u8 = 4;
/// `place`: a free name on its task's list of free names.
pub const PLACE_FREE: u8 = 5;

/// A reference to a port.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, KnownLayout, Immutable)]
pub struct RightSlot {
    /// The port; none if free or dead.
    pub port: Ref<Port>,
    /// List of the port's slots.
    pub next: SlotRef,
    /// List of the port's slots.
    pub prev: SlotRef,
    /// Name tables: next name in the task's hash bucket, or next free name.
    pub hash_next: u32,
    /// `SEND` etc., or'ed.
    pub kind: u8,
    /// Where the slot lives.
    pub place: u8,
    /// User references (name tables).
    pub urefs: u16,
    /// Raw reference of the holder (task, message, thread, activation).
    pub holder: u32,
    /// Name tables: the name itself.
    pub name: u16,
    /// Name tables, within one send: user references that the message takes.
    pub taken: u16,
    /// Raw reference of the prepared dead-name notification, 0 = none.
    pub request: u32,
}

const _: () = assert!(size_of::<RightSlot>() == 32);

/// A right in hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Right {
    /// The port; none for a null or dead right.
    pub port: Ref<Port>,
    /// [`SEND`], [`SEND_ONCE`], [`RECEIVE`] or [`DEAD`]; 0 = null.
    pub kind: u8,
}

impl Right {
    /// `MACH_PORT_NULL`.
    pub const NULL: Self = Self { port: Ref::NONE, kind: 0 };
    /// `MACH_PORT_DEAD`.
    pub const DEAD: Self = Self { port: Ref::NONE, kind: DEAD };

    /// The disposition by which a receiver sees it.
    #[must_use]
    pub const fn received(self) -> u32 {
        match self.kind {
            RECEIVE => msgt::PORT_RECEIVE,
            SEND_ONCE => msgt::PORT_SEND_ONCE,
            _ => msgt::PORT_SEND,
        }
    }
}

/// The disposition by which a receiver sees a right that was sent with `disposition`.
#[must_use]
pub const fn received_disposition(disposition: u32) -> u32 {
    match disposition {
        msgt::MOVE_RECEIVE => msgt::PORT_RECEIVE,
        msgt::MOVE_SEND_ONCE | msgt::MAKE_SEND_ONCE => msgt::PORT_SEND_ONCE,
        _ => msgt::PORT_SEND,
    }
}

impl<M: Machine> Kernel<M> {
    /// A slot.
    #[inline]
    pub fn slot(&self, s: SlotRef) -> &RightSlot {
        let at = ((s.0 & 127) << 5) as usize;
        RightSlot::ref_from_bytes(&self.machine.page(s.0 >> 7).0[at..at + 32]).expect("slots are aligned")
    }

    /// A slot, to change.
    #[inline]
    pub(crate) fn slot_mut(&mut self, s: SlotRef) -> &mut RightSlot {
        let at = ((s.0 & 127) << 5) as usize;
        RightSlot::mut_from_bytes(&mut self.machine.page_mut(s.0 >> 7).0[at..at + 32])
            .expect("slots are aligned")
    }

    /// Puts a slot on a port's list: first, or right after the receive right.
    pub(crate) fn slot_link(&mut self, s: SlotRef, port: Ref<Port>) {
        let head = self.get(port).slots;
        let receive = self.slot(s).kind & RECEIVE != 0;
        if head.is_some() && !receive && self.slot(head).kind & RECEIVE != 0 {
            let next = self.slot(head).next;
            self.slot_mut(head).next = s;
            let slot = self.slot_mut(s);
            (slot.port, slot.prev, slot.next) = (port, head, next);
            if next.is_some() {
                self.slot_mut(next).prev = s;
            }
            return;
        }
        let slot = self.slot_mut(s);
        (slot.port, slot.prev, slot.next) = (port, SlotRef::NONE, head);
        if head.is_some() {
            self.slot_mut(head).prev = s;
        }
        self.get_mut(port).slots = s;
    }

    /// Takes a slot off its port's list.
    pub(crate) fn slot_unlink(&mut self, s: SlotRef) {
        let RightSlot { port, next, prev, .. } = *self.slot(s);
        if prev.is_some() {
            self.slot_mut(prev).next = next;
        } else {
            self.get_mut(port).slots = next;
        }
        if next.is_some() {
            self.slot_mut(next).prev = prev;
        }
        let slot = self.slot_mut(s);
        (slot.port, slot.next, slot.prev) = (Ref::NONE, SlotRef::NONE, SlotRef::NONE);
    }

    /// Puts a right in hand into a free slot outside the name tables.
    pub(crate) fn slot_put(&mut self, s: SlotRef, right: Right, place: u8, holder: u32) {
        *self.slot_mut(s) = RightSlot { kind: right.kind, place, holder, ..RightSlot::default() };
        if right.port.is_some() {
            self.slot_link(s, right.port);
        }
    }

    /// Takes the right out of a slot outside the name tables; the slot is null then.
    pub(crate) fn slot_take(&mut self, s: SlotRef) -> Right {
        let slot = *self.slot(s);
        let mut right = Right { port: slot.port, kind: slot.kind };
        if slot.port.is_some() {
            self.slot_unlink(s);
            if self.get(slot.port).head.state != 0 {
                self.count_off(slot.port, slot.kind);
                right = Right::DEAD;
            }
        }
        *self.slot_mut(s) = RightSlot::default();
        right
    }

    /// Destroys the right in a slot outside the name tables; the slot is null then.
    pub fn drop_right(&mut self, s: SlotRef) {
        let right = self.slot_take(s);
        self.right_drop(right);
    }

    /// Takes a right off its port's counts.
    pub(crate) fn count_off(&mut self, port: Ref<Port>, kind: u8) {
        let p = self.get_mut(port);
        match kind {
            SEND => p.send_rights -= 1,
            SEND_ONCE => p.send_once_rights -= 1,
            _ => {}
        }
    }

    /// A new send right in hand (it does not count as made by the receiver).
    pub(crate) fn send_copy(&mut self, port: Ref<Port>) -> Right {
        self.get_mut(port).send_rights += 1;
        Right { port, kind: SEND }
    }

    /// A new send-once right in hand.
    pub(crate) fn send_once_new(&mut self, port: Ref<Port>) -> Right {
        self.get_mut(port).send_once_rights += 1;
        Right { port, kind: SEND_ONCE }
    }

    /// Destroys a right in hand: the last send right fires no-senders, an unused send-once right the notification 71, a receive right ends its port.
    pub(crate) fn right_drop(&mut self, right: Right) {
        if right.port.is_none() {
            return;
        }
        self.count_off(right.port, right.kind);
        if self.get(right.port).head.state != 0 {
            return;
        }
        match right.kind {
            SEND => self.no_senders_check(right.port),
            SEND_ONCE => self.send_once_died(right.port),
            RECEIVE => self.receive_right_gone(right.port),
            _ => {}
        }
    }

    /// Checks that `task` may send `name` with `disposition` and marks what a message would take. Null and dead names are fine.
    ///
    /// # Errors
    /// `Err(())`: no such name, or not that right (any more, after the message's earlier items).
    #[allow(clippy::result_unit_err, reason = "the caller knows which of Mach's codes applies")]
    pub(crate) fn right_mark(&mut self, task: Ref<Task>, name: u32, disposition: u32) -> Result<(), ()> {
        if name == MACH_PORT_NULL || name == MACH_PORT_DEAD {
            return Ok(());
        }
        let s = self.name_check(task, name).ok_or(())?;
        let slot = self.slot_mut(s);
        let left = slot.urefs - slot.taken;
        match disposition {
            msgt::MAKE_SEND | msgt::MAKE_SEND_ONCE if slot.kind & (RECEIVE | TAKES_RECEIVE) == RECEIVE => {
                Ok(())
            }
            msgt::MOVE_RECEIVE if slot.kind & (RECEIVE | TAKES_RECEIVE) == RECEIVE => {
                slot.kind |= TAKES_RECEIVE;
                Ok(())
            }
            msgt::COPY_SEND if slot.kind & (SEND | DEAD) != 0 && left > 0 => Ok(()),
            msgt::MOVE_SEND if slot.kind & (SEND | DEAD) != 0 && left > 0 => {
                slot.taken += 1;
                Ok(())
            }
            msgt::MOVE_SEND_ONCE if slot.kind & (SEND_ONCE | DEAD) != 0 && left > 0 => {
                slot.taken += 1;
                Ok(())
            }
            _ => Err(()),
        }
    }

    /// Forgets the marks of [`Self::right_mark`] on a name.
    pub(crate) fn right_unmark(&mut self, task: Ref<Task>, name: u32) {
        if let Some(s) = self.name_slot(task, name) {
            let slot = self.slot_mut(s);
            slot.taken = 0;
            slot.kind &= !TAKES_RECEIVE;
        }
    }

    /// Takes a right, checked by [`Self::right_mark`], out of a task's name space.
    pub(crate) fn right_take(&mut self, task: Ref<Task>, name: u32, disposition: u32) -> Right {
        if name == MACH_PORT_NULL {
            return Right::NULL;
        }
        let Some(s) = self.name_slot(task, name) else { return Right::DEAD };
        let slot = self.slot_mut(s);
        slot.taken = 0;
        slot.kind &= !TAKES_RECEIVE;
        let RightSlot { port, kind, urefs, .. } = *slot;
        if kind & DEAD != 0 {
            if disposition != msgt::COPY_SEND {
                self.name_release_ref(task, name);
            }
            return Right::DEAD;
        }
        match disposition {
            msgt::MAKE_SEND => {
                let p = self.get_mut(port);
                p.make_send = p.make_send.wrapping_add(1);
                self.send_copy(port)
            }
            msgt::MAKE_SEND_ONCE => self.send_once_new(port),
            msgt::COPY_SEND => self.send_copy(port),
            msgt::MOVE_SEND => {
                if urefs > 1 {
                    self.slot_mut(s).urefs -= 1;
                    return self.send_copy(port);
                }
                self.name_lose(task, name, SEND);
                Right { port, kind: SEND }
            }
            msgt::MOVE_SEND_ONCE => {
                self.name_lose(task, name, SEND_ONCE);
                Right { port, kind: SEND_ONCE }
            }
            _ => {
                self.name_lose(task, name, RECEIVE);
                self.receive_right_leaves(port);
                Right { port, kind: RECEIVE }
            }
        }
    }

    /// A receive right leaves its task: the port leaves its set, starts its counters anew, and nobody waits on it any more.
    fn receive_right_leaves(&mut self, port: Ref<Port>) {
        self.set_remove(port);
        self.wake_receivers(port, MACH_RCV_PORT_DIED);
        let p = self.get_mut(port);
        p.receiver = Ref::NONE;
        p.receive_name = 0;
        p.seqno = 0;
        p.make_send = 0;
    }

    /// Checks and takes in one step; `None`: the task has no such right.
    pub(crate) fn right_get(&mut self, task: Ref<Task>, name: u32, disposition: u32) -> Option<Right> {
        if self.right_mark(task, name, disposition).is_err() {
            return None;
        }
        if name == MACH_PORT_DEAD {
            return Some(Right::DEAD);
        }
        Some(self.right_take(task, name, disposition))
    }
}
