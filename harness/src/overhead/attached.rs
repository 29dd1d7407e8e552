//! Our own probes on a load, and what they report of it.

use std::thread;
use std::time::Duration;

use ebpf_loader::{Follow, Options};
use serde::{Deserialize, Serialize};

use super::message::{Seen, Socket};
use crate::profile::KERNEL_SAMPLE_HZ;
use crate::record::{KernelCollector, Stacks, Window};

/// Longer than the reader's period: by then it has read everything by itself.
const READ_BY_THEN: Duration = Duration::from_millis(20);

/// What probes are attached for, which decides what they have to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Purpose {
    /// An event for each request of one process.
    Requests,
    /// The same, and kernel stacks sampled: `qdiscope bench`.
    Stacks,
    /// An event for each request of a process and its descendants, with what it was about: `qdiscope trace`, `top`.
    Trace,
    /// The same, and a sample with both stacks of each wait and whenever a timer finds a thread running: `qdiscope profile`.
    Profile,
}

impl Purpose {
    fn sample_hz(self) -> Option<u64> {
        match self {
            Self::Requests | Self::Trace => None,
            Self::Stacks => Some(KERNEL_SAMPLE_HZ.into()),
            Self::Profile => Some(PROFILE_HZ),
        }
    }

    fn watches_families(self) -> bool {
        matches!(self, Self::Trace | Self::Profile)
    }
}

/// As `qdiscope profile` does unless it is told otherwise.
const PROFILE_HZ: u64 = 999;

/// Which probes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Setup {
    /// The kind's name, as in `--probes`.
    pub(super) kind: String,
    /// What for.
    pub(super) purpose: Purpose,
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
            follow: match process {
                _ if setup.purpose.watches_families() => Follow::Families,
                Some(process) => Follow::Process(process),
                None => Follow::ThisProcess,
            },
            in_parts: setup.parts,
            details: setup.purpose.watches_families(),
            stacks: setup.purpose == Purpose::Profile,
            sample_hz: setup.purpose.sample_hz(),
            ..Options::default()
        };
        let mut probes =
            ebpf_loader::Probes::attach(&options).map_err(|unavailable| unavailable.to_string())?;
        if setup.purpose.watches_families() {
            let process = process.unwrap_or(probes.this_process());
            probes.follow(process).map_err(|error| error.to_string())?;
        }
        let sampling = setup.purpose.sample_hz().is_some();
        let sampler = probes.report().probes.iter().find(|probe| probe.name.starts_with("perf_event:"));
        if let Some(reason) = sampler.and_then(|probe| probe.reason.as_ref()).filter(|_| sampling) {
            return Err(format!("no kernel stacks: {reason}"));
        }
        let stacks =
            (setup.purpose == Purpose::Profile).then_some(Stacks { hz: PROFILE_HZ, slow_ns: 1_000_000 });
        let collector = KernelCollector::start(probes, stacks).map_err(|error| error.to_string())?;
        if sampling {
            collector.start_sampling().map_err(|error| error.to_string())?;
        }
        Ok(Self { collector, sampling, cpu_before: None })
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
