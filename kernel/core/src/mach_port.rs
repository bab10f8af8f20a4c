//! The operations of `mach_port.defs`, with Mach's error codes.
//!
//! `task` is the task whose name space is meant; rights that a request carries are named in the *calling* task's space with a disposition, and rights that come back
//! are put into the caller's space. A moved right is consumed even if the operation fails (it came in the request, as on Mach); a name that is no such right is
//! refused with `KERN_INVALID_CAPABILITY` before anything else.

mod carry;
mod receiver;
mod request;

use drover_abi::port::{
    MACH_PORT_DEAD, MACH_PORT_NULL, RIGHT_DEAD_NAME, RIGHT_PORT_SET, RIGHT_RECEIVE, RIGHT_SEND,
    RIGHT_SEND_ONCE, TYPE_DNREQUEST, UREFS_MAX, type_bit,
};
use drover_abi::returns::{KERN_INVALID_NAME, KERN_INVALID_RIGHT, KERN_INVALID_VALUE, KERN_UREFS_OVERFLOW};

use crate::account::Payer;
use crate::kernel::{Kernel, Stop};
use crate::machine::Machine;
use crate::object::Ref;
use crate::port::{MESSAGE, SET};
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
