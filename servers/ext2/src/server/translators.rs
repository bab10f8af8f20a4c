//! Running translators: the boxes of [`transbox`](super::transbox) with what a kernel adds to them: control ports, promises to wait for, threads.
//!
//! In the migrating worlds a visitor who finds no translator marks the node STARTING, has a *starter* thread made, which the owner of the node pays for, and
//! waits like everybody else. Until the starter has taken over, the visitor answers for the mark: should its call be forced to end, the mark is taken back.
//! In the classic world, and with `--node-lock`, the visitor does the work itself.

use alloc::rc::Rc;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::cell::Cell;

use ext2::Inode;
use libhurd::abi::returns::{KERN_ABORTED, KERN_RESOURCE_SHORTAGE, MACH_SEND_INVALID_DEST, MIG_SERVER_DIED};
use libhurd::cleanup::{Held, OnExit, hold, on_exit};
use libhurd::errno::{EDIED, ENOENT, EPERM};
use libhurd::lock::{ClassicGuard, ClassicMutex, Mutex, MutexGuard};
use libhurd::mig::{Port, PortName};
use libhurd::port::{ReceiveRight, SendRight};
use libhurd::stubs::{fsys, payer};
use libhurd::{Mach, own, syscall, thread};

use super::policy::NodeLock;
use super::promise::{BROKEN, Promise, Waited};
use super::starter::Running;
use super::transbox::{Boxes, Outcome, Refused, Ticket, Visit};
use super::{Ext2, code_of, onward, starter};

/// Translators that run or start at a time.
const BOXES: usize = 256;
/// How often a visitor begins anew because the translator that it found had died.
const ATTEMPTS: u32 = 4;
/// A control port. Two are the same if their port is.
#[derive(Clone, Debug)]
pub(super) struct Control(Arc<SendRight>);

impl PartialEq for Control {
    fn eq(&self, other: &Self) -> bool {
        self.0.name() == other.0.name()
    }
}

impl Control {
    /// Takes a right over, at the server's own expense.
    pub(super) fn new(right: SendRight) -> Self {
        Self(own(|| Arc::new(right)))
    }

    /// The port's name.
    pub(super) fn name(&self) -> PortName {
        self.0.name()
    }
}

/// The locks of stall (b).
struct NodeLocks {
    classic: ClassicMutex<()>,
    ruled: Mutex<()>,
}

/// A node's lock is held.
#[expect(dead_code, reason = "held for its drop")]
pub(super) enum Locked {
    None,
    Classic(ClassicGuard<()>),
    Ruled(MutexGuard<'static, ()>),
}

/// See the module.
pub(super) struct Translators {
    boxes: Mutex<Boxes<Control>>,
    /// One for each box.
    promises: Vec<Promise>,
    /// Starts under way.
    running: Mutex<Vec<Arc<Running>>>,
    /// By inode number; nodes may share one.
    locks: Vec<NodeLocks>,
}

impl Translators {
    /// None. All memory is allocated now.
    pub(super) fn new() -> Self {
        let locks = || NodeLocks { classic: ClassicMutex::new(()), ruled: Mutex::new(()) };
        Self {
            boxes: Mutex::new(Boxes::new(BOXES)),
            promises: (0..BOXES).map(|_| Promise::new()).collect(),
            running: Mutex::new(Vec::with_capacity(BOXES)),
            locks: (0..BOXES).map(|_| locks()).collect(),
        }
    }

    /// The running translator's control port, held for the length of the call.
    pub(super) fn active(&self, node: u32) -> Result<Option<Held<SendRight>>, i32> {
        let control = self.boxes.lock()?.active(node);
        Ok(control.map(|control| hold(control.0)))
    }

    /// Whether a translator runs or is being started.
    pub(super) fn is_busy(&self, node: u32) -> bool {
        self.boxes.lock().is_ok_and(|boxes| boxes.is_busy(node))
    }

    /// The port of that name has died: if it was a control port, the node has no translator any more; if it was an account, its starters are
    /// gone, and what they held is given back.
    pub(super) fn died(&self, name: PortName) {
        let forgotten =
            self.boxes.lock().ok().and_then(|mut boxes| boxes.forget(|control| control.name() == name));
        own(|| drop(forgotten));
        while let Some(running) = self.take_running(|running| running.account == name) {
            self.finish(running.ticket, Err(BROKEN));
            running.release();
        }
    }

    fn take_running(&self, is_it: impl Fn(&Arc<Running>) -> bool) -> Option<Arc<Running>> {
        let mut list = self.running.lock().ok()?;
        let at = list.iter().position(is_it)?;
        Some(list.swap_remove(at))
    }

    /// Remembers a start until the end of the starter, or of its account.
    fn remember(&self, running: &Arc<Running>) -> Result<(), i32> {
        let running = running.clone();
        let mut list = self.running.lock()?;
        if list.len() >= BOXES {
            return Err(KERN_RESOURCE_SHORTAGE);
        }
        list.push(running);
        Ok(())
    }

    /// What a start held is given back when this is dropped, or on a forced exit.
    fn give_back(&'static self, running: Arc<Running>) -> OnExit {
        on_exit(move || {
            drop(self.take_running(|other| Arc::ptr_eq(other, &running)));
            running.release();
        })
    }

    /// `node`'s control port does not answer.
    fn forget(&self, node: u32, name: PortName) -> Result<(), i32> {
        let forgotten = {
            let mut boxes = self.boxes.lock()?;
            match boxes.active(node) {
                Some(control) if control.name() == name => boxes.died(node, &control),
                _ => None,
            }
        };
        own(|| drop(forgotten));
        Ok(())
    }

    /// Ends a start and wakes all who wait for it.
    fn finish(&self, ticket: Ticket, result: Result<Control, i32>) {
        let Ok(mut boxes) = self.boxes.lock() else { return };
        let (news, unwanted) = match result {
            Ok(control) => {
                let unwanted = boxes.started(ticket, control);
                (unwanted.is_none(), unwanted)
            }
            Err(code) => (boxes.failed(ticket, code), None),
        };
        // Under the lock, so that the promise always says what the box says.
        if news && let Some(promise) = self.promises.get(ticket.place) {
            promise.settle();
        }
        drop(boxes);
        own(|| drop(unwanted));
    }

    /// The calling thread does the work of a start from now on, if it is still wanted.
    fn take_over(&self, ticket: Ticket) -> Result<(), i32> {
        let boxes = self.boxes.lock()?;
        if !matches!(boxes.outcome(ticket), Outcome::Pending) {
            return Err(BROKEN);
        }
        if let Some(promise) = self.promises.get(ticket.place) {
            promise.take_over();
        }
        Ok(())
    }

    /// Waits for the end of a start; `None`: look again. `maker`: it was the caller who had the starter made.
    fn wait(&self, ticket: Ticket, maker: bool) -> Result<Option<Control>, i32> {
        let promise = self.promises.get(ticket.place).ok_or(EDIED)?;
        loop {
            match self.boxes.lock()?.outcome(ticket) {
                Outcome::Pending => {}
                Outcome::Ready(control) => return Ok(Some(control)),
                Outcome::Failed(code) => return Err(code),
                Outcome::Forgotten => return Ok(None),
            }
            let deadline = syscall::call_info().map_or(u64::MAX, |info| info.remaining.deadline_ns);
            if promise.wait(deadline, maker)? == Waited::Broken {
                // The starter's account is gone, and the starter with it.
                self.finish(ticket, Err(BROKEN));
            }
        }
    }

    /// Sets the running translator; what was there comes back. Waits for one that is being started, unless `exclusive`.
    ///
    /// # Errors
    /// `EBUSY`, `KERN_RESOURCE_SHORTAGE`, those of the wait.
    pub(super) fn set(
        &self,
        inode: &Inode,
        control: Option<Control>,
        exclusive: bool,
    ) -> Result<Option<Control>, i32> {
        loop {
            let refused = self.boxes.lock()?.set(inode.number, inode.uid, control.clone(), exclusive);
            match refused {
                Ok(old) => return Ok(old),
                Err(Refused::Code(code)) => return Err(code),
                // Whatever became of it, we try again.
                Err(Refused::Starting(ticket)) => match self.wait(ticket, false) {
                    Err(code) if self.is_pending(ticket)? => return Err(code),
                    _ => {}
                },
            }
        }
    }

    fn is_pending(&self, ticket: Ticket) -> Result<bool, i32> {
        Ok(matches!(self.boxes.lock()?.outcome(ticket), Outcome::Pending))
    }
}

/// Makes this task as large as starts of translators will need it, so that no user's start makes it grow: the stacks of the first starter threads and
/// the table of port names stay when they are not used any more.
pub(super) fn prepare() {
    /// Threads whose stacks are made.
    const THREADS: u32 = 4;
    /// Port names for which there is room.
    const NAMES: usize = 1000;
    for _ in 0..THREADS {
        if thread::spawn(starter::touch_stack).is_err() {
            log::warn!("no memory for starter threads yet");
        }
    }
    let names: Vec<ReceiveRight> = (0..NAMES).map_while(|_| ReceiveRight::new().ok()).collect();
    if names.len() < NAMES {
        log::warn!("no room for {NAMES} port names");
    }
}

impl Ext2 {
    /// Takes the node's lock, in the one configuration that has it.
    pub(super) fn lock_node(&'static self, node: u32) -> Result<Locked, i32> {
        let Some(locks) = self.translators.locks.get(node as usize % BOXES) else { return Ok(Locked::None) };
        Ok(match self.policy.node_lock() {
            NodeLock::None => Locked::None,
            NodeLock::Classic => Locked::Classic(locks.classic.lock()?),
            NodeLock::Ruled => Locked::Ruled(locks.ruled.lock()?),
        })
    }

    /// What the node's translator says when asked for its root; `None` if the node has no translator. Starts it if need be.
    ///
    /// # Errors
    /// Those of the start and of the translator; `KERN_TIMEDOUT` when the caller's deadline passes first.
    pub(super) fn enter(
        &'static self,
        inode: &Inode,
        visitor: Visitor<'_>,
    ) -> Result<Option<fsys::FsysGetrootReply>, i32> {
        for attempt in 1..=ATTEMPTS {
            let Some(control) = self.control_of(inode)? else { return Ok(None) };
            let control = hold(control.0);
            let Visitor { dotdot, uids, gids, flags } = visitor;
            match fsys::fsys_getroot(&Mach, control.name(), dotdot, uids, gids, flags, &onward()) {
                Ok(reply) => return Ok(Some(reply)),
                Err(error) => match error.code() {
                    MIG_SERVER_DIED | MACH_SEND_INVALID_DEST if attempt < ATTEMPTS => {
                        self.translators.forget(inode.number, control.name())?;
                    }
                    MIG_SERVER_DIED | MACH_SEND_INVALID_DEST => return Err(EDIED),
                    code => return Err(code),
                },
            }
        }
        Err(EDIED)
    }

    fn control_of(&'static self, inode: &Inode) -> Result<Option<Control>, i32> {
        for _ in 0..ATTEMPTS {
            let _lock = self.lock_node(inode.number)?;
            let mark = Mark::new(self);
            let visit = {
                let mut boxes = self.translators.boxes.lock()?;
                let visit = boxes.visit(inode.number, inode.uid, inode.has_translator())?;
                if let Visit::Start(ticket) = visit {
                    mark.set(ticket);
                    if let Some(promise) = self.translators.promises.get(ticket.place) {
                        promise.make();
                    }
                }
                visit
            };
            let mut maker = false;
            let ticket = match visit {
                Visit::Plain => return Ok(None),
                Visit::Active(control) => return Ok(Some(control)),
                Visit::Wait(ticket) => ticket,
                Visit::Start(ticket) => {
                    self.start_translator(inode, ticket, mark);
                    maker = true;
                    ticket
                }
            };
            if let Some(control) = self.translators.wait(ticket, maker)? {
                return Ok(Some(control));
            }
        }
        Err(EDIED)
    }

    /// Starts the translator here, or has it started.
    fn start_translator(&'static self, inode: &Inode, ticket: Ticket, mark: Mark) {
        let result = self.payer_of(inode.uid).and_then(|payer| {
            let job = starter::Job { node: inode.number, uid: inode.uid, gid: inode.gid };
            let running = Running::new(payer, ticket);
            if self.policy.visitor_starts() {
                let _given_back = self.translators.give_back(running.clone());
                let control = starter::run(self, &job, &running)?;
                self.translators.finish(ticket, Ok(Control::new(control)));
                return Ok(());
            }
            let account = running.account;
            if account.is_valid() {
                self.server.watch(account)?;
            }
            self.translators.remember(&running)?;
            let list = running.clone();
            let work = move || {
                let _given_back = self.translators.give_back(running.clone());
                if self.translators.take_over(ticket).is_err() {
                    return;
                }
                let result = starter::run(self, &job, &running).map(Control::new);
                if let Ok(control) = &result
                    && let Err(code) = self.server.watch(control.name())
                {
                    log::warn!("no notice of a translator's end: {code:#x}");
                }
                self.translators.finish(ticket, result);
            };
            let spawned =
                if account.is_valid() { thread::spawn_for(account, work) } else { thread::spawn(work) };
            if spawned.is_err() {
                drop(self.translators.take_running(|other| Arc::ptr_eq(other, &list)));
            }
            spawned
        });
        match result {
            Ok(()) => mark.handed_over(),
            // Dropping the mark would say that we were aborted.
            Err(code) => {
                self.translators.finish(ticket, Err(code));
                mark.handed_over();
            }
        }
    }

    /// The account that pays for what runs in the name of `uid`; null: this task's own.
    fn payer_of(&self, uid: u32) -> Result<SendRight, i32> {
        if !self.policy.owner_pays() || !self.proc().is_valid() {
            return Ok(SendRight::NULL);
        }
        match payer::payer_for_uid(&Mach, self.proc(), uid, &onward()) {
            Ok(reply) => SendRight::received(reply.account),
            // The system's own translators, when nobody else has been named for them.
            Err(error) if error.code() == ENOENT && uid == 0 => Ok(SendRight::NULL),
            Err(error) if error.code() == ENOENT => Err(EPERM),
            Err(error) => Err(error.code()),
        }
    }
}

/// Who wants to enter a translator.
#[derive(Clone, Copy)]
pub(super) struct Visitor<'a> {
    /// The directory of the node, for "..".
    pub(super) dotdot: Port,
    /// Effective uids.
    pub(super) uids: &'a [u32],
    /// Effective gids.
    pub(super) gids: &'a [u32],
    /// Open flags.
    pub(super) flags: i32,
}

/// The mark STARTING on a node, as long as this activation answers for it.
struct Mark {
    ticket: Rc<Cell<Option<Ticket>>>,
    guard: OnExit,
}

impl Mark {
    /// No mark yet; the cleanup is there first.
    fn new(ext2: &'static Ext2) -> Self {
        let ticket = Rc::new(Cell::new(None));
        let guard = on_exit({
            let ticket: Rc<Cell<Option<Ticket>>> = ticket.clone();
            move || {
                if let Some(ticket) = ticket.get() {
                    ext2.translators.finish(ticket, Err(KERN_ABORTED));
                }
            }
        });
        Self { ticket, guard }
    }

    fn set(&self, ticket: Ticket) {
        self.ticket.set(Some(ticket));
    }

    /// Somebody else answers for it now, or it is gone.
    fn handed_over(self) {
        self.guard.cancel();
    }
}

impl Ext2 {
    /// The passive translator record of a node, as words with NULs; empty if there is none.
    pub(super) fn record_of(&self, inode: &Inode) -> Result<Vec<u8>, i32> {
        let mut record = alloc::vec![0; self.fs.block_size()];
        let len = self.fs.translator(&self.store, inode, &mut record).map_err(code_of)?;
        record.truncate(len.unwrap_or(0));
        Ok(record)
    }
}
