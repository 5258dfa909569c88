//! One direction of an HTTP/2 connection with gRPC inside, as it lies in pieces of a file: for who reads the messages,
//! and for who writes others of the same length in their place.

use std::collections::{HashMap, VecDeque};
use std::ops::Range;

/// What an HTTP/2 client sends first.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Length of a frame's head.
const FRAME_HEAD: usize = 9;
/// Length of the head of a gRPC message: whether it is compressed, and its length.
const MESSAGE_HEAD: usize = 5;
/// Frame types go up to 9, and a few extensions.
const LAST_FRAME_TYPE: u8 = 0x20;

/// Less is not worth the copy.
const COMPACT_FROM_BYTES: usize = 64 << 10;

/// Bytes in a row that lie in several places of a file.
#[derive(Debug, Default, Clone)]
pub(in crate::evidence) struct Pieces {
    parts: VecDeque<Range<usize>>,
    len: usize,
}

impl Pieces {
    fn push(&mut self, part: Range<usize>) {
        if !part.is_empty() {
            self.len += part.len();
            self.parts.push_back(part);
        }
    }

    fn append(&mut self, more: Self) {
        self.len += more.len;
        self.parts.extend(more.parts);
    }

    /// Takes the first `n` bytes off, or as many as there are.
    pub(in crate::evidence) fn take(&mut self, n: usize) -> Self {
        let mut out = Self::default();
        while out.len < n {
            let Some(first) = self.parts.front_mut() else { break };
            let part = first.start..first.end.min(first.start + n - out.len);
            first.start = part.end;
            if first.start == first.end {
                self.parts.pop_front();
            }
            self.len -= part.len();
            out.push(part);
        }
        out
    }

    /// Where the first byte lies.
    fn first(&self) -> Option<usize> {
        self.parts.front().map(|p| p.start)
    }

    /// The places, in their order.
    pub(in crate::evidence) fn places(&self) -> impl Iterator<Item = Range<usize>> + '_ {
        self.parts.iter().cloned()
    }

    /// The bytes, out of those of the file.
    pub(in crate::evidence) fn bytes(&self, file: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.len);
        self.places().for_each(|p| out.extend_from_slice(&file[p]));
        out
    }

    fn head<const N: usize>(&self, file: &[u8]) -> Option<[u8; N]> {
        let mut bytes = self.parts.iter().flat_map(|p| &file[p.clone()]).copied();
        let mut out = [0; N];
        for b in &mut out {
            *b = bytes.next()?;
        }
        Some(out)
    }

    fn starts_with(&self, file: &[u8], what: &[u8]) -> bool {
        self.parts.iter().flat_map(|p| &file[p.clone()]).take(what.len()).eq(what)
    }

    /// All places by so much nearer to the start of the file.
    fn shift(&mut self, by: usize) {
        for part in &mut self.parts {
            *part = part.start - by..part.end - by;
        }
    }
}

/// What a direction carries.
pub(in crate::evidence) enum Part {
    /// A gRPC message, with its HTTP/2 stream.
    Message { stream: u32, compressed: bool, body: Pieces },
    /// What is in a frame of another type.
    Frame { kind: u8, flags: u8, payload: Pieces },
    /// What fills a frame up.
    Padding(Pieces),
}

/// One direction of a connection.
#[derive(Default)]
pub(in crate::evidence) struct Direction {
    /// Bytes of a frame that has not all arrived.
    pending: Pieces,
    started: bool,
    /// It is not HTTP/2 with gRPC: nothing more is taken.
    pub(in crate::evidence) lost: bool,
    /// Bytes of a message that has not all arrived, by HTTP/2 stream.
    messages: HashMap<u32, Pieces>,
}

impl Direction {
    /// Takes the bytes at `place` of `file` off the connection and gives what they complete.
    pub(in crate::evidence) fn feed(&mut self, file: &[u8], place: Range<usize>, from_client: bool) -> Vec<Part> {
        let mut out = Vec::new();
        if self.lost {
            return out;
        }
        self.pending.push(place);
        if from_client && !self.started {
            let there = self.pending.len.min(PREFACE.len());
            if self.pending.starts_with(file, &PREFACE[..there]) {
                if there < PREFACE.len() {
                    return out;
                }
                self.pending.take(there);
            }
        }
        self.started = true;
        while let Some(head) = self.pending.head::<FRAME_HEAD>(file) {
            let len = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
            let (kind, flags) = (head[3], head[4]);
            let stream = u32::from_be_bytes([head[5] & 0x7f, head[6], head[7], head[8]]);
            if kind > LAST_FRAME_TYPE {
                self.lost = true;
                return out;
            }
            if self.pending.len < FRAME_HEAD + len {
                break;
            }
            self.pending.take(FRAME_HEAD);
            let mut payload = self.pending.take(len);
            if kind != 0 {
                out.push(Part::Frame { kind, flags, payload });
                continue;
            }
            if flags & 0x8 != 0
                && let Some([padding]) = payload.head::<1>(file)
            {
                payload.take(1);
                let data = payload.take(payload.len.saturating_sub(usize::from(padding)));
                out.push(Part::Padding(std::mem::replace(&mut payload, data)));
            }
            let message = self.messages.entry(stream).or_default();
            message.append(payload);
            while let Some(head) = message.head::<MESSAGE_HEAD>(file) {
                if head[0] > 1 {
                    self.lost = true;
                    return out;
                }
                let len = u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize;
                if message.len < MESSAGE_HEAD + len {
                    break;
                }
                message.take(MESSAGE_HEAD);
                out.push(Part::Message { stream, compressed: head[0] == 1, body: message.take(len) });
            }
        }
        out
    }

    /// Throws out of `file` what no part to come holds, where that is most of it.
    pub(in crate::evidence) fn compact(&mut self, file: &mut Vec<u8>) {
        let live: usize = self.messages.values().chain([&self.pending]).map(|p| p.len).sum();
        if file.len() < 2 * live + COMPACT_FROM_BYTES {
            return;
        }
        let mut kept = Vec::with_capacity(live);
        for pieces in self.messages.values_mut().chain([&mut self.pending]) {
            let from = kept.len();
            kept.extend(pieces.bytes(file));
            *pieces = Pieces::default();
            pieces.push(from..kept.len());
        }
        *file = kept;
    }

    /// Where the first byte lies that a part still to come may hold.
    pub(in crate::evidence) fn first(&self) -> Option<usize> {
        self.messages.values().chain([&self.pending]).filter_map(Pieces::first).min()
    }

    /// The file now begins `by` bytes later.
    pub(in crate::evidence) fn shift(&mut self, by: usize) {
        self.messages.values_mut().chain([&mut self.pending]).for_each(|p| p.shift(by));
    }

    /// The bytes of frames and messages that are not whole, without the heads that say how long they would be.
    pub(in crate::evidence) fn unfinished(&mut self, file: &[u8]) -> Vec<Pieces> {
        let mut out: Vec<Pieces> = Vec::new();
        for mut message in std::mem::take(&mut self.messages).into_values() {
            if message.head::<1>(file).is_some_and(|head| head[0] <= 1) {
                message.take(MESSAGE_HEAD);
            }
            out.push(message);
        }
        let mut frame = std::mem::take(&mut self.pending);
        if frame.head::<FRAME_HEAD>(file).is_some_and(|head| head[3] <= LAST_FRAME_TYPE) {
            frame.take(FRAME_HEAD);
        }
        out.push(frame);
        out
    }
}
