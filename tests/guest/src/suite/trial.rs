//! The server of `tests/guest/defs/trial.defs`: what the tests of offers, memory and time ask for.

use core::sync::atomic::{AtomicI32, AtomicU32, AtomicU64, Ordering};
use core::time::Duration;

use guest::trial::{self as trial, TrialServer};
use libhurd::abi::returns::KERN_FAILURE;
use libhurd::loan::{Caller, give_back, pieces};
use libhurd::lock::Mutex;
use libhurd::mig::{Data, Loan, Memory, Ool, Outcome, Request, Retain};
use libhurd::ool::{self, Pages};
use libhurd::port::SendRight;
use libhurd::session::{Limits, Session};
use libhurd::stubs::account::account_session_create;
use libhurd::stubs::mach;
use libhurd::{ALL, Mach, clock, server, syscall, task, thread};

/// Methods that have run and count themselves.
static RUNS: AtomicI32 = AtomicI32::new(0);
/// Where the last loan was that was noted, and its bytes.
static NOTED: [AtomicU64; 2] = [const { AtomicU64::new(0) }; 2];
/// What is kept for a client.
static KEPT: Mutex<Option<(Session, Pages)>> = Mutex::new(None);
/// A right to a caller's account, kept though nobody has allowed it.
static SEIZED: AtomicU32 = AtomicU32::new(0);
/// No answer yet.
const PENDING: i32 = i32::MAX;

struct Call;

fn ran() {
    RUNS.fetch_add(1, Ordering::AcqRel);
}

fn sum(bytes: &[u8]) -> u64 {
    bytes.iter().map(|&byte| u64::from(byte)).sum()
}

fn sum_of(loan: &Loan<'_, u8>) -> Result<u64, i32> {
    let mut all = 0;
    pieces(loan, |piece| {
        all += sum(piece);
        Ok(())
    })?;
    Ok(all)
}

fn sum_at(address: u64, len: u64) -> Result<u64, i32> {
    let (mut all, mut done, mut piece) = (0, 0, [0; 4096]);
    while done < len {
        let part = &mut piece[..(len - done).min(4096) as usize];
        Caller.read(address + done, part)?;
        all += sum(part);
        done += part.len() as u64;
    }
    Ok(all)
}

fn pause(ms: i32) -> Result<(), i32> {
    clock::sleep(Duration::from_millis(u64::from(ms.unsigned_abs())))
}

/// Makes a session of the account that `right` names, and gives it back at once. The code.
fn seize(right: &SendRight) -> i32 {
    match account_session_create(&Mach, right.name(), 1, 1, ALL) {
        Ok(made) => {
            drop(SendRight::from_name(made.session));
            0
        }
        Err(error) => error.code(),
    }
}

/// The same from a thread that is in no call.
fn seize_at_home() -> i32 {
    static CODE: AtomicI32 = AtomicI32::new(PENDING);
    CODE.store(PENDING, Ordering::Release);
    let started = libhurd::own(|| {
        thread::spawn(|| {
            let right = SendRight::from_name(libhurd::mig::PortName(SEIZED.swap(0, Ordering::AcqRel)));
            CODE.store(seize(&right), Ordering::Release);
        })
    });
    for _ in 0..100 {
        if started.is_err() || CODE.load(Ordering::Acquire) != PENDING {
            break;
        }
        let _ = pause(2);
    }
    match started {
        Ok(_) => CODE.load(Ordering::Acquire),
        Err(code) => code,
    }
}

impl TrialServer for Call {
    fn trial_count(&mut self, _: &Request<'_>) -> Result<trial::TrialCountReply, i32> {
        Ok(trial::TrialCountReply { count: RUNS.load(Ordering::Acquire) })
    }
    fn trial_cpu(&mut self, _: &Request<'_>) -> Result<(), i32> {
        ran();
        Ok(())
    }
    fn trial_frames(&mut self, _: &Request<'_>) -> Result<(), i32> {
        ran();
        Ok(())
    }
    fn trial_io(&mut self, _: &Request<'_>) -> Result<(), i32> {
        ran();
        Ok(())
    }
    fn trial_deadline(&mut self, _: &Request<'_>) -> Result<(), i32> {
        ran();
        Ok(())
    }
    fn trial_depth(&mut self, _: &Request<'_>) -> Result<(), i32> {
        ran();
        Ok(())
    }
    fn trial_accept(&mut self, _: &Request<'_>) -> Result<trial::TrialAcceptReply, i32> {
        ran();
        Ok(trial::TrialAcceptReply { back: Ool::EMPTY })
    }

    fn trial_retain(&mut self, _: &Request<'_>, retain: Retain) -> Result<trial::TrialRetainReply, i32> {
        Ok(trial::TrialRetainReply { frames: retain.frames() })
    }

    fn trial_seize(&mut self, _: &Request<'_>, way: i32) -> Result<trial::TrialSeizeReply, i32> {
        if way != 0 {
            return Ok(trial::TrialSeizeReply { code: seize_at_home() });
        }
        let right = SendRight::from_name(libhurd::own(syscall::account_self));
        let code = seize(&right);
        let before = SEIZED.swap(right.into_name().0, Ordering::AcqRel);
        drop(SendRight::from_name(libhurd::mig::PortName(before)));
        Ok(trial::TrialSeizeReply { code })
    }

    fn trial_read(
        &mut self,
        _: &Request<'_>,
        data: Loan<'_, u8>,
        pause_ms: i32,
    ) -> Result<trial::TrialReadReply, i32> {
        pause(pause_ms)?;
        let sum = sum_of(&data)?;
        let frames = syscall::call_info().map_or(0, |info| info.remaining.frames);
        give_back(&data);
        Ok(trial::TrialReadReply { sum, frames, apart: i32::from(data.memory().is_some()) })
    }

    fn trial_note(&mut self, _: &Request<'_>, data: Loan<'_, u8>) -> Result<trial::TrialNoteReply, i32> {
        let place = data.memory().ok_or(KERN_FAILURE)?;
        let sum = sum_of(&data)?;
        NOTED[0].store(place.address, Ordering::Release);
        NOTED[1].store(place.bytes(), Ordering::Release);
        give_back(&data);
        Ok(trial::TrialNoteReply { sum })
    }

    fn trial_read_noted(&mut self, _: &Request<'_>) -> Result<trial::TrialReadNotedReply, i32> {
        let [address, len] = [0, 1].map(|at: usize| NOTED[at].load(Ordering::Acquire));
        Ok(trial::TrialReadNotedReply { sum: sum_at(address, len)? })
    }

    fn trial_return(&mut self, _: &Request<'_>, given: Ool) -> Result<trial::TrialReturnReply, i32> {
        let (mut done, mut piece) = (0, [0; 4096]);
        while done < given.bytes() {
            let part = &mut piece[..(given.bytes() - done).min(4096) as usize];
            let (there, len) = (given.address + done, part.len() as u64);
            Caller.read(there, part)?;
            part.iter_mut().for_each(|byte| *byte = byte.wrapping_add(1));
            mach::vm_copy(&Mach, task::this(), part.as_ptr().expose_provenance() as u64, len, there, ALL)?;
            done += len;
        }
        Ok(trial::TrialReturnReply { back: Ool::moved(given.address, given.count) })
    }

    fn trial_keep(&mut self, _: &Request<'_>, given: Ool, retain: Retain) -> Result<(), i32> {
        let kept = if given.count == 0 {
            None
        } else {
            let frames = given.bytes().div_ceil(4096) + 8;
            let session = Session::of_caller(Limits { frames, objects: 16 }, &retain)?;
            let pages = session.keep(given)?;
            Some((session, pages))
        };
        // What was kept is dropped outside the lock: that takes calls.
        let before = core::mem::replace(&mut *KEPT.lock()?, kept);
        drop(before);
        Ok(())
    }

    fn trial_kept(&mut self, _: &Request<'_>) -> Result<trial::TrialKeptReply, i32> {
        let place = KEPT.lock()?.as_ref().map(|(_, pages)| (pages.address(), pages.bytes().len()));
        let (address, len) = place.ok_or(KERN_FAILURE)?;
        Ok(trial::TrialKeptReply { sum: sum_at(address, len as u64)? })
    }

    fn trial_copy(&mut self, _: &Request<'_>, data: Data<'_, u8>) -> Result<trial::TrialCopyReply, i32> {
        let sum = ool::with_bytes(&data, sum);
        ool::finished(&data);
        Ok(trial::TrialCopyReply { sum })
    }

    fn trial_sleep(&mut self, _: &Request<'_>, pause_ms: i32) -> Result<(), i32> {
        pause(pause_ms)
    }

    fn trial_doze(&mut self, _: &Request<'_>, pause_ms: i32) -> Result<(), i32> {
        pause(pause_ms)
    }
}

/// Serves a request, if it is of this interface.
pub(super) fn demux(request: &[u8], reply: &mut [u8]) -> Outcome {
    match server::request(request, reply) {
        Some(request) => trial::dispatch_request(&mut Call, &request, reply),
        None => Outcome::NotMine,
    }
}
