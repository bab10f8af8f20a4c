//! `mach_port.defs` and `drover_port.defs`: port name spaces.

use drover_abi::returns::{KERN_INVALID_RIGHT, KERN_INVALID_TASK, KERN_INVALID_VALUE};
use hurd_stubs::drover_port::{DroverPortServer, PortExitStatsReply, PortGetRpcStatusReply};
use hurd_stubs::mach_port::{
    MachPortAllocateReply, MachPortExtractRightReply, MachPortGetReceiveStatusReply, MachPortGetRefsReply,
    MachPortGetSetStatusReply, MachPortNamesReply, MachPortRequestNotificationReply, MachPortServer,
    MachPortTypeReply,
};
use hurd_stubs::types::MachPortStatus;
use mig_runtime::{Ool, Port as PortArg, PortName, Request};

use crate::machine::Machine;
use crate::object::Ref;
use crate::port::{Port, RPC};
use crate::rpc::Rpc;
use crate::rpc_port::RpcTemplate;

impl<M: Machine> MachPortServer for Rpc<'_, M> {
    fn mach_port_names(&mut self, _: &Request<'_>) -> Result<MachPortNamesReply, i32> {
        let task = self.task()?;
        let count = u64::from(self.k.get(task).names_used);
        if count == 0 {
            return Ok(MachPortNamesReply { names: Ool::EMPTY, types: Ool::EMPTY });
        }
        let mut n = 0;
        let mut types = 0;
        let names = self.filled(count * 4, |rpc, names| {
            types = rpc.filled(count * 4, |rpc, types| {
                let mut after = 0;
                while n < count
                    && let Some((name, kind)) = rpc.k.mach_port_next(task, after)
                {
                    let first = rpc.k.write_u32(rpc.caller, names + n * 4, name);
                    rpc.end(first)?;
                    let second = rpc.k.write_u32(rpc.caller, types + n * 4, kind);
                    rpc.end(second)?;
                    n += 1;
                    after = name;
                }
                Ok(())
            })?;
            Ok(())
        })?;
        Ok(MachPortNamesReply { names: Ool::moved(names, n as u32), types: Ool::moved(types, n as u32) })
    }

    fn mach_port_type(&mut self, _: &Request<'_>, name: PortName) -> Result<MachPortTypeReply, i32> {
        let task = self.task()?;
        let ptype = self.k.mach_port_type(task, name.0);
        self.end(ptype).map(|ptype| MachPortTypeReply { ptype })
    }

    fn mach_port_rename(&mut self, _: &Request<'_>, old: PortName, new: PortName) -> Result<(), i32> {
        let task = self.task()?;
        let payer = self.k.payer_for(self.k.get(task).account);
        let result = self.k.mach_port_rename(task, old.0, new.0, payer);
        self.end(result)
    }

    fn mach_port_allocate_name(&mut self, _: &Request<'_>, right: u32, name: PortName) -> Result<(), i32> {
        let task = self.task()?;
        let payer = self.k.payer_in(task);
        let result = self.k.mach_port_allocate_name(task, right, name.0, payer);
        self.end(result)
    }

    fn mach_port_allocate(&mut self, _: &Request<'_>, right: u32) -> Result<MachPortAllocateReply, i32> {
        let task = self.task()?;
        let payer = self.k.payer_in(task);
        let name = self.k.mach_port_allocate(task, right, payer);
        self.end(name).map(|name| MachPortAllocateReply { name: PortName(name) })
    }

    fn mach_port_destroy(&mut self, _: &Request<'_>, name: PortName) -> Result<(), i32> {
        let task = self.task()?;
        let result = self.k.mach_port_destroy(task, name.0);
        self.end(result)
    }

    fn mach_port_deallocate(&mut self, _: &Request<'_>, name: PortName) -> Result<(), i32> {
        let task = self.task()?;
        let result = self.k.mach_port_deallocate(task, name.0);
        self.end(result)
    }

    fn mach_port_get_refs(
        &mut self,
        _: &Request<'_>,
        name: PortName,
        right: u32,
    ) -> Result<MachPortGetRefsReply, i32> {
        let task = self.task()?;
        let refs = self.k.mach_port_get_refs(task, name.0, right);
        self.end(refs).map(|refs| MachPortGetRefsReply { refs })
    }

    fn mach_port_mod_refs(
        &mut self,
        _: &Request<'_>,
        name: PortName,
        right: u32,
        delta: i32,
    ) -> Result<(), i32> {
        let task = self.task()?;
        let result = self.k.mach_port_mod_refs(task, name.0, right, delta);
        self.end(result)
    }

    fn mach_port_set_qlimit(&mut self, _: &Request<'_>, name: PortName, qlimit: u32) -> Result<(), i32> {
        let task = self.task()?;
        let result = self.k.mach_port_set_qlimit(task, name.0, qlimit);
        self.end(result)
    }

    fn mach_port_set_mscount(&mut self, _: &Request<'_>, name: PortName, mscount: u32) -> Result<(), i32> {
        let task = self.task()?;
        let result = self.k.mach_port_set_mscount(task, name.0, mscount);
        self.end(result)
    }

    fn mach_port_get_set_status(
        &mut self,
        _: &Request<'_>,
        name: PortName,
    ) -> Result<MachPortGetSetStatusReply, i32> {
        let task = self.task()?;
        let mut count = 0u64;
        let mut after = None;
        loop {
            let member: Ref<Port> = {
                let next = self.k.mach_port_set_member(task, name.0, after);
                self.end(next)?
            };
            if member.is_none() {
                break;
            }
            count += 1;
            after = Some(member);
        }
        if count == 0 {
            return Ok(MachPortGetSetStatusReply { members: Ool::EMPTY });
        }
        let address = self.filled(count * 4, |rpc, address| {
            let mut after = None;
            for i in 0..count {
                let next = rpc.k.mach_port_set_member(task, name.0, after);
                let member = rpc.end(next)?;
                let name = rpc.k.get(member).receive_name;
                let written = rpc.k.write_u32(rpc.caller, address + i * 4, name);
                rpc.end(written)?;
                after = Some(member);
            }
            Ok(())
        })?;
        Ok(MachPortGetSetStatusReply { members: Ool::moved(address, count as u32) })
    }

    fn mach_port_move_member(
        &mut self,
        _: &Request<'_>,
        member: PortName,
        after: PortName,
    ) -> Result<(), i32> {
        let task = self.task()?;
        let result = self.k.mach_port_move_member(task, member.0, after.0);
        self.end(result)
    }

    fn mach_port_request_notification(
        &mut self,
        _: &Request<'_>,
        name: PortName,
        id: i32,
        sync: u32,
        notify: PortArg,
    ) -> Result<MachPortRequestNotificationReply, i32> {
        let task = self.task()?;
        let payer = self.k.payer_in(task);
        let notify = (notify.name.0, notify.disposition);
        let previous =
            self.k.mach_port_request_notification(self.caller, task, name.0, id, sync, notify, payer);
        let (name, disposition) = self.end(previous)?;
        Ok(MachPortRequestNotificationReply { previous: PortArg::new(PortName(name), disposition) })
    }

    fn mach_port_insert_right(&mut self, _: &Request<'_>, name: PortName, poly: PortArg) -> Result<(), i32> {
        let task = self.task()?;
        let payer = self.k.payer_in(task);
        let poly = (poly.name.0, poly.disposition);
        let result = self.k.mach_port_insert_right(self.caller, task, name.0, poly, payer);
        self.end(result)
    }

    fn mach_port_extract_right(
        &mut self,
        _: &Request<'_>,
        name: PortName,
        msgt_name: u32,
    ) -> Result<MachPortExtractRightReply, i32> {
        let task = self.task()?;
        let payer = self.k.payer_in(self.caller);
        let poly = self.k.mach_port_extract_right(self.caller, task, name.0, msgt_name, payer);
        let (name, disposition) = self.end(poly)?;
        Ok(MachPortExtractRightReply { poly: PortArg::new(PortName(name), disposition) })
    }

    fn mach_port_get_receive_status(
        &mut self,
        _: &Request<'_>,
        name: PortName,
    ) -> Result<MachPortGetReceiveStatusReply, i32> {
        let task = self.task()?;
        let status = self.k.mach_port_get_receive_status(task, name.0);
        let s = self.end(status)?;
        Ok(MachPortGetReceiveStatusReply {
            status: MachPortStatus {
                mps_pset: PortName(s.pset),
                mps_seqno: s.seqno,
                mps_mscount: s.mscount,
                mps_qlimit: s.qlimit,
                mps_msgcount: s.msgcount,
                mps_sorights: s.sorights,
                mps_srights: s.srights != 0,
                mps_pdrequest: s.pdrequest != 0,
                mps_nsrequest: s.nsrequest != 0,
            },
        })
    }

    fn mach_port_set_seqno(&mut self, _: &Request<'_>, name: PortName, seqno: u32) -> Result<(), i32> {
        let task = self.task()?;
        let result = self.k.mach_port_set_seqno(task, name.0, seqno);
        self.end(result)
    }

    fn mach_port_set_protected_payload(
        &mut self,
        _: &Request<'_>,
        name: PortName,
        payload: u64,
    ) -> Result<(), i32> {
        let task = self.task()?;
        let result = self.k.mach_port_set_protected_payload(task, name.0, payload);
        self.end(result)
    }

    fn mach_port_clear_protected_payload(&mut self, _: &Request<'_>, name: PortName) -> Result<(), i32> {
        let task = self.task()?;
        let result = self.k.mach_port_clear_protected_payload(task, name.0);
        self.end(result)
    }
}

impl<M: Machine> DroverPortServer for Rpc<'_, M> {
    fn port_set_rpc(
        &mut self,
        _: &Request<'_>,
        name: PortName,
        entry: u64,
        unwind_entry: u64,
        unwind_cpu_ns: u64,
        unwind_frames: u64,
        payload: u64,
    ) -> Result<(), i32> {
        let task = self.task()?;
        let template = RpcTemplate { entry, unwind_entry, unwind_cpu: unwind_cpu_ns, unwind_frames, payload };
        let result = self.k.port_set_rpc(task, name.0, &template);
        self.end(result)
    }

    fn port_get_rpc_status(&mut self, _: &Request<'_>, name: PortName) -> Result<PortGetRpcStatusReply, i32> {
        let task = self.task()?;
        let port = self.k.port_of_receive(task, name.0);
        let port = self.end(port).map_err(|_| KERN_INVALID_RIGHT)?;
        let p = self.k.get(port);
        if p.head.flags != RPC {
            return Err(KERN_INVALID_VALUE);
        }
        Ok(PortGetRpcStatusReply {
            calls_in_flight: u64::from(p.calls),
            calls_total: p.calls_total,
            overruns: p.overruns,
        })
    }

    fn port_exit_stats(&mut self, _: &Request<'_>) -> Result<PortExitStatsReply, i32> {
        let task = self.task()?;
        let [ceiling, deadline, client_died, server_died, aborted] = self.k.get(task).exits;
        Ok(PortExitStatsReply { ceiling, deadline, client_died, server_died, aborted })
    }

    fn port_renew(
        &mut self,
        _: &Request<'_>,
        name: PortName,
        notify: PortName,
        payload: u64,
        sync: u32,
    ) -> Result<(), i32> {
        let task = self.task()?;
        if task != self.caller {
            return Err(KERN_INVALID_TASK);
        }
        let payer = self.k.payer_in(task);
        let result = self.k.port_renew(task, name.0, notify.0, payload, sync, payer);
        self.end(result)
    }
}
