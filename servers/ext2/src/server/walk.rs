//! Walking a path through one file system, as the Hurd's `dir_lookup` does it: components, `..`, symbolic links, translators.
//!
//! Pure: what a directory holds comes from a [`Tree`]. The walk ends at a node, or where somebody else has to go on: at a translated node, above the
//! root, at the root of the client (an absolute link). Its length is bounded by the path, and by [`MAX_LINKS`] links of at most [`MAX_PATH`] bytes.

use alloc::vec::Vec;

use libhurd::errno::{ELOOP, ENAMETOOLONG, ENOTDIR};
use libhurd::file::{O_DIRECTORY, O_NOLINK, O_NOTRANS};

/// Do not follow a link on the last component, and fail if there is one: the client checks; for us it is as `O_NOLINK`.
pub(super) const O_NOFOLLOW: i32 = 0x10_0000;
/// Links followed in one walk.
pub(super) const MAX_LINKS: u32 = 8;
/// Bytes of a path while it is walked, and of a retry name, which must fit a `string_t` with its NUL.
pub(super) const MAX_PATH: usize = 1023;

/// What the walk needs to know of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A directory.
    Directory,
    /// A symbolic link.
    Link,
    /// Anything else.
    Other,
}

/// A tree of nodes.
pub(super) trait Tree {
    /// A node.
    type Node: Clone;

    /// The entry `name` of `dir`: never `.`, and `..` only below the root. Checks that `dir` is a directory and may be searched.
    ///
    /// # Errors
    /// `ENOTDIR`, `EACCES`, `ENOENT`, or what else went wrong.
    fn entry(&self, dir: &Self::Node, name: &[u8]) -> Result<Self::Node, i32>;

    /// What it is.
    fn kind(&self, node: &Self::Node) -> Kind;

    /// It is the root of this file system.
    fn is_root(&self, node: &Self::Node) -> bool;

    /// It has a translator, active or passive.
    fn is_translated(&self, node: &Self::Node) -> bool;

    /// Where a link points.
    ///
    /// # Errors
    /// Whatever went wrong.
    fn target(&self, link: &Self::Node) -> Result<Vec<u8>, i32>;
}

/// Where a walk ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum End<N> {
    /// At this node.
    At(N),
    /// At a translated node in this directory; the translator is to be asked for the rest (empty: the node itself).
    Translated {
        /// The node.
        node: N,
        /// Its directory.
        dir: N,
        /// The rest of the path.
        rest: Vec<u8>,
    },
    /// Above the root: whoever is there is to be asked for the rest.
    Above {
        /// The rest of the path.
        rest: Vec<u8>,
    },
    /// At the client's root, with this absolute name.
    ClientRoot {
        /// The name, slash included.
        name: Vec<u8>,
    },
}

/// Takes the first component off; the rest, and whether slashes followed it.
fn split(path: &[u8]) -> (&[u8], &[u8], bool) {
    let end = path.iter().position(|&byte| byte == b'/').unwrap_or(path.len());
    let (name, rest) = path.split_at(end);
    (name, libhurd::lookup::strip_slashes(rest), !rest.is_empty())
}

/// `head`, a slash if there is a rest (or a directory is asked for), and the rest.
fn join(head: &[u8], rest: &[u8], directory: bool) -> Result<Vec<u8>, i32> {
    let mut path = Vec::with_capacity(head.len() + 1 + rest.len());
    path.extend_from_slice(head);
    if !rest.is_empty() || directory {
        path.push(b'/');
        path.extend_from_slice(rest);
    }
    if path.len() > MAX_PATH { Err(ENAMETOOLONG) } else { Ok(path) }
}

/// Walks `path` from `start` with these open flags.
///
/// # Errors
/// The tree's; `ELOOP`, `ENAMETOOLONG`, `ENOTDIR`.
pub(super) fn walk<T: Tree>(tree: &T, start: &T::Node, path: &[u8], flags: i32) -> Result<End<T::Node>, i32> {
    let mut path = libhurd::lookup::strip_slashes(path).to_vec();
    let mut directory = flags & O_DIRECTORY != 0;
    let mut here = start.clone();
    let mut links = 0;
    while !path.is_empty() {
        let (name, rest, slash) = split(&path);
        let last = rest.is_empty();
        directory |= last && slash;
        if name == b"." || (name == b".." && tree.is_root(&here)) {
            if tree.kind(&here) != Kind::Directory {
                return Err(ENOTDIR);
            }
            if name == b".." {
                return Ok(End::Above { rest: rest.to_vec() });
            }
            path = rest.to_vec();
            continue;
        }
        let next = tree.entry(&here, name)?;
        if (!last || flags & O_NOTRANS == 0) && tree.is_translated(&next) {
            let rest = join(b"", rest, false)?;
            let rest = libhurd::lookup::strip_slashes(&rest).to_vec();
            return Ok(End::Translated { node: next, dir: here, rest });
        }
        let follows = !last || directory || flags & (O_NOLINK | O_NOTRANS | O_NOFOLLOW) == 0;
        if follows && tree.kind(&next) == Kind::Link {
            links += 1;
            if links > MAX_LINKS {
                return Err(ELOOP);
            }
            let target = join(&tree.target(&next)?, rest, last && slash)?;
            if target.first() == Some(&b'/') {
                return Ok(End::ClientRoot { name: target });
            }
            path = target;
            continue;
        }
        here = next;
        path = rest.to_vec();
    }
    if directory && tree.kind(&here) != Kind::Directory {
        return Err(ENOTDIR);
    }
    Ok(End::At(here))
}

#[cfg(test)]
#[path = "walk_tests.rs"]
mod tests;
