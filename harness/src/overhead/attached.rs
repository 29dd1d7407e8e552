//! Our own probes on a load, and what they report of it.

use std::thread;
use std::time::Duration;

use ebpf_loader::{Follow, Options};
use serde::{Deserialize, Serialize};

use super::message::{Seen, Socket};
use crate::profile::KERNEL_SAMPLE_HZ;
use crate::record::{KernelCollector, Window};

/// Longer than the reader's period: by then it has read everything by itself.
const READ_BY_THEN: Duration = Duration::from_millis(20);

/// Which probes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Setup {
    /// The kind's name, as in `--probes`.
    pub(super) kind: String,
    /// With sampling of kernel stacks.
    pub(super) stacks: bool,
    /// With the parts of a request.
    pub(super) parts: bool,
}

/// Attached until dropped.
pub(super) struct Probes {
    collector: KernelCollector,
    sampling: bool,
    cpu_before: Option<Duration>,
}

impl Probes {
    /// Follows a process, by its id in the initial PID namespace, or this one. The error says why it cannot be done here.
    pub(super) fn attach(setup: &Setup, process: Option<u32>) -> Result<Self, String> {
        let options = Options {
            kind: Some(setup.kind.parse().map_err(|error: ebpf_loader::UnknownKind| error.to_string())?),
            follow: process.map_or(Follow::ThisProcess, Follow::Process),
            in_parts: setup.parts,
            sample_hz: setup.stacks.then_some(u64::from(KERNEL_SAMPLE_HZ)),
            ..Options::default()
        };
        let probes = ebpf_loader::Probes::attach(&options).map_err(|unavailable| unavailable.to_string())?;
        let sampler = probes.report().probes.iter().find(|probe| probe.name.starts_with("perf_event:"));
        if let Some(reason) = sampler.and_then(|probe| probe.reason.as_ref()).filter(|_| setup.stacks) {
            return Err(format!("no kernel stacks: {reason}"));
        }
        let collector = KernelCollector::start(probes, None).map_err(|error| error.to_string())?;
        if setup.stacks {
            collector.start_sampling().map_err(|error| error.to_string())?;
        }
        Ok(Self { collector, sampling: setup.stacks, cpu_before: None })
    }

    /// Counts the requests of this socket from now on.
    pub(super) fn watch(&mut self, socket: Socket) -> Result<(), String> {
        self.collector.begin().map_err(|error| error.to_string())?;
        self.collector.watch(Window { port_id: socket.port_id, after_sequence: socket.sequence }, None);
        self.cpu_before = self.collector.reader_cpu();
        Ok(())
    }

    /// Whether the events are left unread.
    pub(super) fn pause(&self, paused: bool) {
        self.collector.pause(paused);
    }

    /// What was counted since [`Self::watch`].
    pub(super) fn seen(&self) -> Result<Seen, String> {
        thread::sleep(READ_BY_THEN);
        let cpu = self.collector.reader_cpu().zip(self.cpu_before);
        let figures = self.collector.figures().map_err(|error| error.to_string())?;
        let reader_cpu_ns =
            cpu.and_then(|(now, before)| u64::try_from(now.checked_sub(before)?.as_nanos()).ok());
        Ok(Seen { events: figures.seen, lost: figures.lost_at_most, reader_cpu_ns })
    }
}

impl Drop for Probes {
    fn drop(&mut self) {
        if self.sampling {
            // The samples are of no interest, and the sampler ends with the probes anyway.
            let _ = self.collector.stop_sampling();
        }
    }
}
