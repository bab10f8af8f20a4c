//! Memory objects with a port, and entries whose payer goes.

use super::ARGUMENT;
use crate::account::Payer;
use crate::kernel::{Kernel, Stop};
use crate::machine::Machine;
use crate::map::Entry;
use crate::memory::{BATCH, FROZEN, Memory, PRIVATE, SHARED};
use crate::object::{Kind, Ref};
use crate::pagetable::PAGE;
use crate::port::{PORT_ALIVE, Port};

impl<M: Machine> Kernel<M> {
    /// A new anonymous object charged to `payer`, with its port, which has the object's one reference.
    ///
    /// # Errors
    /// `KERN_INVALID_ARGUMENT`: size 0 or too large; `KERN_RESOURCE_SHORTAGE`.
    pub fn vm_object_create(&mut self, payer: Payer, size: u64) -> Result<Ref<Memory>, Stop> {
        let size = size.checked_next_multiple_of(PAGE).ok_or(ARGUMENT)?;
        let object = self.memory_create(payer, size)?;
        let named = self.kernel_port(payer, Kind::Memory, object.raw());
        let port = named.inspect_err(|_| self.memory_drop(object))?;
        let memory = self.get_mut(object);
        memory.port = port;
        memory.head.flags = memory.head.flags & !PRIVATE | SHARED;
        Ok(object)
    }

    /// The port of a memory object; makes one, charged to the object's account, if there is none.
    ///
    /// # Errors
    /// `KERN_RESOURCE_SHORTAGE`; `Again`: its last port is still being taken apart.
    pub fn memory_port(&mut self, object: Ref<Memory>) -> Result<Ref<Port>, Stop> {
        let old = self.get(object).port;
        if old.is_some() {
            return if self.get(old).head.state == PORT_ALIVE { Ok(old) } else { Err(Stop::Again) };
        }
        let payer = self.memory_payer(object);
        let port = self.kernel_port(payer, Kind::Memory, object.raw())?;
        let memory = self.get_mut(object);
        memory.port = port;
        memory.refs += 1;
        memory.head.flags &= !PRIVATE;
        if memory.head.flags & FROZEN == 0 {
            memory.head.flags |= SHARED;
        }
        Ok(port)
    }

    /// Ends an entry whose account is being destroyed: the range is not mapped any more.
    ///
    /// # Errors
    /// `Again`: more is left.
    pub(crate) fn entry_destroy(&mut self, entry: Ref<Entry>) -> Result<(), Stop> {
        let mut budget = BATCH;
        self.entry_remove(entry, &mut budget)
    }
}
