//! Recorded xDS streams: what one Envoy was sent, from whatever recorded it, as [`Recording`].
//!
//! | file | reads |
//! | --- | --- |
//! | `responses`, `documents` | JSON Lines or concatenated JSON of discovery responses and requests |
//! | `native`, `redact` | our own format, and writes it |
//! | `tap`, `http2`, `discovery` | Envoy's tap of the xDS connection; what is in it; the protocol in wire form |
//! | `binlog` | gRPC's binary log |
//! | `log` | Envoy's log in all dialects, istiod's lines about batching |
//! | `dumps` | a series of config dumps |
//! | `observations` | `/stats`, `/memory`, Prometheus |
//! | `settings` | `/server_info`, bootstrap and a dump to begin with |
//! | `bodies`, `equality` | resources, each distinct one once, and what Envoy takes for equal |
//! | `rewrite` | the same recording with certificates, routes or filter chains written in another way |
//! | `without` | bodies without some of their virtual hosts or filter chains |
//! | `checks` | how long a body waits for what it needs, and whether Envoy refuses it |
//! | `sequence` | what the nonces of a stream show to be missing |

pub(super) mod binlog;
mod bodies;
mod checks;
mod discovery;
mod documents;
mod dumps;
mod equality;
pub(super) mod http2;
mod log;
mod native;
mod observations;
mod redact;
mod responses;
mod rewrite;
mod sequence;
mod settings;
pub(super) mod tap;
mod timeline;
mod without;

use jiff::tz::TimeZone;

use super::json::names;
use super::kind::{Kind, sniff};
use super::load::Recognised;
use crate::input::{Document, HEAD_BYTES};
use crate::model::envoy::{Node, ServerInfo};
use crate::model::problem::Problem;
use crate::model::source::InputId;
use crate::model::stream::{Recording, What};

pub use log::zone;
pub use native::{WriteOptions, write, write_responses};
pub use rewrite::rewrite;
use timeline::Timeline;
pub use without::Without;

/// What else is known about the Envoy of a recording.
#[derive(Debug, Clone, Copy, Default)]
pub struct Options<'a> {
    /// Its `/server_info`.
    pub server_info: Option<&'a Document>,
    /// Its bootstrap, or a config dump, of which only the bootstrap section counts.
    pub bootstrap: Option<&'a Document>,
    /// A config dump of what it held before the recording begins, beyond the bootstrap.
    pub base: Option<&'a Document>,
    /// Take the SHA-256 of every input, for a report that shows it.
    pub hash: bool,
    /// The zone of logs whose lines have none; without it they are fitted to the other sources, else taken as UTC.
    pub log_tz: Option<&'a TimeZone>,
    /// Keep the JSON of every body, to write the recording again.
    pub texts: bool,
}

/// A recording, its inputs and what was wrong with them.
#[derive(Debug, Default)]
pub struct Loaded {
    /// All sources merged on one time axis.
    pub recording: Recording,
    /// `documents` in their order, then server info, bootstrap and base, as far as given; `InputId` counts them.
    pub inputs: Vec<Recognised>,
    /// What went wrong or needed leniency.
    pub problems: Vec<Problem>,
    /// The JSON of the bodies, by their number, where it was asked for and there is one.
    pub texts: Vec<Option<Box<str>>>,
}

/// Whether a document is nothing but what one Envoy was sent.
pub fn is_stream(document: &Document) -> bool {
    matches!(kind_of(document), Kind::XdsRecording | Kind::EnvoyTap | Kind::GrpcLog | Kind::EnvoyLog | Kind::IstiodLog)
}

fn kind_of(document: &Document) -> Kind {
    sniff(document.head(), document.head().len() < HEAD_BYTES)
}

/// Reads all sources of one Envoy's recording and merges them by time.
///
/// Never fails as a whole: what cannot be trusted is a gap among the events and a problem. A recording without events
/// is one that held none.
pub fn read(documents: &[Document], options: &Options<'_>) -> Loaded {
    let mut timeline = Timeline { keep_texts: options.texts, ..Timeline::default() };
    let mut out = Recording::default();
    let mut inputs: Vec<Recognised> = Vec::new();
    let mut dumps = Vec::new();
    for (i, d) in documents.iter().enumerate() {
        let kind = kind_of(d);
        let input = InputId(i as u32);
        let before = timeline.problems.len();
        let (mut label, mut note) = (kind.label(), None);
        match kind {
            Kind::XdsRecording => dumps.extend(responses::read(d, input, &mut timeline)),
            Kind::ConfigDump if settings::is_response(d.head()) => {
                label = Kind::XdsRecording.label();
                dumps.extend(responses::read(d, input, &mut timeline));
            }
            Kind::ConfigDump => dumps.extend(dumps::document(d, input, &mut timeline)),
            Kind::EnvoyTap => tap::read(d, input, &mut timeline),
            Kind::GrpcLog => binlog::read(d, input, &mut timeline),
            Kind::EnvoyLog | Kind::IstiodLog => log::read(d, input, &mut timeline, options.log_tz),
            Kind::PrometheusRange => observations::prometheus(d, input, &mut timeline),
            Kind::StatsText | Kind::StatsJson | Kind::StatsPrometheus | Kind::Memory => {
                note = observations::read(d, kind, input, &mut timeline);
            }
            Kind::ServerInfo if options.server_info.is_none() => out.server_info = settings::server(d, &mut timeline),
            _ => note = Some("not a recording: left out".to_owned()),
        }
        attribute(&mut timeline, before, input);
        inputs.push(recognised(d, label, note, options.hash));
    }
    for (document, role) in [(options.server_info, 0), (options.bootstrap, 1), (options.base, 2)] {
        let Some(d) = document else { continue };
        let input = InputId(inputs.len() as u32);
        let before = timeline.problems.len();
        match role {
            0 => out.server_info = settings::server(d, &mut timeline),
            1 => {
                if let Some((bootstrap, bodies)) = settings::bootstrap(d, input, &mut timeline) {
                    out.bootstrap = Some(bootstrap);
                    out.static_resources = bodies;
                }
            }
            _ => out.base = settings::base(d, input, &mut timeline),
        }
        attribute(&mut timeline, before, input);
        inputs.push(recognised(d, ["server_info", "bootstrap", "base"][role], None, options.hash));
    }
    log::fit(&mut timeline);
    let held = dumps::series(dumps, &mut timeline);
    if options.base.is_none() {
        out.base = held;
    }
    answers_once(&mut timeline);
    let labels: Vec<&str> = inputs.iter().map(|i: &Recognised| &*i.label).collect();
    let Timeline { mut events, bodies, mut problems, times_assumed, node, header, .. } = timeline;
    events.sort_by_key(|e| e.t);
    let (bodies, texts, more) = bodies.finish(&labels);
    problems.extend(more);
    let mut told = header.unwrap_or_default();
    if let (true, Some(node)) = (told.node == Node::default(), node) {
        told.node = node;
    }
    match &mut out.server_info {
        Some(info) if info.node.id.is_empty() && !told.node.id.is_empty() => info.node = told.node,
        Some(_) => {}
        None => out.server_info = Some(told).filter(|t| *t != ServerInfo::default()),
    }
    out.events = events;
    out.bodies = bodies;
    out.times_assumed = times_assumed;
    names::reading_is_over();
    Loaded { recording: out, inputs, problems, texts }
}

/// What a log says of acknowledgements and connections is the same that a recording of the stream says.
fn answers_once(timeline: &mut Timeline) {
    let Timeline { events, logs, .. } = timeline;
    let answered = events.iter().any(|e| {
        !logs.contains(&e.input) && matches!(e.what, What::Ack { .. } | What::Nack { .. } | What::Connection(_))
    });
    if answered {
        let same = |w: &What| matches!(w, What::Ack { .. } | What::Nack { .. } | What::Connection(_));
        events.retain(|e| !(logs.contains(&e.input) && same(&e.what)));
    }
}

/// `1 response`, `3 responses`.
fn many(n: u64, one: &str, more: &str) -> String {
    format!("{n} {}", if n == 1 { one } else { more })
}

/// Problems since `before` concern `input`.
fn attribute(timeline: &mut Timeline, before: usize, input: InputId) {
    for p in &mut timeline.problems[before..] {
        p.input = Some(input);
    }
}

fn recognised(d: &Document, kind: &'static str, note: Option<String>, hash: bool) -> Recognised {
    Recognised {
        label: d.label().to_owned(),
        kind,
        stored_bytes: d.stored_bytes(),
        sha256: if hash { d.sha256().to_owned() } else { String::new() },
        given: d.given(),
        note,
    }
}
