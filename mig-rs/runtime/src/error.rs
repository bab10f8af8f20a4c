//! Why a call failed, and whose failure it was.

use core::fmt;
use drover_abi::returns::{
    DROVER_DEADLOCK, DROVER_LOCK_HELD, DROVER_OFFER_REFUSED, DROVER_OWNER_DIED, KERN_RESOURCE_SHORTAGE,
    KERN_TIMEDOUT, MACH_RCV_TIMED_OUT, MACH_SEND_TIMED_OUT, MIG_ARRAY_TOO_LARGE, MIG_DESTROY_REQUEST,
    MIG_SERVER_DIED, MIG_TYPE_ERROR,
};

use crate::{Bad, Overflow};

/// The failure of a call. In every case the caller paid for what was done until then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RpcError {
    /// The message did not get through (`mach_msg_return_t`), or the kernel refused the call (`kern_return_t`): a bad name, a bad right, no memory for the message.
    /// The server has not seen the call, unless the code is one of receiving.
    Transport(i32),
    /// Client and server do not agree on the interface, or an argument does not fit in it (MIG codes, -300 to -309). A server that answers with one of
    /// these itself, or with one of those below, cannot be told from this.
    Mig(i32),
    /// The server died, or dropped the call without a reply.
    ServerDied,
    /// What was offered did not suffice: `KERN_RESOURCE_SHORTAGE` for a ceiling or an account's limit, `KERN_TIMEDOUT` or
    /// a transport time-out for the deadline, `DROVER_OFFER_REFUSED` for an offer outside the interface's bounds, and the
    /// refusals of Drover's wait and lock rules.
    Ceiling(i32),
    /// The routine's own answer (`kern_return_t` or a Hurd errno).
    Routine(i32),
}

impl RpcError {
    /// From what [`Transport::call`](crate::Transport::call) returned.
    #[must_use]
    #[cold]
    pub const fn from_transport(code: i32) -> Self {
        match code {
            MACH_SEND_TIMED_OUT | MACH_RCV_TIMED_OUT => Self::Ceiling(code),
            _ => match Self::from_return(code) {
                // Nobody has answered yet.
                Self::Routine(code) => Self::Transport(code),
                other => other,
            },
        }
    }

    /// From the return code in a reply.
    #[must_use]
    #[cold]
    pub const fn from_return(code: i32) -> Self {
        match code {
            MIG_SERVER_DIED => Self::ServerDied,
            MIG_DESTROY_REQUEST..=MIG_TYPE_ERROR => Self::Mig(code),
            KERN_RESOURCE_SHORTAGE
            | KERN_TIMEDOUT
            | DROVER_LOCK_HELD
            | DROVER_DEADLOCK
            | DROVER_OFFER_REFUSED
            | DROVER_OWNER_DIED => Self::Ceiling(code),
            _ => Self::Routine(code),
        }
    }

    /// The bare code, as a C stub would return it.
    #[must_use]
    pub const fn code(self) -> i32 {
        match self {
            Self::ServerDied => MIG_SERVER_DIED,
            Self::Transport(code) | Self::Mig(code) | Self::Ceiling(code) | Self::Routine(code) => code,
        }
    }
}

impl RpcError {
    /// The Hurd errno in a routine's own code.
    #[must_use]
    pub const fn errno(self) -> Option<i32> {
        match self {
            Self::Routine(code) if code as u32 & 0xffff_c000 == 0x4000_0000 => Some(code & 0x3fff),
            _ => None,
        }
    }
}

impl fmt::Display for RpcError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Transport(code) => write!(f, "message not delivered ({code:#x})"),
            Self::Mig(code) => write!(f, "interface mismatch ({code})"),
            Self::ServerDied => f.write_str("server died"),
            Self::Ceiling(code) => write!(f, "the offer did not suffice ({code:#x})"),
            Self::Routine(code) => write!(f, "refused ({code:#x})"),
        }
    }
}

impl core::error::Error for RpcError {}

impl From<Overflow> for RpcError {
    #[cold]
    fn from(_: Overflow) -> Self {
        Self::Mig(MIG_ARRAY_TOO_LARGE)
    }
}

impl From<Bad> for RpcError {
    #[cold]
    fn from(_: Bad) -> Self {
        Self::Mig(MIG_TYPE_ERROR)
    }
}

/// So that a server may pass on the failure of a call of its own with `?`.
impl From<RpcError> for i32 {
    fn from(error: RpcError) -> Self {
        error.code()
    }
}
