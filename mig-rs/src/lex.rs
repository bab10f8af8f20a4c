//! Text to tokens: what the C preprocessor calls preprocessing tokens, with comments kept only as documentation.

use std::rc::Rc;

use crate::source::Span;

/// Kind of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A C identifier.
    Ident,
    /// Digits, and whatever letters are glued to them.
    Number,
    /// `"..."`, with its quotes.
    Str,
    /// One other character.
    Punct,
    /// In the place of something of which it has been said that it is wrong.
    Wrong,
}

/// Names of macros, shared by all tokens of one expansion.
pub(crate) type Hidden = Option<Rc<[Rc<str>]>>;

/// One token.
#[derive(Clone, Debug)]
pub(crate) struct Token {
    /// Kind.
    pub(crate) kind: Kind,
    /// Its text.
    pub(crate) text: Rc<str>,
    /// Where the text stands.
    pub(crate) span: Span,
    /// The use of the macro that it came from, outermost.
    pub(crate) used_at: Option<Span>,
    /// It is the first of its line.
    pub(crate) starts_line: bool,
    /// White space before it.
    pub(crate) spaced: bool,
    /// The comment that ends right before it, with only white space between.
    pub(crate) doc: Option<Rc<str>>,
    /// Names of macros that must not be expanded in it any more.
    pub(crate) hidden: Hidden,
}

impl Token {
    /// Is it this punctuation character?
    #[must_use]
    pub(crate) fn is(&self, c: char) -> bool {
        self.kind == Kind::Punct && self.text.starts_with(c)
    }

    /// A string has both its quotes.
    #[must_use]
    pub(crate) fn is_whole_string(&self) -> bool {
        self.text.len() > 1 && self.text.ends_with('"')
    }

    /// The place to show: the use of a macro rather than its definition.
    #[must_use]
    pub(crate) fn place(&self) -> Span {
        self.used_at.unwrap_or(self.span)
    }
}

/// Most tokens of one file; each takes some 100 bytes of memory.
const MAX_TOKENS: usize = 1_000_000;

/// The tokens of a file.
#[derive(Debug, Default)]
pub(crate) struct Lexed {
    pub(crate) tokens: Vec<Token>,
    /// A comment that has no end.
    pub(crate) open_comment: Option<Span>,
    /// There are more.
    pub(crate) too_many: bool,
}

/// Splits a whole file. Never fails: what is no token in C becomes [`Kind::Punct`].
#[must_use]
pub(crate) fn tokens(file: usize, text: &str) -> Lexed {
    // A mark of the byte order is no text.
    let at = if text.starts_with('\u{feff}') { '\u{feff}'.len_utf8() } else { 0 };
    Lexer { file, text, at }.run()
}

/// The bytes of a backslash at the end of a line, with that end.
fn continued(text: &str) -> Option<usize> {
    ["\\\n", "\\\r\n"].iter().find(|end| text.starts_with(**end)).map(|end| end.len())
}

struct Lexer<'a> {
    file: usize,
    text: &'a str,
    at: usize,
}

impl Lexer<'_> {
    fn peek(&self) -> Option<char> {
        self.text[self.at..].chars().next()
    }

    fn take_while(&mut self, accept: impl Fn(char) -> bool) {
        while let Some(c) = self.peek().filter(|&c| accept(c)) {
            self.at += c.len_utf8();
        }
    }

    fn run(mut self) -> Lexed {
        let mut out = Lexed::default();
        let (mut starts_line, mut spaced, mut doc) = (true, false, None::<Rc<str>>);
        while let Some(c) = self.peek() {
            let rest = &self.text[self.at..];
            if c == '\n' {
                (starts_line, spaced) = (true, true);
                // A blank line parts a comment from what follows.
                if rest[1..].trim_start_matches([' ', '\t', '\r']).starts_with('\n') {
                    doc = None;
                }
                self.at += 1;
            } else if let Some(len) = continued(rest) {
                self.at += len;
                spaced = true;
            } else if c.is_whitespace() {
                self.at += c.len_utf8();
                spaced = true;
            } else if let Some(comment) = rest.strip_prefix("/*") {
                let len = match comment.find("*/") {
                    Some(n) => n + 4,
                    None => {
                        out.open_comment = Some(Span { file: self.file, lo: self.at, hi: self.at + 2 });
                        rest.len()
                    }
                };
                doc = Some(comment_text(&rest[..len]).into());
                self.at += len;
                spaced = true;
            } else if rest.starts_with("//") {
                let lo = self.at;
                self.skip_line();
                doc = Some(self.text[lo + 2..self.at].trim().into());
                spaced = true;
            } else if out.tokens.len() == MAX_TOKENS {
                out.too_many = true;
                return out;
            } else {
                let lo = self.at;
                let kind = self.one(c);
                out.tokens.push(Token {
                    kind,
                    text: self.text[lo..self.at].into(),
                    span: Span { file: self.file, lo, hi: self.at },
                    used_at: None,
                    starts_line,
                    spaced,
                    doc: doc.take(),
                    hidden: None,
                });
                (starts_line, spaced) = (false, false);
            }
        }
        out
    }

    /// To the end of the line, continued lines included.
    fn skip_line(&mut self) {
        loop {
            let rest = &self.text[self.at..];
            let end = rest.find('\n').unwrap_or(rest.len());
            let is_continued = rest[..end].trim_end_matches('\r').ends_with('\\') && end < rest.len();
            self.at += end + usize::from(is_continued);
            if !is_continued {
                return;
            }
        }
    }

    fn one(&mut self, c: char) -> Kind {
        let word = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '$';
        if c.is_ascii_digit() {
            self.take_while(word);
            Kind::Number
        } else if word(c) {
            self.take_while(word);
            Kind::Ident
        } else if c == '"' {
            self.at += 1;
            loop {
                match self.peek() {
                    None | Some('\n') => break,
                    Some('"') => {
                        self.at += 1;
                        break;
                    }
                    Some('\\') => {
                        if let Some(len) = continued(&self.text[self.at..]) {
                            self.at += len;
                            continue;
                        }
                        self.at += 1;
                        if let Some(escaped) = self.peek().filter(|&c| c != '\n') {
                            self.at += escaped.len_utf8();
                        }
                    }
                    Some(other) => self.at += other.len_utf8(),
                }
            }
            Kind::Str
        } else {
            self.at += c.len_utf8();
            Kind::Punct
        }
    }
}

/// The text of a block comment without its frame.
fn comment_text(comment: &str) -> String {
    let inner = comment.strip_prefix("/*").unwrap_or(comment);
    let inner = inner.strip_suffix("*/").unwrap_or(inner).trim_start_matches('*');
    let lines: Vec<&str> = inner
        .lines()
        .map(|line| {
            let line = line.trim();
            line.strip_prefix("* ")
                .or_else(|| line.strip_prefix('*').filter(|l| l.is_empty()))
                .unwrap_or(line)
        })
        .collect();
    lines.join("\n").trim().to_string()
}
