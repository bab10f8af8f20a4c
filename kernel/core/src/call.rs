//! Migrating calls: admission, the new activation, the return.
//!
//! Decode and check everything, reserve, then commit: a refused call changes nothing. The crossing itself moves no charge: the payer stays, only the
//! ceilings of the callee are armed (the minimum of the offer and what remains to the caller). See `docs/call-path.md`.

use drover_abi::account::{CALLS, FRAMES, UNLIMITED};
use drover_abi::donation::Donation;
use drover_abi::message::{HEADER_SIZE, Header, bits, msgt, option};
use drover_abi::port::NOTIFY_SEND_ONCE;
use drover_abi::regs::UserRegs;
use drover_abi::returns::{
    DROVER_LOCK_HELD, KERN_FAILURE, KERN_INVALID_ARGUMENT, KERN_RESOURCE_SHORTAGE, KERN_TERMINATED,
    KERN_TIMEDOUT, MACH_RCV_INVALID_DATA, MACH_RCV_TOO_LARGE, MACH_SEND_INVALID_DEST,
};
use drover_abi::trap::{PAYER_ACCOUNT, PAYER_CALL};
use drover_abi::window::{HOME_BASE, LocalBlock, REQUEST, STACK_TOP, WINDOW_SIZE, WINDOWS_END};
use zerocopy::IntoBytes;

use crate::account::Payer;
use crate::activation::{Activation, Exit};
use crate::kernel::{Kernel, Stop};
use crate::machine::Machine;
use crate::message::MachMsg;
use crate::object::{Kind, Ref};
use crate::port::{MESSAGE, Port};
use crate::task::{TASK_ALIVE, Task};
use crate::thread::{RESUME_RECEIVE, RESUME_USER, Receive, Thread};

/// Most activations on one thread.
pub const MAX_DEPTH: u32 = 32;
/// `rflags` of a fresh activation: interrupts on.
pub const USER_RFLAGS: u64 = 0x202;
/// Bytes of a MIG error reply: header, RetCode descriptor, RetCode.
const ERROR_REPLY: usize = 48;

/// A MIG error reply (`mig_reply_error_t`).
pub(crate) fn error_reply(request_id: i32, reply_name: u32, code: i32) -> [u8; ERROR_REPLY] {
    let mut bytes = [0; ERROR_REPLY];
    let header = Header {
        bits: bits(0, msgt::PORT_SEND_ONCE),
        size: ERROR_REPLY as u32,
        remote: 0,
        local: u64::from(reply_name),
        seqno: 0,
        id: request_id.wrapping_add(100),
    };
    bytes[..HEADER_SIZE].copy_from_slice(header.as_bytes());
    bytes[32..40].copy_from_slice(&0x0000_0001_2000_2002u64.to_le_bytes());
    bytes[40..44].copy_from_slice(&code.to_le_bytes());
    bytes
}

impl<M: Machine> Kernel<M> {
    /// Address of the local block of an activation (0: it has none that could be found).
    pub(crate) fn local_block(&self, act: Ref<Activation>, rsp: u64) -> u64 {
        let window = self.get(act).window;
        if window != 0 {
            return window;
        }
        if (HOME_BASE..WINDOWS_END).contains(&rsp) { rsp & !(WINDOW_SIZE - 1) } else { 0 }
    }

    /// Depth of critical sections of an activation, as its local block says (0 if that cannot be read).
    pub(crate) fn critical_depth(&mut self, act: Ref<Activation>) -> u32 {
        let rsp =
            if self.current.is_some() && self.here() == act { self.regs.rsp } else { self.get(act).regs.rsp };
        let block = self.local_block(act, rsp);
        let task = self.get(act).task;
        if block == 0 || task.is_none() {
            return 0;
        }
        self.read_u32(task, block + core::mem::offset_of!(LocalBlock, critical) as u64).unwrap_or(0)
    }

    /// Calls through an RPC port on the current thread. On success the thread is in the server (`Stop::Switched`).
    ///
    /// # Errors
    /// `DROVER_LOCK_HELD`; `MACH_SEND_INVALID_DEST` (the server is dying); `KERN_RESOURCE_SHORTAGE` (depth, calls, frames, or the unwind reserve
    /// is more than remains); `KERN_TIMEDOUT`; what the transfer of the message finds. Nothing changed then.
    pub(crate) fn call_send(
        &mut self,
        port: Ref<Port>,
        args: &MachMsg,
        donation: Option<Donation>,
    ) -> Result<i32, Stop> {
        let caller = self.here();
        let client = self.get(caller).task;
        if self.critical_depth(caller) > 0 {
            return Err(Stop::Error(DROVER_LOCK_HELD));
        }
        let p = *self.get(port);
        let server = p.receiver;
        if server.is_none() || p.head.state != 0 || self.get(server).head.state != TASK_ALIVE {
            return Err(Stop::Error(MACH_SEND_INVALID_DEST));
        }
        self.charge_time();
        let offer = donation.unwrap_or(Donation::ALL);
        if offer.reserved != 0 {
            return Err(Stop::Error(KERN_INVALID_ARGUMENT));
        }
        let left = attenuate(&offer, &self.get(caller).left);
        let depth = self.get(self.current).depth;
        if left.deadline_ns <= self.charged_until {
            return Err(Stop::Error(KERN_TIMEDOUT));
        }
        if self.get(caller).left.depth == 0
            || depth >= MAX_DEPTH
            || left.cpu_ns < p.unwind_cpu
            || left.frames < p.unwind_frames
        {
            return Err(Stop::Error(KERN_RESOURCE_SHORTAGE));
        }
        let account = self.payer_account(caller);
        let payer = Payer { account, call: self.ceilings(caller) };
        self.charge(payer, CALLS, 1)?;
        let act = match self.open_activation(server, port, payer, left) {
            Ok(act) => act,
            Err(stop) => {
                self.uncharge(account, CALLS, 1);
                return Err(stop);
            }
        };
        let size = match self.transfer_request(client, args.msg, args.send_size, act, port, args) {
            Ok(size) => size,
            Err(stop) => {
                self.drop_activation(act);
                return Err(stop);
            }
        };
        // Committed: nothing below can fail.
        let receive_deadline = self.timeout(args, option::RCV_TIMEOUT);
        let caller_frames = self.get(caller).left.frames;
        let a = self.get_mut(act);
        a.reply_address = args.msg;
        a.reply_size = args.rcv_size;
        a.lower = caller;
        // What the crossing took of the caller's.
        a.left.frames = a.left.frames.min(caller_frames);
        a.offered_frames = a.left.frames.saturating_add(u64::from(a.window_frames));
        if a.one_way != 0 && args.option & option::RCV_MSG != 0 {
            a.receive_option = args.option;
            a.receive_notify = args.notify;
            a.reply_name = args.rcv_name;
            a.receive_deadline = receive_deadline;
        }
        let window = a.window;
        let regs = self.regs;
        let c = self.get_mut(caller);
        c.upper = act;
        c.regs = regs;
        self.fpu_leave(caller);
        let current = self.current;
        let t = self.get_mut(current);
        t.top = act;
        t.depth += 1;
        t.restarting = 0;
        self.regs = UserRegs {
            rip: p.entry,
            rsp: window + STACK_TOP - 8,
            rdi: window + REQUEST,
            rsi: u64::from(size),
            rdx: window,
            rflags: USER_RFLAGS,
            ..UserRegs::default()
        };
        if p.receiver == server {
            let p = self.get_mut(port);
            p.calls_total += 1;
        }
        self.get_mut(server).visits_total += 1;
        Err(Stop::Switched)
    }

    /// A new activation in `server` with its window and escrow; CALLS is charged already.
    fn open_activation(
        &mut self,
        server: Ref<Task>,
        port: Ref<Port>,
        payer: Payer,
        left: Donation,
    ) -> Result<Ref<Activation>, Stop> {
        let p = *self.get(port);
        self.escrow(payer.account, p.unwind_frames)?;
        let act = match self.new_object::<Activation>(payer) {
            Ok(act) => act,
            Err(stop) => {
                self.unescrow(payer.account, p.unwind_frames);
                return Err(stop);
            }
        };
        let (thread, depth) = (self.current, self.get(self.current).depth);
        let a = self.get_mut(act);
        (a.thread, a.task, a.payer) = (thread, server, payer.account);
        a.left = left;
        a.left.depth = left.depth.min(u64::from(MAX_DEPTH - depth));
        a.left.frames = left.frames - p.unwind_frames;
        a.left.cpu_ns = if left.cpu_ns == UNLIMITED { UNLIMITED } else { left.cpu_ns - p.unwind_cpu };
        (a.escrow_cpu, a.escrow_frames) = (p.unwind_cpu, p.unwind_frames);
        self.visit_link(act);
        self.call_link(act, port);
        let opened = self.open_window(act, p.payload);
        if let Err(stop) = opened {
            self.uncount_drop(act);
            return Err(stop);
        }
        Ok(act)
    }

    fn open_window(&mut self, act: Ref<Activation>, payload: u64) -> Result<(), Stop> {
        let account = self.get(act).payer;
        let payer = Payer { account, call: act };
        self.window_open(act, payer)?;
        let first = self.window_start(act, payer)?;
        let a = self.get(act);
        let window = a.window;
        let block = LocalBlock {
            this: window,
            critical: 0,
            exit_pending: 0,
            tid: self.get(a.thread).tid,
            payer: self.get(account).id,
            payload,
            in_call: 1,
            user: [0; 26],
        };
        self.machine.page_mut(first).0[..size_of::<LocalBlock>()].copy_from_slice(block.as_bytes());
        Ok(())
    }

    /// Frees an activation that never ran; CALLS stays charged for the caller to take back.
    fn uncount_drop(&mut self, act: Ref<Activation>) {
        let account = self.get(act).payer;
        self.charge_calls_keep(account);
        self.drop_activation(act);
    }

    fn charge_calls_keep(&mut self, account: Ref<crate::account::Account>) {
        // drop_activation takes one call back.
        self.get_mut(account).resources[CALLS].charged += 1;
    }

    /// Frees an activation that never ran, with all that it holds.
    fn drop_activation(&mut self, act: Ref<Activation>) {
        while self.window_close(act) == Err(Stop::Again) {}
        self.activation_free(act);
    }

    /// Unlinks and frees an activation in a server whose window is closed: escrow, CALLS, the port's count, FPU state.
    pub(crate) fn activation_free(&mut self, act: Ref<Activation>) {
        let a = *self.get(act);
        debug_assert_eq!(a.window_frames, 0);
        if a.task.is_some() {
            self.visit_unlink(act);
        }
        self.call_unlink(act);
        self.unescrow(a.payer, a.escrow_frames);
        self.uncharge(a.payer, CALLS, 1);
        self.fpu_free(act);
        self.free_object(act);
        self.wake_destroyer(a.payer);
    }

    pub(crate) fn visit_link(&mut self, act: Ref<Activation>) {
        let task = self.get(act).task;
        let head = self.get(task).visits;
        let a = self.get_mut(act);
        a.visit_next = head;
        a.visit_prev = Ref::NONE;
        if head.is_some() {
            self.get_mut(head).visit_prev = act;
        }
        self.get_mut(task).visits = act;
    }

    pub(crate) fn visit_unlink(&mut self, act: Ref<Activation>) {
        let a = *self.get(act);
        if a.visit_prev.is_some() {
            self.get_mut(a.visit_prev).visit_next = a.visit_next;
        } else {
            self.get_mut(a.task).visits = a.visit_next;
        }
        if a.visit_next.is_some() {
            self.get_mut(a.visit_next).visit_prev = a.visit_prev;
        }
    }

    /// The trap `drover_return(reply, size)`.
    ///
    /// # Errors
    /// `KERN_FAILURE` outside a call; a bad reply's transfer error (the server may try another).
    pub(crate) fn trap_return(&mut self, address: u64, size: u32) -> Result<i32, Stop> {
        let act = self.here();
        let a = *self.get(act);
        if a.lower.is_none() {
            return Err(Stop::Error(KERN_FAILURE));
        }
        self.charge_time();
        if a.exit != 0 {
            // The unwind entry has done its work, or the reply came too late.
            let thread = self.current;
            self.finish_exit(thread)?;
            return Err(Stop::Switched);
        }
        if self.critical_depth(act) > 0 {
            // A lock would be lost with the window.
            return Err(Stop::Error(DROVER_LOCK_HELD));
        }
        let client = self.get(a.lower).task;
        let mut code = 0;
        if a.one_way == 0 {
            if size == 0 {
                return Err(Stop::Error(KERN_INVALID_ARGUMENT));
            }
            if self.get(act).head.state == 0 {
                code = self.transfer_reply(act, address, size, client, a.reply_address, a.reply_size)?;
                // The window may take several steps to close; the reply is sent only once.
                let a = self.get_mut(act);
                a.head.state = 1;
                a.exit_code = code;
            } else {
                code = self.get(act).exit_code;
            }
        } else if size != 0 && self.get(act).head.state == 0 {
            // A call from inside the return would come back to it. To a message port, or not at all.
            let header = self.header_in(a.task, address)?;
            let port = self.port_of_send(a.task, header.remote as u32);
            if !port.is_ok_and(|port| self.get(port).head.flags == MESSAGE) {
                return Err(Stop::Error(MACH_SEND_INVALID_DEST));
            }
            let args = MachMsg { msg: address, option: 1, send_size: size, ..MachMsg::default() };
            self.trap_mach_msg(&args, None)?;
            self.get_mut(act).head.state = 1;
        }
        self.pop(self.current, code)?;
        Err(Stop::Switched)
    }

    /// Takes the top activation (in a server, done or given up) off its thread; the caller's trap returns `code`.
    /// A client that only sent goes on with the receive half of its `mach_msg`, if it asked for one.
    ///
    /// # Errors
    /// `Stop::Again`: the window is large; call again.
    pub(crate) fn pop(&mut self, thread: Ref<Thread>, code: i32) -> Result<(), Stop> {
        let act = self.get(thread).top;
        self.call_ports_kill(act)?;
        self.window_close(act)?;
        self.fpu_free(act);
        let a = *self.get(act);
        let lower = a.lower;
        let before = self.get(a.payer).resources[FRAMES].charged;
        self.activation_free(act);
        let freed = before - self.get(a.payer).resources[FRAMES].charged;
        // What the call charged and left behind, queued messages and the like, comes off the caller's ceiling; the activation's frame goes back to it.
        let kept = a.offered_frames.saturating_sub(a.left.frames);
        let t = self.get_mut(thread);
        t.top = lower;
        t.depth -= 1;
        (t.resume, t.restarting, t.wake_code) = (RESUME_USER, 0, 0);
        let l = self.get_mut(lower);
        l.upper = Ref::NONE;
        l.used_io = l.used_io.saturating_add(a.used_io);
        l.used_cpu += a.used_cpu;
        if l.payer_mode == 0 {
            if l.payer == a.payer && l.lower.is_some() {
                let most = l.offered_frames.saturating_sub(u64::from(l.window_frames));
                l.left.frames = l.left.frames.saturating_add(freed).min(most).saturating_sub(kept);
            }
            if l.left.cpu_ns != UNLIMITED {
                l.left.cpu_ns = l.left.cpu_ns.saturating_sub(a.used_cpu);
            }
            if l.left.io != UNLIMITED {
                l.left.io = l.left.io.saturating_sub(a.used_io);
            }
        }
        l.regs.rax = code as u32 as u64;
        let regs = l.regs;
        if a.receive_option != 0 && code == 0 {
            let t = self.get_mut(thread);
            t.resume = RESUME_RECEIVE;
            t.receive = Receive {
                address: a.reply_address,
                deadline: a.receive_deadline,
                size: a.reply_size,
                name: a.reply_name,
                option: a.receive_option,
                notify: a.receive_notify,
            };
        }
        if thread == self.current {
            self.regs = regs;
        }
        Ok(())
    }

    /// Writes the answer of a call that ended by an exit into the caller's buffer; what the caller's trap returns.
    pub(crate) fn deliver_exit(&mut self, act: Ref<Activation>) -> i32 {
        let a = *self.get(act);
        let client = self.get(a.lower).task;
        if a.one_way != 0 {
            return 0;
        }
        if client.is_none() {
            return MACH_RCV_INVALID_DATA;
        }
        let result = if a.exit == Exit::ServerDied as u8 {
            let header = Header {
                bits: bits(0, msgt::PORT_SEND_ONCE),
                size: HEADER_SIZE as u32,
                local: u64::from(a.reply_name),
                id: NOTIFY_SEND_ONCE,
                ..Header::default()
            };
            self.deliver(client, &a, header.as_bytes())
        } else {
            self.deliver(client, &a, &error_reply(a.request_id, a.reply_name, a.exit_code))
        };
        match result {
            Ok(()) => 0,
            Err(Stop::Error(code)) => code,
            Err(_) => MACH_RCV_INVALID_DATA,
        }
    }

    fn deliver(&mut self, client: Ref<Task>, a: &Activation, bytes: &[u8]) -> Result<(), Stop> {
        if (a.reply_size as usize) < bytes.len() {
            return Err(Stop::Error(MACH_RCV_TOO_LARGE));
        }
        self.copyout(client, a.reply_address, bytes).map_err(|_| Stop::Error(MACH_RCV_INVALID_DATA))
    }

    /// The trap `drover_payer(mode, account)`.
    ///
    /// # Errors
    /// `KERN_INVALID_ARGUMENT`; `KERN_INVALID_NAME` and others for a bad account name; `KERN_TERMINATED`: it is being destroyed.
    pub(crate) fn trap_payer(&mut self, mode: u64, name: u32) -> Result<i32, Stop> {
        if mode > PAYER_ACCOUNT {
            return Err(Stop::Error(KERN_INVALID_ARGUMENT));
        }
        let act = self.here();
        let task = self.get(act).task;
        let mut account = Ref::<crate::account::Account>::NONE;
        if mode == PAYER_ACCOUNT {
            account = Ref::from_raw(self.kernel_object(task, name, Kind::Account)?);
            if self.get(account).head.state != 0 {
                return Err(Stop::Error(KERN_TERMINATED));
            }
        }
        if self.get(act).head.flags != 0 {
            // An exit that overran its reserve stays at the server's expense.
            return Ok(0);
        }
        self.charge_time();
        let id = if account.is_some() { self.get(account).id } else { 0 };
        let a = self.get_mut(act);
        a.payer_mode = mode as u8;
        (a.payer_account, a.payer_id) = (account, id);
        debug_assert!(mode != PAYER_CALL || account.is_none());
        Ok(0)
    }

    /// Absolute deadline of a `mach_msg` half whose timeout option is `flag`.
    pub(crate) fn timeout(&self, args: &MachMsg, flag: u32) -> u64 {
        if args.option & flag == 0 {
            return u64::MAX;
        }
        self.machine.now() + u64::from(args.timeout) * 1_000_000
    }
}

/// The callee's ceilings: the offer, but no more than remains.
fn attenuate(offer: &Donation, left: &Donation) -> Donation {
    Donation {
        cpu_ns: offer.cpu_ns.min(left.cpu_ns),
        frames: offer.frames.min(left.frames),
        io: offer.io.min(left.io),
        deadline_ns: offer.deadline_ns.min(left.deadline_ns),
        depth: offer.depth.min(left.depth.saturating_sub(1)),
        accept: offer.accept.min(left.accept),
        retain: offer.retain.min(left.retain),
        reserved: 0,
    }
}
