//! Random histories: several accounts, tasks, threads and ports doing anything that user space can do, well-behaved or not.
//!
//! The "programs" are this test. After every step the conservation checkers find nothing, nothing panics or hangs, and after the destruction of
//! all accounts every frame is back.

use std::cell::RefCell;
use std::collections::BTreeMap;

use drover_abi::account::UNLIMITED;
use drover_abi::donation::Donation;
use drover_abi::message::{BITS_COMPLEX, HEADER_SIZE, Header, TypeWord, bits, msgt, option};
use drover_abi::trap;
use drover_abi::window::{ARENA, HOME_BASE, WINDOWS_BASE};
use hurd_stubs as s;
use mig_runtime::{Port as PortArg, PortName, Transport};
use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use zerocopy::{FromBytes, IntoBytes};

use crate::account::{Account, Payer};
use crate::kernel::Stop;
use crate::machine::Machine;
use crate::object::{Kind, Ref};
use crate::sched::Next;
use crate::sim::{MEMORY, Sim};
use crate::task::Task;
use crate::thread::Thread;
use crate::trap::Event;

/// Frames of the machine.
const FRAMES: u32 = 3000;
/// Where the low bits of `rip` say that a thread is about to execute `syscall`.
const AT_SYSCALL: u64 = 8;

/// Numbers drawn from one seed.
struct Draw(u64);

impl Draw {
    fn word(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
    fn below(&mut self, n: u64) -> u64 {
        self.word() % n
    }
    fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }
    fn of<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len() as u64) as usize]
    }
    /// A number that somebody hostile would try.
    fn number(&mut self) -> u64 {
        let small = self.below(600);
        let any = self.word();
        self.of(&[0, 1, small, 4096, 1 << 20, 1 << 31, 1 << 47, u64::MAX, u64::MAX - 1, u64::MAX >> 1, any])
    }
    fn small(&mut self) -> u64 {
        if self.one_in(6) { self.number() } else { self.below(60) }
    }
}

/// Keeps the request that a stub encodes.
struct Capture(RefCell<Vec<u8>>);

impl Transport for Capture {
    fn call(&self, msg: &mut [u8], size: usize, _: &Donation) -> Result<usize, i32> {
        self.0.replace(msg[..size].to_vec());
        Err(1)
    }
    fn send(&self, msg: &mut [u8], size: usize, _: &Donation) -> Result<(), i32> {
        self.0.replace(msg[..size].to_vec());
        Ok(())
    }
}

/// Names of the rights that every task starts with, by what they are to.
#[derive(Clone, Default)]
struct Names {
    rpc: Vec<u32>,
    message: Vec<u32>,
    tasks: Vec<u32>,
    threads: Vec<u32>,
    accounts: Vec<u32>,
    own: Vec<u32>,
    set: u32,
}

struct World {
    s: Sim,
    admin: Ref<Thread>,
    accounts: Vec<u64>,
    tids: Vec<u64>,
    names: BTreeMap<u32, Names>,
    restarts: u32,
}

impl World {
    fn new(drift: u64) -> Self {
        let mut s = Sim::new(FRAMES);
        s.k.machine.drift = drift;
        let admin_account = s.account(200, 2000);
        let admin_task = s.task(admin_account);
        let admin = s.thread(admin_task);
        Self { s, admin, accounts: Vec::new(), tids: Vec::new(), names: BTreeMap::new(), restarts: 0 }
    }

    fn build(&mut self) {
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
    fn run(&mut self) {
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

    fn check(&mut self) {
        let k = &mut self.s.k;
        let found = k.check_deep();
        let text = String::from_utf8_lossy(&k.first_violation).trim_end_matches('\0').to_string();
        assert_eq!(found, 0, "{text}");
        crate::ipc_testing::check(k);
    }

    /// Where messages are built by the current thread.
    fn buffer(&self) -> u64 {
        let act = self.s.k.here();
        let window = self.s.k.get(act).window;
        if window != 0 { window + 0x20000 } else { MEMORY + 0x1000 }
    }

    fn put(&mut self, address: u64, bytes: &[u8]) -> bool {
        let task = self.s.k.task_here();
        self.s.k.copyout(task, address, bytes).is_ok()
    }

    /// The current thread executes `syscall`.
    fn trap(&mut self, number: i32, arguments: [u64; 6]) {
        let r = &mut self.s.k.regs;
        r.rax = number as u64;
        [r.rdi, r.rsi, r.rdx, r.r10, r.r8, r.r9] = arguments;
        r.rip = ((r.rip & 0xffff_fff0) | AT_SYSCALL) + 2;
        self.s.k.machine.time += 100;
        self.s.k.event(Event::Syscall);
    }

    fn names(&self) -> Names {
        let task = self.s.k.task_here();
        self.names.get(&task.raw()).cloned().unwrap_or_default()
    }

    fn name(&self, d: &mut Draw, of: &[u32]) -> u32 {
        if of.is_empty() || d.one_in(10) { d.small() as u32 } else { d.of(of) }
    }

    fn donation(&mut self, d: &mut Draw) -> Donation {
        let now = self.s.k.machine.now();
        let mut offer = Donation::ALL;
        if d.one_in(2) {
            offer.cpu_ns = if d.one_in(8) { d.number() } else { 10_000 + d.below(2_000_000) };
        }
        if d.one_in(2) {
            offer.frames = if d.one_in(8) { d.number() } else { 5 + d.below(60) };
        }
        if d.one_in(2) {
            offer.deadline_ns = if d.one_in(8) { d.number() } else { now + d.below(3_000_000) };
        }
        if d.one_in(8) {
            (offer.io, offer.depth) = (d.number(), d.below(4));
            (offer.accept, offer.retain) = (d.number(), d.small());
        }
        if d.one_in(50) {
            offer.reserved = 1;
        }
        offer
    }

    /// Sends what stands in `message` (its header's local port is filled in), and receives.
    fn send(&mut self, d: &mut Draw, message: &mut [u8], donation: Option<Donation>) {
        let n = self.names();
        let reply = if d.one_in(8) { self.name(d, &n.own) } else { n.own.last().copied().unwrap_or(0) };
        let Ok(header) = Header::mut_from_prefix(message) else { return };
        let header = header.0;
        if d.one_in(12) {
            header.local = 0;
        } else {
            header.local = u64::from(reply);
            header.bits = (header.bits & !0xff00) | (msgt::MAKE_SEND_ONCE << 8);
        }
        let base = self.buffer();
        let rsp = self.s.k.regs.rsp;
        let at = base + 0x8000;
        let offered = donation.unwrap_or(Donation::ALL);
        let ready = self.put(base, message)
            && self.put(at, offered.as_bytes())
            && self.put(rsp.wrapping_add(8), &(if donation.is_some() { at } else { 0 }).to_le_bytes());
        if !ready {
            return self.time(1000);
        }
        let mut options = option::SEND_MSG | option::RCV_MSG;
        let mut receive = reply;
        if d.one_in(6) {
            options = d.below(0x1000) as u32;
            receive = if d.one_in(2) { n.set } else { self.name(d, &n.own) };
        }
        let size = if d.one_in(30) { d.number() } else { message.len() as u64 };
        let room = if d.one_in(10) { d.small() } else { 0x1000 };
        let number = if donation.is_some() { trap::DROVER_CALL } else { trap::MACH_MSG };
        let ms = d.below(4);
        self.trap(number, [base, u64::from(options), size, room, u64::from(receive), ms]);
    }

    fn call(&mut self, d: &mut Draw) {
        let n = self.names();
        let to = self.name(d, &n.rpc);
        let mut message = self.message(d, to);
        let donation = self.donation(d);
        let donation = if d.one_in(8) { None } else { Some(donation) };
        self.send(d, &mut message, donation);
    }

    /// A message with a random body.
    fn message(&mut self, d: &mut Draw, to: u32) -> Vec<u8> {
        let n = self.names();
        let mut body: Vec<u64> = Vec::new();
        let mut complex = 0;
        for _ in 0..d.below(4) {
            let name = if d.one_in(2) { self.name(d, &n.own) } else { self.name(d, &n.message) };
            match d.below(5) {
                0 => body.extend([TypeWord::inline(msgt::INTEGER_64, 64, 1).0, d.word()]),
                1 | 2 => {
                    let kinds = [16, 17, 18, 19, 20, 21];
                    body.extend([TypeWord::inline(d.of(&kinds), 64, 1).0, u64::from(name)]);
                    complex = BITS_COMPLEX;
                }
                3 => {
                    let mut word =
                        TypeWord::inline(msgt::BYTE, 8, d.below(20_000) as u32).0 & !TypeWord::INLINE;
                    if d.one_in(3) {
                        word |= TypeWord::DEALLOCATE;
                    }
                    body.extend([word, MEMORY + 0x4000 + d.below(0x6000)]);
                    complex = BITS_COMPLEX;
                }
                _ if d.one_in(4) => body.extend([d.word(), d.word()]),
                _ => {}
            }
        }
        if d.one_in(8) {
            complex = BITS_COMPLEX;
        }
        let kind = if d.one_in(10) { d.below(24) as u32 } else { msgt::COPY_SEND };
        let header = Header {
            bits: bits(kind, 0) | complex,
            size: (HEADER_SIZE + body.len() * 8) as u32,
            remote: u64::from(to),
            local: 0,
            seqno: 0,
            id: d.below(100) as i32,
        };
        let mut bytes = header.as_bytes().to_vec();
        bytes.extend_from_slice(body.as_bytes());
        bytes
    }

    fn give_back(&mut self, d: &mut Draw) {
        let base = self.buffer();
        if d.one_in(8) {
            let size = d.of(&[0, 0, 32, 48, 13, 0x20000]);
            return self
                .trap(trap::DROVER_RETURN, [if d.one_in(2) { base } else { d.number() }, size, 0, 0, 0, 0]);
        }
        let bytes = self.message(d, 0);
        if self.put(base, &bytes) {
            self.trap(trap::DROVER_RETURN, [base, bytes.len() as u64, 0, 0, 0, 0]);
        } else {
            self.trap(trap::DROVER_RETURN, [base, 48, 0, 0, 0, 0]);
        }
    }

    fn time(&mut self, ns: u64) {
        self.s.k.machine.time += ns;
        self.s.k.event(Event::Interrupt);
    }

    fn address(&mut self, d: &mut Draw) -> u64 {
        let window = self.s.k.get(self.s.k.here()).window;
        let offset = d.below(0x1_0000) & !3;
        let far = d.below(1 << 33);
        d.of(&[
            MEMORY + offset,
            MEMORY + offset,
            HOME_BASE,
            window + ARENA + (offset << 4),
            window + far,
            WINDOWS_BASE + far,
            offset,
        ]) + if d.one_in(10) { d.number() >> 17 } else { 0 }
    }

    fn wait(&mut self, d: &mut Draw) {
        let now = self.s.k.machine.now();
        let deadline =
            if d.one_in(3) { u64::MAX } else { now.saturating_add(d.of(&[0, 1, 100_000, 5_000_000])) };
        let owner = if d.one_in(2) { d.of(&self.tids) } else { d.small() };
        let address = if d.one_in(4) { 0 } else { MEMORY + 0x100 * d.below(4) };
        let address = if d.one_in(8) { self.address(d) } else { address };
        let expected = u64::from(d.one_in(8));
        self.trap(trap::DROVER_WAIT, [address, expected, owner, d.below(2), deadline, 0]);
    }

    fn kernel_rpc(&mut self, d: &mut Draw) {
        let n = self.names();
        let t = Capture(RefCell::default());
        let all = &Donation::ALL;
        let task = PortName(if d.one_in(4) { self.name(d, &n.tasks) } else { self.own_task() });
        let thread = PortName(self.name(d, &n.threads));
        let account = PortName(self.name(d, &n.accounts));
        let name = PortName(if d.one_in(2) { self.name(d, &n.own) } else { d.below(50) as u32 });
        let other = PortName(if d.one_in(2) { self.name(d, &n.message) } else { d.below(50) as u32 });
        let kind = d.of(&[16, 17, 18, 19, 20, 21]);
        let poly = PortArg::new(if d.one_in(2) { name } else { other }, kind);
        let address = self.address(d);
        let size = if d.one_in(5) { d.number() } else { d.below(0x8000) };
        let prot = d.below(8) as i32;
        let (a, b) = (d.small(), d.small());
        let rare = d.one_in(12);
        let very_rare = d.one_in(100);
        match d.below(44) {
            0 if very_rare => {
                let _ = s::mach::task_terminate(&t, task, all);
            }
            1 if very_rare => {
                let _ = s::mach::thread_terminate(&t, thread, all);
            }
            2 | 3 => {
                let _ = s::mach::thread_abort(&t, thread, all);
            }
            4 => {
                let _ = s::mach::thread_suspend(&t, thread, all);
            }
            5 | 6 => {
                let _ = s::mach::thread_resume(&t, thread, all);
            }
            7 if rare => {
                let _ = s::mach::task_suspend(&t, task, all);
            }
            7 | 8 => {
                let _ = s::mach::task_resume(&t, task, all);
            }
            9 if rare => {
                let _ = s::mach::task_create(&t, task, d.one_in(2), all);
            }
            10 if rare => {
                let _ = s::mach::thread_create(&t, task, all);
            }
            11 => {
                let _ = s::mach::task_threads(&t, task, all);
            }
            12 => {
                let words: Vec<u32> =
                    (0..42).map(|i| if i == 35 { 0x20_0002 } else { d.word() as u32 & 0x7fff }).collect();
                let _ = s::mach::thread_set_state(&t, thread, 1, &words, all);
            }
            13 => {
                let _ = s::mach::thread_get_state(&t, thread, prot, 42, all);
            }
            14 | 15 => {
                let _ = s::mach::vm_allocate(&t, task, address, size, d.one_in(2), all);
            }
            16 => {
                let _ = s::mach::vm_deallocate(&t, task, address, size, all);
            }
            17 => {
                let _ = s::mach::vm_protect(&t, task, address, size, d.one_in(4), prot, all);
            }
            18 => {
                let _ = s::mach::vm_inherit(&t, task, address, size, prot, all);
            }
            19 => {
                let _ = s::mach::vm_read(&t, task, address, size, all);
            }
            20 => {
                let _ = s::mach::vm_copy(&t, task, address & !0xfff, size & !0xfff, MEMORY + 0xa000, all);
            }
            21 => {
                let _ = s::mach::vm_region(&t, task, address, all);
            }
            22 => {
                let _ = s::mach::vm_map(
                    &t,
                    task,
                    address,
                    size,
                    0,
                    true,
                    other,
                    0,
                    d.one_in(2),
                    prot,
                    7,
                    prot % 3,
                    all,
                );
            }
            23 => {
                let _ = s::drover_vm::vm_object_create(&t, task, size, all);
            }
            24 => {
                let _ = s::mach_port::mach_port_names(&t, task, all);
            }
            25 => {
                let _ = s::mach_port::mach_port_allocate(&t, task, d.of(&[1, 1, 3, 4, 9]), all);
            }
            26 if rare => {
                let _ = s::mach_port::mach_port_destroy(&t, task, name, all);
            }
            27 => {
                let _ = s::mach_port::mach_port_deallocate(&t, task, name, all);
            }
            28 => {
                let _ = s::mach_port::mach_port_mod_refs(
                    &t,
                    task,
                    name,
                    d.below(5) as u32,
                    d.below(5) as i32 - 2,
                    all,
                );
            }
            29 | 30 => {
                let id = d.of(&[69, 70, 72]);
                let _ = s::mach_port::mach_port_request_notification(
                    &t,
                    task,
                    name,
                    id,
                    d.below(3) as u32,
                    poly,
                    all,
                );
            }
            31 => {
                let _ =
                    s::mach_port::mach_port_insert_right(&t, task, PortName(d.below(60) as u32), poly, all);
            }
            32 => {
                let _ = s::mach_port::mach_port_move_member(&t, task, name, PortName(n.set), all);
            }
            33 => {
                let _ = s::mach_port::mach_port_extract_right(&t, task, name, kind, all);
            }
            34 => {
                let _ = s::mach_port::mach_port_rename(&t, task, name, PortName(d.below(60) as u32), all);
            }
            35 => {
                let _ = s::gnumach::gsync_wait(&t, task, MEMORY + 0x200, 0, 0, d.below(3) as u32, prot, all);
            }
            36 => {
                let _ = s::gnumach::gsync_wake(&t, task, MEMORY + 0x200, 0, d.of(&[0, 8, 16]), all);
            }
            37 => {
                let cpu = if d.one_in(2) { UNLIMITED } else { d.number() };
                let _ = s::account::account_create(
                    &t,
                    account,
                    a,
                    b,
                    d.small(),
                    cpu,
                    d.number(),
                    d.below(200) as i32,
                    all,
                );
            }
            38 if very_rare || d.one_in(5) && !self.is_first(account) => {
                let _ = s::account::account_destroy(&t, account, all);
            }
            39 => {
                let _ = s::account::account_transfer(&t, account, d.below(6) as i32, d.number() as i64, all);
            }
            40 => {
                let _ = s::account::account_set_cpu(
                    &t,
                    account,
                    d.below(2000) as i32,
                    d.of(&[0, 0, 100_000]),
                    1_000_000,
                    all,
                );
            }
            41 => {
                let _ = s::account::account_session_create(&t, account, a, b, all);
            }
            42 if rare => {
                let _ = s::account::account_task_create(&t, account, task, d.one_in(2), all);
            }
            43 if rare => {
                let _ = s::account::account_thread_create(&t, account, task, all);
            }
            42 => {
                let _ = s::account::account_children(&t, account, all);
            }
            43 => {
                let _ = s::mach::task_set_special_port(&t, task, d.below(6) as i32, other, all);
            }
            _ => {
                let _ = s::drover_port::port_set_rpc(
                    &t,
                    task,
                    name,
                    0x40_1000,
                    0x40_2000,
                    a.wrapping_mul(100),
                    b,
                    7,
                    all,
                );
            }
        }
        let mut message = t.0.into_inner();
        if !message.is_empty() {
            self.send(d, &mut message, None);
        }
    }

    fn is_first(&self, account: PortName) -> bool {
        self.names().accounts.contains(&account.0)
    }

    fn own_task(&mut self) -> u32 {
        let task = self.s.k.task_here();
        let port = self.s.k.get(task).port;
        self.s.k.name_of(task, port)
    }

    /// One thing that the current thread does.
    fn step(&mut self, what: u8, seed: u64) {
        self.run();
        for _ in 0..20 {
            if self.s.k.current != self.admin {
                break;
            }
            self.time(crate::sched::QUANTUM_NS);
            self.run();
        }
        if self.s.k.current == self.admin {
            return;
        }
        if self.s.k.regs.rip & 15 == AT_SYSCALL {
            // A trap that is restarted.
            self.restarts += 1;
            assert!(self.restarts < 10_000, "a trap is restarted for ever");
            self.s.k.regs.rip += 2;
            self.s.k.machine.time += 100;
            self.s.k.event(Event::Syscall);
            return;
        }
        self.restarts = 0;
        let d = &mut Draw(seed);
        let act = self.s.k.here();
        let in_call = self.s.k.get(act).lower.is_some();
        match what % 32 {
            0..=5 => self.call(d),
            6..=10 if in_call => self.give_back(d),
            6 | 7 => self.wait(d),
            8 => self.trap(trap::DROVER_WAKE, [MEMORY + 0x100 * d.below(4), d.small(), 0, 0, 0, 0]),
            9 => {
                let (payer, name) = (d.below(4), self.names().accounts);
                let name = self.name(d, &name);
                self.trap(trap::DROVER_PAYER, [payer, u64::from(name), 0, 0, 0, 0]);
            }
            10 | 11 => {
                let number = d.below(211) as i32 - 200;
                let mut arguments = [0; 6];
                for a in &mut arguments {
                    *a = if d.one_in(2) { self.address(d) } else { d.number() };
                }
                self.trap(number, arguments);
            }
            12 | 13 => {
                let address = self.address(d);
                // Wild accesses end their task; let that be seldom.
                let task = self.s.k.task_here();
                if d.one_in(100) || self.s.k.map_lookup(task, address & !0xfff).is_some() {
                    self.s.k.event(Event::Exception { vector: 14, error: d.of(&[4, 6, 6, 20]) & 6, address });
                } else if in_call {
                    let window = self.s.k.get(act).window;
                    let address = window + ARENA + (d.below(100) << 12);
                    self.s.k.event(Event::Exception { vector: 14, error: 6, address });
                }
            }
            14..=20 => self.kernel_rpc(d),
            21 | 22 => {
                let n = self.names();
                let to = self.name(d, &n.message);
                let mut message = self.message(d, to);
                self.send(d, &mut message, None);
            }
            23 => self.time(d.of(&[100, 10_000, 300_000, 3_000_000])),
            24 if d.one_in(3) => self.time(d.of(&[50_000_000, 5_000_000_000])),
            25 => {
                let rsp = self.s.k.regs.rsp;
                let block = self.s.k.local_block(act, rsp);
                let depth = if in_call { d.below(2) as u32 } else { u32::from(d.one_in(8)) };
                self.put(block + 8, &depth.to_le_bytes());
                if depth == 0 {
                    self.trap(trap::DROVER_CRITICAL_END, [0; 6]);
                }
            }
            26 => self.s.k.event(Event::Exception { vector: 7, error: 0, address: 0 }),
            27 => self.trap(trap::DROVER_CHARGE_IO, [d.number(), 0, 0, 0, 0, 0]),
            28 => {
                let n = self.names();
                let name = if d.one_in(2) { n.set } else { self.name(d, &n.own) };
                let ms = d.below(4);
                let options =
                    if d.one_in(4) { option::RCV_MSG } else { option::RCV_MSG | option::RCV_TIMEOUT };
                let base = self.buffer();
                let rsp = self.s.k.regs.rsp;
                self.put(rsp.wrapping_add(8), &[0; 8]);
                self.trap(trap::MACH_MSG, [base, u64::from(options), 0, 0x1000, u64::from(name), ms]);
            }
            29 => {
                let number = d.of(&[
                    trap::DROVER_ACCOUNT_SELF,
                    trap::MACH_REPLY_PORT,
                    trap::MACH_TASK_SELF,
                    trap::DROVER_CALL_INFO,
                ]);
                let base = self.buffer();
                self.trap(number, [base, 0, 0, 0, 0, 0]);
            }
            30 if d.one_in(100) => self.trap(trap::DROVER_THREAD_EXIT, [0; 6]),
            31 if in_call || d.one_in(100) => {
                self.s.k.event(Event::Exception { vector: 13, error: 0, address: 0 })
            }
            _ => self.time(20_000),
        }
    }

    /// Destroys an account; the threads that it waits for are driven on.
    fn destroy(&mut self, account: Ref<Account>) {
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

    fn end(&mut self) {
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

fn history(steps: &[(u8, u64)], drift: u64) {
    let mut w = World::new(drift);
    w.run();
    let free = w.s.k.free_frames;
    let root = *w.s.k.get(w.s.k.root);
    w.build();
    for &(what, seed) in steps {
        w.step(what, seed);
    }
    w.end();
    let after = w.s.k.get(w.s.k.root);
    assert_eq!(w.s.k.free_frames, free, "free frames");
    for i in 0..3 {
        assert_eq!(after.resources[i], root.resources[i], "resource {i} of root");
    }
    assert_eq!(after.share, root.share);
    assert!(w.s.k.is_object(w.admin.raw(), Kind::Thread, 3));
}

/// The same histories every time, unless `PROPTEST_RNG_SEED` asks for others, and few, unless `PROPTEST_CASES` asks for more.
fn config() -> ProptestConfig {
    let number = |name| std::env::var(name).ok().and_then(|text| text.parse().ok());
    ProptestConfig {
        cases: number("PROPTEST_CASES").map_or(128, |n: u64| n as u32),
        max_shrink_iters: 200,
        failure_persistence: None,
        rng_seed: RngSeed::Fixed(number("PROPTEST_RNG_SEED").unwrap_or(1)),
        ..ProptestConfig::default()
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn any_history_keeps_the_laws(steps in proptest::collection::vec((any::<u8>(), any::<u64>()), 50..600), drift in 0..3u64) {
        history(&steps, drift * 7);
    }
}
