//! One line of input as words: blanks, quotes, backslashes, comments. Pure.
//!
//! What other shells understand and this one does not (pipes, redirection, lists, variables, patterns) is refused by name instead of taken literally.

use alloc::vec::Vec;

/// Most words of a line.
const MAX_WORDS: usize = 256;

/// Why a line is not understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Misread {
    /// A quote without its end.
    OpenQuote(char),
    /// A backslash at the end.
    OpenBackslash,
    /// Something that this shell does not have.
    Unsupported(char),
    /// More than [`MAX_WORDS`].
    TooLong,
}

impl core::fmt::Display for Misread {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::OpenQuote(quote) => write!(f, "no closing {quote}"),
            Self::OpenBackslash => f.write_str("nothing after the last \\"),
            Self::Unsupported(sign) => {
                write!(f, "{sign} means nothing here (no pipes, lists, variables, patterns); quote it")
            }
            Self::TooLong => write!(f, "more than {MAX_WORDS} words"),
        }
    }
}

/// The words of a line, quotes resolved.
pub(crate) fn words(line: &[u8]) -> Result<Vec<Vec<u8>>, Misread> {
    let mut words: Vec<Vec<u8>> = Vec::new();
    let mut word: Option<Vec<u8>> = None;
    let mut bytes = line.iter().copied();
    while let Some(byte) = bytes.next() {
        match byte {
            b' ' | b'\t' | b'\r' | b'\n' => {
                if let Some(done) = word.take() {
                    push(&mut words, done)?;
                }
            }
            b'#' if word.is_none() => break,
            b'\'' | b'"' => quoted(byte, &mut bytes, word.get_or_insert_default())?,
            b'\\' => word.get_or_insert_default().push(bytes.next().ok_or(Misread::OpenBackslash)?),
            b'|' | b'&' | b';' | b'<' | b'>' | b'$' | b'`' | b'*' | b'?' | b'(' | b')' => {
                return Err(Misread::Unsupported(char::from(byte)));
            }
            other => word.get_or_insert_default().push(other),
        }
    }
    if let Some(done) = word {
        push(&mut words, done)?;
    }
    Ok(words)
}

fn push(words: &mut Vec<Vec<u8>>, word: Vec<u8>) -> Result<(), Misread> {
    if words.len() >= MAX_WORDS {
        return Err(Misread::TooLong);
    }
    words.push(word);
    Ok(())
}

/// Up to the closing quote; inside double ones a backslash takes the next byte as it is.
fn quoted(quote: u8, bytes: &mut impl Iterator<Item = u8>, word: &mut Vec<u8>) -> Result<(), Misread> {
    let open = Misread::OpenQuote(char::from(quote));
    loop {
        match bytes.next().ok_or(open)? {
            byte if byte == quote => return Ok(()),
            b'\\' if quote == b'"' => word.push(bytes.next().ok_or(open)?),
            byte => word.push(byte),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(line: &str) -> Result<Vec<std::string::String>, Misread> {
        let words = words(line.as_bytes())?;
        Ok(words.into_iter().map(|word| std::string::String::from_utf8(word).unwrap()).collect())
    }

    #[test]
    fn blanks_quotes_comments() {
        assert_eq!(split("").unwrap(), [""; 0]);
        assert_eq!(split("  ls\t-l  /x # all\n").unwrap(), ["ls", "-l", "/x"]);
        assert_eq!(split("a'b c'd \"e\\\"f\" '' x#y").unwrap(), ["ab cd", "e\"f", "", "x#y"]);
        assert_eq!(split(r"a\ b '\'").unwrap(), ["a b", "\\"]);
        assert_eq!(split("'|' \\*").unwrap(), ["|", "*"]);
    }

    #[test]
    fn what_is_missing_is_named() {
        assert_eq!(split("'a"), Err(Misread::OpenQuote('\'')));
        assert_eq!(split("\"a\\"), Err(Misread::OpenQuote('"')));
        assert_eq!(split("a\\"), Err(Misread::OpenBackslash));
        for line in ["a | b", "a > b", "a; b", "a &", "echo $x", "ls *"] {
            assert!(matches!(split(line), Err(Misread::Unsupported(_))), "{line}");
        }
        assert_eq!(split(&"x ".repeat(257)), Err(Misread::TooLong));
        assert_eq!(split(&"x ".repeat(256)).unwrap().len(), 256);
    }
}
