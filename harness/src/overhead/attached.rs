//! Our own probes on a load, and what they report of it.

use std::thread;
use std::time::Duration;

use clap::ValueEnum as _;

use super::message::Seen;
use super::sender::Sender;
use crate::probes::{self, Choice};
use crate::record::{KernelCollector, Window};

/// Longer than the reader's period: by then it has read everything by itself.
const READ_BY_THEN: Duration = Duration::from_millis(20);

/// Attached until dropped.
pub(super) struct Probes {
    collector: KernelCollector,
    stacks: bool,
}

impl Probes {
    /// The error says why this kind cannot be had here.
    pub(super) fn attach(kind: &str, stacks: bool) -> Result<Self, String> {
        let choice = Choice::from_str(kind, false)?;
        let attached = probes::attach(choice).map_err(|failure| failure.to_string())?;
        let collector = attached.collector.ok_or(attached.report.reason)?;
        if stacks {
            let sampler = attached.report.attached.iter().find(|probe| probe.name.starts_with("perf_event:"));
            if let Some(reason) = sampler.and_then(|probe| probe.reason.clone()) {
                return Err(format!("no kernel stacks: {reason}"));
            }
            collector.start_sampling().map_err(|error| error.to_string())?;
        }
        Ok(Self { collector, stacks })
    }

    /// Counts the requests of this socket from now on.
    pub(super) fn watch(&self, sender: &Sender) -> Result<Option<u64>, String> {
        self.collector.begin().map_err(|error| error.to_string())?;
        self.collector.watch(Window { port_id: sender.port(), after_sequence: sender.sequence() });
        Ok(self.reader_cpu_ns())
    }

    /// What was counted since, given what [`Self::watch`] returned.
    pub(super) fn seen(&self, cpu_before: Option<u64>) -> Result<Seen, String> {
        thread::sleep(READ_BY_THEN);
        let reader_cpu_ns =
            self.reader_cpu_ns().zip(cpu_before).map(|(now, before)| now.saturating_sub(before));
        let figures = self.collector.figures().map_err(|error| error.to_string())?;
        Ok(Seen { events: figures.seen, lost: figures.lost_at_most, reader_cpu_ns })
    }

    /// While `work` runs nobody reads the events.
    pub(super) fn unread<T>(&self, work: impl FnOnce() -> T) -> T {
        let _held = self.collector.hold();
        work()
    }

    fn reader_cpu_ns(&self) -> Option<u64> {
        self.collector.reader_cpu().and_then(|cpu| u64::try_from(cpu.as_nanos()).ok())
    }
}

impl Drop for Probes {
    fn drop(&mut self) {
        if self.stacks {
            // The samples are of no interest, and the sampler ends with the probes anyway.
            let _ = self.collector.stop_sampling();
        }
    }
}
