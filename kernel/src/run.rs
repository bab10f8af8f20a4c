//! The loop that is the kernel: the logic says what to run, the machine runs it, the logic hears what came of it.

use crate::start;
use drover_core::kernel::Kernel;
use drover_core::sched::Next;
use drover_core::trap::Event;
use drover_machine::boot_info::BootInfo;
use drover_machine::event::Event as Trap;
use drover_machine::hardware::Hardware;

/// Never returns: the logic ends the machine through its `Machine`.
pub(crate) fn main(info: &'static BootInfo, hardware: Hardware) -> ! {
    let mut kernel = start::kernel(info, hardware);
    if let Err(what) = kernel.start() {
        panic!("boot: {what}");
    }
    loop {
        step(&mut kernel);
    }
}

fn step(kernel: &mut Kernel<Hardware>) {
    match kernel.next() {
        Next::Run { root_table, until } => {
            kernel.machine.set_timer(until);
            // SAFETY: the logic makes every root with the kernel's half, and fills the rest with frames of its own.
            let trap = unsafe { kernel.machine.run_user(&mut kernel.regs, u64::from(root_table) << 12) };
            kernel.event(match trap {
                Trap::Syscall => Event::Syscall,
                Trap::Interrupt(_) => Event::Interrupt,
                Trap::Exception { vector, error, address } => Event::Exception { vector, error, address },
            });
        }
        Next::Idle { until } => {
            if until == u64::MAX {
                kernel.machine.cancel_timer();
            } else {
                kernel.machine.set_timer(until);
            }
            kernel.machine.idle();
            kernel.event(Event::Interrupt);
        }
    }
}
