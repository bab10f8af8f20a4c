//! Who may do what to which memory.

use super::space::{EXECUTE, READ, Space};
use super::{Bench, programs};
use drover_machine::paging::{DIRECT_MAP, KERNEL_BASE};
use drover_machine::probe::{Access, Fault, probe};
use x86_64::registers::control::{Cr0, Cr0Flags, Cr4, Cr4Flags};

fn try_access(address: u64, access: Access) -> Result<(), Fault> {
    // SAFETY: reads and writes put back what was there; what is executed is a lone `ret`, here or in a user's page.
    unsafe { probe(address, access) }
}

/// Code that returns at once.
extern "C" fn harmless() {}

pub(super) fn read_only(_bench: &mut Bench) {
    assert!(Cr0::read().contains(Cr0Flags::WRITE_PROTECT));
    let code = harmless as *const () as u64;
    let constant = programs::nothing().as_ptr() as u64;
    assert_eq!(try_access(code, Access::Read), Ok(()));
    assert_eq!(try_access(code, Access::Execute), Ok(()));
    assert_eq!(try_access(code, Access::Write), Err(Fault(code)));
    assert_eq!(try_access(constant, Access::Read), Ok(()));
    assert_eq!(try_access(constant, Access::Write), Err(Fault(constant)));
}

pub(super) fn no_execute(bench: &mut Bench) {
    let constant = programs::nothing().as_ptr() as u64;
    assert_eq!(try_access(constant, Access::Execute), Err(Fault(constant)));
    let on_stack = [0xc3u8; 8];
    let stack = on_stack.as_ptr() as u64;
    assert_eq!(try_access(stack, Access::Write), Ok(()));
    assert_eq!(try_access(stack, Access::Execute), Err(Fault(stack)));
    let frame = bench.frames.take();
    bench.hardware.frame_mut(frame).0[0] = 0xc3;
    let direct = DIRECT_MAP + (u64::from(frame) << 12);
    assert_eq!(try_access(direct, Access::Write), Ok(()));
    assert_eq!(try_access(direct, Access::Execute), Err(Fault(direct)));
}

pub(super) fn unmapped(bench: &mut Bench) {
    let first = u64::from(bench.info.first_frame) << 12;
    let end = u64::from(bench.info.end_frame) << 12;
    for address in [
        // The identity map; the direct map of the image and below; around the image; beyond memory.
        0,
        0x10_0000,
        DIRECT_MAP,
        DIRECT_MAP + 0x10_0000,
        DIRECT_MAP + first - 1,
        KERNEL_BASE,
        KERNEL_BASE + 0xf_ffff,
        KERNEL_BASE + first,
        DIRECT_MAP + end,
    ] {
        assert_eq!(try_access(address, Access::Read), Err(Fault(address)), "{address:#x} is mapped");
    }
    assert_eq!(try_access(DIRECT_MAP + first, Access::Read), Ok(()));
    // The page below the stack: from here down until the first page that is absent, within the stack's size.
    let here = (&raw const first) as u64 & !0xfff;
    let guard = (1..64).map(|page| here - page * 4096).find(|&page| try_access(page, Access::Read).is_err());
    assert!(guard.is_some_and(|page| here - page <= 128 * 1024), "no guard page below the stack");
}

pub(super) fn user_pages(bench: &mut Bench) {
    let Bench { hardware, frames, info } = bench;
    let cr4 = Cr4::read();
    let smep = cr4.contains(Cr4Flags::SUPERVISOR_MODE_EXECUTION_PROTECTION);
    let smap = cr4.contains(Cr4Flags::SUPERVISOR_MODE_ACCESS_PREVENTION);
    let umip = cr4.contains(Cr4Flags::USER_MODE_INSTRUCTION_PREVENTION);
    for name in info.argument("expect").unwrap_or("").split(',').filter(|name| !name.is_empty()) {
        let on = match name {
            "smep" => smep,
            "smap" => smap,
            "umip" => umip,
            _ => panic!("unknown protection {name}"),
        };
        assert!(on, "{name} is off");
    }
    let mut space = Space::new(hardware, frames);
    let page = frames.take_zeroed(hardware);
    let code = programs::nothing();
    hardware.frame_mut(page).0[..code.len()].copy_from_slice(code);
    space.map(hardware, frames, 0x40_0000, page, EXECUTE);
    space.map(hardware, frames, 0x50_0000, page, READ);
    // Running it once (its stack is missing) makes its address space the current one.
    let mut regs = drover_abi::regs::UserRegs { rip: 0x40_0000, rsp: 0x1000, ..Default::default() };
    // SAFETY: a root made for this, with pages of our own.
    let event = unsafe { hardware.run_user(&mut regs, space.root()) };
    assert!(
        matches!(event, drover_machine::event::Event::Exception { vector: 14, address: 0x1000, .. }),
        "{event:?}"
    );
    let expect = |refused: bool| if refused { Err(Fault(0x40_0000)) } else { Ok(()) };
    assert_eq!(try_access(0x40_0000, Access::Read), expect(smap));
    assert_eq!(try_access(0x40_0000, Access::Execute), expect(smep));
    assert_eq!(try_access(0x50_0000, Access::Write), Err(Fault(0x50_0000)));
    log::info!("smep {smep}, smap {smap}, umip {umip}");
    hardware.leave_address_space();
    assert_eq!(try_access(0x40_0000, Access::Read), Err(Fault(0x40_0000)));
}
