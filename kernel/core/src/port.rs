//! Ports.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::message::Message;
use crate::object::{Head, Kind, Object, Ref};
use crate::right::SlotRef;
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
    pad: [u8; 96],
}

impl Object for Port {
    const KIND: Kind = Kind::Port;
}
