//! Kernel objects: plain data in slab frames, named by typed references.
//!
//! A slab frame belongs to one account and holds objects of one size class. An object's first byte says what it is.
//! Invariants: a set bit in the frame's bitmap = a live object; an empty slab frame is given back at once.
//! Deliberately absent: any pool shared between accounts, any allocation that cannot fail.

use core::marker::PhantomData;

use drover_abi::account::{FRAMES, OBJECTS};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::account::Payer;
use crate::frame::{FrameKind, NONE};
use crate::kernel::{Kernel, Stop};
use crate::machine::Machine;

/// What an object is (its first byte).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// [`crate::account::Account`].
    Account = 1,
    /// [`crate::task::Task`].
    Task = 2,
    /// [`crate::thread::Thread`].
    Thread = 3,
    /// [`crate::activation::Activation`].
    Activation = 4,
    /// [`crate::port::Port`].
    Port = 5,
    /// [`crate::message::Message`].
    Message = 6,
    /// [`crate::memory::Memory`].
    Memory = 7,
    /// [`crate::map::Entry`].
    Entry = 8,
    /// FPU registers of an activation.
    Fpu = 9,
    /// The unprivileged host (only the port exists).
    Host = 10,
    /// The privileged host (only the port exists).
    HostPriv = 11,
    /// The console device (only the port exists).
    Console = 12,
    /// An account as a server that it calls may use it: to make a session, to look at it, no more.
    Patron = 13,
}

/// First four bytes of every object.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
pub struct Head {
    /// A [`Kind`].
    pub kind: u8,
    /// For the object.
    pub flags: u8,
    /// For the object.
    pub state: u16,
}

/// A kind of object. Its size is one of the slab classes (64 to 1024, powers of two).
pub trait Object: FromBytes + IntoBytes + KnownLayout + Immutable + Copy + 'static {
    /// The kind.
    const KIND: Kind;
}

/// Smallest slab class: 64 bytes.
const MIN_SHIFT: u32 = 6;
/// Number of slab classes: 64, 128, 256, 512, 1024.
pub const CLASSES: usize = 5;

/// Name of an object inside the kernel: its physical address / 64; 0 = none.
#[repr(transparent)]
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable)]
pub struct Ref<T>(u32, PhantomData<T>);

impl<T> Clone for Ref<T> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<T> Copy for Ref<T> {}
impl<T> PartialEq for Ref<T> {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}
impl<T> Eq for Ref<T> {}
impl<T> Default for Ref<T> {
    fn default() -> Self {
        Self::NONE
    }
}
impl<T> core::fmt::Debug for Ref<T> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "@{:x}", self.0)
    }
}

impl<T> Ref<T> {
    /// No object.
    pub const NONE: Self = Self(0, PhantomData);
    /// From the raw number.
    #[must_use]
    pub const fn from_raw(raw: u32) -> Self {
        Self(raw, PhantomData)
    }
    /// The raw number.
    #[must_use]
    pub const fn raw(self) -> u32 {
        self.0
    }
    /// Names an object.
    #[must_use]
    pub const fn is_some(self) -> bool {
        self.0 != 0
    }
    /// Names none.
    #[must_use]
    pub const fn is_none(self) -> bool {
        self.0 == 0
    }
    /// The frame that the object lives in.
    #[must_use]
    pub const fn frame(self) -> u32 {
        self.0 >> 6
    }
    /// Offset in the frame.
    #[must_use]
    pub const fn offset(self) -> usize {
        ((self.0 & 63) << 6) as usize
    }
}

/// Slab class of a size.
const fn class_of(size: usize) -> usize {
    let mut class = 0;
    while (64 << class) < size {
        class += 1;
    }
    assert!((64 << class) == size && class < CLASSES, "an object's size must be a slab class");
    class
}

impl<M: Machine> Kernel<M> {
    /// An object.
    #[inline]
    pub fn get<T: Object>(&self, r: Ref<T>) -> &T {
        debug_assert!(r.is_some(), "no {:?}", T::KIND);
        let at = r.offset();
        let page = &self.machine.page(r.frame()).0;
        debug_assert_eq!(page[at], T::KIND as u8, "{r:?} is not a {:?}", T::KIND);
        T::ref_from_bytes(&page[at..at + size_of::<T>()]).expect("objects are aligned to their class")
    }

    /// An object, to change.
    #[inline]
    pub fn get_mut<T: Object>(&mut self, r: Ref<T>) -> &mut T {
        debug_assert!(r.is_some(), "no {:?}", T::KIND);
        let at = r.offset();
        let page = &mut self.machine.page_mut(r.frame()).0;
        debug_assert_eq!(page[at], T::KIND as u8, "{r:?} is not a {:?}", T::KIND);
        T::mut_from_bytes(&mut page[at..at + size_of::<T>()]).expect("objects are aligned to their class")
    }

    /// A new object, all zeros but its kind, charged to `payer`: one object, and a frame when no slab has room.
    ///
    /// # Errors
    /// `KERN_RESOURCE_SHORTAGE` (nothing changed).
    pub fn new_object<T: Object>(&mut self, payer: Payer) -> Result<Ref<T>, Stop> {
        let class = const { class_of(size_of::<T>()) };
        let account = payer.account;
        self.charge(payer, OBJECTS, 1)?;
        let mut frame = self.get(account).slabs[class];
        if frame == NONE {
            frame = match self.new_frame(payer, FrameKind::Slab) {
                Ok(frame) => frame,
                Err(stop) => {
                    self.uncharge(account, OBJECTS, 1);
                    return Err(stop);
                }
            };
            let info = self.info_mut(frame);
            info.class = class as u8;
            info.bitmap = 0;
            self.partial_push(account, class, frame);
        }
        let slots = 64u32 >> class;
        let info = self.info_mut(frame);
        let slot = info.bitmap.trailing_ones();
        info.bitmap |= 1 << slot;
        if info.bitmap.count_ones() == slots {
            self.partial_remove(account, class, frame);
        }
        let r = Ref::from_raw((frame << 6) | (slot << class));
        let at = r.offset();
        let bytes = &mut self.machine.page_mut(frame).0[at..at + size_of::<T>()];
        bytes.fill(0);
        bytes[0] = T::KIND as u8;
        Ok(r)
    }

    /// Frees an object; its slab frame too if that was its last.
    pub fn free_object<T: Object>(&mut self, r: Ref<T>) {
        let class = const { class_of(size_of::<T>()) };
        let slots = 64u32 >> class;
        self.get_mut(r); // checks the kind in debug builds
        let frame = r.frame();
        self.machine.page_mut(frame).0[r.offset()] = 0;
        let slot = (r.raw() & 63) >> class;
        let info = self.info_mut(frame);
        let was_full = info.bitmap.count_ones() == slots;
        debug_assert!(info.bitmap & (1 << slot) != 0, "freed twice");
        info.bitmap &= !(1 << slot);
        let empty = info.bitmap == 0;
        let account = info.owner;
        self.uncharge(account, OBJECTS, 1);
        if empty {
            if !was_full {
                self.partial_remove(account, class, frame);
            }
            self.free_frame(frame);
            self.refund_slab(account, r.raw());
        } else if was_full {
            self.partial_push(account, class, frame);
        }
    }

    /// A slab frame is gone with the object `freed`: it goes back to the ceiling of the current call, if that pays and has used as much.
    fn refund_slab(&mut self, account: Ref<crate::account::Account>, freed: u32) {
        if self.current.is_none() {
            return;
        }
        let act = self.here();
        if act.raw() == freed || self.ceilings(act).is_none() || self.get(act).lower.is_none() {
            return;
        }
        let a = self.get_mut(act);
        let used = a.left.frames.saturating_add(u64::from(a.window_frames)) < a.offered_frames;
        if a.payer == account && used {
            a.left.frames += 1;
        }
    }

    /// The account that pays for an object.
    pub fn payer_of<T: Object>(&self, r: Ref<T>) -> Ref<crate::account::Account> {
        self.info(r.frame()).owner
    }

    /// Whether a new object of this type would need a frame of `account`.
    pub fn object_needs_frame<T: Object>(&self, account: Ref<crate::account::Account>) -> bool {
        self.get(account).slabs[const { class_of(size_of::<T>()) }] == NONE
    }

    fn partial_push(&mut self, account: Ref<crate::account::Account>, class: usize, frame: u32) {
        let head = self.get(account).slabs[class];
        let info = self.info_mut(frame);
        info.partial_next = head;
        info.partial_prev = NONE;
        if head != NONE {
            self.info_mut(head).partial_prev = frame;
        }
        self.get_mut(account).slabs[class] = frame;
    }

    fn partial_remove(&mut self, account: Ref<crate::account::Account>, class: usize, frame: u32) {
        let info = *self.info(frame);
        if info.partial_prev == NONE {
            self.get_mut(account).slabs[class] = info.partial_next;
        } else {
            self.info_mut(info.partial_prev).partial_next = info.partial_next;
        }
        if info.partial_next != NONE {
            self.info_mut(info.partial_next).partial_prev = info.partial_prev;
        }
    }

    /// Visits the live objects of a slab frame: (kind, raw reference).
    pub fn slab_object(&self, frame: u32, slot: u32) -> Option<(u8, u32)> {
        let info = self.info(frame);
        if slot >= 64 >> info.class || info.bitmap & (1 << slot) == 0 {
            return None;
        }
        let raw = (frame << MIN_SHIFT) | (slot << info.class);
        let at = ((raw & 63) << 6) as usize;
        Some((self.machine.page(frame).0[at], raw))
    }
}

const _: () = assert!(FRAMES == 0 && OBJECTS == 1);
const _: () = {
    use crate::{account, activation, map, memory, message, port, task, thread};
    assert!(size_of::<account::Account>() == 512);
    assert!(size_of::<task::Task>() == 1024);
    assert!(size_of::<thread::Thread>() == 512);
    assert!(size_of::<activation::Activation>() == 512);
    assert!(size_of::<port::Port>() == 256);
    assert!(size_of::<message::Message>() == 256);
    assert!(size_of::<memory::Memory>() == 128);
    assert!(size_of::<map::Entry>() == 128);
    // Right slots are named by their address / 32.
    assert!(core::mem::offset_of!(task::Task, exception) % 32 == 0);
    assert!(core::mem::offset_of!(task::Task, bootstrap) % 32 == 0);
    assert!(core::mem::offset_of!(thread::Thread, exception) % 32 == 0);
    assert!(core::mem::offset_of!(message::Message, remote) % 32 == 0);
    assert!(core::mem::offset_of!(message::Message, local) % 32 == 0);
};
