//! A bystander of the experiment: `victim KIND PLACE PERIOD_US OFFSET_US [FILE]`, with the board as descriptor 3.
//!
//! | kind | one sample |
//! |---|---|
//! | `find` | a walk over everything, looking at every node |
//! | `read` | opens FILE, reads all of it in pieces of 4 KiB, closes it |
//! | `exec` | runs FILE and waits for its end |
//!
//! A sample begins at every multiple of the period (plus the offset), so that the pattern in which the victims disturb each other is the same in
//! every phase; with period 0, whenever the last one has ended.
//!
//! Offers: what a victim asks for may take everything its account has, but in the worlds with ceilings not for ever: one step of a walk has
//! [`STEP`], one run of a program [`RUN`]. In the other worlds such limits do not exist, and a victim waits as long as it is made to.
#![cfg_attr(target_os = "none", no_std, no_main)]
#![forbid(unsafe_code)]

extern crate alloc;

use core::time::Duration;

use guest::board::{Board, DESCRIPTOR, PLACES};
use guest::walk::{Visitor, walk};
use libhurd::clock::{Deadline, now};
use libhurd::errno::{EACCES, EINVAL, describe};
use libhurd::file::{Context, File, O_READ};
use libhurd::print::kernel_print;
use libhurd::program::Program;
use libhurd::stubs::types::IoStatbuf;
use libhurd::{Env, Offer, clock, syscall};

/// How long the walk waits for one node.
const STEP: Duration = Duration::from_millis(5);
/// How long a run of a program, or the reading of a file, may take.
const RUN: Duration = Duration::from_secs(10);
/// How often a victim that is on hold looks at the board.
const POLL: Duration = Duration::from_millis(1);
/// Bytes read at a time.
const PIECE: usize = 4096;
/// What `find` passes over unless it is told to look.
const ATTACKER_HOME: &[u8] = b"/home/attacker";
/// What it always passes over: nodes whose translators are tests of their own.
const TESTS: &[u8] = b"/tests";
/// The node whose translator is the bomb.
const BOMB: &[u8] = b"/home/attacker/bomb";

/// What is sampled.
enum Kind<'a> {
    Find,
    Read(&'a [u8]),
    Exec(&'a [u8]),
}

struct Finder<'a> {
    board: &'a Board,
    enters: bool,
    error: i32,
}

impl Visitor for Finder<'_> {
    fn offer(&mut self) -> Offer {
        Offer::all().within(STEP)
    }
    fn enters(&mut self, path: &[u8]) -> bool {
        path != TESTS && (self.enters || path != ATTACKER_HOME)
    }
    fn looks(&mut self, path: &[u8]) {
        if path == BOMB {
            self.board.step();
        }
    }
    fn saw(&mut self, _: &[u8], result: Result<&IoStatbuf, i32>) {
        // A directory that this user may not look into (`lost+found`) is nobody's disturbance.
        if let Err(code) = result
            && code != EACCES
            && self.error == 0
        {
            self.error = code;
        }
    }
}

fn read(path: &[u8]) -> Result<(), i32> {
    let offer = Offer::all().within(RUN);
    let file = File::open(path, O_READ, &offer)?;
    let mut buffer = [0; PIECE];
    while file.read(&mut buffer, &offer)? != 0 {}
    Ok(())
}

fn exec(path: &[u8]) -> Result<(), i32> {
    let offer = Offer::all().within(RUN);
    match Program::new(path).start(&offer)?.wait(&offer)? {
        0 => Ok(()),
        status => Err(status),
    }
}

fn sample(kind: &Kind<'_>, board: &Board) -> i32 {
    let result = match *kind {
        Kind::Find => {
            let mut finder = Finder { board, enters: board.enters_attacker(), error: 0 };
            walk(Context::current(), b"/", &mut finder);
            return finder.error;
        }
        Kind::Read(path) => read(path),
        Kind::Exec(path) => exec(path),
    };
    result.err().unwrap_or(0)
}

/// The first multiple of `period`, plus `offset`, that is not over.
fn next_turn(now: u64, period: u64, offset: u64) -> u64 {
    match now.saturating_sub(offset).checked_div(period) {
        Some(turns) => (turns + 1) * period + offset,
        None => now,
    }
}

fn run(env: &Env) -> Result<(), i32> {
    let word = |index: usize| env.args().nth(index).ok_or(EINVAL);
    let number = |index: usize| {
        let text = core::str::from_utf8(word(index)?).map_err(|_| EINVAL)?;
        text.parse::<u64>().map_err(|_| EINVAL)
    };
    let (place, period, offset) = (number(2)? as usize, number(3)? * 1000, number(4)? * 1000);
    let kind = match word(1)? {
        b"find" => Kind::Find,
        b"read" => Kind::Read(word(5)?),
        b"exec" => Kind::Exec(word(5)?),
        _ => return Err(EINVAL),
    };
    if place >= PLACES {
        return Err(EINVAL);
    }
    let board = Board::map(env.fd(DESCRIPTOR))?;
    loop {
        if board.order().holds_victims() {
            clock::sleep(POLL)?;
            continue;
        }
        if period > 0 {
            syscall::sleep_until(Deadline::at(next_turn(now(), period, offset)).ns())?;
            if board.order().holds_victims() {
                continue;
            }
        }
        let begun = board.begin(place);
        let error = sample(&kind, &board);
        board.end(place, begun, error);
    }
}

fn program(env: &'static Env) -> i32 {
    let Err(code) = run(env) else { return 0 };
    kernel_print(format_args!("victim: {} ({code:#x})\n", describe(code)));
    1
}

libhurd::entry!(program);

#[cfg(test)]
mod tests {
    use super::next_turn;

    #[test]
    fn turns() {
        assert_eq!(next_turn(0, 100, 30), 130);
        assert_eq!(next_turn(130, 100, 30), 230);
        assert_eq!(next_turn(229, 100, 30), 230);
        assert_eq!(next_turn(77, 0, 30), 77);
    }
}
