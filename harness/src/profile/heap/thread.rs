//! When a thread's next sample is due.

use std::cell::Cell;

/// What a thread remembers. It is read inside the allocator, so it must neither allocate nor have an end.
pub(super) struct Thread {
    /// Whether this thread is recording: what it allocates meanwhile is the profiler's own.
    busy: Cell<bool>,
    /// The profile that the rest belongs to.
    profile: Cell<u32>,
    /// Bytes until the next sample.
    left: Cell<u64>,
    random: Cell<u64>,
}

impl Thread {
    pub(super) const fn new() -> Self {
        Self { busy: Cell::new(false), profile: Cell::new(0), left: Cell::new(0), random: Cell::new(0) }
    }

    /// Whether an allocation of `size` bytes is sampled, in the profile of that number, which samples each `every` bytes on average;
    /// `seed` is asked for once a thread and profile.
    pub(super) fn samples(&self, size: u64, profile: u32, every: u64, seed: impl FnOnce() -> u64) -> bool {
        if self.profile.get() != profile {
            self.profile.set(profile);
            self.random.set(seed());
            self.left.set(self.draw(every));
        }
        let left = self.left.get();
        if size <= left {
            self.left.set(left - size);
            return false;
        }
        // The distribution has no memory: where in the allocation the point lay does not matter.
        self.left.set(self.draw(every));
        true
    }

    /// Runs `work`, unless this thread is at such work already, in which case it is the profiler's own memory.
    pub(super) fn unless_busy<T>(&self, work: impl FnOnce() -> T) -> Option<T> {
        if self.busy.replace(true) {
            return None;
        }
        let result = work();
        self.busy.set(false);
        Some(result)
    }

    /// Whether this thread is recording.
    pub(super) fn is_busy(&self) -> bool {
        self.busy.get()
    }

    /// Bytes to the next point of a Poisson process with one point in `every` bytes. Every allocation has one if that is 1.
    fn draw(&self, every: u64) -> u64 {
        if every == 1 {
            return 0;
        }
        // In (0, 1]: 53 bits.
        let uniform = ((self.next_random() >> 11) + 1) as f64 / (1_u64 << 53) as f64;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "of 0 to 37 times an interval"
        )]
        let distance = (-uniform.ln() * every as f64) as u64;
        distance
    }

    /// `SplitMix64` (Steele, Lea, Flood: Fast splittable pseudorandom number generators, 2014): a word of state, and no set-up.
    fn next_random(&self) -> u64 {
        let state = self.random.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
        self.random.set(state);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_allocation_is_sampled_as_often_as_its_size_says() {
        const ALLOCATIONS: u32 = 200_000;
        for size in [16, 4_096, 100_000, 1_000_000_u64] {
            let thread = Thread::new();
            let sampled = (0..ALLOCATIONS).filter(|_| thread.samples(size, 1, 100_000, || 7)).count() as f64;
            let probability = 1.0 - (-(size as f64) / 1e5).exp();
            let expected = f64::from(ALLOCATIONS) * probability;
            let deviation = (expected * (1.0 - probability)).sqrt();
            assert!(
                (sampled - expected).abs() < 4.0 * deviation + 1.0,
                "{size} bytes: {sampled} of {ALLOCATIONS}, expected {expected}"
            );
        }
    }

    #[test]
    fn every_allocation_is_every_allocation() {
        let thread = Thread::new();
        assert!((1..10_000).all(|size| thread.samples(size, 1, 1, || 7)));
    }

    #[test]
    fn what_is_done_while_busy_is_not_done_again() {
        let thread = Thread::new();
        assert_eq!(thread.unless_busy(|| thread.unless_busy(|| ())), Some(None));
        assert!(!thread.is_busy());
    }
}
