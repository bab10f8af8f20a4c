//! Owned waits: sleeping on a 32-bit word in user memory, with the kernel knowing who promised to wake.
//!
//! A word is known by its physical address, so that tasks sharing memory share waits. A cycle of owned waits is refused when it would close;
//! an owner that ends wakes its waiters. Others can make both lists long, so waking is done in steps: a waker's trap is restarted after [`WAKES`], and the waiters of
//! an owner that has ended are woken between operations. A bucket is walked once a step; its length is bounded by the threads that wait, each paid for.

use drover_abi::returns::{DROVER_CHANGED, DROVER_DEADLOCK, DROVER_OWNER_DIED, KERN_TIMEDOUT};
use drover_abi::trap::WAIT_LEND;

use crate::frame::FrameKind;
use crate::kernel::{Kernel, Stop, WORD_BUCKETS};
use crate::machine::Machine;
use crate::object::{Kind, Ref};
use crate::sched::CHAIN;
use crate::thread::{BLOCKED, ENDED, ON_WORD, RESUME_USER, Thread};

/// Threads woken in one step.
const WAKES: u32 = 256;

fn bucket(word: u64) -> usize {
    (((word >> 2) ^ (word >> 12)) as usize) % WORD_BUCKETS
}

impl<M: Machine> Kernel<M> {
    /// The live thread with this id, or none. The low half of a tid is the thread's reference.
    pub(crate) fn thread_by_tid(&self, tid: u64) -> Ref<Thread> {
        let raw = tid as u32;
        if raw == 0 || !self.is_object(raw, Kind::Thread, 3) {
            return Ref::NONE;
        }
        let thread = Ref::<Thread>::from_raw(raw);
        if self.get(thread).tid == tid && self.get(thread).head.state != ENDED { thread } else { Ref::NONE }
    }

    /// Whether `raw` names a live object of a kind and slab class.
    pub(crate) fn is_object(&self, raw: u32, kind: Kind, class: u8) -> bool {
        let frame = raw >> 6;
        if frame >= self.table_frames * 128 {
            return false;
        }
        let info = self.info(frame);
        let slot = (raw & 63) >> class;
        info.kind == FrameKind::Slab as u8
            && info.class == class
            && (slot << class) == raw & 63
            && info.bitmap & (1 << slot) != 0
            && self.machine.page(frame).0[((raw & 63) << 6) as usize] == kind as u8
    }

    /// The trap `drover_wait(addr, expected, owner_tid, flags, deadline)`. `addr` 0: sleeps until the deadline.
    ///
    /// # Errors
    /// `DROVER_CHANGED`: the word has another value; `KERN_TIMEDOUT`; `DROVER_DEADLOCK`; `DROVER_OWNER_DIED`: the owner has ended;
    /// `KERN_INVALID_ADDRESS`; `KERN_ABORTED`.
    pub(crate) fn trap_wait(
        &mut self,
        address: u64,
        expected: u32,
        owner: u64,
        flags: u64,
        deadline: u64,
    ) -> Result<i32, Stop> {
        let current = self.current;
        let mut word = 0;
        if address != 0 {
            let task = self.task_here();
            word = self.user_word(task, address)?;
            if self.read_u32(task, address)? != expected {
                return Err(Stop::Error(DROVER_CHANGED));
            }
        }
        if deadline <= self.machine.now() {
            return Err(Stop::Error(KERN_TIMEDOUT));
        }
        let mut holder = Ref::NONE;
        if owner != 0 {
            holder = self.thread_by_tid(owner);
            if holder.is_none() {
                return Err(Stop::Error(DROVER_OWNER_DIED));
            }
            if self.waits_for(holder, current) {
                return Err(Stop::Error(DROVER_DEADLOCK));
            }
        }
        self.wait_on_word(word, owner, holder, flags & WAIT_LEND != 0, deadline, RESUME_USER)
    }

    /// Parks the current thread on a word.
    pub(crate) fn wait_on_word(
        &mut self,
        word: u64,
        owner: u64,
        holder: Ref<Thread>,
        lend: bool,
        deadline: u64,
        resume: u8,
    ) -> Result<i32, Stop> {
        let current = self.current;
        let stop = self.block(ON_WORD, 0, resume, deadline);
        if resume == RESUME_USER {
            self.regs.rax = 0;
        }
        let at = bucket(word);
        let last = core::mem::replace(&mut self.words_tail[at], current);
        let t = self.get_mut(current);
        (t.wait_word, t.wait_owner) = (word, owner);
        (t.wait_next, t.wait_prev) = (Ref::NONE, last);
        if last.is_some() {
            self.get_mut(last).wait_next = current;
        } else {
            self.words[at] = current;
        }
        if holder.is_some() {
            let next = self.get(holder).waiters;
            let t = self.get_mut(current);
            t.waiter_next = next;
            t.waiter_prev = Ref::NONE;
            if next.is_some() {
                self.get_mut(next).waiter_prev = current;
            }
            self.get_mut(holder).waiters = current;
            if lend {
                self.get_mut(current).lend = 1;
                self.get_mut(holder).lender = current;
                // It stands in line for the owner.
                let act = self.here();
                self.get_mut(act).regs = self.regs;
                self.enqueue(current);
            }
        }
        Err(stop)
    }

    /// Whether `from` waits, directly or along owned waits, for `target`.
    fn waits_for(&self, from: Ref<Thread>, target: Ref<Thread>) -> bool {
        let mut thread = from;
        for _ in 0..CHAIN {
            if thread == target {
                return true;
            }
            let t = self.get(thread);
            if t.head.state != BLOCKED || t.waiting != ON_WORD || t.wait_owner == 0 {
                return false;
            }
            thread = self.thread_by_tid(t.wait_owner);
            if thread.is_none() {
                return false;
            }
        }
        // A chain as long as that is refused as if it closed.
        true
    }

    /// Unlinks a thread from its word's bucket and from its owner.
    pub(crate) fn word_unlink(&mut self, thread: Ref<Thread>) {
        let t = *self.get(thread);
        if t.wait_prev.is_some() {
            self.get_mut(t.wait_prev).wait_next = t.wait_next;
        } else {
            self.words[bucket(t.wait_word)] = t.wait_next;
        }
        if t.wait_next.is_some() {
            self.get_mut(t.wait_next).wait_prev = t.wait_prev;
        } else {
            self.words_tail[bucket(t.wait_word)] = t.wait_prev;
        }
        if t.wait_owner != 0 {
            let holder = self.thread_by_tid(t.wait_owner);
            if t.waiter_prev.is_some() {
                self.get_mut(t.waiter_prev).waiter_next = t.waiter_next;
            } else if holder.is_some() {
                self.get_mut(holder).waiters = t.waiter_next;
            } else {
                self.orphan_replace(thread, t.waiter_next);
            }
            if t.waiter_next.is_some() {
                self.get_mut(t.waiter_next).waiter_prev = t.waiter_prev;
            }
            if holder.is_some() && self.get(holder).lender == thread {
                let next = self.get(holder).waiters;
                self.get_mut(holder).lender = next;
            }
        }
        let t = self.get_mut(thread);
        (t.wait_word, t.wait_owner, t.lend) = (0, 0, 0);
        (t.wait_next, t.wait_prev, t.waiter_next, t.waiter_prev) =
            (Ref::NONE, Ref::NONE, Ref::NONE, Ref::NONE);
    }

    /// The trap `drover_wake(addr, count)`: wakes up to `count` threads that wait on the word, first come first served.
    ///
    /// # Errors
    /// `KERN_INVALID_ADDRESS`; `Stop::Again` after many.
    pub(crate) fn trap_wake(&mut self, address: u64, count: u32) -> Result<i32, Stop> {
        let task = self.task_here();
        let word = self.user_word(task, address)?;
        self.wake_words(word, count).map(|woken| woken as i32)
    }

    /// Wakes waiters of a word, the oldest first; how many.
    fn wake_word(&mut self, word: u64, count: u32) -> u32 {
        let mut woken = 0;
        let mut at = self.words[bucket(word)];
        while at.is_some() && woken < count {
            let next = self.get(at).wait_next;
            if self.get(at).wait_word == word {
                self.wake(at, 0);
                woken += 1;
            }
            at = next;
        }
        woken
    }

    /// The same for the current trap, in steps; how many in all.
    ///
    /// # Errors
    /// `Stop::Again`: there may be more; the thread keeps the number.
    pub(crate) fn wake_words(&mut self, word: u64, count: u32) -> Result<u32, Stop> {
        let current = self.current;
        let t = self.get(current);
        let before = if t.restarting != 0 { t.receive.size } else { 0 };
        let step = count.saturating_sub(before).min(WAKES);
        let now = self.wake_word(word, step);
        let woken = before + now;
        if now < WAKES || woken >= count {
            return Ok(woken);
        }
        let t = self.get_mut(current);
        (t.restarting, t.receive.size) = (1, woken);
        Err(Stop::Again)
    }

    /// A thread ends: whoever waits for it is to learn so, see [`Self::wake_orphans`].
    pub(crate) fn owner_died(&mut self, thread: Ref<Thread>) {
        let first = core::mem::take(&mut self.get_mut(thread).waiters);
        if first.is_none() {
            return;
        }
        let next = core::mem::replace(&mut self.orphans, first);
        if next.is_some() {
            self.get_mut(next).orphan_prev = first;
        }
        let t = self.get_mut(first);
        (t.orphan_next, t.orphan_prev) = (next, Ref::NONE);
    }

    /// The first of a list of orphans goes; `heir`, the next one if there is any, takes its place.
    fn orphan_replace(&mut self, first: Ref<Thread>, heir: Ref<Thread>) {
        let t = self.get_mut(first);
        let (next, prev) = (core::mem::take(&mut t.orphan_next), core::mem::take(&mut t.orphan_prev));
        let (before, after) = if heir.is_some() { (heir, heir) } else { (prev, next) };
        if heir.is_some() {
            let h = self.get_mut(heir);
            (h.orphan_next, h.orphan_prev) = (next, prev);
        }
        if prev.is_some() {
            self.get_mut(prev).orphan_next = after;
        } else {
            self.orphans = after;
        }
        if next.is_some() {
            self.get_mut(next).orphan_prev = before;
        }
    }

    /// One bounded step of waking those whose owner has ended.
    pub(crate) fn wake_orphans(&mut self) {
        for _ in 0..WAKES {
            if self.orphans.is_none() {
                return;
            }
            self.wake(self.orphans, DROVER_OWNER_DIED);
        }
    }
}
