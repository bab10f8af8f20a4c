//! Threads of this task, each with a home slot: local block and message buffers at its base, stack below `STACK_TOP`.
//!
//! The task pays for a thread, its stack and its work; with [`spawn_for`] another account pays for the thread and its work. A slot is used again
//! after its thread has ended; its memory is kept for that. A program has at most 4096 threads.

use alloc::boxed::Box;
use core::sync::atomic::{AtomicU64, Ordering};

use drover_abi::returns::KERN_NO_SPACE;
use drover_abi::window::{
    HOME_BASE, REPLY, REPLY_MAX, REQUEST, REQUEST_MAX, STACK_GUARD, STACK_TOP, WINDOW_SIZE,
};
use hurd_stubs::{account, mach};
use mig_runtime::PortName;

use crate::local::Local;
use crate::port::SendRight;
use crate::rpc::{ALL, Mach};
use crate::{payer, start, syscall, task, vm};

const SLOTS: usize = 4096;
const PAGE: u64 = drover_abi::PAGE_SIZE as u64;
/// `i386_THREAD_STATE`.
const THREAD_STATE: i32 = 1;
/// 32-bit words of that state.
const STATE_WORDS: usize = 42;

/// Slots in use; slot 0 is the first thread's.
static USED: [AtomicU64; SLOTS / 64] = {
    let mut bits = [const { AtomicU64::new(0) }; SLOTS / 64];
    bits[0] = AtomicU64::new(1);
    bits
};
/// Slots whose memory is mapped.
static MAPPED: [AtomicU64; SLOTS / 64] = [const { AtomicU64::new(0) }; SLOTS / 64];

fn take_slot() -> Option<usize> {
    USED.iter().enumerate().find_map(|(index, word)| {
        word.fetch_update(Ordering::AcqRel, Ordering::Relaxed, |bits| {
            (bits != u64::MAX).then(|| bits | (!bits & bits.wrapping_add(1)))
        })
        .ok()
        .map(|before| index * 64 + before.trailing_ones() as usize)
    })
}

fn free_slot(slot: usize) {
    USED[slot / 64].fetch_and(!(1 << (slot % 64)), Ordering::AcqRel);
}

const fn base_of(slot: usize) -> u64 {
    HOME_BASE + slot as u64 * WINDOW_SIZE
}

/// Maps a home slot at `base` in `task` (not necessarily this one): the local block, message buffers, guard page, stack. Demand-zero, paid by
/// the task's account. For whoever starts a program.
///
/// # Errors
/// The kernel's; what was mapped stays.
pub fn map_home(task: PortName, base: u64) -> Result<(), i32> {
    mach::vm_allocate(&Mach, task, base, STACK_GUARD, false, ALL)?;
    mach::vm_allocate(&Mach, task, base + STACK_GUARD + PAGE, STACK_TOP - STACK_GUARD - PAGE, false, ALL)?;
    Ok(())
}

/// The stack pointer with which a thread starts in the home slot at `base`.
#[must_use]
pub const fn initial_stack(base: u64) -> u64 {
    base + STACK_TOP - 8
}

/// Sets where a thread starts: instruction, stack, first argument.
///
/// # Errors
/// The kernel's.
pub fn set_start(thread: PortName, rip: u64, rsp: u64, argument: u64) -> Result<(), i32> {
    // r8-r15, rdi, rsi, rbp, rsp (unused), rbx, rdx, rcx, rax, rip, cs, rflags, ursp, ss: 64 bits each.
    let mut state = [0u32; STATE_WORDS];
    let mut set = |word: usize, value: u64| {
        state[word * 2] = value as u32;
        state[word * 2 + 1] = (value >> 32) as u32;
    };
    set(8, argument);
    set(16, rip);
    set(19, rsp);
    Ok(mach::thread_set_state(&Mach, thread, THREAD_STATE, &state, ALL)?)
}

/// Starts a thread that runs `body`; the task pays. The thread ends when it returns.
///
/// # Errors
/// The kernel's, or `KERN_NO_SPACE` when there are too many; nothing is started.
pub fn spawn(body: impl FnOnce() + Send + 'static) -> Result<(), i32> {
    payer::own(|| start_thread(PortName::NULL, Box::new(body)))
}

/// As [`spawn`], but `payer` pays for the thread and its work.
///
/// # Errors
/// As for [`spawn`]; `KERN_INVALID_RIGHT` if the account may not be charged.
pub fn spawn_for(payer: PortName, body: impl FnOnce() + Send + 'static) -> Result<(), i32> {
    payer::own(|| start_thread(payer, Box::new(body)))
}

/// What a thread runs, behind a thin pointer.
struct Body {
    run: Box<dyn FnOnce() + Send>,
    slot: usize,
}

fn start_thread(payer: PortName, run: Box<dyn FnOnce() + Send>) -> Result<(), i32> {
    let slot = take_slot().ok_or(KERN_NO_SPACE)?;
    let body = Box::into_raw(Box::new(Body { run, slot }));
    let started = (|| {
        let base = base_of(slot);
        let (word, bit) = (&MAPPED[slot / 64], 1 << (slot % 64));
        if word.load(Ordering::Acquire) & bit == 0 {
            map_home(task::this(), base)?;
            word.fetch_or(bit, Ordering::AcqRel);
        }
        let thread = if payer.is_valid() {
            account::account_thread_create(&Mach, payer, task::this(), ALL)?.child_thread
        } else {
            mach::thread_create(&Mach, task::this(), ALL)?.child_thread
        };
        let thread = SendRight::from_name(thread);
        let ready =
            set_start(thread.name(), thread_entry as *const () as u64, initial_stack(base), body as u64)
                .and_then(|()| Ok(mach::thread_resume(&Mach, thread.name(), ALL)?));
        if ready.is_err() {
            // It has never run; without it the slot is free again.
            let _ = mach::thread_terminate(&Mach, thread.name(), ALL);
        }
        ready
    })();
    if started.is_err() {
        // SAFETY: no thread has been started that could use it.
        drop(unsafe { Box::from_raw(body) });
        free_slot(slot);
    }
    started
}

/// First code of a thread.
extern "C" fn thread_entry(body: *mut Body) -> ! {
    start::adopt_home();
    // SAFETY: `start_thread` leaked it for this thread.
    let body = unsafe { Box::from_raw(body) };
    let Body { run, slot } = *body;
    run();
    crate::rpc::end_of_call(Local::current());
    leave(slot)
}

/// Frees the slot and ends the thread, in that order, without touching the stack in between: another thread may have it by then.
#[cfg(target_os = "none")]
fn leave(slot: usize) -> ! {
    let word = USED[slot / 64].as_ptr();
    // SAFETY: one atomic instruction on a word that this thread may change, then the trap that ends the thread; no stack is used. Should the
    // kernel refuse, the thread stops at an invalid instruction.
    unsafe {
        core::arch::asm!(
            "lock btr qword ptr [{word}], {bit}",
            "syscall",
            "ud2",
            word = in(reg) word,
            bit = in(reg) (slot % 64) as u64,
            in("rax") i64::from(drover_abi::trap::DROVER_THREAD_EXIT),
            options(noreturn, nostack),
        )
    }
}

/// On the host no thread is started this way.
#[cfg(not(target_os = "none"))]
fn leave(slot: usize) -> ! {
    free_slot(slot);
    std::process::abort()
}

/// Message buffers of a thread at home, for a server's queue: request and reply. `None` in a call, which has its own.
///
/// The first thread's home slot may be mapped by somebody who left them out; then they are allocated, once, by this.
pub(crate) fn message_buffers() -> Option<(&'static mut [u8], &'static mut [u8])> {
    let local = Local::current();
    if local.in_call() || local.this() == 0 {
        return None;
    }
    // Succeeds only where nothing is mapped.
    let _ = vm::allocate_at(local.this() + PAGE, STACK_GUARD - PAGE);
    // SAFETY: the home slot's buffers belong to this thread, which serves one queue at a time.
    unsafe {
        Some((
            core::slice::from_raw_parts_mut((local.this() + REQUEST) as *mut u8, REQUEST_MAX as usize),
            core::slice::from_raw_parts_mut((local.this() + REPLY) as *mut u8, REPLY_MAX as usize),
        ))
    }
}

/// The calling thread's id, never reused.
#[must_use]
pub fn id() -> u64 {
    Local::current().tid()
}

/// Lets others run.
pub fn yield_now() {
    syscall::yield_now();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_taken_lowest_first_and_used_again() {
        let (a, b) = (take_slot().unwrap(), take_slot().unwrap());
        assert_ne!(a, 0, "the first thread's");
        assert!(b > a);
        free_slot(a);
        assert_eq!(take_slot(), Some(a));
        free_slot(a);
        free_slot(b);
        let all: Vec<_> = core::iter::from_fn(take_slot).collect();
        assert_eq!(all.len(), SLOTS - 1);
        all.into_iter().for_each(free_slot);
    }
    use std::vec::Vec;
}
