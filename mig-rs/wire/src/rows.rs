//! Layouts as GNU MIG has them, read out of the C that it writes, in the columns of `mig-rs layout`.
//!
//! Names, order, descriptors and least sizes are read from the text; offsets and sizes come from a C compiler, which is
//! given the message structs of all routines and prints them.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::gnu::{Gnu, Side, Written};

/// A message struct in the text.
struct Struct {
    /// Its members, verbatim.
    text: String,
    /// Names of items in order.
    items: Vec<Member>,
}

struct Member {
    name: String,
    /// The data may stand in the message or not, in a varying number; at most so many elements.
    most: Option<u32>,
}

/// What one side's stub says of one routine.
struct Routine<'a> {
    name: &'a str,
    simple: bool,
    body: &'a str,
    request: Struct,
    reply: Option<Struct>,
}

/// A descriptor: name, bits, number, inline, longform, deallocate.
type Descriptor = [u32; 6];

#[derive(Default)]
struct Measured {
    /// (struct, member) to offset and size; member `""`: the whole.
    places: HashMap<(String, String), (u64, u64)>,
    /// (routine, variable) to its value.
    descriptors: HashMap<(String, String), Descriptor>,
}

/// Rows of both sides, user first, of one file that GNU MIG compiled.
///
/// # Errors
/// When the C is not as expected, or does not compile.
pub fn rows(gnu: &Gnu, user: &Written, server: &Written, work: &Path) -> Result<[Vec<String>; 2]> {
    let (user_routines, server_routines) = (routines(&user.code)?, routines(&server.code)?);
    let user_measured = measure(gnu, user, &user_routines, &work.join("user"))?;
    let server_measured = measure(gnu, server, &server_routines, &work.join("server"))?;
    let mut rows = [Vec::new(), Vec::new()];
    for line in user.list.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [_, _, name, _, id, reply_id] = words[..] else { bail!("a line of the list is {line:?}") };
        let of = |list: &[Routine<'_>]| {
            list.iter().position(|r| r.name == name).with_context(|| format!("no stub of {name}"))
        };
        let (u, s) = (&user_routines[of(&user_routines)?], &server_routines[of(&server_routines)?]);
        let kind = if u.simple { "SimpleRoutine" } else { "Routine" };
        for (side, rows) in [Side::User, Side::Server].into_iter().zip(&mut rows) {
            let (own, measured) = match side {
                Side::User => (u, &user_measured),
                Side::Server => (s, &server_measured),
            };
            for part in ["req", "rep"] {
                let message = if part == "req" { Some(&own.request) } else { own.reply.as_ref() };
                let Some(message) = message.filter(|_| part == "req" || !u.simple) else { continue };
                let sends = (side == Side::User) == (part == "req");
                let sender = if part == "req" { &user_measured } else { &server_measured };
                let whole = format!("{name}_{part}");
                let max = measured.place(&whole, "")?.1;
                let is_variable = message.items.iter().any(|i| i.most.is_some());
                let min = if is_variable { least(own.body, side, part)? } else { max };
                let mut row = format!(
                    "{name}\t{kind}\t{id}\t{reply_id}\t{part}\t{}\t{min}\t{max}\t",
                    if is_variable { "var" } else { "fixed" }
                );
                for (i, item) in message.items.iter().enumerate() {
                    let type_at = measured.place(&whole, &format!("{}Type", item.name))?.0;
                    let (data_at, length) = measured.place(&whole, &item.name)?;
                    let d = descriptor(name, item, sends, measured, sender)?;
                    let gap = if i > 0 { " " } else { "" };
                    let _ = write!(row, "{gap}{}@{type_at}/{data_at}/{length}/{d}", item.name);
                }
                rows.push(row);
            }
        }
    }
    Ok(rows)
}

impl Measured {
    fn place(&self, whole: &str, member: &str) -> Result<(u64, u64)> {
        self.places
            .get(&(whole.to_owned(), member.to_owned()))
            .copied()
            .with_context(|| format!("{whole}.{member} was not measured"))
    }

    fn descriptor(&self, routine: &str, name: String) -> Option<&Descriptor> {
        self.descriptors.get(&(routine.to_owned(), name))
    }
}

/// The word that is put, or, by a receiver of fixed data in the message, compared.
fn descriptor(
    routine: &str,
    item: &Member,
    sends: bool,
    own: &Measured,
    sender: &Measured,
) -> Result<String> {
    let put = sender.descriptor(routine, format!("{}Type", item.name));
    let compared = own.descriptor(routine, format!("{}Check", item.name)).filter(|_| !sends);
    // The code of a reply that carries nothing else is put by the demultiplexer.
    const RETURN_CODE: Descriptor = [2, 32, 1, 1, 0, 0];
    let d = match compared.or(put) {
        Some(d) => d,
        None if item.name == "RetCode" => &RETURN_CODE,
        None => bail!("{routine}: no descriptor of {}", item.name),
    };
    let name = if d[0] == 0xff { "poly".to_owned() } else { d[0].to_string() };
    let mut text = format!("{name}:{}:{}:{}", d[1], d[2], if d[3] == 1 { "in" } else { "OOL" });
    text.push_str(if d[4] == 1 { ":long" } else { "" });
    text.push_str(if d[5] == 1 { ":dealloc" } else { "" });
    if let Some(most) = item.most {
        let _ = write!(text, "/{most}");
    }
    Ok(text)
}

/// The stubs of one side, by routine.
fn routines(code: &str) -> Result<Vec<Routine<'_>>> {
    let mut list = Vec::new();
    for (at, mark) in code.match_indices("/* Routine ").chain(code.match_indices("/* SimpleRoutine ")) {
        let rest = &code[at + mark.len()..];
        let Some((name, body)) = rest.split_once(" */") else { continue };
        let end = ["\n/* Routine ", "\n/* SimpleRoutine "].iter().filter_map(|m| body.find(m)).min();
        let body = &body[..end.unwrap_or(body.len())];
        let request = structure(body, "Request").with_context(|| format!("{name} has no request"))?;
        list.push(Routine {
            name,
            simple: mark.contains("Simple"),
            body,
            request,
            reply: structure(body, "Reply"),
        });
    }
    Ok(list)
}

/// The members of `typedef struct { ... } NAME;`.
fn structure(body: &str, name: &str) -> Option<Struct> {
    let end = body.find(&format!("\n\t}} {name};"))?;
    let start = body[..end].rfind("typedef struct {")? + "typedef struct {".len();
    let text = &body[start..end];
    let mut items: Vec<Member> = Vec::new();
    let mut in_union = false;
    for line in text.lines().map(str::trim) {
        let Some(declared) = line.strip_suffix(';') else {
            in_union = line.starts_with("union");
            continue;
        };
        let word = declared.rsplit([' ', '*']).next().unwrap_or("");
        let (word, dimension) = match word.split_once('[') {
            Some((word, rest)) => (word, rest.strip_suffix(']').and_then(|n| n.parse().ok())),
            None => (word, None),
        };
        if let Some(named) = word.strip_suffix("Type")
            && declared.starts_with("mach_msg_type_")
        {
            items.push(Member { name: named.to_owned(), most: None });
        } else if in_union
            && let (Some(item), Some(most)) = (items.last_mut(), dimension)
            && item.name == word
        {
            item.most = Some(most);
        }
    }
    Some(Struct { text: text.to_owned(), items })
}

/// The size of a message whose variable parts are empty.
fn least(body: &str, side: Side, part: &str) -> Result<u64> {
    // A sender adds to it, a receiver compares with it.
    let mark = match (side, part) {
        (Side::User, "req") | (Side::Server, "rep") => "msgh_size = ",
        _ => "msgh_size < ",
    };
    let numbers = body.match_indices(mark).filter_map(|(at, _)| {
        let rest = &body[at + mark.len()..];
        rest[..rest.find(|c: char| !c.is_ascii_digit())?].parse().ok()
    });
    numbers.min().with_context(|| format!("no `{mark}NUMBER` in the stub:\n{body}"))
}

/// `.field = value` of an initialiser, as a C expression.
fn field<'a>(text: &'a str, name: &str) -> &'a str {
    let mark = format!(".{name} =");
    text.split_once(&mark)
        .and_then(|(_, rest)| rest.split_once(",\n").or(rest.split_once('\n')))
        .map_or("0", |p| p.0.trim())
}

/// What a stub compares of a descriptor, field by field, as C expressions; if it compares all of them. Kernels do so, and
/// everybody with the long form.
fn compared_fields(body: &str, item: &str) -> Option<[String; 5]> {
    let short = ["msgt_name", "msgt_size", "msgt_number", "msgt_inline", "msgt_longform"];
    let long = [
        "msgtl_name",
        "msgtl_size",
        "msgtl_number",
        "msgtl_header.msgt_inline",
        "msgtl_header.msgt_longform",
    ];
    let value = |field: &str| {
        let (_, rest) = body.split_once(&format!("->{item}Type.{field} != "))?;
        let end = rest.find([')', ' '])?;
        Some(format!("(unsigned) ({})", &rest[..end]))
    };
    // Of a right in the long form the size depends on where it is: first the one in the message, then the one out of line.
    let elsewhere = format!("{item}Type.msgtl_header.msgt_inline == FALSE");
    let far_size = |inline: &str| {
        let (before, _) = body.split_once(&elsewhere).filter(|_| inline.contains("FALSE"))?;
        let (_, size) = before.rsplit_once("!= ")?;
        Some(format!("(unsigned) ({})", size.split_once(' ')?.0))
    };
    let all = |fields: [&str; 5]| {
        let [name, size, number, inline, longform] = fields.map(value);
        let size = inline.as_deref().and_then(far_size).or(size);
        Some([name?, size?, number?, inline?, longform?])
    };
    all(short).or_else(|| all(long))
}

/// Lets a C compiler print the offsets and values.
fn measure(gnu: &Gnu, written: &Written, routines: &[Routine<'_>], work: &Path) -> Result<Measured> {
    std::fs::create_dir_all(work)?;
    let preamble = written.code.split("/* Routine ").next().and_then(|t| t.split("/* SimpleRoutine ").next());
    let (mut types, mut main) = (String::new(), String::new());
    for routine in routines {
        let name = routine.name;
        for (part, message) in [("req", Some(&routine.request)), ("rep", routine.reply.as_ref())] {
            let Some(message) = message else { continue };
            let whole = format!("{name}_{part}");
            let _ = writeln!(types, "typedef struct {{{}}} {whole};", message.text);
            let _ = writeln!(main, "printf(\"p {whole} - 0 %zu\\n\", sizeof({whole}));");
            for item in message.items.iter().flat_map(|i| [format!("{}Type", i.name), i.name.clone()]) {
                let _ = writeln!(
                    main,
                    "printf(\"p {whole} {item} %zu %zu\\n\", offsetof({whole}, {item}), sizeof((({whole} *)0)->{item}));"
                );
            }
        }
        for item in routine.request.items.iter().chain(routine.reply.iter().flat_map(|r| &r.items)) {
            if let Some(fields) = compared_fields(routine.body, &item.name) {
                let fields = fields.join(", ");
                let _ =
                    writeln!(main, "printf(\"d {name} {}Check %u %u %u %u %u 0\\n\", {fields});", item.name);
            }
        }
        for (at, mark) in routine.body.match_indices("\tconst mach_msg_type_") {
            let rest = &routine.body[at + mark.len()..];
            let Some((head, rest)) = rest.split_once(" = {") else { continue };
            let Some((value, _)) = rest.split_once("\n\t};") else { continue };
            let variable = head.rsplit(' ').next().unwrap_or("");
            let fields = ["name", "size", "number", "inline", "longform", "deallocate"]
                .map(|f| format!("(unsigned) ({})", field(value, &format!("msgt_{f}"))));
            let _ = writeln!(
                main,
                "printf(\"d {name} {variable} %u %u %u %u %u %u\\n\", {});",
                fields.join(", ")
            );
        }
    }
    let text = format!(
        "{}\n#include <stdio.h>\n#include <stddef.h>\n{types}\nint main(void) {{\n{main}return 0;\n}}\n",
        preamble
            .unwrap_or("")
            .lines()
            .filter(|l| !["#include \"", "#include <ipc/", "#include <kern/"]
                .iter()
                .any(|own| l.starts_with(own)))
            .collect::<Vec<_>>()
            .join("\n")
    );
    // The imports are in the header, whose prototypes are of no use here.
    let imports: String =
        written.header.lines().filter(|l| l.starts_with("#include")).flat_map(|l| [l, "\n"]).collect();
    let source = work.join("measure.c");
    std::fs::write(&source, imports + &text)?;
    let program: PathBuf = work.join("measure");
    let output = Command::new("gcc")
        .args(["-w", "-O0", "-o"])
        .arg(&program)
        .arg(&source)
        .arg("-I")
        .arg(crate::object::shim())
        .arg("-I")
        .arg(gnu.include())
        .output()
        .context("cannot run gcc")?;
    if !output.status.success() {
        bail!("{} does not compile:\n{}", source.display(), String::from_utf8_lossy(&output.stderr));
    }
    let output = Command::new(&program).output().context("cannot run the program that measures")?;
    let mut measured = Measured::default();
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        let words: Vec<&str> = line.split(' ').collect();
        match words[..] {
            ["p", whole, member, offset, size] => {
                let member = if member == "-" { "" } else { member };
                measured.places.insert((whole.into(), member.into()), (offset.parse()?, size.parse()?));
            }
            ["d", routine, name, ref values @ ..] if values.len() == 6 => {
                let mut d = Descriptor::default();
                for (slot, value) in d.iter_mut().zip(values) {
                    *slot = value.parse()?;
                }
                measured.descriptors.insert((routine.into(), name.into()), d);
            }
            _ => bail!("the program that measures printed {line:?}"),
        }
    }
    Ok(measured)
}
