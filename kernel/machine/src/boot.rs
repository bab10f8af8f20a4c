//! From the boot loader to the kernel's `main`.
//!
//! The loader (multiboot2) jumps to `boot_entry` in 32-bit mode without paging. The code there builds temporary tables
//! for the low 4 GiB (at 0, at the direct map and at the kernel's base), enters 64-bit mode and calls [`start`], which
//! brings up console and traps (so that every later fault is readable), reads what the loader left, builds the final
//! page tables and switches to them, and then calls the kernel's entry with the identity map gone.

use crate::boot_info::{BootError, BootInfo};
use crate::hardware::Hardware;
use crate::paging::{self, DIRECT_MAP, Image, KERNEL_BASE, Tables};
use crate::{console, cpu, fpu, panic, timer, trap};
use core::arch::global_asm;
use multiboot2::{BootInformation, BootInformationHeader};
use spin::{Mutex, Once};
use x86_64::PhysAddr;
use x86_64::registers::control::{Cr3, Cr3Flags};
use x86_64::structures::paging::{PageTable, PhysFrame};

/// Names the kernel's `fn(&'static BootInfo, Hardware) -> !`, called once when the machine is ready.
#[macro_export]
macro_rules! entry {
    ($main:path) => {
        // SAFETY: the machine layer declares this symbol with this type, and nothing else defines it.
        #[unsafe(no_mangle)]
        extern "Rust" fn drover_kernel_main(
            info: &'static $crate::boot_info::BootInfo,
            hardware: $crate::hardware::Hardware,
        ) -> ! {
            $main(info, hardware)
        }
    };
}

// SAFETY: `entry!` is the only definition, with exactly this type.
unsafe extern "Rust" {
    safe fn drover_kernel_main(info: &'static BootInfo, hardware: Hardware) -> !;
}

/// Size of the kernel's stack, in bytes.
const STACK: usize = 128 * 1024;
/// Size of the stack of each of the three traps that have their own.
const TRAP_STACK: usize = 16 * 1024;

global_asm!(
    // Header: magic, architecture (0: i386 protected mode), length, checksum; entry address; modules on pages; end.
    ".section .multiboot, \"a\"",
    ".balign 8",
    "header_start:",
    ".long 0xe85250d6, 0, header_end - header_start, -(0xe85250d6 + (header_end - header_start))",
    ".short 3, 0; .long 12, boot_entry - {base}, 0",
    ".short 6, 0; .long 8",
    ".short 0, 0; .long 8",
    "header_end:",
    // Stacks, each with an unmapped page below it.
    ".section .bss.stacks, \"aw\", @nobits",
    ".balign 4096",
    ".global guard_0, guard_1, guard_2, guard_3, nmi_stack, fault_stack, check_stack, kernel_stack",
    "guard_0: .skip 4096",
    ".skip {trap_stack}",
    "nmi_stack:",
    "guard_1: .skip 4096",
    ".skip {trap_stack}",
    "fault_stack:",
    "guard_2: .skip 4096",
    ".skip {trap_stack}",
    "check_stack:",
    "guard_3: .skip 4096",
    ".skip {stack}",
    "kernel_stack:",
    // Temporary page tables: root, third level of the low and of the high map, four second-level tables of 1 GiB each.
    ".section .bss.boot, \"aw\", @nobits",
    ".balign 4096",
    "boot_root: .skip 4096",
    "boot_low: .skip 4096",
    "boot_high: .skip 4096",
    "boot_pages: .skip 4 * 4096",
    // Temporary segments: null, 64-bit code.
    ".section .rodata.boot, \"a\"",
    ".balign 8",
    "boot_segments: .quad 0, 0x00209a0000000000",
    "boot_segments_pointer: .short 15; .long boot_segments - {base}",
    "boot_refusal: .asciz \"drover: this CPU has no 64-bit mode with no-execute pages, or the loader is not multiboot2\\r\\n\"",
    ".section .text.boot, \"ax\"",
    ".code32",
    ".global boot_entry",
    "boot_entry:",
    "cli",
    "cld",
    "movl $(kernel_stack - {base}), %esp",
    "movl %ebx, %esi",
    "cmpl $0x36d76289, %eax",
    "jne boot_refuse",
    // Long mode (bit 29) and no-execute (bit 20)?
    "movl $0x80000000, %eax",
    "cpuid",
    "cmpl $0x80000001, %eax",
    "jb boot_refuse",
    "movl $0x80000001, %eax",
    "cpuid",
    "andl $0x20100000, %edx",
    "cmpl $0x20100000, %edx",
    "jne boot_refuse",
    // 2048 pages of 2 MiB.
    "movl $(boot_pages - {base}), %edi",
    "movl $0x83, %eax",
    "movl $2048, %ecx",
    "2: movl %eax, (%edi)",
    "addl $8, %edi",
    "addl $0x200000, %eax",
    "decl %ecx",
    "jnz 2b",
    "movl $(boot_pages - {base} + 3), %eax",
    "movl $(boot_low - {base}), %edi",
    "movl $4, %ecx",
    "3: movl %eax, (%edi)",
    "addl $8, %edi",
    "addl $4096, %eax",
    "decl %ecx",
    "jnz 3b",
    "movl $(boot_pages - {base} + 3), boot_high - {base} + 510 * 8",
    "movl $(boot_low - {base} + 3), boot_root - {base}",
    "movl $(boot_low - {base} + 3), boot_root - {base} + 256 * 8",
    "movl $(boot_high - {base} + 3), boot_root - {base} + 511 * 8",
    "movl $(boot_root - {base}), %eax",
    "movl %eax, %cr3",
    // Physical address extension; long mode and no-execute; paging and write protection.
    "movl %cr4, %eax",
    "orl $0x20, %eax",
    "movl %eax, %cr4",
    "movl $0xc0000080, %ecx",
    "rdmsr",
    "orl $0x900, %eax",
    "wrmsr",
    "movl %cr0, %eax",
    "orl $0x80010001, %eax",
    "movl %eax, %cr0",
    "lgdt boot_segments_pointer - {base}",
    "ljmp $8, $(boot_long - {base})",
    // Says why on the serial port, and stops.
    "boot_refuse:",
    "movl $(boot_refusal - {base}), %esi",
    "4: lodsb",
    "testb %al, %al",
    "jz 5f",
    "movw $0x3f8, %dx",
    "outb %al, %dx",
    "jmp 4b",
    "5: hlt",
    "jmp 5b",
    ".code64",
    "boot_long:",
    "movabsq $6f, %rax",
    "jmpq *%rax",
    "6: movabsq $kernel_stack, %rsp",
    "xorl %eax, %eax",
    "movw %ax, %ds",
    "movw %ax, %es",
    "movw %ax, %fs",
    "movw %ax, %gs",
    "movw %ax, %ss",
    "movl %esi, %edi",
    // A zero frame pointer and return address end every backtrace.
    "xorl %ebp, %ebp",
    "pushq $0",
    "jmp {start}",
    base = const KERNEL_BASE,
    stack = const STACK,
    trap_stack = const TRAP_STACK,
    start = sym start,
    options(att_syntax)
);

// SAFETY: symbols of the linker script and of the assembly above; only their addresses are used.
unsafe extern "C" {
    static kernel_constants: u8;
    static kernel_code: u8;
    static kernel_data: u8;
    static kernel_end: u8;
    static guard_0: u8;
    static guard_1: u8;
    static guard_2: u8;
    static guard_3: u8;
}

/// Tables for the kernel half: enough for 16 GiB (and the hole below 4 GiB) in pages of 2 MiB, or for far more in pages
/// of 1 GiB.
const TABLES: usize = 32;
/// What those tables can map for sure: without pages of 1 GiB ...
const SMALL_PAGES_LIMIT: u64 = 20 << 30;
/// ... and with them (one third-level table).
const LARGE_PAGES_LIMIT: u64 = 512 << 30;

#[repr(align(4096))]
struct Pool([PageTable; TABLES]);

static POOL: Mutex<Pool> = Mutex::new(Pool([const { PageTable::new() }; TABLES]));
static INFO: Once<BootInfo> = Once::new();

fn physical(symbol: *const u8) -> u64 {
    symbol as u64 - KERNEL_BASE
}

/// Where the image lies in physical memory.
pub(crate) fn image() -> Image {
    Image {
        constants: physical(&raw const kernel_constants),
        code: physical(&raw const kernel_code),
        data: physical(&raw const kernel_data),
        end: physical(&raw const kernel_end),
    }
}

/// First Rust code: `loader` is the physical address of the boot loader's information.
extern "C" fn start(loader: u32) -> ! {
    console::init();
    trap::init();
    let features = cpu::enable_protections();
    fpu::init();

    let image = image();
    let limit = if features.gigabyte_pages { LARGE_PAGES_LIMIT } else { SMALL_PAGES_LIMIT };
    let at = DIRECT_MAP + u64::from(loader);
    // SAFETY: the loader passed the magic number and this address with it; the temporary tables map the low 4 GiB
    // here, and nobody writes to it while `loaded` lives.
    let loaded = unsafe { BootInformation::load(at as *const BootInformationHeader) };
    let info = match loaded.as_ref().map(|loaded| BootInfo::read(loaded, image.end, limit)) {
        Ok(Ok(info)) => info,
        Ok(Err(error)) => refuse(error),
        Err(error) => panic!("boot information: {error:?}"),
    };
    let info = INFO.call_once(|| info);
    if let Some(level) = info.argument("log") {
        console::set_log_level(level);
    }

    let (root, kernel_half) = {
        let mut pool = POOL.lock();
        let base = physical((&raw const *pool).cast());
        let mut tables = match Tables::new(&mut pool.0, base, features.gigabyte_pages) {
            Ok(tables) => tables,
            Err(error) => panic!("kernel page tables: {error:?}"),
        };
        let guards = [&raw const guard_0, &raw const guard_1, &raw const guard_2, &raw const guard_3]
            .map(|g| g as u64);
        let ram_end = u64::from(info.end_frame) << 12;
        if let Err(error) = paging::build_kernel_half(&mut tables, image, &guards, ram_end, timer::APIC) {
            panic!("kernel page tables: {error:?}");
        }
        (base, tables.kernel_half())
    };
    // SAFETY: the new tables map the image where it runs, with the rights its pieces need, and the stack; what they
    // leave out (the identity map, low memory) is not used any more.
    unsafe { Cr3::write(PhysFrame::containing_address(PhysAddr::new(root)), Cr3Flags::empty()) };
    cpu::enable_global_pages();

    if let Some((at, bytes)) = info.symbols {
        panic::set_symbols(at, bytes);
    }
    timer::init(&features);
    // SAFETY: this is the only `Hardware` ever made: `start` runs once, and the final tables are in place.
    let mut hardware = unsafe { Hardware::new(info, kernel_half, root) };
    for module in &info.modules {
        hardware.clear_tail(module);
    }
    log::info!("cpu: {features}");
    let image_frames = (image.end - image.constants) >> 12;
    log::info!(
        "memory: {} frames, of which {} boot reserve ({image_frames} of them the kernel image)",
        info.ram_frames,
        info.reserve_frames
    );
    drover_kernel_main(info, hardware)
}

fn refuse(error: BootError) -> ! {
    panic!("cannot boot: {error:?}")
}
