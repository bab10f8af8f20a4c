//! The auth server: who somebody is.
//!
//! An authority is a port that stands for sets of user and group ids. Whoever holds it may show it: [`ids`] says which others may be made from it,
//! [`rendezvous`] how a user shows it to a server without giving it away.
//!
//! Who pays: callers for their calls, waiting included. An authority's ports are paid by a session of the caller's; its place in the table and its ids by
//! this server, at most [`MAX_HANDLES`] of them and [`MAX_PER_PAYER`] for one payer. A rendezvous is this server's own, few of them, each for a few seconds.
#![cfg_attr(target_os = "none", no_std, no_main)]

extern crate alloc;

mod ids;
mod rendezvous;

use alloc::sync::Arc;
use alloc::vec::Vec;

use libhurd::abi::returns::{KERN_RESOURCE_SHORTAGE, KERN_TIMEDOUT};
use libhurd::cleanup::{Held, on_exit};
use libhurd::clock::{Deadline, now};
use libhurd::errno::{EBUSY, EINVAL, EIO, EOPNOTSUPP, EPERM, describe};
use libhurd::lock::Mutex;
use libhurd::mig::{Data, OutData, Outcome, Port, PortName, Request, Retain, offer};
use libhurd::once::Once;
use libhurd::port::{SendRight, release};
use libhurd::print::kernel_print;
use libhurd::server::{Notification, Object, Server, UnwindReserve};
use libhurd::session::{Limits, Sessions};
use libhurd::stubs::auth::{self, AuthServer};
use libhurd::stubs::drover_auth::DroverAuthServer;
use libhurd::stubs::startup::{offer, startup_authinit};
use libhurd::table::Table;
use libhurd::wait::{Event, WaitError};
use libhurd::{Env, Local, Mach, ool, own};

use ids::{Ids, may_make};
use rendezvous::{LIFETIME_NS, PLACES, Refused, Rendezvous, Visit};

/// Most authorities.
const MAX_HANDLES: usize = 1024;
/// Most authorities made for one payer.
const MAX_PER_PAYER: usize = 256;

/// One authority.
struct Handle {
    object: Object,
    ids: Arc<Ids>,
    payer: u64,
}

static SERVER: Once<&'static Server> = Once::new();
static HANDLES: Table<Handle, MAX_HANDLES> = Table::new();
static SESSIONS: Sessions<64> = Sessions::new(Limits { frames: 16, objects: 1024 });
/// The rendezvous port by its name (and the right that keeps the name), the ids, the server's new port.
static MEETINGS: Mutex<Rendezvous<Named, Arc<Ids>, SendRight>> = Mutex::new(Rendezvous::new());
/// One per place of [`MEETINGS`]: the other half has come.
static ARRIVALS: [Event; PLACES] = [const { Event::new() }; PLACES];

/// A right, compared by its name.
#[derive(Debug)]
struct Named(SendRight);

impl PartialEq for Named {
    fn eq(&self, other: &Self) -> bool {
        self.0.name() == other.0.name()
    }
}

/// Serves one request.
struct Auth;

fn refused(why: Refused) -> i32 {
    match why {
        Refused::Full => KERN_RESOURCE_SHORTAGE,
        Refused::Twice => EBUSY,
    }
}

/// The authority that a request came to.
fn handle(request: &Request<'_>) -> Result<Held<Handle>, i32> {
    HANDLES.hold(request.target()).ok_or(EOPNOTSUPP)
}

/// A new authority, at the caller's expense; its key.
fn make(ids: Ids, retain: Option<&Retain>) -> Result<u64, i32> {
    let server = SERVER.get().ok_or(EIO)?;
    let payer = Local::current().payer();
    if HANDLES.count(|handle| handle.payer == payer) >= MAX_PER_PAYER {
        return Err(KERN_RESOURCE_SHORTAGE);
    }
    own(|| {
        let ids = Arc::new(ids.clone());
        HANDLES.insert_with(|key| {
            let object = SESSIONS.object(server, key, retain)?;
            Ok(Handle { object, ids, payer })
        })
    })
}

/// A set of ids from a request, of a bounded size.
fn set(data: &Data<'_, u32>) -> Result<Vec<u32>, i32> {
    if data.len() > ids::MAX_IDS {
        return Err(libhurd::errno::E2BIG);
    }
    let values = ool::values(data);
    ool::finished(data);
    Ok(values)
}

/// Runs `step` on the meetings, after places whose time is over have been emptied. What is left over is dropped outside the lock.
fn meet<R>(step: impl FnOnce(&mut Rendezvous<Named, Arc<Ids>, SendRight>, u64) -> R) -> Result<R, i32> {
    let at = now();
    for _ in 0..PLACES {
        let expired = MEETINGS.lock()?.take_expired(at);
        if expired.is_none() {
            break;
        }
    }
    let mut meetings = MEETINGS.lock()?;
    Ok(step(&mut meetings, at))
}

/// Waits until `ready` gives something or the place is given up, at most for the life of a rendezvous. Whatever ends the wait, the place does not stay.
fn wait<R>(
    visit: Visit,
    mut ready: impl FnMut(&mut Rendezvous<Named, Arc<Ids>, SendRight>) -> Option<R>,
) -> Result<R, i32> {
    let deadline = Deadline::at(now().saturating_add(LIFETIME_NS));
    let give_up = on_exit(move || drop(abandon(visit)));
    loop {
        let (result, open) = {
            let mut meetings = MEETINGS.lock()?;
            ARRIVALS[visit.place].reset();
            (ready(&mut meetings), meetings.is_open(visit))
        };
        if let Some(result) = result {
            give_up.cancel();
            return Ok(result);
        }
        if !open {
            return Err(KERN_TIMEDOUT);
        }
        match ARRIVALS[visit.place].wait_until(deadline) {
            Ok(_) | Err(WaitError::OwnerDied) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Gives a place up; what it held is for the caller to drop.
fn abandon(visit: Visit) -> Option<(Named, Option<SendRight>)> {
    MEETINGS.lock().ok()?.abandon(visit)
}

/// The rendezvous port of a request.
fn meeting_port(port: Port) -> Result<Named, i32> {
    let right = SendRight::received(port)?;
    if right.is_valid() { Ok(Named(right)) } else { Err(EINVAL) }
}

impl AuthServer for Auth {
    fn auth_getids(&mut self, request: &Request<'_>) -> Result<auth::AuthGetidsReply, i32> {
        let handle = handle(request)?;
        let out = |set: &[u32]| OutData::from_slice(set).ok_or(EIO);
        Ok(auth::AuthGetidsReply {
            euids: out(&handle.ids.euids)?,
            auids: out(&handle.ids.auids)?,
            egids: out(&handle.ids.egids)?,
            agids: out(&handle.ids.agids)?,
        })
    }

    fn auth_makeauth(
        &mut self,
        request: &Request<'_>,
        other_handles: Data<'_, PortName>,
        euids: Data<'_, u32>,
        auids: Data<'_, u32>,
        egids: Data<'_, u32>,
        agids: Data<'_, u32>,
        retain: Retain,
    ) -> Result<auth::AuthMakeauthReply, i32> {
        let handle = handle(request)?;
        let wanted =
            Ids { euids: set(&euids)?, auids: set(&auids)?, egids: set(&egids)?, agids: set(&agids)? };
        wanted.check_sizes()?;
        let names = ool::values(&other_handles);
        let others: Vec<Arc<Ids>> = names
            .iter()
            .filter_map(|&name| HANDLES.find(|other| other.object.name() == name))
            .map(|(_, other)| other.ids.clone())
            .collect();
        let all: Vec<&Ids> = others.iter().map(|ids| &**ids).chain(core::iter::once(&*handle.ids)).collect();
        if !may_make(&all, &wanted) {
            return Err(EPERM);
        }
        let key = make(wanted, Some(&retain))?;
        let newhandle = HANDLES.hold(key).ok_or(EIO)?.object.name();
        // From here on the reply says success, so what the request brought is ours to release.
        names.iter().for_each(|&name| release(name, other_handles.disposition()));
        ool::finished(&other_handles);
        Ok(auth::AuthMakeauthReply { newhandle })
    }

    fn auth_user_authenticate(
        &mut self,
        request: &Request<'_>,
        _: Port,
        rendezvous: Port,
    ) -> Result<auth::AuthUserAuthenticateReply, i32> {
        let ids = handle(request)?.ids.clone();
        let port = meeting_port(rendezvous)?;
        let (visit, spare) =
            own(|| meet(|meetings, at| meetings.user(port, ids, true, at)))?.map_err(refused)?;
        drop(spare);
        ARRIVALS[visit.place].keep(1);
        let (new, port) = wait(visit, |meetings| meetings.collect(visit))?;
        drop(port);
        Ok(auth::AuthUserAuthenticateReply { newport: new.into_move() })
    }

    fn auth_server_authenticate(
        &mut self,
        request: &Request<'_>,
        _: Port,
        rendezvous: Port,
        newport: Port,
    ) -> Result<auth::AuthServerAuthenticateReply, i32> {
        handle(request)?;
        let port = meeting_port(rendezvous)?;
        let new = SendRight::received(newport)?;
        let (visit, spare) = own(|| meet(|meetings, at| meetings.server(port, new, at)))?.map_err(refused)?;
        drop(spare);
        let ids = wait(visit, |meetings| meetings.ids(visit))?;
        ARRIVALS[visit.place].keep(1);
        let out = |set: &[u32]| OutData::from_slice(set).ok_or(EIO);
        Ok(auth::AuthServerAuthenticateReply {
            euids: out(&ids.euids)?,
            auids: out(&ids.auids)?,
            egids: out(&ids.egids)?,
            agids: out(&ids.agids)?,
        })
    }
}

impl DroverAuthServer for Auth {
    fn auth_user_offer(&mut self, request: &Request<'_>, rendezvous: Port) -> Result<(), i32> {
        let ids = handle(request)?.ids.clone();
        let port = meeting_port(rendezvous)?;
        let (visit, spare) =
            own(|| meet(|meetings, at| meetings.user(port, ids, false, at)))?.map_err(refused)?;
        drop(spare);
        ARRIVALS[visit.place].keep(1);
        Ok(())
    }
}

fn demux(request: &[u8], reply: &mut [u8]) -> Outcome {
    libhurd::dispatch!(request, reply, auth => &mut Auth, drover_auth => &mut Auth)
}

fn notified(notification: Notification) {
    if let Notification::NoSenders(key) = notification {
        drop(HANDLES.remove_if(key, |handle| !Server::has_senders(&handle.object)));
    }
}

fn start(env: &Env) -> Result<&'static Server, i32> {
    let server = Server::new(demux, UnwindReserve::SMALL, notified)?;
    SERVER.set(server).map_err(|_| EIO)?;
    let root = make(Ids::root(), None)?;
    let root = HANDLES.get(root).ok_or(EIO)?;
    let reply =
        startup_authinit(&Mach, env.bootstrap(), root.object.send(), offer!(offer::STARTUP_AUTHINIT))?;
    drop(SendRight::received(reply.proc));
    Ok(server)
}

fn program(env: &'static Env) -> i32 {
    match start(env) {
        Ok(server) => server.run(),
        Err(code) => {
            kernel_print(format_args!("auth: cannot start: {} ({code:#x})\n", describe(code)));
            1
        }
    }
}

libhurd::entry!(program);
