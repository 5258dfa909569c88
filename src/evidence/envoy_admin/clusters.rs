//! `/clusters` as text. Its JSON form is read by [`crate::evidence::config_dump`].

use std::collections::{HashMap, HashSet};
use std::io::Read;

use crate::evidence::json::{names, tally};
use crate::evidence::window::Window;
use crate::model::envoy::{ClusterStatus, Name};
use crate::model::problem::{Loss, Problem};

/// Lines of a cluster itself have one of these behind the cluster's name
/// (Envoy `source/server/admin/clusters_handler.cc`, `ClustersHandler::writeClustersAsText`).
const OF_CLUSTERS: [&[u8]; 7] = [
    b"::observability_name::",
    b"::default_priority::",
    b"::high_priority::",
    b"::outlier::",
    b"::added_via_api::",
    b"::eds_service_name::",
    b"::version_info::",
];

/// Lines of a host end with one of these and a value. `hostname`, `region`, `zone` and `sub_zone` hold free text, and
/// no host has them without the others.
const OF_HOSTS: [&[u8]; 15] = [
    b"cx_active",
    b"cx_connect_fail",
    b"cx_total",
    b"rq_active",
    b"rq_error",
    b"rq_pending_active",
    b"rq_success",
    b"rq_timeout",
    b"rq_total",
    b"health_flags",
    b"weight",
    b"canary",
    b"priority",
    b"success_rate",
    b"local_origin_success_rate",
];

/// What one line of the text says.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::evidence) enum Fact<'a> {
    /// The cluster exists.
    Cluster(&'a [u8]),
    /// It has a host; the key and the value of the line.
    Host { cluster: &'a [u8], address: &'a [u8], key: &'a [u8], value: &'a [u8] },
}

/// Takes a line apart. Names may hold `|` and `.`; IPv6 addresses hold `::`.
pub(in crate::evidence) fn fact(line: &[u8]) -> Option<Fact<'_>> {
    let last = memchr::memmem::rfind(line, b"::")?;
    let (head, value) = (&line[..last], &line[last + 2..]);
    if let Some(at) = memchr::memmem::rfind(head, b"::") {
        let key = &head[at + 2..];
        if OF_HOSTS.contains(&key) {
            let head = &head[..at];
            // an IPv6 address is in brackets and holds `::` itself; a pipe's path or an internal address does not
            let at = if head.contains(&b']') { memchr::memmem::rfind(head, b"::[") } else { None }
                .or_else(|| memchr::memmem::rfind(head, b"::"));
            if let Some(at) = at.filter(|at| *at > 0) {
                let (cluster, address) = (&head[..at], &head[at + 2..]);
                return Some(Fact::Host { cluster, address, key, value });
            }
        }
    }
    OF_CLUSTERS
        .iter()
        .filter_map(|m| memchr::memmem::find(line, m))
        .min()
        .filter(|at| *at > 0)
        .map(|at| Fact::Cluster(&line[..at]))
}

/// Reads `/clusters` text line by line: one status per cluster in order of appearance, with its distinct host
/// addresses and the sum of their `rq_total`.
///
/// `None` when no line is one of `/clusters`. A last line without an end is not used, since its number may be cut.
pub fn read(label: &str, stream: &mut dyn Read) -> (Option<Vec<ClusterStatus>>, Vec<Problem>) {
    let mut lines = Window::new(stream);
    let mut out: Vec<ClusterStatus> = Vec::new();
    let mut index: HashMap<Name, usize> = HashMap::new();
    // hosts by hash: a mesh has a hundred thousand of them, and an address is met a dozen times in a row
    let mut hosts: HashSet<(usize, u64)> = HashSet::new();
    let (mut current, mut last_host) = (None, None);
    let (mut cut, mut strange) = (None, 0u64);
    while let Some(line) = lines.next() {
        if !line.ended {
            cut = Some(line.at);
            break;
        }
        let text = line.text;
        let Some(fact) = fact(text) else {
            // a stat that this list does not know, of the cluster at hand, is a line of /clusters all the same
            let known = current.is_some_and(|at: usize| {
                out.get(at)
                    .is_some_and(|c| text.strip_prefix(c.name.as_bytes()).is_some_and(|rest| rest.starts_with(b"::")))
            });
            strange += u64::from(!text.trim_ascii().is_empty() && !known && !hostname_or_place(text));
            continue;
        };
        let (Fact::Cluster(name) | Fact::Host { cluster: name, .. }) = fact;
        let at = match current {
            Some(at) if out.get(at).is_some_and(|c: &ClusterStatus| c.name.as_bytes() == name) => at,
            _ => {
                let name = String::from_utf8_lossy(name);
                let name = names::unique(&name, tally::text_hash(name.as_bytes()));
                *index.entry(name.clone()).or_insert_with(|| {
                    out.push(ClusterStatus { name, hosts: 0, requests: 0 });
                    out.len() - 1
                })
            }
        };
        current = Some(at);
        if let Fact::Host { address, key, value, .. } = fact {
            let host = (at, tally::text_hash(address));
            if last_host != Some(host) {
                last_host = Some(host);
                out[at].hosts += u32::from(hosts.insert(host));
            }
            if key == b"rq_total" {
                let n = std::str::from_utf8(value).ok().and_then(|v| v.trim().parse::<u64>().ok()).unwrap_or(0);
                out[at].requests = out[at].requests.saturating_add(n);
            }
        }
    }
    let mut problems = Vec::new();
    if let Some(e) = &lines.error {
        let what = format!("{e}; {} clusters were whole before it", out.len());
        problems.push(Problem::new(label, Loss::Part, what).at(lines.offset()));
    } else if let Some(at) = cut {
        problems.push(
            Problem::new(label, Loss::Part, "the last line has no end and was not used: the copy may be cut")
                .at(at)
                .hint("fetch /clusters again"),
        );
    }
    if out.is_empty() {
        problems.push(Problem::new(label, Loss::Whole, "not /clusters: no line is `name::address::stat::value`").at(0));
        return (None, problems);
    }
    if strange + lines.too_long > 0 {
        let n = strange + lines.too_long;
        problems.push(Problem::new(label, Loss::Nothing, format!("{n} lines are none of /clusters and were skipped")));
    }
    (Some(out), problems)
}

fn hostname_or_place(line: &[u8]) -> bool {
    [&b"::hostname::"[..], b"::region::", b"::zone::", b"::sub_zone::"]
        .iter()
        .any(|k| memchr::memmem::find(line, k).is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
outbound|80||a.b.svc.cluster.local::observability_name::outbound|80||a.b.svc.cluster.local
outbound|80||a.b.svc.cluster.local::default_priority::max_connections::4294967295
outbound|80||a.b.svc.cluster.local::added_via_api::true
outbound|80||a.b.svc.cluster.local::10.0.0.1:80::cx_active::0
outbound|80||a.b.svc.cluster.local::10.0.0.1:80::rq_total::7
outbound|80||a.b.svc.cluster.local::10.0.0.1:80::hostname::
outbound|80||a.b.svc.cluster.local::10.0.0.1:80::health_flags::healthy
outbound|80||a.b.svc.cluster.local::[fd00::1]:80::rq_total::5
outbound|80||a.b.svc.cluster.local::[fd00::1]:80::cx_total::1
none::default_priority::max_connections::1024
xds-grpc::./etc/istio/proxy/XDS::rq_total::3
outbound|80||a.b.svc.cluster.local::10.0.0.1:80::rq_total::1
";

    #[test]
    fn hosts_and_requests() {
        let (all, problems) = read("x", &mut TEXT.as_bytes());
        let all: Vec<_> = all.unwrap().into_iter().map(|c| (c.name.to_string(), c.hosts, c.requests)).collect();
        assert!(problems.is_empty(), "{problems:?}");
        let own = |n: &str, h, r| (n.to_owned(), h, r);
        assert_eq!(all, [own("outbound|80||a.b.svc.cluster.local", 2, 13), own("none", 0, 0), own("xds-grpc", 1, 3)]);
    }

    #[test]
    fn a_cut_number_does_not_count() {
        let cut = TEXT.find("rq_total::7").unwrap() + "rq_total::7".len();
        let (all, problems) = read("x", &mut &TEXT.as_bytes()[..cut]);
        assert_eq!(all.unwrap()[0].requests, 0);
        assert_eq!(problems[0].loss, Loss::Part);
        assert!(problems[0].offset_bytes.is_some());
    }

    #[test]
    fn garbage() {
        for text in ["", "hello\n", "a::b\n", "::::\n", "::rq_total::1\n"] {
            let (all, problems) = read("x", &mut text.as_bytes());
            assert_eq!(all, None, "{text}");
            assert_eq!(problems.last().unwrap().loss, Loss::Whole, "{text}");
        }
    }
}
