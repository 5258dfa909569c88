//! What a scenario is made of.

use crate::cost::envoy::Version;
use crate::model::stream::{Rewrite, Us};
use crate::sim::control_plane::{Policy, Transport, parse_duration};

/// One scenario: what is another than in the recording.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Scenario {
    /// As shown.
    pub name: String,
    /// Batching.
    pub policy: Option<Policy>,
    /// `drain-time`.
    pub drain_time: Option<Us>,
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
}

impl Scenario {
    /// Reads one part: a policy (`istio:after=1s`), a setting (`drain-time=45s`) or a fix (`reorder`).
    ///
    /// # Errors
    /// One line that says what was expected.
    pub fn add(&mut self, part: &str) -> Result<(), String> {
        let part = part.trim();
        match part {
            "reorder" => self.reorder = true,
            "delta" => self.transport = Some(Transport::Delta),
            "sotw" => self.transport = Some(Transport::Sotw),
            "sds" => self.rewrite.sds = true,
            "rds" => self.rewrite.rds = true,
            "merge-chains" => self.rewrite.merge_chains = true,
            _ => match part.split_once('=').filter(|(key, _)| !key.contains(':')) {
                Some(("drain-time", value)) => self.drain_time = Some(parse_duration(value)?),
                Some(("envoy-version", value)) => {
                    let version = Version::parse(value);
                    self.version = Some(version.ok_or_else(|| format!("`{value}` is no version of Envoy, as 1.40"))?);
                }
                Some(("concurrency", value)) => {
                    let n = value.parse().ok().filter(|n| (1..=1024).contains(n));
                    self.concurrency = Some(n.ok_or_else(|| format!("`{value}` is no number of workers"))?);
                }
                Some((key, _)) => {
                    return Err(format!("no setting is called `{key}`; known: drain-time, envoy-version, concurrency"));
                }
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
