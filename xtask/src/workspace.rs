//! Where things are: the workspace root and the folders for what is made.

use anyhow::{Context, Result, bail};
use std::path::{Path, PathBuf};

/// The workspace on disk.
#[derive(Debug, Clone)]
pub struct Workspace {
    /// The folder that holds the root `Cargo.toml`.
    pub root: PathBuf,
    /// Cargo's target folder (`CARGO_TARGET_DIR`, or `target` in the root).
    pub target: PathBuf,
}

impl Workspace {
    /// Finds the workspace by walking up from the current folder.
    ///
    /// # Errors
    /// When no folder above holds a `Cargo.toml` with a `[workspace]` table.
    pub fn locate() -> Result<Self> {
        let start = std::env::current_dir().context("the current folder cannot be read")?;
        let mut dir: &Path = &start;
        loop {
            let manifest = dir.join("Cargo.toml");
            if std::fs::read_to_string(&manifest).is_ok_and(|t| t.lines().any(|l| l.trim() == "[workspace]"))
            {
                break;
            }
            match dir.parent() {
                Some(up) => dir = up,
                None => {
                    bail!("{} is not inside the Drover workspace; run this from the clone", start.display())
                }
            }
        }
        let root = dir.to_path_buf();
        let target = match std::env::var_os("CARGO_TARGET_DIR") {
            Some(t) if !t.is_empty() => root.join(t),
            _ => root.join("target"),
        };
        Ok(Self { root, target })
    }

    /// Made things that are not reports: programs, images, ISOs, logs.
    #[must_use]
    pub fn out(&self) -> PathBuf {
        self.target.join("drover")
    }

    /// Things that are slow to make, named by a hash of what they are made from.
    #[must_use]
    pub fn cache(&self) -> PathBuf {
        self.out().join("cache")
    }

    /// Serial logs, one per machine booted.
    #[must_use]
    pub fn logs(&self) -> PathBuf {
        self.out().join("logs")
    }

    /// The experiment's reports.
    #[must_use]
    pub fn dos(&self) -> PathBuf {
        self.target.join("dos")
    }
}

/// Creates a folder and all above it, naming it in the error.
///
/// # Errors
/// When the folder cannot be created.
pub fn make_dir(path: &Path) -> Result<()> {
    std::fs::create_dir_all(path).with_context(|| format!("cannot create the folder {}", path.display()))
}
