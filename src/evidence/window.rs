//! Lines or records of a stream, in one buffer: what is held is one of them and a chunk, never the whole.

use std::io::{self, Read};

/// Bytes read at a time.
const CHUNK_BYTES: usize = 256 << 10;
/// A longer line is skipped. The longest that Envoy's admin writes are histogram summaries, a few kilobytes.
pub(super) const MAX_LINE_BYTES: usize = 1 << 20;
/// A record that claims to be longer is not believed.
pub(super) const MAX_RECORD_BYTES: u64 = 1 << 30;
/// What stands before a record fits in this: a varint of ten bytes is the longest.
pub(super) const MAX_PREFIX_BYTES: usize = 10;

/// One line.
pub(super) struct Line<'a> {
    /// Offset of its first byte in the stream.
    pub(super) at: u64,
    /// Its bytes without the line end; empty for a line that is too long.
    pub(super) text: &'a [u8],
    /// It ends with a line end: the last line of a copy that was cut does not.
    pub(super) ended: bool,
}

/// A reader of lines that holds [`MAX_LINE_BYTES`] and a chunk at most, or of records that holds one and a chunk.
pub(super) struct Window<'r> {
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

impl<'r> Window<'r> {
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

    /// Takes `bytes` of [`Window::rest`] away.
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

    /// The next record and its offset: `prefix` reads the record's length and how many bytes say it.
    ///
    /// `None` at the end; [`Window::rest`] is not empty when what is left is no whole record. No length is trusted:
    /// only what has arrived is held.
    pub(super) fn record(&mut self, prefix: impl Fn(&[u8]) -> Option<(u64, usize)>) -> Option<(u64, &[u8])> {
        loop {
            match prefix(self.rest()) {
                Some((len, _)) if len > MAX_RECORD_BYTES => return None,
                Some((len, n)) if self.rest().len() - n >= len as usize => {
                    let (at, from) = (self.offset() + n as u64, self.done + n);
                    self.done = from + len as usize;
                    return Some((at, &self.buffer[from..self.done]));
                }
                None if self.rest().len() >= MAX_PREFIX_BYTES => return None,
                _ => {}
            }
            if !self.fill() {
                return None;
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
        let mut lines = Window::new(&mut stream);
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
    #[test]
    fn records_of_all_lengths() {
        let prefix = |b: &[u8]| Some((u64::from(u32::from_be_bytes(b.get(..4)?.try_into().ok()?)), 4));
        let read = |bytes: &[u8]| {
            let mut stream = bytes;
            let mut window = Window::new(&mut stream);
            let mut got = Vec::new();
            while let Some((at, record)) = window.record(prefix) {
                got.push((at, record.len()));
            }
            (got, window.rest().len(), window.buffer.capacity())
        };
        let mut bytes = Vec::new();
        for len in [0, 3, 2 * CHUNK_BYTES + 5, 1] {
            bytes.extend((len as u32).to_be_bytes());
            bytes.resize(bytes.len() + len, 7);
        }
        let last = bytes.len() as u64 - 1;
        let (got, rest, _) = read(&bytes);
        assert_eq!((&got[..], rest), (&[(4, 0), (8, 3), (15, 2 * CHUNK_BYTES + 5), (last, 1)][..], 0));
        // cut anywhere, the whole ones are given, and the rest is there to be named
        assert_eq!(read(&bytes[..bytes.len() - 1]), (got[..3].to_vec(), 4, read(&bytes).2));
        assert_eq!(read(&bytes[..6]).0, [(4, 0)]);
        // more than can be is not waited for
        let (got, _, held) = read(&[&[0xff; 4][..], &vec![0; 9 * CHUNK_BYTES]].concat());
        assert!(got.is_empty() && held < 2 * CHUNK_BYTES, "{held}");
    }
}
