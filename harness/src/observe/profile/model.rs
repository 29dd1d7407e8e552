//! The contract of `profile.json`: what `qdiscope profile` found. What is not known or was not measured is null, never zero.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;

use crate::report::model::{KernelPhases, Probes, RtnlWaits};

/// The version of this document. It changes when a field changes its meaning or goes; new ones may come without.
pub const VERSION: u32 = 1;

/// Requests of observed programs.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct Profile {
    /// Of this document: 1.
    pub version: u32,
    /// When it began: RFC 3339, UTC.
    pub begun: String,
    /// How long it was; seconds.
    pub seconds: f64,
    /// Who was observed: a command line, `process 4242`, or `every process`.
    pub subject: String,
    /// The command's exit code, 128 and the signal's number where a signal killed it; null without a command, or when it still ran.
    pub exit_code: Option<u8>,
    /// Kernel release, as `uname -r`.
    pub kernel: String,
    /// CPU model, or null where /proc/cpuinfo names none.
    pub cpu: Option<String>,
    /// Which probes saw the requests, and why those.
    pub probes: Probes,
    /// Requests: messages with fexit and kprobes, system calls that send with tracepoints.
    pub requests: u64,
    /// What is missing.
    pub lost: Lost,
    /// By the message type's name, e.g. `RTM_NEWTCLASS`. Of several messages in one system call the first one's, with tracepoints.
    pub by_type: BTreeMap<String, OfType>,
    /// Requests that failed, the most frequent first.
    pub refusals: Vec<Refusal>,
    /// Behind whom requests waited for RTNL; null where the probes do not tell.
    pub rtnl_waits: Option<RtnlWaits>,
    /// Where the time went, by stacks.
    pub stacks: Stacks,
}

/// What is missing from a profile. Null where that is not known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Lost {
    /// At most so many requests.
    pub requests_at_most: Option<u64>,
    /// Texts of the kernel.
    pub ext_acks: Option<u64>,
    /// Samples of stacks.
    pub samples: Option<u64>,
    /// Processes that were too many to follow.
    pub processes: Option<u64>,
}

/// Requests of one type.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct OfType {
    /// Requests.
    pub requests: u64,
    /// Messages; null where those of a system call could not be counted.
    pub messages: Option<u64>,
    /// Requests that failed.
    pub failed: u64,
    /// Requests of which it is not known how they went, because nobody had asked for an acknowledgement.
    pub unknown_results: u64,
    /// Requests that asked for a list, of which only the first part is measured: the others are made while it is read.
    pub lists: u64,
    /// Where the kernel spent the time; µs.
    pub kernel_us: Option<KernelPhases>,
}

/// Requests that failed alike.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Refusal {
    /// The message type's name.
    #[serde(rename = "type")]
    pub message_type: String,
    /// The errno: 17.
    pub errno: i32,
    /// Its name: `EEXIST`.
    pub error: String,
    /// What the kernel said in words; null where it said nothing.
    pub ext_ack: Option<String>,
    /// How many.
    pub count: u64,
}

/// Where the time went, by stacks.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct Stacks {
    /// Samples a second on each CPU of who runs; null where there are none.
    pub hz: Option<u64>,
    /// Why running threads were not sampled; null where they were.
    pub not_sampled: Option<String>,
    /// Time on the CPU of who was followed, in requests and outside, by samples; null where there are none. µs.
    pub on_cpu_us: Option<f64>,
    /// Time off the CPU in requests, without waits for RTNL; null where the probes do not tell. µs.
    pub off_cpu_us: Option<f64>,
    /// Time waiting for RTNL in requests; null where the probes do not tell. µs.
    pub rtnl_wait_us: Option<f64>,
    /// The slow requests; null without a request.
    pub slow: Option<Slow>,
}

/// Requests that took at least some time in the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, JsonSchema)]
pub struct Slow {
    /// How long; µs. As `--over` says, else chosen so that a twentieth of all requests took as long.
    pub at_least_us: f64,
    /// How many did.
    pub requests: u64,
    /// Of how many.
    pub of: u64,
}
