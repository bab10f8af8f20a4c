//! The C preprocessor as `.defs` files use it: includes, object- and function-like macros, conditionals, line markers.
//!
//! `MIG_RS` is predefined, so that a file can hold what only this compiler understands; `<donation.defs>` is found even
//! if no directory has it.
//!
//! Deliberately absent: trigraphs, character constants, `__has_include`, `__VA_OPT__`. Every loop is bounded: files nest to
//! [`MAX_DEPTH`], macros to [`MAX_NESTING`], and there is an end to the number of files, to their text, to the steps of expansion
//! and to the tokens of a compilation. Whoever meets such an end says so once, and nothing more is read.

mod condition;
mod directive;
mod expand;
mod include;

pub(crate) use include::is_built_in;

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::rc::Rc;

use crate::lex::{Token, tokens};
use crate::source::{Diagnostic, Sources, Span};

/// Deepest nesting of `#include` and of `#if`.
const MAX_DEPTH: usize = 64;
/// Deepest nesting of macros in each other, and of their arguments.
const MAX_NESTING: usize = 100;
/// Most tokens that a compilation may come to.
const MAX_TOKENS: usize = 300_000;
/// Most tokens that expansion may look at, or copy.
const MAX_STEPS: usize = 1_000_000;

/// What to read, and what is defined before.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Directories searched for `#include`, in order (`-I`).
    pub include: Vec<PathBuf>,
    /// `-D NAME` (value 1), `-D NAME=VALUE` and `-D 'NAME(a, b)=VALUE'`, in order.
    pub define: Vec<(String, Option<String>)>,
    /// Names not to be defined (`-U`). They go before what [`Options::define`] has; see [`Options::add_undefine`].
    pub undefine: Vec<String>,
    /// Files read before the first, of which only the macros remain (`-imacros`).
    pub imacros: Vec<PathBuf>,
}

impl Options {
    /// `-U`: takes back what was defined so far. What is defined later, is.
    pub fn add_undefine(&mut self, name: &str) {
        self.define.retain(|(known, _)| known.split('(').next() != Some(name));
        self.undefine.push(name.into());
    }
}

#[derive(Clone, Debug)]
struct Macro {
    parameters: Option<Vec<Rc<str>>>,
    /// The last parameter takes all arguments that are left.
    variadic: bool,
    body: Vec<Token>,
    defined_at: Option<Span>,
}

struct Preprocessor<'a> {
    options: &'a Options,
    sources: Sources,
    diagnostics: Vec<Diagnostic>,
    macros: HashMap<Rc<str>, Rc<Macro>>,
    out: Vec<Token>,
    /// Too much or too deep: nothing more is read.
    stopped: bool,
    /// Something that was to be included is missing.
    incomplete: bool,
    /// Steps of expansion so far.
    steps: usize,
    /// Depth of arguments in arguments.
    nesting: usize,
    /// Bytes of all files so far.
    bytes: usize,
    /// For every file the directory where it was found, by its index among the `-I` directories.
    found_in: Vec<Option<usize>>,
    /// Files that are read once.
    once: HashSet<PathBuf>,
}

/// What is left for the parser.
pub(crate) struct Preprocessed {
    pub(crate) tokens: Vec<Token>,
    pub(crate) sources: Sources,
    pub(crate) diagnostics: Vec<Diagnostic>,
    /// Reading ended before the end.
    pub(crate) stopped: bool,
    /// Something that was to be included is missing, so names may be unknown that are not wrong.
    pub(crate) incomplete: bool,
}

/// Reads a file, or text that is in no file.
pub(crate) fn preprocess(options: &Options, input: Input<'_>) -> Preprocessed {
    let mut pp = Preprocessor {
        options,
        sources: Sources::default(),
        diagnostics: Vec::new(),
        macros: HashMap::new(),
        out: Vec::new(),
        stopped: false,
        incomplete: false,
        steps: 0,
        nesting: 0,
        bytes: 0,
        found_in: Vec::new(),
        once: HashSet::new(),
    };
    pp.predefine();
    for file in &options.imacros {
        pp.open(file, None, None);
        pp.out.clear();
    }
    match input {
        Input::File(path) => pp.open(&path, None, None),
        Input::Text { name, text } => pp.read(name.into(), text.into(), None, None),
    }
    if pp.stopped {
        pp.out.clear();
    }
    Preprocessed {
        tokens: pp.out,
        sources: pp.sources,
        diagnostics: pp.diagnostics,
        stopped: pp.stopped,
        incomplete: pp.incomplete,
    }
}

/// What is to be read.
pub(crate) enum Input<'a> {
    File(PathBuf),
    Text { name: &'a str, text: &'a str },
}

impl Preprocessor<'_> {
    fn predefine(&mut self) {
        let fixed = [
            ("MIG_RS", "1"),
            ("__x86_64__", "1"),
            ("__LP64__", "1"),
            ("_LP64", "1"),
            ("__GNU__", "1"),
            ("__MACH__", "1"),
        ];
        for (name, value) in fixed {
            self.define_text(name, value);
        }
        let options = self.options;
        for name in &options.undefine {
            self.macros.remove(name.as_str());
        }
        for (name, value) in &options.define {
            self.define_text(name, value.as_deref().unwrap_or("1"));
        }
    }

    fn define_text(&mut self, name: &str, value: &str) {
        // `-D 'F(x)=y'` is a function-like macro.
        let text = format!("{name} {value}");
        let file = self.add(format!("<command line: {name}>").into(), text.clone(), None, None);
        let line = tokens(file, &text).tokens;
        self.define(&line, Span { file, lo: 0, hi: name.len() });
    }

    /// Notes a text as a file.
    fn add(&mut self, path: PathBuf, text: String, from: Option<Span>, found_in: Option<usize>) -> usize {
        self.bytes = self.bytes.saturating_add(text.len());
        self.found_in.push(found_in);
        self.sources.add(path, text, from)
    }

    fn depth(&self, mut from: Option<Span>) -> usize {
        let mut depth = 0;
        while let Some(span) = from {
            depth += 1;
            from = self.sources.files.get(span.file).and_then(|f| f.included_at);
        }
        depth
    }

    /// Preprocesses a text.
    fn read(&mut self, path: PathBuf, text: String, from: Option<Span>, found_in: Option<usize>) {
        let depth = self.depth(from);
        let file = self.add(path, text, from, found_in);
        let all = tokens(file, &self.sources.files[file].text);
        if let Some(place) = all.open_comment {
            self.diagnostics.push(
                Diagnostic::error(place, "this comment has no end")
                    .note("everything behind it is part of the comment")
                    .help("add */"),
            );
        }
        let (all, too_many) = (all.tokens, all.too_many);
        let mut branches: Vec<directive::Branch> = Vec::new();
        let mut pending: Vec<Token> = Vec::new();
        let mut at = 0;
        while at < all.len() && !self.stopped {
            let line_end = all[at + 1..].iter().position(|t| t.starts_line).map_or(all.len(), |n| at + 1 + n);
            let live = branches.last().is_none_or(|b| b.live);
            if all[at].is('#') && all[at].starts_line {
                self.flush(&mut pending);
                self.directive(&all[at..line_end], &mut branches, depth);
            } else if live {
                pending.extend_from_slice(&all[at..line_end]);
            }
            at = line_end;
        }
        self.flush(&mut pending);
        if too_many {
            self.stop(None, "this file has more tokens than an interface can have", "split it");
        }
        if let Some(open) = branches.last().filter(|_| !self.stopped) {
            self.diagnostics.push(
                Diagnostic::error(open.opened, "this #if has no #endif")
                    .note("conditionals end in the file where they begin")
                    .help("add #endif"),
            );
        }
    }

    fn flush(&mut self, pending: &mut Vec<Token>) {
        if pending.is_empty() || self.stopped {
            return;
        }
        let expanded = self.expand(std::mem::take(pending));
        self.out.extend(expanded);
        if self.out.len() > MAX_TOKENS {
            self.overrun();
        }
    }

    fn overrun(&mut self) {
        let message = format!("more than {MAX_TOKENS} tokens after expansion of macros");
        self.stop(None, &message, "look for a macro that doubles itself, or split the file");
    }

    /// Says once why nothing more is read.
    fn stop(&mut self, place: Option<Span>, message: &str, help: &str) {
        if !self.stopped {
            self.stopped = true;
            let diagnostic = match place {
                Some(span) => Diagnostic::error(span, message),
                None => Diagnostic::general(message),
            };
            self.diagnostics.push(diagnostic.help(help));
        }
    }
}
