//! Policies by name, with their parameters in the names of the sources.

use std::fmt;
use std::str::FromStr;

use super::{Acknowledgements, Us};

/// What collects changes into one batch. In all of them a timer that ends at the moment of a change ends before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Window {
    /// Every change is a batch.
    None,
    /// Istio's `debounce()` (`pilot/pkg/xds/discovery.go`): the timer is not re-armed by a change, `max` is looked at
    /// only when it ends, one push at a time.
    Istio {
        /// `PILOT_DEBOUNCE_AFTER`.
        after: Us,
        /// `PILOT_DEBOUNCE_MAX`.
        max: Us,
        /// How long a push keeps the worker busy.
        push: Us,
    },
    /// Contour's holdoff (`internal/contour/handler.go`): at once after `idle` without a rebuild, else `quiet` after the
    /// last change.
    Holdoff {
        /// `HoldoffMaxDelay`.
        idle: Us,
        /// `HoldoffDelay`.
        quiet: Us,
    },
    /// From the first change on for a fixed time.
    Fixed(Us),
    /// The textbook's: `quiet` after the last change, `max` after the first at the latest.
    Debounce {
        /// Silence that ends the batch.
        quiet: Us,
        /// Longest a change waits.
        max: Us,
    },
    /// At once, but not within `0` of the last push.
    MinInterval(Us),
    /// A ticker; a tick with nothing new pushes nothing.
    Tick {
        /// Distance of ticks.
        interval: Us,
        /// The first tick.
        phase: Us,
    },
    /// No timer: whatever came while the last batch was worked on is the next one.
    WorkConserving(Us),
}

/// Waiting for Envoy's answer, per type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gate {
    /// Never.
    None,
    /// One response outstanding; the newest state goes out on the answer, older ones never.
    Latest {
        /// An answer that takes longer is not waited for.
        timeout: Option<Us>,
        /// After a rejection nothing is sent for this long.
        nack_backoff: Us,
    },
    /// One response outstanding; every state is sent in its turn.
    InTurn,
}

/// An upper bound of generations that drain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Draining {
    /// Of any one listener at a time.
    pub most: u32,
}

/// Which types a batch is pushed for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Versioning {
    /// Those that its changes touch.
    Touched,
    /// All: every batch gives every type a new version.
    Global,
    /// Those whose content differs from what was sent.
    PerType,
}

/// State of the world or delta.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// As the input has it.
    AsRecorded,
    /// Each response repeats everything.
    Sotw,
    /// Each response carries what changed.
    Delta,
}

/// A control plane's batching.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// As asked for.
    pub name: String,
    /// Collects changes.
    pub window: Window,
    /// Holds a batch until Envoy answered.
    pub gate: Gate,
    /// Holds LDS while too much drains.
    pub draining: Option<Draining>,
    /// Changes of endpoints alone do not wait for the window.
    pub eds_bypass: bool,
    /// Types of a batch.
    pub versioning: Versioning,
    /// A type whose content is what was sent last is not sent.
    pub dedup: bool,
    /// With versions per type, endpoints have a new one whenever clusters do.
    pub eds_follows_cds: bool,
    /// Form of responses.
    pub transport: Transport,
}

/// Seconds, or a number with `us`, `ms`, `s`, `m`, `h`; also a sum of them as Go writes it (`1m30s`).
///
/// # Errors
/// One line that says what was expected.
pub fn parse_duration(text: &str) -> Result<Us, String> {
    let wrong = || format!("`{text}` is no length of time; expected one like 5s, 100ms or 1m30s");
    let mut total = 0.0_f64;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let (number, tail) = rest.split_at(digits);
        let letters = tail.find(|c: char| c.is_ascii_digit()).unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(letters);
        let factor = match unit {
            "us" | "µs" => 1.0,
            "ms" => 1e3,
            "s" => 1e6,
            "m" => 60e6,
            "h" => 3600e6,
            "" if tail.is_empty() && rest == text => 1e6,
            _ => return Err(wrong()),
        };
        total += number.parse::<f64>().map_err(|_| wrong())? * factor;
        rest = tail;
    }
    if text.is_empty() || !(0.0..=1e15).contains(&total) {
        return Err(wrong());
    }
    Ok(Us(total.round() as i64))
}

const MS: i64 = 1000;
const S: i64 = 1_000_000;

/// Every name with the parameters it takes, for messages and documentation.
pub const NAMES: [(&str, &str); 16] = [
    ("none", ""),
    ("fixed-window", "window=5s"),
    ("debounce", "quiet=1s,max=10s"),
    ("min-interval", "interval=2s"),
    ("at-most-k-draining", "k=1"),
    ("ack-clocked", "timeout=15s"),
    ("istio", "after=100ms,max=10s,push=0s"),
    ("istio-flow-control", "after=100ms,max=10s,push=0s,timeout=15s"),
    ("contour", "quiet=100ms,idle=500ms"),
    ("contour-0.5", ""),
    ("contour-0.6", "quiet=100ms,idle=500ms"),
    ("contour-0.12", "quiet=100ms,idle=500ms"),
    ("contour-0.13", "quiet=100ms,idle=500ms"),
    ("envoy-gateway", "service=0s"),
    ("kuma", "interval=1s,phase=0s"),
    ("consul", "window=200ms"),
];

/// The parameters every policy takes.
pub const COMMON: &str = "gate=none|ack|ack-in-turn, timeout=TIME, draining=K, eds=same|bypass, \
versioning=touched|global|per-type, dedup=none|content, transport=sotw|delta";

/// Parameters as they are taken from the text, so that those nobody asked for are found.
struct Parameters<'a> {
    name: &'a str,
    pairs: Vec<(&'a str, &'a str)>,
}

impl<'a> Parameters<'a> {
    fn take(&mut self, key: &str) -> Option<&'a str> {
        let at = self.pairs.iter().position(|(k, _)| *k == key)?;
        Some(self.pairs.remove(at).1)
    }

    fn time(&mut self, key: &str, default: i64) -> Result<Us, String> {
        self.take(key).map_or(Ok(Us(default)), parse_duration)
    }

    /// A time that must not be zero.
    fn period(&mut self, key: &str, default: i64) -> Result<Us, String> {
        match self.time(key, default)? {
            Us(0) => Err(format!("{}: {key} must be more than 0", self.name)),
            time => Ok(time),
        }
    }

    fn number(&mut self, key: &str) -> Result<Option<u32>, String> {
        let Some(text) = self.take(key) else { return Ok(None) };
        match text.parse() {
            Ok(n) if n > 0 => Ok(Some(n)),
            _ => Err(format!("{}: {key} is a number of generations from 1 on, not `{text}`", self.name)),
        }
    }
}

impl Policy {
    /// How long a change may be held back for others to join it.
    pub fn reach(&self, acks: &Acknowledgements) -> Us {
        let window = match self.window {
            Window::None => Us(0),
            Window::Istio { after: t, .. }
            | Window::Holdoff { quiet: t, .. }
            | Window::Fixed(t)
            | Window::Debounce { quiet: t, .. }
            | Window::MinInterval(t)
            | Window::Tick { interval: t, .. }
            | Window::WorkConserving(t) => t,
        };
        let gate = match self.gate {
            Gate::None => Us(0),
            Gate::Latest { .. } | Gate::InTurn => acks.latency.iter().copied().max().unwrap_or(Us(0)),
        };
        let draining = self.draining.map_or(Us(0), |_| acks.drain);
        window.max(gate).max(draining)
    }
}

impl FromStr for Policy {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, rest) = text.split_once(':').unwrap_or((text, ""));
        let mut pairs = Vec::new();
        for pair in rest.split(',').filter(|p| !p.is_empty()) {
            let (key, value) =
                pair.split_once('=').ok_or_else(|| format!("`{pair}` in `{text}`: expected key=value"))?;
            pairs.push((key.trim(), value.trim()));
        }
        let asked: Vec<&str> = pairs.iter().map(|(key, _)| *key).collect();
        let mut p = Parameters { name, pairs };
        let mut policy = preset(&mut p)?;
        common(&mut p, &mut policy)?;
        if let Some((key, _)) = p.pairs.first() {
            if asked.iter().filter(|k| *k == key).count() > 1 {
                return Err(format!("{name}: `{key}` is given twice"));
            }
            if *key == "timeout" {
                return Err(format!("{name}: a timeout is that of gate=ack"));
            }
            let known = NAMES.iter().find(|(n, _)| *n == name).map(|(_, k)| *k).filter(|k| !k.is_empty());
            let known = known.map_or(String::new(), |k| format!("{k} and "));
            return Err(format!("{name} has no parameter `{key}`; it takes {known}{COMMON}"));
        }
        policy.name = text.to_owned();
        Ok(policy)
    }
}

fn preset(p: &mut Parameters<'_>) -> Result<Policy, String> {
    let plain = Policy {
        name: String::new(),
        window: Window::None,
        gate: Gate::None,
        draining: None,
        eds_bypass: false,
        versioning: Versioning::Touched,
        dedup: false,
        eds_follows_cds: false,
        transport: Transport::AsRecorded,
    };
    let latest = |timeout| Gate::Latest { timeout, nack_backoff: Us(0) };
    Ok(match p.name {
        "none" => plain,
        "fixed-window" => Policy { window: Window::Fixed(p.period("window", 5 * S)?), ..plain },
        "debounce" => {
            let quiet = p.time("quiet", S)?;
            // without a bound a steady stream of changes would never be pushed; a quiet time above the usual one moves it
            let max = p.time("max", quiet.0.max(10 * S))?;
            Policy { window: Window::Debounce { quiet, max }, ..plain }
        }
        "min-interval" => Policy { window: Window::MinInterval(p.time("interval", 2 * S)?), ..plain },
        // contour#1635
        "at-most-k-draining" => Policy { draining: Some(Draining { most: p.number("k")?.unwrap_or(1) }), ..plain },
        // go-control-plane SnapshotCache: a watch is answered once, and the next request opens the next one
        "ack-clocked" => Policy { gate: latest(p.take("timeout").map(parse_duration).transpose()?), ..plain },
        "istio" | "istio-flow-control" => {
            let window = Window::Istio {
                after: p.time("after", 100 * MS)?,
                max: p.time("max", 10 * S)?,
                push: p.time("push", 0)?,
            };
            // 1.9 to 1.14, off by default: `PILOT_ENABLE_FLOW_CONTROL`, `PILOT_FLOW_CONTROL_TIMEOUT`
            let gate = match p.name {
                "istio" => Gate::None,
                _ => latest(Some(p.time("timeout", 15 * S)?)),
            };
            Policy { window, gate, ..plain }
        }
        // every rebuild gives every type a new version; endpoints go their own way
        "contour" | "contour-0.6" | "contour-0.12" | "contour-0.13" => {
            let quiet = p.time("quiet", 100 * MS)?;
            let idle = p.time("idle", 500 * MS)?;
            // from 0.13 (#1177) on one response per request
            let gate = if matches!(p.name, "contour" | "contour-0.13") { latest(None) } else { Gate::None };
            let window = Window::Holdoff { idle, quiet };
            Policy { window, gate, eds_bypass: true, versioning: Versioning::Global, ..plain }
        }
        "contour-0.5" => Policy { eds_bypass: true, versioning: Versioning::Global, ..plain },
        // watchable.Map: all updates that arrive while the translator is busy come as one snapshot; delta
        "envoy-gateway" => Policy {
            window: Window::WorkConserving(p.time("service", 0)?),
            gate: latest(None),
            versioning: Versioning::Global,
            dedup: true,
            transport: Transport::Delta,
            ..plain
        },
        // KUMA_XDS_SERVER_DATAPLANE_CONFIGURATION_REFRESH_INTERVAL; versions are content hashes per type
        "kuma" => Policy {
            window: Window::Tick { interval: p.period("interval", S)?, phase: p.time("phase", 0)? },
            gate: Gate::Latest { timeout: None, nack_backoff: Us(5 * S) },
            versioning: Versioning::PerType,
            eds_follows_cds: true,
            ..plain
        },
        // agent/proxycfg/state.go: coalesceTimeout
        "consul" => Policy {
            window: Window::Fixed(p.period("window", 200 * MS)?),
            transport: Transport::Delta,
            versioning: Versioning::PerType,
            ..plain
        },
        other => {
            let names: Vec<&str> = NAMES.iter().map(|(n, _)| *n).collect();
            return Err(format!("no policy is called `{other}`; known: {}", names.join(", ")));
        }
    })
}

fn common(p: &mut Parameters<'_>, policy: &mut Policy) -> Result<(), String> {
    let wrong = |key: &str, value: &str| format!("`{key}={value}`: expected one of {COMMON}");
    match p.take("gate") {
        None => {}
        Some("none") => policy.gate = Gate::None,
        Some("ack") => {
            let given = p.take("timeout").map(parse_duration).transpose()?;
            policy.gate = match policy.gate {
                Gate::Latest { timeout, nack_backoff } => Gate::Latest { timeout: given.or(timeout), nack_backoff },
                _ => Gate::Latest { timeout: given, nack_backoff: Us(0) },
            };
        }
        Some("ack-in-turn") => policy.gate = Gate::InTurn,
        Some(value) => return Err(wrong("gate", value)),
    }
    if let Some(most) = p.number("draining")? {
        policy.draining = Some(Draining { most });
    }
    match p.take("eds") {
        None => {}
        Some("same") => policy.eds_bypass = false,
        Some("bypass") => policy.eds_bypass = true,
        Some(value) => return Err(wrong("eds", value)),
    }
    match p.take("versioning") {
        None => {}
        Some("touched") => policy.versioning = Versioning::Touched,
        Some("global") => policy.versioning = Versioning::Global,
        Some("per-type") => policy.versioning = Versioning::PerType,
        Some(value) => return Err(wrong("versioning", value)),
    }
    match p.take("dedup") {
        None => {}
        Some("none") => policy.dedup = false,
        Some("content") => policy.dedup = true,
        Some(value) => return Err(wrong("dedup", value)),
    }
    match p.take("transport") {
        None => {}
        Some("sotw") => policy.transport = Transport::Sotw,
        Some("delta") => policy.transport = Transport::Delta,
        Some(value) => return Err(wrong("transport", value)),
    }
    Ok(())
}

impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_takes_its_parameters() {
        for (name, parameters) in NAMES {
            assert!(name.parse::<Policy>().is_ok(), "{name}");
            let with = format!("{name}:{parameters}");
            // the parameters listed are the defaults, where there is one
            let (a, b) = (name.parse::<Policy>().unwrap(), with.parse::<Policy>().unwrap_or_else(|e| panic!("{e}")));
            if name != "ack-clocked" {
                assert_eq!(Policy { name: String::new(), ..a }, Policy { name: String::new(), ..b }, "{name}");
            }
        }
        // versions between which only the shape of the listeners changed
        for (a, b) in [("contour-0.12", "contour-0.6"), ("contour", "contour-0.13")] {
            assert_eq!(Policy { name: b.to_owned(), ..a.parse().unwrap() }, b.parse().unwrap());
        }
        let p: Policy = "debounce:quiet=1s,max=500ms".parse().unwrap();
        assert_eq!(p.window, Window::Debounce { quiet: Us(S), max: Us(500 * MS) });
        // a quiet time above the usual maximum moves that, as sweeps need it
        let p: Policy = "debounce:quiet=15s".parse().unwrap();
        assert_eq!(p.window, Window::Debounce { quiet: Us(15 * S), max: Us(15 * S) });
        // a preset's own gate keeps what nobody changes
        let p: Policy = "istio-flow-control:timeout=5s,gate=ack".parse().unwrap();
        assert_eq!(p.gate, Gate::Latest { timeout: Some(Us(5 * S)), nack_backoff: Us(0) });
        let p: Policy = "kuma:gate=ack".parse().unwrap();
        assert_eq!(p.gate, Gate::Latest { timeout: None, nack_backoff: Us(5 * S) });
        let p: Policy =
            "none:gate=ack,draining=2,eds=bypass,versioning=per-type,dedup=content,transport=delta".parse().unwrap();
        assert_eq!(p.gate, Gate::Latest { timeout: None, nack_backoff: Us(0) });
        assert_eq!((p.draining, p.eds_bypass, p.dedup), (Some(Draining { most: 2 }), true, true));
    }

    #[test]
    fn wrong_ones_are_refused() {
        for (text, why) in [
            ("fast", "no policy is called `fast`"),
            ("istio:quiet=1s", "istio has no parameter `quiet`"),
            ("fixed-window:window=0s", "must be more than 0"),
            ("fixed-window:window", "expected key=value"),
            ("debounce:quiet=soon", "no length of time"),
            ("at-most-k-draining:k=0", "from 1 on"),
            ("none:gate=open", "expected one of"),
        ] {
            let e = text.parse::<Policy>().unwrap_err();
            assert!(e.contains(why), "{text}: {e}");
        }
    }

    #[test]
    fn durations() {
        for (text, us) in [("5s", 5 * S), ("100ms", 100 * MS), ("1m30s", 90 * S), ("0.5", S / 2), ("250us", 250)] {
            assert_eq!(parse_duration(text), Ok(Us(us)), "{text}");
        }
        for text in ["", "s", "5 s", "-1s", "1s5", "1d"] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
    }
}
