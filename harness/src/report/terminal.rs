//! The report that a person reads at the end of a run.

use std::fmt::Write as _;

use comfy_table::presets::UTF8_HORIZONTAL_ONLY;
use comfy_table::{Cell, CellAlignment, Color, ContentArrangement, LineStyle, Table};

use super::model::{Judgement, Percentiles, RunResult, StageSettings, State};
use crate::attribution::Phase;
use crate::traffic::TrafficReport;

/// Renders a run. `color` is for terminals.
pub fn render(run: &RunResult, color: bool) -> String {
    let mut text = String::new();
    let environment = &run.environment;
    let _ = writeln!(
        text,
        "\nkernel {} on {} ({} cores{}), probes: {}",
        environment.kernel,
        environment.cpu.as_deref().unwrap_or("an unnamed CPU"),
        environment.cores,
        match environment.virtualised {
            Some(true) => ", virtualised",
            Some(false) => ", bare metal",
            None => "",
        },
        environment.probes.kind,
    );
    if let Some(profile) = &run.profile {
        let shortened =
            if profile.shortened { format!(", × {} in time", profile.time_scale) } else { String::new() };
        let tree = profile.tree.as_ref().map_or_else(String::new, |file| format!(", on {file}"));
        let _ = writeln!(text, "load profile: {}{tree}{shortened}", profile.name);
    }
    let _ = writeln!(
        text,
        "\nWhat callers saw (latency in µs; a closed loop's is blind to the requests that a stall held back)\n{}",
        callers(run)
    );
    if run.workloads.iter().any(|workload| workload.kernel_us.is_some()) {
        let _ = writeln!(
            text,
            "\nWhere the kernel spent it (µs, p50 / p95; {} = RTNL wait + off CPU + on CPU)\n{}",
            covered(run),
            kernel(run)
        );
    }
    if run.workloads.iter().any(|workload| workload.time_at.is_some()) {
        let _ = writeln!(
            text,
            "\nWhat a request is made of, end to end (µs; means of those that took about as long as the percentile)\n{}",
            phases(run)
        );
    }
    if let Some(traffic) = &run.traffic {
        text += &packets(traffic);
    }
    text += &judgements(run, color);
    for finding in &run.explanations {
        let _ = writeln!(text, "\n{finding}");
    }
    let _ = writeln!(text, "\nverdict: {}", run.verdict);
    text
}

/// What became of packets.
fn packets(traffic: &TrafficReport) -> String {
    let heads = ["", "sent", "received", "lost", "reordered", "duplicated", "loss", "p50", "p99"];
    let mut rows = table(&heads, 1);
    let of = |pick: fn(&Percentiles) -> f64| {
        right(traffic.latency_us.as_ref().map_or_else(|| "–".into(), |latency| micros(pick(latency))))
    };
    rows.add_row(vec![
        Cell::new(format!("{} streams of {}/s", traffic.streams.len(), traffic.rate_per_stream)),
        right(traffic.sent),
        right(traffic.received),
        right(traffic.lost),
        right(traffic.reordered),
        right(traffic.duplicated),
        right(traffic.loss_percent.map_or_else(|| "–".into(), |loss| format!("{} %", micros(loss)))),
        of(|latency| latency.p50),
        of(|latency| latency.p99),
    ]);
    let changes = traffic
        .class_changes
        .map_or_else(String::new, |changes| format!(", and theirs changed {changes} times"));
    let mut text = format!(
        "\nPackets through classes that stand while others come and go{changes} (latency in µs)\n{rows}\n"
    );
    let queued = traffic.queued_at_end.filter(|queued| *queued > 0);
    if let Some(queued) = queued {
        let _ = writeln!(
            text,
            "{queued} of those that did not come waited in the device's queues at the end, and are no loss"
        );
    }
    for because in [&traffic.inconclusive_because, &traffic.sent_less()].into_iter().flatten() {
        let _ = writeln!(text, "traffic: {because}");
    }
    text
}

/// Only the targets, and the verdict.
pub fn verdict(run: &RunResult, color: bool) -> String {
    format!("{}\nverdict: {}\n", judgements(run, color), run.verdict)
}

fn judgements(run: &RunResult, color: bool) -> String {
    let mut text = format!("\nTargets\n{}\n", targets(&run.budget, color));
    for left_out in &run.not_judged {
        let _ = writeln!(text, "not judged: {} ({})", left_out.metric, left_out.reason);
    }
    text
}

/// An empty table whose first `left` columns are text and whose others are numbers.
pub(crate) fn table(header: &[&str], left: usize) -> Table {
    let mut table = Table::new();
    table
        .load_style(UTF8_HORIZONTAL_ONLY.row_separator(LineStyle::none()))
        .set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(header.iter().enumerate().map(|(column, name)| {
        let alignment = if column < left { CellAlignment::Left } else { CellAlignment::Right };
        Cell::new(name).set_alignment(alignment)
    }));
    table
}

pub(crate) fn right(text: impl std::fmt::Display) -> Cell {
    Cell::new(text).set_alignment(CellAlignment::Right)
}

fn callers(run: &RunResult) -> Table {
    let mut table =
        table(&["workload", "load", "operation", "count", "ops/s", "worst s", "p50", "p95", "p99", "max"], 1);
    for workload in &run.workloads {
        let load = match (workload.rate, &workload.stage) {
            (_, Some(stage)) => stage_load(stage),
            (Some(rate), None) => format!("open, {rate}/s"),
            (None, None) => format!("closed, {} workers", workload.workers),
        };
        let errors: u64 = workload.errors.iter().map(|error| error.count).sum();
        let throughput = workload.throughput_ops_per_s;
        let mut row = vec![
            Cell::new(workload.stage.as_ref().map_or(&workload.name, |stage| &stage.name)),
            right(load),
            right("all"),
            right(workload.operations),
            right(number(throughput.mean)),
            right(number(throughput.worst_second)),
        ];
        row.extend(latency(workload.latency_all_us.as_ref()));
        table.add_row(row);
        for (operation, figures) in &workload.latency_us {
            let mut row =
                vec![Cell::new(""), right(""), right(operation), right(figures.count), right(""), right("")];
            row.extend(latency(Some(figures)));
            table.add_row(row);
        }
        if errors > 0 {
            table.add_row(vec![Cell::new(""), right(""), right("errors"), right(errors)]);
        }
    }
    table
}

/// From one value to another, or the one value.
pub(crate) fn range([from, to]: [f64; 2]) -> String {
    if from.total_cmp(&to).is_eq() { format!("{from}") } else { format!("{from} to {to}") }
}

fn stage_load(stage: &StageSettings) -> String {
    match stage.rate {
        Some(rate) => {
            let bursts = stage.burst.map(|burst| format!(" in bursts of {burst}")).unwrap_or_default();
            format!("open, {}/s{bursts}", range(rate))
        }
        None => format!("closed, {} users", range(stage.users)),
    }
}

fn latency(figures: Option<&Percentiles>) -> Vec<Cell> {
    let value =
        |pick: fn(&Percentiles) -> f64| right(figures.map_or_else(|| "–".into(), |f| micros(pick(f))));
    vec![value(|f| f.p50), value(|f| f.p95), value(|f| f.p99), value(|f| f.max)]
}

/// What the probes took for a request.
fn covered(run: &RunResult) -> &'static str {
    let mut messages = run.workloads.iter().flat_map(|workload| workload.kernel_us.iter().flatten());
    if messages.any(|(_, phases)| phases.syscall.is_some()) { "system call" } else { "whole message" }
}

fn kernel(run: &RunResult) -> Table {
    let mut messages = run.workloads.iter().flat_map(|workload| workload.kernel_us.iter().flatten());
    let in_parts = messages.any(|(_, phases)| phases.handler.is_some());
    let mut heads = vec!["workload", "message", "count", covered(run), "RTNL wait", "off CPU", "on CPU"];
    if in_parts {
        heads.extend(["handler", "RTNL held", "RCU"]);
    }
    let mut table = table(&heads, 1);
    for workload in &run.workloads {
        for (message, phases) in workload.kernel_us.iter().flatten() {
            let pair = |figures: &Percentiles| format!("{} / {}", micros(figures.p50), micros(figures.p95));
            let both =
                |figures: Option<&Percentiles>| right(figures.map_or_else(|| "not measured".into(), pair));
            let mut row = vec![
                Cell::new(workload.title()),
                right(message),
                right(phases.request.count),
                both(Some(&phases.request)),
                both(phases.rtnl_wait.as_ref()),
                both(phases.off_cpu.as_ref()),
                both(phases.on_cpu.as_ref()),
            ];
            if in_parts {
                row.extend([both(phases.handler.as_ref()), both(phases.rtnl_hold.as_ref())]);
                row.push(right(phases.rcu.as_ref().map_or_else(|| "–".into(), pair)));
            }
            table.add_row(row);
        }
    }
    table
}

/// Percentiles of which the phases are shown.
const SHOWN_PERCENTILES: [&str; 3] = ["p50", "p95", "p99"];

fn phases(run: &RunResult) -> Table {
    let mut heads = vec!["workload", "of latency", "mostly"];
    heads.extend(["lag", "encode", "queue", "entry", "RTNL wait", "on CPU", "off CPU", "reply", "rest"]);
    let mut table = table(&heads, 1);
    for workload in &run.workloads {
        let mut name = workload.title();
        for percentile in SHOWN_PERCENTILES {
            let Some(time) = workload.time_at.as_ref().and_then(|times| times.get(percentile)) else {
                continue;
            };
            let mut row = vec![
                Cell::new(std::mem::take(&mut name)),
                right(format!("{percentile} {}", micros(time.latency_us))),
                right(&time.operation),
            ];
            let phase = |phase| time.phases_us.get(&phase).map_or_else(|| "–".into(), |spent| micros(*spent));
            row.extend(Phase::ALL.map(|which| right(phase(which))));
            row.push(right(micros(time.unattributed_us)));
            table.add_row(row);
        }
    }
    table
}

/// One row a target: where it was judged in several workloads, the one that stands worst.
fn targets(judgements: &[Judgement], color: bool) -> Table {
    let mut table = table(&["target", "limit", "value", "in", "state"], 1);
    for judgement in worst_of_each(judgements) {
        let state = Cell::new(judgement.state).set_alignment(CellAlignment::Right);
        let state = match (color, judgement.state) {
            (true, State::Pass) => state.fg(Color::Green),
            (true, State::Critical) => state.fg(Color::Red),
            (true, State::Warning | State::Inconclusive) => state.fg(Color::Yellow),
            (false, _) => state,
        };
        table.add_row(vec![
            Cell::new(&judgement.metric),
            right(format!("{} {}", judgement.comparison, judgement.limit)),
            right(number(judgement.value)),
            right(place(judgement)),
            state,
        ]);
    }
    table
}

fn worst_of_each(judgements: &[Judgement]) -> Vec<&Judgement> {
    let severity = |judgement: &Judgement| match judgement.state {
        State::Critical => 3,
        State::Inconclusive => 2,
        State::Warning => 1,
        State::Pass => 0,
    };
    let mut worst: Vec<&Judgement> = Vec::new();
    for judgement in judgements {
        let same = |other: &&mut &Judgement| {
            let key = |of: &Judgement| {
                let numbers = [of.limit].into_iter().chain(of.warning_at).chain(of.critical_at);
                (
                    of.metric.clone(),
                    of.comparison.clone(),
                    of.operation.clone(),
                    of.rule.clone(),
                    numbers.map(f64::to_bits).collect::<Vec<_>>(),
                )
            };
            key(other) == key(judgement)
        };
        match worst.iter_mut().find(same) {
            None => worst.push(judgement),
            Some(other) => {
                let closer = match (judgement.value, other.value) {
                    (Some(value), Some(best)) if judgement.comparison.starts_with('>') => value < best,
                    (Some(value), Some(best)) => value > best,
                    _ => false,
                };
                if severity(judgement) > severity(other) || severity(judgement) == severity(other) && closer {
                    *other = judgement;
                }
            }
        }
    }
    worst
}

/// One line for each target that does not hold or could not be judged.
pub fn violations(run: &RunResult) -> Vec<String> {
    let incomplete = run.incomplete().map(|reason| format!("inconclusive: {reason}"));
    let judged = run.budget.iter().filter(|judgement| judgement.state != State::Pass).map(|judgement| {
        let value = number(judgement.value);
        let reason = judgement.reason.as_ref().map_or_else(String::new, |reason| format!(" ({reason})"));
        format!(
            "{}: {} in {} is {value}, must be {} {}{}{reason}",
            judgement.state,
            judgement.metric,
            place(judgement),
            judgement.comparison,
            judgement.limit,
            levels(judgement)
        )
    });
    judged.chain(incomplete).collect()
}

/// Where it was judged.
pub(crate) fn place(judgement: &Judgement) -> String {
    match &judgement.operation {
        Some(operation) => format!("{}, {operation}", judgement.workload),
        None => judgement.workload.clone(),
    }
}

/// Where the levels lie that are not the limit, and whose alert it is.
fn levels(judgement: &Judgement) -> String {
    let side = if judgement.comparison.starts_with('>') { "below" } else { "above" };
    let level = |name: &str, at: Option<f64>| at.map(|at| format!("{name} {side} {at}"));
    let levels = [level("warning", judgement.warning_at), level("critical", judgement.critical_at)];
    let mut text = levels.into_iter().flatten().collect::<Vec<_>>().join(", ");
    if let (Some(action), Some(rule)) = (judgement.action, &judgement.rule) {
        // What an alert does says at which level it fires.
        text = format!("alert \"{rule}\": {action}");
    }
    if text.is_empty() { text } else { format!(" [{text}]") }
}

fn number(value: Option<f64>) -> String {
    match value {
        None => "not measured".into(),
        Some(value) if value.fract() == 0.0 || value.abs() >= 1_000.0 => format!("{value:.0}"),
        Some(value) => micros(value),
    }
}

/// Three digits or so, which is what was measured.
pub(crate) fn micros(value: f64) -> String {
    if value < 0.005 {
        "0".into()
    } else if value < 10.0 {
        format!("{value:.2}")
    } else if value < 100.0 {
        format!("{value:.1}")
    } else {
        format!("{value:.0}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::budget::Action;
    use crate::report::model::fixtures;

    #[test]
    fn packets_are_told_with_what_is_not_known_of_them() {
        let mut run = fixtures::run();
        assert!(!render(&run, false).contains("Packets through classes"));
        run.traffic = Some(fixtures::traffic());
        let text = render(&run, false);
        for part in ["100000", "0 %", "theirs changed 400 times", "30.0", "120"] {
            assert!(text.contains(part), "{part}: {text}");
        }
        let because = "the receiver had no room for 5 packets";
        run.traffic = Some(TrafficReport {
            loss_percent: None,
            inconclusive_because: Some(because.into()),
            rate_held_percent: Some(40.0),
            queued_at_end: Some(7),
            latency_us: None,
            ..fixtures::traffic()
        });
        let text = render(&run, false);
        for part in [because, "only 40 %", "7 of those that did not come waited", "–"] {
            assert!(text.contains(part), "{part}: {text}");
        }
    }

    #[test]
    fn a_violation_names_metric_limit_and_value() {
        let mut run = fixtures::run();
        run.budget =
            vec![fixtures::judgement("latency_p95_us", "lifecycle (open)", Some(97.34), State::Critical)];
        let expected = "critical: latency_p95_us in lifecycle (open) is 97.3, must be < 1";
        assert_eq!(violations(&run), [expected]);
        assert!(render(&run, false).contains("97.3"));
    }

    #[test]
    fn levels_and_alerts_are_named() {
        let mut run = fixtures::run();
        let judgement = Judgement {
            comparison: ">=".into(),
            limit: 1_000.0,
            warning_at: Some(900.0),
            critical_at: Some(800.0),
            operation: Some("class-create".into()),
            ..fixtures::judgement(
                "throughput_mean_ops_per_s",
                "lifecycle (closed)",
                Some(850.0),
                State::Warning,
            )
        };
        let alert = Judgement {
            rule: Some("p95 above 12 ms".into()),
            action: Some(Action::Block),
            limit: 12_000.0,
            comparison: "<=".into(),
            ..fixtures::judgement("latency_p95_us", "lifecycle (open)", Some(13_000.0), State::Critical)
        };
        run.budget = vec![judgement, alert];
        assert_eq!(
            violations(&run),
            [
                "warning: throughput_mean_ops_per_s in lifecycle (closed), class-create is 850, must be >= 1000 [warning below 900, critical below 800]",
                "critical: latency_p95_us in lifecycle (open) is 13000, must be <= 12000 [alert \"p95 above 12 ms\": block]",
            ]
        );
    }

    #[test]
    fn of_several_workloads_the_worst_one_is_shown() {
        let judged = |workload: &str, value, state| Judgement {
            comparison: ">".into(),
            limit: 1_000.0,
            ..fixtures::judgement("throughput_mean_ops_per_s", workload, value, state)
        };
        let judgements = [
            judged("a", Some(5_000.0), State::Pass),
            judged("b", Some(2_000.0), State::Pass),
            judged("c", None, State::Inconclusive),
        ];
        assert_eq!(worst_of_each(&judgements)[0].workload, "c");
        assert_eq!(worst_of_each(&judgements[..2])[0].workload, "b");
        assert_eq!(worst_of_each(&judgements).len(), 1);
    }

    #[test]
    fn what_was_not_measured_is_not_shown_as_a_number() {
        assert_eq!(number(None), "not measured");
        let mut run = fixtures::run();
        run.workloads[0].kernel_us = None;
        assert!(!render(&run, false).contains("RTNL wait"));
    }
}
