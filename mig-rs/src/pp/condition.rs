//! The expressions of `#if`.

use super::Preprocessor;
use crate::lex::{Kind, Token};
use crate::source::{Diagnostic, Span};

/// Deepest nesting of brackets and signs.
const MAX_NESTING: usize = 100;

impl Preprocessor<'_> {
    pub(super) fn condition(&mut self, line: &[Token], span: Span) -> bool {
        // `defined X` is answered before expansion.
        let mut input = Vec::new();
        let mut at = 0;
        while let Some(token) = line.get(at) {
            at += 1;
            if &*token.text != "defined" {
                input.push(token.clone());
                continue;
            }
            let bracket = line.get(at).is_some_and(|t| t.is('('));
            at += usize::from(bracket);
            let known = line.get(at).is_some_and(|t| self.macros.contains_key(&t.text));
            at += 1 + usize::from(bracket);
            let mut value = token.clone();
            (value.kind, value.text) = (Kind::Number, if known { "1" } else { "0" }.into());
            input.push(value);
        }
        let expanded = self.expand(input);
        let mut parser = Parser { tokens: &expanded, at: 0, nesting: 0 };
        match parser.ternary() {
            Some(value) if parser.at == expanded.len() => value != 0,
            _ => {
                self.diagnostics.push(
                    Diagnostic::error(span, "this condition is no integer expression")
                        .note("names that are not defined count as 0"),
                );
                false
            }
        }
    }
}

struct Parser<'a> {
    tokens: &'a [Token],
    at: usize,
    nesting: usize,
}

/// Operators by rank, weakest first; longer ones before their prefixes.
const RANKS: [&[&str]; 10] = [
    &["||"],
    &["&&"],
    &["|"],
    &["^"],
    &["&"],
    &["==", "!="],
    &["<=", ">=", "<", ">"],
    &["<<", ">>"],
    &["+", "-"],
    &["*", "/", "%"],
];

impl Parser<'_> {
    fn punct(&self, offset: usize) -> Option<char> {
        self.tokens
            .get(self.at + offset)
            .filter(|t| t.kind == Kind::Punct)
            .and_then(|t| t.text.chars().next())
    }

    fn accept(&mut self, operator: &str) -> bool {
        let matches = operator.chars().enumerate().all(|(i, c)| {
            self.punct(i) == Some(c) && (i == 0 || self.tokens.get(self.at + i).is_some_and(|t| !t.spaced))
        });
        // `|` must not take half of `||`, nor `<` half of `<<`.
        let single = operator.len() == 1 && matches!(operator, "|" | "&" | "<" | ">");
        let doubled = single
            && self.punct(1) == self.punct(0)
            && self.tokens.get(self.at + 1).is_some_and(|t| !t.spaced);
        if matches && !doubled {
            self.at += operator.len();
        }
        matches && !doubled
    }

    fn ternary(&mut self) -> Option<i64> {
        let condition = self.binary(0)?;
        if !self.accept("?") {
            return Some(condition);
        }
        self.nesting += 1;
        if self.nesting > MAX_NESTING {
            return None;
        }
        let yes = self.ternary()?;
        if !self.accept(":") {
            return None;
        }
        let no = self.ternary()?;
        self.nesting -= 1;
        Some(if condition != 0 { yes } else { no })
    }

    fn binary(&mut self, rank: usize) -> Option<i64> {
        let Some(operators) = RANKS.get(rank) else { return self.unary() };
        let mut left = self.binary(rank + 1)?;
        'more: loop {
            for operator in *operators {
                if self.accept(operator) {
                    let right = self.binary(rank + 1)?;
                    left = apply(operator, left, right)?;
                    continue 'more;
                }
            }
            return Some(left);
        }
    }

    fn unary(&mut self) -> Option<i64> {
        self.nesting += 1;
        if self.nesting > MAX_NESTING {
            return None;
        }
        let value = if self.accept("!") {
            i64::from(self.unary()? == 0)
        } else if self.accept("-") {
            self.unary()?.wrapping_neg()
        } else if self.accept("+") {
            self.unary()?
        } else if self.accept("~") {
            !self.unary()?
        } else if self.accept("(") {
            let value = self.ternary()?;
            if !self.accept(")") {
                return None;
            }
            value
        } else {
            let token = self.tokens.get(self.at)?;
            self.at += 1;
            match token.kind {
                Kind::Ident => 0,
                Kind::Number => number(&token.text)?,
                _ => return None,
            }
        };
        self.nesting -= 1;
        Some(value)
    }
}

fn number(text: &str) -> Option<i64> {
    let text = text.trim_end_matches(['u', 'U', 'l', 'L']);
    if let Some(hex) = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        i64::from_str_radix(hex, 16).ok()
    } else if text.len() > 1 && text.starts_with('0') {
        i64::from_str_radix(text, 8).ok()
    } else {
        text.parse().ok()
    }
}

fn apply(operator: &str, left: i64, right: i64) -> Option<i64> {
    Some(match operator {
        "||" => i64::from(left != 0 || right != 0),
        "&&" => i64::from(left != 0 && right != 0),
        "|" => left | right,
        "^" => left ^ right,
        "&" => left & right,
        "==" => i64::from(left == right),
        "!=" => i64::from(left != right),
        "<" => i64::from(left < right),
        ">" => i64::from(left > right),
        "<=" => i64::from(left <= right),
        ">=" => i64::from(left >= right),
        "<<" => left.wrapping_shl(u32::try_from(right).ok()?),
        ">>" => left.wrapping_shr(u32::try_from(right).ok()?),
        "+" => left.wrapping_add(right),
        "-" => left.wrapping_sub(right),
        "*" => left.wrapping_mul(right),
        "/" => left.checked_div(right)?,
        "%" => left.checked_rem(right)?,
        _ => return None,
    })
}
