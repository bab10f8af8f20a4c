//! `#! interpreter [argument]`.
//!
//! The rest of the line after the interpreter is *one* argument, inner blanks included, outer blanks not: as on the Hurd
//! and Linux. The line must end with a newline within [`HASHBANG_BYTES`]: a cut-off name is never run.

use crate::limits::HASHBANG_BYTES;
use drover_abi::returns::hurd_errno;

/// The Hurd's `ENOEXEC`.
const ENOEXEC: i32 = 8;
/// The Hurd's `ENAMETOOLONG`.
const ENAMETOOLONG: i32 = 63;

/// What the line says; both are slices of the file's bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hashbang<'a> {
    /// File name of the interpreter: never empty, no blanks, no NUL.
    pub interpreter: &'a [u8],
    /// Its one argument, if there is any: never empty, no NUL.
    pub argument: Option<&'a [u8]>,
}

/// Why a `#!` line is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HashbangError {
    /// The file does not begin with `#!`.
    NotHashbang,
    /// Nothing but blanks after `#!`.
    NoInterpreter,
    /// The file ends before the line does.
    NoNewline,
    /// No newline within [`HASHBANG_BYTES`].
    TooLong,
    /// A NUL byte in the line: it could not be passed on as a string.
    NulByte,
}

impl HashbangError {
    /// The code for the wire: `ENOEXEC`, or `ENAMETOOLONG` for a line without end.
    #[must_use]
    pub const fn code(self) -> i32 {
        match self {
            Self::TooLong => hurd_errno(ENAMETOOLONG),
            Self::NotHashbang | Self::NoInterpreter | Self::NoNewline | Self::NulByte => hurd_errno(ENOEXEC),
        }
    }
}

/// Parses the line at the start of `head`: the file's leading bytes, at least [`HASHBANG_BYTES`] of them unless the file
/// is shorter. Looks at no more than that.
///
/// # Errors
/// See [`HashbangError`].
pub fn parse(head: &[u8]) -> Result<Hashbang<'_>, HashbangError> {
    let rest = head.strip_prefix(b"#!").ok_or(HashbangError::NotHashbang)?;
    let bounded = rest.get(..HASHBANG_BYTES - 2);
    let line = bounded.unwrap_or(rest);
    let end = line.iter().position(|&b| b == b'\n').ok_or(match bounded {
        Some(_) => HashbangError::TooLong,
        None => HashbangError::NoNewline,
    })?;
    let line = trim(line.get(..end).unwrap_or_default());
    if line.is_empty() {
        return Err(HashbangError::NoInterpreter);
    }
    if line.contains(&0) {
        return Err(HashbangError::NulByte);
    }
    let cut = line.iter().position(|&b| blank(b)).unwrap_or(line.len());
    let (interpreter, argument) = line.split_at(cut);
    let argument = trim(argument);
    Ok(Hashbang { interpreter, argument: (!argument.is_empty()).then_some(argument) })
}

/// Blanks of a `#!` line. A carriage return is not one: it belongs to the name, and the name will not be found.
const fn blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

fn trim(mut bytes: &[u8]) -> &[u8] {
    while let [first, rest @ ..] = bytes
        && blank(*first)
    {
        bytes = rest;
    }
    while let [rest @ .., last] = bytes
        && blank(*last)
    {
        bytes = rest;
    }
    bytes
}
