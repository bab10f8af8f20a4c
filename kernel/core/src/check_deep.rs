//! The rest of the invariants: lists whole both ways, waits on things that exist, page tables paid as the law says, ceilings that attenuate.
//!
//! Slower than [`Kernel::check`]; run by tests after every step.

use drover_abi::account::UNLIMITED;

use crate::account::{Account, RunQueue};
use crate::activation::{Activation, RUNNING};
use crate::check::{Findings, Report};
use crate::frame::{FrameKind, NONE};
use crate::kernel::Kernel;
use crate::machine::{Frame, Machine};
use crate::object::{Kind, Ref};
use crate::pagetable::{PAGE, in_windows, target};
use crate::port::Port;
use crate::task::{TASK_ALIVE, Task};
use crate::thread::{
    BLOCKED, ON_BUDGET, ON_CONSOLE, ON_END, ON_RECEIVE, ON_SEND, ON_WORD, READY, STOPPED, Thread,
};

/// No list of the kernel is longer.
const LONG: u32 = 1 << 24;

impl<M: Machine> Kernel<M> {
    /// Checks everything, cheap or not; the number of violations found now.
    pub fn check_deep(&mut self) -> u64 {
        let mut findings = Findings::default();
        let report = &mut |text: core::fmt::Arguments<'_>| findings.add(text);
        self.check_free_tables(report);
        let mut account = self.root;
        while account.is_some() {
            self.check_ready(account, report);
            let mut frame = self.get(account).slabs_head;
            while frame != NONE {
                for slot in 0..64 {
                    let Some((kind, raw)) = self.slab_object(frame, slot) else { continue };
                    if kind == Kind::Thread as u8 {
                        self.check_waiting(Ref::from_raw(raw), report);
                    } else if kind == Kind::Activation as u8 {
                        self.check_activation(Ref::from_raw(raw), report);
                    } else if kind == Kind::Task as u8 {
                        self.check_task(Ref::from_raw(raw), report);
                    } else if kind == Kind::Port as u8 {
                        self.check_port(Ref::from_raw(raw), report);
                    }
                }
                frame = self.info(frame).next;
            }
            account = self.next_account(account);
        }
        if self.current.is_some() {
            if !self.is_object(self.current.raw(), Kind::Thread, 3) {
                report(format_args!("the current thread does not exist"));
            }
            if !self.is_object(self.turn.raw(), Kind::Account, 3) {
                report(format_args!("it is the turn of an account that does not exist"));
            }
        }
        let found = self.check();
        found + self.record(&findings)
    }

    /// Ready threads and the run queue agree.
    fn check_ready(&self, account: Ref<Account>, report: &mut Report<'_>) {
        let a = self.get(account);
        let (mut thread, mut last, mut n) = (a.ready_head, Ref::NONE, 0);
        while thread.is_some() && n < LONG {
            let t = self.get(thread);
            if t.queued != 1 || t.queued_in != account || t.ready_prev != last {
                report(format_args!("account {}: ready list broken at {:#x}", a.id, t.tid));
            }
            (last, thread, n) = (thread, t.ready_next, n + 1);
        }
        if a.ready_tail != last {
            report(format_args!("account {}: end of its ready list", a.id));
        }
        if (a.run.linked != 0) != (n != 0) {
            report(format_args!("account {}: {n} ready threads, linked {}", a.id, a.run.linked));
        }
        let first = if a.throttled != 0 { self.throttled } else { self.run_queue };
        if a.run.linked != 0 && !self.tree_has(first, account) {
            report(format_args!("account {}: not where it should stand in line", a.id));
        }
    }

    /// Whether an account is in a tree: from the first node on, in order.
    fn tree_has(&self, root: Ref<Account>, account: Ref<Account>) -> bool {
        let mut at = self.tree_first::<RunQueue, _>(root);
        let key = self.get(account).run.key;
        // Equal keys are ordered by reference, so a walk by keys finds at least one of them.
        if at.is_some() && self.get(at).run.key < key {
            at = self.tree_ceiling::<RunQueue, _>(root, key);
        }
        at.is_some() && self.get(at).run.key <= key
    }

    /// A thread is ready and in line, or waits on something that exists and knows of it.
    fn check_waiting(&self, thread: Ref<Thread>, report: &mut Report<'_>) {
        let t = self.get(thread);
        let mut wrong = |what: &str| {
            report(format_args!("thread {:#x}: state {} waiting {}: {what}", t.tid, t.head.state, t.waiting));
        };
        if t.queued != 0 && !self.is_object(t.queued_in.raw(), Kind::Account, 3) {
            wrong("queued in no account");
        }
        match t.head.state {
            READY if t.queued == 0 && thread != self.current => wrong("ready but not in line"),
            READY | STOPPED if t.waiting != 0 || t.timer.linked != 0 => wrong("does not wait"),
            STOPPED if t.queued != 0 => wrong("in line"),
            STOPPED if thread != self.current && self.may_go_on(t) && self.is_home_alive(t) => {
                wrong("nothing stops it");
            }
            BLOCKED => {
                let known = match t.waiting {
                    ON_RECEIVE | ON_SEND => {
                        self.is_object(t.wait_on, Kind::Port, 2) && {
                            let p = self.get(Ref::<Port>::from_raw(t.wait_on));
                            self.waits_in(if t.waiting == ON_SEND { p.senders } else { p.receivers }, thread)
                        }
                    }
                    ON_WORD => {
                        self.words.iter().any(|&head| self.waits_in(head, thread))
                            && (t.wait_owner == 0
                                || self.thread_by_tid(t.wait_owner).is_some()
                                || self.orphans.is_some())
                    }
                    ON_END => {
                        self.is_object(t.wait_on, Kind::Account, 3)
                            && self.waits_in(self.get(Ref::<Account>::from_raw(t.wait_on)).destroyer, thread)
                    }
                    ON_CONSOLE => self.console_reader == thread,
                    ON_BUDGET => self.get(t.top).lower.is_none(),
                    _ => false,
                };
                if !known {
                    wrong("waits on nothing");
                }
                let limit = self.get(t.top).left.deadline_ns.min(t.wait_deadline);
                if t.waiting != ON_BUDGET && (t.timer.linked != 0) != (limit != u64::MAX) {
                    wrong("timer");
                }
                if self.get(t.top).exit != 0 && self.get(t.top).phase == RUNNING {
                    wrong("waits instead of exiting");
                }
            }
            _ => {}
        }
        if t.lender.is_some() && !self.is_object(t.lender.raw(), Kind::Thread, 3) {
            wrong("a lender that does not exist");
        }
    }

    /// Whether the home of a thread still is; if not, the reaper is to come to it.
    fn is_home_alive(&self, t: &Thread) -> bool {
        let home = self.get(t.bottom).task;
        home.is_some() && self.get(home).head.state == TASK_ALIVE
    }

    fn waits_in(&self, head: Ref<Thread>, thread: Ref<Thread>) -> bool {
        let (mut at, mut n) = (head, 0);
        while at.is_some() && n < LONG {
            if at == thread {
                return true;
            }
            (at, n) = (self.get(at).wait_next, n + 1);
        }
        false
    }

    /// Links up and down agree; a callee has no more than its caller.
    fn check_activation(&self, act: Ref<Activation>, report: &mut Report<'_>) {
        let a = self.get(act);
        let tid = self.get(a.thread).tid;
        if a.lower.is_none() {
            return;
        }
        let l = self.get(a.lower);
        if l.upper != act || (self.get(a.thread).top == act) != a.upper.is_none() {
            report(format_args!("thread {tid:#x}: activations badly linked"));
        }
        if l.exit != 0 && l.phase == RUNNING && a.exit == 0 {
            report(format_args!("thread {tid:#x}: its caller exits, it does not"));
        }
        // A server that pays itself offers what it likes.
        if a.phase == RUNNING && a.exit == 0 && l.payer_mode == 0 && l.left.cpu_ns != UNLIMITED {
            let more =
                a.left.cpu_ns > l.left.cpu_ns || a.left.frames > l.left.frames || a.left.io > l.left.io;
            if more || a.left.depth >= l.left.depth {
                report(format_args!("thread {tid:#x}: a callee has more than its caller"));
            }
        }
        if a.task.is_some() {
            let (mut at, mut n) = (self.get(a.task).visits, 0);
            while at.is_some() && at != act && n < LONG {
                (at, n) = (self.get(at).visit_next, n + 1);
            }
            if at != act {
                report(format_args!("thread {tid:#x}: a visit that its task does not know of"));
            }
        }
    }

    /// Threads and visits are the task's; its page tables are paid by whom the law says.
    fn check_task(&self, task: Ref<Task>, report: &mut Report<'_>) {
        let t = self.get(task);
        let (mut thread, mut n) = (t.threads, 0);
        while thread.is_some() && n < LONG {
            if self.get(thread).home != task {
                report(format_args!("task {}: a thread of another", t.id));
            }
            (thread, n) = (self.get(thread).home_next, n + 1);
        }
        if n != t.thread_count {
            report(format_args!("task {}: {n} threads, {} counted", t.id, t.thread_count));
        }
        let (mut act, mut n) = (t.visits, 0);
        while act.is_some() && n < LONG {
            if self.get(act).task != task {
                report(format_args!("task {}: a visit of another", t.id));
            }
            (act, n) = (self.get(act).visit_next, n + 1);
        }
        if t.root_table != 0 {
            self.check_tables(task, t.root_table, 0, 4, report);
        }
    }

    /// A table of a level (4 = root) for the addresses from `base` on.
    fn check_tables(&self, task: Ref<Task>, table: Frame, base: u64, level: u32, report: &mut Report<'_>) {
        let t = self.get(task);
        let shared = level >= 3 || !in_windows(base);
        let payer = if shared {
            t.account
        } else {
            match self.window_owner(task, base) {
                Some(act) => self.get(act).payer,
                None => Ref::NONE,
            }
        };
        let info = self.info(table);
        if info.kind != FrameKind::PageTable as u8 || info.owner != payer {
            let kind = info.kind;
            report(format_args!("task {}: level {level} table for {base:#x}: kind {kind}, payer", t.id));
        }
        let mut used = 0;
        for i in 0..if level == 4 { 256 } else { 512 } {
            let Some(frame) = target(self.words(table)[i]) else { continue };
            used += 1;
            let address = base + ((i as u64 * PAGE) << (9 * (level - 1)));
            if level > 1 {
                self.check_tables(task, frame, address, level - 1, report);
            } else if self.info(frame).owner.is_none() {
                report(format_args!("task {}: a page at {address:#x} that nobody pays for", t.id));
            }
        }
        if level < 4 && used != u32::from(info.flags) {
            report(format_args!("task {}: table for {base:#x}: {used} in use, {} counted", t.id, info.flags));
        }
    }

    /// The list of references to a port is whole, and each is to it.
    fn check_port(&self, port: Ref<Port>, report: &mut Report<'_>) {
        let p = self.get(port);
        let (mut at, mut n) = (p.slots, 0);
        let mut before = crate::right::SlotRef::NONE;
        while at.is_some() && n < LONG {
            let slot = self.slot(at);
            if slot.port != port || slot.prev != before {
                report(format_args!("port {port:?}: its list of references is broken"));
                return;
            }
            (before, at, n) = (at, slot.next, n + 1);
        }
        if p.call.is_some() && !self.is_object(p.call.raw(), Kind::Activation, 3) {
            report(format_args!("port {port:?}: made in a call that does not exist"));
        }
    }
}
