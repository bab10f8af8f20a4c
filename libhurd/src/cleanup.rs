//! Call-scoped cleanups: what must be undone when a call ends, however it ends.
//!
//! A forced exit does not return through the handler's frames, so no destructor runs. What the call took from the server for a while (a
//! reference to a node, a classic lock, a slot in a table) is registered with [`on_exit`]; the cleanup runs once, when the guard is dropped or
//! when the unwind entry walks the list. Outside a call there are no forced exits, and only the drop counts.
//!
//! A cleanup runs on the call's escrow: it must be short, and neither allocate from the call arena nor call.

use alloc::boxed::Box;
use alloc::sync::Arc;
use core::ops::Deref;
use core::ptr;

use crate::local::Local;

/// A registered cleanup. In a call it lies in the call arena, so it is paid by the caller.
struct Node {
    next: *mut Node,
    prev: *mut Node,
    run: Option<Box<dyn FnOnce()>>,
}

/// Runs its cleanup when dropped, or on a forced exit.
#[must_use = "dropping it runs the cleanup"]
pub struct OnExit(*mut Node);

/// Registers `cleanup` for the end of the call.
pub fn on_exit(cleanup: impl FnOnce() + 'static) -> OnExit {
    let local = Local::current();
    let first = local.cleanups() as *mut Node;
    let run: Option<Box<dyn FnOnce()>> = Some(Box::new(cleanup));
    let node = Box::into_raw(Box::new(Node { next: first, prev: ptr::null_mut(), run }));
    // SAFETY: `first` is null or the first node of this activation's list, which only this thread uses.
    if let Some(first) = unsafe { first.as_mut() } {
        first.prev = node;
    }
    local.set_cleanups(node as u64);
    OnExit(node)
}

impl OnExit {
    /// Forgets the cleanup without running it.
    pub fn cancel(self) {
        let guard = core::mem::ManuallyDrop::new(self);
        drop(guard.unlink());
    }

    /// Takes the node off the list; from here on the exit path does not see it.
    fn unlink(&self) -> Box<Node> {
        // SAFETY: the node was leaked by `on_exit` and is freed here alone; its neighbours are nodes of the same list.
        let node = unsafe { Box::from_raw(self.0) };
        // SAFETY: as above.
        match unsafe { node.prev.as_mut() } {
            Some(prev) => prev.next = node.next,
            None => Local::current().set_cleanups(node.next as u64),
        }
        // SAFETY: as above.
        if let Some(next) = unsafe { node.next.as_mut() } {
            next.prev = node.prev;
        }
        node
    }
}

impl Drop for OnExit {
    fn drop(&mut self) {
        // An exit between taking it off the list and running it would lose it: the section makes the two one.
        crate::critical(|| {
            if let Some(run) = self.unlink().run {
                run();
            }
        });
    }
}

/// Runs what is registered, the latest first: on a forced exit, and when a panic ends a call.
pub(crate) fn run_all(local: Local) {
    loop {
        let node = local.cleanups() as *mut Node;
        // SAFETY: null or the first node of this activation's list. The frames that hold the guards never run again.
        let Some(node) = (unsafe { node.as_mut() }) else { return };
        local.set_cleanups(node.next as u64);
        if let Some(run) = node.run.take() {
            run();
        }
    }
}

/// A counted reference to an object of the server's, held for the length of a call and given back however it ends.
pub struct Held<T: 'static> {
    object: *const T,
    _release: OnExit,
}

/// Holds `object` for the length of the call.
pub fn hold<T: 'static>(object: Arc<T>) -> Held<T> {
    let address = Arc::as_ptr(&object);
    Held { object: address, _release: on_exit(move || drop(object)) }
}

impl<T> Deref for Held<T> {
    type Target = T;
    fn deref(&self) -> &T {
        // SAFETY: the count that `release` owns keeps the object; it is dropped with this value, or on an exit, after which no
        // frame of this activation runs.
        unsafe { &*self.object }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::cell::RefCell;
    use std::rc::Rc;

    fn noted(log: &Rc<RefCell<Vec<u32>>>, n: u32) -> OnExit {
        let log = log.clone();
        on_exit(move || log.borrow_mut().push(n))
    }
    use std::vec::Vec;

    #[test]
    fn dropped_in_any_order() {
        let log = Rc::default();
        let (a, b, c) = (noted(&log, 1), noted(&log, 2), noted(&log, 3));
        drop(b);
        a.cancel();
        drop(c);
        assert_eq!(*log.borrow(), [2, 3]);
        assert_eq!(Local::current().cleanups(), 0);
    }

    #[test]
    fn an_exit_runs_what_is_left_latest_first() {
        let log = Rc::default();
        let guards = [noted(&log, 1), noted(&log, 2), noted(&log, 3)];
        core::mem::forget(guards);
        run_all(Local::current());
        assert_eq!(*log.borrow(), [3, 2, 1]);
        assert_eq!(Local::current().cleanups(), 0);
    }

    #[test]
    fn held_gives_back_once() {
        let object = Arc::new(5);
        let held = hold(object.clone());
        assert_eq!((*held, Arc::strong_count(&object)), (5, 2));
        drop(held);
        assert_eq!(Arc::strong_count(&object), 1);
        core::mem::forget(hold(object.clone()));
        run_all(Local::current());
        assert_eq!(Arc::strong_count(&object), 1);
    }
}
