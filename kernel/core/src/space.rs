//! Port name spaces: the names of a task.
//!
//! A directory frame holds 512 table frames (128 slots each: names 1 to 65535) and 512 hash buckets by which the name of a port is found.
//! Send and receive rights to one port share a name; every send-once right has its own. Freed names are on a doubly linked list through their slots; names from
//! `names_top` on were never given out by the kernel (a task may take one by `mach_port_allocate_name`; the kernel then skips it).
//!
//! All frames are charged to the task's own account, whoever's call puts a name there, so that no account's end takes a part of a living name space away. Table
//! frames stay until the name space is destroyed.

use core::mem::offset_of;

use drover_abi::port::{MACH_PORT_DEAD, MACH_PORT_NULL};
use drover_abi::returns::{
    KERN_INVALID_ARGUMENT, KERN_INVALID_NAME, KERN_INVALID_RIGHT, KERN_INVALID_TASK, KERN_NAME_EXISTS,
    KERN_NO_SPACE,
};

use crate::account::Payer;
use crate::frame::{FrameKind, NONE};
use crate::kernel::{Kernel, Stop};
use crate::machine::{Frame, Machine};
use crate::message::Message;
use crate::object::{Kind, Ref};
use crate::port::{KERNEL, Port};
use crate::right::{
    DEAD, PLACE_FREE, PLACE_NAME, PORT_SET, RECEIVE, Right, RightSlot, SEND, SEND_ONCE, SlotRef,
};
use crate::task::Task;

/// Largest name.
pub const MAX_NAME: u32 = 0xffff;
/// Slots in a table frame.
const TABLE: u32 = 128;
/// Hash buckets (and table frames) of a directory.
const BUCKETS: u32 = 512;
/// Names visited by one step of the destruction.
const DESTROY_STEP: u32 = 256;
/// Names skipped in one step because the task took them itself.
const SKIP_STEP: u32 = 1024;

const _: () = assert!(offset_of!(RightSlot, port) == 0);

fn bucket(port: Ref<Port>) -> u32 {
    port.raw().wrapping_mul(0x9e37_79b1) >> 23
}

impl<M: Machine> Kernel<M> {
    /// A new, empty name space: its directory frame.
    ///
    /// # Errors
    /// `KERN_RESOURCE_SHORTAGE`.
    pub fn names_create(&mut self, payer: Payer) -> Result<Frame, Stop> {
        self.new_frame(payer, FrameKind::PortTable)
    }

    fn directory_word(&self, directory: Frame, index: u32) -> u32 {
        let at = index as usize * 4;
        let page = &self.machine.page(directory).0;
        u32::from_le_bytes([page[at], page[at + 1], page[at + 2], page[at + 3]])
    }

    fn set_directory_word(&mut self, directory: Frame, index: u32, value: u32) {
        let at = index as usize * 4;
        self.machine.page_mut(directory).0[at..at + 4].copy_from_slice(&value.to_le_bytes());
    }

    /// The slot of a name, in use or not; `None`: there is no table for it.
    fn name_place(&self, task: Ref<Task>, name: u32) -> Option<SlotRef> {
        let directory = self.get(task).names;
        if name == MACH_PORT_NULL || name > MAX_NAME || directory == NONE {
            return None;
        }
        let table = self.directory_word(directory, name / TABLE);
        (table != NONE).then_some(SlotRef((table << 7) | (name % TABLE)))
    }

    /// The slot of a free name, for the tests' view of the list.
    #[cfg(test)]
    pub(crate) fn name_free_slot(&self, task: Ref<Task>, name: u32) -> SlotRef {
        self.name_place(task, name).expect("a free name has a table")
    }

    /// The slot of a name in use.
    pub(crate) fn name_slot(&self, task: Ref<Task>, name: u32) -> Option<SlotRef> {
        self.name_place(task, name).filter(|s| self.slot(*s).kind != 0)
    }

    /// The slot of a name in use; made dead first if its port is dying and the news has not come to it yet.
    pub(crate) fn name_check(&mut self, task: Ref<Task>, name: u32) -> Option<SlotRef> {
        let s = self.name_slot(task, name)?;
        let port = self.slot(s).port;
        if port.is_some() && self.get(port).head.state != 0 {
            self.slot_die(s);
            // A name is freed only when it was a port set.
            return self.name_slot(task, name);
        }
        Some(s)
    }

    /// Name of `port` in `task` (of its send or receive right, or its port set); 0 = none.
    pub(crate) fn name_of(&self, task: Ref<Task>, port: Ref<Port>) -> u32 {
        let directory = self.get(task).names;
        if directory == NONE {
            return 0;
        }
        let mut name = self.directory_word(directory, BUCKETS + bucket(port));
        while let Some(s) = self.name_slot(task, name) {
            let slot = self.slot(s);
            if slot.port == port {
                return name;
            }
            name = slot.hash_next;
        }
        0
    }

    fn hash_add(&mut self, task: Ref<Task>, name: u32, s: SlotRef) {
        let directory = self.get(task).names;
        let index = BUCKETS + bucket(self.slot(s).port);
        let head = self.directory_word(directory, index);
        self.slot_mut(s).hash_next = head;
        self.set_directory_word(directory, index, name);
    }

    fn hash_remove(&mut self, task: Ref<Task>, name: u32, s: SlotRef) {
        let directory = self.get(task).names;
        let RightSlot { port, hash_next, .. } = *self.slot(s);
        let index = BUCKETS + bucket(port);
        let mut at = self.directory_word(directory, index);
        if at == name {
            self.set_directory_word(directory, index, hash_next);
            return;
        }
        while let Some(before) = self.name_slot(task, at) {
            at = self.slot(before).hash_next;
            if at == name {
                self.slot_mut(before).hash_next = hash_next;
                return;
            }
        }
        debug_assert!(false, "name {name} is not in its bucket");
    }

    /// Makes sure that there is a table for `name`.
    fn name_table(&mut self, task: Ref<Task>, name: u32) -> Result<SlotRef, Stop> {
        if let Some(s) = self.name_place(task, name) {
            return Ok(s);
        }
        let payer = Payer::account(self.get(task).account);
        let table = self.new_frame(payer, FrameKind::PortTable)?;
        let directory = self.get(task).names;
        self.set_directory_word(directory, name / TABLE, table);
        Ok(SlotRef((table << 7) | (name % TABLE)))
    }

    /// Makes sure that the next `count` names can be given out without failing.
    ///
    /// # Errors
    /// `KERN_INVALID_TASK` (no name space any more), `KERN_NO_SPACE`, `KERN_RESOURCE_SHORTAGE`; `Stop::Again` after skipping many names.
    pub(crate) fn names_reserve(&mut self, task: Ref<Task>, count: u32) -> Result<(), Stop> {
        if self.get(task).names == NONE || self.get(task).head.state != 0 {
            return Err(Stop::Error(KERN_INVALID_TASK));
        }
        let mut skipped = 0;
        while self.get(task).names_freed < count {
            let name = self.get(task).names_top.max(1);
            if name > MAX_NAME {
                return Err(Stop::Error(KERN_NO_SPACE));
            }
            let s = self.name_table(task, name)?;
            self.get_mut(task).names_top = name + 1;
            if self.slot(s).kind == 0 {
                self.name_free(task, name, s);
                continue;
            }
            skipped += 1;
            if skipped == SKIP_STEP {
                return Err(Stop::Again);
            }
        }
        Ok(())
    }

    /// Puts an empty slot on the list of free names (unless the kernel has not come to it yet).
    fn name_free(&mut self, task: Ref<Task>, name: u32, s: SlotRef) {
        let t = self.get(task);
        if name >= t.names_top {
            *self.slot_mut(s) = RightSlot::default();
            return;
        }
        let head = t.names_free;
        *self.slot_mut(s) = RightSlot { place: PLACE_FREE, hash_next: head, ..RightSlot::default() };
        if let Some(next) = self.name_place(task, head) {
            self.slot_mut(next).prev = SlotRef(name);
        }
        let t = self.get_mut(task);
        t.names_free = name;
        t.names_freed += 1;
    }

    /// Takes a free name off the list, if it is on it.
    fn name_claim(&mut self, task: Ref<Task>, s: SlotRef) {
        let slot = *self.slot(s);
        if slot.place != PLACE_FREE {
            return;
        }
        // In a free slot `prev` holds a name.
        if let Some(before) = self.name_place(task, slot.prev.0) {
            self.slot_mut(before).hash_next = slot.hash_next;
        } else {
            self.get_mut(task).names_free = slot.hash_next;
        }
        if let Some(after) = self.name_place(task, slot.hash_next) {
            self.slot_mut(after).prev = slot.prev;
        }
        self.get_mut(task).names_freed -= 1;
        *self.slot_mut(s) = RightSlot::default();
    }

    /// A free name.
    fn name_new(&mut self, task: Ref<Task>) -> Result<(u32, SlotRef), Stop> {
        self.names_reserve(task, 1)?;
        let name = self.get(task).names_free;
        let s = self.name_place(task, name).expect("a free name has a table");
        self.name_claim(task, s);
        Ok((name, s))
    }

    /// A name of the task's choice.
    ///
    /// # Errors
    /// `KERN_NAME_EXISTS`; `KERN_NO_SPACE` (above 65535); `KERN_INVALID_TASK`; `KERN_RESOURCE_SHORTAGE`.
    pub(crate) fn name_choose(&mut self, task: Ref<Task>, name: u32) -> Result<SlotRef, Stop> {
        if self.get(task).names == NONE || self.get(task).head.state != 0 {
            return Err(Stop::Error(KERN_INVALID_TASK));
        }
        if name > MAX_NAME {
            return Err(Stop::Error(KERN_NO_SPACE));
        }
        let s = self.name_table(task, name)?;
        if self.slot(s).kind != 0 {
            return Err(Stop::Error(KERN_NAME_EXISTS));
        }
        Ok(s)
    }

    /// Fills a free slot with a right in hand.
    pub(crate) fn name_fill(&mut self, task: Ref<Task>, name: u32, s: SlotRef, right: Right) {
        self.name_claim(task, s);
        let urefs = u16::from(right.kind & (SEND | SEND_ONCE | DEAD) != 0);
        *self.slot_mut(s) = RightSlot {
            kind: right.kind,
            place: PLACE_NAME,
            urefs,
            holder: task.raw(),
            name: name as u16,
            ..RightSlot::default()
        };
        if right.port.is_some() {
            self.slot_link(s, right.port);
            if right.kind != SEND_ONCE {
                self.hash_add(task, name, s);
            }
        }
        self.get_mut(task).names_used += 1;
        self.receive_arrives(task, name, right);
    }

    fn receive_arrives(&mut self, task: Ref<Task>, name: u32, right: Right) {
        if right.kind == RECEIVE {
            let p = self.get_mut(right.port);
            (p.receiver, p.receive_name) = (task, name);
        }
    }

    /// Adds a right in hand to the name that its port has already.
    pub(crate) fn name_add(&mut self, task: Ref<Task>, name: u32, s: SlotRef, right: Right) {
        let slot = self.slot_mut(s);
        if right.kind == RECEIVE {
            slot.kind |= RECEIVE;
            let port = right.port;
            self.slot_unlink(s);
            self.slot_link(s, port);
            self.receive_arrives(task, name, right);
        } else if slot.kind & SEND == 0 {
            slot.kind |= SEND;
            slot.urefs = 1;
        } else {
            // One counted right per name; the user references saturate, as on Mach when a message brings the right.
            slot.urefs = slot.urefs.saturating_add(1);
            self.get_mut(right.port).send_rights -= 1;
        }
    }

    /// Puts a right in hand into a task: its name. Null and dead rights have theirs.
    ///
    /// # Errors
    /// Those of [`Self::names_reserve`]; the right is still in hand then.
    pub(crate) fn right_give(&mut self, task: Ref<Task>, right: Right) -> Result<u32, Stop> {
        if right.kind == 0 {
            return Ok(MACH_PORT_NULL);
        }
        if right.port.is_none() {
            return Ok(MACH_PORT_DEAD);
        }
        if right.kind != SEND_ONCE {
            let name = self.name_of(task, right.port);
            if let Some(s) = self.name_slot(task, name) {
                self.name_add(task, name, s, right);
                return Ok(name);
            }
        }
        let (name, s) = self.name_new(task)?;
        self.name_fill(task, name, s, right);
        Ok(name)
    }

    /// Puts a fresh right (a new port's, or a dead name) under a reserved name.
    pub(crate) fn name_take(&mut self, task: Ref<Task>, right: Right) -> u32 {
        let name = self.get(task).names_free;
        if let Some(s) = self.name_place(task, name) {
            self.name_fill(task, name, s, right);
        }
        name
    }

    /// Moves what `old` names to the free slot `to` of the name `new`.
    pub(crate) fn name_move(&mut self, task: Ref<Task>, old: u32, new: u32, to: SlotRef) {
        let Some(from) = self.name_slot(task, old) else { return };
        let slot = *self.slot(from);
        let hashed = slot.port.is_some() && slot.kind & SEND_ONCE == 0;
        if hashed {
            self.hash_remove(task, old, from);
        }
        if slot.port.is_some() {
            self.slot_unlink(from);
        }
        self.slot_mut(from).kind = 0;
        self.name_free(task, old, from);
        self.name_claim(task, to);
        *self.slot_mut(to) = RightSlot {
            kind: slot.kind,
            place: PLACE_NAME,
            urefs: slot.urefs,
            holder: slot.holder,
            name: new as u16,
            request: slot.request,
            ..RightSlot::default()
        };
        if slot.port.is_some() {
            self.slot_link(to, slot.port);
        }
        if hashed {
            self.hash_add(task, new, to);
        }
        if slot.kind & RECEIVE != 0 {
            self.get_mut(slot.port).receive_name = new;
        }
        if slot.request != 0 {
            self.get_mut(Ref::<Message>::from_raw(slot.request)).of = to.0;
        }
    }

    /// Takes `what` ([`SEND`], [`RECEIVE`], [`SEND_ONCE`] or [`PORT_SET`]) out of a name; the right is in hand then. The name is freed if nothing is left.
    pub(crate) fn name_lose(&mut self, task: Ref<Task>, name: u32, what: u8) {
        let Some(s) = self.name_slot(task, name) else { return };
        let slot = self.slot_mut(s);
        slot.kind &= !what;
        if what != RECEIVE {
            slot.urefs = 0;
        }
        if slot.kind != 0 {
            return;
        }
        if what != SEND_ONCE {
            // The bucket is found by the port.
            slot.kind = what;
            self.hash_remove(task, name, s);
        }
        self.slot_unlink(s);
        self.name_end(task, name, s);
    }

    /// Frees a name that refers to no port any more; a dead-name request turns into the notification "name deleted".
    fn name_end(&mut self, task: Ref<Task>, name: u32, s: SlotRef) {
        let request = self.slot(s).request;
        self.slot_mut(s).kind = 0;
        self.name_free(task, name, s);
        self.get_mut(task).names_used -= 1;
        if request != 0 {
            self.notify_deleted(Ref::from_raw(request), name);
        }
    }

    /// Drops one user reference of a dead name.
    pub(crate) fn name_release_ref(&mut self, task: Ref<Task>, name: u32) {
        let Some(s) = self.name_slot(task, name) else { return };
        let slot = self.slot_mut(s);
        slot.urefs -= 1;
        if slot.urefs == 0 {
            self.name_end(task, name, s);
        }
    }

    /// Destroys all rights of a name (`mach_port_destroy`).
    pub(crate) fn name_destroy(&mut self, task: Ref<Task>, name: u32) {
        let Some(s) = self.name_check(task, name) else { return };
        let RightSlot { port, kind, .. } = *self.slot(s);
        if kind & DEAD != 0 {
            self.slot_mut(s).urefs = 0;
            self.name_end(task, name, s);
            return;
        }
        // The receive right first: send rights of a dead port fire no notification.
        for what in [RECEIVE, SEND, SEND_ONCE, PORT_SET] {
            if kind & what == 0 {
                continue;
            }
            self.name_lose(task, name, what);
            if what == PORT_SET {
                self.port_die(port);
            } else {
                self.right_drop(Right { port, kind: what });
            }
        }
    }

    /// The port of a live slot of this name in the table of a task becomes dead: what the name is then. Called with the slot still on the port's list.
    pub(crate) fn name_die(&mut self, s: SlotRef) {
        let RightSlot { port, kind, urefs, holder, name, request, .. } = *self.slot(s);
        let task = Ref::<Task>::from_raw(holder);
        let name = u32::from(name);
        for what in [SEND, SEND_ONCE] {
            if kind & what != 0 {
                self.count_off(port, what);
            }
        }
        if kind & SEND_ONCE == 0 {
            self.hash_remove(task, name, s);
        }
        self.slot_unlink(s);
        if kind & PORT_SET != 0 {
            self.name_end(task, name, s);
            return;
        }
        let extra = u16::from(request != 0);
        let slot = self.slot_mut(s);
        slot.kind = DEAD;
        slot.request = 0;
        slot.urefs = urefs.max(1).saturating_add(extra);
        if request != 0 {
            self.notify_dead(Ref::from_raw(request), name);
        }
    }

    /// Adds a send right to `port` to a task: its name, with one more user reference.
    ///
    /// # Errors
    /// Those of [`Self::names_reserve`].
    pub fn insert_send(&mut self, task: Ref<Task>, port: Ref<Port>, _: Payer) -> Result<u32, Stop> {
        let right = self.send_copy(port);
        self.right_give(task, right).inspect_err(|_| self.count_off(port, SEND))
    }

    /// Adds a send-once right to `port` to a task: its name.
    ///
    /// # Errors
    /// Those of [`Self::names_reserve`].
    pub fn insert_send_once(&mut self, task: Ref<Task>, port: Ref<Port>, _: Payer) -> Result<u32, Stop> {
        let right = self.send_once_new(port);
        self.right_give(task, right).inspect_err(|_| self.count_off(port, SEND_ONCE))
    }

    /// Gives the receive right of a new port to a task: its name.
    ///
    /// # Errors
    /// Those of [`Self::names_reserve`].
    pub fn insert_receive(&mut self, task: Ref<Task>, port: Ref<Port>, _: Payer) -> Result<u32, Stop> {
        debug_assert!(self.get(port).receiver.is_none());
        self.right_give(task, Right { port, kind: RECEIVE })
    }

    /// The port of a send, send-once or receive right.
    ///
    /// # Errors
    /// `KERN_INVALID_NAME`; `KERN_INVALID_RIGHT` (dead name, port set).
    pub fn port_of_send(&mut self, task: Ref<Task>, name: u32) -> Result<Ref<Port>, Stop> {
        let s = self.name_check(task, name).ok_or(Stop::Error(KERN_INVALID_NAME))?;
        let slot = self.slot(s);
        if slot.kind & (SEND | SEND_ONCE | RECEIVE) == 0 {
            return Err(Stop::Error(KERN_INVALID_RIGHT));
        }
        Ok(slot.port)
    }

    /// The port of a receive right.
    ///
    /// # Errors
    /// `KERN_INVALID_NAME`; `KERN_INVALID_RIGHT`.
    pub fn port_of_receive(&mut self, task: Ref<Task>, name: u32) -> Result<Ref<Port>, Stop> {
        let s = self.name_check(task, name).ok_or(Stop::Error(KERN_INVALID_NAME))?;
        let slot = self.slot(s);
        if slot.kind & RECEIVE == 0 {
            return Err(Stop::Error(KERN_INVALID_RIGHT));
        }
        Ok(slot.port)
    }

    /// The set of a port set's name.
    ///
    /// # Errors
    /// `KERN_INVALID_NAME`; `KERN_INVALID_RIGHT`.
    pub(crate) fn set_of(&mut self, task: Ref<Task>, name: u32) -> Result<Ref<Port>, Stop> {
        let s = self.name_check(task, name).ok_or(Stop::Error(KERN_INVALID_NAME))?;
        let slot = self.slot(s);
        if slot.kind & PORT_SET == 0 {
            return Err(Stop::Error(KERN_INVALID_RIGHT));
        }
        Ok(slot.port)
    }

    /// The kernel object of kind `kind` that a send right names: its raw reference.
    ///
    /// # Errors
    /// `KERN_INVALID_TASK` when a task was asked for, else `KERN_INVALID_ARGUMENT`.
    pub fn kernel_object(&mut self, task: Ref<Task>, name: u32, kind: Kind) -> Result<u32, Stop> {
        let wrong = Stop::Error(if kind == Kind::Task { KERN_INVALID_TASK } else { KERN_INVALID_ARGUMENT });
        let port = self.port_of_send(task, name).map_err(|_| wrong)?;
        let p = self.get(port);
        if p.head.flags != KERNEL || p.object_kind != kind as u32 || p.object == 0 {
            return Err(wrong);
        }
        Ok(p.object)
    }

    /// The next name in use after `after`: (name, slot); to list a name space.
    pub(crate) fn name_after(&self, task: Ref<Task>, after: u32) -> Option<(u32, SlotRef)> {
        let directory = self.get(task).names;
        if directory == NONE {
            return None;
        }
        let mut name = after + 1;
        while name <= MAX_NAME {
            if self.directory_word(directory, name / TABLE) == NONE {
                name = (name / TABLE + 1) * TABLE;
                continue;
            }
            if let Some(s) = self.name_slot(task, name) {
                return Some((name, s));
            }
            name += 1;
        }
        None
    }

    /// Destroys a name space with every right in it, a bounded part at a time. The task must be dying (or never have run).
    ///
    /// # Errors
    /// `Stop::Again`: there is more.
    pub fn names_destroy(&mut self, task: Ref<Task>) -> Result<(), Stop> {
        let directory = self.get(task).names;
        if directory == NONE {
            return Ok(());
        }
        let mut left = DESTROY_STEP;
        for index in 0..BUCKETS {
            let table = self.directory_word(directory, index);
            if table == NONE {
                continue;
            }
            for name in index * TABLE..(index + 1) * TABLE {
                if self.name_slot(task, name).is_none() {
                    continue;
                }
                if left == 0 {
                    self.reap();
                    return Err(Stop::Again);
                }
                left -= 1;
                self.name_destroy(task, name);
            }
            // Free names of this table are on the list; nobody takes one any more.
            self.set_directory_word(directory, index, NONE);
            self.free_frame(table);
        }
        let t = self.get_mut(task);
        (t.names, t.names_free, t.names_freed, t.names_top) = (NONE, 0, 0, 0);
        self.free_frame(directory);
        self.reap();
        Ok(())
    }
}
