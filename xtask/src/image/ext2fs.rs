//! Writing a [`Tree`] to an ext2 image with `mke2fs`, `debugfs` and `e2fsck`.
//!
//! debugfs reports errors as text and exits with 0, so its standard error must hold its banner and nothing else.

use super::tree::{Kind, Tree};
use crate::tools;
use anyhow::{Context, Result, bail, ensure};
use std::fmt::Write as _;
use std::fs::File;
use std::io::{Seek, SeekFrom, Write};
use std::path::Path;
use std::process::Stdio;

/// The clock of everything on the image: 2026-01-01T00:00:00Z.
const EPOCH: &str = "1767225600";
const UUID: &str = "d0e1f2a3-0000-4000-8000-64726f766572";

/// Makes the image at `image` and checks it.
pub(super) fn write(tree: &Tree, block_size: u32, image: &Path) -> Result<()> {
    let staging = tempfile::tempdir().context("cannot make a temporary folder")?;
    let bytes = image_size(tree, u64::from(block_size));
    File::create(image)
        .and_then(|f| f.set_len(bytes))
        .with_context(|| format!("cannot make {}", image.display()))?;
    let mut mke2fs = tools::command("mke2fs")?;
    mke2fs
        .env("E2FSPROGS_FAKE_TIME", EPOCH)
        .env("SOURCE_DATE_EPOCH", EPOCH)
        .env_remove("MKE2FS_CONFIG")
        .args(["-q", "-F", "-t", "ext2", "-o", "hurd", "-m", "0", "-L", "drover"])
        .args(["-b", &block_size.to_string(), "-U", UUID, "-E", &format!("hash_seed={UUID}")])
        .args(["-N", &(tree.nodes.len() + 256).to_string()])
        .arg(image);
    tools::run(mke2fs)?;

    debugfs(image, &fill_script(tree, staging.path())?)?;
    for (path, node) in &tree.nodes {
        if let Kind::Translated { argz, legacy: true } = &node.kind {
            bind_legacy(image, path, argz, block_size)?;
        }
    }
    // debugfs `setb` leaves the free counts behind: let e2fsck mend those (status 1), then insist on a clean image.
    tools::run_accepting(e2fsck(image, "-fy")?, &[0, 1])?;
    tools::run(e2fsck(image, "-fn")?).context("the root image is not clean")?;
    Ok(())
}

fn e2fsck(image: &Path, flags: &str) -> Result<std::process::Command> {
    let mut command = tools::command("e2fsck")?;
    command.env("E2FSPROGS_FAKE_TIME", EPOCH).env("E2FSCK_TIME", EPOCH).arg(flags).arg(image);
    Ok(command)
}

/// Room for the data, its indirect blocks, the inodes and some to spare, in whole MiB.
fn image_size(tree: &Tree, block: u64) -> u64 {
    let data: u64 = tree
        .nodes
        .values()
        .map(|n| match &n.kind {
            Kind::Directory => block,
            Kind::File(bytes) => (bytes.len() as u64).div_ceil(block) * block * 102 / 100,
            Kind::Symlink(_) | Kind::Translated { .. } => block,
        })
        .sum();
    let inodes = tree.nodes.len() as u64 * 128;
    ((data + inodes) * 9 / 8 + (2 << 20)).next_multiple_of(1 << 20)
}

/// A debugfs script that makes every node; file contents are staged in `staging`.
fn fill_script(tree: &Tree, staging: &Path) -> Result<String> {
    let mut script = String::new();
    let stage = |name: String, bytes: &[u8]| -> Result<String> {
        let path = staging.join(name);
        std::fs::write(&path, bytes).with_context(|| format!("cannot write {}", path.display()))?;
        Ok(path.display().to_string())
    };
    let empty = stage("empty".into(), b"")?;
    for (i, (path, node)) in tree.nodes.iter().enumerate() {
        ensure!(!path.contains([' ', '"', '\n']), "{path}: debugfs cannot take that name");
        let (directory, name) = path.rsplit_once('/').context("a node's path is absolute")?;
        // Nodes are made by name in debugfs's working directory: `mkdir` and `write` do not resolve paths at the root.
        writeln!(script, "cd {directory}/")?;
        let type_bits = match &node.kind {
            Kind::Directory => {
                writeln!(script, "mkdir {name}")?;
                0o040_000
            }
            Kind::File(bytes) => {
                let from = if bytes.is_empty() { empty.clone() } else { stage(format!("file{i}"), bytes)? };
                writeln!(script, "write {from} {name}")?;
                0o100_000
            }
            Kind::Symlink(target) => {
                writeln!(script, "symlink {name} {target}")?;
                0o120_000
            }
            Kind::Translated { argz, legacy } => {
                writeln!(script, "write {empty} {name}")?;
                if !legacy {
                    let argz = stage(format!("argz{i}"), argz)?;
                    writeln!(script, "ea_set -f {argz} {path} gnu.translator")?;
                }
                0o100_000
            }
        };
        writeln!(script, "sif {path} mode 0{:o}", type_bits | node.mode)?;
        if node.uid != 0 {
            writeln!(script, "sif {path} uid {0}\nsif {path} gid {0}", node.uid)?;
        }
    }
    Ok(script)
}

/// Binds a passive translator in the legacy form: a block of its own that holds a 16-bit length and the argz.
fn bind_legacy(image: &Path, path: &str, argz: &[u8], block_size: u32) -> Result<()> {
    ensure!(argz.len() + 2 <= block_size as usize, "{path}: the translator record is longer than a block");
    let found = debugfs(image, "ffb\n")?;
    let block: u64 = found
        .split_once("Free blocks found:")
        .and_then(|(_, rest)| rest.split_whitespace().next()?.parse().ok())
        .context("debugfs found no free block for a translator record")?;
    let sectors = block_size / 512;
    debugfs(image, &format!("setb {block}\nsif {path} translator {block}\nsif {path} blocks {sectors}\n"))?;
    let mut file = File::options().write(true).open(image).context("cannot open the root image")?;
    file.seek(SeekFrom::Start(block * u64::from(block_size)))?;
    file.write_all(&u16::try_from(argz.len())?.to_le_bytes())?;
    file.write_all(argz)?;
    file.write_all(&vec![0; block_size as usize - argz.len() - 2])?;
    Ok(())
}

/// Runs a debugfs script; returns what it printed.
fn debugfs(image: &Path, script: &str) -> Result<String> {
    let mut command = tools::command("debugfs")?;
    let mut child = command
        .env("E2FSPROGS_FAKE_TIME", EPOCH)
        .env("DEBUGFS_PAGER", "__none__")
        .args(["-w", "-f", "-"])
        .arg(image)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("cannot start debugfs")?;
    let mut stdin = child.stdin.take().context("debugfs has no standard input")?;
    let output = std::thread::scope(|scope| {
        scope.spawn(move || stdin.write_all(script.as_bytes()));
        child.wait_with_output()
    })
    .context("cannot run debugfs")?;
    let stderr = String::from_utf8_lossy(&output.stderr);
    let complaints: Vec<&str> =
        stderr.lines().filter(|l| !l.starts_with("debugfs ") && !l.trim().is_empty()).collect();
    if !output.status.success() || !complaints.is_empty() {
        bail!("debugfs on {} ended with {}:\n{}", image.display(), output.status, complaints.join("\n"));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    use super::super::tree::{Kind, Node, Tree};
    use super::*;

    fn sample() -> Tree {
        let node = |uid, mode, kind| Node { uid, mode, kind };
        let argz = b"/hurd/hello\0--x\0".to_vec();
        let mut tree = Tree::default();
        for (path, n) in [
            ("/a", node(0, 0o755, Kind::Directory)),
            ("/a/large", node(0, 0o644, Kind::File((0..300_000u32).flat_map(u32::to_le_bytes).collect()))),
            ("/a/link", node(0, 0o777, Kind::Symlink("../b".into()))),
            ("/b", node(1001, 0o750, Kind::File(b"contents\n".to_vec()))),
            ("/old", node(1001, 0o644, Kind::Translated { argz: argz.clone(), legacy: true })),
            ("/translated", node(0, 0o644, Kind::Translated { argz, legacy: false })),
        ] {
            tree.nodes.insert(path.into(), n);
        }
        tree
    }

    /// What `debugfs` prints for one request on the image.
    fn ask(image: &Path, request: &str) -> Vec<u8> {
        let mut command = tools::command("debugfs").unwrap();
        command.env("DEBUGFS_PAGER", "__none__").args(["-R", request]).arg(image).output().unwrap().stdout
    }

    /// Writes the sample at a block size and reads it back.
    fn round_trip(block_size: u32) {
        let dir = tempfile::tempdir().unwrap();
        let image = dir.path().join("root.img");
        let tree = sample();
        write(&tree, block_size, &image).unwrap();
        for (path, node) in &tree.nodes {
            let stat = String::from_utf8(ask(&image, &format!("stat {path}"))).unwrap();
            let words: Vec<&str> = stat.split_whitespace().collect();
            let has = |key: &str, value: &str| words.windows(2).any(|w| w == [key, value]);
            assert!(has("User:", &node.uid.to_string()), "{path}: {stat}");
            assert!(has("Mode:", &format!("0{:o}", node.mode)), "{path}: {stat}");
            match &node.kind {
                Kind::Directory => assert!(has("Type:", "directory")),
                Kind::File(bytes) => {
                    assert!(&ask(&image, &format!("cat {path}")) == bytes, "{path}: other contents")
                }
                Kind::Symlink(to) => assert!(has("dest:", &format!("\"{to}\"")), "{path}: {stat}"),
                Kind::Translated { .. } => assert!(has("Size:", "0"), "{path}: {stat}"),
            }
        }
        let records = debugfs(&image, "ea_get /translated gnu.translator\nstat /old\n").unwrap();
        assert!(
            records.contains("gnu.translator (16) = 2f 68 75 72 64 2f 68 65 6c 6c 6f 00 2d 2d 78 00"),
            "{records}"
        );
        let block: usize = records
            .split_once("Translator: ")
            .and_then(|(_, rest)| rest.split_whitespace().next()?.parse().ok())
            .unwrap_or_else(|| panic!("no legacy record: {records}"));
        let bytes = std::fs::read(&image).unwrap();
        let at = block * block_size as usize;
        assert_eq!(bytes[at..at + 18], *b"\x10\0/hurd/hello\0--x\0");
    }

    #[test]
    fn an_image_holds_what_the_tree_says_and_is_clean_at_every_block_size() {
        if tools::find("mke2fs").is_none() {
            eprintln!("e2fsprogs is not installed: skipped");
            return;
        }
        [1024, 2048, 4096].into_iter().for_each(round_trip);
    }

    #[test]
    fn an_image_is_the_same_every_time() {
        if tools::find("mke2fs").is_none() {
            eprintln!("e2fsprogs is not installed: skipped");
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let make = |name: &str| {
            let path = dir.path().join(name);
            write(&sample(), 4096, &path).unwrap();
            std::fs::read(path).unwrap()
        };
        let first = make("first.img");
        std::thread::sleep(std::time::Duration::from_millis(1100));
        assert!(first == make("second.img"), "two images of one tree differ");
    }
}
