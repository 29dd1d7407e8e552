//! One metric of two sides, as values: for who judges by other rules than those of a table. Pure.

use super::model::Better;
use super::series::{Selection, series};
use super::side::{Runs, Side, Whole};
use super::{Refusal, differences};

/// One metric in one place, of runs that were made in turns.
#[derive(Debug, Clone, PartialEq)]
pub struct Measured {
    /// The workload or stage, `run` or `command`.
    pub workload: String,
    /// The metric's name.
    pub metric: String,
    /// What it is counted in.
    pub unit: &'static str,
    /// Which way it gets better.
    pub better: Better,
    /// The baseline's values, one a run; NaN for what was not measured.
    pub baseline: Vec<f64>,
    /// The candidate's.
    pub candidate: Vec<f64>,
    /// Why the values say nothing.
    pub doubt: Option<String>,
}

/// A metric wherever both sides have it. Runs that are not whole are left out.
///
/// # Errors
///
/// [`Refusal`]: there is no whole run on a side, or the environments differ.
pub fn measured(baseline: Runs, candidate: Runs, metric: &str) -> Result<Vec<Measured>, Refusal> {
    let whole = |name: &str, runs| {
        let Whole { runs, told } = Side { name: name.to_owned(), runs }.whole();
        if runs.is_empty() {
            return Err(Refusal::NoRun { name: told.name, left_out: told.left_out });
        }
        Ok(runs)
    };
    let (baseline, candidate) = (whole("baseline", baseline)?, whole("candidate", candidate)?);
    differences(&baseline, &candidate, false)?;
    let all = series(&baseline, &candidate, &Selection::Named(vec![metric.to_owned()]));
    let number =
        |values: Vec<Option<f64>>| values.into_iter().map(|value| value.unwrap_or(f64::NAN)).collect();
    let found =
        all.into_iter().filter(|series| series.baseline.iter().chain(&series.candidate).any(Option::is_some));
    let measured = found.map(|series| Measured {
        workload: series.place,
        metric: series.measure.name,
        unit: series.measure.unit,
        better: series.measure.better,
        baseline: number(series.baseline),
        candidate: number(series.candidate),
        doubt: series.doubts.always,
    });
    Ok(measured.collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::model::{RunResult, fixtures};

    fn runs(change: impl Fn(&mut RunResult)) -> Runs {
        let run = |id: &str| {
            let mut run = fixtures::run();
            run.run_id = id.to_owned();
            change(&mut run);
            run
        };
        Runs::Saved(vec![run("1"), run("2")])
    }

    #[test]
    fn a_metric_is_found_wherever_it_is_and_nowhere_else() {
        let sound = || runs(|_| {});
        let found = measured(sound(), sound(), "latency_p95_us").unwrap();
        assert_eq!(found.len(), 1);
        assert_eq!((&*found[0].workload, found[0].baseline.len()), ("htb-class (closed)", 2));
        assert!(found[0].candidate.iter().all(|value| value.is_finite()) && found[0].better == Better::Lower);
        assert_eq!(measured(sound(), sound(), "wall_time_us").unwrap(), []);
        assert_eq!(measured(sound(), sound(), "rtnl_wait_p95_us").unwrap(), []);
    }

    #[test]
    fn unequal_and_unfinished_runs_are_refused() {
        let sound = || runs(|_| {});
        let other = runs(|run| run.environment.kernel = "6.1.0-other".into());
        assert!(matches!(measured(sound(), other, "latency_p95_us"), Err(Refusal::Unequal(_))));
        let stopped = runs(|run| run.interrupted = true);
        assert!(matches!(measured(sound(), stopped, "latency_p95_us"), Err(Refusal::NoRun { .. })));
        let commands = Runs::Commands(Vec::new());
        assert!(matches!(measured(sound(), commands, "latency_p95_us"), Err(Refusal::NoRun { .. })));
    }
}
