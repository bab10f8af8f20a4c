//! What the CPU can do, and switching on the protections that it has.

use core::fmt;
use raw_cpuid::CpuId;
use x86_64::registers::control::{Cr0, Cr0Flags, Cr4, Cr4Flags};

/// Features that matter here.
#[derive(Clone, Copy)]
pub(crate) struct Features {
    /// Pages of 1 GiB.
    pub(crate) gigabyte_pages: bool,
    /// The kernel cannot execute user pages.
    pub(crate) smep: bool,
    /// The kernel cannot touch user pages by accident.
    pub(crate) smap: bool,
    /// User code cannot read the descriptor tables' addresses.
    pub(crate) umip: bool,
    /// The TSC runs at one rate whatever the CPU does.
    pub(crate) steady_tsc: bool,
}

impl fmt::Display for Features {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = [
            (self.gigabyte_pages, "1g-pages"),
            (self.smep, "smep"),
            (self.smap, "smap"),
            (self.umip, "umip"),
            (self.steady_tsc, "steady-tsc"),
        ];
        f.write_str("w^x nx wp global")?;
        names.iter().filter(|(has, _)| *has).try_for_each(|(_, name)| write!(f, " {name}"))
    }
}

/// Switches on write protection in the kernel, and SMEP, SMAP and UMIP where they exist.
pub(crate) fn enable_protections() -> Features {
    let cpuid = CpuId::new();
    let extended = cpuid.get_extended_feature_info();
    let processor = cpuid.get_extended_processor_and_feature_identifiers();
    let power = cpuid.get_advanced_power_mgmt_info();
    let features = Features {
        gigabyte_pages: processor.as_ref().is_some_and(|p| p.has_1gib_pages()),
        smep: extended.as_ref().is_some_and(|e| e.has_smep()),
        smap: extended.as_ref().is_some_and(|e| e.has_smap()),
        umip: extended.as_ref().is_some_and(|e| e.has_umip()),
        steady_tsc: power.as_ref().is_some_and(|p| p.has_invariant_tsc()),
    };
    let mut cr4 = Cr4::read();
    cr4.set(Cr4Flags::SUPERVISOR_MODE_EXECUTION_PROTECTION, features.smep);
    cr4.set(Cr4Flags::SUPERVISOR_MODE_ACCESS_PREVENTION, features.smap);
    cr4.set(Cr4Flags::USER_MODE_INSTRUCTION_PREVENTION, features.umip);
    // User code that sets its own segment bases would have to be saved; it asks the kernel instead.
    cr4.remove(Cr4Flags::FSGSBASE);
    // SAFETY: only bits that CPUID vouches for are set; no user page is mapped, so no access loses its right.
    unsafe { Cr4::write(cr4) };
    // SAFETY: from here on read-only pages are read-only for the kernel too, and it writes to none.
    unsafe { Cr0::update(|cr0| cr0.insert(Cr0Flags::WRITE_PROTECT)) };
    features
}

/// Lets global pages stay in the TLB over address-space switches. Called on the final tables, so that nothing of the
/// temporary ones stays.
pub(crate) fn enable_global_pages() {
    // SAFETY: the only global mappings are the final ones of the kernel half, equal in every address space.
    unsafe { Cr4::update(|cr4| cr4.insert(Cr4Flags::PAGE_GLOBAL)) };
}
