//! Source files, places in them, and diagnostics that point at those places.

mod marks;

use std::collections::HashMap;
use std::fmt;
use std::ops::Range;
use std::path::PathBuf;

use annotate_snippets::{AnnotationKind, Group, Level, Origin, Renderer, Snippet};
pub(crate) use marks::Flag;
use marks::Marks;

/// A range of bytes in one source file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Span {
    /// Index of the file in [`Sources`].
    pub file: usize,
    /// First byte.
    pub lo: usize,
    /// One past the last byte.
    pub hi: usize,
}

impl Span {
    /// From the start of this to the end of `other`, if both are in one file.
    #[must_use]
    pub fn to(self, other: Self) -> Self {
        if self.file == other.file && other.hi >= self.lo {
            Self { file: self.file, lo: self.lo, hi: other.hi }
        } else {
            self
        }
    }
}

/// One file that was read.
#[derive(Clone, Debug)]
pub struct SourceFile {
    /// As it was named on the command line or found in an include directory.
    pub path: PathBuf,
    /// Its text; bytes that are not UTF-8 are replaced.
    pub text: String,
    /// The `#include` that brought it in.
    pub included_at: Option<Span>,
    /// Where its lines begin.
    lines: Vec<usize>,
    /// What line markers say of where its parts come from.
    marks: Marks,
}

/// A place as a person names it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Location {
    /// The file; of a text that went through another preprocessor, what its line markers say.
    pub path: String,
    /// From 1.
    pub line: usize,
    /// From 1, in bytes.
    pub column: usize,
}

/// Longest line that is shown, in bytes.
const MAX_LINE: usize = 2000;
/// Most files of an include chain that are shown.
const MAX_CHAIN: usize = 9;

/// All files of one compilation.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// In the order of reading.
    pub files: Vec<SourceFile>,
    /// Uses of macros, and where those are defined.
    macros: HashMap<Span, Span>,
}

impl Sources {
    /// Adds a file and returns its index.
    pub fn add(&mut self, path: impl Into<PathBuf>, text: String, included_at: Option<Span>) -> usize {
        let lines = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        let marks = Marks::default();
        self.files.push(SourceFile { path: path.into(), text, included_at, lines, marks });
        self.files.len() - 1
    }

    /// A line marker, `directive`: what follows it comes from elsewhere.
    pub(crate) fn mark(&mut self, directive: Span, line: usize, name: Option<&str>, flag: Flag) {
        if let Some(file) = self.files.get_mut(directive.file) {
            let index = file.line_of(directive.lo);
            let from = file.lines.get(index + 1).copied().unwrap_or(file.text.len());
            file.marks.add(directive.lo, index, from, line, name, flag);
        }
    }

    /// A macro was used.
    pub(crate) fn used(&mut self, at: Span, defined_at: Span) {
        self.macros.entry(at).or_insert(defined_at);
    }

    /// The definition of the macro that is used exactly there.
    pub(crate) fn macro_at(&self, at: Span) -> Option<Span> {
        self.macros.get(&at).copied()
    }

    /// The text of a span.
    #[must_use]
    pub fn text(&self, span: Span) -> &str {
        self.files.get(span.file).and_then(|f| f.text.get(span.lo..span.hi)).unwrap_or("")
    }

    /// The place where a span begins.
    #[must_use]
    pub fn location(&self, span: Span) -> Location {
        let Some(file) = self.files.get(span.file) else {
            return Location { path: "?".into(), line: 0, column: 0 };
        };
        let (index, mark) = (file.line_of(span.lo), file.marks.at(span.lo));
        let start = file.lines.get(index).copied().unwrap_or(0);
        Location {
            path: mark
                .as_ref()
                .and_then(marks::Marked::path)
                .map_or_else(|| file.path.display().to_string(), str::to_owned),
            line: mark.map_or(index + 1, |m| m.line(index)),
            column: span.lo.saturating_sub(start) + 1,
        }
    }

    /// `path:line`.
    #[must_use]
    pub fn place(&self, span: Span) -> String {
        let location = self.location(span);
        if location.line == 0 { location.path } else { format!("{}:{}", location.path, location.line) }
    }

    /// The `path:line` of every `#include` on the way to a place, innermost first, and whether there are more.
    fn included_from(&self, span: Span) -> (Vec<String>, bool) {
        let (mut chain, mut at) = (Vec::new(), Some(span));
        while let Some(span) = at {
            let Some(file) = self.files.get(span.file) else { break };
            for (path, line) in file.marks.chain(span.lo) {
                if chain.len() == MAX_CHAIN {
                    return (chain, true);
                }
                chain.push(format!("{}:{line}", path.unwrap_or(&file.path.display().to_string())));
            }
            at = file.included_at;
            if let Some(span) = at {
                if chain.len() == MAX_CHAIN {
                    return (chain, true);
                }
                chain.push(self.place(span));
            }
        }
        (chain, false)
    }
}

impl SourceFile {
    /// The index of the line that has a byte.
    fn line_of(&self, at: usize) -> usize {
        self.lines.partition_point(|&start| start <= at).saturating_sub(1)
    }

    /// The bytes around `lo..hi` that are whole lines and come from one file.
    fn window(&self, lo: usize, hi: usize) -> Range<usize> {
        let section = self.marks.section(lo, self.text.len());
        let last = self.line_of(hi.max(lo).saturating_sub(usize::from(hi > lo)));
        let end = self.lines.get(last + 1).copied().unwrap_or(self.text.len());
        let start = self.lines.get(self.line_of(lo)).copied().unwrap_or(0);
        start.max(section.start)..end.min(section.end).max(start.max(section.start))
    }
}

/// A place, what is said beside it, and how it is drawn.
type Place<'a> = (Span, &'a str, AnnotationKind);
/// A file, the part of it that comes from one place, and the places there.
type Part<'a> = (usize, Range<usize>, Vec<Place<'a>>);

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// No output is made.
    Error,
    /// Output is made all the same.
    Warning,
}

/// One finding: what is wrong, where, by which rule, and how to mend it.
#[derive(Clone, Debug)]
pub struct Diagnostic {
    /// How bad it is.
    pub severity: Severity,
    /// What is wrong, in one line.
    pub message: String,
    /// Where.
    pub span: Option<Span>,
    /// What is said beside the place.
    pub label: String,
    /// Other places that matter.
    pub related: Vec<(Span, String)>,
    /// The rule.
    pub note: Option<String>,
    /// The mend.
    pub help: Option<String>,
}

/// The message alone, for who has no sources to show it in.
impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Diagnostic {}

impl Diagnostic {
    /// An error at a place.
    #[must_use]
    pub fn error(span: Span, message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Error,
            message: message.into(),
            span: Some(span),
            label: String::new(),
            related: Vec::new(),
            note: None,
            help: None,
        }
    }

    /// An error that has no place.
    #[must_use]
    pub fn general(message: impl Into<String>) -> Self {
        Self { span: None, ..Self::error(Span { file: 0, lo: 0, hi: 0 }, message) }
    }

    /// Makes it a warning.
    #[must_use]
    pub fn warning(mut self) -> Self {
        self.severity = Severity::Warning;
        self
    }

    /// Adds the text beside the place.
    #[must_use]
    pub fn label(mut self, label: impl Into<String>) -> Self {
        self.label = label.into();
        self
    }

    /// Adds the rule.
    #[must_use]
    pub fn note(mut self, note: impl Into<String>) -> Self {
        self.note = Some(note.into());
        self
    }

    /// Adds the mend.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Adds another place.
    #[must_use]
    pub fn related(mut self, span: Span, label: impl Into<String>) -> Self {
        self.related.push((span, label.into()));
        self
    }

    /// The text a person reads.
    #[must_use]
    pub fn render(&self, sources: &Sources) -> String {
        let level = match self.severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
        };
        let mut group = Group::with_title(level.primary_title(self.message.as_str()));
        let mut places: Vec<Place<'_>> = Vec::new();
        if let Some(span) = self.span {
            places.push((span, &self.label, AnnotationKind::Primary));
        }
        places.extend(self.related.iter().map(|(s, l)| (*s, l.as_str(), AnnotationKind::Context)));
        // Places in one part of one file are drawn together, in the order in which the parts are first spoken of.
        let mut parts: Vec<Part<'_>> = Vec::new();
        for place in places {
            let Some(file) = sources.files.get(place.0.file) else { continue };
            let section = file.marks.section(place.0.lo, file.text.len());
            match parts.iter_mut().find(|p| (p.0, &p.1) == (place.0.file, &section)) {
                Some(part) => part.2.push(place),
                None => parts.push((place.0.file, section, vec![place])),
            }
        }
        let paths: Vec<String> = parts.iter().map(|part| sources.location(part.2[0].0).path).collect();
        for ((file, section, places), path) in parts.iter().zip(&paths) {
            let Some(file) = sources.files.get(*file) else { continue };
            let ranges: Vec<Range<usize>> = places.iter().map(|p| clamp(&file.text, section, p.0)).collect();
            let (lo, hi) =
                ranges.iter().fold((usize::MAX, 0), |(lo, hi), r| (lo.min(r.start), hi.max(r.end)));
            let window = file.window(lo, hi);
            let first =
                sources.location(Span { file: places[0].0.file, lo: window.start, hi: window.start }).line;
            let text = file.text.get(window.clone()).unwrap_or("");
            if text.lines().any(|line| line.len() > MAX_LINE) {
                let place = sources.location(places[0].0);
                let origin = Origin::path(path.as_str()).line(place.line).char_column(place.column);
                group = group.element(origin);
                continue;
            }
            let mut snippet = Snippet::source(text).path(path.as_str()).line_start(first);
            for ((_, label, kind), range) in places.iter().zip(&ranges) {
                let inside = |at: usize| at.saturating_sub(window.start).min(text.len());
                let annotation = kind.span(inside(range.start)..inside(range.end));
                snippet =
                    snippet.annotation(if label.is_empty() { annotation } else { annotation.label(*label) });
            }
            group = group.element(snippet);
        }
        let (chain, more) = self.span.map(|span| sources.included_from(span)).unwrap_or_default();
        let mut includes: Vec<String> = chain.iter().map(|place| format!("included from {place}")).collect();
        if more {
            includes.push("and so on".into());
        }
        for line in &includes {
            group = group.element(Level::NOTE.message(line.as_str()));
        }
        if let Some(note) = &self.note {
            group = group.element(Level::NOTE.message(note.as_str()));
        }
        if let Some(help) = &self.help {
            group = group.element(Level::HELP.message(help.as_str()));
        }
        Renderer::plain().render(&[group])
    }
}

/// A range that is inside `section` of `text` and on character boundaries.
fn clamp(text: &str, section: &Range<usize>, span: Span) -> Range<usize> {
    let down = |mut at: usize| {
        at = at.clamp(section.start, section.end).min(text.len());
        while !text.is_char_boundary(at) {
            at -= 1;
        }
        at
    };
    let lo = down(span.lo);
    lo..down(span.hi).max(lo)
}

/// Everything found in a compilation that failed, with the sources it points into.
#[derive(Clone, Debug)]
pub struct Failure {
    /// The files.
    pub sources: Sources,
    /// The findings; at least one is an error.
    pub diagnostics: Vec<Diagnostic>,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, diagnostic) in self.diagnostics.iter().enumerate() {
            if i > 0 {
                f.write_str("\n\n")?;
            }
            f.write_str(&diagnostic.render(&self.sources))?;
        }
        Ok(())
    }
}

impl std::error::Error for Failure {}
