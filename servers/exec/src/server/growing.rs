//! The classic world's buffer: a whole program in the exec server's own memory, growing as it is unpacked.
//!
//! Pages are added behind what is there, as a reallocation in place would; each buffer has a range of addresses to itself. All of it is given back when
//! the buffer is dropped.

use core::sync::atomic::{AtomicU64, Ordering};

use exec_image::whole::Grow;
use libhurd::errno::{EFBIG, ENOMEM};
use libhurd::vm;

/// First address of the ranges, above programs and below libhurd's heap.
const BASE: u64 = 0x0100_0000_0000;
/// Bytes of a range: the longest program.
const RANGE: u64 = 1 << 34;
/// Number of ranges.
const RANGES: u64 = 512;
/// Bytes added at a time.
const STEP: u64 = 1 << 20;

/// See the module.
pub(super) struct Growing {
    start: u64,
    mapped: u64,
    len: usize,
}

impl Growing {
    /// An empty buffer.
    ///
    /// # Errors
    /// `ENOMEM` without memory or a free range.
    pub(super) fn new() -> Result<Self, i32> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        for _ in 0..RANGES {
            let start = BASE + NEXT.fetch_add(1, Ordering::Relaxed) % RANGES * RANGE;
            // Fails where another buffer is.
            if vm::allocate_at(start, STEP).is_ok() {
                return Ok(Self { start, mapped: STEP, len: 0 });
            }
        }
        Err(ENOMEM)
    }

    /// What is in it.
    pub(super) fn bytes(&self) -> &[u8] {
        // SAFETY: the first `len` bytes of the range are mapped and written, and belong to this value alone.
        unsafe { core::slice::from_raw_parts(self.start as *const u8, self.len) }
    }
}

impl Grow for Growing {
    type Error = i32;

    fn append(&mut self, bytes: &[u8]) -> Result<(), i32> {
        let end = self.len as u64 + bytes.len() as u64;
        if end > RANGE {
            return Err(EFBIG);
        }
        while self.mapped < end {
            vm::allocate_at(self.start + self.mapped, STEP).map_err(|_| ENOMEM)?;
            self.mapped += STEP;
        }
        let to = (self.start + self.len as u64) as *mut u8;
        // SAFETY: the range up to `end` is mapped and belongs to this value alone; `bytes` is elsewhere.
        unsafe { core::ptr::copy_nonoverlapping(bytes.as_ptr(), to, bytes.len()) };
        self.len += bytes.len();
        Ok(())
    }
}

impl Drop for Growing {
    fn drop(&mut self) {
        // Cannot fail: the range is this value's.
        let _ = vm::deallocate(self.start, self.mapped);
    }
}
