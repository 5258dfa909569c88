//! Recorded xDS streams: what one Envoy was sent, from whatever recorded it, as [`Recording`].
//!
//! | file | reads |
//! | --- | --- |
//! | `responses`, `documents` | JSON Lines or concatenated JSON of discovery responses and requests |
//! | `settings` | `/server_info`, bootstrap and a dump to begin with |
//! | `bodies`, `equality` | resources, each distinct one once, and what Envoy takes for equal |
//! | `checks` | how long a body waits for what it needs, and whether Envoy refuses it |
//! | `sequence` | what the nonces of a stream show to be missing |

mod bodies;
mod checks;
mod documents;
mod equality;
mod responses;
mod sequence;
mod settings;
mod timeline;

use super::json::names;
use super::kind::{Kind, sniff};
use super::load::Recognised;
use crate::input::{Document, HEAD_BYTES};
use crate::model::problem::Problem;
use crate::model::source::InputId;
use crate::model::stream::Recording;

use timeline::Timeline;

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
}

/// Reads all sources of one Envoy's recording and merges them by time.
///
/// Never fails as a whole: what cannot be trusted is a gap among the events and a problem. A recording without events
/// is one that held none.
pub fn read(documents: &[Document], options: &Options<'_>) -> Loaded {
    let mut timeline = Timeline::default();
    let mut out = Recording::default();
    let mut inputs = Vec::new();
    for (i, d) in documents.iter().enumerate() {
        let kind = sniff(d.head(), d.head().len() < HEAD_BYTES);
        let input = InputId(i as u32);
        let before = timeline.problems.len();
        let (label, note) = match kind {
            Kind::XdsRecording => {
                responses::read(d, input, &mut timeline);
                (kind.label(), None)
            }
            Kind::ConfigDump if settings::is_response(d.head()) => {
                responses::read(d, input, &mut timeline);
                (Kind::XdsRecording.label(), None)
            }
            _ => (kind.label(), Some("not a recording: left out".to_owned())),
        };
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
    let labels: Vec<&str> = inputs.iter().map(|i: &Recognised| &*i.label).collect();
    let Timeline { mut events, bodies, mut problems, times_assumed } = timeline;
    events.sort_by_key(|e| e.t);
    let (bodies, more) = bodies.finish(&labels);
    problems.extend(more);
    out.events = events;
    out.bodies = bodies;
    out.times_assumed = times_assumed;
    names::reading_is_over();
    Loaded { recording: out, inputs, problems }
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
