//! Two sides from runs to the verdict, the table and the exit code.

use proptest::prelude::*;

use super::*;
use crate::exit::Exit;
use crate::report::model::{ErrorCount, RunResult, fixtures};

const NOISE: [f64; 10] = [1.0, 1.03, 0.98, 1.01, 0.99, 1.04, 0.97, 1.02, 1.005, 1.015];

/// A run a minute, each with this latency and its other figures as ever.
fn runs(latencies: &[f64], first_minute: usize, step: usize) -> Vec<RunResult> {
    let run = |(at, &latency): (usize, &f64)| {
        let mut run = fixtures::run();
        let minute = first_minute + at * step;
        run.run_id = format!("run-{minute:02}");
        run.started_at = format!("2026-11-23T12:{minute:02}:00Z");
        let workload = &mut run.workloads[0];
        workload.latency_all_us = Some(fixtures::percentiles(latency, 20_000));
        workload.throughput_ops_per_s.mean = Some(8_000.0 * NOISE[at % NOISE.len()]);
        workload.resources.peak_rss_bytes = Some(20_000_000 + 4_096 * ((at as u64 * 7) % 5));
        run
    };
    latencies.iter().enumerate().map(run).collect()
}

fn around(level: f64, count: usize) -> Vec<f64> {
    NOISE.iter().cycle().take(count).map(|noise| level * noise).collect()
}

fn side(name: &str, runs: Vec<RunResult>) -> Side {
    Side { name: name.to_owned(), runs: Runs::Saved(runs) }
}

/// In turns, as ABAB.
fn compared(before: &[f64], after: &[f64], options: &Options) -> Comparison {
    compare(side("before", runs(before, 0, 2)), side("after", runs(after, 1, 2)), options).unwrap()
}

fn usual(before: &[f64], after: &[f64]) -> Comparison {
    compared(before, after, &Options::default())
}

fn exits(comparison: &Comparison) -> [Exit; 2] {
    [exit(comparison, false), exit(comparison, true)]
}

#[test]
fn what_is_slower_beyond_doubt_is_a_regression_that_fails_where_asked() {
    let slower = usual(&around(100.0, 10), &around(130.0, 10));
    assert_eq!(
        (slower.verdict, slower.severity, slower.alarm),
        (Verdict::Regression, Severity::Critical, true)
    );
    assert_eq!(exits(&slower), [Exit::Pass, Exit::Regression]);
    assert!(slower.in_turns && slower.doubts.is_empty(), "{slower:?}");
    let latencies = slower.rows.iter().filter(|row| row.metric.starts_with("latency"));
    for row in latencies {
        assert!(row.holds_among_all && row.p_adjusted >= row.p, "{row:?}");
    }
    let faster = usual(&around(130.0, 10), &around(100.0, 10));
    assert_eq!((faster.verdict, exits(&faster)), (Verdict::Improvement, [Exit::Pass; 2]));
    let same = usual(&around(100.0, 10), &around(100.0, 10));
    assert_eq!((same.verdict, exits(&same)), (Verdict::NoChange, [Exit::Pass; 2]));
}

#[test]
fn below_its_threshold_a_regression_is_no_alarm_unless_the_threshold_is_lower() {
    let (before, after) = (around(100.0, 10), around(106.0, 10));
    let slower = usual(&before, &after);
    assert_eq!((slower.verdict, slower.severity, slower.alarm), (Verdict::Regression, Severity::None, false));
    assert_eq!(exits(&slower), [Exit::Pass; 2]);
    assert!(
        table::render(&slower, false).contains("verdict: regression (below the thresholds): latency_p50_us")
    );
    let strict = compared(&before, &after, &Options { threshold: Some(0.03), ..Options::default() });
    assert_eq!((strict.severity, strict.alarm), (Severity::Warning, true));
    assert_eq!(exits(&strict)[1], Exit::Regression);
}

/// By itself one of twenty rows differs by chance.
#[test]
fn what_differs_alone_is_no_regression_of_the_whole() {
    // The least two of each are exchanged: p is some 0.03.
    let before = [100.0, 101.0, 102.0, 103.0, 104.0, 105.0, 106.0, 111.0, 112.0, 107.5];
    let after = [107.0, 108.0, 109.0, 110.0, 103.5, 104.5, 113.0, 114.0, 115.0, 108.5];
    let one = compared(&before, &after, &named("latency_p50_us"));
    assert_eq!(one.verdict, Verdict::Regression, "{:?}", one.rows[0]);
    let several = usual(&before, &after);
    assert_eq!((several.verdict, several.notes.len()), (Verdict::NoChange, 1), "{several:?}");
    assert_eq!(several.rows[0].verdict, Verdict::Regression);
    assert!(!several.rows[0].holds_among_all && several.rows[0].p_adjusted > several.rows[0].p);
    assert!(table::render(&several, false).contains("regression?"));
    // Where it would matter it is a doubt.
    let matters = Options { threshold: Some(0.01), ..Options::default() };
    let several = compared(&before, &after, &matters);
    assert_eq!((several.verdict, exits(&several)[1]), (Verdict::Inconclusive, Exit::Inconclusive));
}

fn named(name: &str) -> Options {
    Options { selection: Selection::Named(vec![name.to_owned()]), ..Options::default() }
}

/// With four runs a side no row of five can be sure, however slow.
#[test]
fn too_few_runs_for_so_many_rows_are_a_doubt_with_advice() {
    let four = usual(&around(100.0, 4), &around(300.0, 4));
    assert_eq!((four.verdict, four.alarm), (Verdict::Inconclusive, false));
    assert!(
        four.doubts[0].ends_with("measure 5 a side or more, or compare fewer metrics"),
        "{:?}",
        four.doubts
    );
    let one = compared(&around(100.0, 4), &around(300.0, 4), &named("latency_p50_us"));
    assert_eq!((one.verdict, one.alarm), (Verdict::Regression, true));
    assert_eq!(usual(&around(100.0, 5), &around(300.0, 5)).verdict, Verdict::Regression);
}

/// Of values that are all the same none can alarm: errors that never come do not cost the others anything.
#[test]
fn rows_that_cannot_alarm_do_not_count() {
    let slower = usual(&around(100.0, 10), &around(130.0, 10));
    let errors = slower.rows.iter().find(|row| row.metric == "error_rate_percent").unwrap();
    assert_eq!((errors.verdict, errors.p_adjusted), (Verdict::NoChange, Some(1.0)));
    let least = slower.rows.iter().filter_map(|row| row.p_adjusted).fold(1.0, f64::min);
    let p = slower.rows.iter().filter_map(|row| row.p).fold(1.0, f64::min);
    assert!((least - p * 5.0).abs() < 1e-12, "five of six count: {p} and {least}");
}

#[test]
fn one_run_a_side_is_inconclusive_and_its_change_is_shown() {
    let one = usual(&[100.0], &[150.0]);
    assert_eq!((one.verdict, exits(&one)), (Verdict::Inconclusive, [Exit::Pass, Exit::Inconclusive]));
    let text = table::render(&one, false);
    for part in ["+50.0 %", "one run a side", "verdict: inconclusive"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let run = runs(&[100.0], 0, 1);
    let itself = compare(side("x", run.clone()), side("x", run), &Options::default()).unwrap();
    assert_eq!(itself.verdict, Verdict::NoChange, "{itself:?}");
    assert_eq!(itself.notes, ["both sides are the same runs"]);
}

#[test]
fn a_metric_that_a_run_lacks_is_named_and_hides_no_regression() {
    let (before, mut after) = (runs(&around(100.0, 10), 0, 2), runs(&around(100.0, 10), 1, 2));
    after[4].workloads[0].resources.peak_rss_bytes = None;
    let of = |after: Vec<RunResult>| {
        compare(side("before", before.clone()), side("after", after), &Options::default()).unwrap()
    };
    let gap = of(after.clone());
    assert_eq!(gap.verdict, Verdict::Inconclusive);
    assert_eq!(gap.doubts, ["it cannot be told of peak_rss_bytes of htb-class (closed)"]);
    let text = table::render(&gap, false);
    assert!(text.contains("not measured in 1 of B's 10 runs") && !text.contains("doubt:"), "{text}");
    for run in &mut after {
        run.workloads[0].latency_all_us = run.workloads[0]
            .latency_all_us
            .map(|latency| fixtures::percentiles(latency.p50 * 1.5, latency.count));
    }
    let slower = of(after);
    assert_eq!((slower.verdict, slower.doubts.len()), (Verdict::Regression, 1));
    assert_eq!(exits(&slower)[1], Exit::Regression);
}

/// A regression that is too small to matter does not let pass what cannot be told.
#[test]
fn what_cannot_be_told_fails_beside_a_small_regression() {
    let (before, mut after) = (runs(&around(100.0, 10), 0, 2), runs(&around(106.0, 10), 1, 2));
    after[0].workloads[0].resources.peak_rss_bytes = None;
    let both = compare(side("before", before), side("after", after), &Options::default()).unwrap();
    assert_eq!((both.verdict, exits(&both)[1]), (Verdict::Regression, Exit::Inconclusive));
}

type Change = fn(&mut RunResult);

#[test]
fn unequal_environments_are_refused_and_by_force_have_no_verdict() {
    let changes: [(&str, Change); 3] = [
        ("kernel: 6.18.0 and 6.1.0", |run| run.environment.kernel = "6.1.0".into()),
        ("devices: 10 and 11", |run| run.settings.devices = 11),
        ("workers of htb-class (closed): 8 and 9", |run| run.workloads[0].workers = 9),
    ];
    for (words, change) in changes {
        let (before, mut after) = (runs(&around(100.0, 10), 0, 2), runs(&around(200.0, 10), 1, 2));
        change(&mut after[7]);
        let of = |force| {
            let options = Options { force, ..Options::default() };
            compare(side("before", before.clone()), side("after", after.clone()), &options)
        };
        let refusal = of(false).unwrap_err();
        assert_eq!(refusal, Refusal::Unequal(vec![words.to_owned()]));
        assert!(!refusal.to_string().contains('\n') && refusal.to_string().contains(words));
        let forced = of(true).unwrap();
        assert_eq!((forced.verdict, forced.alarm), (Verdict::Inconclusive, false));
        assert_eq!(exits(&forced)[1], Exit::Inconclusive);
        for text in [table::render(&forced, false), markdown::render(&forced)] {
            assert!(text.contains("UNEQUAL ENVIRONMENTS") && text.contains("compared by force: "), "{text}");
        }
    }
    let (before, mut after) = (runs(&around(100.0, 10), 0, 2), runs(&around(100.0, 10), 1, 2));
    after[0].qdiscope_version = "9.9.9".into();
    let versions = compare(side("before", before), side("after", after), &Options::default()).unwrap();
    assert_eq!((versions.verdict, versions.candidate.versions.len()), (Verdict::NoChange, 2));
}

#[test]
fn what_is_not_whole_is_left_out_and_said() {
    let (before, mut after) = (runs(&around(100.0, 10), 0, 2), runs(&around(100.0, 10), 1, 2));
    after[9].interrupted = true;
    let fewer = compare(side("before", before.clone()), side("after", after.clone()), &Options::default());
    let fewer = fewer.unwrap();
    assert_eq!((fewer.candidate.runs.len(), fewer.verdict), (9, Verdict::NoChange));
    assert_eq!(fewer.notes, ["left out of B: run-19: the run was interrupted"]);
    let mut copied = before.clone();
    copied.push(before[3].clone());
    let copied =
        compare(side("before", before.clone()), side("copied", copied), &Options::default()).unwrap();
    assert_eq!((copied.candidate.runs.len(), copied.verdict), (10, Verdict::NoChange));
    assert!(copied.notes.contains(&"left out of B: run-06: it is there twice".to_owned()), "{copied:?}");
    for run in &mut after {
        run.interrupted = true;
    }
    let none = compare(side("before", before), side("after", after), &Options::default()).unwrap_err();
    assert!(none.to_string().starts_with("after: no run that is whole (run-01: the run was interrupted; "));
}

#[test]
fn one_side_after_the_other_is_told() {
    let (before, after) = (runs(&around(100.0, 10), 0, 1), runs(&around(100.0, 10), 20, 1));
    let apart = compare(side("before", before), side("after", after), &Options::default()).unwrap();
    assert!(!apart.in_turns && table::render(&apart, false).contains("not measured in turns"));
}

#[test]
fn runs_may_come_in_any_order() {
    let rising: Vec<f64> = (0..10_u8).map(|at| 100.0 + f64::from(at)).collect();
    let shuffled = |mut runs: Vec<RunResult>| {
        runs.reverse();
        runs.swap(2, 7);
        runs
    };
    let of =
        |before, after| compare(side("before", before), side("after", after), &Options::default()).unwrap();
    let later: Vec<f64> = rising.iter().map(|value| value + 10.0).collect();
    let (before, after) = (runs(&rising, 0, 1), runs(&later, 10, 1));
    let drift = of(before.clone(), after.clone());
    assert!(drift.rows[0].reason.as_ref().is_some_and(|reason| reason.contains("drift")), "{drift:?}");
    assert_eq!(of(shuffled(before), shuffled(after)), drift);
}

#[test]
fn an_alarm_stands_only_where_fresh_runs_alarm_alone() {
    let slower = || usual(&around(100.0, 10), &around(130.0, 10));
    let same = || usual(&around(100.0, 10), &around(100.0, 10));
    let stands = confirmed(slower(), slower());
    assert_eq!((stands.verdict, stands.alarm), (Verdict::Regression, true));
    assert_eq!(exits(&stands)[1], Exit::Regression);
    let text = table::render(&stands, false);
    assert!(
        text.contains("The same again with fresh runs")
            && text.ends_with("latency_p99_us of htb-class (closed)\n"),
        "{text}"
    );

    let chance = confirmed(slower(), same());
    assert_eq!((chance.verdict, chance.alarm, chance.severity), (Verdict::NoChange, false, Severity::None));
    assert_eq!(exits(&chance), [Exit::Pass; 2]);
    assert!(chance.confirmation.is_some() && chance.rows[0].verdict == Verdict::Regression);
    assert!(table::render(&chance, false).ends_with("\nverdict: no-change\n"));

    let mut failing = runs(&around(100.0, 10), 1, 2);
    for (run, count) in failing.iter_mut().zip(500..) {
        run.workloads[0].errors = vec![ErrorCount { errno: Some(17), text: "File exists".into(), count }];
    }
    let other =
        compare(side("a", runs(&around(100.0, 10), 0, 2)), side("b", failing), &Options::default()).unwrap();
    assert!(other.alarm, "{other:?}");
    let apart = confirmed(slower(), other);
    assert_eq!(
        (apart.verdict, apart.alarm, exits(&apart)[1]),
        (Verdict::Inconclusive, false, Exit::Inconclusive)
    );
}

#[test]
fn an_interruption_is_how_it_ends() {
    let unconfirmed = unconfirmed(usual(&around(100.0, 10), &around(130.0, 10)));
    assert_eq!((unconfirmed.verdict, unconfirmed.alarm), (Verdict::Inconclusive, false));
    assert_eq!(exits(&unconfirmed), [Exit::Interrupted; 2]);
    let mut slower = usual(&around(100.0, 10), &around(130.0, 10));
    slower.interrupted = true;
    assert_eq!(exits(&slower), [Exit::Interrupted; 2]);
}

fn execution(at: usize, wall_time_us: f64) -> Execution {
    Execution {
        schema_version: EXECUTION_VERSION,
        id: at.to_string(),
        command: "sleep 1".into(),
        started_at: format!("2026-11-23T12:{at:02}:00Z"),
        kernel: "6.18.0".into(),
        cpu: None,
        cores: 2,
        wall_time_us,
        cpu_time_us: 900.0,
        peak_rss_bytes: 1_000_000,
    }
}

#[test]
fn any_two_commands_are_compared_by_what_they_take() {
    let of = |level, first| {
        let all = around(level, 10).into_iter().enumerate();
        Runs::Commands(all.map(|(at, wall)| execution(first + 2 * at, wall)).collect())
    };
    let commands = |runs| Side { name: "sleep".into(), runs };
    let all = compare(commands(of(20e3, 0)), commands(of(30e3, 1)), &Options::default()).unwrap();
    assert_eq!((all.verdict, all.rows.len()), (Verdict::Regression, 3));
    assert_eq!(
        table::render(&all, false).lines().last(),
        Some("verdict: regression (critical): wall_time_us of command")
    );
    let one = compare(commands(of(20e3, 0)), commands(of(30e3, 1)), &named("latency_p95_us")).unwrap();
    assert_eq!((one.verdict, one.rows[0].unit.as_str()), (Verdict::Inconclusive, "µs"));
    let mixed = compare(commands(of(20e3, 0)), side("runs", runs(&[1.0], 0, 1)), &Options::default());
    assert_eq!(mixed.unwrap_err(), Refusal::Mixed);
    let Runs::Commands(mut other) = of(20e3, 1) else { unreachable!() };
    other[3].cores = 4;
    let refused = compare(commands(of(20e3, 0)), commands(Runs::Commands(other)), &Options::default());
    assert_eq!(refused.unwrap_err(), Refusal::Unequal(vec!["cores: 2 and 4".to_owned()]));
}

#[test]
fn a_document_reads_back() {
    let slower = usual(&around(100.0, 10), &around(130.0, 10));
    let all = confirmed(slower.clone(), slower);
    let text = serde_json::to_string(&all).unwrap();
    let read: Comparison = serde_json::from_str(&text).unwrap();
    // Digits may be lost on the way, beyond those that mean anything.
    let said = |of: &Comparison| {
        let rows: Vec<_> =
            of.rows.iter().map(|row| (row.metric.clone(), row.verdict, row.severity)).collect();
        (of.verdict, of.alarm, of.baseline.clone(), of.notes.clone(), rows)
    };
    assert_eq!(said(&read), said(&all));
    assert_eq!(read.confirmation.as_deref().map(said), all.confirmation.as_deref().map(said));
    assert!(text.contains("\"no-change\"") && text.contains("\"critical\""));
}

#[test]
fn markdown_has_a_row_for_each_metric_and_no_text_breaks_it() {
    let runs = |first| runs(&around(100.0, 10), first, 2);
    let sides = [side("sh -c 'a | b' <c>", runs(0)), side("*", runs(1))];
    let [before, after] = sides;
    let text = markdown::render(&compare(before, after, &Options::default()).unwrap());
    assert!(text.starts_with("### qdiscope compare: no-change\n"), "{text}");
    assert!(text.contains("sh -c 'a \\| b' &lt;c&gt;"), "{text}");
    let table = text.lines().filter(|line| line.starts_with('|'));
    assert!(table.clone().all(|line| line.replace("\\|", "").matches('|').count() == 10), "{text}");
    assert_eq!(table.count(), 2 + 6);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Exchanging the sides turns what each row says around, and no alarm is without its parts.
    #[test]
    fn the_parts_of_a_verdict_agree(
        before in prop::collection::vec(90.0..110.0_f64, 4..9),
        after in prop::collection::vec(90.0..150.0_f64, 4..9),
    ) {
        let (there, back) = (usual(&before, &after), usual(&after, &before));
        for (one, other) in there.rows.iter().zip(&back.rows) {
            let turned = match one.verdict {
                Verdict::Regression => Verdict::Improvement,
                Verdict::Improvement => Verdict::Regression,
                verdict => verdict,
            };
            prop_assert_eq!(other.verdict, turned);
            prop_assert!(one.p_adjusted >= one.p, "{:?}", one);
        }
        let alarms = there.rows.iter().filter(|row| verdict::is_alarm(row)).count();
        prop_assert_eq!(there.alarm, alarms > 0);
        for row in there.rows.iter().filter(|row| verdict::is_alarm(row)) {
            let [least, most] = row.interval_percent.unwrap();
            prop_assert!(least * most > 0.0 && row.effect.unwrap() * least > 0.0, "{:?}", row);
        }
        prop_assert!(!(there.alarm && back.alarm && there.rows[0].verdict == back.rows[0].verdict));
    }
}
