//! Lines of a stream, in one buffer.

use std::io::{self, Read};

/// Bytes read at a time.
const CHUNK_BYTES: usize = 256 << 10;
/// A longer line is skipped. The longest that Envoy writes are histogram summaries, a few kilobytes.
pub(super) const MAX_LINE_BYTES: usize = 1 << 20;

/// One line.
pub(super) struct Line<'a> {
    /// Offset of its first byte in the stream.
    pub(super) at: u64,
    /// Its bytes without the line end; empty for a line that is too long.
    pub(super) text: &'a [u8],
    /// It ends with a line end: the last line of a copy that was cut does not.
    pub(super) ended: bool,
}

/// A reader of lines that holds [`MAX_LINE_BYTES`] and a chunk at most.
pub(super) struct Lines<'r> {
    stream: &'r mut dyn Read,
    buffer: Vec<u8>,
    /// Bytes of `buffer` that are done with.
    done: usize,
    /// Offset of the buffer's first byte in the stream.
    base: u64,
    finished: bool,
    /// Lines that were too long.
    pub(super) too_long: u64,
    /// What ended the stream early.
    pub(super) error: Option<io::Error>,
}

impl<'r> Lines<'r> {
    pub(super) fn new(stream: &'r mut dyn Read) -> Self {
        Self { stream, buffer: Vec::new(), done: 0, base: 0, finished: false, too_long: 0, error: None }
    }

    /// Offset of the first byte that was not given out.
    pub(super) fn offset(&self) -> u64 {
        self.base + self.done as u64
    }

    /// Bytes read but not given out.
    pub(super) fn rest(&self) -> &[u8] {
        &self.buffer[self.done..]
    }

    /// Takes `bytes` of [`Lines::rest`] away.
    pub(super) fn consume(&mut self, bytes: usize) {
        self.done += bytes;
    }

    /// Reads on; false at the end of the stream.
    pub(super) fn fill(&mut self) -> bool {
        if self.finished {
            return false;
        }
        self.base += self.done as u64;
        self.buffer.drain(..self.done);
        self.done = 0;
        let from = self.buffer.len();
        self.buffer.resize(from + CHUNK_BYTES, 0);
        let read = loop {
            match self.stream.read(&mut self.buffer[from..]) {
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                other => break other,
            }
        };
        let n = match read {
            Ok(n) => n,
            Err(e) => {
                self.error = Some(e);
                0
            }
        };
        self.buffer.truncate(from + n);
        self.finished = n == 0;
        n > 0
    }

    /// The next line.
    pub(super) fn next(&mut self) -> Option<Line<'_>> {
        let mut searched = 0;
        loop {
            if let Some(n) = memchr::memchr(b'\n', &self.rest()[searched..]) {
                let (at, from, len) = (self.offset(), self.done, searched + n);
                self.done += len + 1;
                return Some(Line { at, text: without_cr(&self.buffer[from..from + len]), ended: true });
            }
            searched = self.rest().len();
            if searched > MAX_LINE_BYTES {
                return Some(self.skip_line());
            }
            if !self.fill() {
                let (at, from) = (self.offset(), self.done);
                self.done = self.buffer.len();
                let text = &self.buffer[from..];
                return (!text.is_empty()).then_some(Line { at, text, ended: false });
            }
        }
    }

    fn skip_line(&mut self) -> Line<'_> {
        let at = self.offset();
        self.too_long += 1;
        let ended = loop {
            match memchr::memchr(b'\n', self.rest()) {
                Some(n) => {
                    self.done += n + 1;
                    break true;
                }
                None => {
                    self.done = self.buffer.len();
                    if !self.fill() {
                        break false;
                    }
                }
            }
        };
        Line { at, text: b"", ended }
    }
}

fn without_cr(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\r").unwrap_or(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_all_lengths() {
        let long = "x".repeat(MAX_LINE_BYTES + CHUNK_BYTES + 7);
        let text = format!("a\r\n\n{long}\nb\nlast");
        let mut stream = text.as_bytes();
        let mut lines = Lines::new(&mut stream);
        let mut got = Vec::new();
        while let Some(l) = lines.next() {
            got.push((l.at, String::from_utf8_lossy(l.text).into_owned(), l.ended));
        }
        let after = 4 + long.len() as u64 + 1;
        let own = |at, t: &str, e| (at, t.to_owned(), e);
        assert_eq!(
            got,
            [
                own(0, "a", true),
                own(3, "", true),
                own(4, "", true),
                own(after, "b", true),
                own(after + 2, "last", false)
            ]
        );
        assert_eq!(lines.too_long, 1);
    }
}
