//! Routines and their arguments.

use super::{Outcome, Parser, lower};
use crate::ast::{Argument, Ceiling, Direction, Flag, Name, Routine};
use crate::lex::{Kind, Token};
use crate::near::near;
use crate::source::{Diagnostic, Span};

const DIRECTIONS: [&str; 10] = [
    "in",
    "out",
    "inout",
    "requestport",
    "replyport",
    "sreplyport",
    "ureplyport",
    "waittime",
    "msgoption",
    "msgseqno",
];

const FLAGS: [&str; 10] = [
    "islong",
    "isnotlong",
    "dealloc",
    "notdealloc",
    "servercopy",
    "countinout",
    "retcode",
    "copy",
    "loan",
    "gift",
];

impl Parser<'_> {
    pub(super) fn routine(
        &mut self,
        start: Span,
        simple: bool,
        doc: Option<String>,
        donation: Option<Vec<Ceiling>>,
    ) -> Outcome<Routine> {
        let name = self.name("the name of a routine")?;
        self.expect('(', "the name of a routine")?;
        let mut arguments = Vec::new();
        if !self.accept(')') {
            loop {
                if self.peek().is_some_and(|t| t.is(';') || t.is(')')) {
                    return self.fail(
                        format!("expected an argument, found {}", self.found()),
                        "`;` separates arguments: none before the first, none behind the last",
                    );
                }
                if self.is_at_statement() {
                    return self.open_arguments(&name);
                }
                arguments.push(self.argument()?);
                if self.accept(')') {
                    break;
                }
                if self.is_at_statement() {
                    return self.open_arguments(&name);
                }
                if !self.accept(';') {
                    return self.fail(
                        format!("expected `;` or `)` after an argument, found {}", self.found()),
                        match self.peek().map(lower).as_deref() {
                            Some("copy" | "loan" | "gift") => "put #include <donation.defs> at the beginning, which has COPY, LOAN and GIFT",
                            _ => "arguments are separated by `;`, flags by `,`; a type that is spelled out needs a name: `name : name_t = ...`",
                        },
                    );
                }
            }
        }
        let span = start.to(self.tokens[self.at - 1].place());
        Ok(Routine { name, simple, arguments, doc, donation, span })
    }

    fn argument(&mut self) -> Outcome<Argument> {
        let word = self.peek().map(lower).unwrap_or_default();
        let direction = match word.as_str() {
            "in" => Direction::In,
            "out" => Direction::Out,
            "inout" => Direction::InOut,
            "requestport" => Direction::RequestPort,
            "replyport" => Direction::ReplyPort,
            "sreplyport" => Direction::SReplyPort,
            "ureplyport" => Direction::UReplyPort,
            "waittime" => Direction::WaitTime,
            "msgoption" => Direction::MsgOption,
            "msgseqno" => Direction::MsgSeqno,
            _ => Direction::None,
        };
        // A direction word followed by `:` is a name.
        let start = self.at;
        let named = self.tokens.get(self.at + 1).is_some_and(|t| t.is(':'));
        let direction = if named { Direction::None } else { direction };
        self.at += usize::from(direction != Direction::None);
        // `outt a : int`: a word too many before the colon.
        let two = self.peek().is_some_and(|t| t.kind == Kind::Ident)
            && self.tokens.get(self.at + 1).is_some_and(|t| t.kind == Kind::Ident)
            && self.tokens.get(self.at + 2).is_some_and(|t| t.is(':'));
        if two {
            let found = self.found();
            let help = match near(&self.peek().map(lower).unwrap_or_default(), &DIRECTIONS) {
                _ if direction != Direction::None => "an argument has one direction; `inout` is both".into(),
                Some(word) => format!("did you mean {word}?"),
                None => format!("directions are {}", DIRECTIONS.join(", ")),
            };
            let message = match direction {
                Direction::None => format!("{found} is no direction"),
                _ => format!("{found} is a second direction"),
            };
            return self.fail(message, &help);
        }
        let name = self.name("the name of an argument")?;
        self.expect(':', "the name of an argument")?;
        let type_name = match self.peek() {
            Some(t) if is_spelled_out(t) => {
                return self.fail(
                    format!("expected the name of a type, found {}", self.found()),
                    &format!("a type that is spelled out needs a name: `{0} : {0}_t = ...`", name.text),
                );
            }
            _ => self.name("the type of an argument")?,
        };
        let spec = if self.accept('=') { Some(self.type_spec()?) } else { None };
        let flags = self.flags()?;
        let text = spell(&self.tokens[start..self.at]);
        Ok(Argument { direction, name, type_name, spec, flags, text })
    }

    pub(super) fn flags(&mut self) -> Outcome<Vec<(Flag, Span)>> {
        let mut flags = Vec::new();
        while self.accept(',') {
            let span = self.here();
            let word = self.word("a flag")?;
            let flag = match word.text.to_ascii_lowercase().as_str() {
                "islong" => Flag::IsLong,
                "isnotlong" => Flag::IsNotLong,
                "dealloc" if self.accept('[') => {
                    self.expect(']', "`dealloc[`")?;
                    Flag::DeallocDynamic
                }
                "dealloc" => Flag::Dealloc,
                "notdealloc" => Flag::NotDealloc,
                "servercopy" => Flag::ServerCopy,
                "countinout" => Flag::CountInOut,
                "retcode" => Flag::RetCode,
                "copy" => Flag::Copy,
                "loan" => Flag::Loan,
                "gift" => Flag::Gift,
                other => {
                    self.at -= 1;
                    let help = match near(other, &FLAGS) {
                        _ if self.tokens.get(self.at + 1).is_some_and(|t| t.is(':')) => {
                            "arguments are separated by `;`, not by `,`".into()
                        }
                        Some(word) => format!("did you mean {word}?"),
                        None => "flags are IsLong, IsNotLong, Dealloc, Dealloc[], NotDealloc, ServerCopy, CountInOut, RetCode; COPY, LOAN and GIFT with <donation.defs>".into(),
                    };
                    return self.fail(format!("`{other}` is no flag"), &help);
                }
            };
            flags.push((flag, span));
        }
        Ok(flags)
    }

    /// The text ends, or a statement begins here that no argument could.
    fn is_at_statement(&self) -> bool {
        let Some(token) = self.peek() else { return true };
        let word = lower(token);
        let named = self.tokens.get(self.at + 1).is_some_and(|t| t.is(':'));
        token.starts_line && !named && self.begins_statement(token) && !DIRECTIONS.contains(&word.as_str())
    }

    /// The list of arguments goes on into the next statement.
    fn open_arguments<T>(&self, routine: &Name) -> Outcome<T> {
        let last = self.tokens[self.at - 1].place();
        let message = format!("the arguments of {} have no end", routine.text);
        Err(Box::new(Diagnostic::error(Span { lo: last.hi, ..last }, message).help("add `)` and `;`")))
    }
}

/// A type that is no name begins with it.
fn is_spelled_out(token: &Token) -> bool {
    let word = lower(token);
    token.is('^')
        || token.is('(')
        || token.kind == Kind::Number
        || matches!(word.as_str(), "array" | "struct" | "c_string" | "polymorphic")
        || token.text.starts_with("MACH_MSG_TYPE_")
}

/// An argument with its spaces made uniform.
fn spell(tokens: &[Token]) -> String {
    let mut text = String::new();
    for token in tokens {
        let after = text.chars().last();
        let space = match (after, token.text.chars().next()) {
            (Some(':' | '(' | '[' | '^' | '|' | '*' | '+' | '-' | '/'), _) | (None, _) => false,
            (_, Some(':' | ',' | ';' | ')' | ']' | '[' | '|' | '*' | '+' | '-' | '/')) => false,
            (Some(']'), _) | (_, Some('=')) => true,
            _ => true,
        };
        if space {
            text.push(' ');
        }
        text.push_str(&token.text);
    }
    text
}
