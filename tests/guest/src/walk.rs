//! A walk over a tree as `find` does it: every directory is read, every entry looked up and asked for its status.
//!
//! Entries say nothing about their kind, so a walker has to look at each; and it looks *through* translators, as `lstat` does on the Hurd
//! (`O_NOLINK`, not `O_NOTRANS`). So a node with a translator starts it.

use alloc::vec::Vec;

use libhurd::file::{Context, File, O_NOLINK, O_READ, S_IFDIR, S_IFMT, entries};
use libhurd::mig::PortName;
use libhurd::stubs::types::IoStatbuf;
use libhurd::{Mach, stubs::fs};
use libhurd::{Offer, ool};

/// Deepest directory that is entered.
const MAX_DEPTH: usize = 64;
/// Bytes of entries asked for at a time.
const DIRECTORY_BYTES: u64 = 32 * 1024;

/// What happens on the way.
pub trait Visitor {
    /// What the calls for one node may spend.
    fn offer(&mut self) -> Offer;
    /// Whether the directory with that path is to be read.
    fn enters(&mut self, path: &[u8]) -> bool;
    /// The node with that path is about to be looked up.
    fn looks(&mut self, path: &[u8]);
    /// It has been looked at.
    fn saw(&mut self, path: &[u8], result: Result<&IoStatbuf, i32>);
}

/// Walks from the directory `start` of `context`. What fails is reported to the visitor and passed over.
pub fn walk(context: Context, start: &[u8], visitor: &mut impl Visitor) {
    let mut path = start.to_vec();
    visit(context, start, &mut path, visitor, 0);
}

/// Looks at `name`, relative to the context's current directory; `path` is its full name.
fn visit(context: Context, name: &[u8], path: &mut Vec<u8>, visitor: &mut impl Visitor, depth: usize) {
    visitor.looks(path);
    let offer = visitor.offer();
    let looked = File::open_in(context, name, O_NOLINK, &offer).and_then(|node| node.stat(&offer));
    let is_dir = looked.as_ref().is_ok_and(|stat| stat.st_mode & S_IFMT == S_IFDIR);
    visitor.saw(path, looked.as_ref().map_err(|&code| code));
    if !is_dir || depth >= MAX_DEPTH || !visitor.enters(path) {
        return;
    }
    let offer = visitor.offer();
    let dir = match File::open_in(context, name, O_READ | O_NOLINK, &offer) {
        Ok(dir) => dir,
        Err(code) => return visitor.saw(path, Err(code)),
    };
    let inside = Context { cwd: dir.port(), ..context };
    let mut first = 0;
    loop {
        let data = match read(dir.port(), first, visitor) {
            Ok(data) => data,
            Err(code) => return visitor.saw(path, Err(code)),
        };
        let mut count = 0;
        for entry in entries(&data) {
            count += 1;
            if entry.name == b"." || entry.name == b".." {
                continue;
            }
            let length = path.len();
            if path.last() != Some(&b'/') {
                path.push(b'/');
            }
            path.extend_from_slice(entry.name);
            visit(inside, entry.name, path, visitor, depth + 1);
            path.truncate(length);
        }
        if count == 0 {
            return;
        }
        first += count;
    }
}

fn read(dir: PortName, first: i32, visitor: &mut impl Visitor) -> Result<Vec<u8>, i32> {
    let reply = fs::dir_readdir(&Mach, dir, first, -1, DIRECTORY_BYTES, &visitor.offer())?;
    Ok(if reply.amount <= 0 { Vec::new() } else { ool::take_bytes(reply.data) })
}
