//! `htb-class` alternately without and with all probes, sampling and their reader: what they cost the product's own load.

use std::num::NonZeroU16;
use std::time::Duration;

use super::Arguments;
use crate::cli::print;
use crate::cli::progress::Nothing;
use crate::exit::{Exit, Failure};
use crate::load::Stop;
use crate::overhead::median;
use crate::plan::{Load, Plan, Workload};
use crate::probes::{self, Choice};
use crate::session::Session;
use crate::workload::{Kind, Mix};

/// How long each side of a round is measured, in whole fills: a single fill is over within a second, and what else the machine
/// does in that second would decide the ratio.
const MEASURED: Duration = Duration::from_secs(2);

/// A B A B …, so that a machine whose speed drifts takes both along. Prints a line a round, and at the end one with the ratio.
pub(super) async fn measure(
    arguments: &Arguments,
    plan: &Plan,
    devices: &[u32],
    stop: &Stop,
) -> Result<Exit, Failure> {
    let (classes, workers) = (plan.workloads[0].classes, plan.workloads[0].workers);
    // The first fill of a young process is slower than the later ones; it counts for neither side.
    throughput(plan, devices, stop, Choice::Off).await?;
    print("round  probes off ops/s  probes on ops/s  on / off\n")?;
    let mut ratios = Vec::new();
    for round in 1..=arguments.rounds() {
        let off = throughput(plan, devices, stop, Choice::Off).await?;
        let on = throughput(plan, devices, stop, Choice::Tracepoint).await?;
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
        "htb-class, {classes} classes on {} devices, {workers} workers: throughput with probes is {median:.3} × that \
         without (median of {} interleaved rounds; {:.3} to {:.3})\n",
        plan.devices,
        ratios.len(),
        ratios[0],
        ratios[ratios.len() - 1],
    ))?;
    Ok(match arguments.min_ratio {
        Some(least) if median < least => Exit::BudgetViolated,
        _ => Exit::Pass,
    })
}

/// What the arguments say.
pub(super) fn plan(arguments: &Arguments) -> Plan {
    let workload = Workload {
        kind: Kind::HtbClass,
        load: Load::Closed { duration: MEASURED },
        workers: arguments.workers.unwrap_or(8),
        classes: arguments.classes.unwrap_or(10_000),
        weights: Mix::default(),
    };
    Plan {
        workloads: vec![workload],
        devices: arguments.devices.unwrap_or(10),
        seed: 1,
        warmup: 100,
        messages_per_packet: NonZeroU16::MIN,
    }
}

async fn throughput(
    plan: &Plan,
    devices: &[u32],
    stop: &Stop,
    choice: Choice,
) -> Result<Option<f64>, Failure> {
    let attached = probes::attach(choice, plan.messages_per_packet, None)?;
    let session = Session { devices, collector: attached.collector.as_ref(), stop, observer: &Nothing };
    let measured = session.run(plan).await?;
    Ok(measured.workloads.first().and_then(|workload| workload.throughput_ops_per_s.mean))
}
