//! Who pays: for what the current thread asks, and for the time that passes.

use drover_abi::account::{CPU, UNLIMITED};
use drover_abi::trap::{PAYER_ACCOUNT, PAYER_OWN};

use super::VIRTUAL;
use crate::account::{Account, Payer};
use crate::activation::{Activation, RUNNING};
use crate::kernel::Kernel;
use crate::machine::Machine;
use crate::object::Ref;
use crate::task::Task;

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
                if self.account_is(a.payer_account, a.payer_id) && !self.is_closing(a.payer_account) =>
            {
                a.payer_account
            }
            PAYER_ACCOUNT if a.task.is_some() => self.get(a.task).account,
            _ => a.payer,
        }
    }

    /// The account in whose turns an activation runs: that of its payer, or its client's when that is a session. An exit runs in its caller's
    /// turn, whoever pays for the time: a destroyer does not wait for a server's share.
    pub(super) fn turn_account(&self, act: Ref<Activation>) -> Ref<Account> {
        let a = self.get(act);
        let account = if a.phase == RUNNING { self.payer_account(act) } else { a.payer };
        let client = self.get(account).client;
        // A session that is being destroyed is served at once, see `account_start`.
        if client.is_none() || self.get(account).head.state != 0 { account } else { client }
    }

    /// Who is charged with time and I/O when `account` pays: a session holds what is retained, and these are used up at once, so they are its client's.
    pub(crate) fn flow_account(&self, account: Ref<Account>) -> Ref<Account> {
        let client = self.get(account).client;
        if client.is_some() { client } else { account }
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
        let account = self.flow_account(self.payer_account(act));
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
}
