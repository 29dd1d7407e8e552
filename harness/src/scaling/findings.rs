//! The answer in sentences. Pure: each figure in them was measured, or lies between two that were.

use std::fmt::Write as _;

use super::model::{Axis, Functions, Scaling, Series, Stage};
use super::plan::Operation;
use super::table::{number, title};
use crate::stats::growth::Law;
use crate::stats::judgement::Judgement;

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
        "{} µs at {:.0} classes, {} µs at {:.0}",
        number(first.latency_us.p50),
        first.n,
        number(last.latency_us.p50),
        last.n
    );
    let Some(judgement) = series.growth.get("latency_p50_us") else {
        return Some(format!(
            "{name}: {range} (median); too few sizes or rounds were measured to say how they grow."
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
            " One caller falls below {TARGET_OPS_PER_S:.0} {} a second at about {} classes.",
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
            ", {:+.0} ns a class (95 % confidence: {least:.0} to {most:.0}) up to about {} classes and {:+.0} ns beyond, as where \
             the classes no longer fit into a cache",
            curve.slope * 1e3,
            rounded(knee.at),
            knee.slope_beyond * 1e3
        ),
        _ => String::new(),
    }
}

/// Which function: the innermost that still has most of the growth, and who leads to it.
fn grower(functions: &Functions) -> String {
    let Some(inner) = functions.path.last() else {
        return "No single kernel function has most of the growth.".into();
    };
    let way: Vec<&str> = functions.path.iter().map(|growing| growing.function.as_str()).collect();
    let mut text = format!(
        "{:.0} % of the growth on the CPU, {:.0} ns a class, is {}",
        inner.share * 100.0,
        inner.growth_ns,
        inner.function
    );
    if let [callers @ .., _] = way.as_slice()
        && !callers.is_empty()
    {
        let _ =
            write!(text, ", called by {}", callers.iter().rev().copied().collect::<Vec<_>>().join(", by "));
    }
    text.push('.');
    text
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
    let text = format!("{:.0}", (value / unit).round() * unit);
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
        let verdict = if times >= 2.0 {
            "so that spreading them over devices avoids the growth"
        } else {
            "so that spreading them brings little here"
        };
        format!(
            "With {:.0} classes an add takes {} µs on {} device{} and {} µs on {}: {}.",
            few.1,
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
    let gain = last.ops_per_s / first.ops_per_s - 1.0;
    let name = title(scaling, series);
    let throughput = match gain {
        gain if gain.abs() < 0.1 => "no more throughput than".to_owned(),
        gain if gain < 0.0 => format!("{:.0} % less throughput than", -gain * 100.0),
        gain => format!("{:.0} % more throughput than", gain * 100.0),
    };
    let mut text = format!(
        "{name}: {:.0} workers have {throughput} {:.0} ({} and {} operations a second); the median goes from {} to {} µs, p99 from {} to {} µs",
        last.n,
        first.n,
        number(last.ops_per_s),
        number(first.ops_per_s),
        number(first.latency_us.p50),
        number(last.latency_us.p50),
        number(first.latency_us.p99),
        number(last.latency_us.p99),
    );
    if let Some(kernel) = last.kernel_us
        && let Some(wait) = kernel.rtnl_wait
    {
        let _ =
            write!(text, "; {:.0} % of a request's time is then RTNL wait", 100.0 * wait / kernel.request);
    }
    text.push('.');
    for (metric, what) in [("latency_p50_us", "The median latency"), ("ops_per_s", "Throughput")] {
        let Some(judgement) = series.growth.get(metric) else { continue };
        let law = match (judgement.law, judgement.relative_rise < 0.0) {
            (None, _) => "neither clearly constant nor of one law of growth (inconclusive)".to_owned(),
            (Some(Law::Constant), _) => "constant".into(),
            (Some(law), false) => format!("{law} in the number of workers"),
            (Some(law), true) => format!("falling, {law} in the number of workers"),
        };
        let _ = write!(text, " {what} is {law}.");
    }
    Some(text)
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
    fn sizes_are_rounded_to_what_is_known() {
        assert_eq!(rounded(9_437.0), "9,400");
        assert_eq!(rounded(12_345.0), "12,000");
        assert_eq!(rounded(87.0), "87");
        assert_eq!(rounded(0.4), "0");
    }
}
