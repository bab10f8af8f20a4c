//! What the program was started with: arguments, environment, descriptors, initial ports.

use core::sync::atomic::{AtomicPtr, Ordering};

use drover_abi::startup::INIT_PORT_BOOTSTRAP;
use mig_runtime::PortName;

use crate::argz;

/// A program's inheritance. The port names are the task's; nobody else uses them.
#[derive(Clone, Copy, Debug, Default)]
pub struct Env {
    pub(crate) argv: &'static [u8],
    pub(crate) envp: &'static [u8],
    pub(crate) dtable: &'static [u32],
    pub(crate) ports: &'static [u32],
    pub(crate) ints: &'static [u32],
    pub(crate) flags: u64,
}

static CURRENT: AtomicPtr<Env> = AtomicPtr::new(core::ptr::null_mut());
static EMPTY: Env = Env { argv: &[], envp: &[], dtable: &[], ports: &[], ints: &[], flags: 0 };

/// The inheritance of this program.
#[must_use]
pub fn current() -> &'static Env {
    // SAFETY: null, or a leaked value that `publish` stored and nobody changes.
    unsafe { CURRENT.load(Ordering::Acquire).as_ref() }.unwrap_or(&EMPTY)
}

/// Makes `env` what [`current`] answers. At start, once; by the first task, which has read its boot line.
pub fn publish(env: &'static Env) {
    CURRENT.store(core::ptr::from_ref(env).cast_mut(), Ordering::Release);
}

impl Env {
    /// An inheritance made by the program itself: the first task, which was given none.
    #[must_use]
    pub const fn made(
        argv: &'static [u8],
        envp: &'static [u8],
        dtable: &'static [u32],
        ports: &'static [u32],
    ) -> Self {
        Self { argv, envp, dtable, ports, ints: &[], flags: 0 }
    }

    /// All arguments; the first is the program's name.
    #[must_use]
    pub const fn argv(&self) -> &'static [u8] {
        self.argv
    }
    /// The environment: `NAME=value` words.
    #[must_use]
    pub const fn envp(&self) -> &'static [u8] {
        self.envp
    }
    /// The arguments as words.
    pub fn args(&self) -> impl Iterator<Item = &'static [u8]> + Clone + use<> {
        argz::words(self.argv)
    }
    /// The value of an environment variable.
    #[must_use]
    pub fn var(&self, name: &[u8]) -> Option<&'static [u8]> {
        argz::variable(self.envp, name)
    }
    /// The last component of the program's name, for messages.
    #[must_use]
    pub fn name(&self) -> &'static str {
        let path = self.args().next().unwrap_or(b"program");
        core::str::from_utf8(crate::lookup::split_last(path).1).unwrap_or("program")
    }
    /// The initial port with that index (`INIT_PORT_CWDIR` ...); null if it was not given.
    #[must_use]
    pub fn port(&self, index: usize) -> PortName {
        self.ports.get(index).copied().map_or(PortName::NULL, PortName)
    }
    /// All initial ports.
    #[must_use]
    pub const fn ports(&self) -> &'static [u32] {
        self.ports
    }
    /// The initial integer with that index.
    #[must_use]
    pub fn int(&self, index: usize) -> i32 {
        self.ints.get(index).copied().unwrap_or(0) as i32
    }
    /// A file descriptor; null if it is closed.
    #[must_use]
    pub fn fd(&self, number: usize) -> PortName {
        self.dtable.get(number).copied().map_or(PortName::NULL, PortName)
    }
    /// All file descriptors.
    #[must_use]
    pub const fn dtable(&self) -> &'static [u32] {
        self.dtable
    }
    /// The flags it was executed with.
    #[must_use]
    pub const fn flags(&self) -> u64 {
        self.flags
    }
    /// The bootstrap port: from the initial ports, else the task's.
    #[must_use]
    pub fn bootstrap(&self) -> PortName {
        let given = self.port(INIT_PORT_BOOTSTRAP);
        if given.is_valid() { given } else { crate::task::bootstrap_port().unwrap_or(PortName::NULL) }
    }
}
