//! Rust source without its comments and literals, so that a rule about code does not trip over prose.

/// Replaces comments, string and character literals by spaces; line breaks stay, so line numbers hold.
pub(super) fn code_only(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let end = match &bytes[at..] {
            [b'/', b'/', ..] => find(bytes, at, b"\n").unwrap_or(bytes.len()),
            [b'/', b'*', ..] => block_comment_end(bytes, at),
            [b'"', ..] => string_end(bytes, at + 1),
            [b'r', b'"' | b'#', ..] if !after_word(bytes, at) => raw_string_end(bytes, at).unwrap_or(at),
            [b'\'', ..] => char_end(bytes, at).unwrap_or(at),
            _ => at,
        };
        if end == at {
            out.push(bytes[at]);
            at += 1;
        } else {
            out.extend(bytes[at..end].iter().map(|&b| if b == b'\n' { b'\n' } else { b' ' }));
            at = end;
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

fn after_word(bytes: &[u8], at: usize) -> bool {
    at > 0 && (bytes[at - 1].is_ascii_alphanumeric() || bytes[at - 1] == b'_')
}

fn find(bytes: &[u8], from: usize, what: &[u8]) -> Option<usize> {
    bytes.get(from..)?.windows(what.len()).position(|w| w == what).map(|p| from + p)
}

fn block_comment_end(bytes: &[u8], start: usize) -> usize {
    let mut depth = 0;
    let mut at = start;
    while at < bytes.len() {
        match &bytes[at..] {
            [b'/', b'*', ..] => (depth, at) = (depth + 1, at + 2),
            [b'*', b'/', ..] => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            return at;
        }
    }
    bytes.len()
}

fn string_end(bytes: &[u8], mut at: usize) -> usize {
    while at < bytes.len() {
        match bytes[at] {
            b'\\' => at += 2,
            b'"' => return at + 1,
            _ => at += 1,
        }
    }
    bytes.len()
}

fn raw_string_end(bytes: &[u8], at: usize) -> Option<usize> {
    let hashes = bytes[at + 1..].iter().take_while(|&&b| b == b'#').count();
    if bytes.get(at + 1 + hashes) != Some(&b'"') {
        return None; // a raw identifier
    }
    let close: Vec<u8> = std::iter::once(b'"').chain(std::iter::repeat_n(b'#', hashes)).collect();
    Some(find(bytes, at + 2 + hashes, &close).map_or(bytes.len(), |p| p + close.len()))
}

/// A character literal, but no lifetime.
fn char_end(bytes: &[u8], at: usize) -> Option<usize> {
    match bytes.get(at + 1)? {
        b'\\' => find(bytes, at + 3, b"'").map(|p| p + 1),
        _ => {
            let close = (at + 2..(at + 6).min(bytes.len())).find(|&i| bytes[i] == b'\'')?;
            let one = std::str::from_utf8(&bytes[at + 1..close]).ok()?;
            (one.chars().count() == 1).then_some(close + 1)
        }
    }
}

/// The lines (from 1) on which `word` stands as a whole word.
pub(super) fn lines_with_word(code: &str, word: &str) -> Vec<usize> {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let whole = |line: &str| {
        line.match_indices(word).any(|(at, _)| {
            !line[..at].chars().next_back().is_some_and(is_word)
                && !line[at + word.len()..].chars().next().is_some_and(is_word)
        })
    };
    code.lines().enumerate().filter(|(_, l)| whole(l)).map(|(i, _)| i + 1).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prose_and_literals_are_blanked_and_lines_kept() {
        let code = code_only(
            "a // unsafe\nb /* unsafe /* x */ unsafe */ c\n\"unsafe \\\" unsafe\" d r#\"unsafe\"# 'u' e 'life",
        );
        assert!(!code.contains("unsafe"), "{code}");
        for word in ["a", "b", "c", "d", "e"] {
            assert_eq!(lines_with_word(&code, word).len(), 1, "{word} in {code}");
        }
        assert_eq!(code.lines().count(), 3);
        assert!(code.contains("'life"), "a lifetime is no literal");
    }

    #[test]
    fn words_are_whole() {
        assert_eq!(lines_with_word("unsafe_code\nx unsafe {\n", "unsafe"), [2]);
        assert_eq!(lines_with_word("#[unsafe(no_mangle)]", "unsafe"), [1]);
    }
}
