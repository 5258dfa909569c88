//! The rules behind the findings MD501 to MD512.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use super::{Changes, KernelView, OtherCpus, OtherKernel, Priced, ProgramView, Row, Totals};
use crate::cost::kernel::real::{Contents, real};
use crate::cost::kernel::{Era, Profile, preallocated};
use crate::findings::{Evidence, Finding, Severity};
use crate::model::bpf::{BpfListing, MapType, Shape, flag};

/// What the rules look at.
pub(super) struct Facts<'a> {
    pub(super) priced: &'a [Priced<'a>],
    pub(super) rows: &'a [Row],
    pub(super) profile: &'a Profile,
    pub(super) listing: &'a BpfListing,
    pub(super) kernel: &'a KernelView,
    pub(super) totals: &'a Totals,
    pub(super) programs: &'a [ProgramView],
    pub(super) other_kernels: &'a [OtherKernel],
    pub(super) other_cpus: &'a [OtherCpus],
    pub(super) changes: Option<&'a Changes>,
}

/// Below this, a finding is not worth a line.
const WORTH_BYTES: u64 = 256 << 10;
/// Evidence lines per finding.
const MOST: usize = 5;

pub(super) fn findings(facts: &Facts<'_>) -> Vec<Finding> {
    let drafts = [
        idle(facts),
        floor(facts),
        inner_maps(facts),
        near_full(facts),
        per_cpu(facts),
        not_the_memory(facts),
        in_no_program(facts),
        duplicates(facts),
        rounded(facts),
        wrapped(facts),
        other_kernel(facts),
        changed(facts),
        unexplained(facts),
    ];
    let mut found: Vec<Finding> = drafts.into_iter().flatten().map(Finding::from).collect();
    found.sort_by_key(|f: &Finding| (f.severity, f.code));
    found
}

/// Why the columns of a row differ, in a few words each.
pub(super) fn why(profile: &Profile, shape: &Shape, totals: &Totals, live: Option<u64>) -> Vec<String> {
    let mut why = Vec::new();
    let (reported, real) = (totals.memlock, totals.real);
    let under = real > reported + reported / 20;
    let over = reported > real + real / 20;
    let lazily = shape.has(flag::NO_PREALLOC) && !shape.map_type.is_percpu();
    match (profile.era, shape.map_type) {
        (Era::Footprint, MapType::Ringbuf | MapType::UserRingbuf) => why.push("ring not reported".into()),
        (
            Era::Footprint,
            MapType::SkStorage
            | MapType::TaskStorage
            | MapType::InodeStorage
            | MapType::CgrpStorage
            | MapType::CgroupStorage
            | MapType::PercpuCgroupStorage,
        ) => why.push("elements not reported".into()),
        (Era::Footprint, MapType::Array) if over => {
            why.push("reported in whole pages, allocated as a slab object".into())
        }
        (Era::Footprint, _) if over && lazily => why.push("reported in full, allocated when inserted".into()),
        (
            Era::Footprint,
            MapType::Hash | MapType::PercpuHash | MapType::LruHash | MapType::LruPercpuHash | MapType::HashOfMaps,
        ) if under && (preallocated(shape) || live.is_none()) => {
            why.push("buckets and element headers not reported".into());
        }
        (Era::Footprint, MapType::Array | MapType::PercpuArray) if under => {
            why.push("allocated as a power of two of pages".into());
        }
        (Era::Charge, _) if over && lazily => why.push("charged in full, allocated when inserted".into()),
        (Era::Charge, MapType::Array) if over => why.push("charged in whole pages".into()),
        (Era::Usage, MapType::LpmTrie) if totals.real_max > 0 && reported > 0 => {
            why.push("slab rounding and intermediate nodes not reported".into());
        }
        (Era::Usage, MapType::SkStorage | MapType::TaskStorage | MapType::InodeStorage | MapType::CgrpStorage) => {
            why.push("elements not reported".into());
        }
        (Era::Usage, MapType::Arena) => why.push("pages not reported".into()),
        (Era::Usage, MapType::Array) if under => why.push("slab rounding".into()),
        (Era::Usage, _) if under && lazily => why.push("slab rounding and caches not reported".into()),
        _ => {}
    }
    if totals.real_max > totals.real + totals.real / 20 && live.is_none() {
        why.push("live entries unknown: + marks the least it can be".into());
    }
    if totals.percpu * 20 > totals.real && profile.era != Era::Charge {
        why.push("per-CPU part not charged to the pod".into());
    }
    why
}

fn idle(facts: &Facts<'_>) -> Option<Draft> {
    let mut found: Vec<(u64, String)> = Vec::new();
    for p in facts.priced.iter().filter(|p| p.parent.is_none()) {
        let shape = &p.map.shape;
        let (Some(live), Some(now)) = (p.costs.live, p.costs.real) else { continue };
        let enough = (live * 2).max(64).next_power_of_two();
        if enough >= u64::from(shape.max_entries) || shape.map_type.is_outer() {
            continue;
        }
        let smaller = Shape { max_entries: enough as u32, ..*shape };
        let contents = Contents { live: Some(live), branch_nodes: None };
        let Some(then) = real(facts.profile, &smaller, contents) else { continue };
        let saved = now.bytes.saturating_sub(then.bytes);
        if saved >= WORTH_BYTES {
            found.push((
                saved,
                format!(
                    "{} {}: {live} of {} entries live, max_entries {enough} would free {}",
                    named(&p.map.name, p.map.id),
                    shape.map_type,
                    shape.max_entries,
                    bytes(saved)
                ),
            ));
        }
    }
    if found.is_empty() {
        return None;
    }
    found.sort_by_key(|(saved, line)| (std::cmp::Reverse(*saved), line.clone()));
    let saved: u64 = found.iter().map(|(s, _)| s).sum();
    Some(Draft {
        code: "MD501",
        severity: Severity::Warn,
        title: format!("{} preallocated in maps that are mostly empty", bytes(saved)),
        evidence: found.into_iter().map(|(_, line)| line).collect(),
        saved_bytes: Some(saved),
        fix: "lower max_entries of these maps in the data plane's settings".into(),
    })
}

/// What maps of unknown contents take whether anything is in them or not.
fn floor(facts: &Facts<'_>) -> Option<Draft> {
    let mut found: Vec<(u64, String)> = facts
        .rows
        .iter()
        .filter(|r| r.parent.is_none() && r.live.is_none() && !r.shape.map_type.is_outer())
        .filter_map(|r| {
            let empty = real(facts.profile, &r.shape, Contents { live: Some(0), branch_nodes: None })?;
            let bytes_empty = empty.bytes * r.totals.maps;
            let what = match r.shape.map_type {
                MapType::Hash | MapType::PercpuHash | MapType::HashOfMaps if r.shape.has(flag::NO_PREALLOC) => {
                    "its buckets alone"
                }
                MapType::Hash
                | MapType::PercpuHash
                | MapType::LruHash
                | MapType::LruPercpuHash
                | MapType::HashOfMaps => "every element is preallocated",
                _ => return None,
            };
            let line = format!(
                "{} {} ({}): {} when empty, {what}",
                display(&r.name),
                r.map_type,
                count(r.totals.maps, "map"),
                bytes(bytes_empty)
            );
            (bytes_empty >= WORTH_BYTES).then_some((bytes_empty, line))
        })
        .collect();
    if found.is_empty() {
        return None;
    }
    found.sort_by_key(|(size, line)| (std::cmp::Reverse(*size), line.clone()));
    let sum: u64 = found.iter().map(|(size, _)| size).sum();
    Some(Draft {
        code: "MD501",
        severity: Severity::Note,
        title: format!("{} of hash maps is there even when they are empty; how full they are is not known", bytes(sum)),
        evidence: found.into_iter().map(|(_, line)| line).collect(),
        saved_bytes: None,
        fix: "add `bpftool map dump -j id N` of the largest to see what of it is idle".into(),
    })
}

fn inner_maps(facts: &Facts<'_>) -> Option<Draft> {
    let rows: Vec<&Row> = facts
        .rows
        .iter()
        .filter(|r| r.parent.is_some() && r.totals.maps >= 64 && r.totals.real >= WORTH_BYTES)
        .collect();
    let largest = rows.iter().max_by_key(|r| r.totals.memlock)?;
    let maps: u64 = rows.iter().map(|r| r.totals.maps).sum();
    let real: u64 = rows.iter().map(|r| r.totals.real).sum();
    let evidence = rows
        .iter()
        .map(|r| {
            format!(
                "{} in {}: {} of {} x {} bytes, reported {}, real {}{}",
                count(r.totals.maps, "map"),
                display(r.parent.as_deref().unwrap_or("")),
                r.map_type,
                r.entries_max,
                r.shape.value,
                bytes(r.totals.memlock),
                bytes(r.totals.real),
                match r.parent_from {
                    Some(super::ParentFrom::Shape | super::ParentFrom::OneOfEqual) => " (parent inferred)",
                    _ => "",
                }
            )
        })
        .collect();
    let kmesh = &*largest.owner == "Kmesh";
    Some(Draft {
        code: "MD502",
        severity: Severity::Warn,
        title: format!("{} inner maps hold {}; a listing does not say how many are in use", group(maps), bytes(real)),
        evidence,
        saved_bytes: None,
        fix: if kmesh {
            "replay the growth with `meshdump bpf simulate --policy kmesh-0.5`; Kmesh 1.0 replaced them by four hash maps"
                .into()
        } else {
            "create inner maps when they are needed, or size them by what they hold".into()
        },
    })
}

fn near_full(facts: &Facts<'_>) -> Option<Draft> {
    let mut found: Vec<(u64, String)> = facts
        .priced
        .iter()
        .filter_map(|p| {
            let live = p.costs.live?;
            let max = u64::from(p.map.shape.max_entries);
            let lru = matches!(p.map.shape.map_type, MapType::LruHash | MapType::LruPercpuHash);
            (max >= 4 && live * 5 >= max * 4 && !p.map.shape.map_type.is_outer()).then(|| {
                let then = if lru { "evicts" } else { "refuses the next" };
                let line = format!(
                    "{} {}: {live} of {max} entries ({} %), {then} when full",
                    named(&p.map.name, p.map.id),
                    p.map.shape.map_type,
                    live * 100 / max
                );
                (live * 1000 / max, line)
            })
        })
        .collect();
    if found.is_empty() {
        return None;
    }
    found.sort_by_key(|(full, line)| (std::cmp::Reverse(*full), line.clone()));
    Some(Draft {
        code: "MD503",
        severity: Severity::Error,
        title: format!("{} at least 80 % full", count(found.len() as u64, "map")),
        evidence: found.into_iter().map(|(_, line)| line).collect(),
        saved_bytes: None,
        fix: "raise max_entries before the map is full".into(),
    })
}

fn per_cpu(facts: &Facts<'_>) -> Option<Draft> {
    let now = facts.totals.percpu;
    let most = facts.other_cpus.last()?;
    let more = most.real.saturating_sub(facts.totals.real);
    if more < 4 * WORTH_BYTES {
        return None;
    }
    let mut rows: Vec<&Row> = facts.rows.iter().filter(|r| r.totals.percpu * 50 > now).collect();
    rows.sort_by_key(|r| (std::cmp::Reverse(r.totals.percpu), r.name.clone()));
    let evidence = rows
        .iter()
        .map(|r| {
            format!(
                "{} {}: {} per-CPU on {} CPUs",
                display(&r.name),
                r.map_type,
                bytes(r.totals.percpu),
                facts.kernel.cpus
            )
        })
        .collect();
    Some(Draft {
        code: "MD504",
        severity: Severity::Note,
        title: format!(
            "{} is per-CPU memory; the same maps take {} more on {} CPUs",
            bytes(now),
            bytes(more),
            most.cpus
        ),
        evidence,
        saved_bytes: None,
        fix: "size the biggest nodes by this, and per-CPU maps' max_entries by what they hold".into(),
    })
}

fn not_the_memory(facts: &Facts<'_>) -> Option<Draft> {
    let mut off: Vec<(u64, String)> = facts
        .rows
        .iter()
        .filter_map(|r| {
            let apart = r.totals.memlock.abs_diff(r.totals.real);
            (apart >= WORTH_BYTES && apart * 5 > r.totals.memlock.max(r.totals.real)).then(|| {
                let way = if r.totals.memlock > r.totals.real { "over" } else { "under" };
                (
                    apart,
                    format!(
                        "{} {} ({}): reported {}, real {}: {} {way}{}",
                        display(&r.name),
                        r.map_type,
                        count(r.totals.maps, "map"),
                        bytes(r.totals.memlock),
                        bytes(r.totals.real),
                        bytes(apart),
                        r.why.first().map(|w| format!(", {w}")).unwrap_or_default()
                    ),
                )
            })
        })
        .collect();
    if off.is_empty() {
        return None;
    }
    off.sort_by_key(|(apart, line)| (std::cmp::Reverse(*apart), line.clone()));
    Some(Draft {
        code: "MD505",
        severity: Severity::Note,
        title: format!(
            "bytes_memlock says {}, the memory is {}",
            bytes(facts.totals.memlock),
            range(facts.totals.real, facts.totals.real_max)
        ),
        evidence: off.into_iter().map(|(_, line)| line).collect(),
        saved_bytes: None,
        fix: format!("do not alert on bytes_memlock of kernels {}; use the column REAL", facts.kernel.kernels),
    })
}

fn in_no_program(facts: &Facts<'_>) -> Option<Draft> {
    let inner: Vec<_> = facts.priced.iter().filter(|p| p.parent.is_some()).collect();
    let hidden: u64 = inner.iter().map(|p| p.map.memlock.unwrap_or(0)).sum();
    if hidden < WORTH_BYTES {
        return None;
    }
    let mut evidence = Vec::new();
    if let Some(top) = facts.programs.first() {
        let per_program: u64 = facts.programs.iter().map(|p| p.memlock).sum();
        let used: BTreeSet<u32> = facts.listing.progs.iter().flat_map(|p| p.map_ids.iter().copied()).collect();
        let once: u64 =
            facts.priced.iter().filter(|p| used.contains(&p.map.id)).map(|p| p.map.memlock.unwrap_or(0)).sum();
        evidence.push(format!(
            "summed over {}: {}; the same maps counted once: {}",
            count(facts.programs.len() as u64, "program"),
            bytes(per_program),
            bytes(once)
        ));
        evidence.push(format!(
            "{} shows {} in {}, and would show the same after any number of inner maps",
            display(&top.name),
            bytes(top.memlock),
            count(top.maps, "map")
        ));
    }
    Some(Draft {
        code: "MD506",
        severity: Severity::Note,
        title: format!("per-program views miss {} inner maps: reported {}", group(inner.len() as u64), bytes(hidden)),
        evidence,
        saved_bytes: None,
        fix: "count maps once, inner maps under their outer map, as here".into(),
    })
}

fn duplicates(facts: &Facts<'_>) -> Option<Draft> {
    if facts.listing.progs.is_empty() {
        return None;
    }
    let used: HashSet<u32> = facts.listing.progs.iter().flat_map(|p| p.map_ids.iter().copied()).collect();
    let mut kinds: BTreeMap<(&str, Shape), (u64, u64, u64)> = BTreeMap::new();
    for p in facts.priced.iter().filter(|p| p.parent.is_none() && !p.map.name.is_empty()) {
        let kind = kinds.entry((&p.map.name, p.map.shape)).or_default();
        kind.0 += 1;
        if !used.contains(&p.map.id) && p.map.pinned.is_empty() && p.map.holders.is_empty() {
            kind.1 += 1;
            kind.2 += p.costs.real.map_or(0, |r| r.bytes);
        }
    }
    let mut found: Vec<(u64, String)> = kinds
        .into_iter()
        .filter(|(_, (all, unused, _))| *all > 1 && *unused > 0 && unused < all)
        .map(|((name, shape), (all, unused, real))| {
            (
                real,
                format!(
                    "{name} {}: {unused} of {all} in no program and pinned nowhere, {}",
                    shape.map_type,
                    bytes(real)
                ),
            )
        })
        .collect();
    let saved: u64 = found.iter().map(|(real, _)| real).sum();
    if found.is_empty() {
        return None;
    }
    found.sort_by_key(|(real, line)| (std::cmp::Reverse(*real), line.clone()));
    Some(Draft {
        code: "MD507",
        severity: Severity::Warn,
        title: format!(
            "{} there several times, some without a user",
            match found.len() as u64 {
                1 => "1 kind of map is".to_owned(),
                n => format!("{} kinds of map are", group(n)),
            }
        ),
        evidence: found.into_iter().map(|(_, line)| line).collect(),
        saved_bytes: Some(saved),
        fix: "find who holds them (`bpftool map show` as root shows pids) and restart it".into(),
    })
}

fn rounded(facts: &Facts<'_>) -> Option<Draft> {
    let cpus = facts.kernel.cpus;
    let lines: BTreeSet<String> = facts
        .priced
        .iter()
        .filter(|p| {
            let lru = matches!(p.map.shape.map_type, MapType::LruHash | MapType::LruPercpuHash);
            // the kernel shows the rounded number: suspicious is a multiple of the CPUs that is no round number
            lru && p.map.shape.has(flag::NO_COMMON_LRU)
                && cpus > 1
                && p.map.shape.max_entries.is_multiple_of(cpus)
                && !p.map.shape.max_entries.is_power_of_two()
                && p.map.shape.max_entries % 100 != 0
        })
        .map(|p| {
            let max = p.map.shape.max_entries;
            format!(
                "{}: shows max_entries {max}, a setting of {} to {max} gives that on {cpus} CPUs",
                named(&p.map.name, p.map.id),
                max - cpus + 1
            )
        })
        .collect();
    (!lines.is_empty()).then(|| Draft {
        code: "MD508",
        severity: Severity::Note,
        title: format!("{} with a limit the kernel rounded up", count(lines.len() as u64, "LRU map")),
        evidence: lines.into_iter().collect(),
        saved_bytes: None,
        fix: format!("set a multiple of {cpus}, or compare with the rounded number"),
    })
}

fn wrapped(facts: &Facts<'_>) -> Option<Draft> {
    let lines: Vec<String> = facts
        .listing
        .maps
        .iter()
        .filter(|m| m.memlock_wrapped || m.memlock.is_none())
        .map(|m| match m.memlock {
            Some(b) => format!("{}: negative in the listing, taken as {}", named(&m.name, m.id), bytes(b)),
            None => format!("{}: no bytes_memlock", named(&m.name, m.id)),
        })
        .collect();
    (!lines.is_empty()).then(|| Draft {
        code: "MD509",
        severity: Severity::Note,
        title: format!("{} without a usable bytes_memlock", count(lines.len() as u64, "map")),
        evidence: lines,
        saved_bytes: None,
        fix: "take the listing as root, with bpftool 6.8 or later".into(),
    })
}

fn other_kernel(facts: &Facts<'_>) -> Option<Draft> {
    let lines: Vec<String> = facts
        .other_kernels
        .iter()
        .map(|k| {
            format!(
                "kernels {} (sizes of {}): {}{}",
                k.kernels,
                k.version,
                if k.lower_bound { "at least " } else { "" },
                bytes(k.memlock)
            )
        })
        .collect();
    let far = facts
        .other_kernels
        .iter()
        .filter(|k| !k.lower_bound || k.memlock > facts.totals.memlock)
        .any(|k| k.memlock.abs_diff(facts.totals.memlock) > WORTH_BYTES.max(facts.totals.memlock / 5));
    far.then(|| Draft {
        code: "MD510",
        severity: Severity::Note,
        title: format!("another kernel reports these maps differently; this one says {}", bytes(facts.totals.memlock)),
        evidence: lines,
        saved_bytes: None,
        fix: "move alerts on bytes_memlock with the kernel".into(),
    })
}

fn changed(facts: &Facts<'_>) -> Option<Draft> {
    let changes = facts.changes?;
    if changes.changed.is_empty() {
        return None;
    }
    let lines = changes
        .changed
        .iter()
        .map(|c| {
            format!(
                "{} {}: {} -> {} maps, {} -> {}{}",
                display(&c.name),
                c.map_type,
                group(c.maps_before),
                group(c.maps_after),
                bytes(c.memlock_before),
                bytes(c.memlock_after),
                if c.recreated { ", every one re-created" } else { "" }
            )
        })
        .collect();
    Some(Draft {
        code: "MD511",
        severity: Severity::Note,
        title: format!(
            "{} -> {} maps, reported {} -> {} since the first listing",
            group(changes.maps_before),
            group(facts.totals.maps),
            bytes(changes.memlock_before),
            bytes(facts.totals.memlock)
        ),
        evidence: lines,
        saved_bytes: None,
        fix: "compare with what was deployed in between".into(),
    })
}

fn unexplained(facts: &Facts<'_>) -> Option<Draft> {
    let lines: BTreeSet<String> = facts
        .priced
        .iter()
        .filter(|p| p.map.memlock.is_some() && p.costs.predicted != p.map.memlock)
        .map(|p| {
            let expected = p.costs.predicted.map_or("no formula".to_owned(), |b| format!("the model says {b}"));
            let memlock = p.map.memlock.unwrap_or(0);
            format!("{} {}: {memlock} reported, {expected}", named(&p.map.name, p.map.id), p.map.shape.map_type)
        })
        .collect();
    (!lines.is_empty()).then(|| Draft {
        code: "MD512",
        severity: Severity::Note,
        title: format!("{} the model does not explain to the byte", count(lines.len() as u64, "map")),
        evidence: lines.into_iter().collect(),
        saved_bytes: None,
        fix: "add --btf /sys/kernel/btf/vmlinux of that machine, or --kernel VERSION and --cpus N".into(),
    })
}

/// A finding before its evidence is cut to what is worth reading.
pub(super) struct Draft {
    pub(super) code: &'static str,
    pub(super) severity: Severity,
    pub(super) title: String,
    pub(super) evidence: Vec<String>,
    pub(super) saved_bytes: Option<u64>,
    pub(super) fix: String,
}

impl From<Draft> for Finding {
    fn from(draft: Draft) -> Self {
        // one line more is no longer than saying that it was left out
        let shown = if draft.evidence.len() > MOST + 1 { MOST } else { draft.evidence.len() };
        let plain = |text| Evidence { text, path: String::new(), offset: None, line: None };
        Self {
            code: draft.code,
            severity: draft.severity,
            proxy: String::new(),
            title: draft.title,
            evidence_omitted: (draft.evidence.len() - shown) as u64,
            evidence: draft.evidence.into_iter().take(shown).map(plain).collect(),
            saved_bytes: draft.saved_bytes.unwrap_or(0),
            fix: draft.fix,
        }
    }
}

fn named(name: &str, id: u32) -> String {
    if name.is_empty() { format!("map {id}") } else { format!("{name} ({id})") }
}

fn display(name: &str) -> &str {
    if name.is_empty() { "(unnamed)" } else { name }
}

fn range(low: u64, high: u64) -> String {
    if high > low + low / 50 { format!("{} to {}", bytes(low), bytes(high)) } else { bytes(low) }
}

/// `1 map`, `2 maps`.
fn count(n: u64, what: &str) -> String {
    if n == 1 { format!("1 {what}") } else { format!("{} {what}s", group(n)) }
}

/// Digits in threes.
pub(crate) fn group(n: u64) -> String {
    let digits = n.to_string();
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Bytes with a binary unit as Kubernetes writes it, and one decimal: what differs by a page is told apart.
pub(crate) fn bytes(n: u64) -> String {
    const UNITS: [&str; 5] = ["Ki", "Mi", "Gi", "Ti", "Pi"];
    if n < 1024 {
        return n.to_string();
    }
    let mut power = 1;
    while power < UNITS.len() as u32 && tenths(n, power) >= 10_240 {
        power += 1;
    }
    let tenths = tenths(n, power);
    format!("{}.{}{}", tenths / 10, tenths % 10, UNITS[power as usize - 1])
}

/// Tenths of 1024^power, rounded half up, in integers so that every machine prints the same digit.
fn tenths(n: u64, power: u32) -> u128 {
    (u128::from(n) * 10 + (1u128 << (10 * power - 1))) >> (10 * power)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_in_this_room_is_explained() {
        let sources = [include_str!("rules.rs"), include_str!("simulation.rs")];
        for code in sources.iter().flat_map(|s| s.split("code: \"").skip(1)).map(|rest| &rest[..5]) {
            assert!(super::super::CODES.iter().any(|e| e.code == code), "{code}");
        }
        assert!(super::super::CODES.windows(2).all(|pair| pair[0].code < pair[1].code));
    }

    #[test]
    fn bytes_read_as_people_write_them() {
        for (n, text) in [
            (0, "0"),
            (1023, "1023"),
            (1024, "1.0Ki"),
            (1536, "1.5Ki"),
            (1_048_575, "1.0Mi"),
            (268_419_072, "256.0Mi"),
            (u64::MAX, "16384.0Pi"),
        ] {
            assert_eq!(bytes(n), text);
        }
        assert_eq!(group(131_066), "131,066");
    }
}
