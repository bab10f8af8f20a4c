//! The device below the file system, and reading of plain-old-data records from it.

use zerocopy::{FromBytes, Immutable, IntoBytes};

use super::error::Error;

/// Bytes at an offset. `&self`, because several threads may be inside the file system at once.
///
/// The library reads and writes any length at any byte offset (an inode is 128 bytes, a pointer 4); caching whole blocks
/// behind this trait is what makes that cheap, and is the implementor's business, as are the charges for it.
pub trait Device {
    /// Why a transfer failed.
    type Error;

    /// Fills `buf` from byte `offset` on. A range that ends beyond the device is an error.
    fn read(&self, offset: u64, buf: &mut [u8]) -> Result<(), Self::Error>;

    /// Writes all of `buf` from byte `offset` on. A range that ends beyond the device is an error.
    fn write(&self, offset: u64, buf: &[u8]) -> Result<(), Self::Error>;
}

/// Reads one on-disk record.
pub(super) fn read_record<D, T>(dev: &D, offset: u64) -> Result<T, Error<D::Error>>
where
    D: Device + ?Sized,
    T: FromBytes + IntoBytes,
{
    let mut record = T::new_zeroed();
    dev.read(offset, record.as_mut_bytes()).map_err(Error::Device)?;
    Ok(record)
}

/// Writes one on-disk record.
pub(super) fn write_record<D, T>(dev: &D, offset: u64, record: &T) -> Result<(), Error<D::Error>>
where
    D: Device + ?Sized,
    T: IntoBytes + Immutable,
{
    dev.write(offset, record.as_bytes()).map_err(Error::Device)
}
