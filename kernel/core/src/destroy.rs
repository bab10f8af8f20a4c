//! Destroying an account: everything it pays for is given back, in preemptible steps charged to the destroyer.
//!
//! Children first. Then the objects in its slab frames, each by its kind; then nothing is left, and the account's limits return to its parent.
//! Threads that are inside servers unwind on their own time; the destroyer waits for them (bounded by the unwind reserves).

use drover_abi::account::ACCOUNT_CLOSING;
use drover_abi::returns::{KERN_PROTECTION_FAILURE, KERN_TERMINATED};

use crate::account::Account;
use crate::activation::{Activation, Exit};
use crate::frame::NONE;
use crate::kernel::{Kernel, Stop};
use crate::machine::Machine;
use crate::memory::{HELD, Memory};
use crate::object::{Kind, Ref};
use crate::port::{KERNEL, Port};
use crate::task::{TASK_ALIVE, Task};
use crate::thread::{ON_END, RESUME_RESTART, Thread};

impl<M: Machine> Kernel<M> {
    /// One bounded step of destroying `account` and all below it.
    ///
    /// # Errors
    /// `Stop::Again`: more to do; `Stop::Blocked`: waits for threads to unwind; `KERN_PROTECTION_FAILURE`: root, or an account that pays for the caller.
    pub(crate) fn account_destroy(&mut self, account: Ref<Account>) -> Result<(), Stop> {
        if account == self.root || self.stands_on(account) {
            return Err(Stop::Error(KERN_PROTECTION_FAILURE));
        }
        // The first leaf below it.
        let mut leaf = account;
        loop {
            if self.get(leaf).head.state == 0 {
                self.get_mut(leaf).head.state = ACCOUNT_CLOSING as u16;
                self.hurry(leaf);
            }
            let child = self.get(leaf).children;
            if child.is_none() {
                break;
            }
            leaf = child;
        }
        if self.empty_step(leaf)? {
            let a = self.get_mut(leaf);
            let ports = [core::mem::take(&mut a.port), core::mem::take(&mut a.patron_port)];
            for port in ports {
                self.retire_port(port);
            }
        }
        if self.get(leaf).slabs_head == NONE && self.get(leaf).frames_head == NONE {
            self.account_free(leaf);
            if leaf == account {
                return Ok(());
            }
        }
        Err(Stop::Again)
    }

    /// Whether the current thread, or a task that it visits, is paid by `account` or one below it.
    fn stands_on(&self, account: Ref<Account>) -> bool {
        let within = |mut a: Ref<Account>| {
            while a.is_some() {
                if a == account {
                    return true;
                }
                a = self.get(a).parent;
            }
            false
        };
        if within(self.payer_of(self.current)) {
            return true;
        }
        let mut act = self.here();
        while act.is_some() {
            let a = self.get(act);
            if within(a.payer) || a.task.is_some() && within(self.get(a.task).account) {
                return true;
            }
            act = a.lower;
        }
        false
    }

    /// Lets whoever waits for the end of `account` look again.
    pub(crate) fn wake_destroyer(&mut self, account: Ref<Account>) {
        while self.get(account).destroyer.is_some() {
            self.wake(self.get(account).destroyer, 0);
        }
    }

    /// Takes a parked thread off the list of those that wait for the end of an account.
    pub(crate) fn end_unlink(&mut self, thread: Ref<Thread>) {
        let t = *self.get(thread);
        if t.wait_prev.is_some() {
            self.get_mut(t.wait_prev).wait_next = t.wait_next;
        } else {
            self.get_mut(Ref::<Account>::from_raw(t.wait_on)).destroyer = t.wait_next;
        }
        if t.wait_next.is_some() {
            self.get_mut(t.wait_next).wait_prev = t.wait_prev;
        }
        let t = self.get_mut(thread);
        (t.wait_next, t.wait_prev) = (Ref::NONE, Ref::NONE);
    }

    /// Destroys one thing that `account` pays for. True: there is nothing more but perhaps its port's frame.
    fn empty_step(&mut self, account: Ref<Account>) -> Result<bool, Stop> {
        let a = self.get(account);
        let ports = [a.port.raw(), a.patron_port.raw()];
        let mut waits = false;
        let mut frame = self.get(account).slabs_head;
        while frame != NONE {
            let next = self.info(frame).next;
            for slot in 0..64 {
                let Some((kind, raw)) = self.slab_object(frame, slot) else { continue };
                if kind == Kind::Port as u8 && ports.contains(&raw) {
                    continue;
                }
                match self.destroy_object(kind, raw)? {
                    Destroyed::Yes => return Err(Stop::Again),
                    Destroyed::Later => waits = true,
                    Destroyed::ByItsOwner => {}
                }
            }
            frame = next;
        }
        if waits {
            self.may_wait()?;
            let current = self.current;
            let next = core::mem::replace(&mut self.get_mut(account).destroyer, current);
            let t = self.get_mut(current);
            (t.wait_next, t.wait_prev) = (next, Ref::NONE);
            if next.is_some() {
                self.get_mut(next).wait_prev = current;
            }
            return Err(self.block(ON_END, account.raw(), RESUME_RESTART, u64::MAX));
        }
        Ok(true)
    }

    fn destroy_object(&mut self, kind: u8, raw: u32) -> Result<Destroyed, Stop> {
        const TASK: u8 = Kind::Task as u8;
        const THREAD: u8 = Kind::Thread as u8;
        const ACTIVATION: u8 = Kind::Activation as u8;
        const PORT: u8 = Kind::Port as u8;
        const MESSAGE: u8 = Kind::Message as u8;
        const MEMORY: u8 = Kind::Memory as u8;
        const ENTRY: u8 = Kind::Entry as u8;
        match kind {
            TASK => {
                let task = Ref::<Task>::from_raw(raw);
                if self.get(task).head.state == TASK_ALIVE {
                    // The reaper goes on should the destroyer end first.
                    self.task_terminate(task)?;
                }
                self.task_reap(task)?;
                Ok(Destroyed::Yes)
            }
            THREAD => {
                let thread = Ref::<Thread>::from_raw(raw);
                let depth = self.get(thread).depth;
                self.thread_terminate(thread);
                Ok(if depth == 1 { Destroyed::Yes } else { Destroyed::Later })
            }
            ACTIVATION => {
                let act = Ref::<Activation>::from_raw(raw);
                if self.get(act).lower.is_none() {
                    return Ok(Destroyed::ByItsOwner);
                }
                if self.get(act).exit == 0 {
                    self.request_exit(act, Exit::ClientDied, KERN_TERMINATED);
                }
                Ok(Destroyed::Later)
            }
            PORT => {
                let port = Ref::<Port>::from_raw(raw);
                let p = self.get(port);
                if p.head.flags == KERNEL && p.object_kind != 0 && p.object_kind != Kind::Memory as u32 {
                    return Ok(Destroyed::ByItsOwner);
                }
                self.port_kill(port)?;
                Ok(Destroyed::Yes)
            }
            MESSAGE => {
                self.message_kill(Ref::from_raw(raw));
                Ok(Destroyed::Yes)
            }
            MEMORY => {
                let object = Ref::<Memory>::from_raw(raw);
                if self.get(object).head.flags & HELD != 0 {
                    // A message has it.
                    return Ok(Destroyed::ByItsOwner);
                }
                self.memory_destroy(object)?;
                Ok(Destroyed::Yes)
            }
            ENTRY => {
                self.entry_destroy(Ref::from_raw(raw))?;
                Ok(Destroyed::Yes)
            }
            // Accounts are gone with the children; FPU registers go with their activation.
            _ => Ok(Destroyed::ByItsOwner),
        }
    }
}

/// What became of an object.
enum Destroyed {
    /// Gone.
    Yes,
    /// It goes by itself; wait.
    Later,
    /// It goes with another object.
    ByItsOwner,
}
