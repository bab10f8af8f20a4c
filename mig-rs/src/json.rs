//! The tables as JSON objects, one text per object.

use std::fmt::Write as _;

use crate::layout::{Side, id_rows, layout_rows};
use crate::model::Subsystem;

/// A string with its quotes.
fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if c < ' ' => {
                let _ = write!(out, "\\u{:04x}", c as u32);
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// A number as it is, everything else quoted.
fn value(text: &str) -> String {
    if text.parse::<i64>().is_ok() { text.into() } else { quoted(text) }
}

fn object(fields: &[(&str, String)]) -> String {
    let fields: Vec<String> = fields.iter().map(|(name, value)| format!("\"{name}\": {value}")).collect();
    format!("{{{}}}", fields.join(", "))
}

/// One object for every message: the columns of [`layout_rows`], and the fields taken apart.
#[must_use]
pub fn json_layout(subsystem: &Subsystem, side: Side) -> Vec<String> {
    const COLUMNS: [&str; 8] = ["routine", "kind", "id", "reply_id", "part", "size", "min", "max"];
    let row = |row: &String| {
        let columns: Vec<&str> = row.split('\t').collect();
        let mut fields: Vec<(&str, String)> =
            COLUMNS.iter().zip(&columns).map(|(name, text)| (*name, value(text))).collect();
        let items: Vec<String> = columns.get(8).unwrap_or(&"").split_whitespace().map(item).collect();
        fields.push(("fields", format!("[{}]", items.join(", "))));
        object(&fields)
    };
    layout_rows(subsystem, side).iter().map(row).collect()
}

/// `name@type_offset/data_offset/length/descriptor[/max]`
fn item(text: &str) -> String {
    const COLUMNS: [&str; 5] = ["type_offset", "data_offset", "length", "descriptor", "max"];
    let (name, places) = text.split_once('@').unwrap_or((text, ""));
    let mut fields = vec![("name", quoted(name))];
    fields.extend(COLUMNS.iter().zip(places.split('/')).map(|(name, text)| (*name, value(text))));
    object(&fields)
}

/// One object for every routine.
#[must_use]
pub fn json_ids(subsystem: &Subsystem) -> Vec<String> {
    const COLUMNS: [&str; 5] = ["id", "reply_id", "kind", "routine", "arguments"];
    let row = |row: &String| {
        let columns = COLUMNS.iter().zip(row.split('\t'));
        let fields: Vec<(&str, String)> = columns
            .map(|(name, text)| (*name, if text == "-" { "null".into() } else { value(text) }))
            .collect();
        object(&fields)
    };
    id_rows(subsystem).iter().map(row).collect()
}
