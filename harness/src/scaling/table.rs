//! The measurement as a person reads it.

use std::fmt::Write as _;

use comfy_table::{Cell, CellAlignment, Table};

use super::findings::whole;
use super::model::{Axis, Functions, Kernel, Scaling, Series, Stage};
use crate::report::terminal::table;
use crate::stats::growth::Law;
use crate::stats::judgement::Judgement;

/// Renders a measurement, with `charts` between its table and its sentences.
pub fn render(scaling: &Scaling, charts: &str) -> String {
    let mut text = String::new();
    let environment = &scaling.environment;
    let _ = writeln!(
        text,
        "kernel {} on {} ({} cores{}), probes: {}",
        environment.kernel,
        environment.cpu.as_deref().unwrap_or("an unnamed CPU"),
        environment.cores,
        if environment.virtualised == Some(true) { ", virtualised" } else { "" },
        environment.probes.kind,
    );
    if !scaling.series.is_empty() {
        let _ = writeln!(
            text,
            "\nLatency against {}, closed loop (µs; kernel: means, request = RTNL wait + off CPU + on CPU)\n{}",
            scaling.settings.axis.many(),
            stages(scaling)
        );
        if scaling.series.iter().any(|series| !series.growth.is_empty()) {
            let _ = writeln!(text, "\nGrowth\n{}", growth(scaling));
        }
    }
    for series in &scaling.series {
        match &series.functions {
            Some(functions) => {
                let _ = writeln!(
                    text,
                    "\n{}\n{}",
                    heading(scaling, series, functions),
                    growing(scaling, functions)
                );
            }
            None if series.functions_absent_because.as_deref() == Some("nothing grows") => {}
            None => {
                let reason = series.functions_absent_because.as_deref().unwrap_or("unknown");
                let _ = writeln!(text, "not measured: functions of {}: {reason}", title(scaling, series));
            }
        }
    }
    text.push_str(charts);
    if !scaling.remarks.is_empty() {
        text.push('\n');
    }
    for remark in &scaling.remarks {
        let _ = writeln!(text, "{remark}");
    }
    for finding in &scaling.findings {
        let _ = writeln!(text, "\n{finding}");
    }
    text
}

/// A series' name; devices are told where they differ or are many.
pub(super) fn title(scaling: &Scaling, series: &Series) -> String {
    match scaling.series.iter().any(|other| other.shards != 1) {
        true if series.shards == 1 => format!("{} (1 device)", series.operation.name()),
        true => format!("{} ({} devices)", series.operation.name(), series.shards),
        false => series.operation.name().into(),
    }
}

fn right(text: impl std::fmt::Display) -> Cell {
    Cell::new(text).set_alignment(CellAlignment::Right)
}

/// Three significant digits are more than repeats.
pub(super) fn number(value: f64) -> String {
    match value.abs() {
        value_abs if value_abs >= 100.0 => format!("{value:.0}"),
        value_abs if value_abs >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

fn optional(value: Option<f64>) -> String {
    value.map_or_else(|| "–".into(), number)
}

fn stages(scaling: &Scaling) -> Table {
    let axis = scaling.settings.axis;
    let last = if axis == Axis::Workers { "ops/s" } else { "fit" };
    let heads = [
        "operation",
        axis.many(),
        "count",
        "p50",
        "95 % CI",
        "p95",
        "p99",
        "mean",
        "request",
        "RTNL wait",
        "off CPU",
        "on CPU",
        last,
    ];
    let mut table = table(&heads, 1);
    for series in &scaling.series {
        let fit = series.growth.get("latency_p50_us");
        for (index, stage) in series.stages.iter().enumerate() {
            let name = if index == 0 { title(scaling, series) } else { String::new() };
            let last = match axis {
                Axis::Workers => number(stage.ops_per_s),
                Axis::Classes => optional(fit.map(|fit| fit.curve.at(stage.n))),
            };
            table.add_row(row(name, stage, last));
        }
    }
    table
}

fn row(name: String, stage: &Stage, last: String) -> Vec<Cell> {
    let latency = stage.latency_us;
    let kernel = |pick: fn(&Kernel) -> Option<f64>| right(optional(stage.kernel_us.as_ref().and_then(pick)));
    let interval =
        latency.p50_interval.map_or_else(|| "–".into(), |[a, b]| format!("{}–{}", number(a), number(b)));
    vec![
        Cell::new(name),
        right(format!("{:.0}", stage.n)),
        right(stage.operations),
        right(number(latency.p50)),
        right(interval),
        right(number(latency.p95)),
        right(number(latency.p99)),
        right(number(latency.mean)),
        kernel(|kernel| Some(kernel.request)),
        kernel(|kernel| kernel.rtnl_wait),
        kernel(|kernel| kernel.off_cpu),
        kernel(|kernel| kernel.on_cpu),
        right(last),
    ]
}

fn growth(scaling: &Scaling) -> Table {
    let heads = [
        "operation",
        "of",
        "law",
        "slope",
        "95 % CI",
        "rise",
        "foretells within",
        "next best",
        "resamples agree",
    ];
    let mut table = table(&heads, 3);
    for series in &scaling.series {
        for (metric, judgement) in &series.growth {
            let law = judgement.law.map_or_else(|| "inconclusive".to_owned(), |law| law.to_string());
            let bent = if judgement.bends { ", bends" } else { "" };
            let next = judgement
                .next_best
                .map_or_else(|| "–".into(), |other| format!("{} {}", other.law, percent(other.error)));
            let (slope, interval) = slope(scaling, metric, judgement);
            table.add_row(vec![
                Cell::new(title(scaling, series)),
                Cell::new(of(metric)),
                Cell::new(format!("{law}{bent}")),
                right(slope),
                right(interval),
                right(rise(judgement)),
                right(percent(judgement.error)),
                right(next),
                right(percent(judgement.agreement)),
            ]);
        }
    }
    table
}

fn of(metric: &str) -> &'static str {
    match metric {
        "latency_p50_us" => "p50",
        "latency_p99_us" => "p99",
        "latency_mean_us" => "mean",
        _ => "ops/s",
    }
}

/// From the smallest size to the largest.
fn rise(judgement: &Judgement) -> String {
    match judgement.relative_rise {
        _ if judgement.curve.law == Law::Constant => "–".into(),
        rise if rise.is_infinite() => "–".into(),
        rise if rise >= 0.0 => format!("× {}", number(1.0 + rise)),
        fall => format!("÷ {}", number(1.0 - fall)),
    }
}

fn percent(share: f64) -> String {
    let percent = share * 100.0;
    if percent >= 10.0 { format!("{percent:.0} %") } else { format!("{percent:.1} %") }
}

/// The slope with its unit, and its interval in the same one.
fn slope(scaling: &Scaling, metric: &str, judgement: &Judgement) -> (String, String) {
    let (curve, axis) = (&judgement.curve, scaling.settings.axis);
    if curve.law == Law::Constant {
        return ("–".into(), "–".into());
    }
    // Of a doubling, which is what a logarithm is about.
    let (per, words) = match curve.law {
        Law::Logarithmic => (std::f64::consts::LN_2, "a doubling".to_owned()),
        Law::Quadratic => (1e3, format!("a {} and 1,000 {}", axis.one(), axis.many())),
        Law::Linear | Law::Constant => (1.0, format!("a {}", axis.one())),
    };
    let (scale, unit) = unit(metric, curve.slope * per);
    let scale = scale * per;
    let beyond = curve.knee.map_or_else(String::new, |knee| {
        format!(", {} beyond {}", number(knee.slope_beyond * scale), whole(knee.at))
    });
    let [least, most] = judgement.slope_interval;
    (
        format!("{} {unit} {words}{beyond}", number(curve.slope * scale)),
        format!("{} to {}", number(least * scale), number(most * scale)),
    )
}

/// What a slope is shown in, and the factor to it from the metric's own unit.
pub(super) fn unit(metric: &str, slope: f64) -> (f64, &'static str) {
    /// µs. Below it is ns that people compare.
    const LARGE: f64 = 10.0;
    match metric {
        "ops_per_s" => (1.0, "ops/s"),
        _ if slope.abs() >= LARGE => (1.0, "µs"),
        _ => (1e3, "ns"),
    }
}

fn heading(scaling: &Scaling, series: &Series, functions: &Functions) -> String {
    format!(
        "Kernel functions that grow: {}, {:+.1} ns a {} on the CPU ({} samples at {} Hz)",
        title(scaling, series),
        functions.growth_ns,
        scaling.settings.axis.one(),
        functions.samples,
        functions.hz
    )
}

fn growing(scaling: &Scaling, functions: &Functions) -> Table {
    let one = scaling.settings.axis.one();
    let unit = format!("ns a {one}");
    let mut table =
        table(&["function", "called by", "of the growth", &unit, "µs, smallest", "µs, largest"], 2);
    let parts = [("with all that they call", &functions.path), ("their own time", &functions.own)];
    for (kind, list) in parts {
        table.add_row(vec![Cell::new(format!("{kind}:"))]);
        for growing in list {
            table.add_row(vec![
                Cell::new(format!("  {}", growing.function)),
                Cell::new(growing.caller.as_deref().unwrap_or("–")),
                right(format!("{:.0} %", growing.share * 100.0)),
                right(format!("{:+.1}", growing.growth_ns)),
                right(optional(growing.us.first().copied().flatten())),
                right(optional(growing.us.last().copied().flatten())),
            ]);
        }
    }
    table
}
