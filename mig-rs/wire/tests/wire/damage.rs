//! Messages that are not as they should be: cut at every length, longer, every bit of header and descriptors changed,
//! numbers at and beyond their bounds, other data. Both servers give the same verdict, and pass the same values on.
//!
//! Where they do not, the reason is one of [`Known`], and the verdict is that of mig-rs: it refuses what GNU MIG of 2023
//! lets through.

use libtest_mimic::Failed;
use mig_rs::model::{Complex, Item, Message, Placement, Routine, Shape};

use super::Subject;
use super::exchange::{Server, Verdict, Whose, delivered, items, serve, trace};
use super::objects::{self, Ran};
use super::plain::{RECORDER, Seen};
use super::random::{Fill, Random};
use super::rounds::{Values, call, ordered, unserved};

/// Why the verdicts may differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Known {
    /// More elements than the interface allows. GNU MIG of 2023 compares with the message's size only; that of 2026
    /// has the bound.
    TooMany,
    /// The number is no multiple of what makes an element. GNU MIG cuts the rest off.
    PartOfAnElement,
    /// Rights or memory in a message that is not marked complex, which no kernel delivers: the address would be the
    /// sender's. GNU MIG does not look where the mark depends on the data.
    NotMarked,
    /// A number whose size in bytes does not fit in 32 bits: GNU MIG computes modulo 2^32.
    Overflow,
    /// A string of varying length without a NUL at its end. GNU MIG of 2023 passes it on as it is, that of 2026 puts a NUL
    /// there, as mig-rs does.
    NoEnd,
    /// The interface translates payloads, and no ports, and this came without a payload: GNU MIG, which warned, hands the
    /// port's bare name to the server.
    NoPayload,
}

/// `MACH_MSG_TYPE_PROTECTED_PAYLOAD`, in the byte of the local port.
const PROTECTED_PAYLOAD: u8 = 23;

/// What a server made of a message.
#[derive(Debug, PartialEq)]
struct Taken {
    verdict: Verdict,
    seen: Vec<Seen>,
    ran: Vec<Ran>,
}

fn take(server: &Server, routine: &Routine, values: &Values, message: &[u8]) -> Taken {
    RECORDER.set(values.recorder());
    objects::start(None);
    let verdict = serve(server, message);
    Taken { verdict, seen: RECORDER.take().seen, ran: ordered(routine, objects::ran()) }
}

pub(crate) fn word(message: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(message[at..at + 8].try_into().expect("8 bytes"))
}

pub(crate) fn with_word(message: &[u8], at: usize, word: u64) -> Vec<u8> {
    let mut bytes = message.to_vec();
    bytes[at..at + 8].copy_from_slice(&word.to_le_bytes());
    bytes
}

/// Cut or lengthened, and its header says so.
pub(crate) fn sized(message: &[u8], size: usize) -> Vec<u8> {
    let mut bytes = message.to_vec();
    bytes.resize(size, 0);
    bytes[4..8].copy_from_slice(&(size as u32).to_le_bytes());
    bytes
}

/// What is done with a message; it is told what is wrong with it.
pub(crate) type Test<'a> = dyn FnMut(&[u8], &str) -> Result<(), Failed> + 'a;

/// Calls `test` with every damaged form of a message and what was done to it. `id`: of the interface's first routine, or so.
pub(crate) fn damaged(
    model: &Message,
    id: i32,
    good: &[u8],
    random: &mut Random,
    test: &mut Test<'_>,
) -> Result<(), Failed> {
    for size in 32..good.len() {
        test(&sized(good, size), &format!("cut at {size}"))?;
    }
    for more in [1, 4, 7, 8, 16, 2048] {
        test(&sized(good, good.len() + more), &format!("{more} bytes more"))?;
    }
    // The bits of the header, without those that only the kernel writes; its size, smaller than it is; its id.
    for bit in [31, 0, 1, 2, 3, 4, 8, 9, 10, 11, 12] {
        test(&with_word(good, 0, word(good, 0) ^ 1 << bit), &format!("bit {bit} of the header's bits"))?;
    }
    for size in [0, 1, 31, 32, 40, 47, 48] {
        if size < good.len() {
            let changed = word(good, 0) & 0xffff_ffff | (size as u64) << 32;
            test(&with_word(good, 0, changed), &format!("the header says {size} bytes"))?;
        }
    }
    for id in [0, 1, 71, id - 100_000, id + 100_000, id - 100, id + 100, i32::MAX, i32::MIN, -1] {
        let changed = word(good, 24) & 0xffff_ffff | u64::from(id as u32) << 32;
        test(&with_word(good, 24, changed), &format!("id {id}"))?;
    }
    for ((at, _), item) in items(good).into_iter().zip(&model.items) {
        let old = word(good, at);
        for bit in 0..64 {
            test(
                &with_word(good, at, old ^ 1 << bit),
                &format!("bit {bit} of the descriptor of {}", item.name),
            )?;
        }
        let number = old >> 32;
        let most = u64::from(item.wire.number);
        for new in
            [0, 1, 2, 3, number + 1, number.saturating_sub(1), most, most + 1, most * 2, 0xffff, 1 << 20]
        {
            let changed = old & 0xffff_ffff | new << 32;
            let message = with_word(good, at, changed);
            test(&message, &format!("number {new} in the descriptor of {}", item.name))?;
            // The same with a message that is as long as its numbers say.
            if let Some(size) = size_of(&message) {
                test(&sized(&message, size), &format!("number {new} of {}, and as long", item.name))?;
            }
        }
        for name in 0..=22 {
            let changed = old & !0xff | name;
            test(&with_word(good, at, changed), &format!("name {name} in the descriptor of {}", item.name))?;
        }
    }
    for _ in 0..32 {
        // A few bits anywhere behind the header, descriptors included.
        if good.len() <= 32 {
            break;
        }
        let mut bytes = good.to_vec();
        let places: Vec<usize> = items(good).iter().map(|i| i.0).collect();
        let at = places[random.below(places.len() as u64) as usize] + random.below(4) as usize;
        bytes[at] ^= random.next() as u8;
        test(&bytes, &format!("byte {at}"))?;
    }
    Ok(())
}

/// The size that a message with these descriptors has, if it is a sane one.
fn size_of(message: &[u8]) -> Option<usize> {
    let (at, length) = items(message).into_iter().last()?;
    let size = at + 8 + length.next_multiple_of(8);
    (size < 32 * 1024).then_some(size)
}

/// The parts of a message as its receiver reads them, by the interface's items.
fn parts<'a>(model: &'a Message, message: &[u8]) -> Vec<(&'a Item, u64, usize)> {
    let mut list = Vec::new();
    let mut at = 32;
    for item in &model.items {
        if at + 8 > message.len() {
            break;
        }
        let word = word(message, at);
        list.push((item, word, at));
        let out_of_line = match item.wire.placement {
            Placement::Inline => false,
            Placement::OutOfLine => true,
            Placement::Chosen => word >> 29 & 1 == 0,
        };
        let length = match (out_of_line, item.wire.is_variable()) {
            (true, _) => 8,
            (false, true) => u64::from(item.wire.bits) / 8 * (word >> 32),
            (false, false) => item.wire.data_length(),
        };
        let Some(next) = usize::try_from(length).ok().and_then(|n| (at + 8).checked_add(n)) else { break };
        at = next.next_multiple_of(8);
    }
    list
}

/// The reasons that this message gives to differ.
pub(crate) fn known(model: &Message, message: &[u8]) -> Vec<Known> {
    let mut list = Vec::new();
    let is_complex = message[3] & 0x80 != 0;
    for (item, word, at) in parts(model, message) {
        let wire = &item.wire;
        let number = word >> 32;
        let inline = word >> 29 & 1 == 1;
        if wire.is_variable() {
            if inline && number * u64::from(wire.bits).max(8) / 8 > u64::from(u32::MAX) - 8 {
                list.push(Known::Overflow);
            }
            if inline && number > u64::from(wire.number) {
                list.push(Known::TooMany);
            }
            let unit = match &wire.shape {
                Shape::Variable(elem, _) if !elem.is_right() => {
                    (elem.size() * 8 / u64::from(wire.bits.max(1))).max(1)
                }
                _ => 1,
            };
            let end = usize::try_from(number).ok().and_then(|n| (at + 7).checked_add(n));
            let is_string = matches!(wire.shape, Shape::Str { .. });
            if is_string && end.and_then(|at| message.get(at)).is_none_or(|&last| last != 0) {
                list.push(Known::NoEnd);
            }
            if number % unit != 0 {
                list.push(Known::PartOfAnElement);
            }
        }
        let travels = !inline || (16..=21).contains(&(word & 0xff));
        if model.complex == Complex::Maybe && !is_complex && travels {
            list.push(Known::NotMarked);
        }
    }
    list
}

/// Damages requests of one routine.
pub(crate) fn check(subject: &Subject, routine: &Routine) -> Result<(), Failed> {
    let name = format!("{}::{}", subject.interface.name, routine.name);
    let mut random = Random::new(&name, subject.is_kernel());
    for fill in [Fill::One, Fill::Any, Fill::Beyond] {
        let mut values = Values::random(routine, &mut random, fill, 0);
        // What a server makes of a port without payload, if it knows payloads only, differs: see `rounds`.
        values.payload = (!subject.model.kernel_server).then(|| random.next());
        values.register();
        RECORDER.set(values.recorder());
        let servers = [Whose::Gnu, Whose::Ours].map(|whose| subject.server(whose, routine));
        super::exchange::connect(servers[1], values.payload);
        let _ = call(subject, routine, Whose::Ours, &values);
        let good = delivered(&servers[1], &trace().request);
        let mut test = |message: &[u8], what: &str| {
            let mut reasons = known(&routine.request, message);
            if unserved(routine, message[1] == PROTECTED_PAYLOAD) {
                reasons.push(Known::NoPayload);
            }
            let ours = take(&servers[1], routine, &values, message);
            if reasons.contains(&Known::Overflow) {
                // GNU MIG's server would read beyond the message; ours must refuse.
                return match ours.verdict {
                    Verdict::Refused(_) | Verdict::NotMine => Ok(()),
                    other => {
                        Err(format!("{name}, {fill:?}, {what}: a number beyond all bounds: {other:?}").into())
                    }
                };
            }
            let theirs = take(&servers[0], routine, &values, message);
            let served = matches!(theirs.verdict, Verdict::Served(_));
            let excused = match &reasons[..] {
                [] => false,
                [Known::NoEnd] => ours.verdict == theirs.verdict,
                _ => served && matches!(ours.verdict, Verdict::Refused(_)),
            };
            if ours == theirs || excused {
                return Ok(());
            }
            Err(format!(
                "{name}, {fill:?}, {what}: verdicts differ {reasons:?}\n  GNU MIG {theirs:?}\n  ours    {ours:?}"
            )
            .into())
        };
        test(&good, "nothing")?;
        damaged(&routine.request, routine.id, &good, &mut random, &mut test)?;
    }
    Ok(())
}
