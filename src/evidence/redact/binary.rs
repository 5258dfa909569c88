//! Taps and binary logs of gRPC, rewritten where they lie. Nothing is held but records whose messages are not whole yet.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::ops::Range;

use super::wire::{NOTHING, Part as Field, Wire, places};
use crate::evidence::protobuf::wire::varint;
use crate::evidence::recording::http2::{Direction, Part, Pieces};
use crate::evidence::recording::{binlog, tap};
use crate::evidence::window::{MAX_PREFIX_BYTES, MAX_RECORD_BYTES};
use crate::input::read_more;

/// A field of HPACK's static table (`:method: GET`, RFC 7541, appendix A) in one byte: headers of any length can be
/// written with it.
const ANY_HEADER: u8 = 0x82;

/// HTTP/2 frame types.
const HEADERS: u8 = 1;
const PUSH_PROMISE: u8 = 5;
const GOAWAY: u8 = 7;
const CONTINUATION: u8 = 9;

/// What cannot be rewritten at equal length, and what to do.
fn compressed() -> io::Error {
    let what = "its gRPC messages are compressed, so they cannot be rewritten at their length; \
                make a recording of it with `meshdump convert`, and redact that";
    io::Error::new(io::ErrorKind::Unsupported, what)
}

/// Bytes read and not yet written.
#[derive(Default)]
struct Held {
    bytes: Vec<u8>,
    /// Of these, whole records that have been walked.
    walked: usize,
    /// What follows is no record.
    broken: bool,
}

impl Held {
    /// Reads on; true at the end.
    fn read(&mut self, stream: &mut dyn Read) -> io::Result<bool> {
        let from = self.bytes.len();
        let ended = read_more(stream, &mut self.bytes)?;
        if self.broken {
            self.bytes[from..].fill(0);
        }
        Ok(ended)
    }

    /// The next whole record, by what tells its length and how many bytes say it. `None` until more is read.
    fn next(&mut self, prefix: impl Fn(&[u8]) -> Option<(u64, usize)>) -> Option<Range<usize>> {
        let rest = &self.bytes[self.walked..];
        match prefix(rest) {
            _ if self.broken => None,
            Some((len, head)) if len <= MAX_RECORD_BYTES => {
                let from = self.walked + head;
                let end = from + len as usize;
                (end <= self.bytes.len()).then(|| {
                    self.walked = end;
                    from..end
                })
            }
            None if rest.len() < MAX_PREFIX_BYTES => None,
            other => {
                self.broken = true;
                let from = self.walked + other.map_or(0, |(_, head)| head);
                self.bytes[from..].fill(if other.is_none() { NOTHING } else { 0 });
                None
            }
        }
    }

    /// Up to where nothing more changes but what messages to come hold.
    fn done(&self) -> usize {
        if self.broken { self.bytes.len() } else { self.walked }
    }

    /// Writes up to `end` and forgets it.
    fn write(&mut self, end: usize, out: &mut dyn Write) -> io::Result<()> {
        out.write_all(&self.bytes[..end])?;
        self.bytes.drain(..end);
        self.walked = self.walked.saturating_sub(end);
        if self.bytes.len() as u64 > 2 * MAX_RECORD_BYTES {
            return Err(io::Error::new(io::ErrorKind::Unsupported, "it begins messages of more than 2 GiB in all"));
        }
        Ok(())
    }

    /// The end of the input: of a record that is not whole, all but its length goes.
    fn finish(&mut self, prefix: impl Fn(&[u8]) -> Option<(u64, usize)>, out: &mut dyn Write) -> io::Result<()> {
        if !self.broken {
            let from = self.walked + prefix(&self.bytes[self.walked..]).map_or(0, |(_, head)| head);
            self.bytes[from..].fill(0);
        }
        out.write_all(&self.bytes)
    }
}

/// A delimited file of socket traces: in it the bytes of HTTP/2 connections.
pub(super) fn tap(wire: &mut Wire<'_>, stream: &mut dyn Read, out: &mut dyn Write) -> io::Result<()> {
    let mut held = Held::default();
    let mut connections: HashMap<u64, [Direction; 2]> = HashMap::new();
    let mut cut = false;
    loop {
        let ended = held.read(stream)?;
        while let Some(record) = held.next(varint) {
            wrapper(wire, &mut held.bytes[record.clone()]);
            let file = &held.bytes;
            let (id, events, truncated) = tap::events(&file[record]);
            cut |= truncated;
            let mut data: Vec<(usize, Range<usize>)> = Vec::new();
            for event in events {
                let segment = tap::segment(event);
                cut |= segment.truncated;
                let sides = [segment.write, segment.read].into_iter().enumerate();
                data.extend(sides.filter_map(|(side, bytes)| Some((side, tap::within(file, bytes?)))));
            }
            let directions = connections.entry(id).or_default();
            for (side, place) in data {
                // what follows a cut cannot be read, and nobody does
                if cut || directions[side].lost {
                    held.bytes[place].fill(NOTHING);
                    continue;
                }
                for part in directions[side].feed(&held.bytes, place, side == 0) {
                    rewrite(wire, &mut held.bytes, part, side == 0)?;
                }
                if directions[side].lost {
                    overwrite(&mut held.bytes, &mut directions[side]);
                }
            }
        }
        if ended {
            connections.values_mut().flatten().for_each(|d| overwrite(&mut held.bytes, d));
            return held.finish(varint, out);
        }
        let done = held.done();
        let first = connections.values().flatten().filter_map(Direction::first).min();
        let free = first.map_or(done, |at| at.min(done));
        held.write(free, out)?;
        connections.values_mut().flatten().for_each(|d| d.shift(free));
    }
}

/// Nothing stays of messages that never became whole.
fn overwrite(file: &mut [u8], direction: &mut Direction) {
    let parts = direction.unfinished(file);
    parts.iter().flat_map(Pieces::places).for_each(|place| file[place].fill(NOTHING));
}

/// A record of a tap but for what went over the connection: its addresses, and traces of another kind.
fn wrapper(wire: &mut Wire<'_>, bytes: &mut [u8]) {
    /// `SocketBufferedTrace` and `SocketStreamedTraceSegment`, up to their events.
    const SOCKET: &[(u32, Field)] =
        &[(2, Field::Known("connection", "envoy.data.tap.v3.Connection")), (3, Field::Keep), (4, Field::Keep)];
    const WRAPPER: &[(u32, Field)] = &[
        (1, Field::Known("http_buffered_trace", "envoy.data.tap.v3.HttpBufferedTrace")),
        (2, Field::Known("http_streamed_trace_segment", "envoy.data.tap.v3.HttpStreamedTraceSegment")),
        (3, Field::Message("", SOCKET)),
        (4, Field::Message("", SOCKET)),
    ];
    wire.parts(WRAPPER, bytes, 0);
}

/// Rewrites what a connection carried.
fn rewrite(wire: &mut Wire<'_>, file: &mut [u8], part: Part, from_client: bool) -> io::Result<()> {
    match part {
        Part::Message { compressed: true, .. } => return Err(compressed()),
        Part::Message { body, .. } => {
            let mut message = body.bytes(file);
            if from_client {
                wire.request(&mut message);
            } else {
                wire.response(&mut message);
            }
            let mut from = 0;
            for place in body.places() {
                let len = place.len();
                file[place].copy_from_slice(&message[from..from + len]);
                from += len;
            }
        }
        Part::Padding(bytes) => bytes.places().for_each(|place| file[place].fill(0)),
        Part::Frame { kind, flags, mut payload } => {
            let padded = flags & 0x8 != 0;
            let (keep, filler) = match kind {
                HEADERS => (usize::from(padded) + if flags & 0x20 != 0 { 5 } else { 0 }, ANY_HEADER),
                PUSH_PROMISE => (usize::from(padded) + 4, ANY_HEADER),
                CONTINUATION => (0, ANY_HEADER),
                // the last stream and a code, then text
                GOAWAY => (8, b'A'),
                // numbers
                2 | 3 | 4 | 6 | 8 => return Ok(()),
                _ => (0, b'A'),
            };
            payload.take(keep);
            payload.places().for_each(|place| file[place].fill(filler));
        }
    }
    Ok(())
}

/// gRPC's binary log.
pub(super) fn grpc_log(wire: &mut Wire<'_>, stream: &mut dyn Read, out: &mut dyn Write) -> io::Result<()> {
    /// `Metadata`: pairs of key and value.
    const METADATA: &[(u32, Field)] =
        &[(1, Field::Message("headers", &[(1, Field::Text("key")), (2, Field::Text("value"))]))];
    const ENTRY: &[(u32, Field)] = &[
        // timestamp
        (1, Field::Keep),
        (
            6,
            Field::Message(
                "",
                &[
                    (1, Field::Message("", METADATA)),
                    // method and timeout
                    (2, Field::Keep),
                    (3, Field::Text("address")),
                    (4, Field::Keep),
                ],
            ),
        ),
        (7, Field::Message("", &[(1, Field::Message("", METADATA))])),
        (8, Field::Message("", &[(2, Field::Keep)])),
        (9, Field::Message("", &[(1, Field::Message("", METADATA)), (3, Field::Text("message"))])),
        (11, Field::Message("", &[(2, Field::Text("address"))])),
    ];
    let mut held = Held::default();
    let mut big_endian = None;
    loop {
        let ended = held.read(stream)?;
        let big_endian = *big_endian.get_or_insert_with(|| binlog::is_binlog(&held.bytes).unwrap_or(true));
        let prefix = |bytes: &[u8]| binlog::prefix(bytes, big_endian);
        while let Some(at) = held.next(prefix) {
            let entry = &mut held.bytes[at];
            wire.parts(ENTRY, entry, 0);
            let (fields, _) = places(entry);
            let number = |n: u32| fields.iter().rfind(|f| f.number == n).map_or(0, |f| f.value);
            let (kind, whole) = (number(4), number(10) == 0);
            for message in fields.into_iter().filter(|f| f.number == 8).filter_map(|f| f.at) {
                let message = &mut entry[message];
                for data in places(message).0.into_iter().filter(|f| f.number == 2).filter_map(|f| f.at) {
                    match kind {
                        3 if whole => wire.request(&mut message[data]),
                        4 if whole => wire.response(&mut message[data]),
                        _ => message[data].fill(NOTHING),
                    }
                }
            }
        }
        if ended {
            return held.finish(prefix, out);
        }
        held.write(held.done(), out)?;
    }
}
