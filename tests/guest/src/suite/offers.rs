//! Offers against what an interface says of them: a real server refuses what is out of bounds before its method runs.

use guest::peer::Peer;
use guest::trial::{self, offer};
use libhurd::abi::returns::{DROVER_OFFER_REFUSED, KERN_NO_ACCESS, KERN_RESOURCE_SHORTAGE};
use libhurd::clock::now;
use libhurd::mig::{Donation, PortName, RpcError, offer, offer_at};
use libhurd::{ALL, Mach, world};

use super::{Bench, Test, Verdict, fails, must, same};

pub(crate) const TESTS: &[(&str, Test)] = &[
    ("bounds_of_each_resource", bounds_of_each_resource),
    ("bounds_of_the_deadline", bounds_of_the_deadline),
    ("all_that_remains_is_what_is_allowed", all_that_remains),
    ("constant_offers", constant_offers),
    ("what_may_be_retained_is_capped", retained_is_capped),
    ("nothing_is_retained_unsaid", nothing_is_retained_unsaid),
    ("the_nearer_deadline_ends_the_call", super::timing::nearer_deadline),
];

/// Where nobody offers anything, nobody is refused.
pub(crate) const WITHOUT: &[(&str, Test)] = &[("nothing_is_judged", nothing_is_judged)];

/// A routine that has bounds, and does nothing.
type Routine = fn(PortName, &Donation) -> Result<(), RpcError>;

/// How many methods have run.
fn runs(server: &Peer) -> Result<i32, alloc::string::String> {
    let counted = trial::trial_count(&Mach, server.control.name(), ALL).map_err(i32::from);
    Ok(must("trial_count", counted)?.count)
}

/// Makes the offers; whether each is refused, the method not having run, or taken, it having run.
fn judged(server: &Peer, what: &str, call: Routine, offers: &[(Donation, bool)]) -> Verdict {
    for (offer, fine) in offers {
        let before = runs(server)?;
        let result = call(server.control.name(), offer).map_err(i32::from);
        if *fine {
            must(&alloc::format!("{what}: {offer:?}"), result)?;
        } else {
            fails(&alloc::format!("{what}: {offer:?}"), result, DROVER_OFFER_REFUSED)?;
        }
        same(&alloc::format!("{what}: runs for {offer:?}"), runs(server)? - before, i32::from(*fine))?;
    }
    Ok(())
}

/// Each of them just inside and just outside of its bounds, with everything else beyond doubt.
fn bounds_of_each_resource(bench: &Bench) -> Verdict {
    const ALL: Donation = Donation::ALL;
    /// What the way to the method may take of an offer is not held against the caller.
    const WAY_NS: u64 = 200_000;
    const MS: u64 = 1_000_000;
    let server = bench.server()?;
    let around = |least: u64, most: u64, way: u64, of: fn(u64) -> Donation| {
        [(of(least), true), (of(least - 1 - way), false), (of(most), true), (of(most + 1 + way), false)]
    };
    bench.exact(|| {
        judged(
            &server,
            "cpu",
            |to, offer| trial::trial_cpu(&Mach, to, offer),
            &around(10 * MS, 40 * MS, WAY_NS + MS, |n| ALL.cpu(n)),
        )?;
        // The unwind reserve and the window are part of the offer.
        judged(
            &server,
            "frames",
            |to, offer| trial::trial_frames(&Mach, to, offer),
            &around(64, 128, 16, |n| ALL.frames(n)),
        )?;
        judged(
            &server,
            "io",
            |to, offer| trial::trial_io(&Mach, to, offer),
            &around(4, 16, 0, |n| Donation { io: n, ..ALL }),
        )?;
        judged(
            &server,
            "depth",
            |to, offer| trial::trial_depth(&Mach, to, offer),
            &around(2, 4, 0, |n| ALL.depth(n)),
        )?;
        judged(
            &server,
            "accept",
            |to, offer| trial::trial_accept(&Mach, to, offer).map(drop),
            &around(2, 4, 0, |n| Donation { accept: n, ..ALL }),
        )
    })?;
    must("the server's end", server.end())
}

/// A deadline is a time from now.
fn bounds_of_the_deadline(bench: &Bench) -> Verdict {
    const MS: u64 = 1_000_000;
    let server = bench.server()?;
    bench.exact(|| {
        for (relative, fine) in
            [(101 * MS, true), (90 * MS, false), (1000 * MS, true), (1020 * MS, false), (u64::MAX, false)]
        {
            let call: Routine = |to, offer| {
                // From when the call is made, not from when the count was asked for.
                let at = now().saturating_add(offer.deadline_ns);
                trial::trial_deadline(&Mach, to, &offer.deadline(at))
            };
            judged(&server, "deadline", call, &[(Donation::ALL.deadline(relative), fine)])?;
        }
        Ok(())
    })?;
    must("the server's end", server.end())
}

/// Who offers all that remains offers what the interface allows.
fn all_that_remains(bench: &Bench) -> Verdict {
    let server = bench.server()?;
    let to = server.control.name();
    bench.exact(|| {
        must("cpu", trial::trial_cpu(&Mach, to, ALL).map_err(i32::from))?;
        must("frames", trial::trial_frames(&Mach, to, ALL).map_err(i32::from))?;
        must("io", trial::trial_io(&Mach, to, ALL).map_err(i32::from))?;
        must("depth", trial::trial_depth(&Mach, to, ALL).map_err(i32::from))?;
        must("accept", trial::trial_accept(&Mach, to, ALL).map_err(i32::from))?;
        Ok(())
    })?;
    must("the server's end", server.end())
}

fn constant_offers(bench: &Bench) -> Verdict {
    let server = bench.server()?;
    let to = server.control.name();
    bench.exact(|| {
        let usual = trial::trial_deadline(&Mach, to, &offer::TRIAL_DEADLINE.default_at(now()));
        must("the interface's default", usual.map_err(i32::from))?;
        let chosen = offer_at!(now(), offer::TRIAL_DEADLINE, deadline_ns: 200_000_000, frames: 64);
        must("a constant offer", trial::trial_deadline(&Mach, to, &chosen).map_err(i32::from))?;
        let frames = offer!(offer::TRIAL_FRAMES, frames: 64);
        must("a constant offer", trial::trial_frames(&Mach, to, frames).map_err(i32::from))
    })?;
    must("the server's end", server.end())
}

fn retained_is_capped(bench: &Bench) -> Verdict {
    let server = bench.server()?;
    bench.exact(|| {
        let retain = |frames: u64| {
            let offer = Donation { retain: frames, ..offer::TRIAL_RETAIN.default_offer() };
            let reply = trial::trial_retain(&Mach, server.control.name(), &offer).map_err(i32::from);
            Ok::<u64, alloc::string::String>(must("trial_retain", reply)?.frames)
        };
        same("of all that remains", retain(u64::MAX)?, 8)?;
        same("of more than is allowed", retain(100)?, 8)?;
        same("of less", retain(3)?, 3)?;
        same("of nothing", retain(0)?, 0)
    })?;
    must("the server's end", server.end())
}

/// A server that takes what nobody allowed gets nothing: not in the call, and not later with what it knows from the call.
fn nothing_is_retained_unsaid(bench: &Bench) -> Verdict {
    let server = bench.server()?;
    bench.exact(|| {
        let seize = |way| {
            let reply = trial::trial_seize(&Mach, server.control.name(), way, ALL).map_err(i32::from);
            Ok::<i32, alloc::string::String>(must("trial_seize", reply)?.code)
        };
        same("a session in the call", seize(0)?, KERN_RESOURCE_SHORTAGE)?;
        same("a session without a call", seize(1)?, KERN_NO_ACCESS)
    })?;
    must("the server's end", server.end())
}

/// Worlds without ceilings: an offer is not known, so it is not judged.
fn nothing_is_judged(bench: &Bench) -> Verdict {
    same("a world with ceilings", world::current().has_ceilings(), false)?;
    let server = bench.server()?;
    let little = Donation { io: 0, depth: 0, accept: 0, ..Donation::ALL.cpu(1).frames(1).deadline(1) };
    bench.exact(|| {
        judged(&server, "cpu", |to, offer| trial::trial_cpu(&Mach, to, offer), &[(little, true)])?;
        judged(&server, "depth", |to, offer| trial::trial_depth(&Mach, to, offer), &[(little, true)])?;
        judged(&server, "deadline", |to, offer| trial::trial_deadline(&Mach, to, offer), &[(little, true)])
    })?;
    must("the server's end", server.end())
}
