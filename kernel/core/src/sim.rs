//! A whole machine for tests: tasks whose "programs" are the test itself.
//!
//! The test says what the running thread traps with; the kernel is the real one. Every step ends with the conservation checker.

use std::cell::RefCell;

use drover_abi::account::UNLIMITED;
use drover_abi::donation::Donation;
use drover_abi::message::{Header, bits, msgt, option};
use drover_abi::trap;
use drover_abi::vm::{VM_INHERIT_COPY, VM_PROT_READ, VM_PROT_WRITE};
use drover_abi::window::{HOME_BASE, STACK_TOP};
use mig_runtime::Transport;
use zerocopy::{FromBytes, IntoBytes};

use crate::account::{Account, Limits, Payer};
use crate::host::HostMachine;
use crate::kernel::{Boot, Kernel};
use crate::object::Ref;
use crate::rpc_port::RpcTemplate;
use crate::sched::Next;
use crate::task::Task;
use crate::thread::Thread;
use crate::trap::Event;
use crate::vm::Map;

/// Where every simulated task has 64 KiB of memory.
pub(crate) const MEMORY: u64 = 0x10_0000;
/// Where messages are built.
pub(crate) const MESSAGE: u64 = MEMORY;
/// Entry point of simulated servers.
pub(crate) const ENTRY: u64 = 0x40_1000;
/// Unwind entry of simulated servers.
pub(crate) const UNWIND: u64 = 0x40_2000;

/// Keeps the request that a stub encodes.
#[derive(Default)]
pub(crate) struct Capture(RefCell<Vec<u8>>);

impl Capture {
    /// The request, empty if there was none.
    pub(crate) fn message(self) -> Vec<u8> {
        self.0.into_inner()
    }
}

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

/// The machine.
pub(crate) struct Sim {
    /// The kernel.
    pub(crate) k: Kernel<HostMachine>,
}

impl Sim {
    /// A machine with that many frames.
    pub(crate) fn new(frames: u32) -> Self {
        let machine = HostMachine::new(frames as usize + 16);
        let boot = Boot { ranges: &[(16, frames)], modules: &[], command_line: b"", kernel_frames: 16 };
        let mut k = Kernel::new(machine, &boot);
        k.make_host_ports().expect("host ports");
        Self { k }
    }

    /// A child of root.
    pub(crate) fn account(&mut self, frames: u64, share: u32) -> Ref<Account> {
        let limits = Limits { resources: [frames, 2_000, 20, UNLIMITED, UNLIMITED], share };
        self.k.account_create(self.k.root, &limits).expect("an account")
    }

    /// A task with memory at [`MEMORY`] and a home stack.
    pub(crate) fn task(&mut self, account: Ref<Account>) -> Ref<Task> {
        let payer = Payer::account(account);
        let task = self.k.task_create(payer, Ref::NONE, false).expect("a task");
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
                inheritance: VM_INHERIT_COPY,
            };
            self.k.vm_map(task, payer, &map).expect("memory");
        }
        task
    }

    /// A running thread of a task.
    pub(crate) fn thread(&mut self, task: Ref<Task>) -> Ref<Thread> {
        let payer = Payer::account(self.k.get(task).account);
        let thread = self.k.thread_create(payer, task).expect("a thread");
        let act = self.k.get(thread).bottom;
        let regs = &mut self.k.get_mut(act).regs;
        regs.rip = 0x40_0000;
        regs.rsp = HOME_BASE + STACK_TOP - 64;
        self.k.thread_resume(thread).expect("it was suspended");
        thread
    }

    /// An RPC port of `server` with a send right for each client: (name in the server, names in the clients).
    pub(crate) fn rpc_port(
        &mut self,
        server: Ref<Task>,
        clients: &[Ref<Task>],
        unwind: bool,
        cpu: u64,
        frames: u64,
    ) -> (u32, Vec<u32>) {
        let payer = Payer::account(self.k.get(server).account);
        let name = self.k.mach_port_allocate(server, 1, payer).expect("a port");
        let template = RpcTemplate {
            entry: ENTRY,
            unwind_entry: if unwind { UNWIND } else { 0 },
            unwind_cpu: cpu,
            unwind_frames: frames,
            payload: 0x1234,
        };
        self.k.port_set_rpc(server, name, &template).expect("an RPC port");
        let port = self.k.port_of_receive(server, name).expect("it is there");
        let names = clients
            .iter()
            .map(|&client| {
                let payer = Payer::account(self.k.get(client).account);
                self.k.insert_send(client, port, payer).expect("a right")
            })
            .collect();
        (name, names)
    }

    /// Lets the kernel choose until a thread runs user code; which.
    pub(crate) fn run(&mut self) -> Ref<Thread> {
        for _ in 0..10_000 {
            match self.k.next() {
                Next::Run { .. } => {
                    assert_eq!(self.k.check(), 0, "{}", self.violation());
                    return self.k.current;
                }
                Next::Idle { until } => {
                    assert_ne!(until, u64::MAX, "nothing will ever run");
                    self.k.machine.time = until;
                }
            }
        }
        panic!("nothing runs");
    }

    /// Lets what goes on between operations (the reaper) come to its end.
    pub(crate) fn settle(&mut self) {
        for _ in 0..200 {
            self.k.next();
            self.k.event(Event::Interrupt);
        }
        assert_eq!(self.k.check(), 0, "{}", self.violation());
    }

    /// Runs until `thread` has the processor.
    pub(crate) fn run_thread(&mut self, thread: Ref<Thread>) {
        for _ in 0..1000 {
            if self.run() == thread {
                return;
            }
            self.k.machine.time += crate::sched::QUANTUM_NS;
            self.k.event(Event::Interrupt);
        }
        panic!("{thread:?} does not run");
    }

    fn violation(&self) -> String {
        let text = &self.k.first_violation;
        String::from_utf8_lossy(text).trim_end_matches('\0').to_string()
    }

    /// The current thread traps.
    pub(crate) fn trap(&mut self, number: i32, arguments: [u64; 6]) {
        let r = &mut self.k.regs;
        r.rax = number as u64;
        [r.rdi, r.rsi, r.rdx, r.r10, r.r8, r.r9] = arguments;
        r.rip += 2;
        self.k.machine.time += 100;
        self.k.event(Event::Syscall);
    }

    /// Result of the current thread's last trap.
    pub(crate) fn result(&self) -> i32 {
        self.k.regs.rax as i32
    }

    /// A call with `words` after the header, by the current thread at home, with a donation.
    pub(crate) fn call(&mut self, port: u32, id: i32, words: &[u64], donation: &Donation) {
        let task = self.k.task_here();
        self.k.regs.rsp -= 64;
        let rsp = self.k.regs.rsp;
        let base = if rsp & !0x1_ffff_ffff == HOME_BASE { MESSAGE } else { (rsp & !0x1_ffff_ffff) + 0x20000 };
        let payer = self.k.payer_in(task);
        let reply = self.k.reply_port(task, payer).expect("a reply port");
        let size = 32 + 8 * words.len();
        let header = Header {
            bits: bits(msgt::COPY_SEND, msgt::MAKE_SEND_ONCE),
            size: size as u32,
            remote: u64::from(port),
            local: u64::from(reply),
            seqno: 0,
            id,
        };
        let mut bytes = header.as_bytes().to_vec();
        bytes.extend_from_slice(words.as_bytes());
        self.k.copyout(task, base, &bytes).expect("memory");
        let at = base + 0x8000;
        self.k.copyout(task, at, donation.as_bytes()).expect("memory");
        self.k.copyout(task, rsp + 8, &at.to_le_bytes()).expect("a stack");
        let options = u64::from(option::SEND_MSG | option::RCV_MSG);
        self.trap(trap::DROVER_CALL, [base, options, size as u64, 0x1000, u64::from(reply), 0]);
        if self.k.task_here() == task {
            self.k.regs.rsp += 64;
        }
    }

    /// The current thread sends a request that a stub has encoded, for a reply to `reply`, and receives from `receive`.
    pub(crate) fn request(&mut self, mut message: Vec<u8>, reply: u32, receive: u32) {
        let task = self.k.task_here();
        self.k.regs.rsp -= 64;
        let rsp = self.k.regs.rsp;
        let base = if rsp & !0x1_ffff_ffff == HOME_BASE { MESSAGE } else { (rsp & !0x1_ffff_ffff) + 0x20000 };
        let header = Header::mut_from_prefix(&mut message).expect("a request").0;
        header.local = u64::from(reply);
        header.bits = (header.bits & !0xff00) | (msgt::MAKE_SEND_ONCE << 8);
        self.k.copyout(task, base, &message).expect("memory");
        self.k.copyout(task, rsp + 8, &[0; 8]).expect("a stack");
        let options = u64::from(option::SEND_MSG | option::RCV_MSG);
        self.trap(trap::MACH_MSG, [base, options, message.len() as u64, 0x1000, u64::from(receive), 0]);
    }

    /// The current activation returns a reply of header, RetCode 0 and `words`.
    pub(crate) fn reply(&mut self, id: i32, words: &[u64]) {
        let window = self.k.regs.rsp & !0x1_ffff_ffff;
        let task = self.k.task_here();
        let size = 48 + 8 * words.len();
        let header = Header { size: size as u32, id: id + 100, ..Header::default() };
        let mut bytes = header.as_bytes().to_vec();
        bytes.extend_from_slice(&0x0000_0001_2000_2002u64.to_le_bytes());
        bytes.extend_from_slice(&0u64.to_le_bytes());
        bytes.extend_from_slice(words.as_bytes());
        self.k.copyout(task, window + 0x20000, &bytes).expect("a window");
        self.trap(trap::DROVER_RETURN, [window + 0x20000, size as u64, 0, 0, 0, 0]);
    }

    /// Id and RetCode of the reply in the current thread's buffer at home.
    pub(crate) fn received(&mut self) -> (i32, i32) {
        let task = self.k.task_here();
        let mut bytes = [0; 48];
        self.k.copyin(task, MESSAGE, &mut bytes).expect("memory");
        let word = |at: usize| i32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"));
        (word(28), word(40))
    }

    /// Frames charged to an account.
    pub(crate) fn frames(&self, account: Ref<Account>) -> u64 {
        self.k.get(account).resources[0].charged
    }
}
