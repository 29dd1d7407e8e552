//! What is said between the measuring process and the one that runs the loads: a line of JSON each.

use serde::{Deserialize, Serialize};

use super::load::Load;

/// Do this.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Order {
    /// Run a load for so long.
    Window { load: Load, milliseconds: u64 },
    /// Send so many requests while the probes' reader holds still.
    Flood { requests: u64 },
    /// Attach our probes, of the kind that `--probes` calls so, with or without sampling of kernel stacks.
    Attach { kind: String, stacks: bool },
    /// Detach them.
    Detach,
}

/// Done, or why not.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Answer {
    /// Ready for orders, or the order is done.
    Ready,
    /// The window is over.
    Window(Window),
    /// These probes do not attach here.
    Absent { reason: String },
    /// The load cannot run.
    Failed { reason: String },
}

/// One window of a load.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Window {
    /// Nanoseconds an operation, slice by slice.
    pub(super) slices: Vec<f64>,
    /// Requests sent.
    pub(super) requests: u64,
    /// From the first to the last; ns.
    pub(super) elapsed_ns: u64,
    /// What the probes reported of it, where they are attached and the load has one socket.
    pub(super) seen: Option<Seen>,
}

/// What came out of the probes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Seen {
    /// Events read.
    pub(super) events: u64,
    /// Requests lost, by the probes' own counters.
    pub(super) lost: u64,
    /// CPU time of the thread that read them; ns. `None`: the kernel did not say.
    pub(super) reader_cpu_ns: Option<u64>,
}
