//! The generated code under arbitrary messages.
//!
//! Messages are made from the layouts of the compiler's model (`made`), which the generated code has never seen; whether a message is to be taken is judged by
//! the same layouts (`admits`, written after the rules of MIG's receivers, not after the decoder).

use std::path::Path;

use arbitrary::{Result, Unstructured};
use drover_abi::message::{BITS_COMPLEX, Header};
use drover_abi::returns::{MIG_ARRAY_TOO_LARGE, MIG_BAD_ARGUMENTS, MIG_REPLY_MISMATCH, MIG_TYPE_ERROR};
use mig_rs::model::{Complex, Elem, Item, Message, Placement, Prim, Routine, Shape, Subsystem, Wire};
use mig_rs::{Options, compile, word};
use mig_runtime::{ERROR_REPLY_SIZE, Mode, Outcome, RpcError};
use zerocopy::{FromBytes, IntoBytes};

use crate::relay::{Dispatch, INTERFACES, Relay, SKIPPED};

const POLYMORPHIC: u32 = 0xff;
const INLINE: u64 = 1 << 29;
const LONGFORM: u64 = 1 << 30;
const DEALLOCATE: u64 = 1 << 31;
/// Bits 24 to 28 of a descriptor mean nothing.
const UNUSED: u64 = 0x1f << 24;
const HEADER: usize = 32;
/// Room for replies.
const ROOM: usize = 64 << 10;
/// The send-once notification.
const SEND_ONCE: i32 = 71;
/// The reply port of requests.
const REPLY_PORT: u64 = 0x77;
/// The descriptor of the return code.
const RETCODE_WORD: u64 = 0x0000_0001_2000_2002;

/// An interface as the compiler sees it, and its demultiplexer.
struct Interface {
    subsystem: Subsystem,
    dispatch: Dispatch,
}

/// All interfaces, compiled once.
fn interfaces() -> &'static [Interface] {
    thread_local! {
        static ALL: &'static [Interface] = Box::leak(compile_all().into_boxed_slice());
    }
    ALL.with(|all| *all)
}

fn compile_all() -> Vec<Interface> {
    let defs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../libhurd/defs");
    let options = Options { include: vec![defs.clone()], ..Options::default() };
    let compiled = INTERFACES.iter().map(|(name, dispatch)| {
        let compiled = compile(defs.join(format!("{name}.defs")), &options)
            .unwrap_or_else(|failure| panic!("{failure}"));
        Interface { subsystem: compiled.subsystem, dispatch: *dispatch }
    });
    compiled.filter(|interface| !interface.subsystem.routines.is_empty()).collect()
}

/// An interface and one of its routines.
fn choose(bytes: &mut Unstructured<'_>) -> Result<(&'static Interface, &'static Routine)> {
    let interface = bytes.choose(interfaces())?;
    Ok((interface, bytes.choose(&interface.subsystem.routines)?))
}

/// Where a message is seen.
#[derive(Clone, Copy, PartialEq, Eq)]
enum View {
    /// As its sender wrote it.
    Raw,
    /// As its receiver gets it.
    Received,
}

/// `msgt_name` for an item.
fn disposition(bytes: &mut Unstructured<'_>, wire: &Wire, view: View) -> Result<u32> {
    let choices: &[u32] = match (view, wire.send, wire.receive) {
        (View::Raw, POLYMORPHIC, 16) => &[16],
        (View::Raw, POLYMORPHIC, 17) => &[17, 19, 20],
        (View::Raw, POLYMORPHIC, 18) => &[18, 21],
        (View::Raw, POLYMORPHIC, _) => &[16, 17, 18, 19, 20, 21],
        (View::Raw, send, _) => return Ok(send),
        (View::Received, _, POLYMORPHIC) => &[16, 17, 18],
        (View::Received, _, receive) => return Ok(receive),
    };
    bytes.choose(choices).copied()
}

/// Units of the descriptor that make one element.
fn unit(wire: &Wire) -> u64 {
    match &wire.shape {
        Shape::Variable(elem, _) if !elem.is_right() => (elem.size() * 8 / u64::from(wire.bits)).max(1),
        _ => 1,
    }
}

/// Appends a value in the form that encoders write: padding is zero, booleans are 0 or 1.
fn value(bytes: &mut Unstructured<'_>, elem: &Elem, out: &mut Vec<u8>) -> Result<()> {
    match elem {
        Elem::Prim(Prim::Bool) => out.extend(u32::from(bytes.arbitrary::<bool>()?).to_le_bytes()),
        Elem::Prim(Prim::Right) => out.extend(u64::from(bytes.arbitrary::<u32>()?).to_le_bytes()),
        Elem::Prim(_) => {
            let start = out.len();
            out.resize(start + elem.size() as usize, 0);
            bytes.fill_buffer(&mut out[start..])?;
        }
        Elem::Struct(def) => {
            let start = out.len();
            for field in &def.fields {
                out.resize(start + field.offset as usize, 0);
                value(bytes, &field.elem, out)?;
            }
            out.resize(start + def.size as usize, 0);
        }
        Elem::Array(elem, n) => {
            for _ in 0..*n {
                value(bytes, elem, out)?;
            }
        }
    }
    Ok(())
}

/// One item: its descriptor and its data.
fn item(bytes: &mut Unstructured<'_>, item: &Item, view: View, code: u32, out: &mut Vec<u8>) -> Result<bool> {
    let wire = &item.wire;
    let name = disposition(bytes, wire, view)?;
    let mut descriptor = word(wire, name);
    let at = out.len();
    out.extend([0; 8]);
    let most = u64::from(wire.number) / unit(wire);
    let elsewhere = match wire.placement {
        Placement::OutOfLine => true,
        Placement::Chosen => bytes.ratio(1, 4)?,
        Placement::Inline => false,
    };
    if elsewhere {
        if wire.is_variable() {
            // More than would go inline, so that whoever encodes it again has no choice.
            let count = if wire.placement == Placement::Chosen {
                most + 1 + u64::from(bytes.arbitrary::<u8>()?)
            } else {
                u64::from(bytes.arbitrary::<u16>()?)
            };
            descriptor |= (count * unit(wire)) << 32;
        }
        if wire.carries_rights() {
            descriptor = (descriptor & !0xff_ff00) | (32 << 8);
        }
        if view == View::Received {
            descriptor |= DEALLOCATE;
        }
        out.extend(bytes.arbitrary::<u64>()?.to_le_bytes());
    } else {
        if wire.placement == Placement::Chosen {
            descriptor = (descriptor | INLINE) & !DEALLOCATE;
        }
        match &wire.shape {
            _ if item.argument.is_none() => out.extend(code.to_le_bytes()),
            // The room of a client is at most that of the interface.
            _ if item.is_count => out.extend(bytes.int_in_range(0..=most.min(4) as u32)?.to_le_bytes()),
            Shape::Fixed(elem) => value(bytes, elem, out)?,
            Shape::Variable(elem, _) => {
                let few = bytes.int_in_range(0..=most.min(8))?;
                let count = if bytes.ratio(1, 8)? { bytes.int_in_range(0..=most)? } else { few };
                for _ in 0..count {
                    value(bytes, elem, out)?;
                }
                descriptor |= (count * unit(wire)) << 32;
            }
            Shape::Str { size, variable } => {
                let length = bytes.int_in_range(0..=size.saturating_sub(1))?;
                for _ in 0..length {
                    out.push(bytes.int_in_range(1..=255u8)?);
                }
                out.push(0);
                if *variable {
                    descriptor |= u64::from(length + 1) << 32;
                } else {
                    out.resize(at + 8 + *size as usize, 0);
                }
            }
        }
    }
    out.resize(out.len().next_multiple_of(8), 0);
    out[at..at + 8].copy_from_slice(&descriptor.to_le_bytes());
    Ok(elsewhere || (16..=21).contains(&name))
}

/// A message that its layout admits.
fn made(bytes: &mut Unstructured<'_>, message: &Message, view: View, id: i32, code: u32) -> Result<Vec<u8>> {
    let mut out = vec![0; HEADER];
    let mut complex = message.complex == Complex::Always;
    for part in &message.items {
        complex |= item(bytes, part, view, code, &mut out)?;
    }
    let bits = if view == View::Raw { 19 | (21 << 8) } else { 18 };
    let (remote, local) = if view == View::Raw { (0x51, REPLY_PORT) } else { (REPLY_PORT, 0x51) };
    let header = Header {
        bits: bits | if complex { BITS_COMPLEX } else { 0 },
        size: out.len() as u32,
        remote,
        local,
        seqno: 0,
        id,
    };
    header.write_to_prefix(&mut out).expect("there is room for a header");
    Ok(out)
}

/// What a receiver sees in place of a disposition that a sender writes.
fn received(name: u32) -> u32 {
    match name {
        19 | 20 => 17,
        21 => 18,
        other => other,
    }
}

/// Whether MIG's receivers take the items of a message (`bytes`: as long as its header says, header included).
fn admits(message: &Message, bytes: &[u8], complex: bool, view: View) -> bool {
    let size_fits = if message.is_variable() {
        bytes.len() as u64 >= message.min
    } else {
        bytes.len() as u64 == message.min
    };
    let complex_fits = match message.complex {
        Complex::Always => complex,
        Complex::Never => !complex,
        Complex::Maybe => true,
    };
    let mut at = HEADER;
    size_fits
        && complex_fits
        && message.items.iter().all(|item| admits_item(item, bytes, &mut at, complex, view))
        && at == bytes.len()
}

fn admits_item(item: &Item, bytes: &[u8], at: &mut usize, complex: bool, view: View) -> bool {
    let wire = &item.wire;
    let Some(found) = bytes.get(*at..*at + 8).map(|b| u64::from_le_bytes(b.try_into().expect("8 bytes")))
    else {
        return false;
    };
    let name = (found & 0xff) as u32;
    let elsewhere = found & INLINE == 0;
    let mut expected = word(wire, 0);
    let wanted = wire.receive;
    // The whole word of what is fixed and in line, else what decides how the data are read; also of a free name, in the long form, and of rights in a kernel.
    let kernels = view == View::Raw && wire.carries_rights();
    let mut compared = !0xff;
    if wire.is_variable()
        || kernels
        || wire.placement == Placement::OutOfLine
        || wanted == POLYMORPHIC
        || expected & LONGFORM != 0
    {
        compared &= !(UNUSED | DEALLOCATE);
    }
    if wire.is_variable() {
        compared &= !(0xffff_ffff << 32);
    }
    if wire.placement == Placement::Chosen {
        compared &= !INLINE;
    }
    let rights = (16..=21).contains(&name);
    if elsewhere && rights {
        expected = (expected & !0xff_ff00) | (32 << 8);
    }
    // Only ports have two dispositions; other data are named alike on both sides.
    let seen = if view == View::Raw && wire.carries_rights() { received(name) } else { name };
    if (wanted != POLYMORPHIC && seen != wanted) || (found ^ expected) & compared != 0 {
        return false;
    }
    // What must be released or translated is said in the header.
    let open = wire.is_variable() || wire.placement == Placement::OutOfLine || wire.carries_rights();
    if open && (elsewhere || rights) && !complex {
        return false;
    }
    let number = found >> 32;
    let length =
        if wire.placement == Placement::OutOfLine || (wire.placement == Placement::Chosen && elsewhere) {
            if wire.is_variable() && !number.is_multiple_of(unit(wire)) {
                return false;
            }
            8
        } else if wire.is_variable() {
            if !number.is_multiple_of(unit(wire)) || number > u64::from(wire.number) {
                return false;
            }
            number * u64::from(wire.bits) / 8
        } else {
            wire.data_length()
        };
    *at += 8;
    if bytes.len().saturating_sub(*at) < length as usize {
        return false;
    }
    *at += (length as usize).next_multiple_of(8);
    true
}

/// A message without what it is free to say: ports in the header, and addresses.
fn canonical(message: &[u8]) -> Vec<u8> {
    let mut out = message.to_vec();
    let (header, _) = Header::read_from_prefix(message).expect("a header");
    let plain = Header { bits: header.bits & BITS_COMPLEX, remote: 0, local: 0, seqno: 0, ..header };
    plain.write_to_prefix(&mut out).expect("there is room for a header");
    let mut at = HEADER;
    while at + 8 <= out.len() {
        let found = u64::from_le_bytes(out[at..at + 8].try_into().expect("8 bytes"));
        at += 8;
        if found & INLINE == 0 {
            out[at..at + 8].fill(0);
            at += 8;
        } else {
            at += ((found >> 8 & 0xffff) * (found >> 32) / 8).next_multiple_of(8) as usize;
        }
    }
    out
}

/// The 48 bytes that say no; the code.
fn refusal(reply: &[u8], id: i32) -> i32 {
    assert_eq!(reply.len(), ERROR_REPLY_SIZE);
    let (header, _) = Header::read_from_prefix(reply).expect("a header");
    assert_eq!(
        (header.id, header.size as usize, header.bits & BITS_COMPLEX),
        (id.wrapping_add(100), ERROR_REPLY_SIZE, 0),
        "an error reply"
    );
    assert_eq!(reply[32..40], RETCODE_WORD.to_le_bytes());
    i32::from_le_bytes(reply[40..44].try_into().expect("4 bytes"))
}

/// Layout, decode, encode, and back: a request made from its layout is decoded, passed on and encoded, a reply made from its layout is decoded, handed
/// back and encoded; both come out as they went in.
pub fn identity(data: &[u8]) {
    let mut bytes = Unstructured::new(data);
    let Ok((interface, routine)) = choose(&mut bytes) else { return };
    let Ok(request) = made(&mut bytes, &routine.request, View::Raw, routine.id, 0) else { return };
    let reply = match &routine.reply {
        Some(reply) => match made(&mut bytes, reply, View::Received, routine.id.wrapping_add(100), 0) {
            Ok(reply) => reply,
            Err(_) => return,
        },
        None => Vec::new(),
    };
    let mut relay = Relay::answering(reply.clone());
    let mut room = vec![0xaa; ROOM];
    let outcome = (interface.dispatch)(&mut relay, Mode::Raw, &request, &mut room);
    let about = || format!("{}\nrequest {request:02x?}\nreply {reply:02x?}", routine.name);
    assert!(relay.called, "a request made from its layout is refused: {outcome:?} {}", about());
    let Some(ended) = relay.ended else {
        let size = if let Outcome::Reply(size) = outcome { size } else { 0 };
        assert!(
            routine.reply.is_none() || refusal(&room[..size], routine.id) == SKIPPED,
            "not passed on: {outcome:?} {}",
            about()
        );
        return;
    };
    // The reply's count is made without regard to the room in the request.
    if routine.reply.as_ref().is_some_and(|reply| no_room(reply, ended)) {
        return;
    }
    assert_eq!(ended, Ok(()), "passed on in vain: {}", about());
    assert_eq!(
        canonical(&relay.wire.sent.borrow()),
        canonical(&request),
        "the request has changed: {}",
        about()
    );
    match (&routine.reply, outcome) {
        (None, Outcome::NoReply) => {}
        (Some(_), Outcome::Reply(size)) => {
            assert_eq!(canonical(&room[..size]), canonical(&reply), "the reply has changed: {}", about());
        }
        _ => panic!("{outcome:?}: {}", about()),
    }
}

/// Damages a message in up to four places.
fn damage(bytes: &mut Unstructured<'_>, message: &mut Vec<u8>) -> Result<()> {
    for _ in 0..bytes.int_in_range(0..=4u8)? {
        if message.is_empty() {
            return Ok(());
        }
        let at = bytes.choose_index(message.len())?;
        match bytes.int_in_range(0..=9u8)? {
            0 => message[at] = bytes.arbitrary()?,
            1 => message[at] ^= 1 << bytes.int_in_range(0..=7u8)?,
            2 => message.truncate(at),
            // The size in the header, true and false.
            3 if message.len() >= HEADER => {
                let size = message.len() as u32;
                message[4..8].copy_from_slice(&size.to_le_bytes());
            }
            4 if message.len() >= HEADER => {
                let size: u32 = bytes.arbitrary()?;
                message[4..8].copy_from_slice(&(size % 5000).to_le_bytes());
            }
            5 | 6 if message.len() >= HEADER + 8 => {
                let at = at / 8 * 8;
                let word: u64 = bytes.arbitrary()?;
                if at + 8 <= message.len() {
                    message[at..at + 8].copy_from_slice(&word.to_le_bytes());
                }
            }
            7 => {
                let more = bytes.bytes(8.min(bytes.len()))?.to_vec();
                message.splice(at..at, more);
            }
            8 => {
                let end = (at + 8).min(message.len());
                message.drain(at..end);
            }
            _ if message.len() >= HEADER => message[3] ^= 0x80,
            _ => {}
        }
    }
    // Half of the time the header tells the truth, so that the rest is looked at.
    if message.len() >= HEADER && bytes.arbitrary::<bool>()? {
        let size = message.len() as u32;
        message[4..8].copy_from_slice(&size.to_le_bytes());
    }
    Ok(())
}

/// Damaged requests and replies, and bytes that never were one: servers and clients take what the layout admits and refuse the rest, with the right code.
pub fn decode(data: &[u8]) {
    let mut bytes = Unstructured::new(data);
    let _ = match bytes.int_in_range(0..=7u8).unwrap_or(0) {
        0..=4 => damaged_request(&mut bytes),
        5 | 6 => damaged_reply(&mut bytes),
        _ => anything(&mut bytes),
    };
}

fn damaged_request(bytes: &mut Unstructured<'_>) -> Result<()> {
    let (interface, routine) = choose(bytes)?;
    let view = if bytes.arbitrary()? { View::Raw } else { View::Received };
    let mut request = made(bytes, &routine.request, view, routine.id, 0)?;
    damage(bytes, &mut request)?;
    serve(interface, view, &request, bytes.int_in_range(0..=15)?);
    Ok(())
}

/// Bytes as they are, behind the id of a routine.
fn anything(bytes: &mut Unstructured<'_>) -> Result<()> {
    let (interface, routine) = choose(bytes)?;
    let view = if bytes.arbitrary()? { View::Raw } else { View::Received };
    let mut request = bytes.bytes(bytes.len())?.to_vec();
    if request.len() >= HEADER {
        request[28..32].copy_from_slice(&routine.id.to_le_bytes());
    }
    serve(interface, view, &request, 0);
    Ok(())
}

/// Serves a request and holds the answer against the layout. `scarce`: 15 leaves hardly any room for the reply.
fn serve(interface: &Interface, view: View, request: &[u8], scarce: u8) {
    let mode = if view == View::Raw { Mode::Raw } else { Mode::Received };
    let mut relay = Relay::default();
    if scarce == 15 {
        // No verdict here, only no panic.
        let _ = (interface.dispatch)(&mut relay, mode, request, &mut [0; 40]);
        return;
    }
    let mut room = vec![0xaa; ROOM];
    let outcome = (interface.dispatch)(&mut relay, mode, request, &mut room);
    let header = Header::read_from_prefix(request).map(|(header, _)| header);
    let routine =
        header.as_ref().ok().and_then(|h| interface.subsystem.routines.iter().find(|r| r.id == h.id));
    let (Ok(header), Some(routine)) = (header, routine) else {
        assert_eq!(outcome, Outcome::NotMine, "{request:02x?}");
        return;
    };
    let whole = request.get(..header.size as usize).filter(|whole| whole.len() >= HEADER);
    let good =
        whole.is_some_and(|whole| admits(&routine.request, whole, header.bits & BITS_COMPLEX != 0, view));
    let about = || format!("{}: {outcome:?} {request:02x?}", routine.name);
    assert_eq!(relay.called, good, "taken, or not, against the layout: {}", about());
    if !good {
        let Outcome::Reply(size) = outcome else { panic!("refused without an answer: {}", about()) };
        assert_eq!(refusal(&room[..size], header.id), MIG_BAD_ARGUMENTS, "{}", about());
    }
}

/// A client may say that there were more elements than it has room for. That it says so when it should, mig-wire holds against GNU MIG's clients.
fn no_room(layout: &Message, ended: std::result::Result<(), RpcError>) -> bool {
    let counted = |item: &Item| {
        matches!(item.wire.shape, Shape::Variable(..)) && item.wire.placement == Placement::Inline
    };
    ended == Err(RpcError::Mig(MIG_ARRAY_TOO_LARGE)) && layout.items.iter().any(counted)
}

/// A client gets a reply that may be damaged.
fn damaged_reply(bytes: &mut Unstructured<'_>) -> Result<()> {
    let (interface, routine) = choose(bytes)?;
    let Some(layout) = &routine.reply else { return Ok(()) };
    let request = made(bytes, &routine.request, View::Raw, routine.id, 0)?;
    let code = if bytes.ratio(1, 4)? { bytes.arbitrary()? } else { 0 };
    let mut reply = made(bytes, layout, View::Received, routine.id.wrapping_add(100), code)?;
    if bytes.ratio(1, 8)? {
        reply.truncate(ERROR_REPLY_SIZE);
    }
    damage(bytes, &mut reply)?;
    let mut relay = Relay::answering(reply.clone());
    let outcome = (interface.dispatch)(&mut relay, Mode::Raw, &request, &mut vec![0; ROOM]);
    let Some(ended) = relay.ended else { return Ok(()) };
    let limit =
        (layout.max.max(routine.request.max).max(ERROR_REPLY_SIZE as u64) as usize).next_multiple_of(8);
    if no_room(layout, ended) {
        return Ok(());
    }
    let expected = verdict(layout, routine.id, &reply[..reply.len().min(limit)]);
    assert_eq!(ended, expected, "a client's verdict: {} {outcome:?} {reply:02x?}", routine.name);
    Ok(())
}

/// What a client makes of a reply.
fn verdict(layout: &Message, id: i32, reply: &[u8]) -> std::result::Result<(), RpcError> {
    let bad = Err(RpcError::Mig(MIG_TYPE_ERROR));
    let Ok((header, _)) = Header::read_from_prefix(reply) else { return bad };
    if header.id != id.wrapping_add(100) {
        return Err(if header.id == SEND_ONCE {
            RpcError::ServerDied
        } else {
            RpcError::Mig(MIG_REPLY_MISMATCH)
        });
    }
    let complex = header.bits & BITS_COMPLEX != 0;
    let Some(whole) = reply.get(..header.size as usize).filter(|whole| whole.len() >= HEADER + 12) else {
        return bad;
    };
    if whole[32..40] != RETCODE_WORD.to_le_bytes() {
        return bad;
    }
    let code = i32::from_le_bytes(whole[40..44].try_into().expect("4 bytes"));
    if code != 0 && whole.len() == ERROR_REPLY_SIZE && !complex {
        return Err(RpcError::from_return(code));
    }
    let size_fits = if layout.is_variable() {
        whole.len() as u64 >= layout.min
    } else {
        whole.len() as u64 == layout.min
    };
    let complex_fits = match layout.complex {
        Complex::Always => complex,
        Complex::Never => !complex,
        Complex::Maybe => true,
    };
    if !size_fits || !complex_fits {
        return bad;
    }
    if code != 0 {
        return Err(RpcError::from_return(code));
    }
    if admits(layout, whole, complex, View::Received) { Ok(()) } else { bad }
}
