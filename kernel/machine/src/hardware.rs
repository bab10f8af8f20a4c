//! The machine as the kernel sees it: one value, made once, through which everything is done.

use crate::boot_info::{BootInfo, Module};
use crate::event::{Event, TIMER_VECTOR};
use crate::paging::DIRECT_MAP;
use crate::{console, fpu, power, timer, trap};
use core::arch::asm;
use drover_abi::PAGE_SIZE;
use drover_abi::regs::UserRegs;
use x86_64::VirtAddr;
use x86_64::instructions::tlb;

pub use fpu::INITIAL as FPU_INITIAL;

/// A frame's bytes.
#[repr(C, align(4096))]
pub struct FrameBytes(pub [u8; PAGE_SIZE]);

/// The machine. There is one value of this type.
pub struct Hardware {
    first_frame: u32,
    frames: u32,
    kernel_half: [u64; 256],
    kernel_root: u64,
    /// What the timer is set to, unless it has fired since or is cancelled.
    armed: Option<u64>,
}

impl Hardware {
    /// # Safety
    ///
    /// At most once, on the final page tables: `kernel_half` are the upper entries of the root at physical address
    /// `kernel_root`, and the direct map covers the frames that `info` names as handed out.
    pub(crate) unsafe fn new(info: &BootInfo, kernel_half: [u64; 256], kernel_root: u64) -> Self {
        let frames = info.end_frame.saturating_sub(info.first_frame);
        Self { first_frame: info.first_frame, frames, kernel_half, kernel_root, armed: None }
    }

    /// Where a frame is in the direct map.
    #[inline]
    fn address(&self, frame: u32) -> u64 {
        // The image, with all that the kernel itself owns, lies below.
        assert!(
            frame.wrapping_sub(self.first_frame) < self.frames,
            "frame {frame:#x} is not the kernel's to use"
        );
        DIRECT_MAP + u64::from(frame) * PAGE_SIZE as u64
    }

    /// The bytes of a frame. Panics on a frame that was not handed out at boot.
    #[inline]
    pub fn frame(&self, frame: u32) -> &FrameBytes {
        // SAFETY: the frame is in the direct map and not part of the kernel image; frames are only reached through
        // the one `Hardware`, so while `self` is shared nobody changes it (user code does not run meanwhile).
        unsafe { &*(self.address(frame) as *const FrameBytes) }
    }

    /// The same, to change.
    #[inline]
    pub fn frame_mut(&mut self, frame: u32) -> &mut FrameBytes {
        // SAFETY: as for `frame`, and `self` is borrowed exclusively.
        unsafe { &mut *(self.address(frame) as *mut FrameBytes) }
    }

    /// Fills a frame with zeros.
    #[inline]
    pub fn zero(&mut self, frame: u32) {
        let at = self.frame_mut(frame);
        // SAFETY: writes 512 words, the whole frame.
        unsafe {
            asm!("rep stosq", inout("rcx") PAGE_SIZE / 8 => _, inout("rdi") at => _, in("rax") 0u64,
                options(nostack, preserves_flags));
        }
    }

    /// Copies `bytes` bytes from one frame to another. Panics if a range leaves its frame or the frames are one.
    #[inline]
    pub fn copy(
        &mut self,
        source: u32,
        source_offset: usize,
        target: u32,
        target_offset: usize,
        bytes: usize,
    ) {
        let room = PAGE_SIZE.saturating_sub(source_offset.max(target_offset));
        assert!(bytes <= room && source != target, "copy outside of a frame");
        let source = self.address(source) + source_offset as u64;
        let target = self.address(target) + target_offset as u64;
        // SAFETY: both ranges lie in their frames, which differ; words first, then what is left over.
        unsafe {
            asm!("rep movsq", "mov ecx, {rest:e}", "rep movsb", rest = in(reg) bytes % 8,
                inout("rcx") bytes / 8 => _, inout("rsi") source => _, inout("rdi") target => _,
                options(nostack, preserves_flags));
        }
    }

    /// Zeroes what follows a module in its last frame.
    pub(crate) fn clear_tail(&mut self, module: &Module) {
        let used = module.bytes as usize % PAGE_SIZE;
        if used > 0 {
            self.frame_mut(module.frames.end() - 1).0[used..].fill(0);
        }
    }

    /// Forgets the translation of one page of the current address space.
    #[inline]
    pub fn flush(&mut self, address: u64) {
        tlb::flush(VirtAddr::new_truncate(address));
    }

    /// Forgets all translations of user pages.
    #[inline]
    pub fn flush_all(&mut self) {
        tlb::flush_all();
    }

    /// The entries that every root has in its upper half (256..512).
    #[inline]
    pub fn kernel_half(&self) -> &[u64; 256] {
        &self.kernel_half
    }

    /// Physical address of the root of the kernel's own address space, which maps nothing for users.
    pub fn kernel_root(&self) -> u64 {
        self.kernel_root
    }

    /// Leaves the current address space for the kernel's own, so that its tables may be freed.
    pub fn leave_address_space(&mut self) {
        // SAFETY: the kernel's own root.
        unsafe { trap::load_root(self.kernel_root) };
    }

    /// Runs user code from `regs` in the address space whose root is at physical address `root`, until it traps;
    /// `regs` is what it has become. System flags in `regs.rflags` are forced to safe values. Registers that the CPU
    /// would not accept (addresses beyond the user's half) are answered at once as general protection.
    ///
    /// # Safety
    ///
    /// `root` is the physical address of a frame that holds a page-table root whose upper half is `kernel_half` and
    /// whose lower half gives users nothing but frames that were handed out.
    #[inline]
    pub unsafe fn run_user(&mut self, regs: &mut UserRegs, root: u64) -> Event {
        // SAFETY: the caller's promise.
        let event = unsafe { trap::run_user(regs, root) };
        if event == Event::Interrupt(TIMER_VECTOR) {
            self.armed = None;
        }
        event
    }

    /// Sleeps until an interrupt comes, and returns its vector.
    pub fn idle(&mut self) -> u8 {
        let vector = trap::idle();
        if vector == TIMER_VECTOR {
            self.armed = None;
        }
        vector
    }

    /// Nanoseconds since boot.
    #[inline]
    pub fn now(&self) -> u64 {
        timer::now()
    }

    /// Interrupts (`TIMER_VECTOR`) at `deadline`, in ns since boot; a past deadline interrupts at once. A far one may
    /// interrupt early: look at the clock, and set it again. Setting it to what it is set to costs nothing.
    #[inline]
    pub fn set_timer(&mut self, deadline: u64) {
        if self.armed != Some(deadline) {
            timer::set(deadline);
            self.armed = Some(deadline);
        }
    }

    /// Cancels the timer; an interrupt already on its way may still come.
    #[inline]
    pub fn cancel_timer(&mut self) {
        timer::cancel();
        self.armed = None;
    }

    /// Writes bytes to the console, as they are.
    pub fn console_write(&mut self, bytes: &[u8]) {
        console::write(bytes);
    }

    /// The oldest byte typed at the console and not yet read.
    pub fn console_read(&mut self) -> Option<u8> {
        console::read()
    }

    /// Saves the user's FPU registers and turns the FPU off.
    pub fn fpu_save(&mut self, area: &mut [u8; 512]) {
        fpu::save(area);
    }

    /// Loads the user's FPU registers and turns the FPU on.
    pub fn fpu_load(&mut self, area: &[u8; 512]) {
        fpu::load(area);
    }

    /// Turns the FPU on with whatever is in it: only for the thread whose registers they are.
    pub fn fpu_enable(&mut self) {
        fpu::enable();
    }

    /// Turns the FPU off: its next use traps with `FPU_UNAVAILABLE`.
    pub fn fpu_disable(&mut self) {
        fpu::disable();
    }

    /// Ends the machine.
    pub fn shutdown(&mut self, code: u32) -> ! {
        power::shutdown(code)
    }
}
