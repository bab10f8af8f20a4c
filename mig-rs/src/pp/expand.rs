//! Expansion of macros.

use std::collections::HashMap;
use std::rc::Rc;

use super::{MAX_TOKENS, Macro, Preprocessor};
use crate::lex::{Kind, Token};
use crate::source::Diagnostic;

impl Preprocessor<'_> {
    /// Expands until nothing can be expanded any more.
    pub(super) fn expand(&mut self, input: Vec<Token>) -> Vec<Token> {
        let mut work: Vec<Token> = input.into_iter().rev().collect();
        let mut out = Vec::new();
        let mut steps = 0usize;
        while let Some(token) = work.pop() {
            steps += 1;
            if steps > MAX_TOKENS || work.len() > MAX_TOKENS {
                self.overrun();
                return out;
            }
            if token.kind != Kind::Ident || token.hidden.contains(&token.text) {
                out.push(token);
                continue;
            }
            let Some(definition) = self.macros.get(&token.text) else {
                out.push(token);
                continue;
            };
            let definition = definition.clone();
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
                            let mut d =
                                Diagnostic::error(token.place(), format!("{}: {message}", token.text));
                            if let Some(span) = definition.defined_at {
                                d = d.related(span, "the macro is defined here");
                            }
                            self.diagnostics.push(d);
                            continue;
                        }
                    }
                }
            };
            let replaced = self.replace(&token, &definition, &arguments);
            work.extend(replaced.into_iter().rev());
        }
        out
    }

    fn replace(
        &mut self,
        used: &Token,
        definition: &Macro,
        arguments: &HashMap<Rc<str>, Vec<Token>>,
    ) -> Vec<Token> {
        let mut hidden = used.hidden.clone();
        hidden.push(used.text.clone());
        let mut out: Vec<Token> = Vec::new();
        let mut body = definition.body.iter().peekable();
        let mut paste = false;
        while let Some(token) = body.next() {
            if token.is('#') && body.peek().is_some_and(|t| t.is('#') && !t.spaced) {
                body.next();
                paste = true;
                continue;
            }
            if token.is('#')
                && definition.parameters.is_some()
                && let Some(argument) = body.peek().and_then(|t| arguments.get(&t.text))
            {
                let text: String = argument.iter().map(|t| &*t.text).collect::<Vec<_>>().join(" ");
                let mut string = token.clone();
                (string.kind, string.text) = (Kind::Str, format!("\"{text}\"").into());
                string.used_at = Some(used.place());
                body.next();
                out.push(string);
                continue;
            }
            let next_pastes = body.peek().is_some_and(|t| t.is('#'));
            let place = used.place();
            let mut piece = match arguments.get(&token.text).filter(|_| token.kind == Kind::Ident) {
                // Arguments stand where the macro is used, and that is where their mistakes are.
                Some(argument) if paste || next_pastes => argument.clone(),
                Some(argument) => {
                    let argument = argument.clone();
                    self.expand(argument)
                }
                None => vec![Token { used_at: Some(place), ..token.clone() }],
            };
            if paste && !piece.is_empty() {
                paste = false;
                if let Some(left) = out.last_mut() {
                    let right = piece.remove(0);
                    left.text = format!("{}{}", left.text, right.text).into();
                }
            }
            out.extend(piece);
        }
        for (i, token) in out.iter_mut().enumerate() {
            // An argument of an inner macro that comes from this one's body stands where this one is used.
            if used.used_at.is_some() {
                token.used_at = used.used_at;
            }
            token.starts_line = false;
            token.hidden.extend(hidden.iter().cloned());
            if i == 0 {
                token.doc = used.doc.clone();
            }
        }
        out
    }
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
        let token = work.pop().ok_or("the arguments have no end; add )")?;
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
        return Err(format!("{} arguments for {} parameters", list.len(), parameters.len()));
    }
    Ok(parameters.iter().cloned().zip(list).collect())
}
