//! The expressions of `#if`, in 64 bits, signed or not, as a C preprocessor has them.

use super::Preprocessor;
use crate::lex::{Kind, Token};
use crate::source::{Diagnostic, Span};

/// Deepest nesting of brackets and signs.
const MAX_NESTING: usize = 100;

impl Preprocessor<'_> {
    pub(super) fn condition(&mut self, line: &[Token], span: Span) -> bool {
        if line.is_empty() {
            self.diagnostics
                .push(Diagnostic::error(span, "this condition is empty").help("write #if EXPRESSION"));
            return false;
        }
        let expanded = self.expand_condition(line.to_vec());
        let mut parser = Parser { tokens: &expanded, at: 0, nesting: 0, dead: 0 };
        let wrong = match parser.ternary() {
            Ok(value) if parser.at == expanded.len() => return value.bits != 0,
            Ok(_) => Wrong::Syntax,
            Err(wrong) => wrong,
        };
        let place =
            expanded.get(parser.at).filter(|t| t.place().file == span.file).map_or(span, Token::place);
        let (message, note) = match wrong {
            Wrong::Division => {
                ("this condition divides by 0", "both sides of / and % are looked at where they count")
            }
            Wrong::Deep => ("this condition is nested too deeply", "brackets and signs nest 100 deep"),
            Wrong::Number => (
                "this is no integer that fits in 64 bits",
                "conditions know decimal, octal and hexadecimal integers",
            ),
            Wrong::Syntax => {
                ("this condition is no integer expression", "names that are not defined count as 0")
            }
        };
        self.diagnostics.push(
            Diagnostic::error(place, message)
                .note(note)
                .help("write an expression of integers, names and `defined NAME`"),
        );
        false
    }
}

/// An integer.
#[derive(Clone, Copy)]
struct Value {
    bits: u64,
    unsigned: bool,
}

impl Value {
    fn truth(truth: bool) -> Self {
        Self { bits: u64::from(truth), unsigned: false }
    }
}

/// Why there is no value.
enum Wrong {
    Syntax,
    Division,
    Number,
    Deep,
}

struct Parser<'a> {
    tokens: &'a [Token],
    at: usize,
    nesting: usize,
    /// In how many operands that do not count, where anything goes that is an expression.
    dead: usize,
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

    fn deeper(&mut self) -> Result<(), Wrong> {
        self.nesting += 1;
        if self.nesting > MAX_NESTING { Err(Wrong::Deep) } else { Ok(()) }
    }

    /// An operand that counts only if `alive`.
    fn operand(
        &mut self,
        alive: bool,
        parse: impl FnOnce(&mut Self) -> Result<Value, Wrong>,
    ) -> Result<Value, Wrong> {
        self.dead += usize::from(!alive);
        let value = parse(self);
        self.dead -= usize::from(!alive);
        value
    }

    fn ternary(&mut self) -> Result<Value, Wrong> {
        let condition = self.binary(0)?;
        if !self.accept("?") {
            return Ok(condition);
        }
        self.deeper()?;
        let truth = condition.bits != 0;
        let yes = self.operand(truth, Self::ternary)?;
        if !self.accept(":") {
            return Err(Wrong::Syntax);
        }
        let no = self.operand(!truth, Self::ternary)?;
        self.nesting -= 1;
        let bits = if truth { yes.bits } else { no.bits };
        Ok(Value { bits, unsigned: yes.unsigned || no.unsigned })
    }

    fn binary(&mut self, rank: usize) -> Result<Value, Wrong> {
        let Some(operators) = RANKS.get(rank) else { return self.unary() };
        let mut left = self.binary(rank + 1)?;
        'more: loop {
            for operator in *operators {
                if self.accept(operator) {
                    let alive = match *operator {
                        "||" => left.bits == 0,
                        "&&" => left.bits != 0,
                        _ => true,
                    };
                    let right = self.operand(alive, |parser| parser.binary(rank + 1))?;
                    left = self.apply(operator, left, right)?;
                    continue 'more;
                }
            }
            return Ok(left);
        }
    }

    fn unary(&mut self) -> Result<Value, Wrong> {
        self.deeper()?;
        let value = if self.accept("!") {
            Value::truth(self.unary()?.bits == 0)
        } else if self.accept("-") {
            let value = self.unary()?;
            Value { bits: value.bits.wrapping_neg(), ..value }
        } else if self.accept("+") {
            self.unary()?
        } else if self.accept("~") {
            let value = self.unary()?;
            Value { bits: !value.bits, ..value }
        } else if self.accept("(") {
            let value = self.ternary()?;
            if !self.accept(")") {
                return Err(Wrong::Syntax);
            }
            value
        } else {
            let token = self.tokens.get(self.at).ok_or(Wrong::Syntax)?;
            let value = match token.kind {
                Kind::Ident => Value::truth(false),
                Kind::Number => number(&token.text).ok_or(Wrong::Number)?,
                _ => return Err(Wrong::Syntax),
            };
            self.at += 1;
            value
        };
        self.nesting -= 1;
        Ok(value)
    }

    fn apply(&self, operator: &str, left: Value, right: Value) -> Result<Value, Wrong> {
        let unsigned = left.unsigned || right.unsigned;
        let (a, b) = (left.bits, right.bits);
        let (signed_a, signed_b) = (a.cast_signed(), b.cast_signed());
        let less = if unsigned { a < b } else { signed_a < signed_b };
        let bits = match operator {
            "||" => return Ok(Value::truth(a != 0 || b != 0)),
            "&&" => return Ok(Value::truth(a != 0 && b != 0)),
            "==" => return Ok(Value::truth(a == b)),
            "!=" => return Ok(Value::truth(a != b)),
            "<" => return Ok(Value::truth(less)),
            ">=" => return Ok(Value::truth(!less)),
            ">" => return Ok(Value::truth(!less && a != b)),
            "<=" => return Ok(Value::truth(less || a == b)),
            "<<" | ">>" => return Ok(shift(operator == "<<", left, right)),
            "/" | "%" if b == 0 && self.dead > 0 => 0,
            "/" | "%" if b == 0 => return Err(Wrong::Division),
            "/" if unsigned => a / b,
            "%" if unsigned => a % b,
            "/" => signed_a.wrapping_div(signed_b).cast_unsigned(),
            "%" => signed_a.wrapping_rem(signed_b).cast_unsigned(),
            "|" => a | b,
            "^" => a ^ b,
            "&" => a & b,
            "+" => a.wrapping_add(b),
            "-" => a.wrapping_sub(b),
            "*" => a.wrapping_mul(b),
            _ => return Err(Wrong::Syntax),
        };
        Ok(Value { bits, unsigned })
    }
}

/// As far as there are bits; a negative amount shifts the other way. The left side says whether it is signed.
fn shift(left: bool, value: Value, by: Value) -> Value {
    let back = !by.unsigned && by.bits.cast_signed() < 0;
    let amount = if back { by.bits.wrapping_neg() } else { by.bits };
    let amount = u32::try_from(amount).unwrap_or(u32::MAX);
    let bits = match (left != back, value.unsigned) {
        (true, _) => value.bits.checked_shl(amount).unwrap_or(0),
        (false, true) => value.bits.checked_shr(amount).unwrap_or(0),
        (false, false) => value.bits.cast_signed().wrapping_shr(amount.min(63)).cast_unsigned(),
    };
    Value { bits, unsigned: value.unsigned }
}

fn number(text: &str) -> Option<Value> {
    let digits = text.trim_end_matches(['u', 'U', 'l', 'L']);
    let suffix = text.get(digits.len()..)?.to_ascii_lowercase();
    if !matches!(suffix.as_str(), "" | "u" | "l" | "ul" | "lu" | "ll" | "ull" | "llu") {
        return None;
    }
    let lower = digits.to_ascii_lowercase();
    let bits = if let Some(hex) = lower.strip_prefix("0x") {
        u64::from_str_radix(hex, 16).ok()?
    } else if let Some(binary) = lower.strip_prefix("0b") {
        u64::from_str_radix(binary, 2).ok()?
    } else if lower.len() > 1 && lower.starts_with('0') {
        u64::from_str_radix(&lower, 8).ok()?
    } else {
        lower.parse().ok()?
    };
    // What does not fit with a sign has none.
    Some(Value { bits, unsigned: suffix.contains('u') || bits.cast_signed() < 0 })
}
