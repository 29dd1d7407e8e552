//! What a scaling measurement found: `scaling.json`.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::plan::Operation;
use crate::report::model::Environment;
use crate::stats::judgement::Judgement;

/// Raised when a reader of the former format would misread it.
pub const FORMAT: u32 = 1;

/// The measurement.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Scaling {
    /// 1.
    pub format: u32,
    /// When it began, UTC.
    pub started_at: String,
    /// The version of qdiscope.
    pub qdiscope_version: String,
    /// A signal or the time limit ended it early: `remarks` say which. What is here was measured.
    pub complete: bool,
    /// Of what, and how.
    pub settings: Settings,
    /// Of which machine.
    pub environment: Environment,
    /// What limits these figures' worth, in words: foreign classes, a busy machine, rounds left out.
    pub remarks: Vec<String>,
    /// The curves.
    pub series: Vec<Series>,
    /// The answer in sentences, from the figures above.
    pub findings: Vec<String>,
}

/// What was asked for.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Settings {
    /// `htb-class`.
    pub workload: String,
    /// What grows.
    pub axis: Axis,
    /// Its sizes: classes, or workers.
    pub sizes: Vec<u64>,
    /// Rounds asked for.
    pub rounds: u32,
    /// Operations measured at each size in each round, where classes grow.
    pub samples: Option<u32>,
    /// How long each number of workers is measured in each round, in milliseconds.
    pub window_ms: Option<u64>,
    /// Classes that stand while workers are measured.
    pub population: Option<u64>,
    /// Seed of every random choice.
    pub seed: u64,
}

/// What grows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Axis {
    /// Classes in the kernel, over all shards.
    Classes,
    /// Concurrent callers, each with a socket of its own.
    Workers,
}

impl Axis {
    /// As a unit: "ns a class".
    pub fn one(self) -> &'static str {
        match self {
            Self::Classes => "class",
            Self::Workers => "worker",
        }
    }

    /// As a heading.
    pub fn many(self) -> &'static str {
        match self {
            Self::Classes => "classes",
            Self::Workers => "workers",
        }
    }
}

/// One operation over all sizes.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Series {
    /// What was done.
    pub operation: Operation,
    /// Over how many devices the classes were spread.
    pub shards: u32,
    /// The sizes.
    pub stages: Vec<Stage>,
    /// By metric (`latency_p50_us`; with workers also `latency_mean_us`, `latency_p99_us` and `ops_per_s`): how it grows. A metric that could not be judged is absent.
    pub growth: BTreeMap<String, Judgement>,
    /// Which kernel functions grow.
    pub functions: Option<Functions>,
    /// Why that is not known.
    pub functions_absent_because: Option<String>,
}

/// One operation at one size, over all rounds.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Stage {
    /// The size: classes that stood on average, or workers.
    pub n: f64,
    /// Operations measured.
    pub operations: u64,
    /// Operations that the kernel refused. They are not in the figures.
    pub errors: u64,
    /// As callers saw it; a closed loop's.
    pub latency_us: Latency,
    /// Operations a second, all callers together. Median of the rounds.
    pub ops_per_s: f64,
    /// As the probes saw it. Null without probes.
    pub kernel_us: Option<Kernel>,
    /// By round: the median latency.
    pub rounds_p50_us: Vec<f64>,
}

/// Latency at one size; µs.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Latency {
    /// Median.
    pub p50: f64,
    /// Where the median lies with 95 % confidence, by order statistics. It knows nothing of what differs between rounds. Null with
    /// fewer than six operations.
    pub p50_interval: Option<[f64; 2]>,
    /// 95th percentile.
    pub p95: f64,
    /// 99th percentile.
    pub p99: f64,
    /// Mean.
    pub mean: f64,
}

/// Where the kernel spent it; µs, means, so that they add up: `request = rtnl_wait + off_cpu + on_cpu`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Kernel {
    /// What the probes cover of a request (see `environment.probes.kind`).
    pub request: f64,
    /// The median of `request`.
    pub request_p50: f64,
    /// Waiting for RTNL. Null where no probe tells.
    pub rtnl_wait: Option<f64>,
    /// Off the CPU for another reason. Null where no probe tells.
    pub off_cpu: Option<f64>,
    /// The rest. Null where one of the others is.
    pub on_cpu: Option<f64>,
    /// Requests that the probes reported.
    pub seen: u64,
    /// Requests that were sent and that they did not report.
    pub lost: u64,
}

/// Which kernel functions grow, from samples of kernel stacks.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Functions {
    /// Samples a second of CPU time.
    pub hz: u64,
    /// Samples in requests, over all sizes.
    pub samples: u64,
    /// Growth of all requests' time on the CPU by the samples; ns for each one more.
    pub growth_ns: f64,
    /// From the handler of the request inwards: each the callee that has most of the growth, as long as it has half of it.
    pub path: Vec<Growing>,
    /// The functions whose own time grows most.
    pub own: Vec<Growing>,
}

/// A function, and what it has of the growth.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Growing {
    /// Its symbol.
    pub function: String,
    /// Who called it in most of its samples.
    pub caller: Option<String>,
    /// Its growth: ns for each one more.
    pub growth_ns: f64,
    /// Of all growth.
    pub share: f64,
    /// Time in it for one operation, at each size; µs. Null where too few samples were taken to say.
    pub us: Vec<Option<f64>>,
}
