//! What each metric is, where it comes from, and when nothing can be said about it.

use super::{Metric, Quantity};

/// A metric in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct About {
    /// What it is.
    pub what: String,
    /// Where its value comes from.
    pub source: &'static str,
    /// When it is inconclusive, beside not having been measured.
    pub open: String,
}

/// What a timing target adds to why it may be open.
const NOISE: &str = "a violation while the hypervisor took more than a tenth of the CPU time, or while other processes held RTNL for \
                     more than foreign_rtnl_percent of the requests' time in the kernel";

/// Of estimates of growth.
const GROWTH: &str = "the confidence interval of the slope holds both sides of a level, or a slope beyond it that may be none: it is beyond only \
                      where the estimate is and the interval excludes zero, and within only where all of the interval is";

/// Of a load profile's packets.
const TRAFFIC: &str = "the run had no [traffic]; the sender or the receiver failed, or had no room for what came; less than 90 % of what was \
                       due was sent";

/// Of what has no counterpart.
const NOWHERE: &str = "always: traffic control has nothing like it, and what cannot be measured never passes";

impl About {
    /// About a quantity.
    pub fn of(quantity: Quantity) -> Self {
        let about = Self::of_metric(quantity.metric);
        match quantity.phase {
            None => about,
            Some(phase) => Self {
                what: format!(
                    "{}, of the time in the phase `{}` ({})",
                    about.what,
                    phase.name(),
                    phase.words()
                ),
                source: "workloads[].phases_all_us, or phases_us of an operation: callers' moments joined with the probes'",
                open: format!("{}; no probe tells the phase", about.open),
            },
        }
    }

    fn of_metric(metric: Metric) -> Self {
        let timing = |open: &str| if open.is_empty() { NOISE.to_owned() } else { format!("{open}; {NOISE}") };
        let offered = "an open loop was offered less than the level: it cannot complete more";
        let (what, source, open) = match metric {
            Metric::ThroughputMeanOpsPerS => (
                "successful operations a second, over the measured time",
                "workloads[].throughput_ops_per_s.mean; of an operation, its successes over the measured time",
                timing(offered),
            ),
            Metric::ThroughputWorstSecondOpsPerS => (
                "successful operations in the worst whole second: what is sustained",
                "workloads[].throughput_ops_per_s.worst_second",
                timing(&format!("less than a whole second was measured; {offered}")),
            ),
            Metric::LatencyP50Us => latency("the median latency", 20),
            Metric::LatencyP90Us => latency("the latency that 90 % of the successful operations keep", 100),
            Metric::LatencyP95Us => latency("the latency that 95 % of the successful operations keep", 200),
            Metric::LatencyP99Us => latency("the latency that 99 % of the successful operations keep", 1_000),
            Metric::LatencyP999Us => {
                latency("the latency that 99.9 % of the successful operations keep", 10_000)
            }
            Metric::LatencyMaxUs => latency("the longest latency", 1),
            Metric::ErrorRatePercent => (
                "failed operations, percent of those sent",
                "workloads[].errors and operations",
                "fewer operations than tell it from its limit: 3 over the limit's share, so 300 for 1 %"
                    .into(),
            ),
            Metric::OfferedRateHeldPercent => (
                "operations completed by the end of an open loop's schedule and its grace, percent of those scheduled",
                "workloads[].operations and unsent",
                timing("a closed loop, which offers no rate"),
            ),
            Metric::PeakRssBytes => (
                "the process's largest resident set while it measured",
                "workloads[].resources.peak_rss_bytes: VmHWM, reset before each workload",
                "the kernel does not let it be reset".into(),
            ),
            Metric::CpuPercentOfOneCore => (
                "the process's user and system time over the wall time; 100 is one core kept busy",
                "workloads[].resources.cpu_percent_of_one_core: getrusage",
                timing(""),
            ),
            Metric::ClassesLeftAfterTeardown => (
                "HTB classes and qdiscs that outlived their workload's teardown",
                "workloads[].left_after_teardown: the kernel was asked",
                "the kernel could not be asked".into(),
            ),
            Metric::LeakedSockets => (
                "sockets open after the run that were not before",
                "resources.sockets_before and sockets_after: /proc/self/fd",
                "/proc does not tell".into(),
            ),
            Metric::LeakedFds => (
                "file descriptors open after the run that were not before",
                "resources.fds_before and fds_after: /proc/self/fd",
                "/proc does not tell".into(),
            ),
            Metric::MachineCpuPercent => (
                "the whole machine's CPU time in use while it measured, percent of all cores (`cluster_cpu`)",
                "resources.machine_cpu_percent: /proc/stat, at the target load where there was one; what a hypervisor took is not in use",
                "/proc does not tell, or nothing was measured for a hundredth of a second".into(),
            ),
            Metric::MachineMemoryPercent => (
                "the most of the machine's memory that was in use while it measured, percent (`cluster_memory`)",
                "resources.machine_memory_percent: what is not available to new processes without swapping, by MemTotal and \
                 MemAvailable of /proc/meminfo, ten times a second",
                "/proc does not tell".into(),
            ),
            Metric::MemoryGrowthMbPerHour => (
                "how fast the process's memory grows, 10^6 bytes an hour",
                "resources.growth: heap_bytes where what is allocated was followed, else rss_bytes, its resident set",
                GROWTH.into(),
            ),
            Metric::FdsGrowthPerHour => {
                ("how many descriptors more the process has each hour", "resources.growth.fds", GROWTH.into())
            }
            Metric::SocketsGrowthPerHour => {
                ("how many sockets more the process has each hour", "resources.growth.sockets", GROWTH.into())
            }
            Metric::SlabGrowthMbPerHour => (
                "how fast the kernel's slab memory of qdiscs grows, 10^6 bytes an hour",
                "resources.growth.slab_bytes",
                GROWTH.into(),
            ),
            Metric::PacketLossPercent | Metric::PacketsReordered => packets(metric),
            Metric::CacheHitRatePercent
            | Metric::NodeAvailabilityPercent
            | Metric::ServiceAvailabilityPercent => nowhere(metric),
        };
        Self { what: what.into(), source, open }
    }
}

fn packets(metric: Metric) -> (&'static str, &'static str, String) {
    if metric == Metric::PacketsReordered {
        return (
            "packets that came after a later one of their stream (RFC 4737)",
            "traffic.reordered: of the packets of a profile's [traffic]",
            format!("{TRAFFIC}; no packet came, or some came too late to tell"),
        );
    }
    (
        "packets lost, percent of those sent, on their way through classes that stand while others come and go, and are changed themselves",
        "traffic.loss_percent: of the packets of a profile's [traffic]; those still queued at its end are not lost",
        format!(
            "{TRAFFIC}; fewer packets than tell it from its limit: 3 over the limit's share, so 30,000 for 0.01 %"
        ),
    )
}

fn nowhere(metric: Metric) -> (&'static str, &'static str, String) {
    let what = match metric {
        Metric::CacheHitRatePercent => "a cache's hits, percent of its look-ups (a policy service's budget)",
        Metric::NodeAvailabilityPercent => {
            "a cluster's nodes that are up, percent (an infrastructure's budget)"
        }
        _ => "the time in which a service answers, percent",
    };
    (what, "nowhere", NOWHERE.into())
}

fn latency(what: &'static str, needs: u64) -> (&'static str, &'static str, String) {
    (
        what,
        "workloads[].latency_all_us, or latency_us of an operation; in an open loop from the intended start",
        format!("fewer than {needs} values; scheduled requests that were never sent; {NOISE}"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::enough::percentile_needs;

    #[test]
    fn the_words_say_how_many_values_are_needed() {
        for metric in Metric::all() {
            if let Some(share) = metric.share() {
                let needs = format!("fewer than {} values", percentile_needs(share));
                assert!(About::of_metric(*metric).open.contains(&needs), "{metric:?}: {needs}");
            }
        }
    }
}
