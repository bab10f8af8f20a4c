//! Starting a server or a translator: the starter's half, a bootstrap port at which the new program reports, within a time.
//!
//! Port and messages are the starter's own; the program's message is queued at its own expense until it is received. A starter that serves others
//! meanwhile (a file system) does this by itself.

use core::time::Duration;

use drover_abi::message::{Header, option};
use drover_abi::port::{NOTIFY_NO_SENDERS, NOTIFY_SEND_ONCE};
use hurd_stubs::fsys::{self, FsysServer, FsysStartupReply};
use mig_runtime::{Mode, Outcome, Port, Request};
use zerocopy::{FromBytes, IntoBytes};

use crate::clock::{Deadline, now};
use crate::errno::EDIED;
use crate::file::NO_RESULT;
use crate::port::{self, ReceiveRight, SendRight};
use crate::server::release;
use crate::syscall::{self, MsgArgs};

/// Words of the longest message.
const WORDS: usize = 256;
/// Messages taken from a program before it must have reported.
const MESSAGES: u32 = 8;

/// Serves messages at `port` until `serve` has what it wants: it answers a request and may hand out what it was after.
///
/// # Errors
/// `MACH_RCV_TIMED_OUT` when `patience` is over; `EDIED` when the program has ended, or says other things.
pub fn await_report<T>(
    port: &ReceiveRight,
    patience: Duration,
    mut serve: impl FnMut(&[u8], &mut [u8]) -> (Outcome, Option<T>),
) -> Result<T, i32> {
    port::request_no_senders(port, port, 1)?;
    let deadline = Deadline::within(patience).ns();
    for _ in 0..MESSAGES {
        let mut message = [0u64; WORDS];
        let left = deadline.saturating_sub(now()).div_ceil(1_000_000);
        let args = MsgArgs {
            option: option::RCV_MSG | option::RCV_TIMEOUT,
            rcv_name: port.name(),
            timeout: u32::try_from(left).unwrap_or(u32::MAX),
            ..MsgArgs::default()
        };
        syscall::mach_msg(message.as_mut_bytes(), args)?;
        let (header, _) = Header::read_from_prefix(message.as_bytes()).map_err(|_| EDIED)?;
        match header.id {
            NOTIFY_NO_SENDERS => return Err(EDIED),
            NOTIFY_SEND_ONCE => continue,
            _ => {}
        }
        let size = (header.size as usize).min(WORDS * 8);
        let request = &message.as_bytes()[..size];
        let mut reply = [0u64; WORDS];
        let (mut outcome, found) = serve(request, reply.as_mut_bytes());
        if outcome == Outcome::NotMine {
            outcome = Request::new(Mode::Received, request)
                .map_or(Outcome::NoReply, |request| request.bad_id(reply.as_mut_bytes()));
        }
        if found.is_none() {
            release(request);
        }
        if let Outcome::Reply(size) = outcome {
            answer(&mut reply.as_mut_bytes()[..size]);
        }
        if let Some(found) = found {
            return Ok(found);
        }
    }
    Err(EDIED)
}

/// Waits for a translator's `fsys_startup` and answers it without a node underneath; the control port.
///
/// # Errors
/// As for [`await_report`].
pub fn await_translator(port: &ReceiveRight, patience: Duration) -> Result<SendRight, i32> {
    await_report(port, patience, |request, reply| {
        let mut report = Report(None);
        (fsys::dispatch(&mut report, request, reply), report.0)
    })
}

/// Takes `fsys_startup`.
struct Report(Option<SendRight>);

impl FsysServer for Report {
    fn fsys_startup(
        &mut self,
        _: &Request<'_>,
        _openflags: i32,
        control_port: Port,
    ) -> Result<FsysStartupReply, i32> {
        self.0 = Some(SendRight::received(control_port)?);
        Ok(FsysStartupReply { realnode: NO_RESULT })
    }
}

/// Sends a reply; whoever does not take it is gone.
fn answer(reply: &mut [u8]) {
    let option = option::SEND_MSG | option::SEND_TIMEOUT;
    if syscall::mach_msg(reply, MsgArgs { option, send_size: reply.len(), ..MsgArgs::default() }).is_err() {
        release(reply);
    }
}
