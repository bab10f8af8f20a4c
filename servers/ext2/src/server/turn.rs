//! Turns: one activation at a time, for work that calls others.
//!
//! Not a lock in the sense of the lock rule: who has the turn is in no critical section, may call, and gives the turn up when its call is
//! forced to end. Others wait on an owned wait until their deadline.

use core::cell::Cell;

use alloc::rc::Rc;
use libhurd::Deadline;
use libhurd::cleanup::{OnExit, on_exit};
use libhurd::lock::Mutex;
use libhurd::wait::Event;

/// See the module.
pub(super) struct Turn {
    taken: Mutex<bool>,
    free: Event,
}

/// Having the turn; dropping it passes the turn on.
pub(super) struct Taken {
    _release: OnExit,
}

impl Turn {
    /// Nobody's.
    pub(super) const fn new() -> Self {
        Self { taken: Mutex::new(false), free: Event::new() }
    }

    /// Waits for the turn, at most until the call's deadline.
    ///
    /// # Errors
    /// Those of a wait.
    pub(super) fn take(&'static self) -> Result<Taken, i32> {
        // The cleanup is there first, and knows by the cell whether there is anything to give up.
        let mine = Rc::new(Cell::new(false));
        let release = on_exit({
            let mine = mine.clone();
            move || {
                if mine.get() {
                    self.release();
                }
            }
        });
        loop {
            {
                let mut taken = self.taken.lock()?;
                if !*taken {
                    *taken = true;
                    mine.set(true);
                    self.free.promise();
                    return Ok(Taken { _release: release });
                }
            }
            self.free.wait(Deadline::NEVER)?;
        }
    }

    fn release(&self) {
        if let Ok(mut taken) = self.taken.lock() {
            *taken = false;
            self.free.keep(1);
        }
    }
}
