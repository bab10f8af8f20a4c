//! Address spaces: map entries.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::object::{Head, Kind, Object};
use crate::tree::{Links, Node};

/// A range of an address space.
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable)]
pub struct Entry {
    /// Kind and flags.
    pub head: Head,
    pad0: u32,
    /// Place in the map; the key is the start address.
    pub links: Links,
    pad: [u8; 96],
}

impl Object for Entry {
    const KIND: Kind = Kind::Entry;
}

/// Tag of the tree of map entries.
pub struct Map;
impl Node<Map> for Entry {
    fn links(&self) -> &Links {
        &self.links
    }
    fn links_mut(&mut self) -> &mut Links {
        &mut self.links
    }
}
