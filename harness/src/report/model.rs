//! `result.json`, as types: the contract with everybody's scripts.
//!
//! A field that was not measured is `null` or absent, never zero. Times are microseconds
//! (`_us`), sizes bytes, rates operations per second. A breaking change raises [`SCHEMA_VERSION`].

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::budget::Action;
use crate::traffic::TrafficReport;

mod attribution;
mod profile;

pub use attribution::{Holder, RequestPhases, RtnlHolder, RtnlWaits, SlowRequest, SlowStack, TimeAt};
pub use profile::{ProfileRun, StageSettings};

/// The version of this layout. Readers refuse what they do not know.
pub const SCHEMA_VERSION: u32 = 1;

/// One run of `qdiscope bench`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct RunResult {
    /// Version of this document's layout.
    pub schema_version: u32,
    /// Identifies the run; also the name of its folder.
    pub run_id: String,
    /// When the run began, UTC, RFC 3339.
    pub started_at: String,
    /// Version of qdiscope that measured.
    pub qdiscope_version: String,
    /// The verdict over all targets.
    pub verdict: State,
    /// True when a signal ended the run early: what is here is partial.
    pub interrupted: bool,
    /// What was asked for.
    pub settings: Settings,
    /// Where it ran.
    pub environment: Environment,
    /// The load profile that was run. Absent without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<ProfileRun>,
    /// One entry a workload, in the order in which they ran; of a load profile one a stage.
    pub workloads: Vec<WorkloadResult>,
    /// What the process used, over the whole run.
    pub resources: RunResources,
    /// Of a load profile with traffic: packets through classes of their own on the first device, from before the first stage until after the
    /// last, while the load created, changed and deleted classes beside them and changed theirs. Absent without.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traffic: Option<TrafficReport>,
    /// Each target with its value.
    pub budget: Vec<Judgement>,
    /// Targets of the default budget that do not apply to the workloads asked for.
    pub not_judged: Vec<NotJudged>,
    /// What the figures mean where they need words: findings, not verdicts.
    pub explanations: Vec<String>,
    /// Files saved beside this one: role → file name. A file that could not be made is absent.
    pub artifacts: BTreeMap<String, String>,
}

/// Settings that a comparison of two runs must hold equal.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
pub struct Settings {
    /// Seed of every random choice.
    pub seed: u64,
    /// Operations sent before measuring begins, for each workload.
    pub warmup_operations: u64,
    /// Number of veth devices that carry HTB.
    pub devices: u32,
    /// `auto`, `fexit`, `kprobe`, `tracepoint` or `off`, as asked for.
    pub probes: String,
    /// How many requests that wait at the same time may travel in one system call.
    #[serde(default = "one")]
    pub messages_per_packet: u16,
    /// One of our own process's allocations in so many bytes was sampled (`--heap`); null where none was.
    #[serde(default)]
    pub heap_sampled_every_bytes: Option<u64>,
    /// Whether each wait and each request was looked into by stacks (`--stacks`), which makes waits some microseconds longer.
    #[serde(default)]
    pub stacks: bool,
    /// The budget's file, or `default`.
    pub budget: String,
}

/// What a run did before this could be chosen.
fn one() -> u16 {
    1
}

/// The machine, as seen before and after the run.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Environment {
    /// Kernel release, as `uname -r`.
    pub kernel: String,
    /// CPU model, or null where /proc/cpuinfo names none.
    pub cpu: Option<String>,
    /// Logical CPUs that this process may use.
    pub cores: usize,
    /// Whether a hypervisor runs beneath (CPUID's hypervisor bit), null where it cannot be told.
    pub virtualised: Option<bool>,
    /// Which probes saw the kernel side, and why those.
    pub probes: Probes,
    /// HTB classes that other network namespaces hold; they slow the kernel's creation of classes
    /// for everybody (`flow_indr_dev_setup_offload`). Null where it cannot be told.
    pub foreign_htb_classes: Option<u64>,
    /// 1-minute load average before the run.
    pub load_average_before: Option<f64>,
    /// 1-minute load average after the run.
    pub load_average_after: Option<f64>,
    /// Share of CPU time that the hypervisor gave to others during the run, percent.
    pub steal_percent: Option<f64>,
    /// How long the machine slept during the run, seconds; durations do not count that. Null where it cannot be told.
    #[serde(default)]
    pub suspended_seconds: Option<f64>,
    /// By how much the clock of the day was set during the run, seconds, positive for ahead. Durations do not depend on it. Null where it
    /// cannot be told.
    #[serde(default)]
    pub clock_step_seconds: Option<f64>,
}

/// The kernel side's observers.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Probes {
    /// Kind in use, or `off`.
    pub kind: String,
    /// Why this kind.
    pub reason: String,
    /// Kinds that would have been preferred, and why each cannot be had here.
    #[serde(default)]
    pub passed_over: Vec<PassedOver>,
    /// How RTNL's lock was recognised; null without probes.
    pub rtnl_lock: Option<String>,
    /// Why the kernel's own structures could not be read, and with them the holder of RTNL; null where they can.
    #[serde(default)]
    pub structures_unread: Option<String>,
    /// Each probe tried.
    pub attached: Vec<ProbeState>,
}

/// A kind of probes that was tried and is not in use.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct PassedOver {
    /// `fexit` or `kprobe`.
    pub kind: String,
    /// Why not.
    pub reason: String,
}

/// One probe.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct ProbeState {
    /// Attach point, e.g. `lock:contention_begin` or `fexit:tc_ctl_tclass`.
    pub name: String,
    /// Whether it is attached.
    pub attached: bool,
    /// Why it is not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// How load was offered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Each worker sends its next request when the last was answered. Latency counts from the
    /// send, so a stall delays the requests behind it without being counted for them.
    Closed,
    /// Requests are due on a schedule. Latency counts from the intended start.
    Open,
}

impl std::fmt::Display for Mode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::Closed => "closed",
            Self::Open => "open",
        })
    }
}

/// What one workload measured.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct WorkloadResult {
    /// `htb-qdisc`, `htb-class` or `lifecycle`.
    pub name: String,
    /// Closed or open loop.
    pub mode: Mode,
    /// Concurrent callers.
    pub workers: u32,
    /// Offered rate, operations per second; null in a closed loop, which offers none.
    pub rate: Option<f64>,
    /// How long it was asked to run, seconds.
    pub duration_seconds: f64,
    /// Classes asked for: in a fill of `htb-class`, held by `lifecycle`; null for `htb-qdisc`, which has none.
    pub classes: Option<u64>,
    /// How often `lifecycle` was to choose each operation, as `create=20,change=40,read=20,delete=20`; null for the others.
    pub weights: Option<String>,
    /// Devices that carried it.
    pub devices: u32,
    /// Most classes that were in the kernel at once.
    pub population_max: u64,
    /// Requests sent and answered while measuring, errors included. One netlink message each.
    pub operations: u64,
    /// Scheduled requests that were never sent because the run had to end. Their latency is unknown and
    /// above every one recorded.
    pub unsent: u64,
    /// Errors by errno and the kernel's text.
    pub errors: Vec<ErrorCount>,
    /// Errors that the workload asks for, to see how they are refused; they count as successes, with their latency.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub expected_errors: Vec<ErrorCount>,
    /// How late workers began that were free, after the moment at which a request was due: what the harness itself adds. Null where
    /// nothing was due at a moment, as in a closed loop without think times.
    #[serde(default)]
    pub schedule_lag_us: Option<Percentiles>,
    /// The stage of a load profile that it was. Absent where it is a workload of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stage: Option<StageSettings>,
    /// Time over which the operations ran, seconds; set-up, warm-up and tear-down excluded.
    pub measured_seconds: f64,
    /// Successful operations per second.
    pub throughput_ops_per_s: Throughput,
    /// Successful operations in each whole second, in order.
    pub timeline_ops: Vec<u64>,
    /// Latency by operation, microseconds, successful operations only.
    pub latency_us: BTreeMap<String, Percentiles>,
    /// Latency over all operations, microseconds.
    pub latency_all_us: Option<Percentiles>,
    /// Kernel time by netlink message type. Absent without probes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kernel_us: Option<BTreeMap<String, KernelPhases>>,
    /// Requests that were sent and are not in `kernel_us`. Null without probes.
    pub lost_events: Option<u64>,
    /// How many the probes' own counters account for, at most. A larger `lost_events` is a defect. Null without probes.
    pub lost_events_accounted: Option<u64>,
    /// The phases of requests from end to end, by operation: callers' moments joined with the probes'. Absent without probes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phases_us: Option<BTreeMap<String, RequestPhases>>,
    /// The same over all operations. Absent without probes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phases_all_us: Option<RequestPhases>,
    /// What requests are made of that take about as long as `p50`, `p90`, `p95`, `p99`, `p99_9` and `max` of
    /// `latency_all_us`. Absent without probes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_at: Option<BTreeMap<String, TimeAt>>,
    /// Behind whom requests waited for RTNL. Absent where no probe tells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rtnl_waits: Option<RtnlWaits>,
    /// What the process used while this workload was measured.
    pub resources: WorkloadResources,
    /// HTB classes, and qdiscs that the kernel has not made by itself, found after teardown by asking it. Null where it could not be asked.
    pub left_after_teardown: Option<u64>,
    /// True when a signal ended it early.
    pub interrupted: bool,
}

impl RunResult {
    /// Why this is less than what was to be run, where it is: then no target that holds makes it pass.
    pub fn incomplete(&self) -> Option<String> {
        if self.interrupted {
            return Some("the run was interrupted".into());
        }
        self.profile.as_ref()?.incomplete(self.workloads.len())
    }
}

impl WorkloadResult {
    /// What it is called among the others: a stage by its name, a workload by its own and its mode.
    pub fn title(&self) -> String {
        match &self.stage {
            Some(stage) => stage.name.clone(),
            None => format!("{} ({})", self.name, self.mode),
        }
    }

    /// Whether requests were due at moments, so that it is known how late the harness began.
    pub fn keeps_time(&self) -> bool {
        let thinks = |stage: &StageSettings| {
            stage.think_time_us.is_some_and(|time| time > 0.0) || stage.rate.is_some()
        };
        self.rate.is_some() || self.stage.as_ref().is_some_and(thinks)
    }

    /// The same as one word, as in the files beside the result.
    pub fn tag(&self) -> String {
        match &self.stage {
            Some(stage) => stage.name.clone(),
            None => format!("{}-{}", self.name, self.mode),
        }
    }

    /// Whether targets apply to it: not to a stage that says so.
    pub fn is_judged(&self) -> bool {
        self.stage.as_ref().is_none_or(|stage| stage.judged)
    }
}

/// A sustained rate is the worst second's, so both are given.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, JsonSchema)]
pub struct Throughput {
    /// Successful operations over the measured time. Null when nothing was measured.
    pub mean: Option<f64>,
    /// The fewest in any whole second. Null when the run was shorter than a second.
    pub worst_second: Option<f64>,
}

/// One kind of failure.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct ErrorCount {
    /// The kernel's error number, null where the adapter itself refused.
    pub errno: Option<i32>,
    /// The kernel's ext-ack text, or the adapter's words.
    pub text: String,
    /// How many.
    pub count: u64,
}

/// A latency distribution, microseconds. Exact to three significant digits (`HdrHistogram`).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Percentiles {
    /// Median.
    pub p50: f64,
    /// 90th percentile.
    pub p90: f64,
    /// 95th percentile.
    pub p95: f64,
    /// 99th percentile.
    pub p99: f64,
    /// 99.9th percentile.
    pub p99_9: f64,
    /// Largest value.
    pub max: f64,
    /// Arithmetic mean.
    pub mean: f64,
    /// Values in the distribution.
    pub count: u64,
}

/// Where requests of one message type spent their time in the kernel.
/// For each request, `request = rtnl_wait + off_cpu + on_cpu`; the other phases lie within these.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, JsonSchema)]
pub struct KernelPhases {
    /// What the probes cover of a request: with fexit and kprobes the message, from entering `rtnetlink_rcv_msg` to leaving it;
    /// with tracepoints the system call that sent it.
    pub request: Percentiles,
    /// From the entry of the system call to the return of the socket's `sendmsg`. Null where the probes see messages.
    pub syscall: Option<Percentiles>,
    /// Waiting for RTNL, spinning or asleep. Null where no probe tells.
    pub rtnl_wait: Option<Percentiles>,
    /// Off the CPU for another reason: RCU, memory, preemption. Null where no probe tells.
    pub off_cpu: Option<Percentiles>,
    /// The rest. Null where one of the others is.
    pub on_cpu: Option<Percentiles>,
    /// Holding RTNL. Null where no probe tells, as with tracepoints.
    pub rtnl_hold: Option<Percentiles>,
    /// In rtnetlink's handler, e.g. `tc_ctl_tclass`. Null where no probe tells.
    pub handler: Option<Percentiles>,
    /// In `qdisc_create`. Null where no probe tells, or no request came there.
    pub qdisc_create: Option<Percentiles>,
    /// In the qdisc's own operation on a class, e.g. `htb_change_class`. Null where no probe tells, or no request came there.
    pub class_operation: Option<Percentiles>,
    /// In `synchronize_rcu` or `synchronize_rcu_expedited`; counts only the requests that came there. Null where none did, or
    /// no probe tells.
    pub rcu: Option<Percentiles>,
}

/// Resources of one workload.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, JsonSchema)]
pub struct WorkloadResources {
    /// Peak resident set while measuring (`VmHWM`, reset at its start). Null where the kernel does not tell.
    pub peak_rss_bytes: Option<u64>,
    /// User and system time over wall time; 100 is one core kept busy.
    pub cpu_percent_of_one_core: Option<f64>,
    /// Most file descriptors open at once, sampled.
    pub fds_max: Option<u64>,
    /// Most of them that were sockets, sampled.
    pub sockets_max: Option<u64>,
}

/// Resources of the run.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
pub struct RunResources {
    /// Peak resident set over all workloads; making the reports afterwards is not counted.
    pub peak_rss_bytes: Option<u64>,
    /// CPU use at the target load (the open-loop workload), where there was one; else over all workloads.
    pub cpu_percent_of_one_core: Option<f64>,
    /// Which workload `cpu_percent_of_one_core` speaks of: `target load` or `all workloads`.
    pub cpu_measured_at: String,
    /// Descriptors open before the first workload.
    pub fds_before: Option<u64>,
    /// Descriptors open after the last one's teardown.
    pub fds_after: Option<u64>,
    /// Sockets open before the first workload.
    pub sockets_before: Option<u64>,
    /// Sockets open after the last one's teardown.
    pub sockets_after: Option<u64>,
    /// The whole machine's CPU time in use, percent of all cores, over the workloads that `cpu_measured_at` names. Null where /proc
    /// does not tell.
    #[serde(default)]
    pub machine_cpu_percent: Option<f64>,
    /// The most of the machine's memory that was in use (what is not available to new processes without swapping) while a workload
    /// was measured, percent, sampled. Null where /proc does not tell.
    #[serde(default)]
    pub machine_memory_percent: Option<f64>,
    /// How fast what is kept grew over the run: `rss_bytes`, `heap_bytes`, `fds`, `sockets` of the process, and `slab_bytes` of the kernel, on
    /// the whole machine. Absent where the run was too short, or had too few samples, to say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub growth: Option<BTreeMap<String, Growth>>,
}

/// How fast a figure grew.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Growth {
    /// Units an hour; the first fifth of the time is left out.
    pub per_hour: f64,
    /// Where that lies with 95 % confidence. Above zero only if the figure grew in each part of the run, and did not slow down.
    pub interval: [f64; 2],
    /// How often it was read.
    pub samples: u64,
    /// From the first to the last time, seconds.
    pub seconds: f64,
}

/// What became of a target, or of the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Measured, and within every level.
    Pass,
    /// Measured, and beyond the warning level only. A run with nothing worse ends with exit code 0.
    Warning,
    /// Measured, and beyond the critical level, which without factors is the limit: what budgets call critical.
    #[serde(rename = "fail", alias = "critical")]
    Critical,
    /// Not measured, or not measured well enough to say.
    Inconclusive,
}

impl std::fmt::Display for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::Pass => "pass",
            Self::Warning => "warning",
            Self::Critical => "critical",
            Self::Inconclusive => "inconclusive",
        })
    }
}

/// One target, judged.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Judgement {
    /// The budget's name for what was measured, with its unit.
    pub metric: String,
    /// Workload and mode that it was measured in, or `run`.
    pub workload: String,
    /// The operation that it speaks of; absent: all of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operation: Option<String>,
    /// `>`, `>=`, `<` or `<=`: how the value must stand to the limit.
    pub comparison: String,
    /// The limit.
    pub limit: f64,
    /// Beyond this value it warns. Absent where nothing does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warning_at: Option<f64>,
    /// Beyond this value it is critical, where that is not the limit or not the only level. Absent with `warning_at`: it only warns.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub critical_at: Option<f64>,
    /// The value, null when it was not measured.
    pub value: Option<f64>,
    /// Verdict.
    pub state: State,
    /// An alert's name, or the path of a JSON budget. Absent for a target without a name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
    /// What is to be done where an alert fires, which is where the state is `warning` or `fail`. Absent for a target.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub action: Option<Action>,
    /// Why, where the state alone does not say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// A target left out.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct NotJudged {
    /// The metric.
    pub metric: String,
    /// Why.
    pub reason: String,
}

/// A run for the tests of everything that reads one.
#[cfg(test)]
#[expect(missing_docs, reason = "tests only")]
pub mod fixtures {
    use super::*;

    pub fn percentiles(p50: f64, count: u64) -> Percentiles {
        Percentiles {
            p50,
            p90: p50 * 2.0,
            p95: p50 * 3.0,
            p99: p50 * 4.0,
            p99_9: p50 * 5.0,
            max: p50 * 6.0,
            mean: p50,
            count,
        }
    }

    pub fn judgement(metric: &str, workload: &str, value: Option<f64>, state: State) -> Judgement {
        Judgement {
            metric: metric.into(),
            workload: workload.into(),
            operation: None,
            comparison: "<".into(),
            limit: 1.0,
            warning_at: None,
            critical_at: None,
            value,
            state,
            rule: None,
            action: None,
            reason: None,
        }
    }

    pub fn workload() -> WorkloadResult {
        let phases = KernelPhases {
            request: percentiles(80.0, 20_000),
            syscall: Some(percentiles(80.0, 20_000)),
            rtnl_wait: Some(percentiles(0.0, 20_000)),
            off_cpu: Some(percentiles(1.0, 20_000)),
            on_cpu: Some(percentiles(79.0, 20_000)),
            rtnl_hold: None,
            handler: None,
            qdisc_create: None,
            class_operation: None,
            rcu: None,
        };
        WorkloadResult {
            name: "htb-class".into(),
            mode: Mode::Closed,
            workers: 8,
            rate: None,
            duration_seconds: 3.0,
            classes: Some(10_000),
            weights: None,
            devices: 10,
            population_max: 10_100,
            operations: 20_000,
            unsent: 0,
            errors: Vec::new(),
            expected_errors: Vec::new(),
            schedule_lag_us: None,
            stage: None,
            measured_seconds: 2.5,
            throughput_ops_per_s: Throughput { mean: Some(8_000.0), worst_second: Some(7_900.0) },
            timeline_ops: vec![8_100, 7_900],
            latency_us: BTreeMap::from([("class-create".into(), percentiles(640.0, 20_000))]),
            latency_all_us: Some(percentiles(640.0, 20_000)),
            kernel_us: Some(BTreeMap::from([("RTM_NEWTCLASS".into(), phases)])),
            lost_events: Some(0),
            lost_events_accounted: Some(0),
            phases_us: None,
            phases_all_us: None,
            time_at: None,
            rtnl_waits: None,
            resources: WorkloadResources {
                peak_rss_bytes: Some(20_000_000),
                cpu_percent_of_one_core: Some(98.0),
                fds_max: Some(30),
                sockets_max: Some(3),
            },
            left_after_teardown: Some(0),
            interrupted: false,
        }
    }

    pub fn traffic() -> TrafficReport {
        TrafficReport {
            seconds: 10.0,
            rate_per_stream: 100.0,
            rate_held_percent: Some(100.0),
            sent: 100_000,
            refused: 0,
            received: 100_000,
            lost: 0,
            queued_at_end: Some(0),
            reordered: 0,
            duplicated: 0,
            too_late: 0,
            receiver_drops: 0,
            loss_percent: Some(0.0),
            inconclusive_because: None,
            class_changes: Some(400),
            latency_us: Some(percentiles(30.0, 100_000)),
            streams: Vec::new(),
        }
    }

    pub fn run() -> RunResult {
        RunResult {
            schema_version: SCHEMA_VERSION,
            run_id: "20261123T120000Z-abc123".into(),
            started_at: "2026-11-23T12:00:00Z".into(),
            qdiscope_version: "0.1.0".into(),
            verdict: State::Inconclusive,
            interrupted: false,
            settings: Settings {
                seed: 1,
                warmup_operations: 100,
                devices: 10,
                probes: "auto".into(),
                messages_per_packet: 1,
                stacks: false,
                heap_sampled_every_bytes: None,
                budget: "default".into(),
            },
            environment: Environment {
                kernel: "6.18.0".into(),
                cpu: Some("CPU".into()),
                cores: 2,
                virtualised: Some(true),
                probes: Probes {
                    kind: "tracepoint".into(),
                    reason: "the first kind that attached".into(),
                    passed_over: Vec::new(),
                    structures_unread: None,
                    rtnl_lock: Some("kallsyms".into()),
                    attached: Vec::new(),
                },
                foreign_htb_classes: Some(0),
                load_average_before: Some(0.1),
                load_average_after: Some(1.0),
                steal_percent: Some(0.0),
                suspended_seconds: Some(0.0),
                clock_step_seconds: Some(0.0),
            },
            profile: None,
            workloads: vec![workload()],
            resources: RunResources {
                peak_rss_bytes: Some(20_000_000),
                cpu_percent_of_one_core: Some(98.0),
                cpu_measured_at: "all workloads".into(),
                fds_before: Some(20),
                fds_after: Some(20),
                sockets_before: Some(1),
                sockets_after: Some(1),
                machine_cpu_percent: Some(60.0),
                machine_memory_percent: Some(40.0),
                growth: None,
            },
            budget: Vec::new(),
            not_judged: Vec::new(),
            explanations: Vec::new(),
            traffic: None,
            artifacts: BTreeMap::new(),
        }
    }
}
