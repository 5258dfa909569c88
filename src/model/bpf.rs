//! BPF maps and programs as `bpftool` shows them, reduced to what is priced, attributed or compared.

use std::fmt;

/// The kernel's `BPF_F_*` map flags that change a size or a meaning (`include/uapi/linux/bpf.h`).
pub mod flag {
    /// `BPF_F_NO_PREALLOC`: elements are allocated when inserted.
    pub const NO_PREALLOC: u32 = 1;
    /// `BPF_F_NO_COMMON_LRU`: one LRU list per CPU; `max_entries` is rounded up to a multiple of the CPUs.
    pub const NO_COMMON_LRU: u32 = 1 << 1;
    /// `BPF_F_MMAPABLE`: user space may map the array, so it is page aligned.
    pub const MMAPABLE: u32 = 1 << 10;
    /// Every flag by the name without its `BPF_F_` prefix.
    pub const NAMES: &[(&str, u32)] = &[
        ("NO_PREALLOC", 1),
        ("NO_COMMON_LRU", 1 << 1),
        ("NUMA_NODE", 1 << 2),
        ("RDONLY", 1 << 3),
        ("WRONLY", 1 << 4),
        ("STACK_BUILD_ID", 1 << 5),
        ("ZERO_SEED", 1 << 6),
        ("RDONLY_PROG", 1 << 7),
        ("WRONLY_PROG", 1 << 8),
        ("CLONE", 1 << 9),
        ("MMAPABLE", 1 << 10),
        ("PRESERVE_ELEMS", 1 << 11),
        ("INNER_MAP", 1 << 12),
        ("LINK", 1 << 13),
        ("PATH_FD", 1 << 14),
        ("VTYPE_BTF_OBJ_FD", 1 << 15),
        ("TOKEN_FD", 1 << 16),
        ("SEGV_ON_FAULT", 1 << 17),
        ("NO_USER_CONV", 1 << 18),
        ("RB_OVERWRITE", 1 << 19),
    ];
}

macro_rules! map_types {
    ($($variant:ident = $number:literal, $name:literal, since $major:literal, $minor:literal;)*) => {
        /// A map type: the kernel's `enum bpf_map_type`, under bpftool's names.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum MapType {
            $(#[doc = concat!("`", $name, "`, from kernel ", $major, ".", $minor, ".")] $variant,)*
            /// A number this list does not know: newer than it, or from a kernel with types of its own.
            Unknown(u32),
        }

        impl MapType {
            /// Every known type.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// The type with this number of `enum bpf_map_type`.
            pub fn from_number(number: u32) -> Self {
                match number { $($number => Self::$variant,)* other => Self::Unknown(other) }
            }

            /// Its number in `enum bpf_map_type`.
            pub fn number(self) -> u32 {
                match self { $(Self::$variant => $number,)* Self::Unknown(number) => number }
            }

            /// bpftool's name; `unknown` without a number for a type this list does not know.
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* Self::Unknown(_) => "unknown" }
            }

            /// The first mainline kernel (major, minor) that has the type.
            pub fn since(self) -> Option<(u32, u32)> {
                match self { $(Self::$variant => Some(($major, $minor)),)* Self::Unknown(_) => None }
            }

            /// The type with this name: bpftool's, or the kernel's with or without `BPF_MAP_TYPE_`, in any case.
            pub fn from_name(name: &str) -> Option<Self> {
                let name = name.trim();
                let lower = name.to_ascii_lowercase();
                let short = lower.strip_prefix("bpf_map_type_").unwrap_or(&lower);
                match short {
                    $($name => Some(Self::$variant),)*
                    "cgrp_storage_deprecated" | "cgroup_storage_deprecated" => Some(Self::CgroupStorage),
                    "percpu_cgroup_storage_deprecated" => Some(Self::PercpuCgroupStorage),
                    "rhashtab" | "rhtab" | "resizable_hash" => Some(Self::Rhash),
                    digits => digits.parse().ok().map(Self::from_number),
                }
            }
        }
    };
}

map_types! {
    Hash = 1, "hash", since 3, 19;
    Array = 2, "array", since 3, 19;
    ProgArray = 3, "prog_array", since 4, 2;
    PerfEventArray = 4, "perf_event_array", since 4, 3;
    PercpuHash = 5, "percpu_hash", since 4, 6;
    PercpuArray = 6, "percpu_array", since 4, 6;
    StackTrace = 7, "stack_trace", since 4, 6;
    CgroupArray = 8, "cgroup_array", since 4, 8;
    LruHash = 9, "lru_hash", since 4, 10;
    LruPercpuHash = 10, "lru_percpu_hash", since 4, 10;
    LpmTrie = 11, "lpm_trie", since 4, 11;
    ArrayOfMaps = 12, "array_of_maps", since 4, 12;
    HashOfMaps = 13, "hash_of_maps", since 4, 12;
    Devmap = 14, "devmap", since 4, 14;
    Sockmap = 15, "sockmap", since 4, 14;
    Cpumap = 16, "cpumap", since 4, 15;
    Xskmap = 17, "xskmap", since 4, 18;
    Sockhash = 18, "sockhash", since 4, 18;
    CgroupStorage = 19, "cgroup_storage", since 4, 19;
    ReuseportSockarray = 20, "reuseport_sockarray", since 4, 19;
    PercpuCgroupStorage = 21, "percpu_cgroup_storage", since 4, 20;
    Queue = 22, "queue", since 4, 20;
    Stack = 23, "stack", since 4, 20;
    SkStorage = 24, "sk_storage", since 5, 2;
    DevmapHash = 25, "devmap_hash", since 5, 4;
    StructOps = 26, "struct_ops", since 5, 6;
    Ringbuf = 27, "ringbuf", since 5, 8;
    InodeStorage = 28, "inode_storage", since 5, 10;
    TaskStorage = 29, "task_storage", since 5, 11;
    BloomFilter = 30, "bloom_filter", since 5, 16;
    UserRingbuf = 31, "user_ringbuf", since 6, 1;
    CgrpStorage = 32, "cgrp_storage", since 6, 2;
    Arena = 33, "arena", since 6, 9;
    InsnArray = 34, "insn_array", since 6, 19;
    Rhash = 35, "rhash", since 7, 2;
}

impl MapType {
    /// It holds other maps.
    pub fn is_outer(self) -> bool {
        matches!(self, Self::ArrayOfMaps | Self::HashOfMaps)
    }

    /// Its values exist once per possible CPU.
    pub fn is_percpu(self) -> bool {
        matches!(self, Self::PercpuArray | Self::PercpuHash | Self::LruPercpuHash | Self::PercpuCgroupStorage)
    }
}

impl fmt::Display for MapType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown(number) => write!(f, "type {number}"),
            known => f.pad(known.name()),
        }
    }
}

/// What a map was created with: everything its size is a function of, but for what was put into it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Shape {
    /// Type.
    pub map_type: MapType,
    /// `key_size` in bytes.
    pub key: u32,
    /// `value_size` in bytes.
    pub value: u32,
    /// `max_entries`: as shown by the kernel, or as asked for (see [`flag::NO_COMMON_LRU`]).
    pub max_entries: u32,
    /// `map_flags`.
    pub flags: u32,
    /// `map_extra`: the number of hashes of a bloom filter in its low four bits.
    pub extra: u64,
}

impl Shape {
    /// True when the flag is set.
    pub fn has(&self, flag: u32) -> bool {
        self.flags & flag != 0
    }
}

/// A process that holds a file descriptor of a map or program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// Process id.
    pub pid: u32,
    /// `comm`, cut to 15 characters by the kernel.
    pub comm: Box<str>,
}

/// One map of one listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BpfMap {
    /// Kernel-wide id; grows, and a re-created map has a new one.
    pub id: u32,
    /// Name, cut to 15 characters by the kernel; empty when it has none.
    pub name: Box<str>,
    /// What it was created with.
    pub shape: Shape,
    /// `bytes_memlock`; none when bpftool could not read the map's `fdinfo`.
    pub memlock: Option<u64>,
    /// The number was negative (bpftool before 6.8 printed it through `atoi`) and 2^32 was added.
    pub memlock_wrapped: bool,
    /// Paths it is pinned at; only from `bpftool -f`.
    pub pinned: Vec<Box<str>>,
    /// Processes with a file descriptor of it; only from builds of bpftool that can tell.
    pub holders: Vec<Holder>,
}

/// One program of one listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BpfProg {
    /// Kernel-wide id.
    pub id: u32,
    /// bpftool's name of the program type, or a number as text.
    pub prog_type: Box<str>,
    /// Name; may be empty.
    pub name: Box<str>,
    /// Maps it refers to. Inner maps are in no program's list.
    pub map_ids: Vec<u32>,
    /// Whole pages of the program's image.
    pub memlock: Option<u64>,
    /// Paths it is pinned at.
    pub pinned: Vec<Box<str>>,
    /// Processes with a file descriptor of it.
    pub holders: Vec<Holder>,
}

/// What a `bpftool map dump` says of a map without its contents.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MapDump {
    /// The map's id, when the dump or the file's name tells it.
    pub map_id: Option<u32>,
    /// The map's name, likewise.
    pub map_name: Box<str>,
    /// The last component of the document's name without its extension: people name dumps after maps.
    pub stem: Box<str>,
    /// Entries listed. Plain arrays list every slot, arrays of maps only filled ones.
    pub entries: u64,
    /// Ids of the maps its values refer to: `inner_map_id`, else the value as a little-endian `u32`.
    /// Only a map-in-map's values mean maps.
    pub inner_ids: Vec<u32>,
    /// Bytes of one key, when every key has the same length.
    pub key_bytes: Option<u32>,
    /// Bytes of one value, likewise (of one CPU's for per-CPU maps).
    pub value_bytes: Option<u32>,
    /// CPUs listed per entry, for per-CPU maps.
    pub cpus: Option<u32>,
    /// Entries whose value bpftool could not read.
    pub unreadable: u64,
    /// Intermediate nodes a trie with these keys has; none when the keys are not of a trie's form.
    pub branch_points: Option<u64>,
}

/// Everything one point in time shows.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct BpfListing {
    /// The document it came from.
    pub label: Box<str>,
    /// It is a list, as opposed to the one object of `map show id N`.
    pub is_list: bool,
    /// Maps in the order of the listing (ids ascending).
    pub maps: Vec<BpfMap>,
    /// Programs.
    pub progs: Vec<BpfProg>,
    /// Dumps of maps.
    pub dumps: Vec<MapDump>,
    /// Maps known only by sums (a `jq group_by`): they have neither id nor shape.
    pub sums: Vec<NameSum>,
}

/// One row of `jq 'group_by(.name) | map({name, total_bytes_memlock, maps})'`, which people paste instead of a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NameSum {
    /// Name; empty for unnamed maps.
    pub name: Box<str>,
    /// Sum of `bytes_memlock`.
    pub memlock: u64,
    /// Number of maps.
    pub maps: u64,
}
