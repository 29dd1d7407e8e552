//! The measurement as a person reads it.

use std::fmt::Write as _;

use comfy_table::{Cell, CellAlignment, Table};

use super::model::{Axis, Functions, Scaling, Series, Stage};
use crate::report::terminal::table;
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
        let _ = writeln!(text, "\nGrowth\n{}", growth(scaling));
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
    let workers = scaling.settings.axis == Axis::Workers;
    let last = if workers { "ops/s" } else { "fit" };
    let mut table = table(
        &[
            "operation",
            scaling.settings.axis.many(),
            "count",
            "p50",
            "95 % CI",
            "p95",
            "p99",
            "request",
            "RTNL wait",
            "off CPU",
            "on CPU",
            last,
        ],
        1,
    );
    for series in &scaling.series {
        let fit = series.growth.get("latency_p50_us");
        for (index, stage) in series.stages.iter().enumerate() {
            let name = if index == 0 { title(scaling, series) } else { String::new() };
            let last = if workers {
                number(stage.ops_per_s)
            } else {
                optional(fit.map(|fit| fit.curve.at(stage.n)))
            };
            table.add_row(row(name, stage, last));
        }
    }
    table
}

fn row(name: String, stage: &Stage, last: String) -> Vec<Cell> {
    let latency = stage.latency_us;
    let kernel = stage.kernel_us;
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
        right(optional(kernel.map(|kernel| kernel.request))),
        right(optional(kernel.and_then(|kernel| kernel.rtnl_wait))),
        right(optional(kernel.and_then(|kernel| kernel.off_cpu))),
        right(optional(kernel.and_then(|kernel| kernel.on_cpu))),
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
                right(format!("{:+.0} %", judgement.relative_rise * 100.0)),
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
        _ => "ops/s",
    }
}

fn percent(share: f64) -> String {
    let percent = share * 100.0;
    if percent >= 10.0 { format!("{percent:.0} %") } else { format!("{percent:.1} %") }
}

/// The slope with its unit, and its interval in the same one.
fn slope(scaling: &Scaling, metric: &str, judgement: &Judgement) -> (String, String) {
    use crate::stats::growth::Law;
    let (scale, unit) = if metric == "ops_per_s" { (1.0, "ops/s") } else { (1e3, "ns") };
    let one = scaling.settings.axis.one();
    let (scale, unit) = match judgement.curve.law {
        Law::Constant => return ("–".into(), "–".into()),
        // Of a doubling, which is what a logarithm is about.
        Law::Logarithmic => (scale * std::f64::consts::LN_2, format!("{unit} a doubling")),
        Law::Linear => (scale, format!("{unit} a {one}")),
        Law::Quadratic => (scale * 1e3, format!("{unit} a {one} and 1,000 {}", scaling.settings.axis.many())),
    };
    let beyond = judgement.curve.knee.map_or_else(String::new, |knee| {
        format!(", {} beyond {:.0}", number(knee.slope_beyond * scale), knee.at)
    });
    let [least, most] = judgement.slope_interval;
    (
        format!("{} {unit}{beyond}", number(judgement.curve.slope * scale)),
        format!("{}–{}", number(least * scale), number(most * scale)),
    )
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
                right(optional(growing.us.first().copied())),
                right(optional(growing.us.last().copied())),
            ]);
        }
    }
    table
}
