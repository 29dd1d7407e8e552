//! `qdiscope overhead`: what the probes cost.

use std::num::NonZeroU16;
use std::time::Duration;

use clap::Args;

use super::{SAVED, print, runtime, stop_on_signal};
use crate::exit::{Exit, Failure};
use crate::isolation;
use crate::load::Stop;
use crate::plan::{Load, Plan, Workload};
use crate::probes::{self, Choice};
use crate::record::Interval;
use crate::report::model::WorkloadResult;
use crate::session::{Observer, Session, check_htb};
use crate::workload::{Kind, Weights};

/// Runs `htb-class` alternately without (A) and with (B) all probes, sampling and their reader: A B A B …, so that
/// a machine whose speed drifts takes both along.
#[derive(Args)]
pub(super) struct Arguments {
    /// Pairs of runs
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,
    /// Classes that a run creates
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..=500_000))]
    classes: u64,
    /// Concurrent callers
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=4096))]
    workers: u32,
    /// Veth devices that carry HTB
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=1000))]
    devices: u32,
    /// Exit with 4 when the median ratio is below this
    #[arg(long, value_name = "RATIO", value_parser = parse_ratio)]
    min_ratio: Option<f64>,
}

/// How long each side of a round is measured, in whole fills: a single fill is over within a second, and what else the machine
/// does in that second would decide the ratio.
const MEASURED: Duration = Duration::from_secs(2);

fn parse_ratio(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(ratio) if ratio.is_finite() && ratio > 0.0 => Ok(ratio),
        _ => Err("give a number above 0, as in 0.95".into()),
    }
}

struct Silent;

impl Observer for Silent {
    fn begins(&self, _: &Workload) {}
    fn progress(&self, _: Duration, _: u64, _: &Interval) {}
    fn ended(&self, _: &WorkloadResult) {}
}

pub(super) fn run(arguments: &Arguments) -> Result<Exit, Failure> {
    let plan = plan(arguments);
    plan.check().map_err(Failure::usage)?;
    isolation::enter()?;
    runtime()?.block_on(measure(arguments, &plan))
}

fn plan(arguments: &Arguments) -> Plan {
    let workload = Workload {
        kind: Kind::HtbClass,
        load: Load::Closed { duration: MEASURED },
        workers: arguments.workers,
        classes: arguments.classes,
        weights: Weights::default(),
    };
    Plan {
        workloads: vec![workload],
        devices: arguments.devices,
        seed: 1,
        warmup: 100,
        messages_per_packet: NonZeroU16::MIN,
    }
}

async fn measure(arguments: &Arguments, plan: &Plan) -> Result<Exit, Failure> {
    let stop = Stop::default();
    stop_on_signal(&stop, SAVED)?;
    let devices = isolation::create_devices(plan.devices_needed()).await?;
    check_htb(devices[0]).await?;
    // The first fill of a young process is slower than the later ones; it counts for neither side.
    throughput(plan, &devices, &stop, Choice::Off).await?;
    print("round  probes off ops/s  probes on ops/s  on / off\n")?;
    let mut ratios = Vec::new();
    for round in 1..=arguments.rounds {
        let off = throughput(plan, &devices, &stop, Choice::Off).await?;
        let on = throughput(plan, &devices, &stop, Choice::Tracepoint).await?;
        if stop.is_set() {
            return Ok(Exit::Interrupted);
        }
        let (Some(off), Some(on)) = (off, on) else {
            return Err(Failure::internal("a fill without throughput"));
        };
        print(&format!("{round:5}  {off:16.0}  {on:15.0}  {:8.3}\n", on / off))?;
        ratios.push(on / off);
    }
    ratios.sort_by(f64::total_cmp);
    let median = median(&ratios);
    print(&format!(
        "htb-class, {} classes on {} devices, {} workers: throughput with probes is {median:.3} × that without \
         (median of {} interleaved rounds; {:.3} to {:.3})\n",
        arguments.classes,
        arguments.devices,
        arguments.workers,
        ratios.len(),
        ratios[0],
        ratios[ratios.len() - 1],
    ))?;
    Ok(match arguments.min_ratio {
        Some(least) if median < least => Exit::BudgetViolated,
        _ => Exit::Pass,
    })
}

/// Of an ascending, non-empty list.
fn median(sorted: &[f64]) -> f64 {
    let middle = sorted.len() / 2;
    if sorted.len() % 2 == 1 { sorted[middle] } else { f64::midpoint(sorted[middle - 1], sorted[middle]) }
}

async fn throughput(
    plan: &Plan,
    devices: &[u32],
    stop: &Stop,
    choice: Choice,
) -> Result<Option<f64>, Failure> {
    let attached = probes::attach(choice, plan.messages_per_packet)?;
    let session = Session { devices, collector: attached.collector.as_ref(), stop, observer: &Silent };
    let measured = session.run(plan).await?;
    Ok(measured.workloads.first().and_then(|workload| workload.throughput_ops_per_s.mean))
}

#[cfg(test)]
mod tests {
    use super::median;

    #[test]
    fn the_median_of_an_even_count_is_between_the_middle_two() {
        assert!((median(&[1.0, 2.0, 4.0]) - 2.0).abs() < f64::EPSILON);
        assert!((median(&[1.0, 2.0, 4.0, 8.0]) - 3.0).abs() < f64::EPSILON);
    }
}
