//! Records as bytes for other programs. Pure.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::{Commit, Record};

/// A line of JSON: the whole record, to be imported again.
///
/// # Errors
///
/// None is known: no figure is infinite.
pub fn json_line(record: &Record) -> serde_json::Result<String> {
    serde_json::to_string(record).map(|line| line + "\n")
}

/// The columns of [`csv()`], RFC 4180. The units are those of the metrics.
pub const CSV_COLUMNS: [&str; 13] = [
    "run",
    "started_at",
    "source",
    "verdict",
    "environment",
    "commit",
    "branch",
    "dirty",
    "workload",
    "operation",
    "metric",
    "unit",
    "value",
];

/// Why there is no CSV: a defect.
#[derive(Debug, thiserror::Error)]
#[error("CSV: {0}")]
pub struct CsvError(#[from] csv::Error);

/// The first line of a CSV.
///
/// # Errors
///
/// [`CsvError`]
pub fn csv_header() -> Result<Vec<u8>, CsvError> {
    lines([CSV_COLUMNS.map(str::to_owned)])
}

/// A line for each figure. Empty is what is not known.
///
/// # Errors
///
/// [`CsvError`]
pub fn csv(record: &Record) -> Result<Vec<u8>, CsvError> {
    let commit = record.commit.as_ref();
    lines(record.figures.iter().map(|figure| {
        [
            record.id.clone(),
            record.started_at.to_string(),
            record.source.name().to_owned(),
            record.verdict.map(|verdict| verdict.to_string()).unwrap_or_default(),
            record.environment.digest.clone(),
            commit.map(|commit| commit.hash.clone()).unwrap_or_default(),
            commit.and_then(|commit| commit.branch.clone()).unwrap_or_default(),
            commit.and_then(|commit| commit.dirty).map(|dirty| dirty.to_string()).unwrap_or_default(),
            figure.workload.clone(),
            figure.operation.clone(),
            figure.metric.clone(),
            figure.unit.clone(),
            figure.value.to_string(),
        ]
        // A spreadsheet takes what begins so for a formula (OWASP, CSV Injection); numbers may begin with a minus.
        .map(|cell| if cell.starts_with(['=', '+', '@']) { format!("'{cell}") } else { cell })
    }))
}

fn lines<const COLUMNS: usize>(
    rows: impl IntoIterator<Item = [String; COLUMNS]>,
) -> Result<Vec<u8>, CsvError> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    for row in rows {
        writer.write_record(&row)?;
    }
    Ok(writer.into_inner().map_err(|error| csv::Error::from(error.into_error()))?)
}

/// Of one metric, by its labels.
type Gauges = Family<Vec<(String, String)>, Gauge<f64, AtomicU64>>;

/// The newest figures of each environment in the text format of Prometheus: a gauge for each metric, `qdiscope_latency_p95_us`, with the labels
/// `workload`, `operation`, `environment`, `branch` and `commit`; and `qdiscope_run_timestamp_seconds`, by which old ones are told. For the textfile
/// collector of `node_exporter`.
///
/// # Errors
///
/// None is known: it is written to memory.
pub fn prometheus<'a>(records: impl IntoIterator<Item = &'a Record>) -> Result<String, std::fmt::Error> {
    let mut newest: BTreeMap<&str, &Record> = BTreeMap::new();
    for record in records {
        let last = newest.entry(&record.environment.digest).or_insert(record);
        if record.started_at > last.started_at {
            *last = record;
        }
    }
    let mut gauges: BTreeMap<(String, String), Gauges> = BTreeMap::new();
    let mut set = |name: &str, help: String, labels: Vec<(String, String)>, value: f64| {
        gauges.entry((name.to_owned(), help)).or_default().get_or_create(&labels).set(value);
    };
    for record in newest.into_values() {
        let commit = record.commit.as_ref();
        let mut labels = vec![("environment".to_owned(), record.environment.digest.clone())];
        let known = |name: &str, value: Option<String>| value.map(|value| (name.to_owned(), value));
        labels.extend(known("commit", commit.map(|commit: &Commit| commit.hash.clone())));
        labels.extend(known("branch", commit.and_then(|commit| commit.branch.clone())));
        let began = record.started_at.as_microsecond() as f64 / 1e6;
        set(
            "run_timestamp_seconds",
            "When the newest run began, since 1970".to_owned(),
            labels.clone(),
            began,
        );
        for figure in &record.figures {
            let mut labels = labels.clone();
            for (name, value) in [("workload", &figure.workload), ("operation", &figure.operation)] {
                labels.extend(known(name, Some(value.clone()).filter(|value| !value.is_empty())));
            }
            let unit = if figure.unit.is_empty() { "a number" } else { &figure.unit };
            let help = format!("{} of a run of qdiscope, {unit}", figure.metric);
            set(&identifier(&figure.metric), help, labels, figure.value);
        }
    }
    let mut registry = Registry::with_prefix("qdiscope");
    for ((name, help), gauge) in gauges {
        registry.register(name, help, gauge);
    }
    let mut text = String::new();
    encode(&mut text, &registry)?;
    Ok(text)
}

/// What Prometheus allows in a name: others' metrics may have any.
fn identifier(name: &str) -> String {
    name.chars().map(|of| if of.is_ascii_alphanumeric() { of } else { '_' }).collect()
}

#[cfg(test)]
mod tests {
    use super::super::record::fixtures::record;
    use super::*;

    #[test]
    fn a_cell_is_a_cell_whatever_is_in_it() {
        let mut record = record(1, 1_920.5);
        record.figures.retain(|figure| figure.metric == "latency_p95_us" && figure.operation.is_empty());
        record.figures[0].workload = "=cmd, \"x\"\nnext".into();
        let text = [csv_header().unwrap(), csv(&record).unwrap()].concat();
        let mut reader = csv::Reader::from_reader(&text[..]);
        let rows: Vec<_> = reader.records().map(Result::unwrap).collect();
        assert_eq!(rows.len(), 1);
        assert_eq!(&rows[0][8], "'=cmd, \"x\"\nnext");
        assert_eq!((&rows[0][10], &rows[0][12]), ("latency_p95_us", "1920.5"));
    }

    #[test]
    fn of_an_environment_the_newest_counts() {
        let (mut other, old, new) = (record(5, 5.0), record(1, 1.0), record(2, 2.0));
        other.environment.digest = "other".into();
        other.figures[0].metric = "99 bottles/µs".into();
        let text = prometheus([&new, &old, &other]).unwrap();
        let p95: Vec<_> = text
            .lines()
            .filter(|line| line.starts_with("qdiscope_latency_p95_us{") && !line.contains("operation="))
            .collect();
        assert_eq!(p95.len(), 2, "{text}");
        assert!(
            p95.iter().any(|line| line.ends_with(" 2.0")) && p95.iter().any(|line| line.ends_with(" 5.0")),
            "{p95:?}"
        );
        assert!(text.contains("qdiscope_99_bottles__s{"), "{text}");
        assert!(text.contains("qdiscope_run_timestamp_seconds{") && text.contains("branch=\"main\""));
    }
}
