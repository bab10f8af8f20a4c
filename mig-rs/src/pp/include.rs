//! `#include`, `#include_next`, `#import`, `#pragma once`: finding and reading files.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use super::{MAX_DEPTH, Preprocessor};
use crate::lex::{Kind, Token};
use crate::source::{Diagnostic, Sources, Span};

/// Most files of a compilation, each counted as often as it is read.
const MAX_FILES: usize = 2000;
/// Most bytes of all of them.
const MAX_BYTES: usize = 16 << 20;

/// Files that come with the compiler, if the `-I` directories do not have them.
const BUILT_IN: [(&str, &str); 1] = [("donation.defs", include_str!("../../include/donation.defs"))];

/// The file came with the compiler: what is in it concerns nobody.
pub(crate) fn is_built_in(sources: &Sources, file: usize) -> bool {
    let is = |path: &Path| BUILT_IN.iter().any(|(name, _)| path == Path::new(&format!("<{name}>")));
    sources.files.get(file).is_some_and(|f| is(&f.path))
}

/// How a file is asked for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Ask {
    /// `#include`
    Include,
    /// `#include_next`: behind the directory where this file was found.
    Next,
    /// `#import`: once.
    Once,
}

impl Preprocessor<'_> {
    pub(super) fn open(&mut self, path: &Path, from: Option<Span>, found_in: Option<usize>) {
        if self.stopped {
            return;
        }
        let left = MAX_BYTES.saturating_sub(self.bytes);
        let mut bytes = Vec::new();
        let limit = u64::try_from(left).unwrap_or(u64::MAX).saturating_add(1);
        match File::open(path).and_then(|file| file.take(limit).read_to_end(&mut bytes)) {
            Ok(read) if read > left => {
                let message = format!("files of more than {} MiB in all", MAX_BYTES >> 20);
                self.stop(from, &message, "look for a file that is included again and again");
            }
            Ok(_) => {
                let text = String::from_utf8_lossy(&bytes).into_owned();
                self.read(path.to_path_buf(), text, from, found_in);
            }
            Err(error) => {
                self.incomplete = true;
                let message = format!("cannot read {}: {error}", path.display());
                self.diagnostics.push(match from {
                    Some(span) => Diagnostic::error(span, message),
                    None => {
                        Diagnostic::general(message).help("look for a misspelt name, or a missing permission")
                    }
                });
            }
        }
    }

    /// The name that a directive gives, and whether it is in quotes.
    fn file_name(&mut self, rest: &[Token], span: Span) -> Option<(String, bool)> {
        // Between < and > everything belongs to the name, even what looks like a comment.
        if let Some(open) = rest.first().filter(|t| t.is('<')) {
            let text = self.sources.files.get(span.file).map_or("", |f| &f.text);
            let line = text.get(open.span.hi..).and_then(|t| t.lines().next()).unwrap_or("");
            return line.split_once('>').map(|(name, _)| (name.trim().to_owned(), false));
        }
        let expanded;
        let rest = if rest.first().is_some_and(|t| t.kind == Kind::Ident) {
            expanded = self.expand(rest.to_vec());
            &expanded
        } else {
            rest
        };
        match rest.first() {
            Some(t) if t.kind == Kind::Str && t.is_whole_string() => {
                Some((t.text.trim_matches('"').to_owned(), true))
            }
            Some(t) if t.is('<') => {
                let end = rest.iter().position(|t| t.is('>'))?;
                Some((rest[1..end].iter().map(|t| &*t.text).collect(), false))
            }
            _ => None,
        }
    }

    pub(super) fn include(&mut self, rest: &[Token], span: Span, depth: usize, ask: Ask) {
        let Some((name, quoted)) = self.file_name(rest, span).filter(|(name, _)| !name.is_empty()) else {
            self.diagnostics.push(
                Diagnostic::error(span, "#include needs a file name")
                    .help("write #include \"file\" or <file>, or a macro that stands for one"),
            );
            self.incomplete = true;
            return;
        };
        if depth >= MAX_DEPTH {
            let message = format!("files include each other more than {MAX_DEPTH} deep");
            return self.stop(Some(span), &message, "guard the file with #ifndef ... #define ... #endif");
        }
        if self.sources.files.len() >= MAX_FILES {
            let message = format!("more than {MAX_FILES} files are included");
            return self.stop(Some(span), &message, "guard the files with #ifndef ... #define ... #endif");
        }
        let first = match ask {
            Ask::Next => self.found_in.get(span.file).copied().flatten().map_or(0, |at| at + 1),
            _ => 0,
        };
        let beside = self.sources.files.get(span.file).and_then(|f| f.path.parent()).map(Path::to_path_buf);
        let beside = beside.filter(|_| quoted && ask != Ask::Next).map(|directory| (None, directory));
        let listed = self.options.include.iter().enumerate().skip(first).map(|(i, d)| (Some(i), d.clone()));
        let found: Option<(Option<usize>, PathBuf)> =
            beside.into_iter().chain(listed).map(|(i, d)| (i, d.join(&name))).find(|(_, p)| p.is_file());
        let built_in = BUILT_IN.iter().find(|(known, _)| *known == name);
        match (found, built_in) {
            (Some((_, path)), _) if self.once.contains(&path) => {}
            (Some((found_in, path)), _) => {
                if ask == Ask::Once {
                    self.once.insert(path.clone());
                }
                self.open(&path, Some(span), found_in);
            }
            (None, Some((name, text))) => {
                self.read(format!("<{name}>").into(), (*text).to_owned(), Some(span), None);
            }
            (None, None) => {
                self.incomplete = true;
                self.diagnostics.push(
                    Diagnostic::error(span, format!("cannot find {name}"))
                        .note("files are looked for beside the including one, if in quotes, and in the -I directories, in order")
                        .help("add the directory with -I"),
                );
            }
        }
    }

    /// `#pragma once`
    pub(super) fn read_once(&mut self, file: usize) {
        if let Some(file) = self.sources.files.get(file) {
            self.once.insert(file.path.clone());
        }
    }
}
