//! Boots the kernel's self test of the machine layer in QEMU, on several kinds of machine, and looks at how a kernel dies.

use std::io::{Read, Write};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};
use xtask::compile::Built;
use xtask::iso::{self, Boot, Module};
use xtask::qemu::{Machine, SUCCESS};
use xtask::serial::{self, Line};
use xtask::strip;
use xtask::workspace::Workspace;

/// Tests that the self test runs; one that goes missing is noticed.
const TESTS: usize = 20;
const PANICKED: i32 = 1;
const LIMIT: Duration = Duration::from_secs(120);
const TARGET: &str = "x86_64-unknown-none";

struct Prepared {
    ws: Workspace,
    built: Built,
    modules: Vec<Module>,
}

/// The kernel with the self test, built once, in a target folder of its own (other tests build it without).
fn prepared() -> &'static Prepared {
    static PREPARED: OnceLock<Option<Prepared>> = OnceLock::new();
    // Not tried again by every test when it fails.
    let prepared = PREPARED.get_or_init(|| {
        let ws = Workspace::locate().unwrap();
        let target = ws.target.join("machine-selftest");
        let status = Command::new(env!("CARGO"))
            .args(["build", "--quiet", "--release", "--target", TARGET, "-p", "drover-kernel"])
            .args(["--features", "machine-selftest", "--target-dir"])
            .arg(&target)
            .current_dir(&ws.root)
            .status()
            .unwrap();
        if !status.success() {
            return None;
        }
        let elf = std::fs::read(target.join(TARGET).join("release/drover-kernel")).unwrap();
        let (kernel, symbols) = (target.join("kernel"), target.join("kernel.sym"));
        std::fs::write(&kernel, strip::strip(&elf).unwrap()).unwrap();
        std::fs::write(&symbols, drover_machine::symbols::make_symbol_file(&elf).unwrap()).unwrap();
        // One byte more than a page, so that there is a tail to be cleared.
        let data = target.join("data");
        std::fs::write(&data, [0xaa; 4097]).unwrap();
        let modules = vec![
            Module { name: "data".into(), file: data },
            Module { name: drover_machine::symbols::MODULE.into(), file: symbols.clone() },
        ];
        Some(Prepared { ws, built: Built { kernel, symbols, programs: Vec::new() }, modules })
    });
    prepared.as_ref().expect("the self test does not build: cargo's messages are above")
}

struct Run {
    output: String,
    status: Option<i32>,
}

/// Boots with these words on the kernel's command line, in QEMU with these further arguments.
fn boot(line: &str, memory: u32, icount: bool, qemu: &[&str], input: &[u8]) -> Run {
    let prepared = prepared();
    let folder = tempfile::tempdir().unwrap();
    let iso: PathBuf = folder.path().join("selftest.iso");
    let boot = Boot { line: Some(format!("selftest {line}")), timeout: 0 };
    iso::make_quietly(&prepared.ws, &prepared.built, &prepared.modules, &boot, &iso).unwrap();
    let mut command = Machine::new(&iso, memory, icount).batch().unwrap();
    let mut child = command
        .args(qemu)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .unwrap();
    let mut stdout = child.stdout.take().unwrap();
    let output = Arc::new(Mutex::new(Vec::new()));
    let shared = Arc::clone(&output);
    let reader = std::thread::spawn(move || {
        let mut bytes = [0; 4096];
        while let Ok(count @ 1..) = stdout.read(&mut bytes) {
            shared.lock().unwrap().extend_from_slice(&bytes[..count]);
        }
    });
    let text = || String::from_utf8_lossy(&output.lock().unwrap()).into_owned();
    let mut stdin = child.stdin.take().unwrap();
    let end = Instant::now() + LIMIT;
    let mut typed = false;
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status.code();
        }
        if Instant::now() > end {
            child.kill().unwrap();
            child.wait().unwrap();
            break None;
        }
        // Not before it is asked for: every test that waits for an interrupt would take this one.
        if !typed && text().contains("type something") {
            stdin.write_all(input).unwrap();
            typed = true;
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    reader.join().unwrap();
    Run { output: text(), status }
}

fn passes(line: &str, memory: u32, icount: bool, qemu: &[&str], input: &[u8], tests: usize) -> String {
    let run = boot(line, memory, icount, qemu, input);
    let lines: Vec<Line> = run.output.lines().map(serial::parse).collect();
    let passed = lines.iter().filter(|line| matches!(line, Line::Test(_, Ok(())))).count();
    assert_eq!((run.status, passed), (Some(SUCCESS), tests), "{}", run.output);
    assert!(lines.contains(&Line::Done), "{}", run.output);
    run.output
}

#[test]
fn a_modern_cpu() {
    passes("expect=smep,smap,umip", 256, false, &[], b"", TESTS);
}

#[test]
fn an_old_cpu_and_memory_above_4_gib() {
    let output = passes("", 5120, false, &["-cpu", "qemu64"], b"", TESTS);
    assert!(output.contains("smep false, smap false"), "{output}");
}

#[test]
fn little_memory_on_another_chipset() {
    passes("", 64, false, &["-machine", "q35"], b"", TESTS);
}

/// Counting instructions, one tick is one nanosecond, and two runs are one.
#[test]
fn counted_runs_repeat() {
    let [first, second] = [(); 2].map(|()| passes("log=debug", 256, true, &[], b"", TESTS));
    assert!(first.contains("clock: 1000000000 Hz"), "{first}");
    assert_eq!(first, second);
}

#[test]
fn console_input_wakes_the_idle_loop() {
    let output = passes("console", 256, false, &[], b"k", TESTS + 1);
    assert!(output.contains("typed: 'k'"), "{output}");
}

#[test]
fn a_dying_kernel_says_why_and_where() {
    for (way, words) in [
        ("panic", ["told to die: panic", "selftest/mod.rs", "selftest::"]),
        ("fault", ["page fault in the kernel, error 0x3, address 0xffffffff80100000", "rip", "selftest::"]),
        ("execute", ["page fault in the kernel, error 0x11", "rip", "selftest::"]),
        ("overflow", ["double fault in the kernel (kernel stack overflow?)", "rip", "selftest::overflow"]),
        ("nmi", ["non-maskable interrupt in the kernel", "rip", "selftest::"]),
    ] {
        let run = boot(&format!("die={way}"), 256, false, &[], b"");
        assert_eq!(run.status, Some(PANICKED), "{way}: {}", run.output);
        for word in words {
            assert!(run.output.contains(word), "{way}: no `{word}` in {}", run.output);
        }
        // A stack that has overflown is longer than what is printed of it.
        let whole = run.output.contains("drover_machine::boot::start+");
        assert_eq!(whole, way != "overflow", "{way}: {}", run.output);
    }
}
