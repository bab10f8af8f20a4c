//! What a server author writes: objects, a handler for their messages, and a loop.
//!
//! An *object* is a port with a payload, a number of the server's own choice by which the handler finds what the port stands for. In
//! the worlds where calls migrate it is an RPC port: the kernel enters [`entry`] on the caller's thread, in a fresh window, at the caller's
//! expense. In the classic world it is a message port in one port set, served by worker threads in the manner of libports: whenever the last
//! idle worker takes a request another one is made, **without an upper bound**, at the server's expense, as on the Hurd.
//!
//! Who pays: a port is paid by whoever is the payer when it is made. Made in a call it must outlive, wrap it in [`own`](crate::own) or
//! in a session's [`charged_to`](crate::payer::charged_to).
//!
//! Notifications (no-senders) come to message ports in every world and are served by the thread in [`Server::run`].

use core::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use core::time::Duration;

use drover_abi::PAGE_SIZE;
use drover_abi::message::{HEADER_SIZE, Header, option, remote_disposition};
use drover_abi::port::{NOTIFY_DEAD_NAME, NOTIFY_NO_SENDERS};
use drover_abi::returns::{
    KERN_FAILURE, KERN_RESOURCE_SHORTAGE, MACH_RCV_BODY_ERROR, MACH_RCV_HEADER_ERROR, MACH_RCV_INTERRUPTED,
    MACH_RCV_TOO_LARGE,
};
use drover_abi::window::{REPLY_MAX, REQUEST, REQUEST_MAX};
use mig_runtime::{ERROR_REPLY_SIZE, Mode, Offer, Outcome, PortName, Request, Value};
use zerocopy::{FromBytes, IntoBytes};

use crate::bump::Bump;
use crate::cleanup;
use crate::clock::nanos;
use crate::local::{Local, UNWINDING};
use crate::lock::Mutex;
use crate::message::{Carried, carried};
use crate::once::Once;
use crate::port::{self, PortSet, ReceiveRight};
use crate::syscall::{self, MsgArgs};
use crate::{donate, ool, rpc, thread, world};

/// Serves one request: tries its interfaces one after the other until one knows the message.
pub type Demux = fn(&[u8], &mut [u8]) -> Outcome;

/// What an exit may need: the longest critical section and all cleanups. A call is refused unless its payer can set that much aside.
#[derive(Clone, Copy, Debug)]
pub struct UnwindReserve {
    /// CPU time.
    pub cpu: Duration,
    /// Frames.
    pub frames: u64,
}

impl UnwindReserve {
    /// 200 us and 8 frames: enough for short locks and dropping references.
    pub const SMALL: Self = Self { cpu: Duration::from_micros(200), frames: 8 };
}

/// What the kernel reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notification {
    /// The counted object with this payload has no senders left.
    NoSenders(u64),
    /// The port of that name, given to [`Server::watch`], has died. The name stays until its references are given back.
    Died(PortName),
}

/// The task's server half.
pub struct Server {
    demux: Demux,
    notified: fn(Notification),
    /// Where deaths are reported, once somebody watches.
    deaths: Mutex<Option<ReceiveRight>>,
    reserve: UnwindReserve,
    set: PortSet,
    idle: AtomicUsize,
    workers: AtomicU32,
}

static SERVER: Once<Server> = Once::new();

/// The server of this task, once there is one.
fn current() -> Option<&'static Server> {
    SERVER.get()
}

/// The unwind reserve of this task's ports, ns of CPU and frames.
pub(crate) fn reserve() -> (u64, u64) {
    current().map_or((0, 0), |server| (nanos(server.reserve.cpu), server.reserve.frames))
}

/// An object of the server's: its port, and the port by which it learns that nobody can call it any more.
#[derive(Debug)]
pub struct Object {
    port: ReceiveRight,
    /// Its payload is the object's. None for a port with a queue, which takes its own notification.
    notify: Option<ReceiveRight>,
}

impl Object {
    /// The port's name.
    #[must_use]
    pub fn name(&self) -> PortName {
        self.port.name()
    }
    /// A send right for a reply or a request.
    #[must_use]
    pub fn send(&self) -> mig_runtime::Port {
        self.port.make_send()
    }
    /// A send right of the task's own.
    ///
    /// # Errors
    /// The kernel's.
    pub fn send_right(&self) -> Result<port::SendRight, i32> {
        self.port.send_right()
    }
}

impl Server {
    /// Makes this task a server. Once per program; the task pays.
    ///
    /// `notified` hears of [`Server::counted_object`]s without senders and of [`Server::watch`]ed ports that died. Messages can be
    /// forged: it asks ([`Server::has_senders`]) before it believes.
    ///
    /// # Errors
    /// The kernel's, if there is no room for a port set; `KERN_FAILURE` if there is a server already.
    pub fn new(
        demux: Demux,
        reserve: UnwindReserve,
        notified: fn(Notification),
    ) -> Result<&'static Self, i32> {
        let server = Self {
            demux,
            notified,
            deaths: Mutex::new(None),
            reserve,
            set: PortSet::new()?,
            idle: AtomicUsize::new(0),
            workers: AtomicU32::new(1),
        };
        SERVER.set(server).map_err(|_| KERN_FAILURE)
    }

    /// A new object. The current payer pays for its port.
    ///
    /// # Errors
    /// The kernel's; nothing is left behind.
    pub fn object(&self, payload: u64) -> Result<Object, i32> {
        let port = ReceiveRight::new()?;
        if world::current().migrates() {
            port.set_rpc(
                payload,
                entry as *const () as u64,
                unwind_entry as *const () as u64,
                nanos(self.reserve.cpu),
                self.reserve.frames,
            )?;
        } else {
            port.set_payload(payload)?;
            self.set.add(&port)?;
        }
        Ok(Object { port, notify: None })
    }

    /// A new object whose end is reported: when all send rights are gone, the server hears [`Notification::NoSenders`].
    /// Costs a second port where calls migrate; a port with a queue takes its own report, as those of libports do. The report comes only after a send right has
    /// been made and has gone.
    ///
    /// # Errors
    /// The kernel's; nothing is left behind.
    pub fn counted_object(&self, payload: u64) -> Result<Object, i32> {
        let mut object = self.object(payload)?;
        if !world::current().migrates() {
            port::request_no_senders(&object.port, &object.port, 1)?;
            return Ok(object);
        }
        let notify = ReceiveRight::new()?;
        notify.set_payload(payload)?;
        self.set.add(&notify)?;
        port::request_no_senders(&object.port, &notify, 1)?;
        object.notify = Some(notify);
        Ok(object)
    }

    /// Whether the object has senders now: to be asked before it is dropped, as a right may have been made since.
    #[must_use]
    pub fn has_senders(object: &Object) -> bool {
        object.port.has_senders()
    }

    /// How often a right to the object has been made, if nobody has one now: it can be dropped, or [renewed](Server::renew).
    #[must_use]
    pub fn unused(object: &Object) -> Option<u32> {
        object.port.made_without_senders()
    }

    /// Makes a counted object that is [unused](Server::unused), and not in use by a call either, a new one with another payload, for a small part of what a new
    /// one costs. `made` is what [`Server::unused`] said. Calls under way that were made to the old one still have its payload.
    ///
    /// # Errors
    /// The kernel's, if its payer's account is gone for instance; the object is of no use then.
    pub fn renew(object: &Object, made: u32, payload: u64) -> Result<(), i32> {
        let notify = object.notify.as_ref().ok_or(KERN_FAILURE)?;
        port::renew(&object.port, notify, made.saturating_add(1), payload)
    }

    /// Serves for ever. In the classic world this is the first worker; where calls migrate, the thread that takes notifications.
    pub fn run(&'static self) -> ! {
        loop {
            self.idle.fetch_add(1, Ordering::AcqRel);
            if !self.serve_queue() {
                // The receive was refused, and nothing was taken from the queue. Not to be tried in a hurry.
                let _ = crate::clock::sleep(Duration::from_millis(10));
            }
        }
    }

    /// Receives and serves until a receive fails; whether it failed because of the message, which is gone then.
    fn serve_queue(&'static self) -> bool {
        let Some((request, reply)) = thread::message_buffers() else { return false };
        loop {
            let args =
                MsgArgs { option: option::RCV_MSG, send_size: 0, rcv_name: self.set.name(), timeout: 0 };
            // What a failed receive leaves in the buffer must not be an older message's.
            request[..HEADER_SIZE].fill(0);
            let received = syscall::mach_msg(request, args);
            let was_idle = self.idle.fetch_sub(1, Ordering::AcqRel);
            if let Err(code) = received {
                let consumed = message_was_bad(code);
                if consumed {
                    // What is left of it is the header, with the reply right.
                    release_reply_right(request);
                }
                return consumed || code == MACH_RCV_INTERRUPTED;
            }
            if was_idle == 1 && !world::current().migrates() {
                self.add_worker();
            }
            if let Ok((header, _)) = Header::read_from_prefix(request) {
                let size = (header.size as usize).min(request.len());
                if let Some(notification) = notification(&header, &request[..size]) {
                    (self.notified)(notification);
                } else if let Some(size) = self.serve(&request[..size], reply) {
                    answer(&mut reply[..size]);
                } else {
                    release_reply_right(request);
                }
            }
            self.idle.fetch_add(1, Ordering::AcqRel);
        }
    }

    /// Asks for [`Notification::Died`] when the port behind a send right dies. At the server's own expense.
    ///
    /// # Errors
    /// The kernel's; `KERN_INVALID_ARGUMENT` if it is dead already.
    pub fn watch(&self, name: PortName) -> Result<(), i32> {
        crate::own(|| {
            // Made outside the lock, because making it is a call; whoever comes second gives its own back.
            let known = self.deaths.lock()?.as_ref().map(ReceiveRight::name);
            let notify = match known {
                Some(notify) => notify,
                None => {
                    let made = ReceiveRight::new()?;
                    self.set.add(&made)?;
                    let name = made.name();
                    let mut deaths = self.deaths.lock()?;
                    match deaths.as_ref().map(ReceiveRight::name) {
                        Some(known) => {
                            drop(deaths);
                            drop(made);
                            known
                        }
                        None => {
                            *deaths = Some(made);
                            name
                        }
                    }
                }
            };
            port::request_dead_name(name, notify)
        })
    }

    /// One more worker thread; without memory for it the others go on.
    fn add_worker(&'static self) {
        self.workers.fetch_add(1, Ordering::Relaxed);
        if thread::spawn(move || self.run()).is_err() {
            self.workers.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Worker threads made so far (classic world), the first included.
    #[must_use]
    pub fn workers(&self) -> u32 {
        self.workers.load(Ordering::Relaxed)
    }

    /// Serves one request; the size of the reply, if there is one to send. Releases what no handler took.
    fn serve(&self, message: &[u8], reply: &mut [u8]) -> Option<usize> {
        let request = Request::new(Mode::Received, message)?;
        let mut outcome = (self.demux)(message, reply);
        if outcome == Outcome::NotMine {
            outcome = request.bad_id(reply);
        }
        match outcome {
            Outcome::Reply(size) => {
                if return_code(&reply[..size]) != Some(0) {
                    release(message);
                }
                Some(size)
            }
            _ => None,
        }
    }
}

/// The notification in a message, if it is one.
fn notification(header: &Header, message: &[u8]) -> Option<Notification> {
    match header.id {
        NOTIFY_NO_SENDERS => Some(Notification::NoSenders(header.local)),
        NOTIFY_DEAD_NAME => {
            let name = PortName(u32::load(message.get(HEADER_SIZE + 8..HEADER_SIZE + 12)?));
            Some(Notification::Died(name))
        }
        _ => None,
    }
}

/// The return code of a reply.
fn return_code(reply: &[u8]) -> Option<i32> {
    reply.get(ERROR_REPLY_SIZE - 8..).map(i32::load)
}

/// A receive failed because of the message: it was too large, or there was no room for what it carried. It is off the queue.
fn message_was_bad(code: i32) -> bool {
    /// Bits that say what there was no room for.
    const WHAT: i32 = 0x3c00;
    matches!(code & !WHAT, MACH_RCV_TOO_LARGE | MACH_RCV_BODY_ERROR | MACH_RCV_HEADER_ERROR)
}

/// Gives the reply right of a received message back unused: whoever waits for the reply learns that there is none.
fn release_reply_right(message: &[u8]) {
    if let Ok((header, _)) = Header::read_from_prefix(message) {
        port::release(PortName(header.remote as u32), remote_disposition(header.bits));
    }
}

/// Sends the reply in `reply` to the port in its header. A reply goes to a send-once right and never blocks; if it cannot be
/// delivered the client is gone.
fn answer(reply: &mut [u8]) {
    let Ok((header, _)) = Header::read_from_prefix(reply) else { return };
    if !PortName(header.remote as u32).is_valid() || remote_disposition(header.bits) == 0 {
        return;
    }
    let args = MsgArgs { option: option::SEND_MSG, send_size: reply.len(), ..MsgArgs::default() };
    if syscall::mach_msg(reply, args).is_err() {
        release(reply);
    }
}

/// Releases the rights and the memory that a received message brought.
pub fn release(message: &[u8]) {
    for item in carried(message) {
        match item {
            Carried::Right(name, kind) => port::release(name, kind),
            Carried::Rights(address, count, kind) => {
                for name in ool::names(address, count) {
                    port::release(name, kind);
                }
            }
            Carried::Memory(address, bytes) => ool::discard(address, bytes),
        }
    }
}

/// Bytes at the end of a window's first page for the reply: nearly all replies are that small, and then they touch no other page.
const SMALL_REPLY: u64 = 1152;

/// How the memory behind a request of `size` bytes is used: for the call's first allocations, and, from the returned address on, for a reply of
/// up to [`REPLY_MAX`] bytes.
fn layout(window: u64, size: u64) -> (Bump, u64) {
    let next = (window + REQUEST + size.min(REQUEST_MAX)).next_multiple_of(8);
    let reply = next.max(window + PAGE_SIZE as u64 - SMALL_REPLY);
    (Bump { next, end: reply }, reply)
}

/// Entry point of RPC ports: message, size, window.
pub(crate) extern "C" fn entry(message: *const u8, size: u64, window: u64) -> ! {
    // SAFETY: the kernel has put the request there, in the call's own window, and nobody else writes it.
    let request = unsafe { core::slice::from_raw_parts(message, size.min(REQUEST_MAX) as usize) };
    let local = Local::current();
    let (near, reply) = layout(window, size);
    local.set_near(near);
    // SAFETY: memory of the window behind the request and below the guard page; this activation alone uses it, and nothing is allocated from there.
    let reply = unsafe { core::slice::from_raw_parts_mut(reply as *mut u8, REPLY_MAX as usize) };
    let size = current().and_then(|server| server.serve(request, reply)).unwrap_or(0);
    rpc::end_of_call(local);
    finish(request, reply, size)
}

/// Returns the reply; if the kernel does not take it, an error reply; if not even that, none.
fn finish(request: &[u8], reply: &mut [u8], size: usize) -> ! {
    let code = syscall::drover_return(&mut reply[..size]);
    if let Outcome::Reply(size) = mig_runtime::write_error(request, code, reply) {
        syscall::drover_return(&mut reply[..size]);
    }
    loop {
        syscall::drover_return(&mut []);
        syscall::yield_now();
    }
}

/// Unwind entry of RPC ports: rdi = reason, rsi = window. The stack may be in any state, so this runs below the guard page, on memory that only a large reply uses,
/// and an exit leaves no reply to finish.
#[cfg(target_os = "none")]
#[unsafe(naked)]
pub(crate) unsafe extern "C" fn unwind_entry() -> ! {
    core::arch::naked_asm!(
        "lea rsp, [rsi + {top}]",
        "xor ebp, ebp",
        "call {unwind}",
        "ud2",
        top = const drover_abi::window::STACK_GUARD,
        unwind = sym unwind,
    )
}

/// On the host nobody enters.
#[cfg(not(target_os = "none"))]
pub(crate) extern "C" fn unwind_entry() -> ! {
    unwind()
}

/// A forced exit: runs the cleanups, on the escrow. The kernel answers the client.
extern "C" fn unwind() -> ! {
    let local = Local::current();
    local.set_state(UNWINDING);
    local.set_payer_word(drover_abi::trap::PAYER_CALL);
    cleanup::run_all(local);
    rpc::abandon(local);
    loop {
        syscall::drover_return(&mut []);
        syscall::yield_now();
    }
}

/// Ends the running call with an error, from the panic handler: the cleanups run, the server lives.
#[cfg_attr(not(target_os = "none"), expect(dead_code, reason = "for the panic handler"))]
pub(crate) fn fail_call(local: Local) -> ! {
    let code = match local.shortage() {
        0 => KERN_FAILURE,
        _ => KERN_RESOURCE_SHORTAGE,
    };
    cleanup::run_all(local);
    rpc::abandon(local);
    // SAFETY: the window's request buffer, which the kernel wrote; a header's worth is always there.
    let request = unsafe { core::slice::from_raw_parts((local.this() + REQUEST) as *const u8, HEADER_SIZE) };
    let mut reply = [0u64; ERROR_REPLY_SIZE / 8];
    let reply = reply.as_mut_bytes();
    let size = match mig_runtime::write_error(request, code, reply) {
        Outcome::Reply(size) => size,
        _ => 0,
    };
    finish(request, reply, size)
}

/// The request in `message`, for which what was offered can be asked, and whose reply will be in `reply`; `None` if it is shorter than a
/// header. For [`dispatch!`](crate::dispatch).
#[inline]
#[must_use]
pub fn request<'m>(message: &'m [u8], reply: &[u8]) -> Option<Request<'m>> {
    let local = Local::current();
    // A call has one reply, into memory of its window that was zero when the call began. A thread that serves a queue uses its buffer again
    // and again.
    let fresh = local.in_call() && reply.as_ptr() as u64 == local.near().end;
    let mode = if fresh { Mode::Clean } else { Mode::Received };
    Some(Request::new(mode, message)?.with_offer(Offer::Ask(donate::offered)))
}

/// Tries interfaces one after the other: `dispatch!(request, reply, io => &mut server, fs => &mut server)`.
#[macro_export]
macro_rules! dispatch {
    ($request:expr, $reply:expr, $($interface:ident => $server:expr),+ $(,)?) => {
        'served: {
            if let Some(request) = $crate::server::request($request, $reply) {
                $(
                    let outcome = $crate::stubs::$interface::dispatch_request($server, &request, $reply);
                    if outcome != $crate::mig::Outcome::NotMine {
                        break 'served outcome;
                    }
                )+
            }
            $crate::mig::Outcome::NotMine
        }
    };
}

#[cfg(test)]
mod tests {
    use super::*;
    use drover_abi::message::bits;

    #[test]
    fn bad_messages_are_told_from_bad_queues() {
        use drover_abi::returns as r;
        for code in
            [r::MACH_RCV_TOO_LARGE, r::MACH_RCV_BODY_ERROR | r::MACH_MSG_VM_SPACE, r::MACH_RCV_HEADER_ERROR]
        {
            assert!(message_was_bad(code));
        }
        for code in
            [r::MACH_RCV_INVALID_NAME, r::MACH_RCV_PORT_DIED, r::MACH_RCV_INTERRUPTED, r::MACH_RCV_TIMED_OUT]
        {
            assert!(!message_was_bad(code));
        }
    }

    #[test]
    fn a_call_s_memory_is_apart_from_its_messages() {
        use drover_abi::window::{STACK_GUARD, WINDOWS_BASE};
        for size in [0, 32, 1096, 2700, 2688, 4000, 5000, REQUEST_MAX - 1, REQUEST_MAX, u64::MAX] {
            let (near, reply) = layout(WINDOWS_BASE, size);
            assert!(near.next >= WINDOWS_BASE + REQUEST + size.min(REQUEST_MAX));
            assert!(near.next <= near.end && near.end <= reply && reply % 8 == 0);
            assert!(reply + REPLY_MAX <= WINDOWS_BASE + STACK_GUARD);
        }
        let (near, reply) = layout(WINDOWS_BASE, 1096);
        assert!(near.end - near.next > 1024, "room for allocations");
        assert_eq!(reply + SMALL_REPLY, WINDOWS_BASE + PAGE_SIZE as u64);
    }

    #[test]
    fn the_code_is_where_mig_puts_it() {
        let mut reply = [0u64; ERROR_REPLY_SIZE / 8];
        let header = Header { bits: bits(18, 0), size: 32, id: 2000, ..Header::default() };
        let outcome = mig_runtime::write_error(header.as_bytes(), -303, reply.as_mut_bytes());
        assert_eq!(outcome, Outcome::Reply(ERROR_REPLY_SIZE));
        assert_eq!(return_code(reply.as_bytes()), Some(-303));
        assert_eq!(return_code(&[]), None);
    }
}
