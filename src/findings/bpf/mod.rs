//! The memory of a node's BPF maps: every map once, with its owner, what the kernel reports, what it takes and what a
//! container is charged; and what follows from it.

mod attribute;
mod codes;
mod compare;
mod owners;
mod rules;
mod simulation;

use std::collections::{BTreeMap, HashMap};

use serde::Serialize;

use crate::cost::kernel::real::{Contents, Real, real};
use crate::cost::kernel::solve::{CpusFrom, EraFrom, Fit, Fixed, Known, fit, fit_any};
use crate::cost::kernel::{self, Era, Profile, Version, counts_entries, live_entries, reported};
use crate::findings::Finding;
use crate::model::bpf::{BpfListing, BpfMap, Shape};

pub use attribute::ParentFrom;
pub use codes::CODES;
pub use compare::{Change, Changes, changes};
pub(crate) use rules::{bytes, group};
pub use simulation::{SimulatedRun, Simulation, simulate};

/// What the user knows better than the evidence.
#[derive(Debug, Clone, Copy, Default)]
pub struct Options<'a> {
    /// Possible CPUs.
    pub cpus: Option<u32>,
    /// Kernel version.
    pub kernel: Option<Version>,
    /// Structure sizes from the kernel's BTF.
    pub sizes: Option<&'a [(kernel::Header, u64)]>,
}

/// The report on a node's maps, at the last point in time the evidence has.
#[derive(Debug, Clone, Serialize, schemars::JsonSchema)]
pub struct BpfReport {
    /// The kernel, as far as the maps tell it.
    pub kernel: KernelView,
    /// Sums over all maps, each counted once.
    pub totals: Totals,
    /// Sums by owner, the largest first.
    pub groups: Vec<Group>,
    /// Maps of one owner, name and shape under one outer map, the largest first within their owner.
    pub rows: Vec<Row>,
    /// What tools that go by program show, the largest first.
    pub programs: Vec<ProgramView>,
    /// The same maps under the other meanings of `bytes_memlock`.
    pub other_kernels: Vec<OtherKernel>,
    /// The same maps on machines with other numbers of CPUs.
    pub other_cpus: Vec<OtherCpus>,
    /// What changed since the first listing.
    pub changes: Option<Changes>,
    /// What to do about it.
    pub findings: Vec<Finding>,
    /// Sums by name, where the evidence is no more than that.
    pub sums: Vec<SumView>,
    /// Every map.
    pub maps: Vec<MapView>,
}

/// What was found out about the kernel, and how.
#[derive(Debug, Clone, Serialize, schemars::JsonSchema)]
pub struct KernelView {
    /// Meaning of `bytes_memlock`.
    pub era: Era,
    /// The kernels with that meaning.
    pub kernels: &'static str,
    /// How the era was found.
    pub era_from: EraFrom,
    /// The built-in profile the sizes start from.
    pub profile: String,
    /// Possible CPUs.
    pub cpus: u32,
    /// How they were found.
    pub cpus_from: CpusFrom,
    /// The least and the most CPUs that fit the maps as well.
    pub cpus_fit: [u32; 2],
    /// Structure sizes the maps themselves determined, in bytes.
    pub solved_sizes: BTreeMap<&'static str, u64>,
    /// Sizes came from the kernel's BTF.
    pub btf: bool,
    /// Maps whose number the model gives to the byte.
    pub explained: u64,
    /// Maps with a number.
    pub with_memlock: u64,
}

/// Sums in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, schemars::JsonSchema)]
pub struct Totals {
    /// Number of maps.
    pub maps: u64,
    /// Sum of `bytes_memlock` as reported.
    pub memlock: u64,
    /// Sum of what the model gives for it.
    pub predicted_memlock: u64,
    /// What the allocator hands out; a lower bound where `real_max` is larger.
    pub real: u64,
    /// The most it can be: live entries are not always known.
    pub real_max: u64,
    /// What the creators' cgroups are charged.
    pub charged: u64,
    /// Per-CPU part of `real`.
    pub percpu: u64,
}

impl Totals {
    fn add(&mut self, map: &Costs, memlock: Option<u64>) {
        self.maps += 1;
        self.memlock += memlock.unwrap_or(0);
        self.predicted_memlock += map.predicted.or(memlock).unwrap_or(0);
        match map.real {
            Some(real) => {
                self.real += real.bytes;
                self.real_max += real.max;
                self.charged += real.charged;
                self.percpu += real.percpu;
            }
            // not modelled: the reported number stands in
            None => {
                self.real += memlock.unwrap_or(0);
                self.real_max += memlock.unwrap_or(0);
                self.charged += memlock.unwrap_or(0);
            }
        }
    }
}

/// An owner's maps.
#[derive(Debug, Clone, Serialize, schemars::JsonSchema)]
pub struct Group {
    /// Data plane or tool.
    pub owner: Box<str>,
    /// Sums.
    #[serde(flatten)]
    pub totals: Totals,
}

/// Maps of one kind.
#[derive(Debug, Clone, Serialize, schemars::JsonSchema)]
pub struct Row {
    /// Owner.
    pub owner: Box<str>,
    /// Name of the outer map that holds them; null for maps of their own.
    pub parent: Option<Box<str>>,
    /// How the parent was found.
    pub parent_from: Option<ParentFrom>,
    /// Name; `[pin]` for nameless maps that are pinned, empty when there is neither.
    pub name: Box<str>,
    /// Type.
    #[serde(rename = "type")]
    pub map_type: String,
    /// `max_entries` of each.
    pub entries_max: u32,
    /// Live entries over all of them, where known.
    pub live: Option<u64>,
    /// Sums.
    #[serde(flatten)]
    pub totals: Totals,
    /// Why the columns differ.
    pub why: Vec<String>,
    #[serde(skip)]
    pub(crate) shape: Shape,
}

/// One map.
#[derive(Debug, Clone, Serialize, schemars::JsonSchema)]
pub struct MapView {
    /// Id.
    pub id: u32,
    /// Name, or null.
    #[serde(serialize_with = "null_when_empty")]
    #[schemars(with = "Option<String>")]
    pub name: Box<str>,
    /// Type as bpftool names it.
    #[serde(rename = "type")]
    pub map_type: &'static str,
    /// `max_entries`.
    pub entries_max: u32,
    /// Live entries, where a dump or the number itself tells them.
    pub entries_live: Option<u64>,
    /// `bytes_memlock`.
    pub memlock: Option<u64>,
    /// What the model gives for it.
    pub predicted_memlock: Option<u64>,
    /// What the allocator hands out.
    pub real: Option<u64>,
    /// The outer map's id.
    pub parent: Option<u32>,
    /// How the parent was found.
    pub parent_from: Option<ParentFrom>,
    /// Owner.
    pub owner: Box<str>,
    /// Paths it is pinned at.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub pinned: Vec<Box<str>>,
}

fn null_when_empty<S: serde::Serializer>(name: &str, serializer: S) -> Result<S::Ok, S::Error> {
    if name.is_empty() { serializer.serialize_none() } else { serializer.serialize_str(name) }
}

/// A program, as tools that go by program count it.
#[derive(Debug, Clone, Serialize, schemars::JsonSchema)]
pub struct ProgramView {
    /// Id.
    pub id: u32,
    /// Name.
    pub name: Box<str>,
    /// Program type.
    #[serde(rename = "type")]
    pub prog_type: Box<str>,
    /// Owner.
    pub owner: Box<str>,
    /// Maps its instructions refer to.
    pub maps: u64,
    /// Sum of their `bytes_memlock`: what Inspektor Gadget shows as MAPMEMORY.
    pub memlock: u64,
    /// The part of it that other programs count too.
    pub shared_memlock: u64,
    /// Maps inside its outer maps, which no program's sum has.
    pub inner_maps: u64,
    /// Their `bytes_memlock`.
    pub inner_memlock: u64,
    /// Equal outer maps these are divided among, where nothing tells which of them holds which.
    pub inner_among: u64,
}

/// The same maps under another era.
#[derive(Debug, Clone, Serialize, schemars::JsonSchema)]
pub struct OtherKernel {
    /// Its kernels.
    pub kernels: &'static str,
    /// The version whose sizes were taken.
    pub version: String,
    /// Sum of `bytes_memlock`.
    pub memlock: u64,
    /// Live entries of some maps are not known and count as none: the number is a lower bound.
    pub lower_bound: bool,
}

/// The same maps on another machine.
#[derive(Debug, Clone, Serialize, schemars::JsonSchema)]
pub struct OtherCpus {
    /// Possible CPUs.
    pub cpus: u32,
    /// Sum of `bytes_memlock`.
    pub memlock: u64,
    /// Memory.
    pub real: u64,
}

/// A sum by name.
#[derive(Debug, Clone, Serialize, schemars::JsonSchema)]
pub struct SumView {
    /// Name, or null.
    #[serde(serialize_with = "null_when_empty")]
    #[schemars(with = "Option<String>")]
    pub name: Box<str>,
    /// Owner, by the name.
    pub owner: Box<str>,
    /// Number of maps.
    pub maps: u64,
    /// Sum of `bytes_memlock`.
    pub memlock: u64,
}

/// What one map costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Costs {
    live: Option<u64>,
    predicted: Option<u64>,
    real: Option<Real>,
}

/// A map with everything found out about it.
struct Priced<'a> {
    map: &'a BpfMap,
    costs: Costs,
    parent: Option<attribute::Parent>,
    owner: u32,
}

/// Builds the report from one or more points in time, the oldest first. The last one is described.
pub fn report(points: &[BpfListing], options: Options<'_>) -> BpfReport {
    let empty = BpfListing::default();
    let listing = points.last().unwrap_or(&empty);
    let contents = contents_of(listing);
    let fit = profile_of(listing, &contents, options);
    let profile = &fit.profile;
    let parents = attribute::parents(listing);

    let mut owners = Owners::default();
    let owner_of = owners_of(listing, &parents, &mut owners);

    let mut cache: HashMap<(Shape, Option<u64>, Option<Contents>), Costs> = HashMap::new();
    let mut priced: Vec<Priced<'_>> = Vec::with_capacity(listing.maps.len());
    for (map, owner) in listing.maps.iter().zip(owner_of) {
        let known = contents.get(&map.id).copied();
        let costs = *cache
            .entry((map.shape, map.memlock, known))
            .or_insert_with(|| price(profile, &map.shape, map.memlock, known));
        priced.push(Priced { map, costs, parent: parents.get(&map.id).copied(), owner });
    }

    let mut totals = Totals::default();
    let mut groups: BTreeMap<u32, Totals> = BTreeMap::new();
    for p in &priced {
        totals.add(&p.costs, p.map.memlock);
        groups.entry(p.owner).or_default().add(&p.costs, p.map.memlock);
    }
    let rows = rows(&priced, &owners, profile, listing);
    let mut groups: Vec<Group> =
        groups.into_iter().map(|(owner, totals)| Group { owner: owners.name(owner), totals }).collect();
    groups
        .sort_by(|a, b| (b.totals.memlock, b.totals.real, &a.owner).cmp(&(a.totals.memlock, a.totals.real, &b.owner)));
    let programs = programs(listing, &priced);
    let (other_kernels, other_cpus) = elsewhere(&priced, profile);
    let changes = (points.len() > 1).then(|| compare::changes(&points[0], listing));
    let explained = priced.iter().filter(|p| p.map.memlock.is_some() && p.costs.predicted == p.map.memlock).count();

    let kernel = KernelView {
        era: profile.era,
        kernels: profile.era.kernels(),
        era_from: fit.era,
        profile: profile.version.to_string(),
        cpus: profile.cpus,
        cpus_from: fit.cpus,
        cpus_fit: [fit.cpus_fit.0, fit.cpus_fit.1],
        solved_sizes: fit.solved.iter().map(|(h, _)| (h.struct_name(), profile.size(*h))).collect(),
        btf: options.sizes.is_some(),
        explained: explained as u64,
        with_memlock: priced.iter().filter(|p| p.map.memlock.is_some()).count() as u64,
    };
    let findings = rules::findings(&rules::Facts {
        priced: &priced,
        rows: &rows,
        profile,
        listing,
        kernel: &kernel,
        totals: &totals,
        programs: &programs,
        other_kernels: &other_kernels,
        other_cpus: &other_cpus,
        changes: changes.as_ref(),
    });
    let sums = listing
        .sums
        .iter()
        .map(|s| SumView {
            name: s.name.clone(),
            owner: owners::by_name(&s.name).unwrap_or(owners::NOBODY).into(),
            maps: s.maps,
            memlock: s.memlock,
        })
        .collect();
    let maps = priced
        .iter()
        .map(|p| MapView {
            id: p.map.id,
            name: p.map.name.clone(),
            map_type: p.map.shape.map_type.name(),
            entries_max: p.map.shape.max_entries,
            entries_live: p.costs.live,
            memlock: p.map.memlock,
            predicted_memlock: p.costs.predicted,
            real: p.costs.real.map(|r| r.bytes),
            parent: p.parent.map(|parent| parent.outer),
            parent_from: p.parent.map(|parent| parent.from),
            owner: owners.name(p.owner),
            pinned: p.map.pinned.clone(),
        })
        .collect();
    BpfReport { kernel, totals, groups, rows, programs, other_kernels, other_cpus, changes, findings, sums, maps }
}

/// Live entries by map id, from dumps.
fn contents_of(listing: &BpfListing) -> HashMap<u32, Contents> {
    let by_id: HashMap<u32, &BpfMap> =
        if listing.dumps.is_empty() { HashMap::new() } else { listing.maps.iter().map(|m| (m.id, m)).collect() };
    let mut contents = HashMap::new();
    for dump in &listing.dumps {
        let map = match dump.map_id {
            Some(id) => by_id.get(&id).copied(),
            None => {
                let mut named = listing.maps.iter().filter(|m| {
                    !m.name.is_empty()
                        && (m.name == dump.map_name || (dump.map_name.is_empty() && dump.stem.ends_with(&*m.name)))
                });
                named.next().filter(|_| named.next().is_none())
            }
        };
        let Some(map) = map else { continue };
        use crate::model::bpf::MapType as T;
        let live = match map.shape.map_type {
            // every slot is listed, filled or not; and what cannot be iterated lists nothing
            T::Array | T::PercpuArray | T::Ringbuf | T::UserRingbuf | T::Queue | T::Stack => continue,
            _ if dump.entries > u64::from(map.shape.max_entries) => continue,
            T::LpmTrie => Contents { live: Some(dump.entries), branch_nodes: dump.branch_points },
            _ => Contents { live: Some(dump.entries), branch_nodes: None },
        };
        contents.insert(map.id, live);
    }
    contents
}

/// Solves the kernel's profile from the listing itself.
fn profile_of(listing: &BpfListing, contents: &HashMap<u32, Contents>, options: Options<'_>) -> Fit {
    let dumped_cpus = listing.dumps.iter().find_map(|d| d.cpus);
    let cpus = options.cpus.or(dumped_cpus);
    // a dump is taken at another moment than the listing: what it counts is no ground to solve from
    let mut distinct: BTreeMap<(Shape, u64), ()> = BTreeMap::new();
    for map in &listing.maps {
        if let Some(memlock) = map.memlock.filter(|_| !map.memlock_wrapped) {
            distinct.insert((map.shape, memlock), ());
        }
    }
    let _ = contents;
    let known: Vec<Known> = distinct
        .into_keys()
        .map(|(shape, memlock)| Known { shape, live: (!counts_entries(&shape)).then_some(0), cpus: None, memlock })
        .collect();
    match (options.kernel, options.sizes) {
        (None, None) => fit_any(cpus, &known),
        (version, sizes) => {
            let version = version.unwrap_or_else(|| fit_any(cpus, &known).profile.version);
            let mut base = Profile::builtin(version, cpus.unwrap_or(1));
            for (header, bytes) in sizes.unwrap_or(&[]) {
                base.set_size(*header, *bytes);
            }
            fit(&base, &known, Fixed { era: false, cpus: cpus.is_some(), sizes: sizes.is_some() })
        }
    }
}

fn price(profile: &Profile, shape: &Shape, memlock: Option<u64>, contents: Option<Contents>) -> Costs {
    let solved = memlock
        .and_then(|memlock| live_entries(profile, shape, memlock))
        .filter(|live| *live <= u64::from(shape.max_entries));
    let live = solved.or(contents.and_then(|c| c.live));
    let predicted = match live {
        None if profile.era == Era::Usage && counts_entries(shape) => None,
        live => reported(profile, shape, live.unwrap_or(0)),
    };
    // the same moment counts: nodes between leaves are those of the dump only while the leaves are
    let branch_nodes = contents.filter(|c| c.live == live).and_then(|c| c.branch_nodes);
    Costs { live, predicted, real: real(profile, shape, Contents { live, branch_nodes }) }
}

/// Owners' names, each kept once.
#[derive(Default)]
struct Owners {
    names: Vec<Box<str>>,
    index: HashMap<Box<str>, u32>,
}

impl Owners {
    fn intern(&mut self, name: &str) -> u32 {
        if let Some(i) = self.index.get(name) {
            return *i;
        }
        let i = self.names.len() as u32;
        self.names.push(name.into());
        self.index.insert(name.into(), i);
        i
    }
    fn name(&self, i: u32) -> Box<str> {
        self.names[i as usize].clone()
    }
}

/// The owner of every map: its outer map's, else its own marks, else those of the programs that use it.
fn owners_of(listing: &BpfListing, parents: &HashMap<u32, attribute::Parent>, owners: &mut Owners) -> Vec<u32> {
    let mut by_prog: HashMap<u32, Box<str>> = HashMap::new();
    let by_id: HashMap<u32, &BpfMap> = if listing.progs.is_empty() && parents.is_empty() {
        HashMap::new()
    } else {
        listing.maps.iter().map(|m| (m.id, m)).collect()
    };
    for prog in &listing.progs {
        let own = owners::of_prog(prog).or_else(|| {
            // a nameless program belongs to those whose maps it uses
            prog.map_ids.iter().filter_map(|id| by_id.get(id)).find_map(|m| owners::of_map(m))
        });
        if let Some(owner) = own {
            for id in &prog.map_ids {
                by_prog.entry(*id).or_insert_with(|| owner.clone());
            }
        }
    }
    let direct = |map: &BpfMap| owners::of_map(map).or_else(|| by_prog.get(&map.id).cloned());
    let mut of_outer: HashMap<u32, Box<str>> = HashMap::new();
    listing
        .maps
        .iter()
        .map(|map| {
            let through = parents.get(&map.id).map(|parent| {
                of_outer
                    .entry(parent.outer)
                    .or_insert_with(|| {
                        by_id.get(&parent.outer).and_then(|m| direct(m)).unwrap_or_else(|| owners::NOBODY.into())
                    })
                    .clone()
            });
            let owner = through.or_else(|| direct(map));
            owners.intern(owner.as_deref().unwrap_or(owners::NOBODY))
        })
        .collect()
}

/// The name, or in brackets the last component of the first path a nameless map is pinned at.
fn name_or_pin(map: &BpfMap) -> Box<str> {
    match map.pinned.first().and_then(|path| path.rsplit('/').next()) {
        Some(pin) if map.name.is_empty() => format!("[{pin}]").into(),
        _ => map.name.clone(),
    }
}

type RowKey = (u32, Option<(Box<str>, Shape)>, Box<str>, Shape);

fn rows(priced: &[Priced<'_>], owners: &Owners, profile: &Profile, listing: &BpfListing) -> Vec<Row> {
    struct Sum {
        totals: Totals,
        live: Option<u64>,
        from: Option<ParentFrom>,
    }
    // outer maps with inner ones are few; their keys are made once
    let outer_keys: HashMap<u32, (Box<str>, Shape)> = listing
        .maps
        .iter()
        .filter(|m| m.shape.map_type.is_outer())
        .map(|m| (m.id, (m.name.clone(), m.shape)))
        .collect();
    let mut sums: HashMap<RowKey, Sum> = HashMap::new();
    let mut last: Option<(RowKey, Sum)> = None;
    for p in priced {
        let parent = p.parent.and_then(|parent| outer_keys.get(&parent.outer)).cloned();
        let key: RowKey = (p.owner, parent, name_or_pin(p.map), p.map.shape);
        let same = last.as_ref().is_some_and(|(k, _)| *k == key);
        if !same {
            if let Some((k, sum)) = last.take() {
                sums.insert(k, sum);
            }
            let sum = sums.remove(&key).unwrap_or(Sum {
                totals: Totals::default(),
                live: Some(0),
                from: p.parent.map(|parent| parent.from),
            });
            last = Some((key, sum));
        }
        let Some((_, sum)) = &mut last else { continue };
        sum.totals.add(&p.costs, p.map.memlock);
        sum.live = sum.live.zip(p.costs.live).map(|(a, b)| a + b);
        sum.from = sum.from.max(p.parent.map(|parent| parent.from));
    }
    sums.extend(last);

    let mut rows: Vec<Row> = sums
        .into_iter()
        .map(|((owner, parent, name, shape), sum)| Row {
            owner: owners.name(owner),
            parent_from: parent.as_ref().and(sum.from),
            parent: parent.map(|(name, _)| name),
            name,
            map_type: shape.map_type.to_string(),
            entries_max: shape.max_entries,
            live: sum.live,
            why: rules::why(profile, &shape, &sum.totals, sum.live),
            totals: sum.totals,
            shape,
        })
        .collect();
    // by owner's size, then by size with what is inside, inner maps right after their outer map
    let mut owner_sum: HashMap<Box<str>, u64> = HashMap::new();
    let mut inside: HashMap<(Box<str>, Box<str>), u64> = HashMap::new();
    for row in &rows {
        *owner_sum.entry(row.owner.clone()).or_default() += row.totals.memlock;
        if let Some(parent) = &row.parent {
            *inside.entry((row.owner.clone(), parent.clone())).or_default() += row.totals.memlock;
        }
    }
    rows.sort_by_cached_key(|row| {
        let family: Box<str> = row.parent.clone().unwrap_or_else(|| row.name.clone());
        let is_outer = row.shape.map_type.is_outer();
        let with_inner = match (&row.parent, is_outer) {
            (None, false) => row.totals.memlock,
            (_, _) => inside.get(&(row.owner.clone(), family.clone())).copied().unwrap_or(0) + 1,
        };
        (
            std::cmp::Reverse(owner_sum[&row.owner]),
            row.owner.clone(),
            std::cmp::Reverse(with_inner.max(row.totals.memlock)),
            family,
            row.parent.is_some(),
            std::cmp::Reverse(row.totals.memlock),
            row.name.clone(),
            row.shape,
        )
    });
    rows
}

fn programs(listing: &BpfListing, priced: &[Priced<'_>]) -> Vec<ProgramView> {
    if listing.progs.is_empty() {
        return Vec::new();
    }
    let memlock: HashMap<u32, u64> = listing.maps.iter().map(|m| (m.id, m.memlock.unwrap_or(0))).collect();
    let mut users: HashMap<u32, u32> = HashMap::new();
    for id in listing.progs.iter().flat_map(|p| &p.map_ids) {
        *users.entry(*id).or_default() += 1;
    }
    // outer maps that cannot be told apart are counted together
    let outers: HashMap<u32, &BpfMap> =
        listing.maps.iter().filter(|m| m.shape.map_type.is_outer()).map(|m| (m.id, m)).collect();
    let mut equal: HashMap<(&str, Shape), u64> = HashMap::new();
    for outer in outers.values() {
        *equal.entry((&outer.name, outer.shape)).or_default() += 1;
    }
    let mut exact: HashMap<u32, (u64, u64)> = HashMap::new();
    let mut together: HashMap<(&str, Shape), (u64, u64)> = HashMap::new();
    for p in priced {
        let Some(parent) = p.parent else { continue };
        let sum = match (parent.from, outers.get(&parent.outer)) {
            (ParentFrom::OneOfEqual, Some(outer)) => together.entry((&outer.name, outer.shape)).or_default(),
            _ => exact.entry(parent.outer).or_default(),
        };
        sum.0 += 1;
        sum.1 += p.map.memlock.unwrap_or(0);
    }
    let inner_of = |id: &u32| -> (u64, u64, u64) {
        let own = exact.get(id).copied().unwrap_or_default();
        let Some(key) = outers.get(id).map(|outer| (&*outer.name, outer.shape)) else { return (0, 0, 0) };
        match together.get(&key) {
            Some(shared) => (own.0 + shared.0, own.1 + shared.1, equal[&key]),
            None => (own.0, own.1, 1),
        }
    };
    let mut programs: Vec<ProgramView> = listing
        .progs
        .iter()
        .map(|prog| {
            let sum = |of: &dyn Fn(&u32) -> u64| prog.map_ids.iter().map(of).sum();
            let bytes = |id: &u32| memlock.get(id).copied().unwrap_or(0);
            ProgramView {
                id: prog.id,
                name: prog.name.clone(),
                prog_type: prog.prog_type.clone(),
                owner: owners::of_prog(prog).unwrap_or_else(|| owners::NOBODY.into()),
                maps: prog.map_ids.len() as u64,
                memlock: sum(&bytes),
                shared_memlock: sum(&|id| if users[id] > 1 { bytes(id) } else { 0 }),
                inner_maps: sum(&|id| inner_of(id).0),
                inner_memlock: sum(&|id| inner_of(id).1),
                inner_among: prog.map_ids.iter().map(|id| inner_of(id).2).max().unwrap_or(0),
            }
        })
        .collect();
    programs.sort_by(|a, b| (b.memlock, a.id).cmp(&(a.memlock, b.id)));
    programs
}

/// The same maps elsewhere: under the other eras, and on bigger machines.
fn elsewhere(priced: &[Priced<'_>], profile: &Profile) -> (Vec<OtherKernel>, Vec<OtherCpus>) {
    let mut kinds: BTreeMap<(Shape, Option<u64>), u64> = BTreeMap::new();
    for p in priced {
        *kinds.entry((p.map.shape, p.costs.live)).or_default() += 1;
    }
    let sum = |profile: &Profile| -> u64 {
        kinds
            .iter()
            .map(|((shape, live), n)| n * reported(profile, shape, live.unwrap_or(0)).unwrap_or(0))
            .fold(0, u64::saturating_add)
    };
    let others = [(Era::Charge, Version(5, 10)), (Era::Footprint, Version(6, 1)), (Era::Usage, Version(6, 12))];
    let kernels = others
        .into_iter()
        .filter(|(era, _)| *era != profile.era)
        .map(|(era, version)| OtherKernel {
            kernels: era.kernels(),
            version: version.to_string(),
            memlock: sum(&Profile::builtin(version, profile.cpus)),
            lower_bound: era == Era::Usage && kinds.keys().any(|(s, live)| live.is_none() && counts_entries(s)),
        })
        .collect();
    let cpus = [8, 32, 64, 128]
        .into_iter()
        .filter(|n| *n > profile.cpus)
        .map(|cpus| {
            let other = Profile { cpus, ..profile.clone() };
            let real = kinds.iter().map(|((shape, live), n)| {
                n * real(&other, shape, Contents { live: *live, branch_nodes: None }).map_or(0, |r| r.bytes)
            });
            OtherCpus { cpus, memlock: sum(&other), real: real.fold(0, u64::saturating_add) }
        })
        .collect();
    (kernels, cpus)
}
