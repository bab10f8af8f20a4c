//! `cargo xtask bench`: figures that the guest counts itself, under instruction counting: instructions per operation, frames per object;
//! and figures of mig-rs beside GNU MIG, on the host.

use crate::iso::{self, Boot};
use crate::progress::Ticker;
use crate::qemu::{Machine, SUCCESS};
use crate::records::Record;
use crate::serial::{self, Line};
use crate::vm::{Event, Vm};
use crate::workspace::Workspace;
use crate::{compile, doctor, image, mig};
use anyhow::{Result, bail};
use serde::Serialize;
use std::time::Duration;

/// One figure.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Figure {
    /// What was measured.
    pub name: String,
    /// Instructions for one operation: the guest's, or those of a generated stub on the host.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instructions: Option<f64>,
    /// Frames for one object.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub frames: Option<f64>,
    /// Time on the host.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub milliseconds: Option<f64>,
    /// The same of GNU MIG, or of its stub.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gnu: Option<f64>,
    /// Ours divided by GNU MIG's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ratio: Option<f64>,
}

/// Which figures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Section {
    /// The guest's.
    Guest,
    /// mig-rs beside GNU MIG.
    MigRs,
}

/// A figure, if the line is a bench record.
fn figure(line: &str) -> Option<Figure> {
    let Line::Record(value) = serial::parse(line) else { return None };
    match serde_json::from_value(value) {
        Ok(Record::Bench { name, instructions, frames }) => {
            Some(Figure { name, instructions, frames, ..Figure::default() })
        }
        _ => None,
    }
}

fn table(figures: &[Figure]) -> String {
    let width = figures.iter().map(|f| f.name.chars().count()).max().unwrap_or(0).max(10);
    let number =
        |n: Option<f64>| n.map_or("-".to_owned(), |n| format!("{n:.1}").trim_end_matches(".0").to_owned());
    let ratio = |n: Option<f64>| n.map_or("-".to_owned(), |n| format!("{n:.2}"));
    let mut out = String::new();
    let (ours, theirs): (Vec<&Figure>, Vec<&Figure>) = figures.iter().partition(|f| f.gnu.is_none());
    if !ours.is_empty() {
        out.push_str(&format!("{:width$} {:>14} {:>10}\n", "", "instructions", "frames"));
    }
    for f in ours {
        out.push_str(&format!("{:width$} {:>14} {:>10}\n", f.name, number(f.instructions), number(f.frames)));
    }
    if !theirs.is_empty() {
        out.push_str(&format!("{:width$} {:>14} {:>10} {:>6}\n", "", "mig-rs", "GNU MIG", "ratio"));
    }
    for f in theirs {
        let own = number(f.instructions.or(f.milliseconds));
        out.push_str(&format!("{:width$} {own:>14} {:>10} {:>6}\n", f.name, number(f.gnu), ratio(f.ratio)));
    }
    out
}

/// Measures the sections (all when `only` is empty) and prints them.
///
/// # Errors
/// When a section cannot be measured, or a figure of mig-rs is above GNU MIG's: after all has been printed.
pub fn run(ws: &Workspace, json: bool, only: &[Section]) -> Result<()> {
    let wanted = |section| only.is_empty() || only.contains(&section);
    let mut figures = Vec::new();
    let mut verdict = Ok(());
    if wanted(Section::MigRs) {
        doctor::ensure_for_tests()?;
        let found = mig::figures(ws)?;
        verdict = mig::judge(&found);
        figures.extend(found);
    }
    if wanted(Section::Guest) {
        figures.extend(guest(ws)?);
    }
    if json {
        println!("{}", serde_json::to_string_pretty(&figures)?);
    } else {
        print!("{}", table(&figures));
    }
    verdict
}

/// Boots the guest's bench mode and collects what it counts.
///
/// # Errors
/// When the build or the machine fails, or the guest does not end with success.
fn guest(ws: &Workspace) -> Result<Vec<Figure>> {
    doctor::ensure()?;
    let built = compile::build(ws)?;
    let image = image::make(ws, &built, &image::Spec::full(crate::guest_tests::TEST_ZEROS))?;
    let iso = ws.out().join("bench.iso");
    let boot = Boot { line: Some("mode=bench world=accounted".into()), timeout: 0 };
    iso::make(ws, &built, &iso::modules(&built, Some(&image.path)), &boot, &iso)?;
    let log = ws.logs().join("bench.log");
    let mut vm = Vm::start(&Machine::new(&iso, 512, true), &log, Duration::from_secs(600))?;
    let mut figures = Vec::new();
    let mut done = false;
    let mut ticker = Ticker::default();
    loop {
        match vm.event()? {
            Event::Line(line) => {
                done |= serial::parse(&line) == Line::Done;
                figures.extend(figure(&line));
            }
            Event::Quiet => {
                ticker.show(&format!("    {:.0} s, {} figures", vm.elapsed().as_secs_f64(), figures.len()))
            }
            Event::Exited(Some(SUCCESS)) if done => break,
            end => {
                ticker.end();
                bail!(
                    "the guest did not end with success ({end:?}, ##DONE {done}); the last lines:\n{}",
                    vm.tail()
                )
            }
        }
    }
    ticker.end();
    if figures.is_empty() {
        bail!("the guest printed no figure; its log is {}", log.display());
    }
    Ok(figures)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_read_and_shown() {
        let lines = [
            "##SC {\"t\":\"bench\",\"name\":\"null rpc, migrating\",\"instructions\":412.5}",
            "##SC {\"t\":\"bench\",\"name\":\"port\",\"frames\":1}",
            "text",
        ];
        let figures: Vec<Figure> = lines.iter().filter_map(|l| figure(l)).collect();
        assert_eq!(figures.len(), 2);
        let table = table(&figures);
        let row: Vec<&str> = table.lines().nth(1).unwrap().split_whitespace().collect();
        assert_eq!(row, ["null", "rpc,", "migrating", "412.5", "-"]);
        assert_eq!(table.lines().nth(2).unwrap().split_whitespace().collect::<Vec<_>>(), ["port", "-", "1"]);
    }
}
