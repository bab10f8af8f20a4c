//! Server traits and demultiplexers.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use super::items::{decode, elem_of, encode_result, hex, max, server_type};
use super::rust::{camel, ident, plain, shout};
use super::translation::{incoming, outgoing};
use super::{EmitOptions, items_of, routine_doc, shape, translation, words};
use crate::layout::word;
use crate::model::{Argument, Placement, Role, Routine, Subsystem, Transfer};

pub(super) fn server_parameters(routine: &Routine, options: &EmitOptions) -> Vec<(String, String)> {
    let mut list = Vec::new();
    for argument in &routine.arguments {
        let name = ident(&argument.name);
        if let Some(translation) = incoming(argument, options) {
            list.push((name, format!("Self::{}", translation::own_type(translation))));
            continue;
        }
        match argument.role {
            Role::ReplyPort { server: true, .. } => list.push((name, options.types().port())),
            Role::In | Role::InOut => list.push((name, argument_type(argument, options))),
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

fn argument_type(argument: &Argument, options: &EmitOptions) -> String {
    let types = options.types();
    if let Some(own) = words::server_type(argument, options) {
        return own.into();
    }
    if argument.transfer == Transfer::Loan {
        return format!("Loan<'_, {}>", elem_of(&argument.wire, types));
    }
    server_type(&argument.wire, types)
}

fn decode_argument(argument: &Argument, options: &EmitOptions) -> String {
    let value = decode(&argument.wire, false, options.types());
    if let Some(own) = words::server_type(argument, options) {
        return format!("{own}::from({value})");
    }
    match (argument.transfer, argument.wire.placement) {
        (Transfer::Loan, Placement::OutOfLine) => format!("Loan::of_memory({value})"),
        (Transfer::Loan, _) => format!("Loan::new({value})"),
        _ => value,
    }
}

/// Replies up to that size may lie in the dispatcher's frame.
const SMALL_REPLY: u64 = 128;

/// The name of a routine's method.
fn method(routine: &Routine, options: &EmitOptions) -> String {
    ident(&format!("{}{}", options.prefix, routine.server_name))
}

pub(super) fn server(out: &mut String, subsystem: &Subsystem, options: &EmitOptions) -> Result<(), String> {
    let name = format!("{}Server", camel(&subsystem.name));
    translation::results(out, subsystem, &name, options);
    let _ = writeln!(
        out,
        "#[doc = {:?}]\n///\n/// A method that is not implemented answers `MIG_BAD_ID`. Errors are `kern_return_t` or Hurd errno codes.\n\
         /// `impl {name} for &Server` serves from shared state.\n#[allow(unused_variables)]\npub trait {name} {{",
        format!(" What a server of `{}` does.", subsystem.name)
    );
    translation::items(out, subsystem, options)?;
    for routine in &subsystem.routines {
        routine_doc(out, routine);
        let result =
            if routine.reply.is_some() { translation::result_type(routine, options) } else { "()".into() };
        let parameters: String =
            server_parameters(routine, options).iter().map(|(n, t)| format!(", {n}: {t}")).collect();
        let _ = writeln!(
            out,
            "fn {}(&mut self, request: &Request<'_>{parameters}) -> Result<{result}, i32> {{ Err(-303) }}",
            method(routine, options)
        );
    }
    out.push_str("}\n");
    let overloaded = translation::overloaded(subsystem, options);
    for routine in &subsystem.routines {
        serve(out, routine, &name, &overloaded, options);
    }
    let _ = writeln!(
        out,
        "/// Serves a request that was received; the reply, if any, is in `reply`, which should have room for [`MAX_REPLY`] bytes.\n\
         #[inline]\n\
         pub fn dispatch<S: {name} + ?Sized>(server: &mut S, request: &[u8], reply: &mut [u8]) -> Outcome {{\n\
         match Request::new(Mode::Received, request) {{ Some(request) => dispatch_::<S, false>(server, &request, reply), None => Outcome::NotMine }}\n}}\n\
         /// As [`dispatch`], for the kernel, which reads its caller's own words.\n\
         pub fn dispatch_raw<S: {name} + ?Sized>(server: &mut S, request: &[u8], reply: &mut [u8]) -> Outcome {{\n\
         match Request::new(Mode::Raw, request) {{ Some(request) => dispatch_::<S, true>(server, &request, reply), None => Outcome::NotMine }}\n}}\n\
         /// As [`dispatch`], in the given mode.\n\
         pub fn dispatch_as<S: {name} + ?Sized>(server: &mut S, mode: Mode, request: &[u8], reply: &mut [u8]) -> Outcome {{\n\
         match mode {{ Mode::Received => dispatch(server, request, reply), Mode::Raw => dispatch_raw(server, request, reply) }}\n}}\n\
         /// As [`dispatch`], of a request of which its receiver may know what was offered.\n\
         #[inline]\n\
         pub fn dispatch_request<S: {name} + ?Sized>(server: &mut S, request: &Request<'_>, reply: &mut [u8]) -> Outcome {{\n\
         if request.mode == Mode::Raw {{ return raw_(server, request, reply); }}\n\
         dispatch_::<S, false>(server, request, reply)\n}}\n\
         #[cold]\n#[inline(never)]\n\
         fn raw_<S: {name} + ?Sized>(server: &mut S, request: &Request<'_>, reply: &mut [u8]) -> Outcome {{\n\
         dispatch_::<S, true>(server, request, reply)\n}}\n\
         #[inline(always)]\n\
         fn dispatch_<S: {name} + ?Sized, const RAW: bool>(server: &mut S, request: &Request<'_>, reply: &mut [u8]) -> Outcome {{\n\
         match request.header.id {{"
    );
    for routine in &subsystem.routines {
        let function = format!("serve_{}", plain(&routine.name));
        let constant = shout(&routine.name);
        let _ = writeln!(out, "id::{constant} => {function}::<S, RAW>(server, request, reply),");
    }
    out.push_str("_ => Outcome::NotMine,\n}\n}\n");
    let max =
        subsystem.routines.iter().filter_map(|r| r.reply.as_ref()).map(|r| r.max).max().unwrap_or(0).max(48);
    let _ = writeln!(out, "/// Bytes of the largest reply.\npub const MAX_REPLY: usize = {max};");
    let max = subsystem.routines.iter().map(|r| r.request.max).max().unwrap_or(32);
    let _ = writeln!(out, "/// Bytes of the largest request.\npub const MAX_REQUEST: usize = {max};");
    if let Some(demux) = &subsystem.server_demux {
        let demux = ident(&format!("{}{demux}", options.prefix));
        let _ = writeln!(
            out,
            "/// The interface's own name for [`dispatch`].\n\
             pub fn {demux}<S: {name} + ?Sized>(server: &mut S, request: &[u8], reply: &mut [u8]) -> Outcome {{\n\
             dispatch(server, request, reply)\n}}"
        );
    }
    Ok(())
}

/// The function that decodes one request, calls the method and encodes its reply.
pub(super) fn serve(
    out: &mut String,
    routine: &Routine,
    server: &str,
    overloaded: &BTreeSet<String>,
    options: &EmitOptions,
) {
    let types = options.types();
    let buffer = if routine.reply.is_some() { ", buffer_: &mut [u8]" } else { "" };
    // One frame per routine with a large reply: otherwise the dispatcher's frame would hold all of them. The request is in
    // memory then; elsewhere it need not be.
    let large = routine.reply.as_ref().is_some_and(|r| r.max > SMALL_REPLY);
    let empty = routine.request.items.is_empty() && routine.reply.as_ref().is_none_or(|r| r.items.len() <= 1);
    if large {
        out.push_str("#[inline(never)]\n");
    } else if empty {
        out.push_str("#[inline(always)]\n");
    }
    let refuse = if large { "error" } else { "refuse::<RAW>" };
    let name = plain(&routine.name);
    let head = format!(
        "<S: {server} + ?Sized, const RAW: bool>(server_: &mut S, this_: &Request<'_>, buffer_: &mut [u8])"
    );
    let argument = if routine.reply.is_some() { ", buffer_" } else { "" };
    let _ = writeln!(
        out,
        "fn serve_{name}{head} -> Outcome {{\n\
         match try_{name}::<S, RAW>(server_, this_{argument}) {{ Ok(outcome) => outcome, Err(code) => this_.{refuse}(code, buffer_) }}\n}}\n#[inline(always)]"
    );
    let _ = writeln!(
        out,
        "fn try_{name}<S: {server} + ?Sized, const RAW: bool>(server_: &mut S, this_: &Request<'_>{buffer}) -> Result<Outcome, i32> {{"
    );
    let mutable = if routine.request.items.is_empty() { "" } else { "mut " };
    let _ = writeln!(out, "let {mutable}decoder_ = this_.body::<RAW>({})?;", shape(&routine.request));
    for (item, index) in items_of(&routine.request) {
        let argument = &routine.arguments[index];
        if item.is_count {
            // As in MIG, a client's room is never more than the interface's.
            let _ = writeln!(
                out,
                "let {} = decoder_.value::<u32>({})?.min({});",
                ident(&format!("{}_count", argument.name)),
                hex(word(&item.wire, item.wire.receive)),
                max(&argument.wire)
            );
        } else {
            let _ = writeln!(out, "let {} = {};", ident(&argument.name), decode_argument(argument, options));
        }
    }
    out.push_str("decoder_.end()?;\n");
    if routine.donation.is_some() {
        let name = if retains(routine) { "retain_" } else { "_" };
        let _ = writeln!(out, "let {name} = this_.admit(&{})?;", super::donation::bounds(routine));
    }
    let mut arguments = String::new();
    for argument in &routine.arguments {
        // Everything has been checked by now, so that no translation runs for a request that is refused.
        if let Some(translation) = incoming(argument, options) {
            let _ =
                writeln!(out, "{}", translation::translate_in(argument, translation, overloaded, options));
            if argument.role == Role::RequestPort {
                let _ = write!(arguments, ", {}", ident(&argument.name));
            }
        }
        match argument.role {
            Role::ReplyPort { server: true, .. } if types.right.is_some() => {
                arguments.push_str(", this_.reply_right()");
            }
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
    let call = format!("server_.{}(this_{arguments})", method(routine, options));
    let Some(reply) = &routine.reply else {
        // Nobody waits for the code of a one-way message.
        let _ = writeln!(out, "let _ = {call};\nOk(Outcome::NoReply)\n}}");
        return;
    };
    // Once the reply is begun, an error of the method is written into it: nothing of the request is needed for that.
    let size = if reply.is_variable() { "None".into() } else { format!("Some({})", reply.max) };
    let mutable = if reply.items.len() > 1 { "mut " } else { "" };
    // Begun before the method runs: what the reply needs of the request need not be kept while it does.
    let _ = writeln!(out, "let {mutable}encoder_ = this_.reply::<RAW>(buffer_, {size})?;");
    if reply.items.len() > 1 {
        // A reply may be large: it is read where the method has put it, unless it must be taken apart.
        let taken = super::outs(routine)
            .any(|a| outgoing(a, options).is_some() || words::server_type(a, options).is_some());
        let _ = if taken {
            writeln!(
                out,
                "let out_ = match {call} {{ Ok(out_) => out_, Err(code) => return Ok(encoder_.fail(code)) }};"
            )
        } else {
            writeln!(
                out,
                "let result_ = {call};\nlet out_ = match &result_ {{ Ok(out_) => out_, Err(code) => return Ok(encoder_.fail(*code)) }};"
            )
        };
        for argument in super::outs(routine) {
            if let Some((translation, outtran)) =
                outgoing(argument, options).and_then(|t| Some((t, t.outtran.as_deref()?)))
            {
                let name = ident(&argument.name);
                let function = translation::function(outtran, translation, overloaded);
                let _ = writeln!(out, "let {name} = server_.{function}(out_.{name})?;");
            }
        }
        for (item, index) in items_of(reply) {
            let argument = &routine.arguments[index];
            let name = ident(&argument.name);
            let field = if outgoing(argument, options).is_some() {
                name
            } else if words::server_type(argument, options).is_some() {
                format!("{}::from(out_.{name})", words::wire_type(argument, options))
            } else {
                format!("out_.{name}")
            };
            let _ = writeln!(out, "encoder_.{}?;", encode_result(&item.wire, &field, types));
        }
        out.push_str("Ok(Outcome::Reply(encoder_.end()?))\n}\n");
    } else {
        let _ = writeln!(
            out,
            "if let Err(code) = {call} {{ return Ok(encoder_.fail(code)); }}\nOk(Outcome::Reply(encoder_.end()?))\n}}"
        );
    }
}
