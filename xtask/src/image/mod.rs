//! The root image, made by the real tools: `mke2fs -t ext2 -o hurd`, filled by `debugfs` from a deterministic tree, checked by `e2fsck -fn`.
//!
//! `mke2fs -d` is not used: it takes the files in the order of the host's directory, so inode numbers and times would differ from
//! host to host. A sorted `debugfs` script with a fixed clock gives the same image everywhere.
//!
//! The attack's payload is real too: an executable followed by zeros, streamed through `bzip2 -9` or `gzip -9`; the inflated
//! form never exists on the host. Nodes get passive translator records in both forms that the Hurd reads.

mod ext2fs;
mod payload;
mod tree;

pub use payload::Format;
pub use tree::{ATTACKER_UID, Node, Tree, VICTIM_UID};

use crate::compile::Built;
use crate::progress;
use crate::workspace::{Workspace, make_dir};
use anyhow::{Context, Result};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::PathBuf;

/// What to put on an image.
#[derive(Debug, Clone, Hash)]
pub struct Spec {
    /// The payload's plain size is the program's plus this many zero bytes.
    pub zeros: u64,
    /// Which payloads there are, as `/home/attacker/payload.SUFFIX`; the first is bound to `/home/attacker/bomb`.
    pub bombs: Vec<Format>,
    /// Add `/tests`: damaged executables, translated nodes, and a bomb for every payload and record form.
    pub tests: bool,
    /// File system block size in bytes: 1024, 2048 or 4096.
    pub block_size: u32,
}

impl Spec {
    /// Everything: for the shell and the tests.
    #[must_use]
    pub fn full(zeros: u64) -> Self {
        Self { zeros, bombs: vec![Format::Bzip2, Format::Gzip], tests: true, block_size: 4096 }
    }

    /// One bomb: for one run of the experiment.
    #[must_use]
    pub fn experiment(zeros: u64, format: Format) -> Self {
        Self { zeros, bombs: vec![format], tests: false, block_size: 4096 }
    }
}

/// An image and what the report wants to know about it.
#[derive(Debug, Clone)]
pub struct Image {
    /// The image file.
    pub path: PathBuf,
    /// The first payload's size inflated, in bytes.
    pub plain_bytes: u64,
    /// The first payload's size on the image, in bytes.
    pub compressed_bytes: u64,
}

/// Bump when the contents change by anything but the programs and the spec.
const GENERATION: u32 = 2;

/// Makes the image, or finds it in the cache: its name is a hash of all programs, the spec and the tree.
///
/// # Errors
/// When a tool fails, or `e2fsck -fn` finds anything to complain about.
pub fn make(ws: &Workspace, built: &Built, spec: &Spec) -> Result<Image> {
    make_dir(&ws.cache())?;
    let read =
        |path: &PathBuf| std::fs::read(path).with_context(|| format!("cannot read {}", path.display()));
    let mut programs = Vec::new();
    for (program, path) in &built.programs {
        programs.push((program.image_path(), read(path)?));
    }
    let find = |path: &str| programs.iter().find(|(p, _)| p == path).map(|(_, bytes)| bytes.clone());
    let hello = find("/hurd/hello").context("there is no program `hello` to make the payload from")?;
    // The victims' small program; any will do.
    let small = find("/bin/true").unwrap_or_else(|| hello.clone());

    let payloads = payload::make_all(&ws.cache(), &spec.bombs, &hello, spec.zeros)?;
    let nodes: Vec<(String, String)> =
        built.programs.iter().filter_map(|(p, _)| Some((p.node.clone()?, p.image_path()))).collect();
    let tree = tree::build(spec, &programs, &nodes, &hello, &small, &payloads)?;

    let mut hasher = DefaultHasher::new();
    (GENERATION, spec, &tree).hash(&mut hasher);
    let path = ws.cache().join(format!("root-{:016x}.img", hasher.finish()));
    if !path.exists() {
        progress::step(&format!("making the root image ({} nodes)", tree.nodes.len()), || {
            let temporary = path.with_extension(format!("tmp{}", std::process::id()));
            let made = ext2fs::write(&tree, spec.block_size, &temporary);
            if made.is_err() {
                let _ = std::fs::remove_file(&temporary);
            }
            made?;
            std::fs::rename(&temporary, &path).context("cannot name the root image")
        })?;
    }
    let first = payloads.first();
    Ok(Image {
        path,
        plain_bytes: hello.len() as u64 + spec.zeros,
        compressed_bytes: first.map_or(0, |p| p.compressed.len() as u64),
    })
}
