//! What a thread does in one step of a history.

use drover_abi::donation::Donation;
use drover_abi::message::{BITS_COMPLEX, HEADER_SIZE, Header, TypeWord, bits, msgt, option};
use drover_abi::returns::{MACH_SEND_INVALID_DEST, MACH_SEND_INVALID_REPLY};
use drover_abi::trap;
use drover_abi::window::{ARENA, HOME_BASE, STACK_TOP, WINDOWS_BASE};
use zerocopy::{FromBytes, IntoBytes};

use super::AT_SYSCALL;
use super::draw::Draw;
use super::world::{Names, World};
use crate::account::Payer;
use crate::machine::Machine;
use crate::sim::MEMORY;
use crate::trap::Event;

/// Where a message goes to.
fn header_to(message: &[u8]) -> u32 {
    Header::ref_from_prefix(message).map_or(0, |(header, _)| header.remote as u32)
}

impl World {
    /// Where messages are built by the current thread.
    pub(super) fn buffer(&self) -> u64 {
        let act = self.s.k.here();
        let window = self.s.k.get(act).window;
        if window != 0 { window + 0x20000 } else { MEMORY + 0x1000 }
    }

    pub(super) fn put(&mut self, address: u64, bytes: &[u8]) -> bool {
        let task = self.s.k.task_here();
        self.s.k.copyout(task, address, bytes).is_ok()
    }

    /// The current thread executes `syscall`.
    pub(super) fn trap(&mut self, number: i32, arguments: [u64; 6]) {
        let r = &mut self.s.k.regs;
        r.rax = number as u64;
        [r.rdi, r.rsi, r.rdx, r.r10, r.r8, r.r9] = arguments;
        r.rip = ((r.rip & 0xffff_fff0) | AT_SYSCALL) + 2;
        self.s.k.machine.time += 100;
        self.s.k.event(Event::Syscall);
    }

    pub(super) fn names(&self) -> Names {
        let task = self.s.k.task_here();
        self.names.get(&task.raw()).cloned().unwrap_or_default()
    }

    pub(super) fn name(&self, d: &mut Draw, of: &[u32]) -> u32 {
        let bad = if self.dense { 60 } else { 10 };
        if of.is_empty() || d.one_in(bad) { d.small() as u32 } else { d.of(of) }
    }

    pub(super) fn donation(&mut self, d: &mut Draw) -> Donation {
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
    pub(super) fn send(&mut self, d: &mut Draw, message: &mut [u8], donation: Option<Donation>) {
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
        let (here, to) = (self.s.k.here(), header_to(message));
        self.trap(number, [base, u64::from(options), size, room, u64::from(receive), ms]);
        if self.dense && self.s.k.current.is_some() && self.s.k.here() == here {
            self.learn(to);
        }
    }

    /// A dead destination is forgotten, a lost reply port replaced: dense histories go on.
    fn learn(&mut self, to: u32) {
        let task = self.s.k.task_here();
        let code = self.s.k.regs.rax as i32;
        if code == MACH_SEND_INVALID_REPLY {
            let payer = Payer::account(self.s.k.get(task).account);
            let Ok(port) = self.s.k.reply_port(task, payer) else { return };
            let Some(n) = self.names.get_mut(&task.raw()) else { return };
            Names::add(&mut n.own, port);
        } else if code == MACH_SEND_INVALID_DEST {
            let Some(n) = self.names.get_mut(&task.raw()) else { return };
            n.rpc.retain(|&name| name != to);
            n.message.retain(|&name| name != to);
        }
    }

    pub(super) fn call(&mut self, d: &mut Draw) {
        let n = self.names();
        let to = self.name(d, &n.rpc);
        let mut message = self.message(d, to);
        let donation = self.donation(d);
        let donation = if d.one_in(8) { None } else { Some(donation) };
        self.send(d, &mut message, donation);
    }

    /// A message with a random body.
    pub(super) fn message(&mut self, d: &mut Draw, to: u32) -> Vec<u8> {
        let n = self.names();
        let mut body: Vec<u64> = Vec::new();
        let mut complex = 0;
        for _ in 0..d.below(4) {
            let name = if d.one_in(2) { self.name(d, &n.own) } else { self.name(d, &n.message) };
            match d.below(5) {
                0 => body.extend([TypeWord::inline(msgt::INTEGER_64, 64, 1).0, d.word()]),
                1 | 2 if self.dense && !d.one_in(10) => {
                    let (kind, name) = match d.below(8) {
                        0 => (msgt::MOVE_SEND, self.name(d, &n.message)),
                        1 => (msgt::MAKE_SEND_ONCE, self.name(d, &n.own)),
                        2 => (msgt::MAKE_SEND, self.name(d, &n.own)),
                        3 if d.one_in(4) => (msgt::MOVE_RECEIVE, self.name(d, &n.own)),
                        4 => (msgt::COPY_SEND, self.name(d, &n.rpc)),
                        _ => (msgt::COPY_SEND, self.name(d, &n.message)),
                    };
                    body.extend([TypeWord::inline(kind, 64, 1).0, u64::from(name)]);
                    complex = BITS_COMPLEX;
                }
                1 | 2 => {
                    let kinds = [16, 17, 18, 19, 20, 21];
                    body.extend([TypeWord::inline(d.of(&kinds), 64, 1).0, u64::from(name)]);
                    complex = BITS_COMPLEX;
                }
                3 if self.dense && d.one_in(3) => {
                    let array = self.buffer() + 0xa000;
                    let count = d.below(4);
                    for i in 0..count {
                        let name = self.name(d, &n.message);
                        self.put(array + 4 * i, &name.to_le_bytes());
                    }
                    let word = TypeWord::inline(msgt::COPY_SEND, 32, count as u32).0 & !TypeWord::INLINE;
                    body.extend([word, array]);
                    complex = BITS_COMPLEX;
                }
                3 => {
                    let mut word =
                        TypeWord::inline(msgt::BYTE, 8, d.below(20_000) as u32).0 & !TypeWord::INLINE;
                    if d.one_in(3) {
                        word |= TypeWord::DEALLOCATE;
                    }
                    let window = self.s.k.get(self.s.k.here()).window;
                    let base = if window != 0 && d.one_in(2) { window + ARENA } else { MEMORY + 0x4000 };
                    let offset = d.below(0x6000);
                    body.extend([word, base + if d.one_in(2) { offset & !0xfff } else { offset }]);
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

    pub(super) fn give_back(&mut self, d: &mut Draw) {
        let base = self.buffer();
        if self.dense && self.s.k.get(self.s.k.here()).one_way != 0 && !d.one_in(8) {
            return self.trap(trap::DROVER_RETURN, [0; 6]);
        }
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

    pub(super) fn time(&mut self, ns: u64) {
        self.s.k.machine.time += ns;
        self.s.k.event(Event::Interrupt);
    }

    pub(super) fn address(&mut self, d: &mut Draw) -> u64 {
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

    pub(super) fn wait(&mut self, d: &mut Draw) {
        let now = self.s.k.machine.now();
        let deadline =
            if d.one_in(3) { u64::MAX } else { now.saturating_add(d.of(&[0, 1, 100_000, 5_000_000])) };
        let owner = if d.one_in(2) { d.of(&self.tids) } else { d.small() };
        let address = if d.one_in(4) { 0 } else { MEMORY + 0x100 * d.below(4) };
        let address = if d.one_in(8) { self.address(d) } else { address };
        let expected = u64::from(d.one_in(8));
        self.trap(trap::DROVER_WAIT, [address, expected, owner, d.below(2), deadline, 0]);
    }

    /// One thing that the current thread does.
    pub(super) fn step(&mut self, what: u8, seed: u64) {
        self.run();
        let others = if self.dense && seed.is_multiple_of(6) { 0 } else { 20 };
        for _ in 0..others {
            if self.s.k.current != self.admin {
                break;
            }
            self.time(crate::sched::QUANTUM_NS);
            self.run();
        }
        if self.s.k.current == self.admin {
            if self.dense {
                self.supervise(&mut Draw(seed));
            }
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
        if self.s.k.regs.rsp == self.s.k.get(act).window + STACK_TOP - 8 {
            // The entry makes room for the arguments of its traps.
            self.s.k.regs.rsp -= 64;
        }
        if self.dense {
            return self.dense_step(d);
        }
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
}
