//! Server traits and demultiplexers.

use std::fmt::Write as _;

use super::items::{decode, elem_of, encode_result, hex, max, server_type};
use super::rust::{camel, ident, plain, shout};
use super::{items_of, reply_name, routine_doc, shape};
use crate::layout::word;
use crate::model::{Argument, Placement, Role, Routine, Subsystem, Transfer};

pub(super) fn server_parameters(routine: &Routine, types: Option<&str>) -> Vec<(String, String)> {
    let mut list = Vec::new();
    for argument in &routine.arguments {
        let name = ident(&argument.name);
        match argument.role {
            Role::ReplyPort { server: true, .. } => list.push((name, "Port".into())),
            Role::In | Role::InOut => list.push((name, argument_type(argument, types))),
            _ => {}
        }
        if argument.count_in_out {
            list.push((ident(&format!("{}_count", argument.name)), "u32".into()));
        }
    }
    if retains(routine) {
        list.push(("retain".into(), "Retain".into()));
    }
    list
}

/// The method may retain something of the caller's, and says so.
fn retains(routine: &Routine) -> bool {
    routine.donation.is_some_and(|d| d.retains() > 0)
}

fn argument_type(argument: &Argument, types: Option<&str>) -> String {
    if argument.transfer == Transfer::Loan {
        return format!("Loan<'_, {}>", elem_of(&argument.wire, types));
    }
    server_type(&argument.wire, types)
}

fn decode_argument(argument: &Argument, types: Option<&str>) -> String {
    let value = decode(&argument.wire, false, types);
    match (argument.transfer, argument.wire.placement) {
        (Transfer::Loan, Placement::OutOfLine) => format!("Loan::of_memory({value})"),
        (Transfer::Loan, _) => format!("Loan::new({value})"),
        _ => value,
    }
}

pub(super) fn server(out: &mut String, subsystem: &Subsystem, types: Option<&str>) {
    let name = format!("{}Server", camel(&subsystem.name));
    let _ = writeln!(
        out,
        "#[doc = {:?}]\n///\n/// A method that is not implemented answers `MIG_BAD_ID`. Errors are `kern_return_t` or Hurd errno codes.\n\
         /// `impl {name} for &Server` serves from shared state.\n#[allow(unused_variables)]\npub trait {name} {{",
        format!(" What a server of `{}` does.", subsystem.name)
    );
    for routine in &subsystem.routines {
        routine_doc(out, routine);
        let result = if routine.reply.is_some() { reply_name(routine) } else { "()".into() };
        let parameters: String =
            server_parameters(routine, types).iter().map(|(n, t)| format!(", {n}: {t}")).collect();
        let _ = writeln!(
            out,
            "fn {}(&mut self, request: &Request<'_>{parameters}) -> Result<{result}, i32> {{ Err(-303) }}",
            ident(&routine.name)
        );
    }
    out.push_str("}\n");
    for routine in &subsystem.routines {
        serve(out, routine, &name, types);
    }
    let _ = writeln!(
        out,
        "/// Serves a request that was received; the reply, if any, is in `reply`, which should have room for [`MAX_REPLY`] bytes.\n\
         pub fn dispatch<S: {name} + ?Sized>(server: &mut S, request: &[u8], reply: &mut [u8]) -> Outcome {{\n\
         dispatch_as(server, Mode::Received, request, reply)\n}}\n\
         /// As [`dispatch`], for the kernel, which reads its caller's own words.\n\
         pub fn dispatch_raw<S: {name} + ?Sized>(server: &mut S, request: &[u8], reply: &mut [u8]) -> Outcome {{\n\
         dispatch_as(server, Mode::Raw, request, reply)\n}}\n\
         /// As [`dispatch`], in the given mode.\n\
         pub fn dispatch_as<S: {name} + ?Sized>(server: &mut S, mode: Mode, request: &[u8], reply: &mut [u8]) -> Outcome {{\n\
         match Request::new(mode, request) {{ Some(request) => dispatch_request(server, &request, reply), None => Outcome::NotMine }}\n}}\n\
         /// As [`dispatch`], of a request of which its receiver may know what was offered.\n\
         pub fn dispatch_request<S: {name} + ?Sized>(server: &mut S, request: &Request<'_>, reply: &mut [u8]) -> Outcome {{\n\
         match request.header.id {{"
    );
    for routine in &subsystem.routines {
        let function = format!("serve_{}", plain(&routine.name));
        let constant = shout(&routine.name);
        if routine.reply.is_some() {
            let _ = writeln!(
                out,
                "id::{constant} => {{ let result = {function}(server, request, reply); request.outcome(result, reply) }}"
            );
        } else {
            let _ = writeln!(
                out,
                "id::{constant} => match {function}(server, request) {{ Ok(()) => Outcome::NoReply, Err(code) => request.error(code, reply) }},"
            );
        }
    }
    out.push_str("_ => Outcome::NotMine,\n}\n}\n");
    let max =
        subsystem.routines.iter().filter_map(|r| r.reply.as_ref()).map(|r| r.max).max().unwrap_or(0).max(48);
    let _ = writeln!(out, "/// Bytes of the largest reply.\npub const MAX_REPLY: usize = {max};");
    let max = subsystem.routines.iter().map(|r| r.request.max).max().unwrap_or(32);
    let _ = writeln!(out, "/// Bytes of the largest request.\npub const MAX_REQUEST: usize = {max};");
}

/// The function that decodes one request, calls the method and encodes its reply.
pub(super) fn serve(out: &mut String, routine: &Routine, server: &str, types: Option<&str>) {
    let buffer = if routine.reply.is_some() { ", buffer_: &mut [u8]" } else { "" };
    let result = if routine.reply.is_some() { "usize" } else { "()" };
    // One frame per routine: otherwise the dispatcher's frame would hold the replies of all of them.
    out.push_str("#[inline(never)]\n");
    let _ = writeln!(
        out,
        "fn serve_{}<S: {server} + ?Sized>(server_: &mut S, this_: &Request<'_>{buffer}) -> Result<{result}, i32> {{",
        plain(&routine.name)
    );
    let mutable = if routine.request.items.is_empty() { "" } else { "mut " };
    let _ = writeln!(out, "let {mutable}decoder_ = this_.body({})?;", shape(&routine.request));
    for (item, index) in items_of(&routine.request) {
        let argument = &routine.arguments[index];
        if item.is_count {
            // As in MIG, a client's room is never more than the interface's.
            let _ = writeln!(
                out,
                "let {} = decoder_.value::<u32>({})?.min({});",
                ident(&format!("{}_count", argument.name)),
                hex(word(&item.wire, item.wire.receive)),
                argument.wire.number.max(max(&argument.wire))
            );
        } else {
            let _ = writeln!(out, "let {} = {};", ident(&argument.name), decode_argument(argument, types));
        }
    }
    out.push_str("decoder_.end()?;\n");
    if routine.donation.is_some() {
        let name = if retains(routine) { "retain_" } else { "_" };
        let _ = writeln!(out, "let {name} = this_.admit(&{})?;", super::donation::bounds(routine));
    }
    let mut arguments = String::new();
    for argument in &routine.arguments {
        match argument.role {
            Role::ReplyPort { server: true, .. } => arguments.push_str(", this_.reply_port()"),
            Role::In | Role::InOut => {
                let _ = write!(arguments, ", {}", ident(&argument.name));
            }
            _ => {}
        }
        if argument.count_in_out {
            let _ = write!(arguments, ", {}", ident(&format!("{}_count", argument.name)));
        }
    }
    if retains(routine) {
        arguments.push_str(", retain_");
    }
    let call = format!("server_.{}(this_{arguments})", ident(&routine.name));
    let Some(reply) = &routine.reply else {
        // Nobody waits for the code of a one-way message.
        let _ = writeln!(out, "let _ = {call};\nOk(())\n}}");
        return;
    };
    if reply.items.len() > 1 {
        let _ = writeln!(out, "let out_ = {call}?;\nlet mut encoder_ = this_.reply(buffer_)?;");
        for (item, index) in items_of(reply) {
            let field = format!("out_.{}", ident(&routine.arguments[index].name));
            let _ = writeln!(out, "encoder_.{}?;", encode_result(&item.wire, &field, types));
        }
        out.push_str("Ok(this_.finish(encoder_)?)\n}\n");
    } else {
        let _ =
            writeln!(out, "{call}?;\nlet encoder_ = this_.reply(buffer_)?;\nOk(this_.finish(encoder_)?)\n}}");
    }
}
