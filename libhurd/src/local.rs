//! The local block of the running activation: found from the stack pointer, read by the kernel.
//!
//! Every stack lies in an 8 GiB-aligned slot (a call window or a home slot) whose first 256 bytes are a [`LocalBlock`]. It belongs to
//! one activation, hence to one thread at a time: no access needs to be atomic, only single instructions that the kernel may come
//! between (it reads `critical` and writes `exit_pending`).
//!
//! Words of `user`, which are libhurd's: see the `WORD_` constants. In a call window all are 0 at entry.

use core::sync::atomic::{Ordering, compiler_fence};

#[cfg(target_os = "none")]
use drover_abi::window::WINDOW_SIZE;
use drover_abi::window::{ARENA, LocalBlock};
use mig_runtime::PortName;

use crate::bump::Bump;

/// Name of the reply port in use, 0 = none yet.
const WORD_REPLY_PORT: usize = 0;
/// Payer mode: `PAYER_CALL`, `PAYER_OWN` or `PAYER_ACCOUNT`, and the account's name in the upper half.
const WORD_PAYER: usize = 1;
/// First of the call-scoped cleanups.
const WORD_CLEANUPS: usize = 2;
/// [`Local::state`] bits.
const WORD_STATE: usize = 3;
/// Last error of an allocation that failed, for the panic handler.
const WORD_SHORTAGE: usize = 4;
/// The call's first memory for allocations, behind its request: what is free of it, and its end.
const WORD_NEAR: usize = 5;
const WORD_NEAR_END: usize = 6;
/// What is free of the front of the call arena; 0 = all.
const WORD_FAR: usize = 7;

/// State: the call arena has been set up.
pub(crate) const ARENA_READY: u64 = 1;
/// State: the activation unwinds; nothing is allocated from the call arena any more.
pub(crate) const UNWINDING: u64 = 2;
/// State: the panic handler runs.
pub(crate) const PANICKING: u64 = 4;

/// The local block of the running activation.
#[derive(Clone, Copy)]
pub struct Local(*mut LocalBlock);

macro_rules! field {
    ($(#[$doc:meta])* $name:ident : $t:ty) => {
        $(#[$doc])*
        #[must_use]
        pub fn $name(self) -> $t {
            // SAFETY: the block is valid for as long as its stack, on which we run; it has no other user than this thread
            // and the kernel, for which the access is volatile.
            unsafe { (&raw const (*self.0).$name).read_volatile() }
        }
    };
}

impl Local {
    /// The block of the activation that runs this.
    #[cfg(target_os = "none")]
    #[inline]
    #[must_use]
    pub fn current() -> Self {
        let rsp: u64;
        // SAFETY: reads a register.
        unsafe { core::arch::asm!("mov {}, rsp", out(reg) rsp, options(nomem, nostack, preserves_flags)) };
        Self((rsp & !(WINDOW_SIZE - 1)) as *mut LocalBlock)
    }

    /// On the host every thread has a block of its own, leaked.
    #[cfg(not(target_os = "none"))]
    #[must_use]
    pub fn current() -> Self {
        use zerocopy::FromZeros;
        std::thread_local!(static BLOCK: *mut LocalBlock = std::boxed::Box::leak(std::boxed::Box::new(LocalBlock::new_zeroed())));
        Self(BLOCK.with(|block| *block))
    }

    field!(
        /// Address of the slot: window base, or home slot.
        this: u64
    );
    field!(
        /// Depth of critical sections.
        critical: u32
    );
    field!(
        /// Reason of the exit that waits for the end of the critical section; 0 = none.
        exit_pending: u32
    );
    field!(
        /// Id of the thread, never reused.
        tid: u64
    );
    field!(
        /// Id of the account that pays for the thread.
        payer: u64
    );
    field!(
        /// Protected payload of the port called.
        payload: u64
    );

    /// Whether this is a call: the caller pays, and memory of the window goes away at its end.
    #[must_use]
    pub fn in_call(self) -> bool {
        // SAFETY: as in the accessors above.
        unsafe { (&raw const (*self.0).in_call).read_volatile() != 0 }
    }

    fn word(self, index: usize) -> u64 {
        // SAFETY: as in the accessors above; `index` is one of the constants, all below 26.
        unsafe { (&raw const (*self.0).user[index]).read_volatile() }
    }

    fn set_word(self, index: usize, value: u64) {
        // SAFETY: as in `word`.
        unsafe { (&raw mut (*self.0).user[index]).write_volatile(value) }
    }

    /// Fills in the block of a home activation (the kernel does it for a call).
    pub(crate) fn adopt(self, base: u64, tid: u64, payer: u64) {
        // SAFETY: the block is this thread's, which has just started.
        unsafe {
            (&raw mut (*self.0).this).write_volatile(base);
            (&raw mut (*self.0).tid).write_volatile(tid);
            (&raw mut (*self.0).payer).write_volatile(payer);
        }
        for index in 0..26 {
            self.set_word(index, 0);
        }
    }

    pub(crate) fn reply_port(self) -> PortName {
        PortName(self.word(WORD_REPLY_PORT) as u32)
    }
    pub(crate) fn set_reply_port(self, name: PortName) {
        self.set_word(WORD_REPLY_PORT, u64::from(name.0));
    }
    pub(crate) fn payer_word(self) -> u64 {
        self.word(WORD_PAYER)
    }
    pub(crate) fn set_payer_word(self, value: u64) {
        self.set_word(WORD_PAYER, value);
    }
    pub(crate) fn cleanups(self) -> u64 {
        self.word(WORD_CLEANUPS)
    }
    pub(crate) fn set_cleanups(self, first: u64) {
        self.set_word(WORD_CLEANUPS, first);
    }
    pub(crate) fn state(self, bit: u64) -> bool {
        self.word(WORD_STATE) & bit != 0
    }
    pub(crate) fn set_state(self, bit: u64) {
        self.set_word(WORD_STATE, self.word(WORD_STATE) | bit);
    }
    pub(crate) fn shortage(self) -> i32 {
        self.word(WORD_SHORTAGE) as i32
    }
    pub(crate) fn set_shortage(self, code: i32) {
        self.set_word(WORD_SHORTAGE, code as u32 as u64);
    }

    /// The memory between the call's request and its reply.
    pub(crate) fn near(self) -> Bump {
        Bump { next: self.word(WORD_NEAR), end: self.word(WORD_NEAR_END) }
    }
    pub(crate) fn set_near(self, near: Bump) {
        self.set_word(WORD_NEAR, near.next);
        self.set_word(WORD_NEAR_END, near.end);
    }
    /// The front of the call arena, of `size` bytes.
    pub(crate) fn far(self, size: u64) -> Bump {
        let start = self.this() + ARENA;
        let next = match self.word(WORD_FAR) {
            0 => start,
            next => next,
        };
        Bump { next, end: start + size }
    }
    pub(crate) fn set_far(self, far: Bump) {
        self.set_word(WORD_FAR, far.next);
    }

    fn set_critical(self, depth: u32) {
        // SAFETY: only this thread changes the depth.
        unsafe { (&raw mut (*self.0).critical).write_volatile(depth) };
    }

    /// Enters a critical section: until its end an exit waits, on the call's escrow, and calls are refused.
    #[inline]
    pub(crate) fn critical_enter(self) {
        self.set_critical(self.critical() + 1);
        compiler_fence(Ordering::SeqCst);
    }

    /// Leaves a critical section; if it was the last one and an exit waits, the exit happens here.
    #[inline]
    pub(crate) fn critical_leave(self) {
        compiler_fence(Ordering::SeqCst);
        let depth = self.critical() - 1;
        self.set_critical(depth);
        compiler_fence(Ordering::SeqCst);
        if depth == 0 && self.exit_pending() != 0 {
            crate::syscall::drover_critical_end();
        }
    }
}

/// Runs `body` as a critical section: no exit takes effect inside, calls are refused, and the port's declared unwind reserve must
/// cover it.
pub fn critical<R>(body: impl FnOnce() -> R) -> R {
    let local = Local::current();
    local.critical_enter();
    let result = body();
    local.critical_leave();
    result
}
