//! gRPC's binary log of a control plane that was built to write one: `GrpcLogEntry`s, each behind its length, four
//! bytes big-endian as grpc-go writes it or a varint as grpc-java does (`grpc/binlog/v1/binarylog.proto`).

use std::collections::BTreeMap;

use super::sequence::Sequence;
use super::tap::{Streams, timestamp};
use super::timeline::Timeline;
use crate::evidence::protobuf::wire::{Fields, varint};
use crate::evidence::window::Window;
use crate::input::Document;
use crate::model::envoy::Name;
use crate::model::problem::{Loss, Problem};
use crate::model::source::InputId;
use crate::model::stream::{GapReason, Us, What};

/// Length of the record at the front of `bytes`, and of what says it.
pub(in crate::evidence) fn prefix(bytes: &[u8], big_endian: bool) -> Option<(u64, usize)> {
    if big_endian {
        let head = bytes.get(..4)?;
        return Some((u64::from(u32::from_be_bytes([head[0], head[1], head[2], head[3]])), 4));
    }
    varint(bytes)
}

/// Whether `head` begins like such a log: the first field of the first entry is its timestamp.
pub(in crate::evidence) fn is_binlog(head: &[u8]) -> Option<bool> {
    [true, false].into_iter().find(|big_endian| {
        prefix(head, *big_endian).is_some_and(|(len, n)| {
            let entry = &head[n..];
            matches!(entry, [0x0a, t @ 2..=16, 0x08, ..] if u64::from(*t) + 2 <= len) && len < 1 << 30
        })
    })
}

#[derive(Default)]
struct Call {
    stream: Option<u32>,
    delta: Option<bool>,
    last: u64,
    sequence: Sequence,
    node: Option<Name>,
    skipped: bool,
    xds: bool,
}

/// Reads the log in `document` into `timeline`.
pub(super) fn read(document: &Document, input: InputId, timeline: &mut Timeline) {
    let label = document.label();
    let mut stream = match document.open() {
        Ok(content) => content.reader(),
        Err(e) => return timeline.problems.push(document.problem(&e)),
    };
    let mut window = Window::new(&mut *stream);
    let big_endian = is_binlog(document.head()).unwrap_or(true);
    let mut calls: BTreeMap<u64, Call> = BTreeMap::new();
    let mut streams = Streams::new(timeline, input);
    let (mut last, mut missing, mut truncated, mut others) = (Us(0), 0_u64, 0_u32, 0_u32);
    let mut node: Option<Name> = None;
    while let Some((start, entry)) = window.record(|head| prefix(head, big_endian)) {
        let (mut t, mut call, mut number, mut kind, mut cut) = (Us(0), 0, 0, 0, false);
        let (mut data, mut method) = (&[][..], &[][..]);
        for (n, v) in Fields::new(entry) {
            match n {
                1 => t = timestamp(v.bytes()),
                2 => call = v.number(),
                3 => number = v.number(),
                4 => kind = v.number(),
                6 => method = Fields::new(v.bytes()).find(|(n, _)| *n == 2).map_or(&[], |(_, v)| v.bytes()),
                8 => data = Fields::new(v.bytes()).find(|(n, _)| *n == 2).map_or(&[], |(_, v)| v.bytes()),
                10 => cut = v.number() != 0,
                _ => {}
            }
        }
        last = last.max(t);
        let c = calls.entry(call).or_default();
        if c.last != 0 && number > c.last + 1 {
            missing += number - c.last - 1;
            let stream = c.stream.unwrap_or(0);
            streams.event(t, stream, What::Gap { until: t, reason: GapReason::Sequence });
        }
        c.last = number;
        if kind == 1 {
            let method = String::from_utf8_lossy(method).into_owned();
            c.xds = method.contains("envoy.") || method.is_empty();
            c.delta = Some(method.contains("Delta")).filter(|_| !method.is_empty());
        }
        if cut {
            truncated += 1;
            streams.event(t, c.stream.unwrap_or(0), What::Gap { until: t, reason: GapReason::Truncated });
            continue;
        }
        if c.skipped || !(c.xds || c.last == 0) {
            continue;
        }
        match kind {
            3 => {
                // one proxy is one recording: calls of the first node only
                if c.node.is_none() {
                    c.node = super::discovery::request(data).and_then(|r| r.node).map(|n| n.id);
                    if let Some(id) = &c.node {
                        let first = node.get_or_insert_with(|| id.clone());
                        if first != id {
                            c.skipped = true;
                            others += 1;
                            continue;
                        }
                    }
                }
                let stream = *c.stream.get_or_insert_with(|| streams.number());
                let told = streams.request(t, stream, data, &mut c.sequence);
                c.delta = c.delta.or(told);
            }
            4 => {
                let stream = *c.stream.get_or_insert_with(|| streams.number());
                streams.response(t, stream, data, start, c.delta, &mut c.sequence);
            }
            6 | 7 => streams.event(t, c.stream.unwrap_or(0), What::Connection(false)),
            _ => {}
        }
    }
    if let Some(e) = &window.error {
        streams.timeline.problems.push(document.problem(e));
    }
    for c in calls.into_values() {
        if let Some(stream) = c.stream {
            streams.end(stream, c.sequence, label);
        }
    }
    let mut problem = |loss, what: String, hint: &str| {
        streams.timeline.problems.push(Problem::new(label, loss, what).hint(hint));
    };
    if truncated > 0 {
        let hint = "take the length limits {h:…;m:…} out of GRPC_BINARY_LOG_FILTER";
        problem(Loss::Part, format!("{truncated} messages were cut when they were logged; they are missing"), hint);
    }
    if missing > 0 {
        problem(
            Loss::Part,
            format!("{missing} entries are missing between others; what they carried is not known"),
            "",
        );
    }
    if others > 0 {
        let hint = "a recording is of one Envoy: filter the log by call to see another";
        problem(Loss::Part, format!("{others} calls are of other nodes; they were left out"), hint);
    }
    if streams.responses == 0 {
        problem(Loss::Whole, "no discovery response in this log".to_owned(), "");
    }
    if !window.rest().is_empty() {
        problem(
            Loss::Nothing,
            "tail truncated: the last entry is not whole".to_owned(),
            "stop the server before copying",
        );
        streams.event(last, 0, What::Gap { until: last, reason: GapReason::Truncated });
    }
    streams.finish(label);
}
