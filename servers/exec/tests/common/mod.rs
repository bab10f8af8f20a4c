//! What the tests of this crate share: ELF files built by hand, memory that counts and fails, and the real tools.
#![allow(dead_code, reason = "every test file uses its own part")]

use exec_image::decode::{Codec, DecodeError, Decoder, FeedError};
use exec_image::elf::Plan;
use exec_image::format::{Format, detect};
use exec_image::limits::{BUFFER_BYTES, DECODER_MEMORY_MAX};
use exec_image::memory::{Block, Memory, Region};
use exec_image::stream::Sink;
use std::collections::BTreeMap;
use std::io::Write;
use std::mem::MaybeUninit;
use std::process::{Command, Stdio};

/// Runs `tool` with `input` on its standard input; returns its standard output.
pub(crate) fn filter(tool: &str, args: &[&str], input: &[u8]) -> Vec<u8> {
    let mut child = Command::new(tool)
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap_or_else(|e| panic!("{tool}: {e}"));
    let mut stdin = child.stdin.take().unwrap();
    let output = std::thread::scope(|scope| {
        scope.spawn(move || stdin.write_all(input).unwrap());
        child.wait_with_output().unwrap()
    });
    assert!(output.status.success(), "{tool} {args:?}");
    output.stdout
}

pub(crate) fn gzip(input: &[u8]) -> Vec<u8> {
    filter("gzip", &["-9nc"], input)
}

pub(crate) fn bzip2(level: u8, input: &[u8]) -> Vec<u8> {
    filter("bzip2", &[&format!("-{level}c")], input)
}

/// Text that compresses but is no single run.
pub(crate) fn sample(len: usize) -> Vec<u8> {
    let mut state = 12345u32;
    (0..len)
        .map(|i| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            if i % 7 < 4 { b"herd"[i % 4] } else { (state >> 28) as u8 + b'a' }
        })
        .collect()
}

/// Room for any one decoder.
pub(crate) fn room() -> Box<[MaybeUninit<u8>]> {
    Box::new_uninit_slice(DECODER_MEMORY_MAX + Region::SLACK)
}

/// Counts what is taken and given back, and refuses the request number `refuse`.
pub(crate) struct Counting<'m> {
    region: Region<'m>,
    sizes: Vec<(*const MaybeUninit<u8>, usize)>,
    pub(crate) refuse: Option<usize>,
    pub(crate) requests: usize,
    pub(crate) live: usize,
    pub(crate) peak: usize,
}

impl<'m> Counting<'m> {
    pub(crate) fn new(room: &'m mut [MaybeUninit<u8>], refuse: Option<usize>) -> Self {
        Self { region: Region::new(room), sizes: Vec::new(), refuse, requests: 0, live: 0, peak: 0 }
    }
}

impl<'m> Memory<'m> for Counting<'m> {
    fn take(&mut self, bytes: usize) -> Option<Block<'m>> {
        let number = self.requests;
        self.requests += 1;
        if self.refuse == Some(number) {
            return None;
        }
        let block = self.region.take(bytes)?;
        self.sizes.push((block.as_ptr(), bytes));
        self.live += bytes;
        self.peak = self.peak.max(self.live);
        Some(block)
    }

    fn give_back(&mut self, block: Block<'m>) {
        let at = self.sizes.iter().position(|(p, _)| *p == block.as_ptr()).expect("a block that was taken");
        self.live -= self.sizes.swap_remove(at).1;
        self.region.give_back(block);
    }
}

/// Decodes `packed` in chunks of `chunk` bytes.
pub(crate) fn decode(codec: Codec, packed: &[u8], chunk: usize) -> Result<Vec<u8>, DecodeError> {
    decode_parts(codec, packed.chunks(chunk))
}

pub(crate) fn decode_parts<'a>(
    codec: Codec,
    parts: impl Iterator<Item = &'a [u8]>,
) -> Result<Vec<u8>, DecodeError> {
    let (mut room, mut buffer) = (room(), vec![0; BUFFER_BYTES]);
    let mut memory = Counting::new(&mut room, None);
    let mut plain = Vec::new();
    let result = (|| {
        let mut decoder = Decoder::new(codec, &mut buffer, &mut memory)?;
        for part in parts {
            let progress = decoder.feed::<()>(part, &mut |bytes| {
                assert!(!bytes.is_empty());
                plain.extend_from_slice(bytes);
                Ok(())
            });
            match progress {
                Ok(progress) => assert_eq!(progress.produced, plain.len() as u64),
                Err(FeedError::Decode(error)) => {
                    let again = decoder.feed::<()>(b"x", &mut |_| Ok(()));
                    assert_eq!(again, Err(FeedError::Decode(DecodeError::AfterError)));
                    return Err(error);
                }
                Err(FeedError::Sink(())) => unreachable!("the sink takes everything"),
            }
        }
        decoder.finish()
    })();
    assert_eq!(memory.live, 0, "every block comes back");
    result.map(|produced| {
        assert_eq!(produced, plain.len() as u64);
        plain
    })
}

/// Decodes by what the file itself says it is.
pub(crate) fn decode_detected(packed: &[u8]) -> Result<Vec<u8>, DecodeError> {
    match detect(packed) {
        Some(Format::Packed(codec)) => decode(codec, packed, packed.len().max(1)),
        _ => Err(DecodeError::BadMagic),
    }
}

/// One program header.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Phdr {
    pub(crate) kind: u32,
    pub(crate) flags: u32,
    pub(crate) offset: u64,
    pub(crate) vaddr: u64,
    pub(crate) file_size: u64,
    pub(crate) mem_size: u64,
    pub(crate) align: u64,
}

pub(crate) const LOAD: u32 = 1;
pub(crate) const INTERP: u32 = 3;
pub(crate) const GNU_STACK: u32 = 0x6474_e551;
pub(crate) const X: u32 = 1;
pub(crate) const W: u32 = 2;
pub(crate) const R: u32 = 4;
pub(crate) const EXEC: u16 = 2;
pub(crate) const DYN: u16 = 3;

pub(crate) fn load(flags: u32, offset: u64, vaddr: u64, file_size: u64, mem_size: u64) -> Phdr {
    Phdr { kind: LOAD, flags, offset, vaddr, file_size, mem_size, align: 4096 }
}

/// An ELF file, field by field.
#[derive(Clone, Debug)]
pub(crate) struct Builder {
    pub(crate) kind: u16,
    pub(crate) machine: u16,
    pub(crate) entry: u64,
    pub(crate) phoff: u64,
    pub(crate) phentsize: u16,
    pub(crate) phnum: Option<u16>,
    pub(crate) phdrs: Vec<Phdr>,
    pub(crate) len: usize,
}

impl Builder {
    pub(crate) fn new(kind: u16, entry: u64, phdrs: Vec<Phdr>, len: usize) -> Self {
        Self { kind, machine: 62, entry, phoff: 64, phentsize: 56, phnum: None, phdrs, len }
    }

    /// A file of `len` bytes, filled with a pattern, under the headers.
    pub(crate) fn build(&self) -> Vec<u8> {
        let mut file: Vec<u8> = (0..self.len).map(|i| (i * 7 + i / 251) as u8).collect();
        let mut head = vec![0x7f, b'E', b'L', b'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        head.extend(self.kind.to_le_bytes());
        head.extend(self.machine.to_le_bytes());
        head.extend(1u32.to_le_bytes());
        head.extend(self.entry.to_le_bytes());
        head.extend(self.phoff.to_le_bytes());
        head.extend(0u64.to_le_bytes());
        head.extend(0u32.to_le_bytes());
        head.extend(64u16.to_le_bytes());
        head.extend(self.phentsize.to_le_bytes());
        head.extend(self.phnum.unwrap_or(self.phdrs.len() as u16).to_le_bytes());
        head.extend([0; 6]);
        put(&mut file, 0, &head);
        let mut at = self.phoff as usize;
        for p in &self.phdrs {
            let mut bytes = Vec::new();
            bytes.extend(p.kind.to_le_bytes());
            bytes.extend(p.flags.to_le_bytes());
            for word in [p.offset, p.vaddr, p.vaddr, p.file_size, p.mem_size, p.align] {
                bytes.extend(word.to_le_bytes());
            }
            put(&mut file, at, &bytes);
            at += 56;
        }
        file
    }
}

fn put(file: &mut Vec<u8>, at: usize, bytes: &[u8]) {
    if file.len() < at + bytes.len() {
        file.resize(at + bytes.len(), 0);
    }
    file[at..at + bytes.len()].copy_from_slice(bytes);
}

/// A usual program: text, data with bss, a stack request.
pub(crate) fn program() -> Builder {
    let stack = Phdr {
        kind: GNU_STACK,
        flags: R | W,
        offset: 0,
        vaddr: 0,
        file_size: 0,
        mem_size: 0x4000,
        align: 16,
    };
    let phdrs = vec![
        load(R, 0, 0x40_0000, 0x200, 0x200),
        load(R | X, 0x1000, 0x40_1000, 0x1234, 0x1234),
        load(R | W, 0x2240, 0x40_3240, 0x500, 0x2000),
        stack,
    ];
    Builder::new(EXEC, 0x40_1010, phdrs, 0x3000)
}

/// Memory as the sink of a load; refuses after `limit` bytes.
#[derive(Debug, Default)]
pub(crate) struct Image {
    pub(crate) bytes: BTreeMap<u64, u8>,
    pub(crate) begun: usize,
    pub(crate) placed: u64,
    pub(crate) limit: Option<u64>,
    pub(crate) calls: Vec<(u64, usize)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Refused;

impl Sink for Image {
    type Error = Refused;

    fn begin(&mut self, _plan: &Plan) -> Result<(), Refused> {
        assert_eq!(self.placed, 0);
        self.begun += 1;
        Ok(())
    }

    fn place(&mut self, vaddr: u64, bytes: &[u8]) -> Result<(), Refused> {
        assert_eq!(self.begun, 1, "begin comes first, once");
        assert!(!bytes.is_empty());
        if self.limit.is_some_and(|limit| self.placed + bytes.len() as u64 > limit) {
            return Err(Refused);
        }
        self.placed += bytes.len() as u64;
        self.calls.push((vaddr, bytes.len()));
        for (i, byte) in bytes.iter().enumerate() {
            self.bytes.insert(vaddr + i as u64, *byte);
        }
        Ok(())
    }
}

/// What must be in memory after loading `file` by `plan`, said in the plainest way.
pub(crate) fn expected(plan: &Plan, file: &[u8]) -> BTreeMap<u64, u8> {
    let mut bytes = BTreeMap::new();
    for s in plan.segments() {
        for i in 0..s.file_size {
            bytes.insert(s.vaddr + i, file[(s.file_offset + i) as usize]);
        }
    }
    bytes
}
