//! File formats, decoders and loaders. See the crate's documentation.

pub mod bzip2;
pub mod crc32;
pub mod decode;
pub mod elf;
pub mod format;
pub mod gzip;
pub mod hashbang;
pub mod limits;
pub mod memory;
pub mod source;
pub mod stream;
pub mod whole;
