//! Random values for arguments, from a seed, so that a failure repeats.

use mig_rs::model::{Argument, Dealloc, Elem, Placement, Prim, Role, Shape};

use super::plain::Plain;

/// A small generator (xorshift), the same on every run.
pub(crate) struct Random {
    state: u64,
    /// Rights take 8 bytes.
    kernel: bool,
}

/// Bytes of an element in memory. A kernel's rights are as large as addresses.
pub(crate) fn size_of(elem: &Elem, kernel: bool) -> usize {
    (if kernel && elem.is_right() { elem.size() * 2 } else { elem.size() }) as usize
}

/// How much there is of what varies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fill {
    Empty,
    One,
    Most,
    /// More than goes in the message.
    Beyond,
    Any,
}

pub(crate) const FILLS: [Fill; 5] = [Fill::Empty, Fill::One, Fill::Most, Fill::Beyond, Fill::Any];

impl Random {
    pub(crate) fn new(seed: &str, kernel: bool) -> Self {
        // FNV-1a; any spread of bits will do.
        let mix = |h: u64, b: u8| (h ^ u64::from(b)).wrapping_mul(0x100_0000_01b3);
        Self { state: seed.bytes().fold(0xcbf2_9ce4_8422_2325, mix) | 1, kernel }
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        self.state.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    pub(crate) fn below(&mut self, n: u64) -> u64 {
        (self.next() >> 16) % n.max(1)
    }

    fn elem(&mut self, elem: &Elem, out: &mut [u8]) {
        match elem {
            Elem::Prim(Prim::Bool) => out[0] = self.below(2) as u8,
            Elem::Prim(Prim::Float(32)) => out.copy_from_slice(&(self.next() as u32 as f32).to_le_bytes()),
            Elem::Prim(Prim::Float(_)) => out.copy_from_slice(&(self.next() as f64).to_le_bytes()),
            Elem::Prim(_) => {
                let bytes = self.next().to_le_bytes();
                out.copy_from_slice(&bytes[..out.len()]);
            }
            // Padding stays zero: Rust writes zeros there, C copies what it gets.
            Elem::Struct(def) => {
                for field in &def.fields {
                    let at = field.offset as usize;
                    self.elem(&field.elem, &mut out[at..at + field.elem.size() as usize]);
                }
            }
            Elem::Array(elem, n) => {
                let size = size_of(elem, self.kernel);
                (0..*n as usize).for_each(|i| self.elem(elem, &mut out[i * size..(i + 1) * size]));
            }
        }
    }

    fn elems(&mut self, elem: &Elem, count: u32) -> Plain {
        let size = size_of(elem, self.kernel);
        let mut bytes = vec![0; size * count as usize];
        bytes.chunks_exact_mut(size.max(1)).for_each(|slot| self.elem(elem, slot));
        Plain::new(&bytes, count)
    }

    fn count(&mut self, fill: Fill, max: u32) -> u32 {
        match fill {
            Fill::Empty => 0,
            Fill::One => max.min(1),
            Fill::Most | Fill::Beyond => max,
            Fill::Any => self.below(u64::from(max) + 1) as u32,
        }
    }

    /// What is done with a right, where the sender chooses: something that gives what the receiver wants.
    fn disposition(&mut self, argument: &Argument) -> u32 {
        let names: &[u32] = match argument.wire.receive {
            16 => &[16],
            17 => &[17, 19, 20],
            18 => &[18, 21],
            _ => &[17, 18, 19, 20, 21],
        };
        names[self.below(names.len() as u64) as usize]
    }

    /// A value for an argument; `most`: a result has room for so many elements.
    pub(crate) fn value(&mut self, argument: &Argument, fill: Fill, most: Option<u32>) -> Plain {
        let wire = &argument.wire;
        let is_result = most.is_some();
        let mut plain = match &wire.shape {
            Shape::Fixed(elem) => self.elems(elem, 1),
            Shape::Str { size, .. } => {
                let length = self.count(fill, size.saturating_sub(1)) as usize;
                let mut bytes = vec![0; *size as usize];
                bytes[..length].iter_mut().for_each(|b| *b = (self.below(255) + 1) as u8);
                Plain::new(&bytes, 1)
            }
            Shape::Variable(elem, max) => {
                let inline = wire.placement == Placement::Inline;
                let max = max.unwrap_or(64).min(most.unwrap_or(u32::MAX));
                let beyond = fill == Fill::Beyond && !inline && most.is_none_or(|m| m > max);
                let count = match beyond {
                    true => max + 1 + self.below(40) as u32,
                    false => self.count(fill, max),
                };
                let mut plain = self.elems(elem, count);
                // A server may send out of line what would have fitted.
                plain.out_of_line = wire.placement == Placement::OutOfLine
                    || beyond
                    || (is_result
                        && fill == Fill::Any
                        && wire.placement == Placement::Chosen
                        && self.below(4) == 0);
                plain
            }
        };
        plain.disposition = self.disposition(argument);
        plain.dealloc = wire.dealloc == Dealloc::Dynamic && self.below(2) == 1;
        if wire.placement == Placement::OutOfLine {
            plain.out_of_line = true;
        }
        plain
    }

    /// The room for a result that a client has.
    pub(crate) fn room(&mut self, argument: &Argument) -> u32 {
        match &argument.wire.shape {
            // Now and then more than the interface allows, of which it must make nothing.
            Shape::Variable(_, Some(max)) if argument.count_in_out => {
                self.below(u64::from(*max) + u64::from(*max) / 4 + 2) as u32
            }
            Shape::Variable(_, Some(max)) => *max,
            _ => 1,
        }
    }
}

/// What a C client needs: memory of its own for each result.
pub(crate) fn memory(argument: &Argument, given: &Plain, kernel: bool) -> Plain {
    if !argument.role.in_reply() {
        return Plain::default();
    }
    if argument.role == Role::InOut {
        return given.clone();
    }
    let (size, count) = match &argument.wire.shape {
        Shape::Fixed(elem) => (size_of(elem, kernel), 1),
        Shape::Str { size, .. } => (*size as usize, 1),
        Shape::Variable(elem, max) => (size_of(elem, kernel) * max.unwrap_or(0) as usize, given.room),
    };
    Plain::new(&vec![0; size], count)
}
