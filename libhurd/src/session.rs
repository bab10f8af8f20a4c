//! Sessions: what a server retains for a client after the reply, paid by the client.
//!
//! A session is a child account of the client's. The server holds the right to charge it; the client can see it and destroy it, and
//! then everything in it is gone: its memory faults, its ports are dead. [`Sessions`] keeps one per client account; the index itself is the server's own.
//!
//! What a server may retain shows in its methods' signatures: a [`Retain`] comes with the methods whose interface says so, and a session takes one.
//!
//! ```
//! use hurd_stubs::io::{IoDuplicateReply, IoServer};
//! use libhurd::session::{Limits, Session};
//! use mig_runtime::{Request, Retain};
//! struct Server;
//! impl IoServer for Server {
//!     // io.defs: DONATION (retain at most 1 MiB)
//!     fn io_duplicate(&mut self, _: &Request<'_>, retain: Retain) -> Result<IoDuplicateReply, i32> {
//!         let _session = Session::of_caller(Limits { frames: 8, objects: 16 }, &retain)?;
//!         Err(0)
//!     }
//! }
//! ```
//!
//! A method whose interface does not say so is given none:
//!
//! ```compile_fail,E0050
//! # use hurd_stubs::io::{IoReadableReply, IoServer};
//! # use mig_runtime::{Request, Retain};
//! # struct Server;
//! impl IoServer for Server {
//!     fn io_readable(&mut self, _: &Request<'_>, retain: Retain) -> Result<IoReadableReply, i32> {
//!         Err(0)
//!     }
//! }
//! ```
//!
//! nor make one, nor make a session without one:
//!
//! ```compile_fail,E0451
//! let retain = mig_runtime::Retain { frames: 1000 };
//! ```
//!
//! ```compile_fail,E0061
//! use libhurd::session::{Limits, Session};
//! let session = Session::of_caller(Limits { frames: 8, objects: 16 });
//! ```
//!
//! A program that goes around this library gets no further than the offer: where an interface speaks of donations the client's stub offers no more than it says, and the kernel makes
//! no session beyond the offer, and none at all for a server that is in no call of that client's.

use alloc::sync::Arc;
use alloc::vec::Vec;

use drover_abi::returns::{KERN_FAILURE, KERN_NO_ACCESS, KERN_RESOURCE_SHORTAGE};
use hurd_stubs::account;
use mig_runtime::{Memory, Ool, PortName, Retain};

use crate::cleanup::{Held, hold};
use crate::loan::Caller;
use crate::local::Local;
use crate::lock::Mutex;
use crate::ool::Pages;
use crate::port::SendRight;
use crate::rpc::{ALL, Mach};
use crate::server::{Object, Server};
use crate::{ool, payer, syscall};

/// What a session may hold.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Frames.
    pub frames: u64,
    /// Kernel objects.
    pub objects: u64,
}

/// One client's account for what a server keeps.
#[derive(Debug)]
pub struct Session {
    client: u64,
    account: SendRight,
}

impl Session {
    /// A session of the client that the running call is made for. The interface must allow to retain that much (`retain` comes with the
    /// method's arguments), and so must the client's donation.
    ///
    /// # Errors
    /// `KERN_RESOURCE_SHORTAGE`: the client has less, or does not allow it. `KERN_FAILURE` outside a call.
    pub fn of_caller(limits: Limits, retain: &Retain) -> Result<Self, i32> {
        if retain.frames() < limits.frames {
            return Err(KERN_RESOURCE_SHORTAGE);
        }
        let local = Local::current();
        if !local.in_call() {
            return Err(KERN_FAILURE);
        }
        payer::own(|| {
            let client = SendRight::from_name(syscall::account_self());
            let reply =
                account::account_session_create(&Mach, client.name(), limits.frames, limits.objects, ALL)?;
            Ok(Self { client: local.payer(), account: SendRight::from_name(reply.session) })
        })
    }

    /// Id of the client's account.
    #[must_use]
    pub const fn client(&self) -> u64 {
        self.client
    }

    /// The session's account.
    #[must_use]
    pub const fn account(&self) -> PortName {
        self.account.name()
    }

    /// Runs `body` at the session's expense: ports and pages asked of the kernel in it are the session's. Heap allocations are the server's own.
    ///
    /// # Errors
    /// The kernel's, when the session has been destroyed.
    pub fn pays<R>(&self, body: impl FnOnce() -> R) -> Result<R, i32> {
        payer::charged_to(self.account(), body)
    }
}

impl Session {
    /// Zeroed pages for `len` bytes at the session's expense. When the client destroys the session they fault.
    ///
    /// # Errors
    /// The kernel's.
    pub fn pages(&self, len: usize) -> Result<Pages, i32> {
        self.pays(|| Pages::new(len))?
    }

    /// Keeps memory that a request gave beyond the end of its call, at the session's expense. What came is freed.
    ///
    /// # Errors
    /// The kernel's; what came is still there then.
    pub fn keep(&self, gift: Ool) -> Result<Pages, i32> {
        let mut pages = self.pages(gift.bytes() as usize)?;
        if !pages.bytes().is_empty() {
            Caller.read(gift.address, pages.bytes_mut())?;
            ool::discard(gift.address, gift.bytes());
        }
        Ok(pages)
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // Fails if the client has destroyed it before.
        let _ = account::account_destroy(&Mach, self.account(), ALL);
    }
}

/// The sessions of a server, one per client account, at most `MAX`.
pub struct Sessions<const MAX: usize> {
    limits: Limits,
    table: Mutex<Vec<Arc<Session>>>,
}

impl<const MAX: usize> Sessions<MAX> {
    /// No sessions yet.
    #[must_use]
    pub const fn new(limits: Limits) -> Self {
        Self { limits, table: Mutex::new(Vec::new()) }
    }

    /// The caller's session, made if need be.
    ///
    /// # Errors
    /// As for [`Session::of_caller`]; `KERN_RESOURCE_SHORTAGE` when `MAX` clients have one.
    pub fn of_caller(&self, retain: &Retain) -> Result<Held<Session>, i32> {
        let client = Local::current().payer();
        if let Some(found) = self.find(client)? {
            return Ok(hold(found));
        }
        let made = Session::of_caller(self.limits, retain)?;
        payer::own(|| {
            self.sweep()?;
            let mut table = self.table.lock()?;
            if let Some(found) = table.iter().find(|session| session.client == client) {
                let found = found.clone();
                drop(table);
                return Ok(hold(found));
            }
            if table.len() >= MAX || table.try_reserve(1).is_err() {
                return Err(KERN_RESOURCE_SHORTAGE);
            }
            let made = Arc::new(made);
            table.push(made.clone());
            drop(table);
            Ok(hold(made))
        })
    }

    fn find(&self, client: u64) -> Result<Option<Arc<Session>>, i32> {
        let table = self.table.lock()?;
        Ok(table.iter().find(|session| session.client == client).cloned())
    }

    /// When the table is full: forgets the sessions whose clients have destroyed them or are gone.
    fn sweep(&self) -> Result<(), i32> {
        let all: Vec<Arc<Session>> = {
            let table = self.table.lock()?;
            if table.len() < MAX {
                return Ok(());
            }
            table.iter().cloned().collect()
        };
        for session in all {
            if account::account_info(&Mach, session.account(), ALL).is_err() {
                self.remove(session.client);
            }
        }
        Ok(())
    }

    /// A new object of `server` for the caller, paid by its session. Where nobody but the server pays (the classic world), by the server.
    ///
    /// # Errors
    /// As for [`Sessions::of_caller`], and the kernel's; `KERN_NO_ACCESS` in a call whose interface does not let its server retain anything.
    pub fn object(&self, server: &Server, payload: u64, retain: Option<&Retain>) -> Result<Object, i32> {
        if !Local::current().in_call() {
            return server.counted_object(payload);
        }
        self.of_caller(retain.ok_or(KERN_NO_ACCESS)?)?.pays(|| server.counted_object(payload))?
    }

    /// Forgets the session of that client; what is charged to it goes away with the last user.
    pub fn remove(&self, client: u64) {
        let removed = self.table.lock().ok().and_then(|mut table| {
            let at = table.iter().position(|session| session.client == client)?;
            Some(table.swap_remove(at))
        });
        drop(removed);
    }
}
