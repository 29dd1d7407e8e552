//! The history of one figure in one environment: where it stepped, with the commits between which that happened, and whether it drifts. Pure.

mod chart;
mod followed;
mod model;
mod text;

use crate::history::{Point, Row, Series};
use crate::stats::course::course;
use crate::stats::order::median;
use crate::stats::robust_deviation;

pub use chart::{ChartError, svg, terminal};
pub use followed::{is_followed, is_steady};
pub use model::{CommitOf, DriftOf, Newest, SCHEMA_VERSION, Step, Trend, Value};
pub use text::lines;

/// How much of a step has to be taken back for it to be over.
const TAKEN_BACK: f64 = 0.5;

/// Explains a series. Its points are of one environment, the oldest first; of runs that were not whole there are none.
pub fn trend(series: Series, points: &[Point]) -> Trend {
    let values: Vec<f64> = points.iter().map(|point| point.value).collect();
    let course = course(&values);
    let higher_is_better = series.better == "higher";
    let worse = |change: f64| (change > 0.0) != higher_is_better && change != 0.0;
    let levels: Vec<[f64; 2]> = course.steps.iter().map(|step| step.levels).collect();
    let steps = course.steps.iter().enumerate().filter_map(|(nth, step)| {
        let (before, first) = (points.get(step.at.checked_sub(1)?)?, points.get(step.at)?);
        let [from, to] = step.levels;
        // The first later level that is nearer to the one before the step than to the one after it.
        let back = levels[nth + 1..].iter().position(|[_, later]| (later - to) / (from - to) > TAKEN_BACK);
        let over_at = back.map(|back| course.steps[nth + 1 + back].at);
        Some(Step {
            at: step.at,
            from,
            to,
            change: Some(step.change()).filter(|change| change.is_finite()),
            p: step.p,
            worse: worse(to - from),
            over: over_at.is_some(),
            over_at,
            last_before: CommitOf::of(&before.run),
            first_after: CommitOf::of(&first.run),
        })
    });
    let steps: Vec<Step> = steps.collect();
    let drift = course.drift.map(|drift| DriftOf {
        change: drift.change,
        relative: drift.relative,
        worse: worse(drift.change),
    });
    let newest = newest(&values, steps.last().map_or(0, |step| step.at));
    Trend {
        schema_version: SCHEMA_VERSION,
        environment: points.last().map(|point| point.run.environment.clone()),
        values: points
            .iter()
            .map(|point| Value { of: CommitOf::of(&point.run), value: point.value })
            .collect(),
        series,
        steps,
        drift,
        newest,
    }
}

/// How the newest value lies among those of its level, in the seeds' terms. Neither is a verdict: of noise alone one in twenty is two standard
/// deviations away, and the run before is a value like any other.
fn newest(values: &[f64], since: usize) -> Option<Newest> {
    let (value, before) = values.split_last()?;
    let level = before.get(since.min(before.len())..)?;
    let (middle, deviation) = (median(level)?, robust_deviation(level)?);
    Some(Newest {
        value: *value,
        level: middle,
        z_score: (deviation > 0.0).then(|| (value - middle) / deviation),
        change: (middle != 0.0).then(|| value / middle - 1.0),
        against_run_before: before.last().filter(|last| **last != 0.0).map(|last| value / last - 1.0),
    })
}

/// The points that can be compared: of whole runs, of the environment and the repository of the newest of them; and how many others there were.
pub fn comparable(points: Vec<Point>) -> (Vec<Point>, usize) {
    let all = points.len();
    let whole: Vec<Point> = points.into_iter().filter(|point| point.run.incomplete.is_none()).collect();
    let of = |run: &Row| {
        (run.environment.clone(), run.commit.as_ref().and_then(|commit| commit.repository.clone()))
    };
    let Some(newest) = whole.last().map(|point| of(&point.run)) else { return (Vec::new(), all) };
    let points: Vec<Point> = whole.into_iter().filter(|point| of(&point.run) == newest).collect();
    let others = all - points.len();
    (points, others)
}

#[cfg(test)]
pub(crate) mod fixtures {
    use super::*;
    use crate::history::Commit;

    /// Values of runs, a minute after each other, each of a commit of its own.
    pub(crate) fn points(values: &[f64]) -> Vec<Point> {
        let point = |(nth, value): (usize, &f64)| Point {
            value: *value,
            run: Row {
                id: format!("run-{nth}"),
                started_at: jiff::Timestamp::UNIX_EPOCH
                    + jiff::SignedDuration::from_mins(i64::try_from(nth).unwrap()),
                source: "qdiscope".into(),
                verdict: None,
                incomplete: None,
                environment: "abc".into(),
                commit: Some(Commit {
                    subject: Some(format!("Change {nth}")),
                    ..Commit::unknown(&format!("{nth:040x}"))
                }),
                labels: std::collections::BTreeSet::new(),
            },
        };
        values.iter().enumerate().map(point).collect()
    }

    pub(crate) fn series(better: &str) -> Series {
        Series {
            workload: "lifecycle (closed)".into(),
            operation: String::new(),
            metric: "latency_p95_us".into(),
            unit: "µs".into(),
            better: better.into(),
        }
    }

    /// About a level, as a saw.
    pub(crate) fn around(level: f64, count: usize) -> Vec<f64> {
        (0..count).map(|at| level * (1.0 + f64::from(u8::try_from(at % 5).unwrap()) / 200.0)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::fixtures::{around, points, series};
    use super::*;

    #[test]
    fn a_step_is_between_two_commits() {
        let values = [around(100.0, 15), around(120.0, 15)].concat();
        let slower = trend(series("lower"), &points(&values));
        let [step] = &slower.steps[..] else { panic!("{:?}", slower.steps) };
        assert_eq!((step.at, step.worse, step.over), (15, true, false));
        assert_eq!((step.last_before.run.as_str(), step.first_after.run.as_str()), ("run-14", "run-15"));
        assert!(step.change.is_some_and(|change| (change - 0.2).abs() < 0.02));
        // Of throughput more is better.
        assert!(!trend(series("higher"), &points(&values)).steps[0].worse);
        let back = trend(series("lower"), &points(&[values, around(101.0, 15)].concat()));
        assert_eq!(
            back.steps.iter().map(|step| (step.worse, step.over, step.over_at)).collect::<Vec<_>>(),
            [(true, true, Some(30)), (false, false, None)]
        );
    }

    #[test]
    fn the_newest_is_held_against_its_own_level() {
        let values = [around(100.0, 15), around(200.0, 15), vec![202.0]].concat();
        let newest = trend(series("lower"), &points(&values)).newest.unwrap();
        assert!((newest.level - 202.0).abs() < 1.0 && newest.z_score.unwrap().abs() < 1.0, "{newest:?}");
        assert_eq!(trend(series("lower"), &points(&[1.0])).newest, None);
        assert_eq!(trend(series("lower"), &[]).newest, None);
        // Values that do not vary have no deviation.
        let constant = trend(series("lower"), &points(&[5.0; 9])).newest.unwrap();
        assert_eq!((constant.z_score, constant.change), (None, Some(0.0)));
    }

    #[test]
    fn other_environments_and_halves_of_runs_are_left_out() {
        let mut all = points(&around(100.0, 6));
        all[0].run.environment = "other".into();
        all[1].run.incomplete = Some("the run was interrupted".into());
        all[2].run.commit.as_mut().unwrap().repository = Some("elsewhere".into());
        let (kept, others) = comparable(all);
        assert_eq!((kept.len(), others, kept[0].run.id.as_str()), (3, 3, "run-3"));
        assert_eq!(comparable(Vec::new()), (Vec::new(), 0));
    }
}
