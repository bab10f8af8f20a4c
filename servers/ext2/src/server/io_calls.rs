//! The `io` interface of open files.

use core::sync::atomic::Ordering;

use ext2::{BlockCursor, Inode};
use libhurd::Mach;
use libhurd::errno::{EINVAL, EOPNOTSUPP, EROFS};
use libhurd::file::{O_EXEC, O_READ, O_WRITE, S_IATRANS};
use libhurd::mig::{Data, Loan, Port, Request, Retain, Text, Value};
use libhurd::ool;
use libhurd::stubs::auth;
use libhurd::stubs::io::{
    IoDuplicateReply, IoGetOpenmodesReply, IoGetOwnerReply, IoIdentityReply, IoPathconfReply, IoReadReply,
    IoReadableReply, IoRestrictAuthReply, IoSeekReply, IoSelectReply, IoSelectTimeoutReply, IoServer,
    IoServerVersionOut, IoStatReply, IoWriteReply,
};
use libhurd::stubs::types::{IoStatbuf, Timespec};
use libhurd::translator::read_into;

use super::opens::Protid;
use super::perm::Ids;
use super::{CONTROL, Call, Ext2, NOT_OPEN_FOR_THAT, NOT_READABLE, code_of, onward};

/// Largest single read.
const MAX_READ: u64 = 1 << 20;
/// `FSTYPE_EXT2FS`.
const FSTYPE_EXT2FS: i32 = 0x17;
/// Open flags that `io_set_..._openmodes` may change: append, async, fsync, nonblock, noatime.
const CHANGEABLE: i32 = 0x100 | 0x200 | 0x400 | 0x8 | 0x800;
/// `select_type`: readable and writable.
const SELECT_READ: i32 = 1;
const SELECT_WRITE: i32 = 2;

impl Ext2 {
    /// What `io_stat` tells of a node.
    pub(super) fn stat(&self, inode: &Inode) -> IoStatbuf {
        let active = if self.translators.is_busy(inode.number) { S_IATRANS } else { 0 };
        IoStatbuf {
            st_fstype: FSTYPE_EXT2FS,
            st_fsid: u64::from(self.identity.name().0),
            st_ino: u64::from(inode.number),
            st_gen: inode.generation,
            st_rdev: u64::from(inode.device_number()),
            st_mode: inode.mode | active,
            st_nlink: u64::from(inode.links),
            st_uid: inode.uid,
            st_gid: inode.gid,
            st_size: inode.size as i64,
            st_atim_sec: i64::from(inode.atime),
            st_mtim_sec: i64::from(inode.mtime),
            st_ctim_sec: i64::from(inode.ctime),
            st_blksize: self.fs.block_size() as i64,
            st_blocks: i64::from(inode.sectors),
            st_author: inode.author,
            st_flags: inode.flags,
            ..IoStatbuf::ZERO
        }
    }

    /// A port with the ids `ids` that shares everything else with `protid`.
    fn reopened(&'static self, protid: &Protid, ids: &Ids, retain: &Retain) -> Result<Port, i32> {
        Ok(self.protid(protid.shared.clone(), ids, retain)?.send())
    }
}

fn change_flags(protid: &Protid, change: impl Fn(i32) -> i32) {
    let keep = |flags: i32| (flags & !CHANGEABLE) | (change(flags) & CHANGEABLE);
    // The closure always has a value.
    let _ = protid.shared.flags.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |flags| Some(keep(flags)));
}

impl IoServer for Call {
    fn io_read(&mut self, request: &Request<'_>, offset: i64, amount: u64) -> Result<IoReadReply, i32> {
        let open = self.open(request)?;
        if Ext2::open_flags(&open) & (O_READ | O_EXEC) == 0 {
            return Err(NOT_OPEN_FOR_THAT);
        }
        let inode = self.ext2.inode(open.shared.inode)?;
        let at = match offset {
            -1 => open.shared.position.load(Ordering::Relaxed),
            at if at < 0 => return Err(EINVAL),
            at => at,
        } as u64;
        let Ext2 { fs, store, .. } = self.ext2;
        let data = if inode.is_symlink() {
            let mut target = alloc::vec![0; fs.block_size()];
            let len = fs.read_link(store, &inode, &mut target).map_err(code_of)?;
            let end = len.min(usize::try_from(at.saturating_add(amount)).unwrap_or(len));
            ool::reply_bytes(
                target.get(usize::try_from(at).unwrap_or(end).min(end)..end).unwrap_or_default(),
            )?
        } else if inode.is_dir() {
            return Err(NOT_READABLE);
        } else {
            let wanted = amount.min(inode.size.saturating_sub(at)).min(MAX_READ);
            read_into(usize::try_from(wanted).map_err(|_| EINVAL)?, |out| {
                fs.read(store, &inode, &mut BlockCursor::new(), at, out).map_err(code_of)
            })?
        };
        if offset == -1 {
            open.shared.position.store(at as i64 + data.len() as i64, Ordering::Relaxed);
        }
        Ok(IoReadReply { data })
    }

    fn io_write(
        &mut self,
        request: &Request<'_>,
        _data: Loan<'_, u8>,
        _offset: i64,
    ) -> Result<IoWriteReply, i32> {
        self.open(request)?;
        Err(EROFS)
    }

    fn io_seek(&mut self, request: &Request<'_>, offset: i64, whence: i32) -> Result<IoSeekReply, i32> {
        let open = self.open(request)?;
        let base = match whence {
            0 => 0,
            1 => open.shared.position.load(Ordering::Relaxed),
            2 => i64::try_from(self.ext2.inode(open.shared.inode)?.size).map_err(|_| EINVAL)?,
            _ => return Err(EINVAL),
        };
        let newp = base.checked_add(offset).filter(|&at| at >= 0).ok_or(EINVAL)?;
        open.shared.position.store(newp, Ordering::Relaxed);
        Ok(IoSeekReply { newp })
    }

    fn io_readable(&mut self, request: &Request<'_>) -> Result<IoReadableReply, i32> {
        let open = self.open(request)?;
        let position = open.shared.position.load(Ordering::Relaxed) as u64;
        Ok(IoReadableReply { amount: self.ext2.inode(open.shared.inode)?.size.saturating_sub(position) })
    }

    fn io_set_all_openmodes(&mut self, request: &Request<'_>, newbits: i32) -> Result<(), i32> {
        change_flags(&*self.open(request)?, |_| newbits);
        Ok(())
    }

    fn io_get_openmodes(&mut self, request: &Request<'_>) -> Result<IoGetOpenmodesReply, i32> {
        let bits = Ext2::open_flags(&*self.open(request)?);
        Ok(IoGetOpenmodesReply { bits: bits & (CHANGEABLE | O_READ | O_WRITE | O_EXEC) })
    }

    fn io_set_some_openmodes(&mut self, request: &Request<'_>, bits_to_set: i32) -> Result<(), i32> {
        change_flags(&*self.open(request)?, |flags| flags | bits_to_set);
        Ok(())
    }

    fn io_clear_some_openmodes(&mut self, request: &Request<'_>, bits_to_clear: i32) -> Result<(), i32> {
        change_flags(&*self.open(request)?, |flags| flags & !bits_to_clear);
        Ok(())
    }

    fn io_get_owner(&mut self, request: &Request<'_>) -> Result<IoGetOwnerReply, i32> {
        self.open(request)?;
        Ok(IoGetOwnerReply { owner: 0 })
    }

    fn io_select(&mut self, request: &Request<'_>, select_type: i32) -> Result<IoSelectReply, i32> {
        self.open(request)?;
        Ok(IoSelectReply { select_type: select_type & (SELECT_READ | SELECT_WRITE) })
    }

    fn io_select_timeout(
        &mut self,
        request: &Request<'_>,
        _timeout: Timespec,
        select_type: i32,
    ) -> Result<IoSelectTimeoutReply, i32> {
        self.open(request)?;
        Ok(IoSelectTimeoutReply { select_type: select_type & (SELECT_READ | SELECT_WRITE) })
    }

    fn io_stat(&mut self, request: &Request<'_>) -> Result<IoStatReply, i32> {
        let open = self.open(request)?;
        let _lock = self.ext2.lock_node(open.shared.inode)?;
        let inode = self.ext2.inode(open.shared.inode)?;
        Ok(IoStatReply { stat_info: self.ext2.stat(&inode) })
    }

    fn io_reauthenticate(
        &mut self,
        request: &Request<'_>,
        rendezvous2: Port,
        retain: Retain,
    ) -> Result<(), i32> {
        let open = self.open(request)?;
        let authority = self.ext2.auth();
        if !authority.is_valid() {
            return Err(EOPNOTSUPP);
        }
        // Nobody's until auth has said whose.
        let new = self.ext2.protid(open.shared.clone(), &Ids::default(), &retain)?;
        let rendezvous = Port::copy_send(rendezvous2.name);
        let reply = auth::auth_server_authenticate(&Mach, authority, rendezvous, new.port(), &onward())?;
        let (uids, gids) = (ool::take_values(reply.euids), ool::take_values(reply.egids));
        drop((ool::take_values(reply.auids), ool::take_values(reply.agids)));
        new.set_ids(Ids::new(&uids, &gids))?;
        new.keep();
        Ok(())
    }

    fn io_restrict_auth(
        &mut self,
        request: &Request<'_>,
        uids: Data<'_, u32>,
        gids: Data<'_, u32>,
        retain: Retain,
    ) -> Result<IoRestrictAuthReply, i32> {
        let open = self.open(request)?;
        let wanted = Ids::new(&ool::values(&uids), &ool::values(&gids));
        let ids = open.ids()?.restrict(&wanted);
        Ok(IoRestrictAuthReply { new_object: self.ext2.reopened(&open, &ids, &retain)? })
    }

    fn io_duplicate(&mut self, request: &Request<'_>, retain: Retain) -> Result<IoDuplicateReply, i32> {
        let open = self.open(request)?;
        let ids = open.ids()?;
        Ok(IoDuplicateReply { newport: self.ext2.reopened(&open, &ids, &retain)? })
    }

    fn io_server_version(
        &mut self,
        request: &Request<'_>,
        server_name: &mut Text<1024>,
    ) -> Result<IoServerVersionOut, i32> {
        if request.target() != CONTROL {
            self.open(request)?;
        }
        server_name.set(b"ext2")?;
        Ok(IoServerVersionOut { server_major_version: 0, server_minor_version: 1, server_edit_level: 0 })
    }

    fn io_readsleep(&mut self, request: &Request<'_>) -> Result<(), i32> {
        self.open(request).map(drop)
    }

    fn io_pathconf(&mut self, request: &Request<'_>, name: i32) -> Result<IoPathconfReply, i32> {
        self.open(request)?;
        // _PC_LINK_MAX, _PC_MAX_CANON, _PC_MAX_INPUT, _PC_NAME_MAX, _PC_PATH_MAX, _PC_PIPE_BUF, _PC_CHOWN_RESTRICTED, _PC_NO_TRUNC, ...
        let value = match name {
            0 => 32000,
            3 => 255,
            4 => super::walk::MAX_PATH as i32,
            6 | 7 => 1,
            13 => 64,
            1 | 2 | 5 | 8..=12 | 14..=20 => -1,
            _ => return Err(EINVAL),
        };
        Ok(IoPathconfReply { value })
    }

    fn io_identity(&mut self, request: &Request<'_>) -> Result<IoIdentityReply, i32> {
        let open = self.open(request)?;
        let fileno = u64::from(open.shared.inode);
        // Inode numbers identify nodes, within the file system that the second port stands for; a port for each node would have to be kept
        // for as long as anybody compares it. So the first one only says whether two rights are to the same open file.
        Ok(IoIdentityReply { idport: open.send(), fsidport: self.ext2.identity.send(), fileno })
    }

    fn io_revoke(&mut self, request: &Request<'_>) -> Result<(), i32> {
        self.open(request)?;
        Err(EOPNOTSUPP)
    }
}
