//! Into user mode and back, in every way.

use super::space::{EXECUTE, Frames, READ, Space, WRITE, set_word};
use super::{Bench, programs};
use drover_abi::regs::UserRegs;
use drover_machine::event::{
    BREAKPOINT, DEBUG, DIVIDE, Event, FAULT_EXECUTE, FAULT_PRESENT, FAULT_USER, FAULT_WRITE, FPU_UNAVAILABLE,
    GENERAL_PROTECTION, INVALID_OPCODE, PAGE_FAULT, TIMER_VECTOR,
};
use drover_machine::hardware::{FPU_INITIAL, Hardware};
use drover_machine::paging::{DIRECT_MAP, KERNEL_BASE};
use x86_64::registers::control::{Cr4, Cr4Flags};
use x86_64::registers::rflags::{self, RFlags};

/// Where the program is.
const CODE: u64 = 0x40_0000;
/// Constants: one page of words 0, 1, 2, ...
const CONSTANTS: u64 = 0x60_0000;
/// One page of stack.
const STACK: u64 = 0x70_0000;

/// A program in an address space of its own.
struct Program {
    space: Space,
    regs: UserRegs,
}

impl Program {
    fn new(hardware: &mut Hardware, frames: &mut Frames, code: &[u8]) -> Self {
        let mut space = Space::new(hardware, frames);
        let page = frames.take_zeroed(hardware);
        hardware.frame_mut(page).0[..code.len()].copy_from_slice(code);
        space.map(hardware, frames, CODE, page, EXECUTE);
        let constants = frames.take_zeroed(hardware);
        (0..512).for_each(|i| set_word(hardware, constants, i * 8, i as u64));
        space.map(hardware, frames, CONSTANTS, constants, READ);
        let stack = frames.take_zeroed(hardware);
        space.map(hardware, frames, STACK, stack, WRITE);
        let regs = UserRegs { rip: CODE, rsp: STACK + 0x1000, ..Default::default() };
        Self { space, regs }
    }

    fn run(&mut self, hardware: &mut Hardware) -> Event {
        // SAFETY: the space was made by `new`, with the kernel's half and frames that are the program's alone.
        let event = unsafe { hardware.run_user(&mut self.regs, self.space.root()) };
        // Whatever the program did to its flags, the kernel's are as they should be.
        let flags = rflags::read();
        let foreign = RFlags::INTERRUPT_FLAG
            | RFlags::DIRECTION_FLAG
            | RFlags::ALIGNMENT_CHECK
            | RFlags::NESTED_TASK
            | RFlags::TRAP_FLAG;
        assert!(!flags.intersects(foreign), "flags in the kernel: {flags:?}");
        event
    }
}

fn exception(vector: u8, error: u64, address: u64) -> Event {
    Event::Exception { vector, error, address }
}

pub(super) fn syscall(bench: &mut Bench) {
    let Bench { hardware, frames, .. } = bench;
    let mut program = Program::new(hardware, frames, programs::syscall());
    assert_eq!(program.run(hardware), Event::Syscall);
    let regs = program.regs;
    assert_eq!(regs.rax, -25i64 as u64);
    let pattern = |i: u64| i * 0x1111_1111_1111_1111;
    let found =
        [regs.rbx, regs.rdx, regs.rsi, regs.rdi, regs.rbp, regs.r8, regs.r9, regs.r10, regs.r12, regs.r13];
    assert_eq!(found, core::array::from_fn(|i| pattern(i as u64 + 1)));
    assert_eq!([regs.r14, regs.r15, regs.rsp], [pattern(11), pattern(12), 0x70_0010]);
    assert_eq!([regs.rcx, regs.r11], [regs.rip, regs.rflags]);
    // Only rax changes; the program checks, and sums up what it has.
    program.regs.rax = 0x77;
    assert_eq!(program.run(hardware), Event::Syscall);
    assert_eq!(program.regs.rax, 1, "the program found a register changed");
    let sum = [2, 4, 6, 7, 8, 3, 5, 9, 10, 11, 12]
        .iter()
        .fold(0x70_0010, |sum: u64, &i| sum.wrapping_add(pattern(i)));
    assert_eq!(program.regs.rdx, sum);
    // The other way back (iretq) must do the same: start again, with rcx spoilt so that sysret is impossible.
    let mut program = Program::new(hardware, frames, programs::syscall());
    assert_eq!(program.run(hardware), Event::Syscall);
    program.regs.rax = 0x77;
    program.regs.r11 = 5;
    assert_eq!(program.run(hardware), Event::Syscall);
    assert_eq!((program.regs.rax, program.regs.rdx), (1, sum));
}

pub(super) fn hostile_flags(bench: &mut Bench) {
    let Bench { hardware, frames, .. } = bench;
    let mut program = Program::new(hardware, frames, programs::hostile_flags());
    // What the kernel is given is made harmless: no I/O privilege, interrupts on.
    program.regs.rflags = 0x3000;
    assert_eq!(program.run(hardware), Event::Syscall);
    assert_eq!(program.regs.rflags & 0x4_7600, 0x4_4600, "{:#x}", program.regs.rflags);
    assert_eq!(program.run(hardware), exception(INVALID_OPCODE, 0, 0));
    // The user's own flags came back, but for the nested-task flag.
    assert_eq!(program.regs.rflags & 0x4_7600, 0x4_0600, "{:#x}", program.regs.rflags);
}

pub(super) fn exceptions(bench: &mut Bench) {
    let Bench { hardware, frames, .. } = bench;
    for (code, expected, offset) in [
        (programs::invalid(), exception(INVALID_OPCODE, 0, 0), 0),
        (programs::privileged(), exception(GENERAL_PROTECTION, 0, 0), 0),
        (programs::port(), exception(GENERAL_PROTECTION, 0, 0), 0),
        (programs::breakpoint(), exception(BREAKPOINT, 0, 0), 1),
        (programs::divide(), exception(DIVIDE, 0, 0), 2),
    ] {
        let mut program = Program::new(hardware, frames, code);
        assert_eq!(program.run(hardware), expected);
        assert_eq!(program.regs.rip, CODE + offset, "{expected:?}");
    }
    let hidden = Cr4::read().contains(Cr4Flags::USER_MODE_INSTRUCTION_PREVENTION);
    let mut program = Program::new(hardware, frames, programs::descriptor_table());
    let expected = if hidden { exception(GENERAL_PROTECTION, 0, 0) } else { Event::Syscall };
    assert_eq!(program.run(hardware), expected);
    // Here the error code names the gate: by 8 times its number, or by 16 times on QEMU before version 8.
    let mut program = Program::new(hardware, frames, programs::closed_gate());
    let event = program.run(hardware);
    assert!(
        matches!(event, Event::Exception { vector: GENERAL_PROTECTION, error: 0x202 | 0x402, .. }),
        "{event:?}"
    );
    assert_eq!(program.regs.rip, CODE);
}

pub(super) fn page_faults(bench: &mut Bench) {
    let Bench { hardware, frames, info } = bench;
    let direct = DIRECT_MAP + (u64::from(info.first_frame) << 12);
    let kernel = KERNEL_BASE + 0x10_0000;
    for (code, address, error) in [
        (programs::read(), 0, FAULT_USER),
        (programs::read(), 0x1234_5678_9abc, FAULT_USER),
        (programs::write(), 0x7fff_ffff_fff0, FAULT_USER | FAULT_WRITE),
        (programs::write(), CONSTANTS, FAULT_USER | FAULT_WRITE | FAULT_PRESENT),
        (programs::write(), CODE, FAULT_USER | FAULT_WRITE | FAULT_PRESENT),
        (programs::read(), kernel, FAULT_USER | FAULT_PRESENT),
        (programs::write(), direct, FAULT_USER | FAULT_WRITE | FAULT_PRESENT),
        (programs::jump(), STACK, FAULT_USER | FAULT_EXECUTE | FAULT_PRESENT),
        (programs::jump(), CONSTANTS, FAULT_USER | FAULT_EXECUTE | FAULT_PRESENT),
        (programs::jump(), 0x123_0000, FAULT_USER | FAULT_EXECUTE),
        (programs::jump(), kernel, FAULT_USER | FAULT_EXECUTE | FAULT_PRESENT),
    ] {
        let mut program = Program::new(hardware, frames, code);
        program.regs.rdi = address;
        assert_eq!(program.run(hardware), exception(PAGE_FAULT, error, address));
        let jumped = error & FAULT_EXECUTE != 0;
        assert_eq!(program.regs.rip, if jumped { address } else { CODE });
    }
    // A fault that is mended: the same instruction goes on.
    let mut program = Program::new(hardware, frames, programs::write());
    (program.regs.rdi, program.regs.rax) = (0x80_0008, 99);
    assert_eq!(program.run(hardware), exception(PAGE_FAULT, FAULT_USER | FAULT_WRITE, 0x80_0008));
    let page = frames.take_zeroed(hardware);
    program.space.map(hardware, frames, 0x80_0000, page, WRITE);
    hardware.flush(0x80_0000);
    assert_eq!(program.run(hardware), Event::Syscall);
    assert_eq!(super::space::word(hardware, page, 8), 99);
    // A right that is taken away: gone with the flush.
    program.space.map(hardware, frames, 0x80_0000, page, READ);
    hardware.flush_all();
    program.regs.rip = CODE;
    let expected = exception(PAGE_FAULT, FAULT_USER | FAULT_WRITE | FAULT_PRESENT, 0x80_0008);
    assert_eq!(program.run(hardware), expected);
}

/// After an exception every register is exactly what it was, and is restored exactly.
pub(super) fn exact(bench: &mut Bench) {
    let Bench { hardware, frames, .. } = bench;
    let mut program = Program::new(hardware, frames, programs::invalid());
    let pattern = |i: u64| i.wrapping_mul(0x0123_4567_89ab_cdef);
    let before = UserRegs {
        rax: pattern(1),
        rbx: pattern(2),
        rcx: pattern(3),
        rdx: pattern(4),
        rsi: pattern(5),
        rdi: pattern(6),
        rbp: pattern(7),
        rsp: pattern(8),
        r8: pattern(9),
        r9: pattern(10),
        r10: pattern(11),
        r11: pattern(12),
        r12: pattern(13),
        r13: pattern(14),
        r14: pattern(15),
        r15: pattern(16),
        rip: CODE,
        rflags: 0x202 | 0x8d5,
        fs_base: 0x1000,
        gs_base: 0x2000,
    };
    program.regs = before;
    assert_eq!(program.run(hardware), exception(INVALID_OPCODE, 0, 0));
    // The CPU sets the resume flag in what it saves of a fault.
    program.regs.rflags &= !0x1_0000;
    assert_eq!(program.regs, before);
}

pub(super) fn preemption(bench: &mut Bench) {
    let Bench { hardware, frames, .. } = bench;
    let mut programs =
        [programs::count(), programs::count()].map(|code| Program::new(hardware, frames, code));
    let mut last = [0; 2];
    for round in 0..100 {
        let (program, last) = (&mut programs[round % 2], &mut last[round % 2]);
        hardware.set_timer(hardware.now() + 200_000);
        assert_eq!(program.run(hardware), Event::Interrupt(TIMER_VECTOR));
        let regs = program.regs;
        let done = regs.r11 == 2 * regs.rcx || regs.r11 + 2 == 2 * regs.rcx;
        assert!(done && regs.rcx >= *last, "{} {} after {last}", regs.rcx, regs.r11);
        assert!((CODE..CODE + 16).contains(&regs.rip));
        *last = regs.rcx;
    }
    log::info!("two loops counted to {last:?} in 20 ms");
    assert!(last[0] > 1000 && last[1] > 1000);
}

pub(super) fn refused(bench: &mut Bench) {
    let Bench { hardware, frames, .. } = bench;
    let refused = exception(GENERAL_PROTECTION, 0, 0);
    let mut program = Program::new(hardware, frames, programs::invalid());
    let good = program.regs;
    for address in [1 << 47, 0x8000_0000_0000_0000, u64::MAX, KERNEL_BASE + 0x10_0000] {
        for bad in [
            UserRegs { rip: address, ..good },
            UserRegs { rip: address, rcx: address, r11: 0x202, ..good },
            UserRegs { fs_base: address, ..good },
            UserRegs { gs_base: address, ..good },
        ] {
            program.regs = bad;
            assert_eq!(program.run(hardware), refused, "{address:#x}");
            assert_eq!(program.regs, bad);
        }
        // A stack pointer is only a number until it is used.
        program.regs = UserRegs { rsp: address, ..good };
        assert_eq!(program.run(hardware), exception(INVALID_OPCODE, 0, 0));
    }
    // The call that ends exactly where user space ends.
    let page = frames.take_zeroed(hardware);
    hardware.frame_mut(page).0[4094..].copy_from_slice(&[0x0f, 0x05]);
    program.space.map(hardware, frames, 0x7fff_ffff_f000, page, EXECUTE);
    program.regs = UserRegs { rip: 0x7fff_ffff_fffe, ..good };
    assert_eq!(program.run(hardware), Event::Syscall);
    assert_eq!(program.regs.rip, 1 << 47);
    assert_eq!(program.run(hardware), refused);
}

pub(super) fn segment_bases(bench: &mut Bench) {
    let Bench { hardware, frames, .. } = bench;
    let bases = |program: &mut Program| {
        (program.regs.fs_base, program.regs.gs_base) = (CONSTANTS + 8 * 7, CONSTANTS + 8 * 9);
    };
    let mut reader = Program::new(hardware, frames, programs::segment_words());
    bases(&mut reader);
    assert_eq!(reader.run(hardware), Event::Syscall);
    assert_eq!((reader.regs.rax, reader.regs.rbx), (7, 9));
    // One program spoils its bases; another one with the same bases is not touched by that.
    let mut spoiler = Program::new(hardware, frames, programs::null_selectors());
    bases(&mut spoiler);
    assert_eq!(spoiler.run(hardware), Event::Syscall);
    reader.regs.rip = CODE;
    assert_eq!(reader.run(hardware), Event::Syscall);
    assert_eq!((reader.regs.rax, reader.regs.rbx), (7, 9));
    // A change of bases in one program.
    reader.regs.rip = CODE;
    reader.regs.fs_base = CONSTANTS + 8 * 100;
    assert_eq!(reader.run(hardware), Event::Syscall);
    assert_eq!((reader.regs.rax, reader.regs.rbx), (100, 9));
}

pub(super) fn fpu(bench: &mut Bench) {
    let Bench { hardware, frames, .. } = bench;
    let mut first = Program::new(hardware, frames, programs::sse());
    let mut second = Program::new(hardware, frames, programs::sse());
    let unavailable = exception(FPU_UNAVAILABLE, 0, 0);
    assert_eq!(first.run(hardware), unavailable);
    hardware.fpu_load(&FPU_INITIAL);
    for expected in 1..4 {
        assert_eq!(first.run(hardware), Event::Syscall);
        assert_eq!(first.regs.rbx, expected);
    }
    let mut saved = [0; 512];
    hardware.fpu_save(&mut saved);
    // Another program starts afresh.
    assert_eq!(second.run(hardware), unavailable);
    hardware.fpu_load(&FPU_INITIAL);
    assert_eq!(second.run(hardware), Event::Syscall);
    assert_eq!(second.regs.rbx, 1);
    // The first one goes on where it was, with reserved bits of its control word ignored.
    hardware.fpu_disable();
    assert_eq!(first.run(hardware), unavailable);
    saved[24..28].copy_from_slice(&[0xff; 4]);
    hardware.fpu_load(&saved);
    assert_eq!(first.run(hardware), Event::Syscall);
    assert_eq!(first.regs.rbx, 4);
    hardware.fpu_disable();
    hardware.fpu_enable();
    assert_eq!(first.run(hardware), Event::Syscall);
    assert_eq!(first.regs.rbx, 5);
    hardware.fpu_disable();
}

pub(super) fn single_step(bench: &mut Bench) {
    let Bench { hardware, frames, .. } = bench;
    let mut program = Program::new(hardware, frames, programs::steps());
    program.regs.rflags = 0x100;
    for step in 1..=3 {
        // Both ways back would step once.
        (program.regs.rcx, program.regs.r11) = (program.regs.rip, 0x302);
        assert_eq!(program.run(hardware), exception(DEBUG, 0, 0));
        assert_eq!(program.regs.rip, CODE + step);
    }
    // A step over a call does not stop in the kernel.
    let mut program = Program::new(hardware, frames, programs::step_into_call());
    assert_eq!(program.run(hardware), Event::Syscall);
    assert_eq!(program.run(hardware), exception(DEBUG, 0, 0));
    let after_nop = program.regs.rip;
    assert_eq!(program.run(hardware), exception(INVALID_OPCODE, 0, 0));
    assert_eq!(program.regs.rip, after_nop);
}

/// What a trap costs that does nothing: there, back, and the loop around it, in ns of the clock. With
/// `-icount shift=0` that is the number of instructions; otherwise it says little.
pub(super) fn cost(bench: &mut Bench) {
    let Bench { hardware, frames, .. } = bench;
    let mut program = Program::new(hardware, frames, programs::call_again());
    assert_eq!(program.run(hardware), Event::Syscall);
    let start = hardware.now();
    for _ in 0..1000 {
        // SAFETY: as in `run`.
        let event = unsafe { hardware.run_user(&mut program.regs, program.space.root()) };
        assert!(event == Event::Syscall);
    }
    let cost = (hardware.now() - start) / 1000;
    log::info!("an empty trap: {cost} ns");
}
