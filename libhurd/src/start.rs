//! Program start and end.
//!
//! Entry contract: see `drover_abi::startup`. [`entry!`](crate::entry) names the program's function; [`exit`] ends the task.

use drover_abi::startup::{STARTUP_MAGIC, StartupBlock};

use crate::env::Env;
use crate::local::Local;
#[cfg(target_os = "none")]
use crate::{env, print, world};
use crate::{syscall, task};

/// Makes `$program` (`fn(&'static Env) -> i32`) the program's main function. The crate starts with
/// `#![cfg_attr(target_os = "none", no_std, no_main)]`; on the host the program only says where it runs.
#[macro_export]
macro_rules! entry {
    ($program:path) => {
        #[cfg(target_os = "none")]
        #[unsafe(no_mangle)]
        fn drover_program(env: &'static $crate::Env) -> i32 {
            $program(env)
        }
        #[cfg(not(target_os = "none"))]
        fn main() {
            let _: fn(&'static $crate::Env) -> i32 = $program;
            std::println!("{} runs inside Drover", env!("CARGO_PKG_NAME"));
        }
    };
}

/// Entry point of the image: the stack as the contract says, the startup block in rdi.
#[cfg(target_os = "none")]
#[unsafe(naked)]
#[unsafe(no_mangle)]
unsafe extern "C" fn _start() -> ! {
    core::arch::naked_asm!("xor ebp, ebp", "and rsp, -16", "call {start}", "ud2", start = sym start)
}

#[cfg(target_os = "none")]
extern "C" fn start(block: u64) -> ! {
    unsafe extern "Rust" {
        fn drover_program(env: &'static Env) -> i32;
    }
    adopt_home();
    // SAFETY: whoever started us wrote the block, or passed 0.
    let env = unsafe { inherit(block) };
    let env: &'static Env = alloc::boxed::Box::leak(alloc::boxed::Box::new(env));
    env::publish(env);
    if let Some(world) = env.var(b"world").and_then(world::World::named) {
        world::set(world);
    }
    print::init();
    // SAFETY: `entry!` defines it with this signature; a program without it does not link.
    exit(unsafe { drover_program(env) })
}

/// Fills in the local block of a home activation.
pub(crate) fn adopt_home() {
    let local = Local::current();
    if let Some(info) = syscall::call_info() {
        local.adopt(
            core::ptr::from_ref(&local) as u64 & !(drover_abi::window::WINDOW_SIZE - 1),
            info.tid,
            info.payer,
        );
    }
}

/// Reads the startup block.
///
/// # Safety
/// `address` is 0 or the address of a startup block whose arrays lie in memory that stays and that nobody writes.
#[cfg_attr(not(target_os = "none"), expect(dead_code, reason = "only a program is started with a block"))]
unsafe fn inherit(address: u64) -> Env {
    /// # Safety
    /// As for [`inherit`].
    unsafe fn array<T>(address: u64, count: u64) -> &'static [T] {
        if address == 0 || count == 0 {
            return &[];
        }
        // SAFETY: by the caller's word.
        unsafe { core::slice::from_raw_parts(address as *const T, count as usize) }
    }
    // SAFETY: by the caller's word.
    let Some(block) = (unsafe { (address as *const StartupBlock).as_ref() }) else { return Env::default() };
    if block.magic != STARTUP_MAGIC {
        return Env::default();
    }
    // SAFETY: by the caller's word, five times.
    unsafe {
        Env {
            argv: array(block.argv, block.argv_len),
            envp: array(block.envp, block.envp_len),
            dtable: array(block.dtable, block.dtable_count),
            ports: array(block.ports, block.ports_count),
            ints: array(block.ints, block.ints_count),
            flags: block.flags,
        }
    }
}

/// Ends the program: tells proc, then terminates the task.
pub fn exit(status: i32) -> ! {
    task::mark_exit(status);
    loop {
        // Does not return, unless the kernel refuses; then there is nothing left but to try again, without spinning.
        let _ = task::terminate(task::this());
        let _ = crate::clock::sleep(core::time::Duration::from_secs(1));
    }
}
