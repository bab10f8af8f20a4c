//! Replies of calls: from the server's memory into the client's receive buffer.

use drover_abi::message::{BITS_COMPLEX, HEADER_SIZE, Header, bits, msgt, option};
use drover_abi::port::MACH_PORT_NULL;
use drover_abi::returns::{
    MACH_RCV_BODY_ERROR, MACH_RCV_INVALID_DATA, MACH_RCV_PORT_DIED, MACH_RCV_TOO_LARGE,
    MACH_SEND_INVALID_DEST,
};
use zerocopy::IntoBytes;

use super::{BITS_OTHER, Body, HEADER, Memories, Source, Target, Totals, check_size, size_if};
use crate::account::Payer;
use crate::activation::Activation;
use crate::kernel::{Kernel, Stop};
use crate::machine::Machine;
use crate::message::{MESSAGE_MAX, Message};
use crate::object::Ref;
use crate::port::Port;
use crate::right::{PLACE_MESSAGE, received_disposition};
use crate::task::Task;

impl<M: Machine> Kernel<M> {
    /// Copies the reply of the activation `act` from its task's memory to the client's receive buffer, with everything that it carries. The `mach_msg` result for the
    /// client: 0, `MACH_RCV_TOO_LARGE`, `MACH_RCV_INVALID_DATA`, `MACH_RCV_PORT_DIED` or `MACH_RCV_BODY_ERROR` with bits. Out-of-line memory beyond the call's accept
    /// window is not delivered.
    ///
    /// # Errors
    /// The reply is no good (a send code of `mach_msg`): nothing changed but bytes in the client's buffer, and the server may try another.
    pub(crate) fn transfer_reply(
        &mut self,
        act: Ref<Activation>,
        address: u64,
        size: u32,
        to: Ref<Task>,
        rcv_address: u64,
        rcv_size: u32,
    ) -> Result<i32, Stop> {
        check_size(size, MESSAGE_MAX)?;
        let a = *self.get(act);
        let header = self.header_in(a.task, address)?;
        if header.remote as u32 != MACH_PORT_NULL {
            return Err(Stop::Error(MACH_SEND_INVALID_DEST));
        }
        let reply_port = self.port_of_receive(to, a.reply_name);
        let client = self.get(act).lower;
        let payer = Payer { account: self.payer_account(client), call: self.ceilings(client) };
        let Ok(reply_port) = reply_port else {
            let message = self.reply_message(act, address, size, &header)?;
            self.message_destroy(message);
            return Ok(MACH_RCV_PORT_DIED);
        };
        if size > rcv_size {
            return self.reply_too_large(
                act,
                address,
                size,
                &header,
                reply_port,
                (to, rcv_address, rcv_size),
            );
        }
        let copied = self.copy_user(
            a.task,
            address + HEADER_SIZE as u64,
            to,
            rcv_address.saturating_add(HEADER_SIZE as u64),
            u64::from(size - HEADER),
        );
        let probed = copied.and_then(|()| self.copyout(to, rcv_address, header.as_bytes()));
        if probed == Err(Stop::Again) {
            return Err(Stop::Again);
        }
        if probed.is_err() {
            // Whose memory was it? A message made of the reply says so; it is destroyed if the client's was bad.
            let message = self.reply_message(act, address, size, &header)?;
            self.message_destroy(message);
            return Ok(MACH_RCV_INVALID_DATA);
        }
        let body = Body::User(to, rcv_address);
        let complex = header.bits & BITS_COMPLEX != 0;
        let totals = if complex { self.body_check(a.task, body, size)? } else { Totals::default() };
        let size_walked = size_if(complex, size);
        let window = self.window_for(client);
        let target = Target { act, payer, window, strict: false };
        let mut memories = Memories { count: totals.memories, ..Memories::NONE };
        let moved = self.memories_move(a.task, to, body, size_walked, &target, &mut memories);
        let mut failed = match moved {
            Ok(failed) => failed,
            Err(stop) => {
                self.body_unmark(a.task, body, size, size_walked);
                return Err(stop);
            }
        };
        // Commit. Rights that find no name are destroyed and null.
        failed |= self.body_move(a.task, to, body, size_walked, &memories);
        let received = self.reply_header(reply_port, &a, &header, size, totals.bit());
        let written = self.copyout(to, rcv_address, received.as_bytes());
        debug_assert!(written.is_ok());
        Ok(if failed == 0 { 0 } else { MACH_RCV_BODY_ERROR | failed })
    }

    fn reply_header(
        &mut self,
        reply_port: Ref<Port>,
        a: &Activation,
        header: &Header,
        size: u32,
        complex: u32,
    ) -> Header {
        let disposition = received_disposition(a.reply_disposition);
        let (local_bits, local) = self.local_field(reply_port, disposition);
        let seqno = self.next_seqno(reply_port);
        Header {
            bits: bits(0, local_bits) | header.bits & BITS_OTHER | complex,
            size,
            remote: 0,
            local,
            seqno,
            id: header.id,
        }
    }

    /// A reply as a message in hand, without header rights.
    fn reply_message(
        &mut self,
        act: Ref<Activation>,
        address: u64,
        size: u32,
        header: &Header,
    ) -> Result<Ref<Message>, Stop> {
        let a = *self.get(act);
        let complex = header.bits & BITS_COMPLEX != 0;
        let payer = Payer::account(a.payer);
        let message = self.message_build(a.task, None, complex, Source::User(address), size, payer)?;
        let m = self.get_mut(message);
        m.id = header.id;
        m.bits |= bits(msgt::PORT_SEND_ONCE, 0) | header.bits & BITS_OTHER;
        Ok(message)
    }

    /// A reply that does not fit: queued at the reply port if the client asked for that, else destroyed but for its header.
    fn reply_too_large(
        &mut self,
        act: Ref<Activation>,
        address: u64,
        size: u32,
        header: &Header,
        port: Ref<Port>,
        (to, rcv_address, rcv_size): (Ref<Task>, u64, u32),
    ) -> Result<i32, Stop> {
        let message = self.reply_message(act, address, size, header)?;
        if self.get(act).reply_option & option::RCV_LARGE != 0 {
            let right = self.send_once_new(port);
            self.slot_put(Self::message_remote(message), right, PLACE_MESSAGE, message.raw());
            if self.message_is_circular(message, port) {
                self.message_destroy(message);
            } else {
                self.queue_add(port, message);
            }
            self.write_size(to, rcv_address, size);
            return Ok(MACH_RCV_TOO_LARGE);
        }
        let a = *self.get(act);
        let received = self.reply_header(port, &a, header, size, 0);
        self.message_destroy(message);
        if rcv_size >= HEADER && self.copyout(to, rcv_address, received.as_bytes()).is_err() {
            return Ok(MACH_RCV_INVALID_DATA);
        }
        Ok(MACH_RCV_TOO_LARGE)
    }
}
