//! The table of accounts as text. Pure.

use alloc::format;
use alloc::string::String;

use libhurd::abi::account::{
    ACCOUNT_CLOSING, ACCOUNT_SESSION, AccountInfo, CALLS, CPU, FRAMES, IO, OBJECTS, UNLIMITED,
};

/// The table's first line.
pub(crate) const HEADING: &str = "  id account                frames: limit  charged    given escrow     peak  objects calls  cpu ms    io kB share";

/// A number that fits in its column: thousands and millions are cut to `k` and `M`.
fn short(value: u64) -> String {
    match value {
        UNLIMITED => String::from("-"),
        0..10_000_000 => format!("{value}"),
        10_000_000..10_000_000_000 => format!("{}k", value / 1000),
        _ => format!("{}M", value / 1_000_000),
    }
}

/// How deep an account is in the tree: the root is 0. `parent_of` gives the parent's id, 0 for none.
pub(crate) fn depth(id: u64, parent_of: impl Fn(u64) -> u64) -> usize {
    let mut at = id;
    for depth in 0..32 {
        at = parent_of(at);
        if at == 0 {
            return depth;
        }
    }
    32
}

/// One account's line.
pub(crate) fn row(info: &AccountInfo, depth: usize) -> String {
    let end = info.name.iter().position(|&byte| byte == 0).unwrap_or(info.name.len());
    let mut name = String::new();
    (0..depth.min(8)).for_each(|_| name.push(' '));
    info.name[..end].iter().for_each(|&byte| {
        name.push(if byte.is_ascii_graphic() { char::from(byte) } else { '?' });
    });
    if end == 0 {
        name.push_str(if info.flags & ACCOUNT_SESSION != 0 { "(session)" } else { "(nameless)" });
    }
    if info.state == ACCOUNT_CLOSING {
        name.push('!');
    }
    let frames = &info.resources[FRAMES];
    format!(
        "{:4} {name:22} {:>13} {:>8} {:>8} {:>6} {:>8} {:>8} {:>5} {:>7} {:>8} {:>5}",
        info.id,
        short(frames.limit),
        short(frames.charged),
        short(frames.given),
        short(frames.escrow),
        short(info.frames_peak),
        short(info.resources[OBJECTS].charged),
        short(info.resources[CALLS].charged),
        short(info.resources[CPU].charged / 1_000_000),
        short(info.resources[IO].charged / 2),
        info.share,
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use libhurd::abi::account::Resource;

    fn info(name: &str) -> AccountInfo {
        let mut bytes = [0; 32];
        bytes[..name.len()].copy_from_slice(name.as_bytes());
        AccountInfo {
            id: 7,
            parent: 1,
            state: 0,
            flags: 0,
            resources: [Resource { limit: 4096, charged: 12, given: 3, escrow: 1 }; 5],
            frames_peak: 40,
            share: 250,
            cap_ns: 0,
            period_ns: 0,
            overrun_ns: 0,
            name: bytes,
        }
    }

    #[test]
    fn columns_line_up() {
        let line = row(&info("exec"), 2);
        assert!(line.starts_with("   7   exec "));
        assert_eq!(line.len(), HEADING.len());
        let mut session = info("");
        session.flags = ACCOUNT_SESSION;
        session.resources[FRAMES].limit = UNLIMITED;
        assert_eq!(row(&session, 0).len(), HEADING.len());
        assert!(row(&session, 0).contains("(session)"));
    }

    #[test]
    fn depths() {
        let parent = |id| id / 2;
        assert_eq!((depth(1, parent), depth(2, parent), depth(5, parent)), (0, 1, 2));
        assert_eq!(depth(3, |id| id), 32, "a cycle ends");
    }

    #[test]
    fn large_numbers_are_cut() {
        assert_eq!(short(9_999_999), "9999999");
        assert_eq!(short(12_345_678), "12345k");
        assert_eq!(short(98_765_432_100), "98765M");
        assert_eq!(short(UNLIMITED), "-");
    }
}
