//! The call window: layout of the memory of one activation (see `docs/architecture.md`).

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Size and alignment of a window.
pub const WINDOW_SIZE: u64 = 1 << 33;
/// First address of the call windows in every address space.
pub const WINDOWS_BASE: u64 = 0x4000_0000_0000;
/// First address after the call windows.
pub const WINDOWS_END: u64 = 0x6000_0000_0000;
/// First address of the slots for home activations (set up by exec and libhurd with `vm_map`).
pub const HOME_BASE: u64 = 0x2000_0000_0000;
/// Offset of the request message.
pub const REQUEST: u64 = 0x100;
/// Largest request.
pub const REQUEST_MAX: u64 = 0x1ff00;
/// Offset of the reply buffer of a home slot (a convention of libhurd; in a call its replies begin behind the request).
pub const REPLY: u64 = 0x20000;
/// Largest reply.
pub const REPLY_MAX: u64 = 0x20000;
/// Offset of the guard page below the stack.
pub const STACK_GUARD: u64 = 0x40000;
/// Offset of the top of the stack.
pub const STACK_TOP: u64 = 0x80000;
/// Offset of the call arena.
pub const ARENA: u64 = 0x100000;
/// Offset of the end of the call arena; kernel-placed memory follows.
pub const ARENA_END: u64 = 0x1_0000_0000;

/// First 256 bytes of a window. The kernel reads `critical` and writes `exit_pending`; the rest it fills in once.
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable)]
pub struct LocalBlock {
    /// Address of this block.
    pub this: u64,
    /// Depth of critical sections (locks held).
    pub critical: u32,
    /// Not 0: an exit waits for the critical depth to come to 0; the value is the reason.
    pub exit_pending: u32,
    /// Id of the thread.
    pub tid: u64,
    /// Id of the account that pays for the thread.
    pub payer: u64,
    /// Protected payload of the port called (0 for a home activation).
    pub payload: u64,
    /// 0 in a home activation, 1 in a call.
    pub in_call: u64,
    /// For libhurd.
    pub user: [u64; 26],
}

const _: () = assert!(size_of::<LocalBlock>() == 0x100);
