//! Records: latency as callers see it, phases as the kernel's probes see them, what the process used, and
//! what of it grows.

mod growth;
mod hdr_log;
mod kernel;
mod phases;
mod recorder;
mod resources;
mod slab;

pub use growth::{GrowthMeter, Samples};
pub use hdr_log::{HdrLog, Logged, read_log};
pub use kernel::{KernelCollector, KernelFigures, Stacks, Window};
pub use phases::Phases;
pub use recorder::{Interval, Recorder, Totals};
pub use resources::{Descriptors, ResourceMeter, Usage, resident_bytes};

use hdrhistogram::{Counter, Histogram};

use crate::report::model::Percentiles;

/// How far the threads that only look on stand back (nice(2)).
const STANDS_BACK: i32 = 10;

/// Lets whoever is measured have the CPU before the calling thread, which only looks on.
pub(crate) fn give_way() {
    // Of a thread: PRIO_PROCESS with 0 is the calling one's on Linux (setpriority(2)). Where it is refused, it stays as it is.
    let _ = rustix::process::setpriority_process(None, STANDS_BACK);
}

/// Three significant digits: a tenth of a percent, far below what these machines repeat.
const SIGNIFICANT_DIGITS: u8 = 3;

/// For values up to a second a histogram has room from the beginning: of one that grows with each new maximum nobody can tell whether it
/// leaks.
const ROOM: u64 = 1_000_000_000;

/// A histogram of nanoseconds. Its 160 kB are touched where values fall only; it grows for those above a second.
pub(crate) fn nanoseconds<C: Counter>() -> Histogram<C> {
    let mut histogram = Histogram::new_with_bounds(1, ROOM, SIGNIFICANT_DIGITS)
        .expect("three digits are within HdrHistogram's 0 to 5, and so is the range");
    histogram.auto(true);
    histogram
}

/// Records a value; the histogram grows to hold it.
pub(crate) fn record<C: Counter>(histogram: &mut Histogram<C>, nanos: u64) {
    histogram.record(nanos).expect("an auto-resizing histogram takes any value");
}

/// The distribution in microseconds; `None` without a value.
pub(crate) fn percentiles<C: Counter>(histogram: &Histogram<C>) -> Option<Percentiles> {
    let at = |quantile: f64| histogram.value_at_quantile(quantile).min(histogram.max()) as f64 / 1e3;
    (!histogram.is_empty()).then(|| Percentiles {
        p50: at(0.5),
        p90: at(0.9),
        p95: at(0.95),
        p99: at(0.99),
        p99_9: at(0.999),
        max: histogram.max() as f64 / 1e3,
        mean: histogram.mean() / 1e3,
        count: histogram.len(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_microseconds_and_absent_without_values() {
        let mut histogram = nanoseconds::<u64>();
        assert_eq!(percentiles(&histogram), None);
        for micros in 1..=1_000_u64 {
            histogram.record(micros * 1_000).unwrap();
        }
        let figures = percentiles(&histogram).unwrap();
        assert_eq!(figures.count, 1_000);
        for (value, expected) in
            [(figures.p50, 500.0), (figures.p95, 950.0), (figures.p99, 990.0), (figures.max, 1_000.0)]
        {
            assert!((value - expected).abs() <= expected * 0.002, "{value} for {expected}");
        }
    }
}
