//! Tests of messages: round trips of everything a message can carry, every error code, queues and waits, direct transfer.

use drover_abi::account::FRAMES;
use drover_abi::message::*;
use drover_abi::port::*;
use drover_abi::returns::*;
use drover_abi::window::REQUEST;
use proptest::prelude::*;
use zerocopy::{FromBytes, IntoBytes};

use crate::account::Payer;
use crate::activation::Activation;
use crate::ipc_testing::*;
use crate::kernel::Stop;
use crate::message::MachMsg;
use crate::object::{Kind, Ref};
use crate::port::Port;
use crate::rpc_port::RpcTemplate;
use crate::task::Task;
use crate::thread::{BLOCKED, Thread};

const SEND: u32 = option::SEND_MSG;
const RCV: u32 = option::RCV_MSG;
const NOW: u32 = option::RCV_TIMEOUT | option::SEND_TIMEOUT;
const BUFFER: u64 = 256 * 1024;
/// Where the sender of random bodies has a page.
const MEMORY: u64 = 0x3000_0000;

/// A task with a thread and a buffer.
#[derive(Clone, Copy)]
struct Side {
    task: Ref<Task>,
    thread: Ref<Thread>,
    buffer: u64,
}

struct Pair {
    k: Core,
    a: Side,
    b: Side,
    /// Receive right in `b`, send right in `a`.
    port: Ref<Port>,
    to_b: u32,
    at_b: u32,
}

fn side(k: &mut Core, frames: u64) -> Side {
    let account = account(k, frames);
    let task = task(k, account);
    let thread = thread(k, task);
    let buffer = k.vm_allocate(task, Payer::account(account), 0, BUFFER, true).unwrap();
    k.copyout(task, buffer, &vec![0; BUFFER as usize]).unwrap();
    Side { task, thread, buffer }
}

fn pair() -> Pair {
    let mut k = core(2500);
    let (a, b) = (side(&mut k, 800), side(&mut k, 800));
    k.regs.rip = 0x1000;
    let p = payer(&k, b.task);
    let at_b = k.mach_port_allocate(b.task, RIGHT_RECEIVE, p).unwrap();
    let port = k.port_of_receive(b.task, at_b).unwrap();
    let p = payer(&k, a.task);
    let to_b = k.insert_send(a.task, port, p).unwrap();
    Pair { k, a, b, port, to_b, at_b }
}

fn code(result: Result<i32, Stop>) -> i32 {
    match result {
        Ok(code) | Err(Stop::Error(code)) => code,
        Err(other) => panic!("{other:?}"),
    }
}

/// A message under construction.
#[derive(Clone)]
struct Msg(Vec<u8>);

impl Msg {
    fn new(bits: u32, remote: u32, local: u32, id: i32) -> Self {
        let header = Header { bits, remote: remote.into(), local: local.into(), id, ..Header::default() };
        Self(header.as_bytes().to_vec())
    }
    fn word(mut self, word: u64) -> Self {
        self.0.extend_from_slice(&word.to_le_bytes());
        self
    }
    fn bytes(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self.0.resize(self.0.len().next_multiple_of(8), 0);
        self
    }
    fn right(self, name: u32, disposition: u32) -> Self {
        self.word(TypeWord::inline(disposition, 64, 1).0).word(name.into())
    }
    fn memory(self, kind: u32, size: u32, number: u32, address: u64, dealloc: bool) -> Self {
        let word = TypeWord::inline(kind, size, number).0 & !TypeWord::INLINE;
        self.word(word | if dealloc { TypeWord::DEALLOCATE } else { 0 }).word(address)
    }
}

fn complex(remote: u32) -> u32 {
    BITS_COMPLEX | bits(remote, 0)
}

impl Pair {
    fn become_(&mut self, side: Side) {
        self.k.current = side.thread;
    }
    fn try_send(&mut self, from: Side, message: &Msg, options: u32) -> Result<i32, Stop> {
        self.become_(from);
        self.k.copyout(from.task, from.buffer, &message.0).unwrap();
        let args = MachMsg {
            msg: from.buffer,
            option: SEND | options,
            send_size: message.0.len() as u32,
            ..MachMsg::default()
        };
        let result = self.k.trap_mach_msg(&args, None);
        if result != Err(Stop::Blocked) {
            // As the end of the trap does.
            self.k.get_mut(from.thread).restarting = 0;
        }
        check(&self.k);
        result
    }
    fn send(&mut self, message: &Msg) {
        assert_eq!(self.try_send(self.a, message, NOW), Ok(0));
    }
    fn try_receive(&mut self, to: Side, name: u32, size: u32, options: u32) -> Result<i32, Stop> {
        self.become_(to);
        let args = MachMsg {
            msg: to.buffer,
            option: RCV | options,
            rcv_size: size,
            rcv_name: name,
            ..MachMsg::default()
        };
        let result = self.k.trap_mach_msg(&args, None);
        check(&self.k);
        result
    }
    fn buffer(&mut self, side: Side) -> (Header, Vec<u8>) {
        let mut header = Header::default();
        self.k.copyin(side.task, side.buffer, header.as_mut_bytes()).unwrap();
        let mut bytes = vec![0; header.size.min(BUFFER as u32) as usize];
        self.k.copyin(side.task, side.buffer, &mut bytes).unwrap();
        (header, bytes)
    }
    fn receive(&mut self) -> (Header, Vec<u8>) {
        assert_eq!(self.try_receive(self.b, self.at_b, BUFFER as u32, NOW), Ok(0));
        self.buffer(self.b)
    }
    fn fresh(&mut self, side: Side) -> u32 {
        let p = payer(&self.k, side.task);
        self.k.mach_port_allocate(side.task, RIGHT_RECEIVE, p).unwrap()
    }
    fn names(&mut self, side: Side) -> Vec<(u32, u32, u32)> {
        let (mut found, mut after) = (Vec::new(), 0);
        while let Some((name, kind)) = self.k.mach_port_next(side.task, after) {
            found.push((name, kind, self.k.mach_port_get_refs(side.task, name, RIGHT_SEND).unwrap()));
            after = name;
        }
        found
    }
    fn frames(&self, side: Side) -> u64 {
        self.k.get(self.k.get(side.task).account).resources[FRAMES].charged
    }
}

fn word_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap())
}

#[test]
fn plain_messages_of_all_sizes() {
    let mut w = pair();
    let before = w.frames(w.a);
    for (i, n) in [0usize, 8, 80, 88, 3840, 3848, 4096, 100_000, 131_040].into_iter().enumerate() {
        let body: Vec<u8> = (0..n).map(|i| (i * 7 + n) as u8).collect();
        let message =
            Msg::new(bits(msgt::COPY_SEND, 0) | 0x0012_0000, w.to_b, 0, 100 + i as i32).bytes(&body);
        w.send(&message);
        let (header, bytes) = w.receive();
        assert_eq!(header.bits, bits(0, msgt::PORT_SEND) | 0x0012_0000);
        assert_eq!((header.size as usize, header.remote, header.local), (32 + n, 0, w.at_b.into()));
        assert_eq!((header.seqno, header.id), (i as u32, 100 + i as i32));
        assert!(bytes[32..] == body[..]);
    }
    assert_eq!(w.frames(w.a), before);
    assert!(objects(&w.k, Kind::Message).is_empty());
}

#[test]
fn replies_and_payloads() {
    let mut w = pair();
    let reply = w.fresh(w.a);
    w.send(&Msg::new(bits(msgt::COPY_SEND, msgt::MAKE_SEND_ONCE), w.to_b, reply, 7));
    w.k.mach_port_set_protected_payload(w.b.task, w.at_b, 0x1234_5678_9abc).unwrap();
    let (header, _) = w.receive();
    assert_eq!(header.bits, bits(msgt::PORT_SEND_ONCE, msgt::PROTECTED_PAYLOAD));
    assert_eq!(header.local, 0x1234_5678_9abc);
    let once = header.remote as u32;
    assert_eq!(w.k.mach_port_type(w.b.task, once), Ok(type_bit(RIGHT_SEND_ONCE)));
    let answer = Msg::new(bits(msgt::MOVE_SEND_ONCE, 0), once, 0, 107).word(1);
    assert_eq!(w.try_send(w.b, &answer, NOW), Ok(0));
    assert_eq!(code(w.k.mach_port_type(w.b.task, once).map(|_| 0)), KERN_INVALID_NAME);
    assert_eq!(w.try_receive(w.a, reply, 64, NOW), Ok(0));
    let (header, _) = w.buffer(w.a);
    assert_eq!((header.bits, header.local, header.id), (bits(0, msgt::PORT_SEND_ONCE), reply.into(), 107));
    // A server that drops the reply right: the client gets 71.
    w.send(&Msg::new(bits(msgt::COPY_SEND, msgt::MAKE_SEND_ONCE), w.to_b, reply, 7));
    let (header, _) = w.receive();
    w.k.mach_port_deallocate(w.b.task, header.remote as u32).unwrap();
    assert_eq!(w.try_receive(w.a, reply, 64, NOW), Ok(0));
    let (header, _) = w.buffer(w.a);
    assert_eq!((header.size, header.id, header.local), (32, NOTIFY_SEND_ONCE, reply.into()));
    assert_eq!(code(w.try_receive(w.a, reply, 64, NOW)), MACH_RCV_TIMED_OUT);
}

#[test]
fn header_errors_change_nothing() {
    let mut w = pair();
    let reply = w.fresh(w.a);
    let dead = w.k.mach_port_allocate(w.a.task, RIGHT_DEAD_NAME, payer(&w.k, w.a.task)).unwrap();
    let before = w.names(w.a);
    let to = w.to_b;
    for (header, local, remote, want) in [
        (bits(msgt::COPY_SEND, 0), 0, 999, MACH_SEND_INVALID_DEST),
        (bits(msgt::COPY_SEND, 0), 0, 0, MACH_SEND_INVALID_DEST),
        (bits(msgt::COPY_SEND, 0), 0, MACH_PORT_DEAD, MACH_SEND_INVALID_DEST),
        (bits(msgt::COPY_SEND, 0), 0, dead, MACH_SEND_INVALID_DEST),
        (bits(msgt::MAKE_SEND, 0), 0, to, MACH_SEND_INVALID_DEST),
        (bits(msgt::MOVE_SEND_ONCE, 0), 0, to, MACH_SEND_INVALID_DEST),
        (bits(msgt::MOVE_RECEIVE, 0), 0, to, MACH_SEND_INVALID_HEADER),
        (bits(15, 0), 0, to, MACH_SEND_INVALID_HEADER),
        (bits(msgt::COPY_SEND, 0), reply, to, MACH_SEND_INVALID_HEADER),
        (bits(msgt::COPY_SEND, msgt::MOVE_RECEIVE), reply, to, MACH_SEND_INVALID_HEADER),
        (bits(msgt::COPY_SEND, msgt::MOVE_SEND), reply, to, MACH_SEND_INVALID_REPLY),
        (bits(msgt::COPY_SEND, msgt::MAKE_SEND_ONCE), 999, to, MACH_SEND_INVALID_REPLY),
        (bits(msgt::MOVE_SEND, msgt::MOVE_SEND), to, to, MACH_SEND_INVALID_REPLY),
    ] {
        assert_eq!(code(w.try_send(w.a, &Msg::new(header, remote, local, 1), NOW)), want, "{header:x}");
        assert_eq!(w.names(w.a), before);
    }
    for (size, want) in [
        (0, MACH_SEND_MSG_TOO_SMALL),
        (24, MACH_SEND_MSG_TOO_SMALL),
        (36, MACH_SEND_MSG_TOO_SMALL),
        (1 << 20, MACH_SEND_NO_BUFFER),
    ] {
        let args = MachMsg { msg: w.a.buffer, option: SEND, send_size: size, ..MachMsg::default() };
        assert_eq!(code(w.k.trap_mach_msg(&args, None)), want);
    }
    let args = MachMsg { msg: 0x10, option: SEND, send_size: 32, ..MachMsg::default() };
    assert_eq!(code(w.k.trap_mach_msg(&args, None)), MACH_SEND_INVALID_DATA);
    let ok = Msg::new(bits(msgt::COPY_SEND, 0), to, 0, 1);
    assert_eq!(code(w.try_send(w.a, &ok, NOW | option::SEND_CANCEL)), MACH_SEND_INVALID_NOTIFY);
    // Null, dead and dead-named reply rights are fine; one copy and one move of the same right, too.
    for (reply, disposition) in
        [(0, msgt::MAKE_SEND), (MACH_PORT_DEAD, msgt::COPY_SEND), (dead, msgt::COPY_SEND)]
    {
        w.send(&Msg::new(bits(msgt::COPY_SEND, disposition), to, reply, 1));
        let (header, _) = w.receive();
        assert_eq!(header.remote as u32, if reply == 0 { 0 } else { MACH_PORT_DEAD });
    }
    w.send(&Msg::new(bits(msgt::MOVE_SEND, msgt::COPY_SEND), to, to, 1));
    let (header, _) = w.receive();
    assert_eq!(header.remote as u32, w.at_b);
    assert_eq!(code(w.try_send(w.a, &ok, NOW)), MACH_SEND_INVALID_DEST, "the send right is gone");
}

#[test]
fn rights_in_the_body() {
    let mut w = pair();
    let (p, q, r, once) = (w.fresh(w.a), w.fresh(w.a), w.fresh(w.a), w.fresh(w.a));
    let task = w.a.task;
    let pay = payer(&w.k, task);
    for _ in 0..2 {
        w.k.mach_port_insert_right(task, task, q, (q, msgt::MAKE_SEND), pay).unwrap();
    }
    w.k.mach_port_insert_right(task, task, 900, (once, msgt::MAKE_SEND_ONCE), pay).unwrap();
    let dead = w.k.mach_port_allocate(task, RIGHT_DEAD_NAME, pay).unwrap();
    let message = Msg::new(complex(msgt::COPY_SEND), w.to_b, 0, 5)
        .right(r, msgt::MOVE_RECEIVE)
        .right(q, msgt::MOVE_SEND)
        .right(q, msgt::COPY_SEND)
        .right(p, msgt::MAKE_SEND)
        .right(p, msgt::MAKE_SEND_ONCE)
        .right(900, msgt::MOVE_SEND_ONCE)
        .right(dead, msgt::MOVE_SEND)
        .right(0, msgt::COPY_SEND)
        .word(TypeWord::inline(msgt::INTEGER_32, 32, 3).0)
        .bytes(&[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]);
    w.send(&message);
    assert_eq!(w.k.mach_port_get_refs(task, q, RIGHT_SEND), Ok(1));
    assert!(w.k.mach_port_type(task, r).is_err() && w.k.mach_port_type(task, 900).is_err());
    assert!(w.k.mach_port_type(task, dead).is_err());
    let (header, bytes) = w.receive();
    assert_eq!(header.bits, complex(0) | bits(0, msgt::PORT_SEND));
    let got: Vec<(u64, u32)> =
        (0..8).map(|i| (word_at(&bytes, 32 + 16 * i), word_at(&bytes, 40 + 16 * i) as u32)).collect();
    let kinds = [16, 17, 17, 17, 18, 18, 17, 17].map(|d| TypeWord::inline(d, 64, 1).0);
    assert_eq!(got.iter().map(|g| g.0).collect::<Vec<_>>(), kinds);
    let b = w.b.task;
    let types: Vec<Option<u32>> = got.iter().map(|g| w.k.mach_port_type(b, g.1).ok()).collect();
    let t = |right| Some(type_bit(right));
    assert_eq!(
        types[..6],
        [
            t(RIGHT_RECEIVE),
            t(RIGHT_SEND),
            t(RIGHT_SEND),
            t(RIGHT_SEND),
            t(RIGHT_SEND_ONCE),
            t(RIGHT_SEND_ONCE)
        ]
    );
    assert_eq!((got[6].1, got[7].1), (MACH_PORT_DEAD, 0));
    assert_eq!(got[1].1, got[2].1, "one name for one port");
    assert_eq!(w.k.mach_port_get_refs(b, got[1].1, RIGHT_SEND), Ok(2));
    assert_eq!(bytes[168..180], [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]);
    // Complex without anything complex.
    let plain =
        Msg::new(complex(msgt::COPY_SEND), w.to_b, 0, 5).word(TypeWord::inline(msgt::CHAR, 8, 3).0).word(7);
    w.send(&plain);
    assert_eq!(w.receive().0.bits, bits(0, msgt::PORT_SEND));
}

#[test]
fn many_rights_and_memory() {
    let mut w = pair();
    let task = w.a.task;
    let names: Vec<u32> = (0..1000).map(|_| w.fresh(w.a)).collect();
    let data: Vec<u8> = (0..10_000u32).map(|i| (i / 3) as u8).collect();
    let pay = payer(&w.k, task);
    let memory = w.k.vm_allocate(task, pay, 0, 64 * 1024, true).unwrap();
    w.k.copyout(task, memory + 100, &data).unwrap();
    let moved = w.k.vm_allocate(task, pay, 0, 8192, true).unwrap();
    w.k.copyout(task, moved, &data[..8192]).unwrap();
    let array = w.k.vm_allocate(task, pay, 0, 4096, true).unwrap();
    let bytes: Vec<u8> = names.iter().flat_map(|n| n.to_le_bytes()).collect();
    w.k.copyout(task, array, &bytes).unwrap();
    let message = Msg::new(complex(msgt::COPY_SEND), w.to_b, 0, 5)
        .memory(msgt::BYTE, 8, 10_000, memory + 100, false)
        .memory(msgt::MAKE_SEND, 32, 1000, array, true)
        .memory(msgt::BYTE, 8, 8192, moved, true)
        .memory(msgt::BYTE, 8, 0, 0xdead_beef, false)
        .memory(msgt::COPY_SEND, 32, 0, 0, false)
        .right(names[0], msgt::MOVE_RECEIVE);
    w.send(&message);
    assert!(w.k.vm_region(task, moved).map_or(true, |r| r.address != moved), "moved memory is gone");
    let (_, bytes) = w.receive();
    let b = w.b.task;
    let received =
        |kind: u64, size: u64, number: u64| kind | (size << 8) | TypeWord::DEALLOCATE | (number << 32);
    assert_eq!(word_at(&bytes, 32), received(9, 8, 10_000));
    let mut copy = vec![0; 10_000];
    w.k.copyin(b, word_at(&bytes, 40), &mut copy).unwrap();
    assert!(copy == data);
    assert_eq!(word_at(&bytes, 48), received(17, 32, 1000));
    let array = word_at(&bytes, 56);
    for i in 0..1000 {
        let name = w.k.read_u32(b, array + 4 * i).unwrap();
        let want = type_bit(RIGHT_SEND) | if i == 0 { type_bit(RIGHT_RECEIVE) } else { 0 };
        assert_eq!(w.k.mach_port_type(b, name), Ok(want));
    }
    let mut copy = vec![0; 8192];
    w.k.copyin(b, word_at(&bytes, 72), &mut copy).unwrap();
    assert!(copy == data[..8192]);
    assert_eq!((word_at(&bytes, 80), word_at(&bytes, 88)), (received(9, 8, 0), 0));
    assert_eq!((word_at(&bytes, 96), word_at(&bytes, 104)), (received(17, 32, 0), 0));
    for side in [w.a, w.b] {
        check_frames(&w.k, w.k.get(side.task).account);
    }
}

#[test]
fn malformed_bodies_change_nothing() {
    let mut w = pair();
    let (p, task) = (w.fresh(w.a), w.a.task);
    let memory = w.k.vm_allocate(task, payer(&w.k, task), 0, 4096, true).unwrap();
    w.k.write_u32(task, memory, 12345).unwrap();
    let start = Msg::new(complex(msgt::COPY_SEND), w.to_b, 0, 5)
        .right(p, msgt::MAKE_SEND)
        .right(p, msgt::MOVE_RECEIVE);
    let inline = TypeWord::inline;
    let before = (w.names(w.a), w.frames(w.a));
    let cases = [
        (start.clone().word(inline(msgt::BYTE, 8, 8).0 | 1 << 24).word(0), MACH_SEND_INVALID_TYPE),
        (start.clone().word(inline(msgt::BYTE, 8, 8).0 | 1 << 28).word(0), MACH_SEND_INVALID_TYPE),
        (
            start.clone().word(inline(msgt::BYTE, 8, 8).0 | TypeWord::DEALLOCATE).word(0),
            MACH_SEND_INVALID_TYPE,
        ),
        (start.clone().word(inline(msgt::COPY_SEND, 32, 1).0).word(0), MACH_SEND_INVALID_TYPE),
        (start.clone().memory(msgt::COPY_SEND, 64, 1, memory, false), MACH_SEND_INVALID_TYPE),
        (start.clone().word(inline(msgt::BYTE, 8, 9).0).word(0), MACH_SEND_MSG_TOO_SMALL),
        (start.clone().word(inline(msgt::BYTE, 0xffff, u32::MAX).0).word(0), MACH_SEND_MSG_TOO_SMALL),
        (start.clone().word(inline(msgt::BYTE, 8, 8).0), MACH_SEND_MSG_TOO_SMALL),
        (start.clone().word(inline(msgt::BYTE, 8, 8).0 & !TypeWord::INLINE), MACH_SEND_MSG_TOO_SMALL),
        (start.clone().right(p, msgt::MAKE_SEND), MACH_SEND_INVALID_RIGHT),
        (start.clone().right(777, msgt::COPY_SEND), MACH_SEND_INVALID_RIGHT),
        (
            start.clone().right(w.to_b, msgt::MOVE_SEND).right(w.to_b, msgt::COPY_SEND),
            MACH_SEND_INVALID_RIGHT,
        ),
        (start.clone().memory(msgt::COPY_SEND, 32, 1, memory, false), MACH_SEND_INVALID_RIGHT),
        (start.clone().memory(msgt::COPY_SEND, 32, 2000, memory, false), MACH_SEND_NO_BUFFER),
        (start.clone().memory(msgt::COPY_SEND, 32, 1, 0x10, false), MACH_SEND_INVALID_MEMORY),
        (start.clone().memory(msgt::COPY_SEND, 32, 2, u64::MAX - 3, false), MACH_SEND_INVALID_MEMORY),
        (start.clone().memory(msgt::BYTE, 8, 100, 0x10, false), MACH_SEND_INVALID_MEMORY),
        (start.clone().memory(msgt::BYTE, 8, 100, u64::MAX - 10, true), MACH_SEND_INVALID_MEMORY),
        (start.clone().memory(msgt::BYTE, 0xffff, u32::MAX, memory, false), MACH_SEND_NO_BUFFER),
        ((0..65).fold(start.clone(), |m, _| m.memory(msgt::BYTE, 8, 1, memory, false)), MACH_SEND_NO_BUFFER),
        // The first item that stays could be taken; it is given back.
        (
            start.clone().memory(msgt::BYTE, 8, 100, memory, false).memory(msgt::BYTE, 8, 1, 0, false),
            MACH_SEND_INVALID_MEMORY,
        ),
        (
            start.clone().memory(msgt::BYTE, 8, 100, memory, true).memory(msgt::BYTE, 8, 1, 0, false),
            MACH_SEND_INVALID_MEMORY,
        ),
    ];
    for (i, (message, want)) in cases.iter().enumerate() {
        assert_eq!(code(w.try_send(w.a, message, NOW)), *want, "case {i}");
        assert_eq!((w.names(w.a), w.frames(w.a)), before, "case {i}");
        assert!(objects(&w.k, Kind::Message).is_empty());
    }
    assert_eq!(w.k.read_u32(task, memory), Ok(12345));
    // Truncated at every length.
    let whole = start
        .clone()
        .memory(msgt::BYTE, 8, 100, memory, false)
        .word(inline(msgt::PORT_NAME, 32, 3).0)
        .bytes(&[0; 12])
        .right(w.to_b, msgt::COPY_SEND);
    let boundaries = [32, 48, 64, 80, 104, 120];
    for size in (32..whole.0.len()).step_by(8) {
        let message = Msg(whole.0[..size].to_vec());
        let result = code(w.try_send(w.a, &message, NOW));
        if boundaries.contains(&size) {
            assert_eq!(result, 0, "{size}");
            // It carried the port's receive right away.
            let (_, bytes) = w.receive();
            if size >= 64 {
                let name = word_at(&bytes, 56) as u32;
                let back =
                    w.k.mach_port_extract_right(task, w.b.task, name, msgt::MOVE_RECEIVE, payer(&w.k, task));
                assert_eq!(back, Ok((p, msgt::PORT_RECEIVE)));
            }
        } else {
            assert_eq!(result, MACH_SEND_MSG_TOO_SMALL, "{size}");
        }
    }
}

#[test]
fn full_queues() {
    let mut w = pair();
    let hello = Msg::new(bits(msgt::COPY_SEND, 0), w.to_b, 0, 1);
    for _ in 0..QLIMIT_DEFAULT {
        w.send(&hello);
    }
    assert_eq!(code(w.try_send(w.a, &hello, NOW)), MACH_SEND_TIMED_OUT);
    // A send-once right always gets through.
    let payer_a = payer(&w.k, w.a.task);
    let once = w.k.insert_send_once(w.a.task, w.port, payer_a).unwrap();
    w.send(&Msg::new(bits(msgt::MOVE_SEND_ONCE, 0), once, 0, 2));
    // A sender waits and tries again.
    let rip = w.k.regs.rip;
    assert_eq!(w.try_send(w.a, &hello, 0), Err(Stop::Blocked));
    assert_eq!(w.k.get(w.a.thread).head.state, BLOCKED);
    assert_eq!(w.k.get(w.port).senders, w.a.thread);
    assert!(w.k.regs.rip < rip, "the trap is executed again");
    w.receive();
    assert_eq!(w.k.get(w.a.thread).head.state, BLOCKED, "still as many as the limit");
    w.receive();
    assert_ne!(w.k.get(w.a.thread).head.state, BLOCKED);
    assert_eq!(w.try_send(w.a, &hello, 0), Ok(0));
    // By force, with a notification when it is received.
    let notify = w.fresh(w.a);
    w.become_(w.a);
    w.k.copyout(w.a.task, w.a.buffer, &hello.0).unwrap();
    let mut args = MachMsg {
        msg: w.a.buffer,
        option: SEND | option::SEND_NOTIFY,
        send_size: 32,
        notify: 555,
        ..MachMsg::default()
    };
    assert_eq!(code(w.k.trap_mach_msg(&args, None)), MACH_SEND_INVALID_NOTIFY);
    args.notify = notify;
    assert_eq!(code(w.k.trap_mach_msg(&args, None)), MACH_SEND_WILL_NOTIFY);
    for _ in 0..5 {
        w.receive();
        assert_eq!(code(w.try_receive(w.a, notify, 100, NOW)), MACH_RCV_TIMED_OUT);
    }
    w.receive();
    assert_eq!(w.try_receive(w.a, notify, 100, NOW), Ok(0));
    let (header, bytes) = w.buffer(w.a);
    assert_eq!(
        (header.id, word_at(&bytes, 32), word_at(&bytes, 40) as u32),
        (NOTIFY_MSG_ACCEPTED, 0x0000_0001_2000_200f, w.to_b)
    );
    // A waiting sender learns of the port's death.
    for _ in 0..QLIMIT_DEFAULT {
        w.send(&hello);
    }
    assert_eq!(w.try_send(w.a, &hello, 0), Err(Stop::Blocked));
    w.become_(w.b);
    w.k.mach_port_destroy(w.b.task, w.at_b).unwrap();
    assert_ne!(w.k.get(w.a.thread).head.state, BLOCKED);
    assert_eq!(code(w.try_send(w.a, &hello, 0)), MACH_SEND_INVALID_DEST);
    assert!(objects(&w.k, Kind::Message).is_empty());
}

#[test]
fn receiving() {
    let mut w = pair();
    let b = w.b.task;
    let pay = payer(&w.k, b);
    let set = w.k.mach_port_allocate(b, RIGHT_PORT_SET, pay).unwrap();
    assert_eq!(code(w.try_receive(w.b, 999, 64, NOW)), MACH_RCV_INVALID_NAME);
    assert_eq!(code(w.try_receive(w.a, w.to_b, 64, NOW)), MACH_RCV_INVALID_NAME);
    assert_eq!(code(w.try_receive(w.b, w.at_b, 64, NOW)), MACH_RCV_TIMED_OUT);
    assert_eq!(code(w.try_receive(w.b, w.at_b, 64, NOW | option::RCV_NOTIFY)), MACH_RCV_INVALID_NOTIFY);
    // Too large: kept, or consumed but for the header with the reply right.
    let reply = w.fresh(w.a);
    let carried = w.fresh(w.a);
    let message = Msg::new(complex(msgt::COPY_SEND) | bits(0, msgt::MAKE_SEND_ONCE), w.to_b, reply, 9)
        .right(carried, msgt::MOVE_RECEIVE);
    w.send(&message);
    assert_eq!(code(w.try_receive(w.b, w.at_b, 40, NOW | option::RCV_LARGE)), MACH_RCV_TOO_LARGE);
    assert_eq!((w.buffer(w.b).0.size, w.k.get(w.port).queued), (48, 1));
    assert_eq!(code(w.try_receive(w.b, w.at_b, 40, NOW)), MACH_RCV_TOO_LARGE);
    let (header, _) = w.buffer(w.b);
    assert_eq!((header.id, header.bits), (9, bits(msgt::PORT_SEND_ONCE, msgt::PORT_SEND)));
    assert_eq!(w.k.mach_port_type(b, header.remote as u32), Ok(type_bit(RIGHT_SEND_ONCE)));
    assert_eq!(w.k.get(w.port).queued, 0);
    // A buffer that cannot be written to: the message stays.
    w.send(&Msg::new(bits(msgt::COPY_SEND, 0), w.to_b, 0, 1));
    w.become_(w.b);
    let args = MachMsg { msg: 0x10, option: RCV | NOW, rcv_size: 64, rcv_name: w.at_b, ..MachMsg::default() };
    assert_eq!(code(w.k.trap_mach_msg(&args, None)), MACH_RCV_INVALID_DATA);
    w.receive();
    // Sets serve their members in turn.
    let other = w.fresh(w.b);
    let other_port = w.k.port_of_receive(b, other).unwrap();
    let pay_a = payer(&w.k, w.a.task);
    let to_other = w.k.insert_send(w.a.task, other_port, pay_a).unwrap();
    for name in [w.at_b, other] {
        w.k.mach_port_move_member(b, name, set).unwrap();
    }
    assert_eq!(code(w.try_receive(w.b, w.at_b, 64, NOW)), MACH_RCV_IN_SET);
    for _ in 0..3 {
        w.send(&Msg::new(bits(msgt::COPY_SEND, 0), w.to_b, 0, 1));
    }
    w.send(&Msg::new(bits(msgt::COPY_SEND, 0), to_other, 0, 2));
    let mut order = Vec::new();
    for _ in 0..4 {
        assert_eq!(w.try_receive(w.b, set, 64, NOW), Ok(0));
        order.push(w.buffer(w.b).0.local as u32);
    }
    assert_eq!(order, [w.at_b, other, w.at_b, w.at_b]);
    // Waiting, woken by a message to a member.
    assert_eq!(w.try_receive(w.b, set, 64, 0), Err(Stop::Blocked));
    w.send(&Msg::new(bits(msgt::COPY_SEND, 0), to_other, 0, 3));
    assert_ne!(w.k.get(w.b.thread).head.state, BLOCKED);
    w.become_(w.b);
    assert_eq!(w.k.resume_receive(), Ok(0));
    assert_eq!(w.buffer(w.b).0.id, 3);
    // Waiting, ended by the set's death; and by a move into a set.
    assert_eq!(w.try_receive(w.b, set, 64, 0), Err(Stop::Blocked));
    w.become_(w.a);
    w.k.mach_port_destroy(b, set).unwrap();
    assert_eq!(w.k.get(w.b.thread).wake_code, MACH_RCV_PORT_DIED);
    w.become_(w.b);
    assert_eq!(code(w.k.resume_receive()), MACH_RCV_PORT_DIED);
    assert_eq!(w.try_receive(w.b, other, 64, 0), Err(Stop::Blocked));
    let set = w.k.mach_port_allocate(b, RIGHT_PORT_SET, pay).unwrap();
    w.become_(w.a);
    w.k.mach_port_move_member(b, other, set).unwrap();
    assert_eq!(w.k.get(w.b.thread).wake_code, MACH_RCV_PORT_CHANGED);
    check(&w.k);
}

#[test]
fn a_wake_up_that_nobody_takes_is_passed_on() {
    let mut w = pair();
    let second = Side { thread: thread(&mut w.k, w.b.task), ..w.b };
    for side in [w.b, second] {
        assert_eq!(w.try_receive(side, w.at_b, 64, 0), Err(Stop::Blocked));
    }
    w.send(&Msg::new(bits(msgt::COPY_SEND, 0), w.to_b, 0, 1));
    let state = |w: &Pair, side: Side| w.k.get(side.thread).head.state;
    assert!(state(&w, w.b) != BLOCKED && state(&w, second) == BLOCKED);
    // The first thread ends before it runs.
    w.k.pass_wake(w.b.thread);
    assert_ne!(state(&w, second), BLOCKED);
    w.become_(second);
    assert_eq!(w.k.resume_receive(), Ok(0));
    // Likewise for room in a queue.
    let hello = Msg::new(bits(msgt::COPY_SEND, 0), w.to_b, 0, 1);
    let other = Side { thread: thread(&mut w.k, w.a.task), ..w.a };
    w.k.mach_port_set_qlimit(w.b.task, w.at_b, 1).unwrap();
    w.send(&hello);
    for side in [w.a, other] {
        assert_eq!(w.try_send(side, &hello, 0), Err(Stop::Blocked));
    }
    w.receive();
    assert!(state(&w, w.a) != BLOCKED && state(&w, other) == BLOCKED);
    w.k.pass_wake(w.a.thread);
    assert_ne!(state(&w, other), BLOCKED);
}

#[test]
fn receive_rights_do_not_go_into_their_own_queue() {
    let mut w = pair();
    // b sends at_b's receive right to itself, directly and by way of another port.
    let p = payer(&w.k, w.b.task);
    w.k.mach_port_insert_right(w.b.task, w.b.task, w.at_b, (w.at_b, msgt::MAKE_SEND), p).unwrap();
    let other = w.fresh(w.b);
    w.k.mach_port_insert_right(w.b.task, w.b.task, other, (other, msgt::MAKE_SEND), p).unwrap();
    let at_b = w.at_b;
    let into_other = Msg::new(complex(msgt::COPY_SEND), other, 0, 1).right(at_b, msgt::MOVE_RECEIVE);
    assert_eq!(w.try_send(w.b, &into_other, NOW), Ok(0));
    let into_first = Msg::new(complex(msgt::COPY_SEND), at_b, 0, 1).right(other, msgt::MOVE_RECEIVE);
    assert_eq!(w.try_send(w.b, &into_first, NOW), Ok(0));
    reap(&mut w.k);
    assert!(objects(&w.k, Kind::Port).is_empty(), "the message was destroyed, the ports with it");
    assert!(objects(&w.k, Kind::Message).is_empty());
    assert_eq!(w.k.mach_port_type(w.a.task, w.to_b), Ok(type_bit(RIGHT_DEAD_NAME)));
    check(&w.k);
}

#[test]
fn a_receiver_without_room_gets_what_fits() {
    let mut w = pair();
    let names: Vec<u32> = (0..300).map(|_| w.fresh(w.a)).collect();
    let mut message = Msg::new(complex(msgt::COPY_SEND), w.to_b, 0, 5);
    for name in &names {
        message = message.right(*name, msgt::MAKE_SEND);
    }
    w.send(&message);
    // The receiver's account is filled up.
    let account = w.k.get(w.b.task).account;
    let r = w.k.get(account).resources[FRAMES];
    w.k.account_transfer(account, FRAMES, -((r.limit - r.charged) as i64)).unwrap();
    let result = w.try_receive(w.b, w.at_b, BUFFER as u32, NOW);
    assert_eq!(result, Ok(MACH_RCV_BODY_ERROR | MACH_MSG_IPC_KERNEL));
    let (_, bytes) = w.buffer(w.b);
    let got: Vec<u32> = (0..300).map(|i| word_at(&bytes, 40 + 16 * i) as u32).collect();
    assert_eq!(got.iter().filter(|n| **n != 0).count(), 126, "one table of names, two of them taken");
    assert!(got[126..].iter().all(|n| *n == 0));
    check_frames(&w.k, account);
}

#[test]
fn killing_an_account_s_messages() {
    let mut w = pair();
    let carried = w.fresh(w.a);
    let memory = w.k.vm_allocate(w.a.task, payer(&w.k, w.a.task), 0, 8192, true).unwrap();
    w.k.copyout(w.a.task, memory, &[5; 8192]).unwrap();
    let before = w.frames(w.a);
    let message = Msg::new(complex(msgt::COPY_SEND), w.to_b, 0, 5).right(carried, msgt::MOVE_RECEIVE).memory(
        msgt::BYTE,
        8,
        8192,
        memory,
        false,
    );
    w.send(&message);
    let p = payer(&w.k, w.b.task);
    let told = w.fresh(w.b);
    w.k.mach_port_request_notification(w.b.task, w.b.task, w.at_b, 70, 0, (told, msgt::MAKE_SEND_ONCE), p)
        .unwrap();
    for raw in objects(&w.k, Kind::Message) {
        w.k.message_kill(Ref::from_raw(raw));
        check(&w.k);
    }
    reap(&mut w.k);
    assert_eq!((w.k.get(w.port).queued, w.k.get(w.port).no_senders), (0, Ref::NONE));
    assert!(objects(&w.k, Kind::Message).is_empty());
    assert_eq!(w.frames(w.a), before - 1, "the frame of the port that died with its message");
    check_frames(&w.k, w.k.get(w.a.task).account);
}

// ---- direct transfer ----

fn call(w: &mut Pair, message: &Msg, options: u32, rcv_name: u32) -> Result<(Ref<Activation>, u32), Stop> {
    let account = w.k.get(w.a.task).account;
    let act = w.k.new_object::<Activation>(Payer::account(account)).unwrap();
    let below = w.k.get(w.a.thread).top;
    let (thread, server) = (w.a.thread, w.b.task);
    let x = w.k.get_mut(act);
    (x.thread, x.task, x.payer, x.lower) = (thread, server, account, below);
    x.left = drover_abi::donation::Donation::ALL;
    w.k.window_open(act, Payer { account, call: act }).unwrap();
    w.become_(w.a);
    w.k.copyout(w.a.task, w.a.buffer, &message.0).unwrap();
    let args = MachMsg { msg: w.a.buffer, option: options, rcv_name, ..MachMsg::default() };
    let result = w.k.transfer_request(w.a.task, w.a.buffer, message.0.len() as u32, act, w.port, &args);
    check(&w.k);
    match result {
        Ok(size) => Ok((act, size)),
        Err(stop) => {
            again(|| w.k.window_close(act)).unwrap();
            w.k.free_object(act);
            Err(stop)
        }
    }
}

fn rpc_pair() -> (Pair, u32) {
    let mut w = pair();
    let template = RpcTemplate { entry: 0x4000, payload: 0xfeed, ..RpcTemplate::default() };
    w.k.port_set_rpc(w.b.task, w.at_b, &template).unwrap();
    let reply = w.fresh(w.a);
    (w, reply)
}

fn reply_with(w: &mut Pair, act: Ref<Activation>, message: &Msg, rcv_size: u32) -> Result<i32, Stop> {
    w.k.copyout(w.b.task, w.b.buffer, &message.0).unwrap();
    let (from, size) = (w.b.buffer, message.0.len() as u32);
    let result = w.k.transfer_reply(act, from, size, w.a.task, w.a.buffer, rcv_size);
    check(&w.k);
    result
}

#[test]
fn a_call_and_its_reply() {
    let (mut w, reply) = rpc_pair();
    let (given, memory) =
        (w.fresh(w.a), w.k.vm_allocate(w.a.task, payer(&w.k, w.a.task), 0, 8192, true).unwrap());
    w.k.copyout(w.a.task, memory, &[9; 5000]).unwrap();
    let request = Msg::new(complex(msgt::COPY_SEND) | bits(0, msgt::MAKE_SEND_ONCE), w.to_b, reply, 500)
        .right(given, msgt::MAKE_SEND)
        .memory(msgt::BYTE, 8, 5000, memory, false)
        .memory(msgt::MAKE_SEND, 32, 0, 0, false);
    let (act, size) = call(&mut w, &request, SEND | RCV, reply).unwrap();
    assert_eq!(size as usize, request.0.len());
    let a = *w.k.get(act);
    assert_eq!((a.one_way, a.reply_name, a.request_id), (0, reply, 500));
    let mut bytes = vec![0; size as usize];
    w.k.copyin(w.b.task, a.window + REQUEST, &mut bytes).unwrap();
    let header = Header::read_from_bytes(&bytes[..32]).unwrap();
    assert_eq!(header.bits, complex(0) | bits(0, msgt::PROTECTED_PAYLOAD));
    assert_eq!((header.remote, header.local, header.id), (0, 0xfeed, 500));
    let name = word_at(&bytes, 40) as u32;
    assert_eq!(w.k.mach_port_type(w.b.task, name), Ok(type_bit(RIGHT_SEND)));
    let mut data = vec![0; 5000];
    let placed = word_at(&bytes, 56);
    assert!(placed > a.window && placed < a.window + (1 << 33), "in the window");
    w.k.copyin(w.b.task, placed, &mut data).unwrap();
    assert!(data == [9; 5000]);
    // Bad replies are refused and change nothing.
    let names = w.names(w.b);
    let bad = Msg::new(complex(0), 0, 0, 600).right(name, msgt::MOVE_SEND).right(name, msgt::MOVE_SEND);
    assert_eq!(code(reply_with(&mut w, act, &bad, 4096)), MACH_SEND_INVALID_RIGHT);
    assert_eq!(code(reply_with(&mut w, act, &Msg::new(0, 5, 0, 1), 4096)), MACH_SEND_INVALID_DEST);
    assert_eq!(w.names(w.b), names);
    let back = Msg::new(complex(0), 0, 0, 600).right(name, msgt::MOVE_SEND).memory(
        msgt::BYTE,
        8,
        5000,
        placed,
        true,
    );
    assert_eq!(reply_with(&mut w, act, &back, 4096), Ok(0));
    let (header, bytes) = w.buffer(w.a);
    assert_eq!(header.bits, complex(0) | bits(0, msgt::PORT_SEND_ONCE));
    assert_eq!((header.remote, header.local, header.id), (0, reply.into(), 600));
    assert_eq!(word_at(&bytes, 40) as u32, given);
    w.k.copyin(w.a.task, word_at(&bytes, 56), &mut data).unwrap();
    assert!(data == [9; 5000]);
    assert!(w.k.mach_port_type(w.b.task, name).is_err());
    again(|| w.k.window_close(act)).unwrap();
    assert_eq!(w.k.get(act).window_frames, 0);
    for side in [w.a, w.b] {
        check_frames(&w.k, w.k.get(side.task).account);
    }
}

#[test]
fn replies_that_do_not_fit() {
    let (mut w, reply) = rpc_pair();
    let request = Msg::new(bits(msgt::COPY_SEND, msgt::MAKE_SEND_ONCE), w.to_b, reply, 500);
    let p = payer(&w.k, w.b.task);
    let carried = w.fresh(w.b);
    let answer = Msg::new(complex(0), 0, 0, 600).right(carried, msgt::MAKE_SEND);
    let (act, _) = call(&mut w, &request, SEND | RCV, reply).unwrap();
    assert_eq!(reply_with(&mut w, act, &answer, 40), Ok(MACH_RCV_TOO_LARGE));
    assert_eq!(w.buffer(w.a).0.id, 600);
    // Kept, if the client asked for that.
    let (act, _) = call(&mut w, &request, SEND | RCV | option::RCV_LARGE, reply).unwrap();
    assert_eq!(reply_with(&mut w, act, &answer, 40), Ok(MACH_RCV_TOO_LARGE));
    assert_eq!(w.try_receive(w.a, reply, 48, NOW), Ok(0));
    let (header, bytes) = w.buffer(w.a);
    assert_eq!((header.id, header.bits), (600, complex(0) | bits(0, msgt::PORT_SEND_ONCE)));
    assert_eq!(w.k.mach_port_type(w.a.task, word_at(&bytes, 40) as u32), Ok(type_bit(RIGHT_SEND)));
    // Memory beyond what the call accepts is not delivered.
    let memory = w.k.vm_allocate(w.b.task, p, 0, 16384, true).unwrap();
    w.k.copyout(w.b.task, memory, &[3; 16384]).unwrap();
    let gift = Msg::new(complex(0), 0, 0, 600).memory(msgt::BYTE, 8, 4096, memory, false).memory(
        msgt::BYTE,
        8,
        8192,
        memory,
        false,
    );
    let (act, _) = call(&mut w, &request, SEND | RCV, reply).unwrap();
    w.k.get_mut(act).left.accept = 2;
    assert_eq!(reply_with(&mut w, act, &gift, 4096), Ok(MACH_RCV_BODY_ERROR | MACH_MSG_VM_KERNEL));
    let (_, bytes) = w.buffer(w.a);
    assert_ne!(word_at(&bytes, 40), 0);
    assert_eq!((word_at(&bytes, 48) >> 32, word_at(&bytes, 56)), (0, 0));
    // The client's reply port is gone, or its buffer.
    let (act, _) = call(&mut w, &request, SEND | RCV, reply).unwrap();
    let (from, size) = (w.b.buffer, 32);
    w.k.copyout(w.b.task, from, &Msg::new(0, 0, 0, 600).0).unwrap();
    assert_eq!(w.k.transfer_reply(act, from, size, w.a.task, 0x10, 4096), Ok(MACH_RCV_INVALID_DATA));
    w.k.mach_port_destroy(w.a.task, reply).unwrap();
    assert_eq!(reply_with(&mut w, act, &answer, 4096), Ok(MACH_RCV_PORT_DIED));
}

#[test]
fn calls_with_a_reply_right() {
    let (mut w, reply) = rpc_pair();
    // A reply port other than the one received from: a real right, one-way.
    let request = Msg::new(bits(msgt::MOVE_SEND, msgt::MAKE_SEND_ONCE), w.to_b, reply, 500);
    let (act, _) = call(&mut w, &request, SEND, 0).unwrap();
    assert_eq!(w.k.get(act).one_way, 1);
    let mut header = Header::default();
    let window = w.k.get(act).window;
    w.k.copyin(w.b.task, window + REQUEST, header.as_mut_bytes()).unwrap();
    assert_eq!(header.bits & 0xff, msgt::PORT_SEND_ONCE);
    assert_eq!(w.k.mach_port_type(w.b.task, header.remote as u32), Ok(type_bit(RIGHT_SEND_ONCE)));
    assert!(w.k.mach_port_type(w.a.task, w.to_b).is_err(), "the destination right was moved");
    // Refused requests change nothing.
    let (mut w, reply) = rpc_pair();
    let before = w.names(w.a);
    let to = w.to_b;
    let heads = bits(msgt::COPY_SEND, msgt::MAKE_SEND_ONCE);
    for (message, want) in [
        (Msg::new(heads, to, 999, 1), MACH_SEND_INVALID_REPLY),
        (Msg::new(heads | BITS_COMPLEX, to, reply, 1).right(999, msgt::COPY_SEND), MACH_SEND_INVALID_RIGHT),
        (
            Msg::new(heads | BITS_COMPLEX, to, reply, 1)
                .right(reply, msgt::MOVE_RECEIVE)
                .word(TypeWord::INLINE | 1 << 24),
            MACH_SEND_INVALID_TYPE,
        ),
        (
            Msg::new(heads | BITS_COMPLEX, to, reply, 1).memory(msgt::BYTE, 8, 10, 0x10, false),
            MACH_SEND_INVALID_MEMORY,
        ),
    ] {
        assert_eq!(code(call(&mut w, &message, SEND | RCV, reply).map(|_| 0)), want);
        assert_eq!(w.names(w.a), before);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]
    /// Whatever the words of a body: it is sent or refused, never half of it; and what was sent is received.
    #[test]
    fn any_body(
        words in proptest::collection::vec(prop_oneof![
            (0..24u64, prop_oneof![Just(8u64), Just(32), Just(64)], 0..4u64, any::<[bool; 3]>()).prop_map(|(name, size, number, [inline, dealloc, unused])| {
                name | size << 8 | number << 32 | if inline { 1 << 29 } else { 0 } | if dealloc { 1 << 31 } else { 0 } | if unused { 1 << 26 } else { 0 }
            }),
            0..6u64,
            Just(MEMORY),
            any::<u64>(),
        ], 0..24),
        direct in any::<bool>(),
    ) {
        let (mut w, reply) = if direct { rpc_pair() } else {
            let mut w = pair();
            let reply = w.fresh(w.a);
            (w, reply)
        };
        let pay = payer(&w.k, w.a.task);
        w.k.mach_port_insert_right(w.a.task, w.a.task, reply, (reply, msgt::MAKE_SEND), pay).unwrap();
        w.k.vm_allocate(w.a.task, pay, MEMORY, 4096, false).unwrap();
        let mut message = Msg::new(complex(msgt::COPY_SEND), w.to_b, 0, 5);
        for word in &words {
            message = message.word(*word);
        }
        let before = w.names(w.a);
        if direct {
            match call(&mut w, &message, SEND | RCV, reply) {
                Ok((act, _)) => again(|| w.k.window_close(act)).unwrap(),
                Err(_) => prop_assert_eq!(w.names(w.a), before),
            }
        } else if w.try_send(w.a, &message, NOW) == Ok(0) {
            if w.k.get(w.port).queued == 1 {
                w.receive();
            }
        } else {
            prop_assert_eq!(w.names(w.a), before);
        }
        reap(&mut w.k);
        check(&w.k);
        prop_assert!(objects(&w.k, Kind::Message).is_empty());
        for side in [w.a, w.b] {
            check_frames(&w.k, w.k.get(side.task).account);
        }
    }
}
