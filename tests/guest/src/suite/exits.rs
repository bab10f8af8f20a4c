//! The five exits, and the rules of locks and waits: the right error at the caller, every frame back, the server answers the next call.

use alloc::sync::Arc;
use core::sync::atomic::{AtomicI32, AtomicU32, Ordering};
use core::time::Duration;

use guest::machine::{Grant, destroy_account, make_account};
use guest::peer::Peer;
use libhurd::abi::returns::{
    DROVER_DEADLOCK, DROVER_LOCK_HELD, DROVER_OWNER_DIED, KERN_ABORTED, KERN_FAILURE, KERN_RESOURCE_SHORTAGE,
    KERN_TIMEDOUT, MIG_SERVER_DIED,
};
use libhurd::clock::now;
use libhurd::mig::PortName;
use libhurd::port::SendRight;
use libhurd::program::{Child, Program};
use libhurd::stubs::drover_port::port_exit_stats;
use libhurd::stubs::fsys::fsys_syncfs;
use libhurd::stubs::mach::thread_abort;
use libhurd::{ALL, Env, Local, Mach, Offer, clock, syscall, thread};

use super::server::What;
use super::{Bench, SELF, Test, Verdict, answers, ask, fails, holds, must, same};

pub(crate) const TESTS: &[(&str, Test)] = &[
    ("ceiling_outside", ceiling_outside),
    ("ceiling_of_memory", ceiling_of_memory),
    ("ceiling_inside", ceiling_inside),
    ("reserve_refused_up_front", reserve_refused_up_front),
    ("deadline_waiting", deadline_waiting),
    ("deadline_computing", deadline_computing),
    ("client_died_two_deep", client_died_two_deep),
    ("server_died_with_100_inside", server_died_with_100_inside),
    ("abort_chain_of_three", abort_chain_of_three),
    ("fault_outside", fault_outside),
    ("fault_inside", fault_inside),
    ("call_with_lock_is_refused", call_with_lock_is_refused),
    ("deadlock_is_refused", deadlock_is_refused),
    ("owner_died", owner_died),
];

const MS: Duration = Duration::from_millis(1);

fn ceiling_outside(bench: &Bench) -> Verdict {
    let server = bench.server()?;
    bench.exact(|| {
        let begin = now();
        let offer = Offer::all().cpu(5 * MS);
        fails("a call that computes for ever", ask(&server, What::Burn, 0, &offer), KERN_RESOURCE_SHORTAGE)?;
        // What the port declares as its reserve (1 ms) is part of the offer.
        holds("it ended before its time", now() - begin >= 3_900_000)?;
        answers(&server)
    })?;
    must("the server's end", server.end())
}

fn ceiling_of_memory(bench: &Bench) -> Verdict {
    let server = bench.server()?;
    bench.exact(|| {
        let offer = Offer::all().frames(200);
        fails("a call that grows for ever", ask(&server, What::Grow, 0, &offer), KERN_RESOURCE_SHORTAGE)?;
        answers(&server)
    })?;
    must("the server's end", server.end())
}

/// The critical section is longer than offer and reserve: it runs to its end, at the server's expense, and then the call ends.
fn ceiling_inside(bench: &Bench) -> Verdict {
    let server = bench.server()?;
    bench.exact(|| {
        let begin = now();
        let offer = Offer::all().cpu(3 * MS);
        fails(
            "a long critical section",
            ask(&server, What::Critical, 20_000, &offer),
            KERN_RESOURCE_SHORTAGE,
        )?;
        holds("the critical section was cut short", now() - begin >= 20_000_000)?;
        must("a short critical section", ask(&server, What::Critical, 100, &offer))?;
        answers(&server)
    })?;
    must("the server's end", server.end())
}

/// Less than the port's unwind reserve (1 ms) is no offer.
fn reserve_refused_up_front(bench: &Bench) -> Verdict {
    let server = bench.server()?;
    bench.exact(|| {
        let little = Offer::all().cpu(Duration::from_micros(500));
        fails("a call with little time", ask(&server, What::Nothing, 0, &little), KERN_RESOURCE_SHORTAGE)?;
        let little = Offer::all().frames(4);
        fails("a call with little memory", ask(&server, What::Nothing, 0, &little), KERN_RESOURCE_SHORTAGE)?;
        answers(&server)
    })?;
    must("the server's end", server.end())
}

fn deadline(bench: &Bench, what: What) -> Verdict {
    let server = bench.server()?;
    bench.exact(|| {
        let begin = now();
        fails("the call", ask(&server, what, 0, &Offer::all().within(10 * MS)), KERN_TIMEDOUT)?;
        let took = now() - begin;
        holds("it ended before its deadline", took >= 10_000_000)?;
        holds("it ended 50 ms after its deadline", took < 60_000_000)?;
        answers(&server)
    })?;
    must("the server's end", server.end())
}

fn deadline_waiting(bench: &Bench) -> Verdict {
    deadline(bench, What::Wait)
}

fn deadline_computing(bench: &Bench) -> Verdict {
    deadline(bench, What::Burn)
}

/// `client`: calls the control port that it has as descriptor 3, two deep, for ever.
pub(crate) fn client(env: &'static Env) -> i32 {
    let result = fsys_syncfs(&Mach, env.fd(3), What::Nest as i32, What::Wait as i32, ALL);
    i32::from(result.is_err())
}

/// Starts a [`client`] at the expense of `account`.
pub(crate) fn start_client(server: &Peer, account: PortName) -> Result<Child, i32> {
    let fds = [PortName::NULL, PortName::NULL, PortName::NULL, server.control.name()];
    Program::new(SELF).argv([SELF, b"client"]).account(account).descriptors(&fds).start(ALL)
}

fn client_died_two_deep(bench: &Bench) -> Verdict {
    let server = bench.server()?;
    let own = SendRight::from_name(syscall::account_self());
    bench.exact(|| {
        let before =
            must("port_exit_stats", port_exit_stats(&Mach, server.child.task(), ALL).map_err(i32::from))?;
        let grant = Grant { name: "client", frames: 2048, objects: 4096, calls: 64, share: 100 };
        let account = must("an account", make_account(own.name(), &grant))?;
        let child = must("the client", start_client(&server, account.name()))?;
        must("a pause", clock::sleep(50 * MS))?;
        must("killing the client", child.kill())?;
        must("the client's end", child.wait(&Offer::all().within(1000 * MS)))?;
        must("a pause", clock::sleep(20 * MS))?;
        let after =
            must("port_exit_stats", port_exit_stats(&Mach, server.child.task(), ALL).map_err(i32::from))?;
        same("exits because the client died", after.client_died - before.client_died, 2)?;
        must("destroying the account", destroy_account(&account))?;
        answers(&server)
    })?;
    must("the server's end", server.end())
}

const CROWD: u32 = 100;

fn server_died_with_100_inside(bench: &Bench) -> Verdict {
    bench.exact(|| {
        let server = Arc::new(bench.server()?);
        let died = Arc::new(AtomicU32::new(0));
        let wrong = Arc::new(AtomicI32::new(0));
        for _ in 0..CROWD {
            let (server, died, wrong) = (server.clone(), died.clone(), wrong.clone());
            let call = move || {
                match ask(&server, What::Wait, 0, ALL) {
                    Err(MIG_SERVER_DIED) => {}
                    Err(code) => wrong.store(code, Ordering::Relaxed),
                    Ok(()) => wrong.store(-1, Ordering::Relaxed),
                }
                died.fetch_add(1, Ordering::AcqRel);
            };
            must("a thread", thread::spawn(call))?;
        }
        must("a pause", clock::sleep(100 * MS))?;
        same("calls that ended early", died.load(Ordering::Acquire), 0)?;
        must("killing the server", server.end())?;
        for _ in 0..100 {
            if died.load(Ordering::Acquire) == CROWD {
                break;
            }
            must("a pause", clock::sleep(10 * MS))?;
        }
        same("calls that have ended", died.load(Ordering::Acquire), CROWD)?;
        same("a code that is not MIG_SERVER_DIED", wrong.load(Ordering::Relaxed), 0)?;
        let again = bench.server()?;
        answers(&again)?;
        must("the server's end", again.end())
    })
}

fn abort_chain_of_three(bench: &Bench) -> Verdict {
    let server = Arc::new(bench.server()?);
    bench.exact(|| {
        let code = Arc::new(AtomicI32::new(i32::MAX));
        let name = Arc::new(AtomicU32::new(0));
        let (peer, result, mine) = (server.clone(), code.clone(), name.clone());
        let body = move || {
            mine.store(syscall::mach_thread_self().0, Ordering::Release);
            let got = ask(&peer, What::NestTwice, What::Wait as i32, ALL);
            result.store(got.err().unwrap_or(0), Ordering::Release);
        };
        must("a thread", thread::spawn(body))?;
        must("a pause", clock::sleep(30 * MS))?;
        same("the chain ended early", code.load(Ordering::Acquire), i32::MAX)?;
        let thread = SendRight::from_name(PortName(name.load(Ordering::Acquire)));
        must("thread_abort", thread_abort(&Mach, thread.name(), ALL).map_err(i32::from))?;
        must("a pause", clock::sleep(30 * MS))?;
        same("what the caller got", code.load(Ordering::Acquire), KERN_ABORTED)?;
        answers(&server)
    })?;
    must("the server's end", server.end())
}

fn fault_outside(bench: &Bench) -> Verdict {
    let server = bench.server()?;
    bench.exact(|| {
        fails("a call that faults", ask(&server, What::Fault, 0, ALL), KERN_FAILURE)?;
        answers(&server)
    })?;
    must("the server's end", server.end())
}

/// What the lock protects may be half changed: that server is lost, and its callers learn it.
fn fault_inside(bench: &Bench) -> Verdict {
    bench.exact(|| {
        let server = bench.server()?;
        fails("a call that faults", ask(&server, What::FaultLocked, 0, ALL), MIG_SERVER_DIED)?;
        must("the server's end", server.end())
    })
}

fn call_with_lock_is_refused(bench: &Bench) -> Verdict {
    let server = bench.server()?;
    bench.exact(|| {
        fails("a call under a lock", ask(&server, What::CallLocked, 0, ALL), DROVER_LOCK_HELD)?;
        answers(&server)
    })?;
    must("the server's end", server.end())
}

/// A thread that promises and then waits; its id and what its wait returned.
struct Waiter {
    tid: AtomicU32,
    tid_high: AtomicU32,
    code: AtomicI32,
}

fn wait_on(word: &AtomicU32, owner: u64) -> Result<(), i32> {
    syscall::drover_wait(word, 0, owner, 0, now() + 2_000_000_000)
}

fn deadlock_is_refused(bench: &Bench) -> Verdict {
    bench.exact(|| {
        let other = Arc::new(Waiter {
            tid: AtomicU32::new(0),
            tid_high: AtomicU32::new(0),
            code: AtomicI32::new(i32::MAX),
        });
        let words: Arc<[AtomicU32; 2]> = Arc::new([AtomicU32::new(0), AtomicU32::new(0)]);
        let me = Local::current().tid();
        let (theirs, shared) = (other.clone(), words.clone());
        let body = move || {
            let tid = Local::current().tid();
            theirs.tid_high.store((tid >> 32) as u32, Ordering::Release);
            theirs.tid.store(tid as u32, Ordering::Release);
            let got = wait_on(&shared[0], me);
            theirs.code.store(got.err().unwrap_or(0), Ordering::Release);
        };
        must("a thread", thread::spawn(body))?;
        must("a pause", clock::sleep(20 * MS))?;
        let tid = u64::from(other.tid_high.load(Ordering::Acquire)) << 32
            | u64::from(other.tid.load(Ordering::Acquire));
        fails("waiting for somebody who waits for us", wait_on(&words[1], tid), DROVER_DEADLOCK)?;
        words[0].store(1, Ordering::Release);
        syscall::drover_wake(&words[0], 1);
        must("a pause", clock::sleep(20 * MS))?;
        same("what the other got", other.code.load(Ordering::Acquire), 0)
    })
}

fn owner_died(bench: &Bench) -> Verdict {
    bench.exact(|| {
        let tid = Arc::new([AtomicU32::new(0), AtomicU32::new(0)]);
        let theirs = tid.clone();
        let body = move || {
            let tid = Local::current().tid();
            theirs[1].store((tid >> 32) as u32, Ordering::Release);
            theirs[0].store(tid as u32, Ordering::Release);
            // Whoever waits for this thread is told of its end.
            let _ = clock::sleep(30 * MS);
        };
        must("a thread", thread::spawn(body))?;
        must("a pause", clock::sleep(10 * MS))?;
        let owner =
            u64::from(tid[1].load(Ordering::Acquire)) << 32 | u64::from(tid[0].load(Ordering::Acquire));
        let word = AtomicU32::new(0);
        fails("waiting for a thread that ends", wait_on(&word, owner), DROVER_OWNER_DIED)?;
        fails("waiting for a thread that has ended", wait_on(&word, owner), DROVER_OWNER_DIED)
    })
}
