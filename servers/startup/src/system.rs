//! The servers, started one after the other, each in an account of its own; and what programs inherit from them.
//!
//! | server | gets | gives |
//! |---|---|---|
//! | storage | the root image as descriptor 3 | a device master port, with the device `ram0` |
//! | console | the kernel's device master as descriptor 3 | the terminal |
//! | exec | nothing | the exec port |
//! | ext2 | storage's device master, the exec port | the root directory |
//! | auth | nothing | the superuser's authority |
//! | proc | auth, the privileged ports | this task's process, and where accounts of users are registered |
//!
//! Each reports at a bootstrap port of its own, within [`PATIENCE`].

use alloc::format;
use alloc::vec::Vec;
use core::time::Duration;

use libhurd::abi::startup::{
    INIT_PORT_AUTH, INIT_PORT_BOOTSTRAP, INIT_PORT_CRDIR, INIT_PORT_CWDIR, INIT_PORT_MAX, INIT_PORT_PROC,
};
use libhurd::bootstrap::{await_report, await_translator};
use libhurd::clock::now;
use libhurd::errno::ENOENT;
use libhurd::file::{NO_RESULT, O_EXEC, O_READ};
use libhurd::launch::Inheritance;
use libhurd::mig::{Outcome, Port, PortName, Request, offer};
use libhurd::port::{ReceiveRight, SendRight};
use libhurd::stubs::fsys::{fsys_getroot, fsys_init, offer};
use libhurd::stubs::startup::{self, StartupAuthinitReply, StartupProcinitReply, StartupServer};
use libhurd::stubs::{exec, payer, process};
use libhurd::{Mach, argz, task};

use crate::accounts::Account;
use crate::budget::User;
use crate::load::{self, Modules, Named};

/// How long a server may take to report.
const PATIENCE: Duration = Duration::from_secs(30);
/// The module with the root file system.
const ROOT_IMAGE: &str = "root.img";
/// The device that it becomes.
const DEVICE: &str = "ram0";
/// Under which names ext2 finds its privileged ports.
const DEVICE_MASTER_NAME: u32 = 0x10;
const EXEC_NAME: u32 = 0x11;

/// What a server needs to be started.
pub(crate) struct Parts<'a> {
    /// The privileged host port, which is also the kernel's device master port.
    pub(crate) host: PortName,
    /// Environment of everything.
    pub(crate) environment: &'a [u8],
    /// Programs and root image.
    pub(crate) modules: Modules,
    /// Accounts of the servers.
    pub(crate) accounts: Vec<Account>,
}

/// What did not come up, and why.
pub(crate) struct Failure {
    pub(crate) what: &'static str,
    pub(crate) code: i32,
}

/// What programs inherit; null rights for what is not there.
#[derive(Default)]
pub(crate) struct System {
    pub(crate) console: SendRight,
    pub(crate) root: SendRight,
    pub(crate) auth: SendRight,
    /// This task's process.
    pub(crate) proc: SendRight,
    tasks: Vec<(&'static str, SendRight)>,
}

/// A server that has been started and has not reported yet.
struct Started {
    task: SendRight,
    bootstrap: ReceiveRight,
}

impl Parts<'_> {
    fn account(&self, name: &str) -> Result<PortName, i32> {
        self.accounts
            .iter()
            .find(|account| account.name == name)
            .map(|account| account.right.name())
            .ok_or(ENOENT)
    }

    /// Starts the server `name` with these arguments, descriptor 3 and rights.
    fn start(
        &self,
        name: &'static str,
        arguments: &[&[u8]],
        descriptor: PortName,
        rights: &[Named],
    ) -> Result<Started, i32> {
        let module = self.modules.find(name).ok_or(ENOENT)?;
        let account = self.account(name)?;
        let bootstrap = ReceiveRight::new()?;
        let to_bootstrap = bootstrap.send_right()?;
        let path = format!("/hurd/{name}");
        let argv = argz::join(core::iter::once(path.as_bytes()).chain(arguments.iter().copied()));
        let dtable = [PortName::NULL, PortName::NULL, PortName::NULL, descriptor];
        let mut ports = [PortName::NULL; INIT_PORT_MAX];
        ports[INIT_PORT_BOOTSTRAP] = to_bootstrap.name();
        let loaded = load::load(module, name, account)?;
        let inheritance = Inheritance {
            argv: &argv,
            envp: self.environment,
            dtable: &dtable,
            ports: &ports,
            ..Inheritance::default()
        };
        load::run(&loaded, account, &inheritance, rights)?;
        Ok(Started { task: loaded.0, bootstrap })
    }

    /// Starts a server that reports as translators do. Its task and its control port.
    fn translator(
        &self,
        name: &'static str,
        arguments: &[&[u8]],
        descriptor: PortName,
        rights: &[Named],
    ) -> Result<(SendRight, SendRight), i32> {
        let started = self.start(name, arguments, descriptor, rights)?;
        let control = await_translator(&started.bootstrap, PATIENCE)?;
        Ok((started.task, control))
    }
}

/// Takes the reports of auth and proc.
struct Reports<'a> {
    host: PortName,
    auth: &'a SendRight,
    found: Option<SendRight>,
}

impl StartupServer for Reports<'_> {
    fn startup_authinit(
        &mut self,
        _: &Request<'_>,
        _reply_port: Port,
        auth: Port,
    ) -> Result<StartupAuthinitReply, i32> {
        self.found = Some(SendRight::received(auth)?);
        // Proc comes after it; auth needs no process.
        Ok(StartupAuthinitReply { proc: NO_RESULT })
    }

    fn startup_procinit(
        &mut self,
        _: &Request<'_>,
        _reply_port: Port,
        startup_proc: Port,
    ) -> Result<StartupProcinitReply, i32> {
        self.found = Some(SendRight::received(startup_proc)?);
        Ok(StartupProcinitReply {
            startup_task: task::this(),
            auth: self.auth.name(),
            host_priv: Port::copy_send(self.host),
            device_master: Port::copy_send(self.host),
        })
    }
}

/// The root of a server, opened as the user `uids`.
fn root_of(control: &SendRight, uids: &[u32], flags: i32) -> Result<SendRight, i32> {
    SendRight::received(
        fsys_getroot(
            &Mach,
            control.name(),
            NO_RESULT,
            uids,
            uids,
            flags,
            &offer::FSYS_GETROOT.default_at(now()),
        )?
        .file,
    )
}

/// The name of a server as the error's place.
fn at<T>(what: &'static str, result: Result<T, i32>) -> Result<T, Failure> {
    result.map_err(|code| Failure { what, code })
}

impl System {
    /// Starts everything. What is up stays up when something fails.
    ///
    /// # Errors
    /// What did not come up.
    pub(crate) fn start(&mut self, parts: &Parts<'_>) -> Result<(), Failure> {
        let (task, control) = at("console", parts.translator("console", &[], parts.host, &[]))?;
        self.tasks.push(("console", task));
        self.console = at("console", root_of(&control, &[0], O_READ))?;

        let image = at("the boot module root.img", parts.modules.find(ROOT_IMAGE).ok_or(ENOENT))?;
        let size = format!("{}", image.size());
        let arguments = [DEVICE.as_bytes(), size.as_bytes()];
        let (task, devices) = at("storage", parts.translator("storage", &arguments, image.object(), &[]))?;
        self.tasks.push(("storage", task));

        let (task, exec_control) = at("exec", parts.translator("exec", &[], PortName::NULL, &[]))?;
        self.tasks.push(("exec", task));
        let exec = at("exec", root_of(&exec_control, &[], O_EXEC))?;

        let master = format!("--device-master-port={DEVICE_MASTER_NAME}");
        let exec_port = format!("--exec-port={EXEC_NAME}");
        let arguments = [master.as_bytes(), exec_port.as_bytes(), DEVICE.as_bytes()];
        let rights = [(DEVICE_MASTER_NAME, devices.name()), (EXEC_NAME, exec.name())];
        let (ext2, fs) = at("ext2", parts.translator("ext2", &arguments, PortName::NULL, &rights))?;
        self.root = at("ext2", root_of(&fs, &[0], O_READ | O_EXEC))?;

        at("auth", self.start_auth(parts))?;
        at("proc", self.start_proc(parts))?;
        at("proc's list of servers", self.introduce(&ext2, &fs, &exec_control))?;
        self.tasks.push(("ext2", ext2));
        Ok(())
    }

    fn start_auth(&mut self, parts: &Parts<'_>) -> Result<(), i32> {
        let started = parts.start("auth", &[], PortName::NULL, &[])?;
        self.auth = self.report(parts, &started)?;
        self.tasks.push(("auth", started.task));
        Ok(())
    }

    fn start_proc(&mut self, parts: &Parts<'_>) -> Result<(), i32> {
        let started = parts.start("proc", &[], PortName::NULL, &[])?;
        self.proc = self.report(parts, &started)?;
        Ok(())
    }

    fn report(&self, parts: &Parts<'_>, started: &Started) -> Result<SendRight, i32> {
        await_report(&started.bootstrap, PATIENCE, |request, reply| -> (Outcome, Option<SendRight>) {
            let mut reports = Reports { host: parts.host, auth: &self.auth, found: None };
            (startup::dispatch(&mut reports, request, reply), reports.found)
        })
    }

    /// Makes the servers known to each other, and to proc as processes.
    fn introduce(&self, ext2: &SendRight, fs: &SendRight, exec_control: &SendRight) -> Result<(), i32> {
        for (name, task) in &self.tasks {
            self.process(task.name(), name)?;
        }
        let own = self.process(ext2.name(), "ext2")?;
        fsys_init(&Mach, fs.name(), own.copy(), self.auth.name(), &offer::FSYS_INIT.default_at(now()))?;
        let exec = root_of(exec_control, &[0], O_EXEC)?;
        exec::exec_init(
            &Mach,
            exec.name(),
            self.auth.name(),
            self.proc.copy(),
            offer!(exec::offer::EXEC_INIT),
        )?;
        let mut defaults = [PortName::NULL; INIT_PORT_MAX];
        defaults[INIT_PORT_CRDIR] = self.root.name();
        defaults[INIT_PORT_CWDIR] = self.root.name();
        let defaults = libhurd::mig::Ports::copy_send(&defaults);
        exec::exec_setexecdata(
            &Mach,
            exec.name(),
            defaults,
            &[0o22, 0, 0, 0, 0],
            offer!(exec::offer::EXEC_SETEXECDATA),
        )?;
        Ok(())
    }

    /// The process of a task, as a child of this one's, run for the superuser.
    pub(crate) fn process(&self, task: PortName, name: &str) -> Result<SendRight, i32> {
        if !self.proc.is_valid() {
            return Ok(SendRight::NULL);
        }
        process::proc_child(&Mach, self.proc.name(), task, offer!(process::offer::PROC_CHILD))?;
        let own = SendRight::received(
            process::proc_task2proc(&Mach, self.proc.name(), task, offer!(process::offer::PROC_TASK2PROC))?
                .proc,
        )?;
        process::proc_set_exe(
            &Mach,
            own.name(),
            format!("/hurd/{name}").as_bytes(),
            offer!(process::offer::PROC_SET_EXE),
        )?;
        Ok(own)
    }

    /// Says which account pays for a user's translators.
    ///
    /// # Errors
    /// Proc's.
    pub(crate) fn register(&self, user: &User, account: &SendRight) -> Result<(), i32> {
        if self.proc.is_valid() {
            payer::payer_register(
                &Mach,
                self.proc.name(),
                user.uid,
                account.copy(),
                &payer::offer::PAYER_REGISTER.default_at(now()),
            )?;
        }
        Ok(())
    }

    /// Initial ports of a program, without process and bootstrap port.
    pub(crate) fn ports(&self) -> [PortName; INIT_PORT_MAX] {
        let mut ports = [PortName::NULL; INIT_PORT_MAX];
        ports[INIT_PORT_CWDIR] = self.root.name();
        ports[INIT_PORT_CRDIR] = self.root.name();
        ports[INIT_PORT_AUTH] = self.auth.name();
        ports[INIT_PORT_PROC] = PortName::NULL;
        ports
    }
}
