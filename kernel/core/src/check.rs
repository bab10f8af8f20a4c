//! The conservation checker: the invariants of DESIGN, executable.
//!
//! Walks every account, frame, slab, thread and activation. It changes nothing but its own counters. Its cost grows with the memory in use; it is run by tests after
//! every step (with [`Kernel::check_deep`]), by `host_check_conservation`, and every N operations when `host_set_checking` says so.

use core::fmt::Write;

use drover_abi::account::{CALLS, CPU, FRAMES, IO, OBJECTS, RESOURCES, UNLIMITED};

use crate::account::Account;
use crate::activation::Activation;
use crate::call::MAX_DEPTH;
use crate::frame::NONE;
use crate::kernel::Kernel;
use crate::machine::Machine;
use crate::object::{Kind, Ref};
use crate::task::TASK_ALIVE;
use crate::thread::Thread;

/// Text of the first violation.
struct Text {
    bytes: [u8; 128],
    len: usize,
}

impl Write for Text {
    fn write_str(&mut self, s: &str) -> core::fmt::Result {
        let n = s.len().min(127 - self.len);
        self.bytes[self.len..self.len + n].copy_from_slice(&s.as_bytes()[..n]);
        self.len += n;
        Ok(())
    }
}

/// Where violations are reported.
pub(crate) type Report<'a> = dyn FnMut(core::fmt::Arguments<'_>) + 'a;

/// Violations found by one check.
pub(crate) struct Findings {
    found: u64,
    first: [u8; 128],
}

impl Default for Findings {
    fn default() -> Self {
        Self { found: 0, first: [0; 128] }
    }
}

impl Findings {
    /// Notes one.
    pub(crate) fn add(&mut self, text: core::fmt::Arguments<'_>) {
        if self.found == 0 {
            let mut t = Text { bytes: [0; 128], len: 0 };
            let _ = t.write_fmt(text);
            self.first = t.bytes;
        }
        self.found += 1;
    }
}

/// What the walk adds up.
#[derive(Default)]
struct Sums {
    frames: u64,
    activations: u64,
}

impl<M: Machine> Kernel<M> {
    /// Checks what conservation is: charges, frames, time, stacks; the number of violations found now.
    pub fn check(&mut self) -> u64 {
        self.charge_time();
        self.checks += 1;
        let mut findings = Findings::default();
        let report = &mut |text: core::fmt::Arguments<'_>| findings.add(text);
        let mut sums = Sums::default();
        let mut account = self.root;
        while account.is_some() {
            self.check_account(account, &mut sums, report);
            account = self.next_account(account);
        }
        let total = u64::from(self.total_frames);
        if sums.frames + u64::from(self.free_frames) != total {
            report(format_args!("frames: {} charged + {} free != {total}", sums.frames, self.free_frames));
        }
        self.check_translations(report);
        let elapsed = self.charged_until.saturating_sub(self.boot_ns);
        if self.charged_ns + self.idle_ns != elapsed {
            report(format_args!("time: {} charged + {} idle != {elapsed}", self.charged_ns, self.idle_ns));
        }
        self.record(&findings)
    }

    /// Adds findings to the counters; how many there are.
    pub(crate) fn record(&mut self, findings: &Findings) -> u64 {
        if findings.found > 0 {
            if self.violations == 0 {
                self.first_violation = findings.first;
            }
            self.violations += findings.found;
        }
        findings.found
    }

    /// The next account in a walk of the whole tree (parents before children).
    pub(crate) fn next_account(&self, account: Ref<Account>) -> Ref<Account> {
        let a = self.get(account);
        if a.children.is_some() {
            return a.children;
        }
        let mut at = account;
        while at.is_some() {
            let a = self.get(at);
            if a.next.is_some() {
                return a.next;
            }
            at = a.parent;
        }
        Ref::NONE
    }

    fn check_account(&self, account: Ref<Account>, sums: &mut Sums, report: &mut Report<'_>) {
        let a = self.get(account);
        let id = a.id;
        let mut given = [0u64; RESOURCES];
        let mut child = a.children;
        while child.is_some() {
            let c = self.get(child);
            for (i, g) in given.iter_mut().enumerate() {
                if c.resources[i].limit != UNLIMITED {
                    *g += c.resources[i].limit;
                }
            }
            if c.parent != account {
                report(format_args!("account {}: child of {id} with another parent", c.id));
            }
            child = c.next;
        }
        for (i, r) in a.resources.iter().enumerate() {
            let used = r.charged.checked_add(r.given).and_then(|n| n.checked_add(r.escrow));
            if r.limit != UNLIMITED && i != CPU && used.is_none_or(|n| n > r.limit) {
                report(format_args!("account {id}: resource {i}: {r:?}"));
            }
            if r.given != given[i] && i != CPU && i != IO {
                report(format_args!(
                    "account {id}: resource {i}: given {} != children's {}",
                    r.given, given[i]
                ));
            }
        }
        let frames = self.count_frames(account);
        if frames != a.resources[FRAMES].charged {
            report(format_args!("account {id}: {frames} frames, {} charged", a.resources[FRAMES].charged));
        }
        sums.frames += frames;
        let (mut objects, mut calls, mut escrow, mut threads) = (0u64, 0u64, 0u64, 0u32);
        let mut frame = a.slabs_head;
        while frame != NONE {
            if self.info(frame).owner != account {
                report(format_args!("account {id}: frame {frame:#x} of another"));
            }
            objects += u64::from(self.info(frame).bitmap.count_ones());
            for slot in 0..64 {
                let Some((kind, raw)) = self.slab_object(frame, slot) else { continue };
                if kind == Kind::Activation as u8 {
                    let act = Ref::<Activation>::from_raw(raw);
                    if self.get(act).lower.is_some() {
                        calls += 1;
                        escrow += self.get(act).escrow_frames;
                        sums.activations += 1;
                    }
                    if self.get(act).payer != account {
                        report(format_args!("account {id}: pays for an activation of another"));
                    }
                } else if kind == Kind::Thread as u8 {
                    threads += 1;
                    self.check_thread(Ref::from_raw(raw), report);
                }
            }
            frame = self.info(frame).next;
        }
        if objects != a.resources[OBJECTS].charged {
            report(format_args!("account {id}: {objects} objects, {} charged", a.resources[OBJECTS].charged));
        }
        if calls != a.resources[CALLS].charged {
            report(format_args!("account {id}: {calls} calls, {} charged", a.resources[CALLS].charged));
        }
        if escrow != a.resources[FRAMES].escrow {
            report(format_args!("account {id}: escrow {escrow}, {} set aside", a.resources[FRAMES].escrow));
        }
        if threads != a.threads {
            report(format_args!("account {id}: {threads} threads, {} counted", a.threads));
        }
    }

    /// The activation stack: acyclic, of the depth counted, none above the bottom in a dead task, ceilings attenuating.
    fn check_thread(&self, thread: Ref<Thread>, report: &mut Report<'_>) {
        let t = self.get(thread);
        let mut depth = 0;
        let mut act = t.top;
        while act.is_some() {
            let a = self.get(act);
            depth += 1;
            if depth > MAX_DEPTH + 1 {
                report(format_args!("thread {:#x}: activation stack without end", t.tid));
                return;
            }
            if a.thread != thread {
                report(format_args!("thread {:#x}: an activation of another thread", t.tid));
            }
            if a.lower.is_some()
                && a.task.is_some()
                && self.get(a.task).head.state != TASK_ALIVE
                && a.exit == 0
            {
                // Between the marking of a task and its reaping the exit is yet to come; reaping follows at once.
                if self.reaping.is_none() {
                    report(format_args!("thread {:#x}: activation in a dead task", t.tid));
                }
            }
            // An exit has a limit of its own for its waits, also after its server has died.
            let later = a.lower.is_some() && a.left.deadline_ns > self.get(a.lower).left.deadline_ns;
            if later && a.exit == 0 {
                report(format_args!("thread {:#x}: a callee's deadline is later than its caller's", t.tid));
            }
            act = a.lower;
        }
        if depth != t.depth {
            report(format_args!("thread {:#x}: depth {} counted, {depth} found", t.tid, t.depth));
        }
    }
}
