//! Open files: what the Hurd calls protids. Each is a port with an inode, open flags, a file pointer that duplicates share, and the ids of its user.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicI32, AtomicI64};

use libhurd::abi::returns::KERN_RESOURCE_SHORTAGE;
use libhurd::cleanup::{Held, OnExit, hold, on_exit};
use libhurd::errno::EIO;
use libhurd::lock::Mutex;
use libhurd::mig::{Port, PortName};
use libhurd::port::SendRight;
use libhurd::server::{Object, Server};
use libhurd::session::{Limits, Session, Sessions};
use libhurd::table::Table;
use libhurd::{Local, own};

use super::Ext2;
use super::perm::Ids;

/// Most open files at a time.
pub(super) const MAX_OPEN: usize = 8192;
/// Most clients (accounts) that have files open.
const MAX_CLIENTS: usize = 256;
/// What a client's session may hold: ports for some hundred open files.
const SESSION: Limits = Limits { frames: 64, objects: 1024 };

/// What duplicates of an open file share.
pub(super) struct Shared {
    /// The node.
    pub(super) inode: u32,
    /// `O_READ` and so on, as it was opened; the rest can be changed.
    pub(super) flags: AtomicI32,
    /// The file pointer.
    pub(super) position: AtomicI64,
    /// What is above the root, if this file system was entered from somewhere.
    pub(super) above: Arc<SendRight>,
}

/// One open file.
pub(super) struct Protid {
    object: Object,
    /// See [`Shared`].
    pub(super) shared: Arc<Shared>,
    ids: Mutex<Arc<Ids>>,
    /// Id of the account whose session pays; 0 = the server does.
    client: u64,
}

/// An open file, held for the length of a call.
pub(super) type Opened = Held<Protid>;

impl Protid {
    /// Its user.
    pub(super) fn ids(&self) -> Result<Held<Ids>, i32> {
        let ids = self.ids.lock()?.clone();
        Ok(hold(ids))
    }

    /// A send right to it.
    pub(super) fn send(&self) -> Port {
        self.object.send()
    }

    fn set_ids(&self, ids: Ids) -> Result<(), i32> {
        let ids = own(|| Arc::new(Ids { uids: ids.uids.clone(), gids: ids.gids.clone() }));
        let old = core::mem::replace(&mut *self.ids.lock()?, ids);
        own(|| drop(old));
        Ok(())
    }
}

/// A new open file to which nobody has a right yet. Nobody would say that it has no senders any more: so it goes away with this value, or on a forced
/// exit, until it is [sent](Fresh::send).
pub(super) struct Fresh {
    open: Opened,
    remove: OnExit,
}

impl Fresh {
    /// A right for a reply, the last thing that the call makes.
    pub(super) fn send(self) -> Port {
        let port = self.open.object.send();
        self.remove.cancel();
        port
    }

    /// A right for a request. The open file lasts as long as this value, unless it is [kept](Fresh::keep).
    pub(super) fn port(&self) -> Port {
        self.open.object.send()
    }

    /// Somebody has a right to it.
    pub(super) fn keep(self) {
        self.remove.cancel();
    }

    /// A right of the server's own, which keeps it.
    pub(super) fn into_right(self) -> Result<SendRight, i32> {
        let right = self.open.object.send_right()?;
        self.remove.cancel();
        Ok(right)
    }

    /// Says whose it is.
    pub(super) fn set_ids(&self, ids: Ids) -> Result<(), i32> {
        self.open.set_ids(ids)
    }
}

/// A client whose session's end will be reported.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Watched {
    account: PortName,
    client: u64,
}

/// The open files.
pub(super) struct Opens {
    table: Table<Protid, MAX_OPEN>,
    sessions: Sessions<MAX_CLIENTS>,
    watched: Mutex<Vec<Watched>>,
}

impl Opens {
    /// None.
    pub(super) fn new() -> Self {
        let watched = Mutex::new(Vec::with_capacity(MAX_CLIENTS));
        Self { table: Table::new(), sessions: Sessions::new(SESSION), watched }
    }

    /// The caller's session, whose end will be reported.
    fn session(&self, server: &Server) -> Result<Held<Session>, i32> {
        let session = self.sessions.of_caller()?;
        let this = Watched { account: session.account(), client: session.client() };
        if self.watched.lock()?.contains(&this) {
            return Ok(session);
        }
        if let Err(code) = server.watch(this.account) {
            // It has been destroyed: the next call gets a new one.
            self.sessions.remove(this.client);
            return Err(code);
        }
        let mut watched = self.watched.lock()?;
        if watched.len() >= MAX_CLIENTS {
            return Err(KERN_RESOURCE_SHORTAGE);
        }
        watched.push(this);
        Ok(session)
    }

    /// The port of that name has died: if it was a session, its open files' ports have died with it.
    pub(super) fn died(&self, name: PortName) {
        let ended = self.watched.lock().ok().and_then(|mut watched| {
            let at = watched.iter().position(|watched| watched.account == name)?;
            Some(watched.swap_remove(at))
        });
        let Some(Watched { client, .. }) = ended else { return };
        self.sessions.remove(client);
        for key in self.table.keys() {
            self.table.remove_if(key, |protid| protid.client == client);
        }
    }

    /// The open file with that payload.
    pub(super) fn get(&self, payload: u64) -> Option<Opened> {
        self.table.hold(payload)
    }

    /// Nobody can call the open file with that payload any more, unless a right to it has been made since.
    pub(super) fn closed(&self, payload: u64) {
        self.table.remove_if(payload, |protid| !Server::has_senders(&protid.object));
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.table.len()
    }
}

impl Ext2 {
    /// A new open file of `inode`.
    ///
    /// # Errors
    /// As for [`Ext2::protid`].
    pub(super) fn open_inode(
        &'static self,
        inode: u32,
        flags: i32,
        above: &Arc<SendRight>,
        ids: &Ids,
    ) -> Result<Fresh, i32> {
        let (flags, position) = (AtomicI32::new(flags), AtomicI64::new(0));
        self.protid_with(|| Arc::new(Shared { inode, flags, position, above: above.clone() }), ids)
    }

    /// A new port to what is shared, for the user `ids`, at the expense of the caller's session.
    ///
    /// # Errors
    /// `KERN_RESOURCE_SHORTAGE` when the caller's account or its donation does not allow it, or the table is full; the kernel's.
    pub(super) fn protid(&'static self, shared: Arc<Shared>, ids: &Ids) -> Result<Fresh, i32> {
        self.protid_with(|| shared, ids)
    }

    /// The same for what `shared` makes at the server's own expense.
    fn protid_with(&'static self, shared: impl FnOnce() -> Arc<Shared>, ids: &Ids) -> Result<Fresh, i32> {
        // Everything of the server's own is made in one go: changing the payer is a trap.
        let key = own(|| {
            let (shared, ids) = (shared(), Arc::new(ids.clone()));
            self.opens.table.insert_with(|key| {
                let (object, client) = if self.policy.uses_sessions() && Local::current().in_call() {
                    let session = self.opens.session(self.server)?;
                    (session.pays(|| self.server.counted_object(key))??, session.client())
                } else {
                    (self.server.counted_object(key)?, 0)
                };
                Ok(Protid { object, shared, ids: Mutex::new(ids), client })
            })
        })?;
        let remove = on_exit(move || {
            self.opens.table.remove(key);
        });
        Ok(Fresh { open: self.opens.get(key).ok_or(EIO)?, remove })
    }
}
