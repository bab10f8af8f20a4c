//! A translator that says hello: reading its node gives one line. With an argument it says that instead.
//!
//! Who pays: callers for their calls; the translator's task for its opens, which are bounded.
#![cfg_attr(target_os = "none", no_std, no_main)]

use libhurd::Env;
use libhurd::translator::{self, Node};

struct Hello;

/// What the node contains.
fn contents() -> &'static [u8] {
    libhurd::env::current().args().nth(1).unwrap_or(b"Hello, world!\n")
}

impl Node for Hello {
    fn size(&self) -> u64 {
        contents().len() as u64
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> Result<usize, i32> {
        let rest = usize::try_from(offset).ok().and_then(|at| contents().get(at..)).unwrap_or(&[]);
        let len = rest.len().min(out.len());
        out[..len].copy_from_slice(&rest[..len]);
        Ok(len)
    }
}

static HELLO: Hello = Hello;

fn program(_: &'static Env) -> i32 {
    translator::run(&HELLO)
}

libhurd::entry!(program);
