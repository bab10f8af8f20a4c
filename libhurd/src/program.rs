//! Starting programs and waiting for their end.

use alloc::vec::Vec;
use core::time::Duration;

use drover_abi::message::{Header, option};
use drover_abi::port::NOTIFY_DEAD_NAME;
use drover_abi::startup::{INIT_INT_MAX, INIT_PORT_BOOTSTRAP, INIT_PORT_MAX, INIT_PORT_PROC};
use hurd_stubs::{fs, mach_port, process};
use mig_runtime::{Donation, PortName, Ports, offer};
use zerocopy::IntoBytes;

use crate::file::{File, O_EXEC};
use crate::port::{ReceiveRight, SendRight};
use crate::rpc::{ALL, Mach};
use crate::syscall::{self, MsgArgs};
use crate::{argz, env, task};

/// `file_exec` flag: the task is new; nothing of an old program is to be kept.
pub const EXEC_NEWTASK: i32 = 1;
/// `file_exec` flag: initial ports that are missing are taken from exec's defaults.
pub const EXEC_DEFAULTS: i32 = 4;

/// A program to be started.
#[derive(Debug)]
pub struct Program<'a> {
    path: &'a [u8],
    argv: Vec<u8>,
    envp: Option<Vec<u8>>,
    account: PortName,
    dtable: Option<Vec<PortName>>,
    ports: [PortName; INIT_PORT_MAX],
    flags: i32,
}

impl<'a> Program<'a> {
    /// The program in the file `path`, with its name as the first argument, this program's environment, descriptors and ports, and at this
    /// task's expense.
    #[must_use]
    pub fn new(path: &'a [u8]) -> Self {
        let env = env::current();
        let mut ports = [PortName::NULL; INIT_PORT_MAX];
        for (index, port) in ports.iter_mut().enumerate() {
            *port = env.port(index);
        }
        ports[INIT_PORT_BOOTSTRAP] = PortName::NULL;
        ports[INIT_PORT_PROC] = PortName::NULL;
        let argv = argz::join([path]);
        Self { path, argv, envp: None, account: PortName::NULL, dtable: None, ports, flags: EXEC_NEWTASK }
    }

    /// All arguments, the program's name first.
    #[must_use]
    pub fn argv<'w>(mut self, words: impl IntoIterator<Item = &'w [u8]>) -> Self {
        self.argv = argz::join(words);
        self
    }

    /// One more argument.
    #[must_use]
    pub fn arg(mut self, word: &[u8]) -> Self {
        argz::push(&mut self.argv, word);
        self
    }

    /// Another environment.
    #[must_use]
    pub fn envp(mut self, envz: &[u8]) -> Self {
        self.envp = Some(envz.to_vec());
        self
    }

    /// Another payer: an account that this task may charge.
    #[must_use]
    pub const fn account(mut self, account: PortName) -> Self {
        self.account = account;
        self
    }

    /// Other descriptors (null: closed). The program gets copies of the rights.
    #[must_use]
    pub fn descriptors(mut self, dtable: &[PortName]) -> Self {
        self.dtable = Some(dtable.to_vec());
        self
    }

    /// Another initial port (`INIT_PORT_CWDIR` ...). The program gets a copy of the right.
    #[must_use]
    pub const fn port(mut self, index: usize, port: PortName) -> Self {
        if index < INIT_PORT_MAX {
            self.ports[index] = port;
        }
        self
    }

    /// More `EXEC_` flags.
    #[must_use]
    pub const fn flags(mut self, flags: i32) -> Self {
        self.flags |= flags;
        self
    }

    /// Starts it. The work of starting (lookup, reading, decompression) falls on the offer; the task itself is its account's.
    ///
    /// # Errors
    /// The file system's, exec's, the kernel's; no task is left behind.
    pub fn start(self, offer: &Donation) -> Result<Child, i32> {
        let file = File::open(self.path, O_EXEC, offer)?;
        self.start_file(&file, offer)
    }

    /// As [`Program::start`], from a file that is open already.
    ///
    /// # Errors
    /// As for [`Program::start`].
    pub fn start_file(mut self, file: &File, offer: &Donation) -> Result<Child, i32> {
        let task = if self.account.is_valid() { task::create_for(self.account)? } else { task::create()? };
        let started = self.exec(file, &task, offer);
        if started.is_err() {
            // The task has run nothing.
            let _ = task::terminate(task.name());
        }
        Ok(Child { pid: started?, task })
    }

    fn exec(&mut self, file: &File, task: &SendRight, offer: &Donation) -> Result<Option<i32>, i32> {
        let env = env::current();
        let proc = env.port(INIT_PORT_PROC);
        let mut own_proc = SendRight::NULL;
        let mut pid = None;
        if proc.is_valid() {
            process::proc_child(&Mach, proc, task.name(), offer)?;
            own_proc = SendRight::received(process::proc_task2proc(&Mach, proc, task.name(), offer)?.proc)?;
            pid = Some(process::proc_task2pid(&Mach, proc, task.name(), offer)?.pid);
            // Only a name for people: a proc server that keeps none is as good.
            let _ = process::proc_set_exe(&Mach, own_proc.name(), self.path, offer);
        }
        if !self.ports[INIT_PORT_PROC].is_valid() {
            self.ports[INIT_PORT_PROC] = own_proc.name();
        }
        let inherited: Vec<PortName>;
        let dtable = match &self.dtable {
            Some(dtable) => dtable,
            None => {
                inherited = env.dtable().iter().map(|&name| PortName(name)).collect();
                &inherited
            }
        };
        let ints: [i32; INIT_INT_MAX] = core::array::from_fn(|index| env.int(index));
        fs::file_exec_paths(
            &Mach,
            file.port(),
            task.name(),
            self.flags,
            self.path,
            self.path,
            &self.argv,
            self.envp.as_deref().unwrap_or(env.envp()),
            Ports::copy_send(dtable),
            Ports::copy_send(&self.ports),
            &ints,
            &[],
            &[],
            offer,
        )?;
        Ok(pid)
    }
}

/// A program that has been started.
#[derive(Debug)]
pub struct Child {
    task: SendRight,
    pid: Option<i32>,
}

impl Child {
    /// A program whose task was made in another way. Its process id is found out, if there is a proc server that knows the task.
    #[must_use]
    pub fn of(task: SendRight) -> Self {
        let proc = env::current().port(INIT_PORT_PROC);
        let known = proc
            .is_valid()
            .then(|| process::proc_task2pid(&Mach, proc, task.name(), offer!(process::offer::PROC_TASK2PID)));
        Self { pid: known.and_then(Result::ok).map(|reply| reply.pid), task }
    }

    /// Its task.
    #[must_use]
    pub const fn task(&self) -> PortName {
        self.task.name()
    }

    /// Its process id, if there is a proc server.
    #[must_use]
    pub const fn pid(&self) -> Option<i32> {
        self.pid
    }

    /// Ends it.
    ///
    /// # Errors
    /// The kernel's.
    pub fn kill(&self) -> Result<(), i32> {
        task::terminate(self.task())
    }

    /// Waits for its end: the exit status, or 0 if nobody keeps one. Bounded by the offer's deadline.
    ///
    /// # Errors
    /// `KERN_TIMEDOUT` or what else ended the wait.
    pub fn wait(&self, offer: &Donation) -> Result<i32, i32> {
        if let Some(pid) = self.pid {
            let proc = env::current().port(INIT_PORT_PROC);
            let reply = process::proc_wait(&Mach, proc, pid, 0, offer)?;
            return Ok(if reply.sigcode != 0 || reply.status & 0x7f != 0 {
                128 + (reply.status & 0x7f)
            } else {
                reply.status >> 8 & 0xff
            });
        }
        self.wait_for_death(offer)?;
        Ok(0)
    }

    /// Waits for the death of the task's port.
    fn wait_for_death(&self, offer: &Donation) -> Result<(), i32> {
        let notify = ReceiveRight::new()?;
        let registered = mach_port::mach_port_request_notification(
            &Mach,
            task::this(),
            self.task(),
            NOTIFY_DEAD_NAME,
            1,
            notify.make_send_once(),
            ALL,
        );
        if registered.is_err() {
            // Dead already.
            return Ok(());
        }
        // Header, descriptor, name.
        let mut message = [0u64; 8];
        let timeout = match offer.deadline_ns {
            u64::MAX => None,
            at => Some(Duration::from_nanos(at.saturating_sub(crate::clock::now())).as_millis() as u32 + 1),
        };
        let args = MsgArgs {
            option: option::RCV_MSG | if timeout.is_some() { option::RCV_TIMEOUT } else { 0 },
            rcv_name: notify.name(),
            timeout: timeout.unwrap_or(0),
            ..MsgArgs::default()
        };
        const { assert!(size_of::<Header>() <= 64) };
        syscall::mach_msg(message.as_mut_bytes(), args)
    }
}
