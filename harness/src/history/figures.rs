//! The figures of a run that are followed over time. Pure.

use super::record::{Better, Figure};
use crate::budget::{Direction, Metric, Place, Quantity, Reading};
use crate::report::model::RunResult;
use crate::workload::OperationKind;

/// Of phases, which are many, only these.
const PERCENTILES_OF_PHASES: [Metric; 3] = [Metric::LatencyP50Us, Metric::LatencyP95Us, Metric::LatencyP99Us];

/// All that a budget can ask of a run and that was measured; of phases three percentiles, over all operations.
pub(super) fn of_run(run: &RunResult) -> Vec<Figure> {
    let mut figures = Vec::new();
    for workload in &run.workloads {
        let title = workload.title();
        let quantities = Quantity::all()
            .filter(|quantity| quantity.phase.is_none() || PERCENTILES_OF_PHASES.contains(&quantity.metric));
        for quantity in quantities {
            figures.extend(figure(&title, "", quantity, quantity.reading(None, workload)));
        }
        for operation in OperationKind::ALL {
            for metric in Metric::all().iter().filter(|metric| metric.is_by_operation()) {
                let quantity = Quantity::from(*metric);
                let reading = quantity.reading(Some(operation), workload);
                figures.extend(figure(&title, operation.name(), quantity, reading));
            }
        }
    }
    for metric in Metric::all().iter().filter(|metric| metric.place() == Place::Run) {
        figures.extend(figure("", "", (*metric).into(), metric.of_run(run)));
    }
    figures
}

fn figure(workload: &str, operation: &str, quantity: Quantity, reading: Option<Reading>) -> Option<Figure> {
    let Reading { value, count, .. } = reading.filter(|reading| reading.value.is_finite())?;
    Some(Figure {
        workload: workload.to_owned(),
        operation: operation.to_owned(),
        metric: quantity.name(),
        unit: quantity.metric.unit().to_owned(),
        better: match quantity.metric.direction() {
            Direction::Lower => Better::Lower,
            Direction::Higher => Better::Higher,
        },
        value,
        observations: count,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::model::fixtures;

    #[test]
    fn what_was_measured_is_there_once_and_the_rest_is_not() {
        let run = fixtures::run();
        let figures = of_run(&run);
        let of = |metric: &str, operation: &str| {
            figures.iter().find(|figure| figure.metric == metric && figure.operation == operation)
        };
        let p95 = of("latency_p95_us", "").unwrap();
        assert_eq!(
            (p95.workload.as_str(), p95.unit.as_str(), p95.better),
            ("htb-class (closed)", "µs", Better::Lower)
        );
        assert_eq!(of("throughput_mean_ops_per_s", "").unwrap().better, Better::Higher);
        // An open loop's alone.
        assert_eq!(of("offered_rate_held_percent", ""), None);
        let mut names: Vec<_> =
            figures.iter().map(|figure| (&figure.workload, &figure.operation, &figure.metric)).collect();
        let count = names.len();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), count);
        let mut without = run.clone();
        without.workloads[0].latency_all_us = None;
        assert!(
            !of_run(&without)
                .iter()
                .any(|figure| figure.metric == "latency_p95_us" && figure.operation.is_empty())
        );
    }
}
