//! Tasks: an address space and a port name space, in frames of an account.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::account::Account;
use crate::activation::Activation;
use crate::map::Entry;
use crate::object::{Head, Kind, Object, Ref};
use crate::port::Port;
use crate::right::RightSlot;
use crate::thread::Thread;

/// `head.state` of a live task.
pub const TASK_ALIVE: u16 = 0;
/// `head.state` of a task that is being terminated.
pub const TASK_DYING: u16 = 1;

/// A task.
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable)]
pub struct Task {
    /// `state`: [`TASK_ALIVE`] or [`TASK_DYING`].
    pub head: Head,
    /// Who pays.
    pub account: Ref<Account>,
    /// Never reused.
    pub id: u64,
    /// Root page table.
    pub root_table: u32,
    /// Directory frame of the port name space.
    pub names: u32,
    /// First free name (0: none freed yet), a list through the slots.
    pub names_free: u32,
    /// Names ever used; the next fresh name.
    pub names_top: u32,
    /// Live names.
    pub names_used: u32,
    /// Map entries, by address.
    pub map: Ref<Entry>,
    /// Number of map entries.
    pub entries: u32,
    /// Threads whose home it is.
    pub threads: Ref<Thread>,
    /// Number of them.
    pub thread_count: u32,
    /// Activations that visit it.
    pub visits: Ref<Activation>,
    /// Its kernel port.
    pub port: Ref<Port>,
    /// Suspend count.
    pub suspended: u32,
    /// Thread that waits for its termination to end.
    pub terminator: Ref<Thread>,
    /// Names on the list of free names.
    pub names_freed: u32,
    /// Bytes mapped.
    pub virtual_size: u64,
    /// CPU time spent in it by its own threads and visitors, ns.
    pub cpu_ns: u64,
    /// Forced exits of visitors, by kind (ceiling, deadline, client died, server died, aborted).
    pub exits: [u64; 5],
    /// Exits that overran the unwind reserve.
    pub overruns: u64,
    /// Visits ever made.
    pub visits_total: u64,
    /// Where the search for room for a mapping begins.
    pub place_hint: u64,
    /// While it is being made a copy of its parent: up to where.
    pub fork_at: u64,
    /// Exception port.
    pub exception: RightSlot,
    /// Bootstrap port.
    pub bootstrap: RightSlot,
    /// For people, NUL-padded.
    pub name: [u8; 32],
    /// Windows in use, one bit each.
    pub windows: [u64; 64],
    /// Id of `reap_payer`.
    pub reap_payer_id: u64,
    /// Next dying task.
    pub reap_next: Ref<Task>,
    /// Who pays for taking it apart.
    pub reap_payer: Ref<Account>,
    pad: [u8; 240],
}

impl Object for Task {
    const KIND: Kind = Kind::Task;
}
