//! The global allocator: two heaps, chosen by who pays.
//!
//! * In a call, unless inside [`own`](crate::own) or [`charged_to`](crate::payer::charged_to): memory of the window. Demand-zero
//!   memory that the caller pays for and that vanishes with the window; no lock, no kernel call. Running into a ceiling there is a forced exit.
//!   The first blocks come from what is left of the request's own page, the next from the front of the *call arena*, both handed out from the front
//!   ([`crate::bump`]), so that a small call touches no page for its allocations, or one. What is beyond [`FRONT`] has a heap that reuses what is freed.
//! * Otherwise the task's *own heap*: a range of addresses of which pieces are made present, at the task's expense, before they are
//!   handed out, so that a shortage is a failed allocation and never a fault.
//!
//! Freeing looks at the address. Memory of the call arena must not be kept beyond the call: build long-lived values inside
//! [`own`](crate::own). While an activation unwinds, the arena gives nothing and takes nothing back, because the exit may have come in the
//! middle of its bookkeeping.

use core::alloc::{GlobalAlloc, Layout};
use core::cell::UnsafeCell;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicU64, Ordering};

use drover_abi::returns::KERN_RESOURCE_SHORTAGE;
use drover_abi::window::{ARENA, ARENA_END, WINDOWS_BASE, WINDOWS_END};
use talc::DefaultBinning;
use talc::base::Talc;
use talc::source::Manual;

use crate::local::{ARENA_READY, Local, UNWINDING};
use crate::{lock, payer, syscall};

type Heap = Talc<Manual, DefaultBinning>;

/// Where the own heap lies: below the home slots, away from everything else.
const OWN_BASE: u64 = 0x1000_0000_0000;
/// Its largest size (1 TiB of addresses).
const OWN_END: u64 = 0x1100_0000_0000;
/// The own heap grows by at least that much.
const OWN_STEP: u64 = 64 * 1024;
/// Bytes at the front of the call arena that are handed out from the front; the heap lies behind them.
const FRONT: u64 = 64 * 1024;
/// The heap in the call arena grows by at least that much.
const ARENA_STEP: u64 = 64 * 1024;
const PAGE: u64 = drover_abi::PAGE_SIZE as u64;

/// A heap in one range of memory that grows upwards.
struct Growing {
    heap: Heap,
    /// End of what the heap has been given; `None` before the first piece.
    end: Option<NonNull<u8>>,
}

impl Growing {
    const fn new() -> Self {
        Self { heap: Heap::new(Manual), end: None }
    }

    /// Adds `[start, end)`, which may or may not lie right behind what is there.
    ///
    /// # Safety
    /// The range must be memory that nobody else uses, for as long as the heap exists.
    unsafe fn add(&mut self, start: u64, end: u64) -> bool {
        if let Some(old) = self.end
            && (old.as_ptr() as u64) <= start
            && start - (old.as_ptr() as u64) < 64
        {
            // SAFETY: `old` is where this heap ends; the memory up to `end` is ours by the caller's word.
            self.end = Some(unsafe { self.heap.extend(old, end as *mut u8) });
            return true;
        }
        // SAFETY: the range is ours by the caller's word.
        match unsafe { self.heap.claim(start as *mut u8, (end - start) as usize) } {
            Some(end) => {
                self.end = Some(end);
                true
            }
            None => false,
        }
    }

    /// # Safety
    /// `layout` must not be of size 0.
    unsafe fn take(&mut self, layout: Layout) -> Option<NonNull<u8>> {
        // SAFETY: by the caller's word.
        unsafe { self.heap.allocate(layout) }
    }
}

/// What to add to a heap that could not satisfy `layout`: the block, its alignment, the heap's own words.
fn step_for(layout: Layout, step: u64) -> u64 {
    let need = (layout.size() as u64).saturating_add(layout.align() as u64).saturating_add(4096);
    need.max(step).div_ceil(PAGE).saturating_mul(PAGE)
}

/// The heap in the call arena.
///
/// # Safety
/// `local` must be the current one and in a call, and the result must not be kept beyond the current allocator operation.
unsafe fn arena<'a>(local: Local) -> &'a mut Growing {
    let at = (local.this() + ARENA + FRONT) as *mut Growing;
    if !local.state(ARENA_READY) {
        // SAFETY: this part of the arena is zeroed memory for this purpose; nobody has used it yet.
        unsafe { at.write(Growing::new()) };
        local.set_state(ARENA_READY);
    }
    // SAFETY: initialised above; only this activation uses its window's arena, and not while it is in here.
    unsafe { &mut *at }
}

/// # Safety
/// As [`GlobalAlloc::alloc`]; `local` must be the current one and in a call.
unsafe fn arena_alloc(local: Local, layout: Layout) -> Option<NonNull<u8>> {
    // SAFETY: by the caller's word.
    let arena = unsafe { arena(local) };
    // SAFETY: the size is not 0 by the caller's word.
    if let Some(block) = unsafe { arena.take(layout) } {
        return Some(block);
    }
    let start = match arena.end {
        Some(end) => end.as_ptr() as u64,
        None => local.this() + ARENA + FRONT + (size_of::<Growing>() as u64).next_multiple_of(64),
    };
    let end = start.checked_add(step_for(layout, ARENA_STEP))? & !(PAGE - 1);
    if end > local.this() + ARENA_END {
        return None;
    }
    // SAFETY: the range is the arena's, behind what the heap has so far.
    unsafe { arena.add(start, end) };
    // SAFETY: as above.
    unsafe { arena.take(layout) }
}

/// Where in the window a block lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Near,
    Far,
    Heap,
}

/// In which part of a window the block at `offset` lies.
const fn part_of(offset: u64) -> Part {
    if offset < ARENA {
        Part::Near
    } else if offset < ARENA + FRONT {
        Part::Far
    } else {
        Part::Heap
    }
}

/// # Safety
/// As [`GlobalAlloc::alloc`]; `local` must be the current one and in a call.
unsafe fn call_alloc(local: Local, layout: Layout) -> Option<NonNull<u8>> {
    if local.state(UNWINDING) {
        return None;
    }
    let (size, align) = (layout.size() as u64, layout.align() as u64);
    let mut near = local.near();
    if let Some(start) = near.take(size, align) {
        local.set_near(near);
        return NonNull::new(start as *mut u8);
    }
    let mut far = local.far(FRONT);
    if let Some(start) = far.take(size, align) {
        local.set_far(far);
        return NonNull::new(start as *mut u8);
    }
    // SAFETY: by the caller's word.
    unsafe { arena_alloc(local, layout) }
}

/// # Safety
/// As [`GlobalAlloc::dealloc`]; `local` must be the current one and in a call, and `block` in its window.
unsafe fn call_dealloc(local: Local, block: *mut u8, layout: Layout) {
    let (start, size) = (block as u64, layout.size() as u64);
    match part_of(start - local.this()) {
        Part::Near => {
            let mut near = local.near();
            near.give(start, size);
            local.set_near(near);
        }
        Part::Far => {
            let mut far = local.far(FRONT);
            far.give(start, size);
            local.set_far(far);
        }
        // SAFETY: the block is of this window's heap, by its address.
        Part::Heap => unsafe { arena(local).heap.deallocate(block, layout) },
    }
}

/// Whether the block could be given its new size where it is.
fn call_resize(local: Local, block: *mut u8, old: usize, new: usize) -> bool {
    let (start, old, new) = (block as u64, old as u64, new as u64);
    match part_of(start - local.this()) {
        Part::Near => {
            let mut near = local.near();
            let resized = near.resize(start, old, new);
            local.set_near(near);
            resized
        }
        Part::Far => {
            let mut far = local.far(FRONT);
            let resized = far.resize(start, old, new);
            local.set_far(far);
            resized
        }
        Part::Heap => false,
    }
}

/// The activation whose window `address` lies in, if that is the current one and it does not unwind.
fn call_of(address: u64) -> Option<Local> {
    let local = Local::current();
    let mine = local.in_call() && address.wrapping_sub(local.this()) < ARENA_END;
    (mine && !local.state(UNWINDING)).then_some(local)
}

fn in_windows(address: u64) -> bool {
    (WINDOWS_BASE..WINDOWS_END).contains(&address)
}

/// The task's own heap.
struct Own {
    lock: lock::Raw,
    heap: UnsafeCell<Growing>,
    next: AtomicU64,
}

// SAFETY: `heap` is used under `lock` only.
unsafe impl Sync for Own {}

static OWN: Own =
    Own { lock: lock::Raw::new(), heap: UnsafeCell::new(Growing::new()), next: AtomicU64::new(OWN_BASE) };

impl Own {
    fn with<R>(&self, body: impl FnOnce(&mut Growing) -> R) -> Option<R> {
        self.lock.lock().ok()?;
        // SAFETY: the lock is held, so this is the only reference; it ends before the unlock.
        let result = body(unsafe { &mut *self.heap.get() });
        self.lock.unlock();
        Some(result)
    }

    /// Memory for one more block of `layout`, present and paid for by the task. Outside the lock: it calls the kernel.
    fn grow(&self, layout: Layout) -> bool {
        let size = step_for(layout, OWN_STEP);
        let Ok(start) = self.next.fetch_update(Ordering::AcqRel, Ordering::Acquire, |at| {
            at.checked_add(size).filter(|&end| end <= OWN_END)
        }) else {
            return false;
        };
        let populated = payer::own(|| {
            if crate::vm::allocate_at(start, size).is_err() {
                return false;
            }
            let all = (start..start + size).step_by(PAGE as usize).all(|page| {
                // SAFETY: fresh memory, just mapped for this heap.
                unsafe { syscall::populate_page(page) }.is_ok()
            });
            if !all {
                // Gives back what was made present; should that fail, it stays the task's.
                let _ = crate::vm::deallocate(start, size);
            }
            all
        });
        // SAFETY: fresh memory, mapped and present, that only this heap knows.
        populated && self.with(|heap| unsafe { heap.add(start, start + size) }).unwrap_or(false)
    }

    /// # Safety
    /// As [`GlobalAlloc::alloc`].
    unsafe fn alloc(&self, layout: Layout) -> Option<NonNull<u8>> {
        // Another thread may take what was grown for us; each round needs fresh memory, so this ends.
        for _ in 0..4 {
            // SAFETY: by the caller's word.
            if let Some(block) = self.with(|heap| unsafe { heap.take(layout) })? {
                return Some(block);
            }
            if !self.grow(layout) {
                return None;
            }
        }
        None
    }
}

/// The allocator.
pub(crate) struct Allocator;

// SAFETY: blocks come from one of two heaps that never hand out the same memory twice; a block is given back to the heap whose
// addresses it has.
unsafe impl GlobalAlloc for Allocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let local = Local::current();
        let block = if payer::allocates_in_call(local) {
            // SAFETY: by the caller's word; we are in a call.
            unsafe { call_alloc(local, layout) }
        } else {
            // SAFETY: by the caller's word.
            unsafe { OWN.alloc(layout) }
        };
        match block {
            Some(block) => block.as_ptr(),
            None => {
                local.set_shortage(KERN_RESOURCE_SHORTAGE);
                core::ptr::null_mut()
            }
        }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        if in_windows(block as u64) {
            if let Some(local) = call_of(block as u64) {
                // SAFETY: the block is of this window, by its address.
                unsafe { call_dealloc(local, block, layout) };
            }
            return;
        }
        // Without the lock (its owner died) the block is lost, not corrupted.
        // SAFETY: the block is of the own heap, by its address.
        let _ = OWN.with(|heap| unsafe { heap.heap.deallocate(block, layout) });
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        if in_windows(block as u64)
            && let Some(local) = call_of(block as u64)
            && call_resize(local, block, layout.size(), size)
        {
            return block;
        }
        // SAFETY: by the caller's word `size` is valid for the block's alignment.
        let new_layout = unsafe { Layout::from_size_align_unchecked(size, layout.align()) };
        // SAFETY: by the caller's word `size` is not 0.
        let new = unsafe { self.alloc(new_layout) };
        if !new.is_null() {
            // SAFETY: both blocks are at least that long, and the new one is apart from the old one, which is given back once.
            unsafe {
                core::ptr::copy_nonoverlapping(block, new, layout.size().min(size));
                self.dealloc(block, layout);
            }
        }
        new
    }
}

#[cfg(target_os = "none")]
#[global_allocator]
static ALLOCATOR: Allocator = Allocator;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_heap_grows_in_place_and_elsewhere() {
        let mut memory = std::vec![0u8; 64 * 1024];
        let base = memory.as_mut_ptr() as u64;
        let mut heap = Growing::new();
        let layout = Layout::from_size_align(6000, 16).unwrap();
        // SAFETY: pieces of `memory`, used by this heap alone; sizes are not 0.
        unsafe {
            assert!(heap.take(layout).is_none());
            assert!(heap.add(base, base + 8192));
            let first = heap.take(layout).unwrap();
            assert!(heap.take(layout).is_none());
            let end = heap.end.unwrap().as_ptr() as u64;
            assert!(heap.add(end, base + 16384));
            let second = heap.take(layout).unwrap();
            assert_ne!(first, second);
            assert!(heap.add(base + 32768, base + 40960), "a range of its own");
            let third = heap.take(layout).unwrap();
            assert!(third.as_ptr() as u64 >= base + 32768);
        }
    }

    #[test]
    fn steps_cover_the_block() {
        let layout = Layout::from_size_align(1 << 20, 4096).unwrap();
        assert!(step_for(layout, 65536) >= (1 << 20) + 4096);
        assert_eq!(step_for(Layout::new::<u64>(), 65536), 65536);
        let huge = Layout::from_size_align(isize::MAX as usize - 4095, 8).unwrap();
        assert!(step_for(huge, 65536) > 1 << 62);
    }
}
