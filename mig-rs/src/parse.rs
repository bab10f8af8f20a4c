//! Tokens to statements. After a mistake it goes on behind the next `;`, so that one run finds many.

mod donation;
mod types;
mod words;

use crate::ast::{Argument, Ceiling, Direction, Expression, Flag, Name, Routine, Sides, Statement};
use crate::lex::{Kind, Token};
use crate::source::{Diagnostic, Span};
use words::{KEYWORDS, STATEMENTS};

/// Deepest nesting of types and of brackets in numbers.
const MAX_NESTING: usize = 64;
/// Most findings of one run.
const MAX_DIAGNOSTICS: usize = 50;

type Parsed<T> = Result<T, Box<Diagnostic>>;

/// Statements, and what is wrong with the rest.
pub(crate) fn parse(tokens: &[Token]) -> (Vec<Statement>, Vec<Diagnostic>) {
    let mut parser = Parser { tokens, at: 0, nesting: 0 };
    let (mut statements, mut diagnostics) = (Vec::new(), Vec::new());
    while parser.at < tokens.len() {
        if parser.accept(';') {
            continue;
        }
        let start = parser.at;
        parser.nesting = 0;
        match parser.statement() {
            Ok((statement, missing)) => {
                statements.push(statement);
                diagnostics.extend(missing.map(|d| *d));
            }
            Err(diagnostic) => {
                diagnostics.push(*diagnostic);
                if diagnostics.len() >= MAX_DIAGNOSTICS {
                    break;
                }
                parser.recover(start);
            }
        }
    }
    (statements, diagnostics)
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

    fn fail<T>(&self, message: impl Into<String>, help: &str) -> Parsed<T> {
        let mut diagnostic = Diagnostic::error(self.here(), message).help(help);
        if let Some(token) = self.peek().filter(|t| t.used_at.is_some_and(|u| u != t.span)) {
            diagnostic = diagnostic.related(token.span, "the text comes from this macro");
        }
        Err(Box::new(diagnostic))
    }

    fn expect(&mut self, c: char, after: &str) -> Parsed<Span> {
        let span = self.here();
        if self.accept(c) {
            return Ok(span);
        }
        self.fail(format!("expected `{c}` after {after}, found {}", self.found()), &format!("add `{c}`"))
    }

    /// An identifier that is no word of the language.
    fn name(&mut self, what: &str) -> Parsed<Name> {
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

    fn word(&mut self, what: &str) -> Parsed<Name> {
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

    fn nest(&mut self) -> Parsed<()> {
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
            if token.starts_line && STATEMENTS.contains(&lower(token).as_str()) {
                return;
            }
            self.at += 1;
            depth += i32::from(token.is('(') || token.is('{')) - i32::from(token.is(')') || token.is('}'));
            if token.is(';') && depth <= 0 {
                return;
            }
        }
    }

    fn statement(&mut self) -> Parsed<(Statement, Option<Box<Diagnostic>>)> {
        let Some(first) = self.peek() else { return self.fail("expected a statement", "") };
        let doc = first.doc.as_deref().map(str::to_string);
        let word = if first.kind == Kind::Ident { lower(first) } else { String::new() };
        self.at += 1;
        let statement = match word.as_str() {
            "subsystem" => self.subsystem(doc)?,
            "skip" => {
                let count =
                    if self.peek().is_some_and(|t| t.kind == Kind::Number) { self.number()? } else { 1 };
                Statement::Skip(count)
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
                return self.fail(
                    format!("expected a statement, found {}", self.found()),
                    "statements begin with subsystem, type, routine, simpleroutine, skip, import, ...",
                );
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
        if self.peek().is_none_or(|t| t.starts_line && STATEMENTS.contains(&lower(t).as_str())) {
            return Ok((statement, Some(Box::new(missing))));
        }
        Err(Box::new(missing))
    }

    fn subsystem(&mut self, doc: Option<String>) -> Parsed<Statement> {
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
        let base = i32::try_from(base)
            .map_err(|_| Box::new(Diagnostic::error(place, "message ids are at most 2147483647")))?;
        Ok(Statement::Subsystem { name, base, kernel_user, kernel_server, doc })
    }

    fn number(&mut self) -> Parsed<u32> {
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
    fn arithmetic(&mut self) -> Parsed<u32> {
        let place = self.here();
        let value = self.sum()?;
        u32::try_from(value).map_err(|_| {
            Box::new(Diagnostic::error(place, format!("{value} is out of range")).help("use 0 to 4294967295"))
        })
    }

    fn sum(&mut self) -> Parsed<i64> {
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
            left = result.ok_or_else(|| Box::new(Diagnostic::error(place, "this overflows")))?;
        }
    }

    fn product(&mut self) -> Parsed<i64> {
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
            left = result
                .ok_or_else(|| Box::new(Diagnostic::error(place, "this overflows, or divides by 0")))?;
        }
    }

    fn factor(&mut self) -> Parsed<i64> {
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
    fn expression(&mut self, after: &str) -> Parsed<Expression> {
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

    fn import_file(&mut self) -> Parsed<String> {
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

    fn routine(
        &mut self,
        start: Span,
        simple: bool,
        doc: Option<String>,
        donation: Option<Vec<Ceiling>>,
    ) -> Parsed<Routine> {
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
                arguments.push(self.argument()?);
                if self.accept(')') {
                    break;
                }
                if !self.accept(';') {
                    return self.fail(
                        format!("expected `;` or `)` after an argument, found {}", self.found()),
                        "arguments are separated by `;`, flags by `,`; a type that is spelled out needs a name: `name : name_t = ...`",
                    );
                }
            }
        }
        let span = start.to(self.tokens[self.at - 1].place());
        Ok(Routine { name, simple, arguments, doc, donation, span })
    }

    fn argument(&mut self) -> Parsed<Argument> {
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
        let name = self.name("the name of an argument")?;
        self.expect(':', "the name of an argument")?;
        let type_name = self.name("the type of an argument")?;
        let spec = if self.accept('=') { Some(self.type_spec()?) } else { None };
        let flags = self.flags()?;
        let text = spell(&self.tokens[start..self.at]);
        Ok(Argument { direction, name, type_name, spec, flags, text })
    }

    fn flags(&mut self) -> Parsed<Vec<(Flag, Span)>> {
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
                    return self.fail(
                        format!("`{other}` is no flag"),
                        "flags are IsLong, IsNotLong, Dealloc, Dealloc[], NotDealloc, ServerCopy, CountInOut, RetCode; COPY, LOAN and GIFT with <donation.defs>",
                    );
                }
            };
            flags.push((flag, span));
        }
        Ok(flags)
    }
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
