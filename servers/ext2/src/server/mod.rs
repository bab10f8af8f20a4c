//! The ext2 file system as a Hurd translator: ports, open files, translators on top of the library.
//!
//! * [`walk`], [`transbox`], [`perm`], [`cache`], [`options`] and [`policy`] are pure and tested on the host.
//! * [`store`] is the device below, [`opens`] the open files (protids), [`lookup`] what `dir_lookup` does with them, [`translators`] how a translator
//!   comes to run, [`starter`] the work of starting one.
//! * `fs_calls`, `io_calls` and `fsys_calls` answer the interfaces.
//!
//! Who pays: a call is its caller's. An open file's ports are its client's session's; its record (some hundred bytes) is the server's own, at most
//! [`opens::MAX_OPEN`] of them. The block cache and the tables are the server's own and do not grow. Starting a translator is paid by
//! the owner of its node.
//!
//! Locks: the cache's, the names', the boxes', the table of open files'; each is held for a copy or a search, none over a call. What takes calls is kept apart with a
//! [`turn::Turn`], which has an owner and is given up on a forced exit.
//!
//! Deliberately absent: writing to files and directories (`EROFS`), record locks, change notification, memory-mapped files.

mod cache;
mod fs_calls;
mod fsys_calls;
mod io_calls;
mod lookup;
mod names;
mod opens;
mod options;
mod perm;
mod policy;
mod promise;
mod starter;
mod store;
mod transbox;
mod translators;
mod turn;
mod walk;

use alloc::sync::Arc;
use core::sync::atomic::{AtomicU32, Ordering};
use core::time::Duration;

use ext2::{Corrupt, Error, FileSystem, Inode, ROOT_INODE};
use libhurd::abi::message::msgt;
use libhurd::abi::startup::{INIT_PORT_AUTH, INIT_PORT_PROC};
use libhurd::errno::{
    EBADF, EINVAL, EIO, EISDIR, ENAMETOOLONG, ENOENT, ENOSPC, ENOTDIR, EOPNOTSUPP, EROFS, describe,
};
use libhurd::incoming::Incoming;
use libhurd::mig::{Donation, Outcome, PortName, Request};
use libhurd::once::Once;
use libhurd::port::{SendRight, release};
use libhurd::server::{Notification, Object, Server, UnwindReserve};
use libhurd::stubs::fsys;
use libhurd::{ALL, Env, Mach, clock, syscall, world};

use names::Names;
use opens::Opens;
use options::Options;
use policy::Policy;
use store::Store;
use translators::Translators;
use turn::Turn;

/// Payload of the control port.
const CONTROL: u64 = 1;
/// Payload of the port that stands for this file system and does nothing.
const IDENTITY: u64 = 2;

/// The longest critical section copies a block or searches a table of open files; the cleanups of a call release some thirty rights.
const RESERVE: UnwindReserve = UnwindReserve { cpu: Duration::from_micros(500), frames: 16 };

/// The server.
struct Ext2 {
    options: Options<'static>,
    policy: Policy,
    fs: FileSystem,
    store: Store,
    server: &'static Server,
    control: Object,
    identity: Object,
    names: Names,
    opens: Opens,
    translators: Translators,
    /// What is above the root for those who do not come from anywhere.
    nowhere: Arc<SendRight>,
    /// For writing to the device.
    writing: Turn,
    /// The auth server, once it is known.
    auth: AtomicU32,
    /// Our process, which is also where to ask who pays for a user, once it is known.
    proc: AtomicU32,
    /// What time the file system was last changed when it was mounted, seconds since 1970: there is no other clock.
    epoch: u32,
}

static EXT2: Once<Ext2> = Once::new();

/// The server, once it is set up.
fn current() -> Result<&'static Ext2, i32> {
    EXT2.get().ok_or(EIO)
}

/// Mounts the file system and serves it. Returns an exit status if it cannot.
pub(crate) fn run(env: &'static Env) -> i32 {
    let options = match Options::parse(env.argv(), env.envp()) {
        Ok(options) => options,
        Err(unknown) if unknown.0.is_empty() => {
            log::error!("usage: ext2 [OPTION...] DEVICE");
            return 2;
        }
        Err(unknown) => {
            log::error!("what is {}?", unknown.0.escape_ascii());
            return 2;
        }
    };
    match Ext2::start(options, env) {
        Ok(server) => server.run(),
        Err(code) => {
            log::error!("cannot serve {}: {} ({code:#x})", options.device.escape_ascii(), describe(code));
            1
        }
    }
}

impl Ext2 {
    fn start(options: Options<'static>, env: &'static Env) -> Result<&'static Server, i32> {
        let store =
            Store::open(PortName(options.device_master), options.device, !options.read_only, options.cache)?;
        let fs = FileSystem::mount(&store).map_err(|error| {
            log::error!("{}: {error:?}", options.device.escape_ascii());
            code_of(error)
        })?;
        let root = fs.inode(&store, ROOT_INODE).map_err(code_of)?;
        let server = Server::new(demux, RESERVE, notified)?;
        let auth = if options.auth == 0 { env.port(INIT_PORT_AUTH) } else { PortName(options.auth) };
        let proc = if options.proc == 0 { env.port(INIT_PORT_PROC) } else { PortName(options.proc) };
        let ext2 = Self {
            options,
            policy: Policy::new(world::current(), options.node_lock, options.start),
            fs,
            store,
            server,
            control: server.object(CONTROL)?,
            identity: server.object(IDENTITY)?,
            names: Names::new(),
            opens: Opens::new(),
            translators: Translators::new(),
            nowhere: Arc::new(SendRight::NULL),
            writing: Turn::new(),
            auth: AtomicU32::new(auth.0),
            proc: AtomicU32::new(proc.0),
            epoch: root.ctime.max(root.mtime),
        };
        let ext2 = EXT2.set(ext2).map_err(|_| EIO)?;
        translators::prepare();
        let bootstrap = env.bootstrap();
        if bootstrap.is_valid() {
            let reply = fsys::fsys_startup(&Mach, bootstrap, 0, ext2.control.send(), ALL)?;
            // The node we are mounted on, if any, is not used.
            drop(SendRight::received(reply.realnode));
        }
        Ok(server)
    }

    fn inode(&self, number: u32) -> Result<Inode, i32> {
        self.fs.inode(&self.store, number).map_err(code_of)
    }

    fn auth(&self) -> PortName {
        PortName(self.auth.load(Ordering::Relaxed))
    }

    fn proc(&self) -> PortName {
        PortName(self.proc.load(Ordering::Relaxed))
    }

    /// Seconds since 1970, as far as anybody knows.
    fn seconds(&self) -> u32 {
        self.epoch.saturating_add((clock::now() / 1_000_000_000) as u32)
    }

    /// What may be written to.
    fn is_writable(&self) -> bool {
        !self.options.read_only && self.fs.is_writable()
    }
}

/// What the running call offers to those whom it calls: nearly all that remains to it.
fn onward() -> Donation {
    syscall::call_info().map_or(Donation::ALL, |info| policy::passed_on(&info.remaining, info.now_ns))
}

/// The library's errors as the Hurd's.
fn code_of(error: Error<i32>) -> i32 {
    match error {
        Error::Device(code) => code,
        Error::Refused(_) | Error::BufferTooSmall { .. } => EINVAL,
        Error::Corrupt(Corrupt::DirectoryRecord) | Error::Corrupt(_) => EIO,
        Error::InvalidInode(_) | Error::InodeNotInUse(_) => ENOENT,
        Error::NotDirectory => ENOTDIR,
        Error::NotSymlink => EINVAL,
        Error::NotFile => EOPNOTSUPP,
        Error::NameTooLong => ENAMETOOLONG,
        Error::NoSpace => ENOSPC,
        Error::ReadOnly => EROFS,
        Error::NotSupported => EOPNOTSUPP,
    }
}

/// Serves one request.
struct Call {
    ext2: &'static Ext2,
}

impl Call {
    /// The open file that is called.
    fn open(&self, request: &Request<'_>) -> Result<opens::Opened, i32> {
        self.ext2.opens.get(request.target()).ok_or(EOPNOTSUPP)
    }

    /// Checks that the control port is called.
    fn control(request: &Request<'_>) -> Result<(), i32> {
        if request.target() == CONTROL { Ok(()) } else { Err(EOPNOTSUPP) }
    }
}

fn demux(request: &[u8], reply: &mut [u8]) -> Outcome {
    let Some(ext2) = EXT2.get() else { return Outcome::NotMine };
    let incoming = Incoming::new(request);
    let mut call = Call { ext2 };
    let outcome = libhurd::dispatch!(
        request, reply, io => &mut call, fs => &mut call, fsys => &mut call, interrupt => &mut call
    );
    incoming.finish(outcome, reply);
    outcome
}

impl libhurd::stubs::interrupt::InterruptServer for Call {
    /// Calls that are under way are aborted by their own deadlines and by `thread_abort`; there is nothing to interrupt from outside.
    fn interrupt_operation(&mut self, request: &Request<'_>) -> Result<(), i32> {
        self.open(request).map(drop)
    }
}

fn notified(notification: Notification) {
    let Ok(ext2) = current() else { return };
    match notification {
        Notification::NoSenders(payload) => ext2.opens.closed(payload),
        Notification::Died(name) => {
            ext2.translators.died(name);
            ext2.opens.died(name);
            // The notification came with a reference of its own to the dead name.
            release(name, msgt::PORT_SEND);
        }
    }
}

/// A directory is no file to be read.
const NOT_READABLE: i32 = EISDIR;
/// The open mode does not allow it.
const NOT_OPEN_FOR_THAT: i32 = EBADF;
