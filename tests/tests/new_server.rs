//! Servers that `cargo xtask new-server` has written, and the one of the README's worked example, built and booted in one machine; and what it refuses to
//! write, without leaving anything behind.
//!
//! All are written to folders of their own in `target/drover`, so that the tree stays as it is. Their interfaces are in `tests/tests/new_server`.
#![forbid(unsafe_code)]

use std::path::Path;

use anyhow::{Context, Result, ensure};
use xtask::guest_tests::{self, Group};
use xtask::new_server::{self, Place};
use xtask::workspace::Workspace;
use xtask::{compile, image};

/// The worked example, as the README has it.
struct Example {
    defs: String,
    server: String,
    client: String,
    /// Commands, and what each prints.
    session: Vec<(String, String)>,
}

impl Example {
    fn read(readme: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(readme)?;
        let (_, section) =
            text.split_once("\n## How to write a server\n").context("the README has no worked example")?;
        let section = section.split("\n## ").next().unwrap_or_default();
        // Between fences; what follows a fence on its line is the language.
        let blocks: Vec<&str> =
            section.split("\n```").skip(1).step_by(2).filter_map(|b| Some(b.split_once('\n')?.1)).collect();
        let block = |mark: &str| {
            let mut found = blocks.iter().filter(|block| block.contains(mark));
            let first =
                found.next().with_context(|| format!("no block of the worked example holds `{mark}`"))?;
            ensure!(found.next().is_none(), "two blocks of the worked example hold `{mark}`");
            Ok(format!("{first}\n"))
        };
        let session = block("$ counter-call")?;
        let session = session.split("$ ").skip(1).filter_map(|call| call.trim_end().split_once('\n'));
        Ok(Self {
            defs: block("subsystem counter")?,
            server: block("impl CounterServer for")?,
            client: block("fn add(")?,
            session: session.map(|(command, output)| (command.to_owned(), output.to_owned())).collect(),
        })
    }
}

/// Servers to be written as they are: name, and interface relative to the root.
const WRITTEN: &[(&str, &str)] = &[
    ("probe", "libhurd/defs/io.defs"),
    ("two-words", "tests/tests/new_server/Ledger-2.defs"),
    ("converts", "tests/tests/new_server/converts.defs"),
    ("union", "tests/tests/new_server/type.defs"),
];

#[test]
fn what_new_server_writes_and_what_the_readme_shows_boot_and_answer() -> Result<()> {
    let ws = Workspace::locate()?;
    let example = Example::read(&ws.root.join("README.md"))?;
    ensure!(example.session.len() >= 2, "the session of the README shows fewer than two calls");
    let scratch = ws.out().join("new-server");
    if scratch.exists() {
        std::fs::remove_dir_all(&scratch)?;
    }
    std::fs::create_dir_all(&scratch)?;

    let mut written = Vec::new();
    for (name, defs) in WRITTEN {
        let place = Place::Alone(scratch.join(name));
        written.push(new_server::write(&ws, name, &ws.root.join(defs), &place)?);
    }
    // Filled in as the README says.
    let defs = scratch.join("counter.defs");
    std::fs::write(&defs, &example.defs)?;
    let counter = new_server::write(&ws, "counter", &defs, &Place::Alone(scratch.join("counter")))?;
    std::fs::write(counter.join("src/main.rs"), &example.server)?;
    std::fs::write(counter.join("src/bin/counter-call.rs"), &example.client)?;

    let mut built = compile::build(&ws)?;
    for folder in written.iter().chain([&counter]) {
        compile::build_alone(&ws, folder, &mut built)?;
    }
    let image = image::make(&ws, &built, &image::Spec::full(guest_tests::TEST_ZEROS))?;

    let commands = WRITTEN
        .iter()
        .map(|(name, _)| format!("{name}-call"))
        .chain(example.session.iter().map(|(command, _)| command.clone()));
    let group = Group {
        name: "programs".into(),
        world: "accounted".into(),
        mem_mib: 1024,
        deadline: 120,
        icount: true,
        kernel: None,
        args: commands
            .enumerate()
            .map(|(i, c)| format!("run{}=/bin/{}", i + 1, c.replace(' ', ",")))
            .collect(),
        tests: vec!["programs::end_well".into()],
    };
    let outcome = guest_tests::run_group(&ws, &built, &image.path, &group)?;
    for verdict in [outcome.verdict(&group.tests[0]), outcome.end_verdict(&group.tests)] {
        verdict.map_err(anyhow::Error::msg)?;
    }

    let log = std::fs::read_to_string(ws.logs().join("test-programs.log"))?;
    let mut lines = log.lines().map(str::trim_end);
    // In this order: every routine of the interfaces, then the README's session.
    let mut answers = Vec::new();
    for (_, defs) in WRITTEN {
        answers.extend(routines(&ws.root.join(defs))?);
    }
    ensure!(answers.len() > 20, "the interfaces are not what they used to be");
    for expected in answers.into_iter().chain(example.session.iter().map(|(_, output)| output.clone())) {
        ensure!(
            lines.any(|line| line.ends_with(&expected)),
            "the machine has not said `{expected}` in its turn"
        );
    }
    Ok(())
}

/// What is printed of each routine of an interface: nobody answers a one-way message, to everything else the answer is that it is not written yet.
fn routines(defs: &Path) -> Result<Vec<String>> {
    let text = std::fs::read_to_string(defs)?;
    let line = |line: &str| {
        let (kind, rest) = line.split_once(' ')?;
        let name = rest.split([' ', '(']).next()?;
        match kind {
            "routine" => Some(format!("{name}: operation not supported")),
            "simpleroutine" => Some(format!("{name}: ()")),
            _ => None,
        }
    };
    Ok(text.lines().filter_map(line).collect())
}

/// Every refusal says what is wrong with what, and leaves no folder.
#[test]
fn what_cannot_be_written_is_refused_and_leaves_nothing() -> Result<()> {
    let ws = Workspace::locate()?;
    let scratch = ws.out().join("new-server-refused");
    if scratch.exists() {
        std::fs::remove_dir_all(&scratch)?;
    }
    let interfaces = scratch.join("defs");
    std::fs::create_dir_all(&interfaces)?;
    let file = |name: &str, text: &str| {
        let path = interfaces.join(name);
        std::fs::write(&path, text).map(|()| path)
    };
    let port = "type p = MACH_MSG_TYPE_COPY_SEND;\n";
    let fine = file("fine.defs", &format!("subsystem fine 100;\n{port}routine a (p : p);\n"))?;
    let outside = scratch.join("outside.defs");
    std::fs::write(&outside, port)?;
    let alone = Place::Alone(scratch.join("new"));
    let occupied = Place::Alone(interfaces.clone());
    let nowhere = Place::Alone("/proc/nowhere/new".into());
    let cases = [
        ("Upper", fine.clone(), &alone, "`Upper` is no name for a server"),
        ("a_b", fine.clone(), &alone, "`a_b` is no name for a server"),
        ("type", fine.clone(), &alone, "`type` is a word of Rust"),
        ("core", fine.clone(), &alone, "`core` is the name of a library"),
        ("hello", fine.clone(), &Place::Workspace, "`hello` is taken by"),
        ("xtask", fine.clone(), &Place::Workspace, "`xtask` is taken by"),
        ("new", fine.clone(), &occupied, "is there already"),
        ("new", fine.clone(), &nowhere, "/proc/nowhere"),
        ("new", interfaces.join("missing.defs"), &alone, "missing.defs"),
        ("new", interfaces.clone(), &alone, "defs"),
        ("new", ws.root.join("libhurd/defs/hurd_types.defs"), &alone, "only defines types"),
        ("new", file("empty.defs", "")?, &alone, "subsystem"),
        ("new", file("wrong.defs", "subsystem s 100;\nroutine a (p : nothing);\n")?, &alone, "wrong.defs:2"),
        ("new", file("none.defs", "subsystem s 100;\nskip 3;\n")?, &alone, "has no routine"),
        (
            "new",
            file("far.defs", "subsystem s 100;\n#include \"../outside.defs\"\nroutine a (p : p);\n")?,
            &alone,
            "neither in its own folder nor in libhurd/defs",
        ),
        (
            "new",
            file("kernel.defs", &format!("subsystem KernelServer s 100;\n{port}routine a (p : p);\n"))?,
            &alone,
            "interface of a kernel",
        ),
        (
            "new",
            file("late.defs", &format!("subsystem s 100;\n{port}waittime PATIENCE;\nroutine a (p : p);\n"))?,
            &alone,
            "`PATIENCE`",
        ),
    ];
    let servers = std::fs::read_dir(ws.root.join("servers"))?.count();
    for (name, defs, place, why) in &cases {
        let refused = new_server::write(&ws, name, defs, place);
        let Err(error) = refused else { anyhow::bail!("{name} of {} was written", defs.display()) };
        let text = format!("{error:#}");
        ensure!(text.contains(why), "{name} of {}: `{text}` does not say `{why}`", defs.display());
        if let Place::Alone(folder) = place {
            ensure!(*folder == interfaces || !folder.exists(), "{name} of {} left a folder", defs.display());
        }
    }
    ensure!(interfaces.join("fine.defs").is_file(), "a folder that was there has been removed");
    ensure!(
        std::fs::read_dir(ws.root.join("servers"))?.count() == servers,
        "a refused server has left something in servers/"
    );
    // And the one that all of this was compared with is written, once.
    new_server::write(&ws, "new", &fine, &alone)?;
    ensure!(new_server::write(&ws, "new", &fine, &alone).is_err(), "it was written over");
    ensure!(
        scratch.join("new/src/main.rs").is_file(),
        "the second attempt has removed the first one's folder"
    );
    Ok(())
}
