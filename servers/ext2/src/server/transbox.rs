//! What the file system knows about running translators: for every node that has one, or gets one, a *box*.
//!
//! ```text
//!            visit                 started
//!   (none) --------> STARTING -----------------> ACTIVE
//!      ^                 |                          |
//!      |     failed      |          died            |
//!      +-----------------+--------------------------+
//! ```
//!
//! A pure state machine: no ports, no threads, no clock. `C` is the control port. Whoever gets [`Visit::Start`] has promised to report
//! [`Boxes::started`] or [`Boxes::failed`] with its ticket; a report with an old ticket changes nothing and hands the control port back. Nothing of
//! type `C` is dropped in here: it is returned, so that the caller can release it outside of its lock.
//!
//! The table has a fixed size, and one owner of nodes can only have a part of it, so that no user's translators keep out others'.

use alloc::vec::Vec;

use libhurd::abi::returns::KERN_RESOURCE_SHORTAGE;
use libhurd::errno::EBUSY;

/// Boxes that one owner may have at a time, root excepted.
pub(super) const MAX_PER_OWNER: usize = 64;

/// See [`Boxes`].
const HASHES: usize = 256;

/// Which start is meant: the box, and the number of the start, never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ticket {
    /// Index of the box, and of the event that its waiters wait for.
    pub(super) place: usize,
    number: u64,
}

/// What a visitor finds at a node.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Visit<C> {
    /// No translator, neither active nor passive.
    Plain,
    /// This one runs.
    Active(C),
    /// Somebody is starting it.
    Wait(Ticket),
    /// The visitor is to have it started.
    Start(Ticket),
}

/// What has become of a start.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Outcome<C> {
    /// Not finished.
    Pending,
    /// It runs.
    Ready(C),
    /// It could not be started.
    Failed(i32),
    /// So much has happened since that nobody remembers: visit the node again.
    Forgotten,
}

#[derive(Debug)]
enum State<C> {
    /// Free, or with the memory of the last failure.
    Idle {
        failed: Option<i32>,
    },
    Starting,
    Active(C),
}

#[derive(Debug)]
struct Place<C> {
    /// Inode number; 0 = never used.
    node: u32,
    owner: u32,
    /// Number of the start that led to the state.
    number: u64,
    state: State<C>,
}

/// All boxes of a file system.
#[derive(Debug)]
pub(super) struct Boxes<C> {
    places: Vec<Place<C>>,
    last: u64,
    /// How many boxes that are not idle have a node of this number modulo [`HASHES`]: most nodes are nobody's, and every lookup asks.
    busy: [u16; HASHES],
}

impl<C: Clone + PartialEq> Boxes<C> {
    /// A table of `size` boxes, allocated now and never again.
    pub(super) fn new(size: usize) -> Self {
        let free = || Place { node: 0, owner: 0, number: 0, state: State::Idle { failed: None } };
        Self { places: (0..size).map(|_| free()).collect(), last: 0, busy: [0; HASHES] }
    }

    fn find(&self, node: u32) -> Option<usize> {
        self.places.iter().position(|place| place.node == node)
    }

    /// Changes what is in a place.
    fn put(&mut self, index: usize, new: Place<C>) -> Option<Place<C>> {
        let weight = |place: &Place<C>| u16::from(!matches!(place.state, State::Idle { .. }));
        let place = self.places.get_mut(index)?;
        let old = core::mem::replace(place, new);
        for (place, add) in [(&*place, true), (&old, false)] {
            if let Some(count) = self.busy.get_mut(place.node as usize % HASHES) {
                *count = if add {
                    count.saturating_add(weight(place))
                } else {
                    count.saturating_sub(weight(place))
                };
            }
        }
        Some(old)
    }

    /// Changes the state of a place, as part of the same start or of a new one.
    fn put_state(&mut self, index: usize, number: u64, state: State<C>) -> Option<State<C>> {
        let place = self.places.get(index)?;
        let new = Place { node: place.node, owner: place.owner, number, state };
        self.put(index, new).map(|old| old.state)
    }

    /// The place of a start, if its number is still the place's.
    fn at(&self, ticket: Ticket) -> Option<&Place<C>> {
        self.places.get(ticket.place).filter(|place| place.number == ticket.number)
    }

    /// A box for `node`: its own, else the free one that has been free for longest.
    fn place_for(&self, node: u32, owner: u32) -> Result<usize, i32> {
        let theirs = |place: &&Place<C>| place.owner == owner && !matches!(place.state, State::Idle { .. });
        if owner != 0 && self.places.iter().filter(theirs).count() >= MAX_PER_OWNER {
            return Err(KERN_RESOURCE_SHORTAGE);
        }
        if let Some(place) = self.find(node) {
            return Ok(place);
        }
        let free =
            self.places.iter().enumerate().filter(|(_, place)| matches!(place.state, State::Idle { .. }));
        free.min_by_key(|(_, place)| place.number).map(|(index, _)| index).ok_or(KERN_RESOURCE_SHORTAGE)
    }

    /// Somebody comes to `node` of `owner`; `passive`: it has a passive translator.
    ///
    /// # Errors
    /// `KERN_RESOURCE_SHORTAGE` when a translator is to be started and there is no box for it.
    pub(super) fn visit(&mut self, node: u32, owner: u32, passive: bool) -> Result<Visit<C>, i32> {
        if let Some(index) = self.find(node)
            && let Some(place) = self.places.get(index)
        {
            match &place.state {
                State::Active(control) => return Ok(Visit::Active(control.clone())),
                State::Starting => return Ok(Visit::Wait(Ticket { place: index, number: place.number })),
                State::Idle { .. } => {}
            }
        }
        if !passive {
            return Ok(Visit::Plain);
        }
        let index = self.place_for(node, owner)?;
        self.last += 1;
        let number = self.last;
        self.put(index, Place { node, owner, number, state: State::Starting });
        Ok(Visit::Start(Ticket { place: index, number }))
    }

    /// The translator runs; `control` comes back if the start has been given up meanwhile.
    pub(super) fn started(&mut self, ticket: Ticket, control: C) -> Option<C> {
        match self.at(ticket) {
            Some(place) if matches!(place.state, State::Starting) => {
                self.put_state(ticket.place, ticket.number, State::Active(control));
                None
            }
            _ => Some(control),
        }
    }

    /// The translator could not be started. True if that was news.
    pub(super) fn failed(&mut self, ticket: Ticket, code: i32) -> bool {
        match self.at(ticket) {
            Some(place) if matches!(place.state, State::Starting) => {
                self.put_state(ticket.place, ticket.number, State::Idle { failed: Some(code) });
                true
            }
            _ => false,
        }
    }

    /// What has become of the start that one waited for.
    pub(super) fn outcome(&self, ticket: Ticket) -> Outcome<C> {
        match self
            .places
            .get(ticket.place)
            .filter(|place| place.number == ticket.number)
            .map(|place| &place.state)
        {
            Some(State::Starting) => Outcome::Pending,
            Some(State::Active(control)) => Outcome::Ready(control.clone()),
            Some(State::Idle { failed: Some(code) }) => Outcome::Failed(*code),
            Some(State::Idle { failed: None }) | None => Outcome::Forgotten,
        }
    }

    /// The control port has died. The one in the box comes back if it was that one.
    pub(super) fn died(&mut self, node: u32, control: &C) -> Option<C> {
        let index = self.find(node)?;
        match &self.places.get(index)?.state {
            State::Active(active) if active == control => {}
            _ => return None,
        }
        self.last += 1;
        match self.put_state(index, self.last, State::Idle { failed: None })? {
            State::Active(active) => Some(active),
            _ => None,
        }
    }

    /// The control port that `is_it` has died, whosever it was; it comes back.
    pub(super) fn forget(&mut self, is_it: impl Fn(&C) -> bool) -> Option<C> {
        let (node, control) = self.places.iter().find_map(|place| match &place.state {
            State::Active(control) if is_it(control) => Some((place.node, control.clone())),
            _ => None,
        })?;
        self.died(node, &control)
    }

    /// The control port of the running translator.
    pub(super) fn active(&self, node: u32) -> Option<C> {
        match &self.places.get(self.find(node)?)?.state {
            State::Active(control) => Some(control.clone()),
            _ => None,
        }
    }

    /// Whether a translator runs or is being started.
    pub(super) fn is_busy(&self, node: u32) -> bool {
        let idle = |place: &Place<C>| matches!(place.state, State::Idle { .. });
        self.busy.get(node as usize % HASHES) != Some(&0)
            && self.find(node).and_then(|at| self.places.get(at)).is_some_and(|place| !idle(place))
    }

    /// Sets the running translator (`None`: there shall be none). What was there before comes back.
    ///
    /// # Errors
    /// [`Refused`]. Nothing has changed then, and `control` is gone: it was a copy.
    pub(super) fn set(
        &mut self,
        node: u32,
        owner: u32,
        control: Option<C>,
        exclusive: bool,
    ) -> Result<Option<C>, Refused> {
        let index = match (self.find(node), &control) {
            (Some(index), _) => index,
            (None, None) => return Ok(None),
            (None, Some(_)) => self.place_for(node, owner).map_err(Refused::Code)?,
        };
        let Some(place) = self.places.get(index) else { return Ok(None) };
        if place.node == node {
            match &place.state {
                State::Starting if exclusive => return Err(Refused::Code(EBUSY)),
                State::Starting => {
                    return Err(Refused::Starting(Ticket { place: index, number: place.number }));
                }
                State::Active(_) if exclusive => return Err(Refused::Code(EBUSY)),
                State::Active(_) | State::Idle { .. } => {}
            }
        }
        self.last += 1;
        let state = match control {
            Some(control) => State::Active(control),
            None => State::Idle { failed: None },
        };
        let before = self.put(index, Place { node, owner, number: self.last, state });
        Ok(match before.map(|place| place.state) {
            Some(State::Active(old)) => Some(old),
            _ => None,
        })
    }
}

/// Why [`Boxes::set`] did nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// A start is under way.
    Starting(Ticket),
    /// `EBUSY`, or `KERN_RESOURCE_SHORTAGE`.
    Code(i32),
}

#[cfg(test)]
#[path = "transbox_tests.rs"]
mod tests;
