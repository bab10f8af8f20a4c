//! The kernel's symbols, for the backtrace of a panic.
//!
//! The kernel's image is loaded stripped; beside it the boot loader loads a module named [`MODULE`] in this format:
//!
//! | bytes | what |
//! |---|---|
//! | 8 | `DRVSYMS1` |
//! | 4 | n, the number of functions |
//! | 4 | size of the names |
//! | 16 n | per function, by ascending address: u64 address, u32 offset of its name, u32 length of its name |
//! | ... | names, demangled, UTF-8, back to back |
//!
//! A record without a name ends the code before it.
//!
//! All numbers are little-endian. [`make_symbol_file`] writes it on the host; [`Symbols`] reads it in the kernel, from
//! bytes it does not trust.

/// The first word of the module's string.
pub const MODULE: &str = "kernel.sym";

const MAGIC: &[u8; 8] = b"DRVSYMS1";
const HEADER: usize = 16;
const RECORD: usize = 16;

/// A symbol file in memory.
#[derive(Clone, Copy)]
pub struct Symbols<'a> {
    records: &'a [u8],
    names: &'a [u8],
}

impl<'a> Symbols<'a> {
    /// Takes `file` if its header is sound; what follows is checked when used.
    pub fn parse(file: &'a [u8]) -> Option<Self> {
        let (header, rest) = file.split_at_checked(HEADER)?;
        let records = (word32(header, 8)? as usize).checked_mul(RECORD)?;
        let names = word32(header, 12)? as usize;
        let (records, rest) = rest.split_at_checked(records)?;
        (header.starts_with(MAGIC) && rest.len() >= names).then(|| Self { records, names: &rest[..names] })
    }

    /// The function that `address` is in (the last one that begins at or before it), and the distance from its begin.
    pub fn find(&self, address: u64) -> Option<(&'a str, u64)> {
        let count = self.records.len() / RECORD;
        let start = |i: usize| word64(self.records, i * RECORD).unwrap_or(u64::MAX);
        let (mut low, mut high) = (0, count);
        while low < high {
            let middle = low + (high - low) / 2;
            if start(middle) <= address { low = middle + 1 } else { high = middle }
        }
        let record = low.checked_sub(1)?;
        let offset = word32(self.records, record * RECORD + 8)? as usize;
        let length = word32(self.records, record * RECORD + 12)? as usize;
        let name = self.names.get(offset..offset.checked_add(length)?)?;
        if name.is_empty() {
            return None;
        }
        Some((core::str::from_utf8(name).ok()?, address - start(record)))
    }
}

fn word32(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at.checked_add(4)?)?.try_into().ok()?))
}

fn word64(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(bytes.get(at..at.checked_add(8)?)?.try_into().ok()?))
}

/// The symbol file of an (unstripped) ELF kernel. Fails when `elf` is not an ELF file.
#[cfg(not(target_os = "none"))]
pub fn make_symbol_file(elf: &[u8]) -> Result<Vec<u8>, object::Error> {
    use object::{Object, ObjectSection, ObjectSymbol, SectionKind};
    let file = object::File::parse(elf)?;
    let mut functions = Vec::new();
    for code in file.sections().filter(|section| section.kind() == SectionKind::Text) {
        let symbols = file.symbols().filter(|symbol| symbol.section_index() == Some(code.index()));
        for (address, name) in symbols.filter_map(|symbol| Some((symbol.address(), symbol.name().ok()?))) {
            if !name.is_empty() {
                // The alternate form leaves out the hash.
                functions.push((address, format!("{:#}", rustc_demangle::demangle(name))));
            }
        }
        functions.push((code.address() + code.size(), String::new()));
    }
    // Of several names of one address the last in the alphabet wins, and any over none.
    functions.sort_by(|a, b| a.0.cmp(&b.0).then(b.1.cmp(&a.1)));
    functions.dedup_by_key(|(address, _)| *address);
    Ok(encode(&functions))
}

#[cfg(not(target_os = "none"))]
fn encode(functions: &[(u64, String)]) -> Vec<u8> {
    let names: String = functions.iter().map(|(_, name)| name.as_str()).collect();
    let mut file = MAGIC.to_vec();
    file.extend((functions.len() as u32).to_le_bytes());
    file.extend((names.len() as u32).to_le_bytes());
    let mut offset = 0u32;
    for (address, name) in functions {
        file.extend(address.to_le_bytes());
        file.extend(offset.to_le_bytes());
        file.extend((name.len() as u32).to_le_bytes());
        offset += name.len() as u32;
    }
    file.extend(names.as_bytes());
    file
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Vec<u8> {
        encode(&[
            (0x1000, "first".into()),
            (0x1010, "zwölf".into()),
            (0x1020, String::new()),
            (0xffff_ffff_8010_0000, "last".into()),
        ])
    }

    #[test]
    fn round_trip() {
        let file = sample();
        let symbols = Symbols::parse(&file).unwrap();
        assert_eq!(symbols.find(0xfff), None);
        assert_eq!(symbols.find(0x1000), Some(("first", 0)));
        assert_eq!(symbols.find(0x100f), Some(("first", 15)));
        assert_eq!(symbols.find(0x1010), Some(("zwölf", 0)));
        assert_eq!(symbols.find(0x101f), Some(("zwölf", 15)));
        assert_eq!(symbols.find(0x1020), None, "beyond the code");
        assert_eq!(symbols.find(u64::MAX), Some(("last", 0x7fef_ffff)));
    }

    #[test]
    fn damaged_files_do_no_harm() {
        let file = sample();
        for length in 0..file.len() {
            assert!(Symbols::parse(&file[..length]).is_none(), "{length} bytes of {}", file.len());
        }
        for at in 0..file.len() {
            for bit in 0..8 {
                let mut damaged = file.clone();
                damaged[at] ^= 1 << bit;
                if let Some(symbols) = Symbols::parse(&damaged) {
                    for address in [0, 0x1000, 0x1010, u64::MAX] {
                        let _ = symbols.find(address);
                    }
                }
            }
        }
        assert!(Symbols::parse(&encode(&[])).unwrap().find(5).is_none());
    }

    /// The test program itself is an ELF file with symbols.
    #[test]
    fn a_real_program() {
        let elf = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        let file = make_symbol_file(&elf).unwrap();
        let symbols = Symbols::parse(&file).unwrap();
        let object = object::File::parse(&*elf).unwrap();
        use object::{Object, ObjectSymbol};
        let wanted =
            object.symbols().find(|s| s.name().is_ok_and(|n| n.contains("make_symbol_file"))).unwrap();
        let (name, offset) = symbols.find(wanted.address() + 1).unwrap();
        assert!(name.contains("symbols::make_symbol_file"), "{name}");
        assert_eq!(offset, 1);
        let variable = object.symbols().find(|s| s.kind() == object::SymbolKind::Data).unwrap();
        assert_eq!(symbols.find(variable.address()), None, "data has no names");
        assert!(make_symbol_file(b"not an ELF file").is_err());
    }
}
