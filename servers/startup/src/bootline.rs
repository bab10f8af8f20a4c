//! The kernel's boot line: `NAME=value` words, which become the environment of everything that is started. Pure.

use alloc::vec::Vec;

use libhurd::argz;
use libhurd::world::World;

/// What is done when the servers are up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// A shell at the console, again and again.
    Shell,
    /// The experiment.
    Dos,
    /// The tests of one group.
    Test,
    /// The figures.
    Bench,
}

impl Mode {
    /// The program that does it.
    pub(crate) const fn program(self) -> &'static str {
        match self {
            Self::Shell => "sh",
            Self::Dos => "dos",
            Self::Test => "guest-tests",
            Self::Bench => "bench",
        }
    }
}

/// What the boot line says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BootLine {
    /// The laws that hold.
    pub(crate) world: World,
    /// What to do.
    pub(crate) mode: Mode,
    /// All `NAME=value` words, `world` first.
    pub(crate) environment: Vec<u8>,
}

impl BootLine {
    /// Reads the line. Without `world=` the world is `accounted`, without `mode=` a shell is started; words without `=` are left out.
    ///
    /// # Errors
    /// The value of `world=` or `mode=` that means nothing.
    pub(crate) fn parse(line: &[u8]) -> Result<Self, &[u8]> {
        let mut found = Self { world: World::ACCOUNTED, mode: Mode::Shell, environment: Vec::new() };
        let mut others = Vec::new();
        for word in line.split(u8::is_ascii_whitespace) {
            let Some(equals) = word.iter().position(|&byte| byte == b'=') else { continue };
            let (name, value) = (&word[..equals], &word[equals + 1..]);
            match name {
                b"world" => found.world = World::named(value).ok_or(value)?,
                b"mode" => {
                    found.mode = match value {
                        b"shell" => Mode::Shell,
                        b"dos" => Mode::Dos,
                        b"test" => Mode::Test,
                        b"bench" => Mode::Bench,
                        _ => return Err(value),
                    };
                    argz::push(&mut others, word);
                }
                b"" => {}
                _ => argz::push(&mut others, word),
            }
        }
        found.environment.extend_from_slice(b"world=");
        found.environment.extend_from_slice(found.world.name().as_bytes());
        found.environment.push(0);
        found.environment.extend_from_slice(&others);
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_become_the_environment() {
        let line = BootLine::parse(b"mode=dos  quiet world=classic stall=a =x").unwrap();
        assert_eq!((line.world, line.mode), (World::CLASSIC, Mode::Dos));
        assert_eq!(line.environment, b"world=classic\0mode=dos\0stall=a\0");
    }

    #[test]
    fn defaults_and_nonsense() {
        let line = BootLine::parse(b"").unwrap();
        assert_eq!((line.world, line.mode), (World::ACCOUNTED, Mode::Shell));
        assert_eq!(line.environment, b"world=accounted\0");
        assert_eq!(BootLine::parse(b"world=flat"), Err(&b"flat"[..]));
        assert_eq!(BootLine::parse(b"mode="), Err(&b""[..]));
    }
}
