//! What came from user mode: traps, exceptions, interrupts.

use drover_abi::account::{IO, UNLIMITED};
use drover_abi::donation::{CallInfo, Donation};
use drover_abi::port::MACH_PORT_NULL;
use drover_abi::returns::{
    KERN_FAILURE, KERN_INVALID_ARGUMENT, KERN_MEMORY_ERROR, KERN_RESOURCE_SHORTAGE, MACH_SEND_INTERRUPTED,
};
use drover_abi::trap;
use zerocopy::{FromBytes, IntoBytes};

use crate::account::unused;
use crate::activation::{Exit, RUNNING};
use crate::fault::Access;
use crate::kernel::{Kernel, Stop};
use crate::machine::Machine;
use crate::message::MachMsg;

/// What came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A `syscall` instruction.
    Syscall,
    /// An interrupt (timer, console): `next` looks at the clock.
    Interrupt,
    /// An exception in user mode.
    Exception {
        /// Its vector.
        vector: u8,
        /// Its error code.
        error: u64,
        /// cr2, for a page fault.
        address: u64,
    },
}

/// What an exception is called.
fn exception_name(vector: u8) -> &'static str {
    match vector {
        0 => "divide error",
        3 => "breakpoint",
        6 => "invalid opcode",
        VECTOR_NO_FPU => "no memory for FPU registers",
        13 => "general protection",
        VECTOR_PAGE_FAULT => "page fault",
        16 | 19 => "floating point",
        17 => "alignment",
        _ => "exception",
    }
}

/// Longest string that `mach_print` prints.
const PRINT_MAX: usize = 256;
const VECTOR_NO_FPU: u8 = 7;
const VECTOR_PAGE_FAULT: u8 = 14;

impl<M: Machine> Kernel<M> {
    /// Takes an event of the current thread (its registers are in `regs`).
    pub fn event(&mut self, event: Event) {
        self.operations += 1;
        match event {
            Event::Syscall => {
                let result = self.syscall();
                self.finish_trap(result);
            }
            Event::Interrupt => self.console_interrupt(),
            Event::Exception { vector, error, address } => self.exception(vector, error, address),
        }
        if self.check_every != 0 && self.operations.is_multiple_of(u64::from(self.check_every)) {
            self.check();
        }
    }

    /// Something was typed, perhaps.
    pub fn console_interrupt(&mut self) {
        let reader = self.console_reader;
        if reader.is_some() {
            self.wake(reader, 0);
        }
    }

    fn syscall(&mut self) -> Result<i32, Stop> {
        let r = self.regs;
        let task = self.task_here();
        match r.rax as i32 {
            trap::MACH_MSG | trap::DROVER_CALL => {
                let mut seventh = [0; 8];
                self.copyin(task, r.rsp.wrapping_add(8), &mut seventh)?;
                let last = u64::from_le_bytes(seventh);
                let mut args = MachMsg {
                    msg: r.rdi,
                    option: r.rsi as u32,
                    send_size: r.rdx as u32,
                    rcv_size: r.r10 as u32,
                    rcv_name: r.r8 as u32,
                    timeout: r.r9 as u32,
                    notify: last as u32,
                };
                let mut donation = None;
                if r.rax as i32 == trap::DROVER_CALL {
                    args.notify = 0;
                    if last != 0 {
                        let mut bytes = [0; size_of::<Donation>()];
                        self.copyin(task, last, &mut bytes)?;
                        donation = Donation::read_from_bytes(&bytes).ok();
                    }
                }
                self.trap_mach_msg(&args, donation)
            }
            trap::DROVER_RETURN => self.trap_return(r.rdi, r.rsi as u32),
            trap::DROVER_WAIT => self.trap_wait(r.rdi, r.rsi as u32, r.rdx, r.r10, r.r8),
            trap::DROVER_WAKE => self.trap_wake(r.rdi, r.rsi as u32),
            trap::DROVER_CRITICAL_END => self.trap_critical_end(),
            trap::DROVER_PAYER => self.trap_payer(r.rdi, r.rsi as u32),
            trap::DROVER_CLOCK => {
                self.regs.rax = self.machine.now();
                Err(Stop::Switched)
            }
            trap::DROVER_CALL_INFO => self.trap_call_info(r.rdi),
            trap::DROVER_THREAD_EXIT => self.trap_thread_exit(),
            trap::DROVER_CHARGE_IO => self.charge_io(r.rdi),
            number @ (trap::DROVER_ACCOUNT_SELF
            | trap::MACH_REPLY_PORT
            | trap::MACH_THREAD_SELF
            | trap::MACH_TASK_SELF
            | trap::MACH_HOST_SELF) => match self.trap_name(number) {
                // As on Mach a name, or null.
                Err(Stop::Error(_)) => Ok(MACH_PORT_NULL as i32),
                result => result.map(|name| name as i32),
            },
            trap::MACH_PRINT => self.trap_print(r.rdi),
            trap::SWTCH | trap::SWTCH_PRI | trap::THREAD_SWITCH => {
                self.quantum_end = 0;
                Ok(0)
            }
            // The system-call forms of kernel RPCs: the caller falls back to the RPC, as the ABI allows.
            -77..=-64 => Err(Stop::Error(MACH_SEND_INTERRUPTED)),
            // Null ports.
            -56 | -55 | -13..=-10 => Ok(0),
            -129..=-1 => Err(Stop::Error(KERN_INVALID_ARGUMENT)),
            _ => {
                self.bad_instruction();
                Err(Stop::Switched)
            }
        }
    }

    /// The traps that answer with a name.
    fn trap_name(&mut self, number: i32) -> Result<u32, Stop> {
        let task = self.task_here();
        let payer = self.payer_in(task);
        let port = match number {
            trap::MACH_REPLY_PORT => return self.reply_port(task, payer),
            trap::MACH_THREAD_SELF => self.get(self.current).port,
            trap::MACH_TASK_SELF => self.get(task).port,
            trap::MACH_HOST_SELF => self.host,
            _ => {
                // At home: the account itself. In a call: the caller's, for sessions only.
                let act = self.here();
                let account = self.get(act).payer;
                if self.get(act).lower.is_none() {
                    self.account_port(account)?
                } else {
                    self.patron_port(account)?
                }
            }
        };
        self.insert_send(task, port, payer)
    }

    fn trap_print(&mut self, address: u64) -> Result<i32, Stop> {
        let task = self.task_here();
        let mut text = [0; PRINT_MAX];
        let mut len = 0;
        while len < PRINT_MAX {
            self.copyin(task, address.wrapping_add(len as u64), &mut text[len..=len])?;
            if text[len] == 0 {
                break;
            }
            len += 1;
        }
        self.machine.console_write(&text[..len]);
        Ok(0)
    }

    fn trap_call_info(&mut self, address: u64) -> Result<i32, Stop> {
        self.charge_time();
        let act = self.here();
        let a = self.get(act);
        let info = CallInfo {
            remaining: a.left,
            payer: self.get(self.payer_account(act)).id,
            tid: self.get(self.current).tid,
            depth: u64::from(self.get(self.current).depth - 1),
            now_ns: self.charged_until,
        };
        let task = a.task;
        self.copyout(task, address, info.as_bytes())?;
        Ok(0)
    }

    fn trap_thread_exit(&mut self) -> Result<i32, Stop> {
        let current = self.current;
        if self.get(current).depth != 1 {
            return Err(Stop::Error(KERN_FAILURE));
        }
        self.thread_terminate(current);
        Err(Stop::Switched)
    }

    /// Charges I/O to the current payer, under the call's ceiling.
    ///
    /// # Errors
    /// `KERN_RESOURCE_SHORTAGE` (nothing charged).
    fn charge_io(&mut self, units: u64) -> Result<i32, Stop> {
        let act = self.here();
        let account = self.flow_account(self.payer_account(act));
        let r = self.get(account).resources[IO];
        if r.limit != UNLIMITED && unused(&r) < units {
            return Err(Stop::Error(KERN_RESOURCE_SHORTAGE));
        }
        if self.ceilings(act).is_some() {
            let a = self.get_mut(act);
            if a.left.io < units {
                return Err(Stop::Error(KERN_RESOURCE_SHORTAGE));
            }
            if a.left.io != UNLIMITED {
                a.left.io -= units;
            }
            a.used_io = a.used_io.saturating_add(units);
        }
        let r = &mut self.get_mut(account).resources[IO];
        r.charged = r.charged.saturating_add(units);
        Ok(0)
    }

    fn exception(&mut self, vector: u8, error: u64, address: u64) {
        if vector == VECTOR_NO_FPU {
            if self.fpu_fault().is_ok() {
                return;
            }
        } else if vector == VECTOR_PAGE_FAULT {
            let access = if error & 16 != 0 {
                Access::Execute
            } else if error & 2 != 0 {
                Access::Write
            } else {
                Access::Read
            };
            let task = self.task_here();
            match self.fault(task, address, access) {
                Ok(()) | Err(Stop::Again) => return,
                Err(Stop::Error(code @ (KERN_RESOURCE_SHORTAGE | KERN_MEMORY_ERROR))) => {
                    self.memory_shortage(code, address);
                    return;
                }
                Err(_) => {}
            }
        }
        self.user_fault(vector, error, address);
    }

    /// A page could not be had: in a server the call exits; at home the thread's task has lost.
    fn memory_shortage(&mut self, code: i32, address: u64) {
        let act = self.here();
        if self.get(act).lower.is_some() && self.get(act).phase == RUNNING {
            self.request_exit(act, Exit::Ceiling, code);
            if self.get(act).phase == RUNNING || self.get(act).escrow_frames > 0 {
                return;
            }
        }
        self.user_fault(VECTOR_PAGE_FAULT, 0, address);
    }

    /// A trap number that does not exist.
    fn bad_instruction(&mut self) {
        self.user_fault(6, 0, 0);
    }

    /// User code did what it may not. In a call outside a critical section the call ends with `KERN_FAILURE`; inside one the server's state is
    /// lost and so is the server; at home the task is terminated (exception ports can be set and read, but nothing is raised to them yet).
    fn user_fault(&mut self, vector: u8, error: u64, address: u64) {
        let act = self.here();
        let a = *self.get(act);
        let task = a.task;
        log::warn!(
            "task {} ({}): {} ({vector}) error {error:#x} at {:#x}, address {address:#x}, rsp {:#x}{}",
            self.get(task).id,
            core::str::from_utf8(&self.get(task).name).unwrap_or("?").trim_end_matches('\0'),
            exception_name(vector),
            self.regs.rip,
            self.regs.rsp,
            if a.lower.is_some() { ", in a call" } else { "" },
        );
        if a.lower.is_none() {
            let _ = self.task_terminate(task);
            return;
        }
        if self.critical_depth(act) > 0 {
            self.server_broken(task);
            return;
        }
        self.request_exit(act, Exit::Ceiling, KERN_FAILURE);
        // Its stack is not to be trusted: no unwind entry.
        let thread = self.current;
        if self.get(thread).top == act {
            let mut left = 1024;
            while self.finish_exit(thread) == Err(Stop::Again) && left > 0 {
                left -= 1;
            }
        }
    }
}
