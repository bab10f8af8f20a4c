//! Reading: every file of a tree byte for byte, against the tree itself and against ext4-view.

use std::fs::{self, OpenOptions};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;

use ext2::{BlockCursor, CreatorOs, Error, FileSystem, FileType, Inode, ROOT_INODE, Refusal};

use crate::image::{Image, contents, entries, inode_at, resolve};
use crate::tools::{Work, noise, plant};

/// Compares a directory of the host with one of the image, and everything below; returns the number of files seen.
fn compare(fs: &FileSystem, image: &Image, host: &Path, dir: &Inode) -> usize {
    let mut expected: Vec<_> = fs::read_dir(host)
        .expect("host directory")
        .map(|entry| entry.expect("host entry").file_name())
        .collect();
    expected.sort();
    let mut found = entries(fs, image, dir).expect("directory");
    if dir.number == ROOT_INODE {
        found.retain(|(name, _)| name != b"lost+found");
    }
    let names: Vec<_> = found.iter().map(|(name, _)| name.as_slice()).collect();
    assert_eq!(names, expected.iter().map(|name| name.as_bytes()).collect::<Vec<_>>(), "{}", host.display());

    let mut scratch = vec![0; fs.block_size()];
    let mut seen = 0;
    for ((name, number), file) in found.iter().zip(&expected) {
        let path = host.join(file);
        let looked_up = fs.lookup(image, dir, name, &mut scratch).expect("lookup");
        assert_eq!(looked_up, Some(*number), "{}", path.display());
        let inode = fs.inode(image, *number).expect("inode");
        let truth = fs::symlink_metadata(&path).expect("metadata");
        assert_eq!(inode.mode, truth.mode(), "{}", path.display());
        assert_eq!((inode.uid, inode.gid), (truth.uid(), truth.gid()));
        assert_eq!(i64::from(inode.mtime), truth.mtime(), "{}", path.display());
        assert!(!inode.has_translator());
        if truth.is_dir() {
            seen += compare(fs, image, &path, &inode);
        } else if truth.is_symlink() {
            let len = fs.read_link(image, &inode, &mut scratch).expect("link");
            assert_eq!(&scratch[..len], fs::read_link(&path).expect("link").as_os_str().as_bytes());
        } else {
            assert_eq!(inode.size, truth.size());
            assert_eq!(u64::from(inode.links), truth.nlink());
            let bytes = fs::read(&path).expect("host file");
            assert!(contents(fs, image, &inode, 64 << 10) == bytes, "{} differs", path.display());
        }
        seen += 1;
    }
    seen
}

fn read_everything(options: &[&str], creator: CreatorOs) {
    let work = Work::new();
    plant(&work.tree());
    work.mke2fs(options, "32m");
    let image = work.load();
    let fs = FileSystem::mount(&image).expect("mount");
    assert_eq!(fs.creator(), creator);
    assert!(fs.is_writable());
    let root = fs.inode(&image, ROOT_INODE).expect("root");
    let seen = compare(&fs, &image, &work.tree(), &root);
    assert!(seen > 290, "only {seen} files seen");
}

#[test]
fn every_file_with_1k_blocks() {
    read_everything(&["-o", "hurd", "-b", "1024"], CreatorOs::Hurd);
}

#[test]
fn every_file_with_2k_blocks() {
    read_everything(&["-o", "hurd", "-b", "2048"], CreatorOs::Hurd);
}

#[test]
fn every_file_with_4k_blocks() {
    read_everything(&["-o", "hurd", "-b", "4096"], CreatorOs::Hurd);
}

#[test]
fn every_file_of_revision_0() {
    read_everything(&["-o", "hurd", "-b", "1024", "-r", "0"], CreatorOs::Hurd);
}

#[test]
fn every_file_in_many_small_groups() {
    // 32 MiB in groups of 256 blocks: 128 groups, more than the FileSystem keeps by value.
    read_everything(
        &["-o", "hurd", "-b", "1024", "-g", "256", "-N", "4096", "-O", "^resize_inode"],
        CreatorOs::Hurd,
    );
}

#[test]
fn every_file_made_for_linux() {
    read_everything(&["-o", "linux", "-b", "1024", "-I", "256"], CreatorOs::Linux);
    read_everything(&["-o", "linux", "-b", "4096", "-I", "128"], CreatorOs::Linux);
}

#[test]
fn every_file_made_for_another_system() {
    read_everything(&["-o", "freebsd", "-b", "1024"], CreatorOs::FreeBsd);
}

/// ext4-view wants the FILETYPE feature, which mke2fs leaves out for the Hurd; so the oracle reads a Linux image.
#[test]
fn agrees_with_ext4_view() {
    let work = Work::new();
    plant(&work.tree());
    let holes = ["/hole", "/sparse"].map(ext4_view::PathBuf::new);
    for block_size in ["1024", "2048", "4096"] {
        work.mke2fs(&["-o", "linux", "-b", block_size], "32m");
        let image = work.load();
        let fs = FileSystem::mount(&image).expect("mount");
        let oracle = ext4_view::Ext4::load(Box::new(image.to_vec())).expect("oracle");
        let mut waiting = vec![(ext4_view::PathBuf::new("/"), ROOT_INODE)];
        let mut seen = 0;
        while let Some((path, number)) = waiting.pop() {
            let inode = fs.inode(&image, number).expect("inode");
            let truth = oracle.symlink_metadata(&path).expect("oracle metadata");
            assert_eq!(inode.mode & 0o7777, u32::from(truth.mode()), "{path:?}");
            assert_eq!(inode.is_dir(), truth.is_dir());
            assert_eq!(inode.is_symlink(), truth.is_symlink());
            assert_eq!((inode.uid, inode.gid), (truth.uid(), truth.gid()));
            if inode.is_dir() {
                let mut names: Vec<_> = oracle
                    .read_dir(&path)
                    .expect("oracle directory")
                    .map(|entry| entry.expect("oracle entry").file_name().as_ref().to_vec())
                    .filter(|name| name != b"." && name != b"..")
                    .collect();
                names.sort();
                let found = entries(&fs, &image, &inode).expect("directory");
                assert_eq!(found.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>(), names);
                waiting.extend(found.into_iter().map(|(name, number)| (path.join(name.as_slice()), number)));
            } else if inode.is_symlink() {
                let mut target = vec![0; fs.block_size()];
                let len = fs.read_link(&image, &inode, &mut target).expect("link");
                assert_eq!(&target[..len], oracle.read_link(&path).expect("oracle link").as_ref());
            } else {
                assert_eq!(inode.size, truth.len());
                // It takes a hole in a file without extents for block 0.
                match oracle.read(&path) {
                    Ok(truth) => assert!(contents(&fs, &image, &inode, 12_345) == truth, "{path:?}"),
                    Err(error) => assert!(holes.contains(&path), "{path:?}: {error}"),
                }
            }
            seen += 1;
        }
        assert!(seen > 290, "only {seen} files seen");
    }
}

#[test]
fn reads_at_any_offset() {
    let work = Work::new();
    plant(&work.tree());
    work.mke2fs(&["-o", "hurd", "-b", "1024"], "32m");
    let image = work.load();
    let fs = FileSystem::mount(&image).expect("mount");
    for name in ["sparse", "file-1100000", "file-5000000"] {
        let inode = inode_at(&fs, &image, name);
        let truth = fs::read(work.tree().join(name)).expect("host file");
        let mut random = crate::tools::Random::new(7);
        let mut shared = BlockCursor::new();
        for _ in 0..500 {
            let offset = random.below(truth.len() + 2000);
            let mut buf = vec![0xa5; random.below(30_000)];
            let expected = &truth[offset.min(truth.len())..(offset + buf.len()).min(truth.len())];
            for cursor in [&mut shared, &mut BlockCursor::new()] {
                let read = fs.read(&image, &inode, cursor, offset as u64, &mut buf).expect("read");
                assert!(buf[..read] == *expected, "{name} at {offset}");
            }
        }
        let mut buf = [0; 16];
        assert_eq!(fs.read(&image, &inode, &mut shared, u64::MAX, &mut buf), Ok(0));
    }
    // A cursor that served one file is of no harm to another.
    let mut cursor = BlockCursor::new();
    for name in ["file-5000000", "file-1100000", "sparse", "file-5000000"] {
        let mut buf = vec![0; 50_000];
        let read =
            fs.read(&image, &inode_at(&fs, &image, name), &mut cursor, 900_000, &mut buf).expect("read");
        let truth = fs::read(work.tree().join(name)).expect("host file");
        assert!(buf[..read] == truth[900_000..900_000 + read], "{name}");
    }
}

/// Islands of data in a file that needs triple indirect blocks, and beyond 4 GiB with blocks of 4 KiB.
#[test]
fn triple_indirect_blocks() {
    for (block_size, islands, size) in [
        (
            "1024",
            vec![0, 12 << 10, 268 << 10, 65_804 << 10, 65_805 << 10, 70_000_000, 200_000_000],
            200_500_000u64,
        ),
        ("4096", vec![48 << 10, 4_243_456, 4_299_210_752, 4_299_214_848, 5_000_000_000], 5_100_000_000),
    ] {
        let work = Work::new();
        let path = work.tree().join("islands");
        let file = OpenOptions::new().read(true).write(true).create_new(true).open(path).expect("file");
        file.set_len(size).expect("size");
        for &at in &islands {
            file.write_all_at(&noise(at, 6000), at).expect("island");
        }
        work.mke2fs(&["-o", "hurd", "-b", block_size], "8m");
        work.assert_clean("after mke2fs");
        let image = work.load();
        let fs = FileSystem::mount(&image).expect("mount");
        let inode = inode_at(&fs, &image, "islands");
        assert_eq!(inode.size, size);
        let mut cursor = BlockCursor::new();
        let mut check = |at: u64, len: usize| {
            let (mut got, mut truth) = (vec![0xa5; len], vec![0; len]);
            file.read_exact_at(&mut truth, at).expect("host file");
            assert_eq!(fs.read(&image, &inode, &mut cursor, at, &mut got), Ok(len));
            assert!(got == truth, "block size {block_size}, offset {at}");
        };
        for &at in &islands {
            check(at.saturating_sub(20_000), 50_000);
        }
        for step in 0..200 {
            check(step * (size / 201), 4097);
        }
        // The zeros in between are no work for the device.
        let mut buf = vec![0xa5; 8 << 20];
        let hole = islands[islands.len() - 1] + (64 << 10);
        let (read, reads) =
            image.reads_of(|| fs.read(&image, &inode, &mut BlockCursor::new(), hole, &mut buf[..(64 << 10)]));
        assert_eq!(read, Ok(64 << 10));
        assert!(buf[..64 << 10].iter().all(|&byte| byte == 0));
        assert!(reads < 12, "{reads} reads for a hole");
    }
}

/// In `i_flags`: the directory has an index.
const EXT2_INDEX_FL: u32 = 0x1000;

#[test]
fn large_directories_linear_and_indexed() {
    for block_size in ["1024", "4096"] {
        let work = Work::new();
        let dir = work.tree().join("many");
        fs::create_dir(&dir).expect("directory");
        for number in 0..5000 {
            fs::write(dir.join(format!("entry-{number:05}-{}", "x".repeat(number % 90))), b"")
                .expect("entry");
        }
        work.mke2fs(&["-o", "hurd", "-b", block_size, "-N", "6000"], "16m");
        for indexed in [false, true] {
            if indexed {
                work.repair("-fyD");
            }
            work.assert_clean("of a large directory");
            let image = work.load();
            let fs = FileSystem::mount(&image).expect("mount");
            let root = fs.inode(&image, ROOT_INODE).expect("root");
            assert_eq!(compare(&fs, &image, &work.tree(), &root), 5001);
            let many = inode_at(&fs, &image, "many");
            assert_eq!(many.flags & EXT2_INDEX_FL != 0, indexed);
            let mut scratch = vec![0; 4096];
            assert_eq!(fs.lookup(&image, &many, b"entry-05000-", &mut scratch), Ok(None));
            assert_eq!(fs.lookup(&image, &many, b"", &mut scratch), Ok(None));
            assert_eq!(fs.lookup(&image, &many, &[b'n'; 256], &mut scratch), Err(Error::NameTooLong));
            assert_eq!(fs.lookup(&image, &many, b"..", &mut scratch), Ok(Some(ROOT_INODE)));
            let needed = fs.block_size();
            let small = fs.lookup(&image, &many, b"x", &mut scratch[..needed - 1]);
            assert_eq!(small, Err(Error::BufferTooSmall { needed }));
            resume_everywhere(&fs, &image, &many);
        }
    }
}

/// Reading a directory in single steps, each with a new reader, sees the same as one reader; any position is safe.
fn resume_everywhere(fs: &FileSystem, image: &Image, dir: &Inode) {
    let mut scratch = vec![0; 4096];
    let mut found = Vec::new();
    let mut position = 0;
    loop {
        let mut reader = fs.read_dir(image, dir, position, &mut scratch).expect("reader");
        let Some(entry) = reader.next_entry().expect("entry") else { break };
        if entry.name != b"." && entry.name != b".." {
            found.push((entry.name.to_vec(), entry.inode));
        }
        position = reader.position();
    }
    found.sort();
    assert_eq!(found, entries(fs, image, dir).expect("entries"));
    for position in (0..dir.size + 100).step_by(37).chain([u64::MAX, u64::MAX - 3]) {
        let mut reader = fs.read_dir(image, dir, position, &mut scratch).expect("reader");
        if let Some(entry) = reader.next_entry().expect("entry") {
            assert!(
                found.iter().any(|(name, inode)| name == entry.name && *inode == entry.inode)
                    || entry.name[0] == b'.'
            );
        }
    }
}

#[test]
fn file_types_in_records() {
    let work = Work::new();
    fs::write(work.tree().join("regular"), b"x").expect("file");
    fs::create_dir(work.tree().join("directory")).expect("directory");
    std::os::unix::fs::symlink("regular", work.tree().join("symlink")).expect("link");
    for (options, told) in [(["-o", "linux", "-b", "1024"], true), (["-o", "hurd", "-b", "1024"], false)] {
        work.mke2fs(&options, "1m");
        work.debugfs("mknod char c 5 1");
        work.debugfs("mknod block b 254 3");
        work.debugfs("mknod fifo p");
        let image = work.load();
        let fs = FileSystem::mount(&image).expect("mount");
        let root = fs.inode(&image, ROOT_INODE).expect("root");
        let mut scratch = vec![0; 1024];
        let mut reader = fs.read_dir(&image, &root, 0, &mut scratch).expect("reader");
        let mut seen = 0;
        while let Some(entry) = reader.next_entry().expect("entry") {
            let (told_type, true_type) = match entry.name {
                b"regular" => (FileType::Regular, ext2::S_IFREG),
                b"symlink" => (FileType::Symlink, ext2::S_IFLNK),
                b"char" => (FileType::CharDevice, ext2::S_IFCHR),
                b"block" => (FileType::BlockDevice, ext2::S_IFBLK),
                b"fifo" => (FileType::Fifo, ext2::S_IFIFO),
                _ => (FileType::Directory, ext2::S_IFDIR),
            };
            assert_eq!(entry.file_type, if told { told_type } else { FileType::Unknown });
            assert_eq!(fs.inode(&image, entry.inode).expect("inode").file_type(), true_type);
            seen += 1;
        }
        assert_eq!(seen, 9);
        assert_eq!(inode_at(&fs, &image, "char").device_number(), 0x501);
        assert_eq!(inode_at(&fs, &image, "block").device_number(), 254 << 8 | 3);
        assert_eq!(inode_at(&fs, &image, "regular").device_number(), 0);
        let mut buf = [0; 8];
        let mut cursor = BlockCursor::new();
        assert_eq!(
            fs.read(&image, &inode_at(&fs, &image, "char"), &mut cursor, 0, &mut buf),
            Err(Error::NotFile)
        );
        let regular = inode_at(&fs, &image, "regular");
        assert_eq!(fs.read_link(&image, &regular, &mut buf), Err(Error::NotSymlink));
        assert_eq!(fs.lookup(&image, &regular, b"x", &mut scratch), Err(Error::NotDirectory));
        let link = inode_at(&fs, &image, "symlink");
        assert_eq!(fs.read_link(&image, &link, &mut buf[..6]), Err(Error::BufferTooSmall { needed: 7 }));
        assert_eq!(fs.read_link(&image, &link, &mut buf[..7]), Ok(7));
    }
}

/// The Hurd's own fields are read on its images only.
#[test]
fn mode_high_and_author_belong_to_the_hurd() {
    for (os, mode_high, author) in [("hurd", 0x0007_0000, 77), ("linux", 0, 70_000)] {
        let work = Work::new();
        fs::write(work.tree().join("f"), b"x").expect("file");
        work.mke2fs(&["-o", os, "-b", "1024", "-I", "128"], "1m");
        work.debugfs("set_inode_field f uid 70000");
        work.debugfs("set_inode_field f gid 80000");
        let printed = work.debugfs("imap f");
        let offset = parse_imap(&printed, 1024);
        let image = work.load();
        // S_ITRANS bits on the disk (0xe0 in the high half) mean nothing.
        image.patch(offset + 118, &[0xe7, 0]);
        image.patch(offset + 124, &77u32.to_le_bytes());
        let fs = FileSystem::mount(&image).expect("mount");
        let inode = inode_at(&fs, &image, "f");
        assert_eq!((inode.uid, inode.gid), (70_000, 80_000));
        assert_eq!(inode.mode & 0xffff_0000, mode_high, "{os}");
        assert_eq!(inode.author, author, "{os}");
    }
}

/// The byte offset of an inode, from debugfs' `imap`: "Inode 12 is part of block group 0\n\tlocated at block 5, offset 0x0580".
pub(crate) fn parse_imap(printed: &str, block_size: usize) -> usize {
    let (_, rest) = printed.split_once("located at block ").expect("imap");
    let (block, offset) = rest.trim().split_once(", offset 0x").expect("imap");
    block.parse::<usize>().expect("block") * block_size + usize::from_str_radix(offset, 16).expect("offset")
}

#[test]
fn statfs_tells_the_superblocks_counts() {
    let work = Work::new();
    fs::write(work.tree().join("f"), noise(1, 100_000)).expect("file");
    work.mke2fs(&["-o", "hurd", "-b", "2048", "-m", "5"], "4m");
    let image = work.load();
    let statfs = FileSystem::mount(&image).expect("mount").statfs(&image).expect("statfs");
    let printed = work.debugfs("stats");
    let number = |label: &str| {
        let line = printed.lines().find(|line| line.starts_with(label)).expect(label);
        line.rsplit(' ').next().and_then(|word| word.parse::<u32>().ok()).expect(label)
    };
    assert_eq!(statfs.block_size, 2048);
    assert_eq!(statfs.blocks, number("Block count:"));
    assert_eq!(statfs.free_blocks, number("Free blocks:"));
    assert_eq!(statfs.available_blocks, number("Free blocks:") - number("Reserved block count:"));
    assert_eq!(statfs.files, number("Inode count:"));
    assert_eq!(statfs.free_files, number("Free inodes:"));
    assert_eq!(statfs.uuid[..4], *b"kous");
}

#[test]
fn other_images_are_refused_with_the_reason() {
    let work = Work::new();
    let mount = |options: &[&str]| {
        work.mke2fs(options, "16m");
        FileSystem::mount(&work.load())
    };
    // EXTENTS 0x40 and 64BIT 0x80 are incompatible; METADATA_CSUM 0x400 only forbids writing.
    let refused = mount(&["-o", "linux", "-b", "1024", "-O", "extent"]).err();
    assert_eq!(refused, Some(Error::Refused(Refusal::Features(0x40))));
    let refused = mount(&["-o", "linux", "-b", "1024", "-O", "extent,64bit"]).err();
    assert_eq!(refused, Some(Error::Refused(Refusal::Features(0xc0))));
    let refused = mount(&["-o", "linux", "-b", "1024", "-O", "meta_bg,^resize_inode"]).err();
    assert_eq!(refused, Some(Error::Refused(Refusal::Features(0x10))));
    let readable = mount(&["-o", "linux", "-b", "1024", "-O", "metadata_csum"]).expect("mount");
    assert!(!readable.is_writable());
    let image = work.load();
    let mut scratch = vec![0; 1024];
    let refused = readable.set_translator(&image, ROOT_INODE, b"/hurd/null\0", 0, &mut scratch);
    assert_eq!(refused, Err(Error::ReadOnly));
    // A clean ext3 image is an ext2 image.
    mount(&["-o", "hurd", "-b", "1024", "-j"]).expect("mount");
}

/// The cost of what servers do most, in reads of the device.
#[test]
fn operations_take_few_reads() {
    let work = Work::new();
    let dir = work.tree().join("d");
    fs::create_dir(&dir).expect("directory");
    for number in 0..200 {
        fs::write(dir.join(format!("file-number-{number:03}")), b"").expect("file");
    }
    fs::write(work.tree().join("big"), noise(3, 3 << 20)).expect("file");
    work.mke2fs(&["-o", "hurd", "-b", "1024"], "8m");
    let image = work.load();
    let (fs, reads) = image.reads_of(|| FileSystem::mount(&image).expect("mount"));
    assert!(reads <= 3, "mount: {reads} reads");
    let (d, reads) = image.reads_of(|| resolve(&fs, &image, "d").expect("resolve").expect("d"));
    assert!(reads <= 3, "resolve: {reads} reads");
    // All of the directory's blocks are adjacent, and one scratch buffer takes several.
    let mut scratch = vec![0; 16 << 10];
    let (found, reads) =
        image.reads_of(|| fs.lookup(&image, &d, b"file-number-199", &mut scratch).expect("lookup"));
    assert!(found.is_some());
    assert!(reads <= 2, "lookup: {reads} reads");
    let big = inode_at(&fs, &image, "big");
    let (_, reads) = image.reads_of(|| contents(&fs, &image, &big, 4096));
    // 768 data reads, 48 windows of 64 pointers, and the walks.
    assert!(reads <= 768 + 48 + 60, "sequential read: {reads} reads");
}
