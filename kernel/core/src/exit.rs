//! The five exits.
//!
//! An exit is requested on an activation in a server; those above it must exit first (their client is gone). What happens then:
//! in a dead task - popped without running; inside a critical section - runs on, on its escrow, until the section ends; else the port's unwind entry
//! runs on the escrow, then it is popped; without an unwind entry it is popped at once. The caller finds an error reply in its buffer.
//! Bound: what the unwind reserve declares; beyond it the server pays, up to [`OVERRUN_FACTOR`] times the reserve and [`OVERRUN_NS`]; then the activation is
//! popped by force, and if it sat in a critical section the server, whose state is lost, is terminated. These are bounds of CPU time, so that a server that is
//! short of it loses nothing; waits during an exit are broken off after [`EXIT_WAIT_NS`].

use drover_abi::account::UNLIMITED;
use drover_abi::returns::{KERN_ABORTED, KERN_RESOURCE_SHORTAGE, KERN_TERMINATED, MIG_SERVER_DIED};
use drover_abi::trap::PAYER_OWN;
use drover_abi::window::{LocalBlock, STACK_GUARD, STACK_TOP};

use crate::activation::{Activation, CRITICAL, Exit, RUNNING, UNWINDING};
use crate::call::USER_RFLAGS;
use crate::kernel::{Kernel, Stop};
use crate::machine::Machine;
use crate::object::Ref;
use crate::thread::{BLOCKED, Thread};

/// How many times its reserve an overrunning exit may burn at the server's expense.
pub const OVERRUN_FACTOR: u64 = 16;
/// And this much more, ns.
pub const OVERRUN_NS: u64 = 10_000_000;
/// How long the waits of one exit may last, all together; then they are broken off. (Its CPU has bounds of its own.)
pub const EXIT_WAIT_NS: u64 = 1_000_000_000;
/// Bytes below the stack pointer that belong to the interrupted code.
const RED_ZONE: u64 = 256;

impl<M: Machine> Kernel<M> {
    /// Requests an exit of `act` (in a server). The first request for an activation counts; a lower one makes those above exit as well.
    pub(crate) fn request_exit(&mut self, act: Ref<Activation>, exit: Exit, code: i32) {
        let thread = self.get(act).thread;
        if self.get(act).exit == 0 {
            let task = self.get(act).task;
            if task.is_some() {
                self.get_mut(task).exits[exit as usize - 1] += 1;
            }
            let a = self.get_mut(act);
            (a.exit, a.exit_code) = (exit as u8, code);
        }
        let mut above = self.get(act).upper;
        while above.is_some() {
            if self.get(above).exit == 0 {
                let task = self.get(above).task;
                if task.is_some() {
                    self.get_mut(task).exits[Exit::ClientDied as usize - 1] += 1;
                }
                let a = self.get_mut(above);
                (a.exit, a.exit_code) = (Exit::ClientDied as u8, KERN_TERMINATED);
            }
            above = self.get(above).upper;
        }
        self.interrupt_for_exit(thread);
    }

    /// Brings a thread to the point where it carries out the pending exit of its top activation.
    fn interrupt_for_exit(&mut self, thread: Ref<Thread>) {
        let top = self.get(thread).top;
        if self.get(top).exit == 0 || self.get(top).phase != RUNNING {
            return;
        }
        if self.get(top).task.is_some() && self.critical_depth(top) > 0 {
            self.enter_critical_phase(top);
            return;
        }
        if thread == self.current {
            self.charge_time();
        }
        // The caller's reserve pays from here.
        self.get_mut(top).payer_mode = 0;
        if self.get(thread).head.state == BLOCKED {
            self.wake(thread, KERN_ABORTED);
        } else if self.get(thread).queued != 0 {
            self.dequeue(thread);
            self.enqueue(thread);
        }
        if thread == self.current {
            // It gets no further in user mode before `next` sees the exit.
            self.quantum_end = self.quantum_end.min(self.charged_until);
        }
    }

    /// The current thread has parked. If an exit was requested of it in the same trap (it aborted itself, say), it must not wait: nobody requests it again.
    pub(crate) fn exit_before_wait(&mut self) {
        if self.current.is_some() {
            self.interrupt_for_exit(self.current);
        }
    }

    /// Inside a critical section: run on, on the escrow.
    fn enter_critical_phase(&mut self, act: Ref<Activation>) {
        let a = *self.get(act);
        let rsp = if self.current.is_some() && self.here() == act { self.regs.rsp } else { a.regs.rsp };
        let block = self.local_block(act, rsp);
        let pending = block + core::mem::offset_of!(LocalBlock, exit_pending) as u64;
        // The block was readable a moment ago; if writing fails the section simply runs to the return.
        let _ = self.copyout(a.task, pending, &u32::from(a.exit).to_le_bytes());
        let waits_until = self.machine.now().saturating_add(EXIT_WAIT_NS);
        let thread = a.thread;
        let a = self.get_mut(act);
        a.phase = CRITICAL;
        a.left.cpu_ns = a.escrow_cpu;
        a.escrow_cpu = 0;
        a.left.deadline_ns = waits_until;
        self.limit_wait(thread, waits_until);
    }

    /// The current thread's top activation must exit and is not in a dead task's way any more: start unwinding, or pop.
    pub(crate) fn begin_exit(&mut self, thread: Ref<Thread>) {
        let act = self.get(thread).top;
        let a = *self.get(act);
        if a.task.is_some() && self.critical_depth(act) > 0 {
            self.enter_critical_phase(act);
            return;
        }
        self.start_unwinding(thread);
    }

    /// Runs the unwind entry, or pops.
    fn start_unwinding(&mut self, thread: Ref<Thread>) {
        let act = self.get(thread).top;
        let a = *self.get(act);
        let entry = if a.port.is_some() { self.get(a.port).unwind_entry } else { 0 };
        // A reply that is out already only has its window to be closed.
        if entry == 0 || a.task.is_none() || a.head.state != 0 {
            self.finish_or_retry(thread);
            return;
        }
        let stack = a.window + STACK_GUARD..a.window + STACK_TOP;
        let rsp = if stack.contains(&self.regs.rsp) && self.regs.rsp > stack.start + 0x2000 {
            (self.regs.rsp - RED_ZONE) & !15
        } else {
            stack.end
        };
        let waits_until = self.machine.now().saturating_add(EXIT_WAIT_NS);
        let a = self.get_mut(act);
        if a.phase == RUNNING {
            // The declared reserve and no more, were it nothing; after a critical section what that has left of it.
            a.left.cpu_ns = a.escrow_cpu;
            a.escrow_cpu = 0;
        }
        a.phase = UNWINDING;
        if a.head.flags == 0 {
            a.payer_mode = 0;
        }
        a.left.deadline_ns = waits_until;
        let (reason, window) = (a.exit, a.window);
        self.regs = drover_abi::regs::UserRegs {
            rip: entry,
            rsp: rsp - 8,
            rdi: u64::from(reason),
            rsi: window,
            rflags: USER_RFLAGS,
            ..Default::default()
        };
        let t = self.get_mut(thread);
        t.resume = 0;
        t.restarting = 0;
    }

    /// The trap `drover_critical_end()`: the section ended while an exit was pending.
    ///
    /// # Errors
    /// `Stop::Switched` when the exit goes on.
    pub(crate) fn trap_critical_end(&mut self) -> Result<i32, Stop> {
        let act = self.here();
        if self.get(act).exit == 0 || self.critical_depth(act) > 0 {
            return Ok(0);
        }
        let thread = self.current;
        self.charge_time();
        self.start_unwinding(thread);
        Err(Stop::Switched)
    }

    /// Pops the exited top activation of `thread` and answers its caller.
    ///
    /// # Errors
    /// `Stop::Again`: the window is large.
    pub(crate) fn finish_exit(&mut self, thread: Ref<Thread>) -> Result<(), Stop> {
        let act = self.get(thread).top;
        if thread == self.current {
            self.charge_time();
        }
        self.window_close(act)?;
        let code = if self.get(act).head.state == 0 { self.deliver_exit(act) } else { 0 };
        self.pop(thread, code)?;
        self.after_pop(thread);
        Ok(())
    }

    /// After a pop a thread that is to end and has come down to its bottom ends; a pending exit below is carried out when it runs.
    pub(crate) fn after_pop(&mut self, thread: Ref<Thread>) {
        let t = *self.get(thread);
        if self.get(t.top).lower.is_none() && t.head.flags != 0 {
            self.thread_end(thread);
        }
    }

    /// As `finish_exit` for the current thread outside a trap: what is left is done at the next look.
    fn finish_or_retry(&mut self, thread: Ref<Thread>) {
        let now = self.machine.now();
        if self.finish_exit(thread) == Err(Stop::Again) && now >= self.quantum_end {
            self.quantum_end = 0;
        }
    }

    /// The CPU ceiling of the current activation is used up.
    pub(crate) fn cpu_ceiling(&mut self, act: Ref<Activation>) {
        match self.get(act).phase {
            RUNNING => {
                // The ceiling of a lower activation may be what was reached; each is charged on return, so this one goes first.
                self.request_exit(act, Exit::Ceiling, KERN_RESOURCE_SHORTAGE);
            }
            phase => self.overrun(act, phase),
        }
    }

    /// An exit took more than its reserve: on at the server's expense, to a hard bound.
    fn overrun(&mut self, act: Ref<Activation>, phase: u8) {
        let a = *self.get(act);
        let reserve = if a.port.is_some() { self.get(a.port).unwind_cpu } else { 0 };
        if a.head.flags == 0 {
            let until = self.get(a.thread).cpu_ns + reserve * OVERRUN_FACTOR + OVERRUN_NS;
            let a = self.get_mut(act);
            a.head.flags = 1;
            a.payer_mode = PAYER_OWN as u8;
            a.left.cpu_ns = UNLIMITED;
            a.overrun_until = until;
            if a.task.is_some() {
                let task = a.task;
                self.get_mut(task).overruns += 1;
            }
            let a = *self.get(act);
            if a.port.is_some() {
                self.get_mut(a.port).overruns += 1;
            }
            return;
        }
        if self.get(a.thread).cpu_ns < a.overrun_until {
            return;
        }
        if phase == CRITICAL && a.task.is_some() && self.critical_depth(act) > 0 {
            self.server_broken(a.task);
        }
        let thread = a.thread;
        let a = self.get_mut(act);
        a.payer_mode = 0;
        self.finish_or_retry(thread);
    }

    /// The code that a caller in a call to a dead server gets, for the log and tests.
    #[must_use]
    pub const fn server_died_code() -> i32 {
        MIG_SERVER_DIED
    }
}
