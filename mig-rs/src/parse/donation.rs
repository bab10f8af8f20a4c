//! What a call may spend: `DONATION (...)` and `DONATION_DEFAULT (...)` of `<donation.defs>`.

use super::{Outcome, Parser, lower};
use crate::ast::{Ceiling, Resource, Routine};
use crate::lex::Kind;
use crate::source::Span;

/// Units of time, in ns.
const TIMES: [(&str, u64); 4] = [("ns", 1), ("us", 1_000), ("ms", 1_000_000), ("s", 1_000_000_000)];
/// Units of memory, in bytes.
const SIZES: [(&str, u64); 3] = [("kib", 1 << 10), ("mib", 1 << 20), ("gib", 1 << 30)];

impl Parser<'_> {
    /// Behind the word `donation`: the ceilings, and the routine that they are for.
    pub(super) fn donated_routine(&mut self, start: Span, doc: Option<String>) -> Outcome<Routine> {
        let donation = self.ceilings()?;
        let own = self.peek().and_then(|t| t.doc.as_deref()).map(str::to_string);
        let simple = if self.accept_word("routine") {
            false
        } else if self.accept_word("simpleroutine") {
            true
        } else {
            return self.fail(
                format!("expected the routine that this DONATION is for, found {}", self.found()),
                "put DONATION (...) right before a routine, without `;`; for all routines write DONATION_DEFAULT (...)",
            );
        };
        self.routine(start, simple, own.or(doc), Some(donation))
    }

    /// `( ceiling {, ceiling} )`
    pub(super) fn ceilings(&mut self) -> Outcome<Vec<Ceiling>> {
        self.expect('(', "DONATION")?;
        let mut list = Vec::new();
        loop {
            list.push(self.ceiling()?);
            if self.accept(')') {
                return Ok(list);
            }
            self.expect(',', "a ceiling of a donation")?;
        }
    }

    fn ceiling(&mut self) -> Outcome<Ceiling> {
        let span = self.here();
        let found = self.peek().filter(|t| t.kind == Kind::Ident).map(lower);
        let Some(resource) = Resource::ALL.into_iter().find(|r| found.as_deref() == Some(r.word())) else {
            return self.fail(
                format!("expected a resource, found {}", self.found()),
                "resources are cpu, frames, io, depth, deadline, accept, retain",
            );
        };
        self.at += 1;
        let mut ceiling = Ceiling { resource, default: None, least: None, most: None, span };
        if self.accept_word("all") {
            ceiling.default = Some(u64::MAX);
        } else if !self.is_word("at") {
            ceiling.default = Some(self.amount(resource)?);
        }
        while self.accept_word("at") {
            let place = self.here();
            let bound = if self.accept_word("least") {
                &mut ceiling.least
            } else if self.accept_word("most") {
                &mut ceiling.most
            } else {
                return self.fail(
                    format!("expected `least` or `most` after `at`, found {}", self.found()),
                    "write `cpu 5 ms at least 1 ms at most 20 ms`",
                );
            };
            if bound.is_some() {
                return Err(Box::new(
                    crate::source::Diagnostic::error(
                        place,
                        format!("two bounds of one kind for {}", resource.word()),
                    )
                    .help("keep one of them"),
                ));
            }
            *bound = Some(self.amount(resource)?);
        }
        ceiling.span = span.to(self.tokens[self.at - 1].place());
        Ok(ceiling)
    }

    fn is_word(&self, word: &str) -> bool {
        self.peek().is_some_and(|t| t.kind == Kind::Ident && t.text.eq_ignore_ascii_case(word))
    }

    /// A number with its unit, in the unit of the resource.
    fn amount(&mut self, resource: Resource) -> Outcome<u64> {
        let place = self.here();
        // `5ms` is one token.
        let glued = self.peek().filter(|t| t.kind == Kind::Number).and_then(|t| {
            let digits = t.text.find(|c: char| !c.is_ascii_digit())?;
            Some((t.text[..digits].parse::<u64>().ok()?, t.text[digits..].to_ascii_lowercase()))
        });
        let (number, unit) = match glued {
            Some(glued) => {
                self.at += 1;
                glued
            }
            None => {
                let number = self.sum()?;
                let Ok(number) = u64::try_from(number) else {
                    return Err(Box::new(
                        crate::source::Diagnostic::error(place, "an amount cannot be negative")
                            .help("use 0 or more"),
                    ));
                };
                let unit = match self.peek() {
                    Some(t) if t.kind == Kind::Ident && !self.is_word("at") => {
                        self.at += 1;
                        lower(t)
                    }
                    _ => String::new(),
                };
                (number, unit)
            }
        };
        let of = |table: &[(&str, u64)]| table.iter().find(|(name, _)| *name == unit).map(|(_, n)| *n);
        let pages = |bytes: Option<u64>, page: u64| {
            bytes.and_then(|b| number.checked_mul(b)).map(|b| b.div_ceil(page))
        };
        let (amount, units) = match resource {
            Resource::Cpu | Resource::Deadline => {
                (of(&TIMES).and_then(|n| number.checked_mul(n)), "times have a unit: ns, us, ms or s")
            }
            Resource::Depth => {
                (Some(number).filter(|_| unit.is_empty()), "a depth is a number of calls, without unit")
            }
            Resource::Io if unit.is_empty() => (Some(number), ""),
            Resource::Io => (pages(of(&SIZES), 512), "I/O is in units of 512 bytes, or in KiB, MiB, GiB"),
            _ if unit.is_empty() => (Some(number), ""),
            _ => (pages(of(&SIZES), 4096), "memory is in frames of 4096 bytes, or in KiB, MiB, GiB"),
        };
        amount.ok_or_else(|| {
            let message = if unit.is_empty() {
                format!("this amount of {} has no unit, or is too large", resource.word())
            } else {
                format!("{} is not measured in `{unit}`, or the amount is too large", resource.word())
            };
            Box::new(crate::source::Diagnostic::error(place, message).help(units))
        })
    }
}
