//! What no library offers: traps with any arguments, bad memory accesses, the FPU's registers.

/// A trap with any number and arguments.
#[cfg(target_os = "none")]
pub(crate) fn trap(number: i64, arguments: [u64; 6]) -> u64 {
    let result;
    let [a, b, c, d, e, f] = arguments;
    // SAFETY: the tests pass addresses of memory that nobody uses, or of none; the seventh argument is whatever lies on the stack.
    unsafe {
        core::arch::asm!(
            "syscall",
            inlateout("rax") number => result,
            in("rdi") a, in("rsi") b, in("rdx") c, in("r10") d, in("r8") e, in("r9") f,
            lateout("rcx") _, lateout("r11") _,
        );
    }
    result
}

/// Reads from an address where nothing is mapped.
#[cfg(target_os = "none")]
pub(crate) fn touch_nothing() {
    // SAFETY: page 0 is never mapped: the access faults, which is what is wanted.
    unsafe { core::arch::asm!("mov al, [8]", out("al") _, options(nostack, readonly)) };
}

/// Puts `value` into xmm7, lets others run `turns` times, and says whether it was always still there.
#[cfg(target_os = "none")]
pub(crate) fn keeps_xmm(value: u64, turns: u32) -> bool {
    for turn in 0..turns {
        let (written, read): (u64, u64) = (value ^ u64::from(turn), 0);
        let mut read = read;
        // SAFETY: the compiler does not use the FPU's registers on this target; swtch (trap -60) destroys rax, rcx and r11.
        unsafe {
            core::arch::asm!(
                "movq xmm7, {written}",
                "mov rax, -60",
                "syscall",
                "movq {read}, xmm7",
                written = in(reg) written,
                read = inout(reg) read,
                out("rax") _, lateout("rcx") _, lateout("r11") _,
                options(nostack),
            );
        }
        if read != written {
            return false;
        }
    }
    true
}

/// No kernel on the host.
#[cfg(not(target_os = "none"))]
pub(crate) fn trap(_: i64, _: [u64; 6]) -> u64 {
    0
}

/// No kernel on the host.
#[cfg(not(target_os = "none"))]
pub(crate) fn touch_nothing() {}

/// No kernel on the host.
#[cfg(not(target_os = "none"))]
pub(crate) fn keeps_xmm(_: u64, _: u32) -> bool {
    false
}
