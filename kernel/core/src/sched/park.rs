//! Parking and waking of threads, and the timers that wake them.

use drover_abi::returns::{DROVER_LOCK_HELD, KERN_TIMEDOUT, MACH_SEND_TIMED_OUT};

use super::{EXPIRIES, SYSCALL_BYTES, interrupted_code, timeout_code};
use crate::activation::{Activation, Exit, RUNNING};
use crate::kernel::{Kernel, Stop};
use crate::machine::Machine;
use crate::object::Ref;
use crate::thread::{
    BLOCKED, ON_END, ON_RECEIVE, ON_SEND, ON_WORD, READY, RESUME_RESTART, RESUME_USER, Thread, Timers,
};

impl<M: Machine> Kernel<M> {
    /// Parks the current thread. The caller links it into the wait list of what it waits on. `deadline`: absolute ns, `u64::MAX` = none.
    /// With `RESUME_RESTART` the registers must be untouched since the trap.
    pub(crate) fn block(&mut self, waiting: u8, on: u32, resume: u8, deadline: u64) -> Stop {
        let current = self.current;
        if resume == RESUME_RESTART {
            self.regs.rip -= SYSCALL_BYTES;
        }
        let limit = self.get(self.here()).left.deadline_ns;
        let thread = self.get_mut(current);
        thread.head.state = BLOCKED;
        (thread.waiting, thread.wait_on, thread.resume, thread.wake_code) = (waiting, on, resume, 0);
        thread.wait_deadline = deadline;
        let at = deadline.min(limit);
        if at != u64::MAX {
            thread.timer.key = at;
            self.timers = self.tree_insert::<Timers, _>(self.timers, current);
        }
        Stop::Blocked
    }

    /// Whether the current thread may wait for something that nobody has promised by a time (law 7): not inside a critical section. `drover_wait`, which
    /// knows owner and deadline, does not ask.
    ///
    /// # Errors
    /// `DROVER_LOCK_HELD`.
    pub(crate) fn may_wait(&mut self) -> Result<(), Stop> {
        if self.critical_depth(self.here()) > 0 { Err(Stop::Error(DROVER_LOCK_HELD)) } else { Ok(()) }
    }

    /// A parked thread is to wait no longer than until `limit`, or its wait's own deadline.
    pub(crate) fn limit_wait(&mut self, thread: Ref<Thread>, limit: u64) {
        let t = *self.get(thread);
        if t.head.state != BLOCKED {
            return;
        }
        if t.timer.linked != 0 {
            self.timers = self.tree_remove::<Timers, _>(self.timers, thread);
        }
        self.get_mut(thread).timer.key = t.wait_deadline.min(limit);
        self.timers = self.tree_insert::<Timers, _>(self.timers, thread);
    }

    /// Makes a parked thread ready. `code` 0: what it waited for happened (a `RESUME_RESTART` or `RESUME_RECEIVE` thread tries again when it runs);
    /// otherwise the failure that its trap returns. Unlinks it from its wait list and timer.
    pub(crate) fn wake(&mut self, thread: Ref<Thread>, code: i32) {
        let t = *self.get(thread);
        if t.head.state != BLOCKED {
            return;
        }
        if t.timer.linked != 0 {
            self.timers = self.tree_remove::<Timers, _>(self.timers, thread);
        }
        match t.waiting {
            ON_RECEIVE | ON_SEND => self.wait_unlink(thread),
            ON_WORD => self.word_unlink(thread),
            ON_END => self.end_unlink(thread),
            crate::thread::ON_CONSOLE if self.console_reader == thread => self.console_reader = Ref::NONE,
            _ => {}
        }
        let current = self.current;
        let t = self.get_mut(thread);
        (t.waiting, t.wait_on, t.wake_code) = (0, 0, code);
        t.head.state = READY;
        let (resume, top, queued) = (t.resume, t.top, t.queued);
        let late = matches!(code, KERN_TIMEDOUT | MACH_SEND_TIMED_OUT) && t.restarting != 0;
        if code != 0 && !late {
            // The trap ends here. (A restarted operation sees for itself that its time is over.)
            (t.resume, t.restarting) = (RESUME_USER, 0);
            let regs = if thread == current { &mut self.regs } else { &mut self.get_mut(top).regs };
            if resume == RESUME_RESTART {
                regs.rip += SYSCALL_BYTES;
            }
            regs.rax = code as u32 as u64;
        }
        if queued != 0 {
            // It stood there as a lender.
            self.dequeue(thread);
        }
        if thread == self.current {
            return;
        }
        self.enqueue(thread);
        let lender = self.get(thread).lender;
        if lender.is_some() {
            self.requeue_lender(lender, thread);
        }
        // A waker gives way to whoever is behind in virtual time.
        if self.current.is_some() {
            let account = self.get(thread).queued_in;
            if self.get(account).vtime < self.get(self.turn).vtime {
                self.quantum_end = 0;
            }
        }
    }

    /// A lender whose owner can run again stands in line for it again.
    fn requeue_lender(&mut self, lender: Ref<Thread>, owner: Ref<Thread>) {
        let l = self.get(lender);
        if l.head.state == BLOCKED && l.lend != 0 && l.wait_owner == self.get(owner).tid {
            self.enqueue(lender);
        }
    }

    /// Wakes threads whose time has come.
    pub(super) fn expire(&mut self, now: u64) {
        for _ in 0..EXPIRIES {
            let first = self.tree_first::<Timers, _>(self.timers);
            if first.is_none() || self.get(first).timer.key > now {
                return;
            }
            let t = *self.get(first);
            self.timers = self.tree_remove::<Timers, _>(self.timers, first);
            let top = self.get(t.top);
            if top.left.deadline_ns <= now && top.lower.is_some() && (top.exit == 0 || top.phase == RUNNING) {
                let act = self.outermost_expired(t.top, now);
                // In a critical section the wait goes on, with another limit.
                self.request_exit(act, Exit::Deadline, KERN_TIMEDOUT);
                continue;
            }
            let late = t.wait_deadline <= now;
            self.wake(first, if late { timeout_code(t.waiting) } else { interrupted_code(t.waiting) });
        }
    }

    /// The lowest activation of a chain whose deadline has passed.
    pub(super) fn outermost_expired(&self, top: Ref<Activation>, now: u64) -> Ref<Activation> {
        let mut act = top;
        loop {
            let lower = self.get(act).lower;
            if lower.is_none() || self.get(lower).lower.is_none() || self.get(lower).left.deadline_ns > now {
                return act;
            }
            act = lower;
        }
    }
}
