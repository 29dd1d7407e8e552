//! A load profile on the screen, judged each second, and saved after each stage.

use std::cell::RefCell;
use std::fmt::Write as _;
use std::io::{IsTerminal as _, Write as _};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use crate::budget::{Budget, judge};
use crate::duration::Span;
use crate::exit::Failure;
use crate::load_profile::{Abort, LoadProfile, Stage};
use crate::report::explain::explain;
use crate::report::model::{Judgement, RunResult, State, WorkloadResult};
use crate::report::words::told;
use crate::session::{Second, Watcher};
use crate::store::RunDir;

/// What is shown of a second: this many targets at most, the worst first.
const MOST_TARGETS: usize = 6;

/// Tells stderr how a profile goes on.
pub(super) struct Dashboard<'a> {
    profile: &'a LoadProfile,
    budget: &'a Budget,
    /// The result without figures.
    skeleton: RunResult,
    dir: RefCell<&'a mut RunDir>,
    bar: Option<ProgressBar>,
    now: RefCell<Now>,
}

/// The stage that runs.
#[derive(Default)]
struct Now {
    stage: Option<Stage>,
    patience: Patience,
    /// The targets that were violated a second ago, to say only what is new where there is no screen.
    violated: Vec<String>,
}

/// Since when a target has been violated.
#[derive(Debug, Default, PartialEq)]
struct Patience {
    since: Option<Duration>,
}

impl Patience {
    /// Whether it has come to an end, `at` so far into the stage.
    fn is_over(&mut self, at: Duration, violated: bool, abort: Abort) -> bool {
        if !violated {
            self.since = None;
            return false;
        }
        let since = *self.since.get_or_insert(at);
        at.saturating_sub(since) >= abort.grace
    }
}

impl<'a> Dashboard<'a> {
    /// `skeleton` is the result before there are figures.
    pub(super) fn new(
        profile: &'a LoadProfile,
        budget: &'a Budget,
        skeleton: RunResult,
        dir: &'a mut RunDir,
    ) -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::new(0);
            if let Ok(style) =
                ProgressStyle::with_template("{spinner} {prefix:24} {bar:30} {pos} of {len} s\n{msg}")
            {
                bar.set_style(style);
            }
            bar
        });
        Self { profile, budget, skeleton, dir: RefCell::new(dir), bar, now: RefCell::default() }
    }

    fn line(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.println(text),
            None => {
                let _ = writeln!(std::io::stderr(), "{text}");
            }
        }
    }

    /// The result as if the run ended now.
    fn result(&self, workloads: &[WorkloadResult]) -> RunResult {
        let mut run = RunResult { workloads: workloads.to_vec(), ..self.skeleton.clone() };
        let judged = judge(self.budget, &run);
        (run.budget, run.not_judged, run.verdict) = (judged.judgements, judged.not_judged, judged.verdict);
        run.explanations = explain(&run);
        run
    }
}

impl Drop for Dashboard<'_> {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

impl Watcher for Dashboard<'_> {
    fn begins(&self, stage: &Stage) {
        let length = Span(Duration::from_secs_f64(stage.duration.as_secs_f64().round().max(1.0)));
        match &self.bar {
            Some(bar) => {
                bar.set_length(stage.duration.as_secs().max(1));
                bar.set_position(0);
                bar.set_prefix(format!("{}: {}", self.profile.name, stage.name));
                bar.set_message("");
            }
            None => self.line(&format!("{}: stage {} for {length}", self.profile.name, stage.name)),
        }
        *self.now.borrow_mut() = Now { stage: Some(stage.clone()), ..Now::default() };
    }

    fn second(&self, second: &Second, so_far: &WorkloadResult) -> Option<String> {
        let mut now = self.now.borrow_mut();
        let Now { stage, patience, violated } = &mut *now;
        let stage = stage.as_ref()?;
        let judgements = if stage.judged {
            let run =
                RunResult { workloads: vec![so_far.clone()], interrupted: false, ..self.skeleton.clone() };
            judge(self.budget, &run).judgements
        } else {
            Vec::new()
        };
        let elapsed = Duration::from_secs_f64((second.at_seconds - stage.start.as_secs_f64()).max(0.0));
        let broken: Vec<&Judgement> =
            judgements.iter().filter(|judgement| judgement.state == State::Critical).collect();
        if let Some(bar) = &self.bar {
            bar.set_position(elapsed.as_secs());
            bar.set_message(message(second, &judgements));
        } else {
            for judgement in &broken {
                if !violated.contains(&judgement.metric) {
                    self.line(&format!("{} after {}: {}", stage.name, seconds(elapsed), told(judgement)));
                }
            }
        }
        *violated = broken.iter().map(|judgement| judgement.metric.clone()).collect();
        let abort = self.profile.abort?;
        // Told of each second, of those without a violation, too: they end its patience's count.
        let over = patience.is_over(elapsed, !broken.is_empty(), abort);
        let first = broken.first().filter(|_| over)?;
        Some(format!("stage {}: {} for {} or longer", stage.name, told(first), Span(abort.grace)))
    }

    fn ended(&self, stages: &[WorkloadResult]) -> Result<(), Failure> {
        if let Some(last) = stages.last() {
            let rate = |value: Option<f64>| value.map_or_else(|| "–".into(), |value| format!("{value:.0}"));
            self.line(&format!(
                "{}: {} operations in {:.1} s, {} ops/s, worst second {}, p95 {} µs",
                last.stage.as_ref().map_or("", |stage| &stage.name),
                last.operations,
                last.measured_seconds,
                rate(last.throughput_ops_per_s.mean),
                rate(last.throughput_ops_per_s.worst_second),
                rate(last.latency_all_us.map(|latency| latency.p95)),
            ));
        }
        let run = self.result(stages);
        let bytes = super::json(&run)?;
        let mut dir = self.dir.borrow_mut();
        dir.clear()?;
        dir.write("result.json", &bytes)
    }
}

fn seconds(elapsed: Duration) -> String {
    format!("{:.0} s", elapsed.as_secs_f64())
}

/// What is under the bar.
fn message(second: &Second, judgements: &[Judgement]) -> String {
    let mut text = format!("  {:.0} users", second.users);
    if let Some(rate) = second.rate {
        let _ = write!(text, ", {rate:.0}/s offered");
    }
    let _ = write!(text, "; this second: {} operations", second.operations);
    if let Some(latency) = second.latency_us {
        let _ = write!(text, ", p95 {:.2} ms", latency.p95 / 1e3);
    }
    if second.errors > 0 {
        let _ = write!(text, ", {} errors", second.errors);
    }
    let mut shown: Vec<_> = judgements.iter().filter(|judgement| judgement.value.is_some()).collect();
    shown.sort_by_key(|judgement| judgement.state == State::Pass);
    for judgement in shown.into_iter().take(MOST_TARGETS) {
        let value = judgement.value.unwrap_or_default();
        let Judgement { metric, comparison, limit, state, .. } = judgement;
        let _ = write!(text, "\n  {metric:34} {value:>12.0} {comparison:>2} {limit:<10} {state}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load_profile::BuiltIn;
    use crate::report::model::{Throughput, fixtures};

    /// Two violations with a second between them that holds are two, however far they are apart.
    #[test]
    fn a_violation_that_ends_is_forgotten() {
        let mut profile = BuiltIn::find("smoke").unwrap().profile();
        profile.abort = Some(Abort { grace: Duration::from_secs(3) });
        let stage = Stage { start: Duration::ZERO, judged: true, ..profile.stages[1].clone() };
        let folder = tempfile::tempdir().unwrap();
        let mut dir = RunDir::create(Some(folder.path()), "id".into()).unwrap();
        let budget = Budget::built_in();
        let dashboard = Dashboard::new(&profile, &budget, fixtures::run(), &mut dir);
        dashboard.begins(&stage);
        let said = |at: f64, ops: f64| {
            let second = Second {
                at_seconds: at,
                stage: stage.name.clone(),
                users: 1.0,
                rate: None,
                seconds: 1.0,
                operations: 1,
                errors: 0,
                latency_us: None,
                schedule_lag_us: None,
                rss_bytes: None,
                fds: None,
            };
            let throughput_ops_per_s = Throughput { mean: Some(ops), worst_second: Some(ops) };
            let workload = WorkloadResult { throughput_ops_per_s, ..fixtures::workload() };
            dashboard.second(&second, &workload).is_some()
        };
        let (slow, fast) = (10.0, 5_000.0);
        let seconds = [(1.0, slow), (2.0, fast), (9.0, slow), (11.0, slow), (12.0, slow)];
        assert_eq!(seconds.map(|(at, ops)| said(at, ops)), [false, false, false, false, true]);
    }

    #[test]
    fn patience_ends_where_a_violation_lasts() {
        let abort = Abort { grace: Duration::from_secs(3) };
        let mut patience = Patience::default();
        let at = Duration::from_secs;
        let violated = [true, true, false, true, true, true, true];
        let over: Vec<_> = violated
            .into_iter()
            .zip(1..)
            .map(|(broken, second)| patience.is_over(at(second), broken, abort))
            .collect();
        assert_eq!(over, [false, false, false, false, false, false, true]);
    }
}
