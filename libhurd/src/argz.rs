//! Argument vectors as the Hurd passes them: words, each ended by a NUL, one after the other.

use alloc::vec::Vec;

/// The words of `argz`. A last word without its NUL counts.
pub fn words(argz: &[u8]) -> impl Iterator<Item = &[u8]> + Clone {
    argz.strip_suffix(b"\0")
        .or(Some(argz))
        .filter(|_| !argz.is_empty())
        .into_iter()
        .flat_map(|text| text.split(|&byte| byte == 0))
}

/// The value of `name` among words of the form `NAME=value`; the first one counts.
#[must_use]
pub fn variable<'a>(envz: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    words(envz).find_map(|word| word.strip_prefix(name)?.strip_prefix(b"="))
}

/// Puts words together. A NUL inside a word would split it, so such a word is cut there.
#[must_use]
pub fn join<'a>(words: impl IntoIterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut argz = Vec::new();
    for word in words {
        push(&mut argz, word);
    }
    argz
}

/// Appends one word, up to its first NUL.
pub fn push(argz: &mut Vec<u8>, word: &[u8]) {
    let end = word.iter().position(|&byte| byte == 0).unwrap_or(word.len());
    argz.extend_from_slice(&word[..end]);
    argz.push(0);
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    #[test]
    fn splits_and_joins() {
        assert_eq!(words(b"").count(), 0);
        assert_eq!(words(b"\0").collect::<Vec<_>>(), [b""]);
        assert_eq!(words(b"a\0\0bc\0").collect::<Vec<_>>(), [&b"a"[..], b"", b"bc"]);
        assert_eq!(words(b"a\0b").collect::<Vec<_>>(), [b"a", b"b"]);
        assert_eq!(join([&b"a"[..], b"", b"b\0c"]), b"a\0\0b\0");
    }

    #[test]
    fn finds_variables() {
        let envz = b"PATH=/bin\0world=classic\0world=other\0worldly=1\0";
        assert_eq!(variable(envz, b"world"), Some(&b"classic"[..]));
        assert_eq!(variable(envz, b"worl"), None);
    }
}
