//! Expansion of macros.

use std::collections::HashMap;
use std::rc::Rc;

use super::{MAX_NESTING, MAX_STEPS, MAX_TOKENS, Macro, Preprocessor};
use crate::lex::{Hidden, Kind, Token, tokens};
use crate::source::{Diagnostic, Span};

/// Most bytes of a word that macros make.
const MAX_WORD: usize = 64 << 10;

/// What is done with `defined`.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    Text,
    /// `defined NAME` becomes a number.
    Condition,
}

impl Preprocessor<'_> {
    /// Expands until nothing can be expanded any more.
    pub(super) fn expand(&mut self, input: Vec<Token>) -> Vec<Token> {
        self.expand_in(input, Mode::Text)
    }

    /// As [`Self::expand`], for the expression of an `#if`.
    pub(super) fn expand_condition(&mut self, input: Vec<Token>) -> Vec<Token> {
        self.expand_in(input, Mode::Condition)
    }

    fn expand_in(&mut self, input: Vec<Token>, mode: Mode) -> Vec<Token> {
        let mut work: Vec<Token> = input.into_iter().rev().collect();
        let mut out = Vec::new();
        while let Some(token) = work.pop() {
            self.steps += 1;
            if self.steps > MAX_STEPS || work.len() > MAX_TOKENS {
                self.overrun();
            }
            if self.stopped {
                return out;
            }
            if token.kind == Kind::Str && !token.is_whole_string() && mode == Mode::Text {
                self.open_string(&token);
                out.push(Token { kind: Kind::Wrong, ..token });
                continue;
            }
            if token.kind != Kind::Ident || token.hidden.iter().any(|hidden| hidden.contains(&token.text)) {
                out.push(token);
                continue;
            }
            if mode == Mode::Condition && &*token.text == "defined" {
                out.push(self.answer_defined(token, &mut work));
                continue;
            }
            let Some(definition) = self.macros.get(&token.text).cloned() else {
                out.push(self.built_in(token));
                continue;
            };
            let arguments = match &definition.parameters {
                None => HashMap::new(),
                Some(parameters) => {
                    if !work.last().is_some_and(|t| t.is('(')) {
                        out.push(token);
                        continue;
                    }
                    match collect(&mut work, parameters, definition.variadic) {
                        Ok(arguments) => arguments,
                        Err(message) => {
                            let mut d = Diagnostic::error(token.place(), format!("{} {message}", token.text));
                            if let Some(span) = definition.defined_at {
                                d = d.related(span, "the macro is defined here");
                            }
                            self.diagnostics.push(d.help("give the macro what it wants, between ( and )"));
                            out.push(Token { kind: Kind::Wrong, ..token });
                            continue;
                        }
                    }
                }
            };
            if let (None, Some(defined_at)) = (token.used_at, definition.defined_at) {
                self.sources.used(token.span, defined_at);
            }
            if token.hidden.as_ref().is_some_and(|hidden| hidden.len() >= MAX_NESTING) {
                let message = format!("macros stand for each other more than {MAX_NESTING} deep");
                self.stop(Some(token.place()), &message, "write out some of them");
                return out;
            }
            let replaced = self.replace(&token, &definition, &arguments);
            work.extend(replaced.into_iter().rev());
        }
        out
    }

    fn open_string(&mut self, token: &Token) {
        self.diagnostics.push(
            Diagnostic::error(token.place(), "this string has no end")
                .note("a string ends in the line where it begins")
                .help("add \""),
        );
    }

    /// `defined NAME`, `defined ( NAME )`
    fn answer_defined(&mut self, word: Token, work: &mut Vec<Token>) -> Token {
        let bracket = work.last().is_some_and(|t| t.is('('));
        let opening = if bracket { work.pop() } else { None };
        let known = match work.pop() {
            Some(name) if name.kind == Kind::Ident => self.knows(&name.text),
            other => {
                // Not a question: the parser of the expression says what is wrong.
                work.extend(other);
                work.extend(opening);
                return Token { kind: Kind::Punct, text: "`".into(), ..word };
            }
        };
        if bracket && !work.pop().is_some_and(|t| t.is(')')) {
            return Token { kind: Kind::Punct, text: "`".into(), ..word };
        }
        Token { kind: Kind::Number, text: if known { "1" } else { "0" }.into(), ..word }
    }

    /// `__FILE__` and `__LINE__`; any other word stays.
    fn built_in(&self, token: Token) -> Token {
        match &*token.text {
            "__FILE__" => {
                let path = self.sources.location(token.place()).path;
                let text = format!("\"{}\"", path.replace('\\', "\\\\").replace('"', "\\\"")).into();
                Token { kind: Kind::Str, text, ..token }
            }
            "__LINE__" => {
                let text = self.sources.location(token.place()).line.to_string().into();
                Token { kind: Kind::Number, text, ..token }
            }
            _ => token,
        }
    }

    fn replace(
        &mut self,
        used: &Token,
        definition: &Macro,
        arguments: &HashMap<Rc<str>, Vec<Token>>,
    ) -> Vec<Token> {
        let (body, place) = (definition.body.as_slice(), used.place());
        let pastes = |at: usize| {
            body.get(at).is_some_and(|t| t.is('#'))
                && body.get(at + 1).is_some_and(|t| t.is('#') && !t.spaced)
        };
        let own =
            |at: usize| body.get(at).filter(|t| t.kind == Kind::Ident).and_then(|t| arguments.get(&t.text));
        let mut out: Vec<Token> = Vec::new();
        // Where the operand begins that a `##` would take, and whether it takes the next one.
        let (mut operand, mut pasting) = (0, false);
        let mut at = 0;
        while let Some(token) = body.get(at) {
            if pastes(at) && at > 0 {
                pasting = true;
                at += 2;
                continue;
            }
            let mut piece = if token.is('#')
                && definition.parameters.is_some()
                && let Some(argument) = own(at + 1)
            {
                at += 2;
                let text = stringized(argument);
                self.check_length(&text, place);
                vec![Token { kind: Kind::Str, text, used_at: Some(place), ..token.clone() }]
            } else {
                at += 1;
                match own(at - 1) {
                    // Arguments stand where the macro is used, and that is where their mistakes are.
                    Some(argument) if pasting || pastes(at) => argument.clone(),
                    Some(argument) => self.expand_argument(argument.clone(), place),
                    None => vec![Token { used_at: Some(place), ..token.clone() }],
                }
            };
            if std::mem::take(&mut pasting) {
                let last = definition.parameters.as_ref().and_then(|list| list.last());
                let takes_rest = definition.variadic && last == Some(&token.text);
                let comma = out.len() > operand && out.last().is_some_and(|t| t.is(','));
                match (out.len() > operand, piece.is_empty()) {
                    // `, ## rest`: without a rest there is no comma.
                    (true, true) if takes_rest && comma => _ = out.pop(),
                    (true, false) if !(takes_rest && comma) => {
                        let right = piece.remove(0);
                        if let Some(left) = out.pop() {
                            let text = format!("{}{}", left.text, right.text);
                            self.check_length(&text, place);
                            out.extend(pasted(&left, &text));
                        }
                    }
                    _ => {}
                }
                out.extend(piece);
            } else {
                operand = out.len();
                out.extend(piece);
            }
        }
        self.finish(used, out)
    }

    /// `#` and `##` make longer and longer words of each other's.
    fn check_length(&mut self, text: &str, place: Span) {
        if text.len() > MAX_WORD {
            let message = format!("a word of more than {} KiB", MAX_WORD >> 10);
            self.stop(Some(place), &message, "look for # or ## in macros that use each other");
        }
    }

    /// What a parameter stands for where nothing is done to it.
    fn expand_argument(&mut self, argument: Vec<Token>, place: Span) -> Vec<Token> {
        self.nesting += 1;
        self.steps += argument.len();
        let expanded = if self.nesting > MAX_NESTING {
            let message = format!("arguments of macros in arguments, more than {MAX_NESTING} deep");
            self.stop(Some(place), &message, "write out some of them");
            Vec::new()
        } else {
            self.expand(argument)
        };
        self.nesting -= 1;
        expanded
    }

    /// Tells the tokens of an expansion where it is, and which macros are not for them.
    fn finish(&self, used: &Token, mut out: Vec<Token>) -> Vec<Token> {
        let before = used.hidden.iter().flat_map(|hidden| hidden.iter()).cloned();
        let names: Vec<Rc<str>> = before.chain([used.text.clone()]).collect();
        let hidden: Hidden = Some(names.as_slice().into());
        for (i, token) in out.iter_mut().enumerate() {
            // An argument of an inner macro that comes from this one's body stands where this one is used.
            if used.used_at.is_some() {
                token.used_at = used.used_at;
            }
            token.starts_line = false;
            token.hidden = match &token.hidden {
                None => hidden.clone(),
                Some(known) => {
                    let new = names.iter().filter(|name| !known.contains(name));
                    Some(known.iter().chain(new).cloned().collect())
                }
            };
            if i == 0 {
                token.doc = used.doc.clone();
                token.spaced = used.spaced;
            }
        }
        out
    }
}

/// The text of an argument as a string: as it was written, white space as one space.
fn stringized(argument: &[Token]) -> Rc<str> {
    let mut text = String::from("\"");
    for (i, token) in argument.iter().enumerate() {
        if i > 0 && (token.spaced || token.starts_line) {
            text.push(' ');
        }
        match token.kind {
            Kind::Str => text.push_str(&token.text.replace('\\', "\\\\").replace('"', "\\\"")),
            _ => text.push_str(&token.text),
        }
    }
    text.push('"');
    text.into()
}

/// Two tokens made one; what is none becomes several again.
fn pasted(left: &Token, text: &str) -> Vec<Token> {
    let parts = tokens(left.span.file, text).tokens;
    let place = |part: Token| Token {
        span: left.span,
        used_at: left.used_at,
        starts_line: false,
        spaced: left.spaced,
        doc: None,
        hidden: left.hidden.clone(),
        ..part
    };
    parts.into_iter().map(place).collect()
}

/// Takes `( argument , ... )` off the work list.
fn collect(
    work: &mut Vec<Token>,
    parameters: &[Rc<str>],
    variadic: bool,
) -> Result<HashMap<Rc<str>, Vec<Token>>, String> {
    work.pop();
    let (mut depth, mut list, mut current) = (0usize, Vec::new(), Vec::new());
    loop {
        let token = work.pop().ok_or("has arguments without end")?;
        let takes_rest = variadic && list.len() + 1 == parameters.len();
        if depth == 0 && (token.is(')') || (token.is(',') && !takes_rest)) {
            list.push(std::mem::take(&mut current));
            if token.is(')') {
                break;
            }
            continue;
        }
        if token.is('(') {
            depth += 1;
            if depth > MAX_NESTING {
                return Err(format!("has brackets in its arguments, more than {MAX_NESTING} deep"));
            }
        } else if token.is(')') {
            depth -= 1;
        }
        current.push(token);
    }
    if parameters.is_empty() && list.len() == 1 && list[0].is_empty() {
        list.clear();
    }
    if variadic && list.len() + 1 == parameters.len() {
        list.push(Vec::new());
    }
    if list.len() != parameters.len() {
        let plural = if parameters.len() == 1 { "" } else { "s" };
        return Err(format!("wants {} argument{plural}, not {}", parameters.len(), list.len()));
    }
    Ok(parameters.iter().cloned().zip(list).collect())
}
