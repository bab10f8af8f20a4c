//! Directives: conditionals, definitions, line markers.

use std::rc::Rc;

use super::include::Ask;
use super::{MAX_DEPTH, Macro, Preprocessor};
use crate::lex::{Kind, Token};
use crate::source::{Diagnostic, Flag, Span};

/// An open `#if`.
pub(super) struct Branch {
    /// Tokens are kept.
    pub(super) live: bool,
    /// Some branch of this `#if` was live already.
    taken: bool,
    /// The surroundings are live.
    outer: bool,
    pub(super) opened: Span,
    seen_else: bool,
}

impl Preprocessor<'_> {
    pub(super) fn directive(&mut self, line: &[Token], branches: &mut Vec<Branch>, depth: usize) {
        let hash = line[0].span;
        let Some(name) = line.get(1) else { return };
        let rest = &line[2..];
        let whole = hash.to(line[line.len() - 1].span);
        let live = branches.last().is_none_or(|b| b.live);
        match &*name.text {
            "if" | "ifdef" | "ifndef" => {
                if branches.len() >= MAX_DEPTH {
                    let message = format!("#if nested deeper than {MAX_DEPTH}");
                    return self.stop(Some(whole), &message, "join conditions with && and ||");
                }
                let value = live
                    && match &*name.text {
                        "if" => self.condition(rest, whole),
                        "ifdef" => self.is_defined(rest, whole, "ifdef"),
                        _ => !self.is_defined(rest, whole, "ifndef"),
                    };
                branches.push(Branch {
                    live: value,
                    taken: value,
                    outer: live,
                    opened: whole,
                    seen_else: false,
                });
            }
            "elif" | "else" => self.next_branch(&name.text, rest, whole, branches),
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
                _ => self.diagnostics.push(Diagnostic::error(whole, "#undef needs a name").help("add one")),
            },
            "include" => self.include(rest, whole, depth, Ask::Include),
            "include_next" => self.include(rest, whole, depth, Ask::Next),
            "import" => self.include(rest, whole, depth, Ask::Once),
            "error" | "warning" => {
                let text = self.sources.text(whole).trim_end().to_owned();
                let said = Diagnostic::error(whole, text).note("the file itself says so").help("do what it says, or define what it asks for");
                self.diagnostics.push(if &*name.text == "error" { said } else { said.warning() });
            }
            "pragma" => {
                if rest.first().is_some_and(|t| &*t.text == "once") {
                    self.read_once(whole.file);
                }
            }
            "ident" | "sccs" => {}
            "line" => {
                let rest = self.expand(rest.to_vec());
                self.marker(&rest, whole);
            }
            // Line markers of another preprocessor: `# 12 "file"`.
            _ if name.kind == Kind::Number => self.marker(&line[1..], whole),
            other => self
                .diagnostics
                .push(Diagnostic::error(whole, format!("unknown preprocessor directive #{other}")).help(
                    "known are include, include_next, import, define, undef, if, ifdef, ifndef, elif, else, endif, error, warning, pragma and line",
                )),
        }
    }

    fn next_branch(&mut self, word: &str, rest: &[Token], whole: Span, branches: &mut [Branch]) {
        let Some(branch) = branches.last() else {
            return self.unmatched(whole, word);
        };
        if branch.seen_else {
            let opened = branch.opened;
            self.diagnostics.push(
                Diagnostic::error(whole, format!("#{word} after #else"))
                    .related(opened, "the conditional begins here")
                    .help("a conditional has one #else, and it is the last part"),
            );
            return;
        }
        // Behind a part that was taken nothing is looked at, not even whether it is an expression.
        let open = branch.outer && !branch.taken;
        let value = open && (word == "else" || self.condition(rest, whole));
        if let Some(branch) = branches.last_mut() {
            branch.live = value;
            branch.taken |= value;
            branch.seen_else |= word == "else";
        }
    }

    fn unmatched(&mut self, span: Span, name: &str) {
        self.diagnostics
            .push(Diagnostic::error(span, format!("#{name} without #if")).help("remove it, or add the #if"));
    }

    fn is_defined(&mut self, rest: &[Token], span: Span, word: &str) -> bool {
        match rest.first() {
            Some(t) if t.kind == Kind::Ident => self.knows(&t.text),
            _ => {
                self.diagnostics
                    .push(Diagnostic::error(span, format!("#{word} needs a name")).help("name a macro"));
                false
            }
        }
    }

    /// A macro of that name is defined.
    pub(super) fn knows(&self, name: &str) -> bool {
        self.macros.contains_key(name) || matches!(name, "__FILE__" | "__LINE__")
    }

    pub(super) fn define(&mut self, rest: &[Token], span: Span) {
        let Some(name) = rest.first().filter(|t| t.kind == Kind::Ident && &*t.text != "defined") else {
            self.diagnostics.push(
                Diagnostic::error(span, "#define needs a name")
                    .help("write #define NAME or #define NAME(a, b) ..."),
            );
            return;
        };
        let mut body = &rest[1..];
        let (mut list, mut variadic) = (None, false);
        if body.first().is_some_and(|t| t.is('(') && !t.spaced) {
            let close = body.iter().position(|t| t.is(')'));
            let Some((close, (names, takes_rest))) =
                close.and_then(|close| Some((close, parameters(&body[1..close])?)))
            else {
                let what = if close.is_none() { "has no end" } else { "is not one" };
                self.diagnostics.push(
                    Diagnostic::error(span, format!("the parameter list of {} {what}", name.text))
                        .note("parameters are different names with commas between; the last may be `...`")
                        .help("write #define NAME(a, b) ..."),
                );
                return;
            };
            (list, variadic) = (Some(names), takes_rest);
            body = &body[close + 1..];
        }
        let definition =
            Macro { parameters: list, variadic, body: body.to_vec(), defined_at: Some(name.span) };
        self.macros.insert(name.text.clone(), Rc::new(definition));
    }

    /// `LINE ["FILE" [FLAG...]]`: what follows comes from there.
    fn marker(&mut self, words: &[Token], whole: Span) {
        let digits = words.first().filter(|t| t.text.bytes().all(|b| b.is_ascii_digit()));
        let Some(digits) = digits else {
            let message = "a line marker needs the number of a line";
            self.diagnostics.push(Diagnostic::error(whole, message).help("write # 12 \"file\""));
            return;
        };
        // No file has that many lines, but a marker can say what it likes.
        let line = digits.text.parse::<u32>().unwrap_or(u32::MAX) as usize;
        let name = words.get(1).filter(|t| t.kind == Kind::Str);
        let name = name.map(|t| t.text.trim_matches('"').replace("\\\"", "\"").replace("\\\\", "\\"));
        let has = |flag: &str| words.iter().skip(2).any(|t| &*t.text == flag);
        let flag = match () {
            () if has("1") => Flag::Enters,
            () if has("2") => Flag::Returns,
            () => Flag::None,
        };
        self.sources.mark(whole, line, name.as_deref(), flag);
    }
}

/// The names in a parameter list, and whether it ends with `...` (then the last name takes the rest).
fn parameters(list: &[Token]) -> Option<(Vec<Rc<str>>, bool)> {
    let dots = list.len() >= 3 && list[list.len() - 3..].iter().all(|t| t.is('.'));
    let named = if dots { &list[..list.len() - 3] } else { list };
    let mut names: Vec<Rc<str>> = Vec::new();
    for (i, token) in named.iter().enumerate() {
        match i % 2 {
            0 if token.kind == Kind::Ident && !names.contains(&token.text) => names.push(token.text.clone()),
            1 if token.is(',') => {}
            _ => return None,
        }
    }
    // `rest...` names it; `...` alone is __VA_ARGS__.
    let open = named.last().is_none_or(|t| t.is(','));
    if dots && open {
        names.push("__VA_ARGS__".into());
    }
    (dots || !open || named.is_empty()).then_some((names, dots))
}
