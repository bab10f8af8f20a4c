//! A machine on the host: frames in a vector, a clock that the test moves.

use crate::machine::{Frame, Machine, Page};

/// The host machine.
pub struct HostMachine {
    pages: Vec<Page>,
    /// The time; tests move it.
    pub time: u64,
    /// How much it goes on by itself whenever the kernel looks at it, ns.
    pub drift: u64,
    drifted: std::cell::Cell<u64>,
    /// What was written to the console.
    pub output: Vec<u8>,
    /// What is typed at the console.
    pub input: std::collections::VecDeque<u8>,
    /// Exit code, once shut down.
    pub exit: Option<u32>,
}

impl HostMachine {
    /// A machine with that many frames.
    #[must_use]
    pub fn new(frames: usize) -> Self {
        let pages = (0..frames).map(|_| Page([0xa5; 4096])).collect();
        Self {
            pages,
            time: 0,
            drift: 0,
            drifted: Default::default(),
            output: Vec::new(),
            input: Default::default(),
            exit: None,
        }
    }
}

impl Machine for HostMachine {
    fn page(&self, frame: Frame) -> &Page {
        &self.pages[frame as usize]
    }
    fn page_mut(&mut self, frame: Frame) -> &mut Page {
        &mut self.pages[frame as usize]
    }
    fn copy(&mut self, src: Frame, src_offset: usize, dst: Frame, dst_offset: usize, len: usize) {
        let mut bytes = [0; 4096];
        bytes[..len].copy_from_slice(&self.page(src).0[src_offset..src_offset + len]);
        self.page_mut(dst).0[dst_offset..dst_offset + len].copy_from_slice(&bytes[..len]);
    }
    fn zero(&mut self, frame: Frame) {
        self.page_mut(frame).0.fill(0);
    }
    fn flush(&mut self, _address: u64) {}
    fn flush_all(&mut self) {}
    fn leave_space(&mut self) {}
    fn kernel_half(&self, _index: usize) -> u64 {
        0
    }
    fn now(&self) -> u64 {
        self.drifted.set(self.drifted.get() + self.drift);
        self.time + self.drifted.get()
    }
    fn console_write(&mut self, bytes: &[u8]) {
        self.output.extend_from_slice(bytes);
    }
    fn console_read(&mut self) -> Option<u8> {
        self.input.pop_front()
    }
    fn fpu_save(&mut self, area: &mut [u8; 512]) {
        area.fill(0);
    }
    fn fpu_load(&mut self, _area: &[u8; 512]) {}
    fn fpu_disable(&mut self) {}
    fn shutdown(&mut self, code: u32) {
        self.exit = Some(code);
    }
}
