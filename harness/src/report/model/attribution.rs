//! Where requests spent their time from end to end, and behind whom they waited.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Percentiles;
use crate::attribution::Phase;
use crate::profile::Doing;

/// Each phase's distribution over the requests of one operation. For each request
/// `total = schedule_lag + encode + queue + entry + rtnl_wait + on_cpu + off_cpu + reply + unattributed`.
/// A phase that no probe tells is null, and its time is unattributed.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, JsonSchema)]
pub struct RequestPhases {
    /// From when the request was due until its caller had the answer.
    pub total: Percentiles,
    /// From when it was due until its worker began with it: 0 in a closed loop.
    pub schedule_lag: Option<Percentiles>,
    /// Validating and encoding it, and looking up its parent where that is needed.
    pub encode: Option<Percentiles>,
    /// In the adapter's queue, until the system call that sent it.
    pub queue: Option<Percentiles>,
    /// From there to where the probes see its begin in the kernel.
    pub entry: Option<Percentiles>,
    /// Waiting for RTNL, spinning or asleep.
    pub rtnl_wait: Option<Percentiles>,
    /// At work in the kernel.
    pub on_cpu: Option<Percentiles>,
    /// Off the CPU in the kernel for another reason.
    pub off_cpu: Option<Percentiles>,
    /// From its end in the kernel until its caller had the answer.
    pub reply: Option<Percentiles>,
    /// What no phase covers.
    pub unattributed: Percentiles,
}

impl RequestPhases {
    /// A phase's distribution; `None` where it was not measured.
    pub fn phase(&self, phase: Phase) -> Option<&Percentiles> {
        match phase {
            Phase::ScheduleLag => self.schedule_lag.as_ref(),
            Phase::Encode => self.encode.as_ref(),
            Phase::Queue => self.queue.as_ref(),
            Phase::Entry => self.entry.as_ref(),
            Phase::RtnlWait => self.rtnl_wait.as_ref(),
            Phase::OnCpu => self.on_cpu.as_ref(),
            Phase::OffCpu => self.off_cpu.as_ref(),
            Phase::Reply => self.reply.as_ref(),
        }
    }
}

/// What the requests are made of that took about as long as a percentile (within 10 %): means.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TimeAt {
    /// The percentile's value.
    pub latency_us: f64,
    /// How many requests took about as long.
    pub requests: u64,
    /// The operation that most of them are.
    pub operation: String,
    /// Mean time in each phase. A phase that was not measured is absent.
    pub phases_us: BTreeMap<Phase, f64>,
    /// Mean time that no phase covers.
    pub unattributed_us: f64,
}

impl TimeAt {
    /// The phase that took most.
    pub fn guilty(&self) -> Option<(Phase, f64)> {
        self.phases_us
            .iter()
            .map(|(phase, time)| (*phase, *time))
            .max_by(|one, other| one.1.total_cmp(&other.1))
    }
}

/// Behind whom requests waited for RTNL. The holder is read when a request begins to wait.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RtnlWaits {
    /// All waiting together.
    pub wait_us: f64,
    /// Of the time that the requests took in the kernel, percent.
    pub percent_of_requests: f64,
    /// The part of that behind other processes, percent of the requests' time in the kernel.
    pub foreign_percent_of_requests: f64,
    /// The processes behind which was waited longest, at most ten.
    pub holders: Vec<RtnlHolder>,
    /// How many further ones there were.
    pub further_holders: u64,
    /// Waiting behind these.
    pub further_wait_us: f64,
    /// Waiting of which the holder could not be told: RTNL was being handed over, or the kernel's structures cannot be read.
    pub unknown_wait_us: f64,
}

/// A process that held RTNL while requests waited for it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RtnlHolder {
    /// The holding thread's name.
    pub comm: String,
    /// Its process, as numbered in the initial PID namespace.
    pub pid: u32,
    /// Whether it is one of those whose requests waited: they stood in each other's way.
    pub own: bool,
    /// What it did in the kernel, by the outermost function that says something (`tc_dump_tclass`), as most samples found it that hit
    /// it with RTNL in its hands while a request waited. `null`: none did.
    #[serde(default)]
    pub doing: Option<String>,
    /// How often a request waited behind it.
    pub waits: u64,
    /// How long, together.
    pub wait_us: f64,
    /// Percent of all waiting.
    pub percent_of_waiting: f64,
}

/// One of the slowest requests, whole. An entry of `slowest.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SlowRequest {
    /// What it was to its caller.
    pub operation: String,
    /// `nlmsg_seq`
    pub sequence: u32,
    /// When it was due; ns of `CLOCK_MONOTONIC`, as in kernel traces.
    pub due_ns: u64,
    /// From when it was due until its caller had the answer.
    pub total_us: f64,
    /// Time in each phase. A phase that was not measured is absent.
    pub phases_us: BTreeMap<Phase, f64>,
    /// What no phase covers.
    pub unattributed_us: f64,
    /// The thread that sent it, as numbered in the initial PID namespace. Null, like all that follows, where its event was lost.
    pub tid: Option<u32>,
    /// The CPU on which it ended.
    pub cpu: Option<u32>,
    /// In rtnetlink's handler. Null where no probe tells.
    pub handler_us: Option<f64>,
    /// Holding RTNL. Null where no probe tells.
    pub rtnl_hold_us: Option<f64>,
    /// In `synchronize_rcu`. Null where it did not come there, or no probe tells.
    pub rcu_us: Option<f64>,
    /// How often it left the CPU other than waiting for RTNL.
    pub off_cpu_switches: Option<u16>,
    /// Who held RTNL when it last began to wait. Null where it did not wait, or the holder could not be told.
    pub holder: Option<Holder>,
    /// Where its thread was, in the order of their times. Absent where that was not asked for (`bench --stacks`), or nothing was seen.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stacks: Vec<SlowStack>,
}

/// Where a request's thread was: found running by a timer, or waiting.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SlowStack {
    /// What it did.
    pub doing: Doing,
    /// When, from when the request was due; a wait's begin.
    pub at_us: f64,
    /// How long it waited; null where it ran.
    pub wait_us: Option<f64>,
    /// Its functions in user mode, the outermost first.
    pub user: Vec<String>,
    /// And in the kernel.
    pub kernel: Vec<String>,
}

/// A process, by name and number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Holder {
    /// The thread's name.
    pub comm: String,
    /// The process, as numbered in the initial PID namespace.
    pub pid: u32,
}
