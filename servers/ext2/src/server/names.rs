//! Names that were met: directory and name to inode number.
//!
//! A walker looks up what it has just read from a directory; without this, each of its lookups would copy and search the directory's blocks. The memory
//! is the server's own, of a fixed size, allocated once; a name takes the place of another with the same hash, and a long name is not kept.
//!
//! What is remembered never changes, as directories cannot be written to. Names that are not there are not remembered, and neither is
//! anything about nodes.

use alloc::vec::Vec;

use libhurd::lock::Mutex;

/// Names kept at most.
const PLACES: usize = 8192;
/// Longest name kept.
const LONGEST: usize = 39;

/// One name; directory 0 = none.
#[derive(Clone, Copy)]
struct Known {
    dir: u32,
    inode: u32,
    len: u8,
    name: [u8; LONGEST],
}

impl Known {
    const NONE: Self = Self { dir: 0, inode: 0, len: 0, name: [0; LONGEST] };

    fn is(&self, dir: u32, name: &[u8]) -> bool {
        self.dir == dir && self.name.get(..usize::from(self.len)) == Some(name)
    }
}

/// FNV-1a over the directory's number and the name.
fn hash(dir: u32, name: &[u8]) -> usize {
    let bytes = name.iter().map(|&byte| u32::from(byte));
    bytes.fold(0x811c_9dc5 ^ dir.wrapping_mul(0x9e37_79b1), |hash, byte| {
        (hash ^ byte).wrapping_mul(0x0100_0193)
    }) as usize
}

/// See the module.
pub(super) struct Names(Mutex<Vec<Known>>);

impl Names {
    /// None. All memory is allocated now.
    pub(super) fn new() -> Self {
        Self(Mutex::new(alloc::vec![Known::NONE; PLACES]))
    }

    /// The inode of `name` in the directory with the inode number `dir`, if it is known.
    ///
    /// # Errors
    /// Those of a wait for a lock.
    pub(super) fn find(&self, dir: u32, name: &[u8]) -> Result<Option<u32>, i32> {
        if name.len() > LONGEST {
            return Ok(None);
        }
        let place = hash(dir, name) % PLACES;
        let known = self.0.lock()?;
        Ok(known.get(place).filter(|known| known.is(dir, name)).map(|known| known.inode))
    }

    /// Remembers a name that the directory `dir` holds. Of two entries with the same name the first counts, as in a search.
    ///
    /// # Errors
    /// Those of a wait for a lock.
    pub(super) fn note(&self, dir: u32, name: &[u8], inode: u32) -> Result<(), i32> {
        let mut new = Known { dir, inode, len: name.len() as u8, ..Known::NONE };
        let Some(room) = new.name.get_mut(..name.len()) else { return Ok(()) };
        room.copy_from_slice(name);
        let place = hash(dir, name) % PLACES;
        if let Some(known) = self.0.lock()?.get_mut(place).filter(|known| !known.is(dir, name)) {
            *known = new;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_told_apart() {
        let names = Names::new();
        assert_eq!(names.find(2, b"a"), Ok(None));
        names.note(2, b"a", 11).unwrap();
        names.note(3, b"a", 12).unwrap();
        names.note(2, b"a\0", 13).unwrap();
        assert_eq!(names.find(2, b"a"), Ok(Some(11)));
        assert_eq!(names.find(3, b"a"), Ok(Some(12)));
        assert_eq!(names.find(4, b"a"), Ok(None));
        assert_eq!(names.find(2, b""), Ok(None));
        names.note(2, b"a", 99).unwrap();
        assert_eq!(names.find(2, b"a"), Ok(Some(11)), "the first counts");
    }

    #[test]
    fn long_names_are_not_kept() {
        let names = Names::new();
        for len in [LONGEST, LONGEST + 1, 255, 300] {
            let name = alloc::vec![b'x'; len];
            names.note(2, &name, 7).unwrap();
            assert_eq!(names.find(2, &name), Ok((len <= LONGEST).then_some(7)));
        }
    }

    #[test]
    fn what_is_found_is_right_or_nothing() {
        let names = Names::new();
        let name = |n: u32| std::format!("entry-with-a-long-name-{n:06}");
        let count = 3 * PLACES as u32;
        for n in 0..count {
            names.note(n % 7, name(n).as_bytes(), n).unwrap();
        }
        let found = (0..count).filter(|&n| match names.find(n % 7, name(n).as_bytes()).unwrap() {
            Some(inode) => {
                assert_eq!(inode, n);
                true
            }
            None => false,
        });
        let found = found.count();
        assert!(found > PLACES / 2 && found <= PLACES, "{found}");
    }
}
