//! Traces for the allocator simulator: JSON Lines of counts or slot events, or a recorded xDS stream, whose objects
//! become slots by what Kmesh stores of them (0.2 to 0.5, `bpf/kmesh/bpf2go` and the generated protobuf-c code): one
//! slot per string, per message, and per array of either.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

use crate::model::bpf_trace::{Demand, Event, Ms, Repeats};
use crate::model::problem::{Loss, Problem};

/// A trace.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Trace {
    /// Events in the order of the file.
    pub events: Vec<Event>,
    /// What the configuration repeats; empty for counts.
    pub repeats: Repeats,
    /// It is a recorded xDS stream.
    pub from_recording: bool,
    /// Some lines had no `t` and follow the line before by one second.
    pub assumed_times: bool,
}

#[derive(Deserialize)]
struct Line<'a> {
    t: Option<f64>,
    services: Option<u64>,
    slots_used: Option<u64>,
    alloc: Option<Vec<Slots>>,
    free: Option<Vec<Slots>>,
    #[serde(borrow, alias = "typeUrl")]
    type_url: Option<Cow<'a, str>>,
    #[serde(borrow)]
    resources: Option<Vec<&'a RawValue>>,
    #[serde(borrow, alias = "removedResources")]
    removed_resources: Option<Vec<Cow<'a, str>>>,
    #[serde(alias = "systemVersionInfo")]
    system_version_info: Option<IgnoredAny>,
}

/// A slot, or the first and last of a run of them.
struct Slots(u32, u32);

impl<'de> Deserialize<'de> for Slots {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct V;
        impl<'de> serde::de::Visitor<'de> for V {
            type Value = Slots;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a slot number, or [first, last]")
            }
            fn visit_u64<E: serde::de::Error>(self, slot: u64) -> Result<Slots, E> {
                let slot = u32::try_from(slot).map_err(|_| E::custom("a slot number has 32 bits"))?;
                Ok(Slots(slot, slot))
            }
            fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut seq: A) -> Result<Slots, A::Error> {
                use serde::de::Error;
                let missing = || A::Error::custom("expected [first, last]");
                let first = seq.next_element()?.ok_or_else(missing)?;
                let last = seq.next_element()?.ok_or_else(missing)?;
                if first > last || seq.next_element::<IgnoredAny>()?.is_some() {
                    return Err(missing());
                }
                Ok(Slots(first, last))
            }
        }
        deserializer.deserialize_any(V)
    }
}

/// More slots than the largest outer map has are no trace of one.
const MOST_SLOTS: u64 = 1 << 22;

/// Reads a trace. A broken line ends it; what came before is kept.
pub fn read(label: &str, bytes: &[u8]) -> (Trace, Vec<Problem>) {
    let mut trace = Trace::default();
    let mut problems = Vec::new();
    let mut objects = Objects::default();
    let mut t: Ms = -1000;
    let mut unknown = 0u64;
    let body = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let mut stream = serde_json::Deserializer::from_slice(body).into_iter::<Line<'_>>();
    loop {
        let at = stream.byte_offset();
        let line = match stream.next() {
            None => break,
            Some(Ok(line)) => line,
            Some(Err(e)) => {
                let loss = if trace.events.is_empty() { Loss::Whole } else { Loss::Part };
                let mut problem = Problem::new(label, loss, format!("no event of a trace: {e}"))
                    .at((at + bytes.len() - body.len()) as u64)
                    .hint("expected lines like {\"t\": 1, \"services\": 500}, {\"t\": 1, \"slots_used\": 9000}, {\"t\": 1, \"alloc\": [1, 2], \"free\": []}, or discovery responses");
                problem.line = Some(e.line() as u64);
                problems.push(problem);
                break;
            }
        };
        t = match line.t {
            Some(seconds) if seconds.is_finite() && seconds.abs() < 9e12 => (seconds * 1000.0).round() as Ms,
            _ => {
                trace.assumed_times = true;
                t + 1000
            }
        };
        let mut push = |demand| trace.events.push(Event { t, demand });
        if let Some(n) = line.services.filter(|n| *n <= MOST_SLOTS) {
            push(Demand::Services(n));
        } else if let Some(n) = line.slots_used.filter(|n| *n <= MOST_SLOTS) {
            push(Demand::Used(n));
        } else if line.alloc.is_some() || line.free.is_some() {
            let list = |slots: Option<Vec<Slots>>| -> Vec<u32> {
                let runs = slots.unwrap_or_default().into_iter();
                runs.flat_map(|Slots(first, last)| first..=last).take(MOST_SLOTS as usize).collect()
            };
            push(Demand::Slots { alloc: list(line.alloc), free: list(line.free) });
        } else if let Some(type_url) = line.type_url {
            trace.from_recording = true;
            let delta = line.removed_resources.is_some() || line.system_version_info.is_some();
            objects.push(
                &type_url,
                &line.resources.unwrap_or_default(),
                &line.removed_resources.unwrap_or_default(),
                delta,
                &mut trace.repeats,
            );
            push(Demand::Pushed(objects.slots()));
        } else {
            unknown += 1;
        }
    }
    if unknown > 0 {
        problems.push(
            Problem::new(label, Loss::Part, format!("{unknown} lines are neither counts nor slots nor responses"))
                .hint("see docs/bpf.md for the forms"),
        );
    }
    if trace.events.is_empty() && problems.iter().all(|p| p.loss != Loss::Whole) {
        problems.push(
            Problem::new(label, Loss::Whole, "no events")
                .hint("expected JSON Lines with services, slots_used, or alloc and free"),
        );
    }
    trace.events.sort_by_key(|e| e.t);
    (trace, problems)
}

/// Objects alive by kind and name, with their slots.
#[derive(Default)]
struct Objects {
    alive: [BTreeMap<String, u64>; 3],
    /// Endpoints per locality of every load assignment: part of its cluster.
    endpoints: BTreeMap<String, Vec<u64>>,
}

#[derive(Clone, Copy)]
enum Kind {
    Listener = 0,
    Cluster = 1,
    Routes = 2,
    Endpoints,
}

/// A resource, also wrapped as delta xDS does.
#[derive(Deserialize)]
struct Wrapped<'a> {
    #[serde(borrow)]
    name: Option<Cow<'a, str>>,
    #[serde(borrow)]
    resource: Option<&'a RawValue>,
    #[serde(alias = "clusterName", borrow)]
    cluster_name: Option<Cow<'a, str>>,
}

#[derive(Deserialize, Default)]
struct Cluster {
    #[serde(alias = "loadAssignment")]
    load_assignment: Option<LoadAssignment>,
}

#[derive(Deserialize, Default)]
struct LoadAssignment {
    #[serde(default)]
    endpoints: Vec<Locality>,
}

#[derive(Deserialize)]
struct Locality {
    #[serde(default, alias = "lbEndpoints")]
    lb_endpoints: Vec<IgnoredAny>,
}

#[derive(Deserialize, Default)]
struct Routes {
    #[serde(default, alias = "virtualHosts")]
    virtual_hosts: Vec<VirtualHost>,
}

#[derive(Deserialize)]
struct VirtualHost {
    #[serde(default)]
    name: String,
    #[serde(default)]
    domains: Vec<IgnoredAny>,
    #[serde(default)]
    routes: Vec<IgnoredAny>,
}

#[derive(Deserialize, Default)]
struct Listener {
    #[serde(default, alias = "filterChains")]
    filter_chains: Vec<FilterChain>,
}

#[derive(Deserialize)]
struct FilterChain {
    #[serde(default)]
    filters: Vec<Filter>,
}

#[derive(Deserialize)]
struct Filter {
    #[serde(default)]
    name: String,
}

fn parse<T: for<'a> Deserialize<'a> + Default>(raw: &RawValue) -> T {
    serde_json::from_str(raw.get()).unwrap_or_default()
}

impl Objects {
    fn push(
        &mut self,
        type_url: &str,
        resources: &[&RawValue],
        removed: &[Cow<'_, str>],
        delta: bool,
        repeats: &mut Repeats,
    ) {
        let kind = match type_url.rsplit('.').next().unwrap_or("") {
            "Listener" => Kind::Listener,
            "Cluster" => Kind::Cluster,
            "RouteConfiguration" => Kind::Routes,
            "ClusterLoadAssignment" => Kind::Endpoints,
            _ => return,
        };
        // Kmesh asks for endpoints of some clusters only, so a response about them replaces just those
        if !delta && !matches!(kind, Kind::Endpoints) {
            self.alive[kind as usize].clear();
        }
        for name in removed {
            match kind {
                Kind::Endpoints => drop(self.endpoints.remove(&**name)),
                kind => drop(self.alive[kind as usize].remove(&**name)),
            }
        }
        for raw in resources {
            let Ok(outer) = serde_json::from_str::<Wrapped<'_>>(raw.get()) else { continue };
            let body = outer.resource.unwrap_or(raw);
            let Ok(inner) = serde_json::from_str::<Wrapped<'_>>(body.get()) else { continue };
            let name = inner.name.or(inner.cluster_name).or(outer.name).map(Cow::into_owned).unwrap_or_default();
            let slots = match kind {
                Kind::Endpoints => {
                    let localities = endpoints_of(&parse::<LoadAssignment>(body));
                    Repeats::most(&mut repeats.endpoints, localities.iter().sum(), &name);
                    self.endpoints.insert(name, localities);
                    continue;
                }
                Kind::Cluster => match parse::<Cluster>(body).load_assignment {
                    Some(assignment) => {
                        let localities = endpoints_of(&assignment);
                        Repeats::most(&mut repeats.endpoints, localities.iter().sum(), &name);
                        cluster_slots(&localities)
                    }
                    None => cluster_slots(&[]),
                },
                Kind::Routes => {
                    let routes = parse::<Routes>(body);
                    Repeats::most(&mut repeats.virtual_hosts, routes.virtual_hosts.len() as u64, &name);
                    for host in &routes.virtual_hosts {
                        Repeats::most(&mut repeats.routes, host.routes.len() as u64, &host.name);
                        Repeats::most(&mut repeats.domains, host.domains.len() as u64, &host.name);
                    }
                    // the table's name and its array of virtual hosts
                    2 + routes.virtual_hosts.iter().map(host_slots).sum::<u64>()
                }
                Kind::Listener => {
                    let listener = parse::<Listener>(body);
                    Repeats::most(&mut repeats.filter_chains, listener.filter_chains.len() as u64, &name);
                    for chain in &listener.filter_chains {
                        Repeats::most(&mut repeats.filters, chain.filters.len() as u64, &name);
                    }
                    listener_slots(&listener)
                }
            };
            self.alive[kind as usize].insert(name, slots);
        }
        repeats.listeners = repeats.listeners.max(self.alive[Kind::Listener as usize].len() as u64);
        repeats.clusters = repeats.clusters.max(self.alive[Kind::Cluster as usize].len() as u64);
        repeats.route_configs = repeats.route_configs.max(self.alive[Kind::Routes as usize].len() as u64);
    }

    fn slots(&self) -> u64 {
        let plain: u64 = self.alive.iter().flat_map(BTreeMap::values).sum();
        // a cluster's load assignment replaces the empty one it was counted with
        let clusters = &self.alive[Kind::Cluster as usize];
        let more: u64 = self
            .endpoints
            .iter()
            .filter_map(|(name, localities)| Some(cluster_slots(localities).saturating_sub(*clusters.get(name)?)))
            .sum();
        plain + more
    }
}

fn endpoints_of(assignment: &LoadAssignment) -> Vec<u64> {
    assignment.endpoints.iter().map(|l| l.lb_endpoints.len() as u64).collect()
}

/// A cluster with these endpoints per locality: its name, load assignment, that one's name and circuit breakers; then
/// an array, and per locality a message, an array, and two messages per endpoint.
fn cluster_slots(localities: &[u64]) -> u64 {
    let array = u64::from(!localities.is_empty());
    4 + array + localities.iter().map(|n| if *n == 0 { 1 } else { 2 + 2 * n }).sum::<u64>()
}

/// A virtual host: message, name and two arrays, a slot per domain, and eight per route to a cluster (message, name,
/// match, prefix, action, cluster, and two that are always there). Richer routes take more.
fn host_slots(host: &VirtualHost) -> u64 {
    4 + host.domains.len() as u64 + 8 * host.routes.len() as u64
}

/// A listener: 13 with one TCP chain, 12 with one chain of HTTP routes, 13 for every chain of several.
fn listener_slots(listener: &Listener) -> u64 {
    let http = |c: &FilterChain| c.filters.iter().any(|f| f.name.contains("http_connection_manager"));
    match &listener.filter_chains[..] {
        [one] if http(one) => 12,
        chains => 13 * (chains.len() as u64).max(1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_a_trace() {
        let text = "{\"t\": 0, \"services\": 10}\n{\"t\": 1.5, \"slots_used\": 22956}\n{\"alloc\": [1, [3, 5]], \"free\": []}\n";
        let (trace, problems) = read("x", text.as_bytes());
        assert!(problems.is_empty(), "{problems:?}");
        assert!(trace.assumed_times);
        assert_eq!(trace.events[1], Event { t: 1500, demand: Demand::Used(22956) });
        assert_eq!(trace.events[2], Event { t: 2500, demand: Demand::Slots { alloc: vec![1, 3, 4, 5], free: vec![] } });
    }

    #[test]
    fn slots_of_objects_as_counted_in_kmesh() {
        assert_eq!(cluster_slots(&[1]), 9);
        assert_eq!(cluster_slots(&[10]), 27);
        assert_eq!(cluster_slots(&[0]), 6);
        assert_eq!(cluster_slots(&[]), 4);
        let host = VirtualHost { name: String::new(), domains: vec![IgnoredAny; 5], routes: vec![IgnoredAny] };
        assert_eq!(host_slots(&host), 17);
    }

    #[test]
    fn a_recording_of_both_kinds() {
        let cluster = r#"{"t":1,"type_url":"type.googleapis.com/envoy.config.cluster.v3.Cluster","resources":[{"@type":"x","name":"a"},{"name":"b"}]}"#;
        let eds = r#"{"t":2,"type_url":"type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment","resources":[{"cluster_name":"a","endpoints":[{"lb_endpoints":[{},{}]}]}]}"#;
        let delta = r#"{"t":3,"typeUrl":"type.googleapis.com/envoy.config.cluster.v3.Cluster","systemVersionInfo":"8","resources":[{"name":"c","version":"1","resource":{"name":"c"}}],"removedResources":["b"]}"#;
        let (trace, problems) = read("x", [cluster, eds, delta].join("\n").as_bytes());
        assert!(problems.is_empty(), "{problems:?}");
        let used: Vec<_> = trace.events.iter().map(|e| e.demand.clone()).collect();
        assert_eq!(used, [Demand::Pushed(8), Demand::Pushed(15), Demand::Pushed(15)]);
        assert_eq!(trace.repeats.clusters, 2);
    }

    #[test]
    fn broken_lines_end_a_trace_and_say_where() {
        let (trace, problems) = read("x", b"{\"t\": 0, \"services\": 10}\n{\"t\": 1, \"serv");
        assert_eq!((trace.events.len(), problems.len()), (1, 1));
        assert_eq!(problems[0].line, Some(2));
        assert_eq!(read("x", b"").1[0].loss, Loss::Whole);
        assert_eq!(read("x", b"nothing").1[0].loss, Loss::Whole);
    }
}
