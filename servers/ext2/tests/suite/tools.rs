//! Running mke2fs, debugfs and e2fsck, and making the directory trees that images are filled with.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::fs::{FileExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::image::Image;

/// The full path of a tool of e2fsprogs; fails the test with the package's name if it is missing.
fn tool(name: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let places = std::env::split_paths(&path).chain(["/usr/sbin".into(), "/sbin".into()]);
    places.map(|dir| dir.join(name)).find(|file| file.is_file()).unwrap_or_else(|| {
        panic!("{name} is not installed; it is in the Debian package e2fsprogs (apt-get install e2fsprogs)")
    })
}

fn run<A: AsRef<OsStr>>(name: &str, arguments: impl IntoIterator<Item = A>) -> Output {
    Command::new(tool(name))
        .args(arguments)
        .output()
        .unwrap_or_else(|error| panic!("cannot run {name}: {error}"))
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// A directory for one test, with the image file in it.
pub(crate) struct Work {
    dir: tempfile::TempDir,
}

impl Work {
    pub(crate) fn new() -> Work {
        Work { dir: tempfile::tempdir().expect("temporary directory") }
    }

    /// A path in the test's directory.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The directory that [`Work::mke2fs`] copies into the image.
    pub(crate) fn tree(&self) -> PathBuf {
        let tree = self.path("tree");
        fs::create_dir_all(&tree).expect("tree");
        tree
    }

    pub(crate) fn image_path(&self) -> PathBuf {
        self.path("image")
    }

    /// Makes an image of the tree with these options and this size ("8m").
    pub(crate) fn mke2fs(&self, options: &[&str], size: &str) {
        let tree = self.tree();
        let image = self.image_path();
        let fixed = ["-q", "-F", "-t", "ext2", "-U", "6b6f7573-0000-4000-8000-000000000002", "-d"];
        let arguments = fixed.into_iter().map(OsStr::new).chain([tree.as_os_str()]);
        let arguments =
            arguments.chain(options.iter().map(OsStr::new)).chain([image.as_os_str(), OsStr::new(size)]);
        let output = run("mke2fs", arguments);
        assert!(output.status.success(), "mke2fs failed: {}", text(&output));
    }

    /// The image in memory.
    pub(crate) fn load(&self) -> Image {
        Image::new(fs::read(self.image_path()).expect("image"))
    }

    /// Writes the image in memory back to the file the tools use.
    pub(crate) fn store(&self, image: &Image) {
        fs::write(self.image_path(), image.to_vec()).expect("image");
    }

    /// Runs one debugfs request on the image, writing allowed; returns what it printed.
    pub(crate) fn debugfs(&self, request: &str) -> String {
        let image = self.image_path();
        let output =
            run("debugfs", [OsStr::new("-w"), OsStr::new("-R"), OsStr::new(request), image.as_os_str()]);
        assert!(output.status.success(), "debugfs {request}: {}", text(&output));
        let complaints = String::from_utf8_lossy(&output.stderr).into_owned();
        let complaints: Vec<_> = complaints
            .lines()
            .filter(|line| !line.starts_with("debugfs ") && !line.starts_with("Allocated"))
            .collect();
        assert!(complaints.is_empty(), "debugfs {request}: {complaints:?}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Sets an extended attribute with debugfs.
    pub(crate) fn set_attribute(&self, file: &str, attribute: &str, value: &[u8]) {
        let from = self.path("value");
        fs::write(&from, value).expect("value");
        self.debugfs(&format!("ea_set -f {} {file} {attribute}", from.display()));
    }

    /// Reads an extended attribute with debugfs; `None` if there is none.
    pub(crate) fn attribute(&self, file: &str, attribute: &str) -> Option<Vec<u8>> {
        let to = self.path("value");
        let _ = fs::remove_file(&to);
        let image = self.image_path();
        let request = format!("ea_get -f {} {file} {attribute}", to.display());
        run("debugfs", [OsStr::new("-R"), OsStr::new(&request), image.as_os_str()]);
        let value = fs::read(&to).ok()?;
        // debugfs makes the file before it looks for the attribute.
        (!value.is_empty()).then_some(value)
    }

    /// The number that debugfs' `stat` prints after `label`.
    pub(crate) fn stat_number(&self, file: &str, label: &str) -> u32 {
        let printed = self.debugfs(&format!("stat {file}"));
        let (_, rest) = printed.split_once(label).unwrap_or_else(|| panic!("no {label:?} in {printed}"));
        rest.split_whitespace().next().and_then(|word| word.parse().ok()).expect("a number")
    }

    /// The inode number of a file.
    pub(crate) fn inode_number(&self, file: &str) -> u32 {
        self.stat_number(file, "Inode:")
    }

    /// Fails the test unless e2fsck finds the image clean.
    pub(crate) fn assert_clean(&self, when: &str) {
        let image = self.image_path();
        let output = run("e2fsck", [OsStr::new("-fn"), image.as_os_str()]);
        assert!(output.status.code() == Some(0), "e2fsck -fn {when}: {}", text(&output));
    }

    /// Lets e2fsck repair the image.
    pub(crate) fn repair(&self, options: &str) {
        let image = self.image_path();
        let output = run("e2fsck", [OsStr::new(options), image.as_os_str()]);
        assert!(output.status.code().is_some_and(|code| code < 4), "e2fsck {options}: {}", text(&output));
    }
}

/// Bytes that look random and are the same every time.
pub(crate) fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut random = Random::new(seed);
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        bytes.extend_from_slice(&random.next().to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}

/// splitmix64.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Random {
        Random(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound`.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }
}

/// Fills a directory with something of every kind: sizes around the borders of direct, single and double indirect blocks,
/// holes, links of both forms, long names, nested directories, odd permissions.
pub(crate) fn plant(tree: &Path) {
    let sizes = [
        0,
        1,
        59,
        60,
        61,
        1023,
        1024,
        1025,
        4095,
        4096,
        4097,
        12 << 10,
        (12 << 10) + 1,
        48 << 10,
        (48 << 10) + 1,
    ];
    let sizes = sizes.into_iter().chain([268 << 10, (268 << 10) + 1, 1_100_000, 5_000_000]);
    for (seed, size) in (1..).zip(sizes) {
        fs::write(tree.join(format!("file-{size}")), noise(seed, size)).expect("file");
    }
    let sparse = File::create(tree.join("sparse")).expect("sparse");
    for (seed, at) in (100..).zip([0, 70_000, 300_000, 2_000_000, 6_000_000]) {
        sparse.write_all_at(&noise(seed, 5000), at).expect("sparse");
    }
    sparse.set_len(9_000_001).expect("sparse");
    File::create(tree.join("hole")).expect("hole").set_len(3_000_000).expect("hole");

    for len in [1, 58, 59, 60, 61, 255, 900] {
        let target: String = "0123456789/".chars().cycle().take(len).collect();
        symlink(target, tree.join(format!("link-{len}"))).expect("link");
    }
    let deep = tree.join("a/b/c/d/e/f");
    fs::create_dir_all(&deep).expect("directories");
    fs::write(deep.join("leaf"), b"found").expect("leaf");
    fs::hard_link(deep.join("leaf"), tree.join("hard")).expect("hard link");
    fs::create_dir(tree.join("names")).expect("names");
    for len in 1..=255 {
        fs::write(tree.join("names").join("n".repeat(len)), [len as u8]).expect("name");
    }
    fs::write(tree.join("names").join("na\u{ef}ve \u{2192} \t\u{1}"), b"bytes").expect("name");
    for mode in [0o4755, 0o2711, 0o1777, 0o400, 0o640] {
        let file = tree.join(format!("mode-{mode:o}"));
        fs::write(&file, b"mode").expect("mode");
        fs::set_permissions(&file, fs::Permissions::from_mode(mode)).expect("mode");
    }
}
