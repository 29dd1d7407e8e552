//! Outcomes as the callers see them.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use nix::errno::Errno;

use super::{nanoseconds, percentiles};
use crate::report::model::{ErrorCount, Percentiles, Throughput};
use crate::workload::OperationKind;

/// Workers share a few records: more of them than threads would only be memory, a hundred kilobytes each.
pub struct Recorder {
    records: Vec<Mutex<Record>>,
    /// Takes the place of one that is taken out, so that no memory comes and goes with the seconds.
    spare: Mutex<Interval>,
    round: Mutex<Round>,
}

/// As many as a run has threads, at most.
const MOST_RECORDS: usize = 4;

/// Which part of the measured time is running: rounds follow each other without the pauses in between.
#[derive(Clone, Copy)]
struct Round {
    began: Instant,
    /// Measured time before it.
    before: Duration,
}

struct Record {
    interval: Interval,
    /// Failures that were asked for.
    expected: Failures,
    /// Successful operations by whole second of measured time.
    seconds: Vec<u64>,
    succeeded: u64,
    errors: Failures,
    round: Round,
    /// Measured time at the last outcome.
    last: Duration,
}

/// Latencies since the last interval, by operation.
#[derive(Clone)]
pub struct Interval {
    /// Made when the first of the operation comes.
    by_operation: [Option<Histogram<u64>>; OperationKind::ALL.len()],
    /// How late workers began that were free, ns.
    pub lag: Histogram<u64>,
    /// Operations that failed and should not have.
    pub failed: u64,
}

impl Default for Interval {
    fn default() -> Self {
        Self { by_operation: [const { None }; OperationKind::ALL.len()], lag: nanoseconds(), failed: 0 }
    }
}

impl Interval {
    /// The operations that have values.
    pub fn by_operation(&self) -> impl Iterator<Item = (OperationKind, &Histogram<u64>)> {
        let all = OperationKind::ALL.into_iter().zip(&self.by_operation);
        all.filter_map(|(kind, histogram)| {
            Some((kind, histogram.as_ref().filter(|values| !values.is_empty())?))
        })
    }

    /// Adds another's values.
    pub fn add(&mut self, other: &Self) {
        self.failed += other.failed;
        self.lag.add(&other.lag).expect("an auto-resizing histogram takes any value");
        for (kind, part) in other.by_operation() {
            let sum = self.by_operation[kind as usize].get_or_insert_with(nanoseconds);
            sum.add(part).expect("an auto-resizing histogram takes any value");
        }
    }

    /// Forgets all values, and keeps their memory.
    fn reset(&mut self) {
        self.failed = 0;
        self.lag.reset();
        self.by_operation.iter_mut().flatten().for_each(Histogram::reset);
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
    /// Failures that were asked for, most frequent first.
    pub expected_errors: Vec<ErrorCount>,

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
            expected: BTreeMap::new(),
            seconds: Vec::new(),
            succeeded: 0,
            errors: BTreeMap::new(),
            round,
            last: Duration::ZERO,
        };
        let records = workers.clamp(1, MOST_RECORDS);
        Self {
            records: (0..records).map(|_| Mutex::new(record())).collect(),
            spare: Mutex::default(),
            round: Mutex::new(round),
        }
    }

    /// Begins another round at `began`; measured time goes on from where the last outcome left it.
    pub fn next_round(&self, began: Instant) {
        let round = Round { began, before: self.measured() };
        *lock(&self.round) = round;
        for record in &self.records {
            lock(record).round = round;
        }
    }

    /// Keeps a success.
    pub fn succeeded(&self, worker: usize, kind: OperationKind, latency: Duration, now: Instant) {
        let mut record = self.record(worker);
        record.touch(now);
        let second = usize::try_from(record.last.as_secs()).expect("a run of fewer than 2^32 seconds");
        if record.seconds.len() <= second {
            record.seconds.resize(second + 1, 0);
        }
        record.seconds[second] += 1;
        record.succeeded += 1;
        let nanos = u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX);
        super::record(record.interval.by_operation[kind as usize].get_or_insert_with(nanoseconds), nanos);
    }

    /// Keeps a failure. Its latency is not that of the operation, and is left out.
    pub fn failed(&self, worker: usize, error: &tc_adapter::Error, now: Instant) {
        self.count_failure(worker, (error.errno(), said(error)), now);
    }

    /// Keeps a success where a failure was asked for.
    pub fn unrefused(&self, worker: usize, errno: i32, now: Instant) {
        let text = format!("accepted, where {} was expected", Errno::from_raw(errno));
        self.count_failure(worker, (None, text), now);
    }

    fn count_failure(&self, worker: usize, failure: (Option<i32>, String), now: Instant) {
        let mut record = self.record(worker);
        record.touch(now);
        record.interval.failed += 1;
        *record.errors.entry(failure).or_default() += 1;
    }

    /// Keeps a failure that was asked for: how long the kernel took to refuse is the operation's latency.
    pub fn refused(
        &self,
        worker: usize,
        kind: OperationKind,
        error: &tc_adapter::Error,
        latency: Duration,
        now: Instant,
    ) {
        self.succeeded(worker, kind, latency, now);
        *self.record(worker).expected.entry((error.errno(), said(error))).or_default() += 1;
    }

    /// Keeps how late a worker began.
    pub fn lagged(&self, worker: usize, lag: Duration) {
        let nanos = u64::try_from(lag.as_nanos()).unwrap_or(u64::MAX);
        super::record(&mut self.record(worker).interval.lag, nanos);
    }

    fn record(&self, worker: usize) -> MutexGuard<'_, Record> {
        lock(&self.records[worker % self.records.len()])
    }

    /// Takes the latencies since the last call.
    pub fn take_interval(&self) -> Interval {
        let mut all = Interval::default();
        let mut spare = lock(&self.spare);
        for record in &self.records {
            // Whoever records waits for no more than this.
            std::mem::swap(&mut lock(record).interval, &mut *spare);
            all.add(&spare);
            spare.reset();
        }
        all
    }

    /// Measured time up to the last outcome.
    pub fn measured(&self) -> Duration {
        self.records.iter().map(|record| lock(record).last).max().unwrap_or_default()
    }

    /// Successes so far.
    pub fn succeeded_so_far(&self) -> u64 {
        self.records.iter().map(|record| lock(record).succeeded).sum()
    }

    /// The sum. `latency` is that of all intervals taken; `at_least` counts time in which nothing was answered.
    pub fn totals(&self, latency: Interval, at_least: Duration) -> Totals {
        let measured = self.measured().max(at_least);
        let mut succeeded = 0;
        let mut errors = BTreeMap::new();
        let mut expected = BTreeMap::new();
        let whole_seconds = usize::try_from(measured.as_secs()).expect("a run of fewer than 2^32 seconds");
        let mut timeline = vec![0; whole_seconds];
        for record in &self.records {
            let record = lock(record);
            succeeded += record.succeeded;
            add_counts(&mut errors, &record.errors);
            add_counts(&mut expected, &record.expected);
            for (sum, count) in timeline.iter_mut().zip(&record.seconds) {
                *sum += count;
            }
        }
        let (errors, expected_errors) = (most_first(errors), most_first(expected));
        Totals { latency, succeeded, errors, expected_errors, measured, timeline }
    }
}

/// Failures, by error number and text.
type Failures = BTreeMap<(Option<i32>, String), u64>;

/// Without the class and the device that it was about: thousands of requests may be refused for one reason.
fn said(error: &tc_adapter::Error) -> String {
    match (error.ext_ack(), error) {
        (Some(text), _) => text.to_owned(),
        (None, tc_adapter::Error::Kernel { operation, errno, .. }) => {
            format!("{operation}: {}", std::io::Error::from_raw_os_error(*errno))
        }
        (None, error) => error.to_string(),
    }
}

fn add_counts(sum: &mut Failures, part: &Failures) {
    for (failure, count) in part {
        *sum.entry(failure.clone()).or_insert(0) += count;
    }
}

fn most_first(failures: Failures) -> Vec<ErrorCount> {
    let mut counts: Vec<_> =
        failures.into_iter().map(|((errno, text), count)| ErrorCount { errno, text, count }).collect();
    counts.sort_by_key(|error| std::cmp::Reverse(error.count));
    counts
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

    /// How late workers began; `None` where nothing was due at a time.
    pub fn lag_us(&self) -> Option<Percentiles> {
        percentiles(&self.latency.lag)
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
