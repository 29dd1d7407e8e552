//! The answer in sentences. Pure: each figure in them was measured, or lies between two that were.

use std::fmt::Write as _;

use super::model::{Axis, Functions, Scaling, Series, Stage};
use super::plan::Operation;
use super::table::{number, title};
use crate::stats::growth::Law;
use crate::stats::judgement::{Judgement, LEAST_SIZES};

/// A target that people have: a thousand operations a second.
const TARGET_OPS_PER_S: f64 = 1_000.0;

/// One or two sentences a series, and one that compares shards.
pub fn findings(scaling: &Scaling) -> Vec<String> {
    let mut findings: Vec<String> = match scaling.settings.axis {
        Axis::Classes => scaling.series.iter().filter_map(|series| classes(scaling, series)).collect(),
        Axis::Workers => scaling.series.iter().filter_map(|series| workers(scaling, series)).collect(),
    };
    findings.extend(shards(scaling));
    findings
}

fn classes(scaling: &Scaling, series: &Series) -> Option<String> {
    let (first, last) = (series.stages.first()?, series.stages.last()?);
    let name = title(scaling, series).replacen(series.operation.name(), series.operation.plural(), 1);
    let range = format!(
        "{} µs at {:.0} classes, {} µs at {}",
        number(first.latency_us.p50),
        first.n,
        number(last.latency_us.p50),
        whole(last.n)
    );
    let Some(judgement) = series.growth.get("latency_p50_us") else {
        return Some(format!(
            "{name}: {range} (median); at least {LEAST_SIZES} sizes are needed to say how they grow."
        ));
    };
    let Some(law) = judgement.law else {
        let reason = judgement.inconclusive_because.as_deref().unwrap_or_default();
        return Some(format!("{name}: inconclusive: {range} (median), but {reason}."));
    };
    let mut text = match law {
        Law::Constant => format!("{name} take constant time: {range} (median)"),
        law => format!("{name} are {law} in the number of classes: {range} (median){}", by(judgement)),
    };
    text.push('.');
    if judgement.bends {
        text.push_str(" The deviations from that law follow each other: the curve bends otherwise than it.");
    }
    if law != Law::Constant
        && let Some(functions) = &series.functions
    {
        let _ = write!(text, " {}", grower(functions));
    }
    if let Some(at) = crossing(&series.stages) {
        let _ = write!(
            text,
            " One caller falls below {} {} a second at about {} classes.",
            whole(TARGET_OPS_PER_S),
            series.operation.plural(),
            rounded(at)
        );
    }
    Some(text)
}

fn by(judgement: &Judgement) -> String {
    let curve = &judgement.curve;
    let [least, most] = judgement.slope_interval.map(|slope| slope * 1e3);
    match (curve.law, curve.knee) {
        (Law::Linear, None) => {
            format!(", {:+.0} ns a class (95 % confidence: {least:.0} to {most:.0})", curve.slope * 1e3)
        }
        (Law::Linear, Some(knee)) => format!(
            ", {:+.0} ns a class (95 % confidence: {least:.0} to {most:.0}) up to about {} classes and {:+.0} ns beyond (what bends it \
             was not measured; a cache that no longer holds all classes does so)",
            curve.slope * 1e3,
            rounded(knee.at),
            knee.slope_beyond * 1e3
        ),
        _ => String::new(),
    }
}

/// Which function: the innermost that has two thirds of the growth, or half where none but the handler has more; and who leads to it.
fn grower(functions: &Functions) -> String {
    const MOST: f64 = 2.0 / 3.0;
    let most = functions.path.iter().take_while(|growing| growing.share >= MOST).count();
    let path = if most > 1 { &functions.path[..most] } else { &functions.path[..] };
    let Some(inner) = path.last() else {
        return "No single kernel function has most of the growth.".into();
    };
    let way: Vec<&str> = path.iter().map(|growing| growing.function.as_str()).collect();
    let mut text = format!(
        "{:.0} % of the growth on the CPU ({:.0} ns a class) is in {}",
        inner.share * 100.0,
        inner.growth_ns,
        way.join(" → ")
    );
    if let Some(caller) = inlined_walk(&way) {
        let _ = write!(
            text,
            ": {WALK} asks every class of the qdisc whether a filter is bound to it; here it is no function of its own, but part of {caller}"
        );
    } else if way.last() == Some(&MACHINE_WIDE) {
        text.push_str(
            ", which goes through one list for the whole machine: spreading the classes does not shorten it",
        );
    }
    text.push('.');
    text
}

/// Goes through `flow_indr_block_list`s of all devices and namespaces, in `net/core/flow_offload.c`.
const MACHINE_WIDE: &str = "flow_indr_dev_setup_offload";

/// What walks all classes, in `net/sched/sch_api.c`.
const WALK: &str = "tc_bind_tclass";

/// Who walks them, where the compiler has put [`WALK`] into it: nobody else calls this.
fn inlined_walk<'a>(way: &[&'a str]) -> Option<&'a str> {
    let walker = way.iter().position(|function| *function == "tc_bind_class_walker")?;
    let walk = way[..walker].iter().rposition(|function| function.ends_with("_walk"))?;
    let caller = way[..walk].last()?;
    (*caller != WALK).then_some(*caller)
}

/// Where the median crosses a target, between two sizes that were measured.
fn crossing(stages: &[Stage]) -> Option<f64> {
    let most = 1e6 / TARGET_OPS_PER_S;
    stages.windows(2).find_map(|pair| {
        let [(a, before), (b, after)] =
            [(&pair[0], pair[0].latency_us.p50), (&pair[1], pair[1].latency_us.p50)];
        (before <= most && after > most).then(|| a.n + (b.n - a.n) * (most - before) / (after - before))
    })
}

/// Two digits: it lies between two measured sizes.
fn rounded(value: f64) -> String {
    let unit = 10_f64.powf(value.max(1.0).log10().floor() - 1.0).max(1.0);
    whole((value / unit).round() * unit)
}

/// With thousands set apart.
pub(super) fn whole(value: f64) -> String {
    let text = format!("{value:.0}");
    let mut grouped = String::new();
    for (index, digit) in text.chars().enumerate() {
        if index > 0 && (text.len() - index) % 3 == 0 {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

fn shards(scaling: &Scaling) -> Option<String> {
    let adds = |series: &&Series| series.operation == Operation::Add && !series.stages.is_empty();
    let of =
        |series: &Series| series.stages.last().map(|stage| (series.shards, stage.n, stage.latency_us.p50));
    let adds: Vec<(u32, f64, f64)> = scaling.series.iter().filter(adds).filter_map(of).collect();
    let (few, many) = (*adds.first()?, *adds.last()?);
    // Compared where both have come to the same size.
    (adds.len() > 1 && few.0 != many.0 && (few.1 - many.1).abs() <= 0.01 * few.1).then(|| {
        let times = few.2 / many.2;
        let verdict = if times >= 1.25 {
            format!("spreading them makes it {times:.1} times as fast")
        } else {
            "spreading them brings little".into()
        };
        format!(
            "With {} classes an add takes {} µs on {} device{} and {} µs on {}: {}.",
            whole(few.1),
            number(few.2),
            few.0,
            if few.0 == 1 { "" } else { "s" },
            number(many.2),
            many.0,
            verdict
        )
    })
}

fn workers(scaling: &Scaling, series: &Series) -> Option<String> {
    let (first, last) = (series.stages.first()?, series.stages.last()?);
    (series.stages.len() > 1).then_some(())?;
    let throughput = match last.ops_per_s / first.ops_per_s - 1.0 {
        gain if gain.abs() < 0.1 => "no more throughput than".to_owned(),
        gain if gain < 0.0 => format!("{:.0} % less throughput than", -gain * 100.0),
        gain => format!("{:.0} % more throughput than", gain * 100.0),
    };
    let ends = |pick: fn(&Stage) -> f64| format!("from {} to {} µs", number(pick(first)), number(pick(last)));
    let few = if series.growth.is_empty() {
        format!(" At least {LEAST_SIZES} numbers of workers are needed to say by which law they grow.")
    } else {
        String::new()
    };
    let mut text = format!(
        "{}: {:.0} workers have {throughput} {:.0} ({} and {} a second); the median goes {}, the mean {}, p99 {}.",
        title(scaling, series).replacen(series.operation.name(), series.operation.plural(), 1),
        last.n,
        first.n,
        whole(last.ops_per_s),
        whole(first.ops_per_s),
        ends(|stage| stage.latency_us.p50),
        ends(|stage| stage.latency_us.mean),
        ends(|stage| stage.latency_us.p99),
    );
    if last.latency_us.mean > 2.0 * last.latency_us.p50 {
        text.push_str(" A few requests wait for long, which the mean and p99 show and the median does not.");
    }
    text.push_str(&waits(scaling, last));
    for (metric, what) in [("latency_mean_us", "The mean latency"), ("ops_per_s", "Throughput")] {
        let Some(judgement) = series.growth.get(metric) else { continue };
        let law = match (judgement.law, judgement.relative_rise < 0.0) {
            (None, _) => "of no clear law (inconclusive)".to_owned(),
            (Some(Law::Constant), _) => "constant".into(),
            (Some(law), false) => format!("{law} in the number of workers"),
            (Some(law), true) => format!("falling, {law} in the number of workers"),
        };
        let _ = write!(text, " {what} is {law}.");
    }
    text.push_str(&few);
    Some(text)
}

/// What the mean latency of a stage consists of.
fn waits(scaling: &Scaling, stage: &Stage) -> String {
    let Some(kernel) = stage.kernel_us else { return String::new() };
    let (Some(wait), mean) = (kernel.rtnl_wait, stage.latency_us.mean) else { return String::new() };
    let outside = (1.0 - kernel.request / mean).max(0.0);
    let mut text = format!(
        " With {:.0} workers RTNL wait is {:.0} % of the kernel's request and {:.0} % of the caller's latency",
        stage.n,
        100.0 * wait / kernel.request,
        100.0 * wait / mean
    );
    if outside >= 0.1 {
        let _ = write!(text, ", of which {:.0} % lie outside of the request", outside * 100.0);
        if stage.n > scaling.environment.cores as f64 {
            let _ = write!(
                text,
                " (there are more workers than the {} CPUs, which they wait for)",
                scaling.environment.cores
            );
        }
    }
    text.push('.');
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scaling::model::Latency;

    fn stage(n: f64, p50: f64) -> Stage {
        Stage {
            n,
            operations: 9,
            errors: 0,
            latency_us: Latency { p50, p50_interval: None, p95: p50, p99: p50, mean: p50 },
            ops_per_s: 1e6 / p50,
            kernel_us: None,
            rounds_p50_us: vec![p50],
        }
    }

    #[test]
    fn a_crossing_lies_between_measured_sizes_or_is_not_said() {
        let stages = [stage(1_000.0, 200.0), stage(5_000.0, 600.0), stage(10_000.0, 1_400.0)];
        assert_eq!(crossing(&stages), Some(7_500.0));
        assert_eq!(crossing(&stages[..2]), None);
        assert_eq!(crossing(&stages[2..]), None);
    }

    #[test]
    fn a_walk_that_is_inlined_is_told_by_its_name() {
        let way = ["tc_ctl_tclass", "htb_walk", "tc_bind_class_walker"];
        assert_eq!(inlined_walk(&way), Some("tc_ctl_tclass"));
        assert_eq!(inlined_walk(&["tc_ctl_tclass", WALK, "htb_walk", "tc_bind_class_walker"]), None);
        assert_eq!(inlined_walk(&["tc_ctl_tclass"]), None);
    }

    #[test]
    fn sizes_are_rounded_to_what_is_known() {
        assert_eq!(rounded(9_437.0), "9,400");
        assert_eq!(rounded(12_345.0), "12,000");
        assert_eq!(rounded(87.0), "87");
        assert_eq!(rounded(0.4), "0");
    }
}
