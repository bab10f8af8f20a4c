//! GNU MIG and the definitions of GNU Mach, from Debian trixie: fetched, checked, unpacked into a folder of our own.
//!
//! Nothing is installed. The packages are pinned by version and SHA-256, so where they come from does not matter: apt's
//! own helper (which knows the host's proxies), curl and wget are tried in turn, at the mirrors that the host's apt has
//! configured and at Debian's own. Older packages of the same names speak another ABI and would mislead.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

/// A package, its path below a mirror's root, and the hash of its file.
struct Package<'a> {
    path: &'a str,
    sha256: &'a str,
}

const PACKAGES: [Package<'static>; 2] = [
    Package {
        path: "pool/main/m/mig/mig-x86-64-gnu_1.8+git20231217-8_amd64.deb",
        sha256: "b8ebde492856b4cd5cd1b71d6795a45d0c8e284fdfd8c1fe3d9c48828a098ff8",
    },
    Package {
        path: "pool/main/g/gnumach/gnumach-dev_1.8+git20250702-1_amd64.deb",
        sha256: "39de7a2d8598465eb142df3d312a71821fe0bd74a9c7f3a6ec8478163df1b988",
    },
];

/// Debian's own mirror.
const DEBIAN: &str = "http://deb.debian.org/debian";

/// The unpacked packages.
#[derive(Clone, Debug)]
pub struct Gnu {
    root: PathBuf,
}

impl Package<'_> {
    fn file(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or(self.path)
    }
}

/// The folder for the packages below cargo's target folder.
#[must_use]
pub fn folder(target: &Path) -> PathBuf {
    target.join("drover").join("gnu-mig")
}

/// What is unpacked in `folder` already.
#[must_use]
pub fn find(folder: &Path) -> Option<Gnu> {
    let gnu = Gnu { root: folder.join("root") };
    (gnu.compiler().is_file() && gnu.include().join("mach/mach.defs").is_file()).then_some(gnu)
}

/// Finds the packages in `folder`, or fetches them into it.
///
/// # Errors
/// When they can be had from nowhere; the text says what to do by hand.
pub fn ensure(folder: &Path) -> Result<Gnu> {
    ensure_by(folder, &PACKAGES, &fetch)
}

/// As [`ensure`], with the given packages and way to fetch one into a file.
fn ensure_by(
    folder: &Path,
    packages: &[Package<'_>],
    fetch: &dyn Fn(&Package<'_>, &Path) -> Result<()>,
) -> Result<Gnu> {
    if let Some(gnu) = find(folder) {
        return Ok(gnu);
    }
    std::fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
    // All of them first: only what is genuine is unpacked.
    for package in packages {
        let file = folder.join(package.file());
        let there = file.exists();
        if genuine(&file, package.sha256) {
            continue;
        }
        fetch(package, &file).with_context(|| {
            let refused = match there {
                true => format!(
                    "{} is not the package: its SHA-256 should be {}. ",
                    file.display(),
                    package.sha256
                ),
                false => String::new(),
            };
            format!("{refused}{}", by_hand(folder, packages))
        })?;
    }
    // Made aside and moved into place, so that whoever looks at the same time finds all or nothing.
    let aside = folder.join(format!("root.{}", std::process::id()));
    for package in packages {
        let file = folder.join(package.file());
        let status = Command::new("dpkg").arg("-x").args([&file, &aside]).stdin(Stdio::null()).status();
        if !status.is_ok_and(|s| s.success()) {
            let _ = std::fs::remove_dir_all(&aside);
            bail!("`dpkg -x {} {}` failed; it is in Debian's package dpkg", file.display(), aside.display());
        }
    }
    let root = folder.join("root");
    if std::fs::rename(&aside, &root).is_err() {
        // Somebody else was faster.
        let _ = std::fs::remove_dir_all(&aside);
    }
    find(folder)
        .with_context(|| format!("{} is not what the packages hold; delete it and try again", root.display()))
}

/// What a person types when nothing can be fetched.
fn by_hand(folder: &Path, packages: &[Package<'_>]) -> String {
    let urls: Vec<String> = packages.iter().map(|p| format!("{DEBIAN}/{}", p.path)).collect();
    format!(
        "GNU MIG of Debian trixie could not be fetched. With a network, type\n\n    (cd {} && wget {})\n\nor put these two files there by other means",
        folder.display(),
        urls.join(" ")
    )
}

/// The file is there and its hash is right.
fn genuine(file: &Path, sha256: &str) -> bool {
    let output = Command::new("sha256sum").arg(file).stderr(Stdio::null()).output();
    output.is_ok_and(|o| String::from_utf8_lossy(&o.stdout).starts_with(sha256))
}

fn fetch(package: &Package<'_>, file: &Path) -> Result<()> {
    let part = file.with_extension(format!("part{}", std::process::id()));
    for mirror in mirrors() {
        let url = format!("{mirror}/{}", package.path);
        let hash = format!("SHA256:{}", package.sha256);
        let part_text = part.to_string_lossy();
        let ways: [(&str, Vec<&str>); 3] = [
            ("/usr/lib/apt/apt-helper", vec!["download-file", &url, &part_text, &hash]),
            ("curl", vec!["-fsSL", "--connect-timeout", "10", "--max-time", "60", "-o", &part_text, &url]),
            ("wget", vec!["-q", "--tries=1", "--timeout=20", "-O", &part_text, &url]),
        ];
        for (program, arguments) in ways {
            let mut command = Command::new(program);
            command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            if command.status().is_ok_and(|s| s.success()) && genuine(&part, package.sha256) {
                return std::fs::rename(&part, file)
                    .with_context(|| format!("cannot write {}", file.display()));
            }
        }
    }
    let _ = std::fs::remove_file(&part);
    bail!("{} could not be downloaded", package.file())
}

/// The roots of Debian's archive that the host's apt knows, and Debian's own.
fn mirrors() -> Vec<String> {
    let mut list: Vec<String> = Command::new("apt-get")
        .args(["indextargets", "--format", "$(REPO_URI)", "Created-By: Packages", "Origin: Debian"])
        .stdin(Stdio::null())
        .output()
        .map(|o| {
            String::from_utf8_lossy(&o.stdout).lines().map(|l| l.trim_end_matches('/').to_owned()).collect()
        })
        .unwrap_or_default();
    list.retain(|l| l.starts_with("http") && !l.ends_with("-security"));
    list.push(DEBIAN.into());
    list.sort();
    list.dedup();
    list
}

/// How the interfaces are preprocessed and compiled.
#[derive(Clone, Debug, Default)]
pub struct Flags {
    /// Folders for `#include`.
    pub include: Vec<PathBuf>,
    /// `-D`.
    pub define: Vec<String>,
    /// `-imacros`.
    pub imacros: Vec<PathBuf>,
    /// `-prefix`.
    pub prefix: Option<String>,
    /// `-subrprefix`; `__` if there is none.
    pub subrprefix: Option<String>,
}

/// What GNU MIG wrote for one side.
#[derive(Clone, Debug)]
pub struct Written {
    /// The stubs.
    pub code: String,
    /// Their prototypes.
    pub header: String,
    /// The list of ids: subsystem, base, routine, number, id, id of the reply.
    pub list: String,
    /// What `-prefix` has put before all names.
    pub prefix: String,
}

/// Whose stubs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The client's.
    User,
    /// The server's.
    Server,
}

impl Gnu {
    /// `migcom` itself.
    #[must_use]
    pub fn compiler(&self) -> PathBuf {
        self.root.join("usr/lib/mig/x86_64-gnu-migcom")
    }

    /// The folder of GNU Mach's headers and definitions.
    #[must_use]
    pub fn include(&self) -> PathBuf {
        self.root.join("usr/include/x86_64-linux-gnu")
    }

    /// All `.defs` of GNU Mach, relative to [`Gnu::include`], sorted.
    ///
    /// # Errors
    /// When a folder cannot be read.
    pub fn defs(&self) -> Result<Vec<PathBuf>> {
        let (mut found, mut folders) = (Vec::new(), vec![self.include()]);
        while let Some(folder) = folders.pop() {
            for entry in
                std::fs::read_dir(&folder).with_context(|| format!("cannot read {}", folder.display()))?
            {
                let path = entry?.path();
                if path.is_symlink() {
                    continue; // `machine` is this machine's folder by another name
                }
                if path.is_dir() {
                    folders.push(path);
                } else if path.extension().is_some_and(|e| e == "defs") {
                    found.push(path.strip_prefix(self.include()).unwrap_or(&path).to_path_buf());
                }
            }
        }
        found.sort();
        Ok(found)
    }

    /// The preprocessor, as the Hurd's build calls it for this machine.
    #[must_use]
    pub fn preprocessor(flags: &Flags) -> Command {
        let mut command = Command::new("gcc");
        command.args(["-E", "-x", "c", "-undef", "-ansi", "-nostdinc", "-D__x86_64__", "-D__LP64__"]);
        command.args(flags.define.iter().map(|d| format!("-D{d}")));
        for folder in &flags.include {
            command.arg("-I").arg(folder);
        }
        for file in &flags.imacros {
            command.arg("-imacros").arg(file);
        }
        command
    }

    /// Preprocesses and compiles one file for one side. Its output goes to `out` and is read from there.
    ///
    /// # Errors
    /// What the compiler or the preprocessor complained about.
    pub fn compile(&self, file: &Path, flags: &Flags, side: Side, out: &Path) -> Result<Written> {
        std::fs::create_dir_all(out).with_context(|| format!("cannot create {}", out.display()))?;
        let stem = file.file_stem().map(|s| s.to_string_lossy().into_owned()).unwrap_or_default();
        let letter = if side == Side::User { "u" } else { "s" };
        let name = |what: &str| out.join(format!("{stem}.{letter}.{what}"));
        let cpp =
            Self::preprocessor(flags).arg(file).stdin(Stdio::null()).output().context("cannot run gcc")?;
        if !cpp.status.success() {
            bail!("{}", String::from_utf8_lossy(&cpp.stderr));
        }
        std::fs::write(name("i"), &cpp.stdout)?;
        let mut command = Command::new(self.compiler());
        command.args(["-n", "-subrprefix", flags.subrprefix.as_deref().unwrap_or("__")]);
        if let Some(prefix) = &flags.prefix {
            command.args(["-prefix", prefix]);
        }
        match side {
            Side::User => command.args(["-server", "/dev/null", "-user"]).arg(name("c")).arg("-header"),
            Side::Server => command
                .args(["-user", "/dev/null", "-header", "/dev/null", "-server"])
                .arg(name("c"))
                .arg("-sheader"),
        }
        .arg(name("h"))
        .arg("-list")
        .arg(name("l"))
        .stdin(std::fs::File::open(name("i"))?);
        let run = command.output().with_context(|| format!("cannot run {}", self.compiler().display()))?;
        if !run.status.success() {
            let text = String::from_utf8_lossy(&run.stderr);
            bail!("GNU MIG refuses {}: {} ({})", file.display(), text.trim(), run.status);
        }
        let read = |what: &str| {
            std::fs::read_to_string(name(what))
                .with_context(|| format!("cannot read {}", name(what).display()))
        };
        let prefix = flags.prefix.clone().unwrap_or_default();
        Ok(Written { code: read("c")?, header: read("h")?, list: read("l")?, prefix })
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    /// A package of the test's own, which holds what [`find`] looks for, or nothing of it.
    struct Made {
        path: &'static str,
        bytes: Vec<u8>,
        sha256: String,
    }

    /// An empty folder for one test.
    fn scratch(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("mig-wire-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).expect("a temporary folder");
        folder
    }

    fn made(scratch: &Path) -> Made {
        let tree = scratch.join("tree");
        for (file, text) in [
            (
                "DEBIAN/control",
                "Package: made\nVersion: 1\nArchitecture: all\nMaintainer: a test\nDescription: made\n",
            ),
            ("usr/lib/mig/x86_64-gnu-migcom", "the compiler"),
            ("usr/include/x86_64-linux-gnu/mach/mach.defs", "definitions"),
        ] {
            let file = tree.join(file);
            std::fs::create_dir_all(file.parent().expect("a folder")).expect("made");
            std::fs::write(file, text).expect("written");
        }
        let file = scratch.join("built.deb");
        let status = Command::new("dpkg-deb").arg("-b").args([&tree, &file]).stdout(Stdio::null()).status();
        assert!(status.is_ok_and(|s| s.success()), "dpkg-deb, which comes with dpkg, builds a package");
        let sum = Command::new("sha256sum").arg(&file).output().expect("sha256sum");
        let sha256 = String::from_utf8_lossy(&sum.stdout).split(' ').next().unwrap_or("").to_owned();
        assert_eq!(sha256.len(), 64);
        Made { path: "pool/made_1_all.deb", bytes: std::fs::read(&file).expect("built"), sha256 }
    }

    impl Made {
        fn package(&self) -> [Package<'_>; 1] {
            [Package { path: self.path, sha256: &self.sha256 }]
        }
    }

    fn no_network(_: &Package<'_>, _: &Path) -> Result<()> {
        bail!("no network")
    }

    #[test]
    fn without_network_the_packages_that_are_there_do() {
        let scratch = scratch("there");
        let (made, folder) = (made(&scratch), scratch.join("packages"));
        std::fs::create_dir_all(&folder).expect("made");
        std::fs::write(folder.join("made_1_all.deb"), &made.bytes).expect("written");
        let gnu = ensure_by(&folder, &made.package(), &no_network).expect("nothing need be fetched");
        assert_eq!(std::fs::read_to_string(gnu.compiler()).expect("unpacked"), "the compiler");
        // And what is unpacked does without the packages.
        std::fs::remove_file(folder.join("made_1_all.deb")).expect("removed");
        ensure_by(&folder, &made.package(), &no_network).expect("it is unpacked");
        std::fs::remove_dir_all(scratch).expect("removed");
    }

    #[test]
    fn without_network_and_packages_the_error_says_what_to_type() {
        let scratch = scratch("absent");
        let folder = scratch.join("packages");
        let error =
            format!("{:#}", ensure_by(&folder, &PACKAGES, &no_network).expect_err("there is nothing"));
        for package in &PACKAGES {
            assert!(error.contains(&format!("{DEBIAN}/{}", package.path)), "{error}");
        }
        assert!(error.contains(&format!("(cd {} && wget ", folder.display())), "{error}");
        assert!(error.contains("no network"), "{error}");
        assert!(find(&folder).is_none());
        std::fs::remove_dir_all(scratch).expect("removed");
    }

    #[test]
    fn a_damaged_package_is_refused_or_fetched_anew() {
        let scratch = scratch("damaged");
        let (made, folder) = (made(&scratch), scratch.join("packages"));
        std::fs::create_dir_all(&folder).expect("made");
        let file = folder.join("made_1_all.deb");
        let mut bytes = made.bytes.clone();
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
        std::fs::write(&file, &bytes).expect("written");
        let error =
            format!("{:#}", ensure_by(&folder, &made.package(), &no_network).expect_err("it is damaged"));
        let says = format!("is not the package: its SHA-256 should be {}", made.sha256);
        assert!(error.contains(&says), "{error}");
        assert!(!folder.join("root").exists(), "nothing of it is unpacked");
        let fetched = Cell::new(0);
        let network = |_: &Package<'_>, file: &Path| {
            fetched.set(fetched.get() + 1);
            std::fs::write(file, &made.bytes).context("it cannot be written")
        };
        ensure_by(&folder, &made.package(), &network).expect("there is a network");
        assert_eq!(fetched.get(), 1);
        std::fs::remove_dir_all(scratch).expect("removed");
    }

    #[test]
    fn a_package_that_holds_something_else_is_not_taken_for_gnu_mig() {
        let scratch = scratch("else");
        let (made, folder) = (made(&scratch), scratch.join("packages"));
        std::fs::create_dir_all(folder.join("root/usr")).expect("made");
        std::fs::write(folder.join("made_1_all.deb"), &made.bytes).expect("written");
        // Somebody has left a tree behind that is not the whole.
        let error = format!(
            "{:#}",
            ensure_by(&folder, &made.package(), &no_network).expect_err("the tree is not the packages'")
        );
        assert!(error.contains("delete it and try again"), "{error}");
        std::fs::remove_dir_all(scratch).expect("removed");
    }
}
