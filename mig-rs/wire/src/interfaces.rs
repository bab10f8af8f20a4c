//! Which interfaces are compared on the wire. The library and `build.rs` share this file.

use std::path::{Path, PathBuf};

/// Fixtures of this crate, and the workspace's own interfaces, as (name, file), sorted.
pub(crate) fn interfaces(manifest: &Path) -> std::io::Result<Vec<(String, PathBuf)>> {
    let mut list = Vec::new();
    for folder in include(manifest) {
        for entry in std::fs::read_dir(folder)? {
            let path = entry?.path();
            let stem = path.file_stem().map(|s| s.to_string_lossy().into_owned()).unwrap_or_default();
            // Files of types, and of macros, have no subsystem.
            let whole = path.extension().is_some_and(|e| e == "defs")
                && std::fs::read_to_string(&path)?.to_ascii_lowercase().contains("\nsubsystem ");
            if whole {
                list.push((stem, path));
            }
        }
    }
    list.sort();
    Ok(list)
}

/// Folders of the interfaces, and of what they include.
pub(crate) fn include(manifest: &Path) -> Vec<PathBuf> {
    vec![manifest.join("defs"), manifest.join("../../libhurd/defs")]
}
