//! What incidents say of how a team works: how soon it knows, how soon it mends, how often a change makes things worse, and whether it gets better.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::Serialize;

use super::Incident;
use crate::history::Series;
use crate::stats::order::median;
use crate::trend::{Trend, is_steady};

/// The figures of a process, over the whole of a history.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Process {
    /// Commits that were measured, the first left out: before it nothing is known.
    pub changes: usize,
    /// Incidents.
    pub incidents: usize,
    /// Those that are not over.
    pub open: usize,
    /// Incidents a change; null of no change.
    pub regression_rate: Option<f64>,
    /// The median of the times until they could be told, s; null where none is known.
    pub detection_time_s: Option<f64>,
    /// The median of the times from there until a run confirmed that they were over, s; null where none is.
    pub resolution_time_s: Option<f64>,
    /// What became of each figure from quarter to quarter.
    pub quarters: Vec<Quarter>,
}

/// A figure in a quarter of a year, UTC.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Quarter {
    /// Which figure.
    pub series: Series,
    /// `2026-Q4`
    pub quarter: String,
    /// The median of its values.
    pub median: f64,
    /// How many there are.
    pub runs: usize,
    /// By what share it is better than in the quarter before that has runs: negative where it is worse; null of the first, and after zero.
    pub improvement: Option<f64>,
}

/// Of a history's trends, and the incidents in them.
pub fn process(trends: &[Trend], incidents: &[Incident]) -> Process {
    let commits: BTreeSet<&String> = trends
        .iter()
        .flat_map(|trend| trend.values.iter().filter_map(|value| value.of.commit.as_ref()))
        .collect();
    let changes = commits.len().saturating_sub(1);
    let middle = |time: fn(&Incident) -> Option<i64>| {
        median(&incidents.iter().filter_map(time).map(|seconds| seconds as f64).collect::<Vec<_>>())
    };
    Process {
        changes,
        incidents: incidents.len(),
        open: incidents.iter().filter(|incident| !incident.over).count(),
        regression_rate: (changes > 0).then(|| incidents.len() as f64 / changes as f64),
        detection_time_s: middle(|incident| incident.detected_after_s),
        resolution_time_s: middle(|incident| incident.resolved_after_s),
        quarters: trends.iter().filter(|trend| is_steady(&trend.series)).flat_map(quarters).collect(),
    }
}

fn quarters(trend: &Trend) -> Vec<Quarter> {
    let mut by_quarter: BTreeMap<(i16, i8), Vec<f64>> = BTreeMap::new();
    for value in &trend.values {
        let Ok(moment) = value.of.started_at.parse::<Timestamp>() else { continue };
        let day = moment.to_zoned_datetime(TimeZone::UTC).date();
        by_quarter.entry((day.year(), (day.month() - 1) / 3 + 1)).or_default().push(value.value);
    }
    let mut before: Option<f64> = None;
    let mut quarters = Vec::new();
    for ((year, quarter), values) in by_quarter {
        let Some(middle) = median(&values) else { continue };
        let better = |before: f64| {
            let change = middle / before - 1.0;
            if trend.series.better == "higher" { change } else { -change }
        };
        quarters.push(Quarter {
            series: trend.series.clone(),
            quarter: format!("{year}-Q{quarter}"),
            median: middle,
            runs: values.len(),
            improvement: before.filter(|before| *before != 0.0).map(better),
        });
        before = Some(middle);
    }
    quarters
}

#[cfg(test)]
mod tests {
    use super::super::incidents;
    use super::super::tests::trend_of;
    use super::*;
    use crate::trend::fixtures::{around, points, series};
    use crate::trend::trend;

    #[test]
    fn rates_and_times_are_those_of_the_incidents() {
        let values = [around(100.0, 15), around(130.0, 15), around(100.0, 15), around(130.0, 15)].concat();
        let trends = [trend_of("latency_p50_us", &values)];
        let found = incidents(&trends);
        let process = process(&trends, &found);
        assert_eq!((process.changes, process.incidents, process.open), (59, 2, 1));
        assert_eq!(process.regression_rate, Some(2.0 / 59.0));
        assert!(process.detection_time_s.is_some_and(|seconds| seconds > 0.0));
        assert_eq!(process.resolution_time_s, found[0].resolved_after_s.map(|seconds| seconds as f64));
    }

    #[test]
    fn of_nothing_nothing_is_known() {
        let process = process(&[], &[]);
        assert_eq!((process.changes, process.regression_rate, process.detection_time_s), (0, None, None));
        assert!(process.resolution_time_s.is_none() && process.quarters.is_empty());
    }

    #[test]
    fn a_quarter_is_held_against_the_one_before() {
        let mut all = points(&[100.0, 110.0, 90.0, 80.0, 80.0]);
        for (point, day) in
            all.iter_mut().zip(["2025-11-01", "2025-12-31", "2026-01-01", "2026-03-31", "2026-07-01"])
        {
            point.run.started_at = format!("{day}T12:00:00Z").parse().unwrap();
        }
        let of = |better: &str| {
            let quarters = quarters(&trend(series(better), &all));
            quarters
                .into_iter()
                .map(|of| (of.quarter, of.median, of.runs, of.improvement))
                .collect::<Vec<_>>()
        };
        let lower = of("lower");
        assert_eq!(lower[0], ("2025-Q4".into(), 105.0, 2, None));
        assert_eq!((lower[1].0.as_str(), lower[1].1), ("2026-Q1", 85.0));
        assert!(lower[1].3.is_some_and(|better| (better - 20.0 / 105.0).abs() < 1e-9), "{lower:?}");
        assert_eq!(lower[2].0, "2026-Q3");
        assert!(of("higher")[1].3.is_some_and(|better| better < 0.0));
    }
}
