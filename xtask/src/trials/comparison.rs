//! What `qdiscope compare --json` says, as far as trials look at it.

use std::fmt;

use serde::Deserialize;

/// Two sides, compared.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(super) struct Comparison {
    pub(super) verdict: Verdict,
    /// A regression beyond its threshold.
    pub(super) alarm: bool,
    pub(super) interrupted: bool,
    /// Why it is inconclusive.
    pub(super) doubts: Vec<String>,
    pub(super) rows: Vec<Row>,
}

/// A metric.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(super) struct Row {
    pub(super) metric: String,
    pub(super) verdict: Verdict,
    pub(super) holds_among_all: bool,
    pub(super) severity: Severity,
    pub(super) baseline: Option<Middle>,
    pub(super) candidate: Option<Middle>,
    pub(super) change_percent: Option<f64>,
    pub(super) interval_percent: Option<[f64; 2]>,
}

#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
pub(super) struct Middle {
    pub(super) median: f64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Verdict {
    Regression,
    Improvement,
    NoChange,
    Inconclusive,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Severity {
    None,
    Warning,
    Critical,
}

impl Comparison {
    pub(super) fn row(&self, metric: &str) -> Option<&Row> {
        self.rows.iter().find(|row| row.metric == metric)
    }

    /// The verdict, and the rows or the doubt that it is made of.
    pub(super) fn told(&self) -> String {
        let rows: Vec<String> = self
            .rows
            .iter()
            .filter(|row| row.verdict == self.verdict && row.holds_among_all)
            .map(ToString::to_string)
            .collect();
        let why = match self.verdict {
            Verdict::Inconclusive => self.doubts.join("; "),
            _ => rows.join(", "),
        };
        let alarm = if self.alarm { ", alarm" } else { "" };
        if why.is_empty() {
            format!("{}{alarm}", self.verdict)
        } else {
            format!("{}{alarm} ({why})", self.verdict)
        }
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.metric)?;
        match (self.change_percent, self.interval_percent) {
            (Some(change), Some([least, most])) => {
                write!(f, " {change:+.2} % ({least:+.2} to {most:+.2})")
            }
            (Some(change), None) => write!(f, " {change:+.2} %"),
            (None, _) => f.write_str(" changed by what is no percentage"),
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Regression => "regression",
            Self::Improvement => "improvement",
            Self::NoChange => "no-change",
            Self::Inconclusive => "inconclusive",
        })
    }
}

#[cfg(test)]
pub(super) mod fixtures {
    use super::*;

    pub(in super::super) fn comparison(verdict: Verdict, alarm: bool) -> Comparison {
        Comparison { verdict, alarm, interrupted: false, doubts: Vec::new(), rows: Vec::new() }
    }

    pub(in super::super) fn row(metric: &str, medians: [f64; 2]) -> Row {
        let [baseline, candidate] = medians.map(|median| Some(Middle { median }));
        Row {
            metric: metric.into(),
            verdict: Verdict::Regression,
            holds_among_all: true,
            severity: Severity::Warning,
            baseline,
            candidate,
            change_percent: Some((medians[1] / medians[0] - 1.0) * 100.0),
            interval_percent: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{
        fixtures::{comparison, row},
        *,
    };

    #[test]
    fn a_document_is_read_and_told() {
        let document = r#"{
            "schema_version": 1, "verdict": "no-change", "severity": "none", "alarm": false, "doubts": [], "interrupted": false,
            "rows": [{
                "workload": "x", "metric": "latency_p50_us", "verdict": "no-change", "holds_among_all": false, "severity": "none",
                "baseline": {"median": 50.5, "interval": null}, "candidate": null,
                "change_percent": -0.25, "interval_percent": [-1.0, 0.5]
            }]
        }"#;
        let read: Comparison = serde_json::from_str(document).unwrap();
        assert_eq!(read.told(), "no-change");
        let row = read.row("latency_p50_us").unwrap();
        assert_eq!(row.to_string(), "latency_p50_us -0.25 % (-1.00 to +0.50)");
        assert_eq!((row.baseline, row.candidate), (Some(Middle { median: 50.5 }), None));
        assert_eq!(read.row("latency_p95_us"), None);
    }

    #[test]
    fn a_verdict_is_told_with_its_reason() {
        let mut of = comparison(Verdict::Regression, true);
        of.rows = vec![row("latency_p50_us", [100.0, 105.0])];
        assert_eq!(of.told(), "regression, alarm (latency_p50_us +5.00 %)");
        of = Comparison { doubts: vec!["too few".into()], ..comparison(Verdict::Inconclusive, false) };
        assert_eq!(of.told(), "inconclusive (too few)");
    }
}
