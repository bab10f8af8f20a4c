//! The exec server: `exec.defs` on top of the library, as a translator on `/servers/exec`.
//!
//! Who pays: a call is its caller's. The new program's memory is its task's account's. This server retains nothing: what a program inherits lies in its own
//! memory when it starts ([`launch`](libhurd::launch)), so `exec_startup_get_info` is not needed and nobody is served it. (On the Hurd exec keeps it until the program asks.)
//!
//! Deliberately absent: dynamic linking, `EXEC_SECURE` reauthentication, the traced start of `EXEC_SIGTRAP`.

mod growing;
mod load;
mod policy;
mod script;
mod target;

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use exec_image::format::{Format, detect};
use exec_image::hashbang;
use exec_image::limits::HASHBANG_BYTES;
use libhurd::abi::message::msgt;
use libhurd::abi::returns::{KERN_FAILURE, KERN_INVALID_ARGUMENT, KERN_INVALID_RIGHT};
use libhurd::abi::startup::{INIT_INT_MAX, INIT_PORT_AUTH, INIT_PORT_CRDIR, INIT_PORT_CWDIR, INIT_PORT_MAX};
use libhurd::errno::{E2BIG, EBUSY, ELOOP, ENOEXEC, EOPNOTSUPP, EPERM, describe};
use libhurd::file::{Context, File, O_EXEC, O_READ};
use libhurd::incoming::Incoming;
use libhurd::launch::{Inheritance, MAX_ARGUMENTS, MAX_PORTS};
use libhurd::lock::Mutex;
use libhurd::lookup::FS_RETRY_NORMAL;
use libhurd::mig::{Data, Donation, Outcome, Port, PortName, Request, Retain, Text, offer};
use libhurd::once::Once;
use libhurd::port::SendRight;
use libhurd::program::{EXEC_DEFAULTS, EXEC_NEWTASK};
use libhurd::server::{Notification, Object, Server, UnwindReserve};
use libhurd::stubs::exec::ExecServer;
use libhurd::stubs::fsys::{self, FsysGetrootOut, FsysServer};
use libhurd::stubs::io::{self, IoServer, IoStatReply};
use libhurd::{Env, Mach, ool, own, syscall, world};

use load::FilePort;
use policy::Policy;
use target::{Contents, Target};

/// Payload of the control port.
const CONTROL: u64 = 1;
/// Payload of the exec port that everybody gets.
const EXEC: u64 = 2;
/// Payload of the exec port that the superuser gets.
const EXEC_ROOT: u64 = 3;

/// There is no critical section longer than copying a few names; cleanups release the rights that came with a request.
const RESERVE: UnwindReserve = UnwindReserve { cpu: Duration::from_millis(1), frames: 16 };
/// Most names of an old program that can be given up.
const MAX_NAMES: usize = 1024;

/// The server.
struct Exec {
    policy: Policy,
    /// Kept for its port's life.
    _control: Object,
    exec: Object,
    exec_root: Object,
    /// The node that we are on, once we have started up.
    node: Once<SendRight>,
    defaults: Mutex<Defaults>,
}

/// What `EXEC_DEFAULTS` fills in.
#[derive(Clone, Default)]
struct Defaults {
    ports: Vec<Arc<SendRight>>,
    ints: [i32; INIT_INT_MAX],
}

static SERVER: Once<Exec> = Once::new();

/// Starts up and serves. Returns an exit status if it cannot.
pub(crate) fn run(env: &'static Env) -> i32 {
    match start(env) {
        Ok(server) => server.run(),
        Err(code) => {
            log::error!("cannot serve: {} ({code:#x})", describe(code));
            1
        }
    }
}

fn start(env: &'static Env) -> Result<&'static Server, i32> {
    let server = Server::new(demux, RESERVE, notified)?;
    let control = server.object(CONTROL)?;
    let send = control.send();
    let exec = Exec {
        policy: Policy::new(world::current(), env.envp()),
        _control: control,
        exec: server.object(EXEC)?,
        exec_root: server.object(EXEC_ROOT)?,
        node: Once::new(),
        defaults: Mutex::new(Defaults::default()),
    };
    // Calls may come as soon as the control port is known.
    let exec = SERVER.set(exec).map_err(|_| KERN_FAILURE)?;
    let bootstrap = env.bootstrap();
    if bootstrap.is_valid() {
        let node =
            fsys::fsys_startup(&Mach, bootstrap, O_READ, send, offer!(fsys::offer::FSYS_STARTUP))?.realnode;
        exec.node.set(SendRight::received(node)?).map_err(|_| KERN_FAILURE)?;
    }
    Ok(server)
}

/// What the running call offers to those whom it calls: nearly all that remains to it.
fn onward() -> Donation {
    syscall::call_info().map_or(Donation::ALL, |info| policy::passed_on(&info.remaining, info.now_ns))
}

/// No object here is counted, and no port is watched.
fn notified(_: Notification) {}

fn demux(request: &[u8], reply: &mut [u8]) -> Outcome {
    let Some(exec) = SERVER.get() else { return Outcome::NotMine };
    let incoming = Incoming::new(request);
    let mut call = Call { server: exec };
    let outcome = libhurd::dispatch!(request, reply, exec => &mut call, fsys => &mut call, io => &mut call);
    incoming.finish(outcome, reply);
    outcome
}

/// Serves one request.
struct Call {
    server: &'static Exec,
}

/// What came with a request to execute a file.
struct Arguments<'a> {
    file: PortName,
    task: PortName,
    flags: i32,
    /// The file's name, as it was called; may be empty.
    path: &'a [u8],
    argv: &'a [u8],
    envp: &'a [u8],
    dtable: Vec<PortName>,
    ports: Vec<PortName>,
    ints: Vec<i32>,
    deallocnames: Vec<PortName>,
    destroynames: Vec<PortName>,
}

/// Send rights of a request.
fn rights(data: &Data<'_, PortName>, max: usize) -> Result<Vec<PortName>, i32> {
    if data.len() > max {
        return Err(E2BIG);
    }
    if !data.is_empty() && data.disposition() != msgt::PORT_SEND {
        return Err(KERN_INVALID_RIGHT);
    }
    Ok(ool::values(data))
}

impl Exec {
    /// Executes a file: what the Hurd's `do_exec` does.
    ///
    /// # Errors
    /// `ENOEXEC` and the other faults of files, those of the client's ports, the kernel's.
    fn execute(&self, mut a: Arguments<'_>) -> Result<(), i32> {
        if !a.task.is_valid() || !a.file.is_valid() {
            return Err(KERN_INVALID_ARGUMENT);
        }
        // Held until the new program has its copies.
        let _defaults = if a.flags & EXEC_DEFAULTS != 0 { self.fill_in(&mut a)? } else { Vec::new() };
        let contents = if a.flags & EXEC_NEWTASK != 0 { Contents::New } else { Contents::Old };
        let mut target = Target::new(a.task, contents);
        let result = self.load_and_start(&a, &mut target);
        if result.is_err() {
            target.fail();
        }
        result
    }

    /// Takes what is missing from the defaults.
    fn fill_in(&self, a: &mut Arguments<'_>) -> Result<Vec<Arc<SendRight>>, i32> {
        let defaults = own(|| Ok::<_, i32>(self.defaults.lock()?.clone()))?;
        a.ports.resize(a.ports.len().max(INIT_PORT_MAX), PortName::NULL);
        for (port, default) in a.ports.iter_mut().zip(&defaults.ports) {
            if !port.is_valid() {
                *port = default.name();
            }
        }
        if a.ints.is_empty() {
            a.ints.extend_from_slice(&defaults.ints);
        }
        Ok(defaults.ports)
    }

    fn load_and_start(&self, a: &Arguments<'_>, target: &mut Target) -> Result<(), i32> {
        let mut file = FilePort(a.file);
        let mut interpreter: File;
        let mut argv = a.argv.to_vec();
        let mut path = a.path.to_vec();
        let mut head = alloc::vec![0; HASHBANG_BYTES];
        let mut scripts = 0;
        let plan = loop {
            let have = file.head(&mut head)?;
            let head = head.get(..have).unwrap_or_default();
            match detect(head).ok_or(ENOEXEC)? {
                Format::Elf => break load::plain(file, target)?,
                Format::Packed(codec) => break load::packed(file, codec, self.policy, target)?,
                Format::Hashbang => {
                    scripts += 1;
                    if scripts > script::MAX_SCRIPTS {
                        return Err(ELOOP);
                    }
                    let line = hashbang::parse(head).map_err(|error| error.code())?;
                    argv = script::arguments(&line, &path, &argv);
                    path = line.interpreter.to_vec();
                    let port = |index: usize| a.ports.get(index).copied().unwrap_or(PortName::NULL);
                    let context = Context {
                        root: port(INIT_PORT_CRDIR),
                        cwd: port(INIT_PORT_CWDIR),
                        auth: port(INIT_PORT_AUTH),
                    };
                    interpreter = File::open_in(context, &path, O_READ | O_EXEC, &onward())?;
                    file = FilePort(interpreter.port());
                }
            }
        };
        target.protect(&plan)?;
        target.drop_names(&a.deallocnames, &a.destroynames);
        let inheritance = Inheritance {
            argv: &argv,
            envp: a.envp,
            dtable: &a.dtable,
            ports: &a.ports,
            ints: &a.ints,
            flags: u64::from(a.flags as u32),
        };
        target.start(plan.entry, &inheritance)
    }
}

impl Call {
    /// Checks that an exec port is called.
    fn exec(request: &Request<'_>) -> Result<(), i32> {
        if matches!(request.target(), EXEC | EXEC_ROOT) { Ok(()) } else { Err(EOPNOTSUPP) }
    }

    fn control(request: &Request<'_>) -> Result<(), i32> {
        if request.target() == CONTROL { Ok(()) } else { Err(EOPNOTSUPP) }
    }
}

impl ExecServer for Call {
    fn exec_exec(
        &mut self,
        request: &Request<'_>,
        file: Port,
        oldtask: Port,
        flags: i32,
        argv: Data<'_, u8>,
        envp: Data<'_, u8>,
        dtable: Data<'_, PortName>,
        portarray: Data<'_, PortName>,
        intarray: Data<'_, i32>,
        deallocnames: Data<'_, PortName>,
        destroynames: Data<'_, PortName>,
        retain: Retain,
    ) -> Result<(), i32> {
        self.exec_exec_paths(
            request,
            file,
            oldtask,
            flags,
            &Text::EMPTY,
            &Text::EMPTY,
            argv,
            envp,
            dtable,
            portarray,
            intarray,
            deallocnames,
            destroynames,
            retain,
        )
    }

    fn exec_exec_paths(
        &mut self,
        request: &Request<'_>,
        file: Port,
        oldtask: Port,
        flags: i32,
        path: &Text<1024>,
        abspath: &Text<1024>,
        argv: Data<'_, u8>,
        envp: Data<'_, u8>,
        dtable: Data<'_, PortName>,
        portarray: Data<'_, PortName>,
        intarray: Data<'_, i32>,
        deallocnames: Data<'_, PortName>,
        destroynames: Data<'_, PortName>,
        _: Retain,
    ) -> Result<(), i32> {
        Self::exec(request)?;
        if argv.len().saturating_add(envp.len()) > MAX_ARGUMENTS {
            return Err(E2BIG);
        }
        let (dtable, ports) = (rights(&dtable, MAX_PORTS)?, rights(&portarray, INIT_PORT_MAX)?);
        if intarray.len() > INIT_INT_MAX || deallocnames.len().max(destroynames.len()) > MAX_NAMES {
            return Err(E2BIG);
        }
        let ints = ool::values(&intarray);
        let (deallocnames, destroynames) = (ool::values(&deallocnames), ool::values(&destroynames));
        ool::with_bytes(&argv, |argv| {
            ool::with_bytes(&envp, |envp| {
                self.server.execute(Arguments {
                    file: file.name,
                    task: oldtask.name,
                    flags,
                    path: if abspath.is_empty() { path } else { abspath }.as_bytes(),
                    argv,
                    envp,
                    dtable,
                    ports,
                    ints,
                    deallocnames,
                    destroynames,
                })
            })
        })
    }

    fn exec_init(
        &mut self,
        request: &Request<'_>,
        _auth_handle: Port,
        _proc_server: Port,
    ) -> Result<(), i32> {
        // Neither is needed: programs are loaded with their callers' ports alone.
        if request.target() == EXEC_ROOT { Ok(()) } else { Err(EPERM) }
    }

    fn exec_setexecdata(
        &mut self,
        request: &Request<'_>,
        ports: Data<'_, PortName>,
        ints: Data<'_, i32>,
    ) -> Result<(), i32> {
        if request.target() != EXEC_ROOT {
            return Err(EPERM);
        }
        let (names, values) = (rights(&ports, INIT_PORT_MAX)?, ool::values(&ints));
        own(|| {
            let mut new = Defaults::default();
            for name in names {
                new.ports.push(Arc::new(SendRight::another(name)?));
            }
            for (place, value) in new.ints.iter_mut().zip(values) {
                *place = value;
            }
            let old = core::mem::replace(&mut *self.server.defaults.lock()?, new);
            drop(old);
            Ok(())
        })
    }
}

impl FsysServer for Call {
    fn fsys_getroot(
        &mut self,
        request: &Request<'_>,
        _dotdot_node: Port,
        gen_uids: Data<'_, u32>,
        _gen_gids: Data<'_, u32>,
        _flags: i32,
        _: &mut Text<1024>,
        _: Retain,
    ) -> Result<FsysGetrootOut, i32> {
        Self::control(request)?;
        let is_root = ool::values(&gen_uids).contains(&0);
        let file = if is_root { self.server.exec_root.send() } else { self.server.exec.send() };
        Ok(FsysGetrootOut { do_retry: FS_RETRY_NORMAL, file })
    }

    fn fsys_goaway(&mut self, request: &Request<'_>, flags: i32) -> Result<(), i32> {
        /// `fsys_goaway`: whoever uses it.
        const FSYS_GOAWAY_FORCE: i32 = 4;
        Self::control(request)?;
        if flags & FSYS_GOAWAY_FORCE == 0 {
            return Err(EBUSY);
        }
        libhurd::start::exit(0)
    }

    fn fsys_syncfs(&mut self, request: &Request<'_>, _wait: i32, _do_children: i32) -> Result<(), i32> {
        Self::control(request)
    }
}

impl IoServer for Call {
    fn io_stat(&mut self, request: &Request<'_>) -> Result<IoStatReply, i32> {
        Self::exec(request)?;
        let node = self.server.node.get().filter(|node| node.is_valid()).ok_or(EOPNOTSUPP)?;
        Ok(io::io_stat(&Mach, node.name(), &onward())?)
    }
}
