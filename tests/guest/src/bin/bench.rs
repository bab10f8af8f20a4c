//! Figures: instructions per operation, frames per object.
//!
//! Time is counted in nanoseconds since boot; on a machine that counts instructions (`-icount shift=0`) one nanosecond is one instruction. Every figure is the
//! mean of many operations after a warm-up. This program pays for everything; it ends the machine.
#![cfg_attr(target_os = "none", no_std, no_main)]
#![forbid(unsafe_code)]

extern crate alloc;

use alloc::vec::Vec;
use core::time::Duration;

use guest::machine::{FAILED, Grant, Machine, SUCCEEDED, make_account};
use guest::peer::Peer;
use guest::record;
use guest::record::done;
use libhurd::clock::now;
use libhurd::errno::describe;
use libhurd::file::{Context, File, O_NOLINK, O_READ};
use libhurd::mig::{Outcome, PortName, Request};
use libhurd::port::{ReceiveRight, SendRight};
use libhurd::print::kernel_print;
use libhurd::program::Program;
use libhurd::server::{Server, UnwindReserve};
use libhurd::stubs::fsys::{self, FsysServer, fsys_startup, fsys_syncfs};
use libhurd::stubs::{account, mach};
use libhurd::{ALL, Env, Mach, clock, syscall, task};

/// Operations before counting.
const WARM: u32 = 1_000;
/// Operations counted.
const COUNTED: u32 = 10_000;
/// How long the machine is given to come to rest.
const SETTLE: Duration = Duration::from_millis(50);
/// Objects made to find out what one takes.
const OBJECTS: u64 = 256;

/// Counts `operation`; what one takes, in tenths of an instruction.
fn measure(warm: u32, counted: u32, mut operation: impl FnMut() -> Result<(), i32>) -> Result<u64, i32> {
    for _ in 0..warm {
        operation()?;
    }
    let begin = now();
    for _ in 0..counted {
        operation()?;
    }
    Ok((now() - begin) * 10 / u64::from(counted))
}

fn instructions(name: &str, counted: u32, operation: impl FnMut() -> Result<(), i32>) -> Result<(), i32> {
    let tenths = measure(WARM.min(counted / 10), counted, operation)?;
    record!("\"t\":\"bench\",\"name\":\"{name}\",\"instructions\":{}.{}", tenths / 10, tenths % 10);
    Ok(())
}

/// What one of [`OBJECTS`] objects takes of the machine's frames while all of them exist.
fn frames<T>(machine: Machine, name: &str, mut make: impl FnMut() -> Result<T, i32>) -> Result<Vec<T>, i32> {
    let mut list = Vec::with_capacity(OBJECTS as usize);
    // What earlier objects leave behind has gone then.
    clock::sleep(SETTLE)?;
    let before = machine.frames()?.free;
    for _ in 0..OBJECTS {
        list.push(make()?);
    }
    let thousandths = before.saturating_sub(machine.frames()?.free) * 1000 / OBJECTS;
    record!(
        "\"t\":\"bench\",\"name\":\"{name}\",\"frames\":{}.{:03}",
        thousandths / 1000,
        thousandths % 1000
    );
    Ok(list)
}

fn calls() -> Result<(), i32> {
    let host = syscall::mach_host_self();
    instructions("trap (clock)", COUNTED, || {
        core::hint::black_box(now());
        Ok(())
    })?;
    instructions("kernel call (host_get_uptime64)", COUNTED, || {
        libhurd::stubs::mach_host::host_get_uptime64(&Mach, host, ALL)?;
        Ok(())
    })?;
    for (world, name) in [("accounted", "null rpc, migrating"), ("classic", "null rpc, queued")] {
        let envz = alloc::format!("world={world}\0");
        let peer = Peer::start(&[b"/bin/bench", b"serve"], envz.as_bytes(), PortName::NULL)?;
        instructions(name, COUNTED, || Ok(fsys_syncfs(&Mach, peer.control.name(), 0, 0, ALL)?))?;
        peer.child.kill()?;
    }
    Ok(())
}

fn files() -> Result<(), i32> {
    let path = b"/etc/motd";
    let root = Context::current().root;
    instructions("lookup in a small directory, and close", 1000, || {
        let context = Context { root, cwd: root, auth: PortName::NULL };
        File::open_in(context, b"etc", O_NOLINK, ALL).map(drop)
    })?;
    instructions("open and close a file", 1000, || File::open(path, O_READ, ALL).map(drop))?;
    let file = File::open(path, O_READ, ALL)?;
    instructions("stat of an open file", 1000, || file.stat(ALL).map(drop))?;
    let file = File::open(b"/home/victim/reader", O_READ, ALL)?;
    let mut buffer = [0; 4096];
    instructions("read of 4 KiB", 1000, || file.read_at(0, &mut buffer, ALL).map(drop))?;
    for (name, path) in
        [("run of a program", &b"/bin/true"[..]), ("run of a bzip2 program", b"/bin/true.bz2")]
    {
        instructions(name, 20, || Program::new(path).start(ALL)?.wait(ALL).map(drop))?;
    }
    Ok(())
}

fn objects(machine: Machine) -> Result<(), i32> {
    let grant = Grant { name: "bench", frames: 1, objects: 16, calls: 1, share: 0 };
    let own = SendRight::from_name(syscall::account_self());
    let accounts = frames(machine, "account", || make_account(own.name(), &grant))?;
    for account in &accounts {
        account::account_destroy(&Mach, account.name(), ALL)?;
    }
    for task in frames(machine, "task", task::create)? {
        task::terminate(task.name())?;
    }
    let other = task::create()?;
    frames(machine, "thread", || {
        Ok(SendRight::from_name(mach::thread_create(&Mach, other.name(), ALL)?.child_thread))
    })?;
    task::terminate(other.name())?;
    frames(machine, "port", ReceiveRight::new)?;
    Ok(())
}

/// The peer: answers calls that do nothing.
struct Null;

impl FsysServer for Null {
    fn fsys_syncfs(&mut self, _: &Request<'_>, _wait: i32, _do_children: i32) -> Result<(), i32> {
        Ok(())
    }
}

fn demux(request: &[u8], reply: &mut [u8]) -> Outcome {
    fsys::dispatch(&mut Null, request, reply)
}

fn serve(env: &Env) -> Result<i32, i32> {
    let server = Server::new(demux, UnwindReserve::SMALL, |_| ())?;
    let control = server.object(1)?;
    drop(SendRight::received(fsys_startup(&Mach, env.bootstrap(), 0, control.send(), ALL)?.realnode));
    core::mem::forget(control);
    server.run()
}

fn program(env: &'static Env) -> i32 {
    if env.args().nth(1) == Some(b"serve") {
        return serve(env).unwrap_or(1);
    }
    let machine = Machine::of(env);
    let result = calls().and_then(|()| objects(machine)).and_then(|()| files());
    match result {
        Ok(()) => {
            done();
            machine.shut_down(SUCCEEDED)
        }
        Err(code) => {
            kernel_print(format_args!("bench: {} ({code:#x})\n", describe(code)));
            machine.shut_down(FAILED)
        }
    }
}

libhurd::entry!(program);
