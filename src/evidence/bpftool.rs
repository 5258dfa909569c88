//! `bpftool map show`, `map dump`, `prog show`, as `-j`, `-p` or plain text.
//!
//! Accepts every form the versions of bpftool write (4.15 to 7.8 looked at): a list, one object, concatenated objects
//! (`jq '.[]'`), errors inside the list, absent names, types as numbers, numbers as strings, negative sizes. `btf_id`
//! is not read: from kernel 6.18 on, lists show the previous map's.

mod json;
mod text;

use std::collections::BTreeSet;

use crate::model::bpf::BpfListing;
use crate::model::problem::{Loss, Problem};

/// Reads one document: maps, programs or the dump of a map. What is whole before a break is kept.
pub fn read(label: &str, bytes: &[u8]) -> (BpfListing, Vec<Problem>) {
    let mut listing = BpfListing { label: label.into(), ..BpfListing::default() };
    let mut problems = Vec::new();
    let start = json_start(bytes);
    match start {
        Some(start) => json::read(label, bytes, start, &mut listing, &mut problems),
        None => text::read(label, bytes, &mut listing, &mut problems),
    }
    let stem = stem(label);
    for dump in &mut listing.dumps {
        dump.stem = stem.into();
        if dump.map_id.is_none() && dump.map_name.is_empty() {
            dump.map_id = stem.split(|c: char| !c.is_ascii_alphanumeric()).rev().find_map(|word| word.parse().ok());
        }
    }
    let empty =
        listing.maps.is_empty() && listing.progs.is_empty() && listing.dumps.is_empty() && listing.sums.is_empty();
    let said = problems.iter().any(|p| p.loss != Loss::Nothing);
    if empty && !said && !is_empty_list(bytes, start) {
        problems.push(
            Problem::new(label, Loss::Whole, "neither maps nor programs nor the dump of a map")
                .hint("expected the output of `bpftool map show -j`, `bpftool prog show -j` or `bpftool map dump -j`"),
        );
    }
    (listing, problems)
}

/// Adds a document to the points in time: a list of maps begins a new one, programs and dumps belong to the point they
/// follow, and single maps (`map show id N`) join the point that does not have them yet.
pub fn join(points: &mut Vec<BpfListing>, mut listing: BpfListing) {
    let begins = |listing: &BpfListing| !listing.maps.is_empty() || !listing.sums.is_empty();
    match points.last_mut() {
        Some(last)
            if !begins(&listing)
                || !begins(last)
                || (!listing.is_list && listing.maps.iter().all(|m| last.maps.iter().all(|l| l.id != m.id))) =>
        {
            if begins(&listing) && !begins(last) {
                last.label = listing.label;
            }
            last.maps.append(&mut listing.maps);
            last.progs.append(&mut listing.progs);
            last.dumps.append(&mut listing.dumps);
            last.sums.append(&mut listing.sums);
        }
        _ => points.push(listing),
    }
}

/// True when the first bytes look like something [`read`] understands.
pub fn looks_like(head: &[u8]) -> bool {
    let text = String::from_utf8_lossy(&head[..head.len().min(4096)]);
    let Some(start) = json_start(head) else { return text.lines().any(text::is_map_head) };
    let text = &text[start.min(text.len())..];
    (text.contains("\"bytes_key\"") && text.contains("\"max_entries\""))
        || (text.contains("\"bytes_xlated\"") && text.contains("\"tag\""))
        || (text.contains("\"key\"") && text.contains("\"0x"))
        || text.contains("\"total_bytes_memlock\"")
}

fn is_empty_list(bytes: &[u8], start: Option<usize>) -> bool {
    start.is_some_and(|start| {
        let rest: Vec<u8> = bytes[start..].iter().filter(|b| !b.is_ascii_whitespace()).take(3).copied().collect();
        rest == b"[]"
    })
}

/// Where JSON begins: at the first byte, or at the first line after a prompt or a tool's chatter that opens a list or
/// an object. None for text.
fn json_start(bytes: &[u8]) -> Option<usize> {
    let mut at = if bytes.starts_with(b"\xef\xbb\xbf") { 3 } else { 0 };
    for _ in 0..64 {
        at += bytes[at..].iter().take_while(|b| b.is_ascii_whitespace()).count();
        let rest = &bytes[at..];
        let next = rest.iter().skip(1).find(|b| !b.is_ascii_whitespace());
        match (rest.first()?, next) {
            (b'[', Some(b'{' | b']') | None) | (b'{', Some(b'"' | b'}') | None) => return Some(at),
            _ => at += memchr::memchr(b'\n', rest)? + 1,
        }
        if rest.first()?.is_ascii_digit() && text::is_map_head(&first_line(rest)) {
            return None;
        }
    }
    None
}

fn first_line(bytes: &[u8]) -> String {
    let end = memchr::memchr(b'\n', bytes).unwrap_or(bytes.len()).min(512);
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}

fn stem(label: &str) -> &str {
    let name = label.rsplit(['/', '!', '\\']).next().unwrap_or(label);
    name.rsplit_once('.').map_or(name, |(stem, _)| stem)
}

/// Counts the intermediate nodes of the kernel's trie over these prefixes: the points where two prefixes part that
/// are not prefixes of the set themselves (`trie_update_elem`, `kernel/bpf/lpm_trie.c`).
#[derive(Debug, Default)]
struct Prefixes {
    keys: BTreeSet<(Vec<u8>, u32)>,
    other: bool,
}

impl Prefixes {
    /// Adds a key as dumped: a length in bits (`u32`, the CPU's order, little-endian here), then the address.
    fn add(&mut self, key: &[u8]) {
        if self.other || key.len() < 5 {
            self.other = true;
            return;
        }
        let bits = u32::from_le_bytes([key[0], key[1], key[2], key[3]]);
        let data = &key[4..];
        if bits as usize > data.len() * 8 {
            self.other = true;
            self.keys.clear();
            return;
        }
        self.keys.insert((masked(data, bits), bits));
    }

    fn branch_points(&self) -> Option<u64> {
        if self.other || self.keys.is_empty() {
            return None;
        }
        let mut points: BTreeSet<(Vec<u8>, u32)> = BTreeSet::new();
        let mut previous: Option<&(Vec<u8>, u32)> = None;
        for key in &self.keys {
            if let Some(before) = previous {
                let bits = common_bits(&before.0, &key.0).min(before.1).min(key.1);
                let point = (masked(&key.0, bits), bits);
                if !self.keys.contains(&point) {
                    points.insert(point);
                }
            }
            previous = Some(key);
        }
        Some(points.len() as u64)
    }
}

fn masked(data: &[u8], bits: u32) -> Vec<u8> {
    let mut data = data.to_vec();
    for (i, byte) in data.iter_mut().enumerate() {
        let kept = (bits as usize).saturating_sub(i * 8).min(8);
        *byte &= !(0xffu16 >> kept) as u8;
    }
    data
}

fn common_bits(a: &[u8], b: &[u8]) -> u32 {
    let mut bits = 0;
    for (x, y) in a.iter().zip(b) {
        let same = (x ^ y).leading_zeros();
        bits += same;
        if same < 8 {
            break;
        }
    }
    bits
}

#[cfg(test)]
mod tests;
