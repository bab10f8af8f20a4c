//! `dir_lookup`: the walk over the tree on the device, and what is to be done where it ends.

use alloc::vec::Vec;
use core::cell::RefCell;
use core::sync::atomic::Ordering;

use ext2::{Inode, ROOT_INODE};
use libhurd::errno::{EACCES, EINVAL, ENAMETOOLONG, ENOENT, EROFS};
use libhurd::file::{NO_RESULT, O_EXEC, O_NOTRANS, O_READ, O_WRITE};
use libhurd::lookup::{FS_RETRY_MAGICAL, FS_RETRY_NORMAL, FS_RETRY_REAUTH};
use libhurd::mig::{Port, Retain, Text};
use libhurd::port::SendRight;
use libhurd::stubs::fs::DirLookupOut;
use libhurd::stubs::fsys::FsysGetrootReply;

use super::opens::Protid;
use super::perm::Ids;
use super::translators::Visitor;
use super::walk::{End, Kind, Tree, walk};
use super::{Ext2, code_of};

/// Create the file if it is not there.
const O_CREAT: i32 = 0x10;
/// Fail if it is there.
const O_EXCL: i32 = 0x20;
/// Truncate it.
const O_TRUNC: i32 = 0x1_0000;
/// Open flags that an open file remembers.
const KEPT: i32 = O_READ | O_WRITE | O_EXEC | O_NOTRANS | 0x8 | 0x100 | 0x200 | 0x400 | 0x800;

/// The tree as a user sees it.
struct View<'a> {
    ext2: &'static Ext2,
    ids: &'a Ids,
    /// For reading directories; empty until one is read.
    scratch: RefCell<Vec<u8>>,
}

impl Tree for View<'_> {
    type Node = Inode;

    fn entry(&self, dir: &Inode, name: &[u8]) -> Result<Inode, i32> {
        if dir.is_dir() {
            self.ids.check(dir, O_EXEC)?;
        }
        let Ext2 { fs, store, names, .. } = self.ext2;
        if let Some(known) = names.find(dir.number, name)? {
            return self.ext2.inode(known);
        }
        let mut scratch = self.scratch.borrow_mut();
        scratch.resize(fs.block_size(), 0);
        let found = fs.lookup(store, dir, name, &mut scratch).map_err(code_of)?.ok_or(ENOENT)?;
        names.note(dir.number, name, found)?;
        self.ext2.inode(found)
    }

    fn kind(&self, node: &Inode) -> Kind {
        if node.is_dir() {
            Kind::Directory
        } else if node.is_symlink() {
            Kind::Link
        } else {
            Kind::Other
        }
    }

    fn is_root(&self, node: &Inode) -> bool {
        node.number == ROOT_INODE
    }

    fn is_translated(&self, node: &Inode) -> bool {
        node.has_translator() || self.ext2.translators.is_busy(node.number)
    }

    fn target(&self, link: &Inode) -> Result<Vec<u8>, i32> {
        let mut target = alloc::vec![0; self.ext2.fs.block_size()];
        let len = self.ext2.fs.read_link(&self.ext2.store, link, &mut target).map_err(code_of)?;
        target.truncate(len);
        if target.contains(&0) { Err(EINVAL) } else { Ok(target) }
    }
}

/// What is left of a name for the client to go on with, in the reply.
type Rest = Text<1024>;

/// A node with a translator in the middle of a name: the node, its directory, and what of the name is behind it.
struct Crossing<'a> {
    node: &'a Inode,
    parent: &'a Inode,
    rest: &'a [u8],
}

/// Says what is left, before there is a right that would have to be released if it is too long.
fn leave(rest: &mut Rest, name: &[u8]) -> Result<(), i32> {
    rest.set(name).map_err(|_| ENAMETOOLONG)
}

fn found(result: Port) -> Result<DirLookupOut, i32> {
    Ok(DirLookupOut { do_retry: FS_RETRY_NORMAL, result })
}

impl Ext2 {
    /// Serves `dir_lookup` at the open file `dir`.
    ///
    /// # Errors
    /// The walk's, the translator's; `EACCES`, `EROFS` for what cannot be opened that way.
    pub(super) fn lookup(
        &'static self,
        dir: &Protid,
        path: &[u8],
        flags: i32,
        retry_name: &mut Rest,
        retain: &Retain,
    ) -> Result<DirLookupOut, i32> {
        let ids = dir.ids()?;
        let start = self.inode(dir.shared.inode)?;
        let view = View { ext2: self, ids: &ids, scratch: RefCell::new(Vec::new()) };
        match walk(&view, &start, path, flags) {
            Ok(End::At(inode)) => {
                let result = self.open_found(dir, &inode, flags, &ids, retain)?;
                found(result)
            }
            Ok(End::Translated { node, dir: parent, rest }) => {
                let crossing = Crossing { node: &node, parent: &parent, rest: &rest };
                self.lookup_through(dir, &crossing, flags, retry_name, retain)
            }
            Ok(End::Above { rest }) => {
                let above = &dir.shared.above;
                if above.is_valid() {
                    leave(retry_name, &rest)?;
                    return Ok(DirLookupOut { do_retry: FS_RETRY_REAUTH, result: above.copy() });
                }
                // Above the root of everything is the root.
                if rest.is_empty() {
                    let root = self.inode(ROOT_INODE)?;
                    return found(self.open_found(dir, &root, flags, &ids, retain)?);
                }
                leave(retry_name, &rest)?;
                found(self.open_inode(ROOT_INODE, O_EXEC, above, &ids, Some(retain))?.send())
            }
            Ok(End::ClientRoot { name }) => {
                leave(retry_name, &name)?;
                Ok(DirLookupOut { do_retry: FS_RETRY_MAGICAL, result: NO_RESULT })
            }
            Err(ENOENT) if flags & O_CREAT != 0 => Err(EROFS),
            Err(code) => Err(code),
        }
    }

    /// Opens the node where the walk has ended.
    fn open_found(
        &'static self,
        dir: &Protid,
        inode: &Inode,
        flags: i32,
        ids: &Ids,
        retain: &Retain,
    ) -> Result<Port, i32> {
        let _lock = self.lock_node(inode.number)?;
        if flags & (O_CREAT | O_EXCL) == O_CREAT | O_EXCL {
            return Err(libhurd::errno::EEXIST);
        }
        if inode.is_symlink() && flags & (O_READ | O_WRITE | O_EXEC) & !O_READ != 0 {
            return Err(EACCES);
        }
        ids.check(inode, flags)?;
        if flags & (O_WRITE | O_TRUNC) != 0 {
            return Err(if inode.is_dir() { libhurd::errno::EISDIR } else { EROFS });
        }
        Ok(self.open_inode(inode.number, flags & KEPT, &dir.shared.above, ids, Some(retain))?.send())
    }

    /// Goes on at a translated node.
    fn lookup_through(
        &'static self,
        dir: &Protid,
        crossing: &Crossing<'_>,
        flags: i32,
        retry_name: &mut Rest,
        retain: &Retain,
    ) -> Result<DirLookupOut, i32> {
        let &Crossing { node, parent, rest } = crossing;
        let ids = &dir.ids()?;
        // The translator gets its directory as somebody without any ids.
        let dotdot = self.open_inode(parent.number, 0, &dir.shared.above, &Ids::default(), Some(retain))?;
        let last = rest.is_empty();
        let visitor = Visitor {
            dotdot: dotdot.port(),
            uids: &ids.uids,
            gids: &ids.gids,
            flags: if last { flags } else { 0 },
        };
        let Some(FsysGetrootReply { do_retry, retry_name: onward, file }) = self.enter(node, visitor)? else {
            // Its translator is gone, and there is no record (any more).
            if last {
                return found(self.open_found(dir, node, flags, ids, retain)?);
            }
            return if node.is_dir() {
                leave(retry_name, rest)?;
                found(self.open_inode(node.number, O_EXEC, &dir.shared.above, ids, Some(retain))?.send())
            } else {
                Err(libhurd::errno::ENOTDIR)
            };
        };
        // The translator may keep its directory.
        dotdot.keep();
        let mut name = onward.as_bytes().to_vec();
        if !last {
            if !name.is_empty() {
                name.push(b'/');
            }
            name.extend_from_slice(rest);
        }
        if let Err(code) = leave(retry_name, &name) {
            drop(SendRight::received(file));
            return Err(code);
        }
        Ok(DirLookupOut { do_retry, result: Port::move_send(file.name) })
    }

    /// What is left of an open file's rights for its open flags.
    pub(super) fn open_flags(protid: &Protid) -> i32 {
        protid.shared.flags.load(Ordering::Relaxed)
    }
}
