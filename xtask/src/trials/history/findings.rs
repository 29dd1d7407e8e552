//! What `qdiscope regressions`, `trend`, `baseline show` and `bisect` say with `--json`, as far as it is looked at. Pure.

use std::collections::BTreeSet;

use serde::{Deserialize, de::DeserializeOwned};

/// The history of a figure.
#[derive(Debug, Deserialize)]
pub(super) struct Trend {
    pub(super) values: Vec<Value>,
    pub(super) steps: Vec<Step>,
    pub(super) drift: Option<Drift>,
}

/// A value, and the run that it is of.
#[derive(Debug, Deserialize)]
pub(super) struct Value {
    pub(super) run: String,
    pub(super) value: f64,
}

/// A baseline, as it is now.
#[derive(Debug, Deserialize)]
pub(super) struct Baseline {
    pub(super) runs: Vec<String>,
    pub(super) named_runs: Vec<String>,
    pub(super) changes: Vec<BaselineChange>,
}

#[derive(Debug, Deserialize)]
pub(super) struct BaselineChange {
    pub(super) kind: String,
}

/// How a bisection ended.
#[derive(Debug, Deserialize)]
pub(super) struct Bisection {
    pub(super) outcome: String,
    pub(super) first_bad: Option<Commit>,
    pub(super) runs: u32,
    pub(super) seconds: f64,
}

#[derive(Debug, Deserialize)]
pub(super) struct Commit {
    pub(super) hash: String,
}

#[derive(Debug, Deserialize)]
pub(super) struct Step {
    worse: bool,
    first_after: Measured,
}

#[derive(Debug, Deserialize)]
struct Measured {
    run: String,
    commit: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
pub(super) struct Drift {
    pub(super) change: f64,
    pub(super) relative: bool,
    pub(super) worse: bool,
}

/// A document a line, or one of several lines.
pub(super) fn read<Document: DeserializeOwned>(lines: &[u8]) -> Result<Vec<Document>, serde_json::Error> {
    serde_json::Deserializer::from_slice(lines).into_iter().collect()
}

/// With what something became worse: commits, or runs whose commit is not known.
pub(super) fn named(trends: &[Trend]) -> BTreeSet<String> {
    let steps = trends.iter().flat_map(|trend| &trend.steps).filter(|step| step.worse);
    steps
        .map(|Step { first_after: Measured { run, commit }, .. }| commit.as_ref().unwrap_or(run).clone())
        .collect()
}

/// By what share the middle of a figure is greater in a baseline's runs than in those that a person named for it; `None` where either has none.
pub(super) fn crept(trend: &Trend, baseline: &Baseline) -> Option<f64> {
    let middle = |runs: &[String]| {
        let mut values: Vec<f64> =
            trend.values.iter().filter(|value| runs.contains(&value.run)).map(|value| value.value).collect();
        values.sort_by(f64::total_cmp);
        let (low, high) = (values.get(values.len().checked_sub(1)? / 2)?, values.get(values.len() / 2)?);
        Some(f64::midpoint(*low, *high))
    };
    Some(middle(&baseline.runs)? / middle(&baseline.named_runs)? - 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(commit: &str, worse: bool) -> String {
        format!(
            r#"{{"values": [{{"run": "q", "value": 1.0}}, {{"run": "r", "value": 2.0}}], "drift": null, "newest": null, "steps": [
                {{"at": 1, "worse": {worse}, "over": false, "first_after": {{"run": "r", "commit": {commit}}}}}]}}"#
        )
    }

    #[test]
    fn a_commit_is_named_once_and_only_for_what_became_worse() {
        let text =
            [line("\"b\"", true), line("\"a\"", true), line("\"b\"", true), line("\"c\"", false)].join("\n");
        let trends: Vec<Trend> = read(text.as_bytes()).unwrap();
        assert_eq!((trends.len(), trends[0].values.len()), (4, 2));
        assert_eq!(named(&trends), ["a", "b"].map(str::to_owned).into());
        assert_eq!(named(&read(line("null", true).as_bytes()).unwrap()), ["r".to_owned()].into());
        assert!(named(&read(b"").unwrap()).is_empty());
    }

    #[test]
    fn a_drift_is_read() {
        let text =
            br#"{"values": [], "steps": [], "drift": {"change": 0.2, "relative": true, "worse": true}}"#;
        let drift = Drift { change: 0.2, relative: true, worse: true };
        assert_eq!(read::<Trend>(text).unwrap()[0].drift, Some(drift));
        assert!(read::<Trend>(b"{").is_err());
    }

    #[test]
    fn a_baseline_creeps_by_what_its_runs_differ_from_those_that_were_named() {
        let value = |run: &str, value: f64| Value { run: run.into(), value };
        let trend = Trend {
            values: vec![value("a", 100.0), value("b", 102.0), value("c", 105.0), value("d", 200.0)],
            steps: Vec::new(),
            drift: None,
        };
        let runs = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>();
        let mut baseline =
            Baseline { runs: runs(&["b", "c", "d"]), named_runs: runs(&["a", "b"]), changes: Vec::new() };
        assert!(crept(&trend, &baseline).is_some_and(|share| (share - 4.0 / 101.0).abs() < 1e-9));
        baseline.runs = runs(&["gone"]);
        assert_eq!(crept(&trend, &baseline), None);
    }
}
