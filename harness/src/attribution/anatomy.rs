//! A workload's requests together: how long each phase takes, what slow requests are made of, and the slowest ones whole.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BinaryHeap, HashMap};

use ebpf_loader::SampleEvent;
use hdrhistogram::Histogram;

use super::phase::{PHASES, Phase, Trace};
use crate::record::{nanoseconds, percentiles, record};
use crate::report::model::{RequestPhases, SlowRequest, TimeAt};
use crate::workload::OperationKind;

/// Requests that are kept whole.
const SLOWEST: usize = 100;

/// Requests whose totals differ by less than this share are taken together.
const ALIKE: f64 = 0.05;

/// All that is kept of a workload's requests.
#[derive(Default)]
pub struct Anatomy {
    by_operation: BTreeMap<OperationKind, Distributions>,
    alike: HashMap<i32, Alike>,
    slowest: BinaryHeap<BySpeed>,
    count: u64,
}

struct Distributions {
    total: Histogram<u64>,
    phases: [Option<Histogram<u64>>; PHASES],
    unattributed: Histogram<u64>,
}

/// Requests that took about as long.
#[derive(Debug, Clone, Default)]
struct Alike {
    count: u64,
    total_ns: u64,
    phases_ns: [u64; PHASES],
    unattributed_ns: u64,
    operations: [u64; OperationKind::ALL.len()],
}

/// What requests that take about as long as a percentile are made of.
#[derive(Debug, Clone, PartialEq)]
pub struct Typical {
    /// How many there were.
    pub requests: u64,
    /// The operation that most of them are.
    pub operation: OperationKind,
    /// Their mean; ns.
    pub total_ns: f64,
    /// Mean time in each phase; ns.
    pub phases_ns: [f64; PHASES],
    /// Mean time that no phase covers; ns.
    pub unattributed_ns: f64,
}

/// A request that is kept whole.
#[derive(Debug, Clone)]
pub struct Slowest {
    /// Where its time went.
    pub request: SlowRequest,
    /// Where its thread was, if that was asked for.
    pub samples: Vec<SampleEvent>,
}

/// The fastest is the greatest, so that it is the first to go.
struct BySpeed(Trace, Vec<SampleEvent>);

impl Ord for BySpeed {
    fn cmp(&self, other: &Self) -> Ordering {
        (other.0.total_ns, other.0.sequence).cmp(&(self.0.total_ns, self.0.sequence))
    }
}

impl PartialOrd for BySpeed {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for BySpeed {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for BySpeed {}

fn bucket(total_ns: f64) -> i32 {
    #[expect(
        clippy::cast_possible_truncation,
        reason = "the logarithm of a u64 to the base 1.05 is below 1,000"
    )]
    let bucket = (total_ns.max(1.0).ln() / ALIKE.ln_1p()).floor() as i32;
    bucket
}

impl Distributions {
    fn new() -> Self {
        Self { total: nanoseconds(), phases: [const { None }; PHASES], unattributed: nanoseconds() }
    }

    fn add(&mut self, other: &Self) {
        let sum = |sum: &mut Histogram<u64>, part: &Histogram<u64>| {
            sum.add(part).expect("an auto-resizing histogram takes any value");
        };
        sum(&mut self.total, &other.total);
        sum(&mut self.unattributed, &other.unattributed);
        for (mine, part) in self.phases.iter_mut().zip(&other.phases) {
            if let Some(part) = part {
                sum(mine.get_or_insert_with(nanoseconds), part);
            }
        }
    }

    fn figures(&self) -> Option<RequestPhases> {
        let phase = |phase: Phase| self.phases[phase as usize].as_ref().and_then(percentiles);
        Some(RequestPhases {
            total: percentiles(&self.total)?,
            schedule_lag: phase(Phase::ScheduleLag),
            encode: phase(Phase::Encode),
            queue: phase(Phase::Queue),
            entry: phase(Phase::Entry),
            rtnl_wait: phase(Phase::RtnlWait),
            on_cpu: phase(Phase::OnCpu),
            off_cpu: phase(Phase::OffCpu),
            reply: phase(Phase::Reply),
            unattributed: percentiles(&self.unattributed)?,
        })
    }
}

impl Anatomy {
    /// Adds a request, and where its thread was.
    pub fn record(&mut self, trace: &Trace, samples: Vec<SampleEvent>) {
        self.count += 1;
        let distributions = self.by_operation.entry(trace.operation).or_insert_with(Distributions::new);
        let alike = self.alike.entry(bucket(trace.total_ns as f64)).or_default();
        record(&mut distributions.total, trace.total_ns);
        record(&mut distributions.unattributed, trace.unattributed_ns());
        alike.count += 1;
        alike.total_ns += trace.total_ns;
        alike.unattributed_ns += trace.unattributed_ns();
        alike.operations[trace.operation as usize] += 1;
        for phase in Phase::ALL {
            if let Some(nanos) = trace.phase(phase) {
                record(distributions.phases[phase as usize].get_or_insert_with(nanoseconds), nanos);
                alike.phases_ns[phase as usize] += nanos;
            }
        }
        if self.slowest.len() < SLOWEST {
            self.slowest.push(BySpeed(*trace, samples));
        } else if let Some(mut fastest) = self.slowest.peek_mut()
            && fastest.0.total_ns < trace.total_ns
        {
            *fastest = BySpeed(*trace, samples);
        }
    }

    /// How many requests there were.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Each phase's distribution, by operation.
    pub fn by_operation(&self) -> BTreeMap<String, RequestPhases> {
        self.by_operation
            .iter()
            .filter_map(|(operation, distributions)| {
                Some((operation.name().to_owned(), distributions.figures()?))
            })
            .collect()
    }

    /// Each phase's distribution over all operations; `None` without a request.
    pub fn all(&self) -> Option<RequestPhases> {
        let mut all = Distributions::new();
        self.by_operation.values().for_each(|distributions| all.add(distributions));
        all.figures()
    }

    /// What requests of about this total are made of. `None`: there was none.
    pub fn typical(&self, total_ns: f64) -> Option<Typical> {
        let at = bucket(total_ns);
        // The neighbours too: the percentile may lie at a bucket's edge.
        let mut sum = Alike::default();
        for alike in (at - 1..=at + 1).filter_map(|bucket| self.alike.get(&bucket)) {
            sum.count += alike.count;
            sum.total_ns += alike.total_ns;
            sum.unattributed_ns += alike.unattributed_ns;
            sum.phases_ns.iter_mut().zip(alike.phases_ns).for_each(|(sum, part)| *sum += part);
            sum.operations.iter_mut().zip(alike.operations).for_each(|(sum, part)| *sum += part);
        }
        let operation = OperationKind::ALL.into_iter().max_by_key(|kind| sum.operations[*kind as usize])?;
        let mean = |nanos: u64| nanos as f64 / sum.count as f64;
        (sum.count > 0).then(|| Typical {
            requests: sum.count,
            operation,
            total_ns: mean(sum.total_ns),
            phases_ns: sum.phases_ns.map(mean),
            unattributed_ns: mean(sum.unattributed_ns),
        })
    }

    /// The same, for results. A phase that no request had is absent.
    pub fn time_at(&self, latency_us: f64) -> Option<TimeAt> {
        let typical = self.typical(latency_us * 1e3)?;
        let had = |phase: &Phase| {
            self.by_operation.values().any(|distributions| distributions.phases[*phase as usize].is_some())
        };
        Some(TimeAt {
            latency_us,
            requests: typical.requests,
            operation: typical.operation.name().to_owned(),
            phases_us: Phase::ALL
                .into_iter()
                .filter(had)
                .map(|phase| (phase, typical.phases_ns[phase as usize] / 1e3))
                .collect(),
            unattributed_us: typical.unattributed_ns / 1e3,
        })
    }

    /// The slowest requests, the slowest first.
    pub fn slowest(&self) -> Vec<Slowest> {
        let mut slowest: Vec<&BySpeed> = self.slowest.iter().collect();
        slowest.sort_by_key(|slow| std::cmp::Reverse(slow.0.total_ns));
        let whole = |slow: &BySpeed| Slowest { request: (&slow.0).into(), samples: slow.1.clone() };
        slowest.into_iter().map(whole).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attribution::phase::tests::call;
    use crate::attribution::{Measured, Monotonic};
    use ebpf_loader::RequestEvent;

    /// A request that takes so long, of which it waits for RTNL so long; µs.
    fn trace(sequence: u32, total: u64, wait: u64) -> Trace {
        let (mut call, clock) = (call(sequence), Monotonic::new().unwrap());
        call.start = call.due;
        call.timing =
            tc_adapter::Timing { encoded: call.due, sent: call.due, returned: call.due, answered: call.due };
        call.done = call.due + std::time::Duration::from_micros(total);
        let event = RequestEvent {
            start_ns: clock.nanos(call.due),
            total_ns: total * 1_000,
            rtnl_wait_ns: wait * 1_000,
            ..RequestEvent::default()
        };
        Trace::new(&call, Some(&event), Measured { rtnl_wait: true, off_cpu: true }, &clock)
    }

    #[test]
    fn what_is_slow_is_told_apart_from_what_is_typical() {
        let mut anatomy = Anatomy::default();
        (0..95).for_each(|sequence| anatomy.record(&trace(sequence, 100, 0), Vec::new()));
        (95..100).for_each(|sequence| anatomy.record(&trace(sequence, 9_000, 8_000), Vec::new()));
        let fast = anatomy.time_at(100.0).unwrap();
        assert_eq!((fast.requests, fast.operation.as_str()), (95, "class-create"));
        assert!(fast.phases_us[&Phase::OnCpu] > 99.0 && fast.phases_us[&Phase::RtnlWait] < 1.0, "{fast:?}");
        let slow = anatomy.time_at(9_100.0).unwrap();
        assert_eq!(slow.requests, 5);
        assert!((slow.phases_us[&Phase::RtnlWait] - 8_000.0).abs() < 1.0, "{slow:?}");
        assert_eq!(anatomy.time_at(1_000_000.0), None);
    }

    #[test]
    fn the_slowest_are_kept_in_their_order() {
        let mut anatomy = Anatomy::default();
        // Neither rising nor falling: 7 and 1,009 have no common divisor.
        (0..1_009_u32)
            .for_each(|index| anatomy.record(&trace(index, u64::from(index) * 7 % 1_009, 0), Vec::new()));
        let totals: Vec<String> =
            anatomy.slowest().iter().map(|slow| format!("{}", slow.request.total_us)).collect();
        assert!(
            totals.iter().eq((909..1_009).rev().map(|micros| micros.to_string()).collect::<Vec<_>>().iter()),
            "{totals:?}"
        );
    }

    #[test]
    fn a_phase_that_was_not_measured_is_absent() {
        let mut anatomy = Anatomy::default();
        let (call, clock) = (call(1), Monotonic::new().unwrap());
        anatomy.record(
            &Trace::new(&call, None, Measured { rtnl_wait: true, off_cpu: true }, &clock),
            Vec::new(),
        );
        let phases = &anatomy.by_operation()["class-create"];
        assert_eq!((phases.rtnl_wait, phases.on_cpu, phases.entry), (None, None, None));
        assert!((phases.unattributed.p50 - 100.0).abs() < 0.2, "{phases:?}");
        assert!(!anatomy.time_at(124.0).unwrap().phases_us.contains_key(&Phase::RtnlWait));
    }
}
