//! Accounts: limits hold, nothing is given twice, destruction returns every frame.

use alloc::vec::Vec;

use guest::machine::{Grant, destroy_account, info, make_account};
use libhurd::abi::account::{CPU, FRAMES};
use libhurd::abi::returns::{
    KERN_INVALID_ARGUMENT, KERN_NO_ACCESS, KERN_PROTECTION_FAILURE, KERN_RESOURCE_SHORTAGE,
};
use libhurd::port::SendRight;
use libhurd::stubs::account::{account_destroy, account_set_cpu, account_transfer};
use libhurd::stubs::drover_host::host_root_account;
use libhurd::stubs::mach;
use libhurd::{ALL, Mach, Offer, syscall, task};

use super::{Bench, Test, Verdict, fails, holds, must, same};

pub(crate) const TESTS: &[(&str, Test)] = &[
    ("limit_moves_to_the_child_and_back", limit_moves),
    ("too_much_is_refused", too_much_is_refused),
    ("tasks_until_the_limit", tasks_until_the_limit),
    ("memory_until_the_limit", memory_until_the_limit),
    ("destroy_with_clients_inside", destroy_with_clients_inside),
    ("root_and_own_account_stay", root_and_own_account_stay),
    ("cpu_is_charged", cpu_is_charged),
];

const SMALL: Grant = Grant { name: "small", frames: 64, objects: 256, calls: 8, share: 0 };

fn own() -> SendRight {
    SendRight::from_name(syscall::account_self())
}

fn limit_moves(bench: &Bench) -> Verdict {
    bench.exact(|| {
        let own = own();
        let before = must("info", info(own.name()))?.resources[FRAMES];
        let child = must("a child", make_account(own.name(), &SMALL))?;
        let during = must("info", info(own.name()))?.resources[FRAMES];
        same("given", during.given - before.given, 64)?;
        let transfer =
            |amount| account_transfer(&Mach, child.name(), FRAMES as i32, amount, ALL).map_err(i32::from);
        must("more for the child", transfer(10))?;
        same("the child's limit", must("info", info(child.name()))?.resources[FRAMES].limit, 74)?;
        must("less for the child", transfer(-70))?;
        same("the child's limit", must("info", info(child.name()))?.resources[FRAMES].limit, 4)?;
        fails("taking what it uses", transfer(-4), KERN_RESOURCE_SHORTAGE)?;
        must("destroy", destroy_account(&child))?;
        same("given afterwards", must("info", info(own.name()))?.resources[FRAMES].given, before.given)
    })
}

fn too_much_is_refused(bench: &Bench) -> Verdict {
    bench.exact(|| {
        let own = own();
        for grant in [
            Grant { frames: u64::MAX, ..SMALL },
            Grant { frames: u64::MAX / 2, ..SMALL },
            Grant { objects: 1 << 60, ..SMALL },
            Grant { calls: 1 << 40, ..SMALL },
            Grant { share: 10_000, ..SMALL },
        ] {
            fails("an account with too much", make_account(own.name(), &grant), KERN_RESOURCE_SHORTAGE)?;
        }
        let negative = Grant { share: -1, ..SMALL };
        fails("a negative share", make_account(own.name(), &negative), KERN_INVALID_ARGUMENT)?;
        fails("an account that is a task", make_account(task::this(), &SMALL), KERN_INVALID_ARGUMENT)
    })
}

fn tasks_until_the_limit(bench: &Bench) -> Verdict {
    bench.exact(|| {
        let account = must("an account", make_account(own().name(), &SMALL))?;
        let mut tasks = Vec::new();
        let code = loop {
            match task::create_for(account.name()) {
                Ok(task) => tasks.push(task),
                Err(code) => break code,
            }
            holds("64 frames hold 64 tasks", tasks.len() < 64)?;
        };
        same("the last task", code, KERN_RESOURCE_SHORTAGE)?;
        holds("64 frames hold not even 10 tasks", tasks.len() >= 10)?;
        let used = must("info", info(account.name()))?.resources[FRAMES];
        holds("more than the limit was charged", used.charged + used.given + used.escrow <= used.limit)?;
        must("destroy", destroy_account(&account))
    })
}

fn memory_until_the_limit(bench: &Bench) -> Verdict {
    bench.exact(|| {
        let account = must("an account", make_account(own().name(), &SMALL))?;
        let task = must("a task", task::create_for(account.name()))?;
        let base = 0x100_0000;
        must("room", mach::vm_allocate(&Mach, task.name(), base, 1 << 30, false, ALL).map_err(i32::from))?;
        let page = [7u8; 4096];
        let mut written = 0;
        let code = loop {
            match mach::vm_write(&Mach, task.name(), base + written * 4096, &page, ALL).map_err(i32::from) {
                Ok(()) => written += 1,
                Err(code) => break code,
            }
            holds("64 frames hold 64 pages of data", written < 64)?;
        };
        same("the last page", code, KERN_RESOURCE_SHORTAGE)?;
        holds("64 frames hold not even 40 pages of data", written >= 40)?;
        must("destroy", destroy_account(&account))
    })
}

fn destroy_with_clients_inside(bench: &Bench) -> Verdict {
    let server = bench.server()?;
    bench.exact(|| {
        let grant = Grant { frames: 4096, calls: 64, objects: 16_384, share: 100, ..SMALL };
        let account = must("an account", make_account(own().name(), &grant))?;
        let mut children = Vec::new();
        for _ in 0..3 {
            children.push(must("a client", super::exits::start_client(&server, account.name()))?);
        }
        must("a pause", libhurd::clock::sleep(core::time::Duration::from_millis(50)))?;
        must("destroy", destroy_account(&account))?;
        for child in children {
            must("a client's end", child.wait(ALL))?;
        }
        super::answers(&server)
    })?;
    must("the server's end", server.end())
}

fn root_and_own_account_stay(bench: &Bench) -> Verdict {
    bench.exact(|| {
        let root =
            must("the root account", host_root_account(&Mach, bench.machine.port(), ALL).map_err(i32::from))?;
        let root = SendRight::from_name(root.account);
        let destroyed = account_destroy(&Mach, root.name(), ALL).map_err(i32::from);
        fails("destroying the root account", destroyed, KERN_PROTECTION_FAILURE)?;
        let shared = account_set_cpu(&Mach, root.name(), 10, 0, 0, ALL).map_err(i32::from);
        fails("a share for the root account", shared, KERN_NO_ACCESS)?;
        let destroyed = account_destroy(&Mach, own().name(), ALL).map_err(i32::from);
        fails("destroying one's own account", destroyed, KERN_PROTECTION_FAILURE)
    })
}

fn cpu_is_charged(bench: &Bench) -> Verdict {
    let server = bench.server()?;
    let own = own();
    let before = must("info", info(own.name()))?.resources[CPU].charged;
    let offer = Offer::all().cpu(core::time::Duration::from_millis(20));
    fails("burning", super::ask(&server, super::server::What::Burn, 0, &offer), KERN_RESOURCE_SHORTAGE)?;
    let used = must("info", info(own.name()))?.resources[CPU].charged - before;
    holds("the call's CPU time was not charged to its caller", used >= 18_000_000)?;
    holds("much more was charged than offered", used < 40_000_000)?;
    must("the server's end", server.end())
}
