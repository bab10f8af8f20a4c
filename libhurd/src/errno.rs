//! The Hurd's errno values as they travel in replies: system 0x10, so `0x4000_0000 | number`.
#![allow(missing_docs, reason = "the names are POSIX's and the Hurd's")]

use drover_abi::returns::hurd_errno;

pub const EPERM: i32 = hurd_errno(1);
pub const ENOENT: i32 = hurd_errno(2);
pub const ESRCH: i32 = hurd_errno(3);
pub const EINTR: i32 = hurd_errno(4);
pub const EIO: i32 = hurd_errno(5);
pub const ENXIO: i32 = hurd_errno(6);
pub const E2BIG: i32 = hurd_errno(7);
pub const ENOEXEC: i32 = hurd_errno(8);
pub const EBADF: i32 = hurd_errno(9);
pub const ECHILD: i32 = hurd_errno(10);
pub const ENOMEM: i32 = hurd_errno(12);
pub const EACCES: i32 = hurd_errno(13);
pub const EBUSY: i32 = hurd_errno(16);
pub const EEXIST: i32 = hurd_errno(17);
pub const EXDEV: i32 = hurd_errno(18);
pub const ENODEV: i32 = hurd_errno(19);
pub const ENOTDIR: i32 = hurd_errno(20);
pub const EISDIR: i32 = hurd_errno(21);
pub const EINVAL: i32 = hurd_errno(22);
pub const EMFILE: i32 = hurd_errno(24);
pub const EFBIG: i32 = hurd_errno(27);
pub const ENOSPC: i32 = hurd_errno(28);
pub const ESPIPE: i32 = hurd_errno(29);
pub const EROFS: i32 = hurd_errno(30);
pub const ERANGE: i32 = hurd_errno(34);
pub const EAGAIN: i32 = hurd_errno(35);
pub const EOPNOTSUPP: i32 = hurd_errno(45);
pub const ETIMEDOUT: i32 = hurd_errno(60);
pub const ELOOP: i32 = hurd_errno(62);
pub const ENAMETOOLONG: i32 = hurd_errno(63);
pub const EFTYPE: i32 = hurd_errno(79);
pub const EDIED: i32 = hurd_errno(101);
pub const EGRATUITOUS: i32 = hurd_errno(105);

/// What people read.
#[must_use]
pub fn describe(code: i32) -> &'static str {
    use drover_abi::returns as r;
    match code {
        0 => "success",
        EPERM => "operation not permitted",
        ENOENT => "no such file or directory",
        ESRCH => "no such process",
        EINTR => "interrupted",
        EIO => "input/output error",
        ENXIO => "no such device",
        E2BIG => "argument list too long",
        ENOEXEC => "not a program",
        EBADF => "bad file descriptor",
        ECHILD => "no child processes",
        ENOMEM => "cannot allocate memory",
        EACCES => "permission denied",
        EBUSY => "busy",
        EEXIST => "exists already",
        EXDEV => "on another file system",
        ENODEV => "not supported by the device",
        ENOTDIR => "not a directory",
        EISDIR => "is a directory",
        EINVAL => "invalid argument",
        EMFILE => "too many open files",
        EFBIG => "too large",
        ENOSPC => "no space left",
        ESPIPE => "cannot seek",
        EROFS => "read-only file system",
        ERANGE => "out of range",
        EAGAIN => "try again",
        EOPNOTSUPP | r::MIG_BAD_ID => "operation not supported",
        ETIMEDOUT | r::KERN_TIMEDOUT | r::MACH_RCV_TIMED_OUT | r::MACH_SEND_TIMED_OUT => "timed out",
        ELOOP => "too many levels of links or translators",
        ENAMETOOLONG => "name too long",
        EFTYPE => "wrong kind of file",
        EDIED => "translator died",
        EGRATUITOUS => "gratuitous error",
        r::MIG_SERVER_DIED => "server died",
        r::KERN_RESOURCE_SHORTAGE => "the offer or the account does not suffice",
        r::KERN_NO_SPACE => "no space in the address space or port table",
        r::KERN_ABORTED | r::KERN_INTERRUPTED => "aborted",
        r::KERN_INVALID_ARGUMENT => "invalid argument to the kernel",
        r::DROVER_LOCK_HELD => "a call while a lock is held",
        r::DROVER_DEADLOCK => "would wait for itself",
        r::DROVER_OWNER_DIED => "who was waited for died",
        r::MACH_SEND_INVALID_DEST => "no such port",
        _ => "error",
    }
}
