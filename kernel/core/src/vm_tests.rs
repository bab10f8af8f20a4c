//! Tests of memory: every error, histories against a model, exact return of every frame.

use std::collections::BTreeMap;

use drover_abi::account::{FRAMES, OBJECTS, UNLIMITED};
use drover_abi::returns::*;
use drover_abi::vm::*;
use drover_abi::window::{ARENA, ARENA_END, STACK_GUARD, STACK_TOP, WINDOW_SIZE, WINDOWS_BASE};
use proptest::prelude::*;

use crate::account::{Account, Limits, Payer};
use crate::activation::Activation;
use crate::fault::Access;
use crate::host::HostMachine;
use crate::kernel::{Boot, Kernel, Stop};
use crate::memory::{BATCH, DEPTH_MAX, Memory};
use crate::object::Ref;
use crate::pagetable::PAGE;
use crate::task::Task;
use crate::thread::Thread;
use crate::user::COPY_MAX;
use crate::vm::Map;

type Core = Kernel<HostMachine>;

const RW: i32 = VM_PROT_READ | VM_PROT_WRITE;

fn core(frames: u32, modules: &[(&[u8], u32, u64)]) -> Core {
    let extra: u32 = modules.iter().map(|m| m.2.div_ceil(4096) as u32).sum();
    let machine = HostMachine::new((frames + extra) as usize);
    Kernel::new(machine, &Boot { ranges: &[(0, frames)], modules, command_line: b"", kernel_frames: 0 })
}

fn account(k: &mut Core, frames: u64) -> Ref<Account> {
    let limits = Limits { resources: [frames, 4_000, 100, UNLIMITED, UNLIMITED], share: 0 };
    k.account_create(k.root, &limits).unwrap()
}

fn task(k: &mut Core, account: Ref<Account>) -> Ref<Task> {
    try_task(k, account).unwrap()
}

fn try_task(k: &mut Core, account: Ref<Account>) -> Result<Ref<Task>, Stop> {
    let payer = Payer::account(account);
    let task = k.new_object::<Task>(payer)?;
    k.get_mut(task).account = account;
    match k.space_create(payer) {
        Ok(root) => k.get_mut(task).root_table = root,
        Err(stop) => {
            k.free_object(task);
            return Err(stop);
        }
    }
    Ok(task)
}

fn end_task(k: &mut Core, task: Ref<Task>) {
    again(|| k.space_destroy(task)).unwrap();
    k.free_object(task);
}

/// An activation (of a thread that `payer` pays for) that visits a task.
fn visit(k: &mut Core, task: Ref<Task>, payer: Ref<Account>, ceiling: u64) -> Ref<Activation> {
    let thread = k.new_object::<Thread>(Payer::account(payer)).unwrap();
    let act = k.new_object::<Activation>(Payer::account(payer)).unwrap();
    k.get_mut(thread).top = act;
    let a = k.get_mut(act);
    (a.thread, a.task, a.payer) = (thread, task, payer);
    a.left.frames = ceiling;
    act
}

fn end_visit(k: &mut Core, act: Ref<Activation>) {
    again(|| k.window_close(act)).unwrap();
    let thread = k.get(act).thread;
    k.free_object(act);
    k.free_object(thread);
}

/// Ends the port of an object, as when its last send right is gone.
fn end_port(k: &mut Core, object: Ref<Memory>) {
    let port = k.get(object).port;
    k.port_die(port);
    reap(k);
}

fn reap(k: &mut Core) {
    for _ in 0..1000 {
        if !k.ports_dying() {
            return;
        }
        k.reap();
    }
    panic!("a port does not end");
}

fn again<T>(mut f: impl FnMut() -> Result<T, Stop>) -> Result<T, Stop> {
    for _ in 0..10_000 {
        match f() {
            Err(Stop::Again) => {}
            other => return other,
        }
    }
    panic!("an operation does not end");
}

fn charged(k: &Core, account: Ref<Account>) -> u64 {
    k.get(account).resources[FRAMES].charged
}

/// Every account's list is as long as its charge; all charges and the free frames are all frames.
fn check(k: &Core) {
    let mut sum = u64::from(k.free_frames);
    let mut todo = vec![k.root];
    while let Some(account) = todo.pop() {
        let a = k.get(account);
        let mut n = 0;
        for mut frame in [a.slabs_head, a.frames_head] {
            while frame != 0 {
                assert_eq!(k.info(frame).owner, account);
                n += 1;
                frame = k.info(frame).next;
            }
        }
        let r = a.resources[FRAMES];
        assert_eq!(n, r.charged, "the list of account {} is not as long as its charge", a.id);
        assert!(r.charged + r.given + r.escrow <= r.limit);
        sum += n;
        let mut child = a.children;
        while child.is_some() {
            todo.push(child);
            child = k.get(child).next;
        }
    }
    assert_eq!(sum, u64::from(k.total_frames));
}

fn error<T: core::fmt::Debug>(code: i32, result: Result<T, Stop>) {
    assert_eq!(result.unwrap_err(), Stop::Error(code));
}

fn whole(object: Ref<Memory>, size: u64, prot: i32) -> Map {
    Map {
        address: 0,
        size,
        mask: 0,
        anywhere: true,
        object,
        offset: 0,
        copy: false,
        prot,
        max_prot: prot,
        inheritance: VM_INHERIT_COPY,
    }
}

#[test]
fn zeros_writing_and_reading_back() {
    let mut k = core(256, &[]);
    let a = account(&mut k, 100);
    let t = task(&mut k, a);
    let at = k.vm_allocate(t, Payer::account(a), 0, 3 * PAGE, true).unwrap();
    assert_eq!(at % PAGE, 0);
    let mut bytes = [1; 5000];
    k.copyin(t, at, &mut bytes).unwrap();
    assert!(bytes.iter().all(|&b| b == 0));
    let text: Vec<u8> = (0..5000).map(|i| i as u8).collect();
    k.copyout(t, at + 2000, &text).unwrap();
    k.copyin(t, at + 2000, &mut bytes).unwrap();
    assert_eq!(&bytes[..], &text[..]);
    assert_eq!(k.read_u32(t, at + 2000).unwrap(), 0x0302_0100);
    assert_eq!(k.user_word(t, at + 2004).unwrap() % 4096, (at + 2004) % 4096);
    check(&k);
    end_task(&mut k, t);
    assert_eq!(charged(&k, a), 0);
    check(&k);
}

#[test]
fn errors_of_allocate_and_map() {
    let mut k = core(256, &[]);
    let a = account(&mut k, 100);
    let t = task(&mut k, a);
    let p = Payer::account(a);
    let before = charged(&k, a);
    assert_eq!(k.vm_allocate(t, p, 77, 0, true), Ok(0));
    error(KERN_INVALID_ARGUMENT, k.vm_allocate(t, p, u64::MAX - 5, 100, false));
    error(KERN_NO_SPACE, k.vm_allocate(t, p, 0, u64::MAX - 5, true));
    error(KERN_NO_SPACE, k.vm_allocate(t, p, 0, 1 << 46, true));
    error(KERN_INVALID_ARGUMENT, k.vm_allocate(t, p, 0x10000, (1 << 44) + PAGE, false));
    error(KERN_INVALID_ADDRESS, k.vm_allocate(t, p, 0, PAGE, false));
    error(KERN_INVALID_ADDRESS, k.vm_allocate(t, p, VM_MAX_ADDRESS - PAGE, PAGE, false));
    error(KERN_INVALID_ARGUMENT, k.vm_allocate(t, p, VM_MAX_ADDRESS, PAGE, false));
    error(KERN_INVALID_ADDRESS, k.vm_allocate(t, p, WINDOWS_BASE, PAGE, false));
    error(KERN_INVALID_ADDRESS, k.vm_allocate(t, p, WINDOWS_BASE - PAGE, 2 * PAGE, false));
    let mut map = whole(Ref::NONE, PAGE, RW);
    map.mask = 5;
    error(KERN_INVALID_ARGUMENT, k.vm_map(t, p, &map));
    map.mask = u64::MAX;
    error(KERN_INVALID_ARGUMENT, k.vm_map(t, p, &map));
    map = whole(Ref::NONE, PAGE, RW);
    map.max_prot = VM_PROT_READ;
    error(KERN_INVALID_ARGUMENT, k.vm_map(t, p, &map));
    map = whole(Ref::NONE, PAGE, 8);
    error(KERN_INVALID_ARGUMENT, k.vm_map(t, p, &map));
    map = whole(Ref::NONE, PAGE, RW);
    map.inheritance = 3;
    error(KERN_INVALID_ARGUMENT, k.vm_map(t, p, &map));
    map = whole(Ref::NONE, PAGE, RW);
    map.offset = 1;
    error(KERN_INVALID_ARGUMENT, k.vm_map(t, p, &map));
    assert_eq!(charged(&k, a), before);
    let at = k.vm_allocate(t, p, 0x5000, PAGE, false).unwrap();
    error(KERN_NO_SPACE, k.vm_allocate(t, p, at, 1, false));
    let object = k.vm_object_create(p, 2 * PAGE).unwrap();
    error(KERN_INVALID_ARGUMENT, k.vm_map(t, p, &whole(object, 3 * PAGE, RW)));
    error(KERN_INVALID_ARGUMENT, k.vm_object_create(p, 0));
    error(KERN_INVALID_ARGUMENT, k.vm_object_create(p, u64::MAX));
    map = whole(Ref::NONE, PAGE, RW);
    map.mask = (1 << 33) - 1;
    assert_eq!(k.vm_map(t, p, &map).unwrap() % (1 << 33), 0);
    end_port(&mut k, object);
    end_task(&mut k, t);
    assert_eq!(charged(&k, a), 0);
}

#[test]
fn errors_of_access() {
    let mut k = core(256, &[]);
    let a = account(&mut k, 100);
    let t = task(&mut k, a);
    let p = Payer::account(a);
    let at = k.vm_allocate(t, p, 0x10000, 2 * PAGE, false).unwrap();
    let mut b = [0; 16];
    error(KERN_INVALID_ADDRESS, k.copyin(t, at - 8, &mut b));
    error(KERN_INVALID_ADDRESS, k.copyin(t, at + 2 * PAGE - 8, &mut b));
    error(KERN_INVALID_ADDRESS, k.copyin(t, u64::MAX - 8, &mut b));
    error(KERN_INVALID_ADDRESS, k.copyout(t, VM_MAX_ADDRESS - 8, &b));
    error(KERN_INVALID_ADDRESS, k.copyout(t, 0xffff_8000_0000_0000, &b));
    error(KERN_INVALID_ADDRESS, k.fault(t, 0xffff_8000_0000_0000, Access::Read));
    error(KERN_INVALID_ARGUMENT, k.user_word(t, at + 2));
    error(KERN_INVALID_ARGUMENT, k.copy_user(t, at, t, at, COPY_MAX + 1));
    error(KERN_PROTECTION_FAILURE, k.fault(t, at, Access::Execute));
    k.copyout(t, at, &b).unwrap();
    k.vm_protect(t, at, PAGE, false, VM_PROT_READ).unwrap();
    error(KERN_PROTECTION_FAILURE, k.copyout(t, at, &b));
    k.copyin(t, at, &mut b).unwrap();
    k.copyout(t, at + PAGE, &b).unwrap();
    k.vm_protect(t, at, PAGE, false, 0).unwrap();
    error(KERN_PROTECTION_FAILURE, k.copyin(t, at, &mut b));
    k.vm_protect(t, at, PAGE, true, VM_PROT_READ).unwrap();
    error(KERN_PROTECTION_FAILURE, k.vm_protect(t, at, 2 * PAGE, false, RW));
    error(KERN_INVALID_ARGUMENT, k.vm_protect(t, at, PAGE, false, 9));
    error(KERN_INVALID_ARGUMENT, k.vm_protect(t, u64::MAX, PAGE, false, 1));
    error(KERN_INVALID_ADDRESS, k.vm_protect(t, WINDOWS_BASE, PAGE, false, 1));
    error(KERN_INVALID_ARGUMENT, k.vm_inherit(t, at, PAGE, 3));
    error(KERN_INVALID_ADDRESS, k.vm_deallocate(t, WINDOWS_BASE, PAGE));
    error(KERN_INVALID_ARGUMENT, k.vm_deallocate(t, VM_MAX_ADDRESS - PAGE, 2 * PAGE));
    error(KERN_INVALID_ADDRESS, k.vm_copy(t, at + PAGE, 2 * PAGE, at + PAGE));
    let r = k.vm_region(t, 0).unwrap();
    assert_eq!((r.address, r.size, r.prot, r.max_prot), (at, PAGE, 0, VM_PROT_READ));
    error(KERN_NO_SPACE, k.vm_region(t, at + 2 * PAGE));
    check(&k);
    end_task(&mut k, t);
    assert_eq!(charged(&k, a), 0);
}

#[test]
fn deallocation_of_a_part_returns_its_frames() {
    let mut k = core(2000, &[]);
    let a = account(&mut k, 1500);
    let t = task(&mut k, a);
    let p = Payer::account(a);
    let at = k.vm_allocate(t, p, 0, 1000 * PAGE, true).unwrap();
    for i in 0..1000 {
        k.write_u64(t, at + i * PAGE, i).unwrap();
    }
    let full = charged(&k, a);
    let mut calls = 0;
    loop {
        calls += 1;
        match k.vm_deallocate(t, at + 100 * PAGE, 800 * PAGE) {
            Err(Stop::Again) => check(&k),
            other => break other.unwrap(),
        }
    }
    assert!(calls >= 800 / u64::from(BATCH), "a batch is bounded");
    assert!(full - charged(&k, a) >= 800);
    assert_eq!(k.read_u64(t, at + 99 * PAGE).unwrap(), 99);
    assert_eq!(k.read_u64(t, at + 900 * PAGE).unwrap(), 900);
    error(KERN_INVALID_ADDRESS, k.read_u64(t, at + 100 * PAGE));
    end_task(&mut k, t);
    assert_eq!(charged(&k, a), 0);
    assert_eq!(k.get(a).resources[OBJECTS].charged, 0);
    check(&k);
}

#[test]
fn sparse_giants_cost_what_is_touched() {
    let mut k = core(500, &[]);
    let a = account(&mut k, 300);
    let t = task(&mut k, a);
    let at = k.vm_allocate(t, Payer::account(a), 0, 1 << 43, true).unwrap();
    for i in 0..8 {
        k.write_u64(t, at + (i << 40), i).unwrap();
    }
    for i in 0..8 {
        assert_eq!(k.read_u64(t, at + (i << 40)).unwrap(), i);
    }
    k.vm_protect(t, at, 1 << 43, false, VM_PROT_READ).unwrap();
    error(KERN_PROTECTION_FAILURE, k.write_u64(t, at, 1));
    k.vm_deallocate(t, at, 1 << 43).unwrap();
    check(&k);
    end_task(&mut k, t);
    assert_eq!(charged(&k, a), 0);
}

#[test]
fn a_fork_is_a_snapshot_and_each_pays_for_its_own() {
    let mut k = core(500, &[]);
    let (a, b) = (account(&mut k, 100), account(&mut k, 100));
    let t = task(&mut k, a);
    let at = k.vm_allocate(t, Payer::account(a), 0, 8 * PAGE, true).unwrap();
    for i in 0..4 {
        k.write_u64(t, at + i * PAGE, i + 1).unwrap();
    }
    let c = task(&mut k, b);
    again(|| k.space_fork(t, c, Payer::account(b))).unwrap();
    let (pa, pb) = (charged(&k, a), charged(&k, b));
    k.write_u64(t, at, 100).unwrap();
    k.write_u64(c, at + PAGE, 200).unwrap();
    assert!(charged(&k, a) > pa && charged(&k, b) > pb);
    let pa = charged(&k, a);
    // A page of zeros that only the child looks at is the child's.
    assert_eq!(k.read_u64(c, at + 7 * PAGE).unwrap(), 0);
    assert_eq!(charged(&k, a), pa);
    let all =
        |k: &mut Core, t| -> Vec<u64> { (0..5).map(|i| k.read_u64(t, at + i * PAGE).unwrap()).collect() };
    assert_eq!(all(&mut k, t), [100, 2, 3, 4, 0]);
    assert_eq!(all(&mut k, c), [1, 200, 3, 4, 0]);
    check(&k);
    end_task(&mut k, t);
    assert_eq!(all(&mut k, c), [1, 200, 3, 4, 0]);
    end_task(&mut k, c);
    assert_eq!((charged(&k, a), charged(&k, b)), (0, 0));
    check(&k);
}

#[test]
fn chains_of_shadows_stay_short() {
    let mut k = core(2000, &[]);
    let a = account(&mut k, 1500);
    let p = Payer::account(a);
    let mut t = task(&mut k, a);
    let at = k.vm_allocate(t, p, 0, 4 * PAGE, true).unwrap();
    let mut all = vec![t];
    for i in 0..30 {
        k.write_u64(t, at, i).unwrap();
        let c = task(&mut k, a);
        again(|| k.space_fork(t, c, p)).unwrap();
        let entry = k.map_lookup(c, at).unwrap();
        assert!(k.get(k.get(entry).object).depth <= DEPTH_MAX);
        t = c;
        all.push(t);
    }
    for (i, &t) in all.iter().enumerate() {
        assert_eq!(k.read_u64(t, at).unwrap(), (i as u64).min(29));
    }
    all.into_iter().for_each(|t| end_task(&mut k, t));
    assert_eq!(charged(&k, a), 0);
    check(&k);
}

#[test]
fn the_last_owner_writes_in_place() {
    let mut k = core(500, &[]);
    let a = account(&mut k, 300);
    let p = Payer::account(a);
    let t = task(&mut k, a);
    let at = k.vm_allocate(t, p, 0, 64 * PAGE, true).unwrap();
    for i in 0..64 {
        k.write_u64(t, at + i * PAGE, i).unwrap();
    }
    let before = charged(&k, a);
    for _ in 0..20 {
        let c = task(&mut k, a);
        again(|| k.space_fork(t, c, p)).unwrap();
        end_task(&mut k, c);
        for i in 0..64 {
            k.write_u64(t, at + i * PAGE, i).unwrap();
        }
    }
    assert_eq!(charged(&k, a), before);
    end_task(&mut k, t);
    check(&k);
}

#[test]
fn what_is_shared_after_a_copy_stays_shared() {
    let mut k = core(600, &[]);
    let a = account(&mut k, 300);
    let p = Payer::account(a);
    let t = task(&mut k, a);
    let at = k.vm_allocate(t, p, 0, 4 * PAGE, true).unwrap();
    k.write_u64(t, at, 1).unwrap();
    let copy = task(&mut k, a);
    again(|| k.space_fork(t, copy, p)).unwrap();
    k.vm_inherit(t, at, 4 * PAGE, VM_INHERIT_SHARE).unwrap();
    let sharer = task(&mut k, a);
    again(|| k.space_fork(t, sharer, p)).unwrap();
    // Both look at the page of the object behind; then one writes.
    assert_eq!(k.read_u64(sharer, at).unwrap(), 1);
    assert_eq!(k.read_u64(t, at).unwrap(), 1);
    k.write_u64(t, at, 2).unwrap();
    assert_eq!(k.read_u64(sharer, at).unwrap(), 2);
    assert_eq!(k.read_u64(copy, at).unwrap(), 1);
    [t, copy, sharer].into_iter().for_each(|t| end_task(&mut k, t));
    assert_eq!(charged(&k, a), 0);
    check(&k);
}

#[test]
fn chains_collapse_when_the_copies_are_gone() {
    let mut k = core(2000, &[]);
    let a = account(&mut k, 1500);
    let p = Payer::account(a);
    let t = task(&mut k, a);
    let at = k.vm_allocate(t, p, 0, 300 * PAGE, true).unwrap();
    for i in 0..300 {
        k.write_u64(t, at + i * PAGE, i).unwrap();
    }
    let mut most = 0;
    for round in 0..20u64 {
        let c = task(&mut k, a);
        again(|| k.space_fork(t, c, p)).unwrap();
        let entry = k.map_lookup(t, at).unwrap();
        assert!(k.get(k.get(entry).object).depth <= 1, "the object behind is merged");
        // Written while the child lives: a shadow.
        k.write_u64(t, at + round * PAGE, 1000 + round).unwrap();
        assert_eq!(k.read_u64(c, at + round * PAGE).unwrap(), round);
        most = most.max(charged(&k, a));
        end_task(&mut k, c);
        check(&k);
    }
    assert!(most < 330, "{most} frames for 300 pages and one child");
    for i in 0..300 {
        assert_eq!(k.read_u64(t, at + i * PAGE).unwrap(), if i < 20 { 1000 + i } else { i });
    }
    end_task(&mut k, t);
    assert_eq!(charged(&k, a), 0);
    check(&k);
}

#[test]
fn at_the_limit_memory_can_still_be_given_back() {
    let mut k = core(600, &[]);
    let a = account(&mut k, 300);
    let p = Payer::account(a);
    let t = task(&mut k, a);
    let at = k.vm_allocate(t, p, 0, 40 * PAGE, true).unwrap();
    for i in 0..40 {
        k.write_u64(t, at + i * PAGE, i).unwrap();
    }
    let r = k.get(a).resources;
    k.get_mut(a).resources[FRAMES].limit = r[FRAMES].charged;
    k.get_mut(a).resources[OBJECTS].limit = r[OBJECTS].charged;
    k.vm_deallocate(t, at, 10 * PAGE).unwrap();
    k.vm_deallocate(t, at + 30 * PAGE, 10 * PAGE).unwrap();
    assert_eq!(charged(&k, a), r[FRAMES].charged - 20);
    error(KERN_RESOURCE_SHORTAGE, k.vm_deallocate(t, at + 15 * PAGE, PAGE));
    for i in 10..30 {
        assert_eq!(k.read_u64(t, at + i * PAGE).unwrap(), i);
    }
    error(KERN_INVALID_ADDRESS, k.read_u64(t, at + 9 * PAGE));
    error(KERN_INVALID_ADDRESS, k.read_u64(t, at + 30 * PAGE));
    assert_eq!(k.get(t).virtual_size, 20 * PAGE);
    end_task(&mut k, t);
    assert_eq!(charged(&k, a), 0);
    check(&k);
}

#[test]
fn modules_are_read_and_copied_never_written() {
    let mut k = core(300, &[(b"m", 300, 2 * PAGE + 10)]);
    for i in 0..3 {
        k.machine_fill(300 + i, 0x40 + i as u8);
    }
    let a = account(&mut k, 100);
    let p = Payer::account(a);
    let t = task(&mut k, a);
    let object = k.modules[0].object;
    let root = charged(&k, k.root);
    let at = k.vm_map(t, p, &whole(object, 3 * PAGE, VM_PROT_READ)).unwrap();
    assert_eq!(k.read_u32(t, at + PAGE).unwrap(), 0x4141_4141);
    error(KERN_PROTECTION_FAILURE, k.vm_map(t, p, &whole(object, 3 * PAGE, RW)));
    let mut map = whole(object, 2 * PAGE, RW);
    (map.copy, map.offset) = (true, PAGE);
    let copy = k.vm_map(t, p, &map).unwrap();
    k.write_u32(t, copy, 7).unwrap();
    assert_eq!(k.read_u32(t, copy).unwrap(), 7);
    assert_eq!(k.read_u32(t, copy + 4).unwrap(), 0x4141_4141);
    assert_eq!(k.read_u32(t, copy + PAGE).unwrap(), 0x4242_4242);
    assert_eq!(k.read_u32(t, at + PAGE).unwrap(), 0x4141_4141);
    let mut raise = k.vm_protect(t, at, PAGE, false, RW);
    error(KERN_PROTECTION_FAILURE, core::mem::replace(&mut raise, Ok(())));
    assert_eq!(charged(&k, k.root), root);
    end_task(&mut k, t);
    assert_eq!(charged(&k, a), 0);
    check(&k);
}

impl Core {
    fn machine_fill(&mut self, frame: u32, byte: u8) {
        use crate::machine::Machine;
        self.machine.page_mut(frame).0.fill(byte);
    }
}

#[test]
fn a_dead_object_is_an_error_to_touch_and_nothing_more() {
    let mut k = core(500, &[]);
    let (a, b) = (account(&mut k, 100), account(&mut k, 100));
    let t = task(&mut k, b);
    let pb = Payer::account(b);
    let object = k.vm_object_create(Payer::account(a), 4 * PAGE).unwrap();
    let at = k.vm_map(t, pb, &whole(object, 4 * PAGE, RW)).unwrap();
    k.write_u64(t, at, 5).unwrap();
    // A child that has a shadow of something that dies.
    let parent = task(&mut k, a);
    let there = k.vm_allocate(parent, Payer::account(a), 0, 2 * PAGE, true).unwrap();
    k.write_u64(parent, there, 6).unwrap();
    k.write_u64(parent, there + PAGE, 6).unwrap();
    let child = task(&mut k, b);
    again(|| k.space_fork(parent, child, pb)).unwrap();
    k.write_u64(child, there, 7).unwrap();
    assert_eq!(k.read_u64(child, there + PAGE).unwrap(), 6);
    let entry = k.map_lookup(parent, there).unwrap();
    let backing = k.get(entry).object;
    again(|| k.memory_destroy(object)).unwrap();
    again(|| k.memory_destroy(backing)).unwrap();
    reap(&mut k);
    check(&k);
    error(KERN_MEMORY_ERROR, k.read_u64(t, at));
    error(KERN_MEMORY_ERROR, k.read_u64(parent, there));
    assert_eq!(k.read_u64(child, there).unwrap(), 7);
    error(KERN_MEMORY_ERROR, k.read_u64(child, there + PAGE));
    for t in [t, parent, child] {
        end_task(&mut k, t);
    }
    assert_eq!((charged(&k, a), charged(&k, b)), (0, 0));
    check(&k);
}

#[test]
fn windows_are_demand_zero_bounded_and_returned_whole() {
    let mut k = core(600, &[]);
    let (client, server) = (account(&mut k, 300), account(&mut k, 50));
    let t = task(&mut k, server);
    let before = (charged(&k, client), charged(&k, server));
    for round in 0..3 {
        let act = visit(&mut k, t, client, 200);
        let payer = k.window_payer(act);
        k.window_open(act, payer).unwrap();
        let base = k.get(act).window;
        assert_eq!(base, WINDOWS_BASE);
        assert_eq!(k.get(act).window_next, base + ARENA_END);
        k.write_u64(t, base, round).unwrap();
        k.write_u64(t, base + STACK_TOP - 8, 1).unwrap();
        k.write_u64(t, base + ARENA, 1).unwrap();
        k.write_u64(t, base + ARENA_END - 8, 1).unwrap();
        error(KERN_INVALID_ADDRESS, k.write_u64(t, base + STACK_GUARD, 1));
        error(KERN_INVALID_ADDRESS, k.write_u64(t, base + STACK_TOP, 1));
        error(KERN_INVALID_ADDRESS, k.write_u64(t, base + ARENA_END, 1));
        error(KERN_INVALID_ADDRESS, k.write_u64(t, base + WINDOW_SIZE, 1));
        error(KERN_PROTECTION_FAILURE, k.fault(t, base, Access::Execute));
        let placed = k.window_alloc(act, 300 * PAGE).unwrap();
        for i in 0..150 {
            k.write_u64(t, placed + i * PAGE, i).unwrap();
        }
        error(KERN_NO_SPACE, k.window_alloc(act, WINDOW_SIZE));
        let charged_now = charged(&k, client) - before.0;
        let a = *k.get(act);
        assert_eq!(200 - a.left.frames, u64::from(a.window_frames));
        assert!(u64::from(a.window_frames) <= charged_now);
        // The ceiling, not the account.
        let mut i = 150;
        while k.write_u64(t, placed + i * PAGE, i).is_ok() {
            i += 1;
        }
        error(KERN_RESOURCE_SHORTAGE, k.write_u64(t, placed + i * PAGE, i));
        assert_eq!(k.get(act).left.frames, 0);
        again(|| k.vm_deallocate(t, placed, 10 * PAGE)).unwrap();
        assert_eq!(k.get(act).left.frames, 10);
        check(&k);
        again(|| k.window_close(act)).unwrap();
        let a = *k.get(act);
        assert_eq!((a.window, a.window_frames, a.left.frames), (0, 0, 200));
        end_visit(&mut k, act);
        assert_eq!(charged(&k, client), before.0);
        // One pointer table is kept for the next call.
        assert_eq!(charged(&k, server), before.1 + 1);
        check(&k);
    }
    end_task(&mut k, t);
    assert_eq!(charged(&k, server), 0);
    check(&k);
}

#[test]
fn many_windows_and_their_owners() {
    let mut k = core(2000, &[]);
    let (client, server) = (account(&mut k, 1000), account(&mut k, 50));
    let t = task(&mut k, server);
    let acts: Vec<_> = (0..130)
        .map(|i| {
            let act = visit(&mut k, t, client, 10);
            let payer = k.window_payer(act);
            k.window_open(act, payer).unwrap();
            assert_eq!(k.get(act).window, WINDOWS_BASE + i * WINDOW_SIZE);
            k.write_u64(t, WINDOWS_BASE + i * WINDOW_SIZE, i).unwrap();
            act
        })
        .collect();
    for (i, &act) in acts.iter().enumerate() {
        let base = WINDOWS_BASE + i as u64 * WINDOW_SIZE;
        assert_eq!(k.window_owner(t, base + 12345), Some(act));
        assert_eq!(k.read_u64(t, base).unwrap(), i as u64);
    }
    for &act in &acts {
        end_visit(&mut k, act);
    }
    assert_eq!(charged(&k, client), 0);
    assert_eq!(k.get(t).windows, [0; 64]);
    end_task(&mut k, t);
    assert_eq!(charged(&k, server), 0);
    check(&k);
}

#[test]
fn a_window_that_cannot_be_paid_changes_nothing() {
    for (c, s) in [(2, 0), (1, 1), (1, 0)] {
        let mut k = core(300, &[]);
        let (client, server) = (account(&mut k, 100), account(&mut k, 100));
        let t = task(&mut k, server);
        let act = visit(&mut k, t, client, 100);
        let before = (charged(&k, client), charged(&k, server));
        // (client lacks, server lacks) the last frame.
        k.get_mut(client).resources[FRAMES].limit = before.0 + (c - 1);
        k.get_mut(server).resources[FRAMES].limit = before.1 + s;
        let payer = k.window_payer(act);
        let result = k.window_open(act, payer);
        if c == 2 && s == 1 {
            result.unwrap();
        } else {
            error(KERN_RESOURCE_SHORTAGE, result);
            assert_eq!((charged(&k, client), charged(&k, server)), before);
            assert_eq!(k.get(act).window, 0);
            assert_eq!(k.get(t).windows[0], 0);
        }
        check(&k);
    }
}

#[test]
fn objects_mapped_in_a_window_go_with_it() {
    let mut k = core(600, &[]);
    let (client, server) = (account(&mut k, 300), account(&mut k, 50));
    let t = task(&mut k, server);
    let object = k.vm_object_create(Payer::account(server), 4 * PAGE).unwrap();
    let act = visit(&mut k, t, client, 100);
    k.current = k.get(act).thread;
    let payer = k.window_payer(act);
    k.window_open(act, payer).unwrap();
    let base = k.get(act).window;
    let at = k.vm_map(t, payer, &whole(object, 4 * PAGE, RW)).unwrap();
    assert!(at >= base + ARENA_END && at < base + WINDOW_SIZE);
    k.write_u64(t, at, 9).unwrap();
    let zeros = k.vm_allocate(t, payer, 0, PAGE, true).unwrap();
    k.write_u64(t, zeros, 9).unwrap();
    error(KERN_INVALID_ADDRESS, k.vm_allocate(t, payer, 0x10000, PAGE, false));
    k.vm_deallocate(t, at, 4 * PAGE).unwrap();
    // The place stays the call's: zeros again.
    assert_eq!(k.read_u64(t, at).unwrap(), 0);
    let at = k.vm_map(t, payer, &whole(object, 4 * PAGE, RW)).unwrap();
    assert_eq!(k.read_u64(t, at).unwrap(), 9);
    again(|| k.window_close(act)).unwrap();
    assert_eq!(k.get(act).left.frames, 100);
    k.current = Ref::NONE;
    end_visit(&mut k, act);
    assert_eq!(charged(&k, client), 0);
    end_port(&mut k, object);
    end_task(&mut k, t);
    assert_eq!(charged(&k, server), 0);
    check(&k);
}

fn pattern(n: u64) -> Vec<u8> {
    (0..n).map(|i| (i * 7 + i / 251) as u8 | 1).collect()
}

#[test]
fn out_of_line_data_is_copied_or_moved_and_paid() {
    for (offset, len, dealloc, window) in [
        (0, 10 * PAGE, false, false),
        (0, 10 * PAGE, true, false),
        (0, 10 * PAGE - 100, true, true),
        (123, 3 * PAGE + 7, false, true),
        (4000, 200, true, false),
        (1, 1, false, false),
        (17, 700 * PAGE, true, true),
        (0, 700 * PAGE, true, false),
        (0, 700 * PAGE, false, true),
    ] {
        let mut k = core(5000, &[]);
        let (a, b, s) = (account(&mut k, 2000), account(&mut k, 1500), account(&mut k, 100));
        let t = task(&mut k, a);
        let receiver = task(&mut k, if window { s } else { b });
        let at = k.vm_allocate(t, Payer::account(a), 0, len + PAGE, true).unwrap();
        let data = pattern(len);
        k.copyout(t, at + offset, &data).unwrap();
        let object = k.ool_take(t, at + offset, len, Payer::account(a), dealloc).unwrap();
        check(&k);
        if dealloc {
            error(KERN_INVALID_ADDRESS, k.read_u32(t, at + offset));
        } else {
            let mut back = vec![0; len as usize];
            k.copyin(t, at + offset, &mut back).unwrap();
            assert_eq!(back, data);
        }
        let mut first = [0; 1];
        k.memory_read(object, 0, &mut first).unwrap();
        assert_eq!(first[0], data[0]);
        error(KERN_INVALID_ARGUMENT, k.memory_read(object, len.next_multiple_of(PAGE), &mut first));
        let act = window.then(|| {
            let act = visit(&mut k, receiver, b, 1000);
            let payer = k.window_payer(act);
            k.window_open(act, payer).unwrap();
            act
        });
        let payer = act.map_or(Payer::account(b), |act| k.window_payer(act));
        let before = charged(&k, a);
        let place = k.ool_place(object, receiver, payer, act).unwrap();
        assert!(before - charged(&k, a) >= len / PAGE, "the charge moved");
        let mut back = vec![0; len.next_multiple_of(PAGE) as usize];
        k.copyin(receiver, place, &mut back).unwrap();
        assert_eq!(back[..len as usize], data[..]);
        assert!(back[len as usize..].iter().all(|&b| b == 0), "nothing of the sender's leaks");
        k.write_u32(receiver, place, 1).unwrap();
        check(&k);
        if let Some(act) = act {
            assert_eq!(1000 - k.get(act).left.frames, u64::from(k.get(act).window_frames));
            end_visit(&mut k, act);
        }
        end_task(&mut k, t);
        end_task(&mut k, receiver);
        assert_eq!((charged(&k, a), charged(&k, b), charged(&k, s)), (0, 0, 0));
        check(&k);
    }
}

#[test]
fn data_of_a_window_move_into_the_reply() {
    let mut k = core(1000, &[]);
    let (client, server) = (account(&mut k, 300), account(&mut k, 50));
    let (home, t) = (task(&mut k, client), task(&mut k, server));
    let act = visit(&mut k, t, client, 100);
    let payer = k.window_payer(act);
    k.window_open(act, payer).unwrap();
    let at = k.window_alloc(act, 20 * PAGE).unwrap();
    let data = pattern(20 * PAGE - 5);
    k.copyout(t, at, &data).unwrap();
    let before = charged(&k, client);
    let object = k.ool_take(t, at, data.len() as u64, payer, true).unwrap();
    assert!(charged(&k, client) <= before + 2, "no copy: only the object and its tree");
    assert_eq!(k.get(act).window_frames, 3, "two directories and a table are left");
    end_visit(&mut k, act);
    let place = k.ool_place(object, home, Payer::account(client), None).unwrap();
    let mut back = vec![0; data.len()];
    k.copyin(home, place, &mut back).unwrap();
    assert_eq!(back, data);
    end_task(&mut k, home);
    end_task(&mut k, t);
    assert_eq!((charged(&k, client), charged(&k, server)), (0, 0));
    check(&k);
}

#[test]
fn errors_of_out_of_line_data() {
    let mut k = core(600, &[]);
    let (a, b) = (account(&mut k, 100), account(&mut k, 100));
    let t = task(&mut k, a);
    let p = Payer::account(a);
    let at = k.vm_allocate(t, p, 0, 4 * PAGE, true).unwrap();
    error(KERN_INVALID_ARGUMENT, k.ool_take(t, at, 0, p, false));
    error(KERN_INVALID_ARGUMENT, k.ool_take(t, at, COPY_MAX + 1, p, false));
    error(KERN_INVALID_ADDRESS, k.ool_take(t, at, 5 * PAGE, p, true));
    error(KERN_INVALID_ARGUMENT, k.ool_take(t, u64::MAX - 10, 100, p, true));
    k.copyout(t, at, &pattern(4 * PAGE)).unwrap();
    k.vm_protect(t, at + PAGE, PAGE, false, 0).unwrap();
    error(KERN_PROTECTION_FAILURE, k.ool_take(t, at, 2 * PAGE, p, false));
    k.vm_protect(t, at + PAGE, PAGE, false, RW).unwrap();
    // Every number of frames that is not enough.
    let (start, list) = (charged(&k, a), k.get(t).entries);
    for n in 0.. {
        k.get_mut(a).resources[FRAMES].limit = start + n;
        match k.ool_take(t, at + 5, 3 * PAGE, p, false) {
            Err(stop) => {
                assert_eq!(stop, Stop::Error(KERN_RESOURCE_SHORTAGE));
                assert_eq!((charged(&k, a), k.get(t).entries), (start, list));
            }
            Ok(object) => {
                assert!(n > 1);
                for m in 0.. {
                    let receiver = task(&mut k, b);
                    let had = charged(&k, b);
                    k.get_mut(b).resources[FRAMES].limit = had + m;
                    let placed = k.ool_place(object, receiver, Payer::account(b), None);
                    k.get_mut(b).resources[FRAMES].limit = 100;
                    if placed.is_err() {
                        assert_eq!(charged(&k, b), had);
                        error(KERN_RESOURCE_SHORTAGE, placed);
                    }
                    end_task(&mut k, receiver);
                    check(&k);
                    if placed.is_ok() {
                        break;
                    }
                }
                break;
            }
        }
        check(&k);
    }
    let object = k.ool_of_bytes(Payer::account(b), &pattern(5000)).unwrap();
    k.vm_write(t, at + 10, object).unwrap();
    let mut back = [0; 5000];
    k.copyin(t, at + 10, &mut back).unwrap();
    assert_eq!(back[..], pattern(5000)[..]);
    k.ool_free(object);
    k.get_mut(a).resources[FRAMES].limit = 100;
    end_task(&mut k, t);
    assert_eq!((charged(&k, a), charged(&k, b)), (0, 0));
}

#[test]
fn every_charge_that_fails_leaves_nothing_behind() {
    // One step after another of a small history, each with every number of frames that is not enough.
    type Step = (&'static str, fn(&mut Core, Ref<Task>, Payer) -> Result<(), Stop>);
    const AT: u64 = 0x7000_0000;
    let steps: &[Step] = &[
        ("allocate", |k, t, p| k.vm_allocate(t, p, AT, 600 * PAGE, false).map(|_| ())),
        ("touch", |k, t, _| k.write_u64(t, AT + 3 * PAGE, 5)),
        ("touch far", |k, t, _| k.write_u64(t, AT + 590 * PAGE, 6)),
        ("cut", |k, t, _| k.vm_protect(t, AT + 10 * PAGE, PAGE, false, VM_PROT_READ)),
        ("mark", |k, t, _| {
            let entry = k.map_lookup(t, AT).unwrap();
            let mut budget = 1000;
            k.entry_mark_copy(entry, &mut budget).unwrap();
            // Somebody else looks at it.
            let object = k.get(entry).object;
            k.get_mut(object).refs += 1;
            Ok(())
        }),
        ("copy on write", |k, t, _| k.write_u64(t, AT + 3 * PAGE, 7)),
        ("copy", |k, t, _| k.vm_copy(t, AT + 3 * PAGE, 8, AT + 20 * PAGE)),
    ];
    let mut k = core(2000, &[]);
    let a = account(&mut k, 1000);
    let p = Payer::account(a);
    let t = task(&mut k, a);
    let state = |k: &Core| {
        let mut contents = Vec::new();
        for i in 0..600 {
            let root = k.get(t).root_table;
            contents.push(k.page_lookup(root, AT + i * PAGE));
        }
        (charged(k, a), k.get(a).resources[OBJECTS].charged, k.get(t).entries, contents)
    };
    for (name, step) in steps {
        let before = state(&k);
        let mut n = 0;
        loop {
            k.get_mut(a).resources[FRAMES].limit = before.0 + n;
            match step(&mut k, t, p) {
                Ok(()) => break,
                Err(stop) => {
                    assert_eq!(stop, Stop::Error(KERN_RESOURCE_SHORTAGE), "{name} with {n}");
                    assert!(state(&k) == before, "{name} with {n} frames left something behind");
                }
            }
            check(&k);
            n += 1;
        }
    }
    assert_eq!(k.read_u64(t, AT + 20 * PAGE).unwrap(), 7);
}

// ---- Histories against a model ----

const PAGES: u64 = 12;
const BASE: u64 = 0x1000_0000;

#[derive(Clone, Copy, Debug)]
struct Modelled {
    cell: usize,
    prot: i32,
    inheritance: i32,
}

#[derive(Clone, Debug)]
enum Op {
    Allocate(usize, u64, u64),
    Deallocate(usize, u64, u64),
    Protect(usize, u64, u64, i32),
    Inherit(usize, u64, u64, i32),
    Write(usize, u64, u64),
    Read(usize, u64),
    Fork(usize, usize),
    End(usize),
    Copy(usize, u64, u64, u64),
    Send(usize, u64, u64, usize, u64, bool),
    Share(usize, u64, usize, u64, u64),
    Limit(usize, u64),
}

fn op() -> impl Strategy<Value = Op> {
    let (t, at, n) = (0usize..3, 0..PAGES, 1u64..6);
    prop_oneof![
        4 => (t.clone(), at.clone(), n.clone()).prop_map(|(t, a, n)| Op::Allocate(t, a, n)),
        2 => (t.clone(), at.clone(), n.clone()).prop_map(|(t, a, n)| Op::Deallocate(t, a, n)),
        2 => (t.clone(), at.clone(), n.clone(), prop_oneof![Just(0), Just(1), Just(3), Just(3)])
            .prop_map(|(t, a, n, p)| Op::Protect(t, a, n, p)),
        3 => (t.clone(), at.clone(), 1u64..PAGES, 0..3).prop_map(|(t, a, n, i)| Op::Inherit(t, a, n, i)),
        8 => (t.clone(), at.clone(), 1u64..1000).prop_map(|(t, a, v)| Op::Write(t, a, v)),
        4 => (t.clone(), at.clone()).prop_map(|(t, a)| Op::Read(t, a)),
        4 => (t.clone(), t.clone()).prop_map(|(a, b)| Op::Fork(a, b)),
        1 => (t.clone(), at.clone(), n.clone(), at.clone()).prop_map(|(t, a, n, b)| Op::Copy(t, a, n, b)),
        2 => (t.clone(), at.clone(), n.clone(), t.clone(), at.clone(), any::<bool>())
            .prop_map(|(t, a, n, u, b, d)| Op::Send(t, a, n, u, b, d)),
        1 => (t.clone(), at.clone(), t.clone(), at, n).prop_map(|(t, a, u, b, n)| Op::Share(t, a, u, b, n)),
        1 => (t, prop_oneof![Just(0u64), Just(3), Just(1000)]).prop_map(|(t, n)| Op::Limit(t, n)),
    ]
}

type Space = BTreeMap<u64, Modelled>;

struct World {
    k: Core,
    accounts: [Ref<Account>; 3],
    tasks: [Option<Ref<Task>>; 3],
    spaces: [Space; 3],
    cells: Vec<u64>,
}

impl World {
    fn new() -> Self {
        let mut k = core(3200, &[]);
        let accounts = [0; 3].map(|_| account(&mut k, 1000));
        let tasks = [0, 1, 2].map(|i| Some(task(&mut k, accounts[i])));
        Self { k, accounts, tasks, spaces: Default::default(), cells: Vec::new() }
    }

    fn cell(&mut self, value: u64) -> usize {
        self.cells.push(value);
        self.cells.len() - 1
    }

    fn allowed(&self, t: usize, page: u64, prot: i32) -> Option<Modelled> {
        self.spaces[t].get(&page).copied().filter(|m| m.prot & prot != 0)
    }

    /// What a result that may be a shortage means: whether the operation took place.
    fn took(result: Result<(), Stop>, expected: Result<(), i32>) -> bool {
        match (result, expected) {
            (Err(Stop::Error(KERN_RESOURCE_SHORTAGE)), _) => false,
            (Ok(()), Ok(())) => true,
            (Err(Stop::Error(code)), Err(wanted)) => {
                assert_eq!(code, wanted);
                false
            }
            (got, wanted) => panic!("got {got:?}, wanted {wanted:?}"),
        }
    }

    fn code(&self, t: usize, page: u64) -> i32 {
        if self.spaces[t].contains_key(&page) { KERN_PROTECTION_FAILURE } else { KERN_INVALID_ADDRESS }
    }

    fn step(&mut self, op: &Op) {
        let address = |page: u64| BASE + page * PAGE;
        let of = |w: &Self, t: usize| (w.tasks[t], Payer::account(w.accounts[t]));
        match *op {
            Op::Allocate(t, at, n) => {
                let (Some(task), p) = of(self, t) else { return };
                let free = (at..at + n).all(|i| !self.spaces[t].contains_key(&i));
                let r = self.k.vm_allocate(task, p, address(at), n * PAGE, false).map(|_| ());
                if Self::took(r, if free { Ok(()) } else { Err(KERN_NO_SPACE) }) {
                    for i in at..at + n {
                        let cell = self.cell(0);
                        let new = Modelled { cell, prot: 3, inheritance: VM_INHERIT_COPY };
                        self.spaces[t].insert(i, new);
                    }
                }
            }
            Op::Deallocate(t, at, n) => {
                let (Some(task), _) = of(self, t) else { return };
                let k = &mut self.k;
                let r = again(|| k.vm_deallocate(task, address(at), n * PAGE));
                if Self::took(r, Ok(())) {
                    self.spaces[t].retain(|&i, _| i < at || i >= at + n);
                }
            }
            Op::Protect(t, at, n, prot) => {
                let (Some(task), _) = of(self, t) else { return };
                let k = &mut self.k;
                let r = again(|| k.vm_protect(task, address(at), n * PAGE, false, prot));
                if Self::took(r, Ok(())) {
                    self.spaces[t].range_mut(at..at + n).for_each(|(_, m)| m.prot = prot);
                }
            }
            Op::Inherit(t, at, n, inheritance) => {
                let (Some(task), _) = of(self, t) else { return };
                let k = &mut self.k;
                let r = again(|| k.vm_inherit(task, address(at), n * PAGE, inheritance));
                if Self::took(r, Ok(())) {
                    self.spaces[t].range_mut(at..at + n).for_each(|(_, m)| m.inheritance = inheritance);
                }
            }
            Op::Write(t, at, value) => {
                let (Some(task), _) = of(self, t) else { return };
                let wanted = self.allowed(t, at, VM_PROT_WRITE);
                let r = self.k.write_u64(task, address(at) + 8, value);
                if Self::took(r, wanted.map(|_| ()).ok_or(self.code(t, at))) {
                    self.cells[wanted.unwrap().cell] = value;
                }
            }
            Op::Read(t, at) => {
                let (Some(task), _) = of(self, t) else { return };
                let wanted = self.allowed(t, at, VM_PROT_READ);
                let r = self.k.read_u64(task, address(at) + 8);
                if Self::took(r.map(|_| ()), wanted.map(|_| ()).ok_or(self.code(t, at))) {
                    assert_eq!(r.unwrap(), self.cells[wanted.unwrap().cell]);
                }
            }
            Op::Fork(from, to) => {
                let Some(parent) = self.tasks[from] else { return };
                if from == to {
                    return;
                }
                self.step(&Op::End(to));
                let Ok(child) = try_task(&mut self.k, self.accounts[to]) else { return };
                let p = Payer::account(self.accounts[to]);
                let k = &mut self.k;
                match again(|| k.space_fork(parent, child, p)) {
                    Ok(()) => {
                        let mut space = Space::new();
                        for (&page, &m) in &self.spaces[from].clone() {
                            match m.inheritance {
                                VM_INHERIT_SHARE => {
                                    space.insert(page, m);
                                }
                                VM_INHERIT_COPY => {
                                    let cell = self.cell(self.cells[m.cell]);
                                    space.insert(page, Modelled { cell, ..m });
                                }
                                _ => {}
                            }
                        }
                        self.spaces[to] = space;
                        self.tasks[to] = Some(child);
                    }
                    Err(stop) => {
                        assert_eq!(stop, Stop::Error(KERN_RESOURCE_SHORTAGE));
                        end_task(&mut self.k, child);
                    }
                }
            }
            Op::End(t) => {
                if let Some(task) = self.tasks[t].take() {
                    end_task(&mut self.k, task);
                    self.spaces[t].clear();
                }
            }
            Op::Copy(t, from, n, to) => {
                let (Some(task), _) = of(self, t) else { return };
                let good = (0..n).all(|i| {
                    self.allowed(t, from + i, VM_PROT_READ).is_some()
                        && self.allowed(t, to + i, VM_PROT_WRITE).is_some()
                });
                if !good || from < to && from + n > to {
                    return;
                }
                match self.k.vm_copy(task, address(from), n * PAGE, address(to)) {
                    Ok(()) => {
                        for i in 0..n {
                            let value = self.cells[self.spaces[t][&(from + i)].cell];
                            let cell = self.spaces[t][&(to + i)].cell;
                            self.cells[cell] = value;
                        }
                    }
                    Err(stop) => {
                        // Part of it may have been copied: the model takes over what is there now.
                        assert_eq!(stop, Stop::Error(KERN_RESOURCE_SHORTAGE));
                        for i in 0..n {
                            let cell = self.spaces[t][&(to + i)].cell;
                            let now = self.peek(task, address(to + i) + 8).unwrap_or(self.cells[cell]);
                            self.cells[cell] = now;
                        }
                    }
                }
            }
            Op::Send(t, from, n, u, to, dealloc) => {
                let (Some(task), p) = of(self, t) else { return };
                let (Some(receiver), q) = of(self, u) else { return };
                let bad = (from..from + n).find(|&i| self.allowed(t, i, VM_PROT_READ).is_none());
                let taken = self.k.ool_take(task, address(from), n * PAGE, p, dealloc);
                let wanted = bad.map_or(Ok(()), |i| Err(self.code(t, i)));
                if !Self::took(taken.map(|_| ()), wanted) {
                    return;
                }
                let values: Vec<u64> =
                    (from..from + n).map(|i| self.cells[self.spaces[t][&i].cell]).collect();
                if dealloc {
                    self.spaces[t].retain(|&i, _| i < from || i >= from + n);
                }
                let object = taken.unwrap();
                match self.k.ool_place(object, receiver, q, None) {
                    Ok(place) => {
                        for (i, value) in values.iter().enumerate() {
                            match self.k.read_u64(receiver, place + i as u64 * PAGE + 8) {
                                Ok(got) => assert_eq!(got, *value, "page {i} sent to {u} at {to}"),
                                Err(stop) => assert_eq!(stop, Stop::Error(KERN_RESOURCE_SHORTAGE)),
                            }
                        }
                        let k = &mut self.k;
                        again(|| k.vm_deallocate(receiver, place, n * PAGE)).unwrap();
                    }
                    Err(stop) => {
                        assert_eq!(stop, Stop::Error(KERN_RESOURCE_SHORTAGE));
                        self.k.ool_free(object);
                    }
                }
            }
            Op::Share(t, at, u, there, n) => {
                let (Some(one), p) = of(self, t) else { return };
                let (Some(other), q) = of(self, u) else { return };
                let free = |w: &Self, t: usize, at| (at..at + n).all(|i| !w.spaces[t].contains_key(&i));
                let overlap = t == u && at < there + n && there < at + n;
                if !free(self, t, at) || !free(self, u, there) || overlap {
                    return;
                }
                let Ok(object) = self.k.vm_object_create(p, n * PAGE) else { return };
                let mut map = whole(object, n * PAGE, RW);
                (map.anywhere, map.address, map.max_prot) = (false, address(at), VM_PROT_ALL);
                let first = self.k.vm_map(one, p, &map).is_ok();
                map.address = address(there);
                let second = self.k.vm_map(other, q, &map).is_ok();
                for i in 0..n {
                    let cell = self.cell(0);
                    let new = Modelled { cell, prot: 3, inheritance: VM_INHERIT_COPY };
                    if first {
                        self.spaces[t].insert(at + i, new);
                    }
                    if second {
                        self.spaces[u].insert(there + i, new);
                    }
                }
                end_port(&mut self.k, object);
            }
            Op::Limit(t, n) => {
                let now = charged(&self.k, self.accounts[t]);
                self.k.get_mut(self.accounts[t]).resources[FRAMES].limit = (now + n).min(1000);
            }
        }
    }

    /// What a task would see, without touching it.
    fn peek(&self, task: Ref<Task>, address: u64) -> Option<u64> {
        let entry = self.k.map_lookup(task, address)?;
        let e = self.k.get(entry);
        let frame = self.k.memory_visible(e.object, e.object_offset(address & !(PAGE - 1))).ok()??;
        let at = (address % PAGE) as usize;
        Some(self.k.words(frame)[at / 8])
    }

    /// Every page of every task is as the model says.
    fn compare(&self) {
        for (t, task) in self.tasks.iter().enumerate() {
            let Some(task) = *task else { continue };
            for page in 0..PAGES + 8 {
                let address = BASE + page * PAGE;
                let Some(m) = self.spaces[t].get(&page) else {
                    assert!(self.k.map_lookup(task, address).is_none());
                    assert!(self.k.page_lookup(self.k.get(task).root_table, address).is_none());
                    continue;
                };
                let entry = self.k.map_lookup(task, address).expect("mapped");
                assert_eq!(i32::from(self.k.get(entry).prot), m.prot);
                assert_eq!(self.peek(task, address + 8).unwrap_or(0), self.cells[m.cell]);
                if let Some((frame, prot)) = self.k.page_lookup(self.k.get(task).root_table, address) {
                    assert_eq!(prot & !m.prot, 0, "the page table allows more than the entry");
                    assert_eq!(self.k.words(frame)[1], self.cells[m.cell], "a stale page is mapped");
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]
    #[test]
    fn histories_agree_with_a_model(ops in prop::collection::vec(op(), 1..120)) {
        let mut w = World::new();
        for op in &ops {
            w.step(op);
            check(&w.k);
            w.compare();
        }
        for t in 0..3 {
            w.step(&Op::End(t));
        }
        for account in w.accounts {
            prop_assert_eq!(charged(&w.k, account), 0);
            prop_assert_eq!(w.k.get(account).resources[OBJECTS].charged, 0);
        }
        check(&w.k);
    }
}
