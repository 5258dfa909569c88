//! Many proxies: the distribution, outliers, and replicas of one workload that differ.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::analysis::{ProxyEvidence, ProxyReport};
use super::{Evidence, Finding, Severity};
use crate::model::envoy::{Meta, Proxy, State};
use crate::model::size::size;

/// Figures over all proxies of a run.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(default)]
pub struct Fleet {
    /// Proxies; what a control plane would send is not counted here.
    pub proxies: u64,
    /// Predicted `allocated` over them, in bytes.
    pub allocated: Distribution,
    /// Observed `allocated` over those that have `/memory`.
    pub observed_allocated: Option<Distribution>,
    /// Envoy versions with the number of proxies.
    pub envoy_versions: BTreeMap<String, u64>,
    /// Workloads with more than one proxy.
    pub workloads: Vec<Workload>,
    /// Proxies seen several times, in order of their dumps' times.
    pub series: Vec<Series>,
}

/// Order statistics, in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(default)]
pub struct Distribution {
    /// Sum.
    pub total: u64,
    /// Smallest.
    pub min: u64,
    /// Median (lower of the middle two).
    pub p50: u64,
    /// 90th percentile (nearest rank).
    pub p90: u64,
    /// Largest.
    pub max: u64,
}

/// Replicas of one workload.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(default)]
pub struct Workload {
    /// `name.namespace`.
    pub name: String,
    /// Replicas.
    pub proxies: Vec<String>,
    /// Their resources differ.
    pub differ: bool,
    /// What differs, a few lines.
    pub differences: Vec<String>,
}

/// Several dumps of one proxy.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(default)]
pub struct Series {
    /// `node.id`.
    pub node_id: String,
    /// Newest time in each dump and its predicted `allocated`, oldest first.
    pub points: Vec<(Option<String>, u64)>,
}

/// Differences named per workload.
const MAX_DIFFERENCES: usize = 6;

fn distribution(mut values: Vec<u64>) -> Option<Distribution> {
    values.sort_unstable();
    let n = values.len();
    let rank = |percent: usize| values[(n * percent).div_ceil(100).clamp(1, n) - 1];
    (n > 0).then(|| Distribution {
        total: values.iter().sum(),
        min: values[0],
        p50: rank(50),
        p90: rank(90),
        max: values[n - 1],
    })
}

pub(super) fn fleet(evidence: &[ProxyEvidence], reports: &[ProxyReport]) -> Fleet {
    let mut envoy_versions: BTreeMap<String, u64> = BTreeMap::new();
    let mut workloads: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    let mut nodes: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (i, r) in reports.iter().enumerate() {
        if !r.envoy_version.is_empty() {
            *envoy_versions.entry(r.envoy_version.clone()).or_default() += 1;
        }
        if !r.workload.is_empty() {
            workloads.entry(&r.workload).or_default().push(i);
        }
        if !r.node_id.is_empty() {
            nodes.entry(&r.node_id).or_default().push(i);
        }
    }
    let series: Vec<Series> = nodes
        .into_iter()
        .filter(|(_, list)| list.len() > 1)
        .map(|(node_id, list)| {
            let mut points: Vec<_> =
                list.iter().map(|i| (reports[*i].newest_time.clone(), reports[*i].memory.allocated.bytes)).collect();
            points.sort();
            Series { node_id: node_id.to_owned(), points }
        })
        .collect();
    // what a control plane would send is in no process's memory
    let real = || reports.iter().filter(|r| !r.expected_only);
    Fleet {
        proxies: real().count() as u64,
        allocated: distribution(real().map(|r| r.memory.allocated.bytes).collect()).unwrap_or(Distribution {
            total: 0,
            min: 0,
            p50: 0,
            p90: 0,
            max: 0,
        }),
        observed_allocated: distribution(real().filter_map(|r| r.memory.observed.map(|o| o.allocated)).collect()),
        envoy_versions,
        workloads: workloads
            .into_iter()
            .filter(|(_, list)| list.len() > 1)
            .map(|(name, list)| workload(name, &list, evidence, reports))
            .collect(),
        series,
    }
}

/// What replicas must have in common: dynamic resources by kind, name and content. Inbound resources and listeners
/// hold the pod's own address, so they are compared by name and content with others of their name only.
fn resources(p: &Proxy) -> BTreeMap<(&'static str, &str), u64> {
    fn add<'a>(out: &mut BTreeMap<(&'static str, &'a str), u64>, kind: &'static str, m: &'a Meta) {
        if m.state == State::Active {
            *out.entry((kind, &m.name)).or_default() ^= m.text_hash;
        }
    }
    let mut out = BTreeMap::new();
    p.clusters.iter().for_each(|x| add(&mut out, "cluster", &x.meta));
    p.listeners.iter().for_each(|x| add(&mut out, "listener", &x.meta));
    p.route_tables.iter().for_each(|x| add(&mut out, "route_config", &x.meta));
    p.extension_configs.iter().for_each(|x| add(&mut out, "extension_config", &x.meta));
    out
}

fn workload(name: &str, list: &[usize], evidence: &[ProxyEvidence], reports: &[ProxyReport]) -> Workload {
    let all: Vec<_> = list.iter().map(|i| resources(&evidence[*i].proxy)).collect();
    let keys: BTreeSet<_> = all.iter().flat_map(|m| m.keys().copied()).collect();
    let mut differences = Vec::new();
    let mut differ = 0_usize;
    for key in keys {
        let having = all.iter().filter(|m| m.contains_key(&key)).count();
        let contents: BTreeSet<u64> = all.iter().filter_map(|m| m.get(&key).copied()).collect();
        let (kind, resource) = key;
        let line = if having < all.len() {
            let without = list.iter().zip(&all).find(|(_, m)| !m.contains_key(&key)).map(|(i, _)| &*reports[*i].label);
            format!("{kind} {resource}: on {having} of {} replicas, not on {}", all.len(), without.unwrap_or("-"))
        } else if contents.len() > 1 {
            format!("{kind} {resource}: {} different contents", contents.len())
        } else {
            continue;
        };
        differ += 1;
        if differences.len() < MAX_DIFFERENCES {
            differences.push(line);
        }
    }
    if differ > differences.len() {
        let more = differ - differences.len();
        differences.push(format!("[{more} {}]", if more == 1 { "other" } else { "others" }));
    }
    Workload {
        name: name.to_owned(),
        proxies: list.iter().map(|i| reports[*i].label.clone()).collect(),
        differ: differ > 0,
        differences,
    }
}

pub(super) fn findings(fleet: &Fleet, reports: &[ProxyReport]) -> Vec<Finding> {
    let mut out = Vec::new();
    let plain = |text: String| Evidence { text, path: String::new(), offset: None, line: None };
    if fleet.envoy_versions.len() > 1 {
        let list = fleet
            .envoy_versions
            .iter()
            .map(|(v, n)| plain(format!("{v}: {n} {}", if *n == 1 { "proxy" } else { "proxies" })))
            .collect();
        out.push(Finding {
            code: "MD106",
            severity: Severity::Note,
            proxy: String::new(),
            title: format!("{} Envoy versions in one run", fleet.envoy_versions.len()),
            evidence: list,
            evidence_omitted: 0,
            saved_bytes: 0,
            fix: "compare proxies of one version with each other".to_owned(),
        });
    }
    for w in fleet.workloads.iter().filter(|w| w.differ) {
        // one node seen twice is a time series, not two replicas
        let nodes: BTreeSet<&str> =
            reports.iter().filter(|r| w.proxies.contains(&r.label)).map(|r| r.node_id.as_str()).collect();
        if nodes.len() < 2 {
            continue;
        }
        out.push(Finding {
            code: "MD701",
            severity: Severity::Warn,
            proxy: String::new(),
            title: format!("{} replicas of {} differ", w.proxies.len(), w.name),
            evidence: w.differences.iter().cloned().map(plain).collect(),
            evidence_omitted: 0,
            saved_bytes: 0,
            fix: "see which replica missed a push: compare last_updated and the control plane's view of it".to_owned(),
        });
    }
    let p50 = fleet.allocated.p50;
    for r in reports {
        let bytes = r.memory.allocated.bytes;
        if fleet.proxies >= 4 && bytes > p50 * 2 && bytes - p50 > 4 << 20 {
            out.push(Finding {
                code: "MD702",
                severity: Severity::Warn,
                proxy: r.label.clone(),
                title: format!(
                    "needs {}.{} times the median of the run: {} against {}",
                    bytes / p50,
                    bytes * 10 / p50 % 10,
                    size(bytes),
                    size(p50)
                ),
                evidence: Vec::new(),
                evidence_omitted: 0,
                saved_bytes: 0,
                fix: "look at its kinds and owners first".to_owned(),
            });
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_statistics() {
        let d = distribution((1..=10).collect()).unwrap();
        assert_eq!((d.min, d.p50, d.p90, d.max, d.total), (1, 5, 9, 10, 55));
        assert_eq!(distribution(vec![]), None);
        assert_eq!(distribution(vec![7]).unwrap().p90, 7);
    }
}
