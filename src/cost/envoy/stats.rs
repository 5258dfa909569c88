//! Which stats an Envoy object creates, and which of them the stats matcher keeps.
//!
//! Envoy names a stat `cluster.NAME.SUFFIX`; the suffixes an object of a kind has are measured (a *family*, a list in
//! the calibration table). A stat matcher decides by full name (`source/common/stats/stats_matcher_impl.cc`).

use super::term::Term;
use crate::model::envoy::StatsConfig;

/// Kinds of stats, which differ in size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// A counter.
    Counter,
    /// A gauge.
    Gauge,
    /// A histogram.
    Histogram,
    /// A text readout.
    Text,
}

/// The suffixes of a family, in the table's order; `{}` stands for the part of the name that varies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Family {
    /// Kind of each stat, and its name around the part that varies.
    stats: Vec<(Kind, Box<[Box<str>]>)>,
    /// The term its stats are priced by.
    pub(super) group: Term,
    /// What a matcher that keeps all leaves of it; `tokens` for a name of one part.
    all: Kept,
}

impl Family {
    /// A family by the kind and name pattern of its stats.
    pub fn new(group: Term, stats: Vec<(Kind, String)>) -> Self {
        let mut all = Kept::default();
        for (kind, _) in &stats {
            all.count(*kind, 1);
        }
        let around = |p: String| p.split("{}").map(Box::from).collect();
        Self { stats: stats.into_iter().map(|(kind, p)| (kind, around(p))).collect(), group, all }
    }
}

/// How many stats of a family exist, by kind, and how many were refused.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Kept {
    /// Counters.
    pub counters: u32,
    /// Gauges.
    pub gauges: u32,
    /// Histograms.
    pub histograms: u32,
    /// Text readouts.
    pub texts: u32,
    /// Dots and parts over all kept names: what their encoded form grows with.
    pub tokens: u32,
    /// Refused by the matcher after the full name was built, and remembered.
    pub refused: u32,
}

impl Kept {
    /// One more stat, under a name of so many parts.
    fn count(&mut self, kind: Kind, parts: u32) {
        match kind {
            Kind::Counter => self.counters += 1,
            Kind::Gauge => self.gauges += 1,
            Kind::Histogram => self.histograms += 1,
            Kind::Text => self.texts += 1,
        }
        self.tokens += parts;
    }
}

enum Pattern {
    Exact(String),
    Prefix(String),
    Suffix(String),
    Contains(String),
    Regex(Option<Box<regex::Regex>>),
}

impl Pattern {
    fn new(kind: &str, text: &str) -> Self {
        match kind {
            "exact" => Self::Exact(text.into()),
            "prefix" => Self::Prefix(text.into()),
            "suffix" => Self::Suffix(text.into()),
            "contains" => Self::Contains(text.into()),
            // Envoy matches the whole name (RE2::FullMatch); a pattern this crate cannot compile matches nothing
            _ => Self::Regex(regex::Regex::new(&format!("^(?:{text})$")).ok().map(Box::new)),
        }
    }

    fn matches(&self, name: &str) -> bool {
        match self {
            Self::Exact(t) => name == t,
            Self::Prefix(t) => name.starts_with(t.as_str()),
            Self::Suffix(t) => name.ends_with(t.as_str()),
            Self::Contains(t) => name.contains(t.as_str()),
            Self::Regex(r) => r.as_ref().is_some_and(|r| r.is_match(name)),
        }
    }
}

/// The stats matcher of a bootstrap.
pub struct Matcher {
    reject_all: bool,
    inclusive: bool,
    patterns: Vec<Pattern>,
}

impl std::fmt::Debug for Matcher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Matcher").field("inclusive", &self.inclusive).field("patterns", &self.patterns.len()).finish()
    }
}

impl Matcher {
    /// The matcher of a bootstrap's stats configuration.
    pub fn new(config: Option<&StatsConfig>) -> Self {
        let Some(c) = config else { return Self { reject_all: false, inclusive: false, patterns: Vec::new() } };
        let (inclusive, list) = match (&c.inclusion, &c.exclusion) {
            (Some(list), _) => (true, list.as_slice()),
            (None, Some(list)) => (false, list.as_slice()),
            (None, None) => (false, &[][..]),
        };
        let patterns = list.iter().map(|(kind, text)| Pattern::new(kind, text)).collect();
        Self { reject_all: c.reject_all, inclusive, patterns }
    }

    /// Everything is kept.
    pub fn keeps_all(&self) -> bool {
        !self.reject_all && !self.inclusive && self.patterns.is_empty()
    }

    /// True when the name's prefix alone decides that nothing below it is kept, without remembering the names: the
    /// matcher rejects everything, or excludes a prefix that ends in a dot (Envoy tests those on the encoded name).
    fn refuses_cheaply(&self, prefix: &str) -> bool {
        self.reject_all
            || !self.inclusive
                && self
                    .patterns
                    .iter()
                    .any(|p| matches!(p, Pattern::Prefix(t) if t.ends_with('.') && prefix.starts_with(t.as_str())))
    }

    /// What is kept of a family whose varying part is `name`.
    pub fn keep(&self, family: &Family, name: &str) -> Kept {
        let parts = 1 + name.bytes().filter(|b| *b == b'.').count() as u32;
        if self.keeps_all() {
            return Kept { tokens: family.all.tokens * parts, ..family.all };
        }
        let mut kept = Kept::default();
        let mut text = String::with_capacity(name.len() + 64);
        let cheap = family.stats.first().is_some_and(|(_, around)| self.refuses_cheaply(full(&mut text, around, name)));
        if cheap {
            return kept;
        }
        for (kind, around) in &family.stats {
            let full = full(&mut text, around, name);
            let matched = self.patterns.iter().any(|p| p.matches(full));
            if matched == self.inclusive {
                kept.count(*kind, parts);
            } else {
                kept.refused += 1;
            }
        }
        kept
    }
}

/// The full name of a stat, in `text`.
fn full<'a>(text: &'a mut String, around: &[Box<str>], name: &str) -> &'a str {
    text.clear();
    for (i, part) in around.iter().enumerate() {
        if i > 0 {
            text.push_str(name);
        }
        text.push_str(part);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn family() -> Family {
        let stats = vec![(Kind::Counter, "cluster.{}.total".into()), (Kind::Histogram, "cluster.{}.time_ms".into())];
        Family::new(Term::of("stat.cluster"), stats)
    }

    fn config(inclusive: bool, patterns: &[(&str, &str)]) -> StatsConfig {
        let list = Some(patterns.iter().map(|(k, t)| ((*k).into(), (*t).into())).collect());
        let mut c = StatsConfig::default();
        if inclusive {
            c.inclusion = list;
        } else {
            c.exclusion = list;
        }
        c
    }

    #[test]
    fn everything_is_kept_without_a_matcher() {
        let kept = Matcher::new(None).keep(&family(), "a.b");
        assert_eq!((kept.counters, kept.histograms, kept.tokens, kept.refused), (1, 1, 4, 0));
    }

    #[test]
    fn lists_decide_by_full_name() {
        let m = Matcher::new(Some(&config(true, &[("regex", "cluster\\..*\\.total")])));
        assert_eq!(m.keep(&family(), "a"), Kept { counters: 1, tokens: 1, refused: 1, ..Kept::default() });
        let m = Matcher::new(Some(&config(false, &[("suffix", "_ms")])));
        assert_eq!(m.keep(&family(), "a"), Kept { counters: 1, tokens: 1, refused: 1, ..Kept::default() });
    }

    #[test]
    fn a_prefix_with_a_dot_is_refused_without_remembering() {
        let m = Matcher::new(Some(&config(false, &[("prefix", "cluster.")])));
        assert_eq!(m.keep(&family(), "a"), Kept::default());
        let m = Matcher::new(Some(&config(false, &[("prefix", "cluster")])));
        assert_eq!(m.keep(&family(), "a"), Kept { refused: 2, ..Kept::default() });
        let m = Matcher::new(Some(&StatsConfig { reject_all: true, ..StatsConfig::default() }));
        assert_eq!(m.keep(&family(), "a"), Kept::default());
    }
}
