//! Return codes: `kern_return_t`, `mach_msg_return_t`, MIG errors, and Drover's additions.
#![allow(missing_docs, reason = "the names are Mach's; HURD errno and kern_return tables document them")]

pub const KERN_SUCCESS: i32 = 0;
pub const KERN_INVALID_ADDRESS: i32 = 1;
pub const KERN_PROTECTION_FAILURE: i32 = 2;
pub const KERN_NO_SPACE: i32 = 3;
pub const KERN_INVALID_ARGUMENT: i32 = 4;
pub const KERN_FAILURE: i32 = 5;
pub const KERN_RESOURCE_SHORTAGE: i32 = 6;
pub const KERN_NOT_RECEIVER: i32 = 7;
pub const KERN_NO_ACCESS: i32 = 8;
pub const KERN_MEMORY_FAILURE: i32 = 9;
pub const KERN_MEMORY_ERROR: i32 = 10;
pub const KERN_NOT_IN_SET: i32 = 12;
pub const KERN_NAME_EXISTS: i32 = 13;
pub const KERN_ABORTED: i32 = 14;
pub const KERN_INVALID_NAME: i32 = 15;
pub const KERN_INVALID_TASK: i32 = 16;
pub const KERN_INVALID_RIGHT: i32 = 17;
pub const KERN_INVALID_VALUE: i32 = 18;
pub const KERN_UREFS_OVERFLOW: i32 = 19;
pub const KERN_INVALID_CAPABILITY: i32 = 20;
pub const KERN_RIGHT_EXISTS: i32 = 21;
pub const KERN_INVALID_HOST: i32 = 22;
pub const KERN_MEMORY_PRESENT: i32 = 23;
pub const KERN_WRITE_PROTECTION_FAILURE: i32 = 24;
pub const KERN_TERMINATED: i32 = 26;
pub const KERN_TIMEDOUT: i32 = 27;
pub const KERN_INTERRUPTED: i32 = 28;

/// Drover: a call was made while holding a lock (critical depth not 0).
pub const DROVER_LOCK_HELD: i32 = 100;
/// Drover: the wait would close a cycle of owned waits.
pub const DROVER_DEADLOCK: i32 = 101;
/// Drover: the owner of the wait died without waking.
pub const DROVER_OWNER_DIED: i32 = 102;
/// Drover: `drover_wait` found another value than expected.
pub const DROVER_CHANGED: i32 = 103;
/// Drover: the offer is outside the bounds that the interface states; nothing was done.
pub const DROVER_OFFER_REFUSED: i32 = 104;

pub const MACH_MSG_SUCCESS: i32 = 0;
pub const MACH_SEND_INVALID_DATA: i32 = 0x1000_0002;
pub const MACH_SEND_INVALID_DEST: i32 = 0x1000_0003;
pub const MACH_SEND_TIMED_OUT: i32 = 0x1000_0004;
pub const MACH_SEND_WILL_NOTIFY: i32 = 0x1000_0005;
pub const MACH_SEND_NOTIFY_IN_PROGRESS: i32 = 0x1000_0006;
pub const MACH_SEND_INTERRUPTED: i32 = 0x1000_0007;
pub const MACH_SEND_MSG_TOO_SMALL: i32 = 0x1000_0008;
pub const MACH_SEND_INVALID_REPLY: i32 = 0x1000_0009;
pub const MACH_SEND_INVALID_RIGHT: i32 = 0x1000_000a;
pub const MACH_SEND_INVALID_NOTIFY: i32 = 0x1000_000b;
pub const MACH_SEND_INVALID_MEMORY: i32 = 0x1000_000c;
pub const MACH_SEND_NO_BUFFER: i32 = 0x1000_000d;
pub const MACH_SEND_NO_NOTIFY: i32 = 0x1000_000e;
pub const MACH_SEND_INVALID_TYPE: i32 = 0x1000_000f;
pub const MACH_SEND_INVALID_HEADER: i32 = 0x1000_0010;
pub const MACH_RCV_INVALID_NAME: i32 = 0x1000_4002;
pub const MACH_RCV_TIMED_OUT: i32 = 0x1000_4003;
pub const MACH_RCV_TOO_LARGE: i32 = 0x1000_4004;
pub const MACH_RCV_INTERRUPTED: i32 = 0x1000_4005;
pub const MACH_RCV_PORT_CHANGED: i32 = 0x1000_4006;
pub const MACH_RCV_INVALID_NOTIFY: i32 = 0x1000_4007;
pub const MACH_RCV_INVALID_DATA: i32 = 0x1000_4008;
pub const MACH_RCV_PORT_DIED: i32 = 0x1000_4009;
pub const MACH_RCV_IN_SET: i32 = 0x1000_400a;
pub const MACH_RCV_HEADER_ERROR: i32 = 0x1000_400b;
pub const MACH_RCV_BODY_ERROR: i32 = 0x1000_400c;
/// Bits or'ed into a `mach_msg` return code: no room for a name.
pub const MACH_MSG_IPC_SPACE: i32 = 0x2000;
pub const MACH_MSG_VM_SPACE: i32 = 0x1000;
pub const MACH_MSG_IPC_KERNEL: i32 = 0x800;
pub const MACH_MSG_VM_KERNEL: i32 = 0x400;

pub const MIG_TYPE_ERROR: i32 = -300;
pub const MIG_REPLY_MISMATCH: i32 = -301;
pub const MIG_REMOTE_ERROR: i32 = -302;
pub const MIG_BAD_ID: i32 = -303;
pub const MIG_BAD_ARGUMENTS: i32 = -304;
pub const MIG_NO_REPLY: i32 = -305;
pub const MIG_EXCEPTION: i32 = -306;
pub const MIG_ARRAY_TOO_LARGE: i32 = -307;
pub const MIG_SERVER_DIED: i32 = -308;
pub const MIG_DESTROY_REQUEST: i32 = -309;

/// A Hurd errno on the wire.
#[must_use]
pub const fn hurd_errno(errno: i32) -> i32 {
    0x4000_0000 | errno
}
