//! Requests of calls: from the client's memory into the window.

use drover_abi::message::{
    BITS_COMPLEX, HEADER_SIZE, Header, bits, local_disposition, msgt, option, remote_disposition,
};
use drover_abi::returns::{MACH_SEND_INVALID_DATA, MACH_SEND_NO_BUFFER};
use drover_abi::window::{REQUEST, REQUEST_MAX};
use zerocopy::IntoBytes;

use super::{BITS_OTHER, Body, HEADER, Memories, Target, Totals, check_size, copy_failure, size_if};
use crate::account::Payer;
use crate::activation::Activation;
use crate::kernel::{Kernel, Stop};
use crate::machine::Machine;
use crate::message::MachMsg;
use crate::object::Ref;
use crate::port::{MESSAGE, Port};
use crate::right::{Right, received_disposition};
use crate::task::Task;

impl<M: Machine> Kernel<M> {
    /// Copies a request from the client's memory to the window of a new activation, with everything that it carries, and uses up the destination right.
    /// Sets `reply_name`, `reply_disposition`, `reply_option`, `request_id` and `one_way` of the activation: the reply goes back by return if the client made a send-once
    /// right for it from the very port that it is going to receive from; else the server gets a real reply right (if any) and the call is one-way.
    /// Returns the size of the request.
    ///
    /// # Errors
    /// The send codes of `mach_msg`; `KERN_RESOURCE_SHORTAGE` for what the call pays; `MACH_SEND_NO_BUFFER` also when the server has no room for the names. Nothing
    /// changed, except for what lies in the window.
    pub(crate) fn transfer_request(
        &mut self,
        from: Ref<Task>,
        address: u64,
        size: u32,
        to: Ref<Activation>,
        port: Ref<Port>,
        args: &MachMsg,
    ) -> Result<u32, Stop> {
        check_size(size, REQUEST_MAX as u32)?;
        let header = self.header_in(from, address)?;
        self.header_mark(from, &header)?;
        let mut memories = Memories::NONE;
        let totals = match self.request_reserve(from, address, size, to, &header, &mut memories) {
            Ok(totals) => totals,
            Err(stop) => {
                self.header_unmark(from, &header);
                return Err(stop);
            }
        };
        // Commit: the header's rights first, as they were marked. All names are reserved.
        let a = *self.get(to);
        let by_return = self.replies_by_return(from, &header, args);
        let (local, name) = (local_disposition(header.bits), header.local as u32);
        let (dest, reply) = if by_return {
            self.right_unmark(from, name);
            (self.right_take(from, header.remote as u32, remote_disposition(header.bits)), Right::NULL)
        } else {
            self.header_take(from, &header)
        };
        let complex = header.bits & BITS_COMPLEX != 0;
        let body = Body::User(a.task, a.window + REQUEST);
        self.body_move(from, a.task, body, size_if(complex, size), &memories);
        let reply_name = self.right_give_reserved(a.task, reply);
        let reply_bits = if by_return || local == 0 { 0 } else { received_disposition(local) };
        let (local_bits, local_name) =
            self.local_field(port, received_disposition(remote_disposition(header.bits)));
        let received = Header {
            bits: bits(reply_bits, local_bits) | header.bits & BITS_OTHER | totals.bit(),
            size,
            remote: u64::from(reply_name),
            local: local_name,
            seqno: self.next_seqno(port),
            id: header.id,
        };
        let written = self.copyout(a.task, a.window + REQUEST, received.as_bytes());
        debug_assert!(written.is_ok());
        self.dest_consume(dest);
        let a = self.get_mut(to);
        (a.reply_name, a.reply_disposition, a.request_id) = (name, local, header.id);
        a.reply_option = args.option;
        a.one_way = u8::from(!by_return);
        Ok(size)
    }

    /// Whether the reply to a request goes back by return.
    fn replies_by_return(&mut self, from: Ref<Task>, header: &Header, args: &MachMsg) -> bool {
        let name = header.local as u32;
        local_disposition(header.bits) == msgt::MAKE_SEND_ONCE
            && args.option & option::RCV_MSG != 0
            && name == args.rcv_name
            && self.port_of_receive(from, name).is_ok_and(|port| {
                let p = self.get(port);
                p.head.flags == MESSAGE && p.set.is_none()
            })
    }

    /// Copies the body of a request and reserves all that its rights and memory need.
    fn request_reserve(
        &mut self,
        from: Ref<Task>,
        address: u64,
        size: u32,
        act: Ref<Activation>,
        header: &Header,
        memories: &mut Memories,
    ) -> Result<Totals, Stop> {
        let a = *self.get(act);
        let target_address = a.window + REQUEST;
        // The header's page is written to here, so that the header cannot fail later.
        self.copyout(a.task, target_address, header.as_bytes())?;
        self.copy_user(
            from,
            address + HEADER_SIZE as u64,
            a.task,
            target_address + HEADER_SIZE as u64,
            u64::from(size - HEADER),
        )
        .map_err(|e| copy_failure(e, MACH_SEND_INVALID_DATA))?;
        let body = Body::User(a.task, target_address);
        let complex = header.bits & BITS_COMPLEX != 0;
        let totals = if complex { self.body_check(from, body, size)? } else { Totals::default() };
        let target =
            Target { act, payer: Payer { account: a.payer, call: act }, window: Some(act), strict: true };
        let moved = self
            .names_reserve(a.task, totals.rights + 1)
            .map_err(|e| if e == Stop::Again { e } else { Stop::Error(MACH_SEND_NO_BUFFER) })
            .and_then(|()| {
                memories.count = totals.memories;
                self.memories_move(from, a.task, body, size_if(complex, size), &target, memories)
            });
        match moved {
            Ok(_) => Ok(totals),
            Err(stop) => {
                self.body_unmark(from, body, size, size_if(complex, size));
                Err(stop)
            }
        }
    }
}
