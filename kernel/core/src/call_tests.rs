//! Migrating calls and the five exits, on the host, step by step.

use drover_abi::donation::Donation;
use drover_abi::returns::{
    DROVER_DEADLOCK, DROVER_LOCK_HELD, DROVER_OWNER_DIED, KERN_ABORTED, KERN_RESOURCE_SHORTAGE,
    KERN_TERMINATED, KERN_TIMEDOUT,
};
use drover_abi::trap;
use drover_abi::window::{ARENA, LocalBlock};
use mig_runtime::PortName;

use crate::account::{Account, Payer};
use crate::kernel::Stop;
use crate::object::Ref;
use crate::sim::{Capture, ENTRY, MEMORY, Sim, UNWIND};
use crate::task::Task;
use crate::thread::Thread;
use crate::trap::Event;

const ID: i32 = 5000;
const CPU: u64 = 50_000;
const RESERVE: u64 = 4;

/// One server, one client with a running thread.
struct Pair {
    s: Sim,
    server_account: Ref<Account>,
    server: Ref<Task>,
    client_account: Ref<Account>,
    client: Ref<Task>,
    thread: Ref<Thread>,
    port: u32,
}

fn pair(unwind: bool) -> Pair {
    let mut s = Sim::new(4000);
    let server_account = s.account(500, 1000);
    let server = s.task(server_account);
    let client_account = s.account(500, 1000);
    let client = s.task(client_account);
    let thread = s.thread(client);
    let (_, names) = s.rpc_port(server, &[client], unwind, CPU, RESERVE);
    s.run_thread(thread);
    Pair { s, server_account, server, client_account, client, thread, port: names[0] }
}

impl Pair {
    fn call(&mut self, donation: &Donation) {
        self.s.call(self.port, ID, &[7], donation);
    }

    fn in_server(&self) -> bool {
        self.s.k.task_here() == self.server && self.s.k.regs.rip == ENTRY
    }

    fn at_home(&self) -> bool {
        self.s.k.current == self.thread && self.s.k.task_here() == self.client
    }

    fn set_critical(&mut self, depth: u32) {
        let window = self.s.k.regs.rsp & !0x1_ffff_ffff;
        let at = window + core::mem::offset_of!(LocalBlock, critical) as u64;
        let task = self.s.k.task_here();
        self.s.k.write_u32(task, at, depth).expect("a window");
    }
}

/// A call and its return: afterwards every page that calls touch at home is there.
fn warm_up(p: &mut Pair) {
    p.call(&Donation::ALL);
    p.s.run();
    p.s.reply(ID, &[]);
    p.s.run();
    assert!(p.at_home());
}

#[test]
fn a_call_goes_and_comes_back_and_costs_nothing_after() {
    let mut p = pair(true);
    // The first call makes a reply port and touches pages; the second is measured.
    for round in 0..3 {
        let before = p.s.frames(p.client_account);
        let server_before = p.s.frames(p.server_account);
        p.call(&Donation::ALL);
        assert!(p.in_server());
        let window = p.s.k.regs.rdx;
        assert_eq!(p.s.k.regs.rdi, window + 0x100);
        assert_eq!(p.s.k.regs.rsi, 40);
        assert_eq!(p.s.k.read_u64(p.server, window + 0x100 + 32), Ok(7));
        assert!(p.s.frames(p.client_account) > before, "the caller pays for the window");
        p.s.run();
        p.s.reply(ID, &[9]);
        p.s.run();
        assert!(p.at_home());
        assert_eq!(p.s.result(), 0);
        assert_eq!(p.s.received(), (ID + 100, 0));
        if round > 0 {
            assert_eq!(p.s.frames(p.client_account), before);
            assert_eq!(p.s.frames(p.server_account), server_before);
        }
    }
}

#[test]
fn a_call_while_holding_a_lock_is_refused() {
    let mut p = pair(true);
    let block = p.s.k.regs.rsp & !0x1_ffff_ffff;
    warm_up(&mut p);
    p.s.k.write_u32(p.client, block + 8, 1).expect("the local block");
    let frames = p.s.frames(p.client_account);
    p.call(&Donation::ALL);
    assert!(p.at_home());
    assert_eq!(p.s.result(), DROVER_LOCK_HELD);
    assert!(p.s.frames(p.client_account) <= frames + 1, "only the test's new reply port");
}

#[test]
fn admission_needs_the_unwind_reserve_depth_and_time() {
    let mut p = pair(true);
    warm_up(&mut p);
    let frames = p.s.frames(p.client_account);
    let now = p.s.k.machine.time;
    for (offer, code) in [
        (Donation::ALL.cpu(CPU - 1), KERN_RESOURCE_SHORTAGE),
        (Donation::ALL.frames(RESERVE - 1), KERN_RESOURCE_SHORTAGE),
        (Donation::ALL.frames(RESERVE + 1), KERN_RESOURCE_SHORTAGE),
        (Donation::ALL.deadline(now), KERN_TIMEDOUT),
    ] {
        p.call(&offer);
        assert!(p.at_home(), "{offer:?}");
        assert_eq!(p.s.result(), code, "{offer:?}");
        assert_eq!(p.s.k.check(), 0);
    }
    // Reply ports made by the test's calls are all that is new.
    assert!(p.s.frames(p.client_account) <= frames + 1);
    assert_eq!(p.s.k.get(p.client_account).resources[2].charged, 0);
    assert_eq!(p.s.k.get(p.client_account).resources[0].escrow, 0);
}

fn burn(p: &mut Pair, ns: u64) {
    p.s.k.machine.time += ns;
    p.s.k.event(Event::Interrupt);
    p.s.run();
}

#[test]
fn the_cpu_ceiling_ends_a_call() {
    let mut p = pair(false);
    p.call(&Donation::ALL.cpu(200_000));
    p.s.run();
    burn(&mut p, 100_000);
    assert!(!p.at_home());
    burn(&mut p, 200_000);
    assert!(p.at_home());
    assert_eq!((p.s.result(), p.s.received()), (0, (ID + 100, KERN_RESOURCE_SHORTAGE)));
    assert_eq!(p.s.k.get(p.server).exits[0], 1);
    assert_eq!(p.s.k.get(p.client_account).resources[2].charged, 0);
    // The server answers the next call.
    p.call(&Donation::ALL);
    assert!(p.in_server());
}

#[test]
fn the_unwind_entry_runs_on_the_escrow() {
    let mut p = pair(true);
    p.call(&Donation::ALL.cpu(200_000));
    p.s.run();
    burn(&mut p, 400_000);
    assert_eq!(p.s.k.regs.rip, UNWIND);
    assert_eq!(p.s.k.regs.rdi, 1);
    assert_eq!(p.s.k.regs.rsi, p.s.k.regs.rsp & !0x1_ffff_ffff);
    p.s.trap(trap::DROVER_RETURN, [0; 6]);
    p.s.run();
    assert!(p.at_home());
    assert_eq!(p.s.received(), (ID + 100, KERN_RESOURCE_SHORTAGE));
}

#[test]
fn inside_a_critical_section_the_ceiling_waits_for_its_end() {
    let mut p = pair(true);
    p.call(&Donation::ALL.cpu(200_000));
    p.s.run();
    p.set_critical(1);
    burn(&mut p, 300_000);
    assert_eq!(p.s.k.task_here(), p.server);
    assert_ne!(p.s.k.regs.rip, UNWIND, "the section runs on");
    let window = p.s.k.regs.rsp & !0x1_ffff_ffff;
    assert_eq!(p.s.k.read_u32(p.server, window + 12), Ok(1), "and is told");
    burn(&mut p, CPU / 2);
    assert_ne!(p.s.k.regs.rip, UNWIND);
    p.set_critical(0);
    p.s.trap(trap::DROVER_CRITICAL_END, [0; 6]);
    p.s.run();
    assert_eq!(p.s.k.regs.rip, UNWIND);
    p.s.trap(trap::DROVER_RETURN, [0; 6]);
    p.s.run();
    assert!(p.at_home());
    assert_eq!(p.s.received().1, KERN_RESOURCE_SHORTAGE);
    assert_eq!(p.s.k.get(p.server).overruns, 0);
}

#[test]
fn an_unwind_entry_without_a_reserve_is_at_the_servers_expense() {
    let mut p = pair(true);
    let (_, names) = p.s.rpc_port(p.server, &[p.client], true, 0, RESERVE);
    p.port = names[0];
    warm_up(&mut p);
    p.call(&Donation::ALL);
    p.s.run();
    p.s.k.thread_abort(p.thread);
    p.s.run();
    assert_eq!(p.s.k.regs.rip, UNWIND);
    // It never returns. The offer was without ceilings, the reserve is nothing.
    let paid = p.s.k.get(p.client_account).resources[3].charged;
    burn(&mut p, 2 * crate::exit::OVERRUN_NS);
    assert!(p.at_home(), "popped by force");
    assert_eq!(p.s.received(), (ID + 100, KERN_ABORTED));
    assert_eq!(p.s.k.get(p.server).overruns, 1);
    assert!(p.s.k.get(p.client_account).resources[3].charged - paid < crate::exit::OVERRUN_NS / 2);
}

#[test]
fn overrunning_the_reserve_is_at_the_servers_expense_and_has_an_end() {
    let mut p = pair(true);
    p.call(&Donation::ALL.cpu(200_000));
    p.s.run();
    p.set_critical(1);
    burn(&mut p, 300_000);
    let paid = p.s.k.get(p.client_account).resources[3].charged;
    burn(&mut p, CPU + 1000);
    burn(&mut p, 1_000_000);
    assert_eq!(p.s.k.get(p.server).overruns, 1);
    let server_paid = p.s.k.get(p.server_account).resources[3].charged;
    assert!(server_paid >= 1_000_000, "{server_paid}");
    assert!(p.s.k.get(p.client_account).resources[3].charged <= paid + CPU + 10_000);
    // Beyond the hard bound the server, stuck in its critical section, is terminated; the client has its answer.
    burn(&mut p, 20_000_000);
    assert!(p.at_home());
    assert_eq!(p.s.received().1, KERN_RESOURCE_SHORTAGE);
    p.s.settle();
    assert!(!p.s.k.is_object(p.server.raw(), crate::object::Kind::Task, 4), "the server is gone");
    assert_eq!(p.s.frames(p.server_account), 0);
}

#[test]
fn frames_beyond_the_ceiling_end_the_call() {
    let mut p = pair(false);
    p.call(&Donation::ALL.frames(20));
    p.s.run();
    let window = p.s.k.regs.rsp & !0x1_ffff_ffff;
    let mut touched = 0;
    while p.s.k.task_here() == p.server && touched < 100 {
        let address = window + ARENA + touched * 4096;
        p.s.k.event(Event::Exception { vector: 14, error: 6, address });
        p.s.run();
        touched += 1;
    }
    assert!(p.at_home());
    assert!((5..=20).contains(&touched), "{touched}");
    assert_eq!(p.s.received(), (ID + 100, KERN_RESOURCE_SHORTAGE));
}

#[test]
fn the_deadline_passes_while_computing_and_while_waiting() {
    for waits in [false, true] {
        let mut p = pair(false);
        let deadline = p.s.k.machine.time + 5_000_000;
        p.call(&Donation::ALL.deadline(deadline));
        p.s.run();
        if waits {
            let window = p.s.k.regs.rsp & !0x1_ffff_ffff;
            p.s.trap(trap::DROVER_WAIT, [window + 0x200, 0, 0, 0, u64::MAX, 0]);
            p.s.run();
        } else {
            burn(&mut p, 6_000_000);
        }
        assert!(p.at_home());
        assert!(p.s.k.machine.time >= deadline);
        assert_eq!(p.s.received(), (ID + 100, KERN_TIMEDOUT));
        assert_eq!(p.s.k.get(p.server).exits[1], 1);
    }
}

/// A second server that the first calls.
fn two_deep() -> (Pair, Ref<Task>, u32) {
    let mut p = pair(true);
    let account = p.s.account(300, 500);
    let second = p.s.task(account);
    let (_, names) = p.s.rpc_port(second, &[p.server], true, CPU, RESERVE);
    let port = names[0];
    p.call(&Donation::ALL);
    p.s.run();
    p.s.call(port, ID + 1, &[], &Donation::ALL);
    assert_eq!(p.s.k.task_here(), second);
    p.s.run();
    (p, second, port)
}

#[test]
fn a_nested_call_returns_through_both() {
    let (mut p, _, _) = two_deep();
    p.s.reply(ID + 1, &[]);
    p.s.run();
    assert_eq!(p.s.k.task_here(), p.server);
    assert_eq!(p.s.result(), 0);
    p.s.reply(ID, &[]);
    p.s.run();
    assert!(p.at_home());
    assert_eq!(p.s.received(), (ID + 100, 0));
}

#[test]
fn the_client_dies_two_deep_and_both_servers_unwind() {
    let (mut p, second, _) = two_deep();
    let killer_account = p.s.account(200, 500);
    let killer = p.s.task(killer_account);
    let killer_thread = p.s.thread(killer);
    p.s.k.task_terminate(p.client).expect("alive");
    p.s.run_thread(p.thread);
    assert_eq!((p.s.k.task_here(), p.s.k.regs.rip), (second, UNWIND));
    p.s.trap(trap::DROVER_RETURN, [0; 6]);
    p.s.run_thread(p.thread);
    assert_eq!((p.s.k.task_here(), p.s.k.regs.rip), (p.server, UNWIND));
    p.s.trap(trap::DROVER_RETURN, [0; 6]);
    p.s.run_thread(killer_thread);
    p.s.settle();
    assert_eq!(p.s.frames(p.client_account), 0, "everything is given back");
    assert_eq!(p.s.k.get(p.server).exits[2], 1);
    assert_eq!(p.s.k.get(second).exits[2], 1);
}

#[test]
fn the_middle_server_dies_and_the_client_learns_so() {
    let (mut p, second, _) = two_deep();
    p.s.k.task_terminate(p.server).expect("alive");
    p.s.run_thread(p.thread);
    assert_eq!((p.s.k.task_here(), p.s.k.regs.rip), (second, UNWIND), "the last one unwinds first");
    p.s.trap(trap::DROVER_RETURN, [0; 6]);
    p.s.run_thread(p.thread);
    assert!(p.at_home());
    assert_eq!(p.s.result(), 0);
    assert_eq!(p.s.received().0, 71, "the send-once notification: the server died");
    p.s.settle();
    assert_eq!(p.s.frames(p.server_account), 0);
}

#[test]
fn thread_abort_ends_a_chain_three_deep() {
    let (mut p, second, _) = two_deep();
    let account = p.s.account(300, 500);
    let third = p.s.task(account);
    let (_, names) = p.s.rpc_port(third, &[second], true, CPU, RESERVE);
    p.s.call(names[0], ID + 2, &[], &Donation::ALL);
    p.s.run();
    assert_eq!(p.s.k.task_here(), third);
    p.s.k.thread_abort(p.thread);
    for server in [third, second, p.server] {
        p.s.run_thread(p.thread);
        assert_eq!((p.s.k.task_here(), p.s.k.regs.rip), (server, UNWIND));
        p.s.trap(trap::DROVER_RETURN, [0; 6]);
    }
    p.s.run_thread(p.thread);
    assert!(p.at_home());
    assert_eq!(p.s.received(), (ID + 100, KERN_ABORTED));
}

#[test]
fn a_server_killed_with_a_hundred_clients_inside_answers_them_all() {
    let mut s = Sim::new(20_000);
    let server_account = s.account(2000, 1000);
    let server = s.task(server_account);
    let clients: Vec<_> = (0..100)
        .map(|_| {
            let account = s.account(100, 10);
            let task = s.task(account);
            (account, task, s.thread(task))
        })
        .collect();
    let tasks: Vec<_> = clients.iter().map(|c| c.1).collect();
    let (_, names) = s.rpc_port(server, &tasks, true, CPU, RESERVE);
    for ((_, task, thread), name) in clients.iter().zip(&names) {
        s.run_thread(*thread);
        assert_eq!(s.k.task_here(), *task);
        s.call(*name, ID, &[], &Donation::ALL);
        s.run_thread(*thread);
        let window = s.k.regs.rsp & !0x1_ffff_ffff;
        s.trap(trap::DROVER_WAIT, [window + 0x200, 0, 0, 0, u64::MAX, 0]);
    }
    s.k.task_terminate(server).expect("alive");
    let mut answered = 0;
    for (_, task, thread) in &clients {
        s.run_thread(*thread);
        assert_eq!(s.k.task_here(), *task);
        assert_eq!(s.received().0, 71);
        answered += 1;
        s.trap(trap::DROVER_THREAD_EXIT, [0; 6]);
    }
    assert_eq!(answered, 100);
    s.settle();
    assert_eq!(s.frames(server_account), 0);
}

#[test]
fn destroying_an_account_returns_every_frame() {
    let mut p = pair(true);
    warm_up(&mut p);
    let admin_account = p.s.account(200, 500);
    let admin = p.s.task(admin_account);
    let admin_thread = p.s.thread(admin);
    p.s.run_thread(admin_thread);
    // Its local block is looked at when it waits.
    assert_eq!(p.s.k.critical_depth(p.s.k.here()), 0);
    let free_before = p.s.k.free_frames;
    let victim_account = p.s.account(500, 1000);
    let before = p.s.k.free_frames;
    assert!(free_before - before <= 1);
    let victim = p.s.task(victim_account);
    let thread = p.s.thread(victim);
    let server_port = p.s.k.port_of_send(p.client, p.port).expect("a right");
    let name = p.s.k.insert_send(victim, server_port, Payer::account(victim_account)).expect("a right");
    p.s.run_thread(thread);
    p.s.call(name, ID, &[], &Donation::ALL);
    p.s.run_thread(thread);
    let window = p.s.k.regs.rsp & !0x1_ffff_ffff;
    p.s.trap(trap::DROVER_WAIT, [window + 0x200, 0, 0, 0, u64::MAX, 0]);
    // The admin destroys the account while its thread waits inside the server; the server unwinds it.
    p.s.run_thread(admin_thread);
    let mut steps = 0;
    let mut done = false;
    while !done && steps < 10_000 {
        steps += 1;
        match p.s.k.account_destroy(victim_account) {
            Ok(()) => done = true,
            Err(Stop::Again) => {}
            Err(Stop::Blocked) => {
                p.s.run_thread(thread);
                assert_eq!(p.s.k.regs.rip, UNWIND);
                p.s.trap(trap::DROVER_RETURN, [0; 6]);
                p.s.run_thread(admin_thread);
            }
            Err(stop) => panic!("{stop:?}"),
        }
    }
    assert!(done);
    assert_eq!(p.s.k.free_frames, free_before);
    assert_eq!(p.s.k.check(), 0);
}

#[test]
fn a_cycle_of_owned_waits_is_refused_and_an_owners_death_is_told() {
    let mut s = Sim::new(4000);
    let account = s.account(500, 1000);
    let task = s.task(account);
    let (a, b) = (s.thread(task), s.thread(task));
    let (tid_a, tid_b) = (s.k.get(a).tid, s.k.get(b).tid);
    s.run_thread(a);
    s.trap(trap::DROVER_WAIT, [MEMORY + 0x100, 0, tid_b, 0, u64::MAX, 0]);
    s.run_thread(b);
    s.trap(trap::DROVER_WAIT, [MEMORY + 0x200, 0, tid_a, 0, u64::MAX, 0]);
    s.run_thread(b);
    assert_eq!(s.result(), DROVER_DEADLOCK);
    s.trap(trap::DROVER_THREAD_EXIT, [0; 6]);
    s.run_thread(a);
    assert_eq!(s.result(), DROVER_OWNER_DIED);
}

#[test]
fn wake_and_timeout_of_waits() {
    let mut s = Sim::new(4000);
    let account = s.account(500, 1000);
    let task = s.task(account);
    let (a, b) = (s.thread(task), s.thread(task));
    s.run_thread(a);
    s.trap(trap::DROVER_WAIT, [MEMORY, 0, 0, 0, u64::MAX, 0]);
    s.run_thread(b);
    s.trap(trap::DROVER_WAKE, [MEMORY, 5, 0, 0, 0, 0]);
    assert_eq!(s.result(), 1);
    s.trap(trap::DROVER_WAKE, [MEMORY, 5, 0, 0, 0, 0]);
    assert_eq!(s.result(), 0);
    s.run_thread(a);
    assert_eq!(s.result(), 0);
    let deadline = s.k.machine.time + 1_000_000;
    s.trap(trap::DROVER_WAIT, [MEMORY, 0, 0, 0, deadline, 0]);
    s.run_thread(b);
    s.trap(trap::DROVER_THREAD_EXIT, [0; 6]);
    s.run_thread(a);
    assert_eq!(s.result(), KERN_TIMEDOUT);
    assert!(s.k.machine.time >= deadline);
}

#[test]
fn shares_are_kept() {
    let mut s = Sim::new(4000);
    let (big, small) = (s.account(500, 4000), s.account(500, 1000));
    for account in [big, small] {
        let task = s.task(account);
        s.thread(task);
    }
    for _ in 0..5000 {
        s.run();
        s.k.machine.time += 100_000;
        s.k.event(Event::Interrupt);
    }
    let cpu = |a: Ref<Account>| s.k.get(a).resources[3].charged as f64;
    let ratio = cpu(big) / cpu(small);
    assert!((3.9..4.1).contains(&ratio), "{ratio}");
}

#[test]
fn a_cap_holds_over_its_period() {
    let mut s = Sim::new(4000);
    let account = s.account(500, 4000);
    let task = s.task(account);
    s.thread(task);
    let a = s.k.get_mut(account);
    (a.cap_ns, a.period_ns) = (1_000_000, 10_000_000);
    let start = s.k.machine.time;
    for _ in 0..300 {
        s.run();
        s.k.machine.time += 100_000;
        s.k.event(Event::Interrupt);
    }
    let used = s.k.get(account).resources[3].charged;
    let elapsed = s.k.machine.time - start;
    assert!(used <= elapsed / 10 + 1_500_000, "{used} of {elapsed}");
    assert!(used >= elapsed / 20, "{used} of {elapsed}");
}

#[test]
fn a_lender_gives_its_turns_to_the_owner() {
    let mut s = Sim::new(4000);
    let (rich, poor, other) = (s.account(500, 8000), s.account(500, 10), s.account(500, 1000));
    let rich_task = s.task(rich);
    let poor_task = s.task(poor);
    let other_task = s.task(other);
    let waiter = s.thread(rich_task);
    let owner = s.thread(poor_task);
    s.thread(other_task);
    let tid = s.k.get(owner).tid;
    s.run_thread(waiter);
    s.trap(trap::DROVER_WAIT, [MEMORY, 0, tid, 1, u64::MAX, 0]);
    let before = s.k.get(poor).resources[3].charged;
    for _ in 0..1000 {
        s.run();
        s.k.machine.time += 100_000;
        s.k.event(Event::Interrupt);
    }
    let got = s.k.get(poor).resources[3].charged - before;
    assert!(got > 80_000_000, "the owner ran {got} ns of 100 ms in the waiter's turns");
}

#[test]
fn terminated_codes_are_what_the_docs_say() {
    // The exit of a call whose client's account is destroyed carries KERN_TERMINATED to nobody; it is what `request_exit` records.
    let (mut p, second, _) = two_deep();
    p.s.k.task_terminate(p.client).expect("alive");
    p.s.run_thread(p.thread);
    let top = p.s.k.here();
    assert_eq!(p.s.k.get(top).task, second);
    assert_eq!(p.s.k.get(top).exit_code, KERN_TERMINATED);
}

#[test]
fn who_aborts_itself_does_not_wait_first() {
    let mut p = pair(true);
    warm_up(&mut p);
    p.call(&Donation::ALL);
    p.s.run();
    assert!(p.in_server());
    // In the server: abort this thread, reply to one port, receive from another.
    let payer = Payer::account(p.server_account);
    let ports = [0; 2].map(|_| p.s.k.reply_port(p.server, payer).expect("a port"));
    let port = p.s.k.get(p.thread).port;
    let me = p.s.k.insert_send(p.server, port, payer).expect("a right");
    let request = Capture::default();
    let _ = hurd_stubs::mach::thread_abort(&request, PortName(me), &Donation::ALL);
    p.s.request(request.message(), ports[0], ports[1]);
    p.s.run();
    assert_eq!(p.s.k.regs.rip, UNWIND);
    p.s.trap(trap::DROVER_RETURN, [0; 6]);
    p.s.run();
    assert!(p.at_home());
    assert_eq!(p.s.received(), (ID + 100, KERN_ABORTED));
}

#[test]
fn nobody_waits_for_somebody_unknown_while_holding_a_lock() {
    let mut p = pair(true);
    warm_up(&mut p);
    let payer = Payer::account(p.client_account);
    let [queue, reply] = [0; 2].map(|_| p.s.k.reply_port(p.client, payer).expect("a port"));
    let port = p.s.k.port_of_receive(p.client, queue).expect("there");
    let name = p.s.k.insert_send(p.client, port, payer).expect("a right");
    let me = p.s.k.get(p.client).port;
    let me = PortName(p.s.k.insert_send(p.client, me, payer).expect("a right"));
    let block = p.s.k.regs.rsp & !0x1_ffff_ffff;
    p.s.k.write_u32(p.client, block + 8, 1).expect("the local block");
    // A message and its answer: a call.
    let request = Capture::default();
    let _ = hurd_stubs::mach::task_threads(&request, PortName(name), &Donation::ALL);
    p.s.request(request.message(), reply, reply);
    assert_eq!(p.s.result(), DROVER_LOCK_HELD);
    assert_eq!(p.s.k.get(port).queued, 0, "nothing was sent");
    // To wait for a message.
    let rsp = p.s.k.regs.rsp;
    p.s.k.copyout(p.client, rsp + 8, &[0; 8]).expect("a stack");
    p.s.trap(trap::MACH_MSG, [MEMORY, 2, 0, 0x1000, u64::from(queue), 0]);
    assert_eq!(p.s.result(), DROVER_LOCK_HELD);
    // A wait without an owner.
    let request = Capture::default();
    let _ = hurd_stubs::gnumach::gsync_wait(&request, me, MEMORY + 0x800, 0, 0, 0, 0, &Donation::ALL);
    p.s.request(request.message(), reply, reply);
    assert_eq!(p.s.received().1, DROVER_LOCK_HELD);
    // What does not wait is done: a message, a kernel RPC, a receive of what is there.
    let request = Capture::default();
    let _ = hurd_stubs::mach::task_threads(&request, me, &Donation::ALL);
    p.s.request(request.message(), reply, reply);
    assert_eq!((p.s.result(), p.s.received().1), (0, 0));
    assert!(p.at_home());
}
