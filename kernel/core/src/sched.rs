//! The scheduler: flat proportional share over accounts, round robin inside an account; parking and waking of threads.

use drover_abi::trap::{PAYER_ACCOUNT, PAYER_OWN};

use crate::account::{Account, Payer};
use crate::activation::Activation;
use crate::kernel::{Kernel, Stop};
use crate::machine::Machine;
use crate::object::Ref;
use crate::task::Task;
use crate::thread::{BLOCKED, Thread};

impl<M: Machine> Kernel<M> {
    /// Virtual time that an account starts at when it becomes runnable.
    pub(crate) fn virtual_now(&self) -> u64 {
        self.vnow
    }

    /// Parks the current thread. The caller links it into the wait list of what it waits on. `deadline`: absolute ns, `u64::MAX` = none.
    /// With `RESUME_RESTART` the registers must be untouched.
    pub(crate) fn block(&mut self, waiting: u8, on: u32, resume: u8, _deadline: u64) -> Stop {
        let current = self.current;
        let thread = self.get_mut(current);
        thread.head.state = BLOCKED;
        (thread.waiting, thread.wait_on, thread.resume) = (waiting, on, resume);
        Stop::Blocked
    }

    /// Makes a parked thread ready. `code` 0: what it waited for happened (a `RESUME_RESTART` or `RESUME_RECEIVE` thread tries again when it runs);
    /// otherwise the failure that its trap returns. Unlinks it from its wait list and timer.
    pub(crate) fn wake(&mut self, thread: Ref<Thread>, code: i32) {
        self.get_mut(thread).wake_code = code;
    }

    /// The account that pays for an activation now: by its payer mode.
    pub(crate) fn payer_account(&self, act: Ref<Activation>) -> Ref<Account> {
        let a = self.get(act);
        match u64::from(a.payer_mode) {
            PAYER_OWN => self.get(a.task).account,
            PAYER_ACCOUNT => a.payer_account,
            _ => a.payer,
        }
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
    /// Ceilings of the current call apply whenever the account is the one that pays for the current thread.
    pub(crate) fn payer_in(&self, task: Ref<Task>) -> Payer {
        Payer::account(self.get(task).account)
    }

    /// `account` pays; the ceilings of the current call apply if it is the account that pays for the current thread.
    pub(crate) fn payer_for(&self, account: Ref<Account>) -> Payer {
        Payer::account(account)
    }
}
