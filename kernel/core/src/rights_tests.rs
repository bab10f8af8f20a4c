//! Tests of rights and names: every error code of `mach_port.defs`, and random histories against a model.

use std::collections::BTreeMap;

use drover_abi::account::{FRAMES, OBJECTS};
use drover_abi::message::msgt;
use drover_abi::port::*;
use drover_abi::returns::*;
use proptest::prelude::*;

use crate::account::Payer;
use crate::ipc_testing::*;
use crate::kernel::Stop;
use crate::object::{Kind, Ref};
use crate::port::{MESSAGE, Port};
use crate::right::Right;
use crate::rpc_port::RpcTemplate;
use crate::task::Task;

fn code<T: std::fmt::Debug>(result: Result<T, Stop>) -> i32 {
    match result {
        Ok(_) => 0,
        Err(Stop::Error(code)) => code,
        Err(other) => panic!("{other:?}"),
    }
}

fn setup() -> (Core, Ref<Task>, Ref<Task>) {
    let mut k = core(400);
    let a = account(&mut k, 150);
    let b = account(&mut k, 100);
    let (t, u) = (task(&mut k, a), task(&mut k, b));
    (k, t, u)
}

fn receive_right(k: &mut Core, t: Ref<Task>) -> u32 {
    let payer = payer(k, t);
    k.mach_port_allocate(t, RIGHT_RECEIVE, payer).unwrap()
}

fn queue_of(k: &Core, port: Ref<Port>) -> Vec<(i32, u32)> {
    let mut found = Vec::new();
    let mut message = k.get(port).queue_head;
    while message.is_some() {
        let mut value = [0; 4];
        k.message_read(message, 40, &mut value);
        found.push((k.get(message).id, u32::from_le_bytes(value)));
        message = k.get(message).next;
    }
    found
}

const BITS: [u32; 5] = [1 << 16, 1 << 17, 1 << 18, 1 << 19, 1 << 20];
const T_SEND: u32 = BITS[0];
const T_RECEIVE: u32 = BITS[1];
const T_DEAD: u32 = BITS[4];

#[test]
fn allocation_and_types() {
    let (mut k, t, _) = setup();
    let p = payer(&k, t);
    for (right, bit) in [(RIGHT_RECEIVE, BITS[1]), (RIGHT_PORT_SET, BITS[3]), (RIGHT_DEAD_NAME, BITS[4])] {
        let name = k.mach_port_allocate(t, right, p).unwrap();
        assert_eq!(k.mach_port_type(t, name), Ok(bit));
        assert_eq!(k.mach_port_get_refs(t, name, right), Ok(1));
        let chosen = 1000 + right;
        assert_eq!(k.mach_port_allocate_name(t, right, chosen, p), Ok(()));
        assert_eq!(k.mach_port_type(t, chosen), Ok(bit));
        assert_eq!(code(k.mach_port_allocate_name(t, right, chosen, p)), KERN_NAME_EXISTS);
    }
    for right in [RIGHT_SEND, RIGHT_SEND_ONCE, 5] {
        assert_eq!(code(k.mach_port_allocate(t, right, p)), KERN_INVALID_VALUE);
        assert_eq!(code(k.mach_port_allocate_name(t, right, 77, p)), KERN_INVALID_VALUE);
    }
    assert_eq!(code(k.mach_port_allocate_name(t, RIGHT_RECEIVE, 0, p)), KERN_INVALID_VALUE);
    assert_eq!(code(k.mach_port_allocate_name(t, RIGHT_RECEIVE, MACH_PORT_DEAD, p)), KERN_INVALID_VALUE);
    assert_eq!(code(k.mach_port_allocate_name(t, RIGHT_RECEIVE, 0x1_0000, p)), KERN_NO_SPACE);
    assert_eq!(code(k.mach_port_type(t, 999)), KERN_INVALID_NAME);
    assert_eq!(code(k.mach_port_type(t, 0)), KERN_INVALID_NAME);
    check(&k);
}

#[test]
fn rename() {
    let (mut k, t, _) = setup();
    let p = payer(&k, t);
    let name = receive_right(&mut k, t);
    let port = k.port_of_receive(t, name).unwrap();
    let other = receive_right(&mut k, t);
    assert_eq!(code(k.mach_port_rename(t, name, 0, p)), KERN_INVALID_VALUE);
    assert_eq!(code(k.mach_port_rename(t, 500, 501, p)), KERN_INVALID_NAME);
    assert_eq!(code(k.mach_port_rename(t, name, other, p)), KERN_NAME_EXISTS);
    assert_eq!(k.mach_port_rename(t, name, 1001, p), Ok(()));
    assert_eq!(k.port_of_receive(t, 1001), Ok(port));
    assert_eq!(k.get(port).receive_name, 1001);
    assert_eq!(code(k.mach_port_type(t, name)), KERN_INVALID_NAME);
    check(&k);
    assert_eq!(receive_right(&mut k, t), name, "a freed name is used again");
    check(&k);
}

#[test]
fn references() {
    let (mut k, t, u) = setup();
    let p = payer(&k, t);
    let name = receive_right(&mut k, t);
    assert_eq!(code(k.mach_port_deallocate(t, name)), KERN_INVALID_RIGHT);
    assert_eq!(k.mach_port_insert_right(t, t, name, (name, msgt::MAKE_SEND), p), Ok(()));
    assert_eq!(k.mach_port_type(t, name), Ok(T_SEND | T_RECEIVE));
    assert_eq!(k.mach_port_get_refs(t, name, RIGHT_SEND), Ok(1));
    assert_eq!(k.mach_port_get_refs(t, name, RIGHT_RECEIVE), Ok(1));
    assert_eq!(k.mach_port_get_refs(t, name, RIGHT_DEAD_NAME), Ok(0));
    assert_eq!(code(k.mach_port_get_refs(t, name, 9)), KERN_INVALID_VALUE);
    assert_eq!(code(k.mach_port_get_refs(t, 900, RIGHT_SEND)), KERN_INVALID_NAME);
    assert_eq!(k.mach_port_mod_refs(t, name, RIGHT_SEND, 0xfffe), Ok(()));
    assert_eq!(code(k.mach_port_mod_refs(t, name, RIGHT_SEND, 1)), KERN_UREFS_OVERFLOW);
    assert_eq!(code(k.mach_port_insert_right(t, t, name, (name, msgt::MAKE_SEND), p)), KERN_UREFS_OVERFLOW);
    assert_eq!(code(k.mach_port_mod_refs(t, name, RIGHT_SEND, -0x1_0000)), KERN_INVALID_VALUE);
    assert_eq!(code(k.mach_port_mod_refs(t, name, RIGHT_RECEIVE, 1)), KERN_INVALID_VALUE);
    assert_eq!(code(k.mach_port_mod_refs(t, name, RIGHT_PORT_SET, -1)), KERN_INVALID_RIGHT);
    assert_eq!(code(k.mach_port_mod_refs(t, name, 7, -1)), KERN_INVALID_VALUE);
    assert_eq!(code(k.mach_port_mod_refs(t, 900, RIGHT_SEND, -1)), KERN_INVALID_NAME);
    assert_eq!(k.mach_port_mod_refs(t, name, RIGHT_SEND, -0xffff), Ok(()));
    assert_eq!(k.mach_port_type(t, name), Ok(T_RECEIVE));
    // The receive right goes, a send right elsewhere turns into a dead name with as many references.
    let port = k.port_of_receive(t, name).unwrap();
    let payer_u = payer(&k, u);
    let remote = k.insert_send(u, port, payer_u).unwrap();
    k.mach_port_mod_refs(u, remote, RIGHT_SEND, 4).unwrap();
    check(&k);
    k.mach_port_mod_refs(t, name, RIGHT_RECEIVE, -1).unwrap();
    assert_eq!(code(k.mach_port_type(t, name)), KERN_INVALID_NAME);
    assert_eq!(k.mach_port_type(u, remote), Ok(T_DEAD));
    assert_eq!(k.mach_port_get_refs(u, remote, RIGHT_DEAD_NAME), Ok(5));
    for _ in 0..5 {
        assert_eq!(k.mach_port_deallocate(u, remote), Ok(()));
    }
    assert_eq!(code(k.mach_port_deallocate(u, remote)), KERN_INVALID_NAME);
    check(&k);
}

#[test]
fn insert_and_extract() {
    let (mut k, t, u) = setup();
    let p = payer(&k, t);
    let name = receive_right(&mut k, t);
    let busy = receive_right(&mut k, u);
    let send = |n| (n, msgt::MAKE_SEND);
    assert_eq!(code(k.mach_port_insert_right(t, u, 0, send(name), p)), KERN_INVALID_VALUE);
    assert_eq!(code(k.mach_port_insert_right(t, u, 60, (name, 3), p)), KERN_INVALID_VALUE);
    assert_eq!(code(k.mach_port_insert_right(t, u, 60, (999, msgt::COPY_SEND), p)), KERN_INVALID_CAPABILITY);
    assert_eq!(code(k.mach_port_insert_right(t, u, 60, (0, msgt::COPY_SEND), p)), KERN_INVALID_CAPABILITY);
    assert_eq!(code(k.mach_port_insert_right(t, u, busy, send(name), p)), KERN_NAME_EXISTS);
    assert_eq!(k.mach_port_insert_right(t, u, 60, send(name), p), Ok(()));
    assert_eq!(k.mach_port_insert_right(t, u, 60, send(name), p), Ok(()));
    assert_eq!(k.mach_port_get_refs(u, 60, RIGHT_SEND), Ok(2));
    assert_eq!(code(k.mach_port_insert_right(t, u, 61, send(name), p)), KERN_RIGHT_EXISTS);
    assert_eq!(k.mach_port_insert_right(t, u, 62, (name, msgt::MAKE_SEND_ONCE), p), Ok(()));
    assert_eq!(code(k.mach_port_extract_right(t, u, 60, 4, p)), KERN_INVALID_VALUE);
    assert_eq!(code(k.mach_port_extract_right(t, u, 700, msgt::COPY_SEND, p)), KERN_INVALID_NAME);
    assert_eq!(code(k.mach_port_extract_right(t, u, 60, msgt::MOVE_RECEIVE, p)), KERN_INVALID_RIGHT);
    assert_eq!(code(k.mach_port_extract_right(t, u, 62, msgt::COPY_SEND, p)), KERN_INVALID_RIGHT);
    assert_eq!(k.mach_port_extract_right(t, u, 60, msgt::MOVE_SEND, p), Ok((name, msgt::PORT_SEND)));
    assert_eq!(k.mach_port_get_refs(u, 60, RIGHT_SEND), Ok(1));
    let (once, disposition) = k.mach_port_extract_right(t, u, 62, msgt::MOVE_SEND_ONCE, p).unwrap();
    assert_eq!((disposition, k.mach_port_type(t, once)), (msgt::PORT_SEND_ONCE, Ok(BITS[2])));
    check(&k);
    // An unused send-once right that is dropped tells its port.
    let port = k.port_of_receive(t, name).unwrap();
    k.mach_port_deallocate(t, once).unwrap();
    assert_eq!(k.get(port).send_once_died, 1);
    check(&k);
}

#[test]
fn sets() {
    let (mut k, t, _) = setup();
    let p = payer(&k, t);
    let set = k.mach_port_allocate(t, RIGHT_PORT_SET, p).unwrap();
    let (a, b) = (receive_right(&mut k, t), receive_right(&mut k, t));
    assert_eq!(code(k.mach_port_move_member(t, a, 0)), KERN_NOT_IN_SET);
    assert_eq!(code(k.mach_port_move_member(t, a, b)), KERN_INVALID_RIGHT);
    assert_eq!(code(k.mach_port_move_member(t, set, set)), KERN_INVALID_RIGHT);
    assert_eq!(code(k.mach_port_move_member(t, a, 555)), KERN_INVALID_NAME);
    for name in [a, b, a] {
        assert_eq!(k.mach_port_move_member(t, name, set), Ok(()));
        check(&k);
    }
    assert_eq!(k.mach_port_get_receive_status(t, a).unwrap().pset, set);
    let mut members = Vec::new();
    let mut member = k.mach_port_set_member(t, set, None).unwrap();
    while member.is_some() {
        members.push(k.get(member).receive_name);
        member = k.mach_port_set_member(t, set, Some(member)).unwrap();
    }
    members.sort_unstable();
    assert_eq!(members, [a, b]);
    assert_eq!(code(k.mach_port_set_member(t, a, None)), KERN_INVALID_RIGHT);
    assert_eq!(
        code(k.mach_port_request_notification(t, t, set, 72, 0, (a, msgt::MAKE_SEND_ONCE), p)),
        KERN_INVALID_RIGHT
    );
    k.mach_port_destroy(t, set).unwrap();
    assert_eq!(k.mach_port_get_receive_status(t, a).unwrap().pset, 0);
    assert_eq!(k.mach_port_type(t, a), Ok(T_RECEIVE));
    check(&k);
}

#[test]
fn status_and_settings() {
    let (mut k, t, _) = setup();
    let p = payer(&k, t);
    let name = receive_right(&mut k, t);
    assert_eq!(code(k.mach_port_set_qlimit(t, name, QLIMIT_MAX + 1)), KERN_INVALID_VALUE);
    k.mach_port_set_qlimit(t, name, 3).unwrap();
    k.mach_port_set_seqno(t, name, 7).unwrap();
    k.mach_port_insert_right(t, t, name, (name, msgt::MAKE_SEND), p).unwrap();
    k.mach_port_set_mscount(t, name, 40).unwrap();
    k.mach_port_insert_right(t, t, name, (name, msgt::MAKE_SEND), p).unwrap();
    let status = k.mach_port_get_receive_status(t, name).unwrap();
    assert_eq!((status.qlimit, status.seqno, status.mscount, status.srights), (3, 7, 41, 1));
    let dead = k.mach_port_allocate(t, RIGHT_DEAD_NAME, p).unwrap();
    for result in [
        k.mach_port_set_qlimit(t, dead, 1),
        k.mach_port_set_seqno(t, dead, 1),
        k.mach_port_set_mscount(t, dead, 1),
        k.mach_port_set_protected_payload(t, dead, 1),
        k.mach_port_clear_protected_payload(t, dead),
        k.mach_port_get_receive_status(t, dead).map(|_| ()),
        k.port_set_rpc(t, dead, &RpcTemplate::default()),
    ] {
        assert_eq!(code(result), KERN_INVALID_RIGHT);
    }
    assert_eq!(code(k.port_set_rpc(t, name, &RpcTemplate::default())), KERN_INVALID_ARGUMENT);
    let template = RpcTemplate { entry: 0x1000, unwind_frames: 1 << 40, ..RpcTemplate::default() };
    assert_eq!(code(k.port_set_rpc(t, name, &template)), KERN_RESOURCE_SHORTAGE);
    let template = RpcTemplate { entry: 0x1000, ..RpcTemplate::default() };
    k.port_set_rpc(t, name, &template).unwrap();
    let request = k.mach_port_request_notification(t, t, name, 70, 0, (name, msgt::MAKE_SEND_ONCE), p);
    assert_eq!(code(request), KERN_INVALID_CAPABILITY, "notifications go to message ports");
    check(&k);
}

#[test]
fn notification_requests() {
    let (mut k, t, u) = setup();
    let p = payer(&k, t);
    let (name, target) = (receive_right(&mut k, t), receive_right(&mut k, t));
    let target_port = k.port_of_receive(t, target).unwrap();
    let once = (target, msgt::MAKE_SEND_ONCE);
    assert_eq!(code(k.mach_port_request_notification(t, t, name, 71, 0, once, p)), KERN_INVALID_VALUE);
    assert_eq!(code(k.mach_port_request_notification(t, t, name, 69, 1, once, p)), KERN_INVALID_VALUE);
    assert_eq!(code(k.mach_port_request_notification(t, t, 999, 72, 0, once, p)), KERN_INVALID_NAME);
    assert_eq!(
        code(k.mach_port_request_notification(t, t, name, 70, 0, (name, msgt::MAKE_SEND), p)),
        KERN_INVALID_CAPABILITY
    );
    let dead = k.mach_port_allocate(t, RIGHT_DEAD_NAME, p).unwrap();
    assert_eq!(code(k.mach_port_request_notification(t, t, dead, 70, 0, once, p)), KERN_INVALID_RIGHT);
    assert_eq!(code(k.mach_port_request_notification(t, t, dead, 72, 0, once, p)), KERN_INVALID_ARGUMENT);
    // Rights of refused requests went unused.
    let unused = k.get(target_port).send_once_died;
    assert_eq!(unused, 5);
    // A dead name with sync: at once, and one more reference.
    assert_eq!(k.mach_port_request_notification(t, t, dead, 72, 1, once, p), Ok((0, msgt::PORT_SEND_ONCE)));
    assert_eq!(k.mach_port_get_refs(t, dead, RIGHT_DEAD_NAME), Ok(2));
    assert_eq!(queue_of(&k, target_port), [(72, dead)]);
    // No senders now and sync not above the make-send count: at once.
    assert_eq!(k.mach_port_request_notification(t, t, name, 70, 0, once, p), Ok((0, msgt::PORT_SEND_ONCE)));
    assert_eq!(queue_of(&k, target_port)[1], (70, 1), "the refused request made a send right");
    assert_eq!(k.mach_port_request_notification(t, t, name, 70, 2, once, p), Ok((0, msgt::PORT_SEND_ONCE)));
    assert_eq!(k.mach_port_get_receive_status(t, name).unwrap().nsrequest, 1);
    // Registering again gives the first right back; null cancels.
    let (previous, _) = k.mach_port_request_notification(t, t, name, 70, 2, once, p).unwrap();
    assert_eq!(k.mach_port_type(t, previous), Ok(BITS[2]));
    let (previous, _) =
        k.mach_port_request_notification(t, t, name, 70, 2, (0, msgt::MOVE_SEND_ONCE), p).unwrap();
    assert_eq!(k.mach_port_type(t, previous), Ok(BITS[2]));
    assert_eq!(k.mach_port_get_receive_status(t, name).unwrap().nsrequest, 0);
    check(&k);
    // Dead-name request: DNREQUEST shows, death fires and adds a reference, deallocation fires 65.
    let port = k.port_of_receive(t, name).unwrap();
    let payer_u = payer(&k, u);
    let target_u = receive_right(&mut k, u);
    let target_u_port = k.port_of_receive(u, target_u).unwrap();
    let send = k.insert_send(u, port, payer_u).unwrap();
    let once_u = (target_u, msgt::MAKE_SEND_ONCE);
    k.mach_port_request_notification(u, u, send, 72, 0, once_u, payer_u).unwrap();
    assert_eq!(k.mach_port_type(u, send), Ok(T_SEND | TYPE_DNREQUEST));
    k.mach_port_deallocate(u, send).unwrap();
    assert_eq!(queue_of(&k, target_u_port), [(65, send)]);
    let send = k.insert_send(u, port, payer_u).unwrap();
    k.mach_port_request_notification(u, u, send, 72, 0, once_u, payer_u).unwrap();
    k.mach_port_rename(u, send, 2000, payer_u).unwrap();
    k.mach_port_destroy(t, name).unwrap();
    assert_eq!(queue_of(&k, target_u_port)[1], (72, 2000));
    assert_eq!(k.mach_port_get_refs(u, 2000, RIGHT_DEAD_NAME), Ok(2));
    check(&k);
}

#[test]
fn port_destroyed_saves_the_receive_right() {
    let (mut k, t, _) = setup();
    let p = payer(&k, t);
    let (name, target) = (receive_right(&mut k, t), receive_right(&mut k, t));
    let (port, target_port) = (k.port_of_receive(t, name).unwrap(), k.port_of_receive(t, target).unwrap());
    k.mach_port_request_notification(t, t, name, 69, 0, (target, msgt::MAKE_SEND_ONCE), p).unwrap();
    k.mach_port_destroy(t, name).unwrap();
    assert_eq!(k.get(port).head.state, 0, "the port lives on in the notification");
    assert_eq!(k.get(target_port).queued, 1);
    check(&k);
    // The notification's port dies: now the port does, too.
    k.mach_port_destroy(t, target).unwrap();
    assert!(!k.ports_dying());
    assert!(objects(&k, Kind::Port).is_empty());
    // A port whose death would put its receive right into its own queue just dies.
    let name = receive_right(&mut k, t);
    k.mach_port_request_notification(t, t, name, 69, 0, (name, msgt::MAKE_SEND_ONCE), p).unwrap();
    k.mach_port_destroy(t, name).unwrap();
    assert!(objects(&k, Kind::Port).is_empty() && objects(&k, Kind::Message).is_empty());
    check(&k);
}

#[test]
fn names_are_paid_by_the_task_and_run_out() {
    let mut k = core(400);
    let a = account(&mut k, 16);
    let t = task(&mut k, a);
    let p = Payer::account(a);
    let mut n = 0;
    let shortage = loop {
        match k.mach_port_allocate(t, RIGHT_DEAD_NAME, p) {
            Ok(_) => n += 1,
            Err(stop) => break stop,
        }
    };
    assert_eq!(shortage, Stop::Error(KERN_RESOURCE_SHORTAGE));
    assert!(n >= 128 && n % 128 == 127, "{n} names, all of the tables");
    check_frames(&k, a);
    check(&k);
    again(|| k.names_destroy(t)).unwrap();
    check_frames(&k, a);
    assert_eq!(k.get(t).names, 0);
    assert_eq!(code(k.mach_port_allocate(t, RIGHT_DEAD_NAME, p)), KERN_INVALID_TASK);
}

#[test]
fn all_names_can_be_used_and_no_more() {
    let mut k = core(1200);
    let a = account(&mut k, 1000);
    let t = task(&mut k, a);
    let p = Payer::account(a);
    // A block that the task took itself is skipped, in steps.
    for name in 2000..6000 {
        k.mach_port_allocate_name(t, RIGHT_DEAD_NAME, name, p).unwrap();
    }
    for _ in 0..MAX - 4000 {
        again(|| k.mach_port_allocate(t, RIGHT_DEAD_NAME, p)).unwrap();
    }
    assert_eq!(k.get(t).names_used, MAX);
    assert_eq!(code(again(|| k.mach_port_allocate(t, RIGHT_DEAD_NAME, p))), KERN_NO_SPACE);
    k.mach_port_deallocate(t, 4321).unwrap();
    assert_eq!(k.mach_port_allocate(t, RIGHT_DEAD_NAME, p), Ok(4321));
    let mut steps = 0;
    while k.names_destroy(t) == Err(Stop::Again) {
        steps += 1;
    }
    assert!(steps > 100, "the end of a large name space is taken in steps");
    check_frames(&k, a);
}

const MAX: u32 = crate::space::MAX_NAME;

#[test]
fn killing_a_port_ends_every_reference_in_steps() {
    let (mut k, t, u) = setup();
    let p = payer(&k, t);
    let port = k.kernel_port(p, Kind::Task, t.raw()).unwrap();
    let payer_u = payer(&k, u);
    let name = k.insert_send(u, port, payer_u).unwrap();
    assert_eq!(k.kernel_object(u, name, Kind::Task), Ok(t.raw()));
    assert_eq!(code(k.kernel_object(u, name, Kind::Thread)), KERN_INVALID_ARGUMENT);
    assert_eq!(code(k.kernel_object(u, 400, Kind::Task)), KERN_INVALID_TASK);
    for _ in 0..600 {
        k.insert_send_once(u, port, payer_u).unwrap();
    }
    let special = crate::right::SlotRef::in_object(t, std::mem::offset_of!(Task, exception));
    k.special_set(special, port, t.raw());
    assert_eq!(k.special_get(special), port);
    check(&k);
    assert_eq!(k.port_kill(port), Err(Stop::Again));
    // Half-way: whoever looks sees a dead name.
    assert_eq!(code(k.kernel_object(u, name, Kind::Task)), KERN_INVALID_TASK);
    assert_eq!(k.mach_port_type(u, name), Ok(T_DEAD));
    again(|| k.port_kill(port)).unwrap();
    assert_eq!(k.special_get(special), Ref::NONE);
    check(&k);
    assert!(objects(&k, Kind::Port).is_empty());
    assert_eq!(k.get(u).names_used, 601);
}

// ---- the model ----

#[derive(Clone, Copy, Debug)]
enum Op {
    Allocate(usize),
    /// From task, which of its names, disposition, to task.
    Move(usize, usize, u32, usize),
    Deallocate(usize, usize),
    Destroy(usize, usize),
    ModRefs(usize, usize, u32, i32),
    /// Task, name, id, sync, name of the port to tell.
    Request(usize, usize, i32, u32, usize),
    Rename(usize, usize, u32),
    Kill(usize),
}

fn ops() -> impl Strategy<Value = Op> {
    let task = 0..3usize;
    let pick = 0..12usize;
    prop_oneof![
        3 => task.clone().prop_map(Op::Allocate),
        10 => (task.clone(), pick.clone(), 16..22u32, task.clone()).prop_map(|(a, b, c, d)| Op::Move(a, b, c, d)),
        4 => (task.clone(), pick.clone()).prop_map(|(a, b)| Op::Deallocate(a, b)),
        2 => (task.clone(), pick.clone()).prop_map(|(a, b)| Op::Destroy(a, b)),
        3 => (task.clone(), pick.clone(), 0..5u32, -2..3i32).prop_map(|(a, b, c, d)| Op::ModRefs(a, b, c, d)),
        5 => (task.clone(), pick.clone(), prop_oneof![Just(70), Just(72)], 0..2u32, pick.clone())
            .prop_map(|(a, b, c, d, e)| Op::Request(a, b, c, d, e)),
        1 => (task, pick.clone(), 300..310u32).prop_map(|(a, b, c)| Op::Rename(a, b, c)),
        2 => pick.prop_map(Op::Kill),
    ]
}

#[derive(Clone, Debug, Default, PartialEq)]
struct Name {
    port: usize,
    send: u32,
    receive: bool,
    once: bool,
    dead: u32,
    /// Port to tell.
    request: Option<usize>,
}

#[derive(Clone, Debug, Default)]
struct MPort {
    real: Ref<Port>,
    alive: bool,
    made: u32,
    queue: Vec<(i32, u32)>,
    died: u32,
    no_senders: Option<usize>,
}

#[derive(Default)]
struct Model {
    names: [BTreeMap<u32, Name>; 3],
    ports: Vec<MPort>,
}

impl Model {
    fn fire(&mut self, to: usize, id: i32, value: u32) {
        if self.ports[to].alive {
            self.ports[to].queue.push((id, value));
        }
    }
    fn unused(&mut self, to: usize) {
        if self.ports[to].alive {
            self.ports[to].died += 1;
        }
    }
    fn senders(&self, port: usize) -> usize {
        self.names.iter().flat_map(|n| n.values()).filter(|n| n.port == port && n.send > 0).count()
    }
    fn check_senders(&mut self, port: usize) {
        if self.ports[port].alive
            && self.senders(port) == 0
            && let Some(to) = self.ports[port].no_senders.take()
        {
            let made = self.ports[port].made;
            self.fire(to, 70, made);
        }
    }
    fn die(&mut self, port: usize) {
        if !self.ports[port].alive {
            return;
        }
        self.ports[port].alive = false;
        self.ports[port].queue.clear();
        self.ports[port].died = 0;
        for task in 0..3 {
            let hit: Vec<u32> = self.names[task]
                .iter()
                .filter(|(_, n)| n.dead == 0 && n.port == port)
                .map(|(k, _)| *k)
                .collect();
            for name in hit {
                let n = self.names[task].get_mut(&name).unwrap();
                let request = n.request.take();
                *n = Name { port, dead: n.send.max(1) + u32::from(request.is_some()), ..Name::default() };
                if let Some(to) = request {
                    self.fire(to, 72, name);
                }
            }
        }
        if let Some(to) = self.ports[port].no_senders.take() {
            self.unused(to);
        }
    }
    /// Removes a name if nothing is left of it.
    fn settle(&mut self, task: usize, name: u32) {
        let n = &self.names[task][&name];
        if n.send == 0 && !n.receive && !n.once && n.dead == 0 {
            let n = self.names[task].remove(&name).unwrap();
            if let Some(to) = n.request {
                self.fire(to, 65, name);
            }
        }
    }
    fn drop_send(&mut self, task: usize, name: u32, count: u32) {
        let n = self.names[task].get_mut(&name).unwrap();
        let port = n.port;
        n.send -= count;
        let gone = n.send == 0;
        self.settle(task, name);
        if gone {
            self.check_senders(port);
        }
    }
    fn type_of(&self, task: usize, name: u32) -> u32 {
        let n = &self.names[task][&name];
        let flags = [n.send > 0, n.receive, n.once, false, n.dead > 0];
        let bits: u32 = flags.iter().zip(BITS).filter(|(f, _)| **f).map(|(_, b)| b).sum();
        if n.request.is_some() { bits | TYPE_DNREQUEST } else { bits }
    }
}

struct World {
    k: Core,
    tasks: [Ref<Task>; 3],
    m: Model,
}

impl World {
    fn new() -> Self {
        let mut k = core(600);
        let tasks = [0; 3].map(|_| {
            let a = account(&mut k, 100);
            task(&mut k, a)
        });
        Self { k, tasks, m: Model::default() }
    }

    fn pick(&self, task: usize, index: usize) -> u32 {
        // Mostly a name in use, at times one that is not.
        let n = self.m.names[task].len();
        if n == 0 || index == 11 {
            return 4000;
        }
        self.m.names[task].keys().nth(index % n).copied().unwrap_or(4000)
    }

    fn model_port(&self, real: Ref<Port>) -> usize {
        self.m.ports.iter().rposition(|p| p.real == real && p.alive).unwrap()
    }

    /// The model's view of a right arriving.
    fn arrive(&mut self, task: usize, name: u32, port: usize, kind: u32) {
        let n = self.m.names[task].entry(name).or_insert_with(|| Name { port, ..Name::default() });
        assert_eq!((n.port, n.dead), (port, 0), "a right arrives under its port's name");
        match kind {
            msgt::PORT_RECEIVE => n.receive = true,
            msgt::PORT_SEND_ONCE => {
                assert!(!n.once && n.send == 0 && !n.receive, "every send-once right has its own name");
                n.once = true;
            }
            _ => n.send += 1,
        }
    }

    fn step(&mut self, op: Op) {
        match op {
            Op::Allocate(t) => {
                let payer = payer(&self.k, self.tasks[t]);
                let name = self.k.mach_port_allocate(self.tasks[t], RIGHT_RECEIVE, payer).unwrap();
                let real = self.k.port_of_receive(self.tasks[t], name).unwrap();
                let port = self.m.ports.len();
                self.m.ports.push(MPort { real, alive: true, ..MPort::default() });
                let old = self.m.names[t].insert(name, Name { port, receive: true, ..Name::default() });
                assert_eq!(old, None, "a fresh name");
            }
            Op::Move(from, index, disposition, to) => self.move_right(from, index, disposition, to),
            Op::Deallocate(t, index) => {
                let name = self.pick(t, index);
                let result = code(self.k.mach_port_deallocate(self.tasks[t], name));
                let Some(n) = self.m.names[t].get(&name).cloned() else {
                    return assert_eq!(result, KERN_INVALID_NAME);
                };
                if n.dead > 0 {
                    self.m.names[t].get_mut(&name).unwrap().dead -= 1;
                    self.m.settle(t, name);
                } else if n.once {
                    self.m.names[t].get_mut(&name).unwrap().once = false;
                    self.m.settle(t, name);
                    self.m.unused(n.port);
                } else if n.send > 0 {
                    self.m.drop_send(t, name, 1);
                } else {
                    return assert_eq!(result, KERN_INVALID_RIGHT);
                }
                assert_eq!(result, 0);
            }
            Op::Destroy(t, index) => {
                let name = self.pick(t, index);
                let result = code(self.k.mach_port_destroy(self.tasks[t], name));
                let Some(n) = self.m.names[t].remove(&name) else {
                    return assert_eq!(result, KERN_INVALID_NAME);
                };
                assert_eq!(result, 0);
                if n.receive {
                    self.m.die(n.port);
                }
                if let Some(to) = n.request {
                    self.m.fire(to, 65, name);
                }
                if n.once {
                    self.m.unused(n.port);
                }
                if n.send > 0 {
                    self.m.check_senders(n.port);
                }
            }
            Op::ModRefs(t, index, right, delta) => self.mod_refs(t, index, right, delta),
            Op::Request(t, index, id, sync, tell) => self.request(t, index, id, sync, tell),
            Op::Rename(t, index, new) => {
                let name = self.pick(t, index);
                let payer = payer(&self.k, self.tasks[t]);
                let result = code(self.k.mach_port_rename(self.tasks[t], name, new, payer));
                if !self.m.names[t].contains_key(&name) {
                    return assert_eq!(result, KERN_INVALID_NAME);
                }
                if self.m.names[t].contains_key(&new) {
                    return assert_eq!(result, KERN_NAME_EXISTS);
                }
                assert_eq!(result, 0);
                let n = self.m.names[t].remove(&name).unwrap();
                self.m.names[t].insert(new, n);
            }
            Op::Kill(index) => {
                let alive: Vec<usize> = (0..self.m.ports.len()).filter(|p| self.m.ports[*p].alive).collect();
                if let Some(&port) = alive.get(index) {
                    let real = self.m.ports[port].real;
                    again(|| self.k.port_kill(real)).unwrap();
                    self.m.die(port);
                }
            }
        }
    }

    fn move_right(&mut self, from: usize, index: usize, disposition: u32, to: usize) {
        let name = self.pick(from, index);
        let taken = self.k.right_get(self.tasks[from], name, disposition);
        let n = self.m.names[from].get(&name).cloned().unwrap_or_default();
        let allowed = match disposition {
            msgt::MOVE_RECEIVE | msgt::MAKE_SEND | msgt::MAKE_SEND_ONCE => n.receive,
            msgt::MOVE_SEND | msgt::COPY_SEND => n.send > 0 || n.dead > 0,
            _ => n.once || n.dead > 0,
        };
        assert_eq!(taken.is_some(), allowed);
        let Some(right) = taken else { return };
        if n.dead > 0 {
            assert_eq!(right, Right::DEAD);
            if disposition != msgt::COPY_SEND {
                self.m.names[from].get_mut(&name).unwrap().dead -= 1;
                self.m.settle(from, name);
            }
            assert_eq!(self.k.right_give(self.tasks[to], right), Ok(MACH_PORT_DEAD));
            return;
        }
        assert_eq!(right.port, self.m.ports[n.port].real);
        let e = self.m.names[from].get_mut(&name).unwrap();
        match disposition {
            msgt::MAKE_SEND => self.m.ports[n.port].made += 1,
            msgt::MOVE_RECEIVE => {
                e.receive = false;
                self.m.ports[n.port].made = 0;
            }
            msgt::MOVE_SEND => e.send -= 1,
            msgt::MOVE_SEND_ONCE => e.once = false,
            _ => {}
        }
        self.m.settle(from, name);
        let given = self.k.right_give(self.tasks[to], right).unwrap();
        self.arrive(to, given, n.port, right.received());
    }

    fn mod_refs(&mut self, t: usize, index: usize, right: u32, delta: i32) {
        let name = self.pick(t, index);
        let result = code(self.k.mach_port_mod_refs(self.tasks[t], name, right, delta));
        let Some(n) = self.m.names[t].get(&name).cloned() else {
            return assert_eq!(result, KERN_INVALID_NAME);
        };
        let has = match right {
            RIGHT_SEND => n.send > 0,
            RIGHT_RECEIVE => n.receive,
            RIGHT_SEND_ONCE => n.once,
            RIGHT_DEAD_NAME => n.dead > 0,
            _ => false,
        };
        if !has {
            return assert_eq!(result, KERN_INVALID_RIGHT);
        }
        let refs = if right == RIGHT_SEND {
            n.send
        } else if right == RIGHT_DEAD_NAME {
            n.dead
        } else {
            1
        };
        let counted = right == RIGHT_SEND || right == RIGHT_DEAD_NAME;
        if i64::from(refs) + i64::from(delta) < 0 || !counted && !(-1..=0).contains(&delta) {
            return assert_eq!(result, KERN_INVALID_VALUE);
        }
        assert_eq!(result, 0);
        let e = self.m.names[t].get_mut(&name).unwrap();
        match right {
            RIGHT_SEND if delta < 0 => self.m.drop_send(t, name, delta.unsigned_abs()),
            RIGHT_SEND => e.send += delta as u32,
            RIGHT_DEAD_NAME => {
                e.dead = e.dead.wrapping_add_signed(delta);
                self.m.settle(t, name);
            }
            _ if delta == 0 => {}
            RIGHT_RECEIVE => {
                e.receive = false;
                self.m.settle(t, name);
                self.m.die(n.port);
            }
            _ => {
                e.once = false;
                self.m.settle(t, name);
                self.m.unused(n.port);
            }
        }
    }

    fn request(&mut self, t: usize, index: usize, id: i32, sync: u32, tell: usize) {
        let (name, tell) = (self.pick(t, index), self.pick(t, tell));
        let payer = payer(&self.k, self.tasks[t]);
        let task = self.tasks[t];
        let once = (tell, msgt::MAKE_SEND_ONCE);
        let result = self.k.mach_port_request_notification(task, task, name, id, sync, once, payer);
        let Some(to) = self.m.names[t].get(&tell).filter(|n| n.receive).map(|n| n.port) else {
            return assert_eq!(code(result), KERN_INVALID_CAPABILITY);
        };
        let n = self.m.names[t].get(&name).cloned();
        let refused = match (&n, id) {
            (None, _) => KERN_INVALID_NAME,
            (Some(n), 70) if !n.receive => KERN_INVALID_RIGHT,
            (Some(n), 72) if n.dead > 0 && sync == 0 => KERN_INVALID_ARGUMENT,
            _ => 0,
        };
        if refused != 0 {
            self.m.unused(to);
            return assert_eq!(code(result), refused);
        }
        let n = n.unwrap();
        let (previous, _) = result.unwrap();
        let old = if id == 72 && n.dead > 0 {
            self.m.names[t].get_mut(&name).unwrap().dead += 1;
            self.m.fire(to, 72, name);
            None
        } else if id == 72 {
            self.m.names[t].get_mut(&name).unwrap().request.replace(to)
        } else {
            let old = self.m.ports[n.port].no_senders.take();
            if self.m.senders(n.port) == 0 && sync <= self.m.ports[n.port].made {
                let made = self.m.ports[n.port].made;
                self.m.fire(to, 70, made);
            } else {
                self.m.ports[n.port].no_senders = Some(to);
            }
            old
        };
        match old {
            None => assert_eq!(previous, 0),
            Some(old) if self.m.ports[old].alive => self.arrive(t, previous, old, msgt::PORT_SEND_ONCE),
            Some(_) => assert_eq!(previous, MACH_PORT_DEAD),
        }
    }

    fn compare(&mut self) {
        reap(&mut self.k);
        check(&self.k);
        for t in 0..3 {
            let mut seen = Vec::new();
            let mut after = 0;
            while let Some((name, kind)) = self.k.mach_port_next(self.tasks[t], after) {
                let n = self.m.names[t]
                    .get(&name)
                    .unwrap_or_else(|| panic!("task {t} should have no name {name}"));
                assert_eq!(kind, self.m.type_of(t, name), "type of {name} in task {t}");
                let refs = self.k.mach_port_get_refs(self.tasks[t], name, RIGHT_SEND).unwrap();
                assert_eq!(refs, n.send);
                assert_eq!(self.k.mach_port_get_refs(self.tasks[t], name, RIGHT_DEAD_NAME), Ok(n.dead));
                if n.dead == 0 {
                    assert_eq!(
                        self.k.slot(self.k.name_slot(self.tasks[t], name).unwrap()).port,
                        self.m.ports[n.port].real
                    );
                }
                seen.push(name);
                after = name;
            }
            assert_eq!(seen, self.m.names[t].keys().copied().collect::<Vec<_>>());
            check_frames(&self.k, self.k.get(self.tasks[t]).account);
        }
        let live = self.m.ports.iter().filter(|p| p.alive).count();
        assert_eq!(objects(&self.k, Kind::Port).len(), live);
        for p in self.m.ports.iter().filter(|p| p.alive) {
            let real = *self.k.get(p.real);
            let (mut got, mut want) = (queue_of(&self.k, p.real), p.queue.clone());
            got.sort_unstable();
            want.sort_unstable();
            assert_eq!((got, real.send_once_died), (want, p.died));
            assert_eq!((real.make_send, real.no_senders.is_some()), (p.made, p.no_senders.is_some()));
            assert_eq!(real.send_rights as usize, self.m.senders(self.model_port(p.real)));
        }
        let requests = self.m.names.iter().flat_map(|n| n.values()).filter(|n| n.request.is_some()).count();
        let others =
            self.m.ports.iter().map(|p| p.queue.len() + usize::from(p.no_senders.is_some())).sum::<usize>();
        assert_eq!(objects(&self.k, Kind::Message).len(), requests + others);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]
    #[test]
    fn histories_agree_with_the_model(ops in proptest::collection::vec(ops(), 1..80)) {
        let mut w = World::new();
        for op in ops {
            w.step(op);
            w.compare();
        }
        // The end: everything comes back.
        for task in w.tasks {
            again(|| w.k.names_destroy(task)).unwrap();
            reap(&mut w.k);
            check(&w.k);
        }
        prop_assert!(objects(&w.k, Kind::Port).is_empty());
        prop_assert!(objects(&w.k, Kind::Message).is_empty());
        for task in w.tasks {
            let a = w.k.get(w.k.get(task).account);
            // The task object and its root page table.
            prop_assert_eq!((a.resources[OBJECTS].charged, a.resources[FRAMES].charged), (1, 2));
        }
    }
}

#[test]
fn message_ports_are_the_default() {
    let (mut k, t, _) = setup();
    let name = receive_right(&mut k, t);
    let port = k.port_of_receive(t, name).unwrap();
    let p = k.get(port);
    assert_eq!((p.head.flags, p.queue_limit), (MESSAGE, QLIMIT_DEFAULT));
}
