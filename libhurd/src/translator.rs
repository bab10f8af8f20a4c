//! A translator of one node: what it says when it is read, and the rest is here.
//!
//! ```ignore
//! struct Hello;
//! impl Node for Hello {
//!     fn size(&self) -> u64 { 14 }
//!     fn read(&self, offset: u64, out: &mut [u8]) -> Result<usize, i32> { ... }
//! }
//! static HELLO: Hello = Hello;
//! fn program(_: &'static Env) -> i32 { translator::run(&HELLO) }
//! ```
//!
//! The node is started on its file by `fsys_startup` at the bootstrap port. Each open is an object with its own file pointer. Who pays: a call is its
//! caller's; an open, kept after `fsys_getroot` or `io_duplicate`, is the translator's own, at most [`MAX_OPENS`] of them, each given up when it has no
//! senders any more.

use core::sync::atomic::{AtomicI64, Ordering};

use drover_abi::returns::KERN_RESOURCE_SHORTAGE;
use hurd_stubs::types::IoStatbuf;
use hurd_stubs::{fs, fsys, io};
use mig_runtime::{Data, Loan, OutData, Outcome, Port, Request, Retain, Text, Value, offer};

use crate::cleanup::Held;
use crate::errno::{EBADF, EBUSY, EINVAL, EOPNOTSUPP, EROFS, ESPIPE};
use crate::file::{O_READ, O_WRITE, S_IFREG};
use crate::loan::{give_back, pieces};
use crate::lookup::FS_RETRY_NORMAL;
use crate::once::Once;
use crate::port::SendRight;
use crate::rpc::Mach;
use crate::server::{Notification, Object, Server, UnwindReserve};
use crate::table::Table;
use crate::{env, ool, own};

/// Most opens of one translator.
pub const MAX_OPENS: usize = 256;
/// Largest single read.
const MAX_READ: u64 = 1 << 20;
/// Payload of the control port.
const CONTROL: u64 = 1;

/// The node.
pub trait Node: Sync {
    /// Bytes to be read.
    fn size(&self) -> u64;

    /// Fills `out` from `offset` on; how much, 0 at the end.
    ///
    /// # Errors
    /// A Hurd errno.
    fn read(&self, offset: u64, out: &mut [u8]) -> Result<usize, i32>;

    /// Takes what was written; how much. More than a few pages come in pieces, until one is not taken whole.
    ///
    /// # Errors
    /// A Hurd errno; `EROFS` by default.
    fn write(&self, offset: u64, data: &[u8]) -> Result<usize, i32> {
        let _ = (offset, data);
        Err(EROFS)
    }

    /// Kind and permissions.
    fn mode(&self) -> u32 {
        S_IFREG | 0o444
    }
}

/// One open of the node.
struct Open {
    object: Object,
    flags: i32,
    offset: AtomicI64,
}

/// The translator of this program.
struct Translator {
    node: &'static dyn Node,
    server: &'static Server,
    opens: Table<Open, MAX_OPENS>,
}

static TRANSLATOR: Once<Translator> = Once::new();

fn current() -> Result<&'static Translator, i32> {
    TRANSLATOR.get().ok_or(EBADF)
}

/// Runs the program as the translator `node`: starts up on the bootstrap port and serves. Returns an exit status if it cannot start.
pub fn run(node: &'static dyn Node) -> i32 {
    match start(node) {
        Ok(server) => server.run(),
        Err(code) => {
            log::error!("cannot start as a translator: {}", crate::errno::describe(code));
            1
        }
    }
}

fn start(node: &'static dyn Node) -> Result<&'static Server, i32> {
    let bootstrap = env::current().bootstrap();
    if !bootstrap.is_valid() {
        return Err(EINVAL);
    }
    let server = Server::new(demux, UnwindReserve::SMALL, notified)?;
    TRANSLATOR.set(Translator { node, server, opens: Table::new() }).map_err(|_| EBUSY)?;
    let control = server.object(CONTROL)?;
    let reply = fsys::fsys_startup(
        &Mach,
        bootstrap,
        O_READ | O_WRITE,
        control.send(),
        offer!(fsys::offer::FSYS_STARTUP),
    )?;
    // The node underneath is not used; the control port lives as long as the program.
    drop(SendRight::received(reply.realnode)?);
    core::mem::forget(control);
    Ok(server)
}

/// An open without senders goes away.
fn notified(notification: Notification) {
    if let (Notification::NoSenders(payload), Ok(translator)) = (notification, current()) {
        translator.opens.remove_if(payload, |open| !Server::has_senders(&open.object));
    }
}

fn demux(request: &[u8], reply: &mut [u8]) -> Outcome {
    let mut call = Call;
    crate::dispatch!(request, reply, fsys => &mut call, io => &mut call, fs => &mut call)
}

impl Translator {
    /// A new open, at the translator's own expense.
    fn open(&self, flags: i32) -> Result<Port, i32> {
        own(|| {
            let key = self.opens.insert_with(|key| {
                Ok(Open { object: self.server.counted_object(key)?, flags, offset: AtomicI64::new(0) })
            })?;
            let open = self.opens.get(key).ok_or(KERN_RESOURCE_SHORTAGE)?;
            Ok(open.object.send())
        })
    }
}

/// Serves one request.
struct Call;

impl Call {
    fn target(request: &Request<'_>) -> Result<(&'static Translator, Held<Open>), i32> {
        let translator = current()?;
        let open = translator.opens.hold(request.target()).ok_or(EOPNOTSUPP)?;
        Ok((translator, open))
    }
}

impl fsys::FsysServer for Call {
    fn fsys_getroot(
        &mut self,
        request: &Request<'_>,
        dotdot_node: Port,
        _gen_uids: Data<'_, u32>,
        _gen_gids: Data<'_, u32>,
        flags: i32,
        _: &mut Text<1024>,
        _: Retain,
    ) -> Result<fsys::FsysGetrootOut, i32> {
        if request.target() != CONTROL {
            return Err(EOPNOTSUPP);
        }
        let file = current()?.open(flags)?;
        drop(SendRight::received(dotdot_node));
        Ok(fsys::FsysGetrootOut { do_retry: FS_RETRY_NORMAL, file })
    }

    fn fsys_goaway(&mut self, request: &Request<'_>, flags: i32) -> Result<(), i32> {
        const FSYS_GOAWAY_FORCE: i32 = 4;
        if request.target() != CONTROL {
            return Err(EOPNOTSUPP);
        }
        if flags & FSYS_GOAWAY_FORCE == 0 && !current()?.opens.is_empty() {
            return Err(EBUSY);
        }
        crate::start::exit(0)
    }

    fn fsys_syncfs(&mut self, request: &Request<'_>, _wait: i32, _do_children: i32) -> Result<(), i32> {
        if request.target() == CONTROL { Ok(()) } else { Err(EOPNOTSUPP) }
    }
}

impl io::IoServer for Call {
    fn io_read(&mut self, request: &Request<'_>, offset: i64, amount: u64) -> Result<io::IoReadReply, i32> {
        let (translator, open) = Self::target(request)?;
        if open.flags & O_READ == 0 {
            return Err(EBADF);
        }
        let at = if offset < 0 { open.offset.load(Ordering::Relaxed) } else { offset };
        let left = translator.node.size().saturating_sub(at as u64);
        let wanted = amount.min(left).min(MAX_READ) as usize;
        let data = read_into(wanted, |out| translator.node.read(at as u64, out))?;
        if offset < 0 {
            open.offset.store(at + data.len() as i64, Ordering::Relaxed);
        }
        Ok(io::IoReadReply { data })
    }

    fn io_write(
        &mut self,
        request: &Request<'_>,
        data: Loan<'_, u8>,
        offset: i64,
    ) -> Result<io::IoWriteReply, i32> {
        let (translator, open) = Self::target(request)?;
        if open.flags & O_WRITE == 0 {
            return Err(EBADF);
        }
        let at = if offset < 0 { open.offset.load(Ordering::Relaxed) } else { offset };
        let (mut written, mut short) = (0, false);
        pieces(&data, |piece| {
            if !short {
                let taken = translator.node.write(at as u64 + written as u64, piece)?;
                written += taken;
                short = taken < piece.len();
            }
            Ok(())
        })?;
        give_back(&data);
        if offset < 0 {
            open.offset.store(at.saturating_add(written as i64), Ordering::Relaxed);
        }
        Ok(io::IoWriteReply { amount: written as u64 })
    }

    fn io_seek(&mut self, request: &Request<'_>, offset: i64, whence: i32) -> Result<io::IoSeekReply, i32> {
        let (translator, open) = Self::target(request)?;
        let base = match whence {
            0 => 0,
            1 => open.offset.load(Ordering::Relaxed),
            2 => translator.node.size() as i64,
            _ => return Err(EINVAL),
        };
        let newp = base.checked_add(offset).filter(|&at| at >= 0).ok_or(ESPIPE)?;
        open.offset.store(newp, Ordering::Relaxed);
        Ok(io::IoSeekReply { newp })
    }

    fn io_readable(&mut self, request: &Request<'_>) -> Result<io::IoReadableReply, i32> {
        let (translator, open) = Self::target(request)?;
        let at = open.offset.load(Ordering::Relaxed) as u64;
        Ok(io::IoReadableReply { amount: translator.node.size().saturating_sub(at) })
    }

    fn io_get_openmodes(&mut self, request: &Request<'_>) -> Result<io::IoGetOpenmodesReply, i32> {
        Ok(io::IoGetOpenmodesReply { bits: Self::target(request)?.1.flags })
    }

    fn io_stat(&mut self, request: &Request<'_>) -> Result<io::IoStatReply, i32> {
        let (translator, _open) = Self::target(request)?;
        let size = translator.node.size() as i64;
        let stat_info = IoStatbuf {
            st_ino: 1,
            st_mode: translator.node.mode(),
            st_nlink: 1,
            st_size: size,
            st_blksize: 4096,
            st_blocks: (size + 511) / 512,
            ..IoStatbuf::ZERO
        };
        Ok(io::IoStatReply { stat_info })
    }

    fn io_duplicate(&mut self, request: &Request<'_>, _: Retain) -> Result<io::IoDuplicateReply, i32> {
        let (translator, open) = Self::target(request)?;
        Ok(io::IoDuplicateReply { newport: translator.open(open.flags)? })
    }
}

impl fs::FsServer for Call {
    /// The empty name: the node once more, with other flags. It has no entries.
    fn dir_lookup(
        &mut self,
        request: &Request<'_>,
        file_name: &Text<1024>,
        flags: i32,
        _mode: u32,
        _: &mut Text<1024>,
        _: Retain,
    ) -> Result<fs::DirLookupOut, i32> {
        let (translator, _open) = Self::target(request)?;
        if !file_name.is_empty() {
            return Err(crate::errno::ENOTDIR);
        }
        let result = translator.open(flags)?;
        Ok(fs::DirLookupOut { do_retry: FS_RETRY_NORMAL, result })
    }

    fn file_check_access(&mut self, request: &Request<'_>) -> Result<fs::FileCheckAccessReply, i32> {
        Self::target(request)?;
        Ok(fs::FileCheckAccessReply { allowed: O_READ })
    }

    fn file_getcontrol(&mut self, _request: &Request<'_>) -> Result<fs::FileGetcontrolReply, i32> {
        Err(crate::errno::EPERM)
    }
}

/// Reads up to `wanted` bytes: in the reply if they fit, else in pages that go with it, which the caller pays for.
///
/// # Errors
/// Those of `read`, and the kernel's if there is no memory.
pub fn read_into<const N: usize>(
    wanted: usize,
    read: impl FnOnce(&mut [u8]) -> Result<usize, i32>,
) -> Result<OutData<u8, N>, i32> {
    if wanted <= N {
        let mut data = mig_runtime::Bounded::new();
        let len = read(&mut data.storage()[..wanted])?;
        data.set_len(len.min(wanted));
        return Ok(OutData::Inline(data));
    }
    let mut pages = ool::Pages::new(wanted)?;
    let len = read(pages.bytes_mut())?;
    Ok(OutData::Ool(pages.into_ool(len)))
}
