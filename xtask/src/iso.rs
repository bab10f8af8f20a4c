//! The boot ISO: GRUB, the kernel, the modules, the root image, and a menu.
//!
//! The menu's text is `grub/grub.cfg.in`; its four placeholders are filled in here. With a boot line of its own the ISO boots
//! it at once; without one it shows the menu.

use crate::compile::{Built, write_if_changed};
use crate::workspace::{Workspace, make_dir};
use crate::{progress, tools};
use anyhow::{Context, Result, ensure};
use std::path::{Path, PathBuf};

/// What an ISO boots.
#[derive(Debug, Clone, Default)]
pub struct Boot {
    /// The kernel's boot line; `None` shows the menu.
    pub line: Option<String>,
    /// Menu time-out in seconds when there is no boot line.
    pub timeout: u32,
}

/// A file that GRUB loads beside the kernel, and the name the first task knows it by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Module {
    /// The name, also the file's name on the ISO.
    pub name: String,
    /// The file on the host.
    pub file: PathBuf,
}

/// Fills in the menu template.
///
/// # Errors
/// When the template lacks a placeholder, or the boot line holds a character that GRUB would interpret.
pub fn grub_cfg(template: &str, boot: &Boot, modules: &[Module]) -> Result<String> {
    let line = boot.line.as_deref().unwrap_or("mode=shell world=accounted");
    ensure!(
        line.chars().all(|c| c.is_ascii_alphanumeric() || " =,._-/:".contains(c)),
        "the boot line `{line}` holds a character that GRUB would interpret; use letters, digits and =,._-/: only"
    );
    let loads: Vec<String> = modules.iter().map(|m| format!("    module2 /boot/{0} {0}", m.name)).collect();
    let (timeout, default) = if boot.line.is_some() { (0, "direct") } else { (boot.timeout, "shell") };
    let mut text = template.to_owned();
    for (key, value) in [
        ("{{TIMEOUT}}", timeout.to_string()),
        ("{{DEFAULT}}", default.to_owned()),
        ("{{ARGS}}", line.to_owned()),
        ("{{MODULES}}", loads.join("\n")),
    ] {
        ensure!(text.contains(key), "grub/grub.cfg.in has no {key}");
        text = text.replace(key, &value);
    }
    Ok(text)
}

/// The modules of an ISO: the boot programs, the test programs, the kernel's symbols and the root image.
#[must_use]
pub fn modules(built: &Built, image: Option<&Path>) -> Vec<Module> {
    let mut modules: Vec<Module> = built
        .programs
        .iter()
        .filter(|(p, _)| p.is_module())
        .map(|(p, file)| Module { name: p.name.clone(), file: file.clone() })
        .collect();
    let symbols = Module { name: drover_machine::symbols::MODULE.into(), file: built.symbols.clone() };
    modules.push(symbols);
    if let Some(image) = image {
        modules.push(Module { name: "root.img".into(), file: image.to_path_buf() });
    }
    modules
}

/// Makes the ISO at `out`, and says so.
///
/// # Errors
/// When a file cannot be read or written or grub-mkrescue fails; the text holds its output.
pub fn make(ws: &Workspace, built: &Built, modules: &[Module], boot: &Boot, out: &Path) -> Result<()> {
    progress::step(&format!("making {}", out.display()), || make_quietly(ws, built, modules, boot, out))
}

/// Makes the ISO at `out`.
///
/// # Errors
/// As for [`make`].
pub fn make_quietly(
    ws: &Workspace,
    built: &Built,
    modules: &[Module],
    boot: &Boot,
    out: &Path,
) -> Result<()> {
    let template_path = ws.root.join("grub/grub.cfg.in");
    let template = std::fs::read_to_string(&template_path)
        .with_context(|| format!("cannot read {}", template_path.display()))?;
    let cfg = grub_cfg(&template, boot, modules)?;
    make_dir(&ws.out())?;
    if let Some(parent) = out.parent() {
        make_dir(parent)?;
    }
    let tree = tempfile::Builder::new().prefix("iso-").tempdir_in(ws.out())?;
    let boot_dir = tree.path().join("boot");
    make_dir(&boot_dir.join("grub"))?;
    write_if_changed(&boot_dir.join("grub/grub.cfg"), cfg.as_bytes())?;
    link(&built.kernel, &boot_dir.join(crate::programs::KERNEL))?;
    for module in modules {
        link(&module.file, &boot_dir.join(&module.name))?;
    }
    let mut command = tools::command("grub-mkrescue")?;
    command.args(["-d", "/usr/lib/grub/i386-pc", "-o"]).arg(out).arg(tree.path());
    tools::run(command)?;
    Ok(())
}

fn link(from: &Path, to: &Path) -> Result<()> {
    std::fs::hard_link(from, to)
        .or_else(|_| std::fs::copy(from, to).map(|_| ()))
        .with_context(|| format!("cannot copy {} to {}", from.display(), to.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEMPLATE: &str =
        "set timeout={{TIMEOUT}}\nset default={{DEFAULT}}\nmultiboot2 /boot/k {{ARGS}}\n{{MODULES}}\n";

    #[test]
    fn a_boot_line_boots_at_once_and_no_line_shows_the_menu() {
        let modules = [Module { name: "startup".into(), file: "/x/startup".into() }];
        let boot = Boot { line: Some("mode=test group=ports".into()), timeout: 5 };
        let text = grub_cfg(TEMPLATE, &boot, &modules).unwrap();
        assert_eq!(
            text,
            "set timeout=0\nset default=direct\nmultiboot2 /boot/k mode=test group=ports\n    module2 /boot/startup startup\n"
        );
        let menu = grub_cfg(TEMPLATE, &Boot { line: None, timeout: 5 }, &modules).unwrap();
        assert!(menu.contains("timeout=5") && menu.contains("default=shell"));
    }

    #[test]
    fn a_boot_line_that_grub_would_interpret_and_an_incomplete_template_are_refused() {
        let boot = Boot { line: Some("mode=$x".into()), timeout: 0 };
        assert!(grub_cfg(TEMPLATE, &boot, &[]).is_err());
        assert!(grub_cfg("no placeholders", &Boot::default(), &[]).is_err());
    }
}
