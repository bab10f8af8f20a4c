//! Where things are in messages, and the tables that show it.

use std::fmt::Write as _;

use crate::model::{
    Argument, Complex, Dealloc, Elem, Item, Message, Placement, Prim, Routine, Shape, Subsystem, Transfer,
    Wire, msgt,
};

/// Which side looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The client.
    User,
    /// The server.
    Server,
}

/// Bytes of a header.
const HEADER: u64 = 32;

pub(crate) fn int32() -> Wire {
    Wire {
        send: msgt::INTEGER_32,
        receive: msgt::INTEGER_32,
        bits: 32,
        number: 1,
        placement: Placement::Inline,
        longform: None,
        dealloc: Dealloc::No,
        shape: Shape::Fixed(Elem::Prim(Prim::Int { bits: 32, signed: Some(false) })),
    }
}

/// The request: `in` and `inout` arguments, and the counts that clients send.
pub(crate) fn request(arguments: &[Argument]) -> Message {
    let mut items = Vec::new();
    for (index, argument) in arguments.iter().enumerate() {
        if argument.role.in_request() {
            items.push((argument.name.clone(), Some(index), false, argument.wire.clone()));
        }
        if argument.count_in_out {
            items.push((format!("{}Cnt", argument.name), Some(index), true, int32()));
        }
    }
    place(items)
}

/// The reply: the return code, then `out` and `inout` arguments.
pub(crate) fn reply(arguments: &[Argument]) -> Message {
    let mut items = vec![("RetCode".to_string(), None, false, int32())];
    for (index, argument) in arguments.iter().enumerate().filter(|(_, a)| a.role.in_reply()) {
        items.push((argument.name.clone(), Some(index), false, argument.wire.clone()));
    }
    place(items)
}

fn place(items: Vec<(String, Option<usize>, bool, Wire)>) -> Message {
    let (mut min, mut max) = (HEADER, HEADER);
    let (mut always, mut maybe) = (false, false);
    let mut placed = Vec::new();
    for (name, argument, is_count, wire) in items {
        let type_offset = max;
        min += 8 + wire.min_data_length().next_multiple_of(8);
        max += 8 + wire.data_length().next_multiple_of(8);
        match wire.placement {
            Placement::OutOfLine => always = true,
            Placement::Chosen => maybe = true,
            Placement::Inline => {}
        }
        if wire.carries_rights() {
            // Only a right that its receiver knows to be one makes the message certainly complex.
            let certain = wire.receive != msgt::POLYMORPHIC;
            always |= certain;
            maybe |= !certain;
        }
        placed.push(Item { name, argument, is_count, wire, type_offset });
    }
    let complex = match (always, maybe) {
        (true, _) => Complex::Always,
        (false, true) => Complex::Maybe,
        (false, false) => Complex::Never,
    };
    Message { items: placed, min, max, complex }
}

/// The constant part of the descriptor: everything but the number of variable items, which is 0 here.
#[must_use]
pub fn word(wire: &Wire, name: u32) -> u64 {
    let mut word = u64::from(name) | (u64::from(wire.bits) << 8);
    if wire.placement == Placement::Inline {
        word |= 1 << 29;
    }
    if wire.is_long() {
        word |= 1 << 30;
    }
    if wire.dealloc == Dealloc::Yes {
        word |= 1 << 31;
    }
    if !wire.is_variable() {
        word |= u64::from(wire.number) << 32;
    }
    word
}

/// As [`word`], for a receiver: memory in the message has nothing to deallocate any more.
#[must_use]
pub(crate) fn received_word(wire: &Wire) -> u64 {
    let word = word(wire, wire.receive);
    match wire.placement {
        Placement::Inline => word & !(1 << 31),
        // What arrives out of line is the receiver's, and where the whole word is compared that bit counts.
        Placement::OutOfLine if !wire.is_variable() => word | 1 << 31,
        _ => word,
    }
}

/// Who of the two is a kernel.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Kernels {
    /// It sends rights as their receivers get them.
    pub(crate) sender: bool,
    /// It sees its caller's own descriptors.
    pub(crate) receiver: bool,
}

/// The descriptor as the tables spell it.
pub(crate) fn descriptor(wire: &Wire, sends: bool, kernels: Kernels) -> String {
    // Receivers compare whole words only of fixed items with a known name; elsewhere the tables show the sender's.
    let looks = !sends && !wire.is_variable() && wire.receive != msgt::POLYMORPHIC;
    let name = if looks || kernels.sender { wire.receive } else { wire.send };
    let name = if name == msgt::POLYMORPHIC { "poly".into() } else { name.to_string() };
    let place = if wire.placement == Placement::OutOfLine { "OOL" } else { "in" };
    let mut text = format!("{name}:{}:{}:{place}", wire.bits, wire.number);
    if wire.is_long() {
        text.push_str(":long");
    }
    // What arrives out of line is the receiver's, where the whole word is compared. Of a long one this bit is not looked at, nor
    // does a kernel.
    let dealloc = match looks {
        true => !kernels.receiver && !wire.is_long() && wire.placement == Placement::OutOfLine,
        false => wire.dealloc == Dealloc::Yes && wire.placement != Placement::Chosen,
    };
    if dealloc {
        text.push_str(":dealloc");
    }
    text
}

fn row(routine: &Routine, part: &str, message: &Message, sends: bool, kernels: Kernels) -> String {
    let kind = if routine.reply.is_some() { "Routine" } else { "SimpleRoutine" };
    let reply_id = if routine.reply.is_some() { routine.id.wrapping_add(100) } else { 0 };
    let size = if message.is_variable() { "var" } else { "fixed" };
    let mut text = format!(
        "{}\t{kind}\t{}\t{reply_id}\t{part}\t{size}\t{}\t{}\t",
        routine.name, routine.id, message.min, message.max
    );
    for (i, item) in message.items.iter().enumerate() {
        if i > 0 {
            text.push(' ');
        }
        let _ = write!(
            text,
            "{}@{}/{}/{}/{}",
            item.name,
            item.type_offset,
            item.data_offset(),
            item.wire.data_length(),
            descriptor(&item.wire, sends, kernels)
        );
        match &item.wire.shape {
            Shape::Variable(_, Some(max)) if item.wire.placement != Placement::OutOfLine => {
                let _ = write!(text, "/{max}");
            }
            Shape::Str { size, variable: true } => {
                let _ = write!(text, "/{size}");
            }
            _ => {}
        }
    }
    text
}

/// One line for every message, as one side sees it.
#[must_use]
pub fn layout_rows(subsystem: &Subsystem, side: Side) -> Vec<String> {
    let mut rows = Vec::new();
    let asks = Kernels { sender: false, receiver: subsystem.kernel_server };
    let answers = Kernels { sender: subsystem.kernel_server, receiver: false };
    for routine in &subsystem.routines {
        rows.push(row(routine, "req", &routine.request, side == Side::User, asks));
        if let Some(reply) = &routine.reply {
            rows.push(row(routine, "rep", reply, side == Side::Server, answers));
        }
    }
    rows
}

/// One line for every routine: id, id of the reply, kind, name, arguments.
#[must_use]
pub fn id_rows(subsystem: &Subsystem) -> Vec<String> {
    let line = |routine: &Routine| {
        let (kind, reply) = match routine.reply {
            Some(_) => ("routine", routine.id.wrapping_add(100).to_string()),
            None => ("simpleroutine", "-".to_string()),
        };
        let arguments: Vec<String> = routine.arguments.iter().map(written_for_gnu).collect();
        format!("{}\t{reply}\t{kind}\t{}\t{}", routine.id, routine.name, arguments.join("; "))
    };
    subsystem.routines.iter().map(line).collect()
}

/// An argument as GNU MIG reads it, for which `COPY` and `LOAN` are nothing and `GIFT` is `dealloc`.
fn written_for_gnu(argument: &Argument) -> String {
    let (word, theirs) = match argument.transfer {
        Transfer::Unsaid => return argument.text.clone(),
        Transfer::Copy => (", copy", ""),
        Transfer::Loan => (", loan", ""),
        Transfer::Gift => (", gift", ", dealloc"),
    };
    argument.text.replacen(word, theirs, 1)
}
