//! From changes to batches.

use super::policy::Window;
use super::{Types, Us, after};
use crate::model::stream::XdsType;

/// A change that reached the control plane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arrival {
    /// When.
    pub t: Us,
    /// The types whose content it may change; none for a change that concerns nothing that is served.
    pub touches: Types,
}

/// A moment at which the control plane has a new state to send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Batch {
    /// When.
    pub t: Us,
    /// The state is that after this many changes.
    pub upto: usize,
    /// Types touched since the batch before.
    pub touches: Types,
    /// Endpoints that did not wait for the window.
    pub bypass: bool,
}

/// The batches that a window makes of `arrivals`, which are sorted by time. Every change is in the end part of one.
pub fn batches(arrivals: &[Arrival], window: &Window, eds_bypass: bool) -> Vec<Batch> {
    let mut out = Vec::new();
    let mut state = Collector { window: *window, ..Collector::default() };
    let endpoints = Types::of(XdsType::Endpoints);
    for (i, arrival) in arrivals.iter().enumerate() {
        state.until(Some(arrival.t), i, &mut out);
        // control planes look away from what concerns nothing that they serve before they start a timer
        if arrival.touches == Types::NONE {
            continue;
        }
        if eds_bypass && arrival.touches == endpoints {
            out.push(Batch { t: arrival.t, upto: i + 1, touches: endpoints, bypass: true });
            continue;
        }
        state.touches = state.touches.and(arrival.touches);
        state.arrive(arrival.t);
        if *window == Window::None {
            out.push(Batch { t: arrival.t, upto: i + 1, touches: state.flush(arrival.t), bypass: false });
        }
    }
    state.until(None, arrivals.len(), &mut out);
    out
}

#[derive(Debug)]
struct Collector {
    window: Window,
    /// First and last change of the open batch.
    open: Option<(Us, Us)>,
    touches: Types,
    timer: Option<Us>,
    /// Istio: the push worker is busy until then. Work-conserving: the batch in work is done then.
    busy: Option<Us>,
    /// Work-conserving: the batch in work, with the state it began from.
    in_work: Option<(usize, Types)>,
    /// Contour: last rebuild. Minimal interval: last push.
    last_push: Option<Us>,
}

impl Default for Collector {
    fn default() -> Self {
        Self {
            window: Window::None,
            open: None,
            touches: Types::NONE,
            timer: None,
            busy: None,
            in_work: None,
            last_push: None,
        }
    }
}

impl Collector {
    /// A change arrives: timers are set.
    fn arrive(&mut self, t: Us) {
        let first = self.open.map_or(t, |(first, _)| first);
        let begins = self.open.is_none();
        self.open = Some((first, t));
        match self.window {
            Window::None => {}
            Window::Istio { after: quiet, .. } => {
                if begins {
                    self.timer = Some(after(t, quiet));
                }
            }
            Window::Holdoff { idle, quiet } => {
                let rested = self.last_push.is_none_or(|last| t.0 - last.0 > idle.0);
                self.timer = Some(if rested { t } else { after(t, quiet) });
            }
            Window::Fixed(length) => {
                if begins {
                    self.timer = Some(after(t, length));
                }
            }
            Window::Debounce { quiet, max } => self.timer = Some(after(t, quiet).min(after(first, max))),
            Window::MinInterval(interval) => {
                if begins {
                    self.timer = Some(self.last_push.map_or(t, |last| after(last, interval).max(t)));
                }
            }
            Window::Tick { interval, phase } => {
                if begins {
                    // the first tick after the change; one at its very moment came before it
                    let ticks = (t.0 - phase.0).div_euclid(interval.0) + 1;
                    self.timer = Some(Us((phase.0 + ticks.max(0) * interval.0).max(phase.0)));
                }
            }
            Window::WorkConserving(_) => {
                if self.in_work.is_none() && begins {
                    self.timer = Some(t);
                }
            }
        }
    }

    /// Lets everything happen that is due by `limit`, with `upto` changes so far.
    fn until(&mut self, limit: Option<Us>, upto: usize, out: &mut Vec<Batch>) {
        loop {
            // the worker that is done looks at the batch before a timer of the same moment does
            let due = [self.busy, self.timer].into_iter().flatten().min();
            let Some(due) = due.filter(|d| limit.is_none_or(|l| *d <= l)) else { return };
            if self.busy == Some(due) {
                self.busy = None;
                match self.window {
                    Window::Istio { .. } => self.check(due, upto, out),
                    _ => {
                        if let Some((begun, touches)) = self.in_work.take() {
                            out.push(Batch { t: due, upto: begun, touches, bypass: false });
                        }
                        if self.open.is_some() {
                            self.timer = Some(due);
                        }
                    }
                }
                continue;
            }
            self.timer = None;
            match self.window {
                Window::Istio { .. } if self.busy.is_some() => {}
                Window::Istio { .. } => self.check(due, upto, out),
                Window::WorkConserving(service) => {
                    let touches = self.flush(due);
                    self.in_work = Some((upto, touches));
                    self.busy = Some(after(due, service));
                }
                _ => {
                    let touches = self.flush(due);
                    out.push(Batch { t: due, upto, touches, bypass: false });
                }
            }
        }
    }

    /// Istio's `pushWorker`.
    fn check(&mut self, t: Us, upto: usize, out: &mut Vec<Batch>) {
        let Window::Istio { after: quiet, max, push } = self.window else { return };
        let Some((first, last)) = self.open else { return };
        if t.0 - first.0 >= max.0 || t.0 - last.0 >= quiet.0 {
            let touches = self.flush(t);
            out.push(Batch { t, upto, touches, bypass: false });
            self.busy = (push.0 > 0).then(|| after(t, push));
        } else {
            self.timer = Some(after(last, quiet));
        }
    }

    /// The open batch is taken.
    fn flush(&mut self, t: Us) -> Types {
        self.open = None;
        self.last_push = Some(t);
        std::mem::take(&mut self.touches)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::control_plane::Policy;

    const MS: i64 = 1000;

    /// Changes of clusters at these milliseconds.
    fn at(ms: &[i64]) -> Vec<Arrival> {
        ms.iter().map(|t| Arrival { t: Us(t * MS), touches: Types::of(XdsType::Cluster) }).collect()
    }

    /// (milliseconds, changes so far) of each batch.
    fn run(policy: &str, ms: &[i64]) -> Vec<(i64, usize)> {
        let policy: Policy = policy.parse().unwrap();
        let out = batches(&at(ms), &policy.window, policy.eds_bypass);
        out.iter().map(|b| (b.t.0 / MS, b.upto)).collect()
    }

    #[test]
    fn none_pushes_every_change() {
        assert_eq!(run("none", &[0, 0, 5]), [(0, 1), (0, 2), (5, 3)]);
        assert_eq!(run("contour-0.5", &[0, 1, 700]), [(0, 1), (1, 2), (700, 3)]);
    }

    #[test]
    fn fixed_window_opens_at_the_first_change_and_flushes_the_last_one_too() {
        // [0, 5000) holds three, the one at 5000 opens the next window
        assert_eq!(
            run("fixed-window:window=5s", &[0, 1000, 4999, 5000, 12_000]),
            [(5000, 3), (10_000, 4), (17_000, 5)]
        );
        assert_eq!(run("consul", &[10, 20, 209, 500]), [(210, 3), (700, 4)]);
    }

    #[test]
    fn debounce_is_rearmed_and_has_a_hard_maximum() {
        assert_eq!(run("debounce:quiet=1s,max=10s", &[0, 900, 1800]), [(2800, 3)]);
        // a change every 600 ms: the timer never ends, the maximum does, at 10 s after the first of the batch
        let steady: Vec<i64> = (0..20).map(|i| i * 600).collect();
        assert_eq!(run("debounce:quiet=1s,max=10s", &steady), [(10_000, 17), (12_400, 20)]);
        assert_eq!(run("debounce:quiet=0s", &[0, 0, 7]), [(0, 1), (0, 2), (7, 3)]);
    }

    #[test]
    fn min_interval_has_a_leading_edge() {
        assert_eq!(run("min-interval:interval=2s", &[0, 100, 1900, 5000]), [(0, 1), (2000, 3), (5000, 4)]);
    }

    #[test]
    fn istio_does_not_rearm_its_timer() {
        // timer at 100 finds the last change 50 ms old: again 100 ms after that change, at 150
        assert_eq!(run("istio", &[0, 50]), [(150, 2)]);
        // timer 100: last 90, → 190: last 180 → 280
        assert_eq!(run("istio", &[0, 90, 180]), [(280, 3)]);
        assert_eq!(run("istio", &[0, 100]), [(100, 1), (200, 2)]);
    }

    #[test]
    fn istio_looks_at_its_maximum_only_when_the_timer_ends() {
        // a change every 60 ms with after=100, max=250: timers end at 100 (last 60 → 160), 160 (last 120 → 220),
        // 220 (last 180 → 280), 280: 280 ms after the first, past the maximum
        let steady: Vec<i64> = (0..6).map(|i| i * 60).collect();
        assert_eq!(run("istio:after=100ms,max=250ms", &steady), [(280, 5), (400, 6)]);
    }

    #[test]
    fn the_worst_delay_of_istio_is_its_maximum_and_one_quiet_time() {
        // the timer ends at 100 and finds the change of 99 (→ 199); at 199 it finds that of 198.999, with the maximum
        // 1 us away: the push is at 298.999, 298.999 ms after the first change, under max + after = 299.001
        let us = [0, 99_000, 198_999];
        let arrivals: Vec<Arrival> =
            us.iter().map(|t| Arrival { t: Us(*t), touches: Types::of(XdsType::Cluster) }).collect();
        let policy: Policy = "istio:after=100ms,max=199001us".parse().unwrap();
        let out = batches(&arrivals, &policy.window, false);
        assert_eq!(out.iter().map(|b| b.t.0).collect::<Vec<_>>(), [298_999]);
    }

    #[test]
    fn istio_pushes_one_at_a_time() {
        // push at 100 keeps the worker busy until 1100; the timer of the change at 200 ends at 300 and is dropped; the
        // worker that is done finds both changes quiet
        assert_eq!(run("istio:push=1s", &[0, 200, 600]), [(100, 1), (1100, 3)]);
        // the change at 1050 is not quiet at 1100: a timer for the rest, to 1150
        assert_eq!(run("istio:push=1s", &[0, 200, 1050]), [(100, 1), (1150, 3)]);
        // flow control has the same window
        assert_eq!(run("istio-flow-control", &[0, 50]), [(150, 2)]);
    }

    #[test]
    fn contour_pushes_the_first_change_at_once() {
        // 0: idle, at once. 10, 20: within 500 ms of the rebuild, 100 ms after the last
        assert_eq!(run("contour", &[0, 10, 20]), [(0, 1), (120, 3)]);
        // exactly 500 ms after a rebuild is not idle yet
        assert_eq!(run("contour-0.6", &[0, 500]), [(0, 1), (600, 2)]);
        assert_eq!(run("contour-0.6", &[0, 501]), [(0, 1), (501, 2)]);
        // under steady load the timer is re-armed until a change comes more than 500 ms after the last rebuild
        let steady: Vec<i64> = (0..12).map(|i| i * 60).collect();
        assert_eq!(run("contour", &steady), [(0, 1), (540, 10), (760, 12)]);
    }

    #[test]
    fn kuma_ticks() {
        assert_eq!(run("kuma", &[0, 100, 1500, 2000]), [(1000, 2), (2000, 3), (3000, 4)]);
        assert_eq!(run("kuma:phase=300ms", &[0, 299, 300]), [(300, 2), (1300, 3)]);
        assert_eq!(run("kuma:interval=5s,phase=7s", &[0, 1000, 8000]), [(7000, 2), (12_000, 3)]);
    }

    #[test]
    fn envoy_gateway_is_never_idle_with_work_and_never_waits() {
        // at once at 0, in work until 300; what came meanwhile is one batch, in work until 600
        assert_eq!(run("envoy-gateway:service=300ms", &[0, 100, 200]), [(300, 1), (600, 3)]);
        assert_eq!(run("envoy-gateway:service=300ms", &[0, 1000]), [(300, 1), (1300, 2)]);
        assert_eq!(run("envoy-gateway", &[0, 0, 5]), [(0, 1), (0, 2), (5, 3)]);
    }

    #[test]
    fn what_touches_nothing_starts_no_timer() {
        let mut arrivals = at(&[0, 400, 450]);
        arrivals[0].touches = Types::NONE;
        let contour: Policy = "contour-0.6".parse().unwrap();
        // at once: nothing was rebuilt for the one at 0
        let out = batches(&arrivals, &contour.window, true);
        assert_eq!(out.iter().map(|b| (b.t.0 / MS, b.upto)).collect::<Vec<_>>(), [(400, 2), (550, 3)]);
        assert_eq!(batches(&arrivals, &Window::None, false).len(), 2);
    }

    #[test]
    fn endpoints_bypass_the_window() {
        let mut arrivals = at(&[0, 10, 30]);
        arrivals[1].touches = Types::of(XdsType::Endpoints);
        let out = batches(&arrivals, &Window::Fixed(Us(100 * MS)), true);
        let seen: Vec<_> = out.iter().map(|b| (b.t.0 / MS, b.upto, b.bypass)).collect();
        assert_eq!(seen, [(10, 2, true), (100, 3, false)]);
        assert_eq!(batches(&arrivals, &Window::Fixed(Us(100 * MS)), false).len(), 1);
    }
}
