//! Tokens to statements. After a mistake it goes on behind the next `;`, so that one run finds many.

mod donation;
mod routine;
mod types;
mod words;

use crate::ast::{Expression, Name, Sides, Statement};
use crate::lex::{Kind, Token};
use crate::near::near;
use crate::source::{Diagnostic, Span};
use words::{KEYWORDS, STATEMENTS};

/// Deepest nesting of types and of brackets in numbers.
const MAX_NESTING: usize = 64;
/// Most findings of one run.
const MAX_DIAGNOSTICS: usize = 50;

type Outcome<T> = Result<T, Box<Diagnostic>>;

/// What a text says.
#[derive(Debug, Default)]
pub(crate) struct Parsed {
    /// Its statements.
    pub(crate) statements: Vec<Statement>,
    /// What is wrong with the rest.
    pub(crate) diagnostics: Vec<Diagnostic>,
    /// Types whose statements are wrong; uses of them are not.
    pub(crate) lost_types: Vec<String>,
    /// The subsystem's statement is wrong.
    pub(crate) lost_subsystem: bool,
}

/// Parses everything that can be parsed.
pub(crate) fn parse(tokens: &[Token]) -> Parsed {
    let mut parser = Parser { tokens, at: 0, nesting: 0 };
    let mut parsed = Parsed::default();
    while parser.at < tokens.len() {
        if parser.accept(';') {
            continue;
        }
        let start = parser.at;
        parser.nesting = 0;
        match parser.statement() {
            Ok((statement, missing)) => {
                parsed.statements.push(statement);
                parsed.diagnostics.extend(missing.map(|d| *d));
            }
            Err(diagnostic) => {
                // What was meant counts, too.
                let word = tokens.get(start).filter(|t| t.kind == Kind::Ident).map(lower).unwrap_or_default();
                match (near(&word, &STATEMENTS), tokens.get(start + 1)) {
                    (Some("type"), Some(name)) => parsed.lost_types.push(name.text.to_string()),
                    (Some("subsystem"), _) => parsed.lost_subsystem = true,
                    _ => {}
                }
                // Of what is wrong already nothing more is said.
                if tokens.get(parser.at).is_none_or(|t| t.kind != Kind::Wrong) {
                    parsed.diagnostics.push(*diagnostic);
                }
                if parsed.diagnostics.len() >= MAX_DIAGNOSTICS {
                    break;
                }
                parser.recover(start);
            }
        }
    }
    parsed
}

struct Parser<'a> {
    tokens: &'a [Token],
    at: usize,
    nesting: usize,
}

fn lower(token: &Token) -> String {
    token.text.to_ascii_lowercase()
}

impl<'a> Parser<'a> {
    fn peek(&self) -> Option<&'a Token> {
        self.tokens.get(self.at)
    }

    /// Where the parser stands, or the end of the last token.
    fn here(&self) -> Span {
        match self.peek() {
            Some(token) => token.place(),
            None => match self.tokens.last() {
                Some(last) => Span { lo: last.place().hi, ..last.place() },
                None => Span { file: 0, lo: 0, hi: 0 },
            },
        }
    }

    fn accept(&mut self, c: char) -> bool {
        let yes = self.peek().is_some_and(|t| t.is(c));
        self.at += usize::from(yes);
        yes
    }

    fn accept_word(&mut self, word: &str) -> bool {
        let yes = self.peek().is_some_and(|t| t.kind == Kind::Ident && t.text.eq_ignore_ascii_case(word));
        self.at += usize::from(yes);
        yes
    }

    fn found(&self) -> String {
        self.peek().map_or_else(|| "the end of the file".into(), |t| format!("`{}`", t.text))
    }

    fn fail<T>(&self, message: impl Into<String>, help: &str) -> Outcome<T> {
        let mut diagnostic = Diagnostic::error(self.here(), message).help(help);
        if let Some(token) = self.peek().filter(|t| t.used_at.is_some_and(|u| u != t.span)) {
            diagnostic = diagnostic.related(token.span, "the text comes from this macro");
        }
        Err(Box::new(diagnostic))
    }

    fn expect(&mut self, c: char, after: &str) -> Outcome<Span> {
        let span = self.here();
        if self.accept(c) {
            return Ok(span);
        }
        self.fail(format!("expected `{c}` after {after}, found {}", self.found()), &format!("add `{c}`"))
    }

    /// An identifier that is no word of the language.
    fn name(&mut self, what: &str) -> Outcome<Name> {
        if let Some(token) = self.peek().filter(|t| t.kind == Kind::Ident)
            && (KEYWORDS.contains(&lower(token).as_str()) || token.text.starts_with("MACH_MSG_TYPE_"))
        {
            return self.fail(
                format!("expected {what}, found `{}`, a word of the language", token.text),
                "choose another name; the words of the language are no names, whatever their case",
            );
        }
        self.word(what)
    }

    fn word(&mut self, what: &str) -> Outcome<Name> {
        match self.peek() {
            Some(t) if t.kind == Kind::Ident && !t.text.contains('$') => {
                self.at += 1;
                Ok(Name { text: t.text.to_string(), span: t.place() })
            }
            _ => self.fail(
                format!("expected {what}, found {}", self.found()),
                "names are C identifiers: letters, digits and _, not beginning with a digit",
            ),
        }
    }

    fn nest(&mut self) -> Outcome<()> {
        self.nesting += 1;
        if self.nesting > MAX_NESTING {
            return self
                .fail(format!("nested deeper than {MAX_NESTING}"), "define parts as types of their own");
        }
        Ok(())
    }

    /// Skips to behind the next `;` outside brackets, or to before a word that begins a statement on a new line.
    fn recover(&mut self, start: usize) {
        self.at = self.at.max(start + 1);
        let mut depth = 0i32;
        for t in &self.tokens[start.min(self.tokens.len())..self.at.min(self.tokens.len())] {
            depth += i32::from(t.is('(') || t.is('{')) - i32::from(t.is(')') || t.is('}'));
        }
        while let Some(token) = self.peek() {
            if token.starts_line && self.begins_statement(token) {
                return;
            }
            self.at += 1;
            depth += i32::from(token.is('(') || token.is('{')) - i32::from(token.is(')') || token.is('}'));
            if token.is(';') && depth <= 0 {
                return;
            }
        }
    }

    fn begins_statement(&self, token: &Token) -> bool {
        STATEMENTS.contains(&lower(token).as_str())
    }

    fn statement(&mut self) -> Outcome<(Statement, Option<Box<Diagnostic>>)> {
        let Some(first) = self.peek() else { return self.fail("expected a statement", "") };
        let doc = first.doc.as_deref().map(str::to_string);
        let word = if first.kind == Kind::Ident { lower(first) } else { String::new() };
        self.at += 1;
        let statement = match word.as_str() {
            "subsystem" => self.subsystem(doc)?,
            "skip" => {
                let bare = self.peek().is_none_or(|t| t.is(';') || t.starts_line);
                Statement::Skip(if bare { 1 } else { self.number()? })
            }
            "routine" | "simpleroutine" => {
                Statement::Routine(self.routine(first.place(), word == "simpleroutine", doc, None)?)
            }
            "donation" => Statement::Routine(self.donated_routine(first.place(), doc)?),
            "donation_default" => Statement::DonationDefault(self.ceilings()?),
            "type" => {
                let name = self.name("the name of a type")?;
                self.expect('=', "the name of a type")?;
                Statement::Type { name, spec: self.type_spec()?, doc }
            }
            "import" => Statement::Import { sides: Sides::Both, file: self.import_file()? },
            "uimport" => Statement::Import { sides: Sides::User, file: self.import_file()? },
            "simport" => Statement::Import { sides: Sides::Server, file: self.import_file()? },
            "serverprefix" => Statement::ServerPrefix(self.name("a prefix")?),
            "userprefix" => Statement::UserPrefix(self.name("a prefix")?),
            "serverdemux" => Statement::ServerDemux(self.name("the name of the demultiplexer")?),
            "waittime" => Statement::WaitTime(Some(self.expression("waittime")?)),
            "nowaittime" => Statement::WaitTime(None),
            "msgoption" => Statement::MsgOption(self.expression("msgoption")?),
            "rcsid" => match self.peek() {
                Some(t) if t.kind == Kind::Str => {
                    self.at += 1;
                    Statement::RcsId(t.text.to_string())
                }
                _ => {
                    return self
                        .fail(format!("expected a string, found {}", self.found()), "write rcsid \"...\"");
                }
            },
            "function" | "procedure" | "simpleprocedure" => {
                self.at -= 1;
                return self.fail(
                    format!("`{word}` is no longer part of the language"),
                    "use routine or simpleroutine; the return code is always the routine's result",
                );
            }
            _ => {
                self.at -= 1;
                let help = match near(&word, &STATEMENTS) {
                    Some(known) => format!("did you mean {known}?"),
                    None => {
                        "statements begin with subsystem, type, routine, simpleroutine, skip, import, ..."
                            .into()
                    }
                };
                return self.fail(format!("expected a statement, found {}", self.found()), &help);
            }
        };
        let end = self.tokens[self.at - 1].place();
        // What is nothing to other compilers needs no `;`.
        if self.accept(';') || matches!(statement, Statement::DonationDefault(_)) {
            return Ok((statement, None));
        }
        let behind = Span { lo: end.hi, ..end };
        let missing =
            Diagnostic::error(behind, format!("expected `;` after a statement, found {}", self.found()))
                .help("add `;`");
        // If the next statement begins here, only the `;` is missing, and this statement counts.
        if self.peek().is_none_or(|t| t.starts_line && self.begins_statement(t)) {
            return Ok((statement, Some(Box::new(missing))));
        }
        Err(Box::new(missing))
    }

    fn subsystem(&mut self, doc: Option<String>) -> Outcome<Statement> {
        let (mut kernel_user, mut kernel_server) = (false, false);
        loop {
            if self.accept_word("kerneluser") {
                kernel_user = true;
            } else if self.accept_word("kernelserver") {
                kernel_server = true;
            } else {
                break;
            }
        }
        let name = self.name("the name of the subsystem")?;
        let place = self.here();
        let base = self.number()?;
        let base = i32::try_from(base).map_err(|_| {
            Box::new(Diagnostic::error(place, "message ids are at most 2147483647").help("begin lower"))
        })?;
        Ok(Statement::Subsystem { name, base, kernel_user, kernel_server, doc })
    }

    fn number(&mut self) -> Outcome<u32> {
        let Some(token) = self.peek().filter(|t| t.kind == Kind::Number) else {
            return self.fail(format!("expected a number, found {}", self.found()), "numbers are decimal");
        };
        match token.text.parse() {
            Ok(value) => {
                self.at += 1;
                Ok(value)
            }
            Err(_) => self.fail(
                format!("`{}` is no number that MIG knows", token.text),
                "numbers are decimal and at most 4294967295",
            ),
        }
    }

    /// `+ - * / ( )` over decimal numbers.
    fn arithmetic(&mut self) -> Outcome<u32> {
        let place = self.here();
        let value = self.sum()?;
        u32::try_from(value).map_err(|_| {
            Box::new(Diagnostic::error(place, format!("{value} is out of range")).help("use 0 to 4294967295"))
        })
    }

    fn sum(&mut self) -> Outcome<i64> {
        let mut left = self.product()?;
        loop {
            let place = self.here();
            let result = if self.accept('+') {
                left.checked_add(self.product()?)
            } else if self.accept('-') {
                left.checked_sub(self.product()?)
            } else {
                return Ok(left);
            };
            left = result.ok_or_else(|| {
                Box::new(Diagnostic::error(place, "this overflows").help("use smaller numbers"))
            })?;
        }
    }

    fn product(&mut self) -> Outcome<i64> {
        let mut left = self.factor()?;
        loop {
            let place = self.here();
            let result = if self.accept('*') {
                left.checked_mul(self.factor()?)
            } else if self.accept('/') {
                left.checked_div(self.factor()?)
            } else {
                return Ok(left);
            };
            left = result.ok_or_else(|| {
                Box::new(
                    Diagnostic::error(place, "this overflows, or divides by 0")
                        .help("use smaller numbers, and others than 0 behind `/`"),
                )
            })?;
        }
    }

    fn factor(&mut self) -> Outcome<i64> {
        if self.accept('(') {
            self.nest()?;
            let value = self.sum()?;
            self.expect(')', "an expression")?;
            self.nesting -= 1;
            return Ok(value);
        }
        self.number().map(i64::from)
    }

    /// The raw text up to `;`.
    fn expression(&mut self, after: &str) -> Outcome<Expression> {
        let start = self.here();
        let mut text = String::new();
        while let Some(token) = self.peek().filter(|t| !t.is(';')) {
            if token.spaced && !text.is_empty() {
                text.push(' ');
            }
            text.push_str(&token.text);
            self.at += 1;
        }
        if text.is_empty() {
            return self.fail(
                format!("expected an expression after `{after}`, found {}", self.found()),
                "give a number or the name of a constant",
            );
        }
        Ok(Expression { text, span: start.to(self.tokens[self.at - 1].place()) })
    }

    fn import_file(&mut self) -> Outcome<String> {
        match self.peek() {
            Some(t) if t.kind == Kind::Str => {
                self.at += 1;
                Ok(t.text.to_string())
            }
            Some(t) if t.is('<') => {
                let mut text = String::new();
                while let Some(token) = self.peek() {
                    if token.is(';') {
                        break;
                    }
                    self.at += 1;
                    text.push_str(&token.text);
                    if token.is('>') {
                        return Ok(text);
                    }
                }
                self.fail("this file name has no end", "add `>`")
            }
            _ => self.fail(
                format!("expected a file name, found {}", self.found()),
                "write import <file> or \"file\"",
            ),
        }
    }
}
