//! What the holder of a receive right or set looks at and changes.

use drover_abi::port::{MACH_PORT_NULL, QLIMIT_MAX};
use drover_abi::returns::{KERN_INVALID_VALUE, KERN_NOT_IN_SET, MACH_RCV_PORT_CHANGED};

use super::{PortStatus, fail};
use crate::kernel::{Kernel, Stop};
use crate::machine::Machine;
use crate::object::Ref;
use crate::port::Port;
use crate::task::Task;

impl<M: Machine> Kernel<M> {
    /// `mach_port_set_qlimit`.
    ///
    /// # Errors
    /// `KERN_INVALID_VALUE`, `KERN_INVALID_NAME`, `KERN_INVALID_RIGHT`.
    pub fn mach_port_set_qlimit(&mut self, task: Ref<Task>, name: u32, limit: u32) -> Result<(), Stop> {
        if limit > QLIMIT_MAX {
            return fail(KERN_INVALID_VALUE);
        }
        let port = self.port_of_receive(task, name)?;
        self.get_mut(port).queue_limit = limit;
        self.wake_senders(port);
        Ok(())
    }

    /// `mach_port_set_mscount`.
    ///
    /// # Errors
    /// `KERN_INVALID_NAME`, `KERN_INVALID_RIGHT`.
    pub fn mach_port_set_mscount(&mut self, task: Ref<Task>, name: u32, mscount: u32) -> Result<(), Stop> {
        let port = self.port_of_receive(task, name)?;
        self.get_mut(port).make_send = mscount;
        Ok(())
    }

    /// `mach_port_set_seqno`.
    ///
    /// # Errors
    /// `KERN_INVALID_NAME`, `KERN_INVALID_RIGHT`.
    pub fn mach_port_set_seqno(&mut self, task: Ref<Task>, name: u32, seqno: u32) -> Result<(), Stop> {
        let port = self.port_of_receive(task, name)?;
        self.get_mut(port).seqno = seqno;
        Ok(())
    }

    /// `mach_port_set_protected_payload`.
    ///
    /// # Errors
    /// `KERN_INVALID_NAME`, `KERN_INVALID_RIGHT`.
    pub fn mach_port_set_protected_payload(
        &mut self,
        task: Ref<Task>,
        name: u32,
        payload: u64,
    ) -> Result<(), Stop> {
        let port = self.port_of_receive(task, name)?;
        let p = self.get_mut(port);
        (p.payload, p.has_payload) = (payload, 1);
        Ok(())
    }

    /// `mach_port_clear_protected_payload`.
    ///
    /// # Errors
    /// `KERN_INVALID_NAME`, `KERN_INVALID_RIGHT`.
    pub fn mach_port_clear_protected_payload(&mut self, task: Ref<Task>, name: u32) -> Result<(), Stop> {
        let port = self.port_of_receive(task, name)?;
        let p = self.get_mut(port);
        (p.payload, p.has_payload) = (0, 0);
        Ok(())
    }

    /// `mach_port_get_receive_status`.
    ///
    /// # Errors
    /// `KERN_INVALID_NAME`, `KERN_INVALID_RIGHT`.
    pub fn mach_port_get_receive_status(&mut self, task: Ref<Task>, name: u32) -> Result<PortStatus, Stop> {
        let port = self.port_of_receive(task, name)?;
        let p = *self.get(port);
        Ok(PortStatus {
            pset: if p.set.is_some() { self.name_of(task, p.set) } else { 0 },
            seqno: p.seqno,
            mscount: p.make_send,
            qlimit: p.queue_limit,
            msgcount: p.queued.saturating_add(p.send_once_died),
            sorights: p.send_once_rights,
            srights: u32::from(p.send_rights != 0),
            pdrequest: u32::from(p.destroyed.is_some()),
            nsrequest: u32::from(p.no_senders.is_some()),
        })
    }

    /// `mach_port_get_set_status`: the first member of the set `name` (`after` none) or the one after `after`; none at the end. The receive right's name is in
    /// `receive_name` of the port.
    ///
    /// # Errors
    /// `KERN_INVALID_NAME`, `KERN_INVALID_RIGHT`.
    pub fn mach_port_set_member(
        &mut self,
        task: Ref<Task>,
        name: u32,
        after: Option<Ref<Port>>,
    ) -> Result<Ref<Port>, Stop> {
        let set = self.set_of(task, name)?;
        Ok(self.get(after.unwrap_or(set)).member)
    }

    /// `mach_port_move_member`: into the set `after`, or (`MACH_PORT_NULL`) out of its set.
    ///
    /// # Errors
    /// `KERN_INVALID_NAME`, `KERN_INVALID_RIGHT`, `KERN_NOT_IN_SET`.
    pub fn mach_port_move_member(&mut self, task: Ref<Task>, member: u32, after: u32) -> Result<(), Stop> {
        let port = self.port_of_receive(task, member)?;
        if after == MACH_PORT_NULL {
            if self.get(port).set.is_none() {
                return fail(KERN_NOT_IN_SET);
            }
            self.set_remove(port);
            return Ok(());
        }
        let set = self.set_of(task, after)?;
        self.set_remove(port);
        self.wake_receivers(port, MACH_RCV_PORT_CHANGED);
        self.set_insert(port, set);
        if self.port_has_news(port) {
            self.wake_receiver(port);
        }
        Ok(())
    }
}
