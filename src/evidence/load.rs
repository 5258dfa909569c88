//! All documents of a run become proxies: each is read by what it is, in parallel, and companions (`/memory`, `/stats`
//! …) are joined to the dump they belong to.
//!
//! The rules, in order: the files of one folder or bundle entry are one proxy's evidence; companions named beside a
//! single dump belong to that dump; several dumps are separate proxies; equal bytes count once.

use std::borrow::Cow;
use std::collections::HashMap;
use std::io::Read;

use rayon::prelude::*;

use super::bpftool;
use super::config_dump::{self, Dumps};
use super::envoy_admin::{certs, clusters, init_dump, listeners, memory, server_info, stats};
use super::json::names;
use super::kind::{Kind, sniff};
use super::kubernetes;
use crate::input::{Content, Document, HEAD_BYTES};
use crate::model::bpf::BpfListing;
use crate::model::envoy::{HostCounts, Node, Proxy, State};
use crate::model::kubernetes::Kubernetes;
use crate::model::problem::{Loss, Problem};
use crate::model::source::InputId;

/// An input with what became of it.
#[derive(Debug, Clone)]
pub struct Recognised {
    /// As the user named it.
    pub label: String,
    /// Short name of its kind.
    pub kind: &'static str,
    /// Size as stored.
    pub stored_bytes: u64,
    /// Of the stored bytes, hex; empty when it was not asked for.
    pub sha256: String,
    /// Named on the command line.
    pub given: bool,
    /// Why it is not part of the answer, or only partly.
    pub note: Option<String>,
}

/// What a run's documents gave.
#[derive(Debug, Default)]
pub struct Loaded {
    /// Proxies with the indices of their inputs.
    pub proxies: Vec<(Proxy, Vec<u32>)>,
    /// All inputs in order.
    pub inputs: Vec<Recognised>,
    /// BPF maps of a node, one listing per point in time.
    pub bpf: Vec<BpfListing>,
    /// Objects of a cluster, of all inputs together.
    pub kubernetes: Option<Kubernetes>,
    /// What went wrong or needed leniency.
    pub problems: Vec<Problem>,
}

/// Sets what a companion tells on the proxy it belongs to.
type Apply = Box<dyn FnOnce(&mut Proxy) + Send>;

/// One document, read.
enum Reading {
    Dumps(Dumps),
    Companion(Apply),
    Bpf(Box<BpfListing>),
    Kubernetes(kubernetes::Objects),
    Nothing,
}

/// Inputs above this size are read by name and size only when nothing says that they are evidence.
const MAX_COMPANION_BYTES: u64 = 256 << 20;

/// Reads `documents`. Hashes of the stored bytes take as long as reading, so they are made only when `hash` says that
/// they will be shown.
pub fn load(documents: &[Document], limits: config_dump::Limits, hash: bool) -> Loaded {
    let kinds: Vec<Kind> = documents.par_iter().map(|d| sniff(d.head(), d.head().len() < HEAD_BYTES)).collect();
    let duplicates = duplicates(documents, &kinds);
    let mut order: Vec<usize> = (0..documents.len()).collect();
    order.sort_by_key(|i| std::cmp::Reverse(documents[*i].stored_bytes()));
    let mut readings: Vec<(usize, Reading, Vec<Problem>, String)> = order
        .into_par_iter()
        .with_max_len(1)
        .map(|i| {
            let d = &documents[i];
            let input = InputId(i as u32);
            let read = || match duplicates[i] {
                None => read(d, kinds[i], input, limits),
                Some(_) => (Reading::Nothing, Vec::new()),
            };
            let sha256 = || if hash { d.sha256().to_owned() } else { String::new() };
            let ((reading, problems), sha256) = rayon::join(read, sha256);
            (i, reading, problems, sha256)
        })
        .collect();
    readings.sort_by_key(|r| r.0);
    names::reading_is_over();

    let mut out = Loaded::default();
    let mut dumps: Vec<Found> = Vec::new();
    let mut companions: Vec<(usize, Apply)> = Vec::new();
    let mut objects = Vec::new();
    for (i, reading, problems, sha256) in readings {
        let d = &documents[i];
        let mut note = kinds[i].note().map(str::to_owned);
        if let Some(first) = duplicates[i] {
            note = Some(format!("the same bytes as {}", documents[first].label()));
        }
        match reading {
            Reading::Dumps(read) => {
                if read.dumps.is_empty() {
                    note = Some("holds no Envoy resources".to_owned());
                }
                for (path, proxy) in read.dumps {
                    dumps.push(Found { input: i, path, proxy });
                }
            }
            Reading::Companion(join) => companions.push((i, join)),
            Reading::Bpf(listing) => bpftool::join(&mut out.bpf, *listing),
            Reading::Kubernetes(read) => {
                note = note.or_else(|| read.note());
                objects.push(read);
            }
            Reading::Nothing if note.is_none() => note = Some("could not be read".to_owned()),
            Reading::Nothing => {}
        }
        out.problems.extend(problems.into_iter().map(|p| Problem { input: Some(InputId(i as u32)), ..p }));
        out.inputs.push(Recognised {
            label: d.label().to_owned(),
            kind: kinds[i].label(),
            stored_bytes: d.stored_bytes(),
            sha256,
            given: d.given(),
            note,
        });
    }
    let (kubernetes, problems) = kubernetes::assemble(objects);
    out.kubernetes = kubernetes;
    out.problems.extend(problems);
    join(documents, dumps, companions, &mut out);
    out
}

struct Found {
    input: usize,
    path: Box<str>,
    proxy: Proxy,
}

/// For each document the earlier one that it repeats. Dumps repeat when their bytes are equal; companions only when
/// they also stand at the same place of their tree, since two proxies may well have equal `/listeners`.
fn duplicates(documents: &[Document], kinds: &[Kind]) -> Vec<Option<usize>> {
    let mut by_size: HashMap<u64, Vec<usize>> = HashMap::new();
    for (i, d) in documents.iter().enumerate() {
        by_size.entry(d.stored_bytes()).or_default().push(i);
    }
    let mut out = vec![None; documents.len()];
    for same in by_size.into_values().filter(|s| s.len() > 1) {
        let hashes: Vec<&str> = same.par_iter().map(|i| documents[*i].sha256()).collect();
        let mut seen: HashMap<(&str, &str), usize> = HashMap::new();
        for (i, hash) in same.into_iter().zip(hashes) {
            let place = if kinds[i] == Kind::ConfigDump { "" } else { tail(documents[i].label()) };
            match seen.get(&(hash, place)) {
                Some(first) => out[i] = Some(*first),
                None => {
                    seen.insert((hash, place), i);
                }
            }
        }
    }
    out
}

/// The last three components of a label: enough to tell the pods of a bundle apart.
fn tail(label: &str) -> &str {
    let mut cut = label.len();
    for _ in 0..3 {
        match label[..cut].rfind(['/', '!']) {
            Some(i) => cut = i,
            None => return label,
        }
    }
    &label[cut + 1..]
}

fn read(d: &Document, kind: Kind, input: InputId, limits: config_dump::Limits) -> (Reading, Vec<Problem>) {
    if kind.note().is_some() {
        let problems = if kind == Kind::Empty && d.given() {
            vec![Problem::new(d.label(), Loss::Whole, "empty file").hint("was the command that wrote it cut off?")]
        } else {
            Vec::new()
        };
        return (Reading::Nothing, problems);
    }
    let content = match d.open() {
        Ok(c) => c,
        Err(e) => return (Reading::Nothing, vec![d.problem(&e)]),
    };
    match kind {
        Kind::ConfigDump | Kind::ClustersJson => {
            let (dumps, problems) = read_dump(d, input, content, limits);
            (Reading::Dumps(dumps), problems)
        }
        Kind::Bpftool | Kind::BpftoolText => {
            let (bytes, end) = whole(content);
            let (listing, mut problems) = bpftool::read(d.label(), &bytes);
            problems.extend(end.err().map(|e| d.problem(&e)));
            (Reading::Bpf(Box::new(listing)), problems)
        }
        Kind::Kubernetes => {
            let (bytes, end) = content.read_all();
            let (objects, mut problems) = kubernetes::read(d.label(), input, &bytes);
            problems.extend(end.err().map(|e| d.problem(&e)));
            (Reading::Kubernetes(objects), problems)
        }
        Kind::StatsText | Kind::StatsJson | Kind::StatsPrometheus => {
            let (s, p) = stats::read(d.label(), &mut *content.reader());
            companion(s, p, |proxy, s| proxy.stats = Some(s))
        }
        Kind::ClustersText => {
            let (s, p) = clusters::read(d.label(), &mut *content.reader());
            companion(s, p, |proxy, s| proxy.cluster_statuses = Some(s))
        }
        _ => {
            let (bytes, end) = whole(content);
            let mut problems: Vec<Problem> = end.err().map(|e| d.problem(&e)).into_iter().collect();
            let (reading, more) = match kind {
                Kind::Memory => {
                    let (m, p) = memory::read(d.label(), &bytes);
                    companion(m, p, |proxy, m| proxy.memory = Some(m))
                }
                Kind::ServerInfo => {
                    let (m, p) = server_info::read(d.label(), &bytes);
                    companion(m, p, |proxy, m| proxy.server_info = Some(m))
                }
                Kind::ListenersText | Kind::ListenersJson => {
                    let (m, p) = listeners::read(d.label(), &bytes);
                    companion(m, p, |proxy, m| proxy.listener_statuses = Some(m))
                }
                Kind::Certs => {
                    let (m, p) = certs::read(d.label(), &bytes);
                    companion(m, p, |proxy, m| proxy.certificates = Some(m))
                }
                Kind::InitDump => {
                    let (m, p) = init_dump::read(d.label(), &bytes);
                    companion(m, p, |proxy, m| proxy.init_targets = Some(m))
                }
                _ => (Reading::Nothing, Vec::new()),
            };
            problems.extend(more);
            (reading, problems)
        }
    }
}

fn companion<T: Send + 'static>(
    value: Option<T>,
    problems: Vec<Problem>,
    set: impl FnOnce(&mut Proxy, T) + Send + 'static,
) -> (Reading, Vec<Problem>) {
    match value {
        Some(v) => (Reading::Companion(Box::new(move |p| set(p, v))), problems),
        None => (Reading::Nothing, problems),
    }
}

/// A companion is small; a huge one is hostile.
fn whole(content: Content<'_>) -> (Cow<'_, [u8]>, std::io::Result<()>) {
    match content {
        Content::Slice(bytes) => (Cow::Borrowed(bytes), Ok(())),
        Content::Stream(stream) => Content::Stream(Box::new(stream.take(MAX_COMPANION_BYTES))).read_all(),
    }
}

fn read_dump(d: &Document, input: InputId, content: Content<'_>, limits: config_dump::Limits) -> (Dumps, Vec<Problem>) {
    let label = d.label();
    let head = d.head();
    if head.starts_with(&[0xff, 0xfe]) || head.starts_with(&[0xfe, 0xff]) {
        // PowerShell's `>` writes UTF-16
        let (bytes, end) = content.read_all();
        let (text, whole) = utf16(&bytes);
        let (dumps, mut problems) = config_dump::read_slice(label, input, text.as_bytes(), limits);
        problems.push(Problem::new(label, Loss::Nothing, "UTF-16 text; offsets count bytes after conversion to UTF-8"));
        if !whole {
            problems.push(Problem::new(label, Loss::Nothing, "invalid UTF-16; read with replacement characters"));
        }
        problems.extend(end.err().map(|e| d.problem(&e)));
        return (dumps, problems);
    }
    match content {
        Content::Slice(bytes) => config_dump::read_mapped(label, input, bytes, d.pages(), limits),
        Content::Stream(mut stream) => config_dump::read_stream(label, input, &mut *stream, limits),
    }
}

pub(super) fn utf16(bytes: &[u8]) -> (String, bool) {
    let little = bytes.starts_with(&[0xff, 0xfe]);
    let units = bytes[2..].chunks_exact(2).map(|c| {
        let pair = [c[0], c[1]];
        if little { u16::from_le_bytes(pair) } else { u16::from_be_bytes(pair) }
    });
    let mut whole = bytes.len().is_multiple_of(2);
    let text = char::decode_utf16(units)
        .map(|r| {
            r.unwrap_or_else(|_| {
                whole = false;
                char::REPLACEMENT_CHARACTER
            })
        })
        .collect();
    (text, whole)
}

/// What a proxy's evidence has in a folder.
struct Seat {
    folder: String,
    /// File name up to its first dot.
    stem: String,
    index: usize,
}

fn file_name(label: &str) -> &str {
    label.rsplit(['/', '!']).next().unwrap_or(label)
}

fn stem(label: &str) -> &str {
    file_name(label).split('.').next().unwrap_or("")
}

fn join(documents: &[Document], dumps: Vec<Found>, companions: Vec<(usize, Apply)>, out: &mut Loaded) {
    let mut seats: Vec<Seat> = Vec::new();
    let mut proxies: Vec<(Proxy, Vec<u32>)> = Vec::new();
    for f in dumps {
        let d = &documents[f.input];
        // `/clusters?format=json` is read by the same reader, but is a companion where there is a dump
        let mut proxy = f.proxy;
        proxy.label = f.path.to_string();
        proxy.expected_only = expected_only(&proxy);
        let slice_of = slice_target(&proxy, d.folder(), &seats, &proxies);
        match slice_of {
            Some(i) => {
                absorb(&mut proxies[i].0, proxy);
                proxies[i].1.push(f.input as u32);
            }
            None => {
                seats.push(Seat {
                    folder: d.folder().to_owned(),
                    stem: stem(d.label()).to_owned(),
                    index: proxies.len(),
                });
                proxies.push((proxy, vec![f.input as u32]));
            }
        }
    }
    for (input, apply) in companions {
        match seat_of(documents[input].label(), documents[input].folder(), &seats, &proxies) {
            Ok(i) => {
                apply(&mut proxies[i].0);
                proxies[i].1.push(input as u32);
            }
            Err(why) => out.inputs[input].note = Some(why.to_owned()),
        }
    }
    let mut taken: HashMap<String, u32> = HashMap::new();
    for (proxy, inputs) in &mut proxies {
        hosts_from_statuses(proxy);
        if proxy.node == Node::default()
            && let Some(info) = &proxy.server_info
        {
            proxy.node = info.node.clone();
        }
        let mut label = name(proxy, &out.inputs[inputs[0] as usize].label);
        if proxy.expected_only {
            label.push_str(" (expected)");
        }
        let n = taken.entry(label.clone()).or_default();
        *n += 1;
        proxy.label = if *n == 1 { label } else { format!("{label} #{n}") };
        inputs.sort_unstable();
    }
    out.proxies = proxies;
}

/// A control plane's rendering (`istiod /debug/config_dump`) carries no times and no bootstrap.
fn expected_only(p: &Proxy) -> bool {
    let dynamic = |s: State| s != State::Static;
    let times = p.listeners.iter().map(|l| &l.meta).chain(p.clusters.iter().map(|c| &c.meta));
    let mut any = false;
    for m in times.filter(|m| dynamic(m.state)) {
        any = true;
        if m.last_updated.is_some() {
            return false;
        }
    }
    any && p.node == Node::default()
}

/// A dump without a node that has nothing another one of its folder has (a `?resource=` slice, `/clusters` as JSON)
/// continues that one.
fn slice_target(p: &Proxy, folder: &str, seats: &[Seat], proxies: &[(Proxy, Vec<u32>)]) -> Option<usize> {
    if p.bootstrap.is_some() || !p.label.is_empty() {
        return None;
    }
    let mut here = seats.iter().filter(|s| s.folder == folder);
    let (first, more) = (here.next()?, here.next());
    let other = &proxies[first.index].0;
    let clash = |a: usize, b: usize| a > 0 && b > 0;
    let overlap = clash(p.listeners.len(), other.listeners.len())
        || clash(p.clusters.len(), other.clusters.len())
        || clash(p.route_tables.len(), other.route_tables.len())
        || clash(p.endpoint_sets.len(), other.endpoint_sets.len())
        || clash(p.secrets.len(), other.secrets.len())
        || (p.cluster_statuses.is_some() && other.cluster_statuses.is_some());
    (more.is_none() && !overlap && other.label.is_empty()).then_some(first.index)
}

fn absorb(into: &mut Proxy, from: Proxy) {
    into.listeners.extend(from.listeners);
    into.clusters.extend(from.clusters);
    into.route_tables.extend(from.route_tables);
    into.endpoint_sets.extend(from.endpoint_sets);
    into.secrets.extend(from.secrets);
    into.extension_configs.extend(from.extension_configs);
    into.scoped_routes.extend(from.scoped_routes);
    into.unknown.extend(from.unknown);
    into.cluster_statuses = into.cluster_statuses.take().or(from.cluster_statuses);
    into.expected_only &= from.expected_only;
}

/// The proxy that a companion belongs to.
fn seat_of(label: &str, folder: &str, seats: &[Seat], proxies: &[(Proxy, Vec<u32>)]) -> Result<usize, &'static str> {
    let real = |s: &&Seat| !proxies[s.index].0.expected_only;
    let one = |mut list: Vec<usize>| {
        list.dedup();
        (list.len() == 1).then(|| list[0])
    };
    let in_folder = |f: &str| -> Vec<&Seat> { seats.iter().filter(|s| s.folder == f).filter(real).collect() };
    // `pod/memory`, and one level down: `pod/stats/prometheus`
    let parent = folder.rfind(['/', '!']).map_or("", |i| &folder[..i]);
    for f in [folder, parent] {
        let here = in_folder(f);
        if let Some(i) = one(here.iter().map(|s| s.index).collect()) {
            return Ok(i);
        }
        let same: Vec<usize> = here.iter().filter(|s| s.stem == stem(label)).map(|s| s.index).collect();
        if let Some(i) = one(same) {
            return Ok(i);
        }
        if !here.is_empty() {
            return Err("several dumps in its folder, and no name in common with one: not assigned");
        }
        if f.is_empty() {
            break;
        }
    }
    // `config-dumps/NS/POD.json` and `prometheus-metrics/NS/POD.prom`
    let leaf = |f: &str| f.rsplit(['/', '!']).next().unwrap_or(f).to_owned();
    let twins: Vec<usize> = seats
        .iter()
        .filter(real)
        .filter(|s| !s.stem.is_empty() && s.stem == stem(label) && leaf(&s.folder) == leaf(folder))
        .map(|s| s.index)
        .collect();
    if let Some(i) = one(twins) {
        return Ok(i);
    }
    // named beside a single dump
    let all: Vec<usize> = seats.iter().filter(real).map(|s| s.index).collect();
    let none = all.is_empty();
    one(all).ok_or(if none {
        "no config dump among the inputs to go with: not assigned"
    } else {
        "which of the config dumps it belongs to cannot be told: not assigned"
    })
}

/// Without endpoint sets, `/clusters` tells how many hosts the clusters have.
fn hosts_from_statuses(proxy: &mut Proxy) {
    if !proxy.endpoint_sets.is_empty() {
        return;
    }
    let Some(statuses) = &proxy.cluster_statuses else { return };
    let hosts: HashMap<&str, u32> = statuses.iter().map(|s| (&*s.name, s.hosts)).collect();
    for c in &mut proxy.clusters {
        if let (0, Some(&n @ 1..)) = (c.inline_hosts.hosts, hosts.get(&*c.meta.name)) {
            c.inline_hosts = HostCounts { hosts: n, localities: 1, priorities: 1, ..c.inline_hosts };
        }
    }
}

/// What the report calls a proxy: the pod where the node tells (`sidecar~ip~pod.ns~domain`), the name it stood under,
/// the node, else the file or its folder.
fn name(proxy: &Proxy, input: &str) -> String {
    if let Some(pod) = proxy.node.id.split('~').nth(2) {
        return pod.to_owned();
    }
    if !proxy.label.is_empty() && !proxy.label.starts_with('#') {
        return proxy.label.clone();
    }
    if !proxy.node.id.is_empty() {
        return proxy.node.id.to_string();
    }
    let file = file_name(input);
    if file.starts_with("config_dump") {
        let folder = input[..input.len() - file.len()].trim_end_matches(['/', '!']);
        let leaf = file_name(folder);
        if !leaf.is_empty() {
            return leaf.to_owned();
        }
    }
    file.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tails() {
        assert_eq!(tail("a/b/c/d/memory"), "c/d/memory");
        assert_eq!(tail("x.tar.gz!b/c/d/memory"), "c/d/memory");
        assert_eq!(tail("memory"), "memory");
    }

    #[test]
    fn utf_16() {
        assert_eq!(utf16(&[0xff, 0xfe, b'{', 0, b'}', 0]), ("{}".to_owned(), true));
        assert_eq!(utf16(&[0xfe, 0xff, 0, b'{', 0, b'}']), ("{}".to_owned(), true));
        assert!(!utf16(&[0xff, 0xfe, b'{']).1);
    }
}
