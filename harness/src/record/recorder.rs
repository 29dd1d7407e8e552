//! Outcomes as the callers see them.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use super::{nanoseconds, percentiles};
use crate::report::model::{ErrorCount, Percentiles, Throughput};
use crate::workload::OperationKind;

/// Each worker has a record of its own behind a lock that nobody else wants but once a second, when
/// [`Recorder::take_interval`] empties it.
pub struct Recorder {
    workers: Vec<Mutex<Record>>,
    round: Mutex<Round>,
}

/// Which part of the measured time is running: rounds follow each other without the pauses in between.
#[derive(Clone, Copy)]
struct Round {
    began: Instant,
    /// Measured time before it.
    before: Duration,
}

struct Record {
    interval: Interval,
    /// Successful operations by whole second of measured time.
    seconds: Vec<u64>,
    succeeded: u64,
    errors: BTreeMap<(Option<i32>, String), u64>,
    round: Round,
    /// Measured time at the last outcome.
    last: Duration,
}

/// Latencies since the last interval, by operation.
pub struct Interval(Vec<Histogram<u64>>);

impl Default for Interval {
    fn default() -> Self {
        Self(OperationKind::ALL.iter().map(|_| nanoseconds()).collect())
    }
}

impl Interval {
    /// The operations that have values.
    pub fn by_operation(&self) -> impl Iterator<Item = (OperationKind, &Histogram<u64>)> {
        OperationKind::ALL.into_iter().zip(&self.0).filter(|(_, histogram)| !histogram.is_empty())
    }

    /// Adds another's values.
    pub fn add(&mut self, other: &Self) {
        for (sum, part) in self.0.iter_mut().zip(&other.0) {
            if !part.is_empty() {
                sum.add(part).expect("an auto-resizing histogram takes any value");
            }
        }
    }

    /// All operations together.
    pub fn merged(&self) -> Histogram<u64> {
        let mut all = nanoseconds();
        for (_, histogram) in self.by_operation() {
            all.add(histogram).expect("an auto-resizing histogram takes any value");
        }
        all
    }
}

/// All that a workload's callers saw.
pub struct Totals {
    latency: Interval,
    /// Successful operations.
    pub succeeded: u64,
    /// Failures, most frequent first.
    pub errors: Vec<ErrorCount>,
    /// Measured time up to the last outcome.
    pub measured: Duration,
    /// Successful operations in each whole second.
    pub timeline: Vec<u64>,
}

impl Recorder {
    /// For so many workers, measuring from `began`.
    pub fn new(workers: usize, began: Instant) -> Self {
        let round = Round { began, before: Duration::ZERO };
        let record = || Record {
            interval: Interval::default(),
            seconds: Vec::new(),
            succeeded: 0,
            errors: BTreeMap::new(),
            round,
            last: Duration::ZERO,
        };
        Self { workers: (0..workers).map(|_| Mutex::new(record())).collect(), round: Mutex::new(round) }
    }

    /// Begins another round at `began`; measured time goes on from where the last outcome left it.
    pub fn next_round(&self, began: Instant) {
        let round = Round { began, before: self.measured() };
        *lock(&self.round) = round;
        for worker in &self.workers {
            lock(worker).round = round;
        }
    }

    /// Keeps a success.
    pub fn succeeded(&self, worker: usize, kind: OperationKind, latency: Duration, now: Instant) {
        let mut record = lock(&self.workers[worker]);
        record.touch(now);
        let second = usize::try_from(record.last.as_secs()).expect("a run of fewer than 2^32 seconds");
        if record.seconds.len() <= second {
            record.seconds.resize(second + 1, 0);
        }
        record.seconds[second] += 1;
        record.succeeded += 1;
        let nanos = u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX);
        super::record(&mut record.interval.0[kind as usize], nanos);
    }

    /// Keeps a failure. Its latency is not that of the operation, and is left out.
    pub fn failed(&self, worker: usize, error: &tc_adapter::Error, now: Instant) {
        let text = error.ext_ack().map_or_else(|| error.to_string(), str::to_owned);
        let mut record = lock(&self.workers[worker]);
        record.touch(now);
        *record.errors.entry((error.errno(), text)).or_default() += 1;
    }

    /// Takes the latencies since the last call.
    pub fn take_interval(&self) -> Interval {
        let mut all = Interval::default();
        for worker in &self.workers {
            let taken = std::mem::take(&mut lock(worker).interval);
            all.add(&taken);
        }
        all
    }

    /// Measured time up to the last outcome.
    pub fn measured(&self) -> Duration {
        self.workers.iter().map(|worker| lock(worker).last).max().unwrap_or_default()
    }

    /// Successes so far.
    pub fn succeeded_so_far(&self) -> u64 {
        self.workers.iter().map(|worker| lock(worker).succeeded).sum()
    }

    /// The sum. `latency` is that of all intervals taken; `at_least` counts time in which nothing was answered.
    pub fn totals(&self, latency: Interval, at_least: Duration) -> Totals {
        let measured = self.measured().max(at_least);
        let mut succeeded = 0;
        let mut errors = BTreeMap::new();
        let whole_seconds = usize::try_from(measured.as_secs()).expect("a run of fewer than 2^32 seconds");
        let mut timeline = vec![0; whole_seconds];
        for worker in &self.workers {
            let record = lock(worker);
            succeeded += record.succeeded;
            for (error, count) in &record.errors {
                *errors.entry(error.clone()).or_insert(0) += count;
            }
            for (sum, count) in timeline.iter_mut().zip(&record.seconds) {
                *sum += count;
            }
        }
        let mut errors: Vec<_> =
            errors.into_iter().map(|((errno, text), count)| ErrorCount { errno, text, count }).collect();
        errors.sort_by_key(|error| std::cmp::Reverse(error.count));
        Totals { latency, succeeded, errors, measured, timeline }
    }
}

impl Record {
    fn touch(&mut self, now: Instant) {
        self.last = self.last.max(self.round.before + now.saturating_duration_since(self.round.began));
    }
}

impl Totals {
    /// Requests sent and answered.
    pub fn operations(&self) -> u64 {
        self.succeeded + self.errors.iter().map(|error| error.count).sum::<u64>()
    }

    /// Mean and worst whole second.
    pub fn throughput(&self) -> Throughput {
        let seconds = self.measured.as_secs_f64();
        Throughput {
            mean: (seconds > 0.0).then(|| self.succeeded as f64 / seconds),
            worst_second: self.timeline.iter().min().map(|&worst| worst as f64),
        }
    }

    /// By operation's name.
    pub fn latency_by_operation(&self) -> BTreeMap<String, Percentiles> {
        self.latency
            .by_operation()
            .filter_map(|(kind, histogram)| Some((kind.name().to_owned(), percentiles(histogram)?)))
            .collect()
    }

    /// Over all operations.
    pub fn latency_all(&self) -> Option<Percentiles> {
        percentiles(&self.latency.merged())
    }
}

/// A worker that panicked ends the run; its record is still whole, for nothing in here panics half-way.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(start: Instant, millis: u64) -> Instant {
        start + Duration::from_millis(millis)
    }

    #[test]
    fn the_worst_second_is_the_emptiest_whole_one() {
        let start = Instant::now();
        let recorder = Recorder::new(2, start);
        for (worker, millis) in [(0, 100), (1, 200), (0, 300), (1, 1_500), (0, 2_100), (0, 2_200), (1, 3_300)]
        {
            recorder.succeeded(
                worker,
                OperationKind::ClassCreate,
                Duration::from_micros(5),
                after(start, millis),
            );
        }
        let totals = recorder.totals(recorder.take_interval(), Duration::ZERO);
        assert_eq!(totals.timeline, [3, 1, 2], "the last, broken second does not count");
        assert_eq!(totals.throughput().worst_second, Some(1.0));
        assert_eq!(totals.operations(), 7);
        assert_eq!(totals.latency_by_operation()["class-create"].count, 7);
    }

    #[test]
    fn latencies_of_any_size_are_kept() {
        let start = Instant::now();
        let recorder = Recorder::new(1, start);
        for latency in [Duration::from_nanos(900), Duration::from_micros(80), Duration::from_secs(20)] {
            recorder.succeeded(0, OperationKind::ClassRead, latency, start);
        }
        let latency = recorder.totals(recorder.take_interval(), Duration::ZERO).latency_all().unwrap();
        assert!((latency.p50 - 80.0).abs() < 0.1, "{latency:?}");
        assert!((latency.max - 2e7).abs() < 2e4, "{latency:?}");
    }

    #[test]
    fn a_second_without_any_answer_counts_as_empty() {
        let start = Instant::now();
        let recorder = Recorder::new(1, start);
        recorder.succeeded(0, OperationKind::ClassRead, Duration::ZERO, after(start, 100));
        recorder.succeeded(0, OperationKind::ClassRead, Duration::ZERO, after(start, 2_100));
        let totals = recorder.totals(recorder.take_interval(), Duration::from_secs(5));
        assert_eq!(totals.timeline, [1, 0, 1, 0, 0]);
    }

    #[test]
    fn a_run_shorter_than_a_second_has_no_worst_second() {
        let start = Instant::now();
        let recorder = Recorder::new(1, start);
        recorder.succeeded(0, OperationKind::ClassRead, Duration::ZERO, after(start, 100));
        let totals = recorder.totals(recorder.take_interval(), Duration::ZERO);
        assert_eq!(totals.throughput().worst_second, None);
        assert_eq!(totals.throughput().mean, Some(10.0));
    }

    #[test]
    fn rounds_follow_each_other_without_the_pause_between_them() {
        let start = Instant::now();
        let recorder = Recorder::new(1, start);
        recorder.succeeded(0, OperationKind::ClassCreate, Duration::ZERO, after(start, 600));
        recorder.next_round(after(start, 10_000));
        recorder.succeeded(0, OperationKind::ClassCreate, Duration::ZERO, after(start, 10_500));
        assert_eq!(recorder.measured(), Duration::from_millis(1_100));
        let totals = recorder.totals(recorder.take_interval(), Duration::ZERO);
        assert_eq!(totals.timeline, [1]);
    }
}
