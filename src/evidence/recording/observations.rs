//! What was really measured while a recording ran: `/stats`, `/memory`, Prometheus.
//!
//! An answer of the admin port has no time of its own: it is taken from the file's name, or from the object around it.

use super::settings;
use super::timeline::Timeline;
use crate::evidence::envoy_admin::{memory, stats};
use crate::evidence::json::names;
use crate::evidence::json::outline::Outline;
use crate::evidence::json::skip::skip_space;
use crate::evidence::kind::Kind;
use crate::input::Document;
use crate::model::envoy::{Memory, Name, Stats};
use crate::model::problem::{Loss, Problem};
use crate::model::source::InputId;
use crate::model::stream::{Event, Us, What};

/// A value with its metric.
pub(super) type Value = (Name, u64);

/// The dotted name of each value of `/stats` that the model keeps.
pub(super) fn of_stats(s: &Stats) -> Vec<Value> {
    [
        ("listener_manager.total_listeners_active", s.listeners_active),
        ("listener_manager.total_listeners_warming", s.listeners_warming),
        ("listener_manager.total_listeners_draining", s.listeners_draining),
        ("listener_manager.total_filter_chains_draining", s.filter_chains_draining),
        ("listener_manager.listener_added", s.listener_added),
        ("listener_manager.listener_modified", s.listener_modified),
        ("listener_manager.listener_in_place_updated", s.listener_in_place_updated),
        ("listener_manager.listener_removed", s.listener_removed),
        ("cluster_manager.active_clusters", s.active_clusters),
        ("cluster_manager.warming_clusters", s.warming_clusters),
        ("server.memory_allocated", s.memory_allocated),
        ("server.memory_heap_size", s.memory_heap_size),
        ("server.memory_physical_size", s.memory_physical_size),
    ]
    .into_iter()
    .filter_map(|(name, value)| Some((names::word(name), value?)))
    .chain(s.listener_connections.iter().flat_map(|c| {
        [(ACTIVE, c.active), (TOTAL, c.total)]
            .into_iter()
            .filter_map(|(what, v)| Some((connections(&c.name, what), v?)))
    }))
    .collect()
}

const ACTIVE: &str = "downstream_cx_active";
const TOTAL: &str = "downstream_cx_total";

/// The dotted name of what is counted of a listener's connections.
fn connections(listener: &str, what: &str) -> Name {
    names::word(&format!("listener.{listener}.{what}"))
}

/// The values of `/memory`.
pub(super) fn of_memory(m: &Memory) -> Vec<Value> {
    [
        ("memory.allocated", Some(m.allocated)),
        ("memory.heap_size", m.heap_size),
        ("memory.pageheap_unmapped", m.pageheap_unmapped),
        ("memory.pageheap_free", m.pageheap_free),
        ("memory.total_thread_cache", m.total_thread_cache),
        ("memory.total_physical_bytes", m.physical),
    ]
    .into_iter()
    .filter_map(|(name, value)| Some((names::word(name), value?)))
    .collect()
}

/// The values in an answer of the admin port that is a JSON object.
pub(super) fn of_object(text: &[u8]) -> Vec<Value> {
    let has = |keys: &[&[u8]]| Outline::new(text).into_iter().flatten().any(|f| keys.contains(&f.key));
    if has(&[b"allocated"]) {
        return memory::read("", text).0.as_ref().map(of_memory).unwrap_or_default();
    }
    if has(&[b"stats"]) {
        return stats::read("", &mut &*text).0.as_ref().map(of_stats).unwrap_or_default();
    }
    Vec::new()
}

/// The time in a name: `dump-20261120T221049.123Z.json.gz`, `2026-11-20_22-10-49`, `1795214166.314`, always UTC.
pub(super) fn time_in_name(label: &str) -> Option<Us> {
    let mut parts = label.rsplit(['/', '!']);
    // the file, else its folder
    parts.by_ref().take(2).find_map(time_in)
}

fn time_in(name: &str) -> Option<Us> {
    let bytes = name.as_bytes();
    for start in 0..bytes.len() {
        let fresh = start == 0 || !bytes[start - 1].is_ascii_digit();
        if !fresh || !bytes[start].is_ascii_digit() {
            continue;
        }
        let run = bytes[start..].iter().take_while(|b| b.is_ascii_digit()).count();
        let digits = &name[start..start + run];
        let fraction = |from: usize| -> i64 {
            let rest = name.get(from..).unwrap_or("");
            let Some(rest) = rest.strip_prefix(['.', ',']) else { return 0 };
            let n = rest.bytes().take_while(u8::is_ascii_digit).count().min(6);
            format!("{:0<6}", &rest[..n]).parse().unwrap_or(0)
        };
        if run == 10 && digits.starts_with('1') {
            let seconds: i64 = digits.parse().ok()?;
            return Some(Us(seconds * 1_000_000 + fraction(start + run)));
        }
        if run == 13 && digits.starts_with('1') {
            return digits.parse::<i64>().ok().map(|ms| Us(ms * 1000));
        }
        if !digits.starts_with("20") {
            continue;
        }
        let (mut all, mut at) = (String::new(), start);
        while all.len() < 14 && at < bytes.len() {
            match bytes[at] {
                b if b.is_ascii_digit() => all.push(char::from(b)),
                b'-' | b'_' | b':' | b'T' | b't' | b' ' => {}
                _ => break,
            }
            at += 1;
        }
        if all.len() != 14 {
            continue;
        }
        let part = |from: usize, to: usize| all[from..to].parse::<i8>().ok();
        let date = jiff::civil::DateTime::new(
            all[..4].parse().ok()?,
            part(4, 6)?,
            part(6, 8)?,
            part(8, 10)?,
            part(10, 12)?,
            part(12, 14)?,
            0,
        );
        if let Some(t) = date.ok().and_then(|d| d.to_zoned(jiff::tz::TimeZone::UTC).ok()) {
            return Some(Us(t.timestamp().as_microsecond() + fraction(at)));
        }
    }
    None
}

/// Puts values on the time axis.
pub(super) fn observe(timeline: &mut Timeline, input: InputId, t: Us, values: Vec<Value>) {
    let event = |(metric, value)| Event { t, input, stream: 0, what: What::Observed { metric, value } };
    timeline.events.extend(values.into_iter().map(event));
}

/// Reads `/stats` in any format, or `/memory`. Gives why it is left out, if it is.
pub(super) fn read(document: &Document, kind: Kind, input: InputId, timeline: &mut Timeline) -> Option<String> {
    let label = document.label();
    let Some(t) = time_in_name(label) else {
        return Some(
            "when it was taken is not known: put the time into its name (memory-20261120T221049Z.json)".to_owned(),
        );
    };
    let bytes = settings::bytes(document, timeline);
    let (values, problems) = if kind == Kind::Memory {
        let (m, p) = memory::read(label, &bytes);
        (m.as_ref().map(of_memory), p)
    } else {
        let (s, p) = stats::read(label, &mut &*bytes);
        (s.as_ref().map(of_stats), p)
    };
    timeline.problems.extend(problems);
    observe(timeline, input, t, values.unwrap_or_default());
    None
}

/// Envoy's dotted name of a metric that Prometheus knows with underscores; `listener` is its label of that kind.
fn dotted(prometheus: &str, listener: Option<&str>) -> Option<Name> {
    let rest = match prometheus.strip_prefix("envoy_") {
        Some(rest) => rest,
        None if prometheus.starts_with("container_memory_") => return Some(names::word(prometheus)),
        None => return None,
    };
    if let Some(what) = rest.strip_prefix("listener_").filter(|w| [ACTIVE, TOTAL].contains(w)) {
        return listener.map(|l| connections(l, what));
    }
    for family in ["listener_manager", "cluster_manager", "server"] {
        if let Some(name) = rest.strip_prefix(family).and_then(|r| r.strip_prefix('_')) {
            let nested = ["lds", "cds"].iter().find_map(|p| Some((p, name.strip_prefix(p)?.strip_prefix('_')?)));
            return Some(names::word(&match nested {
                Some((p, name)) => format!("{family}.{p}.{name}"),
                None => format!("{family}.{name}"),
            }));
        }
    }
    None
}

/// Reads what `GET /api/v1/query_range` or `/query` of Prometheus answered, or the bare list of its results.
pub(super) fn prometheus(document: &Document, input: InputId, timeline: &mut Timeline) {
    let bytes = settings::bytes(document, timeline);
    let text = &bytes[skip_space(&bytes)..];
    let field = |object: &'_ [u8], key: &[u8]| -> Option<std::ops::Range<usize>> {
        let value = Outline::new(object)?.find(|f| f.key == key)?.value;
        let start = value.as_ptr() as usize - object.as_ptr() as usize;
        Some(start..start + value.len())
    };
    let results = field(text, b"data").and_then(|d| {
        let data = &text[d];
        field(data, b"result").map(|r| &data[r])
    });
    let (mut values, mut metrics, mut other, mut bad) = (0_u64, Vec::<(Name, Vec<u8>)>::new(), 0_u32, 0_u32);
    let mut several = false;
    for series in results.or(Some(text)).and_then(Outline::new).into_iter().flatten() {
        let Some(labels) = field(series.value, b"metric").map(|m| &series.value[m]) else { continue };
        let name = field(labels, b"__name__").map(|n| super::documents::text(&labels[n])).unwrap_or_default();
        let listener = field(labels, b"envoy_listener_address").map(|l| super::documents::text(&labels[l]));
        let Some(metric) = dotted(&name, listener.as_deref()) else {
            other += 1;
            continue;
        };
        // a recording is of one proxy: the first series of each metric counts
        match metrics.iter().find(|(m, _)| *m == metric) {
            Some((_, first)) if *first != labels => {
                several = true;
                continue;
            }
            _ => metrics.push((metric.clone(), labels.to_vec())),
        }
        let points = field(series.value, b"values").map(|v| &series.value[v]);
        let single = field(series.value, b"value").map(|v| &series.value[v]);
        let points = points.and_then(Outline::new).into_iter().flatten().map(|p| p.value);
        for point in points.chain(single) {
            let mut pair = Outline::new(point).into_iter().flatten();
            let t = pair.next().and_then(|t| super::documents::time(t.value));
            let v = pair.next().and_then(|v| super::documents::text(v.value).parse::<f64>().ok());
            match (t, v) {
                (Some(t), Some(v)) if v.is_finite() && (0.0..9e18).contains(&v) => {
                    observe(timeline, input, t, vec![(metric.clone(), v as u64)]);
                    values += 1;
                }
                _ => bad += 1,
            }
        }
    }
    let mut problem = |loss, what: String, hint: &str| {
        timeline.problems.push(Problem::new(document.label(), loss, what).hint(hint));
    };
    if several {
        let hint = "select one pod in the query: {pod=\"…\"}";
        problem(Loss::Part, "several series of one metric; the first of each was taken".to_owned(), hint);
    }
    if bad > 0 {
        problem(Loss::Nothing, format!("{bad} points have no number; they were skipped"), "");
    }
    if values == 0 {
        let hint = "query envoy_server_memory_allocated or envoy_listener_manager_total_listeners_draining";
        problem(Loss::Whole, format!("no metric of Envoy that is known ({other} others)"), hint);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_in_names() {
        let t = 1_795_212_649_000_000;
        for (name, us) in [
            ("a/dump-20261120T221049.123Z.json.gz", t + 123_000),
            ("a/2026-11-20T22:10:49Z.json", t),
            ("x.tar!2026-11-20_22-10-49/config_dump", t),
            ("stats.1795212649.5.txt", t + 500_000),
            ("1795212649123.prom", t + 123_000),
        ] {
            assert_eq!(time_in_name(name), Some(Us(us)), "{name}");
        }
        for name in ["1_modify_fc.stats", "config_dump.json", "v1.20.0-2026.json", "20261399T000000.json"] {
            assert_eq!(time_in_name(name), None, "{name}");
        }
    }

    #[test]
    fn dotted_names() {
        assert_eq!(dotted("envoy_server_memory_allocated", None).as_deref(), Some("server.memory_allocated"));
        assert_eq!(
            dotted("envoy_listener_manager_lds_update_success", None).as_deref(),
            Some("listener_manager.lds.update_success")
        );
        assert_eq!(
            dotted("envoy_listener_downstream_cx_active", Some("0.0.0.0_8443")).as_deref(),
            Some("listener.0.0.0.0_8443.downstream_cx_active")
        );
        assert_eq!(dotted("envoy_listener_downstream_cx_active", None), None);
        assert_eq!(dotted("go_goroutines", None), None);
    }
}
