//! How long an interface lets its call take (`waittime`), and with which options of the message call (`msgoption`).

use alloc::sync::Arc;
use core::sync::atomic::{AtomicI32, AtomicU32, Ordering};
use core::time::Duration;

use guest::trial;
use libhurd::abi::message::option;
use libhurd::abi::returns::{
    KERN_ABORTED, KERN_INVALID_ARGUMENT, KERN_TIMEDOUT, MACH_RCV_INTERRUPTED, MACH_RCV_INVALID_NOTIFY,
    MACH_RCV_TIMED_OUT, MACH_SEND_INVALID_NOTIFY, MACH_SEND_TIMED_OUT,
};
use libhurd::clock::{self, now};
use libhurd::mig::{Donation, PortName, RpcError};
use libhurd::port::{ReceiveRight, SendRight};
use libhurd::stubs::mach::thread_abort;
use libhurd::{ALL, Mach, Offer, syscall, thread, world};

use super::{Bench, Test, Verdict, fails, holds, must, same};

/// In worlds where calls migrate and where servers have queues.
pub(crate) const TESTS: &[(&str, Test)] = &[
    ("within_the_time", within_the_time),
    ("time_is_over", time_is_over),
    ("no_time_at_all", no_time_at_all),
    ("full_queue", full_queue),
    ("nobody_answers", nobody_answers),
    ("options", options),
    ("interrupted_calls_are_not_made_again", interrupted),
];

const MS: u64 = 1_000_000;

fn sleep(to: PortName, timeout: u32, options: u32, pause_ms: i32, offer: &Donation) -> Result<(), i32> {
    trial::trial_sleep(&Mach, to, timeout, options as i32, pause_ms, offer).map_err(RpcError::code)
}

/// Holds that `body` fails with `code` after `least` to `most` ms.
fn fails_after(
    what: &str,
    code: i32,
    (least, most): (u64, u64),
    body: impl FnOnce() -> Result<(), i32>,
) -> Verdict {
    let begin = now();
    fails(what, body(), code)?;
    let took = (now() - begin) / MS;
    holds(
        &alloc::format!("{what}: took {took} ms, expected {least} to {most}"),
        (least..=most).contains(&took),
    )
}

fn within_the_time(bench: &Bench) -> Verdict {
    let server = bench.server()?;
    bench.exact(|| must("a short call", sleep(server.control.name(), 2000, 0, 10, ALL)))?;
    must("the server's end", server.end())
}

/// The call comes back in time; the server answers the next one, also after its late reply has found nobody.
fn time_is_over(bench: &Bench) -> Verdict {
    let server = bench.server()?;
    let to = server.control.name();
    bench.exact(|| {
        fails_after("a long call", MACH_RCV_TIMED_OUT, (20, 70), || sleep(to, 20, 0, 150, ALL))?;
        must("a call meanwhile", sleep(to, 2000, 0, 1, ALL))?;
        must("a pause", clock::sleep(Duration::from_millis(200)))?;
        must("a call after the late reply", sleep(to, 2000, 0, 1, ALL))?;
        super::answers(&server)
    })?;
    must("the server's end", server.end())
}

/// A queue takes a message in no time, a call cannot be made in none: it is not made.
fn no_time_at_all(bench: &Bench) -> Verdict {
    let server = bench.server()?;
    let code = if world::current().migrates() { MACH_SEND_TIMED_OUT } else { MACH_RCV_TIMED_OUT };
    bench.exact(|| {
        fails_after("a call in no time", code, (0, 20), || sleep(server.control.name(), 0, 0, 5, ALL))?;
        let polls = option::RCV_TIMEOUT;
        let timed = |options| sleep(server.control.name(), 0, options, 5, ALL);
        fails_after("a poll", code, (0, 20), || timed(polls))?;
        must("a pause", clock::sleep(Duration::from_millis(50)))?;
        super::answers(&server)
    })?;
    must("the server's end", server.end())
}

/// Nobody receives, and the queue is full: the send half is bounded as well.
fn full_queue(bench: &Bench) -> Verdict {
    bench.exact(|| {
        let port = must("a port", ReceiveRight::new())?;
        let right = must("a right", port.send_right())?;
        for _ in 0..5 {
            fails("a call to nobody", sleep(right.name(), 1, 0, 0, ALL), MACH_RCV_TIMED_OUT)?;
        }
        fails_after("a call to a full queue", MACH_SEND_TIMED_OUT, (20, 60), || {
            sleep(right.name(), 20, 0, 0, ALL)
        })
    })
}

/// A queue whose owner is alive and silent: many callers come back, each in its time, and nothing is left of them.
fn nobody_answers(bench: &Bench) -> Verdict {
    const CALLERS: u32 = 4;
    bench.exact(|| {
        let port = must("a port", ReceiveRight::new())?;
        let right = Arc::new(must("a right", port.send_right())?);
        let ended = Arc::new(AtomicU32::new(0));
        for n in 1..=CALLERS {
            let (right, ended) = (right.clone(), ended.clone());
            let call = move || {
                if sleep(right.name(), 20 * n, 0, 0, ALL) == Err(MACH_RCV_TIMED_OUT) {
                    ended.fetch_add(1, Ordering::AcqRel);
                }
            };
            must("a thread", thread::spawn(call))?;
        }
        must("a pause", clock::sleep(Duration::from_millis(200)))?;
        same("callers that came back", ended.load(Ordering::Acquire), CALLERS)
    })
}

/// A call that is broken off comes back at once with the code of Mach, with the options that say so or without; a migrating one with the kernel's.
fn interrupted(bench: &Bench) -> Verdict {
    let server = bench.server()?;
    let migrating = if world::current().migrates() { KERN_ABORTED } else { MACH_RCV_INTERRUPTED };
    bench.exact(|| {
        let port = must("a port", ReceiveRight::new())?;
        let silent = must("a right", port.send_right())?;
        for (to, options, code) in [
            (silent.name(), option::SEND_INTERRUPT | option::RCV_INTERRUPT, MACH_RCV_INTERRUPTED),
            (silent.name(), 0, MACH_RCV_INTERRUPTED),
            (server.control.name(), option::RCV_INTERRUPT, migrating),
        ] {
            let (got, name) = (Arc::new(AtomicI32::new(i32::MAX)), Arc::new(AtomicU32::new(0)));
            let (result, mine) = (got.clone(), name.clone());
            let call = move || {
                mine.store(syscall::mach_thread_self().0, Ordering::Release);
                let ended = sleep(to, 5000, options, 60, ALL);
                result.store(ended.err().unwrap_or(0), Ordering::Release);
            };
            must("a thread", thread::spawn(call))?;
            must("a pause", clock::sleep(Duration::from_millis(20)))?;
            let thread = SendRight::from_name(PortName(name.load(Ordering::Acquire)));
            must("thread_abort", thread_abort(&Mach, thread.name(), ALL).map_err(i32::from))?;
            must("a pause", clock::sleep(Duration::from_millis(20)))?;
            same(&alloc::format!("the code with options {options:#x}"), got.load(Ordering::Acquire), code)?;
        }
        // The late reply of the server finds nobody.
        must("a pause", clock::sleep(Duration::from_millis(60)))?;
        super::answers(&server)
    })?;
    must("the server's end", server.end())
}

/// What can be honoured is, and what cannot is refused before anything is sent.
fn options(bench: &Bench) -> Verdict {
    let server = bench.server()?;
    let to = server.control.name();
    bench.exact(|| {
        for fine in [option::SEND_INTERRUPT, option::RCV_INTERRUPT, option::SEND_TIMEOUT] {
            must("an option", sleep(to, 2000, fine, 1, ALL))?;
        }
        for (bit, code) in [
            (option::SEND_NOTIFY, MACH_SEND_INVALID_NOTIFY),
            (option::SEND_CANCEL, MACH_SEND_INVALID_NOTIFY),
            (option::RCV_NOTIFY, MACH_RCV_INVALID_NOTIFY),
            (option::RCV_LARGE, KERN_INVALID_ARGUMENT),
            (1 << 20, KERN_INVALID_ARGUMENT),
        ] {
            fails_after("an option that means nothing", code, (0, 20), || sleep(to, 2000, bit, 1000, ALL))?;
        }
        super::answers(&server)
    })?;
    must("the server's end", server.end())
}

/// The caller's own deadline keeps its own code.
pub(crate) fn nearer_deadline(bench: &Bench) -> Verdict {
    let server = bench.server()?;
    let to = server.control.name();
    bench.exact(|| {
        let within = |ms| Offer::all().within(Duration::from_millis(ms));
        fails_after("the offer is the nearer", KERN_TIMEDOUT, (20, 70), || {
            sleep(to, 1000, 0, 500, &within(20))
        })?;
        fails_after("the interface is the nearer", MACH_RCV_TIMED_OUT, (20, 70), || {
            sleep(to, 20, 0, 500, &within(1000))
        })?;
        fails_after("no time-out but the offer's", KERN_TIMEDOUT, (20, 70), || {
            trial::trial_doze(&Mach, to, 500, &within(20)).map_err(RpcError::code)
        })?;
        super::answers(&server)
    })?;
    must("the server's end", server.end())
}
