//! The `fs` interface of open files. What would change files or directories answers `EROFS`.

use alloc::vec::Vec;

use ext2::{Error, Inode};
use libhurd::abi::returns::{MACH_SEND_INVALID_DEST, MIG_SERVER_DIED};
use libhurd::errno::{EACCES, EBADF, EINVAL, ENOTDIR, EOPNOTSUPP, EPERM, EROFS};
use libhurd::errno::{EBUSY, EIO, ENOMEM};
use libhurd::file::{Entry, O_EXEC, O_READ, push_entry};
use libhurd::loan::pieces;
use libhurd::lookup::FS_RETRY_NORMAL;
use libhurd::mig::{Data, Loan, Port, PortName, Ports, Request, Retain, Text, Value};
use libhurd::port::SendRight;
use libhurd::stubs::exec;
use libhurd::stubs::fs::{
    DirLookupOut, DirMkfileReply, DirReaddirReply, FileCheckAccessReply, FileGetFsOptionsReply,
    FileGetTranslatorCntlReply, FileGetTranslatorReply, FileGetcontrolReply, FileStatfsReply, FsServer,
};
use libhurd::stubs::fsys;
use libhurd::stubs::types::{FsysStatfsbuf, TimeValue, Timespec};
use libhurd::{Mach, ool, own};

use super::opens::Protid;
use super::translators::{Control, Visitor};
use super::{CONTROL, Call, Ext2, code_of, onward};

/// The program runs or nothing is done: `EBUSY` if there is a translator.
const FS_TRANS_EXCL: i32 = 2;
/// Set this half of the translator.
const FS_TRANS_SET: i32 = 4;
/// Do not tell the old translator to go away.
const FS_TRANS_ORPHAN: i32 = 8;
/// `FSTYPE_EXT2FS`.
const FSTYPE_EXT2FS: u32 = 0x17;
/// Largest answer of one `dir_readdir`.
const MAX_READDIR: usize = 64 * 1024;
/// Bytes of a directory read at a time.
const READDIR_BLOCKS: usize = 4;
/// Where the exec server's translator sits.
const EXEC_NODE: &[u8] = b"servers/exec";

/// The port rights and words that go with an `exec`.
struct ExecArguments<'a> {
    task: Port,
    flags: i32,
    path: &'a [u8],
    abspath: &'a [u8],
    argv: Data<'a, u8>,
    envp: Data<'a, u8>,
    fdarray: Data<'a, PortName>,
    portarray: Data<'a, PortName>,
    intarray: Data<'a, i32>,
    deallocnames: Data<'a, PortName>,
    destroynames: Data<'a, PortName>,
}

impl Call {
    /// Checks that `open` is its owner's.
    fn owned(&self, open: &Protid) -> Result<Inode, i32> {
        let inode = self.ext2.inode(open.shared.inode)?;
        if open.ids()?.is_owner(&inode) { Ok(inode) } else { Err(EPERM) }
    }

    fn read_only(&self, request: &Request<'_>) -> Result<(), i32> {
        self.open(request)?;
        Err(EROFS)
    }

    /// Has the exec server load the open file into a task.
    fn exec(&self, request: &Request<'_>, a: ExecArguments<'_>, retain: &Retain) -> Result<(), i32> {
        let open = self.open(request)?;
        if Ext2::open_flags(&open) & O_EXEC == 0 {
            return Err(EBADF);
        }
        let inode = self.ext2.inode(open.shared.inode)?;
        if !inode.is_file() || inode.mode & 0o111 == 0 {
            return Err(EACCES);
        }
        let server = self.ext2.exec_server()?;
        // Exec reads the file through an open file of its own, as the same user and at the same expense.
        let ids = open.ids()?;
        let file =
            self.ext2.open_inode(inode.number, O_READ | O_EXEC, &open.shared.above, &ids, Some(retain))?;
        let (dtable, ports) = (ool::values(&a.fdarray), ool::values(&a.portarray));
        let ints = ool::values(&a.intarray);
        let (deallocnames, destroynames) = (ool::values(&a.deallocnames), ool::values(&a.destroynames));
        // The request's rights are copied on; ours are released when the call ends.
        let result = ool::with_bytes(&a.argv, |argv| {
            ool::with_bytes(&a.envp, |envp| {
                exec::exec_exec_paths(
                    &Mach,
                    server.name(),
                    file.port(),
                    a.task.name,
                    a.flags,
                    a.path,
                    a.abspath,
                    argv,
                    envp,
                    Ports::copy_send(&dtable),
                    Ports::copy_send(&ports),
                    &ints,
                    &deallocnames,
                    &destroynames,
                    &onward(),
                )
            })
        });
        Ok(result?)
    }
}

impl Ext2 {
    /// A right to the exec server: that of the command line, else what is on `/servers/exec`.
    fn exec_server(&'static self) -> Result<SendRight, i32> {
        if self.options.exec != 0 {
            return SendRight::another(PortName(self.options.exec));
        }
        let root = self.inode(ext2::ROOT_INODE)?;
        let mut scratch = alloc::vec![0; self.fs.block_size()];
        let mut node = root;
        for name in EXEC_NODE.split(|&byte| byte == b'/') {
            let found = self.fs.lookup(&self.store, &node, name, &mut scratch).map_err(code_of)?;
            node = self.inode(found.ok_or(EOPNOTSUPP)?)?;
        }
        let visitor = Visitor { dotdot: libhurd::file::NO_RESULT, uids: &[0], gids: &[0], flags: O_EXEC };
        let reply = self.enter(&node, visitor)?.ok_or(EOPNOTSUPP)?;
        let right = SendRight::received(reply.file)?;
        if reply.do_retry == FS_RETRY_NORMAL && right.is_valid() { Ok(right) } else { Err(EIO) }
    }

    /// The entries of a directory from number `first` on, in the wire's form: at most `count` and `bytes`. Returns how many.
    fn entries(&self, dir: &Inode, first: usize, count: usize, bytes: usize) -> Result<(Vec<u8>, i32), i32> {
        let mut scratch = alloc::vec![0; self.fs.block_size() * READDIR_BLOCKS];
        let mut reader = self.fs.read_dir(&self.store, dir, 0, &mut scratch).map_err(code_of)?;
        let (mut data, mut number, mut given) = (Vec::new(), 0, 0);
        while given < count {
            let entry = match reader.next_entry() {
                Ok(Some(entry)) => entry,
                Ok(None) => break,
                // What is damaged has been skipped; the rest can be read.
                Err(Error::Corrupt(_)) => continue,
                Err(error) => return Err(code_of(error)),
            };
            number += 1;
            if number <= first {
                continue;
            }
            let before = data.len();
            // As on the Hurd, the kind is left unknown: it could have a translator, which only a lookup shows.
            push_entry(&mut data, Entry { ino: u64::from(entry.inode), kind: 0, name: entry.name });
            if data.len() > bytes {
                data.truncate(before);
                break;
            }
            self.names.note(dir.number, entry.name, entry.inode)?;
            given += 1;
        }
        Ok((data, given as i32))
    }

    /// Sets the passive translator record.
    fn write_record(&'static self, inode: &Inode, argz: &[u8]) -> Result<(), i32> {
        let mut scratch = alloc::vec![0; self.fs.block_size()];
        let _turn = self.writing.take()?;
        self.fs
            .set_translator(&self.store, inode.number, argz, self.seconds(), &mut scratch)
            .map_err(code_of)?;
        Ok(())
    }
}

impl FsServer for Call {
    fn file_exec(
        &mut self,
        request: &Request<'_>,
        exec_task: Port,
        flags: i32,
        argv: Data<'_, u8>,
        envp: Data<'_, u8>,
        fdarray: Data<'_, PortName>,
        portarray: Data<'_, PortName>,
        intarray: Data<'_, i32>,
        deallocnames: Data<'_, PortName>,
        destroynames: Data<'_, PortName>,
        retain: Retain,
    ) -> Result<(), i32> {
        let task = exec_task;
        let arguments = ExecArguments {
            task,
            flags,
            path: b"",
            abspath: b"",
            argv,
            envp,
            fdarray,
            portarray,
            intarray,
            deallocnames,
            destroynames,
        };
        self.exec(request, arguments, &retain)
    }

    fn file_exec_paths(
        &mut self,
        request: &Request<'_>,
        exec_task: Port,
        flags: i32,
        path: &Text<1024>,
        abspath: &Text<1024>,
        argv: Data<'_, u8>,
        envp: Data<'_, u8>,
        fdarray: Data<'_, PortName>,
        portarray: Data<'_, PortName>,
        intarray: Data<'_, i32>,
        deallocnames: Data<'_, PortName>,
        destroynames: Data<'_, PortName>,
        retain: Retain,
    ) -> Result<(), i32> {
        let task = exec_task;
        let arguments = ExecArguments {
            task,
            flags,
            path: path.as_bytes(),
            abspath: abspath.as_bytes(),
            argv,
            envp,
            fdarray,
            portarray,
            intarray,
            deallocnames,
            destroynames,
        };
        self.exec(request, arguments, &retain)
    }

    fn file_chown(&mut self, request: &Request<'_>, _new_owner: u32, _new_group: u32) -> Result<(), i32> {
        self.read_only(request)
    }

    fn file_chauthor(&mut self, request: &Request<'_>, _new_author: u32) -> Result<(), i32> {
        self.read_only(request)
    }

    fn file_chmod(&mut self, request: &Request<'_>, _new_mode: u32) -> Result<(), i32> {
        self.read_only(request)
    }

    fn file_chflags(&mut self, request: &Request<'_>, _new_flags: i32) -> Result<(), i32> {
        self.read_only(request)
    }

    fn file_utimes(
        &mut self,
        request: &Request<'_>,
        _new_atime: TimeValue,
        _new_mtime: TimeValue,
    ) -> Result<(), i32> {
        self.read_only(request)
    }

    fn file_utimens(
        &mut self,
        request: &Request<'_>,
        _new_atime: Timespec,
        _new_mtime: Timespec,
    ) -> Result<(), i32> {
        self.read_only(request)
    }

    fn file_set_size(&mut self, request: &Request<'_>, _new_size: i64) -> Result<(), i32> {
        self.read_only(request)
    }

    fn file_check_access(&mut self, request: &Request<'_>) -> Result<FileCheckAccessReply, i32> {
        let open = self.open(request)?;
        let inode = self.ext2.inode(open.shared.inode)?;
        Ok(FileCheckAccessReply { allowed: open.ids()?.allowed(&inode) })
    }

    fn file_getcontrol(&mut self, request: &Request<'_>) -> Result<FileGetcontrolReply, i32> {
        let open = self.open(request)?;
        if !open.ids()?.is_root() {
            return Err(EPERM);
        }
        Ok(FileGetcontrolReply { control: self.ext2.control.send() })
    }

    fn file_statfs(&mut self, request: &Request<'_>) -> Result<FileStatfsReply, i32> {
        self.open(request)?;
        let s = self.ext2.fs.statfs(&self.ext2.store).map_err(code_of)?;
        let info = FsysStatfsbuf {
            f_type: FSTYPE_EXT2FS,
            f_bsize: u64::from(s.block_size),
            f_blocks: u64::from(s.blocks),
            f_bfree: u64::from(s.free_blocks),
            f_bavail: u64::from(s.available_blocks),
            f_files: u64::from(s.files),
            f_ffree: u64::from(s.free_files),
            f_fsid: u64::from(self.ext2.identity.name().0),
            f_namelen: ext2::NAME_MAX as u64,
            f_favail: u64::from(s.free_files),
            f_frsize: u64::from(s.block_size),
            ..FsysStatfsbuf::ZERO
        };
        Ok(FileStatfsReply { info })
    }

    fn file_sync(&mut self, request: &Request<'_>, _wait: i32, _omit_metadata: i32) -> Result<(), i32> {
        // Every write has gone through to the device.
        self.open(request).map(drop)
    }

    fn file_syncfs(&mut self, request: &Request<'_>, _wait: i32, _do_children: i32) -> Result<(), i32> {
        self.open(request).map(drop)
    }

    fn dir_lookup(
        &mut self,
        request: &Request<'_>,
        file_name: &Text<1024>,
        flags: i32,
        _mode: u32,
        retry_name: &mut Text<1024>,
        retain: Retain,
    ) -> Result<DirLookupOut, i32> {
        let open = self.open(request)?;
        self.ext2.lookup(&open, file_name.as_bytes(), flags, retry_name, &retain)
    }

    fn dir_readdir(
        &mut self,
        request: &Request<'_>,
        entry: i32,
        nentries: i32,
        bufsiz: u64,
    ) -> Result<DirReaddirReply, i32> {
        let open = self.open(request)?;
        if Ext2::open_flags(&open) & O_READ == 0 {
            return Err(EBADF);
        }
        let inode = self.ext2.inode(open.shared.inode)?;
        if !inode.is_dir() {
            return Err(ENOTDIR);
        }
        let first = usize::try_from(entry).map_err(|_| EINVAL)?;
        let count = usize::try_from(nentries).unwrap_or(usize::MAX);
        let bytes = match bufsiz {
            0 => MAX_READDIR,
            size => usize::try_from(size).unwrap_or(MAX_READDIR).min(MAX_READDIR),
        };
        let (data, amount) = self.ext2.entries(&inode, first, count, bytes)?;
        Ok(DirReaddirReply { data: ool::reply_bytes(&data)?, amount })
    }

    fn dir_mkdir(&mut self, request: &Request<'_>, _name: &Text<1024>, _mode: u32) -> Result<(), i32> {
        self.read_only(request)
    }

    fn dir_rmdir(&mut self, request: &Request<'_>, _name: &Text<1024>) -> Result<(), i32> {
        self.read_only(request)
    }

    fn dir_unlink(&mut self, request: &Request<'_>, _name: &Text<1024>) -> Result<(), i32> {
        self.read_only(request)
    }

    fn dir_link(
        &mut self,
        request: &Request<'_>,
        _file: Port,
        _name: &Text<1024>,
        _excl: i32,
    ) -> Result<(), i32> {
        self.read_only(request)
    }

    fn dir_rename(
        &mut self,
        request: &Request<'_>,
        _oldname: &Text<1024>,
        _newdirectory: Port,
        _newname: &Text<1024>,
        _excl: i32,
    ) -> Result<(), i32> {
        self.read_only(request)
    }

    fn dir_mkfile(&mut self, request: &Request<'_>, _flags: i32, _mode: u32) -> Result<DirMkfileReply, i32> {
        self.open(request)?;
        Err(EROFS)
    }

    fn file_set_translator(
        &mut self,
        request: &Request<'_>,
        passive_flags: i32,
        active_flags: i32,
        oldtrans_flags: i32,
        passive: Loan<'_, u8>,
        active: Port,
    ) -> Result<(), i32> {
        let open = self.open(request)?;
        let (set_passive, set_active) = (passive_flags & FS_TRANS_SET != 0, active_flags & FS_TRANS_SET != 0);
        if !set_passive && !set_active {
            return Ok(());
        }
        let ext2 = self.ext2;
        if set_passive && !ext2.is_writable() {
            return Err(EROFS);
        }
        let mut argz = Vec::new();
        pieces(&passive, |piece| {
            argz.try_reserve(piece.len()).map_err(|_| ENOMEM)?;
            argz.extend_from_slice(piece);
            Ok(())
        })?;
        if set_passive && argz.last().is_some_and(|&byte| byte != 0) {
            return Err(EINVAL);
        }
        let inode = self.owned(&open)?;
        if set_passive && passive_flags & FS_TRANS_EXCL != 0 && inode.has_translator() {
            return Err(EBUSY);
        }
        if set_active {
            if active_flags & (FS_TRANS_ORPHAN | FS_TRANS_EXCL) == 0
                && let Some(old) = ext2.translators.active(inode.number)?
            {
                match fsys::fsys_goaway(&Mach, old.name(), oldtrans_flags, &onward()) {
                    Ok(()) => {}
                    Err(error) if matches!(error.code(), MIG_SERVER_DIED | MACH_SEND_INVALID_DEST) => {}
                    Err(error) => return Err(error.code()),
                }
            }
            // A right of our own, so that the request's can be released with the rest.
            let control = match active.name.is_valid() {
                true => Some(Control::new(SendRight::another(active.name)?)),
                false => None,
            };
            let name = control.as_ref().map(Control::name);
            let old = ext2.translators.set(&inode, control, active_flags & FS_TRANS_EXCL != 0)?;
            own(|| drop(old));
            if let Some(Err(code)) = name.map(|name| ext2.server.watch(name)) {
                // Dead already: the next visitor will find out.
                log::debug!("no notice of a translator's end: {code:#x}");
            }
        }
        if set_passive { ext2.write_record(&inode, &argz) } else { Ok(()) }
    }

    fn file_get_translator(&mut self, request: &Request<'_>) -> Result<FileGetTranslatorReply, i32> {
        let open = self.open(request)?;
        let inode = self.ext2.inode(open.shared.inode)?;
        if !inode.has_translator() {
            return Err(EINVAL);
        }
        Ok(FileGetTranslatorReply { translator: ool::reply_bytes(&self.ext2.record_of(&inode)?)? })
    }

    fn file_get_translator_cntl(&mut self, request: &Request<'_>) -> Result<FileGetTranslatorCntlReply, i32> {
        let open = self.open(request)?;
        let inode = self.owned(&open)?;
        let control = self.ext2.translators.active(inode.number)?.ok_or(libhurd::errno::ENXIO)?;
        Ok(FileGetTranslatorCntlReply { translator_cntl: control.copy() })
    }

    fn file_get_fs_options(&mut self, request: &Request<'_>) -> Result<FileGetFsOptionsReply, i32> {
        if request.target() != CONTROL {
            self.open(request)?;
        }
        Ok(FileGetFsOptionsReply { options: ool::reply_bytes(&self.ext2.options_words())? })
    }
}
