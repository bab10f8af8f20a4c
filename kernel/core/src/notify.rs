//! Notifications: paid for when requested, never allocated when fired.
//!
//! A request is a [`Message`] charged to the requester, with the send-once right in it; firing fills it in and puts it into the queue. The one without contents,
//! "send-once right died" (71), is a count in the port. Notifications go to message ports only; one whose port has died meanwhile is just freed.

use drover_abi::message::{BITS_COMPLEX, TypeWord, bits, msgt};
use drover_abi::port::{
    NOTIFY_DEAD_NAME, NOTIFY_MSG_ACCEPTED, NOTIFY_NO_SENDERS, NOTIFY_PORT_DELETED, NOTIFY_PORT_DESTROYED,
};

use crate::account::Payer;
use crate::kernel::{Kernel, Stop};
use crate::machine::Machine;
use crate::message::{IN_HAND, Message};
use crate::object::{Kind, Ref};
use crate::port::{KERNEL, MESSAGE, PORT_ALIVE, Port};
use crate::right::{PLACE_MESSAGE, RECEIVE, Right};

/// Bytes of a notification with contents.
const NOTIFICATION: u32 = 48;
/// Hops that the search for a cycle of receive rights follows.
const CYCLE_HOPS: u32 = 64;

impl<M: Machine> Kernel<M> {
    /// Prepares a notification: one of the `PREPARED_` kinds, `of` what it is about. The send-once right is attached by [`Self::notify_arm`].
    ///
    /// # Errors
    /// `KERN_RESOURCE_SHORTAGE`.
    pub(crate) fn notify_new(&mut self, kind: u8, of: u32, payer: Payer) -> Result<Ref<Message>, Stop> {
        let message = self.message_new(NOTIFICATION, payer)?;
        let m = self.get_mut(message);
        (m.head.flags, m.of) = (kind, of);
        Ok(message)
    }

    /// Gives a prepared notification its send-once right.
    pub(crate) fn notify_arm(&mut self, message: Ref<Message>, right: Right) {
        self.slot_put(Self::message_remote(message), right, PLACE_MESSAGE, message.raw());
    }

    /// Cancels a prepared notification: its send-once right, in hand.
    pub(crate) fn notify_disarm(&mut self, message: Ref<Message>) -> Right {
        let right = self.slot_take(Self::message_remote(message));
        self.message_free(message);
        right
    }

    /// Whether a prepared notification can still be delivered; frees it if not.
    fn notify_target(&mut self, message: Ref<Message>) -> Option<Ref<Port>> {
        let port = self.get(message).remote.port;
        if port.is_some() && self.get(port).head.state == PORT_ALIVE && self.get(port).head.flags == MESSAGE {
            return Some(port);
        }
        self.message_destroy_prepared(message);
        None
    }

    fn notify_fire(&mut self, message: Ref<Message>, id: i32, descriptor: TypeWord, value: u32) {
        let Some(port) = self.notify_target(message) else { return };
        let mut body = [0; 16];
        body[..8].copy_from_slice(&descriptor.0.to_le_bytes());
        body[8..12].copy_from_slice(&value.to_le_bytes());
        self.message_write(message, 32, &body);
        let m = self.get_mut(message);
        (m.head.flags, m.id, m.bits) = (IN_HAND, id, bits(msgt::PORT_SEND_ONCE, 0));
        self.queue_add(port, message);
    }

    /// "Dead name" (72).
    pub(crate) fn notify_dead(&mut self, message: Ref<Message>, name: u32) {
        self.notify_fire(message, NOTIFY_DEAD_NAME, TypeWord::inline(msgt::PORT_NAME, 32, 1), name);
    }

    /// "Name deleted" (65).
    pub(crate) fn notify_deleted(&mut self, message: Ref<Message>, name: u32) {
        self.notify_fire(message, NOTIFY_PORT_DELETED, TypeWord::inline(msgt::PORT_NAME, 32, 1), name);
    }

    /// "Message accepted" (66).
    pub(crate) fn notify_accepted(&mut self, message: Ref<Message>) {
        let mut bytes = [0; 4];
        self.message_read(message, 40, &mut bytes);
        let name = u32::from_le_bytes(bytes);
        self.notify_fire(message, NOTIFY_MSG_ACCEPTED, TypeWord::inline(msgt::PORT_NAME, 32, 1), name);
    }

    /// "No senders" (70).
    pub(crate) fn notify_no_senders(&mut self, message: Ref<Message>, mscount: u32) {
        self.notify_fire(message, NOTIFY_NO_SENDERS, TypeWord::inline(msgt::INTEGER_32, 32, 1), mscount);
    }

    /// A send right to a live port is gone: fires no-senders if it was the last; ends a memory object's port.
    pub(crate) fn no_senders_check(&mut self, port: Ref<Port>) {
        let p = *self.get(port);
        if p.send_rights != 0 {
            return;
        }
        if p.no_senders.is_some() {
            self.get_mut(port).no_senders = Ref::NONE;
            self.notify_no_senders(p.no_senders, p.make_send);
        }
        if p.head.flags == KERNEL && p.object_kind == Kind::Memory as u32 && p.send_once_rights == 0 {
            self.port_die(port);
        }
    }

    /// A send-once right to a live port is gone unused (71).
    pub(crate) fn send_once_died(&mut self, port: Ref<Port>) {
        let p = self.get_mut(port);
        if p.head.flags != MESSAGE {
            return;
        }
        p.send_once_died = p.send_once_died.saturating_add(1);
        self.set_ready(port);
        self.wake_receiver(port);
    }

    /// "Port destroyed" (69): the receive right travels to the requester. False (and the request is gone) if it cannot.
    pub(crate) fn notify_destroyed(&mut self, port: Ref<Port>, message: Ref<Message>) -> bool {
        self.get_mut(port).destroyed = Ref::NONE;
        let Some(target) = self.notify_target(message) else { return false };
        if self.receive_cycle(port, target) {
            self.message_destroy_prepared(message);
            return false;
        }
        let m = self.get_mut(message);
        (m.head.flags, m.id, m.rights) = (IN_HAND, NOTIFY_PORT_DESTROYED, 1);
        m.bits = bits(msgt::PORT_SEND_ONCE, 0) | BITS_COMPLEX;
        let mut body = [0; 16];
        body[..8].copy_from_slice(&TypeWord::inline(msgt::PORT_RECEIVE, 64, 1).0.to_le_bytes());
        self.message_write(message, 32, &body);
        let slot = self.message_right(message, 0);
        self.slot_put(slot, Right { port, kind: RECEIVE }, PLACE_MESSAGE, message.raw());
        self.queue_add(target, message);
        true
    }

    /// Whether a message with the receive right of `port` must not be put into the queue of `target`: its own queue, directly or through other ports
    /// whose receive rights travel. Chains longer than a fixed bound count as cycles.
    pub(crate) fn receive_cycle(&self, port: Ref<Port>, target: Ref<Port>) -> bool {
        let mut at = target;
        for _ in 0..CYCLE_HOPS {
            if at == port {
                return true;
            }
            let head = self.get(at).slots;
            if !head.is_some() {
                return false;
            }
            let slot = self.slot(head);
            if slot.kind & RECEIVE == 0 || slot.place != PLACE_MESSAGE {
                return false;
            }
            at = self.get(Ref::<Message>::from_raw(slot.holder)).remote.port;
            if at.is_none() {
                return false;
            }
        }
        true
    }
}
