//! What a scenario is made of.

use crate::cost::envoy::Version;
use crate::model::envoy::Name;
use crate::model::stream::{Rewrite, Us};
use crate::sim::control_plane::{Policy, Transport, parse_duration};

/// What `--set` takes.
pub const SETTINGS: [&str; 5] = ["drain-time", "drain-strategy", "envoy-version", "concurrency", "scope"];

/// What `--fix` takes.
pub const FIXES: [&str; 6] = ["reorder", "sds", "rds", "merge-chains", "delta", "sotw"];

/// Fills a place that is empty still.
fn once<T>(place: &mut Option<T>, value: T) -> Option<()> {
    place.replace(value).is_none().then_some(())
}

/// One scenario: what is another than in the recording.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Scenario {
    /// As shown.
    pub name: String,
    /// Batching.
    pub policy: Option<Policy>,
    /// `drain-time`.
    pub drain_time: Option<Us>,
    /// `drain-strategy`: when clients are told to close, not how long a drain takes.
    pub drain_strategy: Option<String>,
    /// `envoy-version`.
    pub version: Option<Version>,
    /// `concurrency`.
    pub concurrency: Option<u32>,
    /// `reorder`: lists whose order alone changed keep the order they had.
    pub reorder: bool,
    /// `delta` or `sotw`.
    pub transport: Option<Transport>,
    /// `sds`, `rds`, `merge-chains`: the same configuration written in another way.
    pub rewrite: Rewrite,
    /// `scope`: `own-namespace`, or a file with Sidecars of Istio.
    pub scope: Option<Name>,
}

/// What is another in the content of the recording; scenarios that have it in common share a recording.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Content {
    /// [`Scenario::scope`].
    pub scope: Option<Name>,
    /// [`Scenario::rewrite`], of what the scope leaves.
    pub rewrite: Rewrite,
}

impl Scenario {
    /// Reads one part: a policy (`istio:after=1s`), a setting (`drain-time=45s`) or a fix (`reorder`).
    ///
    /// # Errors
    /// One line that says what was expected.
    pub fn add(&mut self, part: &str) -> Result<(), String> {
        let part = part.trim();
        let twice = || format!("`{part}`: a scenario has one of these");
        match part {
            "reorder" => self.reorder = true,
            "delta" => once(&mut self.transport, Transport::Delta).ok_or_else(twice)?,
            "sotw" => once(&mut self.transport, Transport::Sotw).ok_or_else(twice)?,
            "sds" => self.rewrite.sds = true,
            "rds" => self.rewrite.rds = true,
            "merge-chains" => self.rewrite.merge_chains = true,
            _ => match part.split_once('=').filter(|(key, _)| !key.contains(':')) {
                Some(("drain-time", value)) => {
                    once(&mut self.drain_time, parse_duration(value)?).ok_or_else(twice)?;
                }
                Some(("drain-strategy", value)) => {
                    if !["gradual", "immediate"].contains(&value) {
                        return Err(format!("`{part}`: a strategy is gradual or immediate"));
                    }
                    once(&mut self.drain_strategy, value.to_owned()).ok_or_else(twice)?;
                }
                Some(("envoy-version", value)) => {
                    let version = Version::parse(value);
                    let version = version.ok_or_else(|| format!("`{value}` is no version of Envoy, as 1.40"))?;
                    once(&mut self.version, version).ok_or_else(twice)?;
                }
                Some(("concurrency", value)) => {
                    let n = value.parse().ok().filter(|n| (1..=1024).contains(n));
                    let n = n.ok_or_else(|| format!("`{value}` is no number of workers"))?;
                    once(&mut self.concurrency, n).ok_or_else(twice)?;
                }
                Some(("scope", "")) => return Err("scope= is own-namespace or a file with Sidecars".to_owned()),
                Some(("scope", value)) => {
                    once(&mut self.scope, value.into()).ok_or_else(twice)?;
                }
                Some((key, _)) => return Err(format!("no setting is called `{key}`; known: {}", SETTINGS.join(", "))),
                None if self.policy.is_some() => {
                    return Err(format!("`{part}`: a scenario has one policy"));
                }
                None => self.policy = Some(part.parse()?),
            },
        }
        if !self.name.is_empty() {
            self.name.push_str(" + ");
        }
        self.name.push_str(part);
        Ok(())
    }

    /// What is another in the content.
    pub fn content(&self) -> Content {
        Content { scope: self.scope.clone(), rewrite: self.rewrite }
    }

    /// A scenario of parts joined by ` + `.
    ///
    /// # Errors
    /// Those of [`Scenario::add`].
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut scenario = Self::default();
        text.split('+').try_for_each(|part| scenario.add(part))?;
        Ok(scenario)
    }
}

/// The scenarios of `NAME.KEY=FROM..TO:STEP` (a policy's parameter) or `drain-time=FROM..TO:STEP`.
///
/// # Errors
/// One line that says what was expected.
pub fn sweep(text: &str) -> Result<Vec<Scenario>, String> {
    let wrong = || format!("`{text}`: expected NAME.PARAMETER=FROM..TO:STEP, as debounce.quiet=0s..60s:5s");
    let (what, range) = text.split_once('=').ok_or_else(wrong)?;
    let (ends, step) = range.split_once(':').ok_or_else(wrong)?;
    let (from, to) = ends.split_once("..").ok_or_else(wrong)?;
    // numbers (k, concurrency) and times alike; whole numbers stay numbers
    let number = [from, to, step].iter().all(|t| t.parse::<u32>().is_ok());
    let [from, to, step] = [parse_duration(from)?, parse_duration(to)?, parse_duration(step)?];
    if step.0 == 0 || to < from || (to.0 - from.0) / step.0 > 10_000 {
        return Err(format!("`{text}`: at most 10,000 steps, each more than 0, from the smaller to the larger"));
    }
    let name = |at: i64| if number { (at / 1_000_000).to_string() } else { time(Us(at)) };
    let values = (0..=(to.0 - from.0) / step.0).map(|i| name(from.0 + i * step.0));
    values
        .map(|value| match what.rsplit_once('.') {
            Some((policy, key)) => Scenario::parse(&format!("{policy}:{key}={value}")),
            None => Scenario::parse(&format!("{what}={value}")),
        })
        .collect()
}

/// A time as flags take it: `1500ms`, `5s`.
pub(super) fn time(t: Us) -> String {
    match t.0 {
        us if us % 1_000_000 == 0 => format!("{}s", us / 1_000_000),
        us if us % 1000 == 0 => format!("{}ms", us / 1000),
        us => format!("{us}us"),
    }
}
