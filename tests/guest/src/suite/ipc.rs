//! Ports and messages from user mode: round trips, rights, memory out of line, sets, notifications, time-outs, registers.

use alloc::sync::Arc;
use core::sync::atomic::{AtomicU32, Ordering};
use core::time::Duration;

use libhurd::abi::message::{BITS_COMPLEX, Header, TypeWord, bits, msgt, option};
use libhurd::abi::port::{NOTIFY_DEAD_NAME, NOTIFY_NO_SENDERS, RIGHT_PORT_SET, RIGHT_SEND};
use libhurd::abi::returns::{
    KERN_INVALID_NAME, KERN_INVALID_RIGHT, MACH_RCV_INVALID_NAME, MACH_RCV_TIMED_OUT, MACH_RCV_TOO_LARGE,
    MACH_SEND_INVALID_DEST, MACH_SEND_TIMED_OUT,
};
use libhurd::clock::now;
use libhurd::mig::{Port, PortName};
use libhurd::ool::Pages;
use libhurd::port::{PortSet, ReceiveRight};
use libhurd::stubs::mach_port;
use libhurd::syscall::{self, MsgArgs};
use libhurd::{ALL, Mach, clock, task, thread};
use zerocopy::{FromBytes, IntoBytes};

use super::{Bench, Test, Verdict, fails, holds, must, raw, same};

pub(crate) const TESTS: &[(&str, Test)] = &[
    ("message_to_oneself", message_to_oneself),
    ("rights_in_messages", rights_in_messages),
    ("memory_out_of_line", memory_out_of_line),
    ("port_set", port_set),
    ("queue_is_bounded", queue_is_bounded),
    ("receive_times_out", receive_times_out),
    ("too_large_stays", too_large_stays),
    ("no_senders", no_senders),
    ("dead_name", dead_name),
    ("names_that_mean_nothing", names_that_mean_nothing),
    ("fpu_registers_are_each_threads_own", fpu_registers),
];

const WORDS: usize = 32;
type Message = [u64; WORDS];

fn header(remote: PortName, disposition: u32, size: usize, id: i32) -> Header {
    Header {
        bits: bits(disposition, 0),
        size: size as u32,
        remote: u64::from(remote.0),
        id,
        ..Header::default()
    }
}

/// Sends a header and `words`.
fn send(mut header: Header, words: &[u64], timeout: Option<u32>) -> Result<(), i32> {
    let mut message: Message = [0; WORDS];
    let size = 32 + words.len() * 8;
    header.size = size as u32;
    message.as_mut_bytes()[..32].copy_from_slice(header.as_bytes());
    message[4..4 + words.len()].copy_from_slice(words);
    let option = option::SEND_MSG | if timeout.is_some() { option::SEND_TIMEOUT } else { 0 };
    let args = MsgArgs { option, send_size: size, timeout: timeout.unwrap_or(0), ..MsgArgs::default() };
    syscall::mach_msg(message.as_mut_bytes(), args)
}

/// Receives within 100 ms.
fn receive(from: PortName) -> Result<(Header, Message), i32> {
    let mut message: Message = [0; WORDS];
    let option = option::RCV_MSG | option::RCV_TIMEOUT;
    syscall::mach_msg(
        message.as_mut_bytes(),
        MsgArgs { option, rcv_name: from, timeout: 100, send_size: 0 },
    )?;
    let (header, _) = Header::read_from_prefix(message.as_bytes()).map_err(|_| -1)?;
    Ok((header, message))
}

fn message_to_oneself(bench: &Bench) -> Verdict {
    bench.exact(|| {
        let port = must("a port", ReceiveRight::new())?;
        let int = TypeWord::inline(msgt::INTEGER_64, 64, 2).0;
        for n in 0..3u64 {
            must("send", send(header(port.name(), msgt::MAKE_SEND, 0, 100 + n as i32), &[int, n, !n], None))?;
        }
        for n in 0..3u64 {
            let (header, message) = must("receive", receive(port.name()))?;
            same("id", header.id, 100 + n as i32)?;
            same("size", header.size, 56)?;
            same("body", [message[5], message[6]], [n, !n])?;
            same("receiver's name", header.local, u64::from(port.name().0))?;
        }
        fails("an empty queue", receive(port.name()), MACH_RCV_TIMED_OUT)
    })
}

fn rights_in_messages(bench: &Bench) -> Verdict {
    bench.exact(|| {
        let port = must("a port", ReceiveRight::new())?;
        let carried = must("a port", ReceiveRight::new())?;
        let descriptor = TypeWord::inline(msgt::MAKE_SEND, 64, 1).0;
        let mut head = header(port.name(), msgt::MAKE_SEND, 0, 7);
        head.bits |= BITS_COMPLEX;
        must("send", send(head, &[descriptor, u64::from(carried.name().0)], None))?;
        let (head, message) = must("receive", receive(port.name()))?;
        holds("the message is not complex", head.bits & BITS_COMPLEX != 0)?;
        same("what the descriptor says", TypeWord(message[4]).name(), msgt::PORT_SEND)?;
        // Rights to one port have one name in a task.
        same("the name", message[5] as u32, carried.name().0)?;
        let refs = mach_port::mach_port_get_refs(&Mach, task::this(), carried.name(), RIGHT_SEND, ALL);
        same("user references", must("mach_port_get_refs", refs.map_err(i32::from))?.refs, 1)?;
        // A message that is never received gives back what it carries, with its port.
        must("send", send(head_again(&port), &[descriptor, u64::from(carried.name().0)], None))?;
        drop(port);
        Ok(())
    })
}

fn head_again(port: &ReceiveRight) -> Header {
    let mut head = header(port.name(), msgt::MAKE_SEND, 0, 8);
    head.bits |= BITS_COMPLEX;
    head
}

fn memory_out_of_line(bench: &Bench) -> Verdict {
    bench.exact(|| {
        let port = must("a port", ReceiveRight::new())?;
        let mut pages = must("pages", Pages::new(3 * 4096))?;
        pages.bytes_mut().iter_mut().enumerate().for_each(|(at, byte)| *byte = at as u8);
        let descriptor = TypeWord::inline(msgt::BYTE, 8, 10_000).0 & !TypeWord::INLINE;
        must("send", send(head_again(&port), &[descriptor, pages.address()], None))?;
        // The message has a copy.
        pages.bytes_mut().fill(0xff);
        let (_, message) = must("receive", receive(port.name()))?;
        same("bytes", TypeWord(message[4]).number(), 10_000)?;
        let mut copy = [0u8; 10_000];
        let read = libhurd::stubs::mach::vm_read(&Mach, task::this(), message[5], 10_000, ALL);
        let data = must("vm_read", read.map_err(i32::from))?.data;
        same(
            "bytes read",
            libhurd::ool::copy_bytes::<1>(libhurd::mig::OutData::Ool(data), &mut copy),
            10_000,
        )?;
        holds("other bytes arrived", copy.iter().enumerate().all(|(at, &byte)| byte == at as u8))?;
        libhurd::ool::discard(message[5], 10_000);
        Ok(())
    })
}

fn port_set(bench: &Bench) -> Verdict {
    bench.exact(|| {
        let set = must("a set", PortSet::new())?;
        let (one, two) = (must("a port", ReceiveRight::new())?, must("a port", ReceiveRight::new())?);
        must("set_payload", one.set_payload(0x1111))?;
        must("set_payload", two.set_payload(0x2222))?;
        must("add", set.add(&one))?;
        must("add", set.add(&two))?;
        must("send", send(header(two.name(), msgt::MAKE_SEND, 0, 2), &[], None))?;
        must("send", send(header(one.name(), msgt::MAKE_SEND, 0, 1), &[], None))?;
        let mut payloads =
            [must("receive", receive(set.name()))?.0.local, must("receive", receive(set.name()))?.0.local];
        payloads.sort_unstable();
        same("payloads", payloads, [0x1111, 0x2222])?;
        fails("an empty set", receive(set.name()), MACH_RCV_TIMED_OUT)
    })
}

fn queue_is_bounded(bench: &Bench) -> Verdict {
    bench.exact(|| {
        let port = must("a port", ReceiveRight::new())?;
        let mut sent = 0;
        let code = loop {
            match send(header(port.name(), msgt::MAKE_SEND, 0, 1), &[], Some(10)) {
                Ok(()) => sent += 1,
                Err(code) => break code,
            }
            holds("a queue without a bound", sent < 100)?;
        };
        same("the message too many", code, MACH_SEND_TIMED_OUT)?;
        same("messages in the queue", sent, 5)
    })
}

fn receive_times_out(bench: &Bench) -> Verdict {
    bench.exact(|| {
        let port = must("a port", ReceiveRight::new())?;
        let begin = now();
        fails("waiting for nothing", receive(port.name()), MACH_RCV_TIMED_OUT)?;
        let took = now() - begin;
        holds("it took less than the time-out", took >= 100_000_000)?;
        holds("it took much more than the time-out", took < 200_000_000)
    })
}

fn too_large_stays(bench: &Bench) -> Verdict {
    bench.exact(|| {
        let port = must("a port", ReceiveRight::new())?;
        let int = TypeWord::inline(msgt::INTEGER_64, 64, 4).0;
        must("send", send(header(port.name(), msgt::MAKE_SEND, 0, 9), &[int, 1, 2, 3, 4], None))?;
        let mut small = [0u64; 5];
        let args = MsgArgs {
            option: option::RCV_MSG | option::RCV_TIMEOUT | option::RCV_LARGE,
            rcv_name: port.name(),
            timeout: 10,
            send_size: 0,
        };
        fails(
            "a receive into little room",
            syscall::mach_msg(small.as_mut_bytes(), args),
            MACH_RCV_TOO_LARGE,
        )?;
        same("id", must("receive", receive(port.name()))?.0.id, 9)
    })
}

fn no_senders(bench: &Bench) -> Verdict {
    bench.exact(|| {
        let (port, notify) = (must("a port", ReceiveRight::new())?, must("a port", ReceiveRight::new())?);
        let right = must("a send right", port.send_right())?;
        let previous = mach_port::mach_port_request_notification(
            &Mach,
            task::this(),
            port.name(),
            NOTIFY_NO_SENDERS,
            1,
            notify.make_send_once(),
            ALL,
        );
        must("request", previous.map_err(i32::from))?;
        fails("a notification although there is a sender", receive(notify.name()), MACH_RCV_TIMED_OUT)?;
        drop(right);
        same("id", must("receive", receive(notify.name()))?.0.id, NOTIFY_NO_SENDERS)
    })
}

fn dead_name(bench: &Bench) -> Verdict {
    bench.exact(|| {
        let (port, notify) = (must("a port", ReceiveRight::new())?, must("a port", ReceiveRight::new())?);
        // Kept by a name of its own: in a message to ourselves the right would join the receive right.
        let right = must("a send right", port.send_right())?;
        let previous = mach_port::mach_port_request_notification(
            &Mach,
            task::this(),
            right.name(),
            NOTIFY_DEAD_NAME,
            0,
            notify.make_send_once(),
            ALL,
        );
        must("request", previous.map_err(i32::from))?;
        drop(port);
        let (head, message) = must("receive", receive(notify.name()))?;
        same("id", head.id, NOTIFY_DEAD_NAME)?;
        same("the dead name", message[5] as u32, right.name().0)?;
        fails(
            "a message to a dead name",
            send(header(right.name(), msgt::COPY_SEND, 0, 1), &[], None),
            MACH_SEND_INVALID_DEST,
        )?;
        // The notification brought one more reference.
        must(
            "deallocate",
            mach_port::mach_port_deallocate(&Mach, task::this(), right.name(), ALL).map_err(i32::from),
        )
    })
}

fn names_that_mean_nothing(bench: &Bench) -> Verdict {
    bench.exact(|| {
        let nowhere = PortName(0xdead);
        fails(
            "a message to no port",
            send(header(nowhere, msgt::COPY_SEND, 0, 1), &[], None),
            MACH_SEND_INVALID_DEST,
        )?;
        fails("a receive from no port", receive(nowhere), MACH_RCV_INVALID_NAME)?;
        let refs = mach_port::mach_port_get_refs(&Mach, task::this(), nowhere, RIGHT_SEND, ALL);
        fails("references of no name", refs.map_err(i32::from), KERN_INVALID_NAME)?;
        let set = must("a set", PortSet::new())?;
        let insert = mach_port::mach_port_insert_right(
            &Mach,
            task::this(),
            PortName(0xbeef),
            Port::make_send(set.name()),
            ALL,
        );
        holds("a send right was made from a set", insert.is_err())?;
        let wrong = mach_port::mach_port_mod_refs(&Mach, task::this(), task::this(), RIGHT_PORT_SET, -1, ALL);
        fails("a set's reference of a task", wrong.map_err(i32::from), KERN_INVALID_RIGHT)
    })
}

fn fpu_registers(bench: &Bench) -> Verdict {
    bench.exact(|| {
        const THREADS: u32 = 4;
        let (good, done) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
        for n in 0..THREADS {
            let (good, done) = (good.clone(), done.clone());
            let body = move || {
                if raw::keeps_xmm(0x1111_1111_1111_1111 * u64::from(n + 1), 2000) {
                    good.fetch_add(1, Ordering::AcqRel);
                }
                done.fetch_add(1, Ordering::AcqRel);
            };
            must("a thread", thread::spawn(body))?;
        }
        for _ in 0..200 {
            if done.load(Ordering::Acquire) == THREADS {
                break;
            }
            must("a pause", clock::sleep(Duration::from_millis(10)))?;
        }
        same("threads that have ended", done.load(Ordering::Acquire), THREADS)?;
        same("threads whose registers stayed", good.load(Ordering::Acquire), THREADS)
    })
}
