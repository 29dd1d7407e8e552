//! Windows of all rounds → one stage. Pure, but for the events' type.

use std::time::Duration;

use ebpf_loader::RequestEvent;

use super::model::{Kernel, Latency, Stage};
use crate::stats::order::{ascending, median, median_interval, quantile};

/// Of the intervals of medians.
const CONFIDENCE: f64 = 0.95;

/// One operation at one size in one round.
#[derive(Debug, Clone, Default)]
pub(super) struct Window {
    /// Of each operation that succeeded; ns.
    pub(super) latencies: Vec<u64>,
    /// Operations that did not.
    pub(super) errors: u64,
    /// From the first to the last, for throughput.
    pub(super) elapsed: Duration,
    /// The requests as the probes saw them; none without probes.
    pub(super) kernel: Option<Phases>,
}

/// What the probes saw of a window.
#[derive(Debug, Clone, Default)]
pub(super) struct Phases {
    requests: Vec<u64>,
    rtnl_wait: Option<u64>,
    off_cpu: Option<u64>,
}

impl Phases {
    /// Of the events of a window; what no probe tells is absent.
    pub(super) fn of(events: &[RequestEvent], rtnl_wait: bool, off_cpu: bool) -> Self {
        let sum = |pick: fn(&RequestEvent) -> u64| events.iter().map(pick).sum::<u64>();
        Self {
            requests: events.iter().map(|event| event.total_ns).collect(),
            rtnl_wait: rtnl_wait.then(|| sum(|event| event.rtnl_wait_ns)),
            off_cpu: off_cpu.then(|| sum(|event| event.off_cpu_ns)),
        }
    }

    fn add(&mut self, other: &Self) {
        self.requests.extend(&other.requests);
        self.rtnl_wait = self.rtnl_wait.zip(other.rtnl_wait).map(|(a, b)| a + b);
        self.off_cpu = self.off_cpu.zip(other.off_cpu).map(|(a, b)| a + b);
    }

    fn figures(&self, sent: u64) -> Option<Kernel> {
        let count = self.requests.len() as f64;
        let micros = |nanos: u64| nanos as f64 / count / 1e3;
        let total = self.requests.iter().sum::<u64>();
        let on_cpu =
            self.rtnl_wait.zip(self.off_cpu).map(|(wait, off)| micros(total.saturating_sub(wait + off)));
        let sorted = in_micros(&self.requests);
        let seen = self.requests.len() as u64;
        Some(Kernel {
            request: micros(total),
            request_p50: quantile(&sorted, 0.5)?,
            rtnl_wait: self.rtnl_wait.map(micros),
            off_cpu: self.off_cpu.map(micros),
            on_cpu,
            seen,
            lost: sent.saturating_sub(seen),
        })
    }
}

fn in_micros(nanos: &[u64]) -> Vec<f64> {
    ascending(&nanos.iter().map(|&nanos| nanos as f64 / 1e3).collect::<Vec<_>>())
}

/// The windows of all rounds at a size. `None` where nothing succeeded.
pub(super) fn stage(n: f64, rounds: &[&Window]) -> Option<Stage> {
    let all: Vec<u64> = rounds.iter().flat_map(|window| window.latencies.iter().copied()).collect();
    let sorted = in_micros(&all);
    let latency_us = Latency {
        p50: quantile(&sorted, 0.5)?,
        p50_interval: median_interval(&sorted, CONFIDENCE),
        p95: quantile(&sorted, 0.95)?,
        p99: quantile(&sorted, 0.99)?,
        mean: sorted.iter().sum::<f64>() / sorted.len() as f64,
    };
    let errors: u64 = rounds.iter().map(|window| window.errors).sum();
    let mut phases = rounds.iter().map(|window| window.kernel.as_ref());
    let kernel = phases.next().flatten().cloned().and_then(|first| {
        phases.try_fold(first, |mut sum, phases| {
            sum.add(phases?);
            Some(sum)
        })
    });
    Some(Stage {
        n,
        operations: all.len() as u64,
        errors,
        latency_us,
        ops_per_s: median(&rounds.iter().filter_map(|window| throughput(window)).collect::<Vec<_>>())?,
        kernel_us: kernel.and_then(|phases| phases.figures(all.len() as u64 + errors)),
        rounds_p50_us: rounds.iter().filter_map(|window| latency(window, 0.5)).collect(),
    })
}

/// Operations a second; `None` of a window without time.
pub(super) fn throughput(window: &Window) -> Option<f64> {
    let seconds = window.elapsed.as_secs_f64();
    (seconds > 0.0 && !window.latencies.is_empty()).then(|| window.latencies.len() as f64 / seconds)
}

/// The mean of a window's latencies; µs.
pub(super) fn mean(window: &Window) -> Option<f64> {
    let count = window.latencies.len();
    (count > 0).then(|| window.latencies.iter().sum::<u64>() as f64 / count as f64 / 1e3)
}

/// A quantile of a window's latencies; µs.
pub(super) fn latency(window: &Window, share: f64) -> Option<f64> {
    quantile(&in_micros(&window.latencies), share)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(latencies: &[u64]) -> Window {
        let event = |&total_ns| RequestEvent {
            total_ns,
            rtnl_wait_ns: total_ns / 2,
            off_cpu_ns: total_ns / 10,
            ..RequestEvent::default()
        };
        let events: Vec<_> = latencies.iter().map(event).collect();
        Window {
            latencies: latencies.to_vec(),
            errors: 0,
            elapsed: Duration::from_millis(1),
            kernel: Some(Phases::of(&events, true, true)),
        }
    }

    #[test]
    fn phases_add_up_and_rounds_are_joined() {
        let (first, second) = (window(&[1_000, 3_000]), window(&[2_000]));
        let stage = stage(7.0, &[&first, &second]).unwrap();
        let kernel = stage.kernel_us.unwrap();
        assert_eq!((stage.operations, stage.latency_us.p50, stage.rounds_p50_us.len()), (3, 2.0, 2));
        assert!((stage.ops_per_s - 1_500.0).abs() < 1e-9);
        let sum = kernel.rtnl_wait.unwrap() + kernel.off_cpu.unwrap() + kernel.on_cpu.unwrap();
        assert!((sum - kernel.request).abs() < 1e-9 && (kernel.request - 2.0).abs() < 1e-9);
        assert_eq!((kernel.seen, kernel.lost), (3, 0));
    }

    #[test]
    fn what_was_not_seen_is_lost_and_what_no_probe_tells_absent() {
        let mut watched = window(&[1_000, 3_000]);
        watched.kernel = Some(Phases::of(&[RequestEvent::default()], false, true));
        let kernel = stage(1.0, &[&watched]).unwrap().kernel_us.unwrap();
        assert_eq!((kernel.rtnl_wait, kernel.on_cpu, kernel.lost), (None, None, 1));
        watched.kernel = None;
        assert!(stage(1.0, &[&watched]).unwrap().kernel_us.is_none());
        assert!(stage(1.0, &[&Window::default()]).is_none());
    }
}
