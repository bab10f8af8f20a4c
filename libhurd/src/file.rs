//! Files for programs: names, reading, writing, directories. Every function takes an offer; the caller pays.

use alloc::vec::Vec;

use drover_abi::returns::MIG_BAD_ID;
use drover_abi::startup::{INIT_PORT_AUTH, INIT_PORT_CRDIR, INIT_PORT_CWDIR};
use hurd_stubs::types::IoStatbuf;
use hurd_stubs::{auth, fs, io};
use mig_runtime::{Donation, PortName, offer};

use crate::errno::{EBADF, EIO, ENOENT, ENOTDIR, EOPNOTSUPP};
use crate::lookup::{Next, Progress, split_root};
use crate::ool;
use crate::port::{ReceiveRight, SendRight};
use crate::rpc::Mach;
use crate::{env, syscall};

/// Open for reading.
pub const O_READ: i32 = 1;
/// Open for writing.
pub const O_WRITE: i32 = 2;
/// Open for execution.
pub const O_EXEC: i32 = 4;
/// Do not follow a translator on the last component.
pub const O_NOTRANS: i32 = 0x80;
/// Do not follow a link on the last component.
pub const O_NOLINK: i32 = 0x40;
/// Must be a directory.
pub const O_DIRECTORY: i32 = 0x20_0000;

/// The file pointer's offset, as `io_read` and `io_write` take it.
pub const AT_POINTER: i64 = -1;

/// Mode bits: kind of file.
pub const S_IFMT: u32 = 0o170_000;
/// Directory.
pub const S_IFDIR: u32 = 0o040_000;
/// Regular file.
pub const S_IFREG: u32 = 0o100_000;
/// Symbolic link.
pub const S_IFLNK: u32 = 0o120_000;
/// Character device.
pub const S_IFCHR: u32 = 0o020_000;
/// The node has a passive translator.
pub const S_IPTRANS: u32 = 0o010_000_000;
/// The node has an active translator.
pub const S_IATRANS: u32 = 0o020_000_000;

/// An open file (or whatever a name stands for).
#[derive(Debug)]
pub struct File(SendRight);

/// Where relative names start, and who we are.
#[derive(Clone, Copy, Debug)]
pub struct Context {
    /// Root directory.
    pub root: PortName,
    /// Current directory.
    pub cwd: PortName,
    /// Authority, null for none.
    pub auth: PortName,
}

impl Context {
    /// That of this program.
    #[must_use]
    pub fn current() -> Self {
        let env = env::current();
        Self {
            root: env.port(INIT_PORT_CRDIR),
            cwd: env.port(INIT_PORT_CWDIR),
            auth: env.port(INIT_PORT_AUTH),
        }
    }
}

impl File {
    /// Takes over a send right to a file.
    #[must_use]
    pub const fn from_right(right: SendRight) -> Self {
        Self(right)
    }

    /// Opens a file by name.
    ///
    /// # Errors
    /// The file system's errno, `ELOOP` after 32 retries, the code of the offer's ceiling.
    pub fn open(path: &[u8], flags: i32, offer: &Donation) -> Result<Self, i32> {
        Self::open_in(Context::current(), path, flags, offer)
    }

    /// As [`File::open`], with other directories and another authority.
    ///
    /// # Errors
    /// As for [`File::open`].
    pub fn open_in(context: Context, path: &[u8], flags: i32, offer: &Donation) -> Result<Self, i32> {
        lookup(context, path, flags, offer).map(Self)
    }

    /// The port.
    #[must_use]
    pub const fn port(&self) -> PortName {
        self.0.name()
    }

    /// The right itself.
    #[must_use]
    pub fn into_right(self) -> SendRight {
        self.0
    }

    /// Reads at the file pointer into `buffer`; how much, 0 at the end.
    ///
    /// # Errors
    /// The server's.
    pub fn read(&self, buffer: &mut [u8], offer: &Donation) -> Result<usize, i32> {
        self.read_at(AT_POINTER, buffer, offer)
    }

    /// Reads at an offset.
    ///
    /// # Errors
    /// The server's.
    pub fn read_at(&self, offset: i64, buffer: &mut [u8], offer: &Donation) -> Result<usize, i32> {
        let reply = io::io_read(&Mach, self.port(), offset, buffer.len() as u64, offer)?;
        Ok(ool::copy_bytes(reply.data, buffer))
    }

    /// Reads to the end, at most `max` bytes.
    ///
    /// # Errors
    /// The server's; `EFBIG` if there is more, `ENOMEM` if it does not fit in memory.
    pub fn read_all(&self, max: usize, offer: &Donation) -> Result<Vec<u8>, i32> {
        let mut all = Vec::new();
        loop {
            let reply = io::io_read(&Mach, self.port(), AT_POINTER, 64 * 1024, offer)?;
            let part = ool::take_bytes(reply.data);
            if part.is_empty() {
                return Ok(all);
            }
            if part.len() > max - all.len() {
                return Err(crate::errno::EFBIG);
            }
            all.try_reserve(part.len()).map_err(|_| crate::errno::ENOMEM)?;
            all.extend_from_slice(&part);
        }
    }

    /// Writes all of `bytes` at the file pointer.
    ///
    /// # Errors
    /// The server's; `EIO` if it takes nothing.
    pub fn write_all(&self, bytes: &[u8], offer: &Donation) -> Result<(), i32> {
        write_all_to(self.port(), bytes, offer)
    }

    /// What is known about it.
    ///
    /// # Errors
    /// The server's.
    pub fn stat(&self, offer: &Donation) -> Result<IoStatbuf, i32> {
        Ok(io::io_stat(&Mach, self.port(), offer)?.stat_info)
    }

    /// Some entries of a directory from number `first` on, in the wire's form: see [`entries`]. Empty at the end.
    ///
    /// # Errors
    /// The server's.
    pub fn read_dir(&self, first: i32, offer: &Donation) -> Result<Vec<u8>, i32> {
        let reply = fs::dir_readdir(&Mach, self.port(), first, -1, 32 * 1024, offer)?;
        Ok(if reply.amount <= 0 { Vec::new() } else { ool::take_bytes(reply.data) })
    }
}

/// One entry of a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    /// Inode number.
    pub ino: u64,
    /// Kind; 0 = unknown.
    pub kind: u8,
    /// Name.
    pub name: &'a [u8],
}

/// Bytes of a `struct dirent` before its name: inode (8), record length (2), kind (1), name length (1).
pub const DIRENT_HEADER: usize = 12;

/// The entries in what [`File::read_dir`] returned; ends at the first one that is not whole.
pub fn entries(mut data: &[u8]) -> impl Iterator<Item = Entry<'_>> {
    core::iter::from_fn(move || {
        let header: &[u8; DIRENT_HEADER] = data.first_chunk()?;
        let ino = u64::from_le_bytes(*header.first_chunk()?);
        let [len @ .., kind, name_len] = *header.last_chunk::<4>()?;
        let name = data.get(DIRENT_HEADER..DIRENT_HEADER + usize::from(name_len))?;
        let len = usize::from(u16::from_le_bytes(len));
        data = data.get(len.max(DIRENT_HEADER)..).unwrap_or(&[]);
        Some(Entry { ino, kind, name })
    })
}

/// Appends an entry in the wire's form; what [`entries`] reads.
pub fn push_entry(data: &mut Vec<u8>, entry: Entry<'_>) {
    let name = &entry.name[..entry.name.len().min(255)];
    let len = (DIRENT_HEADER + name.len() + 1).next_multiple_of(8);
    let end = data.len() + len;
    data.extend_from_slice(&entry.ino.to_le_bytes());
    data.extend_from_slice(&(len as u16).to_le_bytes());
    data.extend_from_slice(&[entry.kind, name.len() as u8]);
    data.extend_from_slice(name);
    data.resize(end, 0);
}

/// Writes to a descriptor's port, for `print!`.
pub(crate) fn write_all(port: PortName, bytes: &[u8]) -> Result<(), i32> {
    write_all_to(port, bytes, offer!(io::offer::IO_WRITE))
}

fn write_all_to(port: PortName, mut bytes: &[u8], offer: &Donation) -> Result<(), i32> {
    while !bytes.is_empty() {
        let written = io::io_write(&Mach, port, bytes, AT_POINTER, offer)?.amount;
        if written == 0 {
            return Err(EIO);
        }
        bytes = bytes.get(written as usize..).unwrap_or(&[]);
    }
    Ok(())
}

/// Shows `port` who we are; the port that it answers with.
///
/// The order differs from the Hurd's, where the server's half runs elsewhere: here a one-way message to a server runs on our own thread, so we
/// tell auth first, then the server, which finds that told, then collect the port.
///
/// # Errors
/// Auth's; `KERN_TIMEDOUT` when the server never asks.
pub fn reauthenticate(authority: PortName, port: PortName, offer: &Donation) -> Result<SendRight, i32> {
    let rendezvous = ReceiveRight::from_name(syscall::mach_reply_port());
    hurd_stubs::drover_auth::auth_user_offer(&Mach, authority, rendezvous.make_send(), offer)?;
    io::io_reauthenticate(&Mach, port, rendezvous.make_send(), offer)?;
    let reply = auth::auth_user_authenticate(&Mach, authority, rendezvous.make_send(), offer)?;
    SendRight::received(reply.newport)
}

/// Looks a name up, with the whole retry protocol (see [`crate::lookup`]).
///
/// # Errors
/// As for [`File::open`].
pub fn lookup(context: Context, path: &[u8], flags: i32, offer: &Donation) -> Result<SendRight, i32> {
    if path.is_empty() {
        return Err(ENOENT);
    }
    let (absolute, name) = split_root(path);
    let start = if absolute { context.root } else { context.cwd };
    if !start.is_valid() {
        return Err(ENOENT);
    }
    let mut progress = Progress::default();
    let mut held = SendRight::NULL;
    let mut reply = ask(start, name, flags, offer)?;
    loop {
        let result = SendRight::received(reply.result)?;
        let next = progress.next(reply.do_retry, reply.retry_name.as_bytes())?;
        // The directory asked so far is kept until its answer has been used.
        drop(core::mem::take(&mut held));
        let answer = match next {
            Next::Done => return if result.is_valid() { Ok(result) } else { Err(EIO) },
            Next::OnResult(rest) => {
                held = result;
                ask(held.name(), rest, flags, offer)?
            }
            Next::Reauthenticate(rest) => {
                held = if context.auth.is_valid() {
                    reauthenticate(context.auth, result.name(), offer)?
                } else {
                    result
                };
                ask(held.name(), rest, flags, offer)?
            }
            Next::OnRoot(rest) => ask(context.root, rest, flags, offer)?,
            Next::OnDescriptor(number, rest) => {
                let fd = env::current().fd(number);
                if !fd.is_valid() {
                    return Err(EBADF);
                }
                if rest.is_empty() {
                    return SendRight::another(fd);
                }
                ask(fd, rest, flags, offer)?
            }
        };
        reply = answer;
    }
}

fn ask(dir: PortName, name: &[u8], flags: i32, offer: &Donation) -> Result<fs::DirLookupReply, i32> {
    fs::dir_lookup(&Mach, dir, name, flags, 0, offer).map_err(|error| match error.code() {
        EOPNOTSUPP | MIG_BAD_ID => ENOTDIR,
        code => code,
    })
}

/// A null result of a lookup, for servers that answer with a retry alone.
pub const NO_RESULT: mig_runtime::Port =
    mig_runtime::Port::new(PortName::NULL, drover_abi::message::msgt::COPY_SEND);

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    #[test]
    fn directory_entries_round_trip() {
        let list = [
            Entry { ino: 2, kind: 4, name: b"." },
            Entry { ino: 77, kind: 0, name: b"a-longer-name" },
            Entry { ino: u64::MAX, kind: 8, name: &[b'x'; 255] },
        ];
        let mut data = Vec::new();
        list.iter().for_each(|entry| push_entry(&mut data, *entry));
        assert_eq!(entries(&data).collect::<Vec<_>>(), list);
        for cut in 0..data.len() {
            assert!(entries(&data[..cut]).count() <= 3);
        }
        assert_eq!(entries(&[0; 100]).count(), 8, "a record length of 0 does not stop the walk");
    }

    #[test]
    fn without_directories_nothing_is_found() {
        let none = Context { root: PortName::NULL, cwd: PortName::NULL, auth: PortName::NULL };
        let offer = &Donation::ALL;
        assert_eq!(lookup(none, b"/x", 0, offer).map(|_| ()), Err(ENOENT));
        assert_eq!(lookup(none, b"", 0, offer).map(|_| ()), Err(ENOENT));
    }
}
