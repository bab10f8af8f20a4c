//! The client's half of name lookup: what a directory's answer asks for next. A pure function; [`crate::file`] carries it out.
//!
//! A directory answers with a port and one of three requests: `FS_RETRY_NORMAL` (go on with the rest of the name there),
//! `FS_RETRY_REAUTH` (show who you are to that port first) and `FS_RETRY_MAGICAL` (the name means something in your own process). A chain
//! of answers is cut after [`MAX_STEPS`].

use crate::errno::{EGRATUITOUS, ELOOP, ENOENT};

/// Most answers followed in one lookup; then `ELOOP`.
pub const MAX_STEPS: u32 = 32;

/// `retry_type`: the rest of the name is to be looked up on the result, if there is a rest.
pub const FS_RETRY_NORMAL: i32 = 1;
/// `retry_type`: reauthenticate the result, then look up the rest on it, even if it is empty.
pub const FS_RETRY_REAUTH: i32 = 2;
/// `retry_type`: the rest says where to go on.
pub const FS_RETRY_MAGICAL: i32 = 3;

/// What to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next<'a> {
    /// The result is what was looked for.
    Done,
    /// Look the name up on the result.
    OnResult(&'a [u8]),
    /// Reauthenticate the result and look the name up on the new port.
    Reauthenticate(&'a [u8]),
    /// Drop the result, look the name up on the root directory.
    OnRoot(&'a [u8]),
    /// Drop the result, take that descriptor, and look the name up on it unless it is empty.
    OnDescriptor(usize, &'a [u8]),
}

/// One lookup in progress.
#[derive(Clone, Copy, Debug, Default)]
pub struct Progress {
    steps: u32,
}

impl Progress {
    /// What the answer (`retry`, `name`) asks for.
    ///
    /// # Errors
    /// `ELOOP` after [`MAX_STEPS`] answers, `EGRATUITOUS` for what no directory should ask.
    pub fn next<'a>(&mut self, retry: i32, name: &'a [u8]) -> Result<Next<'a>, i32> {
        if retry == FS_RETRY_NORMAL && name.is_empty() {
            return Ok(Next::Done);
        }
        self.steps += 1;
        if self.steps > MAX_STEPS {
            return Err(ELOOP);
        }
        match retry {
            FS_RETRY_NORMAL => Ok(Next::OnResult(name)),
            FS_RETRY_REAUTH => Ok(Next::Reauthenticate(name)),
            FS_RETRY_MAGICAL => magical(name),
            _ => Err(EGRATUITOUS),
        }
    }
}

fn magical(name: &[u8]) -> Result<Next<'_>, i32> {
    if name.first() == Some(&b'/') {
        return Ok(Next::OnRoot(strip_slashes(name)));
    }
    let Some(rest) = name.strip_prefix(b"fd/") else { return Err(EGRATUITOUS) };
    let end = rest.iter().position(|&byte| byte == b'/').unwrap_or(rest.len());
    let (digits, rest) = rest.split_at(end);
    Ok(Next::OnDescriptor(number(digits).ok_or(ENOENT)?, strip_slashes(rest)))
}

/// A decimal number, digits only.
fn number(digits: &[u8]) -> Option<usize> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0usize, |n, &digit| {
        let digit = digit.checked_sub(b'0').filter(|&d| d < 10)?;
        n.checked_mul(10)?.checked_add(usize::from(digit))
    })
}

/// The name without the slashes that it begins with.
#[must_use]
pub fn strip_slashes(name: &[u8]) -> &[u8] {
    let start = name.iter().position(|&byte| byte != b'/').unwrap_or(name.len());
    &name[start..]
}

/// A path as (from the root?, the name to look up).
#[must_use]
pub fn split_root(path: &[u8]) -> (bool, &[u8]) {
    (path.first() == Some(&b'/'), strip_slashes(path))
}

/// The directory part and the last component. Slashes at the end belong to the component before them; the directory of a bare name is
/// empty (the current directory), that of `/name` is `/`.
#[must_use]
pub fn split_last(path: &[u8]) -> (&[u8], &[u8]) {
    let end = path.iter().rposition(|&byte| byte != b'/').map_or(0, |last| last + 1);
    let trimmed = &path[..end];
    match trimmed.iter().rposition(|&byte| byte == b'/') {
        Some(0) => (&path[..1], &trimmed[1..]),
        Some(at) => (&path[..at], &trimmed[at + 1..]),
        None => (&path[..0], trimmed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn once(retry: i32, name: &[u8]) -> Result<Next<'_>, i32> {
        Progress::default().next(retry, name)
    }

    #[test]
    fn the_three_requests() {
        assert_eq!(once(FS_RETRY_NORMAL, b""), Ok(Next::Done));
        assert_eq!(once(FS_RETRY_NORMAL, b"a/b"), Ok(Next::OnResult(b"a/b")));
        assert_eq!(once(FS_RETRY_REAUTH, b""), Ok(Next::Reauthenticate(b"")));
        assert_eq!(once(FS_RETRY_MAGICAL, b"//usr/bin"), Ok(Next::OnRoot(b"usr/bin")));
        assert_eq!(once(FS_RETRY_MAGICAL, b"/"), Ok(Next::OnRoot(b"")));
        assert_eq!(once(FS_RETRY_MAGICAL, b"fd/12"), Ok(Next::OnDescriptor(12, b"")));
        assert_eq!(once(FS_RETRY_MAGICAL, b"fd/3//x"), Ok(Next::OnDescriptor(3, b"x")));
        for bad in [&b"fd/"[..], b"fd/x", b"fd/1x", b"fd/99999999999999999999999"] {
            assert_eq!(once(FS_RETRY_MAGICAL, bad), Err(ENOENT));
        }
        assert_eq!(once(FS_RETRY_MAGICAL, b"tty"), Err(EGRATUITOUS));
        assert_eq!(once(7, b""), Err(EGRATUITOUS));
    }

    #[test]
    fn loops_end() {
        let mut progress = Progress::default();
        for _ in 0..MAX_STEPS {
            assert!(progress.next(FS_RETRY_REAUTH, b"x").is_ok());
        }
        assert_eq!(progress.next(FS_RETRY_REAUTH, b"x"), Err(ELOOP));
        assert_eq!(progress.next(FS_RETRY_NORMAL, b""), Ok(Next::Done), "the end of a long chain is an end");
    }

    #[test]
    fn paths() {
        assert_eq!(split_root(b"//a/b"), (true, &b"a/b"[..]));
        assert_eq!(split_root(b"a"), (false, &b"a"[..]));
        assert_eq!(split_last(b"a"), (&b""[..], &b"a"[..]));
        assert_eq!(split_last(b"/a/"), (&b"/"[..], &b"a"[..]));
        assert_eq!(split_last(b"/a/b"), (&b"/a"[..], &b"b"[..]));
        assert_eq!(split_last(b"a//b//"), (&b"a/"[..], &b"b"[..]));
        assert_eq!(split_last(b"/"), (&b""[..], &b""[..]));
    }
}
