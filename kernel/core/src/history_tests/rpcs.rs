//! A kernel RPC of a history: any routine, with good and bad arguments.

use drover_abi::account::UNLIMITED;
use drover_abi::donation::Donation;
use hurd_stubs as s;
use mig_runtime::{Port as PortArg, PortName};

use super::draw::Draw;
use super::world::{Names, World};
use crate::sim::{Capture, MEMORY};

/// How many routines there are to choose from.
const ROUTINES: u64 = 44;
/// Those with an effect, some more often.
const EFFECTIVE: [u64; 48] = [
    0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 10, 10, 11, 14, 14, 15, 16, 17, 18, 19, 20, 22, 22, 23, 25, 25, 26, 27,
    28, 29, 29, 30, 31, 32, 32, 33, 35, 36, 37, 38, 39, 40, 41, 41, 42, 43, 44,
];

impl World {
    pub(super) fn kernel_rpc(&mut self, d: &mut Draw) {
        let n = self.names();
        let t = Capture::default();
        let all = &Donation::ALL;
        let dense = self.dense;
        let task = PortName(if d.one_in(4) { self.name(d, &n.tasks) } else { self.own_task() });
        let thread = PortName(self.name(d, &n.threads));
        let accounts = if dense && d.one_in(2) { [&n.made[..], &n.patrons].concat() } else { n.accounts };
        let account = PortName(self.name(d, &accounts));
        let known = dense && !d.one_in(10);
        let name = PortName(if known || d.one_in(2) { self.name(d, &n.own) } else { d.below(50) as u32 });
        let other =
            PortName(if known || d.one_in(2) { self.name(d, &n.message) } else { d.below(50) as u32 });
        let kind = d.of(&[16, 17, 18, 19, 20, 21]);
        let poly = PortArg::new(if d.one_in(2) { name } else { other }, kind);
        let memory = if dense && d.one_in(2) { PortName(self.name(d, &n.objects)) } else { other };
        let address = if known { MEMORY + (d.below(0x20) << 12) } else { self.address(d) };
        let size = if known {
            d.of(&[0x1000, 0x2000, 0x8000, 0x11_0000])
        } else if d.one_in(5) {
            d.number()
        } else {
            d.below(0x8000)
        };
        let prot = if known { d.of(&[1, 3, 3, 7]) } else { d.below(8) as i32 };
        let (a, b) = if known { (d.below(40), d.below(200)) } else { (d.small(), d.small()) };
        let rare = d.one_in(if dense { 3 } else { 12 });
        let very_rare = d.one_in(if dense { 25 } else { 100 });
        let routine = if known { d.of(&EFFECTIVE) } else { d.below(ROUTINES) };
        match routine {
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
                    memory,
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
        let mut message = t.message();
        if message.is_empty() {
            return;
        }
        let (here, buffer) = (self.s.k.here(), self.buffer());
        self.send(d, &mut message, None);
        if dense && self.s.k.current.is_some() && self.s.k.here() == here && self.s.k.regs.rax == 0 {
            self.made(routine, buffer);
        }
    }

    /// Notes the name that a routine answered with.
    fn made(&mut self, routine: u64, buffer: u64) {
        let task = self.s.k.task_here();
        // Header, RetCode, descriptor.
        let Ok(name) = self.s.k.read_u64(task, buffer + 56) else { return };
        let Some(n) = self.names.get_mut(&task.raw()) else { return };
        let list = match routine {
            9 | 42 => &mut n.tasks,
            10 | 43 => &mut n.threads,
            23 => &mut n.objects,
            25 => &mut n.own,
            37 | 41 => &mut n.made,
            _ => return,
        };
        Names::add(list, name as u32);
    }

    pub(super) fn is_first(&self, account: PortName) -> bool {
        self.names().accounts.contains(&account.0)
    }

    pub(super) fn own_task(&mut self) -> u32 {
        let task = self.s.k.task_here();
        let port = self.s.k.get(task).port;
        self.s.k.name_of(task, port)
    }
}
