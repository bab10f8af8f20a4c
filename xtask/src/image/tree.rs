//! What is on the root image, as data: every node with its owner and contents, the same on every host.
//!
//! | path | what |
//! |---|---|
//! | `/bin`, `/hurd` | the programs |
//! | `/bin/true`, `/bin/true.bz2`, `/bin/true.gz` | a small program, plain and compressed (the victims run it) |
//! | `/home/victim/reader` | the file that the reading victim reads, 512 KiB |
//! | `/home/attacker/payload.bz2`, `.gz` | the bombs: `hello` padded with zeros, compressed, owned by the attacker |
//! | `/home/attacker/bomb` | the node whose passive translator is the first payload |
//! | `/srv/tree` | 200 directories with 10 files each, some large, some symbolic links |
//! | `/srv/large` | one directory with 600 entries (several blocks), 40 in the experiment |
//! | `/tests/bad` | truncated and corrupted executables |
//! | `/tests/bombs` | more bombs: `bz2` and `gz`, and `bz2-legacy` with its record in the legacy form |
//! | `/servers` | a node for each server that wants one (`node` in its manifest), with the server as its passive translator |
//! | `/tests/translated` | a node whose translator is `/hurd/hello`, its legacy twin, and `hello` itself |
//!
//! `/tests` and the nodes in `/servers` are left out of the images of the experiment, whose walkers would start everything in it.

use super::payload::{Payload, compress};
use super::{Format, Spec};
use anyhow::Result;
use std::collections::BTreeMap;

/// The user that the victims run as.
pub const VICTIM_UID: u32 = 1000;
/// The user that owns the bombs.
pub const ATTACKER_UID: u32 = 1001;

/// One file system node.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Node {
    /// Owner (user and group).
    pub uid: u32,
    /// Permission bits.
    pub mode: u32,
    /// What it is.
    pub kind: Kind,
}

/// What a node is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A directory.
    Directory,
    /// A regular file with these bytes.
    File(Vec<u8>),
    /// A symbolic link to this path.
    Symlink(String),
    /// An empty file with a passive translator: the argument vector as an argz, and the record's form.
    Translated {
        /// Each word with its terminating NUL.
        argz: Vec<u8>,
        /// The record is a block that the inode's osd1 field names, not an extended attribute.
        legacy: bool,
    },
}

/// A whole tree, by absolute path; a `BTreeMap`, so parents come before their children.
#[derive(Debug, Clone, Default, Hash)]
pub struct Tree {
    /// The nodes, without the root itself.
    pub nodes: BTreeMap<String, Node>,
}

impl Tree {
    fn put(&mut self, path: &str, uid: u32, mode: u32, kind: Kind) {
        let mut at = 1;
        while let Some(slash) = path[at..].find('/') {
            at += slash + 1;
            let parent = Node { uid: 0, mode: 0o755, kind: Kind::Directory };
            self.nodes.entry(path[..at - 1].to_owned()).or_insert(parent);
        }
        self.nodes.insert(path.to_owned(), Node { uid, mode, kind });
    }

    fn dir(&mut self, path: &str, uid: u32, mode: u32) {
        self.put(path, uid, mode, Kind::Directory);
    }

    fn file(&mut self, path: &str, uid: u32, mode: u32, bytes: impl Into<Vec<u8>>) {
        self.put(path, uid, mode, Kind::File(bytes.into()));
    }

    fn translated(&mut self, path: &str, uid: u32, words: &[&str], legacy: bool) {
        let argz = words.iter().flat_map(|w| w.bytes().chain([0])).collect();
        self.put(path, uid, 0o644, Kind::Translated { argz, legacy });
    }
}

/// Builds the tree.
pub(super) fn build(
    spec: &Spec,
    programs: &[(String, Vec<u8>)],
    nodes: &[(String, String)],
    hello: &[u8],
    small: &[u8],
    payloads: &[Payload],
) -> Result<Tree> {
    let mut t = Tree::default();
    t.dir("/tmp", 0, 0o1777);
    t.dir("/servers", 0, 0o755);
    t.dir("/dev", 0, 0o755);
    t.file(
        "/etc/motd",
        0,
        0o644,
        "Whoever asks for work pays for it, and can lose no more than was offered.\n",
    );
    for (path, bytes) in programs {
        t.file(path, 0, 0o755, bytes.clone());
    }
    t.file("/bin/true", 0, 0o755, small);
    let (small_bz2, small_gz) = (compress(Format::Bzip2, small, 0)?, compress(Format::Gzip, small, 0)?);
    t.file("/bin/true.bz2", 0, 0o755, small_bz2.clone());
    t.file("/bin/true.gz", 0, 0o755, small_gz.clone());
    homes(&mut t, payloads);
    walk(&mut t, if spec.tests { 600 } else { 40 });
    if spec.tests {
        bad_files(&mut t, small, &small_bz2, &small_gz);
        for payload in payloads {
            let suffix = payload.format.suffix();
            let file = format!("/home/attacker/payload.{suffix}");
            t.translated(&format!("/tests/bombs/{suffix}"), ATTACKER_UID, &[&file], false);
            t.translated(&format!("/tests/bombs/{suffix}-legacy"), ATTACKER_UID, &[&file], true);
        }
        t.translated("/tests/translated/hello", 0, &["/hurd/hello"], false);
        t.translated("/tests/translated/hello-legacy", 0, &["/hurd/hello", "--contents=legacy"], true);
        t.file("/tests/translated/plain", 0, 0o755, hello);
        for (node, program) in nodes {
            t.translated(node, 0, &[program], false);
        }
    }
    Ok(t)
}

fn homes(t: &mut Tree, payloads: &[Payload]) {
    t.dir("/home/victim", VICTIM_UID, 0o755);
    t.file("/home/victim/reader", VICTIM_UID, 0o644, text(0x5eed, 512 << 10));
    t.dir("/home/attacker", ATTACKER_UID, 0o755);
    for payload in payloads {
        let file = format!("/home/attacker/payload.{}", payload.format.suffix());
        t.file(&file, ATTACKER_UID, 0o755, payload.compressed.clone());
    }
    if let Some(first) = payloads.first() {
        let file = format!("/home/attacker/payload.{}", first.format.suffix());
        t.translated("/home/attacker/bomb", ATTACKER_UID, &[&file], false);
    }
}

/// The tree that `find` walks: 20 x 10 directories, 10 files each, and one directory with `large` entries.
fn walk(t: &mut Tree, large: u32) {
    for outer in 0..20u32 {
        for inner in 0..10u32 {
            let dir = format!("/srv/tree/d{outer:02}/e{inner}");
            for file in 0..10u32 {
                let seed = outer * 1000 + inner * 100 + file;
                let path = format!("{dir}/f{file}");
                match seed % 97 {
                    13 => t.put(&path, 0, 0o777, Kind::Symlink(format!("../../d{outer:02}/e0/f0"))),
                    // Past 12 direct blocks at every block size, so that single indirect blocks are read.
                    31 => t.file(&path, 0, 0o644, text(seed, 60 << 10)),
                    _ => t.file(&path, 0, 0o644, text(seed, 50 + (seed as usize * 37) % 900)),
                }
            }
        }
    }
    for entry in 0..large {
        t.file(&format!("/srv/large/entry-with-a-long-name-{entry:04}"), 0, 0o644, "");
    }
    // Past the single indirect block at 1 KiB blocks.
    t.file("/srv/indirect", 0, 0o644, text(0xd0b1, 400 << 10));
    // A link too long for the inode.
    t.put("/srv/long-link", 0, 0o777, Kind::Symlink(format!("/srv/tree{}/d00", "/../tree".repeat(12))));
    t.put("/srv/loop", 0, 0o777, Kind::Symlink("loop".into()));
}

/// Executables that must be refused with a clear error.
fn bad_files(t: &mut Tree, elf: &[u8], bz2: &[u8], gz: &[u8]) {
    let half = |b: &[u8]| b[..b.len() / 2].to_vec();
    let flipped = |b: &[u8]| {
        let mut b = b.to_vec();
        let middle = b.len() / 2;
        if let Some(byte) = b.get_mut(middle) {
            *byte ^= 0x55;
        }
        b
    };
    let entry_nowhere = {
        let mut b = elf.to_vec();
        if let Some(entry) = b.get_mut(24..32) {
            entry.copy_from_slice(&0xffff_8000_0000_0000u64.to_le_bytes());
        }
        b
    };
    let huge_segment = {
        let mut b = elf.to_vec();
        if let Some(memsz) = b.get_mut(64 + 40..64 + 48) {
            memsz.copy_from_slice(&u64::MAX.to_le_bytes());
        }
        b
    };
    for (name, bytes) in [
        ("truncated.elf", half(elf)),
        ("header-only.elf", elf.get(..elf.len().min(64)).unwrap_or(elf).to_vec()),
        ("entry-nowhere.elf", entry_nowhere),
        ("huge-segment.elf", huge_segment),
        ("truncated.bz2", half(bz2)),
        ("corrupt.bz2", flipped(bz2)),
        ("magic-only.bz2", b"BZh9".to_vec()),
        ("truncated.gz", half(gz)),
        ("corrupt.gz", flipped(gz)),
        ("magic-only.gz", b"\x1f\x8b\x08".to_vec()),
        ("text", b"no program at all\n".to_vec()),
        ("empty", Vec::new()),
        ("interpreter-missing", b"#!/no/such/interpreter\n".to_vec()),
        ("interpreter-itself", b"#!/tests/bad/interpreter-itself\n".to_vec()),
    ] {
        t.file(&format!("/tests/bad/{name}"), 0, 0o755, bytes);
    }
}

/// `length` bytes of text that differ with `seed` and never repeat in a short period (a xorshift generator).
fn text(seed: u32, length: usize) -> Vec<u8> {
    let mut state = u64::from(seed) << 8 | 0x1d;
    let mut out = Vec::with_capacity(length);
    while out.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        out.push(if out.len() % 64 == 63 { b'\n' } else { b'a' + (state % 26) as u8 });
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Tree {
        let spec = Spec::full(1 << 20);
        let payloads = spec
            .bombs
            .iter()
            .map(|&format| Payload { format, compressed: b"BZh9x".to_vec() })
            .collect::<Vec<_>>();
        let programs = [("/bin/sh".to_owned(), b"\x7fELF".to_vec())];
        build(&spec, &programs, &[("/servers/x".into(), "/bin/x".into())], b"hello", b"true", &payloads)
            .unwrap()
    }

    #[test]
    fn the_tree_is_large_enough_and_the_same_every_time() {
        let tree = sample();
        let count = |f: fn(&Kind) -> bool| tree.nodes.values().filter(|n| f(&n.kind)).count();
        assert!(count(|k| matches!(k, Kind::File(_))) >= 2000);
        assert!(count(|k| matches!(k, Kind::Directory)) >= 200);
        assert!(count(|k| matches!(k, Kind::Symlink(_))) >= 10);
        assert_eq!(tree.nodes, sample().nodes);
    }

    #[test]
    fn the_experiment_has_one_bomb_and_no_other_translator() {
        let payload = Payload { format: Format::Gzip, compressed: b"x".to_vec() };
        let tree = build(
            &Spec::experiment(1, Format::Gzip),
            &[],
            &[("/servers/x".into(), "/bin/x".into())],
            b"hello",
            b"true",
            &[payload],
        )
        .unwrap();
        let bound: Vec<_> = tree
            .nodes
            .iter()
            .filter(|(_, n)| matches!(n.kind, Kind::Translated { .. }))
            .map(|(p, _)| p)
            .collect();
        assert_eq!(bound, ["/home/attacker/bomb"]);
        let files = tree.nodes.values().filter(|n| matches!(n.kind, Kind::File(_))).count();
        let directories = tree.nodes.values().filter(|n| n.kind == Kind::Directory).count();
        assert!(files >= 2000 && directories >= 200, "{files} files in {directories} directories");
    }

    #[test]
    fn parents_exist_and_come_first() {
        let tree = sample();
        for path in tree.nodes.keys() {
            let parent = &path[..path.rfind('/').unwrap()];
            let ok = parent.is_empty() || tree.nodes.get(parent).is_some_and(|n| n.kind == Kind::Directory);
            assert!(ok, "{path} has no parent directory");
            assert!(parent < path.as_str());
        }
    }

    #[test]
    fn the_bombs_belong_to_the_attacker_and_name_their_payload() {
        let tree = sample();
        let argz = b"/home/attacker/payload.bz2\0".to_vec();
        let bomb = &tree.nodes["/home/attacker/bomb"];
        assert_eq!(bomb.uid, ATTACKER_UID);
        assert_eq!(bomb.kind, Kind::Translated { argz: argz.clone(), legacy: false });
        assert_eq!(tree.nodes["/tests/bombs/bz2-legacy"].kind, Kind::Translated { argz, legacy: true });
        let gz = Kind::Translated { argz: b"/home/attacker/payload.gz\0".to_vec(), legacy: false };
        assert_eq!(tree.nodes["/tests/bombs/gz"].kind, gz);
        assert_eq!(tree.nodes["/home/attacker/payload.gz"].uid, ATTACKER_UID);
    }
}
