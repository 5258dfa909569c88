//! A number of bytes that nobody has measured on this very object.

use std::iter::Sum;
use std::ops::{Add, AddAssign};

use serde::{Deserialize, Serialize};

/// An estimate in bytes with the interval the measured value is expected in.
///
/// Sums add the bounds too: errors of one coefficient are the same for every object that uses it, so they do not
/// average out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(default)]
pub struct Estimate {
    /// Best guess.
    pub bytes: u64,
    /// Lower bound.
    pub low: u64,
    /// Upper bound.
    pub high: u64,
}

impl Estimate {
    /// An estimate with the same relative error to both sides, in percent.
    pub fn within(bytes: u64, percent: u64) -> Self {
        let d = bytes / 100 * percent + bytes % 100 * percent / 100;
        Self { bytes, low: bytes - d.min(bytes), high: bytes + d }
    }

    /// A known number.
    pub fn exact(bytes: u64) -> Self {
        Self { bytes, low: bytes, high: bytes }
    }
}

impl Add for Estimate {
    type Output = Self;
    fn add(self, o: Self) -> Self {
        Self { bytes: self.bytes + o.bytes, low: self.low + o.low, high: self.high + o.high }
    }
}

impl AddAssign for Estimate {
    fn add_assign(&mut self, o: Self) {
        *self = *self + o;
    }
}

impl Sum for Estimate {
    fn sum<I: Iterator<Item = Self>>(iter: I) -> Self {
        iter.fold(Self::default(), Add::add)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds() {
        assert_eq!(Estimate::within(1000, 25), Estimate { bytes: 1000, low: 750, high: 1250 });
        assert_eq!(Estimate::within(10, 200).low, 0);
        assert_eq!([Estimate::within(100, 10), Estimate::exact(5)].into_iter().sum::<Estimate>().high, 115);
    }
}
