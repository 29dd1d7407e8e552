//! Load: when requests are sent. The schedule is pure; the drivers keep to it.

mod closed;
mod open;
mod pacer;
mod schedule;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use tc_adapter::Client;

pub use closed::{Until, closed};
pub use open::open;
pub use schedule::Schedule;

use crate::attribution::{Call, Calls};
use crate::record::Recorder;
use crate::workload::{Operation, Source};

/// Set once, by a signal: everybody stops after the request that is on its way.
#[derive(Debug, Clone, Default)]
pub struct Stop(Arc<AtomicBool>);

impl Stop {
    /// Asks everybody to stop.
    pub fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether somebody asked.
    pub fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// What the workers share.
#[derive(Clone)]
pub struct Crew {
    /// The client under load.
    pub client: Client,
    /// Where outcomes go; `None` while warming up.
    pub recorder: Option<Arc<Recorder>>,
    /// Where the requests' moments go, if anybody joins them with the kernel's.
    pub calls: Option<Arc<Calls>>,
    /// Ends it early.
    pub stop: Stop,
}

/// What came of a drive.
pub struct Driven {
    /// The workers' sources, for the next phase.
    pub sources: Vec<Box<dyn Source>>,
    /// Requests that were due and never sent.
    pub unsent: u64,
}

impl Crew {
    /// Sends one operation and keeps its outcome, with the latency from `since`.
    async fn perform(&self, worker: usize, source: &mut dyn Source, operation: &Operation, since: Instant) {
        let start = Instant::now();
        let outcome = self.client.request(&operation.request).await;
        let now = Instant::now();
        source.settle(outcome.is_ok());
        if let Some(recorder) = &self.recorder {
            match outcome {
                Ok(answer) => {
                    recorder.succeeded(worker, operation.kind, now - since, now);
                    if let (Some(calls), Some(timing)) = (&self.calls, answer.timing) {
                        let (operation, sequence) = (operation.kind, answer.sequence);
                        calls.push(
                            worker,
                            Call { operation, sequence, due: since, start, timing: *timing, done: now },
                        );
                    }
                }
                Err(error) => recorder.failed(worker, &error, now),
            }
        }
    }
}
