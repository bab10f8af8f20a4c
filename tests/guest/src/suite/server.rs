//! The server that tests call. It does what `fsys_syncfs(what, argument)` at its control port asks for, however foolish.

use core::sync::atomic::AtomicU32;
use core::time::Duration;

use libhurd::clock::now;
use libhurd::lock::Mutex;
use libhurd::mig::{Outcome, PortName, Request};
use libhurd::once::Once;
use libhurd::port::SendRight;
use libhurd::server::{Object, Server, UnwindReserve};
use libhurd::stubs::fsys::{self, FsysServer, fsys_startup, fsys_syncfs};
use libhurd::{ALL, Env, Mach, critical, syscall};

/// What it can be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
pub(crate) enum What {
    /// To answer.
    Nothing = 0,
    /// To compute for ever.
    Burn = 1,
    /// To wait for ever.
    Wait = 2,
    /// To compute for so many microseconds in a critical section, and to answer.
    Critical = 3,
    /// To use more and more memory.
    Grow = 4,
    /// To call itself with `argument` as the request.
    Nest = 5,
    /// To call itself so that it calls itself with `argument` as the request.
    NestTwice = 6,
    /// To call somebody while it holds a lock.
    CallLocked = 7,
    /// To touch memory that is not there.
    Fault = 8,
    /// To touch memory that is not there while it holds a lock.
    FaultLocked = 9,
}

/// A lock of the server's.
static LOCK: Mutex<u32> = Mutex::new(0);
/// Its control port.
static CONTROL: Once<Object> = Once::new();

struct Call;

/// Computes until `end`.
fn burn_until(end: u64) {
    while now() < end {
        core::hint::spin_loop();
    }
}

fn itself() -> Result<PortName, i32> {
    Ok(CONTROL.get().ok_or(libhurd::errno::EIO)?.send_right()?.into_name())
}

impl FsysServer for Call {
    fn fsys_syncfs(&mut self, _: &Request<'_>, what: i32, argument: i32) -> Result<(), i32> {
        match what {
            what if what == What::Nothing as i32 => Ok(()),
            what if what == What::Burn as i32 => {
                burn_until(u64::MAX);
                Ok(())
            }
            what if what == What::Wait as i32 => {
                static NEVER: AtomicU32 = AtomicU32::new(0);
                syscall::drover_wait(&NEVER, 0, 0, 0, u64::MAX)
            }
            what if what == What::Critical as i32 => {
                critical(|| burn_until(now() + argument.unsigned_abs() as u64 * 1000));
                Ok(())
            }
            what if what == What::Grow as i32 => {
                let mut all = alloc::vec::Vec::new();
                loop {
                    let mut more = alloc::vec![0u8; 64 * 1024];
                    more.iter_mut().step_by(4096).for_each(|byte| *byte = 1);
                    all.push(more);
                }
            }
            what if what == What::Nest as i32 => Ok(fsys_syncfs(&Mach, itself()?, argument, 0, ALL)?),
            what if what == What::NestTwice as i32 => {
                Ok(fsys_syncfs(&Mach, itself()?, What::Nest as i32, argument, ALL)?)
            }
            what if what == What::CallLocked as i32 => {
                let me = itself()?;
                let _held = LOCK.lock()?;
                Ok(fsys_syncfs(&Mach, me, What::Nothing as i32, 0, ALL)?)
            }
            what if what == What::Fault as i32 => {
                super::raw::touch_nothing();
                Ok(())
            }
            what if what == What::FaultLocked as i32 => {
                let _held = LOCK.lock()?;
                super::raw::touch_nothing();
                Ok(())
            }
            _ => Err(libhurd::errno::EINVAL),
        }
    }
}

fn demux(request: &[u8], reply: &mut [u8]) -> Outcome {
    match fsys::dispatch(&mut Call, request, reply) {
        Outcome::NotMine => super::trial::demux(request, reply),
        outcome => outcome,
    }
}

fn start(env: &Env) -> Result<&'static Server, i32> {
    let reserve = UnwindReserve { cpu: Duration::from_millis(1), frames: 8 };
    let server = Server::new(demux, reserve, |_| ())?;
    let control = CONTROL.set(server.object(1)?).map_err(|_| libhurd::errno::EIO)?;
    drop(SendRight::received(fsys_startup(&Mach, env.bootstrap(), 0, control.send(), ALL)?.realnode));
    Ok(server)
}

/// Serves.
pub(crate) fn run(env: &'static Env) -> i32 {
    match start(env) {
        Ok(server) => server.run(),
        Err(_) => 1,
    }
}
