//! What a type is in C on either side, and how a server translates it.

use std::rc::Rc;

use super::Checker;
use crate::ast::TypeSpec;
use crate::model::{Shape, Translation, Wire};
use crate::source::{Diagnostic, Span};

/// Names of a type's C types.
#[derive(Clone)]
pub(super) struct CTypes {
    pub(super) user: String,
    pub(super) server: String,
    pub(super) translation: Option<Rc<Translation>>,
}

impl CTypes {
    /// Of a type that says nothing.
    pub(super) fn named(name: &str) -> Self {
        Self { user: name.into(), server: name.into(), translation: None }
    }
}

impl Checker {
    /// What a definition says of C. `None`: nothing. Nothing of it passes on to types that are defined by this one.
    pub(super) fn c_types(
        &mut self,
        name: &str,
        place: Span,
        spec: &TypeSpec,
        wire: &Wire,
    ) -> Option<CTypes> {
        let mut translation = Translation::default();
        let mut types: Vec<&str> = Vec::new();
        for (word, names) in &spec.translations {
            let at = |n: usize| names.get(n).cloned().unwrap_or_default();
            let (own, function, place_of) = match word.as_str() {
                "intran" => (0, at(1), &mut translation.intran),
                "intranpayload" => (0, at(1), &mut translation.intran_payload),
                "outtran" => (2, at(1), &mut translation.outtran),
                _ => (1, at(0), &mut translation.destructor),
            };
            if place_of.is_some() {
                self.diagnostics.push(
                    Diagnostic::error(place, format!("{name} has two translations `{word}`"))
                        .warning()
                        .note("the last one counts")
                        .help("drop the others"),
                );
            }
            *place_of = Some(function);
            types.extend(names.get(own).map(String::as_str));
        }
        if let (Some(first), Some(other)) = (types.first(), types.iter().find(|t| Some(*t) != types.first()))
        {
            self.diagnostics.push(
                Diagnostic::error(place, format!("{name} is both {first} and {other} at the server"))
                    .note("intran, intranpayload, outtran and destructor of a type speak of one type of the server's")
                    .help("use the same name in all of them"),
            );
        }
        let server_type = types.first().map(ToString::to_string);
        if server_type.is_some() && !matches!(wire.shape, Shape::Fixed(_)) {
            self.diagnostics.push(
                Diagnostic::error(place, format!("{name} cannot be translated"))
                    .note("only values of fixed size are; an array of variable length has no single value")
                    .help("translate in the server's method"),
            );
            return None;
        }
        if spec.ctype.is_none()
            && spec.cusertype.is_none()
            && spec.cservertype.is_none()
            && server_type.is_none()
        {
            return None;
        }
        let common = spec.ctype.clone().unwrap_or_else(|| name.into());
        let user = spec.cusertype.clone().unwrap_or_else(|| common.clone());
        let server = spec.cservertype.clone().or_else(|| server_type.clone()).unwrap_or(common);
        let translation = server_type.map(|server_type| Rc::new(Translation { server_type, ..translation }));
        Some(CTypes { user, server, translation })
    }
}
