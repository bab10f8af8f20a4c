//! Processes and accounts.
//!
//! The whole machine's accounts need the privileged host port, which proc gives to the superuser; without it a shell sees its own account and what is below.

use alloc::format;
use alloc::vec::Vec;
use core::time::Duration;

use libhurd::abi::account::AccountInfo;
use libhurd::abi::startup::INIT_PORT_PROC;
use libhurd::errno::{EAGAIN, EINVAL, ESRCH};
use libhurd::mig::{Donation, OutData, PortName, offer};
use libhurd::port::SendRight;
use libhurd::stubs::drover_host::{host_account_snapshot, host_check_conservation, host_frames};
use libhurd::stubs::{account, io, process};
use libhurd::{ALL, Env, Mach, clock, env, ool, println, syscall};

use crate::table;

/// How often `acct -w` prints.
const INTERVAL: Duration = Duration::from_secs(1);
/// Most accounts that are printed without the privileged port.
const MAX_ACCOUNTS: usize = 1024;

/// This program's process.
fn proc() -> Result<PortName, i32> {
    Some(env::current().port(INIT_PORT_PROC)).filter(|port| port.is_valid()).ok_or(ESRCH)
}

/// The privileged host port, if we are somebody who may have it.
fn host() -> Option<SendRight> {
    let reply = process::proc_getprivports(&Mach, proc().ok()?, ALL).ok()?;
    drop(SendRight::from_name(reply.device_master));
    Some(SendRight::from_name(reply.host_priv)).filter(SendRight::is_valid)
}

/// `ps`: all processes.
pub(crate) fn ps(args: &[Vec<u8>], offer: &Donation) -> Result<(), i32> {
    if !args.is_empty() {
        return Err(EINVAL);
    }
    let proc = proc()?;
    println!("  pid  ppid  uid state  program");
    for pid in ool::take_values(process::proc_getallpids(&Mach, proc, offer)?.pidarray) {
        // It may have ended since.
        let Ok(info) = process::proc_getprocinfo(&Mach, proc, pid, 0, offer) else { continue };
        let info = ool::take_values(info.procinfo);
        let word = |index: usize| info.get(index).copied().unwrap_or(0);
        let state = if word(0) == 0 { "run" } else { "zombie" };
        let exe = process::proc_get_exe(&Mach, proc, pid, offer)
            .map_or_else(|_| Vec::new(), |reply| reply.path.as_bytes().to_vec());
        let exe = if exe.is_empty() { b"-".to_vec() } else { exe };
        println!("{pid:5} {:5} {:4} {state:6} {}", word(2), word(1), exe.escape_ascii());
    }
    Ok(())
}

/// Every account that this shell can see, parents first.
fn accounts(host: Option<&SendRight>) -> Result<Vec<AccountInfo>, i32> {
    if let Some(host) = host {
        let reply = host_account_snapshot(&Mach, host.name(), ALL)?;
        let rows = ool::take_values::<[u64; 31], 1>(OutData::Ool(reply.accounts));
        return Ok(rows.into_iter().map(|words| zerocopy::transmute!(words)).collect());
    }
    let mut list = Vec::new();
    let mut rights = alloc::vec![SendRight::from_name(syscall::account_self())];
    while let Some(right) = rights.pop() {
        list.push(zerocopy::transmute!(account::account_info(&Mach, right.name(), ALL)?.info));
        let children = account::account_children(&Mach, right.name(), ALL)?.children;
        let children = ool::take_values::<PortName, 1>(OutData::Ool(children));
        rights.extend(children.into_iter().map(SendRight::from_name));
        if list.len() + rights.len() > MAX_ACCOUNTS {
            break;
        }
    }
    Ok(list)
}

fn print_accounts(host: Option<&SendRight>) -> Result<(), i32> {
    let list = accounts(host)?;
    println!("{}", table::HEADING);
    let parent_of = |id| list.iter().find(|info: &&AccountInfo| info.id == id).map_or(0, |info| info.parent);
    for info in &list {
        println!("{}", table::row(info, table::depth(info.id, parent_of)));
    }
    if let Some(host) = host {
        let frames = host_frames(&Mach, host.name(), ALL)?;
        println!(
            "frames: {} in all, {} free, boot reserve {}; up {} ms",
            frames.total,
            frames.free,
            frames.reserve,
            clock::now() / 1_000_000
        );
    }
    Ok(())
}

/// `acct`: the table of accounts; `acct -w` again and again until a line is typed; `acct -c` checks that all sums are right.
pub(crate) fn acct(args: &[Vec<u8>]) -> Result<(), i32> {
    let host = host();
    match args {
        [] => print_accounts(host.as_ref()),
        [flag] if flag == b"-w" => loop {
            print_accounts(host.as_ref())?;
            println!("(again every second; Enter ends it)");
            clock::sleep(INTERVAL)?;
            if was_typed(env::current())? {
                return Ok(());
            }
        },
        [flag] if flag == b"-c" => {
            let host = host.ok_or(libhurd::errno::EPERM)?;
            let reply = host_check_conservation(&Mach, host.name(), ALL)?;
            println!("conservation: {} checks, {} violations", reply.checks, reply.violations);
            if reply.violations > 0 {
                println!("the first: {}", reply.first_violation.as_bytes().escape_ascii());
            }
            Ok(())
        }
        _ => Err(EINVAL),
    }
}

/// A whole line waits at descriptor 0; it is taken.
fn was_typed(env: &Env) -> Result<bool, i32> {
    let input = env.fd(0);
    match io::io_readable(&Mach, input, offer!(io::offer::IO_READABLE)).map_err(i32::from) {
        Ok(reply) if reply.amount > 0 => {
            io::io_read(&Mach, input, -1, reply.amount, offer!(io::offer::IO_READ))?;
            Ok(true)
        }
        Ok(_) | Err(EAGAIN) => Ok(false),
        Err(code) => Err(code),
    }
}

/// What a program's end means, for people.
pub(crate) fn status_text(status: i32) -> alloc::string::String {
    if status > 128 { format!("killed by signal {}", status - 128) } else { format!("status {status}") }
}
