//! Structure sizes from a kernel's BTF (`/sys/kernel/btf/vmlinux`), type format of `include/uapi/linux/btf.h`.

use crate::model::problem::{Loss, Problem};

/// Sizes in bytes of those of the `wanted` structures that the BTF has, by name.
pub fn read<'n>(label: &str, bytes: &[u8], wanted: &[&'n str]) -> (Vec<(&'n str, u64)>, Vec<Problem>) {
    match sizes(bytes, wanted) {
        Ok(sizes) if !sizes.is_empty() => (sizes, Vec::new()),
        Ok(_) => (
            Vec::new(),
            vec![
                Problem::new(label, Loss::Whole, "BTF without the kernel's map structures")
                    .hint("give vmlinux itself, not a module's BTF"),
            ],
        ),
        Err((at, what)) => (
            Vec::new(),
            vec![
                Problem::new(label, Loss::Whole, what).at(at as u64).hint("expected a copy of /sys/kernel/btf/vmlinux"),
            ],
        ),
    }
}

fn sizes<'n>(bytes: &[u8], wanted: &[&'n str]) -> Result<Vec<(&'n str, u64)>, (usize, &'static str)> {
    let cut = |at| (at, "BTF ends early");
    let big = match bytes.get(..2) {
        Some([0x9f, 0xeb]) => false,
        Some([0xeb, 0x9f]) => true,
        _ => return Err((0, "not BTF")),
    };
    let u32_at = |at: usize| -> Result<u32, (usize, &'static str)> {
        let raw: [u8; 4] = bytes.get(at..at + 4).and_then(|b| b.try_into().ok()).ok_or(cut(at))?;
        Ok(if big { u32::from_be_bytes(raw) } else { u32::from_le_bytes(raw) })
    };
    let header_len = u32_at(4)? as usize;
    let types = header_len + u32_at(8)? as usize;
    let types_end = types + u32_at(12)? as usize;
    let strings = header_len + u32_at(16)? as usize;
    let name_at = |offset: u32| -> &[u8] {
        let rest = bytes.get(strings + offset as usize..).unwrap_or(&[]);
        &rest[..memchr::memchr(0, rest).unwrap_or(0)]
    };
    let mut found: Vec<(&'n str, u64)> = Vec::new();
    let mut at = types;
    while at + 12 <= types_end {
        let (name, info, size) = (u32_at(at)?, u32_at(at + 4)?, u32_at(at + 8)?);
        let kind = info >> 24 & 0x1f;
        let members = (info & 0xffff) as usize;
        const STRUCT: u32 = 4;
        if kind == STRUCT {
            let name = name_at(name);
            if let Some(wanted) = wanted.iter().find(|w| w.as_bytes() == name)
                && !found.iter().any(|(n, _)| n == wanted)
            {
                found.push((wanted, u64::from(size)));
            }
        }
        // bytes that follow the common part, by kind
        at += 12
            + match kind {
                1 | 14 | 17 => 4,
                3 => 12,
                4 | 5 => 12 * members,
                6 | 13 => 8 * members,
                15 | 19 => 12 * members,
                2 | 7..=12 | 16 | 18 => 0,
                _ => return Err((at, "BTF with a kind of type newer than this reader")),
            };
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cut_or_foreign_files_are_refused() {
        assert_eq!(read("x", b"not btf", &[]).1.len(), 1);
        assert_eq!(read("x", &[0x9f, 0xeb, 1, 0, 24, 0], &[]).1.len(), 1);
    }

    /// Compares with the running kernel's own BTF, whose sizes the maps of `tests/bpf_live.rs` prove.
    #[test]
    fn reads_the_running_kernel() {
        let Ok(bytes) = std::fs::read("/sys/kernel/btf/vmlinux") else { return };
        let (sizes, problems) = read("vmlinux", &bytes, &["bpf_array"]);
        assert!(problems.is_empty(), "{problems:?}");
        let array = sizes.first().map(|(_, bytes)| *bytes);
        assert!(array.is_some_and(|bytes| (200..600).contains(&bytes)), "{array:?}");
    }
}
