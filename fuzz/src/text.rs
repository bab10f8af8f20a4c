//! The compiler under arbitrary text: nothing may crash it, and what it accepts must be whole.

use std::sync::OnceLock;

use mig_rs::model::{Complex, Message, Subsystem};
use mig_rs::{Compiled, EmitOptions, Options, Side, compile_text, emit, explain, id_rows, layout_rows};

/// Longest text that is tried, in bytes.
const MAX_TEXT: usize = 64 << 10;

/// Includes are found among the interfaces of the workspace.
pub(crate) fn options() -> &'static Options {
    static OPTIONS: OnceLock<Options> = OnceLock::new();
    OPTIONS.get_or_init(|| Options {
        include: vec![concat!(env!("CARGO_MANIFEST_DIR"), "/../libhurd/defs").into()],
        ..Options::default()
    })
}

/// The interface, or nothing: then there is something to say, and it can be said.
fn compiled(text: &str) -> Option<Compiled> {
    if text.len() > MAX_TEXT {
        return None;
    }
    match compile_text("fuzz.defs", text, options()) {
        Ok(compiled) => Some(compiled),
        Err(failure) => {
            assert!(
                !failure.diagnostics.is_empty() && !failure.to_string().is_empty(),
                "refused without a word"
            );
            None
        }
    }
}

/// Every table of an interface, as one text.
fn tables(subsystem: &Subsystem) -> String {
    let mut rows = id_rows(subsystem);
    rows.extend(layout_rows(subsystem, Side::User));
    rows.extend(layout_rows(subsystem, Side::Server));
    rows.extend(subsystem.routines.iter().map(explain));
    rows.join("\n")
}

/// The preprocessor: whatever is accepted means the same inside a conditional, and the part that is not taken does not matter.
pub fn preprocess(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    // What asks for its own line changes with what is put around it.
    if text.contains("__LINE__") {
        return;
    }
    let Some(plain) = compiled(&text) else { return };
    for wrapped in [
        format!("#if 1\n{text}\n#else\n( \" #if ' ] nonsense\n#endif\n"),
        format!("#ifdef __never__\n]]] {{\n#elif defined(__MACH__) && !0\n{text}\n#endif\n"),
        format!("#define never_used(a, b) a ## b )\n{text}\n#undef never_used\n"),
    ] {
        let Some(again) = compiled(&wrapped) else {
            // An unterminated comment swallows the end of the wrapping, as it may.
            assert!(ends_open(&text), "accepted, but not inside a conditional:\n{wrapped}");
            continue;
        };
        assert_eq!(tables(&plain.subsystem), tables(&again.subsystem), "another interface:\n{wrapped}");
    }
}

/// The text may end inside a comment, a string or a continued line.
fn ends_open(text: &str) -> bool {
    let last = text.lines().last().unwrap_or_default();
    text.rfind("/*") > text.rfind("*/") || last.contains(['"', '\'', '\\']) || last.contains("//")
}

/// The parser: whatever it accepts can be shown in every form.
pub fn parse(data: &[u8]) {
    if let Some(accepted) = compiled(&String::from_utf8_lossy(data)) {
        check_layout(&accepted.subsystem);
    }
}

/// The layouter, on definitions made from a grammar.
pub fn layout(data: &[u8]) {
    if let Some(accepted) = compiled(&crate::grammar::definitions(data)) {
        check_layout(&accepted.subsystem);
    }
}

/// The emitter, on definitions made from a grammar.
pub fn emitter(data: &[u8]) {
    if let Some(accepted) = compiled(&crate::grammar::definitions(data)) {
        check_layout(&accepted.subsystem);
        check_output(&accepted.subsystem);
    }
}

/// What every layout must satisfy.
fn check_layout(subsystem: &Subsystem) {
    let mut ids = Vec::new();
    let mut rows = 0;
    for routine in &subsystem.routines {
        let offset = routine.id.wrapping_sub(subsystem.base);
        assert!(
            (0..subsystem.count as i32).contains(&offset),
            "{}: id {} is outside",
            routine.name,
            routine.id
        );
        ids.push(routine.id);
        check_message(&routine.name, &routine.request);
        rows += 1;
        if let Some(reply) = &routine.reply {
            check_message(&routine.name, reply);
            let code = reply.items.first();
            assert!(
                code.is_some_and(|c| c.name == "RetCode" && c.type_offset == 32),
                "{}: the return code",
                routine.name
            );
            rows += 1;
        }
    }
    let routines = ids.len();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), routines, "an id is given twice");
    assert_eq!(layout_rows(subsystem, Side::User).len(), rows);
    assert_eq!(layout_rows(subsystem, Side::Server).len(), rows);
    assert!(!tables(subsystem).is_empty() || routines == 0);
}

fn check_message(name: &str, message: &Message) {
    let (mut min, mut max) = (32, 32);
    for item in &message.items {
        assert_eq!(item.type_offset, max, "{name}: {} is not behind the item before it", item.name);
        assert!(item.wire.min_data_length() <= item.wire.data_length());
        min += 8 + item.wire.min_data_length().next_multiple_of(8);
        max += 8 + item.wire.data_length().next_multiple_of(8);
    }
    assert_eq!((message.min, message.max), (min, max), "{name}: size");
    let rights = message.items.iter().any(|i| i.wire.carries_rights());
    assert!(message.complex != Complex::Never || !rights, "{name}: rights in a plain message");
}

/// What every output must satisfy: it is Rust, it is safe, it has both sides of every routine, and it is the same every time.
fn check_output(subsystem: &Subsystem) {
    let options = EmitOptions::default();
    let text = match emit(subsystem, "fuzz.defs", &options) {
        Ok(text) => text,
        // Names that differ in C and are one in Rust.
        Err(error) if error.message.contains("twice in Rust") => return,
        Err(error) => panic!("accepted, but not emitted: {error}"),
    };
    let file = syn::parse_file(&text).unwrap_or_else(|error| panic!("not Rust: {error}\n{text}"));
    assert!(!text.contains("unsafe "), "unsafe code:\n{text}");
    let (mut functions, mut methods) = (0, 0);
    for item in &file.items {
        match item {
            syn::Item::Fn(f)
                if f.sig.generics.params.len() == 1 && f.sig.inputs.len() >= 2 && is_client(f) =>
            {
                functions += 1
            }
            syn::Item::Trait(t) => methods += t.items.len(),
            _ => {}
        }
    }
    let routines = subsystem.routines.len();
    assert_eq!((functions, methods), (routines, routines), "client functions, server methods:\n{text}");
    assert_eq!(
        emit(subsystem, "fuzz.defs", &options).as_ref().ok(),
        Some(&text),
        "the output differs from run to run"
    );
}

/// A client function takes the transport first.
fn is_client(function: &syn::ItemFn) -> bool {
    matches!(function.sig.inputs.first(), Some(syn::FnArg::Typed(first))
        if matches!(&*first.pat, syn::Pat::Ident(name) if name.ident == "transport"))
}
