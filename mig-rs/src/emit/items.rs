//! Wire types in Rust: what clients pass, what servers get, what replies hold; and the calls that write and read them.

use super::Types;
use super::rust::elem_type;
use crate::layout::{received_word, word};
use crate::model::{Elem, Placement, Prim, Shape, Wire, msgt};

pub(super) fn polymorphic(wire: &Wire) -> bool {
    wire.send == msgt::POLYMORPHIC || wire.receive == msgt::POLYMORPHIC
}

/// Type of a value in a reply, on both sides.
pub(super) fn reply_type(wire: &Wire, types: Types<'_>) -> String {
    match (&wire.shape, wire.placement) {
        (_, Placement::OutOfLine) => "Ool".into(),
        (Shape::Str { size, .. }, _) => format!("FixedStr<{size}>"),
        (Shape::Fixed(elem), _) if elem.is_right() && matches!(elem, Elem::Prim(_)) => {
            if polymorphic(wire) {
                types.port()
            } else {
                types.name()
            }
        }
        (Shape::Fixed(elem), _) => elem_type(elem, types),
        (Shape::Variable(elem, max), placement) => {
            let kind = if placement == Placement::Chosen { "OutData" } else { "Bounded" };
            format!("{kind}<{}, {}>", elem_type(elem, types), max.unwrap_or(0))
        }
    }
}

/// Type of an argument that a client passes.
pub(super) fn client_type(wire: &Wire, types: Types<'_>) -> String {
    match (&wire.shape, wire.placement) {
        (Shape::Fixed(_), Placement::OutOfLine) => "Ool".into(),
        (Shape::Str { .. }, _) => "&[u8]".into(),
        (Shape::Fixed(Elem::Prim(Prim::Right)), _) => {
            if wire.send == msgt::POLYMORPHIC {
                types.port()
            } else {
                types.name()
            }
        }
        (Shape::Fixed(elem @ Elem::Array(..)), _) => format!("&{}", elem_type(elem, types)),
        (Shape::Fixed(elem), _) => elem_type(elem, types),
        (Shape::Variable(..), Placement::OutOfLine) if !wire.takes_slice() => "Ool".into(),
        (Shape::Variable(..), Placement::Chosen) if !wire.takes_slice() => {
            format!("&{}", reply_type(wire, types))
        }
        (Shape::Variable(elem, _), _) if elem.is_right() && wire.send == msgt::POLYMORPHIC => types.ports(),
        (Shape::Variable(elem, _), _) => format!("&[{}]", elem_type(elem, types)),
    }
}

/// Type of an argument that a server method gets.
pub(super) fn server_type(wire: &Wire, types: Types<'_>) -> String {
    match (&wire.shape, wire.placement) {
        (_, Placement::OutOfLine) => "Ool".into(),
        (Shape::Str { size, variable: false }, _) => format!("&Text<{size}>"),
        (Shape::Str { .. }, _) => "&[u8]".into(),
        (Shape::Fixed(Elem::Prim(Prim::Right)), _) => types.port(),
        (Shape::Fixed(elem), _) => elem_type(elem, types),
        (Shape::Variable(elem, _), Placement::Chosen) => format!("Data<'_, {}>", elem_type(elem, types)),
        (Shape::Variable(elem, _), _) => format!("Array<'_, {}>", elem_type(elem, types)),
    }
}

pub(super) fn hex(word: u64) -> String {
    let digits = format!("{word:016x}");
    format!("0x{}_{}_{}_{}", &digits[..4], &digits[4..8], &digits[8..12], &digits[12..])
}

pub(super) fn max(wire: &Wire) -> u32 {
    match &wire.shape {
        Shape::Variable(_, max) => max.unwrap_or(0),
        Shape::Str { size, .. } => *size,
        Shape::Fixed(_) => 1,
    }
}

pub(super) fn elem_of(wire: &Wire, types: Types<'_>) -> String {
    match &wire.shape {
        Shape::Fixed(elem) | Shape::Variable(elem, _) => elem_type(elem, types),
        Shape::Str { .. } => "u8".into(),
    }
}

/// The call that writes a client's argument.
pub(super) fn encode_argument(wire: &Wire, value: &str, types: Types<'_>) -> String {
    let w = hex(word(wire, wire.send));
    let (max, elem) = (max(wire), elem_of(wire, types));
    let ports = wire.carries_rights() && wire.send == msgt::POLYMORPHIC;
    match (&wire.shape, wire.placement) {
        (Shape::Fixed(_), Placement::OutOfLine) => {
            format!("ool::<{elem}>({w}, Ool {{ count: 0, ..{value} }})")
        }
        (Shape::Str { variable: false, .. }, _) => format!("string({w}, {max}, {value})"),
        (Shape::Str { .. }, _) => format!("variable_string({w}, {max}, {value})"),
        (Shape::Fixed(Elem::Prim(Prim::Right)), _) => {
            format!("{}({w}, {value})", if ports { "poly" } else { "port" })
        }
        (Shape::Fixed(Elem::Array(..)), _) => format!("value::<{elem}>({w}, *{value})"),
        (Shape::Fixed(_), _) => format!("value::<{elem}>({w}, {value})"),
        (Shape::Variable(..), Placement::Inline) => {
            format!("{}({w}, {max}, {value})", if ports { "ports" } else { "array" })
        }
        (Shape::Variable(..), Placement::Chosen) if !wire.takes_slice() => {
            format!("out_data({w}, {value})")
        }
        (Shape::Variable(..), Placement::Chosen) => {
            format!("{}({w}, {max}, {value})", if ports { "data_ports" } else { "data" })
        }
        (Shape::Variable(..), Placement::OutOfLine) if !wire.takes_slice() => {
            format!("ool::<{elem}>({w}, {value})")
        }
        (Shape::Variable(..), Placement::OutOfLine) => {
            format!("{}({w}, {value})", if ports { "ports_out_of_line" } else { "slice_out_of_line" })
        }
    }
}

/// The call that writes a value of a reply.
pub(super) fn encode_result(wire: &Wire, value: &str, types: Types<'_>) -> String {
    let name = if types.kernel_serves { wire.receive } else { wire.send };
    let w = hex(word(wire, name));
    let elem = elem_of(wire, types);
    match (&wire.shape, wire.placement) {
        (Shape::Fixed(_), Placement::OutOfLine) => {
            format!("ool::<{elem}>({w}, Ool {{ count: 0, ..{value} }})")
        }
        (Shape::Str { variable: false, .. }, _) => format!("string_value({w}, &{value})"),
        (Shape::Str { .. }, _) => format!("variable_string_value({w}, &{value})"),
        (Shape::Fixed(Elem::Prim(Prim::Right)), _) => {
            if name == msgt::POLYMORPHIC {
                format!("poly({w}, {value})")
            } else if polymorphic(wire) {
                format!("port({w}, {value}.name)")
            } else {
                format!("port({w}, {value})")
            }
        }
        (Shape::Fixed(_), _) => format!("value::<{elem}>({w}, {value})"),
        (Shape::Variable(..), Placement::Inline) => format!("bounded({w}, &{value})"),
        (Shape::Variable(..), Placement::Chosen) => format!("out_data({w}, &{value})"),
        (Shape::Variable(..), Placement::OutOfLine) => format!("ool::<{elem}>({w}, {value})"),
    }
}

/// The expression that makes a client's value of what [`decode`] has read: it keeps nothing of the buffer, and is copied once.
pub(super) fn keep(wire: &Wire, name: &str) -> String {
    match (&wire.shape, wire.placement) {
        (_, Placement::OutOfLine) | (Shape::Fixed(_), _) => name.into(),
        (Shape::Str { variable: false, .. }, _) => format!("FixedStr::of_field({name})"),
        (Shape::Str { .. }, _) => format!("FixedStr::truncated({name})"),
        (Shape::Variable(..), Placement::Inline) => format!("Bounded::of(&{name})"),
        (Shape::Variable(..), Placement::Chosen) => format!("OutData::of(&{name})"),
    }
}

/// The expression that reads an item; `by_value`: for a client, which [keeps](keep) what it gets.
pub(super) fn decode(wire: &Wire, by_value: bool, types: Types<'_>) -> String {
    let w = hex(received_word(wire));
    let (max, elem) = (max(wire), elem_of(wire, types));
    let call = match (&wire.shape, wire.placement, by_value) {
        (Shape::Fixed(_), Placement::OutOfLine, _) => format!("ool_fixed::<{elem}>({w})"),
        (Shape::Variable(..), Placement::OutOfLine, _) => format!("ool::<{elem}>({w})"),
        (Shape::Str { variable: false, .. }, _, false) => format!("text::<{max}>({w})"),
        (Shape::Str { variable: true, .. }, ..) => format!("variable_string({w}, {max})"),
        (Shape::Str { variable: false, .. }, _, true) => format!("string_field::<{max}>({w})"),
        (Shape::Fixed(Elem::Prim(Prim::Right)), _, by_value) => {
            let of = types.right.map_or_else(String::new, |right| format!("::<{right}>"));
            if by_value && !polymorphic(wire) {
                return format!("decoder_.port{of}({w})?.name");
            }
            format!("port{of}({w})")
        }
        (Shape::Fixed(_), _, _) => format!("value::<{elem}>({w})"),
        (Shape::Variable(..), Placement::Inline, _) => format!("array::<{elem}>({w}, {max})"),
        (Shape::Variable(..), Placement::Chosen, _) => format!("data::<{elem}>({w}, {max})"),
    };
    format!("decoder_.{call}?")
}
