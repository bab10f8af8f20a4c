//! What calls may spend, in an interface that says it: the server judges the offer before its method runs, whether it reads
//! messages that were received or, as a kernel does, its callers' own words; and no offer changes a byte on the wire.

use libtest_mimic::Failed;
use mig_runtime::{Donation, Mode, Offer, Offered, Outcome, Request};

use super::INTERFACES;
use super::exchange::{self, receive};
use super::plain::{Plain, RECORDER, Recorder, Wire};

/// `DROVER_OFFER_REFUSED`, from the interface's documentation of codes.
const REFUSED: i32 = drover_abi::returns::DROVER_OFFER_REFUSED;
/// `MIG_BAD_ARGUMENTS`.
const BAD_ARGUMENTS: i32 = -304;
const MS: u64 = 1_000_000;

/// Offers to `offers_usual` (cpu 1 to 20 ms, 16 to 256 frames, depth up to 8), and whether they are within bounds. What the
/// way to the server has used up is not held against a caller.
fn judged() -> Vec<(Donation, bool)> {
    let usual = Donation { depth: 4, ..Donation::ALL.cpu(5 * MS).frames(64) };
    vec![
        (usual, true),
        (usual.cpu(20 * MS), true),
        (usual.cpu(20 * MS + 1), false),
        (usual.cpu(MS / 2), false),
        (usual.frames(256), true),
        (usual.frames(257), false),
        (usual.frames(4), false),
        (Donation { depth: 8, ..usual }, true),
        (Donation { depth: 9, ..usual }, false),
        // Everything is above an upper bound; a client of mig-rs offers what the interface allows instead.
        (Donation::ALL, false),
    ]
}

/// A request for a routine with one number, as the client writes it.
fn request(routine: &str, offer: Donation) -> Result<Vec<u8>, Failed> {
    let interface = INTERFACES.iter().find(|i| i.name == "offers").ok_or("no interface `offers`")?;
    let (_, call) = interface.routines.iter().find(|(name, _)| *name == routine).ok_or("no routine")?;
    exchange::answer(&[0; 32]);
    let arguments = [Plain::new(&7u32.to_le_bytes(), 1), Plain::new(&9i32.to_le_bytes(), 1)];
    // Whoever is asked, the answer is none.
    let _ = call(&Wire { offer }, &[arguments.to_vec(), vec![Plain::default()]].concat());
    Ok(exchange::trace().request)
}

/// What a server makes of a request with an offer: the code in its reply, and whether its method ran.
fn served(mode: Mode, message: &[u8], offer: Offer) -> Result<(i32, Recorder), Failed> {
    let interface = INTERFACES.iter().find(|i| i.name == "offers").ok_or("no interface `offers`")?;
    let answer = Plain::new(&5i32.to_le_bytes(), 1);
    let answers = std::rc::Rc::new(vec![answer.clone(), answer.clone(), answer]);
    let mut recorder = Recorder { answers, raw: mode == Mode::Raw, ..Recorder::default() };
    let mut reply = [0u8; 128];
    let request = Request::new(mode, message).ok_or("no header")?.with_offer(offer);
    let code = match (interface.dispatch_offered)(&mut recorder, &request, &mut reply) {
        Outcome::Reply(_) => i32::from_le_bytes(reply[40..44].try_into().expect("4 bytes")),
        Outcome::NoReply => 0,
        Outcome::NotMine => return Err("not mine".into()),
    };
    Ok((code, recorder))
}

/// Every offer, every mode.
pub(crate) fn check() -> Result<(), Failed> {
    RECORDER.take();
    let plain = request("offers_usual", Donation::ALL)?;
    let bare = request("offers_silent", Donation::ALL)?;
    let note = request("offers_note", Donation::ALL)?;
    for mode in [Mode::Received, Mode::Clean, Mode::Raw] {
        let form = |message: &[u8]| if mode == Mode::Raw { message.to_vec() } else { receive(message) };
        for (offer, within) in judged() {
            if request("offers_usual", offer)? != plain {
                return Err(format!("{offer:?} changes the request").into());
            }
            let known = Offer::Known(Offered { remaining: offer, now_ns: 1000 });
            let (code, recorder) = served(mode, &form(&plain), known)?;
            if (code, recorder.reached) != if within { (0, true) } else { (REFUSED, false) } {
                return Err(format!("{mode:?}, {offer:?}: {code:#x}, reached {}", recorder.reached).into());
            }
            // An interface that does not speak of offers takes them all.
            let (code, recorder) = served(mode, &form(&bare), known)?;
            if (code, recorder.reached) != (0, true) {
                return Err(format!("{mode:?}, {offer:?}, not spoken of: {code:#x}").into());
            }
            // A damaged message is refused as such, whatever was offered for it.
            let mut damaged = form(&plain);
            damaged[32] ^= 1;
            let (code, recorder) = served(mode, &damaged, known)?;
            if recorder.reached || code != BAD_ARGUMENTS {
                return Err(format!("{mode:?}, {offer:?}, damaged: {code:#x}").into());
            }
        }
        let (code, recorder) = served(mode, &form(&plain), Offer::Unknown)?;
        if (code, recorder.reached) != (0, true) {
            return Err(format!("{mode:?}, an unknown offer: {code:#x}").into());
        }
        // What may be retained is capped, not judged.
        for (offered, capped) in [(2, 2), (4, 4), (100, 4), (u64::MAX, 4)] {
            let remaining = Donation { retain: offered, depth: 4, ..Donation::ALL.cpu(5 * MS).frames(64) };
            let known = Offer::Known(Offered { remaining, now_ns: 1000 });
            let (_, recorder) = served(mode, &form(&note), known)?;
            if recorder.retains != Some(capped) {
                return Err(format!("{mode:?}: {offered} offered, {:?} retained", recorder.retains).into());
            }
        }
    }
    Ok(())
}
