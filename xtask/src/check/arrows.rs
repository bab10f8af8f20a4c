//! The dependency arrows of `docs/architecture.md`, checked on cargo's own metadata.
//!
//! A crate may depend on the crates that its row names. Dependencies of tests only are free, except that nothing outside
//! the host tools may use them.

use anyhow::{Context, Result};
use serde::Deserialize;

/// What user programs may use.
const USER: &[&str] = &["drover-abi", "mig-runtime", "hurd-stubs", "libhurd"];

/// Crate, and the workspace crates that it may depend on. Crates in `servers/` and `tests/guest` have [`USER`].
const ARROWS: &[(&str, &[&str])] = &[
    ("drover-abi", &[]),
    ("drover-core", &["drover-abi", "mig-runtime", "hurd-stubs"]),
    ("drover-machine", &["drover-abi", "drover-core"]),
    ("drover-kernel", &["drover-abi", "drover-core", "drover-machine"]),
    ("mig-runtime", &["drover-abi"]),
    ("hurd-stubs", &["drover-abi", "mig-runtime"]),
    ("libhurd", &["drover-abi", "mig-runtime", "hurd-stubs"]),
    ("mig-rs", &[]),
    ("mig-wire", &["mig-rs", "mig-runtime"]),
    ("xtask", &["drover-abi", "drover-machine", "mig-rs", "mig-wire"]),
    // The first task loads programs before there is an exec server.
    ("startup", &["drover-abi", "mig-runtime", "hurd-stubs", "libhurd", "exec"]),
    ("drover-tests", &["xtask"]),
    ("mig-fuzz", &["drover-abi", "mig-rs", "mig-runtime", "hurd-stubs"]),
];

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    manifest_path: String,
    dependencies: Vec<Dependency>,
}

#[derive(Deserialize)]
struct Dependency {
    name: String,
    kind: Option<String>,
    path: Option<String>,
}

/// The arrows that point the wrong way, from the text of `cargo metadata --no-deps`.
pub(super) fn check(metadata: &str) -> Result<Vec<String>> {
    let metadata: Metadata =
        serde_json::from_str(metadata).context("cargo metadata is not what it used to be")?;
    let mut errors = Vec::new();
    for package in &metadata.packages {
        let user =
            package.manifest_path.contains("/servers/") || package.manifest_path.contains("/tests/guest/");
        let allowed = match ARROWS.iter().find(|(name, _)| *name == package.name) {
            Some((_, allowed)) => allowed,
            None if user => USER,
            None => {
                errors.push(format!("{}: a crate without a row in xtask/src/check/arrows.rs", package.name));
                continue;
            }
        };
        for dependency in &package.dependencies {
            let ours = dependency.path.is_some();
            let tests_only = dependency.kind.as_deref() == Some("dev");
            // A server's build script may make Rust of its interface.
            let generates =
                user && dependency.kind.as_deref() == Some("build") && dependency.name == "mig-rs";
            if ours && !tests_only && !generates && !allowed.contains(&dependency.name.as_str()) {
                errors.push(format!("{} must not depend on {}", package.name, dependency.name));
            }
        }
    }
    Ok(errors)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(name: &str, dependency: &str, kind: &str) -> String {
        format!(
            r#"{{"packages":[{{"name":"{name}","manifest_path":"/w/servers/{name}/Cargo.toml","dependencies":
            [{{"name":"{dependency}","kind":{kind},"path":"/w/x"}},{{"name":"log","kind":null,"path":null}}]}}]}}"#
        )
    }

    #[test]
    fn an_arrow_that_points_up_is_found() {
        assert_eq!(check(&package("exec", "libhurd", "null")).unwrap(), Vec::<String>::new());
        assert_eq!(
            check(&package("exec", "drover-core", "null")).unwrap(),
            ["exec must not depend on drover-core"]
        );
        assert_eq!(check(&package("exec", "drover-core", "\"dev\"")).unwrap(), Vec::<String>::new());
        assert_eq!(check(&package("drover-core", "libhurd", "null")).unwrap().len(), 1);
        assert_eq!(check(&package("mig-rs", "drover-abi", "\"build\"")).unwrap().len(), 1);
        assert_eq!(check(&package("exec", "mig-rs", "\"build\"")).unwrap(), Vec::<String>::new());
        assert_eq!(check(&package("exec", "mig-rs", "null")).unwrap().len(), 1);
    }

    #[test]
    fn a_crate_outside_the_table_is_found() {
        let text = package("novel", "libhurd", "null").replace("/servers/", "/other/");
        assert!(check(&text).unwrap()[0].contains("without a row"));
    }
}
