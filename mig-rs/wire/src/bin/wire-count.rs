//! Calls and serves two routines through mig-rs's stubs, for counting instructions: `wire-count WHAT ROUNDS`, where WHAT
//! is null_client, null_server, lookup_client or lookup_server.
//!
//! The counted functions are `count_*`; what `capture_*` and `handle_*` do is not counted. `c/count.c` is the same with
//! GNU MIG's stubs.
#![forbid(unsafe_code)]

use std::cell::RefCell;
use std::hint::black_box;
use std::process::ExitCode;

use mig_runtime::{Donation, Mode, Outcome, Port, PortName, Request, RpcError, Text, Transport};

#[allow(
    clippy::all,
    dead_code,
    missing_docs,
    unreachable_pub,
    reason = "generated, and little of it is used"
)]
mod null {
    include!(concat!(env!("OUT_DIR"), "/bare_null.rs"));
}
#[allow(
    clippy::all,
    dead_code,
    missing_docs,
    unreachable_pub,
    reason = "generated, and little of it is used"
)]
mod fs {
    include!(concat!(env!("OUT_DIR"), "/bare_fs.rs"));
}

/// The first call's request is kept, and refused; later ones get the reply that a server made.
#[derive(Default)]
struct Capture {
    request: Vec<u8>,
    answer: Vec<u8>,
}

struct Wire(RefCell<Capture>);

#[inline(never)]
fn capture_message(wire: &Wire, message: &mut [u8], size: usize) -> Result<usize, i32> {
    let mut capture = wire.0.borrow_mut();
    if capture.request.is_empty() {
        capture.request = message[..size].to_vec();
        return Err(0x1000_0003);
    }
    message[..capture.answer.len()].copy_from_slice(&capture.answer);
    Ok(capture.answer.len())
}

impl Transport for Wire {
    fn call(&self, message: &mut [u8], size: usize, _: &Donation) -> Result<usize, i32> {
        capture_message(self, message, size)
    }
    fn send(&self, message: &mut [u8], size: usize, _: &Donation) -> Result<(), i32> {
        capture_message(self, message, size).map(drop)
    }
}

struct Server;

#[inline(never)]
fn handle_null() -> Result<(), i32> {
    black_box(Ok(()))
}

#[inline(never)]
fn handle_lookup(
    name: &Text<1024>,
    flags: i32,
    mode: u32,
    retry_name: &mut Text<1024>,
) -> Result<fs::DirLookupOut, i32> {
    black_box((name, flags, mode));
    retry_name.set(b"etc/passwd")?;
    Ok(fs::DirLookupOut { do_retry: 1, result: Port::move_send(PortName(0x103)) })
}

impl null::NullServer for Server {
    fn null_call(&mut self, _: &Request<'_>) -> Result<(), i32> {
        handle_null()
    }
}

impl fs::FsServer for Server {
    fn dir_lookup(
        &mut self,
        _: &Request<'_>,
        name: &Text<1024>,
        flags: i32,
        mode: u32,
        retry_name: &mut Text<1024>,
        _: mig_runtime::Retain,
    ) -> Result<fs::DirLookupOut, i32> {
        handle_lookup(name, flags, mode, retry_name)
    }
}

#[inline(never)]
fn count_null_client(wire: &Wire, port: PortName) -> Result<(), RpcError> {
    null::null_call(wire, port, &Donation::ALL)
}

#[inline(never)]
fn count_lookup_client(wire: &Wire, port: PortName, name: &[u8]) -> Result<fs::DirLookupReply, RpcError> {
    fs::dir_lookup(wire, port, name, 1, 0o644, &Donation::ALL)
}

/// Serves as libhurd does a call: the reply goes into memory that is fresh with the call.
macro_rules! serve_clean {
    ($interface:ident, $request:expr, $reply:expr) => {
        $interface::dispatch_as(&mut Server, Mode::Clean, $request, $reply)
    };
}

#[inline(never)]
fn count_null_server(request: &[u8], reply: &mut [u8]) -> Outcome {
    serve_clean!(null, request, reply)
}

#[inline(never)]
fn count_lookup_server(request: &[u8], reply: &mut [u8]) -> Outcome {
    serve_clean!(fs, request, reply)
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, what, rounds] = &arguments[..] else { return ExitCode::FAILURE };
    let (lookup, server) = (what.starts_with("lookup"), what.ends_with("server"));
    let rounds: u32 = rounds.parse().unwrap_or(0);
    let wire = Wire(RefCell::default());
    let port = PortName(0x101);
    let call = || match lookup {
        true => count_lookup_client(&wire, black_box(port), black_box(b"etc/passwd")).map(Some),
        false => count_null_client(&wire, black_box(port)).map(|()| None),
    };
    let _ = call();
    let mut request = wire.0.borrow().request.clone();
    // As received: a send right named by the payload, a send-once right for the reply.
    request[..4].copy_from_slice(&(18u32 | 17 << 8).to_le_bytes());
    let mut reply = vec![0u64; 256];
    let reply = zerocopy::IntoBytes::as_mut_bytes(&mut reply[..]);
    let serve = |reply: &mut [u8]| match lookup {
        true => count_lookup_server(black_box(&request), reply),
        false => count_null_server(black_box(&request), reply),
    };
    let Outcome::Reply(size) = serve(reply) else { return ExitCode::from(2) };
    wire.0.borrow_mut().answer = reply[..size].to_vec();
    for _ in 0..rounds {
        if server {
            if serve(reply) != Outcome::Reply(size) {
                return ExitCode::from(3);
            }
            continue;
        }
        match call() {
            Ok(None) => {}
            Ok(Some(found))
                if found.retry_name.as_bytes() == b"etc/passwd" && found.result.name.0 == 0x103 => {}
            _ => return ExitCode::from(4),
        }
    }
    ExitCode::SUCCESS
}
