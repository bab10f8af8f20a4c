//! Owned waits: sleeping on a 32-bit word in user memory, with the kernel knowing who promised to wake.
//!
//! A word is known by its physical address, so that tasks sharing memory share waits. A cycle of owned waits is refused when it would close;
//! an owner that ends wakes its waiters. Bucket lists are walked in full: a bucket's length is bounded by the threads that wait, each paid for.

use drover_abi::returns::{DROVER_CHANGED, DROVER_DEADLOCK, DROVER_OWNER_DIED, KERN_TIMEDOUT};
use drover_abi::trap::WAIT_LEND;

use crate::frame::FrameKind;
use crate::kernel::{Kernel, Stop, WORD_BUCKETS};
use crate::machine::Machine;
use crate::object::{Kind, Ref};
use crate::sched::CHAIN;
use crate::thread::{BLOCKED, ENDED, ON_WORD, RESUME_USER, Thread};

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
        let head = self.words[at];
        let t = self.get_mut(current);
        (t.wait_word, t.wait_owner) = (word, owner);
        t.wait_next = head;
        t.wait_prev = Ref::NONE;
        if head.is_some() {
            self.get_mut(head).wait_prev = current;
        }
        self.words[at] = current;
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
        }
        if t.wait_owner != 0 {
            let holder = self.thread_by_tid(t.wait_owner);
            if t.waiter_prev.is_some() {
                self.get_mut(t.waiter_prev).waiter_next = t.waiter_next;
            } else if holder.is_some() {
                self.get_mut(holder).waiters = t.waiter_next;
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
    /// `KERN_INVALID_ADDRESS`.
    pub(crate) fn trap_wake(&mut self, address: u64, count: u32) -> Result<i32, Stop> {
        let task = self.task_here();
        let word = self.user_word(task, address)?;
        Ok(self.wake_word(word, count) as i32)
    }

    /// Wakes waiters of a word; how many.
    pub(crate) fn wake_word(&mut self, word: u64, count: u32) -> u32 {
        let mut woken = 0;
        while woken < count {
            // The list is last in, first out: the oldest waiter is the last match.
            let mut found = Ref::NONE;
            let mut at = self.words[bucket(word)];
            while at.is_some() {
                if self.get(at).wait_word == word {
                    found = at;
                }
                at = self.get(at).wait_next;
            }
            if found.is_none() {
                break;
            }
            self.wake(found, 0);
            woken += 1;
        }
        woken
    }

    /// A thread ends: whoever waits for it learns so.
    pub(crate) fn owner_died(&mut self, thread: Ref<Thread>) {
        while self.get(thread).waiters.is_some() {
            let waiter = self.get(thread).waiters;
            self.wake(waiter, DROVER_OWNER_DIED);
        }
    }
}
