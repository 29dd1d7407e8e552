//! `latency.hdr`: an `HdrHistogram` interval log, one line a second and operation, nanoseconds.
//!
//! Read by `HistogramLogAnalyzer`, `HistogramLogProcessor` and the HdrHistogram libraries.

use std::time::{Duration, SystemTime};

use hdrhistogram::serialization::V2DeflateSerializer;
use hdrhistogram::serialization::interval_log::{IntervalLogWriterBuilder, Tag};

use super::Interval;

/// A log in the making. Intervals are compressed as they come: a whole histogram takes some 100 KB.
pub struct HdrLog {
    started: SystemTime,
    bytes: Vec<u8>,
    serializer: V2DeflateSerializer,
}

/// An interval could not be encoded.
#[derive(Debug, thiserror::Error)]
#[error("encode an interval of the HDR log: {0}")]
pub struct HdrLogError(String);

impl HdrLog {
    /// An empty log that starts now.
    pub fn new() -> Result<Self, HdrLogError> {
        let mut log =
            Self { started: SystemTime::now(), bytes: Vec::new(), serializer: V2DeflateSerializer::new() };
        IntervalLogWriterBuilder::new()
            .add_comment("[Histogram log format version 1.3]")
            .add_comment(
                "qdiscope: latency in nanoseconds, an interval a second, tagged workload-mode:operation",
            )
            .with_start_time(log.started)
            .with_base_time(log.started)
            .begin_log_with(&mut log.bytes, &mut log.serializer)
            .map_err(|error| HdrLogError(error.to_string()))?;
        Ok(log)
    }

    /// Adds one interval that ends now, tagged `workload:operation`.
    pub fn push(&mut self, workload: &str, length: Duration, interval: &Interval) -> Result<(), HdrLogError> {
        let failed = |error: &dyn std::fmt::Display| HdrLogError(error.to_string());
        let begin = self.started.elapsed().unwrap_or_default().saturating_sub(length);
        // A builder without headers goes on where the last writer stopped.
        let mut writer = IntervalLogWriterBuilder::new()
            .begin_log_with(&mut self.bytes, &mut self.serializer)
            .map_err(|error| failed(&error))?;
        for (kind, histogram) in interval.by_operation() {
            let tag = format!("{workload}:{}", kind.name());
            let tag = Tag::new(&tag).ok_or_else(|| failed(&format!("`{tag}` is no tag")))?;
            writer.write_histogram(histogram, begin, length, Some(tag)).map_err(|error| failed(&error))?;
        }
        Ok(())
    }

    /// The log's text so far.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use base64::Engine as _;
    use hdrhistogram::serialization::Deserializer;
    use hdrhistogram::serialization::interval_log::{IntervalLogIterator, LogEntry};

    use super::*;
    use crate::record::Recorder;
    use crate::workload::OperationKind;

    #[test]
    fn what_is_written_reads_back() {
        let recorder = Recorder::new(1, Instant::now());
        for micros in 1..=100 {
            let latency = Duration::from_micros(micros);
            recorder.succeeded(0, OperationKind::ClassRead, latency, Instant::now());
        }
        let mut log = HdrLog::new().unwrap();
        log.push("lifecycle-open", Duration::from_secs(1), &recorder.take_interval()).unwrap();
        let intervals: Vec<_> = IntervalLogIterator::new(log.bytes())
            .filter_map(|entry| match entry.unwrap() {
                LogEntry::Interval(interval) => Some(interval),
                _ => None,
            })
            .collect();
        assert_eq!(intervals.len(), 1);
        assert_eq!(intervals[0].tag().unwrap().as_str(), "lifecycle-open:class-read");
        let raw = base64::engine::general_purpose::STANDARD.decode(intervals[0].encoded_histogram()).unwrap();
        let histogram: hdrhistogram::Histogram<u64> = Deserializer::new().deserialize(&mut &raw[..]).unwrap();
        assert_eq!(histogram.len(), 100);
        assert!(histogram.max() >= 100_000 && histogram.max() < 100_100);
    }
}
