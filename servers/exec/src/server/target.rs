//! The task that a program is loaded into.
//!
//! All memory in it is charged to its account, whoever asks. Nothing runs in it before [`Target::start`]; a new task that was not started is its
//! maker's to end, an old one is ended here when it fails after the point of no return: its memory is gone then.

use alloc::vec::Vec;

use exec_image::elf::Plan;
use exec_image::stream::Sink;
use libhurd::abi::PAGE_SIZE;
use libhurd::abi::message::msgt;
use libhurd::abi::port::{RIGHT_SEND, TASK_BOOTSTRAP_PORT, type_bit};
use libhurd::abi::returns::{KERN_NAME_EXISTS, KERN_NO_SPACE, KERN_RESOURCE_SHORTAGE, KERN_RIGHT_EXISTS};
use libhurd::abi::startup::STARTUP_BASE;
use libhurd::abi::vm::{VM_PROT_READ, VM_PROT_WRITE};
use libhurd::abi::window::HOME_BASE;
use libhurd::mig::{OutData, Port, PortName};
use libhurd::port::SendRight;
use libhurd::stubs::{mach, mach_port};
use libhurd::{ALL, Mach, ool, syscall, task, thread};

/// Names tried for a port in the new task before giving up.
const NAMES_TRIED: u32 = 4096;
/// First name tried: in the first piece of a name table, above those that the kernel gives out first.
const FIRST_NAME: u32 = 48;
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
    next_name: u32,
    /// Ports given to the task already: our names and its.
    given: Vec<(PortName, u32)>,
}

impl Target {
    /// The task of that name, of which the caller has a right for as long as this is used.
    pub(super) const fn new(task: PortName, contents: Contents) -> Self {
        Self { task, contents, committed: false, next_name: FIRST_NAME, given: Vec::new() }
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
        use libhurd::abi::window::{WINDOWS_BASE, WINDOWS_END};
        mach::vm_deallocate(&Mach, self.task, USER_START, WINDOWS_BASE - USER_START, ALL)?;
        mach::vm_deallocate(
            &Mach,
            self.task,
            WINDOWS_END,
            libhurd::abi::vm::VM_MAX_ADDRESS - WINDOWS_END,
            ALL,
        )?;
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

    /// Gives the task a send right to a port of ours; its name there, 0 for none or a dead one.
    pub(super) fn give(&mut self, port: PortName) -> Result<u32, i32> {
        if !port.is_valid() {
            return Ok(0);
        }
        if let Some(&(_, name)) = self.given.iter().find(|(ours, _)| *ours == port) {
            mach_port::mach_port_insert_right(&Mach, self.task, PortName(name), Port::copy_send(port), ALL)?;
            return Ok(name);
        }
        for _ in 0..NAMES_TRIED {
            let name = self.next_name;
            self.next_name += 1;
            let inserted = mach_port::mach_port_insert_right(
                &Mach,
                self.task,
                PortName(name),
                Port::copy_send(port),
                ALL,
            );
            let name = match inserted.map_err(|error| error.code()) {
                Ok(()) => name,
                Err(KERN_NAME_EXISTS) => continue,
                Err(KERN_RIGHT_EXISTS) => {
                    let Some(name) = self.name_of(port)? else { continue };
                    name
                }
                Err(code @ (KERN_RESOURCE_SHORTAGE | KERN_NO_SPACE)) => return Err(code),
                // It has died meanwhile.
                Err(_) => return Ok(0),
            };
            self.given.try_reserve(1).map_err(|_| KERN_RESOURCE_SHORTAGE)?;
            self.given.push((port, name));
            return Ok(name);
        }
        Err(KERN_NO_SPACE)
    }

    /// The name that the task has for our port already, with one more user reference.
    fn name_of(&self, port: PortName) -> Result<Option<u32>, i32> {
        let reply = mach_port::mach_port_names(&Mach, self.task, ALL)?;
        let names: Vec<PortName> = ool::take_values(OutData::<PortName, 1>::Ool(reply.names));
        let types: Vec<u32> = ool::take_values(OutData::<u32, 1>::Ool(reply.types));
        for (name, kind) in names.into_iter().zip(types) {
            if kind & type_bit(RIGHT_SEND) == 0 {
                continue;
            }
            let extracted = mach_port::mach_port_extract_right(&Mach, self.task, name, msgt::COPY_SEND, ALL);
            // One port has one name among our send rights.
            let Ok(reply) = extracted else { continue };
            let ours = SendRight::received(reply.poly)?;
            if ours.name() == port {
                mach_port::mach_port_insert_right(&Mach, self.task, name, ours.copy(), ALL)?;
                return Ok(Some(name.0));
            }
        }
        Ok(None)
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

    /// Puts the startup block and its arrays into the task.
    pub(super) fn put_block(&self, bytes: &[u8]) -> Result<(), i32> {
        let size = (bytes.len() as u64).next_multiple_of(PAGE_SIZE as u64);
        mach::vm_allocate(&Mach, self.task, STARTUP_BASE, size, false, ALL)?;
        mach::vm_write(&Mach, self.task, STARTUP_BASE, bytes, ALL)?;
        Ok(())
    }

    /// Lets the program run at `entry`, with `bootstrap` (a port of ours) as its bootstrap port.
    pub(super) fn start(&mut self, entry: u64, bootstrap: PortName) -> Result<(), i32> {
        thread::map_home(self.task, HOME_BASE)?;
        if bootstrap.is_valid() {
            mach::task_set_special_port(&Mach, self.task, TASK_BOOTSTRAP_PORT, bootstrap, ALL)?;
        }
        let old = if self.contents == Contents::Old { self.threads()? } else { Vec::new() };
        let thread = SendRight::from_name(mach::thread_create(&Mach, self.task, ALL)?.child_thread);
        let started = thread::set_start(thread.name(), entry, thread::initial_stack(HOME_BASE), STARTUP_BASE)
            .and_then(|()| Ok(mach::thread_resume(&Mach, thread.name(), ALL)?));
        if started.is_err() {
            // It has run nothing.
            let _ = mach::thread_terminate(&Mach, thread.name(), ALL);
            return started;
        }
        // The program is on its own now.
        self.committed = false;
        drop(thread);
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
