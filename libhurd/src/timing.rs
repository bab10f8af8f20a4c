//! What an interface says of the message call itself (`waittime`, `msgoption`), as the kernel is asked for it.
//!
//! | | at a queue | a call that migrates |
//! |---|---|---|
//! | `waittime` | bounds sending and receiving | is a deadline of the call |
//! | over before the request was taken | `MACH_SEND_TIMED_OUT` | the same: a call cannot be made in no time |
//! | over before the reply | `MACH_RCV_TIMED_OUT`; a late reply finds nobody | `MACH_RCV_TIMED_OUT`; the server's work has ended |
//! | `MACH_RCV_TIMEOUT` alone | as a `waittime` of 0 | the same |
//! | `MACH_SEND_TIMEOUT` | bounds sending, by `waittime` or 0 | there is no queue that could be full |
//! | `MACH_SEND_INTERRUPT`, `MACH_RCV_INTERRUPT` | what libhurd always does: nothing is tried again | the same |
//!
//! On Mach a `waittime` leaves the send without a bound; here no wait is without one. Everything else is refused, not ignored: notifications
//! (`MACH_SEND_NOTIFY`, `MACH_SEND_CANCEL`, `MACH_RCV_NOTIFY`), for which a stub has no port, with the code of `mach_msg`; `MACH_RCV_LARGE`, whose message would stay
//! behind, and unknown bits with `KERN_INVALID_ARGUMENT`.

use core::time::Duration;

use drover_abi::message::{BITS_COMPLEX, Header, option};
use drover_abi::returns::{
    KERN_INVALID_ARGUMENT, KERN_TIMEDOUT, MACH_RCV_INVALID_NOTIFY, MACH_RCV_TIMED_OUT,
    MACH_SEND_INVALID_NOTIFY, MACH_SEND_TIMED_OUT,
};
use mig_runtime::{CallOptions, Donation, ERROR_REPLY_SIZE, Value};
use zerocopy::FromBytes;

use crate::clock::{self, Deadline};

/// The halves of a message call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Halves {
    /// A one-way message.
    Send,
    /// A call.
    Both,
}

/// How the kernel is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Timing {
    /// Options of `mach_msg`.
    pub(crate) option: u32,
    /// Its time-out in ms.
    pub(crate) timeout: u32,
    /// When the time is over, ns since boot; `u64::MAX`: never.
    at: u64,
}

impl Timing {
    /// For a call or a one-way message.
    ///
    /// # Errors
    /// As the module says.
    pub(crate) fn of(how: CallOptions, halves: Halves) -> Result<Self, i32> {
        let sides = option::SEND_MSG | if halves == Halves::Both { option::RCV_MSG } else { 0 };
        // Nearly all calls.
        if how == CallOptions::default() {
            return Ok(Self { option: sides, timeout: 0, at: u64::MAX });
        }
        let (options, wait) = plan(how, halves)?;
        let at = wait.map_or(u64::MAX, |ms| Deadline::within(Duration::from_millis(ms.into())).ns());
        Ok(Self { option: sides | options, timeout: wait.unwrap_or(0), at })
    }

    /// The offer of a call that ends by then.
    pub(crate) fn bound(&self, donation: &Donation) -> Donation {
        donation.deadline(donation.deadline_ns.min(self.at))
    }

    /// Whether there is a time to be over.
    pub(crate) const fn is_timed(&self) -> bool {
        self.at != u64::MAX
    }

    /// Whether the time of the interface is over, and not only that of the caller's offer.
    fn over(&self) -> bool {
        self.is_timed() && clock::now() >= self.at
    }

    /// The code of a call that the kernel has not taken.
    pub(crate) fn refused(&self, code: i32) -> i32 {
        if code == KERN_TIMEDOUT && self.over() { MACH_SEND_TIMED_OUT } else { code }
    }

    /// Holds that a reply is not the kernel's word that the time is over.
    ///
    /// # Errors
    /// `MACH_RCV_TIMED_OUT`: it is.
    pub(crate) fn replied(&self, reply: &[u8]) -> Result<(), i32> {
        if self.is_timed() && is_time_out(reply) && self.over() {
            return Err(MACH_RCV_TIMED_OUT);
        }
        Ok(())
    }
}

/// An error reply that says that a deadline has passed.
fn is_time_out(reply: &[u8]) -> bool {
    let Ok((header, _)) = Header::read_from_prefix(reply) else { return false };
    header.size as usize == ERROR_REPLY_SIZE
        && header.bits & BITS_COMPLEX == 0
        && reply.get(ERROR_REPLY_SIZE - 8..).map(i32::load) == Some(KERN_TIMEDOUT)
}

/// The time-out options of `mach_msg`, and how long to wait, in ms.
fn plan(how: CallOptions, halves: Halves) -> Result<(u32, Option<u32>), i32> {
    use option::{
        RCV_INTERRUPT, RCV_MSG, RCV_NOTIFY, RCV_TIMEOUT, SEND_CANCEL, SEND_INTERRUPT, SEND_MSG, SEND_NOTIFY,
        SEND_TIMEOUT,
    };
    if how.option & (SEND_NOTIFY | SEND_CANCEL) != 0 {
        return Err(MACH_SEND_INVALID_NOTIFY);
    }
    if how.option & RCV_NOTIFY != 0 {
        return Err(MACH_RCV_INVALID_NOTIFY);
    }
    let both = halves == Halves::Both;
    let known = SEND_MSG | SEND_TIMEOUT | SEND_INTERRUPT | RCV_TIMEOUT | RCV_INTERRUPT;
    if how.option & !(known | if both { RCV_MSG } else { 0 }) != 0 {
        return Err(KERN_INVALID_ARGUMENT);
    }
    let polls = both && how.option & RCV_TIMEOUT != 0;
    let wait = how.wait_ms.or(polls.then_some(0));
    let sending = if wait.is_some() { SEND_TIMEOUT } else { how.option & SEND_TIMEOUT };
    let receiving = if both && wait.is_some() { RCV_TIMEOUT } else { 0 };
    Ok((sending | receiving, wait))
}

#[cfg(test)]
mod tests {
    use super::*;
    use drover_abi::message::bits;
    use drover_abi::returns::KERN_RESOURCE_SHORTAGE;
    use option::{RCV_TIMEOUT, SEND_TIMEOUT};
    use std::vec::Vec;
    use zerocopy::IntoBytes;

    const fn how(wait_ms: Option<u32>, option: u32) -> CallOptions {
        CallOptions { wait_ms, option }
    }

    #[test]
    fn both_halves_are_bounded() {
        let both = SEND_TIMEOUT | RCV_TIMEOUT;
        for (how, halves, expected) in [
            (how(None, 0), Halves::Both, (0, None)),
            (how(Some(5), 0), Halves::Both, (both, Some(5))),
            (how(None, RCV_TIMEOUT), Halves::Both, (both, Some(0))),
            (how(Some(5), RCV_TIMEOUT | option::RCV_INTERRUPT), Halves::Both, (both, Some(5))),
            (how(None, SEND_TIMEOUT), Halves::Both, (SEND_TIMEOUT, None)),
            (how(None, SEND_TIMEOUT), Halves::Send, (SEND_TIMEOUT, None)),
            (how(Some(7), 0), Halves::Send, (SEND_TIMEOUT, Some(7))),
            (how(None, RCV_TIMEOUT | option::SEND_INTERRUPT), Halves::Send, (0, None)),
        ] {
            assert_eq!(plan(how, halves), Ok(expected), "{how:?} {halves:?}");
        }
    }

    #[test]
    fn what_cannot_be_done_is_refused() {
        for (bit, code) in [
            (option::SEND_NOTIFY, MACH_SEND_INVALID_NOTIFY),
            (option::SEND_CANCEL, MACH_SEND_INVALID_NOTIFY),
            (option::RCV_NOTIFY, MACH_RCV_INVALID_NOTIFY),
            (option::RCV_LARGE, KERN_INVALID_ARGUMENT),
            (1 << 16, KERN_INVALID_ARGUMENT),
            (1 << 31, KERN_INVALID_ARGUMENT),
        ] {
            for halves in [Halves::Both, Halves::Send] {
                assert_eq!(Timing::of(how(Some(1), bit), halves), Err(code), "{bit:#x}");
            }
        }
        assert_eq!(plan(how(None, option::RCV_MSG), Halves::Send), Err(KERN_INVALID_ARGUMENT));
    }

    fn reply(code: i32, size: u32) -> Vec<u8> {
        let header = Header { bits: bits(18, 0), size, ..Header::default() };
        let mut bytes = Vec::from(header.as_bytes());
        bytes.resize(64, 0);
        code.store(&mut bytes[40..44]);
        bytes
    }

    #[test]
    fn only_the_interface_s_own_time_is_a_time_out_of_mach() {
        let timing = |at| Timing { option: 3, timeout: 1, at };
        let (now, later) = (clock::now(), u64::MAX - 1);
        let (ours, theirs) = (timing(now), timing(u64::MAX));
        assert_eq!(ours.bound(&Donation::ALL).deadline_ns, now);
        assert_eq!(timing(later).bound(&Donation::ALL.deadline(7)).deadline_ns, 7);
        let (over, other) = (reply(KERN_TIMEDOUT, 48), reply(KERN_RESOURCE_SHORTAGE, 48));
        assert_eq!(ours.replied(&over), Err(MACH_RCV_TIMED_OUT));
        assert_eq!(ours.replied(&other), Ok(()));
        assert_eq!(ours.replied(&reply(KERN_TIMEDOUT, 56)), Ok(()));
        assert_eq!(theirs.replied(&over), Ok(()), "no time was set");
        assert_eq!(timing(later).replied(&over), Ok(()), "the caller's own deadline");
        assert_eq!(ours.refused(KERN_TIMEDOUT), MACH_SEND_TIMED_OUT);
        assert_eq!(ours.refused(KERN_RESOURCE_SHORTAGE), KERN_RESOURCE_SHORTAGE);
        assert_eq!(theirs.refused(KERN_TIMEDOUT), KERN_TIMEDOUT);
        assert_eq!(timing(later).refused(KERN_TIMEDOUT), KERN_TIMEDOUT);
    }
}
