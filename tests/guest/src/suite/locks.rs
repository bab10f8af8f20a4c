//! libhurd's locks, with threads that come and go.

use alloc::format;
use core::sync::atomic::{AtomicU32, Ordering};
use core::time::Duration;

use libhurd::lock::Mutex;
use libhurd::{clock, syscall, thread};

use super::{Bench, Test, Verdict, must, same};

pub(crate) const TESTS: &[(&str, Test)] = &[("waiters_outlive_the_holder", waiters_outlive_the_holder)];

/// Waiters of the lock.
const WAITERS: u32 = 3;
/// How long each holder keeps it, ns.
const HELD: u64 = 5_000_000;

static LOCK: Mutex<u32> = Mutex::new(0);
static HOLDS: AtomicU32 = AtomicU32::new(0);
static REFUSED: AtomicU32 = AtomicU32::new(0);

/// Lets others run, without a wait that could end early.
fn linger(ns: u64) {
    let until = clock::now().saturating_add(ns);
    while clock::now() < until {
        syscall::yield_now();
    }
}

fn take() {
    match LOCK.lock() {
        Ok(mut taken) => {
            *taken += 1;
            HOLDS.fetch_add(1, Ordering::AcqRel);
            linger(HELD);
        }
        Err(_) => {
            REFUSED.fetch_add(1, Ordering::AcqRel);
        }
    }
}

/// A holder that ends as soon as it has let go: of those that waited for it one gets the lock, and the others wait for that one.
fn waiters_outlive_the_holder(_: &Bench) -> Verdict {
    HOLDS.store(0, Ordering::Release);
    must("a holder", thread::spawn(take))?;
    while HOLDS.load(Ordering::Acquire) == 0 {
        must("a pause", clock::sleep(Duration::from_micros(200)))?;
    }
    for _ in 0..WAITERS {
        must("a waiter", thread::spawn(take))?;
    }
    for _ in 0..200 {
        must("a pause", clock::sleep(Duration::from_millis(1)))?;
        if HOLDS.load(Ordering::Acquire) + REFUSED.load(Ordering::Acquire) > WAITERS {
            break;
        }
    }
    same("waiters that were refused", REFUSED.load(Ordering::Acquire), 0)?;
    same(&format!("holders of {}", WAITERS + 1), HOLDS.load(Ordering::Acquire), WAITERS + 1)
}
