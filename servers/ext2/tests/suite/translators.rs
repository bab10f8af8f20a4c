//! Passive translator records: written by debugfs and read by us, written by us and read by debugfs, clean for e2fsck.

use std::fs;
use std::ops::Range;

use ext2::{Corrupt, Error, FileSystem, Inode, S_IPTRANS};
use proptest::prelude::*;

use crate::image::{Failure, Image, inode_at, is_corrupt, translator};
use crate::reading::parse_imap;
use crate::tools::{Work, noise};

const HELLO: &[u8] = b"/hurd/hello\0--contents=hello\0";
const NOW: u32 = 1_800_000_000;
const BLOCK_SIZES: [&str; 3] = ["1024", "2048", "4096"];

/// The length of the target of `/slow`.
const SLOW: usize = 300;

/// A work directory with a small image: `/f`, `/g` and `/h` with a little data, directory `/d`, symbolic links `/l` (stored in
/// the inode) and `/slow`, named pipe `/p`.
fn small(options: &[&str]) -> Work {
    let work = Work::new();
    for name in ["f", "g", "h"] {
        fs::write(work.tree().join(name), name.repeat(100)).expect("file");
    }
    fs::create_dir(work.tree().join("d")).expect("directory");
    std::os::unix::fs::symlink("f", work.tree().join("l")).expect("link");
    std::os::unix::fs::symlink("s".repeat(SLOW), work.tree().join("slow")).expect("link");
    work.mke2fs(options, "2m");
    work.debugfs("mknod p p");
    work
}

/// A free block, from debugfs' `ffb`: "Free blocks found: 103 ".
fn free_block(work: &Work) -> u32 {
    work.debugfs("ffb").split_whitespace().last().and_then(|word| word.parse().ok()).expect("a free block")
}

/// Gives `file` a legacy record by hand, as the Hurd would have written it.
fn set_legacy(work: &Work, file: &str, argz: &[u8]) -> u32 {
    let block = free_block(work);
    work.debugfs(&format!("setb {block}"));
    work.debugfs(&format!("set_inode_field {file} translator {block}"));
    let image = work.load();
    let fs = FileSystem::mount(&image).expect("mount");
    let sectors = inode_at(&fs, &image, file).sectors + fs.block_size() as u32 / 512;
    let offset = block as usize * fs.block_size();
    image.patch(offset, &(argz.len() as u16).to_le_bytes());
    image.patch(offset + 2, argz);
    work.store(&image);
    work.debugfs(&format!("set_inode_field {file} blocks {sectors}"));
    work.repair("-fy");
    work.assert_clean("with a legacy record made by hand");
    block
}

/// Sets a record in the image in memory and checks that the returned inode is what a fresh read gives.
fn set(fs: &FileSystem, image: &Image, number: u32, argz: &[u8]) -> Result<Inode, Failure> {
    let mut scratch = vec![0x5a; fs.block_size()];
    let inode = fs.set_translator(image, number, argz, NOW, &mut scratch)?;
    assert_eq!(Ok(inode), fs.inode(image, number));
    assert_eq!(inode.ctime, NOW);
    Ok(inode)
}

#[test]
fn attribute_made_by_debugfs_is_read() {
    for os in ["hurd", "linux"] {
        for block_size in BLOCK_SIZES {
            let work = small(&["-o", os, "-b", block_size, "-I", "128"]);
            for file in ["f", "d", "l", "p"] {
                work.set_attribute(file, "gnu.translator", HELLO);
            }
            let image = work.load();
            let fs = FileSystem::mount(&image).expect("mount");
            for file in ["f", "d", "l", "p"] {
                let inode = inode_at(&fs, &image, file);
                assert!(inode.has_translator() && inode.mode & S_IPTRANS != 0, "{file}");
                assert_eq!(translator(&fs, &image, &inode), Ok(Some(HELLO.to_vec())), "{file}");
            }
            let plain = inode_at(&fs, &image, "g");
            assert!(!plain.has_translator());
            assert_eq!(translator(&fs, &image, &plain), Ok(None));
            // The block of attributes does not make a short link a long one.
            let mut target = [0; 8];
            assert_eq!(fs.read_link(&image, &inode_at(&fs, &image, "l"), &mut target), Ok(1));
            assert_eq!(target[0], b'f');
        }
    }
}

#[test]
fn attribute_is_found_among_others() {
    let work = small(&["-o", "hurd", "-b", "4096"]);
    for number in 0..60 {
        work.set_attribute("f", &format!("user.attribute-number-{number}"), b"value");
        work.set_attribute("g", &format!("user.attribute-number-{number}"), b"value");
    }
    work.set_attribute("f", "gnu.translator", HELLO);
    work.set_attribute("g", "gnu.translato", b"shorter");
    work.set_attribute("g", "gnu.translators", b"longer");
    work.set_attribute("g", "user.translator", b"other prefix");
    let image = work.load();
    let fs = FileSystem::mount(&image).expect("mount");
    assert_eq!(translator(&fs, &image, &inode_at(&fs, &image, "f")), Ok(Some(HELLO.to_vec())));
    assert_eq!(translator(&fs, &image, &inode_at(&fs, &image, "g")), Ok(None));
}

#[test]
fn legacy_record_is_read_and_comes_first() {
    for block_size in BLOCK_SIZES {
        let work = small(&["-o", "hurd", "-b", block_size]);
        work.set_attribute("f", "gnu.translator", b"/hurd/attribute\0");
        set_legacy(&work, "f", HELLO);
        set_legacy(&work, "slow", HELLO);
        let image = work.load();
        let fs = FileSystem::mount(&image).expect("mount");
        for file in ["f", "slow"] {
            let inode = inode_at(&fs, &image, file);
            assert!(inode.has_translator());
            assert_eq!(translator(&fs, &image, &inode), Ok(Some(HELLO.to_vec())));
            let small = fs.translator(&image, &inode, &mut [0; 5]);
            assert_eq!(small, Err(Error::BufferTooSmall { needed: HELLO.len() }));
        }
        let mut target = [0; 4096];
        assert_eq!(fs.read_link(&image, &inode_at(&fs, &image, "slow"), &mut target), Ok(SLOW));
    }
}

/// Outside the Hurd's images the same field is a version number.
#[test]
fn no_legacy_record_without_the_hurd() {
    let work = small(&["-o", "linux", "-b", "1024", "-I", "128"]);
    let offset = parse_imap(&work.debugfs("imap f"), 1024);
    let image = work.load();
    image.patch(offset + 36, &100u32.to_le_bytes());
    let fs = FileSystem::mount(&image).expect("mount");
    let inode = inode_at(&fs, &image, "f");
    assert!(!inode.has_translator());
    assert_eq!(translator(&fs, &image, &inode), Ok(None));
    set(&fs, &image, inode.number, HELLO).expect("set");
    set(&fs, &image, inode.number, b"").expect("clear");
    assert_eq!(image.word(offset + 36), 100, "the version number was overwritten");
}

#[test]
fn attribute_written_by_us_is_read_by_debugfs() {
    for os in ["hurd", "linux", "freebsd"] {
        for block_size in BLOCK_SIZES {
            let work = small(&["-o", os, "-b", block_size, "-I", "128"]);
            let free_before =
                FileSystem::mount(&work.load()).expect("mount").statfs(&work.load()).expect("statfs");
            let block_size: usize = block_size.parse().expect("a number");
            // One of every length modulo 4, a longer, a shorter, and the longest that fits: header 32, entry 28, end 4.
            let longest = noise(9, block_size - 64);
            let values =
                [HELLO, &HELLO[..1], &HELLO[..2], &HELLO[..3], &longest, &HELLO[..4], &longest, HELLO];
            for argz in values {
                for file in ["f", "d", "l", "p"] {
                    let image = work.load();
                    let fs = FileSystem::mount(&image).expect("mount");
                    let inode = set(&fs, &image, inode_at(&fs, &image, file).number, argz).expect("set");
                    assert!(inode.has_translator());
                    assert_eq!(translator(&fs, &image, &inode), Ok(Some(argz.to_vec())));
                    work.store(&image);
                    assert_eq!(work.attribute(file, "gnu.translator").as_deref(), Some(argz), "{os} {file}");
                }
                work.assert_clean("after writing attributes");
            }
            let image = work.load();
            let fs = FileSystem::mount(&image).expect("mount");
            let free = fs.statfs(&image).expect("statfs").free_blocks;
            assert_eq!(free, free_before.free_blocks - 4);
            let too_long = set(&fs, &image, inode_at(&fs, &image, "f").number, &noise(9, block_size - 63));
            assert_eq!(too_long, Err(Error::NoSpace));
            let too_long = set(&fs, &image, inode_at(&fs, &image, "f").number, &noise(9, block_size + 1));
            assert_eq!(too_long, Err(Error::NameTooLong));
            assert!(image.to_vec() == work.load().to_vec(), "a refused change changed something");
            for file in ["f", "d", "l", "p"] {
                let inode = set(&fs, &image, inode_at(&fs, &image, file).number, b"").expect("clear");
                assert!(!inode.has_translator());
                assert_eq!(translator(&fs, &image, &inode), Ok(None));
            }
            assert_eq!(fs.statfs(&image).expect("statfs"), free_before);
            work.store(&image);
            assert_eq!(work.attribute("f", "gnu.translator"), None);
            work.assert_clean("after clearing attributes");
        }
    }
}

/// Not only can debugfs read what we write: it writes the same bytes, the entry's hash included.
#[test]
fn blocks_are_those_of_debugfs() {
    for (others, argz) in [
        (&[][..], HELLO),
        (&["user.zz"], HELLO),
        (&["user.zz", "security.a", "trusted.b", "user.y"], &HELLO[..6]),
    ] {
        let blocks = [false, true].map(|ours| {
            let work = small(&["-o", "hurd", "-b", "1024"]);
            for name in others {
                work.set_attribute("f", name, name.as_bytes());
            }
            if ours {
                let image = work.load();
                let fs = FileSystem::mount(&image).expect("mount");
                set(&fs, &image, inode_at(&fs, &image, "f").number, argz).expect("set");
                work.store(&image);
            } else {
                work.set_attribute("f", "gnu.translator", argz);
            }
            let block = work.stat_number("f", "File ACL:") as usize;
            // It leaves the hash of the whole block at 0, which Linux takes for "do not share".
            let image = work.load();
            image.patch(block * 1024 + 12, &[0; 4]);
            image.to_vec()[block * 1024..][..1024].to_vec()
        });
        let differs = (0..1024).find(|&at| blocks[0][at] != blocks[1][at]);
        assert_eq!(differs, None, "with {others:?}");
    }
}

#[test]
fn other_attributes_survive() {
    let work = small(&["-o", "hurd", "-b", "1024"]);
    let others: Vec<(String, Vec<u8>)> = (0..8)
        .map(|number| {
            let prefix = ["user", "trusted", "security", "gnu"][number % 4];
            (format!("{prefix}.name-{}", "z".repeat(number * 3)), noise(number as u64, 3 + number * 9))
        })
        .collect();
    for (name, value) in &others {
        work.set_attribute("f", name, value);
    }
    let check = |record: Option<&[u8]>| {
        for (name, value) in &others {
            assert_eq!(work.attribute("f", name).as_ref(), Some(value), "{name}");
        }
        assert_eq!(work.attribute("f", "gnu.translator").as_deref(), record);
        work.assert_clean("with other attributes");
    };
    for argz in [HELLO, b"", HELLO, &HELLO[..7], &noise(1, 200), HELLO, b""] {
        let image = work.load();
        let fs = FileSystem::mount(&image).expect("mount");
        set(&fs, &image, inode_at(&fs, &image, "f").number, argz).expect("set");
        work.store(&image);
        check((!argz.is_empty()).then_some(argz));
        // debugfs can go on where we stopped. A new value makes it write all of them anew, in the order of the entries, so that
        // the record's is not the lowest when it is removed.
        work.set_attribute("f", &others[2].0, b"something else");
        work.set_attribute("f", &others[2].0, &others[2].1);
        check((!argz.is_empty()).then_some(argz));
    }
    let image = work.load();
    let fs = FileSystem::mount(&image).expect("mount");
    assert_eq!(set(&fs, &image, inode_at(&fs, &image, "f").number, &noise(1, 700)), Err(Error::NoSpace));
    assert!(image.to_vec() == work.load().to_vec(), "a refused change changed something");
}

/// Two inodes use one block of attributes, as Linux does it when they are equal.
#[test]
fn shared_blocks_are_copied() {
    for with_other in [false, true] {
        for clear in [false, true] {
            let work = small(&["-o", "hurd", "-b", "2048"]);
            work.set_attribute("f", "gnu.translator", HELLO);
            if with_other {
                work.set_attribute("f", "user.color", b"blue");
            }
            let shared = work.stat_number("f", "File ACL:");
            for (count, file) in [(2u32, "g"), (3, "h")] {
                work.debugfs(&format!("set_inode_field {file} file_acl {shared}"));
                work.debugfs(&format!("set_inode_field {file} blocks 8"));
                let image = work.load();
                image.patch(shared as usize * 2048 + 4, &count.to_le_bytes());
                work.store(&image);
            }
            work.assert_clean("with a shared block");

            let argz: &[u8] = if clear { b"" } else { b"/hurd/new\0" };
            let color = with_other.then(|| b"blue".to_vec());
            for (file, remaining) in [("g", 2), ("f", 1)] {
                let image = work.load();
                let fs = FileSystem::mount(&image).expect("mount");
                set(&fs, &image, inode_at(&fs, &image, file).number, argz).expect("set");
                work.store(&image);
                work.assert_clean("after one of several users changed");
                assert_eq!(image.word(shared as usize * 2048 + 4), remaining);
                assert_eq!(work.attribute(file, "gnu.translator").as_deref(), (!clear).then_some(argz));
                assert_eq!(work.attribute(file, "user.color"), color);
                assert_eq!(work.attribute("h", "gnu.translator").as_deref(), Some(HELLO));
            }
            // The last user changes it where it is.
            let image = work.load();
            let fs = FileSystem::mount(&image).expect("mount");
            set(&fs, &image, inode_at(&fs, &image, "h").number, argz).expect("set");
            work.store(&image);
            work.assert_clean("after the last user changed");
            let kept = work.stat_number("h", "File ACL:");
            assert_eq!(kept, if clear && !with_other { 0 } else { shared });
            assert_eq!(work.attribute("h", "user.color"), color);
        }
    }
}

#[test]
fn legacy_record_gives_way_to_an_attribute() {
    for argz in [b"".as_slice(), b"/hurd/new\0"] {
        let work = small(&["-o", "hurd", "-b", "1024"]);
        work.set_attribute("f", "gnu.translator", b"/hurd/attribute\0");
        set_legacy(&work, "f", HELLO);
        set_legacy(&work, "g", HELLO);
        let image = work.load();
        let fs = FileSystem::mount(&image).expect("mount");
        for file in ["f", "g"] {
            let inode = set(&fs, &image, inode_at(&fs, &image, file).number, argz).expect("set");
            assert_eq!(inode.has_translator(), !argz.is_empty());
            work.store(&image);
            assert_eq!(work.stat_number(file, "Translator:"), 0);
            assert_eq!(work.attribute(file, "gnu.translator").as_deref(), (!argz.is_empty()).then_some(argz));
        }
        work.assert_clean("after a legacy record gave way");
    }
}

#[test]
fn legacy_record_is_written_where_there_are_no_attributes() {
    for block_size in BLOCK_SIZES {
        let work = small(&["-o", "hurd", "-b", block_size, "-O", "^ext_attr"]);
        let free_before =
            FileSystem::mount(&work.load()).expect("mount").statfs(&work.load()).expect("statfs");
        let block_size: usize = block_size.parse().expect("a number");
        let longest = noise(9, block_size - 2);
        for argz in [HELLO, &longest, &HELLO[..5]] {
            for file in ["f", "d", "slow"] {
                let image = work.load();
                let fs = FileSystem::mount(&image).expect("mount");
                let inode = set(&fs, &image, inode_at(&fs, &image, file).number, argz).expect("set");
                assert_eq!(translator(&fs, &image, &inode), Ok(Some(argz.to_vec())));
                work.store(&image);
                let block = work.stat_number(file, "Translator:") as usize;
                assert_ne!(block, 0);
                let mut expected = (argz.len() as u16).to_le_bytes().to_vec();
                expected.extend_from_slice(argz);
                expected.resize(block_size, 0);
                assert!(image.to_vec()[block * block_size..][..block_size] == expected);
            }
            work.assert_clean("after writing legacy records");
        }
        let image = work.load();
        let fs = FileSystem::mount(&image).expect("mount");
        let number = inode_at(&fs, &image, "f").number;
        assert_eq!(set(&fs, &image, number, &noise(9, block_size - 1)), Err(Error::NameTooLong));
        assert_eq!(set(&fs, &image, number, &noise(9, 70_000)), Err(Error::NameTooLong));
        assert!(image.to_vec() == work.load().to_vec(), "a refused change changed something");
        // e2fsck looks for a legacy record only where there may be data blocks.
        for file in ["l", "p"] {
            let refused = set(&fs, &image, inode_at(&fs, &image, file).number, HELLO);
            assert_eq!(refused, Err(Error::NotSupported));
        }
        for file in ["f", "d", "slow"] {
            set(&fs, &image, inode_at(&fs, &image, file).number, b"").expect("clear");
        }
        assert_eq!(fs.statfs(&image).expect("statfs"), free_before);
        work.store(&image);
        work.assert_clean("after clearing legacy records");
    }
}

#[test]
fn no_place_for_a_record() {
    let work = small(&["-o", "linux", "-b", "1024", "-O", "^ext_attr"]);
    let image = work.load();
    let fs = FileSystem::mount(&image).expect("mount");
    let number = inode_at(&fs, &image, "f").number;
    assert_eq!(set(&fs, &image, number, HELLO), Err(Error::NotSupported));
    set(&fs, &image, number, b"").expect("there is nothing to clear");
    let mut scratch = [0; 1023];
    let refused = fs.set_translator(&image, number, HELLO, NOW, &mut scratch);
    assert_eq!(refused, Err(Error::BufferTooSmall { needed: 1024 }));
    assert_eq!(set(&fs, &image, 7, HELLO), Err(Error::InvalidInode(7)));
    assert_eq!(set(&fs, &image, fs.inodes_count(), HELLO), Err(Error::InodeNotInUse(fs.inodes_count())));
    work.store(&image);
    work.assert_clean("after refusals");
}

/// Records go on being written until not one block is free, in every group.
#[test]
fn a_full_image() {
    let work = Work::new();
    for number in 0..400 {
        fs::write(work.tree().join(format!("n{number}")), b"").expect("file");
    }
    work.mke2fs(&["-o", "hurd", "-b", "1024", "-g", "256", "-N", "512", "-O", "^resize_inode"], "420k");
    let image = work.load();
    let fs = FileSystem::mount(&image).expect("mount");
    let free = fs.statfs(&image).expect("statfs").free_blocks as usize;
    assert!((50..400).contains(&free), "{free} blocks free");
    let mut written = 0;
    for number in 0..400 {
        let inode = inode_at(&fs, &image, &format!("n{number}"));
        match set(&fs, &image, inode.number, format!("/hurd/number\0{number}\0").as_bytes()) {
            Ok(_) => written += 1,
            Err(error) => assert_eq!(error, Error::NoSpace),
        }
    }
    assert_eq!(written, free);
    assert_eq!(fs.statfs(&image).expect("statfs").free_blocks, 0);
    work.store(&image);
    work.assert_clean("with no block free");
    for number in 0..written {
        let inode = inode_at(&fs, &image, &format!("n{number}"));
        let expected = format!("/hurd/number\0{number}\0").into_bytes();
        assert_eq!(translator(&fs, &image, &inode), Ok(Some(expected)));
        set(&fs, &image, inode.number, b"").expect("clear");
    }
    assert_eq!(fs.statfs(&image).expect("statfs").free_blocks as usize, free);
    work.store(&image);
    work.assert_clean("after all was given back");
}

/// The n-th write of the device fails, or all from the n-th on, for every n: an error is reported, the node has the old record or
/// the new one, and what e2fsck repairs costs neither. If one write fails, what was taken for a new record is given back.
#[test]
fn a_device_that_fails() {
    for (options, old, new) in [
        (["-o", "hurd", "-b", "1024"].as_slice(), b"".as_slice(), HELLO),
        (&["-o", "hurd", "-b", "1024"], b"/hurd/old\0", HELLO),
        (&["-o", "hurd", "-b", "1024"], b"/hurd/old\0", b""),
        (&["-o", "hurd", "-b", "1024", "-O", "^ext_attr"], b"", HELLO),
        (&["-o", "hurd", "-b", "1024", "-O", "^ext_attr"], b"/hurd/old\0", HELLO),
        (&["-o", "hurd", "-b", "1024", "-O", "^ext_attr"], b"/hurd/old\0", b""),
    ] {
        let work = small(options);
        let image = work.load();
        let fs = FileSystem::mount(&image).expect("mount");
        let number = inode_at(&fs, &image, "f").number;
        set(&fs, &image, number, old).expect("set");
        let before = image.to_vec();
        let record = |argz: &[u8]| (!argz.is_empty()).then(|| argz.to_vec());
        let one = |write: u64| write..write + 1;
        let all = |write: u64| write..u64::MAX;
        for failing in [&one as &dyn Fn(u64) -> Range<u64>, &all] {
            for write in 0.. {
                let image = Image::new(before.clone()).failing(failing(write));
                let result = set(&fs, &image, number, new);
                let inode = fs.inode(&image, number).expect("inode");
                let found = translator(&fs, &image, &inode).expect("translator");
                if result.is_ok() {
                    assert_eq!(found, record(new));
                    assert!(write >= 2, "success after {write} writes");
                    break;
                }
                assert_eq!(result, Err(Error::Device(crate::image::Refused)));
                assert!(found == record(old) || found == record(new), "{found:?}");
                work.store(&image);
                if failing(write).end != u64::MAX && found == record(old) {
                    work.assert_clean("after one write failed");
                }
                work.repair("-fy");
                work.assert_clean("after repair");
                let repaired = work.load();
                let inode = fs.inode(&repaired, number).expect("inode");
                assert_eq!(translator(&fs, &repaired, &inode), Ok(found));
            }
        }
    }
}

/// Damage that would make a change harmful is found before anything is written.
#[test]
fn damaged_records() {
    let work = small(&["-o", "hurd", "-b", "1024"]);
    work.set_attribute("f", "gnu.translator", HELLO);
    work.set_attribute("f", "user.a", b"first");
    let legacy = set_legacy(&work, "g", HELLO) as usize * 1024;
    let f = parse_imap(&work.debugfs("imap f"), 1024);
    let g = parse_imap(&work.debugfs("imap g"), 1024);
    let block = work.stat_number("f", "File ACL:") as usize * 1024;
    let pristine = work.load().to_vec();
    let fs = FileSystem::mount(&work.load()).expect("mount");
    let numbers = (work.inode_number("f"), work.inode_number("g"));
    let attempt = |number: u32, offset: usize, with: &[u8]| {
        let image = Image::new(pristine.clone());
        image.patch(offset, with);
        let before = image.to_vec();
        // The inode stays readable, whatever its record looks like.
        let inode = fs.inode(&image, number).expect("inode");
        let read = translator(&fs, &image, &inode);
        let written = set(&fs, &image, number, b"/hurd/new\0").map(|inode| inode.number);
        assert!(written.is_ok() || image.to_vec() == before, "a refused change changed something");
        (read, written)
    };
    let attributes = Corrupt::ExtendedAttributes;
    // Header: magic, block count, no reference. First entry: value out of the block, value elsewhere.
    for (offset, with) in
        [(0, [0u8; 4]), (8, [2, 0, 0, 0]), (32 + 2, [0xf0, 0xff, 0, 0]), (32 + 8, [0xff; 4])]
    {
        let (_, written) = attempt(numbers.0, block + offset, &with);
        assert!(is_corrupt(written, attributes), "offset {offset}");
    }
    let (read, written) = attempt(numbers.0, block + 4, &[0; 4]);
    assert_eq!(read, Ok(Some(HELLO.to_vec())));
    assert!(is_corrupt(written, attributes));
    // Entries without an end.
    let (read, written) = attempt(numbers.0, block + 32, &[1; 1024 - 32]);
    assert!(is_corrupt(read, attributes) && is_corrupt(written, attributes));
    // Two values in the same place. The entries are user.a (16 bytes and a name of 1) and gnu.translator.
    let pristine_bytes = |at: usize| [pristine[at], pristine[at + 1]];
    assert_eq!(pristine_bytes(block + 52), [10, 10]);
    assert!(is_corrupt(attempt(numbers.0, block + 34, &pristine_bytes(block + 54)).1, attributes));
    // The inode's block numbers: out of range, the superblock, a group's bitmap (4 here), a free block.
    let free = free_block(&work);
    for field in [f + 104, g + 36] {
        let number = if field == f + 104 { numbers.0 } else { numbers.1 };
        for bad in [u32::MAX, 2048, 1] {
            let (read, written) = attempt(number, field, &bad.to_le_bytes());
            assert!(
                is_corrupt(read, Corrupt::BlockNumber(bad)) && is_corrupt(written, Corrupt::BlockNumber(bad))
            );
        }
        for bad in [2, 10, 12, free] {
            let (_, written) = attempt(number, field, &bad.to_le_bytes());
            assert!(is_corrupt(written, Corrupt::BlockBitmap(bad)), "block {bad}");
        }
    }
    let both = attempt(numbers.1, g + 104, &((legacy / 1024) as u32).to_le_bytes()).1;
    assert!(is_corrupt(both, Corrupt::BlockNumber((legacy / 1024) as u32)));
    let (read, _) = attempt(numbers.1, legacy, &[0xff, 0x03]);
    assert!(is_corrupt(read, Corrupt::TranslatorRecord));
    let (_, written) = attempt(numbers.1, g + 28, &[0; 4]);
    assert!(is_corrupt(written, Corrupt::SectorCount));
}

#[derive(Clone, Debug)]
struct Step {
    file: usize,
    argz: Vec<u8>,
}

fn step() -> impl Strategy<Value = Step> {
    let len = prop_oneof![Just(0), 1..80usize, 900..1100usize];
    let argz = len.prop_flat_map(|len| proptest::collection::vec(any::<u8>(), len));
    (0..5usize, argz).prop_map(|(file, argz)| Step { file, argz })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    /// Any sequence of changes agrees with a vector of records, and e2fsck agrees with the image.
    #[test]
    fn any_sequence_of_changes(
        steps in proptest::collection::vec(step(), 1..60),
        attributes in any::<bool>(),
        large in any::<bool>(),
    ) {
        let mut options = vec!["-o", "hurd", "-b", if large { "4096" } else { "1024" }];
        if !attributes {
            options.extend(["-O", "^ext_attr"]);
        }
        let work = small(&options);
        let files = ["f", "g", "h", "d", if attributes { "l" } else { "slow" }];
        if attributes {
            work.set_attribute("g", "user.other", b"value");
        }
        let image = work.load();
        let fs = FileSystem::mount(&image).expect("mount");
        let mut model = vec![Vec::new(); files.len()];
        let room = fs.block_size() - if attributes { 64 } else { 2 };
        for Step { file, argz } in steps {
            let inode = inode_at(&fs, &image, files[file]);
            match set(&fs, &image, inode.number, &argz) {
                Ok(_) => model[file] = argz,
                Err(error) => {
                    prop_assert!(matches!(error, Error::NoSpace | Error::NameTooLong), "{error:?}");
                    prop_assert!(argz.len() + 64 > room, "{} bytes refused", argz.len());
                }
            }
            for (name, record) in files.iter().zip(&model) {
                let inode = inode_at(&fs, &image, name);
                let expected = (!record.is_empty()).then(|| record.clone());
                prop_assert_eq!(inode.has_translator(), expected.is_some());
                prop_assert_eq!(translator(&fs, &image, &inode), Ok(expected));
            }
        }
        work.store(&image);
        work.assert_clean("after a sequence of changes");
        if attributes {
            prop_assert_eq!(work.attribute("g", "user.other"), Some(b"value".to_vec()));
        }
    }
}
