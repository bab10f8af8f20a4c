//! `cargo xtask bench`: figures that the guest counts itself, under instruction counting: instructions per operation, frames per object.

use crate::iso::{self, Boot};
use crate::progress::Ticker;
use crate::qemu::{Machine, SUCCESS};
use crate::records::Record;
use crate::serial::{self, Line};
use crate::vm::{Event, Vm};
use crate::workspace::Workspace;
use crate::{compile, doctor, image};
use anyhow::{Result, bail};
use serde::Serialize;
use std::time::Duration;

/// One figure.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Figure {
    /// What was measured.
    pub name: String,
    /// Guest instructions for one operation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instructions: Option<f64>,
    /// Frames for one object.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub frames: Option<f64>,
}

/// A figure, if the line is a bench record.
fn figure(line: &str) -> Option<Figure> {
    let Line::Record(value) = serial::parse(line) else { return None };
    match serde_json::from_value(value) {
        Ok(Record::Bench { name, instructions, frames }) => Some(Figure { name, instructions, frames }),
        _ => None,
    }
}

fn table(figures: &[Figure]) -> String {
    let width = figures.iter().map(|f| f.name.chars().count()).max().unwrap_or(0).max(10);
    let number =
        |n: Option<f64>| n.map_or("-".to_owned(), |n| format!("{n:.1}").trim_end_matches(".0").to_owned());
    let mut out = format!("{:width$} {:>14} {:>10}\n", "", "instructions", "frames");
    for f in figures {
        out.push_str(&format!("{:width$} {:>14} {:>10}\n", f.name, number(f.instructions), number(f.frames)));
    }
    out
}

/// Boots the guest's bench mode and prints what it counts.
///
/// # Errors
/// When the build or the machine fails, or the guest does not end with success.
pub fn run(ws: &Workspace, json: bool) -> Result<()> {
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
    if json {
        println!("{}", serde_json::to_string_pretty(&figures)?);
    } else {
        print!("{}", table(&figures));
    }
    Ok(())
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
