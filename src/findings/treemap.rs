//! One proxy's configuration grouped in several ways, with sums at two levels: what a treemap is drawn from.
//!
//! Groups and their parts that are too small to be seen are summed up, so the size of this does not grow with the dump.

use std::borrow::Cow;
use std::cmp::Reverse;
use std::collections::HashMap;
use std::ops::AddAssign;

use serde::{Deserialize, Serialize};

/// One way to group.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(default)]
pub struct Dimension {
    /// `kind`, `namespace`, `owner` or `field`.
    pub dimension: Cow<'static, str>,
    /// Groups, the largest first; the rest of them is the last one, without a name.
    pub groups: Vec<Branch>,
}

/// A group.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(default)]
pub struct Branch {
    /// Name; `-` for what belongs to none, empty for all groups that are not listed.
    pub name: String,
    /// Sums over it.
    #[serde(flatten)]
    pub sums: Sums,
    /// Parts of it, the largest first.
    pub leaves: Vec<Leaf>,
    /// Its parts that are not listed.
    pub others: Sums,
}

/// A part of a group.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(default)]
pub struct Leaf {
    /// A resource, an owner, a kind or a field.
    pub name: String,
    /// Sums over it.
    #[serde(flatten)]
    pub sums: Sums,
}

/// Sums. Each of the sizes counts every byte once.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(default)]
pub struct Sums {
    /// Resources.
    pub count: u64,
    /// Estimated bytes.
    pub bytes: u64,
    /// Bytes of JSON as written.
    pub json_bytes: u64,
    /// Estimated bytes, each at the outermost resource that alone leads to them.
    pub retained_bytes: u64,
}

impl AddAssign for Sums {
    fn add_assign(&mut self, other: Self) {
        self.count += other.count;
        self.bytes += other.bytes;
        self.json_bytes += other.json_bytes;
        self.retained_bytes += other.retained_bytes;
    }
}

impl Sums {
    /// The largest share, in 1/100000, that this is of `whole` by any of the sizes.
    fn share(&self, whole: &Self) -> u64 {
        let of = |part: u64, whole: u64| (u128::from(part) * 100_000 / u128::from(whole.max(1))) as u64;
        of(self.bytes, whole.bytes)
            .max(of(self.json_bytes, whole.json_bytes))
            .max(of(self.retained_bytes, whole.retained_bytes))
    }
}

/// Groups listed.
const GROUPS: usize = 40;
/// Parts listed over all groups.
const LEAVES: usize = 240;
/// A part smaller than this share of the whole, in 1/100000, is not listed.
const VISIBLE: u64 = 40;

/// Groups what was added to it.
pub(super) struct Grouping<'a> {
    dimension: &'static str,
    groups: HashMap<Cow<'a, str>, HashMap<Cow<'a, str>, Sums>>,
}

impl<'a> Grouping<'a> {
    pub(super) fn new(dimension: &'static str) -> Self {
        Self { dimension, groups: HashMap::new() }
    }

    pub(super) fn add(&mut self, group: Cow<'a, str>, leaf: Cow<'a, str>, sums: Sums) {
        *self.groups.entry(group).or_default().entry(leaf).or_default() += sums;
    }

    pub(super) fn finish(self) -> Dimension {
        let mut whole = Sums::default();
        let mut groups: Vec<(Branch, Vec<Leaf>)> = Vec::with_capacity(self.groups.len());
        for (name, leaves) in self.groups {
            let mut branch = Branch { name: name.into_owned(), ..Branch::default() };
            let leaves: Vec<Leaf> =
                leaves.into_iter().map(|(name, sums)| Leaf { name: name.into_owned(), sums }).collect();
            leaves.iter().for_each(|l| branch.sums += l.sums);
            whole += branch.sums;
            groups.push((branch, leaves));
        }
        let order =
            |a: &(Branch, Vec<Leaf>), b: &(Branch, Vec<Leaf>)| by_size(&a.0.sums, &a.0.name, &b.0.sums, &b.0.name);
        groups.sort_unstable_by(order);
        let seen = |s: &Sums| s.share(&whole) >= VISIBLE;
        let (mut listed, hidden): (Vec<_>, Vec<_>) = groups.into_iter().partition(|(b, _)| seen(&b.sums));
        let mut rest = Branch::default();
        for (branch, _) in listed.drain(GROUPS.min(listed.len())..).chain(hidden) {
            rest.sums += branch.sums;
            rest.others += branch.sums;
        }
        // the share that a part needs, so that no more than LEAVES are listed
        let mut shares: Vec<u64> = listed.iter().flat_map(|(_, leaves)| leaves).map(|l| l.sums.share(&whole)).collect();
        shares.sort_unstable_by_key(|s| Reverse(*s));
        let least = shares.get(LEAVES).map_or(VISIBLE, |s| (s + 1).max(VISIBLE));
        let mut groups: Vec<Branch> = listed
            .into_iter()
            .map(|(mut branch, leaves)| {
                for leaf in leaves {
                    if leaf.sums.share(&whole) >= least { branch.leaves.push(leaf) } else { branch.others += leaf.sums }
                }
                branch.leaves.sort_unstable_by(|a, b| by_size(&a.sums, &a.name, &b.sums, &b.name));
                branch
            })
            .collect();
        if rest.sums != Sums::default() {
            groups.push(rest);
        }
        Dimension { dimension: self.dimension.into(), groups }
    }
}

fn by_size(a: &Sums, a_name: &str, b: &Sums, b_name: &str) -> std::cmp::Ordering {
    (b.bytes, b.json_bytes, a_name).cmp(&(a.bytes, a.json_bytes, b_name))
}

/// `fields` of a resource, which include what is in them, as parts that do not overlap; the last one, without a name,
/// is what none of them has. Only the largest fields are known, so a part may hold small ones in it.
pub fn exclusive<'a>(fields: impl IntoIterator<Item = (&'a str, u64)>, whole: u64) -> Vec<(&'a str, u64)> {
    let inside = |outer: &str, inner: &str| {
        inner.strip_prefix(outer).is_some_and(|rest| rest.starts_with('.') || rest.starts_with("[]"))
    };
    let mut out: Vec<(&'a str, u64)> = Vec::new();
    let mut rest = whole;
    for (path, bytes) in fields {
        // fields are sorted by size, so what holds this one stands before it; the longest of them is the nearest
        let holder = out.iter_mut().filter(|(outer, _)| inside(outer, path)).max_by_key(|(outer, _)| outer.len());
        match holder {
            Some((_, own)) => *own = own.saturating_sub(bytes),
            None => rest = rest.saturating_sub(bytes),
        }
        out.push((path, bytes));
    }
    out.push(("", rest));
    out.retain(|(_, bytes)| *bytes > 0);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_do_not_overlap() {
        let fields = [("a", 90), ("a.b", 60), ("a.b[]", 50), ("ab", 5)];
        assert_eq!(exclusive(fields, 100), [("a", 30), ("a.b", 10), ("a.b[]", 50), ("ab", 5), ("", 5)]);
    }

    #[test]
    fn nothing_is_lost_in_what_is_not_listed() {
        let mut g = Grouping::new("kind");
        for group in 0..300_u64 {
            for leaf in 0..20_u64 {
                let bytes = (group + 1) * (leaf + 1);
                let sums = Sums { count: 1, bytes, json_bytes: bytes * 2, retained_bytes: 7 };
                g.add(format!("g{group}").into(), format!("l{leaf}").into(), sums);
            }
        }
        let d = g.finish();
        assert_eq!(d.groups.len(), GROUPS + 1);
        assert!(d.groups.iter().map(|g| g.leaves.len()).sum::<usize>() <= LEAVES);
        let mut whole = Sums::default();
        for g in &d.groups {
            whole += g.sums;
            let mut parts = g.others;
            g.leaves.iter().for_each(|l| parts += l.sums);
            assert_eq!(parts, g.sums, "{}", g.name);
        }
        let bytes = (300 * 301 / 2) * (20 * 21 / 2);
        assert_eq!(whole, Sums { count: 6000, bytes, json_bytes: bytes * 2, retained_bytes: 42_000 });
    }
}
