//! Calls: the transport of all client stubs.
//!
//! A call to a port that migrates needs no queue for its reply, but it names a receive right all the same (a legacy server answers through it).
//! A thread at home keeps one reply port for its life. A call gets one from a small pool of the task's when it first needs it and gives it back at its
//! end; a reply port at which a late answer may still arrive is destroyed instead.
//!
//! Who pays: reply ports are the task's own (`own`). Everything a call uses is paid by the caller, up to the offer. In worlds without
//! ceilings the offer is ignored, but not how long the interface says that its call may take: see [`timing`](mod@crate::timing).

use core::sync::atomic::{AtomicU32, Ordering};

use drover_abi::message::{Header, msgt};
use drover_abi::returns::{KERN_RESOURCE_SHORTAGE, MACH_SEND_MSG_TOO_SMALL};
use mig_runtime::{CallOptions, Donation, PortName, Transport};
use zerocopy::FromBytes;

use crate::local::Local;
use crate::syscall::{self, MsgArgs};
use crate::timing::{Halves, Timing};
use crate::{payer, port, world};

/// The kernel's message traps.
#[derive(Clone, Copy, Debug, Default)]
pub struct Mach;

/// Everything that remains: the offer for calls to the kernel itself, which are bounded and charge what they make.
pub const ALL: &Donation = &Donation::ALL;

/// Reply ports that nobody uses now.
static POOL: [AtomicU32; 16] = [const { AtomicU32::new(0) }; 16];

fn pool_take() -> Option<PortName> {
    POOL.iter().map(|slot| slot.swap(0, Ordering::AcqRel)).find(|&name| name != 0).map(PortName)
}

fn pool_put(name: PortName) -> bool {
    POOL.iter().any(|slot| slot.compare_exchange(0, name.0, Ordering::AcqRel, Ordering::Relaxed).is_ok())
}

/// The reply port of this activation.
fn reply_port(local: Local) -> Result<PortName, i32> {
    let name = local.reply_port();
    if name.is_valid() {
        return Ok(name);
    }
    let name = pool_take().unwrap_or_else(|| payer::own(syscall::mach_reply_port));
    if !name.is_valid() {
        return Err(KERN_RESOURCE_SHORTAGE);
    }
    local.set_reply_port(name);
    Ok(name)
}

/// Destroys a reply port at which something may still arrive.
fn discard(local: Local, name: PortName) {
    local.set_reply_port(PortName::NULL);
    // On failure the task keeps a port that nobody knows.
    let _ = port::destroy_receive(name);
}

/// The call ends in good order: its reply port goes back to the pool.
pub(crate) fn end_of_call(local: Local) {
    // Destroying one is a call and takes another, which then has to go as well: from the pool, so that there is room for it.
    loop {
        let name = local.reply_port();
        if !name.is_valid() {
            return;
        }
        local.set_reply_port(PortName::NULL);
        if pool_put(name) {
            return;
        }
        discard(local, name);
    }
}

/// The call is cut short, perhaps while it waited for a reply.
pub(crate) fn abandon(local: Local) {
    let name = local.reply_port();
    if name.is_valid() {
        discard(local, name);
        end_of_call(local);
    }
}

/// A failed receive after a sent request: the reply may come yet.
const fn reply_may_come(code: i32) -> bool {
    matches!(code, 0x1000_4000..=0x1000_7fff)
}

impl Transport for Mach {
    fn call(&self, msg: &mut [u8], send_size: usize, donation: &Donation) -> Result<usize, i32> {
        exchange(msg, send_size, CallOptions::default(), donation)
    }

    fn send(&self, msg: &mut [u8], size: usize, donation: &Donation) -> Result<(), i32> {
        self.send_with(msg, size, CallOptions::default(), donation)
    }

    fn call_with(
        &self,
        msg: &mut [u8],
        send_size: usize,
        how: CallOptions,
        donation: &Donation,
    ) -> Result<usize, i32> {
        exchange(msg, send_size, how, donation)
    }

    fn send_with(
        &self,
        msg: &mut [u8],
        size: usize,
        how: CallOptions,
        donation: &Donation,
    ) -> Result<(), i32> {
        let timing = Timing::of(how, Halves::Send)?;
        let args =
            MsgArgs { option: timing.option, send_size: size, timeout: timing.timeout, ..MsgArgs::default() };
        trap(msg, args, donation, &timing)
    }
}

/// The trap. What the kernel is told of the offer: in worlds without ceilings nothing, unless the call has a time of its own.
fn trap(msg: &mut [u8], args: MsgArgs, donation: &Donation, timing: &Timing) -> Result<(), i32> {
    let ceilings = world::current().has_ceilings();
    if !timing.is_timed() {
        return syscall::drover_call(msg, args, ceilings.then_some(donation));
    }
    let bounded = timing.bound(if ceilings { donation } else { ALL });
    syscall::drover_call(msg, args, Some(&bounded)).map_err(|code| timing.refused(code))
}

/// Sends a request and receives its reply.
fn exchange(msg: &mut [u8], send_size: usize, how: CallOptions, donation: &Donation) -> Result<usize, i32> {
    let timing = Timing::of(how, Halves::Both)?;
    let local = Local::current();
    let (header, _) = Header::mut_from_prefix(msg).map_err(|_| MACH_SEND_MSG_TOO_SMALL)?;
    let own = header.local == 0;
    let reply = if own { reply_port(local)? } else { PortName(header.local as u32) };
    if own {
        header.local = u64::from(reply.0);
        header.bits = header.bits & !0xff00 | msgt::MAKE_SEND_ONCE << 8;
    }
    let args = MsgArgs { option: timing.option, send_size, rcv_name: reply, timeout: timing.timeout };
    match trap(msg, args, donation, &timing) {
        Ok(()) => {
            timing.replied(msg)?;
            let (header, _) = Header::read_from_prefix(msg).map_err(|_| MACH_SEND_MSG_TOO_SMALL)?;
            Ok((header.size as usize).min(msg.len()))
        }
        Err(code) => {
            if own && reply_may_come(code) {
                discard(local, reply);
            }
            Err(code)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pool_is_bounded() {
        for n in 1..=16 {
            assert!(pool_put(PortName(n)));
        }
        assert!(!pool_put(PortName(17)));
        assert_eq!(core::iter::from_fn(pool_take).count(), 16);
        assert_eq!(pool_take(), None);
    }

    #[test]
    fn codes_of_receiving() {
        use drover_abi::returns as r;
        assert!(reply_may_come(r::MACH_RCV_TIMED_OUT) && reply_may_come(r::MACH_RCV_INTERRUPTED));
        assert!(!reply_may_come(r::MACH_SEND_INVALID_DEST) && !reply_may_come(r::DROVER_LOCK_HELD));
    }
}
