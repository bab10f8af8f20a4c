//! The machine that a history happens on: how it is built, checked and taken down.

use std::collections::BTreeMap;

use drover_abi::trap;

use super::{AT_SYSCALL, FRAMES};
use crate::account::{Account, Payer};
use crate::activation::Activation;
use crate::kernel::Stop;
use crate::object::Ref;
use crate::sched::Next;
use crate::sim::Sim;
use crate::task::Task;
use crate::thread::Thread;
use crate::trap::Event;

/// Names of the rights that every task starts with, by what they are to.
#[derive(Clone, Default)]
pub(super) struct Names {
    pub(super) rpc: Vec<u32>,
    pub(super) message: Vec<u32>,
    pub(super) tasks: Vec<u32>,
    pub(super) threads: Vec<u32>,
    pub(super) accounts: Vec<u32>,
    pub(super) own: Vec<u32>,
    pub(super) set: u32,
    /// Accounts that the task made itself, sessions too.
    pub(super) made: Vec<u32>,
    /// Its callers' accounts, for sessions.
    pub(super) patrons: Vec<u32>,
    /// Memory objects.
    pub(super) objects: Vec<u32>,
}

impl Names {
    /// Notes a name; a few of a kind are enough.
    pub(super) fn add(to: &mut Vec<u32>, name: u32) {
        if name == 0 || name == u32::MAX {
            return;
        }
        if to.len() == 24 {
            to.remove(0);
        }
        to.push(name);
    }
}

pub(super) struct World {
    pub(super) s: Sim,
    pub(super) admin: Ref<Thread>,
    pub(super) accounts: Vec<u64>,
    pub(super) tids: Vec<u64>,
    pub(super) names: BTreeMap<u32, Names>,
    pub(super) restarts: u32,
    /// A dense history.
    pub(super) dense: bool,
    /// The account that the supervisor is destroying, a bit at a time.
    pub(super) ending: Option<(Ref<Account>, u64)>,
}

impl World {
    pub(super) fn new(dense: bool, drift: u64) -> Self {
        let mut s = Sim::new(FRAMES);
        s.k.machine.drift = drift;
        let admin_account = s.account(200, 2000);
        let admin_task = s.task(admin_account);
        let admin = s.thread(admin_task);
        Self {
            s,
            admin,
            accounts: Vec::new(),
            tids: Vec::new(),
            names: BTreeMap::new(),
            restarts: 0,
            dense,
            ending: None,
        }
    }

    pub(super) fn admin_home(&self) -> Ref<Activation> {
        self.s.k.get(self.admin).bottom
    }

    pub(super) fn build(&mut self) {
        let s = &mut self.s;
        let accounts: Vec<_> = [(400, 1500), (300, 1000), (300, 10), (120, 0)]
            .map(|(frames, share)| s.account(frames, share))
            .into();
        let tasks: Vec<_> = [0, 0, 1, 2, 3].map(|i: usize| s.task(accounts[i])).into();
        let mut threads = Vec::new();
        for &task in &tasks {
            threads.push(s.thread(task));
            threads.push(s.thread(task));
        }
        let mut names = vec![Names::default(); tasks.len()];
        for (server, unwind, cpu, frames) in
            [(1, true, 50_000, 4), (2, true, 20_000, 2), (3, false, 0, 0), (2, true, 0, 0)]
        {
            let (own, sends) = s.rpc_port(tasks[server], &tasks, unwind, cpu, frames);
            names[server].own.push(own);
            for (n, name) in names.iter_mut().zip(sends) {
                n.rpc.push(name);
            }
        }
        let payer = |s: &Sim, task: Ref<Task>| Payer::account(s.k.get(task).account);
        for (i, &task) in tasks.iter().enumerate() {
            let pay = payer(s, task);
            for _ in 0..2 {
                let own = s.k.mach_port_allocate(task, 1, pay).expect("a port");
                names[i].own.push(own);
                let port = s.k.port_of_receive(task, own).expect("there");
                for (n, &to) in names.iter_mut().zip(&tasks) {
                    let pay = payer(s, to);
                    n.message.push(s.k.insert_send(to, port, pay).expect("a right"));
                }
            }
            names[i].set = s.k.mach_port_allocate(task, 3, pay).expect("a set");
        }
        for (i, &task) in tasks.iter().enumerate() {
            let pay = payer(s, task);
            let n = &mut names[i];
            for &of in &tasks {
                let port = s.k.get(of).port;
                n.tasks.push(s.k.insert_send(task, port, pay).expect("a right"));
            }
            for &of in &threads {
                let port = s.k.get(of).port;
                n.threads.push(s.k.insert_send(task, port, pay).expect("a right"));
            }
            for &of in &accounts {
                let port = s.k.account_port(of).expect("a port");
                n.accounts.push(s.k.insert_send(task, port, pay).expect("a right"));
            }
        }
        self.accounts = accounts.iter().map(|&a| s.k.get(a).id).collect();
        self.tids = threads.iter().map(|&t| s.k.get(t).tid).collect();
        self.names = tasks.iter().map(|t| t.raw()).zip(names).collect();
    }

    /// Lets the kernel choose what runs, and checks everything.
    pub(super) fn run(&mut self) {
        for _ in 0..10_000 {
            match self.s.k.next() {
                Next::Run { until, .. } => {
                    assert!(until > self.s.k.machine.time, "no time to run in");
                    self.check();
                    return;
                }
                Next::Idle { until } => {
                    assert_ne!(until, u64::MAX, "the admin never waits");
                    self.s.k.machine.time = self.s.k.machine.time.max(until);
                }
            }
        }
        panic!("nothing runs");
    }

    pub(super) fn check(&mut self) {
        let k = &mut self.s.k;
        let found = k.check_deep();
        let text = String::from_utf8_lossy(&k.first_violation).trim_end_matches('\0').to_string();
        assert_eq!(found, 0, "{text}");
        crate::ipc_testing::check(k);
    }

    /// Destroys an account; the threads that it waits for are driven on.
    pub(super) fn destroy(&mut self, account: Ref<Account>) {
        for step in 0..200_000u32 {
            self.s.k.next();
            if self.s.k.current != self.admin {
                let rip = self.s.k.regs.rip;
                if rip & 15 == AT_SYSCALL && step % 2 == 0 {
                    self.s.k.regs.rip += 2;
                    self.s.k.event(Event::Syscall);
                } else if self.s.k.current.is_some() && step % 5 == 0 {
                    // Whatever unwinds is at its end.
                    self.trap(trap::DROVER_RETURN, [0; 6]);
                } else {
                    self.time(100_000);
                }
                continue;
            }
            match self.s.k.account_destroy(account) {
                Ok(()) => return,
                Err(Stop::Again) => self.time(50_000),
                // Restarted later.
                Err(Stop::Blocked) => self.s.k.regs.rip += 2,
                Err(Stop::Error(code)) => panic!("{account:?} is not destroyed: {code}"),
                Err(Stop::Switched) => panic!("switched"),
            }
        }
        panic!("an account is not destroyed");
    }

    pub(super) fn end(&mut self) {
        loop {
            let mut account = self.s.k.get(self.s.k.root).children;
            let own = self.s.k.payer_of(self.admin);
            while account.is_some() && account == own {
                account = self.s.k.get(account).next;
            }
            if account.is_none() {
                break;
            }
            self.destroy(account);
            self.check();
        }
        for _ in 0..200 {
            self.s.k.next();
            self.time(1000);
        }
        self.check();
    }
}
