//! Tests of path walking.

use std::collections::BTreeMap;
use std::vec::Vec;

use super::*;
use libhurd::errno::{EACCES, ENOENT};
use proptest::prelude::*;

/// A node of a tree in memory.
#[derive(Clone, Debug)]
struct Entry {
    kind: Kind,
    parent: usize,
    children: BTreeMap<Vec<u8>, usize>,
    target: Vec<u8>,
    translated: bool,
    closed: bool,
}

struct Memory(Vec<Entry>);

impl Memory {
    fn new() -> Self {
        let mut tree = Self(Vec::new());
        tree.push(0, Kind::Directory, b"");
        tree
    }

    fn push(&mut self, parent: usize, kind: Kind, target: &[u8]) -> usize {
        let (children, target) = (BTreeMap::new(), target.to_vec());
        self.0.push(Entry { kind, parent, children, target, translated: false, closed: false });
        self.0.len() - 1
    }

    fn add(&mut self, parent: usize, name: &str, kind: Kind, target: &str) -> usize {
        let node = self.push(parent, kind, target.as_bytes());
        self.0[parent].children.insert(name.as_bytes().to_vec(), node);
        node
    }
}

impl Tree for Memory {
    type Node = usize;

    fn entry(&self, dir: &usize, name: &[u8]) -> Result<usize, i32> {
        let entry = &self.0[*dir];
        assert_ne!(name, b".", "the walk's own business");
        if entry.kind != Kind::Directory {
            return Err(ENOTDIR);
        }
        if entry.closed {
            return Err(EACCES);
        }
        if name == b".." {
            assert_ne!(*dir, 0, "the walk's own business");
            return Ok(entry.parent);
        }
        entry.children.get(name).copied().ok_or(ENOENT)
    }

    fn kind(&self, node: &usize) -> Kind {
        self.0[*node].kind
    }

    fn is_root(&self, node: &usize) -> bool {
        *node == 0
    }

    fn is_translated(&self, node: &usize) -> bool {
        self.0[*node].translated
    }

    fn target(&self, link: &usize) -> Result<Vec<u8>, i32> {
        Ok(self.0[*link].target.clone())
    }
}

/// 1 = /dir, 2 = /dir/file, 3 = /dir/sub, 4 = /rel -> dir/sub, 5 = /abs -> /x/y, 6 = /loop -> loop, 7 = /bomb (translated), 8 = /closed,
/// 9 = /dir/up -> ../dir/file, 10 = /mount (translated directory)
fn tree() -> Memory {
    let mut t = Memory::new();
    let dir = t.add(0, "dir", Kind::Directory, "");
    t.add(dir, "file", Kind::Other, "");
    t.add(dir, "sub", Kind::Directory, "");
    t.add(0, "rel", Kind::Link, "dir/sub");
    t.add(0, "abs", Kind::Link, "/x/y");
    t.add(0, "loop", Kind::Link, "loop");
    let bomb = t.add(0, "bomb", Kind::Other, "");
    t.0[bomb].translated = true;
    let closed = t.add(0, "closed", Kind::Directory, "");
    t.0[closed].closed = true;
    t.add(dir, "up", Kind::Link, "../dir/file");
    let mount = t.add(0, "mount", Kind::Directory, "");
    t.0[mount].translated = true;
    t
}

fn at(path: &str, flags: i32) -> Result<End<usize>, i32> {
    walk(&tree(), &0, path.as_bytes(), flags)
}

#[test]
fn plain_names() {
    for (path, node) in [
        ("", 0),
        (".", 0),
        ("dir", 1),
        ("dir/", 1),
        ("//dir//file", 2),
        ("dir/./file", 2),
        ("dir/../dir/sub/..", 1),
        ("dir/sub/.", 3),
    ] {
        assert_eq!(at(path, 0), Ok(End::At(node)), "{path}");
    }
    assert_eq!(walk(&tree(), &3, b"../file", 0), Ok(End::At(2)));
    for (path, code) in [
        ("nothing", ENOENT),
        ("dir/file/x", ENOTDIR),
        ("dir/file/", ENOTDIR),
        ("dir/file/.", ENOTDIR),
        ("closed/x", EACCES),
        ("nothing/..", ENOENT),
        ("dir/file/..", ENOTDIR),
    ] {
        assert_eq!(at(path, 0), Err(code), "{path}");
    }
    assert_eq!(at("dir/file", O_DIRECTORY), Err(ENOTDIR));
    assert_eq!(at("dir", O_DIRECTORY), Ok(End::At(1)));
    assert_eq!(walk(&tree(), &2, b"", 0), Ok(End::At(2)), "the node itself");
    assert_eq!(walk(&tree(), &2, b".", 0), Err(ENOTDIR));
}

#[test]
fn links() {
    assert_eq!(at("rel", 0), Ok(End::At(3)));
    assert_eq!(at("rel/../file", 0), Ok(End::At(2)));
    assert_eq!(at("dir/up", 0), Ok(End::At(2)));
    for flag in [O_NOLINK, O_NOTRANS, O_NOFOLLOW] {
        assert_eq!(at("rel", flag), Ok(End::At(4)));
    }
    assert_eq!(at("rel/", O_NOLINK), Ok(End::At(3)), "a slash asks for the directory behind it");
    assert_eq!(at("rel", O_NOLINK | O_DIRECTORY), Ok(End::At(3)));
    assert_eq!(at("rel/..", O_NOLINK), Ok(End::At(1)), "not the last component");
    assert_eq!(at("dir/up/", 0), Err(ENOTDIR));
    assert_eq!(at("abs", 0), Ok(End::ClientRoot { name: b"/x/y".to_vec() }));
    assert_eq!(at("abs/z//w", 0), Ok(End::ClientRoot { name: b"/x/y/z//w".to_vec() }));
    assert_eq!(at("abs/", 0), Ok(End::ClientRoot { name: b"/x/y/".to_vec() }));
    assert_eq!(at("loop", 0), Err(ELOOP));
    assert_eq!(at("loop", O_NOLINK), Ok(End::At(6)));
}

#[test]
fn translators() {
    assert_eq!(at("bomb", 0), Ok(End::Translated { node: 7, dir: 0, rest: Vec::new() }));
    assert_eq!(
        at("bomb", O_NOLINK),
        Ok(End::Translated { node: 7, dir: 0, rest: Vec::new() }),
        "lstat steps on it"
    );
    assert_eq!(at("bomb", O_NOTRANS), Ok(End::At(7)));
    assert_eq!(at("bomb/a/b", O_NOTRANS), Ok(End::Translated { node: 7, dir: 0, rest: b"a/b".to_vec() }));
    assert_eq!(at("dir/../mount/a", 0), Ok(End::Translated { node: 10, dir: 0, rest: b"a".to_vec() }));
}

#[test]
fn above_the_root() {
    assert_eq!(at("..", 0), Ok(End::Above { rest: Vec::new() }));
    assert_eq!(at("dir/../../x/y", 0), Ok(End::Above { rest: b"x/y".to_vec() }));
}

#[test]
fn long_links_do_not_grow_for_ever() {
    let mut t = Memory::new();
    let target = "a/".repeat(400) + "link";
    t.add(0, "link", Kind::Link, &target);
    assert_eq!(walk(&t, &0, b"link", 0), Err(ENOENT));
    let path = "link/".repeat(200);
    assert_eq!(walk(&t, &0, path.as_bytes(), 0), Err(ENAMETOOLONG));
}

proptest! {
    /// Whatever path and whatever links: the walk ends, and what it returns is in the tree.
    #[test]
    fn always_ends(
        links in prop::collection::vec("[a-d./]{0,12}", 4),
        path in "[a-d./]{0,30}",
        flags in prop::sample::select(std::vec![0, O_NOLINK, O_NOTRANS, O_DIRECTORY]),
        start in 0usize..3,
    ) {
        let mut t = Memory::new();
        let a = t.add(0, "a", Kind::Directory, "");
        let b = t.add(a, "b", Kind::Directory, "");
        for (name, target) in ["b", "c"].into_iter().zip(&links) {
            t.add(0, name, Kind::Link, target);
        }
        for (name, target) in ["c", "d"].into_iter().zip(links.iter().skip(2)) {
            t.add(b, name, Kind::Link, target);
        }
        match walk(&t, &start, path.as_bytes(), flags) {
            Ok(End::At(node)) => prop_assert!(node < t.0.len()),
            Ok(End::ClientRoot { name }) => prop_assert!(name.starts_with(b"/") && name.len() <= MAX_PATH),
            Ok(End::Above { rest }) => prop_assert!(rest.len() <= MAX_PATH),
            Ok(End::Translated { .. }) => prop_assert!(false, "there are none"),
            Err(code) => prop_assert!([ENOENT, ENOTDIR, ELOOP, ENAMETOOLONG].contains(&code)),
        }
    }
}
