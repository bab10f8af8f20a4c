//! Requests made from the layouts, not by the generated clients, for every routine of every interface: the generated
//! decoder takes what the layout says and nothing else, as a server and as the kernel.

#[macro_use]
#[path = "common/interfaces.rs"]
#[rustfmt::skip]
mod interfaces;

use std::path::Path;

use drover_abi::message::{BITS_COMPLEX, Header};
use drover_abi::returns::{MIG_BAD_ARGUMENTS, MIG_BAD_ID};
use mig_rs::model::{Complex, Item, Message, Placement, Routine, Shape, Subsystem};
use mig_rs::{Options, compile, word};
use mig_runtime::{Mode, Outcome};
use zerocopy::IntoBytes;

const POLYMORPHIC: u32 = 0xff;
const INLINE: u64 = 1 << 29;

type Dispatch = fn(Mode, &[u8], &mut [u8]) -> Outcome;

/// A server that implements nothing: whatever is decoded is answered with `MIG_BAD_ID`.
struct Nothing;

macro_rules! table {
    ($($name:ident $server:ident),*) => {
        /// The demultiplexer of every interface.
        fn interfaces() -> Vec<(&'static str, Dispatch)> {
            vec![$((stringify!($name), |mode, request, reply| {
                hurd_stubs::$name::dispatch_as(&mut Nothing, mode, request, reply)
            })),*]
        }
        $(impl hurd_stubs::$name::$server for Nothing {})*
    };
}

with_interfaces!(table);

fn compiled(name: &str) -> Subsystem {
    let defs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../defs");
    let options = Options { include: vec![defs.clone()], ..Options::default() };
    compile(defs.join(format!("{name}.defs")), &options).unwrap_or_else(|f| panic!("{f}")).subsystem
}

/// How variable items are filled.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fill {
    Empty,
    One,
    Most,
    OutOfLine,
}

/// The descriptor, as received or as sent, and the bytes of data behind it.
fn item(item: &Item, fill: Fill, raw: bool) -> (u64, usize) {
    let wire = &item.wire;
    let name = match (raw, wire.send, wire.receive) {
        (true, POLYMORPHIC, POLYMORPHIC) => 20,
        (true, POLYMORPHIC, 18) => 21,
        (true, POLYMORPHIC, 17) => 19,
        (true, send, _) if send != POLYMORPHIC => send,
        (_, _, POLYMORPHIC) => 17,
        (_, _, receive) => receive,
    };
    let mut descriptor = word(wire, name);
    let is_right = wire.carries_rights();
    if wire.placement == Placement::OutOfLine {
        if wire.is_variable() {
            descriptor |= 3u64.wrapping_mul(unit(item)) << 32;
        }
        return (descriptor, 8);
    }
    if !wire.is_variable() {
        return (descriptor, wire.data_length() as usize);
    }
    let most = u64::from(wire.number);
    let number = match fill {
        Fill::Empty => 0,
        Fill::One => unit(item),
        Fill::Most | Fill::OutOfLine => most,
    };
    descriptor |= number << 32;
    if wire.placement == Placement::Chosen {
        if fill == Fill::OutOfLine {
            if is_right {
                descriptor = (descriptor & !0xff_ff00) | (32 << 8);
            }
            return (descriptor, 8);
        }
        descriptor = (descriptor | INLINE) & !(1 << 31);
    }
    (descriptor, (number * u64::from(wire.bits) / 8) as usize)
}

/// Units that make one element.
fn unit(item: &Item) -> u64 {
    match &item.wire.shape {
        Shape::Variable(elem, _) if !elem.is_right() => (elem.size() * 8 / u64::from(item.wire.bits)).max(1),
        _ => 1,
    }
}

/// A request, and where its descriptors are.
fn request(routine: &Routine, message: &Message, fill: Fill, raw: bool) -> (Vec<u8>, Vec<usize>) {
    let (mut bytes, mut places, mut complex) = (vec![0; 32], Vec::new(), false);
    for part in &message.items {
        let (descriptor, length) = item(part, fill, raw);
        places.push(bytes.len());
        complex |= part.wire.carries_rights() || descriptor & INLINE == 0;
        bytes.extend(descriptor.to_le_bytes());
        bytes.resize(bytes.len() + length.next_multiple_of(8), 0);
    }
    let header = Header {
        bits: if complex { BITS_COMPLEX } else { 0 } | if raw { 19 | (21 << 8) } else { 18 },
        size: bytes.len() as u32,
        remote: 0x11,
        local: 0x22,
        seqno: 0,
        id: routine.id,
    };
    header.write_to_prefix(&mut bytes).unwrap();
    (bytes, places)
}

/// What the server says: `None` for no reply.
fn verdict(dispatch: Dispatch, raw: bool, request: &[u8]) -> Option<i32> {
    let mut reply = [0x77; 16384];
    match dispatch(if raw { Mode::Raw } else { Mode::Received }, request, &mut reply) {
        Outcome::Reply(48) => Some(i32::from_le_bytes(reply[40..44].try_into().unwrap())),
        Outcome::NoReply => None,
        other => panic!("{other:?}"),
    }
}

#[test]
fn decoders_take_what_the_layout_says_and_nothing_else() {
    let (mut served, mut refused) = (0, 0);
    for (name, dispatch) in interfaces() {
        for routine in &compiled(name).routines {
            let good = routine.reply.as_ref().map(|_| MIG_BAD_ID);
            for raw in [false, true] {
                for fill in [Fill::Empty, Fill::One, Fill::Most, Fill::OutOfLine] {
                    let (bytes, places) = request(routine, &routine.request, fill, raw);
                    let about = format!("{} raw {raw} {fill:?}", routine.name);
                    assert_eq!(verdict(dispatch, raw, &bytes), good, "{about}");
                    served += 1;
                    refused += refuse(dispatch, raw, routine, &bytes, &places, &about);
                }
            }
        }
    }
    assert!(served > 5000 && refused > 500_000, "{served} served, {refused} refused");
}

/// Damages the request in every way that must be noticed; returns how many there were.
fn refuse(
    dispatch: Dispatch,
    raw: bool,
    routine: &Routine,
    good: &[u8],
    places: &[usize],
    about: &str,
) -> u32 {
    let mut count = 0;
    let mut expect = |bytes: &[u8], what: &str| {
        assert_eq!(verdict(dispatch, raw, bytes), Some(MIG_BAD_ARGUMENTS), "{about}: {what}");
        count += 1;
    };
    let resized = |size: usize| {
        let mut bytes = good.to_vec();
        bytes.resize(size, 0);
        bytes[4..8].copy_from_slice(&(size as u32).to_le_bytes());
        bytes
    };
    expect(&resized(good.len() + 8), "8 bytes more");
    if good.len() > 32 {
        expect(&resized(good.len() - 8), "8 bytes less");
        expect(&good[..good.len() - 8], "size beyond the message");
    }
    if routine.request.complex != Complex::Maybe {
        let mut bytes = good.to_vec();
        bytes[3] ^= 0x80;
        expect(&bytes, "complex bit");
    }
    for (item, &at) in routine.request.items.iter().zip(places) {
        let descriptor = u64::from_le_bytes(good[at..at + 8].try_into().unwrap());
        let wire = &item.wire;
        let fixed = !wire.is_variable() && wire.placement == Placement::Inline;
        for bit in 0..64 {
            // Names of polymorphic items are free; in the raw form several names come to the same right.
            let name = bit < 8 && (wire.receive == POLYMORPHIC || (raw && wire.carries_rights()));
            let free = match bit {
                // Where the name is free or the form is long, and rights in a kernel, MIG compares field by field, and not these.
                24..=28 | 31 => {
                    let kernels = raw && wire.carries_rights();
                    !fixed || wire.receive == POLYMORPHIC || wire.is_long() || kernels
                }
                29 => wire.placement == Placement::Chosen,
                32.. => wire.is_variable(),
                _ => false,
            };
            if !name && !free {
                let mut bytes = good.to_vec();
                bytes[at..at + 8].copy_from_slice(&(descriptor ^ (1 << bit)).to_le_bytes());
                expect(&bytes, &format!("{} bit {bit}", item.name));
            }
        }
        if wire.is_variable() && descriptor & INLINE != 0 {
            let mut bytes = good.to_vec();
            bytes[at + 4..at + 8].copy_from_slice(&(wire.number + 1).to_le_bytes());
            expect(&bytes, &format!("{} one too many", item.name));
        }
    }
    count
}

#[test]
fn unknown_ids_belong_to_nobody() {
    for (name, dispatch) in interfaces() {
        let subsystem = compiled(name);
        let ids: Vec<i32> = subsystem.routines.iter().map(|r| r.id).collect();
        for id in subsystem.base - 1..=subsystem.base + subsystem.count as i32 {
            if ids.contains(&id) {
                continue;
            }
            let mut bytes = [0u8; 32];
            bytes[28..].copy_from_slice(&id.to_le_bytes());
            assert_eq!(dispatch(Mode::Received, &bytes, &mut [0; 64]), Outcome::NotMine, "{name} {id}");
        }
    }
}
