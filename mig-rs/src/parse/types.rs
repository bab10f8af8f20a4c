//! Types.

use super::{Outcome, Parser, lower};
use crate::ast::{Base, Bound, Symbol, TypeSpec};
use crate::lex::{Kind, Token};
use crate::source::Span;

impl Parser<'_> {
    pub(super) fn type_spec(&mut self) -> Outcome<TypeSpec> {
        let base = self.base()?;
        let mut spec =
            TypeSpec { base, ctype: None, cusertype: None, cservertype: None, translations: Vec::new() };
        while let Some(token) = self.peek().filter(|t| t.kind == Kind::Ident) {
            let word = lower(token);
            match word.as_str() {
                "ctype" | "cusertype" | "cservertype" => {
                    self.at += 1;
                    self.expect(':', &word)?;
                    let name = Some(self.name("a C type")?.text);
                    match word.as_str() {
                        "ctype" => spec.ctype = name,
                        "cusertype" => spec.cusertype = name,
                        _ => spec.cservertype = name,
                    }
                }
                "intran" | "intranpayload" | "outtran" | "destructor" => {
                    self.at += 1;
                    self.expect(':', &word)?;
                    spec.translations.push((word.clone(), self.translation(&word)?));
                }
                _ => break,
            }
        }
        Ok(spec)
    }

    /// `T f ( S )`, `T f`, `f ( T )`: the names in order.
    fn translation(&mut self, word: &str) -> Outcome<Vec<String>> {
        let mut names = vec![self.name("a name")?.text];
        if word != "destructor" {
            names.push(self.name("the name of a function")?.text);
        }
        if word != "intranpayload" {
            self.expect('(', "the function of a translation")?;
            names.push(self.name("a C type")?.text);
            self.expect(')', "the argument of a translation")?;
        }
        Ok(names)
    }

    fn symbol(&mut self) -> Outcome<Symbol> {
        match self.peek() {
            Some(t) if t.kind == Kind::Number || is_symbol(t) => {
                self.at += 1;
                Ok(Symbol { text: t.text.to_string(), span: t.place() })
            }
            _ => self.fail(
                format!("expected a MACH_MSG_TYPE_ name or `polymorphic`, found {}", self.found()),
                "one `|` stands between what is put and what is seen, as in MACH_MSG_TYPE_MAKE_SEND_ONCE | polymorphic",
            ),
        }
    }

    fn base(&mut self) -> Outcome<Base> {
        self.nest()?;
        let base = self.base_inner();
        self.nesting -= 1;
        base
    }

    fn base_inner(&mut self) -> Outcome<Base> {
        let start = self.here();
        let Some(token) = self.peek() else {
            return self.fail("expected a type, found the end of the file", "");
        };
        if self.accept('^') {
            return Ok(Base::OutOfLine(Box::new(self.base()?), start));
        }
        if self.accept('(') {
            let send = self.symbol()?;
            let receive = if self.accept('|') { Some(self.symbol()?) } else { None };
            self.expect(',', "the name of a sized type")?;
            let bits = self.arithmetic()?;
            let flags = self.flags()?;
            self.expect(')', "a sized type")?;
            return Ok(Base::Sized { send, receive, bits, flags });
        }
        if token.kind == Kind::Number || is_symbol(token) {
            let send = self.symbol()?;
            let receive = if self.accept('|') { Some(self.symbol()?) } else { None };
            return Ok(Base::Symbols(send, receive));
        }
        if self.accept_word("array") {
            self.expect('[', "`array`")?;
            let bound = if self.accept(']') {
                return self.array_of(Bound::Indefinite, start);
            } else if self.accept('*') {
                if self.accept(':') { Bound::AtMost(self.arithmetic()?) } else { Bound::Indefinite }
            } else {
                Bound::Exactly(self.arithmetic()?)
            };
            self.expect(']', "the bound of an array")?;
            return self.array_of(bound, start);
        }
        if self.accept_word("struct") {
            if self.accept('[') {
                let number = self.arithmetic()?;
                self.expect(']', "the bound of a struct")?;
                self.of()?;
                return Ok(Base::StructArray(number, Box::new(self.base()?), start));
            }
            self.expect('{', "`struct`")?;
            let mut fields = Vec::new();
            while !self.accept('}') {
                let base = Base::Named(self.name("the name of the type of a field")?);
                fields.push((base, self.name("the name of a field")?));
                self.expect(';', "a field")?;
            }
            return Ok(Base::Struct(fields, start));
        }
        if self.accept_word("c_string") {
            self.expect('[', "`c_string`")?;
            let variable = self.accept('*');
            if variable {
                self.expect(':', "`*`")?;
            }
            let size = self.arithmetic()?;
            self.expect(']', "the size of a string")?;
            return Ok(Base::CString { size, variable, span: start });
        }
        Ok(Base::Named(self.name("a type")?))
    }

    fn of(&mut self) -> Outcome<()> {
        if self.accept_word("of") {
            return Ok(());
        }
        self.fail(format!("expected `of`, found {}", self.found()), "write `array [...] of type`")
    }

    fn array_of(&mut self, bound: Bound, start: Span) -> Outcome<Base> {
        self.of()?;
        Ok(Base::Array(bound, Box::new(self.base()?), start))
    }
}

fn is_symbol(token: &Token) -> bool {
    token.kind == Kind::Ident
        && (token.text.starts_with("MACH_MSG_TYPE_") || token.text.eq_ignore_ascii_case("polymorphic"))
}
