//! From statements to the model: names looked up, ids given, rules checked.

mod donation;
mod special;
mod translation;
mod types;

use translation::CTypes;

use std::collections::{HashMap, HashSet};
use std::rc::Rc;

use crate::ast::{self, Direction, Flag, Statement};
use crate::layout::{reply, request};
use crate::model::{
    Argument, Dealloc, Donation, Placement, Role, Routine, Shape, StructDef, Subsystem, Transfer, Wire, msgt,
};
use crate::near::distance;
use crate::parse::Parsed;
use crate::source::{Diagnostic, Span};

/// Reply ids are request ids + 100: a subsystem with more ids answers with its own requests.
const MAX_IDS: u32 = 100;

/// Most routines of an interface.
const MAX_ROUTINES: usize = 2000;
/// Most arguments of a routine.
const MAX_ARGUMENTS: usize = 1000;

/// What statements have said so far about the routines that follow, and about the output as a whole.
#[derive(Default)]
struct Words {
    server_prefix: String,
    user_prefix: String,
    wait_time: Option<ast::Expression>,
    msg_option: Option<ast::Expression>,
    server_demux: Option<String>,
    rcsid: Option<String>,
}

pub(crate) struct Checker {
    types: HashMap<String, (Wire, Span)>,
    c_types: HashMap<String, CTypes>,
    /// Types whose definition is wrong.
    broken: HashSet<String>,
    /// A subsystem may be there that was not seen.
    no_subsystem: bool,
    /// There are too many routines, which has been said.
    crowded: bool,
    /// Something is missing, so an unknown name may be right.
    partial: bool,
    /// Something was left out because of a broken type.
    incomplete: bool,
    structs: Vec<Rc<StructDef>>,
    struct_names: HashSet<String>,
    /// How deep structs are in structs.
    struct_depths: HashMap<String, usize>,
    subsystem: Option<Subsystem>,
    next: i64,
    names: HashMap<String, Span>,
    imports: Vec<(ast::Sides, String)>,
    donation: Option<Donation>,
    words: Words,
    pub(crate) diagnostics: Vec<Diagnostic>,
    first_routine: Option<Span>,
    first_type: Option<Span>,
    last: Option<Span>,
}

/// The model, or what is wrong. `None` without an error means a file without subsystem.
///
/// `partial`: something is missing that the file includes, which has been said already.
pub(crate) fn check(parsed: Parsed, partial: bool) -> (Option<Subsystem>, Vec<Diagnostic>) {
    let mut checker = Checker {
        partial,
        no_subsystem: partial || parsed.lost_subsystem,
        crowded: false,
        types: HashMap::new(),
        c_types: HashMap::new(),
        broken: parsed.lost_types.into_iter().collect(),
        incomplete: false,
        structs: Vec::new(),
        struct_names: HashSet::new(),
        struct_depths: HashMap::new(),
        subsystem: None,
        next: 0,
        names: HashMap::new(),
        imports: Vec::new(),
        donation: None,
        words: Words::default(),
        diagnostics: Vec::new(),
        first_routine: None,
        first_type: None,
        last: None,
    };
    // The built-in types belong to the language, so that type files can be checked by themselves.
    checker.builtins();
    for statement in &parsed.statements {
        checker.statement(statement);
    }
    checker.finish()
}

impl Checker {
    fn finish(mut self) -> (Option<Subsystem>, Vec<Diagnostic>) {
        match self.subsystem.take() {
            Some(mut subsystem) => {
                subsystem.count = u32::try_from(self.next).unwrap_or(u32::MAX);
                subsystem.structs = self.structs;
                subsystem.imports = self.imports;
                subsystem.server_demux = self.words.server_demux;
                subsystem.rcsid = self.words.rcsid;
                (Some(subsystem), self.diagnostics)
            }
            None if self.no_subsystem => (None, self.diagnostics),
            // That routines come before any subsystem has been said.
            None if self.first_routine.is_some() => (None, self.diagnostics),
            None => {
                let d = match self.last {
                    Some(span) => Diagnostic::error(span, "no subsystem here; this file only defines types"),
                    None => Diagnostic::general("no subsystem here; this file is empty"),
                };
                self.diagnostics.push(
                    d.note("stubs belong to a subsystem, which gives its routines their message ids")
                        .help("compile a file that includes this one and has a `subsystem` statement"),
                );
                (None, self.diagnostics)
            }
        }
    }

    fn statement(&mut self, statement: &Statement) {
        match statement {
            Statement::Subsystem { name, base, kernel_user, kernel_server, doc } => {
                self.last = Some(name.span);
                if self.subsystem.is_some() {
                    self.diagnostics.push(
                        Diagnostic::error(name.span, "a second subsystem in one compilation")
                            .help("put it into a file of its own"),
                    );
                    return;
                }
                if let Some(routine) = self.first_routine {
                    self.diagnostics.push(
                        Diagnostic::error(name.span, "the subsystem comes after a routine")
                            .related(routine, "this routine has no id yet")
                            .help("move the `subsystem` statement to the front"),
                    );
                }
                if let Some(first) = self.first_type {
                    self.diagnostics.push(
                        Diagnostic::error(name.span, "the subsystem comes after a type")
                            .related(first, "this type")
                            .note("the subsystem statement brings the built-in types")
                            .help("move the `subsystem` statement to the front"),
                    );
                }
                self.subsystem = Some(Subsystem {
                    name: name.text.clone(),
                    base: *base,
                    count: 0,
                    kernel_user: *kernel_user,
                    kernel_server: *kernel_server,
                    doc: doc.clone(),
                    routines: Vec::new(),
                    structs: Vec::new(),
                    imports: Vec::new(),
                    server_demux: None,
                    rcsid: None,
                });
            }
            Statement::Skip(count) => self.next += i64::from(*count),
            Statement::Type { name, spec, doc } => {
                self.last = Some(name.span);
                if let Some(&(_, before)) = self.types.get(&name.text) {
                    let mut d = Diagnostic::error(name.span, format!("type {} is defined twice", name.text));
                    d = if before.lo == before.hi {
                        d.note("it is built in")
                    } else {
                        d.related(before, "first here")
                    };
                    self.diagnostics
                        .push(d.help("rename one of them, or guard the included file with #ifndef"));
                    return;
                }
                self.first_type.get_or_insert(name.span);
                match self.type_spec(&name.text, name.span, spec, doc.clone()) {
                    Some(wire) => {
                        if let Some(c_types) = self.c_types(&name.text, name.span, spec, &wire) {
                            self.c_types.insert(name.text.clone(), c_types);
                        }
                        self.types.insert(name.text.clone(), (wire, name.span));
                    }
                    None => {
                        self.broken.insert(name.text.clone());
                    }
                }
            }
            Statement::Routine(routine) => self.routine(routine),
            Statement::Import { sides, file } => self.imports.push((*sides, file.clone())),
            Statement::DonationDefault(written) => {
                let donation = self.donation(self.donation, written);
                self.donation = Some(donation);
            }
            // These hold for the routines that follow.
            Statement::ServerPrefix(name) => self.words.server_prefix = name.text.clone(),
            Statement::UserPrefix(name) => self.words.user_prefix = name.text.clone(),
            Statement::WaitTime(time) => self.words.wait_time = time.clone(),
            Statement::MsgOption(option) => self.words.msg_option = Some(option.clone()),
            Statement::ServerDemux(name) => self.words.server_demux = Some(name.text.clone()),
            Statement::RcsId(text) => self.words.rcsid = Some(text.trim_matches('"').to_string()),
        }
    }

    fn routine(&mut self, written: &ast::Routine) {
        let place = written.name.span;
        self.last = Some(place);
        let number = self.next;
        self.next += 1;
        let base = match &self.subsystem {
            Some(subsystem) => subsystem.base,
            None => {
                if self.first_routine.is_none() && !self.no_subsystem {
                    self.first_routine = Some(place);
                    self.diagnostics.push(
                        Diagnostic::error(
                            place,
                            format!("routine {} before any subsystem", written.name.text),
                        )
                        .note("the subsystem gives routines their message ids")
                        .help("begin the file with `subsystem NAME BASE;`"),
                    );
                }
                0
            }
        };
        if number == i64::from(MAX_IDS) {
            self.diagnostics.push(
                Diagnostic::error(place, "more than 100 ids: requests collide with replies")
                    .warning()
                    .note("the reply to a request has the request's id + 100")
                    .help("put the rest into a subsystem of its own"),
            );
        }
        if let Some(&before) = self.names.get(&written.name.text) {
            self.diagnostics.push(
                Diagnostic::error(place, format!("routine {} is defined twice", written.name.text))
                    .related(before, "first here")
                    .help("rename one of them"),
            );
        } else {
            self.names.insert(written.name.text.clone(), place);
        }
        if self.names.len() > MAX_ROUTINES {
            if !std::mem::replace(&mut self.crowded, true) {
                self.diagnostics.push(
                    Diagnostic::error(place, format!("more than {MAX_ROUTINES} routines"))
                        .help("divide them among several subsystems"),
                );
            }
            return;
        }
        let Ok(id) = i32::try_from(i64::from(base) + number) else {
            self.diagnostics.push(
                Diagnostic::error(place, "the message id does not fit in 32 bits")
                    .note("ids count up from the subsystem's number, one for every routine and skip")
                    .help("begin lower, or skip less"),
            );
            return;
        };
        let donation = match &written.donation {
            Some(own) => Some(self.donation(self.donation, own)),
            None => self.donation,
        };
        let Some(arguments) = self.arguments(written) else { return };
        self.check_donation(written, &arguments);
        let routine = Routine {
            name: written.name.text.clone(),
            user_name: format!("{}{}", self.words.user_prefix, written.name.text),
            server_name: format!("{}{}", self.words.server_prefix, written.name.text),
            wait_time: self.words.wait_time.clone(),
            msg_option: self.words.msg_option.clone(),
            span: written.span,
            id,
            request: request(&arguments),
            reply: (!written.simple).then(|| reply(&arguments)),
            arguments,
            donation,
            doc: written.doc.clone(),
        };
        if let Some(subsystem) = &mut self.subsystem {
            subsystem.routines.push(routine);
        }
    }

    fn arguments(&mut self, written: &ast::Routine) -> Option<Vec<Argument>> {
        if let Some(extra) = written.arguments.get(MAX_ARGUMENTS) {
            self.diagnostics.push(
                Diagnostic::error(extra.name.span, format!("more than {MAX_ARGUMENTS} arguments"))
                    .note("a routine's arguments are parameters of a function")
                    .help("put some of them into a struct or an array"),
            );
            return None;
        }
        let before = self.errors();
        self.incomplete = false;
        let mut seen: HashMap<&str, Span> = HashMap::new();
        let mut arguments: Vec<Argument> = Vec::new();
        for argument in &written.arguments {
            if let Some(&first) = seen.get(argument.name.text.as_str()) {
                self.diagnostics.push(
                    Diagnostic::error(
                        argument.name.span,
                        format!("two arguments are named {}", argument.name.text),
                    )
                    .related(first, "first here")
                    .help("rename one of them"),
                );
            }
            seen.insert(&argument.name.text, argument.name.span);
            let first = !arguments.iter().any(|a| a.role == Role::RequestPort);
            let Some(checked) = self.argument(written, first, argument) else { continue };
            self.only_one(&mut arguments, &checked);
            arguments.push(checked);
        }
        self.special_arguments(&arguments);
        let complete = self.errors() == before && !self.incomplete;
        if complete && !arguments.iter().any(|a| a.role == Role::RequestPort) {
            self.diagnostics.push(
                Diagnostic::error(
                    written.name.span,
                    format!("routine {} has no request port", written.name.text),
                )
                .note("the first argument without a direction is the port that the request goes to")
                .help("begin the arguments with `port : mach_port_t;`"),
            );
        }
        (complete && self.errors() == before).then_some(arguments)
    }

    /// One side of this interface is a kernel.
    fn in_kernel(&self) -> bool {
        self.subsystem.as_ref().is_some_and(|s| s.kernel_user || s.kernel_server)
    }

    fn errors(&self) -> usize {
        self.diagnostics.iter().filter(|d| d.severity == crate::source::Severity::Error).count()
    }

    fn argument(&mut self, routine: &ast::Routine, first: bool, written: &ast::Argument) -> Option<Argument> {
        let (mut wire, c_types) = match &written.spec {
            // It holds for this argument only.
            Some(spec) => {
                let name = &written.type_name;
                let wire = self.type_spec(&name.text, name.span, spec, None)?;
                let c_types = self.c_types(&name.text, name.span, spec, &wire);
                (wire, c_types)
            }
            None => {
                let wire = self.lookup(&written.type_name)?;
                (wire, self.c_types.get(&written.type_name.text).cloned())
            }
        };
        let c_types = c_types.unwrap_or_else(|| CTypes::named(&written.type_name.text));
        let role = match written.direction {
            Direction::None if first => Role::RequestPort,
            Direction::None | Direction::In => Role::In,
            Direction::Out => Role::Out,
            Direction::InOut => Role::InOut,
            Direction::RequestPort => Role::RequestPort,
            Direction::ReplyPort => Role::ReplyPort { user: true, server: true },
            Direction::SReplyPort => Role::ReplyPort { user: false, server: true },
            Direction::UReplyPort => Role::ReplyPort { user: true, server: false },
            Direction::WaitTime => Role::WaitTime,
            Direction::MsgOption => Role::MsgOption,
            Direction::MsgSeqno => Role::MsgSeqno,
        };
        let span = written.name.span;
        if routine.simple && role.in_reply() {
            self.diagnostics.push(
                Diagnostic::error(span, "a simpleroutine has no reply, so nothing can come out of it")
                    .help("make it a routine, or drop the argument"),
            );
            return None;
        }
        let (mut count_in_out, mut server_copy, mut transfer) = (false, false, Transfer::Unsaid);
        for &(flag, place) in &written.flags {
            match flag {
                Flag::CountInOut => {
                    // The number of elements that the client has room for is a number of elements that lie in the message.
                    count_in_out = role == Role::Out
                        && matches!(wire.shape, Shape::Variable(..))
                        && wire.placement != Placement::OutOfLine;
                    if !count_in_out {
                        self.diagnostics.push(
                            Diagnostic::error(place, "CountInOut without an array that comes out")
                                .warning()
                                .note("it makes the client send how many elements it has room for; here it has no effect")
                                .help("drop the flag"),
                        );
                    }
                }
                Flag::ServerCopy => server_copy = true,
                Flag::IsLong => wire.longform = Some(true),
                Flag::IsNotLong => wire.longform = Some(false),
                Flag::NotDealloc => wire.dealloc = Dealloc::No,
                Flag::RetCode => {}
                Flag::Copy | Flag::Loan | Flag::Gift => {
                    self.transfer(flag, place, role, &mut wire, &mut transfer);
                }
                Flag::Dealloc | Flag::DeallocDynamic => {
                    if wire.placement == Placement::Inline {
                        self.diagnostics.push(
                            Diagnostic::error(place, "Dealloc on data that never go out of line")
                                .warning()
                                .note("the bit is sent all the same, and a receiver checks it; today's kernels ignore it")
                                .help("drop the flag, or make the type `array[]` or `^`"),
                        );
                    }
                    wire.dealloc = if flag == Flag::Dealloc { Dealloc::Yes } else { Dealloc::Dynamic };
                }
            }
        }
        // Out of line names take 32 bits, where the long form of the descriptor says so; in the kernel a right is a pointer wherever
        // it is.
        if wire.placement == Placement::OutOfLine
            && wire.carries_rights()
            && !self.in_kernel()
            && wire.is_long()
        {
            wire.bits = 32;
        }
        if role == Role::InOut && wire.is_variable() && wire.placement != Placement::OutOfLine {
            self.diagnostics.push(
                Diagnostic::error(span, "an array of variable length inside the message cannot be inout")
                    .help("use one `in` and one `out` argument"),
            );
            return None;
        }
        Some(Argument {
            name: written.name.text.clone(),
            span,
            role,
            type_name: written.type_name.text.clone(),
            wire,
            count_in_out,
            server_copy,
            transfer,
            translation: c_types.translation,
            user_type: c_types.user,
            server_type: c_types.server,
            text: written.text.clone(),
        })
    }

    fn lookup(&mut self, name: &ast::Name) -> Option<Wire> {
        if let Some((wire, _)) = self.types.get(&name.text) {
            return Some(wire.clone());
        }
        // What is wrong with it has been said where it is defined, or where that is missing.
        if self.partial || self.broken.contains(&name.text) {
            self.incomplete = true;
            return None;
        }
        let mut diagnostic = Diagnostic::error(name.span, format!("no type {} has been defined", name.text))
            .note("a type must be defined before it is used");
        // Nobody reads more suggestions than findings.
        let known =
            self.types.keys().take(if self.diagnostics.len() < crate::MAX_SHOWN { usize::MAX } else { 0 });
        let near = known.map(|k| (distance(k, &name.text), k)).min();
        diagnostic = match near {
            Some((d, near)) if d <= 2 => diagnostic.help(format!("did you mean {near}?")),
            _ => match types::symbol_near(&name.text.to_ascii_uppercase()) {
                Some(symbol) => {
                    diagnostic.help(format!("did you mean {symbol}? names of descriptors are in capitals"))
                }
                None => diagnostic.help("include the file that defines it, such as <mach/std_types.defs>"),
            },
        };
        self.diagnostics.push(diagnostic);
        None
    }

    fn builtins(&mut self) {
        let whole = Span { file: 0, lo: 0, hi: 0 };
        for (name, msgt_name, bits, signed) in [
            ("char", msgt::CHAR, 8, false),
            ("short", msgt::INTEGER_16, 16, true),
            ("int", msgt::INTEGER_32, 32, true),
            ("int64", msgt::INTEGER_64, 64, true),
            ("uintptr_t", msgt::INTEGER_64, 64, false),
            ("intptr_t", msgt::INTEGER_64, 64, true),
        ] {
            self.types.insert(name.into(), (types::integer(msgt_name, bits, signed), whole));
        }
    }
}
