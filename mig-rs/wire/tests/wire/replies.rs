//! Replies that are not as they should be: both clients of a routine come to the same result, the same code or the same
//! values. They are damaged as requests are, and replaced by error replies, which are damaged in their turn.
//!
//! Where the results differ, the reason is one of [`Known`]: GNU MIG of 2023 lets through, or misreads, what mig-rs
//! refuses.

use libtest_mimic::Failed;
use mig_rs::model::{Complex, Item, Message, Routine, Shape};

use super::Subject;
use super::damage::{Known, damaged, known, with_word};
use super::exchange::{self, TOO_LARGE, Whose};
use super::objects;
use super::plain::{RECORDER, Seen};
use super::random::{Fill, Random};
use super::rounds::{Values, call};

/// `MIG_TYPE_ERROR`.
const TYPE_ERROR: i32 = -300;
/// `MIG_ARRAY_TOO_LARGE`.
const ARRAY_TOO_LARGE: i32 = -307;

/// What a client makes of a reply.
fn result(
    subject: &Subject,
    routine: &Routine,
    whose: Whose,
    values: &Values,
    reply: &[u8],
) -> Result<Vec<Seen>, i32> {
    exchange::answer(reply);
    call(subject, routine, whose, values)
}

/// The reply that a server gives, as its client receives it.
fn reply(subject: &Subject, routine: &Routine, values: &Values) -> Result<Vec<u8>, Failed> {
    RECORDER.set(values.recorder());
    objects::start(None);
    exchange::connect(subject.server(Whose::Ours, routine), values.payload);
    let _ = call(subject, routine, Whose::Ours, values);
    let reply = exchange::trace().reply.ok_or("no reply")?;
    Ok(if subject.model.kernel_server { reply } else { exchange::receive(&reply) })
}

/// An error reply holds nothing but the code.
fn bare(model: &Message) -> Message {
    let items: Vec<Item> = model.items.first().cloned().into_iter().collect();
    Message { items, min: 48, max: 48, complex: Complex::Never }
}

/// The results are the same, but that of a string without an end C reads on behind it.
fn longer(routine: &Routine, theirs: &[Seen], ours: &[Seen]) -> bool {
    let same = |theirs: &Seen, ours: &Seen| {
        let text = matches!(routine.arguments[ours.argument].wire.shape, Shape::Str { variable: true, .. });
        let front = match (&theirs.bytes, &ours.bytes) {
            (Some(theirs), Some(ours)) => theirs.starts_with(ours),
            _ => false,
        };
        theirs == ours || (text && front)
    };
    theirs.len() == ours.len() && theirs.iter().zip(ours).all(|(theirs, ours)| same(theirs, ours))
}

/// Damages replies to one routine.
pub(crate) fn check(subject: &Subject, routine: &Routine) -> Result<(), Failed> {
    let Some(model) = &routine.reply else { return Ok(()) };
    let name = format!("{}::{}", subject.interface.name, routine.name);
    let mut random = Random::new(&name, subject.is_kernel());
    for (fill, code) in [(Fill::One, 0), (Fill::Any, 0), (Fill::Beyond, 0), (Fill::Any, 5), (Fill::Any, -303)]
    {
        let mut values = Values::random(routine, &mut random, fill, code);
        values.payload = (!subject.model.kernel_server).then(|| random.next());
        values.register();
        let good = reply(subject, routine, &values)?;
        let mut test = |message: &[u8], what: &str| {
            let reasons = known(model, message);
            let ours = result(subject, routine, Whose::Ours, &values, message);
            let refused = |r: &Result<Vec<Seen>, i32>| matches!(r, Err(TYPE_ERROR | TOO_LARGE));
            if reasons.contains(&Known::Overflow) {
                // GNU MIG's client would read beyond the message; ours must refuse.
                return match refused(&ours) {
                    true => Ok(()),
                    false => Err(format!("{name}, {fill:?}, {what}: beyond all bounds: {ours:?}").into()),
                };
            }
            let theirs = result(subject, routine, Whose::Gnu, &values, message);
            // C's buffer ends with the largest reply, so that the kernel refuses more; Rust's may be the request's.
            let too_long = theirs == Err(TOO_LARGE) && refused(&ours);
            let excused = match (&reasons[..], &theirs, &ours) {
                ([], ..) => false,
                ([Known::NoEnd], Ok(theirs), Ok(ours)) => longer(routine, theirs, ours),
                // It finds too many elements before it would see that the last is not whole.
                ([Known::PartOfAnElement, ..], Err(ARRAY_TOO_LARGE), _) => refused(&ours),
                _ => theirs.is_ok() && refused(&ours),
            };
            if ours == theirs || too_long || excused {
                return Ok(());
            }
            Err(format!(
                "{name}, {fill:?}, {what}: results differ {reasons:?}\n  GNU MIG {theirs:?}\n  ours    {ours:?}"
            )
            .into())
        };
        test(&good, "nothing")?;
        let message = if code == 0 { model.clone() } else { bare(model) };
        damaged(&message, routine.id, &good, &mut random, &mut test)?;
        for code in [0, 1, 5, -1, -300, -303, -308, 71, 0x4000_000d, 0x1000_0003, i32::MIN] {
            let padding = u64::from(u32::from_le_bytes(good[44..48].try_into().expect("4 bytes"))) << 32;
            let changed = with_word(&good, 40, u64::from(code as u32) | padding);
            test(&changed, &format!("code {code}"))?;
            test(&super::damage::sized(&changed, 48), &format!("code {code}, and no more"))?;
            let mut complex = super::damage::sized(&changed, 48);
            complex[3] ^= 0x80;
            test(&complex, &format!("code {code}, no more, and marked otherwise"))?;
        }
    }
    Ok(())
}
