//! Rights that requests carry in and out of name spaces.

use drover_abi::message::msgt;
use drover_abi::port::{MACH_PORT_NULL, UREFS_MAX};
use drover_abi::returns::{
    KERN_INVALID_CAPABILITY, KERN_INVALID_RIGHT, KERN_INVALID_VALUE, KERN_RIGHT_EXISTS, KERN_UREFS_OVERFLOW,
};

use super::{check_new_name, fail};
use crate::account::Payer;
use crate::kernel::{Kernel, Stop};
use crate::machine::Machine;
use crate::object::Ref;
use crate::right::{Right, SEND, SEND_ONCE};
use crate::task::Task;

impl<M: Machine> Kernel<M> {
    /// The right that a request carries.
    pub(super) fn carried(
        &mut self,
        caller: Ref<Task>,
        (name, disposition): (u32, u32),
    ) -> Result<Right, Stop> {
        if !msgt::is_port(disposition) {
            return fail(KERN_INVALID_VALUE);
        }
        self.right_get(caller, name, disposition).ok_or(Stop::Error(KERN_INVALID_CAPABILITY))
    }

    /// `mach_port_insert_right`.
    ///
    /// # Errors
    /// `KERN_INVALID_VALUE`, `KERN_INVALID_CAPABILITY`, `KERN_NAME_EXISTS`, `KERN_RIGHT_EXISTS`, `KERN_UREFS_OVERFLOW`, `KERN_NO_SPACE`, `KERN_RESOURCE_SHORTAGE`.
    pub fn mach_port_insert_right(
        &mut self,
        caller: Ref<Task>,
        task: Ref<Task>,
        name: u32,
        poly: (u32, u32),
        _: Payer,
    ) -> Result<(), Stop> {
        let right = self.carried(caller, poly)?;
        let result = self.insert_right(task, name, right);
        if result.is_err() {
            self.right_drop(right);
            self.reap();
        }
        result
    }

    fn insert_right(&mut self, task: Ref<Task>, name: u32, right: Right) -> Result<(), Stop> {
        check_new_name(name)?;
        if right.port.is_none() {
            return fail(KERN_INVALID_CAPABILITY);
        }
        let known = if right.kind == SEND_ONCE { 0 } else { self.name_of(task, right.port) };
        if known == 0 {
            let s = self.name_choose(task, name)?;
            self.name_fill(task, name, s, right);
            return Ok(());
        }
        if known != name {
            return fail(KERN_RIGHT_EXISTS);
        }
        let (s, slot) = self.named(task, name)?;
        if right.kind == SEND && u32::from(slot.urefs) == UREFS_MAX {
            return fail(KERN_UREFS_OVERFLOW);
        }
        self.name_add(task, name, s, right);
        Ok(())
    }

    /// `mach_port_extract_right`: (name in the caller's space, disposition).
    ///
    /// # Errors
    /// `KERN_INVALID_VALUE`, `KERN_INVALID_NAME`, `KERN_INVALID_RIGHT`, `KERN_NO_SPACE`, `KERN_RESOURCE_SHORTAGE`.
    pub fn mach_port_extract_right(
        &mut self,
        caller: Ref<Task>,
        task: Ref<Task>,
        name: u32,
        disposition: u32,
        _: Payer,
    ) -> Result<(u32, u32), Stop> {
        if !msgt::is_port(disposition) {
            return fail(KERN_INVALID_VALUE);
        }
        self.named(task, name)?;
        self.names_reserve(caller, 1)?;
        let right = self.right_get(task, name, disposition).ok_or(Stop::Error(KERN_INVALID_RIGHT))?;
        Ok((self.right_give_reserved(caller, right), crate::right::received_disposition(disposition)))
    }

    /// Gives a right to a task whose name space has a name reserved.
    pub(crate) fn right_give_reserved(&mut self, task: Ref<Task>, right: Right) -> u32 {
        match self.right_give(task, right) {
            Ok(name) => name,
            Err(_) => {
                debug_assert!(false, "a name was reserved");
                self.right_drop(right);
                MACH_PORT_NULL
            }
        }
    }
}
