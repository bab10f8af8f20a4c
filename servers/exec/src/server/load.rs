//! Reading a file and loading what is in it.
//!
//! In the worlds where callers pay, nothing is kept: a buffer and the decoder's blocks lie in the call's arena, and the program goes into the target as it
//! comes. In the classic world a compressed program is unpacked into exec's own memory first, under its format's lock, as in 2013.

use alloc::vec::Vec;

use exec_image::decode::{Codec, Decoder};
use exec_image::elf::Plan;
use exec_image::limits::{BUFFER_BYTES, decoder_memory};
use exec_image::memory::Region;
use exec_image::source::{Source, SourceError, load, load_slice};
use exec_image::stream::Loader;
use exec_image::whole::{Input, WholeError, decode_all, load_stream};
use libhurd::abi::returns::KERN_RESOURCE_SHORTAGE;
use libhurd::lock::{ClassicGuard, ClassicMutex};
use libhurd::mig::PortName;
use libhurd::stubs::io;
use libhurd::{Mach, ool};

use super::growing::Growing;
use super::onward;
use super::policy::Policy;
use super::target::Target;

/// Where static-pie programs go.
const PIE_BASE: u64 = 0x5000_0000;

/// 2013's function statics: all compressed programs of one kind wait for each other.
static GZIP: ClassicMutex<()> = ClassicMutex::new(());
/// See [`GZIP`].
static BZIP2: ClassicMutex<()> = ClassicMutex::new(());

/// A file behind a port: whose port it is, and what it answers, is the client's affair.
#[derive(Clone, Copy)]
pub(super) struct FilePort(pub(super) PortName);

impl FilePort {
    /// Reads at `offset`.
    pub(super) fn read(self, offset: u64, into: &mut [u8]) -> Result<usize, i32> {
        let at = i64::try_from(offset).map_err(|_| libhurd::errno::EFBIG)?;
        let reply = io::io_read(&Mach, self.0, at, into.len() as u64, &onward())?;
        Ok(ool::copy_bytes(reply.data, into))
    }

    /// Fills `into` from the file's beginning; how much there was.
    pub(super) fn head(self, into: &mut [u8]) -> Result<usize, i32> {
        let mut have = 0;
        loop {
            let room = into.get_mut(have..).unwrap_or_default();
            if room.is_empty() {
                return Ok(have);
            }
            match self.read(have as u64, room)? {
                0 => return Ok(have),
                n => have += n,
            }
        }
    }
}

impl Source for FilePort {
    type Error = i32;

    fn read_at(&mut self, offset: u64, into: &mut [u8]) -> Result<usize, i32> {
        self.read(offset, into)
    }
}

/// A file read from beginning to end.
struct Sequence {
    file: FilePort,
    offset: u64,
    chunk: Vec<u8>,
}

impl Input for Sequence {
    type Error = i32;

    fn next(&mut self) -> Result<&[u8], i32> {
        let n = self.file.read(self.offset, &mut self.chunk)?;
        self.offset += n as u64;
        Ok(self.chunk.get(..n).unwrap_or_default())
    }
}

fn buffer(bytes: usize) -> Result<Vec<u8>, i32> {
    let mut buffer = Vec::new();
    buffer.try_reserve_exact(bytes).map_err(|_| KERN_RESOURCE_SHORTAGE)?;
    buffer.resize(bytes, 0);
    Ok(buffer)
}

/// Loads the uncompressed program in `file`.
///
/// # Errors
/// The file's faults, those of reading it, the target's.
pub(super) fn plain(mut file: FilePort, target: &mut Target) -> Result<Plan, i32> {
    let mut buffer = buffer(BUFFER_BYTES)?;
    load(&mut file, PIE_BASE, &mut buffer, target).map_err(|error| match error {
        SourceError::Elf(error) => error.code(),
        SourceError::Source(code) | SourceError::Sink(code) => code,
    })
}

/// Loads the compressed program in `file`.
///
/// # Errors
/// As for [`plain`], and `EIO` for damaged data.
pub(super) fn packed(file: FilePort, codec: Codec, policy: Policy, target: &mut Target) -> Result<Plan, i32> {
    let _one_at_a_time: Option<ClassicGuard<()>> = match codec {
        Codec::Gzip if policy.locks => Some(GZIP.lock()?),
        Codec::Bzip2 { .. } if policy.locks => Some(BZIP2.lock()?),
        _ => None,
    };
    let mut input = Sequence { file, offset: 0, chunk: buffer(BUFFER_BYTES)? };
    let mut output = buffer(BUFFER_BYTES)?;
    // Room for the largest block size: later streams of a file may have a larger one than the first. A page costs when it is touched.
    let room = match codec {
        Codec::Bzip2 { .. } => decoder_memory(Codec::Bzip2 { level: 9 }) + Region::SLACK,
        _ => 0,
    };
    let mut memory: Vec<u8> = Vec::new();
    memory.try_reserve_exact(room).map_err(|_| KERN_RESOURCE_SHORTAGE)?;
    let mut region = Region::new(memory.spare_capacity_mut());
    let decoder = Decoder::new(codec, &mut output, &mut region).map_err(|error| error.code())?;
    if !policy.whole {
        return load_stream(&mut input, decoder, Loader::new(PIE_BASE), target).map_err(code);
    }
    let mut image = Growing::new()?;
    decode_all(&mut input, decoder, &mut image).map_err(code)?;
    load_slice(image.bytes(), PIE_BASE, target).map_err(|error| match error {
        SourceError::Elf(error) => error.code(),
        SourceError::Source(never) => match never {},
        SourceError::Sink(code) => code,
    })
}

fn code(error: WholeError<i32, i32>) -> i32 {
    match error {
        WholeError::Input(code) | WholeError::Sink(code) => code,
        WholeError::Decode(error) => error.code(),
        WholeError::Elf(error) => error.code(),
    }
}
