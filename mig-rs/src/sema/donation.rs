//! Donations: defaults and bounds of the subsystem and of the routine become one [`Donation`] per routine.

use super::Checker;
use crate::ast::{self, Flag, Resource};
use crate::model::{Argument, Ceiling, Dealloc, Donation, Placement, Role, Transfer, Wire};
use crate::source::{Diagnostic, Span};

impl Checker {
    /// Lays `written` over what holds so far. A resource that is named is named anew, bounds and all.
    pub(super) fn donation(&mut self, base: Option<Donation>, written: &[ast::Ceiling]) -> Donation {
        let mut donation = base.unwrap_or_else(|| {
            let mut free = Donation([Ceiling::FREE; 7]);
            // Nothing may be retained unless the interface says so.
            set(&mut free, Resource::Retain, Ceiling { default: 0, least: 0, most: 0 });
            free
        });
        let mut seen: Vec<(Resource, Span)> = Vec::new();
        for ceiling in written {
            let word = ceiling.resource.word();
            if let Some((_, first)) = seen.iter().find(|(r, _)| *r == ceiling.resource) {
                self.diagnostics.push(
                    Diagnostic::error(ceiling.span, format!("{word} is given twice"))
                        .related(*first, "first here")
                        .help("keep one of them"),
                );
                continue;
            }
            seen.push((ceiling.resource, ceiling.span));
            // What may be retained is at most what is said, whichever way it is said.
            let retain = (ceiling.resource == Resource::Retain).then_some(ceiling.default).flatten();
            let most = ceiling.most.or(retain).unwrap_or(u64::MAX);
            let default = ceiling.default.unwrap_or(most);
            let resolved = Ceiling { default, least: ceiling.least.unwrap_or(0), most };
            if resolved.least > resolved.most || default < resolved.least || default > resolved.most {
                self.diagnostics.push(
                    Diagnostic::error(ceiling.span, format!("these bounds of {word} contradict each other"))
                        .note("at least <= default <= at most; without a default it is what `at most` says, or all")
                        .help("change the default or a bound"),
                );
                continue;
            }
            set(&mut donation, ceiling.resource, resolved);
        }
        donation
    }

    /// What a routine's own words must make sense with.
    pub(super) fn check_donation(&mut self, routine: &ast::Routine, arguments: &[Argument]) {
        let Some(written) = &routine.donation else { return };
        let memory_returns =
            arguments.iter().any(|a| a.role.in_reply() && a.wire.placement != Placement::Inline);
        if let Some(accept) = written.iter().find(|c| c.resource == Resource::Accept)
            && accept.default.or(accept.most) != Some(0)
            && !memory_returns
        {
            self.diagnostics.push(
                Diagnostic::error(
                    accept.span,
                    format!("routine {} returns no memory that could be a gift", routine.name.text),
                )
                .note("accept bounds the frames that come with out-of-line memory in the reply")
                .help("drop `accept`, or return an `array[]` or `^` argument"),
            );
        }
    }

    /// `COPY`, `LOAN`, `GIFT`; at most one of them.
    pub(super) fn transfer(
        &mut self,
        flag: Flag,
        place: Span,
        role: Role,
        wire: &mut Wire,
        so_far: &mut Transfer,
    ) {
        let transfer = match flag {
            Flag::Copy => Transfer::Copy,
            Flag::Loan => Transfer::Loan,
            _ => Transfer::Gift,
        };
        if *so_far != Transfer::Unsaid {
            self.diagnostics.push(
                Diagnostic::error(place, "memory crosses in one way only")
                    .help("keep one of COPY, LOAN and GIFT"),
            );
        }
        *so_far = transfer;
        if wire.placement == Placement::Inline {
            self.diagnostics.push(
                Diagnostic::error(place, "COPY, LOAN or GIFT on data that never go out of line")
                    .note("data in the message are always copied")
                    .help("drop the flag, or make the type `array[]` or `^`"),
            );
        }
        if transfer == Transfer::Loan && (role != Role::In || wire.carries_rights()) {
            self.diagnostics.push(
                Diagnostic::error(place, "a loan is memory that goes in and ends at the reply")
                    .help("use COPY or GIFT for what comes out, and for rights"),
            );
        }
        wire.dealloc = if transfer == Transfer::Gift { Dealloc::Yes } else { Dealloc::No };
    }
}

fn set(donation: &mut Donation, resource: Resource, ceiling: Ceiling) {
    if let Some(at) = Resource::ALL.iter().position(|r| *r == resource) {
        donation.0[at] = ceiling;
    }
}
