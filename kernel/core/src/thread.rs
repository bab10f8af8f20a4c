//! Threads: what the scheduler runs. A thread is a stack of activations and belongs to no task of its own; its payer is the account
//! that its object is charged to.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::account::Account;
use crate::activation::Activation;
use crate::object::{Head, Kind, Object, Ref};
use crate::port::Port;
use crate::right::RightSlot;
use crate::task::Task;
use crate::tree::{Links, Node};

/// `head.state`: not to be run (created, or suspended while not waiting).
pub const STOPPED: u16 = 0;
/// `head.state`: in its account's ready list, or current.
pub const READY: u16 = 1;
/// `head.state`: parked; `waiting` says on what.
pub const BLOCKED: u16 = 2;
/// `head.state`: ended, to be freed.
pub const ENDED: u16 = 3;

/// `waiting`: on nothing.
pub const ON_NOTHING: u8 = 0;
/// `waiting`: for a message on the port or set `wait_on`.
pub const ON_RECEIVE: u8 = 1;
/// `waiting`: for room in the queue of the port `wait_on`.
pub const ON_SEND: u8 = 2;
/// `waiting`: on a word (`drover_wait`, `gsync_wait`) or just for a time.
pub const ON_WORD: u8 = 3;
/// `waiting`: for an account's or task's end (`wait_on`).
pub const ON_END: u8 = 4;
/// `waiting`: for console input.
pub const ON_CONSOLE: u8 = 5;

/// `waiting`: for a new CPU budget of its payer.
pub const ON_BUDGET: u8 = 6;

/// `head.flags`: it is to end as soon as it is back at its bottom activation.
pub const ENDING: u8 = 1;

/// `resume`: return to user mode as the registers say.
pub const RESUME_USER: u8 = 0;
/// `resume`: execute the trap again (registers are as at the `syscall`, `rip` at the instruction).
pub const RESUME_RESTART: u8 = 1;
/// `resume`: go on with the receive half of `mach_msg` (`receive`).
pub const RESUME_RECEIVE: u8 = 2;

/// The receive half of a `mach_msg`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, KnownLayout, Immutable)]
pub struct Receive {
    /// Buffer.
    pub address: u64,
    /// Deadline in ns, `u64::MAX` = none.
    pub deadline: u64,
    /// Its size.
    pub size: u32,
    /// Port or set.
    pub name: u32,
    /// Options.
    pub option: u32,
    /// Port for RCV_NOTIFY.
    pub notify: u32,
}

/// A thread.
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable)]
pub struct Thread {
    /// `state`: [`STOPPED`], [`READY`], [`BLOCKED`] or [`ENDED`].
    pub head: Head,
    /// The task that it started in.
    pub home: Ref<Task>,
    /// Never reused.
    pub tid: u64,
    /// The activation that runs.
    pub top: Ref<Activation>,
    /// The bottom one.
    pub bottom: Ref<Activation>,
    /// Activations on the stack.
    pub depth: u32,
    /// Suspend count.
    pub suspended: u32,
    /// Links of the ready list of its account.
    pub ready_next: Ref<Thread>,
    /// Links of the ready list of its account.
    pub ready_prev: Ref<Thread>,
    /// Links of its home task's list.
    pub home_next: Ref<Thread>,
    /// Links of its home task's list.
    pub home_prev: Ref<Thread>,
    /// Links of the list of the port (or word bucket) that it waits on.
    pub wait_next: Ref<Thread>,
    /// Links of the list of the port (or word bucket) that it waits on.
    pub wait_prev: Ref<Thread>,
    /// Raw reference of what it waits on.
    pub wait_on: u32,
    /// One of the `ON_` values.
    pub waiting: u8,
    /// One of the `RESUME_` values.
    pub resume: u8,
    /// The restarted trap has a deadline already (in `receive.deadline`).
    pub restarting: u8,
    /// The wait lends its turns to the owner.
    pub lend: u8,
    /// Word waits: the word's frame and offset (physical address).
    pub wait_word: u64,
    /// Word waits: tid of the owner, 0 = none.
    pub wait_owner: u64,
    /// Timer; the key is the time in ns.
    pub timer: Links,
    /// The receive half of a `mach_msg`.
    pub receive: Receive,
    /// Its kernel port.
    pub port: Ref<Port>,
    /// In the ready list (1) or not (0).
    pub queued: u32,
    pad1: [u8; 16],
    /// Exception port.
    pub exception: RightSlot,
    /// CPU time, ns.
    pub cpu_ns: u64,
    /// For people, NUL-padded.
    pub name: [u8; 32],
    /// Threads whose owned wait names this one (help them first): the lender, if any.
    pub lender: Ref<Thread>,
    /// Why it was woken: 0 = what it waited for happened, else the code of the failure.
    pub wake_code: i32,
    /// The account whose ready list it is in.
    pub queued_in: Ref<Account>,
    /// Threads that wait for this one by an owned wait: first.
    pub waiters: Ref<Thread>,
    /// Links of the owner's `waiters` list.
    pub waiter_next: Ref<Thread>,
    /// Links of the owner's `waiters` list.
    pub waiter_prev: Ref<Thread>,
    /// Deadline of the wait, `u64::MAX` = none.
    pub wait_deadline: u64,
    /// First of a list of waiters whose owner has ended: the next such list.
    pub orphan_next: Ref<Thread>,
    /// First of a list of waiters whose owner has ended: the previous such list.
    pub orphan_prev: Ref<Thread>,
    pad: [u8; 240],
}

impl Object for Thread {
    const KIND: Kind = Kind::Thread;
}

/// Tag of the tree of timers.
pub struct Timers;
impl Node<Timers> for Thread {
    fn links(&self) -> &Links {
        &self.timer
    }
    fn links_mut(&mut self) -> &mut Links {
        &mut self.timer
    }
}
