//! Test of the machine layer on the bare machine, built with the feature `machine-selftest` in place of the kernel's
//! logic. Prints `test NAME ... ok` per test, then `##DONE`, and ends QEMU with status 33; a failure is a panic. The host
//! runs it in `kernel/tests/selftest.rs`.
//!
//! Words on the command line:
//! * `expect=smep,smap,...`: these protections must be on (without the word, tests adapt to the CPU).
//! * `console`: wait for one typed byte, too.
//! * `die=fault|execute|overflow|panic|nmi`: instead of testing, die in this way, to see what the kernel says.

mod programs;
mod protection;
mod space;
mod user;

use drover_machine::boot_info::BootInfo;
use drover_machine::event::{CONSOLE_VECTOR, TIMER_VECTOR};
use drover_machine::hardware::Hardware;
use drover_machine::paging::KERNEL_BASE;
use drover_machine::power;
use space::Frames;

/// What a test works with.
struct Bench {
    hardware: Hardware,
    frames: Frames,
    info: &'static BootInfo,
}

type Test = (&'static str, fn(&mut Bench));

const TESTS: &[Test] = &[
    ("boot_information", boot_information),
    ("frames", frames),
    ("clock", clock),
    ("timer_wakes_idle", idle),
    ("code_and_constants_are_read_only", protection::read_only),
    ("data_is_not_executable", protection::no_execute),
    ("old_mappings_and_guards_are_gone", protection::unmapped),
    ("smep_and_smap", protection::user_pages),
    ("syscall_keeps_registers", user::syscall),
    ("syscall_with_hostile_flags", user::hostile_flags),
    ("exceptions", user::exceptions),
    ("page_faults", user::page_faults),
    ("exact_registers_after_an_exception", user::exact),
    ("timer_preempts", user::preemption),
    ("registers_that_the_cpu_would_refuse", user::refused),
    ("segment_bases", user::segment_bases),
    ("fpu", user::fpu),
    ("single_step", user::single_step),
    ("cost_of_a_trap", user::cost),
];

/// Runs the tests.
pub(crate) fn main(info: &'static BootInfo, hardware: Hardware) -> ! {
    log::info!("machine self test: {}", info.command_line);
    if let Some(way) = info.argument("die") {
        die(way);
    }
    let mut bench = Bench { hardware, frames: Frames::new(info), info };
    for (name, test) in TESTS {
        test(&mut bench);
        passed(name);
    }
    if info.command_line.split(' ').any(|word| word == "console") {
        console(&mut bench);
        passed("console_input");
    }
    logic(info, bench.hardware);
    log::info!("##DONE");
    power::exit_qemu(power::SUCCESS)
}

fn passed(name: &str) {
    log::info!("test {name} ... ok");
}

/// The kernel's logic takes the machine over: every frame is accounted for. (The frames that the tests have used are
/// free again: nothing refers to them any more.)
fn logic(info: &'static BootInfo, mut hardware: Hardware) {
    hardware.leave_address_space();
    let begin = hardware.now();
    let kernel = crate::start::kernel(info, hardware);
    let took = (kernel.machine.now() - begin) / 1000;
    let frames =
        u64::from(kernel.total_frames) + u64::from(kernel.table_frames) + u64::from(kernel.kernel_frames);
    assert_eq!(frames, info.ram_frames);
    assert_eq!(kernel.module_count, info.modules.len());
    log::info!(
        "the logic has {} frames, frame table {}, {} free, after {took} us",
        kernel.total_frames,
        kernel.table_frames,
        kernel.free_frames
    );
    passed("logic_takes_over");
}

fn boot_information(bench: &mut Bench) {
    let info = bench.info;
    let free: u64 = info.free.iter().map(|range| u64::from(range.count)).sum();
    let modules: u64 = info.modules.iter().map(|module| u64::from(module.frames.count)).sum();
    assert_eq!(free + modules + info.reserve_frames, info.ram_frames);
    assert!(free > 1000);
    for range in &info.free {
        assert!(range.start >= info.first_frame && range.end() <= info.end_frame);
        for module in &info.modules {
            assert!(module.frames.end() <= range.start || range.end() <= module.frames.start);
        }
    }
    for module in &info.modules {
        log::info!("module '{}': {} bytes", module.string, module.bytes);
        let last = bench.hardware.frame(module.frames.end() - 1);
        let tail = module.bytes as usize % 4096;
        assert!(tail == 0 || last.0[tail..].iter().all(|&byte| byte == 0));
    }
}

/// Both ends of memory can be used, and zero and copy do what they say.
fn frames(bench: &mut Bench) {
    let machine = &mut bench.hardware;
    let first = bench.frames.take();
    let last = bench.info.free.iter().last().map_or(0, |range| range.end() - 1);
    for (i, byte) in machine.frame_mut(first).0.iter_mut().enumerate() {
        *byte = (i % 251) as u8;
    }
    machine.zero(last);
    assert!(machine.frame(last).0.iter().all(|&byte| byte == 0));
    for (from, to, bytes) in
        [(0, 0, 4096), (1, 0, 4095), (5, 17, 1001), (4000, 0, 96), (4095, 4095, 1), (9, 9, 0)]
    {
        machine.zero(last);
        machine.copy(first, from, last, to, bytes);
        let target = machine.frame(last);
        for (i, &byte) in target.0.iter().enumerate() {
            let copied = i >= to && i < to + bytes;
            let expected = if copied { ((i - to + from) % 251) as u8 } else { 0 };
            assert_eq!(byte, expected, "byte {i} of {bytes} from {from} to {to}");
        }
    }
    machine.zero(first);
}

fn clock(bench: &mut Bench) {
    let mut last = bench.hardware.now();
    for _ in 0..10_000 {
        let now = bench.hardware.now();
        assert!(now >= last, "the clock went back");
        last = now;
    }
}

fn idle(bench: &mut Bench) {
    let machine = &mut bench.hardware;
    for wait in [0, 100_000, 5_000_000] {
        let deadline = machine.now() + wait;
        machine.set_timer(deadline);
        assert_eq!(machine.idle(), TIMER_VECTOR);
        let late = machine.now() as i64 - deadline as i64;
        assert!((0..50_000_000).contains(&late), "{late} ns late for {wait} ns");
    }
    // A cancelled timer is silent; the next one wakes.
    machine.set_timer(machine.now() + 10_000_000);
    machine.cancel_timer();
    let deadline = machine.now() + 30_000_000;
    machine.set_timer(deadline);
    assert_eq!(machine.idle(), TIMER_VECTOR);
    assert!(machine.now() >= deadline, "woken by the cancelled timer");
}

fn console(bench: &mut Bench) {
    log::info!("type something");
    assert_eq!(bench.hardware.idle(), CONSOLE_VECTOR);
    let mut count = 0;
    while let Some(byte) = bench.hardware.console_read() {
        log::info!("typed: {:?}", char::from(byte));
        count += 1;
    }
    assert!(count > 0);
}

/// Dies as told.
fn die(way: &str) {
    match way {
        // SAFETY: none needed: the write faults, and that is the point.
        "fault" => unsafe { ((KERNEL_BASE + 0x10_0000) as *mut u8).write_volatile(1) },
        "execute" => {
            let code = [0xc3u8; 16];
            // SAFETY: the jump faults: stacks are not executable.
            let function: extern "C" fn() = unsafe { core::mem::transmute(code.as_ptr()) };
            function();
        }
        "overflow" => {
            let depth = overflow(&mut [1; 64]);
            log::error!("the stack has no end: {depth}");
        }
        // SAFETY: raises the vector of NMI as an instruction may in the kernel; its handler does not return.
        "nmi" => unsafe { core::arch::asm!("int 2") },
        _ => panic!("told to die: {way}"),
    }
}

/// Recursion without end.
#[inline(never)]
#[allow(unconditional_recursion)]
fn overflow(above: &mut [u64; 64]) -> u64 {
    let mut here = *above;
    here[0] += 1;
    overflow(core::hint::black_box(&mut here)) + here[1]
}
