//! `#!` lines.

use exec_image::format::{Format, detect};
use exec_image::hashbang::{HashbangError, parse};
use exec_image::limits::HASHBANG_BYTES;
use proptest::prelude::*;

fn parts(line: &[u8]) -> Result<(&str, Option<&str>), HashbangError> {
    parse(line).map(|h| {
        (std::str::from_utf8(h.interpreter).unwrap(), h.argument.map(|a| std::str::from_utf8(a).unwrap()))
    })
}

#[test]
fn interpreter_and_argument() {
    assert_eq!(parts(b"#!/bin/sh\nrest"), Ok(("/bin/sh", None)));
    assert_eq!(parts(b"#! \t/bin/sh \t\n"), Ok(("/bin/sh", None)));
    assert_eq!(parts(b"#!/bin/sh -e\n"), Ok(("/bin/sh", Some("-e"))));
    assert_eq!(parts(b"#! /bin/awk   -f  two words \nx"), Ok(("/bin/awk", Some("-f  two words"))));
    assert_eq!(parts(b"#!/bin/sh\r\n"), Ok(("/bin/sh\r", None)));
}

#[test]
fn refusals() {
    assert_eq!(parts(b""), Err(HashbangError::NotHashbang));
    assert_eq!(parts(b"#"), Err(HashbangError::NotHashbang));
    assert_eq!(parts(b"\n#!/bin/sh\n"), Err(HashbangError::NotHashbang));
    assert_eq!(parts(b"#!\n"), Err(HashbangError::NoInterpreter));
    assert_eq!(parts(b"#! \t \n"), Err(HashbangError::NoInterpreter));
    assert_eq!(parts(b"#!/bin/sh"), Err(HashbangError::NoNewline));
    assert_eq!(parts(b"#!"), Err(HashbangError::NoNewline));
    assert_eq!(parts(b"#!/bin/s\0h\n"), Err(HashbangError::NulByte));
    assert_eq!(HashbangError::NoInterpreter.code(), 0x4000_0008);
    assert_eq!(HashbangError::TooLong.code(), 0x4000_003f);
}

#[test]
fn the_bound_is_exact() {
    let line = |len: usize| {
        let mut line = b"#!".to_vec();
        line.resize(len - 1, b'x');
        line.push(b'\n');
        line
    };
    assert!(parse(&line(HASHBANG_BYTES)).is_ok());
    assert_eq!(parse(&line(HASHBANG_BYTES + 1)), Err(HashbangError::TooLong));
    assert_eq!(parse(&line(1 << 16)), Err(HashbangError::TooLong));
}

proptest! {
    #[test]
    fn never_panics_and_never_lies(tail in proptest::collection::vec(prop_oneof![
        Just(b' '), Just(b'\t'), Just(b'\n'), Just(0u8), any::<u8>()], 0..1200))
    {
        let mut file = b"#!".to_vec();
        file.extend(&tail);
        prop_assert_eq!(detect(&file), Some(Format::Hashbang));
        if let Ok(h) = parse(&file) {
            let end = file.iter().position(|b| *b == b'\n').unwrap();
            prop_assert!(end < HASHBANG_BYTES);
            prop_assert!(!h.interpreter.is_empty());
            prop_assert!(!h.interpreter.iter().any(|b| matches!(b, b' ' | b'\t' | b'\n' | 0)));
            // Putting the parts together again gives the line without superfluous blanks.
            let mut line = h.interpreter.to_vec();
            if let Some(argument) = h.argument {
                line.push(b' ');
                line.extend(argument);
            }
            let text: Vec<u8> = file[2..end].to_vec();
            let squeeze = |bytes: &[u8]| -> Vec<u8> { bytes.iter().copied().filter(|b| !matches!(b, b' ' | b'\t')).collect() };
            prop_assert_eq!(squeeze(&line), squeeze(&text));
        }
    }
}
