//! What others can make long is done in bounded steps; what fails leaves nothing behind.

use drover_abi::donation::Donation;
use drover_abi::returns::DROVER_OWNER_DIED;
use drover_abi::trap;
use mig_runtime::PortName;

use crate::account::{Account, Payer};
use crate::object::Ref;
use crate::sim::{Capture, MEMORY, Sim};
use crate::task::Task;
use crate::thread::{BLOCKED, READY, STOPPED, Thread};
use crate::trap::Event;

/// More than any step does at once.
const MANY: usize = 300;

struct Crowd {
    s: Sim,
    account: Ref<Account>,
    task: Ref<Task>,
    one: Ref<Thread>,
    others: Vec<Ref<Thread>>,
}

/// A task with many threads.
fn crowd() -> Crowd {
    let mut s = Sim::new(4000);
    let account = s.account(1000, 1000);
    let task = s.task(account);
    let others = (0..MANY).map(|_| s.thread(task)).collect();
    let one = s.thread(task);
    Crowd { s, account, task, one, others }
}

impl Crowd {
    /// All others wait on a word that `one` has promised to wake.
    fn wait(&mut self, owner: u64) {
        for i in 0..MANY {
            let thread = self.others[i];
            self.s.run_thread(thread);
            self.s.trap(trap::DROVER_WAIT, [MEMORY + 0x100, 0, owner, 0, u64::MAX, 0]);
            assert_eq!(self.s.k.get(thread).head.state, BLOCKED);
        }
        self.s.run_thread(self.one);
    }

    fn state(&self, i: usize) -> u16 {
        self.s.k.get(self.others[i]).head.state
    }

    /// Goes on with a trap of `one` while it is restarted; how often.
    fn finish(&mut self) -> u32 {
        let mut restarts = 0;
        while self.s.k.get(self.one).restarting != 0 {
            self.s.run_thread(self.one);
            self.s.k.regs.rip += 2;
            self.s.k.event(Event::Syscall);
            restarts += 1;
        }
        restarts
    }
}

#[test]
fn many_waiters_are_woken_in_steps_the_oldest_first() {
    let mut c = crowd();
    c.wait(0);
    c.s.trap(trap::DROVER_WAKE, [MEMORY + 0x100, 2, 0, 0, 0, 0]);
    assert_eq!(c.s.result(), 2);
    assert_eq!([c.state(0), c.state(1), c.state(2)], [READY, READY, BLOCKED]);
    c.s.trap(trap::DROVER_WAKE, [MEMORY + 0x100, 290, 0, 0, 0, 0]);
    assert_eq!(c.finish(), 1, "one step does not wake them all");
    assert_eq!(c.s.result(), 290);
    assert_eq!([c.state(291), c.state(292)], [READY, BLOCKED]);
    assert_eq!(c.s.k.check_deep(), 0);
}

#[test]
fn many_waiters_learn_between_operations_that_the_owner_has_ended() {
    let mut c = crowd();
    let tid = c.s.k.get(c.one).tid;
    c.wait(tid);
    // Some leave before they are told.
    c.s.k.thread_terminate(c.one);
    for i in [0, MANY - 1, 7] {
        let thread = c.others[i];
        c.s.k.thread_abort(thread);
        assert_eq!(c.s.k.check_deep(), 0);
    }
    let woken = |c: &Crowd| (0..MANY).filter(|&i| c.state(i) == READY).count();
    assert_eq!(woken(&c), 3, "the end of a thread wakes nobody itself");
    c.s.k.wake_orphans();
    assert!(woken(&c) < MANY);
    c.s.run();
    assert_eq!(woken(&c), MANY);
    let bottom = c.s.k.get(c.others[9]).bottom;
    assert_eq!(c.s.k.get(bottom).regs.rax as i32, DROVER_OWNER_DIED);
    assert_eq!(c.s.k.check_deep(), 0);
}

#[test]
fn many_threads_are_resumed_in_steps() {
    let mut c = crowd();
    let own = c.s.account(100, 1000);
    let task = c.s.task(own);
    let one = c.s.thread(task);
    c.one = one;
    let payer = Payer::account(own);
    let port = c.s.k.get(c.task).port;
    let name = PortName(c.s.k.insert_send(task, port, payer).expect("a right"));
    let reply = c.s.k.reply_port(task, payer).expect("a port");
    c.s.k.task_suspend(c.task).expect("a count");
    for _ in 0..2 * MANY {
        c.s.run();
        c.s.k.machine.time += crate::sched::QUANTUM_NS;
        c.s.k.event(Event::Interrupt);
    }
    assert_eq!([c.state(0), c.state(MANY - 1)], [STOPPED, STOPPED]);
    c.s.run_thread(one);
    let request = Capture::default();
    let _ = hurd_stubs::mach::task_resume(&request, name, &Donation::ALL);
    c.s.request(request.message(), reply, reply);
    assert_eq!(c.finish(), 1);
    assert_eq!(c.s.received().1, 0);
    assert!((0..MANY).all(|i| c.state(i) == READY));
    assert_eq!(c.s.k.get(c.task).suspended, 0, "counted once");
}

#[test]
fn a_memory_object_that_cannot_be_named_is_gone() {
    let mut c = crowd();
    c.s.run_thread(c.one);
    let payer = Payer::account(c.account);
    let port = c.s.k.get(c.task).port;
    let me = PortName(c.s.k.insert_send(c.task, port, payer).expect("a right"));
    let reply = c.s.k.reply_port(c.task, payer).expect("a port");
    let create = |c: &mut Crowd| {
        let request = Capture::default();
        let _ = hurd_stubs::drover_vm::vm_object_create(&request, me, 4096, &Donation::ALL);
        c.s.request(request.message(), reply, reply);
        c.s.received().1
    };
    assert_eq!(create(&mut c), 0);
    // The last name of the table, then no frame for another table. The slabs have room.
    while !c.s.k.get(c.task).names_top.is_multiple_of(128) || c.s.k.get(c.task).names_freed != 0 {
        c.s.k.mach_port_allocate(c.task, 4, payer).expect("a dead name");
    }
    let free = crate::account::unused(&c.s.k.get(c.account).resources[0]);
    c.s.k.account_transfer(c.account, 0, -(free as i64)).expect("unused");
    let objects = c.s.k.get(c.account).resources[1].charged;
    assert_ne!(create(&mut c), 0);
    assert_eq!(c.s.k.get(c.account).resources[1].charged, objects);
}
