//! Random histories: several accounts, tasks, threads and ports doing anything that user space can do, well-behaved or not.
//!
//! The "programs" are this test. After every step the conservation checkers find nothing, nothing panics or hangs, and after the destruction of
//! all accounts every frame is back.

mod acts;
mod draw;
mod rpcs;
mod world;

use proptest::prelude::*;
use proptest::test_runner::RngSeed;

use self::world::World;
use crate::object::Kind;

/// Frames of the machine.
const FRAMES: u32 = 3000;
/// Where the low bits of `rip` say that a thread is about to execute `syscall`.
const AT_SYSCALL: u64 = 8;
fn history(steps: &[(u8, u64)], drift: u64) {
    let mut w = World::new(drift);
    w.run();
    let free = w.s.k.free_frames;
    let root = *w.s.k.get(w.s.k.root);
    w.build();
    for &(what, seed) in steps {
        w.step(what, seed);
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

/// The same histories every time, unless `PROPTEST_RNG_SEED` asks for others, and few, unless `PROPTEST_CASES` asks for more.
fn config() -> ProptestConfig {
    let number = |name| std::env::var(name).ok().and_then(|text| text.parse().ok());
    ProptestConfig {
        cases: number("PROPTEST_CASES").map_or(128, |n: u64| n as u32),
        max_shrink_iters: 200,
        failure_persistence: None,
        rng_seed: RngSeed::Fixed(number("PROPTEST_RNG_SEED").unwrap_or(1)),
        ..ProptestConfig::default()
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn any_history_keeps_the_laws(steps in proptest::collection::vec((any::<u8>(), any::<u64>()), 50..600), drift in 0..3u64) {
        history(&steps, drift * 7);
    }
}
