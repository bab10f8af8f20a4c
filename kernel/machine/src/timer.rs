//! The clock (TSC) and the one-shot timer (local APIC), and the legacy interrupt controllers (all but the console's
//! line masked).
//!
//! Both counters are measured against the interval timer at boot, over about 10 ms. The APIC's count is 32 bits: a
//! deadline beyond its range interrupts early, and whoever set it sets it again.

use crate::clock::{PIT_HZ, Rate, measured_hz};
use crate::cpu::Features;
use crate::event::{CONSOLE_VECTOR, LEGACY_BASE, SPURIOUS_VECTOR, TIMER_VECTOR};
use crate::paging::DEVICE_BASE;
use core::arch::x86_64::_rdtsc;
use spin::Once;
use x86_64::instructions::port::Port;
use x86_64::registers::model_specific::Msr;

/// Physical address of the local APIC's registers (where it is after reset).
pub(crate) const APIC: u64 = 0xfee0_0000;

const APIC_BASE_MSR: u32 = 0x1b;
const APIC_ENABLE: u64 = 1 << 11;

/// Registers, as offsets from the base.
const END_OF_INTERRUPT: u64 = 0xb0;
const SPURIOUS: u64 = 0xf0;
const TIMER: u64 = 0x320;
const LINE_0: u64 = 0x350;
const LINE_1: u64 = 0x360;
const ERROR: u64 = 0x370;
const INITIAL_COUNT: u64 = 0x380;
const CURRENT_COUNT: u64 = 0x390;
const DIVIDER: u64 = 0x3e0;

const SOFTWARE_ENABLE: u32 = 1 << 8;
const MASKED: u32 = 1 << 16;
const EXTERNAL: u32 = 7 << 8;
const NMI: u32 = 4 << 8;
const DIVIDE_BY_4: u32 = 1;

/// Interval-timer ticks over which the others are measured: 10 ms.
const WINDOW: u16 = (PIT_HZ / 100) as u16;

struct Clock {
    start: u64,
    tsc: Rate,
    timer: Rate,
}

static CLOCK: Once<Clock> = Once::new();

fn tsc() -> u64 {
    // SAFETY: every x86_64 CPU has the counter, and reading it has no effect.
    unsafe { _rdtsc() }
}

fn read(register: u64) -> u32 {
    // SAFETY: the page at `DEVICE_BASE` is the local APIC, mapped uncached; the offsets above are registers of it.
    unsafe { ((DEVICE_BASE + register) as *const u32).read_volatile() }
}

fn write(register: u64, value: u32) {
    // SAFETY: as for `read`; the values written are the ones that the registers' definitions allow.
    unsafe { ((DEVICE_BASE + register) as *mut u32).write_volatile(value) }
}

fn out(port: u16, value: u8) {
    // SAFETY: the callers name ports of the legacy controllers and of the interval timer, which only this module uses.
    unsafe { Port::new(port).write(value) }
}

fn inp(port: u16) -> u8 {
    // SAFETY: as for `out`; reading these ports has no effect but on the timer's latch.
    unsafe { Port::new(port).read() }
}

/// Starts the clock and makes the timer ready.
pub(crate) fn init(features: &Features) {
    init_legacy();
    let mut msr = Msr::new(APIC_BASE_MSR);
    // SAFETY: switches the APIC on where the tables map it.
    unsafe { msr.write(APIC | (msr.read() & 0xfff) | APIC_ENABLE) };
    write(SPURIOUS, SOFTWARE_ENABLE | u32::from(SPURIOUS_VECTOR));
    write(TIMER, MASKED | u32::from(TIMER_VECTOR));
    // The legacy controllers come in on line 0; line 1 is the NMI button.
    write(LINE_0, EXTERNAL);
    write(LINE_1, NMI);
    write(ERROR, MASKED);
    write(DIVIDER, DIVIDE_BY_4);
    write(END_OF_INTERRUPT, 0);

    let (tsc_hz, timer_hz) = measure();
    let clock = CLOCK.call_once(|| Clock {
        start: tsc(),
        tsc: Rate::from_hz(tsc_hz),
        timer: Rate::from_hz(timer_hz),
    });
    write(TIMER, u32::from(TIMER_VECTOR));
    log::info!("clock: {} Hz, timer: {} Hz", clock.tsc.hz(), clock.timer.hz());
    if !features.steady_tsc {
        log::debug!("the clock's rate may change with the CPU's");
    }
}

/// Rates of the TSC and of the APIC's timer, in Hz.
fn measure() -> (u64, u64) {
    // Channel 2, gate on, speaker off; mode 2, both bytes, from 65536 down: wraps in 55 ms.
    out(0x61, (inp(0x61) & !2) | 1);
    out(0x43, 0xb4);
    out(0x42, 0);
    out(0x42, 0);
    write(INITIAL_COUNT, u32::MAX);
    let start = sample();
    while start.pit.wrapping_sub(pit_count()) < WINDOW {
        // Reading the interval timer is slow where it is emulated; look now and then.
        for _ in 0..1000 {
            core::hint::black_box(());
        }
    }
    let end = sample();
    write(INITIAL_COUNT, 0);
    let ticks = u64::from(start.pit.wrapping_sub(end.pit));
    (
        measured_hz(end.tsc.wrapping_sub(start.tsc), ticks),
        measured_hz(u64::from(start.timer.wrapping_sub(end.timer)), ticks),
    )
}

/// The three counters at one moment.
struct Sample {
    pit: u16,
    tsc: u64,
    timer: u32,
}

/// Reads the counters at the moment when the interval timer's count changes: of a few such moments, the one seen most
/// sharply (a host may take the CPU away from an emulator in between).
fn sample() -> Sample {
    let mut best = (u64::MAX, Sample { pit: 0, tsc: 0, timer: 0 });
    for _ in 0..5 {
        let (mut before, first) = (tsc(), pit_count());
        // A timer that stands still must not stop the boot: bounded.
        for _ in 0..1_000_000 {
            let pit = pit_count();
            let seen = Sample { pit, tsc: tsc(), timer: read(CURRENT_COUNT) };
            let after = tsc();
            if pit != first {
                let width = after.wrapping_sub(before);
                if width < best.0 {
                    best = (width, seen);
                }
                break;
            }
            before = after;
        }
    }
    assert!(best.0 != u64::MAX, "the interval timer does not run");
    best.1
}

/// The interval timer's count.
fn pit_count() -> u16 {
    out(0x43, 0x80);
    let low = inp(0x42);
    u16::from_le_bytes([low, inp(0x42)])
}

/// Moves the legacy controllers' vectors out of the way and masks every line but the console's.
fn init_legacy() {
    // Per controller: initialise, base vector, wiring (second one at line 2), 8086 mode, mask.
    let line = CONSOLE_VECTOR - LEGACY_BASE;
    for (command, words) in
        [(0x20, [LEGACY_BASE, 1 << 2, 1, !(1 << line)]), (0xa0, [LEGACY_BASE + 8, 2, 1, 0xff])]
    {
        out(command, 0x11);
        words.iter().for_each(|&word| out(command + 1, word));
    }
}

/// Tells the controller that raised `vector` that it has been seen.
pub(crate) fn acknowledge(vector: u8) {
    match vector {
        CONSOLE_VECTOR => out(0x20, 0x20),
        TIMER_VECTOR => write(END_OF_INTERRUPT, 0),
        // Spurious ones of either kind want no answer, and nothing else is unmasked.
        _ => {}
    }
}

/// Nanoseconds since the clock was started; 0 before.
#[inline]
pub(crate) fn now() -> u64 {
    match CLOCK.get() {
        Some(clock) => clock.tsc.ns(tsc().wrapping_sub(clock.start)),
        None => 0,
    }
}

/// Interrupts at `deadline` (on the clock of `now`; a past one at once), or earlier if it is out of range.
pub(crate) fn set(deadline: u64) {
    if let Some(clock) = CLOCK.get() {
        let ticks = clock.timer.ticks(deadline.saturating_sub(now()));
        write(INITIAL_COUNT, u32::try_from(ticks).unwrap_or(u32::MAX));
    }
}

/// No interrupt until the next `set`. One that is already on its way may still come.
pub(crate) fn cancel() {
    write(INITIAL_COUNT, 0);
}
