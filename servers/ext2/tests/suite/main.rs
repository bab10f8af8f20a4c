//! Tests of the ext2 library on the host, with images made by the real tools (Debian package e2fsprogs) and with ext4-view as
//! an independent reader.

mod damage;
mod image;
mod reading;
mod tools;
mod translators;
