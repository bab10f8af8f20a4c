//! Offers against what an interface says: defaults, bounds, and what may be retained.
//!
//! A routine whose `.defs` speaks of donations has its [`Bounds`] as a constant in the generated module `offer`. An offer that
//! is a constant is checked when the program is compiled, with [`offer!`](crate::offer) or [`Bounds::check`] in a constant:
//!
//! ```
//! use mig_runtime::{Bounds, Donation, offer};
//! const READ: Bounds = Bounds {
//!     default: Donation::ALL.cpu(1_000_000),
//!     least: Bounds::NOTHING.cpu(50_000),
//!     most: Donation::ALL.cpu(20_000_000),
//! };
//! let offer: &Donation = offer!(READ, cpu_ns: 5_000_000, frames: 16);
//! assert_eq!((offer.cpu_ns, offer.frames), (5_000_000, 16));
//! assert_eq!(offer!(READ).cpu_ns, 1_000_000);
//! ```
//!
//! More than the interface allows does not compile:
//!
//! ```compile_fail,E0080
//! # use mig_runtime::{Bounds, Donation, offer};
//! # const READ: Bounds = Bounds { default: Donation::ALL, least: Bounds::NOTHING.cpu(50_000), most: Donation::ALL.cpu(20_000_000) };
//! let offer = offer!(READ, cpu_ns: 20_000_001);
//! ```
//!
//! and neither does less than it needs:
//!
//! ```compile_fail,E0080
//! # use mig_runtime::{Bounds, Donation, offer};
//! # const READ: Bounds = Bounds { default: Donation::ALL, least: Bounds::NOTHING.cpu(50_000), most: Donation::ALL.cpu(20_000_000) };
//! const OFFER: Donation = READ.check(Donation::ALL.cpu(49_999));
//! ```
//!
//! A deadline is a point in time, which no constant knows. [`offer_at!`](crate::offer_at) takes it as a time from now, and the offer is constant but for
//! that now:
//!
//! ```
//! # use mig_runtime::{Bounds, Donation, offer_at};
//! # const READ: Bounds = Bounds { default: Donation::ALL, least: Bounds::NOTHING, most: Donation { deadline_ns: 2_000, ..Donation::ALL } };
//! let now_ns = 500;
//! assert_eq!(offer_at!(now_ns, READ, deadline_ns: 2_000).deadline_ns, 2_500);
//! ```
//!
//! ```compile_fail,E0080
//! # use mig_runtime::{Bounds, Donation, offer_at};
//! # const READ: Bounds = Bounds { default: Donation::ALL, least: Bounds::NOTHING, most: Donation { deadline_ns: 2_000, ..Donation::ALL } };
//! let offer = offer_at!(500, READ, deadline_ns: 2_001);
//! ```
//!
//! An offer made at run time is checked by the server's side, before the method runs, if the server knows what was offered.

use drover_abi::returns::DROVER_OFFER_REFUSED;

use crate::Donation;

/// What an interface says of the offers to one routine. Units are those of [`Donation`], but `deadline_ns` is a time from now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// What is offered if the caller has no better idea.
    pub default: Donation,
    /// Less is refused.
    pub least: Donation,
    /// More is refused. `u64::MAX`: no bound.
    pub most: Donation,
}

/// What the way from the caller to the method may have used of an offer: a server does not hold it against the caller.
const WAY_CPU_NS: u64 = 100_000;
/// As [`WAY_CPU_NS`], in frames: the request, the stack and their page tables.
const WAY_FRAMES: u64 = 8;

impl Bounds {
    /// Nothing is offered.
    pub const NOTHING: Donation =
        Donation { cpu_ns: 0, frames: 0, io: 0, deadline_ns: 0, depth: 0, accept: 0, retain: 0, reserved: 0 };

    /// The default offer. Its deadline, which is relative, is left out: see [`Bounds::default_at`].
    #[must_use]
    pub const fn default_offer(&self) -> Donation {
        self.default.deadline(u64::MAX)
    }

    /// The default offer of a call that is made `now_ns` after boot.
    #[must_use]
    pub const fn default_at(&self, now_ns: u64) -> Donation {
        Self::starting(self.default, now_ns)
    }

    /// The offer of a call that is made `now_ns` after boot, from one whose deadline is a time from then; `u64::MAX` is none.
    #[must_use]
    pub const fn starting(offer: Donation, now_ns: u64) -> Donation {
        offer.deadline(now_ns.saturating_add(offer.deadline_ns))
    }

    /// `offer`, if it is within the bounds; for constants. `u64::MAX` ("all that remains") is within all upper bounds:
    /// the stub offers what the interface allows instead. Of the deadline it is only checked that there is one if there must be,
    /// because a constant cannot say when.
    ///
    /// # Panics
    /// If it is not: in a constant, this is an error when the program is compiled.
    #[must_use]
    pub const fn check(&self, offer: Donation) -> Donation {
        let (least, most) = (&self.least, &self.most);
        assert!(offer.cpu_ns >= least.cpu_ns, "the offer of cpu is below what the interface needs");
        assert!(within(offer.cpu_ns, most.cpu_ns), "the offer of cpu is above what the interface allows");
        assert!(offer.frames >= least.frames, "the offer of frames is below what the interface needs");
        assert!(within(offer.frames, most.frames), "the offer of frames is above what the interface allows");
        assert!(offer.io >= least.io, "the offer of io is below what the interface needs");
        assert!(within(offer.io, most.io), "the offer of io is above what the interface allows");
        assert!(offer.depth >= least.depth, "the offer of depth is below what the interface needs");
        assert!(within(offer.depth, most.depth), "the offer of depth is above what the interface allows");
        assert!(offer.accept >= least.accept, "the offer of accept is below what the interface needs");
        assert!(within(offer.accept, most.accept), "the offer of accept is above what the interface allows");
        assert!(offer.retain >= least.retain, "the offer of retain is below what the interface needs");
        assert!(within(offer.retain, most.retain), "the offer of retain is above what the interface allows");
        assert!(
            most.deadline_ns == u64::MAX || offer.deadline_ns != u64::MAX,
            "the interface wants a deadline"
        );
        offer
    }

    /// As [`Bounds::check`], of an offer whose deadline is a time from when the call will be made.
    ///
    /// # Panics
    /// As for [`Bounds::check`].
    #[must_use]
    pub const fn check_relative(&self, offer: Donation) -> Donation {
        let (least, most) = (self.least.deadline_ns, self.most.deadline_ns);
        assert!(offer.deadline_ns >= least, "the deadline is nearer than what the interface needs");
        assert!(offer.deadline_ns <= most, "the deadline is farther than what the interface allows");
        self.check(offer)
    }

    /// Whether a server must know the offer to judge it. What may be retained is capped, not judged.
    #[must_use]
    #[inline]
    pub const fn judges(&self) -> bool {
        let (least, most) = (&self.least, &self.most);
        least.cpu_ns | least.frames | least.io | least.deadline_ns | least.depth | least.accept | least.retain
            != 0
            || most.cpu_ns & most.frames & most.io & most.deadline_ns & most.depth & most.accept != u64::MAX
    }

    /// Whether a server serves a call with this offer. "All that remains" is above every upper bound but that of what may be retained, which is
    /// capped: stubs offer what the interface allows instead.
    #[must_use]
    pub const fn admits(&self, offered: &Offered) -> bool {
        let (least, most, left) = (&self.least, &self.most, &offered.remaining);
        let time = match left.deadline_ns {
            u64::MAX => u64::MAX,
            at => at.saturating_sub(offered.now_ns),
        };
        left.cpu_ns.saturating_add(WAY_CPU_NS) >= least.cpu_ns
            && left.frames.saturating_add(WAY_FRAMES) >= least.frames
            && left.io >= least.io
            && left.depth >= least.depth
            && left.accept >= least.accept
            && left.retain >= least.retain
            && time.saturating_add(WAY_CPU_NS) >= least.deadline_ns
            && left.cpu_ns <= most.cpu_ns
            && left.frames <= most.frames
            && left.io <= most.io
            && left.depth <= most.depth
            && left.accept <= most.accept
            && time <= most.deadline_ns
    }

    /// The server's half of the check, and what the server may retain. For generated code: what a method may retain comes as its argument.
    ///
    /// # Errors
    /// `DROVER_OFFER_REFUSED`: the offer is known and out of bounds.
    #[doc(hidden)]
    #[inline(always)]
    pub fn admit(&self, offer: &Offer) -> Result<Retain, i32> {
        if self.judges() {
            return self.judge(offer);
        }
        let most = self.most.retain;
        let frames = match offer {
            Offer::Known(offered) => most.min(offered.remaining.retain),
            _ => most,
        };
        Ok(Retain { frames })
    }

    /// [`Bounds::admit`] where there is something to judge.
    #[inline(never)]
    fn judge(&self, offer: &Offer) -> Result<Retain, i32> {
        let offered = match *offer {
            Offer::Known(offered) => Some(offered),
            Offer::Ask(ask) => ask(),
            Offer::Unknown => None,
        };
        let Some(offered) = offered else { return Ok(Retain { frames: self.most.retain }) };
        if !self.admits(&offered) {
            return Err(DROVER_OFFER_REFUSED);
        }
        Ok(Retain { frames: self.most.retain.min(offered.remaining.retain) })
    }
}

/// A constant offer of "all that remains" is within every bound.
const fn within(offered: u64, most: u64) -> bool {
    offered <= most || offered == u64::MAX
}

/// A constant offer to a routine: the interface's default with the given fields changed, checked when the program is
/// compiled. `offer!(fs::offer::DIR_LOOKUP, cpu_ns: 5_000_000, frames: 16)` is a `&'static Donation`.
#[macro_export]
macro_rules! offer {
    ($bounds:expr $(, $field:ident : $value:expr)* $(,)?) => {
        const {
            #[allow(clippy::needless_update, reason = "all fields may be given")]
            &$bounds.check($crate::Donation { $($field: $value,)* ..$bounds.default_offer() })
        }
    };
}

/// As [`offer!`](crate::offer), for a call that is made `now` (ns since boot): `deadline_ns` is a time from then, and checked like the other fields.
/// `offer_at!(now, fs::offer::DIR_LOOKUP, deadline_ns: 5_000_000, frames: 16)` is a [`Donation`].
#[macro_export]
macro_rules! offer_at {
    ($now:expr, $bounds:expr $(, $field:ident : $value:expr)* $(,)?) => {{
        #[allow(clippy::needless_update, reason = "all fields may be given")]
        const OFFER: $crate::Donation =
            $bounds.check_relative($crate::Donation { $($field: $value,)* ..$bounds.default });
        $crate::Bounds::starting(OFFER, $now)
    }};
}

/// What remains of the offer of the call that is being served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offered {
    /// What remains of each ceiling.
    pub remaining: Donation,
    /// Now, ns since boot.
    pub now_ns: u64,
}

/// How a server learns the offer of the call that it serves.
#[derive(Clone, Copy, Debug, Default)]
pub enum Offer {
    /// Not at all: the request came by a message port, or its receiver does not care.
    #[default]
    Unknown,
    /// It has been told.
    Known(Offered),
    /// By asking, which is done only if the interface has bounds.
    Ask(fn() -> Option<Offered>),
}

/// The right to retain so much of the caller's after the reply, in a session. Only methods whose interface says `retain` get one.
#[derive(Debug, PartialEq, Eq)]
pub struct Retain {
    frames: u64,
}

impl Retain {
    /// Frames: no more than the interface allows, and than the offer says if it was judged. An offer is not asked for because of this alone; what it says holds in
    /// any case, because the kernel makes no larger session.
    #[must_use]
    pub const fn frames(&self) -> u64 {
        self.frames
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: Bounds = Bounds {
        default: Donation { deadline_ns: 500, ..Donation::ALL.cpu(1_000_000) },
        least: Bounds::NOTHING.cpu(500_000).frames(20),
        most: Donation { retain: 4, deadline_ns: 1_000_000, ..Donation::ALL.cpu(2_000_000) },
    };

    fn offered(cpu: u64, frames: u64, deadline: u64) -> Offered {
        Offered { remaining: Donation::ALL.cpu(cpu).frames(frames).deadline(deadline), now_ns: 1000 }
    }

    #[test]
    fn servers_refuse_what_is_out_of_bounds() {
        for (offer, fine) in [
            (offered(1_000_000, 20, 2000), true),
            (offered(400_000, 12, 2000), true),
            (offered(399_999, 12, 2000), false),
            (offered(1_000_000, 11, 2000), false),
            (offered(2_000_001, 20, 2000), false),
            (offered(u64::MAX, 20, 2000), false),
            (offered(1_000_000, 20, 1_001_000), true),
            (offered(1_000_000, 20, 1_001_001), false),
            (offered(1_000_000, 20, u64::MAX), false),
        ] {
            assert_eq!(BOUNDS.admits(&offer), fine, "{offer:?}");
            let known = BOUNDS.admit(&Offer::Known(offer));
            assert_eq!(known, if fine { Ok(Retain { frames: 4 }) } else { Err(DROVER_OFFER_REFUSED) });
        }
    }

    #[test]
    fn too_little_to_retain_is_refused_and_too_much_is_capped() {
        let bounds = Bounds {
            default: Donation::ALL,
            least: Donation { retain: 2, ..Bounds::NOTHING },
            most: Donation { retain: 4, ..Donation::ALL },
        };
        let admitted = |retain| {
            let remaining = Donation { retain, ..Donation::ALL };
            bounds.admit(&Offer::Known(Offered { remaining, now_ns: 0 })).map(|kept| kept.frames())
        };
        assert_eq!([1, 2, 9].map(admitted), [Err(DROVER_OFFER_REFUSED), Ok(2), Ok(4)]);
    }

    #[test]
    fn an_offer_is_asked_for_only_if_it_is_judged() {
        assert!(BOUNDS.judges());
        let only_retain = Bounds {
            default: Donation::ALL,
            least: Bounds::NOTHING,
            most: Donation { retain: 3, ..Donation::ALL },
        };
        assert!(!only_retain.judges());
        let ask = Offer::Ask(|| panic!("asked"));
        assert_eq!(only_retain.admit(&ask).map(|r| r.frames()), Ok(3));
        assert_eq!(BOUNDS.admit(&Offer::Ask(|| None)).map(|r| r.frames()), Ok(4));
        assert!(BOUNDS.admit(&Offer::Ask(|| Some(offered(1, 0, 0)))).is_err());
    }

    #[test]
    fn defaults_are_relative_to_now() {
        assert_eq!(BOUNDS.default_at(1000).deadline_ns, 1500);
        assert_eq!(BOUNDS.default_offer().deadline_ns, u64::MAX);
        assert_eq!(Bounds::starting(Donation::ALL, 1000).deadline_ns, u64::MAX);
        let offer = crate::offer_at!(1000, BOUNDS, deadline_ns: 1_000_000, frames: 30);
        assert_eq!((offer.deadline_ns, offer.frames, offer.cpu_ns), (1_001_000, 30, 1_000_000));
    }

    #[test]
    fn constant_offers_have_bounds_in_every_resource() {
        const TWO: Donation = Donation {
            cpu_ns: 2,
            frames: 2,
            io: 2,
            deadline_ns: 0,
            depth: 2,
            accept: 2,
            retain: 2,
            reserved: 0,
        };
        const SIX: Donation = Donation {
            cpu_ns: 6,
            frames: 6,
            io: 6,
            deadline_ns: u64::MAX,
            depth: 6,
            accept: 6,
            retain: 6,
            reserved: 0,
        };
        const ALL: Bounds = Bounds { default: Donation { deadline_ns: 9, ..SIX }, least: TWO, most: SIX };
        let fields: [fn(&mut Donation) -> &mut u64; 6] = [
            |d| &mut d.cpu_ns,
            |d| &mut d.frames,
            |d| &mut d.io,
            |d| &mut d.depth,
            |d| &mut d.accept,
            |d| &mut d.retain,
        ];
        for field in fields {
            let refused = |value| {
                let mut offer = ALL.default;
                *field(&mut offer) = value;
                std::panic::catch_unwind(|| ALL.check(offer)).is_err()
            };
            assert_eq!([1, 2, 6, 7, u64::MAX].map(refused), [true, false, false, true, false]);
        }
    }

    #[test]
    fn deadlines_of_constant_offers_have_bounds() {
        const LONG: Bounds = Bounds { least: Bounds::NOTHING.deadline(100), ..BOUNDS };
        let refused = |relative| {
            let offer = Donation { frames: 20, ..LONG.default }.deadline(relative);
            std::panic::catch_unwind(|| LONG.check_relative(offer)).is_err()
        };
        assert_eq!([99, 100, 1_000_000, 1_000_001, u64::MAX].map(refused), [true, false, false, true, true]);
    }
}
