//! Random histories: several accounts, tasks, threads and ports doing anything that user space can do, well-behaved or not.
//!
//! The "programs" are this test. After every step the conservation checkers find nothing, nothing panics or hangs, and after the destruction of
//! all accounts every frame is back. A *wild* history tries every argument, mostly bad ones, on a small world; a *dense* one mostly does what
//! has an effect, several calls deep, while a supervisor kills, aborts, forks, destroys accounts and makes new ones.
//!
//! A history is known by three numbers: its length, its seed and how fast the clock drifts. `HISTORY=length,seed,drift` runs one alone.

mod acts;
mod dense;
mod draw;
mod rpcs;
mod supervisor;
mod world;

use proptest::prelude::*;
use proptest::test_runner::RngSeed;

use self::draw::Draw;
use self::world::World;
use crate::object::Kind;

/// Frames of the machine.
const FRAMES: u32 = 3000;
/// Where the low bits of `rip` say that a thread is about to execute `syscall`.
const AT_SYSCALL: u64 = 8;

fn history(dense: bool, length: usize, seed: u64, drift: u64) {
    let mut w = World::new(dense, drift);
    w.run();
    // The supervisor's local block is looked at when it waits.
    assert_eq!(w.s.k.critical_depth(w.admin_home()), 0);
    let free = w.s.k.free_frames;
    let root = *w.s.k.get(w.s.k.root);
    w.build();
    let mut d = Draw(seed);
    for _ in 0..length {
        let seed = d.word();
        w.step(d.word() as u8, seed);
    }
    w.end();
    let after = w.s.k.get(w.s.k.root);
    assert_eq!(w.s.k.free_frames, free, "free frames");
    for i in 0..3 {
        assert_eq!(after.resources[i], root.resources[i], "resource {i} of root");
    }
    assert_eq!(after.share, root.share);
    assert!(w.s.k.is_object(w.admin.raw(), Kind::Thread, 3));
}

/// The history that the environment asks for.
fn one() -> Option<(usize, u64, u64)> {
    let text = std::env::var("HISTORY").ok()?;
    let mut numbers = text.split(',').map(|number| number.trim().parse::<u64>().expect("a number"));
    let mut next = || numbers.next().expect("HISTORY=length,seed,drift");
    Some((next() as usize, next(), next()))
}

/// The same histories every time, unless `PROPTEST_RNG_SEED` asks for others, and few, unless `PROPTEST_CASES` asks for more.
fn config() -> ProptestConfig {
    let number = |name| std::env::var(name).ok().and_then(|text| text.parse().ok());
    ProptestConfig {
        cases: if one().is_some() { 1 } else { number("PROPTEST_CASES").map_or(96, |n: u64| n as u32) },
        max_shrink_iters: 40,
        failure_persistence: None,
        rng_seed: RngSeed::Fixed(number("PROPTEST_RNG_SEED").unwrap_or(1)),
        ..ProptestConfig::default()
    }
}

/// Length (which shrinks), seed, drift.
fn any_history() -> impl Strategy<Value = (usize, u64, u64)> {
    let fixed = one();
    (50..600usize, any::<u64>().no_shrink(), (0..3u64).no_shrink())
        .prop_map(move |(length, seed, drift)| fixed.unwrap_or((length, seed, drift * 7)))
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn any_wild_history_keeps_the_laws((length, seed, drift) in any_history()) {
        history(false, length, seed, drift);
    }

    #[test]
    fn any_dense_history_keeps_the_laws((length, seed, drift) in any_history()) {
        history(true, length, seed, drift);
    }
}
