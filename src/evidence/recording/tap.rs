//! Envoy's tap transport socket on the xDS cluster: a file of varint-delimited `TraceWrapper`s (`envoy/data/tap/v3`),
//! inside them the bytes of one HTTP/2 connection, inside those gRPC, inside that the discovery protocol.
//!
//! Only DATA frames are looked at, so nothing of HPACK is needed. The time of a message is that of the segment that
//! completed it. No length is trusted: nothing is held that has not arrived.

use std::collections::{BTreeMap, HashMap};
use std::io::Read;
use std::ops::Range;

use super::bodies;
use super::discovery;
use super::http2::{Direction, Part};
use super::sequence::Sequence;
use super::timeline::Timeline;
use crate::evidence::protobuf::wire::{Fields, Value, varint};
use crate::evidence::window::Window;
use crate::input::Document;
use crate::model::envoy::Node;
use crate::model::problem::{Loss, Problem};
use crate::model::source::InputId;
use crate::model::stream::{Event, GapReason, Us, What};

/// A compressed message that inflates to more is given up.
const MAX_MESSAGE_BYTES: u64 = 1 << 30;

/// Whether `head` begins like a delimited file of socket traces.
pub(in crate::evidence) fn is_tap(head: &[u8]) -> bool {
    let Some((len, n)) = varint(head) else { return false };
    let Some((0x1a | 0x22, rest)) = head.get(n..).and_then(<[u8]>::split_first) else { return false };
    varint(rest).is_some_and(|(inner, m)| inner.checked_add(1 + m as u64) == Some(len))
}

fn inflate(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    let got = flate2::read::MultiGzDecoder::new(bytes).take(MAX_MESSAGE_BYTES).read_to_end(&mut out);
    got.is_ok().then_some(out)
}

/// A direction of a connection, with its bytes that are no whole messages yet.
#[derive(Default)]
struct Side {
    direction: Direction,
    bytes: Vec<u8>,
}

impl Side {
    /// Takes bytes off the connection and gives the messages they complete, each with its HTTP/2 stream; `None` for one
    /// that cannot be inflated.
    fn feed(&mut self, data: &[u8], from_client: bool) -> Vec<(u32, Option<Vec<u8>>)> {
        let from = self.bytes.len();
        self.bytes.extend_from_slice(data);
        let parts = self.direction.feed(&self.bytes, from..self.bytes.len(), from_client);
        let messages = parts.into_iter().filter_map(|part| {
            let Part::Message { stream, compressed, body } = part else { return None };
            let message = body.bytes(&self.bytes);
            Some((stream, if compressed { inflate(&message) } else { Some(message) }))
        });
        let out = messages.collect();
        self.direction.compact(&mut self.bytes);
        out
    }
}

#[derive(Default)]
struct Connection {
    to_client: Side,
    to_server: Side,
    /// Number in the recording and kind of each HTTP/2 stream.
    streams: HashMap<u32, (u32, Option<bool>)>,
    open: bool,
    sequences: BTreeMap<u32, Sequence>,
}

/// Reads the messages of xDS streams, from wherever they were taken.
pub(super) struct Streams<'a> {
    pub(super) timeline: &'a mut Timeline,
    pub(super) input: InputId,
    /// The first node that asked, and the first other one.
    nodes: Vec<Node>,
    next_stream: u32,
    undecoded: u32,
    pub(super) responses: u32,
    bodiless: u32,
}

impl<'a> Streams<'a> {
    pub(super) fn new(timeline: &'a mut Timeline, input: InputId) -> Self {
        Self { timeline, input, nodes: Vec::new(), next_stream: 0, undecoded: 0, responses: 0, bodiless: 0 }
    }

    /// A number for a new stream.
    pub(super) fn number(&mut self) -> u32 {
        self.next_stream += 1;
        self.next_stream - 1
    }

    pub(super) fn event(&mut self, t: Us, stream: u32, what: What) {
        self.timeline.events.push(Event { t, input: self.input, stream, what });
    }

    /// A request of a client; gives whether the stream is a delta one.
    pub(super) fn request(&mut self, t: Us, stream: u32, bytes: &[u8], sequence: &mut Sequence) -> Option<bool> {
        let Some(r) = discovery::request(bytes) else {
            self.undecoded += 1;
            return None;
        };
        if let Some(node) = r.node.filter(|n| *n != Node::default())
            && self.nodes.len() < 2
            && self.nodes.iter().all(|known| known.id != node.id)
        {
            self.nodes.push(node);
        }
        let kind = bodies::xds_type(r.type_name.as_deref().unwrap_or(""));
        if let Some(nonce) = r.nonce
            && sequence.answered(kind, &nonce)
        {
            let what = match r.error {
                Some(error) => What::Nack { kind, nonce, error },
                None => What::Ack { kind, nonce },
            };
            self.event(t, stream, what);
        }
        Some(r.delta)
    }

    /// A response of the server.
    pub(super) fn response(
        &mut self,
        t: Us,
        stream: u32,
        bytes: &[u8],
        offset_bytes: u64,
        delta: Option<bool>,
        sequence: &mut Sequence,
    ) {
        let input = self.input;
        let keep = self.timeline.keep_texts;
        let bodies = &mut self.timeline.bodies;
        let read = discovery::response(bytes, offset_bytes, delta, &mut |met| {
            let mention = bodies::Mention { key: met.key, offset_bytes, len_bytes: met.text.len() as u64 };
            bodies.add(input, mention, || discovery::body(met.type_name, met.given_name, met.text, keep));
        });
        let Some(r) = read else {
            self.undecoded += 1;
            return;
        };
        let kind = bodies::xds_type(&r.type_name);
        self.bodiless += r.bodiless;
        if !sequence.response(t, kind, &r.type_name, &r.nonce, r.content, 0) {
            return;
        }
        self.responses += 1;
        let push = r.push(kind, input, bodies);
        self.event(t, stream, What::Push(Box::new(push)));
    }

    /// The end of a stream: what its nonces say is missing.
    pub(super) fn end(&mut self, stream: u32, sequence: Sequence, label: &str) {
        let (gaps, problems) = sequence.finish(label);
        for (from, until, reason) in gaps {
            self.event(from, stream, What::Gap { until, reason });
        }
        // there are no lines in a binary file
        self.timeline.problems.extend(problems.into_iter().map(|p| Problem { line: None, ..p }));
    }

    /// The end of the input.
    pub(super) fn finish(self, label: &str) {
        if self.undecoded > 0 {
            let what = format!("{} messages are not of the discovery protocol; they were skipped", self.undecoded);
            self.timeline.problems.push(Problem::new(label, Loss::Nothing, what));
        }
        if self.bodiless > 0 {
            let what = format!("{} resources came without a body (heartbeats); they change nothing", self.bodiless);
            self.timeline.problems.push(Problem::new(label, Loss::Nothing, what));
        }
        for node in self.nodes {
            self.timeline.meet(label, node);
        }
    }
}

/// What stands in one `SocketEvent`.
pub(in crate::evidence) struct Segment<'a> {
    t: Us,
    pub(in crate::evidence) read: Option<&'a [u8]>,
    pub(in crate::evidence) write: Option<&'a [u8]>,
    closed: bool,
    pub(in crate::evidence) truncated: bool,
}

/// Where `part`, a part of `whole`, lies in it; an empty one may lie anywhere.
pub(in crate::evidence) fn within(whole: &[u8], part: &[u8]) -> Range<usize> {
    if part.is_empty() {
        return 0..0;
    }
    let from = part.as_ptr() as usize - whole.as_ptr() as usize;
    from..from + part.len()
}

pub(super) fn timestamp(bytes: &[u8]) -> Us {
    let (mut seconds, mut nanos) = (0_i64, 0_i64);
    for (number, value) in Fields::new(bytes) {
        match number {
            1 => seconds = value.number() as i64,
            2 => nanos = value.number() as i64,
            _ => {}
        }
    }
    Us(seconds.saturating_mul(1_000_000).saturating_add(nanos / 1000))
}

/// `Body`: its bytes, and whether the limit cut them.
fn body(event: &[u8]) -> (&[u8], bool) {
    let data = Fields::new(event).find(|(n, _)| *n == 1).map_or(&[][..], |(_, v)| v.bytes());
    let (mut bytes, mut truncated) = (&[][..], false);
    for (number, value) in Fields::new(data) {
        match number {
            1 | 2 => bytes = value.bytes(),
            3 => truncated = value.number() != 0,
            _ => {}
        }
    }
    (bytes, truncated)
}

pub(in crate::evidence) fn segment(bytes: &[u8]) -> Segment<'_> {
    let mut out = Segment { t: Us(0), read: None, write: None, closed: false, truncated: false };
    for (number, value) in Fields::new(bytes) {
        match number {
            1 => out.t = timestamp(value.bytes()),
            2 | 3 => {
                let (data, truncated) = body(value.bytes());
                out.truncated |= truncated;
                *(if number == 2 { &mut out.read } else { &mut out.write }) = Some(data);
            }
            4 => out.closed = true,
            _ => {}
        }
    }
    out
}

/// The trace id and events of a `TraceWrapper`, and whether one was cut.
pub(in crate::evidence) fn events(wrapper: &[u8]) -> (u64, Vec<&[u8]>, bool) {
    let (mut id, mut out, mut truncated) = (0, Vec::new(), false);
    for (number, value) in Fields::new(wrapper) {
        let buffered = match number {
            3 => true,
            4 => false,
            _ => continue,
        };
        for (number, value) in Fields::new(value.bytes()) {
            match (number, value) {
                (1, v) => id = v.number(),
                (3, Value::Bytes(event)) => out.push(event),
                (4 | 5, Value::Varint(v)) if buffered => truncated |= v != 0,
                (4, Value::Bytes(list)) => {
                    out.extend(Fields::new(list).filter(|(n, _)| *n == 1).map(|(_, v)| v.bytes()));
                }
                _ => {}
            }
        }
    }
    (id, out, truncated)
}

/// Reads the tap in `document` into `timeline`.
pub(super) fn read(document: &Document, input: InputId, timeline: &mut Timeline) {
    let label = document.label();
    let mut stream = match document.open() {
        Ok(content) => content.reader(),
        Err(e) => return timeline.problems.push(document.problem(&e)),
    };
    let mut window = Window::new(&mut *stream);
    let (mut cut, mut segments) = (0_u32, 0_u32);
    let mut connections: BTreeMap<u64, Connection> = BTreeMap::new();
    let mut last = None;
    let events_before = timeline.events.len();
    let mut streams = Streams::new(timeline, input);
    let mut lost = None;
    while let Some((start, wrapper)) = window.record(varint) {
        let (id, found, truncated) = events(wrapper);
        cut += u32::from(truncated);
        let c = connections.entry(id).or_default();
        for event in found {
            let s = segment(event);
            segments += 1;
            cut += u32::from(s.truncated);
            if s.t != Us(0) {
                last = Some(last.map_or(s.t, |l: Us| l.max(s.t)));
            }
            if !std::mem::replace(&mut c.open, true) {
                streams.event(s.t, 0, What::Connection(true));
            }
            if cut > 0 {
                continue;
            }
            for (data, from_client) in [(s.write, true), (s.read, false)] {
                let Some(data) = data else { continue };
                let side = if from_client { &mut c.to_server } else { &mut c.to_client };
                for (h2, message) in side.feed(data, from_client) {
                    let (stream, delta) = *c.streams.entry(h2).or_insert_with(|| (streams.number(), None));
                    let sequence = c.sequences.entry(stream).or_default();
                    let Some(message) = message else {
                        streams.undecoded += 1;
                        continue;
                    };
                    if from_client {
                        let told = streams.request(s.t, stream, &message, sequence);
                        c.streams.insert(h2, (stream, delta.or(told)));
                    } else {
                        streams.response(s.t, stream, &message, start, delta, sequence);
                    }
                }
                if side.direction.lost && lost.is_none() {
                    lost = Some((s.t, start));
                }
            }
            if s.closed {
                streams.event(s.t, 0, What::Connection(false));
            }
        }
    }
    if let Some(e) = &window.error {
        streams.timeline.problems.push(document.problem(e));
    }
    for c in connections.into_values() {
        for (stream, sequence) in c.sequences {
            streams.end(stream, sequence, label);
        }
    }
    let last = last.unwrap_or_default();
    if cut > 0 {
        // what survives of a cut tap would look like a quiet control plane
        streams.timeline.events.truncate(events_before);
        streams.timeline.problems.push(
            Problem::new(label, Loss::Whole, format!("the tap cut {cut} of {segments} segments: responses are missing, so it is not read"))
                .hint("set max_buffered_rx_bytes and max_buffered_tx_bytes of the tap's output_config to 2147483647 (the default is 1024 bytes per segment) and record again"),
        );
        return;
    }
    if !window.rest().is_empty() {
        streams.event(last, 0, What::Gap { until: last, reason: GapReason::Truncated });
        streams.timeline.problems.push(
            Problem::new(label, Loss::Nothing, "tail truncated: the last record of the tap is not whole")
                .at(window.offset())
                .hint("Envoy writes the file through a buffer; stop it before copying the file"),
        );
    }
    if let Some((t, at)) = lost {
        streams.event(t, 0, What::Gap { until: last, reason: GapReason::Truncated });
        streams.timeline.problems.push(
            Problem::new(label, Loss::Part, "the bytes of the connection are not HTTP/2 with gRPC from here on")
                .at(at)
                .hint("put the tap on the cluster of the xDS server, around its transport socket"),
        );
    }
    if streams.responses == 0 {
        let p = Problem::new(label, Loss::Whole, "no discovery response in this tap")
            .hint("put the tap on the cluster that the xDS server is reached by");
        streams.timeline.problems.push(p);
    }
    streams.finish(label);
}
