//! What is said between the measuring process and those that it starts: a line of JSON each.

use serde::{Deserialize, Serialize};

use super::attached::Setup;
use super::load::Load;

/// Do this.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Order {
    /// Run a load for so long.
    Window { load: Load, milliseconds: u64 },
    /// Send so many requests that will be refused, as fast as it goes.
    Flood { requests: u64 },
    /// Say which socket [`Load::Rate`] and floods use.
    Socket,
    /// Attach our probes to a process, or to the one that obeys.
    Attach { setup: Setup, process: Option<u32> },
    /// Count the requests of a socket from now on.
    Watch { socket: Socket },
    /// Leave events unread, or read them again.
    Pause { paused: bool },
    /// Say what was counted.
    Count,
    /// Detach the probes.
    Detach,
}

/// Done, or why not.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Answer {
    /// Ready for orders, or the order is done.
    Ready,
    /// The window is over.
    Window(Window),
    /// The socket.
    Socket(Socket),
    /// What was counted.
    Seen(Seen),
    /// These probes do not attach here.
    Absent { reason: String },
    /// The order cannot be obeyed.
    Failed { reason: String },
}

/// A socket that requests come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Socket {
    /// Its netlink port id.
    pub(super) port_id: u32,
    /// Of the last request.
    pub(super) sequence: u32,
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
