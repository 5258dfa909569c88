//! Allocators of BPF map memory: what Kmesh's releases do with a number of services, and what else could be done.
//!
//! Kmesh up to 0.5 stores every string and (sub)message of a configuration in a slot of its own: an inner map of an
//! array of maps, of 1,300 bytes each. From 1.0 on a slot is an entry of one of four hash maps. The elastic policy is
//! that of 0.5 (`bpf/deserialization_to_bpf_map/deserialization_to_bpf_map.c`), constants included.

use std::fmt;
use std::str::FromStr;

use super::bpf_slots::Slots;
use crate::cost::kernel::real::{Contents, real};
use crate::cost::kernel::{Profile, reported};
use crate::model::bpf::{MapType, Shape, flag};
use crate::model::bpf_trace::{Demand, Event, Ms};

/// How slots become memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// All inner maps at the start, none later (0.4).
    Fixed {
        /// Inner maps.
        slots: u32,
    },
    /// In steps by share of use (0.5).
    Elastic {
        /// Slots added at a time; with `factor`, the least.
        up: u32,
        /// Slots removed at a time.
        down: u32,
        /// Grow from this share of use on, in percent.
        high: u32,
        /// Shrink down to this share of use, in percent.
        low: u32,
        /// Grow to this many times the slots instead of by a step; 1 for steps.
        factor: u32,
    },
    /// An inner map when a slot is taken, gone when it is given back (0.2, 0.3).
    Lazy,
    /// Entries of four hash maps by size of value, not preallocated (1.0 and later).
    Classes {
        /// `max_entries` of each.
        max_entries: u32,
    },
    /// Entries of one hash map with values of 1,300 bytes, not preallocated.
    OneHash {
        /// `max_entries`.
        max_entries: u32,
    },
}

/// A scheme with the name it was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// As given on the command line.
    pub name: String,
    /// What it does.
    pub scheme: Scheme,
}

/// Slots an array of maps has in 0.5 (`MAP_MAX_ENTRIES`).
pub const OUTER_SLOTS: u32 = 1 << 20;
/// Bytes of a slot up to 0.5 (`BPF_INNER_MAP_DATA_LEN`).
pub const SLOT_BYTES: u32 = 1300;
/// Values by class from 1.0 on, and how many of a headless service's 22 slots go into each (a cluster of four, a virtual
/// host with six domains and one route): messages mostly fit 64 bytes, strings always take 192, arrays of pointers
/// 1,600. Traces of counts do not say what is in the slots; this mix stands for it.
pub const CLASSES: [(u32, u32); 4] = [(64, 7), (192, 13), (296, 0), (1600, 2)];
const CLASS_SLOTS: u64 = 22;

impl FromStr for Policy {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let (name, settings) = text.split_once(':').unwrap_or((text, ""));
        let mut scheme = match name {
            "kmesh-0.2" | "kmesh-0.3" | "lazy" => Scheme::Lazy,
            "kmesh-0.4" => Scheme::Fixed { slots: 8192 },
            "kmesh-0.5" => Scheme::Elastic { up: 32768, down: 8192, high: 70, low: 30, factor: 1 },
            "geometric" => Scheme::Elastic { up: 1024, down: 1024, high: 70, low: 30, factor: 2 },
            "kmesh-1.0" | "kmesh-1.1" | "kmesh-1.2" | "hashes" => Scheme::Classes { max_entries: 1_000_000 },
            "no-prealloc" => Scheme::OneHash { max_entries: 1 << 20 },
            _ => {
                return Err(format!(
                    "unknown policy `{name}`; known: kmesh-0.2, kmesh-0.3, kmesh-0.4, kmesh-0.5[:up=N,down=N,high=%,low=%], \
                     kmesh-1.0, geometric[:factor=N], lazy, no-prealloc"
                ));
            }
        };
        for setting in settings.split(',').filter(|s| !s.is_empty()) {
            let (key, value) =
                setting.split_once('=').ok_or_else(|| format!("`{setting}` needs the form key=value"))?;
            let value: u32 = value.parse().map_err(|_| format!("`{setting}`: not a whole number"))?;
            let bad = || Err(format!("`{setting}` is no setting of {name}, or out of its bounds"));
            match (&mut scheme, key) {
                (Scheme::Elastic { up, down, .. }, "step") if (2..=OUTER_SLOTS).contains(&value) => {
                    (*up, *down) = (value, value);
                }
                (Scheme::Elastic { up, .. }, "up") if (2..=OUTER_SLOTS).contains(&value) => *up = value,
                (Scheme::Elastic { down, .. }, "down") if (1..=OUTER_SLOTS).contains(&value) => *down = value,
                (Scheme::Elastic { high, .. }, "high") if (1..=100).contains(&value) => *high = value,
                (Scheme::Elastic { low, .. }, "low") if value < 100 => *low = value,
                (Scheme::Elastic { factor, .. }, "factor") if (1..=16).contains(&value) => *factor = value,
                (Scheme::Fixed { slots }, "slots") if (1..=OUTER_SLOTS).contains(&value) => *slots = value,
                (Scheme::Classes { max_entries } | Scheme::OneHash { max_entries }, "max") if value > 0 => {
                    *max_entries = value;
                }
                _ => return bad(),
            }
        }
        if let Scheme::Elastic { high, low, .. } = scheme
            && low >= high
        {
            return Err(format!("{text}: low={low} must be below high={high}"));
        }
        Ok(Self { name: text.to_owned(), scheme })
    }
}

/// Which used slots a count gives back when it falls: the trace does not say, so both ends are run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FreeFrom {
    /// The highest first: what is left is compact.
    Top,
    /// The lowest first: what is left keeps the high slots alive.
    Bottom,
}

/// What a run is made with.
#[derive(Debug, Clone, Copy)]
pub struct Settings<'a> {
    /// The kernel whose numbers are given.
    pub profile: &'a Profile,
    /// Slots one service takes.
    pub slots_per_service: u64,
    /// See [`FreeFrom`].
    pub free_from: FreeFrom,
}

/// State after an event, valid until the next row.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, schemars::JsonSchema)]
pub struct Row {
    /// When, in milliseconds.
    #[serde(skip)]
    pub t: Ms,
    /// Maps that hold slots: inner maps, or the hash maps of a class. The outer map is apart ([`Run::fixed`]).
    pub maps: u64,
    /// Slots in use.
    pub slots_used: u64,
    /// Slots the allocator counts as present. Kmesh 0.5 counts one more per growth than it makes maps.
    pub slots_total: u64,
    /// `bytes_memlock` of those maps.
    pub memlock: u64,
    /// Their memory.
    pub real: u64,
}

/// A line of the daemon's log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLine {
    /// When.
    pub t: Ms,
    /// Which line.
    pub kind: LogKind,
    /// Slots in use when it was written.
    pub used: u64,
    /// The first number that triggers it. [`LogLine::used`] where the trace itself is what the poll saw.
    pub used_early: u64,
    /// The last number a poll that comes late may see, since a push goes on meanwhile; likewise.
    pub used_late: u64,
    /// Slots counted as present then.
    pub total: u64,
    /// Slots collected, and the last of them.
    pub collected: u64,
    /// The last one collected.
    pub last: u64,
}

/// The two things 0.5 logs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogKind {
    /// Growth.
    ScaleUp,
    /// Shrinking.
    ScaleIn,
}

impl fmt::Display for LogLine {
    /// The two lines as Kmesh writes them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { used, total, collected, last, .. } = self;
        match self.kind {
            LogKind::ScaleUp => write!(
                f,
                "Remaining resources are insufficient({used}/{total}), and capacity expansion is required.\n\
                 collect_outter_map_scaleup_slots:{last}-{collected}-{last}"
            ),
            LogKind::ScaleIn => write!(
                f,
                "The remaining resources are sufficient({used}/{total}) and scale-in is required.\n\
                 collect_outter_map_scalein_slots:{last}-{collected}-{last}"
            ),
        }
    }
}

/// A part that does not move.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, schemars::JsonSchema)]
pub struct Fixed {
    /// Maps.
    pub maps: u64,
    /// `bytes_memlock`.
    pub memlock: u64,
    /// Memory.
    pub real: u64,
}

/// One policy over one trace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// A row at each change.
    pub timeline: Vec<Row>,
    /// What the daemon would log.
    pub log: Vec<LogLine>,
    /// The outer map, which is there from the start.
    pub fixed: Fixed,
    /// Slots asked for that did not exist, over the whole run.
    pub refused: u64,
    /// Slots alive between free ones at the end, that keep the allocator from giving maps back.
    pub fragmented: u64,
    /// Used slots at which the allocator grows next; none when it never does.
    pub next_growth_at: Option<u64>,
}

/// Runs a policy over a trace.
pub fn run(policy: &Policy, events: &[Event], settings: Settings<'_>) -> Run {
    let mut state = State::new(policy.scheme, settings);
    let start = events.first().map_or(0, |e| e.t);
    // the daemon's start: nothing is used, and 0.5 grows at once
    state.poll(start);
    state.row(start);
    for event in events {
        state.apply(event);
        state.row(event.t);
    }
    state.finish()
}

struct State<'a> {
    scheme: Scheme,
    settings: Settings<'a>,
    used: Slots,
    /// Slots with a map that nobody uses.
    spare: Slots,
    /// `allocated_cnt` of 0.5: one more per growth than there are maps.
    counted: u64,
    refused: u64,
    /// Slots in use at the end of the push that goes on.
    heading_for: Option<u64>,
    timeline: Vec<Row>,
    log: Vec<LogLine>,
}

impl<'a> State<'a> {
    fn new(scheme: Scheme, settings: Settings<'a>) -> Self {
        let mut state = Self {
            scheme,
            settings,
            used: Slots::default(),
            spare: Slots::default(),
            counted: 0,
            refused: 0,
            heading_for: None,
            timeline: Vec::new(),
            log: Vec::new(),
        };
        if let Scheme::Fixed { slots } = scheme {
            for slot in 0..slots {
                state.spare.insert(slot);
            }
            state.counted = u64::from(slots);
        }
        state
    }

    fn apply(&mut self, event: &Event) {
        match &event.demand {
            Demand::Slots { alloc, free } => {
                for slot in free {
                    self.give_back(*slot);
                }
                for slot in alloc {
                    if self.bounded() && !self.spare.remove(*slot) {
                        // a recording of another policy's slots: take what this one would give
                        self.take();
                    } else {
                        self.spare.remove(*slot);
                        self.used.insert(*slot);
                    }
                }
                self.poll(event.t);
            }
            Demand::Used(count) => {
                self.set_used(*count, event.t, u64::MAX);
                self.poll(event.t);
            }
            Demand::Pushed(count) => {
                self.heading_for = Some(*count);
                self.set_used(*count, event.t, 1);
                self.poll(event.t);
                self.heading_for = None;
            }
            Demand::Services(count) => {
                let per_service = self.settings.slots_per_service.max(1);
                self.heading_for = Some(count * per_service);
                self.set_used(count * per_service, event.t, per_service);
                self.poll(event.t);
                self.heading_for = None;
            }
        }
    }

    /// Slots are limited by maps that exist.
    fn bounded(&self) -> bool {
        matches!(self.scheme, Scheme::Fixed { .. } | Scheme::Elastic { .. })
    }

    /// Takes or gives back until `count` are used; the poll runs after every `batch` slots, and whenever none is left.
    fn set_used(&mut self, count: u64, t: Ms, batch: u64) {
        let mut since = 0;
        while self.used.len() > count {
            let slot = match self.settings.free_from {
                FreeFrom::Top => self.used.last(),
                FreeFrom::Bottom => self.used.first(),
            };
            let Some(slot) = slot else { break };
            self.give_back(slot);
            since += 1;
            if since >= batch {
                since = 0;
                self.poll(t);
            }
        }
        while (self.used.len()) < count {
            if self.bounded() && self.spare.is_empty() {
                self.poll(t);
            }
            if !self.take() {
                self.refused += count - self.used.len() - 1;
                break;
            }
            since += 1;
            if since >= batch {
                since = 0;
                self.poll(t);
            }
        }
    }

    /// The lowest free slot.
    fn take(&mut self) -> bool {
        if self.bounded() {
            match self.spare.pop_first() {
                Some(slot) => self.used.insert(slot),
                None => {
                    self.refused += 1;
                    false
                }
            }
        } else {
            let most = match self.scheme {
                Scheme::Classes { max_entries } => u64::from(max_entries) * CLASSES.len() as u64,
                Scheme::OneHash { max_entries } => u64::from(max_entries),
                _ => u64::from(OUTER_SLOTS),
            };
            let next = match self.spare.pop_first() {
                Some(slot) => slot,
                None => self.used.last().map_or(1, |last| last + 1),
            };
            if self.used.len() >= most {
                self.refused += 1;
                return false;
            }
            self.used.insert(next)
        }
    }

    fn give_back(&mut self, slot: u32) {
        if self.used.remove(slot) {
            self.spare.insert(slot);
        }
    }

    /// `scaleup(); scalein();` of the 1 ms loop, until nothing moves.
    fn poll(&mut self, t: Ms) {
        let Scheme::Elastic { up, down, high, low, factor } = self.scheme else { return };
        loop {
            let used = self.used.len();
            let before = self.counted;
            if self.counted == 0 || used * 100 >= self.counted * u64::from(high) {
                self.scale_up(t, up, high, factor);
            }
            let used_share = used * 100;
            if self.counted > u64::from(up) && used_share <= self.counted * u64::from(low) {
                self.scale_in(t, down, low);
            }
            if self.counted == before {
                break;
            }
        }
    }

    /// Collects the lowest slots without a map, index 0 always among them, and makes a map for all but the first.
    fn scale_up(&mut self, t: Ms, up: u32, high: u32, factor: u32) {
        let wanted = match factor {
            1 => u64::from(up),
            _ => (self.counted * u64::from(factor - 1)).max(u64::from(up)),
        };
        let (used, total) = (self.used.len(), self.counted);
        if total + wanted > u64::from(OUTER_SLOTS) {
            return;
        }
        let mut collected = Vec::new();
        let mut slot = 0;
        while (collected.len() as u64) < wanted && slot < OUTER_SLOTS {
            if !self.used.contains(slot) && !self.spare.contains(slot) {
                collected.push(slot);
            }
            slot += 1;
        }
        for slot in collected.iter().skip(1) {
            self.spare.insert(*slot);
        }
        self.counted += collected.len() as u64;
        let last = collected.last().copied().unwrap_or(0);
        self.log.push(LogLine {
            t,
            kind: LogKind::ScaleUp,
            used,
            used_early: self.heading_for.map_or(used, |_| (total * u64::from(high)).div_ceil(100)),
            used_late: self.heading_for.unwrap_or(used),
            total,
            collected: collected.len() as u64,
            last: u64::from(last),
        });
    }

    /// Collects the highest free slots and closes their maps.
    fn scale_in(&mut self, t: Ms, down: u32, low: u32) {
        let (used, total) = (self.used.len(), self.counted);
        let mut last = 0;
        let mut collected = 0;
        while collected < down {
            let Some(slot) = self.spare.pop_last() else { break };
            last = slot;
            collected += 1;
        }
        self.counted -= u64::from(collected);
        self.log.push(LogLine {
            t,
            kind: LogKind::ScaleIn,
            used,
            used_early: self.heading_for.map_or(used, |_| total * u64::from(low) / 100),
            used_late: self.heading_for.unwrap_or(used),
            total,
            collected: u64::from(collected),
            last: u64::from(last),
        });
    }

    fn row(&mut self, t: Ms) {
        let used = self.used.len();
        let (maps, total, memlock, bytes) = match self.scheme {
            Scheme::Fixed { .. } | Scheme::Elastic { .. } => {
                let maps = used + self.spare.len();
                let one = self.price(&inner_map(), 0);
                (maps, self.counted, maps * one.0, maps * one.1)
            }
            Scheme::Lazy => {
                let one = self.price(&inner_map(), 0);
                (used, used, used * one.0, used * one.1)
            }
            Scheme::Classes { max_entries } => {
                let mut sum = (0, 0);
                let mut left = used;
                for (i, (value, share)) in CLASSES.into_iter().enumerate() {
                    let mine = if i + 1 == CLASSES.len() { left } else { used * u64::from(share) / CLASS_SLOTS };
                    left -= mine;
                    let one = self.price(&slot_hash(value, max_entries), mine);
                    sum = (sum.0 + one.0, sum.1 + one.1);
                }
                (CLASSES.len() as u64, u64::from(max_entries) * CLASSES.len() as u64, sum.0, sum.1)
            }
            Scheme::OneHash { max_entries } => {
                let one = self.price(&slot_hash(SLOT_BYTES, max_entries), used);
                (1, u64::from(max_entries), one.0, one.1)
            }
        };
        let row = Row { t, maps, slots_used: used, slots_total: total, memlock, real: bytes };
        match self.timeline.last() {
            Some(last) if Row { t, ..last.clone() } == row => {}
            Some(last) if last.t == t => {
                self.timeline.pop();
                self.timeline.push(row);
            }
            _ => self.timeline.push(row),
        }
    }

    fn price(&self, shape: &Shape, live: u64) -> (u64, u64) {
        let memlock = reported(self.settings.profile, shape, live).unwrap_or(0);
        let contents = Contents { live: Some(live), branch_nodes: None };
        (memlock, real(self.settings.profile, shape, contents).map_or(0, |r| r.bytes))
    }

    fn finish(mut self) -> Run {
        let has_outer = matches!(self.scheme, Scheme::Fixed { .. } | Scheme::Elastic { .. } | Scheme::Lazy);
        let fixed = if has_outer {
            let slots = if let Scheme::Fixed { slots } = self.scheme { slots } else { OUTER_SLOTS };
            let (memlock, real) = self.price(&outer_map(slots), 0);
            Fixed { maps: 1, memlock, real }
        } else {
            Fixed::default()
        };
        let next_growth_at = match self.scheme {
            Scheme::Elastic { high, .. } => Some((self.counted * u64::from(high)).div_ceil(100)),
            _ => None,
        };
        let fragmented = match (self.spare.first(), self.bounded()) {
            (Some(first), true) => self.used.count_from(first),
            _ => 0,
        };
        Run { timeline: self.timeline, log: self.log, fixed, refused: self.refused, fragmented, next_growth_at }
    }
}

/// The inner map of 0.2 to 0.5.
pub fn inner_map() -> Shape {
    Shape { map_type: MapType::Array, key: 4, value: SLOT_BYTES, max_entries: 1, flags: 0, extra: 0 }
}

/// The outer map.
pub fn outer_map(slots: u32) -> Shape {
    Shape { map_type: MapType::ArrayOfMaps, key: 4, value: 4, max_entries: slots, flags: 0, extra: 0 }
}

/// A hash of slots, not preallocated.
pub fn slot_hash(value: u32, max_entries: u32) -> Shape {
    Shape { map_type: MapType::Hash, key: 4, value, max_entries, flags: flag::NO_PREALLOC, extra: 0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cost::kernel::Version;

    fn settings(profile: &Profile) -> Settings<'_> {
        Settings { profile, slots_per_service: 22, free_from: FreeFrom::Top }
    }

    fn kmesh_05() -> Policy {
        "kmesh-0.5".parse().unwrap()
    }

    #[test]
    fn starts_with_32767_maps_for_32768_slots() {
        let profile = Profile::builtin(Version(6, 1), 8);
        let run = run(&kmesh_05(), &[], settings(&profile));
        assert_eq!((run.timeline[0].maps, run.timeline[0].slots_total), (32_767, 32_768));
        assert_eq!(run.timeline[0].memlock, 32_767 * 4096);
        assert_eq!(run.next_growth_at, Some(22_938));
        assert_eq!(run.fixed.memlock, 8 << 20);
    }

    #[test]
    fn maps_only_come_and_go_in_steps() {
        let profile = Profile::builtin(Version(6, 12), 8);
        let mut events = Vec::new();
        // up, down and up again, with every number of services in between
        for (i, n) in (0..=3000).chain((0..=3000).rev()).chain(0..=1500).enumerate() {
            events.push(Event { t: i as Ms, demand: Demand::Services(n) });
        }
        for free_from in [FreeFrom::Top, FreeFrom::Bottom] {
            let run = run(&kmesh_05(), &events, Settings { free_from, ..settings(&profile) });
            assert_eq!(run.refused, 0);
            let ups = run.log.iter().filter(|l| l.kind == LogKind::ScaleUp).count() as u64;
            let ins = run.log.iter().filter(|l| l.kind == LogKind::ScaleIn).count() as u64;
            let last = run.timeline.last().unwrap();
            assert_eq!(last.maps, ups * 32_767 - ins * 8192);
            assert_eq!(last.slots_total, ups * 32_768 - ins * 8192);
            assert!(run.timeline.iter().all(|r| r.slots_used <= r.maps && r.memlock == r.maps * 1568));
        }
    }

    #[test]
    fn a_fixed_pool_refuses_what_does_not_fit() {
        let profile = Profile::builtin(Version(6, 1), 8);
        let events = [Event { t: 0, demand: Demand::Used(9000) }];
        let run = run(&"kmesh-0.4".parse().unwrap(), &events, settings(&profile));
        assert_eq!(run.refused, 9000 - 8192);
        assert_eq!(run.timeline.last().unwrap().slots_used, 8192);
    }

    #[test]
    fn policies_are_checked() {
        for bad in ["kmesh", "kmesh-0.5:up", "kmesh-0.5:up=0", "kmesh-0.5:low=80", "lazy:up=3", "kmesh-0.5:up=x"] {
            assert!(bad.parse::<Policy>().is_err(), "{bad}");
        }
        assert_eq!(
            "kmesh-0.5:step=8192".parse::<Policy>().unwrap().scheme,
            Scheme::Elastic { up: 8192, down: 8192, high: 70, low: 30, factor: 1 }
        );
    }
}
