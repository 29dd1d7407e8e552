//! Incidents, and what they say of how a team works. Pure: trends go in.
//!
//! An incident opens with the first run of a level that is worse, and closes with the run that confirms that it was taken back: the first one after
//! which the same test tells so that told the regression. Figures that became worse with the same run are one incident.

mod process;

use jiff::Timestamp;
use serde::Serialize;

use crate::history::Series;
use crate::stats::change_points::SHORTEST;
use crate::stats::course::course;
use crate::trend::{CommitOf, Step, Trend};

pub use process::{Process, Quarter, process};

/// The version of this layout.
pub const SCHEMA_VERSION: u32 = 1;

/// Values before a step with which it is looked at again.
const BEFORE: usize = 60;
/// Runs after a step within which it has to be told: later, others have come in between.
const LATEST: usize = 60;
/// A step may be told a run too early or too late.
const NEAR: usize = 2;

/// Something that became worse.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Incident {
    /// The last run before it.
    pub last_before: CommitOf,
    /// The first run of it: it came with this commit, or with one between the two.
    pub opened: CommitOf,
    /// What became worse.
    pub figures: Vec<Worse>,
    /// The run with which it could be told; null where no run told it before others came in between.
    pub detected: Option<CommitOf>,
    /// From when its commit was written, or where that is not known its first run began, until that run, s.
    pub detected_after_s: Option<i64>,
    /// Whether it has been taken back in every figure.
    pub over: bool,
    /// The first run without it; null where it is open.
    pub fixed: Option<CommitOf>,
    /// The run with which that was confirmed; null where none has yet.
    pub confirmed: Option<CommitOf>,
    /// From the run that told it to the one that confirmed that it is over, s.
    pub resolved_after_s: Option<i64>,
}

/// A figure of an incident.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Worse {
    /// Which.
    pub series: Series,
    /// The median before.
    pub from: f64,
    /// The median after.
    pub to: f64,
    /// The change as a share; null from zero.
    pub change: Option<f64>,
    /// The probability of as great a difference anywhere, had nothing changed.
    pub p: f64,
}

/// One figure's step, and what became of it.
struct Told<'a> {
    trend: &'a Trend,
    step: &'a Step,
    detected: Option<usize>,
    confirmed: Option<usize>,
}

/// The incidents in trends of one environment, the first first.
pub fn incidents(trends: &[Trend]) -> Vec<Incident> {
    let mut told: Vec<Told<'_>> = trends
        .iter()
        .flat_map(|trend| trend.steps.iter().filter(|step| step.worse).map(move |step| told(trend, step)))
        .collect();
    told.sort_by_key(|told| moment(&told.step.first_after));
    let mut groups: Vec<Vec<Told<'_>>> = Vec::new();
    for told in told {
        match groups.last_mut().filter(|group| group.iter().any(|other| is_the_same(other.step, told.step))) {
            Some(group) => group.push(told),
            None => groups.push(vec![told]),
        }
    }
    groups.iter().filter_map(|group| incident(group)).collect()
}

fn told<'a>(trend: &'a Trend, step: &'a Step) -> Told<'a> {
    let values: Vec<f64> = trend.values.iter().map(|value| value.value).collect();
    let detected = telling(&values, step.at, step.to > step.from);
    let confirmed = step.over_at.and_then(|back| telling(&values, back, step.to < step.from));
    Told { trend, step, detected, confirmed }
}

/// The first value with which a step to a higher or lower level can be told.
fn telling(values: &[f64], at: usize, higher: bool) -> Option<usize> {
    let begin = at.saturating_sub(BEFORE);
    let ends = at + SHORTEST..=values.len().min(at + LATEST);
    ends.map(|end| (end, course(values.get(begin..end).unwrap_or_default())))
        .find(|(_, course)| {
            course.steps.iter().any(|step| {
                (step.at + begin).abs_diff(at) <= NEAR && (step.levels[1] > step.levels[0]) == higher
            })
        })
        .map(|(end, _)| end - 1)
}

/// Of two figures that became worse at once one may be told a run later.
fn is_the_same(one: &Step, other: &Step) -> bool {
    let commit = one.first_after.commit.as_ref();
    one.first_after.run == other.first_after.run
        || one.first_after.run == other.last_before.run
        || commit.is_some()
            && commit == other.first_after.commit.as_ref()
            && one.first_after.dirty != Some(true)
}

fn incident(group: &[Told<'_>]) -> Option<Incident> {
    let first = group.first()?;
    let run = |told: &Told<'_>, at: usize| told.trend.values.get(at).map(|value| value.of.clone());
    // It is told with the first figure that tells it, and over with the last one.
    let detected = group.iter().filter_map(|told| run(told, told.detected?)).min_by_key(moment);
    let over = group.iter().all(|told| told.step.over);
    let latest = |place: fn(&Told<'_>) -> Option<usize>| {
        let runs: Option<Vec<CommitOf>> = group.iter().map(|told| run(told, place(told)?)).collect();
        runs?.into_iter().max_by_key(moment)
    };
    let (fixed, confirmed) = (latest(|told| told.step.over_at), latest(|told| told.confirmed));
    let opened = first.step.first_after.clone();
    let written = opened.author_date.as_ref().and_then(|date| date.parse().ok()).or_else(|| moment(&opened));
    let seconds = |from: Option<Timestamp>, to: Option<&CommitOf>| {
        Some(to.and_then(moment)?.duration_since(from?).as_secs()).filter(|seconds| *seconds >= 0)
    };
    Some(Incident {
        last_before: first.step.last_before.clone(),
        figures: group
            .iter()
            .map(|told| Worse {
                series: told.trend.series.clone(),
                from: told.step.from,
                to: told.step.to,
                change: told.step.change,
                p: told.step.p,
            })
            .collect(),
        detected_after_s: seconds(written, detected.as_ref()),
        resolved_after_s: seconds(detected.as_ref().and_then(moment), confirmed.as_ref()),
        opened,
        detected,
        over,
        fixed,
        confirmed,
    })
}

/// When a run began.
fn moment(run: &CommitOf) -> Option<Timestamp> {
    run.started_at.parse().ok()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::trend::fixtures::{around, points, series};
    use crate::trend::trend;

    pub(super) fn trend_of(metric: &str, values: &[f64]) -> Trend {
        trend(Series { metric: metric.into(), ..series("lower") }, &points(values))
    }

    #[test]
    fn what_became_worse_at_once_is_one_incident_until_all_of_it_is_over() {
        let back = [around(100.0, 15), around(130.0, 15), around(100.0, 15)].concat();
        let stays = [around(200.0, 16), around(260.0, 29)].concat();
        let both = incidents(&[trend_of("latency_p50_us", &back), trend_of("latency_p95_us", &stays)]);
        let [incident] = &both[..] else { panic!("{both:?}") };
        assert_eq!((incident.opened.run.as_str(), incident.last_before.run.as_str()), ("run-15", "run-14"));
        assert_eq!((incident.figures.len(), incident.over, &incident.confirmed), (2, false, &None));
        assert!(incident.figures[0].change.is_some_and(|change| (change - 0.3).abs() < 0.02));

        let [over] = &incidents(&[trend_of("latency_p50_us", &back)])[..] else { panic!("not one") };
        assert_eq!((over.over, over.fixed.as_ref().map(|run| run.run.as_str())), (true, Some("run-30")));
        let after = |run: &Option<CommitOf>| run.as_ref().unwrap().run[4..].parse::<usize>().unwrap();
        // Told some runs after it began; and so it is with its end.
        assert!((17..24).contains(&after(&over.detected)), "{over:?}");
        assert!((32..39).contains(&after(&over.confirmed)), "{over:?}");
        // The runs are a minute apart, and nobody knows when the commits were written.
        assert_eq!(over.detected_after_s, Some(60 * (i64::try_from(after(&over.detected)).unwrap() - 15)));
        assert!(over.resolved_after_s.is_some_and(|seconds| seconds > 0));
    }

    #[test]
    fn what_became_better_and_noise_are_none() {
        let better = [around(130.0, 15), around(100.0, 15)].concat();
        assert_eq!(
            incidents(&[trend_of("latency_p50_us", &better), trend_of("latency_p95_us", &around(1.0, 40))]),
            []
        );
        assert_eq!(incidents(&[]), []);
    }

    #[test]
    fn two_apart_are_two() {
        let twice = [around(100.0, 15), around(130.0, 15), around(170.0, 15)].concat();
        let both = incidents(&[trend_of("latency_p50_us", &twice)]);
        assert_eq!(both.len(), 2, "{both:?}");
        assert!(both.iter().all(|incident| !incident.over && incident.fixed.is_none()));
    }
}
