//! The guest's line protocol on its serial port.
//!
//! | line | meaning |
//! |---|---|
//! | `test NAME ... ok` | a test passed |
//! | `test NAME ... FAILED: reason` | a test failed |
//! | `##SC {json}` | a record (see [`crate::records`]) |
//! | `##DONE` | the guest finished what it was asked to do |
//!
//! Everything else is ordinary output. Another task may have printed without a line end just before, so a marker counts
//! wherever it stands in a line; what follows a record's closing brace is ignored as well.

/// One line, understood.
#[derive(Debug, PartialEq)]
pub enum Line {
    /// A test's verdict; `Err` holds the reason.
    Test(String, Result<(), String>),
    /// A record: the JSON value after the marker.
    Record(serde_json::Value),
    /// A record's marker, but no JSON after it: output was lost or mixed.
    Damaged(String),
    /// The guest is done.
    Done,
    /// Anything else.
    Text,
}

const RECORD: &str = "##SC ";
const DONE: &str = "##DONE";

/// Understands one serial line.
#[must_use]
pub fn parse(line: &str) -> Line {
    if let Some((_, rest)) = line.split_once(RECORD) {
        let mut values = serde_json::Deserializer::from_str(rest).into_iter::<serde_json::Value>();
        return match values.next() {
            Some(Ok(value)) if value.is_object() => Line::Record(value),
            _ => Line::Damaged(line.to_owned()),
        };
    }
    if line.contains(DONE) {
        return Line::Done;
    }
    verdict(line).unwrap_or(Line::Text)
}

/// `test NAME ... ok` or `test NAME ... FAILED[: reason]`, possibly after other output.
fn verdict(line: &str) -> Option<Line> {
    for (at, marker) in line.match_indices("test ") {
        if line[..at].chars().next_back().is_some_and(char::is_alphanumeric) {
            continue;
        }
        let Some((name, result)) = line[at + marker.len()..].split_once(" ... ") else { continue };
        if name.is_empty() || name.contains(char::is_whitespace) {
            continue;
        }
        if result.trim_end() == "ok" {
            return Some(Line::Test(name.to_owned(), Ok(())));
        }
        if let Some(reason) = result.strip_prefix("FAILED") {
            let reason = reason.trim_start_matches(':').trim();
            let reason = if reason.is_empty() { "no reason given" } else { reason };
            return Some(Line::Test(name.to_owned(), Err(reason.to_owned())));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verdicts_are_found_anywhere_in_a_line() {
        assert_eq!(parse("test ports::send ... ok"), Line::Test("ports::send".into(), Ok(())));
        assert_eq!(parse("hello: starttest a ... ok"), Line::Text, "`starttest` is no marker");
        assert_eq!(parse("sh$ test a ... ok"), Line::Test("a".into(), Ok(())));
        let failed = |reason: &str| Line::Test("a".into(), Err(reason.into()));
        assert_eq!(parse("test a ... FAILED: got 0 ... want 6"), failed("got 0 ... want 6"));
        assert_eq!(parse("test a ... FAILED: got 0, want 6"), failed("got 0, want 6"));
        assert_eq!(parse("test a ... FAILED"), failed("no reason given"));
        assert_eq!(parse("my test is test a ... ok"), Line::Test("a".into(), Ok(())));
        assert_eq!(parse("this is a test of it ... ok"), Line::Text);
        assert_eq!(parse("test a ... okay"), Line::Text);
    }

    #[test]
    fn records_survive_what_stands_before_and_after() {
        let Line::Record(v) = parse("boot: ##SC {\"t\":\"end\"} trailing") else { panic!("no record") };
        assert_eq!(v["t"], "end");
        assert!(matches!(parse("##SC {\"t\":\"s\",\"d\":"), Line::Damaged(_)));
        assert!(matches!(parse("##SC 17"), Line::Damaged(_)), "a record is an object");
    }

    #[test]
    fn done_is_found() {
        assert_eq!(parse("##DONE"), Line::Done);
        assert_eq!(parse("x ##DONE"), Line::Done);
        assert_eq!(parse("nothing"), Line::Text);
    }
}
