//! The device below: the block cache in front of `device_read` and `device_write`.
//!
//! Who pays: the cache is this server's own; each transfer is charged as I/O to whoever's call needs it, before it is made. The cache's lock is held while
//! bytes are copied, never over a call to the device.

use alloc::vec::Vec;

use ext2::Device;
use libhurd::errno::EIO;
use libhurd::lock::Mutex;
use libhurd::mig::{OutData, PortName, offer};
use libhurd::port::SendRight;
use libhurd::stubs::device::{self, offer};
use libhurd::{Mach, ool, syscall};

use super::cache::{Cache, UNIT};

/// Bytes of a sector, the unit in which I/O is charged.
const SECTOR: u64 = 512;
/// Pieces read from the device at a time.
const CLUSTER: usize = 16;
/// `D_READ | D_WRITE` of `device_open`.
const D_READ_WRITE: u32 = 3;
/// `D_READ`.
const D_READ: u32 = 1;
/// `DEV_GET_SIZE`: flavour of `device_get_status`.
const DEV_GET_SIZE: u32 = 0;
/// Words of its answer: size in bytes, record size in bytes.
const DEV_GET_SIZE_COUNT: u32 = 2;

/// The device and its cache.
pub(super) struct Store {
    device: SendRight,
    /// Bytes of a device record: the unit of record numbers.
    record: u64,
    cache: Mutex<Cache>,
}

impl Store {
    /// Opens the device `name`, for writing too if `write`.
    ///
    /// # Errors
    /// The device server's.
    pub(super) fn open(master: PortName, name: &[u8], write: bool, pieces: usize) -> Result<Self, i32> {
        let mode = if write { D_READ_WRITE } else { D_READ };
        let device = SendRight::received(
            device::device_open(&Mach, master, mode, name, offer!(offer::DEVICE_OPEN))?.device,
        )?;
        let status = device::device_get_status(
            &Mach,
            device.name(),
            DEV_GET_SIZE,
            DEV_GET_SIZE_COUNT,
            offer!(offer::DEVICE_GET_STATUS),
        );
        let record = match status {
            Ok(reply) => reply.status.as_slice().get(1).copied().unwrap_or(0),
            Err(_) => 0,
        };
        // Devices that do not tell have sectors.
        let record = u64::try_from(record).ok().filter(|&size| size.is_power_of_two()).unwrap_or(SECTOR);
        if record > UNIT as u64 {
            return Err(EIO);
        }
        Ok(Self { device, record, cache: Mutex::new(Cache::new(pieces)) })
    }

    /// Copies from the cache what is there of `out`, from the front; how many bytes, and the generation of the cache.
    fn copy_cached(&self, offset: u64, out: &mut [u8]) -> Result<(usize, u64), i32> {
        let mut done = 0;
        loop {
            let at = offset + done as u64;
            let (piece, within) = (at / UNIT as u64, (at % UNIT as u64) as usize);
            let end = (done + UNIT - within).min(out.len());
            let part = out.get_mut(done..end).unwrap_or_default();
            // One piece at a time: the section stays short.
            let mut cache = self.cache.lock()?;
            if part.is_empty() || !cache.copy(piece, within, part) {
                return Ok((done, cache.generation()));
            }
            done = end;
            if done == out.len() {
                return Ok((done, cache.generation()));
            }
        }
    }

    /// Reads pieces from `first` on, at most `count`, keeps them and returns them; fewer at the end of the device.
    fn fetch(&self, first: u64, count: usize, generation: u64) -> Result<Vec<u8>, i32> {
        let bytes = count.min(CLUSTER) * UNIT;
        syscall::charge_io(bytes as u64 / SECTOR)?;
        let record = first * (UNIT as u64 / self.record);
        let reply = device::device_read(
            &Mach,
            self.device.name(),
            0,
            record,
            bytes as i32,
            offer!(offer::DEVICE_READ),
        )?;
        let data = ool::take_bytes(OutData::<u8, 1>::Ool(reply.data));
        for (index, piece) in (first..).zip(data.chunks(UNIT)) {
            self.cache.lock()?.insert(index, piece, generation);
        }
        Ok(data)
    }

    fn forget(&self, offset: u64, len: usize) -> Result<(), i32> {
        let end = offset + len as u64;
        for piece in offset / UNIT as u64..end.div_ceil(UNIT as u64) {
            self.cache.lock()?.forget(piece);
        }
        Ok(())
    }
}

impl Device for Store {
    type Error = i32;

    fn read(&self, offset: u64, buf: &mut [u8]) -> Result<(), i32> {
        let mut done = 0;
        loop {
            let at = offset.checked_add(done as u64).ok_or(EIO)?;
            let rest = buf.get_mut(done..).unwrap_or_default();
            let (copied, generation) = self.copy_cached(at, rest)?;
            done += copied;
            if done == buf.len() {
                return Ok(());
            }
            let at = offset.checked_add(done as u64).ok_or(EIO)?;
            let (first, within) = (at / UNIT as u64, (at % UNIT as u64) as usize);
            let pieces = (within + buf.len() - done).div_ceil(UNIT);
            let data = self.fetch(first, pieces, generation)?;
            let rest = buf.get_mut(done..).unwrap_or_default();
            let have = data.get(within..).unwrap_or_default();
            let n = have.len().min(rest.len());
            if n == 0 {
                return Err(EIO);
            }
            if let (Some(to), Some(from)) = (rest.get_mut(..n), have.get(..n)) {
                to.copy_from_slice(from);
            }
            done += n;
        }
    }

    fn write(&self, offset: u64, buf: &[u8]) -> Result<(), i32> {
        // Whole records: what surrounds the bytes is read first. The caller is the only writer.
        let start = offset / self.record * self.record;
        let end = offset.checked_add(buf.len() as u64).ok_or(EIO)?.next_multiple_of(self.record);
        let mut whole = alloc::vec![0; usize::try_from(end - start).map_err(|_| EIO)?];
        self.read(start, &mut whole)?;
        let within = (offset - start) as usize;
        whole.get_mut(within..within + buf.len()).ok_or(EIO)?.copy_from_slice(buf);
        syscall::charge_io(whole.len() as u64 / SECTOR)?;
        self.forget(start, whole.len())?;
        let written = device::device_write(
            &Mach,
            self.device.name(),
            0,
            start / self.record,
            &whole,
            offer!(offer::DEVICE_WRITE),
        );
        self.forget(start, whole.len())?;
        if usize::try_from(written?.bytes_written) == Ok(whole.len()) { Ok(()) } else { Err(EIO) }
    }
}
