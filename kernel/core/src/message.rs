//! Queued messages.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::object::{Head, Kind, Object, Ref};
use crate::right::RightSlot;

/// Arguments of the `mach_msg` trap (`drover_call` has a donation's address in place of `notify`).
#[derive(Clone, Copy, Debug, Default)]
pub struct MachMsg {
    /// Address of the message buffer.
    pub msg: u64,
    /// Options.
    pub option: u32,
    /// Bytes to send.
    pub send_size: u32,
    /// Size of the buffer for receiving.
    pub rcv_size: u32,
    /// Port or set to receive from.
    pub rcv_name: u32,
    /// Milliseconds.
    pub timeout: u32,
    /// Port for notifications.
    pub notify: u32,
}

/// A message in a queue (or a prepared notification).
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable)]
pub struct Message {
    /// Kind and flags.
    pub head: Head,
    /// Next in the queue.
    pub next: Ref<Message>,
    pad0: [u8; 24],
    /// The destination right.
    pub remote: RightSlot,
    /// The reply right.
    pub local: RightSlot,
    pad: [u8; 160],
}

impl Object for Message {
    const KIND: Kind = Kind::Message;
}
