//! Memory out of line: turning an address and a count into bytes, and back.

use alloc::vec::Vec;

use drover_abi::PAGE_SIZE;
use drover_abi::vm::{VM_PROT_READ, VM_PROT_WRITE};
use mig_runtime::{Data, Ool, OutData, PortName, Value};

use crate::vm;

/// Pages of this task's memory, unmapped on drop. In a call, the caller's: they go away with the window in any case.
#[derive(Debug)]
pub struct Pages {
    address: u64,
    /// Bytes in use.
    len: usize,
}

impl Pages {
    /// Zeroed pages for `len` bytes, at the current payer's expense.
    ///
    /// # Errors
    /// The kernel's.
    pub fn new(len: usize) -> Result<Self, i32> {
        let address = if len == 0 { 0 } else { vm::allocate(rounded(len as u64))? };
        Ok(Self { address, len })
    }

    /// Takes over memory that a reply brought.
    ///
    /// # Safety
    /// `ool` must come from a reply or request just received, and must be taken over once.
    #[must_use]
    pub const unsafe fn received(ool: Ool) -> Self {
        Self { address: ool.address, len: ool.bytes() as usize }
    }

    /// The bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        if self.address == 0 {
            return &[];
        }
        // SAFETY: the pages are mapped and this value's own.
        unsafe { core::slice::from_raw_parts(self.address as *const u8, self.len) }
    }

    /// The bytes.
    #[must_use]
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        if self.address == 0 {
            return &mut [];
        }
        // SAFETY: the pages are mapped and this value's own.
        unsafe { core::slice::from_raw_parts_mut(self.address as *mut u8, self.len) }
    }

    /// Address of the first byte.
    #[must_use]
    pub const fn address(&self) -> u64 {
        self.address
    }

    /// For a message: the first `len` bytes; the pages go with it.
    #[must_use]
    pub fn into_ool(self, len: usize) -> Ool {
        let this = core::mem::ManuallyDrop::new(self);
        let len = len.min(this.len);
        // Pages beyond the data would stay behind.
        let (kept, all) = (rounded(len as u64), rounded(this.len as u64));
        if kept < all {
            let _ = vm::deallocate(this.address + kept, all - kept);
        }
        if len == 0 { Ool::EMPTY } else { Ool::moved(this.address, len as u32) }
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        discard(self.address, self.len as u64);
    }
}

const fn rounded(bytes: u64) -> u64 {
    bytes.next_multiple_of(PAGE_SIZE as u64)
}

/// A memory object mapped for good and shared with others: bytes are copied in and out, never borrowed.
#[derive(Debug)]
pub struct SharedMapping {
    address: u64,
    len: u64,
}

impl SharedMapping {
    /// Maps the first `len` bytes of `object`, with `VM_PROT_` bits. The current payer pays for the mapping.
    ///
    /// # Errors
    /// The kernel's.
    pub fn new(object: PortName, len: u64, protection: i32) -> Result<Self, i32> {
        let size = rounded(len);
        let address = vm::map(object, vm::Mapping { size, offset: 0, copy: false, protection })?;
        Ok(Self { address, len })
    }

    /// Maps the first `len` bytes of `object` for reading and writing, copied on write: the object itself stays as it is, and pages that are
    /// written become the current payer's.
    ///
    /// # Errors
    /// The kernel's.
    pub fn private(object: PortName, len: u64) -> Result<Self, i32> {
        let protection = VM_PROT_READ | VM_PROT_WRITE;
        let address = vm::map(object, vm::Mapping { size: rounded(len), offset: 0, copy: true, protection })?;
        Ok(Self { address, len })
    }

    /// Bytes.
    #[must_use]
    pub const fn len(&self) -> u64 {
        self.len
    }

    /// No bytes.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Copies from `offset` into `out`; how much there was.
    pub fn read(&self, offset: u64, out: &mut [u8]) -> usize {
        let n = (out.len() as u64).min(self.len.saturating_sub(offset)) as usize;
        // SAFETY: the range is inside the mapping, which nobody borrows; `out` is other memory. Others may write meanwhile: any bytes
        // are valid bytes.
        unsafe {
            core::ptr::copy_nonoverlapping(
                (self.address + offset.min(self.len)) as *const u8,
                out.as_mut_ptr(),
                n,
            )
        };
        n
    }

    /// Copies `data` to `offset`; how much there was room for. The mapping must allow writing.
    pub fn write(&self, offset: u64, data: &[u8]) -> usize {
        let n = (data.len() as u64).min(self.len.saturating_sub(offset)) as usize;
        // SAFETY: as in `read`.
        unsafe {
            core::ptr::copy_nonoverlapping(data.as_ptr(), (self.address + offset.min(self.len)) as *mut u8, n)
        };
        n
    }
}

/// Frees memory that a message brought.
pub fn discard(address: u64, bytes: u64) {
    if address != 0 && bytes != 0 {
        // Fails only if it is gone already.
        let start = address & !(PAGE_SIZE as u64 - 1);
        let _ = vm::deallocate(start, rounded(address - start + bytes));
    }
}

/// Port names out of line.
pub(crate) fn names(address: u64, count: u32) -> impl Iterator<Item = PortName> {
    let names: &[u32] = if address == 0 || count == 0 {
        &[]
    } else {
        // SAFETY: the kernel has mapped a received message's memory, as long as its descriptor says; it is read only here.
        unsafe { core::slice::from_raw_parts(address as *const u32, count as usize) }
    };
    names.iter().map(|&name| PortName(name))
}

/// Calls `body` with the bytes of an array in a request, wherever they are.
pub fn with_bytes<R>(data: &Data<'_, u8>, body: impl FnOnce(&[u8]) -> R) -> R {
    match data {
        Data::Inline(array) => body(array.as_bytes()),
        Data::Ool(ool) if ool.address != 0 => {
            // SAFETY: the kernel has mapped the request's memory, as long as its descriptor says, and the borrow of the
            // request keeps it from being released.
            body(unsafe { core::slice::from_raw_parts(ool.address as *const u8, ool.bytes() as usize) })
        }
        Data::Ool(_) => body(&[]),
    }
}

/// The handler has used an array of a request: its memory, if it came out of line, is freed. For a request that is answered with
/// success; otherwise the server releases everything.
pub fn finished<T: Value>(data: &Data<'_, T>) {
    if let Data::Ool(ool) = data {
        discard(ool.address, ool.bytes());
    }
}

/// The values of an array in a request, copied.
pub fn values<T: Value>(data: &Data<'_, T>) -> Vec<T> {
    match data {
        Data::Inline(array) => array.iter().collect(),
        Data::Ool(ool) => {
            let bytes: &[u8] = if ool.address == 0 {
                &[]
            } else {
                // SAFETY: as in `with_bytes`.
                unsafe { core::slice::from_raw_parts(ool.address as *const u8, ool.count as usize * T::SIZE) }
            };
            bytes.chunks_exact(T::SIZE).map(T::load).collect()
        }
    }
}

/// Takes the bytes out of an array in a reply; its pages are freed.
#[must_use]
pub fn take_bytes<const N: usize>(data: OutData<u8, N>) -> Vec<u8> {
    match data {
        OutData::Inline(bytes) => bytes.as_slice().to_vec(),
        // SAFETY: the reply's memory, taken over once because `data` is consumed.
        OutData::Ool(ool) => unsafe { Pages::received(ool) }.bytes().to_vec(),
    }
}

/// Copies the bytes of an array in a reply into `out` and frees its pages; how many there were, at most `out.len()`.
pub fn copy_bytes<const N: usize>(data: OutData<u8, N>, out: &mut [u8]) -> usize {
    let copy = |bytes: &[u8], out: &mut [u8]| {
        let n = bytes.len().min(out.len());
        out[..n].copy_from_slice(&bytes[..n]);
        n
    };
    match data {
        OutData::Inline(bytes) => copy(bytes.as_slice(), out),
        // SAFETY: as in `take_bytes`.
        OutData::Ool(ool) => copy(unsafe { Pages::received(ool) }.bytes(), out),
    }
}

/// The values of an array in a reply; its pages are freed.
#[must_use]
pub fn take_values<T: Value, const N: usize>(data: OutData<T, N>) -> Vec<T> {
    match data {
        OutData::Inline(values) => values.as_slice().to_vec(),
        OutData::Ool(ool) => {
            // SAFETY: as in `take_bytes`.
            let pages = unsafe { Pages::received(Ool { element: T::SIZE as u32, ..ool }) };
            pages.bytes().chunks_exact(T::SIZE).map(T::load).collect()
        }
    }
}

/// An array for a reply: in the message if it fits, else in pages that go with it.
///
/// # Errors
/// The kernel's, if there is no memory for the pages.
pub fn reply_bytes<const N: usize>(bytes: &[u8]) -> Result<OutData<u8, N>, i32> {
    if let Some(data) = OutData::from_slice(bytes) {
        return Ok(data);
    }
    let mut pages = Pages::new(bytes.len())?;
    pages.bytes_mut().copy_from_slice(bytes);
    Ok(OutData::Ool(pages.into_ool(bytes.len())))
}

/// As [`reply_bytes`], for other values.
///
/// # Errors
/// As for [`reply_bytes`].
pub fn reply_values<T: Value, const N: usize>(values: &[T]) -> Result<OutData<T, N>, i32> {
    if let Some(data) = OutData::from_slice(values) {
        return Ok(data);
    }
    let mut pages = Pages::new(values.len() * T::SIZE)?;
    for (chunk, value) in pages.bytes_mut().chunks_exact_mut(T::SIZE).zip(values) {
        value.store(chunk);
    }
    let mut ool = pages.into_ool(values.len() * T::SIZE);
    ool.count = values.len() as u32;
    Ok(OutData::Ool(ool))
}
