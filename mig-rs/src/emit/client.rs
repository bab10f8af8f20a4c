//! Client functions.

use std::fmt::Write as _;

use super::items::{client_type, decode, elem_of, encode_argument, hex, keep};
use super::rust::{ident, shout};
use super::{EmitOptions, Types, items_of, reply_name, routine_doc, shape, words};
use crate::layout::{received_word, word};
use crate::model::{Argument, Item, Message, Placement, Role, Routine, Shape, Wire, msgt};
use crate::source::Diagnostic;

/// Functions with larger buffers are never inlined, so that a caller's frame does not hold several of them.
const LARGE_BUFFER: u64 = 512;

/// The call that reads an array that lies in a reply: the client's room, and what follows, decide what is wrong with too many.
fn results(item: &Item, argument: &Argument, reply: &Message, types: Types<'_>) -> Option<String> {
    let wire = &item.wire;
    let (Shape::Variable(..), Placement::Inline) = (&wire.shape, wire.placement) else { return None };
    let behind = || reply.items.iter().filter(|i| i.type_offset > item.type_offset);
    let rest: u64 = behind().map(|i| 8 + i.wire.min_data_length().next_multiple_of(8)).sum();
    let last = behind().all(|i| !i.wire.is_variable() || i.wire.placement == Placement::OutOfLine);
    let max = super::items::max(wire);
    let room = match argument.count_in_out {
        true => format!("({} as usize).min({max})", ident(&format!("{}_count", argument.name))),
        false => max.to_string(),
    };
    let (word, elem) = (hex(received_word(wire)), elem_of(wire, types));
    Some(format!("results::<{elem}>({word}, {room}, {rest}, {last})"))
}

pub(super) fn client(
    out: &mut String,
    routine: &Routine,
    options: &EmitOptions,
) -> Result<(), Box<Diagnostic>> {
    let types = options.types();
    let how = words::call_options(routine)?;
    routine_doc(out, routine);
    let port = |wire: &Wire| if wire.send == msgt::POLYMORPHIC { types.port() } else { types.name() };
    let mut parameters = String::from("transport: &T, ");
    let (mut remote, mut local) = (String::new(), "Port::default()".to_string());
    for argument in &routine.arguments {
        let name = ident(&argument.name);
        let as_port = |wire: &Wire| {
            if wire.send == msgt::POLYMORPHIC {
                name.clone()
            } else {
                format!("Port::new({name}, {})", wire.send)
            }
        };
        match argument.role {
            Role::RequestPort => {
                remote = as_port(&argument.wire);
                let _ = write!(parameters, "{name}: {}, ", port(&argument.wire));
            }
            Role::ReplyPort { user: true, .. } => {
                local = as_port(&argument.wire);
                let _ = write!(parameters, "{name}: {}, ", port(&argument.wire));
            }
            Role::In | Role::InOut => {
                let own = client_type(&argument.wire, types);
                let ty = words::user_type(argument, options).map_or(own, str::to_string);
                let _ = write!(parameters, "{name}: {ty}, ");
            }
            Role::WaitTime | Role::MsgOption => {
                let _ = write!(parameters, "{name}: {}, ", client_type(&argument.wire, types));
            }
            _ => {}
        }
        if argument.count_in_out {
            let _ = write!(parameters, "{}: u32, ", ident(&format!("{}_count", argument.name)));
        }
    }
    let result = if routine.reply.is_some() { reply_name(routine) } else { "()".into() };
    let max = routine.request.max.max(routine.reply.as_ref().map_or(0, |r| r.max.max(48)));
    if max > LARGE_BUFFER {
        out.push_str("#[inline(never)]\n");
    }
    let _ = writeln!(
        out,
        "pub fn {}<T: Transport + ?Sized>({parameters}donation: &Donation) -> Result<{result}, RpcError> {{",
        ident(&format!("{}{}", options.prefix, routine.user_name))
    );
    let _ = writeln!(
        out,
        "let mut buffer_ = Buffer::<{}>::new();\nlet message_ = buffer_.bytes();",
        max.div_ceil(8)
    );
    let mutable = if routine.request.items.is_empty() { "" } else { "mut " };
    let _ = writeln!(out, "let {mutable}encoder_ = Encoder::clean(message_);");
    for (item, index) in items_of(&routine.request) {
        let argument = &routine.arguments[index];
        let call = if item.is_count {
            // As in MIG, a client's room is never more than the interface's.
            format!(
                "value::<u32>({}, {}.min({}))",
                hex(word(&item.wire, item.wire.send)),
                ident(&format!("{}_count", argument.name)),
                super::items::max(&argument.wire)
            )
        } else {
            let mut value = ident(&argument.name);
            if words::user_type(argument, options).is_some() {
                value = format!("{}::from({value})", words::wire_type(argument, options));
            }
            encode_argument(&item.wire, &value, types)
        };
        let _ = writeln!(out, "encoder_.{call}?;");
    }
    let _ = writeln!(out, "let size_ = encoder_.finish(id::{}, {remote}, {local})?;", shout(&routine.name));
    super::donation::attenuate(out, routine);
    let Some(reply) = &routine.reply else {
        // As in C, a one-way message that nobody waits for still has its time-out among the arguments.
        for argument in routine.arguments.iter().filter(|a| a.role == Role::WaitTime) {
            let _ = writeln!(out, "let _ = {};", ident(&argument.name));
        }
        let _ = writeln!(
            out,
            "transport.{}.map_err(RpcError::from_transport)\n}}",
            match how {
                None => "send(message_, size_, donation)".into(),
                Some(how) => format!("send_with(message_, size_, {how}, donation)"),
            }
        );
        return Ok(());
    };
    let _ = writeln!(
        out,
        "let size_ = transport.{}.map_err(RpcError::from_transport)?;",
        match how {
            None => "call(message_, size_, donation)".into(),
            Some(how) => format!("call_with(message_, size_, {how}, donation)"),
        }
    );
    if reply.items.len() == 1 {
        let _ = writeln!(out, "Decoder::bare_reply(message_, size_, id::{})\n}}", shout(&routine.name));
        return Ok(());
    }
    let _ = writeln!(
        out,
        "let mut decoder_ = Decoder::reply(message_, size_, id::{}, {})?;",
        shout(&routine.name),
        shape(reply)
    );
    let mut fields = String::new();
    for (item, index) in items_of(reply) {
        let argument = &routine.arguments[index];
        let name = ident(&argument.name);
        let mut value = match results(item, argument, reply, types) {
            Some(call) => format!("decoder_.{call}?"),
            None => decode(&item.wire, true, types),
        };
        if let Some(own) = words::user_type(argument, options) {
            value = format!("{own}::from({value})");
        }
        let _ = writeln!(out, "let {name} = {value};");
        let kept = keep(&item.wire, &name);
        let _ = if kept == name { write!(fields, "{name}, ") } else { write!(fields, "{name}: {kept}, ") };
    }
    out.push_str("decoder_.end()?;\n");
    let _ = writeln!(out, "Ok({} {{ {fields} }})\n}}", reply_name(routine));
    Ok(())
}
