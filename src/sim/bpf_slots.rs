//! A set of slot numbers that gives its lowest and highest quickly: bits, with bounds that follow the use.

/// A set of slot numbers.
#[derive(Debug, Clone, Default)]
pub(super) struct Slots {
    words: Vec<u64>,
    len: u64,
    /// No word before this one has a bit.
    low: usize,
    /// No word from this one on has a bit.
    high: usize,
}

impl Slots {
    pub(super) fn len(&self) -> u64 {
        self.len
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(super) fn contains(&self, slot: u32) -> bool {
        let (word, bit) = place(slot);
        self.words.get(word).is_some_and(|w| w & bit != 0)
    }

    /// True when it was not in the set.
    pub(super) fn insert(&mut self, slot: u32) -> bool {
        let (word, bit) = place(slot);
        if word >= self.words.len() {
            self.words.resize((word + 1).next_power_of_two(), 0);
        }
        let new = self.words[word] & bit == 0;
        if new {
            self.words[word] |= bit;
            self.low = if self.len == 0 { word } else { self.low.min(word) };
            self.high = self.high.max(word + 1);
            self.len += 1;
        }
        new
    }

    /// True when it was in the set.
    pub(super) fn remove(&mut self, slot: u32) -> bool {
        let there = self.contains(slot);
        if there {
            let (word, bit) = place(slot);
            self.words[word] &= !bit;
            self.len -= 1;
            if self.len == 0 {
                (self.low, self.high) = (0, 0);
            }
        }
        there
    }

    pub(super) fn first(&mut self) -> Option<u32> {
        while self.low < self.high {
            match self.words[self.low] {
                0 => self.low += 1,
                word => return Some((self.low * 64) as u32 + word.trailing_zeros()),
            }
        }
        None
    }

    pub(super) fn last(&mut self) -> Option<u32> {
        while self.high > self.low {
            match self.words[self.high - 1] {
                0 => self.high -= 1,
                word => return Some((self.high * 64 - 1) as u32 - word.leading_zeros()),
            }
        }
        None
    }

    pub(super) fn pop_first(&mut self) -> Option<u32> {
        let slot = self.first()?;
        self.remove(slot);
        Some(slot)
    }

    pub(super) fn pop_last(&mut self) -> Option<u32> {
        let slot = self.last()?;
        self.remove(slot);
        Some(slot)
    }

    /// How many are not below `slot`.
    pub(super) fn count_from(&self, slot: u32) -> u64 {
        let (word, bit) = place(slot);
        let head = self.words.get(word).map_or(0, |w| (w & !(bit - 1)).count_ones());
        let tail: u32 = self.words.iter().skip(word + 1).map(|w| w.count_ones()).sum();
        u64::from(head + tail)
    }
}

fn place(slot: u32) -> (usize, u64) {
    (slot as usize / 64, 1 << (slot % 64))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn agrees_with_a_sorted_set() {
        let (mut ours, mut theirs) = (Slots::default(), BTreeSet::new());
        let mut state = 1u64;
        for _ in 0..20_000 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let slot = (state >> 40) as u32 % 700;
            match state >> 33 & 7 {
                0..4 => assert_eq!(ours.insert(slot), theirs.insert(slot)),
                4 => assert_eq!(ours.remove(slot), theirs.remove(&slot)),
                5 => assert_eq!(ours.pop_first(), theirs.pop_first()),
                6 => assert_eq!(ours.pop_last(), theirs.pop_last()),
                _ => assert_eq!(ours.count_from(slot), theirs.range(slot..).count() as u64),
            }
            assert_eq!(ours.len(), theirs.len() as u64);
            assert_eq!((ours.first(), ours.last()), (theirs.first().copied(), theirs.last().copied()));
        }
    }
}
