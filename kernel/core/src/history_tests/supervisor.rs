//! The supervisor of a dense history: it makes accounts and tasks, forks, kills, aborts, and destroys.

use drover_abi::account::UNLIMITED;
use drover_abi::vm::{VM_INHERIT_COPY, VM_INHERIT_SHARE, VM_PROT_READ, VM_PROT_WRITE};
use drover_abi::window::{HOME_BASE, STACK_TOP};

use super::draw::Draw;
use super::world::{Names, World};
use crate::account::{Account, Limits, Payer};
use crate::kernel::Stop;
use crate::object::{Kind, Ref};
use crate::rpc_port::RpcTemplate;
use crate::sched::QUANTUM_NS;
use crate::sim::{ENTRY, MEMORY, UNWIND};
use crate::task::{TASK_ALIVE, Task};
use crate::thread::Thread;
use crate::vm::Map;

impl World {
    /// One thing that the supervisor does.
    pub(super) fn supervise(&mut self, d: &mut Draw) {
        if self.ending.is_some() && !d.one_in(4) {
            self.go_on_destroying();
        } else {
            match d.below(16) {
                0..=2 => self.found(d),
                3 => self.fork(d),
                4..=6 => {
                    if let Some(thread) = self.any_thread(d) {
                        self.s.k.thread_abort(thread);
                    }
                }
                7 => {
                    if let Some(thread) = self.any_thread(d) {
                        self.s.k.thread_terminate(thread);
                    }
                }
                8 if d.one_in(2) => {
                    if let Some(task) = self.any_task(d) {
                        let _ = self.s.k.task_terminate(task);
                    }
                }
                9 => self.begin_destroying(d),
                10 | 11 => {
                    if let Some(thread) = self.any_thread(d) {
                        let up = d.one_in(3);
                        let _ =
                            if up { self.s.k.thread_suspend(thread) } else { self.s.k.thread_resume(thread) };
                    }
                }
                12 => {
                    if let Some(task) = self.any_task(d) {
                        let up = d.one_in(3);
                        let _ = if up { self.s.k.task_suspend(task) } else { self.s.k.task_resume(task) };
                    }
                }
                13 => self.time(d.of(&[1_000_000, 50_000_000, 3_000_000_000])),
                14 => {
                    let account = self.any_account(d);
                    let amount = d.below(60) as i64 - 30;
                    if account != self.s.k.payer_of(self.admin) {
                        let _ = self.s.k.account_transfer(account, 0, amount);
                    }
                }
                _ => {}
            }
        }
        if self.s.k.current == self.admin {
            self.time(QUANTUM_NS);
        }
    }

    fn any_thread(&self, d: &mut Draw) -> Option<Ref<Thread>> {
        let thread = self.s.k.thread_by_tid(d.of(&self.tids));
        thread.is_some().then_some(thread)
    }

    fn any_task(&self, d: &mut Draw) -> Option<Ref<Task>> {
        let raws: Vec<u32> = self.names.keys().copied().collect();
        let raw = d.of(&raws);
        let task = Ref::<Task>::from_raw(raw);
        (self.s.k.is_object(raw, Kind::Task, 4) && self.s.k.get(task).head.state == TASK_ALIVE)
            .then_some(task)
    }

    /// Any account, root too.
    fn any_account(&self, d: &mut Draw) -> Ref<Account> {
        let mut all = Vec::new();
        let mut account = self.s.k.root;
        while account.is_some() {
            all.push(account);
            account = self.s.k.next_account(account);
        }
        d.of(&all)
    }

    fn begin_destroying(&mut self, d: &mut Draw) {
        let account = self.any_account(d);
        if account == self.s.k.root || account == self.s.k.payer_of(self.admin) {
            return;
        }
        self.ending = Some((account, self.s.k.get(account).id));
        self.go_on_destroying();
    }

    fn go_on_destroying(&mut self) {
        let Some((account, id)) = self.ending else { return };
        if !self.s.k.account_is(account, id) {
            self.ending = None;
            return;
        }
        match self.s.k.account_destroy(account) {
            Ok(()) => self.ending = None,
            Err(Stop::Again) => {}
            Err(Stop::Blocked) => self.s.k.regs.rip += 2,
            Err(Stop::Error(code)) => panic!("{account:?} is not destroyed: {code}"),
            Err(Stop::Switched) => panic!("switched"),
        }
    }

    /// A new account with a task or two.
    fn found(&mut self, d: &mut Draw) {
        let mut parent = if d.one_in(2) { self.s.k.root } else { self.any_account(d) };
        if parent == self.s.k.payer_of(self.admin) {
            parent = self.s.k.root;
        }
        let cpu = if d.one_in(4) { 1_000_000 + d.below(20_000_000) } else { UNLIMITED };
        let limits = Limits {
            resources: [20 + d.below(300), 50 + d.below(2000), d.below(20), cpu, UNLIMITED],
            share: d.below(300) as u32,
        };
        let Ok(account) = self.s.k.account_create(parent, &limits) else { return };
        for _ in 0..1 + d.below(2) {
            self.settle_in(d, account, Ref::NONE);
        }
    }

    /// A copy of a task, paid by any account.
    fn fork(&mut self, d: &mut Draw) {
        let Some(parent) = self.any_task(d) else { return };
        let account = if d.one_in(2) { self.s.k.get(parent).account } else { self.any_account(d) };
        if account != self.s.k.root && account != self.s.k.payer_of(self.admin) {
            self.settle_in(d, account, parent);
        }
    }

    /// A task with memory, ports, rights to those of others, and threads; or a part of that, as far as the account goes.
    fn settle_in(&mut self, d: &mut Draw, account: Ref<Account>, parent: Ref<Task>) {
        let pay = Payer::account(account);
        let Ok(task) = self.s.k.task_create(pay, parent, true) else { return };
        let mut n = Names::default();
        let _ = self.furnish(d, task, pay, &mut n);
        self.names.insert(task.raw(), n);
        for _ in 0..1 + d.below(2) {
            let Ok(thread) = self.s.k.thread_create(pay, task) else { return };
            let bottom = self.s.k.get(thread).bottom;
            let regs = &mut self.s.k.get_mut(bottom).regs;
            (regs.rip, regs.rsp) = (0x40_0000, HOME_BASE + STACK_TOP - 64);
            self.tids.push(self.s.k.get(thread).tid);
            if self.tids.len() > 24 {
                self.tids.remove(0);
            }
            self.s.k.thread_resume(thread).expect("it was suspended");
        }
    }

    fn furnish(&mut self, d: &mut Draw, task: Ref<Task>, pay: Payer, n: &mut Names) -> Result<(), Stop> {
        for (address, size) in [(MEMORY, 0x1_0000), (HOME_BASE, 4096), (HOME_BASE + STACK_TOP - 4096, 4096)] {
            let map = Map {
                address,
                size,
                mask: 0,
                anywhere: false,
                object: Ref::NONE,
                offset: 0,
                copy: false,
                prot: VM_PROT_READ | VM_PROT_WRITE,
                max_prot: 7,
                inheritance: d.of(&[VM_INHERIT_COPY, VM_INHERIT_COPY, VM_INHERIT_SHARE]),
            };
            // A fork has it already.
            let _ = self.s.k.vm_map(task, pay, &map);
        }
        n.set = self.s.k.mach_port_allocate(task, 3, pay)?;
        for i in 0..3 {
            let own = self.s.k.mach_port_allocate(task, 1, pay)?;
            n.own.push(own);
            let port = self.s.k.port_of_receive(task, own)?;
            match i {
                0 => {
                    let template = RpcTemplate {
                        entry: ENTRY,
                        unwind_entry: d.of(&[0, UNWIND, UNWIND]),
                        unwind_cpu: d.of(&[0, 20_000, 100_000]),
                        unwind_frames: d.below(4),
                        payload: 1,
                    };
                    self.s.k.port_set_rpc(task, own, &template)?;
                }
                1 => self.s.k.mach_port_move_member(task, own, n.set)?,
                _ => {}
            }
            for raw in self.names.keys().copied().collect::<Vec<_>>() {
                let to = Ref::<Task>::from_raw(raw);
                if !self.s.k.is_object(raw, Kind::Task, 4) || d.one_in(3) {
                    continue;
                }
                let theirs = Payer::account(self.s.k.get(to).account);
                let Ok(name) = self.s.k.insert_send(to, port, theirs) else { continue };
                if let Some(other) = self.names.get_mut(&raw) {
                    Names::add(if i == 0 { &mut other.rpc } else { &mut other.message }, name);
                }
            }
        }
        // Rights to what others have.
        for _ in 0..8 {
            let Some(from) = self.any_task(d) else { continue };
            let Some(theirs) = self.names.get(&from.raw()).cloned() else { continue };
            for (list, kind) in [(&theirs.rpc, 0), (&theirs.message, 1)] {
                let name = self.name(d, list);
                let Ok(port) = self.s.k.port_of_send(from, name) else { continue };
                let name = self.s.k.insert_send(task, port, pay)?;
                Names::add(if kind == 0 { &mut n.rpc } else { &mut n.message }, name);
            }
            let port = self.s.k.get(from).port;
            Names::add(&mut n.tasks, self.s.k.insert_send(task, port, pay)?);
            if let Some(thread) = self.any_thread(d) {
                let port = self.s.k.get(thread).port;
                Names::add(&mut n.threads, self.s.k.insert_send(task, port, pay)?);
            }
        }
        let port = self.s.k.account_port(pay.account)?;
        Names::add(&mut n.accounts, self.s.k.insert_send(task, port, pay)?);
        Ok(())
    }
}
