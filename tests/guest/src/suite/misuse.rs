//! What no honest program does: wild pointers, malformed messages, trap numbers that do not exist. It gets an error, or ends; nobody else notices.

use alloc::format;

use libhurd::abi::message::{Header, bits, msgt, option};
use libhurd::abi::returns::{KERN_INVALID_ARGUMENT, MIG_BAD_ARGUMENTS, MIG_BAD_ID};
use libhurd::port::ReceiveRight;
use libhurd::program::Program;
use libhurd::syscall::{self, MsgArgs};
use libhurd::{ALL, Env, task};
use zerocopy::{FromBytes, IntoBytes};

use super::{Bench, SELF, Test, Verdict, holds, must, raw, same};

pub(crate) const TESTS: &[(&str, Test)] = &[
    ("wild_pointers", wild_pointers),
    ("trap_numbers", trap_numbers),
    ("malformed_messages", malformed_messages),
    ("malformed_kernel_calls", malformed_kernel_calls),
    ("programs_that_fault_end", programs_that_fault_end),
];

/// Addresses where no program has anything.
const WILD: [u64; 7] = [
    8,
    0x3fff_ffff,
    0x7fff_ffff_f000,
    0x8000_0000_0000,
    0xffff_8000_0000_0000,
    u64::MAX - 7,
    0x4000_0000_0000,
];

fn wild_pointers(bench: &Bench) -> Verdict {
    bench.exact(|| {
        for address in WILD {
            let message = [address, u64::from(option::SEND_MSG), 64, 64, 0, 0];
            let sent = raw::trap(-25, message) as u32;
            holds(&format!("mach_msg sent what is at {address:#x}"), sent != 0)?;
            let call = raw::trap(-160, message) as u32;
            holds(&format!("drover_call sent what is at {address:#x}"), call != 0)?;
            let info = raw::trap(-167, [address, 0, 0, 0, 0, 0]) as u32;
            holds(&format!("drover_call_info wrote to {address:#x}"), info != 0)?;
            let wait = raw::trap(-162, [address, 0, 0, 0, 1, 0]) as u32;
            holds(&format!("drover_wait waited at {address:#x}"), wait != 0)?;
            let print = raw::trap(-30, [address, 0, 0, 0, 0, 0]) as u32;
            holds(&format!("mach_print printed what is at {address:#x}"), print != 0)?;
        }
        Ok(())
    })
}

fn trap_numbers(bench: &Bench) -> Verdict {
    bench.exact(|| {
        for number in [-1, -9, -24, -31, -100, -129] {
            same(&format!("trap {number}"), raw::trap(number, [0; 6]) as u32 as i32, KERN_INVALID_ARGUMENT)?;
        }
        Ok(())
    })
}

/// Sends `size` bytes that begin with `header` as they are, and receives what comes within 20 ms.
fn exchange(header: Header, body: &[u64], size: usize, reply: &ReceiveRight) -> Result<Header, i32> {
    let mut message = [0u64; 64];
    message.as_mut_bytes()[..32].copy_from_slice(header.as_bytes());
    message[4..4 + body.len()].copy_from_slice(body);
    let args = MsgArgs {
        option: option::SEND_MSG | option::SEND_TIMEOUT | option::RCV_MSG | option::RCV_TIMEOUT,
        send_size: size,
        rcv_name: reply.name(),
        timeout: 20,
    };
    syscall::mach_msg(message.as_mut_bytes(), args)?;
    let (mut header, _) = Header::read_from_prefix(message.as_bytes()).map_err(|_| -1)?;
    // The code of an error reply.
    header.seqno = message[5] as u32;
    Ok(header)
}

/// Messages whose parts contradict each other, to a port of our own. Each is refused, or arrives as what it says it is; none may stop the kernel.
fn malformed_messages(bench: &Bench) -> Verdict {
    bench.exact(|| {
        let port = must("a port", ReceiveRight::new())?;
        let good = Header {
            bits: bits(msgt::MAKE_SEND, 0),
            size: 64,
            remote: u64::from(port.name().0),
            id: 5,
            ..Header::default()
        };
        for size in [0, 1, 8, 24, 31, 33, 36] {
            let sent = exchange(Header { size: size as u32, ..good }, &[], size, &port);
            holds(&format!("a message of {size} bytes was taken"), sent.is_err())?;
        }
        for disposition in [0, 1, 15, 16, 22, 23, 0x7f] {
            let sent = exchange(Header { bits: bits(disposition, 0), ..good }, &[], 64, &port);
            holds(&format!("a destination of kind {disposition} was taken"), sent.is_err())?;
        }
        // Descriptors of a complex message: too many elements, unknown kinds, memory that is not there, sizes that wrap.
        for descriptor in [
            u64::MAX,
            0x8000_0000_2000_4013,
            0xffff_ffff_2000_4013,
            0xffff_ffff_0000_0809,
            0x0000_0001_0000_0813,
        ] {
            let mut header = good;
            header.bits |= libhurd::abi::message::BITS_COMPLEX;
            let sent = exchange(header, &[descriptor, 0x1000, 0, 0], 64, &port);
            holds(&format!("descriptor {descriptor:#x} was taken"), sent.is_err())?;
        }
        must("a good message", exchange(good, &[], 64, &port)).map(drop)
    })
}

/// Requests to the kernel that are too short, too long, unknown or of the wrong kind: an error reply.
fn malformed_kernel_calls(bench: &Bench) -> Verdict {
    bench.exact(|| {
        let reply = must("a port", ReceiveRight::new())?;
        let request = |id, size: usize| {
            let header = Header {
                bits: bits(msgt::COPY_SEND, msgt::MAKE_SEND_ONCE),
                size: size as u32,
                remote: u64::from(task::this().0),
                local: u64::from(reply.name().0),
                id,
                ..Header::default()
            };
            exchange(header, &[u64::MAX; 8], size, &reply)
        };
        for id in [0, 1, 1999, 2199, 3299, 700_099, i32::MAX, i32::MIN] {
            let answer = must("the kernel's answer", request(id, 96))?;
            same(&format!("the code for id {id}"), answer.seqno as i32, MIG_BAD_ID)?;
        }
        for id in [2021, 2023, 2027, 3204, 3206, 3215, 700_800] {
            let answer = must("the kernel's answer", request(id, 40))?;
            same(
                &format!("the code for a wrong message of id {id}"),
                answer.seqno as i32,
                MIG_BAD_ARGUMENTS,
            )?;
        }
        Ok(())
    })
}

/// `misuse N`: does it.
pub(crate) fn run(env: &'static Env) -> i32 {
    match env.args().nth(2) {
        Some(b"0") => {
            raw::touch_nothing();
        }
        Some(b"1") => {
            raw::trap(5, [0; 6]);
        }
        Some(b"2") => {
            raw::trap(-200, [0; 6]);
        }
        _ => return 0,
    }
    1
}

fn programs_that_fault_end(bench: &Bench) -> Verdict {
    bench.exact(|| {
        for what in [&b"0"[..], b"1", b"2"] {
            let child = must("a program", Program::new(SELF).argv([SELF, b"misuse", what]).start(ALL))?;
            let status = must("its end", child.wait(ALL))?;
            holds("a program did what nobody may, and went on", status > 128)?;
        }
        let child = must("a program", Program::new(SELF).argv([SELF, b"misuse", b"none"]).start(ALL))?;
        same("the status of an honest program", must("its end", child.wait(ALL))?, 0)
    })
}
