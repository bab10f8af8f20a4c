//! Right slots: every reference to a port is one.
//!
//! A slot lives in a name table of a task, in a queued message, in a task or thread (special ports) or in a notification request. All slots
//! of a port are on one list, the receive right's first, so that a port's death can make every one of them dead, eagerly and in bounded steps.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::object::Ref;
use crate::port::Port;

/// Name of a slot inside the kernel: physical address / 32; 0 = none.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
pub struct SlotRef(pub u32);

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
    /// Raw reference of the holder (task, message, thread, port).
    pub holder: u32,
    /// Name tables: the name itself.
    pub name: u32,
    /// Raw reference of the prepared dead-name notification, 0 = none.
    pub request: u32,
}

const _: () = assert!(size_of::<RightSlot>() == 32);
