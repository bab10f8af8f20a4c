//! Birth and death of tasks and threads.
//!
//! Termination is in two halves: marking (at once: nothing of it runs or can be named any more) and reaping (in bounded steps, from [`Kernel::reap_tasks`], charged
//! to whoever asked for it). A thread that is inside servers when its home dies ends only when those calls have unwound.

use drover_abi::donation::Donation;
use drover_abi::returns::{
    KERN_ABORTED, KERN_FAILURE, KERN_INVALID_ARGUMENT, KERN_TERMINATED, MIG_SERVER_DIED,
};

use crate::account::{Account, Payer};
use crate::activation::{Activation, Exit, RUNNING};
use crate::call::USER_RFLAGS;
use crate::kernel::{Kernel, Stop};
use crate::machine::Machine;
use crate::object::{Kind, Ref};
use crate::right::SlotRef;
use crate::sched::interrupted_code;
use crate::task::{TASK_ALIVE, TASK_DYING, Task};
use crate::thread::{BLOCKED, ENDED, ENDING, ON_BUDGET, READY, RESUME_USER, STOPPED, Thread};

/// Threads started by one step of `task_resume`.
const STARTS: u32 = 256;

/// The slot of a task's bootstrap port.
pub(crate) fn bootstrap_slot(task: Ref<Task>) -> SlotRef {
    SlotRef::in_object(task, core::mem::offset_of!(Task, bootstrap))
}

/// The slot of a task's exception port.
pub(crate) fn exception_slot(task: Ref<Task>) -> SlotRef {
    SlotRef::in_object(task, core::mem::offset_of!(Task, exception))
}

impl<M: Machine> Kernel<M> {
    /// A new task paid by `payer`, with a copy of `parent`'s memory as its entries' inheritance says if `inherit`.
    ///
    /// # Errors
    /// `KERN_RESOURCE_SHORTAGE`, `KERN_TERMINATED` (nothing remains).
    pub(crate) fn task_create(
        &mut self,
        payer: Payer,
        parent: Ref<Task>,
        inherit: bool,
    ) -> Result<Ref<Task>, Stop> {
        let task = self.new_object::<Task>(payer)?;
        let id = self.next_id();
        let t = self.get_mut(task);
        t.account = payer.account;
        t.id = id;
        t.names_top = 1;
        match self.task_fill(task, payer, parent, inherit) {
            Ok(()) => Ok(task),
            Err(stop) => {
                self.get_mut(task).head.state = TASK_DYING;
                while self.task_reap(task) == Err(Stop::Again) {}
                Err(stop)
            }
        }
    }

    fn task_fill(
        &mut self,
        task: Ref<Task>,
        payer: Payer,
        parent: Ref<Task>,
        inherit: bool,
    ) -> Result<(), Stop> {
        let root = self.space_create(payer)?;
        self.get_mut(task).root_table = root;
        let names = self.names_create(payer)?;
        self.get_mut(task).names = names;
        let port = self.kernel_port(payer, Kind::Task, task.raw())?;
        self.get_mut(task).port = port;
        if parent.is_some() {
            let bootstrap = self.special_get(bootstrap_slot(parent));
            if bootstrap.is_some() {
                self.special_set(bootstrap_slot(task), bootstrap, task.raw());
            }
            if inherit {
                while let Err(stop) = self.space_fork(parent, task, payer) {
                    if stop != Stop::Again {
                        return Err(stop);
                    }
                }
            }
        }
        Ok(())
    }

    /// A new thread of `task`, stopped, paid by `payer`.
    ///
    /// # Errors
    /// `KERN_RESOURCE_SHORTAGE`, `KERN_TERMINATED` (nothing remains).
    pub(crate) fn thread_create(&mut self, payer: Payer, task: Ref<Task>) -> Result<Ref<Thread>, Stop> {
        if self.get(task).head.state != TASK_ALIVE {
            return Err(Stop::Error(KERN_TERMINATED));
        }
        let thread = self.new_object::<Thread>(payer)?;
        let act = match self.new_object::<Activation>(payer) {
            Ok(act) => act,
            Err(stop) => {
                self.free_object(thread);
                return Err(stop);
            }
        };
        let port = match self.kernel_port(payer, Kind::Thread, thread.raw()) {
            Ok(port) => port,
            Err(stop) => {
                self.free_object(act);
                self.free_object(thread);
                return Err(stop);
            }
        };
        let tid = (self.next_id() << 32) | u64::from(thread.raw());
        let account = payer.account;
        let a = self.get_mut(act);
        (a.thread, a.task, a.payer, a.left) = (thread, task, account, Donation::ALL);
        a.regs.rflags = USER_RFLAGS;
        let next = self.get(task).threads;
        let t = self.get_mut(thread);
        t.head.state = STOPPED;
        (t.home, t.tid, t.top, t.bottom, t.depth, t.port) = (task, tid, act, act, 1, port);
        t.suspended = 1;
        t.home_next = next;
        if next.is_some() {
            self.get_mut(next).home_prev = thread;
        }
        let k = self.get_mut(task);
        k.threads = thread;
        k.thread_count += 1;
        self.get_mut(account).threads += 1;
        Ok(thread)
    }

    /// Lowers the suspend count; at 0 the thread runs.
    ///
    /// # Errors
    /// `KERN_FAILURE`: it was not suspended.
    pub(crate) fn thread_resume(&mut self, thread: Ref<Thread>) -> Result<(), Stop> {
        let t = self.get_mut(thread);
        if t.suspended == 0 {
            return Err(Stop::Error(KERN_FAILURE));
        }
        t.suspended -= 1;
        self.start_if_may(thread);
        Ok(())
    }

    /// Raises the suspend count. A thread inside servers goes on until it is home again.
    ///
    /// # Errors
    /// `KERN_FAILURE`: too many suspensions.
    pub(crate) fn thread_suspend(&mut self, thread: Ref<Thread>) -> Result<(), Stop> {
        let t = self.get_mut(thread);
        t.suspended = t.suspended.checked_add(1).ok_or(Stop::Error(KERN_FAILURE))?;
        self.stop_if_must(thread);
        Ok(())
    }

    fn start_if_may(&mut self, thread: Ref<Thread>) {
        let t = *self.get(thread);
        if t.head.state == STOPPED && self.may_go_on(&t) {
            self.get_mut(thread).head.state = READY;
            self.enqueue(thread);
        }
    }

    fn stop_if_must(&mut self, thread: Ref<Thread>) {
        let t = *self.get(thread);
        if t.head.state == READY && t.queued != 0 && !self.may_go_on(&t) {
            self.dequeue(thread);
            self.get_mut(thread).head.state = STOPPED;
        }
    }

    /// Suspends all threads of a task that are at home, or will be: each stops when its turn comes.
    ///
    /// # Errors
    /// `KERN_FAILURE`: too many suspensions.
    pub(crate) fn task_suspend(&mut self, task: Ref<Task>) -> Result<(), Stop> {
        let t = self.get_mut(task);
        t.suspended = t.suspended.checked_add(1).ok_or(Stop::Error(KERN_FAILURE))?;
        Ok(())
    }

    /// Lowers the suspend count of a task; at 0 its threads run.
    ///
    /// # Errors
    /// `KERN_FAILURE`: it was not suspended; `Stop::Again`: there are more threads to be started.
    pub(crate) fn task_resume(&mut self, task: Ref<Task>) -> Result<(), Stop> {
        let current = self.current;
        if current.is_none() || self.get(current).restarting == 0 {
            let t = self.get_mut(task);
            t.suspended = t.suspended.checked_sub(1).ok_or(Stop::Error(KERN_FAILURE))?;
        }
        let mut left = STARTS;
        let mut thread = self.get(task).threads;
        while thread.is_some() {
            if self.get(thread).head.state == STOPPED {
                if left == 0 && current.is_some() {
                    self.get_mut(current).restarting = 1;
                    return Err(Stop::Again);
                }
                left = left.saturating_sub(1);
                self.start_if_may(thread);
            }
            thread = self.get(thread).home_next;
        }
        Ok(())
    }

    /// `thread_abort`: at home a wait ends with the interrupted code; inside servers every call on the stack is aborted.
    pub(crate) fn thread_abort(&mut self, thread: Ref<Thread>) {
        let t = *self.get(thread);
        if t.depth > 1 {
            let act = self.get(t.bottom).upper;
            self.request_exit(act, Exit::Aborted, KERN_ABORTED);
            return;
        }
        if t.head.state == BLOCKED && t.waiting != ON_BUDGET {
            self.wake(thread, interrupted_code(t.waiting));
        }
    }

    /// Ends a thread: at once if it is at home, else when its calls have unwound.
    pub(crate) fn thread_terminate(&mut self, thread: Ref<Thread>) {
        let t = *self.get(thread);
        if t.head.flags & ENDING != 0 || t.head.state == ENDED {
            return;
        }
        self.get_mut(thread).head.flags |= ENDING;
        if t.depth == 1 {
            self.thread_end(thread);
            return;
        }
        let act = self.get(t.bottom).upper;
        self.request_exit(act, Exit::ClientDied, KERN_TERMINATED);
    }

    /// Frees a thread that is at its bottom activation.
    pub(crate) fn thread_end(&mut self, thread: Ref<Thread>) {
        if self.get(thread).head.state == BLOCKED {
            self.wake(thread, KERN_TERMINATED);
        } else {
            self.pass_wake(thread);
        }
        self.dequeue(thread);
        if thread == self.current {
            self.charge_time();
            self.fpu_leave(self.get(thread).top);
            self.requeue_turn();
            self.current = Ref::NONE;
        }
        self.owner_died(thread);
        self.get_mut(thread).head.state = ENDED;
        let t = *self.get(thread);
        self.drop_right(SlotRef::in_object(thread, core::mem::offset_of!(Thread, exception)));
        self.retire_port(t.port);
        let act = t.bottom;
        if self.get(act).task.is_some() {
            self.home_unlink(thread);
        }
        self.fpu_free(act);
        let account = self.payer_of(thread);
        self.free_object(act);
        self.free_object(thread);
        self.get_mut(account).threads -= 1;
        self.wake_destroyer(account);
    }

    fn home_unlink(&mut self, thread: Ref<Thread>) {
        let t = *self.get(thread);
        if t.home_prev.is_some() {
            self.get_mut(t.home_prev).home_next = t.home_next;
        } else {
            self.get_mut(t.home).threads = t.home_next;
        }
        if t.home_next.is_some() {
            self.get_mut(t.home_next).home_prev = t.home_prev;
        }
        self.get_mut(t.home).thread_count -= 1;
    }

    /// Marks a task as dying and hands it to the reaper. Its threads at home run no more.
    ///
    /// # Errors
    /// `KERN_INVALID_ARGUMENT`: it is dying already.
    pub(crate) fn task_terminate(&mut self, task: Ref<Task>) -> Result<(), Stop> {
        if self.get(task).head.state != TASK_ALIVE {
            return Err(Stop::Error(KERN_INVALID_ARGUMENT));
        }
        let payer =
            if self.current.is_some() { self.payer_account(self.here()) } else { self.get(task).account };
        let id = self.get(payer).id;
        let next = self.reaping;
        let t = self.get_mut(task);
        t.head.state = TASK_DYING;
        t.reap_next = next;
        (t.reap_payer, t.reap_payer_id) = (payer, id);
        self.reaping = task;
        Ok(())
    }

    /// A server lost its state inside a critical section.
    pub(crate) fn server_broken(&mut self, task: Ref<Task>) {
        log::error!(
            "task {} overran its unwind reserve inside a critical section: terminated",
            self.get(task).id
        );
        let _ = self.task_terminate(task);
    }

    /// One bounded step of reaping dying tasks; charged to whoever terminated them.
    pub(crate) fn reap_tasks(&mut self) {
        let task = self.reaping;
        if task.is_none() {
            return;
        }
        self.charge_time();
        let t = self.get(task);
        let (payer, id, account) = (t.reap_payer, t.reap_payer_id, t.account);
        // `Again`: the rest comes with the next step.
        let _ = self.task_reap(task);
        let now = self.machine.now();
        // A part of it may have been charged with the end of a thread.
        let ns = now.saturating_sub(self.charged_until);
        self.charged_until = now;
        // No account is freed by reaping.
        let payer = if self.account_is(payer, id) { payer } else { account };
        self.charged_ns += ns;
        self.get_mut(payer).resources[drover_abi::account::CPU].charged += ns;
    }

    /// One bounded step of taking a dying task apart.
    ///
    /// # Errors
    /// `Stop::Again`: there is more to do.
    pub(crate) fn task_reap(&mut self, task: Ref<Task>) -> Result<(), Stop> {
        debug_assert_eq!(self.get(task).head.state, TASK_DYING);
        let thread = self.get(task).threads;
        if thread.is_some() {
            // Its home is gone whether it ends now or later.
            self.home_unlink(thread);
            let bottom = self.get(thread).bottom;
            self.get_mut(bottom).task = Ref::NONE;
            self.thread_terminate(thread);
            return Err(Stop::Again);
        }
        let act = self.get(task).visits;
        if act.is_some() {
            return self.evict(act);
        }
        if self.get(task).names != 0 {
            self.names_destroy(task)?;
            self.get_mut(task).names = 0;
            return Err(Stop::Again);
        }
        if self.get(task).root_table != 0 {
            self.machine.leave_space();
            self.space_destroy(task)?;
            self.get_mut(task).root_table = 0;
        }
        self.drop_right(exception_slot(task));
        self.drop_right(bootstrap_slot(task));
        let port = self.get(task).port;
        if port.is_some() {
            self.retire_port(port);
        }
        let account = self.get(task).account;
        self.unlink_reaping(task);
        self.free_object(task);
        self.wake_destroyer(account);
        Ok(())
    }

    /// Takes a task off the reaper's list, if it is there.
    fn unlink_reaping(&mut self, task: Ref<Task>) {
        let after = self.get(task).reap_next;
        let mut at = self.reaping;
        if at == task {
            self.reaping = after;
            return;
        }
        while at.is_some() {
            let next = self.get(at).reap_next;
            if next == task {
                self.get_mut(at).reap_next = after;
                return;
            }
            at = next;
        }
    }

    /// Takes a visitor out of a dying server: its window goes at once; it is popped now or when those above it have unwound.
    pub(crate) fn evict(&mut self, act: Ref<Activation>) -> Result<(), Stop> {
        self.request_exit(act, Exit::ServerDied, MIG_SERVER_DIED);
        self.window_close(act)?;
        self.visit_unlink(act);
        self.call_unlink(act);
        let a = self.get_mut(act);
        a.task = Ref::NONE;
        a.phase = RUNNING;
        let thread = a.thread;
        if self.get(thread).top == act {
            if self.get(thread).head.state == BLOCKED {
                self.wake(thread, KERN_ABORTED);
            }
            self.get_mut(thread).resume = RESUME_USER;
            self.finish_exit(thread)?;
        }
        Err(Stop::Again)
    }

    /// Makes a kernel object's port name nothing and lets it die.
    pub(crate) fn retire_port(&mut self, port: Ref<crate::port::Port>) {
        if port.is_none() {
            return;
        }
        while self.port_kill(port) == Err(Stop::Again) {}
    }

    /// Whether `account` still is the account with this id.
    pub(crate) fn account_is(&self, account: Ref<Account>, id: u64) -> bool {
        id != 0 && self.is_object(account.raw(), Kind::Account, 3) && self.get(account).id == id
    }
}
