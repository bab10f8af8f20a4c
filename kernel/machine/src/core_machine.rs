//! The machine in the terms of the kernel's logic.

use crate::hardware::{FrameBytes, Hardware};
use drover_core::machine::{Frame, Machine, Page};

const _: () = assert!(size_of::<Page>() == size_of::<FrameBytes>());
const _: () = assert!(align_of::<Page>() == align_of::<FrameBytes>());

impl Machine for Hardware {
    #[inline]
    fn page(&self, frame: Frame) -> &Page {
        // SAFETY: both types are 4096 bytes in a struct, aligned alike, and any bytes are valid.
        unsafe { &*core::ptr::from_ref(self.frame(frame)).cast() }
    }

    #[inline]
    fn page_mut(&mut self, frame: Frame) -> &mut Page {
        // SAFETY: as for `page`; the exclusive borrow is handed on.
        unsafe { &mut *core::ptr::from_mut(self.frame_mut(frame)).cast() }
    }

    #[inline]
    fn copy(&mut self, src: Frame, src_offset: usize, dst: Frame, dst_offset: usize, len: usize) {
        Hardware::copy(self, src, src_offset, dst, dst_offset, len);
    }

    #[inline]
    fn zero(&mut self, frame: Frame) {
        Hardware::zero(self, frame);
    }

    #[inline]
    fn flush(&mut self, address: u64) {
        Hardware::flush(self, address);
    }

    fn flush_all(&mut self) {
        Hardware::flush_all(self);
    }

    fn leave_space(&mut self) {
        self.leave_address_space();
    }

    fn kernel_half(&self, index: usize) -> u64 {
        Hardware::kernel_half(self)[index - 256]
    }

    #[inline]
    fn now(&self) -> u64 {
        Hardware::now(self)
    }

    fn console_write(&mut self, bytes: &[u8]) {
        Hardware::console_write(self, bytes);
    }

    fn console_read(&mut self) -> Option<u8> {
        Hardware::console_read(self)
    }

    fn fpu_save(&mut self, area: &mut [u8; 512]) {
        Hardware::fpu_save(self, area);
    }

    fn fpu_load(&mut self, area: &[u8; 512]) {
        Hardware::fpu_load(self, area);
    }

    fn fpu_disable(&mut self) {
        Hardware::fpu_disable(self);
    }

    fn shutdown(&mut self, code: u32) {
        Hardware::shutdown(self, code);
    }
}
