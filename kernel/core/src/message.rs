//! Queued messages.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::object::{Head, Kind, Object, Ref};
use crate::right::RightSlot;

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
