//! The attacker of the experiment, with the board as descriptor 3: `attacker NODE`.
//!
//! On order it burns its share of the CPU (what it is entitled to), or opens its node again whenever the last attempt has returned. It offers all it has.
#![cfg_attr(target_os = "none", no_std, no_main)]
#![forbid(unsafe_code)]

use core::time::Duration;

use guest::board::{ATTACKER, Board, DESCRIPTOR, Order};
use libhurd::errno::{EINVAL, describe};
use libhurd::file::{File, O_READ};
use libhurd::print::kernel_print;
use libhurd::{ALL, Env, clock};

/// How often an idle attacker looks at the board.
const POLL: Duration = Duration::from_millis(1);
/// Turns of the burning loop between looks at the board.
const TURNS: u32 = 100_000;

fn run(env: &Env) -> Result<(), i32> {
    let node = env.args().nth(1).ok_or(EINVAL)?;
    let board = Board::map(env.fd(DESCRIPTOR))?;
    loop {
        match board.order() {
            Order::Hold | Order::Run => clock::sleep(POLL)?,
            Order::Burn => {
                for turn in 0..TURNS {
                    core::hint::black_box(turn);
                }
            }
            Order::AttackAfterVictim if !board.was_stepped() => clock::sleep(POLL)?,
            Order::Attack | Order::AttackAfterVictim | Order::AttackAlone => {
                let begun = board.begin(ATTACKER);
                let opened = File::open(node, O_READ, ALL);
                board.end(ATTACKER, begun, opened.err().unwrap_or(0));
            }
        }
    }
}

fn program(env: &'static Env) -> i32 {
    let Err(code) = run(env) else { return 0 };
    kernel_print(format_args!("attacker: {} ({code:#x})\n", describe(code)));
    1
}

libhurd::entry!(program);
