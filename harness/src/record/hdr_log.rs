//! `latency.hdr`: an `HdrHistogram` interval log, one line a second and operation, nanoseconds.
//!
//! Read by `HistogramLogAnalyzer`, `HistogramLogProcessor` and the HdrHistogram libraries.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::interval_log::{
    IntervalLogIterator, IntervalLogWriterBuilder, LogEntry, Tag,
};
use hdrhistogram::serialization::{Deserializer, Serializer as _, V2DeflateSerializer};
use nix::sys::memfd::{MFdFlags, memfd_create};

use super::{Interval, ROOM, nanoseconds, record};

/// What a log has of one operation in one interval.
#[derive(Debug)]
pub struct Logged {
    /// The workload and its mode, or the stage: `lifecycle-open`.
    pub workload: String,
    /// The operation.
    pub operation: String,
    /// When the interval began, since the log did.
    pub begin: Duration,
    /// Nanoseconds.
    pub latencies: Histogram<u64>,
}

/// Reads a log as [`HdrLog`] writes it; intervals that are shorter than `shortest` are passed over.
///
/// # Errors
///
/// What is wrong with it, in words.
pub fn read_log(log: &[u8], shortest: Duration) -> Result<Vec<Logged>, String> {
    let mut deserializer = Deserializer::new();
    let mut all = Vec::new();
    for entry in IntervalLogIterator::new(log) {
        let LogEntry::Interval(interval) = entry.map_err(|error| format!("{error:?}"))? else { continue };
        let tag = interval.tag().filter(|_| interval.duration() >= shortest);
        let Some((workload, operation)) = tag.and_then(|tag| tag.as_str().rsplit_once(':')) else { continue };
        let raw = STANDARD.decode(interval.encoded_histogram()).map_err(|error| error.to_string())?;
        all.push(Logged {
            workload: workload.to_owned(),
            operation: operation.to_owned(),
            begin: interval.start_timestamp(),
            latencies: deserializer.deserialize(&mut &raw[..]).map_err(|error| error.to_string())?,
        });
    }
    Ok(all)
}

/// A log in the making. Intervals are compressed as they come, and put into a file without a name: some kilobytes a second in our own memory
/// would be a leak of megabytes an hour, in a run that looks for leaks.
pub struct HdrLog {
    started: SystemTime,
    file: File,
    /// What was written so far, and why it ended there: a full disk does not cost the run.
    broken: Option<io::Error>,
    serializer: V2DeflateSerializer,
}

/// The log could not be written, or an interval not be encoded.
#[derive(Debug, thiserror::Error)]
#[error("HDR log: {0}")]
pub struct HdrLogError(String);

impl HdrLog {
    /// An empty log that starts now.
    pub fn new() -> Result<Self, HdrLogError> {
        // Where there is no folder for it: the kernel's memory, which is not ours either.
        let file = tempfile::tempfile()
            .or_else(|_| Ok(memfd_create(c"latency.hdr", MFdFlags::MFD_CLOEXEC)?.into()))
            .map_err(|error: io::Error| HdrLogError(error.to_string()))?;
        let mut serializer = V2DeflateSerializer::new();
        // Its buffers have room for the largest value that it has met: now for all below a second, rather than with each new maximum.
        let mut widest = nanoseconds::<u64>();
        record(&mut widest, ROOM);
        serializer.serialize(&widest, &mut io::sink()).map_err(|error| HdrLogError(error.to_string()))?;
        let mut log = Self { started: SystemTime::now(), file, broken: None, serializer };
        let mut head = Vec::new();
        IntervalLogWriterBuilder::new()
            .add_comment("[Histogram log format version 1.3]")
            .add_comment(
                "qdiscope: latency in nanoseconds, an interval a second, tagged workload-mode:operation",
            )
            .with_start_time(log.started)
            .with_base_time(log.started)
            .begin_log_with(&mut head, &mut log.serializer)
            .map_err(|error| HdrLogError(error.to_string()))?;
        log.append(&head);
        Ok(log)
    }

    /// Adds one interval that ends now, tagged `workload:operation`.
    pub fn push(&mut self, workload: &str, length: Duration, interval: &Interval) -> Result<(), HdrLogError> {
        let failed = |error: &dyn std::fmt::Display| HdrLogError(error.to_string());
        let begin = self.started.elapsed().unwrap_or_default().saturating_sub(length);
        let mut lines = Vec::new();
        // A builder without headers goes on where the last writer stopped.
        let mut writer = IntervalLogWriterBuilder::new()
            .begin_log_with(&mut lines, &mut self.serializer)
            .map_err(|error| failed(&error))?;
        for (kind, histogram) in interval.by_operation() {
            let tag = format!("{workload}:{}", kind.name());
            let tag = Tag::new(&tag).ok_or_else(|| failed(&format!("`{tag}` is no tag")))?;
            writer.write_histogram(histogram, begin, length, Some(tag)).map_err(|error| failed(&error))?;
        }
        drop(writer);
        self.append(&lines);
        Ok(())
    }

    fn append(&mut self, bytes: &[u8]) {
        if self.broken.is_none() {
            self.broken = self.file.write_all(bytes).err();
        }
    }

    /// The log's text.
    ///
    /// # Errors
    ///
    /// Where it could not be written whole, or cannot be read.
    pub fn bytes(&mut self) -> Result<Vec<u8>, HdrLogError> {
        if let Some(error) = &self.broken {
            return Err(HdrLogError(error.to_string()));
        }
        let mut bytes = Vec::new();
        self.file
            .seek(SeekFrom::Start(0))
            .and_then(|_| self.file.read_to_end(&mut bytes))
            .map_err(|error| HdrLogError(error.to_string()))?;
        Ok(bytes)
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
        let bytes = log.bytes().unwrap();
        let intervals: Vec<_> = IntervalLogIterator::new(&bytes)
            .filter_map(|entry| match entry.unwrap() {
                LogEntry::Interval(interval) => Some(interval),
                _ => None,
            })
            .collect();
        assert_eq!(intervals.len(), 1);
        assert_eq!(intervals[0].tag().unwrap().as_str(), "lifecycle-open:class-read");
        let raw = STANDARD.decode(intervals[0].encoded_histogram()).unwrap();
        let histogram: Histogram<u64> = Deserializer::new().deserialize(&mut &raw[..]).unwrap();
        assert_eq!(histogram.len(), 100);
        assert!(histogram.max() >= 100_000 && histogram.max() < 100_100);
    }
}
