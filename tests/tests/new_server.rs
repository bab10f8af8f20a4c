//! A server that `cargo xtask new-server` has written, and the one of the README's worked example, built and booted in one machine.
//!
//! Both are written to folders of their own in `target/drover`, so that the tree stays as it is.
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

    // As it is written, of an interface with many kinds of arguments.
    let probe = new_server::write(
        &ws,
        "probe",
        &ws.root.join("libhurd/defs/io.defs"),
        &Place::Alone(scratch.join("probe")),
    )?;
    // Filled in as the README says.
    let defs = scratch.join("counter.defs");
    std::fs::write(&defs, &example.defs)?;
    let counter = new_server::write(&ws, "counter", &defs, &Place::Alone(scratch.join("counter")))?;
    std::fs::write(counter.join("src/main.rs"), &example.server)?;
    std::fs::write(counter.join("src/bin/counter-call.rs"), &example.client)?;

    let mut built = compile::build(&ws)?;
    compile::build_alone(&ws, &probe, &mut built)?;
    compile::build_alone(&ws, &counter, &mut built)?;
    let image = image::make(&ws, &built, &image::Spec::full(guest_tests::TEST_ZEROS))?;

    let commands = [String::from("probe-call")]
        .into_iter()
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
    // In this order: every routine of io.defs, then the README's session.
    let routines = mig_routines(&ws)?;
    let answers = routines.iter().map(|routine| format!("{routine}: operation not supported"));
    for expected in answers.chain(example.session.iter().map(|(_, output)| output.clone())) {
        ensure!(
            lines.any(|line| line.ends_with(&expected)),
            "the machine has not said `{expected}` in its turn"
        );
    }
    Ok(())
}

/// The routines of `io.defs` that are answered; one-way ones are only sent.
fn mig_routines(ws: &Workspace) -> Result<Vec<String>> {
    let defs = std::fs::read_to_string(ws.root.join("libhurd/defs/io.defs"))?;
    let names = defs
        .lines()
        .filter_map(|line| Some(line.strip_prefix("routine ")?.split_whitespace().next()?.to_owned()));
    let names: Vec<String> = names.collect();
    ensure!(names.len() > 10, "io.defs is not what it used to be");
    Ok(names)
}
