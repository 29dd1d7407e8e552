//! Others' results, and ours, as records.
//!
//! What is what is told by its content: a saved run's folder or many of them; lines of an export; criterion's `target/criterion`; the data of
//! benchmark-action/github-action-benchmark, as its file `data.js` or as JSON.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::Deserialize;

use super::record::{Better, Environment};
use super::{Commit, Figure, HistoryError, RECORD_VERSION, Record, Source};

/// No export is nearly as large.
const MOST_BYTES: u64 = 4 << 30;

/// What was found, and what of it could not be read.
#[derive(Debug, Default)]
pub struct Imported {
    /// The runs.
    pub records: Vec<Record>,
    /// What is missing, in words.
    pub notes: Vec<String>,
}

/// Reads all that is in a file or a folder.
///
/// # Errors
///
/// [`HistoryError::File`]; [`HistoryError::Unreadable`]: it is nothing that is known, or a line of it is damaged. Nothing of it is to be imported
/// then.
pub fn read(path: &Path) -> Result<Imported, HistoryError> {
    let file = |source| HistoryError::File { path: path.to_owned(), source };
    let about = fs::metadata(path).map_err(file)?;
    if about.is_dir() {
        return folder(path);
    }
    if path.file_name().is_some_and(|name| name == "result.json") {
        return runs(&[path.to_owned()]);
    }
    if about.len() > MOST_BYTES {
        return Err(unreadable(path, format!("larger than {MOST_BYTES} bytes")));
    }
    let text = fs::read_to_string(path).map_err(file)?;
    let records = document(&text).map_err(|reason| unreadable(path, reason))?;
    Ok(Imported { records, notes: Vec::new() })
}

fn unreadable(path: &Path, reason: String) -> HistoryError {
    HistoryError::Unreadable { what: path.display().to_string(), reason }
}

/// A run, a folder of runs, or criterion's.
fn folder(path: &Path) -> Result<Imported, HistoryError> {
    let file = |source| HistoryError::File { path: path.to_owned(), source };
    if path.join("result.json").is_file() {
        return runs(&[path.to_owned()]);
    }
    let mut entries = Vec::new();
    for entry in fs::read_dir(path).map_err(file)? {
        let entry = entry.map_err(file)?;
        // Not `latest`, which is one of the others.
        if entry.file_type().map_err(file)?.is_dir() {
            entries.push(entry.path());
        }
    }
    entries.sort();
    let folders: Vec<PathBuf> =
        entries.into_iter().filter(|entry| entry.join("result.json").is_file()).collect();
    if !folders.is_empty() {
        return runs(&folders);
    }
    match criterion(path)? {
        Some(record) => Ok(Imported { records: vec![record], notes: Vec::new() }),
        None => Err(unreadable(path, "no saved run, no folder of them, and none of criterion's".into())),
    }
}

fn runs(folders: &[PathBuf]) -> Result<Imported, HistoryError> {
    let mut imported = Imported::default();
    for folder in folders {
        let (record, lost) = Record::of_saved(folder, None, BTreeSet::new())?;
        imported.records.push(record);
        imported.notes.extend(lost);
    }
    Ok(imported)
}

/// A file's text.
fn document(text: &str) -> Result<Vec<Record>, String> {
    // github-action-benchmark's page loads it as a script.
    let text = text.trim_start_matches('\u{feff}').trim_start();
    let script =
        text.strip_prefix("window.BENCHMARK_DATA").map(|rest| rest.trim_start().trim_start_matches('='));
    if let Some(script) = script {
        return action_benchmark(script.trim().trim_end_matches(';'));
    }
    if serde_json::from_str::<ActionBenchmark>(text).is_ok() {
        return action_benchmark(text);
    }
    let mut records = Vec::new();
    for (line, text) in text.lines().enumerate().filter(|(_, text)| !text.trim().is_empty()) {
        records.push(Record::parse(text).map_err(|reason| format!("line {}: {reason}", line + 1))?);
    }
    if records.is_empty() { Err("nothing is in it".into()) } else { Ok(records) }
}

/// The data of github-action-benchmark (its src/write.ts, `DataJson`).
#[derive(Deserialize)]
struct ActionBenchmark {
    #[serde(rename = "repoUrl")]
    repository: Option<String>,
    entries: std::collections::BTreeMap<String, Vec<ActionRun>>,
}

#[derive(Deserialize)]
struct ActionRun {
    commit: ActionCommit,
    /// Milliseconds since 1970.
    date: i64,
    tool: String,
    benches: Vec<ActionBench>,
}

#[derive(Deserialize)]
struct ActionCommit {
    id: String,
    message: Option<String>,
    timestamp: Option<String>,
}

#[derive(Deserialize)]
struct ActionBench {
    name: String,
    value: f64,
    unit: String,
}

/// Tools whose figures are better when they are bigger (its src/write.ts, `biggerIsBetter`).
const BIGGER_IS_BETTER: [&str; 4] = ["benchmarkjs", "pytest", "customBiggerIsBetter", "jmh"];

fn action_benchmark(text: &str) -> Result<Vec<Record>, String> {
    let data: ActionBenchmark = serde_json::from_str(text).map_err(|error| error.to_string())?;
    let mut records = Vec::new();
    for (suite, runs) in data.entries {
        for run in runs {
            let moment = Timestamp::from_millisecond(run.date)
                .map_err(|error| format!("date {}: {error}", run.date))?;
            let better =
                if BIGGER_IS_BETTER.contains(&run.tool.as_str()) { Better::Higher } else { Better::Lower };
            let id = format!("github-action-benchmark:{suite}:{}:{}", run.commit.id, run.date);
            let figures = run.benches.into_iter().map(|bench| Figure {
                workload: suite.clone(),
                operation: String::new(),
                metric: bench.name,
                unit: bench.unit,
                better,
                value: bench.value,
                observations: None,
            });
            let record = Record {
                commit: Some(Commit {
                    hash: run.commit.id,
                    repository: data.repository.clone(),
                    branch: None,
                    author_date: run.commit.timestamp.and_then(|at| at.parse().ok()),
                    subject: run
                        .commit
                        .message
                        .map(|message| message.lines().next().unwrap_or_default().to_owned()),
                    dirty: None,
                }),
                ..others(Source::GithubActionBenchmark, id, moment, &run.tool, figures.collect())
            };
            record.check()?;
            records.push(record);
        }
    }
    if records.is_empty() { Err("github-action-benchmark's data without a run".into()) } else { Ok(records) }
}

/// Of an environment nothing is known but who measured, so these are compared with each other and with nothing else.
fn others(source: Source, id: String, started_at: Timestamp, tool: &str, figures: Vec<Figure>) -> Record {
    Record {
        record_version: RECORD_VERSION,
        id,
        started_at,
        source,
        qdiscope_version: None,
        verdict: None,
        incomplete: None,
        environment: Environment {
            digest: format!("{}-{tool}", source.name()),
            facts: vec![format!("measured by: {} ({tool})", source.name()), "machine: unknown".to_owned()],
        },
        commit: None,
        labels: BTreeSet::new(),
        figures,
        histograms: Vec::new(),
        result: None,
    }
}

#[derive(Deserialize)]
struct CriterionBenchmark {
    full_id: String,
}

#[derive(Deserialize)]
struct CriterionEstimates {
    mean: CriterionEstimate,
    median: CriterionEstimate,
}

#[derive(Deserialize)]
struct CriterionEstimate {
    /// Nanoseconds.
    point_estimate: f64,
}

/// The newest measurements of criterion (`target/criterion/…/new`), as one run; `None` where there are none.
fn criterion(path: &Path) -> Result<Option<Record>, HistoryError> {
    let mut measured = Vec::new();
    find_new(path, 0, &mut measured)?;
    let mut figures = Vec::new();
    let mut newest = Timestamp::UNIX_EPOCH;
    for folder in measured {
        let file = folder.join("estimates.json");
        let failed = |source| HistoryError::File { path: file.clone(), source };
        let changed = fs::metadata(&file).and_then(|about| about.modified()).map_err(failed)?;
        newest = newest.max(Timestamp::try_from(changed).unwrap_or(newest));
        let estimates: CriterionEstimates = read_json(&file)?;
        let benchmark: CriterionBenchmark = read_json(&folder.join("benchmark.json"))?;
        for (metric, estimate) in [("mean_time_ns", estimates.mean), ("median_time_ns", estimates.median)] {
            figures.push(Figure {
                workload: benchmark.full_id.clone(),
                operation: String::new(),
                metric: metric.to_owned(),
                unit: "ns".to_owned(),
                better: Better::Lower,
                value: estimate.point_estimate,
                observations: None,
            });
        }
    }
    if figures.is_empty() {
        return Ok(None);
    }
    // Reading the same twice gives the same run.
    let id = format!("criterion:{newest}");
    let record = others(Source::Criterion, id, newest, "criterion", figures);
    record.check().map_err(|reason| unreadable(path, reason))?;
    Ok(Some(record))
}

/// Groups, functions and values are folders within each other; deeper than that there is nothing.
const DEEPEST: u8 = 4;

fn find_new(path: &Path, depth: u8, found: &mut Vec<PathBuf>) -> Result<(), HistoryError> {
    let failed = |source| HistoryError::File { path: path.to_owned(), source };
    let mut folders = Vec::new();
    for entry in fs::read_dir(path).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        if entry.file_type().map_err(failed)?.is_dir() {
            folders.push(entry.path());
        }
    }
    folders.sort();
    for folder in folders {
        if folder.ends_with("new") && folder.join("estimates.json").is_file() {
            found.push(folder);
        } else if depth < DEEPEST {
            find_new(&folder, depth + 1, found)?;
        }
    }
    Ok(())
}

fn read_json<T: for<'de> Deserialize<'de>>(path: &Path) -> Result<T, HistoryError> {
    let text =
        fs::read_to_string(path).map_err(|source| HistoryError::File { path: path.to_owned(), source })?;
    serde_json::from_str(&text).map_err(|error| unreadable(path, error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::super::record::fixtures::record;
    use super::*;

    #[test]
    fn lines_of_an_export_come_back_and_damage_is_placed() {
        let lines: String = [record(1, 1.0), record(2, 2.0)]
            .iter()
            .map(|record| super::super::export::json_line(record).unwrap())
            .collect();
        assert_eq!(document(&lines).unwrap(), [record(1, 1.0), record(2, 2.0)]);
        assert!(document(&format!("{lines}\n{{")).unwrap_err().starts_with("line 4: "));
        assert!(document("\n").is_err());
    }

    #[test]
    fn data_of_github_action_benchmark_is_read() {
        let data = r#"window.BENCHMARK_DATA = {"lastUpdate": 1, "repoUrl": "https://example.org/x", "entries": {"Shaper": [
            {"commit": {"id": "0123abcd", "message": "Faster\n\nmuch", "timestamp": "2026-11-01T12:00:00+02:00", "url": "u"},
             "date": 1793527200000, "tool": "customBiggerIsBetter",
             "benches": [{"name": "throughput", "value": 8000.5, "unit": "ops/s", "range": "± 10"}]}]}};"#;
        for text in [data, data.trim_start_matches("window.BENCHMARK_DATA = ").trim_end_matches(';')] {
            let records = document(text).unwrap();
            let [Record { commit: Some(commit), figures, started_at, .. }] = &records[..] else {
                panic!("{records:?}")
            };
            assert_eq!((commit.hash.as_str(), commit.subject.as_deref()), ("0123abcd", Some("Faster")));
            assert_eq!(
                (figures[0].metric.as_str(), figures[0].value, figures[0].better),
                ("throughput", 8000.5, Better::Higher)
            );
            assert_eq!(started_at.as_millisecond(), 1_793_527_200_000);
        }
        assert!(document(r#"{"entries": {}}"#).is_err());
    }

    #[test]
    fn criterions_newest_are_one_run() {
        let target = tempfile::tempdir().unwrap();
        let new = target.path().join("codec/encode/new");
        fs::create_dir_all(&new).unwrap();
        // Beside it: the one before.
        fs::create_dir_all(target.path().join("codec/encode/base")).unwrap();
        let estimate = |ns: f64| format!(r#"{{"point_estimate": {ns}, "standard_error": 1}}"#);
        let text = format!(r#"{{"mean": {}, "median": {}}}"#, estimate(101.5), estimate(100.5));
        fs::write(new.join("estimates.json"), text).unwrap();
        fs::write(new.join("benchmark.json"), r#"{"full_id": "codec/encode"}"#).unwrap();
        let imported = read(target.path()).unwrap();
        let [record] = &imported.records[..] else { panic!("{imported:?}") };
        let values: Vec<_> =
            record.figures.iter().map(|of| (of.workload.as_str(), of.metric.as_str(), of.value)).collect();
        assert_eq!(
            values,
            [("codec/encode", "mean_time_ns", 101.5), ("codec/encode", "median_time_ns", 100.5)]
        );
        assert_eq!(read(target.path()).unwrap().records[0].id, record.id);
        fs::write(new.join("benchmark.json"), "{").unwrap();
        assert!(read(target.path()).unwrap_err().to_string().contains("benchmark.json"));
        let nothing = tempfile::tempdir().unwrap();
        assert!(read(nothing.path()).unwrap_err().to_string().contains("no saved run"));
    }
}
