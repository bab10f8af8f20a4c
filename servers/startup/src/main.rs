//! The first task: divides the machine among accounts, starts the servers, then does what the boot line asks for.
//!
//! It is started by the kernel from the module `startup`, without arguments, with the privileged host port under name 1. What it makes of the boot line
//! ([`bootline`]) becomes the environment of all programs. With `mode=shell` it starts `/bin/sh` at the console, again and again; with the other modes
//! one program (a *driver*), from a boot module if there is one of that name, which gets the privileged host port as descriptor 3 and ends the machine itself.
//!
//! Who pays: this task and the accounts are the root account's; every server and program has an account of its own ([`budget`]).
#![cfg_attr(target_os = "none", no_std, no_main)]

extern crate alloc;

mod accounts;
mod bootline;
mod budget;
mod load;
mod system;

use alloc::boxed::Box;
use alloc::format;
use alloc::vec::Vec;
use core::time::Duration;

use libhurd::abi::startup::{FIRST_TASK_HOST_PRIV, INIT_PORT_PROC};
use libhurd::errno::{ENOENT, describe};
use libhurd::launch::Inheritance;
use libhurd::mig::PortName;
use libhurd::port::SendRight;
use libhurd::print::kernel_print;
use libhurd::program::{Child, Program};
use libhurd::stubs::drover_host::{host_boot_command_line, host_frames, host_root_account, host_shutdown};
use libhurd::{ALL, Env, Mach, argz, clock, env, println, world};

use accounts::Account;
use bootline::{BootLine, Mode};
use budget::{Budget, User};
use load::Modules;
use system::{Parts, System};

/// Exit code of a machine whose driver has failed.
const FAILED: i32 = 17;
/// The privileged host port.
const HOST: PortName = PortName(FIRST_TASK_HOST_PRIV);

/// Ends the machine; if the kernel does not, this task at least does nothing more.
fn shut_down(code: i32) -> ! {
    loop {
        let _ = host_shutdown(&Mach, HOST, code, ALL);
        let _ = clock::sleep(Duration::from_secs(1));
    }
}

/// Says what is wrong, and ends the machine.
fn give_up(what: &str, code: i32) -> ! {
    kernel_print(format_args!("startup: {what}: {} ({code:#x})\n", describe(code)));
    shut_down(FAILED)
}

fn must<T>(what: &str, result: Result<T, i32>) -> T {
    result.unwrap_or_else(|code| give_up(what, code))
}

/// The boot line, and a word about the machine.
fn read_line() -> (BootLine, u64) {
    let reply = must("the boot line", host_boot_command_line(&Mach, HOST, ALL).map_err(i32::from));
    let text = reply.command_line.as_bytes();
    let line = BootLine::parse(text).unwrap_or_else(|word| {
        kernel_print(format_args!("startup: boot line: `{}` means nothing\n", word.escape_ascii()));
        shut_down(FAILED)
    });
    let frames = must("the frames", host_frames(&Mach, HOST, ALL).map_err(i32::from));
    kernel_print(format_args!(
        "Drover: world {}, {:?}; {} MiB in {} frames, {} free; boot reserve {} frames\n",
        line.world.name(),
        line.mode,
        frames.total / 256,
        frames.total,
        frames.free,
        frames.reserve
    ));
    (line, frames.free)
}

/// Makes what has been started this program's own inheritance, so that it prints to the console and finds files.
fn inherit(environment: &[u8], system: &System) {
    let console = system.console.name().0;
    let mut ports = system.ports();
    ports[INIT_PORT_PROC] = system.proc.name();
    let ports: Vec<u32> = ports.iter().map(|port| port.0).collect();
    let env = Env::made(
        b"/hurd/startup\0",
        environment.to_vec().leak(),
        Vec::from([console; 3]).leak(),
        ports.leak(),
    );
    env::publish(Box::leak(Box::new(env)));
}

/// Starts a shell again whenever it has ended.
fn shells(account: &SendRight) -> ! {
    loop {
        let ended =
            Program::new(b"/bin/sh").account(account.name()).start(ALL).and_then(|child| child.wait(ALL));
        match ended {
            Ok(status) => println!("startup: the shell has ended with status {status}"),
            Err(code) => {
                println!("startup: no shell: {} ({code:#x})", describe(code));
                let _ = clock::sleep(Duration::from_secs(5));
            }
        }
    }
}

/// Starts a driver: from its module, else from the file system.
fn driver(parts: &Parts<'_>, system: &System, name: &str, account: &SendRight) -> Result<Child, i32> {
    let console = system.console.name();
    let dtable = [console, console, console, HOST];
    let path = format!("/bin/{name}");
    let Some(module) = parts.modules.find(name) else {
        if !system.root.is_valid() {
            return Err(ENOENT);
        }
        return Program::new(path.as_bytes()).account(account.name()).descriptors(&dtable).start(ALL);
    };
    let loaded = load::load(module, name, account.name())?;
    let own = system.process(loaded.0.name(), name)?;
    let mut ports = system.ports();
    ports[INIT_PORT_PROC] = own.name();
    let inheritance = Inheritance {
        argv: &argz::join([path.as_bytes()]),
        envp: parts.environment,
        dtable: &dtable,
        ports: &ports,
        ints: &[0o22, 0, 0, 0, 0],
        flags: 0,
    };
    load::run(&loaded, account.name(), &inheritance, &[])?;
    Ok(Child::of(loaded.0))
}

/// Makes the accounts of the users, and says whose translators they pay for.
fn users(parent: &Account, system: &System, list: &[User]) -> Vec<Account> {
    let mut made = Vec::new();
    for user in list {
        let account = must(user.grant.name, accounts::make(parent.right.name(), &user.grant));
        must("the payers", system.register(user, &account.right));
        made.push(account);
    }
    made
}

fn program(_: &'static Env) -> i32 {
    let (line, free) = read_line();
    world::set(line.world);
    let budget = Budget::of(free, line.world);
    let root = must("the root account", host_root_account(&Mach, HOST, ALL).map_err(i32::from)).account;
    let above_servers = must("account system", accounts::make(root, &budget.system));
    let above_users = must("account users", accounts::make(root, &budget.users));
    let accounts = budget
        .servers
        .iter()
        .map(|grant| must(grant.name, accounts::make(above_servers.right.name(), grant)))
        .collect();
    let modules = must("the boot modules", Modules::read(HOST));
    let parts = Parts { host: HOST, environment: &line.environment, modules, accounts };

    let mut system = System::default();
    if let Err(failure) = system.start(&parts) {
        match line.mode {
            // What needs no files can be tested and measured all the same.
            Mode::Test | Mode::Bench => kernel_print(format_args!(
                "startup: {} did not come up: {} ({:#x})\n",
                failure.what,
                describe(failure.code),
                failure.code
            )),
            Mode::Shell | Mode::Dos => give_up(failure.what, failure.code),
        }
    }
    inherit(&line.environment, &system);
    let program = line.mode.program();
    if line.mode == Mode::Shell {
        let accounts = users(&above_users, &system, &budget.shell_users());
        shells(&accounts[0].right);
    }
    let accounts = users(&above_users, &system, &[budget.driver()]);
    let child = must(program, driver(&parts, &system, program, &accounts[0].right));
    must(program, child.wait(ALL));
    println!("startup: {program} has ended without ending the machine");
    shut_down(FAILED)
}

libhurd::entry!(program);
