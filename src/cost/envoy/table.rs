//! The calibration table of one Envoy version: prices and stat families, as measured by the lab.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use foldhash::HashMap;
use serde::{Deserialize, Serialize};

use super::Version;
use super::stats::{Family, Kind};
use super::term::{Class, FamilyId, Term, Unit, t};

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
    /// Bytes per unit, by number of the term.
    prices: Vec<f64>,
    /// By number of the term.
    doubts: Vec<Doubt>,
    /// Measured extensions by class and type.
    kinds: [HashMap<String, Term>; Class::ALL.len()],
    /// The middle price of each class, for what was never measured.
    usual: [Option<f64>; Class::ALL.len()],
    /// Maglev tables hold as few bits per slot as they can, not a pointer.
    pub(super) compact_maglev: bool,
    /// By number of the family.
    families: Vec<Option<Family>>,
    /// Families of HTTP filters by type.
    filter_families: HashMap<String, FamilyId>,
}

/// What a price leaves open although it was measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Doubt {
    #[default]
    None,
    /// It depends on more than a dump shows: static resources on how the bootstrap was written, for example.
    Loose,
    /// It was measured while health checks waited for an answer. Without one they end at their timeout; a dump does not
    /// say whether they wait.
    Kept,
}

impl Doubt {
    fn of(term: &str) -> Self {
        let begins = ["cluster.health", "host.health", "secret.static", "static."];
        match () {
            () if term.starts_with("host.health") && term.ends_with("open") => Self::Kept,
            () if begins.iter().any(|b| term.starts_with(b)) => Self::Loose,
            () => Self::None,
        }
    }
}

/// The share of checked hosts whose connection is taken to be kept. A check keeps its connection open for the next one
/// (`reuse_connection`) when the host takes it, also when the answer is bad; a dump says only HEALTHY or not. So it is
/// the middle of none and all, which are the bounds.
pub(super) const KEPT_SHARE: f64 = 0.5;

/// The type under which a table's file has the middle price of a class.
const USUAL: &str = "other";

impl Table {
    /// Builds the table from its file form. Unknown stat kinds are left out.
    pub fn new(file: &TableFile) -> Self {
        let mut table = Self {
            version: Version::parse(&file.envoy).unwrap_or_default(),
            release: file.envoy.clone(),
            date: file.date.clone(),
            idle: file.idle,
            prices: Term::NAMES
                .iter()
                .map(|name| {
                    let share = if Doubt::of(name) == Doubt::Kept { KEPT_SHARE } else { 1.0 };
                    file.prices.get(*name).copied().unwrap_or(0.0) * share
                })
                .collect(),
            doubts: Term::NAMES.iter().map(|name| Doubt::of(name)).collect(),
            ..Self::of_families(&file.stats)
        };
        for (name, price) in &file.prices {
            let Some((class, kind)) = Class::split(name) else { continue };
            if kind == USUAL {
                table.usual[class as usize] = Some(*price);
            } else {
                let term = Term(table.prices.len() as u16);
                table.prices.push(*price);
                table.kinds[class as usize].insert(kind.to_owned(), term);
            }
        }
        table
    }

    /// The table with the price of each named term times a factor.
    pub(super) fn scaled(&self, factor: impl Fn(&str) -> f64) -> Self {
        let mut out = self.clone();
        for (price, name) in out.prices.iter_mut().zip(Term::NAMES) {
            *price *= factor(name);
        }
        out
    }

    /// Bytes per unit of a term; nothing when it was never measured.
    pub fn price(&self, term: Term) -> f64 {
        self.prices[term.index()]
    }

    /// What the price of a term leaves open.
    pub(super) fn doubt(&self, term: Term) -> Doubt {
        self.doubts.get(term.index()).copied().unwrap_or_default()
    }

    /// Bytes of an extension of a class that was never measured.
    pub fn usual(&self, class: Class) -> Option<f64> {
        self.usual[class as usize]
    }

    /// What an extension of a type is priced by.
    pub fn extension<'k>(&self, class: Class, kind: &'k str) -> Unit<'k> {
        self.kinds[class as usize].get(kind).map_or(Unit::Unmeasured(class, kind), |t| Unit::Term(*t))
    }

    /// What a unit is called in a table's file.
    pub fn name(&self, unit: Unit<'_>) -> String {
        let measured = |term: Term| {
            Class::ALL.into_iter().find_map(|class| {
                let (kind, _) = self.kinds[class as usize].iter().find(|(_, t)| **t == term)?;
                Some(format!("{}:{kind}", class.prefix()))
            })
        };
        match unit {
            Unit::Term(term) => match Term::NAMES.get(term.index()) {
                Some(name) => (*name).to_owned(),
                None => measured(term).expect("a term is of the table that named it"),
            },
            Unit::Unmeasured(class, kind) => format!("{}:{kind}", class.prefix()),
        }
    }

    /// A family of stats; `None` when this release has no such stats.
    pub fn family(&self, id: FamilyId) -> Option<&Family> {
        self.families[id.index()].as_ref()
    }

    /// The stats of an HTTP filter of a type, if it has any.
    pub fn http_filter_family(&self, kind: &str) -> Option<FamilyId> {
        self.filter_families.get(kind).copied()
    }

    /// The families alone, for the lab, which fits the prices.
    pub fn of_families(stats: &BTreeMap<String, Vec<String>>) -> Self {
        let mut table = Self {
            prices: vec![0.0; Term::NAMES.len()],
            compact_maglev: true,
            families: FamilyId::NAMES
                .iter()
                .map(|name| stats.get(*name).map(|list| family_of(group_of(name), list)))
                .collect(),
            ..Self::default()
        };
        for (name, list) in stats {
            if let Some((Class::Http, kind)) = Class::split(name) {
                table.filter_families.insert(kind.to_owned(), FamilyId(table.families.len() as u16));
                table.families.push(Some(family_of(t!("stat"), list)));
            }
        }
        table
    }
}

/// The term that the stats of a family are priced by.
fn group_of(family: &str) -> Term {
    match family.split('.').next() {
        Some("cluster") => t!("stat.cluster"),
        Some("listener") => t!("stat.listener"),
        Some("http") => t!("stat.http"),
        _ => t!("stat"),
    }
}

/// A family from its file form. Unknown stat kinds are left out.
fn family_of(group: Term, list: &[String]) -> Family {
    let stats = list.iter().filter_map(|line| {
        let (kind, name) = line.split_once(' ')?;
        let kind = match kind {
            "C" => Kind::Counter,
            "G" => Kind::Gauge,
            "H" => Kind::Histogram,
            "T" => Kind::Text,
            _ => return None,
        };
        Some((kind, name.to_owned()))
    });
    Family::new(group, stats.collect())
}
