//! What a client reports of itself.

use std::time::{Duration, Instant};

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;
use serde::{Deserialize, Serialize};

use crate::allocations;

/// One line of JSON on a client's standard output.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Figures {
    pub(crate) operations: u64,
    /// Wall time of all of them.
    pub(crate) seconds: f64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) p50_us: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) p95_us: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) p99_us: Option<f64>,
    /// Allocations for each operation, where they were counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) allocations_per_operation: Option<f64>,
    /// CPU seconds of the work.
    pub(crate) cpu_user: f64,
    pub(crate) cpu_system: f64,
    /// Absent where it cannot be told from the memory of who started the client.
    pub(crate) peak_rss_kb: Option<u64>,
}

impl Figures {
    pub(crate) fn operations_per_second(&self) -> f64 {
        self.operations as f64 / self.seconds
    }
}

/// User and system time of this process so far, in seconds.
pub(crate) fn cpu_time() -> (f64, f64) {
    getrusage(UsageWho::RUSAGE_SELF).map_or((0.0, 0.0), |usage| {
        let seconds = |time: nix::sys::time::TimeVal| time.num_microseconds() as f64 / 1e6;
        (seconds(usage.user_time()), seconds(usage.system_time()))
    })
}

/// `VmHWM` of proc(5). Not `ru_maxrss`: that one is inherited from whoever started the process.
pub(crate) fn peak_rss_kb() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.split_whitespace().next()?.parse().ok())
}

/// Between its creation and [`Stopwatch::stop`].
pub(crate) struct Stopwatch {
    start: Instant,
    cpu: (f64, f64),
    allocations: Option<u64>,
}

impl Stopwatch {
    pub(crate) fn start() -> Self {
        Self { cpu: cpu_time(), allocations: allocations::so_far(), start: Instant::now() }
    }

    pub(crate) fn stop(self, operations: u64, mut latencies: Vec<Duration>) -> Figures {
        let seconds = self.start.elapsed().as_secs_f64();
        let (user, system) = cpu_time();
        let allocations = allocations::so_far();
        latencies.sort_unstable();
        let at = |percent: usize| {
            latencies.get(latencies.len() * percent / 100).map(|latency| latency.as_secs_f64() * 1e6)
        };
        Figures {
            operations,
            seconds,
            p50_us: at(50),
            p95_us: at(95),
            p99_us: at(99),
            allocations_per_operation: self
                .allocations
                .zip(allocations)
                .map(|(before, after)| (after - before) as f64 / operations as f64),
            cpu_user: user - self.cpu.0,
            cpu_system: system - self.cpu.1,
            peak_rss_kb: peak_rss_kb(),
        }
    }
}
