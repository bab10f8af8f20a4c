//! Port rights that are owned: dropped, they give back what they stand for.

use core::mem::ManuallyDrop;

use drover_abi::message::msgt;
use drover_abi::port::{
    NOTIFY_DEAD_NAME, NOTIFY_NO_SENDERS, RIGHT_DEAD_NAME, RIGHT_PORT_SET, RIGHT_RECEIVE, RIGHT_SEND, type_bit,
};
use drover_abi::returns::{KERN_INVALID_NAME, KERN_INVALID_RIGHT};
use hurd_stubs::{drover_port, mach_port};
use mig_runtime::{Port, PortName};

use crate::rpc::{ALL, Mach};
use crate::task;

/// A send right (one user reference of its name), given back on drop. Null and dead names are allowed and need nothing.
#[derive(Debug, Default)]
pub struct SendRight(PortName);

impl SendRight {
    /// No right.
    pub const NULL: Self = Self(PortName::NULL);

    /// Takes over one user reference of `name`.
    #[must_use]
    pub const fn from_name(name: PortName) -> Self {
        Self(name)
    }

    /// Takes over a right that a message brought.
    ///
    /// # Errors
    /// `KERN_INVALID_NAME` if it is not a send right; it has been released then.
    pub fn received(port: Port) -> Result<Self, i32> {
        if port.disposition == msgt::PORT_SEND || !port.name.is_valid() {
            Ok(Self(port.name))
        } else {
            release(port.name, port.disposition);
            Err(KERN_INVALID_NAME)
        }
    }

    /// The name; the right stays here.
    #[must_use]
    pub const fn name(&self) -> PortName {
        self.0
    }

    /// A right at all.
    #[must_use]
    pub const fn is_valid(&self) -> bool {
        self.0.is_valid()
    }

    /// For a message: the receiver gets a right, this one stays.
    #[must_use]
    pub const fn copy(&self) -> Port {
        Port::copy_send(self.0)
    }

    /// Gives up ownership; the name's user reference is the caller's.
    #[must_use]
    pub fn into_name(self) -> PortName {
        ManuallyDrop::new(self).0
    }

    /// For a message: this right goes with it.
    #[must_use]
    pub fn into_move(self) -> Port {
        Port::move_send(self.into_name())
    }

    /// One more user reference.
    ///
    /// # Errors
    /// The kernel's: `KERN_INVALID_RIGHT` when the port has died, `KERN_UREFS_OVERFLOW`.
    pub fn try_clone(&self) -> Result<Self, i32> {
        Self::another(self.0)
    }

    /// One more user reference of a send right that somebody else owns.
    ///
    /// # Errors
    /// As for [`SendRight::try_clone`].
    pub fn another(name: PortName) -> Result<Self, i32> {
        if name.is_valid() {
            mach_port::mach_port_mod_refs(&Mach, task::this(), name, RIGHT_SEND, 1, ALL)?;
        }
        Ok(Self(name))
    }
}

impl Drop for SendRight {
    fn drop(&mut self) {
        release(self.0, msgt::PORT_SEND);
    }
}

/// A receive right, destroyed on drop with its port.
#[derive(Debug)]
pub struct ReceiveRight(PortName);

impl ReceiveRight {
    /// A new port, at the current payer's expense.
    ///
    /// # Errors
    /// The kernel's: `KERN_RESOURCE_SHORTAGE`, `KERN_NO_SPACE`.
    pub fn new() -> Result<Self, i32> {
        let reply = mach_port::mach_port_allocate(&Mach, task::this(), RIGHT_RECEIVE, ALL)?;
        Ok(Self(reply.name))
    }

    /// Takes over the receive right of that name.
    #[must_use]
    pub const fn from_name(name: PortName) -> Self {
        Self(name)
    }

    /// The name.
    #[must_use]
    pub const fn name(&self) -> PortName {
        self.0
    }

    /// For a message: a send right made from this one.
    #[must_use]
    pub const fn make_send(&self) -> Port {
        Port::make_send(self.0)
    }

    /// For a message: a send-once right made from this one.
    #[must_use]
    pub const fn make_send_once(&self) -> Port {
        Port::make_send_once(self.0)
    }

    /// A send right of the task's own, under the same name.
    ///
    /// # Errors
    /// The kernel's.
    pub fn send_right(&self) -> Result<SendRight, i32> {
        mach_port::mach_port_insert_right(&Mach, task::this(), self.0, self.make_send(), ALL)?;
        Ok(SendRight(self.0))
    }

    /// Messages to this port carry `payload` in place of the name.
    ///
    /// # Errors
    /// The kernel's.
    pub fn set_payload(&self, payload: u64) -> Result<(), i32> {
        Ok(mach_port::mach_port_set_protected_payload(&Mach, task::this(), self.0, payload, ALL)?)
    }

    /// Makes it an RPC port with that payload: calls migrate to `entry`, exits to `unwind`, with that much reserved.
    ///
    /// # Errors
    /// The kernel's.
    pub fn set_rpc(
        &self,
        payload: u64,
        entry: u64,
        unwind: u64,
        cpu_ns: u64,
        frames: u64,
    ) -> Result<(), i32> {
        Ok(drover_port::port_set_rpc(
            &Mach,
            task::this(),
            self.0,
            entry,
            unwind,
            cpu_ns,
            frames,
            payload,
            ALL,
        )?)
    }

    /// Send rights exist; false also when the kernel cannot say.
    #[must_use]
    pub fn has_senders(&self) -> bool {
        mach_port::mach_port_get_receive_status(&Mach, task::this(), self.0, ALL)
            .is_ok_and(|reply| reply.status.mps_srights)
    }

    /// How often a send right has been made, if there is none now; `None` also when the kernel cannot say.
    #[must_use]
    pub fn made_without_senders(&self) -> Option<u32> {
        let reply = mach_port::mach_port_get_receive_status(&Mach, task::this(), self.0, ALL).ok()?;
        (!reply.status.mps_srights).then_some(reply.status.mps_mscount)
    }
}

impl Drop for ReceiveRight {
    fn drop(&mut self) {
        // Fails only if the name is gone already.
        let _ = destroy_receive(self.0);
    }
}

/// A set of receive rights, received from as one.
#[derive(Debug)]
pub struct PortSet(PortName);

impl PortSet {
    /// A new set, at the current payer's expense.
    ///
    /// # Errors
    /// The kernel's.
    pub fn new() -> Result<Self, i32> {
        let reply = mach_port::mach_port_allocate(&Mach, task::this(), RIGHT_PORT_SET, ALL)?;
        Ok(Self(reply.name))
    }

    /// The name.
    #[must_use]
    pub const fn name(&self) -> PortName {
        self.0
    }

    /// Adds a port, which leaves it when it dies.
    ///
    /// # Errors
    /// The kernel's.
    pub fn add(&self, port: &ReceiveRight) -> Result<(), i32> {
        Ok(mach_port::mach_port_move_member(&Mach, task::this(), port.name(), self.0, ALL)?)
    }
}

impl Drop for PortSet {
    fn drop(&mut self) {
        // Fails only if the name is gone already.
        let _ = mach_port::mach_port_destroy(&Mach, task::this(), self.0, ALL);
    }
}

/// `notify` will get a message when `port` has no senders any more, and send rights have been made `made` times.
pub(crate) fn request_no_senders(port: &ReceiveRight, notify: &ReceiveRight, made: u32) -> Result<(), i32> {
    let reply = mach_port::mach_port_request_notification(
        &Mach,
        task::this(),
        port.name(),
        NOTIFY_NO_SENDERS,
        made,
        notify.make_send_once(),
        ALL,
    )?;
    release(reply.previous.name, msgt::PORT_SEND_ONCE);
    Ok(())
}

/// Makes a port without senders the port of another object, with `notify` for the next no-senders notification.
pub(crate) fn renew(port: &ReceiveRight, notify: &ReceiveRight, made: u32, payload: u64) -> Result<(), i32> {
    Ok(drover_port::port_renew(&Mach, task::this(), port.name(), notify.name(), payload, made, ALL)?)
}

/// The port named `notify` will get a message when the port behind `name` dies. The dead name gains a user reference then, which the
/// receiver of the message gives back.
pub(crate) fn request_dead_name(name: PortName, notify: PortName) -> Result<(), i32> {
    let reply = mach_port::mach_port_request_notification(
        &Mach,
        task::this(),
        name,
        NOTIFY_DEAD_NAME,
        1,
        Port::make_send_once(notify),
        ALL,
    )?;
    release(reply.previous.name, msgt::PORT_SEND_ONCE);
    Ok(())
}

/// Destroys the port of which the task has the receive right of that name. If the account that paid for the port is gone, and the port with it, a dead
/// name is left, and that is given back.
pub(crate) fn destroy_receive(name: PortName) -> Result<(), i32> {
    match mach_port::mach_port_mod_refs(&Mach, task::this(), name, RIGHT_RECEIVE, -1, ALL) {
        Err(error) if error.code() == KERN_INVALID_RIGHT => {
            let kind = mach_port::mach_port_type(&Mach, task::this(), name, ALL)?.ptype;
            if kind & type_bit(RIGHT_DEAD_NAME) == 0 {
                return Err(error.code());
            }
            Ok(mach_port::mach_port_destroy(&Mach, task::this(), name, ALL)?)
        }
        result => Ok(result?),
    }
}

/// Gives back a right that came in a message, by what the message said of it. Failing means that it is gone already.
pub fn release(name: PortName, kind: u32) {
    if !name.is_valid() {
        return;
    }
    if kind == msgt::PORT_RECEIVE {
        let _ = destroy_receive(name);
    } else {
        let _ = mach_port::mach_port_deallocate(&Mach, task::this(), name, ALL);
    }
}
