//! Ports: their creation and their death.
//!
//! A port dies at once (`state`), and by steps for everything that refers to it: waiting threads, queued messages, slots, prepared notifications; then its object is freed.
//! Dying ports are on a list of the kernel. A port that dies because a message with its receive right is destroyed only joins the list, so nothing recurses.
//! Whoever meets a slot of a dying port before the steps have come to it makes that slot dead first.

use core::mem::offset_of;

use drover_abi::port::QLIMIT_DEFAULT;
use drover_abi::returns::MACH_RCV_PORT_DIED;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::account::Payer;
use crate::activation::Activation;
use crate::kernel::{Kernel, Stop};
use crate::machine::Machine;
use crate::message::Message;
use crate::object::{Head, Kind, Object, Ref};
use crate::right::{
    DEAD, PLACE_CALL, PLACE_MESSAGE, PLACE_NAME, PLACE_SPECIAL, Right, RightSlot, SlotRef, WEAK,
};
use crate::task::Task;
use crate::thread::Thread;

/// `head.flags`: a message port (bounded queue).
pub const MESSAGE: u8 = 0;
/// `head.flags`: an RPC port (no queue; a call migrates).
pub const RPC: u8 = 1;
/// `head.flags`: a kernel object's port.
pub const KERNEL: u8 = 2;
/// `head.flags`: a port set.
pub const SET: u8 = 3;

/// A port or port set.
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable)]
pub struct Port {
    /// `flags`: what kind of port; `state`: 0 alive, 1 dying.
    pub head: Head,
    /// Task that holds the receive right; none while it travels.
    pub receiver: Ref<Task>,
    /// First slot of the list of references.
    pub slots: SlotRef,
    /// Name of the receive right in `receiver`.
    pub receive_name: u32,
    /// Send rights.
    pub send_rights: u32,
    /// Send-once rights.
    pub send_once_rights: u32,
    /// Make-send count.
    pub make_send: u32,
    /// Next sequence number.
    pub seqno: u32,
    /// Queue limit.
    pub queue_limit: u32,
    /// Messages queued.
    pub queued: u32,
    /// First message.
    pub queue_head: Ref<Message>,
    /// Last message.
    pub queue_tail: Ref<Message>,
    /// Threads waiting to receive.
    pub receivers: Ref<Thread>,
    /// The last of them.
    pub receivers_tail: Ref<Thread>,
    /// Threads waiting to send.
    pub senders: Ref<Thread>,
    /// The last of them.
    pub senders_tail: Ref<Thread>,
    /// The set that it is a member of.
    pub set: Ref<Port>,
    /// Set: first member. Member: next member.
    pub member: Ref<Port>,
    /// Member: previous member.
    pub member_prev: Ref<Port>,
    /// Prepared no-senders notification.
    pub no_senders: Ref<Message>,
    /// Prepared port-destroyed notification.
    pub destroyed: Ref<Message>,
    /// Send-once notifications to be received (they have no contents, so a count holds them).
    pub send_once_died: u32,
    /// Kernel object: a [`Kind`] or 0x80 and up for the host and devices.
    pub object_kind: u32,
    /// Kernel object: raw reference.
    pub object: u32,
    /// Protected payload.
    pub payload: u64,
    /// 1: `payload` is set.
    pub has_payload: u32,
    /// RPC: calls in flight.
    pub calls: u32,
    /// RPC: entry point.
    pub entry: u64,
    /// RPC: unwind entry, 0 = none.
    pub unwind_entry: u64,
    /// RPC: unwind reserve, CPU in ns.
    pub unwind_cpu: u64,
    /// RPC: unwind reserve, frames.
    pub unwind_frames: u64,
    /// RPC: calls ever made.
    pub calls_total: u64,
    /// RPC: exits that overran the reserve.
    pub overruns: u64,
    /// List of dying ports.
    pub(crate) dying_next: Ref<Port>,
    /// List of dying ports.
    pub(crate) dying_prev: Ref<Port>,
    /// Set: first member that has something to receive. Such a member: the next one.
    pub(crate) ready: Ref<Port>,
    /// Set: last member that has something to receive. Such a member: the previous one.
    pub(crate) ready_prev: Ref<Port>,
    /// 1: on its set's list of members that have something to receive.
    pub(crate) in_ready: u32,
    /// The call on whose behalf it was made (payer mode CALL), none otherwise: it dies with the call.
    pub call: Ref<Activation>,
    /// List of that call's ports.
    pub call_next: Ref<Port>,
    /// List of that call's ports.
    pub call_prev: Ref<Port>,
    pad: [u8; 64],
}

impl Object for Port {
    const KIND: Kind = Kind::Port;
}

/// `head.state`: alive.
pub const PORT_ALIVE: u16 = 0;
/// `head.state`: dead; its slots, waiters and messages are being ended.
pub const PORT_DYING: u16 = 1;

/// Steps of ending dead ports that one kernel operation does at most.
const REAP_STEPS: u32 = 256;

impl<M: Machine> Kernel<M> {
    /// A new port without any right: [`MESSAGE`], [`RPC`] or [`SET`]. The object is charged to `payer`.
    ///
    /// # Errors
    /// `KERN_RESOURCE_SHORTAGE`.
    pub fn port_create(&mut self, payer: Payer, flags: u8) -> Result<Ref<Port>, Stop> {
        let port = self.new_object::<Port>(payer)?;
        let p = self.get_mut(port);
        p.head.flags = flags;
        p.queue_limit = QLIMIT_DEFAULT;
        if payer.call.is_some() && flags != KERNEL && self.get(payer.call).lower.is_some() {
            let next = self.get(payer.call).ports;
            let p = self.get_mut(port);
            (p.call, p.call_next) = (payer.call, next);
            if next.is_some() {
                self.get_mut(next).call_prev = port;
            }
            self.get_mut(payer.call).ports = port;
        }
        Ok(port)
    }

    /// Takes a port off the list of the call that it was made in.
    fn port_leave_call(&mut self, port: Ref<Port>) {
        let p = *self.get(port);
        if p.call.is_none() {
            return;
        }
        if p.call_prev.is_some() {
            self.get_mut(p.call_prev).call_next = p.call_next;
        } else {
            self.get_mut(p.call).ports = p.call_next;
        }
        if p.call_next.is_some() {
            self.get_mut(p.call_next).call_prev = p.call_prev;
        }
        self.get_mut(port).call = Ref::NONE;
    }

    /// Ends the ports that were made on behalf of a call: nothing stays charged to the caller after the reply.
    ///
    /// # Errors
    /// `Stop::Again`: there are more.
    pub(crate) fn call_ports_kill(&mut self, act: Ref<Activation>) -> Result<(), Stop> {
        while self.get(act).ports.is_some() {
            self.port_kill(self.get(act).ports)?;
        }
        Ok(())
    }

    /// A kernel object's port. `object`: its raw reference.
    ///
    /// # Errors
    /// `KERN_RESOURCE_SHORTAGE`.
    pub fn kernel_port(&mut self, payer: Payer, kind: Kind, object: u32) -> Result<Ref<Port>, Stop> {
        let port = self.port_create(payer, KERNEL)?;
        let p = self.get_mut(port);
        (p.object_kind, p.object) = (kind as u32, object);
        Ok(port)
    }

    /// Puts a send right to `port` (or none) into the slot of a special port, in place of what was there. `holder`: raw reference of the task or thread.
    pub fn special_set(&mut self, slot: SlotRef, port: Ref<Port>, holder: u32) {
        let new = if port.is_some() { self.send_copy(port) } else { Right::NULL };
        self.drop_right(slot);
        self.slot_put(slot, new, PLACE_SPECIAL, holder);
    }

    /// The port of a special port's slot; none if it is null or dead.
    pub fn special_get(&self, slot: SlotRef) -> Ref<Port> {
        let port = self.slot(slot).port;
        if port.is_some() && self.get(port).head.state == PORT_ALIVE { port } else { Ref::NONE }
    }

    /// Notes that an activation is in a call through `port`: the count of calls, and a slot so that the port's death is noticed.
    pub(crate) fn call_link(&mut self, act: Ref<Activation>, port: Ref<Port>) {
        let slot = SlotRef::in_object(act, offset_of!(Activation, port_slot));
        self.slot_put(slot, Right { port, kind: WEAK }, PLACE_CALL, act.raw());
        self.get_mut(act).port = port;
        self.get_mut(port).calls += 1;
    }

    /// Undoes [`Self::call_link`]; fine if the port has died since.
    pub(crate) fn call_unlink(&mut self, act: Ref<Activation>) {
        let port = self.get(act).port;
        if port.is_none() {
            return;
        }
        self.slot_unlink(SlotRef::in_object(act, offset_of!(Activation, port_slot)));
        let a = self.get_mut(act);
        a.port = Ref::NONE;
        a.port_slot = RightSlot::default();
        self.get_mut(port).calls -= 1;
    }

    /// The receive right of a live port is destroyed: the requester of "port destroyed" gets it, or the port dies.
    pub(crate) fn receive_right_gone(&mut self, port: Ref<Port>) {
        self.set_remove(port);
        let p = self.get_mut(port);
        (p.receiver, p.receive_name) = (Ref::NONE, 0);
        let request = p.destroyed;
        if request.is_some() && self.notify_destroyed(port, request) {
            self.wake_receivers(port, MACH_RCV_PORT_DIED);
            let p = self.get_mut(port);
            (p.seqno, p.make_send) = (0, 0);
            return;
        }
        self.port_die(port);
    }

    /// A port (or set) is dead from now on; the rest is done in steps by [`Self::reap`].
    pub(crate) fn port_die(&mut self, port: Ref<Port>) {
        if self.get(port).head.state != PORT_ALIVE {
            return;
        }
        self.set_remove(port);
        let head = self.dying;
        let p = self.get_mut(port);
        p.head.state = PORT_DYING;
        (p.receiver, p.receive_name) = (Ref::NONE, 0);
        p.dying_next = head;
        if head.is_some() {
            self.get_mut(head).dying_prev = port;
        }
        self.dying = port;
    }

    /// Makes a slot of a dying port dead.
    pub(crate) fn slot_die(&mut self, s: SlotRef) {
        let slot = *self.slot(s);
        match slot.place {
            PLACE_NAME => self.name_die(s),
            PLACE_CALL => {
                self.slot_unlink(s);
                self.get_mut(slot.port).calls -= 1;
                let a = self.get_mut(Ref::<Activation>::from_raw(slot.holder));
                a.port = Ref::NONE;
                a.port_slot = RightSlot::default();
            }
            _ => {
                self.count_off(slot.port, slot.kind);
                self.slot_unlink(s);
                let kind = if slot.place == PLACE_MESSAGE { DEAD } else { 0 };
                *self.slot_mut(s) =
                    RightSlot { kind, place: slot.place, holder: slot.holder, ..RightSlot::default() };
            }
        }
    }

    /// One step of ending a dead port; whether it is gone now.
    fn reap_step(&mut self, port: Ref<Port>) -> bool {
        let p = *self.get(port);
        if p.receivers.is_some() {
            self.wake(p.receivers, MACH_RCV_PORT_DIED);
        } else if p.senders.is_some() {
            // They try again, and find the name dead.
            self.wake(p.senders, 0);
        } else if p.head.flags == SET && p.member.is_some() {
            self.set_remove(p.member);
        } else if p.queue_head.is_some() {
            self.queue_remove(port, p.queue_head);
            self.message_destroy(p.queue_head);
        } else if p.slots.is_some() {
            self.slot_die(p.slots);
        } else if p.object_kind == Kind::Memory as u32 {
            // The port holds a reference to its memory object.
            if self.memory_port_gone(Ref::from_raw(p.object)).is_ok() {
                self.get_mut(port).object_kind = 0;
            }
        } else {
            for prepared in [p.no_senders, p.destroyed] {
                if prepared.is_some() {
                    self.message_destroy_prepared(prepared);
                }
            }
            if p.dying_prev.is_some() {
                self.get_mut(p.dying_prev).dying_next = p.dying_next;
            } else {
                self.dying = p.dying_next;
            }
            if p.dying_next.is_some() {
                self.get_mut(p.dying_next).dying_prev = p.dying_prev;
            }
            self.port_leave_call(port);
            self.free_object(port);
            return true;
        }
        false
    }

    /// Does a bounded part of ending dead ports. Called at the end of operations that may end ports, and between operations while [`Self::ports_dying`].
    pub fn reap(&mut self) {
        let mut steps = REAP_STEPS;
        while self.dying.is_some() && steps > 0 {
            self.reap_step(self.dying);
            steps -= 1;
        }
    }

    /// Whether dead ports are still being ended.
    pub fn ports_dying(&self) -> bool {
        self.dying.is_some()
    }

    /// Ends a port, its object too, because its payer's account or its kernel object is being destroyed.
    ///
    /// # Errors
    /// `Stop::Again`: there is more; call again with the same port.
    pub fn port_kill(&mut self, port: Ref<Port>) -> Result<(), Stop> {
        self.port_die(port);
        for _ in 0..REAP_STEPS {
            if self.reap_step(port) {
                return Ok(());
            }
        }
        Err(Stop::Again)
    }
}
