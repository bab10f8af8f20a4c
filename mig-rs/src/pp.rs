//! The C preprocessor as `.defs` files use it: includes, object- and function-like macros, conditionals.
//!
//! `MIG_RS` is predefined, so that a file can hold what only this compiler understands; `<donation.defs>` is found even
//! if no directory has it.
//!
//! Deliberately absent: trigraphs and character constants. Every loop is bounded: files nest to [`MAX_DEPTH`], a compilation
//! has at most [`MAX_TOKENS`] tokens.

mod condition;
mod expand;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use crate::lex::{Kind, Token, tokens};
use crate::source::{Diagnostic, Sources, Span};

/// Deepest nesting of `#include` and of `#if`.
pub(crate) const MAX_DEPTH: usize = 64;
/// Most tokens that a compilation may come to.
pub(crate) const MAX_TOKENS: usize = 300_000;

/// Files that come with the compiler, if the `-I` directories do not have them.
const BUILT_IN: [(&str, &str); 1] = [("donation.defs", include_str!("../include/donation.defs"))];

/// What to read, and what is defined before.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Directories searched for `#include`, in order (`-I`).
    pub include: Vec<PathBuf>,
    /// `-D NAME` (value 1) and `-D NAME=VALUE`, in order with `-U`.
    pub define: Vec<(String, Option<String>)>,
    /// Names not to be defined (`-U`).
    pub undefine: Vec<String>,
    /// Files read before the first, of which only the macros remain (`-imacros`).
    pub imacros: Vec<PathBuf>,
}

#[derive(Clone, Debug)]
struct Macro {
    parameters: Option<Vec<Rc<str>>>,
    /// The last parameter takes all arguments that are left.
    variadic: bool,
    body: Vec<Token>,
    defined_at: Option<Span>,
}

pub(crate) struct Preprocessor<'a> {
    options: &'a Options,
    pub(crate) sources: Sources,
    pub(crate) diagnostics: Vec<Diagnostic>,
    macros: HashMap<Rc<str>, Macro>,
    out: Vec<Token>,
    too_long: bool,
}

struct Branch {
    /// Tokens are kept.
    live: bool,
    /// Some branch of this `#if` was live already.
    taken: bool,
    /// The surroundings are live.
    outer: bool,
    opened: Span,
    seen_else: bool,
}

/// Tokens of the files that the macros went through, the sources, and what was found wrong.
pub(crate) fn preprocess(options: &Options, files: &[PathBuf]) -> (Vec<Token>, Sources, Vec<Diagnostic>) {
    let mut pp = Preprocessor {
        options,
        sources: Sources::default(),
        diagnostics: Vec::new(),
        macros: HashMap::new(),
        out: Vec::new(),
        too_long: false,
    };
    pp.predefine();
    for file in &options.imacros {
        pp.open(file, None);
        pp.out.clear();
    }
    for file in files {
        pp.open(file, None);
    }
    (pp.out, pp.sources, pp.diagnostics)
}

/// As [`preprocess`], for text that is in no file.
pub(crate) fn preprocess_text(
    options: &Options,
    name: &str,
    text: &str,
) -> (Vec<Token>, Sources, Vec<Diagnostic>) {
    let (_, sources, diagnostics) = (0, Sources::default(), Vec::new());
    let mut pp = Preprocessor {
        options,
        sources,
        diagnostics,
        macros: HashMap::new(),
        out: Vec::new(),
        too_long: false,
    };
    pp.predefine();
    let file = pp.sources.add(name, text.to_string(), None);
    pp.file(file, 0);
    (pp.out, pp.sources, pp.diagnostics)
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
        for (name, value) in &options.define {
            self.define_text(name, value.as_deref().unwrap_or("1"));
        }
        for name in &options.undefine {
            self.macros.remove(name.as_str());
        }
    }

    fn define_text(&mut self, name: &str, value: &str) {
        let file = self.sources.add(format!("<command line: {name}>"), value.to_string(), None);
        let body = tokens(file, value);
        // `-D 'F(x)=y'` is a function-like macro.
        let (name, parameters) = match name.split_once('(') {
            Some((name, list)) => (name, Some(tokens(file, list.trim_end_matches(')')))),
            None => (name, None),
        };
        let (parameters, variadic) = match parameters.map(|list| self::parameters(&list)) {
            Some((list, variadic)) => (Some(list), variadic),
            None => (None, false),
        };
        self.macros.insert(name.into(), Macro { parameters, variadic, body, defined_at: None });
    }

    fn open(&mut self, path: &Path, from: Option<Span>) {
        match std::fs::read(path) {
            Ok(bytes) => {
                let depth = self.depth(from);
                let file = self.sources.add(path, String::from_utf8_lossy(&bytes).into_owned(), from);
                self.file(file, depth);
            }
            Err(error) => {
                let message = format!("cannot read {}: {error}", path.display());
                self.diagnostics.push(match from {
                    Some(span) => Diagnostic::error(span, message),
                    None => Diagnostic::general(message),
                });
            }
        }
    }

    fn depth(&self, mut from: Option<Span>) -> usize {
        let mut depth = 0;
        while let Some(span) = from {
            depth += 1;
            from = self.sources.files.get(span.file).and_then(|f| f.included_at);
        }
        depth
    }

    fn file(&mut self, file: usize, depth: usize) {
        let text = self.sources.files[file].text.clone();
        let all = tokens(file, &text);
        let mut branches: Vec<Branch> = Vec::new();
        let mut pending: Vec<Token> = Vec::new();
        let mut at = 0;
        while at < all.len() {
            let line_end = all[at + 1..].iter().position(|t| t.starts_line).map_or(all.len(), |n| at + 1 + n);
            let live = branches.last().is_none_or(|b| b.live);
            if all[at].is('#') && all[at].starts_line {
                self.flush(&mut pending);
                self.directive(&all[at..line_end], &mut branches, depth);
            } else if live {
                pending.extend_from_slice(&all[at..line_end]);
            }
            at = line_end;
            if self.too_long {
                return;
            }
        }
        self.flush(&mut pending);
        if let Some(open) = branches.last() {
            self.diagnostics.push(
                Diagnostic::error(open.opened, "this #if has no #endif")
                    .note("conditionals end in the file where they begin")
                    .help("add #endif"),
            );
        }
    }

    fn flush(&mut self, pending: &mut Vec<Token>) {
        if pending.is_empty() {
            return;
        }
        let expanded = self.expand(std::mem::take(pending));
        self.out.extend(expanded);
        if self.out.len() > MAX_TOKENS {
            self.overrun();
        }
    }

    fn overrun(&mut self) {
        if !self.too_long {
            self.too_long = true;
            let message = format!("more than {MAX_TOKENS} tokens after expansion of macros");
            self.diagnostics.push(Diagnostic::general(message).help("look for a macro that doubles itself"));
        }
    }

    fn directive(&mut self, line: &[Token], branches: &mut Vec<Branch>, depth: usize) {
        let hash = line[0].span;
        let Some(name) = line.get(1) else { return };
        let rest = &line[2..];
        let whole = hash.to(line[line.len() - 1].span);
        let live = branches.last().is_none_or(|b| b.live);
        match &*name.text {
            "if" | "ifdef" | "ifndef" => {
                if branches.len() >= MAX_DEPTH {
                    self.diagnostics
                        .push(Diagnostic::error(whole, format!("#if nested deeper than {MAX_DEPTH}")));
                    self.too_long = true;
                    return;
                }
                let value = live
                    && match &*name.text {
                        "if" => self.condition(rest, whole),
                        "ifdef" => self.is_defined(rest, whole),
                        _ => !self.is_defined(rest, whole),
                    };
                branches.push(Branch {
                    live: value,
                    taken: value,
                    outer: live,
                    opened: whole,
                    seen_else: false,
                });
            }
            "elif" | "else" => {
                let Some(branch) = branches.last() else {
                    return self.unmatched(whole, &name.text);
                };
                if branch.seen_else {
                    let opened = branch.opened;
                    self.diagnostics.push(
                        Diagnostic::error(whole, format!("#{} after #else", name.text))
                            .related(opened, "the conditional begins here")
                            .help("a conditional has one #else, and it is the last part"),
                    );
                    return;
                }
                let open = branch.outer && !branch.taken;
                let value = open && (&*name.text == "else" || self.condition(rest, whole));
                if let Some(branch) = branches.last_mut() {
                    branch.live = value;
                    branch.taken |= value;
                    branch.seen_else |= &*name.text == "else";
                }
            }
            "endif" => {
                if branches.pop().is_none() {
                    self.unmatched(whole, "endif");
                }
            }
            _ if !live => {}
            "define" => self.define(rest, whole),
            "undef" => match rest.first() {
                Some(t) if t.kind == Kind::Ident => {
                    self.macros.remove(&t.text);
                }
                _ => self.diagnostics.push(Diagnostic::error(whole, "#undef needs a name")),
            },
            "include" | "include_next" | "import" => self.include(rest, whole, depth),
            "error" => self.diagnostics.push(Diagnostic::error(whole, self.sources.text(whole).to_string())),
            "pragma" | "ident" | "line" | "warning" => {}
            // Line markers of another preprocessor: `# 12 "file"`.
            _ if name.kind == Kind::Number => {}
            other => self
                .diagnostics
                .push(Diagnostic::error(whole, format!("unknown preprocessor directive #{other}")).help(
                    "known are include, define, undef, if, ifdef, ifndef, elif, else, endif and error",
                )),
        }
    }

    fn unmatched(&mut self, span: Span, name: &str) {
        self.diagnostics
            .push(Diagnostic::error(span, format!("#{name} without #if")).help("remove it, or add the #if"));
    }

    fn is_defined(&mut self, rest: &[Token], span: Span) -> bool {
        match rest.first() {
            Some(t) if t.kind == Kind::Ident => self.macros.contains_key(&t.text),
            _ => {
                self.diagnostics.push(Diagnostic::error(span, "#ifdef needs a name"));
                false
            }
        }
    }

    fn define(&mut self, rest: &[Token], span: Span) {
        let Some(name) = rest.first().filter(|t| t.kind == Kind::Ident) else {
            self.diagnostics.push(Diagnostic::error(span, "#define needs a name"));
            return;
        };
        let mut body = &rest[1..];
        let (mut parameters, mut variadic) = (None, false);
        if body.first().is_some_and(|t| t.is('(') && !t.spaced) {
            let Some(close) = body.iter().position(|t| t.is(')')) else {
                self.diagnostics.push(
                    Diagnostic::error(span, format!("the parameter list of {} has no end", name.text))
                        .help("add )"),
                );
                return;
            };
            let (list, takes_rest) = self::parameters(&body[1..close]);
            (parameters, variadic) = (Some(list), takes_rest);
            body = &body[close + 1..];
        }
        let body = body.to_vec();
        self.macros.insert(name.text.clone(), Macro { parameters, variadic, body, defined_at: Some(span) });
    }

    fn include(&mut self, rest: &[Token], span: Span, depth: usize) {
        let rest = if rest.first().is_some_and(|t| t.kind == Kind::Ident) {
            self.expand(rest.to_vec())
        } else {
            rest.to_vec()
        };
        let (name, quoted) = match rest.first() {
            Some(t) if t.kind == Kind::Str => (t.text.trim_matches('"').to_string(), true),
            Some(t) if t.is('<') => {
                (rest[1..].iter().take_while(|t| !t.is('>')).map(|t| &*t.text).collect::<String>(), false)
            }
            _ => {
                self.diagnostics.push(
                    Diagnostic::error(span, "#include needs a file name")
                        .help("write #include \"file\" or <file>"),
                );
                return;
            }
        };
        if depth >= MAX_DEPTH {
            self.diagnostics.push(
                Diagnostic::error(span, format!("files include each other more than {MAX_DEPTH} deep"))
                    .help("guard the file with #ifndef ... #define ... #endif"),
            );
            self.too_long = true;
            return;
        }
        let beside = self.sources.files[span.file].path.parent().map(Path::to_path_buf).filter(|_| quoted);
        let found = beside
            .into_iter()
            .chain(self.options.include.iter().cloned())
            .map(|d| d.join(&name))
            .find(|p| p.is_file());
        let built_in = BUILT_IN.iter().find(|(known, _)| *known == name);
        match (found, built_in) {
            (Some(path), _) => self.open(&path, Some(span)),
            (None, Some((name, text))) => {
                let file = self.sources.add(format!("<{name}>"), (*text).to_string(), Some(span));
                self.file(file, depth + 1);
            }
            (None, None) => self.diagnostics.push(
                Diagnostic::error(span, format!("cannot find {name}"))
                    .note("files are looked for beside the including one and in the -I directories, in order")
                    .help("add the directory with -I"),
            ),
        }
    }
}

/// The names in a parameter list, and whether it ends with `...` (then the last name takes the rest).
fn parameters(list: &[Token]) -> (Vec<Rc<str>>, bool) {
    let mut names: Vec<Rc<str>> =
        list.iter().filter(|t| t.kind == Kind::Ident).map(|t| t.text.clone()).collect();
    let variadic = list.last().is_some_and(|t| t.is('.'));
    // `rest...` names it; `...` alone is __VA_ARGS__.
    let named = list.len() >= 4 && list[list.len() - 4].kind == Kind::Ident;
    if variadic && !named {
        names.push("__VA_ARGS__".into());
    }
    (names, variadic)
}
