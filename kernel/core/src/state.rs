//! Thread state and information in the words of the Mach ABI.

use drover_abi::regs::UserRegs;
use drover_abi::returns::{KERN_INVALID_ARGUMENT, KERN_NO_ACCESS};

use crate::kernel::{Kernel, Stop};
use crate::machine::Machine;
use crate::object::Ref;
use crate::thread::{BLOCKED, READY, RESUME_RESTART, RESUME_USER, Thread};

/// `i386_THREAD_STATE`.
const FLAVOR_THREAD: i32 = 1;
/// `i386_FSGS_BASE_STATE`.
const FLAVOR_FSGS: i32 = 7;
/// Words of the thread state.
const THREAD_WORDS: usize = 42;
const FSGS_WORDS: usize = 4;
/// Selectors as a program sees them.
const USER_CS: u64 = 0x23;
const USER_SS: u64 = 0x1b;
/// Flags that user space may set: carry, parity, adjust, zero, sign, trap, direction, overflow, alignment check, id.
const FLAGS_MASK: u64 = 0x0024_0dd5;
const FLAGS_FIXED: u64 = 0x202;

impl<M: Machine> Kernel<M> {
    fn home_regs(&self, thread: Ref<Thread>) -> UserRegs {
        let t = self.get(thread);
        if thread == self.current && t.depth == 1 { self.regs } else { self.get(t.bottom).regs }
    }

    /// `thread_get_state`: of the home activation. Returns the number of words written.
    ///
    /// # Errors
    /// `KERN_INVALID_ARGUMENT`: unknown flavor, or too little room.
    pub(crate) fn thread_state(
        &self,
        thread: Ref<Thread>,
        flavor: i32,
        words: &mut [u32],
    ) -> Result<usize, Stop> {
        let r = self.home_regs(thread);
        match flavor {
            FLAVOR_THREAD if words.len() >= THREAD_WORDS => {
                let values = [
                    r.r8, r.r9, r.r10, r.r11, r.r12, r.r13, r.r14, r.r15, r.rdi, r.rsi, r.rbp, 0, r.rbx,
                    r.rdx, r.rcx, r.rax, r.rip, USER_CS, r.rflags, r.rsp, USER_SS,
                ];
                for (i, value) in values.iter().enumerate() {
                    words[2 * i] = *value as u32;
                    words[2 * i + 1] = (*value >> 32) as u32;
                }
                Ok(THREAD_WORDS)
            }
            FLAVOR_FSGS if words.len() >= FSGS_WORDS => {
                for (i, value) in [r.fs_base, r.gs_base].iter().enumerate() {
                    words[2 * i] = *value as u32;
                    words[2 * i + 1] = (*value >> 32) as u32;
                }
                Ok(FSGS_WORDS)
            }
            _ => Err(Stop::Error(KERN_INVALID_ARGUMENT)),
        }
    }

    /// `thread_set_state`: of the home activation. A pending restart is given up: the new state is what the thread goes on with.
    ///
    /// # Errors
    /// `KERN_INVALID_ARGUMENT`: unknown flavor, wrong count, or addresses that are not the user's; `KERN_NO_ACCESS`: the thread runs.
    pub(crate) fn thread_set_state(
        &mut self,
        thread: Ref<Thread>,
        flavor: i32,
        words: &[u32],
    ) -> Result<(), Stop> {
        let t = *self.get(thread);
        if t.depth != 1 || t.head.state == READY && self.may_go_on(&t) && thread != self.current {
            return Err(Stop::Error(KERN_NO_ACCESS));
        }
        let value = |i: usize| u64::from(words[2 * i]) | u64::from(words[2 * i + 1]) << 32;
        let canonical = |address: u64| address < drover_abi::vm::VM_MAX_ADDRESS;
        let mut r = self.home_regs(thread);
        match flavor {
            FLAVOR_THREAD if words.len() == THREAD_WORDS => {
                if !canonical(value(16)) {
                    return Err(Stop::Error(KERN_INVALID_ARGUMENT));
                }
                (r.r8, r.r9, r.r10, r.r11) = (value(0), value(1), value(2), value(3));
                (r.r12, r.r13, r.r14, r.r15) = (value(4), value(5), value(6), value(7));
                (r.rdi, r.rsi, r.rbp) = (value(8), value(9), value(10));
                (r.rbx, r.rdx, r.rcx, r.rax) = (value(12), value(13), value(14), value(15));
                r.rip = value(16);
                r.rflags = (value(18) & FLAGS_MASK) | FLAGS_FIXED;
                r.rsp = value(19);
            }
            FLAVOR_FSGS if words.len() == FSGS_WORDS => {
                if !canonical(value(0)) || !canonical(value(1)) {
                    return Err(Stop::Error(KERN_INVALID_ARGUMENT));
                }
                (r.fs_base, r.gs_base) = (value(0), value(1));
            }
            _ => return Err(Stop::Error(KERN_INVALID_ARGUMENT)),
        }
        if thread == self.current {
            self.regs = r;
        } else {
            let bottom = t.bottom;
            self.get_mut(bottom).regs = r;
            let t = self.get_mut(thread);
            t.restarting = 0;
            if t.head.state != BLOCKED || t.resume == RESUME_RESTART {
                t.resume = RESUME_USER;
            }
        }
        Ok(())
    }
}
