//! The scheduler: flat proportional share over accounts, round robin inside an account; parking and waking of threads.
//!
//! An account with ready threads stands in the run queue by its virtual time, which grows by ns / share while one of its threads runs. An account
//! that was idle starts at the present virtual time: sleeping saves nothing up. A thread that is current stands in no ready list.
//! A thread in a server stands in the list of the account that pays for it there, or of that one's client when it is a session. A waiter that lends (`WAIT_LEND`) keeps its place in the
//! list; when its turn comes the owner of what it waits for runs instead (the turn is the waiter's, the CPU time the owner's payer's).
//! Deliberately absent: priorities.

mod park;
mod payer;
mod ready;

use drover_abi::account::{CPU, UNLIMITED};
use drover_abi::returns::{
    KERN_ABORTED, KERN_TERMINATED, KERN_TIMEDOUT, MACH_RCV_INTERRUPTED, MACH_RCV_TIMED_OUT,
    MACH_SEND_INTERRUPTED, MACH_SEND_TIMED_OUT,
};

use crate::account::RunQueue;
use crate::activation::{Activation, Exit, RUNNING};
use crate::kernel::{Kernel, Stop};
use crate::machine::{Frame, Machine};
use crate::object::Ref;
use crate::task::TASK_ALIVE;
use crate::thread::{
    BLOCKED, ON_BUDGET, ON_RECEIVE, ON_SEND, READY, RESUME_RECEIVE, RESUME_USER, STOPPED, Thread, Timers,
};

/// Longest turn, ns.
pub const QUANTUM_NS: u64 = 200_000;
/// Virtual time that an account with a share of 1/10000 gains per ns (so that the smallest share takes years of CPU to reach the end of time).
const VIRTUAL: u64 = 256;
/// Bytes of a `syscall` instruction.
pub(crate) const SYSCALL_BYTES: u64 = 2;
/// Longest chain of lent turns and of owned waits that is followed.
pub(crate) const CHAIN: u32 = 64;
/// Timers that expire at most before something runs.
const EXPIRIES: u32 = 64;

/// What the machine is to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Run user code with `Kernel::regs` in the address space of this root table, at most until this time.
    Run {
        /// Root page table.
        root_table: Frame,
        /// Absolute ns.
        until: u64,
    },
    /// Wait for an interrupt; nothing happens by itself before this time.
    Idle {
        /// Absolute ns, `u64::MAX` = none.
        until: u64,
    },
}

impl<M: Machine> Kernel<M> {
    // ---- dispatch ----

    /// Says what to run. Charges time, expires timers, switches threads, carries out pending exits and continuations.
    #[allow(clippy::should_implement_trait, reason = "the loop around the kernel reads as what it is")]
    pub fn next(&mut self) -> Next {
        loop {
            self.reap_tasks();
            if self.ports_dying() {
                self.reap();
            }
            if self.orphans.is_some() {
                self.wake_orphans();
            }
            let now = self.machine.now();
            self.expire(now);
            if self.current.is_some() {
                if now < self.quantum_end && self.get(self.current).head.state == READY {
                    if let Some(next) = self.enter_user(now) {
                        return next;
                    }
                    continue;
                }
                self.put_back();
            }
            if self.throttled.is_some() {
                self.release_throttled(now);
            }
            if !self.pick(now) {
                if self.reaping.is_some() || self.ports_dying() || self.orphans.is_some() {
                    continue;
                }
                self.charge_time();
                let timer = self.tree_first::<Timers, _>(self.timers);
                let mut until = if timer.is_some() { self.get(timer).timer.key } else { u64::MAX };
                let throttled = self.tree_first::<RunQueue, _>(self.throttled);
                if throttled.is_some() {
                    until = until.min(self.get(throttled).run.key);
                }
                return Next::Idle { until };
            }
        }
    }

    /// Ends the current thread's turn.
    fn put_back(&mut self) {
        self.charge_time();
        let current = self.current;
        let act = self.here();
        self.get_mut(act).regs = self.regs;
        self.fpu_leave(act);
        if self.get(current).head.state == READY {
            self.enqueue(current);
        }
        self.requeue_turn();
        self.current = Ref::NONE;
    }

    /// After a turn the account's place in the queue follows its virtual time, or its cap.
    pub(crate) fn requeue_turn(&mut self) {
        let turn = self.turn;
        if turn.is_some() && self.get(turn).run.linked != 0 {
            self.account_stop(turn);
            if self.get(turn).ready_head.is_some() {
                self.account_start(turn);
            }
        }
    }

    /// Makes the next thread current. False: none is ready.
    fn pick(&mut self, now: u64) -> bool {
        loop {
            let account = self.tree_first::<RunQueue, _>(self.run_queue);
            if account.is_none() {
                return false;
            }
            self.vnow = self.vnow.max(self.get(account).run.key);
            let head = self.get(account).ready_head;
            // An account that is being destroyed has no turns to lend.
            let lends = self.get(account).head.state == 0;
            let thread =
                if lends || self.get(head).head.state == READY { self.helped(head) } else { Ref::NONE };
            if thread.is_none() {
                // A lender whose owner cannot run: nothing to lend its turn to until the owner wakes.
                self.dequeue(head);
                continue;
            }
            if thread != head {
                // The lender goes to the end of its list.
                self.dequeue(head);
                self.enqueue(head);
            }
            self.dequeue(thread);
            self.charge_time();
            self.turn = account;
            self.current = thread;
            self.quantum_end = now + QUANTUM_NS;
            self.regs = self.get(self.get(thread).top).regs;
            self.machine.fpu_disable();
            return true;
        }
    }

    /// Whom a thread's turn goes to: itself, or along its owned waits to a thread that is ready.
    fn helped(&self, from: Ref<Thread>) -> Ref<Thread> {
        let mut thread = from;
        for _ in 0..CHAIN {
            let t = self.get(thread);
            if t.head.state == READY {
                return thread;
            }
            if t.head.state != BLOCKED || t.lend == 0 {
                return Ref::NONE;
            }
            thread = self.thread_by_tid(t.wait_owner);
            if thread.is_none() || thread == self.current {
                return Ref::NONE;
            }
        }
        Ref::NONE
    }

    /// The current thread is about to run user code: carries out what stands before that. None: look again.
    fn enter_user(&mut self, now: u64) -> Option<Next> {
        let current = self.current;
        let t = self.get(current);
        let resume = t.resume;
        if !self.may_go_on(t) {
            self.get_mut(current).head.state = STOPPED;
            return None;
        }
        let act = self.get(current).top;
        let a = self.get(act);
        if a.task.is_some() && self.get(a.task).head.state != TASK_ALIVE {
            if a.lower.is_some() {
                let _ = self.evict(act);
            } else {
                // The reaper ends it.
                self.get_mut(current).head.state = STOPPED;
            }
            return None;
        }
        if self.ends_with_account(current, act) {
            return None;
        }
        let a = self.get(act);
        if a.exit != 0 && a.phase == RUNNING {
            self.begin_exit(current);
            return None;
        }
        if resume != RESUME_USER {
            self.continue_trap(current, resume);
            return None;
        }
        let mut until = self.quantum_end;
        let a = self.get(act);
        if a.left.cpu_ns != UNLIMITED && (a.payer_mode == 0 || a.phase != RUNNING) {
            if a.left.cpu_ns.saturating_sub(now.saturating_sub(self.charged_until)) == 0 {
                self.charge_time();
                self.cpu_ceiling(act);
                return None;
            }
            until = until.min(self.charged_until.saturating_add(a.left.cpu_ns));
        }
        if a.left.deadline_ns != UNLIMITED {
            if a.left.deadline_ns <= now && a.phase == RUNNING {
                let act = self.outermost_expired(act, now);
                self.request_exit(act, Exit::Deadline, KERN_TIMEDOUT);
                return None;
            }
            if a.phase == RUNNING {
                until = until.min(a.left.deadline_ns);
            }
        }
        let a = self.get(act);
        if a.head.flags != 0 {
            // An exit beyond its reserve, at the server's expense.
            let used = self.get(current).cpu_ns + now.saturating_sub(self.charged_until);
            if used >= a.overrun_until {
                self.charge_time();
                self.cpu_ceiling(act);
                return None;
            }
            until = until.min(now.saturating_add(a.overrun_until - used));
        }
        let payer = self.flow_account(self.payer_account(act));
        let cpu = self.get(payer).resources[CPU];
        // An exit goes on without a budget: it has its reserve.
        if cpu.limit != UNLIMITED && self.get(act).phase == RUNNING {
            let left = cpu.limit.saturating_sub(cpu.charged).saturating_sub(cpu.given);
            if left == 0 {
                self.budget_exhausted(current);
                return None;
            }
            until = until.min(now.saturating_add(left));
        }
        let task = self.get(act).task;
        Some(Next::Run { root_table: self.get(task).root_table, until })
    }

    /// Whether the current thread may run no further because an account is being destroyed, its payer or the task's: the destroyer need not have come
    /// to it yet, and may never.
    fn ends_with_account(&mut self, thread: Ref<Thread>, act: Ref<Activation>) -> bool {
        let a = self.get(act);
        let (task, home, exits) = (a.task, a.lower.is_none(), a.exit != 0);
        if task.is_some() && self.is_closing(self.get(task).account) {
            // It is alive, so this cannot fail.
            let _ = self.task_terminate(task);
            return true;
        }
        if exits || !self.is_closing(a.payer) {
            return false;
        }
        if home {
            self.thread_terminate(thread);
        } else {
            self.request_exit(act, Exit::ClientDied, KERN_TERMINATED);
        }
        true
    }

    /// A thread of an account without CPU budget: inside a server it exits its calls; at home it waits for a new budget.
    fn budget_exhausted(&mut self, thread: Ref<Thread>) {
        let mut act = self.get(thread).top;
        if self.get(act).lower.is_some() {
            while self.get(self.get(act).lower).lower.is_some() {
                act = self.get(act).lower;
            }
            self.request_exit(act, Exit::Ceiling, drover_abi::returns::KERN_RESOURCE_SHORTAGE);
            return;
        }
        if self.get(act).payer_mode != 0 {
            // At home another's budget is over: on at its own.
            self.charge_time();
            self.get_mut(act).payer_mode = 0;
            return;
        }
        let t = self.get_mut(thread);
        t.head.state = BLOCKED;
        t.waiting = ON_BUDGET;
    }

    /// Goes on with a parked trap: with a receive, or by executing the `syscall` instruction again. (A wait that failed has ended its trap in [`Self::wake`].)
    fn continue_trap(&mut self, thread: Ref<Thread>, resume: u8) {
        let t = self.get_mut(thread);
        (t.resume, t.wake_code) = (RESUME_USER, 0);
        if resume == RESUME_RECEIVE {
            let result = self.resume_receive();
            self.finish_trap(result);
        }
    }

    /// Ends a trap with its result.
    pub(crate) fn finish_trap(&mut self, result: Result<i32, Stop>) {
        match result {
            Ok(code) | Err(Stop::Error(code)) => {
                self.regs.rax = code as u32 as u64;
                if self.current.is_some() {
                    let current = self.current;
                    self.get_mut(current).restarting = 0;
                }
            }
            Err(Stop::Again) => {
                self.regs.rip -= SYSCALL_BYTES;
                let now = self.machine.now();
                if now >= self.quantum_end {
                    self.quantum_end = 0;
                }
            }
            Err(Stop::Blocked) => self.exit_before_wait(),
            Err(Stop::Switched) => {}
        }
    }

    /// Whether a thread may run user code: not while it, or its home task, is suspended and it is at home.
    pub(crate) fn may_go_on(&self, t: &Thread) -> bool {
        if t.depth != 1 || t.head.flags != 0 {
            return true;
        }
        t.suspended == 0 && self.get(t.home).suspended == 0
    }
}

/// What a wait that is broken off returns.
pub(crate) fn interrupted_code(waiting: u8) -> i32 {
    match waiting {
        ON_RECEIVE => MACH_RCV_INTERRUPTED,
        ON_SEND => MACH_SEND_INTERRUPTED,
        _ => KERN_ABORTED,
    }
}

/// What a wait that timed out returns.
fn timeout_code(waiting: u8) -> i32 {
    match waiting {
        ON_RECEIVE => MACH_RCV_TIMED_OUT,
        ON_SEND => MACH_SEND_TIMED_OUT,
        _ => KERN_TIMEDOUT,
    }
}
