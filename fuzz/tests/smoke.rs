//! Every target for a moment, without coverage and the same in every run: the short lane of `cargo xtask fuzz`.
//!
//! `MIG_FUZZ_SECONDS` (2 for each target) makes it longer.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// A small generator of numbers.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 29) ^ self.0 >> 47
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() % n.max(1) as u64) as usize
    }

    fn bytes(&mut self, most: usize) -> Vec<u8> {
        (0..self.below(most)).map(|_| self.next() as u8).collect()
    }
}

/// Runs a target again and again; no input may take longer than a few seconds.
fn run(target: fn(&[u8]), mut input: impl FnMut(&mut Numbers) -> Vec<u8>) {
    let seconds = std::env::var("MIG_FUZZ_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(2.0);
    let end = Instant::now() + Duration::from_secs_f64(seconds);
    let mut numbers = Numbers(7);
    let mut runs = 0u32;
    while runs < 20 || Instant::now() < end {
        let data = input(&mut numbers);
        let start = Instant::now();
        target(&data);
        assert!(
            start.elapsed() < Duration::from_secs(10),
            "too long for {} bytes: {}",
            data.len(),
            data.escape_ascii()
        );
        runs += 1;
    }
    println!("{runs} runs");
}

/// The definitions of the tree.
fn seeds() -> Vec<Vec<u8>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let (mut folders, mut files) =
        (vec![root.join("libhurd/defs"), root.join("mig-rs/tests")], Vec::<PathBuf>::new());
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("a folder of the tree") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "defs") {
                files.push(path);
            }
        }
    }
    files.sort();
    let seeds: Vec<_> = files.iter().map(|file| std::fs::read(file).expect("a definition")).collect();
    assert!(seeds.len() > 40);
    seeds
}

/// The words of libFuzzer's dictionary.
fn words() -> Vec<Vec<u8>> {
    let unescaped =
        |word: &str| word.replace("\\x0a", "\n").replace("\\\"", "\"").replace("\\\\", "\\").into_bytes();
    let text = include_str!("../dictionary.txt");
    text.lines().filter_map(|line| Some(unescaped(line.strip_prefix('"')?.strip_suffix('"')?))).collect()
}

/// Damaged definitions: some words more, some bytes less, parts of two.
fn damaged(numbers: &mut Numbers, seeds: &[Vec<u8>], words: &[Vec<u8>]) -> Vec<u8> {
    let mut text = seeds[numbers.below(seeds.len())].clone();
    for _ in 0..numbers.below(6) {
        let at = numbers.below(text.len());
        let end = (at + numbers.below(60)).min(text.len());
        match numbers.below(5) {
            0 => text.truncate(at),
            1 => drop(text.drain(at..end)),
            2 => {
                let other = &seeds[numbers.below(seeds.len())];
                text.splice(at..end, other[numbers.below(other.len())..].iter().copied().take(400));
            }
            3 if at < text.len() => text[at] = numbers.next() as u8,
            _ => drop(text.splice(at..at, words[numbers.below(words.len())].iter().copied())),
        }
    }
    text
}

#[test]
fn preprocess() {
    let (seeds, words) = (seeds(), words());
    run(mig_fuzz::preprocess, |numbers| damaged(numbers, &seeds, &words));
}

#[test]
fn parse() {
    let (seeds, words) = (seeds(), words());
    run(mig_fuzz::parse, |numbers| {
        if numbers.below(3) > 0 {
            return damaged(numbers, &seeds, &words);
        }
        // Words in no order.
        (0..numbers.below(200))
            .flat_map(|_| [words[numbers.below(words.len())].clone(), b" ".to_vec()].concat())
            .collect()
    });
}

#[test]
fn layout() {
    run(mig_fuzz::layout, |numbers| numbers.bytes(1500));
}

#[test]
fn emit() {
    run(mig_fuzz::emit, |numbers| numbers.bytes(1500));
}

#[test]
fn decode() {
    run(mig_fuzz::decode, |numbers| numbers.bytes(600));
}

#[test]
fn identity() {
    run(mig_fuzz::identity, |numbers| numbers.bytes(600));
}
