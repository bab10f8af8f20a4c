//! Rules of the source tree that no compiler knows.
//!
//! * `module-doc-first`: every Rust file begins with `//!`;
//! * `one-idea-one-file`: a file above 600 lines is pointed out;
//! * `lints`: every crate takes the workspace's lints;
//! * `nothing-left-open`: no marker of unfinished work in code or comments;
//! * `unsafe-budget`: `unsafe` only in the files that `xtask/unsafe-files.txt` lists, and every listed file needs it;
//! * `no-alloc`: the kernel does not link `alloc`.

use super::code::{code_only, lines_with_word};
use anyhow::{Context, Result};
use std::path::{Path, PathBuf};

/// Lines above which a file is pointed out.
const LONG: usize = 600;

/// The files that may hold `unsafe`.
const UNSAFE_FILES: &str = "xtask/unsafe-files.txt";

/// What was found.
#[derive(Debug, Default)]
pub(super) struct Findings {
    pub(super) errors: Vec<String>,
    pub(super) warnings: Vec<String>,
}

/// Checks the whole tree.
pub(super) fn tidy(root: &Path) -> Result<Findings> {
    let mut findings = Findings::default();
    let list = std::fs::read_to_string(root.join(UNSAFE_FILES))
        .with_context(|| format!("cannot read {UNSAFE_FILES}"))?;
    let allowed: Vec<&str> =
        list.lines().map(str::trim).filter(|l| !l.is_empty() && !l.starts_with('#')).collect();
    let mut used = vec![false; allowed.len()];
    for path in files(root)? {
        let name = path.strip_prefix(root).unwrap_or(&path).to_string_lossy().into_owned();
        let Ok(text) = std::fs::read_to_string(&path) else { continue };
        if name.ends_with(".rs") {
            let listed = allowed.iter().position(|a| *a == name);
            let has_unsafe = rust_file(&name, &text, listed.is_some(), &mut findings);
            if let Some(i) = listed {
                used[i] |= has_unsafe;
            }
        } else if name.ends_with("Cargo.toml") {
            manifest(&name, &text, &mut findings);
        }
    }
    for (entry, _) in allowed.iter().zip(&used).filter(|(_, used)| !**used) {
        findings.errors.push(format!("{UNSAFE_FILES}: {entry} holds no `unsafe`: take it off the list"));
    }
    Ok(findings)
}

/// Rust files and manifests, without what is built.
fn files(root: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let mut folders = vec![root.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in
            std::fs::read_dir(&folder).with_context(|| format!("cannot read {}", folder.display()))?
        {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if entry.file_type()?.is_dir() {
                if name != "target" && !name.starts_with('.') {
                    folders.push(entry.path());
                }
            } else if name.ends_with(".rs") || name == "Cargo.toml" {
                files.push(entry.path());
            }
        }
    }
    files.sort();
    Ok(files)
}

/// Checks one Rust file; returns whether it holds `unsafe`.
fn rust_file(name: &str, text: &str, may_be_unsafe: bool, findings: &mut Findings) -> bool {
    // A notice in plain comments may stand before it (generated files have one).
    let first = text.lines().find(|l| l.starts_with("//!") || !(l.starts_with("//") || l.trim().is_empty()));
    if !first.is_some_and(|l| l.starts_with("//!")) {
        findings.errors.push(format!("{name}: no module documentation (`//!`) at its top"));
    }
    let lines = text.lines().count();
    let generated = text.starts_with("// Generated");
    if lines > LONG && !generated {
        findings.warnings.push(format!("{name}: {lines} lines; does it hold more than one idea?"));
    }
    // Spelled in halves, so that this file keeps its own rule.
    for word in [concat!("FIX", "ME"), concat!("TO", "DO"), concat!("XX", "X")] {
        for line in lines_with_word(text, word) {
            findings.errors.push(format!("{name}:{line}: `{word}`: finish it or write an issue"));
        }
    }
    let code = code_only(text);
    for call in [concat!("todo", "!("), concat!("unimplemented", "!(")] {
        if code.contains(call) {
            findings.errors.push(format!("{name}: `{call})`: not finished"));
        }
    }
    if name.starts_with("kernel/") && code.contains("extern crate alloc") {
        findings.errors.push(format!("{name}: the kernel does not link alloc"));
    }
    let unsafe_lines = lines_with_word(&code, "unsafe");
    if let Some(line) = unsafe_lines.first()
        && !may_be_unsafe
    {
        findings.errors.push(format!("{name}:{line}: `unsafe` in a file that {UNSAFE_FILES} does not list"));
    }
    !unsafe_lines.is_empty()
}

fn manifest(name: &str, text: &str, findings: &mut Findings) {
    if text.contains("[workspace]") {
        return;
    }
    let mut lines = text.lines().map(str::trim).skip_while(|l| *l != "[lints]");
    if lines.next().is_none() || lines.find(|l| !l.is_empty()) != Some("workspace = true") {
        findings.errors.push(format!("{name}: no `[lints] workspace = true`"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn errors(name: &str, text: &str, may_be_unsafe: bool) -> Vec<String> {
        let mut findings = Findings::default();
        rust_file(name, text, may_be_unsafe, &mut findings);
        findings.errors
    }

    #[test]
    fn each_rule_can_fail() {
        assert_eq!(errors("a.rs", "//! Fine.\nfn f() {}\n", false), Vec::<String>::new());
        assert_eq!(errors("a.rs", "// Generated.\n\n//! Fine.\n", false), Vec::<String>::new());
        assert!(errors("a.rs", "fn f() {}", false)[0].contains("module documentation"));
        assert!(errors("a.rs", concat!("//! x\n// TO", "DO\n"), false)[0].contains("a.rs:2"));
        assert!(errors("a.rs", concat!("//! x\nfn f() { todo", "!() }"), false)[0].contains("not finished"));
        assert!(errors("a.rs", "//! x\nunsafe fn f() {}", false)[0].contains("does not list"));
        assert_eq!(errors("a.rs", "//! x\nunsafe fn f() {}", true), Vec::<String>::new());
        assert_eq!(errors("a.rs", "//! unsafe\n#![forbid(unsafe_code)]\n", false), Vec::<String>::new());
        assert!(errors("kernel/a.rs", "//! x\nextern crate alloc;", false)[0].contains("alloc"));
        let mut findings = Findings::default();
        rust_file("long.rs", &format!("//! x{}", "\n".repeat(700)), false, &mut findings);
        assert_eq!(findings.warnings.len(), 1);
    }

    #[test]
    fn a_manifest_without_the_lints_is_found() {
        let mut findings = Findings::default();
        manifest("good/Cargo.toml", "[package]\n[lints]\nworkspace = true\n", &mut findings);
        manifest("Cargo.toml", "[workspace]\n", &mut findings);
        assert_eq!(findings.errors, Vec::<String>::new());
        manifest("bad/Cargo.toml", "[package]\n", &mut findings);
        assert_eq!(findings.errors.len(), 1);
    }
}
