//! A disk in memory: device interface over a memory object (a boot module with a file system image).
//!
//! `storage NAME SIZE`: the object is descriptor 3, SIZE its bytes. The device master port goes to whoever started the program, as the control port of
//! `fsys_startup` at the bootstrap port; `device_open` of NAME there gives the device.
//!
//! Who pays: the object's pages are paid by whoever made it. A reader pays for the pages its data come in, and for I/O in units of 512 bytes,
//! as if there were a disk below. What is written stays in this program: a written page is its own, so at most as much as the disk holds. The server keeps
//! nothing per client: all opens share one port.
#![cfg_attr(target_os = "none", no_std, no_main)]

use libhurd::abi::returns::KERN_INVALID_ARGUMENT;
use libhurd::errno::{EINVAL, EIO, ENODEV, ENXIO, EOPNOTSUPP, describe};
use libhurd::loan::{give_back, pieces};
use libhurd::mig::{Array, Bounded, Loan, Outcome, Port, Request, Text, offer};
use libhurd::once::Once;
use libhurd::ool::{Pages, SharedMapping};
use libhurd::port::SendRight;
use libhurd::print::kernel_print;
use libhurd::server::{Object, Server, UnwindReserve};
use libhurd::stubs::device::{self, DeviceServer};
use libhurd::stubs::fsys::{fsys_startup, offer};
use libhurd::{Env, Mach, syscall};

/// Payload of the device master port.
const MASTER: u64 = 1;
/// Payload of the device.
const DISK: u64 = 2;
/// Bytes in a record.
const RECORD: u64 = 512;
/// Largest transfer.
const MAX_TRANSFER: u64 = 1 << 20;
/// `DEV_GET_SIZE`: bytes of the device, bytes of a record.
const DEV_GET_SIZE: u32 = 0;
/// `DEV_GET_RECORDS`: records, bytes of a record.
const DEV_GET_RECORDS: u32 = 1;

/// What the program serves.
struct Storage {
    memory: SharedMapping,
    disk: Object,
    /// Held for its life.
    _master: Object,
}

static STORAGE: Once<Storage> = Once::new();

/// The part of `size` bytes that a transfer of `wanted` bytes at record `recnum` may touch: offset and length.
fn extent(size: u64, recnum: u64, wanted: u64) -> Option<(u64, u64)> {
    let offset = recnum.checked_mul(RECORD).filter(|&at| at <= size)?;
    Some((offset, wanted.min(size - offset).min(MAX_TRANSFER)))
}

impl Storage {
    /// Charges the transfer and gives its place.
    fn transfer(&self, recnum: u64, wanted: u64) -> Result<(u64, usize), i32> {
        let (offset, len) = extent(self.memory.len(), recnum, wanted).ok_or(ENXIO)?;
        syscall::charge_io(len.div_ceil(RECORD))?;
        Ok((offset, len as usize))
    }

    fn read(&self, recnum: u64, out: &mut [u8]) -> Result<usize, i32> {
        let (offset, len) = self.transfer(recnum, out.len() as u64)?;
        Ok(self.memory.read(offset, &mut out[..len]))
    }

    fn write(&self, recnum: u64, data: &[u8]) -> Result<i32, i32> {
        let (offset, len) = self.transfer(recnum, data.len() as u64)?;
        Ok(self.memory.write(offset, &data[..len]) as i32)
    }
}

/// Serves one request.
struct Disk;

impl Disk {
    /// The storage, if the request came to the port with that payload.
    fn at(request: &Request<'_>, payload: u64) -> Result<&'static Storage, i32> {
        if request.target() == payload { STORAGE.get().ok_or(EIO) } else { Err(EOPNOTSUPP) }
    }
}

impl DeviceServer for Disk {
    fn device_open(
        &mut self,
        request: &Request<'_>,
        _: Port,
        _mode: u32,
        name: &Text<128>,
    ) -> Result<device::DeviceOpenReply, i32> {
        let storage = Self::at(request, MASTER)?;
        if libhurd::env::current().args().nth(1) != Some(name.as_bytes()) {
            return Err(ENODEV);
        }
        Ok(device::DeviceOpenReply { device: storage.disk.send() })
    }

    fn device_close(&mut self, request: &Request<'_>) -> Result<(), i32> {
        Self::at(request, DISK).map(|_| ())
    }

    fn device_read(
        &mut self,
        request: &Request<'_>,
        _: Port,
        _mode: u32,
        recnum: u64,
        bytes_wanted: i32,
    ) -> Result<device::DeviceReadReply, i32> {
        let storage = Self::at(request, DISK)?;
        let wanted = u64::try_from(bytes_wanted).map_err(|_| EINVAL)?.min(MAX_TRANSFER);
        let mut pages = Pages::new(wanted as usize)?;
        let len = storage.read(recnum, pages.bytes_mut())?;
        Ok(device::DeviceReadReply { data: pages.into_ool(len) })
    }

    fn device_read_inband(
        &mut self,
        request: &Request<'_>,
        _: Port,
        _mode: u32,
        recnum: u64,
        bytes_wanted: i32,
    ) -> Result<device::DeviceReadInbandReply, i32> {
        let storage = Self::at(request, DISK)?;
        let mut data = Bounded::<u8, 128>::new();
        let wanted = usize::try_from(bytes_wanted).map_err(|_| EINVAL)?.min(128);
        let len = storage.read(recnum, &mut data.storage()[..wanted])?;
        data.set_len(len);
        Ok(device::DeviceReadInbandReply { data })
    }

    fn device_write(
        &mut self,
        request: &Request<'_>,
        _: Port,
        _mode: u32,
        recnum: u64,
        data: Loan<'_, u8>,
    ) -> Result<device::DeviceWriteReply, i32> {
        let storage = Self::at(request, DISK)?;
        let (offset, len) = storage.transfer(recnum, data.len() as u64)?;
        let mut written = 0;
        pieces(&data, |piece| {
            let part = piece.get(..piece.len().min(len - written)).unwrap_or_default();
            written += storage.memory.write(offset + written as u64, part);
            Ok(())
        })?;
        give_back(&data);
        Ok(device::DeviceWriteReply { bytes_written: written as i32 })
    }

    fn device_write_inband(
        &mut self,
        request: &Request<'_>,
        _: Port,
        _mode: u32,
        recnum: u64,
        data: Array<'_, u8>,
    ) -> Result<device::DeviceWriteInbandReply, i32> {
        let storage = Self::at(request, DISK)?;
        Ok(device::DeviceWriteInbandReply { bytes_written: storage.write(recnum, data.as_bytes())? })
    }

    fn device_get_status(
        &mut self,
        request: &Request<'_>,
        flavor: u32,
        status_count: u32,
    ) -> Result<device::DeviceGetStatusReply, i32> {
        let size = Self::at(request, DISK)?.memory.len();
        let value = match flavor {
            DEV_GET_SIZE => size,
            DEV_GET_RECORDS => size / RECORD,
            _ => return Err(KERN_INVALID_ARGUMENT),
        };
        if status_count < 2 {
            return Err(KERN_INVALID_ARGUMENT);
        }
        let words = [i32::try_from(value).unwrap_or(i32::MAX), RECORD as i32];
        Ok(device::DeviceGetStatusReply { status: Bounded::from_slice(&words).ok_or(EIO)? })
    }
}

fn demux(request: &[u8], reply: &mut [u8]) -> Outcome {
    libhurd::dispatch!(request, reply, device => &mut Disk)
}

fn start(env: &Env) -> Result<&'static Server, i32> {
    let size =
        env.args().nth(2).and_then(|word| core::str::from_utf8(word).ok()?.parse().ok()).ok_or(EINVAL)?;
    let memory = SharedMapping::private(env.fd(3), size)?;
    let server = Server::new(demux, UnwindReserve::SMALL, |_| ())?;
    let (disk, master) = (server.object(DISK)?, server.object(MASTER)?);
    let control = master.send();
    STORAGE.set(Storage { memory, disk, _master: master }).map_err(|_| EIO)?;
    let reply = fsys_startup(&Mach, env.bootstrap(), 0, control, offer!(offer::FSYS_STARTUP))?;
    drop(SendRight::received(reply.realnode));
    Ok(server)
}

fn program(env: &'static Env) -> i32 {
    match start(env) {
        Ok(server) => server.run(),
        Err(code) => {
            kernel_print(format_args!("storage: cannot start: {} ({code:#x})\n", describe(code)));
            1
        }
    }
}

libhurd::entry!(program);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extents_stay_inside() {
        assert_eq!(extent(4096, 0, 100), Some((0, 100)));
        assert_eq!(extent(4096, 7, 1024), Some((3584, 512)));
        assert_eq!(extent(4096, 8, 1), Some((4096, 0)));
        assert_eq!(extent(4096, 9, 1), None);
        assert_eq!(extent(4096, u64::MAX / 2, 1), None);
        assert_eq!(extent(u64::MAX, 0, u64::MAX), Some((0, MAX_TRANSFER)));
    }
}
