//! Activations: one visit of a thread to a task.

use drover_abi::donation::Donation;
use drover_abi::regs::UserRegs;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::account::Account;
use crate::object::{Head, Kind, Object, Ref};
use crate::port::Port;
use crate::right::RightSlot;
use crate::task::Task;
use crate::thread::Thread;

/// Why an activation must exit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// A ceiling was hit (CPU, frames, I/O), or memory of a payer that is gone was touched.
    Ceiling = 1,
    /// The deadline passed.
    Deadline = 2,
    /// The client died.
    ClientDied = 3,
    /// The server died.
    ServerDied = 4,
    /// `thread_abort`.
    Aborted = 5,
}

/// `phase`: runs normally.
pub const RUNNING: u8 = 0;
/// `phase`: an exit waits for the end of a critical section, on the escrow.
pub const CRITICAL: u8 = 1;
/// `phase`: the unwind entry runs, on the escrow.
pub const UNWINDING: u8 = 2;

/// An activation.
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable)]
pub struct Activation {
    /// Kind and flags.
    pub head: Head,
    /// Its thread.
    pub thread: Ref<Thread>,
    /// The task visited.
    pub task: Ref<Task>,
    /// The caller's activation; none at the bottom.
    pub lower: Ref<Activation>,
    /// The callee's activation; none at the top.
    pub upper: Ref<Activation>,
    /// Links of the task's list of visits.
    pub visit_next: Ref<Activation>,
    /// Links of the task's list of visits.
    pub visit_prev: Ref<Activation>,
    /// The RPC port called; none at the bottom, or when it died since.
    pub port: Ref<Port>,
    /// Saved registers (valid unless its thread is current and it is the top).
    pub regs: UserRegs,
    /// What remains of each ceiling.
    pub left: Donation,
    /// CPU used in this activation and those above it, ns.
    pub used_cpu: u64,
    /// I/O used likewise.
    pub used_io: u64,
    /// Window base; 0 at the bottom.
    pub window: u64,
    /// Next address of kernel-placed memory in the window.
    pub window_next: u64,
    /// CPU set aside for unwinding, ns.
    pub escrow_cpu: u64,
    /// Frames set aside for unwinding.
    pub escrow_frames: u64,
    /// Caller's receive buffer.
    pub reply_address: u64,
    /// Its size.
    pub reply_size: u32,
    /// Name of the caller's reply port, for the reply's local field.
    pub reply_name: u32,
    /// Disposition by which the caller made its reply right.
    pub reply_disposition: u32,
    /// Id of the request.
    pub request_id: i32,
    /// Code of the pending exit (a [`Exit`]), 0 = none.
    pub exit: u8,
    /// [`RUNNING`], [`CRITICAL`] or [`UNWINDING`].
    pub phase: u8,
    /// Payer mode.
    pub payer_mode: u8,
    /// The caller wants no reply (one-way).
    pub one_way: u8,
    /// kern_return_t that the caller gets on the pending exit.
    pub exit_code: i32,
    /// Payer mode ACCOUNT: which. Held by a right slot check at use.
    pub payer_account: Ref<Account>,
    /// FPU registers, saved; raw reference, 0 = never used.
    pub fpu: u32,
    /// FPU registers are in the machine now.
    pub fpu_live: u32,
    /// Frames of the window charged to the payer.
    pub window_frames: u32,
    /// The account that pays (in payer mode CALL).
    pub payer: Ref<Account>,
    /// Ports made on behalf of the call; they die with it.
    pub ports: Ref<Port>,
    /// Id of `payer_account`, by which a dead one is recognised.
    pub payer_id: u64,
    /// Hard end of an exit that overran its reserve, in CPU time of its thread.
    pub overrun_until: u64,
    /// One-way with a receive half: deadline of that.
    pub receive_deadline: u64,
    /// One-way with a receive half: options; 0 = none.
    pub receive_option: u32,
    /// One-way with a receive half: port for RCV_NOTIFY.
    pub receive_notify: u32,
    /// Options of the caller's receive half, for the reply.
    pub reply_option: u32,
    pad0: u32,
    /// Frames that the call was offered, without its unwind reserve.
    pub offered_frames: u64,
    pad: [u8; 72],
    /// The slot by which the death of `port` is noticed.
    pub(crate) port_slot: RightSlot,
}

impl Object for Activation {
    const KIND: Kind = Kind::Activation;
}

impl Activation {
    /// Whether it may draw on its escrow: an exit is pending (it finishes a critical section or unwinds).
    #[must_use]
    pub const fn may_use_escrow(&self) -> bool {
        self.phase != RUNNING
    }
}
