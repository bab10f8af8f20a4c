//! The first task's half of a server's start: a bootstrap port at which the server reports, within a time.
//!
//! Ports and messages are this task's own; a server's message is queued at its own expense until it is received.

use core::time::Duration;

use libhurd::abi::message::{Header, option};
use libhurd::clock::{Deadline, now};
use libhurd::errno::EDIED;
use libhurd::mig::{Mode, Outcome, Request};
use libhurd::port::ReceiveRight;
use libhurd::server::release;
use libhurd::syscall::{self, MsgArgs};
use zerocopy::{FromBytes, IntoBytes};

/// How long a server may take to report.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);
/// Words of the longest message.
const WORDS: usize = 256;
/// Messages taken from a server before it must have reported.
const MESSAGES: u32 = 8;

/// Serves messages at `port` until `serve` says that it has what it wants.
///
/// # Errors
/// `MACH_RCV_TIMED_OUT` when [`PATIENCE`] is over; `EDIED` when the port's other end says other things.
pub(crate) fn await_report<T>(
    port: &ReceiveRight,
    mut serve: impl FnMut(&[u8], &mut [u8]) -> (Outcome, Option<T>),
) -> Result<T, i32> {
    let deadline = Deadline::within(PATIENCE).ns();
    for _ in 0..MESSAGES {
        let mut message = [0u64; WORDS];
        let left = deadline.saturating_sub(now()).div_ceil(1_000_000) as u32;
        let args = MsgArgs {
            option: option::RCV_MSG | option::RCV_TIMEOUT,
            rcv_name: port.name(),
            timeout: left,
            ..MsgArgs::default()
        };
        syscall::mach_msg(message.as_mut_bytes(), args)?;
        let (header, _) = Header::read_from_prefix(message.as_bytes()).map_err(|_| EDIED)?;
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

/// Sends a reply; whoever does not take it is gone.
fn answer(reply: &mut [u8]) {
    let args = MsgArgs {
        option: option::SEND_MSG | option::SEND_TIMEOUT,
        send_size: reply.len(),
        ..MsgArgs::default()
    };
    if syscall::mach_msg(reply, args).is_err() {
        release(reply);
    }
}
