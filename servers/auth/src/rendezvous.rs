//! Rendezvous: a user and a server meet at a port that both hold. Pure bookkeeping; waiting is the server program's.
//!
//! Either half may come first. A place is found by the rendezvous port's name in this task (send rights to one port have one name). Places are few and
//! kept for [`LIFETIME_NS`] at most, so a half that never meets the other is forgotten and blocks nobody.

/// Most rendezvous at one time.
pub(crate) const PLACES: usize = 64;
/// How long a half is kept, and how long one waits for the other.
pub(crate) const LIFETIME_NS: u64 = 5_000_000_000;

/// A place: `P` is the port that names it, `I` who the user is, `N` the server's new port.
#[derive(Debug)]
struct Place<P, I, N> {
    port: P,
    user: Option<I>,
    server: Option<N>,
    /// The server has seen the ids; the new port waits for the user.
    met: bool,
    until: u64,
    serial: u64,
}

/// All of them.
#[derive(Debug)]
pub(crate) struct Rendezvous<P, I, N> {
    places: [Option<Place<P, I, N>>; PLACES],
    serial: u64,
}

/// Which visit to a place: its index, and a number that tells it from later ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Visit {
    pub(crate) place: usize,
    serial: u64,
}

/// No free place, or the half is there already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// All places are taken.
    Full,
    /// This half has come before.
    Twice,
}

impl<P: PartialEq, I: Clone, N> Rendezvous<P, I, N> {
    /// No places taken.
    pub(crate) const fn new() -> Self {
        Self { places: [const { None }; PLACES], serial: 0 }
    }

    /// Takes a place that has expired, to be dropped by the caller outside its lock.
    pub(crate) fn take_expired(&mut self, now: u64) -> Option<(P, Option<N>)> {
        let place = self.places.iter_mut().find(|p| p.as_ref().is_some_and(|p| p.until <= now))?.take()?;
        Some((place.port, place.server))
    }

    /// The place of `port`, made if there is none. `port` is given back if it is not needed.
    fn at(&mut self, port: P, now: u64) -> Result<(Visit, Option<P>), Refused> {
        if let Some((place, found)) = self
            .places
            .iter()
            .enumerate()
            .find_map(|(i, p)| Some((i, p.as_ref().filter(|p| p.port == port)?)))
        {
            return Ok((Visit { place, serial: found.serial }, Some(port)));
        }
        let place = self.places.iter().position(Option::is_none).ok_or(Refused::Full)?;
        self.serial += 1;
        let until = now.saturating_add(LIFETIME_NS);
        self.places[place] =
            Some(Place { port, user: None, server: None, met: false, until, serial: self.serial });
        Ok((Visit { place, serial: self.serial }, None))
    }

    fn get(&mut self, visit: Visit) -> Option<&mut Place<P, I, N>> {
        self.places[visit.place].as_mut().filter(|place| place.serial == visit.serial)
    }

    /// The user's half. `again` allows that it has come before (an offer, then the visit that collects). What is not kept comes back.
    pub(crate) fn user(
        &mut self,
        port: P,
        ids: I,
        again: bool,
        now: u64,
    ) -> Result<(Visit, Option<P>), Refused> {
        let (visit, spare) = self.at(port, now)?;
        if let Some(place) = self.get(visit) {
            match place.user {
                Some(_) if !again => return Err(Refused::Twice),
                Some(_) => {}
                None => place.user = Some(ids),
            }
        }
        Ok((visit, spare))
    }

    /// The server's half.
    pub(crate) fn server(&mut self, port: P, new: N, now: u64) -> Result<(Visit, Option<P>), Refused> {
        let (visit, spare) = self.at(port, now)?;
        if let Some(place) = self.get(visit) {
            if place.server.is_some() || place.met {
                return Err(Refused::Twice);
            }
            place.server = Some(new);
        }
        Ok((visit, spare))
    }

    /// For the server: who the user is, once known. From then on the user may collect the port.
    pub(crate) fn ids(&mut self, visit: Visit) -> Option<I> {
        let place = self.get(visit)?;
        let ids = place.user.clone()?;
        place.met = true;
        Some(ids)
    }

    /// For the user: the new port, once the server has seen the ids. That ends the rendezvous; the name's right comes back too.
    pub(crate) fn collect(&mut self, visit: Visit) -> Option<(N, P)> {
        let place = self.get(visit).filter(|place| place.met && place.server.is_some())?;
        let new = place.server.take()?;
        let port = self.places[visit.place].take()?.port;
        Some((new, port))
    }

    /// Whether the place is still that of the visit.
    pub(crate) fn is_open(&mut self, visit: Visit) -> bool {
        self.get(visit).is_some()
    }

    /// Gives a place up; what it held comes back.
    pub(crate) fn abandon(&mut self, visit: Visit) -> Option<(P, Option<N>)> {
        self.get(visit)?;
        let place = self.places[visit.place].take()?;
        Some((place.port, place.server))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Table = Rendezvous<u32, &'static str, u64>;

    #[test]
    fn either_half_first() {
        let mut table = Table::new();
        let (user, spare) = table.user(7, "me", false, 0).unwrap();
        assert_eq!((spare, table.collect(user)), (None, None));
        let (server, spare) = table.server(7, 99, 0).unwrap();
        assert_eq!((server, spare), (user, Some(7)), "one place, and the second right is spare");
        assert_eq!(table.collect(user), None, "not before the server knows who it is");
        assert_eq!(table.ids(server), Some("me"));
        assert_eq!(table.collect(user), Some((99, 7)));
        assert!(!table.is_open(user));

        let (server, _) = table.server(8, 5, 0).unwrap();
        assert_eq!(table.ids(server), None);
        let (user, _) = table.user(8, "you", false, 0).unwrap();
        assert_eq!(table.ids(server), Some("you"));
        assert_eq!(table.collect(user), Some((5, 8)));
    }

    #[test]
    fn an_offer_is_collected_later() {
        let mut table = Table::new();
        let (offer, _) = table.user(7, "me", false, 0).unwrap();
        assert_eq!(table.user(7, "other", false, 0), Err(Refused::Twice), "nobody slips in");
        let (server, _) = table.server(7, 1, 0).unwrap();
        assert_eq!(table.ids(server), Some("me"));
        assert_eq!(table.server(7, 2, 0), Err(Refused::Twice));
        let (again, _) = table.user(7, "other", true, 0).unwrap();
        assert_eq!(again, offer);
        assert_eq!(table.collect(again), Some((1, 7)));
    }

    #[test]
    fn bounded_and_forgotten() {
        let mut table = Table::new();
        for port in 0..PLACES as u32 {
            table.user(port, "x", false, 0).unwrap();
        }
        assert_eq!(table.user(1000, "x", false, 1), Err(Refused::Full));
        assert_eq!(table.take_expired(LIFETIME_NS - 1), None);
        assert_eq!(table.take_expired(LIFETIME_NS), Some((0, None)));
        let (visit, _) = table.server(1000, 3, LIFETIME_NS).unwrap();
        assert_eq!(visit.place, 0, "the place is used again");
        let stale = Visit { serial: 1, ..visit };
        assert!(!table.is_open(stale) && table.abandon(stale).is_none());
        assert_eq!(table.abandon(visit), Some((1000, Some(3))));
        assert!(!table.is_open(visit));
    }
}
