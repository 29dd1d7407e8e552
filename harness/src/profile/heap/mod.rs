//! What the process allocates, and what of it lives on: `heap.pb.gz` and `heap.svg`.
//!
//! A sample of allocations, as Go's runtime takes it: one in so many bytes on average, drawn, with the stack of each. What is not
//! sampled is estimated from what is. Only what Rust code allocates is seen; the C library's own is not.

mod allocator;
mod encode;
mod live;
mod table;
mod thread;

use std::num::NonZeroU64;
use std::time::{Duration, Instant, SystemTime};

pub use allocator::SampledAllocator;
pub use encode::HeapProfile;
pub use live::live_bytes;

use super::ProfileError;
use table::Site;

/// One allocation in so many bytes is sampled, unless asked otherwise: as often as Go does it.
pub const SAMPLED_EVERY: u64 = 512 << 10;

/// Samples allocations until it is stopped or dropped. Needs [`SampledAllocator`] as the program's allocator.
pub struct HeapProfiler {
    every: NonZeroU64,
    began: SystemTime,
    start: Instant,
}

/// The allocations that were sampled.
#[derive(Debug)]
pub struct Allocations {
    every: NonZeroU64,
    began: SystemTime,
    duration: Duration,
    sites: Vec<Site>,
}

impl HeapProfiler {
    /// Starts, with one sample in `every` bytes on average; with 1, every allocation.
    pub fn start(every: NonZeroU64) -> Result<Self, ProfileError> {
        let profiler = Self { every, began: SystemTime::now(), start: Instant::now() };
        if table::begin(every) {
            Ok(profiler)
        } else {
            // It is another's, and goes on.
            std::mem::forget(profiler);
            Err(ProfileError::new("sample allocations", &"they are sampled already"))
        }
    }

    /// Stops. What is not freed now counts as in use.
    pub fn stop(self) -> Allocations {
        let (every, began, duration) = (self.every, self.began, self.start.elapsed());
        Allocations { every, began, duration, sites: table::end() }
    }
}

impl Drop for HeapProfiler {
    fn drop(&mut self) {
        table::end();
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::hint::black_box;
    use std::sync::{Mutex, MutexGuard, PoisonError, mpsc};
    use std::thread;

    use pprof::protos::{Message as _, Profile};

    use super::*;

    #[global_allocator]
    static ALLOCATOR: SampledAllocator = SampledAllocator;

    /// There is one allocator, and tests run at the same time.
    fn alone() -> MutexGuard<'static, ()> {
        static ALONE: Mutex<()> = Mutex::new(());
        ALONE.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[test]
    fn bytes_in_use_are_counted_whoever_frees_them() {
        const BYTES: usize = 64 << 20;
        // Other tests allocate meanwhile, but not as much.
        let near = |grown: i64, expected: i64| (grown - expected).abs() < 32 << 20;
        let live = || live_bytes().unwrap().cast_signed();
        let before = live();
        let mut hoard = vec![1_u8; BYTES];
        assert!(near(live() - before, 64 << 20));
        hoard.reserve_exact(2 * BYTES);
        assert!(near(live() - before, 192 << 20));
        thread::spawn(move || drop(black_box(hoard))).join().unwrap();
        assert!(near(live() - before, 0));
    }

    fn every(bytes: u64) -> NonZeroU64 {
        NonZeroU64::new(bytes).unwrap()
    }

    fn decoded(heap: &HeapProfile) -> Profile {
        Profile::decode(heap.protobuf.as_slice()).unwrap()
    }

    /// The four values of all samples that `function` is on the stack of.
    fn values(profile: &Profile, function: &str) -> [i64; 4] {
        let text = |index: i64| profile.string_table[usize::try_from(index).unwrap()].as_str();
        let functions: BTreeMap<u64, &str> =
            profile.function.iter().map(|known| (known.id, text(known.name))).collect();
        let of: BTreeMap<u64, bool> = profile
            .location
            .iter()
            .map(|at| (at.id, at.line.iter().any(|line| functions[&line.function_id].contains(function))))
            .collect();
        let mut sum = [0; 4];
        for sample in profile.sample.iter().filter(|sample| sample.location_id.iter().any(|id| of[id])) {
            for (sum, value) in sum.iter_mut().zip(&sample.value) {
                *sum += value;
            }
        }
        sum
    }

    #[expect(clippy::vec_box, reason = "an allocation each is what this is for")]
    #[inline(never)]
    fn boxes_of_300_bytes(count: usize) -> Vec<Box<[u8; 300]>> {
        let mut boxes = Vec::with_capacity(count);
        boxes.extend((0..count).map(|_| black_box(Box::new([1; 300]))));
        boxes
    }

    #[test]
    fn with_every_allocation_sampled_the_figures_are_exact() {
        let _alone = alone();
        let profiler = HeapProfiler::start(every(1)).unwrap();
        let mut boxes = boxes_of_300_bytes(1_000);
        boxes.truncate(400);
        let allocations = profiler.stop();
        drop(boxes);
        let profile = decoded(&allocations.profile().unwrap());
        let vector = i64::try_from(1_000 * size_of::<usize>()).unwrap();
        assert_eq!(
            values(&profile, "boxes_of_300_bytes"),
            [1_001, 300_000 + vector, 401, 120_000 + vector],
            "the boxes and the vector"
        );
    }

    #[test]
    fn what_is_sampled_stands_for_what_is_not() {
        let _alone = alone();
        let profiler = HeapProfiler::start(every(4_096)).unwrap();
        let mut boxes = boxes_of_300_bytes(100_000);
        boxes.truncate(50_000);
        let profile = decoded(&profiler.stop().profile().unwrap());
        drop(boxes);
        let [objects, space, live, in_use] = values(&profile, "boxes_of_300_bytes").map(|value| value as f64);
        // The vector itself is far above the interval: it is sampled almost surely.
        let vector = (100_000 * size_of::<usize>()) as f64;
        // 7 % of 100,000 are sampled: a standard deviation of 1.2 %, and of 1.6 % where half of them are left. Six of them.
        for (what, estimated, true_value, bound) in [
            ("alloc_objects", objects, 1e5, 0.072),
            ("alloc_space", space - vector, 3e7, 0.072),
            ("inuse_objects", live, 5e4, 0.1),
            ("inuse_space", in_use - vector, 1.5e7, 0.1),
        ] {
            assert!(
                (estimated / true_value - 1.0).abs() < bound,
                "{what}: {estimated}, in truth {true_value}"
            );
        }
    }

    #[inline(never)]
    fn grown_step_by_step(steps: usize) -> Vec<u8> {
        let mut grown: Vec<u8> = Vec::with_capacity(64);
        for _ in 0..steps {
            grown.reserve_exact(grown.capacity() * 2);
            grown.resize(grown.capacity(), 7);
        }
        grown
    }

    #[test]
    fn memory_that_was_moved_lives_once_and_where_it_went() {
        let _alone = alone();
        let profiler = HeapProfiler::start(every(1)).unwrap();
        let grown = grown_step_by_step(3);
        let allocations = profiler.stop();
        let profile = decoded(&allocations.profile().unwrap());
        let sizes = grown.capacity();
        drop(grown);
        let [objects, _, live, in_use] = values(&profile, "grown_step_by_step");
        assert_eq!((objects, live), (4, 1));
        assert_eq!(in_use, i64::try_from(sizes).unwrap());
    }

    #[test]
    fn what_another_thread_frees_is_freed() {
        let _alone = alone();
        let profiler = HeapProfiler::start(every(1)).unwrap();
        let (sender, receiver) = mpsc::channel::<Box<[u8; 300]>>();
        let freeing = thread::spawn(move || receiver.into_iter().map(drop).count());
        let allocating: Vec<_> = (0..4)
            .map(|_| {
                let sender = sender.clone();
                thread::spawn(move || {
                    for boxed in boxes_of_300_bytes(5_000) {
                        sender.send(boxed).unwrap();
                    }
                })
            })
            .collect();
        drop(sender);
        for thread in allocating {
            thread.join().unwrap();
        }
        assert_eq!(freeing.join().unwrap(), 20_000);
        let profile = decoded(&profiler.stop().profile().unwrap());
        let [objects, _, live, in_use] = values(&profile, "boxes_of_300_bytes");
        assert_eq!((objects, live, in_use), (20_004, 0, 0));
    }

    #[test]
    fn one_profiler_at_a_time_and_none_afterwards() {
        let _alone = alone();
        let profiler = HeapProfiler::start(every(1)).unwrap();
        assert!(HeapProfiler::start(every(1)).is_err());
        drop(profiler);
        assert!(table::end().is_empty(), "nothing is recorded any more");
    }

    #[test]
    fn the_profile_says_what_it_is() {
        let _alone = alone();
        let profiler = HeapProfiler::start(every(1)).unwrap();
        drop(boxes_of_300_bytes(1));
        let heap = profiler.stop().profile().unwrap();
        let profile = &decoded(&heap);
        let text = |index: i64| profile.string_table[usize::try_from(index).unwrap()].as_str();
        let types: Vec<_> = profile.sample_type.iter().map(|kind| (text(kind.ty), text(kind.unit))).collect();
        assert_eq!(
            types,
            [
                ("alloc_objects", "count"),
                ("alloc_space", "bytes"),
                ("inuse_objects", "count"),
                ("inuse_space", "bytes")
            ]
        );
        assert_eq!(profile.period, 1);
        let leaf = |name: &str| profile.function.iter().any(|function| text(function.name).contains(name));
        assert!(!leaf("SampledAllocator") && !leaf("heap::table"), "how it was recorded is not of interest");
        let file = |function: &pprof::protos::Function| text(function.filename).ends_with("heap/mod.rs");
        assert!(profile.function.iter().any(file), "functions have files");
        let svg = String::from_utf8(heap.flamegraph).unwrap();
        assert!(svg.contains("boxes_of_300_bytes") && svg.contains("bytes"), "{svg:.200}");
    }
}
