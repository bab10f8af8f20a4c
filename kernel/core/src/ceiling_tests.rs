//! What calls made in a call take of its ceilings, and give back.

use drover_abi::donation::Donation;
use drover_abi::message::{HEADER_SIZE, Header, bits, msgt, option};
use drover_abi::returns::MACH_SEND_INVALID_DEST;
use drover_abi::trap;
use zerocopy::IntoBytes;

use crate::account::{Account, Limits, Payer};
use crate::object::Ref;
use crate::sim::{MESSAGE, Sim};
use crate::task::Task;
use crate::thread::Thread;

/// A client, a server that it has called with an offer of frames, and a second one.
struct Chain {
    s: Sim,
    client_account: Ref<Account>,
    client: Ref<Task>,
    second: Ref<Task>,
    thread: Ref<Thread>,
    first_port: u32,
    port: u32,
}

fn chain() -> Chain {
    let mut s = Sim::new(4000);
    let accounts = [(); 3].map(|()| s.account(500, 1000));
    let [client, first, second] = accounts.map(|account| s.task(account));
    let thread = s.thread(client);
    let (_, names) = s.rpc_port(first, &[client], true, 1000, 2);
    let (_, ports) = s.rpc_port(second, &[first], true, 1000, 2);
    s.run_thread(thread);
    Chain { s, client_account: accounts[0], client, second, thread, first_port: names[0], port: ports[0] }
}

impl Chain {
    fn left(&self) -> u64 {
        self.s.k.get(self.s.k.here()).left.frames
    }

    /// The first server calls the second, which does something and replies.
    fn nested(&mut self, act: impl FnOnce(&mut Self)) {
        self.s.call(self.port, 7, &[], &Donation::ALL);
        assert_eq!(self.s.k.task_here(), self.second);
        self.s.run_thread(self.thread);
        act(self);
        self.s.reply(7, &[]);
        self.s.run_thread(self.thread);
    }
}

#[test]
fn time_in_a_session_is_its_clients_and_within_the_clients_budget() {
    let mut c = chain();
    let server = c.second;
    let limits = |cpu| Limits { resources: [100, 300, 4, cpu, u64::MAX], share: 3000 };
    let client = c.s.k.account_create(c.s.k.root, &limits(5_000_000)).expect("an account");
    let session =
        c.s.k.account_create(client, &Limits { resources: [10, 50, 0, 0, 0], share: 0 }).expect("a session");
    c.s.k.make_session(session);
    let own = Payer::account(c.s.k.get(server).account);
    let port = c.s.k.account_port(session).expect("a port");
    let name = c.s.k.insert_send(server, port, own).expect("a right");
    let thread = c.s.thread(server);
    c.s.run_thread(thread);
    c.s.trap(trap::DROVER_PAYER, [trap::PAYER_ACCOUNT, u64::from(name), 0, 0, 0, 0]);
    assert_eq!(c.s.result(), 0);
    let cpu = |c: &Chain, account: Ref<Account>| c.s.k.get(account).resources[3].charged;
    for _ in 0..10 {
        c.s.run_thread(thread);
        c.s.k.machine.time += 100_000;
        c.s.k.event(crate::trap::Event::Interrupt);
    }
    assert_eq!(c.s.k.get(c.s.k.get(thread).top).payer_mode, 2, "it still pays");
    assert_eq!(cpu(&c, session), 0);
    // The last turn is charged when it ends.
    assert!(cpu(&c, client) >= 800_000, "{}", cpu(&c, client));
    // The client's budget is the bound.
    for _ in 0..60 {
        c.s.run_thread(thread);
        c.s.k.machine.time += 100_000;
        c.s.k.event(crate::trap::Event::Interrupt);
    }
    assert_eq!(c.s.k.get(c.s.k.get(thread).top).payer_mode, 0, "on at its own expense");
    assert!(cpu(&c, client) < 5_300_000);
}

/// The current thread sends words to a port of its task that nobody receives from.
fn post(s: &mut Sim, port: u32, words: usize) {
    let task = s.k.task_here();
    s.k.regs.rsp -= 64;
    let (rsp, base) = (s.k.regs.rsp, (s.k.regs.rsp & !0x1_ffff_ffff) + 0x20000);
    let size = HEADER_SIZE + 8 * words;
    let header = Header {
        bits: bits(msgt::MAKE_SEND, 0),
        size: size as u32,
        remote: u64::from(port),
        ..Header::default()
    };
    s.k.copyout(task, base, header.as_bytes()).expect("memory");
    s.k.copyout(task, base + 32, &vec![0; 8 * words]).expect("memory");
    s.k.copyout(task, rsp + 8, &[0; 8]).expect("a stack");
    s.trap(trap::MACH_MSG, [base, u64::from(option::SEND_MSG), size as u64, 0, 0, 0]);
    assert_eq!(s.result(), 0);
    s.k.regs.rsp += 64;
}

#[test]
fn calls_in_a_call_do_not_wear_its_ceiling_out() {
    let mut c = chain();
    c.s.call(c.first_port, 5, &[], &Donation::ALL.frames(60));
    c.s.run_thread(c.thread);
    c.nested(|_| ());
    // Reply ports stay, and take frames now and then.
    let sum = |c: &Chain| c.left() + c.s.frames(c.client_account);
    let before = sum(&c);
    for _ in 0..20 {
        c.nested(|c| {
            // A port that dies with the call, and FPU registers.
            let task = c.s.k.task_here();
            let payer = c.s.k.payer_in(task);
            c.s.k.reply_port(task, payer).expect("a port");
            c.s.k.event(crate::trap::Event::Exception { vector: 7, error: 0, address: 0 });
        });
        assert_eq!(sum(&c), before);
    }
}

#[test]
fn what_a_call_leaves_behind_comes_off_its_callers_ceiling() {
    let mut c = chain();
    c.s.call(c.first_port, 5, &[], &Donation::ALL.frames(60));
    c.s.run_thread(c.thread);
    c.nested(|_| ());
    let (left, charged) = (c.left(), c.s.frames(c.client_account));
    let second = c.second;
    let own = Payer::account(c.s.k.get(second).account);
    let queue = c.s.k.mach_port_allocate(second, 1, own).expect("a port");
    for _ in 0..3 {
        c.nested(|c| post(&mut c.s, queue, 1000));
    }
    let kept = c.s.frames(c.client_account) - charged;
    assert!(kept >= 9, "three messages of three frames: {kept}");
    assert_eq!(c.left(), left - kept);
}

#[test]
fn a_late_reply_to_an_rpc_port_is_refused() {
    let mut c = chain();
    // The client wants the reply at an RPC port of its own, and does not wait.
    let (reply, _) = c.s.rpc_port(c.client, &[], false, 0, 0);
    let header = Header {
        bits: bits(msgt::COPY_SEND, msgt::MAKE_SEND),
        size: 32,
        remote: u64::from(c.first_port),
        local: u64::from(reply),
        seqno: 0,
        id: 5,
    };
    c.s.k.copyout(c.client, MESSAGE, header.as_bytes()).expect("memory");
    let rsp = c.s.k.regs.rsp;
    c.s.k.copyout(c.client, rsp + 8, &[0; 8]).expect("a stack");
    c.s.trap(trap::MACH_MSG, [MESSAGE, u64::from(option::SEND_MSG), 32, 0, 0, 0]);
    c.s.run_thread(c.thread);
    let (task, window) = (c.s.k.task_here(), c.s.k.regs.rdx);
    assert_ne!(task, c.client);
    let mut words = [0; 32];
    c.s.k.copyin(task, window + 0x100, &mut words).expect("a window");
    let name = u32::from_le_bytes(words[8..12].try_into().expect("four bytes"));
    let answer =
        Header { bits: bits(msgt::COPY_SEND, 0), size: 32, remote: u64::from(name), ..Header::default() };
    c.s.k.copyout(task, window + 0x20000, answer.as_bytes()).expect("a window");
    c.s.trap(trap::DROVER_RETURN, [window + 0x20000, 32, 0, 0, 0, 0]);
    assert_eq!((c.s.k.task_here(), c.s.result()), (task, MACH_SEND_INVALID_DEST));
    c.s.trap(trap::DROVER_RETURN, [0; 6]);
    c.s.run_thread(c.thread);
    assert_eq!((c.s.k.task_here(), c.s.result()), (c.client, 0));
}
