//! What a BPF map costs, as the kernel computes it.
//!
//! `bytes_memlock` has had three meanings ([`Era`]). [`reported`] is the number the kernel prints, exact;
//! [`real::real`] is what the node loses. Both are pure functions of a [`Profile`] (what the kernel was built with),
//! a [`Shape`] (what the map was created with) and the number of live entries. [`solve`] finds the profile from
//! maps whose number is known.

pub mod grid;
pub mod profile;
pub mod real;
pub mod solve;

use crate::model::bpf::{MapType, Shape, flag};

pub use profile::{Flush, Header, Profile, Version};

/// What the kernel means by `memlock`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Era {
    /// Before 5.11: pages charged against `RLIMIT_MEMLOCK` when the map was created, the worst case of its shape
    /// (`bpf_map_charge_init`, `kernel/bpf/syscall.c`).
    Charge,
    /// 5.11 to 6.3: `bpf_map_memory_footprint` of `kernel/bpf/syscall.c`, a product of the declared sizes that has
    /// nothing to do with what was allocated.
    Footprint,
    /// From 6.4: the map type's `map_mem_usage` callback; follows live entries where they are allocated one by one.
    Usage,
}

impl Era {
    /// The mainline era of a kernel version. Distributions back-port: prefer what the data shows.
    pub fn of(version: Version) -> Self {
        if version < Version(5, 11) {
            Self::Charge
        } else if version < Version(6, 4) {
            Self::Footprint
        } else {
            Self::Usage
        }
    }

    /// The kernels it spans, in words.
    pub fn kernels(self) -> &'static str {
        match self {
            Self::Charge => "before 5.11",
            Self::Footprint => "5.11 to 6.3",
            Self::Usage => "6.4 and later",
        }
    }
}

/// `max_entries` as the kernel keeps it: rounded up to a multiple of the possible CPUs for per-CPU LRU lists
/// (`htab_map_alloc`, `kernel/bpf/hashtab.c`, all versions).
pub fn kept_max_entries(shape: &Shape, cpus: u32) -> u64 {
    let asked = u64::from(shape.max_entries);
    match shape.map_type {
        MapType::LruHash | MapType::LruPercpuHash if shape.has(flag::NO_COMMON_LRU) => {
            asked.next_multiple_of(u64::from(cpus.max(1)))
        }
        _ => asked,
    }
}

/// True when the reported number counts live entries (in [`Era::Usage`]).
pub fn counts_entries(shape: &Shape) -> bool {
    match shape.map_type {
        MapType::Hash | MapType::PercpuHash | MapType::HashOfMaps => shape.has(flag::NO_PREALLOC),
        MapType::LpmTrie | MapType::Sockhash | MapType::Devmap | MapType::DevmapHash | MapType::Xskmap => true,
        MapType::Rhash => true,
        _ => false,
    }
}

/// True when every element exists from the start, filled or not.
pub fn preallocated(shape: &Shape) -> bool {
    match shape.map_type {
        MapType::Hash | MapType::PercpuHash | MapType::HashOfMaps => !shape.has(flag::NO_PREALLOC),
        MapType::LruHash
        | MapType::LruPercpuHash
        | MapType::Array
        | MapType::PercpuArray
        | MapType::ArrayOfMaps
        | MapType::Queue
        | MapType::Stack
        | MapType::StackTrace => true,
        _ => false,
    }
}

/// A reported size before rounding: `header · count + body`, so that any of the three can be solved for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parts {
    /// The structure whose size depends on the kernel's build, and how often it counts (live nodes of a trie).
    pub header: Option<(Header, u64)>,
    /// The structure is page-rounded by itself (`BPF_F_MMAPABLE`).
    pub header_paged: bool,
    /// Bytes that do not depend on a structure of the build.
    pub body: u64,
    /// The sum is rounded up to a page.
    pub paged: bool,
}

impl Parts {
    /// The number, with this size of the header.
    pub fn total(&self, header_bytes: u64, page: u64) -> u64 {
        let header = self.header.map_or(0, |(_, count)| header_bytes.saturating_mul(count));
        let header = if self.header_paged { header.next_multiple_of(page) } else { header };
        let sum = header.saturating_add(self.body);
        if self.paged { round_up(sum, page) } else { sum }
    }
}

/// `memlock` of a map of this shape with `live` entries; none where the kernel's formula is not known
/// (`struct_ops`, types newer than this table).
///
/// Source: `kernel/bpf/*.c` of Debian's 5.10.223, 6.1.192, 6.12.117 and 7.2.13, checked against runs of each.
pub fn reported(profile: &Profile, shape: &Shape, live: u64) -> Option<u64> {
    let parts = parts(profile, shape, live)?;
    let header = parts.header.map_or(0, |(header, _)| profile.size(header));
    Some(parts.total(header, profile.page))
}

/// The terms of [`reported`].
pub fn parts(profile: &Profile, shape: &Shape, live: u64) -> Option<Parts> {
    match profile.era {
        Era::Charge => charge(profile, shape),
        Era::Footprint => footprint(profile, shape),
        Era::Usage => usage(profile, shape, live),
    }
}

/// The number of live entries that gives this `memlock`: none when the type does not count entries, or when no whole
/// number does, which means that the profile is not this kernel's.
pub fn live_entries(profile: &Profile, shape: &Shape, memlock: u64) -> Option<u64> {
    if profile.era != Era::Usage || !counts_entries(shape) {
        return None;
    }
    let empty = reported(profile, shape, 0)?;
    let step = reported(profile, shape, 1)? - empty;
    let above = memlock.checked_sub(empty)?;
    (above % step == 0).then_some(above / step)
}

fn charge(profile: &Profile, shape: &Shape) -> Option<Parts> {
    let Sizes { n, key8, value8, value, cpus } = Sizes::of(profile, shape);
    let plain = |header, body| Some(Parts { header, header_paged: false, body, paged: true });
    let with = |header, body| plain(Some((header, 1)), body);
    let element = profile.element_header + key8;
    let flush = match profile.flush {
        Flush::None => 0,
        Flush::Lists => 16 * cpus,
        Flush::Bitmaps => mul(n.div_ceil(64) * 8, cpus),
    };
    match shape.map_type {
        MapType::Array if shape.has(flag::MMAPABLE) => Some(Parts {
            header: Some((Header::Array, 1)),
            header_paged: true,
            body: round_up(mul(n, value8), profile.page),
            paged: true,
        }),
        MapType::Array => with(Header::Array, mul(n, value8)),
        MapType::ProgArray | MapType::PerfEventArray | MapType::CgroupArray | MapType::ArrayOfMaps => {
            with(Header::Array, mul(n, 8))
        }
        MapType::PercpuArray => with(Header::Array, mul(n, 8 + mul(value8, cpus))),
        // the spare elements are charged for LRU maps and for NO_PREALLOC ones alike
        MapType::Hash | MapType::LruHash => plain(None, mul(profile.bucket, pow2(n)) + mul(element + value8, n + cpus)),
        MapType::HashOfMaps => plain(None, mul(profile.bucket, pow2(n)) + mul(element + 8, n + cpus)),
        MapType::PercpuHash | MapType::LruPercpuHash => {
            plain(None, mul(profile.bucket, pow2(n)) + mul(element + 8, n) + mul(mul(value8, cpus), n))
        }
        // node header, value and prefix data for every entry the map may hold
        MapType::LpmTrie => with(Header::LpmTrie, mul(n, 40 + value + lpm_data(shape))),
        MapType::StackTrace => {
            let charged = if profile.stacks_by_bucket { pow2(n) } else { n };
            with(Header::StackMap, mul(8, pow2(n)) + mul(charged, 16 + value))
        }
        MapType::Queue | MapType::Stack => with(Header::QueueStack, mul(n + 1, value)),
        MapType::Ringbuf => with(Header::Ringbuf, 3 * profile.page + n),
        MapType::Sockmap => plain(None, mul(8, n)),
        MapType::Cpumap => plain(None, mul(8, n) + flush),
        MapType::Sockhash => plain(None, mul(profile.bucket, pow2(n)) + mul(n, 48 + key8)),
        MapType::ReuseportSockarray => with(Header::Reuseport, mul(8, n)),
        MapType::Xskmap if !profile.xsk_struct_charged => plain(None, mul(8, n) + flush),
        MapType::Xskmap => with(Header::Xsk, mul(8, n)),
        MapType::Devmap if profile.devmap_charged => plain(None, mul(8, n) + flush),
        MapType::DevmapHash if profile.devmap_charged => plain(None, mul(8, pow2(n)) + flush),
        MapType::Devmap | MapType::DevmapHash => plain(None, 0),
        MapType::SkStorage | MapType::InodeStorage | MapType::TaskStorage => {
            with(Header::LocalStorage, mul(16, storage_buckets(cpus)))
        }
        MapType::CgroupStorage | MapType::PercpuCgroupStorage => with(Header::CgroupStorage, 0),
        _ => None,
    }
}

fn footprint(profile: &Profile, shape: &Shape) -> Option<Parts> {
    let Sizes { n, value8, value, cpus, .. } = Sizes::of(profile, shape);
    let value = match shape.map_type {
        MapType::PercpuArray | MapType::PercpuHash | MapType::LruPercpuHash | MapType::PercpuCgroupStorage => {
            mul(value8, cpus)
        }
        MapType::ProgArray
        | MapType::PerfEventArray
        | MapType::CgroupArray
        | MapType::ArrayOfMaps
        | MapType::HashOfMaps => 4,
        MapType::Unknown(_) => return None,
        _ => value,
    };
    let element = round_up(u64::from(shape.key) + value, 8);
    Some(Parts { header: None, header_paged: false, body: mul(n, element), paged: true })
}

fn usage(profile: &Profile, shape: &Shape, live: u64) -> Option<Parts> {
    let Sizes { n, key8, value8, value, cpus } = Sizes::of(profile, shape);
    let with = |header, body| Some(Parts { header: Some((header, 1)), header_paged: false, body, paged: false });
    let element = profile.element_header + key8;
    let prealloc = preallocated(shape);
    // struct bpf_htab, its buckets, and the line that counts its per-CPU locks
    let table = |body: u64| {
        with(Header::Htab, mul(profile.bucket, pow2(n)) + if profile.lock_line { 32 * cpus } else { 0 } + body)
    };
    match shape.map_type {
        MapType::Array if shape.has(flag::MMAPABLE) => Some(Parts {
            header: Some((Header::Array, 1)),
            header_paged: true,
            body: round_up(mul(n, value8), profile.page),
            paged: false,
        }),
        MapType::Array => with(Header::Array, mul(n, value8)),
        MapType::ProgArray | MapType::PerfEventArray | MapType::CgroupArray | MapType::ArrayOfMaps => {
            with(Header::Array, mul(n, 8))
        }
        MapType::PercpuArray => with(Header::Array, mul(n, 8 + mul(value8, cpus))),
        MapType::Hash if prealloc => table(mul(element + value8, n + cpus) + 8 * cpus),
        MapType::Hash => table(mul(element + value8 + 8, live)),
        MapType::HashOfMaps if prealloc => {
            let spare = if profile.hash_of_maps_spare { cpus } else { 0 };
            table(mul(element + 8, n + spare) + 8 * cpus)
        }
        MapType::HashOfMaps => table(mul(element + 16, live)),
        MapType::PercpuHash if prealloc => table(mul(element + 8 + mul(value8, cpus), n)),
        MapType::PercpuHash => table(mul(live, element + 8 + 8 + 16 + mul(value8, cpus))),
        MapType::LruHash => table(mul(element + value8, n)),
        MapType::LruPercpuHash => table(mul(element + 8 + mul(value8, cpus), n)),
        // one structure per live entry; the trie itself and its intermediate nodes are not counted
        MapType::LpmTrie => Some(Parts {
            header: Some((Header::LpmNode, live)),
            header_paged: false,
            body: mul(live, lpm_data(shape) + value),
            paged: false,
        }),
        MapType::StackTrace => with(Header::StackMap, mul(8, pow2(n)) + mul(n, 16 + value)),
        MapType::Queue | MapType::Stack => with(Header::QueueStack, mul(n + 1, value)),
        MapType::BloomFilter => with(Header::Bloom, bloom_bits(shape) / 8),
        MapType::Ringbuf | MapType::UserRingbuf => {
            let pages = n / profile.page;
            with(Header::Ringbuf, mul(3 + pages, profile.page) + (3 + 2 * pages) * 8)
        }
        MapType::Sockmap => with(Header::Stab, mul(8, n)),
        MapType::Sockhash => with(Header::Shtab, mul(profile.bucket, pow2(n)) + mul(live, 48 + key8)),
        MapType::Devmap => with(Header::Dtab, mul(8, n) + mul(live, profile.netdev_entry)),
        MapType::DevmapHash => with(Header::Dtab, mul(8, pow2(n)) + mul(live, profile.netdev_entry)),
        MapType::Cpumap => with(Header::Cpumap, mul(8, n)),
        MapType::Xskmap => with(Header::Xsk, mul(8, n) + mul(live, 32)),
        MapType::ReuseportSockarray => with(Header::Reuseport, mul(8, n)),
        MapType::SkStorage | MapType::TaskStorage | MapType::InodeStorage | MapType::CgrpStorage => {
            with(Header::LocalStorage, mul(16, storage_buckets(cpus)))
        }
        MapType::CgroupStorage | MapType::PercpuCgroupStorage => with(Header::CgroupStorage, 0),
        MapType::Arena => Some(Parts { header: None, header_paged: false, body: 0, paged: false }),
        MapType::InsnArray => with(Header::InsnArray, mul(24, n)),
        MapType::Rhash => with(Header::Rhtab, mul(live, 8 + key8 + value8)),
        MapType::StructOps | MapType::Unknown(_) => None,
    }
}

/// The declared sizes, widened and rounded as every formula needs them.
pub(crate) struct Sizes {
    pub(crate) n: u64,
    pub(crate) key8: u64,
    pub(crate) value8: u64,
    pub(crate) value: u64,
    pub(crate) cpus: u64,
}

impl Sizes {
    pub(crate) fn of(profile: &Profile, shape: &Shape) -> Self {
        Self {
            n: kept_max_entries(shape, profile.cpus),
            key8: round_up(u64::from(shape.key), 8),
            value8: round_up(u64::from(shape.value), 8),
            value: u64::from(shape.value),
            cpus: u64::from(profile.cpus),
        }
    }
}

/// Bits of a bloom filter's bitmap: entries · hashes / ln 2 in integers, then a power of two of at least one word
/// (`bloom_map_alloc`, `kernel/bpf/bloom_filter.c`). Five hashes when `map_extra` names none.
pub(crate) fn bloom_bits(shape: &Shape) -> u64 {
    let hashes = match shape.extra & 0xf {
        0 => 5,
        hashes => hashes,
    };
    let bits = u64::from(shape.max_entries) * hashes / 5 * 7;
    if bits <= 64 { 64 } else { pow2(bits).min(1 << 32) }
}

/// Bytes of prefix data in a trie's key: the key without its length word.
pub(crate) fn lpm_data(shape: &Shape) -> u64 {
    u64::from(shape.key).saturating_sub(4)
}

/// Buckets of a local storage map: a power of two of at least two (`bpf_local_storage.c`).
pub(crate) fn storage_buckets(cpus: u64) -> u64 {
    pow2(cpus).max(2)
}

pub(crate) fn pow2(n: u64) -> u64 {
    n.max(1).next_power_of_two()
}

pub(crate) fn round_up(n: u64, to: u64) -> u64 {
    n.div_ceil(to).saturating_mul(to)
}

pub(crate) fn mul(a: u64, b: u64) -> u64 {
    a.saturating_mul(b)
}
