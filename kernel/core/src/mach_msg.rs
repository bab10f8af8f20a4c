//! The trap `mach_msg`: the send half, and where a message goes.
//!
//! A send to a message port builds a [`Message`] and queues it; to an RPC port it becomes a call, to a kernel object a kernel RPC, both on the
//! sender's own thread. A sender that finds the queue full parks *before* anything is taken from it and executes the trap again when woken, so a failed or
//! interrupted send has changed nothing and needs no rights given back.
//!
//! Differences from Mach that a program could see: a full queue is noticed before errors in the body; a sender blocked at a port that dies gets `MACH_SEND_INVALID_DEST` (its name is
//! dead by then). `MACH_SEND_CANCEL` is refused with `MACH_SEND_INVALID_NOTIFY`, `MACH_RCV_NOTIFY` with `MACH_RCV_INVALID_NOTIFY`.

use drover_abi::donation::Donation;
use drover_abi::message::{BITS_COMPLEX, Header, option, remote_disposition};
use drover_abi::returns::{
    MACH_SEND_INVALID_DATA, MACH_SEND_INVALID_DEST, MACH_SEND_INVALID_NOTIFY, MACH_SEND_NO_NOTIFY,
    MACH_SEND_TIMED_OUT, MACH_SEND_WILL_NOTIFY,
};

use crate::kernel::{Kernel, Stop};
use crate::machine::Machine;
use crate::message::{MESSAGE_MAX, MachMsg, Message, PREPARED_ACCEPTED};
use crate::object::Ref;
use crate::port::{KERNEL, MESSAGE, Port, RPC};
use crate::right::{SEND, SEND_ONCE, received_disposition};
use crate::task::Task;
use crate::thread::{ON_SEND, RESUME_RESTART, Receive};
use crate::transfer::{Source, check_size, header_of};

impl<M: Machine> Kernel<M> {
    /// The trap `mach_msg` (or `drover_call`, which has a donation).
    ///
    /// # Errors
    /// The codes of `mach_msg`; `Stop::Blocked`, `Stop::Again`, `Stop::Switched`.
    pub(crate) fn trap_mach_msg(&mut self, args: &MachMsg, donation: Option<Donation>) -> Result<i32, Stop> {
        let result = self.mach_msg(args, donation);
        self.reap();
        result
    }

    fn mach_msg(&mut self, args: &MachMsg, donation: Option<Donation>) -> Result<i32, Stop> {
        let task = self.task_here();
        if args.option & option::SEND_MSG != 0 {
            check_size(args.send_size, MESSAGE_MAX)?;
            if args.option & option::SEND_CANCEL != 0 {
                return Err(Stop::Error(MACH_SEND_INVALID_NOTIFY));
            }
            let header = self.header_in(task, args.msg)?;
            let port = self
                .port_of_send(task, header.remote as u32)
                .map_err(|_| Stop::Error(MACH_SEND_INVALID_DEST))?;
            match self.get(port).head.flags {
                RPC => return self.call_send(port, args, donation),
                KERNEL => return self.kernel_send(port, args),
                _ => {
                    if args.option & option::RCV_MSG != 0 {
                        // Sending and waiting for the answer is a call, whoever carries it out.
                        self.may_wait()?;
                    }
                    let code = self.message_send(task, args, &header, port)?;
                    if code != 0 {
                        return Ok(code);
                    }
                }
            }
        }
        if args.option & option::RCV_MSG == 0 {
            return Ok(0);
        }
        let receive = Receive {
            address: args.msg,
            // A call to a message port has only its deadline to bound it: the server pays for its own work.
            deadline: self
                .deadline(args.option & option::RCV_TIMEOUT != 0, args.timeout)
                .min(donation.map_or(u64::MAX, |d| d.deadline_ns)),
            size: args.rcv_size,
            name: args.rcv_name,
            option: args.option,
            notify: args.notify,
        };
        self.receive(task, &receive)
    }

    /// Absolute deadline `ms` milliseconds from now, `u64::MAX` = none.
    fn deadline(&self, timed: bool, ms: u32) -> u64 {
        if timed { self.machine.now().saturating_add(u64::from(ms) * 1_000_000) } else { u64::MAX }
    }

    fn message_send(
        &mut self,
        task: Ref<Task>,
        args: &MachMsg,
        header: &Header,
        port: Ref<Port>,
    ) -> Result<i32, Stop> {
        self.header_mark(task, header)?;
        let once = received_disposition(remote_disposition(header.bits))
            == drover_abi::message::msgt::PORT_SEND_ONCE;
        let mut accepted = Ref::NONE;
        if self.queue_full(port, if once { SEND_ONCE } else { SEND }) {
            let full = self.send_full(task, args, header, port);
            match full {
                Ok(notification) => accepted = notification,
                Err(stop) => {
                    self.header_unmark(task, header);
                    return Err(stop);
                }
            }
        }
        let payer = self.payer_in(task);
        let complex = header.bits & BITS_COMPLEX != 0;
        let built =
            self.message_build(task, Some(header), complex, Source::User(args.msg), args.send_size, payer);
        let message = match built {
            Ok(message) => message,
            Err(stop) => {
                self.header_unmark(task, header);
                if accepted.is_some() {
                    let right = self.notify_disarm(accepted);
                    self.count_off(right.port, right.kind);
                }
                return Err(stop);
            }
        };
        if accepted.is_some() {
            self.get_mut(accepted).of = message.raw();
            self.get_mut(message).accepted = accepted;
        }
        self.message_deliver(message, port);
        Ok(if accepted.is_some() { MACH_SEND_WILL_NOTIFY } else { 0 })
    }

    /// Queues a message, unless it would put a receive right into its own queue.
    pub(crate) fn message_deliver(&mut self, message: Ref<Message>, port: Ref<Port>) {
        if self.message_is_circular(message, port) {
            self.message_destroy(message);
        } else {
            self.queue_add(port, message);
        }
    }

    /// The queue is full: a prepared notification if the message may be queued by force, else the sender waits.
    fn send_full(
        &mut self,
        task: Ref<Task>,
        args: &MachMsg,
        header: &Header,
        port: Ref<Port>,
    ) -> Result<Ref<Message>, Stop> {
        let notify = args.option & option::SEND_NOTIFY != 0;
        let timed = args.option & option::SEND_TIMEOUT != 0;
        let t = self.get(self.current);
        let deadline = if t.restarting != 0 {
            t.receive.deadline
        } else {
            self.deadline(timed || notify, if timed { args.timeout } else { 0 })
        };
        if deadline > self.machine.now() {
            self.may_wait()?;
            let current = self.current;
            let t = self.get_mut(current);
            t.restarting = 1;
            (t.receive.deadline, t.receive.name) = (deadline, header.remote as u32);
            self.wait_link(port, ON_SEND);
            return Err(self.block(ON_SEND, port.raw(), RESUME_RESTART, deadline));
        }
        if !notify {
            return Err(Stop::Error(MACH_SEND_TIMED_OUT));
        }
        let target =
            self.port_of_receive(task, args.notify).map_err(|_| Stop::Error(MACH_SEND_INVALID_NOTIFY))?;
        if self.get(target).head.flags != MESSAGE {
            return Err(Stop::Error(MACH_SEND_INVALID_NOTIFY));
        }
        let payer = self.payer_in(task);
        let message =
            self.notify_new(PREPARED_ACCEPTED, 0, payer).map_err(|_| Stop::Error(MACH_SEND_NO_NOTIFY))?;
        self.message_write(message, 40, &(header.remote as u32).to_le_bytes());
        let right = self.send_once_new(target);
        self.notify_arm(message, right);
        Ok(message)
    }

    /// Sends a raw message (names are `task`'s, the header's too) on behalf of a task from the kernel's memory: a kernel reply to a reply right. It never waits: the queue
    /// limit does not hold for it. A reply to something else than a message port is dropped, its rights with it.
    ///
    /// # Errors
    /// The send codes of `mach_msg`. Nothing changed.
    pub(crate) fn send_reply_bytes(&mut self, task: Ref<Task>, bytes: &[u8]) -> Result<(), Stop> {
        let header = header_of(bytes).ok_or(Stop::Error(MACH_SEND_INVALID_DATA))?;
        let size = bytes.len() as u32;
        check_size(size, MESSAGE_MAX)?;
        self.header_mark(task, &header)?;
        let port = match self.port_of_send(task, header.remote as u32) {
            Ok(port) => port,
            Err(stop) => {
                self.header_unmark(task, &header);
                return Err(stop);
            }
        };
        let payer = self.payer_in(task);
        let complex = header.bits & BITS_COMPLEX != 0;
        match self.message_build(task, Some(&header), complex, Source::Bytes(bytes), size, payer) {
            Ok(message) if self.get(port).head.flags == MESSAGE => self.message_deliver(message, port),
            Ok(message) => self.message_destroy(message),
            Err(stop) => {
                self.header_unmark(task, &header);
                return Err(stop);
            }
        }
        Ok(())
    }
}
