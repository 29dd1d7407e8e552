//! The verdict on a canary. Pure.

use super::model::{Block, CanaryReport, Flow, Ratio, Restoration, Rollout, Side};
use crate::gate::change::{Thresholds, judge};
use crate::gate::model::Check;
use crate::report::model::Percentiles;
use crate::report::sheet::{Verdict, number};
use crate::stats::enough::trials_need;
use crate::stats::order::{ascending, median_interval, quantile};

const GROUP: &str = "canary";

/// The interval's confidence, which six pairs have with their whole range.
const CONFIDENCE: f64 = 0.95;

fn check(name: &str, verdict: Verdict, detail: impl Into<String>) -> Check {
    Check::new(GROUP, name, verdict, detail)
}

/// The change itself: taken or refused, and what packets saw of it.
pub(super) fn rollout(rollout: &Rollout) -> Vec<Check> {
    let mut checks = vec![match (&rollout.refused, rollout.steps) {
        (Some(refused), _) => check("rollout", Verdict::Critical, format!("refused: {refused}")),
        (None, Some(steps)) => {
            check("rollout", Verdict::Pass, format!("{steps} changes in {} ms", number(rollout.apply_ms)))
        }
        (None, None) => check("rollout", Verdict::Inconclusive, "not carried out"),
    }];
    for (name, flow) in [
        ("packets during the rollout", &rollout.canary),
        ("packets on the control meanwhile", &rollout.control),
    ] {
        let verdict = match flow.loss_percent {
            Some(loss) if enough(flow.sent) => judge(loss, Thresholds::LOSS_POINTS, Some(true)),
            _ => Verdict::Inconclusive,
        };
        checks.push(check(name, verdict, format!("{}{}", packets(flow), too_few(flow.sent))));
    }
    checks
}

/// Packets that it takes to tell none lost from the least share that is too much: 3 divided by it (Hanley and Lippman-Hand, If nothing goes
/// wrong, is everything all right?, 1983).
pub(super) fn packets_needed() -> u64 {
    trials_need(Thresholds::LOSS_POINTS.warning / 100.0).unwrap_or(u64::MAX)
}

fn enough(sent: u64) -> bool {
    sent >= packets_needed()
}

fn too_few(sent: u64) -> String {
    let needed = packets_needed();
    let lack = || {
        format!(
            "; {sent} are too few to tell it from {} %: it needs {needed}",
            Thresholds::LOSS_POINTS.warning
        )
    };
    if enough(sent) { String::new() } else { lack() }
}

/// The new tree was taken as a change of the old one, and not where there is nothing.
pub(super) fn refused(why: &str) -> Check {
    check("building it where there is nothing", Verdict::Critical, format!("refused: {why}"))
}

/// Packets in words.
fn packets(flow: &Flow) -> String {
    let loss = match (flow.loss_percent, &flow.inconclusive_because) {
        (Some(loss), _) => format!(" ({} %)", number(loss)),
        (None, Some(because)) => format!(" ({because})"),
        (None, None) => String::new(),
    };
    let queued = match flow.queued_at_end {
        Some(0) => String::new(),
        Some(queued) => format!(", {queued} of them queued still"),
        None => ", how many of them queued still is not known".to_owned(),
    };
    format!(
        "{} sent through {} classes, {} lost{queued}{loss}, {} reordered",
        flow.sent, flow.streams, flow.lost, flow.reordered
    )
}

/// Pairs of blocks, the old one first.
fn pairs(blocks: &[Block]) -> Vec<(&Block, &Block)> {
    let of = |side| blocks.iter().filter(move |block| block.side == side);
    of(Side::Old).filter_map(|old| Some((old, of(Side::New).find(|new| new.pair == old.pair)?))).collect()
}

/// New against old, pair by pair. What was not measured in each pair is absent.
pub(super) fn ratios(blocks: &[Block]) -> Vec<Ratio> {
    let pairs = pairs(blocks);
    let p95 = |latency: &Option<Percentiles>| latency.map(|latency| latency.p95);
    let quotient = |old: Option<f64>, new: Option<f64>| {
        let (old, new) = (old?, new?);
        (old > 0.0).then(|| new / old)
    };
    let all = |metric: &str, of: &dyn Fn(&Block, &Block) -> Option<f64>| {
        let values: Option<Vec<f64>> = pairs.iter().map(|(old, new)| of(old, new)).collect();
        let sorted = ascending(&values?);
        Some(Ratio {
            metric: metric.into(),
            pairs: sorted.len() as u64,
            median: quantile(&sorted, 0.5)?,
            interval: median_interval(&sorted, CONFIDENCE),
        })
    };
    [
        all("apply_ms", &|old, new| quotient(Some(old.apply_ms), Some(new.apply_ms))),
        all("change_p95_us", &|old, new| quotient(p95(&old.change_us), p95(&new.change_us))),
        all("read_p95_us", &|old, new| quotient(p95(&old.read_us), p95(&new.read_us))),
        all("loss_points", &|old, new| Some(new.steady.loss_percent? - old.steady.loss_percent?)),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// The new tree against the old one.
pub(super) fn comparison(report: &CanaryReport) -> Vec<Check> {
    let find = |metric: &str| report.ratios.iter().find(|ratio| ratio.metric == metric);
    let mut checks = Vec::new();
    for (metric, name) in [
        ("apply_ms", "time to build it, new / old"),
        ("change_p95_us", "changing a class p95, new / old"),
        ("read_p95_us", "reading a class p95, new / old"),
    ] {
        let has_classes = |block: &Block| block.change_us.is_some();
        let Some(ratio) = find(metric) else {
            if metric == "apply_ms" || report.blocks.iter().any(has_classes) {
                checks.push(check(name, Verdict::Inconclusive, "not measured on both sides"));
            }
            continue;
        };
        let told = ratio.interval.map(|[low, _]| low > 1.0);
        let verdict = judge(ratio.median - 1.0, Thresholds::RESPONSE_TIME, told);
        let mut check = check(name, verdict, in_words(ratio, "×"));
        check.worse_by = Some(ratio.median - 1.0);
        checks.push(check);
    }
    checks.push(loss(report, find("loss_points")));
    checks
}

fn in_words(ratio: &Ratio, unit: &str) -> String {
    let median = format!("{:.2} {unit}", ratio.median);
    match ratio.interval {
        Some([low, high]) => {
            format!("{median} (95 % confidence: {low:.2} to {high:.2}), {} pairs", ratio.pairs)
        }
        None => format!("{median}, {} pairs: too few for an interval", ratio.pairs),
    }
}

fn loss(report: &CanaryReport, points: Option<&Ratio>) -> Check {
    const NAME: &str = "packets while it stands, new − old";
    let total = |side| {
        let flows = report.blocks.iter().filter(|block| block.side == side).map(|block| &block.steady);
        flows.fold((0, 0, 0), |(sent, lost, reordered), flow| {
            (
                sent + flow.sent,
                lost + flow.lost - flow.queued_at_end.unwrap_or(0).min(flow.lost),
                reordered + flow.reordered,
            )
        })
    };
    let ((old_sent, old_lost, old_reordered), (new_sent, new_lost, new_reordered)) =
        (total(Side::Old), total(Side::New));
    let counts = format!(
        "lost {new_lost} of {new_sent} and {old_lost} of {old_sent}, reordered {new_reordered} and {old_reordered}"
    );
    let Some(points) = points else {
        let because = report.blocks.iter().find_map(|block| block.steady.inconclusive_because.clone());
        let because = because.unwrap_or_else(|| "not measured on both sides".into());
        return check(NAME, Verdict::Inconclusive, format!("{because}; {counts}"));
    };
    let told = points.interval.map(|[low, _]| low > 0.0);
    let mut verdict = judge(points.median, Thresholds::LOSS_POINTS, told);
    let fewer = old_sent.min(new_sent);
    if !enough(fewer) {
        verdict = Verdict::Inconclusive;
    }
    if new_reordered > 0 && old_reordered == 0 {
        verdict = verdict.max(Verdict::Warning);
    }
    let words = in_words(points, "percentage points");
    check(NAME, verdict, format!("{words}; {counts}{}", too_few(fewer)))
}

/// Whether the kernel has as many classes as each tree says.
pub(super) fn class_counts(blocks: &[Block], old: u64, new: u64) -> Check {
    const NAME: &str = "classes";
    let expected = |side| if side == Side::Old { old } else { new };
    match blocks.iter().find(|block| block.classes != expected(block.side)) {
        _ if blocks.is_empty() => check(NAME, Verdict::Inconclusive, "no tree was built"),
        None => check(NAME, Verdict::Pass, format!("{new} new and {old} old, as the trees say")),
        Some(block) => check(
            NAME,
            Verdict::Critical,
            format!("the kernel has {} of the {} tree's {}", block.classes, block.side, expected(block.side)),
        ),
    }
}

/// The restoration. It is a fact beside the verdict on the new tree, which was critical before: restored passes.
pub(super) fn restoration(restoration: &Restoration) -> Check {
    let classes = restoration.classes.map_or_else(|| "?".to_owned(), |count| count.to_string());
    let traffic = restoration
        .traffic
        .as_ref()
        .map_or_else(String::new, |flow| format!("; meanwhile {}", packets(flow)));
    let took = restoration.apply_ms.map_or_else(String::new, |ms| format!(" in {} ms", number(ms)));
    let by = &restoration.by;
    if restoration.verified {
        let detail = format!(
            "the old tree stands again by {by}{took}, {classes} of {} classes, read back{traffic}",
            restoration.classes_expected
        );
        return check("restoration", Verdict::Pass, detail);
    }
    let because = restoration.because.as_deref().unwrap_or("the kernel has something else");
    check(
        "restoration",
        Verdict::Critical,
        format!("the old tree does not stand again: {because}; {classes} classes{traffic}"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::model::fixtures::percentiles;

    fn flow(loss: Option<f64>) -> Flow {
        Flow {
            seconds: 1.0,
            streams: 10,
            sent: 1_000,
            received: 1_000,
            lost: 0,
            queued_at_end: Some(0),
            reordered: 0,
            duplicated: 0,
            loss_percent: loss,
            inconclusive_because: loss.is_none().then(|| "the receiver had no room".into()),
            latency_us: None,
        }
    }

    /// Pairs in which the new tree is so much slower and loses so much more.
    fn report(pairs: u32, ratio: f64, loss: Option<f64>) -> CanaryReport {
        let block = |pair, side| {
            let (factor, loss) = if side == Side::New { (ratio, loss) } else { (1.0, Some(0.0)) };
            Block {
                side,
                pair,
                apply_ms: (100.0 + f64::from(pair)) * factor,
                steps: 10,
                classes: 10,
                building: flow(Some(0.0)),
                steady: flow(loss),
                change_us: Some(percentiles(10.0 * factor, 100)),
                read_us: Some(percentiles(5.0, 100)),
                failed: 0,
            }
        };
        let blocks: Vec<_> =
            (0..pairs).flat_map(|pair| [block(pair, Side::New), block(pair, Side::Old)]).collect();
        let ratios = ratios(&blocks);
        CanaryReport { seed: 1, rollout: None, blocks, ratios, restoration: None }
    }

    fn verdicts(pairs: u32, ratio: f64, loss: Option<f64>) -> Vec<Verdict> {
        comparison(&report(pairs, ratio, loss)).iter().map(|check| check.verdict).collect()
    }

    #[test]
    fn a_handful_of_packets_says_nothing() {
        let few = |loss| Flow { sent: packets_needed() - 1, ..flow(Some(loss)) };
        for loss in [0.0, 10.0] {
            let change = Rollout {
                apply_ms: 1.0,
                steps: Some(1),
                refused: None,
                canary: few(loss),
                control: flow(Some(0.0)),
            };
            let checks = rollout(&change);
            assert_eq!((checks[1].verdict, checks[2].verdict), (Verdict::Inconclusive, Verdict::Pass));
            assert!(checks[1].detail.contains("it needs 600"), "{}", checks[1].detail);
        }
        let mut report = report(6, 1.0, Some(0.0));
        report.blocks.iter_mut().for_each(|block| block.steady.sent = 50);
        assert_eq!(comparison(&report)[3].verdict, Verdict::Inconclusive);
    }

    #[test]
    fn ratios_have_verdicts() {
        use Verdict::{Critical, Inconclusive, Pass, Warning};
        let no_loss = Some(0.0);
        assert_eq!(verdicts(6, 1.0, no_loss), [Pass; 4]);
        assert_eq!(verdicts(6, 1.2, no_loss), [Warning, Warning, Pass, Pass]);
        assert_eq!(verdicts(6, 3.0, no_loss), [Critical, Critical, Pass, Pass]);
        assert_eq!(
            verdicts(5, 3.0, no_loss),
            [Inconclusive, Inconclusive, Pass, Pass],
            "five pairs have no interval"
        );
        assert_eq!(verdicts(6, 1.0, Some(0.6)), [Pass, Pass, Pass, Warning]);
        assert_eq!(verdicts(6, 1.0, Some(9.0)), [Pass, Pass, Pass, Critical]);
        assert_eq!(verdicts(6, 1.0, None), [Pass, Pass, Pass, Inconclusive]);
        assert_eq!(verdicts(0, 1.0, no_loss), [Inconclusive, Inconclusive], "nothing measured is no pass");
    }

    #[test]
    fn classes_are_counted() {
        let blocks = report(1, 1.0, Some(0.0)).blocks;
        assert_eq!(class_counts(&blocks, 10, 10).verdict, Verdict::Pass);
        assert_eq!(class_counts(&blocks, 10, 11).verdict, Verdict::Critical);
        assert_eq!(class_counts(&[], 10, 10).verdict, Verdict::Inconclusive);
    }

    #[test]
    fn a_rollout_that_loses_packets_is_told() {
        use Verdict::{Critical, Inconclusive, Pass};
        let judged = |refused: Option<&str>, loss| {
            let steps = refused.is_none().then_some(5);
            let change = Rollout {
                apply_ms: 1.0,
                steps,
                refused: refused.map(Into::into),
                canary: flow(loss),
                control: flow(Some(0.0)),
            };
            rollout(&change).iter().map(|check| check.verdict).collect::<Vec<_>>()
        };
        assert_eq!(judged(None, Some(0.0)), [Pass; 3]);
        assert_eq!(judged(Some("no"), Some(0.0)), [Critical, Pass, Pass]);
        assert_eq!(judged(None, Some(2.0)), [Pass, Critical, Pass]);
        assert_eq!(judged(None, None), [Pass, Inconclusive, Pass]);
    }
}
