//! Finding and running host programs. Debian keeps `mke2fs`, `debugfs` and `e2fsck` in `/usr/sbin`, which is not on every user's path.

use anyhow::{Context, Result, bail};
use std::ffi::OsStr;
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// The full path of a program, looked up in `PATH` and then in the system administrator's folders.
#[must_use]
pub fn find(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let extra = ["/usr/local/sbin", "/usr/sbin", "/sbin", "/usr/bin", "/bin"].map(PathBuf::from);
    std::env::split_paths(&path).chain(extra).map(|dir| dir.join(name)).find(|p| p.is_file())
}

/// A command for a program that must be there.
///
/// # Errors
/// When the program is not installed; the text says how to get it.
pub fn command(name: &str) -> Result<Command> {
    let path = find(name).with_context(|| {
        format!("`{name}` is not installed; `cargo xtask doctor` prints the line that installs it")
    })?;
    Ok(Command::new(path))
}

/// Runs a command quietly; its output is shown only when it fails.
///
/// # Errors
/// When the command cannot start or exits with a status other than those in `accept`.
pub fn run_accepting(mut command: Command, accept: &[i32]) -> Result<String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("cannot run {name}"))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    match output.status.code() {
        Some(code) if accept.contains(&code) => Ok(text),
        _ => {
            let args: Vec<_> = command.get_args().map(OsStr::to_string_lossy).collect();
            bail!(
                "{name} {} ended with {}\n{text}{}",
                args.join(" "),
                output.status,
                String::from_utf8_lossy(&output.stderr)
            )
        }
    }
}

/// Runs a command quietly; it must exit with status 0.
///
/// # Errors
/// As for [`run_accepting`].
pub fn run(command: Command) -> Result<String> {
    run_accepting(command, &[0])
}
