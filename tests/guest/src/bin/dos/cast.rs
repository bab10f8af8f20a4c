//! Who takes part: accounts, users, programs.
//!
//! Victims run as uid 1000 in one account, the attacker as uid 1001 in another; their CPU shares are 80 to 20. A program of theirs sees the tree with its
//! own user's eyes. Their accounts pay for everything that they do, and for what others do for them.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use guest::board::{ATTACKER, Board};
use guest::machine::{Grant, info, make_account};
use libhurd::abi::account::{CALLS, FRAMES, OBJECTS};
use libhurd::abi::startup::{INIT_PORT_AUTH, INIT_PORT_CRDIR, INIT_PORT_CWDIR, INIT_PORT_PROC};
use libhurd::errno::EINVAL;
use libhurd::mig::{PortName, Ports};
use libhurd::port::SendRight;
use libhurd::program::{Child, Program};
use libhurd::stubs::{auth, io, payer, process};
use libhurd::{ALL, Mach, env, syscall};

use crate::config::Config;

/// The victims' user.
const VICTIM_UID: u32 = 1000;
/// The attacker's.
const ATTACKER_UID: u32 = 1001;
/// CPU shares, in 1/10000 of the machine: 80 to 20.
const VICTIM_SHARE: i32 = 1600;
const ATTACKER_SHARE: i32 = 400;
/// Frames of the attacker's account (64 MiB): several times what one attempt may hold.
const ATTACKER_FRAMES: u64 = 16_384;
/// The attacker's node.
const NODE: &str = "/home/attacker/bomb";

/// A user: an account, and the tree and the authority as seen by them.
pub(crate) struct User {
    pub(crate) account: SendRight,
    uid: u32,
    root: SendRight,
    authority: SendRight,
}

impl User {
    fn new(account: SendRight, uid: u32) -> Result<Self, i32> {
        let env = env::current();
        let ids = [uid];
        let root = io::io_restrict_auth(&Mach, env.port(INIT_PORT_CRDIR), &ids, &ids, ALL)?.new_object;
        let authority =
            auth::auth_makeauth(&Mach, env.port(INIT_PORT_AUTH), Ports::EMPTY, &ids, &ids, &ids, &ids, ALL)?
                .newhandle;
        let user = Self {
            account,
            uid,
            root: SendRight::received(root)?,
            authority: SendRight::from_name(authority),
        };
        // Who pays when somebody steps on a translator of theirs.
        payer::payer_register(&Mach, env.port(INIT_PORT_PROC), uid, user.account.copy(), ALL)?;
        Ok(user)
    }

    /// Starts a program of theirs, with the board.
    fn start(&self, words: &[&str], board: PortName) -> Result<Child, i32> {
        let env = env::current();
        let path = words.first().ok_or(EINVAL)?.as_bytes();
        let dtable = [env.fd(0), env.fd(1), env.fd(2), board];
        let child = Program::new(path)
            .argv(words.iter().map(|word| word.as_bytes()))
            .account(self.account.name())
            .descriptors(&dtable)
            .port(INIT_PORT_CRDIR, self.root.name())
            .port(INIT_PORT_CWDIR, self.root.name())
            .port(INIT_PORT_AUTH, self.authority.name())
            .start(ALL)?;
        let proc = env.port(INIT_PORT_PROC);
        let own = SendRight::received(process::proc_task2proc(&Mach, proc, child.task(), ALL)?.proc)?;
        process::proc_setowner(&Mach, own.name(), self.uid, 0, ALL)?;
        Ok(child)
    }
}

/// One victim.
pub(crate) struct Victim {
    pub(crate) name: &'static str,
    pub(crate) place: usize,
    _child: Child,
}

/// What a victim does, and how often, in microseconds.
///
/// A walk is as long as everything else together, so it goes on all the time. The others begin at fixed moments that never meet, so that each has
/// only the walk beside it, in every phase alike; all of them take milliseconds, long against the scheduler's turns of 200 us, so that their durations say
/// what part of the CPU they got and not how turns happened to fall. Together they leave most of the victims' 80 % to the walk.
struct Part {
    name: &'static str,
    kind: &'static str,
    file: &'static str,
    period_us: u64,
    offset_us: u64,
}

const PERIOD_US: u64 = 200_000;

fn parts(gzip: bool) -> [Part; 4] {
    let (packed, file) = if gzip { ("exec-gz", "/bin/true.gz") } else { ("exec-bz2", "/bin/true.bz2") };
    let part = |name, kind, file, slot: u64| Part {
        name,
        kind,
        file,
        period_us: PERIOD_US,
        offset_us: slot * PERIOD_US / 3,
    };
    [
        Part { name: "find", kind: "find", file: "", period_us: 0, offset_us: 0 },
        part("read", "read", "/home/victim/reader", 0),
        part("exec", "exec", "/bin/true", 1),
        part(packed, "exec", file, 2),
    ]
}

/// What this program's own account can give away.
fn own_grant(name: &'static str, frames: u64, share: i32) -> Result<Grant, i32> {
    let own = info(SendRight::from_name(syscall::account_self()).name())?;
    let free = |resource: usize| {
        let r = own.resources[resource];
        r.limit.saturating_sub(r.charged + r.given + r.escrow)
    };
    let frames = frames.min(free(FRAMES) / 2);
    Ok(Grant { name, frames, objects: (frames * 12).min(free(OBJECTS) / 2), calls: free(CALLS) / 4, share })
}

fn account(name: &'static str, frames: u64, share: i32) -> Result<SendRight, i32> {
    let own = SendRight::from_name(syscall::account_self());
    make_account(own.name(), &own_grant(name, frames, share)?)
}

/// Makes the victims' account and starts the victims, on hold.
pub(crate) fn victims(config: &Config, board: PortName) -> Result<Vec<Victim>, i32> {
    let user = User::new(account("victims", u64::MAX, VICTIM_SHARE)?, VICTIM_UID)?;
    let mut list = Vec::new();
    for (place, part) in parts(config.gzip).iter().enumerate() {
        let numbers: [String; 3] =
            [format!("{place}"), format!("{}", part.period_us), format!("{}", part.offset_us)];
        let words = ["/bin/victim", part.kind, &numbers[0], &numbers[1], &numbers[2], part.file];
        let child = user.start(&words, board)?;
        list.push(Victim { name: part.name, place, _child: child });
    }
    // The account lives as long as the machine.
    core::mem::forget(user);
    Ok(list)
}

/// The attacker: account, process, and what it is up to.
pub(crate) struct Attacker {
    pub(crate) user: User,
    child: Child,
}

impl Attacker {
    /// Makes the account and starts the program, which waits for orders.
    pub(crate) fn start(board: PortName) -> Result<Self, i32> {
        let user = User::new(account("attacker", ATTACKER_FRAMES, ATTACKER_SHARE)?, ATTACKER_UID)?;
        let child = user.start(&["/bin/attacker", NODE], board)?;
        Ok(Self { user, child })
    }

    /// Ends the attacker and destroys its account with everything in it.
    pub(crate) fn destroy(self) -> Result<(), i32> {
        guest::machine::destroy_account(&self.user.account)?;
        // Its process has ended with its account; this makes proc forget it.
        let _ = self.child.wait(ALL);
        Ok(())
    }
}

/// Whether the attacker's first attempt since number `first` has returned.
pub(crate) fn attempt_returned(board: &Board, first: u64) -> bool {
    board.count(ATTACKER) > first
}
