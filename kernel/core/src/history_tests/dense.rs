//! A step of a dense history: mostly things that have an effect.

use drover_abi::message::option;
use drover_abi::trap;
use drover_abi::window::ARENA;

use super::draw::Draw;
use super::world::{Names, World};
use crate::sim::MEMORY;
use crate::trap::Event;

impl World {
    pub(super) fn dense_step(&mut self, d: &mut Draw) {
        let act = self.s.k.here();
        if self.s.k.get(act).lower.is_some() { self.dense_in_call(d) } else { self.dense_at_home(d) }
    }

    fn dense_at_home(&mut self, d: &mut Draw) {
        match d.below(100) {
            0..=39 => self.call(d),
            40..=47 => self.post(d),
            48..=55 => self.receive(d),
            56..=60 => self.wait(d),
            61..=64 => self.wake(d),
            65..=83 => self.kernel_rpc(d),
            84..=87 => self.touch(d, MEMORY, 16),
            88..=90 => self.time(d.of(&[100, 10_000, 300_000])),
            91 => self.event_of_fpu(),
            92 => self.critical(d),
            93 => self.trap(trap::DROVER_PAYER, [d.below(2), 0, 0, 0, 0, 0]),
            _ => self.time(20_000),
        }
    }

    fn dense_in_call(&mut self, d: &mut Draw) {
        let window = self.s.k.get(self.s.k.here()).window;
        match d.below(100) {
            0..=31 => self.call(d),
            32..=43 => self.give_back(d),
            44..=50 => self.touch(d, window + ARENA, 64),
            51..=60 => self.session(d),
            61..=66 => self.critical(d),
            67..=69 => self.wait(d),
            70..=72 => self.wake(d),
            73..=75 => self.post(d),
            76..=77 => self.receive(d),
            78..=91 => self.kernel_rpc(d),
            92 => self.s.k.event(Event::Exception { vector: 13, error: 0, address: 0 }),
            93 => self.event_of_fpu(),
            94 => self.trap(trap::DROVER_CHARGE_IO, [d.below(20), 0, 0, 0, 0, 0]),
            95..=96 => self.time(d.of(&[100, 10_000, 300_000, 3_000_000])),
            _ => self.time(20_000),
        }
    }

    fn event_of_fpu(&mut self) {
        self.s.k.event(Event::Exception { vector: 7, error: 0, address: 0 });
    }

    /// A message to a message port.
    fn post(&mut self, d: &mut Draw) {
        let n = self.names();
        let to = self.name(d, &n.message);
        let mut message = self.message(d, to);
        self.send(d, &mut message, None);
    }

    fn receive(&mut self, d: &mut Draw) {
        let n = self.names();
        let name = if d.one_in(2) { n.set } else { self.name(d, &n.own) };
        let mut options = option::RCV_MSG;
        if !d.one_in(6) {
            options |= option::RCV_TIMEOUT;
        }
        if d.one_in(6) {
            options |= option::RCV_LARGE;
        }
        let base = self.buffer();
        let rsp = self.s.k.regs.rsp;
        self.put(rsp.wrapping_add(8), &[0; 8]);
        let room = d.of(&[0x1000, 0x1000, 0x1000, 40]);
        self.trap(trap::MACH_MSG, [base, u64::from(options), 0, room, u64::from(name), d.below(4)]);
    }

    fn wake(&mut self, d: &mut Draw) {
        let word = MEMORY + 0x100 * d.below(4);
        self.trap(trap::DROVER_WAKE, [word, d.of(&[1, 1, 2, 1000]), 0, 0, 0, 0]);
    }

    fn touch(&mut self, d: &mut Draw, base: u64, pages: u64) {
        let address = base + (d.below(pages) << 12);
        self.s.k.event(Event::Exception { vector: 14, error: d.of(&[4, 6, 6]), address });
    }

    fn critical(&mut self, d: &mut Draw) {
        let rsp = self.s.k.regs.rsp;
        let block = self.s.k.local_block(self.s.k.here(), rsp);
        let depth = u32::from(d.one_in(3));
        self.put(block + 8, &depth.to_le_bytes());
        if depth == 0 {
            self.trap(trap::DROVER_CRITICAL_END, [0; 6]);
        }
    }

    /// The caller's account, and who pays now.
    fn session(&mut self, d: &mut Draw) {
        let (act, task) = (self.s.k.here(), self.s.k.task_here());
        if d.one_in(3) {
            self.trap(trap::DROVER_ACCOUNT_SELF, [0; 6]);
            if self.s.k.current.is_some() && self.s.k.here() == act {
                let name = self.s.k.regs.rax as u32;
                if let Some(n) = self.names.get_mut(&task.raw()) {
                    Names::add(&mut n.patrons, name);
                }
            }
            return;
        }
        let n = self.names();
        let mode = d.of(&[trap::PAYER_CALL, trap::PAYER_OWN, trap::PAYER_ACCOUNT, trap::PAYER_ACCOUNT]);
        let name = if d.one_in(6) { self.name(d, &n.accounts) } else { self.name(d, &n.made) };
        self.trap(trap::DROVER_PAYER, [mode, u64::from(name), 0, 0, 0, 0]);
    }
}
