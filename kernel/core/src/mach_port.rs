//! The operations of `mach_port.defs`, with Mach's error codes.
//!
//! `task` is the task whose name space is meant; rights that a request carries are named in the *calling* task's space with a disposition, and rights that come back
//! are put into the caller's space. A moved right is consumed even if the operation fails (it came in the request, as on Mach); a name that is no such right is
//! refused with `KERN_INVALID_CAPABILITY` before anything else.

use drover_abi::message::msgt;
use drover_abi::port::{
    MACH_PORT_DEAD, MACH_PORT_NULL, NOTIFY_DEAD_NAME, NOTIFY_NO_SENDERS, NOTIFY_PORT_DESTROYED, QLIMIT_MAX,
    RIGHT_DEAD_NAME, RIGHT_PORT_SET, RIGHT_RECEIVE, RIGHT_SEND, RIGHT_SEND_ONCE, TYPE_DNREQUEST, UREFS_MAX,
    type_bit,
};
use drover_abi::returns::{
    KERN_INVALID_ARGUMENT, KERN_INVALID_CAPABILITY, KERN_INVALID_NAME, KERN_INVALID_RIGHT,
    KERN_INVALID_VALUE, KERN_NOT_IN_SET, KERN_RIGHT_EXISTS, KERN_UREFS_OVERFLOW, MACH_RCV_PORT_CHANGED,
};

use crate::account::Payer;
use crate::kernel::{Kernel, Stop};
use crate::machine::Machine;
use crate::message::{Message, PREPARED_DEAD_NAME, PREPARED_DESTROYED, PREPARED_NO_SENDERS};
use crate::object::Ref;
use crate::port::{MESSAGE, Port, SET};
use crate::right::{DEAD, PORT_SET, RECEIVE, Right, RightSlot, SEND, SEND_ONCE, SlotRef};
use crate::space::MAX_NAME;
use crate::task::Task;

/// `mach_port_status_t`: nine words.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PortStatus {
    /// Name of the set that it is in, 0 = none.
    pub pset: u32,
    /// Next sequence number.
    pub seqno: u32,
    /// Make-send count.
    pub mscount: u32,
    /// Queue limit.
    pub qlimit: u32,
    /// Messages queued.
    pub msgcount: u32,
    /// Send-once rights.
    pub sorights: u32,
    /// 1: send rights exist.
    pub srights: u32,
    /// 1: a port-destroyed request.
    pub pdrequest: u32,
    /// 1: a no-senders request.
    pub nsrequest: u32,
}

/// What a name can be made as.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fresh {
    Port(u8),
    Dead,
}

const fn fail<T>(code: i32) -> Result<T, Stop> {
    Err(Stop::Error(code))
}

fn kind_of(right: u32) -> Result<u8, Stop> {
    Ok(match right {
        RIGHT_SEND => SEND,
        RIGHT_RECEIVE => RECEIVE,
        RIGHT_SEND_ONCE => SEND_ONCE,
        RIGHT_PORT_SET => PORT_SET,
        RIGHT_DEAD_NAME => DEAD,
        _ => return fail(KERN_INVALID_VALUE),
    })
}

fn type_of(slot: &RightSlot) -> u32 {
    let pairs = [
        (SEND, RIGHT_SEND),
        (RECEIVE, RIGHT_RECEIVE),
        (SEND_ONCE, RIGHT_SEND_ONCE),
        (PORT_SET, RIGHT_PORT_SET),
        (DEAD, RIGHT_DEAD_NAME),
    ];
    let rights =
        pairs.iter().filter(|(kind, _)| slot.kind & kind != 0).map(|(_, right)| type_bit(*right)).sum();
    if slot.request != 0 { rights | TYPE_DNREQUEST } else { rights }
}

impl<M: Machine> Kernel<M> {
    fn named(&mut self, task: Ref<Task>, name: u32) -> Result<(SlotRef, RightSlot), Stop> {
        let s = self.name_check(task, name).ok_or(Stop::Error(KERN_INVALID_NAME))?;
        Ok((s, *self.slot(s)))
    }

    /// `mach_port_names`: the first name after `after` (0 to begin) with its type; `None` at the end.
    pub fn mach_port_next(&mut self, task: Ref<Task>, after: u32) -> Option<(u32, u32)> {
        let mut after = after;
        while after < MAX_NAME {
            let (name, _) = self.name_after(task, after)?;
            // A set that is dying vanishes at the look.
            if let Some(s) = self.name_check(task, name) {
                return Some((name, type_of(self.slot(s))));
            }
            after = name;
        }
        None
    }

    /// `mach_port_type`.
    ///
    /// # Errors
    /// `KERN_INVALID_NAME`.
    pub fn mach_port_type(&mut self, task: Ref<Task>, name: u32) -> Result<u32, Stop> {
        let (_, slot) = self.named(task, name)?;
        Ok(type_of(&slot))
    }

    /// `mach_port_rename`.
    ///
    /// # Errors
    /// `KERN_INVALID_VALUE` (new name null or dead), `KERN_INVALID_NAME`, `KERN_NAME_EXISTS`, `KERN_NO_SPACE`, `KERN_RESOURCE_SHORTAGE`.
    pub fn mach_port_rename(&mut self, task: Ref<Task>, old: u32, new: u32, _: Payer) -> Result<(), Stop> {
        check_new_name(new)?;
        self.named(task, old)?;
        let to = self.name_choose(task, new)?;
        self.name_move(task, old, new, to);
        Ok(())
    }

    /// `mach_port_allocate_name`.
    ///
    /// # Errors
    /// `KERN_INVALID_VALUE`, `KERN_NAME_EXISTS`, `KERN_NO_SPACE`, `KERN_RESOURCE_SHORTAGE`.
    pub fn mach_port_allocate_name(
        &mut self,
        task: Ref<Task>,
        right: u32,
        name: u32,
        payer: Payer,
    ) -> Result<(), Stop> {
        check_new_name(name)?;
        let fresh = fresh_kind(right)?;
        let s = self.name_choose(task, name)?;
        let right = self.fresh(fresh, payer)?;
        self.name_fill(task, name, s, right);
        Ok(())
    }

    /// `mach_port_allocate`: the name.
    ///
    /// # Errors
    /// `KERN_INVALID_VALUE`, `KERN_NO_SPACE`, `KERN_RESOURCE_SHORTAGE`.
    pub fn mach_port_allocate(&mut self, task: Ref<Task>, right: u32, payer: Payer) -> Result<u32, Stop> {
        let fresh = fresh_kind(right)?;
        self.names_reserve(task, 1)?;
        let right = self.fresh(fresh, payer)?;
        Ok(self.name_take(task, right))
    }

    fn fresh(&mut self, fresh: Fresh, payer: Payer) -> Result<Right, Stop> {
        Ok(match fresh {
            Fresh::Dead => Right::DEAD,
            Fresh::Port(SET) => Right { port: self.port_create(payer, SET)?, kind: PORT_SET },
            Fresh::Port(flags) => Right { port: self.port_create(payer, flags)?, kind: RECEIVE },
        })
    }

    /// `mach_reply_port` and the like: a new message port with a receive right in `task`.
    ///
    /// # Errors
    /// `KERN_NO_SPACE`, `KERN_RESOURCE_SHORTAGE`.
    pub fn reply_port(&mut self, task: Ref<Task>, payer: Payer) -> Result<u32, Stop> {
        self.mach_port_allocate(task, RIGHT_RECEIVE, payer)
    }

    /// `mach_port_destroy`.
    ///
    /// # Errors
    /// `KERN_INVALID_NAME`.
    pub fn mach_port_destroy(&mut self, task: Ref<Task>, name: u32) -> Result<(), Stop> {
        self.named(task, name)?;
        self.name_destroy(task, name);
        self.reap();
        Ok(())
    }

    /// `mach_port_deallocate`: one user reference of a send, send-once right or dead name.
    ///
    /// # Errors
    /// `KERN_INVALID_NAME`, `KERN_INVALID_RIGHT`.
    pub fn mach_port_deallocate(&mut self, task: Ref<Task>, name: u32) -> Result<(), Stop> {
        let (s, slot) = self.named(task, name)?;
        let what = slot.kind & (SEND | SEND_ONCE | DEAD);
        if what == 0 {
            return fail(KERN_INVALID_RIGHT);
        }
        self.refs_drop(task, name, s, what, 1);
        self.reap();
        Ok(())
    }

    /// Drops `count` (not more than there are) user references of a send, send-once right or dead name.
    fn refs_drop(&mut self, task: Ref<Task>, name: u32, s: SlotRef, what: u8, count: u16) {
        let RightSlot { port, urefs, .. } = *self.slot(s);
        if count < urefs {
            self.slot_mut(s).urefs = urefs - count;
        } else if what == DEAD {
            self.name_destroy(task, name);
        } else {
            self.name_lose(task, name, what);
            self.right_drop(Right { port, kind: what });
        }
    }

    /// `mach_port_get_refs`.
    ///
    /// # Errors
    /// `KERN_INVALID_VALUE`, `KERN_INVALID_NAME`.
    pub fn mach_port_get_refs(&mut self, task: Ref<Task>, name: u32, right: u32) -> Result<u32, Stop> {
        let kind = kind_of(right)?;
        let (_, slot) = self.named(task, name)?;
        Ok(match slot.kind & kind {
            0 => 0,
            SEND | DEAD => u32::from(slot.urefs),
            _ => 1,
        })
    }

    /// `mach_port_mod_refs`.
    ///
    /// # Errors
    /// `KERN_INVALID_VALUE`, `KERN_INVALID_NAME`, `KERN_INVALID_RIGHT`, `KERN_UREFS_OVERFLOW`.
    pub fn mach_port_mod_refs(
        &mut self,
        task: Ref<Task>,
        name: u32,
        right: u32,
        delta: i32,
    ) -> Result<(), Stop> {
        let kind = kind_of(right)?;
        let (s, slot) = self.named(task, name)?;
        if slot.kind & kind == 0 {
            return fail(KERN_INVALID_RIGHT);
        }
        match kind {
            SEND | DEAD => {
                let sum = i64::from(slot.urefs) + i64::from(delta);
                if sum < 0 {
                    return fail(KERN_INVALID_VALUE);
                }
                if sum > i64::from(UREFS_MAX) {
                    return fail(KERN_UREFS_OVERFLOW);
                }
                if delta < 0 {
                    self.refs_drop(task, name, s, kind, slot.urefs - sum as u16);
                } else {
                    self.slot_mut(s).urefs = sum as u16;
                }
            }
            _ if delta == 0 => {}
            _ if delta != -1 => return fail(KERN_INVALID_VALUE),
            PORT_SET => self.name_destroy(task, name),
            _ => {
                self.name_lose(task, name, kind);
                self.right_drop(Right { port: slot.port, kind });
            }
        }
        self.reap();
        Ok(())
    }

    /// `mach_port_set_qlimit`.
    ///
    /// # Errors
    /// `KERN_INVALID_VALUE`, `KERN_INVALID_NAME`, `KERN_INVALID_RIGHT`.
    pub fn mach_port_set_qlimit(&mut self, task: Ref<Task>, name: u32, limit: u32) -> Result<(), Stop> {
        if limit > QLIMIT_MAX {
            return fail(KERN_INVALID_VALUE);
        }
        let port = self.port_of_receive(task, name)?;
        self.get_mut(port).queue_limit = limit;
        self.wake_senders(port);
        Ok(())
    }

    /// `mach_port_set_mscount`.
    ///
    /// # Errors
    /// `KERN_INVALID_NAME`, `KERN_INVALID_RIGHT`.
    pub fn mach_port_set_mscount(&mut self, task: Ref<Task>, name: u32, mscount: u32) -> Result<(), Stop> {
        let port = self.port_of_receive(task, name)?;
        self.get_mut(port).make_send = mscount;
        Ok(())
    }

    /// `mach_port_set_seqno`.
    ///
    /// # Errors
    /// `KERN_INVALID_NAME`, `KERN_INVALID_RIGHT`.
    pub fn mach_port_set_seqno(&mut self, task: Ref<Task>, name: u32, seqno: u32) -> Result<(), Stop> {
        let port = self.port_of_receive(task, name)?;
        self.get_mut(port).seqno = seqno;
        Ok(())
    }

    /// `mach_port_set_protected_payload`.
    ///
    /// # Errors
    /// `KERN_INVALID_NAME`, `KERN_INVALID_RIGHT`.
    pub fn mach_port_set_protected_payload(
        &mut self,
        task: Ref<Task>,
        name: u32,
        payload: u64,
    ) -> Result<(), Stop> {
        let port = self.port_of_receive(task, name)?;
        let p = self.get_mut(port);
        (p.payload, p.has_payload) = (payload, 1);
        Ok(())
    }

    /// `mach_port_clear_protected_payload`.
    ///
    /// # Errors
    /// `KERN_INVALID_NAME`, `KERN_INVALID_RIGHT`.
    pub fn mach_port_clear_protected_payload(&mut self, task: Ref<Task>, name: u32) -> Result<(), Stop> {
        let port = self.port_of_receive(task, name)?;
        let p = self.get_mut(port);
        (p.payload, p.has_payload) = (0, 0);
        Ok(())
    }

    /// `mach_port_get_receive_status`.
    ///
    /// # Errors
    /// `KERN_INVALID_NAME`, `KERN_INVALID_RIGHT`.
    pub fn mach_port_get_receive_status(&mut self, task: Ref<Task>, name: u32) -> Result<PortStatus, Stop> {
        let port = self.port_of_receive(task, name)?;
        let p = *self.get(port);
        Ok(PortStatus {
            pset: if p.set.is_some() { self.name_of(task, p.set) } else { 0 },
            seqno: p.seqno,
            mscount: p.make_send,
            qlimit: p.queue_limit,
            msgcount: p.queued.saturating_add(p.send_once_died),
            sorights: p.send_once_rights,
            srights: u32::from(p.send_rights != 0),
            pdrequest: u32::from(p.destroyed.is_some()),
            nsrequest: u32::from(p.no_senders.is_some()),
        })
    }

    /// `mach_port_get_set_status`: the first member of the set `name` (`after` none) or the one after `after`; none at the end. The receive right's name is in
    /// `receive_name` of the port.
    ///
    /// # Errors
    /// `KERN_INVALID_NAME`, `KERN_INVALID_RIGHT`.
    pub fn mach_port_set_member(
        &mut self,
        task: Ref<Task>,
        name: u32,
        after: Option<Ref<Port>>,
    ) -> Result<Ref<Port>, Stop> {
        let set = self.set_of(task, name)?;
        Ok(self.get(after.unwrap_or(set)).member)
    }

    /// `mach_port_move_member`: into the set `after`, or (`MACH_PORT_NULL`) out of its set.
    ///
    /// # Errors
    /// `KERN_INVALID_NAME`, `KERN_INVALID_RIGHT`, `KERN_NOT_IN_SET`.
    pub fn mach_port_move_member(&mut self, task: Ref<Task>, member: u32, after: u32) -> Result<(), Stop> {
        let port = self.port_of_receive(task, member)?;
        if after == MACH_PORT_NULL {
            if self.get(port).set.is_none() {
                return fail(KERN_NOT_IN_SET);
            }
            self.set_remove(port);
            return Ok(());
        }
        let set = self.set_of(task, after)?;
        self.set_remove(port);
        self.wake_receivers(port, MACH_RCV_PORT_CHANGED);
        self.set_insert(port, set);
        if self.port_has_news(port) {
            self.wake_receiver(port);
        }
        Ok(())
    }

    /// The right that a request carries.
    fn carried(&mut self, caller: Ref<Task>, (name, disposition): (u32, u32)) -> Result<Right, Stop> {
        if !msgt::is_port(disposition) {
            return fail(KERN_INVALID_VALUE);
        }
        self.right_get(caller, name, disposition).ok_or(Stop::Error(KERN_INVALID_CAPABILITY))
    }

    /// `mach_port_insert_right`.
    ///
    /// # Errors
    /// `KERN_INVALID_VALUE`, `KERN_INVALID_CAPABILITY`, `KERN_NAME_EXISTS`, `KERN_RIGHT_EXISTS`, `KERN_UREFS_OVERFLOW`, `KERN_NO_SPACE`, `KERN_RESOURCE_SHORTAGE`.
    pub fn mach_port_insert_right(
        &mut self,
        caller: Ref<Task>,
        task: Ref<Task>,
        name: u32,
        poly: (u32, u32),
        _: Payer,
    ) -> Result<(), Stop> {
        let right = self.carried(caller, poly)?;
        let result = self.insert_right(task, name, right);
        if result.is_err() {
            self.right_drop(right);
            self.reap();
        }
        result
    }

    fn insert_right(&mut self, task: Ref<Task>, name: u32, right: Right) -> Result<(), Stop> {
        check_new_name(name)?;
        if right.port.is_none() {
            return fail(KERN_INVALID_CAPABILITY);
        }
        let known = if right.kind == SEND_ONCE { 0 } else { self.name_of(task, right.port) };
        if known == 0 {
            let s = self.name_choose(task, name)?;
            self.name_fill(task, name, s, right);
            return Ok(());
        }
        if known != name {
            return fail(KERN_RIGHT_EXISTS);
        }
        let (s, slot) = self.named(task, name)?;
        if right.kind == SEND && u32::from(slot.urefs) == UREFS_MAX {
            return fail(KERN_UREFS_OVERFLOW);
        }
        self.name_add(task, name, s, right);
        Ok(())
    }

    /// `mach_port_extract_right`: (name in the caller's space, disposition).
    ///
    /// # Errors
    /// `KERN_INVALID_VALUE`, `KERN_INVALID_NAME`, `KERN_INVALID_RIGHT`, `KERN_NO_SPACE`, `KERN_RESOURCE_SHORTAGE`.
    pub fn mach_port_extract_right(
        &mut self,
        caller: Ref<Task>,
        task: Ref<Task>,
        name: u32,
        disposition: u32,
        _: Payer,
    ) -> Result<(u32, u32), Stop> {
        if !msgt::is_port(disposition) {
            return fail(KERN_INVALID_VALUE);
        }
        self.named(task, name)?;
        self.names_reserve(caller, 1)?;
        let right = self.right_get(task, name, disposition).ok_or(Stop::Error(KERN_INVALID_RIGHT))?;
        Ok((self.right_give_reserved(caller, right), crate::right::received_disposition(disposition)))
    }

    /// Gives a right to a task whose name space has a name reserved.
    pub(crate) fn right_give_reserved(&mut self, task: Ref<Task>, right: Right) -> u32 {
        match self.right_give(task, right) {
            Ok(name) => name,
            Err(_) => {
                debug_assert!(false, "a name was reserved");
                self.right_drop(right);
                MACH_PORT_NULL
            }
        }
    }

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

    fn request(
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

fn check_new_name(name: u32) -> Result<(), Stop> {
    if name == MACH_PORT_NULL || name == MACH_PORT_DEAD { fail(KERN_INVALID_VALUE) } else { Ok(()) }
}

fn fresh_kind(right: u32) -> Result<Fresh, Stop> {
    match right {
        RIGHT_RECEIVE => Ok(Fresh::Port(MESSAGE)),
        RIGHT_PORT_SET => Ok(Fresh::Port(SET)),
        RIGHT_DEAD_NAME => Ok(Fresh::Dead),
        _ => fail(KERN_INVALID_VALUE),
    }
}
