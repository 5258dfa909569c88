//! Logs: Envoy's own at `config` and `upstream`, in any of its dialects, and istiod's lines about its batching.
//!
//! Only messages are matched, never `file:line`, which moves with every version. Texts: Envoy 1.36.4 and 1.40.0 as
//! observed, older ones (`cds: add …`) from their source; istiod 1.10 to 1.31 from its source.
//!
//! Envoy writes local time without a zone. `--log-tz` says which; without it the log is fitted to the pushes of the
//! other sources, if there are any (see [`fit`]).

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::io::Read;

use jiff::civil::DateTime;
use jiff::tz::TimeZone;

use super::bodies::xds_type;
use super::settings;
use super::timeline::Timeline;
use crate::evidence::config_dump::bare_type;
use crate::evidence::envoy_admin::utf8;
use crate::evidence::json::names::{self, empty};
use crate::evidence::json::outline::Outline;
use crate::evidence::window::Window;
use crate::input::Document;
use crate::model::envoy::Name;
use crate::model::problem::{Loss, Problem};
use crate::model::source::InputId;
use crate::model::stream::{Applied, DrainPhase, Event, Us, What, XdsType};

/// A log whose lines have no zone: its events, and when it saw which version of which type.
#[derive(Debug)]
pub(super) struct Unzoned {
    pub(super) input: InputId,
    pub(super) label: String,
    /// Received responses: type, version, time as written.
    pub(super) received: Vec<(XdsType, Name, Us)>,
}

/// One line, taken apart.
struct Line<'a> {
    t: Us,
    /// The time has no zone.
    local: bool,
    message: &'a str,
    debug: bool,
}

/// `2026-11-20 22:10:51.813` or with a `T`.
fn civil(text: &str) -> Option<DateTime> {
    let dated = text.len() >= 19 && text.as_bytes()[..4].iter().all(u8::is_ascii_digit);
    if !dated { None } else { text.parse().ok() }
}

fn utc(t: DateTime) -> Option<Us> {
    t.to_zoned(TimeZone::UTC).ok().map(|z| Us(z.timestamp().as_microsecond()))
}

fn timestamp(text: &str) -> Option<Us> {
    text.parse::<jiff::Timestamp>().ok().map(|t| Us(t.as_microsecond()))
}

/// `[time][thread][level][logger] [file:line] message`, the logger missing with fine-grain logging.
fn bracketed(line: &str) -> Option<Line<'_>> {
    let start = line.char_indices().take(200).find(|(i, c)| {
        *c == '[' && line.get(i + 1..i + 12).is_some_and(|d| d.as_bytes()[4] == b'-' && d.as_bytes()[10] == b' ')
    });
    let start = start?.0;
    let mut rest = &line[start + 1..];
    let (time, after) = rest.split_once(']')?;
    let t = civil(time)?;
    rest = after;
    let mut debug = false;
    for _ in 0..5 {
        let Some(group) = rest.trim_start_matches(' ').strip_prefix('[') else { break };
        let Some((inside, after)) = group.split_once(']') else { break };
        debug |= matches!(inside, "debug" | "trace");
        rest = after;
        if inside.contains(".cc:") || inside.contains(".h:") {
            break;
        }
    }
    // `kubectl logs --timestamps` and container runtimes put UTC in front
    let prefix = line[..start].split_whitespace().next().and_then(timestamp);
    let (t, local) = match prefix {
        Some(t) => (t, false),
        None => (utc(t)?, true),
    };
    Some(Line { t, local, message: rest.trim_start_matches(' '), debug })
}

/// Istio's text: time, level, scope, message, divided by tabs. Also istiod's own.
fn tabbed(line: &str) -> Option<Line<'_>> {
    let mut parts = line.split('\t');
    let t = timestamp(parts.next()?.trim().rsplit(' ').next()?)?;
    let debug = matches!(parts.next()?, "debug" | "trace");
    let third = parts.next()?;
    let message = parts.find(|p| !p.starts_with("thread=")).unwrap_or(third);
    Some(Line { t, local: false, message, debug })
}

/// Istio's JSON, or a container runtime's around any other form. The texts it holds are put into `owned`.
fn json<'a>(line: &str, owned: &'a mut String) -> Option<Line<'a>> {
    let (mut time, mut level) = (None, String::new());
    owned.clear();
    for f in Outline::new(line.as_bytes())? {
        let text = || serde_json::from_slice::<String>(f.value).unwrap_or_default();
        match f.key {
            b"time" | b"ts" => time = timestamp(&text()),
            b"level" => level = text(),
            b"msg" | b"message" | b"log" => *owned = text(),
            _ => {}
        }
    }
    let inner = owned.trim_end();
    if let Some(line) = bracketed(inner).or_else(|| tabbed(inner)) {
        return Some(match time {
            Some(t) if line.local => Line { t, local: false, ..line },
            _ => line,
        });
    }
    Some(Line { t: time?, local: false, message: inner, debug: level == "debug" || level == "trace" })
}

/// The text between two marks.
fn between<'a>(text: &'a str, from: &str, to: &str) -> Option<&'a str> {
    let rest = &text[text.find(from)? + from.len()..];
    Some(&rest[..rest.find(to)?])
}

/// The number after a mark.
fn number(text: &str, mark: &str) -> Option<u64> {
    let rest = &text[text.find(mark)? + mark.len()..];
    rest[..rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len())].parse().ok()
}

/// A name that ends the text, or at `, ` or ` hash=`.
fn named<'a>(text: &'a str, mark: &str) -> Option<&'a str> {
    let rest = &text[text.find(mark)? + mark.len()..];
    let end = [" hash=", ", original_hash=", ", hash="].iter().filter_map(|e| rest.find(e)).min();
    Some(&rest[..end.unwrap_or(rest.len())])
}

/// What was said of a listener since `begin add/update`.
#[derive(Default)]
struct Pending {
    hash: Option<u64>,
    /// Already told by a line of `config`, so the one of `upstream` says nothing new.
    told: bool,
}

#[derive(Default)]
struct Reader {
    events: Vec<(Us, What)>,
    received: Vec<(XdsType, Name, Us)>,
    pending: HashMap<String, Pending>,
    alive: HashSet<(bool, String)>,
    /// Chains that drain, by listener and hash.
    chains: HashMap<(String, Option<u64>), Vec<u32>>,
    removed: HashSet<String>,
    from_start: bool,
    updates: u32,
    told: u32,
}

impl Reader {
    fn listener(&mut self, t: Us, name: &str, how: Applied) {
        let pending = self.pending.entry(name.to_owned()).or_default();
        pending.told = true;
        let envoy_hash = pending.hash;
        self.applied(t, XdsType::Listener, name, how, envoy_hash);
    }

    fn applied(&mut self, t: Us, kind: XdsType, name: &str, how: Applied, envoy_hash: Option<u64>) {
        let key = (kind == XdsType::Listener, name.to_owned());
        let how = match how {
            Applied::Full | Applied::Updated if !self.alive.contains(&key) => {
                if self.from_start {
                    Applied::Added
                } else {
                    Applied::Updated
                }
            }
            how => how,
        };
        match how {
            Applied::Removed => {
                self.alive.remove(&key);
            }
            Applied::Rejected => {}
            _ => {
                self.alive.insert(key);
            }
        }
        self.events.push((t, What::Applied { kind, name: names::word(name), how, envoy_hash }));
    }

    fn line(&mut self, l: &Line<'_>) {
        let (t, m) = (l.t, l.message);
        // the commonest lines first; texts begin so that one look decides
        if let Some(rest) = m.strip_prefix("begin add/update listener: name=") {
            let name = named(rest, "").unwrap_or(rest);
            let hash = number(rest, " hash=");
            self.pending.insert(name.to_owned(), Pending { hash, told: false });
        } else if m.starts_with("duplicate/locked listener '") {
            let name = between(m, "'", "'. no add/update").unwrap_or("");
            self.listener(t, name, Applied::Skipped);
        } else if m.starts_with("use in place update filter chain update path for listener name=") {
            if let Some(name) = named(m, "listener name=") {
                self.told += 1;
                self.listener(t, name, Applied::InPlace);
            }
        } else if m.starts_with("use full listener update path for listener name=") {
            if let Some(name) = named(m, "listener name=") {
                self.told += 1;
                self.listener(t, name, Applied::Full);
            }
        } else if let Some(rest) = m.strip_prefix("lds: add/update listener '") {
            self.updates += 1;
            let (name, skipped) = match rest.strip_suffix("' skipped") {
                Some(name) => (name, true),
                None => (rest.strip_suffix('\'').unwrap_or(rest), false),
            };
            if !self.pending.remove(name).is_some_and(|p| p.told) {
                let how = if skipped { Applied::Skipped } else { Applied::Updated };
                self.applied(t, XdsType::Listener, name, how, None);
            }
        } else if let Some(rest) = m.strip_prefix("begin remove listener: name=") {
            self.removed.insert(rest.to_owned());
            self.applied(t, XdsType::Listener, rest, Applied::Removed, None);
        } else if m.starts_with("lds: remove listener '") {
            let name = between(m, "'", "'").unwrap_or("").to_owned();
            if !self.removed.remove(&name) {
                self.applied(t, XdsType::Listener, &name, Applied::Removed, None);
            }
        } else if m.starts_with("lds: listener '") {
            let name = between(m, "'", "' config rejected").unwrap_or("").to_owned();
            let hash = self.pending.remove(&name).and_then(|p| p.hash);
            self.reject(t, &name, hash);
        } else if let Some(rest) = m.strip_prefix("draining listener removal complete: ") {
            self.drain(t, rest, None, DrainPhase::End);
        } else if let Some(rest) = m.strip_prefix("draining listener: ") {
            self.drain(t, rest, None, DrainPhase::Begin);
        } else if m.starts_with("draining filter chains from listener ") && m.contains(" complete: ") {
            let rest = m.split_once(" complete: ").map_or("", |(_, r)| r);
            let key = (named(rest, "name=").unwrap_or("").to_owned(), number(rest, "original_hash="));
            let n = self.chains.get_mut(&key).and_then(|list| (!list.is_empty()).then(|| list.remove(0)));
            self.drain(t, rest, Some(n.unwrap_or(0)), DrainPhase::End);
        } else if m.starts_with("draining ") && m.contains(" filter chains in listener ") {
            let n = number(m, "draining ").and_then(|n| u32::try_from(n).ok()).unwrap_or(0);
            let rest = &m[m.find(": name=").map_or(m.len(), |i| i + 2)..];
            let key = (named(rest, "name=").unwrap_or("").to_owned(), number(rest, "original_hash="));
            self.chains.entry(key).or_default().push(n);
            self.drain(t, rest, Some(n), DrainPhase::Begin);
        } else if m.starts_with("all dependencies initialized. starting workers") {
            self.events.push((t, What::WorkersStart));
        } else if m.starts_with("initializing epoch ") || m.starts_with("loading tracing configuration") {
            self.from_start = true;
        } else if let Some(rest) = m.strip_prefix("cds: ") {
            self.cluster(t, rest);
        } else if m.contains("Push debounce stable[") {
            self.batch(t, m);
        } else if l.debug || m.contains("rejected") || m.contains("stream to") {
            self.transport(t, m);
        }
    }

    /// A rejected listener: what was said of its path when it was begun does not stand.
    fn reject(&mut self, t: Us, name: &str, envoy_hash: Option<u64>) {
        let last = self.events.iter().rposition(|(_, w)| {
            matches!(w, What::Applied { kind: XdsType::Listener, name: n, how, .. }
                if &**n == name && matches!(how, Applied::Added | Applied::Full | Applied::InPlace | Applied::Updated))
        });
        let mut hash = envoy_hash;
        if let Some(i) = last.filter(|i| t.0 - self.events[*i].0.0 < 1_000_000)
            && let (_, What::Applied { how, envoy_hash, .. }) = self.events.remove(i)
        {
            hash = hash.or(envoy_hash);
            if how == Applied::Added {
                self.alive.remove(&(true, name.to_owned()));
            }
        }
        self.applied(t, XdsType::Listener, name, Applied::Rejected, hash);
    }

    fn drain(&mut self, t: Us, rest: &str, chains: Option<u32>, phase: DrainPhase) {
        let Some(name) = named(rest, "name=") else { return };
        let envoy_hash = number(rest, "original_hash=").or_else(|| number(rest, ", hash="));
        self.events.push((t, What::Drain { name: names::word(name), chains, envoy_hash, phase }));
    }

    fn cluster(&mut self, t: Us, m: &str) {
        if let Some(rest) = m.strip_prefix("add/update cluster '") {
            let (name, how) = match rest.strip_suffix("' skipped") {
                Some(name) => (name, Applied::Skipped),
                None => (rest.strip_suffix('\'').unwrap_or(rest), Applied::Updated),
            };
            self.applied(t, XdsType::Cluster, name, how, None);
        } else if m.starts_with("remove cluster '") {
            let name = between(m, "'", "'").unwrap_or("").to_owned();
            self.applied(t, XdsType::Cluster, &name, Applied::Removed, None);
        }
    }

    fn transport(&mut self, t: Us, m: &str) {
        let kind_of = |text: &str| xds_type(bare_type(text));
        if let Some(rest) = m
            .strip_prefix("Received gRPC message for ")
            .or_else(|| m.strip_prefix("Received DeltaDiscoveryResponse for "))
        {
            if let Some((url, version)) = rest.split_once(" at version ") {
                self.received.push((kind_of(url), names::word(version), t));
            }
        } else if let Some(rest) =
            ["gRPC config for ", "Delta config for ", "delta config for "].iter().find_map(|p| m.strip_prefix(p))
        {
            if let Some((url, error)) = rest.split_once(" rejected: ") {
                let what = What::Nack { kind: kind_of(url), nonce: empty(), error: names::word(error) };
                self.events.push((t, what));
            } else if let Some((url, _)) = rest.split_once(" accepted with ") {
                self.events.push((t, What::Ack { kind: kind_of(url), nonce: empty() }));
            }
        } else if m.contains(" gRPC config stream to ") && m.contains(" closed: ")
            || m.contains(" gRPC config stream closed: ")
        {
            self.events.push((t, What::Connection(false)));
        } else if m.starts_with("Establishing new gRPC bidi stream to ") {
            self.events.push((t, What::Connection(true)));
        }
    }

    /// `Push debounce stable[57] 3 …: 100.1ms since last change, 3.8s since last push, full=true`: the batch began
    /// `since last push` before the line, which really counts from its first event.
    fn batch(&mut self, t: Us, m: &str) {
        let Some(rest) = m.split_once("Push debounce stable[").and_then(|(_, r)| r.split_once("] ")) else { return };
        let events = number(rest.1, "").and_then(|n| u32::try_from(n).ok()).unwrap_or(0);
        let before = |mark: &str| {
            let text = &rest.1[..rest.1.find(mark)?];
            go_duration(text.rsplit([' ', ':']).next()?)
        };
        if let (Some(quiet), Some(delay)) = (before(" since last change"), before(" since last push")) {
            let what = What::Batch { first: Us(t.0 - delay.max(quiet)), last: Us(t.0 - quiet), events };
            self.events.push((t, what));
        }
    }
}

/// `1m3.5s`, `100.158153ms`, `15.2µs` as microseconds.
fn go_duration(text: &str) -> Option<i64> {
    let mut rest = text;
    let mut total = 0.0;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let value: f64 = rest[..end].parse().ok()?;
        let unit_end = rest[end..].find(|c: char| c.is_ascii_digit()).map_or(rest.len(), |n| end + n);
        total += value
            * match &rest[end..unit_end] {
                "h" => 3.6e9,
                "m" => 6e7,
                "s" => 1e6,
                "ms" => 1e3,
                "µs" | "us" | "\u{3bc}s" => 1.0,
                "ns" => 1e-3,
                _ => return None,
            };
        rest = &rest[unit_end..];
    }
    (total < 9e15).then_some(total as i64)
}

/// A zone as `--log-tz` takes it: `UTC`, `+09:00`, `Asia/Seoul`.
///
/// # Errors
/// What is wrong with it.
pub fn zone(text: &str) -> Result<TimeZone, String> {
    if let Some(sign) = text.chars().next().filter(|c| matches!(c, '+' | '-')) {
        let digits: String = text[1..].chars().filter(char::is_ascii_digit).collect();
        let (hours, minutes) = match digits.len() {
            1 | 2 => (digits.parse::<i32>().ok(), Some(0)),
            4 => (digits[..2].parse().ok(), digits[2..].parse().ok()),
            _ => (None, None),
        };
        if let (Some(h @ 0..=14), Some(m @ 0..=59)) = (hours, minutes) {
            let seconds = (h * 60 + m) * 60 * if sign == '-' { -1 } else { 1 };
            return jiff::tz::Offset::from_seconds(seconds).map(TimeZone::fixed).map_err(|e| e.to_string());
        }
        return Err(format!("`{text}` is no offset; expected +HH:MM"));
    }
    if matches!(text, "UTC" | "utc" | "Z") {
        return Ok(TimeZone::UTC);
    }
    TimeZone::get(text).map_err(|_| format!("`{text}` is no time zone; expected UTC, +HH:MM or a name like Asia/Seoul"))
}

/// Reads the log in `document` into `timeline`.
pub(super) fn read(document: &Document, input: InputId, timeline: &mut Timeline, tz: Option<&TimeZone>) {
    let label = document.label();
    let converted;
    let mut stream: Box<dyn Read> = if matches!(utf8(document.head()), Cow::Owned(_)) {
        converted = settings::bytes(document, timeline);
        Box::new(&*converted)
    } else {
        match document.open() {
            Ok(content) => content.reader(),
            Err(e) => return timeline.problems.push(document.problem(&e)),
        }
    };
    let mut window = Window::new(&mut *stream);
    let mut reader = Reader::default();
    let (mut owned, mut lines, mut local, mut debug) = (String::new(), 0_u64, false, false);
    while let Some(raw) = window.next() {
        let text = String::from_utf8_lossy(raw.text);
        let line =
            if text.starts_with('{') { json(&text, &mut owned) } else { bracketed(&text).or_else(|| tabbed(&text)) };
        let Some(mut line) = line else { continue };
        lines += 1;
        debug |= line.debug;
        if line.local {
            match tz {
                Some(tz) => line.t = zoned(line.t, tz),
                None => local = true,
            }
        }
        reader.line(&line);
    }
    if let Some(e) = &window.error {
        timeline.problems.push(document.problem(e));
    }
    if window.too_long > 0 {
        let what = format!("{} lines are longer than a line of a log can be; they were skipped", window.too_long);
        timeline.problems.push(Problem::new(label, Loss::Nothing, what));
    }
    if lines == 0 {
        timeline.problems.push(
            Problem::new(label, Loss::Whole, "no line of a log that is known")
                .hint("expected Envoy's own format, Istio's, or istiod's"),
        );
        return;
    }
    if reader.events.is_empty() {
        let hint = "raise it while Envoy runs: curl -XPOST 'localhost:15000/logging?paths=config:debug,upstream:debug'";
        let p = Problem::new(label, Loss::Whole, "the log says nothing about updates: its level is too low").hint(hint);
        timeline.problems.push(p);
    } else if reader.updates > 0 && reader.told == 0 && !debug {
        let hint = "log config:debug,upstream:debug to see which updates were in place and what drained";
        let p = Problem::new(
            label,
            Loss::Nothing,
            "the log has only info lines: in-place and full updates cannot be told apart, drains are not seen",
        );
        timeline.problems.push(p.hint(hint));
    }
    if local {
        let unzoned = Unzoned { input, label: label.to_owned(), received: std::mem::take(&mut reader.received) };
        timeline.unzoned.push(unzoned);
    }
    timeline.logs.push(input);
    timeline.events.extend(reader.events.into_iter().map(|(t, what)| Event { t, input, stream: 0, what }));
}

/// `t` is wall-clock time of `tz` read as UTC.
fn zoned(t: Us, tz: &TimeZone) -> Us {
    let civil = jiff::Timestamp::from_microsecond(t.0).map(|t| TimeZone::UTC.to_datetime(t));
    let moved = civil.and_then(|c| tz.to_zoned(c)).map(|z| Us(z.timestamp().as_microsecond()));
    moved.unwrap_or(t)
}

/// Shifts the events of logs without a zone to where the pushes of other sources are: the difference to the same
/// version of the same type, rounded to the quarter of an hour that zones are made of.
pub(super) fn fit(timeline: &mut Timeline) {
    for log in std::mem::take(&mut timeline.unzoned) {
        let mut seen: HashMap<(XdsType, Name), Us> = HashMap::new();
        for e in timeline.events.iter().filter(|e| e.input != log.input) {
            if let What::Push(p) = &e.what {
                seen.entry((p.kind, p.version.clone())).or_insert(e.t);
            }
        }
        let mut differences: Vec<i64> = log
            .received
            .iter()
            .filter_map(|(kind, version, t)| Some(t.0 - seen.get(&(*kind, version.clone()))?.0))
            .collect();
        differences.sort_unstable();
        let Some(median) = differences.get(differences.len() / 2) else { continue };
        const QUARTER: i64 = 15 * 60 * 1_000_000;
        let quarters = (median + QUARTER / 2).div_euclid(QUARTER);
        if quarters == 0 {
            continue;
        }
        if quarters.abs() > 14 * 4 {
            let what = "the log is of another time than the other sources: no time zone brings them together";
            timeline.problems.push(Problem {
                input: Some(log.input),
                ..Problem::new(log.label, Loss::Nothing, what).hint("give only sources of one run")
            });
            continue;
        }
        for e in timeline.events.iter_mut().filter(|e| e.input == log.input) {
            shift(e, -quarters * QUARTER);
        }
        let sign = if quarters < 0 { '-' } else { '+' };
        let minutes = quarters.abs() * 15;
        let what = format!(
            "the log is in local time, {sign}{:02}:{:02} by the pushes of the other sources; it was shifted",
            minutes / 60,
            minutes % 60
        );
        timeline.problems.push(Problem {
            input: Some(log.input),
            ..Problem::new(log.label, Loss::Nothing, what).hint("--log-tz sets it")
        });
    }
}

fn shift(e: &mut Event, by: i64) {
    e.t.0 += by;
    match &mut e.what {
        What::Batch { first, last, .. } => {
            first.0 += by;
            last.0 += by;
        }
        What::Gap { until, .. } => until.0 += by,
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn events(text: &str) -> Vec<What> {
        let mut reader = Reader::default();
        let mut owned = String::new();
        for l in text.lines() {
            let line = if l.starts_with('{') { json(l, &mut owned) } else { bracketed(l).or_else(|| tabbed(l)) };
            if let Some(line) = line {
                reader.line(&line);
            }
        }
        reader.events.into_iter().map(|(_, w)| w).collect()
    }

    const IN_PLACE: &str = "draining 2 filter chains in listener l0: name=l0, original_hash=12998357853887428620, tag=1, address=127.0.0.1:22010";

    #[test]
    fn every_dialect() {
        for line in [
            format!("[2026-11-20 22:36:06.316][23113][debug][config] [source/common/x.cc:12] {IN_PLACE}"),
            format!("[2026-11-20 22:36:06.316][23113][debug] [source/common/x.cc:12] {IN_PLACE}"),
            format!(
                "2026-11-20T22:36:06.400Z [2026-11-20 22:36:06.316][23113][debug][config] [./source/x.h:1] {IN_PLACE}"
            ),
            format!("2026-11-20T22:36:06.316123Z\tdebug\tenvoy config external/envoy/x.cc:1\t{IN_PLACE}\tthread=12"),
            format!(
                r#"{{"time":"2026-11-20T22:36:06.316123Z","level":"debug","scope":"envoy config","msg":"{IN_PLACE}"}}"#
            ),
            format!(
                r#"{{"log":"[2026-11-20 22:36:06.316][1][debug][config] [x.cc:1] {IN_PLACE}\n","time":"2026-11-20T22:36:06.316123Z"}}"#
            ),
        ] {
            let expected = What::Drain {
                name: "l0".into(),
                chains: Some(2),
                envoy_hash: Some(12_998_357_853_887_428_620),
                phase: DrainPhase::Begin,
            };
            assert_eq!(events(&line), [expected], "{line}");
        }
    }

    #[test]
    fn batches_of_istiod() {
        let line = "2026-11-20T22:36:10.000000Z\tinfo\tads\tPush debounce stable[57] 3 for config ServiceEntry/a/b and 2 more configs: 100.158153ms since last change, 3.801250623s since last push, full=true";
        let t = 1_795_214_170_000_000;
        assert_eq!(events(line), [What::Batch { first: Us(t - 3_801_250), last: Us(t - 100_158), events: 3 }]);
        assert_eq!(go_duration("1m3.5s"), Some(63_500_000));
        assert_eq!(go_duration("15.2µs"), Some(15));
        assert_eq!(go_duration("x"), None);
    }

    #[test]
    fn zones() {
        let t = Us(1_795_214_170_000_000);
        assert_eq!(zoned(t, &zone("+09:00").unwrap()).0, t.0 - 9 * 3_600_000_000);
        assert_eq!(zoned(t, &zone("UTC").unwrap()), t);
        assert!(zone("+99").is_err() && zone("Mars/Base").is_err());
    }
}
