//! Line markers, `# 12 "file" 1`: where the parts of a text come from that went through another preprocessor.
//!
//! Whatever they say is taken as said: a line number that no file has, a file that is not there, a return to where nobody came
//! from. No file that a marker names is ever opened.

use std::ops::Range;
use std::rc::Rc;

/// What a marker says besides line and file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flag {
    /// Nothing.
    None,
    /// 1: a file begins that is included here.
    Enters,
    /// 2: back in the file that included the one before.
    Returns,
}

/// One marker.
#[derive(Clone, Debug)]
struct Mark {
    /// Where it stands.
    directive: usize,
    /// Where what it speaks of begins.
    from: usize,
    /// The index of the line of `from` in the text, and its number in the file.
    index: usize,
    line: usize,
    name: Option<Rc<str>>,
    /// The last of the inclusions that led there.
    inclusion: Option<usize>,
}

/// An `#include` that the other preprocessor followed.
#[derive(Clone, Debug)]
struct Inclusion {
    name: Option<Rc<str>>,
    line: usize,
    outer: Option<usize>,
}

/// All markers of a text, in order.
#[derive(Clone, Debug, Default)]
pub(super) struct Marks {
    list: Vec<Mark>,
    inclusions: Vec<Inclusion>,
}

/// What the markers say of a place.
pub(super) struct Marked<'a>(&'a Mark);

impl Marked<'_> {
    /// The file.
    pub(super) fn path(&self) -> Option<&str> {
        self.0.name.as_deref()
    }

    /// The number of the line that has this index in the text.
    pub(super) fn line(&self, index: usize) -> usize {
        self.0.line.saturating_add(index.saturating_sub(self.0.index))
    }
}

impl Marks {
    /// Notes a marker at `directive` on the line with index `index`; the text behind it begins at `from`.
    pub(super) fn add(
        &mut self,
        directive: usize,
        index: usize,
        from: usize,
        line: usize,
        name: Option<&str>,
        flag: Flag,
    ) {
        let last = self.list.last();
        let before = last.and_then(|mark| mark.inclusion);
        let old_name = last.and_then(|mark| mark.name.clone());
        let inclusion = match flag {
            Flag::None => before,
            Flag::Returns => before.and_then(|i| self.inclusions.get(i)).and_then(|i| i.outer),
            Flag::Enters => {
                let line = last.map_or(index + 1, |mark| Marked(mark).line(index));
                self.inclusions.push(Inclusion { name: old_name.clone(), line, outer: before });
                Some(self.inclusions.len() - 1)
            }
        };
        let name = match name {
            Some(name) if old_name.as_deref() == Some(name) => old_name,
            Some(name) => Some(name.into()),
            None => old_name,
        };
        self.list.push(Mark { directive, from, index: index + 1, line, name, inclusion });
    }

    fn last_before(&self, at: usize) -> Option<&Mark> {
        self.list.get(self.list.partition_point(|mark| mark.from <= at).checked_sub(1)?)
    }

    /// What is said of a place, if anything is.
    pub(super) fn at(&self, at: usize) -> Option<Marked<'_>> {
        self.last_before(at).map(Marked)
    }

    /// The bytes around a place of which no other marker speaks.
    pub(super) fn section(&self, at: usize, end: usize) -> Range<usize> {
        let next = self.list.partition_point(|mark| mark.from <= at);
        let start = next.checked_sub(1).and_then(|i| self.list.get(i)).map_or(0, |mark| mark.from);
        start..self.list.get(next).map_or(end, |mark| mark.directive)
    }

    /// File and line of the inclusions that led to a place, innermost first. An absent name is that of the text itself.
    pub(super) fn chain(&self, at: usize) -> impl Iterator<Item = (Option<&str>, usize)> {
        let first = self.last_before(at).and_then(|mark| mark.inclusion);
        std::iter::successors(first.and_then(|i| self.inclusions.get(i)), |inclusion| {
            inclusion.outer.and_then(|i| self.inclusions.get(i))
        })
        .map(|inclusion| (inclusion.name.as_deref(), inclusion.line))
    }
}
