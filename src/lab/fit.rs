//! From kept evidence to a calibration table.
//!
//! Every run gives one equation: the terms that [`crate::cost::envoy::walk`] names in its dump, times their prices, is
//! its `allocated`. The prices are the non-negative solution with the least squared error, where an error counts
//! relative to the configuration's size plus the noise of a reading. Stat families are counted, not fitted: they are
//! the differences between the lists of stats of two runs.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};

use super::LabError;
use crate::cost::envoy::{Class, Residual, Table, TableFile, walk};
use crate::evidence::config_dump;
use crate::model::envoy::Proxy;
use crate::model::source::InputId;

/// One run read back from its folder.
#[derive(Debug)]
pub struct Run {
    /// Workload.
    pub name: String,
    /// `--concurrency`.
    pub workers: u32,
    /// `/memory` `allocated`.
    pub allocated: f64,
    /// Anonymous resident bytes of the process.
    pub anonymous: f64,
    /// What its dump says.
    pub proxy: Proxy,
    /// `C name` and so on.
    pub stats: BTreeSet<String>,
}

/// Noise of one reading of `allocated`, in bytes: the spread of repeated runs of one workload.
const NOISE_BYTES: f64 = 20_000.0;

/// Reads the runs kept in `folder`, in order of name.
///
/// # Errors
/// When a file is missing or not what the lab writes.
pub fn read_runs(folder: &Path) -> Result<Vec<Run>, LabError> {
    let io = |path: &Path| {
        let what = format!("reading {}", path.display());
        move |source| LabError::Io { what, source }
    };
    let mut folders: Vec<PathBuf> = std::fs::read_dir(folder)
        .map_err(io(folder))?
        .filter_map(|e| e.ok().map(|e| e.path()))
        .filter(|p| p.join("memory.json").exists())
        .collect();
    folders.sort();
    let mut runs = Vec::new();
    for folder in folders {
        let read = |name: &str| {
            let path = folder.join(name);
            std::fs::read(&path).map_err(io(&path))
        };
        let run: serde_json::Value = serde_json::from_slice(&read("run.json")?)
            .map_err(|e| LabError::Resource(format!("{}: {e}", folder.display())))?;
        let dump = read("config_dump.json")?;
        let (mut dumps, problems) =
            config_dump::read_slice("config_dump.json", InputId(0), &dump, config_dump::Limits::default());
        if dumps.dumps.len() != 1 || !problems.is_empty() {
            return Err(LabError::Resource(format!("{}: the dump cannot be read", folder.display())));
        }
        runs.push(Run {
            name: run["name"].as_str().unwrap_or_default().to_owned(),
            workers: u32::try_from(run["workers"].as_u64().unwrap_or(1)).unwrap_or(1),
            allocated: run["allocated"].as_f64().unwrap_or_default(),
            anonymous: run["anonymous"].as_f64().unwrap_or_default(),
            proxy: dumps.dumps.remove(0).1,
            stats: String::from_utf8_lossy(&read("stats.txt")?).lines().map(str::to_owned).collect(),
        });
    }
    Ok(runs)
}

/// Counts the stat families by comparing runs.
pub fn families(runs: &[Run]) -> BTreeMap<String, Vec<String>> {
    let stats = |name: &str| runs.iter().find(|r| r.name == name).map(|r| &r.stats);
    let mut out: BTreeMap<String, Vec<String>> = BTreeMap::new();
    // name pattern of what is new in `run` against `base`, for one object called `key`
    let mut family = |id: &str, run: &str, base: Option<&str>, key: &str, only: &str, without: &[&str]| {
        let Some(with) = stats(run) else { return };
        let empty = BTreeSet::new();
        let before = base.and_then(stats).unwrap_or(&empty);
        let mut list: Vec<String> = with
            .difference(before)
            .filter(|s| s.contains(only) && !without.iter().any(|w| s.contains(w)))
            .filter(|s| s.contains(&format!(".{key}.")) || s.contains(&format!(" {key}.")))
            .map(|s| s.replacen(key, "{}", 1))
            .collect();
        list.sort();
        if !list.is_empty() {
            out.insert(id.to_owned(), list);
        }
    };
    let service = "outbound|8080||service-0007.namespace-07.svc.cluster.local";
    family("cluster", "cluster/static hosts=0", None, service, "cluster.", &[]);
    let eds = Some("cluster/eds n=100");
    family("cluster.eds", "cluster/eds n=100", Some("cluster/static hosts=0"), service, "cluster.", &[]);
    family("cluster.track", "cluster/breakers=track", eds, service, "cluster.", &[]);
    family("cluster.outlier", "cluster/outlier", eds, service, "cluster.", &[]);
    family("cluster.health", "cluster/health=http", eds, service, "cluster.", &[]);
    family("cluster.ring", "cluster/lb=ring_hash hosts=10 workers=1", eds, service, "cluster.", &[]);
    family("cluster.maglev", "cluster/lb=maglev hosts=10 workers=1", eds, service, "cluster.", &[]);
    family("cluster.subset", "cluster/lb=subset workers=1", eds, service, "cluster.", &[]);
    family("cluster.tls", "cluster/tls=plain", eds, service, "cluster.", &[]);
    family("cluster.eager", "stats/deferred=stats", None, service, "cluster.", &["update_", "assignment_"]);
    family("vhost", "route/route=stat_prefix", None, "vhost-0007.route.route_70", " vhost.", &[]);
    family("tcp", "listener/tcp own prefix", None, service, "tcp.", &[]);
    family("listener", "listener/tcp unbound workers=1", None, "240.0.0.8_80", "listener.", &[".worker_"]);
    family("listener.worker", "listener/tcp unbound workers=1", None, "240.0.0.8_80.worker_0", "listener.", &[]);
    family("http", "listener/http rds workers=1", None, "prefix_7", " http.", &[".rds."]);
    family("http.listener", "listener/http rds workers=1", None, "127.0.0.1_0.http.prefix_7", "listener.", &[]);
    family("http.rds", "chain/http own rds", None, "shared.rds.table-0007", "http.", &[]);
    family("sds", "chain/tls=sds", None, "default", " sds.", &[]);
    family("ecds", "http_filter/ecds workers=1", None, "extension-7", "extension_config_discovery.", &[]);
    family("listener.tls", "chain/tls=ecdsa", Some("chain/tcp"), "127.0.0.1_0", "listener.", &[".certificate."]);
    for (label, filter) in super::design::http_filters() {
        let kind = filter["typed_config"]["@type"].as_str().unwrap_or_default();
        let kind = kind.strip_prefix(super::TYPE_PREFIX).unwrap_or(kind);
        let run = format!("http_filter/{label} own prefix");
        family(&format!("hf:{kind}"), &run, Some("listener/http rds workers=1"), "prefix_7", "", &[" listener."]);
    }
    // what exists before any configuration, the feeder's own cluster left out
    if let Some(idle) = stats("idle/workers=1") {
        out.insert("server".into(), idle.iter().filter(|s| !s.contains(" cluster.ads.")).cloned().collect());
    }
    // counted by hand: one counter per transport socket match, one gauge per certificate or bundle
    out.insert("cluster.match".into(), vec!["C cluster.{}.tlsMode.total_match_count".into()]);
    out.insert("cluster.cert".into(), vec!["G cluster.{}.ssl.certificate.expiration_unix_time_seconds".into()]);
    out.insert("listener.cert".into(), vec!["G listener.{}.ssl.certificate.expiration_unix_time_seconds".into()]);
    out
}

fn table_of(families: &BTreeMap<String, Vec<String>>) -> Table {
    Table::of_families(families)
}

/// The terms of every run, summed over the whole proxy.
pub fn rows(runs: &[Run], table: &Table) -> Vec<BTreeMap<String, f64>> {
    runs.iter()
        .map(|run| {
            let mut row: BTreeMap<String, f64> = BTreeMap::new();
            walk(&run.proxy, run.workers, table, &mut |_, unit, amount| {
                *row.entry(table.name(unit)).or_default() += amount;
            });
            row
        })
        .collect()
}

/// Error of a prediction relative to measured minus `base`.
pub fn relative_error(predicted: f64, measured: f64, base: f64) -> f64 {
    (predicted - measured) / (measured - base)
}

/// Median, 90th percentile and largest of absolute values.
pub fn summary(errors: &[f64]) -> Residual {
    let mut e: Vec<f64> = errors.iter().map(|x| x.abs()).collect();
    e.sort_by(f64::total_cmp);
    let at = |q: f64| e.get(((e.len() as f64 * q).ceil() as usize).saturating_sub(1)).copied().unwrap_or(0.0);
    Residual { median: at(0.5), p90: at(0.9), worst: at(1.0) }
}

/// `name, measured, predicted` of every run under a table, in bytes.
pub fn predictions(file: &TableFile, runs: &[Run]) -> Vec<(String, f64, f64)> {
    let rows = rows(runs, &Table::new(file));
    let price = |row: &BTreeMap<String, f64>| row.iter().map(|(t, v)| file.prices.get(t).unwrap_or(&0.0) * v).sum();
    runs.iter().zip(&rows).map(|(run, row)| (run.name.clone(), run.allocated, price(row))).collect()
}

/// Fits a table to the runs of one version.
pub fn fit(envoy: &str, build: &str, date: &str, runs: &[Run]) -> TableFile {
    let families = families(runs);
    let rows = rows(runs, &table_of(&families));
    let mut terms: Vec<&str> = rows.iter().flat_map(|r| r.keys().map(String::as_str)).collect();
    terms.sort_unstable();
    terms.dedup();
    let index: HashMap<&str, usize> = terms.iter().enumerate().map(|(i, t)| (*t, i)).collect();
    let idle: f64 = runs.iter().filter(|r| r.name.starts_with("idle/")).map(|r| r.allocated).fold(f64::MAX, f64::min);
    // normal equations, weighted; each column scaled to its largest value so that the ridge treats terms alike
    let n = terms.len();
    let mut scale = vec![0.0f64; n];
    for row in &rows {
        for (t, x) in row {
            scale[index[t.as_str()]] = scale[index[t.as_str()]].max(*x);
        }
    }
    let mut a = vec![0.0f64; n * n];
    let mut b = vec![0.0f64; n];
    for (run, row) in runs.iter().zip(&rows) {
        let w = 1.0 / (NOISE_BYTES + 0.005 * (run.allocated - idle).max(0.0));
        let w = w * w;
        let x: Vec<(usize, f64)> = row.iter().map(|(t, v)| (index[t.as_str()], v / scale[index[t.as_str()]])).collect();
        for &(i, xi) in &x {
            b[i] += w * xi * run.allocated;
            for &(j, xj) in &x {
                a[i * n + j] += w * xi * xj;
            }
        }
    }
    // the ridge: one run's worth of evidence that a term costs nothing, at a hundred times the noise
    let ridge = (1.0 / (100.0 * NOISE_BYTES)).powi(2);
    for i in 0..n {
        a[i * n + i] += ridge;
    }
    let x = non_negative_least_squares(&a, &b, n);
    let prices: BTreeMap<String, f64> =
        terms.iter().enumerate().map(|(i, t)| ((*t).to_owned(), x[i] / scale[i])).collect();
    let errors: Vec<f64> = runs
        .iter()
        .zip(&rows)
        .filter(|(r, _)| r.allocated > idle + 1_000_000.0)
        .map(|(run, row)| {
            let predicted: f64 = row.iter().map(|(t, v)| prices[t] * v).sum();
            relative_error(predicted, run.allocated, idle)
        })
        .collect();
    let mut prices = prices;
    add_usual(&mut prices);
    prices.extend(fit_resident(runs));
    TableFile {
        envoy: envoy.to_owned(),
        build: build.to_owned(),
        date: date.to_owned(),
        idle: runs.iter().find(|r| r.name == "idle/workers=1").map_or(0, |r| r.allocated as u64),
        runs: runs.len() as u32,
        residual: summary(&errors),
        prices: prices.into_iter().map(|(t, p)| (t, (p * 1000.0).round() / 1000.0)).collect(),
        stats: families,
    }
}

/// Anonymous resident memory at start-up state, as a base, a part per worker, a multiple of `allocated`, and what lives
/// outside the allocator.
fn fit_resident(runs: &[Run]) -> BTreeMap<String, f64> {
    let names = [
        "resident.base",
        "resident.worker",
        "resident.allocated",
        "resident.regex",
        "resident.code_bytes",
        "resident.check",
    ];
    let outside = ["outside.lua", "outside.lua_bytes", "outside.wasm"];
    let n = names.len() + outside.len();
    let rows: Vec<Vec<f64>> = runs
        .iter()
        .map(|r| {
            let regexes = crate::cost::envoy::compiled_regexes(&r.proxy);
            let code = crate::cost::envoy::inlined_code(&r.proxy);
            let checks = crate::cost::envoy::checked_hosts(&r.proxy);
            let mut row = vec![1.0, f64::from(r.workers), r.allocated, regexes, code, checks];
            row.extend(crate::cost::envoy::outside(&r.proxy, r.workers).iter().map(|(_, v)| *v));
            row
        })
        .collect();
    let scale: Vec<f64> = (0..n).map(|i| rows.iter().map(|r| r[i]).fold(1.0, f64::max)).collect();
    let (mut a, mut b) = (vec![0.0; n * n], vec![0.0; n]);
    for (run, row) in runs.iter().zip(&rows) {
        // errors count relative to the measured size
        let w = (1.0 / run.anonymous).powi(2);
        for i in 0..n {
            b[i] += w * row[i] / scale[i] * run.anonymous;
            for j in 0..n {
                a[i * n + j] += w * row[i] / scale[i] * row[j] / scale[j];
            }
        }
    }
    for i in 0..n {
        a[i * n + i] *= 1.0 + 1e-9;
    }
    let x = non_negative_least_squares(&a, &b, n);
    names.iter().chain(&outside).enumerate().map(|(i, t)| ((*t).to_owned(), x[i] / scale[i])).collect()
}

/// The middle price of each class of extensions, for those that were never measured.
fn add_usual(prices: &mut BTreeMap<String, f64>) {
    for class in Class::ALL {
        let prefix = format!("{}:", class.prefix());
        let mut list: Vec<f64> = prices.iter().filter(|(t, _)| t.starts_with(&prefix)).map(|(_, p)| *p).collect();
        list.sort_by(f64::total_cmp);
        if let Some(middle) = list.get(list.len() / 2) {
            prices.insert(format!("{prefix}other"), *middle);
        }
    }
}

/// Minimises |Ax−b|² over x ≥ 0 by the active-set method of Lawson and Hanson, on the normal equations `a` (n×n, with
/// a ridge, hence positive definite) and `b`.
fn non_negative_least_squares(a: &[f64], b: &[f64], n: usize) -> Vec<f64> {
    let mut x = vec![0.0f64; n];
    let mut free = vec![false; n];
    let tolerance = 1e-9 * b.iter().fold(0.0f64, |m, v| m.max(v.abs()));
    for _ in 0..10 * n {
        let gradient = |i: usize, x: &[f64]| b[i] - (0..n).map(|j| a[i * n + j] * x[j]).sum::<f64>();
        let best = (0..n).filter(|&i| !free[i]).map(|i| (i, gradient(i, &x))).max_by(|p, q| p.1.total_cmp(&q.1));
        match best {
            Some((i, g)) if g > tolerance => free[i] = true,
            _ => break,
        }
        loop {
            let set: Vec<usize> = (0..n).filter(|&i| free[i]).collect();
            let s = solve(a, b, n, &set);
            if s.iter().all(|v| *v > 0.0) {
                x.fill(0.0);
                for (k, &i) in set.iter().enumerate() {
                    x[i] = s[k];
                }
                break;
            }
            // go as far towards the unconstrained solution as stays non-negative, and fix what reached zero
            let step = set
                .iter()
                .enumerate()
                .filter(|(k, _)| s[*k] <= 0.0)
                .map(|(k, &i)| x[i] / (x[i] - s[k]))
                .fold(1.0f64, f64::min);
            for (k, &i) in set.iter().enumerate() {
                x[i] += step * (s[k] - x[i]);
                if s[k] <= 0.0 && x[i] <= 1e-9 * (1.0 + s[k].abs()) {
                    x[i] = 0.0;
                    free[i] = false;
                }
            }
        }
    }
    x
}

/// Solves the rows and columns `set` of `a`·x = `b` by Cholesky's factorisation.
fn solve(a: &[f64], b: &[f64], n: usize, set: &[usize]) -> Vec<f64> {
    let m = set.len();
    let mut l = vec![0.0f64; m * m];
    for i in 0..m {
        for j in 0..=i {
            let mut sum = a[set[i] * n + set[j]];
            for k in 0..j {
                sum -= l[i * m + k] * l[j * m + k];
            }
            l[i * m + j] = if i == j { sum.max(f64::MIN_POSITIVE).sqrt() } else { sum / l[j * m + j] };
        }
    }
    let mut x: Vec<f64> = set.iter().map(|&i| b[i]).collect();
    for i in 0..m {
        for k in 0..i {
            x[i] -= l[i * m + k] * x[k];
        }
        x[i] /= l[i * m + i];
    }
    for i in (0..m).rev() {
        for k in i + 1..m {
            x[i] -= l[k * m + i] * x[k];
        }
        x[i] /= l[i * m + i];
    }
    x
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn least_squares_never_goes_below_zero() {
        // columns (1,0) and (1,1); b = (2,-1): the second would be negative
        let (a, b) = (vec![2.0, 1.0, 1.0, 1.0], vec![1.0, -1.0]);
        let x = non_negative_least_squares(&a, &b, 2);
        assert!((x[0] - 0.5).abs() < 1e-9 && x[1] == 0.0, "{x:?}");
    }

    #[test]
    fn quantiles_are_of_absolute_values() {
        let r = summary(&[-0.5, 0.1, 0.2, 0.3]);
        assert_eq!((r.median, r.worst), (0.2, 0.5));
    }
}
