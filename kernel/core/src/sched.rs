//! The scheduler: flat proportional share over accounts, round robin inside an account.

use crate::kernel::Kernel;
use crate::machine::Machine;

impl<M: Machine> Kernel<M> {
    /// Virtual time that an account starts at when it becomes runnable.
    pub(crate) fn virtual_now(&self) -> u64 {
        self.vnow
    }
}
