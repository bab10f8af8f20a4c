//! `gnumach.defs`: names, `gsync`.

use drover_abi::returns::{KERN_INVALID_ARGUMENT, KERN_TIMEDOUT};
use hurd_stubs::gnumach::{GnumachServer, ThreadGetNameReply};
use mig_runtime::{FixedStr, Request};

use crate::kernel::Stop;
use crate::machine::Machine;
use crate::object::{Kind, Ref};
use crate::rpc::Rpc;
use crate::thread::{RESUME_RESTART, Thread};

/// `GSYNC_QUAD`, `GSYNC_TIMED`, `GSYNC_BROADCAST`, `GSYNC_MUTATE`.
const QUAD: i32 = 2;
const TIMED: i32 = 4;
const BROADCAST: i32 = 8;
const MUTATE: i32 = 0x10;

fn put_name(to: &mut [u8; 32], name: &[u8]) {
    *to = [0; 32];
    let len = name.len().min(31);
    to[..len].copy_from_slice(&name[..len]);
}

impl<M: Machine> GnumachServer for Rpc<'_, M> {
    fn task_set_name(&mut self, _: &Request<'_>, name: &[u8]) -> Result<(), i32> {
        let task = self.task()?;
        put_name(&mut self.k.get_mut(task).name, name);
        Ok(())
    }

    fn thread_set_name(&mut self, _: &Request<'_>, name: &[u8]) -> Result<(), i32> {
        let thread: Ref<Thread> = self.target(Kind::Thread, KERN_INVALID_ARGUMENT)?;
        put_name(&mut self.k.get_mut(thread).name, name);
        Ok(())
    }

    fn thread_get_name(&mut self, _: &Request<'_>) -> Result<ThreadGetNameReply, i32> {
        let thread: Ref<Thread> = self.target(Kind::Thread, KERN_INVALID_ARGUMENT)?;
        Ok(ThreadGetNameReply { name: FixedStr::truncated(&self.k.get(thread).name) })
    }

    /// Nobody is known to have promised to wake: such a wait has no owner, and is bounded only by the caller's deadline.
    fn gsync_wait(
        &mut self,
        _: &Request<'_>,
        addr: u64,
        val1: u32,
        val2: u32,
        msec: u32,
        flags: i32,
    ) -> Result<(), i32> {
        let task = self.task()?;
        let current = self.k.current;
        let t = *self.k.get(current);
        let word = self.k.user_word(task, addr);
        let word = self.end(word)?;
        if t.restarting != 0 {
            // Woken, or its time is over.
            return if t.receive.deadline <= self.k.machine.now() { Err(KERN_TIMEDOUT) } else { Ok(()) };
        }
        let low = self.k.read_u32(task, addr);
        let high = if flags & QUAD != 0 { self.k.read_u32(task, addr.wrapping_add(4)) } else { Ok(val2) };
        if self.end(low)? != val1 || self.end(high)? != val2 {
            return Err(KERN_INVALID_ARGUMENT);
        }
        let may = self.k.may_wait();
        self.end(may)?;
        let deadline =
            if flags & TIMED != 0 { self.k.machine.now() + u64::from(msec) * 1_000_000 } else { u64::MAX };
        let stop = self.k.park_on_word(word, deadline, RESUME_RESTART);
        let t = self.k.get_mut(current);
        t.restarting = 1;
        t.receive.deadline = deadline;
        self.end(Err(stop))
    }

    fn gsync_wake(&mut self, _: &Request<'_>, addr: u64, val: u32, flags: i32) -> Result<(), i32> {
        let task = self.task()?;
        if flags & MUTATE != 0 {
            let written = self.k.write_u32(task, addr, val);
            self.end(written)?;
        }
        let word = self.k.user_word(task, addr);
        let word = self.end(word)?;
        let woken = self.k.wake_words(word, if flags & BROADCAST != 0 { u32::MAX } else { 1 });
        self.end(woken).map(|_| ())
    }
}

impl<M: Machine> crate::kernel::Kernel<M> {
    /// Parks the current thread on a word that nobody owns.
    pub(crate) fn park_on_word(&mut self, word: u64, deadline: u64, resume: u8) -> Stop {
        match self.wait_on_word(word, 0, Ref::NONE, false, deadline, resume) {
            Ok(_) => Stop::Switched,
            Err(stop) => stop,
        }
    }
}
