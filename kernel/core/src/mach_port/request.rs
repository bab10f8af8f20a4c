//! Requests for notifications.

use drover_abi::message::msgt;
use drover_abi::port::{
    MACH_PORT_NULL, NOTIFY_DEAD_NAME, NOTIFY_NO_SENDERS, NOTIFY_PORT_DESTROYED, UREFS_MAX,
};
use drover_abi::returns::{
    KERN_INVALID_ARGUMENT, KERN_INVALID_CAPABILITY, KERN_INVALID_RIGHT, KERN_INVALID_VALUE,
    KERN_UREFS_OVERFLOW,
};

use super::fail;
use crate::account::Payer;
use crate::kernel::{Kernel, Stop};
use crate::machine::Machine;
use crate::message::{Message, PREPARED_DEAD_NAME, PREPARED_DESTROYED, PREPARED_NO_SENDERS};
use crate::object::Ref;
use crate::port::{MESSAGE, Port};
use crate::right::{DEAD, PORT_SET, RECEIVE, Right, SEND, SlotRef};
use crate::task::Task;

impl<M: Machine> Kernel<M> {
    /// `mach_port_request_notification`: the previously registered send-once right as (name in the caller's space, `PORT_SEND_ONCE`). The request is charged to `payer`.
    ///
    /// # Errors
    /// `KERN_INVALID_CAPABILITY` (no or dead send-once right, or one to a port that is no message port), `KERN_INVALID_VALUE`, `KERN_INVALID_NAME`, `KERN_INVALID_RIGHT`,
    /// `KERN_INVALID_ARGUMENT`, `KERN_UREFS_OVERFLOW`, `KERN_NO_SPACE`, `KERN_RESOURCE_SHORTAGE`.
    #[allow(clippy::too_many_arguments, reason = "the arguments of the routine")]
    pub fn mach_port_request_notification(
        &mut self,
        caller: Ref<Task>,
        task: Ref<Task>,
        name: u32,
        id: i32,
        sync: u32,
        notify: (u32, u32),
        payer: Payer,
    ) -> Result<(u32, u32), Stop> {
        let right = self.carried(caller, notify)?;
        let result = self.request(caller, task, name, (id, sync), right, payer);
        if result.is_err() {
            self.right_drop(right);
        }
        self.reap();
        Ok((result?, msgt::PORT_SEND_ONCE))
    }

    pub(super) fn request(
        &mut self,
        caller: Ref<Task>,
        task: Ref<Task>,
        name: u32,
        (id, sync): (i32, u32),
        right: Right,
        payer: Payer,
    ) -> Result<u32, Stop> {
        if right.kind == DEAD || right.kind & (SEND | RECEIVE) != 0 {
            return fail(KERN_INVALID_CAPABILITY);
        }
        if right.port.is_some() && self.get(right.port).head.flags != MESSAGE {
            return fail(KERN_INVALID_CAPABILITY);
        }
        let request = match id {
            NOTIFY_PORT_DESTROYED if sync != 0 => return fail(KERN_INVALID_VALUE),
            NOTIFY_PORT_DESTROYED => {
                let port = self.port_of_receive(task, name)?;
                Request {
                    kind: PREPARED_DESTROYED,
                    of: port.raw(),
                    old: self.get(port).destroyed,
                    now: false,
                }
            }
            NOTIFY_NO_SENDERS => {
                let port = self.port_of_receive(task, name)?;
                let p = self.get(port);
                let now = p.send_rights == 0 && sync <= p.make_send && right.kind != 0;
                Request { kind: PREPARED_NO_SENDERS, of: port.raw(), old: p.no_senders, now }
            }
            NOTIFY_DEAD_NAME => self.dead_name_request(task, name, sync, right)?,
            _ => return fail(KERN_INVALID_VALUE),
        };
        // Reserve: a name for the previous right, and the notification.
        if request.old.is_some() {
            self.names_reserve(caller, 1)?;
        }
        let new = match right.kind {
            0 => Ref::NONE,
            _ => self.notify_new(request.kind, request.of, payer)?,
        };
        // Commit.
        if new.is_some() {
            self.notify_arm(new, right);
        }
        let registered = if request.now { Ref::NONE } else { new };
        match request.kind {
            PREPARED_DESTROYED => self.get_mut(Ref::<Port>::from_raw(request.of)).destroyed = registered,
            PREPARED_NO_SENDERS => self.get_mut(Ref::<Port>::from_raw(request.of)).no_senders = registered,
            _ => self.slot_mut(SlotRef(request.of)).request = registered.raw(),
        }
        if request.now {
            self.fire_now(&request, name, new);
        }
        if request.old.is_none() {
            return Ok(MACH_PORT_NULL);
        }
        let old = self.notify_disarm(request.old);
        Ok(self.right_give_reserved(caller, old))
    }

    fn fire_now(&mut self, request: &Request, name: u32, message: Ref<Message>) {
        if request.kind == PREPARED_NO_SENDERS {
            let mscount = self.get(Ref::<Port>::from_raw(request.of)).make_send;
            self.notify_no_senders(message, mscount);
        } else {
            self.slot_mut(SlotRef(request.of)).urefs += 1;
            self.notify_dead(message, name);
        }
    }

    fn dead_name_request(
        &mut self,
        task: Ref<Task>,
        name: u32,
        sync: u32,
        right: Right,
    ) -> Result<Request, Stop> {
        let (s, slot) = self.named(task, name)?;
        if slot.kind & PORT_SET != 0 {
            return fail(KERN_INVALID_RIGHT);
        }
        let now = slot.kind & DEAD != 0;
        if now && (sync == 0 || right.kind == 0) {
            return fail(KERN_INVALID_ARGUMENT);
        }
        if now && u32::from(slot.urefs) == UREFS_MAX {
            return fail(KERN_UREFS_OVERFLOW);
        }
        Ok(Request { kind: PREPARED_DEAD_NAME, of: s.0, old: Ref::from_raw(slot.request), now })
    }
}

/// What a request for a notification comes to.
struct Request {
    kind: u8,
    of: u32,
    old: Ref<Message>,
    now: bool,
}
