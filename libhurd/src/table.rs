//! A bounded table of a server's objects, found by the payload of their ports.
//!
//! A key is a place and the number of times it was used, so that a stale payload finds nothing. The table and what is in it are the server's own: insert
//! inside [`own`](crate::own), and hold what a call uses with [`Table::hold`].

use alloc::sync::Arc;
use alloc::vec::Vec;

use drover_abi::returns::KERN_RESOURCE_SHORTAGE;

use crate::cleanup::{Held, hold};
use crate::lock::Mutex;

/// Keys start here; smaller payloads are free for objects that are not in a table.
pub const FIRST_KEY: u64 = 1 << 32;

struct Place<T> {
    uses: u32,
    object: Option<Arc<T>>,
}

struct Inner<T> {
    places: Vec<Place<T>>,
    used: usize,
}

/// At most `MAX` objects.
pub struct Table<T, const MAX: usize>(Mutex<Inner<T>>);

impl<T, const MAX: usize> Default for Table<T, MAX> {
    fn default() -> Self {
        Self::new()
    }
}

const fn key(place: usize, uses: u32) -> u64 {
    (uses as u64) << 32 | place as u64
}

impl<T, const MAX: usize> Table<T, MAX> {
    /// Empty.
    #[must_use]
    pub const fn new() -> Self {
        Self(Mutex::new(Inner { places: Vec::new(), used: 0 }))
    }

    /// Objects in it.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.lock().map_or(0, |inner| inner.used)
    }

    /// None.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Adds the object that `make` makes for its key; the key.
    ///
    /// # Errors
    /// `KERN_RESOURCE_SHORTAGE` when the table is full or there is no memory; those of `make`, and then nothing is added.
    pub fn insert_with(&self, make: impl FnOnce(u64) -> Result<T, i32>) -> Result<u64, i32> {
        let key = self.reserve()?;
        // `make` may call, so it runs without the lock, the place being taken by its use count alone.
        let made = make(key).and_then(|object| Ok((Arc::new(object), self.0.lock()?)));
        match made {
            Ok((object, mut inner)) => {
                inner.places[key as u32 as usize].object = Some(object);
                Ok(key)
            }
            Err(code) => {
                if let Ok(mut inner) = self.0.lock() {
                    inner.release(key);
                }
                Err(code)
            }
        }
    }

    /// Takes a free place, without an object yet. A taken place has an odd use count.
    fn reserve(&self) -> Result<u64, i32> {
        let mut inner = self.0.lock()?;
        let place = match inner.places.iter().position(|place| place.uses % 2 == 0) {
            Some(place) => place,
            None if inner.places.len() < MAX => {
                inner.places.try_reserve(1).map_err(|_| KERN_RESOURCE_SHORTAGE)?;
                inner.places.push(Place { uses: 0, object: None });
                inner.places.len() - 1
            }
            None => return Err(KERN_RESOURCE_SHORTAGE),
        };
        let uses = inner.places[place].uses.wrapping_add(1);
        inner.places[place].uses = uses;
        inner.used += 1;
        Ok(key(place, uses))
    }

    /// The object with that key.
    #[must_use]
    pub fn get(&self, key: u64) -> Option<Arc<T>> {
        self.0.lock().ok()?.find(key)?.object.clone()
    }

    /// The object with that key, held for the length of the call.
    #[must_use]
    pub fn hold(&self, key: u64) -> Option<Held<T>> {
        self.get(key).map(hold)
    }

    /// Takes the object with that key out, if `condition` holds for it.
    pub fn remove_if(&self, key: u64, condition: impl FnOnce(&T) -> bool) -> Option<Arc<T>> {
        let object = self.get(key)?;
        if !condition(&object) {
            return None;
        }
        drop(object);
        self.0.lock().ok()?.release(key)
    }

    /// Takes the object with that key out.
    pub fn remove(&self, key: u64) -> Option<Arc<T>> {
        self.remove_if(key, |_| true)
    }

    /// The keys of all objects.
    #[must_use]
    pub fn keys(&self) -> Vec<u64> {
        let Ok(inner) = self.0.lock() else { return Vec::new() };
        let taken = inner.places.iter().enumerate().filter(|(_, place)| place.object.is_some());
        taken.map(|(index, place)| key(index, place.uses)).collect()
    }

    /// How many objects there are for which `is_it` holds.
    #[must_use]
    pub fn count(&self, is_it: impl Fn(&T) -> bool) -> usize {
        self.0.lock().map_or(0, |inner| {
            inner
                .places
                .iter()
                .filter(|place| place.object.as_ref().is_some_and(|object| is_it(object)))
                .count()
        })
    }

    /// The first object for which `is_it` holds.
    #[must_use]
    pub fn find(&self, is_it: impl Fn(&T) -> bool) -> Option<(u64, Arc<T>)> {
        let inner = self.0.lock().ok()?;
        inner.places.iter().enumerate().find_map(|(index, place)| {
            let object = place.object.as_ref().filter(|object| is_it(object))?;
            Some((key(index, place.uses), object.clone()))
        })
    }
}

impl<T> Inner<T> {
    fn find(&mut self, key: u64) -> Option<&mut Place<T>> {
        let place = self.places.get_mut(key as u32 as usize)?;
        (u64::from(place.uses) == key >> 32 && place.uses % 2 == 1).then_some(place)
    }

    fn release(&mut self, key: u64) -> Option<Arc<T>> {
        let place = self.find(key)?;
        place.uses = place.uses.wrapping_add(1);
        let object = place.object.take();
        self.used -= 1;
        object
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stale_keys_find_nothing() {
        let table = Table::<u32, 2>::new();
        let a = table.insert_with(|_| Ok(1)).unwrap();
        assert!(a >= FIRST_KEY);
        assert_eq!(table.get(a).as_deref(), Some(&1));
        assert!(table.remove_if(a, |_| false).is_none());
        assert_eq!(table.remove(a).as_deref(), Some(&1));
        let b = table.insert_with(|_| Ok(2)).unwrap();
        assert_eq!(a as u32, b as u32, "the place is used again");
        assert!(table.get(a).is_none() && table.remove(a).is_none());
        assert_eq!(table.find(|&n| n == 2).map(|(key, _)| key), Some(b));
        assert!(table.get(u64::MAX).is_none() && table.get(0).is_none());
    }

    #[test]
    fn bounded_and_nothing_kept_on_failure() {
        let table = Table::<u32, 2>::new();
        assert_eq!(table.insert_with(|_| Err(5)), Err(5));
        assert!(table.is_empty());
        let keys = [table.insert_with(|_| Ok(1)).unwrap(), table.insert_with(|_| Ok(2)).unwrap()];
        assert_eq!(table.insert_with(|_| Ok(3)), Err(KERN_RESOURCE_SHORTAGE));
        assert_eq!(table.keys(), keys);
        assert_eq!(table.len(), 2);
    }
}
