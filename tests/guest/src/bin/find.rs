//! Walks over a tree, from the directory given or from `/`, and prints every path; with `-q` it only counts.
#![cfg_attr(target_os = "none", no_std, no_main)]
#![forbid(unsafe_code)]

use guest::walk::{Visitor, walk};
use libhurd::errno::describe;
use libhurd::file::Context;
use libhurd::stubs::types::IoStatbuf;
use libhurd::{Env, Offer, eprintln, println};

struct Find {
    quiet: bool,
    nodes: u64,
    failed: u64,
}

impl Visitor for Find {
    fn offer(&mut self) -> Offer {
        Offer::all()
    }
    fn enters(&mut self, _: &[u8]) -> bool {
        true
    }
    fn looks(&mut self, _: &[u8]) {}
    fn saw(&mut self, path: &[u8], result: Result<&IoStatbuf, i32>) {
        match result {
            Ok(_) => {
                self.nodes += 1;
                if !self.quiet {
                    println!("{}", path.escape_ascii());
                }
            }
            Err(code) => {
                self.failed += 1;
                eprintln!("find: {}: {} ({code:#x})", path.escape_ascii(), describe(code));
            }
        }
    }
}

fn program(env: &'static Env) -> i32 {
    let mut find = Find { quiet: false, nodes: 0, failed: 0 };
    let mut start = b"/".as_slice();
    for word in env.args().skip(1) {
        match word {
            b"-q" => find.quiet = true,
            path => start = path,
        }
    }
    walk(Context::current(), start, &mut find);
    if find.quiet {
        println!("{} nodes, {} failed", find.nodes, find.failed);
    }
    i32::from(find.failed > 0)
}

libhurd::entry!(program);
