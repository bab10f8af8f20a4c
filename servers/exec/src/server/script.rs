//! Scripts: the arguments of a script's interpreter. Pure.

use alloc::vec::Vec;

use exec_image::hashbang::Hashbang;
use libhurd::argz;

/// Scripts whose interpreters are scripts, so deep at most; then `ELOOP`.
pub(super) const MAX_SCRIPTS: u32 = 4;

/// The interpreter's arguments: its name, the argument of the line if there is one, the script's name, and the script's arguments behind its first.
pub(super) fn arguments(line: &Hashbang<'_>, script: &[u8], argv: &[u8]) -> Vec<u8> {
    let mut new = Vec::new();
    argz::push(&mut new, line.interpreter);
    if let Some(argument) = line.argument {
        argz::push(&mut new, argument);
    }
    let first = argz::words(argv).next().unwrap_or_default();
    argz::push(&mut new, if script.is_empty() { first } else { script });
    for word in argz::words(argv).skip(1) {
        argz::push(&mut new, word);
    }
    new
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_the_hurd_does() {
        let line = Hashbang { interpreter: b"/bin/sh", argument: Some(b"-e -x") };
        assert_eq!(arguments(&line, b"/bin/script", b"script\0a\0\0"), b"/bin/sh\0-e -x\0/bin/script\0a\0\0");
        let line = Hashbang { interpreter: b"/bin/sh", argument: None };
        assert_eq!(arguments(&line, b"", b"script\0b\0"), b"/bin/sh\0script\0b\0");
        assert_eq!(arguments(&line, b"", b""), b"/bin/sh\0\0");
    }
}
