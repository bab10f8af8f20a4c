//! Messages in the kernel: queued, on their way, or prepared notifications.
//!
//! A message keeps the body's bytes as sent (out-of-line pointers replaced by memory objects) and its rights apart, as slots, in the order of the body. Small ones fit
//! into the object; larger ones have a directory frame, which holds up to 3840 bytes itself and else names the data frames. Everything is charged to
//! whoever sent the message (or asked for the notification) until it is received.
//!
//! An account's messages are ended by [`Kernel::message_kill`], before its memory objects.

use core::mem::offset_of;

use drover_abi::message::HEADER_SIZE;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::account::Payer;
use crate::frame::{FrameKind, NONE};
use crate::kernel::{Kernel, Stop};
use crate::machine::{Frame, Machine};
use crate::object::{Head, Kind, Object, Ref};
use crate::port::Port;
use crate::right::{RightSlot, SlotRef};

/// Largest message, header included.
pub const MESSAGE_MAX: u32 = 128 * 1024;
/// Most rights in one message's body.
pub const RIGHTS_MAX: u32 = 1024;
/// Most out-of-line items in one message.
pub const OOL_MAX: u32 = 64;

/// Body bytes that fit into the object.
const SMALL_BODY: u32 = 80;
/// Rights that fit into the object.
const SMALL_RIGHTS: u32 = 2;
/// Where the directory frame's own data begin.
const DIRECTORY_DATA: u32 = 256;
/// Bytes of data that fit into the directory frame.
const DIRECTORY_ROOM: u32 = 4096 - DIRECTORY_DATA;
/// Most body frames.
const BODY_FRAMES: u32 = MESSAGE_MAX / 4096;
/// Most frames of slots.
const SLOT_FRAMES: u32 = RIGHTS_MAX / 128;

/// `head.flags`: on its way through the kernel.
pub const IN_HAND: u8 = 0;
/// `head.flags`: in the queue of the port that `remote` refers to.
pub const QUEUED: u8 = 1;
/// `head.flags`: prepared dead-name notification; `of` is the slot of the name.
pub const PREPARED_DEAD_NAME: u8 = 2;
/// `head.flags`: prepared no-senders notification; `of` is the port.
pub const PREPARED_NO_SENDERS: u8 = 3;
/// `head.flags`: prepared port-destroyed notification; `of` is the port.
pub const PREPARED_DESTROYED: u8 = 4;
/// `head.flags`: prepared message-accepted notification; `of` is the message queued by force.
pub const PREPARED_ACCEPTED: u8 = 5;

/// Arguments of the `mach_msg` trap (`drover_call` has a donation's address in place of `notify`).
#[derive(Clone, Copy, Debug, Default)]
pub struct MachMsg {
    /// Address of the message buffer.
    pub msg: u64,
    /// Options.
    pub option: u32,
    /// Bytes to send.
    pub send_size: u32,
    /// Size of the buffer for receiving.
    pub rcv_size: u32,
    /// Port or set to receive from.
    pub rcv_name: u32,
    /// Milliseconds.
    pub timeout: u32,
    /// Port for notifications.
    pub notify: u32,
}

/// A message.
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable)]
pub struct Message {
    /// `flags`: where it is.
    pub head: Head,
    /// Next in the queue.
    pub next: Ref<Message>,
    /// Previous in the queue.
    pub prev: Ref<Message>,
    /// `msgh_bits` as the receiver will see the sender's half: complex bit, dispositions as received (remote = destination).
    pub bits: u32,
    /// Bytes, header included.
    pub size: u32,
    /// Message id.
    pub id: i32,
    /// Rights in the body.
    pub rights: u32,
    /// Directory frame, 0 = small.
    pub(crate) directory: Frame,
    /// The destination right.
    pub remote: RightSlot,
    /// The reply right.
    pub local: RightSlot,
    /// Prepared notification to fire when this message, queued by force, is received.
    pub(crate) accepted: Ref<Message>,
    /// Prepared notifications: what they are about.
    pub(crate) of: u32,
    /// Out-of-line data that the message holds: the first so many such items of the body have a memory object in place of their address.
    pub(crate) ool: u32,
    pad: u32,
    pub(crate) small: [u8; SMALL_BODY as usize],
    pub(crate) small_slots: [RightSlot; SMALL_RIGHTS as usize],
}

impl Object for Message {
    const KIND: Kind = Kind::Message;
}

const _: () = assert!(offset_of!(Message, small_slots) % 32 == 0);
const _: () = assert!(offset_of!(Message, small) % 8 == 0);

impl<M: Machine> Kernel<M> {
    /// A message with room for `size` bytes (header included, not more than [`MESSAGE_MAX`]) and no rights yet.
    ///
    /// # Errors
    /// `KERN_RESOURCE_SHORTAGE` (nothing changed).
    pub(crate) fn message_new(&mut self, size: u32, payer: Payer) -> Result<Ref<Message>, Stop> {
        debug_assert!((HEADER_SIZE as u32..=MESSAGE_MAX).contains(&size));
        let message = self.new_object::<Message>(payer)?;
        self.get_mut(message).size = size;
        self.message_body_frames(message, size - HEADER_SIZE as u32, payer)
            .inspect_err(|_| self.message_free(message))?;
        Ok(message)
    }

    fn message_body_frames(&mut self, message: Ref<Message>, body: u32, payer: Payer) -> Result<(), Stop> {
        if body <= SMALL_BODY {
            return Ok(());
        }
        let directory = self.new_frame(payer, FrameKind::MessageData)?;
        self.get_mut(message).directory = directory;
        if body <= DIRECTORY_ROOM {
            return Ok(());
        }
        for i in 0..body.div_ceil(4096) {
            let frame = self.new_frame(payer, FrameKind::MessageData)?;
            self.set_message_frame(directory, i, frame);
        }
        Ok(())
    }

    /// Makes room for the rights of the body (not more than [`RIGHTS_MAX`]), once.
    ///
    /// # Errors
    /// `KERN_RESOURCE_SHORTAGE`: the message is to be freed then.
    pub(crate) fn message_rights(
        &mut self,
        message: Ref<Message>,
        rights: u32,
        payer: Payer,
    ) -> Result<(), Stop> {
        debug_assert!(rights <= RIGHTS_MAX && self.get(message).rights == 0);
        let body = self.get(message).size - HEADER_SIZE as u32;
        if rights > SMALL_RIGHTS {
            if self.get(message).directory == NONE {
                let directory = self.new_frame(payer, FrameKind::MessageData)?;
                self.get_mut(message).directory = directory;
            }
            let directory = self.get(message).directory;
            if !rights_in_directory(body, rights) {
                for i in 0..rights.div_ceil(128) {
                    let frame = self.new_frame(payer, FrameKind::MessageData)?;
                    self.set_message_frame(directory, BODY_FRAMES + i, frame);
                }
            }
        }
        self.get_mut(message).rights = rights;
        Ok(())
    }

    fn message_frame(&self, directory: Frame, index: u32) -> Frame {
        let at = index as usize * 4;
        let page = &self.machine.page(directory).0;
        u32::from_le_bytes([page[at], page[at + 1], page[at + 2], page[at + 3]])
    }

    fn set_message_frame(&mut self, directory: Frame, index: u32, frame: Frame) {
        let at = index as usize * 4;
        self.machine.page_mut(directory).0[at..at + 4].copy_from_slice(&frame.to_le_bytes());
    }

    /// Frees a message and its frames; its rights and memory must be gone.
    pub(crate) fn message_free(&mut self, message: Ref<Message>) {
        let directory = self.get(message).directory;
        if directory != NONE {
            for i in 0..BODY_FRAMES + SLOT_FRAMES {
                let frame = self.message_frame(directory, i);
                if frame != NONE {
                    self.free_frame(frame);
                }
            }
            self.free_frame(directory);
        }
        self.free_object(message);
    }

    /// Where the body's byte `offset` (from the start of the message, >= 32) is: frame, offset in it, bytes that follow there.
    pub(crate) fn message_at(&self, message: Ref<Message>, offset: u32) -> (Frame, usize, usize) {
        let m = self.get(message);
        let (at, body) = (offset - HEADER_SIZE as u32, m.size - HEADER_SIZE as u32);
        let (frame, within, room) = if body <= SMALL_BODY {
            (message.frame(), message.offset() + offset_of!(Message, small) + at as usize, body - at)
        } else if body <= DIRECTORY_ROOM {
            (m.directory, (DIRECTORY_DATA + at) as usize, body - at)
        } else {
            let within = at % 4096;
            (self.message_frame(m.directory, at / 4096), within as usize, (4096 - within).min(body - at))
        };
        (frame, within, room as usize)
    }

    /// Slot of the body's right number `index`.
    pub(crate) fn message_right(&self, message: Ref<Message>, index: u32) -> SlotRef {
        let m = self.get(message);
        debug_assert!(index < m.rights);
        let body = m.size - HEADER_SIZE as u32;
        let within = index as usize * 32;
        if m.rights <= SMALL_RIGHTS {
            return SlotRef::in_object(message, offset_of!(Message, small_slots) + within);
        }
        if rights_in_directory(body, m.rights) {
            return SlotRef::in_frame(
                m.directory,
                (DIRECTORY_DATA + body_in_directory(body)) as usize + within,
            );
        }
        SlotRef::in_frame(self.message_frame(m.directory, BODY_FRAMES + index / 128), within % 4096)
    }

    /// Slot of the destination right.
    pub(crate) fn message_remote(message: Ref<Message>) -> SlotRef {
        SlotRef::in_object(message, offset_of!(Message, remote))
    }

    /// Slot of the reply right.
    pub(crate) fn message_local(message: Ref<Message>) -> SlotRef {
        SlotRef::in_object(message, offset_of!(Message, local))
    }

    /// Copies body bytes out of a message (the range lies in the body).
    pub(crate) fn message_read(&self, message: Ref<Message>, offset: u32, bytes: &mut [u8]) {
        let mut done = 0;
        while done < bytes.len() {
            let (frame, at, room) = self.message_at(message, offset + done as u32);
            let n = room.min(bytes.len() - done);
            bytes[done..done + n].copy_from_slice(&self.machine.page(frame).0[at..at + n]);
            done += n;
        }
    }

    /// Copies body bytes into a message (the range lies in the body).
    pub(crate) fn message_write(&mut self, message: Ref<Message>, offset: u32, bytes: &[u8]) {
        let mut done = 0;
        while done < bytes.len() {
            let (frame, at, room) = self.message_at(message, offset + done as u32);
            let n = room.min(bytes.len() - done);
            self.machine.page_mut(frame).0[at..at + n].copy_from_slice(&bytes[done..done + n]);
            done += n;
        }
    }

    /// Destroys a message with everything in it. A receive right in it ends its port (in steps, see [`Self::reap`]); a send-once right fires the notification 71.
    pub(crate) fn message_destroy(&mut self, message: Ref<Message>) {
        let accepted = self.get(message).accepted;
        if accepted.is_some() {
            self.get_mut(message).accepted = Ref::NONE;
            self.message_destroy_prepared(accepted);
        }
        self.body_destroy(message);
        self.drop_right(Self::message_remote(message));
        self.drop_right(Self::message_local(message));
        self.message_free(message);
    }

    /// Destroys a prepared notification that will not fire: its send-once right goes unused.
    pub(crate) fn message_destroy_prepared(&mut self, message: Ref<Message>) {
        self.drop_right(Self::message_remote(message));
        self.message_free(message);
    }

    /// Ends a message wherever it is, because its payer's account is being destroyed.
    pub fn message_kill(&mut self, message: Ref<Message>) {
        let m = *self.get(message);
        let port = Ref::<Port>::from_raw(m.of);
        match m.head.flags {
            QUEUED => self.queue_remove(m.remote.port, message),
            PREPARED_DEAD_NAME => self.slot_mut(SlotRef(m.of)).request = 0,
            PREPARED_NO_SENDERS => self.get_mut(port).no_senders = Ref::NONE,
            PREPARED_DESTROYED => self.get_mut(port).destroyed = Ref::NONE,
            PREPARED_ACCEPTED => self.get_mut(Ref::<Message>::from_raw(m.of)).accepted = Ref::NONE,
            _ => {}
        }
        self.message_destroy(message);
    }
}

/// Bytes of the directory frame that the body takes.
const fn body_in_directory(body: u32) -> u32 {
    if body <= SMALL_BODY || body > DIRECTORY_ROOM { 0 } else { body.next_multiple_of(32) }
}

/// Whether the slots fit into the directory frame.
const fn rights_in_directory(body: u32, rights: u32) -> bool {
    body_in_directory(body) + rights * 32 <= DIRECTORY_ROOM
}
