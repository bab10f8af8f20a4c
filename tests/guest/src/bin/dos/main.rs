//! The experiment's driver: see `docs/experiment.md`.
//!
//! It gets the privileged host port as descriptor 3, makes the accounts, starts victims and attacker, leads them through the phases and prints the records. It ends the
//! machine. Its own work (a look at the board every 20 ms, a snapshot of the accounts every 100 ms) is paid by its own account.
#![cfg_attr(target_os = "none", no_std, no_main)]
#![forbid(unsafe_code)]

extern crate alloc;

mod cast;
mod config;
mod watch;

use alloc::vec::Vec;
use core::time::Duration;

use guest::board::{ATTACKER, Board, Order, Sample};
use guest::machine::{FAILED, Machine, SUCCEEDED, info, name_of};
use guest::record;
use guest::record::done;
use libhurd::abi::account::{AccountInfo, CPU, FRAMES};
use libhurd::clock::now;
use libhurd::errno::describe;
use libhurd::print::kernel_print;
use libhurd::stubs::drover_host::host_set_checking;
use libhurd::{ALL, Env, Mach, clock};

use cast::{Attacker, Victim, attempt_returned};
use config::{Config, Stall};
use watch::Watch;

/// How often the driver looks at the board.
const LOOK: Duration = Duration::from_millis(20);
/// How often it says that it is alive.
const TICK_NS: u64 = 1_000_000_000;
/// Longest phase, ns.
const PHASE_NS: u64 = 240_000_000_000;
/// A sample that takes longer than this cannot be waited for: its victim does not run any more.
const STALLED_NS: u64 = 2_000_000_000;
/// How long running samples may take to end after a phase, ns.
const GRACE_NS: u64 = 5_000_000_000;
/// The number of the phase in which the servers' tables and caches reach their size; not reported.
const WARM_UP: u32 = u32::MAX;
/// The number of the attack that is repeated for the count of free frames; not reported.
const AGAIN: u32 = u32::MAX - 1;
/// Samples of each victim in it.
const WARM_SAMPLES: u64 = 2;
/// What ext2 lets one start of a translator take: elapsed time and frames (its options' defaults).
const OFFER_NS: u64 = 3_000_000_000;
const OFFER_FRAMES: u64 = 4096;

/// The run.
struct Run {
    config: Config,
    machine: Machine,
    board: Board,
    victims: Vec<Victim>,
    watch: Watch,
    /// How many samples each victim, and the attacker, had when the phase began.
    before: [u64; guest::board::PLACES],
}

impl Run {
    /// Counts samples from here on.
    fn mark(&mut self) {
        for (place, before) in self.before.iter_mut().enumerate() {
            *before = self.board.count(place);
        }
    }

    fn samples(&self, place: usize) -> impl Iterator<Item = Sample> {
        self.board.samples(place, self.before[place])
    }

    fn count(&self, place: usize) -> u64 {
        self.board.count(place) - self.before[place]
    }

    /// The victim has its samples, or is in the middle of one that does not end.
    fn is_served(&self, victim: &Victim, wanted: u64) -> bool {
        self.count(victim.place) >= wanted
            || self.board.began(victim.place).is_some_and(|at| now().saturating_sub(at) > STALLED_NS)
            || self.samples(victim.place).any(|sample| sample.took > STALLED_NS)
    }

    /// Gives an order and waits until every victim has `wanted` samples and `enough` holds.
    fn go(
        &mut self,
        phase: u32,
        order: Order,
        wanted: u64,
        enough: impl Fn(&Self) -> bool,
    ) -> Result<(), i32> {
        self.mark();
        self.board.command(phase, order);
        let begin = now();
        let mut tick = begin + TICK_NS;
        loop {
            clock::sleep(LOOK)?;
            if phase != WARM_UP {
                self.watch.look()?;
            }
            let at = now();
            if at >= tick && phase != WARM_UP {
                let n: u64 = self.victims.iter().map(|victim| self.count(victim.place)).sum();
                record!("\"t\":\"tick\",\"at\":{at},\"n\":{n}");
                tick = at + TICK_NS;
            }
            let served = self.victims.iter().all(|victim| self.is_served(victim, wanted));
            if served && enough(self) || at - begin > PHASE_NS {
                return Ok(());
            }
        }
    }

    /// Lets running samples end: all, or as many as do within [`GRACE_NS`].
    fn hold(&mut self, phase: u32) -> Result<(), i32> {
        self.board.command(phase, Order::Hold);
        let begin = now();
        while now() - begin < GRACE_NS
            && self.victims.iter().any(|victim| self.board.began(victim.place).is_some())
        {
            clock::sleep(LOOK)?;
        }
        Ok(())
    }

    /// Prints the phase's samples.
    fn print(&mut self, phase: u32) {
        let at = now();
        for victim in &self.victims {
            let name = victim.name;
            for sample in self.samples(victim.place).filter(|sample| sample.phase == phase) {
                let Sample { at, took, error, .. } = sample;
                record!("\"t\":\"s\",\"v\":\"{name}\",\"p\":{phase},\"at\":{at},\"d\":{took},\"e\":{error}");
            }
            if let Some(began) = self.board.began(victim.place) {
                let age = at.saturating_sub(began);
                record!("\"t\":\"open\",\"v\":\"{name}\",\"p\":{phase},\"at\":{began},\"d\":{age}");
            }
        }
        self.watch.print();
    }

    fn announce(&self, name: &str, trigger: &str) {
        let Config { world, .. } = self.config;
        record!(
            "\"t\":\"phase\",\"name\":\"{name}\",\"world\":\"{}\",\"stall\":\"{}\",\"trigger\":\"{trigger}\",\"start_ns\":{}",
            world.name(),
            self.config.stall_name(),
            now()
        );
    }

    /// One phase without surprises.
    fn phase(&mut self, number: u32, name: &str, order: Order) -> Result<(), i32> {
        self.machine.check()?;
        self.announce(name, "none");
        self.go(number, order, self.config.samples, |_| true)?;
        self.hold(number)?;
        self.print(number);
        Ok(())
    }

    fn attack(&mut self, number: u32, attacker: &Attacker) -> Result<(), i32> {
        self.machine.check()?;
        // With stall c nobody but the attacker steps on its node, so that exec's lock alone is felt; unless a victim is to be the first.
        self.board.enter_attacker(self.config.stall != Stall::C || self.config.victim_first);
        let own_before = self.watch.restart_peak()?;
        let account = attacker.user.account.name();
        let before = info(account)?;
        let first = self.board.count(ATTACKER);
        let order = if self.config.victim_first { Order::AttackAfterVictim } else { Order::Attack };
        self.announce("attack", self.config.trigger_name());
        self.go(number, order, self.config.samples, |run| attempt_returned(&run.board, first))?;
        self.hold(number)?;
        self.watch.take()?;
        let after = info(account)?;
        self.print(number);
        let codes = self.codes();
        let result = self.board.samples(ATTACKER, first).next().map_or(-1, |sample| sample.error);
        let cpu = after.resources[CPU].charged - before.resources[CPU].charged;
        let held = before.resources[FRAMES].charged + before.resources[FRAMES].given;
        record!(
            "\"t\":\"attacker\",\"result\":{result},\"cpu_ns\":{cpu},\"frames_peak\":{},\"attempts\":{},\"results\":[{codes}],\"offer_ns\":{OFFER_NS},\"offer_frames\":{}",
            after.frames_peak,
            self.count(ATTACKER),
            held + OFFER_FRAMES
        );
        record!("\"t\":\"exec\",\"own_before\":{own_before},\"own_peak\":{}", self.watch.exec_peak);
        Ok(())
    }

    /// What the attacker's attempts returned, and how often (of those that the board still has).
    fn codes(&self) -> Codes {
        let mut codes: Vec<(i32, u64)> = Vec::new();
        for sample in self.samples(ATTACKER) {
            match codes.iter_mut().find(|entry| entry.0 == sample.error) {
                Some(entry) => entry.1 += 1,
                None => codes.push((sample.error, 1)),
            }
        }
        Codes(codes)
    }
}

/// Codes and counts as JSON.
struct Codes(Vec<(i32, u64)>);

impl core::fmt::Display for Codes {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let mut comma = "";
        for (code, count) in self.0.iter().take(8) {
            write!(f, "{comma}[{code},{count}]")?;
            comma = ",";
        }
        Ok(())
    }
}

/// Free frames while nothing runs but this driver, and holds no more than it did the other time.
fn free_frames(machine: Machine) -> Result<u64, i32> {
    // What dies meanwhile (notifications on their way, ports without senders) has died then.
    clock::sleep(Duration::from_millis(200))?;
    Ok(machine.frames()?.free)
}

/// Says which accounts have more or fewer frames than before.
fn explain(before: &[AccountInfo], after: &[AccountInfo]) {
    for row in after {
        let had = before.iter().find(|old| old.id == row.id).map_or(0, |old| old.resources[FRAMES].charged);
        let has = row.resources[FRAMES].charged;
        if has != had {
            kernel_print(format_args!(
                "dos: account {} ({}): {had} frames before, {has} after\n",
                row.id,
                name_of(row).escape_ascii()
            ));
        }
    }
}

fn experiment(env: &'static Env, config: Config) -> Result<(), i32> {
    let machine = Machine::of(env);
    let frames = machine.frames()?;
    record!(
        "\"t\":\"meta\",\"world\":\"{}\",\"stall\":\"{}\",\"trigger\":\"{}\",\"format\":\"{}\",\"frames\":{},\"reserve\":{}",
        config.world.name(),
        config.stall_name(),
        config.trigger_name(),
        config.format_name(),
        frames.total,
        frames.reserve
    );
    if config.checked {
        host_set_checking(&Mach, machine.port(), 1000, ALL)?;
    }
    let (board, object) = Board::create()?;
    board.command(WARM_UP, Order::Hold);
    let victims = cast::victims(&config, object.name())?;
    let watch = Watch::new(machine);
    let mut run = Run { config, machine, board, victims, watch, before: [0; guest::board::PLACES] };
    run.go(WARM_UP, Order::Run, WARM_SAMPLES, |_| true)?;
    run.hold(WARM_UP)?;

    run.phase(0, "idle", Order::Run)?;
    let mut owners = machine.accounts()?;
    let mut before = free_frames(machine)?;
    let attacker = Attacker::start(object.name())?;
    run.phase(1, "fair", Order::Burn)?;
    run.attack(2, &attacker)?;
    machine.check()?;
    attacker.destroy()?;
    if config.world.has_ceilings() {
        // Once more with the victims on hold, so that the one difference is the attacker: account, attack, destruction. Whatever an attack takes
        // and does not give back must show here.
        owners = machine.accounts()?;
        before = free_frames(machine)?;
        let attacker = Attacker::start(object.name())?;
        let first = run.board.count(ATTACKER);
        run.board.command(AGAIN, Order::AttackAlone);
        while !attempt_returned(&run.board, first) {
            clock::sleep(LOOK)?;
        }
        run.hold(AGAIN)?;
        attacker.destroy()?;
    }
    let after = free_frames(machine)?;
    if before != after {
        explain(&owners, &machine.accounts()?);
    }
    let conservation = machine.check()?;
    record!("\"t\":\"free\",\"before\":{before},\"after\":{after}");
    record!(
        "\"t\":\"conservation\",\"checks\":{},\"violations\":{}",
        conservation.checks,
        conservation.violations
    );
    if conservation.violations > 0 {
        kernel_print(format_args!(
            "dos: first violation: {}\n",
            conservation.first_violation.as_bytes().escape_ascii()
        ));
    }
    record!("\"t\":\"end\",\"at\":{}", now());
    done();
    Ok(())
}

fn program(env: &'static Env) -> i32 {
    let machine = Machine::of(env);
    let config = match Config::read(env.envp()) {
        Ok(config) => config,
        Err(name) => {
            kernel_print(format_args!("dos: the value of {name}= means nothing\n"));
            machine.shut_down(FAILED)
        }
    };
    match experiment(env, config) {
        Ok(()) => machine.shut_down(SUCCEEDED),
        Err(code) => {
            kernel_print(format_args!("dos: {} ({code:#x})\n", describe(code)));
            machine.shut_down(FAILED)
        }
    }
}

libhurd::entry!(program);
