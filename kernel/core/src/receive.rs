//! The receive half of `mach_msg`: from a port or a set, now or when something comes.
//!
//! A message leaves its queue only when the receiver's buffer has been found writable. Then its rights go to the receiver's name space, its memory to the receiver's
//! payer, and the message's own frames back to the sender's account.

use drover_abi::message::{BITS_COMPLEX, HEADER_SIZE, Header, bits, msgt, option};
use drover_abi::message::{local_disposition, remote_disposition};
use drover_abi::port::{MACH_PORT_NULL, NOTIFY_SEND_ONCE};
use drover_abi::returns::{
    MACH_RCV_BODY_ERROR, MACH_RCV_HEADER_ERROR, MACH_RCV_IN_SET, MACH_RCV_INVALID_DATA,
    MACH_RCV_INVALID_NAME, MACH_RCV_INVALID_NOTIFY, MACH_RCV_TIMED_OUT, MACH_RCV_TOO_LARGE,
};
use drover_abi::vm::VM_MAX_ADDRESS;
use zerocopy::IntoBytes;

use crate::fault::Access;
use crate::kernel::{Kernel, Stop};
use crate::machine::Machine;
use crate::message::Message;
use crate::object::Ref;
use crate::port::{MESSAGE, Port, SET};
use crate::right::{PORT_SET, RECEIVE};
use crate::task::Task;
use crate::thread::{ON_RECEIVE, RESUME_RECEIVE, Receive};
use crate::transfer::BITS_OTHER;

/// Bytes copied at a time from a message to the receiver.
const CHUNK: usize = 512;

impl<M: Machine> Kernel<M> {
    /// Receives for the current thread, which is in `task`.
    ///
    /// # Errors
    /// The receive codes of `mach_msg`; `Stop::Blocked`; `Stop::Switched`: it goes on when the thread runs again. Never `Stop::Again`, so it may follow a send.
    pub(crate) fn receive(&mut self, task: Ref<Task>, receive: &Receive) -> Result<i32, Stop> {
        match self.receive_once(task, receive) {
            Err(Stop::Again) => {
                let current = self.current;
                let t = self.get_mut(current);
                (t.receive, t.resume, t.wake_code) = (*receive, RESUME_RECEIVE, 0);
                Err(Stop::Switched)
            }
            other => other,
        }
    }

    /// Goes on with a receive that was parked. `wake_code` of the thread not 0: it is given up with that code.
    ///
    /// # Errors
    /// As [`Self::receive`].
    pub(crate) fn resume_receive(&mut self) -> Result<i32, Stop> {
        let current = self.current;
        let t = self.get_mut(current);
        let (code, receive) = (t.wake_code, t.receive);
        if code != 0 {
            return Err(Stop::Error(code));
        }
        let result = self.receive(self.task_here(), &receive);
        self.reap();
        result
    }

    fn receive_once(&mut self, task: Ref<Task>, receive: &Receive) -> Result<i32, Stop> {
        if receive.option & option::RCV_NOTIFY != 0 {
            return Err(Stop::Error(MACH_RCV_INVALID_NOTIFY));
        }
        let named = self.receive_from(task, receive.name)?;
        let port = if self.get(named).head.flags == SET { self.get(named).ready } else { named };
        if port.is_some() {
            let message = self.get(port).queue_head;
            if message.is_some() {
                return self.receive_message(task, port, message, receive);
            }
            if self.get(port).send_once_died != 0 {
                return self.receive_died(task, port, receive);
            }
        }
        if receive.deadline <= self.machine.now() {
            return Err(Stop::Error(MACH_RCV_TIMED_OUT));
        }
        self.may_wait()?;
        // A sender that was woken may have ended before it ran; the others must not wait for it.
        self.wake_senders(named);
        let current = self.current;
        self.get_mut(current).receive = *receive;
        self.wait_link(named, ON_RECEIVE);
        Err(self.block(ON_RECEIVE, named.raw(), RESUME_RECEIVE, receive.deadline))
    }

    /// The port or set to receive from.
    fn receive_from(&mut self, task: Ref<Task>, name: u32) -> Result<Ref<Port>, Stop> {
        let s = self.name_check(task, name).ok_or(Stop::Error(MACH_RCV_INVALID_NAME))?;
        let slot = self.slot(s);
        let (kind, port) = (slot.kind, slot.port);
        if kind & PORT_SET != 0 {
            return Ok(port);
        }
        if kind & RECEIVE == 0 || self.get(port).head.flags != MESSAGE {
            return Err(Stop::Error(MACH_RCV_INVALID_NAME));
        }
        if self.get(port).set.is_some() { Err(Stop::Error(MACH_RCV_IN_SET)) } else { Ok(port) }
    }

    /// Makes the receiver's buffer writable.
    fn buffer_check(&mut self, task: Ref<Task>, address: u64, size: u32) -> Result<(), Stop> {
        let wrong = Stop::Error(MACH_RCV_INVALID_DATA);
        let end = address.checked_add(u64::from(size)).filter(|&end| end <= VM_MAX_ADDRESS).ok_or(wrong)?;
        let mut at = address;
        while at < end {
            self.user_frame(task, at, Access::Write).map_err(|e| if e == Stop::Again { e } else { wrong })?;
            at = (at | 0xfff) + 1;
        }
        Ok(())
    }

    fn receive_message(
        &mut self,
        task: Ref<Task>,
        port: Ref<Port>,
        message: Ref<Message>,
        receive: &Receive,
    ) -> Result<i32, Stop> {
        let m = *self.get(message);
        let fits = m.size <= receive.size;
        if !fits && receive.option & option::RCV_LARGE != 0 {
            self.write_size(task, receive.address, m.size);
            return Err(Stop::Error(MACH_RCV_TOO_LARGE));
        }
        let shown = if fits { m.size } else { (HEADER_SIZE as u32).min(receive.size) };
        self.buffer_check(task, receive.address, shown)?;
        let rights = if fits { m.rights } else { 0 };
        // What cannot be reserved fails right by right.
        if self.names_reserve(task, rights + 1) == Err(Stop::Again) {
            return Err(Stop::Again);
        }
        // Commit.
        self.queue_remove(port, message);
        self.turn_over(port);
        let reply = self.slot_take(Self::message_local(message));
        let mut failed = 0;
        let reply_name = self.right_deliver(task, reply, &mut failed);
        let whole = fits && failed == 0;
        let mut header = Header {
            bits: m.bits & BITS_OTHER,
            size: m.size,
            remote: u64::from(reply_name),
            local: 0,
            seqno: self.next_seqno(port),
            id: m.id,
        };
        let (local_bits, local) = self.local_field(port, remote_disposition(m.bits));
        header.local = local;
        header.bits |= bits(local_disposition(m.bits), local_bits);
        let mut body_failed = 0;
        if whole {
            header.bits |= m.bits & BITS_COMPLEX;
            let payer = self.payer_in(task);
            let window = self.window_for(self.here());
            body_failed = self.body_give(message, task, payer, window);
            self.body_out(message, task, receive.address, m.size);
        }
        let length = (shown as usize).min(HEADER_SIZE);
        let written = self.copyout(task, receive.address, &header.as_bytes()[..length]);
        debug_assert!(written.is_ok());
        let dest = self.slot_take(Self::message_remote(message));
        self.dest_consume(dest);
        self.message_destroy(message);
        Ok(match (fits, failed, body_failed) {
            (false, ..) => MACH_RCV_TOO_LARGE,
            (_, 0, 0) => 0,
            (_, 0, body) => MACH_RCV_BODY_ERROR | body,
            (_, header, _) => MACH_RCV_HEADER_ERROR | header,
        })
    }

    /// Copies the bytes of a body to the receiver's buffer, which is writable.
    fn body_out(&mut self, message: Ref<Message>, task: Ref<Task>, address: u64, size: u32) {
        let mut buffer = [0; CHUNK];
        let mut at = HEADER_SIZE;
        while at < size as usize {
            let n = (size as usize - at).min(CHUNK);
            self.message_read(message, at as u32, &mut buffer[..n]);
            let written = self.copyout(task, address + at as u64, &buffer[..n]);
            debug_assert!(written.is_ok());
            at += n;
        }
    }

    /// A member of a set that was served goes to the end of the line.
    fn turn_over(&mut self, port: Ref<Port>) {
        self.set_unready(port);
        self.set_ready(port);
    }

    /// The notification "send-once right died", which is only a count.
    fn receive_died(&mut self, task: Ref<Task>, port: Ref<Port>, receive: &Receive) -> Result<i32, Stop> {
        let size = HEADER_SIZE as u32;
        if receive.size < size {
            if receive.option & option::RCV_LARGE != 0 {
                self.write_size(task, receive.address, size);
            } else {
                self.get_mut(port).send_once_died -= 1;
                self.turn_over(port);
            }
            return Err(Stop::Error(MACH_RCV_TOO_LARGE));
        }
        self.buffer_check(task, receive.address, size)?;
        self.get_mut(port).send_once_died -= 1;
        self.turn_over(port);
        let (local_bits, local) = self.local_field(port, msgt::PORT_SEND_ONCE);
        let header = Header {
            bits: bits(0, local_bits),
            size,
            remote: u64::from(MACH_PORT_NULL),
            local,
            seqno: self.next_seqno(port),
            id: NOTIFY_SEND_ONCE,
        };
        let written = self.copyout(task, receive.address, header.as_bytes());
        debug_assert!(written.is_ok());
        Ok(0)
    }
}
