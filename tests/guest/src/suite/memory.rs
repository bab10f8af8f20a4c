//! Memory in calls: lent, given, copied. What is charged to whom, and what happens when somebody does not keep still.

use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use guest::machine::{Grant, destroy_account, info, make_account};
use guest::peer::Peer;
use guest::trial::{self, TrialReadReply, offer};
use libhurd::abi::account::FRAMES;
use libhurd::abi::returns::{
    KERN_FAILURE, KERN_INVALID_ADDRESS, KERN_MEMORY_ERROR, KERN_RESOURCE_SHORTAGE, MACH_RCV_BODY_ERROR,
};
use libhurd::mig::{Donation, Ool, OutData, PortName, RpcError, offer};
use libhurd::ool::{self, Pages};
use libhurd::port::SendRight;
use libhurd::program::Program;
use libhurd::stubs::account::account_children;
use libhurd::stubs::io;
use libhurd::{ALL, Env, Mach, Offer, clock, syscall, thread, vm};

use super::{Bench, SELF, Test, Verdict, answers, fails, holds, must, same};

pub(crate) const TESTS: &[(&str, Test)] = &[
    ("loans_of_all_sizes", loans_of_all_sizes),
    ("a_loan_is_charged_to_the_call", loan_is_charged_to_the_call),
    ("a_loan_ends_with_the_reply", loan_ends_with_the_reply),
    ("a_lender_unmaps", lender_unmaps),
    ("a_lender_dies", lender_dies),
    ("a_gift_comes_back", gift_comes_back),
    ("a_gift_beyond_the_accept_window", gift_beyond_the_window),
    ("a_gift_is_kept_in_a_session", gift_is_kept),
    ("a_session_ends_under_a_gift", session_ends_under_a_gift),
    ("copies", copies),
    ("the_console_reads_a_loan", console_reads_a_loan),
];

/// Where servers have queues: nothing is charged to calls, the rest is the same.
pub(crate) const AT_A_QUEUE: &[(&str, Test)] = &[
    ("loans_of_all_sizes", loans_of_all_sizes),
    ("a_loan_ends_with_the_reply", loan_ends_with_the_reply),
    ("a_lender_unmaps", lender_unmaps),
    ("a_gift_comes_back", gift_comes_back),
    ("copies", copies),
    ("the_console_reads_a_loan", console_reads_a_loan),
];

const PAGE: usize = 4096;

/// Bytes to lend, and their sum.
fn bytes(len: usize) -> (Vec<u8>, u64) {
    let bytes: Vec<u8> = (0..len).map(|at| (at * 7 + at / PAGE) as u8).collect();
    let sum = bytes.iter().map(|&byte| u64::from(byte)).sum();
    (bytes, sum)
}

fn read(server: &Peer, data: &[u8], pause_ms: i32, offer: &Donation) -> Result<TrialReadReply, i32> {
    trial::trial_read(&Mach, server.control.name(), data, pause_ms, offer).map_err(RpcError::code)
}

/// Pages to give, filled with `bytes`.
fn gift(bytes: &[u8]) -> Result<Ool, String> {
    let mut pages = must("pages", Pages::new(bytes.len()))?;
    pages.bytes_mut().copy_from_slice(bytes);
    Ok(pages.into_ool(bytes.len()))
}

fn loans_of_all_sizes(bench: &Bench) -> Verdict {
    let server = bench.server()?;
    bench.exact(|| {
        for len in [0, 1, 2048, 2049, PAGE, 3 * PAGE + 1, 300_000] {
            let (data, sum) = bytes(len);
            let reply = must("a loan", read(&server, &data, 0, offer!(offer::TRIAL_READ)))?;
            same("the sum", reply.sum, sum)?;
            same("out of line", reply.apart, i32::from(len > 2048))?;
        }
        Ok(())
    })?;
    must("the server's end", server.end())
}

/// The pages count under the call's ceiling, and are its payer's.
fn loan_is_charged_to_the_call(bench: &Bench) -> Verdict {
    const PAGES: u64 = 64;
    let server = bench.server()?;
    bench.exact(|| {
        let (data, sum) = bytes(PAGES as usize * PAGE);
        let left = |data: &[u8]| {
            let reply = must("a loan", read(&server, data, 0, offer!(offer::TRIAL_READ, frames: 200)))?;
            Ok::<_, String>((reply.frames, reply.sum))
        };
        let ((without, _), (with, seen)) = (left(&data[..1])?, left(&data)?);
        same("the sum", seen, sum)?;
        let taken = without - with;
        holds(
            &alloc::format!("{PAGES} pages took {taken} frames of the offer"),
            (PAGES..PAGES + 8).contains(&taken),
        )?;
        let little = offer!(offer::TRIAL_READ, frames: 60);
        fails("a loan that the offer does not pay", read(&server, &data, 0, little), KERN_RESOURCE_SHORTAGE)?;
        answers(&server)
    })?;
    must("the server's end", server.end())
}

/// A server that has kept the address has kept nothing.
fn loan_ends_with_the_reply(bench: &Bench) -> Verdict {
    let server = bench.server()?;
    let to = server.control.name();
    bench.exact(|| {
        let (data, sum) = bytes(5 * PAGE);
        let noted = trial::trial_note(&Mach, to, &data, ALL).map_err(RpcError::code);
        same("the sum", must("trial_note", noted)?.sum, sum)?;
        let stale = trial::trial_read_noted(&Mach, to, ALL).map_err(RpcError::code);
        fails("reading what was lent to an earlier call", stale, KERN_INVALID_ADDRESS)?;
        answers(&server)
    })?;
    must("the server's end", server.end())
}

/// The server sees what was there when the call was made, whatever its client does meanwhile.
fn lender_unmaps(bench: &Bench) -> Verdict {
    let server = bench.server()?;
    bench.exact(|| {
        let (data, sum) = bytes(4 * PAGE);
        let mut pages = must("pages", Pages::new(data.len()))?;
        pages.bytes_mut().copy_from_slice(&data);
        let (address, size) = (pages.address(), data.len() as u64);
        let unmap = move || {
            // The call is under way by then.
            let _ = clock::sleep(Duration::from_millis(20));
            let _ = vm::deallocate(address, size);
        };
        must("a thread", thread::spawn(unmap))?;
        let reply = read(&server, pages.bytes(), 60, ALL);
        // Its memory is gone.
        core::mem::forget(pages);
        same("the sum", must("the loan", reply)?.sum, sum)?;
        answers(&server)
    })?;
    must("the server's end", server.end())
}

/// `lend`: lends memory to the server that it has as descriptor 3, for ever.
pub(crate) fn lender(env: &'static Env) -> i32 {
    let (data, _) = bytes(64 * PAGE);
    i32::from(trial::trial_read(&Mach, env.fd(3), &data, 1_000_000, ALL).is_err())
}

/// The call ends, the loan with it, and the server is whole.
fn lender_dies(bench: &Bench) -> Verdict {
    let server = bench.server()?;
    let own = SendRight::from_name(syscall::account_self());
    bench.exact(|| {
        let grant = Grant { name: "lender", frames: 2048, objects: 4096, calls: 64, share: 100 };
        let account = must("an account", make_account(own.name(), &grant))?;
        let fds = [PortName::NULL, PortName::NULL, PortName::NULL, server.control.name()];
        let lender = Program::new(SELF).argv([SELF, b"lend"]).account(account.name()).descriptors(&fds);
        let child = must("the lender", lender.start(ALL))?;
        must("a pause", clock::sleep(Duration::from_millis(50)))?;
        let charged = must("info", info(account.name()))?.resources[FRAMES].charged;
        holds("the loan is not charged to the lender", charged >= 2 * 64)?;
        must("killing it", child.kill())?;
        must("its end", child.wait(&Offer::all().within(Duration::from_secs(1))))?;
        must("destroying the account", destroy_account(&account))?;
        answers(&server)
    })?;
    must("the server's end", server.end())
}

fn gift_comes_back(bench: &Bench) -> Verdict {
    let server = bench.server()?;
    bench.exact(|| {
        for len in [1, PAGE, 10 * PAGE - 5] {
            let (data, _) = bytes(len);
            let offer = offer!(offer::TRIAL_RETURN);
            let reply = trial::trial_return(&Mach, server.control.name(), gift(&data)?, offer);
            let back = must("trial_return", reply.map_err(RpcError::code))?.back;
            let back = ool::take_bytes::<1>(OutData::Ool(back));
            same("bytes that came back", back.len(), len)?;
            holds(
                "other bytes came back",
                back.iter().zip(&data).all(|(&got, &was)| got == was.wrapping_add(1)),
            )?;
        }
        Ok(())
    })?;
    must("the server's end", server.end())
}

/// More than the caller has agreed to accept does not reach it, and is nobody's afterwards.
fn gift_beyond_the_window(bench: &Bench) -> Verdict {
    /// Bits that say what there was no room for.
    const WHAT: i32 = 0x3c00;
    let server = bench.server()?;
    bench.exact(|| {
        let (data, _) = bytes(4 * PAGE);
        for (accept, fine) in [(4, true), (3, false), (0, false)] {
            let offer = Donation { accept, ..offer::TRIAL_RETURN.default_offer() };
            match trial::trial_return(&Mach, server.control.name(), gift(&data)?, &offer) {
                Ok(reply) if fine => drop(ool::take_bytes::<1>(OutData::Ool(reply.back))),
                Ok(_) => return Err(alloc::format!("a gift of 4 pages came through a window of {accept}")),
                Err(error) if fine => return Err(alloc::format!("a gift within the window: {error}")),
                Err(error) => same("the code", error.code() & !WHAT, MACH_RCV_BODY_ERROR)?,
            }
        }
        answers(&server)
    })?;
    must("the server's end", server.end())
}

fn keep(server: &Peer, given: Ool, offer: &Donation) -> Result<(), i32> {
    trial::trial_keep(&Mach, server.control.name(), given, offer).map_err(RpcError::code)
}

fn kept(server: &Peer) -> Result<u64, i32> {
    Ok(trial::trial_kept(&Mach, server.control.name(), ALL).map_err(RpcError::code)?.sum)
}

/// The client's charge after the reply, less that before the call, is what its session holds; and it is gone with it.
fn gift_is_kept(bench: &Bench) -> Verdict {
    let server = bench.server()?;
    let own = SendRight::from_name(syscall::account_self());
    let given = || Ok::<u64, String>(must("info", info(own.name()))?.resources[FRAMES].given);
    bench.exact(|| {
        let (data, sum) = bytes(10 * PAGE);
        let nothing = Donation { retain: 0, ..*ALL };
        let refused = keep(&server, gift(&data)?, &nothing);
        fails("keeping what may not be retained", refused, KERN_RESOURCE_SHORTAGE)?;
        let before = given()?;
        must("trial_keep", keep(&server, gift(&data)?, ALL))?;
        same("frames in the session", given()? - before, 10 + 8)?;
        same("the sum of what is kept", must("trial_kept", kept(&server))?, sum)?;
        must("trial_keep of nothing", keep(&server, Ool::EMPTY, ALL))?;
        same("frames in the session", given()?, before)?;
        fails("reading what is not kept", kept(&server), KERN_FAILURE)
    })?;
    must("the server's end", server.end())
}

/// The client may take back what its sessions hold at any moment: the server's next look fails, and that is all.
fn session_ends_under_a_gift(bench: &Bench) -> Verdict {
    let server = bench.server()?;
    let own = SendRight::from_name(syscall::account_self());
    bench.exact(|| {
        let (data, _) = bytes(3 * PAGE);
        must("trial_keep", keep(&server, gift(&data)?, ALL))?;
        let children = account_children(&Mach, own.name(), ALL).map_err(RpcError::code);
        let children =
            ool::take_values::<PortName, 1>(OutData::Ool(must("account_children", children)?.children));
        for child in children.into_iter().map(SendRight::from_name) {
            let about = must("info", info(child.name()))?;
            if about.flags & 1 != 0 && about.resources[FRAMES].limit == 3 + 8 {
                must("destroying the session", destroy_account(&child))?;
            }
        }
        let code = kept(&server).err().unwrap_or(0);
        holds(
            &alloc::format!("reading memory of a session that is gone: {code:#x}"),
            [KERN_INVALID_ADDRESS, KERN_MEMORY_ERROR].contains(&code),
        )?;
        must("trial_keep of nothing", keep(&server, Ool::EMPTY, ALL))?;
        answers(&server)
    })?;
    must("the server's end", server.end())
}

fn copies(bench: &Bench) -> Verdict {
    let server = bench.server()?;
    bench.exact(|| {
        for len in [0, 5, 2048, 50_000] {
            let (data, sum) = bytes(len);
            let reply = trial::trial_copy(&Mach, server.control.name(), &data, ALL).map_err(RpcError::code);
            same("the sum", must("trial_copy", reply)?.sum, sum)?;
        }
        Ok(())
    })?;
    must("the server's end", server.end())
}

/// A server of the system itself: more text than fits in a message is lent to it, and it takes all of it.
fn console_reads_a_loan(bench: &Bench) -> Verdict {
    let console = libhurd::env::current().fd(1);
    bench.exact(|| {
        for len in [100, 2048, 2049, 5000] {
            let text: Vec<u8> =
                (1..=len).map(|at| if at % 100 == 0 || at == len { b'\n' } else { b'.' }).collect();
            let written = io::io_write(&Mach, console, &text, -1, offer!(io::offer::IO_WRITE));
            same("bytes written", must("io_write", written.map_err(RpcError::code))?.amount, len as u64)?;
        }
        Ok(())
    })
}
