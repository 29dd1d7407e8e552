//! What is compared: a value a run, of each metric in each workload.

use super::doubt::Doubts;
use super::execution::Execution;
use super::model::Better;
use super::side::Runs;
use crate::budget::{Direction, Metric, Place, Quantity, UnknownQuantity};
use crate::gate::change::Thresholds;
use crate::report::model::{Mode, RunResult, WorkloadResult};

/// Which metrics are compared.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Selection {
    /// Those that say how a workload went; few, because each that is asked makes all of them less sure.
    #[default]
    Headline,
    /// Whatever both sides have.
    All,
    /// These, by their names.
    Named(Vec<String>),
}

impl Selection {
    /// Whether each name is one of a metric.
    ///
    /// # Errors
    ///
    /// [`UnknownQuantity`] with a suggestion where one is not.
    pub fn check(&self) -> Result<(), UnknownQuantity> {
        let Self::Named(names) = self else { return Ok(()) };
        let foreign = |name: &&String| !Execution::METRICS.contains(&name.as_str());
        names.iter().filter(foreign).try_for_each(|name| Quantity::try_from(name.clone()).map(drop))
    }
}

/// A metric, as far as comparing goes.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Measure {
    pub(super) name: String,
    pub(super) unit: &'static str,
    pub(super) better: Better,
    pub(super) thresholds: Thresholds,
}

impl From<Quantity> for Measure {
    fn from(quantity: Quantity) -> Self {
        let metric = quantity.metric;
        let thresholds = match metric {
            _ if metric.is_latency() => Thresholds::RESPONSE_TIME,
            Metric::OfferedRateHeldPercent => Thresholds::THROUGHPUT,
            _ if metric.is_throughput() => Thresholds::THROUGHPUT,
            Metric::ErrorRatePercent | Metric::PacketLossPercent => Thresholds::ERROR_RATE,
            _ => Thresholds::RESOURCES,
        };
        let better = match metric.direction() {
            Direction::Higher => Better::Higher,
            Direction::Lower => Better::Lower,
        };
        Self { name: quantity.name(), unit: metric.unit(), better, thresholds }
    }
}

/// One metric in one place, by run.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Series {
    pub(super) place: String,
    pub(super) measure: Measure,
    /// `None` for what was not measured.
    pub(super) baseline: Vec<Option<f64>>,
    pub(super) candidate: Vec<Option<f64>>,
    pub(super) doubts: Doubts,
}

impl Series {
    fn is_measured_somewhere(&self) -> bool {
        self.baseline.iter().chain(&self.candidate).any(Option::is_some)
    }

    fn is_measured_on_both_sides(&self) -> bool {
        [&self.baseline, &self.candidate].iter().all(|side| side.iter().any(Option::is_some))
    }
}

/// The rows of two sides of the same kind; none of sides that are not.
pub(super) fn series(baseline: &Runs, candidate: &Runs, selection: &Selection) -> Vec<Series> {
    match (baseline, candidate) {
        (Runs::Saved(baseline), Runs::Saved(candidate)) => of_runs(baseline, candidate, selection),
        (Runs::Commands(baseline), Runs::Commands(candidate)) => of_commands(baseline, candidate, selection),
        _ => Vec::new(),
    }
}

fn of_commands(baseline: &[Execution], candidate: &[Execution], selection: &Selection) -> Vec<Series> {
    let names: Vec<&str> = match selection {
        Selection::Headline | Selection::All => Execution::METRICS.to_vec(),
        Selection::Named(names) => names.iter().map(String::as_str).collect(),
    };
    let series = |name: &str| Series {
        place: "command".to_owned(),
        measure: Quantity::try_from(name.to_owned())
            .ok()
            .filter(|_| !Execution::METRICS.contains(&name))
            .map_or_else(|| Execution::measure(name), Measure::from),
        baseline: baseline.iter().map(|run| run.value(name)).collect(),
        candidate: candidate.iter().map(|run| run.value(name)).collect(),
        doubts: Doubts::default(),
    };
    names.into_iter().map(series).collect()
}

/// The headline metrics, where they apply.
const HEADLINE: [Metric; 7] = [
    Metric::LatencyP50Us,
    Metric::LatencyP95Us,
    Metric::LatencyP99Us,
    Metric::ThroughputMeanOpsPerS,
    Metric::ErrorRatePercent,
    Metric::PeakRssBytes,
    Metric::CpuPercentOfOneCore,
];

fn of_runs(baseline: &[RunResult], candidate: &[RunResult], selection: &Selection) -> Vec<Series> {
    let sides = Sides { baseline, candidate };
    let mut all = Vec::new();
    for place in sides.places() {
        let quantities: Vec<Quantity> = match selection {
            Selection::Headline => sides.headline(&place),
            Selection::All => Quantity::all().collect(),
            Selection::Named(names) => known(names),
        };
        let of_workload = |quantity: &Quantity| quantity.metric.place() == Place::Workload;
        let found = quantities.into_iter().filter(of_workload);
        all.extend(found.map(|quantity| sides.in_workload(&place, quantity)));
    }
    let of_run = |quantity: &Quantity| quantity.metric.place() == Place::Run;
    let quantities: Vec<Quantity> = match selection {
        Selection::Headline => Vec::new(),
        Selection::All => Quantity::all().filter(of_run).collect(),
        Selection::Named(names) => known(names).into_iter().filter(of_run).collect(),
    };
    all.extend(quantities.into_iter().map(|quantity| sides.in_run(quantity)));
    match selection {
        Selection::Headline => {}
        Selection::All => all.retain(Series::is_measured_on_both_sides),
        // Of what was asked for by its name there is a row, if only one that says that it was not measured.
        Selection::Named(names) => {
            all.retain(Series::is_measured_somewhere);
            let absent = names.iter().filter(|name| all.iter().all(|series| series.measure.name != **name));
            let rows: Vec<Series> = absent.map(|name| sides.nowhere(name)).collect();
            all.extend(rows);
        }
    }
    all
}

fn known(names: &[String]) -> Vec<Quantity> {
    names.iter().filter_map(|name| Quantity::try_from(name.clone()).ok()).collect()
}

#[derive(Clone, Copy)]
struct Sides<'a> {
    baseline: &'a [RunResult],
    candidate: &'a [RunResult],
}

impl<'a> Sides<'a> {
    fn runs(self) -> impl Iterator<Item = &'a RunResult> {
        self.baseline.iter().chain(self.candidate)
    }

    /// The workloads that are judged, each once, in the order of their first run.
    fn places(self) -> Vec<String> {
        let mut places: Vec<String> = Vec::new();
        for workload in self.runs().flat_map(|run| &run.workloads).filter(|workload| workload.is_judged()) {
            let title = workload.title();
            if !places.contains(&title) {
                places.push(title);
            }
        }
        places
    }

    /// An open loop's throughput is what was offered, and a closed one's CPU time what it got.
    fn headline(self, place: &str) -> Vec<Quantity> {
        let mut modes = self.runs().filter_map(|run| workload(run, place)).map(|workload| workload.mode);
        let open = modes.any(|mode| mode == Mode::Open);
        let applies = |metric: &Metric| match metric {
            Metric::ThroughputMeanOpsPerS => !open,
            Metric::CpuPercentOfOneCore => open,
            _ => true,
        };
        HEADLINE.into_iter().filter(applies).map(Quantity::from).collect()
    }

    fn in_workload(self, place: &str, quantity: Quantity) -> Series {
        let value = |run: &RunResult| quantity.of_workload(workload(run, place)?);
        let pairs: Vec<_> = self.runs().filter_map(|run| Some((run, workload(run, place)?))).collect();
        self.series(place, quantity, value, Doubts::of_workload(quantity, &pairs))
    }

    fn in_run(self, quantity: Quantity) -> Series {
        let value = |run: &RunResult| quantity.metric.of_run(run).map(|reading| reading.value);
        self.series("run", quantity, value, Doubts::default())
    }

    fn nowhere(self, name: &str) -> Series {
        let none = |runs: &[RunResult]| vec![None; runs.len()];
        let measure =
            Quantity::try_from(name.to_owned()).map_or_else(|_| Execution::measure(name), Measure::from);
        Series {
            place: "run".to_owned(),
            measure,
            baseline: none(self.baseline),
            candidate: none(self.candidate),
            doubts: Doubts::default(),
        }
    }

    fn series(
        self,
        place: &str,
        quantity: Quantity,
        value: impl Fn(&RunResult) -> Option<f64>,
        doubts: Doubts,
    ) -> Series {
        Series {
            place: place.to_owned(),
            measure: quantity.into(),
            baseline: self.baseline.iter().map(&value).collect(),
            candidate: self.candidate.iter().map(&value).collect(),
            doubts,
        }
    }
}

fn workload<'a>(run: &'a RunResult, place: &str) -> Option<&'a WorkloadResult> {
    run.workloads.iter().find(|workload| workload.title() == place)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::model::fixtures;

    fn names(runs: &[RunResult], selection: &Selection) -> Vec<String> {
        of_runs(runs, runs, selection)
            .into_iter()
            .map(|series| format!("{} {}", series.place, series.measure.name))
            .collect()
    }

    #[test]
    fn the_headline_is_what_the_loop_decides() {
        let mut run = fixtures::run();
        let last = |run: &RunResult| names(std::slice::from_ref(run), &Selection::Headline).split_off(3);
        let names = |metrics: &[&str], place: &str| -> Vec<String> {
            metrics.iter().map(|metric| format!("{place} {metric}")).collect()
        };
        assert_eq!(
            last(&run),
            names(
                &["throughput_mean_ops_per_s", "error_rate_percent", "peak_rss_bytes"],
                "htb-class (closed)"
            )
        );
        (run.workloads[0].mode, run.workloads[0].rate) = (Mode::Open, Some(1_000.0));
        assert_eq!(
            last(&run),
            names(&["error_rate_percent", "peak_rss_bytes", "cpu_percent_of_one_core"], "htb-class (open)")
        );
    }

    #[test]
    fn all_is_what_both_sides_have_and_names_are_answered_in_any_case() {
        let run = fixtures::run();
        let mut other = run.clone();
        other.workloads[0].throughput_ops_per_s.worst_second = None;
        let all = of_runs(std::slice::from_ref(&run), std::slice::from_ref(&other), &Selection::All);
        let has = |name: &str| all.iter().any(|series| series.measure.name == name);
        assert!(
            has("latency_p99_9_us")
                && has("machine_cpu_percent")
                && !has("throughput_worst_second_ops_per_s")
        );
        assert!(!has("rtnl_wait_p50_us"), "no probe told");

        let asked =
            ["leaked_fds", "latency_p90_us", "rtnl_wait_p95_us", "cache_hit_rate_percent", "wall_time_us"];
        let selection = Selection::Named(asked.map(str::to_owned).to_vec());
        selection.check().unwrap();
        assert_eq!(
            names(&[run], &selection),
            [
                "htb-class (closed) latency_p90_us",
                "run leaked_fds",
                "run rtnl_wait_p95_us",
                "run cache_hit_rate_percent",
                "run wall_time_us"
            ]
        );
        let slip = Selection::Named(vec!["latency_p95_ms".to_owned()]);
        assert!(slip.check().unwrap_err().to_string().contains("did you mean `latency_p95_us`?"));
    }

    #[test]
    fn a_stage_that_is_not_judged_is_not_compared() {
        let mut run = fixtures::run();
        run.workloads.push(run.workloads[0].clone());
        run.workloads[1].stage = Some(crate::report::model::StageSettings {
            judged: false,
            ..serde_json::from_str(STAGE).unwrap()
        });
        assert_eq!(names(&[run], &Selection::Headline).len(), 6);
    }

    const STAGE: &str = r#"{
        "name": "ramp", "start_seconds": 0, "judged": true, "users": [1, 8], "rate": null, "arrivals": null,
        "think_time_us": null, "think_time": null
    }"#;

    #[test]
    fn thresholds_are_those_of_the_kind() {
        let of = |name: &str| Measure::from(Quantity::try_from(name.to_owned()).unwrap());
        for (name, thresholds, better) in [
            ("latency_p95_us", Thresholds::RESPONSE_TIME, Better::Lower),
            ("rtnl_wait_p50_us", Thresholds::RESPONSE_TIME, Better::Lower),
            ("throughput_mean_ops_per_s", Thresholds::THROUGHPUT, Better::Higher),
            ("offered_rate_held_percent", Thresholds::THROUGHPUT, Better::Higher),
            ("error_rate_percent", Thresholds::ERROR_RATE, Better::Lower),
            ("packet_loss_percent", Thresholds::ERROR_RATE, Better::Lower),
            ("peak_rss_bytes", Thresholds::RESOURCES, Better::Lower),
            ("cpu_percent_of_one_core", Thresholds::RESOURCES, Better::Lower),
        ] {
            assert_eq!((of(name).thresholds, of(name).better), (thresholds, better), "{name}");
        }
    }
}
