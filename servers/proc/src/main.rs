//! The proc server: processes, and which account pays for a user.
//!
//! A process is a task with a number, a parent and an owner; [`tree`] holds them. Each has a port, by which its program, its parent and anybody they
//! gave it to speak for it. The payer interface is served at the same ports: who runs for the superuser may ask for any user's account, others for their own.
//!
//! Who pays: callers for their calls, waiting included. A process's port is paid by a session of whoever made it; its record by this server, at most
//! [`tree::MAX_PROCESSES`] and [`MAX_PER_PAYER`] for one payer. Accounts of users: a bounded table of this server's own.
//!
//! Deliberately absent: signals and message ports, process groups and login collections, and reading the arguments of another process.
#![cfg_attr(target_os = "none", no_std, no_main)]

extern crate alloc;

mod payers;
mod tree;

use alloc::vec::Vec;

use libhurd::abi::message::msgt;
use libhurd::abi::returns::KERN_RESOURCE_SHORTAGE;
use libhurd::clock::{Deadline, now};
use libhurd::errno::{EAGAIN, ECHILD, EINVAL, EIO, ENOENT, EOPNOTSUPP, EPERM, ESRCH, describe};
use libhurd::lock::Mutex;
use libhurd::mig::{OutData, Outcome, Port, PortName, Request, Retain, Text, Value, offer};
use libhurd::once::Once;
use libhurd::port::{SendRight, release};
use libhurd::print::kernel_print;
use libhurd::server::{Notification, Object, Server, UnwindReserve};
use libhurd::session::{Limits, Sessions};
use libhurd::stubs::auth;
use libhurd::stubs::payer::{self, PayerServer};
use libhurd::stubs::process::{self, ProcessServer};
use libhurd::stubs::startup::{offer, startup_procinit};
use libhurd::stubs::types::{ProcinfoHead, Rusage};
use libhurd::table::Table;
use libhurd::wait::Event;
use libhurd::{Env, Local, Mach, ool, own, task};

use payers::Payers;
use tree::{Full, INIT, MAX_PROCESSES, Process, Reaped, Tree};

/// Most processes made for one payer.
const MAX_PER_PAYER: usize = 128;
/// `proc_wait` option: do not wait.
const WNOHANG: i32 = 1;
/// `state` of a process whose task has ended.
const ZOMBIE: u32 = 0x100;
/// Longest name of a program's file that is kept.
const MAX_EXE: usize = 256;

/// What a process has besides its record.
struct Body {
    pid: i32,
    object: Object,
    task: SendRight,
    /// A child has ended.
    changed: Event,
}

/// What startup gave us.
struct Privileged {
    host: SendRight,
    devices: SendRight,
    auth: SendRight,
}

static SERVER: Once<&'static Server> = Once::new();
static PRIVILEGED: Once<Privileged> = Once::new();
static TREE: Mutex<Tree> = Mutex::new(Tree::new());
static BODIES: Table<Body, MAX_PROCESSES> = Table::new();
static PAYERS: Mutex<Payers<SendRight>> = Mutex::new(Payers::new());
static SESSIONS: Sessions<64> = Sessions::new(Limits { frames: 16, objects: 512 });

/// Serves one request.
struct Proc;

/// The process whose port a request came to.
fn caller(request: &Request<'_>) -> Result<i32, i32> {
    BODIES.hold(request.target()).map(|body| body.pid).ok_or(EOPNOTSUPP)
}

/// What `read` finds in the record of process `pid`.
fn of<R>(pid: i32, read: impl FnOnce(&Process) -> R) -> Result<R, i32> {
    TREE.lock()?.get(pid).map(read).ok_or(ESRCH)
}

fn change(pid: i32, write: impl FnOnce(&mut Process)) -> Result<(), i32> {
    own(|| TREE.lock()?.get_mut(pid).map(write).ok_or(ESRCH))
}

/// Fails unless `caller` may look into or act on process `pid`: its own and its descendants', its owner's; all for the superuser.
fn may(caller: i32, pid: i32) -> Result<(), i32> {
    let tree = TREE.lock()?;
    let (one, other) = (tree.get(caller).ok_or(ESRCH)?, tree.get(pid).ok_or(ESRCH)?);
    if one.owner == 0 || one.owner == other.owner || tree.is_below(pid, caller) { Ok(()) } else { Err(EPERM) }
}

/// A new process for `task`, at the caller's expense; its pid.
fn make(task: SendRight, parent: i32, retain: Option<&Retain>) -> Result<i32, i32> {
    let server = SERVER.get().ok_or(EIO)?;
    let payer = Local::current().payer();
    own(|| {
        let added = TREE.lock()?.add(task.name().0, parent, payer, MAX_PER_PAYER);
        let pid = added.map_err(|full| match full {
            Full::Table => EAGAIN,
            Full::Payer => KERN_RESOURCE_SHORTAGE,
        })?;
        let name = task.name();
        let made = BODIES.insert_with(|key| {
            let object = SESSIONS.object(server, key, retain)?;
            Ok(Body { pid, object, task, changed: Event::new() })
        });
        let watched = made.and_then(|_| if name.is_valid() { server.watch(name) } else { Ok(()) });
        if watched.is_err() {
            if let Some((key, _)) = BODIES.find(|body| body.pid == pid) {
                drop(BODIES.remove(key));
            }
            TREE.lock()?.forget(pid);
        }
        watched.map(|()| pid)
    })
}

/// The process of a task that came with a request, made as a child of `parent` if there is none. The right is given back or kept.
fn of_task(port: Port, parent: i32, retain: &Retain) -> Result<i32, i32> {
    let task = SendRight::received(port)?;
    if !task.is_valid() {
        return Err(EINVAL);
    }
    let known = TREE.lock()?.by_task(task.name().0).map(|process| process.pid);
    match known {
        Some(pid) => Ok(pid),
        None => make(task, parent, Some(retain)),
    }
}

/// A right to the port of process `pid`, for a reply.
fn port_of(pid: i32) -> Result<Port, i32> {
    let (key, _) = BODIES.find(|body| body.pid == pid).ok_or(ESRCH)?;
    Ok(BODIES.hold(key).ok_or(ESRCH)?.object.send())
}

/// A task has died: its process ends, its parent is told.
fn died(name: PortName) {
    // The notification gave the name one more reference.
    release(name, msgt::PORT_SEND);
    let Ok(parent) = TREE.lock().map(|mut tree| tree.died(name.0)) else { return };
    if let Some((key, _)) = BODIES.find(|body| body.task.name() == name) {
        drop(BODIES.remove(key));
    }
    if let Some((_, parent)) = parent.and_then(|pid| BODIES.find(|body| body.pid == pid)) {
        parent.changed.keep(1);
    }
}

/// Waits for an ended child of the process that `request` came to.
fn wait(request: &Request<'_>, pid: i32, options: i32) -> Result<(i32, i32, i32), i32> {
    let body = BODIES.hold(request.target()).ok_or(EOPNOTSUPP)?;
    loop {
        let reaped = {
            let mut tree = TREE.lock()?;
            body.changed.reset();
            tree.reap(body.pid, pid)
        };
        match reaped {
            Reaped::Child(ended) => return Ok((ended.status, ended.sigcode, ended.pid)),
            Reaped::NoChild => return Err(ECHILD),
            Reaped::NotYet if options & WNOHANG != 0 => return Ok((0, 0, 0)),
            // The kernel tells us of every death, and the caller's own deadline holds.
            Reaped::NotYet => body.changed.wait(Deadline::NEVER)?,
        };
    }
}

impl ProcessServer for Proc {
    fn proc_getprivports(&mut self, request: &Request<'_>) -> Result<process::ProcGetprivportsReply, i32> {
        if of(caller(request)?, |process| process.owner)? != 0 {
            return Err(EPERM);
        }
        let privileged = PRIVILEGED.get().ok_or(EPERM)?;
        Ok(process::ProcGetprivportsReply {
            host_priv: privileged.host.name(),
            device_master: privileged.devices.name(),
        })
    }

    fn proc_getallpids(&mut self, request: &Request<'_>) -> Result<process::ProcGetallpidsReply, i32> {
        caller(request)?;
        let mut pids = Vec::with_capacity(MAX_PROCESSES);
        pids.extend(TREE.lock()?.pids().take(MAX_PROCESSES));
        Ok(process::ProcGetallpidsReply { pidarray: ool::reply_values(&pids)? })
    }

    fn proc_child(&mut self, request: &Request<'_>, child: Port, retain: Retain) -> Result<(), i32> {
        let parent = caller(request)?;
        let pid = of_task(child, parent, &retain)?;
        may(parent, pid)?;
        if pid == parent || TREE.lock()?.is_below(parent, pid) {
            return Err(EINVAL);
        }
        change(pid, |process| process.parent = parent)
    }

    fn proc_setowner(&mut self, request: &Request<'_>, owner: u32, _clear: i32) -> Result<(), i32> {
        let pid = caller(request)?;
        let now = of(pid, |process| process.owner)?;
        if now != 0 && now != owner {
            return Err(EPERM);
        }
        change(pid, |process| process.owner = owner)
    }

    fn proc_reauthenticate(&mut self, request: &Request<'_>, rendezvous: Port) -> Result<(), i32> {
        let body = BODIES.hold(request.target()).ok_or(EOPNOTSUPP)?;
        let rendezvous = SendRight::received(rendezvous)?;
        let auth = &PRIVILEGED.get().ok_or(EIO)?.auth;
        let reply = auth::auth_server_authenticate(
            &Mach,
            auth.name(),
            rendezvous.copy(),
            body.object.send(),
            &auth::offer::AUTH_SERVER_AUTHENTICATE.default_at(now()),
        )?;
        let owner = ool::take_values(reply.euids).first().copied();
        change(body.pid, |process| process.owner = owner.unwrap_or(u32::MAX))
    }

    fn proc_getpids(&mut self, request: &Request<'_>) -> Result<process::ProcGetpidsReply, i32> {
        let pid = caller(request)?;
        let ppid = of(pid, |process| process.parent)?;
        Ok(process::ProcGetpidsReply { pid, ppid, orphaned: 0 })
    }

    fn proc_wait(
        &mut self,
        request: &Request<'_>,
        _: Port,
        pid: i32,
        options: i32,
    ) -> Result<process::ProcWaitReply, i32> {
        let (status, sigcode, pid_status) = wait(request, pid, options)?;
        Ok(process::ProcWaitReply { status, sigcode, rusage: Rusage::ZERO, pid_status })
    }

    fn proc_waitid(
        &mut self,
        request: &Request<'_>,
        _: Port,
        pid: i32,
        options: i32,
    ) -> Result<process::ProcWaitidReply, i32> {
        let (status, sigcode, pid_status) = wait(request, pid, options)?;
        Ok(process::ProcWaitidReply { status, sigcode, rusage: Rusage::ZERO, pid_status })
    }

    fn proc_mark_exit(&mut self, request: &Request<'_>, status: i32, sigcode: i32) -> Result<(), i32> {
        change(caller(request)?, |process| {
            process.said.get_or_insert((status, sigcode));
        })
    }

    fn proc_mark_exec(&mut self, request: &Request<'_>) -> Result<(), i32> {
        change(caller(request)?, |process| process.execed = true)
    }

    fn proc_mark_important(&mut self, request: &Request<'_>) -> Result<(), i32> {
        let pid = caller(request)?;
        if of(pid, |process| process.owner)? != 0 {
            return Err(EPERM);
        }
        change(pid, |process| process.important = true)
    }

    fn proc_is_important(&mut self, request: &Request<'_>) -> Result<process::ProcIsImportantReply, i32> {
        Ok(process::ProcIsImportantReply { essential: of(caller(request)?, |process| process.important)? })
    }

    fn proc_pid2task(&mut self, request: &Request<'_>, pid: i32) -> Result<process::ProcPid2taskReply, i32> {
        may(caller(request)?, pid)?;
        let task = of(pid, |process| process.task)?;
        Ok(process::ProcPid2taskReply { task: PortName(task) })
    }

    fn proc_task2pid(
        &mut self,
        request: &Request<'_>,
        task: Port,
        retain: Retain,
    ) -> Result<process::ProcTask2pidReply, i32> {
        let parent = caller(request)?;
        Ok(process::ProcTask2pidReply { pid: of_task(task, parent, &retain)? })
    }

    fn proc_task2proc(
        &mut self,
        request: &Request<'_>,
        task: Port,
        retain: Retain,
    ) -> Result<process::ProcTask2procReply, i32> {
        let parent = caller(request)?;
        let pid = of_task(task, parent, &retain)?;
        Ok(process::ProcTask2procReply { proc: port_of(pid)? })
    }

    fn proc_proc2task(&mut self, request: &Request<'_>) -> Result<process::ProcProc2taskReply, i32> {
        let task = of(caller(request)?, |process| process.task)?;
        Ok(process::ProcProc2taskReply { task: PortName(task) })
    }

    fn proc_pid2proc(&mut self, request: &Request<'_>, pid: i32) -> Result<process::ProcPid2procReply, i32> {
        may(caller(request)?, pid)?;
        Ok(process::ProcPid2procReply { proc: port_of(pid)? })
    }

    /// What this server knows itself; of the task and its threads nothing, as the flags of the answer say.
    fn proc_getprocinfo(
        &mut self,
        request: &Request<'_>,
        which: i32,
        _flags: i32,
    ) -> Result<process::ProcGetprocinfoReply, i32> {
        caller(request)?;
        let head = of(which, |process| {
            let (exitstatus, sigcode) = process.said.unwrap_or((0, 0));
            ProcinfoHead {
                state: if process.is_zombie() { ZOMBIE } else { 0 },
                owner: process.owner,
                ppid: process.parent,
                pgrp: process.pid,
                session: process.pid,
                logincollection: process.pid,
                exitstatus,
                sigcode,
                ..ProcinfoHead::ZERO
            }
        })?;
        let mut bytes = [0; ProcinfoHead::SIZE];
        head.store(&mut bytes);
        let mut words = [0i32; ProcinfoHead::SIZE / 4];
        for (word, bytes) in words.iter_mut().zip(bytes.chunks_exact(4)) {
            *word = i32::load(bytes);
        }
        let procinfo = OutData::from_slice(&words).ok_or(EIO)?;
        Ok(process::ProcGetprocinfoReply { flags: 0, procinfo, threadwaits: OutData::empty() })
    }

    fn proc_set_exe(&mut self, request: &Request<'_>, path: &Text<1024>) -> Result<(), i32> {
        let path = path.as_bytes();
        let path = path.get(..path.len().min(MAX_EXE)).unwrap_or(path);
        let copy = own(|| path.to_vec());
        change(caller(request)?, |process| process.exe = copy)
    }

    fn proc_get_exe(&mut self, request: &Request<'_>, which: i32, path: &mut Text<1024>) -> Result<(), i32> {
        caller(request)?;
        Ok(of(which, |process| path.set(&process.exe))??)
    }
}

impl PayerServer for Proc {
    fn payer_for_uid(&mut self, request: &Request<'_>, uid: u32) -> Result<payer::PayerForUidReply, i32> {
        let owner = of(caller(request)?, |process| process.owner)?;
        if !Payers::<SendRight>::may(owner, uid) {
            return Err(EPERM);
        }
        let account = PAYERS.lock()?.get(uid).map(SendRight::copy);
        Ok(payer::PayerForUidReply { account: account.ok_or(ENOENT)? })
    }

    fn payer_register(&mut self, request: &Request<'_>, uid: u32, account: Port) -> Result<(), i32> {
        let owner = of(caller(request)?, |process| process.owner)?;
        if !Payers::<SendRight>::may(owner, uid) {
            return Err(EPERM);
        }
        let account = SendRight::received(account)?;
        if !account.is_valid() {
            return Err(EINVAL);
        }
        let replaced = PAYERS.lock()?.set(uid, account);
        match replaced {
            Ok(before) => {
                drop(before);
                Ok(())
            }
            Err(refused) => {
                drop(refused);
                Err(KERN_RESOURCE_SHORTAGE)
            }
        }
    }
}

fn demux(request: &[u8], reply: &mut [u8]) -> Outcome {
    libhurd::dispatch!(request, reply, process => &mut Proc, payer => &mut Proc)
}

fn notified(notification: Notification) {
    match notification {
        Notification::Died(name) => died(name),
        // A process lives as long as its task, whoever knows its port.
        Notification::NoSenders(_) => {}
    }
}

fn start(env: &Env) -> Result<&'static Server, i32> {
    let server = Server::new(demux, UnwindReserve::SMALL, notified)?;
    SERVER.set(server).map_err(|_| EIO)?;
    // Whose task it is we learn from the answer.
    let init = make(SendRight::NULL, 0, None)?;
    let (_, body) = BODIES.find(|body| body.pid == init).ok_or(EIO)?;
    let port = body.object.send_right()?;
    let reply = startup_procinit(&Mach, env.bootstrap(), port.name(), offer!(offer::STARTUP_PROCINIT))?;
    let auth = SendRight::from_name(reply.auth);
    let privileged = Privileged {
        host: SendRight::received(reply.host_priv)?,
        devices: SendRight::received(reply.device_master)?,
        auth,
    };
    PRIVILEGED.set(privileged).map_err(|_| EIO)?;
    change(INIT, |process| process.task = reply.startup_task.0)?;
    server.watch(reply.startup_task)?;
    make(SendRight::another(task::this())?, INIT, None)?;
    Ok(server)
}

fn program(env: &'static Env) -> i32 {
    match start(env) {
        Ok(server) => server.run(),
        Err(code) => {
            kernel_print(format_args!("proc: cannot start: {} ({code:#x})\n", describe(code)));
            1
        }
    }
}

libhurd::entry!(program);
