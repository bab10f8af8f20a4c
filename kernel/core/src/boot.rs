//! The first task.
//!
//! It gets the module named "startup", loaded and started in the root account, with the privileged host port as name 1 and a stack in the first home slot. Everything
//! else is user space's business.

use drover_abi::vm::{VM_INHERIT_COPY, VM_PROT_ALL, VM_PROT_READ, VM_PROT_WRITE};
use drover_abi::window::{HOME_BASE, STACK_GUARD, STACK_TOP};

use crate::account::Payer;
use crate::kernel::{Kernel, Stop};
use crate::machine::Machine;
use crate::object::Ref;
use crate::vm::Map;

/// Name of the module that is started.
pub const FIRST_TASK: &[u8] = b"startup";

impl<M: Machine> Kernel<M> {
    /// Starts the first task.
    ///
    /// # Errors
    /// A text that says what boot lacks.
    pub fn start(&mut self) -> Result<(), &'static str> {
        self.make_host_ports().map_err(|_| "no memory for the host's ports")?;
        let index = self.modules[..self.module_count]
            .iter()
            .position(|m| m.name.starts_with(FIRST_TASK))
            .ok_or("no boot module named \"startup\": add it to the GRUB entry with `module2 /boot/startup startup`")?;
        let payer = Payer::account(self.root);
        let task = self.task_create(payer, Ref::NONE, false).map_err(|_| "no memory for the first task")?;
        self.get_mut(task).name[..FIRST_TASK.len()].copy_from_slice(FIRST_TASK);
        let entry = self
            .load_module(task, payer, index)
            .map_err(|_| "the module \"startup\" is no static x86_64 ELF")?;
        for (start, end) in [(0, 4096), (STACK_GUARD + 4096, STACK_TOP)] {
            let map = Map {
                address: HOME_BASE + start,
                size: end - start,
                mask: 0,
                anywhere: false,
                object: Ref::NONE,
                offset: 0,
                copy: false,
                prot: VM_PROT_READ | VM_PROT_WRITE,
                max_prot: VM_PROT_ALL,
                inheritance: VM_INHERIT_COPY,
            };
            self.vm_map(task, payer, &map).map_err(|_| "no memory for the first stack")?;
        }
        let host = self.host_priv;
        let name = self.insert_send(task, host, payer).map_err(|_| "no memory for the first name")?;
        debug_assert_eq!(name, 1);
        let thread = self.thread_create(payer, task).map_err(|_| "no memory for the first thread")?;
        let act = self.get(thread).bottom;
        let regs = &mut self.get_mut(act).regs;
        regs.rip = entry;
        regs.rsp = HOME_BASE + STACK_TOP - 8;
        self.thread_resume(thread).map_err(|_: Stop| "the first thread does not run")?;
        Ok(())
    }
}
