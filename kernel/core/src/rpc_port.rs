//! RPC ports: ports without a queue, through which a call migrates.

use drover_abi::returns::{KERN_FAILURE, KERN_INVALID_ARGUMENT, KERN_RESOURCE_SHORTAGE};
use drover_abi::vm::VM_MAX_ADDRESS;

use crate::kernel::{Kernel, Stop};
use crate::machine::Machine;
use crate::object::Ref;
use crate::port::RPC;
use crate::task::Task;

/// Largest unwind reserve that a server may declare, frames.
const UNWIND_FRAMES_MAX: u64 = 1 << 20;
/// Largest unwind reserve that a server may declare, ns (one hour).
const UNWIND_CPU_MAX: u64 = 3600 * 1_000_000_000;

/// What a server declares for an RPC port.
#[derive(Clone, Copy, Debug, Default)]
pub struct RpcTemplate {
    /// Where a call enters.
    pub entry: u64,
    /// Where a forced exit enters; 0 = the activation is popped at once.
    pub unwind_entry: u64,
    /// CPU that the longest critical section plus cleanup may need, ns.
    pub unwind_cpu: u64,
    /// Frames likewise.
    pub unwind_frames: u64,
    /// Protected payload.
    pub payload: u64,
}

impl<M: Machine> Kernel<M> {
    /// Makes the port of a receive right an RPC port, or changes its template. Calls in flight keep the reserve that they set aside.
    ///
    /// # Errors
    /// `KERN_INVALID_NAME`; `KERN_INVALID_RIGHT`; `KERN_INVALID_ARGUMENT`: an entry point outside user space; `KERN_RESOURCE_SHORTAGE`: a reserve beyond any
    /// reason; `KERN_FAILURE`: the port has queued messages, waiting threads, notifications to be received or is in a set.
    pub fn port_set_rpc(&mut self, task: Ref<Task>, name: u32, template: &RpcTemplate) -> Result<(), Stop> {
        let port = self.port_of_receive(task, name)?;
        let user = |address: u64| address < VM_MAX_ADDRESS;
        if template.entry == 0 || !user(template.entry) || !user(template.unwind_entry) {
            return Err(Stop::Error(KERN_INVALID_ARGUMENT));
        }
        if template.unwind_frames > UNWIND_FRAMES_MAX || template.unwind_cpu > UNWIND_CPU_MAX {
            return Err(Stop::Error(KERN_RESOURCE_SHORTAGE));
        }
        let p = self.get_mut(port);
        let waiting = p.receivers.is_some() || p.senders.is_some();
        if p.queue_head.is_some() || p.send_once_died != 0 || waiting || p.set.is_some() {
            return Err(Stop::Error(KERN_FAILURE));
        }
        p.head.flags = RPC;
        (p.entry, p.unwind_entry) = (template.entry, template.unwind_entry);
        (p.unwind_cpu, p.unwind_frames) = (template.unwind_cpu, template.unwind_frames);
        (p.payload, p.has_payload) = (template.payload, 1);
        Ok(())
    }
}
