//! The attack: a small file that inflates without end, and what a decoder may cost while it does.

mod common;

use common::*;
use exec_image::decode::{Codec, DecodeError, Decoder, FeedError};
use exec_image::elf::ElfError;
use exec_image::limits::{BUFFER_BYTES, DECODER_MEMORY_MAX, decoder_memory};
use exec_image::memory::{Memory, NoMemory, Region};
use exec_image::stream::Loader;
use exec_image::whole::{Grow, Input, WholeError, decode_all, load_stream};

const BOMB: usize = 64 << 20;

fn bombs() -> [(Codec, Vec<u8>); 2] {
    let zeros = vec![0; BOMB];
    [(Codec::Gzip, gzip(&zeros)), (Codec::Bzip2 { level: 9 }, bzip2(9, &zeros))]
}

struct Chunks<'a>(std::slice::Chunks<'a, u8>);

impl<'a> Chunks<'a> {
    fn new(file: &'a [u8]) -> Self {
        Self(file.chunks(4096))
    }
}

impl Input for Chunks<'_> {
    type Error = ();

    fn next(&mut self) -> Result<&[u8], ()> {
        Ok(self.0.next().unwrap_or_default())
    }
}

struct Buffer {
    bytes: Vec<u8>,
    limit: usize,
}

impl Grow for Buffer {
    type Error = Refused;

    fn append(&mut self, bytes: &[u8]) -> Result<(), Refused> {
        if self.bytes.len() + bytes.len() > self.limit {
            return Err(Refused);
        }
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }
}

#[test]
fn a_bomb_costs_no_more_than_the_taker_takes() {
    for (codec, packed) in bombs() {
        assert!(packed.len() < BOMB / 1000);
        let (mut room, mut buffer) = (room(), vec![0; BUFFER_BYTES]);
        for limit in [0, 1, 100_000, 10 << 20] {
            let mut memory = Counting::new(&mut room, None);
            let mut decoder = Decoder::new(codec, &mut buffer, &mut memory).unwrap();
            let (mut taken, mut refused) = (0, 0);
            let result = decoder.feed(&packed, &mut |bytes| {
                assert!(bytes.len() <= BUFFER_BYTES && bytes.iter().all(|b| *b == 0));
                if taken + bytes.len() > limit {
                    refused += 1;
                    return Err(Refused);
                }
                taken += bytes.len();
                Ok(())
            });
            assert_eq!(result, Err(FeedError::Sink(Refused)));
            assert_eq!(refused, 1, "a refusal is final");
            assert!(limit - taken <= BUFFER_BYTES);
            drop(decoder);
            assert_eq!(memory.live, 0);
        }
    }
}

#[test]
fn a_bomb_decodes_whole_in_bounded_memory() {
    for (codec, packed) in bombs() {
        let (mut room, mut buffer) = (room(), vec![0; BUFFER_BYTES]);
        let mut memory = Counting::new(&mut room, None);
        let mut decoder = Decoder::new(codec, &mut buffer, &mut memory).unwrap();
        let mut calls = 0;
        for part in packed.chunks(512) {
            decoder
                .feed::<()>(part, &mut |_| {
                    calls += 1;
                    Ok(())
                })
                .unwrap();
        }
        assert_eq!(decoder.finish(), Ok(BOMB as u64));
        assert!(calls <= BOMB / BUFFER_BYTES + packed.len() / 512 + 2, "output in full buffers: {calls}");
        assert!(memory.peak <= decoder_memory(codec));
        assert_eq!(memory.live, 0);
    }
}

#[test]
fn the_stated_memory_is_what_is_used() {
    for level in 1..=9 {
        let packed = bzip2(level, b"x");
        let codec = Codec::Bzip2 { level };
        let (mut room, mut buffer) = (room(), vec![0; BUFFER_BYTES]);
        let mut memory = Counting::new(&mut room, None);
        let mut decoder = Decoder::new(codec, &mut buffer, &mut memory).unwrap();
        decoder.feed::<()>(&packed, &mut |_| Ok(())).unwrap();
        decoder.finish().unwrap();
        let stated = decoder_memory(codec);
        assert!(
            memory.peak <= stated && memory.peak > stated - 16 * 1024,
            "{level}: {} of {stated}",
            memory.peak
        );
        assert!(stated <= DECODER_MEMORY_MAX);

        // A region of that size is enough, wherever it begins, also for a second stream.
        let mut room = Box::new_uninit_slice(stated + Region::SLACK + 15);
        for skip in 0..16 {
            let (_, room) = room.split_at_mut(skip);
            let (room, _) = room.split_at_mut(stated + Region::SLACK);
            let mut decoder = Decoder::new(codec, &mut buffer, Region::new(room)).unwrap();
            decoder.feed::<()>(&[&packed[..], &packed[..]].concat(), &mut |_| Ok(())).unwrap();
            assert_eq!(decoder.finish(), Ok(2));
        }
    }
    assert_eq!(decoder_memory(Codec::Gzip), 0);
    assert_eq!(decoder_memory(Codec::Bzip2 { level: 0 }), DECODER_MEMORY_MAX);
    assert_eq!(decoder_memory(Codec::Bzip2 { level: 255 }), DECODER_MEMORY_MAX);
}

#[test]
fn refused_memory_at_every_request() {
    let plain = sample(1000);
    let packed = [bzip2(1, &plain), bzip2(9, &plain), bzip2(2, &plain)].concat();
    let (mut room, mut buffer) = (room(), vec![0; BUFFER_BYTES]);
    let mut succeeded = false;
    for refuse in 0..20 {
        let mut memory = Counting::new(&mut room, Some(refuse));
        let mut decoder = Decoder::new(Codec::Bzip2 { level: 1 }, &mut buffer, &mut memory).unwrap();
        let mut produced = 0;
        let result = decoder.feed::<()>(&packed, &mut |bytes| {
            produced += bytes.len();
            Ok(())
        });
        drop(decoder);
        assert_eq!(memory.live, 0, "request {refuse}");
        match result {
            Err(error) => {
                assert_eq!(error, FeedError::Decode(DecodeError::NoMemory));
                assert!(!succeeded && memory.requests == refuse + 1, "no second try");
                assert_eq!(produced, refuse / 3 * plain.len(), "three requests for each stream");
            }
            Ok(_) => {
                succeeded = true;
                assert_eq!(memory.requests, 9);
            }
        }
    }
    assert!(succeeded);
}

/// Lends blocks that break the contract.
struct Cheat<'m>(Counting<'m>, Shorten, usize);

/// How long a block is, instead of the length that was asked for.
type Shorten = fn(usize) -> usize;

impl<'m> Memory<'m> for Cheat<'m> {
    fn take(&mut self, bytes: usize) -> Option<exec_image::memory::Block<'m>> {
        let block = self.0.take(bytes + 64)?;
        let (_, block) = block.split_at_mut(self.2);
        let len = (self.1)(bytes).min(block.len());
        Some(&mut block[..len])
    }

    fn give_back(&mut self, _block: exec_image::memory::Block<'m>) {
        self.0.live = 0;
    }
}

#[test]
fn blocks_that_are_short_or_misaligned_count_as_refused() {
    let packed = bzip2(1, b"x");
    let cheats: [(Shorten, usize); 3] = [(|n| n - 1, 0), (|n| n, 8), (|_| 0, 0)];
    for (len, skip) in cheats {
        let (mut room, mut buffer) = (room(), vec![0; BUFFER_BYTES]);
        let memory = Cheat(Counting::new(&mut room, None), len, skip);
        let mut decoder = Decoder::new(Codec::Bzip2 { level: 1 }, &mut buffer, memory).unwrap();
        let result = decoder.feed::<()>(&packed, &mut |_| Ok(()));
        assert_eq!(result, Err(FeedError::Decode(DecodeError::NoMemory)));
    }
    let mut buffer = vec![0; BUFFER_BYTES];
    let mut decoder = Decoder::new(Codec::Bzip2 { level: 1 }, &mut buffer, NoMemory).unwrap();
    let result = decoder.feed::<()>(&packed, &mut |_| Ok(()));
    assert_eq!(result, Err(FeedError::Decode(DecodeError::NoMemory)));
}

/// `program()` with padding: the 2013 attack in small.
fn padded(padding: usize) -> Vec<u8> {
    let mut file = program().build();
    file.resize(file.len() + padding, 0);
    file
}

#[test]
fn the_attack_streams_through_without_being_held() {
    let file = padded(8 << 20);
    for (codec, packed) in [
        (Codec::Gzip, gzip(&file)),
        (Codec::Bzip2 { level: 9 }, bzip2(9, &file)),
        (Codec::Plain, file.clone()),
    ] {
        let (mut room, mut buffer) = (room(), vec![0; BUFFER_BYTES]);
        let mut image = Image::default();
        let decoder = Decoder::new(codec, &mut buffer, Counting::new(&mut room, None)).unwrap();
        let plan = load_stream(&mut Chunks::new(&packed), decoder, Loader::new(0), &mut image).unwrap();
        assert_eq!(image.bytes, expected(&plan, &file));
        assert_eq!(image.placed, 0x200 + 0x1234 + 0x500, "padding is placed nowhere");
    }
}

#[test]
fn the_attack_is_held_whole_as_in_2013() {
    let file = padded(8 << 20);
    for (codec, packed) in [(Codec::Gzip, gzip(&file)), (Codec::Bzip2 { level: 9 }, bzip2(9, &file))] {
        let (mut room, mut space) = (room(), vec![0; BUFFER_BYTES]);
        let mut buffer = Buffer { bytes: Vec::new(), limit: usize::MAX };
        let decoder = Decoder::new(codec, &mut space, Counting::new(&mut room, None)).unwrap();
        assert_eq!(decode_all(&mut Chunks::new(&packed), decoder, &mut buffer), Ok(file.len() as u64));
        assert!(buffer.bytes == file);
        let mut image = Image::default();
        let plan = exec_image::source::load_slice(&buffer.bytes, 0, &mut image).unwrap();
        assert_eq!(image.bytes, expected(&plan, &file));

        let mut buffer = Buffer { bytes: Vec::new(), limit: 1 << 20 };
        let decoder = Decoder::new(codec, &mut space, Counting::new(&mut room, None)).unwrap();
        assert_eq!(
            decode_all(&mut Chunks::new(&packed), decoder, &mut buffer),
            Err(WholeError::Sink(Refused))
        );
        assert!(buffer.bytes.len() <= 1 << 20);
    }
}

#[test]
fn every_layer_reports_its_own_error() {
    let file = padded(1 << 16);
    let run = |packed: &[u8], limit: Option<u64>, refuse: Option<usize>| {
        let (mut room, mut buffer) = (room(), vec![0; BUFFER_BYTES]);
        let mut image = Image { limit, ..Image::default() };
        let decoder =
            Decoder::new(Codec::Bzip2 { level: 1 }, &mut buffer, Counting::new(&mut room, refuse)).unwrap();
        load_stream(&mut Chunks::new(packed), decoder, Loader::new(0), &mut image).map(drop)
    };
    let packed = bzip2(1, &file);
    assert_eq!(run(&packed, None, None), Ok(()));
    assert_eq!(run(&packed, Some(300), None), Err(WholeError::Sink(Refused)));
    assert_eq!(run(&packed, None, Some(2)), Err(WholeError::Decode(DecodeError::NoMemory)));
    assert_eq!(run(&packed[..packed.len() - 1], None, None), Err(WholeError::Decode(DecodeError::Truncated)));
    assert_eq!(run(&bzip2(1, b"#!/bin/sh\n"), None, None), Err(WholeError::Elf(ElfError::NotElf)));
    assert_eq!(run(&bzip2(1, &file[..0x2000]), None, None), Err(WholeError::Elf(ElfError::Truncated)));
    let mut damaged = packed.clone();
    *damaged.last_mut().unwrap() ^= 0xff;
    *damaged.iter_mut().nth_back(1).unwrap() ^= 0xff;
    assert_eq!(run(&damaged, None, None), Err(WholeError::Decode(DecodeError::Corrupt)));
}
