//! Helpers of the tests of ports and messages: a kernel with accounts, tasks with memory and names, a current thread; the integrity of all lists of slots.

use std::collections::{BTreeMap, BTreeSet};

use drover_abi::account::UNLIMITED;
use drover_abi::donation::Donation;

use crate::account::{Account, Limits, Payer};
use crate::activation::Activation;
use crate::frame::NONE;
use crate::host::HostMachine;
use crate::kernel::{Boot, Kernel, Stop};
use crate::object::{Kind, Ref};
use crate::port::Port;
use crate::right::{DEAD, RECEIVE, SEND, SEND_ONCE, SlotRef};
use crate::task::Task;
use crate::thread::{READY, Thread};

pub(crate) type Core = Kernel<HostMachine>;

pub(crate) fn core(frames: u32) -> Core {
    let machine = HostMachine::new(frames as usize);
    Kernel::new(machine, &Boot { ranges: &[(0, frames)], modules: &[], command_line: b"", kernel_frames: 0 })
}

pub(crate) fn account(k: &mut Core, frames: u64) -> Ref<Account> {
    let limits = Limits { resources: [frames, 10_000, 100, UNLIMITED, UNLIMITED], share: 0 };
    k.account_create(k.root, &limits).unwrap()
}

/// A task with an address space and a name space.
pub(crate) fn task(k: &mut Core, account: Ref<Account>) -> Ref<Task> {
    let payer = Payer::account(account);
    let task = k.new_object::<Task>(payer).unwrap();
    let root = k.space_create(payer).unwrap();
    let names = k.names_create(payer).unwrap();
    let t = k.get_mut(task);
    (t.account, t.root_table, t.names) = (account, root, names);
    task
}

/// A thread at home in a task, with its bottom activation; it becomes the current one.
pub(crate) fn thread(k: &mut Core, task: Ref<Task>) -> Ref<Thread> {
    let account = k.get(task).account;
    let payer = Payer::account(account);
    let thread = k.new_object::<Thread>(payer).unwrap();
    let act = k.new_object::<Activation>(payer).unwrap();
    let a = k.get_mut(act);
    (a.thread, a.task, a.payer, a.left) = (thread, task, account, Donation::ALL);
    let t = k.get_mut(thread);
    (t.home, t.top, t.bottom, t.depth) = (task, act, act, 1);
    t.head.state = READY;
    (k.current, k.turn) = (thread, account);
    thread
}

pub(crate) fn payer(k: &Core, task: Ref<Task>) -> Payer {
    Payer::account(k.get(task).account)
}

pub(crate) fn reap(k: &mut Core) {
    for _ in 0..10_000 {
        if !k.ports_dying() {
            return;
        }
        k.reap();
    }
    panic!("a port does not end");
}

pub(crate) fn again<T>(mut f: impl FnMut() -> Result<T, Stop>) -> Result<T, Stop> {
    for _ in 0..10_000 {
        match f() {
            Err(Stop::Again) => {}
            other => return other,
        }
    }
    panic!("an operation does not end");
}

/// Raw references of all live objects of a kind.
pub(crate) fn objects(k: &Core, kind: Kind) -> Vec<u32> {
    let mut found = Vec::new();
    let mut accounts = vec![k.root];
    while let Some(account) = accounts.pop() {
        let a = k.get(account);
        let mut frame = a.slabs_head;
        while frame != NONE {
            for slot in 0..64 {
                if let Some((what, raw)) = k.slab_object(frame, slot)
                    && what == kind as u8
                {
                    found.push(raw);
                }
            }
            frame = k.info(frame).next;
        }
        let mut child = a.children;
        while child.is_some() {
            accounts.push(child);
            child = k.get(child).next;
        }
    }
    found
}

/// Frames of an account are as many as it is charged for.
pub(crate) fn check_frames(k: &Core, account: Ref<Account>) {
    let a = k.get(account);
    let mut n = 0;
    for mut frame in [a.slabs_head, a.frames_head] {
        while frame != NONE {
            assert_eq!(k.info(frame).owner, account);
            n += 1;
            frame = k.info(frame).next;
        }
    }
    assert_eq!(n, a.resources[0].charged, "frames on the list = frames charged");
}

/// Every list of slots is whole both ways, the counts of rights are true, names and hash buckets agree, sets and queues are well linked.
pub(crate) fn check(k: &Core) {
    let mut listed = BTreeSet::new();
    for raw in objects(k, Kind::Port) {
        let port = Ref::<Port>::from_raw(raw);
        let p = k.get(port);
        let (mut at, mut before) = (p.slots, SlotRef::NONE);
        let mut counts = BTreeMap::new();
        while at.is_some() {
            let slot = k.slot(at);
            assert_eq!((slot.port, slot.prev), (port, before));
            assert_eq!(slot.kind & DEAD, 0);
            for kind in [SEND, SEND_ONCE, RECEIVE] {
                *counts.entry(kind).or_insert(0) += u32::from(slot.kind & kind != 0);
            }
            assert!(slot.kind & RECEIVE == 0 || !before.is_some(), "the receive right comes first");
            assert!(listed.insert(at.0));
            (before, at) = (at, slot.next);
        }
        let count = |kind| counts.get(&kind).copied().unwrap_or(0);
        assert_eq!((p.send_rights, p.send_once_rights), (count(SEND), count(SEND_ONCE)), "{port:?}");
        assert!(count(RECEIVE) <= 1);
        let (mut message, mut last, mut queued) = (p.queue_head, Ref::NONE, 0);
        while message.is_some() {
            let m = k.get(message);
            assert_eq!((m.prev, m.remote.port), (last, port));
            queued += 1;
            (last, message) = (message, m.next);
        }
        assert_eq!((p.queue_tail, p.queued), (last, queued));
        if p.set.is_some() {
            let news = k.port_has_news(port);
            assert_eq!(p.in_ready != 0, news);
            let mut member = k.get(p.set).member;
            while member != port {
                assert!(member.is_some(), "a member is on its set's list");
                member = k.get(member).member;
            }
        }
    }
    for raw in objects(k, Kind::Task) {
        let task = Ref::<Task>::from_raw(raw);
        let (mut after, mut used) = (0, 0);
        while let Some((name, s)) = k.name_after(task, after) {
            let slot = k.slot(s);
            assert_eq!((slot.taken, u32::from(slot.name), slot.holder), (0, name, raw));
            assert_eq!(slot.kind & DEAD == 0, listed.contains(&s.0));
            if slot.port.is_some() && slot.kind & SEND_ONCE == 0 {
                assert_eq!(k.name_of(task, slot.port), name);
            }
            if slot.kind & RECEIVE != 0 && k.get(slot.port).head.state == 0 {
                let p = k.get(slot.port);
                assert_eq!((p.receiver, p.receive_name), (task, name));
            }
            if slot.kind & (SEND | DEAD) != 0 {
                assert!(slot.urefs > 0);
            }
            used += 1;
            after = name;
        }
        assert_eq!(used, k.get(task).names_used);
        let (mut name, mut free, mut before) = (k.get(task).names_free, 0, 0);
        while name != 0 {
            let s = k.name_free_slot(task, name);
            assert_eq!((k.slot(s).kind, k.slot(s).prev.0), (0, before));
            free += 1;
            (before, name) = (name, k.slot(s).hash_next);
        }
        assert_eq!(free, k.get(task).names_freed);
    }
}
