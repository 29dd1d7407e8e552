//! What the probes count about themselves, on each CPU.

use core::{
    mem::{align_of, offset_of, size_of},
    ops::AddAssign,
};

/// Counts since the probes were attached. The probes keep one of these per CPU; the loader adds them up.
///
/// Every traffic-control request of the traced process is in exactly one of the first four: `emitted + lost_ring_full +
/// lost_slot + lost_header` is the number of requests that ended.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Events handed to the ring buffer.
    pub emitted: u64,
    /// Requests whose event found the ring buffer full.
    pub lost_ring_full: u64,
    /// Requests not followed because another thread's request held their slot.
    pub lost_slot: u64,
    /// Sends whose first 16 bytes could not be read from the sender's memory: perhaps a request.
    pub lost_header: u64,
    /// Ext-ack texts that found the ring buffer full. Not requests.
    pub lost_ext_acks: u64,
    /// Requests that were begun and of which no end was seen before the same thread's next one.
    pub unmatched: u64,
    /// Processes that a followed one started and that are not followed, because too many are. Not requests: how many of
    /// theirs are missing is not known.
    pub lost_processes: u64,
    /// Samples that hit the process in user mode, where there is no kernel stack.
    pub samples_user: u64,
    /// Samples in kernel mode whose stack was counted.
    pub samples_kernel: u64,
    /// Samples in kernel mode whose stack could not be stored, and samples that found the ring buffer full.
    pub samples_lost: u64,
    /// Waits, off the CPU or for RTNL, whose sample found the ring buffer full. Not requests.
    pub lost_waits: u64,
}

impl AddAssign for Counters {
    fn add_assign(&mut self, other: Self) {
        self.emitted += other.emitted;
        self.lost_ring_full += other.lost_ring_full;
        self.lost_slot += other.lost_slot;
        self.lost_header += other.lost_header;
        self.lost_ext_acks += other.lost_ext_acks;
        self.unmatched += other.unmatched;
        self.lost_processes += other.lost_processes;
        self.samples_user += other.samples_user;
        self.samples_kernel += other.samples_kernel;
        self.samples_lost += other.samples_lost;
        self.lost_waits += other.lost_waits;
    }
}

const _: () = {
    assert!(size_of::<Counters>() == 88 && align_of::<Counters>() == 8);
    assert!(offset_of!(Counters, unmatched) == 40);
    assert!(offset_of!(Counters, samples_lost) == 72);
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn adding_adds_every_field() {
        let one = Counters {
            emitted: 1,
            lost_ring_full: 2,
            lost_slot: 3,
            lost_header: 4,
            lost_ext_acks: 9,
            unmatched: 5,
            lost_processes: 10,
            samples_user: 6,
            samples_kernel: 7,
            samples_lost: 8,
            lost_waits: 11,
        };
        let mut sum = one;
        sum += one;
        let doubled = Counters {
            emitted: 2,
            lost_ring_full: 4,
            lost_slot: 6,
            lost_header: 8,
            lost_ext_acks: 18,
            unmatched: 10,
            lost_processes: 20,
            samples_user: 12,
            samples_kernel: 14,
            samples_lost: 16,
            lost_waits: 22,
        };
        assert_eq!(sum, doubled);
    }
}
