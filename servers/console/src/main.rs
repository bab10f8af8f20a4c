//! The console: the kernel's serial line as a terminal, an I/O object with a line discipline ([`mod@line`]).
//!
//! Descriptor 3 is the device master port. The program starts up on its bootstrap port like a translator; its root is the terminal, one object that all
//! opens share.
//!
//! Who pays: callers for their calls, waiting for input included: a reader waits in the kernel's device, on its own thread. The server keeps one line and
//! a bounded buffer of whole lines, and nothing per client.
#![cfg_attr(target_os = "none", no_std, no_main)]

mod line;

use libhurd::errno::{EBUSY, EINVAL, EIO, ENOTDIR, EOPNOTSUPP, EPERM, ESPIPE, describe};
use libhurd::file::{O_READ, O_WRITE, S_IFCHR};
use libhurd::loan::{give_back, pieces};
use libhurd::lock::Mutex;
use libhurd::lookup::FS_RETRY_NORMAL;
use libhurd::mig::{Data, Loan, Outcome, Port, Request, Retain, Text, Value, offer};
use libhurd::once::Once;
use libhurd::port::SendRight;
use libhurd::print::kernel_print;
use libhurd::server::{Object, Server, UnwindReserve};
use libhurd::stubs::types::IoStatbuf;
use libhurd::stubs::{device, fs, fsys, io};
use libhurd::translator::read_into;
use libhurd::{ALL, Env, Mach};

use line::Line;

/// Payload of the control port.
const CONTROL: u64 = 1;
/// Payload of the terminal.
const TERMINAL: u64 = 2;
/// Most bytes that the device takes or gives at once.
const INBAND: usize = 128;
/// Device mode: for reading and writing.
const D_READ_WRITE: u32 = 3;

/// What the program serves.
struct Console {
    device: SendRight,
    terminal: Object,
    /// Held for its life.
    _control: Object,
}

static CONSOLE: Once<Console> = Once::new();
static LINE: Mutex<Line> = Mutex::new(Line::new());

impl Console {
    /// Writes bytes as they are.
    fn put(&self, mut bytes: &[u8]) -> Result<(), i32> {
        while !bytes.is_empty() {
            let piece = &bytes[..bytes.len().min(INBAND)];
            let reply = device::device_write_inband(&Mach, self.device.name(), 0, 0, piece, ALL)?;
            let written = usize::try_from(reply.bytes_written).ok().filter(|&n| n > 0).ok_or(EIO)?;
            bytes = bytes.get(written..).unwrap_or(&[]);
        }
        Ok(())
    }

    /// Writes text: a new line goes to the start of the next one.
    fn write(&self, bytes: &[u8]) -> Result<(), i32> {
        for line in bytes.split_inclusive(|&byte| byte == b'\n') {
            match line.strip_suffix(b"\n") {
                Some(text) => {
                    self.put(text)?;
                    self.put(b"\r\n")?;
                }
                None => self.put(line)?,
            }
        }
        Ok(())
    }

    /// Waits for a line and reads from it.
    fn read(&self, out: &mut [u8]) -> Result<usize, i32> {
        loop {
            {
                let mut line = LINE.lock()?;
                if line.is_ready() {
                    return Ok(line.read(out));
                }
            }
            let keys = device::device_read_inband(&Mach, self.device.name(), 0, 0, INBAND as i32, ALL)?.data;
            // Every key shows as at most five bytes.
            let mut shown = [0u8; INBAND * 5];
            let mut used = 0;
            {
                let mut line = LINE.lock()?;
                let mut echo = |bytes: &[u8]| {
                    if let Some(place) = shown.get_mut(used..used + bytes.len()) {
                        place.copy_from_slice(bytes);
                        used += bytes.len();
                    }
                };
                keys.as_slice().iter().for_each(|&key| line.feed(key, &mut echo));
            }
            self.put(&shown[..used])?;
        }
    }
}

/// Serves one request.
struct Call;

/// The console, if the request came to the port with that payload.
fn at(request: &Request<'_>, payload: u64) -> Result<&'static Console, i32> {
    if request.target() == payload { CONSOLE.get().ok_or(EIO) } else { Err(EOPNOTSUPP) }
}

impl fsys::FsysServer for Call {
    fn fsys_getroot(
        &mut self,
        request: &Request<'_>,
        dotdot_node: Port,
        _gen_uids: Data<'_, u32>,
        _gen_gids: Data<'_, u32>,
        _flags: i32,
        _: &mut Text<1024>,
        _: Retain,
    ) -> Result<fsys::FsysGetrootOut, i32> {
        let file = at(request, CONTROL)?.terminal.send();
        drop(SendRight::received(dotdot_node));
        Ok(fsys::FsysGetrootOut { do_retry: FS_RETRY_NORMAL, file })
    }

    fn fsys_goaway(&mut self, request: &Request<'_>, _flags: i32) -> Result<(), i32> {
        at(request, CONTROL)?;
        Err(EBUSY)
    }
}

impl io::IoServer for Call {
    fn io_read(&mut self, request: &Request<'_>, _offset: i64, amount: u64) -> Result<io::IoReadReply, i32> {
        let console = at(request, TERMINAL)?;
        // A line is shorter than that.
        let wanted = amount.min(1024) as usize;
        Ok(io::IoReadReply { data: read_into(wanted, |out| console.read(out))? })
    }

    fn io_write(
        &mut self,
        request: &Request<'_>,
        data: Loan<'_, u8>,
        _offset: i64,
    ) -> Result<io::IoWriteReply, i32> {
        let console = at(request, TERMINAL)?;
        let amount = pieces(&data, |piece| console.write(piece))? as u64;
        give_back(&data);
        Ok(io::IoWriteReply { amount })
    }

    fn io_seek(&mut self, request: &Request<'_>, _offset: i64, _whence: i32) -> Result<io::IoSeekReply, i32> {
        at(request, TERMINAL)?;
        Err(ESPIPE)
    }

    fn io_readable(&mut self, request: &Request<'_>) -> Result<io::IoReadableReply, i32> {
        at(request, TERMINAL)?;
        Ok(io::IoReadableReply { amount: LINE.lock()?.available() as u64 })
    }

    fn io_get_openmodes(&mut self, request: &Request<'_>) -> Result<io::IoGetOpenmodesReply, i32> {
        at(request, TERMINAL)?;
        Ok(io::IoGetOpenmodesReply { bits: O_READ | O_WRITE })
    }

    fn io_stat(&mut self, request: &Request<'_>) -> Result<io::IoStatReply, i32> {
        at(request, TERMINAL)?;
        let stat_info = IoStatbuf {
            st_ino: 1,
            st_mode: S_IFCHR | 0o666,
            st_nlink: 1,
            st_blksize: 1024,
            ..IoStatbuf::ZERO
        };
        Ok(io::IoStatReply { stat_info })
    }

    fn io_duplicate(&mut self, request: &Request<'_>, _: Retain) -> Result<io::IoDuplicateReply, i32> {
        Ok(io::IoDuplicateReply { newport: at(request, TERMINAL)?.terminal.send() })
    }
}

impl fs::FsServer for Call {
    fn dir_lookup(
        &mut self,
        request: &Request<'_>,
        file_name: &Text<1024>,
        _flags: i32,
        _mode: u32,
        _: &mut Text<1024>,
        _: Retain,
    ) -> Result<fs::DirLookupOut, i32> {
        let console = at(request, TERMINAL)?;
        if !file_name.is_empty() {
            return Err(ENOTDIR);
        }
        let result = console.terminal.send();
        Ok(fs::DirLookupOut { do_retry: FS_RETRY_NORMAL, result })
    }

    fn file_getcontrol(&mut self, _request: &Request<'_>) -> Result<fs::FileGetcontrolReply, i32> {
        Err(EPERM)
    }
}

fn demux(request: &[u8], reply: &mut [u8]) -> Outcome {
    let mut call = Call;
    libhurd::dispatch!(request, reply, io => &mut call, fs => &mut call, fsys => &mut call)
}

fn start(env: &Env) -> Result<&'static Server, i32> {
    if !env.fd(3).is_valid() {
        return Err(EINVAL);
    }
    let opened = device::device_open(&Mach, env.fd(3), D_READ_WRITE, b"console", ALL)?;
    let device = SendRight::received(opened.device)?;
    let server = Server::new(demux, UnwindReserve::SMALL, |_| ())?;
    let (terminal, control) = (server.object(TERMINAL)?, server.object(CONTROL)?);
    let port = control.send();
    CONSOLE.set(Console { device, terminal, _control: control }).map_err(|_| EIO)?;
    let reply = fsys::fsys_startup(
        &Mach,
        env.bootstrap(),
        O_READ | O_WRITE,
        port,
        offer!(fsys::offer::FSYS_STARTUP),
    )?;
    drop(SendRight::received(reply.realnode));
    Ok(server)
}

fn program(env: &'static Env) -> i32 {
    match start(env) {
        Ok(server) => server.run(),
        Err(code) => {
            kernel_print(format_args!("console: cannot start: {} ({code:#x})\n", describe(code)));
            1
        }
    }
}

libhurd::entry!(program);
