//! All that is kept of a run: a line of an export, and what waits to be sent.

use std::collections::BTreeSet;
use std::path::Path;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Commit, HistoryError, figures, histograms};
use crate::fingerprint::Fingerprint;
use crate::report::model::{RunResult, State};
use crate::store::SavedRun;

/// The version of this layout. What is newer is refused.
pub const RECORD_VERSION: u32 = 1;

/// A run, as it is kept.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// Version of this document's layout.
    pub record_version: u32,
    /// Names the run, everywhere.
    pub id: String,
    /// When it began.
    pub started_at: Timestamp,
    /// Who measured.
    pub source: Source,
    /// Version of qdiscope that measured.
    #[serde(default)]
    pub qdiscope_version: Option<String>,
    /// The budget's verdict.
    #[serde(default)]
    pub verdict: Option<State>,
    /// Why it is less than what was to be run, where it is.
    #[serde(default)]
    pub incomplete: Option<String>,
    /// What it can be compared with.
    pub environment: Environment,
    /// What was measured, where that is known.
    #[serde(default)]
    pub commit: Option<Commit>,
    /// Names that people gave it.
    #[serde(default)]
    pub labels: BTreeSet<String>,
    /// Its figures.
    pub figures: Vec<Figure>,
    /// Its latencies.
    #[serde(default)]
    pub histograms: Vec<KeptHistogram>,
    /// `result.json`, where it is a run of ours.
    #[serde(default)]
    pub result: Option<Value>,
}

/// Who measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Source {
    /// A run of ours.
    Qdiscope,
    /// criterion.rs
    Criterion,
    /// benchmark-action/github-action-benchmark
    GithubActionBenchmark,
}

impl Source {
    /// The name in the database.
    pub fn name(self) -> &'static str {
        match self {
            Self::Qdiscope => "qdiscope",
            Self::Criterion => "criterion",
            Self::GithubActionBenchmark => "github-action-benchmark",
        }
    }

    /// The one of that name.
    pub fn named(name: &str) -> Option<Self> {
        [Self::Qdiscope, Self::Criterion, Self::GithubActionBenchmark]
            .into_iter()
            .find(|of| of.name() == name)
    }
}

/// What runs must have in common to be compared: see [`Fingerprint`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Environment {
    /// The short name of the facts.
    pub digest: String,
    /// Each in words.
    pub facts: Vec<String>,
}

impl From<&Fingerprint> for Environment {
    fn from(fingerprint: &Fingerprint) -> Self {
        Self { digest: fingerprint.digest(), facts: fingerprint.lines().collect() }
    }
}

/// A value.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Figure {
    /// A workload or a stage; empty: of the whole run.
    pub workload: String,
    /// Empty: over all operations.
    #[serde(default)]
    pub operation: String,
    /// As in budgets.
    pub metric: String,
    /// Its unit.
    pub unit: String,
    /// Which direction is good.
    pub better: Better,
    /// The value.
    pub value: f64,
    /// How many observations it comes from, where that is known.
    #[serde(default)]
    pub observations: Option<u64>,
}

/// Which direction of a figure is good.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Better {
    /// As of latencies.
    Lower,
    /// As of throughput.
    Higher,
}

impl Better {
    /// The name in the database.
    pub fn name(self) -> &'static str {
        match self {
            Self::Lower => "lower",
            Self::Higher => "higher",
        }
    }
}

/// The latencies of one operation, over the whole run. Those of several runs can be added up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptHistogram {
    /// The workload and its mode, or the stage: `lifecycle-open`.
    pub workload: String,
    /// The operation.
    pub operation: String,
    /// `HdrHistogram` V2, compressed, base64, nanoseconds: as in an HDR log.
    pub hdr: String,
}

impl Record {
    /// That of a run in its folder. Its latencies are left out where their log cannot be read, which the second value tells.
    ///
    /// # Errors
    ///
    /// [`HistoryError::Unreadable`]: there is no run, or it is damaged.
    pub fn of_saved(
        folder: &Path,
        commit: Option<Commit>,
        labels: BTreeSet<String>,
    ) -> Result<(Self, Option<String>), HistoryError> {
        let unreadable =
            |reason: String| HistoryError::Unreadable { what: folder.display().to_string(), reason };
        let SavedRun { result, path, .. } =
            SavedRun::read(folder).map_err(|error| unreadable(error.to_string()))?;
        let mut record = Self::of(&result).map_err(unreadable)?;
        (record.commit, record.labels) = (commit, labels);
        let lost = match result.artifacts.get("latency") {
            None => None,
            Some(name) => match std::fs::read(path.join(name))
                .map_err(|error| error.to_string())
                .and_then(|log| histograms::of_log(&log).map_err(|error| error.to_string()))
            {
                Ok(histograms) => {
                    record.histograms = histograms;
                    None
                }
                Err(reason) => Some(format!("{}: {reason}", path.join(name).display())),
            },
        };
        Ok((record, lost))
    }

    /// What a result says; without commit, labels and histograms.
    fn of(run: &RunResult) -> Result<Self, String> {
        let started_at =
            run.started_at.parse().map_err(|error| format!("started_at {}: {error}", run.started_at))?;
        Ok(Self {
            record_version: RECORD_VERSION,
            id: run.run_id.clone(),
            started_at,
            source: Source::Qdiscope,
            qdiscope_version: Some(run.qdiscope_version.clone()),
            verdict: Some(run.verdict),
            incomplete: run.incomplete(),
            environment: Environment::from(&Fingerprint::of(run)),
            commit: None,
            labels: BTreeSet::new(),
            figures: figures::of_run(run),
            histograms: Vec::new(),
            result: Some(serde_json::to_value(run).map_err(|error| error.to_string())?),
        })
    }

    /// From a line of an export.
    ///
    /// # Errors
    ///
    /// What is wrong with it, in words.
    pub fn parse(line: &str) -> Result<Self, String> {
        let value: Value = serde_json::from_str(line).map_err(|error| error.to_string())?;
        match value["record_version"].as_u64() {
            Some(version) if version == u64::from(RECORD_VERSION) => {}
            Some(version) => {
                return Err(format!("record_version {version}; this qdiscope reads {RECORD_VERSION}"));
            }
            None => return Err("no record of a run: it has no record_version".into()),
        }
        let record: Self = serde_json::from_value(value).map_err(|error| error.to_string())?;
        record.check()?;
        Ok(record)
    }

    /// What no database could keep, or nobody could name.
    pub(super) fn check(&self) -> Result<(), String> {
        let texts = [&self.id, &self.environment.digest].into_iter().chain(&self.labels).chain(
            self.figures.iter().flat_map(|figure| [&figure.workload, &figure.operation, &figure.metric]),
        );
        if let Some(text) = texts.into_iter().find(|text| text.chars().any(char::is_control)) {
            return Err(format!("a name has a control character: {text:?}"));
        }
        if self.id.is_empty() {
            return Err("the run has no id".into());
        }
        if let Some(figure) = self.figures.iter().find(|figure| !figure.value.is_finite()) {
            return Err(format!("{} of {}: no finite number", figure.metric, figure.workload));
        }
        Ok(())
    }
}

#[cfg(test)]
pub(super) mod fixtures {
    use super::*;
    use crate::report::model::fixtures;

    /// A run that began so many seconds after the first, of a commit of that number, whose p95 is so many microseconds.
    pub(in crate::history) fn record(second: u32, p95: f64) -> Record {
        let mut run = fixtures::run();
        run.run_id = format!("run-{second:05}");
        run.started_at = (Timestamp::UNIX_EPOCH + jiff::SignedDuration::from_secs(second.into())).to_string();
        let mut latency = fixtures::percentiles(100.0, 20_000);
        latency.p95 = p95;
        run.workloads[0].latency_all_us = Some(latency);
        let mut record = Record::of(&run).unwrap();
        record.commit = Some(Commit {
            hash: format!("{second:040x}"),
            repository: Some("https://example.org/shaper".into()),
            branch: Some("main".into()),
            author_date: Some(record.started_at),
            subject: Some(format!("Change {second}")),
            dirty: Some(false),
        });
        record
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_an_export_is_the_record_again() {
        let record = fixtures::record(7, 1_234.5);
        let line = serde_json::to_string(&record).unwrap();
        assert!(!line.contains('\n'));
        assert_eq!(Record::parse(&line).unwrap(), record);
    }

    #[test]
    fn what_is_no_record_is_told() {
        let line = |change: fn(&mut Record)| {
            let mut record = fixtures::record(7, 1.0);
            change(&mut record);
            Record::parse(&serde_json::to_string(&record).unwrap()).unwrap_err()
        };
        assert!(line(|record| record.record_version = 2).contains("this qdiscope reads 1"));
        assert!(line(|record| record.id = String::new()).contains("no id"));
        assert!(line(|record| record.id = "a\u{1b}[2J".into()).contains("control character"));
        assert!(Record::parse("{}").unwrap_err().contains("no record_version"));
        assert!(Record::parse("{").unwrap_err().contains("EOF"));
        // JSON has no NaN: serde writes null, which is no number.
        assert!(line(|record| record.figures[0].value = f64::NAN).contains("null"));
    }
}
