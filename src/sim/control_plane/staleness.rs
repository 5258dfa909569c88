//! How long changes wait.

use super::gate::Delivery;
use super::window::Arrival;
use super::{Types, slot};
use crate::model::stream::XdsType;

/// Waiting times of the changes of each type (by position in [`Types::ORDER`]), in microseconds, in order of arrival:
/// from the arrival to the first delivery of that type with a state at least as new, whether a response had to be sent
/// for it or not. Changes for which `matters(type, state)` is false count for nothing; those never delivered are left
/// out.
pub fn waits(arrivals: &[Arrival], deliveries: &[Delivery], matters: &dyn Fn(XdsType, usize) -> bool) -> [Vec<i64>; 9] {
    let mut of: [Vec<&Delivery>; 9] = std::array::from_fn(|_| Vec::new());
    for d in deliveries {
        of[slot(d.kind)].push(d);
    }
    let mut next = [0_usize; 9];
    let mut out: [Vec<i64>; 9] = std::array::from_fn(|_| Vec::new());
    for (i, arrival) in arrivals.iter().enumerate() {
        for kind in Types::iter(arrival.touches).filter(|k| matters(*k, i + 1)) {
            let (list, at) = (&of[slot(kind)], &mut next[slot(kind)]);
            while list.get(*at).is_some_and(|d| d.upto <= i) {
                *at += 1;
            }
            if let Some(d) = list.get(*at) {
                out[slot(kind)].push(d.t.0 - arrival.t.0);
            }
        }
    }
    out
}

/// The value below or at which `percent` of `sorted` lie (nearest rank); 0 for nothing.
pub fn percentile(sorted: &[i64], percent: usize) -> i64 {
    let rank = (sorted.len() * percent).div_ceil(100);
    sorted.get(rank.max(1) - 1).copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::stream::Us;

    #[test]
    fn each_change_waits_for_the_first_state_that_holds_it() {
        let l = Types::of(XdsType::Listener);
        let c = Types::of(XdsType::Cluster);
        let arrival = |t, touches| Arrival { t: Us(t), touches };
        let delivery = |t, kind, upto| Delivery { t: Us(t), kind, upto, sent: true };
        let arrivals = [arrival(0, l), arrival(10, l.and(c)), arrival(20, l), arrival(30, c)];
        let deliveries =
            [delivery(5, XdsType::Listener, 1), delivery(25, XdsType::Listener, 3), delivery(25, XdsType::Cluster, 3)];
        let all = waits(&arrivals, &deliveries, &|_, _| true);
        assert_eq!(all[slot(XdsType::Listener)], [5, 15, 5]);
        // the last one is never delivered
        assert_eq!(all[slot(XdsType::Cluster)], [15]);
        let some = waits(&arrivals, &deliveries, &|kind, state| kind == XdsType::Listener && state != 2);
        assert_eq!(some[slot(XdsType::Listener)], [5, 5]);
    }

    #[test]
    fn percentiles_are_values_that_occurred() {
        let v: Vec<i64> = (1..=100).collect();
        assert_eq!([50, 99, 100].map(|p| percentile(&v, p)), [50, 99, 100]);
        assert_eq!(percentile(&[7], 50), 7);
        assert_eq!(percentile(&[], 99), 0);
        assert_eq!(percentile(&[1, 2, 3], 50), 2);
    }
}
