//! Messages: the 32-byte header, the 8-byte type descriptor, dispositions and options.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// `mach_msg_header_t`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
pub struct Header {
    /// Dispositions and flags.
    pub bits: u32,
    /// Bytes, header included.
    pub size: u32,
    /// Remote port: a 32-bit name in an 8-byte slot.
    pub remote: u64,
    /// Local port (32-bit name), or the protected payload.
    pub local: u64,
    /// Sequence number, set on receive.
    pub seqno: u32,
    /// Message id.
    pub id: i32,
}

/// Bytes of a header.
pub const HEADER_SIZE: usize = 32;
const _: () = assert!(size_of::<Header>() == HEADER_SIZE);

/// `MACH_MSGH_BITS_COMPLEX`: the body carries rights or out-of-line data.
pub const BITS_COMPLEX: u32 = 0x8000_0000;

/// `MACH_MSGH_BITS(remote, local)`.
#[must_use]
#[inline]
pub const fn bits(remote: u32, local: u32) -> u32 {
    remote | (local << 8)
}

/// Disposition of the remote right.
#[must_use]
#[inline]
pub const fn remote_disposition(bits: u32) -> u32 {
    bits & 0xff
}

/// Disposition of the local right.
#[must_use]
#[inline]
pub const fn local_disposition(bits: u32) -> u32 {
    (bits >> 8) & 0xff
}

/// `msgt_name` values.
pub mod msgt {
    #![allow(missing_docs, reason = "the names are Mach's")]
    pub const UNSTRUCTURED: u32 = 0;
    pub const BOOLEAN: u32 = 0;
    pub const INTEGER_16: u32 = 1;
    pub const INTEGER_32: u32 = 2;
    pub const CHAR: u32 = 8;
    pub const BYTE: u32 = 9;
    pub const REAL: u32 = 10;
    pub const INTEGER_64: u32 = 11;
    pub const STRING: u32 = 12;
    pub const PORT_NAME: u32 = 15;
    pub const MOVE_RECEIVE: u32 = 16;
    pub const MOVE_SEND: u32 = 17;
    pub const MOVE_SEND_ONCE: u32 = 18;
    pub const COPY_SEND: u32 = 19;
    pub const MAKE_SEND: u32 = 20;
    pub const MAKE_SEND_ONCE: u32 = 21;
    pub const PORT_RECEIVE: u32 = 16;
    pub const PORT_SEND: u32 = 17;
    pub const PORT_SEND_ONCE: u32 = 18;
    pub const PROTECTED_PAYLOAD: u32 = 23;
    pub const POLYMORPHIC: u32 = 0xff;

    /// Any port right.
    #[must_use]
    #[inline]
    pub const fn is_port(name: u32) -> bool {
        name >= MOVE_RECEIVE && name <= MAKE_SEND_ONCE
    }
}

/// `mach_msg_type_t`: one 64-bit word.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
pub struct TypeWord(pub u64);

impl TypeWord {
    /// Bit 29: the data are in the message.
    pub const INLINE: u64 = 1 << 29;
    /// Bit 30: longform.
    pub const LONGFORM: u64 = 1 << 30;
    /// Bit 31: deallocate.
    pub const DEALLOCATE: u64 = 1 << 31;

    /// An inline descriptor.
    #[must_use]
    #[inline]
    pub const fn inline(name: u32, size_bits: u32, number: u32) -> Self {
        Self(name as u64 | ((size_bits as u64) << 8) | Self::INLINE | ((number as u64) << 32))
    }
    /// `msgt_name`.
    #[must_use]
    #[inline]
    pub const fn name(self) -> u32 {
        (self.0 & 0xff) as u32
    }
    /// `msgt_size`, in bits.
    #[must_use]
    #[inline]
    pub const fn size_bits(self) -> u32 {
        ((self.0 >> 8) & 0xffff) as u32
    }
    /// `msgt_number`.
    #[must_use]
    #[inline]
    pub const fn number(self) -> u32 {
        (self.0 >> 32) as u32
    }
    /// The data are in the message.
    #[must_use]
    #[inline]
    pub const fn is_inline(self) -> bool {
        self.0 & Self::INLINE != 0
    }
    /// The sender's memory goes with the message.
    #[must_use]
    #[inline]
    pub const fn is_dealloc(self) -> bool {
        self.0 & Self::DEALLOCATE != 0
    }
    /// Bits 24..28, which must be 0.
    #[must_use]
    #[inline]
    pub const fn unused(self) -> u32 {
        ((self.0 >> 24) & 0x1f) as u32
    }
}

/// Options of `mach_msg`.
pub mod option {
    #![allow(missing_docs, reason = "the names are Mach's")]
    pub const SEND_MSG: u32 = 0x1;
    pub const RCV_MSG: u32 = 0x2;
    pub const SEND_TIMEOUT: u32 = 0x10;
    pub const SEND_NOTIFY: u32 = 0x20;
    pub const SEND_INTERRUPT: u32 = 0x40;
    pub const SEND_CANCEL: u32 = 0x80;
    pub const RCV_TIMEOUT: u32 = 0x100;
    pub const RCV_NOTIFY: u32 = 0x200;
    pub const RCV_INTERRUPT: u32 = 0x400;
    pub const RCV_LARGE: u32 = 0x800;
}
