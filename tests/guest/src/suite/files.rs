//! Files, programs and translators of the test image: known contents, damaged programs, bombs.

use alloc::format;
use core::time::Duration;

use guest::machine::{Grant, destroy_account, make_account};
use guest::walk::{Visitor, walk};
use libhurd::abi::returns::{KERN_RESOURCE_SHORTAGE, KERN_TIMEDOUT};
use libhurd::abi::startup::INIT_PORT_PROC;
use libhurd::errno::{EACCES, ELOOP, ENOENT, ENOTDIR};
use libhurd::file::{Context, File, O_EXEC, O_NOLINK, O_NOTRANS, O_READ, S_IFLNK, S_IFMT, S_IPTRANS};
use libhurd::port::SendRight;
use libhurd::program::Program;
use libhurd::stubs::fs::file_get_translator;
use libhurd::stubs::payer::payer_register;
use libhurd::stubs::types::IoStatbuf;
use libhurd::{ALL, Mach, Offer, env, ool, syscall};

use super::{Bench, Test, Verdict, fails, holds, must, same};

pub(crate) const TESTS: &[(&str, Test)] = &[
    ("known_text", known_text),
    ("large_file", large_file),
    ("links", links),
    ("names_that_are_not_there", names_that_are_not_there),
    ("walk_finds_everything", walk_finds_everything),
    ("programs_run", programs_run),
    ("damaged_programs_are_refused", damaged_programs),
    ("translator_is_started_and_read", translator_is_read),
    ("records_in_both_forms", records_in_both_forms),
    ("bomb_is_bounded_by_the_visitor", bomb_is_bounded),
    ("bomb_with_little_memory", bomb_with_little_memory),
];

fn known_text(bench: &Bench) -> Verdict {
    bench.exact(|| {
        let file = must("open", File::open(b"/etc/motd", O_READ, ALL))?;
        let text = must("read", file.read_all(4096, ALL))?;
        let expected = b"Whoever asks for work pays for it, and can lose no more than was offered.\n";
        same("the text", text.as_slice(), expected)
    })
}

/// Through the indirect blocks; two ways of reading must agree.
fn large_file(bench: &Bench) -> Verdict {
    bench.exact(|| {
        let file = must("open", File::open(b"/srv/indirect", O_READ, ALL))?;
        let all = must("read", file.read_all(1 << 20, ALL))?;
        same("bytes", all.len(), 400 << 10)?;
        holds("a line is not 64 bytes long", all.chunks(64).all(|line| line.ends_with(b"\n")))?;
        let mut piece = [0u8; 1000];
        for at in (0..all.len()).step_by(37_777) {
            let len = must("read_at", file.read_at(at as i64, &mut piece, ALL))?;
            holds("a piece differs", piece[..len] == all[at..at + len])?;
            same("bytes of a piece", len, piece.len().min(all.len() - at))?;
        }
        same("bytes beyond the end", must("read_at", file.read_at(1 << 40, &mut piece, ALL))?, 0)
    })
}

fn links(bench: &Bench) -> Verdict {
    bench.exact(|| {
        fails("a link to itself", File::open(b"/srv/loop", O_READ, ALL), ELOOP)?;
        let link = must("the link itself", File::open(b"/srv/loop", O_NOLINK, ALL))?;
        same("its kind", must("stat", link.stat(ALL))?.st_mode & S_IFMT, S_IFLNK)?;
        let through = must("a link to far away", File::open(b"/srv/long-link", O_READ, ALL))?;
        let direct = must("its target", File::open(b"/srv/tree/d00", O_READ, ALL))?;
        same("inode", must("stat", through.stat(ALL))?.st_ino, must("stat", direct.stat(ALL))?.st_ino)
    })
}

fn names_that_are_not_there(bench: &Bench) -> Verdict {
    bench.exact(|| {
        fails("no such file", File::open(b"/no/such/file", O_READ, ALL), ENOENT)?;
        fails("a file as a directory", File::open(b"/etc/motd/x", O_READ, ALL), ENOTDIR)?;
        fails("the empty name", File::open(b"", O_READ, ALL), ENOENT)?;
        holds("a name of 300 bytes", File::open(&[b'x'; 300], O_READ, ALL).is_err())?;
        fails("executing text", Program::new(b"/etc/motd").start(ALL).map(drop), EACCES)
    })
}

struct Count {
    seen: u32,
    failed: u32,
}

impl Visitor for Count {
    fn offer(&mut self) -> Offer {
        Offer::all()
    }
    fn enters(&mut self, path: &[u8]) -> bool {
        path != b"/tests" && path != b"/home/attacker"
    }
    fn looks(&mut self, _: &[u8]) {}
    fn saw(&mut self, _: &[u8], result: Result<&IoStatbuf, i32>) {
        match result {
            Ok(_) => self.seen += 1,
            Err(_) => self.failed += 1,
        }
    }
}

fn walk_finds_everything(bench: &Bench) -> Verdict {
    bench.exact(|| {
        let mut count = Count { seen: 0, failed: 0 };
        walk(Context::current(), b"/", &mut count);
        same("nodes that failed", count.failed, 0)?;
        // 2000 files in 200 directories in 20, and 600 entries in one.
        holds(&format!("only {} nodes", count.seen), count.seen >= 2820)
    })
}

fn programs_run(bench: &Bench) -> Verdict {
    bench.exact(|| {
        for path in [&b"/bin/true"[..], b"/bin/true.bz2", b"/bin/true.gz"] {
            let child = must("start", Program::new(path).start(ALL))?;
            same("status", must("wait", child.wait(ALL))?, 0)?;
        }
        Ok(())
    })
}

fn damaged_programs(bench: &Bench) -> Verdict {
    bench.exact(|| {
        for name in [
            "truncated.elf",
            "header-only.elf",
            "entry-nowhere.elf",
            "huge-segment.elf",
            "truncated.bz2",
            "corrupt.bz2",
            "magic-only.bz2",
            "truncated.gz",
            "corrupt.gz",
            "magic-only.gz",
            "text",
            "empty",
            "interpreter-missing",
            "interpreter-itself",
        ] {
            let path = format!("/tests/bad/{name}");
            match Program::new(path.as_bytes()).start(ALL) {
                Ok(child) => {
                    let _ = child.kill();
                    return Err(format!("{name} was started"));
                }
                Err(code) => {
                    holds(&format!("{name}: a code that says nothing: {code:#x}"), code != 0 && code != -1)?
                }
            }
        }
        Ok(())
    })
}

fn translator_is_read(_: &Bench) -> Verdict {
    let node = must("the node itself", File::open(b"/tests/translated/hello", O_NOTRANS, ALL))?;
    holds("it has no translator", must("stat", node.stat(ALL))?.st_mode & S_IPTRANS != 0)?;
    for _ in 0..3 {
        let file = must("open", File::open(b"/tests/translated/hello", O_READ, ALL))?;
        let text = must("read", file.read_all(100, ALL))?;
        same("what it says", text.as_slice(), b"Hello, world!\n")?;
    }
    Ok(())
}

fn records_in_both_forms(bench: &Bench) -> Verdict {
    bench.exact(|| {
        for (path, record) in [
            ("/tests/translated/hello", &b"/hurd/hello\0"[..]),
            ("/tests/translated/hello-legacy", b"/hurd/hello\0--contents=legacy\0"),
        ] {
            let node = must("open", File::open(path.as_bytes(), O_NOTRANS, ALL))?;
            let reply =
                must("file_get_translator", file_get_translator(&Mach, node.port(), ALL).map_err(i32::from))?;
            same("the record", ool::take_bytes(reply.translator).as_slice(), record)?;
        }
        Ok(())
    })
}

/// A visitor with a deadline waits no longer than that; everything else of the file system goes on.
fn bomb_is_bounded(_: &Bench) -> Verdict {
    // Whose nodes they are pays for starting them.
    let own = SendRight::from_name(syscall::account_self());
    let grant = Grant { name: "attacker", frames: 16_384, objects: 65_536, calls: 64, share: 400 };
    let attacker = must("an account", make_account(own.name(), &grant))?;
    let proc = env::current().port(INIT_PORT_PROC);
    must("payer_register", payer_register(&Mach, proc, 1001, attacker.copy(), ALL).map_err(i32::from))?;
    for path in ["/tests/bombs/bz2", "/tests/bombs/gz-legacy"] {
        let begin = libhurd::clock::now();
        let offer = Offer::all().within(Duration::from_millis(5));
        match File::open(path.as_bytes(), O_READ, &offer) {
            // It may have been quick.
            Ok(_) | Err(KERN_TIMEDOUT) => {}
            Err(code) => return Err(format!("{path}: {code:#x}")),
        }
        let took = libhurd::clock::now() - begin;
        holds(&format!("{path}: {took} ns"), took < 60_000_000)?;
        must("another file meanwhile", File::open(b"/etc/motd", O_READ, ALL))?;
    }
    must("destroying the owner's account", destroy_account(&attacker))
}

/// Executing a payload oneself, with an offer that cannot hold the decoder.
fn bomb_with_little_memory(bench: &Bench) -> Verdict {
    bench.exact(|| {
        let file = must("open", File::open(b"/home/attacker/payload.bz2", O_READ | O_EXEC, ALL))?;
        let offer = Offer::all().frames(300);
        let started = Program::new(b"/home/attacker/payload.bz2").start_file(&file, &offer);
        fails("starting the payload", started.map(drop), KERN_RESOURCE_SHORTAGE)
    })
}
