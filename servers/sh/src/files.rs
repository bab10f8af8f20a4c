//! Files and translators: `ls`, `cat`, `find`, `stat`, `settrans`, `showtrans`.
//!
//! `ls` looks at nodes themselves and starts no translator; `find` and `stat` look through them as `lstat` does on the Hurd, and `cat` opens them.

use alloc::vec::Vec;
use core::time::Duration;

use libhurd::abi::startup::INIT_PORT_BOOTSTRAP;
use libhurd::bootstrap::await_translator;
use libhurd::errno::{EINVAL, ENXIO, describe};
use libhurd::file::{
    Context, File, O_NOLINK, O_NOTRANS, O_READ, S_IATRANS, S_IFCHR, S_IFDIR, S_IFLNK, S_IFMT, S_IFREG,
    S_IPTRANS, entries,
};
use libhurd::mig::{Donation, Port};
use libhurd::port::{ReceiveRight, SendRight};
use libhurd::program::Program;
use libhurd::stubs::fs::{file_get_translator, file_get_translator_cntl, file_set_translator};
use libhurd::stubs::types::IoStatbuf;
use libhurd::{ALL, Mach, argz, eprintln, ool, print, println};

/// Bytes read at a time.
const PIECE: usize = 16 * 1024;
/// Deepest directory that `find` enters.
const MAX_DEPTH: usize = 64;
/// How long a translator started by `settrans -a` may take to report.
const PATIENCE: Duration = Duration::from_secs(60);
/// `file_set_translator` flags: do it; not if there is one.
const FS_TRANS_SET: i32 = 4;
const FS_TRANS_ORPHAN: i32 = 8;
/// `fsys_goaway` flags.
const FSYS_GOAWAY_FORCE: i32 = 4;

/// Where names start, and what calls may spend.
#[derive(Clone, Copy)]
pub(crate) struct Here<'a> {
    pub(crate) context: Context,
    pub(crate) offer: &'a Donation,
}

impl Here<'_> {
    fn open(&self, path: &[u8], flags: i32) -> Result<File, i32> {
        File::open_in(self.context, path, flags, self.offer)
    }
}

/// `drwxr-xr-x`, and `t` or `T` for a passive or an active translator.
fn mode_text(mode: u32) -> [u8; 11] {
    let mut text = *b"?rwxrwxrwx ";
    text[0] = match mode & S_IFMT {
        S_IFDIR => b'd',
        S_IFLNK => b'l',
        S_IFREG => b'-',
        S_IFCHR => b'c',
        _ => b'?',
    };
    for bit in 0..9 {
        if mode & (0o400 >> bit) == 0 {
            text[1 + bit] = b'-';
        }
    }
    if mode & S_IATRANS != 0 {
        text[10] = b'T';
    } else if mode & S_IPTRANS != 0 {
        text[10] = b't';
    }
    text
}

fn print_long(stat: &IoStatbuf, name: &[u8]) {
    let mode = mode_text(stat.st_mode);
    println!(
        "{} {:3} {:5} {:9} {}",
        mode.escape_ascii(),
        stat.st_nlink,
        stat.st_uid,
        stat.st_size,
        name.escape_ascii()
    );
}

/// Calls `visit` with every entry of an open directory.
fn each_entry(
    dir: &File,
    offer: &Donation,
    mut visit: impl FnMut(&[u8]) -> Result<(), i32>,
) -> Result<(), i32> {
    let mut first = 0;
    loop {
        let data = dir.read_dir(first, offer)?;
        let mut count = 0;
        for entry in entries(&data) {
            count += 1;
            visit(entry.name)?;
        }
        if count == 0 {
            return Ok(());
        }
        first += count;
    }
}

/// `dir/name`.
fn join(dir: &[u8], name: &[u8]) -> Vec<u8> {
    let mut path = dir.to_vec();
    if path.last() != Some(&b'/') {
        path.push(b'/');
    }
    path.extend_from_slice(name);
    path
}

/// `ls [-l] [PATH...]`.
pub(crate) fn ls(args: &[Vec<u8>], here: Here<'_>) -> Result<(), i32> {
    let long = args.first().is_some_and(|word| word == b"-l");
    let paths = &args[usize::from(long)..];
    let current = [b".".to_vec()];
    let paths = if paths.is_empty() { &current } else { paths };
    for path in paths {
        let node = here.open(path, O_NOTRANS | O_NOLINK)?;
        let stat = node.stat(here.offer)?;
        if stat.st_mode & S_IFMT != S_IFDIR {
            if long {
                print_long(&stat, path)
            } else {
                println!("{}", path.escape_ascii())
            }
            continue;
        }
        if paths.len() > 1 {
            println!("{}:", path.escape_ascii());
        }
        let dir = here.open(path, O_READ)?;
        each_entry(&dir, here.offer, |name| {
            if !long {
                println!("{}", name.escape_ascii());
                return Ok(());
            }
            let entry = here.open(&join(path, name), O_NOTRANS | O_NOLINK);
            match entry.and_then(|node| node.stat(here.offer)) {
                Ok(stat) => print_long(&stat, name),
                Err(code) => println!("?          {}: {}", name.escape_ascii(), describe(code)),
            }
            Ok(())
        })?;
    }
    Ok(())
}

/// `cat PATH...`.
pub(crate) fn cat(args: &[Vec<u8>], here: Here<'_>) -> Result<(), i32> {
    if args.is_empty() {
        return Err(EINVAL);
    }
    for path in args {
        let file = here.open(path, O_READ)?;
        let mut buffer = alloc::vec![0; PIECE];
        loop {
            let len = file.read(&mut buffer, here.offer)?;
            if len == 0 {
                break;
            }
            for chunk in buffer[..len].utf8_chunks() {
                print!("{}", chunk.valid());
                print!("{}", chunk.invalid().escape_ascii());
            }
        }
    }
    Ok(())
}

/// `find [PATH]`: every node below, looked at through its translator. What cannot be looked at is reported and passed over.
pub(crate) fn find(args: &[Vec<u8>], here: Here<'_>) -> Result<(), i32> {
    let start = match args {
        [] => b".".to_vec(),
        [path] => path.clone(),
        _ => return Err(EINVAL),
    };
    walk(&start, here, 0);
    Ok(())
}

fn walk(path: &[u8], here: Here<'_>, depth: usize) {
    let looked = here.open(path, O_NOLINK).and_then(|node| node.stat(here.offer));
    let stat = match looked {
        Ok(stat) => stat,
        Err(code) => {
            eprintln!("find: {}: {}", path.escape_ascii(), describe(code));
            return;
        }
    };
    println!("{}", path.escape_ascii());
    if stat.st_mode & S_IFMT != S_IFDIR || depth >= MAX_DEPTH {
        return;
    }
    let walked = here.open(path, O_READ | O_NOLINK).and_then(|dir| {
        each_entry(&dir, here.offer, |name| {
            if name != b"." && name != b".." {
                walk(&join(path, name), here, depth + 1);
            }
            Ok(())
        })
    });
    if let Err(code) = walked {
        eprintln!("find: {}: {}", path.escape_ascii(), describe(code));
    }
}

/// `stat PATH...`.
pub(crate) fn stat(args: &[Vec<u8>], here: Here<'_>) -> Result<(), i32> {
    if args.is_empty() {
        return Err(EINVAL);
    }
    for path in args {
        let stat = here.open(path, O_NOLINK)?.stat(here.offer)?;
        println!("{}:", path.escape_ascii());
        println!("  inode {} on {}, {} links", stat.st_ino, stat.st_fsid, stat.st_nlink);
        println!(
            "  mode {} ({:o}), owner {}:{}",
            mode_text(stat.st_mode).escape_ascii(),
            stat.st_mode,
            stat.st_uid,
            stat.st_gid
        );
        println!("  {} bytes, {} blocks of 512", stat.st_size, stat.st_blocks);
    }
    Ok(())
}

/// `showtrans PATH...`: what would be started, and whether it runs.
pub(crate) fn showtrans(args: &[Vec<u8>], here: Here<'_>) -> Result<(), i32> {
    if args.is_empty() {
        return Err(EINVAL);
    }
    for path in args {
        let node = here.open(path, O_NOTRANS)?;
        let running = match file_get_translator_cntl(&Mach, node.port(), here.offer).map_err(i32::from) {
            Ok(reply) => {
                drop(SendRight::received(reply.translator_cntl));
                " (running)"
            }
            Err(_) => "",
        };
        match file_get_translator(&Mach, node.port(), here.offer).map_err(i32::from) {
            Ok(reply) => {
                let record = ool::take_bytes(reply.translator);
                print!("{}:", path.escape_ascii());
                argz::words(&record).for_each(|word| print!(" {}", word.escape_ascii()));
                println!("{running}");
            }
            Err(EINVAL) if !running.is_empty() => println!("{}: no record{running}", path.escape_ascii()),
            Err(code) => return Err(if code == EINVAL { ENXIO } else { code }),
        }
    }
    Ok(())
}

/// `settrans [-apgo] NODE [PROGRAM ARGUMENT...]`: sets the record (`-p`, and without `-a`), starts the program now (`-a`), makes the running one go away
/// (`-g`; with `-a` the old one goes first) or leaves it running without its node (`-o`). Without a program the record is removed.
pub(crate) fn settrans(args: &[Vec<u8>], here: Here<'_>) -> Result<(), i32> {
    let (mut active, mut passive, mut away, mut orphan) = (false, false, false, false);
    let mut rest = args;
    while let [flag, others @ ..] = rest
        && flag.first() == Some(&b'-')
    {
        for letter in &flag[1..] {
            match letter {
                b'a' => active = true,
                b'p' => passive = true,
                b'g' => away = true,
                b'o' => orphan = true,
                _ => return Err(EINVAL),
            }
        }
        rest = others;
    }
    let [node, command @ ..] = rest else { return Err(EINVAL) };
    passive |= !active && !away;
    let node = here.open(node, O_NOTRANS)?;
    let record = if passive { argz::join(command.iter().map(Vec::as_slice)) } else { Vec::new() };
    let control = if active && !command.is_empty() { start(command, here)? } else { SendRight::NULL };
    let passive_flags = if passive { FS_TRANS_SET } else { 0 };
    let mut active_flags = if active || away { FS_TRANS_SET } else { 0 };
    if orphan {
        active_flags |= FS_TRANS_ORPHAN;
    }
    let old = if away { FSYS_GOAWAY_FORCE } else { 0 };
    let control: Port = control.into_move();
    file_set_translator(&Mach, node.port(), passive_flags, active_flags, old, &record, control, here.offer)?;
    Ok(())
}

/// Starts a translator and waits for its control port. This shell's account pays.
fn start(command: &[Vec<u8>], here: Here<'_>) -> Result<SendRight, i32> {
    let bootstrap = ReceiveRight::new()?;
    let to_bootstrap = bootstrap.send_right()?;
    let file = here.open(&command[0], O_READ | libhurd::file::O_EXEC)?;
    let child = Program::new(&command[0])
        .argv(command.iter().map(Vec::as_slice))
        .port(INIT_PORT_BOOTSTRAP, to_bootstrap.name())
        .start_file(&file, here.offer)?;
    drop(to_bootstrap);
    let control = await_translator(&bootstrap, PATIENCE);
    if control.is_err() {
        // It has not reported, so it is of no use to anybody.
        let _ = child.kill();
        let _ = child.wait(ALL);
    }
    control
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes() {
        assert_eq!(&mode_text(S_IFDIR | 0o755), b"drwxr-xr-x ");
        assert_eq!(&mode_text(S_IFREG | 0o640 | S_IPTRANS), b"-rw-r-----t");
        assert_eq!(&mode_text(S_IFCHR | S_IATRANS), b"c---------T");
    }

    #[test]
    fn paths() {
        assert_eq!(join(b"/", b"x"), b"/x");
        assert_eq!(join(b"a", b"x"), b"a/x");
    }
}
