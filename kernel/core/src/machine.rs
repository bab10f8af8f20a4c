//! What the kernel's logic needs of a machine: frames, a clock, a timer, a console.
//!
//! On bare metal this is the direct map and a few instructions; on the host (`crate::host`) a vector of frames.
//! Deliberately absent: any notion of a pointer, of a user address, or of policy.

use drover_abi::PAGE_SIZE;

/// Number of a physical frame (physical address / 4096).
pub type Frame = u32;

/// A frame's bytes.
#[repr(C, align(4096))]
pub struct Page(pub [u8; PAGE_SIZE]);

/// The machine.
pub trait Machine {
    /// The bytes of a frame. `frame` is RAM that the boot code handed over (or the frame table).
    fn page(&self, frame: Frame) -> &Page;
    /// The same, to change.
    fn page_mut(&mut self, frame: Frame) -> &mut Page;
    /// Copies `len` bytes between two frames (neither range crosses its frame's end; the frames differ).
    fn copy(&mut self, src: Frame, src_offset: usize, dst: Frame, dst_offset: usize, len: usize);
    /// Fills a frame with zeros.
    fn zero(&mut self, frame: Frame);
    /// Forgets the translation of one user page of the current address space.
    fn flush(&mut self, address: u64);
    /// Forgets all user translations of the current address space.
    fn flush_all(&mut self);
    /// Leaves the current user address space for the kernel's own page tables (its root table is about to be freed).
    fn leave_space(&mut self);
    /// Upper half (entries 256..512) of every page-table root.
    fn kernel_half(&self, index: usize) -> u64;
    /// Nanoseconds since boot; never decreases.
    fn now(&self) -> u64;
    /// Writes to the console.
    fn console_write(&mut self, bytes: &[u8]);
    /// The next byte typed at the console.
    fn console_read(&mut self) -> Option<u8>;
    /// Saves the FPU registers of the running thread (512 bytes, `fxsave` format) and lets no one use the FPU.
    fn fpu_save(&mut self, area: &mut [u8; 512]);
    /// Loads FPU registers and lets the running thread use the FPU.
    fn fpu_load(&mut self, area: &[u8; 512]);
    /// Makes the next FPU instruction trap.
    fn fpu_disable(&mut self);
    /// Ends the machine (QEMU's exit device, or reset).
    fn shutdown(&mut self, code: u32);
}
