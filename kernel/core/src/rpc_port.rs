//! RPC ports: ports without a queue, through which a call migrates.

use drover_abi::message::msgt;
use drover_abi::port::NOTIFY_NO_SENDERS;
use drover_abi::returns::{KERN_FAILURE, KERN_INVALID_ARGUMENT, KERN_INVALID_VALUE, KERN_RESOURCE_SHORTAGE};
use drover_abi::vm::VM_MAX_ADDRESS;

use crate::account::Payer;
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

    /// Makes an RPC port that has no senders the port of another object: it and the port to which its next no-senders notification goes (when it has been
    /// made `sync` rights of) get that payload.
    ///
    /// # Errors
    /// `KERN_INVALID_NAME`, `KERN_INVALID_RIGHT`; `KERN_INVALID_VALUE`: no RPC port; `KERN_INVALID_CAPABILITY`: `notify` has no queue; `KERN_FAILURE`: a
    /// notification is requested already; `KERN_RESOURCE_SHORTAGE` at `payer`. Nothing changed.
    pub fn port_renew(
        &mut self,
        task: Ref<Task>,
        name: u32,
        notify: u32,
        payload: u64,
        sync: u32,
        payer: Payer,
    ) -> Result<(), Stop> {
        let port = self.port_of_receive(task, name)?;
        let told = self.port_of_receive(task, notify)?;
        if self.get(port).head.flags != RPC {
            return Err(Stop::Error(KERN_INVALID_VALUE));
        }
        if self.get(port).no_senders.is_some() {
            return Err(Stop::Error(KERN_FAILURE));
        }
        let right = (notify, msgt::MAKE_SEND_ONCE);
        self.mach_port_request_notification(task, task, name, NOTIFY_NO_SENDERS, sync, right, payer)?;
        for port in [port, told] {
            let p = self.get_mut(port);
            (p.payload, p.has_payload) = (payload, 1);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ipc_testing::{account, core, payer, task, thread};
    use crate::port::MESSAGE;
    use drover_abi::returns::{KERN_INVALID_CAPABILITY, KERN_INVALID_NAME};

    #[test]
    fn renewing_sets_both_payloads_and_one_request_or_nothing() {
        let mut k = core(512);
        let account = account(&mut k, 100);
        let task = task(&mut k, account);
        thread(&mut k, task);
        let payer = payer(&k, task);
        let mut port = || {
            let name = k.mach_port_allocate(task, drover_abi::port::RIGHT_RECEIVE, payer).unwrap();
            (name, k.port_of_receive(task, name).unwrap())
        };
        let ((name, rpc), (notify, told)) = (port(), port());
        let template = RpcTemplate { entry: 0x1000, ..RpcTemplate::default() };
        let wrong = |k: &mut Kernel<_>, name, notify, code| {
            let before = k.get(account).resources;
            assert_eq!(k.port_renew(task, name, notify, 7, 1, payer), Err(Stop::Error(code)));
            assert_eq!(k.get(account).resources, before);
            assert_eq!((k.get(rpc).payload, k.get(told).payload, k.get(rpc).no_senders), (0, 0, Ref::NONE));
        };
        wrong(&mut k, name, notify, KERN_INVALID_VALUE);
        k.port_set_rpc(task, name, &template).unwrap();
        wrong(&mut k, name, 0x7777, KERN_INVALID_NAME);
        wrong(&mut k, 0x7777, notify, KERN_INVALID_NAME);
        wrong(&mut k, name, name, KERN_INVALID_CAPABILITY);
        assert_eq!(k.get(told).head.flags, MESSAGE);
        k.port_renew(task, name, notify, 7, 1, payer).unwrap();
        assert_eq!((k.get(rpc).payload, k.get(told).payload), (7, 7));
        assert!(k.get(rpc).no_senders.is_some());
        assert_eq!(k.port_renew(task, name, notify, 8, 1, payer), Err(Stop::Error(KERN_FAILURE)));
        assert_eq!((k.get(rpc).payload, k.get(told).payload), (7, 7));
    }
}
