//! Starting one translator: what the Hurd's `fshelp_start_translator` does.
//!
//! Runs on a thread of its own that the node's owner pays for, or on the first visitor's (see [`policy`](super::policy)). All calls are made under the
//! start's offer. Either a control port comes out, or an error, and then no task is left behind.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use libhurd::abi::message::{Header, option};
use libhurd::abi::port::{NOTIFY_NO_SENDERS, NOTIFY_SEND_ONCE};
use libhurd::abi::returns::{KERN_RESOURCE_SHORTAGE, KERN_TIMEDOUT, MACH_RCV_TIMED_OUT};
use libhurd::abi::startup::{
    INIT_INT_MAX, INIT_PORT_AUTH, INIT_PORT_BOOTSTRAP, INIT_PORT_CRDIR, INIT_PORT_CWDIR, INIT_PORT_MAX,
    INIT_PORT_PROC,
};
use libhurd::cleanup::{OnExit, on_exit};
use libhurd::errno::{EDIED, ENOENT};
use libhurd::file::{Context, File, O_EXEC, O_NOTRANS, O_READ, O_WRITE};
use libhurd::lock::Mutex;
use libhurd::mig::{Donation, Mode, Outcome, Port, PortName, Ports, Request};
use libhurd::port::{ReceiveRight, SendRight, release};
use libhurd::program::{EXEC_DEFAULTS, EXEC_NEWTASK};
use libhurd::stubs::{auth, fs, fsys, mach_port, process};
use libhurd::syscall::{self, MsgArgs};
use libhurd::{ALL, Mach, argz, clock, env, own, task};
use zerocopy::{FromBytes, IntoBytes};

use super::Ext2;
use super::perm::Ids;
use super::transbox::Ticket;
use ext2::ROOT_INODE;

/// Words of the longest message expected at the bootstrap port, and room for what should not come.
const MESSAGE_WORDS: usize = 64;
/// Messages taken from a program before it must have started up.
const MESSAGES: u32 = 16;

/// What to start, for whom.
pub(super) struct Job {
    /// Inode number.
    pub(super) node: u32,
    /// Owner, as whom the translator runs.
    pub(super) uid: u32,
    /// Group.
    pub(super) gid: u32,
}

/// Makes the memory present that a starter's stack will need, and stays for a moment, so that the next thread gets a stack of its own.
pub(super) fn touch_stack() {
    let deep = [0u8; 96 * 1024];
    core::hint::black_box(&deep);
    // Ended early, it has done its work all the same.
    let _ = clock::sleep(Duration::from_millis(20));
}

/// What a start holds on to. Not on the starter's stack, because a starter ends without a word when its account is destroyed: then
/// [`Translators::died`](super::translators::Translators::died) gives all of this back.
pub(super) struct Running {
    /// The account that pays for the starter.
    pub(super) account: PortName,
    /// The start.
    pub(super) ticket: Ticket,
    rights: Mutex<Vec<SendRight>>,
    receive: Mutex<Option<ReceiveRight>>,
}

/// Most rights that a start holds.
const RIGHTS: usize = 8;

impl Running {
    /// A start that holds nothing but the right to charge the account. At the server's own expense.
    pub(super) fn new(payer: SendRight, ticket: Ticket) -> Arc<Self> {
        own(|| {
            let mut rights = Vec::with_capacity(RIGHTS);
            let account = payer.name();
            rights.push(payer);
            Arc::new(Self { account, ticket, rights: Mutex::new(rights), receive: Mutex::new(None) })
        })
    }

    /// Holds a right until the end of the start.
    fn hold(&self, right: SendRight) -> Result<PortName, i32> {
        let mut rights = self.rights.lock()?;
        if rights.len() == RIGHTS {
            return Err(KERN_RESOURCE_SHORTAGE);
        }
        let name = right.name();
        rights.push(right);
        Ok(name)
    }

    /// Gives everything back. The starter does not run any more, or is at its end.
    pub(super) fn release(&self) {
        let rights = self.rights.lock().map(|mut rights| core::mem::take(&mut *rights));
        let receive = self.receive.lock().map(|mut receive| receive.take());
        drop((rights, receive));
    }

    /// Makes the bootstrap port.
    fn bootstrap(&self) -> Result<PortName, i32> {
        let port = own(ReceiveRight::new)?;
        let name = port.name();
        *self.receive.lock()? = Some(port);
        Ok(name)
    }
}

/// The new task, ended when this is dropped or the call is forced to end.
struct NewTask {
    task: PortName,
    kill: OnExit,
}

impl NewTask {
    fn create(running: &Running) -> Result<Self, i32> {
        let payer = running.account;
        let task = if payer.is_valid() { task::create_for(payer)? } else { task::create()? };
        let task = running.hold(task)?;
        let kill = on_exit(move || {
            // It has not reported, so it is of no use to anybody.
            let _ = task::terminate(task);
        });
        Ok(Self { task, kill })
    }

    /// It may live.
    fn keep(self) {
        self.kill.cancel();
    }
}

/// Starts the translator of a node; its control port.
///
/// # Errors
/// Those of lookup, exec and kernel; `EDIED` when the program ends or drops its bootstrap port without starting up; `KERN_TIMEDOUT`.
pub(super) fn run(ext2: &'static Ext2, job: &Job, running: &Running) -> Result<SendRight, i32> {
    let offer = ext2.policy.start_offer(clock::now());
    let inode = ext2.inode(job.node)?;
    let argv = ext2.record_of(&inode)?;
    let program = argz::words(&argv).next().filter(|word| !word.is_empty()).ok_or(ENOENT)?;

    let ids = Ids::new(&[job.uid], &[job.gid]);
    let root = running
        .hold(ext2.open_inode(ROOT_INODE, O_READ | O_EXEC, &ext2.nowhere, &ids, None)?.into_right()?)?;
    let authority = running.hold(authority_of(ext2, job, &offer)?)?;
    let context = Context { root, cwd: root, auth: authority };
    let file = running.hold(File::open_in(context, program, O_EXEC | O_READ, &offer)?.into_right())?;

    let new = NewTask::create(running)?;
    let own_proc = running.hold(process_of(ext2, &new, job.uid, &offer)?)?;
    let bootstrap = running.bootstrap()?;
    let to_bootstrap = ReceiveRight::from_name(bootstrap);
    let to_bootstrap = core::mem::ManuallyDrop::new(to_bootstrap).send_right()?;
    let mut ports = [PortName::NULL; INIT_PORT_MAX];
    for (index, port) in [
        (INIT_PORT_CRDIR, root),
        (INIT_PORT_CWDIR, root),
        (INIT_PORT_AUTH, authority),
        (INIT_PORT_PROC, own_proc),
        (INIT_PORT_BOOTSTRAP, to_bootstrap.name()),
    ] {
        if let Some(place) = ports.get_mut(index) {
            *place = port;
        }
    }
    let env = env::current();
    let dtable: alloc::vec::Vec<PortName> = env.dtable().iter().map(|&name| PortName(name)).collect();
    let ints = [0; INIT_INT_MAX];
    fs::file_exec_paths(
        &Mach,
        file,
        new.task,
        EXEC_NEWTASK | EXEC_DEFAULTS,
        program,
        program,
        &argv,
        env.envp(),
        Ports::copy_send(&dtable),
        Ports::copy_send(&ports),
        &ints,
        &[],
        &[],
        &offer,
    )?;
    drop(to_bootstrap);
    let control = await_startup(ext2, job, bootstrap, &offer)?;
    new.keep();
    Ok(control)
}

/// An authority with the owner's ids, if there is an auth server.
fn authority_of(ext2: &Ext2, job: &Job, offer: &Donation) -> Result<SendRight, i32> {
    let ours = ext2.auth();
    if !ours.is_valid() {
        return Ok(SendRight::NULL);
    }
    let (uids, gids) = ([job.uid], [job.gid]);
    let reply = auth::auth_makeauth(&Mach, ours, Ports::EMPTY, &uids, &uids, &gids, &gids, offer)?;
    Ok(SendRight::from_name(reply.newhandle))
}

/// Makes the task known to proc as its owner's, if there is a proc server.
fn process_of(ext2: &Ext2, new: &NewTask, uid: u32, offer: &Donation) -> Result<SendRight, i32> {
    let proc = ext2.proc();
    if !proc.is_valid() {
        return Ok(SendRight::NULL);
    }
    process::proc_child(&Mach, proc, new.task, offer)?;
    let own = SendRight::received(process::proc_task2proc(&Mach, proc, new.task, offer)?.proc)?;
    process::proc_setowner(&Mach, own.name(), uid, 0, offer)?;
    Ok(own)
}

/// Waits at the bootstrap port for `fsys_startup`.
fn await_startup(
    ext2: &'static Ext2,
    job: &Job,
    bootstrap: PortName,
    offer: &Donation,
) -> Result<SendRight, i32> {
    let previous = mach_port::mach_port_request_notification(
        &Mach,
        task::this(),
        bootstrap,
        NOTIFY_NO_SENDERS,
        0,
        Port::make_send_once(bootstrap),
        ALL,
    )?
    .previous;
    release(previous.name, previous.disposition);
    let mut reception = Reception { ext2, job, control: None };
    for _ in 0..MESSAGES {
        let mut message = [0u64; MESSAGE_WORDS];
        let timeout = ext2.policy.report_timeout_ms(offer, clock::now());
        let args = MsgArgs {
            option: option::RCV_MSG | if timeout.is_some() { option::RCV_TIMEOUT } else { 0 },
            rcv_name: bootstrap,
            timeout: timeout.unwrap_or(0),
            ..MsgArgs::default()
        };
        match syscall::mach_msg(message.as_mut_bytes(), args) {
            Ok(()) => {}
            Err(MACH_RCV_TIMED_OUT) => return Err(KERN_TIMEDOUT),
            Err(code) => return Err(code),
        }
        let (header, _) = Header::read_from_prefix(message.as_bytes()).map_err(|_| EDIED)?;
        if header.id == NOTIFY_NO_SENDERS {
            return Err(EDIED);
        }
        if header.id != NOTIFY_SEND_ONCE {
            answer(&mut reception, &message, header.size as usize);
        }
        if let Some(control) = reception.control.take() {
            return Ok(control);
        }
    }
    Err(EDIED)
}

/// Serves one message at the bootstrap port.
fn answer(reception: &mut Reception<'_>, message: &[u64; MESSAGE_WORDS], size: usize) {
    let request = message.as_bytes().get(..size).unwrap_or_default();
    let mut reply = [0u64; MESSAGE_WORDS];
    let mut outcome = fsys::dispatch(reception, request, reply.as_mut_bytes());
    if outcome == Outcome::NotMine {
        outcome = match Request::new(Mode::Received, request) {
            Some(request) => request.bad_id(reply.as_mut_bytes()),
            None => Outcome::NoReply,
        };
    }
    if reception.control.is_none() {
        libhurd::server::release(request);
    }
    let Outcome::Reply(size) = outcome else { return };
    let Some(reply) = reply.as_mut_bytes().get_mut(..size) else { return };
    let args =
        MsgArgs { option: option::SEND_MSG | option::SEND_TIMEOUT, send_size: size, ..MsgArgs::default() };
    if syscall::mach_msg(reply, args).is_err() {
        libhurd::server::release(reply);
    }
}

/// Receives the new translator's report.
struct Reception<'a> {
    ext2: &'static Ext2,
    job: &'a Job,
    control: Option<SendRight>,
}

impl fsys::FsysServer for Reception<'_> {
    fn fsys_startup(
        &mut self,
        _request: &Request<'_>,
        openflags: i32,
        control_port: Port,
    ) -> Result<fsys::FsysStartupReply, i32> {
        if !control_port.name.is_valid() {
            return Err(libhurd::errno::EINVAL);
        }
        // The node underneath, as its owner sees it.
        let ids = Ids::new(&[self.job.uid], &[self.job.gid]);
        let inode = self.ext2.inode(self.job.node)?;
        let flags = openflags & (O_READ | O_WRITE | O_EXEC) & ids.allowed(&inode);
        let node = self.ext2.open_inode(self.job.node, flags | O_NOTRANS, &self.ext2.nowhere, &ids, None)?;
        self.control = Some(SendRight::received(control_port)?);
        Ok(fsys::FsysStartupReply { realnode: node.send() })
    }
}
