//! What a request brought, released however its call ends.
//!
//! Rights and memory of a request belong to the server once it has received it. The [server](crate::server) releases them when a handler answers
//! with an error; a handler that succeeds has to; and on a forced exit nobody would. A demultiplexer that makes an [`Incoming`] before it dispatches, and
//! [finishes](Incoming::finish) it after, need not think of any of that: handlers only say what they [keep](Incoming::keep).

use alloc::rc::Rc;
use core::cell::Cell;

use drover_abi::message::{BITS_COMPLEX, Header};
use mig_runtime::{ERROR_REPLY_SIZE, Outcome, PortName, Value};
use zerocopy::FromBytes;

use crate::cleanup::{OnExit, on_exit};
use crate::message::{Carried, carried};
use crate::{ool, port};

/// Most rights that a handler can keep.
const KEPT: usize = 8;

/// The request's rights and memory. Most requests bring none, and then this costs nothing.
pub struct Incoming(Option<Guarded>);

struct Guarded {
    kept: Rc<[Cell<PortName>; KEPT]>,
    guard: OnExit,
}

impl Incoming {
    /// Takes over what `message` brought. The message must stay as it is until this is finished; so the server's own buffer, which the
    /// demultiplexer gets, is the one to pass.
    #[must_use]
    pub fn new(message: &[u8]) -> Self {
        let complex =
            Header::read_from_prefix(message).is_ok_and(|(header, _)| header.bits & BITS_COMPLEX != 0);
        Self(complex.then(|| {
            let kept = Rc::new([const { Cell::new(PortName::NULL) }; KEPT]);
            let (shared, start, len) = (kept.clone(), message.as_ptr(), message.len());
            let guard = on_exit(move || {
                // SAFETY: the buffer that a request was received in outlives its call, and nobody writes it meanwhile.
                release_all(unsafe { core::slice::from_raw_parts(start, len) }, &shared);
            });
            Guarded { kept, guard }
        }))
    }

    /// The handler keeps one user reference of the right `name`, which the request brought. False if it keeps too many already: then the
    /// right is not its own.
    pub fn keep(&self, name: PortName) -> bool {
        if !name.is_valid() {
            return true;
        }
        let free = self.0.iter().flat_map(|guarded| guarded.kept.iter()).find(|slot| !slot.get().is_valid());
        free.map(|slot| slot.set(name)).is_some()
    }

    /// The handlers are done. After success all but what was kept is released; after an error the server does that.
    pub fn finish(self, outcome: Outcome, reply: &[u8]) {
        let Some(Guarded { guard, .. }) = self.0 else { return };
        let failed = match outcome {
            Outcome::NotMine => true,
            Outcome::NoReply => false,
            Outcome::Reply(_) => reply.get(ERROR_REPLY_SIZE - 8..).map(i32::load) != Some(0),
        };
        if failed { guard.cancel() } else { drop(guard) }
    }
}

fn release_all(message: &[u8], kept: &[Cell<PortName>; KEPT]) {
    let release = |name: PortName, kind: u32| match kept.iter().find(|slot| slot.get() == name) {
        // One reference was kept, not all of them.
        Some(slot) if name.is_valid() => slot.set(PortName::NULL),
        _ => port::release(name, kind),
    };
    for item in carried(message) {
        match item {
            Carried::Right(name, kind) => release(name, kind),
            Carried::Rights(address, count, kind) => {
                ool::names(address, count).for_each(|name| release(name, kind))
            }
            Carried::Memory(address, bytes) => ool::discard(address, bytes),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::local::Local;

    #[test]
    fn simple_messages_cost_no_cleanup() {
        let before = Local::current().cleanups();
        let incoming = Incoming::new(&[0; 32]);
        assert_eq!(Local::current().cleanups(), before);
        incoming.finish(Outcome::NoReply, &[]);
    }

    #[test]
    fn keeping_is_bounded() {
        let mut message = [0u8; 48];
        assert!(!Incoming::new(&message).keep(PortName(1)), "it brought nothing");
        message[3] = 0x80;
        let incoming = Incoming::new(&message);
        assert!(incoming.keep(PortName::NULL));
        for name in 1..=KEPT as u32 {
            assert!(incoming.keep(PortName(name)));
        }
        assert!(!incoming.keep(PortName(99)));
    }

    #[test]
    fn complex_messages_are_guarded_until_finished() {
        let mut message = [0u8; 48];
        message[3] = 0x80;
        let before = Local::current().cleanups();
        let incoming = Incoming::new(&message);
        assert_ne!(Local::current().cleanups(), before);
        let mut reply = [0u8; ERROR_REPLY_SIZE];
        reply[40] = 5;
        incoming.finish(Outcome::Reply(ERROR_REPLY_SIZE), &reply);
        assert_eq!(Local::current().cleanups(), before);
    }
}
