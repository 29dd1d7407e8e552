//! A run's latencies by operation, out of its `latency.hdr`: its seconds added up.

use std::collections::BTreeMap;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::{Serializer as _, V2DeflateSerializer};

use super::record::KeptHistogram;
use crate::record::{nanoseconds, read_log};

/// The log, or what is kept of one, is damaged.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Damaged(String);

fn damaged(error: impl std::fmt::Display) -> Damaged {
    Damaged(error.to_string())
}

pub(super) fn of_log(log: &[u8]) -> Result<Vec<KeptHistogram>, Damaged> {
    let mut sums: BTreeMap<(String, String), Histogram<u64>> = BTreeMap::new();
    for logged in read_log(log, Duration::ZERO).map_err(Damaged)? {
        sums.entry((logged.workload, logged.operation))
            .or_insert_with(nanoseconds)
            .add(&logged.latencies)
            .map_err(damaged)?;
    }
    let mut serializer = V2DeflateSerializer::new();
    sums.into_iter()
        .map(|((workload, operation), histogram)| {
            let mut raw = Vec::new();
            serializer.serialize(&histogram, &mut raw).map_err(damaged)?;
            Ok(KeptHistogram { workload, operation, hdr: STANDARD.encode(raw) })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use hdrhistogram::serialization::Deserializer;

    use super::*;
    use crate::record::{HdrLog, Recorder};
    use crate::workload::OperationKind;

    #[test]
    fn seconds_of_an_operation_are_added_up() {
        let mut log = HdrLog::new().unwrap();
        let recorder = Recorder::new(1, Instant::now());
        let length = Duration::from_millis(5);
        for micros in [100, 200, 300] {
            std::thread::sleep(length * 2);
            for kind in [OperationKind::ClassRead, OperationKind::ClassChange] {
                recorder.succeeded(0, kind, Duration::from_micros(micros), Instant::now());
            }
            log.push("lifecycle-open", length, &recorder.take_interval()).unwrap();
        }
        let kept = of_log(&log.bytes().unwrap()).unwrap();
        let names: Vec<_> = kept.iter().map(|of| (of.workload.as_str(), of.operation.as_str())).collect();
        assert_eq!(names, [("lifecycle-open", "class-change"), ("lifecycle-open", "class-read")]);
        let raw = STANDARD.decode(&kept[0].hdr).unwrap();
        let sum: Histogram<u64> = Deserializer::new().deserialize(&mut &raw[..]).unwrap();
        assert_eq!(sum.len(), 3);
        assert!(sum.value_at_quantile(0.5).abs_diff(200_000) < 200, "{}", sum.value_at_quantile(0.5));
        assert!(of_log(b"Tag=a:b,1.0,1.0,1.0,!!!\n").is_err());
    }
}
