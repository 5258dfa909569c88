//! What a kernel's build contributes to the formulas: structure sizes and the few switches between versions.

use std::fmt;
use std::str::FromStr;

use super::Era;

/// A kernel version, as far as formulas depend on it: major and minor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version(pub u32, pub u32);

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.0, self.1)
    }
}

impl FromStr for Version {
    type Err = String;
    /// Reads `6.1`, `v6.1`, `6.1.0-56-cloud-amd64`; a major version alone means its `.0`.
    fn from_str(s: &str) -> Result<Self, String> {
        let bad = || format!("`{s}` is no kernel version; expected one like 6.1 or 5.15.0-91-generic");
        let text = s.trim();
        let text = text.strip_prefix(['v', 'V']).unwrap_or(text);
        let mut parts = text.split(|c: char| !c.is_ascii_digit());
        let major = parts.next().and_then(|p| p.parse().ok()).ok_or_else(bad)?;
        let minor = if text.contains('.') { parts.next().and_then(|p| p.parse().ok()).ok_or_else(bad)? } else { 0 };
        Ok(Self(major, minor))
    }
}

/// A kernel structure whose size is part of a map's number and depends on version and build options.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(usize)]
pub enum Header {
    /// `struct bpf_array`.
    Array,
    /// `struct bpf_htab`.
    Htab,
    /// `struct lpm_trie_node`.
    LpmNode,
    /// `struct lpm_trie`.
    LpmTrie,
    /// `struct bpf_stack_map`.
    StackMap,
    /// `struct bpf_queue_stack`.
    QueueStack,
    /// `struct bpf_bloom_filter`.
    Bloom,
    /// `struct bpf_ringbuf_map`.
    Ringbuf,
    /// `struct bpf_cpu_map`.
    Cpumap,
    /// `struct bpf_dtab`.
    Dtab,
    /// `struct xsk_map`.
    Xsk,
    /// `struct reuseport_array`.
    Reuseport,
    /// `struct bpf_stab`.
    Stab,
    /// `struct bpf_shtab`.
    Shtab,
    /// `struct bpf_local_storage_map`.
    LocalStorage,
    /// `struct bpf_cgroup_storage_map`.
    CgroupStorage,
    /// `struct bpf_insn_array`.
    InsnArray,
    /// `struct bpf_rhtab`.
    Rhtab,
}

/// Number of [`Header`]s.
pub const HEADERS: usize = 18;

impl Header {
    /// Every header, in the order of the tables.
    pub const ALL: [Self; HEADERS] = [
        Self::Array,
        Self::Htab,
        Self::LpmNode,
        Self::LpmTrie,
        Self::StackMap,
        Self::QueueStack,
        Self::Bloom,
        Self::Ringbuf,
        Self::Cpumap,
        Self::Dtab,
        Self::Xsk,
        Self::Reuseport,
        Self::Stab,
        Self::Shtab,
        Self::LocalStorage,
        Self::CgroupStorage,
        Self::InsnArray,
        Self::Rhtab,
    ];

    /// The structure's name in the kernel, as BTF has it.
    pub fn struct_name(self) -> &'static str {
        match self {
            Self::Array => "bpf_array",
            Self::Htab => "bpf_htab",
            Self::LpmNode => "lpm_trie_node",
            Self::LpmTrie => "lpm_trie",
            Self::StackMap => "bpf_stack_map",
            Self::QueueStack => "bpf_queue_stack",
            Self::Bloom => "bpf_bloom_filter",
            Self::Ringbuf => "bpf_ringbuf_map",
            Self::Cpumap => "bpf_cpu_map",
            Self::Dtab => "bpf_dtab",
            Self::Xsk => "xsk_map",
            Self::Reuseport => "reuseport_array",
            Self::Stab => "bpf_stab",
            Self::Shtab => "bpf_shtab",
            Self::LocalStorage => "bpf_local_storage_map",
            Self::CgroupStorage => "bpf_cgroup_storage_map",
            Self::InsnArray => "bpf_insn_array",
            Self::Rhtab => "bpf_rhtab",
        }
    }

    /// It begins with a `struct bpf_map` and nothing in it forces cache-line alignment, so it grows with `bpf_map`.
    pub fn follows_map(self) -> bool {
        !matches!(self, Self::Htab | Self::LpmNode | Self::Rhtab)
    }
}

/// Where a profile's structure sizes come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// The built-in table, for this version.
    Table(Version),
    /// The kernel's own BTF.
    Btf,
}

/// Per-CPU parts of redirect maps that [`Era::Charge`] kernels counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flush {
    /// Nothing (from 5.6).
    None,
    /// A list head per CPU (5.3 to 5.5).
    Lists,
    /// A bit per slot and CPU, in whole words (before 5.3).
    Bitmaps,
}

/// Everything about a kernel that its maps' sizes depend on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Profile {
    /// Version the switches follow.
    pub version: Version,
    /// Meaning of `memlock`.
    pub era: Era,
    /// Possible CPUs (not online ones: machines with hot-plug differ).
    pub cpus: u32,
    /// Page size in bytes.
    pub page: u64,
    /// Structure sizes, in the order of [`Header::ALL`].
    pub sizes: [u64; HEADERS],
    /// `sizeof(struct htab_elem)`: 48 on every 64-bit kernel seen.
    pub element_header: u64,
    /// `sizeof(struct bucket)`: 16, more with lock debugging.
    pub bucket: u64,
    /// `sizeof(struct bpf_dtab_netdev)`.
    pub netdev_entry: u64,
    /// 32 bytes per CPU are reported for a hash's map locks: 6.4 up to 6.19, though the locks went in 6.16.
    pub lock_line: bool,
    /// A preallocated hash of maps has one spare element per CPU: up to 6.12 for sure, not from 6.16.
    pub hash_of_maps_spare: bool,
    /// Devmaps were charged: in mainline before 5.11, not in Debian's 5.10.223.
    pub devmap_charged: bool,
    /// Stack traces were charged per bucket (a power of two) and not per entry: before 5.11, but for the stable 5.4 and
    /// 5.10 that took the fix of upstream b45043192b3e.
    pub stacks_by_bucket: bool,
    /// The structure of an xskmap was charged with its slots (from 5.7).
    pub xsk_struct_charged: bool,
    /// What devmaps, cpumaps and xskmaps were charged besides their slots.
    pub flush: Flush,
    /// Where the sizes come from.
    pub origin: Origin,
}

/// Sizes by kernel, in the order of [`Header::ALL`]. From the BTF of Debian's kernels (6.18: Debian's, not mainline's
/// defaults), but 6.6: `bpf_array` and `bpf_htab` from a public listing of a 6.6 machine (4 CPUs), the others from them
/// by alignment. A structure that a kernel does not have carries the size of the next kernel that has it.
const TABLE: &[(Version, [u64; HEADERS], u64)] = &[
    (Version(5, 10), [320, 640, 40, 320, 320, 320, 320, 320, 320, 320, 264, 256, 320, 320, 320, 320, 304, 536], 72),
    (Version(6, 1), [320, 832, 40, 320, 320, 320, 320, 320, 320, 320, 264, 256, 320, 320, 320, 320, 304, 536], 72),
    (Version(6, 6), [448, 1024, 40, 448, 448, 448, 448, 448, 448, 448, 448, 384, 512, 512, 576, 448, 304, 536], 64),
    (Version(6, 12), [264, 896, 40, 288, 288, 264, 264, 256, 256, 296, 256, 248, 328, 336, 432, 280, 304, 536], 64),
    (Version(6, 16), [264, 832, 24, 352, 272, 264, 264, 256, 256, 296, 256, 248, 328, 336, 400, 280, 304, 536], 64),
    (Version(6, 18), [304, 832, 24, 392, 312, 304, 304, 296, 296, 336, 296, 288, 368, 376, 440, 320, 304, 536], 64),
    (Version(6, 19), [304, 832, 24, 392, 312, 304, 304, 296, 296, 336, 296, 288, 368, 376, 312, 320, 304, 536], 64),
    (Version(7, 0), [304, 896, 24, 408, 312, 304, 304, 296, 296, 336, 296, 288, 368, 376, 312, 320, 304, 536], 64),
    (Version(7, 2), [304, 896, 24, 408, 328, 304, 304, 296, 296, 336, 296, 288, 368, 376, 304, 320, 304, 536], 64),
    (Version(7, 3), [296, 896, 24, 400, 320, 296, 296, 288, 288, 328, 288, 280, 360, 368, 296, 312, 296, 528], 64),
];

impl Profile {
    /// The built-in profile for a version: its own column when there is one, else the nearest older one (6.8 to 6.11
    /// have 6.12's layout, since `struct bpf_map` lost its cache-line alignment in 6.8).
    pub fn builtin(version: Version, cpus: u32) -> Self {
        let looked_up = match version {
            Version(6, 8..=11) => Version(6, 12),
            Version(6, 4 | 5) => Version(6, 6),
            other => other,
        };
        let (table_version, sizes, netdev_entry) =
            TABLE.iter().rev().find(|(v, ..)| *v <= looked_up).unwrap_or(&TABLE[0]);
        Self {
            version,
            era: Era::of(version),
            cpus: cpus.max(1),
            page: 4096,
            sizes: *sizes,
            element_header: 48,
            bucket: 16,
            netdev_entry: *netdev_entry,
            lock_line: version < Version(7, 0),
            hash_of_maps_spare: version < Version(6, 16),
            devmap_charged: version < Version(5, 10),
            stacks_by_bucket: !matches!(version, Version(5, 4 | 10)),
            xsk_struct_charged: version >= Version(5, 7),
            flush: match version {
                v if v < Version(5, 3) => Flush::Bitmaps,
                v if v < Version(5, 6) => Flush::Lists,
                _ => Flush::None,
            },
            origin: Origin::Table(*table_version),
        }
    }

    /// The versions of the built-in table.
    pub fn table_versions() -> impl Iterator<Item = Version> {
        TABLE.iter().map(|(v, ..)| *v)
    }

    /// Size of a structure in bytes.
    pub fn size(&self, header: Header) -> u64 {
        self.sizes[header as usize]
    }

    /// Sets the size of a structure.
    pub fn set_size(&mut self, header: Header, bytes: u64) {
        self.sizes[header as usize] = bytes;
    }
}
