//! Loading: streamed in any chunks, from a random-access source, and from memory, all with the same result.

mod common;

use common::*;
use exec_image::elf::{ElfError, Plan, header_bytes};
use exec_image::limits::ELF_HEADER_BYTES;
use exec_image::source::{self, Source, SourceError};
use exec_image::stream::{LoadError, Loader};
use proptest::prelude::*;

const BASE: u64 = 0x1_0000_0000;

fn stream<'a>(parts: impl Iterator<Item = &'a [u8]>, image: &mut Image) -> Result<Plan, LoadError<Refused>> {
    let mut loader = Loader::new(BASE);
    for part in parts {
        if let Err(error) = loader.feed(part, image) {
            assert!(!loader.complete());
            assert_eq!(loader.feed(b"more", image), Err(LoadError::AfterError));
            assert_eq!(loader.finish(), Err(ElfError::Truncated));
            return Err(error);
        }
    }
    Ok(loader.finish()?)
}

/// Programs whose segments are awkward: out of order, sharing file bytes, with holes, headers far away.
fn awkward() -> Vec<Builder> {
    let mut far = program();
    far.phoff = (ELF_HEADER_BYTES - 4 * 56) as u64;
    let mut reversed = program();
    reversed.phdrs.reverse();
    let shared = Builder::new(
        EXEC,
        0x40_1000,
        vec![
            load(R, 0x2000, 0x40_5000, 0x800, 0x800),
            load(R | X, 0, 0x40_1000, 0x2100, 0x2100),
            load(R | W, 0x1010, 0x40_9010, 0x1ff0, 0x5000),
            load(R | W, 0x1800, 0x41_0800, 1, 1),
            load(R | W, 0, 0x42_0000, 0, 0x9000),
        ],
        0x4000,
    );
    let bss = Builder::new(EXEC, 0x40_0000, vec![load(R | W | X, 0, 0x40_0000, 0, 0x1000)], 200);
    vec![program(), Builder { kind: DYN, ..program() }, far, reversed, shared, bss]
}

struct Drip<'a>(&'a [u8]);

impl Source for Drip<'_> {
    type Error = &'static str;

    fn read_at(&mut self, offset: u64, into: &mut [u8]) -> Result<usize, &'static str> {
        let Some(rest) = self.0.get(offset as usize..) else { return Ok(0) };
        let count = rest.len().min(into.len()).min(77);
        into[..count].copy_from_slice(&rest[..count]);
        Ok(count)
    }
}

#[test]
fn all_ways_lead_to_the_same_image() {
    for builder in awkward() {
        let file = builder.build();
        let plan = Plan::parse(&file[..header_bytes(&file).unwrap()], BASE).unwrap();
        let right = expected(&plan, &file);
        for chunk in [1, 7, 63, 64, 65, 1000, 4096, file.len()] {
            let mut image = Image::default();
            assert_eq!(stream(file.chunks(chunk), &mut image), Ok(plan.clone()));
            assert_eq!(image.bytes, right, "chunks of {chunk}");
            assert_eq!(image.placed, plan.segments().iter().map(|s| s.file_size).sum::<u64>());
        }
        let mut image = Image::default();
        assert_eq!(source::load_slice(&file, BASE, &mut image), Ok(plan.clone()));
        assert_eq!(image.bytes, right);
        let mut image = Image::default();
        assert_eq!(source::load(&mut &file[..], BASE, &mut vec![0; 65536], &mut image), Ok(plan.clone()));
        assert_eq!(image.bytes, right);
        let mut image = Image::default();
        assert_eq!(
            source::load(&mut Drip(&file), BASE, &mut vec![0; ELF_HEADER_BYTES], &mut image),
            Ok(plan)
        );
        assert_eq!(image.bytes, right);
    }
}

#[test]
fn places_come_in_file_order() {
    let mut builder = program();
    builder.phdrs.reverse();
    // Memory order against file order.
    builder.phdrs[1].vaddr = 0x30_0240;
    let file = builder.build();
    let mut image = Image::default();
    stream(file.chunks(file.len()), &mut image).unwrap();
    // The first chunk is the headers, which are part of the first segment.
    let header = header_bytes(&file).unwrap();
    assert_eq!(
        image.calls,
        [
            (0x40_0000, header),
            (0x40_0000 + header as u64, 0x200 - header),
            (0x40_1000, 0x1234),
            (0x30_0240, 0x500)
        ]
    );
}

#[test]
fn truncated_at_every_length() {
    for builder in awkward() {
        let file = builder.build();
        let header = header_bytes(&file).unwrap();
        let plan = Plan::parse(&file[..header], BASE).unwrap();
        let need = header.max(plan.file_end() as usize);
        for len in 0..=file.len() {
            // Every length near an edge, and a few between.
            if len % 97 != 0 && len.abs_diff(header) > 70 && len.abs_diff(need) > 70 {
                continue;
            }
            let file = &file[..len];
            let streamed = stream(file.chunks(4096), &mut Image::default());
            let sliced = source::load_slice(file, BASE, &mut Image::default());
            let read = source::load(&mut &*file, BASE, &mut [0; 9000], &mut Image::default());
            if len < need {
                assert_eq!(streamed, Err(LoadError::Elf(ElfError::Truncated)), "{len} of {need}");
                assert_eq!(sliced, Err(SourceError::Elf(ElfError::Truncated)));
                assert_eq!(read, Err(SourceError::Elf(ElfError::Truncated)));
            } else {
                assert_eq!(streamed, Ok(plan.clone()), "{len} of {need}");
                assert_eq!(sliced, Ok(plan.clone()));
                assert_eq!(read, Ok(plan.clone()));
            }
        }
    }
}

#[test]
fn complete_as_soon_as_the_last_segment_is() {
    let file = program().build();
    let mut image = Image::default();
    let mut loader = Loader::new(BASE);
    for (i, byte) in file.iter().enumerate() {
        assert_eq!(loader.complete(), i >= 0x2740, "{i}");
        assert_eq!(loader.plan().is_some(), i >= header_bytes(&file).unwrap());
        loader.feed(std::slice::from_ref(byte), &mut image).unwrap();
    }
    let calls = image.calls.len();
    for _ in 0..1000 {
        loader.feed(&[0; 65536], &mut image).unwrap();
    }
    assert_eq!(image.calls.len(), calls, "padding is not placed");
    loader.finish().unwrap();
}

#[test]
fn a_file_that_is_no_program_is_refused_at_once() {
    let mut image = Image::default();
    assert_eq!(Loader::new(BASE).feed(b"#!/bin/sh\n", &mut image), Err(LoadError::Elf(ElfError::NotElf)));
    assert_eq!(Loader::new(BASE).feed(b"\x7fELG", &mut image), Err(LoadError::Elf(ElfError::NotElf)));
    let mut loader = Loader::new(BASE);
    loader.feed(b"\x7fE", &mut image).unwrap();
    assert_eq!(loader.feed(b"X", &mut image), Err(LoadError::Elf(ElfError::NotElf)));
    assert_eq!(image.begun, 0);
    assert_eq!(Loader::new(BASE).finish(), Err(ElfError::Truncated));
    let tiny = source::load(&mut &program().build()[..], BASE, &mut [0; 100], &mut image);
    assert_eq!(tiny, Err(SourceError::Elf(ElfError::HeadersTooFar)), "a buffer too small for the headers");
}

#[test]
fn a_refusal_stops_the_load_wherever_it_comes() {
    let file = program().build();
    let all = 0x200 + 0x1234 + 0x500;
    for limit in (0..all).step_by(61) {
        let mut image = Image { limit: Some(limit), ..Image::default() };
        assert_eq!(stream(file.chunks(50), &mut image), Err(LoadError::Sink(Refused)));
        assert!(image.placed <= limit && limit - image.placed < 50 + 288);
        let mut image = Image { limit: Some(limit), ..Image::default() };
        assert_eq!(source::load_slice(&file, BASE, &mut image), Err(SourceError::Sink(Refused)));
    }
    let mut image = Image { limit: Some(all), ..Image::default() };
    stream(file.chunks(50), &mut image).unwrap();
}

struct Broken;

impl Source for Broken {
    type Error = &'static str;

    fn read_at(&mut self, _offset: u64, _into: &mut [u8]) -> Result<usize, &'static str> {
        Err("no disk")
    }
}

#[test]
fn a_broken_source_is_reported_as_it_is() {
    let result = source::load(&mut Broken, BASE, &mut [0; 9000], &mut Image::default());
    assert_eq!(result, Err(SourceError::Source("no disk")));
}

proptest! {
    #[test]
    fn chunks_do_not_matter(which in 0usize..6, sizes in proptest::collection::vec(0usize..3000, 1..40)) {
        let file = awkward()[which].build();
        let mut parts = Vec::new();
        let mut rest = &file[..];
        for size in sizes.iter().cycle().take(400) {
            let (part, tail) = rest.split_at((*size).min(rest.len()));
            parts.push(part);
            rest = tail;
        }
        parts.push(rest);
        let mut image = Image::default();
        let plan = stream(parts.into_iter(), &mut image).unwrap();
        prop_assert_eq!(image.bytes, expected(&plan, &file));
    }

    #[test]
    fn wild_headers_do_not_panic(bits in proptest::collection::vec(0usize..8 * 288, 1..6), chunk in 1usize..5000) {
        let mut file = program().build();
        for bit in bits {
            file[bit / 8] ^= 1 << (bit % 8);
        }
        let (mut streamed, mut sliced) = (Image::default(), Image::default());
        let first = stream(file.chunks(chunk), &mut streamed);
        let second = source::load_slice(&file, BASE, &mut sliced);
        prop_assert_eq!(first.is_ok(), second.is_ok());
        if let (Ok(first), Ok(second)) = (first, second) {
            prop_assert_eq!(first, second);
            prop_assert_eq!(streamed.bytes, sliced.bytes);
        }
    }
}
