//! How many requests were seen, and how many were lost.

use std::{fs, os::fd::AsRawFd as _};

use aya::{
    maps::{MapData, MapError, PerCpuArray},
    programs::ProgramFd,
};

use crate::bytes::ProbeCounters;

/// Counts since the probes were attached, over all CPUs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Events handed to the ring buffer.
    pub emitted: u64,
    /// Requests whose event found the ring buffer full: drain it more often, or make it larger.
    pub lost_ring_full: u64,
    /// Requests not followed because another thread's request was in their slot: thread ids that differ by a multiple of 8,192.
    pub lost_slot: u64,
    /// Sends whose first bytes the probe could not read: perhaps requests.
    pub lost_header: u64,
    /// Ext-ack texts that found the ring buffer full. The requests themselves are counted elsewhere.
    pub lost_ext_acks: u64,
    /// Requests whose end was not seen.
    pub unmatched: u64,
    /// Processes that a followed one started and whose requests are not among the events, because 32,768 are followed already.
    pub lost_processes: u64,
    /// Samples that found the ring buffer full, or whose stack could not be kept. Not requests.
    pub lost_samples: u64,
    /// Requests or sends, of any process, that the kernel did not show to the probes, because another BPF program or a BPF system call was
    /// under way on that CPU. At most so many requests were missed. `None`: this kernel does not count them.
    pub missed_runs: Option<u64>,
}

impl Counters {
    /// How many requests may be missing from the events.
    pub const fn lost(&self) -> u64 {
        let missed = match self.missed_runs {
            Some(missed) if missed > self.unmatched => missed,
            _ => self.unmatched,
        };
        self.lost_ring_full + self.lost_slot + self.lost_header + missed
    }
}

/// Adds up what each CPU counted.
pub(crate) fn sum(map: &PerCpuArray<MapData, ProbeCounters>) -> Result<ebpf_common::Counters, MapError> {
    let mut sum = ebpf_common::Counters::default();
    for ProbeCounters(cpu) in map.get(&0, 0)?.iter() {
        sum += *cpu;
    }
    Ok(sum)
}

/// How often the kernel skipped a program.
pub(crate) fn missed_runs(program: &ProgramFd) -> Option<u64> {
    use std::os::fd::AsFd as _;
    let path = format!("/proc/self/fdinfo/{}", program.as_fd().as_raw_fd());
    parse_missed_runs(&fs::read_to_string(path).ok()?)
}

fn parse_missed_runs(fdinfo: &str) -> Option<u64> {
    fdinfo.lines().find_map(|line| line.strip_prefix("recursion_misses:")?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recursion_misses_are_read_from_fdinfo() {
        let fdinfo = "pos:\t0\nflags:\t02000002\nprog_type:\t5\nrecursion_misses:\t12\nverified_insns:\t7\n";
        assert_eq!(parse_missed_runs(fdinfo), Some(12));
        assert_eq!(parse_missed_runs("pos:\t0\n"), None);
    }

    #[test]
    fn lost_counts_an_unmatched_request_once() {
        let counters = Counters {
            emitted: 100,
            lost_ring_full: 1,
            lost_slot: 2,
            lost_header: 4,
            lost_ext_acks: 64,
            unmatched: 8,
            lost_processes: 32,
            lost_samples: 128,
            missed_runs: Some(8),
        };
        assert_eq!(counters.lost(), 15);
        assert_eq!(Counters { missed_runs: None, ..counters }.lost(), 15);
        assert_eq!(Counters { missed_runs: Some(16), ..counters }.lost(), 23);
    }
}
