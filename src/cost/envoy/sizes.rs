//! Sizes that Envoy computes: tables of balancers, arenas of load assignments, keys, and what the allocator makes of them.

use crate::model::envoy::HostCounts;
use crate::model::weight::Weight;

/// Chains with an RSA key are longer than any with an ECDSA one; the key itself is never in the evidence.
pub(super) fn rsa(chain_bytes: f64) -> f64 {
    f64::from(u8::from(chain_bytes > 950.0))
}

/// Length of the PEM key that belongs to a certificate chain of so many bytes: RSA-2048 or P-256.
pub(super) fn key_bytes(chain_bytes: f64) -> f64 {
    if rsa(chain_bytes) > 0.0 { 1704.0 } else { 227.0 }
}

/// Bytes of a string as Envoy holds it, of one that is written in so many.
pub(super) fn decoded(len_bytes: u32, base64: bool) -> f64 {
    f64::from(len_bytes) * if base64 { 0.75 } else { 1.0 }
}

/// Bytes of one ring: 24 per entry; `ring_hash_lb.cc` scales the smallest weight up to the minimum ring size. Weights
/// are taken as equal: with `hosts` of them, the ring has the least multiple of `hosts` that is not below the minimum.
pub(super) fn ring_bytes(hosts: u32, minimum: Option<u64>, maximum: Option<u64>) -> f64 {
    if hosts == 0 {
        return 0.0;
    }
    let minimum = minimum.unwrap_or(1024);
    let maximum = maximum.unwrap_or(8 << 20);
    let hosts = u64::from(hosts);
    let entries = minimum.div_ceil(hosts).saturating_mul(hosts).min(maximum.max(hosts));
    size_class(entries.saturating_mul(24)) as f64
}

/// Bytes of the protobuf arenas that keep a load assignment, one in the cluster and one for its next generation, as
/// measured on 1.40 (1.36 and 1.38 keep it outside arenas, which their tables' prices say). Blocks double from 256 bytes
/// to 32 KiB: a staircase, with steps at 2, 6, 13, 27, 55 and 107 hosts, and at 2, 5 and 10
/// hosts with five values of metadata each. With more than sixty hosts in a
/// locality the steps come earlier and are smaller; what is taken there is a curve through what was measured (56 to 600
/// hosts), not a mechanism.
pub(super) fn arena_bytes(h: HostCounts, w: Weight) -> f64 {
    let content = 190 + 295 * u64::from(h.hosts) + 50 * u64::from(h.localities) + 105 * u64::from(w.struct_values);
    if h.hosts <= 60 * h.localities || content <= 16_128 {
        let (mut have, mut block) = (0u64, 256u64);
        while have < content {
            have += block;
            block = (block * 2).min(32 << 10);
        }
        return 2.0 * have as f64;
    }
    let filled = ((content as f64 - 16_800.0) / 13_200.0).clamp(0.0, 1.0);
    1.87 * content as f64 + 65_536.0 * (0.5 + 0.5 * filled)
}

/// Bytes of one maglev table: `bit_width(hosts)` bits per slot and 16 bytes per host, or (before 1.26) a shared pointer
/// per slot. A single host needs none: against round robin, 1.40 takes 1.7 KB less for it, and 39.7 KB more for two.
pub(super) fn maglev_bytes(hosts: u32, table_size: Option<u64>, compact: bool) -> f64 {
    if hosts <= 1 {
        return 0.0;
    }
    let slots = table_size.unwrap_or(65_537);
    if !compact {
        return size_class(slots * 16) as f64;
    }
    let bits = u64::from(32 - hosts.leading_zeros());
    (size_class((slots * bits).div_ceil(8)) + size_class(16 * u64::from(hosts))) as f64
}

/// What tcmalloc hands out for a request (`tcmalloc/size_classes.cc`): steps of an eighth of the power of two below,
/// and whole 8 KiB pages above 256 KiB.
pub(super) fn size_class(bytes: u64) -> u64 {
    match bytes {
        0..=16 => bytes.next_multiple_of(8),
        17..=128 => bytes.next_multiple_of(16),
        129..=262_144 => bytes.next_multiple_of((1 << (63 - (bytes - 1).leading_zeros())) / 8),
        _ => bytes.next_multiple_of(8192),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_have_the_sizes_envoy_gives_them() {
        // measured on 1.40: 28.8 KB for ten hosts at the default size, 40.4 KB for maglev
        assert_eq!(ring_bytes(10, None, None), 28_672.0 - 2_048.0 * 1.0);
        assert_eq!(maglev_bytes(10, None, true), 36_864.0 + 160.0);
        assert_eq!(maglev_bytes(10, None, false), 1_056_768.0);
        assert_eq!(ring_bytes(0, None, None), 0.0);
    }

    #[test]
    fn size_classes_never_shrink_a_request() {
        for bytes in (0..1_000_000).step_by(37) {
            assert!(size_class(bytes) >= bytes);
        }
    }
}
