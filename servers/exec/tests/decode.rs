//! Decoders against the real tools: round trips, damage, truncation, chunks.

mod common;

use common::*;
use exec_image::crc32::Crc32;
use exec_image::decode::{Codec, DecodeError, Decoder, FeedError};
use exec_image::format::{Format, detect};
use exec_image::limits::{BUFFER_BYTES, MIN_BUFFER_BYTES};
use exec_image::memory::NoMemory;
use proptest::prelude::*;

const B1: Codec = Codec::Bzip2 { level: 1 };

fn inputs() -> Vec<Vec<u8>> {
    vec![
        Vec::new(),
        b"x".to_vec(),
        sample(1000),
        sample(300_000),
        vec![0; 1_000_000],
        (0..=255).cycle().take(70_000).collect(),
        [vec![0; 100_000], sample(70_000), vec![7; 3]].concat(),
    ]
}

#[test]
fn round_trips() {
    for plain in inputs() {
        assert_eq!(decode_detected(&gzip(&plain)).as_ref(), Ok(&plain));
        assert_eq!(decode_detected(&filter("gzip", &["-1c"], &plain)).as_ref(), Ok(&plain));
        for level in [1, 4, 9] {
            let packed = bzip2(level, &plain);
            assert_eq!(detect(&packed), Some(Format::Packed(Codec::Bzip2 { level })));
            assert_eq!(decode_detected(&packed).as_ref(), Ok(&plain));
        }
        assert_eq!(decode(Codec::Plain, &plain, 999).as_ref(), Ok(&plain));
    }
}

#[test]
fn formats() {
    assert_eq!(detect(b"\x7fELF\x02"), Some(Format::Elf));
    assert_eq!(detect(b"#!"), Some(Format::Hashbang));
    assert_eq!(detect(b"\x1f\x8b"), Some(Format::Packed(Codec::Gzip)));
    for none in [&b""[..], b"\x7fEL", b"#", b"\x1f", b"BZh", b"BZh0", b"BZh:", b"BZg1", b"MZ\x90\0"] {
        assert_eq!(detect(none), None, "{none:?}");
    }
}

#[test]
fn check_sums_as_published() {
    let crc = |bytes: &[u8]| {
        let mut crc = Crc32::new();
        crc.update(bytes);
        crc.value()
    };
    assert_eq!(crc(b""), 0);
    assert_eq!(crc(b"123456789"), 0xcbf4_3926);
    let text = sample(1000);
    let whole = crc(&text);
    for cut in 0..text.len() {
        let mut crc = Crc32::new();
        crc.update(&text[..cut]);
        crc.update(&text[cut..]);
        assert_eq!(crc.value(), whole);
    }
}

/// A gzip header with every optional part, in front of the body of `packed`.
fn full_header(packed: &[u8], flags: u8, damage: bool) -> Vec<u8> {
    let mut file = vec![0x1f, 0x8b, 8, flags, 1, 2, 3, 4, 2, 3];
    if flags & 4 != 0 {
        file.extend([5, 0, b'e', 0, 0x1f, 0x8b, 0]);
    }
    if flags & 8 != 0 {
        file.extend(b"name\0");
    }
    if flags & 16 != 0 {
        file.extend(b"a comment\0");
    }
    if flags & 2 != 0 {
        let mut crc = Crc32::new();
        crc.update(&file);
        let sum = crc.value() as u16 ^ u16::from(damage);
        file.extend(sum.to_le_bytes());
    }
    file.extend(&packed[10..]);
    file
}

#[test]
fn every_gzip_header() {
    let plain = sample(500);
    let packed = gzip(&plain);
    for flags in 0..32 {
        for chunk in [1, 3, 1000] {
            assert_eq!(decode(Codec::Gzip, &full_header(&packed, flags, false), chunk).as_ref(), Ok(&plain));
        }
    }
    assert_eq!(decode(Codec::Gzip, &full_header(&packed, 2, true), 9), Err(DecodeError::HeaderChecksum));
    // The header of a later member has a check sum of its own.
    let two = [full_header(&packed, 31, false), full_header(&packed, 31, false)].concat();
    assert_eq!(decode(Codec::Gzip, &two, 9), Ok([&plain[..], &plain[..]].concat()));
    for flag in [32, 64, 128] {
        assert_eq!(decode(Codec::Gzip, &full_header(&packed, flag, false), 9), Err(DecodeError::Unsupported));
    }
    let mut other = packed.clone();
    other[2] = 7;
    assert_eq!(decode(Codec::Gzip, &other, 9), Err(DecodeError::Unsupported));
    // An empty extra field.
    let mut file = vec![0x1f, 0x8b, 8, 4, 0, 0, 0, 0, 0, 3, 0, 0];
    file.extend(&packed[10..]);
    assert_eq!(decode(Codec::Gzip, &file, 1), Ok(plain));
}

#[test]
fn wrong_trailers_are_told_apart() {
    let packed = gzip(&sample(500));
    let at = packed.len();
    for (back, error) in [
        (8, DecodeError::Checksum),
        (5, DecodeError::Checksum),
        (4, DecodeError::Length),
        (1, DecodeError::Length),
    ] {
        let mut packed = packed.clone();
        packed[at - back] ^= 0x10;
        assert_eq!(decode(Codec::Gzip, &packed, 100), Err(error));
    }
}

#[test]
fn truncated_at_every_length() {
    for plain in [Vec::new(), b"x".to_vec(), sample(400)] {
        for (codec, packed) in [(Codec::Gzip, gzip(&plain)), (B1, bzip2(1, &plain))] {
            for len in 0..packed.len() {
                for chunk in [1, packed.len()] {
                    assert_eq!(
                        decode(codec, &packed[..len], chunk),
                        Err(DecodeError::Truncated),
                        "{codec:?} {len}"
                    );
                }
            }
            assert_eq!(decode(codec, &packed, 1), Ok(plain.clone()));
        }
    }
}

#[test]
fn every_flipped_bit() {
    for plain in [Vec::new(), sample(300), vec![0; 20_000]] {
        for (codec, packed) in [(Codec::Gzip, gzip(&plain)), (B1, bzip2(1, &plain))] {
            let mut wrong = 0;
            for bit in 0..8 * packed.len() {
                let mut packed = packed.clone();
                packed[bit / 8] ^= 1 << (bit % 8);
                match decode(codec, &packed, packed.len()) {
                    // What does not matter: time, name, unused bits.
                    Ok(same) => assert_eq!(same, plain, "{codec:?} bit {bit}"),
                    Err(_) => wrong += 1,
                }
            }
            assert!(wrong > 8 * packed.len() / 3, "{wrong}");
        }
    }
}

#[test]
fn members_and_streams_are_joined() {
    let parts = [sample(50_000), Vec::new(), vec![0; 200_000], sample(10)];
    let plain = parts.concat();
    let gz: Vec<u8> = parts.iter().flat_map(|part| gzip(part)).collect();
    let bz: Vec<u8> = parts.iter().zip([1, 9, 3, 2]).flat_map(|(part, level)| bzip2(level, part)).collect();
    for chunk in [1, 2, 5, 17, 4096, 1 << 20] {
        assert_eq!(decode(Codec::Gzip, &gz, chunk).as_ref(), Ok(&plain));
        assert_eq!(decode(B1, &bz, chunk).as_ref(), Ok(&plain));
    }
}

#[test]
fn a_second_member_cut_anywhere() {
    let (first, second) = (sample(70), sample(40));
    let plain = [first.clone(), second.clone()].concat();
    for (codec, a, b) in
        [(Codec::Gzip, gzip(&first), gzip(&second)), (B1, bzip2(1, &first), bzip2(1, &second))]
    {
        let packed = [a.clone(), b.clone()].concat();
        // Less than a magic is no member yet: it is what follows the file, as the tools see it.
        let magic = if codec == Codec::Gzip { 2 } else { 4 };
        for len in a.len()..=packed.len() {
            for chunk in [1, packed.len()] {
                let result = decode(codec, &packed[..len], chunk);
                match len {
                    len if len == packed.len() => assert_eq!(result.as_ref(), Ok(&plain)),
                    len if len < a.len() + magic => {
                        assert_eq!(result.as_ref(), Ok(&first), "{codec:?} {len}")
                    }
                    _ => assert_eq!(result, Err(DecodeError::Truncated), "{codec:?} {len}"),
                }
            }
        }
    }
}

#[test]
fn what_follows_is_ignored() {
    let plain = sample(1000);
    for (codec, packed) in [(Codec::Gzip, gzip(&plain)), (B1, bzip2(1, &plain))] {
        for tail in [
            &[0u8; 1000][..],
            b"B",
            b"BZ",
            b"BZhello",
            b"BZh0more",
            b"\x1f",
            b"\x1f\x8c\x1f\x8b",
            b"garbage and more",
        ] {
            let file = [&packed[..], tail].concat();
            for chunk in [1, 13, file.len()] {
                assert_eq!(decode(codec, &file, chunk).as_ref(), Ok(&plain), "{codec:?} {tail:?}");
            }
        }
    }
    // But not damage behind a good magic.
    let file = [&bzip2(1, &plain)[..], b"BZh1damage and more"].concat();
    assert_eq!(decode(B1, &file, 100), Err(DecodeError::Corrupt));
    let file = [&gzip(&plain)[..], b"\x1f\x8bdamage"].concat();
    assert_eq!(decode(Codec::Gzip, &file, 100), Err(DecodeError::Unsupported));
}

#[test]
fn progress_says_where_a_file_may_end() {
    let (mut room, mut buffer) = (room(), vec![0; BUFFER_BYTES]);
    let packed = bzip2(1, b"hello");
    let mut decoder = Decoder::new(B1, &mut buffer, Counting::new(&mut room, None)).unwrap();
    for (i, byte) in packed.iter().enumerate() {
        let progress = decoder.feed::<()>(&[*byte], &mut |_| Ok(())).unwrap();
        assert_eq!(progress.at_end, i + 1 == packed.len());
    }
    assert_eq!(decoder.finish(), Ok(5));
}

#[test]
fn wrong_files_and_buffers() {
    for file in [&b"BZg1"[..], b"\x7fELF", b"BZh01234567", b"xyz"] {
        assert_eq!(decode(B1, file, 1), Err(DecodeError::BadMagic));
        assert_eq!(decode(Codec::Gzip, file, 1), Err(DecodeError::BadMagic));
    }
    for len in [0, 1, MIN_BUFFER_BYTES - 1, MIN_BUFFER_BYTES + 1, MIN_BUFFER_BYTES / 2, 3 * MIN_BUFFER_BYTES]
    {
        let mut buffer = vec![0; len];
        let result = Decoder::new(Codec::Gzip, &mut buffer, NoMemory);
        assert_eq!(result.map(drop), Err(DecodeError::BadBuffer));
    }
    assert_eq!(DecodeError::Corrupt.code(), 0x4000_0005);
    assert_eq!(DecodeError::BadMagic.code(), 0x4000_0008);
    assert_eq!(DecodeError::NoMemory.code(), 6);
}

#[test]
fn a_match_into_the_past_finds_zeros() {
    // A fixed-code block whose first symbol is a match of length 3 at distance 1, then end of block: bits, least first:
    // final 1, type 01, length code 257 = 0000001, distance code 0 = 00000, end 256 = 0000000.
    let bits = "1 10 0000001 00000 0000000";
    let mut body = vec![0u8; 3];
    for (i, bit) in bits.chars().filter(|c| !c.is_whitespace()).enumerate() {
        body[i / 8] |= u8::from(bit == '1') << (i % 8);
    }
    let mut file = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3];
    file.extend(&body);
    let mut crc = Crc32::new();
    crc.update(&[0; 3]);
    file.extend(crc.value().to_le_bytes());
    file.extend(3u32.to_le_bytes());
    let mut buffer = vec![0xaa; MIN_BUFFER_BYTES];
    let mut plain = Vec::new();
    let mut decoder = Decoder::new(Codec::Gzip, &mut buffer, NoMemory).unwrap();
    decoder
        .feed::<()>(&file, &mut |bytes| {
            plain.extend_from_slice(bytes);
            Ok(())
        })
        .unwrap();
    assert_eq!(plain, [0; 3], "never what an earlier user left in the buffer");
}

#[test]
fn two_decoders_at_once() {
    let (one, two) = (sample(250_000), vec![3; 400_000]);
    let (packed_one, packed_two) = (bzip2(2, &one), gzip(&two));
    let (mut room_one, mut buffer_one, mut buffer_two) = (room(), vec![0; 32768], vec![0; 65536]);
    let mut first = Decoder::new(B1, &mut buffer_one, Counting::new(&mut room_one, None)).unwrap();
    let mut second = Decoder::new(Codec::Gzip, &mut buffer_two, NoMemory).unwrap();
    let (mut out_one, mut out_two) = (Vec::new(), Vec::new());
    let (mut a, mut b) = (packed_one.chunks(50), packed_two.chunks(3));
    loop {
        let (x, y) = (a.next(), b.next());
        if let Some(x) = x {
            // The value moves between calls.
            let mut moved = first;
            moved
                .feed::<()>(x, &mut |bytes| {
                    out_one.extend_from_slice(bytes);
                    Ok(())
                })
                .unwrap();
            first = moved;
        }
        if let Some(y) = y {
            second
                .feed::<()>(y, &mut |bytes| {
                    out_two.extend_from_slice(bytes);
                    Ok(())
                })
                .unwrap();
        }
        if x.is_none() && y.is_none() {
            break;
        }
    }
    first.finish().unwrap();
    second.finish().unwrap();
    assert_eq!((out_one, out_two), (one, two));
}

#[test]
fn a_refusing_taker_stops_everything() {
    for (codec, packed) in [(Codec::Gzip, gzip(&sample(500_000))), (B1, bzip2(1, &sample(500_000)))] {
        let (mut room, mut buffer) = (room(), vec![0; BUFFER_BYTES]);
        let mut memory = Counting::new(&mut room, None);
        let mut decoder = Decoder::new(codec, &mut buffer, &mut memory).unwrap();
        let mut calls = 0;
        let result = decoder.feed(&packed, &mut |_| {
            calls += 1;
            if calls == 3 { Err("no more") } else { Ok(()) }
        });
        assert_eq!(result, Err(FeedError::Sink("no more")));
        assert_eq!(calls, 3);
        assert_eq!(
            decoder.feed(b"", &mut |_| Ok::<(), &str>(())),
            Err(FeedError::Decode(DecodeError::AfterError))
        );
        assert_eq!(decoder.finish(), Err(DecodeError::AfterError));
        assert_eq!(memory.live, 0);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn chunks_do_not_matter(
        runs in proptest::collection::vec((any::<u8>(), 1usize..5000, any::<bool>()), 0..60),
        level in 1u8..=9,
        sizes in proptest::collection::vec(prop_oneof![0usize..4, 1usize..5000], 1..60),
    ) {
        let plain: Vec<u8> = runs.iter().flat_map(|(byte, len, text)| {
            if *text { sample(*len) } else { vec![*byte; *len] }
        }).collect();
        for (codec, packed) in [(Codec::Gzip, gzip(&plain)), (B1, bzip2(level, &plain))] {
            let mut parts = Vec::new();
            let mut rest = &packed[..];
            for size in sizes.iter().cycle().take(1000) {
                let (part, tail) = rest.split_at((*size).min(rest.len()));
                parts.push(part);
                rest = tail;
            }
            parts.push(rest);
            let decoded = decode_parts(codec, parts.into_iter());
            prop_assert_eq!(decoded.as_ref(), Ok(&plain));
        }
    }

    #[test]
    fn damaged_blocks_end_in_an_error_or_the_same(
        bits in proptest::collection::vec(any::<prop::sample::Index>(), 1..8),
        chunk in 1usize..5000,
    ) {
        let plain = sample(20_000);
        for (codec, packed) in [(Codec::Gzip, gzip(&plain)), (B1, bzip2(1, &plain))] {
            let mut packed = packed;
            for bit in &bits {
                let bit = bit.index(8 * packed.len());
                packed[bit / 8] ^= 1 << (bit % 8);
            }
            if let Ok(same) = decode(codec, &packed, chunk) {
                prop_assert_eq!(same, plain.clone());
            }
        }
    }

    #[test]
    fn no_bytes_are_too_wild(mut bytes in proptest::collection::vec(any::<u8>(), 0..3000), chunk in 1usize..500) {
        let heads: [(Codec, &[u8]); 3] = [
            (Codec::Gzip, b"\x1f\x8b\x08\0\0\0\0\0\0\x03"),
            (B1, b"BZh1"),
            (B1, b"BZh1\x31\x41\x59\x26\x53\x59\0\0\0\0\0\0\0\0"),
        ];
        for (codec, head) in heads {
            let len = head.len().min(bytes.len());
            bytes[..len].copy_from_slice(&head[..len]);
            let _ = decode(codec, &bytes, chunk);
        }
    }
}
