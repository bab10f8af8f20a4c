//! Starting a program from a boot module, without file system and exec server: the module is an ELF file in a memory object.
//!
//! The new task's account pays for its memory; this task for a window on the module while it is copied.

use alloc::vec::Vec;

use exec_image::elf::Plan;
use exec_image::limits::ELF_HEADER_BYTES;
use libhurd::abi::returns::KERN_INVALID_ARGUMENT;
use libhurd::abi::vm::VM_PROT_READ;
use libhurd::errno::ENOEXEC;
use libhurd::launch::{Inheritance, launch};
use libhurd::mig::{Port, PortName};
use libhurd::ool::SharedMapping;
use libhurd::port::SendRight;
use libhurd::stubs::drover_host::host_module;
use libhurd::stubs::{gnumach, mach, mach_port};
use libhurd::{ALL, Mach, task};

/// Bytes copied at a time.
const PIECE: usize = 64 * 1024;
/// Where a static-pie would go.
const PIE_BASE: u64 = 0x5000_0000;

/// A boot module.
pub(crate) struct Module {
    name: Vec<u8>,
    object: SendRight,
    size: u64,
}

impl Module {
    /// The memory object with its bytes.
    pub(crate) const fn object(&self) -> PortName {
        self.object.name()
    }

    /// Bytes.
    pub(crate) const fn size(&self) -> u64 {
        self.size
    }
}

/// All boot modules.
pub(crate) struct Modules(Vec<Module>);

impl Modules {
    /// Asks the kernel for them.
    ///
    /// # Errors
    /// The kernel's.
    pub(crate) fn read(host: PortName) -> Result<Self, i32> {
        let mut list = Vec::new();
        for index in 0.. {
            match host_module(&Mach, host, index, ALL).map_err(i32::from) {
                Ok(reply) => {
                    // The rest of its line is for GRUB's eyes.
                    let line = reply.name.as_bytes();
                    let end = line.iter().position(|&byte| byte == b' ').unwrap_or(line.len());
                    let name = line[..end].to_vec();
                    list.push(Module { name, object: SendRight::from_name(reply.object), size: reply.size });
                }
                Err(KERN_INVALID_ARGUMENT) => break,
                Err(code) => return Err(code),
            }
        }
        Ok(Self(list))
    }

    /// The module with that name.
    pub(crate) fn find(&self, name: &str) -> Option<&Module> {
        self.0.iter().find(|module| module.name == name.as_bytes())
    }
}

/// A right that the new task is to have under a name of our choice.
pub(crate) type Named = (u32, PortName);

/// Makes a task at the expense of `account` and puts the program of `module` into it. Runs nothing yet; the entry point comes back.
///
/// # Errors
/// `ENOEXEC`, the kernel's; no task is left behind.
pub(crate) fn load(module: &Module, name: &str, account: PortName) -> Result<(SendRight, u64), i32> {
    let task = task::create_for(account)?;
    match fill(module, task.name()) {
        Ok(entry) => {
            // Only for people.
            let _ = gnumach::task_set_name(&Mach, task.name(), name.as_bytes(), ALL);
            Ok((task, entry))
        }
        Err(code) => {
            let _ = task::terminate(task.name());
            Err(code)
        }
    }
}

fn fill(module: &Module, task: PortName) -> Result<u64, i32> {
    let file = SharedMapping::new(module.object(), module.size, VM_PROT_READ)?;
    let mut buffer = alloc::vec![0; PIECE];
    let have = file.read(0, &mut buffer[..ELF_HEADER_BYTES.min(PIECE)]);
    let plan = Plan::parse(&buffer[..have], PIE_BASE).map_err(|error| error.code())?;
    if plan.file_end() > module.size {
        return Err(ENOEXEC);
    }
    for mapping in plan.mappings() {
        mach::vm_allocate(&Mach, task, mapping.start, mapping.size, false, ALL)?;
    }
    for segment in plan.segments() {
        let mut done = 0;
        while done < segment.file_size {
            let wanted = (segment.file_size - done).min(PIECE as u64) as usize;
            let got = file.read(segment.file_offset + done, &mut buffer[..wanted]);
            if got == 0 {
                return Err(ENOEXEC);
            }
            mach::vm_write(&Mach, task, segment.vaddr + done, &buffer[..got], ALL)?;
            done += got as u64;
        }
    }
    for mapping in plan.mappings() {
        mach::vm_protect(&Mach, task, mapping.start, mapping.size, false, mapping.prot, ALL)?;
    }
    Ok(plan.entry)
}

/// Lets a loaded task run. `rights` are put into it first; `account` pays for its first thread's work.
///
/// # Errors
/// The kernel's; the task is ended then.
pub(crate) fn run(
    (task, entry): &(SendRight, u64),
    account: PortName,
    inheritance: &Inheritance<'_>,
    rights: &[Named],
) -> Result<(), i32> {
    let started = (|| {
        for &(name, right) in rights {
            let copy = Port::copy_send(right);
            mach_port::mach_port_insert_right(&Mach, task.name(), PortName(name), copy, ALL)?;
        }
        launch(task.name(), *entry, account, inheritance).map(drop)
    })();
    if started.is_err() {
        let _ = task::terminate(task.name());
    }
    started
}
