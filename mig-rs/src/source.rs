//! Source files, places in them, and diagnostics that point at those places.

use std::fmt;
use std::path::{Path, PathBuf};

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};

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
}

/// All files of one compilation.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// In the order of reading.
    pub files: Vec<SourceFile>,
}

impl Sources {
    /// Adds a file and returns its index.
    pub fn add(&mut self, path: impl Into<PathBuf>, text: String, included_at: Option<Span>) -> usize {
        self.files.push(SourceFile { path: path.into(), text, included_at });
        self.files.len() - 1
    }

    /// The text of a span.
    #[must_use]
    pub fn text(&self, span: Span) -> &str {
        self.files.get(span.file).and_then(|f| f.text.get(span.lo..span.hi)).unwrap_or("")
    }

    /// `path:line`.
    #[must_use]
    pub fn place(&self, span: Span) -> String {
        match self.files.get(span.file) {
            Some(file) => {
                let before = file.text.get(..span.lo).unwrap_or("");
                format!("{}:{}", file.path.display(), before.matches('\n').count() + 1)
            }
            None => String::from("?"),
        }
    }

    /// The file's name without directory and extension.
    #[must_use]
    pub fn stem(&self, file: usize) -> String {
        self.files
            .get(file)
            .and_then(|f| Path::file_stem(&f.path))
            .map(|s| s.to_string_lossy().into_owned())
            .unwrap_or_default()
    }
}

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
        let mut places: Vec<(Span, &str, AnnotationKind)> = Vec::new();
        if let Some(span) = self.span {
            places.push((span, &self.label, AnnotationKind::Primary));
        }
        places.extend(self.related.iter().map(|(s, l)| (*s, l.as_str(), AnnotationKind::Context)));
        let paths: Vec<String> = sources.files.iter().map(|f| f.path.display().to_string()).collect();
        let mut drawn: Vec<usize> = Vec::new();
        for &(span, ..) in &places {
            let Some(file) = sources.files.get(span.file) else { continue };
            if drawn.contains(&span.file) {
                continue;
            }
            drawn.push(span.file);
            let mut snippet = Snippet::source(file.text.as_str()).path(paths[span.file].as_str());
            for (span, label, kind) in places.iter().filter(|(s, ..)| s.file == span.file) {
                let range = clamp(&file.text, *span);
                let annotation = kind.span(range);
                snippet =
                    snippet.annotation(if label.is_empty() { annotation } else { annotation.label(*label) });
            }
            group = group.element(snippet);
        }
        let mut includes = Vec::new();
        let mut at = self.span.and_then(|s| sources.files.get(s.file)).and_then(|f| f.included_at);
        while let Some(span) = at {
            includes.push(format!("included from {}", sources.place(span)));
            at = sources.files.get(span.file).and_then(|f| f.included_at);
            if includes.len() > 8 {
                break;
            }
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

/// A range that is inside `text` and on character boundaries.
fn clamp(text: &str, span: Span) -> std::ops::Range<usize> {
    let down = |mut at: usize| {
        at = at.min(text.len());
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
