//! Port names and rights.

/// No port.
pub const MACH_PORT_NULL: u32 = 0;
/// A dead name carried in a message.
pub const MACH_PORT_DEAD: u32 = 0xffff_ffff;

/// `mach_port_right_t`: send.
pub const RIGHT_SEND: u32 = 0;
/// Receive.
pub const RIGHT_RECEIVE: u32 = 1;
/// Send-once.
pub const RIGHT_SEND_ONCE: u32 = 2;
/// Port set.
pub const RIGHT_PORT_SET: u32 = 3;
/// Dead name.
pub const RIGHT_DEAD_NAME: u32 = 4;

/// `mach_port_type_t` bit of a right: `1 << (right + 16)`.
#[must_use]
pub const fn type_bit(right: u32) -> u32 {
    1 << (right + 16)
}
/// Type bit: a dead-name request is registered.
pub const TYPE_DNREQUEST: u32 = 0x8000_0000;

/// Default queue limit of a message port.
pub const QLIMIT_DEFAULT: u32 = 5;
/// Largest queue limit of a message port.
pub const QLIMIT_MAX: u32 = 16;
/// Largest count of user references.
pub const UREFS_MAX: u32 = 0xffff;

/// `task_get_special_port`: the task's own port.
pub const TASK_KERNEL_PORT: i32 = 1;
/// Exception port (task and thread).
pub const EXCEPTION_PORT: i32 = 3;
/// Bootstrap port.
pub const TASK_BOOTSTRAP_PORT: i32 = 4;

/// Notification ids.
pub const NOTIFY_PORT_DELETED: i32 = 65;
/// A SEND_NOTIFY message was accepted.
pub const NOTIFY_MSG_ACCEPTED: i32 = 66;
/// A receive right would have died; the requester gets it.
pub const NOTIFY_PORT_DESTROYED: i32 = 69;
/// The last send right is gone.
pub const NOTIFY_NO_SENDERS: i32 = 70;
/// A send-once right was destroyed unused.
pub const NOTIFY_SEND_ONCE: i32 = 71;
/// A port died that the requester had a name for.
pub const NOTIFY_DEAD_NAME: i32 = 72;
