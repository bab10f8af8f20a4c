//! The task that a program is loaded into.
//!
//! All memory in it is charged to its account, whoever asks. Nothing runs in it before [`Target::start`]; a new task that was not started is its
//! maker's to end, an old one is ended here when it fails after the point of no return: its memory is gone then.

use alloc::vec::Vec;

use exec_image::elf::Plan;
use exec_image::stream::Sink;
use libhurd::abi::PAGE_SIZE;
use libhurd::abi::vm::{VM_MAX_ADDRESS, VM_PROT_READ, VM_PROT_WRITE};
use libhurd::abi::window::{WINDOWS_BASE, WINDOWS_END};
use libhurd::launch::{Inheritance, launch};
use libhurd::mig::{OutData, PortName};
use libhurd::port::SendRight;
use libhurd::stubs::{mach, mach_port};
use libhurd::{ALL, Mach, ool, syscall, task};

/// Everything that a program can have mapped: user space without page 0 and the call windows.
const USER_START: u64 = PAGE_SIZE as u64;

/// What becomes of the task's old contents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Contents {
    /// There are none.
    New,
    /// They go when the new program's headers are known to be good.
    Old,
}

/// See the module.
pub(super) struct Target {
    task: PortName,
    contents: Contents,
    /// The old contents are gone.
    committed: bool,
}

impl Target {
    /// The task of that name, of which the caller has a right for as long as this is used.
    pub(super) const fn new(task: PortName, contents: Contents) -> Self {
        Self { task, contents, committed: false }
    }

    /// The task can only be ended: its old program is gone, and the new one did not come.
    pub(super) fn fail(&self) {
        if self.committed {
            // Gone already if this fails.
            let _ = task::terminate(self.task);
        }
    }

    /// Ends the old program, except for the thread that we run on, if it is one of its own: that one ends when all is done.
    fn clear(&mut self) -> Result<(), i32> {
        if self.contents == Contents::New {
            return Ok(());
        }
        self.committed = true;
        for thread in self.threads()? {
            if thread.name() != self_thread() {
                mach::thread_terminate(&Mach, thread.name(), ALL)?;
            }
        }
        // In two parts: the call windows between them are not the program's.
        mach::vm_deallocate(&Mach, self.task, USER_START, WINDOWS_BASE - USER_START, ALL)?;
        mach::vm_deallocate(&Mach, self.task, WINDOWS_END, VM_MAX_ADDRESS - WINDOWS_END, ALL)?;
        Ok(())
    }

    fn threads(&self) -> Result<Vec<SendRight>, i32> {
        let list = mach::task_threads(&Mach, self.task, ALL)?.thread_list;
        let names: Vec<PortName> = ool::take_values(OutData::<PortName, 1>::Ool(list));
        Ok(names.into_iter().map(SendRight::from_name).collect())
    }

    /// Sets the final protection of the image's pages.
    pub(super) fn protect(&self, plan: &Plan) -> Result<(), i32> {
        for mapping in plan.mappings() {
            if mapping.prot != VM_PROT_READ | VM_PROT_WRITE {
                mach::vm_protect(&Mach, self.task, mapping.start, mapping.size, false, mapping.prot, ALL)?;
            }
        }
        Ok(())
    }

    /// Drops names of the old program that the new one is not to have.
    pub(super) fn drop_names(&self, deallocate: &[PortName], destroy: &[PortName]) {
        // Names that do not exist are the caller's mistake, and harm nobody.
        for &name in deallocate {
            let _ = mach_port::mach_port_deallocate(&Mach, self.task, name, ALL);
        }
        for &name in destroy {
            let _ = mach_port::mach_port_destroy(&Mach, self.task, name, ALL);
        }
    }

    /// Lets the program run at `entry` with what it inherits; its account pays for it.
    pub(super) fn start(&mut self, entry: u64, inheritance: &Inheritance<'_>) -> Result<(), i32> {
        let old = if self.contents == Contents::Old { self.threads()? } else { Vec::new() };
        drop(launch(self.task, entry, PortName::NULL, inheritance)?);
        // The program is on its own now.
        self.committed = false;
        for thread in old {
            // If this is the thread we run on, that was the last we did.
            let _ = mach::thread_terminate(&Mach, thread.name(), ALL);
        }
        Ok(())
    }
}

/// Our own thread's port, without keeping a user reference.
fn self_thread() -> PortName {
    SendRight::from_name(syscall::mach_thread_self()).name()
}

impl Sink for Target {
    type Error = i32;

    fn begin(&mut self, plan: &Plan) -> Result<(), i32> {
        self.clear()?;
        for mapping in plan.mappings() {
            mach::vm_allocate(&Mach, self.task, mapping.start, mapping.size, false, ALL)?;
        }
        Ok(())
    }

    fn place(&mut self, vaddr: u64, bytes: &[u8]) -> Result<(), i32> {
        Ok(mach::vm_write(&Mach, self.task, vaddr, bytes, ALL)?)
    }
}
