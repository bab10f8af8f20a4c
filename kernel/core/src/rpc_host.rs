//! `drover_host.defs`, `mach_host.defs` and the console of `device.defs`.

use drover_abi::account::AccountInfo;
use drover_abi::returns::{KERN_INVALID_ARGUMENT, KERN_INVALID_HOST};
use hurd_stubs::device::{DeviceOpenReply, DeviceReadInbandReply, DeviceServer, DeviceWriteInbandReply};
use hurd_stubs::drover_host::{
    DroverHostServer, HostAccountSnapshotReply, HostCheckConservationOut, HostFramesReply, HostModuleOut,
    HostRootAccountReply,
};
use hurd_stubs::drover_vm::{DroverVmServer, VmObjectCreateReply};
use hurd_stubs::mach_host::{HostGetTime64Reply, HostGetTimeReply, HostGetUptime64Reply, MachHostServer};
use hurd_stubs::types::{TimeValue, TimeValue64};
use mig_runtime::{Array, Bounded, Ool, Port as PortArg, Request, Text};

use crate::account::Payer;
use crate::kernel::Stop;
use crate::machine::Machine;
use crate::object::{Kind, Ref};
use crate::rpc::{Rpc, bytes_of, until_nul};
use crate::thread::{ON_CONSOLE, RESUME_RESTART};

/// `D_INVALID_OPERATION`, `D_NO_SUCH_DEVICE`, `D_WOULD_BLOCK`.
const D_INVALID_OPERATION: i32 = 2505;
const D_NO_SUCH_DEVICE: i32 = 2502;
const D_WOULD_BLOCK: i32 = 2501;
/// `D_NOWAIT`.
const D_NOWAIT: u32 = 8;
/// Most bytes moved inband.
const INBAND: usize = 128;

/// Most accounts in a snapshot: those nearest to the root by the walk from parents to children.
const ROWS: u64 = 4096;

impl<M: Machine> Rpc<'_, M> {
    fn privileged(&self) -> Result<(), i32> {
        if self.kind == Kind::HostPriv as u32 { Ok(()) } else { Err(KERN_INVALID_HOST) }
    }

    fn any_host(&self) -> Result<(), i32> {
        if self.kind == Kind::Host as u32 { Ok(()) } else { self.privileged() }
    }

    fn console(&self) -> Result<(), i32> {
        if self.kind == Kind::Console as u32 { Ok(()) } else { Err(D_INVALID_OPERATION) }
    }

    fn clock(&self) -> (u64, u64) {
        let ns = self.k.machine.now() - self.k.boot_ns;
        (ns / 1_000_000_000, ns % 1_000_000_000)
    }
}

impl<M: Machine> DroverHostServer for Rpc<'_, M> {
    fn host_account_snapshot(&mut self, _: &Request<'_>) -> Result<HostAccountSnapshotReply, i32> {
        self.privileged()?;
        self.k.charge_time();
        let mut count = 0u64;
        let mut account = self.k.root;
        while account.is_some() {
            count += 1;
            account = if count < ROWS { self.k.next_account(account) } else { Ref::NONE };
        }
        let row = size_of::<AccountInfo>() as u64;
        let address = self.filled(count * row, |rpc, address| {
            let mut account = rpc.k.root;
            for i in 0..count {
                let info = rpc.k.account_row(account);
                let written = rpc.k.copyout(rpc.caller, address + i * row, bytes_of(&info));
                rpc.end(written)?;
                account = rpc.k.next_account(account);
            }
            Ok(())
        })?;
        Ok(HostAccountSnapshotReply { accounts: Ool::moved(address, count as u32) })
    }

    fn host_check_conservation(
        &mut self,
        _: &Request<'_>,
        first_violation: &mut Text<128>,
    ) -> Result<HostCheckConservationOut, i32> {
        self.privileged()?;
        self.k.check();
        first_violation.set(until_nul(&self.k.first_violation))?;
        Ok(HostCheckConservationOut { checks: self.k.checks, violations: self.k.violations })
    }

    fn host_root_account(&mut self, _: &Request<'_>) -> Result<HostRootAccountReply, i32> {
        self.privileged()?;
        let root = self.k.root;
        let port = self.k.account_port(root);
        let port = self.end(port)?;
        self.name_for(port).map(|account| HostRootAccountReply { account })
    }

    fn host_module(
        &mut self,
        _: &Request<'_>,
        index: i32,
        name: &mut Text<128>,
    ) -> Result<HostModuleOut, i32> {
        self.privileged()?;
        let index = usize::try_from(index).ok().filter(|&i| i < self.k.module_count);
        let module = self.k.modules[index.ok_or(KERN_INVALID_ARGUMENT)?];
        name.set(until_nul(&module.name))?;
        let port = self.k.memory_port(module.object);
        let port = self.end(port)?;
        let object = self.name_for(port)?;
        Ok(HostModuleOut { object, size: module.size })
    }

    fn host_boot_command_line(&mut self, _: &Request<'_>, command_line: &mut Text<1024>) -> Result<(), i32> {
        self.privileged()?;
        Ok(command_line.set(until_nul(&self.k.command_line))?)
    }

    fn host_frames(&mut self, _: &Request<'_>) -> Result<HostFramesReply, i32> {
        self.any_host()?;
        Ok(HostFramesReply {
            total: u64::from(self.k.total_frames),
            free: u64::from(self.k.free_frames),
            reserve: u64::from(self.k.kernel_frames + self.k.table_frames),
        })
    }

    fn host_set_checking(&mut self, _: &Request<'_>, every: i32) -> Result<(), i32> {
        self.privileged()?;
        self.k.check_every = u32::try_from(every).map_err(|_| KERN_INVALID_ARGUMENT)?;
        Ok(())
    }

    fn host_shutdown(&mut self, _: &Request<'_>, code: i32) -> Result<(), i32> {
        self.privileged()?;
        self.k.machine.shutdown(code as u32);
        Ok(())
    }
}

impl<M: Machine> MachHostServer for Rpc<'_, M> {
    fn host_get_time(&mut self, _: &Request<'_>) -> Result<HostGetTimeReply, i32> {
        self.any_host()?;
        let (seconds, ns) = self.clock();
        Ok(HostGetTimeReply {
            current_time: TimeValue { seconds: seconds as _, microseconds: (ns / 1000) as _ },
        })
    }

    fn host_get_time64(&mut self, _: &Request<'_>) -> Result<HostGetTime64Reply, i32> {
        self.any_host()?;
        let (seconds, ns) = self.clock();
        Ok(HostGetTime64Reply { current_time: TimeValue64 { seconds: seconds as _, nanoseconds: ns as _ } })
    }

    fn host_get_uptime64(&mut self, _: &Request<'_>) -> Result<HostGetUptime64Reply, i32> {
        self.any_host()?;
        let (seconds, ns) = self.clock();
        Ok(HostGetUptime64Reply { uptime: TimeValue64 { seconds: seconds as _, nanoseconds: ns as _ } })
    }

    fn host_get_kernel_version(
        &mut self,
        _: &Request<'_>,
        kernel_version: &mut Text<512>,
    ) -> Result<(), i32> {
        self.any_host()?;
        Ok(kernel_version.set(concat!("Drover ", env!("CARGO_PKG_VERSION")).as_bytes())?)
    }

    fn host_reboot(&mut self, _: &Request<'_>, options: i32) -> Result<(), i32> {
        self.privileged()?;
        self.k.machine.shutdown(options as u32);
        Ok(())
    }
}

impl<M: Machine> DeviceServer for Rpc<'_, M> {
    /// On the privileged host port (the device master): the kernel's only device is the console.
    fn device_open(
        &mut self,
        _: &Request<'_>,
        reply_port: PortArg,
        _mode: u32,
        name: &Text<128>,
    ) -> Result<DeviceOpenReply, i32> {
        let _ = reply_port;
        self.privileged()?;
        if name.as_bytes() != b"console" {
            return Err(D_NO_SUCH_DEVICE);
        }
        let port = self.k.console;
        let name = self.name_for(port)?;
        Ok(DeviceOpenReply { device: PortArg::new(name, drover_abi::message::msgt::PORT_SEND) })
    }

    fn device_close(&mut self, _: &Request<'_>) -> Result<(), i32> {
        self.console()
    }

    fn device_write_inband(
        &mut self,
        _: &Request<'_>,
        _reply_port: PortArg,
        _mode: u32,
        _recnum: u64,
        data: Array<'_, u8>,
    ) -> Result<DeviceWriteInbandReply, i32> {
        self.console()?;
        let mut bytes = [0; INBAND];
        let len = data.len().min(INBAND);
        for (byte, value) in bytes.iter_mut().zip(data.iter()) {
            *byte = value;
        }
        self.k.machine.console_write(&bytes[..len]);
        Ok(DeviceWriteInbandReply { bytes_written: len as i32 })
    }

    fn device_read_inband(
        &mut self,
        _: &Request<'_>,
        _reply_port: PortArg,
        mode: u32,
        _recnum: u64,
        bytes_wanted: i32,
    ) -> Result<DeviceReadInbandReply, i32> {
        self.console()?;
        let wanted = usize::try_from(bytes_wanted).unwrap_or(0).min(INBAND);
        let mut bytes = [0; INBAND];
        let mut len = 0;
        while len < wanted {
            match self.k.machine.console_read() {
                Some(byte) => bytes[len] = byte,
                None => break,
            }
            len += 1;
        }
        if len == 0 && wanted > 0 {
            if mode & D_NOWAIT != 0 || self.k.console_reader.is_some() {
                return Err(D_WOULD_BLOCK);
            }
            let may = self.k.may_wait();
            self.end(may)?;
            let stop = self.k.block(ON_CONSOLE, 0, RESUME_RESTART, u64::MAX);
            self.k.console_reader = self.k.current;
            return self.end(Err(stop));
        }
        Bounded::from_slice(&bytes[..len])
            .map(|data| DeviceReadInbandReply { data })
            .ok_or(D_INVALID_OPERATION)
    }
}

impl<M: Machine> DroverVmServer for Rpc<'_, M> {
    fn vm_object_create(&mut self, _: &Request<'_>, size: u64) -> Result<VmObjectCreateReply, i32> {
        let task = self.task()?;
        let payer = self.k.payer_in(task);
        let object = self.k.vm_object_create(payer, size);
        let object = self.end(object)?;
        let port = self.k.get(object).port;
        match self.name_for(port) {
            Ok(memory_object) => Ok(VmObjectCreateReply { memory_object }),
            Err(code) => {
                // Nobody has a right to it: the object goes with its port.
                self.k.port_die(port);
                self.k.reap();
                Err(code)
            }
        }
    }
}

impl<M: Machine> crate::kernel::Kernel<M> {
    /// Makes the host's ports (at boot; root pays).
    ///
    /// # Errors
    /// `KERN_RESOURCE_SHORTAGE`.
    pub(crate) fn make_host_ports(&mut self) -> Result<(), Stop> {
        let payer = Payer::account(self.root);
        self.host = self.kernel_port(payer, Kind::Host, 1)?;
        self.host_priv = self.kernel_port(payer, Kind::HostPriv, 1)?;
        self.console = self.kernel_port(payer, Kind::Console, 1)?;
        Ok(())
    }
}
