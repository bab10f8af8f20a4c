//! FPU registers: per activation, saved lazily, charged to the activation's payer when first used.

use drover_abi::returns::KERN_RESOURCE_SHORTAGE;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::account::Payer;
use crate::activation::Activation;
use crate::kernel::{Kernel, Stop};
use crate::machine::Machine;
use crate::object::{Head, Kind, Object, Ref};

/// Saved FPU registers.
#[repr(C)]
#[derive(Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable)]
pub struct Fpu {
    /// Kind.
    pub head: Head,
    pad: [u8; 508],
    /// `fxsave` image.
    pub area: [u8; 512],
}

impl Object for Fpu {
    const KIND: Kind = Kind::Fpu;
}

impl<M: Machine> Kernel<M> {
    /// The current activation used the FPU: give it its registers.
    ///
    /// # Errors
    /// `KERN_RESOURCE_SHORTAGE`: no frame for them.
    pub(crate) fn fpu_fault(&mut self) -> Result<(), Stop> {
        let act = self.here();
        if self.get(act).fpu == 0 {
            let account = self.get(act).payer;
            let fpu = self.new_object::<Fpu>(Payer { account, call: self.ceilings(act) })?;
            let area = &mut self.get_mut(fpu).area;
            area[0..2].copy_from_slice(&0x037fu16.to_le_bytes());
            area[24..28].copy_from_slice(&0x1f80u32.to_le_bytes());
            self.get_mut(act).fpu = fpu.raw();
        }
        if self.get(act).fpu_live != 0 {
            return Err(Stop::Error(KERN_RESOURCE_SHORTAGE));
        }
        let area = self.get(Ref::<Fpu>::from_raw(self.get(act).fpu)).area;
        self.machine.fpu_load(&area);
        self.get_mut(act).fpu_live = 1;
        Ok(())
    }

    /// The activation stops running: save its registers if they are in the machine.
    pub(crate) fn fpu_leave(&mut self, act: Ref<Activation>) {
        if self.get(act).fpu_live == 0 {
            return;
        }
        let mut area = [0; 512];
        self.machine.fpu_save(&mut area);
        let fpu = Ref::<Fpu>::from_raw(self.get(act).fpu);
        self.get_mut(fpu).area = area;
        self.get_mut(act).fpu_live = 0;
    }

    /// The activation ends.
    pub(crate) fn fpu_free(&mut self, act: Ref<Activation>) {
        let a = *self.get(act);
        if a.fpu_live != 0 {
            self.machine.fpu_disable();
        }
        if a.fpu != 0 {
            self.free_object(Ref::<Fpu>::from_raw(a.fpu));
            let a = self.get_mut(act);
            (a.fpu, a.fpu_live) = (0, 0);
        }
    }
}
