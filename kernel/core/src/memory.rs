//! Memory objects.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::account::Payer;
use crate::kernel::Kernel;
use crate::machine::{Frame, Machine};
use crate::object::{Head, Kind, Object, Ref};

/// A memory object.
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable)]
pub struct Memory {
    /// Kind and flags.
    pub head: Head,
    pad: [u8; 124],
}

impl Object for Memory {
    const KIND: Kind = Kind::Memory;
}

impl<M: Machine> Kernel<M> {
    /// A memory object made of frames that lie one after the other (a boot module).
    pub(crate) fn memory_of_frames(&mut self, _payer: Payer, _start: Frame, _count: u32) -> Ref<Memory> {
        Ref::NONE
    }
}
