//! Server traits and demultiplexers.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use super::items::{decode, elem_of, encode_result, hex, max, server_type};
use super::rust::{camel, ident, plain, shout};
use super::translation::{incoming, outgoing};
use super::{EmitOptions, Types, in_place, items_of, returned, routine_doc, shape, translation, words};
use crate::layout::word;
use crate::model::{Argument, Placement, Role, Routine, Subsystem, Transfer};
use crate::source::Diagnostic;

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
    for (argument, size, _) in in_place(routine) {
        list.push((ident(&argument.name), format!("&mut Text<{size}>")));
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

/// The expression for the reply port.
pub(super) fn reply_port(options: &EmitOptions) -> &'static str {
    if options.types().right.is_some() { "this_.reply_right()" } else { "this_.reply_port()" }
}

/// The name of a routine's method.
fn method(routine: &Routine, options: &EmitOptions) -> String {
    ident(&format!("{}{}", options.prefix, routine.server_name))
}

pub(super) fn server(
    out: &mut String,
    subsystem: &Subsystem,
    options: &EmitOptions,
) -> Result<(), Box<Diagnostic>> {
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
        let types = Types { kernel_serves: subsystem.kernel_server, ..options.types() };
        serve(out, routine, &name, &overloaded, options, types);
    }
    let demultiplexer = demultiplexer(subsystem);
    if demultiplexer.contains("not_mine_") {
        let _ = writeln!(
            out,
            "fn not_mine_<S: {name} + ?Sized>(_: &mut S, _: &Request<'_>, _: &mut [u8]) -> Outcome {{ Outcome::NotMine }}"
        );
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
         #[inline(always)]\n\
         pub fn dispatch_as<S: {name} + ?Sized>(server: &mut S, mode: Mode, request: &[u8], reply: &mut [u8]) -> Outcome {{\n\
         match Request::new(mode, request) {{ Some(request) => dispatch_request(server, &request, reply), None => Outcome::NotMine }}\n}}\n\
         /// As [`dispatch`], of a request of which its receiver may know what was offered.\n\
         #[inline(always)]\n\
         pub fn dispatch_request<S: {name} + ?Sized>(server: &mut S, request: &Request<'_>, reply: &mut [u8]) -> Outcome {{\n\
         match request.mode {{\n\
         Mode::Received => demultiplex_::<S, false, false>(server, request, reply),\n\
         Mode::Clean => demultiplex_::<S, false, true>(server, request, reply),\n\
         Mode::Raw => demultiplex_::<S, true, false>(server, request, reply),\n}}\n}}\n\
         #[inline]\n\
         fn demultiplex_<S: {name} + ?Sized, const RAW: bool, const CLEAN: bool>(server: &mut S, request: &Request<'_>, reply: &mut [u8]) -> Outcome {{\n\
         {demultiplexer}\n}}"
    );
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

/// Above so many ids for one routine a table of all ids is not worth its room.
const SPARSE: usize = 4;

/// Picks the routine: from a table, as MIG does, or one by one where routines are few or their ids far apart.
fn demultiplexer(subsystem: &Subsystem) -> String {
    let routines = &subsystem.routines;
    let entry = |routine: &Routine| format!("serve_{}_::<S, RAW, CLEAN>", plain(&routine.name));
    let span = routines.iter().map(|r| i64::from(r.id) - i64::from(subsystem.base) + 1).max().unwrap_or(0);
    let span = usize::try_from(span).unwrap_or(usize::MAX);
    if routines.len() < 4 || span > routines.len().saturating_mul(SPARSE) {
        let arms: String = routines
            .iter()
            .map(|r| format!("id::{} => {}(server, request, reply),\n", shout(&r.name), entry(r)))
            .collect();
        return format!("match request.header().id {{\n{arms}_ => Outcome::NotMine,\n}}");
    }
    let mut table = vec!["not_mine_::<S>".to_string(); span];
    for routine in routines {
        let at = i64::from(routine.id) - i64::from(subsystem.base);
        if let Some(slot) = usize::try_from(at).ok().and_then(|at| table.get_mut(at)) {
            *slot = entry(routine);
        }
    }
    format!(
        "let table_: [fn(&mut S, &Request<'_>, &mut [u8]) -> Outcome; {span}] = const {{ [{}] }};\n\
         match table_.get(request.header().id.wrapping_sub(BASE) as u32 as usize) {{\n\
         Some(serve_) => serve_(server, request, reply),\nNone => Outcome::NotMine,\n}}",
        table.join(", ")
    )
}

/// The function that decodes one request, calls the method and encodes its reply.
pub(super) fn serve(
    out: &mut String,
    routine: &Routine,
    server: &str,
    overloaded: &BTreeSet<String>,
    options: &EmitOptions,
    types: Types<'_>,
) {
    // One frame per routine with a large reply: otherwise the dispatcher's frame would hold all of them.
    let large = routine.reply.as_ref().is_some_and(|r| r.max > SMALL_REPLY);
    let empty = routine.request.items.is_empty() && routine.reply.as_ref().is_none_or(|r| r.items.len() <= 1);
    if large {
        out.push_str("#[inline(never)]\n");
    } else if empty {
        out.push_str("#[inline(always)]\n");
    }
    let name = plain(&routine.name);
    let generics = format!(
        "<S: {server} + ?Sized, const RAW: bool, const CLEAN: bool>(server_: &mut S, this_: &Request<'_>"
    );
    let _ = writeln!(out, "fn serve_{name}_{generics}, buffer_: &mut [u8]) -> Outcome {{");
    let places = in_place(routine);
    if let Some(reply) = &routine.reply {
        // Begun before anything else: errors are written into it, and nothing of the request need be kept for them.
        let size = if reply.is_variable() { "None".into() } else { format!("Some({})", reply.max) };
        let _ = writeln!(
            out,
            "let Ok(mut encoder_) = this_.reply::<RAW, CLEAN>(buffer_, {size}, id::{}) else {{ return this_.no_room(buffer_) }};\n\
             match try_{name}_::<S, RAW, CLEAN>(server_, this_, &mut encoder_) {{ Ok(size_) => Outcome::Reply(size_), Err(code) => encoder_.fail(code) }}\n}}\n\
             #[inline(always)]\n\
             fn try_{name}_{generics}, encoder_: &mut Encoder<'_>) -> Result<usize, i32> {{",
            shout(&routine.name)
        );
    } else {
        let _ = writeln!(
            out,
            "match try_{name}_::<S, RAW, CLEAN>(server_, this_) {{ Ok(()) => Outcome::NoReply, Err(code) => this_.error(code, buffer_) }}\n}}\n\
             #[inline(always)]\n\
             fn try_{name}_{generics}) -> Result<(), i32> {{"
        );
    }
    let mutable = if routine.request.items.is_empty() { "" } else { "mut " };
    let _ = writeln!(out, "let {mutable}decoder_ = this_.body::<RAW>({})?;", shape(&routine.request));
    if !places.is_empty() {
        out.push_str("let mut places_ = encoder_.places();\n");
    }
    for (argument, size, at) in &places {
        let _ = writeln!(out, "let {} = places_.text::<{size}>({at})?;", ident(&argument.name));
    }
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
        let name = if retains(routine) { "kept_" } else { "_" };
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
            Role::ReplyPort { server: true, .. } if incoming(argument, options).is_some() => {
                let _ = write!(arguments, ", {}", ident(&argument.name));
            }
            Role::ReplyPort { server: true, .. } => {
                let _ = write!(arguments, ", {}", reply_port(options));
            }
            Role::In | Role::InOut => {
                let _ = write!(arguments, ", {}", ident(&argument.name));
            }
            _ => {}
        }
        if argument.count_in_out {
            let _ = write!(arguments, ", {}", ident(&format!("{}_count", argument.name)));
        }
    }
    for (argument, ..) in &places {
        let _ = write!(arguments, ", {}", ident(&argument.name));
    }
    if retains(routine) {
        arguments.push_str(", kept_");
    }
    let call = format!("server_.{}(this_{arguments})", method(routine, options));
    let Some(reply) = &routine.reply else {
        // Nobody waits for the code of a one-way message.
        let _ = writeln!(out, "let _ = {call};\nOk(())\n}}");
        return;
    };
    let returned = returned(routine);
    if returned.is_empty() {
        let _ = writeln!(out, "{call}?;");
    } else {
        // A reply may be large: it is read where the method has put it, unless it must be taken apart.
        let taken = returned
            .iter()
            .any(|a| outgoing(a, options).is_some() || words::server_type(a, options).is_some());
        let _ = if taken {
            writeln!(out, "let out_ = {call}?;")
        } else {
            writeln!(
                out,
                "let result_ = {call};\nlet out_ = match &result_ {{ Ok(out_) => out_, Err(code) => return Err(*code) }};"
            )
        };
        for argument in &returned {
            if let Some((translation, outtran)) =
                outgoing(argument, options).and_then(|t| Some((t, t.outtran.as_deref()?)))
            {
                let name = ident(&argument.name);
                let function = translation::function(outtran, translation, overloaded);
                let _ = writeln!(out, "let {name} = server_.{function}(out_.{name})?;");
            }
        }
    }
    for (item, index) in items_of(reply) {
        let argument = &routine.arguments[index];
        if let Some((_, size, _)) = places.iter().find(|(place, ..)| std::ptr::eq(*place, argument)) {
            let _ = writeln!(out, "encoder_.text({}, {size})?;", hex(word(&item.wire, item.wire.send)));
            continue;
        }
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
    out.push_str("Ok(encoder_.end()?)\n}\n");
}
