//! Damaged images: whatever the bytes, an operation ends with a result or an error, after a bounded number of reads.

use std::fs;
use std::sync::OnceLock;

use ext2::{BlockCursor, Corrupt, Device, Error, FileSystem, Inode, ROOT_INODE, Refusal};
use proptest::prelude::*;

use crate::image::{Failure, Image, entries, inode_at, is_corrupt, resolve, translator};
use crate::reading::parse_imap;
use crate::tools::{Random, Work, noise};

/// Offset of the superblock, and of its fields in it.
const SUPERBLOCK: usize = 1024;
/// Offset of the table of groups with blocks of 1 KiB.
const GROUPS: usize = 2048;

/// An image of 1 KiB blocks with some of everything, two groups, and where its parts are.
struct Specimen {
    bytes: Vec<u8>,
    /// Byte ranges of metadata: superblock and groups, bitmaps and inode tables, directories, indirect and attribute blocks.
    metadata: Vec<std::ops::Range<usize>>,
    /// Byte offsets of the inodes.
    big: usize,
    dir: usize,
    root: usize,
    /// Byte offset of the first block of `/dir`.
    dir_block: usize,
}

fn specimen() -> &'static Specimen {
    static MADE: OnceLock<Specimen> = OnceLock::new();
    MADE.get_or_init(|| {
        let work = Work::new();
        let tree = work.tree();
        fs::write(tree.join("big"), noise(1, 400_000)).expect("file");
        let sparse = fs::File::create(tree.join("sparse")).expect("file");
        sparse.set_len(80_000_000).expect("size");
        std::os::unix::fs::FileExt::write_all_at(&sparse, b"far away", 79_000_000).expect("data");
        fs::write(tree.join("small"), b"small").expect("file");
        fs::create_dir_all(tree.join("dir/sub/deeper")).expect("directory");
        for number in 0..60 {
            fs::write(tree.join(format!("dir/entry-number-{number}")), b"x").expect("file");
        }
        std::os::unix::fs::symlink("small", tree.join("fast")).expect("link");
        std::os::unix::fs::symlink("s".repeat(200), tree.join("slow")).expect("link");
        work.mke2fs(&["-o", "hurd", "-b", "1024", "-g", "512", "-N", "128", "-O", "^resize_inode"], "900k");
        work.set_attribute("small", "gnu.translator", b"/hurd/hello\0");
        work.set_attribute("small", "user.other", b"value");
        work.assert_clean("before damage");
        let image = work.load();
        let fs = FileSystem::mount(&image).expect("mount");
        let place = |file: &str| parse_imap(&work.debugfs(&format!("imap {file}")), 1024);
        let blocks = |file: &str| -> Vec<usize> {
            let printed = work.debugfs(&format!("blocks {file}"));
            printed.split_whitespace().map(|word| word.parse().expect("a block")).collect()
        };
        let block = |number: usize| number * 1024..(number + 1) * 1024;
        let mut metadata = vec![SUPERBLOCK..SUPERBLOCK + 136, GROUPS..GROUPS + 64];
        for group in 0..2 {
            let descriptor = GROUPS + group * 32;
            let [bitmap, inodes, table] = [0, 4, 8].map(|field| image.word(descriptor + field) as usize);
            metadata.extend([block(bitmap), block(inodes), block(table)]);
            metadata.extend([block(table + 1), block(table + 2)]);
        }
        metadata.extend(blocks("/dir").into_iter().chain(blocks("/")).map(block));
        // Single, double and triple indirect pointers of the two large files lead to these.
        for file in ["big", "sparse"] {
            let inode = place(file);
            for pointer in 12..15 {
                let number = image.word(inode + 40 + pointer * 4) as usize;
                if number != 0 {
                    metadata.push(block(number));
                }
            }
        }
        metadata.push(block(work.stat_number("small", "File ACL:") as usize));
        assert!(inode_at(&fs, &image, "small").has_translator());
        Specimen {
            metadata,
            big: place("big"),
            dir: place("dir"),
            root: place("/"),
            dir_block: blocks("/dir")[0] * 1024,
            bytes: image.to_vec(),
        }
    })
}

/// The specimen with these bytes changed.
fn damaged(changes: &[(usize, &[u8])]) -> Image {
    let image = Image::new(specimen().bytes.clone());
    for (offset, bytes) in changes {
        image.patch(*offset, bytes);
    }
    image
}

fn refusal(changes: &[(usize, &[u8])]) -> Option<Refusal> {
    match FileSystem::mount(&damaged(changes)) {
        Err(Error::Refused(why)) => Some(why),
        Err(other) => panic!("unexpected {other:?}"),
        Ok(_) => None,
    }
}

/// One field of the superblock changed to a 32-bit number.
fn superblock(field: usize, value: u32) -> Option<Refusal> {
    refusal(&[(SUPERBLOCK + field, &value.to_le_bytes())])
}

#[test]
fn superblock_fields() {
    assert_eq!(refusal(&[]), None);
    assert_eq!(refusal(&[(SUPERBLOCK + 56, &[0, 0])]), Some(Refusal::Magic(0)));
    assert_eq!(superblock(76, 2), Some(Refusal::Revision(2)));
    assert_eq!(superblock(24, 3), Some(Refusal::BlockSize(3)));
    assert_eq!(superblock(24, u32::MAX), Some(Refusal::BlockSize(u32::MAX)));
    assert_eq!(superblock(96, 0x8000_0246), Some(Refusal::Features(0x8000_0244)));
    for size in [0u16, 1, 64, 127, 192, 2048, 0x8000] {
        assert_eq!(refusal(&[(SUPERBLOCK + 88, &size.to_le_bytes())]), Some(Refusal::InodeSize(size)));
    }
    for blocks in [0, 1, 2] {
        assert_eq!(superblock(4, blocks), Some(Refusal::BlockCount));
    }
    for first in [0, 2, u32::MAX] {
        assert_eq!(superblock(20, first), Some(Refusal::BlockCount));
    }
    for per_group in [0, 7, 8193, u32::MAX] {
        assert_eq!(superblock(32, per_group), Some(Refusal::BlockCount));
    }
    for inodes in [0, 127, 129, u32::MAX] {
        assert_eq!(superblock(0, inodes), Some(Refusal::InodeCount));
    }
    for per_group in [0, 63, 8193, u32::MAX] {
        assert_eq!(superblock(40, per_group), Some(Refusal::InodeCount));
    }
    for first in [0, 10, 129, u32::MAX] {
        assert_eq!(superblock(84, first), Some(Refusal::InodeCount));
    }
    // So many groups that only the bound stops the mount.
    let groups =
        refusal(&[(SUPERBLOCK + 4, &u32::MAX.to_le_bytes()), (SUPERBLOCK + 32, &8u32.to_le_bytes())]);
    assert!(matches!(groups, Some(Refusal::Groups(_))), "{groups:?}");
}

#[test]
fn a_device_shorter_than_the_file_system() {
    let bytes = &specimen().bytes;
    for len in [0, 1023, 1024, 1100, 2048, 100_000, bytes.len() - 1] {
        let result = FileSystem::mount(&Image::new(bytes[..len].to_vec()));
        assert!(matches!(result, Err(Error::Device(_))), "{len} bytes");
    }
    assert!(FileSystem::mount(&Image::new(bytes.clone())).is_ok());
}

#[test]
fn group_descriptors() {
    for group in 0..2 {
        for field in [0, 4, 8] {
            for bad in [0, 1, 2, 900, u32::MAX] {
                let refused = refusal(&[(GROUPS + group * 32 + field, &bad.to_le_bytes())]);
                assert_eq!(
                    refused,
                    Some(Refusal::GroupDescriptor(group as u32)),
                    "field {field}, value {bad}"
                );
            }
        }
        // An inode table that begins inside and ends outside.
        let refused = refusal(&[(GROUPS + group * 32 + 8, &895u32.to_le_bytes())]);
        assert_eq!(refused, Some(Refusal::GroupDescriptor(group as u32)));
    }
    // Damage after the mount is found when the descriptor is used again.
    let image = damaged(&[]);
    let fs = FileSystem::mount(&image).expect("mount");
    let small = inode_at(&fs, &image, "big").number;
    image.patch(GROUPS, &u32::MAX.to_le_bytes());
    image.patch(GROUPS + 32, &u32::MAX.to_le_bytes());
    let result = fs.set_translator(&image, small, b"x\0", 0, &mut [0; 1024]);
    assert!(matches!(result, Err(Error::Corrupt(Corrupt::GroupDescriptor(_)))), "{result:?}");
}

/// A count that promises free blocks where the bitmap has none costs nothing but the look.
#[test]
fn free_counts_that_are_wrong() {
    let image = damaged(&[]);
    let fs = FileSystem::mount(&image).expect("mount");
    let big = inode_at(&fs, &image, "big").number;
    for group in 0..2 {
        let bitmap = image.word(GROUPS + group * 32) as usize * 1024;
        let result =
            fs.set_translator(&image, big, b"x\0", 0, &mut [0; 1024]).map(|inode| inode.has_translator());
        assert_eq!(result, Ok(true), "with {group} groups full");
        fs.set_translator(&image, big, b"", 0, &mut [0; 1024]).expect("clear");
        image.patch(bitmap, &[0xff; 1024]);
        image.patch(GROUPS + group * 32 + 12, &[9, 0]);
    }
    let before = image.to_vec();
    assert_eq!(fs.set_translator(&image, big, b"x\0", 0, &mut [0; 1024]), Err(Error::NoSpace));
    assert!(image.to_vec() == before, "a refused change changed something");
}

#[test]
fn inode_numbers() {
    let image = damaged(&[]);
    let fs = FileSystem::mount(&image).expect("mount");
    for number in [0, 1, 3, 10, fs.inodes_count() + 1, u32::MAX] {
        assert_eq!(fs.inode(&image, number), Err(Error::InvalidInode(number)));
    }
    assert_eq!(fs.inode(&image, fs.inodes_count()), Err(Error::InodeNotInUse(fs.inodes_count())));
}

/// Indirect blocks that point to themselves, to each other, to the superblock and outside.
#[test]
fn block_pointers() {
    let specimen = specimen();
    let pointer = |index: usize| specimen.big + 40 + index * 4;
    let single = u32::from_le_bytes(specimen.bytes[pointer(12)..][..4].try_into().unwrap());
    let double = u32::from_le_bytes(specimen.bytes[pointer(13)..][..4].try_into().unwrap());
    let read_all = |changes: &[(usize, &[u8])]| {
        let image = damaged(changes);
        let fs = FileSystem::mount(&image).expect("mount");
        let big = inode_at(&fs, &image, "big");
        let mut buf = vec![0; 400_000];
        let (result, reads) = image.reads_of(|| fs.read(&image, &big, &mut BlockCursor::new(), 0, &mut buf));
        assert!(reads < 1000, "{reads} reads");
        result
    };
    assert_eq!(read_all(&[]), Ok(400_000));
    for bad in [1, 900, u32::MAX] {
        for at in [
            pointer(0),
            pointer(11),
            pointer(12),
            pointer(13),
            single as usize * 1024,
            double as usize * 1024,
        ] {
            let result = read_all(&[(at, &bad.to_le_bytes())]);
            assert_eq!(result, Err(Error::Corrupt(Corrupt::BlockNumber(bad))), "at {at}");
        }
    }
    // A run that leaves the device: pointers that count up to its end and on.
    let end: Vec<u8> = (890..902u32).flat_map(|block| block.to_le_bytes()).collect();
    assert!(is_corrupt(read_all(&[(pointer(0), &end)]), Corrupt::BlockNumber(900)));
    // Loops yield wrong data, or the pointers' own values as wrong block numbers, but end.
    for (at, to) in [
        (single as usize * 1024, single),
        (double as usize * 1024, double),
        (pointer(12), double),
        (pointer(13), single),
        (pointer(14), double),
    ] {
        let _ = read_all(&[(at, &to.to_le_bytes())]);
    }
    // A triple indirect block that is its own child, in all places.
    let itself: Vec<u8> = double.to_le_bytes().repeat(256);
    let changes: [(usize, &[u8]); 3] = [
        (double as usize * 1024, &itself),
        (pointer(14), &double.to_le_bytes()),
        (specimen.big + 4, &u32::MAX.to_le_bytes()),
    ];
    let image = damaged(&changes);
    let fs = FileSystem::mount(&image).expect("mount");
    let big = inode_at(&fs, &image, "big");
    let mut buf = vec![0; 4096];
    for offset in [0, 400_000, 70_000_000, 2_000_000_000] {
        let (result, reads) =
            image.reads_of(|| fs.read(&image, &big, &mut BlockCursor::new(), offset, &mut buf));
        assert_eq!(result, Ok(4096));
        assert!(reads < 20, "{reads} reads");
    }
}

#[test]
fn file_sizes() {
    let specimen = specimen();
    // Larger than three levels of blocks can be: 12 + 256 + 256^2 + 256^3 blocks.
    let image = damaged(&[(specimen.big + 4, &[0xff; 4]), (specimen.big + 108, &[0xff; 4])]);
    let fs = FileSystem::mount(&image).expect("mount");
    let big = inode_at(&fs, &image, "big");
    assert_eq!(big.size, u64::MAX);
    let mut buf = vec![0; 5000];
    let limit = (12 + 256 + 256 * 256 + 256 * 256 * 256) * 1024u64;
    let mut cursor = BlockCursor::new();
    assert_eq!(fs.read(&image, &big, &mut cursor, limit - 5000, &mut buf), Ok(5000));
    for offset in [limit - 4999, limit, 1 << 62, u64::MAX - 1] {
        let result = fs.read(&image, &big, &mut cursor, offset, &mut buf);
        assert_eq!(result, Err(Error::Corrupt(Corrupt::FileSize)), "offset {offset}");
    }
    // Directories: not a multiple of the block size, nothing, larger than the device.
    for size in [0u32, 1, 1000, 1025, 901 * 1024, !1023] {
        let image = damaged(&[(specimen.dir + 4, &size.to_le_bytes())]);
        let dir = inode_at(&fs, &image, "dir");
        let mut scratch = vec![0; 4096];
        assert!(is_corrupt(fs.lookup(&image, &dir, b"x", &mut scratch), Corrupt::FileSize), "size {size}");
        assert!(is_corrupt(entries(&fs, &image, &dir), Corrupt::FileSize), "size {size}");
    }
    // A directory as large as the device, of one block over and over.
    let one = specimen.bytes[specimen.dir + 40..][..4].to_vec();
    let itself =
        u32::from_le_bytes(specimen.bytes[specimen.big + 40 + 48..][..4].try_into().unwrap()) as usize;
    let changes: [(usize, &[u8]); 5] = [
        (specimen.dir + 4, &(900u32 * 1024).to_le_bytes()),
        (specimen.dir + 40, &one.repeat(12)),
        (specimen.dir + 40 + 48, &(itself as u32).to_le_bytes()),
        (specimen.dir + 40 + 52, &(itself as u32).to_le_bytes()),
        (itself * 1024, &one.repeat(256)),
    ];
    let image = damaged(&changes);
    let dir = inode_at(&fs, &image, "dir");
    let mut scratch = vec![0; 1024];
    let (result, reads) = image.reads_of(|| fs.lookup(&image, &dir, b"x", &mut scratch));
    assert!(result.is_err() || result == Ok(None));
    assert!(reads < 3000, "{reads} reads");
}

#[test]
fn directory_records() {
    let specimen = specimen();
    let at = specimen.dir_block;
    let image = damaged(&[]);
    let fs = FileSystem::mount(&image).expect("mount");
    let whole = entries(&fs, &image, &inode_at(&fs, &image, "dir")).expect("entries");
    assert_eq!(whole.len(), 61);
    // The first two records are "." and ".."; the third is at 24.
    let third = at + 24;
    let length = u16::from_le_bytes(specimen.bytes[third + 4..][..2].try_into().unwrap());
    assert!((12..64).contains(&length));
    let bad: [(&str, usize, &[u8]); 12] = [
        ("length 0", third + 4, &[0, 0]),
        ("length 4", third + 4, &[4, 0]),
        ("length 8", third + 4, &[8, 0]),
        ("length not a multiple of 4", third + 4, &[length as u8 + 1, 0]),
        ("length below the name's", third + 4, &[12, 0]),
        ("length across the block's end", third + 4, &[0xec, 0x03]),
        ("length 65532", third + 4, &[0xfc, 0xff]),
        ("inode beyond the last", third, &129u32.to_le_bytes()),
        ("inode 0xffffffff", third, &[0xff; 4]),
        ("name length 0", third + 6, &[0, 0]),
        ("name length 255", third + 6, &[255, 0]),
        ("name length 65535", third + 6, &[255, 255]),
    ];
    let mut scratch = vec![0; 4096];
    for (what, offset, bytes) in bad {
        let image = damaged(&[(offset, bytes)]);
        let dir = inode_at(&fs, &image, "dir");
        let missing = fs.lookup(&image, &dir, b"missing", &mut scratch);
        assert!(is_corrupt(missing, Corrupt::DirectoryRecord), "{what}");
        // Before the damage all is well.
        assert_eq!(fs.lookup(&image, &dir, b"..", &mut scratch), Ok(Some(ROOT_INODE)), "{what}");
        // A reader may go on behind the damage, and ends.
        let mut reader = fs.read_dir(&image, &dir, 0, &mut scratch).expect("reader");
        let (mut good, mut errors) = (0, 0);
        loop {
            match reader.next_entry() {
                Ok(Some(_)) => good += 1,
                Ok(None) => break,
                Err(error) => {
                    assert_eq!(error, Error::Corrupt(Corrupt::DirectoryRecord), "{what}");
                    errors += 1;
                }
            }
        }
        assert_eq!(errors, 1, "{what}");
        assert!((2..62).contains(&good), "{what}: {good}");
    }
    // Names no file can have are errors of their own record only.
    for byte in [b'/', 0] {
        let image = damaged(&[(third + 8, &[byte])]);
        let dir = inode_at(&fs, &image, "dir");
        let mut reader = fs.read_dir(&image, &dir, 0, &mut scratch).expect("reader");
        let results: Vec<bool> = std::iter::from_fn(|| match reader.next_entry() {
            Ok(entry) => entry.map(|_| true),
            Err(_) => Some(false),
        })
        .collect();
        assert_eq!(results.iter().filter(|&&good| !good).count(), 1);
        assert_eq!(results.len(), 63);
    }
    // A hole where a block of records should be.
    let image = damaged(&[(specimen.dir + 44, &[0; 4])]);
    let dir = inode_at(&fs, &image, "dir");
    assert!(is_corrupt(entries(&fs, &image, &dir), Corrupt::DirectoryRecord));
    // The root as something else.
    let image = damaged(&[(specimen.root, &0o100644u16.to_le_bytes())]);
    assert_eq!(resolve(&fs, &image, "dir"), Err(Error::NotDirectory));
}

#[test]
fn symbolic_links() {
    let work = Work::new();
    std::os::unix::fs::symlink("s".repeat(200), work.tree().join("slow")).expect("link");
    std::os::unix::fs::symlink("fast", work.tree().join("fast")).expect("link");
    work.mke2fs(&["-o", "hurd", "-b", "1024"], "1m");
    let pristine = work.load();
    let fs = FileSystem::mount(&pristine).expect("mount");
    let mut target = vec![0; 4096];
    for file in ["slow", "fast"] {
        let at = parse_imap(&work.debugfs(&format!("imap {file}")), 1024);
        for size in [0u32, 1025, u32::MAX] {
            let image = Image::new(pristine.to_vec());
            image.patch(at + 4, &size.to_le_bytes());
            let result = fs.read_link(&image, &inode_at(&fs, &image, file), &mut target);
            assert!(is_corrupt(result, Corrupt::FileSize), "{file} {size}");
        }
        let image = Image::new(pristine.to_vec());
        image.patch(at + 4, &500u32.to_le_bytes());
        image.patch(at + 40, &[0xff; 4]);
        let result = fs.read_link(&image, &inode_at(&fs, &image, file), &mut target);
        assert!(is_corrupt(result, Corrupt::BlockNumber(u32::MAX)), "{file}");
    }
}

/// Reads that one operation on the specimen may take. The largest is a scan of a directory as large as the device, each
/// block of it found by a walk of three levels.
const READS_PER_OPERATION: u64 = 6_000;

fn bounded<T>(image: &Image, action: impl FnOnce() -> T) -> T {
    let (result, reads) = image.reads_of(action);
    assert!(reads <= READS_PER_OPERATION, "{reads} reads in one operation");
    result
}

/// Does to one inode all that can be done.
fn exercise(fs: &FileSystem, image: &Image, inode: &Inode, scratch: &mut [u8], waiting: &mut Vec<u32>) {
    let mut cursor = BlockCursor::new();
    for offset in [0, 13_000, 300_000, 79_000_000, inode.size.saturating_sub(2000), u64::MAX - 10] {
        let mut buf = [0; 3000];
        let _ = bounded(image, || fs.read(image, inode, &mut cursor, offset, &mut buf));
    }
    let _ = bounded(image, || fs.read_link(image, inode, scratch));
    let _ = bounded(image, || translator(fs, image, inode));
    if !inode.is_dir() {
        return;
    }
    for name in [b"entry-number-59".as_slice(), b"missing", b".."] {
        let _ = bounded(image, || fs.lookup(image, inode, name, scratch));
    }
    let Ok(mut reader) = fs.read_dir(image, inode, 0, scratch) else { return };
    bounded(image, || {
        for _ in 0..100_000 {
            match reader.next_entry() {
                Ok(Some(entry)) => waiting.push(entry.inode),
                Ok(None) => return,
                Err(Error::Device(_)) => return,
                Err(_) => (),
            }
        }
        panic!("a directory without end");
    });
}

/// Walks a damaged image as far as it goes, then changes it; returns whether it could be mounted.
fn survive(image: &Image) -> bool {
    let Ok(fs) = bounded(image, || FileSystem::mount(image)) else { return false };
    let mut scratch = vec![0; 4096];
    let _: Result<_, Failure> = bounded(image, || fs.statfs(image));
    let mut waiting = vec![ROOT_INODE];
    let mut seen = std::collections::HashSet::new();
    while let Some(number) = waiting.pop() {
        if !seen.insert(number) || seen.len() > 40 {
            continue;
        }
        if let Ok(inode) = bounded(image, || fs.inode(image, number)) {
            exercise(&fs, image, &inode, &mut scratch, &mut waiting);
        }
    }
    for (number, argz) in
        seen.iter().zip([b"/hurd/hello\0".as_slice(), b"", &[7; 300], b"x\0", b""].iter().cycle())
    {
        let before = image.to_vec();
        let result = bounded(image, || fs.set_translator(image, *number, argz, 1, &mut scratch));
        match result {
            Ok(inode) if !argz.is_empty() => {
                let found = translator(&fs, image, &inode);
                assert!(found.is_err() || found == Ok(Some(argz.to_vec())), "{found:?}");
            }
            Ok(_) => (),
            // A device error or damage that shows up in the middle may leave a part of the change.
            Err(Error::Device(_)) => (),
            Err(_) => assert!(image.to_vec() == before, "a refused change changed something"),
        }
    }
    true
}

/// Values that break assumptions more often than random ones.
const NASTY: [u32; 14] =
    [0, 1, 2, 3, 4, 11, 12, 255, 1023, 1024, 0x7fff_ffff, 0x8000_0000, 0xffff_fffc, 0xffff_ffff];

fn mutate(image: &Image, random: &mut Random) {
    let specimen = specimen();
    for _ in 0..1 + random.below(6) {
        let range = &specimen.metadata[random.below(specimen.metadata.len())];
        let at = range.start + random.below(range.len() - 4);
        match random.below(5) {
            0 => image.patch(at, &[random.next() as u8]),
            1 => image.patch(at & !3, &NASTY[random.below(NASTY.len())].to_le_bytes()),
            2 => image.patch(at & !1, &(NASTY[random.below(NASTY.len())] as u16).to_le_bytes()),
            3 => image.patch(at & !3, &(random.below(1000) as u32).to_le_bytes()),
            _ => {
                // Bytes of some other metadata in the wrong place.
                let from = &specimen.metadata[random.below(specimen.metadata.len())];
                let len = 1 + random.below(64.min(range.end - at).min(from.len()));
                let from = from.start + random.below(from.len() - len + 1);
                image.patch(at, &specimen.bytes[from..from + len]);
            }
        }
    }
}

#[test]
fn random_damage() {
    let mut random = Random::new(0x6578_7432);
    let mut mounted = 0;
    const IMAGES: usize = 6000;
    for _ in 0..IMAGES {
        let image = damaged(&[]);
        mutate(&image, &mut random);
        mounted += usize::from(survive(&image));
    }
    // Most must get past the superblock, or little is tested.
    assert!(mounted > IMAGES / 2, "only {mounted} of {IMAGES} images were mounted");
    assert!(mounted < IMAGES, "no image was refused");
}

#[test]
fn noise_is_not_a_file_system() {
    for seed in 0..200 {
        let bytes = noise(seed, 64 << 10);
        assert!(matches!(FileSystem::mount(&Image::new(bytes.clone())), Err(Error::Refused(_))));
        // The same behind a sound superblock and table of groups.
        let mut image = specimen().bytes.clone();
        let tail = 3 << 10;
        let len = bytes.len().min(image.len() - tail);
        image[tail..tail + len].copy_from_slice(&bytes[..len]);
        survive(&Image::new(image));
    }
}

/// A device that refuses every read from the n-th on.
struct Tired<'a> {
    image: &'a Image,
    left: std::cell::Cell<u64>,
}

impl Device for Tired<'_> {
    type Error = crate::image::Refused;

    fn read(&self, offset: u64, buf: &mut [u8]) -> Result<(), Self::Error> {
        self.left.set(self.left.get().checked_sub(1).ok_or(crate::image::Refused)?);
        self.image.read(offset, buf)
    }

    fn write(&self, offset: u64, buf: &[u8]) -> Result<(), Self::Error> {
        self.image.write(offset, buf)
    }
}

/// An operation on a device, with a block of scratch.
type Action<'a> = &'a mut dyn FnMut(&Tired<'_>, &mut [u8]) -> Result<(), Failure>;

#[test]
fn every_device_error_is_reported() {
    let image = damaged(&[]);
    let fs = FileSystem::mount(&image).expect("mount");
    let dir = inode_at(&fs, &image, "dir");
    let small = inode_at(&fs, &image, "small");
    let big = inode_at(&fs, &image, "big");
    let mut scratch = vec![0; 1024];
    let mut check = |what: &str, action: Action<'_>| {
        for reads in 0.. {
            let device = Tired { image: &image, left: reads.into() };
            match action(&device, &mut scratch) {
                Ok(()) => {
                    assert!(reads > 0, "{what}");
                    return;
                }
                Err(error) => {
                    assert_eq!(error, Error::Device(crate::image::Refused), "{what}, {reads} reads")
                }
            }
        }
    };
    check("mount", &mut |device, _| FileSystem::mount(device).map(drop));
    check("statfs", &mut |device, _| fs.statfs(device).map(drop));
    check("inode", &mut |device, _| fs.inode(device, small.number).map(drop));
    check("lookup", &mut |device, scratch| fs.lookup(device, &dir, b"entry-number-59", scratch).map(drop));
    check("translator", &mut |device, scratch| fs.translator(device, &small, scratch).map(drop));
    let mut buf = vec![0; 400_000];
    check("read", &mut |device, _| fs.read(device, &big, &mut BlockCursor::new(), 0, &mut buf).map(drop));
    check("read_dir", &mut |device, scratch| {
        let mut reader = fs.read_dir(device, &dir, 0, scratch)?;
        while reader.next_entry()?.is_some() {}
        Ok(())
    });
    check("set_translator", &mut |device, scratch| {
        fs.set_translator(device, small.number, b"/hurd/new\0", 0, scratch).map(drop)
    });
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    /// Any bytes in a block of attributes: reading and changing the record ends, and a change that succeeds can be read.
    #[test]
    fn any_block_of_attributes(
        edits in proptest::collection::vec((0..1020usize, proptest::array::uniform4(any::<u8>())), 0..6),
        refcount in 0..4u32,
        len in 0..1000usize,
    ) {
        let specimen = specimen();
        let block = specimen.metadata.last().expect("the block of attributes").start;
        let image = damaged(&[(block + 4, &refcount.to_le_bytes())]);
        for (at, bytes) in edits {
            // Mostly the entries, at the front.
            let at = if at % 3 == 0 { at } else { at % 96 };
            image.patch(block + at, &bytes);
        }
        let fs = FileSystem::mount(&image).expect("mount");
        let inode = inode_at(&fs, &image, "small");
        let _ = translator(&fs, &image, &inode);
        let argz = noise(len as u64, len);
        let before = image.to_vec();
        match fs.set_translator(&image, inode.number, &argz, 1, &mut [0; 1024]) {
            Ok(inode) => {
                let expected = (len != 0).then_some(argz);
                prop_assert_eq!(translator(&fs, &image, &inode), Ok(expected));
            }
            Err(_) => prop_assert!(image.to_vec() == before, "a refused change changed something"),
        }
    }
}
