//! The calibration table of one Envoy version: prices and stat families, as measured by the lab.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use foldhash::HashMap;
use serde::{Deserialize, Serialize};

use super::Version;
use super::stats::{Family, Kind};

/// The tables in the binary.
pub(super) fn all() -> &'static [Table] {
    static TABLES: OnceLock<Vec<Table>> = OnceLock::new();
    TABLES.get_or_init(|| {
        [include_str!("tables/1.36.json"), include_str!("tables/1.38.json"), include_str!("tables/1.40.json")]
            .iter()
            .map(|text| Table::new(&serde_json::from_str(text).expect("a table in the binary is well-formed")))
            .collect()
    })
}

/// A table as it lies in its file (`src/cost/envoy/tables/VERSION.json`).
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct TableFile {
    /// `1.40.0`.
    pub envoy: String,
    /// The build's own version string.
    pub build: String,
    /// Day of the measurement, `2026-11-21`.
    pub date: String,
    /// What the release allocates idle with one worker, in bytes, measured.
    #[serde(default)]
    pub idle: u64,
    /// Runs the prices were fitted to.
    pub runs: u32,
    /// Median, 90th percentile and largest error of the fit over its own runs, relative to measured minus base.
    pub residual: Residual,
    /// Bytes per unit of each term.
    pub prices: BTreeMap<String, f64>,
    /// Stats that each kind of object creates: `C name`, `G name`, `H name`, `T name`, with `{}` for what varies.
    pub stats: BTreeMap<String, Vec<String>>,
}

/// Errors over a set of runs, as fractions.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Residual {
    /// Half of the runs are closer.
    pub median: f64,
    /// Nine in ten are closer.
    pub p90: f64,
    /// The farthest.
    pub worst: f64,
}

/// A table ready for use.
#[derive(Debug, Clone, Default)]
pub struct Table {
    /// Release it was measured on.
    pub version: Version,
    /// The same with its patch level, `1.40.0`.
    pub release: String,
    /// Day of the measurement.
    pub date: String,
    /// What the release allocates idle with one worker, in bytes.
    pub idle: u64,
    prices: HashMap<String, f64>,
    families: HashMap<String, Family>,
}

impl Table {
    /// Builds the table from its file form. Unknown stat kinds are left out.
    pub fn new(file: &TableFile) -> Self {
        let families = families_of(&file.stats);
        Self {
            version: Version::parse(&file.envoy).unwrap_or_default(),
            release: file.envoy.clone(),
            date: file.date.clone(),
            idle: file.idle,
            prices: file.prices.iter().map(|(k, v)| (k.clone(), *v)).collect(),
            families,
        }
    }

    /// Bytes per unit of a term; `None` when it was never measured.
    pub fn price(&self, term: &str) -> Option<f64> {
        self.prices.get(term).copied()
    }

    /// The price of a term with the table's own copy of its name.
    pub(super) fn entry(&self, term: &str) -> Option<(&str, f64)> {
        self.prices.get_key_value(term).map(|(name, price)| (name.as_str(), *price))
    }

    /// A family of stats; empty when unknown.
    pub fn family(&self, name: &str) -> Option<&Family> {
        self.families.get(name)
    }

    /// The families alone, for the lab, which fits the prices.
    pub fn of_families(stats: &BTreeMap<String, Vec<String>>) -> Self {
        Self { families: families_of(stats), ..Self::default() }
    }
}

/// Stat families from their file form. Unknown stat kinds are left out.
fn families_of(stats: &BTreeMap<String, Vec<String>>) -> HashMap<String, Family> {
    stats
        .iter()
        .map(|(name, list)| {
            let stats = list
                .iter()
                .filter_map(|line| {
                    let (kind, name) = line.split_once(' ')?;
                    let kind = match kind {
                        "C" => Kind::Counter,
                        "G" => Kind::Gauge,
                        "H" => Kind::Histogram,
                        "T" => Kind::Text,
                        _ => return None,
                    };
                    Some((kind, name.to_owned()))
                })
                .collect();
            (name.clone(), Family { stats })
        })
        .collect()
}
