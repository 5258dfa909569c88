//! Which statistics Envoy keeps, told from the bootstrap's stats matcher.

use crate::model::envoy::{Name, StatsConfig};

/// What is kept of the statistics.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Kept {
    reject_all: bool,
    deferred: bool,
    /// Clusters are created on workers when first used.
    pub deferred_clusters: bool,
    inclusion: Option<Vec<(Name, Name)>>,
    exclusion: Option<Vec<(Name, Name)>>,
}

/// Suffixes of a cluster's statistics used to sample a matcher: what Envoy creates for every cluster.
const CLUSTER_SAMPLES: [&str; 8] = [
    "upstream_cx_total",
    "upstream_rq_total",
    "upstream_rq_retry",
    "lb_healthy_panic",
    "membership_healthy",
    "update_success",
    "circuit_breakers.default.rq_open",
    "upstream_cx_connect_ms",
];

impl Kept {
    /// What `config` keeps; everything without one.
    pub fn of(config: Option<&StatsConfig>) -> Self {
        let Some(c) = config else { return Self::default() };
        Self {
            reject_all: c.reject_all,
            deferred: c.deferred_stats,
            deferred_clusters: c.deferred_clusters,
            inclusion: c.inclusion.clone(),
            exclusion: c.exclusion.clone(),
        }
    }

    /// Share of a cluster's statistics that is kept, 0 to 1, by trying the matcher on usual names below `scope`
    /// (`cluster.NAME.`). Deferred creation keeps 41 of 107 until the first request.
    pub fn share(&self, scope: &str) -> f64 {
        let base = if self.deferred { 41.0 / 107.0 } else { 1.0 };
        if self.reject_all {
            return 0.0;
        }
        if self.inclusion.is_none() && self.exclusion.is_none() {
            return base;
        }
        let kept = CLUSTER_SAMPLES.iter().filter(|s| self.keeps(&format!("{scope}{s}"))).count();
        base * kept as f64 / CLUSTER_SAMPLES.len() as f64
    }

    fn keeps(&self, name: &str) -> bool {
        if self.reject_all {
            return false;
        }
        match (&self.inclusion, &self.exclusion) {
            (Some(list), _) => list.iter().any(|p| matches(p, name)),
            (None, Some(list)) => !list.iter().any(|p| matches(p, name)),
            (None, None) => true,
        }
    }
}

fn matches((kind, pattern): &(Name, Name), name: &str) -> bool {
    match &**kind {
        "exact" => name == &**pattern,
        "prefix" => name.starts_with(&**pattern),
        "suffix" => name.ends_with(&**pattern),
        "contains" => name.contains(&**pattern),
        // the patterns people write are literals between `.*`; anything cleverer is taken as not matching
        _ => {
            let text = pattern.replace("\\.", "\u{1}");
            let core = text.trim_start_matches(".*").trim_end_matches(".*");
            let core = core.replace('\u{1}', ".");
            let anchored_start = !text.starts_with(".*");
            let anchored_end = !text.ends_with(".*");
            match (anchored_start, anchored_end) {
                (false, false) => name.contains(&core),
                (true, false) => name.starts_with(&core),
                (false, true) => name.ends_with(&core),
                (true, true) => name == core,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matchers() {
        let config = StatsConfig {
            inclusion: Some(vec![
                ("prefix".into(), "cluster_manager".into()),
                ("prefix".into(), "cluster.xds-grpc".into()),
                ("regex".into(), ".*upstream_rq_retry.*".into()),
            ]),
            ..StatsConfig::default()
        };
        let kept = Kept::of(Some(&config));
        assert_eq!(kept.share("cluster.xds-grpc."), 1.0);
        assert_eq!(kept.share("cluster.other."), 1.0 / 8.0);
        assert_eq!(Kept::of(None).share("cluster.a."), 1.0);
    }
}
