//! Finds a kernel's [`Profile`] from maps whose `memlock` is known.
//!
//! The formulas are fixed; what a build contributes is not: structure sizes, the number of possible CPUs, a few
//! switches between versions, and, with back-ported kernels, the era itself. Each is a hypothesis. For every
//! combination tried, structure sizes follow by arithmetic (`(memlock − body) / count`, by majority), and the
//! combination that explains most maps wins; on a tie, the one nearest to what the version's table says. Nothing is
//! fitted that the data does not force: what no known map touches keeps the table's value.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::profile::{Flush, HEADERS, Header, Profile};
use super::{Era, Shape, counts_entries, live_entries, parts};

/// One map, or many of one shape and number, to solve from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    /// What it was created with.
    pub shape: Shape,
    /// Live entries; none when not known, which matters only for types that count them.
    pub live: Option<u64>,
    /// Possible CPUs of the machine it was read on, when the evidence says so.
    pub cpus: Option<u32>,
    /// `memlock` in bytes.
    pub memlock: u64,
}

/// What the caller knows better than the data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Fixed {
    /// The era is given.
    pub era: bool,
    /// The number of CPUs is given.
    pub cpus: bool,
    /// Structure sizes are given (BTF).
    pub sizes: bool,
}

/// The outcome of [`fit`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fit {
    /// The best profile.
    pub profile: Profile,
    /// Known maps whose number it gives to the byte.
    pub explained: usize,
    /// Known maps.
    pub known: usize,
    /// Structures whose size the data determined, with the number of maps that agree.
    pub solved: Vec<(Header, usize)>,
    /// How the number of CPUs was found.
    pub cpus: CpusFrom,
    /// The least and the most CPUs that explain as many maps; the number itself when it is given.
    pub cpus_fit: (u32, u32),
    /// How the era was found.
    pub era: EraFrom,
    score: Score,
}

/// Finds the profile without knowing the kernel: the built-in one that, solved further, explains most maps with the
/// fewest and smallest changes. The newest of an era wins ties, since an era's formulas do not tell its kernels apart.
pub fn fit_any(cpus: Option<u32>, known: &[Known]) -> Fit {
    let fits: Vec<Fit> = Profile::table_versions()
        .map(|version| {
            let base = Profile::builtin(version, cpus.unwrap_or(1));
            fit(&base, known, Fixed { era: true, cpus: cpus.is_some(), sizes: false })
        })
        .collect();
    let better = |best: Fit, next: Fit| {
        if (next.explained, next.score) >= (best.explained, best.score) { next } else { best }
    };
    let rivals: Vec<(Era, usize)> = fits.iter().map(|f| (f.profile.era, f.explained)).collect();
    let mut best = fits
        .into_iter()
        .reduce(better)
        .unwrap_or_else(|| fit(&Profile::builtin(super::Version(6, 12), 1), known, Fixed::default()));
    if rivals.iter().any(|(era, explained)| *era != best.profile.era && *explained >= best.explained) {
        best.era = EraFrom::Open;
    }
    best
}

/// How the number of possible CPUs was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CpusFrom {
    /// The evidence or the user says it.
    Given,
    /// The only number that explains the per-CPU maps.
    Solved,
    /// The only number that makes the hash maps' header one of the table's.
    Inferred,
    /// Nothing depends on it or tells it: the default stands.
    Assumed,
}

/// How the era was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum EraFrom {
    /// By the kernel version alone.
    Version,
    /// By the data, which agrees with the version or had none to agree with.
    Data,
    /// By the data, against the version: a kernel with back-ports.
    DataAgainstVersion,
    /// The data fits another era as well, and no version was given: the newer one was taken.
    Open,
}

/// Structure sizes outside these bounds are not believed; the smallest seen is 24 (`lpm_trie_node`), the largest 1,024.
fn plausible(header: Header, bytes: u64) -> bool {
    let range = match header {
        Header::LpmNode => 16..=64,
        Header::Htab => 448..=2048,
        _ => 160..=1280,
    };
    range.contains(&bytes) && bytes.is_multiple_of(8)
}

/// How good a hypothesis is; larger is better.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Score {
    /// Twice the maps explained, less the structure sizes that had to move to explain them.
    net: i64,
    /// Minus the distance of the sizes from the table.
    near: i64,
}

struct Trial {
    profile: Profile,
    score: Score,
    explained: usize,
    /// Those of them whose number of live entries is known: of the others, one in a hundred fits a wrong profile too.
    certain: usize,
    solved: Vec<(Header, usize)>,
}

/// Finds the profile that explains the known maps best, starting from `base`.
pub fn fit(base: &Profile, known: &[Known], fixed: Fixed) -> Fit {
    let mut best = attempt(base, base, known, fixed);
    if known.is_empty() {
        let cpus = if fixed.cpus { CpusFrom::Given } else { CpusFrom::Assumed };
        return Fit {
            profile: best.profile,
            explained: 0,
            known: 0,
            solved: Vec::new(),
            cpus_fit: (base.cpus, base.cpus),
            cpus,
            era: EraFrom::Version,
            score: best.score,
        };
    }
    let mut cpus_from =
        if fixed.cpus || known.iter().all(|k| k.cpus.is_some()) { CpusFrom::Given } else { CpusFrom::Assumed };

    // eras and CPUs together: a wrong era makes every CPU count look equally bad
    let eras: &[Era] = if fixed.era { &[base.era] } else { &[base.era, Era::Usage, Era::Footprint, Era::Charge] };
    let mut origin = base.clone();
    for &era in eras {
        let start = Profile { era, ..base.clone() };
        let trial = attempt(&start, &start, known, fixed);
        let (start, trial, from) = if cpus_from == CpusFrom::Given {
            (start, trial, CpusFrom::Given)
        } else {
            solve_cpus(&start, trial, known, fixed)
        };
        if trial.score > best.score || (era == base.era && trial.score >= best.score) {
            best = trial;
            origin = start;
            if cpus_from != CpusFrom::Given {
                cpus_from = from;
            }
        }
    }

    let mut rows = Cow::Borrowed(known);
    // a header column that contradicts the data: the CPUs said are not the possible ones
    let depends: Vec<&Known> = known.iter().filter(|k| depends_on_cpus(&best.profile, k)).collect();
    let agree = depends.iter().filter(|k| explains(&best.profile, k)).count();
    if !fixed.cpus && agree < depends.len() {
        let unsaid: Vec<Known> = known.iter().map(|k| Known { cpus: None, ..k.clone() }).collect();
        let start = attempt(&origin, &origin, &unsaid, fixed);
        let (found, trial, from) = solve_cpus(&origin, start, &unsaid, fixed);
        if trial.explained > best.explained + depends.len() / 10 {
            best = trial;
            origin = found;
            cpus_from = from;
            rows = Cow::Owned(unsaid);
        }
    }

    // switches: kept only when they explain more than chance does, and held against a profile that needs none
    for _ in 0..2 {
        let before = best.explained;
        for change in SWITCHES {
            let changed = change(&origin);
            if changed == origin {
                continue;
            }
            let mut trial = attempt(&changed, &changed, &rows, fixed);
            if trial.certain > best.certain && trial.explained > best.explained
                || trial.explained >= best.explained + CHANCE
            {
                trial.score.net -= 1;
                best = trial;
                origin = changed;
            }
        }
        if best.explained == before || best.explained == known.len() {
            break;
        }
    }

    shift_unsolved(&mut best, &origin, fixed);
    let era = if best.profile.era == base.era { EraFrom::Data } else { EraFrom::DataAgainstVersion };
    let profile = best.profile;
    let cpus = profile.cpus;
    Fit {
        explained: best.explained,
        known: known.len(),
        solved: best.solved,
        cpus: cpus_from,
        cpus_fit: if cpus_from == CpusFrom::Given { (cpus, cpus) } else { cpus_fit(&profile, &rows) },
        era,
        score: best.score,
        profile,
    }
}

/// So many maps of unknown contents do not fit a wrong profile by accident.
const CHANCE: usize = 3;

const SWITCHES: &[fn(&Profile) -> Profile] = &[
    |p| Profile { hash_of_maps_spare: !p.hash_of_maps_spare, ..p.clone() },
    |p| Profile { devmap_charged: !p.devmap_charged, ..p.clone() },
    |p| Profile { stacks_by_bucket: !p.stacks_by_bucket, ..p.clone() },
    |p| Profile { xsk_struct_charged: !p.xsk_struct_charged, ..p.clone() },
    |p| Profile { flush: Flush::None, ..p.clone() },
    |p| Profile { flush: Flush::Lists, ..p.clone() },
    |p| Profile { flush: Flush::Bitmaps, ..p.clone() },
    |p| Profile { lock_line: !p.lock_line, ..p.clone() },
    |p| Profile { netdev_entry: 64, ..p.clone() },
    |p| Profile { netdev_entry: 72, ..p.clone() },
    |p| Profile { netdev_entry: 56, ..p.clone() },
    |p| Profile { netdev_entry: 80, ..p.clone() },
    |p| Profile { element_header: 40, ..p.clone() },
    |p| Profile { element_header: 56, ..p.clone() },
    |p| Profile { element_header: 64, ..p.clone() },
    |p| Profile { bucket: 8, ..p.clone() },
    |p| Profile { bucket: 24, ..p.clone() },
    |p| Profile { bucket: 32, ..p.clone() },
    |p| Profile { bucket: 72, ..p.clone() },
    |p| Profile { bucket: 80, ..p.clone() },
    |p| Profile { page: 16384, ..p.clone() },
    |p| Profile { page: 65536, ..p.clone() },
];

/// Tries every number of CPUs; the best, and whether it is the only best one.
fn solve_cpus(start: &Profile, mut best: Trial, known: &[Known], fixed: Fixed) -> (Profile, Trial, CpusFrom) {
    let depends: Vec<Known> = known.iter().filter(|k| depends_on_cpus(start, k)).cloned().collect();
    if depends.is_empty() {
        return (start.clone(), best, CpusFrom::Assumed);
    }
    // most maps do not depend on the number: look for it among those that do, then judge by all
    let mut scores: BTreeMap<u32, (usize, Score)> = BTreeMap::new();
    for cpus in cpus_tried() {
        let candidate = Profile { cpus, ..start.clone() };
        let trial = attempt(&candidate, &candidate, known, fixed);
        scores.insert(cpus, (trial.explained, trial.score));
        if trial.score > best.score {
            best = trial;
        }
    }
    let cpus = best.profile.cpus;
    let (explained, score) = scores[&cpus];
    let rivals = scores.values().filter(|(e, _)| *e == explained).count();
    let equals = scores.values().filter(|(_, s)| *s == score).count();
    let from = if rivals == 1 {
        CpusFrom::Solved
    } else if equals == 1 {
        CpusFrom::Inferred
    } else {
        CpusFrom::Assumed
    };
    if from == CpusFrom::Assumed {
        let back = attempt(start, start, known, fixed);
        if back.score >= best.score {
            return (start.clone(), back, CpusFrom::Assumed);
        }
    }
    (Profile { cpus, ..start.clone() }, best, from)
}

/// Other numbers of CPUs around the chosen one that explain as much with the same structures.
fn cpus_fit(profile: &Profile, known: &[Known]) -> (u32, u32) {
    let explained = |cpus| known.iter().filter(|k| explains(&Profile { cpus, ..profile.clone() }, k)).count();
    let most = explained(profile.cpus);
    let low = (1..profile.cpus).rev().take_while(|cpus| explained(*cpus) == most).last().unwrap_or(profile.cpus);
    let high = (profile.cpus + 1..=8192).take_while(|cpus| explained(*cpus) == most).last().unwrap_or(profile.cpus);
    (low, high)
}

/// Every number up to 128, then the ones machines have, up to 8,192 (`NR_CPUS` of distributions).
fn cpus_tried() -> impl Iterator<Item = u32> {
    (1..=128).chain((130..=256).step_by(2)).chain((264..=1024).step_by(8)).chain((1088..=8192).step_by(64))
}

fn depends_on_cpus(profile: &Profile, known: &Known) -> bool {
    let at = |cpus| parts(&Profile { cpus, ..profile.clone() }, &known.shape, known.live.unwrap_or(0));
    at(1) != at(2) || at(2) != at(64)
}

/// The row's own view of a profile.
fn of_row<'a>(profile: &'a Profile, known: &Known, own: &'a mut Option<Profile>) -> &'a Profile {
    match known.cpus {
        Some(cpus) if cpus != profile.cpus => own.insert(Profile { cpus, ..profile.clone() }),
        _ => profile,
    }
}

/// Solves structure sizes under `profile` and scores the result against `base`.
fn attempt(profile: &Profile, base: &Profile, known: &[Known], fixed: Fixed) -> Trial {
    let mut profile = profile.clone();
    let mut solved = Vec::new();
    let mut near = 0i64;
    let mut moved = 0i64;
    if !fixed.sizes {
        let mut spans: [Vec<Span>; HEADERS] = Default::default();
        for row in known {
            if row.live.is_none() && counts_entries(&row.shape) && profile.era == Era::Usage {
                continue;
            }
            let mut own = None;
            let view = of_row(&profile, row, &mut own);
            if let Some((header, span)) = span_of(view, row) {
                spans[header as usize].push(span);
            }
        }
        let mut shift = 0i64;
        for header in Header::ALL {
            let spans = &spans[header as usize];
            if spans.is_empty() {
                continue;
            }
            let expected =
                if header.follows_map() { base.size(header) as i64 + shift } else { base.size(header) as i64 };
            let Some((bytes, votes)) = choose(header, expected.max(0) as u64, spans) else { continue };
            profile.set_size(header, bytes);
            solved.push((header, votes));
            if header == Header::Array {
                shift = bytes as i64 - base.size(header) as i64;
            }
            let distance = (bytes as i64 - expected).abs();
            near -= distance / 8;
            moved += i64::from(distance != 0);
        }
    }
    let (mut explained, mut certain) = (0, 0);
    for row in known.iter().filter(|row| explains(&profile, row)) {
        explained += 1;
        certain += usize::from(row.live.is_some());
    }
    Trial { score: Score { net: 2 * explained as i64 - moved, near }, profile, explained, certain, solved }
}

/// True when the profile gives the row's number to the byte; with unknown live entries, when some possible number of
/// them does.
pub fn explains(profile: &Profile, row: &Known) -> bool {
    let mut own = None;
    let view = of_row(profile, row, &mut own);
    match row.live {
        None if profile.era == Era::Usage && counts_entries(&row.shape) => {
            live_entries(view, &row.shape, row.memlock).is_some_and(|live| live <= u64::from(row.shape.max_entries))
        }
        live => super::reported(view, &row.shape, live.unwrap_or(0)) == Some(row.memlock),
    }
}

/// Header sizes one row allows, from `low` to `high`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Span {
    low: u64,
    high: u64,
}

fn span_of(profile: &Profile, row: &Known) -> Option<(Header, Span)> {
    let parts = parts(profile, &row.shape, row.live.unwrap_or(0))?;
    let (header, count) = parts.header?;
    if count == 0 || parts.header_paged {
        return None;
    }
    let above = row.memlock.checked_sub(parts.body)?;
    let span = if parts.paged {
        let low = (row.memlock + 1).saturating_sub(profile.page).saturating_sub(parts.body);
        Span { low: low.div_ceil(count), high: above / count }
    } else {
        if above % count != 0 {
            return None;
        }
        Span { low: above / count, high: above / count }
    };
    Some((header, span))
}

/// The size most rows allow, and how many; on a tie, the one nearest to what is expected.
fn choose(header: Header, expected: u64, spans: &[Span]) -> Option<(u64, usize)> {
    let mut counted: BTreeMap<Span, usize> = BTreeMap::new();
    for span in spans {
        *counted.entry(*span).or_default() += 1;
    }
    let mut candidates = vec![expected];
    for span in counted.keys() {
        candidates.push(span.low.next_multiple_of(8));
        candidates.push(span.high / 8 * 8);
    }
    candidates.sort_unstable();
    candidates.dedup();
    candidates
        .into_iter()
        .filter(|bytes| plausible(header, *bytes))
        .map(|bytes| {
            let votes: usize = counted.iter().filter(|(s, _)| s.low <= bytes && bytes <= s.high).map(|(_, n)| n).sum();
            (bytes, votes)
        })
        .filter(|(_, votes)| *votes > 0)
        .max_by_key(|(bytes, votes)| (*votes, std::cmp::Reverse(bytes.abs_diff(expected))))
}

/// Sizes of structures no known map touches: from the column of the table whose solved structures agree best (the
/// version's own on a tie), moved with `struct bpf_map`, which they all begin with.
fn shift_unsolved(best: &mut Trial, base: &Profile, fixed: Fixed) {
    if fixed.sizes || best.profile.era != Era::Usage || best.solved.is_empty() {
        return;
    }
    let column_of = |version| Profile { version: base.version, ..Profile::builtin(version, base.cpus) };
    let columns = std::iter::once(base.clone()).chain(Profile::table_versions().map(column_of));
    let Some((_, shift, column)) = columns
        .map(|column| {
            let shift = shift_of(best, &column);
            let agree =
                best.solved.iter().filter(|(h, _)| expected(&column, *h, shift) == best.profile.size(*h)).count();
            (agree, shift, column)
        })
        .reduce(|a, b| if b.0 > a.0 { b } else { a })
    else {
        return;
    };
    for header in Header::ALL {
        if !best.solved.iter().any(|(h, _)| *h == header) {
            best.profile.set_size(header, expected(&column, header, shift));
        }
    }
}

/// By how much `struct bpf_map` of the data differs from the column's: what most solved structures say.
fn shift_of(best: &Trial, column: &Profile) -> i64 {
    let mut shifts: BTreeMap<i64, usize> = BTreeMap::new();
    for (header, _) in best.solved.iter().filter(|(h, _)| h.follows_map()) {
        let shift = best.profile.size(*header) as i64 - column.size(*header) as i64;
        *shifts.entry(shift).or_default() += if *header == Header::Array { 2 } else { 1 };
    }
    shifts.into_iter().max_by_key(|(shift, votes)| (*votes, std::cmp::Reverse(shift.abs()))).map_or(0, |(s, _)| s)
}

fn expected(column: &Profile, header: Header, shift: i64) -> u64 {
    let size = column.size(header);
    if header.follows_map() { size.saturating_add_signed(shift).max(8) } else { size }
}
