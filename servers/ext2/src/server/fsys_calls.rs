//! The `fsys` interface of the control port.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::Ordering;

use ext2::ROOT_INODE;
use libhurd::errno::{EBUSY, EOPNOTSUPP};
use libhurd::file::{O_EXEC, O_READ, O_WRITE};
use libhurd::lookup::FS_RETRY_NORMAL;
use libhurd::mig::{Data, OutData, Port, Request, Retain, Text};
use libhurd::port::SendRight;
use libhurd::stubs::fsys::{
    FsysGetChildrenReply, FsysGetOptionsReply, FsysGetfileReply, FsysGetrootOut, FsysServer,
};
use libhurd::{argz, env, ool, own};

use super::perm::Ids;
use super::{Call, Ext2};

/// `fsys_goaway`: even if files are open.
const FSYS_GOAWAY_FORCE: i32 = 4;

impl Ext2 {
    /// The options that are in force, as words.
    pub(super) fn options_words(&self) -> Vec<u8> {
        let words = env::current().args().filter(|word| !is_port_option(word));
        argz::join(words)
    }
}

/// Port names are of no use to anybody else.
fn is_port_option(word: &[u8]) -> bool {
    word.windows(6).any(|part| part == b"-port=")
}

impl FsysServer for Call {
    fn fsys_goaway(&mut self, request: &Request<'_>, flags: i32) -> Result<(), i32> {
        Self::control(request)?;
        if flags & FSYS_GOAWAY_FORCE == 0 && self.ext2.opens.len() > 0 {
            return Err(EBUSY);
        }
        // Nothing is unwritten. The client learns of our end from the kernel.
        libhurd::start::exit(0)
    }

    fn fsys_getroot(
        &mut self,
        request: &Request<'_>,
        dotdot_node: Port,
        gen_uids: Data<'_, u32>,
        gen_gids: Data<'_, u32>,
        flags: i32,
        _: &mut Text<1024>,
        retain: Retain,
    ) -> Result<FsysGetrootOut, i32> {
        Self::control(request)?;
        let ids = Ids::new(&ool::values(&gen_uids), &ool::values(&gen_gids));
        let root = self.ext2.inode(ROOT_INODE)?;
        let flags = flags & (O_READ | O_WRITE | O_EXEC);
        ids.check(&root, flags & !O_WRITE)?;
        let above = own(|| Ok::<_, i32>(Arc::new(SendRight::another(dotdot_node.name)?)))?;
        let file = self.ext2.open_inode(ROOT_INODE, flags & !O_WRITE, &above, &ids, Some(&retain))?.send();
        Ok(FsysGetrootOut { do_retry: FS_RETRY_NORMAL, file })
    }

    fn fsys_getfile(
        &mut self,
        request: &Request<'_>,
        _gen_uids: Data<'_, u32>,
        _gen_gids: Data<'_, u32>,
        _filehandle: Data<'_, u8>,
    ) -> Result<FsysGetfileReply, i32> {
        Self::control(request)?;
        Err(EOPNOTSUPP)
    }

    fn fsys_syncfs(&mut self, request: &Request<'_>, _wait: i32, _do_children: i32) -> Result<(), i32> {
        // Every write has gone through to the device.
        Self::control(request)
    }

    fn fsys_set_options(
        &mut self,
        request: &Request<'_>,
        _options: Data<'_, u8>,
        _do_children: i32,
    ) -> Result<(), i32> {
        Self::control(request)?;
        Err(EOPNOTSUPP)
    }

    fn fsys_init(
        &mut self,
        request: &Request<'_>,
        _reply_port: Port,
        proc_server: Port,
        auth_handle: Port,
    ) -> Result<(), i32> {
        Self::control(request)?;
        let auth = SendRight::another(auth_handle.name)?;
        let proc = SendRight::another(proc_server.name)?;
        // Earlier ones came with the command line or the initial ports, and may still be in use by a call.
        self.ext2.auth.store(auth.into_name().0, Ordering::Relaxed);
        self.ext2.proc.store(proc.into_name().0, Ordering::Relaxed);
        Ok(())
    }

    fn fsys_get_options(&mut self, request: &Request<'_>) -> Result<FsysGetOptionsReply, i32> {
        Self::control(request)?;
        Ok(FsysGetOptionsReply { options: ool::reply_bytes(&self.ext2.options_words())? })
    }

    fn fsys_get_children(&mut self, request: &Request<'_>) -> Result<FsysGetChildrenReply, i32> {
        Self::control(request)?;
        // Paths of nodes are not remembered.
        Ok(FsysGetChildrenReply { names: OutData::empty(), controls: OutData::empty() })
    }

    fn fsys_get_source(&mut self, request: &Request<'_>, source: &mut Text<1024>) -> Result<(), i32> {
        Self::control(request)?;
        Ok(source.set(self.ext2.options.device)?)
    }
}
