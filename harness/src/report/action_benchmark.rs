//! The JSON of benchmark-action/github-action-benchmark, which keeps figures and compares each with the one before.
//!
//! An array of `{name, unit, value, range?, extra?}` (its src/extract.ts, `BenchmarkResult`), for the tools `customSmallerIsBetter` and
//! `customBiggerIsBetter`: one direction a file.

use serde::Serialize;

use super::sheet::{Better, Sheet};

#[derive(Serialize)]
struct Entry<'a> {
    name: &'a str,
    unit: &'a str,
    value: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    range: Option<String>,
    extra: String,
}

/// The figures of one direction. A run without any gives an empty array, which the action refuses: so it is noticed there, too.
///
/// # Errors
///
/// None is known: no figure is infinite.
pub fn render(sheet: &Sheet, better: Better) -> serde_json::Result<String> {
    let entries: Vec<Entry<'_>> = sheet
        .figures
        .iter()
        .filter(|figure| figure.better == better)
        .map(|figure| Entry {
            name: &figure.name,
            unit: figure.unit,
            value: figure.value,
            range: figure.spread.map(|spread| format!("± {spread}")),
            extra: format!("{}\n{}\nverdict: {}", sheet.id, sheet.environment, sheet.verdict),
        })
        .collect();
    serde_json::to_string_pretty(&entries).map(|text| text + "\n")
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::report::sheet::fixtures;

    fn entries(better: Better) -> Vec<Value> {
        serde_json::from_str(&render(&fixtures::sheet(), better).unwrap()).unwrap()
    }

    #[test]
    fn each_direction_has_its_figures() {
        let extra =
            "20261123T120000Z-abc123\nLinux 6.18.0, CPU, 2 cores, probes: tracepoint\nverdict: critical";
        assert_eq!(
            entries(Better::Bigger),
            [
                json!({"name": "htb-class (closed): throughput", "unit": "ops/s", "value": 8000.0, "range": "± 100", "extra": extra})
            ]
        );
        let smaller = entries(Better::Smaller);
        let names: Vec<_> = smaller.iter().map(|entry| entry["name"].as_str().unwrap()).collect();
        assert_eq!(names.len(), 5);
        assert_eq!(
            smaller[1],
            json!({"name": "htb-class (closed): latency p95", "unit": "µs", "value": 1920.0, "extra": extra})
        );
    }
}
