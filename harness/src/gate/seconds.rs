//! Latencies second by second, out of a run's `latency.hdr`.

use std::collections::BTreeMap;
use std::time::Duration;

use hdrhistogram::Histogram;

use crate::record::{nanoseconds, read_log};

/// What is shorter is the rest of a second, with few values.
const SHORTEST: Duration = Duration::from_millis(500);

/// The latencies of each second, by workload and mode (`lifecycle-open`), nanoseconds, in order.
pub type Seconds = BTreeMap<String, Vec<Histogram<u64>>>;

/// The log is damaged.
#[derive(Debug, thiserror::Error)]
#[error("latency.hdr: {0}")]
pub struct SecondsError(String);

/// Reads a log; operations of one workload and second are added up.
///
/// # Errors
///
/// [`SecondsError`] where it is no interval log as `bench` writes it.
pub fn read(log: &[u8]) -> Result<Seconds, SecondsError> {
    let mut seconds: BTreeMap<String, BTreeMap<Duration, Histogram<u64>>> = BTreeMap::new();
    for logged in read_log(log, SHORTEST).map_err(SecondsError)? {
        seconds
            .entry(logged.workload)
            .or_default()
            .entry(logged.begin)
            .or_insert_with(nanoseconds)
            .add(&logged.latencies)
            .map_err(|error| SecondsError(error.to_string()))?;
    }
    Ok(seconds.into_iter().map(|(workload, seconds)| (workload, seconds.into_values().collect())).collect())
}

/// A percentile of each second, microseconds.
pub fn quantiles(seconds: &[Histogram<u64>], quantile: f64) -> Vec<f64> {
    seconds.iter().map(|second| second.value_at_quantile(quantile) as f64 / 1e3).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::record::{HdrLog, Recorder};
    use crate::workload::OperationKind;

    #[test]
    fn operations_of_a_second_are_added_up() {
        let mut log = HdrLog::new().unwrap();
        let recorder = Recorder::new(1, Instant::now());
        for (second, length) in [(1, 500), (2, 500), (3, 100)] {
            // As long as the interval, so that each begins after the one before.
            std::thread::sleep(Duration::from_millis(length + 20));
            for kind in [OperationKind::ClassRead, OperationKind::ClassChange] {
                recorder.succeeded(0, kind, Duration::from_micros(100 * second), Instant::now());
            }
            log.push("lifecycle-open", Duration::from_millis(length), &recorder.take_interval()).unwrap();
        }
        let seconds = read(&log.bytes().unwrap()).unwrap();
        let [first, second] = &seconds["lifecycle-open"][..] else {
            panic!("{}", seconds["lifecycle-open"].len())
        };
        assert_eq!((first.len(), second.len()), (2, 2));
        let medians = quantiles(&seconds["lifecycle-open"], 0.5);
        assert!((medians[0] - 100.0).abs() < 1.0 && (medians[1] - 200.0).abs() < 1.0, "{medians:?}");
    }

    #[test]
    fn what_is_no_log_is_told() {
        read(b"Tag=a:b,1.0,1.0,1.0,!!!\n").unwrap_err();
        assert!(read(b"").unwrap().is_empty());
    }
}
