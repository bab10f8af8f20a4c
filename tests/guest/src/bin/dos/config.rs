//! What the boot line asks for. Pure.

use libhurd::argz;
use libhurd::world::World;

/// The wait that is shown by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stall {
    /// The file system's STARTING wait.
    A,
    /// A node lock held across the exec.
    B,
    /// The exec server's decompressor lock.
    C,
}

/// The parameters of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Config {
    pub(crate) world: World,
    pub(crate) stall: Stall,
    /// A victim steps on the node first.
    pub(crate) victim_first: bool,
    /// The payload is compressed by gzip.
    pub(crate) gzip: bool,
    /// Samples wanted per victim and phase.
    pub(crate) samples: u64,
    /// The checker runs all the time.
    pub(crate) checked: bool,
}

impl Config {
    /// Reads the environment; the name of a variable whose value means nothing is the error.
    pub(crate) fn read(envz: &[u8]) -> Result<Self, &'static str> {
        let value =
            |name: &'static str, usual: &'static [u8]| argz::variable(envz, name.as_bytes()).unwrap_or(usual);
        let stall = match value("stall", b"a") {
            b"a" => Stall::A,
            b"b" => Stall::B,
            b"c" => Stall::C,
            _ => return Err("stall"),
        };
        let one_of = |name: &'static str, no: &'static [u8], yes: &[u8]| match value(name, no) {
            word if word == no => Ok(false),
            word if word == yes => Ok(true),
            _ => Err(name),
        };
        let samples = core::str::from_utf8(value("samples", b"100")).ok().and_then(|text| text.parse().ok());
        Ok(Self {
            world: World::named(value("world", b"accounted")).ok_or("world")?,
            stall,
            victim_first: one_of("trigger", b"attacker", b"victim")?,
            gzip: one_of("format", b"bzip2", b"gzip")?,
            samples: samples.filter(|n| (1..=4000).contains(n)).ok_or("samples")?,
            checked: one_of("check", b"0", b"1")?,
        })
    }

    pub(crate) const fn stall_name(&self) -> &'static str {
        match self.stall {
            Stall::A => "a",
            Stall::B => "b",
            Stall::C => "c",
        }
    }

    pub(crate) const fn trigger_name(&self) -> &'static str {
        if self.victim_first { "victim" } else { "attacker" }
    }

    pub(crate) const fn format_name(&self) -> &'static str {
        if self.gzip { "gzip" } else { "bzip2" }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_and_values() {
        let usual = Config::read(b"").unwrap();
        assert_eq!((usual.world, usual.stall, usual.samples), (World::ACCOUNTED, Stall::A, 100));
        let all = b"world=classic\0stall=c\0trigger=victim\0format=gzip\0samples=7\0check=1\0";
        let all = Config::read(all).unwrap();
        assert_eq!((all.stall_name(), all.trigger_name(), all.format_name()), ("c", "victim", "gzip"));
        assert!(all.checked && all.samples == 7);
    }

    #[test]
    fn nonsense_is_named() {
        for (text, name) in [
            (&b"stall=d\0"[..], "stall"),
            (b"trigger=x\0", "trigger"),
            (b"format=zip\0", "format"),
            (b"samples=0\0", "samples"),
            (b"samples=many\0", "samples"),
            (b"world=flat\0", "world"),
            (b"check=yes\0", "check"),
        ] {
            assert_eq!(Config::read(text), Err(name));
        }
    }
}
