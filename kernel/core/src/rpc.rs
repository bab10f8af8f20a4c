//! Kernel RPC: messages to kernel objects, served on the caller's own thread.
//!
//! The kernel reads the caller's raw message (names are the caller's), the generated demultiplexers check it, a handler acts, and the reply is written straight into
//! the caller's receive buffer. No message is queued and nothing is allocated for the crossing. A handler that must wait or has only done a part restarts the trap.

use drover_abi::message::{HEADER_SIZE, Header, bits, local_disposition, msgt, option, remote_disposition};
use drover_abi::port::MACH_PORT_NULL;
use drover_abi::returns::{
    KERN_FAILURE, KERN_INVALID_RIGHT, MACH_RCV_INVALID_DATA, MACH_RCV_TOO_LARGE, MACH_SEND_MSG_TOO_SMALL,
    MACH_SEND_NO_BUFFER,
};
use mig_runtime::{Outcome, Port as PortArg, PortName, Request};
use zerocopy::{FromBytes, IntoBytes};

use crate::kernel::{Kernel, Stop};
use crate::machine::Machine;
use crate::message::MachMsg;
use crate::object::{Kind, Ref};
use crate::port::Port;
use crate::right::Right;
use crate::task::Task;
use crate::thread::Receive;

/// Largest request to the kernel, bytes (a thread state of 1024 words and its frame).
pub const REQUEST_MAX: usize = 4224;
/// Largest reply of the kernel.
pub const REPLY_MAX: usize = 4224;
/// Buffers of the usual request, which are quick to clear.
const SMALL_REQUEST: usize = 256;
const SMALL_REPLY: usize = 512;

/// Whether a routine's reply may be larger than [`SMALL_REPLY`]: those with arrays inline, and long strings.
const fn has_large_reply(id: i32) -> bool {
    use hurd_stubs::{device, drover_host, gnumach, mach, mach_host};
    matches!(
        id,
        mach::id::TASK_INFO
            | mach::id::THREAD_GET_STATE
            | mach::id::THREAD_INFO
            | device::id::DEVICE_GET_STATUS
    ) || id >= mach_host::BASE && id < mach_host::BASE + 100
        || id >= drover_host::BASE && id < drover_host::BASE + 100
        || id == gnumach::id::VM_PAGES_PHYS
}

/// A request being served.
pub(crate) struct Rpc<'k, M> {
    /// The kernel.
    pub(crate) k: &'k mut Kernel<M>,
    /// How it ended, if not with a code.
    pub(crate) stop: Option<Stop>,
    /// The task whose names the message speaks of.
    pub(crate) caller: Ref<Task>,
    /// What the destination names.
    pub(crate) kind: u32,
    /// Raw reference of it.
    pub(crate) object: u32,
}

impl<M: Machine> Rpc<'_, M> {
    /// Turns an operation's end into the code for the reply; remembers what is no code.
    pub(crate) fn end<T>(&mut self, result: Result<T, Stop>) -> Result<T, i32> {
        match result {
            Ok(value) => Ok(value),
            Err(Stop::Error(code)) => Err(code),
            Err(stop) => {
                self.stop = Some(stop);
                Err(KERN_FAILURE)
            }
        }
    }

    /// The destination as an object of `kind`.
    pub(crate) fn target<T>(&self, kind: Kind, wrong: i32) -> Result<Ref<T>, i32> {
        if self.kind == kind as u32 && self.object != 0 { Ok(Ref::from_raw(self.object)) } else { Err(wrong) }
    }

    /// A port argument as an object of `kind`. A moved right is not consumed before [`Self::done_with`].
    pub(crate) fn object_of<T>(&mut self, port: PortArg, kind: Kind) -> Result<Ref<T>, i32> {
        let raw = self.k.kernel_object(self.caller, port.name.0, kind);
        self.end(raw).map(Ref::from_raw)
    }

    /// Drops the right of a port argument that the caller moved.
    pub(crate) fn done_with(&mut self, port: PortArg) {
        if matches!(port.disposition, msgt::MOVE_SEND | msgt::MOVE_SEND_ONCE | msgt::MOVE_RECEIVE)
            && let Some(right) = self.k.right_get(self.caller, port.name.0, port.disposition)
        {
            self.k.right_drop(right);
        }
    }

    /// Takes the right of a port argument out of the caller's name space.
    pub(crate) fn take(&mut self, port: PortArg) -> Result<Right, i32> {
        self.k.right_get(self.caller, port.name.0, port.disposition).ok_or(KERN_INVALID_RIGHT)
    }

    /// A name for a send right to `port` in the caller's space; null for no port.
    pub(crate) fn name_for(&mut self, port: Ref<Port>) -> Result<PortName, i32> {
        if port.is_none() {
            return Ok(PortName(MACH_PORT_NULL));
        }
        let payer = self.k.payer_in(self.caller);
        let name = self.k.insert_send(self.caller, port, payer);
        self.end(name).map(PortName)
    }

    /// Memory in the caller's task for `bytes` bytes of out-of-line data.
    pub(crate) fn memory(&mut self, bytes: u64) -> Result<u64, i32> {
        let payer = self.k.payer_in(self.caller);
        let address = self.k.vm_allocate(self.caller, payer, 0, bytes, true);
        self.end(address)
    }

    /// The same, written by `fill`, which gets the address; given back if that fails.
    pub(crate) fn filled(
        &mut self,
        bytes: u64,
        fill: impl FnOnce(&mut Self, u64) -> Result<(), i32>,
    ) -> Result<u64, i32> {
        let address = self.memory(bytes)?;
        match fill(self, address) {
            Ok(()) => Ok(address),
            Err(code) => {
                self.give_back(address, bytes);
                Err(code)
            }
        }
    }

    /// Gives memory of the caller's back that a failed operation had allocated.
    pub(crate) fn give_back(&mut self, address: u64, bytes: u64) {
        while self.k.vm_deallocate(self.caller, address, bytes) == Err(Stop::Again) {}
    }
}

impl<M: Machine> Kernel<M> {
    /// Serves a message to a kernel object's port.
    ///
    /// # Errors
    /// `MACH_SEND_MSG_TOO_SMALL`, `MACH_SEND_NO_BUFFER` (larger than any request), `MACH_SEND_INVALID_HEADER` and its like for the header's rights,
    /// `KERN_INVALID_ADDRESS`, and what a reply's delivery finds.
    pub(crate) fn kernel_send(&mut self, port: Ref<Port>, args: &MachMsg) -> Result<i32, Stop> {
        let size = args.send_size as usize;
        if size < HEADER_SIZE || !size.is_multiple_of(8) {
            return Err(Stop::Error(MACH_SEND_MSG_TOO_SMALL));
        }
        if size > REQUEST_MAX {
            return Err(Stop::Error(MACH_SEND_NO_BUFFER));
        }
        let mut bytes = [0; HEADER_SIZE];
        self.copyin(self.task_here(), args.msg, &mut bytes)?;
        let header = Header::read_from_bytes(&bytes).map_err(|_| Stop::Error(MACH_SEND_MSG_TOO_SMALL))?;
        if size <= SMALL_REQUEST && !has_large_reply(header.id) {
            self.kernel_serve(
                port,
                args,
                &mut Aligned([0; SMALL_REQUEST]).0,
                &mut Aligned([0; SMALL_REPLY]).0,
            )
        } else {
            self.kernel_serve_large(port, args)
        }
    }

    /// The same with buffers for anything; apart, so that the usual request does not pay for clearing them.
    #[inline(never)]
    fn kernel_serve_large(&mut self, port: Ref<Port>, args: &MachMsg) -> Result<i32, Stop> {
        self.kernel_serve(port, args, &mut Aligned([0; REQUEST_MAX]).0, &mut Aligned([0; REPLY_MAX]).0)
    }

    fn kernel_serve(
        &mut self,
        port: Ref<Port>,
        args: &MachMsg,
        request: &mut [u8],
        reply: &mut [u8],
    ) -> Result<i32, Stop> {
        let caller = self.task_here();
        let request = &mut request[..args.send_size as usize];
        self.copyin(caller, args.msg, request)?;
        let (header, _) =
            Header::read_from_prefix(request).map_err(|_| Stop::Error(MACH_SEND_MSG_TOO_SMALL))?;
        self.header_mark(caller, &header)?;
        self.header_unmark(caller, &header);
        let (kind, object) = (self.get(port).object_kind, self.get(port).object);
        let mut rpc = Rpc { k: self, stop: None, caller, kind, object };
        let mut outcome = rpc.dispatch(header.id, request, reply);
        if let Some(stop) = rpc.stop {
            return Err(stop);
        }
        // The request is served: its destination right is used up. (The caller may have ended itself.)
        let moved = remote_disposition(header.bits);
        if matches!(moved, msgt::MOVE_SEND | msgt::MOVE_SEND_ONCE)
            && let Some(right) = self.right_get(caller, header.remote as u32, moved)
        {
            self.dest_consume(right);
        }
        if outcome == Outcome::NotMine {
            outcome = Request::new(mig_runtime::Mode::Raw, request)
                .map_or(Outcome::NoReply, |request| request.bad_id(reply));
        }
        match outcome {
            Outcome::Reply(len) => self.kernel_reply(caller, args, &header, &mut reply[..len]),
            _ => self.kernel_receive(args),
        }
    }

    /// Delivers a reply: into the caller's buffer if it waits for it there, else to the port that it named.
    fn kernel_reply(
        &mut self,
        caller: Ref<Task>,
        args: &MachMsg,
        request: &Header,
        reply: &mut [u8],
    ) -> Result<i32, Stop> {
        let local = request.local as u32;
        let disposition = local_disposition(request.bits);
        if disposition == 0 || local == MACH_PORT_NULL {
            return self.kernel_receive(args);
        }
        let receives = args.option & option::RCV_MSG != 0;
        if receives && disposition == msgt::MAKE_SEND_ONCE && local == args.rcv_name {
            self.port_of_receive(caller, local)?;
            if (args.rcv_size as usize) < reply.len() {
                return Err(Stop::Error(MACH_RCV_TOO_LARGE));
            }
            return match self.copyout(caller, args.msg, reply) {
                Ok(()) => Ok(0),
                Err(_) => Err(Stop::Error(MACH_RCV_INVALID_DATA)),
            };
        }
        if let Ok(header) = Header::mut_from_bytes(&mut reply[..HEADER_SIZE]) {
            header.bits = bits(disposition, 0) | header.bits & drover_abi::message::BITS_COMPLEX;
            header.remote = u64::from(local);
            header.local = 0;
        }
        // The operation is done: it must not be restarted for what its reply takes.
        while let Err(stop) = self.send_reply_bytes(caller, reply) {
            if stop != Stop::Again {
                return Err(stop);
            }
        }
        self.kernel_receive(args)
    }

    /// The receive half of a combined `mach_msg` after its send half is done.
    fn kernel_receive(&mut self, args: &MachMsg) -> Result<i32, Stop> {
        if args.option & option::RCV_MSG == 0 {
            return Ok(0);
        }
        let receive = Receive {
            address: args.msg,
            deadline: self.timeout(args, option::RCV_TIMEOUT),
            size: args.rcv_size,
            name: args.rcv_name,
            option: args.option,
            notify: args.notify,
        };
        let task = self.task_here();
        self.receive(task, &receive)
    }
}

impl<M: Machine> Rpc<'_, M> {
    /// To the interface that the id belongs to.
    fn dispatch(&mut self, id: i32, request: &[u8], reply: &mut [u8]) -> Outcome {
        use hurd_stubs as s;
        match id {
            2000..=2199 => s::mach::dispatch_raw(self, request, reply),
            2600..=2799 => s::mach_host::dispatch_raw(self, request, reply),
            2800..=2899 => s::device::dispatch_raw(self, request, reply),
            3200..=3299 => s::mach_port::dispatch_raw(self, request, reply),
            4200..=4299 => s::gnumach::dispatch_raw(self, request, reply),
            700_000..=700_099 => s::account::dispatch_raw(self, request, reply),
            700_200..=700_299 => s::drover_host::dispatch_raw(self, request, reply),
            700_400..=700_499 => s::drover_port::dispatch_raw(self, request, reply),
            700_800..=700_899 => s::drover_vm::dispatch_raw(self, request, reply),
            _ => Outcome::NotMine,
        }
    }
}

/// A buffer aligned as messages are.
#[repr(C, align(8))]
struct Aligned<const N: usize>([u8; N]);

/// Keeps a header's layout in step with the ABI crate.
const _: () = assert!(size_of::<Header>() == HEADER_SIZE);

/// The text in a field that is filled up with zeros.
pub(crate) fn until_nul(field: &[u8]) -> &[u8] {
    field.split(|&byte| byte == 0).next().unwrap_or(field)
}

/// Bytes of a value, for out-of-line data.
pub(crate) fn bytes_of<T: IntoBytes + zerocopy::Immutable>(value: &T) -> &[u8] {
    value.as_bytes()
}
