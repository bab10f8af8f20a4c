//! Ready lists, and the accounts that stand in line with them.

use crate::account::{Account, RunQueue};
use crate::kernel::Kernel;
use crate::machine::Machine;
use crate::object::Ref;
use crate::thread::Thread;

impl<M: Machine> Kernel<M> {
    /// Puts a ready thread at the end of its payer's list.
    pub(crate) fn enqueue(&mut self, thread: Ref<Thread>) {
        if self.get(thread).queued != 0 {
            return;
        }
        let account = self.turn_account(self.get(thread).top);
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
    pub(super) fn account_start(&mut self, account: Ref<Account>) {
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
    pub(super) fn account_stop(&mut self, account: Ref<Account>) {
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
    pub(super) fn release_throttled(&mut self, now: u64) {
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
}
