//! What CI shows of a run or of a gate: cases with a verdict each, and figures. The formats of CI are functions of it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::model::{RunResult, State, WorkloadResult};

/// What became of a case, or of all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// As it is to be.
    Pass,
    /// Near the limit, or changed a little: nothing that stops anybody.
    Warning,
    /// Not measured, or not well enough to say.
    Inconclusive,
    /// Beyond the limit.
    Critical,
}

impl std::fmt::Display for Verdict {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::Pass => "pass",
            Self::Warning => "warning",
            Self::Inconclusive => "inconclusive",
            Self::Critical => "critical",
        })
    }
}

impl From<State> for Verdict {
    fn from(state: State) -> Self {
        match state {
            State::Pass => Self::Pass,
            State::Warning => Self::Warning,
            State::Critical => Self::Critical,
            State::Inconclusive => Self::Inconclusive,
        }
    }
}

impl Verdict {
    /// Of several: the worst. Of none nothing can be said.
    pub fn of(all: impl IntoIterator<Item = Self>) -> Self {
        all.into_iter().max().unwrap_or(Self::Inconclusive)
    }
}

/// One thing that was judged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Case {
    /// Of what: a workload with its mode, `run`, or a gate's part.
    pub group: String,
    /// What: a metric with its unit, or a check.
    pub name: String,
    /// What became of it.
    pub verdict: Verdict,
    /// The value and the limit, or what was found, in words.
    pub detail: String,
}

/// Which direction of a figure is good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Better {
    /// Latencies, errors, memory.
    Smaller,
    /// Throughput.
    Bigger,
}

/// A figure that is followed over time.
#[derive(Debug, Clone, PartialEq)]
pub struct Figure {
    /// Where and what, the same in each run.
    pub name: String,
    /// Its unit.
    pub unit: &'static str,
    /// The value.
    pub value: f64,
    /// Which direction is good.
    pub better: Better,
    /// How much it varied, where that was measured: half of what lies between the least and the greatest second.
    pub spread: Option<f64>,
}

/// All of a run or of a gate.
#[derive(Debug, Clone, PartialEq)]
pub struct Sheet {
    /// `qdiscope bench`, `qdiscope gate post` …
    pub title: String,
    /// Identifies the run.
    pub id: String,
    /// When it began, RFC 3339.
    pub started_at: String,
    /// Over all.
    pub verdict: Verdict,
    /// Where it ran, in words.
    pub environment: String,
    /// What was judged.
    pub cases: Vec<Case>,
    /// What is followed over time.
    pub figures: Vec<Figure>,
    /// What needs words.
    pub notes: Vec<String>,
}

impl Sheet {
    /// Of a run, fresh or saved.
    pub fn of_run(run: &RunResult) -> Self {
        let environment = &run.environment;
        let mut notes = run.explanations.clone();
        if run.interrupted {
            notes.insert(0, "The run was interrupted: what is here is partial.".to_owned());
        }
        notes.extend(
            run.not_judged.iter().map(|left| format!("Not judged: {} ({}).", left.metric, left.reason)),
        );
        Self {
            title: "qdiscope bench".into(),
            id: run.run_id.clone(),
            started_at: run.started_at.clone(),
            verdict: run.verdict.into(),
            environment: format!(
                "Linux {}, {}, {} cores, probes: {}",
                environment.kernel,
                environment.cpu.as_deref().unwrap_or("an unnamed CPU"),
                environment.cores,
                environment.probes.kind
            ),
            cases: run
                .budget
                .iter()
                .map(|judgement| {
                    let value = judgement.value.map_or_else(|| "not measured".to_owned(), number);
                    let limit =
                        format!("{value}, must be {} {}", judgement.comparison, number(judgement.limit));
                    let reason = judgement.reason.iter().map(|reason| format!("; {reason}"));
                    Case {
                        group: judgement.workload.clone(),
                        name: judgement.metric.clone(),
                        verdict: judgement.state.into(),
                        detail: std::iter::once(limit).chain(reason).collect(),
                    }
                })
                .chain(run.incomplete().map(|detail| Case {
                    group: "run".into(),
                    name: "all of it".into(),
                    verdict: Verdict::Inconclusive,
                    detail,
                }))
                .collect(),
            figures: run.workloads.iter().filter(|workload| workload.is_judged()).flat_map(figures).collect(),
            notes,
        }
    }
}

/// The figures of a workload. What was not measured is absent.
fn figures(workload: &WorkloadResult) -> Vec<Figure> {
    let place = workload.title();
    let seconds = workload.timeline_ops.iter();
    let spread = (workload.timeline_ops.len() > 1)
        .then(|| Some((*seconds.clone().max()? - *seconds.min()?) as f64 / 2.0))
        .flatten();
    let latency = workload.latency_all_us.as_ref();
    let errors: u64 = workload.errors.iter().map(|error| error.count).sum();
    let error_rate = (workload.operations > 0).then(|| errors as f64 / workload.operations as f64 * 100.0);
    let megabytes = workload.resources.peak_rss_bytes.map(|bytes| bytes as f64 / 1e6);
    // An open loop's throughput is what was offered.
    let throughput = workload.throughput_ops_per_s.mean.filter(|_| workload.rate.is_none());
    [
        ("throughput", "ops/s", throughput, Better::Bigger, spread),
        ("latency p50", "µs", latency.map(|latency| latency.p50), Better::Smaller, None),
        ("latency p95", "µs", latency.map(|latency| latency.p95), Better::Smaller, None),
        ("latency p99", "µs", latency.map(|latency| latency.p99), Better::Smaller, None),
        ("error rate", "%", error_rate, Better::Smaller, None),
        ("peak memory", "MB", megabytes, Better::Smaller, None),
    ]
    .into_iter()
    .filter_map(|(name, unit, value, better, spread)| {
        let value = value.filter(|value| value.is_finite())?;
        Some(Figure { name: format!("{place}: {name}"), unit, value, better, spread })
    })
    .collect()
}

/// Three digits or so, and never as a power of ten.
pub(crate) fn number(value: f64) -> String {
    match value.abs() {
        _ if value.fract() == 0.0 => format!("{value:.0}"),
        absolute if absolute >= 100.0 => format!("{value:.0}"),
        absolute if absolute >= 10.0 => format!("{value:.1}"),
        absolute if absolute >= 0.01 => format!("{value:.2}"),
        _ => format!("{value:.4}"),
    }
}

/// A sheet with each verdict, and with everything that a format might trip over.
#[cfg(test)]
pub(crate) mod fixtures {
    use super::*;
    use crate::report::model::{Judgement, NotJudged, fixtures};

    pub(crate) fn run() -> RunResult {
        let judgement = |metric: &str, value, state, reason: Option<&str>| Judgement {
            metric: metric.into(),
            workload: "htb-class (closed)".into(),
            operation: None,
            comparison: "<".into(),
            limit: 1_000.0,
            warning_at: None,
            critical_at: None,
            value,
            state,
            rule: None,
            action: None,
            reason: reason.map(Into::into),
        };
        RunResult {
            verdict: State::Critical,
            budget: vec![
                judgement("latency_p95_us", Some(640.0), State::Pass, None),
                judgement(
                    "latency_p99_us",
                    Some(1_234.5),
                    State::Critical,
                    Some("p99 class-create: 83 % <RTNL> | \"tc\" & co,\nbehind: `tc`"),
                ),
                judgement("cpu_percent_of_one_core", None, State::Inconclusive, Some("not measured")),
            ],
            not_judged: vec![NotJudged {
                metric: "peak_rss_bytes".into(),
                reason: "no open-loop workload in this run".into(),
            }],
            ..fixtures::run()
        }
    }

    /// With a warning, which a run's states may not have.
    pub(crate) fn sheet() -> Sheet {
        let mut sheet = Sheet::of_run(&run());
        sheet.cases.push(Case {
            group: "host".into(),
            name: "load average".into(),
            verdict: Verdict::Warning,
            detail: "1.7 on 2 cores".into(),
        });
        sheet
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_decides_and_nothing_is_no_pass() {
        use Verdict::{Critical, Inconclusive, Pass, Warning};
        assert_eq!(Verdict::of([Pass, Warning]), Warning);
        assert_eq!(Verdict::of([Warning, Inconclusive, Pass]), Inconclusive);
        assert_eq!(Verdict::of([Critical, Inconclusive]), Critical);
        assert_eq!(Verdict::of([]), Inconclusive);
    }

    #[test]
    fn what_was_not_measured_is_no_figure() {
        let mut run = fixtures::run();
        let names = |run: &RunResult| -> Vec<_> {
            Sheet::of_run(run).figures.into_iter().map(|figure| figure.name).collect()
        };
        assert_eq!(names(&run).len(), 6);
        run.workloads[0].latency_all_us = None;
        run.workloads[0].throughput_ops_per_s.mean = None;
        assert_eq!(names(&run), ["htb-class (closed): error rate", "htb-class (closed): peak memory"]);
        assert_eq!(Sheet::of_run(&run).cases[2].detail, "not measured, must be < 1000; not measured");
    }
}
