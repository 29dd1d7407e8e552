//! A run of any command: what it took.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::model::Better;
use super::series::Measure;
use crate::gate::change::Thresholds;

/// The version of the layout of `execution.json`.
pub const EXECUTION_VERSION: u32 = 1;

/// A command that has run, and succeeded.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Execution {
    /// Version of this document's layout.
    pub schema_version: u32,
    /// Names it among the others.
    pub id: String,
    /// The command line, as the shell got it.
    pub command: String,
    /// When it began, UTC, RFC 3339.
    pub started_at: String,
    /// Kernel release.
    pub kernel: String,
    /// CPU model.
    pub cpu: Option<String>,
    /// Logical CPUs that it might use.
    pub cores: usize,
    /// From before the fork until it was waited for, microseconds.
    pub wall_time_us: f64,
    /// User and system time of it and of all its descendants that were waited for, microseconds.
    pub cpu_time_us: f64,
    /// The largest resident set of any of these, bytes.
    pub peak_rss_bytes: u64,
}

impl Execution {
    /// The names of its metrics.
    pub const METRICS: [&'static str; 3] = ["wall_time_us", "cpu_time_us", "peak_rss_bytes"];

    pub(super) fn value(&self, metric: &str) -> Option<f64> {
        match metric {
            "wall_time_us" => Some(self.wall_time_us),
            "cpu_time_us" => Some(self.cpu_time_us),
            "peak_rss_bytes" => Some(self.peak_rss_bytes as f64),
            _ => None,
        }
    }

    pub(super) fn measure(metric: &str) -> Measure {
        let (unit, thresholds) = match metric {
            "wall_time_us" => ("µs", Thresholds::RESPONSE_TIME),
            "cpu_time_us" => ("µs", Thresholds::RESOURCES),
            _ => ("bytes", Thresholds::RESOURCES),
        };
        Measure { name: metric.to_owned(), unit, better: Better::Lower, thresholds }
    }

    /// What would have to be the same of two of them, as [`crate::fingerprint::Fingerprint`] has it of runs.
    pub(super) fn differences(&self, other: &Self) -> Vec<String> {
        let unknown = |cpu: &Option<String>| cpu.clone().unwrap_or_else(|| "unknown".to_owned());
        [
            ("kernel", self.kernel.clone(), other.kernel.clone()),
            ("CPU", unknown(&self.cpu), unknown(&other.cpu)),
            ("cores", self.cores.to_string(), other.cores.to_string()),
        ]
        .into_iter()
        .filter(|(_, one, another)| one != another)
        .map(|(name, one, another)| format!("{name}: {one} and {another}"))
        .collect()
    }
}
