//! Simulated runs as trace events, for Perfetto and `chrome://tracing`: memory as counters, pushes as instants, drains
//! as spans.
//!
//! The format is the "Trace Event Format" of the Chromium project, JSON object form; `ts` is in microseconds on the
//! recording's own axis.

use serde::Serialize;

use super::clean;
use super::document::Document;
use super::json;
use super::rows::nothing;

#[derive(Serialize)]
struct Trace {
    #[serde(rename = "traceEvents")]
    events: Vec<Event>,
    #[serde(rename = "displayTimeUnit")]
    unit: &'static str,
}

#[derive(Serialize, Default)]
struct Event {
    name: String,
    #[serde(skip_serializing_if = "str::is_empty")]
    cat: &'static str,
    ph: &'static str,
    ts: i64,
    pid: u32,
    tid: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<u32>,
    #[serde(skip_serializing_if = "str::is_empty")]
    s: &'static str,
    #[serde(skip_serializing_if = "Args::is_none")]
    args: Args,
}

#[derive(Serialize, Default)]
#[serde(untagged)]
enum Args {
    #[default]
    None,
    Name {
        name: String,
    },
    Memory {
        allocated: u64,
        resident: u64,
        draining: u64,
    },
    Draining {
        listeners: u64,
        filter_chains: u64,
        old_generations: u64,
    },
    Objects {
        listeners: u64,
        clusters: u64,
    },
    Push {
        version: String,
        resources: u64,
        did: String,
    },
    Drain {
        bytes: u64,
        what: String,
    },
}

impl Args {
    fn is_none(&self) -> bool {
        matches!(self, Self::None)
    }
}

fn us(seconds: f64) -> i64 {
    (seconds * 1e6).round() as i64
}

/// Threads of a run's process.
const PUSHES: u32 = 1;
const DRAINS: u32 = 2;

/// All runs, each a process.
///
/// # Errors
/// When the reports have no runs.
pub(super) fn render(reports: &[Document]) -> Result<Vec<u8>, String> {
    let mut events = Vec::new();
    for (i, run) in reports.iter().flat_map(Document::runs).enumerate() {
        let pid = i as u32 + 1;
        for (what, tid, name) in [
            ("process_name", 0, clean(run.name()).into_owned()),
            ("thread_name", PUSHES, "pushes".to_owned()),
            ("thread_name", DRAINS, "drains".to_owned()),
        ] {
            events.push(Event {
                name: what.to_owned(),
                ph: "M",
                pid,
                tid,
                args: Args::Name { name },
                ..Event::default()
            });
        }
        for m in &run.timeline {
            for (name, args) in [
                ("memory", Args::Memory { allocated: m.allocated, resident: m.resident, draining: m.draining_bytes }),
                (
                    "draining",
                    Args::Draining {
                        listeners: m.listeners_draining,
                        filter_chains: m.filter_chains_draining,
                        old_generations: m.groups_draining,
                    },
                ),
                ("objects", Args::Objects { listeners: m.listeners_active, clusters: m.clusters_active }),
            ] {
                events.push(Event { name: name.to_owned(), ph: "C", ts: us(m.t), pid, args, ..Event::default() });
            }
        }
        for p in &run.pushes {
            let args = Args::Push { version: clean(&p.version).into_owned(), resources: p.resources, did: p.words() };
            let name = clean(if p.xds.is_empty() { &p.type_name } else { &p.xds }).into_owned();
            let ts = us(p.t);
            events.push(Event { name, cat: "push", ph: "i", ts, pid, tid: PUSHES, s: "t", args, ..Event::default() });
        }
        for (n, d) in run.drains().iter().enumerate() {
            let name = format!("{} {}", clean(&d.listener), clean(&d.version));
            let id = Some(n as u32 + 1);
            let args = Args::Drain { bytes: d.bytes, what: d.what.clone() };
            let event = |ph, t, args| Event {
                name: name.clone(),
                cat: "drain",
                ph,
                ts: us(t),
                pid,
                tid: DRAINS,
                id,
                args,
                ..Event::default()
            };
            events.push(event("b", d.began, args));
            events.push(event("e", d.ends, Args::None));
        }
    }
    if events.is_empty() {
        return Err(nothing("trace", reports));
    }
    // in order of time, what begins at one moment as it stands above
    events.sort_by_key(|e| e.ts);
    Ok(json::line(&Trace { events, unit: "ms" }).into_bytes())
}
