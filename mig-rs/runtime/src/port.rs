//! Port names and rights as arguments.

use drover_abi::message::msgt;

use crate::Flat;

/// A name in the port name space of whoever holds the message (`mach_port_name_t`).
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    zerocopy::FromBytes,
    zerocopy::IntoBytes,
    zerocopy::Immutable,
    zerocopy::KnownLayout,
)]
#[repr(transparent)]
pub struct PortName(pub u32);

impl PortName {
    /// `MACH_PORT_NULL`.
    pub const NULL: Self = Self(drover_abi::port::MACH_PORT_NULL);
    /// `MACH_PORT_DEAD`.
    pub const DEAD: Self = Self(drover_abi::port::MACH_PORT_DEAD);

    /// Neither null nor dead.
    #[must_use]
    #[inline]
    pub const fn is_valid(self) -> bool {
        self.0 != Self::NULL.0 && self.0 != Self::DEAD.0
    }
}

/// A right as a kernel holds it in its own messages: the whole word, such as the address of the port.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    zerocopy::FromBytes,
    zerocopy::IntoBytes,
    zerocopy::Immutable,
    zerocopy::KnownLayout,
)]
#[repr(transparent)]
pub struct KernelPort(pub u64);

/// What stands for a right in the 8 bytes that one takes in a message: [`PortName`], [`KernelPort`], or a kernel's own type, of which
/// `Value::RIGHT_BITS` is 64.
pub trait Name: Flat + Default {
    /// From the word in a message.
    fn of_word(word: u64) -> Self;
    /// The word in a message.
    fn word(self) -> u64;
}

impl Name for PortName {
    #[inline(always)]
    fn of_word(word: u64) -> Self {
        Self(word as u32)
    }
    #[inline(always)]
    fn word(self) -> u64 {
        u64::from(self.0)
    }
}

impl Name for KernelPort {
    #[inline(always)]
    fn of_word(word: u64) -> Self {
        Self(word)
    }
    #[inline(always)]
    fn word(self) -> u64 {
        self.0
    }
}

/// A right in a message: a name and what is done with it (`msgt_name`, see [`msgt`]).
///
/// A receiver sees `PORT_RECEIVE`, `PORT_SEND` or `PORT_SEND_ONCE`; in a message as its sender wrote it, also
/// `COPY_SEND`, `MAKE_SEND` and `MAKE_SEND_ONCE`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Port<N = PortName> {
    /// The name.
    pub name: N,
    /// `msgt_name`.
    pub disposition: u32,
}

impl Port {
    /// No right at all; travels as a null send right.
    pub const NULL: Self = Self { name: PortName::NULL, disposition: msgt::COPY_SEND };
}

impl<N> Port<N> {
    /// A right with the given disposition.
    #[must_use]
    #[inline]
    pub const fn new(name: N, disposition: u32) -> Self {
        Self { name, disposition }
    }
    /// The sender keeps its send right; the receiver gets one more.
    #[must_use]
    #[inline]
    pub const fn copy_send(name: N) -> Self {
        Self::new(name, msgt::COPY_SEND)
    }
    /// The sender gives its send right away.
    #[must_use]
    #[inline]
    pub const fn move_send(name: N) -> Self {
        Self::new(name, msgt::MOVE_SEND)
    }
    /// A send right made from the sender's receive right.
    #[must_use]
    #[inline]
    pub const fn make_send(name: N) -> Self {
        Self::new(name, msgt::MAKE_SEND)
    }
    /// The sender gives its send-once right away.
    #[must_use]
    #[inline]
    pub const fn move_send_once(name: N) -> Self {
        Self::new(name, msgt::MOVE_SEND_ONCE)
    }
    /// A send-once right made from the sender's receive right.
    #[must_use]
    #[inline]
    pub const fn make_send_once(name: N) -> Self {
        Self::new(name, msgt::MAKE_SEND_ONCE)
    }
    /// The sender gives its receive right away.
    #[must_use]
    #[inline]
    pub const fn move_receive(name: N) -> Self {
        Self::new(name, msgt::MOVE_RECEIVE)
    }
}

/// What the receiver sees of a right that was sent with `disposition`.
#[must_use]
#[inline]
pub(crate) const fn received(disposition: u32) -> u32 {
    match disposition {
        msgt::COPY_SEND | msgt::MAKE_SEND => msgt::PORT_SEND,
        msgt::MAKE_SEND_ONCE => msgt::PORT_SEND_ONCE,
        other => other,
    }
}
