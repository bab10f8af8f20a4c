//! Types: from their spelling to the wire.

use std::collections::HashMap;
use std::rc::Rc;

use super::Checker;
use crate::ast::{Base, Bound, Flag, Name, Symbol, TypeSpec};
use crate::model::{Dealloc, Elem, Field, MAX_INLINE, Placement, Prim, Shape, StructDef, Wire, msgt};
use crate::near::near;
use crate::source::{Diagnostic, Span};

/// Most fields of a struct.
const MAX_FIELDS: usize = 4096;
/// Deepest nesting of arrays in arrays, and of structs in structs.
const MAX_ARRAYS: usize = 32;
const MAX_STRUCTS: usize = 64;

/// Most bytes that one item may have in a message.
const MAX_ITEM: u64 = 1 << 20;

/// `(name, put by the sender, seen by the receiver, implied bits; 0: must be given)`
const SYMBOLS: [(&str, u32, u32, u32); 25] = [
    ("UNSTRUCTURED", 0, 0, 0),
    ("BIT", 0, 0, 1),
    ("BOOLEAN", 0, 0, 32),
    ("INTEGER_16", 1, 1, 16),
    ("INTEGER_32", 2, 2, 32),
    ("INTEGER_64", 11, 11, 64),
    ("CHAR", 8, 8, 8),
    ("BYTE", 9, 9, 8),
    ("INTEGER_8", 9, 9, 8),
    ("REAL", 10, 10, 0),
    ("STRING", 12, 12, 0),
    ("STRING_C", 12, 12, 0),
    ("PORT_NAME", 15, 15, 32),
    ("PORT_RECEIVE", 0xff, 16, 64),
    ("PORT_SEND", 0xff, 17, 64),
    ("PORT_SEND_ONCE", 0xff, 18, 64),
    ("PORT", 17, 17, 64),
    ("MOVE_RECEIVE", 16, 16, 64),
    ("MOVE_SEND", 17, 17, 64),
    ("MOVE_SEND_ONCE", 18, 18, 64),
    ("COPY_SEND", 19, 17, 64),
    ("MAKE_SEND", 20, 17, 64),
    ("MAKE_SEND_ONCE", 21, 18, 64),
    ("COPY_RECEIVE", 16, 16, 64),
    ("POLYMORPHIC", 0xff, 0xff, 64),
];

/// The descriptor name that somebody may have meant.
pub(super) fn symbol_near(text: &str) -> Option<String> {
    let word = text.strip_prefix("MACH_MSG_TYPE_")?;
    let names: Vec<&'static str> = SYMBOLS.iter().map(|s| s.0).collect();
    near(&word.to_ascii_uppercase(), &names).map(|name| format!("MACH_MSG_TYPE_{name}"))
}

/// C names that say whether an integer is signed.
const SIGNED: [&str; 16] = [
    "int",
    "short",
    "int8",
    "int16",
    "int32",
    "int64",
    "int8_t",
    "int16_t",
    "int32_t",
    "int64_t",
    "integer_t",
    "long",
    "rpc_long_integer_t",
    "long_integer_t",
    "signed32_t",
    "signed64_t",
];

pub(super) fn integer(name: u32, bits: u32, signed: bool) -> Wire {
    plain(name, bits, Elem::Prim(Prim::Int { bits, signed: Some(signed) }))
}

/// Where a field may begin: GNU MIG takes a basic type of up to 8 bytes for as aligned as it is long, and a longer one for as
/// aligned as words.
fn alignment(elem: &Elem, bits: u32) -> u32 {
    match elem {
        Elem::Struct(def) => def.align,
        Elem::Array(inner, _) => alignment(inner, bits),
        Elem::Prim(_) => (bits / 8).clamp(1, 8),
    }
}

fn plain(name: u32, bits: u32, elem: Elem) -> Wire {
    Wire {
        send: name,
        receive: name,
        bits,
        number: 1,
        placement: Placement::Inline,
        longform: None,
        dealloc: Dealloc::No,
        shape: Shape::Fixed(elem),
    }
}

impl Checker {
    pub(super) fn type_spec(
        &mut self,
        name: &str,
        place: Span,
        spec: &TypeSpec,
        doc: Option<String>,
    ) -> Option<Wire> {
        let mut wire = match &spec.base {
            Base::Struct(fields, span) => self.structure(name, fields, *span, doc)?,
            Base::OutOfLine(of, _) if matches!(**of, Base::Struct(..)) => {
                let Base::Struct(fields, span) = &**of else { return None };
                Wire {
                    placement: Placement::OutOfLine,
                    number: 0,
                    ..self.structure(name, fields, *span, doc)?
                }
            }
            other => self.base(other)?,
        };
        // The first name that knows decides whether an integer is signed; a C type may overrule the wire's silence.
        for c_name in [Some(name), spec.ctype.as_deref()].into_iter().flatten() {
            let known = SIGNED.contains(&c_name);
            if let Shape::Fixed(Elem::Prim(Prim::Int { signed: signed @ None, .. })) = &mut wire.shape
                && known
            {
                *signed = Some(true);
            }
        }
        if wire.bits == 0 {
            self.diagnostics.push(
                Diagnostic::error(place, format!("type {name} has no size"))
                    .note("strings, reals and unstructured data have no size of their own")
                    .help("write ( MACH_MSG_TYPE_..., bits )"),
            );
            return None;
        }
        if wire.data_length() > MAX_ITEM {
            self.diagnostics.push(
                Diagnostic::error(
                    place,
                    format!("type {name} takes {} bytes of a message", wire.data_length()),
                )
                .note(format!("at most {MAX_ITEM} are allowed"))
                .help("send it out of line: ^"),
            );
            return None;
        }
        Some(wire)
    }

    fn symbol(&mut self, symbol: &Symbol) -> Option<(u32, u32, u32, bool)> {
        if let Ok(number) = symbol.text.parse::<u32>() {
            if number > 0xff {
                self.diagnostics.push(
                    Diagnostic::error(symbol.span, format!("{number} does not fit in a descriptor"))
                        .note("a descriptor has 8 bits for the name of a type")
                        .help("use a MACH_MSG_TYPE_ name"),
                );
                return None;
            }
            let found = SYMBOLS.iter().find(|s| s.1 == number && s.0 != "POLYMORPHIC");
            return Some((number & 0xff, number & 0xff, found.map_or(0, |s| s.3), false));
        }
        // Unlike the words of the language these have one spelling; `polymorphic` is such a word.
        let name = match symbol.text.strip_prefix("MACH_MSG_TYPE_") {
            None if symbol.text.eq_ignore_ascii_case("polymorphic") => "POLYMORPHIC",
            name => name.unwrap_or(""),
        };
        match SYMBOLS.iter().find(|s| s.0 == name) {
            Some(&(known, send, receive, bits)) => Some((send, receive, bits, known == "BOOLEAN")),
            None => {
                self.diagnostics.push(
                    Diagnostic::error(symbol.span, format!("{} is no descriptor name", symbol.text))
                        .note("descriptor names are in capitals")
                        .help(match symbol_near(&symbol.text) {
                            Some(known) => format!("did you mean {known}?"),
                            None => "known are MACH_MSG_TYPE_ INTEGER_32, INTEGER_64, BOOLEAN, CHAR, BYTE, STRING_C, PORT_NAME, MOVE_SEND, COPY_SEND, MAKE_SEND, ...".into(),
                        }),
                );
                None
            }
        }
    }

    fn symbols(
        &mut self,
        send: &Symbol,
        receive: Option<&Symbol>,
        bits: Option<u32>,
        place: Span,
    ) -> Option<Wire> {
        let (sent, mut seen, implied, boolean) = self.symbol(send)?;
        let mut own = implied;
        if let Some(receive) = receive {
            let (_, other, bits, _) = self.symbol(receive)?;
            seen = other;
            own = own.max(bits);
            if (own == 64) != (bits == 64) && sent != msgt::POLYMORPHIC {
                self.diagnostics.push(
                    Diagnostic::error(receive.span, "a right on one side, plain data on the other")
                        .related(send.span, "here")
                        .help("name rights on both sides, or data on both"),
                );
            }
        }
        let bits = bits.unwrap_or(own);
        let right = msgt::is_port(sent) || msgt::is_port(seen) || sent == msgt::POLYMORPHIC;
        let elem = match (sent, bits) {
            _ if right => Elem::Prim(Prim::Right),
            (msgt::PORT_NAME, 32) => Elem::Prim(Prim::PortName),
            (_, 32) if boolean => Elem::Prim(Prim::Bool),
            (msgt::REAL, 32 | 64) => Elem::Prim(Prim::Float(bits)),
            (_, 8 | 16 | 32 | 64) => Elem::Prim(Prim::Int { bits, signed: None }),
            // The size is yet to come, from c_string or an error.
            (_, 0) => Elem::Prim(Prim::Int { bits: 8, signed: None }),
            _ if bits.is_multiple_of(8) => {
                Elem::Array(Box::new(Elem::Prim(Prim::Int { bits: 8, signed: None })), bits / 8)
            }
            _ => {
                self.diagnostics.push(
                    Diagnostic::error(place, format!("{bits} bits are no whole number of bytes"))
                        .help("use a multiple of 8"),
                );
                return None;
            }
        };
        if right && bits != 64 {
            self.diagnostics.push(
                Diagnostic::error(place, "a port right in a message has 64 bits").help("drop the size"),
            );
            return None;
        }
        if bits > 0xffff {
            self.diagnostics.push(
                Diagnostic::error(
                    place,
                    format!("{bits} bits do not fit in a descriptor, which has 16 bits for the size"),
                )
                .help("use an array"),
            );
            return None;
        }
        let shape = if sent == msgt::STRING && bits > 8 {
            Shape::Str { size: bits / 8, variable: false }
        } else {
            Shape::Fixed(elem)
        };
        Some(Wire { send: sent, receive: seen, shape, ..plain(sent, bits, Elem::Prim(Prim::Bool)) })
    }

    fn base(&mut self, base: &Base) -> Option<Wire> {
        match base {
            Base::Symbols(send, receive) => {
                let numbers = |symbol: &&Symbol| symbol.text.starts_with(|c: char| c.is_ascii_digit());
                if let Some(number) = std::iter::once(send).chain(receive).find(numbers) {
                    self.diagnostics.push(
                        Diagnostic::error(number.span, "a number alone says too little of a type")
                            .help("write ( number, bits )"),
                    );
                    return None;
                }
                self.symbols(send, receive.as_ref(), None, send.span)
            }
            Base::Sized { send, receive, bits, flags } => {
                let mut wire = self.symbols(send, receive.as_ref(), Some(*bits), send.span)?;
                for (flag, place) in flags {
                    match flag {
                        Flag::IsLong => wire.longform = Some(true),
                        Flag::IsNotLong => wire.longform = Some(false),
                        Flag::Dealloc => wire.dealloc = Dealloc::Yes,
                        Flag::NotDealloc => wire.dealloc = Dealloc::No,
                        _ => self.diagnostics.push(
                            Diagnostic::error(*place, "this flag belongs to an argument")
                                .warning()
                                .note("in a type it has no effect")
                                .help("put it behind the arguments that it is for"),
                        ),
                    }
                }
                Some(wire)
            }
            Base::Named(name) => self.lookup(name),
            Base::CString { size, variable, span } => {
                if *size == 0 {
                    self.diagnostics.push(
                        Diagnostic::error(*span, "a C string needs room for its NUL")
                            .help("give it at least 1 byte"),
                    );
                    return None;
                }
                let shape = Shape::Str { size: *size, variable: *variable };
                Some(Wire { number: *size, shape, ..plain(msgt::STRING, 8, Elem::Prim(Prim::Bool)) })
            }
            Base::Array(bound, of, span) => self.array(*bound, of, *span, false),
            Base::StructArray(number, of, span) => self.array(Bound::Exactly(*number), of, *span, false),
            Base::OutOfLine(of, span) => {
                let mut wire = match &**of {
                    Base::Array(bound, of, span) => self.array(*bound, of, *span, true)?,
                    of => self.base(of)?,
                };
                if wire.placement == Placement::OutOfLine {
                    self.diagnostics.push(Diagnostic::error(*span, "out of line twice").help("write one ^"));
                    return None;
                }
                if wire.is_variable() && wire.placement == Placement::Inline {
                    self.diagnostics.push(
                        Diagnostic::error(*span, "an array or string out of line has no bound")
                            .note("`*:` and a bound are for what lies in the message")
                            .help("write ^array[] of"),
                    );
                    return None;
                }
                wire.placement = Placement::OutOfLine;
                // GNU MIG counts nothing behind a `^`, not even what has a fixed number of elements.
                wire.number = 0;
                match &mut wire.shape {
                    Shape::Variable(_, bound) => *bound = None,
                    // Out of line a string is memory like any other.
                    Shape::Str { size, .. } => {
                        let byte = Elem::Prim(Prim::Int { bits: 8, signed: None });
                        wire.shape = Shape::Fixed(Elem::Array(Box::new(byte), *size));
                    }
                    Shape::Fixed(_) => {}
                }
                Some(wire)
            }
            Base::Struct(_, span) => {
                self.diagnostics.push(
                    Diagnostic::error(*span, "a struct { } inside another type")
                        .help("define it as a type of its own"),
                );
                None
            }
        }
    }

    /// How deep structs are in an element.
    fn depth(&self, elem: &Elem) -> usize {
        match elem {
            Elem::Prim(_) => 0,
            Elem::Array(inner, _) => self.depth(inner),
            Elem::Struct(def) => self.struct_depths.get(&def.name).copied().unwrap_or(1),
        }
    }

    /// The element that an array of `wire` has, or what forbids it.
    fn element(&mut self, wire: &Wire, span: Span) -> Option<Elem> {
        if wire.placement == Placement::Inline {
            match &wire.shape {
                Shape::Fixed(elem) if wire.bits > 0 => return Some(elem.clone()),
                Shape::Str { size, variable: false } => {
                    let byte = Elem::Prim(Prim::Int { bits: 8, signed: None });
                    return Some(Elem::Array(Box::new(byte), *size));
                }
                _ => {}
            }
        }
        self.diagnostics.push(
            Diagnostic::error(span, "elements of an array must have a fixed size and lie in the message")
                .note("an array of arrays of variable length has no descriptor")
                .help("give the elements a fixed size, or send them as several arguments"),
        );
        None
    }

    fn array(&mut self, bound: Bound, of: &Base, span: Span, out_of_line: bool) -> Option<Wire> {
        let inner = self.base(of)?;
        if !matches!(bound, Bound::Exactly(_)) && !matches!(of, Base::Named(_)) && !out_of_line {
            self.diagnostics.push(
                Diagnostic::error(span, "the element of an array of variable length has no name")
                    .note("stubs in C need a name for the type of one element")
                    .help("define the element as a type of its own"),
            );
            return None;
        }
        let elem = self.element(&inner, span)?;
        let arrays =
            std::iter::successors(Some(&elem), |e| if let Elem::Array(e, _) = e { Some(e) } else { None });
        if arrays.count() > MAX_ARRAYS {
            self.diagnostics.push(
                Diagnostic::error(span, format!("arrays of arrays, more than {MAX_ARRAYS} deep"))
                    .help("use one array, or a struct"),
            );
            return None;
        }
        let bytes = u64::from(inner.bits) * u64::from(inner.number) / 8;
        let too_large = |this: &mut Self| {
            this.diagnostics.push(
                Diagnostic::error(span, "this array does not fit in a message")
                    .help("send it out of line: ^array[]"),
            );
            None::<u32>
        };
        let number = |this: &mut Self, n: u32| inner.number.checked_mul(n).or_else(|| too_large(this));
        let wire = match bound {
            Bound::Exactly(n) => {
                let number = number(self, n)?;
                Wire { number, shape: Shape::Fixed(Elem::Array(Box::new(elem), n)), ..inner.clone() }
            }
            Bound::AtMost(n) => {
                let number = number(self, n)?;
                Wire { number, shape: Shape::Variable(elem, Some(n)), ..inner.clone() }
            }
            Bound::Indefinite => {
                let most = (u64::from(MAX_INLINE) / bytes.max(1)) as u32;
                let number = number(self, most)?;
                let shape = Shape::Variable(elem, Some(most));
                Wire { number, shape, placement: Placement::Chosen, ..inner.clone() }
            }
        };
        Some(wire)
    }

    fn structure(
        &mut self,
        name: &str,
        written: &[(Base, Name)],
        span: Span,
        doc: Option<String>,
    ) -> Option<Wire> {
        let (mut at, mut align, mut fields) = (0u64, 1u32, Vec::<Field>::new());
        let (mut names, mut depth) = (HashMap::new(), 0);
        if let Some((_, extra)) = written.get(MAX_FIELDS) {
            self.diagnostics.push(
                Diagnostic::error(extra.span, format!("more than {MAX_FIELDS} fields"))
                    .help("use arrays, or structs in the struct"),
            );
            return None;
        }
        for (base, field) in written {
            let wire = self.base(base)?;
            let elem = self.element(&wire, field.span)?;
            if elem.is_right() {
                self.diagnostics.push(
                    Diagnostic::error(field.span, "a right inside a struct would not be translated")
                        .help("make it an argument of its own"),
                );
                return None;
            }
            if let Some(first) = names.insert(&field.text, field.span) {
                self.diagnostics.push(
                    Diagnostic::error(field.span, format!("two fields are named {}", field.text))
                        .related(first, "first here")
                        .help("rename one of them"),
                );
                return None;
            }
            depth = depth.max(self.depth(&elem));
            if depth >= MAX_STRUCTS {
                self.diagnostics.push(
                    Diagnostic::error(
                        field.span,
                        format!("structs in structs, more than {MAX_STRUCTS} deep"),
                    )
                    .help("spell out the fields of some of them"),
                );
                return None;
            }
            let own = alignment(&elem, wire.bits);
            at = at.next_multiple_of(u64::from(own));
            align = align.max(own);
            fields.push(Field {
                name: field.text.clone(),
                offset: u32::try_from(at).unwrap_or(u32::MAX),
                elem: elem.clone(),
            });
            at = at.saturating_add(elem.size());
        }
        let size = at.next_multiple_of(u64::from(align));
        if size == 0 || size > MAX_ITEM {
            self.diagnostics.push(
                Diagnostic::error(span, format!("a struct of {size} bytes"))
                    .help(format!("use 1 to {MAX_ITEM}")),
            );
            return None;
        }
        let size = size as u32;
        let (msgt_name, bits) = match align {
            8 => (msgt::INTEGER_64, 64),
            4 => (msgt::INTEGER_32, 32),
            2 => (msgt::INTEGER_16, 16),
            _ => (msgt::BYTE, 8),
        };
        self.struct_depths.insert(name.into(), depth + 1);
        let def = Rc::new(StructDef { name: name.into(), fields, size, align, doc });
        if self.struct_names.insert(name.into()) {
            self.structs.push(def.clone());
        }
        Some(Wire { number: size * 8 / bits, ..plain(msgt_name, bits, Elem::Struct(def)) })
    }
}
