//! The rules for one proxy, in the order of their codes.

use super::analysis::{Context, source};
use super::code;
use super::draining;
use super::similarity::{equal_chains, repeated_payloads};
use super::{Evidence, Finding, Severity};
use crate::model::envoy::{Discovery, Meta, Name, PayloadKind, State};
use crate::model::problem::{Loss, Problem};
use crate::model::size::size;
use crate::model::source::Span;

/// Uptime from which on "no traffic" means something, in seconds.
const MIN_UPTIME_S: u64 = 600;

/// Clusters that Istio makes in every proxy and routes to by its own filters.
const BUILT_IN: [&str; 5] = [
    "BlackHoleCluster",
    "PassthroughCluster",
    "InboundPassthroughCluster",
    "InboundPassthroughClusterIpv4",
    "InboundPassthroughClusterIpv6",
];

/// Places listed per finding.
const MAX_EVIDENCE: usize = 5;

/// Findings about the run as a whole.
pub(super) fn of_the_run(problems: &[Problem]) -> Vec<Finding> {
    let mut out = Vec::new();
    for (code, losses, title) in [
        ("MD103", &[Loss::Part, Loss::Whole][..], "the report is partial: an input is missing, damaged or cut off"),
        ("MD105", &[Loss::Resource], "resources that cannot be read were left out"),
    ] {
        let list: Vec<&Problem> = problems.iter().filter(|p| losses.contains(&p.loss)).collect();
        if list.is_empty() {
            continue;
        }
        let mut fixes: Vec<&str> = Vec::new();
        for p in &list {
            if !p.hint.is_empty() && !fixes.contains(&&*p.hint) {
                fixes.push(&p.hint);
            }
        }
        fixes.truncate(3);
        let fix = if fixes.is_empty() { "fetch the input again".to_owned() } else { fixes.join("; ") };
        out.push(Finding {
            code,
            severity: Severity::Warn,
            proxy: String::new(),
            title: format!("{title} ({})", count(list.len(), "place")),
            evidence: list
                .iter()
                .take(MAX_EVIDENCE)
                .map(|p| Evidence { text: p.what.clone(), path: p.label.clone(), offset: p.offset_bytes, line: p.line })
                .collect(),
            evidence_omitted: list.len().saturating_sub(MAX_EVIDENCE) as u64,
            saved_bytes: 0,
            fix,
        });
    }
    out
}

struct Rules<'a> {
    c: &'a Context<'a>,
    out: Vec<Finding>,
}

/// Findings about one proxy.
pub(super) fn of_proxy(c: &Context<'_>) -> Vec<Finding> {
    let mut r = Rules { c, out: Vec::new() };
    r.evidence_quality();
    r.draining();
    r.versions();
    r.rejected_and_warming();
    r.unused();
    r.repeated();
    r.sizing();
    r.out
}

fn count(n: usize, what: &str) -> String {
    format!("{n} {what}{}", if n == 1 { "" } else { "s" })
}

/// `once`, `17 times`.
fn times(n: u64) -> String {
    if n == 1 { "once".to_owned() } else { format!("{n} times") }
}

/// `12m`, `45s`.
fn duration(s: u64) -> String {
    match s {
        0..=119 => format!("{s}s"),
        120..=7199 => format!("{}m", s / 60),
        7200..=172_799 => format!("{}h", s / 3600),
        _ => format!("{}d", s / 86_400),
    }
}

impl<'a> Rules<'a> {
    fn evidence(&self, text: impl Into<String>, span: Span) -> Evidence {
        let s = source(span, self.c.inputs);
        Evidence { text: text.into(), path: s.path, offset: Some(s.offset), line: Some(s.line) }
    }

    fn plain(text: impl Into<String>) -> Evidence {
        Evidence { text: text.into(), path: String::new(), offset: None, line: None }
    }

    /// Adds a finding; of `places` the first few are shown.
    fn add(
        &mut self,
        code: &'static str,
        severity: Severity,
        title: String,
        places: Vec<Evidence>,
        saved_bytes: u64,
        fix: &str,
    ) {
        let omitted = places.len().saturating_sub(MAX_EVIDENCE) as u64;
        self.out.push(Finding {
            code,
            severity,
            proxy: self.c.report.label.clone(),
            title,
            evidence: places.into_iter().take(MAX_EVIDENCE).collect(),
            evidence_omitted: omitted,
            saved_bytes,
            fix: fix.to_owned(),
        });
    }

    fn metas<'m>(&self, metas: impl Iterator<Item = &'m Meta>) -> Vec<Evidence> {
        metas.map(|m| self.evidence(&*m.name, m.span)).collect()
    }

    fn evidence_quality(&mut self) {
        let p = self.c.proxy;
        if p.expected_only {
            return;
        }
        if p.stats.is_none() && !p.listeners.is_empty() && !draining::dump_tells_all(p) {
            let fix = "save /stats beside the dump: curl -s localhost:15000/stats > stats.txt";
            let title = "draining numbers are lower bounds: no /stats beside the dump".to_owned();
            self.add("MD101", Severity::Note, title, vec![], 0, fix);
        }
        let eds = p.clusters.iter().filter(|c| c.discovery == Discovery::Eds).count();
        if eds > 0 && p.endpoint_sets.is_empty() {
            let title = format!("no endpoints in the dump for {}", count(eds, "EDS cluster"));
            let fix = "fetch /config_dump?include_eds; about 1.2Ki per endpoint are missing from the estimate";
            self.add("MD102", Severity::Note, title, vec![], 0, fix);
        }
        if !p.unknown.is_empty() {
            let places = p
                .unknown
                .iter()
                .map(|u| {
                    self.evidence(format!("{} ({}, {} bytes of JSON)", u.type_name, times(u.count), u.bytes), u.span)
                })
                .collect();
            let title = format!("{} of unknown type, priced by size", count(p.unknown.len(), "section"));
            self.add(
                "MD104",
                Severity::Note,
                title,
                places,
                0,
                "a newer meshdump may know it; totals have wide bounds",
            );
        }
    }

    fn draining(&mut self) {
        let p = self.c.proxy;
        let d = &self.c.report.draining;
        let shown: Vec<&Meta> = p.listeners.iter().map(|l| &l.meta).filter(|m| m.state == State::Draining).collect();
        let implied = d.listeners_implied.unwrap_or(0);
        if implied.max(shown.len() as u64) > 0 {
            let title = match d.listeners_implied {
                Some(n) => {
                    format!("{} by the gauge, {} in the dump", count(n as usize, "draining listener"), shown.len())
                }
                None if draining::dump_tells_all(p) => count(shown.len(), "draining listener"),
                None => format!("at least {} (the dump lists one per name)", count(shown.len(), "draining listener")),
            };
            let mut places = self.metas(shown.into_iter());
            if let (Some(drain), true) = (d.listeners_implied, places.is_empty()) {
                places.push(Self::plain(format!("listener_manager.total_listeners_draining: {drain}")));
            }
            let fix = match self.c.report.drain_time_s {
                Some(s) => format!(
                    "each stays for the drain time of {}: push less often, keep lists in stable order, or shorten it",
                    duration(s)
                ),
                None => "push less often, keep lists in stable order, or shorten the drain time".to_owned(),
            };
            let severity = if implied > 50 { Severity::Error } else { Severity::Warn };
            self.add("MD201", severity, title, places, d.bytes, &fix);
        }
        let tables: Vec<&Meta> = self.c.unexplained.iter().map(|i| &p.route_tables[*i].meta).collect();
        if !tables.is_empty() {
            let bytes = self.c.unexplained.iter().map(|i| self.c.priced.route_tables[*i].total().bytes).sum();
            let age = d
                .oldest_unexplained_s
                .map_or(String::new(), |s| format!(", the oldest built {} before the newest change", duration(s)));
            let title = format!("{} of hidden generations{age}", count(tables.len(), "inline route table"));
            let places = self.metas(tables.into_iter());
            self.add("MD202", Severity::Warn, title, places, bytes, "use RDS: a generation then costs about 20Ki");
        }
        if let Some(n @ 1..) = d.tls_contexts_unexplained {
            let title = format!("/certs lists {} more than the shown resources have", count(n as usize, "TLS context"));
            self.add("MD203", Severity::Warn, title, vec![], 0, "draining generations hold them: give /stats to count those, push less often, or move certificates to SDS");
        }
        if let Some(n @ 1..) = d.filter_chains_implied {
            let title =
                format!("{} of in-place updates draining, none of them in the dump", count(n as usize, "filter chain"));
            let places = vec![Self::plain(format!("listener_manager.total_filter_chains_draining: {n}"))];
            let fix = "batch certificate and host changes; move certificates to SDS";
            self.add("MD207", Severity::Warn, title, places, 0, fix);
        }
    }

    /// Listeners built by one response have nearly the same `last_updated`; one that is later than its siblings of the
    /// same version was updated in place since.
    fn versions(&mut self) {
        const ONE_PUSH_MS: i64 = 5_000;
        let p = self.c.proxy;
        let mut first: std::collections::BTreeMap<&Name, i64> = std::collections::BTreeMap::new();
        let active =
            || p.listeners.iter().map(|l| &l.meta).filter(|m| m.state == State::Active && !m.version.is_empty());
        for m in active() {
            if let Some(t) = m.last_updated {
                let e = first.entry(&m.version).or_insert(t.0);
                *e = (*e).min(t.0);
            }
        }
        let late: Vec<&Meta> = active()
            .filter(|m| {
                m.last_updated.is_some_and(|t| t.0 - first.get(&m.version).copied().unwrap_or(t.0) > ONE_PUSH_MS)
            })
            .collect();
        if !late.is_empty() {
            let title = format!(
                "{} updated in place since the version_info that the dump shows",
                count(late.len(), "listener")
            );
            let places = self.metas(late.into_iter());
            self.add("MD208", Severity::Note, title, places, 0, "judge by last_updated, not by version_info");
        }
    }

    fn rejected_and_warming(&mut self) {
        let p = self.c.proxy;
        // one bad listener gives two entries: a named one and a nameless one
        let mut seen = std::collections::HashSet::new();
        let rejected: Vec<Evidence> = p
            .listeners
            .iter()
            .filter(|l| l.meta.state == State::Error && seen.insert((&l.meta.name, &l.error)))
            .map(|l| {
                let name = if l.meta.name.is_empty() { "(no name)" } else { &l.meta.name };
                let details = l.error.as_deref().unwrap_or("");
                self.evidence(format!("{name}: {details}"), l.meta.span)
            })
            .collect();
        if !rejected.is_empty() {
            let title = format!("Envoy rejected {}", count(rejected.len(), "listener update"));
            self.add("MD209", Severity::Error, title, rejected, 0, "correct the configuration at the control plane");
        }
        let mut warming: Vec<&Meta> = p.listeners.iter().map(|l| &l.meta).collect();
        warming.extend(p.clusters.iter().map(|c| &c.meta));
        warming.extend(p.secrets.iter().map(|s| &s.meta));
        warming.retain(|m| m.state == State::Warming);
        if !warming.is_empty() {
            let title = format!("{} still warming", count(warming.len(), "resource"));
            let mut places = self.metas(warming.into_iter());
            for (manager, targets) in p.init_targets.iter().flatten() {
                places.push(Self::plain(format!("{manager} waits for {}", targets.join(", "))));
            }
            let fix = match p.init_targets {
                Some(_) => "see that the control plane sends what they wait for, and that it can be reached",
                None => "give /init_dump too: it names what they wait for",
            };
            self.add("MD210", Severity::Warn, title, places, 0, fix);
        }
    }

    fn unused(&mut self) {
        let (p, g) = (self.c.proxy, self.c.graph);
        let cluster_bytes = |i: &usize| {
            let priced = self.c.priced;
            priced.clusters[*i].bytes + priced.inline_endpoints[*i].bytes
        };
        // silence right after the start says nothing
        let uptime = p.server_info.as_ref().and_then(|s| s.uptime_s);
        let long_enough = uptime.is_none_or(|s| s >= MIN_UPTIME_S);
        if let Some(stats) = p.stats.as_ref().filter(|s| long_enough && !s.cluster_traffic.is_empty()) {
            let traffic: std::collections::HashMap<&str, u64> =
                stats.cluster_traffic.iter().map(|(n, t)| (&**n, *t)).collect();
            let name = |i: usize| {
                let c = &p.clusters[i];
                if c.alt_stat_name.is_empty() { c.meta.name.clone() } else { c.alt_stat_name.clone() }
            };
            let idle: Vec<usize> = (0..p.clusters.len())
                .filter(|i| p.clusters[*i].meta.state == State::Active && traffic.get(&*name(*i)) == Some(&0))
                .collect();
            if !idle.is_empty() && idle.len() * 10 >= p.clusters.len() {
                let since = uptime.map_or(String::new(), |s| format!(" since start ({})", duration(s)));
                let title = format!("{} of {} saw no traffic{since}", idle.len(), count(p.clusters.len(), "cluster"));
                let bytes = idle.iter().map(|i| g.of_cluster(*i)).sum();
                let places = self.metas(idle.iter().map(|i| &p.clusters[*i].meta));
                let fix = "a Sidecar resource (Istio) or narrower exportTo; deferred cluster creation otherwise";
                self.add("MD301", Severity::Warn, title, places, bytes, fix);
            }
        }
        if self.c.incomplete {
            return;
        }
        let built_in = |i: &usize| BUILT_IN.contains(&&*p.clusters[*i].meta.name);
        let mut dead: Vec<usize> = g.dead_clusters.iter().copied().filter(|i| !built_in(i)).collect();
        if !dead.is_empty() {
            dead.sort_by_key(|i| std::cmp::Reverse(cluster_bytes(i)));
            let bytes = dead.iter().map(|i| g.of_cluster(*i)).sum();
            let title = format!("{} that no route, filter or listener reaches", count(dead.len(), "cluster"));
            let places = self.metas(dead.iter().map(|i| &p.clusters[*i].meta));
            self.add("MD302", Severity::Warn, title, places, bytes, "remove them at the control plane");
        }
        if !g.dead_tables.is_empty() {
            let bytes = g.dead_tables.iter().map(|i| g.of_table(*i)).sum();
            let title = format!("{} that no listener names", count(g.dead_tables.len(), "route table"));
            let places = self.metas(g.dead_tables.iter().map(|i| &p.route_tables[*i].meta));
            let fix = "wait for draining to end, since nothing else pins them; or see whether their listener is missing from the dump";
            self.add("MD303", Severity::Warn, title, places, bytes, fix);
        }
        if !g.dead_secrets.is_empty() {
            let bytes = g.dead_secrets.iter().map(|i| self.c.priced.secrets[*i].bytes).sum();
            let title = format!("{} that no TLS context names", count(g.dead_secrets.len(), "secret"));
            let places = self.metas(g.dead_secrets.iter().map(|i| &p.secrets[*i].meta));
            self.add("MD304", Severity::Note, title, places, bytes, "remove them, or wait for draining to end");
        }
        if !g.orphan_endpoint_sets.is_empty() {
            let bytes = g.orphan_endpoint_sets.iter().map(|i| self.c.priced.endpoint_sets[*i].bytes).sum();
            let title = format!(
                "{} of clusters that the dump does not have",
                count(g.orphan_endpoint_sets.len(), "endpoint set")
            );
            let places = self.metas(g.orphan_endpoint_sets.iter().map(|i| &p.endpoint_sets[*i].meta));
            self.add("MD306", Severity::Note, title, places, bytes, "check that the dump is whole");
        }
    }

    fn repeated(&mut self) {
        // short strings are not worth a line
        let worth: Vec<_> = repeated_payloads(self.c.proxy)
            .into_iter()
            .filter(|r| u64::from(r.payload.len_bytes) * (r.copies - 1) >= 4 * 1024)
            .collect();
        if !worth.is_empty() {
            let total: u64 = worth.iter().map(|r| u64::from(r.payload.len_bytes) * (r.copies - 1)).sum();
            let places = worth
                .iter()
                .map(|r| {
                    let what = match r.payload.kind {
                        PayloadKind::CertificateChain => "certificate chain",
                        PayloadKind::CaBundle => "CA bundle",
                        PayloadKind::Lua => "Lua source",
                        PayloadKind::Wasm => "Wasm module",
                        PayloadKind::Other => "inline string",
                    };
                    let size = size(u64::from(r.payload.len_bytes));
                    self.evidence(format!("{what} of {size}, {} copies", r.copies), r.first)
                })
                .collect();
            let title = format!("{} in several copies each", count(worth.len(), "payload"));
            let fix = "certificates over SDS, one shared Wasm VM, Lua and Wasm code over ECDS or from a file";
            self.add("MD307", Severity::Warn, title, places, total, fix);
        }
        let chains = equal_chains(self.c.proxy, self.c.priced);
        let bytes: u64 = chains.iter().map(|c| c.saved_bytes).sum();
        if bytes >= 64 * 1024 {
            let n: u64 = chains.iter().map(|c| c.chains).sum();
            let places = chains
                .iter()
                .map(|c| {
                    let m = &self.c.proxy.listeners[c.listener].meta;
                    self.evidence(format!("{}: {} equal chains", m.name, c.chains), m.span)
                })
                .collect();
            let title = format!("{n} filter chains differ from a sibling in name and match only");
            self.add("MD308", Severity::Warn, title, places, bytes, "one chain with all their server names");
        }
        self.code_in_chains();
    }

    /// Only what costs a noticeable part of the proxy.
    fn code_in_chains(&mut self) {
        let (c, threads) = (self.c, u64::from(self.c.settings.concurrency) + 1);
        let all = code::in_chains(c.proxy, c.settings, c.priced);
        let bytes: u64 = all.iter().map(|x| x.allocated + x.outside).sum();
        if bytes < 1 << 20 || bytes * 20 < c.priced.resident.bytes {
            return;
        }
        let places = all
            .iter()
            .map(|x| {
                let what = match (x.kind, x.code_bytes) {
                    ("Lua", _) => format!(
                        "Lua in {} × {threads} threads: {}",
                        count(x.chains as usize, "filter chain"),
                        count((x.filters * threads) as usize, "LuaJIT state")
                    ),
                    (_, 0) => format!("Wasm in {}", count(x.chains as usize, "filter chain")),
                    (_, b) => {
                        format!("Wasm module of {} inlined in {}", size(b), count(x.chains as usize, "filter chain"))
                    }
                };
                let text =
                    format!("{what}; {} allocated, {} outside the allocator", size(x.allocated), size(x.outside));
                self.evidence(text, x.span)
            })
            .collect();
        let names: Vec<&str> = all.iter().map(|x| x.kind).collect();
        let title = format!(
            "{} in filter chains {} {}",
            names.join(" and "),
            if names.len() == 1 { "costs" } else { "cost" },
            size(bytes)
        );
        let fix = "turn the feature off where it is not needed (OSM: enableWASMStats, or permissive mode, which makes the \
                   chains); code over ECDS or from a file; fewer worker threads";
        self.add("MD309", Severity::Warn, title, places, bytes, fix);
    }

    fn sizing(&mut self) {
        let m = &self.c.report.memory;
        if let Some(o) = m.observed
            && (o.allocated < m.allocated.low || o.allocated > m.allocated.high)
        {
            let sign = if o.allocated >= m.allocated.bytes { "+" } else { "-" };
            let title = format!(
                "{} says {}, predicted {} ({}..{}): {sign}{} unexplained",
                if o.source == "stats" { "the gauge in /stats" } else { "/memory" },
                size(o.allocated),
                size(m.allocated.bytes),
                size(m.allocated.low),
                size(m.allocated.high),
                size(o.allocated.abs_diff(m.allocated.bytes)),
            );
            let fix = "look for what a dump cannot show: draining generations, connections, filter state";
            self.add("MD605", Severity::Note, title, vec![], 0, fix);
        }
        if let Some(limit) = m.limit_bytes.filter(|l| *l > 0) {
            let percent = m.resident.bytes * 100 / limit;
            let title = format!(
                "resident memory estimated at {} ({}..{}), {percent}% of the limit of {}{}",
                size(m.resident.bytes),
                size(m.resident.low),
                size(m.resident.high),
                size(limit),
                m.limit_of.as_ref().map(|of| format!(" ({of})")).unwrap_or_default(),
            );
            let (code, severity) = match percent {
                100.. => ("MD602", Severity::Error),
                75..=99 => ("MD601", Severity::Warn),
                _ => return,
            };
            let fix = "cut the largest kind or owner first, or raise the limit";
            self.add(code, severity, title, vec![], 0, fix);
        }
    }
}
