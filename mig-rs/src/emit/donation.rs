//! What interfaces say of donations: constants with defaults and bounds, and the words that tell people.

use std::fmt::Write as _;

use super::rust::shout;
use crate::ast::Resource;
use crate::model::{Ceiling, Donation, Routine, Subsystem, Transfer};

/// The name of the constant with a routine's bounds.
pub(super) fn bounds(routine: &Routine) -> String {
    format!("offer::{}", shout(&routine.name))
}

/// The module `offer`.
pub(super) fn offers(out: &mut String, subsystem: &Subsystem) {
    if subsystem.routines.iter().all(|r| r.donation.is_none()) {
        return;
    }
    out.push_str(
        "/// Defaults and bounds of what calls may spend. A constant offer is checked when the program is compiled: `mig_runtime::offer!(offer::ROUTINE, cpu_ns: 5_000_000)`.\n\
         pub mod offer {\nuse mig_runtime::{Bounds, Donation};\n",
    );
    let mut written: Vec<(&Donation, String)> = Vec::new();
    for routine in &subsystem.routines {
        let Some(donation) = &routine.donation else { continue };
        let name = shout(&routine.name);
        let _ = writeln!(out, "#[doc = {:?}]", format!(" `{}`: {}", routine.name, words(donation)));
        let _ = write!(out, "pub const {name}: Bounds = ");
        if let Some((_, same)) = written.iter().find(|(before, _)| *before == donation) {
            let _ = writeln!(out, "{same};");
            continue;
        }
        let _ = writeln!(
            out,
            "Bounds {{ default: {}, least: {}, most: {} }};",
            record(donation, |c| c.default),
            record(donation, |c| c.least),
            record(donation, |c| c.most),
        );
        written.push((donation, name));
    }
    out.push_str("}\n");
}

/// The statements by which a client offers what the interface allows instead of "all that remains"; and to retain never more than that, as this is capped, not judged.
pub(super) fn attenuate(out: &mut String, routine: &Routine) {
    let Some(donation) = &routine.donation else { return };
    let bounded = Resource::ALL
        .iter()
        .zip(&donation.0)
        // An absolute deadline cannot be made from a relative one without a clock.
        .filter(|(resource, ceiling)| **resource != Resource::Deadline && ceiling.most != u64::MAX);
    let mut statements = String::new();
    for (resource, _) in bounded {
        let (bounds, field) = (bounds(routine), field(*resource));
        let over = match resource {
            Resource::Retain => format!("> {bounds}.most.retain"),
            _ => "== u64::MAX".into(),
        };
        let _ =
            write!(statements, "if offered_.{field} {over} {{ offered_.{field} = {bounds}.most.{field}; }}");
    }
    if !statements.is_empty() {
        let _ = writeln!(out, "let mut offered_ = *donation;\n{statements}\nlet donation = &offered_;");
    }
}

/// A `Donation` of one of the three columns, named fields where it is not what most are.
fn record(donation: &Donation, column: impl Fn(&Ceiling) -> u64) -> String {
    let free = column(&Ceiling::FREE);
    let mut fields = String::new();
    for (resource, ceiling) in Resource::ALL.iter().zip(&donation.0) {
        let value = column(ceiling);
        if value != free {
            let _ = write!(fields, "{}: {}, ", field(*resource), amount(value));
        }
    }
    let rest = if free == 0 { "Bounds::NOTHING" } else { "Donation::ALL" };
    if fields.is_empty() { rest.into() } else { format!("Donation {{ {fields} ..{rest} }}") }
}

fn field(resource: Resource) -> &'static str {
    match resource {
        Resource::Cpu => "cpu_ns",
        Resource::Deadline => "deadline_ns",
        other => other.word(),
    }
}

fn amount(value: u64) -> String {
    if value == u64::MAX {
        return "u64::MAX".into();
    }
    let digits = value.to_string();
    let mut text = String::new();
    for (i, c) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push('_');
        }
        text.push(c);
    }
    text
}

/// `5 ms`, `16 frames`.
fn spoken(resource: Resource, value: u64) -> String {
    if value == u64::MAX {
        return "all that remains".into();
    }
    match resource {
        Resource::Cpu | Resource::Deadline => {
            let units = [(1_000_000_000, "s"), (1_000_000, "ms"), (1_000, "us"), (1, "ns")];
            let (unit, name) =
                units.into_iter().find(|(n, _)| value != 0 && value.is_multiple_of(*n)).unwrap_or((1, "ns"));
            format!("{} {name}", value / unit)
        }
        Resource::Accept | Resource::Retain => format!("{value} frames"),
        Resource::Io => format!("{value} units of 512 bytes"),
        Resource::Frames | Resource::Depth => value.to_string(),
    }
}

/// What an interface says of offers, in a sentence.
pub(crate) fn words(donation: &Donation) -> String {
    let mut parts = Vec::new();
    for (resource, ceiling) in Resource::ALL.iter().zip(&donation.0) {
        if *ceiling == Ceiling::FREE || *resource == Resource::Retain {
            continue;
        }
        let mut part = format!("{} {}", resource.word(), spoken(*resource, ceiling.default));
        if ceiling.least != 0 {
            let _ = write!(part, ", at least {}", spoken(*resource, ceiling.least));
        }
        if ceiling.most != u64::MAX {
            let _ = write!(part, ", at most {}", spoken(*resource, ceiling.most));
        }
        parts.push(part);
    }
    let retain = match donation.retains() {
        0 => "nothing is retained".to_string(),
        u64::MAX => "the server may retain what the offer allows".into(),
        n => format!("the server may retain {}", spoken(Resource::Retain, n)),
    };
    parts.push(retain);
    parts.join("; ") + "."
}

/// Who pays for a call.
pub(crate) fn payer_words(routine: &Routine) -> String {
    let mut text = String::from("The caller's account pays, up to the offer.");
    let of = |transfer: Transfer| -> Vec<&str> {
        routine.arguments.iter().filter(|a| a.transfer == transfer).map(|a| a.name.as_str()).collect()
    };
    let (lent, given) = (of(Transfer::Loan), of(Transfer::Gift));
    if !lent.is_empty() {
        let _ = write!(text, " Lent until the reply: {}.", lent.join(", "));
    }
    if !given.is_empty() {
        let _ = write!(text, " Given, with the charge for the memory: {}.", given.join(", "));
    }
    text
}

/// Who pays for a call, for its documentation.
pub(super) fn payer(routine: &Routine) -> String {
    let who = payer_words(routine);
    match &routine.donation {
        Some(donation) => format!("{who} Offers: {} See `{}`.", words(donation), bounds(routine)),
        None => who,
    }
}
