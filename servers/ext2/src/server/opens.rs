//! Open files: what the Hurd calls protids. Each is a port with an inode, open flags, a file pointer that duplicates share, and the ids of its user.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicI32, AtomicI64};

use libhurd::abi::returns::KERN_RESOURCE_SHORTAGE;
use libhurd::cleanup::{Held, OnExit, hold, on_exit};
use libhurd::errno::EIO;
use libhurd::lock::Mutex;
use libhurd::mig::{Port, PortName, Retain};
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
/// Most ports of closed files that are kept, and of one client's.
const MAX_SPARES: usize = 64;
const CLIENT_SPARES: usize = 4;
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

/// The port of an open file that was closed, kept for its client's next one, at the expense of whoever paid for it.
struct Spare {
    client: u64,
    object: Object,
    /// How often a right to it was made.
    made: u32,
}

/// The open files.
pub(super) struct Opens {
    spares: Mutex<Vec<Spare>>,
    table: Table<Protid, MAX_OPEN>,
    sessions: Sessions<MAX_CLIENTS>,
    watched: Mutex<Vec<Watched>>,
}

impl Opens {
    /// None.
    pub(super) fn new() -> Self {
        let watched = Mutex::new(Vec::with_capacity(MAX_CLIENTS));
        let spares = Mutex::new(Vec::with_capacity(MAX_SPARES));
        Self { spares, table: Table::new(), sessions: Sessions::new(SESSION), watched }
    }

    /// The caller's session, whose end will be reported.
    fn session(&self, server: &Server, retain: &Retain) -> Result<Held<Session>, i32> {
        let session = self.sessions.of_caller(retain)?;
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
        while let Some(spare) = self.take_spare(client) {
            drop(spare);
        }
    }

    fn take_spare(&self, client: u64) -> Option<Spare> {
        let mut spares = self.spares.lock().ok()?;
        let at = spares.iter().position(|spare| spare.client == client)?;
        Some(spares.swap_remove(at))
    }

    /// A port for a new open file of that client, whose session is the payer.
    fn object(&self, server: &Server, client: u64, key: u64) -> Result<Object, i32> {
        if let Some(Spare { object, made, .. }) = self.take_spare(client)
            && Server::renew(&object, made, key).is_ok()
        {
            return Ok(object);
        }
        server.counted_object(key)
    }

    /// The open file with that payload.
    pub(super) fn get(&self, payload: u64) -> Option<Opened> {
        self.table.hold(payload)
    }

    /// Nobody can call the open file with that payload any more, unless a right to it has been made since.
    pub(super) fn closed(&self, payload: u64) {
        let mut unused = None;
        let removed = self.table.remove_if(payload, |protid| {
            unused = Server::unused(&protid.object);
            unused.is_some()
        });
        // If a call still uses it, it goes away with that. A port with a queue (that is, one that no session pays for) may still hold a request for
        // the old file.
        if let (Some(Protid { object, client, .. }), Some(made)) = (removed.and_then(Arc::into_inner), unused)
            && client != 0
        {
            self.keep(Spare { client, object, made });
        }
    }

    /// Keeps a port, unless there are enough.
    fn keep(&self, spare: Spare) {
        let mut rest = Some(spare);
        if let Ok(mut spares) = self.spares.lock()
            && let Some(spare) = &rest
            && spares.len() < MAX_SPARES
            && spares.iter().filter(|other| other.client == spare.client).count() < CLIENT_SPARES
        {
            spares.extend(rest.take());
        }
        // Without the lock: giving a port up is a call.
        drop(rest);
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.table.len()
    }
}

impl Ext2 {
    /// A new open file of `inode`, at the expense of the caller's session, or of the server for a file of its own (no `retain`): what it opens to start a
    /// translator.
    ///
    /// # Errors
    /// As for [`Ext2::protid`].
    pub(super) fn open_inode(
        &'static self,
        inode: u32,
        flags: i32,
        above: &Arc<SendRight>,
        ids: &Ids,
        retain: Option<&Retain>,
    ) -> Result<Fresh, i32> {
        let (flags, position) = (AtomicI32::new(flags), AtomicI64::new(0));
        self.protid_with(|| Arc::new(Shared { inode, flags, position, above: above.clone() }), ids, retain)
    }

    /// A new port to what is shared, for the user `ids`, at the expense of the caller's session.
    ///
    /// # Errors
    /// `KERN_RESOURCE_SHORTAGE` when the caller's account or its donation does not allow it, or the table is full; the kernel's.
    pub(super) fn protid(
        &'static self,
        shared: Arc<Shared>,
        ids: &Ids,
        retain: &Retain,
    ) -> Result<Fresh, i32> {
        self.protid_with(|| shared, ids, Some(retain))
    }

    /// The same for what `shared` makes at the server's own expense.
    fn protid_with(
        &'static self,
        shared: impl FnOnce() -> Arc<Shared>,
        ids: &Ids,
        retain: Option<&Retain>,
    ) -> Result<Fresh, i32> {
        // Everything of the server's own is made in one go: changing the payer is a trap.
        let key = own(|| {
            let (shared, ids) = (shared(), Arc::new(ids.clone()));
            self.opens.table.insert_with(|key| {
                let (object, client) = if let Some(retain) = retain
                    && self.policy.uses_sessions()
                    && Local::current().in_call()
                {
                    let session = self.opens.session(self.server, retain)?;
                    let client = session.client();
                    (session.pays(|| self.opens.object(self.server, client, key))??, client)
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
