//! The scheduler: flat proportional share over accounts, round robin inside an account; parking and waking of threads.
//!
//! An account with ready threads stands in the run queue by its virtual time, which grows by ns / share while one of its threads runs. An account
//! that was idle starts at the present virtual time: sleeping saves nothing up. A thread that is current stands in no ready list.
//! A thread in a server stands in the list of the account that pays for it there, or of that one's client when it is a session. A waiter that lends (`WAIT_LEND`) keeps its place in the
//! list; when its turn comes the owner of what it waits for runs instead (the turn is the waiter's, the CPU time the owner's payer's).
//! Deliberately absent: priorities.

use drover_abi::account::{ACCOUNT_SESSION, CPU, UNLIMITED};
use drover_abi::returns::{
    KERN_ABORTED, KERN_TERMINATED, KERN_TIMEDOUT, MACH_RCV_INTERRUPTED, MACH_RCV_TIMED_OUT,
    MACH_SEND_INTERRUPTED, MACH_SEND_TIMED_OUT,
};
use drover_abi::trap::{PAYER_ACCOUNT, PAYER_OWN};

use crate::account::{Account, Payer, RunQueue};
use crate::activation::{Activation, Exit, RUNNING};
use crate::kernel::{Kernel, Stop};
use crate::machine::{Frame, Machine};
use crate::object::Ref;
use crate::task::{TASK_ALIVE, Task};
use crate::thread::{
    BLOCKED, ON_BUDGET, ON_END, ON_RECEIVE, ON_SEND, ON_WORD, READY, RESUME_RECEIVE, RESUME_RESTART,
    RESUME_USER, STOPPED, Thread, Timers,
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
    /// Virtual time that an account starts at when it becomes runnable.
    pub(crate) fn virtual_now(&self) -> u64 {
        self.vnow
    }

    /// The account that pays for an activation now: by its payer mode.
    pub(crate) fn payer_account(&self, act: Ref<Activation>) -> Ref<Account> {
        let a = self.get(act);
        match u64::from(a.payer_mode) {
            PAYER_OWN if a.task.is_some() => self.get(a.task).account,
            PAYER_ACCOUNT
                if self.account_is(a.payer_account, a.payer_id)
                    && self.get(a.payer_account).head.state == 0 =>
            {
                a.payer_account
            }
            PAYER_ACCOUNT if a.task.is_some() => self.get(a.task).account,
            _ => a.payer,
        }
    }

    /// The account in whose turns an activation runs: that of its payer, or its client's when that is a session.
    fn turn_account(&self, act: Ref<Activation>) -> Ref<Account> {
        let mut account = self.payer_account(act);
        while u32::from(self.get(account).head.flags) & ACCOUNT_SESSION != 0
            && self.get(account).parent.is_some()
        {
            account = self.get(account).parent;
        }
        account
    }

    /// The activation whose ceilings apply to what its thread does now: none in payer modes OWN and ACCOUNT.
    pub(crate) fn ceilings(&self, act: Ref<Activation>) -> Ref<Activation> {
        if self.get(act).payer_mode == 0 { act } else { Ref::NONE }
    }

    /// The top activation of the current thread.
    pub(crate) fn here(&self) -> Ref<Activation> {
        self.get(self.current).top
    }

    /// The task that the current thread is in.
    pub(crate) fn task_here(&self) -> Ref<Task> {
        self.get(self.here()).task
    }

    /// Who pays for what the current activation asks for in `task`: its own task - by payer mode; another task - that task's account.
    pub(crate) fn payer_in(&self, task: Ref<Task>) -> Payer {
        let account = self.get(task).account;
        if self.current.is_none() {
            return Payer::account(account);
        }
        let act = self.here();
        if self.get(act).task == task {
            return Payer { account: self.payer_account(act), call: self.ceilings(act) };
        }
        self.payer_for(account)
    }

    /// `account` pays; the ceilings of the current call apply if it is the account that pays for the current activation.
    pub(crate) fn payer_for(&self, account: Ref<Account>) -> Payer {
        if self.current.is_none() {
            return Payer::account(account);
        }
        let act = self.here();
        if self.payer_account(act) == account {
            Payer { account, call: self.ceilings(act) }
        } else {
            Payer::account(account)
        }
    }

    // ---- time ----

    /// Charges the time since the last charge: to whoever ran, or to idleness.
    pub(crate) fn charge_time(&mut self) {
        let now = self.machine.now();
        let ns = now.saturating_sub(self.charged_until);
        self.charged_until = now;
        if self.current.is_none() {
            self.idle_ns += ns;
            return;
        }
        let act = self.here();
        let account = self.payer_account(act);
        let mine = self.get(act).payer_mode == 0;
        let a = self.get_mut(act);
        if mine {
            a.used_cpu += ns;
        }
        // An exit has its reserve to end in, whoever pays.
        if (mine || a.phase != RUNNING) && a.left.cpu_ns != UNLIMITED {
            a.left.cpu_ns = a.left.cpu_ns.saturating_sub(ns);
        }
        let (task, overrunning, client) = (a.task, a.head.flags != 0, a.payer);
        if overrunning {
            self.get_mut(client).overrun_ns += ns;
        }
        if task.is_some() {
            self.get_mut(task).cpu_ns += ns;
        }
        let current = self.current;
        self.get_mut(current).cpu_ns += ns;
        self.charged_ns += ns;
        let payer = self.get_mut(account);
        payer.resources[CPU].charged += ns;
        payer.period_used += ns;
        let turn = self.turn;
        let share = u64::from(self.get(turn).share.max(1));
        let vtime = &mut self.get_mut(turn).vtime;
        *vtime = vtime.saturating_add(ns.saturating_mul(VIRTUAL) / share);
    }

    // ---- ready lists ----

    /// Puts a ready thread at the end of its payer's list.
    pub(crate) fn enqueue(&mut self, thread: Ref<Thread>) {
        if self.get(thread).queued != 0 {
            return;
        }
        let top = self.get(thread).top;
        // An exit runs in its caller's turn, whoever pays for the time: a destroyer does not wait for a server's share.
        let act = self.get(top);
        let account = if act.phase == RUNNING { self.turn_account(top) } else { act.payer };
        let tail = self.get(account).ready_tail;
        let t = self.get_mut(thread);
        t.queued = 1;
        t.queued_in = account;
        t.ready_next = Ref::NONE;
        t.ready_prev = tail;
        if tail.is_some() {
            self.get_mut(tail).ready_next = thread;
        } else {
            self.get_mut(account).ready_head = thread;
        }
        self.get_mut(account).ready_tail = thread;
        if self.get(account).run.linked == 0 {
            self.account_start(account);
        }
    }

    /// Takes a thread out of its ready list.
    pub(crate) fn dequeue(&mut self, thread: Ref<Thread>) {
        let t = *self.get(thread);
        if t.queued == 0 {
            return;
        }
        let account = t.queued_in;
        if t.ready_prev.is_some() {
            self.get_mut(t.ready_prev).ready_next = t.ready_next;
        } else {
            self.get_mut(account).ready_head = t.ready_next;
        }
        if t.ready_next.is_some() {
            self.get_mut(t.ready_next).ready_prev = t.ready_prev;
        } else {
            self.get_mut(account).ready_tail = t.ready_prev;
        }
        self.get_mut(thread).queued = 0;
        if self.get(account).ready_head.is_none() {
            self.account_stop(account);
        }
    }

    /// Puts an account that has ready threads into the run queue, or among the throttled if its cap is used up.
    fn account_start(&mut self, account: Ref<Account>) {
        let vnow = self.vnow;
        let now = self.machine.now();
        let a = self.get_mut(account);
        // What an account that is being destroyed still runs are exits, bounded by their reserves: they do not wait for its share.
        let closing = a.head.state != 0;
        a.vtime = if closing { vnow } else { a.vtime.max(vnow) };
        if a.cap_ns != 0 && !closing {
            if now >= a.period_start + a.period_ns {
                a.period_start = now;
                a.period_used = 0;
            }
            if a.period_used >= u64::from(a.cap_ns) {
                a.run.key = a.period_start + a.period_ns;
                a.throttled = 1;
                self.throttled = self.tree_insert::<RunQueue, _>(self.throttled, account);
                return;
            }
        }
        let a = self.get_mut(account);
        a.run.key = a.vtime;
        self.run_queue = self.tree_insert::<RunQueue, _>(self.run_queue, account);
    }

    /// Takes an account out of the run queue (or from among the throttled).
    fn account_stop(&mut self, account: Ref<Account>) {
        let a = self.get_mut(account);
        if a.run.linked == 0 {
            return;
        }
        if a.throttled != 0 {
            a.throttled = 0;
            self.throttled = self.tree_remove::<RunQueue, _>(self.throttled, account);
        } else {
            self.run_queue = self.tree_remove::<RunQueue, _>(self.run_queue, account);
        }
    }

    /// Puts throttled accounts whose next period has begun back into the run queue.
    fn release_throttled(&mut self, now: u64) {
        loop {
            let first = self.tree_first::<RunQueue, _>(self.throttled);
            if first.is_none() || self.get(first).run.key > now {
                return;
            }
            self.account_stop(first);
            self.account_start(first);
        }
    }

    /// An account is being destroyed from now on: it goes to the front.
    pub(crate) fn hurry(&mut self, account: Ref<Account>) {
        if self.get(account).run.linked != 0 {
            self.account_stop(account);
            self.account_start(account);
        }
    }

    /// An account is about to be freed: it has no turn and no ready threads any more. Those that stood in its list (they ran on a session of
    /// it, in servers) are returned as a list by `ready_next`, for [`Self::enqueue_all`].
    pub(crate) fn leave_scheduler(&mut self, account: Ref<Account>) -> Ref<Thread> {
        let mut list = Ref::NONE;
        while self.get(account).ready_head.is_some() {
            let thread = self.get(account).ready_head;
            self.dequeue(thread);
            self.get_mut(thread).ready_next = list;
            list = thread;
        }
        if self.turn == account {
            self.turn = self.get(account).parent;
        }
        list
    }

    /// Puts threads back in line, each at whoever pays for it now.
    pub(crate) fn enqueue_all(&mut self, list: Ref<Thread>) {
        let mut thread = list;
        while thread.is_some() {
            let next = self.get(thread).ready_next;
            self.enqueue(thread);
            thread = next;
        }
    }

    // ---- parking and waking ----

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
    fn expire(&mut self, now: u64) {
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
    fn outermost_expired(&self, top: Ref<Activation>, now: u64) -> Ref<Activation> {
        let mut act = top;
        loop {
            let lower = self.get(act).lower;
            if lower.is_none() || self.get(lower).lower.is_none() || self.get(lower).left.deadline_ns > now {
                return act;
            }
            act = lower;
        }
    }

    // ---- dispatch ----

    /// Says what to run. Charges time, expires timers, switches threads, carries out pending exits and continuations.
    #[allow(clippy::should_implement_trait, reason = "the loop around the kernel reads as what it is")]
    pub fn next(&mut self) -> Next {
        loop {
            self.reap_tasks();
            if self.ports_dying() {
                self.reap();
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
                if self.reaping.is_some() || self.ports_dying() {
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
        let payer = self.payer_account(act);
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
        let closing = |account: Ref<Account>| self.get(account).head.state != 0;
        if task.is_some() && closing(self.get(task).account) {
            // It is alive, so this cannot fail.
            let _ = self.task_terminate(task);
            return true;
        }
        if exits || !closing(a.payer) {
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
