//! The line discipline: what keys do to a line before a program reads it. Pure.
//!
//! Backspace and delete erase a character, ^W a word, ^U the line; ^C throws the line away and ends it; ^D ends the input if the line is empty, else
//! hands over what there is. Everything typed is echoed; what does not fit rings the bell.

/// Longest line.
const MAX_LINE: usize = 255;
/// Bytes of whole lines that wait for a reader.
const MAX_WAITING: usize = 1024;

/// Mark of an end of input among the waiting bytes.
const END: u16 = 0x100;

/// A line being typed, and whole lines that wait to be read.
#[derive(Debug)]
pub(crate) struct Line {
    typed: [u8; MAX_LINE],
    len: usize,
    waiting: [u16; MAX_WAITING],
    first: usize,
    count: usize,
}

impl Line {
    /// Nothing typed.
    pub(crate) const fn new() -> Self {
        Self { typed: [0; MAX_LINE], len: 0, waiting: [0; MAX_WAITING], first: 0, count: 0 }
    }

    /// Takes one byte from the keyboard; `echo` gets what the screen is to show.
    pub(crate) fn feed(&mut self, byte: u8, echo: &mut dyn FnMut(&[u8])) {
        match byte {
            b'\r' | b'\n' => {
                if self.finish(Some(b'\n')) {
                    echo(b"\r\n");
                } else {
                    echo(b"\x07");
                }
            }
            0x08 | 0x7f => self.erase(echo),
            0x15 => {
                while self.len > 0 {
                    self.erase(echo);
                }
            }
            0x17 => {
                while self.last() == Some(b' ') {
                    self.erase(echo);
                }
                while self.last().is_some_and(|byte| byte != b' ') {
                    self.erase(echo);
                }
            }
            0x03 => {
                self.len = 0;
                echo(b"^C\r\n");
                self.finish(Some(b'\n'));
            }
            0x04 => {
                if !self.finish(None) {
                    echo(b"\x07");
                }
            }
            b'\t' | 0x20..=0x7e | 0x80.. => {
                if self.len < MAX_LINE {
                    self.typed[self.len] = byte;
                    self.len += 1;
                    echo(&[if byte == b'\t' { b' ' } else { byte }]);
                } else {
                    echo(b"\x07");
                }
            }
            _ => echo(b"\x07"),
        }
    }

    fn last(&self) -> Option<u8> {
        self.typed[..self.len].last().copied()
    }

    fn erase(&mut self, echo: &mut dyn FnMut(&[u8])) {
        if self.len > 0 {
            // A character may be several bytes; the ones that continue it go with it.
            while self.len > 1 && self.typed[self.len - 1] & 0xc0 == 0x80 {
                self.len -= 1;
            }
            self.len -= 1;
            echo(b"\x08 \x08");
        }
    }

    /// Hands the typed bytes over, with `end` behind them; an empty line without one is an end of input. False if there is no room.
    fn finish(&mut self, end: Option<u8>) -> bool {
        if self.count + self.len + 1 > MAX_WAITING {
            return false;
        }
        for index in 0..self.len {
            self.push(u16::from(self.typed[index]));
        }
        match end {
            Some(byte) => self.push(u16::from(byte)),
            None if self.len == 0 => self.push(END),
            None => {}
        }
        self.len = 0;
        true
    }

    fn push(&mut self, item: u16) {
        self.waiting[(self.first + self.count) % MAX_WAITING] = item;
        self.count += 1;
    }

    /// Something can be read (an end of input counts).
    pub(crate) const fn is_ready(&self) -> bool {
        self.count > 0
    }

    /// Bytes that wait.
    pub(crate) const fn available(&self) -> usize {
        self.count
    }

    /// Reads at most one line into `out`; how much, 0 for an end of input.
    pub(crate) fn read(&mut self, out: &mut [u8]) -> usize {
        let mut n = 0;
        while n < out.len() && self.count > 0 {
            let item = self.waiting[self.first];
            if item == END && n > 0 {
                break;
            }
            self.first = (self.first + 1) % MAX_WAITING;
            self.count -= 1;
            let Ok(byte) = u8::try_from(item) else { break };
            out[n] = byte;
            n += 1;
            if byte == b'\n' {
                break;
            }
        }
        n
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(line: &mut Line, keys: &[u8]) -> Vec<u8> {
        let mut shown = Vec::new();
        keys.iter().for_each(|&key| line.feed(key, &mut |echo| shown.extend_from_slice(echo)));
        shown
    }

    fn read(line: &mut Line, max: usize) -> Vec<u8> {
        let mut out = vec![0; max];
        let n = line.read(&mut out);
        out.truncate(n);
        out
    }

    #[test]
    fn lines_one_at_a_time() {
        let mut line = Line::new();
        assert_eq!(typed(&mut line, b"ls\rpwd\r"), b"ls\r\npwd\r\n");
        assert_eq!(read(&mut line, 100), b"ls\n");
        assert_eq!(read(&mut line, 2), b"pw");
        assert_eq!(read(&mut line, 100), b"d\n");
        assert!(!line.is_ready());
    }

    #[test]
    fn editing() {
        let mut line = Line::new();
        assert_eq!(typed(&mut line, b"\x7fab\x7f"), b"ab\x08 \x08", "nothing to erase, then something");
        typed(&mut line, b"c one  two \x17\r");
        assert_eq!(read(&mut line, 100), b"ac one  \n");
        typed(&mut line, b"secret\x15ok\r");
        assert_eq!(read(&mut line, 100), b"ok\n");
        typed(&mut line, "x\u{e9}\x08y\r".as_bytes());
        assert_eq!(read(&mut line, 100), b"xy\n", "a character of two bytes goes at once");
    }

    #[test]
    fn interrupts_and_ends() {
        let mut line = Line::new();
        assert_eq!(typed(&mut line, b"rm\x03"), b"rm^C\r\n");
        assert_eq!(read(&mut line, 100), b"\n");
        typed(&mut line, b"half\x04");
        assert_eq!(read(&mut line, 100), b"half");
        typed(&mut line, b"\x04");
        assert!(line.is_ready());
        assert_eq!(read(&mut line, 100), b"");
        assert!(!line.is_ready());
    }

    #[test]
    fn bounded() {
        let mut line = Line::new();
        let shown = typed(&mut line, &[b'x'; MAX_LINE + 1]);
        assert_eq!(shown.last(), Some(&7));
        for _ in 0..10 {
            typed(&mut line, b"\r");
            typed(&mut line, &[b'y'; MAX_LINE]);
        }
        assert!(line.available() <= MAX_WAITING);
        assert_eq!(typed(&mut line, b"\r"), b"\x07", "full");
        while line.is_ready() {
            read(&mut line, 64);
        }
        assert_eq!(typed(&mut line, b"\r"), b"\r\n");
    }
}
