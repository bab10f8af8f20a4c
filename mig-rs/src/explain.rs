//! Drawings of messages, for people.

use std::fmt::Write as _;

use crate::emit::{offer_words, payer_words};
use crate::layout::{Kernels, descriptor, word};
use crate::model::{Complex, Item, Message, Placement, Role, Routine, Transfer};

/// A drawing of a routine's request and reply, with the offset of everything, and who pays.
#[must_use]
pub fn explain(routine: &Routine) -> String {
    let kind = if routine.reply.is_some() { "routine" } else { "simpleroutine" };
    let mut text = format!("{kind} {}\n", routine.name);
    if let Some(doc) = &routine.doc {
        for line in doc.lines() {
            wrapped(&mut text, line);
        }
    }
    let _ = writeln!(text, "\n{}", payer_words(routine));
    if let Some(donation) = &routine.donation {
        for line in offer_words(donation).trim_end_matches('.').split("; ") {
            let _ = writeln!(text, "  {line}");
        }
    }
    message(&mut text, routine, "request", &routine.request, routine.id);
    match &routine.reply {
        Some(reply) => message(&mut text, routine, "reply", reply, routine.id.wrapping_add(100)),
        None => text.push_str("\nno reply\n"),
    }
    text.push_str(LEGEND);
    for argument in &routine.arguments {
        let what = match argument.role {
            Role::RequestPort => "the destination",
            Role::ReplyPort { user: true, server: true } => {
                "the reply port, passed by the client and seen by the server"
            }
            Role::ReplyPort { user: true, .. } => "the reply port, passed by the client",
            Role::ReplyPort { .. } => "the reply port, seen by the server",
            Role::WaitTime => "how long the client waits, ms",
            Role::MsgOption => "options of the client's message call",
            Role::MsgSeqno => "the request's sequence number, from its header",
            Role::Unused => "not used",
            Role::In | Role::Out | Role::InOut => continue,
        };
        let _ = writeln!(text, "\n{}: {what}; not in the body.", argument.name);
    }
    text
}

/// How a line with `type` is read.
const LEGEND: &str = "
type: the descriptor as it is sent, then name:bits:number:place, as sent -> as received
";

/// Columns of the drawing.
const WIDTH: usize = 100;

/// A line of a comment, in as many lines as it needs.
fn wrapped(text: &mut String, line: &str) {
    let mut column = 0;
    for word in line.split(' ') {
        let width = word.chars().count() + 1;
        if column == 0 || column + width > WIDTH {
            text.push_str(if column == 0 { "  " } else { "\n  " });
            column = 1 + width;
        } else {
            text.push(' ');
            column += width;
        }
        text.push_str(word);
    }
    text.push('\n');
}

const RULE: &str = "         +---------------------------------------------------------------";

fn message(text: &mut String, routine: &Routine, title: &str, message: &Message, id: i32) {
    let size = if message.is_variable() {
        format!("{} to {} bytes", message.min, message.max)
    } else {
        format!("{} bytes", message.max)
    };
    let complex = match message.complex {
        Complex::Never => "plain",
        Complex::Always => "complex",
        Complex::Maybe => "complex if rights or memory travel",
    };
    let _ = writeln!(text, "\n{title}, id {id}, {size}, {complex}\n{RULE}");
    let header = if title == "request" { "destination, reply port" } else { "reply port, none" };
    let _ = writeln!(text, "       0 | header: bits, size, {header}, sequence number, id {id}\n{RULE}");
    let mut moved = false;
    for item in &message.items {
        let mark = if moved { '~' } else { ' ' };
        let _ = writeln!(
            text,
            "{mark}{:>7} | type {:#018x}  {} -> {}",
            item.type_offset,
            word(&item.wire, item.wire.send),
            descriptor(&item.wire, true, Kernels::default()),
            descriptor(&item.wire, false, Kernels::default()),
        );
        let _ = writeln!(text, "{mark}{:>7} | {}\n{RULE}", item.data_offset(), data(routine, item));
        moved |= item.wire.is_variable() && item.wire.placement != Placement::OutOfLine;
    }
    if moved {
        text.push_str(
            "        ~ places with all parts before them at their largest; smaller parts move them up\n",
        );
    }
}

fn data(routine: &Routine, item: &Item) -> String {
    let length = item.wire.data_length();
    let argument = item.argument.and_then(|a| routine.arguments.get(a));
    let of = argument.filter(|_| !item.is_count).map_or(String::new(), |a| format!(" : {}", a.type_name));
    let size = match (item.wire.placement, item.wire.is_variable()) {
        _ if item.is_count => "how many elements the client has room for".into(),
        (Placement::OutOfLine, _) => "8 bytes, an address: the data are elsewhere".into(),
        (Placement::Chosen, _) => format!("0 to {length} bytes, or an address"),
        (Placement::Inline, true) => format!("0 to {length} bytes"),
        (Placement::Inline, false) => format!("{length} bytes"),
    };
    let padding = if !item.wire.is_variable() && !length.is_multiple_of(8) {
        format!(", {} of padding", 8 - length % 8)
    } else {
        String::new()
    };
    let crosses = match argument.map(|a| a.transfer) {
        Some(Transfer::Loan) => ", lent until the reply",
        Some(Transfer::Gift) => ", given with its charge",
        Some(Transfer::Copy) => ", copied",
        _ => "",
    };
    format!("{}{of}: {size}{padding}{crosses}", item.name)
}
